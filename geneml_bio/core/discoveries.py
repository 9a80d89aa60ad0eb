"""How many of the genes that stand out would stand out by chance: p and q from the runs on permuted targets.

The summary of a gene in one run is the size of its moderated statistic on the training parts, averaged over the folds (signed,
so that folds that disagree cancel). Which summary was settled by simulation: docs, discoveries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

LEVEL = 0.1  # the q-value up to which a gene is called
CONFIDENCE = 0.95  # of the number of null genes that is expected
AT_MOST = 20  # permutations that count for that: more of them tell more of these samples, not of how studies differ
STATISTIC = "size of the moderated statistic of the training parts, averaged over the folds of one repeat"


@dataclass(frozen=True, eq=False)
class Discoveries:
    """p and q of each gene against permuted targets.

    Parameters
    ----------
    statistic
        The summary of each gene on the true target; NaN for a gene that has none.
    p
        Share of all summaries of all genes under permuted targets that are at least as large, the observed one counted with
        them (Phipson and Smyth 2010): never 0.
    q
        Null genes expected at or above the gene's summary over genes observed there, the smallest of this and of all smaller
        summaries: the estimate of SAM (Tusher, Tibshirani and Chu 2001) with every gene taken as null, and with the upper 95 %
        confidence limit of the expected number, as 20 permutations (or fewer, where there are fewer) give it.
    n_permutations
        How many permuted targets there were.
    dispersion
        How much the genes differ in their null distribution, over what chance gives (1: not at all).
    """

    statistic: np.ndarray
    p: np.ndarray
    q: np.ndarray
    n_permutations: int
    dispersion: float

    @property
    def n_called(self) -> int:
        """Genes with a q of at most :data:`LEVEL`."""
        return int(np.sum(self.q <= LEVEL))

    @property
    def smallest_q(self) -> float:
        """The smallest q that a single gene can reach with this many permutations."""
        m = int(np.isfinite(self.statistic).sum())
        return 1 / self.n_permutations if m and self.n_permutations else np.nan

    def about(self) -> dict[str, Any]:
        """What is stored beside p and q."""
        return {
            "statistic": STATISTIC,
            "n_permutations": self.n_permutations,
            "n_genes": int(np.isfinite(self.statistic).sum()),
            "level": LEVEL,
            "n_called": self.n_called,
            "pi0": 1.0,  # the share of null genes is not estimated: all are taken as null
            "confidence": CONFIDENCE,
            "smallest_q": self.smallest_q,
            "dispersion": self.dispersion,
            "note": self.words(),
        }

    def words(self) -> str:
        """What the numbers say, and what they do not."""
        text = (
            f"{self.n_called} genes are called at q <= {LEVEL:g} against {self.n_permutations} permuted targets. The null is that a "
            "gene has nothing to do with the target: a gene that only follows another one, which does, counts as a discovery "
            "(genes conditional on all others: gb.tl.knockoffs)."
        )
        if self.smallest_q > LEVEL:
            fewest = int(np.ceil(self.smallest_q / LEVEL - 1e-9))
            text += f" With so few permutations at least {fewest} genes have to stand out together for any of them to be called."
        if self.dispersion > _UNLIKE:
            text += (
                f" The genes differ in their null distribution ({self.dispersion:.1f} times what chance gives), so that p is that "
                "of an average gene; q counts null genes over all genes and does not rest on that."
            )
        return text


_UNLIKE = 2.0
# relative: a permuted target that is the true one with its classes exchanged gives the same, up to rounding
_TIE = 1e-9


def summary(statistics: Sequence[np.ndarray]) -> np.ndarray:
    """Summary of each gene in one run, from the statistics of its folds (a fold in which a gene has none counts as 0).

    NaN for genes without a statistic in every fold.
    """
    values = np.asarray(statistics, dtype=float)
    out = np.abs(np.nan_to_num(values, nan=0.0).mean(axis=0))
    return np.where(np.isnan(values).all(axis=0), np.nan, out)


class Tally:
    """Counts how often the summaries of permuted runs reach those observed, run by run; keeps no run.

    Parameters
    ----------
    observed
        Summary of each gene on the true target (:func:`summary`).
    """

    def __init__(self, observed: np.ndarray):
        self.observed = np.asarray(observed, dtype=float)
        self.known = np.flatnonzero(np.isfinite(self.observed))
        self._sorted = np.sort(self.observed[self.known])
        m = len(self.known)
        # of permuted summaries that reach the i-th smallest observed one: sum and sum of squares over runs
        self._reach, self._reach_sq = np.zeros(m), np.zeros(m)
        self._square, self._fourth = np.zeros(m), 0.0
        self.n = 0

    def add(self, permuted: np.ndarray) -> None:
        """Count the summary of one more permuted run."""
        values = np.nan_to_num(np.asarray(permuted, dtype=float)[self.known], nan=0.0)
        reach = len(values) - np.searchsorted(np.sort(values), self._sorted * (1.0 - _TIE), side="left")
        self._reach += reach
        self._reach_sq += reach.astype(float) ** 2
        self._square += values**2
        self._fourth += float(np.sum(values**4))
        self.n += 1

    def result(self) -> Discoveries:
        """P and q of each gene from the runs so far."""
        m = len(self.known)
        p, q = (np.full(len(self.observed), np.nan) for _ in range(2))
        if m and self.n:
            here = np.searchsorted(self._sorted, self.observed[self.known], side="left")
            p[self.known] = ((1.0 + self._reach) / (1.0 + m * self.n))[here]
            found = m - np.searchsorted(self._sorted, self._sorted, side="left")
            q[self.known] = np.minimum.accumulate(np.minimum(self._expected() / found, 1.0))[here]
        return Discoveries(self.observed, p, q, self.n, self._dispersion())

    def _expected(self) -> np.ndarray:
        """How many null genes reach each observed summary: mean over permuted runs, and the upper confidence limit of it."""
        mean = self._reach / self.n
        if self.n < 2:
            return mean + 1.0 / self.n
        spread = np.sqrt(np.maximum(self._reach_sq / self.n - mean**2, 0.0) * self.n / (self.n - 1))
        counted = min(self.n, AT_MOST)
        return mean + 1.0 / self.n + stats.t.ppf(CONFIDENCE, counted - 1) * spread / np.sqrt(counted)

    def _dispersion(self) -> float:
        """Variance over genes of the mean square, over what it would be if all genes had one null distribution."""
        m = len(self.known)
        if m < 2 or self.n < 2:
            return np.nan
        whole = self._fourth / (m * self.n) - (self._square.sum() / (m * self.n)) ** 2
        return float(np.var(self._square / self.n) / (whole / self.n)) if whole > 0 else np.nan


class FoldTally:
    """A :class:`Tally` that is fed fold by fold, the folds of a run after one another.

    Parameters
    ----------
    observed
        Statistics of all genes in the folds of the first repeat on the true target.
    """

    def __init__(self, observed: Sequence[np.ndarray]):
        self._tally = Tally(summary(observed))
        self._run: int | None = None
        self._folds: list[np.ndarray] = []

    def add(self, run: int, statistic: np.ndarray) -> None:
        """One fold of a permuted run."""
        if run != self._run:
            self._close()
            self._run = run
        self._folds.append(statistic)

    def _close(self) -> None:
        if self._folds:
            self._tally.add(summary(self._folds))
        self._folds = []

    def result(self) -> Discoveries:
        """P and q of each gene, once all runs are in."""
        self._close()
        return self._tally.result()
