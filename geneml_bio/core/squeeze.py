"""Empirical Bayes shrinkage of gene-wise variances, and the tails of t and F, for :mod:`geneml_bio.core.moderated`.

Written from Smyth (2004), Statistical Applications in Genetics and Molecular Biology 3, article 3, and, for the trend,
from Sartor et al. (2006), BMC Bioinformatics 7:538; the numerical conventions are those of limma 3.54.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import linalg, special
from scipy.interpolate import BSpline

from .errors import DataWarning, InputError

_LARGE_DF = 1e6  # beyond this limma uses the limiting distribution


def two_sided_p(t: np.ndarray, df: np.ndarray | float) -> np.ndarray:
    """Two-sided p-value of t, with full relative accuracy in both directions (``df`` may be infinite)."""
    t, df = np.broadcast_arrays(np.asarray(t, dtype=float), np.asarray(df, dtype=float))
    with np.errstate(invalid="ignore", over="ignore"):
        t2 = np.atleast_1d(t * t)
        d = np.atleast_1d(df)
        out = special.betainc(d / 2.0, 0.5, d / (d + t2))
        # that integral loses its argument's digits near t = 0, this one those of a small result
        near = (t2 < 1e-3) & (t2 <= d)
        if near.any():
            out[near] = 1.0 - special.betainc(0.5, d[near] / 2.0, t2[near] / (d[near] + t2[near]))
        limit = ~np.isfinite(d)
        if limit.any():
            out[limit] = special.erfc(np.sqrt(t2[limit] / 2.0))
        return out.reshape(t.shape)


def f_tail(f: np.ndarray, df1: float, df2: np.ndarray) -> np.ndarray:
    """P(F > f); the chi-square limit where the first ``df2`` is huge, as limma decides it."""
    f = np.asarray(f, dtype=float)
    df2 = np.broadcast_to(np.asarray(df2, dtype=float), f.shape)
    with np.errstate(invalid="ignore"):
        if df2.size and df2.flat[0] > _LARGE_DF:
            return special.gammaincc(df1 / 2.0, df1 * f / 2.0)
        return special.betainc(df2 / 2.0, df1 / 2.0, df2 / (df2 + df1 * f))


def log_upper_tail(t: np.ndarray, df: np.ndarray | float) -> np.ndarray:
    """Log of P(T > t) for t >= 0, also where the probability itself underflows."""
    t, df = np.broadcast_arrays(np.asarray(t, dtype=float), np.asarray(df, dtype=float))
    with np.errstate(divide="ignore"):
        out = np.log(two_sided_p(t, df) / 2.0)
    far = np.isneginf(out) & np.isfinite(t) & np.isfinite(df)
    if far.any():
        a, x = df[far] / 2.0, df[far] / (df[far] + t[far] ** 2)
        fraction = np.log(_beta_fraction(a, 0.5, x)) - np.log(a) - special.betaln(a, 0.5)
        out[far] = a * np.log(x) + 0.5 * np.log1p(-x) + fraction - np.log(2.0)
    return out


def _beta_fraction(a: np.ndarray, b: float, x: np.ndarray) -> np.ndarray:
    """Continued fraction of the incomplete beta function, by Lentz' method (DLMF 8.17.22); converges for x < 1."""
    tiny = 1e-300
    value, c, d = np.ones_like(x), np.ones_like(x), np.zeros_like(x)
    for k in range(1, 5000):
        m = k // 2
        over = -(a + m) * (a + b + m) if k % 2 else m * (b - m)
        term = over * x / ((a + k - 1) * (a + k))
        d = 1.0 / np.where(np.abs(1.0 + term * d) < tiny, tiny, 1.0 + term * d)
        c = np.where(np.abs(1.0 + term / c) < tiny, tiny, 1.0 + term / c)
        value = value * c * d
        if np.max(np.abs(c * d - 1.0), initial=0.0) < 1e-15:
            break
    return 1.0 / value


def upper_t_quantile(log_p: np.ndarray, df: float) -> np.ndarray:
    """The t >= 0 with log P(T > t) = ``log_p`` (one df, ``log_p`` <= log(1/2)), by Newton steps on the log scale."""
    log_p = np.asarray(log_p, dtype=float)
    if not np.isfinite(df):
        start = -special.ndtri_exp(log_p)
        return np.maximum(start, 0.0)
    log_density_at_0 = special.gammaln((df + 1) / 2) - special.gammaln(df / 2) - 0.5 * np.log(df * np.pi)
    with np.errstate(all="ignore"):
        t = special.stdtrit(df, np.exp(log_p))
        t = np.where(np.isfinite(t), np.abs(t), -special.ndtri_exp(log_p))
    for _ in range(60):
        tail = log_upper_tail(t, df)
        gap = tail - log_p
        slope = np.exp(log_density_at_0 - (df + 1) / 2 * np.log1p(t * t / df) - tail)
        # in log t the tail is nearly straight, so that a start far away still converges
        step = gap / np.maximum(slope * t, 1e-300)
        new = np.where(t > 1e-8, t * np.exp(np.clip(step, -2.0, 2.0)), t + gap / slope)
        # each step doubles the digits: after one of 1e-9 there are no more to win
        done = np.max(np.abs(new - t) / np.maximum(t, 1e-8), initial=0.0) < 1e-9
        t = new
        if done:
            break
    return np.maximum(t, 0.0)


def _trigamma(x: Any) -> Any:
    return special.zeta(2.0, x)  # polygamma(1, x), without what that does around it


def trigamma_inverse(x: Any) -> np.ndarray:
    """The y with trigamma(y) = x, one by one (Smyth 2004, appendix: Newton on 1/trigamma, which is nearly linear)."""
    x = np.asarray(x, dtype=float)
    inside = np.clip(x, 1e-6, 1e7)
    y = 0.5 + 1.0 / inside
    step = np.ones_like(y)
    for _ in range(50):
        on = -step / y >= 1e-12  # where it is found, nothing is changed any more: no number depends on those beside it
        on |= step > 0
        if not on.any():
            break
        value = _trigamma(y)
        step = np.where(on, value * (1.0 - value / inside) / (-2.0 * special.zeta(3.0, y)), step)
        y = np.where(on, y + step, y)
    return np.where(x > 1e7, 1.0 / np.sqrt(x), np.where(x < 1e-6, 1.0 / x, y))


def _natural_spline(x: np.ndarray, df: int, at: np.ndarray) -> np.ndarray:
    """Basis of the natural cubic splines with intercept and ``df`` columns, knots at quantiles of ``x`` (R: ``ns``)."""
    low, high = float(x.min()), float(x.max())
    inner = np.quantile(x, np.linspace(0, 1, df)[1:-1]) if df > 2 else np.empty(0)
    knots = np.concatenate([[low] * 4, inner, [high] * 4])
    spline = BSpline(knots, np.eye(len(knots) - 4), 3)
    inside = np.clip(at, low, high)
    basis = spline(inside) + (at - inside)[:, None] * spline(inside, nu=1)  # straight beyond the outer knots
    bend = spline(np.array([low, high]), nu=2)
    return basis @ linalg.qr(bend.T)[0][:, 2:]


def _smooth(e: np.ndarray, covariate: np.ndarray, df: int, ok: Any) -> tuple[np.ndarray, float]:
    """Spline of ``e[ok]`` on the covariate: fitted values for every gene, and the residual variance."""
    known = covariate[ok]
    scale = float(known.max() - known.min())
    centred = (covariate - known.min()) / scale
    basis = _natural_spline(centred[ok], df, centred[ok])
    coef, _, rank, _ = linalg.lstsq(basis, e[ok], cond=1e-10)
    evar = float(np.sum((e[ok] - basis @ coef) ** 2) / (len(basis) - rank))
    return _natural_spline(centred[ok], df, centred) @ coef, evar


def _usable(s2: np.ndarray, df: Any) -> Any:
    """The genes that have a variance to learn from; a slice if all do, so that nothing is copied."""
    if df.ndim == 0 and df > 1e-15 and s2.min() > -1e-15 and s2.max() < np.inf:  # NaN is neither
        return slice(None)
    ok = np.isfinite(df) & (df > 1e-15) & np.isfinite(s2) & (s2 > -1e-15)
    return slice(None) if ok.all() else ok


def _floored(x: np.ndarray) -> np.ndarray:
    """Variances of at least a hundred-thousandth of their median."""
    low = float(x.min())
    if low < 0:
        x, low = np.maximum(x, 0.0), 0.0
    # neither is the median above the highest, nor above twice the mean: where the lowest is near enough to these it is not asked for
    highest = min(float(x.max()), 2.0 * float(x.mean()))
    if 0 < 1e-5 * highest <= low:
        return x
    middle = float(np.median(x))
    if middle == 0:
        warnings.warn(
            "More than half of the residual variances are exactly zero; the moderated statistics are unreliable. "
            "Drop genes that are constant (for example, not expressed) first.",
            DataWarning,
            stacklevel=5,
        )
        middle = 1.0
    return np.maximum(x, 1e-5 * middle)


def _fit_f_dist(s2: np.ndarray, df: np.ndarray, covariate: np.ndarray | None) -> tuple[np.ndarray | float, float]:
    """Prior variance and prior degrees of freedom of a scaled F distribution (moments of log s2)."""
    ok = _usable(s2, df)
    n_ok = s2.size if isinstance(ok, slice) else int(ok.sum())
    if n_ok == 0:
        return np.nan, np.nan
    if n_ok == 1:
        return float(s2[ok][0]), 0.0
    if covariate is not None:
        n_df = min(1 + (n_ok >= 3) + (n_ok >= 6) + (n_ok >= 30), len(np.unique(covariate)))
        if n_df < 2 or np.ptp(covariate[ok]) == 0:
            covariate = None
    x = _floored(s2[ok])
    half = df / 2.0 if df.ndim == 0 else df[ok] / 2.0
    logs = np.log(x)
    logs -= special.digamma(half) - np.log(half)
    if covariate is None:
        mean: np.ndarray | float = float(logs.mean())
        logs -= mean
        evar = float(np.einsum("i,i->", logs, logs)) / (n_ok - 1)
    else:
        e = np.full(s2.shape, np.nan)
        e[ok] = logs
        mean, evar = _smooth(e, covariate, n_df, ok)
    evar -= float(np.mean(_trigamma(half)))
    if evar > 0:
        prior, df_prior = _prior(mean, evar)
        return (float(prior) if covariate is None else prior), float(df_prior)
    # no excess variation: all genes share one variance (pooled), or the one on the trend
    return (float(x.mean()) if covariate is None else np.exp(mean)), np.inf


def _prior(mean: Any, evar: Any) -> tuple[Any, Any]:
    """Prior variance and degrees of freedom from the mean of log variances and what their variance has beyond that of chi-squares."""
    half = trigamma_inverse(evar)
    return np.exp(mean + special.digamma(half) - np.log(half)), 2.0 * half


def squeeze_rows(rss: np.ndarray, df: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """:func:`squeeze_var` of many sets of variances at once, each by itself.

    Parameters
    ----------
    rss
        sets x genes: residual sums of squares, ``df`` times the variance; overwritten.
    df
        Residual degrees of freedom of each set.

    Returns
    -------
    s2_post, s2_prior, df_prior
        sets x genes; one a set; one a set.
    """
    if rss.shape[1] < 2:
        plain = np.zeros(len(rss), dtype=bool)
    else:
        low, mean = rss.min(axis=1), rss.mean(axis=1)
        plain = (df > 0) & (low > 0) & (2e-5 * mean <= low) & np.isfinite(mean)
    if not plain.all():  # the floor may matter (see _floored)
        prior, df_prior = np.empty(len(rss)), np.empty(len(rss))
        for k in np.flatnonzero(~plain):
            rss[k], prior[k], df_prior[k] = squeeze_var(rss[k] / df[k], df[k])
        if plain.any():
            rss[plain], prior[plain], df_prior[plain] = squeeze_rows(rss[plain], df[plain])
        return rss, prior, df_prior
    logs = np.log(rss)
    centre = logs.mean(axis=1)
    logs -= centre[:, None]
    half = df / 2.0
    evar = np.einsum("ij,ij->i", logs, logs) / (rss.shape[1] - 1) - _trigamma(half)
    pooled = ~(evar > 0)
    prior, df_prior = _prior(centre - np.log(2.0) - special.digamma(half), np.where(pooled, 1.0, evar))
    prior[pooled] = mean[pooled] / df[pooled]
    rss += (df_prior * prior)[:, None]
    rss *= (1.0 / (df + df_prior))[:, None]
    rss[pooled], df_prior[pooled] = prior[pooled, None], np.inf
    return rss, prior, df_prior


def squeeze_var(
    s2: np.ndarray, df: np.ndarray | float, covariate: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray | float, float]:
    """Shrink gene-wise variances toward a common value or, with a covariate, toward a trend.

    Parameters
    ----------
    s2
        Residual variances, one a gene; NaN where a gene has none.
    df
        Residual degrees of freedom, one a gene or one for all.
    covariate
        What the prior variance may depend on (limma's trend: the average expression), or None.

    Returns
    -------
    s2_post, s2_prior, df_prior
        Posterior variances; prior variance (one number, or one a gene with a covariate); prior degrees of
        freedom (``inf`` where the variances vary no more than chance lets them).
    """
    s2 = np.asarray(s2, dtype=float)
    df = np.asarray(df, dtype=float)
    if df.size and (df.strides == (0,) or df.min() == df.max()):
        df = np.asarray(df.flat[0])  # one for all
    if not s2.size:
        raise InputError("There are no variances to shrink: the table has no genes.")
    if covariate is not None:
        covariate = np.asarray(covariate, dtype=float)
        if covariate.shape != s2.shape:
            raise InputError(f"The trend's covariate has {covariate.size} values for {s2.size} genes.")
        if not np.isfinite(covariate).all():
            raise InputError(
                f"The trend needs a finite average expression for each gene; {int((~np.isfinite(covariate)).sum())} of "
                f"{s2.size} have none. Drop genes without any value first."
            )
    if s2.size == 1:
        return s2.copy(), float(s2[0]), 0.0
    if np.any(df == 0):
        s2 = np.where(df == 0, 0.0, s2)
    prior, df_prior = _fit_f_dist(s2, df, covariate)
    if np.isnan(df_prior):
        raise InputError("No gene has a residual variance: the design uses as many coefficients as there are samples.")
    if np.isinf(df_prior):
        return np.broadcast_to(np.asarray(prior, dtype=float), s2.shape).copy(), prior, df_prior
    post = df * s2
    post += df_prior * prior
    post /= df + df_prior
    return post, prior, df_prior
