"""The models by name: scikit-learn's own checks, what is tuned, calibrated and weighted against a plain scikit-learn loop."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, log_loss, r2_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

from geneml_bio.core.errors import InputError
from geneml_bio.core.explain import explain
from geneml_bio.core.explainers import explain_fitted, is_exact
from geneml_bio.core.fitting import Recipe, bare, fit_candidate, predict_fitted
from geneml_bio.core.models import candidates, pipeline
from geneml_bio.core.registry import REGISTRY
from geneml_bio.core.schema import Cohort
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.sparse_logistic import SparseLogistic
from geneml_bio.core.validate import validate

CLASSIFIERS, REGRESSORS = list(REGISTRY["classification"]), list(REGISTRY["regression"])
BOTH = [("classification", name) for name in CLASSIFIERS] + [("regression", name) for name in REGRESSORS]


def study(n=60, p=40, k=2, effect=1.5, seed=0):
    """Expression and class codes (k = 0: numbers), with five informative genes a class."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    if not k:
        return X, X[:, :5].sum(axis=1) + 0.5 * rng.normal(size=n)
    y = rng.permutation(np.arange(n) % k)
    for c in range(1, k):
        X[:, 5 * (c - 1) : 5 * c] += effect * (y == c)[:, None]
    return X, y


def one(name, task="classification"):
    return candidates([name] if isinstance(name, str) else name, task)[0]


def recipe(k, screen=20, **more) -> Recipe:
    task = "classification" if k else "regression"
    return Recipe(
        **({"screen": ModeratedScreen(k=screen, task=task), "impute": False, "tune": True} | more), n_classes=k
    )


# -- names -------------------------------------------------------------------------------------------------------------


def test_all_twelve_names_are_there_and_those_of_the_other_task_name_their_counterpart():
    names = "linear ridge lasso elastic_net logistic decision_tree random_forest gradient_boosting svm knn xgboost mlp"
    assert set(CLASSIFIERS) | set(REGRESSORS) == set(names.split())
    assert [c.name for c in candidates("all", "classification")] == CLASSIFIERS
    assert [c.name for c in candidates("default", "regression")] == ["ridge", "random_forest", "xgboost"]
    for task, name, says in (
        ("classification", "linear", "'logistic'"),
        ("classification", "ridge", "'logistic'"),
        ("regression", "logistic", "'ridge'"),
    ):
        with pytest.raises(InputError, match=says):
            candidates(name, task)
    assert candidates("random_forest", "classification")[0].estimator.n_estimators == 100


# -- scikit-learn's own checks -----------------------------------------------------------------------------------------

STEPS = "scikit-learn's Pipeline fits its steps in place"
ONE_TARGET = "the screen has one target; the model behind it could have several"
CODES = "XGBoost takes class codes 0, 1, ..., which is what the validation gives it"
EXPECTED = {
    "check_estimators_overwrite_params": STEPS,
    "check_dont_overwrite_parameters": STEPS,
    "check_estimators_nan_inf": "missing values are filled by the imputer, not refused",
    "check_estimator_sparse_tag": "sparse matrices are taken (the screen makes them dense); a Pipeline asks every step",
}
SEVERAL = (
    "check_classifier_multioutput",
    "check_classifiers_multilabel_representation_invariance",
    "check_classifiers_multilabel_output_format_predict",
    "check_classifiers_multilabel_output_format_predict_proba",
    "check_classifiers_multilabel_output_format_decision_function",
)
OF_XGBOOST = (
    "check_estimators_dtypes",
    "check_classifier_data_not_an_array",
    "check_classifiers_classes",
    "check_fit2d_1feature",
)
# fewer trees and epochs than by default: what is checked does not depend on how many
QUICK: dict[str, dict[str, float]] = {
    "random_forest": {"n_estimators": 20},
    "gradient_boosting": {"n_estimators": 30, "learning_rate": 0.3},
    "mlp": {"epochs": 8, "learning_rate": 0.01},
}


def _exceptions(task: str, name: str) -> dict[str, str]:
    out = dict(EXPECTED)
    if task == "regression" and name not in ("gradient_boosting", "svm", "mlp"):
        out["check_regressor_multioutput"] = ONE_TARGET
    if task == "classification" and name in ("decision_tree", "random_forest", "knn", "xgboost"):
        out |= dict.fromkeys(SEVERAL, ONE_TARGET)
    if task == "classification" and name == "xgboost":
        out |= dict.fromkeys(OF_XGBOOST, CODES)
    return out


def _failures(estimator) -> tuple[set[str], set[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_fail=None, on_skip=None)
    ran = {r["check_name"] for r in results if r["status"] in ("passed", "failed")}
    return {r["check_name"] for r in results if r["status"] == "failed"}, ran


@pytest.mark.parametrize(("task", "name"), BOTH)
def test_every_pipeline_passes_scikit_learns_checks_but_for_reasoned_exceptions(task, name):
    whole = pipeline(one(name, task), ModeratedScreen(k=200, task=task), impute=True, seed=0)
    whole["model"].set_params(**QUICK.get(name, {}))
    failed, ran = _failures(whole)
    assert failed == set(_exceptions(task, name)) & ran


# -- sparse logistic regression ----------------------------------------------------------------------------------------


def test_sparse_logistic_passes_scikit_learns_checks():
    assert _failures(SparseLogistic())[0] == set()


def _objective(model, X, y, alpha, l1_ratio):
    w = model.coef_
    loss = log_loss(y, model.predict_proba(X), labels=np.unique(y))
    return loss + alpha * (l1_ratio * np.abs(w).sum() + (1 - l1_ratio) / 2 * (w**2).sum())


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
@pytest.mark.parametrize("alpha", [0.03, 0.1])
def test_sparse_logistic_is_where_scikit_learns_slow_solver_goes(k, l1_ratio, alpha):
    X, y = study(k=k, n=80)
    X = StandardScaler().fit_transform(X)
    mine = SparseLogistic(alpha, l1_ratio=l1_ratio, tol=1e-8).fit(X, y)
    penalty = (
        {}
        if hasattr(LogisticRegression(), "l1_ratio") and LogisticRegression().l1_ratio == 0.0
        else {"penalty": "elasticnet"}
    )
    saga = LogisticRegression(
        C=1 / (alpha * len(y)), l1_ratio=l1_ratio, solver="saga", tol=1e-8, max_iter=100_000, random_state=0, **penalty
    ).fit(X, y)
    np.testing.assert_allclose(mine.predict_proba(X), saga.predict_proba(X), atol=1e-4)
    np.testing.assert_allclose(mine.coef_, saga.coef_, atol=1e-3)
    assert _objective(mine, X, y, alpha, l1_ratio) <= _objective(saga, X, y, alpha, l1_ratio) + 1e-9
    default = SparseLogistic(alpha, l1_ratio=l1_ratio).fit(X, y)
    assert _objective(default, X, y, alpha, l1_ratio) <= _objective(mine, X, y, alpha, l1_ratio) + 1e-6


@pytest.mark.parametrize(("k", "l1_ratio"), [(2, 1.0), (2, 0.5), (3, 1.0)])
def test_sparse_logistic_of_many_genes_is_that_of_all_at_once(k, l1_ratio, monkeypatch):
    """Genes come in as they ask to; the optimum, and its conditions at the genes outside, are those of all genes."""
    rng = np.random.default_rng(k)
    X = rng.normal(size=(80, 1500))
    y = np.digitize(X[:, :4].sum(axis=1) + rng.normal(size=80), [-1, 1][: k - 1] if k == 3 else [0])
    for alpha in (0.2, 0.05):
        mine = SparseLogistic(alpha, l1_ratio=l1_ratio, tol=1e-8, max_iter=100_000).fit(X, y)
        residual = mine.predict_proba(X) - np.eye(k)[y]
        slope = np.abs(X.T @ residual)[:, -mine.coef_.shape[0] :].T / 80
        assert (slope[mine.coef_ == 0] <= alpha * l1_ratio + 1e-6).all()
        assert 0 < (mine.coef_ != 0).any(axis=0).sum() < 1000
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules[SparseLogistic.__module__], "_FIRST", 10_000)
            whole = SparseLogistic(alpha, l1_ratio=l1_ratio, tol=1e-8, max_iter=100_000).fit(X, y)
        np.testing.assert_allclose(mine.coef_, whole.coef_, atol=1e-5)
        np.testing.assert_allclose(mine.intercept_, whole.intercept_, atol=1e-5)


def test_the_optimum_of_sparse_logistic_fulfils_its_conditions():
    """No gene outside has a slope above alpha, and those inside have it exactly (Karush-Kuhn-Tucker), with weights too."""
    X, y = study(k=3, n=90, effect=1.0)
    y = np.where((y == 2) & (np.arange(90) % 2 == 0), 0, y)
    X = StandardScaler().fit_transform(X)
    model = SparseLogistic(0.05, class_weight="balanced", tol=1e-9).fit(X, y)
    weight = 1 / np.bincount(y)[y] / 3
    slope = ((np.eye(3)[y] - model.predict_proba(X)) * weight[:, None]).T @ X
    used = model.coef_ != 0
    assert used.any()
    assert not used.all()
    np.testing.assert_allclose(slope[used], 0.05 * np.sign(model.coef_[used]), atol=1e-6)
    assert np.abs(slope[~used]).max() <= 0.05 + 1e-6


# -- small and odd studies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "name"), BOTH)
def test_tiny_training_parts_and_single_genes_give_finite_predictions_without_a_warning(task, name):
    """Four samples, one gene, a constant gene, a class of two of twelve."""
    k = 2 if task == "classification" else 0
    for n, p, screen in ((4, 6, 200), (12, 1, 20), (13, 8, 5), (40, 3, "all")):
        if name == "svm" and k and n == 4:  # two of a class leave no inner folds that a screen could be fitted to
            continue
        X, y = study(n=n, p=max(p, 6), k=k)
        X, y = X[:, :p].copy(), y
        if p > 1:
            X[:, -1] = 3.0
        if k and n == 13:
            y = np.r_[1, 1, np.zeros(11, dtype=int)]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got, _ = fit_candidate(recipe(k, screen=screen), one(name, task), X, y, seed=0)
            made = predict_fitted(got, X, k)
        assert made.shape == ((n, 2) if k else (n,))
        assert np.isfinite(made).all()


def test_neighbours_are_no_more_than_samples():
    X, y = study(n=10)
    got, chosen = fit_candidate(recipe(2, tune=False), one({"mine": KNeighborsClassifier(50)}), X, y, seed=0)
    np.testing.assert_allclose(predict_fitted(got, X, 2), np.tile(np.bincount(y) / 10, (10, 1)))
    assert chosen == {}
    calibrated, _ = fit_candidate(recipe(2, calibrate="sigmoid"), one("knn"), X, y, seed=0)
    assert np.isfinite(predict_fitted(calibrated, X, 2)).all()


def test_no_seed_is_left_open_and_the_same_seed_gives_the_same_model():
    X, y = study()
    nested = make_pipeline(StandardScaler(), candidates("random_forest", "classification")[0].estimator)
    for what in ("mlp", "gradient_boosting", "xgboost", "random_forest", "decision_tree", "svm", {"mine": nested}):
        whole = pipeline(one(what), recipe(2).screen, impute=False, seed=7)
        assert not [key for key, value in whole.get_params().items() if key.endswith("random_state") and value is None]
        first, again, other = (
            predict_fitted(fit_candidate(recipe(2), one(what), X, y, seed=s)[0], X, 2) for s in (7, 7, 8)
        )
        np.testing.assert_array_equal(first, again)
        assert what in ("svm", "decision_tree") or not np.array_equal(first, other)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csr_array])
def test_sparse_and_dense_data_give_the_same_model(kind):
    X, y = study()
    X[X < 0] = 0
    for name in ("logistic", "xgboost", "knn"):
        made = [
            predict_fitted(fit_candidate(recipe(2), one(name), data, y, seed=0)[0], data, 2) for data in (X, kind(X))
        ]
        np.testing.assert_allclose(*made, atol=1e-6)


def test_predictions_that_are_none_are_refused():
    class Odd(Ridge):
        def predict(self, X):
            return np.full(len(X), np.nan)

    X, y = study(k=0)
    got, _ = fit_candidate(recipe(0), one({"odd": Odd()}, "regression"), X, y, seed=0)
    with pytest.raises(InputError, match="not finite"):
        predict_fitted(got, X, 0)
    X, y = study(k=2)
    got, _ = fit_candidate(recipe(2), one("logistic"), X, y, seed=0)
    with pytest.raises(InputError, match="shape"):
        predict_fitted(got, X, 3)


# -- what the models find ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_find_what_is_there_and_chance_where_nothing_is(name, k):
    there, nothing = [], []
    for seed in range(3):
        X, y = study(n=180, p=60, k=k, effect=1.6, seed=seed)
        permuted = np.random.default_rng(seed).permutation(y)
        for target, into in ((y, there), (permuted, nothing)):
            got, _ = fit_candidate(recipe(k), one(name), X[:90], target[:90], seed=seed)
            into.append(balanced_accuracy_score(target[90:], predict_fitted(got, X[90:], k).argmax(axis=1)))
    assert np.mean(there) > (0.8 if name != "decision_tree" else 0.42 + 0.6 / k**2)
    assert abs(np.mean(nothing) - 1 / k) < 0.1


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_find_what_is_there_and_nothing_where_nothing_is(name):
    there, nothing = [], []
    for seed in range(3):
        X, y = study(n=240, p=60, k=0, seed=seed)
        y = 1000 + 50 * y  # the unit is nobody's business
        permuted = np.random.default_rng(seed).permutation(y)
        for target, into in ((y, there), (permuted, nothing)):
            got, _ = fit_candidate(recipe(0, screen=10), one(name, "regression"), X[:160], target[:160], seed=seed)
            into.append(r2_score(target[160:], predict_fitted(got, X[160:], 0)))
    assert np.mean(there) > (0.5 if name != "decision_tree" else 0.15)
    assert np.mean(nothing) < 0.05


# -- SHAP --------------------------------------------------------------------------------------------------------------

EXACT = [
    *(
        (k, name)
        for k in (2, 3)
        for name in ("logistic", "lasso", "elastic_net", "svm", "decision_tree", "gradient_boosting")
    ),
    *((0, name) for name in ("linear", "ridge", "lasso", "elastic_net", "decision_tree", "gradient_boosting")),
]


@pytest.mark.parametrize(("k", "name"), EXACT)
def test_values_add_up_to_the_output_of_samples_not_seen(k, name):
    X, y = study(n=90, k=k)
    y = 100 + 20 * y if not k else y
    got, _ = fit_candidate(recipe(k), one(name, "classification" if k else "regression"), X[:60], y[:60], seed=0)
    part = explain_fitted(got, X[60:], "classification" if k else "regression", "years")
    np.testing.assert_allclose(part.base + part.values.sum(axis=1), part.margin, atol=1e-8)
    assert np.ptp(part.base, axis=0).max() < 1e-9
    behind = bare(got)
    if not k:
        np.testing.assert_allclose(part.margin[:, 0], behind.predict(X[60:]))
        assert part.unit == "years"
    elif name == "decision_tree":
        np.testing.assert_allclose(part.margin, behind.predict_proba(X[60:])[:, -part.margin.shape[1] :])
    else:
        np.testing.assert_allclose(
            part.margin.reshape(behind.decision_function(X[60:]).shape), behind.decision_function(X[60:])
        )
        assert part.unit == ("margin before calibration" if name == "svm" else "log-odds")


@pytest.mark.parametrize(
    ("k", "name"), [pair for pair in EXACT if pair[1] in ("lasso", "elastic_net", "svm", "ridge", "linear")]
)
def test_linear_values_are_weight_times_departure_from_the_training_mean(k, name):
    X, y = study(n=60, k=k)
    got, _ = fit_candidate(recipe(k), one(name, "classification" if k else "regression"), X, y, seed=0)
    part = explain_fitted(got, X, "classification" if k else "regression", "y")
    behind = bare(got)
    Z = behind[:-1].transform(X)
    made = behind["model"].decision_function(Z) if k else behind["model"].predict(Z)
    weights = np.linalg.lstsq(np.column_stack([Z, np.ones(60)]), made, rcond=None)[0][:-1].reshape(Z.shape[1], -1)
    expected = (Z - Z.mean(axis=0))[:, :, None] * weights[None]
    np.testing.assert_allclose(part.values, expected, atol=1e-8)


def test_exact_is_what_an_exact_algorithm_explains():
    X, y = study(k=3)
    named = [("classification", name) for name in REGISTRY["classification"]]
    named += [("regression", name) for name in REGISTRY["regression"]]
    exact = {}
    for task, name in named:
        target = y if task == "classification" else X[:, 0] + y
        exact[task, name] = is_exact(
            fit_candidate(recipe(3 if task == "classification" else 0), one(name, task), X, target, seed=0)[0], X
        )
    assert {of for of, yes in exact.items() if not yes} == {
        ("classification", "knn"), ("classification", "mlp"), ("regression", "knn"), ("regression", "mlp"), ("regression", "svm")
    }  # fmt: skip
    pairs = Pipeline([("scale", StandardScaler()), ("model", SVC(kernel="linear"))])
    assert not is_exact(pairs.fit(X, y), X)  # of three classes it votes by pairs
    assert is_exact(pairs.fit(X, y > 0), X)
    with pytest.raises(InputError, match="SVC has no exact explainer"):
        explain_fitted(pairs.fit(X, y), X, "classification", "")


# -- through the engine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_every_model_gives_the_same_numbers_whatever_the_number_of_workers(task):
    X, y = study(n=36, k=3 if task == "classification" else 0)
    classes = ("a", "b", "c") if task == "classification" else ()
    target = np.array(classes, dtype=object)[y] if classes else y
    names = pd.Index([f"g{i}" for i in range(X.shape[1])]), pd.Index([f"s{i}" for i in range(len(y))])
    cohort = Cohort(X, *names, target, classes)
    run = {"screen": 10, "n_splits": 2, "n_repeats": 1, "progress": False, "seed": 3}
    alone, together = (validate(cohort, candidates("all", task), n_jobs=n, **run) for n in (1, 2))
    pd.testing.assert_frame_equal(alone.predictions, together.predictions, check_exact=True)
    assert alone.models == list(REGISTRY[task])
    assert set(alone.history["model"]) == {"mlp"}
    assert alone.history.groupby("fold")["epoch"].max().tolist() == [50, 50]
    about = explain(alone, cohort, n_orders=4, progress=False).per_model.set_index("model")
    assert list(about.index) == alone.models
    assert set(about.index[~about["exact"]]) == {"knn", "mlp"} | ({"svm"} if not classes else set())
    assert (about["max_error"] < 1e-5).all()
    assert ((about["sampling_error"] > 0) == ~about["exact"]).all()
