"""R's objects from files and live, beside what R itself says of them (tests/r/make_objects.R)."""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import geneml_bio as gb
from geneml_bio.bridge.r_limma import toptable as read_by_limma
from geneml_bio.bridge.r_objects import anndata_of, table_of
from geneml_bio.core.errors import ColumnNotFoundError, DataWarning, GenemlError, InputError, TableError

DATA = Path(__file__).parent.parent / "data" / "rds"
TAGS = ("r42", "r45")


@functools.cache
def said(tag: str) -> dict[str, pd.DataFrame]:
    """What R says, by case: text, rows and columns in R's order."""
    table = pd.read_csv(DATA / f"expected_{tag}.csv.gz", dtype=str, keep_default_na=False)
    out = {}
    for case, part in table.groupby("case", sort=False):
        rows, columns = (list(dict.fromkeys(part[name])) for name in ("row", "column"))
        out[str(case)] = part.pivot(index="row", columns="column", values="value").loc[rows, columns]
    return out


def numbers(column: pd.Series) -> np.ndarray:
    return np.array([np.nan if text in ("NA", "NaN") else float(text) for text in column])


def check_column(ours: pd.Series, theirs: pd.Series) -> None:
    if pd.api.types.is_bool_dtype(ours):
        ours = ours.astype(object).where(ours.notna(), "NA").map({True: "TRUE", False: "FALSE", "NA": "NA"})
    elif pd.api.types.is_numeric_dtype(ours):
        np.testing.assert_allclose(ours.to_numpy(dtype=float, na_value=np.nan), numbers(theirs), rtol=1e-12, atol=0)
        return
    assert ["NA" if pd.isna(value) else str(value) for value in ours] == list(theirs)


def check_table(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    assert list(ours.index) == list(theirs.index)
    for name in theirs.columns:
        check_column(ours[name], theirs[name])


# -- tables ------------------------------------------------------------------------------------------------------------

FITS = [case for case in said("r42") if case.startswith("fit")]


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("case", FITS)
def test_a_fit_gives_limmas_own_table(case, tag):
    name, coefs = case.split(":")
    chosen = [int(coef) for coef in coefs.split("+")]
    theirs = said(tag)[case]
    found = table_of(DATA / f"{name}_{tag}.rds", coef=chosen if len(chosen) > 1 else chosen[0])
    ours = found.frame
    assert found.treated is (name == "fit_treat")
    assert found.coefficients == (tuple(found.about["contrasts"]) if len(chosen) > 1 else ())
    # R makes syntactic names of the coefficients ("b...a"); the fit's own are kept
    assert [theirs.columns[i] for i, name in enumerate(ours.columns) if name not in found.coefficients] == [
        name for name in ours.columns if name not in found.coefficients
    ]
    check_table(ours.set_axis(theirs.columns, axis=1), theirs)


@pytest.mark.r
def test_a_fit_without_its_class_is_a_fit(fresh_r):
    fresh_r.env["fit"] = fresh_r.ri.baseenv["readRDS"](str(DATA / "fit_r42.rds"))
    bare = table_of(fresh_r("unclass(fit)"), coef=2)
    pd.testing.assert_frame_equal(bare.frame, table_of(fresh_r("fit"), coef=2).frame)


def test_what_a_fit_rests_on_is_told():
    about = table_of(DATA / "fit_r45.rds", coef="b - a").about
    assert (about["type"], about["contrasts"], about["r_version"]) == ("MArrayLM", ["b - a"], "4.5.0")
    assert about["proportion"] == 0.01
    assert 2 < about["df_prior"] < np.inf
    assert table_of(DATA / "fit_treat_r42.rds", coef="b - c").about["treat_lfc"] == pytest.approx(0.1)


def test_of_several_results_of_treat_one_is_named():
    with pytest.raises(TableError, match=r"3 results side by side: 'b - a' \(1\), 'c - a' \(2\), 'b - c' \(3\)"):
        table_of(DATA / "fit_treat_r42.rds")


def test_the_order_asked_for_is_kept():
    turned, straight = (table_of(DATA / "fit_r42.rds", coef=coef) for coef in ([3, 1], [1, 3]))
    assert list(turned.frame.columns[-6:-4]) == ["b - c", "b - a"] == turned.about["contrasts"]
    pd.testing.assert_frame_equal(turned.frame[straight.frame.columns], straight.frame, rtol=1e-9)


@pytest.mark.r
def test_coefficients_of_one_name_are_told_apart_by_number(fresh_r):
    fresh_r.env["fit"] = fresh_r.ri.baseenv["readRDS"](str(DATA / "fit_r42.rds"))
    fresh_r("colnames(fit$coefficients) <- c('same', 'same', 'F')")
    twice = fresh_r("fit")
    with pytest.raises(TableError, match="2 coefficients of the fit are called 'same'; give a number: 1, 2"):
        table_of(twice, coef="same")
    second = table_of(DATA / "fit_r42.rds", coef=2).frame
    for coef in (2, "same.1"):
        pd.testing.assert_frame_equal(table_of(twice, coef=coef).frame, second)
    with pytest.warns(DataWarning, match="'same' -> 'same.1', 'F' -> 'F.1'"):
        de = gb.read.toptable(twice)
    assert (de.kind, de.contrast) == ("F", "same, same.1, F.1")
    for j, name in enumerate(["same", "same.1", "F.1"]):
        own = table_of(twice, coef=j + 1).frame["logFC"]
        np.testing.assert_array_equal(de.frame[name], own[list(de.frame.index)])


@pytest.mark.r
def test_what_describes_genes_is_no_statistic(fresh_r):
    fresh_r.env["fit"] = fresh_r.ri.baseenv["readRDS"](str(DATA / "fit_r42.rds"))
    fresh_r("fit$genes <- data.frame(logFC = 1:60, padj = 0.5, pvalue = 1)")
    with pytest.warns(DataWarning, match="'logFC' -> 'logFC.file'"):
        de = gb.read.toptable(fresh_r("fit"), coef=1)
    theirs = table_of(DATA / "fit_r42.rds", coef=1).frame
    for name in ("logFC", "P.Value", "adj.P.Val"):
        np.testing.assert_array_equal(de.frame[name], theirs[name])
    assert sorted(de.frame["logFC.file"]) == list(range(1, 61))
    assert set(de.frame["padj"]) == {0.5}
    fresh_r("rownames(fit$coefficients) <- NULL; fit$genes <- NULL")
    with pytest.warns(DataWarning, match="names no features: the numbers of its rows"):
        de = gb.read.toptable(fresh_r("fit"), coef=1)
    assert de.source["ids"] == "row numbers"


@pytest.mark.r
def test_a_fit_of_another_class_is_a_fit(fresh_r):
    fresh_r.env["fit"] = fresh_r.ri.baseenv["readRDS"](str(DATA / "fit_r42.rds"))
    theirs = table_of(DATA / "fit_r42.rds", coef=1).frame
    for code in (
        "structure(fit, class = structure('Mine', package = '.GlobalEnv'))",
        "structure(fit, class = c('Mine', 'MArrayLM'))",
    ):
        found = table_of(fresh_r(code), coef=1)
        assert found.about["type"] == "Mine"
        pd.testing.assert_frame_equal(found.frame, theirs)
    with pytest.raises(TableError, match="parts have lost their names"):
        table_of(fresh_r("structure(unname(unclass(fit)), class = 'Mine')"))


@pytest.mark.r
def test_a_fits_table_is_whole_whatever_it_looks_like(fresh_r):
    fresh_r("""set.seed(1); y <- matrix(rnorm(600, 10), 100, dimnames = list(paste0("g", 1:100), NULL))
        fit <- limma::eBayes(limma::lmFit(y, cbind(Intercept = 1, b = rep(0:1, 3))))""")
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        de = gb.read.toptable(fresh_r("fit"), coef=1)
    assert de.frame["P.Value"].max() < 1e-3
    assert de.source["whole"] is True
    # the same numbers without the fit look like what was selected
    with pytest.warns(DataWarning, match="left out"):
        gb.read.toptable(fresh_r("limma::topTable(fit, coef = 1, number = Inf)"))


@pytest.mark.filterwarnings("ignore::geneml_bio.core.errors.DataWarning")
@pytest.mark.parametrize(
    ("name", "contrast", "adjust"),
    [
        ("exact", "b - a", "BH"),
        ("toptags", "b - a", "holm"),
        ("results", "group c vs a", "BH"),
        ("results_lrt", "'~ group' vs '~ 1'", "BH"),
        ("fit_plain", "groupb, groupc", "BH"),
    ],
)
def test_contrast_and_adjustment_are_the_objects_own(name, contrast, adjust):
    de = gb.read.toptable(DATA / f"{name}_r42.rds")
    assert (de.contrast, de.source["adjust"]) == (contrast, adjust)


@pytest.mark.r
def test_a_threshold_of_deseq2_is_told(fresh_r):
    fresh_r.env["res"] = fresh_r.ri.baseenv["readRDS"](str(DATA / "results_r42.rds"))
    assert gb.read.toptable(fresh_r("res")).kind == "t"
    fresh_r("res@metadata$lfcThreshold <- 0.5")
    with pytest.warns(DataWarning, match=r"against log2 fold changes of 0.5 \(lfcThreshold\), not 0"):
        de = gb.read.toptable(fresh_r("res"))
    assert (de.kind, de.source["lfc"]) == ("treat", 0.5)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("case", ["exact", "lrt", "qlf", "toptags", "results", "results_lrt"])
def test_tables_of_edger_and_deseq2(case, tag):
    found = table_of(DATA / f"{case}_{tag}.rds")
    theirs = said(tag)[case]
    assert list(found.frame.columns) == list(theirs.columns)
    check_table(found.frame, theirs)
    if case == "lrt":
        assert found.coefficients == ("logFC.groupb", "logFC.groupc")
    if case == "results":
        assert found.about["comparison"] == "group c vs a"
        assert "Wald test p-value" in found.about["descriptions"]["pvalue"]
    if case == "results_lrt":
        assert "LRT p-value" in found.about["descriptions"]["pvalue"]
    if case == "toptags":
        assert (found.about["adjust"], found.about["comparison"]) == ("holm", "b - a")


def test_glm_treat_is_known_for_what_it_is():
    assert table_of(DATA / "glmtreat_r42.rds").treated is True


@pytest.mark.parametrize("tag", TAGS)
def test_bioconductors_data_frame(tag):
    with pytest.warns(DataWarning, match=r"1 columns .* where \(IRanges\)"):
        found = table_of(DATA / f"dframe_{tag}.rds")
    frame = found.frame
    assert found.about["left_out"] == ["where (IRanges)"]
    assert list(frame.index) == ["u", "v", "w", "x"]
    np.testing.assert_array_equal(frame["logFC"], [1.5, -2, -2, np.nan])
    assert list(frame["kind"].cat.categories) == ["x", "y"]
    assert frame["kind"].isna().tolist() == [False, False, False, True]
    assert frame["inner.b"].tolist() == ["a", "b", "c", "d"]
    assert frame["go"].tolist() == ["a", "b;c", None, "d"]


def test_tables_of_the_tidyverse_and_data_table():
    assert table_of(DATA / "tibble_r42.rds").about["type"] == "tbl_df"
    assert table_of(DATA / "tibble_r42.rds").frame.shape == (6, 4)
    assert table_of(DATA / "datatable_r45.rds").frame["gene"].tolist() == ["A", "B"]
    assert table_of(DATA / "datatable_r45.rds").frame.attrs["automatic_row_names"]


def test_of_several_one_is_chosen():
    assert table_of(DATA / "list_r42.rds").about["element"] == "second"  # the only one with p-values
    assert table_of(DATA / "list_r42.rds", coef="first").frame.shape == (4, 1)
    assert table_of(DATA / "list_r42.rds", coef=2).frame.shape == (60, 6)
    with pytest.raises(InputError, match=r"no element .third.; name it, or number it from 1.*.first."):
        table_of(DATA / "list_r42.rds", coef="third")
    whole = table_of(DATA / "work_r42.RData", coef=1)
    assert whole.about["sheet"] == "fits"
    pd.testing.assert_frame_equal(whole.frame, table_of(DATA / "fit_r42.rds", coef=1).frame)
    assert table_of(DATA / "two_r45.RData", sheet="types").frame.shape == (4, 19)
    with pytest.raises(InputError, match=r"holds no object 'fit'.*'fits'"):
        table_of(DATA / "two_r45.RData", sheet="fit")


def test_several_are_refused_with_their_names(tmp_path, fresh_r):
    path = tmp_path / "w.RData"
    fresh_r(f"a <- b <- data.frame(logFC = 1, P.Value = 1); save(a, b, file = '{path}')")
    with pytest.raises(TableError, match=r"several objects .*a \(data.frame\), b \(data.frame\)\. Choose one: sheet="):
        table_of(path)
    assert table_of(path, sheet="b").about["sheet"] == "b"
    with pytest.raises(TableError, match=r"several tables: 'a' \(data.frame\).*coef="):
        table_of(fresh_r("list(a = a, b = b)"))
    fresh_r(f"m <- 1; save(m, file = '{path}')")
    with pytest.raises(TableError, match="class numeric holds no DE table"):
        table_of(path)


REFUSED = {
    "fit_raw": r"Run limma's eBayes\(fit\)",
    "glm": r"topTags\(glmQLFTest\(fit",
    "dds": r"results\(DESeq\(dds\)\)",
    "dgelist": r"gb\.read\.expression reads them",
    "elist": "gb.read.expression reads them",
    "eset": "gb.read.expression reads them",
    "sce": "gb.read.expression reads them",
    "tests": "decideTests gives only",
    "lm": "class lm holds no DE table",
    "code": r"holds no DE table: '1' \(function\), '2' \(call\)",
    "promise": r"class environment holds no DE table\.$",
    "dgC": "class dgCMatrix holds no DE table",
}


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_table_says_how_to_make_one(name, tag):
    with pytest.raises(TableError, match=REFUSED[name]):
        table_of(DATA / f"{name}_{tag}.rds")


@pytest.mark.parametrize(
    ("name", "coef", "error", "message"),
    [
        ("fit", "c", ColumnNotFoundError, "no coefficient 'c'"),
        ("fit", 0, ColumnNotFoundError, "number it from 1 to 3"),
        ("fit", True, ColumnNotFoundError, "no coefficient True"),
        ("fit", [], InputError, "empty list"),
        ("fit_treat", [1, 2], InputError, "one coefficient at a time"),
        ("fit_singular", [2, 3], TableError, "no F-statistics"),
    ],
)
def test_coefficients_that_are_not_there(name, coef, error, message):
    with pytest.raises(error, match=message):
        table_of(DATA / f"{name}_r42.rds", coef=coef)


# -- expression --------------------------------------------------------------------------------------------------------

KINDS = ("eset", "eset_environment", "se", "se_bare", "se_old", "rse", "sce", "dgelist", "dds", "elist", "elistraw", "matrix",
         "matrix_na", "dgC", "dgR", "dgT", "lgC", "dsC", "frame")  # fmt: skip
SPARSE = {"sce", "dgC", "dgR", "dgT", "lgC", "dsC"}


def dense(matrix) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def check_matrix(ours, adata, theirs: pd.DataFrame) -> None:
    values = np.column_stack([numbers(theirs[name]) for name in theirs.columns])
    np.testing.assert_array_equal(dense(ours).T, values)
    assert list(adata.var_names) == list(theirs.index)
    assert list(adata.obs_names) == list(theirs.columns)


@pytest.mark.filterwarnings("ignore::geneml_bio.core.errors.DataWarning")
@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("name", KINDS)
def test_expression_data_is_what_r_says(name, tag, tmp_path):
    adata = gb.read.expression(DATA / f"{name}_{tag}.rds")
    theirs = said(tag)
    check_matrix(adata.X, adata, theirs[f"{name}:X"])
    assert sparse.issparse(adata.X) is (name in SPARSE)
    if name in SPARSE:
        assert adata.X.format == "csr"
    for key in ("obs", "var"):
        if f"{name}:{key}" in theirs:
            check_table(getattr(adata, key), theirs[f"{name}:{key}"])
    for layer in adata.layers:
        if layer is not None and f"{name}:{layer}" in theirs:
            check_matrix(adata.layers[layer], adata, theirs[f"{name}:{layer}"])
    adata.write_h5ad(tmp_path / "kept.h5ad")
    again = gb.read.expression(tmp_path / "kept.h5ad")
    if f"{name}:obs" in theirs:
        check_table(again.obs, theirs[f"{name}:obs"])
    assert set(again.layers) == set(adata.layers)


@pytest.mark.parametrize("tag", TAGS)
def test_a_single_cell_experiment_comes_whole_or_says_what_not(tag):
    with pytest.warns(DataWarning, match="2 parts of the R object .* altExp spikes, rowPairs near"):
        adata = gb.read.expression(DATA / f"sce_{tag}.rds")
    assert adata.uns["source"]["left_out"] == ["altExp spikes", "rowPairs near"]
    assert (adata.uns["source"]["X"], adata.uns["source"]["layers"]) == ("counts", ["logcounts"])
    assert adata.uns["metadata"] == {"made": "here"}
    assert sparse.issparse(adata.layers["logcounts"])
    for key, name in {"X_pca": "PCA", "X_umap": "UMAP"}.items():
        theirs = said(tag)[f"sce:{name}"]
        np.testing.assert_array_equal(adata.obsm[key], np.column_stack([numbers(theirs[c]) for c in theirs.columns]))
    obs = adata.obs
    assert list(obs["batch"].cat.categories) == ["two", "one"]
    assert list(obs["grade"].cat.categories) == ["low", "mid", "high"]
    assert obs["grade"].cat.ordered
    assert obs["age"].dtype == "Int64"
    assert obs["smoker"].dtype == "boolean"
    assert obs["day"].tolist()[0] == "2021-03-04"
    assert obs["sizeFactor"].tolist() == [1, 2, 0.5, 1, 1]


def test_layers_tables_and_designs_of_limma_and_edger():
    with pytest.warns(DataWarning, match="common.dispersion"):
        dge = gb.read.expression(DATA / "dgelist_r42.rds")
    assert {"lib.size", "norm.factors", "group"} <= set(dge.obs.columns)
    assert {"tagwise.dispersion", "AveLogCPM"} <= set(dge.var.columns)
    assert dge.obsm["design"].shape == (9, 3)
    elist = gb.read.expression(DATA / "elist_r45.rds")
    assert elist.uns["source"]["design"] == ["one", "two"]
    np.testing.assert_array_equal(elist.obsm["design"], np.column_stack([np.ones(5), [0, 0, 1, 1, 0]]))
    assert "Eb" in gb.read.expression(DATA / "elistraw_r42.rds").layers


def test_ranges_of_genes():
    var = gb.read.expression(DATA / "rse_r45.rds").var
    assert list(var.columns) == ["seqnames", "start", "end", "width", "strand", "score"]
    assert list(var["seqnames"].cat.categories) == ["chr1", "chr2"]
    assert var.iloc[1].tolist() == ["chr2", 20, 24, 5, "-", 2]


def test_names_that_are_missing_are_numbered_and_reported():
    with pytest.warns(DataWarning, match="names no genes and no samples; they were numbered"):
        adata = gb.read.expression(DATA / "se_bare_r42.rds")
    assert list(adata.obs_names) == ["1", "2", "3", "4", "5"]
    assert adata.uns["source"]["numbered"] == ["genes", "samples"]


@pytest.mark.r
def test_names_that_collide_lose_nothing(fresh_r):
    fresh_r("""m <- matrix(1:20 + 0, 5, dimnames = list(letters[1:5], LETTERS[1:4]))
        dims <- list(PCA = matrix(1, 4, 2), X_pca = matrix(2, 4, 2), `a/b` = matrix(3, 4, 1), a_b = matrix(4, 4, 1))
        sce <- SingleCellExperiment::SingleCellExperiment(list(a = m, b = m + 1, b = m + 2, `x/y` = m + 3, x_y = m + 4),
          reducedDims = dims, metadata = list(`u/v` = 1, u_v = 2), mainExpName = "main")""")
    with pytest.warns(DataWarning, match=r"one name in an AnnData, and were numbered: assay b -> b\.1"):
        adata = gb.read.expression(fresh_r("sce"))
    assert {key: values[0, 0] for key, values in adata.layers.items() if key} == {
        "b": 2,
        "b.1": 3,
        "x_y": 4,
        "x_y.1": 5,
    }
    assert {key: values[0, 0] for key, values in adata.obsm.items()} == {"PCA": 1, "X_pca": 2, "a_b": 3, "a_b.1": 4}
    assert adata.uns["metadata"] == {"u_v": 1, "u_v.1": 2}
    renamed = ["assay b -> b.1", "assay x_y -> x_y.1", "reducedDim a_b -> a_b.1", "metadata u_v -> u_v.1"]
    assert adata.uns["source"]["renamed"] == renamed
    assert adata.uns["source"]["left_out"] == ["mainExpName main"]


@pytest.mark.r
def test_names_that_repeat_or_are_missing_are_told(fresh_r):
    fresh_r("""m <- matrix(1:20 + 0, 5, dimnames = list(c("a", "a", "b", "c", NA), LETTERS[1:4]))
        se <- SummarizedExperiment::SummarizedExperiment(list(counts = m))""")
    with pytest.warns(
        DataWarning, match=r"2 genes share their name .*'a'.*var_names_make_unique\(\).*genes called 'NA'.*: 1"
    ):
        adata = gb.read.expression(fresh_r("se"))
    assert list(adata.var_names) == ["a", "a", "b", "c", "NA"]


@pytest.mark.filterwarnings("ignore::geneml_bio.core.errors.DataWarning")
def test_samples_and_target_and_orientation():
    sheet = pd.DataFrame({"group": list("ababa")}, index=["s1", "s2", "s3", "s4", "s5"])
    adata = gb.read.expression(DATA / "eset_r42.rds", samples=sheet, target="group")
    assert adata.obs["group"].tolist() == list("ababa")
    assert list(adata.obs["batch"].cat.categories) == ["two", "one"]
    turned = gb.read.expression(DATA / "matrix_r42.rds", orient="samples")
    assert turned.shape == (12, 5)
    assert turned.uns["source"]["orient"] == "samples"
    turned = gb.read.expression(DATA / "dgC_r42.rds", orient="samples")
    np.testing.assert_array_equal(turned.X.toarray(), gb.read.expression(DATA / "dgC_r42.rds").X.toarray().T)
    with pytest.raises(InputError, match="orient='samples' cannot be right"):
        gb.read.expression(DATA / "eset_r42.rds", orient="samples")
    with pytest.raises(ColumnNotFoundError, match="no column 'gruop'"):
        gb.read.expression(DATA / "eset_r42.rds", target="gruop")
    work = gb.read.expression(DATA / "work_r42.RData")
    assert work.uns["source"]["sheet"] == "expression"
    assert work.shape == (9, 60)
    with pytest.raises(InputError, match="sheet= chooses an object"):
        gb.read.expression(sheet, sheet="x")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fit", "holds results, no expression data: gb.read.toptable"),
        ("results", "holds results"),
        ("toptable", "table of results"),
        ("lm", "class lm holds no expression data"),
        ("code", "class list holds no expression data"),
        ("promise", "class environment holds no expression data"),
    ],
)
def test_what_holds_no_expression_data_says_so(name, message):
    with pytest.raises(InputError, match=message):
        gb.read.expression(DATA / f"{name}_r42.rds")


# -- live --------------------------------------------------------------------------------------------------------------

FILES = sorted(DATA.glob("*_r4[25].rds"))


def outcome(read, source):
    try:
        return read(source)
    except GenemlError as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.r
@pytest.mark.filterwarnings("ignore::geneml_bio.core.errors.DataWarning")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_live_and_file_agree(path, r_limma):
    live = r_limma.ri.baseenv["readRDS"](str(path))
    ours, theirs = outcome(table_of, path), outcome(table_of, live)
    if isinstance(ours, str):
        assert theirs == ours
    else:
        pd.testing.assert_frame_equal(ours.frame, theirs.frame)
        assert (ours.coefficients, ours.treated) == (theirs.coefficients, theirs.treated)
        np.testing.assert_equal({k: v for k, v in ours.about.items() if k in theirs.about}, theirs.about)
    ours, theirs = outcome(anndata_of, path), outcome(anndata_of, live)
    if isinstance(ours, str):
        assert theirs == ours
    else:
        np.testing.assert_array_equal(dense(ours.X), dense(theirs.X))
        pd.testing.assert_frame_equal(ours.obs, theirs.obs)
        pd.testing.assert_frame_equal(ours.var, theirs.var)
        for slot in ("layers", "obsm"):
            assert list(getattr(ours, slot)) == list(getattr(theirs, slot))
            for key, matrix in getattr(ours, slot).items():
                np.testing.assert_array_equal(dense(matrix), dense(getattr(theirs, slot)[key]))
        gone = {"path", "r_version", "compression", "serialisation"}
        assert {k: v for k, v in ours.uns["source"].items() if k not in gone} == dict(theirs.uns["source"])


@pytest.mark.r
@pytest.mark.parametrize("coef", [None, 1, "c - a", [2, 3], ["b - c", "b - a"]])
@pytest.mark.parametrize("name", ["fit", "fit_gaps", "fit_twice", "fit_ids", "fit_plain", "fit_trend_robust"])
def test_the_fit_read_here_is_the_fit_read_by_limma(name, coef, r_limma):
    live = r_limma.ri.baseenv["readRDS"](str(DATA / f"{name}_r42.rds"))
    if name == "fit_plain" and coef is not None:
        coef = {1: 2, "c - a": "groupc"}.get(coef, ["groupb", "groupc"]) if not isinstance(coef, list) else [2, 3]
    theirs, about = read_by_limma(live, coef)
    found = table_of(live, coef=coef)
    assert found.about["contrasts"] == about["contrasts"]
    # as limma subsets a fit whose genes are a vector, their column becomes "object..a.."
    theirs = theirs.rename(columns={"object..a..": "ProbeID"})
    pd.testing.assert_frame_equal(found.frame, theirs, rtol=1e-12, atol=0, check_dtype=False)


@pytest.mark.r
def test_assays_that_are_kept_elsewhere(fresh_r, tmp_path):
    fresh_r("""m <- matrix(as.numeric(1:12), 4, dimnames = list(letters[1:4], c("x", "y", "z")))
        s <- Matrix::Matrix(m * (m > 6), sparse = TRUE)
        se <- SummarizedExperiment::SummarizedExperiment(list(a = DelayedArray::DelayedArray(m) + 1, b = DelayedArray::DelayedArray(s)))""")
    adata = gb.read.expression(fresh_r("se"))
    np.testing.assert_array_equal(adata.X.T, np.arange(1, 13).reshape(4, 3, order="F") + 1)
    assert sparse.issparse(adata.layers["b"])
    path = tmp_path / "delayed.rds"
    fresh_r(f"base::saveRDS(se, '{path}')")
    with pytest.raises(InputError, match="first assay is a DelayedMatrix, which keeps its values elsewhere"):
        gb.read.expression(path)
    fresh_r(f"SummarizedExperiment::assay(se) <- DelayedArray::DelayedArray(m); base::saveRDS(se, '{path}')")
    np.testing.assert_array_equal(gb.read.expression(path).X.T, np.arange(1, 13).reshape(4, 3, order="F"))


@pytest.mark.r
def test_what_only_r_can_read_is_given_to_it_when_trusted(fresh_r, tmp_path):
    path = tmp_path / "promised.rds"
    fresh_r(f"""e <- new.env(); delayedAssign("exprs", matrix(1:6 + 0, 3, dimnames = list(letters[1:3], c("x", "y"))), assign.env = e)
        p <- Biobase::ExpressionSet(matrix(0, 3, 2, dimnames = list(letters[1:3], c("x", "y"))))
        attr(p, "assayData") <- e; base::saveRDS(p, '{path}'); touched <- FALSE""")
    before = set(fresh_r.ri.globalenv)
    with pytest.raises(InputError, match=r"It holds \d+ values that R computes.*trusted=True.*CVE-2024-27322"):
        gb.read.expression(path)
    adata = gb.read.expression(path, trusted=True)
    np.testing.assert_array_equal(adata.X.T, np.arange(1, 7).reshape(3, 2, order="F"))
    assert adata.uns["source"]["read_by"] == "R"
    assert set(fresh_r.ri.globalenv) == before


@pytest.mark.r
def test_nothing_is_attached(r_limma):
    code = f"""
import rpy2.rinterface as ri
ri.initr()
import geneml_bio as gb
live = ri.baseenv["readRDS"]({str(DATA / "sce_r42.rds")!r})
before = list(ri.baseenv["search"]())
gb.read.expression(live)
assert list(ri.baseenv["search"]()) == before, list(ri.baseenv["search"]())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.r
def test_the_classic_data_sets_need_no_r(fresh_r):
    home = fresh_r("system.file('data', 'ALL.rda', package = 'ALL')")[0]
    if not home:
        pytest.skip("the R package ALL is not here")
    fresh_r("e <- new.env(); data('ALL', package = 'ALL', envir = e)")
    with pytest.warns(DataWarning, match="experimentData"):
        ours = gb.read.expression(home)
    with pytest.warns(DataWarning, match="experimentData"):
        theirs = gb.read.expression(fresh_r("e$ALL"))
    np.testing.assert_array_equal(ours.X, theirs.X)
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    assert ours.shape == (128, 12625)
    assert ours.obs["mol.biol"].value_counts()["BCR/ABL"] == 37


@pytest.mark.r
def test_a_table_of_rs_own_object_is_whole_whatever_its_numbers_look_like(fresh_r):
    """An intercept: every gene differs from zero, which in a file looks like a table cut by significance."""
    fit = fresh_r("""set.seed(1); y <- matrix(rnorm(6000, 8), 1000); g <- gl(2, 3)
        limma::eBayes(limma::lmFit(y, model.matrix(~ g)))""")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*row numbers|.*count rows|.*number", category=DataWarning)
        de = gb.read.toptable(fit, coef="(Intercept)")
    check = de.check()
    assert check.ok
    assert check.verdict.startswith("Whole")
