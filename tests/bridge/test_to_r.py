"""Back to R: what R gets is what it had, and what AnnData had."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import sparse

import geneml_bio as gb
from geneml_bio.bridge import r
from geneml_bio.bridge.r_objects import table_of
from geneml_bio.core.errors import DataWarning, DuplicateNamesError, InputError, RNotAvailableError

DATA = Path(__file__).parent.parent / "data" / "rds"


def test_what_cannot_go_to_r_says_so():
    with pytest.raises(InputError, match="A list cannot be handed to R"):
        gb.to_r([1])
    with pytest.raises(InputError, match=r"to must be one of .* got 'SCE'"):
        gb.to_r(pd.DataFrame(), to="SCE")


def test_without_r_the_error_names_the_fix(monkeypatch):
    def none() -> None:
        raise RNotAvailableError("R was not found")

    monkeypatch.setattr(r, "_start", none)
    with pytest.raises(RNotAvailableError, match="R was not found"):
        gb.to_r(pd.DataFrame({"a": [1]}))


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.r
@pytest.mark.parametrize("name", ["toptable", "toptags", "exact", "lrt", "compact", "datatable"])
def test_a_table_of_r_comes_back_identical(name, fresh_r):
    path = DATA / f"{name}_r42.rds"
    fresh_r.env["theirs"] = fresh_r.ri.baseenv["readRDS"](str(path))
    fresh_r(
        "if (!is.data.frame(theirs)) theirs <- edgeR::topTags(theirs, n = Inf)$table"
        if name in ("exact", "lrt")
        else "NULL"
    )
    fresh_r("if (inherits(theirs, 'TopTags')) theirs <- theirs$table")
    fresh_r("class(theirs) <- 'data.frame'")
    fresh_r.env["ours"] = gb.to_r(table_of(path).frame)
    assert list(fresh_r("all.equal(ours, theirs)")) == [True]
    assert bool(fresh_r("identical(ours, theirs)")[0])


@pytest.mark.r
@pytest.mark.parametrize("coef", [1, 3])
def test_a_fits_table_is_limmas_on_both_sides(coef, fresh_r):
    fresh_r.env["fit"] = fresh_r.ri.baseenv["readRDS"](str(DATA / "fit_gaps_r42.rds"))
    fresh_r(f"theirs <- limma::topTable(fit, coef = {coef}, number = Inf)")
    fresh_r.env["ours"] = gb.to_r(table_of(DATA / "fit_gaps_r42.rds", coef=coef).frame)
    assert list(fresh_r("all.equal(ours, theirs)")) == [True]
    if platform.machine() == "x86_64":  # where a computed NaN has a sign, by which it is told from a missing value
        assert bool(fresh_r("identical(ours, theirs)")[0])


@pytest.mark.r
def test_a_de_table_has_limmas_names(fresh_r, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        de = gb.read.toptable(DATA / "toptable_r45.rds")
    path = tmp_path / "top.rds"
    fresh_r.env["ours"] = gb.to_r(de, path=path)
    assert list(fresh_r("names(ours)")) == ["logFC", "AveExpr", "t", "P.Value", "adj.P.Val", "B"]
    assert list(fresh_r("rownames(ours)")) == list(de.frame.index)
    fresh_r.env["path"] = fresh_r.ri.StrSexpVector([str(path)])
    assert bool(fresh_r("identical(ours, readRDS(path))")[0])
    pd.testing.assert_frame_equal(table_of(path).frame, de.frame, check_flags=False)


@pytest.fixture
def mixed() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "verdict": pd.Categorical(["strong", None, "weak"], ["weak", "strong", "unused"], ordered=True),
            "class": pd.Categorical(["b/c", "a'x", "b/c"]),
            "level": pd.Categorical([3, 1, 3]),
            "selected": pd.array([True, None, False], dtype="boolean"),
            "sure": [True, False, True],
            "rank": pd.array([1, None, -3], dtype="Int64"),
            "count": np.array([2, 0, 2**31 - 1], dtype=np.uint32),
            "large": [1, 2**40, -5],
            "score": [0.5, np.nan, -np.inf],
            "single": np.array([0.5, 1.5, np.nan], dtype=np.float32),
            "symbol": ["NA", None, 'caf\u00e9 "q" \\ `x`'],
            "when": pd.to_datetime(["2020-02-29 12:30:00", None, "1969-12-31 23:59:59"]),
            "day": [datetime.date(2020, 2, 29), None, datetime.date(1969, 12, 31)],
            "wait": pd.to_timedelta([1.5, None, 60], unit="s"),
            "nothing": [None, None, None],
        },
        index=["01005", "1-Mar", "NA"],
    )
    return frame


@pytest.mark.r
def test_each_type_of_column_has_its_class_in_r(mixed, fresh_r):
    fresh_r.env["d"] = gb.to_r(mixed)
    assert list(fresh_r("rownames(d)")) == ["01005", "1-Mar", "NA"]
    wanted = {
        "d$verdict": 'factor(c("strong", NA, "weak"), levels = c("weak", "strong", "unused"), ordered = TRUE)',
        "d$class": 'factor(c("b/c", "a\'x", "b/c"))',
        "d$level": 'factor(c("3", "1", "3"))',
        "d$selected": "c(TRUE, NA, FALSE)",
        "d$sure": "c(TRUE, FALSE, TRUE)",
        "d$rank": "c(1L, NA, -3L)",
        "d$count": "c(2L, 0L, .Machine$integer.max)",
        "d$large": "c(1, 2^40, -5)",
        "d$score": "c(0.5, NA, -Inf)",
        "d$single": "c(0.5, 1.5, NA)",
        "d$symbol": 'c("NA", NA, "caf\\u00e9 \\"q\\" \\\\ `x`")',
        "d$when": 'as.POSIXct(c("2020-02-29 12:30:00", NA, "1969-12-31 23:59:59"), tz = "UTC")',
        "d$day": 'as.Date(c("2020-02-29", NA, "1969-12-31"))',
        "d$wait": 'as.difftime(c(1.5, NA, 60), units = "secs")',
        "d$nothing": "rep(NA_character_, 3)",
    }
    assert [name for name, code in wanted.items() if not fresh_r(f"identical({name}, {code})")[0]] == []
    assert list(fresh_r("names(d)")) == list(mixed.columns)


@pytest.mark.r
def test_rows_without_names_are_counted_and_empty_frames_stay(fresh_r):
    fresh_r.env["d"] = gb.to_r(pd.DataFrame({"a": [1.0, 2.0]}))
    assert bool(fresh_r("identical(d, data.frame(a = c(1, 2)))")[0])
    fresh_r.env["d"] = gb.to_r(pd.DataFrame({"a": np.empty(0), "b": np.empty(0, dtype=object)}))
    assert bool(fresh_r("identical(dim(d), c(0L, 2L))")[0])
    fresh_r.env["d"] = gb.to_r(pd.DataFrame(index=["u", "v"]))
    assert bool(fresh_r("identical(d, data.frame(row.names = c('u', 'v')))")[0])


@pytest.mark.r
def test_tables_that_r_could_not_hold(r_limma):
    with pytest.raises(DuplicateNamesError, match=r"'g'.*reset_index"):
        gb.to_r(pd.DataFrame({"a": [1, 2]}, index=["g", "g"]))
    with pytest.raises(InputError, match="never missing"):
        gb.to_r(pd.DataFrame({"a": [1, 2]}, index=["g", None]))
    with pytest.raises(InputError, match="one level"):
        gb.to_r(pd.DataFrame({"a": [1]}, index=pd.MultiIndex.from_tuples([("x", "y")])))
    with pytest.warns(DataWarning, match="1 values of 'n' are beyond 2\\^53"):
        gb.to_r(pd.DataFrame({"n": [2**60 + 1]}))
    with pytest.warns(DataWarning, match="Column 'o' holds list; R gets its text"):
        gb.to_r(pd.DataFrame({"o": [[1], "x"]}))


# -- AnnData -----------------------------------------------------------------------------------------------------------


def dense(matrix) -> np.ndarray:
    return matrix.toarray() if sparse.issparse(matrix) else np.asarray(matrix)


def check_same(ours: AnnData, theirs: AnnData) -> None:
    np.testing.assert_array_equal(dense(ours.X), dense(theirs.X))
    assert sparse.issparse(ours.X) is sparse.issparse(theirs.X)
    pd.testing.assert_frame_equal(ours.obs, theirs.obs)
    pd.testing.assert_frame_equal(ours.var, theirs.var)
    for slot in ("layers", "obsm"):
        mine, other = getattr(ours, slot), getattr(theirs, slot)
        assert set(mine) == set(other)
        for key in mine:
            np.testing.assert_array_equal(dense(mine[key]), dense(other[key]))
            assert sparse.issparse(mine[key]) is sparse.issparse(other[key])


@pytest.fixture
def adata() -> AnnData:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "class": pd.Categorical(["a", "b", None, "a"], ["b", "a", "unseen"]),
            "age": pd.array([1, None, 3, 4], dtype="Int64"),
            "on": pd.array([True, None, False, True], dtype="boolean"),
            "x": [0.5, np.nan, 1.5, 2.5],
        },
        index=["s1", "NA", "01", "s 4"],
    )
    var = pd.DataFrame(
        {"limma_logFC": rng.normal(size=6), "chosen": [True, False] * 3}, index=[f"g/{i}'" for i in range(6)]
    )
    X = rng.normal(size=(4, 6))
    X[1, 2] = np.nan
    layers = {
        "counts": sparse.random(4, 6, 0.5, format="csr", random_state=1),
        "classify_shap": sparse.csr_matrix((4, 6)),
    }
    obsm = {"X_pca": rng.normal(size=(4, 2)), "X_Harmony": rng.normal(size=(4, 2)), "oof": rng.normal(size=(4, 3))}
    return AnnData(X, obs=obs, var=var, layers=layers, obsm=obsm)


@pytest.mark.r
def test_anndata_to_r_and_back_is_equal(adata, tmp_path, r_limma):
    path = tmp_path / "back.rds"
    live = gb.to_r(adata, path=path)
    assert r.r_class(live) == ["SingleCellExperiment"]
    check_same(gb.read.expression(live), adata)
    check_same(gb.read.expression(path), adata)


@pytest.mark.r
def test_what_r_sees_of_an_anndata(adata, fresh_r):
    fresh_r.env["sce"] = gb.to_r(adata)
    assert bool(fresh_r("methods::validObject(sce)")[0])
    assert list(fresh_r("SummarizedExperiment::assayNames(sce)")) == ["X", "counts", "classify_shap"]
    assert list(fresh_r("class(SummarizedExperiment::assay(sce, 'counts'))")) == ["dgCMatrix"]
    assert list(fresh_r("SingleCellExperiment::reducedDimNames(sce)")) == ["PCA", "X_Harmony", "oof"]
    assert list(fresh_r("rownames(sce)")) == list(adata.var_names)
    assert list(fresh_r("colnames(sce)")) == list(adata.obs_names)
    assert list(fresh_r("levels(sce$class)")) == ["b", "a", "unseen"]
    assert list(fresh_r("names(SummarizedExperiment::rowData(sce))")) == ["limma_logFC", "chosen"]
    assert bool(
        fresh_r("is.na(SummarizedExperiment::assay(sce)[3, 2]) && !is.nan(SummarizedExperiment::assay(sce)[3, 2])")[0]
    )
    np.testing.assert_array_equal(fresh_r.numbers("SummarizedExperiment::assay(sce)[2, ]"), adata.X[:, 1])


@pytest.mark.r
def test_the_kind_of_experiment_is_chosen_or_asked_for(adata, r_limma):
    plain = AnnData(adata.X, obs=adata.obs, var=adata.var)
    assert r.r_class(gb.to_r(plain)) == ["SummarizedExperiment"]
    assert r.r_class(gb.to_r(plain, to="SingleCellExperiment")) == ["SingleCellExperiment"]
    with pytest.warns(DataWarning, match=r"obsm\['X_pca'\]"):
        assert r.r_class(gb.to_r(adata, to="SummarizedExperiment")) == ["SummarizedExperiment"]


@pytest.mark.r
def test_names_that_would_collide_in_r_stay_apart(fresh_r):
    X = np.ones((2, 3))
    adata = AnnData(X, layers={"X": X * 2}, obsm={"X_pca": X * 3, "PCA": X * 4})
    with pytest.warns(DataWarning, match=r"\.X goes over as the assay 'X\.1'"):
        live = gb.to_r(adata)
    again = gb.read.expression(live)
    assert {key: values[0, 0] for key, values in again.obsm.items()} == {"X_pca": 3, "PCA": 4}
    assert (again.X[0, 0], again.layers["X"][0, 0]) == (1, 2)


def test_a_path_that_cannot_be_is_refused_before_r_is_asked(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*absent"):
        gb.to_r(pd.DataFrame({"a": [1]}), path=tmp_path / "absent" / "x.rds")
    with pytest.raises(InputError, match="is a folder; name the file in it"):
        gb.to_r(pd.DataFrame({"a": [1]}), path=tmp_path)


@pytest.mark.r
def test_a_file_of_any_name_can_be_written_in_any_locale(tmp_path, r_limma):
    code = "import sys, pandas as pd, geneml_bio as gb; gb.to_r(pd.DataFrame({'a': [1.5]}), path=sys.argv[1])"
    path = tmp_path / "\u03b2 %d.rds"
    env = {**os.environ, "LC_ALL": "C"}
    run = [sys.executable, "-X", "utf8", "-c", code, str(path)]
    done = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert path.read_bytes()[:2] == b"\x1f\x8b"
    assert first_column(path) == [1.5]


def first_column(path: Path) -> list[float]:
    from geneml_bio.bridge import rds

    return rds.read(path).objects[""].value[0].value.tolist()


@pytest.mark.r
def test_what_is_not_carried_is_named(adata, r_limma):
    adata.uns["limma"] = {"a": 1}
    adata.varm["w"] = np.ones((6, 2))
    adata.obsp["near"] = sparse.identity(4, format="csr")
    with pytest.warns(DataWarning, match=r"3 parts .* uns\['limma'\], varm\['w'\], obsp\['near'\]"):
        gb.to_r(adata)


@pytest.mark.r
def test_whole_numbers_stay_whole(r_limma, fresh_r):
    counts = np.array([[0, 2**31 - 1], [3, 4]])
    fresh_r.env["se"] = gb.to_r(AnnData(counts))
    assert list(fresh_r("typeof(SummarizedExperiment::assay(se))")) == ["integer"]
    np.testing.assert_array_equal(fresh_r.numbers("SummarizedExperiment::assay(se)"), counts.ravel())
    fresh_r.env["se"] = gb.to_r(AnnData(counts * 10))
    np.testing.assert_array_equal(fresh_r.numbers("SummarizedExperiment::assay(se)"), counts.ravel() * 10)


@pytest.mark.r
@pytest.mark.filterwarnings("ignore::geneml_bio.core.errors.DataWarning")
@pytest.mark.parametrize("name", ["sce", "se", "eset", "elist"])
def test_r_to_python_to_r_is_equal(name, fresh_r):
    theirs = gb.read.expression(DATA / f"{name}_r42.rds")
    again = gb.read.expression(gb.to_r(theirs))
    check_same(again, theirs)
    assert again.uns["source"]["X"] == theirs.uns["source"]["X"]  # the assay's name came back
    if name != "sce":
        return
    fresh_r.env["ours"], fresh_r.env["theirs"] = (
        gb.to_r(theirs),
        fresh_r.ri.baseenv["readRDS"](str(DATA / "sce_r42.rds")),
    )
    for part in ("SummarizedExperiment::assay(x, 'counts')", "SummarizedExperiment::assay(x, 'logcounts')", "x$batch", "x$age",
                 "x$smoker", "x$grade", "as.character(SummarizedExperiment::rowData(x)$symbol)", "dimnames(x)",
                 "as.vector(SingleCellExperiment::reducedDim(x, 'PCA'))"):  # fmt: skip
        fresh_r(f"part <- function(x) {part}")
        assert bool(fresh_r("identical(part(ours), part(theirs))")[0]), part
