"""SHAP values of trees and of their sums: exact, path-dependent, as ``shap.TreeExplainer``, at a fraction of its cost.

For a leaf of value ``v`` and a feature ``j`` of its path the Shapley value is an integral over [0, 1] (Owen 1972),

    phi_j = v (o_j - z_j) * integral of prod over i != j of (t o_i + (1 - t) z_i) dt,

where ``o`` says whether the sample passes all tests of a feature on the path, and ``z`` is the share of the training samples that do,
test by test. The integrand is a polynomial of a degree below the number of features of the path: half as many Gauss-Legendre points
give it exactly. Leaves below an edge share its factors, so that at each point one pass down the tree makes the products and one pass
up the sums: nodes x points a sample, in place of leaves x depth squared. Of few samples and small trees NumPy does it, all trees together,
level by level; of more a loop compiled by numba, which takes a second and 110 MB to load. There samples are the inner loop, in blocks.
Each sample's sums are in the same order whatever the number of threads.

References
----------
Lundberg et al. (2020), Nat Mach Intell 2:56 (path-dependent tree SHAP); Yu et al. (2022), arXiv:2209.08192 (polynomials of a path,
summed over edges); Owen (1972), Management Sci 18(5):64.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import joblib
import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_info

from .trees import Trees, below_the_roots

BLOCK = 128  # samples of the inner loop
SMALL = 1 << 18  # nodes x samples x outputs for which numba is not worth its loading


def shap_values(trees: Trees, X: Any, n_threads: int | None = None) -> np.ndarray:
    """SHAP values of samples (dense, with all columns of the model): samples x ``trees.columns`` x outputs.

    ``n_threads``: None for as many as BLAS and OpenMP may use now, which is one inside joblib's workers and where
    threadpoolctl says so; the values do not depend on it.
    """
    x = np.ascontiguousarray(np.asarray(X)[:, trees.columns].T.astype(trees.precision), dtype=np.float64)
    small = len(trees.feature) * x.shape[1] * len(trees.base) <= SMALL
    phi = _by_level(trees, x) if small else _by_tree(trees, x, n_threads)
    return phi.transpose(2, 1, 0)


def _by_tree(trees: Trees, x: np.ndarray, n_threads: int | None) -> np.ndarray:
    """Outputs x columns x samples, by the compiled loop."""
    from .tree_kernel import add_values

    n, most = x.shape[1], int(trees.points.max())
    nodes, weights = np.zeros((most + 1, most)), np.zeros((most + 1, most))
    for q in np.unique(trees.points):
        nodes[q, :q], weights[q, :q] = _quadrature(int(q))
    phi = np.zeros((len(trees.base), len(trees.columns), n))

    def one(begin: int) -> None:
        part = slice(begin, begin + BLOCK)
        out = np.zeros((len(trees.base), len(trees.columns), min(BLOCK, n - begin)))
        add_values(
            np.ascontiguousarray(x[:, part]), trees.feature, trees.threshold, trees.missing_left, trees.child, trees.parent,
            trees.before, trees.share, trees.value, trees.start, trees.first, trees.last, trees.points, nodes, weights, out,
        )  # fmt: skip
        phi[:, :, part] = out

    begins = range(0, n, BLOCK)
    workers = min(_threads() if n_threads is None else n_threads, len(begins))
    if workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(one, begins))
    else:
        for begin in begins:
            one(begin)
    return phi


def _quadrature(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and weights on [0, 1]."""
    at, weight = np.polynomial.legendre.leggauss(points)
    return (1 + at) / 2, weight / 2


def _by_level(trees: Trees, x: np.ndarray) -> np.ndarray:
    """Outputs x columns x samples, of all trees together."""
    deep = np.flatnonzero(trees.depth > 0)
    phi = np.zeros((len(trees.base), len(trees.columns), x.shape[1]))
    if not len(deep):
        return phi
    pairs = [(nodes[::2], trees.parent[nodes[::2]]) for nodes in below_the_roots(trees.depth)]  # left children, parents
    passes = _passes(trees, x, pairs)
    values = _per_output(trees)
    sums, gives = np.empty_like(passes), [np.zeros_like(passes) for _ in values]
    for at, weight in zip(*_quadrature(int(trees.points.max())), strict=True):
        product, slope = _factors(trees, passes, at, weight)
        for left, above in pairs:
            product[left] *= product[above]
            product[left + 1] *= product[above]
        for value, given in zip(values, gives, strict=True):
            np.multiply(product, value[:, None], out=sums)
            for left, above in reversed(pairs):
                sums[above] = sums[left] + sums[left + 1]
            np.multiply(sums, slope, out=sums)
            given += sums
    tested = trees.feature[trees.parent[deep]]
    to = sparse.csr_matrix((np.ones(len(deep)), (tested, deep)), shape=(len(trees.columns), len(passes)))
    for out, given in zip(phi, gives, strict=True):
        out[:] = to @ given
    return phi


def _passes(trees: Trees, x: np.ndarray, pairs: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Nodes x samples: 1 where a sample passes the tests of the node's feature up to it."""
    passes = np.ones((len(trees.feature), x.shape[1]))
    for left, above in pairs:
        row = x[trees.feature[above]]
        goes = row <= trees.threshold[above, None]
        goes |= np.isnan(row) & trees.missing_left[above, None]
        passes[left], passes[left + 1] = goes, ~goes
        for child in (left, left + 1):
            again = child[trees.before[child] >= 0]
            passes[again] *= passes[trees.before[again]]
    return passes


def _factors(trees: Trees, passes: np.ndarray, at: float, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Of every node at one point: its feature's factor over that of the last test above; the weighted slope of its logarithm."""
    share = trees.share
    cold, was = (1 - at) * share, at + (1 - at) * share
    fails = np.full(len(share), -weight / (1 - at))
    more = weight * (1 - share) / was - fails
    factor = passes * at + cold[:, None]
    slope = passes * more[:, None] + fails[:, None]
    again = np.flatnonzero(trees.before >= 0)
    last = trees.before[again]
    ratio, before = share[again] / share[last], was[last]
    mine, held = passes[again], passes[last]
    factor[again] = ratio[:, None] + held * (cold[again] / before - ratio)[:, None] + mine * (at / before)[:, None]
    fails = fails[again] - weight * (1 - share[last]) / before
    slope[again] = held * fails[:, None] + mine * more[again, None]
    factor[trees.parent < 0] = 1.0
    return factor, slope


def _per_output(trees: Trees) -> list[np.ndarray]:
    """What each node adds to each output: nothing but at a leaf."""
    sizes = np.diff(trees.start)
    first, width = np.repeat(trees.first, sizes), np.repeat(trees.last - trees.first, sizes)
    leaf, rows = trees.feature < 0, np.arange(len(trees.feature))
    out = []
    for k in range(len(trees.base)):
        mine = leaf & (k >= first) & (k < first + width)
        out.append(np.where(mine, trees.value[rows, np.where(mine, k - first, 0)], 0.0))
    return out


def _threads() -> int:
    """As many as the libraries of linear algebra may use here."""
    allowed = [library["num_threads"] for library in threadpool_info()]
    return max(1, min([joblib.cpu_count(), *allowed]))
