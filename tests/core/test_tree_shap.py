"""SHAP of trees against ``shap.TreeExplainer``, against brute force over coalitions, and against the models' own outputs."""

from __future__ import annotations

import itertools
from math import factorial

import numpy as np
import pytest
import shap
import xgboost
from numba import njit
from numba.core import caching
from scipy import sparse
from sklearn.datasets import make_classification
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
from threadpoolctl import threadpool_limits

from geneml_bio.core import explainers, tree_shap
from geneml_bio.core.boosted import on_used_columns
from geneml_bio.core.compiled import compiled
from geneml_bio.core.explainers import explain_model
from geneml_bio.core.trees import read_trees, supported


@pytest.fixture(params=[0, 1 << 40], ids=["numba", "NumPy"], autouse=True)
def size_from_which_numba_is_taken(request, monkeypatch):
    monkeypatch.setattr(tree_shap, "SMALL", request.param)


def _data(n_classes=2, n=150, p=12, seed=0):
    X, y = make_classification(
        n, p, n_informative=4, n_redundant=0, n_classes=n_classes, n_clusters_per_class=1, random_state=seed, flip_y=0.1
    )
    return X, y, X[:, 0] * 3 + X[:, 1] * X[:, 2] + 10


def _three(values):
    return values[:, :, None] if values.ndim == 2 else values


CLASSIFIERS = [
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(20, random_state=0),
    RandomForestClassifier(20, max_leaf_nodes=16, class_weight="balanced", random_state=0),
    ExtraTreesClassifier(20, bootstrap=True, random_state=0),
    GradientBoostingClassifier(n_estimators=20, subsample=0.8, random_state=0),
    HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5, random_state=0),
]
REGRESSORS = [
    DecisionTreeRegressor(min_samples_leaf=2, random_state=0),
    RandomForestRegressor(20, max_features=0.3, random_state=0),
    ExtraTreesRegressor(20, criterion="absolute_error", max_depth=6, random_state=0),
    GradientBoostingRegressor(n_estimators=20, loss="huber", random_state=0),
    HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=5, max_leaf_nodes=None, random_state=0),
]


def _names(models):
    return [type(model).__name__ for model in models]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=_names(CLASSIFIERS))
@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_are_as_shap_has_them(model, n_classes):
    X, y, _ = _data(n_classes)
    model = model.fit(X[:100], y[:100])
    assert supported(model)
    trees = read_trees(model)
    got = np.zeros((50, 12, 1 if n_classes == 2 else 3))
    got[:, trees.columns] = tree_shap.shap_values(trees, X[100:])
    margin = model.predict_proba(X[100:]) if hasattr(model, "tree_") or hasattr(model, "max_samples") else None
    margin = model.decision_function(X[100:]).reshape(50, -1) if margin is None else margin
    np.testing.assert_allclose(trees.base + got.sum(axis=1), margin[:, -got.shape[2] :], atol=1e-10)
    if n_classes == 3 and isinstance(
        model, GradientBoostingClassifier
    ):  # shap has it for two classes only: tree by tree
        for k in range(3):
            of = [shap.TreeExplainer(stage[k]).shap_values(X[100:]) for stage in model.estimators_]
            np.testing.assert_allclose(got[:, :, k], 0.1 * np.sum(of, axis=0), atol=1e-8)
        return
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    want = _three(explainer.shap_values(X[100:], check_additivity=False))[:, :, -got.shape[2] :]
    np.testing.assert_allclose(got, want, atol=1e-8)
    np.testing.assert_allclose(trees.base, np.atleast_1d(explainer.expected_value)[-got.shape[2] :], atol=1e-8)


@pytest.mark.parametrize("model", REGRESSORS, ids=_names(REGRESSORS))
def test_regressors_are_as_shap_has_them(model):
    X, _, number = _data()
    weights = np.random.default_rng(0).choice([0.5, 1.0, 3.0], 100)
    model = model.fit(X[:100], number[:100], sample_weight=weights)
    trees = read_trees(model)
    got = np.zeros((50, 12))
    got[:, trees.columns] = tree_shap.shap_values(trees, X[100:])[:, :, 0]
    want = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent").shap_values(X[100:])
    np.testing.assert_allclose(got, want, atol=1e-7)
    np.testing.assert_allclose(trees.base + got.sum(axis=1), model.predict(X[100:]), atol=1e-8)


def test_one_tree_is_the_sum_over_coalitions():
    """Brute force: what a coalition knows decides at its nodes, elsewhere both branches count by their training samples."""
    X, y, _ = _data(p=6)
    model = DecisionTreeClassifier(max_depth=6, random_state=1).fit(X[:100], y[:100])
    tree = model.tree_
    assert max(np.bincount(tree.feature[tree.feature >= 0])) > 2  # features come back on a path

    def value(x, known, node=0):
        left, right, j = tree.children_left[node], tree.children_right[node], tree.feature[node]
        if left < 0:
            return tree.value[node, 0, 1] / tree.value[node, 0].sum()
        if j in known:
            return value(x, known, left if np.float32(x[j]) <= tree.threshold[node] else right)
        w = tree.weighted_n_node_samples
        return (w[left] * value(x, known, left) + w[right] * value(x, known, right)) / w[node]

    trees = read_trees(model)
    got = np.zeros((3, 6))
    got[:, trees.columns] = tree_shap.shap_values(trees, X[100:103])[:, :, 0]
    for s, j in itertools.product(range(3), range(6)):
        others = [i for i in range(6) if i != j]
        want = 0.0
        for size in range(6):
            weight = factorial(size) * factorial(5 - size) / factorial(6)
            for known in itertools.combinations(others, size):
                want += weight * (value(X[100 + s], {*known, j}) - value(X[100 + s], set(known)))
        assert got[s, j] == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize(
    "model",
    [HistGradientBoostingClassifier(max_iter=10, min_samples_leaf=5), RandomForestClassifier(10, random_state=0)],
    ids=["HistGradientBoosting", "RandomForest"],
)
def test_missing_values_go_where_the_model_sends_them(model):
    X, y, _ = _data()
    gaps = np.random.default_rng(1).random(X.shape) < 0.2
    X = np.where(gaps & (np.arange(12) < 6), np.nan, X)
    model.fit(X[:100], y[:100])
    trees = read_trees(model)
    assert trees.missing_left[trees.feature >= 0].any()
    assert not trees.missing_left[trees.feature >= 0].all()
    values = tree_shap.shap_values(trees, X[100:])
    forest = isinstance(model, RandomForestClassifier)
    margin = model.predict_proba(X[100:])[:, 1] if forest else model.decision_function(X[100:])
    np.testing.assert_allclose(trees.base[0] + values[:, :, 0].sum(axis=1), margin, atol=1e-10)
    if not forest:
        want = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent").shap_values(X[100:])
        np.testing.assert_allclose(values[:, :, 0], want[:, trees.columns], atol=1e-8)


def test_values_at_a_threshold_fall_as_in_the_model():
    """scikit-learn rounds samples to 32 bits before it compares; a sample at the threshold goes left."""
    X = np.round(np.random.default_rng(0).normal(size=(200, 4)), 1)
    y = X[:, 0] + X[:, 1] > 0
    model = RandomForestClassifier(30, random_state=0).fit(X, y)
    own = np.unique(np.concatenate([t.tree_.threshold[t.tree_.feature == 0] for t in model.estimators_]))
    at = np.column_stack([own, np.zeros((len(own), 3))])
    trees = read_trees(model)
    made = trees.base + tree_shap.shap_values(trees, at).sum(axis=1)
    np.testing.assert_allclose(made[:, 0], model.predict_proba(at)[:, 1], atol=1e-12)


def test_the_values_do_not_depend_on_threads_or_on_who_else_is_explained():
    X, y, _ = _data(n=900)
    trees = read_trees(RandomForestClassifier(5, random_state=0).fit(X, y))
    one, three = (tree_shap.shap_values(trees, X, n) for n in (1, 3))
    assert (one == three).all()
    assert (one[137:138] == tree_shap.shap_values(trees, X[137:138])).all()


def test_threads_keep_to_the_limits_of_where_they_run():
    with threadpool_limits(1):  # as in a fold of a validation
        assert tree_shap._threads() == 1
    assert tree_shap._threads() >= 1


def test_a_model_without_a_split_and_one_with_a_single_leaf_path():
    X, _, number = _data()
    flat = read_trees(RandomForestRegressor(3, random_state=0).fit(X, np.ones(len(X))))
    assert tree_shap.shap_values(flat, X).shape == (150, 0, 1)
    assert flat.base == pytest.approx(1.0)
    part = explain_model(DecisionTreeRegressor(max_depth=1).fit(X, number), X, "unit")
    assert len(part.columns) == 1
    assert (part.whole(12) != 0).any(axis=(0, 2)).sum() == 1


def test_what_is_not_read_here_goes_to_shap(monkeypatch):
    X, y, _ = _data()
    X[:, 0] = np.random.default_rng(0).integers(0, 4, len(X))
    by_category = HistGradientBoostingClassifier(max_iter=5, categorical_features=[0], min_samples_leaf=5).fit(
        X, X[:, 0] % 2
    )
    assert not supported(by_category)
    forest = RandomForestClassifier(5, random_state=0).fit(X, y)
    own = explain_model(forest, X, "")
    monkeypatch.setattr(explainers, "supported", lambda model: False)
    other = explain_model(forest, X, "")
    assert other.columns is None
    np.testing.assert_allclose(own.whole(12)[:, :, 0], other.values[:, :, 1], atol=1e-10)


def test_a_folder_that_cannot_be_written_compiles_without_a_cache(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])  # nowhere to keep it: numba refuses cache=True
    with pytest.raises(RuntimeError, match="cannot cache"):
        njit(cache=True)(lambda x: x)
    assert compiled(lambda x: x + 1)(1) == 2


# -- XGBoost on the columns that it uses -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_contributions_of_used_columns_are_those_of_all(n_classes, monkeypatch):
    X, y, _ = _data(n_classes, p=40)
    model = xgboost.XGBClassifier(n_estimators=8, max_depth=2, n_jobs=1).fit(X[:100], y[:100])
    whole = explain_model(model, X[100:], "")
    assert whole.columns is None
    monkeypatch.setattr(explainers, "_LARGE", 0)
    part = explain_model(model, X[100:], "")
    assert 0 < len(part.columns) < 40
    assert (part.whole(40) == whole.values).all()
    assert (part.base == whole.base).all()
    assert (part.margin == whole.margin).all()


def test_a_sparse_matrix_is_explained_as_the_model_sees_it(monkeypatch):
    """XGBoost takes what a sparse matrix does not hold as missing; the trap is kept, since the predictions have it too."""
    monkeypatch.setattr(explainers, "_LARGE", 0)
    X, y, _ = _data(p=40)
    X[np.abs(X) < 0.5] = 0
    for missing in (np.nan, 0.0):
        model = xgboost.XGBClassifier(n_estimators=8, max_depth=3, n_jobs=1, missing=missing)
        model.fit(sparse.csr_matrix(X[:100]), y[:100])
        part = explain_model(model, sparse.csr_matrix(X[100:]), "")
        margin = model.predict(sparse.csr_matrix(X[100:]), output_margin=True)
        np.testing.assert_allclose(part.margin[:, 0], margin, rtol=1e-6)
        np.testing.assert_allclose(part.base[:, 0] + part.values[:, :, 0].sum(axis=1), margin, atol=1e-5)


def test_models_that_are_no_plain_trees_keep_all_columns():
    X, y, _ = _data()
    linear, dart = (
        xgboost.XGBClassifier(n_estimators=3, n_jobs=1, booster=kind).fit(X, y).get_booster()
        for kind in ("gblinear", "dart")
    )
    assert on_used_columns(linear) == (linear, None)
    reduced, columns = on_used_columns(dart)  # from XGBoost 3.4 on plain trees with weights
    if columns is not None:
        part, whole = (
            booster.predict(xgboost.DMatrix(Z), pred_contribs=True)
            for booster, Z in ((reduced, X[:, columns]), (dart, X))
        )
        np.testing.assert_array_equal(part, whole[:, [*columns, X.shape[1]]])
        assert len(columns) == np.count_nonzero(np.abs(whole[:, :-1]).max(axis=0))
    flat = xgboost.XGBClassifier(n_estimators=3, n_jobs=1, min_child_weight=1e9).fit(X, y)
    reduced, columns = on_used_columns(flat.get_booster())
    assert columns.tolist() == [0]
    assert not reduced.predict(xgboost.DMatrix(X[:, :1]), pred_contribs=True)[:, 0].any()
