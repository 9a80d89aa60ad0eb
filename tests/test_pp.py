"""Pseudobulk against scanpy's aggregate and a loop, logcpm against edgeR: on real counts and on awkward ones."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import geneml_bio as gb
from geneml_bio.core.errors import ColumnNotFoundError, DataWarning, InputError, StorageError, ViewError


def pbmc_counts() -> ad.AnnData:
    """The counts of 700 blood cells: scanpy ships logs of counts over the cell's sum, whose smallest value is a count of 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy as sc

        cells = sc.datasets.pbmc68k_reduced()
    share = np.expm1(cells.raw.X.toarray().astype(float))
    one = np.where(share > 0, share, np.inf).min(axis=1)
    counts = share / one[:, None]
    assert np.quantile(np.abs(counts - np.rint(counts)), 0.99) < 0.01
    obs = cells.obs[["bulk_labels", "louvain", "phase", "n_counts"]].copy()
    return ad.AnnData(sparse.csr_matrix(np.rint(counts)), obs=obs, var=pd.DataFrame(index=cells.raw.var_names))


@pytest.fixture(scope="module")
def pbmc() -> ad.AnnData:
    cells = pbmc_counts()
    cells.obs["donor"] = [f"d{i % 5}" for i in range(cells.n_obs)]
    cells.obs["arm"] = np.where(cells.obs["donor"].isin(["d0", "d1"]), "case", "control")
    cells.obs["age"] = cells.obs["donor"].map({f"d{i}": 40.0 + i for i in range(5)})
    return cells


# -- pseudobulk --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [["donor"], ["donor", "louvain"]])
@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("form", ["csr", "csc", "dense", "float32"])
def test_pseudobulk_is_scanpys_aggregate(pbmc, by, mode, form):
    import scanpy as sc

    cells = pbmc.copy()
    to = {"csc": lambda X: X.tocsc(), "dense": lambda X: X.toarray(), "float32": lambda X: X.astype("float32")}
    cells.X = to.get(form, lambda X: X)(cells.X)
    theirs = sc.get.aggregate(cells, by, mode)
    ours = gb.pp.pseudobulk(cells, by=by if len(by) > 1 else by[0], mode=mode, min_cells=1)
    assert list(ours.obs_names) == list(theirs.obs_names)
    got = ours.X.toarray() if sparse.issparse(ours.X) else ours.X
    expected = theirs.layers[mode]
    expected = expected.toarray() if sparse.issparse(expected) else expected
    np.testing.assert_allclose(got, expected, rtol=1e-5 if form == "float32" else 1e-12)
    assert sparse.issparse(ours.X) == (form != "dense")
    assert ours.obs["n_cells"].sum() == pbmc.n_obs


def test_columns_with_one_value_in_each_sample_are_carried_and_the_others_listed(pbmc):
    before = pbmc.copy()
    out = gb.pp.pseudobulk(pbmc, by="donor")
    assert list(out.obs.columns) == ["donor", "arm", "age", "n_cells"]
    assert out.obs["age"].tolist() == [40.0, 41.0, 42.0, 43.0, 44.0]
    assert out.obs["n_cells"].tolist() == [140] * 5
    about = out.uns["pseudobulk"]
    assert set(about["varying"]) == {"bulk_labels", "louvain", "phase", "n_counts"}
    assert list(about["by"]) == ["donor"]
    assert out.var.equals(before.var)
    assert (pbmc.X != before.X).nnz == 0
    assert pbmc.obs.equals(before.obs)
    assert "varying" not in gb.pp.pseudobulk(pbmc[:, :3][:, [0, 1]].copy(), by=list(pbmc.obs.columns), min_cells=1).uns


def test_it_can_be_stored(pbmc, tmp_path):
    with pytest.warns(DataWarning, match="samples have fewer than 30 cells"):
        out = gb.pp.pseudobulk(pbmc, by=["donor", "louvain"], min_cells=30)
    out.write_h5ad(tmp_path / "x.h5ad")
    back = ad.read_h5ad(tmp_path / "x.h5ad")
    assert back.obs["n_cells"].equals(out.obs["n_cells"])
    small = back.uns["pseudobulk"]["dropped"]
    assert (small["n_cells"] < 30).all()
    assert small["n_cells"].sum() + out.obs["n_cells"].sum() == pbmc.n_obs


def test_samples_of_few_cells_are_dropped_and_named_and_cells_without_a_donor_counted():
    obs = pd.DataFrame({"donor": ["a"] * 12 + ["b"] * 3 + [None] * 2}, index=[f"c{i}" for i in range(17)])
    cells = ad.AnnData(sparse.csr_matrix(np.full((17, 4), 2.0)), obs=obs)
    with pytest.warns(DataWarning) as seen:
        out = gb.pp.pseudobulk(cells, by="donor")
    text = [str(w.message) for w in seen if issubclass(w.category, DataWarning)]
    assert text == [
        "2 cells have no value in donor and belong to no sample; they were left out.",
        "1 of 2 samples have fewer than 10 cells and were dropped: b (3).",
    ]
    assert out.X.toarray().tolist() == [[24.0] * 4]
    assert all(w.filename == __file__ for w in seen)


def test_names_that_collide_are_numbered_and_the_columns_tell_them_apart():
    obs = pd.DataFrame({"a": ["x", "x_y", "x", "x_y-1"], "b": ["y_z", "z", "y_z-1", "q"]}, index=list("1234"))
    out = gb.pp.pseudobulk(ad.AnnData(np.eye(4), obs=obs), by=["a", "b"], min_cells=1)
    assert out.obs_names.is_unique
    assert out.n_obs == 4
    for name, row in out.obs.iterrows():
        assert str(name).startswith(f"{row['a']}_{row['b']}")
    of = {(a, b): out.X[i].argmax() for i, (a, b) in enumerate(zip(out.obs["a"], out.obs["b"], strict=True))}
    assert of == {("x", "y_z"): 0, ("x_y", "z"): 1, ("x", "y_z-1"): 2, ("x_y-1", "q"): 3}


@pytest.mark.parametrize("values", [[1, 2, 3, 1], [True, False, True, True], pd.Categorical(list("baba"), list("cba"))])
def test_donors_of_any_type_keep_their_type_and_order(values):
    cells = ad.AnnData(np.eye(4), obs=pd.DataFrame({"donor": values}, index=list("1234")))
    out = gb.pp.pseudobulk(cells, by="donor", min_cells=1)
    assert out.obs["donor"].tolist() == sorted(set(values), reverse=isinstance(values, pd.Categorical))
    assert list(out.obs_names) == [str(v) for v in out.obs["donor"]]
    assert out.X.sum() == 4


def test_a_layer_a_backed_file_and_blocks_give_the_same(pbmc, tmp_path, monkeypatch):
    monkeypatch.setattr("geneml_bio.pp.counts._BLOCK", 97)
    cells = pbmc.copy()
    cells.layers["counts"] = cells.X.copy()
    cells.X = cells.X.log1p()
    whole = gb.pp.pseudobulk(cells, by="donor", layer="counts")
    cells.X = cells.layers["counts"]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    assert (gb.pp.pseudobulk(backed, by="donor").X != whole.X).nnz == 0
    backed.file.close()
    np.testing.assert_array_equal(whole.X.toarray().sum(axis=0), np.asarray(pbmc.X.sum(axis=0)).ravel())


def test_csr_is_never_made_dense():
    class Guarded(sparse.csr_matrix):
        def toarray(self, *args, **kwargs):
            raise AssertionError("made dense")

        todense = __array__ = toarray

    X = Guarded(sparse.random(3000, 500, density=0.05, format="csr", random_state=0).ceil())
    cells = ad.AnnData(X, obs=pd.DataFrame({"donor": np.arange(3000) % 7}, index=map(str, range(3000))))
    out = gb.pp.pseudobulk(cells, by="donor")
    assert out.X.sum() == X.sum()
    gb.pp.logcpm(cells, sparse_result=True)
    assert sparse.issparse(cells.layers["logcpm"])


def _small(X, **obs):
    n = X.shape[0]
    return ad.AnnData(X, obs=pd.DataFrame({"donor": ["a"] * n, **obs}, index=[f"c{i}" for i in range(n)]))


LOGS = np.log1p(np.arange(24.0).reshape(12, 2))


@pytest.mark.parametrize(
    ("X", "ask", "error", "words"),
    [
        (LOGS, {}, InputError, "look like logs"),
        (LOGS - 3, {}, InputError, "they are no counts"),
        (np.where(LOGS > 3, np.nan, LOGS), {"mode": "mean"}, InputError, "missing or infinite"),
        (LOGS, {"by": "doner"}, ColumnNotFoundError, "Did you mean 'donor'"),
        (LOGS, {"layer": "counts"}, ColumnNotFoundError, "No layer 'counts'"),
        (LOGS, {"mode": "median"}, InputError, "mode must be"),
        (LOGS, {"by": []}, InputError, "by= takes"),
        (LOGS, {"by": ["donor", "donor"]}, InputError, "by= takes"),
        (LOGS, {"min_cells": 0}, InputError, "min_cells must be"),
        (LOGS, {"min_cells": True}, InputError, "min_cells must be"),
        (LOGS, {"min_cells": 13}, InputError, "the largest has 12"),
    ],
)
def test_what_cannot_be_summed_is_refused(X, ask, error, words):
    with pytest.raises(error, match=words):
        gb.pp.pseudobulk(_small(X), **({"by": "donor"} | ask))


def test_normalised_counts_are_told_of_and_means_of_logs_are_fine():
    with pytest.warns(DataWarning, match="no whole numbers"):
        gb.pp.pseudobulk(_small(LOGS * 1000), by="donor")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = gb.pp.pseudobulk(_small(LOGS), by="donor", mode="mean")
    np.testing.assert_allclose(out.X[0], LOGS.mean(axis=0))
    with pytest.raises(InputError, match="Expected an AnnData"):
        gb.pp.pseudobulk(pd.DataFrame(), by="donor")
    with pytest.raises(InputError, match="n_cells"):
        gb.pp.pseudobulk(_small(LOGS), by="n_cells")


# -- logcpm ------------------------------------------------------------------------------------------------------------


@pytest.mark.r
@pytest.mark.parametrize("prior", [2.0, 0.25, 5])
def test_logcpm_is_edgers_on_real_counts(pbmc, r_limma, prior):
    if not r_limma.numbers("requireNamespace('edgeR', quietly = TRUE)")[0]:
        pytest.skip("edgeR is not installed")
    samples = gb.pp.pseudobulk(pbmc, by=["donor", "bulk_labels"], min_cells=1)
    for study in (samples, pbmc):
        study = study.copy()
        r_limma.give("y", study.X.toarray().T)
        theirs = r_limma.numbers(f"edgeR::cpm(y, log = TRUE, prior.count = {prior})").reshape(study.shape)
        gb.pp.logcpm(study, prior_count=prior)
        np.testing.assert_allclose(study.layers["logcpm"], theirs, atol=1e-8, rtol=0)
        assert study.layers["logcpm"].flags.c_contiguous
        gb.pp.logcpm(study, prior_count=prior, sparse_result=True, key_added="s")
        shifted = study.layers["s"].toarray() + study.uns["s"]["zero"]
        np.testing.assert_allclose(shifted, theirs, atol=1e-8, rtol=0)
        assert study.layers["s"].nnz == study.X.nnz


def test_new_samples_are_transformed_as_the_study_was(pbmc):
    samples = gb.pp.pseudobulk(pbmc, by=["donor", "bulk_labels"], min_cells=1)
    gb.pp.logcpm(samples)
    new = samples[:4].copy()
    gb.pp.logcpm(new, mean_lib_size=samples.uns["logcpm"]["mean_lib_size"])
    np.testing.assert_array_equal(new.layers["logcpm"], samples.layers["logcpm"][:4])
    gb.pp.logcpm(new)
    assert np.abs(new.layers["logcpm"] - samples.layers["logcpm"][:4]).max() > 0.01


def test_what_is_written_and_that_it_can_be_stored(pbmc, tmp_path):
    cells = pbmc.copy()
    cells.layers["counts"] = cells.X.copy()
    assert gb.pp.logcpm(cells, layer="counts", key_added="log") is None
    assert (cells.X != pbmc.X).nnz == 0
    cells.write_h5ad(tmp_path / "x.h5ad")
    back = ad.read_h5ad(tmp_path / "x.h5ad")
    np.testing.assert_array_equal(back.layers["log"], cells.layers["log"])
    about = back.uns["log"]
    assert about["layer"] == "counts"
    assert about["mean_lib_size"] == pytest.approx(pbmc.X.sum() / pbmc.n_obs)
    gb.pp.logcpm(cells, key_added="log")  # its own may be replaced


COUNTS = np.arange(1.0, 25).reshape(12, 2)
EMPTY = np.where(np.arange(12)[:, None] == 3, 0, COUNTS)


@pytest.mark.parametrize(
    ("X", "ask", "error", "words"),
    [
        (LOGS, {}, InputError, "logs already"),
        (-COUNTS, {}, InputError, "they are no counts"),
        (EMPTY, {}, InputError, r"1 of 12 samples have no counts at all \(c3\)"),
        (COUNTS, {"prior_count": 0}, InputError, "prior_count must be"),
        (COUNTS, {"prior_count": "2"}, InputError, "prior_count must be"),
        (COUNTS, {"mean_lib_size": -1}, InputError, "mean_lib_size must be"),
        (COUNTS, {"layer": "x"}, ColumnNotFoundError, "No layer"),
        (COUNTS, {"key_added": "a/b"}, StorageError, "key_added"),
    ],
)
def test_what_has_no_logcpm_is_refused_and_nothing_written(X, ask, error, words):
    adata = _small(X)
    with pytest.raises(error, match=words):
        gb.pp.logcpm(adata, **ask)
    assert not adata.layers
    assert not adata.uns


def test_what_is_not_its_own_is_not_overwritten_and_views_are_refused():
    adata = _small(COUNTS)
    adata.layers["logcpm"] = COUNTS
    with pytest.raises(StorageError, match="has not made"):
        gb.pp.logcpm(adata)
    with pytest.raises(ViewError):
        gb.pp.logcpm(adata[:5])


def test_a_large_dense_result_is_told_of(monkeypatch):
    monkeypatch.setattr("geneml_bio.pp.counts._WIDE", 100)
    adata = _small(sparse.csr_matrix(COUNTS))
    with pytest.warns(DataWarning, match="sparse_result=True"):
        gb.pp.logcpm(adata)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gb.pp.logcpm(adata, sparse_result=True)
