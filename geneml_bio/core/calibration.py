"""Do predicted probabilities come true? The curve, and intervals of its slope and intercept.

Slope and intercept themselves are scores (:mod:`geneml_bio.core.scores`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from .errors import InputError
from .scores import CALIBRATION, log_odds, logistic_newton, mean_defined, recalibration


def wilson(hits: np.ndarray, n: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Interval of a share by Wilson's score (1927, JASA 22:209): within 0 and 1, and of some width at 0 and 1 too."""
    z = stats.norm.ppf((1 + level) / 2)
    share, spread = hits / n, z**2 / n
    centre = (share + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return np.where(hits == 0, 0.0, centre - half), np.where(hits == n, 1.0, centre + half)  # exact at the ends


def share_interval(seen: np.ndarray, groups: np.ndarray | None = None, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share; where samples are of groups (donors), at the number of samples that they are worth.

    Parameters
    ----------
    seen
        Whether each sample counts (0/1 or boolean).
    groups
        One label a sample, or None where samples are independent.
    level
        Coverage aimed at.

    Returns
    -------
    low, high. NaN of one group: nothing tells how groups differ.

    Notes
    -----
    As for clustered surveys (Korn and Graubard 1998, Survey Methodology 24:193): the share's variance between groups says how many
    independent samples there are, at most all of them, and that number is made smaller as t of few groups is wider than normal.
    Where all samples agree each group counts once.
    """
    seen = np.asarray(seen, dtype=float)
    n, hits = len(seen), seen.sum()
    size = float(n)
    if groups is not None:
        codes = pd.factorize(np.asarray(groups))[0]
        k = int(codes.max()) + 1
        if k < 2:
            return np.nan, np.nan
        share = hits / n
        variance = k / (k - 1) * np.sum(np.bincount(codes, seen - share) ** 2) / n**2
        size = float(k) if share in (0.0, 1.0) else min(size, share * (1 - share) / max(variance, 1e-300))
        size *= float(stats.t.ppf((1 + level) / 2, n - 1) / stats.t.ppf((1 + level) / 2, k - 1)) ** 2
    low, high = wilson(np.array([hits / n * size if hits < n else size]), np.array([size]), level)
    return float(low[0]), float(high[0])


def calibration_curve(
    observed: np.ndarray,
    prob: np.ndarray,
    n_bins: int = 10,
    *,
    groups: np.ndarray | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
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
    groups
        One label a sample (its donor), or None where samples are independent.
    level
        Coverage of ``low`` and ``high``.

    Returns
    -------
    Frame ``mean_predicted observed low high n``, one row a bin, ascending; the interval is that of :func:`share_interval`.

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
    inside = [place == k for k in np.flatnonzero(there)]
    ends = [share_interval(seen[own], None if groups is None else groups[own], level) for own in inside]
    low, high = np.array(ends).T
    return pd.DataFrame(
        {"mean_predicted": total / n[there], "observed": hits / n[there], "low": low, "high": high, "n": n[there]}
    )


def calibration_intervals(
    repeats: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]], level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Intervals of the calibration slope and intercept, by the standard errors of the logistic regressions.

    Of 20 samples the percentiles of a bootstrap cover a true slope in 77 of 100 studies (resamples exaggerate it), these in 97.
    With groups the standard error is the larger of the usual one and the one that is robust to groups, and the quantile is
    that of t with groups - 1 degrees of freedom. The error of a mean, over repeats or classes, is taken to be the mean error:
    they are of the same samples.

    Parameters
    ----------
    repeats
        Class codes, probabilities (samples x classes) and group labels (or None) of each repeat.
    level
        Coverage aimed at.

    Returns
    -------
    Metric -> low, high. NaN where the metric is not defined in any repeat.
    """
    centre, error, n_groups = [], [], []
    for observed, prob, groups in repeats:
        codes = [1] if prob.shape[1] == 2 else range(prob.shape[1])
        each = np.array([_with_errors((observed == code).astype(float), prob[:, code], groups) for code in codes])
        value, off = each.mean(axis=0).T
        centre.append(value)
        error.append(off)
        n_groups.append(np.inf if groups is None else len(set(groups)))
    df = min(n_groups) - 1
    quantile = stats.norm.ppf((1 + level) / 2) if np.isinf(df) else stats.t.ppf((1 + level) / 2, df)
    middle, half = mean_defined(np.array(centre)), quantile * mean_defined(np.array(error))
    return {name: (float(middle[i] - half[i]), float(middle[i] + half[i])) for i, name in enumerate(CALIBRATION)}


def _with_errors(seen: np.ndarray, prob: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
    """Slope and intercept, each with its standard error."""
    order = np.argsort(prob, kind="stable")
    pos, neg, x = seen[order, None], 1 - seen[order, None], log_odds(prob[order])
    slope, intercept = (float(v[0]) for v in recalibration(pos, neg, prob[order]))
    own = None if groups is None else pd.factorize(groups[order])[0]
    out = np.full((2, 2), np.nan)
    if np.isfinite(slope):
        # from the start that found the slope: far from it, at the slope alone, all probabilities may be 0 or 1
        a = float(logistic_newton(pos, neg, x, np.zeros((2, 1)), True)[0, 0])
        out[0] = slope, _error(np.column_stack([np.ones_like(x), x]), expit(a + slope * x), pos[:, 0], own)
    if np.isfinite(intercept):
        out[1] = intercept, _error(np.ones((len(x), 1)), expit(intercept + x), pos[:, 0], own)
    return out


def _error(X: np.ndarray, p: np.ndarray, seen: np.ndarray, groups: np.ndarray | None) -> float:
    """Standard error of the last coefficient of a logistic regression."""
    inverse = np.linalg.pinv((X * (p * (1 - p))[:, None]).T @ X)
    variance = inverse[-1, -1]
    if groups is not None and groups.max() > 0:
        n = groups.max() + 1
        score = np.column_stack([np.bincount(groups, column * (seen - p)) for column in X.T])
        variance = max(variance, n / (n - 1) * (inverse @ score.T @ score @ inverse)[-1, -1])
    return float(np.sqrt(variance))
