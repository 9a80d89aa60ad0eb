"""R's objects from files and live, beside what R itself says of them (tests/r/make_objects.R)."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb
from geneml_bio.bridge.r_objects import table_of
from geneml_bio.core.errors import ColumnNotFoundError, DataWarning, InputError, TableError

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
