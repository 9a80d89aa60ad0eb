"""What limma's B gives away: the assumed proportion and the prior variance of the fold changes.

B = logit(p) - log(r)/2 + (1 + df)/2 log((t^2 + df)/(t^2/r + df)), r = (v + v0)/v (Smyth 2004). Where all genes have the
same unscaled standard deviation, B is a function of |t| with two unknown numbers, p and r.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import ndimage, special

from .forensic_numbers import MAX_U, Column, Tail, common_point
from .forensic_prior import Prior, fit_prior
from .squeeze import log_upper_tail, upper_t_quantile

_PAIRS = 1500
_SOLVED = 2000  # rows whose df are solved once more
_FAR = np.log(50.0)  # a gene's unscaled variance is not so much smaller than the others'
# proportions that people write
_PLAIN = np.array([0.01, 0.001, 0.002, 0.005, *np.arange(0.02, 0.101, 0.01).round(2), 0.15, 0.2, 0.25, 0.3, 0.4, 0.5])


@dataclass(frozen=True, eq=False)
class LogOdds:
    """What B says.

    Parameters
    ----------
    proportion, ratio
        Assumed share of changed genes; r, where the genes share one (else NaN).
    used, off
        Rows looked at; those that no r, or not the common one, explains.
    shared
        Share of the rows with the common r.
    confirmed
        The proportion was recovered, not supposed.
    prior
        The prior that the genes' own r and standard errors give back.
    normal
        B is that of a normal distribution (an infinite prior).
    room
        How far the proportion and r may shift B, as far as the digits let them be known.
    """

    proportion: float
    ratio: float
    used: np.ndarray
    off: np.ndarray
    shared: float
    confirmed: bool
    prior: Prior | None = None
    normal: bool = False
    room: float = 0.0


def _kernel(t2: np.ndarray, df: np.ndarray, a: np.ndarray | float, normal: bool) -> np.ndarray:
    """B without logit(p); ``a`` = log r."""
    with np.errstate(all="ignore"):
        if normal:
            return -np.asarray(a) / 2.0 + t2 * (1.0 - np.exp(-np.asarray(a))) / 2.0
        return -np.asarray(a) / 2.0 + (1.0 + df) / 2.0 * (
            np.log1p(t2 / df) - np.log1p(t2 * np.exp(-np.asarray(a)) / df)
        )


def fit_b(
    t: Column, b: Column, own_u: np.ndarray, room: np.ndarray, effect: np.ndarray | None, level: np.ndarray | None
) -> LogOdds | None:
    """Proportion and r behind B, given each row's 1/df (and its half width); None where too few rows can tell."""
    used = np.isfinite(t.values) & np.isfinite(b.values) & np.isfinite(own_u)
    rows = np.flatnonzero(used)
    if rows.size < 5:
        return None
    with np.errstate(divide="ignore"):
        df = np.minimum(1.0 / np.maximum(own_u[rows], 1e-12), 1e12)
    t2, values = t.values[rows] ** 2, b.values[rows]
    error = (
        b.error[rows] + t.error[rows] * (np.abs(t.values[rows]) + t.error[rows] / 2.0) + 1e-9 * (1.0 + np.abs(values))
    )
    wide = room[rows] > 1e-9
    if wide.any():
        other = 1.0 / (1.0 / df + room[rows])
        error = error + 1.5 * np.abs(_kernel(t2, df, 3.0, False) - _kernel(t2, other, 3.0, False))
    forms = (False, True) if np.median(df) > 30 else (False,)  # an infinite prior: normal, whatever the df of t
    best: LogOdds | None = None
    c: float | None = None
    for normal in forms:
        if best is not None and best.shared > 0.9999:
            break
        found = _one_ratio(t2, df, values, error, normal, np.random.default_rng(0))
        if found is not None and (best is None or found[2].mean() > best.shared):
            offset, a, good = found
            off = np.zeros(used.size, dtype=bool)
            off[rows[~good]] = True
            best = LogOdds(float(special.expit(offset)), float(np.exp(a)), used, off, float(good.mean()), True,
                           normal=normal, room=float(np.median(error)))  # fmt: skip
    if best is not None and best.shared > 0.9:
        return best
    c = float(special.logit(best.proportion)) if best is not None else None
    own = [np.full(rows.size, np.nan) if item is None else item[rows] for item in (effect, level)]
    genes = Genes(t2, df, values, error, own[0], own[1], forms[-1] and np.median(df) > 5e3)
    return _many_ratios(genes, rows, used, c) or best


def _one_ratio(
    t2: np.ndarray, df: np.ndarray, b: np.ndarray, error: np.ndarray, normal: bool, rng: np.random.Generator
) -> tuple[float, float, np.ndarray] | None:
    """logit(p), log r and the rows they explain: two rows with one r give it by their difference."""
    order = np.argsort(t2)
    n = order.size
    large, small = order[(2 * n) // 3 :], order[: max(1, n // 3)]
    i, j = rng.choice(large, _PAIRS), rng.choice(small, _PAIRS)
    apart = t2[i] > t2[j] * 1.5 + 1e-3
    i, j = i[apart], j[apart]
    if not i.size:
        return None

    def difference(a: np.ndarray) -> np.ndarray:
        return _kernel(t2[i], df[i], a, normal) - _kernel(t2[j], df[j], a, normal)

    low, high = np.full(i.size, 1e-6), np.full(i.size, 40.0)
    wanted = b[i] - b[j]
    outside = (wanted < difference(low)) | (wanted > difference(high) + error[i] + error[j])
    for _ in range(60):
        middle = (low + high) / 2.0
        under = difference(middle) < wanted
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    a = np.where(outside, np.nan, (low + high) / 2.0)
    slope = (difference(a + 1e-4) - difference(a - 1e-4)) / 2e-4
    with np.errstate(all="ignore"):
        room = (error[i] + error[j]) / slope + 1e-11
    room = np.where(np.isfinite(room) & (slope > 0) & (room < 1.0), room, np.nan)
    lowest, highest, count = common_point(a - room, a + room)
    if count < max(3, 0.01 * i.size):
        return None
    start = (lowest + highest) / 2.0
    c = b - _kernel(t2, df, start, normal)
    spread = error + (highest - lowest)
    at = common_point(c - spread, c + spread)
    good = np.abs(c - (at[0] + at[1]) / 2.0) <= spread * 2
    if good.sum() < 5:
        return None
    value, offset = _refine(t2[good], df[good], b[good], error[good], start, normal)
    gap = np.abs(b - offset - _kernel(t2, df, value, normal))
    return offset, value, gap <= 3.0 * error + 1e-8 * (1.0 + np.abs(b))


def _refine(
    t2: np.ndarray, df: np.ndarray, b: np.ndarray, error: np.ndarray, a: float, normal: bool
) -> tuple[float, float]:
    """Weighted least squares for log r and logit(p)."""
    weight = 1.0 / error
    c = 0.0
    for _ in range(8):
        base = _kernel(t2, df, a, normal)
        slope = (_kernel(t2, df, a + 1e-5, normal) - _kernel(t2, df, a - 1e-5, normal)) / 2e-5
        design = np.column_stack([np.ones_like(slope), slope]) * weight[:, None]
        (c, step), *_ = np.linalg.lstsq(design, (b - base) * weight, rcond=None)
        a += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-13 or a <= 0:
            break
    return max(a, 1e-9), float(c)


def _solve_ratio(t2: np.ndarray, df: np.ndarray, gap: np.ndarray, normal: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both log r that give B - logit(p) = gap: left and right of the r where B is largest (NaN: none)."""
    peak = np.log(np.maximum(t2, 1.0))
    low, high = np.zeros_like(t2), peak.copy()
    rising = (gap >= 0) & (gap <= _kernel(t2, df, peak, normal)) & (t2 > 1)
    for _ in range(52):
        middle = (low + high) / 2.0
        under = _kernel(t2, df, middle, normal) < gap
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    left = np.where(rising, (low + high) / 2.0, np.nan)
    low, high = peak.copy(), np.full_like(t2, 60.0)
    falling = gap <= _kernel(t2, df, peak, normal) + 1e-9
    for _ in range(52):
        middle = (low + high) / 2.0
        over = _kernel(t2, df, middle, normal) > gap
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return left, np.where(falling, (low + high) / 2.0, np.nan)


@dataclass(frozen=True, eq=False)
class Genes:
    """What B, t and their neighbours say of each gene: t^2, df, B and its error, logFC, AveExpr (NaN: not there)."""

    t2: np.ndarray
    df: np.ndarray
    b: np.ndarray
    error: np.ndarray
    effect: np.ndarray
    level: np.ndarray
    normal: bool


def _many_ratios(genes: Genes, rows: np.ndarray, used: np.ndarray, c: float | None) -> LogOdds | None:
    """Genes with an r of their own (weights, missing values): B must allow one; the proportion by limma's own v0.

    limma's v0 is the mean, over the top p/2 of the genes, of v ((t/q)^2 - 1), with q the quantile the gene would have:
    with v = v0/(r - 1) from each B, that is an equation in p alone.
    """
    best: tuple[float, float, np.ndarray, Prior | None] | None = None
    # limma's v0 is an equation in p only where all genes have the same df
    tried = np.array([special.expit(c)]) if c is not None else _PLAIN if _alike(genes.df) else _PLAIN[:0]
    for p in tried:
        found = _suppose(genes, float(p), c is None)
        if found is None:
            continue
        gap, lost, prior = found
        if best is None or gap < best[0]:
            best = gap, float(p), lost, prior
        if gap < 1e-6 or (gap < 0.02 and prior is not None):
            break
    if best is None and tried.size:
        return None
    gap, p, lost, prior = best or (np.inf, 0.01, np.empty(0), None)
    sure = c is not None or gap < 0.02
    if not sure:  # only what the default allows is said
        found = _suppose(genes, 0.01, False)
        if found is None:
            return None
        p, lost, prior = 0.01, found[1], None
    off = np.zeros(used.size, dtype=bool)
    off[rows[lost]] = True
    return LogOdds(p, np.nan, used, off, 0.0, sure, prior, room=3.0 * float(np.median(genes.error)))


def _alike(df: np.ndarray) -> bool:
    return bool(np.ptp(df) <= 1e-6 * df[0])


def _suppose(genes: Genes, p: float, settle: bool) -> tuple[float, np.ndarray, Prior | None] | None:
    """Each gene's r under one proportion: how far limma's v0 is from the one supposed, rows without an r, the prior."""
    gap = genes.b - special.logit(p)
    left, right = _solve_ratio(genes.t2, genes.df, gap, genes.normal)
    alone = np.isnan(left) & np.isfinite(right)
    if not alone.any():
        return None
    typical = np.full(gap.size, float(np.median(right[alone])))
    known = alone & np.isfinite(genes.level)
    if known.sum() >= 50:  # weights follow the average expression
        order = np.argsort(genes.level[known])
        smooth = ndimage.median_filter(right[known][order], 31, mode="nearest")
        typical = np.interp(genes.level, genes.level[known][order], smooth)
    a = np.where(np.abs(left - typical) < np.abs(right - typical), left, right)
    a = np.where(np.isnan(a), np.where(np.isnan(left), right, left), a)
    peak = _kernel(genes.t2, genes.df, np.log(np.maximum(genes.t2, 1.0)), genes.normal)
    # beyond the largest r only where the digits written leave no smaller one
    beyond = gap + 3.0 * genes.error < _kernel(genes.t2, genes.df, typical + _FAR, genes.normal)
    lost = (gap > peak + 30.0 * genes.error) | ((a > typical + _FAR) & beyond)
    if not settle:
        return np.inf, lost, None
    with np.errstate(all="ignore"):
        u = genes.effect**2 / genes.t2 * np.expm1(a)  # posterior variance times v0
    shared = _alike(genes.df)
    scale = float(np.nanmedian(u)) if np.isfinite(u).any() else np.nan
    t = np.sqrt(genes.t2)
    distance = abs(_own_v0(t, genes.df, a, p, scale) - 1.0)
    prior = fit_prior(u, float(genes.df[0]), tolerance=5e-3) if shared and distance < 0.2 else None
    if prior is not None:
        scale = prior.scale
        distance = abs(_own_v0(t, genes.df, a, p, scale) - 1.0)
    # genes whose two r are both near what is expected: either may be the one
    n_top = int(np.ceil(p / 2.0 * t.size))
    top = np.argsort(-t, kind="stable")[:n_top]
    apart = np.abs(np.abs(left - typical) - np.abs(right - typical))[top]
    unsure = [int(i) for i in top[np.argsort(np.where(np.isfinite(apart), apart, np.inf))][:3] if np.isfinite(left[i])]
    for many in range(1, len(unsure) + 1):
        for some in combinations(unsure, many):
            if distance < 1e-6 or distance > 0.1:
                break
            other = a.copy()
            other[list(some)] = np.where(a == left, right, left)[list(some)]
            distance = min(distance, abs(_own_v0(t, genes.df, other, p, scale) - 1.0))
    return float(np.nan_to_num(distance, nan=np.inf)), lost, prior


def _own_v0(t: np.ndarray, df: np.ndarray, a: np.ndarray, p: float, scale: float) -> float:
    """V0 by limma's formula, in units of the v0 that the genes' r suppose (1 where p is the one used).

    limma keeps each gene's share between 0.1^2 and 4^2 over the prior variance; ``scale``: that variance times v0.
    """
    n = t.size
    n_top = int(np.ceil(p / 2.0 * n))
    if n_top < 1 or not _alike(df):
        return np.nan
    p = max(n_top / n, p)
    top = np.argsort(-t, kind="stable")[:n_top]
    null = 2.0 * np.exp(log_upper_tail(t[top], df[0]))
    wanted = ((np.arange(n_top) + 0.5) / n - (1.0 - p) * null) / p
    share = np.zeros(n_top)
    above = wanted > null
    if above.any():
        quantile = upper_t_quantile(np.log(wanted[above] / 2.0), float(df[0]))
        share[above] = ((t[top][above] / quantile) ** 2 - 1.0) / np.expm1(a[top][above])
    if np.isfinite(scale) and scale > 0:
        share = np.clip(share, 0.1**2 / scale, 4.0**2 / scale)
    return float(np.mean(share))


def beyond_digits(odds: LogOdds, t: Column, b: Column, p: Column) -> np.ndarray:
    """Rows off the odds that stay off wherever t, P and B lie within the digits written."""
    rows = np.flatnonzero(odds.off)
    out = odds.off.copy()
    if not rows.size or rows.size > _SOLVED:
        return out
    low, high = Tail("t").bracket(t.take(rows), p.take(rows))
    known = np.isfinite(p.values[rows]) & (high >= 0)
    low, high = np.where(known, low, 0.0), np.where(known, np.minimum(high, MAX_U), MAX_U)
    size, offset = np.abs(t.values[rows]), special.logit(odds.proportion)
    ends, greatest = [], []
    for share in np.linspace(0.0, 1.0, 7):
        df = 1.0 / np.maximum(low + share * (high - low), 1e-12)
        for value in (np.maximum(size - t.error[rows], 0.0), size + t.error[rows]):
            for normal in (False, True) if odds.normal else (False,):
                peak = np.log(np.maximum(value**2, 1.0))
                greatest.append(offset + _kernel(value**2, df, peak, normal))
                if np.isfinite(odds.ratio):
                    ends.append(offset + _kernel(value**2, df, np.log(odds.ratio), normal))
    room = 3.0 * (b.error[rows] + t.error[rows] * size) + 1e-8 * (1.0 + np.abs(b.values[rows])) + odds.room
    out[rows] = b.values[rows] > np.max(greatest, axis=0) + room
    if ends:
        apart = (b.values[rows] > np.max(ends, axis=0) + room) | (b.values[rows] < np.min(ends, axis=0) - room)
        # many rows apart: r differs by gene (missing values, weights), which few digits hide
        out[rows] |= apart & (apart.sum() <= 3)
    return out
