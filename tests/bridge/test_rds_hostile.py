"""What strangers may put into a file of R."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import tracemalloc

import pytest
from test_rds import HEAD, NULL, data_frame, integer, pairs, parsed, reals, strings, symbol, whole

from geneml_bio.bridge import rds
from geneml_bio.bridge.matrices import expression
from geneml_bio.bridge.r_columns import frame_of
from geneml_bio.bridge.r_objects import anndata_of, table_of
from geneml_bio.bridge.r_values import NA_INTEGER
from geneml_bio.core.errors import DataWarning, GenemlError, TableError

UNBOUND = struct.pack(">i", 252)


def call(function: str, argument: str) -> bytes:
    return integer(6) + symbol(function) + integer(2) + strings(argument) + NULL


def promise(code: bytes, value: bytes = UNBOUND) -> bytes:
    return integer(5 | 1024) + integer(242) + value + code


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
