"""gb.read.toptable: DE tables of any program, as people save them."""

from __future__ import annotations

import csv
import functools
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import geneml_bio as gb
from geneml_bio.bridge import dialects
from geneml_bio.bridge.tables import EXACT
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    DataWarning,
    InputError,
    TableError,
)
from geneml_bio.core.pvalues import adjust_bh

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


def whole_table() -> pd.DataFrame:
    """A complete table of 40 genes, as of an ordinary t-test with 10 degrees of freedom."""
    rng = np.random.default_rng(0)
    t = np.array(sorted(rng.standard_t(10, size=40) * 2, key=abs))[::-1]
    frame = pd.DataFrame({"logFC": t * 0.3, "AveExpr": rng.uniform(4, 12, 40), "t": t})
    frame["P.Value"] = 2 * stats.t.sf(abs(t), 10)
    frame["adj.P.Val"] = adjust_bh(frame["P.Value"].to_numpy())
    frame.index = [f"0{k}" for k in range(40)]
    return frame


@pytest.fixture
def table() -> pd.DataFrame:
    return whole_table()


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
