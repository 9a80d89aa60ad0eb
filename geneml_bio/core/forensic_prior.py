"""Prior and residual degrees of freedom, from the standard errors of all genes: a fixed point of limma's eBayes.

With d residual and d0 = df - d prior degrees of freedom, a gene's residual variance is s^2 = (df se^2 - d0 s0^2)/d. limma
fits s0^2 (one number, or a spline over the average expression) and d0 to log s^2 by moments (Smyth 2004; Phipson et al.
2016); a table that eBayes made is the one for which this gives back the same s0^2 and d0, and only with its own d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from .squeeze import _natural_spline

_STEPS = 25


@dataclass(frozen=True)
class Prior:
    """limma's prior.

    Parameters
    ----------
    df_residual, df_prior
        Their sum is the df of t.
    scale
        Prior variance (with a trend: its median) times the squared unscaled standard deviation.
    trend
        The prior variance depends on the average expression.
    """

    df_residual: int
    df_prior: float
    scale: float
    trend: bool = False


def fit_prior(se2: np.ndarray, df: float, level: np.ndarray | None = None, tolerance: float = 1e-7) -> Prior | None:
    """Split df into residual and prior ones; None where no whole number of residual ones is a fixed point.

    Parameters
    ----------
    se2
        Squared standard errors of the fold changes, over the squared unscaled standard deviation up to a factor.
    df
        Degrees of freedom of t.
    level
        Average expression, for a trended prior; None: one prior variance.
    tolerance
        Greatest misfit of the moments (exact numbers: 1e-12; variances solved for through B: 1e-3).
    """
    known = np.isfinite(se2) & (se2 > 0)
    if level is not None:
        known &= np.isfinite(level)
    if known.sum() < 50 or known.sum() < 0.999 * np.isfinite(se2).sum() or not 1 < df < 5e3:
        return None
    unit = float(np.median(se2[known]))
    u = se2[known] / unit
    basis = np.ones((u.size, 1))
    if level is not None:
        x = level[known]
        if np.ptp(x) == 0:
            return None
        x = (x - x.min()) / np.ptp(x)
        basis = _natural_spline(x, 4, x)
    basis = np.asfortranarray(basis)
    inverse = np.ascontiguousarray(np.linalg.solve(basis.T @ basis, basis.T))
    low, high = 1, int(np.ceil(df)) - 1
    # too few residual df: the genes vary less than they should (or there is no fixed point); too many: more
    while low <= high:
        d = (low + high) // 2
        misfit, prior = _fixed_point(u, df, d, basis, inverse)
        if abs(misfit) < tolerance:
            return Prior(d, df - d, float(np.median(prior)) * unit, level is not None)
        low, high = (d + 1, high) if misfit > 0 else (low, d - 1)
    return None


# by sums: the threads of a BLAS cost more than products this thin


def _project(inverse: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array([float(np.sum(row * values)) for row in inverse])


def _along(basis: np.ndarray, theta: np.ndarray) -> np.ndarray:
    out = basis[:, 0] * theta[0]
    for j in range(1, theta.size):
        out = out + basis[:, j] * theta[j]
    return out


def _fixed_point(u: np.ndarray, df: float, d: int, basis: np.ndarray, inverse: np.ndarray) -> tuple[float, np.ndarray]:
    """Newton steps to the prior variances that their own residual variances give; excess variance of log s^2 (inf: none)."""
    d0 = df - d
    shift = special.digamma(d0 / 2.0) - np.log(d0 / 2.0)
    centre = special.digamma(d / 2.0) - np.log(d / 2.0)
    ceiling = np.log(df * u / d0) - shift  # of basis @ theta: above it a residual variance is negative
    theta = _project(inverse, np.log(u))
    theta = theta + _project(inverse, np.full(u.size, min(0.0, float(np.min(ceiling - _along(basis, theta))) - 0.02)))
    none = np.inf, np.full(1, np.nan)
    for _ in range(_STEPS):
        prior = np.exp(_along(basis, theta) + shift)
        s2 = (df * u - d0 * prior) / d
        if not s2.min() > 0:
            return none
        gap = _project(inverse, np.log(s2) - centre) - theta
        if np.abs(gap).max() < 1e-12:
            break
        weight = -(d0 / d) * prior / s2
        slope = np.stack([_project(inverse, column * weight) for column in basis.T], axis=1) - np.eye(theta.size)
        if not np.isfinite(slope).all() or abs(np.linalg.det(slope)) < 1e-12:
            return none
        step, share = np.linalg.solve(slope, -gap), 1.0
        while np.min(ceiling - _along(basis, theta + share * step)) <= 0:
            share /= 2.0
            if share < 1e-5:
                return none
        theta = theta + share * step
    else:
        return none
    rest = np.log(s2) - centre - _along(basis, theta)
    excess = float(np.sum(rest**2)) / (u.size - theta.size) - float(special.polygamma(1, d / 2.0))
    return excess - float(special.polygamma(1, d0 / 2.0)), prior
