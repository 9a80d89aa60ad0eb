"""Refusals, archives, kinds and workbooks."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import openpyxl.chart
import pytest
from test_tables import CSV, HEADER, ROWS, read, rows_of, write

from geneml_bio.bridge import files, tables
from geneml_bio.core.errors import ColumnNotFoundError, TableError

# -- refusals ----------------------------------------------------------------------------------------------------------

REFUSED = {
    "empty": ("", "not a table with a header"),
    "R's empty frame": ('""\n', "not a table with a header"),
    "blank": ("\n \n\n", "not a table with a header"),
    "comments only": ("# a\n# b\n", "not a table with a header"),
    "prose": ("Thank you for your interest.\n", "not a table with a header"),
    "one column": ("gene\nTP53\nMYC\n", "not a table with a header"),
    "header only": ("gene,logFC,P.Value\n", "a header .gene, logFC, P.Value. and no rows"),
    "quoted header only": ('"","logFC","AveExpr","t","P.Value","adj.P.Val","B"\n', "and no rows"),
    "no header": ("TP53,1.5,0.01\nMYC,-2,1e-5\n", "no header: its first row already holds numbers .line 1"),
    "decimal commas between commas": (
        "gene,logFC,P\nA,1,5,0,01\nB,2,1,0,5\n", "no header.*line 2; the row above it has 3 fields, and it has 5"),
    "some decimal commas between commas": ("gene,logFC,P\nA,1,5,0,01\nB,2,0,5\nC,1,5,1\n", "comes apart badly"),
    "NUL bytes": (CSV.encode() + b"\x00\x00\x00", rf"binary data \(a NUL at byte {len(CSV)}\)"),
    "binary": (bytes(range(256)) * 20, "binary data"),
    "half a UTF-16": (CSV.encode("utf-16")[:-1], "begins as utf-16 but goes on as something else"),
    "damaged gzip": (gzip.compress(CSV.encode() * 100)[:-20], "damaged or cut short.*fetch it again"),
    "damaged bz2": (bz2.compress(CSV.encode() * 100)[:-20], "damaged or cut short"),
    "damaged xz": (lzma.compress(CSV.encode() * 100)[:-20], "damaged or cut short"),
    "gzip with a wrong checksum": (gzip.compress(CSV.encode())[:-8] + b"\x00" * 8, "damaged or cut short"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600, "old Excel workbook.*CSV"),
    "Excel with a password": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 600 + "EncryptedPackage".encode("utf-16-le"), "password"),
    "HTML": ("<html><table><tr><td>gene</td></tr></table></html>", "HTML or XML page"),
    "HTML after blanks": ("\ufeff\r\n <!DOCTYPE html>\n<p>Log in</p>", "HTML or XML page"),
    "HTML in UTF-16": ("<table><tr><td>gene</td></tr></table>".encode("utf-16"), "HTML or XML page"),
    "Excel 2003 XML": (
        '<?xml version="1.0"?><Workbook xmlns="urn:schemas-microsoft-com:office:spreadsheet">', "Excel 2003 XML"),
    "PDF": (b"%PDF-1.7\n", "a PDF"),
    "RTF": (b"{\\rtf1\\ansi gene", "rich-text"),
    "Parquet": (b"PAR1\x15\x04", "pd.read_parquet"),
    "Feather": (b"ARROW1\x00\x00", "pd.read_feather"),
    "pickle": (b"\x80\x04\x95\x10\x00", "pickle, which can run code"),
    "JSON": ('{"gene": ["TP53"], "logFC": [1]}', "JSON"),
    "R": (gzip.compress(b"X\n\x00\x00\x00\x03\x00\x04\x02\x02"), "an R file"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git lfs pull"),
    "tar": (b"a.csv".ljust(257, b"\x00") + b"ustar" + b"\x00" * 250, "tar archive"),
    "zstd": (b"\x28\xb5\x2f\xfd\x00\x00", "zstd -d"),
    "picture": (b"\x89PNG\r\n\x1a\n", "picture"),
}  # fmt: skip


@pytest.mark.parametrize("quirk", REFUSED)
def test_what_is_no_table_is_refused_with_the_reason(quirk, tmp_path):
    content, message = REFUSED[quirk]
    with pytest.raises(TableError, match=message):
        read(tmp_path, content)


def test_paths_that_lead_nowhere(tmp_path):
    write(tmp_path, CSV, "results_limma.csv")
    for name, message in (
        ("result_limma.csv", "Did you mean 'results_limma.csv'"),
        ("nowhere/x.csv", "no folder"),
        ("", "is a folder"),
        ("a\x00b", "cannot be opened"),
        ("x" * 5000, "cannot be opened"),
    ):
        with pytest.raises(TableError, match=message):
            tables.read_table(tmp_path / name)
        with pytest.raises(TableError, match=message):
            files.kind_of(tmp_path / name)
    with pytest.raises(TableError, match="download"):
        tables.read_table(Path("https://example.org/table.csv"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TableError, match="no regular file"):
        tables.read_table(tmp_path / "pipe")


# -- archives ----------------------------------------------------------------------------------------------------------


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_a_zip_with_one_table(tmp_path):
    content = zipped(
        **{
            "out/": b"",
            "out/table.csv": CSV.encode(),
            "__MACOSX/out/._table.csv": b"\x00\x05",
            "out/.DS_Store": b"\x00",
        }
    )
    table = read(tmp_path, content, "table.zip")
    assert (table.header, rows_of(table), table.about["member"]) == (HEADER, ROWS, "out/table.csv")
    assert files.kind_of(tmp_path / "table.zip") == "zip"
    assert files.read_bytes(tmp_path / "table.zip") == CSV.encode()


def test_a_zip_with_several_tables(tmp_path):
    content = zipped(
        **{"a.csv": CSV.encode(), "b.csv.gz": gzip.compress(CSV.encode()), "read.me": b"hello", "c.pdf": b"%PDF"}
    )
    path = write(tmp_path, content, "tables.zip")
    found = tables.read_tables(path)
    assert list(found) == ["a.csv", "b.csv.gz"]
    assert [text.split(" ")[0] for text in found["a.csv"].about["not_read"]] == ["read.me", "c.pdf"]
    assert list(tables.read_tables(path, sheet="b.csv.gz")) == ["b.csv.gz"]
    with pytest.raises(ColumnNotFoundError, match=r"holds no 'b\.csv'.*Did you mean .a\.csv. or .b\.csv\.gz."):
        tables.read_tables(path, sheet="b.csv")
    with pytest.raises(TableError, match="holds 2 tables"):
        tables.read_table(path)


def test_zips_that_cannot_be_read(tmp_path):
    locked = bytearray(zipped(**{"a.csv": CSV.encode()}))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        locked[locked.index(magic) + offset] |= 1
    for content, message in (
        (bytes(locked), "password"),
        (zipped(**{"a.csv": CSV.encode()})[:-30], "damaged"),
        (zipped(), "empty zip"),
        (zipped(**{"word/document.xml": b"<x/>"}), "Word"),
        (zipped(**{"xl/workbook.bin": b""}), r"\.xlsb"),
        (zipped(**{"content.xml": b"<x/>"}), r"\.ods"),
        (zipped(**{"a.npy": b"\x93NUMPY"}), "NumPy"),
        (zipped(**{f"{k}.csv": b"" for k in range(201)}), "201 files"),
        (zipped(**{"b.zip": zipped(**{"a.csv": CSV.encode()})}), "zip in a zip"),
    ):
        with pytest.raises(TableError, match=message):
            read(tmp_path, content, "x.zip")


def test_bombs_are_refused_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_BOMB", 1 << 20)
    zeros = bytes(8 << 20)
    for content, name in (
        (gzip.compress(zeros), "x.gz"),
        (bz2.compress(zeros), "x.bz2"),
        (lzma.compress(zeros), "x.xz"),
        (zipped(**{"x.csv": zeros}), "x.zip"),
        (gzip.compress(gzip.compress(zeros)), "x.gz.gz"),
    ):
        with pytest.raises(TableError, match=r"too large for a table of genes.*pass a DataFrame"):
            read(tmp_path, content, name)
    monkeypatch.setattr(files, "LARGEST", 100)
    with pytest.raises(TableError, match="too large"):
        read(tmp_path, CSV * 3)


# -- kinds -------------------------------------------------------------------------------------------------------------


def test_kinds_are_told_by_content(tmp_path):
    import anndata
    import h5py

    anndata.AnnData(np.ones((2, 2))).write_h5ad(tmp_path / "named.csv")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["counts"] = [1]
    book = workbook([("Sheet", [HEADER, *ROWS])])
    for content, kind in (
        (CSV, "text"),
        (gzip.compress(CSV.encode()), "text"),
        (book, "excel"),
        (zipped(**{"a.csv": CSV.encode()}), "zip"),
        (b"X\n\x00\x00\x00\x03", "r"),
        (gzip.compress(b"X\n\x00\x00\x00\x02"), "r"),
        (bz2.compress(b"RDX3\nX\n"), "r"),
        (lzma.compress(b"RDX2\nX\n"), "r"),
        (b"A\n3\n262658\n", "r"),
    ):
        assert files.kind_of(write(tmp_path, content, "any.bin")) == kind
    assert files.kind_of(tmp_path / "named.csv") == "h5ad"
    with pytest.raises(TableError, match="holds counts, and no AnnData"):
        files.kind_of(tmp_path / "other.h5")


# -- workbooks ---------------------------------------------------------------------------------------------------------


def workbook(pages, change=None) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in pages:
        page = book.create_sheet(title)
        for row in rows:
            page.append(row)
    if change:
        change(book)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


NUMBERS = [["TP53", 1.5, 0.01], ["MYC", -2, 1e-300], ["NA", 1 / 3, None]]


def test_a_workbook(tmp_path):
    table = read(tmp_path, workbook([("Results", [HEADER, *NUMBERS])]), "table.xlsx")
    assert table.header == HEADER
    assert rows_of(table) == [["TP53", "1.5", "0.01"], ["MYC", "-2", "1e-300"], ["NA", "0.3333333333333333", ""]]
    assert (table.about["sheet"], table.notes) == ("Results", [])


LAID_OUT = {
    "a title": [["Table S1. Genes that differ"], [], HEADER, *NUMBERS],
    "merged groups above": [[None, "Tumour", None], HEADER, *NUMBERS],
    "not in the corner": [[], [], *([None, None, *row] for row in [HEADER, *NUMBERS])],
    "footers": [HEADER, *NUMBERS, [], ["* p < 0.05 after adjustment"]],
    "blank rows": [HEADER, [], *NUMBERS, [], [" "]],
}


@pytest.mark.parametrize("quirk", LAID_OUT)
def test_workbooks_are_laid_out_for_people(quirk, tmp_path):
    table = read(tmp_path, workbook([("Results", LAID_OUT[quirk])]), "table.xlsx")
    assert (table.header, table.columns[0]) == (HEADER, ["TP53", "MYC", "NA"])
    assert (table.rows_lost, table.notes) == (0, [])


def test_cells_of_a_workbook(tmp_path):
    day = datetime.datetime(2024, 3, 1)
    rows = [
        ["gene", "logFC", "P.Value", "when", "known"],
        [day, 1.5, 0.01, day, True],
        [day, 1.6, 0.02, day, False],
        ["=1+1", 1.7, "#N/A", day, True],
        [44811, 1e20, "0.5", day, None],
        ["01005", 1, 0.5, datetime.datetime(2024, 3, 1, 12, 30), None],
    ]

    def change(book):
        page = book.active
        page["A2"].number_format, page["A3"].number_format = "d-mmm", "mmm-yy"
        page["A4"].data_type = "s"

    table = read(tmp_path, workbook([("S", rows)], change), "t.xlsx")
    assert table.columns[0] == ["1-Mar", "Mar-24", "=1+1", "44811", "01005"]
    assert table.columns[1] == ["1.5", "1.6", "1.7", "1e+20", "1"]
    assert table.columns[2] == ["0.01", "0.02", "#N/A", "0.5", "0.5"]
    assert table.columns[3] == [*["2024-03-01"] * 4, "2024-03-01 12:30:00"]
    assert table.columns[4] == ["TRUE", "FALSE", "TRUE", "", ""]
    assert table.notes == ["2 cells among text are dates (1-Mar, Mar-24): genes that Excel has changed?"]


def test_sheets(tmp_path):
    def hide(book):
        book["Old"].sheet_state = "hidden"
        chart = openpyxl.chart.BarChart()
        chart.add_data(openpyxl.chart.Reference(book["Up"], min_col=2, min_row=1, max_row=3))
        book.create_chartsheet("Figure").add_chart(chart)

    pages = [
        ("Legend", [["This workbook holds"]]),
        ("Up", [HEADER, *NUMBERS]),
        ("Empty", []),
        ("Old", [HEADER, *NUMBERS]),
    ]
    path = write(tmp_path, workbook(pages, hide), "t.xlsx")
    found = tables.read_tables(path)
    assert list(found) == ["Up"]
    about = found["Up"].about
    assert (about["sheets"], about["hidden"]) == (["Legend", "Up", "Empty"], ["Old"])
    assert ["'Legend'" in about["not_read"][0], "'Empty'" in about["not_read"][1]] == [True, True]
    assert list(tables.read_tables(path, sheet="Old")) == ["Old"]
    with pytest.raises(ColumnNotFoundError, match=r"no sheet 'up'.*Did you mean 'Up'"):
        tables.read_tables(path, sheet="up")
    with pytest.raises(TableError, match="has no sheets"):
        tables.read_tables(write(tmp_path, CSV), sheet="Up")


def test_tables_below_each_other(tmp_path):
    rows = [HEADER, *NUMBERS, [], ["probe", "mean", "sd"], ["a", 1, 2], ["b", 2, 3]]
    table = read(tmp_path, workbook([("S", rows)]), "t.xlsx")
    assert table.columns[0] == ["TP53", "MYC", "NA"]
    assert table.notes == ["another table begins below, at line 6 (probe, mean, sd); it was left out with its 2 rows"]


def test_formulas_without_values_are_counted(tmp_path):
    rows = [HEADER, ["TP53", 1.5, "=0.1/10"], ["MYC", 2, 0.5]]
    table = read(tmp_path, workbook([("S", rows)]), "t.xlsx")
    assert table.columns[2] == ["", "0.5"]
    assert table.notes[0].startswith("1 formulas have no stored value")


def test_workbooks_that_cannot_be_read(tmp_path):
    book = workbook([("S", [HEADER, *NUMBERS])])

    def with_member(name, content):
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(book)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
            for member in old.namelist():
                new.writestr(member, content if member == name else old.read(member))
        return stream.getvalue()

    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><worksheet/>'
    for content, message in (
        (book[:-100], "damaged"),
        (with_member("xl/workbook.xml", b"<broken"), "no workbook that can be read"),
        (with_member("xl/worksheets/sheet1.xml", b"<worksheet><sheetData><row><c"), "no workbook that can be read"),
        (with_member("xl/worksheets/sheet1.xml", bomb), "declares entities"),
        (workbook([("S", [])]), "empty"),
        (workbook([("S", [HEADER])]), "no rows|no table"),
    ):
        with pytest.raises(TableError, match=message):
            read(tmp_path, content, "t.xlsx")


def test_a_cell_at_the_end_of_the_sheet_is_bounded(tmp_path):
    def far(book):
        book.active["XFD1048576"] = "x"

    table = read(tmp_path, workbook([("S", [HEADER, *NUMBERS, *NUMBERS])], far), "t.xlsx")
    assert table.columns[0] == ["TP53", "MYC", "NA"] * 2
    assert table.rows_lost == 1
