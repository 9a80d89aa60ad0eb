"""Trees of scikit-learn's models, read from where each library class keeps them, all in one form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

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
    """A sum of trees one after the other, the nodes of each by their depth; the two children of a node stand beside each other.

    Parameters
    ----------
    columns
        Columns of the samples that the trees test.
    feature, threshold, missing_left
        Test of a node (position in ``columns``; -1 at a leaf): left if ``x <= threshold``; where a missing value goes.
    child, parent, before, depth
        Positions of the left child (the right one is the next; -1 at a leaf), the parent, and the last node above that was reached by
        a test of the same feature (-1: none); nodes above.
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
    child: np.ndarray
    parent: np.ndarray
    before: np.ndarray
    depth: np.ndarray
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
    sizes = np.array([len(tree.left) for tree in found])
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    old = {
        name: np.concatenate([getattr(tree, name) for tree in found])
        for name in ("feature", "threshold", "missing_left", "cover")
    }
    moved = np.repeat(start[:-1], sizes)
    left, right = (
        np.concatenate([getattr(tree, side) for tree in found]).astype(np.int64) for side in ("left", "right")
    )
    inner = left >= 0
    order, parent, depth = _by_depth(np.where(inner, left + moved, -1), right + moved, start)
    inner = inner[order]
    child = np.full(len(order), -1, dtype=np.int64)
    child[parent[parent >= 0][::-1]] = np.flatnonzero(parent >= 0)[::-1]  # of two children the first remains
    tested = old["feature"][order].astype(np.int64)
    columns = np.unique(tested[inner])
    feature = np.full(len(order), -1, dtype=np.int64)
    feature[inner] = np.searchsorted(columns, tested[inner])
    before, share, reached, features = _shares(feature, parent, depth, old["cover"][order].astype(float))
    value = np.zeros((len(order), max(tree.value.shape[1] for tree in found)))
    first = np.array([tree.at for tree in found], dtype=np.int64)
    last = first + [tree.value.shape[1] for tree in found]
    base = np.zeros(n_outputs)
    for t, tree in enumerate(found):
        mine = slice(start[t], start[t + 1])
        value[mine, : tree.value.shape[1]] = tree.value[order[mine] - start[t]]
        leaf = ~inner[mine]
        base[first[t] : last[t]] += reached[mine][leaf] @ value[mine, : tree.value.shape[1]][leaf]
    return Trees(
        columns=columns,
        feature=feature,
        threshold=old["threshold"][order].astype(float),
        missing_left=old["missing_left"][order].astype(bool),
        child=child,
        parent=parent,
        before=before,
        depth=depth,
        share=share,
        value=value,
        start=start,
        first=first,
        last=last,
        points=np.maximum((np.maximum.reduceat(features, start[:-1]) + 1) // 2, 1),
        base=base,
        precision=precision,
    )


def _by_depth(left: np.ndarray, right: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nodes of each tree in a new order, by their depth: old position, new position of the parent (-1: none), depth."""
    level, above = start[:-1], np.full(len(start) - 1, -1)
    levels, parents = [], []
    seen = 0
    while len(level):
        levels.append(level)
        parents.append(above)
        inner = np.flatnonzero(left[level] >= 0)
        above = np.repeat(seen + inner, 2)
        seen += len(level)
        level = np.column_stack([left[level[inner]], right[level[inner]]]).ravel()
    met, parent = np.concatenate(levels), np.concatenate(parents)  # over all trees, level by level
    depth = np.repeat(np.arange(len(levels)), [len(level) for level in levels])
    order = np.argsort(np.searchsorted(start, met, side="right"), kind="stable")
    new = np.empty_like(order)
    new[order] = np.arange(len(order))
    parent = parent[order]
    return met[order], np.where(parent >= 0, new[parent], -1), depth[order]


def below_the_roots(depth: np.ndarray) -> list[np.ndarray]:
    """The nodes of each depth from 1 on."""
    order = np.argsort(depth, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(depth[order])) + 1)[1:]


def _shares(
    feature: np.ndarray, parent: np.ndarray, depth: np.ndarray, cover: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Last node above that a test of the same feature led to; share that passes those tests; share that comes here; features met."""
    n = len(feature)
    before, features = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int64)
    share, reached = np.ones(n), np.ones(n)
    for nodes in below_the_roots(depth):
        above = parent[nodes]
        ratio = cover[nodes] / cover[above]
        share[nodes], reached[nodes], features[nodes] = ratio, reached[above] * ratio, features[above] + 1
        open_, up = np.arange(len(nodes)), above  # those whose feature was not met yet, and how far up was looked
        while len(open_):
            there = parent[up] >= 0
            open_, up = open_[there], up[there]
            same = feature[parent[up]] == feature[above[open_]]
            mine, last = open_[same], up[same]
            before[nodes[mine]], share[nodes[mine]] = last, share[last] * ratio[mine]
            features[nodes[mine]] = features[above[mine]]
            open_, up = open_[~same], parent[up[~same]]
    return before, share, reached, features
