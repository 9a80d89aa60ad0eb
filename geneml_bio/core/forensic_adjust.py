"""What an adjusted p-value was made from: the method, the number of tests, the rows that are no longer there.

Of n rows sorted by p, Benjamini and Hochberg's (1995) adjustment is the running minimum, from the end, of p m / rank.
A row that is its own minimum tells m / rank; m is the number of tests whatever has become of the other rows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np

from .forensic_numbers import TINY, Column, column, common_point
from .pvalues import ADJUSTMENTS, adjust

_MOST = 1e9  # no table has as many tests


@dataclass(frozen=True, eq=False)
class Adjustment:
    """How adj.P.Val came about.

    Parameters
    ----------
    method
        One of p.adjust's, ``"Storey"`` or None (not found out).
    state
        ``whole`` (of exactly these rows), ``top`` (the first rows of a longer table), ``gaps`` (rows are missing from
        between), ``partial`` (rows are missing, where is not known), ``scaled`` (``pi0`` times BH), ``rows`` (whole but
        for ``wrong``), ``moved`` (whole, if the p-values of ``wrong`` were others), ``disordered`` (no function of p),
        ``unknown``, ``absent``.
    n_tests
        Number of tests; None where not recovered.
    at_least
        A bound on it.
    pi0
        The factor of a q-value.
    wrong
        Rows (positions) that do not belong.
    ranks
        For ``gaps``: rows and their ranks in the whole table.
    """

    method: str | None
    state: str
    n_tests: int | None = None
    at_least: int | None = None
    pi0: float | None = None
    wrong: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))
    ranks: tuple[np.ndarray, np.ndarray] | None = None


def _close(stated: Column, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    slack = stated.error + 1e-9 * np.abs(stated.values) + 1e-300
    with np.errstate(invalid="ignore"):
        return (stated.values >= low * (1 - 1e-9) - slack) & (stated.values <= high * (1 + 1e-9) + slack)


def fits_method(p: Column, stated: Column, method: str) -> np.ndarray:
    """Rows whose adjusted value is what the method makes of all p-values, within the digits written."""
    if p.exact:
        again = adjust(p.values, method)
        return _close(stated, again, again)
    # each method is monotone in every p, so that the ends of the intervals bound the result
    return _close(stated, adjust(np.maximum(p.low, 0.0), method), adjust(np.minimum(p.high, 1.0), method))


def _is_whole(p: Column, fit: np.ndarray) -> bool:
    # a p-value that vanished was adjusted before it did
    return not (~fit & (p.values > TINY)).any() and bool(fit.all() or fit.sum() >= 5)


def is_adjusted(p_values: np.ndarray, stated: np.ndarray, method: str = "BH") -> bool:
    """Whether the adjusted values are the method's of exactly these p-values: what :func:`diagnose` calls ``whole``."""
    rows = np.flatnonzero(np.isfinite(p_values) & np.isfinite(stated))
    if not rows.size:
        return False
    p, q = column(p_values).take(rows), column(stated).take(rows)
    return _is_whole(p, fits_method(p, q, method))


def _decreases(p: np.ndarray, q: Column) -> float:
    """Share of steps to a larger p at which q falls, among those at which it changes."""
    order = np.lexsort((q.values, p))
    step, room = np.diff(q.values[order]), q.error[order]
    moved = np.abs(step) > room[1:] + room[:-1] + 1e-9 * q.values[order][1:]
    return float(np.mean(step[moved] < 0)) if moved.any() else 0.0


def diagnose(p_values: Column, stated: Column) -> Adjustment:
    """Find out how the adjusted values came about; rows without one of the two are left out."""
    rows = np.flatnonzero(np.isfinite(p_values.values) & np.isfinite(stated.values))
    if rows.size == 0:
        return Adjustment(None, "absent")
    p, q = p_values.take(rows), stated.take(rows)
    n = rows.size
    misfits: dict[str, np.ndarray] = {}
    for method in ADJUSTMENTS:
        fit = fits_method(p, q, method)
        wrong = np.flatnonzero(~fit & (p.values > TINY))
        if _is_whole(p, fit):
            return Adjustment(method, "whole", n_tests=n)
        misfits[method] = wrong
    method = min(misfits, key=lambda name: int(misfits[name].size))
    if n >= 20 and misfits[method].size <= max(1, int(np.sum(q.values < 1)) // 50):
        few = misfits[method]
        moved = _moved(p, q) if few.size > 1 else None
        if moved is None or moved[1].size >= few.size:
            return Adjustment(method, "rows", n_tests=n, wrong=rows[few])
    else:
        moved = _moved(p, q)
    if moved is not None:
        return Adjustment(moved[0], "moved", n_tests=n, wrong=rows[moved[1]])
    if n >= 10 and _decreases(p.values, q) > 0.05:
        return Adjustment(None, "disordered")
    return _scaled(p, q) or _incomplete(p, q)


def _moved(p: Column, q: Column) -> tuple[str, np.ndarray] | None:
    """Rows of which the p-value was changed after the adjustment: all others keep one order.

    Their p-values are put back where their adjusted ones say, and the whole is adjusted again.
    """
    n = p.values.size
    order = np.lexsort((q.values, p.values))
    wrong = order[_out_of_order(q.values[order])]
    if n < 20 or not 0 < wrong.size <= max(1, n // 50):
        return None
    rest = np.setdiff1d(np.arange(n), wrong)
    for method in ("BH", "BY", "holm", "bonferroni"):
        values = p.values.copy()
        for i in wrong:
            values[i] = _put_back(p.values[rest], q.values[rest], q.values, i, method)
        mended = Column(np.clip(values, 0.0, 1.0), p.error, p.digits, p.decimals)
        fits = fits_method(mended, q, method)
        fits[wrong] = True
        if fits.mean() > 0.999:
            return method, wrong
    return None


def _put_back(p: np.ndarray, q: np.ndarray, all_q: np.ndarray, i: int, method: str) -> float:
    """A p-value that has the adjusted value of row ``i``: the one that made it, or that of a row that made its own."""
    n, own = all_q.size, all_q[i]
    peers = p[np.abs(q - own) <= 1e-9 * own]
    if method in ("holm", "bonferroni"):
        rank = float(np.sum(all_q < own * (1 - 1e-9))) if method == "holm" else 0.0
        return own / (n - rank) if not peers.size else float(peers.min())
    rank = float(np.sum(all_q <= own * (1 + 1e-9)))
    factor = n / rank * (np.sum(1.0 / np.arange(1, n + 1)) if method == "BY" else 1.0)
    if peers.size and factor * peers.max() >= own * (1 - 1e-9):
        return float(peers.max())
    return own / factor


def _out_of_order(values: np.ndarray) -> np.ndarray:
    """Positions outside the longest run of values that never falls (patience sorting)."""
    tops: list[float] = []
    at: list[int] = []
    before = np.full(values.size, -1)
    for i, value in enumerate(values.tolist()):
        pile = bisect_right(tops, value)
        if pile:
            before[i] = at[pile - 1]
        if pile == len(tops):
            tops.append(value)
            at.append(i)
        else:
            tops[pile], at[pile] = value, i
    keep = np.zeros(values.size, dtype=bool)
    i = at[-1] if at else -1
    while i >= 0:
        keep[i] = True
        i = int(before[i])
    return np.flatnonzero(~keep)


def _scaled(p: Column, q: Column) -> Adjustment | None:
    """Storey's q-value: a constant below 1 times BH."""
    low, high = (adjust(np.maximum(end, 0.0)) for end in (p.low, p.high))
    use = (q.values < 1) & (low > 0) & (high < 1)
    if np.unique(q.values[use]).size < 5:
        return None
    lowest, highest, count = common_point(
        (q.low[use] / high[use]) * (1 - 1e-9), (q.high[use] / np.maximum(low[use], 1e-300)) * (1 + 1e-9)
    )
    factor = (lowest + highest) / 2.0
    if count < use.sum() or not factor < 1 - 1e-7:
        return None
    return Adjustment("Storey", "scaled", n_tests=p.values.size, pi0=factor)


def _incomplete(p: Column, q: Column) -> Adjustment:
    """BH (or holm, bonferroni) over more tests than there are rows."""
    n = p.values.size
    order = np.lexsort((q.values, p.values))
    p, q = p.take(order), q.take(order)
    # rows tied in p share the last one's rank
    rank = np.searchsorted(p.values, p.values, side="right").astype(float)
    use = (p.low > 0) & (q.high < 1) & (p.values > 1e-290)
    if not use.any():
        return Adjustment(None, "unknown")
    low = np.where(use, q.low / np.where(use, p.high, 1.0), np.nan) * (1 - 1e-10)
    high = np.where(use, q.high / np.where(use, p.low, 1.0), np.nan) * (1 + 1e-10)
    found = _other_method(low, high, use, n)
    if found is not None:
        return found
    bound = float(np.nanmax(low * rank))
    if not bound < _MOST:
        return Adjustment(None, "unknown")
    least = ceil(bound - 1e-6)
    if bound <= n * (1 + 1e-9):
        # rows left out evenly, or BH of another set of p-values
        gaps = _gaps(p, q, use, n + 1)
        return gaps if gaps.state == "gaps" else Adjustment(None, "unknown")
    # a row whose successor has a larger value is its own minimum
    own = use.copy()
    own[:-1] &= q.low[1:] > q.high[:-1]
    own[-1] = False
    lowest, highest, count = common_point(low[own] * rank[own], high[own] * rank[own])
    if own.any() and count >= max(1, 0.9 * own.sum()):
        m = _whole_number(lowest, highest)
        if m is not None and m > n and _rebuilds(p, q, rank, m):
            return Adjustment("BH", "top", n_tests=m, at_least=m)
        by = _by_tests((lowest + highest) / 2.0) if m is None and p.exact and q.exact else None
        if by is not None and by > n:
            return Adjustment("BY", "top", n_tests=by, at_least=by)
        if highest > n and _rebuilds(p, q, rank, (lowest + highest) / 2.0):
            return Adjustment(
                "BH", "top" if highest - lowest > 1e-3 else "partial", None, max(n + 1, ceil(lowest - 1e-6))
            )
    if not own.any():
        return Adjustment("BH", "partial", None, least)
    return _gaps(p, q, use, least)


def _whole_number(low: float, high: float) -> int | None:
    if not high < _MOST:
        return None
    inside = range(ceil(low - 1e-6), floor(high + 1e-6) + 1)
    return inside[0] if len(inside) == 1 else None


def _rebuilds(p: Column, q: Column, rank: np.ndarray, m: float) -> bool:
    """Whether m tests give the stated values, where rows beyond the last may have lowered the last ones."""
    last = q.high[-1]
    low, high = (
        np.minimum(np.minimum.accumulate((end * m / rank)[::-1])[::-1], 1.0) for end in (np.maximum(p.low, 0.0), p.high)
    )
    fit = _close(q, np.minimum(low, last), np.minimum(high, last))
    return bool(np.mean(fit) > 0.999)


def _other_method(low: np.ndarray, high: np.ndarray, use: np.ndarray, n: int) -> Adjustment | None:
    """Bonferroni or Holm over more tests than rows: the ratio is m, or m + 1 - rank."""
    if use.sum() < 3:
        return None
    place = np.arange(n, dtype=float)
    for method, offset in (("bonferroni", np.zeros(n)), ("holm", place)):
        lowest, highest, count = common_point((low + offset)[use], (high + offset)[use])
        m = _whole_number(lowest, highest)
        if count == use.sum() and m is not None and m > n:
            return Adjustment(method, "top", n_tests=m, at_least=m)
    ratio = (low[use] + high[use]) / 2.0
    if use.sum() >= 10 and np.all(high[use] - low[use] < 1e-3) and np.mean(np.abs(ratio - np.rint(ratio)) < 1e-6) > 0.9:
        return Adjustment("holm", "partial", None, int(np.rint(np.max(ratio + place[use]))))
    return None


def _by_tests(scaled: float) -> int | None:
    """The m of which m (1 + 1/2 + ... + 1/m) is the number given."""
    if not 1 < scaled < 1e8:
        return None
    m = np.arange(1, ceil(scaled) + 1 if scaled < 1e5 else ceil(scaled / 8))
    product = m * np.cumsum(1.0 / m)
    at = int(np.argmin(np.abs(product - scaled)))
    return int(m[at]) if abs(product[at] - scaled) < 1e-9 * scaled else None


def _fractions(ratio: np.ndarray) -> list[tuple[int, int]]:
    """Ratios as fractions of whole numbers, by continued fractions, where the digits single one out."""
    found = []
    for value in ratio[ratio < _MOST]:
        a, b, c, d = 1, floor(value), 0, 1  # previous and current denominator and numerator, interleaved
        previous, current, low_previous, low = 1, b, c, d
        rest = value - b
        for _ in range(25):
            if abs(current / low - value) <= 4e-14 * value:
                if current * low < 1e11:
                    found.append((current, low))
                break
            if rest < 1e-12 or low > 10**7:
                break
            rest = 1.0 / rest
            a = floor(rest)
            rest -= a
            previous, current = current, a * current + previous
            low_previous, low = low, a * low + low_previous
    return found


def _gaps(p: Column, q: Column, use: np.ndarray, least: int) -> Adjustment:
    """Rows missing from between: m / rank of the rows left are fractions with one numerator."""
    partial = Adjustment("BH", "partial", None, least)
    if not (p.exact and q.exact):
        return partial
    last = use.copy()
    last[:-1] &= q.values[1:] > q.values[:-1] * (1 + 1e-12)
    rows = np.flatnonzero(last)
    rows = rows[:: max(1, rows.size // 300)]
    ratio = q.values[rows] / p.values[rows]
    fractions = _fractions(ratio)
    if not fractions:
        return partial
    best, hits = 0, 0
    votes = Counter(top for top, _ in fractions if top >= least)
    for m in sorted(candidate for candidate, _ in votes.most_common(12)):
        rank = m / ratio
        count = int(np.sum(np.abs(rank - np.rint(rank)) < 1e-12 * m + 1e-10 * rank))
        if count > hits:
            best, hits = m, count
    if hits < max(3, 0.1 * rows.size):
        return partial
    rank = best / ratio
    good = np.abs(rank - np.rint(rank)) < 1e-10 * rank + 1e-12 * best
    return Adjustment(
        "BH", "gaps", n_tests=best, at_least=best, ranks=(rows[good] + 1, np.rint(rank[good]).astype(int))
    )
