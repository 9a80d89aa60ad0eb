"""Genes that stand in for each other: found where they are, over seeds, and not where they are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.preprocessing import StandardScaler

import geneml_bio as gb
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.sparse_logistic import SparseLogistic
from geneml_bio.core.stand_ins import COLUMNS, stand_ins


def _study(seed: int, *, n=60, pairs=15, noise=300, r=0.9, effect=1.0):
    """Pairs of genes with an effect and a correlation of ``r`` within the class, and independent genes without."""
    rng = np.random.default_rng(seed)
    y = np.tile(["a", "b"], n // 2).astype(object)
    base = rng.normal(size=(n, pairs))
    twin = r * base + np.sqrt(1 - r**2) * rng.normal(size=(n, pairs))
    X = np.hstack([base, twin, rng.normal(size=(n, noise))])
    X[y == "b", : 2 * pairs] += effect
    features = pd.Index(
        [f"a{i}" for i in range(pairs)] + [f"b{i}" for i in range(pairs)] + [f"n{i}" for i in range(noise)]
    )
    return X, y, features


def _screens(X, y, features, k=20, seed=0, n_repeats=5):
    """What a validation records: the genes of each training part."""
    rows = []
    for i, (train, _) in enumerate(
        RepeatedStratifiedKFold(n_splits=5, n_repeats=n_repeats, random_state=seed).split(X, y)
    ):
        screen = ModeratedScreen(k=k).fit(X[train], y[train])
        for j in screen.ranking():
            rows.append((i // 5, i % 5, features[j], screen.statistic_[j]))
    return pd.DataFrame(rows, columns=["repeat", "fold", "feature", "statistic"])


def _pairs(found: pd.DataFrame) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in found[["gene_a", "gene_b"]].itertuples(index=False)}


def test_twins_that_compete_for_a_place_are_found_and_others_are_not_over_seeds():
    """15 pairs (r = 0.9 within classes), screen of 20: of the pairs ever chosen nearly all are found, and no other pair."""
    found_share, false, swapped = [], 0, []
    for seed in range(12):
        X, y, features = _study(seed)
        screens = _screens(X, y, features, seed=seed)
        found = stand_ins(screens, X, features, y, ("a", "b"))
        ever = set(screens["feature"])
        true = {frozenset((f"a{i}", f"b{i}")) for i in range(15) if {f"a{i}", f"b{i}"} <= ever}
        found_share.append(len(_pairs(found) & true) / len(true))
        false += len(_pairs(found) - true)
        swapped.append((np.minimum(found["only_a"], found["only_b"]) > 0).sum())
    assert np.mean(found_share) > 0.97
    assert false <= 2
    assert np.mean(swapped) >= 1  # twins named in each other's place do occur


def test_genes_that_differ_between_classes_and_are_otherwise_independent_are_no_pairs():
    """30 genes that separate the classes by 4 standard deviations: plain correlations of 0.8, none within the classes."""
    plain, within = 0, 0
    for seed in range(20):
        X, y, features = _study(seed, pairs=15, r=0.0, effect=4.0, noise=50)
        screens = _screens(X, y, features, k=30, n_repeats=1)
        plain += len(stand_ins(screens, X, features))
        within += len(stand_ins(screens, X, features, y, ("a", "b")))
    assert plain > 20 * 300
    assert within == 0


@pytest.mark.parametrize("n", [8, 12, 20])
def test_in_small_studies_chance_does_not_make_pairs(n):
    """Independent genes, few samples: |r| > 0.7 is common by chance. Studies with any pair: 5 % at most, here of 60."""
    with_any, by_threshold = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(n, 100))
        y = np.tile(["a", "b"], n // 2).astype(object)
        features = pd.Index([f"g{i}" for i in range(100)])
        screens = pd.DataFrame({"repeat": 0, "fold": 0, "feature": features, "statistic": 1.0})
        with_any += len(stand_ins(screens, X, features, y, ("a", "b"))) > 0
        by_threshold += (np.abs(np.corrcoef(X.T)[np.triu_indices(100, 1)]) > 0.7).any()
    assert with_any <= 7  # 60 x 0.05 = 3, and 97.5 % of the binomial
    assert by_threshold > 20


def test_a_lasso_takes_one_of_two_twins_and_the_counts_say_so():
    X, y, features = _study(1, n=80, pairs=4, noise=30, r=0.98)
    X = StandardScaler().fit_transform(X)
    rows = []
    rng = np.random.default_rng(0)
    for i in range(40):
        train = rng.choice(80, 60, replace=False)
        size = np.abs(SparseLogistic(alpha=0.05).fit(X[train], y[train]).coef_[0])
        rows += [(0, i, features[j], size[j]) for j in np.flatnonzero(size)]
    screens = pd.DataFrame(rows, columns=["repeat", "fold", "feature", "statistic"])
    found = stand_ins(screens, X, features, y, ("a", "b"))
    assert _pairs(found) == {frozenset((f"a{i}", f"b{i}")) for i in range(4)}
    assert (found["both"] < found["expected_both"]).sum() >= 3
    best = found.iloc[0]
    assert min(best["only_a"], best["only_b"]) == np.minimum(found["only_a"], found["only_b"]).max() > 0


def test_counts_and_correlation_are_what_they_are_called():
    X, y, features = _study(3)
    screens = _screens(X, y, features)
    found = stand_ins(screens, X, features, y, ("a", "b"))
    sets = [set(part["feature"]) for _, part in screens.groupby(["repeat", "fold"])]
    centred = pd.DataFrame(X, columns=features).sub(pd.DataFrame(X, columns=features).groupby(y).transform("mean"))
    for row in found.itertuples():
        a, b = np.array([[row.gene_a in s, row.gene_b in s] for s in sets]).T
        assert (row.both, row.only_a, row.only_b, row.neither) == (
            (a & b).sum(),
            (a & ~b).sum(),
            (~a & b).sum(),
            (~a & ~b).sum(),
        )
        assert row.expected_both == pytest.approx(25 * a.mean() * b.mean())
        assert row.correlation == pytest.approx(np.corrcoef(centred[row.gene_a], centred[row.gene_b])[0, 1])
        assert a.sum() >= b.sum()
    assert list(found.columns) == list(COLUMNS)
    assert found.attrs["n_pairs"] == len(found)


@pytest.mark.parametrize("kind", ["csr", "float32", "int codes", "number", "none"])
def test_forms_of_data_and_target_give_the_same(kind):
    X, y, features = _study(2, effect=0.0)
    X = np.where(np.abs(X) < 0.3, 0.0, X)
    screens = pd.DataFrame({"repeat": 0, "fold": 0, "feature": features, "statistic": 1.0})
    whole = stand_ins(screens, X, features, y, ("a", "b"))
    assert len(whole) == 15
    if kind == "csr":
        got = stand_ins(screens, sparse.csr_matrix(X), features, y, ("a", "b"))
    elif kind == "float32":
        got = stand_ins(screens, X.astype("float32"), features, y, ("a", "b"))
    elif kind == "int codes":
        got = stand_ins(screens, X, features, (y == "b").astype(int), (0, 1))
    elif kind == "number":
        got = stand_ins(screens, X, features, (y == "b").astype(float))
    else:
        got = stand_ins(screens, X, features)
    assert _pairs(got) == _pairs(whole)
    if kind != "none":
        pd.testing.assert_frame_equal(got, whole, check_exact=False, atol=1e-5, rtol=0)


def test_awkward_genes_and_screens():
    X, y, features = _study(4)
    screens = _screens(X, y, features)
    X[3, :40] = np.nan
    X[:, 0] = np.nan
    X[:, 1] = 2.0
    X[:, 2] = y == "b"  # constant within the classes
    found = stand_ins(screens, X, features, y, ("a", "b"))
    assert np.isfinite(found["correlation"]).all()
    assert not {"a0", "a1", "a2"} & (set(found["gene_a"]) | set(found["gene_b"]))
    empty = stand_ins(screens.iloc[:0], X, features, y, ("a", "b"))
    assert list(empty.columns) == list(COLUMNS)
    assert not len(empty)
    assert not len(stand_ins(screens[screens["feature"] == "a3"], X, features, y, ("a", "b")))
    assert not len(stand_ins(screens, X[:3], features, y[:3], ("a", "b")))  # two classes, three samples: no freedom


def test_many_pairs_are_capped_and_counted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 1)) + 0.1 * rng.normal(size=(50, 60))
    features = pd.Index([f"g{i}" for i in range(60)])
    screens = pd.DataFrame({"repeat": 0, "fold": 0, "feature": features, "statistic": np.arange(60.0)})
    found = stand_ins(screens, X, features)
    assert len(found) == 1000
    assert found.attrs["n_pairs"] == 60 * 59 // 2


def test_more_samples_than_are_needed_give_nearly_the_same():
    X, y, features = _study(5, n=12_000, noise=20)
    screens = pd.DataFrame({"repeat": 0, "fold": 0, "feature": features, "statistic": 1.0})
    found = stand_ins(screens, X, features, y, ("a", "b"))
    assert len(found) == 15
    a, b = found.iloc[0][["gene_a", "gene_b"]]
    resid = [X[:, features.get_loc(g)] - (y == "b") for g in (a, b)]
    assert found["correlation"].iloc[0] == pytest.approx(stats.pearsonr(*resid).statistic, abs=0.02)


@pytest.mark.r
def test_the_probes_of_abl1_stand_in_for_each_other(r_limma):
    """Three probes of one transcript lead BCR/ABL against NEG; a probe of FYN is often named without its twin."""
    leukemia = gb.datasets.leukemia()
    X, y = np.asarray(leukemia.X), leukemia.obs["mol.biol"].astype(str).to_numpy(dtype=object)
    features = pd.Index(leukemia.var_names)
    found = stand_ins(_screens(X, y, features, k=20, n_repeats=2), X, features, y, ("NEG", "BCR/ABL"))
    abl1, fyn = {"1636_g_at", "39730_at", "1635_at"}, frozenset(("40480_s_at", "2039_s_at"))
    assert sum(pair < abl1 for pair in _pairs(found)) == 3
    assert (found.loc[found["gene_a"].isin(abl1), "correlation"] > 0.85).all()
    assert fyn in _pairs(found)
    twin = found[found["gene_a"].isin(fyn)].iloc[0]
    assert twin["only_a"] + twin["only_b"] > twin["both"]
