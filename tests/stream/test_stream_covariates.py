"""Covariates and batches of gb.tl.stream: screens, baselines, permuted targets and refusals are those of classify and regress."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from stream_cells import cells
from test_stream_null import NEAR, same_null, summed_here

import geneml_bio as gb
from geneml_bio.core import baseline
from geneml_bio.core import stream as core
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.streamed_front import by_donor, by_fold, front
from geneml_bio.core.streamed_part import Job

EXACT = {"tol": 1e-12, "solver": "newton-cholesky"}
HOW = {"screen": 10, "n_splits": 3, "tune": False, "progress": False, "n_jobs": 1}
ADJUSTED = HOW | {
    "covariates": ["age", "site", "copy"],
    "batch": "site",
    "models": {"mine": LogisticRegression(C=0.1, **EXACT)},
}
MORE = {"chunk_size": 130, "n_shap": 0}


def study(n: int = 500, k: int = 2, dense: bool = False) -> ad.AnnData:
    """Cells with an age that goes with the class, a site that moves genes, and a covariate that says nothing new."""
    adata = cells(n, 30, k=k, seed=3)
    rng = np.random.default_rng(1)
    adata.obs["site"] = pd.Categorical(rng.choice(list("abc"), n))
    X = adata.X.toarray().astype(np.float64)
    X[:, 10:20] += 0.5 * (adata.obs["site"] == "b").to_numpy()[:, None] * (X[:, 10:20] > 0)
    adata.X = X if dense else type(adata.X)(X)
    adata.obs["age"] = rng.normal(50, 10, n) + 3 * (adata.obs["kind"] == "k1")
    adata.obs["copy"] = 2 * adata.obs["age"] + 1
    return adata


def by_model(adata: ad.AnnData, key: str = "classify") -> pd.DataFrame:
    return gb.get.predictions(adata, key).set_index(["model", "sample"]).sort_index()


@pytest.fixture
def exact_baselines(monkeypatch):
    """Classify's baselines at the very optimum, as here."""
    true = baseline.linear_model
    monkeypatch.setattr(
        baseline, "linear_model", lambda k, penalty: true(k, penalty).set_params(**(EXACT if k else {}))
    )


@pytest.mark.parametrize(("groups", "k", "dense"), [("donor", 2, False), (None, 2, True), ("donor", 3, True)])
def test_adjusted_classes_are_those_of_classify(groups, k, dense, exact_baselines, tmp_path):
    memory = study(k=k, dense=dense)
    memory.write_h5ad(tmp_path / "a.h5ad")
    how = ADJUSTED | {"groups": groups, "n_permutations": 2 * (k == 2)}
    gb.tl.classify(memory, "kind", n_repeats=1, **how)
    made = gb.tl.stream(tmp_path / "a.h5ad", "kind", **how, **MORE)
    a, b = (gb.get.screens(x).sort_values(["fold", "feature"]) for x in (made, memory))
    assert list(a["feature"]) == list(b["feature"])
    np.testing.assert_allclose(a["statistic"], b["statistic"], rtol=1e-9)
    a, b = by_model(made), by_model(memory)
    assert set(a.index.get_level_values("model")) == {"mine", *baseline.BASELINES}
    np.testing.assert_allclose(a.filter(like="prob"), b.loc[a.index].filter(like="prob"), atol=1e-6)
    a, b = (gb.get.metrics(x).set_index(["model", "metric"])["value"] for x in (made, memory))
    np.testing.assert_allclose(a, b.loc[a.index], atol=NEAR)
    if k == 2:
        same_null(made, memory)
    pd.testing.assert_frame_equal(gb.get.audit(made), gb.get.audit(memory))
    own, theirs = gb.get.params(made), gb.get.params(memory)
    assert list(own["covariates"]) == list(theirs["covariates"]) == ["age", "site", "copy"]
    assert own["batch"] == "site"
    if k == 3:
        assert "The genes add" in gb.report(made, tmp_path / "r.html").read_text()


def test_adjusted_numbers_are_those_of_regress(tmp_path):
    memory = study()
    pytest.importorskip("zarr")
    memory.write_zarr(tmp_path / "a.zarr")
    how = ADJUSTED | {"models": {"mine": Ridge(10.0)}, "groups": "donor", "n_permutations": 2}
    gb.tl.regress(memory, "score", n_repeats=1, **how)
    made = gb.tl.stream(tmp_path / "a.zarr", "score", task="regression", key_added="regress", **how, **MORE)
    a, b = by_model(made, "regress"), by_model(memory, "regress")
    np.testing.assert_allclose(a["predicted"], b.loc[a.index, "predicted"], atol=1e-9)
    same_null(made, memory, "regress")


def test_a_test_set_and_a_level_that_is_in_it_alone():
    memory = study()
    memory.obs["held"] = memory.obs["donor"].isin(["d0", "d1", "d2", "d3"])
    memory.obs["site"] = memory.obs["site"].cat.add_categories("z")
    memory.obs.loc[memory.obs_names[memory.obs["held"]][:20], "site"] = "z"
    made = memory.copy()
    how = ADJUSTED | {"groups": "donor", "test_set": "held"}
    gb.tl.classify(memory, "kind", n_repeats=1, **how)
    result = gb.tl.stream(made, "kind", **how, **MORE)
    a, b = (gb.get.predictions(x, test=True).set_index(["model", "sample"]).sort_index() for x in (result, memory))
    assert len(a) == len(b) == 3 * int(memory.obs["held"].sum())
    np.testing.assert_allclose(a.loc["mine", "prob_k1"], b.loc["mine", "prob_k1"], atol=1e-6)
    np.testing.assert_allclose(a["prob_k1"], b["prob_k1"], atol=1e-5)


@pytest.mark.parametrize("by", ["fold", "donor", "numbers"])
def test_far_genes_and_far_covariates_keep_their_digits_and_held_out_rows_say_nothing(by):
    rng = np.random.default_rng(0)
    donor = np.sort(rng.integers(0, 12, 900))
    y, fold = donor % 2, donor // 2 % 3
    given = np.column_stack([1e6 + rng.normal(size=900) + y, (rng.random(900) < 0.3) * 1e-3, np.ones(900)])
    X = rng.normal(size=(900, 25)) + given[:, :1] - 1e6 + 1e6 * (np.arange(25) > 15)
    n_classes = 0 if by == "numbers" else 2
    target = X[:, 3] + rng.normal(size=900) if by == "numbers" else y
    job = Job(target, fold, n_classes, donor, 5, (), False, 0, 170, 1, covariates=given)
    parts = by_donor(donor, y, fold, 2, 25) if by == "donor" else by_fold(target, fold, n_classes)

    def screened(values):
        sums = summed_here(values, job, parts)
        moved = sums.pop("shift")
        return [front(job, sums, moved, parts, parts.fold != f)[0].statistic_ for f in range(3)]

    mine = screened(X)
    for f in range(3):
        learned = fold != f
        near = X[learned] - np.round(X[learned].mean(axis=0))
        direct = ModeratedScreen("all", task=job.task).fit(near, target[learned], given[learned] - [1e6, 0, 0])
        np.testing.assert_allclose(mine[f], direct.statistic_, rtol=1e-7, atol=1e-7)
    other = X.copy()
    other[fold == 1] = other[fold == 1] * -3 + 17
    np.testing.assert_allclose(screened(other)[1], mine[1], rtol=1e-7, atol=1e-7)


def test_work_that_was_stopped_goes_on_and_other_covariates_find_nothing(tmp_path, monkeypatch):
    atlas = study()
    how = ADJUSTED | MORE | {"groups": "donor", "tune": True}
    whole = gb.tl.stream(atlas, "kind", **how)
    true, done = core._baselines, []

    def stopped(part):
        done.append(part.fold)
        if done == [0, 1]:
            raise KeyboardInterrupt
        return true(part)

    monkeypatch.setattr(core, "_baselines", stopped)
    with pytest.raises(KeyboardInterrupt):
        gb.tl.stream(atlas, "kind", checkpoint=tmp_path, **how)
    again = gb.tl.stream(atlas, "kind", checkpoint=tmp_path, **how)
    assert done == [0, 1, 1, 2]
    pd.testing.assert_frame_equal(gb.get.predictions(again), gb.get.predictions(whole))
    atlas.obs.loc[atlas.obs_names[3], "age"] += 1
    for more in ({}, {"covariates": ["age"]}, {"batch": None}):
        n = len(list(tmp_path.iterdir()))
        gb.tl.stream(atlas, "kind", checkpoint=tmp_path, **(how | more))
        assert len(list(tmp_path.iterdir())) == n + 1


def test_what_is_confounded_is_refused_before_anything_is_read(monkeypatch):
    atlas = study()
    atlas.obs["of kind"] = atlas.obs["kind"].map({"k0": "x", "k1": "y"})
    atlas.obs["gaps"] = atlas.obs["age"].where(np.arange(500) != 3)
    how = HOW | MORE | {"models": "logistic", "groups": "donor"}
    read = gb.bridge.backed.BackedSource.read
    monkeypatch.setattr(gb.bridge.backed.BackedSource, "read", None)
    with pytest.raises(gb.errors.ConfoundingError, match="allow_confounded=True"):
        gb.tl.stream(atlas, "kind", batch="of kind", **how)
    with pytest.raises(gb.errors.DesignError, match="determine the target"):
        gb.tl.stream(atlas, "kind", covariates="of kind", **how)
    with pytest.raises(gb.errors.InputError, match="Covariates have missing values"):
        gb.tl.stream(atlas, "kind", covariates="gaps", **how)
    with pytest.raises(gb.errors.ColumnNotFoundError, match="covariates: no column 'ages'"):
        gb.tl.stream(atlas, "kind", covariates="ages", **how)
    with pytest.raises(gb.errors.ColumnNotFoundError, match="batch: no column"):
        gb.tl.stream(atlas, "kind", batch="ages", **how)
    monkeypatch.setattr(gb.bridge.backed.BackedSource, "read", read)
    with pytest.warns(gb.errors.AuditWarning, match="class and batch cannot be told apart"):
        made = gb.tl.stream(atlas, "kind", batch="of kind", allow_confounded=True, **how)
    assert "confounded" in gb.get.params(made)["verdict"] or "batch" in made.uns["classify"]["verdict"]
