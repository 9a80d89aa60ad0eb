"""Knockoffs: copies of the right covariance, hidimstat's own selection, a slow formula, and the rate that is promised."""

from __future__ import annotations

import builtins

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import LassoCV
from sklearn.tree import DecisionTreeRegressor

import geneml_bio as gb
from geneml_bio.core.errors import DataWarning, InputError, MissingPackageError, StorageError, TargetError
from geneml_bio.core.knockoffs import (
    BlockKnockoffs,
    LassoStatistic,
    _own_stream,
    correlation_blocks,
    e_bh_q,
    e_values,
    equicorrelated,
    knockoff_q,
    knockoffs,
)

hidimstat = pytest.importorskip("hidimstat", reason="an extra: pip install 'geneml-bio[knockoffs]'")
ModelXKnockoff = hidimstat.ModelXKnockoff


def simulated(seed, n=150, p=200, n_true=20, r=0.5, size=10):
    """Genes in correlated blocks; the target is made of the first gene of every block."""
    rng = np.random.default_rng([seed, 11])
    blocks = rng.normal(size=(n, p // size))
    X = np.sqrt(r) * np.repeat(blocks, size, axis=1) + np.sqrt(1 - r) * rng.normal(size=(n, p))
    true = np.arange(p) % size == 0
    true &= np.cumsum(true) <= n_true
    signal = X[:, true] @ rng.choice([-1.0, 1.0], true.sum())
    return X, signal + signal.std() / 2 * rng.normal(size=n), true


# -- copies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "S", [np.array([[1, 0.8, 0.3], [0.8, 1, 0.1], [0.3, 0.1, 1.0]]), np.full((4, 4), 0.5) + np.eye(4) / 2]
)
def test_a_gene_and_its_copies_have_the_joint_covariance_of_the_definition(S):
    s, mean, covariance = equicorrelated(S)
    cross = S @ mean  # of genes with copies: E[X' X M]
    np.testing.assert_allclose(cross, S - s * np.eye(len(S)), atol=1e-12)
    np.testing.assert_allclose(mean.T @ S @ mean + covariance, S, atol=1e-12)
    joint = np.block([[S, cross], [cross.T, S]])
    assert np.linalg.eigvalsh(joint)[0] > -1e-12
    assert 0 < s < 1


def test_copies_keep_the_covariance_of_the_genes():
    S = np.array([[1, 0.8, 0.3], [0.8, 1, 0.1], [0.3, 0.1, 1.0]])
    X = np.random.default_rng(0).multivariate_normal(np.zeros(3), S, size=40_000)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    made = BlockKnockoffs(0.15).fit(X)
    assert len(made.blocks_) == 1
    copy = made.sample(1, 5)[0]
    R = X.T @ X / len(X)
    np.testing.assert_allclose(copy.T @ copy / len(X), R, atol=0.03)
    np.testing.assert_allclose(X.T @ copy / len(X), R - np.diag(made.s_), atol=0.03)
    again = BlockKnockoffs(0.15).fit(X).sample(2, 5)
    np.testing.assert_array_equal(again[0], copy)
    assert np.abs(again[1] - copy).max() > 0.1


def test_copies_do_not_repeat_the_numbers_that_the_data_were_drawn_with():
    X = np.random.default_rng(0).normal(size=(200, 40))
    y = X[:, :12].sum(axis=1) + 0.5 * np.random.default_rng(1).normal(size=200)
    assert knockoffs(X, y, seed=0).called[:12].all()


def test_blocks_are_the_correlated_genes():
    X, _, _ = simulated(0, n=300, p=60, r=0.6)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    blocks = correlation_blocks(X, 0.3)
    assert sorted(sorted(block) for block in blocks) == [list(range(i, i + 10)) for i in range(0, 60, 10)]
    assert len(correlation_blocks(X[:, :1], 0.3)) == 1


# -- the filter --------------------------------------------------------------------------------------------------------


def test_the_genes_called_are_those_that_hidimstat_selects_from_the_same_statistics():
    X, y, _ = simulated(1)
    for fdr in (0.1, 0.2, 0.4):
        got = knockoffs(X, y, fdr=fdr, seed=3)
        theirs = ModelXKnockoff(
            estimator=LassoStatistic(),
            ko_generator=BlockKnockoffs(),
            random_state=_own_stream(3),
            preconfigure_lasso_path=False,
        )
        W = theirs.fit(X, y).importance()
        np.testing.assert_array_equal(got.W, W)
        np.testing.assert_array_equal(got.called, theirs.fdr_selection(fdr))
        assert got.called.any()


def test_q_is_the_smallest_rate_at_which_the_slow_filter_calls_the_gene():
    rng = np.random.default_rng(0)
    W = np.round(rng.normal(0.4, 1.0, 80), 1)
    q = knockoff_q(W)
    for w, mine in zip(W, q, strict=True):
        rates = [(1 + (-t >= W).sum()) / (t <= W).sum() for t in np.unique(np.abs(W[W != 0])) if t <= w]
        assert mine == pytest.approx(min([1.0, *rates]))
    for fdr in (0.05, 0.1, 0.2, 0.5):
        cut = ModelXKnockoff.knockoff_threshold(W, fdr=fdr)
        np.testing.assert_array_equal(q <= fdr, (cut <= W) & (W > 0))
    assert (knockoff_q(np.zeros(5)) == 1).all()


def test_e_values_and_their_step_up_are_those_of_the_slow_formulas():
    rng = np.random.default_rng(1)
    W = rng.normal(1.0, 1.0, 60)
    cut = ModelXKnockoff.knockoff_threshold(W, fdr=0.2)
    np.testing.assert_allclose(e_values(W, cut), ModelXKnockoff._empirical_knockoff_eval(W, cut))
    assert not e_values(W, np.inf).any()
    e = np.r_[rng.exponential(20, 30), np.zeros(30)]
    q = e_bh_q(e)
    for level in (0.05, 0.1, 0.3, 0.9):
        ordered = np.sort(e)[::-1]
        ranks = [k for k in range(1, 61) if k * ordered[k - 1] >= 60 / level]
        called = e >= ordered[ranks[-1] - 1] if ranks else np.zeros(60, dtype=bool)
        np.testing.assert_array_equal(q <= level, called)


def test_the_rate_is_kept_where_genes_are_correlated_and_most_true_genes_are_found():
    """Genes of a block go with the target through the first alone: 9 of 10 of what a test gene by gene calls is false."""
    fdp, power = [], []
    for seed in range(12):
        X, y, true = simulated(seed, n=250)
        called = knockoffs(X, y, seed=seed).called
        fdp.append((called & ~true).sum() / max(called.sum(), 1))
        power.append(called[true].mean())
    assert np.mean(fdp) <= 0.1 + 2 * np.std(fdp, ddof=1) / np.sqrt(len(fdp))
    assert np.mean(power) > 0.5


def test_without_signal_studies_that_call_a_gene_are_few():
    hits = 0
    for seed in range(12):
        X, y, _ = simulated(seed, n=60)
        hits += knockoffs(X, np.random.default_rng(seed).permutation(y), seed=seed).called.any()
    assert hits <= 5  # 0.999 of a binomial of 12 at 0.1


# -- slots and errors --------------------------------------------------------------------------------------------------


@pytest.fixture
def adata():
    X, y, _ = simulated(2)
    obs = pd.DataFrame(
        {"y": y, "class": pd.Categorical(np.where(y > 0, "high", "low"))}, index=[f"s{i}" for i in range(150)]
    )
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(200)]))


def test_the_slots_are_written_and_read_back(adata, tmp_path):
    got = gb.tl.knockoffs(adata, "y", seed=1)
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(again.var["knockoffs_W"], got.W[0])
    np.testing.assert_array_equal(again.var["knockoffs_q"], got.q)
    about = again.uns["knockoffs"]
    assert about["n_called"] == int((again.var["knockoffs_q"] <= 0.1).sum()) > 0
    assert about["params"]["statistic"] == "lasso"
    adata.X = sparse.csr_matrix(adata.X)
    np.testing.assert_allclose(gb.tl.knockoffs(adata, "y", seed=1).W, got.W)


def test_of_many_genes_the_most_variable_are_looked_at_whatever_the_target(adata):
    adata.X[:, 7] = 3.0
    with pytest.warns(DataWarning, match="1 constant"), pytest.warns(DataWarning, match="50 most variable of 199"):
        gb.tl.knockoffs(adata, "y", screen=50)
    known = adata.var["knockoffs_q"].notna().to_numpy()
    spread = np.asarray(adata.X).var(axis=0)
    assert known.sum() == 50
    assert spread[known].min() >= spread[~known].max()


def test_a_donor_is_one_sample(adata):
    adata.obs["donor"] = np.repeat([f"d{i}" for i in range(30)], 5)
    with pytest.raises(InputError, match="one target a donor"):
        gb.tl.knockoffs(adata, "y", groups="donor")
    adata.obs["dose"] = np.repeat(adata.obs["y"].to_numpy()[::5], 5)
    got = gb.tl.knockoffs(adata, "dose", groups="donor", seed=4)
    want = knockoffs(np.asarray(adata.X).reshape(30, 5, 200).mean(axis=1), adata.obs["dose"].to_numpy()[::5], seed=4)
    np.testing.assert_allclose(got.W, want.W)
    assert adata.uns["knockoffs"]["n_samples"] == 30


def test_draws_are_averaged_and_an_estimator_can_be_given(adata):
    more = gb.tl.knockoffs(adata, "y", n_draws=3, fdr=0.3)
    assert more.W.shape == (3, 200)
    cuts = [ModelXKnockoff.knockoff_threshold(w, fdr=0.15) for w in more.W]
    np.testing.assert_allclose(
        more.q, e_bh_q(np.mean([e_values(w, c) for w, c in zip(more.W, cuts, strict=True)], axis=0))
    )
    own = gb.tl.knockoffs(adata, "class", statistic=LassoCV(alphas=[0.05, 0.1]), key_added="mine")
    assert np.isfinite(own.W).all()
    assert adata.uns["mine"]["params"]["statistic"] == "LassoCV"
    with pytest.raises(InputError, match="coef_ once fitted; DecisionTreeRegressor has none"):
        gb.tl.knockoffs(adata, "y", statistic=DecisionTreeRegressor(max_depth=1))
    adata.obs["yes"] = adata.obs["class"] == "low"  # after "high" in the alphabet, as True is after False
    np.testing.assert_allclose(gb.tl.knockoffs(adata, "yes").W, gb.tl.knockoffs(adata, "class").W)


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"fdr": 0}, InputError, "between 0 and 1"),
        ({"n_draws": 0}, InputError, "at least 1"),
        ({"screen": ["g1", "g2"]}, InputError, "break the guarantee"),
        ({"statistic": "forest"}, InputError, "coef_"),
        ({"target": "three"}, TargetError, "3 classes"),
        ({"target": "no"}, gb.errors.ColumnNotFoundError, "no column 'no'"),
        ({"key_added": "taken"}, StorageError, "something else"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_written(adata, more, error, says):
    adata.obs["three"] = np.array(["a", "b", "c"])[np.arange(150) % 3]
    adata.uns["taken"] = {"mine": 1}
    before = adata.copy()
    with pytest.raises(error, match=says):
        gb.tl.knockoffs(adata, **{"target": "y"} | more)
    assert list(adata.var) == list(before.var)
    assert list(adata.uns) == list(before.uns)


def test_too_few_samples_and_a_missing_package_are_told(adata, monkeypatch):
    with pytest.raises(InputError, match="20 independent samples"):
        gb.tl.knockoffs(adata[:12].copy(), "y")
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "hidimstat":
            raise ImportError("No module named 'hidimstat'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingPackageError, match=r"pip install 'geneml-bio\[knockoffs\]'"):
        gb.tl.knockoffs(adata, "y")
    assert "knockoffs" not in adata.uns
