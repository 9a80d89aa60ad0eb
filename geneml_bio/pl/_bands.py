"""Bands around ROC and precision-recall curves: the same resampling as that of the intervals of their areas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..core.intervals import interval, resamples, widening
from ..core.schema import prob_column
from ._validation import Results

if TYPE_CHECKING:
    from anndata import AnnData

N_BOOT = 200
GRID = np.linspace(0, 1, 51)
_MANY = 50_000  # samples, past which the band is thinner than the line


def _at_grid(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray, kind: str) -> np.ndarray:
    """Weighted curves at :data:`GRID`, resamples x points."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # samples of one score go together
    hit = np.cumsum(weights[:, order] * positive[order], axis=1)[:, last]
    false = np.cumsum(weights[:, order] * ~positive[order], axis=1)[:, last]
    recall = hit / hit[:, -1:]
    out = np.empty((len(weights), len(GRID)))
    for row in range(len(weights)):
        if kind == "roc":
            x = np.r_[0.0, false[row] / false[row, -1]]
            out[row] = np.interp(GRID, x, np.r_[0.0, recall[row]])
        else:  # a step that ends at recall r holds from the recall before it
            at = np.minimum(np.searchsorted(recall[row], GRID - 1e-12), len(last) - 1)
            out[row] = (hit[row] / (hit[row] + false[row]))[at]
    return out


def _groups(adata: AnnData, found: Results, samples: pd.Index) -> np.ndarray | None:
    name = found.params.get("groups")
    if not isinstance(name, str) or name not in adata.obs:
        return None
    column = adata.obs[name].astype(str)
    return column.set_axis(column.index.astype(str)).reindex(samples).fillna("").to_numpy()


def band(
    adata: AnnData, found: Results, model: str, name: str, kind: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Pointwise 95 % interval of the mean curve: grid, low, high; None where there are too many samples to see one."""
    parts = found.repeats(model)
    samples = pd.Index(parts[0]["sample"].astype(str))
    n = len(samples)
    if n > _MANY or any(set(part["sample"].astype(str)) - set(samples) for part in parts):
        return None
    groups = _groups(adata, found, samples)
    drawn = resamples(n, len(found.classes), groups, max(50, min(N_BOOT, 4_000_000 // n)), 0)
    columns = [prob_column(cls) for cls in found.classes]
    wanted = found.classes.index(name)
    curves, centre = [], []
    for part in parts:
        made = part[columns].to_numpy(float)
        if not np.isfinite(made).all():
            return None
        codes = pd.Index(found.classes).get_indexer(part["observed"].astype(str))
        weights, observed, all_made = drawn.of(samples.get_indexer(part["sample"].astype(str)), codes, made)
        curves.append(_at_grid(all_made[:, wanted], observed == wanted, weights, kind))
        centre.append(_at_grid(made[:, wanted], codes == wanted, np.ones((1, len(part))), kind)[0])
    first = pd.Index(found.classes).get_indexer(parts[0]["observed"].astype(str))
    widen = widening(first, groups, refitted=not found.test)
    draws, value = np.mean(curves, axis=0), np.mean(centre, axis=0)
    ends = [interval("roc_auc", float(v), draws[:, j], widen=widen) for j, v in enumerate(value)]
    low, high = np.array(ends).T
    if kind == "roc":  # curves that can only rise
        low, high = np.maximum.accumulate(low), np.maximum.accumulate(high)
        low[0], high[-1] = 0.0, 1.0
    return GRID, low, high
