"""The screens and scalers of training parts from sums of cells, and passes over the data that make these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg
from sklearn.preprocessing import StandardScaler

from .errors import DesignError
from .linear import LinearFit, without_rounding
from .moderated import contrasts_fit, e_bayes
from .screen import ModeratedScreen
from .streamed_part import Job, Source, passed
from .streamed_sums import Pass, Sums, check_values, merged, pooled, shift_of, sums_of

Front = tuple[ModeratedScreen, StandardScaler]

_BY_DONOR = 1 << 22  # donors x genes up to which their sums are kept
_FIRST = 2048  # rows from which the shift is taken


@dataclass(frozen=True, eq=False)
class Cells:
    """A partition of the rows.

    Parameters
    ----------
    cell
        Of each row; -1: none.
    fold, kind
        Of each cell: where it is held out (-1: it takes no part), and its class (0 for numbers).
    """

    cell: np.ndarray
    fold: np.ndarray
    kind: np.ndarray


def by_fold(y: np.ndarray, fold: np.ndarray, n_classes: int) -> Cells:
    """One cell for each held-out part (and class)."""
    k = max(n_classes, 1)
    cell = np.where(fold >= 0, fold * k + (y if n_classes else 0), -1).astype(np.int32)
    number = np.arange((int(fold.max()) + 1) * k)
    return Cells(cell, number // k, number % k)


def by_donor(groups: np.ndarray | None, y: np.ndarray, fold: np.ndarray, n_classes: int, p: int) -> Cells | None:
    """One cell for each donor, where all have one class each and are not too many; it then serves permuted classes as well."""
    if groups is None or not n_classes:
        return None
    rows = np.flatnonzero(fold >= 0)
    n = int(groups[rows].max()) + 1
    if n * p > _BY_DONOR:
        return None
    held, kind = np.full(n, -1), np.full(n, -1)
    held[groups[rows]], kind[groups[rows]] = fold[rows], y[rows]
    if (kind[groups[rows]] != y[rows]).any() or (held[groups[rows]] != fold[rows]).any():
        return None
    return Cells(np.where(fold >= 0, groups, -1).astype(np.int32), held, kind)


def shift(source: Source, job: Job) -> np.ndarray:
    """What is taken from each gene before it is summed (:func:`geneml_bio.core.streamed_sums.shift_of`)."""
    start = int(np.flatnonzero(job.fold >= 0)[0])
    stop = min(start + min(_FIRST, job.chunk_size), len(job.y))
    X = source.read(start, stop)
    check_values(X, start)
    return shift_of(X, np.flatnonzero(job.fold[start:stop] >= 0))


def summed(
    source: Source,
    job: Job,
    cells: np.ndarray,
    n_cells: int,
    target: np.ndarray | None,
    moved: np.ndarray,
    progress: bool,
    label: str,
) -> Sums:
    """:func:`geneml_bio.core.streamed_sums.sums_of` all rows; arguments as in :class:`geneml_bio.core.streamed_sums.Pass`."""
    total: Sums = {}

    def make(place: Any) -> Pass:
        return Pass(place, cells, n_cells, target, moved)

    for part in passed(sums_of, (source, make), job, (), progress, label):
        total = merged(total, part) if total else part
    return total


def numbers(job: Job, y: np.ndarray) -> np.ndarray | None:
    """The target as it goes into sums: None for classes, which are cells."""
    if job.n_classes:
        return None
    known = y[job.fold >= 0]
    return (y - known.mean()) / known.std()


def fronts(job: Job, sums: Sums, moved: np.ndarray, cells: Cells) -> list[Front]:
    """Screen and scaler of the training part of each fold; sums of one partition."""
    return [front(job, sums, moved, cells, (cells.fold >= 0) & (cells.fold != f)) for f in range(cells.fold.max() + 1)]


def front(job: Job, sums: Sums, moved: np.ndarray, cells: Cells, learned: np.ndarray) -> Front:
    """Screen and scaler of some cells.

    Raises
    ------
    DesignError
        If there are no residual degrees of freedom.
    """
    parts = [pooled(sums, np.flatnonzero(learned & (cells.kind == c))) for c in range(max(job.n_classes, 1))]
    size = np.array([part["n"] for part in parts])
    means = np.array([part["mean"] for part in parts])
    within = np.sum([part["squares"] for part in parts], axis=0)
    n = float(size.sum())
    mean = size @ means / n
    total = within + size @ (means - mean) ** 2
    if job.n_classes:
        coefficients = np.vstack([means[0], means[1:] - means[0]])
        rss = within
        inner = np.diag(np.r_[n, size[1:]])
        inner[0, 1:] = inner[1:, 0] = size[1:]
        inverse = linalg.inv(inner)
    else:
        products, spread = parts[0]["products"], float(parts[0]["target_squares"])
        coefficients = np.vstack([mean, products / spread])
        rss = np.maximum(within - products**2 / spread, 0.0)
        inverse = np.diag([1 / n, 1 / spread])
    tested, p = len(inverse) - 1, len(mean)
    df = n - len(inverse)
    if df <= 0:
        raise DesignError(
            f"No residual degrees of freedom: a training part has {n:.0f} samples for {len(inverse)} coefficients."
        )
    fit = LinearFit(
        coefficients=coefficients.T,
        stdev_unscaled=np.tile(np.sqrt(np.diag(inverse)), (p, 1)),
        sigma2=without_rounding(rss, int(n), moved + mean) / df,
        df_residual=np.full(p, df),
        ave_expr=moved + mean,
        cov=inverse,
    )
    bayes = e_bayes(contrasts_fit(fit, np.eye(len(inverse))[:, 1:]), lods=False)
    screen = ModeratedScreen("all" if job.screen is None else min(job.screen, p), task=job.task)
    screen.statistic_ = np.asarray(bayes.t[:, 0] if tested == 1 else bayes.F, dtype=float)
    screen.df_prior_, screen.s2_prior_, screen.n_features_in_ = bayes.df_prior, bayes.s2_prior, p
    chosen = screen.get_support(indices=True)
    return screen, scaler_of(moved[chosen] + mean[chosen], total[chosen] / n, int(n))


def scaler_of(mean: np.ndarray, variance: np.ndarray, n: int) -> StandardScaler:
    """A fitted scaler; a constant gene is left as it is, by scikit-learn's rule."""
    scaler, eps = StandardScaler(), np.finfo(float).eps
    scaler.mean_, scaler.var_, scaler.n_features_in_, scaler.n_samples_seen_ = mean, variance, len(mean), n
    scaler.scale_ = np.where(variance <= n * eps * variance + (n * mean * eps) ** 2, 1.0, np.sqrt(variance))
    return scaler
