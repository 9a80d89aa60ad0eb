"""The screens of many folds and permuted targets in shared passes over the data.

What a screen needs of its samples are sums: of each gene times the columns of an orthonormal basis of the design, and of the
squared gene. With zeros for the samples that a fold leaves out, those of many folds are columns of one matrix product; of one target's
classes, of a product for each class. Where there is much to sum, it is summed over cells of samples that folds have in common
(:mod:`geneml_bio.core.cells`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .cells import LOST, can_add, cells_of, sums_by_cells
from .errors import DesignError, InputError
from .linear import residual_ss, sparse_sums, without_rounding
from .squeeze import squeeze_rows, squeeze_var
from .threads import in_threads

_ROWS, _COLUMNS = (
    256,
    1600,
)  # a tile of X: wide, as threads wait for each other between one array operation and the next
_TILE = 1 << 18  # sums made of one
_DIRECT = 1 << 20  # values taken at a time of genes that are summed from their residuals
_WORTH = 5e8  # multiplications in matrix products that are worth the start of the compiled sums (a second)
_SPARSE = 8  # a multiplication with a stored value of a sparse matrix takes as long as so many with a dense one
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
    stored = _SPARSE * X.nnz if sparse.issparse(X) else X.size
    much = float(stored) * sum(ask.design.shape[1] + 1 for ask in asks) >= _WORTH
    for some in _batches(X, asks):
        yield from _batch(X, some, trend, impute, much)


def _batches(X: Any, asks: Sequence[Ask]) -> Iterator[Sequence[Ask]]:
    """Neighbours that test as many columns, as few batches as memory allows, and all alike."""
    n, p = X.shape
    for _, alike in groupby(asks, key=lambda ask: ask.tested):
        run = list(alike)
        columns = sum(ask.design.shape[1] for ask in run)
        held = columns if sparse.issparse(X) else 2 * len(run)  # the sums of a dense matrix are made by tiles
        pieces = max(-(-columns // max(_WEIGHTS // max(n, 1), 16)), -(-held // max(_SUMS // max(p, 1), 16)))
        step = -(-len(run) // pieces)
        yield from (run[first : first + step] for first in range(0, len(run), step))


def _batch(X: Any, asks: Sequence[Ask], trend: bool, impute: bool, much: bool) -> list[Statistic]:
    for ask in asks:
        n, k = ask.design.shape
        if n <= k:
            raise DesignError(
                f"No residual degrees of freedom: {n} samples, {k} coefficients, {X.shape[1]} genes. "
                "A test needs replicates; use a smaller design or more samples."
            )
    sums = _Sums(asks, X.shape[1], trend)
    groups = cells_of(asks, X.shape[0], columns=not sparse.issparse(X)) if much and can_add(X) else None
    if groups is not None:
        sums_by_cells(X, groups, sums.take, sums.tested)
    elif sparse.issparse(X) or (classes := _classes_of(asks, X.shape[0])) is None:
        _by_product(X, asks, sums)
    else:
        _by_class(X, *classes, sums)
    found: list[Any] = [None] * len(asks)

    @np.errstate(divide="ignore", invalid="ignore")
    def finish(first: int) -> None:
        part = slice(first, first + step)
        for k in (first + np.flatnonzero(np.isnan(sums.rss[part].min(axis=1, initial=np.inf)))).tolist():
            _refit(X, asks[k], impute, *sums.of(k))
        found[part] = _moderated(sums, part, trend)

    n_pieces = 2 * -(-sums.rss.size // (1 << 19))  # even, and all alike, so that two threads end together
    step = -(-len(asks) // n_pieces)
    in_threads(finish, range(0, len(asks), step), 16 * sums.rss.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        # each in an array of its own: who keeps one does not keep all; not by threads, which would hand on the interpreter for each
        return [Statistic(e / by, df, prior) for e, (by, df, prior) in zip(sums.effect, found, strict=True)]


class _Sums:
    """What t and F are made of, asks x genes: means (with a trend), effects, residual sums of squares (NaN: digits were lost)."""

    def __init__(self, asks: Sequence[Ask], p: int, trend: bool) -> None:
        self.n = np.array([float(len(ask.rows)) for ask in asks])
        self.df = self.n - [ask.design.shape[1] for ask in asks]
        self.tested = asks[0].tested
        # one block: its pages come faster, and are kept for the next
        self.effect, self.rss, *mean = np.empty((3 if trend else 2, len(asks), p))
        self.mean = mean[0] if trend else None

    def take(self, part: slice, members: Any, total: np.ndarray, effect: np.ndarray, rss: np.ndarray) -> None:
        """Take in what some asks are made of over some genes; where all are of the same samples, ``total`` has one row."""
        if self.mean is not None:
            self.mean[members, part] = total / np.sqrt(self.n[members][: len(total), None])
        self.effect[members, part], self.rss[members, part] = effect, rss

    def of(self, k: int) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        return None if self.mean is None else self.mean[k], self.effect[k], self.rss[k]


def _effect(scores: Sequence[np.ndarray], out: Any = None) -> np.ndarray:
    """What is divided by the standard deviation to make t, or by the variance to make F, from the scores of each column tested."""
    if len(scores) == 1:
        return np.positive(scores[0], out=out)
    made = np.square(scores[0], out=out)
    for score in scores[1:]:
        made += np.square(score)
    made /= len(scores)
    return made


def _residuals(parts: Sequence[np.ndarray], squares: np.ndarray, out: np.ndarray) -> None:
    """Residual sums of squares, NaN where the difference has lost its digits; the others are overwritten.

    ``parts``: the scores of a basis of the design, asks x genes each; of the first, and of ``squares``, one row where all asks share them.
    """
    least, left = squares.max(axis=0) * LOST, squares
    for part in parts[:-1]:
        np.square(part, out=part)
        left = np.subtract(left, part, out=left if left.shape == part.shape else None)
    np.subtract(left, np.square(parts[-1], out=parts[-1]), out=out)
    if not (out.min(axis=0) > least).all():
        explained = sum(parts)
        out[(out <= LOST * (explained + out)) & (explained != 0)] = np.nan  # a gene of zeros has nothing to lose


def _basis(ask: Ask) -> np.ndarray:
    """Orthonormal columns of the design after the constant: first what is adjusted for, then what is tested beyond it."""
    own = slice(1, 1 + ask.tested)
    design, adjusted = ask.design, ask.design[:, own.stop :]
    q, r = np.linalg.qr(np.column_stack([design[:, :1], adjusted, design[:, own]]) if adjusted.size else design)
    return q[:, 1:] * np.sign(np.diag(r))[1:]


def _by_product(X: Any, asks: Sequence[Ask], made: _Sums) -> None:
    """From one matrix product with indicators of the sets of samples and bases of the designs.

    Not shifted toward a common mean: that would be one of held-out samples too, and what a fold finds is not to depend on them, not
    even in the last digit. Genes far from 0 lose digits, and are summed once more (:func:`_refit`).
    """
    n, p = X.shape
    sets: dict[bytes, int] = {}
    which = np.array([sets.setdefault(ask.rows.tobytes(), len(sets)) for ask in asks])
    n_sets, width = len(sets), max(ask.design.shape[1] for ask in asks) - 1
    # of each set of samples the constant (of norm 1), then the bases
    weights = np.zeros((n_sets + len(asks) * width, n))
    inside = np.zeros((n_sets, n))
    for k, ask in enumerate(asks):
        inside[which[k], ask.rows], weights[which[k], ask.rows] = 1.0, 1.0 / np.sqrt(len(ask.rows))
        basis, end = _basis(ask), n_sets + (k + 1) * width  # a column less where a fold lacks a covariate's level
        weights[end - basis.shape[1] : end, ask.rows] = basis.T
    each = n_sets in (1, len(asks))

    def take(part: slice, sums: np.ndarray, squares: np.ndarray) -> None:
        total, scores = sums[:n_sets], sums[n_sets:].reshape(len(asks), width, -1)
        if not each:
            total, squares = total[which], squares[which]
        if made.mean is not None:
            made.mean[:, part] = total / np.sqrt(made.n[: len(total), None])
        _effect([scores[:, j] for j in range(width - made.tested, width)], made.effect[:, part])
        _residuals([total, *(scores[:, j] for j in range(width))], squares, made.rss[:, part])

    step = max(min(_COLUMNS, _TILE // len(weights) // 64 * 64), 128)
    if sparse.issparse(X):
        sums, squares = sparse_sums(X, weights.T, inside.T)
        for start in range(0, p, step):
            part = slice(start, start + step)
            take(part, np.ascontiguousarray(sums[part].T), np.ascontiguousarray(squares[part].T))
        return

    @np.errstate(invalid="ignore", over="ignore")
    def tile(start: int) -> None:
        part = slice(start, start + step)
        sums = squares = np.zeros(1)
        for row in range(0, n, _ROWS):
            values = X[row : row + _ROWS, part].astype(np.float64, copy=False)
            one = weights[:, row : row + _ROWS] @ values
            other = inside[:, row : row + _ROWS] @ np.square(values)
            sums, squares = (np.add(sums, one, out=one), np.add(squares, other, out=other)) if row else (one, other)
        take(part, sums, squares)

    in_threads(tile, range(0, p, step), X.size * max(len(weights) // 8, 1))


def _classes_of(asks: Sequence[Ask], n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """How often each sample is in each ask, and the class of each sample; None where designs are not of the same classes alone."""
    tested = asks[0].tested
    if any(ask.design.shape[1] != tested + 1 for ask in asks):
        return None
    rows, design = np.concatenate([ask.rows for ask in asks]), np.concatenate([ask.design for ask in asks])
    if not ((design == 0) | (design == 1)).all() or not design[:, 0].all() or (design @ np.ones(tested + 1) > 2).any():
        return None
    code, label = design[:, 1:].astype(int) @ np.arange(1, tested + 1), np.zeros(n, dtype=int)
    label[rows] = code
    which = np.repeat(np.arange(len(asks)), [len(ask.rows) for ask in asks])
    seen = np.bincount(which * (tested + 1) + code, minlength=len(asks) * (tested + 1))
    if not seen.all() or (label[rows] != code).any():
        return None
    return np.bincount(which * n + rows, minlength=len(asks) * n).reshape(len(asks), n).astype(float), label


def _by_class(X: np.ndarray, inside: np.ndarray, label: np.ndarray, made: _Sums) -> None:
    """From sums of each class by itself, which takes half the multiplications of :func:`_by_product`.

    Parameters
    ----------
    X
        samples x genes, dense.
    inside, label
        From :func:`_classes_of`.
    made
        What takes the results in.
    """
    n, k = len(label), made.tested + 1
    order = np.argsort(label, kind="stable")
    size = inside @ (label[:, None] == np.arange(k))
    weights = inside / np.sqrt(size)[:, label]
    edges = np.searchsorted(label[order], np.arange(k + 1))
    blocks = []
    for start in range(0, n, _ROWS):
        rows = order[start : start + _ROWS]
        cuts = np.clip(edges - start, 0, len(rows))
        own = [(j, slice(cuts[j], cuts[j + 1])) for j in range(k) if cuts[j] < cuts[j + 1]]
        blocks.append((rows, inside[:, rows], [(j, held, weights[:, rows[held]]) for j, held in own]))
    before = np.cumsum(size, axis=1)
    # scores of the contrast of a class with those before it: both, over the root of their numbers, turned by an angle
    turns = [np.sqrt(np.array([before[:, j - 1], size[:, j]]) / before[:, j])[:, :, None] for j in range(1, k)]
    wide = max(min(_COLUMNS, _TILE // (len(inside) * k)), 64)
    step = max(-(-X.shape[1] // (2 * -(-X.shape[1] // (2 * wide)))), 1)  # an even number of tiles, all alike

    @np.errstate(invalid="ignore", over="ignore")
    def tile(start: int) -> None:
        part = slice(start, min(start + step, X.shape[1]))
        sums, squares = [np.zeros(1)] * k, np.zeros(1)
        for rows, there, own in blocks:
            values = X[rows, part].astype(np.float64, copy=False)
            for j, held, share in own:
                sums[j] = _plus(sums[j], share @ values[held])
            squares = _plus(squares, there @ np.square(values, out=values))
        total, scores, effect = sums[0], [], made.effect[:, part]
        for j, (cos, sin) in enumerate(turns, 1):
            scores.append(np.subtract(sums[j] * cos, total * sin, out=effect if k == 2 else None))
            if j + 1 < k or made.mean is not None:
                total = total * cos + sums[j] * sin
        if made.mean is not None:
            made.mean[:, part] = total / np.sqrt(made.n[:, None])
        if k > 2:
            _effect(scores, effect)
        _residuals(sums, squares, made.rss[:, part])

    in_threads(tile, range(0, X.shape[1], step), X.size * max(len(inside) * k // 8, 1))


def _plus(total: np.ndarray, more: np.ndarray) -> np.ndarray:
    return np.add(total, more, out=more) if total.ndim > 1 else more


@np.errstate(invalid="ignore", over="ignore")
def _refit(X: Any, ask: Ask, impute: bool, mean: np.ndarray | None, effect: np.ndarray, rss: np.ndarray) -> None:
    """Sum the residuals of genes whose difference of sums has lost its digits, or has none: those with missing values."""
    genes = np.flatnonzero(np.isnan(rss))
    n, basis = len(ask.rows), _basis(ask)
    rows, held = (np.arange(n), X[:, genes][ask.rows]) if sparse.issparse(X) else (ask.rows, X)
    step, huge = max(_DIRECT // n, 16), 0  # all genes may have gaps
    for start in range(0, len(genes), step):
        part = genes[start : start + step]
        at = np.arange(start, start + len(part)) if sparse.issparse(X) else part
        own, scores, left = _directly(held, rows, at, basis, impute)
        huge += int((~np.isfinite(left)).sum())
        rss[part], effect[part] = without_rounding(left, n, own), _effect(list(scores.T[-ask.tested :]))
        if mean is not None:
            mean[part] = own
    if huge:
        raise InputError(f"Values of {huge} genes are too large to have a variance; rescale or drop those genes.")


def medians(values: np.ndarray) -> np.ndarray:
    """Of each column without its missing values, as NumPy's ``nanmedian``, which takes ten times as long for few rows."""
    ordered = np.sort(values, axis=0)  # what is missing comes last
    n, column = np.count_nonzero(~np.isnan(values), axis=0), np.arange(values.shape[1])
    return (ordered[(n - 1) // 2, column] + ordered[n // 2, column]) / 2.0


def _directly(
    X: Any, rows: np.ndarray, genes: np.ndarray, basis: np.ndarray, impute: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, scores and residual sums of squares of a few genes from their residuals, missing values filled by the median."""
    values = X[rows][:, genes] if sparse.issparse(X) else X[np.ix_(rows, genes)]
    values = (values.toarray() if sparse.issparse(values) else values).astype(np.float64)
    missing = np.isnan(values)
    if missing.any():
        if not impute:
            raise InputError(
                f"{int(missing.any(axis=0).sum())} genes have missing values; they need to be filled before the screen."
            )
        there = ~missing.all(axis=0)
        fill = np.zeros(len(genes))
        fill[there] = medians(values[:, there])
        values = np.where(missing, fill, values)
    mean = values.mean(axis=0)
    values -= mean
    scores, rss = residual_ss(basis, values)
    return mean, scores, rss


def _moderated(sums: _Sums, part: slice, trend: bool) -> list[tuple[np.ndarray, float, Any]]:
    """What the effects of some asks are divided by, and the hyperparameters."""
    rss, df = sums.rss[part], sums.df[part]
    if sums.mean is None:
        posts, priors, dfs = squeeze_rows(rss, df)
    else:
        made = [squeeze_var(one / own, own, at) for one, own, at in zip(rss, df, sums.mean[part], strict=True)]
        posts, priors, dfs = (np.array(item) for item in zip(*made, strict=True))
    by = np.sqrt(posts, out=posts) if sums.tested == 1 else posts
    return list(zip(by, dfs.tolist(), priors, strict=True))
