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
def add_weighted(
    values: np.ndarray, order: np.ndarray, start: np.ndarray, weights: np.ndarray, sums: np.ndarray, squares: np.ndarray
) -> None:
    """:func:`add_cells`, and the rows times each of their weights (columns x ``order``): the sums of a cell lie one after the other."""
    k = len(weights) + 1
    for c in range(len(start) - 1):
        total, square = sums[c * k], squares[c]
        at, end = start[c], start[c + 1]
        while at < end:
            a, b = values[order[at]], values[order[min(at + 1, end - 1)]]
            d, e = values[order[min(at + 2, end - 1)]], values[order[min(at + 3, end - 1)]]
            u = 1.0 if at + 1 < end else 0.0  # 0: a row that was taken already
            v, w = 1.0 if at + 2 < end else 0.0, 1.0 if at + 3 < end else 0.0
            for g in range(values.shape[1]):
                total[g] += (a[g] + u * b[g]) + (v * d[g] + w * e[g])
                square[g] += (a[g] * a[g] + u * b[g] * b[g]) + (v * d[g] * d[g] + w * e[g] * e[g])
            for j in range(k - 1):
                out, own = sums[c * k + 1 + j], weights[j]
                one, two = own[at], u * own[min(at + 1, end - 1)]
                three, four = v * own[min(at + 2, end - 1)], w * own[min(at + 3, end - 1)]
                for g in range(values.shape[1]):
                    out[g] += (one * a[g] + two * b[g]) + (three * d[g] + four * e[g])
            at += 4


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
def effects_of(scores: np.ndarray, squares: np.ndarray, tested: int, lost: float) -> tuple[np.ndarray, np.ndarray]:
    """Effects and residual sums of squares (``Take``) from scores, asks x columns x genes: the constant's first, those tested last."""
    n, k, p = scores.shape
    effect, rss = np.zeros((n, p)), np.empty((n, p))
    for i in range(n):
        square, e, r, last = squares[i], effect[i], rss[i], scores[i, k - 1]
        for g in range(p):
            r[g] = square[g]
        for j in range(k):
            score = scores[i, j]
            for g in range(p):
                r[g] -= score[g] * score[g]
        for g in range(p):
            r[g] = r[g] if r[g] > lost * square[g] or square[g] == 0 else np.nan
        if tested == 1:
            for g in range(p):
                e[g] = last[g]
        else:
            for j in range(k - tested, k):
                score = scores[i, j]
                for g in range(p):
                    e[g] += score[g] * score[g] / tested
    return effect, rss
