"""Linear models per gene and their contrasts, as limma's ``lmFit`` and ``contrasts.fit`` give them, on arrays.

Samples are rows and genes columns, as in AnnData; a dense X is never copied whole and a sparse one never densified.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse

from .errors import DesignError, InputError
from .threads import in_threads

_BLOCK = 1 << 18  # values of X held in float64 at a time: stays in a processor's cache
_LONG, _TILE = 5120, 5120 * 32  # a tile of X: the side that lies along memory, and values in all
_LOST = 1e-4  # where the residuals are less of the total, their sum of squares is not taken as a difference
_PIECE = 1 << 20  # stored values of a sparse X taken at a time
_WIDE = (
    1 << 23
)  # products of columns of the design, over samples, up to which genes with missing values are fitted together
_STEADY = 1e-3  # share of a direction of the design that is left beside missing values, below which a gene is fitted by itself


@dataclass(frozen=True, eq=False)
class LinearFit:
    """One linear model per gene.

    Parameters
    ----------
    coefficients, stdev_unscaled
        genes x coefficients; NaN where a gene's missing values leave a coefficient without an estimate.
    sigma2, df_residual, ave_expr
        Residual variance (NaN without residual degrees of freedom), its degrees of freedom, and the mean, per gene.
    cov
        Unscaled covariance of the coefficients.
    """

    coefficients: np.ndarray
    stdev_unscaled: np.ndarray
    sigma2: np.ndarray
    df_residual: np.ndarray
    ave_expr: np.ndarray
    cov: np.ndarray


def independent_columns(design: np.ndarray, tol: float = 1e-7) -> np.ndarray:
    """Which columns are not combinations of columns to their left (the rule by which R's ``lm`` drops columns)."""
    design = np.asarray(design, dtype=float)
    keep = np.zeros(design.shape[1], dtype=bool)
    basis = np.empty((design.shape[0], 0))
    for j, column in enumerate(design.T):
        rest = column
        for _ in range(2):  # twice, so that rounding does not pass for independence
            rest = rest - basis @ (basis.T @ rest)
        norm = float(np.linalg.norm(rest))
        if basis.shape[1] < design.shape[0] and norm > tol * max(float(np.linalg.norm(column)), 1e-300):
            keep[j] = True
            basis = np.column_stack([basis, rest / norm])
    return keep


class Projection:
    """An orthonormal basis of the design (less the constant, where it spans it), and the way back to coefficients."""

    def __init__(self, design: np.ndarray) -> None:
        n, k = design.shape
        basis = linalg.qr(design, mode="economic")[0]
        one = np.full(n, 1.0 / np.sqrt(n))
        self.root_n = float(np.sqrt(n))
        self.centred = bool(np.linalg.norm(one - basis @ (basis.T @ one)) < 1e-10)
        if self.centred:
            inner = basis - np.outer(one, one @ basis)
            basis = linalg.svd(inner, full_matrices=False)[0][:, : k - 1]
        self.basis = basis
        full = np.column_stack([one, basis]) if self.centred else basis
        self.inverse = linalg.inv(full.T @ design)
        self.cov = self.inverse @ self.inverse.T

    def coefficients(self, mean: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Genes x k coefficients from the gene means and the genes x basis scores."""
        if self.centred:
            scores = np.column_stack([mean * self.root_n, scores])
        return scores @ self.inverse.T

    def sums(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Means, scores (genes x basis) and total sums of squares around the mean (around 0 without a constant), in one pass."""
        n, p = X.shape
        weights = np.ascontiguousarray(np.column_stack([self.basis, np.ones(n)]).T)
        along = abs(X.strides[0]) < abs(X.strides[1])  # a gene's values lie side by side
        height, width = min(_LONG, n), min(_LONG, p // 2 + 1)
        height, width = (height, _TILE // height) if along else (_TILE // width, width)
        n_tiles = 2 * max(-(-p // (2 * width)), 1)  # even, and all alike, so that two threads end together
        width = max(-(-p // n_tiles), 1)
        made, total = np.empty((len(weights), p)), np.empty(p)
        shift = np.zeros(p)

        @np.errstate(invalid="ignore", over="ignore")  # missing values: their genes are fitted again
        def tile(start: int) -> None:
            part = slice(start, start + width)
            # the mean of some samples: near enough to that of all for the squares around it to keep their digits
            centre = shift[part] = X[:: max(n // 16, 1), part].mean(axis=0, dtype=np.float64) if self.centred else 0.0
            sums, squares = np.zeros((len(weights), shift[part].size)), np.zeros(shift[part].size)
            held = np.empty((min(height, n), shift[part].size), order="F" if along else "C")
            for row in range(0, n, height):
                values = X[row : row + height, part]
                off = np.subtract(values, centre, out=held[: len(values)], dtype=np.float64)
                sums += weights[:, row : row + height] @ off
                squares += (
                    np.matmul(off.T[:, None], off.T[:, :, None])[:, 0, 0] if along else np.einsum("ij,ij->j", off, off)
                )
            made[:, part], total[part] = sums, squares

        in_threads(tile, range(0, p, width), X.size)
        mean = made[-1] / n
        if self.centred:
            total -= made[-1] * mean
        return shift + mean, np.ascontiguousarray(made[:-1].T), total

    def residual_ss(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """:func:`residual_ss` of this basis."""
        return residual_ss(self.basis, values)


def residual_ss(basis: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and residual sums of squares of samples x genes ``values`` (changed in place)."""
    scores = values.T @ basis
    values -= basis @ scores.T
    return scores, np.einsum("ij,ij->j", values, values)


def _as_design(design: Any, n: int) -> tuple[np.ndarray, list[str]]:
    D = np.asarray(design, dtype=float)
    if D.ndim != 2 or D.shape[0] != n:
        raise DesignError(f"The design needs one row per sample ({n}) and one column per coefficient; got {D.shape}.")
    names = [str(name) for name in getattr(design, "columns", range(D.shape[1]))]
    if not np.isfinite(D).all():
        raise DesignError("The design holds missing or infinite values; drop those samples from data and design.")
    keep = independent_columns(D)
    if not keep.all() or not D.shape[1]:
        lost = [name for name, kept in zip(names, keep, strict=True) if not kept]
        raise DesignError(
            f"The design is not of full rank: {lost} can be computed from the other columns of {names}, so their "
            "coefficients cannot be estimated. Leave out a term that is confounded with the others."
        )
    return D, names


def lm_fit(X: Any, design: Any) -> LinearFit:
    """Fit one linear model per gene.

    Parameters
    ----------
    X
        samples x genes: dense (NaN: missing, fitted without those samples, gene by gene) or CSR/CSC (never densified).
    design
        samples x coefficients, of full column rank (frame or array).

    Returns
    -------
    LinearFit
    """
    if not sparse.issparse(X):
        X = np.asarray(X)
    if X.ndim != 2:
        raise InputError(f"X must have two dimensions (samples x genes), got shape {X.shape}.")
    D, _ = _as_design(design, X.shape[0])
    fit = _fit_sparse(X, D) if sparse.issparse(X) else _fit_dense(X, D)
    if not fit.df_residual.size or fit.df_residual.max() == 0:
        raise DesignError(
            f"No residual degrees of freedom: {X.shape[0]} samples, {D.shape[1]} coefficients, {X.shape[1]} genes. "
            "A test needs replicates; use a smaller design or more samples."
        )
    return fit


def without_rounding(rss: np.ndarray, n: Any, mean: np.ndarray) -> np.ndarray:
    """Residual sums of squares; those of a constant gene are rounding noise, which is not a variance, and become 0."""
    if mean.size and rss.min() > np.max(n) * (4 * np.finfo(float).eps * max(-mean.min(), mean.max())) ** 2:
        return rss
    return np.where(rss <= n * (4 * np.finfo(float).eps * mean) ** 2, 0.0, rss)


def _finish(projection: Projection, n: int, mean: np.ndarray, scores: np.ndarray, rss: np.ndarray) -> LinearFit:
    df = n - len(projection.cov)
    coefficients = projection.coefficients(mean, scores)
    rss = without_rounding(rss, n, mean)
    return LinearFit(
        coefficients=coefficients,
        stdev_unscaled=np.broadcast_to(np.sqrt(np.diag(projection.cov)), coefficients.shape),
        sigma2=rss / df if df > 0 else np.full(len(mean), np.nan),
        df_residual=np.full(len(mean), float(df)),
        ave_expr=mean,
        cov=projection.cov,
    )


def _fit_dense(X: np.ndarray, D: np.ndarray) -> LinearFit:
    n = X.shape[0]
    if X.dtype.kind not in "fiub":
        raise InputError(f"X must hold numbers, got dtype {X.dtype}.")
    projection = Projection(D)
    with np.errstate(invalid="ignore", over="ignore"):  # genes with missing values are fitted again below
        mean, scores, total = projection.sums(X)
        rss = total - np.einsum("ij,ij->i", scores, scores)
        _refit_lost(X, projection, mean, scores, rss, np.flatnonzero(rss <= _LOST * total))
    fit = _finish(projection, n, mean, scores, rss)
    gaps = np.flatnonzero(~np.isfinite(rss))
    return _fit_gaps(X, D, fit, gaps) if gaps.size else fit


def _refit_lost(
    X: Any, projection: Projection, mean: np.ndarray, scores: np.ndarray, rss: np.ndarray, lost: np.ndarray
) -> None:
    """Where the design explains nearly all, total less explained has lost its digits: sum the squares of the residuals."""
    step = max(_BLOCK // max(X.shape[0], 1), 16)
    for start in range(0, lost.size, step):
        genes = lost[start : start + step]
        values = X[:, genes]
        values = (values.toarray() if sparse.issparse(values) else values).astype(np.float64)
        if projection.centred:
            mean[genes] = values.mean(axis=0)
            values -= mean[genes]
        scores[genes], rss[genes] = projection.residual_ss(values)


def _fit_gaps(X: np.ndarray, D: np.ndarray, fit: LinearFit, genes: np.ndarray) -> LinearFit:
    """Fit genes with missing values again: together, or by the pattern of what is missing where that takes coefficients away."""
    coefficients, stdev = fit.coefficients, fit.stdev_unscaled.copy()
    sigma2, df, mean = fit.sigma2.copy(), fit.df_residual.copy(), fit.ave_expr.copy()
    for array in (coefficients, stdev, sigma2, mean):
        array[genes] = np.nan
    df[genes] = 0.0
    seen = np.isfinite(X[:, genes])
    if np.isinf(X[:, genes]).any():
        raise InputError("X holds infinite values (the log of 0?). Add a prior count before the log, or make them NaN.")
    made = (coefficients, stdev, sigma2, df, mean)
    step = max(_BLOCK // len(D), 16)
    pieces = range(0, len(genes), step)
    left = np.ones(len(genes), dtype=bool)
    if D.size * D.shape[1] <= _WIDE:
        left = np.concatenate(
            [_fit_masked(X, D, genes[at : at + step], seen[:, at : at + step], made) for at in pieces]
        )
    genes, seen = genes[left], seen[:, left]
    packed = np.ascontiguousarray(np.packbits(seen, axis=0).T)
    patterns, which = np.unique(packed, axis=0, return_inverse=True)
    order = np.argsort(which.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(which.ravel(), minlength=len(patterns)))
    for members in np.split(order, ends[:-1]) if genes.size else ():
        rows, columns = np.flatnonzero(seen[:, members[0]]), genes[members]
        if not rows.size:
            continue
        values = X[np.ix_(rows, columns)].astype(np.float64)
        mean[columns] = values.mean(axis=0)
        part = D[rows]
        keep = np.flatnonzero(independent_columns(part))
        if not keep.size:
            df[columns] = float(rows.size)
            sigma2[columns] = np.mean(values**2, axis=0)
            continue
        projection = Projection(part[:, keep])
        if projection.centred:
            values -= mean[columns]
        sub = _finish(projection, rows.size, mean[columns], *projection.residual_ss(values))
        at = np.ix_(columns, keep)
        coefficients[at], stdev[at] = sub.coefficients, sub.stdev_unscaled
        sigma2[columns], df[columns] = sub.sigma2, sub.df_residual
    return LinearFit(coefficients, stdev, sigma2, df, mean, fit.cov)


def _fit_masked(
    X: np.ndarray, D: np.ndarray, genes: np.ndarray, seen: np.ndarray, made: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Fit genes with missing values together, each by its own normal equations in an orthonormal basis of the design.

    Returns which of them are left: what they have of the samples leaves (nearly) no estimate of a coefficient.
    """
    basis, r = linalg.qr(D, mode="economic")
    k = len(r)
    weights = seen.T.astype(np.float64)
    values, vectors = np.linalg.eigh(
        (weights @ (basis[:, :, None] * basis[:, None]).reshape(len(D), -1)).reshape(-1, k, k)
    )
    steady = values[:, 0] > _STEADY
    genes, seen, values, vectors = genes[steady], seen[:, steady], values[steady], vectors[steady]
    n = seen.sum(axis=0).astype(float)
    y = np.where(seen, X[:, genes], 0.0)
    shift = y.sum(axis=0) / n
    constant = basis.T @ np.ones(len(D))
    if np.linalg.norm(basis @ constant - 1.0) > 1e-10 * np.sqrt(len(D)):
        shifted, constant = 0.0, 0.0 * constant  # there is none to take a mean from
    else:
        shifted = shift
    y = np.where(seen, y - shifted, 0.0)
    scores = np.einsum("gik,gk->gi", vectors, np.einsum("gik,gi->gk", vectors, y.T @ basis) / values)
    y -= np.where(seen, basis @ scores.T, 0.0)
    rss = without_rounding(np.einsum("ij,ij->j", y, y), n, shift)
    back = linalg.solve_triangular(r, np.eye(k))
    coefficients, stdev, sigma2, df, mean = made
    coefficients[genes] = (scores + shift[:, None] * constant) @ back.T
    stdev[genes] = np.sqrt(np.square(back @ (vectors / np.sqrt(values)[:, None])).sum(axis=2))
    df[genes], mean[genes] = n - k, shift
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma2[genes] = np.where(n > k, rss / (n - k), np.nan)
    return ~steady


def sparse_sums(X: Any, weights: np.ndarray, squared: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``X.T @ weights`` and ``(X * X).T @ squared`` of a CSR or CSC matrix, in one pass by pieces."""
    (n, p), by_row = X.shape, X.format == "csr"
    step = max(_PIECE, 32 * p)  # so that the sums of all pieces stay small beside X
    edges = np.unique([0, *np.searchsorted(X.indptr, np.arange(0, X.nnz, step)), len(X.indptr) - 1])
    made: list[Any] = [None] * (len(edges) - 1)

    def piece(k: int) -> None:
        first, last = int(edges[k]), int(edges[k + 1])
        start, end = int(X.indptr[first]), int(X.indptr[last])
        data = X.data[start:end].astype(np.float64)
        parts = (data, X.indices[start:end], X.indptr[first : last + 1] - start)
        # the rows of a CSR are the columns of its transpose, the columns of a CSC its rows
        form = sparse.csc_matrix if by_row else sparse.csr_matrix
        turned = form(parts, shape=(p, last - first) if by_row else (last - first, n), copy=False)
        own = slice(first, last) if by_row else slice(None)
        sums = turned @ weights[own]
        np.multiply(data, data, out=turned.data)
        made[k] = sums, turned @ squared[own]

    in_threads(piece, range(len(made)), X.nnz)
    if not by_row:
        return np.concatenate([sums for sums, _ in made]), np.concatenate([squares for _, squares in made])
    total, squares = np.zeros((p, weights.shape[1])), np.zeros((p, squared.shape[1]))
    for one, other in made:
        total += one
        squares += other
    return total, squares


def _fit_sparse(X: Any, D: np.ndarray) -> LinearFit:
    if X.format not in ("csr", "csc"):
        X = X.tocsr()
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    n = X.shape[0]
    projection = Projection(D)
    ones = np.ones((n, 1))
    sums, squares = sparse_sums(X, np.hstack([projection.basis, ones]), ones)
    total = squares[:, 0]
    if not np.isfinite(total).all() and not np.isfinite(X.data).all():
        raise InputError("A sparse X holds missing or infinite values; they are read in dense matrices only.")
    scores, mean = np.ascontiguousarray(sums[:, :-1]), sums[:, -1] / n
    rss = total - np.einsum("ij,ij->i", scores, scores) - (n * mean**2 if projection.centred else 0.0)
    _refit_lost(X, projection, mean, scores, rss, np.flatnonzero(rss < _LOST * total))
    return _finish(projection, n, mean, scores, rss)


def contrasts_fit(fit: LinearFit, C: Any) -> LinearFit:
    """Coefficients and their standard errors for contrasts of the design's coefficients.

    For genes with missing values the correlation of the coefficients is that of the complete design (limma's
    approximation), and a contrast that involves a coefficient without an estimate is NaN.

    Parameters
    ----------
    fit
        From :func:`lm_fit`.
    C
        design columns x contrasts (frame or array).
    """
    C = np.asarray(C, dtype=float)
    C = C[:, None] if C.ndim == 1 else C
    if C.shape[0] != fit.coefficients.shape[1] or not np.isfinite(C).all():
        raise DesignError(
            f"A contrast needs {fit.coefficients.shape[1]} finite weights, one per coefficient; got shape {C.shape}."
        )
    used = np.flatnonzero(np.abs(C).sum(axis=1) > 0)
    beta, stdev, cov = fit.coefficients[:, used], fit.stdev_unscaled[:, used], fit.cov[np.ix_(used, used)]
    weights, scale = C[used], np.sqrt(np.diag(cov))
    correlation = cov / np.outer(scale, scale)
    absent = np.isnan(beta)
    broken = absent.astype(float) @ (np.abs(weights) > 0) > 0 if absent.any() else None
    coefficients = np.where(absent, 0.0, beta) @ weights
    new_stdev = np.empty_like(coefficients)
    known = np.where(np.isnan(stdev), 0.0, stdev)
    for j in range(C.shape[1]):
        part = known * weights[:, j]
        new_stdev[:, j] = np.sqrt(np.einsum("ij,ij->i", part @ correlation, part))
    if broken is not None:
        coefficients[broken] = new_stdev[broken] = np.nan
    new_cov = weights.T @ cov @ weights
    return LinearFit(coefficients, new_stdev, fit.sigma2, fit.df_residual, fit.ave_expr, new_cov)
