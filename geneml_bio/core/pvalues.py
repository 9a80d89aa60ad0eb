"""Adjusted p-values."""

from __future__ import annotations

import numpy as np


def adjust_bh(p: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg adjustment; NaN stays NaN and is not counted (R: ``p.adjust``)."""
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    seen = np.isfinite(p)
    m = int(seen.sum())
    if m:
        order = np.argsort(p[seen])[::-1]
        stepped = np.minimum.accumulate(p[seen][order] * m / np.arange(m, 0, -1))
        back = np.empty(m)
        back[order] = np.minimum(stepped, 1.0)
        adjusted[seen] = back
    return adjusted
