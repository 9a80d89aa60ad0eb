"""limma's formulas against limma, what a table gives back of itself, and the noise ceiling against simulated truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from geneml_bio.core.closed_form import closed_form, log_odds, moderated_t, noise_ceiling, posterior_variance
from geneml_bio.core.detable import DETable
from geneml_bio.core.limma import native_limma
from geneml_bio.core.squeeze import two_sided_p

DATA = Path(__file__).parents[1] / "data" / "forensics"
TRUTHS = json.loads((DATA / "truths.json").read_text())


def table(case: str, kind: str = "t") -> DETable:
    text = pd.read_csv(DATA / f"{case}.csv.gz", index_col=0, dtype=str, keep_default_na=False)
    frame = text.map(lambda value: np.nan if value == "NA" else float(value))
    return DETable(frame.drop(columns=["CI.L", "CI.R"], errors="ignore"), kind=kind)  # type: ignore[arg-type]


def study(seed: int, n_genes: int = 1000, per_group: int = 3, spread: float = 0.5, df_prior: float = 4.0):
    """Two groups; true effects, gene variances from limma's own prior."""
    rng = np.random.default_rng(seed)
    sigma2 = 0.1 * df_prior / rng.chisquare(df_prior, n_genes)
    effect = rng.normal(0, spread, n_genes)
    level = rng.normal(8, 2, n_genes)
    case = np.repeat([0.0, 1.0], per_group)
    X = level + np.outer(case, effect) + rng.normal(size=(2 * per_group, n_genes)) * np.sqrt(sigma2)
    design = pd.DataFrame({"control": 1 - case, "case": case})
    weights = pd.DataFrame({"case - control": [-1.0, 1.0]}, index=["control", "case"])
    names = pd.Index([f"g{i}" for i in range(n_genes)])
    frame, _ = native_limma(X, design, weights, names, trend=False, treat_lfc=None)
    frame = frame.loc[names]
    return DETable(frame), effect, X


R_FIT = """
set.seed(1)
x <- matrix(rnorm(400 * 8) * sqrt(4 * 0.3 / rchisq(400, 4)), 400, 8)
x[1:40, 5:8] <- x[1:40, 5:8] + 1.5
rownames(x) <- paste0("g", 1:400)
if (gaps) x[cbind(sample(400, 120), sample(8, 120, replace = TRUE))] <- NA
fit <- limma::eBayes(limma::lmFit(x, cbind(1, rep(0:1, each = 4))), proportion = 0.03)
"""


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "missing values"])
def test_the_formulas_are_limmas(r_limma, gaps):
    r_limma("gaps <- " + ("TRUE" if gaps else "FALSE"))
    r_limma(R_FIT)
    get = r_limma.numbers
    s2_post = posterior_variance(
        get("fit$sigma^2"), get("fit$df.residual"), get("fit$s2.prior"), float(get("fit$df.prior")[0])
    )
    np.testing.assert_allclose(s2_post, get("fit$s2.post"), rtol=1e-8)
    v = get("fit$stdev.unscaled[, 2]")
    t = moderated_t(get("fit$coefficients[, 2]"), s2_post, v)
    np.testing.assert_allclose(t, get("fit$t[, 2]"), rtol=1e-8)
    ratio = (v**2 + get("fit$var.prior")[1]) / v**2
    np.testing.assert_allclose(
        log_odds(t, get("fit$df.total"), ratio, 0.03), get("fit$lods[, 2]"), rtol=1e-8, atol=1e-8
    )
    np.testing.assert_allclose(two_sided_p(t, get("fit$df.total")), get("fit$p.value[, 2]"), rtol=1e-8)


def test_an_infinite_prior_is_normal(r_limma):
    r_limma(
        "set.seed(2); x <- matrix(rnorm(300 * 10), 300); fit <- limma::eBayes(limma::lmFit(x, cbind(1, rep(0:1, 5))))"
    )
    assert np.isinf(r_limma.numbers("fit$df.prior")[0])
    v = r_limma.numbers("fit$stdev.unscaled[, 2]")
    ratio = (v**2 + r_limma.numbers("fit$var.prior")[1]) / v**2
    made = log_odds(r_limma.numbers("fit$t[, 2]"), np.inf, ratio, normal=True)
    np.testing.assert_allclose(made, r_limma.numbers("fit$lods[, 2]"), rtol=1e-8)


# target, exact, R2 at least (in R's own tables)
ROWS = [
    ("B", True, 1 - 1e-9),
    ("t", True, 1 - 1e-9),
    ("P.Value", True, 1 - 1e-9),
    ("adj.P.Val", True, 1 - 1e-12),
    ("logFC", False, 0.5),
]


@pytest.mark.parametrize(("target", "exact", "least"), ROWS, ids=[row[0] for row in ROWS])
@pytest.mark.parametrize("case", ["golub", "all_trend"])
def test_a_table_gives_its_columns_back(case, target, exact, least):
    de = table(case)
    found = closed_form(de.frame, target, de.check().facts)
    assert found is not None
    assert found.exact is exact
    y = de.frame[target].to_numpy()
    half = np.arange(len(y)) % 2 == 0
    made = found.predict(half)
    assert target not in found.uses
    assert 1 - np.mean((y - made)[~half] ** 2) / np.var(y[~half]) >= least


def test_one_error_for_all_is_least_squares_of_the_training_genes():
    de = table("golub")
    y, t = de.frame["logFC"].to_numpy(), de.frame["t"].to_numpy()
    train = np.arange(len(y)) < 1500
    slope = np.linalg.lstsq(t[train, None], y[train], rcond=None)[0][0]
    np.testing.assert_allclose(closed_form(de.frame, "logFC").predict(train), slope * t, rtol=1e-12)


def test_standard_errors_and_intervals_give_the_fold_change():
    de = table("deseq2")
    by_error = closed_form(de.frame, "logFC", {})
    assert by_error.exact
    assert set(by_error.uses) == {"t", "SE"}
    known = np.isfinite(de.frame["t"])
    np.testing.assert_allclose(by_error.predict(known)[known], de.frame["logFC"][known], rtol=1e-6)
    ends = pd.DataFrame({"logFC": [1.0, -2.0], "CI.L": [0.5, -2.5], "CI.R": [1.5, -1.5]})
    np.testing.assert_allclose(closed_form(ends, "logFC").predict(np.ones(2, bool)), [1.0, -2.0])


def test_a_minimal_fold_change_is_added_back():
    t, se, lfc = np.array([2.0, -3.0, 0.5]), np.array([0.5, 0.2, 1.0]), 0.4
    frame = pd.DataFrame({"logFC": np.sign(t) * (np.abs(t) * se + lfc), "t": t, "SE": se})
    found = closed_form(frame, "logFC", {"lfc": lfc}, kind="treat")
    np.testing.assert_allclose(found.predict(np.ones(3, bool)), frame["logFC"])
    assert closed_form(frame[["logFC", "t"]], "logFC", {}, kind="treat") is None


def test_b_without_a_common_r_is_a_rising_curve():
    de = table("bladder_gaps")  # missing values: each gene has its own v and df
    found = closed_form(de.frame, "B", de.check().facts)
    assert found is not None
    assert not found.exact
    y, train = de.frame["B"].to_numpy(), np.arange(len(de)) % 3 > 0
    made = found.predict(train)
    known = ~train & np.isfinite(made) & np.isfinite(y)
    assert stats.spearmanr(made[known], y[known]).statistic > 0.99
    order = np.argsort(np.abs(de.frame["t"].to_numpy()))
    assert (np.diff(made[order][np.isfinite(made[order])]) >= 0).all()


@pytest.mark.parametrize(
    ("columns", "target"), [(["logFC", "AveExpr"], "logFC"), (["logFC", "B", "AveExpr"], "B"), (["x"], "x")]
)
def test_no_formula_where_nothing_is_tied(columns, target):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(9, len(columns))), columns=columns)
    assert closed_form(frame, target, {}) is None


# -- noise -------------------------------------------------------------------------------------------------------------


def test_knowing_the_truth_reaches_the_ceiling():
    reached, ceilings, bare = [], [], []
    for seed in range(25):
        de, effect, _ = study(seed)
        y = de.frame["logFC"].to_numpy()
        rows = np.ones(len(y), dtype=bool)
        reached.append(1 - np.mean((y - effect) ** 2) / np.var(y))
        ceilings.append(noise_ceiling(de.frame, "logFC", de.check().facts).of(y, rows)[0])
        bare.append(noise_ceiling(de.frame, "logFC", {}).of(y, rows)[0])
    error = np.std(np.subtract(ceilings, reached)) / np.sqrt(len(reached))
    assert np.mean(reached) < 0.9  # there is noise to speak of
    assert abs(np.mean(ceilings) - np.mean(reached)) < max(3 * error, 0.02)
    assert np.mean(bare) > np.mean(ceilings) + 0.02  # the shrunken SE flatters


def test_ordinary_errors_need_no_correction():
    reached, ceilings = [], []
    for seed in range(20):
        _, effect, X = study(seed, per_group=6)
        a, b = X[:6], X[6:]
        y = b.mean(axis=0) - a.mean(axis=0)
        se = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / 6)
        frame = pd.DataFrame({"logFC": y, "SE": se, "P.Value": 0.5})
        reached.append(1 - np.mean((y - effect) ** 2) / np.var(y))
        ceilings.append(noise_ceiling(frame, "logFC", {}).of(y, np.ones(len(y), bool))[0])
    assert abs(np.mean(ceilings) - np.mean(reached)) < 0.015


def test_intervals_tell_the_error_too():
    de, _, _ = study(3)
    y, facts = de.frame["logFC"].to_numpy(), de.check().facts
    se = np.abs(y / de.frame["t"].to_numpy())
    wide = stats.t.isf(0.025, facts["df"]) * se
    frame = pd.DataFrame({"logFC": y, "CI.L": y - wide, "CI.R": y + wide})
    rows = np.ones(len(y), dtype=bool)
    by_t = noise_ceiling(de.frame, "logFC", facts).of(y, rows)
    assert noise_ceiling(frame, "logFC", facts).of(y, rows) == pytest.approx(by_t, rel=1e-9)


@pytest.mark.parametrize(
    ("target", "columns"), [("B", ["B", "t", "logFC"]), ("AveExpr", ["AveExpr", "t"]), ("logFC", ["logFC"])]
)
def test_where_there_is_no_ceiling_the_reason_is_given(target, columns):
    frame = pd.DataFrame(np.ones((3, len(columns))), columns=columns)
    found = noise_ceiling(frame, target, {})
    assert found.error is None
    assert found.words
    assert np.isnan(found.of(np.ones(3), np.ones(3, bool))).all()
