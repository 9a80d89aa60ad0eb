"""What the screens and scalers of all folds need: sums over pieces of the data, wherever those are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from .errors import InputError


@dataclass(frozen=True, eq=False)
class Pass:
    """A pass over the data: what each piece is asked.

    Parameters
    ----------
    source
        Gives rows by ``read(start, stop)``.
    y, fold, n_classes
        As in :class:`geneml_bio.core.stream.Job`.
    """

    source: Any
    y: np.ndarray
    fold: np.ndarray
    n_classes: int


def sums_of(of: Pass, start: int, stop: int) -> dict[str, np.ndarray]:
    """By held-out fold: products of the design with itself and with the genes, and squares of the genes, of some rows.

    Raises
    ------
    InputError
        If a value is missing or infinite.
    """
    k, n_folds = max(of.n_classes, 2), int(of.fold.max()) + 1
    X, fold = of.source.read(start, stop), of.fold[start:stop]
    _check(X, start)
    rows = np.flatnonzero(fold >= 0)
    columns = _design(of, start, stop)[rows]
    fold, X = fold[rows], X if len(rows) == stop - start else X[rows]
    inner = np.zeros((n_folds, k, k))
    for f in np.unique(fold):
        inner[f] = columns[fold == f].T @ columns[fold == f]
    # a row's entries stand in the columns of its fold
    at = (fold[:, None] * k + np.arange(k)).ravel()
    place = sparse.csr_matrix((columns.ravel(), at, np.arange(0, len(at) + 1, k)), (len(rows), n_folds * k))
    place.eliminate_zeros()
    which = sparse.csr_matrix((np.ones(len(rows)), fold, np.arange(len(rows) + 1)), (len(rows), n_folds))
    if sparse.issparse(X):
        X = sparse.csr_matrix(X, dtype=np.float64)
        design = (place.T @ X).toarray()
        X.data **= 2
        squares = (which.T @ X).toarray()
    else:
        X = np.asarray(X, dtype=np.float64)
        design, squares = place.T @ X, which.T @ X**2
    return {"inner": inner, "design": design.reshape(n_folds, k, -1), "squares": squares}


def columns_of(of: Pass, start: int, stop: int, union: np.ndarray) -> np.ndarray:
    """Some columns of some rows, dense."""
    X = of.source.read(start, stop)
    return X[:, union].toarray() if sparse.issparse(X) else np.asarray(X)[:, union]


def _design(of: Pass, start: int, stop: int) -> np.ndarray:
    """``[1, classes but the first]``, or ``[1, target]``, of some rows; what the screen of a fold has."""
    if of.n_classes:
        columns = np.eye(of.n_classes)[of.y[start:stop]]
        columns[:, 0] = 1.0
        return columns
    known = of.y[of.fold >= 0]
    return np.column_stack([np.ones(stop - start), (of.y[start:stop] - known.mean()) / known.std()])


def _check(X: Any, start: int) -> None:
    stored = X.data if sparse.issparse(X) else X
    if not np.isfinite(stored).all():
        raise InputError(
            f"Rows {start:,} to {start + X.shape[0]:,} hold values that are missing or infinite; fill or drop those first."
        )
