"""SHAP of gene sets: summed over their genes in each held-out sample, and tested against the genes outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import rankdata

from .errors import InputError
from .gene_groups import mean_abs
from .pvalues import adjust_bh
from .schema import Cohort
from .set_test import competitive
from .within import Within

_SAMPLES = 1000  # for correlations within sets
_LEADING = 10
_CHUNK = 500

SETS = {
    **{"set": str, "n_genes": int, "n_tested": int, "n_features": int, "n_screened": int, "n_used": int, "shap": float},
    **{"share": float, "direction": int, "toward": str, "balance": float, "correlation": float, "n_effective": float},
    **{"t": float, "p_value": float, "adj.P.Val": float, "leading": str},
}


@dataclass(frozen=True, eq=False)
class Matched:
    """Gene sets with a useful number of genes in a study.

    Parameters
    ----------
    names, features, signs
        Of each set: its name, the columns of the study that are its genes, and the sign of the weight of each.
    n_genes, n_tested
        How many genes each set has, and how many of them are in the study.
    n_sets, n_small, n_large
        Sets given; those with too few and too many genes in the study.
    """

    names: list[str]
    features: list[np.ndarray]
    signs: list[np.ndarray]
    n_genes: np.ndarray
    n_tested: np.ndarray
    n_sets: int
    n_small: int
    n_large: int


def matched(net: pd.DataFrame, genes: pd.Index, *, min_size: int = 5, max_size: int | None = 500) -> Matched:
    """Find the genes of sets in a study.

    Parameters
    ----------
    net
        ``source target weight``, from :func:`geneml_bio.core.gene_sets.as_net`.
    genes
        Name of each column of the study, in the id space of the sets; a name may repeat (probes of one gene), ``""`` is none.
    min_size, max_size
        Least and largest number of different genes of a set that are in the study.

    Raises
    ------
    InputError
        For sizes that mean nothing, and if no set has a useful number of genes.
    """
    for name, value in (("min_size", min_size), ("max_size", max_size)):
        if value is None and name == "max_size":
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"{name} must be a positive whole number, got {value!r}.")
    most = np.inf if max_size is None else max_size
    if most < min_size:
        raise InputError(f"max_size={max_size} is less than min_size={min_size}.")
    columns = {name: group for name, group in pd.Series(np.arange(len(genes))).groupby(np.asarray(genes)) if name}
    sets = {str(name): part for name, part in net.groupby("source", sort=False)}
    here = {name: part[part["target"].isin(columns)] for name, part in sets.items()}
    sizes = pd.Series({name: len(part) for name, part in here.items()})
    kept = sizes.index[(sizes >= min_size) & (sizes <= most)]
    if not len(kept):
        raise InputError(_no_overlap(net, genes, sizes, min_size, max_size))
    features, signs = [], []
    for name in kept:
        places = [columns[gene].to_numpy() for gene in here[name]["target"]]
        features.append(np.concatenate(places))
        signs.append(np.repeat(np.sign(here[name]["weight"].to_numpy(float)), [len(part) for part in places]))
    n_large = int((sizes > most).sum())
    n_genes = np.array([len(sets[name]) for name in kept])
    counts = {"n_sets": len(sizes), "n_small": len(sizes) - len(kept) - n_large, "n_large": n_large}
    return Matched(list(kept), features, signs, n_genes, sizes[kept].to_numpy(), **counts)


def _no_overlap(net: pd.DataFrame, genes: pd.Index, sizes: pd.Series, min_size: int, max_size: int | None) -> str:
    targets = set(net["target"])
    shared = targets & set(genes)
    upto = "" if max_size is None else f" to {max_size}"
    words = (
        f"None of the {len(sizes)} gene sets has {min_size}{upto} genes in this study; the largest has {int(sizes.max())}. "
        f"{len(shared):,} of the {len(targets):,} genes of the sets are there"
    )
    if len(shared) < 0.1 * len(targets):
        words += f" (sets name genes like {next(iter(net['target']))!r}, the study like {str(genes[0])!r})"
        alike = {name.upper() for name in targets} & {str(name).upper() for name in genes}
        if len(alike) > 2 * len(shared):
            words += "; they differ in upper and lower case, as genes of different species do"
        words += ". If .var has a column of the names that the sets use, give it: gene_symbols='symbol'"
    return f"{words}. Or change min_size= and max_size=."


def reliance(shap: np.ndarray) -> np.ndarray:
    """What is tested: the square root of a gene's mean |SHAP|, as a share of the largest, so that no gene makes a set alone."""
    return np.sqrt(shap / max(float(shap.max(initial=0.0)), 1e-300))


def set_shap(
    cohort: Cohort,
    values: Mapping[str, sparse.csr_matrix],
    frequency: np.ndarray,
    sets: Matched,
    labels: pd.Index,
    *,
    inter_gene_cor: float | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """SHAP of each set, and whether its genes are more relied on than genes outside it.

    Parameters
    ----------
    cohort
        The samples of the cross-validation.
    values
        Output -> SHAP values of held-out samples, the samples of ``cohort`` x genes.
    frequency
        Share of folds whose screen chose each gene.
    sets, labels
        From :func:`matched`, and what the genes are called in ``leading``.
    inter_gene_cor
        Mean correlation of the scores of two genes of one set; None estimates that of each set.

    Returns
    -------
    Frame with the columns ``SETS``, the smallest p-value first; and settings: ``n_universe`` genes, ``n_constant`` that do not vary
    within the classes and are no part of it, ``n_used``.

    Notes
    -----
    The scores are those of :func:`reliance`. Which genes are chosen and used depends on the size of a difference, not on its sign.
    Of two jointly normal statistics with correlation r, functions without regard to the sign have a correlation of at most r
    squared (all even functions have: Mehler's expansion). So ``correlation`` is the mean of the squared residual correlations of the
    pairs of a set, less what they are by chance (1 / degrees of freedom).
    """
    if inter_gene_cor is not None and not (
        isinstance(inter_gene_cor, int | float | np.number) and 0 <= inter_gene_cor < 1
    ):
        raise InputError(
            f"inter_gene_cor must be None (estimated) or a number from 0 to below 1, got {inter_gene_cor!r}."
        )
    shap = mean_abs(values)
    within = Within.of(
        len(cohort.samples), cohort.target, cohort.classes, cohort.batch, cohort.covariates, most=_SAMPLES
    )
    varies = np.concatenate([unit.any(axis=0) for _, unit in within.chunks(cohort.X)])
    universe = np.flatnonzero(varies | (shap > 0))
    place = np.full(len(shap), -1)
    place[universe] = np.arange(len(universe))
    members = [place[part][place[part] >= 0] for part in sets.features]
    r = _correlations(cohort, within, [universe[part] for part in members], inter_gene_cor)
    test = competitive(reliance(shap[universe]), members, r)
    flat = np.concatenate(sets.features)
    code = np.repeat(np.arange(len(sets.names)), [len(part) for part in sets.features])
    membership = sparse.csr_matrix((np.ones(len(flat)), (flat, code)), shape=(len(shap), len(sets.names)))
    by_output = np.array([np.asarray(abs(part @ membership).mean(axis=0)).ravel() for part in values.values()])
    direction = {name: _directions(cohort, part, within.rows) for name, part in values.items()}
    alone = {name: np.asarray(abs(part).mean(axis=0)).ravel() for name, part in values.items()}
    toward = np.array(list(values), dtype=object)[by_output.argmax(axis=0)]
    balance = [
        _balance(alone[t][f], direction[t][f] * s) for t, f, s in zip(toward, sets.features, sets.signs, strict=True)
    ]
    frame = pd.DataFrame(
        {
            **{"set": sets.names, "n_genes": sets.n_genes, "n_tested": sets.n_tested},
            "n_features": [len(part) for part in sets.features],
            "n_screened": [int((np.nan_to_num(frequency)[part] > 0).sum()) for part in sets.features],
            "n_used": [int((shap[part] > 0).sum()) for part in sets.features],
            **{"shap": by_output.mean(axis=0), "share": membership.T @ shap / max(shap.sum(), 1e-300)},
            "direction": np.where(np.abs(balance) >= _MIXED, np.sign(balance), 0),
            **{"toward": toward, "balance": balance, "correlation": r, "n_effective": test.n_effective, "t": test.t},
            **{"p_value": test.p_value, "adj.P.Val": adjust_bh(test.p_value)},
            "leading": [_leading(part, shap, labels) for part in sets.features],
        }
    )
    frame = frame.astype(SETS).sort_values(["p_value", "share"], ascending=[True, False], kind="stable")
    about = {"n_universe": len(universe), "n_constant": len(shap) - len(universe), "n_used": int((shap > 0).sum())}
    return frame.reset_index(drop=True), about


_MIXED = 1 / 3  # two thirds of a set's SHAP on one side give it a direction


def _correlations(cohort: Cohort, within: Within, members: list[np.ndarray], given: float | None) -> np.ndarray:
    """Mean squared correlation of the pairs of each set, corrected for chance."""
    if given is not None:
        return np.full(len(members), float(given))
    genes = np.unique(np.concatenate(members))
    unit = within.unit(cohort.X, genes)
    where = np.full(cohort.X.shape[1], -1)
    where[genes] = np.arange(len(genes))
    df = max(within.df + 1, 2.0)
    out = np.zeros(len(members))
    for k, part in enumerate(members):
        m = len(part)
        if m < 2:
            continue
        Z = unit[:, where[part]]
        total = ((Z.T @ Z if m < len(Z) else Z @ Z.T) ** 2).sum()  # the same sum of squares
        mean = (total - ((Z**2).sum(axis=0) ** 2).sum()) / (m * (m - 1))
        out[k] = max((df * mean - 1) / (df - 1), 0.0)
    return np.minimum(out, 1.0)


def _directions(cohort: Cohort, values: sparse.csr_matrix, rows: np.ndarray) -> np.ndarray:
    """By gene: the sign of the rank correlation of expression with SHAP; 0 for genes not used."""
    used = np.unique(values.indices)
    out = np.zeros(cohort.X.shape[1])
    for start in range(0, len(used), _CHUNK):
        genes = used[start : start + _CHUNK]
        part = cohort.X[rows][:, genes]
        x = np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=float)
        if np.isnan(x).any():
            x = np.where(np.isnan(x), np.nanmedian(x, axis=0), x)
        s = values[rows][:, genes].toarray()
        a, b = (rankdata(of, axis=0) - (len(rows) + 1) / 2 for of in (x, s))
        out[genes] = np.sign(np.round((a * b).sum(axis=0), 6))
    return out


def _balance(size: np.ndarray, direction: np.ndarray) -> float:
    """From -1 to 1: which way the SHAP of a set's genes goes, weighted by its size."""
    return float((size * direction).sum() / size.sum()) if size.sum() > 0 else 0.0


def _leading(features: np.ndarray, shap: np.ndarray, labels: pd.Index) -> str:
    order = features[np.argsort(-shap[features], kind="stable")]
    names = dict.fromkeys(str(labels[f]) for f in order if shap[f] > 0)
    return ", ".join(list(names)[:_LEADING])
