"""What forensics does not claim, and its words."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_forensics import CASES, KINDS, LIMMA_T, TRUTHS, adjusted, look, rounded, shuffled, table, warned

from geneml_bio.core.detable import DETable
from geneml_bio.core.forensics import check_table
from geneml_bio.core.names import LIMMA_COLUMNS
from geneml_bio.core.pvalues import adjust

# --- what it does not claim, and its words ---------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [2, 3])
def test_effects_written_as_zero_still_agree_with_their_error(digits):
    check = look(table("deseq2").round(digits))
    assert (table("deseq2").round(digits)["logFC"] == 0).any()
    assert check.ok, str(check)
    assert check.of("error")["level"].tolist() == ["ok"]


@pytest.mark.parametrize("how", ["decimals", "digits"])
@pytest.mark.parametrize("digits", [2, 3, 4, 6])
@pytest.mark.parametrize("case", [*LIMMA_T, "golub"])
def test_b_of_a_rounded_table_is_explained_by_its_digits(case, digits, how):
    check = look(table(case).round(digits) if how == "decimals" else rounded(table(case), digits))
    assert check.ok, str(check)
    assert set(check.of("B")["level"]) <= {"ok"}, str(check)


FILTERS = {
    "by significance": lambda frame: frame[frame["P.Value"] < 0.05],
    "by fold change": lambda frame: frame[frame["logFC"].abs() > 0.4],
}


@pytest.mark.parametrize("how", FILTERS)
@pytest.mark.parametrize("case", ["golub", "voom", "deseq2", "all_trend"])
def test_one_filter_is_one_finding_and_the_other_is_not_claimed(case, how):
    check = look(adjusted(FILTERS[how](table(case))), case)
    found = check.findings[check.findings["check"].isin(["filtered", "readjusted"])]
    assert len(found) == 1, str(check)
    assert how in found["message"].iloc[0]
    assert not any(other in found["message"].iloc[0] for other in FILTERS if other != how)
    assert check.verdict.startswith("Cut to ")


@pytest.mark.parametrize("direction", ["both", "one"])
def test_one_sided_p_values_are_not_taken_for_a_filter(direction):
    from scipy import stats

    frame = table("golub")
    frame["P.Value"] = stats.t.sf(frame["t"], 41.8)
    check = look(adjusted(frame if direction == "both" else frame[frame["t"] > 0]), "golub")
    assert warned(check) == {"test"}, str(check)
    assert check.verdict.startswith("One-sided")


def test_many_p_values_near_1_are_no_news_of_a_test_against_a_bound():
    from scipy import stats

    rng = np.random.default_rng(5)
    se = rng.gamma(4, 0.05, 2000)
    effect = rng.normal(0, 0.5, 2000) + rng.normal(0, se)
    z = np.sign(effect) * np.maximum(np.abs(effect) - 0.3, 0) / se
    frame = pd.DataFrame({"logFC": effect, "SE": se, "t": z, "P.Value": np.minimum(1, 2 * stats.norm.sf(np.abs(z)))})
    check = look(adjusted(frame.set_axis([f"g{i}" for i in range(2000)])))
    assert check.facts["lfc"] == pytest.approx(0.3, abs=1e-9)
    assert {"constant", "histogram"}.isdisjoint(check.findings["check"]), str(check)


def test_a_robust_outlier_is_named_and_another_odd_row_is_not_excused():
    from scipy import stats

    frame = table("golub").drop(columns=["B", "CI.L", "CI.R"], errors="ignore")
    se = (frame["logFC"] / frame["t"]).abs()
    level = frame["AveExpr"]
    wide, usual = se.idxmax(), (se - se.median()).abs().idxmin()
    near = level.sub(level[wide]).abs().nsmallest(200).index
    assert (se[near] <= se[wide]).all()
    df = pd.Series(look(frame).facts["df"], index=frame.index)
    for row, expected in ((wide, "ok"), (usual, "note")):
        own = df.copy()
        own[row] = 38.7
        frame["P.Value"] = 2 * stats.t.sf(frame["t"].abs(), own)
        check = look(adjusted(frame))
        assert check.ok, str(check)
        found = check.of("rows")
        assert found["level"].tolist() == [expected], str(check)
        assert ("changed" in found["message"].iloc[0]) == (expected == "note")


VERDICTS = {
    "whole": (lambda frame: frame, "Whole: 3,051 tests, Benjamini-Hochberg; limma's eBayes"),
    "top": (lambda frame: frame.sort_values("P.Value").head(10), "Cut: the top 10 of 3,051 tests"),
    "unadjusted": (lambda frame: frame.assign(**{"adj.P.Val": frame["P.Value"]}), "Not adjusted: adj.P.Val is P.Value"),
    "none": (lambda frame: frame.drop(columns="adj.P.Val"), "No adjusted p-values: 3,051 rows"),
    "flipped": (
        lambda frame: frame.assign(logFC=-frame["logFC"]),
        "Do not use as it is: logFC and t point in opposite",
    ),
    "shuffled": (
        lambda frame: shuffled(frame, "P.Value", np.random.default_rng(0)),
        "Do not use as it is: P.Value belongs to other rows",
    ),
    "one p": (
        lambda frame: frame.assign(
            **{"P.Value": frame["P.Value"].mask(frame.index == frame.index[5], frame["P.Value"] / 3)}
        ),
        "Do not use as it is: P.Value was changed in 1 row",
    ),
}


@pytest.mark.parametrize("what", VERDICTS)
def test_the_verdict_comes_first(what):
    change, verdict = VERDICTS[what]
    check = look(change(table("golub")))
    assert check.verdict.startswith(verdict), check.verdict
    assert str(check).startswith(check.verdict)
    assert "()" not in str(check)
    assert re.search(r"(?<![\d,])1 rows", str(check)) is None


def test_without_adjusted_p_values_it_says_what_they_need():
    check = look(table("golub").drop(columns="adj.P.Val"))
    found = check.of("adjustment")
    assert found["level"].tolist() == ["note"]
    assert "needs all tested rows" in found["message"].iloc[0]


@pytest.mark.parametrize("digits", [3, 4, 5, 15])
@pytest.mark.parametrize("case", ["golub", "all_trend"])
def test_degrees_of_freedom_are_printed_as_far_as_they_are_known(case, digits):
    check = look(rounded(table(case), digits))
    printed = re.search(r"on (about )?([\d.]+) df", check.of("test")["message"].iloc[0])
    assert printed is not None
    decimals = len(printed[2].partition(".")[2])
    assert float(printed[2]) == pytest.approx(
        TRUTHS[case]["df_total"], abs=1.01 * 10.0**-decimals * (5 if printed[1] else 1)
    )
    assert decimals <= {3: 1, 4: 2, 5: 3, 15: 4}[digits]


@pytest.mark.parametrize("change", ["none", "holm", "BH", "top", "rounded", "rounded and one changed"])
@pytest.mark.parametrize("case", ["golub", "deseq2", "bladder_F"])
def test_is_complete_is_the_check_s_own_answer(case, change):
    frame = table(case)
    if change == "top":
        frame = frame.sort_values("P.Value").head(100)
    elif change.startswith("rounded"):
        frame = rounded(frame, 3)
        frame.iloc[3, frame.columns.get_loc("adj.P.Val")] *= 0.5 if "changed" in change else 1.0
    else:
        frame = adjusted(frame, change)
    check = look(frame, case)
    whole = check.verdict.startswith("Whole") and check.facts["adjust"] == "BH"
    assert DETable(frame, kind=KINDS.get(case, "t")).is_complete == whole == (change in ("BH", "rounded")), str(check)


# --- p.adjust -----------------------------------------------------------------------------------------------------------


def test_adjustments_are_r_s():
    p = np.array([0.01, 0.02, np.nan, 0.03, 0.8, 0.8, 0.001])
    # R 4.2: p.adjust(c(.01, .02, NA, .03, .8, .8, .001), method)
    expected = {
        "BH": [0.03, 0.04, np.nan, 0.045, 0.8, 0.8, 0.006],
        "holm": [0.05, 0.08, np.nan, 0.09, 1, 1, 0.006],
        "hochberg": [0.05, 0.08, np.nan, 0.09, 0.8, 0.8, 0.006],
        "bonferroni": [0.06, 0.12, np.nan, 0.18, 1, 1, 0.006],
        "BY": [0.0735, 0.098, np.nan, 0.11025, 1, 1, 0.0147],
        "none": p,
    }
    for method, values in expected.items():
        np.testing.assert_allclose(adjust(p, method), values, rtol=1e-12)


# --- anything -----------------------------------------------------------------------------------------------------------

_values = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=64),
    st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1e-300, 0.05, np.nan, 1e308]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_it_never_raises(data):
    names = data.draw(st.lists(st.sampled_from([*LIMMA_COLUMNS, "other"]), unique=True, max_size=9))
    n = data.draw(st.integers(0, 40))
    column = st.one_of(
        st.lists(_values, min_size=n, max_size=n),
        _values.map(lambda value: [value] * n),
        st.integers(0, 1000).map(lambda seed: list(np.random.default_rng(seed).random(n))),
        st.integers(0, 1000).map(lambda seed: list(np.random.default_rng(seed).normal(size=n).round(2))),
    )
    frame = pd.DataFrame({name: data.draw(column) for name in names}, index=[f"g{i}" for i in range(n)], dtype=float)
    check = check_table(frame, data.draw(st.sampled_from(["t", "F", "treat"])))
    assert list(check.findings.columns) == ["check", "level", "message", "evidence"]
    assert set(check.findings["level"]) <= {"ok", "note", "warning"}
    assert check.verdict
    assert str(check).startswith(f"{check.verdict}\n")


def test_effects_without_any_p_value_raise_nothing():
    frame = pd.DataFrame({"logFC": np.linspace(1, 2, 40), "P.Value": np.nan}, index=[f"g{i}" for i in range(40)])
    assert check_table(frame, "t").verdict


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(CASES), st.integers(0, 30), st.integers(0, 2**31), st.booleans())
def test_it_never_raises_on_pieces_of_tables(case, rows, seed, holes):
    rng = np.random.default_rng(seed)
    frame = table(case)
    frame = frame.iloc[rng.choice(len(frame), rows)].loc[:, rng.random(frame.shape[1]) < 0.8]
    if holes and frame.size:
        frame = frame.mask(rng.random(frame.shape) < 0.3)
    str(check_table(frame, KINDS.get(case, "t")))


def test_tiny_p_values_beside_large_adjusted_ones():
    q = np.random.default_rng(0).random(20)
    frame = pd.DataFrame({"P.Value": np.full(20, 2.3e-275), "adj.P.Val": q}, index=[f"g{i}" for i in range(20)])
    assert not look(frame).ok
    assert not look(frame.head(8)).ok


def test_text_and_repeated_columns_are_no_stumbling_block():
    frame = table("golub").head(30)
    odd = pd.concat([frame, frame[["P.Value"]]], axis=1).assign(B="x")
    check = look(odd)
    assert check.facts["n"] == 30
    assert "B" not in check.facts["digits"]


# --- live ---------------------------------------------------------------------------------------------------------------


@pytest.mark.r
def test_whole_tables_of_live_limma(fresh_r):
    r = fresh_r
    r("""{
      suppressMessages({ library(limma); library(ALL) }); data(ALL)
      b <- ALL[, substr(ALL$BT, 1, 1) == "B" & ALL$mol.biol %in% c("BCR/ABL", "NEG")]
      fit <- lmFit(exprs(b), model.matrix(~ factor(as.character(b$mol.biol))))
      plain <- eBayes(fit, proportion = 0.03); trended <- eBayes(fit, trend = TRUE); bound <- treat(fit, lfc = 0.3)
    }""")
    plain = look(r.frame("topTable(plain, coef = 2, number = Inf, confint = 0.9)"))
    assert plain.ok, str(plain)
    assert plain.facts["proportion"] == pytest.approx(0.03, abs=1e-6)
    assert plain.facts["ci_level"] == pytest.approx(0.9, abs=1e-6)
    assert plain.facts["df_residual"] == 77
    assert plain.facts["df_prior"] == pytest.approx(r.numbers("plain$df.prior")[0], rel=1e-6)
    trended = look(r.frame("topTable(trended, coef = 2, number = Inf, sort.by = 'none')"))
    assert trended.ok, str(trended)
    assert trended.facts["moderation"] == "eBayes, a trended prior"
    assert trended.facts["df_residual"] == 77
    assert trended.facts["df"] == pytest.approx(r.numbers("trended$df.total[1]")[0], rel=1e-6)
    bound = check_table(r.frame("topTreat(bound, coef = 2, number = Inf)"), "treat")
    assert bound.ok, str(bound)
    assert bound.facts["lfc"] == pytest.approx(0.3, abs=1e-6)
