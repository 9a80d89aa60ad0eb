"""Expression data in R objects, as R says what they hold; a live object and its file are read alike."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from test_r_objects import DATA, TAGS, check_table, numbers, said

import geneml_bio as gb
from geneml_bio.bridge.r_limma import toptable as read_by_limma
from geneml_bio.bridge.r_objects import anndata_of, table_of
from geneml_bio.core.errors import ColumnNotFoundError, DataWarning, GenemlError, InputError

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
        pytest.skip("the R package ALL, whose own file is read, is not installed: apt-get install r-bioc-all")
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
