"""The bridge to R: conversions, limma's objects, and what is said where R does not work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import geneml_bio as gb
from geneml_bio.bridge import r
from geneml_bio.bridge import r_limma as rl
from geneml_bio.core.design import contrast_matrix, design_matrix
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    InputError,
    RError,
    RWarning,
    TableError,
)
from geneml_bio.core.limma import native_limma


@pytest.fixture
def study():
    """Made-up expression: 9 samples x 60 genes, three groups."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {"g": pd.Categorical(list("abc") * 3), "x": rng.normal(size=9)}, index=[f"0{k}" for k in range(9)]
    )
    X = rng.normal(size=(9, 60)) * rng.gamma(2, 1, 60) + 5
    X[:, 0] += (obs["g"] == "b") * 4
    return X, obs, pd.Index([f"p{k}/NA" for k in range(59)] + ["NA"])


def fitted(live, extra=""):
    """An R fit of two contrasts."""
    return live(f"""set.seed(1); y <- matrix(rnorm(600), 100, 6, dimnames = list(paste0("g", 1:100), NULL))
        d <- model.matrix(~0 + gl(3, 2)); colnames(d) <- c("a", "b", "c")
        fit0 <- limma::contrasts.fit(limma::lmFit(y, d), limma::makeContrasts(b - a, c - a, levels = d))
        {extra or "limma::eBayes(fit0)"}""")


# -- objects -----------------------------------------------------------------------------------------------------------


@pytest.mark.r
def test_each_type_of_r_arrives_with_its_gaps(fresh_r):
    frame = r.to_frame(
        fresh_r("""d <- data.frame(whole = c(1L, NA, -3L), full = 1:3, flag = c(TRUE, NA, FALSE), sure = c(TRUE, FALSE, TRUE),
            level = factor(c("v", NA, "u"), levels = c("v", "w", "u")), number = c(1.5, NA, Inf), text = c("NA", NA, "\u00e9"),
            day = as.Date(c("2020-02-29", NA, "1999-12-31")), row.names = c("01005", "NA", "1-Mar"))
        d$rank <- factor(c("lo", "hi", NA), levels = c("lo", "hi"), ordered = TRUE)
        d$listed <- list(1:2, NULL, "x"); d$block <- matrix(1:6, 3, dimnames = list(NULL, c("p", "q")))
        d$time <- as.POSIXct(c("2020-01-01 10:00:00", NA, "2020-01-02 00:00:01"), tz = "UTC")
        d$big <- structure(c(4.94065645841247e-324, -0.0, 9.88131291682493e-324), class = "integer64")
        d$kept <- I(c("a", "b", "c")); d$z <- c(1+2i, NA, 0i); d""")
    )
    assert list(frame.index) == ["01005", "NA", "1-Mar"]
    assert list(frame.columns) == [
        *("whole", "full", "flag", "sure", "level", "number", "text", "day", "rank", "listed", "block.p", "block.q"),
        *("time", "big", "kept", "z"),
    ]
    assert frame["whole"].tolist() == [1, pd.NA, -3]
    assert frame["whole"].dtype == "Int64"
    assert frame["full"].dtype == np.int64
    assert frame["flag"].tolist() == [True, pd.NA, False]
    assert frame["sure"].tolist() == [True, False, True]
    assert frame["sure"].dtype == bool
    assert list(frame["level"].cat.categories) == ["v", "w", "u"]
    assert frame["level"].isna().tolist() == [False, True, False]
    np.testing.assert_array_equal(frame["number"], [1.5, np.nan, np.inf])
    assert frame["text"].tolist() == ["NA", None, "é"]
    assert frame["day"].tolist() == ["2020-02-29", None, "1999-12-31"]
    assert frame["rank"].cat.ordered
    assert frame["listed"].tolist() == ["1;2", None, "x"]
    assert frame["block.q"].tolist() == [4, 5, 6]
    assert frame["time"].tolist() == ["2020-01-01T10:00:00", None, "2020-01-02T00:00:01"]
    assert frame["big"].tolist() == [1, pd.NA, 2]
    assert frame["kept"].tolist() == ["a", "b", "c"]


@pytest.mark.r
def test_empty_frames_and_row_numbers(fresh_r):
    empty = r.to_frame(fresh_r("data.frame(a = character(0), b = integer(0))"))
    assert empty.shape == (0, 2)
    assert empty["a"].dtype == object
    assert r.to_frame(fresh_r('data.frame(row.names = c("u", "v"))')).shape == (2, 0)
    assert r.to_frame(fresh_r("data.frame(a = 1:2)")).attrs["automatic_row_names"]
    assert not r.to_frame(fresh_r('data.frame(a = 1:2, row.names = c("1", "x"))')).attrs["automatic_row_names"]
    with pytest.raises(RError, match=r"not a data\.frame: integer"):
        r.to_frame(fresh_r("1:3"))


@pytest.mark.r
def test_objects_are_known_by_class(fresh_r):
    fit = fitted(fresh_r)
    assert r.is_r_object(fit)
    assert not r.is_r_object(pd.DataFrame())
    assert r.r_class(fit) == ["MArrayLM"]
    import rpy2.robjects as ro  # what a user passes

    assert r.is_r_object(ro.r("data.frame(a = 1)"))


def test_asking_about_an_object_does_not_load_rpy2():
    code = (
        "import sys; from geneml_bio.bridge import r; assert not r.is_r_object(1); "
        "assert not [m for m in sys.modules if m.startswith('rpy2')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# -- limma -------------------------------------------------------------------------------------------------------------


@pytest.mark.r
@pytest.mark.parametrize("how", [{}, {"trend": True}, {"treat_lfc": 0.5}])
@pytest.mark.parametrize("contrast", [("g", "b", "a"), ["gb - ga", "(gb + gc)/2 - ga"]])
def test_both_engines_give_the_same_table(study, contrast, how, r_limma):
    X, obs, features = study
    design = design_matrix("~ 0 + g + x", obs)
    weights = contrast_matrix(contrast, design, obs=obs)
    if weights.shape[1] > 1 and "treat_lfc" in how:
        for engine in (rl.limma_fit, native_limma):
            with pytest.raises(InputError, match="one contrast at a time"):
                engine(X, design, weights, features, **how)
        return
    theirs, about = rl.limma_fit(X, design, weights, features, **how)
    ours, native = native_limma(X, design, weights, features, **how)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9, atol=1e-13)
    assert about["engine"] == "r"
    assert about["limma_version"].count(".") >= 2
    assert about["contrasts"] == native["contrasts"] == list(weights.columns)
    for key in set(native) - {"engine", "contrasts"}:
        np.testing.assert_allclose(about[key], native[key], rtol=1e-8, err_msg=key)


@pytest.mark.r
def test_missing_values_go_to_r(study, r_limma):
    X, obs, features = study
    if tuple(map(int, r.package_version("limma").split(".")[:2])) >= (3, 61):
        pytest.skip("limma from 3.61 on estimates the prior of genes with unequal df otherwise than the native engine")
    X[[0, 3], 4], X[:, 7] = np.nan, np.nan
    design = design_matrix("~ g", obs)
    weights = contrast_matrix("gb", design)
    theirs, _ = rl.limma_fit(X, design, weights, features)
    ours, _ = native_limma(X, design, weights, features)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9, atol=1e-13)
    assert theirs["t"].isna().sum() == 1


@pytest.mark.r
def test_robust_is_rs(study, fresh_r):
    X, obs, features = study
    X[0, 5] += 100
    design = design_matrix("~ g", obs)
    table, about = rl.limma_fit(X, design, contrast_matrix("gb", design), features, robust=True)
    fresh_r.give("x", X.T)
    fresh_r.give("d", design.to_numpy())
    theirs = fresh_r.numbers("limma::eBayes(limma::lmFit(x, d), robust = TRUE)$t[, 2]")
    np.testing.assert_allclose(table.loc[features, "t"], theirs, rtol=1e-9)
    assert about["robust"]


@pytest.mark.r
def test_sparse_goes_to_r_dense_while_it_fits(study, r_limma):
    X, obs, features = study
    X = np.where(X > 5, X, 0)
    design = design_matrix("~ g", obs)
    weights = contrast_matrix("gb", design)
    theirs, _ = rl.limma_fit(sparse.csr_matrix(X), design, weights, features)
    ours, _ = native_limma(sparse.csr_matrix(X), design, weights, features)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9, atol=1e-13)
    huge = sparse.csr_matrix((9, 1 << 27))
    with pytest.raises(InputError, match="engine='native'"):
        rl.limma_fit(huge, design, weights, features)


@pytest.mark.r
@pytest.mark.parametrize(
    ("coef", "columns", "contrasts"),
    [
        (None, ["b - a", "c - a", "AveExpr", "F"], ["b - a", "c - a"]),
        (1, ["logFC", "AveExpr", "t"], ["b - a"]),
        ("c - a", ["logFC", "AveExpr", "t"], ["c - a"]),
        ([2, "b - a"], ["c - a", "b - a", "AveExpr", "F"], ["c - a", "b - a"]),
        (["b - a"], ["logFC", "AveExpr", "t"], ["b - a"]),
    ],
)
def test_a_fit_is_read_by_name_or_number(coef, columns, contrasts, fresh_r):
    fit = fitted(fresh_r)
    frame, about = rl.toptable(fit, coef)
    assert list(frame.columns[: len(columns)]) == columns
    assert about["contrasts"] == contrasts
    assert about["df_prior"] == pytest.approx(float(fresh_r.numbers("limma::eBayes(fit0)$df.prior")[0]))
    if "F" in columns:
        theirs = fresh_r.frame("limma::topTable(limma::eBayes(fit0), number = Inf)")
        np.testing.assert_allclose(frame.loc[theirs.index, "b - a"], theirs.iloc[:, 0])


@pytest.mark.r
def test_the_intercept_is_left_out_and_treat_wants_one_named(fresh_r):
    frame, about = rl.toptable(
        fresh_r("limma::eBayes(limma::lmFit(matrix(sin(1:80), 10), model.matrix(~factor(rep(1:2, 4)))))")
    )
    assert about["contrasts"] == ["factor(rep(1:2, 4))2"]
    assert len(frame) == 10
    treated = fitted(fresh_r, "limma::treat(fit0, lfc = 0.1)")
    with pytest.raises(TableError, match="2 results side by side: 'b - a'"):
        rl.toptable(treated)
    frame, about = rl.toptable(treated, "c - a")
    assert about["contrasts"] == ["c - a"]
    assert about["treat_lfc"] == 0.1
    assert "B" not in frame


@pytest.mark.r
@pytest.mark.parametrize(
    ("code", "coef", "error", "message"),
    [
        ("fit0", None, TableError, "Run limma's eBayes"),
        ("limma::eBayes(fit0)", "c", ColumnNotFoundError, "no coefficient 'c'"),
        ("limma::eBayes(fit0)", 0, ColumnNotFoundError, "number it from 1 to 2"),
        ("limma::eBayes(fit0)", 3, ColumnNotFoundError, "number it from 1 to 2"),
        ("limma::eBayes(fit0)", True, ColumnNotFoundError, "no coefficient True"),
        ("limma::treat(fit0)", [1, 2], InputError, "one coefficient at a time"),
        ("list(1)", None, TableError, "not limma's fit"),
    ],
)
def test_a_fit_that_cannot_be_read_says_why(code, coef, error, message, fresh_r):
    with pytest.raises(error, match=message):
        rl.toptable(fitted(fresh_r, code), coef)


@pytest.mark.r
def test_errors_and_warnings_of_r_come_as_ours(study, r_limma):
    X, obs, features = study
    design = design_matrix("~ g", obs)
    weights = contrast_matrix("gb", design)
    X[0, 0] = np.nan
    X[obs["g"] == "b", 1] = np.nan
    with pytest.raises(RError, match=r"R: length of 'dimnames' .1. not equal to array extent"):
        r.call("fit", x=np.zeros((2, 5)), features=["a"], samples=["b", "c"])
    with pytest.warns(RWarning, match="R: Partial NA coefficients for 1 probe"):
        rl.limma_fit(X, design, weights, features)


@pytest.mark.r
def test_a_fit_object_is_limmas_own(study, fresh_r):
    X, obs, features = study
    fit = rl.fit_object(X, "~ 0 + g", ("g", "b", "a"), obs, obs.index, features)
    assert r.r_class(fit) == ["MArrayLM"]
    de = gb.read.toptable(fit)
    assert de.contrast == "b vs a"
    native = native_limma(
        X, design := design_matrix("~ 0 + g", obs), contrast_matrix(("g", "b", "a"), design, obs=obs), features
    )
    assert list(de.frame.index) == list(native[0].index)
    assert set(de.frame.index) == set(features)


# -- manners -----------------------------------------------------------------------------------------------------------


@pytest.mark.r
def test_r_is_left_as_it_was(study, fresh_r):
    X, obs, features = study
    state = "list(ls(globalenv(), all.names = TRUE), search(), options()[c('warn', 'OutDec', 'stringsAsFactors')])"
    fresh_r("snapshot <- function() " + state)
    before, handler = fresh_r("before <- snapshot()"), signal.getsignal(signal.SIGINT)
    rl.fit_object(X, "~ g", "gb", obs, obs.index, features)
    with pytest.raises(RError):
        r.to_frame(fresh_r("1"))
    assert bool(fresh_r("identical(before, snapshot())")[0])
    assert signal.getsignal(signal.SIGINT) is handler
    assert before is not None


@pytest.mark.r
@pytest.mark.parametrize("first", ["main", "thread"])
def test_starting_r_keeps_the_handler_and_the_threads(first, r_limma):
    """In a process of its own: R is started by us, from the main thread or another; then by rpy2's own door."""
    code = f"""
import signal, sys, threading, warnings
warnings.filterwarnings("error", message="R is not initialized")
mine = lambda *a: None
signal.signal(signal.SIGINT, mine)
from geneml_bio.bridge import r
out = []
ask = lambda: out.append(r.status()["works"])
if {first!r} == "thread":
    t = threading.Thread(target=ask); t.start(); t.join()
else:
    ask()
assert signal.getsignal(signal.SIGINT) is mine
t = threading.Thread(target=ask); t.start(); t.join()
ask()
assert out == [True] * 3, out
import rpy2.robjects as ro
assert ro.r("1 + 1")[0] == 2
assert list(ro.globalenv.keys()) == []
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.r
def test_calls_from_many_threads_agree(study, r_limma):
    X, obs, features = study
    design = design_matrix("~ g", obs)
    weights = contrast_matrix("gb", design)
    found: list[float] = []
    threads = [
        threading.Thread(target=lambda: found.append(rl.limma_fit(X, design, weights, features)[0]["t"].sum()))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


@pytest.mark.r
@pytest.mark.parametrize("before", [None, "/somewhere"])
def test_child_processes_find_the_libraries_they_found_before(before, r_limma):
    """rpy2 puts R's libraries first, where another libpython may be; worker processes would load it."""
    code = "import os; from geneml_bio.bridge import r; r._start(); print(os.environ.get('LD_LIBRARY_PATH'))"
    env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    env |= {} if before is None else {"LD_LIBRARY_PATH": before}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(before)


@pytest.mark.r
def test_a_large_matrix_arrives_as_it_is(fresh_r):
    X = np.random.default_rng(0).normal(size=(500, 20_000))
    session = r._start()
    np.testing.assert_array_equal(r._from_r(session.ri, r._to_r(session.ri, X.ravel())), X.ravel())
    sent = r._to_r(session.ri, X)
    np.testing.assert_array_equal(r._from_r(session.ri, sent), X.T)
    code = "function(x) list(dim(x), any(grepl('wrapper', utils::capture.output(.Internal(inspect(x))))))"
    look = session.ri.baseenv["eval"](session.ri.parse(code), session.env)
    dims, wrapped = r._from_r(session.ri, session.guard(look, sent)[0])
    assert list(dims) == [20_000, 500]  # genes x samples, which nothing had to transpose or wrap
    assert wrapped == [False]
