"""p and q of genes against permuted targets: slow formulas as the oracle, and what they promise on data without signal."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression, Ridge

import geneml_bio as gb
from geneml_bio.core.detable import DETable
from geneml_bio.core.discoveries import LEVEL, FoldTally, Tally, summary
from geneml_bio.core.models import candidates, task_seed
from geneml_bio.core.resample import make_folds, permute
from geneml_bio.core.schema import Cohort, ExternalScreen
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.validate import validate

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "discoveries.py"
LIGHT = {
    "classification": {"mine": LogisticRegression(C=0.01)},
    "regression": {"mine": Ridge(100.0)},
}


def study(seed, n=30, p=80, n_true=0, effect=1.5, r=0.4, task="classification", **more) -> Cohort:
    """Noise in blocks of 10 correlated genes; of which the first of each block may carry the target."""
    rng = np.random.default_rng([seed, 3])
    X = np.sqrt(r) * np.repeat(rng.normal(size=(n, p // 10)), 10, axis=1) + np.sqrt(1 - r) * rng.normal(size=(n, p))
    code = rng.permutation(np.arange(n) % 2)
    number = rng.normal(size=n)
    X[:, : 10 * n_true : 10] += effect * (code if task == "classification" else number)[:, None]
    names = pd.Index([f"g{i}" for i in range(p)]), pd.Index([f"s{i}" for i in range(n)])
    target = np.array(["a", "b"], dtype=object)[code] if task == "classification" else number
    return Cohort(X, *names, target, ("a", "b") if task == "classification" else (), **more)


def run(cohort, n_permutations, n_splits=3, **more):
    how = {"screen": 10, "n_repeats": 1, "tune": False, "progress": False, "n_jobs": 1} | more
    models = candidates(LIGHT[cohort.task], cohort.task)
    return validate(cohort, models, n_splits=n_splits, n_permutations=n_permutations, **how)


# -- formulas ----------------------------------------------------------------------------------------------------------


def by_hand(observed, permuted):
    """p and q gene by gene, threshold by threshold."""
    known = [i for i, s in enumerate(observed) if not np.isnan(s)]
    m, B = len(known), len(permuted)
    p, q = (np.full(len(observed), np.nan) for _ in range(2))
    at = {}
    for i in known:
        counts = [sum(row[j] >= observed[i] for j in known) for row in permuted]
        p[i] = (1 + sum(counts)) / (1 + m * B)
        limit = np.mean(counts) + 1 / B
        if B > 1:
            n = min(B, 20)
            limit += stats.t.ppf(0.95, n - 1) * np.std(counts, ddof=1) / np.sqrt(n)
        at[i] = min(1.0, limit / sum(observed[j] >= observed[i] for j in known))
    for i in known:
        q[i] = min(at[j] for j in known if observed[j] <= observed[i])
    return p, q


@pytest.mark.parametrize("B", [1, 2, 7, 30])
def test_p_and_q_are_those_of_the_slow_formula_with_ties_and_genes_without_a_statistic(B):
    rng = np.random.default_rng(B)
    observed = np.round(rng.gamma(2, size=60) * 2) / 2  # many ties
    observed[[3, 17]] = np.nan
    permuted = np.round(rng.gamma(1.5, size=(B, 60)) * 2) / 2
    tally = Tally(observed)
    for row in permuted:
        tally.add(row)
    got = tally.result()
    p, q = by_hand(observed, permuted)
    np.testing.assert_allclose(got.p, p, rtol=1e-12)
    np.testing.assert_allclose(got.q, q, rtol=1e-12)
    assert np.isnan(got.q[[3, 17]]).all()
    order = np.argsort(-np.nan_to_num(observed, nan=-1))
    assert (np.diff(got.q[order][:58]) >= 0).all()


def test_p_is_never_zero_and_the_smallest_q_is_the_one_said():
    observed = np.r_[100.0, np.linspace(0, 0.5, 99)]
    tally = Tally(observed)
    rng = np.random.default_rng(0)
    for _ in range(20):
        tally.add(rng.uniform(0, 1, 100))
    got = tally.result()
    assert got.p[0] == pytest.approx(1 / 2001)
    assert got.q[0] == pytest.approx(got.smallest_q) == pytest.approx(1 / 20)
    assert got.n_called == 1
    few = Tally(observed)
    for _ in range(4):
        few.add(rng.uniform(0, 1, 100))
    assert few.result().n_called == 0
    assert "at least 3 genes have to stand out together" in few.result().words()


def test_the_summary_of_a_run_cancels_where_folds_disagree_and_a_fold_without_a_statistic_counts_as_none():
    got = summary([np.array([2.0, -3.0, np.nan, np.nan]), np.array([-2.0, -5.0, 4.0, np.nan])])
    np.testing.assert_allclose(got, [0, 4, 2, np.nan])


def test_genes_of_unlike_null_distributions_are_told_of():
    rng = np.random.default_rng(0)
    scale = np.repeat([0.2, 1.0], 50)
    for spread, unlike in ((np.ones(100), False), (scale, True)):
        tally = Tally(np.ones(100))
        for _ in range(30):
            tally.add(np.abs(spread * rng.normal(size=100)))
        assert ("differ in their null distribution" in tally.result().words()) == unlike


# -- what a run counts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_observed_statistic_is_limmas_of_the_folds_of_the_first_repeat(task):
    cohort = study(1, n=36, n_true=2, task=task)
    result = run(cohort, 3, n_repeats=2)
    y = (cohort.target == "b").astype(int) if task == "classification" else cohort.target
    parts = []
    for _, held in result.folds.query("repeat == 0").groupby("fold"):
        train = ~cohort.samples.isin(held["sample"])
        parts.append(ModeratedScreen("all", task=task).fit(cohort.X[train], y[train]).statistic_)
    np.testing.assert_allclose(result.discoveries.statistic, np.abs(np.mean(parts, axis=0)), rtol=1e-10)
    assert result.discoveries.n_permutations == 3


def test_any_number_of_workers_gives_the_same_and_sparse_data_too():
    cohort = study(2, n_true=2)
    one, two = run(cohort, 6), run(cohort, 6, n_jobs=2)
    np.testing.assert_array_equal(one.discoveries.p, two.discoveries.p)
    np.testing.assert_array_equal(one.discoveries.q, two.discoveries.q)
    assert one.null.equals(two.null)
    thin = run(replace(cohort, X=sparse.csr_matrix(cohort.X)), 6)
    np.testing.assert_allclose(thin.discoveries.p, one.discoveries.p, rtol=1e-10)


def test_samples_of_the_test_set_take_no_part():
    cohort = study(3, n=40, n_true=2)
    test = np.arange(40) < 8
    before = run(cohort, 4, test=test).discoveries
    cohort.X[test] = 50.0 * np.random.default_rng(0).normal(size=(8, 80))
    after = run(cohort, 4, test=test).discoveries
    np.testing.assert_array_equal(before.statistic, after.statistic)
    np.testing.assert_array_equal(before.q, after.q)


def test_of_a_list_from_other_samples_only_its_genes_are_tested():
    cohort = study(4, n=36, n_true=3)
    listed = [f"g{i}" for i in (0, 10, 20, 33, 47)]
    frame = pd.DataFrame({"logFC": 1.0, "t": 3.0, "P.Value": np.linspace(0.01, 0.05, 5)}, index=listed)
    got = run(cohort, 25, screen=ExternalScreen(DETable(frame))).discoveries
    known = np.isfinite(got.p)
    assert set(cohort.features[known]) == set(listed)
    assert {"g0", "g10", "g20"} <= set(cohort.features[got.q <= LEVEL])
    assert run(cohort, 0).discoveries is None


def test_classes_exchanged_are_a_tie():
    """Four batches of one class each have six arrangements; of 12 permutations four are expected to be the true one or its mirror."""
    batch = np.repeat(np.arange(4), 8)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(32, 20))
    X[:, 0] += 20.0 * (batch % 2)
    names = pd.Index([f"g{i}" for i in range(20)]), pd.Index([f"s{i}" for i in range(32)])
    cohort = Cohort(X, *names, np.array(["a", "b"], dtype=object)[batch % 2], ("a", "b"), groups=batch.astype(str))
    got = run(cohort, 12, cv="leave_one_group_out").discoveries
    assert got.p[0] >= 2 / (1 + 12 * 20)
    assert got.q[0] > LEVEL


@pytest.mark.parametrize("k", [2, 3])
def test_more_classes_batches_left_out_and_covariates(k):
    rng = np.random.default_rng(1)
    code, batch = np.arange(60) % k, np.arange(60) // 6 % 3
    X = rng.normal(size=(60, 40))
    X[:, :3] += 2.0 * code[:, None]
    age = rng.normal(size=60)
    X[:, 5] += 2.0 * age
    names = pd.Index([f"g{i}" for i in range(40)]), pd.Index([f"s{i}" for i in range(60)])
    classes = ("a", "b", "c")[:k]
    more = {"batch": batch.astype(str), "covariates": pd.DataFrame({"age": age}, index=names[1])}
    cohort = Cohort(X, *names, np.array(classes, dtype=object)[code], classes, **more)
    got = run(cohort, 20, cv="leave_one_batch_out").discoveries
    assert (got.q[:3] <= LEVEL).all()
    assert np.isfinite(got.q).all()
    assert (got.q[3:] <= LEVEL).sum() <= 2


# -- guarantees --------------------------------------------------------------------------------------------------------


def by_screens(cohort, B=19, n_splits=3):
    """What ``validate`` counts, without its models: the screens of the same folds and permuted targets."""
    y, classes = cohort.target, cohort.classes
    numeric = not classes

    def folds(target, run):
        code = target if numeric else (target == classes[1]).astype(int)
        for fold in make_folds(target, classes, cohort.groups, run=run, n_splits=n_splits, seed=0):
            yield ModeratedScreen("all", task=cohort.task).fit(cohort.X[fold.train], code[fold.train]).statistic_

    tally = FoldTally(list(folds(y, 0)))
    for b in range(B):
        rng = np.random.default_rng(task_seed(0, "permutation", b))
        for statistic in folds(permute(y, cohort.groups, rng, numeric=numeric, batch=cohort.batch), b):
            tally.add(b, statistic)
    return tally.result()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_guarantees_below_are_those_of_the_whole_pipeline(task):
    cohort = study(6, n_true=2, task=task, batch=np.arange(30) % 3 // 2)
    whole, short = run(cohort, 6).discoveries, by_screens(cohort, 6)
    np.testing.assert_allclose(whole.statistic, short.statistic, rtol=1e-10)
    np.testing.assert_allclose(whole.p, short.p, rtol=1e-10)
    np.testing.assert_allclose(whole.q, short.q, rtol=1e-10)


def test_without_signal_no_more_studies_call_a_gene_than_the_level_says_and_a_leak_is_seen():
    n, B = 30, 19
    found = [by_screens(study(seed, p=200), B) for seed in range(n)]
    limit = stats.binom.ppf(0.999, n, LEVEL)
    assert sum(one.n_called > 0 for one in found) <= limit
    for at in (0.01, 0.05, 0.1, 0.3):  # super-uniform, with the spread that so many studies of correlated genes have
        by_study = np.array([(one.p <= at).mean() for one in found])
        assert by_study.mean() <= at + 3.5 * by_study.std(ddof=1) / np.sqrt(n)

    leaked = 0
    for seed in range(n):  # genes picked by the target before everything
        cohort = study(seed, p=200)
        code = (cohort.target == "b").astype(int)
        top = ModeratedScreen(20, task="classification").fit(cohort.X, code).get_support()
        fewer = Cohort(cohort.X[:, top], cohort.features[top], cohort.samples, cohort.target, cohort.classes)
        leaked += by_screens(fewer, B).n_called > 0
    assert leaked > limit


def test_samples_of_one_donor_do_not_count_as_independent():
    ours = naive = 0
    for seed in range(12):
        rng = np.random.default_rng([seed, 9])
        donor = np.repeat(np.arange(12), 5)
        X = rng.normal(size=(60, 60)) + 1.5 * rng.normal(size=(12, 60))[donor]
        target = np.array(["a", "b"], dtype=object)[donor % 2]
        names = pd.Index([f"g{i}" for i in range(60)]), pd.Index([f"s{i}" for i in range(60)])
        grouped = Cohort(X, *names, target, ("a", "b"), groups=np.array([f"d{d}" for d in donor]))
        ours += by_screens(grouped).n_called > 0
        naive += by_screens(Cohort(X, *names, target, ("a", "b"))).n_called > 0
    assert ours <= stats.binom.ppf(0.999, 12, LEVEL) < naive


def test_genes_that_carry_the_target_are_found():
    found = [by_screens(study(seed, n=60, n_true=8), 30).q <= LEVEL for seed in range(10)]
    truth = np.zeros(80, dtype=bool)
    truth[::10] = True
    assert np.mean([called[truth].mean() for called in found]) > 0.9
    assert np.mean([called[~truth].sum() / called.sum() for called in found]) <= 0.15


# -- slots -------------------------------------------------------------------------------------------------------------

QUIET = {
    "screen": 10,
    "models": ["logistic"],
    "tune": False,
    "n_jobs": 1,
    "progress": False,
    "n_repeats": 1,
    "n_splits": 3,
}


@pytest.fixture
def adata():
    cohort = study(5, n=36, n_true=3)
    obs = pd.DataFrame({"y": pd.Categorical(cohort.target.astype(str))}, index=list(cohort.samples))
    return ad.AnnData(cohort.X, obs=obs, var=pd.DataFrame(index=list(cohort.features)))


def test_the_slots_are_written_read_back_and_leave_with_their_result(adata, tmp_path):
    result = gb.tl.classify(adata, "y", n_permutations=25, **QUIET)
    assert list(adata.var["classify_empirical_p"]) == list(result.discoveries.p)
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(again.var["classify_empirical_q"], result.discoveries.q)
    about = again.uns["classify"]["discoveries"]
    assert about["n_called"] == int((adata.var["classify_empirical_q"] <= 0.1).sum()) >= 3
    assert about["n_permutations"] == 25
    assert "follows another one" in about["note"]
    said = gb.summary(again)
    assert f"{about['n_called']} of 80 genes at q <= 0.1, against 25 permuted targets" in said
    gb.tl.classify(adata, "y", **QUIET)
    assert "Genes against permuted targets" not in gb.summary(adata)
    assert not [name for name in adata.var if "empirical" in name]
    assert "discoveries" not in adata.uns["classify"]


@pytest.mark.skipif(not BENCHMARK.exists(), reason="benchmarks are not part of what is installed")
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_benchmark_measures_what_the_package_does(task, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    spec = importlib.util.spec_from_file_location("discoveries_benchmark", BENCHMARK)
    bench = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, bench)  # dataclasses look their module up
    spec.loader.exec_module(bench)
    cohort = study(6, n=40, n_true=2, task=task)
    numeric = task == "regression"
    y = cohort.target if numeric else (cohort.target == "b").astype(int)
    mine = bench.Study(cohort.X, y, np.zeros(80, bool), np.zeros(80, bool), cohort.classes)
    tally = Tally(bench.in_fold_t(mine, [(0, y)])[0])
    drawn = [permute(y, None, np.random.default_rng(task_seed(0, "permutation", b)), numeric=numeric) for b in range(4)]
    for row in bench.in_fold_t(mine, list(enumerate(drawn))):
        tally.add(row)
    got, want = tally.result(), by_screens(cohort, 4, n_splits=5)
    np.testing.assert_allclose(got.statistic, want.statistic, rtol=1e-8)
    np.testing.assert_allclose(got.p, want.p, rtol=1e-8)
    np.testing.assert_allclose(got.q, want.q, rtol=1e-8)
