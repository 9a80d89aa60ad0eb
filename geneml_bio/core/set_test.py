"""Are the genes of a set more relied on than genes outside it? A competitive test that knows of correlated genes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from .errors import InputError

_BINS = 512  # of a score's range, when many are added up
_MANY = 1000  # random genes, whose mean is taken for normal
_SMALLEST = 1e-13  # what sums of Fourier transforms can tell from nothing


@dataclass(frozen=True, eq=False)
class Competitive:
    """One row a set.

    Parameters
    ----------
    t
        Of the mean score inside against outside, with the variance inflated for correlation (limma's camera).
    p_normal
        Its upper tail: camera's p-value for ``Up``.
    p_value
        Upper tail of the mean of as many random genes as the set is worth.
    n_effective
        How many independent genes the set is worth.
    """

    t: np.ndarray
    p_normal: np.ndarray
    p_value: np.ndarray
    n_effective: np.ndarray


def competitive(scores: np.ndarray, sets: Sequence[np.ndarray], correlation: np.ndarray | float = 0.0) -> Competitive:
    """Test each set against the genes outside it, one-sided: are its scores larger?

    Parameters
    ----------
    scores
        One number a gene, all genes of the study.
    sets
        Positions of the genes of each set, none twice.
    correlation
        Mean correlation of the scores of two genes of a set; one number, or one for each set.

    Returns
    -------
    Competitive
        In the order of ``sets``; NaN for a set of none or of all genes, or where no score differs from another.

    Notes
    -----
    With m genes in the set, m' outside, G in all and a mean correlation of r, the mean of m correlated scores has the variance
    v/m with v = 1 + (m - 1) r, in units of that of one score (Wu and Smyth 2012, Nucleic Acids Res 40:e133; R:
    ``limma::cameraPR``). Its t-test takes the mean for normal. It is not where most scores are 0 and a few are not, and its
    p-values are then too small. So the tail is taken from the scores themselves: the set's mean is compared with the mean of k
    genes drawn at random from all of them, where k is such that the two variances are the same: a set of m genes that are one
    gene in m copies is compared with single genes, a set of independent genes with as many. Between two whole numbers of genes
    log p is interpolated. The distribution is computed by convolution, not by drawing; beyond 1,000 genes the mean is taken for normal.
    """
    scores = np.asarray(scores, dtype=float)
    if len(scores) < 3 or not np.isfinite(scores).all():
        raise InputError(
            f"A competitive test needs a finite score for each of at least 3 genes; got {len(scores)} scores."
        )
    n_genes = len(scores)
    m = np.array([len(members) for members in sets], dtype=float)
    r = np.broadcast_to(np.asarray(correlation, dtype=float), m.shape)
    inside = np.array([scores[members].sum() for members in sets])
    out = n_genes - m
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = inside / m
        gap = mean - (scores.sum() - inside) / out
        spread = ((scores - scores.mean()) ** 2).sum()
        within = (spread - gap**2 * m * out / n_genes) / (n_genes - 2)
        inflated = (1 + (m - 1) * r) / m + 1 / out
        t = gap / np.sqrt(within * inflated)
        effective = 1 / ((out / n_genes) ** 2 * inflated)
    tested = (m > 0) & (out > 0) & (spread > 0)
    t, effective = np.where(tested, t, np.nan), np.where(tested, effective, np.nan)
    tail, p = _Tail(scores), stats.t.sf(t, n_genes - 2)
    exact = p.copy()
    for i in np.flatnonzero(tested & (effective <= _MANY)):
        exact[i] = tail(effective[i], mean[i])
    return Competitive(t, p, exact, effective)


class _Tail:
    """P(the mean of k genes drawn at random is at least x)."""

    def __init__(self, scores: np.ndarray):
        self.scores = np.sort(scores)
        self.low, self.high = self.scores[0], self.scores[-1]
        width = (self.high - self.low) or 1.0
        # rounded up, so that p is never too small for it
        self.step = width / _BINS
        bins = np.ceil((scores - self.low) / self.step - 1e-9).astype(int)
        self.mass = np.bincount(bins, minlength=_BINS + 1) / len(scores)
        self.sums = lru_cache(maxsize=None)(self._sums)

    def __call__(self, k: float, x: float) -> float:
        k = max(k, 1.0)
        below, above = int(np.floor(k)), int(np.ceil(k))
        p = np.log([self._whole(below, x), self._whole(above, x)])
        return float(np.exp(p[0] + (k - below) * (p[1] - p[0])))

    def _whole(self, k: int, x: float) -> float:
        if k == 1:
            smaller = int(np.searchsorted(self.scores, x - 1e-12 * max(abs(x), 1.0)))
            return max(1 - smaller / len(self.scores), 1 / len(self.scores))
        upper = self.sums(k)
        at = int(np.ceil(k * (x - self.low) / self.step - 1e-6 * k))
        return float(np.clip(upper[min(max(at, 0), len(upper) - 1)], _SMALLEST, 1.0))

    def _sums(self, k: int) -> np.ndarray:
        """Upper tail of the sum of k scores, in steps."""
        size = 1 << int(np.ceil(np.log2(k * _BINS + 1)))
        density = np.fft.irfft(np.fft.rfft(self.mass, size) ** k, size)[: k * _BINS + 1]
        return np.cumsum(np.clip(density, 0, None)[::-1])[::-1]
