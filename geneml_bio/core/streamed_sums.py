"""What the screens and scalers of all folds need: sums over pieces of the data, wherever those are read.

Rows are sorted into cells (a donor; or a class in a held-out part). Of each cell its size, the means of the genes and their sums
of squares around these means are kept. Pieces are merged, and cells pooled to training parts, by the formula of Chan, Golub and
LeVeque (1983, Am Stat 37:242): nothing is a difference of large sums, and what is held out has no part in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from .errors import InputError

Sums = dict[str, np.ndarray]

_LARGEST = 1e150  # the square of more is infinite
_FAR = 100.0  # standard deviations between 0 and the mean, from which a gene is shifted
_BLOCK = 1 << 22  # values of a dense piece taken at a time


@dataclass(frozen=True, eq=False)
class Rows:
    """Where rows are read, and which (increasing positions; None: all)."""

    source: Any
    which: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Pass:
    """A pass over the data: what each piece is asked.

    Parameters
    ----------
    source
        Gives rows by ``read(start, stop)``.
    cells
        Rows x partitions: in which cell of each partition a row is; -1: in none.
    n_cells
        In a partition.
    target
        Rows x partitions: numbers to go with; None where cells tell all (classes).
    shift
        Of each gene, taken from its values (:func:`shift_of`).
    covariates
        Rows x columns of numbers, or None.
    """

    source: Any
    cells: np.ndarray
    n_cells: int
    target: np.ndarray | None
    shift: np.ndarray
    covariates: np.ndarray | None = None

    def beside(self, start: int, stop: int, column: int) -> np.ndarray | None:
        """What the genes are multiplied with in a partition, rows x columns: the target (numbers), then the covariates."""
        parts = [] if self.target is None else [self.target[start:stop, [column]]]
        parts += [] if self.covariates is None else [self.covariates[start:stop]]
        return np.hstack(parts) if parts else None


def shift_of(X: Any, rows: np.ndarray) -> np.ndarray:
    """What to take from each gene: the mean of some rows where that is far from 0, so that digits are not lost; else 0."""
    if not len(rows):
        return np.zeros(X.shape[1])
    part = X[rows]
    mean = np.asarray(part.mean(axis=0, dtype=np.float64)).ravel()
    if sparse.issparse(part):
        full = np.diff(sparse.csc_matrix(part).indptr) == len(rows)
        low = np.where(full, part.min(axis=0).toarray().ravel(), 0.0)
        high = np.where(full, part.max(axis=0).toarray().ravel(), 0.0)
    else:
        low, high = part.min(axis=0), part.max(axis=0)
        full = np.ones(len(mean), dtype=bool)
    width = np.asarray(high, dtype=np.float64) - np.asarray(low, dtype=np.float64)
    return np.where(full & (np.abs(mean) > _FAR / 6 * width), mean, 0.0)


def sums_of(of: Pass, start: int, stop: int) -> Sums:
    """Of each partition and cell: ``n``, ``mean`` and ``squares`` (around it) of the genes, of some rows.

    Where there are numbers beside the genes also their means, ``beside``, and ``products`` with the genes. Shapes: partitions x
    cells (x columns) (x genes).

    Raises
    ------
    InputError
        If a value is missing, infinite, or too large to have a variance.
    """
    X = of.source.read(start, stop)
    check_values(X, start)
    parts = []
    for column in range(of.cells.shape[1]):
        cell = of.cells[start:stop, column]
        rows = np.flatnonzero(cell >= 0)
        here, mine = np.unique(cell[rows], return_inverse=True)
        beside = of.beside(start, stop, column)
        values = X if len(rows) == len(cell) else X[rows]
        found = _cells(values, mine, len(here), of.shift)
        if beside is not None:
            found |= _with_beside(values, mine, len(here), of.shift, beside[rows])
        parts.append({name: _spread(value, here, of.n_cells) for name, value in found.items()})
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}


def _spread(values: np.ndarray, here: np.ndarray, n_cells: int) -> np.ndarray:
    out = np.zeros((n_cells, *values.shape[1:]))
    out[here] = values
    return out


def _cells(X: Any, cell: np.ndarray, k: int, shift: np.ndarray) -> Sums:
    """Size, means and sums of squares of each cell; the means of what is left of the shift."""
    n = np.bincount(cell, minlength=k).astype(float)
    p = X.shape[1]
    if sparse.issparse(X):
        at = np.repeat(cell, np.diff(X.indptr)) * p + X.indices
        data = X.data.astype(np.float64)
        moved = shift.any()
        if moved:
            data -= shift[X.indices]
        absent = n[:, None] - np.bincount(at, minlength=k * p).reshape(k, p)
        zero = -shift  # what an absent value is
        mean = (np.bincount(at, data, minlength=k * p).reshape(k, p) + absent * zero) / n[:, None]
        data -= mean.ravel()[at]
        rest = (np.bincount(at, data, minlength=k * p).reshape(k, p) + absent * (zero - mean)) / n[:, None]
        np.square(data, out=data)
        squares = np.bincount(at, data, minlength=k * p).reshape(k, p) + absent * (zero - mean) ** 2
        return {"n": n, "mean": mean + rest, "squares": np.maximum(squares - n[:, None] * rest**2, 0.0)}
    mean, squares = np.empty((k, p)), np.empty((k, p))
    place = _place(cell, k)
    for block in _blocks(X):
        values = X[:, block].astype(np.float64) - shift[block]
        first = place @ values / n[:, None]
        values -= first[cell]
        rest = place @ values / n[:, None]
        mean[:, block] = first + rest
        np.square(values, out=values)
        squares[:, block] = np.maximum(place @ values - n[:, None] * rest**2, 0.0)
    return {"n": n, "mean": mean, "squares": squares}


def _with_beside(X: Any, cell: np.ndarray, k: int, shift: np.ndarray, beside: np.ndarray) -> Sums:
    """Products of the genes with numbers, both around their means in the cell."""
    q, p = beside.shape[1], X.shape[1]
    mean, rest = around(beside, cell, k)  # adds up to 0 in each cell: what the genes are measured from does not matter
    place = _place(cell, k, rest)
    if sparse.issparse(X) and not shift.any():
        products = (place @ X).toarray()
    elif sparse.issparse(X):
        moved = sparse.csr_matrix((X.data.astype(np.float64) - shift[X.indices], X.indices, X.indptr), shape=X.shape)
        there = sparse.csr_matrix((np.ones(X.nnz), X.indices, X.indptr), shape=X.shape)
        left = np.asarray(place.sum(axis=1))  # 0 but for rounding
        products = (place @ moved).toarray() - shift * (left - (place @ there).toarray())
    else:
        products = np.empty((k * q, p))
        for block in _blocks(X):
            products[:, block] = place @ (X[:, block].astype(np.float64) - shift[block])
    return {"beside": mean, "products": products.reshape(k, q, p)}


def around(values: np.ndarray, cell: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of some columns in each cell, and what is left of each row; twice, for the digits of columns far from 0."""
    n, mean = np.bincount(cell, minlength=k).astype(float)[:, None], np.zeros((k, values.shape[1]))
    for _ in range(2):
        more = np.column_stack([np.bincount(cell, column, minlength=k) for column in values.T]) / n
        mean, values = mean + more, values - more[cell]
    return mean, values


def _place(cell: np.ndarray, k: int, weights: np.ndarray | None = None) -> sparse.csr_matrix:
    """Cells (x columns of weights) x rows: 1, or a weight, where a row is."""
    weights = np.ones((len(cell), 1)) if weights is None else weights
    n, q = weights.shape
    at = (cell[:, None].astype(np.int64) * q + np.arange(q)).ravel()
    return sparse.csr_matrix((weights.ravel(), (at, np.repeat(np.arange(n), q))), shape=(k * q, n))


def _blocks(X: np.ndarray) -> list[slice]:
    step = max(_BLOCK // max(len(X), 1), 1)
    return [slice(start, start + step) for start in range(0, X.shape[1], step)]


def merged(a: Sums, b: Sums) -> Sums:
    """The sums of two sets of rows from those of each."""
    n = a["n"] + b["n"]
    share = b["n"] / np.where(n > 0, n, 1.0)
    weight = a["n"] * share
    apart = b["mean"] - a["mean"]
    out = {"n": n, "mean": a["mean"] + apart * share[..., None]}
    out["squares"] = a["squares"] + b["squares"] + apart**2 * weight[..., None]
    if "products" in a:
        off = b["beside"] - a["beside"]
        out["beside"] = a["beside"] + off * share[..., None]
        out["products"] = a["products"] + b["products"] + apart[..., None, :] * (off * weight[..., None])[..., None]
    return out


def pooled(sums: Sums, which: np.ndarray) -> Sums:
    """The sums of some cells (of one partition) taken together.

    Parameters
    ----------
    sums
        Cells (x genes).
    which
        Their positions.
    """
    n = sums["n"][which]
    total = n.sum()
    weight = n / total
    mean = weight @ sums["mean"][which]
    apart = sums["mean"][which] - mean
    mean = mean + weight @ apart
    apart = sums["mean"][which] - mean
    out = {"n": total, "mean": mean, "squares": sums["squares"][which].sum(axis=0) + n @ apart**2}
    if "products" in sums:
        beside = sums["beside"][which]
        out["beside"] = weight @ beside
        out["products"] = sums["products"][which].sum(axis=0) + (n[:, None] * (beside - out["beside"])).T @ apart
    return out


def columns_of(of: Rows, start: int, stop: int, union: np.ndarray) -> np.ndarray:
    """Some columns of some rows, dense."""
    which = of.which
    if which is None:
        X = of.source.read(start, stop)
    else:
        rows = which[(which >= start) & (which < stop)] - start
        if not len(rows):
            return np.empty((0, len(union)))
        X = of.source.read(start, stop)[rows]
    return X[:, union].toarray() if sparse.issparse(X) else np.asarray(X)[:, union]


def check_values(X: Any, start: int) -> None:
    """Refuse rows, which begin at ``start``, with values that have no mean or no variance.

    Raises
    ------
    InputError
    """
    stored = X.data if sparse.issparse(X) else X
    fine = np.isfinite(stored)
    if not fine.all():
        first = np.flatnonzero(~fine.ravel())[0]
        row, gene = divmod(first, X.shape[1])
        if sparse.issparse(X):
            row, gene = np.searchsorted(X.indptr, first, side="right") - 1, X.indices[first]
        raise InputError(
            f"Rows {start:,} to {start + X.shape[0]:,} hold {(~fine).sum():,} values that are missing or infinite (the first: row "
            f"{start + row:,}, gene {gene:,}, both counted from 0); fill or drop those first."
        )
    largest = max(float(stored.max(initial=0.0)), -float(stored.min(initial=0.0)))
    if largest > _LARGEST:
        raise InputError(f"Values of {largest:.3g} are too large to have a variance; rescale or drop those genes.")
