"""The loop of :mod:`geneml_bio.core.cells`, compiled."""

from __future__ import annotations

import numpy as np

from .compiled import compiled


@compiled
def add_cells(values: np.ndarray, order: np.ndarray, start: np.ndarray, sums: np.ndarray, squares: np.ndarray) -> None:
    """Add the rows ``order[start[c]:start[c + 1]]`` of ``values``, and their squares, to row ``c`` of the sums."""
    for c in range(len(start) - 1):
        total, square = sums[c], squares[c]
        at, end = start[c], start[c + 1]
        while at + 4 <= end:  # four at a time, so that the sums are read and written once for four
            one, two = values[order[at]], values[order[at + 1]]
            three, four = values[order[at + 2]], values[order[at + 3]]
            for g in range(values.shape[1]):
                a, b, d, e = one[g], two[g], three[g], four[g]
                total[g] += (a + b) + (d + e)
                square[g] += (a * a + b * b) + (d * d + e * e)
            at += 4
        while at < end:
            one = values[order[at]]
            for g in range(values.shape[1]):
                total[g] += one[g]
                square[g] += one[g] * one[g]
            at += 1


@compiled
def add_sparse_cells(
    data: np.ndarray,
    indices: np.ndarray,
    indptr: np.ndarray,
    order: np.ndarray,
    start: np.ndarray,
    sums: np.ndarray,
    squares: np.ndarray,
) -> None:
    """:func:`add_cells` of the rows of a CSR matrix."""
    for c in range(len(start) - 1):
        total, square = sums[c], squares[c]
        for at in range(start[c], start[c + 1]):
            first, last = indptr[order[at]], indptr[order[at] + 1]
            values, genes = data[first:last], indices[first:last]
            for j in range(len(values)):
                value, gene = np.float64(values[j]), np.uint64(genes[j])  # unsigned: no look at what is below 0
                total[gene] += value
                square[gene] += value * value


@compiled
def effects_of(scores: np.ndarray, squares: np.ndarray, lost: float) -> tuple[np.ndarray, np.ndarray]:
    """Effects and residual sums of squares (``Take``) from scores, asks x columns x genes, those of the constant first."""
    n, k, p = scores.shape
    effect, rss = np.empty((n, p)), np.empty((n, p))
    for i in range(n):
        total, one, square, e, r = scores[i, 0], scores[i, 1], squares[i], effect[i], rss[i]
        for g in range(p):
            e[g] = one[g] * one[g]
        for j in range(2, k):
            other = scores[i, j]
            for g in range(p):
                e[g] += other[g] * other[g]
        for g in range(p):
            left = square[g] - total[g] * total[g] - e[g]
            r[g] = left if left > lost * square[g] or square[g] == 0 else np.nan
            e[g] = one[g] if k == 2 else e[g] / (k - 1)
    return effect, rss
