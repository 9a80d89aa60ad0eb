"""Whatever bytes come in, gb.read.toptable gives a table or a typed error; and what was written is what is read."""

from __future__ import annotations

import bz2
import csv
import functools
import gzip
import io
import lzma
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import stats

import geneml_bio as gb
from geneml_bio.bridge import files, tables
from geneml_bio.core.detable import DETable
from geneml_bio.core.errors import GenemlError

TORTURE = Path(__file__).parents[1] / "data" / "torture"
# bytes that are spread over a table by mistake, and those that mean something to its reader
TELLING = [b'"', b"'", b",", b";", b"\t", b"|", b" ", b"\n", b"\r", b"\r\n", b"#", b"!", b"\\", b'\\"', b'""', b"\x00",
           b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", b"-", b".", b"e", b"1e999", b"NA", b"nan", b"0", b"=", b"sep=;\n", b"<",
           b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"PK\x03\x04", b"\x1a", b"\x85", b"\xe2\x80\xa8",
           b"logFC", b"P.Value", b"\n\n"]  # fmt: skip
MORE = int(os.environ.get("GENEML_BIO_FUZZ", "0"))  # that many times the examples, other ones each time


def examples(n: int) -> settings:
    return settings(
        max_examples=n * max(MORE, 1), deadline=None, derandomize=not MORE, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@functools.cache
def seeds() -> list[bytes]:
    """The torture tables, short, in the ways of saving that they do not show."""
    out = []
    for path in sorted(TORTURE.glob("G*")):
        data = path.read_bytes()
        if path.name == "G18_utf16le_tab.txt":
            out.append(data[:3000])
        elif path.suffix in (".gz", ".rds"):
            out.append(data)
        else:
            out += [b"".join(data.splitlines(keepends=True)[:n]) for n in (4, 30)]
    frame = pd.DataFrame({"gene": ["TP53", "MYC"], "logFC": [1.5, -2.0], "t": [3.0, -4.0], "P.Value": [0.01, 1e-5]})
    stream = io.BytesIO()
    frame.to_excel(stream, index=False)
    out.append(stream.getvalue())
    text = frame.to_csv(index=False).encode()
    out += [bz2.compress(text), lzma.compress(text), archive({"a.csv": text, "b.csv": text}), archive({"a.csv": text})]
    out += [b"Table S1\n\n" + text, b"# a\n% b\n#" + text, text.replace(b"\n", b"\r"), text.decode().encode("utf-32")]
    return out


def archive(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


@st.composite
def mutated(draw) -> bytes:
    """A table with bytes flipped, put in, taken out, cut off, lines moved, or half of another one behind it."""
    data = bytearray(draw(st.sampled_from(seeds())))
    for _ in range(draw(st.integers(1, 6))):
        at, to = sorted(draw(st.integers(0, max(len(data), 1))) for _ in range(2))
        how = draw(st.sampled_from(["flip", "insert", "insert", "random", "delete", "cut", "splice", "repeat", "swap"]))
        if how == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "insert":
            data[at:at] = draw(st.sampled_from(TELLING)) * draw(st.sampled_from([1, 1, 1, 2, 50]))
        elif how == "random":
            data[at:at] = draw(st.binary(max_size=8))
        elif how == "delete":
            del data[at : min(to, at + draw(st.integers(1, 40)))]
        elif how == "cut":
            del data[to:]
        elif how == "splice":
            other = draw(st.sampled_from(seeds()))
            data[to:] = other[draw(st.integers(0, len(other))) :]
        elif how == "repeat":
            data[to:to] = data[at:to]
        else:
            old, new = draw(st.sampled_from(TELLING)), draw(st.sampled_from(TELLING))
            data = bytearray(bytes(data).replace(old, new)[: 1 << 20])
    return bytes(data)


def check_reading(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", gb.core.errors.DataWarning)
        try:
            de = gb.read.toptable(path)
        except GenemlError as error:
            said = str(error)
        else:
            said = ""
    if said:
        assert 20 < len(said) < 3000
        return
    assert isinstance(de, DETable)
    assert len(de) > 0
    assert de.frame.index.is_unique
    assert all(isinstance(name, str) for name in de.frame.index)
    p = de.frame["P.Value"].to_numpy(dtype=float)
    assert np.nanmin(p, initial=0) >= 0
    assert np.nanmax(p, initial=1) <= 1


@examples(150)
@given(data=st.one_of(st.binary(max_size=400), st.lists(st.sampled_from(TELLING), max_size=60).map(b"".join)))
def test_any_bytes(place, data):
    check_reading(place / "x.csv", data)


@examples(250)
@given(data=mutated())
def test_damaged_tables(place, data):
    check_reading(place / "x.csv", data)


@examples(60)
@given(
    data=mutated(),
    pack=st.sampled_from([gzip.compress, bz2.compress, lzma.compress, lambda data: archive({"x": data})]),
)
def test_damaged_tables_packed(place, data, pack):
    check_reading(place / "x", pack(data))
    assert files.LARGEST == 1 << 30


# -- what was written is what is read ----------------------------------------------------------------------------------

HOSTILE = ["NA", "nan", "NULL", "TRUE", "1E5", "01005", "=1+1", "-", "+", "#N/A", "#1", "!x", "%", "5'", '3"', '"', '""', "a,b",
           "a;b", "a|b", "a\tb", "a b", " a", "a ", "\\", 'a\\"', "\\N", "1-Mar", "inf", "<script>", "ÅNG", "β", "基因", "🧬", "logFC",
           "P.Value", "gene", "x" * 50, "a\nb", "a\r\nb", "'a'", "1,5", "1.5", "a\u2028b", "e\u0301", "\u00a0a",
           "--", "*", "* a", "a:"]  # fmt: skip
IDS = st.lists(
    st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)),
    min_size=1, max_size=12, unique=True,
)  # fmt: skip
VALUES = st.floats(allow_nan=False, allow_infinity=False)
NAMES = ["gene", "logFC", "AveExpr", "t", "P.Value", "adj.P.Val", "title"]


@st.composite
def written(draw):
    """Columns, and bytes that a program would write for them."""
    ids = [name for name in draw(IDS) if name.strip()] or ["TP53"]
    n = len(ids)
    columns = {"gene": ids}
    for name in NAMES[1:6]:
        columns[name] = draw(st.lists(VALUES, min_size=n, max_size=n))
    words = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8))
    columns["title"] = draw(st.lists(words, min_size=n, max_size=n))
    separator = draw(st.sampled_from(",\t;|"))
    decimal = draw(st.sampled_from([".", ","]))
    order = ["gene", *draw(st.permutations(NAMES[1:]))]
    # csv quotes a newline only where it ends lines
    end, quoting = draw(
        st.sampled_from(
            [("\r\n", csv.QUOTE_MINIMAL), ("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL)]
        )
    )
    rows = [[cell if isinstance(cell, str) else repr(cell).replace(".", decimal) for cell in columns[k]] for k in order]
    stream = io.StringIO(newline="")
    kinds = {k: (str if k in ("gene", "title") else float) for k in order}
    writer = csv.writer(stream, delimiter=separator, quoting=quoting, lineterminator=end)
    writer.writerow(order)
    writer.writerows(zip(*rows, strict=True))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
    pack = draw(
        st.sampled_from([bytes, gzip.compress, bz2.compress, lzma.compress, lambda data: archive({"t.csv": data})])
    )
    return order, rows, columns, decimal, kinds, pack(stream.getvalue().encode(encoding))


@examples(250)
@given(case=written())
def test_what_was_written_is_read(place, case):
    order, rows, columns, decimal, kinds, data = case
    path = place / "written"
    path.write_bytes(data)
    table = tables.read_table(path)
    assert table.header == order
    assert table.columns == rows
    assert (table.rows_lost, table.notes) == (0, [])
    numeric = {name: column for name, column in zip(order, table.columns, strict=True) if kinds[name] is float}
    if any("," in cell for column in numeric.values() for cell in column):
        assert tables.find_decimal(list(numeric.values())) == ","
    for name, column in numeric.items():
        found, strange = tables.numbers(column, decimal)
        assert not strange
        np.testing.assert_array_equal(found, columns[name])


@examples(40)
@given(
    ids=IDS, seed=st.integers(0, 2**32), shifted=st.booleans(), separator=st.sampled_from(",\t;"),
    order=st.permutations(["logFC", "AveExpr", "t", "P.Value"]),
)  # fmt: skip
@example(ids=HOSTILE[:20], seed=0, shifted=True, separator=",", order=["t", "logFC", "P.Value", "AveExpr"])
def test_ids_and_numbers_reach_the_detable(place, ids, seed, shifted, separator, order):
    rng = np.random.default_rng(seed)
    ids = [name for name in ids if name.strip() == name and name not in ("-", "--", "---", "#N/A")]
    ids += ["TP53", "MYC", "ABL1", "KRAS", "EGFR"]
    ids = list(dict.fromkeys(ids))
    t, mean = rng.normal(size=len(ids)), rng.uniform(4, 12, len(ids))
    p = 2 * stats.t.sf(np.abs(t), 10)
    frame = pd.DataFrame({"logFC": 0.3 * t, "AveExpr": mean, "t": t, "P.Value": p})[list(order)]
    frame.insert(0, "gene", ids)
    path = place / "table.txt"
    text = frame.to_csv(index=False, sep=separator, quoting=csv.QUOTE_NONNUMERIC)
    path.write_text(text.split(separator, 1)[1] if shifted else text, encoding="utf-8", newline="")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        de = gb.read.toptable(path)
    assert list(de.frame.index) == ids
    for name in order:
        np.testing.assert_array_equal(de.frame[name], frame[name])


def test_the_seeds_are_sound(place):
    """What the fuzzing damages is read, for the most part, while it is whole."""
    read = 0
    for data in seeds():
        (place / "seed").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                read += isinstance(gb.read.toptable(place / "seed"), DETable)
            except GenemlError:
                continue
    assert read > 0.7 * len(seeds())
