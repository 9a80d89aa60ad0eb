"""The native engine against limma: live where R is there, and against stored tables of limma 3.54 everywhere."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recipe import FEATURES, simulated
from scipy import sparse, stats

import geneml_bio as gb
from geneml_bio.bridge.tables import EXACT
from geneml_bio.core import moderated, squeeze
from geneml_bio.core.design import contrast_matrix, design_matrix
from geneml_bio.core.errors import DataWarning, InputError
from geneml_bio.core.limma import native_limma

DATA = Path(__file__).parents[1] / "data"
THREE = ["groupb - groupa", "groupc - groupa", "(groupb + groupc)/2 - groupa"]


def assert_agrees(ours: pd.DataFrame, theirs: pd.DataFrame, tolerance: float = 1e-8) -> None:
    """Equal to a relative 1e-8: effects and statistics as they are, p-values by their logarithm."""
    for name in theirs.columns:
        a, b = ours.loc[theirs.index, name].to_numpy(), theirs[name].to_numpy()
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=name)
        if name in ("P.Value", "adj.P.Val"):
            a, b = np.log10(a), np.log10(b)
        # the floor is rounding noise of the data (a logFC of 1e-9 between values around 10, the t of a constant gene)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=1e-13, err_msg=name)


def same_order(ours: pd.DataFrame, theirs: pd.DataFrame, by: str) -> None:
    """The same order of rows, but for ties."""
    np.testing.assert_allclose(ours[by].to_numpy(), theirs[by].to_numpy(), rtol=1e-8, atol=1e-12)


# -- stored references -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def references():
    summary = pd.read_csv(DATA / "limma_summary.csv", keep_default_na=False)
    return {case: dict(zip(part["name"], part["value"], strict=True)) for case, part in summary.groupby("case")}


def stored(case: str) -> pd.DataFrame:
    return pd.read_csv(DATA / f"limma_{case}.csv.gz", index_col=0, **EXACT)


CASES = {
    "golub": ("classAML", {}),
    "golub_trend": ("classAML", {"trend": True}),
    "golub_treat": ("classAML", {"treat_lfc": 0.2}),
    "sim_F": (THREE, {}),
    "sim_t": (THREE, {"coef": 2}),
    "sim_trend": (THREE, {"coef": 2, "trend": True}),
    "gaps_F": (THREE, {}),
    "gaps_t": (THREE, {"coef": 2}),
    "flat_F": (THREE, {}),
    "flat_t": (THREE, {"coef": 2}),
    "equal_F": (THREE, {}),
    "equal_t": (THREE, {"coef": 2}),
}


@pytest.mark.parametrize("case", CASES)
def test_native_engine_equals_stored_limma(case, references):
    contrast, how = CASES[case]
    how = dict(how)
    coef = how.pop("coef", None)
    if case.startswith("golub"):
        adata = gb.datasets.golub()
        X, obs, features, formula = adata.X, adata.obs, adata.var_names, "~ class"
    else:
        made = simulated()
        X, obs, features, formula = made[case.split("_")[0]], made["obs"], FEATURES, "~ 0 + group + age"
    design = design_matrix(formula, obs)
    weights = contrast_matrix(contrast, design, obs=obs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        table, about = native_limma(X, design, weights, features, **how)
    if coef is not None:  # limma's B rests on all contrasts that were fitted together
        fit = moderated.e_bayes(
            moderated.contrasts_fit(moderated.lm_fit(X, design), weights), trend=how.get("trend", False)
        )
        table = moderated.top_table(fit, features, coef=coef)
    theirs = stored(case)
    named = {"b - a": THREE[0], "c - a": THREE[1], "(b + c)/2 - a": THREE[2]}
    theirs = theirs.rename(columns=named)
    assert list(table.columns) == [name for name in theirs.columns if name != "rank"]
    ranks = theirs.pop("rank").to_numpy() - 1
    assert_agrees(table, theirs)
    same_order(table.iloc[ranks], theirs, "B" if "B" in theirs else "P.Value")
    known = references[case]
    assert len(table) == int(known["rows"])
    assert about["df_prior"] == pytest.approx(float(known["df_prior"]), rel=1e-9)
    assert about["s2_prior"] == pytest.approx(float(known["s2_prior"]), rel=1e-9)
    for name in table.columns:
        back = {value: key for key, value in named.items()}.get(name, name)
        total = float(np.nansum(table[name]))
        assert total == pytest.approx(float(known[f"sum:{back}"]), rel=1e-9, abs=1e-9), name


def test_references_name_their_versions(references):
    assert references["versions"]["limma"].startswith("3.54")


def test_the_cases_cover_what_they_claim(references):
    assert np.isinf(float(references["equal_F"]["df_prior"]))
    assert stored("gaps_t")["t"].isna().sum() == 2  # nothing seen; one group unseen


# -- live --------------------------------------------------------------------------------------------------------------

LIVE = {
    "golub": ("~ class", "~ class", "classAML", 2),
    "leukemia": ("~ `mol.biol`", "~ mol.biol", "mol.biolBCR/ABL", 2),
    "bladder": ("~ cancer + batch", "~ cancer + batch", ["cancerCancer", "cancerBiopsy - cancerCancer"], None),
}
LOAD = {
    "golub": """data(golub, package = "multtest", envir = environment()); x <- golub
        rownames(x) <- golub.gnames[, 3]; pd <- data.frame(class = factor(ifelse(golub.cl == 0, "ALL", "AML")))""",
    "leukemia": """data(ALL, package = "ALL", envir = environment()); e <- Biobase::exprs(ALL); p <- Biobase::pData(ALL)
        keep <- grepl("^B", p$BT) & p$mol.biol %in% c("BCR/ABL", "NEG"); x <- e[, keep]
        pd <- data.frame(mol.biol = factor(as.character(p$mol.biol[keep]), levels = c("NEG", "BCR/ABL")))""",
    "bladder": """data(bladderdata, package = "bladderbatch", envir = environment()); x <- Biobase::exprs(bladderEset)
        p <- Biobase::pData(bladderEset); pd <- data.frame(batch = factor(p$batch),
        cancer = factor(as.character(p$cancer), levels = c("Normal", "Biopsy", "Cancer")))""",
}
VARIANTS = {"plain": "eBayes(fit)", "trend": "eBayes(fit, trend = TRUE)", "treat": "treat(fit, lfc = 0.3)"}


@pytest.fixture(scope="module")
def live_study(r_limma):
    """Each study once, in Python and in R."""
    cache = {}

    def get(name):
        if name not in cache:
            if (
                r_limma.bridge.status()["packages"][{"golub": "multtest", "leukemia": "ALL"}.get(name, "bladderbatch")]
                is None
            ):
                pytest.skip(f"the R package of {name} is missing")
            live = type(r_limma)(r_limma.bridge)
            live("library <- NULL; lmFit <- limma::lmFit; eBayes <- limma::eBayes; treat <- limma::treat")
            live(LOAD[name])
            live(f"design <- model.matrix({LIVE[name][1]}, pd); fit <- lmFit(x, design)")
            cache[name] = getattr(gb.datasets, name)(), live
        return cache[name]

    return get


@pytest.mark.r
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("study", LIVE)
def test_native_engine_equals_live_limma(study, variant, live_study):
    adata, live = live_study(study)
    formula, _, contrast, coef = LIVE[study]
    if study == "bladder":
        live("weights <- cbind(c(0, 0, 1, 0, 0, 0, 0), c(0, 1, -1, 0, 0, 0, 0))")
        live("fit <- limma::contrasts.fit(lmFit(x, design), weights)")
        if variant == "treat":
            contrast, coef = contrast[0], 1
    design = design_matrix(formula, adata.obs)
    np.testing.assert_array_equal(design.to_numpy(), np.array(live.frame("design")))
    how = {"plain": {}, "trend": {"trend": True}, "treat": {"treat_lfc": 0.3}}[variant]
    table, about = native_limma(
        adata.X, design, contrast_matrix(contrast, design, obs=adata.obs), adata.var_names, **how
    )
    live(f"done <- {VARIANTS[variant]}")
    which = "limma::topTreat" if variant == "treat" else "limma::topTable"
    theirs = live.frame(f"{which}(done, coef = {coef or 'NULL'}, number = Inf)")
    if coef is None:
        theirs.columns = [*contrast, *theirs.columns[2:]]
    assert list(table.columns) == list(theirs.columns)
    same_order(table, theirs, "B" if "B" in theirs else "P.Value")
    assert_agrees(table, theirs)
    assert about["df_prior"] == pytest.approx(live.numbers("done$df.prior")[0], rel=1e-10)


@pytest.mark.r
@pytest.mark.parametrize(
    ("s2", "df", "covariate"),
    [
        ("c(1, 2, 3, 4, 10)", "4", "NULL"),
        ("c(1, 2, 3, 4, 10, 0, 0)", "c(4, 3, 5, 1, 2, 4, 4)", "NULL"),
        ("c(2, 3)", "3", "NULL"),
        ("c(2, 3, 9)", "3", "NULL"),
        ("c(2)", "3", "NULL"),
        ("c(1, 1, 1, 1.01)", "3", "NULL"),
        ("(1:40)^2 %% 7 + 0.1", "3", "sqrt(1:40)"),
        ("(1:40)^2 %% 7 + 0.1", "3", "rep(1:4, 10)"),
        ("(1:40)^2 %% 7 + 0.1", "3", "rep(1, 40)"),
        ("(1:40)^2 %% 7 + 0.1", "3", "c(rep(0, 25), 1:15)"),
        ("(1:4)^2", "3", "1:4"),
        ("c(0, 0, (1:40)^2 %% 7 + 0.1)", "c(0, 5, rep(3, 40))", "(1:42)^1.5"),
        ("exp(sin(1:60) * 3)", "rep(1:6, 10)", "cos(1:60)"),
        ("rep(2, 60) + sin(1:60) / 10", "30", "1:60"),
    ],
)
def test_squeezed_variances_equal_limmas(s2, df, covariate, fresh_r):
    fresh_r(f"s2 <- {s2}; df <- {df}; z <- {covariate}")
    if "rep(0, 25)" in covariate and fresh_r.numbers("getRversion() >= '4.3.0'")[0]:
        pytest.skip("R from 4.3 on moves spline knots that meet the end of the range; the native engine follows 4.2")
    if s2 == "c(2, 3)" and fresh_r.numbers("utils::packageVersion('limma') >= '3.61'")[0]:
        pytest.skip("limma from 3.61 on gives two genes no prior; the native engine follows 3.54")
    # limma from 3.61 on has another estimator for unequal df; legacy=TRUE is the one that the native engine follows
    fresh_r("how <- if ('legacy' %in% names(formals(limma::squeezeVar))) list(legacy = TRUE) else list()")
    fresh_r("out <- suppressWarnings(do.call(limma::squeezeVar, c(list(s2, df, covariate = z), how)))")
    z = None if covariate == "NULL" else fresh_r.numbers("z")
    post, prior, df_prior = moderated.squeeze_var(fresh_r.numbers("s2"), fresh_r.numbers("df"), z)
    np.testing.assert_allclose(df_prior, fresh_r.numbers("out$df.prior")[0], rtol=1e-8)
    np.testing.assert_allclose(post, fresh_r.numbers("out$var.post"), rtol=1e-8)
    np.testing.assert_allclose(
        np.broadcast_to(prior, post.shape), fresh_r.numbers("rep_len(out$var.prior, length(s2))"), rtol=1e-8
    )


@pytest.mark.r
def test_tails_equal_rs(fresh_r):
    t = np.array([0.0, 1e-9, 1e-3, 0.5, 1.0, 3.0, 8.0, 40.0, 1e3, 1e60])
    for df in (0.5, 1.0, 3.7, 30.0, 1e3, 1e5, 2e6, np.inf):
        fresh_r.give("t", t)
        theirs = fresh_r.numbers(f"2 * pt(-t, {'Inf' if np.isinf(df) else df})")
        np.testing.assert_allclose(squeeze.two_sided_p(t, df), theirs, rtol=1e-9, atol=1e-300)
        log_tail = fresh_r.numbers(f"pt(t, {'Inf' if np.isinf(df) else df}, lower.tail = FALSE, log.p = TRUE)")
        some = slice(None) if np.isfinite(df) else slice(0, 7)
        np.testing.assert_allclose(squeeze.log_upper_tail(t, df)[some], log_tail[some], rtol=1e-9)
        fresh_r.give("p", log_tail[3:8])
        back = fresh_r.numbers(f"qt(p, {'Inf' if np.isinf(df) else df}, lower.tail = FALSE, log.p = TRUE)")
        np.testing.assert_allclose(squeeze.upper_t_quantile(log_tail[3:8], df), back, rtol=1e-8)


# -- properties --------------------------------------------------------------------------------------------------------


def counts(rng, n=40, p=300, density=0.2):
    return sparse.csr_matrix(np.where(rng.random((n, p)) < density, np.log1p(rng.poisson(3, (n, p)) + 1), 0.0))


@pytest.mark.parametrize("formula", ["~ a", "~ 0 + a + x", "~ x", "~ 0 + x"])
@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_sparse_equals_dense(formula, form):
    rng = np.random.default_rng(1)
    X = counts(rng)
    obs = pd.DataFrame({"a": list("uv") * 20, "x": rng.normal(size=40)})
    design = design_matrix(formula, obs)
    dense = moderated.lm_fit(X.toarray(), design)
    thin = moderated.lm_fit(X.asformat(form), design)
    for name in ("coefficients", "stdev_unscaled", "sigma2", "df_residual", "ave_expr", "cov"):
        np.testing.assert_allclose(getattr(thin, name), getattr(dense, name), rtol=1e-9, atol=1e-13, err_msg=name)


def test_sparse_keeps_its_digits_where_the_design_explains_all():
    n = 60
    a = np.repeat([0.0, 1.0], n // 2)
    X = np.column_stack([1000 * a + 1e-4 * np.sin(np.arange(n)), 1e4 * (1 + a) + 1e-3 * np.cos(np.arange(n)), a])
    design = np.column_stack([np.ones(n), a])
    dense, thin = moderated.lm_fit(X, design), moderated.lm_fit(sparse.csr_matrix(X), design)
    np.testing.assert_allclose(thin.sigma2[:2], dense.sigma2[:2], rtol=1e-6)
    assert max(thin.sigma2[2], dense.sigma2[2]) < 1e-28  # 0 but for rounding


def test_sparse_with_repeated_entries_is_summed():
    row, col, value = np.array([0, 0, 1, 2, 3]), np.array([0, 0, 0, 0, 0]), np.array([1.0, 2.0, 1.0, 5.0, 4.0])
    X = sparse.csr_matrix((value, col, np.array([0, 2, 3, 4, 5])), shape=(4, 1))
    assert not X.has_canonical_format
    design = np.column_stack([np.ones(4), [0, 0, 1, 1]])
    fit = moderated.lm_fit(sparse.hstack([X, X], "csr"), design)
    again = moderated.lm_fit(np.repeat([[3.0], [1.0], [5.0], [4.0]], 2, axis=1), design)
    np.testing.assert_allclose(fit.sigma2, again.sigma2)
    assert len(row) == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_storage_gives_the_same(dtype, order):
    rng = np.random.default_rng(2)
    X = rng.integers(0, 200, (20, 50)).astype(dtype, order=order)
    before = X.copy()
    design = np.column_stack([np.ones(20), np.arange(20) % 2])
    fit = moderated.lm_fit(X, design)
    np.testing.assert_array_equal(X, before)
    slow = [stats.ttest_ind(X[1::2, j].astype(float), X[::2, j].astype(float)).statistic for j in range(50)]
    t = fit.coefficients[:, 1] / (fit.stdev_unscaled[:, 1] * np.sqrt(fit.sigma2))
    np.testing.assert_allclose(t, slow, rtol=1e-9)
    assert fit.sigma2.dtype == np.float64


def test_blocks_do_not_matter(monkeypatch):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(12, 500))
    X[rng.random(X.shape) < 0.02] = np.nan
    design = np.column_stack([np.ones(12), np.arange(12) % 3 == 0])
    whole = moderated.e_bayes(moderated.lm_fit(X, design))
    monkeypatch.setattr("geneml_bio.core.linear._BLOCK", 12 * 16)
    pieces = moderated.e_bayes(moderated.lm_fit(X, design))
    np.testing.assert_allclose(pieces.t, whole.t, rtol=1e-12)


def test_constant_genes_have_no_variance_and_no_t():
    rng = np.random.default_rng(4)
    X = np.column_stack([rng.normal(size=(10, 50)), np.zeros(10), np.full(10, 3.3), np.full(10, 1e6 / 3)])
    design = np.column_stack([np.ones(10), np.arange(10) % 2])
    for form in (X, sparse.csr_matrix(X)):
        fit = moderated.e_bayes(moderated.lm_fit(form, design))
        assert (fit.sigma2[-3:] == 0).all()
        assert np.abs(fit.t[-3:, 1]).max() < 1e-6
        assert np.isfinite(fit.t).all()


def test_mostly_constant_genes_are_warned_about():
    X = np.zeros((6, 10))
    X[:, 0] = np.arange(6)
    with pytest.warns(DataWarning, match="More than half"):
        moderated.e_bayes(moderated.lm_fit(X, np.column_stack([np.ones(6), np.arange(6) % 2])))


def test_light_call_gives_the_same_t_and_f():
    made = simulated()
    design = design_matrix("~ group", made["obs"])
    fit = moderated.lm_fit(made["sim"], design)
    light, full = moderated.e_bayes(fit, lods=False), moderated.e_bayes(fit)
    assert light.p_value is None
    assert light.lods is None
    np.testing.assert_array_equal(light.t, full.t)
    np.testing.assert_array_equal(light.F, full.F)
    with pytest.raises(InputError, match="no p-values"):
        moderated.top_table(light, FEATURES)


def test_f_does_not_depend_on_how_the_contrasts_are_written():
    made = simulated()
    design = design_matrix("~ 0 + group", made["obs"])
    fit = moderated.lm_fit(made["sim"], design)
    one = moderated.e_bayes(moderated.contrasts_fit(fit, np.array([[-1, -1], [1, 0], [0, 1]])))
    other = moderated.e_bayes(moderated.contrasts_fit(fit, np.array([[-1, -1, 0], [1, 0, -1], [0, 1, 1]])))
    np.testing.assert_allclose(one.F, other.F, rtol=1e-9)


def test_treat_with_no_bound_is_the_ordinary_test():
    made = simulated()
    fit = moderated.lm_fit(made["sim"], design_matrix("~ age", made["obs"]))
    np.testing.assert_allclose(moderated.treat(fit, 0.0).p_value, moderated.e_bayes(fit).p_value, rtol=1e-10)


def test_null_p_values_are_uniform():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(12, 4000)) * np.sqrt(1 / rng.gamma(4, 1 / 4, 4000))
    fit = moderated.e_bayes(moderated.lm_fit(X, np.column_stack([np.ones(12), np.arange(12) % 2])))
    assert stats.kstest(fit.p_value[:, 1], "uniform").pvalue > 0.01
