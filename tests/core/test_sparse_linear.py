"""The lasso and the elastic net of many columns: the conditions of the optimum, and scikit-learn's solver run to its end."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet

from geneml_bio.core import sparse_linear
from geneml_bio.core.sparse_linear import SparseLinear

DESIGNS = {"few samples": (60, 900), "few columns": (400, 250), "many asking": (150, 2500)}


@pytest.fixture(autouse=True)
def _small_studies_too(monkeypatch):
    monkeypatch.setattr(sparse_linear, "_FEW", 200)


def _study(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns that go together in groups, two copies, two constants; a target of ten of them."""
    n, p = DESIGNS[kind]
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) + rng.normal(size=(n, 12))[:, rng.integers(0, 12, p)] + rng.normal(size=p) * 3
    X[:, 5] = X[:, 4]
    X[:, 7] = -X[:, 4]
    X[:, 8], X[:, 9] = 0.0, 3.0
    beta = np.zeros(p)
    beta[rng.choice(p, 10, replace=False)] = rng.normal(size=10)
    beta[4] = 1.0
    y = X @ beta
    return X, y / y.std() + 0.5 * rng.normal(size=n) + 7


def _objective(model, X, y, alpha, l1_ratio):
    left, b = y - model.predict(X), model.coef_
    return left @ left / len(y) / 2 + alpha * (l1_ratio * np.abs(b).sum() + (1 - l1_ratio) / 2 * (b @ b))


def _conditions(model, X, y, alpha, l1_ratio):
    """How far the solution is from the conditions of the optimum (Karush-Kuhn-Tucker), in units of the penalty."""
    b, left = model.coef_, y - model.predict(X)
    slope = (X - X.mean(axis=0)).T @ left / len(y) - alpha * (1 - l1_ratio) * b
    off = np.where(
        b == 0, np.maximum(np.abs(slope) - alpha * l1_ratio, 0), np.abs(slope - alpha * l1_ratio * np.sign(b))
    )
    return max(off.max() / (alpha * l1_ratio), abs(left.mean()))


@pytest.mark.parametrize("kind", DESIGNS)
@pytest.mark.parametrize("l1_ratio", [1.0, 0.5, 0.05])
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_solution_fulfils_the_conditions_of_the_optimum_whatever_the_design(kind, l1_ratio, order, monkeypatch):
    if kind == "many asking":
        monkeypatch.setattr(sparse_linear, "_MORE", 25)
    for seed in range(4):
        X, y = _study(kind, seed)
        X = np.asarray(X, order=order)
        strongest = np.abs((y - y.mean()) @ X).max() / len(y) / l1_ratio
        for share in (0.6, 0.2, 0.05):
            model = SparseLinear(alpha=share * strongest, l1_ratio=l1_ratio, max_iter=100_000, tol=1e-8).fit(X, y)
            assert _conditions(model, X, y, share * strongest, l1_ratio) < 1e-4
            assert -1e-12 < model.dual_gap_ <= 1e-8 * y.var() * 1.01
            assert not model.coef_[[8, 9]].any()


@pytest.mark.parametrize("l1_ratio", [1.0, 0.5])
def test_it_is_where_scikit_learns_solver_goes(l1_ratio):
    for kind in DESIGNS:
        X, y = _study(kind, 11)
        X = np.delete(X, [5, 7], axis=1)  # of copies the lasso may take either
        for alpha in (0.5, 0.1):
            how = {"alpha": alpha, "l1_ratio": l1_ratio, "max_iter": 100_000}
            mine, default = SparseLinear(**how).fit(X, y), ElasticNet(**how).fit(X, y)
            theirs = ElasticNet(**how, tol=1e-12).fit(X, y)
            np.testing.assert_allclose(mine.coef_, theirs.coef_, atol=1e-6)
            assert ((mine.coef_ != 0) == (np.abs(theirs.coef_) > 1e-9)).all()
            np.testing.assert_allclose(mine.intercept_, theirs.intercept_, atol=1e-5)
            least = _objective(theirs, X, y, alpha, l1_ratio)
            assert _objective(mine, X, y, alpha, l1_ratio) <= least + 1e-10
            assert mine.dual_gap_ <= max(default.dual_gap_, 1e-12)


def test_the_gap_it_tells_is_scikit_learns():
    """Of a solution that is not the optimum: one step of each solver, on the same columns."""
    X, y = _study("few samples", 3)
    for l1_ratio in (1.0, 0.5):
        model = ElasticNet(alpha=0.1, l1_ratio=l1_ratio, tol=1e-2).fit(X, y)
        part = sparse_linear._Part(y - y.mean(), model)
        part.read(X, np.arange(X.shape[1]))
        part.coef, part.residual = model.coef_, y - model.predict(X)
        assert part.gap(0.0) == pytest.approx(model.dual_gap_, rel=1e-6)
        assert model.dual_gap_ > 1e-8


def test_where_the_equations_do_not_settle_it_coordinate_descent_does(monkeypatch):
    X, y = _study("many asking", 5)
    exact = SparseLinear(alpha=0.05, l1_ratio=0.7).fit(X, y)
    monkeypatch.setattr(sparse_linear._Part, "_exact", lambda *_: None)
    other = SparseLinear(alpha=0.05, l1_ratio=0.7, tol=1e-10, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(other.coef_, exact.coef_, atol=1e-4)
    rough = SparseLinear(alpha=0.05, l1_ratio=0.7, tol=1e-4, max_iter=100_000).fit(X, y)
    assert exact.dual_gap_ < 1e-12 < rough.dual_gap_ < 1e-4 * y.var()


def test_above_the_strongest_penalty_and_of_a_constant_target_nothing_is_left():
    X, y = _study("few samples", 0)
    none = SparseLinear(alpha=1e3).fit(X, y)
    assert not none.coef_.any()
    assert none.intercept_ == pytest.approx(y.mean())
    assert none.dual_gap_ == pytest.approx(0.0, abs=1e-12)
    assert not SparseLinear(alpha=0.1).fit(X, np.full(len(y), 2.5)).coef_.any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_that_are_not_finite_are_refused_in_scikit_learns_words(value, order):
    X, y = _study("few samples", 0)
    X = np.asarray(X, order=order)
    X[3, 600] = value
    y[3] = np.delete(y, 3).mean()  # its residual is 0
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        SparseLinear(alpha=0.1).fit(X, y)
    with pytest.raises(ValueError, match="max_iter"):
        SparseLinear(alpha=0.1, max_iter=-1).fit(_study("few samples", 0)[0], y)


def test_what_is_not_solved_here_is_left_to_scikit_learn():
    X, y = _study("few samples", 2)
    weight = np.arange(1.0, len(y) + 1)
    for how, given in (({"positive": True}, {}), ({"fit_intercept": False}, {}), ({}, {"sample_weight": weight})):
        how = {"alpha": 0.3, "max_iter": 100_000, **how}
        mine = SparseLinear(**how).fit(X, y, **given)
        assert (mine.coef_ == ElasticNet(**how).fit(X, y, **given).coef_).all()
    few = X[:, :150]
    assert (SparseLinear(alpha=0.3).fit(few, y).coef_ == ElasticNet(alpha=0.3).fit(few, y).coef_).all()
    single = SparseLinear(alpha=0.3).fit(X.astype(np.float32), y)
    np.testing.assert_allclose(single.coef_, SparseLinear(alpha=0.3).fit(X, y).coef_, atol=1e-4)
    with pytest.warns(ConvergenceWarning):
        SparseLinear(alpha=0.001, max_iter=1, tol=1e-12).fit(X, y)
