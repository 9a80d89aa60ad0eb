"""Which test made a p-value from a statistic: t, normal, F, chi-square or treat, and on how many degrees of freedom."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy import optimize

from .forensic_numbers import MAX_U, TINY, Column, Tail, common_point, rank_agreement
from .squeeze import two_sided_p

_SOLVED = 300  # rows that are solved for their own df
_MORE = 1000  # rows off the common df that are looked at one by one


@dataclass(frozen=True, eq=False)
class TestFit:
    """A test, as far as the numbers tell it.

    Parameters
    ----------
    tail
        The distribution; None: the p-values are not those of the statistic.
    u
        One over the common degrees of freedom (NaN: no two rows share them).
    interval
        What the digits written allow for ``u``.
    used, off, impossible
        Rows that have both numbers; those with other degrees of freedom; those that no degrees of freedom can mend.
    own_u
        ``u`` per row (the common one, or its own where that was solved; NaN elsewhere).
    room
        Half of what the digits allow for it.
    pattern
        ``shared``, ``steps`` (differing by whole numbers: missing values), ``lower`` (some rows have fewer: robust),
        ``varied``, ``none``.
    lfc
        The bound of treat; None for an ordinary test.
    agreement
        Spearman's correlation of the statistic's size with small p-values.
    one_sided
        The p-value looks one way.
    """

    tail: Tail | None
    u: float
    interval: tuple[float, float]
    used: np.ndarray
    off: np.ndarray
    impossible: np.ndarray
    own_u: np.ndarray
    room: np.ndarray
    pattern: str
    lfc: float | None = None
    agreement: float = np.nan
    one_sided: bool = False
    counts: dict[float, int] = field(default_factory=dict)

    @property
    def df(self) -> float:
        """Common degrees of freedom, inf in the normal limit."""
        return np.inf if self.u == 0 else 1.0 / self.u

    @property
    def share(self) -> float:
        """Share of the rows with the common degrees of freedom."""
        return 1.0 - self.off.sum() / max(1, self.used.sum())


def _spread(rows: np.ndarray, by: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly by rank."""
    if rows.size <= most:
        return rows
    ordered = rows[np.argsort(by[rows], kind="stable")]
    return ordered[np.linspace(0, rows.size - 1, most).astype(int)]


def _clear(size: np.ndarray, p: Column, used: np.ndarray) -> np.ndarray:
    """Rows that say something about the degrees of freedom."""
    clear = np.flatnonzero(used & (p.values > TINY) & (p.values - p.error > 0) & (p.values < 0.5))
    return clear if clear.size >= 3 else np.flatnonzero(used & (p.values > TINY) & (p.values < 0.999))


def fit_test(x: Column, p: Column, tail: Tail) -> TestFit:
    """Degrees of freedom that turn the statistic into the p-value, shared or not."""
    size = np.abs(x.values)
    used = np.isfinite(size) & np.isfinite(p.values) & (size > 0)
    empty = np.zeros(size.size, dtype=bool)
    agreement = rank_agreement(size[used], -p.values[used])
    nothing = TestFit(
        tail,
        np.nan,
        (np.nan, np.nan),
        used,
        used.copy(),
        empty,
        np.full(size.size, np.nan),
        np.zeros(size.size),
        "none",
        None,
        agreement,
    )
    clear = _clear(size, p, used)
    if clear.size == 0:
        return nothing
    rows = _spread(clear, size, _SOLVED)
    low, high = tail.bracket(x.take(rows), p.take(rows))
    fine = np.where(high >= 0, high, np.nan)
    lowest, highest, count = common_point(low, fine)
    u, off = np.nan, used.copy()
    if count >= max(1, 0.02 * rows.size) and (rows.size < 10 or count >= 3):
        u = _middle(lowest, highest)
        off = used & ~(tail.fits(x, p, u) | _both_vanish(x, p, tail, u))
        near = np.flatnonzero(off & (p.values > TINY))
        if highest > lowest and 0 < near.size < 0.05 * used.sum() and not (x.exact and p.exact):
            # rounded rows that were not among those solved may narrow the stretch further
            more_low, more_high = tail.bracket(x.take(near), p.take(near))
            touch = (more_high >= lowest) & (more_low <= highest)
            lowest, highest = (
                max(lowest, np.max(more_low[touch], initial=0.0)), min(highest, np.min(more_high[touch], initial=np.inf)),
            )  # fmt: skip
            u = _middle(lowest, highest)
            off = used & ~(tail.fits(x, p, u) | _both_vanish(x, p, tail, u))
    own = np.where(used & ~off, u, np.nan)
    room = np.where(np.isfinite(own), (highest - max(lowest, 0.0)) / 2.0, 0.0)
    impossible, pattern, counts = _look_at(x, p, tail, u, (lowest, highest), off, own, room)
    return TestFit(
        tail, u, (lowest, highest), used, off, impossible, own, room, pattern, agreement=agreement, counts=counts
    )  # fmt: skip


def _middle(lowest: float, highest: float) -> float:
    return 0.0 if lowest <= 0 else float(min((lowest + highest) / 2.0, 4.0))


def _both_vanish(x: Column, p: Column, tail: Tail, u: float) -> np.ndarray:
    """Rows whose p-value is too small for a double both as given and by the statistic."""
    return (p.values < TINY) & (tail.p(np.abs(x.values), u) < TINY * 1e2)


def _look_at(
    x: Column,
    p: Column,
    tail: Tail,
    u: float,
    interval: tuple[float, float],
    off: np.ndarray,
    own: np.ndarray,
    room: np.ndarray,
) -> tuple[np.ndarray, str, dict[float, int]]:
    """The rows off the common degrees of freedom: impossible ones, and the pattern of the others (fills ``own`` and ``room``)."""
    impossible = np.zeros(off.size, dtype=bool)
    others = np.flatnonzero(off)
    if others.size == 0:
        return impossible, "shared", {}
    size = np.abs(x.values)
    rows = _spread(others, size, _MORE if tail.name == "t" else _MORE // 4)
    if rows.size < others.size:  # the others: whether any degrees of freedom would do
        least = tail.p(size[others] + x.error[others], 0.0)
        most = tail.p(np.maximum(size[others] - x.error[others], 0.0), MAX_U)
        about = p.error[others] + 1e-9 * p.values[others]
        no = (p.values[others] + about < least) | (p.values[others] - about > most)
        impossible[others[no & (p.values[others] > TINY) & ((tail.name == "t") | (p.values[others] < 0.3))]] = True
    lost = p.high[rows] < TINY  # too small to be solved: judged by the common df alone
    low, high = tail.bracket(x.take(rows), p.take(rows))
    bad = (high < 0) | np.isinf(low) | lost
    if tail.name == "F" and tail.df1 > 1:
        keep = p.values[rows] < 0.3  # a small F has no one df2
        rows, low, high, bad = rows[keep], low[keep], high[keep], bad[keep]
    impossible[rows[bad]] = True
    fine = rows[~bad]
    # where a bracket is wide the value is not known: the common one will do
    middle = (low[~bad] + np.minimum(high[~bad], 4.0)) / 2.0
    own[fine] = middle
    room[fine] = (np.minimum(high[~bad], MAX_U) - low[~bad]) / 2.0
    if fine.size == 0:
        return impossible, "shared", {}
    if not np.isfinite(u):
        return impossible, "varied", {}
    if u > 0:
        ends = 1.0 / np.maximum(np.minimum(high[~bad], 4.0), 1e-12), 1.0 / np.maximum(low[~bad], 1e-12)
        steps = np.rint((ends[0] + ends[1]) / 2.0 - 1.0 / u)
        slack = 1e-5 + 1e-9 / u
        hit = (ends[0] - slack <= 1.0 / u + steps) & (ends[1] + slack >= 1.0 / u + steps) & (ends[1] - ends[0] < 0.2)
        known = ends[1] - ends[0] < 0.2
        if known.sum() >= 3 and hit.sum() >= 0.95 * known.sum():
            at, times = np.unique(steps[hit], return_counts=True)
            if x.exact and p.exact:
                impossible[fine[known & ~hit]] = True
                rest = np.setdiff1d(others, rows)
                alone = rest[~np.any([tail.fits(x.take(rest), p.take(rest), 1.0 / (1.0 / u + k)) for k in at], axis=0)]
                low, high = tail.bracket(x.take(alone), p.take(alone))
                with np.errstate(divide="ignore"):
                    apart = 2.0 / (low + np.minimum(high, MAX_U)) - 1.0 / u
                whole = (np.abs(apart - np.rint(apart)) < slack) | (1.0 / low - 1.0 / high > 0.2)
                impossible[alone[~whole]] = True
            return impossible, "steps", {float(1.0 / u + k): int(c) for k, c in zip(at, times, strict=True)}
    fewer = middle >= interval[0]
    return impossible, "lower" if fewer.mean() > 0.9 else "varied", {}


def fit_treat(t: Column, logfc: Column, p: Column) -> TestFit | None:
    """The bound and the degrees of freedom of McCarthy and Smyth's (2009) test against a minimal fold change.

    With x the size of logFC, s that of t and se = (x - lfc) / s: P = S(s) + S((x + lfc) / se), S the upper tail of t.
    """
    size, effect = np.abs(t.values), np.abs(logfc.values)
    known = np.isfinite(size) & np.isfinite(effect) & np.isfinite(p.values)
    inside = known & (size == 0) & (effect > 0)
    used = known & (size > 0)
    if used.sum() < 3:
        return None
    upper = float(np.min(effect[used]))
    lower = float(np.max(effect[inside], initial=0.0))
    if inside.any() and lower > upper * (1 + 1e-6) + 2 * float(np.max(logfc.error[known])):
        return None
    clear = np.flatnonzero(used & (p.values > 1e-200) & (p.values - p.error > 0))
    if clear.size < 3:
        return None
    rows = _spread(clear, size, _SOLVED)
    s, e, wanted = size[rows], effect[rows], np.log(p.values[rows])

    def gap(parameters: np.ndarray) -> np.ndarray:
        lfc, df = parameters[0], 1.0 / parameters[1]
        with np.errstate(all="ignore"):
            far = s * (e + lfc) / np.maximum(e - lfc, 1e-300)
            out = np.log((two_sided_p(s, df) + two_sided_p(far, df)) / 2.0) - wanted
        return np.clip(np.nan_to_num(out, nan=50.0), -50.0, 50.0)

    top = max(upper * (1 - 1e-12), lower + 1e-12)
    bounds = ([min(lower, top) * (1 - 1e-9) - 1e-12, 1e-9], [top + 1e-9, 4.0])
    best = None
    for share in (0.5, 0.02, 0.98):
        start = [bounds[0][0] + share * (bounds[1][0] - bounds[0][0]), 0.02]
        fit = optimize.least_squares(
            gap, start, bounds=bounds, x_scale="jac", loss="soft_l1", f_scale=1e-2, xtol=1e-15, ftol=1e-15, gtol=1e-15,
            max_nfev=80,
        )  # fmt: skip
        if best is None or fit.cost < best.cost:
            best = fit
        if best.cost < 1e-12:
            break
    if best is None:
        return None
    for _ in range(2):  # without the rows that are off: they may have been changed
        apart = np.abs(gap(best.x))
        keep = apart <= max(20.0 * float(np.median(apart)), 1e-11)
        if keep.all() or keep.sum() < 3:
            break
        s, e, wanted = s[keep], e[keep], wanted[keep]
        best = optimize.least_squares(
            gap, best.x, bounds=bounds, x_scale="jac", xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=80
        )
    return _as_treat(t, logfc, p, used, float(best.x[0]), float(best.x[1]))


def _as_treat(t: Column, logfc: Column, p: Column, used: np.ndarray, lfc: float, u: float) -> TestFit | None:
    """Check all rows against the treat found; None where it does not hold for most."""
    size, effect = np.abs(t.values), np.abs(logfc.values)
    with np.errstate(all="ignore"):
        far = size * (effect + lfc) / (effect - lfc)
        relative = t.error / np.maximum(size, 1e-12) + 1e-9 + logfc.error / np.maximum(effect - lfc, 1e-12)

    def again(u: np.ndarray | float, rows: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            df = 1.0 / np.asarray(u)
            return (two_sided_p(size[rows], df) + two_sided_p(far[rows], df)) / 2.0

    every = np.arange(size.size)
    common = again(u, every)
    with np.errstate(all="ignore"):
        room = p.error + 5e-6 * common + (1.0 + size**2) * relative * common * 2.0
        fits = (np.abs(common - p.values) <= room) | ((p.values < TINY) & (common < TINY * 1e2))
    off = used & ~fits
    if off.sum() > 0.4 * used.sum():
        return None
    rows = np.flatnonzero(off)
    low, high = np.full(rows.size, 1e-12), np.full(rows.size, MAX_U)
    impossible = np.zeros(size.size, dtype=bool)
    impossible[rows] = (p.values[rows] < again(low, rows) - room[rows]) | (
        p.values[rows] > again(high, rows) + room[rows]
    )
    for _ in range(50):
        middle = (low + high) / 2.0
        under = again(middle, rows) < p.values[rows]
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    own = np.where(used & ~off, u, np.nan)
    own[rows] = np.where(impossible[rows], np.nan, (low + high) / 2.0)
    pattern = "lower" if (off & ~impossible).any() else "shared"
    agreement = rank_agreement(size[used], -p.values[used])
    return TestFit(
        Tail("t"), u, (u, u), used, off, impossible, own, np.zeros_like(own), pattern, lfc=lfc, agreement=agreement
    )  # fmt: skip


def fit_f(x: Column, p: Column, most: int) -> TestFit | None:
    """F on (df1, df2): the df1 under which the most rows agree on one df2."""
    used = np.isfinite(x.values) & np.isfinite(p.values) & (x.values > 0)
    clear = _clear(x.values, p, used)
    if clear.size == 0:
        return None
    rows = _spread(clear, x.values, 60)
    some, their = x.take(rows), p.take(rows)
    counts = []
    for df1 in range(1, most + 1):
        low, high = Tail("F", df1).bracket(some, their)
        counts.append(common_point(low, np.where(high >= 0, high, np.nan))[2])
        # past the one that most agree on, none comes near it again
        if counts[-1] == rows.size or (max(counts) >= 10 and max(counts[-3:]) < 0.5 * max(counts)):
            break
    return fit_test(x, p, Tail("F", int(np.argmax(counts)) + 1)) if max(counts) >= min(3, rows.size) else None


def fit_chi_square(x: Column, p: Column, most: int = 60) -> TestFit | None:
    """Chi-square on the df under which the rows fit."""
    used = np.isfinite(x.values) & np.isfinite(p.values) & (x.values > 0)
    best: TestFit | None = None
    for df in range(1, most + 1):
        tail = Tail("chi-square", df)
        off = used & ~(tail.fits(x, p, 0.0) | _both_vanish(x, p, tail, 0.0))
        if best is None or off.sum() < best.off.sum():
            empty = np.zeros(off.size, dtype=bool)
            own = np.where(off, np.nan, 0.0)
            best = TestFit(tail, 0.0, (0.0, 0.0), used, off, empty, own, np.zeros_like(own), "shared")
        if not off.any():
            break
    if best is None or best.off.sum() > 0.5 * used.sum():
        return None
    return best
