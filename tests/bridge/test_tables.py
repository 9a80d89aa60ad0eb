"""Files as people save them -> header and cells, or a refusal that says why. Each quirk is one small case."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
from pathlib import Path

import numpy as np
import pytest

from geneml_bio.bridge import tables

HEADER = ["gene", "logFC", "P.Value"]
ROWS = [["TP53", "1.5", "0.01"], ["MYC", "-2", "1e-5"], ["NA", "0.1", "0.9"]]
CSV = "gene,logFC,P.Value\nTP53,1.5,0.01\nMYC,-2,1e-5\nNA,0.1,0.9\n"


def write(folder: Path, content: bytes | str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows_of(table: tables.TextTable) -> list[list[str]]:
    return [list(row) for row in zip(*table.columns, strict=True)]


def read(folder: Path, content: bytes | str, name: str = "table.csv") -> tables.TextTable:
    return tables.read_table(write(folder, content, name))


# -- what is read as the plain table -----------------------------------------------------------------------------------

SAME = {
    "csv": CSV,
    "no newline at the end": CSV.rstrip("\n"),
    "tab": CSV.replace(",", "\t"),
    "semicolon": CSV.replace(",", ";"),
    "pipe": CSV.replace(",", "|"),
    "one space": CSV.replace(",", " "),
    "aligned by spaces": "  gene logFC P.Value\n  TP53   1.5    0.01\n   MYC    -2    1e-5  \n    NA   0.1     0.9\n",
    "quoted": '"gene","logFC","P.Value"\n"TP53",1.5,0.01\n"MYC",-2,1e-5\n"NA",0.1,0.9\n',
    "everything quoted": '"gene","logFC","P.Value"\n"TP53","1.5","0.01"\n"MYC","-2","1e-5"\n"NA","0.1","0.9"\n',
    "quoted, spaces": '"gene" "logFC" "P.Value"\n"TP53" 1.5 0.01\n"MYC" -2 1e-5\n"NA" 0.1 0.9\n',
    "crlf": CSV.replace("\n", "\r\n"),
    "cr only": CSV.replace("\n", "\r"),
    "crlf and lf": CSV.replace("\n", "\r\n", 2),
    "line ends doubled by a transfer": CSV.replace("\n", "\r\r\n"),
    "utf-8 mark": "\ufeff" + CSV,
    "two utf-8 marks": "\ufeff\ufeff" + CSV,
    "utf-16 with mark": CSV.encode("utf-16"),
    "utf-16-le without mark": CSV.encode("utf-16-le"),
    "utf-16-be without mark": CSV.encode("utf-16-be"),
    "utf-16-be with mark": b"\xfe\xff" + CSV.encode("utf-16-be"),
    "utf-32 with mark": CSV.encode("utf-32"),
    "utf-32-le without mark": CSV.encode("utf-32-le"),
    "Excel's sep line": "sep=;\r\n" + CSV.replace(",", ";"),
    "Excel's sep line, quoted": '"sep=,"\n' + CSV,
    "blank lines": "\n\n" + CSV.replace("\n", "\n\n") + "\n \n,,\n",
    "comments above": "# limma 3.54\n# contrast: a, b, c\n" + CSV,
    "comments with quotes": '# the "so called" table, it\'s "x\n#\n' + CSV,
    "quoted comment": '"# made by us, for you"\n' + CSV,
    "comments of GEO": '!Series_title\t"a"\t"b"\n!series_matrix_table_begin\n'
    + CSV.replace(",", "\t")
    + "!series_matrix_table_end\n",
    "comments of MATLAB": "% a\n%\n" + CSV,
    "comments inside and after": CSV.replace("MYC", "# half, way\nMYC") + "# end\n#\n",
    "comment spread over cells": "#a,,\n" + CSV.replace("MYC", "#b,,\nMYC") + "#c,,\n",
    "header begins with a mark": "#" + CSV,
    "header begins with a mark and a space": "## made by us\n# " + CSV,
    "a title": "Table S1. Genes that differ\n" + CSV,
    "a title and a blank line": "Table S1. Genes that differ\n\n" + CSV,
    "a title with a comma": "Table S1. Genes that differ, ranked\n\n" + CSV,
    "a title spread over cells": "Table S1. Genes that differ,,\n,,\n" + CSV,
    "merged cells above": ",Tumour against normal,\n" + CSV,
    "separators at line ends": CSV.replace("\n", ",\n"),
    "separators at line ends of rows": CSV.replace("\n", ",\n").replace("P.Value,", "P.Value", 1),
    "separators at the end of the header": CSV.replace("P.Value", "P.Value,", 1),
    "many blank columns": CSV.replace("\n", ",,,,\n"),
    "footers": CSV + "* p < 0.05 after adjustment\nSource: our laboratory\n",
    "footers with separators": CSV + "* p < 0.05, adjusted by BH\nSource: us, and them, of course, and others\n",
    "footers spread over cells": CSV + ",,\n* p < 0.05 after adjustment,,\n",
    "blank rows of separators": CSV + ",,\n,,\n,,\n",
    "gzip": gzip.compress(CSV.encode()),
    "gzip in members": gzip.compress(CSV[:30].encode()) + gzip.compress(CSV[30:].encode()),
    "bz2": bz2.compress(CSV.encode()),
    "xz": lzma.compress(CSV.encode()),
    "gzip of gzip": gzip.compress(gzip.compress(CSV.encode())),
    "gzip of xz": gzip.compress(lzma.compress(CSV.encode())),
    "gzip of utf-16": gzip.compress(CSV.encode("utf-16")),
}  # fmt: skip


@pytest.mark.parametrize("quirk", SAME)
def test_the_same_table_comes_out_however_it_was_saved(quirk, tmp_path):
    table = read(tmp_path, SAME[quirk])
    assert (table.header, rows_of(table)) == (HEADER, ROWS)
    assert (table.rows_read, table.rows_lost, table.notes) == (3, 0, [])
    assert not table.about["shifted"]


@pytest.mark.parametrize("separator", list("\t,;| "))
@pytest.mark.parametrize("quote", ["", '"'])
def test_the_header_of_write_table_is_shifted(separator, quote, tmp_path):
    header = separator.join(f"{quote}{name}{quote}" for name in ("logFC", "P.Value"))
    rows = [separator.join([f"{quote}{gene}{quote}", lfc, p]) for gene, lfc, p in ROWS]
    for n in (1, 3):
        table = read(tmp_path, "\n".join([header, *rows[:n]]) + "\n")
        assert (table.header, rows_of(table)) == (["", "logFC", "P.Value"], ROWS[:n])
        assert table.about["shifted"]
        assert table.about["separator"] == separator


def test_shifted_with_a_blank_last_column_and_with_separators_at_line_ends(tmp_path):
    table = read(tmp_path, "logFC\tP.Value\ttitle\nTP53\t1.5\t0.01\t\nMYC\t-2\t1e-5\t\n")
    assert table.header == ["", "logFC", "P.Value", "title"]
    table = read(tmp_path, "logFC,P.Value,\nTP53,1.5,0.01,\nMYC,-2,1e-5,\n")
    assert (table.header, rows_of(table)) == (["", "logFC", "P.Value"], ROWS[:2])


# -- cells -------------------------------------------------------------------------------------------------------------

CELLS = {
    "doubled quotes": ('"a ""b"" c"', 'a "b" c'),
    "only a quote": ('""""', '"'),
    "a separator": ('"a,b"', "a,b"),
    "a newline": ('"a\nb"', "a\nb"),
    "crlf in a cell": ('"a\r\nb"', "a\r\nb"),
    "several newlines": ('"a\n\nb, c\nd"', "a\n\nb, c\nd"),
    "R's escaped quote": (r'"3\" UTR"', '3" UTR'),
    "R's escaped quote before a separator": (r'"3\", 5\" UTR"', '3", 5" UTR'),
    "R's escaped quote at the end": (r'"so called \"x\""', 'so called "x"'),
    "a backslash at the end": ('"a\\"', "a\\"),
    "a backslash inside": ('"a\\b"', "a\\b"),
    "a quote inside": ('3" UTR', '3" UTR'),
    "a quote inside quotes": ('"3" UTR"', '3" UTR'),
    "a quote that never ends": ('"3 UTR', '"3 UTR'),
    "an apostrophe": ("5' UTR", "5' UTR"),
    "two apostrophes": ("'a'", "'a'"),
    "spaces around": (" a ", " a "),
    "blank": ("", ""),
    "a formula": ("=1+1", "=1+1"),
    "an exponent": ("1E5", "1E5"),
    "a zero before": ("01005", "01005"),
    "a comment mark": ("#1", "#1"),
    "a separator of lines in Unicode": ("a\u2028b\x0bc\x85d", "a\u2028b\x0bc\x85d"),
    "long": ("x" * 300_000, "x" * 300_000),
}


@pytest.mark.parametrize("quirk", CELLS)
@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("row", [0, 20])
def test_cells_are_kept_exactly(quirk, place, row, tmp_path):
    written, expected = CELLS[quirk]
    lines = [[f"G{k}", "0.5", f"title {k}"] for k in range(30)]
    lines[row][place] = written
    table = read(tmp_path, "\n".join(",".join(line) for line in [["gene", "logFC", "title"], *lines]).encode())
    lines[row][place] = expected
    assert rows_of(table) == lines
    assert (table.header, table.rows_lost) == (["gene", "logFC", "title"], 0)


def test_two_stray_quotes_do_not_swallow_what_lies_between(tmp_path):
    lines = [[f"G{k}", f"title {k}", "0.5"] for k in range(3000)]
    lines[1000][1], lines[2000][1] = '"open', 'close"'
    table = read(tmp_path, "\n".join("\t".join(line) for line in [["gene", "title", "logFC"], *lines]))
    assert rows_of(table) == lines


def test_cells_over_lines_in_the_first_and_the_last_column(tmp_path):
    table = read(tmp_path, 'gene,logFC,note\n"a\nb",1,"c\nd"\nG2,2,x\n"e\nf",3,g\n* a "footer" of ours, "so" to say\n')
    assert rows_of(table) == [["a\nb", "1", "c\nd"], ["G2", "2", "x"], ["e\nf", "3", "g"]]


def test_decimal_commas_do_not_pass_for_separators(tmp_path):
    text = "t;gene;logFC\n1e-05;A;1e-05\n-0,0022;B;NA\n-14,43;C;-7,22e-08\n566,6;D;-1,21e-05\n0,5;E;0,5\n"
    table = read(tmp_path, text)
    assert (table.header, table.columns[1]) == (["t", "gene", "logFC"], list("ABCDE"))


def test_rows_that_quotes_would_hide_are_found(tmp_path):
    text = 'logFC t title\n"]* 1e-05 1e-05 21_"\n_^A"C 18.5 0.5 A3\nG3 1.5 2.5 x\n'
    assert read(tmp_path, text).columns[0] == ['"]*', '_^A"C', "G3"]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_parts_of_a_cell_over_lines_are_no_rows_where_decimal_commas_make_as_many_fields(tmp_path, end):
    rows = [["1,5", "-3,4", "a\nb", "-1,5", "0,5"], ["G2", "2,5", "c", "2,0", "1,0"]]
    text = [["gene", "logFC", "title", "t", "P.Value"], *rows]
    table = read(tmp_path, "".join(",".join(f'"{cell}"' for cell in row) + end for row in text).encode())
    assert rows_of(table) == rows
    # a row whose quotes are not sound has the file read line by line
    broken = [*text, ["G3", 'a 5" x', "d", "1", "1"]]
    table = read(tmp_path, "".join(",".join(f'"{cell}"' for cell in row) + end for row in broken).encode())
    assert rows_of(table)[:2] == rows


@pytest.mark.parametrize(
    ("encoding", "found"), [("cp1252", "cp1252"), ("latin-1", "cp1252"), ("utf-8", "utf-8"), ("utf-16", "utf-16")]
)
def test_letters_beyond_ascii(encoding, found, tmp_path):
    table = read(tmp_path, CSV.replace("TP53", "ÅNGSTRÖM-β".replace("β", "µ")).encode(encoding))
    assert table.columns[0][0] == "ÅNGSTRÖM-µ"
    assert table.about["encoding"] == found


def test_letters_of_an_old_mac(tmp_path):
    table = read(tmp_path, CSV.replace("TP53", "Ångström").replace("\n", "\r").encode("mac-roman"))
    assert table.columns[0][0] == "Ångström"


# -- what is left out is said ------------------------------------------------------------------------------------------

GENES = "".join(f"G{k},0.{k},0.5,word\n" for k in range(1, 10))
ODD = {
    "a field too many": ("X,1,0.5,a,b\n", 1, "1 rows do not have 4 fields and were left out (lines 11)"),
    "a number too few": ("X,1,word\n", 1, "1 rows do not have 4 fields and were left out (lines 11)"),
    "cut short": ("X,1", 1, "1 rows do not have 4 fields and were left out (lines 11)"),
    "a word too few": ("X,1,0.5\n", 0, "1 rows end early, where other rows have words; what lacks is empty (lines 11)"),
    "the header again": ("gene,logFC,P.Value,note\nX,1,0.5,a\n", 0, "the header is repeated inside the table (lines 11)"),
    "another table": (
        "\nprobe,sample,value,other\nX,1,0.5,a\nY,1,0.5,a\n", 0, "another table begins below, at line 12 (probe, sample, value, other); "
        "it was left out with its 2 rows"),
}  # fmt: skip


@pytest.mark.parametrize("quirk", ODD)
def test_rows_that_do_not_fit_are_counted(quirk, tmp_path):
    more, lost, note = ODD[quirk]
    table = read(tmp_path, "gene,logFC,P.Value,note\n" + GENES + more)
    assert table.columns[0][:9] == [f"G{k}" for k in range(1, 10)]
    assert table.rows_lost == lost
    assert table.rows_read == len(table.columns[0]) + lost
    assert any(said.startswith(note) for said in table.notes), table.notes


def test_units_under_the_header_are_no_row(tmp_path):
    table = read(tmp_path, "gene,logFC,AveExpr\n-,log2,log2 counts\nTP53,1.5,7\nMYC,2,8\n")
    assert (table.header, table.columns[0]) == (["gene", "logFC", "AveExpr"], ["TP53", "MYC"])
    assert "log2 counts" in table.notes[0]


def test_a_row_of_missing_values_under_the_header_is_a_row(tmp_path):
    table = read(tmp_path, "gene,logFC,P.Value\nTP53,NA,NA\nMYC,2,0.1\nABL1,,\n")
    assert table.columns == [["TP53", "MYC", "ABL1"], ["NA", "2", ""], ["NA", "0.1", ""]]
    assert not table.notes


def test_names_of_groups_above_the_header_are_handed_on(tmp_path):
    table = read(tmp_path, ",A vs B,,C vs D,\ngene,logFC,P,logFC,P\nTP53,1,0.1,2,0.2\n")
    assert table.header == ["gene", "logFC", "P", "logFC", "P"]
    assert table.about["above"] == [["", "A vs B", "", "C vs D", ""]]


def test_comments_are_handed_on(tmp_path):
    table = read(tmp_path, "# contrast: B - A\n" + CSV + "* adjusted by BH\n")
    assert table.about["comments"] == ["# contrast: B - A", "* adjusted by BH"]


def test_unnamed_columns(tmp_path):
    table = read(tmp_path, "logFC,P.Value,\n1,0.1,TP53\n2,0.2,MYC\n")
    assert table.header == ["logFC", "P.Value", ""]
    table = read(tmp_path, ",logFC,,P.Value\nTP53,1,x,0.1\nMYC,2,y,0.2\n")
    assert table.header == ["", "logFC", "...3", "P.Value"]


def test_a_thousand_comment_lines(tmp_path):
    table = read(tmp_path, "".join(f"# line {k}, with, words\n" for k in range(1000)) + CSV)
    assert (table.header, rows_of(table)) == (HEADER, ROWS)


# -- numbers -----------------------------------------------------------------------------------------------------------

NAN = float("nan")
AS_NUMBERS = [
    ("1.5", ".", 1.5), ("-1.5e-300", ".", -1.5e-300), ("1e-320", ".", 1e-320), ("+2", ".", 2.0), (".5", ".", 0.5),
    ("5.", ".", 5.0), (" 1.5 ", ".", 1.5), ("0.1000000000000000055511151231257827", ".", 0.1), ("1.0E-05", ".", 1e-5),
    ("1,5", ",", 1.5), ("1,00E-05", ",", 1e-5), ("1.0E-05", ",", 1e-5), ("0.5", ",", 0.5), ("7", ",", 7.0),
    ("\u22121.5", ".", -1.5), ("\u20131.5", ".", -1.5), ("1.5e\u22125", ".", 1.5e-5), ("1.5\u00a0", ".", 1.5),
    ("1,234.5", ".", 1234.5), ("1,234,567", ".", 1234567.0), ("1.234,5", ",", 1234.5), ("1\u202f234,5", ",", 1234.5),
    ("1'234.5", ".", 1234.5), ("1.2D-05", ".", 1.2e-5), ("1,2d-05", ",", 1.2e-5),
    ("Inf", ".", np.inf), ("-Inf", ".", -np.inf), ("inf", ".", np.inf), ("1.#INF", ".", np.inf), ("-\u221e", ".", -np.inf),
    *((cell, ".", NAN) for cell in ("", " ", "NA", "NaN", "nan", "#N/A", "#DIV/0!", "NULL", "-", "---", ".", "1.#IND")),
]  # fmt: skip
STRANGE = [
    ("1,234", "."), ("1.234", ","), ("-12.345", ","), ("0,5", "."), ("< 0.001", "."), ("<2e-16", "."), ("5%", "."),
    ("TRUE", "."), ("1_000", "."), ("0x10", "."), ("\u0661", "."), ("1 2", "."), ("1e", "."), ("ns", "."), ("1,2,3", "."),
    ("1.2.3", ","), ("12,34.5", "."), ("1-Mar", "."), ("9" * 500, ","),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "decimal", "value"), AS_NUMBERS)
def test_numbers(cell, decimal, value):
    for company in ([], ["NA"], ["word"]):  # the fast way and the careful one
        found, strange = tables.numbers([cell, *company], decimal)
        np.testing.assert_array_equal(found[:1], [value])
        assert strange == (["word"] if company == ["word"] else [])


@pytest.mark.parametrize(("cell", "decimal"), STRANGE)
def test_what_may_be_two_numbers_is_none(cell, decimal):
    for company in ([], ["NA"]):
        found, strange = tables.numbers([cell, *company], decimal)
        assert np.isnan(found[0])
        assert strange == [cell]


@pytest.mark.parametrize(
    ("columns", "mark"),
    [
        ([["0.5", "1e-5"]], "."),
        ([["0,5", "1,00E-05"]], ","),
        ([["1,234", "2,345"], ["0,5", "-1,1"]], ","),
        ([["1,234", "12,345"], ["0.5", "-1.1"]], "."),
        ([["1,234.5", "12"]], "."),
        ([["1.234,5", "12"]], ","),
        ([["7", "8"]], "."),
        ([[]], "."),
    ],
)
def test_the_decimal_mark(columns, mark):
    assert tables.find_decimal(columns) == mark


def test_every_double_is_read_exactly():
    bits = np.random.default_rng(0).integers(0, 2**63, 20_000)
    values = [v for v in (struct.unpack("<d", struct.pack("<q", int(b)))[0] for b in bits) if np.isfinite(v)]
    for decimal in ".,":
        found, strange = tables.numbers([repr(value).replace(".", decimal) for value in values], decimal)
        assert not strange
        np.testing.assert_array_equal(found, values)


def test_layout_names_what_matrices_need():
    layout = tables.find_layout("# x\n" + CSV, "utf-8", "x")
    assert (layout.separator, layout.skip, layout.shifted, layout.quoted) == (",", 1, False, True)
    layout = tables.find_layout("1\t2\t3\ng1\t0.5\t1\t2\ng2\t0.5\t1\t2\n", "utf-8", "x")
    assert layout.shifted


def test_the_torture_tables_come_apart():
    folder = Path(__file__).parents[1] / "data" / "torture"
    for entry in json.loads((folder / "manifest.json").read_text(encoding="utf-8")):
        if entry.get("columns"):
            table = tables.read_table(folder / entry["file"])
            assert len(table) == entry["n_rows"], entry["file"]
            assert (table.rows_lost, table.notes) == (0, [])
            twice = [name.removesuffix(".1") if "22" in entry["file"] else name for name in entry["columns"]]
            assert table.header == twice
