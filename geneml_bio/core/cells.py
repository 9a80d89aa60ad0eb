"""Sums over many overlapping training parts, from sums over the cells that the parts have in common.

The training parts of one cross-validation differ in one fold: of five parts of a fold's training samples each is four of five cells. A
cell is summed once, and a part is the sum of its cells. Where designs are classes, a cell is of one class. Else, where their columns
are those of one table (numbers, covariates; each part may shift and scale them), genes times each column are summed too. Nothing is
subtracted: what is held out has no influence, not even in the last digit.
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
_NEAR = 1e-2  # what is left of a column beside others, of the largest, from which on digits are lost
_ALIKE = 1e-12  # two columns that differ by less of their largest value are one


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
        members x columns x (cells x sums of a cell): orthonormal columns of the design, the constant first, those tested last.
    columns
        What genes are multiplied by before they are summed, beside 1: samples x (sums of a cell - 1).
    """

    members: np.ndarray
    rows: np.ndarray
    start: np.ndarray
    inside: np.ndarray
    basis: np.ndarray
    columns: np.ndarray


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
        rows, start, codes = self._cells()
        basis = np.zeros((len(codes), self.tested + 1, codes.shape[1]))
        for own, code, made in zip(self.codes, codes, basis, strict=True):
            n = np.bincount(own)[1:]
            made[0, code > 0] = 1.0 / np.sqrt(n.sum())
            for j in range(1, len(n)):  # each class against those before it
                before = n[:j].sum()
                size = np.sqrt(before * n[j] / (before + n[j]))
                made[j, code == j + 1] = size / n[j]
                made[j, (code > 0) & (code <= j)] = -size / before
        return Cells(
            np.array(self.members), rows, start, (codes > 0).astype(float), basis, np.empty((len(self.label), 0))
        )

    def _cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples by cell; where each begins, and the end; members x cells: the class, or 0."""
        rows = np.argsort(self.label, kind="stable")[np.count_nonzero(self.label == 0) :]
        start = np.searchsorted(self.label[rows], np.arange(1, int(self.label.max()) + 2))
        return rows, start, np.array(self.codes)[:, rows[start[:-1]]]

    def done_with(self, columns: np.ndarray, tested: int) -> Cells | None:
        """Of cells that are sets of samples, and designs of ``columns``: those tested first, then those adjusted for.

        None if these lie so near to each other that sums of them lose digits.
        """
        rows, start, codes = self._cells()
        inside, k = (codes > 0).astype(float), columns.shape[1] + 1
        order = np.r_[0, tested + 1 : k, 1 : tested + 1]
        design = np.column_stack([np.ones(len(rows)), columns[rows]])[:, order]
        products = np.add.reduceat(design[:, :, None] * design[:, None], start[:-1])
        try:
            r = np.linalg.cholesky(np.tensordot(inside, products, 1))  # of each part, transposed
        except np.linalg.LinAlgError:
            return None
        size = np.diagonal(r, axis1=1, axis2=2)
        if size.min() < _NEAR * size.max():
            return None
        basis = np.empty((len(codes), k, codes.shape[1], k))
        basis[:, :, :, order] = inside[:, None, :, None] * np.linalg.inv(r)[:, :, None]
        return Cells(np.array(self.members), rows, start, inside, basis.reshape(len(codes), k, -1), columns)


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


def _table(asks: Sequence[Any], n: int) -> np.ndarray | None:
    """Samples x columns of which each design's, after the constant, are its own shifted and scaled; None if there is no such table."""
    table, known = np.zeros((n, asks[0].design.shape[1] - 1)), np.zeros(n, dtype=bool)
    for ask in asks:
        own, both = ask.design[:, 1:], known[ask.rows]
        if own.shape[1] != table.shape[1] or not (ask.design[:, 0] == 1).all():
            return None
        if not known.any():
            own = own / np.sqrt(np.mean(np.square(own), axis=0))
        elif 2 * np.count_nonzero(both) < len(both):  # too few to tell by
            return None
        else:
            whole = bool(both.all())
            here, there = (own, table[ask.rows]) if whole else (own[both], table[ask.rows[both]])
            low, high, column = here.argmin(axis=0), here.argmax(axis=0), np.arange(table.shape[1])
            spread = here[high, column] - here[low, column]
            if not spread.all():
                return None
            scale = (there[high, column] - there[low, column]) / spread
            own = (own - here[low, column]) * scale + there[low, column]
            if np.abs((own if whole else own[both]) - there).max() > _ALIKE * np.abs(there).max():
                return None
            if whole:
                continue
        table[ask.rows[~both]], known[ask.rows[~both]] = own[~both], True
    return table


def cells_of(asks: Sequence[Any], n: int, *, columns: bool = False) -> list[Cells] | None:
    """The cells of many training parts of ``n`` samples, if their designs allow it and summing by cells is less work.

    Parameters
    ----------
    asks
        Each with ``rows``, ``design`` and ``tested`` (:class:`geneml_bio.core.shared_screen.Ask`).
    n
        Samples in all.
    columns
        Whether genes may be multiplied by columns of designs, where these are not classes alone.
    """
    codes, table = [], None
    for ask in asks:
        code = _codes(ask.rows, ask.design, ask.tested, n)
        if code is None:
            break
        codes.append(code)
    if len(codes) < len(asks):
        table = _table(asks, n) if columns else None
        if table is None:
            return None
        codes = [np.bincount(ask.rows, minlength=n) for ask in asks]
        if max(code.max() for code in codes) > 1:  # a sample is there twice
            return None
    groups: list[_Group] = []
    for k, (ask, code) in enumerate(zip(asks, codes, strict=True)):
        tested = ask.tested if table is None else 0
        near = [group for group in groups[: -_RECENT - 1 : -1] if group.tested == tested]
        if not any(group.join(k, code) for group in near):
            groups.append(_Group(tested, np.zeros(n, dtype=np.int64)))
            groups[-1].join(k, code)
    made = []
    for group in groups:
        done = group.done() if table is None else group.done_with(table, asks[0].tested)
        if done is None:
            return None
        made.append(done)
    combined = sum(one.inside.size + one.basis.size for one in made)
    product = n * sum(ask.design.shape[1] + 1 for ask in asks)
    added = _ADDED * (1.0 + (0.0 if table is None else table.shape[1] / 2.0)) * sum(len(one.rows) for one in made)
    return made if added + combined < product else None


def can_add(X: Any) -> bool:
    """Whether there are compiled sums for a matrix like this: dense, or CSR of floats."""
    return not sparse.issparse(X) or (X.format == "csr" and X.dtype in (np.float32, np.float64))


def sums_by_cells(X: Any, groups: Sequence[Cells], take: Take, tested: int) -> None:
    """Sums of the training parts, tile by tile.

    Parameters
    ----------
    X
        samples x genes, dense or CSR.
    groups
        From :func:`cells_of`.
    take
        What the results are given to.
    tested
        Columns that are tested.
    """
    if sparse.issparse(X):
        _sums_of_rows(X, groups, take, tested)
        return
    from .cell_kernel import add_cells, add_weighted  # numba: only where it is needed

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
    hand_on = _handed_on(groups, take, tested)
    n_sums = n_cells * (groups[0].columns.shape[1] + 1)
    weights = np.ascontiguousarray(groups[0].columns[rows[by_block]].T)
    width = max(min(_COLUMNS, _HELD // n_sums // 64 * 64), 64)

    @np.errstate(invalid="ignore", over="ignore")
    def tile(first: int) -> None:
        part = slice(first, min(first + width, p))
        held = np.empty((min(_ROWS, n), part.stop - first))
        sums, squares = np.zeros((n_sums, part.stop - first)), np.zeros((n_cells, part.stop - first))
        for b in range(n_blocks):
            values = X[b * _ROWS : (b + 1) * _ROWS, part]
            held[: len(values)] = values
            own = start[b * n_cells : (b + 1) * n_cells + 1]
            if len(weights):
                add_weighted(held, order, own, weights, sums, squares)
            else:
                add_cells(held, order, own, sums, squares)
        hand_on(part, sums, squares)

    in_threads(tile, range(0, p, width), len(rows) * p)


def _handed_on(groups: Sequence[Cells], take: Take, tested: int) -> Callable[[slice, np.ndarray, np.ndarray], None]:
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
        each = len(sums) // len(squares)
        for one in groups:
            cells, rows = slice(cell, cell + len(one.start) - 1), slice(row, row + len(one.members))
            own = sums[each * cells.start : each * cells.stop]
            np.matmul(one.basis.reshape(-1, len(own)), own, out=scores[rows].reshape(-1, width))
            np.matmul(one.inside, squares[cells], out=square[rows])
            cell, row = cells.stop, rows.stop
        take(part, members, scores[:, 0], *effects_of(scores, square, tested, LOST))

    return hand_on


def _sums_of_rows(X: Any, groups: Sequence[Cells], take: Take, tested: int) -> None:
    from .cell_kernel import add_sparse_cells

    p, data, indices, indptr = X.shape[1], np.asarray(X.data), np.asarray(X.indices), np.asarray(X.indptr)
    for one in groups:
        sums, squares = np.zeros((2, len(one.start) - 1, p))
        hand_on = _handed_on([one], take, tested)

        def some(c: int, one: Cells = one, sums: np.ndarray = sums, squares: np.ndarray = squares) -> None:
            own = slice(c, c + 1)
            add_sparse_cells(data, indices, indptr, one.rows, one.start[c : c + 2], sums[own], squares[own])

        with np.errstate(invalid="ignore", over="ignore"):
            in_threads(some, range(len(sums)), 4 * X.nnz)
            for first in range(0, p, _COLUMNS):
                part = slice(first, min(first + _COLUMNS, p))
                hand_on(part, sums[:, part], squares[:, part])
