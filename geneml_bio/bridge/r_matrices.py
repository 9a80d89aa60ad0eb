"""Matrices of R, dense and of the package Matrix, as plain data -> samples x genes arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..core.errors import TableError
from .r_budget import spend
from .r_columns import dimnames, matrix_of
from .r_values import NA_INTEGER, RValue

_SPARSE = {f"{kind}{shape}{form}Matrix" for kind in "dln" for shape in "gst" for form in "CRT"} | {
    "ddiMatrix",
    "ldiMatrix",
}


def is_matrix(value: RValue) -> bool:
    """Whether it is a matrix of numbers, dense or sparse."""
    if value.type == "S4":
        classes = set(value.classes)
        return bool(classes & _SPARSE) or classes == {"dgeMatrix"} or _seed(value) is not None
    return value.type in ("double", "integer", "logical") and len(value.dim or ()) == 2


def _seed(value: RValue) -> RValue | None:
    """The matrix inside a DelayedMatrix on which nothing waits to be done."""
    inner = value.attr("seed") if value.type == "S4" and "DelayedMatrix" in value.classes else None
    return inner if inner is not None and inner.attr("seed") is None and is_matrix(inner) else None


def samples_by_genes(value: RValue, name: str) -> tuple[Any, list[str] | None, list[str] | None]:
    """A matrix with genes as rows, turned: dense as doubles in C order, sparse as CSR.

    Returns
    -------
    matrix, genes, samples
        Names are None where the matrix has none.
    """
    inner = _seed(value)
    if inner is not None:
        value = inner
    genes, samples = dimnames(value)
    if value.type == "S4" and not set(value.classes) & _SPARSE:  # dgeMatrix: dense
        held = RValue("double", value.attributes["x"].value, {"dim": value.attributes["Dim"]})
        return np.ascontiguousarray(matrix_of(held).T, dtype=np.float64), genes, samples
    if value.type != "S4":
        # R's order is C order of the transpose: nothing moves unless whole numbers become doubles
        return np.ascontiguousarray(matrix_of(value).T, dtype=np.float64), genes, samples
    return _sparse(value, name), genes, samples


def _sparse(value: RValue, name: str) -> sparse.csr_matrix:
    kind = value.classes[0]
    rows, columns = (int(size) for size in value.attributes["Dim"].value)
    square = kind[1] in "st" or "diMatrix" in kind
    if min(rows, columns) < 0 or (square and rows != columns):
        raise TableError(f"{name}: a sparse matrix of {rows} x {columns} is damaged.")
    for size, names in zip((rows, columns), dimnames(value), strict=True):
        if size != len(names or []):
            spend(size, "rows or columns without names")
    if "diMatrix" in kind:
        ones = value.attributes["diag"].value[0] == "U"
        entries = np.ones(rows) if ones else _entries(value, 0)
        if len(entries) != rows:
            raise TableError(f"{name}: a diagonal matrix of {rows} has {len(entries)} values; it is damaged.")
        out = sparse.diags(entries).tocsr()
        return sparse.csr_matrix(out)
    slots = {slot: value.attributes[slot].value for slot in ("i", "j", "p") if slot in value.attributes}
    if "T" in kind:
        coded = (slots["j"], slots["i"])
        _inside(coded[1], rows, name)
        _inside(coded[0], columns, name)
        out = sparse.coo_matrix((_entries(value, len(coded[0])), coded), shape=(columns, rows)).tocsr()
    elif "C" in kind:
        _pointers(slots["p"], columns, len(slots["i"]), name)
        _inside(slots["i"], rows, name)
        out = sparse.csr_matrix((_entries(value, len(slots["i"])), slots["i"], slots["p"]), shape=(columns, rows))
    else:
        _pointers(slots["p"], rows, len(slots["j"]), name)
        _inside(slots["j"], columns, name)
        out = sparse.csc_matrix(
            (_entries(value, len(slots["j"])), slots["j"], slots["p"]), shape=(columns, rows)
        ).tocsr()
    if kind[1] == "s":  # one triangle is stored
        out = out + out.T - sparse.diags(out.diagonal())
    elif kind[1] == "t" and (value.texts("diag") or ["N"])[0] == "U":
        out = out + sparse.identity(rows)
    out = sparse.csr_matrix(out)
    out.sort_indices()
    return out


def _entries(value: RValue, n: int) -> np.ndarray:
    """The numbers of a sparse matrix; a pattern has ones."""
    held = value.attr("x")
    if held is None:
        return np.ones(n)
    if held.type in ("logical", "integer"):
        return np.where(held.value == NA_INTEGER, np.nan, held.value)
    return np.array(held.value, dtype=np.float64)


def _inside(index: np.ndarray, n: int, name: str) -> None:
    if len(index) and (index.min() < 0 or index.max() >= n):
        raise TableError(f"{name}: a sparse matrix names a row or column beyond its {n}; it is damaged.")


def _pointers(p: np.ndarray, n: int, entries: int, name: str) -> None:
    if len(p) != n + 1 or p[0] != 0 or p[-1] != entries or (np.diff(p) < 0).any():
        raise TableError(f"{name}: the pointers of a sparse matrix do not fit its {entries} entries; it is damaged.")
