"""Sampled SHAP against every subset written out and shap's own exact explainer; its error against the one it states."""

from __future__ import annotations

import itertools
from math import factorial
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import shap
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingRegressor,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectKBest
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    RidgeClassifierCV,
    TheilSenRegressor,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR
from test_validate import make_cohort
from xgboost import XGBClassifier, XGBRegressor

from geneml_bio.core.errors import DataWarning, InputError
from geneml_bio.core.explain import explain
from geneml_bio.core.explainers import Background, explain_model
from geneml_bio.core.models import candidates
from geneml_bio.core.sampled import orders_for, sampled
from geneml_bio.core.schema import Cohort
from geneml_bio.core.validate import validate


def data(n=40, p=5, k=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    score = X[:, 0] * X[:, 1] + np.sin(2 * X[:, 2]) + X[:, 3]
    y = score if not k else np.digitize(score, np.quantile(score, np.arange(1, k) / k))
    return X, y


def by_subsets(f, Z, background):
    """Shapley's formula: every column, every subset of the others, the mean over the background."""
    n, p = Z.shape
    worth = {}
    for size in range(p + 1):
        for subset in itertools.combinations(range(p), size):
            mixed = np.tile(background, (n, 1))
            mixed[:, subset] = np.repeat(Z, len(background), axis=0)[:, subset]
            worth[subset] = f(mixed).reshape(n, len(background), -1).mean(axis=1)
    out = np.zeros((n, p, worth[()].shape[1]))
    for j in range(p):
        for subset in worth:
            if j not in subset:
                weight = factorial(len(subset)) * factorial(p - len(subset) - 1) / factorial(p)
                out[:, j] += weight * (worth[tuple(sorted((*subset, j)))] - worth[subset])
    return out


FUNCTIONS = {
    "network": lambda X, y: MLPClassifier((8,), max_iter=300, random_state=0).fit(X, y).predict_proba,
    "neighbours": lambda X, y: KNeighborsClassifier(5).fit(X, y).predict_proba,
    "kernel": lambda X, y: SVC(random_state=0).fit(X, y).decision_function,
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_mean_over_seeds_is_shapleys_value_and_the_stated_error_is_the_error(name):
    X, y = data(k=3)
    f = FUNCTIONS[name](X[:30], y[:30])
    Z, background = X[30:36], X[:8]
    exact = by_subsets(f, Z, background)
    made = [sampled(f, Z, background, n_orders=32, seed=seed) for seed in range(25)]
    off = np.array([part.values - exact for part in made])
    stated = np.mean([part.error2 for part in made])
    assert 0.8 < (off**2).mean() / stated < 1.25
    spread = np.sqrt(stated / 25)
    assert np.sqrt((off.mean(axis=0) ** 2).mean()) < 1.5 * spread
    for part in made:
        np.testing.assert_allclose(part.base + part.values.sum(axis=1), f(Z), atol=1e-12)
        np.testing.assert_allclose(part.base, np.tile(f(background).mean(axis=0), (6, 1)), atol=1e-12)
    one = [np.sqrt(sampled(f, Z, background, n_orders=m, seed=7).error2.mean()) for m in (32, 512)]
    assert 2.5 < one[0] / one[1] < 6  # the root of 16


def test_the_values_are_those_of_shaps_kernel_explainer():
    """Which sees every subset of so few columns."""
    X, y = data()
    model = KNeighborsClassifier(5).fit(X[:30], y[:30])

    def f(Z):
        return model.predict_proba(Z)[:, 1:]

    theirs = shap.KernelExplainer(f, X[:10], silent=True).shap_values(X[30:35], silent=True).reshape(5, 5, 1)
    np.testing.assert_allclose(by_subsets(f, X[30:35], X[:10]), theirs, atol=1e-8)
    mine = sampled(f, X[30:35], X[:10], n_orders=400, seed=0)
    z = (mine.values - theirs) / np.sqrt(mine.error2)
    assert np.sqrt((z**2).mean()) < 1.6
    assert np.abs(z).max() < 4.5


def test_a_sum_of_functions_of_one_column_has_no_error_and_the_same_seed_gives_the_same():
    X, _ = data(p=4)

    def f(Z):
        return (np.sin(3 * Z) * [1, -2, 0, 0.5]).sum(axis=1, keepdims=True)

    made = sampled(f, X[:5], X[5:25], n_orders=40, seed=1)
    terms = np.sin(3 * X) * [1, -2, 0, 0.5]
    np.testing.assert_allclose(made.values[:, :, 0], terms[:5] - terms[5:25].mean(axis=0), atol=1e-12)
    assert made.error2.max() < 1e-15
    assert not made.values[:, 2].any()  # unused is 0, not rounding
    net = MLPClassifier((4,), max_iter=20, random_state=0)
    with pytest.warns(UserWarning, match="converge"):
        net.fit(X, X[:, 0] > 0)
    a, b, c = (sampled(net.predict_proba, X[:3], X[5:], n_orders=9, seed=s).values for s in (4, 4, 5))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0


def test_many_samples_share_the_background_and_one_column_is_enough():
    X, _ = data(n=300, p=4)

    def f(Z):
        return Z[:, :1] * np.roll(Z, 1, axis=1)[:, :1]

    few = sampled(f, X[:60], X[100:], n_orders=8, seed=0)
    np.testing.assert_allclose(few.base + few.values.sum(axis=1), f(X[:60]), atol=1e-12)
    assert len(np.unique(np.round(few.base, 12))) == 4  # four of sixteen each
    one = sampled(f, X[:4, :1], X[9:, :1], n_orders=8, seed=0)
    np.testing.assert_allclose(one.base + one.values[:, 0], f(X[:4, :1]), atol=1e-12)
    assert orders_for(500, 200) == 60
    assert orders_for(10**6, 2000) == 8
    assert orders_for(10, 5) == 200


# -- any estimator -----------------------------------------------------------------------------------------------------

LINES = [
    (True, LinearDiscriminantAnalysis()),
    (True, Perceptron()),
    (True, RidgeClassifierCV()),
    (True, SVC(kernel="linear")),
    (True, make_pipeline(RobustScaler(), PCA(3), LogisticRegression())),
    (True, make_pipeline("passthrough", MinMaxScaler(), SelectKBest(k=3), LogisticRegression())),
    (False, TheilSenRegressor(random_state=0)),
    (False, make_pipeline(StandardScaler(), Lasso(0.01))),
]


@pytest.mark.parametrize(("classifies", "model"), LINES)
def test_what_is_a_line_is_explained_as_one(classifies, model):
    X, y = data(n=60)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model.fit(X, y if classifies else X[:, 0] - 2 * X[:, 4])
    part = explain_model(model, X, "years", "classification" if classifies else "regression")
    assert part.explainer == "linear closed form"
    made = model.decision_function(X) if classifies else model.predict(X)
    slope = np.linalg.lstsq(np.column_stack([X, np.ones(60)]), made, rcond=None)[0][:-1]
    np.testing.assert_allclose(part.values[:, :, 0], X * slope, atol=1e-8)
    np.testing.assert_allclose((part.base + part.values.sum(axis=1))[:, 0], made, atol=1e-8)
    assert part.unit in (("log-odds", "margin") if classifies else ("years",))


def test_trees_behind_scalers_and_selections_are_those_trees():
    X, y = data(n=80)
    for last in (RandomForestClassifier(20, random_state=0), XGBClassifier(n_estimators=10)):
        model = make_pipeline(MinMaxScaler(), SelectKBest(k=2), last).fit(X, y)
        part = explain_model(model, X[:9], "", "classification")
        alone = explain_model(last, model[:-1].transform(X[:9]), "", "classification")
        kept = np.flatnonzero(model[1].get_support())
        np.testing.assert_array_equal(part.whole(5)[:, kept], alone.whole(2))
        assert part.exact
        assert not np.delete(part.whole(5), kept, axis=1).any()
    rotated = make_pipeline(PCA(3), RandomForestClassifier(5, random_state=0)).fit(X, y)
    with pytest.raises(InputError, match="Pipeline has no exact explainer"):
        explain_model(rotated, X[:9], "", "classification")
    curved = PoissonRegressor().fit(X, np.exp(X[:, 0]))  # has coefficients, and is no line
    with pytest.raises(InputError, match="PoissonRegressor has no exact explainer"):
        explain_model(curved, X[:9], "")
    counts = XGBRegressor(n_estimators=5, objective="count:poisson").fit(X, np.round(np.exp(X[:, 0])))
    part = explain_model(counts, X[:9], "counts", "regression", lambda: Background(X[20:40], 20, 0))
    np.testing.assert_allclose(part.margin[:, 0], counts.predict(X[:9]), rtol=1e-6)
    assert part.unit == "counts"


CLASSIFIERS = {
    "knn": KNeighborsClassifier(5),
    "nb": GaussianNB(),
    "qda": QuadraticDiscriminantAnalysis(reg_param=0.5),
    "gp": GaussianProcessClassifier(),
    "mlp": MLPClassifier((4,), max_iter=30),
    "rbf": SVC(),
    "pairs": SVC(decision_function_shape="ovo"),
    "ada": AdaBoostClassifier(n_estimators=5),
    "vote": VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft"),
    "stack": StackingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], cv=2),
    "pipe": make_pipeline(PowerTransformer(), make_pipeline(PCA(3), RandomForestClassifier(5))),
    "calibrated": CalibratedClassifierCV(GaussianNB(), cv=2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_any_classifier_is_explained_and_adds_up(classes):
    cohort = make_cohort(n=36, p=30, classes=classes)
    models = candidates(CLASSIFIERS, "classification")
    validation = validate(cohort, models, screen=6, n_splits=2, n_repeats=1, progress=False, n_jobs=1)
    got = explain(validation, cohort, n_orders=8, progress=False)
    about = got.per_model.set_index("model")
    assert list(about.index) == list(CLASSIFIERS)
    assert not about["exact"].any()
    assert (about["max_error"] < 1e-9).all()
    assert (about.loc[["knn", "nb", "stack", "pipe", "calibrated"], "unit"] == "probability").all()
    assert set(about.loc[["rbf", "pairs"], "unit"]) == {"margin before calibration"}
    assert (about["genes_screened"] <= 12).all()
    prob = validation.predictions.query("model == 'nb'").set_index("sample")
    alone = explain(validation, cohort, model="nb", n_orders=8, progress=False)
    columns = [f"prob_{c}" for c in alone.outputs]
    np.testing.assert_allclose(alone.margin, prob.loc[cohort.samples, columns], atol=1e-12)


@pytest.mark.filterwarnings("ignore")
def test_any_regressor_is_explained_in_the_unit_of_the_target():
    base = make_cohort(n=36, p=30)
    cohort = Cohort(base.X, base.features, base.samples, 1e-6 * (base.X[:, 0] + base.X[:, 1]))
    models = {"bag": BaggingRegressor(n_estimators=3),
              "gp": GaussianProcessRegressor(alpha=0.1), "mlp": MLPRegressor(hidden_layer_sizes=(4,), max_iter=50),
              "vote": VotingRegressor([("a", LinearRegression()), ("b", SVR())]), "svr": "svm", "tree": "xgboost"}  # fmt: skip
    validation = validate(
        cohort, candidates(models, "regression"), screen=6, n_splits=2, n_repeats=1, progress=False, n_jobs=1
    )
    about = explain(validation, cohort, n_orders=8, progress=False).per_model.set_index("model")
    assert set(about["unit"]) == {"unit of the target"}
    assert (about["max_error"] < 1e-5).all()  # relative to the values, however small their unit
    assert list(about.index[about["exact"]]) == ["tree"]


class Witness(ClassifierMixin, BaseEstimator):
    """Keeps what it was fitted on and what it was asked, call by call."""

    seen: ClassVar[list] = []

    def fit(self, X, y):
        self.classes_, self.rows, self.calls = np.unique(y), {tuple(row) for row in X}, []
        Witness.seen.append(self)
        return self

    def predict_proba(self, X):
        self.calls.append({tuple(row) for row in X})
        p = 1 / (1 + np.exp(-X[:, 0] * X[:, 1]))
        return np.column_stack([1 - p, p])


def test_no_sample_is_explained_by_a_model_that_saw_it_and_the_background_is_what_it_saw():
    Witness.seen.clear()
    groups = np.repeat([f"d{i}" for i in range(12)], 4)
    cohort = make_cohort(groups=groups)
    validation = validate(
        cohort,
        candidates({"w": Witness()}, "classification"),
        screen=10,
        n_splits=3,
        n_repeats=2,
        progress=False,
        n_jobs=1,
    )
    for whole in validation.fitted.values():
        whole["model"].calls.clear()
    explain(validation, cohort, n_orders=8, progress=False)
    for whole in validation.fitted.values():
        model = whole["model"]
        explained, background = model.calls[:2]
        assert len(explained) > 1
        assert not explained & model.rows
        assert len(background) > 1
        assert background <= model.rows


def test_what_would_take_hours_is_left_out_and_said():
    cohort = make_cohort(n=24, p=4000)
    models = candidates({"near": KNeighborsClassifier(), "line": "logistic"}, "classification")
    validation = validate(cohort, models, screen=None, n_splits=2, n_repeats=10, progress=False, n_jobs=1, tune=False)
    with pytest.warns(DataWarning, match=r"Left out of the consensus: near.*n_repeats=1"):
        got = explain(validation, cohort, progress=False)
    assert got.model == "line"
    with pytest.raises(InputError, match="n_orders="):
        explain(validation, cohort, model="near", progress=False)


def test_nearest_centroids_have_no_scores_and_are_explained_by_their_class():
    X, y = data(n=60)

    class Centroids(NearestCentroid):
        predict_proba = decision_function = property()

    model = Centroids().fit(X, y)
    part = explain_model(model, X[:5], "", "classification", lambda: Background(X[20:40], 40, 0))
    assert part.unit == "predicted class"
    np.testing.assert_array_equal(part.margin[:, 0], model.predict(X[:5]))


def test_the_table_says_how_many_genes_each_screen_held_and_each_model_used():
    cohort = make_cohort()
    validation = validate(
        cohort, candidates({"tree": "decision_tree", "near": "knn"}, "classification"), screen=15, n_splits=3, n_repeats=2,
        progress=False, n_jobs=1,
    )  # fmt: skip
    got = explain(validation, cohort, progress=False)
    about = got.per_model.set_index("model")
    held = pd.Index(validation.screens["feature"])
    assert (about["genes_screened"] == held.nunique()).all()
    assert about.loc["near", "genes_used"] == held.nunique()
    assert about.loc["tree", "genes_per_fold"] < 5
    np.testing.assert_allclose(got.per_gene["screened"], held.value_counts().reindex(cohort.features, fill_value=0) / 6)
    assert (got.per_gene["used"] <= got.per_gene["screened"] + 1e-12).all()
    unused = (got.per_gene["screened"] > 0) & (got.per_gene["used:tree"] == 0)
    assert unused.any()
    assert not got.per_gene.loc[unused, "shap:tree"].any()
