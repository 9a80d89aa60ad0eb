"""The in-fold screen: limma's numbers, training samples only, dense or CSR."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from geneml_bio.core.errors import DesignError, InputError
from geneml_bio.core.moderated import contrasts_fit, e_bayes, lm_fit
from geneml_bio.core.screen import FixedScreen, ModeratedScreen


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 300)) * rng.gamma(3, 1, 300)
    y = np.tile([0, 1], 20)
    X[y == 1, :5] += 8
    return X, y


def _limma(X, design, columns):
    pick = np.eye(design.shape[1])[:, columns]
    return e_bayes(contrasts_fit(lm_fit(X, design), pick))


def test_two_classes_is_the_moderated_t_of_the_engine_that_is_tested_against_r(data):
    X, y = data
    design = np.column_stack([np.ones(40), y])
    got = ModeratedScreen(k=10).fit(X, y)
    np.testing.assert_allclose(got.statistic_, _limma(X, design, [1]).t[:, 0], rtol=1e-10)
    assert set(np.flatnonzero(got.get_support())) == set(np.argsort(-np.abs(got.statistic_))[:10])


def test_more_classes_is_the_moderated_f_and_a_number_the_t_of_its_slope(data):
    X, _ = data
    y = np.tile([0, 1, 2, 3], 10)
    design = np.column_stack([np.ones(40), np.eye(4)[y][:, 1:]])
    np.testing.assert_allclose(ModeratedScreen(k=5).fit(X, y).statistic_, _limma(X, design, [1, 2, 3]).F, rtol=1e-9)
    number = np.random.default_rng(1).normal(size=40)
    design = np.column_stack([np.ones(40), number])
    got = ModeratedScreen(k=5, task="regression").fit(X, number)
    np.testing.assert_allclose(got.statistic_, _limma(X, design, [1]).t[:, 0], rtol=1e-9)


def test_covariates_are_adjusted_for(data):
    X, y = data
    rng = np.random.default_rng(2)
    age = rng.normal(size=40)
    site = np.eye(3)[rng.integers(0, 3, 40)][:, 1:]
    covariates = np.column_stack([age, site])
    design = np.column_stack([np.ones(40), y, covariates])
    got = ModeratedScreen(k=5).fit(X, y, covariates=covariates)
    np.testing.assert_allclose(got.statistic_, _limma(X, design, [1]).t[:, 0], rtol=1e-8)
    # a gene that only follows the covariate is no longer chosen
    follow = X.copy()
    confounder = y + rng.normal(scale=0.3, size=40)
    follow[:, 7] = 30 * confounder + rng.normal(size=40)
    assert 7 in ModeratedScreen(k=3).fit(follow, y).ranking()
    assert 7 not in ModeratedScreen(k=3).fit(follow, y, covariates=confounder[:, None]).ranking()


def test_a_covariate_level_absent_from_the_fold_is_ignored_and_a_determining_one_refused(data):
    X, y = data
    absent = np.column_stack([np.zeros(40), np.ones(40), np.arange(40.0), 2 * np.arange(40.0)])
    plain = ModeratedScreen(k=5).fit(X, y, covariates=np.arange(40.0)[:, None])
    np.testing.assert_allclose(
        ModeratedScreen(k=5).fit(X, y, covariates=absent).statistic_, plain.statistic_, rtol=1e-9
    )
    with pytest.raises(DesignError, match="covariates determine the target"):
        ModeratedScreen(k=5).fit(X, y, covariates=y[:, None].astype(float))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix])
def test_sparse_gives_what_dense_gives(dtype, form):
    rng = np.random.default_rng(0)
    X = rng.poisson(0.3, size=(60, 200)).astype(dtype)
    X = np.log1p(X)
    X[:, 3] = 0
    y = np.tile([0, 1, 1], 20)
    dense, thin = ModeratedScreen(k=20).fit(X, y), ModeratedScreen(k=20).fit(form(X), y)
    np.testing.assert_allclose(thin.statistic_, dense.statistic_, rtol=1e-6, atol=1e-9)
    out = thin.transform(form(X))
    assert isinstance(out, np.ndarray)
    np.testing.assert_array_equal(out, X[:, thin.get_support()])


def test_only_the_samples_given_to_fit_matter(data):
    X, y = data
    train = np.arange(30)
    before = ModeratedScreen(k=10).fit(X[train], y[train]).statistic_
    X[30:] = 1e6
    np.testing.assert_array_equal(ModeratedScreen(k=10).fit(X[train], y[train]).statistic_, before)


def test_constant_genes_and_ties_are_kept_last_and_in_order(data):
    X, y = data
    X[:, 10] = 5.0
    X[:, 20] = X[:, 0]
    got = ModeratedScreen(k=300).fit(X, y)
    ranking = list(got.ranking())
    assert ranking.index(0) + 1 == ranking.index(20)
    assert abs(got.statistic_[10]) < 1e-6
    assert np.isfinite(got.statistic_).all()


def test_it_is_a_scikit_learn_transformer(data):
    X, y = data
    screen = clone(ModeratedScreen(k=7))
    assert screen.get_params() == {"k": 7, "task": "auto", "trend": False}
    names = Pipeline([("screen", screen)]).fit(X, y).get_feature_names_out([f"g{i}" for i in range(300)])
    assert len(names) == 7
    with pytest.raises(InputError, match="two classes"):
        ModeratedScreen(task="classification").fit(X, np.zeros(40, dtype=int))
    with pytest.raises(InputError, match="target that varies"):
        ModeratedScreen(task="regression").fit(X, np.ones(40))
    for bad in (0, -3, "most", True):
        with pytest.raises(InputError, match="k must be"):
            ModeratedScreen(k=bad).fit(X, y)


def test_a_fixed_screen_keeps_what_it_was_told(data):
    X, y = data
    got = FixedScreen(columns=[4, 2]).fit(X, y)
    np.testing.assert_array_equal(got.transform(X), X[:, [2, 4]])
