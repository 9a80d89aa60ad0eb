"""Columns that say the target again: calls made from it, its logarithm or rank, the group means that it is the difference of.

A model that gets such a column predicts by arithmetic. What is found goes to the algebraic block.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from .gene_columns import norm

SAME = 0.999  # rank correlation from which two columns say the same
EXACT = 0.99  # share of the variance from which columns together are the target; no independent data explain as much
_ROWS = 5000
_TRIED = 200  # columns beyond which the smallest set is not looked for
_ENOUGH = 50  # genes below which nothing is looked for
_LEAVES = 8
ALIKE = 0.8  # correlation from which a column is a level of expression as AveExpr is
SYNERGY = 0.05  # R2 of the average expression and features together beyond that of either, from which it is told
JUMP = 0.1  # share of the variance that the difference of two such levels explains beyond each of them
_MINOR = 10  # genes outside the largest level, so that a rule is no coincidence
# statistics of the groups that were compared (scanpy, Seurat, DESeq), by name
_OF_THE_GROUPS = re.compile(
    r"^(?:pct_nz_\w+|pct_?\d|pct_(?:in|out)\w*|pts(?:_rest)?|base_?mean_?[ab]|fold_?change|fc|(?:log2?_?)?fold_?change)$"
)


def of_the_groups(name: object) -> bool:
    """Whether a column's name says that it is a statistic of the groups compared."""
    return bool(_OF_THE_GROUPS.match(norm(name)))


def tied_columns(
    target: np.ndarray,
    statistics: pd.DataFrame,
    numbers: pd.DataFrame,
    levels: Mapping[str, np.ndarray],
    keep: Sequence[str] = (),
) -> dict[str, str]:
    """Columns that follow from the target or from the statistics of its table.

    Parameters
    ----------
    target
        What is to be predicted, nothing missing.
    statistics
        The table's own statistics (the target's kin), which are known to be tied.
    numbers, levels
        Columns to look at: numbers; codes of text levels.
    keep
        Columns that take no blame where others can (``AveExpr``).

    Returns
    -------
    Column -> why. The look is at up to 5,000 genes, evenly spread; below 50 nothing can be told.
    """
    n = len(target)
    if n < _ENOUGH:
        return {}
    rows = np.unique(np.linspace(0, n - 1, min(n, _ROWS)).astype(int))
    y = target[rows]
    known = {"the target": y} | {str(name): statistics[name].to_numpy(float)[rows] for name in statistics.columns}
    known |= {f"|{name}|": np.abs(values) for name, values in known.items() if (values < 0).any()}
    columns = {str(name): numbers[name].to_numpy(float)[rows] for name in numbers.columns}
    out: dict[str, str] = {}
    for name, values in columns.items():
        if name in keep:
            continue
        if of_the_groups(name):
            out[name] = "a statistic of the groups compared (by its name)"
        elif (same := _same(values, known)) is not None:
            out[name] = f"orders the genes as {same} does"
    for name, codes in levels.items():
        if _is_rule(codes[rows], known):
            out[name] = "a call: its levels follow from the table's statistics by cut-offs"
    # of B, t and the like the fold change is behind
    for kin in [y, known["logFC"]] if "logFC" in known else [y]:
        left = {name: values for name, values in columns.items() if name not in out}
        rows_of = np.isfinite(kin)
        part = {name: values[rows_of] for name, values in left.items()}
        out |= _together(kin[rows_of], part, keep)
        out |= _differences(kin[rows_of], {name: values for name, values in part.items() if name not in out}, keep)
    return out


def _same(values: np.ndarray, known: Mapping[str, np.ndarray]) -> str | None:
    """The statistic that gives the genes the same order, or the reverse one."""
    if len(np.unique(values[np.isfinite(values)])) < 20:
        return None
    for name, other in known.items():
        both = np.isfinite(values) & np.isfinite(other)
        if both.sum() < _ENOUGH or np.ptp(other[both]) == 0 or np.ptp(values[both]) == 0:
            continue
        if abs(stats.spearmanr(values[both], other[both]).statistic) >= SAME:
            return name
    return None


def _is_rule(codes: np.ndarray, known: Mapping[str, np.ndarray]) -> bool:
    """Whether a small tree of cut-offs on the statistics gives back every gene's level."""
    from sklearn.tree import DecisionTreeClassifier

    counts = np.unique(codes, return_counts=True)[1]
    if len(counts) < 2 or len(codes) - counts.max() < _MINOR:
        return False
    Z = np.nan_to_num(np.column_stack(list(known.values())), nan=0.0)
    tree = DecisionTreeClassifier(max_leaf_nodes=max(_LEAVES, 2 * len(counts)), random_state=0).fit(Z, codes)
    return bool((tree.predict(Z) == codes).mean() >= SAME)


def _together(y: np.ndarray, columns: Mapping[str, np.ndarray], keep: Sequence[str]) -> dict[str, str]:
    """Columns (and logarithms of positive ones) that a linear model turns into the target: the smallest sets that do."""
    forms: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        known = values[np.isfinite(values)]
        if not known.size or np.ptp(known) == 0:
            continue
        filled = np.where(np.isfinite(values), values, np.median(known))
        parts = [filled, np.log2(filled)] if (known > 0).all() and known.max() > 50 * np.median(known) else [filled]
        forms[name] = np.column_stack([(part - part.mean()) / (part.std() or 1.0) for part in parts])
    out: dict[str, str] = {}
    left = list(forms)
    while _explained(y, forms, left) > EXACT:
        needed = list(left)
        # a column that is to be kept is the first that is tried without
        for name in sorted(left, key=lambda name: name not in keep) if len(left) <= _TRIED else ():
            without = [other for other in needed if other != name]
            if without and _explained(y, forms, without) > EXACT:
                needed = without
        blamed = [name for name in needed if name not in keep] or needed
        others = ", ".join(needed[:4]) + (", ..." if len(needed) > 4 else "")
        words = "gives the target by itself" if len(needed) == 1 else f"{others} together give the target"
        out |= dict.fromkeys(blamed, words)
        left = [name for name in left if name not in blamed]
    return out


def _differences(y: np.ndarray, columns: Mapping[str, np.ndarray], keep: Sequence[str]) -> dict[str, str]:
    """Columns whose difference from a column to be kept is the fold change, or an estimate of it.

    The average over all samples less the level of the reference is a share of the fold change, also where the level was measured
    in other samples: neither says much of it alone.
    """
    out: dict[str, str] = {}
    for kept in (name for name in keep if name in columns):
        base = _filled(columns[kept])
        if np.ptp(base) == 0:
            continue
        for name in (name for name in columns if name not in keep):
            level = _filled(columns[name])
            if np.ptp(level) == 0 or np.corrcoef(base, level)[0, 1] < ALIKE:
                continue
            forms = {kept: base[:, None], name: level[:, None]}
            alone = max(_explained(y, forms, [one]) for one in forms)
            if _explained(y, forms, list(forms)) - max(alone, 0.0) > JUMP:
                out[name] = f"{kept} less it is an estimate of the fold change (exclude {kept} to use it in its place)"
    return out


def _filled(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.where(known, values, np.median(values[known])) if known.any() else np.zeros(len(values))


def _explained(y: np.ndarray, forms: Mapping[str, np.ndarray], names: Sequence[str]) -> float:
    """Adjusted R2 of the linear model."""
    if not names:
        return 0.0
    Z = np.column_stack([np.ones(len(y)), *(forms[name] for name in names)])
    if Z.shape[1] > len(y) // 3:
        return 0.0
    fit, _, rank, _ = np.linalg.lstsq(Z, y, rcond=1e-10)
    left = float(((y - Z @ fit) ** 2).sum()) / (len(y) - rank)
    return 1.0 - left / float(y.var(ddof=1)) if y.var() > 0 else 0.0


def synergy(y: np.ndarray, level: np.ndarray, features: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Cross-validated R2 of a forest on the average expression, on features of the reference, and on both.

    Spread, skew and detection tell of the level of the reference, and the average over all samples less that level is a share of
    the fold change: what both say together beyond each is the mark of it. Up to 3,000 genes; groups kept whole.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import GroupKFold, cross_val_predict

    rows = np.unique(np.linspace(0, len(y) - 1, min(len(y), 3000)).astype(int))
    columns = [_filled(column)[rows] for column in (level, *features.T)]
    if len(np.unique(groups[rows])) < 3 or not np.var(y[rows]) > 0:
        return np.nan, np.nan, np.nan
    scores = []
    for chosen in (columns[:1], columns[1:], columns):
        forest = RandomForestRegressor(50, min_samples_leaf=10, max_features=1.0, random_state=0, n_jobs=1)
        made = cross_val_predict(forest, np.column_stack(chosen), y[rows], cv=GroupKFold(3), groups=groups[rows])
        scores.append(1.0 - float(np.mean((y[rows] - made) ** 2)) / float(np.var(y[rows])))
    return scores[0], scores[1], scores[2]
