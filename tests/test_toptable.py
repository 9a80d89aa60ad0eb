"""gb.read.toptable: DE tables of any program, as people save them."""

from __future__ import annotations

import csv
import functools
import json
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import stats

import geneml_bio as gb
from geneml_bio.bridge import dialects, export, mangled
from geneml_bio.bridge.tables import EXACT
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    DataWarning,
    DuplicateNamesError,
    InputError,
    TableError,
)
from geneml_bio.core.names import LIMMA_COLUMNS
from geneml_bio.core.pvalues import adjust, adjust_bh

DATA = Path(__file__).parent / "data"
TORTURE = DATA / "torture"
MANIFEST = json.loads((TORTURE / "manifest.json").read_text(encoding="utf-8"))
IDS = [row[0] for row in csv.reader((TORTURE / "gen_ids.csv").open(encoding="utf-8"))][1:]
ROW_NAMES = "<row names>"


def described(number: str) -> dict:
    return next(entry for entry in MANIFEST if entry["file"].startswith(number))


def quiet(source, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return gb.read.toptable(source, **how)


def told(source, **how) -> tuple[gb.DETable, list[str]]:
    """The table and the warnings that came with it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        de = gb.read.toptable(source, **how)
    return de, [str(warning.message) for warning in caught if issubclass(warning.category, DataWarning)]


# -- the torture tables ------------------------------------------------------------------------------------------------

SAID = {
    "G08": "10 of 300 tested rows",
    "G13": "holm (FWER), not by Benjamini-Hochberg",
    "G15": "likelihood-ratio test",
    "G20": "1-Mar: MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
}
REFUSED = {"G09": "is not a table|no row|no table", "G22": "2 results side by side"}
KINDS = {"G04": "F", "G05": "treat", "G12": "F", "G15": "F"}


@pytest.mark.parametrize("entry", MANIFEST, ids=lambda entry: entry["file"][:3])
def test_each_torture_table_is_read_as_its_manifest_says(entry):
    number, path = entry["file"][:3], TORTURE / entry["file"]
    if number in REFUSED:
        with pytest.raises(TableError, match=REFUSED[number]):
            gb.read.toptable(path)
        return
    de, said = told(path)
    if number == "G25":  # the same numbers as G01
        entry = {**described("G01"), "file": entry["file"]}
        np.testing.assert_array_equal(de.frame.index, quiet(TORTURE / described("G01")["file"]).frame.index)
    frame = de.frame
    assert de.kind == KINDS.get(number, "t")
    assert len(frame) == entry["n_rows"]
    assert (frame.index[0], frame.index[-1]) == (entry["first_id"], entry["last_id"])
    sums = {"P.Value": "p", "adj.P.Val": "padj", **({"logFC": "lfc"} if entry["lfc"] else {})}
    for name, short in sums.items():
        assert frame[name].sum() == pytest.approx(entry[f"sum_{short}"], rel=1e-12)
        assert frame[name].isna().sum() == entry[f"n_na_{short}"]
    if number in SAID:
        assert any(SAID[number] in text for text in said), said
    assert de.source["rows_read"] == entry["n_rows"]
    assert de.source["rows_lost"] == 0
    assert de.source["warnings"] == [text.split(": ", 1)[1].rstrip(".") for text in said]
    has_row_names = entry["id_col"] == ROW_NAMES or number == "G06"  # G06: row names are unique, its ID is not
    assert de.source["ids"] == ("row names" if has_row_names else entry["id_col"])


@pytest.mark.parametrize("number", ["G01", "G02", "G03", "G17", "G18", "G24", "G25"])
def test_hostile_ids_survive_exactly(number):
    assert set(quiet(TORTURE / described(number)["file"]).frame.index) == set(IDS)


@pytest.mark.parametrize(
    ("number", "separator", "decimal", "encoding"),
    [
        ("G01", ",", ".", "utf-8"),
        ("G02", ";", ",", "utf-8"),
        ("G03", "\t", ".", "utf-8"),
        ("G17", ",", ".", "utf-8-sig"),
        ("G18", "\t", ".", "utf-16"),
        ("G19", ",", ".", "cp1252"),
        ("G21", ",", ",", "utf-8"),
    ],
)
def test_the_source_tells_how_it_was_read(number, separator, decimal, encoding):
    source = quiet(TORTURE / described(number)["file"]).source
    assert (source["separator"], source["decimal"], source["encoding"]) == (separator, decimal, encoding)
    assert source["path"].endswith(described(number)["file"])
    assert "logFC -> logFC" in source["columns"]


def test_shuffling_changes_nothing():
    plain, shuffled = (quiet(TORTURE / described(number)["file"]).frame for number in ("G01", "G24"))
    pd.testing.assert_frame_equal(shuffled.loc[plain.index, plain.columns], plain)


def test_mangled_ids_that_repeat_are_numbered_and_none_is_lost():
    de, said = told(TORTURE / described("G20")["file"])
    assert {"1-Mar", "1-Mar.1"} <= set(de.frame.index)
    assert any(text.endswith("these are numbered, as in 1-Mar.1.") for text in said)
    assert any("7 ids look as if Excel" in text for text in said)
    raw = pd.read_csv(TORTURE / described("G20")["file"], dtype={"Gene": str}, **EXACT)
    assert de.frame.loc[["1-Mar", "1-Mar.1"], "P.Value"].tolist() == raw.loc[raw["Gene"] == "1-Mar", "P.Value"].tolist()


@pytest.mark.parametrize(("coef", "suffix"), [(1, ""), (2, ".1"), ("logFC.1", ".1")])
def test_one_of_two_contrasts_under_the_same_names(coef, suffix):
    path = TORTURE / described("G22")["file"]
    raw = pd.read_csv(path, index_col=0, na_filter=False, **EXACT)  # pandas numbers the names
    frame = quiet(path, coef=coef).frame
    for name in ("logFC", "AveExpr", "t", "P.Value", "adj.P.Val", "B"):
        np.testing.assert_array_equal(frame[name], raw[f"{name}{suffix}"].astype(float))
    assert len(frame.columns) == 6


def test_deseq2_is_mapped_to_limmas_names():
    frame = quiet(TORTURE / described("G14")["file"]).frame
    raw = pd.read_csv(TORTURE / described("G14")["file"], index_col=0, keep_default_na=False, na_values=["NA"], **EXACT)
    pairs = {
        "logFC": "log2FoldChange",
        "SE": "lfcSE",
        "t": "stat",
        "P.Value": "pvalue",
        "adj.P.Val": "padj",
        "baseMean": "baseMean",
    }
    for ours, theirs in pairs.items():
        np.testing.assert_array_equal(frame[ours], raw[theirs])
    some = raw["baseMean"].to_numpy() > 0
    np.testing.assert_allclose(frame["AveExpr"][some], np.log2(raw["baseMean"][some]))
    assert frame["AveExpr"][~some].isna().all()


# -- headers of many programs ------------------------------------------------------------------------------------------

N = 60


@functools.cache
def simulated() -> dict[str, np.ndarray | list[str]]:
    """Columns by the letters of ``headers.txt``; those with a 2 are of another comparison."""
    rng = np.random.default_rng(0)
    out: dict[str, np.ndarray | list[str]] = {
        "id": [f"GENE{k}x" for k in range(N)], "ens": [f"ENSG000001{k:05d}" for k in range(N)], "txt": ["x y"] * N,
        "dup": [f"G{k // 2}" for k in range(N)], "n": np.arange(N) * 7 + 3, "cnt": np.arange(1, N + 1),
        "A": rng.uniform(4, 12, N), "bm": rng.uniform(5, 5000, N), "u": rng.uniform(size=N), "w": rng.uniform(size=N),
        "se": np.full(N, 1 / 3), "df": np.full(N, 10.0),
    }  # fmt: skip
    for tag in ("", "2"):
        effect = rng.normal(size=N).round(4)
        p = 2 * stats.norm.sf(abs(effect * 3))
        q = adjust_bh(p)
        of = {
            "L": effect, "P": p, "Q": q, "nlp": -np.log10(p), "nlq": -np.log10(q), "lp": np.log10(p), "ln": effect * np.log(2),
            "fc": 2.0**effect, "sfc": np.where(effect < 0, -(2.0**-effect), 2.0**effect), "t": effect * 3, "F": (effect * 3) ** 2,
            "B": -np.log(p) - 3, "cl": effect - 0.65, "cr": effect + 0.65, "abs": abs(effect),
        }  # fmt: skip
        out |= {f"{name}{tag}": values for name, values in of.items()}
        out.setdefault("sig", ["yes" if value < 0.05 else "no" for value in q])
    return out


HEADERS = [line for line in (DATA / "headers.txt").read_text(encoding="utf-8").splitlines() if line]


@pytest.mark.parametrize("line", HEADERS, ids=lambda line: line.split(" :: ")[1][:60])
def test_headers_are_taken_as_they_are_meant_or_refused(line, tmp_path):
    expected, _, rest = line.partition(" :: ")
    columns = [cell.rsplit("=", 1) for cell in rest.split(" ; ")]
    data = simulated()
    frame = pd.DataFrame(dict(enumerate(data[kind] for _, kind in columns)))
    frame.columns = [name for name, _ in columns]
    frame.to_csv(tmp_path / "t.csv", index=False)
    if expected == "refuse":
        with pytest.raises(InputError) as refused:
            quiet(tmp_path / "t.csv")
        assert re.search(r"columns=|feature=|coef=|by=|duplicates=|looks like|p-value", str(refused.value))
        return
    de = quiet(tmp_path / "t.csv")
    ids = [kind for kind in ("id", "ens") if kind in [kind for _, kind in columns]]
    if ids:
        assert list(de.frame.index) in [data[kind] for kind in ids]
    np.testing.assert_allclose(de.frame["P.Value"], data["P"], rtol=1e-9)
    if de.kind != "F":
        np.testing.assert_allclose(de.frame["logFC"], data["L"], rtol=1e-6, atol=1e-9)
    if "adj.P.Val" in de.frame:
        np.testing.assert_allclose(de.frame["adj.P.Val"], data["Q"], rtol=1e-9)
    means = {"t": "t", "AveExpr": "A", "SE": "se", "B": "B", "CI.L": "cl", "CI.R": "cr", "df": "df"}
    for name, kind in means.items():  # what was mapped is what it is called
        if name in de.frame and name in " ".join(de.source["columns"]) and kind in [k for _, k in columns]:
            scale = 1 / np.log(2) if name == "SE" and "ln" in [k for _, k in columns] else 1
            np.testing.assert_allclose(de.frame[name], data[kind] * scale, rtol=1e-9)


_NAMES = """logFC P.Value adj.P.Val t B F LR AveExpr logCPM PValue FDR log2FoldChange pvalue padj stat baseMean lfcSE FC Fold.Change
    -log10(p) -log(p) gene ID symbol cluster group contrast names scores logfoldchanges pvals A_logFC B_logFC A_P.Value logFC.1 P.Value.1
    logFC...2 p q M A beta estimate Coef.A p.value.A F.p.value CI.L SE neg|p-value avg_logFC p_val X 1 2.5 nan NA log ( ) % é b se_b
    """
NAMES = _NAMES.split()


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.filterwarnings("ignore")
def test_whatever_columns_come_the_answer_is_a_table_or_a_typed_error(seed):
    rng = np.random.default_rng(seed)
    makers = [
        lambda n: rng.normal(size=n), lambda n: rng.uniform(size=n), lambda n: [f"g{k}" for k in range(n)],
        lambda n: rng.choice(["a", "b"], n), lambda n: np.arange(n), lambda n: [None] * n, lambda n: np.full(n, np.inf),
        lambda n: rng.choice(["NA", "", "1-Mar", "2e-5", "<0.01", "x", "0,5", "Inf", "-", "1,234.5", "0.03**"], n),
        lambda n: pd.Categorical(rng.choice(["x", "y"], n)), lambda n: pd.date_range("2020", periods=n),
        lambda n: rng.choice([True, False], n), lambda n: pd.array([1, None] * n, dtype="Int64")[:n],
    ]  # fmt: skip
    for _ in range(8):
        n = int(rng.choice([0, 1, 2, 8, 30]))
        names = [*rng.choice(NAMES, int(rng.integers(1, 8))), *(["logFC", "P.Value"] if rng.random() < 0.5 else [])]
        frame = pd.DataFrame(dict(enumerate(makers[int(rng.integers(len(makers)))](n) for _ in names)))
        for k, name in enumerate(names):
            if name in ("P.Value", "logFC") and rng.random() < 0.7:
                frame[k] = rng.uniform(size=n)
        frame.columns = names
        arguments = [
            {},
            {"coef": 1},
            {"by": names[0]},
            {"columns": {"t": names[0]}},
            {"duplicates": "best_p"},
            {"feature": names[-1]},
        ]
        how = arguments[int(rng.integers(len(arguments)))]
        try:
            found = gb.read.toptable(frame, **how)
        except (InputError, ColumnNotFoundError):
            continue
        for de in found.values() if isinstance(found, dict) else [found]:
            assert de.frame.index.is_unique
            assert de.frame["P.Value"].dropna().between(0, 1).all()


def test_every_dialect_that_can_be_read_has_a_header_here():
    headers = [[cell.rsplit("=", 1)[0] for cell in line.partition(" :: ")[2].split(" ; ")] for line in HEADERS]
    met = {row.name for row in map(dialects.recognise, headers) if row is not None}
    unmet = {row.name for row in dialects.DIALECTS} - met
    assert len(unmet) < 0.4 * len(dialects.DIALECTS), sorted(unmet)


# -- ways of saving ----------------------------------------------------------------------------------------------------


@pytest.fixture
def table() -> pd.DataFrame:
    """A complete table of 40 genes, as of an ordinary t-test with 10 degrees of freedom."""
    rng = np.random.default_rng(0)
    t = np.array(sorted(rng.standard_t(10, size=40) * 2, key=abs))[::-1]
    frame = pd.DataFrame({"logFC": t * 0.3, "AveExpr": rng.uniform(4, 12, 40), "t": t})
    frame["P.Value"] = 2 * stats.t.sf(abs(t), 10)
    frame["adj.P.Val"] = adjust_bh(frame["P.Value"].to_numpy())
    frame.index = [f"0{k}" for k in range(40)]
    return frame


SAVED = {
    "write.csv": {},
    "write.csv2": {"sep": ";", "decimal": ","},
    "tab": {"sep": "\t"},
    "pipe": {"sep": "|"},
    "quoted": {"quoting": csv.QUOTE_NONNUMERIC},
    "crlf": {"lineterminator": "\r\n"},
    "readr": {"index_label": "rowname"},
    "readr new": {"index_label": "...1"},
    "named": {"index_label": "Gene"},
    "utf16": {"encoding": "utf-16"},
    "bom": {"encoding": "utf-8-sig"},
    "gz": {"compression": "gzip"},
    "xz": {"compression": "xz"},
}


@pytest.mark.parametrize("how", SAVED)
def test_every_way_of_saving_gives_the_same_table(how, table, tmp_path):
    path = tmp_path / "table.csv"
    table.to_csv(path, **SAVED[how])
    de = quiet(path, contrast="AML - ALL")
    pd.testing.assert_frame_equal(de.frame, table, check_names=False, rtol=1e-15)
    assert de.contrast == "AML - ALL"
    assert de.is_complete


@pytest.mark.parametrize("separator", [" ", "\t"])
@pytest.mark.parametrize("quote", ['"', ""])
def test_write_table_shifts_the_header(separator, quote, table, tmp_path):
    path = tmp_path / "table.txt"
    rows = [separator.join(f"{quote}{name}{quote}" for name in table.columns)]
    rows += [
        separator.join([f"{quote}{name}{quote}", *map(repr, map(float, row))])
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    pd.testing.assert_frame_equal(quiet(path).frame, table)


def test_a_workbook_is_read_by_its_only_de_sheet(table, tmp_path):
    path = tmp_path / "results.xlsx"
    notes = pd.DataFrame({"what": ["made by", "on"], "who": ["us", "Monday"]})
    with pd.ExcelWriter(path) as book:
        notes.to_excel(book, sheet_name="About", index=False)
        table.to_excel(book, sheet_name="A vs B", index_label="Gene")
    de = quiet(path)
    pd.testing.assert_frame_equal(de.frame, table, check_names=False, rtol=1e-15)
    assert de.source["sheet"] == "A vs B"
    with pd.ExcelWriter(path) as book:
        table.to_excel(book, sheet_name="A vs B", index_label="Gene")
        table[::-1].to_excel(book, sheet_name="A vs C", index_label="Gene")
    with pytest.raises(TableError, match=r"2 sheets that hold DE tables: \['A vs B', 'A vs C'\].*sheet='A vs B'"):
        gb.read.toptable(path)
    assert list(quiet(path, sheet="A vs C").frame.index) == list(table.index[::-1])


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_annotation_is_kept_as_text(table, tmp_path):
    table.insert(0, "ENTREZ", [f"00{k}" for k in range(40)])
    table.insert(1, "SYMBOL", ["NA", "nan", "=1+1", *[f"S{k}" for k in range(37)]])
    table.to_csv(tmp_path / "t.csv")
    de = quiet(tmp_path / "t.csv")
    assert de.frame["ENTREZ"].tolist() == table["ENTREZ"].tolist()
    assert de.frame["SYMBOL"].tolist() == table["SYMBOL"].tolist()
    assert list(de.frame.index) == list(table.index)
    assert de.source["id_columns"] == ["ENTREZ", "SYMBOL"]
    chosen = quiet(tmp_path / "t.csv", feature="SYMBOL")
    assert chosen.frame.index[0] == "NA"
    assert "SYMBOL" not in chosen.frame


@pytest.mark.parametrize("rows", ["1 to n, shuffled", "0 to n-1", "some of them"])
def test_row_numbers_are_no_ids_where_there_is_a_column_of_them(rows, table, tmp_path):
    table = table.reset_index(names="ID").assign(ID=[f"p{k}_at" for k in range(40)])
    rng = np.random.default_rng(1)
    table.index = {
        "1 to n, shuffled": rng.permutation(40) + 1,
        "0 to n-1": np.arange(40),
        "some of them": rng.choice(20_000, 40, replace=False),
    }[rows]
    table.to_csv(tmp_path / "t.csv")
    de = quiet(tmp_path / "t.csv")
    assert list(de.frame.index) == table["ID"].tolist()
    assert list(de.frame.columns) == ["logFC", "AveExpr", "t", "P.Value", "adj.P.Val"]
    bare = table.drop(columns="ID")
    bare.to_csv(tmp_path / "u.csv")
    assert list(quiet(tmp_path / "u.csv").frame.index) == [str(k) for k in bare.index]


def test_entrez_ids_as_row_names_are_ids(table, tmp_path):
    table.index = [str(9000 + 7001 * k) for k in range(40)]
    table.insert(0, "SYMBOL", ["A", *[f"S{k}" for k in range(38)], "A"])  # symbols repeat
    table.to_csv(tmp_path / "t.csv")
    assert list(quiet(tmp_path / "t.csv").frame.index) == list(table.index)


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"SYMBOL": "dup", "PROBEID": "u"}, "PROBEID"),
        ({"Chr": "text", "Gene": "u"}, "Gene"),
        ({"n": "count", "gene_id": "u", "gene_name": "u2"}, "gene_id"),
        ({"description": "u2", "Gene name": "u"}, "Gene name"),
        ({"anything": "u"}, "anything"),
        ({"ID": "count", "SYMBOL": "u"}, "SYMBOL"),
        ({"names": "u", "length": "number"}, "names"),
    ],
)
def test_the_column_of_ids_is_found(columns, chosen, table):
    values = {"dup": [f"g{k // 2}" for k in range(40)], "u": [f"x{k}" for k in range(40)], "u2": [f"y {k}" for k in range(40)],
              "text": ["chr1"] * 40, "count": range(1, 41), "number": np.arange(40) * 10 + 5}  # fmt: skip
    frame = pd.concat([table.reset_index(drop=True), pd.DataFrame({n: values[k] for n, k in columns.items()})], axis=1)
    de = quiet(frame)
    assert de.source["ids"] == chosen
    assert list(de.frame.index) == values[columns[chosen]]


def test_ids_that_repeat_are_refused_unless_a_policy_is_named(table):
    table.index = ["a", "b", "a", *[f"g{k}" for k in range(37)]]
    table["AveExpr"] = np.arange(40.0)
    with pytest.raises(DuplicateNamesError, match=r"1 of 40 rows repeat.*duplicates='best_p'"):
        gb.read.toptable(table)
    best, said = told(table, duplicates="best_p")
    assert any("1 rows repeat an id ('a'); of each id one is kept (duplicates='best_p')" in text for text in said)
    assert best.frame.loc["a", "P.Value"] == table["P.Value"].iloc[0]
    assert (best.source["rows_read"], best.source["rows_lost"]) == (40, 1)
    assert quiet(table, duplicates="max_aveexpr").frame.loc["a", "AveExpr"] == 2
    with pytest.raises(InputError, match="Did you mean 'best_p'"):
        gb.read.toptable(table, duplicates="bestp")
    with pytest.raises(DuplicateNamesError, match="feature='probe'"):
        gb.read.toptable(
            table.rename_axis("gene").reset_index().assign(probe=[f"p{k}" for k in range(40)]), feature="gene"
        )


def test_rows_without_an_id_are_left_out_and_a_single_na_is_a_gene(table):
    table.index = ["", "---", "---", "NA", *[f"g{k}" for k in range(36)]]
    de, said = told(table)
    assert list(de.frame.index) == ["NA", *[f"g{k}" for k in range(36)]]
    assert any("3 rows have no id and were left out" in text for text in said)
    assert de.source["rows_lost"] == 3


MANGLED = {
    "1-Mar": "MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
    "Mar-01": "MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
    "11-Mar": "MARCH11 (now MARCHF11)",
    "2-Sep": "SEPT2 (now SEPTIN2)",
    "Sep-14": "SEPT14 (now SEPTIN14)",
    "15-Sep": "SEP15 (now SELENOF)",
    "1-Dec": "DEC1 (now DELEC1, or BHLHE40)",
    "4-Oct": "OCT4 (now POU5F1)",
    "01-Mar-22": "MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
    "2022-09-07": "SEPT7 (now SEPTIN7)",
    "2022-09-07 00:00:00": "SEPT7 (now SEPTIN7)",
    "3/1/2022": "MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
    "44811": "SEPT7 (now SEPTIN7)",  # a serial number of the same day
    "1.00E+05": "1E5",
    "2.31E+13": "a clone such as 2310009E07Rik",
    "7-Aug": "",
}


@pytest.mark.parametrize("name", MANGLED)
def test_mangled_ids_are_named_with_the_genes_they_may_have_been(name):
    found = mangled.find([name, "TP53", "BRCA1", "ABL1"])
    assert list(found) == [name]
    assert " or ".join(found[name]) == MANGLED[name]


@pytest.mark.parametrize(
    "name",
    ["MARCH1", "SEPT2", "1E5", "5330413P13Rik", "HLA-A", "NKX2-5", "MT-CO1", "ENSG00000000003", "1415670_at", "DEC1", "3.8-1",
     "AC-3", "Mar", "12-345", "99999", "7SK", "D4S234E", "2-3/4", "44811_at", "may-13x"],
)  # fmt: skip
def test_ids_that_are_what_they_were(name):
    assert mangled.find([name, "TP53", "BRCA1", "ABL1"]) == {}


def test_entrez_ids_are_no_serial_numbers():
    assert mangled.find([str(44_800 + k) for k in range(20)]) == {}


# -- several results in one table --------------------------------------------------------------------------------------


@pytest.fixture
def stacked(table) -> pd.DataFrame:
    """Two contrasts of 40 genes, one below the other."""
    other = table.assign(logFC=-table["logFC"], t=-table["t"])
    out = pd.concat([table.assign(comparison="B - A"), other.assign(comparison="C - A")])
    return out.rename_axis("gene").reset_index()


def test_stacked_experiments_are_refused_and_split_by_their_column(stacked, table):
    with pytest.raises(TableError, match=r"2 experiments one below the other.*'B - A', 'C - A'.*by='comparison'"):
        gb.read.toptable(stacked)
    found = quiet(stacked, by="comparison")
    assert list(found) == ["B - A", "C - A"]
    assert [de.contrast for de in found.values()] == ["B - A", "C - A"]
    pd.testing.assert_frame_equal(found["B - A"].frame[table.columns], table, check_names=False)
    np.testing.assert_array_equal(found["C - A"].frame["logFC"], -table["logFC"])
    assert found["B - A"].source["rows_read"] == 40
    with pytest.raises(ColumnNotFoundError, match="Did you mean 'comparison'"):
        gb.read.toptable(stacked, by="comparisons")


def test_stacked_tables_with_any_name_of_their_column(stacked):
    with pytest.raises(TableError, match="by='Zellart'"):
        gb.read.toptable(stacked.rename(columns={"comparison": "Zellart"}))


def test_row_names_that_r_made_unique_do_not_hide_the_stack(stacked, table, tmp_path):
    stacked.index = pd.Index(stacked["gene"].where(~stacked["gene"].duplicated(), stacked["gene"] + ".1"))
    stacked = stacked.rename(columns={"comparison": "cluster"})
    stacked.to_csv(tmp_path / "t.csv", index_label=False)
    with pytest.raises(TableError, match="by='cluster'"):
        gb.read.toptable(tmp_path / "t.csv")
    found = quiet(tmp_path / "t.csv", by="cluster")
    assert list(found["C - A"].frame.index) == list(table.index)  # TP53, not TP53.1


def test_two_columns_may_tell_experiments_apart(stacked):
    twice = pd.concat([stacked.assign(day="1"), stacked.assign(day="2")])
    assert list(quiet(twice, by=["comparison", "day"])) == ["B - A / 1", "C - A / 1", "B - A / 2", "C - A / 2"]


def test_contrasts_side_by_side_are_chosen_by_coef(table):
    other = table.assign(logFC=-table["logFC"], t=-table["t"])
    frame = pd.concat([table.add_prefix("B_vs_A_"), other.add_prefix("C_vs_A_")], axis=1)
    with pytest.raises(TableError, match=r"2 results side by side: \['B_vs_A', 'C_vs_A'\].*coef='B_vs_A'"):
        gb.read.toptable(frame)
    for coef, sign in (("C_vs_A", -1), (2, -1), (1, 1)):
        de = quiet(frame, coef=coef)
        np.testing.assert_array_equal(de.frame["logFC"], sign * table["logFC"])
        np.testing.assert_array_equal(de.frame["t"], sign * table["t"])
        assert list(de.frame.columns) == list(table.columns)
        assert de.contrast == ("C_vs_A" if sign < 0 else "B_vs_A")
    with pytest.raises(ColumnNotFoundError, match="Did you mean 'C_vs_A'"):
        gb.read.toptable(frame, coef="C_vs_a1")
    with pytest.raises(InputError, match="coef=3 is out of range"):
        gb.read.toptable(frame, coef=3)


def test_write_fit_of_two_contrasts(table):
    frame = pd.DataFrame({"A": table["AveExpr"]})
    for k, name in enumerate(("B - A", "C - A")):
        sign = 1 - 2 * k
        frame[f"Coef.{name}"] = sign * table["logFC"]
        frame[f"t.{name}"] = sign * table["t"]
        frame[f"p.value.{name}"] = table["P.Value"]
        frame[f"p.value.adj.{name}"] = table["adj.P.Val"]
        frame[f"Res.{name}"] = 0.0
    frame["F"], frame["F.p.value"] = table["t"] ** 2, table["P.Value"]
    de = quiet(frame, coef="C - A")
    np.testing.assert_array_equal(de.frame["logFC"], -table["logFC"])
    np.testing.assert_array_equal(de.frame["t"], -table["t"])
    np.testing.assert_array_equal(de.frame["AveExpr"], table["AveExpr"])
    np.testing.assert_array_equal(de.frame["adj.P.Val"], table["adj.P.Val"])
    assert de.contrast == "C - A"


# -- columns named by the caller ---------------------------------------------------------------------------------------


def test_columns_are_taken_as_the_caller_says(table):
    frame = table.rename(columns={"logFC": "estimate", "P.Value": "strange"})
    with pytest.raises(TableError, match=r"adjusted p-values|estimate"):
        gb.read.toptable(frame)
    de = quiet(frame, columns={"logFC": "estimate", "P.Value": "strange"})
    pd.testing.assert_frame_equal(de.frame[table.columns], table)
    without = quiet(frame, columns={"logFC": "estimate", "P.Value": "strange", "t": None})
    assert "t" not in without.source["columns"]
    assert "t -> t" not in without.source["columns"]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("ln(FC)", lambda t: t["logFC"] * np.log(2)),
        ("log10(FC)", lambda t: t["logFC"] * np.log10(2)),
        ("FC", lambda t: 2 ** t["logFC"]),
        ("FC", lambda t: np.where(t["logFC"] < 0, -(2 ** -t["logFC"]), 2 ** t["logFC"])),
    ],
)
def test_effects_of_every_scale_become_log2(key, values, table):
    frame = table.drop(columns=["logFC", "t"]).assign(x=values(table))
    np.testing.assert_allclose(quiet(frame, columns={key: "x"}).frame["logFC"], table["logFC"], rtol=1e-12)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("-log10(P.Value)", lambda p: -np.log10(p)),
        ("log10(P.Value)", lambda p: np.log10(p)),
        ("-ln(P.Value)", lambda p: -np.log(p)),
    ],
)
def test_p_values_of_every_scale(key, values, table):
    frame = table.drop(columns="P.Value").assign(x=values(table["P.Value"]))
    np.testing.assert_allclose(quiet(frame, columns={key: "x"}).frame["P.Value"], table["P.Value"], rtol=1e-12)


@pytest.mark.parametrize("saved", ["{group}_{name}", "{name}_{group}", "{name}"])
def test_each_of_several_results_has_its_own_ids(saved, table, tmp_path):
    """Groups ranked side by side: each in its own order."""
    parts, truth = [], {}
    for group, seed in (("1", 1), ("2", 2), ("10", 3)):
        order = np.random.default_rng(seed).permutation(len(table))
        part = table.iloc[order].rename_axis("names").reset_index()
        truth[group] = part
        part = part.rename(
            columns={"t": "scores", "logFC": "logfoldchanges", "P.Value": "pvals", "adj.P.Val": "pvals_adj"}
        )
        part = part[["names", "scores", "logfoldchanges", "pvals", "pvals_adj"]]
        parts.append(part.set_axis([saved.format(group=group, name=name) for name in part.columns], axis=1))
    path = tmp_path / "wide.csv"
    pd.concat(parts, axis=1).to_csv(path)
    with pytest.raises(TableError, match="holds 3 results side by side"):
        gb.read.toptable(path)
    for number, (group, part) in enumerate(truth.items(), start=1):
        for coef in [number] if saved == "{name}" else [number, group] if not group.isdigit() else [str(group), number]:
            de = quiet(path, coef=coef)
            assert list(de.frame.index) == list(part["names"])
            np.testing.assert_array_equal(de.frame[["logFC", "t", "P.Value"]], part[["logFC", "t", "P.Value"]])
            assert set(de.frame.columns) == {"t", "logFC", "P.Value", "adj.P.Val"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"Status": ["Up", "Down"] * 20}, r"\['Status'\] only label groups of rows.*row.names=FALSE"),
        ({"chr": ["chr1", "chr2"] * 20, "start": range(40), "end": range(40)}, "The rows are regions"),
        ({}, "no column that looks like feature ids"),
    ],
)
def test_labels_of_groups_are_no_ids(more, says, table, tmp_path):
    path = tmp_path / "no_ids.csv"
    table.assign(**more).to_csv(path, index=False)
    with pytest.raises(TableError, match=says):
        gb.read.toptable(path)
    with pytest.raises(TableError, match=says):
        gb.read.toptable(path, duplicates="best_p")


def test_data_that_were_not_logged_are_told_of(table):
    _, notes = told(table.assign(logFC=table["logFC"] * 1000))
    assert any("not logged" in note for note in notes)
    assert not any("not logged" in note for note in told(table)[1])


@pytest.mark.parametrize("method", ["holm", "hochberg", "bonferroni"])
def test_fwer_is_named_by_its_numbers(method, table):
    q = adjust(table["P.Value"].to_numpy(), method)
    frame = table[["logFC"]].assign(logCPM=table["AveExpr"], PValue=table["P.Value"], FWER=q)
    assert quiet(frame).source["adjust"] == f"{method} (FWER)"


def test_seurat_adjusts_by_bonferroni_unless_its_table_was_adjusted_again(table):
    names = {"logFC": "avg_log2FC", "P.Value": "p_val", "adj.P.Val": "p_val_adj"}
    frame = table[["logFC", "P.Value"]].assign(**{"adj.P.Val": adjust(table["P.Value"].to_numpy(), "bonferroni")})
    de, notes = told(frame.rename(columns=names))
    assert (de.source["adjust"], [note for note in notes if "adjusted by" in note]) == ("bonferroni", [])
    assert quiet(table[["logFC", "P.Value", "adj.P.Val"]].rename(columns=names)).source["adjust"] == ""


def test_gene_ids_under_unknown_names_that_are_unique_come_before_symbols_that_are_not(table):
    frame = table.rename_axis("stable").reset_index().assign(symbol=["A", "B"] * 20, strand=["+", "-"] * 20)
    frame["stable"] = "ENS" + frame["stable"]
    de = quiet(frame)
    assert (de.source["ids"], list(de.frame.index)) == ("stable", list(frame["stable"]))
    frame["stable"] = frame["symbol"] + "_" + frame["stable"]  # made of the symbols, as of stacked tables
    with pytest.raises(DuplicateNamesError):
        gb.read.toptable(frame)


def test_glm_treat_of_edger_is_treat(table):
    frame = table[["logFC"]].assign(
        **{"unshrunk.logFC": table["logFC"], "logCPM": table["AveExpr"], "PValue": table["P.Value"]}
    )
    assert quiet(frame).kind == "treat"


def test_columns_in_the_direction_of_pandas(table):
    frame = table.rename(columns={"logFC": "effect", "P.Value": "sig"})
    read = quiet(frame, columns={"effect": "logFC", "sig": "P.Value"})
    told = quiet(frame, columns={"logFC": "effect", "P.Value": "sig"})
    pd.testing.assert_frame_equal(read.frame, told.frame)
    assert sorted(read.source["columns"]) == sorted(told.source["columns"])
    # a name that is limma's and the file's is limma's: which way round it is cannot be told otherwise
    assert sorted(quiet(table, columns={"t": "t"}).source["columns"]) == sorted(quiet(table).source["columns"])
    with pytest.raises(InputError, match="one is needed"):
        gb.read.toptable(frame, columns={"effect": "logFC", "AveExpr": "logFC", "sig": "P.Value"})


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"logfc": "logFC"}, InputError, "Did you mean 'logFC'"),
        ({"estimate": "logFC"}, InputError, "or, for all, the file's"),
        ({"t": "logFC", "AveExpr": "nothing"}, ColumnNotFoundError, "no such column"),
        ({"logFC": "logfoldchange"}, ColumnNotFoundError, "no such column.*'logFC'"),
        ({"logFC": "t", "FC": "logFC"}, InputError, "one effect is needed"),
    ],
)
def test_columns_that_cannot_be(columns, error, message, table):
    with pytest.raises(error, match=message):
        gb.read.toptable(table, columns=columns)


def test_columns_and_coef_are_not_both_taken(table):
    with pytest.raises(InputError, match="coef= and columns="):
        gb.read.toptable(table, columns={"logFC": "t"}, coef=1)


# -- what values tell --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value", "note"),
    [("<0.001", 0.001, "are bounds"), ("< 2e-16", 2e-16, "are bounds"), ("0.03*", 0.03, "without their stars"),
     ("1.5 x 10^-7", 1.5e-7, "powers of ten"), ("#DIV/0!", np.nan, ""), ("NA", np.nan, "")],
)  # fmt: skip
def test_p_values_written_with_signs(cell, value, note, table, tmp_path):
    text = table.drop(columns=["t", "adj.P.Val"]).astype(object)
    text.iloc[3, 2] = cell
    text.to_csv(tmp_path / "t.csv")
    de, said = told(tmp_path / "t.csv")
    np.testing.assert_equal(de.frame["P.Value"].iloc[3], value)
    assert not note or any(note in line and "1 values of 'P.Value'" in line for line in said)


@pytest.mark.parametrize("cell", ["ns", ">0.05", "5%", "0,03 (t-test)", "TRUE"])
def test_p_values_that_are_none_are_refused(cell, table, tmp_path):
    text = table.astype(object)
    text.iloc[3, 3] = cell
    text.to_csv(tmp_path / "t.csv")
    with pytest.raises(
        TableError, match=f"'P.Value' should hold numbers, and 1 of 40 values are none.*{re.escape(cell)}"
    ):
        gb.read.toptable(tmp_path / "t.csv")


def test_a_logarithm_of_unknown_base_is_read_where_adjusted_p_values_tell_it(table):
    for log in (np.log10, np.log):
        frame = table.drop(columns="P.Value").assign(**{"-log(p)": -log(table["P.Value"])})
        np.testing.assert_allclose(quiet(frame).frame["P.Value"], table["P.Value"], rtol=1e-9)
        with pytest.raises(TableError, match=r"does not tell the base.*-log10\(P.Value\).*-ln\(P.Value\)"):
            gb.read.toptable(frame.drop(columns="adj.P.Val"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(logFC="high"), "'logFC' should hold numbers, and 40 of 40"),
        (lambda t: t.assign(logFC=np.nan), "holds no numbers at all"),
        (lambda t: t[:0], "no rows"),
        (lambda t: t.drop(columns="logFC"), "has p-values .* but no effect"),
        (lambda t: t.drop(columns=["P.Value", "adj.P.Val"]), "has effects .* but no p-values"),
        (
            lambda t: t.drop(columns="P.Value"),
            r"adjusted p-values .* but no raw ones.*columns=\{'logFC': 'logFC', 'P.Value': 'adj.P.Val'",
        ),
        (lambda t: t.rename(columns={"t": "logFC"}), "one name more than once"),
        (lambda t: t.assign(**{"P.Value": 2.0}), r"outside \[0, 1\].*-log10"),
        (lambda t: t.assign(**{"P.Value": -t["P.Value"]}), r"outside \[0, 1\].*log10\(P.Value\)"),
        (lambda t: t.rename(columns={"logFC": "FC", "t": "x"}), "neither a ratio nor a signed fold change"),
        (lambda t: t.assign(FC=2 ** t["logFC"].abs()).drop(columns="logFC"), "lost the direction"),
        (
            lambda t: t.rename(columns={"logFC": "x", "P.Value": "s1", "adj.P.Val": "s2", "t": "s3"}),
            "gb.read.expression",
        ),
        (lambda t: t.assign(log2FC=t["logFC"] + 1), "2 columns that could be logFC"),
        (lambda t: t.assign(pval=t["P.Value"] / 2), "2 columns that could be P.Value"),
        (lambda t: t.assign(FC=2 ** t["logFC"], logFC=t["logFC"] * np.log(2)), r"natural logarithms of 'FC'.*ln\(FC\)"),
        (lambda t: t.reset_index(drop=True).set_axis([" "] * 40), "No row has an id"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tables_that_are_refused(change, message, table):
    with pytest.raises(TableError, match=message):
        gb.read.toptable(change(table))


@pytest.mark.parametrize(
    ("source", "how", "error", "message"),
    [
        ("t", {"feature": "symbol"}, ColumnNotFoundError, "no column 'symbol'"),
        ("t", {"coef": "B - A"}, InputError, "coef= chooses one of several results"),
        (3, {}, TableError, "A int is not a DE table"),
        (None, {}, TableError, "NoneType"),
        ("no such file.csv", {}, TableError, "There is no file"),
        (TORTURE, {}, TableError, "is a folder"),
    ],
)
def test_sources_and_arguments_that_are_refused(source, how, error, message, table):
    with pytest.raises(error, match=message):
        gb.read.toptable(table if isinstance(source, str) and source == "t" else source, **how)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ("ID;Description;GeneRatio;BgRatio;pvalue;p.adjust", "gene-set enrichment"),
        ("pathway;pval;padj;ES;NES;size;leadingEdge", "gene-set enrichment"),
        ("Term;Overlap;P-value;Adjusted P-value;Odds Ratio;Combined Score;Genes", "gene-set enrichment"),
        ("gene;baseMean;log2FoldChange;lfcSE;svalue", "s-value"),
        ("gene;M;D;prob;ranking", "NOISeq"),
    ],
)
def test_tables_of_something_else_are_named(columns, what):
    names = columns.split(";")
    frame = pd.DataFrame({name: np.linspace(0.1, 0.9, 20) for name in names}).assign(
        **{names[0]: [f"x{k}" for k in range(20)]}
    )
    with pytest.raises(TableError, match=what):
        gb.read.toptable(frame)


def test_infinite_fold_changes_become_missing_and_are_counted(table):
    table.loc["00", "logFC"] = np.inf
    de, said = told(table)
    assert np.isnan(de.frame.loc["00", "logFC"])
    assert any("1 infinite values of logFC are missing now" in text for text in said)


def test_a_statistic_without_a_sign_is_no_t(table):
    de, said = told(table.rename(columns={"t": "stat"}).assign(stat=table["t"] ** 2))
    assert "t" not in de.frame
    assert "stat" in de.frame
    assert any("'stat' is never negative while logFC is" in text for text in said)


def test_letters_that_name_groups_are_no_statistics(table):
    rng = np.random.default_rng(3)
    groups = pd.DataFrame({name: rng.normal(8, 1, 40) for name in "ABtF"}, table.index)
    frame = pd.concat([groups, table[["logFC", "P.Value"]].rename(columns={"P.Value": "p"})], axis=1)
    de = quiet(frame)
    assert not {"AveExpr", "B", "t", "F"} & set(de.frame.columns)
    np.testing.assert_array_equal(de.frame["B.file"], groups["B"])


def test_seurats_natural_logarithms(table):
    frame = pd.DataFrame({"p_val": table["P.Value"], "avg_logFC": table["logFC"] * np.log(2), "pct.1": 0.5, "pct.2": 0.1,
                          "p_val_adj": np.minimum(table["P.Value"] * 40, 1)}, table.index)  # fmt: skip
    de, said = told(frame)
    np.testing.assert_allclose(de.frame["logFC"], table["logFC"])
    assert de.source["adjust"] == "bonferroni"
    assert not any("bonferroni" in text for text in said)  # what Seurat always does is no news
    assert "avg_logFC -> logFC (x * 1.4427, from natural logarithms)" in de.source["columns"]


# -- frames and DETables -----------------------------------------------------------------------------------------------


def test_frames_are_read_like_files(table):
    de = quiet(table)
    pd.testing.assert_frame_equal(de.frame, table)
    again = quiet(table.reset_index(names="gene"))
    pd.testing.assert_frame_equal(again.frame, table)
    assert again.source["ids"] == "gene"
    assert quiet(table.rename_axis("gene")).source["ids"] == "gene"
    text = table.assign(**{"P.Value": table["P.Value"].map(lambda v: repr(float(v)).replace(".", ","))})
    np.testing.assert_array_equal(quiet(text).frame["P.Value"], table["P.Value"])
    assert quiet(table.astype("float32")).frame["t"].dtype == np.float64
    assert quiet(table.convert_dtypes()).frame["t"].dtype == np.float64
    wide = table.set_axis(pd.MultiIndex.from_product([["B vs A"], table.columns]), axis=1)
    pd.testing.assert_frame_equal(quiet(wide).frame, table)


def test_a_de_table_is_returned_as_it_is(table):
    de = quiet(table)
    assert gb.read.toptable(de) is de
    named = gb.read.toptable(de, contrast="B - A")
    assert named.contrast == "B - A"
    assert named.frame is de.frame


def _made() -> dict[str, gb.DETable]:
    """A table of every kind, as read from its program's own columns."""
    rng = np.random.default_rng(5)
    n = 60
    logfc, mean, se = rng.normal(size=n), rng.uniform(4, 12, n), rng.uniform(0.2, 0.4, n)
    ids = [f"g{k}" for k in range(n)]
    t = logfc / se
    p = 2 * stats.t.sf(abs(t), 10)
    limma = pd.DataFrame({"logFC": logfc, "AveExpr": mean, "t": t, "P.Value": p, "adj.P.Val": adjust_bh(p)}, ids)
    bound = 0.3
    far = np.maximum(abs(logfc) - bound, 0) / se
    p_treat = stats.t.sf((abs(logfc) - bound) / se, 10) + stats.t.sf((abs(logfc) + bound) / se, 10)
    treat = limma.assign(t=np.sign(logfc) * far, **{"P.Value": p_treat, "adj.P.Val": adjust_bh(p_treat)})
    joint = pd.DataFrame({"B - A": logfc, "C - A": rng.normal(size=n), "AveExpr": mean, "F": t**2}, ids)
    p_f = stats.f.sf(t**2, 2, 10)
    joint = joint.assign(**{"P.Value": p_f, "adj.P.Val": adjust_bh(p_f)})
    edger = pd.DataFrame({"logFC": logfc, "logCPM": mean}, ids)
    p_lr, p_lr2 = stats.chi2.sf(t**2, 1), stats.chi2.sf(t**2, 2)
    several = pd.DataFrame(
        {"logFC.B": logfc, "logFC.C": joint["C - A"], "logCPM": mean, "LR": t**2, "PValue": p_lr2}, ids
    )
    z = 2 * stats.norm.sf(abs(t))
    wald = pd.DataFrame(
        {"baseMean": 2**mean, "log2FoldChange": logfc, "lfcSE": se, "stat": t, "pvalue": z, "padj": adjust_bh(z)}, ids
    )
    lrt = wald.assign(stat=t**2, pvalue=p_lr2, padj=adjust_bh(p_lr2))
    welch = limma.assign(**{"P.Value": 2 * stats.t.sf(abs(t), rng.uniform(4, 12, n))}).rename(
        columns={"P.Value": "pval"}
    )
    frames = {
        "limma t": limma.assign(**{"B": -np.log(p)}),
        "limma t without B": limma,
        "limma CI": limma.assign(**{"CI.L": logfc - se, "CI.R": logfc + se, "B": -np.log(p)}),
        "limma F": joint,
        "limma treat": treat,
        "limma topTreat(number=10)": treat.sort_values("P.Value").head(10),
        "edgeR QL": edger.assign(F=t**2, PValue=stats.f.sf(t**2, 1, 10), FDR=adjust_bh(p)),
        "edgeR LRT": edger.assign(LR=t**2, PValue=p_lr, FDR=adjust_bh(p_lr)),
        "edgeR exact": edger.assign(PValue=p_lr, FDR=adjust_bh(p_lr)),
        "edgeR FWER": edger.assign(PValue=p_lr, FWER=adjust(p_lr, "holm")),
        "edgeR several": several.assign(FDR=adjust_bh(p_lr2)),
        "edgeR glmTreat": edger.assign(**{"unshrunk.logFC": logfc * 1.01}, PValue=p_treat, FDR=adjust_bh(p_treat)),
        "DESeq2 Wald": wald,
        "DESeq2 LRT": lrt,
        "DESeq2 shrunken": wald.drop(columns="stat"),
        "scanpy": pd.DataFrame({"names": ids, "scores": t, "logfoldchanges": logfc, "pvals": p, "pvals_adj": adjust_bh(p)}),
        "Welch": welch[["logFC", "t", "pval"]],
        "columns that are no statistics": limma.drop(columns="t").assign(stat=t**2, qvalue=adjust_bh(p) / 2, SYMBOL=ids[::-1]),
    }  # fmt: skip
    tables = {name: quiet(frame, contrast="B - A") for name, frame in frames.items()}
    letters = limma.assign(B=rng.normal(8, 1, n)).rename(columns={"t": "x"})[["B", "logFC", "P.Value"]]
    return tables | {"a group called B": quiet(letters, columns={"logFC": "logFC", "P.Value": "P.Value", "B": None})}


MADE = _made()
KIND = {"limma F": "F", "edgeR several": "F", "DESeq2 LRT": "F", "limma treat": "treat", "edgeR glmTreat": "treat"}
KIND["limma topTreat(number=10)"] = "treat"
NOT_WRITTEN = {
    *((name, dialect) for name in KIND for dialect in ("scanpy", "pertpy")),
    *((name, "deseq2") for name in KIND if name != "DESeq2 LRT"),
    *((name, "edger") for name in ("limma treat", "limma topTreat(number=10)", "DESeq2 LRT")),
}
PROGRAMS = ["limma", "scanpy", "pertpy", "deseq2", "edger"]


def check_same(back: gb.DETable, de: gb.DETable, columns: list[str], rtol: float = 1e-12) -> None:
    """The same columns, kind, ids and numbers; an annotation may have become text."""
    assert back.kind == de.kind
    assert set(back.frame.columns) == set(columns)
    frame = back.frame[columns]
    numeric = [name for name in columns if de.frame[name].dtype == float and name not in LIMMA_COLUMNS]
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in numeric})
    pd.testing.assert_frame_equal(frame, de.frame[columns], check_names=False, check_dtype=False, rtol=rtol)


def test_each_made_table_is_of_its_kind():
    assert {name: de.kind for name, de in MADE.items()} == {name: KIND.get(name, "t") for name in MADE}
    assert any("tests |logFC| > 0.3 (treat)" in note for note in MADE["limma topTreat(number=10)"].source["warnings"])


@pytest.mark.parametrize("dialect", PROGRAMS)
@pytest.mark.parametrize("name", MADE)
def test_a_table_in_another_programs_columns_reads_back_the_same(name, dialect, tmp_path):
    de = MADE[name]
    if (name, dialect) in NOT_WRITTEN:
        with pytest.raises(TableError, match="minimal fold change" if de.kind == "treat" else "joint test"):
            de.to(dialect)
        return
    out = de.to(dialect)
    out.to_csv(tmp_path / "t.csv", index=dialect not in ("scanpy", "pertpy"))
    for source in (out, tmp_path / "t.csv"):
        back, notes = told(source)
        check_same(back, de, list(de.frame.columns))
        assert any("likelihood-ratio" in note for note in notes) == (name == "DESeq2 LRT")
    key = {"scanpy": "pvals", "pertpy": "p_value", "deseq2": "pvalue", "edger": "PValue", "limma": "P.Value"}[dialect]
    assert key in out


@pytest.mark.parametrize("number", ["G01", "G05", "G07", "G11", "G12", "G13", "G14", "G15", "G20"])
@pytest.mark.parametrize("dialect", PROGRAMS)
def test_torture_tables_read_back_the_same(number, dialect):
    de = quiet(TORTURE / described(number)["file"], contrast="B - A")
    try:
        out = de.to(dialect)
    except TableError:
        assert (de.kind, dialect) not in (("t", dialect), ("F", "limma"), ("treat", "limma"))
        return
    check_same(quiet(out), de, list(de.frame.columns))


def test_no_scale_is_invented():
    assert "baseMean" not in MADE["limma t"].to("deseq2")
    assert "baseMean" in MADE["DESeq2 Wald"].to("deseq2")
    assert "AveExpr" not in MADE["DESeq2 Wald"].to("deseq2")
    assert "AveExpr" in MADE["limma t"].to("edger")
    assert "logCPM" in MADE["edgeR QL"].to("edger")
    assert "FWER" in MADE["edgeR FWER"].to("edger")


@pytest.mark.parametrize(("dialect", "column"), [("deseq2", "stat"), ("scanpy", "scores")])
@pytest.mark.parametrize(("name", "statistic"), [("edgeR QL", "F"), ("edgeR LRT", "LR")])
def test_the_signed_root_stands_for_t(name, statistic, dialect, column):
    out, frame = MADE[name].to(dialect), MADE[name].frame
    np.testing.assert_allclose(out[column], np.sign(frame["logFC"]) * np.sqrt(frame[statistic]))


@pytest.mark.parametrize("to", ["csv", "tsv", "xlsx", "parquet", "h5ad"])
@pytest.mark.parametrize("name", MADE)
def test_files_read_back_the_same(name, to, tmp_path):
    if to == "parquet":
        pytest.importorskip("pyarrow")
    de = MADE[name]
    back = quiet(export.write(de, tmp_path / f"x.{to}"))
    kept = [column for column in de.frame.columns if to != "h5ad" or column in LIMMA_COLUMNS]
    check_same(back, de, kept, rtol=1e-15)
    matters = [note for note in de.source["warnings"] if "likelihood-ratio" in note or "tests |logFC|" in note]
    assert set(matters) <= set(back.source["warnings"])


def test_feather_and_parquet_are_read_through_pandas(table, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    frame = table.reset_index(names="gene")
    frame.to_feather(tmp_path / "x.feather")
    table.to_parquet(tmp_path / "x.any")  # told by its content
    for name, form in (("x.feather", "feather"), ("x.any", "parquet")):
        de = quiet(tmp_path / name)
        pd.testing.assert_frame_equal(de.frame, table)
        assert (de.source["format"], de.source["path"]) == (form, str(tmp_path / name))
        (tmp_path / "cut").write_bytes((tmp_path / name).read_bytes()[:300])
        with pytest.raises(TableError, match=f"cut is a damaged {form.capitalize()} file"):
            gb.read.toptable(tmp_path / "cut")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"x\.feather is a Feather file, which needs pyarrow: pip install"):
        gb.read.toptable(tmp_path / "x.feather")


@pytest.mark.parametrize("number", ["G08", "G13", "G15", "G20"])
def test_what_was_told_of_a_table_is_told_again_when_it_comes_from_an_anndata(number, tmp_path):
    de = quiet(TORTURE / described(number)["file"])
    adata = AnnData(np.ones((2, len(de))), var=pd.DataFrame(index=list(de.frame.index)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.add_de(adata, de, rank_genes_groups=de.kind != "F")
    adata.write_h5ad(tmp_path / "x.h5ad")
    for source in (adata, tmp_path / "x.h5ad"):
        back, said = told(source)
        assert back.source["warnings"] == de.source["warnings"]
        assert len(said) == len(de.source["warnings"]) > 0
        if de.kind != "F":
            ranked, said = told(source, sheet="rank_genes_groups")
            assert set(de.source["warnings"]) <= set(ranked.source["warnings"])
            assert len(set(said)) == len(said) >= len(de.source["warnings"])


def test_an_unknown_dialect_is_named(table):
    with pytest.raises(InputError, match="Did you mean 'deseq2'"):
        quiet(table).to("deseq")


# -- AnnData -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ranked() -> AnnData:
    """60 cells of three groups, ranked by scanpy."""
    scanpy = pytest.importorskip("scanpy")
    rng = np.random.default_rng(0)
    adata = AnnData(rng.poisson(2.0, (60, 30)).astype(float))
    adata.X[:20, :5] += 3
    adata.obs["kind"] = pd.Categorical(["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    adata.var_names = ["NA", "1E5", *[f"g{k}" for k in range(28)]]
    adata.obs_names = [f"cell{k}" for k in range(60)]
    scanpy.pp.log1p(adata)
    scanpy.tl.rank_genes_groups(adata, "kind", method="t-test", pts=True)
    return adata


def test_scanpys_ranking_is_read_from_an_anndata(ranked, tmp_path):
    scanpy = pytest.importorskip("scanpy")
    with pytest.raises(TableError, match=r"3 groups: \['a', 'b', 'c'\].*coef='a'.*by='group'"):
        gb.read.toptable(ranked)
    de = quiet(ranked, coef="b")
    theirs = scanpy.get.rank_genes_groups_df(ranked, "b").set_index("names")
    for ours, name in {"logFC": "logfoldchanges", "P.Value": "pvals", "adj.P.Val": "pvals_adj", "t": "scores"}.items():
        np.testing.assert_array_equal(de.frame[ours], theirs[name].astype(float))
    assert list(de.frame.index) == list(theirs.index)
    assert (de.contrast, de.source["reference"], de.source["method"], de.source["adjust"]) == (
        "b vs rest",
        "rest",
        "t-test",
        "BH",
    )
    assert list(quiet(ranked, by="group")) == ["a", "b", "c"]
    assert quiet(ranked, coef=3).contrast == "c vs rest"
    ranked.write_h5ad(tmp_path / "r.h5ad")
    pd.testing.assert_frame_equal(quiet(tmp_path / "r.h5ad", coef="b").frame, de.frame)
    frame = scanpy.get.rank_genes_groups_df(ranked, None)
    with pytest.raises(TableError, match="by='group'"):
        gb.read.toptable(frame)
    by = quiet(frame, by="group")
    np.testing.assert_array_equal(by["b"].frame["logFC"], de.frame["logFC"])
    with pytest.raises(ColumnNotFoundError, match="no group 'd'"):
        gb.read.toptable(ranked, coef="d")


def test_a_ranking_without_p_values_is_refused(ranked):
    scanpy = pytest.importorskip("scanpy")
    scanpy.tl.rank_genes_groups(ranked, "kind", method="logreg")
    with pytest.raises(TableError, match=r"logreg.*no p-values"):
        gb.read.toptable(ranked, coef="a")


def test_our_own_results_are_read_back_from_an_anndata(table):
    table.index = [f"g{k}" for k in range(40)]
    adata = AnnData(np.ones((2, 45)), var=pd.DataFrame(index=[*table.index, *[f"x{k}" for k in range(5)]]))
    with pytest.raises(TableError, match="holds no DE results"):
        gb.read.toptable(adata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.add_de(adata, quiet(table, contrast="B - A"))
    de = quiet(adata)
    pd.testing.assert_frame_equal(de.frame[table.columns], table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.add_de(adata, quiet(table, contrast="B - A"), key_added="again")
    joint = quiet(TORTURE / described("G15")["file"])
    third = AnnData(np.ones((2, 300)), var=pd.DataFrame(index=list(joint.frame.index)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.add_de(third, joint)
    assert quiet(third).kind == "F"
    with pytest.raises(TableError, match=r"several DE results: \['limma', 'again'\].*sheet='limma'"):
        gb.read.toptable(adata)
    assert len(quiet(adata, sheet="again")) == 40


# -- R -----------------------------------------------------------------------------------------------------------------


@pytest.mark.r
def test_r_objects_are_read_live(fresh_r):
    fresh_r("""set.seed(1); y <- matrix(rnorm(600), 100, 6, dimnames = list(paste0("0", 1:100), NULL))
        d <- model.matrix(~0 + gl(3, 2)); colnames(d) <- c("a", "b", "c")
        fit0 <- limma::contrasts.fit(limma::lmFit(y, d), limma::makeContrasts(b - a, c - a, levels = d))
        fit <- limma::eBayes(fit0)""")
    whole = quiet(fresh_r("limma::topTable(fit, coef = 1, number = Inf)"))
    named = quiet(fresh_r("fit"), coef="b - a")
    pd.testing.assert_frame_equal(named.frame, whole.frame)
    pd.testing.assert_frame_equal(quiet(fresh_r("fit"), coef=1).frame, whole.frame)
    assert named.contrast == "b - a"
    several = quiet(fresh_r("fit"))
    assert several.kind == "F"
    assert list(several.frame.columns[:2]) == ["b - a", "c - a"]
    bounded = quiet(fresh_r("limma::treat(fit0, lfc = 0.1)"), contrast="mine", coef=1)
    assert (bounded.kind, bounded.contrast) == ("treat", "mine")
    assert quiet(fresh_r("limma::topTreat(limma::treat(fit0, lfc = 0.1), number = Inf)")).kind == "treat"


@pytest.mark.r
def test_a_data_frame_of_r_with_two_results(fresh_r, tmp_path):
    fresh_r(f"""set.seed(1); wide <- data.frame(A_logFC = rnorm(30), A_P.Value = runif(30), B_logFC = rnorm(30), B_P.Value = runif(30),
        row.names = paste0("g", 1:30)); saveRDS(wide, "{tmp_path / "wide.rds"}")""")
    for source in (fresh_r("wide"), tmp_path / "wide.rds"):
        with pytest.raises(TableError, match="2 results side by side"):
            gb.read.toptable(source)
        np.testing.assert_array_equal(quiet(source, coef="B").frame["logFC"], np.array(fresh_r("wide$B_logFC")))
        with pytest.raises(ColumnNotFoundError, match="no result 'D'"):
            gb.read.toptable(source, coef="D")


@pytest.mark.r
@pytest.mark.parametrize(
    "save",
    [
        "write.csv(tab, path)",
        "write.csv2(tab, path)",
        "write.table(tab, path)",
        "write.table(tab, path, sep = '\\t', quote = FALSE)",
        "write.table(tab, path, sep = '\\t', quote = FALSE, col.names = NA)",
        "write.csv(cbind(gene = rownames(tab), tab), path, row.names = FALSE)",
        "{ con <- gzfile(path, 'w'); write.csv(tab, con); close(con) }",
        "saveRDS(tab, path)",
    ],
)
def test_what_r_saves_is_what_r_has(save, fresh_r, tmp_path):
    fresh_r("""set.seed(2); y <- matrix(rnorm(300), 50, 6); y[3, ] <- NA; y[5, 1:4] <- NA
        rownames(y) <- c("NA", "01005", "1-Mar", "a,b", "q'x", paste0("g", 6:50))
        tab <- suppressWarnings(limma::topTable(limma::eBayes(limma::lmFit(y, cbind(1, c(0, 0, 0, 1, 1, 1)))), 2, Inf))""")
    fresh_r(f"path <- '{tmp_path / 'table.csv'}'; {save}")
    theirs = quiet(fresh_r("tab")).frame
    pd.testing.assert_frame_equal(quiet(tmp_path / "table.csv").frame, theirs, rtol=1e-13)
