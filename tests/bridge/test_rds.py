"""R's files without R: every form of the format, its bounds, and what strangers may put into it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geneml_bio.bridge import rds, unserialise
from geneml_bio.bridge.matrices import expression
from geneml_bio.bridge.r_columns import frame_of
from geneml_bio.bridge.r_objects import anndata_of, table_of
from geneml_bio.bridge.r_values import NA_INTEGER, make_names, number_text
from geneml_bio.core.errors import DataWarning, GenemlError, TableError

DATA = Path(__file__).parent.parent / "data" / "rds"
TAGS = ("r42", "r45")

# -- a writer of what R would not write --------------------------------------------------------------------------------

HEAD = b"X\n" + struct.pack(">iii", 2, 0x040202, 0x020300)
NULL = struct.pack(">i", 254)
UNBOUND = struct.pack(">i", 252)


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


def call(function: str, argument: str) -> bytes:
    return integer(6) + symbol(function) + integer(2) + strings(argument) + NULL


def promise(code: bytes, value: bytes = UNBOUND) -> bytes:
    return integer(5 | 1024) + integer(242) + value + code


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


# -- what strangers may put into a file --------------------------------------------------------------------------------


def test_code_in_a_file_does_nothing(tmp_path):
    """Promises where R would look first: the way of CVE-2024-27322."""
    trace = tmp_path / "pwned"
    code = call("system", f"touch {trace}")
    levels = pairs(("levels", promise(code)), ("class", strings("factor")))
    cases = {
        "the object": promise(code),
        "the row names": data_frame(promise(code), ("logFC", reals(1.0)), ("P.Value", reals(0.5))),
        "a level": data_frame(strings("a"), ("kind", integer(13 | 512) + integer(1) + integer(1) + levels)),
        "an active binding": integer(4)
        + integer(0)
        + integer(242)
        + pairs(("x", integer(6) + symbol("q") + NULL))
        + NULL
        + NULL,
        "a call": code,
        "an environment": integer(4) + integer(0) + integer(242) + pairs(("x", promise(code))) + NULL + NULL,
        "in a list": integer(19) + integer(1) + promise(code),
    }
    for what, body in cases.items():
        (tmp_path / "evil.rds").write_bytes(HEAD + body)
        with pytest.raises(GenemlError, match=r"evil|object|table|Numbers|column|file|damaged") as error:
            table_of(tmp_path / "evil.rds")
        assert not trace.exists(), what
        assert "Traceback" not in str(error.value)
    (tmp_path / "evil.rds").write_bytes(
        HEAD + data_frame(strings("a"), ("logFC", promise(code)), ("P.Value", reals(0.5)))
    )
    with pytest.warns(DataWarning, match=r"logFC \(promise\)"):
        assert list(table_of(tmp_path / "evil.rds").frame) == ["P.Value"]
    workspace = b"RDX2\n" + HEAD + pairs(("fit", promise(code)), ("x", reals(1)))
    (tmp_path / "evil.RData").write_bytes(workspace)
    with pytest.raises(GenemlError, match="fit \\(promise\\)"):
        table_of(tmp_path / "evil.RData")
    assert not trace.exists()


def test_a_promise_that_was_kept_is_its_value():
    value = parsed(data_frame(strings("a"), ("logFC", promise(call("stop", "no"), reals(2.5)))))
    assert value.get("logFC").value.tolist() == [2.5]
    assert rds.parse(HEAD + promise(call("stop", "no")), "x").promises == 1


def test_an_environment_that_holds_itself():
    value = parsed(integer(4) + integer(0) + integer(242) + pairs(("me", integer(255 | 1 << 8))) + NULL + NULL)
    assert value.get("me") is value


def test_a_table_that_claims_more_rows_than_it_has():
    rows = integer(13) + integer(2) + integer(-(2**31)) + integer(-2_000_000_000)
    (value,) = rds.parse(HEAD + data_frame(rows, ("logFC", reals(1.0))), "x.rds").objects.values()
    with pytest.raises(TableError, match="claims 2000000000 rows"):
        frame_of(value)


def s4(name: str, **slots: bytes) -> bytes:
    return integer(25 | 512 | 256) + pairs(*slots.items(), ("class", strings(name)))


def whole(*numbers: int, flags: int = 0) -> bytes:
    return integer(13 | flags) + integer(len(numbers)) + struct.pack(f">{len(numbers)}i", *numbers)


def named_list(**items: bytes) -> bytes:
    return integer(19 | 512) + integer(len(items)) + b"".join(items.values()) + pairs(("names", strings(*items)))


def sequence(n: float, of: str = "compact_intseq") -> bytes:
    return integer(238) + pairs(("", symbol(of))) + reals(n, 1, 1) + NULL


def of_matrix(name: str, rows: int, columns: int, **slots: bytes) -> bytes:
    return s4(name, Dim=whole(rows, columns), Dimnames=integer(19) + integer(2) + NULL + NULL, **slots)


RLE = s4("Rle", values=reals(1.0), lengths=whole(15_000_000))
RLES = named_list(a=RLE, b=RLE)
HUGE = 2**31 - 1
CLAIMS = {
    "a sequence": sequence(1.3e8),
    "sequences": integer(19) + integer(20) + sequence(1.5e6) * 20,
    "a sequence as text": integer(238) + pairs(("", symbol("deferred_string"))) + pairs(("", sequence(1.9e7))) + NULL,
    "repeats": s4("DFrame", nrows=whole(15_000_000), rownames=NULL, listData=RLES),
    "rows without columns": data_frame(whole(-(2**31), -99_999_999)),
    "rows of a table of nothing": data_frame(whole(-(2**31), -HUGE), ("x", whole(flags=512) + pairs(("dim", whole(HUGE, 0))))),
    "columns of nothing": data_frame(strings(), ("x", whole(flags=512) + pairs(("dim", whole(0, HUGE))))),
    "a matrix of nothing": reals(flags=512) + pairs(("dim", whole(0, HUGE))),
    "rows of a sparse matrix": of_matrix("dgCMatrix", HUGE, 0, i=whole(), p=whole(0), x=reals()),
    "a sparse matrix": of_matrix("dgTMatrix", HUGE, HUGE, i=whole(), j=whole(), x=reals()),
    "a triangle": of_matrix("dtTMatrix", HUGE, HUGE, i=whole(), j=whole(), x=reals(), diag=strings("U")),
    "a diagonal": of_matrix("ddiMatrix", HUGE, HUGE, x=reals(), diag=strings("U")),
}  # fmt: skip


@pytest.mark.parametrize("what", CLAIMS)
def test_what_no_bytes_bear_out_is_not_made(what, tmp_path):
    path = tmp_path / "claims.rds"
    path.write_bytes(HEAD + CLAIMS[what])
    tracemalloc.start()
    try:
        with pytest.raises(TableError, match="are claimed, more than is made of a few bytes"):
            anndata_of(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 30
    finally:
        tracemalloc.stop()


def test_parts_of_a_list_that_overlap_are_not_multiplied():
    flat = strings("a", "b", "c")
    parts = s4("CharacterList", unlistData=flat, partitioning=s4("P", end=whole(3, 0, 3, 0, 3)))
    table = s4("DFrame", nrows=whole(5), rownames=NULL, listData=named_list(a=parts))
    with pytest.raises(TableError, match="its parts overlap"):
        frame_of(parsed(table))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (gzip.compress(b"") * 3000, "pieces of next to nothing"),
        (gzip.compress(b"A\n2\n262146\n131840\n14\n1\n" + b"1\n" * (1 << 26)), "of R's text form, more than is read"),
        (gzip.compress(HEAD + integer(16) + integer(21_000_000) + bytes(8) * 21_000_000), "too many"),
        (HEAD + integer(19) + integer(3_000_000) + NULL * 3_000_000, "too many"),
    ],
    ids=["members", "text", "strings", "list"],
)
def test_many_of_next_to_nothing(body, message):
    with pytest.raises(TableError, match=message):
        rds.parse(body, "many.rds")


def test_members_of_a_packed_file_are_joined():
    body = HEAD + reals(*range(1000))
    for pack in (gzip.compress, bz2.compress, lzma.compress):
        packed = b"".join(pack(body[i : i + 100]) for i in range(0, len(body), 100)) + bytes(1000)
        assert rds.unpack(packed, "x")[0] == body


def test_what_is_too_deep_is_not_offered_to_r(tmp_path):
    """A chain of promises makes R itself crash."""
    path = tmp_path / "deep.rds"
    path.write_bytes(HEAD + integer(5) * 100_000)
    with pytest.raises(TableError, match="nested too deeply") as error:
        table_of(path, trusted=True)
    assert "trusted" not in str(error.value)


@pytest.mark.parametrize("read", [table_of, anndata_of])
def test_attributes_that_are_not_what_r_makes_them(read, tmp_path):
    gap = integer(16) + integer(1) + integer(9) + integer(-1)
    code = promise(call("stop", "no"))
    path = tmp_path / "odd.rds"
    for attribute, value in {"class": gap, "dim": code, "names": whole(1)}.items():
        path.write_bytes(HEAD + reals(1.0, 2.0, flags=512) + pairs((attribute, value)))
        with pytest.raises(GenemlError, match=r"class \w+ holds no"):
            read(path)
    matrix = reals(1.0, 2.0, flags=512) + pairs(("dim", code))
    path.with_suffix(".RData").write_bytes(b"RDX2\n" + HEAD + pairs(("m", matrix), ("n", code)))
    with pytest.raises(TableError, match=r"no object that can be read: m \(numeric\), n \(promise\)"):
        read(path.with_suffix(".RData"))


# -- times -------------------------------------------------------------------------------------------------------------


def test_times_in_parts_and_fractions_of_seconds():
    def parts(zone: str, away: bytes) -> bytes:
        fields = {"sec": reals(1.25, 59.0), "min": whole(30, 59), "hour": whole(0, 23), "mday": whole(1, 31), "mon": whole(1, 11),
                  "year": whole(120, 69), "wday": whole(0, 0), "yday": whole(0, 0), "isdst": whole(0, 0), "gmtoff": away}  # fmt: skip
        items = b"".join(fields.values())
        about = pairs(("names", strings(*fields)), ("class", strings("POSIXlt", "POSIXt")), ("tzone", strings(zone)))
        return integer(19 | 512) + integer(len(fields)) + items + about

    seconds = reals(1.5, -0.25, flags=512) + pairs(("class", strings("POSIXct", "POSIXt")))
    table = data_frame(
        strings("a", "b"),
        ("utc", parts("UTC", whole(NA_INTEGER, NA_INTEGER))),
        ("away", parts("CET", whole(3600, 3600))),
        ("unknown", parts("CET", whole(NA_INTEGER, NA_INTEGER))),
        ("seconds", seconds),
    )
    lost: list[str] = []
    frame = frame_of(parsed(table), lost)
    assert lost == ["unknown (POSIXlt)"]
    assert frame["utc"].tolist() == ["2020-02-01T00:30:01.25", "1969-12-31T23:59:59"]
    assert frame["away"].tolist() == ["2020-01-31T23:30:01.25", "1969-12-31T22:59:59"]
    assert frame["seconds"].tolist() == ["1970-01-01T00:00:01.5", "1969-12-31T23:59:59.75"]


@pytest.mark.r
def test_a_column_that_waits_is_listed_and_computed_when_trusted(r_limma, tmp_path):
    # R itself writes no such column
    code = promise(call("nchar", "xyz"))
    code = integer(5 | 1024) + integer(253) + UNBOUND + call("nchar", "xyz")
    path = tmp_path / "waits.rds"
    closure = integer(3 | 1024) + integer(253) + NULL + symbol("x")
    table = data_frame(strings("a"), ("s1", reals(1.5)), ("s2", code), ("s3", reals(2.5)), ("f", closure))
    path.write_bytes(HEAD + table)
    with pytest.warns(DataWarning, match=r"2 columns .* s2 \(promise\), f \(function\)\..*trusted=True"):
        adata = expression(path, samples=None, target=None, orient="genes")
    assert adata.uns["source"]["left_out"] == ["s2 (promise)", "f (function)"]
    assert list(adata.obs_names) == ["s1", "s3"]
    with pytest.warns(DataWarning, match=r"1 columns .* f \(function\)\.$"):
        adata = expression(path, samples=None, target=None, orient="genes", trusted=True)
    assert list(adata.obs_names) == ["s1", "s2", "s3"]
    assert adata.X[1, 0] == 3
