"""Pairs of genes that stand in for each other: which of the two a list names is an accident of the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse, stats

_MAX_GENES = 2000
_MAX_SAMPLES = 5000
_MAX_PAIRS = 1000
_ALPHA = 0.05

COLUMNS = ("gene_a", "gene_b", "correlation", "both", "only_a", "only_b", "neither", "expected_both")


def stand_ins(
    screens: pd.DataFrame,
    X: Any,
    features: pd.Index,
    target: np.ndarray | None = None,
    classes: tuple[str, ...] = (),
    threshold: float = 0.7,
) -> pd.DataFrame:
    """Pairs of selected genes that carry the same information, and how often each was chosen without the other.

    Two genes that both differ between the classes are correlated for that alone. What counts here is the correlation that is
    left within the classes (for a number: after a line through it): it has to reach ``threshold`` in size, and to be more
    than chance among all pairs looked at (5 %, Bonferroni), which in small studies asks for more.

    Parameters
    ----------
    screens
        ``repeat fold feature statistic``: the genes of each fold.
    X, features
        Expression, samples x genes, dense or CSR, and the names of its columns.
    target, classes
        One value a sample, and the classes (empty: a number). Without a target the correlation is the plain one.
    threshold
        The least absolute correlation.

    Returns
    -------
    Frame ``gene_a gene_b correlation both only_a only_b neither expected_both``: of the folds, how many chose both, one of
    them, none; and how many would choose both if the two were chosen independently. ``gene_a`` is the one chosen more often.
    First the pairs chosen in each other's place (the smaller of ``only_a`` and ``only_b``), then by how often either was chosen.
    At most 1,000 pairs, ``.attrs["n_pairs"]`` of which there are.

    Notes
    -----
    Looked at are the genes ever chosen, of more than 2,000 those chosen most often (then by mean statistic), in at most
    5,000 samples. Counts say most where fewer genes are chosen than carry signal, so that twins compete for a place; a
    generous screen keeps both in every fold, and the pair is then told by its correlation alone. A screen looks at one gene at a
    time, so that twins rise and fall together (``both`` above ``expected_both``) but for the last places of the list; a
    model that selects (LASSO) takes one and leaves the other, and ``both`` falls below. Genes that replace each other in sets
    of three or more without any pair being correlated are not found.
    """
    chosen = screens.assign(feature=screens["feature"].astype(str))
    runs = chosen.groupby(["repeat", "fold"], observed=True, sort=True).ngroup().to_numpy()
    n_runs = int(runs.max()) + 1 if len(runs) else 0
    names = _looked_at(chosen)
    column = pd.Index(features).astype(str).get_indexer(names)
    names, column = names[column >= 0], column[column >= 0]
    if len(names) < 2:
        return _frame([], n_runs)
    r, df = _within(X, column, target, classes)
    first, second = np.nonzero(np.triu(np.abs(r) >= max(threshold, _critical(df, len(names))), k=1))

    member = np.zeros((n_runs, len(names)), dtype=bool)
    where = names.get_indexer(pd.Index(chosen["feature"]))
    member[runs[where >= 0], where[where >= 0]] = True
    count = member.sum(axis=0)
    swap = count[second] > count[first]
    a, b = np.where(swap, second, first), np.where(swap, first, second)
    together = (member[:, a] & member[:, b]).sum(axis=0)
    return _frame([names[a], names[b], r[a, b], together, count[a], count[b]], n_runs)


def _looked_at(chosen: pd.DataFrame) -> pd.Index:
    """Genes ever chosen, the most often chosen first."""
    table = chosen.assign(size=chosen["statistic"].abs()).groupby("feature", sort=True)["size"].agg(["size", "mean"])
    ranked = table.sort_values(["size", "mean"], ascending=False, kind="stable")
    return pd.Index(ranked.index[:_MAX_GENES])


def _within(
    X: Any, column: np.ndarray, target: np.ndarray | None, classes: tuple[str, ...]
) -> tuple[np.ndarray, float]:
    """Correlations of what the target leaves of each gene, and their degrees of freedom."""
    n = X.shape[0]
    rows = np.unique(np.linspace(0, n - 1, min(n, _MAX_SAMPLES)).astype(int))
    part = X[rows][:, column] if sparse.issparse(X) else X[np.ix_(rows, column)]
    values = np.array(part.toarray() if sparse.issparse(part) else part, dtype=float)
    held = np.isfinite(values)
    mean = np.where(held, values, 0.0).sum(axis=0) / np.maximum(held.sum(axis=0), 1)
    values = np.where(held, values, mean)
    known = np.ones((len(rows), 1))
    if target is not None and classes:
        known = np.column_stack([(target[rows] == name).astype(float) for name in classes])
    elif target is not None:
        known = np.column_stack([known[:, 0], np.asarray(target[rows], dtype=float)])
    known = known[:, known.any(axis=0)]
    basis, size, _ = np.linalg.svd(known, full_matrices=False)
    basis = basis[:, size > 1e-9 * size[0]]
    spread = np.sqrt(((values - values.mean(axis=0)) ** 2).sum(axis=0))
    values -= basis @ (basis.T @ values)
    norm = np.linalg.norm(values, axis=0)
    # what is only rounding, for a gene that is constant within each class, correlates with nothing
    values /= np.where(norm > 1e-9 * np.maximum(spread, 1e-300), norm, np.inf)
    return values.T @ values, float(len(rows) - basis.shape[1] - 1)


def _critical(df: float, n_genes: int) -> float:
    """The correlation that independent genes reach in one pair of all with a chance of 5 %."""
    if df < 1:
        return 2.0
    t = stats.t.isf(_ALPHA / (n_genes * (n_genes - 1)), df)
    return float(t / np.sqrt(df + t**2))


def _frame(parts: list[Any], n_runs: int) -> pd.DataFrame:
    if not parts:
        out = pd.DataFrame({name: pd.Series(dtype=str if name.startswith("gene") else float) for name in COLUMNS})
    else:
        a, b, r, together, count_a, count_b = parts
        only_a, only_b = count_a - together, count_b - together
        out = pd.DataFrame({"gene_a": a, "gene_b": b, "correlation": np.clip(r, -1, 1), "both": together})
        out["only_a"], out["only_b"] = only_a, only_b
        out["neither"] = n_runs - together - only_a - only_b
        out["expected_both"] = count_a * count_b / max(n_runs, 1)
        order = np.lexsort((b, a, -np.abs(r), -(count_a + count_b), -np.minimum(only_a, only_b)))
        out = out.iloc[order[:_MAX_PAIRS]].reset_index(drop=True)
    out.attrs["n_pairs"] = len(parts[0]) if parts else 0
    return out
