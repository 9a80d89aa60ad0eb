"""gb.tl.stream(checkpoint=): work goes on where it was stopped, and what is damaged or of other data is not taken."""

from __future__ import annotations

import os

import anndata as ad
import numpy as np
import pytest
from test_stream import EXACT, QUIET, cells, same, streamed

import geneml_bio as gb
from geneml_bio.bridge.checkpoint import Checkpoint, RowsOfFile
from geneml_bio.core import stream as core


@pytest.fixture(scope="module")
def atlas() -> ad.AnnData:
    return cells()


@pytest.fixture(scope="module")
def in_memory(atlas):
    adata = atlas.copy()
    gb.tl.classify(adata, "kind", n_splits=3, n_repeats=1, **QUIET)
    return adata


def test_work_that_was_stopped_goes_on(atlas, in_memory, tmp_path, monkeypatch):
    calls = []
    true = core._fitted

    def counted(part, candidate, *rest):
        calls.append((part.fold, candidate.name))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return true(part, candidate, *rest)

    monkeypatch.setattr(core, "_fitted", counted)
    with pytest.raises(KeyboardInterrupt):
        streamed(atlas, checkpoint=tmp_path, n_shap=0)
    done = calls[:3]
    monkeypatch.setattr(core, "_sums", None)  # a second pass over the data would fail
    result = streamed(atlas, checkpoint=tmp_path, n_shap=0)
    assert calls[4:] == [c for c in [(f, m) for f in range(3) for m in EXACT] if c not in done]
    same(result, in_memory)
    monkeypatch.undo()
    calls.clear()
    monkeypatch.setattr(core, "_fitted", counted)
    streamed(atlas, checkpoint=tmp_path, n_shap=0, n_splits=2, models={"mine": EXACT["mine"]})
    assert calls == [(0, "mine"), (1, "mine")], "another question finds nothing"


@pytest.mark.parametrize("kind", ["memory", "dense", "backed", "h5ad", "zarr"])
def test_a_checkpoint_of_other_values_is_not_taken(kind, atlas, tmp_path):
    """The first rows, the shape and the target are the same."""
    how = {"checkpoint": tmp_path / "work", "n_shap": 0, "models": "logistic", "n_splits": 2}
    adata = atlas.copy()
    if kind == "dense":
        adata.X = adata.X.toarray()
    path = tmp_path / f"atlas.{'zarr' if kind == 'zarr' else 'h5ad'}"

    def source():
        if kind in ("memory", "dense"):
            return adata
        (adata.write_zarr if kind == "zarr" else adata.write_h5ad)(path)
        return ad.read_h5ad(path, backed="r") if kind == "backed" else path

    before = streamed(source(), **how)
    assert len(list((tmp_path / "work").iterdir())) == 1
    rows = np.r_[np.zeros(1000, dtype=bool), np.ones(200, dtype=bool)]
    if kind == "dense":
        adata.X[rows] += 1
    else:
        adata.X.data[np.repeat(rows, np.diff(adata.X.indptr))] += 1
    after = streamed(source(), **how)
    assert len(list((tmp_path / "work").iterdir())) == 2
    assert not np.allclose(before.obsm["classify_oof"], after.obsm["classify_oof"], atol=1e-6)


def test_a_damaged_checkpoint_is_work_to_be_done(atlas, in_memory, tmp_path):
    streamed(atlas, checkpoint=tmp_path, n_shap=0)
    for file in tmp_path.glob("*/*.piece"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert len(list(tmp_path.glob("*/*.piece"))) == 2 + 3 * len(EXACT)
    same(streamed(atlas, checkpoint=tmp_path, n_shap=0), in_memory)


def test_damaged_columns_are_kept_anew_and_a_file_that_changes_gives_no_result(atlas, tmp_path, monkeypatch):
    how = {"checkpoint": tmp_path / "work", "n_shap": 0, "models": "logistic", "n_splits": 2}
    before = streamed(atlas, **how)
    bare = next((tmp_path / "work").glob("*/columns.bin"))
    known, sound = Checkpoint(tmp_path / "work", {})._file("columns").name, bare.read_bytes()
    for damage in (sound[:-100], sound[:1000] + b"xxxx" + sound[1004:], None):
        for file in bare.parent.glob("*.piece"):  # as after a stop before the models
            if file.name != known:
                file.unlink()
        bare.unlink() if damage is None else bare.write_bytes(damage)
        same(streamed(atlas, **how), before)
        assert bare.read_bytes() == sound
    rows = RowsOfFile(str(bare), (1200, 10_000), "<f4")
    with pytest.raises(gb.errors.InputError, match=r"columns\.bin cannot be read .* Call again"):
        rows[0:5]
    path = tmp_path / "a.h5ad"
    atlas.write_h5ad(path)
    true = core._fitted

    def touched(*asked):
        os.utime(path)
        return true(*asked)

    monkeypatch.setattr(core, "_fitted", touched)
    for source in (path, ad.read_h5ad(path, backed="r")):
        with pytest.raises(gb.errors.InputError, match=r"a\.h5ad was changed while it was read"):
            streamed(source, **(how | {"checkpoint": None}))
