"""Adjusted p-values."""

from __future__ import annotations

import numpy as np

from .errors import InputError

ADJUSTMENTS = ("BH", "BY", "holm", "hochberg", "bonferroni", "none")


def adjust_bh(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg adjustment; NaN stays NaN and is not counted (R: ``p.adjust``)."""
    return adjust(p, "BH")


def adjust(p: np.ndarray, method: str = "BH") -> np.ndarray:
    """Adjusted p-values by one of :data:`ADJUSTMENTS`; NaN stays NaN and is not counted (R: ``p.adjust``)."""
    if method not in ADJUSTMENTS:
        raise InputError(f"Unknown adjustment {method!r}; choose one of {', '.join(ADJUSTMENTS)}.")
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    seen = np.isfinite(p)
    known = p[seen]
    m = known.size
    if not m or method == "none":
        adjusted[seen] = known
        return adjusted
    if method == "bonferroni":
        adjusted[seen] = np.minimum(known * m, 1.0)
        return adjusted
    rank = np.arange(1, m + 1)
    order = np.argsort(known)  # of equal ones any order will do: all get the same
    ordered = known[order]
    if method == "holm":
        stepped = np.maximum.accumulate(ordered * (m + 1 - rank))
    else:
        factor = (m + 1 - rank) if method == "hochberg" else m / rank
        if method == "BY":
            factor = factor * np.sum(1.0 / rank)
        stepped = np.minimum.accumulate((ordered * factor)[::-1])[::-1]
    back = np.empty(m)
    back[order] = np.minimum(stepped, 1.0)
    adjusted[seen] = back
    return adjusted
