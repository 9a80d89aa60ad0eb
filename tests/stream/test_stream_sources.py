"""gb.tl.stream reads what files hold, in whichever form, and says what it cannot read."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy import sparse
from stream_cells import cells

import geneml_bio as gb
from geneml_bio.core.resample import some_of_each

HOW = {"models": ["logistic"], "screen": 10, "n_splits": 2, "tune": False, "progress": False, "n_jobs": 1, "n_shap": 0}
HOW |= {"groups": "donor", "chunk_size": 90}


@pytest.fixture(scope="module")
def atlas():
    return cells(240, 30, seed=8)


@pytest.fixture(scope="module")
def plain(atlas):
    return predicted(atlas)


def predicted(source, **more):
    return gb.tl.stream(source, "kind", **(HOW | more)).obsm["classify_oof"].to_numpy()


def replaced(path, **parts):
    """The parts of X in a file, replaced."""
    with h5py.File(path, "a") as file:
        for name, values in parts.items():
            attributes = dict(file["X"][name].attrs)
            del file["X"][name]
            file["X"].create_dataset(name, data=values).attrs.update(attributes)


@pytest.mark.parametrize("kind", ["float64", "unsorted", "twice", "int64", "chunked", "v3", "raw"])
def test_the_form_in_which_values_are_stored_changes_nothing(kind, atlas, plain, tmp_path):
    adata, path = atlas.copy(), tmp_path / "a.h5ad"
    X = atlas.X
    if kind == "float64":
        adata.X = X.astype(np.float64)
    if kind == "raw":
        adata.raw = adata.copy()
    if kind == "v3":
        zarr = pytest.importorskip("zarr", minversion="3")
        import anndata

        if not hasattr(anndata.settings, "zarr_write_format"):
            pytest.skip("this anndata writes one format of zarr")
        path = tmp_path / "a.zarr"
        with zarr.config.set({"default_zarr_format": 3}), anndata.settings.override(zarr_write_format=3):
            adata.write_zarr(path)
    elif kind == "chunked":
        adata.X = X.toarray()
        adata.write_h5ad(path)
        with h5py.File(path, "a") as file:
            attributes = dict(file["X"].attrs)
            del file["X"]
            file.create_dataset("X", data=adata.X, chunks=(7, 11), compression="lzf").attrs.update(attributes)
    else:
        adata.write_h5ad(path)
    if kind == "unsorted":
        back = np.concatenate([np.arange(*span)[::-1] for span in zip(X.indptr[:-1], X.indptr[1:], strict=True)])
        replaced(path, indices=X.indices[back], data=X.data[back])
    if kind == "twice":  # every value in two halves
        replaced(path, indices=np.repeat(X.indices, 2), data=np.repeat(X.data / 2, 2), indptr=X.indptr * 2)
    if kind == "int64":
        replaced(path, indices=X.indices.astype(np.int64), indptr=X.indptr.astype(np.int64))
    np.testing.assert_allclose(predicted(path), plain, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16, bool])
@pytest.mark.parametrize("form", [sparse.csr_matrix, np.asarray])
def test_whole_numbers_and_yes_or_no(dtype, form, atlas, tmp_path):
    adata = atlas.copy()
    counts = np.round(np.expm1(atlas.X.toarray())).astype(dtype)
    adata.X = form(counts)
    adata.write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_allclose(predicted(tmp_path / "a.h5ad"), predicted_of(atlas, counts.astype(float)), atol=1e-6)


def test_half_precision_is_made_double(atlas):
    counts = np.round(np.expm1(atlas.X.toarray()))
    half, double = atlas.copy(), atlas.copy()
    half.X, double.X = counts.astype(np.float16), counts
    np.testing.assert_allclose(predicted(half), predicted(double), atol=1e-6)
    how = {name: value for name, value in HOW.items() if name not in ("chunk_size", "n_shap")} | {"n_repeats": 1}
    for adata in (half, double):
        gb.tl.classify(adata, "kind", **how)
    np.testing.assert_allclose(half.obsm["classify_oof"], double.obsm["classify_oof"], atol=1e-6)
    assert half.X.dtype == np.float16


def predicted_of(atlas, X):
    other = atlas.copy()
    other.X = X
    return predicted(other)


@pytest.mark.parametrize("kind", ["bool", "boolean", "str", "float"])
def test_every_kind_of_target_with_gaps(kind, atlas, tmp_path):
    adata = atlas.copy()
    adata.obs["kind"] = (atlas.obs["kind"] == "k1").astype(kind) if kind != "str" else atlas.obs["kind"].astype(object)
    if kind != "bool":
        adata.obs.loc[adata.obs_names[:9], "kind"] = None
    adata.write_h5ad(tmp_path / "a.h5ad")
    if kind == "bool":
        made = predicted(tmp_path / "a.h5ad")
    else:
        with pytest.warns(gb.errors.DataWarning, match="9 of 240 samples have no value"):
            made = predicted(tmp_path / "a.h5ad")
    assert np.isfinite(made[9:]).all()
    assert np.isnan(made[:9]).all() == (kind != "bool")


def test_what_is_damaged_or_taken_is_refused(atlas, tmp_path):
    refused = gb.errors.InputError
    path = tmp_path / "a.h5ad"
    atlas.write_h5ad(path)
    replaced(path, indices=np.where(np.arange(atlas.X.nnz) == 50, 999, atlas.X.indices))
    with pytest.raises(refused, match="columns that there are not"):
        predicted(path)
    (tmp_path / "empty.zarr").mkdir()
    pytest.importorskip("zarr")
    with pytest.raises(refused, match=r"no \.zarr that can be opened"):
        predicted(tmp_path / "empty.zarr")
    bare = atlas.copy()
    bare.X = None
    bare.write_h5ad(tmp_path / "bare.h5ad")
    with pytest.raises(refused, match="holds no X"):
        predicted(tmp_path / "bare.h5ad")
    text = atlas.copy()
    text.obs["classify_pred"] = "mine"
    with pytest.raises(gb.errors.StorageError, match="classify_pred"):
        predicted(text)
    with pytest.raises(refused, match="n_jobs"):
        predicted(atlas, n_jobs=0)
    huge = atlas.copy()
    huge.X = huge.X.astype(float) * 1e200
    with pytest.raises(refused, match="too large"):
        predicted(huge)


def test_a_class_of_few_cells_is_in_every_sample(tmp_path):
    adata = cells(3000, 20, n_donors=12, seed=9)
    rare = np.arange(0, 3000, 500)
    kind = adata.obs["kind"].astype(str).to_numpy()
    kind[rare] = "rare"
    adata.obs["kind"] = kind
    result = gb.tl.stream(adata, "kind", **(HOW | {"n_cells": 100}))
    shown = gb.get.predictions(result).drop_duplicates("sample")["observed"].value_counts()
    assert shown["rare"] == 6
    assert shown.sum() <= 106 + 6


def test_a_sample_of_rows_is_proportional_and_loses_no_class():
    rng = np.random.default_rng(0)
    donor = rng.integers(0, 30, 50_000)
    kind = np.where(np.arange(50_000) % 5000 == 0, 2, donor % 2)
    rows = some_of_each([kind, donor], 50_000, 2_000, np.random.default_rng(1), least=20)
    assert (np.diff(rows) > 0).all()
    assert len(rows) <= 2_020
    assert (kind[rows] == 2).sum() == 10, "all that there are"
    share = np.bincount(donor[rows]) / len(rows) - np.bincount(donor) / 50_000
    assert np.abs(share).max() < 2e-3
    np.testing.assert_array_equal(some_of_each([kind], 50_000, 50_000, rng), np.arange(50_000))


@pytest.mark.parametrize("form", [sparse.csr_matrix, np.asarray])
def test_pieces_in_which_nobody_takes_part(form, atlas):
    adata = atlas.copy()
    adata.X = form(atlas.X.toarray())
    adata.obs.loc[adata.obs_names[60:160], ["kind", "score"]] = np.nan
    rest = adata[np.r_[0:60, 160:240]].copy()
    for target, task in (("kind", "classification"), ("score", "regression")):
        how = HOW | {"task": task, "models": ["logistic" if target == "kind" else "ridge"], "chunk_size": 20}
        with pytest.warns(gb.errors.DataWarning, match="100 of 240"):
            made = gb.tl.stream(adata, target, key_added="m", n_permutations=1, **how)
        alone = gb.tl.stream(rest, target, key_added="m", n_permutations=1, **how)
        np.testing.assert_allclose(made.obsm["m_oof"].dropna(), alone.obsm["m_oof"], atol=1e-6)
        np.testing.assert_allclose(made.uns["m"]["null"]["value"], alone.uns["m"]["null"]["value"], atol=1e-6)
