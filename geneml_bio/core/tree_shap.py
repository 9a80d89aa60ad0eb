"""SHAP values of trees and of their sums: exact, path-dependent, as ``shap.TreeExplainer``, at a fraction of its cost.

For a leaf of value ``v`` and a feature ``j`` of its path the Shapley value is an integral over [0, 1] (Owen 1972),

    phi_j = v (o_j - z_j) * integral of prod over i != j of (t o_i + (1 - t) z_i) dt,

where ``o`` says whether the sample passes all tests of a feature on the path, and ``z`` is the share of the training samples that do,
test by test. The integrand is a polynomial of a degree below the number of features of the path: half as many Gauss-Legendre points
give it exactly. Leaves below an edge share its factors, so that at each point one pass down the tree makes the products and one pass
up the sums: nodes x points a sample, in place of leaves x depth squared. Samples are the inner loop, in blocks; each sample's
sums are in the same order whatever the number of threads.

References
----------
Lundberg et al. (2020), Nat Mach Intell 2:56 (path-dependent tree SHAP); Yu et al. (2022), arXiv:2209.08192 (polynomials of a path,
summed over edges); Owen (1972), Management Sci 18(5):64.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_info

from .compiled import compiled

BLOCK = 128  # samples of the inner loop
_FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
_SINGLE = (DecisionTreeClassifier, DecisionTreeRegressor)
_BOOSTED = (GradientBoostingClassifier, GradientBoostingRegressor)
_BINNED = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)


class _Tree(NamedTuple):
    """One tree as its library stores it: a row a node, the root first, ``left`` below 0 at a leaf; ``at``: its first output."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    cover: np.ndarray
    value: np.ndarray
    at: int


@dataclass(frozen=True, eq=False)
class Trees:
    """A sum of trees, each node followed by its left branch.

    Parameters
    ----------
    columns
        Columns of the samples that the trees test.
    feature, threshold, missing_left
        Test of a node (position in ``columns``; -1 at a leaf): left if ``x <= threshold``; where a missing value goes.
    right, parent, before
        Positions of the right child, the parent, and the last node above that was reached by a test of the same feature (-1: none).
    share
        Of the training samples, those that pass the tests of its feature from the root to this node.
    value
        Nodes x outputs of the tree at most; ``first``, ``last``: the outputs of each tree; ``start``: its nodes; ``points``: how
        many are needed.
    base
        Mean output over the training samples.
    precision
        Type to which samples are rounded before they are tested.
    """

    columns: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_left: np.ndarray
    right: np.ndarray
    parent: np.ndarray
    before: np.ndarray
    share: np.ndarray
    value: np.ndarray
    start: np.ndarray
    first: np.ndarray
    last: np.ndarray
    points: np.ndarray
    base: np.ndarray
    precision: type


def supported(model: Any) -> bool:
    """Whether this fitted model is one whose trees are read here; of others shap's explainer takes care."""
    kind = type(model)
    if kind in _BINNED:
        return not any(p.nodes["is_categorical"].any() for stage in model._predictors for p in stage)
    if kind in _BOOSTED:
        return model.init is None
    return kind in (*_FORESTS, *_SINGLE) and model.n_outputs_ == 1


def read_trees(model: Any) -> Trees | None:
    """The trees of a fitted scikit-learn model (:func:`supported`); None where a node has no training sample."""
    n_outputs = len(getattr(model, "classes_", ()))
    n_outputs = n_outputs if n_outputs > 2 else 1
    found = list(_of_binned(model) if type(model) in _BINNED else _of_sklearn(model))
    if any((tree.cover <= 0).any() for tree in found):
        return None
    trees = _joined(found, n_outputs, np.float64 if type(model) in _BINNED else np.float32)
    if type(model) in _BINNED:
        trees.base[:] += np.ravel(model._baseline_prediction)
    elif type(model) in _BOOSTED:
        trees.base[:] += model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]
    return trees


def _of_sklearn(model: Any) -> Iterator[_Tree]:
    """Forests and single trees (shares of the classes, the second of two), and gradient boosting."""
    if type(model) in _BOOSTED:
        trees = [(t.tree_, k, model.learning_rate) for stage in model.estimators_ for k, t in enumerate(stage)]
    else:
        several = [model] if type(model) in _SINGLE else model.estimators_
        trees = [(t.tree_, 0, 1 / len(several)) for t in several]
    for tree, at, factor in trees:
        value = tree.value[:, 0, :]
        if value.shape[1] > 1:
            value = value / value.sum(axis=1, keepdims=True)
            value = value[:, 1:] if value.shape[1] == 2 else value
        yield _Tree(
            tree.children_left,
            tree.children_right,
            tree.feature,
            tree.threshold,
            tree.missing_go_to_left.astype(bool),
            tree.weighted_n_node_samples,
            value * factor,
            at,
        )


def _of_binned(model: Any) -> Iterator[_Tree]:
    """HistGradientBoosting; there is no public way to its trees (shap takes the same)."""
    for stage in model._predictors:
        for k, predictor in enumerate(stage):
            nodes = predictor.nodes
            left = np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64))
            yield _Tree(
                left,
                nodes["right"].astype(np.int64),
                nodes["feature_idx"].astype(np.int64),
                nodes["num_threshold"],
                nodes["missing_go_to_left"].astype(bool),
                nodes["count"].astype(float),
                nodes["value"][:, None],
                k,
            )


def _joined(found: list[_Tree], n_outputs: int, precision: type) -> Trees:
    tested = [tree.feature[tree.left >= 0] for tree in found]
    columns = np.unique(np.concatenate(tested)).astype(np.int64)
    sizes = [len(tree.left) for tree in found]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    width = max(tree.value.shape[1] for tree in found)
    n = int(start[-1])
    out: dict[str, np.ndarray] = {
        name: np.empty(n, dtype=np.int64) for name in ("feature", "right", "parent", "before")
    }
    out |= {name: np.empty(n) for name in ("threshold", "share")}
    missing_left = np.empty(n, dtype=np.bool_)
    value = np.zeros((n, width))
    first = np.array([tree.at for tree in found], dtype=np.int64)
    last = first + [tree.value.shape[1] for tree in found]
    points = np.empty(len(found), dtype=np.int64)
    base = np.zeros(n_outputs)
    for t, tree in enumerate(found):
        mine = slice(start[t], start[t + 1])
        feature = np.searchsorted(columns, np.where(tree.left >= 0, tree.feature, columns[0] if len(columns) else 0))
        own = {name: array[mine] for name, array in out.items()}
        deepest, order, reached = _arrange(
            tree.left.astype(np.int64), tree.right.astype(np.int64), feature, tree.cover.astype(float), own["feature"],
            own["right"], own["parent"], own["before"], own["share"],
        )  # fmt: skip
        own["threshold"][:] = tree.threshold[order]
        missing_left[mine] = tree.missing_left[order]
        value[mine, : tree.value.shape[1]] = tree.value[order]
        points[t] = max(1, (deepest + 1) // 2)
        leaf = own["feature"] < 0
        base[first[t] : last[t]] += reached[leaf] @ tree.value[order][leaf]
    return Trees(
        columns=columns, missing_left=missing_left, value=value, start=start, first=first, last=last, points=points,
        base=base, precision=precision, **out,
    )  # fmt: skip


@compiled
def _arrange(left, right, feature, cover, new_feature, new_right, parent, before, share):
    """Number the nodes so that each is followed by its left branch. Most features on a path; old numbers; share of samples."""
    n = len(left)
    order = np.empty(n, dtype=np.int64)
    reached = np.empty(n)
    unique = np.zeros(n, dtype=np.int64)
    stack = np.empty((n + 1, 2), dtype=np.int64)  # old number, new number of the parent
    stack[0, 0], stack[0, 1] = 0, -1
    top, at, deepest = 1, 0, 0
    while top > 0:
        top -= 1
        old, above = stack[top, 0], stack[top, 1]
        order[at], parent[at], before[at], share[at], reached[at] = old, above, -1, 1.0, 1.0
        if above >= 0:
            if at != above + 1:
                new_right[above] = at
            tested = new_feature[above]
            ratio = cover[old] / cover[order[above]]
            share[at], reached[at], unique[at] = ratio, reached[above] * ratio, unique[above] + 1
            up = above
            while parent[up] >= 0:
                if new_feature[parent[up]] == tested:
                    before[at], share[at], unique[at] = up, share[up] * ratio, unique[above]
                    break
                up = parent[up]
        deepest = max(deepest, unique[at])
        new_right[at] = -1
        if left[old] >= 0:
            new_feature[at] = feature[old]
            stack[top, 0], stack[top, 1] = right[old], at
            stack[top + 1, 0], stack[top + 1, 1] = left[old], at
            top += 2
        else:
            new_feature[at] = -1
        at += 1
    return deepest, order, reached


@compiled
def _passes(x, feature, threshold, missing_left, right, before, a, b, passes):
    """For nodes a to b and a block of samples (columns x samples): 1 where a sample passes its feature's tests up to the node."""
    n = x.shape[1]
    for i in range(b - a):
        if feature[a + i] < 0:
            continue
        row, limit, missing = x[feature[a + i]], threshold[a + i], missing_left[a + i]
        for side in range(2):
            child = i + 1 if side == 0 else right[a + i]
            out, last = passes[child], before[a + child]
            for s in range(n):
                goes = row[s] <= limit or (missing and row[s] != row[s])
                out[s] = 1.0 if goes == (side == 0) else 0.0
            if last >= 0:
                held = passes[last]
                for s in range(n):
                    out[s] *= held[s]


@compiled
def _down(t, share, before, parent, a, b, passes, product):
    """Products of the factors of the features from the root to each node, at one point t."""
    n = product.shape[1]
    for s in range(n):
        product[0, s] = 1.0
    for i in range(1, b - a):
        out, above, mine, last = product[i], product[parent[a + i]], passes[i], before[a + i]
        cold = (1 - t) * share[a + i]
        if last < 0:
            for s in range(n):
                out[s] = above[s] * (cold + t * mine[s])
        else:
            held = passes[last]
            was = t + (1 - t) * share[a + last]
            ratio = share[a + i] / share[a + last]
            more, hot = cold / was - ratio, t / was
            for s in range(n):
                out[s] = above[s] * (ratio + held[s] * more + mine[s] * hot)


@compiled
def _up(t, weight, k, feature, right, share, before, parent, value, a, b, passes, product, sums, phi):
    """Sums over the leaves below each node, and what they give to the feature tested above it, at one point t."""
    n = product.shape[1]
    for i in range(b - a - 1, 0, -1):
        here, mine, last = sums[i], passes[i], before[a + i]
        if feature[a + i] < 0:
            leaf, v = product[i], value[a + i, k]
            for s in range(n):
                here[s] = v * leaf[s]
        else:
            one, two = sums[i + 1], sums[right[a + i]]
            for s in range(n):
                here[s] = one[s] + two[s]
        out = phi[feature[a + parent[a + i]]]
        fails = -weight / (1 - t)
        more = weight * (1 - share[a + i]) / (t + (1 - t) * share[a + i]) - fails
        if last < 0:
            for s in range(n):
                out[s] += here[s] * (fails + mine[s] * more)
        else:
            held = passes[last]
            fails -= weight * (1 - share[a + last]) / (t + (1 - t) * share[a + last])
            for s in range(n):
                out[s] += here[s] * (held[s] * fails + mine[s] * more)


@compiled
def _block(
    x, feature, threshold, missing_left, right, parent, before, share, value, start, first, last, points, nodes, weights, phi
):  # fmt: skip
    """SHAP values (outputs x columns x samples) of a block of samples (columns x samples), added to ``phi``."""
    most = 0
    for t in range(len(points)):
        most = max(most, start[t + 1] - start[t])
    passes, product, sums = np.empty((most, x.shape[1])), np.empty((most, x.shape[1])), np.empty((most, x.shape[1]))
    for t in range(len(points)):
        a, b = start[t], start[t + 1]
        _passes(x, feature, threshold, missing_left, right, before, a, b, passes)
        for q in range(points[t]):
            at, weight = nodes[points[t], q], weights[points[t], q]
            _down(at, share, before, parent, a, b, passes, product)
            for k in range(last[t] - first[t]):
                _up(
                    at, weight, k, feature, right, share, before, parent, value, a, b, passes, product, sums, phi[first[t] + k]
                )  # fmt: skip


def shap_values(trees: Trees, X: Any, n_threads: int | None = None) -> np.ndarray:
    """SHAP values of samples (dense, with all columns of the model): samples x ``trees.columns`` x outputs.

    ``n_threads``: None for as many as BLAS and OpenMP may use now, which is one inside joblib's workers and where
    threadpoolctl says so; the values do not depend on it.
    """
    x = np.ascontiguousarray(np.asarray(X)[:, trees.columns].T.astype(trees.precision), dtype=np.float64)
    n = x.shape[1]
    most = int(trees.points.max(initial=1))
    nodes, weights = np.zeros((most + 1, most)), np.zeros((most + 1, most))
    for q in np.unique(trees.points):
        at, weight = np.polynomial.legendre.leggauss(int(q))
        nodes[q, :q], weights[q, :q] = (1 + at) / 2, weight / 2
    phi = np.zeros((len(trees.base), len(trees.columns), n))

    def one(begin: int) -> None:
        part = slice(begin, begin + BLOCK)
        out = np.zeros((len(trees.base), len(trees.columns), min(BLOCK, n - begin)))
        _block(
            np.ascontiguousarray(x[:, part]), trees.feature, trees.threshold, trees.missing_left, trees.right, trees.parent,
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
    return phi.transpose(2, 1, 0)


def _threads() -> int:
    """As many as the libraries of linear algebra may use here."""
    allowed = [library["num_threads"] for library in threadpool_info()]
    return max(1, min([joblib.cpu_count(), *allowed]))
