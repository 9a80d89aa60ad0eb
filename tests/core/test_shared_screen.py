"""Screens of many folds in shared passes, and models fitted to the chosen columns: each against the direct fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from geneml_bio.core import shared_screen
from geneml_bio.core import units as work
from geneml_bio.core.errors import DesignError, InputError
from geneml_bio.core.fitting import Recipe, fit_candidate
from geneml_bio.core.folds import FoldResult, Study, run_fold
from geneml_bio.core.logistic_path import path_probabilities
from geneml_bio.core.models import candidates
from geneml_bio.core.prefit import take
from geneml_bio.core.resample import Fold, make_folds
from geneml_bio.core.screen import FixedScreen, ModeratedScreen, design_of, strongest
from geneml_bio.core.shared_screen import Ask, medians, moderated_statistics
from geneml_bio.core.tuning import standardised


def study(seed: int, n: int = 60, p: int = 150, k: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % max(k, 2)) if k else rng.normal(size=n)
    X = rng.normal(8, 1, size=(n, p)) * rng.gamma(2, 1, size=p)
    X[:, :10] += 0.7 * np.asarray(y, dtype=float)[:, None]
    X[:, 20] = 5.0
    X[:, 21] = 1e6 + rng.normal(size=n)
    X[: n // 4, 22] = 1e5  # a few samples that are far away
    X[:, 23] = np.asarray(y) * 3.0 + rng.normal(size=n) * 1e-7  # all but explained
    return X, y


def training_sets(rng, n: int, how_many: int = 7) -> list[np.ndarray]:
    return [np.sort(rng.choice(n, size=rng.integers(n // 2, n), replace=False)) for _ in range(how_many)] + [
        np.arange(n)
    ]


def assert_same_statistic(got: np.ndarray, direct: np.ndarray) -> None:
    """1e-8, but for genes without residuals to speak of, whose own digits are fewer."""
    few = np.arange(len(got)) == 23
    np.testing.assert_allclose(got[~few], direct[~few], rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(got[few], direct[few], rtol=1e-5)


@pytest.mark.parametrize("form", ["dense", "float32", "fortran", "csr", "csc", "gaps"])
@pytest.mark.parametrize(("k", "n_covariates"), [(2, 0), (2, 2), (4, 0), (0, 0), (0, 1)])
def test_statistics_of_many_training_sets_are_those_of_direct_fits(form, k, n_covariates, monkeypatch):
    monkeypatch.setattr(shared_screen, "_ROWS", 16)
    monkeypatch.setattr(shared_screen, "_COLUMNS", 64)
    monkeypatch.setattr(shared_screen, "_SUMS", 150 * 20)
    for seed in range(3):
        X, y = study(seed, k=k)
        rng = np.random.default_rng(seed + 100)
        covariates = rng.normal(size=(len(y), n_covariates)) if n_covariates else None
        if form in ("csr", "csc"):
            X[rng.random(X.shape) < 0.6] = 0.0
        if form == "gaps":
            X[rng.random(X.shape) < 0.01] = np.nan
            X[:50, 30] = np.nan
        shown = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "fortran": np.asfortranarray}.get(
            form, np.asarray
        )(X)
        if form == "float32":
            shown = X = X.astype(np.float32)
        task = "classification" if k else "regression"
        sets = [
            (rows, rng.permutation(y)[rows] if i % 2 else y[rows]) for i, rows in enumerate(training_sets(rng, len(y)))
        ]
        given = [None if covariates is None else covariates[rows] for rows, _ in sets]
        asks = [Ask(rows, *design_of(own, task, c)) for (rows, own), c in zip(sets, given, strict=True)]
        found = list(moderated_statistics(shown, asks, impute=form == "gaps"))
        for (rows, own), c, got in zip(sets, given, found, strict=True):
            part = SimpleImputer(strategy="median", keep_empty_features=True).fit_transform(X[rows])
            direct = ModeratedScreen(k=20, task=task).fit(part, own, c)
            assert_same_statistic(got.values, direct.statistic_)
            np.testing.assert_allclose(got.df_prior, direct.df_prior_, rtol=1e-7)
            np.testing.assert_array_equal(np.sort(strongest(got.values, 20)), np.sort(direct.ranking()))


def test_a_trend_follows_the_means_of_the_samples_given():
    X, y = study(0, n=40)
    rows = np.arange(3, 35)
    got = next(moderated_statistics(X, [Ask(rows, *design_of(y[rows], "classification", None))], trend=True))
    assert_same_statistic(got.values, ModeratedScreen(k=5, trend=True).fit(X[rows], y[rows]).statistic_)


def test_values_without_a_square_are_refused_and_genes_with_gaps_are_filled_in_parts(monkeypatch):
    X, y = study(0)
    ask = Ask(np.arange(40), *design_of(y[:40], "classification", None))
    X[3, 7] = 1e200
    with pytest.raises(InputError, match="Values of 1 genes are too large"):
        list(moderated_statistics(X, [ask]))
    X[3, 7] = 1.0
    X[np.arange(60), np.arange(60)] = np.nan
    whole = next(moderated_statistics(X, [ask], impute=True)).values
    sizes = []
    monkeypatch.setattr(shared_screen, "_DIRECT", 40 * 16)
    inside = shared_screen._directly
    monkeypatch.setattr(shared_screen, "_directly", lambda *given: sizes.append(len(given[2])) or inside(*given))
    np.testing.assert_allclose(next(moderated_statistics(X, [ask], impute=True)).values, whole, rtol=1e-12)
    assert max(sizes) == 16


def test_genes_of_zeros_are_not_summed_again(monkeypatch):
    X, y = study(0)
    X[:, 30:90] = 0.0
    ask = Ask(np.arange(40), *design_of(y[:40], "classification", None))
    taken = []
    inside = shared_screen._directly
    monkeypatch.setattr(shared_screen, "_directly", lambda *given: taken.append(given[2]) or inside(*given))
    for form in (X, sparse.csr_matrix(X)):
        got = next(moderated_statistics(form, [ask])).values
        assert_same_statistic(got, ModeratedScreen(5).fit(X[:40], y[:40]).statistic_)
    assert max(map(len, taken)) < 10


def test_without_residual_degrees_of_freedom_it_is_refused():
    X, y = study(0, n=8)
    rows = np.array([np.flatnonzero(y == 0)[0], np.flatnonzero(y == 1)[0]])
    with pytest.raises(DesignError, match="No residual degrees of freedom: 2 samples"):
        list(moderated_statistics(X, [Ask(rows, *design_of(y[rows], "classification", None))]))


def test_the_strongest_are_those_of_a_stable_sort_and_rounding_does_not_break_ties():
    rng = np.random.default_rng(0)
    t = rng.normal(size=1000)
    t[rng.integers(0, 1000, 50)] = np.nan
    for k in (1, 17, 999, 5000, "all"):
        order = np.argsort(-np.nan_to_num(np.abs(t), nan=-1), kind="stable")
        np.testing.assert_array_equal(strongest(t, k), order if k == "all" else order[:k])
    tied = np.array([1.0, 3.0, 3.0 * (1 + 1e-14), -3.0, 0.0, np.inf])
    np.testing.assert_array_equal(strongest(tied, 4), [5, 1, 2, 3])


# -- models on the chosen columns --------------------------------------------------------------------------------------


def a_study(
    models, seed=0, k=2, *, gaps=False, covariates=False, screen=None, groups=False, thin=False, **how
) -> tuple[Study, np.ndarray]:
    X, y = study(seed, n=72, k=k)
    X = X[:, np.r_[:20, 24:150]]
    rng = np.random.default_rng(seed)
    if gaps:
        X[rng.random(X.shape) < 0.02] = np.nan
    if thin:
        X = sparse.csr_matrix(np.where(X > 8, X, 0.0).astype(np.float32))
    task = "classification" if k else "regression"
    recipe = Recipe(screen or ModeratedScreen(15, task=task), gaps, True, k, **how)
    own = np.arange(72) // 2 if groups else None
    made = Study(X, rng.normal(size=(72, 2)) if covariates else None, own, recipe, candidates(models, task), 3)
    return made, y


def both(made: Study, y: np.ndarray) -> tuple[list, list]:
    classes = tuple(map(str, range(made.recipe.n_classes)))
    units = [(made, f, y, "true", True) for f in make_folds(y, classes, made.groups, n_splits=3, run=0, seed=1)]
    direct = [run_fold(*unit) for unit in units]
    shared = work.run_all(units, len(units), 1, "", False)
    return direct, shared


CASES = {
    "every kind": ({"models": ["logistic", "svm", "knn", "random_forest", "xgboost"]}),
    "gaps": ({"models": ["logistic", "lasso", "svm"], "gaps": True}),
    "covariates": ({"models": ["logistic", "svm"], "covariates": True}),
    "donors": ({"models": ["logistic", "svm"], "groups": True}),
    "four classes": ({"models": ["logistic", "elastic_net"], "k": 4}),
    "weights": ({"models": ["logistic", "xgboost", "svm"], "class_weight": "balanced"}),
    "calibrated": ({"models": ["logistic"], "calibrate": "sigmoid"}),
    "regression": ({"models": ["ridge", "lasso", "knn", "svm"], "k": 0}),
    "sparse": ({"models": ["logistic", "random_forest"], "thin": True}),
    "a list of genes": ({"models": ["logistic"], "screen": FixedScreen([5, 2, 40, 3])}),
    "all genes": ({"models": ["logistic"], "screen": ModeratedScreen("all", task="classification")}),
}


@pytest.mark.parametrize("case", CASES)
def test_folds_with_shared_screens_give_the_numbers_of_folds_that_screen_for_themselves(case):
    made, y = a_study(**CASES[case])
    X = made.X
    for one, other in zip(*both(made, y), strict=True):
        np.testing.assert_array_equal(one.selected, other.selected)
        np.testing.assert_allclose(one.statistic, other.statistic, rtol=1e-8)
        assert one.tuned == other.tuned
        assert one.predictions.keys() == other.predictions.keys()
        for name, made_of in one.predictions.items():
            np.testing.assert_allclose(
                made_of, other.predictions[name], atol=1e-6, err_msg=name
            )  # as near as solvers go
        for (
            name,
            whole,
        ) in other.fitted.items():  # whole models of genes, as if they had been fitted to the training part
            held = X[other.fold.test]
            kind = "predict_proba" if made.recipe.n_classes else "predict"
            expected, got = getattr(one.fitted[name], kind)(held), getattr(whole, kind)(held)
            np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=name)
            assert [type(step) for step in getattr(whole, "named_steps", {}).values()] == [
                type(step) for step in getattr(one.fitted[name], "named_steps", {}).values()
            ]
            assert clone(whole).get_params().keys() == clone(one.fitted[name]).get_params().keys()
            assert whole.n_features_in_ == X.shape[1]


def test_a_fold_copies_neither_its_samples_nor_more_genes_than_it_keeps(monkeypatch):
    """An array that counts what is taken of it."""

    class Watched(np.ndarray):
        def __getitem__(self, key):
            out = super().__getitem__(key)
            if isinstance(out, np.ndarray) and out.ndim == 2 and not np.shares_memory(out, self):
                taken.append(out.shape)
            return out

        def take(self, where, *args, **given):
            taken.append(np.shape(where))
            return super().take(where, *args, **given)

    taken: list[tuple[int, ...]] = []
    made, y = a_study(["logistic", "random_forest", "svm"])
    watched = replace(made, X=made.X.view(Watched))
    fold = make_folds(y, ("0", "1"), None, n_splits=3, run=0, seed=1)[0]
    unit = next(work.prepared([(watched, fold, y, "true", True)]))
    taken.clear()
    run_fold(*unit.work())
    assert taken
    assert max(shape[1] for shape in taken) == 15
    taken.clear()
    run_fold(watched, fold, y, "true", True)  # the same without shared screens: it counts
    assert max(shape[1] for shape in taken) == made.X.shape[1]


@pytest.mark.parametrize(("n_jobs", "calibrate"), [(2, None), (2, "sigmoid"), (3, None)], ids=["thread", "one", "two"])
def test_workers_give_the_numbers_of_serial_work(n_jobs, calibrate, monkeypatch):
    made, y = a_study(["logistic", "random_forest", "xgboost"])
    made = replace(made, recipe=replace(made.recipe, calibrate=calibrate))
    assert made.fits_in_threads == (calibrate is None)
    rng = np.random.default_rng(0)
    units = []
    for run in range(3):
        own = rng.permutation(y)
        units += [
            (made, f, own, "permuted", False) for f in make_folds(own, ("0", "1"), None, n_splits=3, run=run, seed=1)
        ]
    alone = work.run_all(units, len(units), 1, "", False)
    monkeypatch.setattr(work, "_TRIAL", 0.0)
    monkeypatch.setattr(work, "_WORTH_WORKERS", 0.0)
    together = work.run_all(units, len(units), n_jobs, "", False)
    for one, other in zip(alone, together, strict=True):
        assert (one.fold.run, one.fold.fold) == (other.fold.run, other.fold.fold)
        np.testing.assert_array_equal(one.selected, other.selected)
        for name in one.predictions:
            np.testing.assert_array_equal(one.predictions[name], other.predictions[name])


def test_statistics_of_all_genes_come_with_the_folds():
    for screen in (None, FixedScreen([5, 2, 40, 3, 77, 60])):
        for gaps in (False, True):
            made, y = a_study(["logistic"], gaps=gaps, screen=screen)
            for one, other in zip(*both(replace(made, tests_genes=True), y), strict=True):
                np.testing.assert_allclose(one.of_all, other.of_all, rtol=1e-8, atol=1e-9)


def test_of_permuted_targets_no_genes_are_kept():
    """With screen=None each would hold two numbers for every gene."""
    made, y = a_study(["logistic"])
    result = both(made, y)[1][0]
    bare = work.counted(result, None)
    assert len(result.selected) == 15
    assert (len(bare.selected), len(bare.statistic), bare.of_all) == (0, 0, None)
    assert bare.predictions is result.predictions


def test_a_screen_of_ones_own_is_fitted_in_each_fold():
    class Mine(ModeratedScreen):
        pass

    made, y = a_study(["logistic"], screen=Mine(15, task="classification"))
    assert [
        unit.ready for unit in work.prepared([(made, Fold(0, 0, np.arange(40), np.arange(40, 72)), y, "true", True)])
    ] == [None]


# -- what tuning does without scikit-learn's checks ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_both_sides_are_scaled_to_the_last_bit_as_by_a_standard_scaler(kind):
    for seed in range(5):
        X = study(seed, p=80)[0].astype(kind)
        X[:, 30] = 0.1  # a constant whose sum is rounded
        X[:, 31] = 1e9 + np.arange(60) * 1e-8
        X[:, 32] = 0.0
        train, held = X[:41], X[41:]
        scale = StandardScaler().fit(train)
        for made, own in zip(standardised(train, held), (scale.transform(train), scale.transform(held)), strict=True):
            assert made.dtype == own.dtype
            np.testing.assert_array_equal(made, own)


def test_what_a_standard_scaler_refuses_is_refused():
    X = study(0)[0]
    X[3, 3] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        standardised(X[:40], X[40:])


@pytest.mark.parametrize(
    "kind",
    [np.asarray, np.asfortranarray, sparse.csr_array, sparse.csc_array, lambda X: np.repeat(X, 2, axis=1)[:, ::2]],
)
def test_samples_and_genes_are_taken_from_every_form_of_a_matrix(kind, tmp_path):
    X = study(1)[0]
    rows, columns = np.array([5, 2, 59, 11]), np.array([0, 149, 7])
    for given in (X, X.astype(np.float32), X.astype(int)):
        np.testing.assert_array_equal(take(kind(given), rows, columns), given[rows][:, columns])
    np.save(tmp_path / "X.npy", X)
    mapped = take(np.load(tmp_path / "X.npy", mmap_mode="r"), rows, columns)
    assert type(mapped) is np.ndarray
    np.testing.assert_array_equal(mapped, X[rows][:, columns])


# -- the path of logistic regressions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize("weight", [None, "balanced", "by hand"])
@pytest.mark.parametrize(("n", "p"), [(40, 90), (90, 20)])
def test_the_path_has_the_minima_of_scikit_learn(k, weight, n, p):
    strengths = (1.0, 0.001, 0.1, 0.01)
    for seed in range(1):
        rng = np.random.default_rng(seed)
        y = rng.permutation(np.arange(n) % k * (np.arange(n) % 3 > 0))
        y[:k] = np.arange(k)
        Z, held = rng.normal(size=(n, p)), rng.normal(size=(15, p))
        Z[:, 0] += y
        own = {c: 1.0 + c for c in range(k)} if weight == "by hand" else weight
        got = path_probabilities(Z, y, held, strengths, k, own)
        for C, prob in zip(strengths, got, strict=True):
            model = LogisticRegression(C=C, tol=1e-9, max_iter=1000, solver="newton-cholesky", class_weight=own).fit(
                Z, y
            )
            np.testing.assert_allclose(prob, model.predict_proba(held), atol=1e-6)


def test_separated_classes_and_columns_of_zeros_do_not_stop_the_path():
    Z = np.zeros((30, 50))
    y = np.arange(30) % 2
    Z[:, 0] = 100 * (y - 0.5)
    got = path_probabilities(Z, y, Z, (1e4, 0.1), 2, None)
    for C, prob in zip((1e4, 0.1), got, strict=True):
        model = LogisticRegression(C=C, tol=1e-9, max_iter=100_000).fit(Z, y)
        np.testing.assert_allclose(prob, model.predict_proba(Z), atol=1e-6)


def test_a_fitted_logistic_model_is_scikit_learns():
    made, y = a_study(["logistic"])
    whole, _ = fit_candidate(made.recipe, made.models[0], made.X, y, seed=0)
    assert type(whole["model"]) is LogisticRegression
    assert isinstance(pd.Series(whole.predict_proba(made.X)[:, 1]).iloc[0], float)


def test_a_large_study_of_few_folds_goes_to_workers_at_once(monkeypatch):
    made, y = a_study(["logistic"])
    monkeypatch.setattr(work, "_SMALL", 10)
    here = []
    monkeypatch.setattr(work, "run_fold", lambda *unit: here.append(unit))

    def by_workers(work, calls, n):
        assert n == 2
        return iter([FoldResult(fold, {}, y, y) for _, _, fold, *_ in calls])

    monkeypatch.setattr(work, "by_workers", by_workers)
    units = [(made, f, y, "true", False) for f in make_folds(y, ("0", "1"), None, n_splits=3, run=0, seed=1)]
    assert [result.fold.fold for result in work.run_all(units, 3, 2, "", False)] == [0, 1, 2]
    assert not here


def test_medians_are_those_of_numpy():
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 30):
        values = np.round(rng.normal(size=(n, 200)), 1)
        values[rng.random(values.shape) < 0.4] = np.nan
        values = values[:, ~np.isnan(values).all(axis=0)]
        for dtype in (float, np.float32):
            typed = values.astype(dtype)
            np.testing.assert_array_equal(medians(typed), np.nanmedian(typed, axis=0))
