"""Groups of genes that carry the same information, their SHAP together, and what could replace a gene that is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from .errors import InputError
from .schema import Cohort
from .within import Within

_TINY = 1e-9  # of correlations: rounding

GROUPS = (
    *("group", "n", "genes", "leader", "shap", "share", "rank", "direction", "toward", "rho", "n_used"),
    *("leader_shap", "leader_rank", "min_correlation", "mean_correlation"),
)
REPLACEMENTS = (
    *(
        "gene",
        "stand_in",
        "correlation",
        "overall",
        "n_stand_ins",
        "gene_shap",
        "shap",
        "selection_frequency",
        "same_group",
    ),
)


@dataclass(frozen=True, eq=False)
class GeneGroups:
    """Correlation groups of the genes that models could use, and what could replace those they did use.

    Parameters
    ----------
    label
        By gene of the study: the name of its group, ``""`` for none.
    table
        One row a group, the one with the largest SHAP first; columns ``GROUPS``.
    replacements
        One row for each used gene and gene that could replace it; columns ``REPLACEMENTS``.
    behind
        By gene of the study: ``stands_behind``, the gene of the largest mean |SHAP|, and a larger one than its own, that it is
        correlated with (``""`` for none), and that ``correlation``.
    settings
        ``threshold``; ``least_group`` and ``least_pair``, what a correlation had to reach within groups and as a replacement;
        ``n_genes`` looked at, ``n_left_out`` beyond the number allowed; ``n_groups``, ``n_grouped``.
    """

    label: pd.Series
    table: pd.DataFrame
    replacements: pd.DataFrame
    behind: pd.DataFrame
    settings: dict[str, Any]


def gene_groups(
    cohort: Cohort,
    values: Mapping[str, sparse.csr_matrix],
    frequency: np.ndarray,
    *,
    threshold: float = 0.7,
    max_genes: int = 2000,
    max_stand_ins: int = 50,
) -> GeneGroups:
    """Group the genes that the models could use, and find what could replace those that they used.

    Parameters
    ----------
    cohort
        The samples of the cross-validation (never those of a test set).
    values
        Output -> SHAP values of held-out samples, the samples of ``cohort`` x genes.
    frequency
        Share of folds whose screen chose each gene.
    threshold
        The least absolute correlation within the classes (after batch and covariates): of every two genes of a group, and of a
        gene with its replacement. From 0.5 (below, three genes could be correlated with opposite signs) to 1.
    max_genes
        How many genes to group: those with the largest mean |SHAP|, then those chosen most often.
    max_stand_ins
        How many replacements of one gene to list: the most correlated. ``n_stand_ins`` counts all.

    Raises
    ------
    InputError
        For a threshold or a number that means nothing.

    Notes
    -----
    Groups are made by complete linkage on ``1 - abs(r)``, so that *every* pair of a group reaches the threshold: no chains, in which
    the ends have nothing to do with each other. In small studies a correlation also has to be more than chance among all pairs
    looked at (5 %, Bonferroni). SHAP values add up, so that those of a group are their sums in each held-out sample: what two
    genes with opposite contributions do to the same sample cancels, what they share adds up.
    """
    _check(threshold, max_genes, max_stand_ins)
    shap = mean_abs(values)
    chosen, n_left = _candidates(shap, frequency, max_genes)
    within = Within.of(len(cohort.samples), cohort.target, cohort.classes, cohort.batch, cohort.covariates)
    unit = within.unit(cohort.X, chosen)
    r = np.clip(unit.T @ unit, -1, 1)
    least = max(threshold, within.critical(len(chosen) * (len(chosen) - 1) / 2))
    groups = [chosen[members] for members in _clusters(r, least)]
    where = pd.Series(np.arange(len(chosen)), index=chosen)
    table, groups = _table(cohort, values, shap, groups, r, where, within)
    label = np.full(len(cohort.features), "", dtype=object)
    for name, members in zip(table["group"], groups, strict=True):
        label[members] = name
    used = chosen[shap[chosen] > 0]
    pair = max(threshold, within.critical(len(used) * len(cohort.features)))
    replacements, behind = _replacements(cohort, within, used, shap, frequency, label, pair, max_stand_ins)
    settings = {
        **{"threshold": float(threshold), "least_group": float(least), "least_pair": float(pair)},
        **{"n_genes": len(chosen), "n_left_out": n_left, "n_groups": len(table), "n_grouped": int((label != "").sum())},
        "max_stand_ins": int(max_stand_ins),
    }
    return GeneGroups(pd.Series(label, index=cohort.features), table, replacements, behind, settings)


def _check(threshold: float, max_genes: int, max_stand_ins: int) -> None:
    number = isinstance(threshold, int | float | np.number) and not isinstance(threshold, bool)
    if not number or not 0.5 <= threshold <= 1:
        raise InputError(
            f"threshold is an absolute correlation from 0.5 to 1; got {threshold!r}. Below 0.5 genes of one group could be "
            "correlated with a third in opposite directions."
        )
    for name, value in (("max_genes", max_genes), ("max_stand_ins", max_stand_ins)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"{name} must be a positive whole number, got {value!r}.")


def mean_abs(values: Mapping[str, sparse.csr_matrix]) -> np.ndarray:
    """Mean absolute SHAP of each column over samples and outputs."""
    return np.mean([np.asarray(abs(part).mean(axis=0)).ravel() for part in values.values()], axis=0)


def _candidates(shap: np.ndarray, frequency: np.ndarray, most: int) -> tuple[np.ndarray, int]:
    """Genes ever screened or used, the most relied on first; and how many are left out."""
    frequency = np.nan_to_num(frequency)
    able = np.flatnonzero((shap > 0) | (frequency > 0))
    order = able[np.lexsort((able, -frequency[able], -shap[able]))]
    return order[:most], max(len(order) - most, 0)


def _clusters(r: np.ndarray, least: float) -> list[np.ndarray]:
    """Positions of the members of each group of two or more: complete linkage, cut where every pair has |r| >= ``least``."""
    if len(r) < 2 or least > 1:
        return []
    distance = 1 - np.abs(r)
    np.fill_diagonal(distance, 0.0)
    code = fcluster(linkage(squareform(distance, checks=False), "complete"), 1 - least + _TINY, criterion="distance")
    return [members for c in range(1, code.max() + 1) if len(members := np.flatnonzero(code == c)) > 1]


def _table(
    cohort: Cohort,
    values: Mapping[str, sparse.csr_matrix],
    shap: np.ndarray,
    groups: list[np.ndarray],
    r: np.ndarray,
    where: pd.Series,
    within: Within,
) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The groups, described; the one with the largest SHAP first, and their members in that order."""
    p, names = len(shap), cohort.features.to_numpy()
    groups = [members[np.lexsort((members, -shap[members]))] for members in groups]
    grouped = np.zeros(p, dtype=bool)
    code = np.repeat(np.arange(len(groups)), [len(members) for members in groups]).astype(int)
    flat = np.concatenate(groups) if groups else np.empty(0, dtype=int)
    grouped[flat] = True
    together = sparse.csr_matrix((np.ones(len(flat)), (flat, code)), shape=(p, len(groups)))
    sums = {name: (part @ together).tocsr() for name, part in values.items()}
    size = mean_abs(sums) if groups else np.empty(0)
    total = size.sum() + shap[~grouped].sum()
    everyone = np.concatenate([size, shap[~grouped]])
    ranks = rankdata(-everyone, method="min")[: len(groups)]
    gene_ranks = rankdata(-shap, method="min")
    rows = []
    for k, members in enumerate(groups):
        own = r[np.ix_(where[members], where[members])]
        off = np.abs(own[np.triu_indices(len(members), 1)])
        toward = max(sums, key=lambda name: float(abs(sums[name][:, k]).sum()))
        rho = _rho(cohort, members, np.sign(own[0]), sums[toward][:, k], within.rows)
        lead, used = members[0], bool(size[k] > 0)
        rows.append(
            {
                **{"n": len(members), "genes": ", ".join(names[members]), "leader": names[lead], "shap": size[k]},
                **{"share": size[k] / total if total > 0 else 0.0, "rank": ranks[k] if used else np.nan},
                **{"direction": int(np.sign(rho)), "toward": toward, "rho": rho},
                **{"n_used": int((shap[members] > 0).sum()), "leader_shap": shap[lead]},
                "leader_rank": gene_ranks[lead] if shap[lead] > 0 else np.nan,
                **{"min_correlation": off.min(), "mean_correlation": off.mean()},
            }
        )
    order = np.argsort(-size, kind="stable")
    text = {"genes": str, "leader": str, "toward": str, "n": int, "n_used": int, "direction": int}
    kinds = {name: text.get(name, float) for name in GROUPS[1:]}
    table = pd.DataFrame(rows, columns=list(kinds)).astype(kinds).iloc[order].reset_index(drop=True)
    table.insert(0, "group", [f"G{k + 1}" for k in range(len(table))])
    return table, [groups[k] for k in order]


def _rho(cohort: Cohort, members: np.ndarray, sign: np.ndarray, total: sparse.csr_matrix, rows: np.ndarray) -> float:
    """Rank correlation of a group's expression (members turned like the leader, each in its own standard deviations) with its SHAP."""
    part = cohort.X[rows][:, members] if sparse.issparse(cohort.X) else cohort.X[np.ix_(rows, members)]
    values = np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=float)
    spread = np.nanstd(values, axis=0)
    score = np.nan_to_num((values - np.nanmean(values, axis=0)) / np.where(spread > 0, spread, np.inf)) @ sign
    return rank_correlation(score, np.asarray(total[rows].todense()).ravel())


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's correlation; 0 where one does not vary."""
    x, y = (rankdata(part) - (len(part) + 1) / 2 for part in (a, b))
    size = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / size) if size > 0 else 0.0


def _replacements(
    cohort: Cohort,
    within: Within,
    used: np.ndarray,
    shap: np.ndarray,
    frequency: np.ndarray,
    label: np.ndarray,
    least: float,
    most: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All genes of the study that are correlated with a used one; and of every gene, the strongest used one it stands behind."""
    plain = Within.of(len(cohort.samples))
    unit, whole = within.unit(cohort.X, used), plain.unit(cohort.X, used)  # the largest SHAP first
    first, second, size, overall = [], [], [], []
    behind, strength = np.full(len(shap), -1), np.full(len(shap), np.nan)
    position = np.full(len(shap), len(used))
    position[used] = np.arange(len(used))
    for columns, other in within.chunks(cohort.X):
        r = np.clip(unit.T @ other, -1, 1)
        r[used[:, None] == columns[None, :]] = 0.0
        a, b = np.nonzero(np.abs(r) >= least - _TINY)
        overall.append((whole.T @ plain.unit(cohort.X, columns))[a, b])
        first.append(a)
        second.append(columns[b])
        size.append(r[a, b])
        stronger = a < position[columns[b]]  # a used gene stands behind stronger ones only
        strongest, at = np.unique(b[stronger], return_index=True)  # rows are in order: the first has the largest SHAP
        behind[columns[strongest]] = used[a[stronger][at]]
        strength[columns[strongest]] = r[a[stronger][at], strongest]
    a, b, r, total = (np.concatenate(part) for part in (first, second, size, overall))
    order = np.lexsort((b, -np.abs(r), a))
    a, b, r, total = a[order], b[order], r[order], total[order]
    count = np.bincount(a, minlength=len(used))
    place = np.arange(len(a)) - np.repeat(np.cumsum(count) - count, count)
    kept = place < most
    a, b, r, total = a[kept], b[kept], r[kept], np.clip(total[kept], -1, 1)
    names, gene = cohort.features.to_numpy(), used[a]
    frame = pd.DataFrame(
        {
            **{"gene": names[gene], "stand_in": names[b], "correlation": r, "overall": total},
            **{"n_stand_ins": count[a], "gene_shap": shap[gene], "shap": shap[b]},
            "selection_frequency": np.nan_to_num(frequency)[b],
            "same_group": (label[gene] == label[b]) & (label[gene] != ""),
        }
    )
    stands = np.where(behind >= 0, names[np.maximum(behind, 0)], "") if len(names) else np.empty(0, dtype=object)
    return frame, pd.DataFrame({"stands_behind": stands, "correlation": strength}, index=cohort.features)
