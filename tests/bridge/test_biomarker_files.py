"""The biomarker table for others: whole in every format that is data, harmless in every format that is looked at."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb
from geneml_bio.bridge import formulas
from geneml_bio.bridge.printed import latex_escaped
from geneml_bio.core.biomarker_columns import CLASSES, COLUMNS, typed
from geneml_bio.core.biomarkers import biomarker_table
from geneml_bio.core.errors import ColumnNotFoundError, InputError

HOSTILE = [
    *("=1+1", "<script>alert(1)</script>", "\\input{/etc/passwd}", "50%", "a_b", "R&D", 'q"uote', "it's", "{{ 7*7 }}", "{% raw %}"),
    *("line\nbreak", "tab\there", "MARCH1", "1-Mar", "NA", "nan", "01005", "@SUM(A1)", "[x]", "*star", "$x^2$", "~#|", "é μ", "--x"),
    *("\\\\", "</td></tr>", "<img src=x onerror=alert(1)>", "]]>", "' onmouseover='x", "a,b"),
]  # fmt: skip


def made(ids=HOSTILE) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    n = len(ids)
    genes = pd.Index(ids, dtype=str)
    p = np.sort(10.0 ** rng.uniform(-12, 0, n))
    de = {"logFC": rng.normal(size=n), "CI.L": -3.0, "CI.R": 3.0, "AveExpr": 7.0, "t": rng.normal(size=n)}
    de |= {"P.Value": p, "adj.P.Val": np.minimum(1, p * 3), "B": 1 / 3}
    shap = {
        "shap": np.where(np.arange(n) % 3, 0, np.linspace(1, 0.1, n)),
        "direction": rng.choice([-1, 1], n),
        "n_models": 2.0,
    }
    shap = pd.DataFrame(shap, index=genes)
    shap["shap_rank"] = shap["shap"].rank(ascending=False).where(shap["shap"] > 0)
    pairs = pd.DataFrame({"gene": [ids[0], ids[3]], "stand_in": [ids[1], ids[4]], "correlation": [0.9, -0.8]})
    table = biomarker_table(
        genes, de=pd.DataFrame(de, index=genes), shap=shap, frequency=pd.Series(rng.uniform(size=n), index=genes), partners=pairs,
        names=pd.DataFrame({"symbol": ids, "name": [f"what {name} is" for name in ids]}, index=genes),
        group=pd.Series(["G1", "", *[""] * (n - 2)], index=genes),
    )  # fmt: skip
    table.attrs["settings"] = {
        "alpha": 0.05,
        "contrast": "<b>a</b> - \\b",
        "verdict": "=1+1",
        "max_q": None,
        "n_used": 100,
    }
    return table


# -- data --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("to", "separator"), [("csv", ","), ("tsv", "\t")])
def test_text_holds_every_digit_and_no_formula(tmp_path, to, separator):
    table = made()
    path = gb.export(table, tmp_path / f"x.{to}")
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = list(csv.reader(file, delimiter=separator))
    assert head == ["id", *table.columns]
    assert [formulas.uncalmed(row[0]) for row in rows] == list(table.index)
    assert not any(formulas.runs(cell) and not cell.startswith("'") for row in rows for cell in row)
    for i, name in enumerate(head[1:], start=1):
        column = [row[i] for row in rows]
        if pd.api.types.is_numeric_dtype(table[name]):
            np.testing.assert_array_equal(
                [np.nan if v == "NA" else float(v) for v in column], table[name].astype(float)
            )
        else:
            assert [formulas.uncalmed(v) for v in column] == list(table[name])
    assert {row[head.index("rank")] for row in rows} == {str(i + 1) for i in range(len(rows))}


def test_a_csv_is_a_de_table_too(tmp_path):
    table = made([f"gene{i}" for i in range(30)])
    de = gb.read.toptable(gb.export(table, tmp_path / "x.csv"))
    np.testing.assert_array_equal(de.frame.loc[table.index, "logFC"], table["logFC"])
    np.testing.assert_array_equal(de.frame.loc[table.index, "P.Value"], table["P.Value"])


def test_parquet_has_types_and_settings(tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table = made()
    back = pd.read_parquet(gb.export(table, tmp_path / "x.parquet"))
    assert list(back["id"]) == list(table.index)
    assert pd.api.types.is_integer_dtype(back["rank"])
    np.testing.assert_array_equal(back["shap"], table["shap"])
    assert list(back["symbol"]) == list(table["symbol"])
    assert back["class"].fillna("").tolist() == table["class"].tolist()
    assert back.attrs["settings"]["contrast"] == "<b>a</b> - \\b"
    assert back.attrs["settings"]["version"] == gb.__version__


def test_a_workbook_is_formatted_explained_and_harmless(tmp_path):
    import openpyxl

    table = made([name for name in HOSTILE if name.isprintable()])
    path = gb.export(table, tmp_path / "x.xlsx")
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["biomarkers", "columns", "settings"]
    sheet = book["biomarkers"]
    assert sheet.freeze_panes == "B2"
    assert sheet.auto_filter.ref.startswith("A1:")
    head, *rows = list(sheet.iter_rows())
    assert [cell.value for cell in head] == ["id", *table.columns]
    assert all(cell.font.b and cell.fill.fgColor.rgb.endswith("36424F") for cell in head)
    at = {cell.value: i for i, cell in enumerate(head)}
    fills = {row[at["class"]].fill.fgColor.rgb for row in rows if row[at["class"]].value}
    assert len(fills) == len(set(table["class"]) - {""})
    for row, (gene, truth) in zip(rows, table.iterrows(), strict=True):
        assert row[0].value == gene
        assert all(cell.data_type in "sn" for cell in row)
        assert row[0].quotePrefix is formulas.runs(gene)
        assert row[at["logFC"]].value == truth["logFC"]
        assert row[at["P.Value"]].number_format == "0.00E+00"
        assert row[at["selection_frequency"]].number_format == "0%"
        if truth["agreement"] == "conflict":
            assert row[at["agreement"]].font.b
    told = {row[0].value: row[1].value for row in book["columns"].iter_rows(min_row=2)}
    assert all(told[name] == COLUMNS[name] for name in table.columns)
    said = {row[0].value: row[1] for row in book["settings"].iter_rows(min_row=2)}
    assert said["verdict"].value == "=1+1"
    assert said["verdict"].data_type == "s"
    assert "max_q" not in said
    back = pd.read_excel(path, index_col=0, keep_default_na=False)
    assert list(map(str, back.index)) == list(table.index)


def test_only_the_top_and_only_some_columns(tmp_path):
    table = made()
    frame = pd.read_csv(gb.export(table, tmp_path / "x.csv", top=5, columns=["shap", "class"]), index_col=0)
    assert list(frame.columns) == ["shap", "class"]
    assert len(frame) == 5
    np.testing.assert_array_equal(frame["shap"], table["shap"].head(5))


# -- LaTeX -------------------------------------------------------------------------------------------------------------

_SAFE = re.compile(r"\\(?:[{}$&#%_\\]|(?:textbackslash|textasciicircum|textasciitilde|textless|textgreater|textbar|textquotedbl|"
                   r"textasciigrave)\{\}|ensuremath\{\\[a-z]+\})|\{[\[\]*'-]\}")  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_latex_has_no_command_but_ours(name):
    bare = _SAFE.sub("", latex_escaped(name))
    assert not set(bare) & set("\\{}$&#%_^~<>|\"[]*`'-\n\t")


def test_the_latex_table_is_in_the_style_of_booktabs(tmp_path):
    table = made()
    text = gb.export(table, tmp_path / "x.tex", top=6).read_text(encoding="utf-8")
    assert all(rule in text for rule in ("\\toprule", "\\midrule", "\\bottomrule"))
    body = text.split("\\midrule")[1].split("\\bottomrule")[0].strip().splitlines()
    assert len(body) == 6
    columns = re.search(r"tabular}\{([lr]+)\}", text)[1]
    assert {len(re.split(r"(?<!\\)&", row)) for row in body} == {len(columns)}
    assert "stands behind" in gb.export(table, tmp_path / "all.tex", top=100).read_text(encoding="utf-8")
    caption = gb.export(table, tmp_path / "y.tex", caption="50% of \\x").read_text(encoding="utf-8")
    assert "\\caption{50\\% of \\textbackslash{}x}" in caption


def test_latex_can_be_compiled(tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    gb.export(made(), tmp_path / "x.tex", top=100)
    page = "\\documentclass{article}\\usepackage[T1]{fontenc}\\usepackage{textcomp,booktabs}\\begin{document}\\input{x}\\end{document}"
    (tmp_path / "page.tex").write_text(page)
    done = subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"], cwd=tmp_path, capture_output=True,
                          text=True, timeout=60, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


# -- HTML --------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        if tag in ("th", "td"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.cells[-1] += data


def test_html_holds_names_as_text_and_nothing_that_runs_or_loads(tmp_path):
    table = made()
    text = gb.export(table, tmp_path / "x.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert not page.open
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "object", "form", "svg", "b"}
    assert not [
        name for _, given in page.tags for name in given if name.startswith("on") or name in ("src", "href", "action")
    ]
    shown = [name for name in table.columns if name != "stands_behind"]
    head, *rows = np.array(page.cells).reshape(-1, len(shown) + 1).tolist()
    assert head == ["gene", *shown]
    assert [row[0] for row in rows] == [" ".join(name.split()) for name in table.index]
    at = 1 + shown.index("symbol")
    assert [row[at] for row in rows] == [" ".join(name.split()) for name in table["symbol"]]
    assert any(row[1 + shown.index("class")].startswith("DE, redundant (stands behind ") for row in rows)


def test_html_says_what_it_is_to_everyone(tmp_path):
    page = Page()
    page.feed(gb.export(made(), tmp_path / "x.html", top=3).read_text(encoding="utf-8"))
    by = {}
    for tag, given in page.tags:
        by.setdefault(tag, []).append(given)
    assert by["html"][0]["lang"] == "en"
    assert len(by["caption"]) == 1
    assert all(given.get("scope") in ("col", "row") for given in by["th"])
    assert len([given for given in by["th"] if given["scope"] == "row"]) == 3
    region = next(given for given in by["div"] if given.get("role") == "region")
    assert region["tabindex"] == "0"
    assert region["aria-label"]


# -- where from, where to ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obj", "path", "how", "error", "says"),
    [
        (made, "x.doc", {}, InputError, "'doc' is no format"),
        (made, "x.csv", {"to": "xlsx"}, InputError, "its suffix says csv"),
        (made, "x.csv", {"top": 0}, InputError, "top"),
        (made, "x.csv", {"columns": ["shpa"]}, ColumnNotFoundError, "Did you mean 'shap'"),
        (lambda: pd.DataFrame({"a": [1]}), "x.csv", {}, InputError, "no biomarker table"),
        (lambda: [1], "x.csv", {}, InputError, "got list"),
        (lambda: gb.datasets.golub(), "x.csv", {}, ColumnNotFoundError, r"gb\.tl\.biomarkers"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_said(tmp_path, obj, path, how, error, says):
    with pytest.raises(error, match=says):
        gb.export(obj(), tmp_path / path, **how)
    assert not list(tmp_path.iterdir())


def test_an_adata_and_its_table_give_the_same_file_and_a_de_table_goes_too(tmp_path):
    adata = gb.datasets.golub()
    de = gb.tl.limma(adata, "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    with pytest.warns(gb.errors.DataWarning):
        table = gb.tl.biomarkers(adata)
    one, two = gb.export(adata, tmp_path / "a.csv"), gb.export(table, tmp_path / "b.csv")
    assert one.read_text() == two.read_text()
    pd.testing.assert_frame_equal(gb.read.toptable(gb.export(de, tmp_path / "de.csv")).frame, de.frame)
    with pytest.raises(InputError, match="force=True"):
        gb.export(adata, one)


def test_classes_are_told_apart_without_colour_too():
    exact = typed(made())
    assert list(exact["class"].cat.categories) == list(CLASSES)
