"""What a table says of itself: R's own tables are whole and give back R's numbers; each kind of damage is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geneml_bio.core.forensics import TableCheck, check_table
from geneml_bio.core.pvalues import ADJUSTMENTS, adjust

DATA = Path(__file__).parents[1] / "data" / "forensics"
TRUTHS = json.loads((DATA / "truths.json").read_text())
CASES = sorted(set(TRUTHS) - {"versions"})
LIMMA_T = ["all_robust", "all_trend", "bladder_gaps", "golub", "voom"]
KINDS = {"golub_treat": "treat", "voom_treat": "treat", "bladder_F": "F"}
_tables: dict[str, pd.DataFrame] = {}


def table(case: str) -> pd.DataFrame:
    if case not in _tables:
        text = pd.read_csv(DATA / f"{case}.csv.gz", index_col=0, dtype=str, keep_default_na=False)
        # as written, to the last digit
        _tables[case] = text.map(lambda value: np.nan if value == "NA" else float(value))
    return _tables[case].copy()


def look(frame: pd.DataFrame, case: str = "") -> TableCheck:
    return check_table(frame, KINDS.get(case, "t"))


def warned(check: TableCheck) -> set[str]:
    return set(check.findings.loc[check.findings["level"] == "warning", "check"])


# --- whole tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_wrong_with_a_table_of_r(case):
    check = look(table(case), case)
    assert check.ok, str(check)
    assert "edited" not in check.facts
    assert check.facts["n_tests"] == TRUTHS[case]["rows"]
    assert check.facts["adjust"] == ("holm" if case == "edger_exact_holm" else "BH")


@pytest.mark.parametrize("case", [case for case in CASES if "df_total" in TRUTHS[case]])
def test_degrees_of_freedom_are_recovered(case):
    facts, truth = look(table(case), case).facts, np.atleast_1d(TRUTHS[case]["df_total"])
    assert facts["df"] == pytest.approx(truth.max(), rel=1e-6)
    if case == "bladder_gaps":
        assert sorted(facts["df_total"]) == pytest.approx(sorted(truth), rel=1e-6)


@pytest.mark.parametrize("case", LIMMA_T)
def test_the_proportion_behind_b_is_recovered(case):
    facts = look(table(case)).facts
    assert facts["proportion"] == pytest.approx(TRUTHS[case]["proportion"], abs=1e-6)
    assert facts["proportion_recovered"]
    if np.ndim(TRUTHS[case]["stdev_unscaled"]) == 0:
        v = TRUTHS[case]["stdev_unscaled"] ** 2
        assert facts["var_ratio"] == pytest.approx((v + TRUTHS[case]["var_prior"]) / v, rel=1e-6)


@pytest.mark.parametrize(
    ("case", "moderation"), [("golub", "eBayes, one prior variance"), ("all_trend", "eBayes, a trended prior")]
)
def test_the_split_into_residual_and_prior_is_recovered(case, moderation):
    facts, truth = look(table(case)).facts, TRUTHS[case]
    assert facts["moderation"] == moderation
    assert facts["df_residual"] == truth["df_residual"]
    assert facts["df_prior"] == pytest.approx(truth["df_prior"], rel=1e-6)
    assert facts["s2_prior_scaled"] == pytest.approx(truth["s2_prior"] * truth["stdev_unscaled"] ** 2, rel=1e-6)


def test_the_level_of_a_confidence_interval_is_recovered():
    assert look(table("golub")).facts["ci_level"] == pytest.approx(0.95, abs=1e-9)


@pytest.mark.parametrize(("case", "moderation"), [("all_robust", "robust"), ("deseq2", "normal")])
def test_kinds_of_t(case, moderation):
    assert look(table(case)).facts["moderation"] == moderation


@pytest.mark.parametrize("case", ["golub_treat", "voom_treat"])
def test_treat_is_told_and_its_bound_recovered(case):
    as_treat, as_t = check_table(table(case), "treat"), check_table(table(case), "t")
    assert as_treat.facts["lfc"] == pytest.approx(TRUTHS[case]["lfc"], abs=1e-9)
    assert as_treat.ok
    assert warned(as_t) == {"treat"}


@pytest.mark.parametrize(
    ("case", "statistic", "df"),
    [("edger_lr", "chi-square", 1), ("deseq2", "z", np.inf), ("bladder_F", "F", 57.52545720725)],
)
def test_the_distribution_is_told(case, statistic, df):
    facts = look(table(case), case).facts
    assert facts["statistic"] == statistic
    assert facts["df"] == pytest.approx(df, rel=1e-9)
    assert case != "bladder_F" or facts["df1"] == 2


# --- damage -------------------------------------------------------------------------------------------------------------


def rounded(frame, digits):
    return frame.map(lambda value: float(f"%.{digits}g" % value))


def shuffled(frame, name, rng):
    frame[name] = rng.permutation(frame[name].to_numpy())
    return frame


def flipped(frame, share, rng):
    frame.loc[rng.random(len(frame)) < share, "logFC"] *= -1
    return frame


def edited(frame, name, rng, many=4):
    values = frame[name].to_numpy().copy()
    p = frame["P.Value"]
    pool = np.flatnonzero((p < 0.4) & (p > 1e-200) & (values != 0) & (frame["adj.P.Val"] < 0.9))
    values[rng.choice(pool, many, replace=False)] *= 0.3
    frame[name] = values
    return frame


def adjusted(frame, method="BH"):
    return frame.assign(**{"adj.P.Val": adjust(frame["P.Value"].to_numpy(), method)})


BH = [case for case in CASES if case != "edger_exact_holm"]
WITH_T = [case for case in BH if case not in ("bladder_F", "edger_lr", "edger_ql")]
SEEDS = range(3)
TOP = {
    "ten": lambda frame, rng: frame.sort_values("P.Value").head(10),
    "fifty": lambda frame, rng: frame.sort_values("P.Value").head(50),
    "significant": lambda frame, rng: frame[frame["adj.P.Val"] < 0.05],
}
MISSING = {
    "large effects": lambda frame, rng: frame[frame["logFC"].abs() > 0.4],
    "any half": lambda frame, rng: frame.sample(len(frame) // 2, random_state=int(rng.integers(1000))),
}


@pytest.mark.parametrize("how", TOP)
@pytest.mark.parametrize("case", CASES)
def test_the_top_of_a_table_gives_the_number_of_tests(case, how):
    whole = table(case)
    check = look(TOP[how](whole, None), case)
    assert warned(check) == {"truncated"}, str(check)
    assert check.facts["n_tests"] == len(whole)


@pytest.mark.parametrize("how", MISSING)
@pytest.mark.parametrize("case", BH)
def test_rows_missing_from_between_give_the_number_of_tests(case, how):
    whole = table(case)
    if how == "large effects" and "logFC" not in whole:
        return
    for seed in SEEDS if how == "any half" else [0]:
        check = look(MISSING[how](whole, np.random.default_rng(seed)), case)
        assert warned(check) <= {"filtered", "truncated"}, str(check)
        assert check.facts["n_tests"] == len(whole), str(check)


@pytest.mark.parametrize("case", ["golub", "voom", "deseq2", "edger_exact_holm"])
def test_adjusted_again_after_a_filter(case):
    whole = table(case)
    by_p = look(adjusted(whole[adjusted(whole)["adj.P.Val"] < 0.05]), case)
    assert warned(by_p) == {"readjusted"}, str(by_p)
    by_effect = look(adjusted(whole[whole["logFC"].abs() > 0.5]), case)
    assert warned(by_effect) == {"readjusted"}, str(by_effect)


@pytest.mark.parametrize("method", ADJUSTMENTS)
@pytest.mark.parametrize("case", ["golub", "voom", "bladder_F", "edger_ql", "deseq2"])
def test_the_method_of_adjustment_is_named(case, method):
    check = look(adjusted(table(case), method), case)
    assert check.facts["adjust"] == method
    assert warned(check) == ({"adjustment"} if method == "none" else set())


@pytest.mark.parametrize("pi0", [0.31, 0.85])
@pytest.mark.parametrize("case", ["golub", "voom", "edger_lr"])
def test_a_q_value_gives_its_pi0(case, pi0):
    frame = adjusted(table(case))
    check = look(frame.assign(**{"adj.P.Val": np.minimum(1, pi0 * frame["adj.P.Val"])}), case)
    assert check.facts["pi0"] == pytest.approx(pi0, rel=1e-7)
    assert check.ok


@pytest.mark.parametrize("digits", [3, 4, 5, 7])
@pytest.mark.parametrize("case", CASES)
def test_rounding_is_named_and_is_no_fault(case, digits):
    check = look(rounded(table(case), digits), case)
    assert check.ok, str(check)
    assert set(check.facts["digits"].values()) == {digits}
    assert "digits" in set(check.findings.loc[check.findings["level"] == "note", "check"])


@pytest.mark.parametrize("case", CASES)
def test_few_decimals_are_no_fault(case):
    check = look(table(case).round(4), case)
    assert check.ok, str(check)


@pytest.mark.parametrize("case", WITH_T)
def test_opposite_signs(case):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        whole = look(flipped(table(case), 2, rng), case)
        assert "sign" in warned(whole)
        assert whole.facts["flipped"]
        for share in (0.01, 0.3):
            some = look(flipped(table(case), share, rng), case)
            assert warned(some) == {"sign"}, str(some)
            assert "flipped" not in some.facts


@pytest.mark.parametrize("name", ["P.Value", "adj.P.Val", "t", "logFC", "B"])
@pytest.mark.parametrize("case", WITH_T)
def test_a_shuffled_column_is_named(case, name):
    if name not in table(case):
        return
    for seed in SEEDS:
        check = look(shuffled(table(case), name, np.random.default_rng(seed)), case)
        assert check.facts.get("shuffled") == name, str(check)
        assert warned(check) <= {"order", "error"}, str(check)


@pytest.mark.parametrize("name", ["P.Value", "adj.P.Val", "t", "B"])
@pytest.mark.parametrize("case", [*LIMMA_T[:2], "golub", "deseq2"])
def test_changed_rows_are_found_and_their_column_named(case, name):
    whole = table(case)
    if name not in whole:
        return
    for seed in SEEDS:
        frame = edited(table(case), name, np.random.default_rng(seed))
        check = look(frame, case)
        assert list(check.facts.get("edited", {})) == [name], str(check)
        assert set(check.facts["edited"][name]) == set(whole.index[whole[name] != frame[name]])


@pytest.mark.parametrize("case", WITH_T)
def test_vanished_p_values(case):
    frame = table(case).sort_values("P.Value")
    frame.iloc[:5, frame.columns.get_loc("P.Value")] = 0.0
    assert warned(look(frame, case)) == {"underflow"}


def test_a_p_value_of_zero_may_be_right():
    rng = np.random.default_rng(0)
    from scipy import stats

    t = np.r_[rng.normal(size=400), [45.0, -60.0]]
    p = 2 * stats.norm.sf(np.abs(t))
    check = look(adjusted(pd.DataFrame({"logFC": t, "t": t, "P.Value": p}, index=[f"g{i}" for i in range(402)])))
    assert check.facts["p_zero"] == 2
    assert check.ok, str(check)


def test_a_one_sided_p_value_is_named():
    from scipy import stats

    t = np.random.default_rng(1).normal(size=500)
    frame = pd.DataFrame({"logFC": t / 3, "t": t, "P.Value": stats.t.sf(t, 9)}, index=[f"g{i}" for i in range(500)])
    check = look(adjusted(frame))
    assert check.facts["one_sided"]
    assert not check.ok


def test_ranks_and_means_may_disagree_in_sign_where_the_effect_is_small():
    from scipy import stats

    rng = np.random.default_rng(3)
    z = rng.normal(size=600) * 2
    effect = z / 4 * np.where((np.abs(z) < 0.8) & (rng.random(600) < 0.5), -1, 1)
    frame = adjusted(
        pd.DataFrame({"logFC": effect, "t": z, "P.Value": 2 * stats.norm.sf(np.abs(z))}).set_axis(map(str, range(600)))
    )
    check = look(frame)
    assert check.facts["sign_conflicts"] > 60
    assert check.ok, str(check)
    frame.loc[rng.random(600) < 0.3, "logFC"] *= -1
    assert warned(look(frame)) == {"sign"}
