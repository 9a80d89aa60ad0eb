"""Whether values are logs, as models of expression expect them, or counts and intensities as they were measured."""

from __future__ import annotations

from typing import Literal

import numpy as np

_HIGHEST_LOG = 30.0  # log2 of counts stays below
_HIGHEST_OTHER = 100.0  # what is not whole, such as a z-score or a percentage, may be larger
_LOOKED_AT = 1_000_000


def unlogged(
    stored: np.ndarray, low: float | None = None, high: float | None = None
) -> Literal["", "counts", "intensities"]:
    """What values are where logs are expected; ``""``: they may be logs.

    Parameters
    ----------
    stored
        The values; of a sparse matrix those that are stored.
    low, high
        The least and the largest, if they are known.
    """
    if not stored.size:
        return ""
    least, most = np.fmin.reduce, np.fmax.reduce  # of what is not missing
    low = float(least(stored, axis=None)) if low is None else low
    high = float(most(stored, axis=None)) if high is None else high
    if not (low >= 0 and high > _HIGHEST_LOG):
        return ""
    flat = stored.ravel()
    flat = flat[:: max(1, flat.size // _LOOKED_AT)]
    seen = flat[np.isfinite(flat)]
    if np.array_equal(seen, np.rint(seen)):
        return "counts"
    return "intensities" if high > _HIGHEST_OTHER else ""


def said_of(what: str, high: float) -> str:
    """What :func:`unlogged` found, in words."""
    if what == "counts":
        return f"Values are whole numbers up to {high:.0f}: counts, where logs are expected."
    return f"Values reach {high:.4g} and none is negative: unlogged intensities, where logs are expected."
