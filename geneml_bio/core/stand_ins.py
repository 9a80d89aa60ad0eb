"""Pairs of genes that stand in for each other: which of the two a list names is an accident of the samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .within import Within

_MAX_GENES = 2000
_MAX_PAIRS = 1000

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
    within = Within.of(X.shape[0], target, classes)
    unit = within.unit(X, column)
    r = unit.T @ unit
    least = max(threshold, within.critical(len(names) * (len(names) - 1) / 2))
    first, second = np.nonzero(np.triu(np.abs(r) >= least, k=1))

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
