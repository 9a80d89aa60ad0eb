"""Forests: the trees that scikit-learn's own fit would have grown, bit for bit; and the way back to that fit."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.ensemble import _forest as private_forest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import _classes as private_trees

from geneml_bio.core import forest
from geneml_bio.core.fitting import Recipe, bare, fit_candidate, predict_fitted
from geneml_bio.core.forest import fit_forest, forest_values, tree_threads
from geneml_bio.core.models import candidates
from geneml_bio.core.screen import ModeratedScreen

OF_ALL: list[dict[str, Any]] = [
    {},
    {"max_depth": 3},
    {"max_leaf_nodes": 5},
    {"max_leaf_nodes": 128, "max_features": 1 / 3},
    {"min_samples_leaf": 3, "max_features": None},
    {"min_samples_leaf": 0.1, "min_samples_split": 0.3},
    {"max_features": 7, "min_impurity_decrease": 0.01},
    {"bootstrap": False},
    {"bootstrap": True, "max_samples": 0.5},
    {"bootstrap": True, "max_samples": 20},
    {"weighted": True, "bootstrap": True},
]
OF_CLASSES: list[dict[str, Any]] = [
    {"criterion": "entropy"},
    {"criterion": "log_loss", "max_features": "log2"},
    {"class_weight": "balanced"},
    {"class_weight": "balanced_subsample", "bootstrap": True},
    {"class_weight": "balanced_subsample", "bootstrap": False},
    {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}},
    {"class_weight": "balanced", "weighted": True, "bootstrap": True},
]


def study(n_classes: int, seed: int, n: int = 40, p: int = 25) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % n_classes if n_classes else rng.normal(size=n)
    X = rng.normal(size=(n, p)).round(1)  # with ties
    X[:, :3] += np.asarray(y)[:, None]
    return X, y


def assert_same(made: Any, own: Any) -> None:
    """Every attribute of both models and of all their trees; of trees, every node."""
    assert type(made) is type(own)
    assert set(vars(made)) == set(vars(own))
    assert made.get_params() == own.get_params()
    for name in set(vars(own)) - {"estimators_", "estimator", "estimator_"}:
        np.testing.assert_array_equal(getattr(made, name), getattr(own, name), err_msg=name)
    assert len(made.estimators_) == len(own.estimators_)
    for one, other in zip(made.estimators_, own.estimators_, strict=True):
        assert type(one) is type(other)
        assert set(vars(one)) == set(vars(other))
        for name in set(vars(other)) - {"tree_"}:
            assert type(getattr(one, name)) is type(getattr(other, name)), name
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        a, b = one.tree_.__getstate__(), other.tree_.__getstate__()
        assert (a["max_depth"], a["node_count"]) == (b["max_depth"], b["node_count"])
        np.testing.assert_array_equal(a["values"], b["values"])
        for name in set(b["nodes"].dtype.names) - {"missing_go_to_left"}:  # not set in leaves
            np.testing.assert_array_equal(a["nodes"][name], b["nodes"][name], err_msg=name)


def fits(monkeypatch: pytest.MonkeyPatch, model: Any) -> list[int]:
    """How many trees scikit-learn is asked for, each time."""
    seen: list[int] = []
    own = type(model).fit

    def fit(self: Any, *args: Any, **given: Any) -> Any:
        seen.append(self.n_estimators)
        return own(self, *args, **given)

    monkeypatch.setattr(type(model), "fit", fit)
    return seen


CLASSIFIERS, REGRESSORS = (RandomForestClassifier, ExtraTreesClassifier), (RandomForestRegressor, ExtraTreesRegressor)
KINDS = [(kind, k) for kind in CLASSIFIERS for k in (2, 3)] + [(kind, 0) for kind in REGRESSORS]


@pytest.mark.parametrize(("kind", "n_classes"), KINDS)
def test_every_tree_is_the_one_that_scikit_learn_grows(kind, n_classes, monkeypatch):
    for seed, how in enumerate(OF_ALL + (OF_CLASSES if n_classes else [])):
        how = dict(how)
        X, y = study(n_classes, seed)
        weight = {"sample_weight": np.random.default_rng(seed).random(len(y))} if how.pop("weighted", False) else {}
        if n_classes == 2 and isinstance(how.get("class_weight"), dict):
            how["class_weight"] = {0: 1.0, 1: 3.0}
        model = kind(25, random_state=seed, **how)
        own = clone(model).fit(X, y, **weight)
        with monkeypatch.context() as patch:
            asked = fits(patch, model)
            made = fit_forest(model, X, y, **weight)
        assert asked == [2], how  # two trees, to compare with
        assert made is model
        assert_same(made, own)
        expected = own.predict_proba(X) if n_classes else own.predict(X)
        np.testing.assert_array_equal(forest_values(made, X), expected)
        np.testing.assert_array_equal(made.apply(X), own.apply(X))


def test_more_threads_and_other_precision_and_pickles_change_nothing(monkeypatch):
    X, y = study(3, 0, n=80)
    own = RandomForestClassifier(31, random_state=5).fit(X, y)
    monkeypatch.setattr(forest, "_WORTH_THREADS", 0.0)
    monkeypatch.setattr(forest, "_HELD", 1e-9)
    for count in (1, 2, 3):
        with tree_threads(count):
            assert_same(fit_forest(RandomForestClassifier(31, random_state=5), X, y), own)
    by_jobs = fit_forest(RandomForestClassifier(31, random_state=5, n_jobs=2), X, y)
    np.testing.assert_array_equal(forest_values(by_jobs, X), own.predict_proba(X))
    kept = pickle.loads(pickle.dumps(by_jobs))
    np.testing.assert_array_equal(kept.predict(X), own.predict(X))
    single = X.astype(np.float32)
    assert_same(fit_forest(RandomForestClassifier(31, random_state=5), single, y), own)
    labels = np.array(["a", "b", "c"])[y]
    named = fit_forest(RandomForestClassifier(31, random_state=5), X, labels)
    assert_same(named, RandomForestClassifier(31, random_state=5).fit(X, labels))


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (private_forest, "_parallel_build_trees", None),  # gone
        (private_trees, "DepthFirstTreeBuilder", lambda *args: None),  # something else
        (private_trees, "DENSE_SPLITTERS", {}),
    ],
)
def test_another_scikit_learn_fits_its_forests_itself(owner, name, broken, monkeypatch):
    X, y = study(2, 1)
    model = RandomForestClassifier(27, random_state=3)
    own = clone(model).fit(X, y)
    made = clone(model)
    made.n_estimators = 2
    made.fit(X, y)
    made.n_estimators = 27
    if broken is None:
        monkeypatch.delattr(owner, name)
    else:
        monkeypatch.setattr(owner, name, broken)
    assert forest._grown(made, X, y, None) is None
    monkeypatch.undo()
    monkeypatch.setattr(forest, "_grown", lambda *args: None)
    assert_same(fit_forest(model, X, y), own)


def test_trees_that_come_out_differently_are_not_used(monkeypatch):
    X, y = study(2, 1)
    model = RandomForestClassifier(27, random_state=3)
    own = clone(model).fit(X, y)
    right = forest._Grower.grow

    def grow(self: Any, seed: int) -> Any:
        made = right(self, seed + 1)
        made.random_state = seed
        return made

    monkeypatch.setattr(forest._Grower, "grow", grow)
    asked = fits(monkeypatch, model)
    assert_same(fit_forest(model, X, y), own)
    assert asked == [2, 27]


@pytest.mark.parametrize(
    "how",
    [
        {"oob_score": True},
        {"warm_start": True},
        {"ccp_alpha": 0.01},
        {"min_weight_fraction_leaf": 0.1},
        {"random_state": None},
        {"random_state": np.random.RandomState(0)},
        {"monotonic_cst": [1] * 25},
        {"n_estimators": 20},
    ],
    ids=lambda how: next(iter(how)),
)
def test_what_is_unusual_is_left_to_scikit_learn(how, monkeypatch):
    X, y = study(2, 2)
    model = RandomForestClassifier(**{"n_estimators": 30, "random_state": 1} | how)
    asked = fits(monkeypatch, model)
    fit_forest(model, X, y)
    assert asked == [model.n_estimators]
    with_gap = X.copy()
    with_gap[0, 0] = np.nan
    fit_forest(clone(model).set_params(monotonic_cst=None), with_gap, y)
    assert asked == [model.n_estimators] * 2


def test_errors_are_those_of_scikit_learn_and_the_model_keeps_its_parameters():
    X, y = study(2, 3)
    wrong = RandomForestClassifier(30, random_state=1, max_features="none")
    with pytest.raises(ValueError, match="max_features"):
        fit_forest(wrong, X, y)
    assert wrong.n_estimators == 30
    with pytest.raises(ValueError, match="class_weight"):
        fit_forest(RandomForestClassifier(30, random_state=1, class_weight="odd"), X, y)
    model = fit_forest(RandomForestClassifier(30, random_state=1), X, y)
    assert forest_values(model, X[:, :3]) is None
    assert forest_values(model, np.full_like(X, np.inf)) is None
    assert forest_values(StandardScaler().fit(X), X) is None


@pytest.mark.parametrize("n_classes", [2, 0])
def test_a_fold_has_the_forest_of_the_whole_pipeline(n_classes, monkeypatch):
    X, y = study(n_classes, 4, n=60, p=50)
    task = "classification" if n_classes else "regression"
    screen = ModeratedScreen(20, task=task)
    mine = RandomForestClassifier(40) if n_classes else RandomForestRegressor(40, max_features=1 / 3)
    asked = fits(monkeypatch, mine)
    for weight in (None, "balanced") if n_classes else (None,):
        recipe = Recipe(screen, impute=False, tune=True, n_classes=n_classes, class_weight=weight)
        made, _ = fit_candidate(recipe, candidates({"mine": mine}, task)[0], X[:40], y[:40], seed=9)
        assert asked[-1] == 2
        own = clone(mine).set_params(random_state=9, **({"class_weight": weight} if n_classes else {}))
        whole = Pipeline([("screen", clone(screen)), ("scale", StandardScaler()), ("model", own)]).fit(X[:40], y[:40])
        assert set(vars(made)) == set(vars(whole))
        assert_same(bare(made).named_steps["model"], whole.named_steps["model"])
        expected = whole.predict_proba(X[40:]) if n_classes else whole.predict(X[40:])
        np.testing.assert_allclose(predict_fitted(made, X[40:], n_classes), expected, rtol=0, atol=1e-15)


def test_an_extra_trees_regressor_of_many_leaves_and_weights_that_are_zero():
    X, y = study(0, 6, n=60)
    weight = (np.arange(60) % 3 > 0).astype(float)
    model = ExtraTreesRegressor(25, random_state=8, max_leaf_nodes=20)
    assert_same(fit_forest(clone(model), X, y, sample_weight=weight), clone(model).fit(X, y, sample_weight=weight))
