"""Tuning, calibration and class weights of the models."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC
from test_models import CLASSIFIERS, REGRESSORS, one, recipe, study

from geneml_bio.core.errors import InputError, TargetError
from geneml_bio.core.fitting import Recipe, bare, fit_candidate, predict_fitted
from geneml_bio.core.models import Candidate, candidates, pipeline
from geneml_bio.core.registry import REGISTRY
from geneml_bio.core.resample import inner_folds
from geneml_bio.core.screen import ModeratedScreen

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


class Shy(LogisticRegression):
    """Says nothing of new samples where its penalty is weak."""

    def predict_proba(self, X):
        return super().predict_proba(X) * (np.nan if self.C > 1 else 1.0)


def test_values_without_a_score_are_not_the_best():
    X, y = study()
    _, chosen = fit_candidate(recipe(2), Candidate("shy", Shy(), {"C": [10.0, 0.1, 100.0]}), X, y, seed=0)
    assert chosen == {"C": 0.1}


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


@pytest.mark.parametrize("name", WEIGHED)
def test_class_weights_reach_every_model_but_knn(name):
    X, y = uneven()
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


@pytest.mark.parametrize(("k", "name"), [(2, "logistic"), (3, "logistic"), (0, "ridge")])
def test_linear_models_of_data_in_single_precision_are_fitted_in_double(k, name):
    """scikit-learn would solve them in that of the data, to a few digits."""
    X, y = study(k=k, effect=0.8)
    X, candidate = X.astype(np.float32), one(name, "classification" if k else "regression")
    (single, of_single), (double, of_double) = (
        fit_candidate(recipe(k), candidate, values, y, seed=5) for values in (X, X.astype(float))
    )
    assert of_single == of_double
    coef, expected = (fitted.named_steps["model"].coef_ for fitted in (single, double))
    assert coef.dtype == np.float64
    np.testing.assert_allclose(coef, expected, rtol=1e-5, atol=2e-7)  # what is scaled is rounded in single precision
