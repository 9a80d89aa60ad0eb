"""Sums of classes in many overlapping training parts, from sums over the cells that the parts have in common.

The training parts of one cross-validation differ in one fold: of five parts of a fold's training samples each is four of five cells. A
cell is summed once, and a part is the sum of its cells. Nothing is subtracted: what is held out has no influence, not even in
the last digit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from .threads import in_threads

LOST = 1e-5  # a difference that is less of what it is taken from has lost too many digits
_ROWS, _COLUMNS = 256, 512  # a tile of X
_HELD = 1 << 16  # sums and squares of cells of one tile
_ADDED = 12  # adding a value and its square to a cell takes as long as so many multiplications of a matrix product
_RECENT = 4  # groups that a new part is tried with


class Cells(NamedTuple):
    """Training parts that share cells.

    Parameters
    ----------
    members
        Positions of the asks.
    rows, start
        Samples by cell; where each cell begins, and the end.
    inside
        members x cells: 1 where the cell is in the training part.
    basis
        members x (1 + tested) x cells: orthonormal columns of the design, by cell: the constant, then contrasts of the classes.
    """

    members: np.ndarray
    rows: np.ndarray
    start: np.ndarray
    inside: np.ndarray
    basis: np.ndarray


# What is given the results, tile by tile: genes; positions of asks; and, asks x genes, the sum of the samples over the root of their
# number; what is divided by the standard deviation to make t, or by the variance to make F; the residual sum of squares (NaN: it has
# lost its digits).
Take = Callable[[slice, Any, np.ndarray, np.ndarray, np.ndarray], None]


@dataclass(eq=False)
class _Group:
    """Parts while they are gathered: the cell of each sample (0: in none of the parts)."""

    tested: int
    label: np.ndarray
    members: list[int] = field(default_factory=list)
    codes: list[np.ndarray] = field(default_factory=list)

    def join(self, k: int, code: np.ndarray) -> bool:
        """Take part ``k`` in, unless it cuts the cells there are, rather than taking off one more."""
        width = self.tested + 2
        joint = self.label * width + code
        seen = np.bincount(joint, minlength=width) > 0
        seen[0] = True
        if seen.sum() - 1 > (len(self.members) + 2) * (self.tested + 1):
            return False
        self.label = (np.cumsum(seen) - 1)[joint]
        self.members.append(k)
        self.codes.append(code)
        return True

    def done(self) -> Cells:
        n_cells = int(self.label.max())
        rows = np.argsort(self.label, kind="stable")[np.count_nonzero(self.label == 0) :]
        start = np.searchsorted(self.label[rows], np.arange(1, n_cells + 2))
        codes = np.array(self.codes)[:, rows[start[:-1]]]
        basis = np.zeros((len(codes), self.tested + 1, n_cells))
        for own, code, made in zip(self.codes, codes, basis, strict=True):
            n = np.bincount(own)[1:]
            made[0, code > 0] = 1.0 / np.sqrt(n.sum())
            for j in range(1, len(n)):  # each class against those before it
                before = n[:j].sum()
                size = np.sqrt(before * n[j] / (before + n[j]))
                made[j, code == j + 1] = size / n[j]
                made[j, (code > 0) & (code <= j)] = -size / before
        return Cells(np.array(self.members), rows, start, (codes > 0).astype(float), basis)


def _codes(rows: np.ndarray, design: np.ndarray, tested: int, n: int) -> np.ndarray | None:
    """The class of each sample from 1 on (0: not in this part); None if the design is not one of classes alone."""
    inner = design[:, 1:]
    if tested != inner.shape[1] or not (design[:, 0] == 1).all() or not ((inner == 0) | (inner == 1)).all():
        return None
    if (inner.sum(axis=1) > 1).any():
        return None
    code = np.zeros(n, dtype=np.int32)
    code[rows] = 1 + inner @ np.arange(1, tested + 1)
    counts = np.bincount(code, minlength=tested + 2)[1:]
    return code if counts.all() and counts.sum() == len(rows) else None  # no class is empty, no sample there twice


def cells_of(asks: Sequence[Any], n: int) -> list[Cells] | None:
    """The cells of many training parts of ``n`` samples, if their designs are classes and summing by cells is less work.

    Parameters
    ----------
    asks
        Each with ``rows``, ``design`` and ``tested`` (:class:`geneml_bio.core.shared_screen.Ask`).
    n
        Samples in all.
    """
    groups: list[_Group] = []
    for k, ask in enumerate(asks):
        code = _codes(ask.rows, ask.design, ask.tested, n)
        if code is None:
            return None
        near = [group for group in groups[: -_RECENT - 1 : -1] if group.tested == ask.tested]
        if not any(group.join(k, code) for group in near):
            groups.append(_Group(ask.tested, np.zeros(n, dtype=np.int64)))
            groups[-1].join(k, code)
    made = [group.done() for group in groups]
    combined = sum(one.inside.size + one.basis.size for one in made)
    product = n * sum(ask.design.shape[1] + 1 for ask in asks)
    return made if _ADDED * sum(len(one.rows) for one in made) + combined < product else None


def can_add(X: Any) -> bool:
    """Whether there are compiled sums for a matrix like this: dense, or CSR of floats."""
    return not sparse.issparse(X) or (X.format == "csr" and X.dtype in (np.float32, np.float64))


def sums_by_cells(X: Any, groups: Sequence[Cells], take: Take) -> None:
    """Sums of the training parts, tile by tile.

    Parameters
    ----------
    X
        samples x genes, dense or CSR.
    groups
        From :func:`cells_of`.
    take
        What the results are given to.
    """
    if sparse.issparse(X):
        _sums_of_rows(X, groups, take)
        return
    from .cell_kernel import add_cells  # numba: only where it is needed

    n, p = X.shape
    ends = np.cumsum([0, *(len(one.start) - 1 for one in groups)])
    rows = np.concatenate([one.rows for one in groups])
    cells = np.concatenate([np.repeat(np.arange(len(one.start) - 1), np.diff(one.start)) + end
                            for one, end in zip(groups, ends[:-1], strict=True)])  # fmt: skip
    n_cells, n_blocks = int(ends[-1]), -(-n // _ROWS)
    place = rows // _ROWS * n_cells + cells
    by_block = np.argsort(place, kind="stable")
    order = rows[by_block] % _ROWS
    counts = np.bincount(place, minlength=n_blocks * n_cells).reshape(n_blocks, n_cells)
    start = np.concatenate([[0], np.cumsum(counts)])
    hand_on = _handed_on(groups, take)
    width = max(min(_COLUMNS, _HELD // n_cells // 64 * 64), 64)

    @np.errstate(invalid="ignore", over="ignore")
    def tile(first: int) -> None:
        part = slice(first, min(first + width, p))
        held = np.empty((min(_ROWS, n), part.stop - first))
        sums, squares = np.zeros((n_cells, part.stop - first)), np.zeros((n_cells, part.stop - first))
        for b in range(n_blocks):
            values = X[b * _ROWS : (b + 1) * _ROWS, part]
            held[: len(values)] = values
            add_cells(held, order, start[b * n_cells : (b + 1) * n_cells + 1], sums, squares)
        hand_on(part, sums, squares)

    in_threads(tile, range(0, p, width), len(rows) * p)


def _handed_on(groups: Sequence[Cells], take: Take) -> Callable[[slice, np.ndarray, np.ndarray], None]:
    """A function that makes the sums of training parts from those of all cells of the groups, and gives them to ``take``."""
    from .cell_kernel import effects_of

    members: Any = np.concatenate([one.members for one in groups])
    if (np.diff(members) == 1).all():
        members = slice(members[0], members[-1] + 1)  # nothing is rearranged
    n_columns = groups[0].basis.shape[1]

    def hand_on(part: slice, sums: np.ndarray, squares: np.ndarray) -> None:
        n, width = sum(len(one.members) for one in groups), sums.shape[1]
        scores, square = np.empty((n, n_columns, width)), np.empty((n, width))
        cell = row = 0
        for one in groups:
            cells, rows = slice(cell, cell + len(one.start) - 1), slice(row, row + len(one.members))
            np.matmul(one.basis.reshape(-1, len(one.start) - 1), sums[cells], out=scores[rows].reshape(-1, width))
            np.matmul(one.inside, squares[cells], out=square[rows])
            cell, row = cells.stop, rows.stop
        take(part, members, scores[:, 0], *effects_of(scores, square, LOST))

    return hand_on


def _sums_of_rows(X: Any, groups: Sequence[Cells], take: Take) -> None:
    from .cell_kernel import add_sparse_cells

    p, data, indices, indptr = X.shape[1], np.asarray(X.data), np.asarray(X.indices), np.asarray(X.indptr)
    for one in groups:
        sums, squares = np.zeros((2, len(one.start) - 1, p))
        hand_on = _handed_on([one], take)

        def some(c: int, one: Cells = one, sums: np.ndarray = sums, squares: np.ndarray = squares) -> None:
            own = slice(c, c + 1)
            add_sparse_cells(data, indices, indptr, one.rows, one.start[c : c + 2], sums[own], squares[own])

        with np.errstate(invalid="ignore", over="ignore"):
            in_threads(some, range(len(sums)), 4 * X.nnz)
            for first in range(0, p, _COLUMNS):
                part = slice(first, min(first + _COLUMNS, p))
                hand_on(part, sums[:, part], squares[:, part])
