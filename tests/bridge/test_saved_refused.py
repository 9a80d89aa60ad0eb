"""Files that are no saved model, or not one as it was saved."""

from __future__ import annotations

import contextlib
import gzip
import io
import pickle
import random
import struct
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pytest
from sealing import members_of, rebuilt, sealed, zipped

import geneml_bio as gb
from geneml_bio.bridge import saved
from geneml_bio.core.errors import ModelFileError

# -- what does not get in ----------------------------------------------------------------------------------------------


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_opened(tmp_path, protocol):
    path, harm = tmp_path / "model.geneml", tmp_path / "harm"
    path.write_bytes(pickle.dumps(Payload(harm), protocol=protocol))
    with pytest.raises(ModelFileError, match="never opened" if protocol >= 2 else "no file written by"):
        gb.load(path)
    joblib.dump(Payload(harm), path, protocol=protocol)
    with pytest.raises(ModelFileError):
        gb.load(path)
    assert not harm.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"hello",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"\x89HDF\r\n",
        gzip.compress(pickle.dumps(1), mtime=0),
    ],
)
def test_other_files_are_refused(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="file"):
        gb.load(path)


def test_what_is_not_there_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ModelFileError, match="cannot be read"):
            gb.load(path)


def test_damage_of_any_byte_is_seen(logistic):
    rng = random.Random(0)
    places = {
        0,
        1,
        30,
        len(logistic) - 1,
        len(logistic) - 70,
        len(logistic) - 80,
        *rng.sample(range(len(logistic)), 250),
    }
    for place in places:
        bad = bytearray(logistic)
        bad[place] ^= 1 << rng.randrange(8)
        with pytest.raises(ModelFileError):
            saved.unpacked(bytes(bad), "model")
    for _ in range(100):
        cut = rng.randrange(len(logistic))
        for bad in (logistic[:cut], logistic[cut:], logistic[:cut] + b"x" + logistic[cut:], logistic + logistic[:cut]):
            if bad != logistic:
                with pytest.raises(ModelFileError):
                    saved.unpacked(bad, "model")


@pytest.mark.parametrize("which", ["logistic", "trees", "boosted"])
def test_damage_that_was_signed_ends_in_the_same_error_or_in_the_same_model(which, request):
    data, rng = request.getfixturevalue(which), random.Random(1)
    whole = saved.unpacked(data, "model")
    seen = {"error": 0, "model": 0}
    for turn in range(200):

        def flip(header, members, turn=turn):
            place = "boosters/0.json" if which == "boosted" else "pipeline.skops"
            raw = bytearray(members[place])
            for _ in range(1 + turn % 3):
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            members[place] = bytes(raw)

        try:
            again = saved.unpacked(rebuilt(data, flip), "model")
        except ModelFileError:
            seen["error"] += 1
        else:
            seen["model"] += 1
            np.testing.assert_allclose(again.probe(), whole.probe(), atol=1e-5)
    assert seen["error"] > 100


@pytest.mark.parametrize("place", range(0, 6000, 150))
def test_a_header_that_says_anything_else_ends_in_the_same_error_or_a_model(logistic, place):
    with zipfile.ZipFile(io.BytesIO(logistic)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = bytearray(members["header.json"])
    for word in (b"null", b"[]", b"-1", b'"x"', b"{}", b"NaN", b"["):
        bad = bytes(text[: place % len(text)]) + word + bytes(text[place % len(text) + len(word) :])
        with contextlib.suppress(ModelFileError):
            saved.unpacked(zipped(members | {"header.json": bad}), "model")


def names_of(change):
    return lambda data: zipped(change(dict(members_of(data))))


def _twice(data: bytes) -> bytes:
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("header.json", b"{}")
    return sealed(buffer.getvalue())


def _says(size: int):
    """The size of the first member in the archive's directory is another."""

    def change(data: bytes) -> bytes:
        at = data.index(b"PK\x01\x02")
        return sealed(data[: at + 24] + struct.pack("<I", size) + data[at + 28 :])

    return change


ARCHIVES = {
    "a way out": names_of(lambda m: m | {"../../evil": b"x"}),
    "an absolute name": names_of(lambda m: m | {"/etc/evil": b"x"}),
    "a stranger": names_of(lambda m: m | {"notes.pkl": pickle.dumps(1)}),
    "a stray booster": names_of(lambda m: m | {"boosters/0.json": b"x"}),
    "no header": names_of(lambda m: {n: raw for n, raw in m.items() if n != "header.json"}),
    "no pipeline": names_of(lambda m: {n: raw for n, raw in m.items() if n != "pipeline.skops"}),
    "nothing": names_of(lambda m: {}),
    "a name twice": _twice,
    "more than it says": _says(10),
    "more than memory": _says((1 << 32) - 2),
    "another kind": lambda d: rebuilt(d, lambda h, m: h.update(format="other")),
    "no members": lambda d: rebuilt(d, lambda h, m: m.clear()),
    "a bomb": names_of(lambda m: m | {"header.json": b" " * (1 << 28) + m["header.json"]}),
    "a packed pipeline": lambda d: rebuilt(d, lambda h, m: m.update({"pipeline.skops": _packed(m["pipeline.skops"])})),
    "depth": names_of(lambda m: m | {"header.json": b"[" * 100_000}),
    "other digests": names_of(lambda m: m | {"pipeline.skops": m["pipeline.skops"] + b"x"}),
}


def _packed(skops_file: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members_of(skops_file).items():
            archive.writestr(name, raw)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ARCHIVES)
def test_other_archives_are_refused(logistic, name):
    with pytest.raises(ModelFileError, match=r"model holds no model that can be loaded|model is no file written by"):
        saved.unpacked(ARCHIVES[name](logistic), "model")
