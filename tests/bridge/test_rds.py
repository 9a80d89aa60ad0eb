"""R's files without R: every form of the format, its bounds, and what strangers may put into it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geneml_bio.bridge import rds, unserialise
from geneml_bio.bridge.r_objects import table_of
from geneml_bio.bridge.r_values import make_names, number_text
from geneml_bio.core.errors import GenemlError, TableError

DATA = Path(__file__).parent.parent / "data" / "rds"
TAGS = ("r42", "r45")

# -- a writer of what R would not write --------------------------------------------------------------------------------

HEAD = b"X\n" + struct.pack(">iii", 2, 0x040202, 0x020300)
NULL = struct.pack(">i", 254)


def integer(n: int) -> bytes:
    return struct.pack(">i", n)


def char(text: str) -> bytes:
    return integer(9 | 64 << 12) + integer(len(text)) + text.encode("ascii")


def symbol(name: str) -> bytes:
    return integer(1) + char(name)


def strings(*texts: str, flags: int = 0) -> bytes:
    return integer(16 | flags) + integer(len(texts)) + b"".join(map(char, texts))


def pairs(*items: tuple[str, bytes], end: bytes = NULL) -> bytes:
    return b"".join(integer(2 | 1024) + symbol(name) + value for name, value in items) + end


def reals(*numbers: float, flags: int = 0) -> bytes:
    return integer(14 | flags) + integer(len(numbers)) + struct.pack(f">{len(numbers)}d", *numbers)


def data_frame(rows: bytes, *columns: tuple[str, bytes]) -> bytes:
    about = pairs(
        ("names", strings(*(name for name, _ in columns))), ("class", strings("data.frame")), ("row.names", rows)
    )
    return integer(19 | 256 | 512) + integer(len(columns)) + b"".join(value for _, value in columns) + about


def parsed(body: bytes) -> rds.RValue:
    return rds.parse(HEAD + body, "made.rds").objects[""]


# -- the forms of the format -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tag", TAGS)
def test_each_type_of_r_arrives_with_its_gaps(tag):
    frame = table_of(DATA / f"types_{tag}.rds").frame
    assert list(frame.index) == ["01005", "NA", "1-Mar", "café"]
    assert not frame.attrs["automatic_row_names"]
    expected = {
        "whole": [1, pd.NA, -3, 4],
        "full": [1, 2, 3, 4],
        "flag": [True, pd.NA, False, True],
        "sure": [True, False, True, True],
        "text": ["NA", None, "é", ""],
        "day": ["2020-02-29", None, "1999-12-31", "1969-12-31"],
        "listed": ["1;2", None, "x;NA", "2.5"],
        "block.p": [1, 2, 3, 4],
        "block.q": [5, 6, 7, 8],
        "time": ["2020-01-01T10:00:00", None, "2020-01-02T00:00:01", "1950-06-01T12:30:00"],
        "big": [1, pd.NA, 2, 10],
        "kept": ["a", "b", "c", "d"],
        "z": ["1+2i", None, "0+0i", "1-0.5i"],
        "wait": ["1 mins", None, "2.5 mins", "3 mins"],
        "byte": ["00", "01", "fe", "ff"],
    }
    assert list(frame.columns) == [
        *("whole", "full", "flag", "sure", "level", "number", "text", "day", "rank", "listed", "block.p", "block.q"),
        *("time", "big", "kept", "z", "western", "wait", "byte"),
    ]
    for name, values in expected.items():
        assert frame[name].tolist() == values, name
    assert (frame["whole"].dtype, frame["full"].dtype, frame["flag"].dtype, frame["sure"].dtype) == (
        *("Int64", np.int64, "boolean", bool),
    )
    assert list(frame["level"].cat.categories) == ["v", "w", "u"]
    assert frame["level"].tolist()[::3] == ["v", "v"]
    assert frame["level"].isna().tolist() == [False, True, False, False]
    assert frame["rank"].cat.ordered
    assert list(frame["rank"].cat.categories) == ["lo", "hi"]
    np.testing.assert_array_equal(frame["number"], [1.5, np.nan, np.inf, np.nan])
    assert frame["western"].tolist()[::2] == ["café", "naïve"]  # latin1 bytes, marked as such


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("form", ["v2", "ascii", "plain", "gzip", "bzip2", "native"])
def test_every_form_of_the_file_gives_the_same(form, tag):
    theirs = table_of(DATA / f"types_{tag}.rds")
    ours = table_of(DATA / f"types_{form}_{tag}.rds")
    pd.testing.assert_frame_equal(ours.frame, theirs.frame)
    assert ours.frame.attrs == theirs.frame.attrs
    assert ours.about["r_version"] == {"r42": "4.2.2", "r45": "4.5.0"}[tag]
    known = {"v2": "version 2, X", "ascii": "version 3, A", "native": "version 3, B"}
    assert ours.about["serialisation"] == known.get(form, "version 3, X")
    packing = {"v2": "xz", "ascii": "xz", "plain": "", "native": ""}
    assert ours.about["compression"] == packing.get(form, form)


def test_na_is_told_from_nan():
    held = rds.read(DATA / "types_r42.rds").objects[""].get("number")
    assert list(map(number_text, held.value)) == ["1.5", "NA", "Inf", "NaN"]


def test_compact_vectors_are_written_out():
    frame = table_of(DATA / "compact_r45.rds").frame
    assert frame["logFC"].tolist() == [1.0, 2, 3, 4, 5, 6]
    assert frame["id"].tolist() == ["1", "2", "3", "4", "5", "6"]
    assert frame["n"].tolist() == [1, 2, 3, 4, 5, 6]
    assert frame.attrs["automatic_row_names"]


def test_a_big_endian_machine_wrote_native_binary():
    frame = data_frame(integer(13) + integer(2) + integer(-(2**31)) + integer(-2), ("logFC", reals(1.5, -2.5)))
    body = HEAD.replace(b"X\n", b"B\n") + frame
    value = rds.parse(body, "made.rds").objects[""]
    assert value.get("logFC").value.tolist() == [1.5, -2.5]


def test_text_with_windows_line_ends_and_hexadecimal_numbers():
    body = b"A\r\n2\r\n262146\r\n131840\r\n14\r\n4\r\n0x1.8p+1\r\nNA\r\nInf\r\n-1e-300\r\n"
    value = rds.parse(body, "made.rds").objects[""].value
    np.testing.assert_array_equal(value, [3, np.nan, np.inf, -1e-300])


def test_a_long_pairlist_needs_no_deep_stack():
    value = rds.parse(b"RDX2\n" + HEAD + pairs(*((f"x{i}", reals(i)) for i in range(5000))), "made.RData")
    assert value.is_workspace
    assert value.objects["x4999"].value.tolist() == [4999.0]


def test_another_reader_reads_the_same():
    other = pytest.importorskip("rdata")
    theirs = other.read_rds(DATA / "toptable_r42.rds")
    ours = table_of(DATA / "toptable_r42.rds").frame
    assert list(theirs.columns) == list(ours.columns)
    np.testing.assert_array_equal(theirs.to_numpy(), ours.to_numpy())
    assert list(theirs.index) == list(ours.index)


def test_all_files_of_another_reader_are_read():
    """Functions, byte code, environments, calls, encodings, every form: 583 files of rdata's own tests."""
    other = pytest.importorskip("rdata")
    places = sorted(path for path in Path(other.__file__).parent.rglob("*") if path.suffix.lower() in (".rds", ".rda"))
    if not places:
        pytest.skip("this rdata comes without its tests' files")
    kinds: dict[str, set[str]] = {}
    for path in places:
        objects = rds.read(path).objects
        kinds.setdefault(path.stem.split("__")[0], set()).add(
            str([(value.type, value.classes) for value in objects.values()])
        )
    assert {name: found for name, found in kinds.items() if len(found) > 1} == {}


NUMBERS = {
    1.0: "1", -0.5: "-0.5", 0.1 + 0.2: "0.3", 100000.0: "1e+05", 123456.0: "123456", 1e-4: "1e-04", 0.00012: "0.00012",
    1e15: "1e+15", 123456789012345.0: "123456789012345", 1 / 3: "0.333333333333333", 2e-308: "2e-308", 0.0: "0",
    1234567.25: "1234567.25", -1e5: "-1e+05", 3e5 + 0.5: "300000.5",
}  # fmt: skip


def test_numbers_as_r_writes_them():
    assert {x: number_text(x) for x in NUMBERS} == NUMBERS
    assert [number_text(x) for x in (np.nan, np.inf, -np.inf)] == ["NaN", "Inf", "-Inf"]


NAMES = ["a b", "1x", "if", "a b", ".5", "_z", "TRUE", "", "é", "a.b", "a.b", "ok"]


@pytest.mark.r
def test_numbers_and_names_are_rs_own(fresh_r):
    fresh_r.give("x", list(NUMBERS))
    assert list(fresh_r("as.character(x)")) == list(NUMBERS.values())
    fresh_r.env["n"] = fresh_r.ri.StrSexpVector(NAMES)
    assert make_names(NAMES) == list(fresh_r("make.names(n, unique = TRUE)"))


# -- cut, damaged, foreign ---------------------------------------------------------------------------------------------


def test_a_cut_file_is_never_a_shorter_table():
    whole = rds.unpack((DATA / "toptable_r42.rds").read_bytes(), "x")[0]
    for end in range(0, len(whole), 41):
        with pytest.raises(TableError):
            rds.parse(whole[:end], "cut.rds")
    packed = (DATA / "types_gzip_r42.rds").read_bytes()
    for end in range(1, len(packed), 37):
        with pytest.raises(TableError):
            rds.parse(packed[:end], "cut.rds")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["types", "fit", "sce", "dframe", "dds", "types_ascii", "code"])
def test_a_damaged_file_is_read_or_refused(name, tmp_path):
    whole = rds.unpack((DATA / f"{name}_r42.rds").read_bytes(), "x")[0]
    chance = random.Random(name)
    for _ in range(60):
        hurt = bytearray(whole)
        for _ in range(chance.choice([1, 2, 10])):
            hurt[chance.randrange(len(hurt))] = chance.randrange(256)
        (tmp_path / "hurt.rds").write_bytes(hurt)
        try:
            table_of(tmp_path / "hurt.rds")
        except GenemlError:
            continue


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an R file"),
        (b"gene,logFC\na,1\n", "is not an R file"),
        (b"RDX1\nX\n", "R before 1.4"),
        (b"\x28\xb5\x2f\xfd....", "packed with zstd"),
        (b"\x1f\x8b\x08\x00 nothing", "cannot be unpacked"),
        (b"X\n" + struct.pack(">iii", 4, 0, 0), "version 4 is not known"),
        (HEAD + integer(200), "type 200"),
        (HEAD + integer(14) + integer(2**31 - 1), "2147483647 values are announced"),
        (HEAD + integer(14) + integer(-1) + integer(2**30) + integer(0), "values are announced"),
        (HEAD + integer(19) + integer(2**31 - 1), "a list of 2147483647 is announced"),
        (HEAD + integer(16) + integer(2**31 - 1), "it is cut"),
        (HEAD + integer(9) + integer(-7), "it is cut or damaged"),
        (HEAD + integer(255 | 77 << 8), "is damaged"),
        (HEAD + integer(19) + integer(1), "it is cut"),
        ((HEAD + (integer(19) + integer(1)) * 3000 + NULL), "nested too deeply"),
        ((HEAD + (integer(6) + NULL) * 1 + (integer(6) + integer(6) * 3000)), "nested too deeply|damaged|cut"),
    ],
)
def test_what_is_no_r_file_says_what_it_is(content, message):
    with pytest.raises(TableError, match=message) as error:
        rds.parse(content, "some.rds")
    assert "some.rds" in str(error.value)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lambda data: lzma.compress(data, preset=1)])
def test_bombs_are_left_packed(pack, monkeypatch):
    monkeypatch.setattr(rds, "_SUSPICIOUS", (1 << 22, 100))
    bomb = pack(bytes(1 << 25))
    assert len(bomb) < 1 << 17
    with pytest.raises(TableError, match="unpacks to more than"):
        rds.parse(bomb, "bomb.rds")
    monkeypatch.setattr(rds, "_SUSPICIOUS", (1 << 28, 100))
    monkeypatch.setattr(rds, "MAX_UNPACKED", 1 << 24)
    with pytest.raises(TableError, match="unpacks to more than"):
        rds.parse(bomb, "bomb.rds")


def test_a_real_bomb_costs_neither_time_nor_memory():
    squeeze = zlib.compressobj(9, wbits=31)
    head = squeeze.flush(zlib.Z_FULL_FLUSH)
    zeros = squeeze.compress(bytes(1 << 24)) + squeeze.flush(zlib.Z_FULL_FLUSH)  # a full flush: may stand there again
    bomb = head + zeros * 64 + squeeze.flush()  # 1 GB of zeros in 1 MB
    assert len(bomb) < 1 << 21
    start = time.monotonic()
    with pytest.raises(TableError, match="unpacks to more than"):
        rds.parse(bomb, "bomb.rds")
    assert time.monotonic() - start < 30  # reading it whole takes minutes of parsing, or dies


def test_a_sequence_of_a_trillion_is_not_written_out():
    info = pairs(("a", symbol("compact_realseq")), ("b", symbol("base")), ("c", integer(13) + integer(1) + integer(14)))
    compact = integer(238) + info + reals(1e12, 1, 1) + NULL
    with pytest.raises(TableError, match="1000000000000 numbers"):
        parsed(compact)
    info = pairs(("a", symbol("vroom_dbl")), ("b", symbol("vroom")))
    with pytest.raises(unserialise.OnlyR, match="vroom_dbl"):
        parsed(integer(238) + info + NULL + NULL)


def whole(*numbers: int, flags: int = 0) -> bytes:
    return integer(13 | flags) + integer(len(numbers)) + struct.pack(f">{len(numbers)}i", *numbers)
