"""gb.tl.stream: what stays on disk gives what memory gives, in pieces of any size, and goes on where it was stopped."""

from __future__ import annotations

import re

import anndata as ad
import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit, logit
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from stream_cells import EXACT, QUIET, cells, same, streamed

import geneml_bio as gb
from geneml_bio.core import streamed_trees
from geneml_bio.core.streamed_linear import each_of, fit_logistic, fit_ridge


@pytest.mark.parametrize("kind", ["h5ad", "zarr", "dense", "backed", "lazy", "memory", "layer"])
def test_every_source_gives_what_memory_gives(kind, atlas, in_memory, tmp_path):
    more = {"n_shap": 0}
    if kind == "dense":
        dense = atlas.copy()
        dense.X = dense.X.toarray()
        dense.write_h5ad(tmp_path / "a.h5ad", compression="gzip")
        source = tmp_path / "a.h5ad"
    elif kind in ("zarr", "lazy"):
        zarr = pytest.importorskip("zarr")
        atlas.write_zarr(tmp_path / "a.zarr")
        source = tmp_path / "a.zarr"
        if kind == "lazy":
            pytest.importorskip("xarray")
            pytest.importorskip("dask")
            source = ad.experimental.read_lazy(zarr.open_group(str(source), mode="r"))
    elif kind == "layer":
        other = atlas.copy()
        other.layers["logs"], other.X = other.X, other.X * 0
        other.write_h5ad(tmp_path / "a.h5ad")
        source, more = tmp_path / "a.h5ad", more | {"layer": "logs"}
    else:
        atlas.write_h5ad(tmp_path / "a.h5ad")
        source = {"h5ad": str(tmp_path / "a.h5ad"), "memory": atlas}.get(kind)
        source = ad.read_h5ad(tmp_path / "a.h5ad", backed="r") if source is None else source
    result = streamed(source, **more)
    same(result, in_memory)
    full = gb.get.metrics(in_memory).set_index(["model", "metric"])["value"]
    mine = gb.get.metrics(result).set_index(["model", "metric"])["value"]
    for model in ("mine", "xgboost"):
        for metric in ("balanced_accuracy", "roc_auc", "brier"):
            assert mine[model, metric] == pytest.approx(full[model, metric], abs=1e-6)


@pytest.mark.parametrize("chunk_size", [97, 1200])
def test_the_size_of_the_pieces_changes_nothing(chunk_size, atlas, in_memory):
    same(streamed(atlas, chunk_size=chunk_size, n_shap=0), in_memory)


def test_classes_and_numbers_and_files_of_xgboost(tmp_path, monkeypatch):
    three = cells(k=3, seed=1)
    memory = three.copy()
    gb.tl.classify(memory, "kind", n_splits=2, n_repeats=1, **QUIET)
    monkeypatch.setattr(streamed_trees, "IN_MEMORY", 1000)  # so that XGBoost's quantised values lie in files
    result = streamed(three, n_splits=2, n_shap=60)
    same(result, memory)
    assert set(gb.get.shap(result).columns) >= {"shap", "shap_rank"}
    how = QUIET | {"models": {"mine": Ridge(10.0), "xgboost": "xgboost"}}
    gb.tl.regress(memory, "score", n_splits=2, n_repeats=1, **how)
    made = gb.tl.stream(three, "score", task="regression", n_splits=2, n_shap=50, key_added="regress", **how)
    np.testing.assert_allclose(made.obsm["regress_oof"], memory.obsm["regress_oof"], atol=1e-5)
    value = [gb.get.metrics(a, "regress").query("metric == 'r2'").set_index("model")["value"] for a in (made, memory)]
    assert value[0]["mine"] == pytest.approx(value[1]["mine"], abs=1e-9)


@pytest.mark.parametrize("far", [0.0, 1e5])
def test_ridge_of_single_numbers_is_that_of_double_ones(far):
    """In single precision Ridge would round the target, of which little is left far from 0; in memory and here it does not."""
    three = cells(k=3, seed=1)
    three.obs["score"] += far
    memory = three.copy()
    how = QUIET | {"models": {"mine": Ridge(10.0)}, "n_splits": 2}
    gb.tl.regress(memory, "score", n_repeats=1, **how)
    made = gb.tl.stream(three, "score", task="regression", n_shap=0, key_added="regress", **how)
    np.testing.assert_allclose(made.obsm["regress_oof"], memory.obsm["regress_oof"], rtol=0, atol=1e-8)
    folds = gb.get.folds(made, "regress").set_index("sample")["fold"].loc[three.obs_names].to_numpy()
    chosen = gb.get.screens(made, "regress").groupby("fold")["feature"].apply(list)
    for fold in range(2):
        X, y = three[:, chosen[fold]].X.toarray().astype(float), three.obs["score"].to_numpy()
        plain = make_pipeline(StandardScaler(), Ridge(10.0)).fit(X[folds != fold], y[folds != fold])
        mine = made.obsm["regress_oof"].to_numpy().ravel()[folds == fold]
        np.testing.assert_allclose(plain.predict(X[folds == fold]), mine, rtol=0, atol=1e-6)  # rows are single numbers


def test_logistic_regression_is_at_its_optimum_in_memory_and_here():
    """At scikit-learn's own tolerance probabilities of these cells were off by 0.0007 (of others by 0.08)."""
    atlas = cells(n=3000)
    atlas.X = atlas.X.toarray()
    atlas.X[np.arange(0, 3000, 50), np.arange(60)] *= 12
    how = QUIET | {"models": "logistic", "n_splits": 2}
    memory = atlas.copy()
    gb.tl.classify(memory, "kind", n_repeats=1, **how)
    made = gb.tl.stream(atlas, "kind", n_shap=0, **how)
    folds = gb.get.folds(made).set_index("sample")["fold"].loc[atlas.obs_names].to_numpy()
    chosen = gb.get.screens(made).groupby("fold")["feature"].apply(list)
    for fold in range(2):
        X, y = atlas[:, chosen[fold]].X.astype(float), atlas.obs["kind"].to_numpy() == "k1"
        exact = make_pipeline(StandardScaler(), LogisticRegression(tol=1e-12, solver="newton-cholesky"))
        theirs = exact.fit(X[folds != fold], y[folds != fold]).predict_proba(X[folds == fold])
        for here in (memory, made):
            np.testing.assert_allclose(here.obsm["classify_oof"].to_numpy()[folds == fold], theirs, atol=5e-6)


def test_scores_are_of_all_cells_and_shap_is_of_some_that_were_held_out(atlas, tmp_path):
    result = streamed(atlas, n_cells=300, n_shap=100)
    oof = result.obsm["classify_oof"].to_numpy()
    observed = (result.obs["kind"] == "k1").to_numpy(int)
    scores = gb.get.metrics(result)
    scores = scores[scores["model"] == gb.get.params(result)["best"]].set_index("metric")["value"]
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(observed, oof[:, 1]), abs=1e-6)
    assert scores["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(observed, oof[:, 1] > 0.5), abs=1e-6)
    odds = logit(oof[:, 1].astype(float))
    line = LogisticRegression(C=1e12, tol=1e-12, solver="newton-cholesky").fit(odds[:, None], observed)
    assert scores["calibration_slope"] == pytest.approx(line.coef_[0, 0], abs=1e-5)
    assert expit(odds + scores["calibration_intercept"]).mean() == pytest.approx(observed.mean(), abs=1e-6)
    assert gb.get.predictions(result)["sample"].nunique() == 300
    share = gb.get.predictions(result).drop_duplicates("sample")["observed"].eq("k1").mean()
    assert share == pytest.approx(observed.mean(), abs=0.02), "the sample has the shares of the whole"
    values = gb.get.shap_values(result)
    assert (np.diff(values.indptr) > 0).sum() <= 100
    margin, base = (result.obsm[f"classify_shap_{name}"].to_numpy().ravel() for name in ("margin", "base"))
    there = np.isfinite(margin)
    assert there.sum() == 100
    np.testing.assert_allclose(base[there] + np.asarray(values.sum(axis=1)).ravel()[there], margin[there], atol=1e-5)
    top = gb.get.shap(result).index[:5]
    assert len(set(top) & {f"g{j}" for j in range(5, 10)}) >= 4
    gb.tl.biomarkers(result, de=None)
    result.write_h5ad(tmp_path / "r.h5ad")
    back = ad.read_h5ad(tmp_path / "r.h5ad")
    np.testing.assert_array_equal(back.obsm["classify_oof"].to_numpy(), oof)
    assert gb.report(back, tmp_path / "r.html").stat().st_size > 10_000


def test_words_count_all_cells(atlas, tmp_path):
    partial = atlas.copy()
    partial.obs.loc[partial.obs_names[:7], "kind"] = np.nan
    result = gb.tl.stream(partial, "kind", **(QUIET | {"n_splits": 3, "n_cells": 300, "n_shap": 100}))
    counts = partial.obs["kind"].value_counts()
    said = gb.summary(result)
    assert f"1193 samples ({counts['k0']} k0, {counts['k1']} k1)" in said
    assert "7 of 1200 samples took no part" in said
    assert "stratified sample of 300" in said
    assert "n_permutations=100" in said
    assert "differ by themselves? gb.tl.biomarkers(adata)" in said
    assert "gb.tl.explain" not in said
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"gb.tl.stream\(source, 'kind', n_permutations=100\)"):
        gb.pl.null(result)
    with pytest.warns(gb.errors.DataWarning, match="DE"):
        gb.tl.biomarkers(result)
    page = gb.report(result, tmp_path / "r.html").read_text()
    assert "1,193 samples" in page
    assert "7 samples without a value in the target left out" in page
    assert "DE evidence from" not in page
    assert "no shuffled labels were run (n_permutations=100)." in page
    assert "gb.tl.stream(source," in page


def test_donors_never_straddle_a_fold(atlas):
    for seed in range(3):
        result = streamed(atlas, seed=seed, n_shap=0, models={"mine": EXACT["mine"]}, n_cells=1200)
        folds = gb.get.folds(result).assign(donor=lambda f: atlas.obs.loc[f["sample"], "donor"].to_numpy())
        assert (folds.groupby("donor")["fold"].nunique() == 1).all()


def test_other_models_learn_in_epochs_and_those_that_cannot_are_refused(atlas):
    result = streamed(atlas, models={"sgd": SGDClassifier(loss="log_loss", alpha=0.01)}, n_shap=50)
    assert gb.get.metrics(result).query("metric == 'roc_auc'")["value"].iloc[0] > 0.8
    result = streamed(atlas, models={"hinge": SGDClassifier(alpha=0.01)}, n_shap=50)  # margins, calibrated as in memory
    scores = gb.get.metrics(result).set_index("metric")["value"]
    assert scores["roc_auc"] > 0.8
    assert 0.5 < scores["calibration_slope"] < 2
    for models in ("random_forest", {"rf": RandomForestClassifier()}, "svm"):
        with pytest.raises(gb.errors.InputError, match="cannot learn from pieces"):
            streamed(atlas, models=models)


def test_tuning_searches_the_space_of_the_name(atlas):
    result = streamed(atlas, models=["logistic"], tune=True, n_shap=0)
    assert len(result.uns["classify"]["tuned"]) == 3
    assert set(map(float, result.uns["classify"]["tuned"]["value"])) <= {0.001, 0.01, 0.1, 1.0}


def test_samples_without_a_target_take_no_part(atlas):
    some = atlas.copy()
    some.obs["kind"] = some.obs["kind"].where(np.arange(some.n_obs) % 10 != 0)
    with pytest.warns(gb.errors.DataWarning, match="120 of 1,200 samples have no value"):
        result = streamed(some, n_shap=0)
    memory = some.copy()
    with pytest.warns(gb.errors.DataWarning):
        gb.tl.classify(memory, "kind", n_splits=3, n_repeats=1, **QUIET)
    same(result, memory)
    assert np.isnan(result.obsm["classify_oof"].to_numpy()[::10]).all()


def test_what_cannot_be_streamed_is_refused(atlas, tmp_path):
    columns = atlas.copy()
    columns.X = columns.X.tocsc()
    columns.layers["logs"] = columns.X
    columns.write_h5ad(tmp_path / "csc.h5ad")
    for layer, place in ((None, "adata.X"), ("logs", "adata.layers['logs']")):
        with pytest.raises(gb.errors.InputError, match=f"by columns.*: {re.escape(place)} = .*tocsr"):
            streamed(tmp_path / "csc.h5ad", layer=layer)
    with pytest.raises(gb.errors.InputError, match="There is no"):
        streamed(tmp_path / "nothing.h5ad")
    (tmp_path / "text.h5ad").write_text("no")
    with pytest.raises(gb.errors.InputError, match=r"is no \.h5ad"):
        streamed(tmp_path / "text.h5ad")
    with pytest.raises(gb.errors.ColumnNotFoundError, match="layer"):
        streamed(atlas, layer="nothing")
    with pytest.raises(gb.errors.ColumnNotFoundError, match="donor"):
        streamed(atlas, groups="doner")
    with pytest.raises(gb.errors.TargetError, match="use task='regression'"):
        gb.tl.stream(atlas, "score", **QUIET)
    twice = atlas.copy()
    twice.obs_names = ["x", *atlas.obs_names[1:-1], "x"]
    twice.write_h5ad(tmp_path / "twice.h5ad")
    with pytest.raises(gb.errors.DuplicateNamesError, match="obs_names_make_unique"):
        streamed(tmp_path / "twice.h5ad")
    backed = ad.read_h5ad(tmp_path / "twice.h5ad", backed="r")
    backed.obs_names_make_unique()
    assert streamed(backed, n_shap=0, models="logistic").obs_names.is_unique
    holes = atlas.copy()
    holes.X = holes.X.toarray()
    holes.X[703, 4] = holes.X[703, 9] = np.nan
    for form in (np.asarray, sparse.csr_matrix):
        holes.X = form(holes.X)
        with pytest.raises(gb.errors.InputError, match=r"2 values that are missing or infinite .*row 703, gene 4,"):
            streamed(holes)
    for wrong in ({"chunk_size": 0}, {"n_cells": 5}, {"n_shap": -1}, {"seed": 1.5}):
        with pytest.raises(gb.errors.InputError, match=next(iter(wrong))):
            streamed(atlas, **wrong)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
def test_newton_finds_scikit_learns_optimum(k, C):
    rng = np.random.default_rng(k)
    X = rng.normal(size=(300, 12))
    y = (X[:, :k] + rng.normal(size=(300, k))).argmax(axis=1)

    def pieces():
        for start in range(0, 300, 70):
            yield X[start : start + 70], y[start : start + 70]

    mine = fit_logistic(each_of(pieces), 12, k, LogisticRegression(C=C))
    theirs = LogisticRegression(C=C, tol=1e-12, max_iter=100_000).fit(X, y)
    np.testing.assert_allclose(mine.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    number = X[:, 0] * 2 + rng.normal(size=300) + 5

    def numbers():
        yield X[:100], number[:100]
        yield X[100:], number[100:]

    mine, theirs = fit_ridge(each_of(numbers), 12, Ridge(C)), Ridge(C).fit(X, number)
    np.testing.assert_allclose(mine.predict(X), theirs.predict(X), rtol=1e-10)


@pytest.mark.parametrize("weights", ["balanced", {"k0": 1, "k1": 5, "k2": 0.3}])
def test_weights_of_classes_are_those_of_memory(weights):
    three = cells(600, 40, k=3, seed=1)
    # of weighted classes L-BFGS stops some 1e-4 away from the optimum
    models = {"mine": LogisticRegression(C=0.1, tol=1e-12, solver="newton-cholesky"), "xgboost": "xgboost"}
    how = QUIET | {"models": models, "n_splits": 2, "class_weight": weights, "n_permutations": 1}
    memory = three.copy()
    gb.tl.classify(memory, "kind", n_repeats=1, **how)
    result = gb.tl.stream(three, "kind", n_shap=0, chunk_size=250, **how)
    mine, theirs = (
        gb.get.predictions(a).sort_values(["model", "sample"]).filter(like="prob") for a in (result, memory)
    )
    np.testing.assert_allclose(mine, theirs, atol=2e-6)
    np.testing.assert_allclose(
        result.uns["classify"]["null"]["value"], memory.uns["classify"]["null"]["value"], atol=1e-6, rtol=1e-5
    )  # a slope of calibration moves more than the probabilities
    assert gb.get.params(result)["class_weight"] == weights
    plain = gb.tl.stream(three, "kind", n_shap=0, **(QUIET | {"models": models, "n_splits": 2}))
    other = gb.get.predictions(plain).sort_values(["model", "sample"]).filter(like="prob")
    assert (np.abs(other.to_numpy() - mine.to_numpy()).reshape(2, -1).max(axis=1) > 0.01).all(), (
        "weights change both models"
    )


def test_weights_of_models_and_of_those_that_learn_in_epochs(atlas):
    how = {"n_splits": 2, "n_shap": 0}
    own = streamed(atlas, models={"m": LogisticRegression(C=0.1, class_weight={0: 1, 1: 9})}, **how)
    asked = streamed(atlas, models={"m": LogisticRegression(C=0.1)}, class_weight={"k0": 1, "k1": 9}, **how)
    same(own, asked)
    assert asked.obsm["classify_oof"]["k1"].mean() > 0.6
    for model in (SGDClassifier(loss="log_loss"), GaussianNB()):
        made = streamed(atlas, models={"m": model}, class_weight={"k0": 1, "k1": 1e-6}, **how)
        assert made.obsm["classify_oof"]["k1"].mean() < 0.1
    for wrong in ({"k0": 1}, "heavy", {"k0": 1, "k1": -1}):
        with pytest.raises(gb.errors.InputError, match="class_weight"):
            streamed(atlas, class_weight=wrong)
    with pytest.raises(gb.errors.InputError, match="class_weight"):
        gb.tl.stream(atlas, "score", task="regression", class_weight="balanced")


def test_what_is_offered_elsewhere_is_refused_with_what_to_do(atlas):
    for name, words in {
        "cv": "pseudobulk",
        "device": "backend=",
    }.items():
        with pytest.raises(gb.errors.InputError, match=f"{name}= is not offered.*{words}"):
            streamed(atlas, **{name: 3})
    with pytest.raises(TypeError, match="n_repeat'"):
        streamed(atlas, n_repeat=3)


def test_long_rows_and_many_genes_do_not_fill_memory(monkeypatch):
    monkeypatch.setitem(gb.tl.stream.__globals__, "_VALUES", 10_000)
    result = streamed(cells(600, 40), models="logistic", chunk_size=None, n_cells=None, n_shap=0)
    assert gb.get.params(result)["chunk_size"] == 250
    assert result.uns["classify"]["streamed"]["n_sampled"] == 500, "twice as many values"
    assert np.isfinite(result.obsm["classify_oof"].to_numpy()).all()
    for n_columns, k in ((12_000, 2), (4_000, 3)):
        with pytest.raises(gb.errors.InputError, match=rf"{n_columns:,} genes .* 1\.1 GB .*screen="):
            fit_logistic(each_of(list), n_columns, k, LogisticRegression())
    with pytest.raises(gb.errors.InputError, match="12,000 genes"):
        fit_ridge(each_of(list), 12_000, Ridge())
