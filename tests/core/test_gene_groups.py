"""Correlation groups against brute force and scikit-learn, over simulated truth, and their SHAP by addition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.cluster import AgglomerativeClustering

from geneml_bio.core.errors import InputError
from geneml_bio.core.gene_groups import GROUPS, REPLACEMENTS, gene_groups
from geneml_bio.core.schema import Cohort


def _blocks(seed, *, n=60, sizes=(4, 3, 2), noise=60, r=0.9, effect=1.0, classes=("a", "b")):
    """Blocks of genes, correlated within the classes (every second gene turned), which differ between the classes; and noise."""
    rng = np.random.default_rng(seed)
    y = np.resize(np.array(classes, dtype=object), n)
    parts, names = [], []
    for b, size in enumerate(sizes):
        base = rng.normal(size=(n, 1))
        part = np.sqrt(r) * base + np.sqrt(1 - r) * rng.normal(size=(n, size)) + effect * (y == classes[-1])[:, None]
        parts.append(part * np.where(np.arange(size) % 2, -1, 1))
        names += [f"b{b}_{i}" for i in range(size)]
    X = np.hstack([*parts, rng.normal(size=(n, noise))])
    names += [f"n{i}" for i in range(noise)]
    return Cohort(X, pd.Index(names), pd.Index([f"s{i}" for i in range(n)]), y, tuple(classes))


def _shap(cohort, seed=0, used=20, outputs=("b",)):
    rng = np.random.default_rng(seed)
    values = {}
    for out in outputs:
        dense = rng.normal(size=cohort.X.shape) * rng.gamma(1, size=cohort.X.shape[1])
        dense[:, used:] = 0
        values[out] = sparse.csr_matrix(dense)
    return values


def _residuals(cohort):
    frame = pd.DataFrame(cohort.X, columns=cohort.features)
    return frame - frame.groupby(cohort.target).transform("mean")


def _members(label):
    return {frozenset(part.index) for name, part in label.groupby(label) if name}


def test_blocks_are_found_whole_and_nothing_else_over_seeds():
    for seed in range(10):
        cohort = _blocks(seed)
        found = gene_groups(cohort, _shap(cohort, seed), np.full(69, 0.5))
        wanted = {frozenset(f"b{b}_{i}" for i in range(size)) for b, size in enumerate((4, 3, 2))}
        assert _members(found.label) == wanted


def test_genes_that_share_no_more_than_the_classes_are_no_group():
    """30 genes that differ by four standard deviations: plain correlations of 0.8."""
    rng = np.random.default_rng(0)
    y = np.tile(["a", "b"], 40).astype(object)
    X = rng.normal(size=(80, 30)) + 4 * (y == "b")[:, None]
    cohort = Cohort(X, pd.Index([f"g{i}" for i in range(30)]), pd.Index([f"s{i}" for i in range(80)]), y, ("a", "b"))
    found = gene_groups(cohort, _shap(cohort), np.ones(30))
    assert (np.abs(np.corrcoef(X.T)) > 0.7).mean() > 0.5
    assert not len(found.table)
    assert not len(found.replacements)
    assert (found.label == "").all()
    assert (found.behind["stands_behind"] == "").all()
    assert list(found.table.columns) == list(GROUPS)
    assert list(found.replacements.columns) == list(REPLACEMENTS)


@pytest.mark.parametrize("batch", [False, True])
def test_a_batch_that_shifts_all_genes_makes_no_group_where_it_is_known(batch):
    rng = np.random.default_rng(1)
    y, b = np.tile(["a", "b"], 40).astype(object), np.repeat(["1", "2"], 40).astype(object)
    X = rng.normal(size=(80, 20)) + 6 * (b == "2")[:, None]
    names = pd.Index([f"g{i}" for i in range(20)])
    cohort = Cohort(X, names, pd.Index(range(80)).astype(str), y, ("a", "b"), batch=b if batch else None)
    assert bool(len(gene_groups(cohort, _shap(cohort), np.ones(20)).table)) is not batch


@pytest.mark.parametrize("threshold", [0.5, 0.65, 0.7, 0.75])
def test_groups_are_those_of_another_implementation_and_every_pair_reaches_the_threshold(threshold):
    """Complete linkage by scikit-learn; correlations by numpy."""
    cohort = _blocks(5, n=200, sizes=(6, 5, 5, 4), noise=10, r=0.72)
    found = gene_groups(cohort, _shap(cohort), np.ones(30), threshold=threshold)
    r = np.corrcoef(_residuals(cohort).T)
    assert found.settings["least_group"] == threshold
    other = AgglomerativeClustering(None, metric="precomputed", linkage="complete", distance_threshold=1 - threshold)
    code = other.fit_predict(1 - np.abs(r))
    parts = {frozenset(cohort.features[code == c]) for c in set(code) if (code == c).sum() > 1}
    assert _members(found.label) == parts
    assert len(parts) >= 1
    for row in found.table.itertuples():
        own = r[np.ix_(*[cohort.features.get_indexer(row.genes.split(", "))] * 2)]
        pairs = np.abs(own[np.triu_indices(row.n, 1)])
        assert pairs.min() >= threshold - 1e-9
        np.testing.assert_allclose([row.min_correlation, row.mean_correlation], [pairs.min(), pairs.mean()], rtol=1e-10)


def test_the_ends_of_a_chain_are_not_one_group():
    rng = np.random.default_rng(2)
    steps = rng.normal(size=(400, 8))
    X = np.column_stack([steps[:, i : i + 3].sum(axis=1) for i in range(6)])  # neighbours 0.67, next but one 0.33
    cohort = Cohort(X, pd.Index(list("abcdef")), pd.Index(range(400)).astype(str), np.tile([0.0, 1.0], 200))
    found = gene_groups(cohort, _shap(cohort, used=6, outputs=("prediction",)), np.ones(6), threshold=0.55)
    assert found.table["n"].max() == 2


def test_shap_of_a_group_is_the_sum_of_its_members_and_nothing_is_lost():
    cohort = _blocks(3, classes=("a", "b", "c"))
    values = _shap(cohort, outputs=("a", "b", "c"))
    found = gene_groups(cohort, values, np.full(69, 0.5))
    dense = {out: part.toarray() for out, part in values.items()}
    total = 0.0
    for row in found.table.itertuples():
        where = cohort.features.get_indexer(row.genes.split(", "))
        by_output = {out: np.abs(part[:, where].sum(axis=1)).mean() for out, part in dense.items()}
        own = np.mean([np.abs(part[:, where]).mean(axis=0) for part in dense.values()], axis=0)
        np.testing.assert_allclose(row.shap, np.mean(list(by_output.values())), rtol=1e-12)
        np.testing.assert_allclose(row.leader_shap, own.max(), rtol=1e-12)
        assert row.toward == max(by_output, key=by_output.get)
        assert row.leader == cohort.features[where[own.argmax()]] == row.genes.split(", ")[0]
        assert row.n_used == (own > 0).sum()
        total += row.shap
    single = (found.label == "").to_numpy()
    alone = np.mean([np.abs(part[:, single]).mean(axis=0) for part in dense.values()], axis=0)
    np.testing.assert_allclose(found.table["share"], found.table["shap"] / (total + alone.sum()), rtol=1e-12)
    everyone = np.concatenate([found.table["shap"], alone])
    np.testing.assert_array_equal(found.table["rank"], stats.rankdata(-everyone, method="min")[: len(found.table)])
    assert found.table["shap"].is_monotonic_decreasing
    assert list(found.table["group"]) == [f"G{k + 1}" for k in range(len(found.table))]


def test_direction_is_that_of_the_leader_and_of_the_genes_that_go_with_it():
    cohort = _blocks(4)
    z = cohort.X - cohort.X.mean(axis=0)
    for sign in (1, -1):
        dense = np.zeros(cohort.X.shape)
        dense[:, 0], dense[:, 1] = sign * z[:, 0], -0.5 * sign * z[:, 1]  # b0_1 is turned: the same statement
        found = gene_groups(cohort, {"b": sparse.csr_matrix(dense)}, np.full(69, 0.2))
        first = found.table.iloc[0]
        assert (first["leader"], first["direction"], first["n_used"], first["n"]) == ("b0_0", sign, 2, 4)
        assert sign * first["rho"] > 0.9
    assert (found.table["direction"].iloc[1:] == 0).all()  # screened, not used
    assert found.table["rank"].iloc[1:].isna().all()


@pytest.mark.parametrize("form", ["dense", "csr"])
def test_replacements_are_all_genes_of_the_study_above_the_threshold(form):
    """Against all correlations at once; the genes that no model could use are among them."""
    cohort = _blocks(6, n=100, sizes=(5, 5), noise=2100)
    r, plain = np.corrcoef(_residuals(cohort).T), np.corrcoef(cohort.X.T)
    if form == "csr":
        cohort = Cohort(sparse.csr_matrix(cohort.X), cohort.features, cohort.samples, cohort.target, cohort.classes)
    frequency = np.zeros(2110)
    frequency[[0, 1, 5, 50]] = [1.0, 0.4, 1.0, 0.2]
    dense = np.zeros((100, 2110))
    rng = np.random.default_rng(0)
    for gene, size in ((0, 3.0), (1, 2.0), (5, 1.0), (50, 0.5)):
        dense[:, gene] = size * rng.normal(size=100)
    found = gene_groups(cohort, {"b": sparse.csr_matrix(dense)}, frequency, threshold=0.8)
    names = cohort.features
    wanted = {
        (names[i], names[j]): (r[i, j], plain[i, j])
        for i in (0, 1, 5, 50)
        for j in np.flatnonzero(np.abs(r[i]) >= found.settings["least_pair"])
        if i != j
    }
    pairs = list(found.replacements[["gene", "stand_in"]].itertuples(index=False, name=None))
    assert set(pairs) == set(wanted)
    assert len(pairs) == len(wanted) >= 12
    got = found.replacements[["correlation", "overall"]].to_numpy()
    np.testing.assert_allclose(got, [wanted[pair] for pair in pairs], atol=1e-10)
    assert list(dict.fromkeys(found.replacements["gene"])) == ["b0_0", "b0_1", "b1_0"]
    counted = found.replacements.groupby("gene")["n_stand_ins"].agg(["size", "first"])
    assert (counted["size"] == counted["first"]).all()
    behind = found.behind["stands_behind"]
    assert (behind["b0_0"], behind["b0_1"], behind["b0_4"], behind["b1_0"], behind["b1_3"]) == (
        *("", "b0_0", "b0_0", "", "b1_0"),
    )
    np.testing.assert_allclose(found.behind["correlation"]["b1_3"], r[5, 8], atol=1e-10)
    few = gene_groups(cohort, {"b": sparse.csr_matrix(dense)}, frequency, threshold=0.8, max_stand_ins=1).replacements
    best = found.replacements.groupby("gene", sort=False).head(1).reset_index(drop=True)
    pd.testing.assert_frame_equal(few, best)


def test_in_small_studies_chance_makes_no_group():
    """Independent genes, 10 samples: correlations above 0.7 are common. Studies with any group: 5 % at most, here of 60."""
    with_any, by_threshold = 0, 0
    for seed in range(60):
        cohort = _blocks(seed, n=10, sizes=(), noise=80)
        with_any += len(gene_groups(cohort, _shap(cohort, seed), np.ones(80)).table) > 0
        by_threshold += (np.abs(np.corrcoef(cohort.X.T)[np.triu_indices(80, 1)]) > 0.7).any()
    assert with_any <= 7
    assert by_threshold > 20


def test_more_genes_than_allowed_are_counted_and_the_strongest_are_grouped():
    cohort = _blocks(7)
    found = gene_groups(cohort, _shap(cohort, used=9), np.ones(69), max_genes=9)
    assert found.settings["n_left_out"] == 60
    assert found.settings["n_grouped"] == 9


@pytest.mark.parametrize("bad", [0.4, 1.1, True, "0.7", float("nan")])
def test_a_threshold_that_means_nothing_is_refused(bad):
    cohort = _blocks(0)
    with pytest.raises(InputError, match=r"threshold is an absolute correlation from 0\.5 to 1"):
        gene_groups(cohort, _shap(cohort), np.ones(69), threshold=bad)


def test_two_samples_per_class_are_too_few_to_group_and_that_is_no_error():
    cohort = _blocks(0, n=4)
    assert not len(gene_groups(cohort, _shap(cohort), np.ones(69)).table)
