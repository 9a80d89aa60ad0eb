"""gb.read: DE tables and expression matrices as people save them."""

from __future__ import annotations

import csv
import gzip
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import geneml_bio as gb
from geneml_bio.bridge import tables
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    DataWarning,
    DuplicateNamesError,
    InputError,
    TableError,
)

TORTURE = Path(__file__).parent / "data" / "torture"
MANIFEST = json.loads((TORTURE / "manifest.json").read_text(encoding="utf-8"))
IDS = [row[0] for row in csv.reader((TORTURE / "gen_ids.csv").open(encoding="utf-8"))][1:]


def described(number: str) -> dict:
    return next(entry for entry in MANIFEST if entry["file"].startswith(number))


def quiet(source, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return gb.read.toptable(source, **how)


# -- tables ------------------------------------------------------------------------------------------------------------

CLEAN = ["G01", "G02", "G03", "G04", "G05", "G06", "G07", "G10", "G16", "G17", "G18", "G19", "G21", "G23", "G24"]


@pytest.mark.parametrize("number", CLEAN)
def test_limmas_tables_are_read_as_they_were_written(number):
    entry = described(number)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        de = gb.read.toptable(TORTURE / entry["file"])
    frame = de.frame
    assert de.kind == {"G04": "F", "G05": "treat"}.get(number, "t")
    assert len(frame) == entry["n_rows"]
    assert (frame.index[0], frame.index[-1]) == (entry["first_id"], entry["last_id"])
    assert frame["P.Value"].sum() == pytest.approx(entry["sum_p"], rel=1e-12)
    assert frame["adj.P.Val"].sum() == pytest.approx(entry["sum_padj"], rel=1e-12)
    assert frame["P.Value"].isna().sum() == entry["n_na_p"]
    if entry["lfc"]:
        assert frame["logFC"].sum() == pytest.approx(entry["sum_lfc"], rel=1e-12)
    assert de.source["rows_read"] == entry["n_rows"]
    assert de.source["rows_lost"] == 0
    assert [name for name in entry["columns"] if name not in ("", entry["id_col"])] == [
        name for name in frame.columns if name != "ID"
    ]


@pytest.mark.parametrize("number", ["G01", "G02", "G03", "G17", "G18", "G24"])
def test_hostile_ids_survive_exactly(number):
    assert set(gb.read.toptable(TORTURE / described(number)["file"]).frame.index) == set(IDS)


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
    source = gb.read.toptable(TORTURE / described(number)["file"]).source
    assert (source["separator"], source["decimal"], source["encoding"]) == (separator, decimal, encoding)
    assert source["path"].endswith(described(number)["file"])
    assert "logFC -> logFC" in source["columns"]


def test_latin_letters_are_read():
    assert "ÅNGSTÖM" in gb.read.toptable(TORTURE / described("G19")["file"]).frame.index


def test_shuffling_changes_nothing():
    plain, shuffled = (gb.read.toptable(TORTURE / described(number)["file"]).frame for number in ("G01", "G24"))
    pd.testing.assert_frame_equal(shuffled.loc[plain.index, plain.columns], plain)


def test_a_cut_table_is_read_with_a_warning():
    with pytest.warns(DataWarning, match="topTable gives 10 rows unless number=Inf"):
        de = gb.read.toptable(TORTURE / described("G08")["file"])
    assert len(de) == 10
    assert not de.is_complete
    assert len(de.source["warnings"]) == 1


def test_a_mangled_table_is_read_with_warnings_that_count():
    with pytest.warns(DataWarning) as caught:
        de = gb.read.toptable(TORTURE / described("G20")["file"])
    said = [str(warning.message) for warning in caught]
    assert any("1 rows repeat an id ('1-Mar')" in text for text in said)
    assert any("5 ids look as if Excel" in text for text in said)
    assert (len(de), de.source["rows_read"], de.source["rows_lost"]) == (299, 300, 1)
    assert de.source["ids"] == "Gene"
    raw = pd.read_csv(TORTURE / described("G20")["file"], dtype={"Gene": str})
    twins = raw[raw["Gene"] == "1-Mar"]
    assert de.frame.loc["1-Mar", "P.Value"] == twins["P.Value"].min()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ("G09", "not a table with a header"),
        ("G11", "edgeR topTags.*cannot be read yet"),
        ("G14", "DESeq2 results.*cannot be read yet"),
        ("G22", "more than once"),
        ("G25", r"R object \(\.rds\)"),
    ],
)
def test_what_is_no_limma_table_is_refused_by_name(number, message):
    with pytest.raises(TableError, match=message):
        gb.read.toptable(TORTURE / described(number)["file"])


@pytest.fixture
def table() -> pd.DataFrame:
    """A complete table of 40 genes."""
    rng = np.random.default_rng(0)
    p = np.sort(rng.uniform(size=40))
    from geneml_bio.core.pvalues import adjust_bh

    frame = pd.DataFrame({"logFC": rng.normal(size=40), "AveExpr": rng.uniform(4, 12, 40)})
    frame["t"], frame["P.Value"], frame["adj.P.Val"] = np.sort(rng.normal(size=40))[::-1], p, adjust_bh(p)
    frame["B"] = -np.arange(40.0)
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
    "bz2": {"compression": "bz2"},
    "xz": {"compression": "xz"},
}


@pytest.mark.parametrize("how", SAVED)
def test_every_way_of_saving_gives_the_same_table(how, table, tmp_path):
    path = tmp_path / "table.csv"
    table.to_csv(path, **SAVED[how])
    de = gb.read.toptable(path, contrast="AML - ALL")
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
    pd.testing.assert_frame_equal(gb.read.toptable(path).frame, table)


def test_annotation_is_kept_as_text(table, tmp_path):
    table.insert(0, "ENTREZ", [f"00{k}" for k in range(40)])
    table.insert(1, "SYMBOL", ["NA", "nan", "=1+1", *[f"S{k}" for k in range(37)]])
    table.to_csv(tmp_path / "t.csv")
    de = gb.read.toptable(tmp_path / "t.csv")
    assert de.frame["ENTREZ"].tolist() == table["ENTREZ"].tolist()
    assert de.frame["SYMBOL"].tolist() == table["SYMBOL"].tolist()
    assert list(de.frame.index) == list(table.index)
    chosen = gb.read.toptable(tmp_path / "t.csv", feature="SYMBOL")
    assert chosen.frame.index[0] == "NA"
    assert "SYMBOL" not in chosen.frame


def test_row_numbers_are_no_ids_where_there_is_a_column_of_them(table, tmp_path):
    table = table.reset_index(names="ID")
    table.index = np.random.default_rng(1).permutation(40) + 1
    table.to_csv(tmp_path / "t.csv")
    de = gb.read.toptable(tmp_path / "t.csv")
    assert list(de.frame.index) == table["ID"].tolist()
    assert list(de.frame.columns) == ["logFC", "AveExpr", "t", "P.Value", "adj.P.Val", "B"]
    bare = table.drop(columns="ID")
    bare.to_csv(tmp_path / "u.csv")
    assert list(gb.read.toptable(tmp_path / "u.csv").frame.index) == [str(k) for k in bare.index]


def test_entrez_ids_as_row_names_are_ids(table, tmp_path):
    table.index = [str(1000 + 7 * k) for k in range(40)]
    table.insert(0, "SYMBOL", [f"S{k}" for k in range(40)])
    table.to_csv(tmp_path / "t.csv")
    assert list(gb.read.toptable(tmp_path / "t.csv").frame.index) == list(table.index)


def test_rows_of_another_width_are_counted(table, tmp_path):
    text = table.to_csv().splitlines()
    text[5] += ",extra"
    (tmp_path / "t.csv").write_text("\n".join(text), encoding="utf-8")
    with pytest.warns(DataWarning, match="1 rows do not have 7 fields"):
        de = gb.read.toptable(tmp_path / "t.csv")
    assert (len(de), de.source["rows_lost"]) == (39, 1)


def test_infinite_statistics_become_missing_and_are_counted(table):
    table.loc["00", "B"] = np.inf
    with pytest.warns(DataWarning, match="1 infinite values of B"):
        assert np.isnan(gb.read.toptable(table).frame.loc["00", "B"])


def test_frames_are_read_like_files(table):
    de = gb.read.toptable(table)
    pd.testing.assert_frame_equal(de.frame, table)
    again = gb.read.toptable(table.reset_index(names="gene"))
    pd.testing.assert_frame_equal(again.frame, table)
    assert again.source["ids"] == "gene"
    text = table.assign(**{"P.Value": table["P.Value"].map(lambda v: repr(float(v)).replace(".", ","))})
    np.testing.assert_array_equal(gb.read.toptable(text).frame["P.Value"], table["P.Value"])
    assert gb.read.toptable(table.astype("float32")).frame["t"].dtype == np.float64
    assert gb.read.toptable(table.convert_dtypes()).frame["t"].dtype == np.float64


def test_a_de_table_is_returned_as_it_is(table):
    de = gb.read.toptable(table)
    assert gb.read.toptable(de) is de
    named = gb.read.toptable(de, contrast="B - A")
    assert named.contrast == "B - A"
    assert named.frame is de.frame


@pytest.mark.parametrize(
    ("make", "how", "error", "message"),
    [
        (lambda t: t.assign(logFC="high"), {}, TableError, "'logFC' should hold numbers, and 40 of 40"),
        (lambda t: t[:0], {}, TableError, "no rows"),
        (lambda t: t.drop(columns="logFC"), {}, TableError, "not a limma table: it has the columns 'AveExpr'"),
        (lambda t: t.rename(columns={"t": "logFC"}), {}, TableError, "more than once"),
        (lambda t: t.assign(**{"P.Value": 2.0}), {}, TableError, "outside"),
        (lambda t: t, {"feature": "symbol"}, ColumnNotFoundError, "no column 'symbol'"),
        (lambda t: t, {"coef": 1}, InputError, "coef= chooses a coefficient of a limma fit"),
        (lambda t: t.reset_index(drop=True).set_axis([" "] * 40), {}, TableError, "No row has an id"),
        (lambda t: 3, {}, TableError, "A int is not a DE table"),
        (lambda t: None, {}, TableError, "NoneType"),
        (lambda t: AnnData(np.ones((2, 2))), {}, TableError, "rank_genes_groups cannot be read yet"),
        (lambda t: "no such file.csv", {}, TableError, "There is no file"),
        (lambda t: TORTURE, {}, TableError, "is a folder"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_sources_that_are_refused(make, how, error, message, table):
    with pytest.raises(error, match=message):
        gb.read.toptable(make(table), **how)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"RDX3\n", "R workspace"),
        (gzip.compress(b"X\n\x00\x00"), r"\.rds"),
        (b"\x1f\x8bbroken", "damaged"),
        (b"a\x00b\x00\x00\x00", "binary"),
        (b"", "not a table"),
        (b"hello", "not a table"),
        (b"logFC,P.Value\n", "not a table"),
    ],
)
def test_files_that_are_no_text_tables(data, message, tmp_path):
    (tmp_path / "x.csv").write_bytes(data)
    with pytest.raises(TableError, match=message):
        gb.read.toptable(tmp_path / "x.csv")


def test_numbers_are_strict():
    values, strange = tables.numbers(["1e-300", "NA", "", " 2 ", "1_000", "x", "-Inf", "0x10"])
    np.testing.assert_array_equal(values[[0, 1, 2, 3, 6]], [1e-300, np.nan, np.nan, 2, -np.inf])
    assert strange == ["1_000", "x", "0x10"]


@pytest.mark.r
def test_r_objects_are_read_live(fresh_r):
    fresh_r("""set.seed(1); y <- matrix(rnorm(600), 100, 6, dimnames = list(paste0("0", 1:100), NULL))
        d <- model.matrix(~0 + gl(3, 2)); colnames(d) <- c("a", "b", "c")
        fit0 <- limma::contrasts.fit(limma::lmFit(y, d), limma::makeContrasts(b - a, c - a, levels = d))
        fit <- limma::eBayes(fit0)""")
    whole = gb.read.toptable(fresh_r("limma::topTable(fit, coef = 1, number = Inf)"))
    named = gb.read.toptable(fresh_r("fit"), coef="b - a")
    numbered = gb.read.toptable(fresh_r("fit"), coef=1)
    pd.testing.assert_frame_equal(named.frame, whole.frame)
    pd.testing.assert_frame_equal(numbered.frame, whole.frame)
    assert named.contrast == "b - a"
    assert named.source["limma_version"]
    several = gb.read.toptable(fresh_r("fit"))
    assert several.kind == "F"
    assert list(several.frame.columns[:2]) == ["b - a", "c - a"]
    bounded = gb.read.toptable(fresh_r("limma::treat(fit0, lfc = 0.1)"), contrast="mine")
    assert (bounded.kind, bounded.contrast) == ("treat", "mine")
    assert gb.read.toptable(fresh_r("limma::topTreat(limma::treat(fit0, lfc = 0.1), number = Inf)")).kind == "treat"
    with pytest.raises(InputError, match="coef="):
        gb.read.toptable(fresh_r("limma::topTable(fit, coef = 1)"), coef=1)
    with pytest.raises(TableError, match=r"class \['list'\] cannot be read yet"):
        gb.read.toptable(fresh_r("list(1)"))
    with pytest.warns(DataWarning, match="number=Inf"):
        gb.read.toptable(fresh_r("limma::topTable(fit, coef = 1)"))


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
    ],
)
def test_what_r_saves_is_what_r_has(save, fresh_r, tmp_path):
    fresh_r("""set.seed(2); y <- matrix(rnorm(300), 50, 6); y[3, ] <- NA; y[5, 1:4] <- NA
        rownames(y) <- c("NA", "01005", "1-Mar", "a,b", "q'x", paste0("g", 6:50))
        tab <- suppressWarnings(limma::topTable(limma::eBayes(limma::lmFit(y, cbind(1, c(0, 0, 0, 1, 1, 1)))), 2, Inf))""")
    fresh_r(f"path <- '{tmp_path / 'table.csv'}'; {save}")
    theirs = quiet(fresh_r("tab")).frame
    pd.testing.assert_frame_equal(quiet(tmp_path / "table.csv").frame, theirs, rtol=1e-13)


# -- matrices ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def matrix() -> pd.DataFrame:
    """12 samples x 30 genes."""
    values = np.random.default_rng(0).normal(size=(12, 30)).round(3)
    return pd.DataFrame(values, [f"0{k}" for k in range(12)], [f"g{k}/x" for k in range(30)])


def test_the_simplest_file(matrix, tmp_path):
    full = matrix.assign(target=["x", "y"] * 6, sex=["f", "m", "f"] * 4)
    full.to_csv(tmp_path / "m.csv")
    adata = gb.read.expression(tmp_path / "m.csv", target="target")
    np.testing.assert_array_equal(adata.X, matrix.to_numpy())
    assert list(adata.obs_names) == list(matrix.index)
    assert list(adata.var_names) == list(matrix.columns)
    assert adata.obs["target"].tolist() == ["x", "y"] * 6
    assert list(adata.obs.columns) == ["target", "sex"]
    assert adata.uns["source"]["orient"] == "samples"


def test_a_numeric_target_is_no_gene(matrix, tmp_path):
    matrix.assign(weight=np.arange(12)).to_csv(tmp_path / "m.csv")
    adata = gb.read.expression(tmp_path / "m.csv", target="weight")
    assert adata.n_vars == 30
    assert adata.obs["weight"].tolist() == list(range(12))


@pytest.mark.parametrize("how", [{"sep": "\t"}, {"sep": ";", "decimal": ","}, {"compression": "gzip"}])
@pytest.mark.parametrize("orient", ["genes", "samples"])
def test_both_orientations(how, orient, matrix, tmp_path):
    (matrix.T if orient == "genes" else matrix).to_csv(tmp_path / "m.csv", **how)
    with pytest.warns(DataWarning, match=f"rows were taken for {orient}"):
        adata = gb.read.expression(tmp_path / "m.csv")
    np.testing.assert_array_equal(adata.X, matrix.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        stated = gb.read.expression(tmp_path / "m.csv", orient=orient)
    np.testing.assert_array_equal(stated.X, matrix.to_numpy())
    other = gb.read.expression(tmp_path / "m.csv", orient={"genes": "samples", "samples": "genes"}[orient])
    assert other.shape == (30, 12)


def test_gene_annotation_goes_to_var(matrix, tmp_path):
    genes = matrix.T
    genes.insert(0, "description", [f"the {k}th" for k in range(30)])
    genes.to_csv(tmp_path / "m.csv")
    adata = gb.read.expression(tmp_path / "m.csv")
    assert adata.shape == (12, 30)
    assert adata.var["description"].iloc[3] == "the 3th"


def test_a_sample_sheet_is_joined_by_name(matrix, tmp_path):
    matrix.T.to_csv(tmp_path / "m.csv")
    sheet = pd.DataFrame({"sample": matrix.index, "group": list("ab") * 6, "age": range(12), "code": ["01", "02"] * 6})
    sheet["partly"] = ["u", None] * 6
    sheet[::-1].to_csv(tmp_path / "s.csv", index=False)
    for samples in (tmp_path / "s.csv", sheet[::-1], sheet.set_index("sample")):
        adata = gb.read.expression(tmp_path / "m.csv", samples=samples, target="group")
        assert adata.obs["group"].tolist() == list("ab") * 6
        assert adata.obs["age"].tolist() == list(range(12))
        assert adata.obs["code"].tolist() == ["01", "02"] * 6
        assert adata.obs["partly"].isna().sum() == 6
        adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.warns(DataWarning, match=r"4 of 12 samples are not in the sample sheet"):
        gb.read.expression(tmp_path / "m.csv", samples=sheet[:8])
    with pytest.raises(DuplicateNamesError, match="twice"):
        gb.read.expression(tmp_path / "m.csv", samples=pd.concat([sheet, sheet]))
    with pytest.raises(InputError, match="No sample of the matrix"):
        gb.read.expression(
            tmp_path / "m.csv", samples=sheet.assign(sample=[f"z{k}" for k in range(12)]), orient="genes"
        )


def test_missing_values_are_missing(matrix, tmp_path):
    matrix.iloc[0, 0] = np.nan
    matrix.assign(target="x").to_csv(tmp_path / "m.csv", na_rep="NA")
    adata = gb.read.expression(tmp_path / "m.csv")
    assert np.isnan(adata.X[0, 0])
    assert np.isnan(adata.X).sum() == 1


def test_h5ad_frames_and_anndata(matrix, tmp_path):
    adata = AnnData(matrix.to_numpy(), obs=pd.DataFrame({"y": list("ab") * 6}, index=matrix.index))
    adata.write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(gb.read.expression(tmp_path / "a.h5ad", target="y").X, adata.X)
    assert gb.read.expression(adata) is not adata
    frame = gb.read.expression(matrix.assign(target=list("ab") * 6))
    np.testing.assert_array_equal(frame.X, adata.X)
    with pytest.raises(InputError, match=r"has its own \.obs"):
        gb.read.expression(adata, samples=matrix)


@pytest.mark.parametrize(
    ("make", "how", "error", "message"),
    [
        (lambda m: m, {"target": "class"}, ColumnNotFoundError, "no column 'class'"),
        (lambda m: m.T, {"target": "g1/x", "orient": "genes"}, ColumnNotFoundError, "name of a gene"),
        (lambda m: m, {"orient": "columns"}, InputError, "orient must be one of"),
        (lambda m: m.astype(str) + "x", {}, InputError, "No column of numbers"),
        (lambda m: [1, 2], {}, InputError, "A list cannot be read"),
        (lambda m: "nothing.csv", {}, TableError, "There is no file"),
        (lambda m: TORTURE / described("G25")["file"], {}, InputError, "R object.*cannot be read yet"),
        (lambda m: m, {"samples": 3}, InputError, "a path or a DataFrame"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_matrices_that_are_refused(make, how, error, message, matrix):
    with pytest.raises(error, match=message):
        gb.read.expression(make(matrix), **how)


def test_duplicated_columns_are_refused(matrix, tmp_path):
    matrix.columns = ["g0", "g0", *matrix.columns[2:]]
    matrix.to_csv(tmp_path / "m.csv")
    with pytest.raises(DuplicateNamesError, match="'g0'"):
        gb.read.expression(tmp_path / "m.csv")


@pytest.mark.r
def test_an_expression_set_is_read_live(fresh_r):
    adata = gb.read.expression(
        fresh_r("""Biobase::ExpressionSet(matrix(1:6 + 0.5, 3, dimnames = list(c("p/1", "NA", "p3"), c("01", "02"))),
            phenoData = Biobase::AnnotatedDataFrame(data.frame(sex = factor(c("f", NA)), row.names = c("01", "02"))))"""),
        target="sex",
    )
    np.testing.assert_array_equal(adata.X, [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]])
    assert list(adata.var_names) == ["p/1", "NA", "p3"]
    assert adata.obs["sex"].isna().tolist() == [False, True]
    with pytest.raises(InputError, match="class lm holds no expression data"):
        gb.read.expression(fresh_r("lm(mpg ~ wt, mtcars)"))
