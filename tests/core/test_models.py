"""The models by name: scikit-learn's own checks, what is tuned, calibrated and weighted against a plain scikit-learn loop."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score, log_loss, make_scorer, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import has_fit_parameter

from geneml_bio.core.errors import InputError, TargetError
from geneml_bio.core.explain import explain
from geneml_bio.core.explainers import explain_fitted, is_exact
from geneml_bio.core.fitting import Recipe, bare, fit_candidate, predict_fitted
from geneml_bio.core.models import candidates, pipeline
from geneml_bio.core.registry import REGISTRY
from geneml_bio.core.resample import inner_folds
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


# -- tuning ------------------------------------------------------------------------------------------------------------


def _scoring(k: int, margin: bool):
    if not k:
        return "neg_mean_squared_error"
    if margin:
        return "balanced_accuracy"
    return make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=list(range(k)))


TUNED = [(k, name) for k in (2, 3) for name in CLASSIFIERS if REGISTRY["classification"][name].space]
TUNED += [(0, name) for name in REGRESSORS if REGISTRY["regression"][name].space]


@pytest.mark.parametrize(("k", "name"), TUNED)
def test_tuning_is_a_grid_search_over_the_whole_pipeline(k, name):
    X, y = study(k=k, effect=0.8)
    candidate = one(name, "classification" if k else "regression")
    groups = np.arange(len(y)) // 2 if k == 2 else None
    if groups is not None:
        y = y[groups * 2]  # a donor has one class
    rng = np.random.default_rng(1)
    covariates = rng.normal(size=(len(y), 2))
    whole = pipeline(candidate, recipe(k).screen, impute=False, seed=5)
    cv = inner_folds(y, groups, k, n_splits=3, seed=5)
    space = {f"model__{key}": list(values) for key, values in candidate.space.items()}
    search = GridSearchCV(whole, space, scoring=_scoring(k, candidate.margin), cv=cv)
    search.fit(X, y, screen__covariates=covariates)
    got, chosen = fit_candidate(recipe(k), candidate, X, y, groups=groups, covariates=covariates, seed=5)
    assert list(chosen.values()) == list(search.best_params_.values())
    assert list(chosen) == [key.split("__")[-1] for key in search.best_params_]
    if not candidate.margin:
        expected = search.predict_proba(X) if k else search.predict(X)
        np.testing.assert_array_equal(
            predict_fitted(got, X, k), expected / expected.sum(axis=1, keepdims=True) if k else expected
        )


def test_without_tuning_and_where_no_inner_folds_can_be_made_the_stated_default_is_used():
    X, y = study()
    for how, rows in (
        (recipe(2, tune=False), slice(None)),
        (recipe(2), [*np.flatnonzero(y)[:2], *np.flatnonzero(y == 0)[:4]]),
    ):
        got, chosen = fit_candidate(how, one("lasso"), X[rows], y[rows], seed=0)
        assert chosen == {}
        assert got["model"].alpha == 0.03


# -- calibration -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "calibrate"), [("svm", None), ("svm", "isotonic"), ("logistic", "sigmoid"), ("xgboost", "isotonic")]
)
@pytest.mark.parametrize("k", [2, 3])
def test_calibration_is_scikit_learns_on_inner_folds(name, calibrate, k):
    X, y = study(k=k, effect=0.8, n=72)
    covariates = np.random.default_rng(1).normal(size=(len(y), 1))
    candidate = one(name)
    got, chosen = fit_candidate(recipe(k, calibrate=calibrate), candidate, X, y, covariates=covariates, seed=5)
    whole = pipeline(candidate, recipe(k).screen, impute=False, seed=5)
    whole.set_params(**{f"model__{key}": value for key, value in chosen.items()})
    cv = inner_folds(y, None, k, n_splits=3, seed=5)
    own = CalibratedClassifierCV(whole, method=calibrate or "sigmoid", cv=cv, ensemble=False)
    expected = own.fit(X, y, screen__covariates=covariates).predict_proba(X)
    np.testing.assert_allclose(predict_fitted(got, X, k), expected, atol=1e-12)
    plain = clone(whole).fit(X, y, screen__covariates=covariates)
    np.testing.assert_array_equal(bare(got)["screen"].ranking(), plain["screen"].ranking())


def test_calibration_keeps_groups_whole_and_covariates_with_their_samples():
    """A model that records what it was given: no donor is learnt from and held out, and covariates are those of the samples."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    class Watching(ModeratedScreen):
        def fit(self, X, y, covariates=None):
            seen.append((np.asarray(X[:, -1]), np.asarray(covariates[:, 0])))
            return super().fit(X, y, covariates)

    n = 60
    donor = np.arange(n) // 3
    X, y = study(n=n)
    y = y[donor * 3]
    X[:, -1] = np.arange(n)
    covariates = np.arange(n, dtype=float)[:, None] ** 2
    how = recipe(2, screen=20)
    watched = Recipe(Watching(k=20, task="classification"), False, True, 2)
    fit_candidate(watched, one("svm"), X, y, groups=donor, covariates=covariates, seed=0)
    assert len(seen) == 3 + 3 + 1  # tuned, calibrated, and the model that is kept
    for samples, given in seen:
        np.testing.assert_array_equal(given, samples**2)
    for samples, _ in seen[:6]:
        inside = np.isin(np.arange(n), samples)
        assert inside.any()
        assert not inside.all()
        assert all(len(set(inside[donor == d])) == 1 for d in set(donor))
    assert how.calibrate is None


def test_probabilities_of_a_margin_model_mean_what_they_say():
    """Simulated studies: among samples told 'p', a share of about p is of the class, on samples not fitted on."""
    told, true = [], []
    for seed in range(8):
        X, y = study(n=500, effect=0.7, seed=seed)
        got, _ = fit_candidate(recipe(2), one("svm"), X[:250], y[:250], seed=0)
        told.append(predict_fitted(got, X[250:], 2)[:, 1])
        true.append(y[250:])
    prob, y = np.concatenate(told), np.concatenate(true)
    for low, high in ((0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)):
        here = (prob >= low) & (prob < high)
        assert abs(prob[here].mean() - y[here].mean()) < 0.1
    assert log_loss(y, prob) < 0.62


def test_where_no_inner_folds_can_be_made_a_margin_model_says_what_to_do():
    X, y = study(n=12, p=10)
    few = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:1]]
    with pytest.raises(TargetError, match=r"'svm' has no probabilities.*has 1 samples.*'logistic'"):
        fit_candidate(recipe(2), one("svm"), X[few], y[few], seed=0)
    with pytest.raises(TargetError, match=r"to be calibrated.*calibrate="):
        fit_candidate(recipe(2, calibrate="sigmoid"), one("logistic"), X[few], y[few], seed=0)
    with pytest.raises(TargetError, match="1 groups"):
        fit_candidate(recipe(2), one("svm"), X, y, groups=np.where(y == 1, 99, np.arange(12)), seed=0)
    two = np.r_[np.flatnonzero(y == 0)[:4], np.flatnonzero(y == 1)[:2]]  # two of a class do
    got, chosen = fit_candidate(recipe(2), one("svm"), X[two], y[two], seed=0)
    assert chosen == {}
    assert np.isfinite(predict_fitted(got, X, 2)).all()


@pytest.mark.parametrize(
    "estimator", [LinearSVC(dual=False), SVC(), RidgeClassifier(), make_pipeline(MinMaxScaler(), SVC())]
)
def test_any_classifier_with_margins_is_calibrated(estimator):
    X, y = study(k=3)
    candidate = one({"mine": estimator})
    assert candidate.margin
    got, _ = fit_candidate(recipe(3), candidate, X, y, seed=0)
    prob = predict_fitted(got, X, 3)
    assert (prob.argmax(axis=1) == y).mean() > 0.8


def test_a_classifier_without_probabilities_and_margins_is_refused():
    class Bare(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            return self

        def predict(self, X):
            return np.zeros(len(X))

    with pytest.raises(InputError, match=r"decision_function"):
        candidates({"x": Bare()}, "classification")


# -- class weights -----------------------------------------------------------------------------------------------------


def uneven(n=150, seed=0):
    X, y = study(n=n, effect=0.5, seed=seed)
    return X, np.where((y == 1) & (np.random.default_rng(seed + 99).random(n) < 0.7), 0, y)


WEIGHED = [name for name in CLASSIFIERS if name != "knn"]
WEIGHS_NETWORKS = has_fit_parameter(MLPClassifier, "sample_weight")  # scikit-learn 1.7


@pytest.mark.parametrize("name", WEIGHED)
def test_class_weights_reach_every_model_but_knn(name):
    X, y = uneven()
    if name == "mlp" and not WEIGHS_NETWORKS:
        with pytest.raises(InputError, match=r"1\.7"):
            fit_candidate(recipe(2, class_weight="balanced"), one(name), X, y, seed=1)
        return
    shares = []
    for weight in ({0: 1.0, 1: 1.0}, {0: 1.0, 1: 20.0}):
        got, _ = fit_candidate(recipe(2, class_weight=weight), one(name), X[:100], y[:100], seed=1)
        shares.append(predict_fitted(got, X[100:], 2)[:, 1].mean())
    if name == "random_forest":  # whose trees end in leaves of one class: weights move little but the splits
        assert bare(got)["model"].class_weight == {0: 1.0, 1: 20.0}
    else:
        assert shares[1] > shares[0] + 0.05
    balanced = 100 / (2 * np.bincount(y[:100]))
    if name != "mlp":
        one_way, _ = fit_candidate(recipe(2, tune=False, class_weight="balanced"), one(name), X[:100], y[:100], seed=1)
        by_hand = recipe(2, tune=False, class_weight=dict(enumerate(balanced)))
        other, _ = fit_candidate(by_hand, one(name), X[:100], y[:100], seed=1)
        if name != "svm":  # its inner folds are balanced anew
            np.testing.assert_allclose(predict_fitted(one_way, X, 2), predict_fitted(other, X, 2), atol=1e-6)


@pytest.mark.parametrize("name", ["logistic", "xgboost"])
def test_weights_take_part_in_tuning_and_calibration_as_weights_of_samples_do(name):
    X, y = uneven()
    weight = {0: 1.0, 1: 6.0}
    sample = np.where(y == 1, 6.0, 1.0).astype(
        np.float32 if name == "xgboost" else float
    )  # the precision of its output
    got, _ = fit_candidate(recipe(2, tune=False, class_weight=weight, calibrate="sigmoid"), one(name), X, y, seed=3)
    whole = pipeline(one(name), recipe(2).screen, impute=False, seed=3)
    cv = inner_folds(y, None, 2, n_splits=3, seed=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        own = CalibratedClassifierCV(whole, cv=cv, ensemble=False).fit(
            X, y, sample_weight=sample, model__sample_weight=sample
        )
    np.testing.assert_allclose(predict_fitted(got, X, 2), own.predict_proba(X), atol=1e-6)


def test_tuning_with_weights_weighs_the_loss():
    X, y = uneven(seed=4)
    weight = {0: 1.0, 1: 10.0}
    losses = []
    values = REGISTRY["classification"]["logistic"].space["C"]
    for C in values:
        total = 0.0
        for train, test in inner_folds(y, None, 2, n_splits=3, seed=3):
            own = make_pipeline(
                ModeratedScreen(20), StandardScaler(), LogisticRegression(C=C, max_iter=5000, class_weight=weight)
            )
            prob = own.fit(X[train], y[train]).predict_proba(X[test])
            total += log_loss(y[test], prob, labels=[0, 1], sample_weight=np.where(y[test] == 1, 10.0, 1.0))
        losses.append(total)
    _, chosen = fit_candidate(recipe(2, class_weight=weight), one("logistic"), X, y, seed=3)
    assert chosen == {"C": values[int(np.argmin(losses))]}


def test_class_weights_of_a_model_that_takes_none_are_refused():
    X, y = study()
    for what in (
        "knn",
        {"mine": KNeighborsClassifier()},
        {"mine": make_pipeline(MinMaxScaler(), KNeighborsClassifier())},
    ):
        with pytest.raises(InputError, match="every one but 'knn'"):
            fit_candidate(recipe(2, class_weight="balanced"), one(what), X, y, seed=0)
    with pytest.raises(InputError, match="no classes"):
        recipe(0, class_weight="balanced")
    with pytest.raises(InputError, match="isotonic"):
        recipe(2, calibrate="platt")


def test_weights_reach_the_last_step_of_the_callers_pipeline():
    X, y = uneven()
    mine = one({"mine": Pipeline([("again", MinMaxScaler()), ("clf", LogisticRegression(C=10))])})
    got, _ = fit_candidate(recipe(2, class_weight={0: 1.0, 1: 5.0}), mine, X, y, seed=0)
    own = make_pipeline(
        ModeratedScreen(20), StandardScaler(), MinMaxScaler(), LogisticRegression(C=10, class_weight={0: 1, 1: 5})
    )
    np.testing.assert_allclose(predict_fitted(got, X, 2), own.fit(X, y).predict_proba(X), atol=1e-9)


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
