"""Tables for others: whole, in every format, and harmless where a spreadsheet opens them."""

from __future__ import annotations

import csv
import zipfile

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import geneml_bio as gb
from geneml_bio.bridge import export, formulas, sheets
from geneml_bio.core.errors import InputError, TableError

HOSTILE = [
    *("NA", "nan", "NULL", "TRUE", "1E5", "01005", "MARCH1", "1-Mar", "SEPT2", "44811", "a,b", 'a"b', "a;b", "it's", "2-Sep"),
    *("=1+1", "+1-1x", "-2+3", "@SUM(A1)", "=cmd|' /C calc'!A0", "'=1", "''+x", " =1+1", "＝1+1", "'quoted", "-", "é μ 漢"),
]  # fmt: skip


def table(ids=HOSTILE, kind="t", **annotation) -> gb.DETable:
    rng = np.random.default_rng(0)
    n = len(ids)
    frame = pd.DataFrame(
        {
            "logFC": rng.normal(size=n),
            "AveExpr": rng.normal(7, 1, n),
            "t": rng.normal(size=n) * 1e3,
            "P.Value": 10.0 ** rng.uniform(-300, 0, n),
            "adj.P.Val": rng.uniform(size=n),
            "B": rng.normal(size=n),
        },
        index=pd.Index(ids, dtype=str),
    )
    frame.iloc[0, 2:] = np.nan
    for name, values in annotation.items():
        frame[name] = values
    return gb.DETable(frame, kind=kind, contrast="b - a")


# -- formulas ----------------------------------------------------------------------------------------------------------


@given(st.text(alphabet=st.sampled_from("'=+-@\t\r\n aA1.,＝") | st.characters(), max_size=8))
def test_the_apostrophe_comes_off_again(text):
    calm = formulas.calmed(text)
    assert not formulas.runs(calm) or calm.startswith("'")
    assert formulas.uncalmed(calm) == text


@pytest.mark.parametrize(
    ("text", "dangerous"),
    [
        *((text, True) for text in ("=1", "+1+1", "-1+1", "@A1", "\t=1", "\rx", "\nx", " =1", "-cmd|x", "＝1", "'=1")),
        *((text, False) for text in ("-1.5", "+3", "-2e-5", "-", "---", "TP53", "it's", "", "1-Mar", "-1,5", "a=b")),
    ],
)
def test_what_a_spreadsheet_would_run(text, dangerous):
    assert formulas.runs(text) is dangerous
    assert formulas.calmed(text) == (f"'{text}" if dangerous else text)


@pytest.mark.parametrize(("to", "separator"), [("csv", ","), ("tsv", "\t")])
def test_text_files_hold_every_digit_and_no_formula(tmp_path, to, separator):
    de = table(note=[*["=HYPERLINK()"] * 3, None, *["-1.5"] * (len(HOSTILE) - 4)], **{"=header": "x"})
    path = export.write(de, tmp_path / f"x.{to}")
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file, delimiter=separator))
    assert header == ["", "logFC", "AveExpr", "t", "P.Value", "adj.P.Val", "B", "note", "'=header"]
    assert [formulas.uncalmed(row[0]) for row in rows] == HOSTILE
    assert not any(formulas.runs(cell) and not cell.startswith("'") for row in [header, *rows] for cell in row)
    for i, name in enumerate(("logFC", "AveExpr", "t", "P.Value", "adj.P.Val", "B"), start=1):
        got = [np.nan if row[i] == "NA" else float(row[i]) for row in rows]
        np.testing.assert_array_equal(got, de.frame[name])
    assert [row[7] for row in rows][2:6] == ["'=HYPERLINK()", "", "-1.5", "-1.5"]


# -- workbooks ---------------------------------------------------------------------------------------------------------


def test_a_workbook_holds_ids_as_text_and_numbers_as_numbers(tmp_path):
    import openpyxl

    de = table(symbol=[f"=S{i}" for i in range(len(HOSTILE))])
    path = export.write(de, tmp_path / "x.xlsx")
    sheet = openpyxl.load_workbook(path)["toptable"]
    rows = list(sheet.iter_rows())
    assert [cell.value for cell in rows[0]][1:] == [*de.frame.columns]
    assert all(cell.font.b for cell in rows[0])
    assert sheet.freeze_panes == "B2"
    assert sheet.auto_filter.ref == f"A1:H{len(HOSTILE) + 1}"
    assert 8 <= sheet.column_dimensions["A"].width <= 42
    for row, name in zip(rows[1:], HOSTILE, strict=True):
        assert row[0].data_type == "s"
        assert row[0].number_format == "@"
        assert row[0].value == name
        assert row[7].data_type == "s"
        for cell, value in zip(row[1:7], de.frame.loc[name].iloc[:6], strict=True):
            assert cell.value is None if np.isnan(value) else cell.value == value
    assert rows[1][0].quotePrefix is False
    assert rows[1 + HOSTILE.index("=1+1")][0].quotePrefix is True
    assert rows[2][4].number_format == "0.00E+00"
    with zipfile.ZipFile(path) as book:
        text = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in text


def test_what_excel_cannot_hold_is_refused(tmp_path, monkeypatch):
    with pytest.raises(TableError, match="control characters"):
        export.write(table(["a\x00b", "c"]), tmp_path / "x.xlsx")
    with pytest.raises(TableError, match="32,767"):
        export.write(table(["a" * 40_000, "c"]), tmp_path / "x.xlsx")
    monkeypatch.setattr(sheets, "_MAX_ROWS", 1)
    with pytest.raises(TableError, match="write csv or parquet"):
        export.write(table(["a", "c"]), tmp_path / "x.xlsx")
    assert not list(tmp_path.iterdir())  # nothing half-written stays


# -- parquet and h5ad --------------------------------------------------------------------------------------------------


def test_parquet_holds_everything(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    de = table(mixed=[1, "x", None, *["y"] * (len(HOSTILE) - 3)])
    frame = pd.read_parquet(export.write(de, tmp_path / "x.parquet"))
    assert list(frame["id"]) == HOSTILE
    pd.testing.assert_frame_equal(frame.iloc[:, 1:7], de.frame.iloc[:, :6].reset_index(drop=True), check_exact=True)
    assert list(frame["mixed"].iloc[:2]) == ["1", "x"]


def test_without_pyarrow_the_mend_is_named(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pyarrow":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="pip install"):
        export.write(table(), tmp_path / "x.parquet")


@pytest.mark.parametrize("kind", ["t", "F"])
def test_an_h5ad_is_read_by_get_and_by_scanpy(tmp_path, kind):
    de = table(**{"symbol/alias": "x", "_index": "y"}, kind=kind)
    adata = ad.read_h5ad(export.write(de, tmp_path / "x.h5ad"))
    assert adata.shape == (0, len(HOSTILE))
    got = gb.get.de(adata).loc[HOSTILE]
    pd.testing.assert_frame_equal(
        got[list(de.frame.columns[:6])], de.frame.iloc[:, :6], check_names=False, check_exact=True
    )
    assert list(adata.var["symbol|alias"]) == ["x"] * len(HOSTILE)
    if kind == "t":
        sc = pytest.importorskip("scanpy", reason="scanpy is not installed")
        frame = sc.get.rank_genes_groups_df(adata, None).set_index("names").loc[HOSTILE]
        np.testing.assert_array_equal(frame["logfoldchanges"], de.frame["logFC"])


# -- where to ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("mine")
    with pytest.raises(InputError, match="force=True"):
        export.write(table(), path)
    assert path.read_text() == "mine"
    export.write(table(), path, force=True)
    assert path.read_text().startswith(",logFC")
    assert [p.name for p in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize(
    ("path", "how", "says"),
    [
        ("x.ods", {}, "'ods' is no format"),
        ("x", {}, "no format"),
        ("x.txt", {"to": "cvs"}, "Did you mean 'csv'"),
        ("nowhere/x.csv", {}, "no folder"),
        (".", {"to": "csv"}, "folder"),
        ("x.h5ad", {"dialect": "scanpy"}, "h5ad"),
    ],
)
def test_what_cannot_be_written_is_said(tmp_path, path, how, says):
    with pytest.raises(InputError, match=says):
        export.write(table(), tmp_path / path, **how)
    assert not list(tmp_path.iterdir())
