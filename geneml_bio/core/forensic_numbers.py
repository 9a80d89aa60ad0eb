"""What :mod:`geneml_bio.core.forensics` counts with: how precisely a column is written, and tails solved for their df."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from .squeeze import log_upper_tail, two_sided_p

FULL = 14  # significant digits from which a column counts as unrounded
SLOP = 1e-12  # of the tail functions, relative
MAX_U = 4.0  # 1/df: no test has fewer than a quarter of a degree of freedom
TINY = 1e-290  # below this a double loses digits


@dataclass(frozen=True, eq=False)
class Column:
    """Numbers and how far the truth may lie from them.

    Parameters
    ----------
    values
        As given.
    error
        Half the unit in the last place written, per value.
    digits
        Significant digits written (15: all of them; 7: single precision).
    decimals
        Decimal places, where the column has a fixed number of them.
    """

    values: np.ndarray
    error: np.ndarray
    digits: int = 15
    decimals: int | None = None

    @property
    def exact(self) -> bool:
        """Whether nothing has been rounded away."""
        return self.digits >= FULL

    @property
    def low(self) -> np.ndarray:
        """Lower end."""
        return self.values - self.error

    @property
    def high(self) -> np.ndarray:
        """Upper end."""
        return self.values + self.error

    def take(self, rows: np.ndarray) -> Column:
        """Some rows."""
        return Column(self.values[rows], self.error[rows], self.digits, self.decimals)


def _has_digits(x: np.ndarray, exponent: np.ndarray, digits: int) -> bool:
    shift = digits - 1 - exponent
    with np.errstate(all="ignore"):
        # a power of ten beyond the doubles is applied in two steps
        half = shift // 2
        scaled = x * 10.0**half * 10.0 ** (shift - half)
        return bool(np.all(np.abs(scaled - np.rint(scaled)) <= 2e-15 * np.abs(scaled)))


def _has_decimals(x: np.ndarray, decimals: int) -> bool:
    scaled = x * 10.0**decimals
    return bool(np.all(np.abs(scaled - np.rint(scaled)) <= 1e-15 * np.abs(scaled)))


def column(values: np.ndarray) -> Column:
    """Find how many digits a column was written with.

    A rounded column has either so many significant digits or so many decimals; whichever is true, the larger of the two
    half units bounds the error of each value.
    """
    x = np.asarray(values, dtype=float)
    size = np.abs(x)
    seen = np.unique(size[np.isfinite(size) & (size > TINY)])
    if seen.size == 0:
        return Column(x, np.zeros_like(x))
    sample = seen[:: max(1, seen.size // 2000)]
    exponent = np.floor(np.log10(sample) + 1e-12).astype(int)
    if seen.size < 3 or not _has_digits(sample, exponent, FULL - 1):
        single = seen.size >= 3 and bool(np.all(sample.astype(np.float32) == sample))
        return Column(x, size * (6e-8 if single else 5e-15), 7 if single else 15)
    digits = next(d for d in range(1, FULL) if _has_digits(sample, exponent, d))
    decimals = next((k for k in range(13) if _has_decimals(sample, k)), None)
    with np.errstate(divide="ignore"):
        own = np.where(size > 0, np.floor(np.log10(np.where(size > 0, size, 1.0)) + 1e-12), -400.0)
    error = 0.5 * 10.0 ** (own - digits + 1)
    fixed = decimals is not None and decimals < digits - 1 - int(np.median(exponent))
    if decimals is not None:
        error = np.maximum(error, 0.5 * 10.0**-decimals)
    return Column(x, error * (1 + 1e-9), digits, decimals if fixed else None)


def rank_agreement(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's correlation over the rows that have both; NaN where it cannot be told."""
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 5:
        return np.nan
    a, b = stats.rankdata(x[both]), stats.rankdata(y[both])
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt(np.dot(a, a) * np.dot(b, b))
    return float(np.dot(a, b) / scale) if scale > 0 else np.nan


def common_point(low: np.ndarray, high: np.ndarray) -> tuple[float, float, int]:
    """The stretch that most of the intervals share: its ends, and how many they are."""
    known = np.isfinite(low) & np.isfinite(high) & (low <= high)
    if not known.any():
        return np.nan, np.nan, 0
    ends = np.concatenate([low[known], high[known]])
    steps = np.repeat([1, -1], known.sum())
    order = np.lexsort((-steps, ends))
    depth = np.cumsum(steps[order])
    at = int(np.argmax(depth))
    return float(ends[order][at]), float(ends[order][min(at + 1, ends.size - 1)]), int(depth[at])


@dataclass(frozen=True)
class Tail:
    """P-value of a statistic: ``"t"`` two-sided, ``"F"`` with ``df1``, ``"chi-square"`` with ``df1``.

    ``u`` is one over the (denominator's) degrees of freedom, so that the normal limit is an ordinary number, 0.
    """

    name: str
    df1: float = 1.0

    def p(self, x: np.ndarray, u: np.ndarray | float) -> np.ndarray:
        """P-value of ``x`` (not negative)."""
        x, u = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(u, dtype=float))
        x = np.maximum(x, 0.0)
        out = np.full(x.shape, np.nan)
        limit = ~(u > 1e-9) | (self.name == "chi-square")
        finite = np.flatnonzero(~limit & np.isfinite(x))
        with np.errstate(all="ignore"):
            if limit.any():
                scale = self.df1 if self.name == "F" else 1.0
                at = x[limit] * scale
                out[limit] = (
                    two_sided_p(at, np.inf) if self.name == "t" else special.gammaincc(self.df1 / 2.0, at / 2.0)
                )
            df, x2 = 1.0 / u[finite], x[finite]
            x2 = x2 * x2 if self.name == "t" else x2 * self.df1
            out[finite] = special.betainc(df / 2.0, self.df1 / 2.0, df / (df + x2))
            small = finite[x2 < 1e-3 * df]  # where the argument above has lost its digits
            if small.size:
                df, x2 = 1.0 / u[small], x2[x2 < 1e-3 * df]
                out[small] = 1.0 - special.betainc(self.df1 / 2.0, df / 2.0, x2 / (df + x2))
                # small tails keep the first form's relative digits
                far = small[out[small] < 0.05]
                if far.size:
                    d = 1.0 / u[far]
                    w = x[far] ** 2 if self.name == "t" else x[far] * self.df1
                    out[far] = special.betainc(d / 2.0, self.df1 / 2.0, d / (d + w))
        return out

    def log10_p(self, x: np.ndarray, u: np.ndarray | float) -> np.ndarray:
        """Log10 of the p-value, below the smallest double too (t; others: the p-value's own)."""
        if self.name == "t":
            with np.errstate(divide="ignore"):
                df = 1.0 / np.asarray(u, dtype=float)
            finite = np.where(np.isfinite(df), df, 1e15)
            return (log_upper_tail(np.maximum(x, 0.0), finite) + np.log(2.0)) / np.log(10.0)
        with np.errstate(divide="ignore"):
            return np.log10(self.p(x, u))

    def solve(self, x: np.ndarray, p: np.ndarray) -> np.ndarray:
        """``u`` that gives ``p``; -1 where p is below the normal limit's, inf where above the largest ``u``'s."""
        low, high = np.zeros_like(x), np.full_like(x, MAX_U)
        with np.errstate(all="ignore"):
            wanted = np.log(p)
            f_low, f_high = np.log(self.p(x, low)) - wanted, np.log(self.p(x, high)) - wanted
        out = np.where(f_low > 0, -1.0, np.where(f_high < 0, np.inf, 0.0))
        f_low, f_high = np.maximum(f_low, -1e3), np.minimum(f_high, 1e3)
        rows = np.flatnonzero((out == 0) & np.isfinite(f_low + f_high))
        # log P is nearly straight in u: false position (Illinois), with a bisection now and then
        x, wanted, low, high, f_low, f_high = (item[rows] for item in (x, wanted, low, high, f_low, f_high))
        for step in range(60):
            if not rows.size:
                break
            with np.errstate(all="ignore"):
                cut = (low * f_high - high * f_low) / (f_high - f_low)
                inside = (cut > low) & (cut < high) & (step % 4 != 3)
                middle = np.where(inside, cut, (low + high) / 2.0)
                f = np.log(self.p(x, middle)) - wanted
            left = f < 0
            f_low, f_high = np.where(left, f, f_low / 2.0), np.where(left, f_high / 2.0, f)
            low, high = np.where(left, middle, low), np.where(left, high, middle)
            out[rows] = middle
            on = (np.abs(f) > 2e-16) & (high - low > 4e-16 * (high + low)) & np.isfinite(f)
            rows, x, wanted, low, high, f_low, f_high = (i[on] for i in (rows, x, wanted, low, high, f_low, f_high))
        return out

    def bracket(self, x: Column, p: Column) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest ``u`` per row that the written digits allow; greatest < 0: none."""
        slop = p.values * SLOP
        size = np.abs(x.values)
        low = self.solve(np.maximum(size - x.error, 0.0), np.maximum(p.low - slop, 0.0))
        high = self.solve(size + x.error, np.minimum(p.high + slop, 1.0))
        return np.where(low < 0, 0.0, low), high

    def fits(self, x: Column, p: Column, u: np.ndarray | float) -> np.ndarray:
        """Rows whose p-value is that of their statistic, within the digits written (NaN: False)."""
        size = np.abs(x.values)
        with np.errstate(invalid="ignore"):
            middle = self.p(size, u)
            slack = 2e-9 * middle + p.error + 2e-15
            if x.exact:
                close = np.abs(p.values - middle) <= slack
            else:
                upper, lower = self.p(size - x.error, u), self.p(size + x.error, u)
                close = (p.values <= upper + slack) & (p.values >= lower - slack)
            small = (middle < 1e-6) & (p.values < 1e-6) & (p.error <= 1e-3 * np.abs(p.values))
            if small.any():  # where absolute slack says nothing
                rel = p.error + 2e-9 * p.values + 1e-300
                bounds = (middle, middle) if x.exact else (lower, upper)
                tight = (p.values + rel >= bounds[0]) & (p.values - rel <= bounds[1])
                close = np.where(small, tight, close)
        return close
