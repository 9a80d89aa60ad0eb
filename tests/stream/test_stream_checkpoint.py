"""gb.tl.stream(checkpoint=): work goes on where it was stopped, and what is damaged or of other data is not taken."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from stream_cells import EXACT, same, streamed

import geneml_bio as gb
from geneml_bio.bridge.checkpoint import Checkpoint, RowsOfFile
from geneml_bio.core import stream as core
from geneml_bio.core import streamed_screens


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
    monkeypatch.setattr(streamed_screens, "summed", None)  # a second pass over the data would fail
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
    assert len(list(tmp_path.glob("*/*.piece"))) == 3 + 3 * len(EXACT)
    same(streamed(atlas, checkpoint=tmp_path, n_shap=0), in_memory)


WORKING = """
import sys, time
sys.path.insert(0, sys.argv[1])
from stream_cells import cells, streamed
from geneml_bio.core import stream as core
from geneml_bio.core import streamed_screens

true = core._fitted
def fitted(*asked):
    print("working", flush=True)
    time.sleep(1 if done else 0)
    done.append(1)
    return true(*asked)

done = []
core._fitted = fitted
streamed(cells(), checkpoint=sys.argv[2], n_shap=0)
"""


def test_who_works_in_a_folder_is_told_and_a_killed_process_holds_nothing(atlas, in_memory, tmp_path):
    command = [sys.executable, "-c", WORKING, Path(__file__).parent, tmp_path]
    other = subprocess.Popen(command, stdout=subprocess.PIPE)
    for _ in range(2):
        assert other.stdout.readline() == b"working\n"
    with pytest.raises(
        gb.errors.CheckpointInUseError, match=f"by process {other.pid} on {socket.gethostname()}, since"
    ):
        streamed(atlas, checkpoint=tmp_path, n_shap=0)
    streamed(atlas, checkpoint=tmp_path, n_shap=0, models="logistic")  # other work in the same folder
    other.kill()
    other.communicate()
    (here,) = (file.parent for file in tmp_path.glob("*/lock") if f'"pid": {other.pid}' in file.read_text())
    for name in (".1234.piece", "xgboost-0.r0"):  # as such a process leaves
        (here / name).write_bytes(b"half")
    made = len(list(here.glob("[!.]*.piece")))
    assert 4 <= made < 3 + 3 * len(EXACT)
    same(streamed(atlas, checkpoint=tmp_path, n_shap=0), in_memory)
    assert {file.suffix for file in here.iterdir()} == {".piece", ".bin", ".json", ""}
    assert len(list(here.glob("*.piece"))) == 3 + 3 * len(EXACT)
    assert (here / "lock").is_file()


def test_two_calls_of_one_process_do_not_share_a_folder(tmp_path):
    first = Checkpoint(tmp_path, {"asked": 1})
    with pytest.raises(gb.errors.CheckpointInUseError, match="another call of this process"):
        Checkpoint(tmp_path, {"asked": 1})
    Checkpoint(tmp_path, {"asked": 2}).close()
    first.close()
    Checkpoint(tmp_path, {"asked": 1}).close()


def test_where_a_file_system_has_no_locks_that_is_said(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.warns(gb.errors.DataWarning, match="without locks .No locks available.: make sure that no other call"):
        Checkpoint(tmp_path, {"asked": 1}).close()


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


@pytest.mark.parametrize("folder", ["", " "])
def test_an_empty_name_of_a_folder_is_refused(folder, atlas, tmp_path, monkeypatch):
    """As a path it would be the folder that the caller happens to be in."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(gb.errors.InputError, match="checkpoint= is empty"):
        streamed(atlas, checkpoint=folder)
    assert not list(tmp_path.iterdir())
