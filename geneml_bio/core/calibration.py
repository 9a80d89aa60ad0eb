"""Do predicted probabilities come true? The curve; its slope and intercept are scores (:mod:`geneml_bio.core.scores`)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from .errors import InputError


def wilson(hits: np.ndarray, n: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a share by Wilson's score (1927, JASA 22:209): within 0 and 1, and of some width at 0 and 1 too."""
    z = stats.norm.ppf((1 + level) / 2)
    share, spread = hits / n, z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return np.where(hits == 0, 0.0, centre - half), np.where(hits == n, 1.0, centre + half)  # exact at the ends


def calibration_curve(observed: np.ndarray, prob: np.ndarray, n_bins: int = 10, *, level: float = 0.95) -> pd.DataFrame:
    """How often the class occurred among samples that were given about the same probability of it.

    Parameters
    ----------
    observed
        Whether each sample is of the class (0/1 or boolean).
    prob
        The probability predicted for it. One value a sample: of one repeat, or the mean over repeats. Pooled repeats
        would count each sample several times, and the intervals would be too narrow.
    n_bins
        Bins of about equal numbers of samples (quantiles of ``prob``; equal probabilities share a bin, so there may be fewer).
    level
        Coverage of ``low`` and ``high``.

    Returns
    -------
    Frame ``mean_predicted observed low high n``, one row a bin, ascending; the interval is Wilson's.

    Raises
    ------
    InputError
        Lengths that differ, no samples, values outside 0 and 1, missing values, a number of bins below 1.
    """
    seen, prob = np.asarray(observed, dtype=float), np.asarray(prob, dtype=float)
    if seen.ndim != 1 or seen.shape != prob.shape or not len(prob):
        raise InputError(
            f"A calibration curve needs one observation and one probability a sample, got {seen.shape} and {prob.shape}."
        )
    if not np.isin(seen, (0, 1)).all():
        raise InputError("observed= must be 0/1 or boolean: whether each sample is of the class.")
    if not ((prob >= 0) & (prob <= 1)).all():
        raise InputError("prob= must hold probabilities between 0 and 1, none missing.")
    if isinstance(n_bins, bool) or not isinstance(n_bins, int | np.integer) or n_bins < 1:
        raise InputError(f"n_bins must be an integer of at least 1, got {n_bins!r}.")
    edges = np.quantile(prob, np.linspace(0, 1, n_bins + 1)[1:-1])
    place = np.searchsorted(edges, prob)
    n = np.bincount(place, minlength=n_bins)
    there = n > 0
    hits, total = (np.bincount(place, weights=v, minlength=n_bins)[there] for v in (seen, prob))
    low, high = wilson(hits, n[there], level)
    return pd.DataFrame(
        {"mean_predicted": total / n[there], "observed": hits / n[there], "low": low, "high": high, "n": n[there]}
    )
