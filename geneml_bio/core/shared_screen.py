"""The screens of many folds and permuted targets in shared passes over the data.

What a screen needs of its samples are sums: of each gene times the columns of an orthonormal basis of the design, and of the
squared gene. With zeros for the samples that a fold leaves out, those of many folds are columns of one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .errors import DesignError, InputError
from .linear import LinearFit, Projection, in_threads, sparse_sums, without_rounding
from .moderated import e_bayes

_ROWS, _COLUMNS = 256, 1024  # a tile of X
_LOST = 1e-5  # a difference that is less of what it is taken from has lost too many digits
_DIRECT = 1 << 20  # values taken at a time of genes that are summed from their residuals
_WEIGHTS, _SUMS = 1 << 24, 1 << 22  # values that the weights, and the sums made with them, of one pass may have


class Ask(NamedTuple):
    """One screen: positions of its samples, their design, and how many columns after the constant are tested."""

    rows: np.ndarray
    design: np.ndarray
    tested: int


class Statistic(NamedTuple):
    """What a screen found: moderated t (or F) of each gene, and the hyperparameters of eBayes."""

    values: np.ndarray
    df_prior: float
    s2_prior: Any


def moderated_statistics(
    X: Any, asks: Sequence[Ask], *, trend: bool = False, impute: bool = False
) -> Iterator[Statistic]:
    """The moderated statistic for each set of samples and design, as ``ModeratedScreen`` computes it for one.

    Parameters
    ----------
    X
        samples x genes: dense (NaN: missing) or CSR/CSC; never copied whole nor densified.
    asks
        What to compute. Each design begins with the constant.
    trend
        Whether the prior variance follows mean expression.
    impute
        Whether missing values are those of the median of the same samples (0 for a gene without any), as in a pipeline.

    Yields
    ------
    Statistic
        In the order of ``asks``, equal to that of a direct fit to 1e-8.
    """
    start = 0
    gaps = np.empty(0, dtype=int) if sparse.issparse(X) else np.flatnonzero(np.isnan(X.sum(axis=0, dtype=np.float64)))
    if gaps.size and not impute:
        raise InputError(f"{gaps.size} genes have missing values; they need to be filled before the screen.")
    while start < len(asks):
        stop, width = start, 0
        room = max(min(_WEIGHTS // max(X.shape[0], 1), _SUMS // max(X.shape[1], 1)), 16)
        while stop < len(asks) and (stop == start or width + asks[stop].design.shape[1] <= room):
            width += asks[stop].design.shape[1]
            stop += 1
        yield from _batch(X, asks[start:stop], gaps, trend)
        start = stop


def _batch(X: Any, asks: Sequence[Ask], gaps: np.ndarray, trend: bool) -> Iterator[Statistic]:
    projections = [Projection(ask.design) for ask in asks]
    sets: dict[bytes, int] = {}
    which = [sets.setdefault(ask.rows.tobytes(), len(sets)) for ask in asks]
    ends = np.cumsum([p.basis.shape[1] for p in projections])
    weights = np.zeros((len(sets) + int(ends[-1]), X.shape[0]))  # indicators of the sets of samples, then the bases
    for ask, projection, one, end in zip(asks, projections, which, ends, strict=True):
        weights[one, ask.rows] = 1.0
        own = slice(len(sets) + end - projection.basis.shape[1], len(sets) + end)
        weights[own, ask.rows] = projection.basis.T
    sums, squares = _sums(X, weights, len(sets))
    huge = np.setdiff1d(np.flatnonzero(~np.isfinite(squares).all(axis=0)), gaps)
    if huge.size:
        raise InputError(f"Values of {huge.size} genes are too large to have a variance; rescale or drop those genes.")
    for ask, projection, one, end in zip(asks, projections, which, ends, strict=True):
        n, own = len(ask.rows), slice(len(sets) + end - projection.basis.shape[1], len(sets) + end)
        if n <= ask.design.shape[1]:
            raise DesignError(
                f"No residual degrees of freedom: {n} samples, {ask.design.shape[1]} coefficients, {X.shape[1]} genes. "
                "A test needs replicates; use a smaller design or more samples."
            )
        mean, scores = sums[one] / n, sums[own]
        with np.errstate(invalid="ignore"):
            rss = squares[one] - n * mean**2 - np.einsum("ij,ij->j", scores, scores)
            lost = (rss <= _LOST * squares[one]) & (squares[one] > 0)  # a gene of zeros has nothing to lose
        lost[gaps] = True
        lost = np.flatnonzero(lost)
        if lost.size:
            scores = scores.copy()
            rows, held = (np.arange(n), X[:, lost][ask.rows]) if sparse.issparse(X) else (ask.rows, X)
            step = max(_DIRECT // n, 16)  # all genes may have gaps
            for start in range(0, lost.size, step):
                part = slice(start, start + step)
                at = np.arange(lost.size)[part] if sparse.issparse(X) else lost[part]
                mean[lost[part]], scores[:, lost[part]], rss[lost[part]] = _directly(held, rows, at, projection)
        yield _statistic(projection, ask.tested, n, mean, scores, rss, trend)


def _sums(X: Any, weights: np.ndarray, n_sets: int) -> tuple[np.ndarray, np.ndarray]:
    """``weights`` times the values, and the first ``n_sets`` of them times their squares.

    Not shifted toward a common mean: that would be one of held-out samples too, and what a fold finds is not to depend on them, not
    even in the last digit. Genes far from 0 lose digits, and are summed once more (:func:`_directly`).
    """
    n, p = X.shape
    if sparse.issparse(X):
        sums, squares = sparse_sums(X, weights.T, weights[:n_sets].T)
        return np.ascontiguousarray(sums.T), np.ascontiguousarray(squares.T)
    sums, squares = np.zeros((len(weights), p)), np.zeros((n_sets, p))

    @np.errstate(invalid="ignore", over="ignore")
    def tile(start: int) -> None:
        part = slice(start, start + _COLUMNS)
        for row in range(0, n, _ROWS):
            values = X[row : row + _ROWS, part].astype(np.float64, copy=False)
            sums[:, part] += weights[:, row : row + _ROWS] @ values
            squares[:, part] += weights[:n_sets, row : row + _ROWS] @ np.square(values)

    in_threads(tile, range(0, p, _COLUMNS), X.size * max(len(weights) // 8, 1))
    return sums, squares


def _directly(
    X: Any, rows: np.ndarray, genes: np.ndarray, projection: Projection
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, scores and residual sums of squares of a few genes from their residuals, missing values filled by the median."""
    values = X[rows][:, genes] if sparse.issparse(X) else X[np.ix_(rows, genes)]
    values = (values.toarray() if sparse.issparse(values) else values).astype(np.float64)
    missing = np.isnan(values)
    if missing.any():
        there = ~missing.all(axis=0)
        fill = np.zeros(len(genes))
        fill[there] = np.nanmedian(values[:, there], axis=0)
        values = np.where(missing, fill, values)
    mean = values.mean(axis=0)
    scores, rss = projection.residual_ss(values - mean)
    return mean, scores.T, rss


def _statistic(
    projection: Projection, tested: int, n: int, mean: np.ndarray, scores: np.ndarray, rss: np.ndarray, trend: bool
) -> Statistic:
    # of a design that begins with the constant, the other coefficients do not depend on the means
    own = slice(1, 1 + tested)
    cov = projection.cov[own, own]
    coefficients = (projection.inverse[own, 1:] @ scores).T
    df = n - len(projection.cov)
    fit = LinearFit(
        coefficients=coefficients,
        stdev_unscaled=np.broadcast_to(np.sqrt(np.diag(cov)), coefficients.shape),
        sigma2=without_rounding(rss, n, mean) / df,
        df_residual=np.broadcast_to(float(df), mean.shape),
        ave_expr=mean,
        cov=cov,
    )
    bayes = e_bayes(fit, trend=trend, lods=False)
    return Statistic(bayes.t[:, 0] if tested == 1 else bayes.F, bayes.df_prior, bayes.s2_prior)
