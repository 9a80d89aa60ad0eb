"""The screens and scalers of training parts from sums of cells, and passes over the data that make these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg
from sklearn.preprocessing import StandardScaler

from .errors import DesignError
from .linear import LinearFit, without_rounding
from .moderated import e_bayes
from .screen import ModeratedScreen, design_and_kept
from .streamed_part import Job, Source, passed
from .streamed_sums import Pass, Sums, around, check_values, merged, pooled, shift_of, sums_of


class Front(NamedTuple):
    """What comes before a model: the fitted screen, and the scaler of the genes that it keeps."""

    screen: ModeratedScreen
    scaler: StandardScaler

    @property
    def columns(self) -> np.ndarray:
        """Positions of these genes."""
        return self.screen.get_support(indices=True)


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
    target
        Of each row, standardised; None for classes, which the cells tell.
    """

    cell: np.ndarray
    fold: np.ndarray
    kind: np.ndarray
    target: np.ndarray | None = None

    def rows(self, which: np.ndarray) -> np.ndarray:
        """Positions of the rows in some cells (a boolean array)."""
        return np.flatnonzero((self.cell >= 0) & which[self.cell])


def by_fold(y: np.ndarray, fold: np.ndarray, n_classes: int) -> Cells:
    """One cell for each held-out part (and class)."""
    k = max(n_classes, 1)
    cell = np.where(fold >= 0, fold * k + (y if n_classes else 0), -1).astype(np.int32)
    number = np.arange((int(fold.max()) + 1) * k)
    known = y[fold >= 0]
    target = None if n_classes else (y - known.mean()) / known.std()
    return Cells(cell, number // k, number % k, target)


def by_donor(groups: np.ndarray | None, y: np.ndarray, fold: np.ndarray, n_classes: int, p: int) -> Cells | None:
    """One cell for each donor, where all have one class each and are not too many; it then serves other folds and permuted classes.

    ``p``: how many sums there are of each cell, over all genes.
    """
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
    source: Source, job: Job, cells: Sequence[Cells], moved: np.ndarray, progress: bool, label: str
) -> list[Sums]:
    """:func:`geneml_bio.core.streamed_sums.sums_of` all rows, of each of some partitions, in one pass."""
    codes = np.column_stack([part.cell for part in cells])
    numbers = [part.target for part in cells if part.target is not None]
    target = np.column_stack(numbers) if numbers else None
    n_cells = max(len(part.fold) for part in cells)
    total: Sums = {}

    def make(place: Any) -> Pass:
        return Pass(place, codes, n_cells, target, moved, job.covariates)

    for part in passed(sums_of, (source, make), job, (), progress, label):
        total = merged(total, part) if total else part
    return [{name: value[i, : len(part.fold)] for name, value in total.items()} for i, part in enumerate(cells)]


def beside(job: Job, cells: Cells, learned: np.ndarray) -> tuple[list[int], np.ndarray]:
    """What a screen knows beside the classes: the target (numbers) and covariates.

    Returns
    -------
    Positions among the columns that are summed (:meth:`Pass.beside`), without covariates that others determine in these rows; and R of
    the QR decomposition of these columns around the means of the classes.

    Raises
    ------
    DesignError
        If covariates determine the target.
    """
    if cells.target is None and job.covariates is None:
        return [], np.empty((0, 0))
    rows = cells.rows(learned)
    kind = cells.kind[cells.cell[rows]]
    kept, columns = ([], []) if cells.target is None else ([0], [cells.target[rows]])
    if job.covariates is not None:
        given = job.covariates[rows]
        own = design_and_kept(kind if cells.target is None else columns[0], job.task, given)[2]
        kept, columns = [*kept, *(len(kept) + j for j in own)], [*columns, *given.T[own]]
    if not kept:
        return [], np.empty((0, 0))
    rest = around(np.column_stack(columns), kind, max(job.n_classes, 1))[1]
    return kept, linalg.qr(rest, mode="r")[0][: len(kept)]


def front(job: Job, sums: Sums, moved: np.ndarray, cells: Cells, learned: np.ndarray) -> Front:
    """Screen and scaler of some cells.

    Raises
    ------
    DesignError
        If there are no residual degrees of freedom, or covariates determine the target.
    """
    parts = [pooled(sums, np.flatnonzero(learned & (cells.kind == c))) for c in range(max(job.n_classes, 1))]
    size = np.array([part["n"] for part in parts])
    means = np.array([part["mean"] for part in parts])
    within = np.sum([part["squares"] for part in parts], axis=0)
    n = float(size.sum())
    mean = size @ means / n
    total = within + size @ (means - mean) ** 2
    # within classes, the genes are regressed on what is beside them (Frisch, Waugh and Lovell)
    kept, root = beside(job, cells, learned)
    df = n - len(parts) - len(kept)
    if df <= 0:
        raise DesignError(
            f"No residual degrees of freedom: a training part has {n:.0f} samples for {len(parts) + len(kept)} coefficients."
        )
    inverse, slopes, rss = np.empty((0, 0)), np.empty((0, len(mean))), within
    if kept:
        inverse = linalg.inv(root)
        scores = inverse.T @ np.sum([part["products"][kept] for part in parts], axis=0)
        slopes, rss = inverse @ scores, np.maximum(within - (scores**2).sum(axis=0), 0.0)
    if job.n_classes:
        apart = np.array([part["beside"][kept] - parts[0]["beside"][kept] for part in parts[1:]] if kept else
                         np.empty((len(parts) - 1, 0)))  # fmt: skip
        effects = means[1:] - means[0] - apart @ slopes
        cov = 1 / size[0] + np.diag(1 / size[1:]) + (apart @ inverse) @ (apart @ inverse).T
    else:
        effects, cov = slopes[:1], (inverse @ inverse.T)[:1, :1]
    p = len(mean)
    fit = LinearFit(
        coefficients=effects.T,
        stdev_unscaled=np.tile(np.sqrt(np.diag(cov)), (p, 1)),
        sigma2=without_rounding(rss, int(n), moved + mean) / df,
        df_residual=np.full(p, df),
        ave_expr=moved + mean,
        cov=cov,
    )
    bayes = e_bayes(fit, lods=False)
    screen = ModeratedScreen("all" if job.screen is None else min(job.screen, p), task=job.task)
    screen.statistic_ = np.asarray(bayes.t[:, 0] if len(effects) == 1 else bayes.F, dtype=float)
    screen.df_prior_, screen.s2_prior_, screen.n_features_in_ = bayes.df_prior, bayes.s2_prior, p
    chosen = screen.get_support(indices=True)
    return Front(screen, scaler_of(moved[chosen] + mean[chosen], total[chosen] / n, int(n)))


def scaler_of(mean: np.ndarray, variance: np.ndarray, n: int) -> StandardScaler:
    """A fitted scaler; a constant gene is left as it is, by scikit-learn's rule."""
    scaler, eps = StandardScaler(), np.finfo(float).eps
    scaler.mean_, scaler.var_, scaler.n_features_in_, scaler.n_samples_seen_ = mean, variance, len(mean), n
    scaler.scale_ = np.where(variance <= n * eps * variance + (n * mean * eps) ** 2, 1.0, np.sqrt(variance))
    return scaler
