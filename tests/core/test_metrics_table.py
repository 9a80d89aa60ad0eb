"""The table of scores: calibration, what is undefined, baselines, the test set."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from held_out import held_out, probabilities
from scipy import optimize, stats
from scipy.special import expit, logit
from sklearn import metrics as sk
from test_metrics import _classes, _with_weights

from geneml_bio.core import metrics, scores
from geneml_bio.core.errors import InputError

# -- calibration -------------------------------------------------------------------------------------------------------


def _recalibrated(y, p, w=None) -> tuple[float, float]:
    """By a general optimiser: slope of the free regression, intercept of the one with the slope at 1."""
    w = np.ones(len(y)) if w is None else w
    x = logit(np.clip(p, 1e-8, 1 - 1e-8))

    def loss(eta):
        return float(np.sum(w * (np.logaddexp(0, eta) - y * eta)))

    free = optimize.minimize(
        lambda b: loss(b[0] + b[1] * x),
        [0.0, 0.5],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-13, "maxiter": 4000},
    )
    fixed = optimize.minimize_scalar(lambda a: loss(a + x), bounds=(-30, 30), method="bounded", options={"xatol": 1e-9})
    return float(free.x[1]), float(fixed.x)


def _two(p) -> np.ndarray:
    return np.column_stack([1 - p, p])


def _calibration(y, prob, w=None) -> tuple[float, float]:
    got = metrics.classification_scores(np.ones((1, len(y))) if w is None else w, np.asarray(y), prob)
    return float(got["calibration_slope"][0]), float(got["calibration_intercept"][0])


@pytest.mark.parametrize("n", [8, 40, 500])
@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (0.3, 1.0), (2.5, -2.0), (-0.5, 0.5)])
def test_calibration_slope_and_intercept_are_the_optimisers(n, slope, shift):
    rng = np.random.default_rng(n)
    x = rng.normal(size=n) * 1.5
    y = (rng.random(n) < expit(slope * x + shift)).astype(int)
    order = np.argsort(x)
    y[order[[0, -1]]], y[order[[1, -2]]] = [0, 1], [1, 0]  # no separation
    p = np.where(np.arange(n) % 7 == 0, np.round(expit(x)), expit(x))  # some are 0 or 1, as a forest's are
    w = rng.integers(1, 4, n).astype(float)
    assert _calibration(y, _two(p)) == pytest.approx(_recalibrated(y, p), abs=2e-5)
    assert _calibration(y, _two(p), w[None]) == pytest.approx(_recalibrated(y, p, w), abs=2e-5)


def test_calibration_of_more_classes_is_the_mean_over_one_against_the_rest():
    y, prob = _classes(4, n=120)
    each = [_recalibrated((y == c).astype(int), prob[:, c]) for c in range(4)]
    assert _calibration(y, prob) == pytest.approx(np.mean(each, axis=0), abs=2e-5)


@pytest.mark.r
def test_calibration_is_the_glm_of_r(r_limma):
    rng = np.random.default_rng(5)
    for n in (12, 200):
        p = expit(rng.normal(size=n) * 2)
        y = (rng.random(n) < expit(0.5 * logit(p) + 0.7)).astype(int)
        y[np.argsort(p)[[0, -1]]] = [1, 0]
        r_limma.give("y", y)
        r_limma.give("lp", logit(p))
        r_limma("tight <- glm.control(epsilon = 1e-14, maxit = 100)")
        slope = r_limma.numbers("coef(glm(y ~ lp, binomial, control = tight))[[2]]")[0]
        intercept = r_limma.numbers("coef(glm(y ~ 1 + offset(lp), binomial, control = tight))[[1]]")[0]
        assert _calibration(y, _two(p)) == pytest.approx((slope, intercept), rel=1e-8)


@pytest.mark.parametrize(
    ("y", "p", "slope", "intercept"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.9], False, True),  # separated
        ([1, 1, 0, 0], [0.1, 0.2, 0.7, 0.9], False, True),  # separated the wrong way round
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9], False, True),  # but for a tie between them
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], False, True),  # nothing varies
        ([0, 1, 0, 1], [0.1, 0.1, 0.5, 0.5], True, True),
        ([0, 1, 0, 1], [0.0, 0.0, 1.0, 1.0], True, True),
        ([0, 1, 0, 1], [1e-12, 1e-10, 1e-9, 0.0], False, True),  # the same, as far as it can be told
        ([0, 1, 0, 1, 0], [0.1, 0.2, 0.3, 0.4, 0.5], True, True),
        ([0, 0, 0, 0], [0.1, 0.2, 0.3, 0.4], False, False),
        ([1, 1, 1, 1], [0.1, 0.2, 0.3, 0.4], False, False),
    ],
)
def test_a_slope_that_is_not_finite_is_nan(y, p, slope, intercept):
    with np.errstate(all="raise", under="ignore"):
        got = _calibration(y, _two(np.array(p)))
    assert np.isfinite(got).tolist() == [slope, intercept]


def _gradient(a, slope, x, y, w) -> float:
    return float(w @ (y - expit(a + slope * x)))


def test_every_resample_is_solved_or_separated():
    """At small n: NaN exactly where a threshold separates, else the likelihood's gradient is zero."""
    rng = np.random.default_rng(6)
    solved = separated = 0
    for _ in range(40):
        n = int(rng.integers(4, 12))
        p, y = np.round(rng.random(n) ** 3, 2), rng.integers(0, 2, n)
        w = rng.multinomial(n, np.full(n, 1 / n), size=50).astype(float)
        slopes = metrics.classification_scores(w, y, _two(p))["calibration_slope"]
        x = logit(np.clip(p, 1e-8, 1 - 1e-8))
        for b, slope in enumerate(slopes):
            pos, neg = x[(w[b] > 0) & (y == 1)], x[(w[b] > 0) & (y == 0)]
            apart = not len(pos) or not len(neg) or pos.min() >= neg.max() or pos.max() <= neg.min()
            assert np.isnan(slope) == apart
            separated += apart
            solved += not apart
            if not apart:
                a = optimize.brentq(_gradient, -1e4, 1e4, args=(slope, x, y, w[b]), xtol=1e-12)
                assert abs(_gradient(a, slope, x, y, w[b] * x)) < 1e-5
    assert min(solved, separated) > 200


@pytest.mark.parametrize(("stretch", "shift", "slope"), [(1.0, 0.0, 1.0), (2.0, 0.0, 0.5), (1.0, 1.5, 1.0)])
def test_slope_and_intercept_say_what_is_wrong_with_probabilities(stretch, shift, slope):
    rng = np.random.default_rng(7)
    x = rng.normal(size=40_000)
    y = (rng.random(40_000) < expit(x)).astype(int)
    got = _calibration(y, _two(expit(stretch * x + shift)))
    assert got[0] == pytest.approx(slope, abs=0.05)
    assert got[1] == pytest.approx(-shift, abs=0.05)


# -- the table: what is undefined, baselines, the test set --------------------------------------------------------------


def _flat(p) -> np.ndarray:
    return _two(np.asarray(p, dtype=float))


def test_folds_without_a_class_are_counted_and_their_samples_are_not_lost():
    rng = np.random.default_rng(8)
    y = np.repeat([0, 1], 20)
    by_class = np.r_[np.zeros(10), np.ones(20), np.full(10, 2)].astype(int)  # the first and the last hold one class
    runs = [probabilities(rng, y, 2) for _ in range(3)]
    validation = held_out(y, {"m": runs}, ("a", "b"), folds=[by_class, np.arange(40) % 4, by_class])
    table = metrics.metrics_table(validation, n_boot=50).set_index("metric")
    needs = ["balanced_accuracy", "roc_auc", "pr_auc", "calibration_slope", "calibration_intercept"]
    assert (table.loc[needs, "n_folds_undefined"] == 4).all()
    assert (table.drop(needs)["n_folds_undefined"] == 0).all()
    assert (table["n_undefined"] == 0).all()
    assert table.loc["roc_auc", "value"] == pytest.approx(np.mean([sk.roc_auc_score(y, p[:, 1]) for p in runs]))


def test_repeats_in_which_a_metric_is_undefined_are_counted_and_left_out_of_its_mean():
    rng = np.random.default_rng(9)
    y = np.tile([0, 1], 20)
    apart = _flat(np.where(y == 1, 0.9, 0.2) + rng.random(40) / 20)
    runs = [probabilities(rng, y, 2), apart, probabilities(rng, y, 2)]
    table = metrics.metrics_table(held_out(y, {"m": runs}, ("a", "b")), n_boot=100).set_index("metric")
    row = table.loc["calibration_slope"]
    expected = np.mean([_recalibrated(y, runs[r][:, 1])[0] for r in (0, 2)])
    assert (row["n_undefined"], row["value"]) == (1, pytest.approx(expected, abs=1e-4))
    assert row["low"] < row["value"] < row["high"]
    assert (table.drop("calibration_slope")["n_undefined"] == 0).all()
    assert table[["low", "high"]].notna().all(axis=None)


def test_a_slope_of_classes_that_are_always_separated_has_no_value():
    y = np.tile([0, 1], 10)
    table = metrics.metrics_table(held_out(y, {"m": [_flat(np.where(y == 1, 0.9, 0.1))]}, ("a", "b")), n_boot=50)
    row = table.set_index("metric").loc["calibration_slope"]
    assert row[["value", "low", "high"]].isna().all()
    assert row["n_undefined"] == 1


def test_baselines_have_rows_and_no_part_in_the_winner():
    rng = np.random.default_rng(10)
    y = np.tile([0, 1], 25)
    models = {"one": [probabilities(rng, y, 2, 0.1)], "two": [probabilities(rng, y, 2, 0.1)]}
    oracle = {"covariates only": [_flat(np.where(y == 1, 0.9, 0.1))]}
    names = list(metrics.metrics_table(held_out(y, models, ("a", "b")), n_boot=50)["metric"].unique())
    null = pd.DataFrame(
        [(p, m, name, rng.random()) for p in range(9) for m in models for name in names],
        columns=["permutation", "model", "metric", "value"],
    )
    without = metrics.metrics_table(held_out(y, models, ("a", "b"), null=null), n_boot=200)
    beside = held_out(y, models | oracle, ("a", "b"), null=null, baselines=["covariates only"])
    table = metrics.metrics_table(beside, n_boot=200)
    assert beside.models == ["one", "two"]
    rows = table[table["model"] == "covariates only"].set_index("metric")
    assert rows.loc["balanced_accuracy", "value"] == 1
    assert rows["p_value"].isna().all()
    left = table[table["model"] != "covariates only"].reset_index(drop=True)
    pd.testing.assert_frame_equal(left, without)


def test_calibration_describes_and_is_not_judged():
    rng = np.random.default_rng(11)
    y = np.tile([0, 1], 25)
    models = {"one": [probabilities(rng, y, 2)], "two": [probabilities(rng, y, 2)]}
    null = pd.DataFrame({"permutation": range(30), "model": "one", "metric": "calibration_slope", "value": 0.1})
    table = metrics.metrics_table(held_out(y, models, ("a", "b"), null=null), n_boot=50)
    rows = table[table["metric"].isin(metrics.CALIBRATION)]
    assert rows[["null_mean", "null_high", "p_value"]].isna().all(axis=None)
    assert rows.loc[rows["model"] == metrics.WINNER, ["value", "low", "high"]].isna().all(axis=None)
    assert rows.loc[rows["model"] != metrics.WINNER, "value"].notna().all()


def test_a_metric_without_a_value_has_no_p_value_and_an_undefined_permutation_reaches_nothing():
    y = np.arange(20.0)
    null = pd.DataFrame(
        {"permutation": range(4), "model": "m", "metric": "spearman", "value": [0.9, np.nan, -0.2, 0.1]}
    )
    constant = metrics.metrics_table(held_out(y, {"m": [np.full(20, 3.0)]}, null=null), n_boot=50).set_index("metric")
    assert np.isnan(constant.loc["spearman", "value"])
    assert np.isnan(constant.loc["spearman", "p_value"])
    assert constant.loc["spearman", "n_undefined"] == 1
    guess = np.random.default_rng(0).permutation(20) + y
    found = metrics.metrics_table(held_out(y, {"m": [guess]}, null=null), n_boot=50).set_index("metric").loc["spearman"]
    assert 0.1 < found["value"] < 0.9
    assert found["p_value"] == pytest.approx(2 / 5)
    assert found["null_mean"] == pytest.approx(0.8 / 3)


def test_the_test_table_is_scikit_learns_on_the_test_set():
    rng = np.random.default_rng(12)
    y, t = np.tile([0, 1], 25), np.tile([0, 1, 1], 10)
    models = {"one": probabilities(rng, t, 2), "covariates only": probabilities(rng, t, 2)}
    validation = held_out(
        y,
        {name: [probabilities(rng, y, 2)] for name in models},
        ("a", "b"),
        test=(t, models),
        baselines=["covariates only"],
    )
    table = metrics.test_table(validation, n_boot=300)
    assert list(table.columns) == ["model", "metric", "value", "low", "high", "n"]
    assert (table["n"] == 30).all()
    assert set(table["model"]) == set(models)  # no row that corrects for choosing: nothing was chosen here
    for name, prob in models.items():
        rows = table[table["model"] == name].set_index("metric")
        value = rows["value"].to_dict()
        slope, intercept = _recalibrated(t, prob[:, 1])
        expected = _with_weights(t, prob, None) | {"calibration_slope": slope, "calibration_intercept": intercept}
        assert value == pytest.approx(expected, abs=2e-5)
        assert ((rows["low"] <= rows["value"]) & (rows["value"] <= rows["high"])).all()
        right = stats.binomtest(int((prob.argmax(axis=1) == t).sum()), 30).proportion_ci(method="wilson")
        assert tuple(rows.loc["accuracy", ["low", "high"]]) == pytest.approx((right.low, right.high))


def test_the_test_table_of_a_regression_and_of_groups():
    rng = np.random.default_rng(13)
    y, t = rng.normal(size=30), rng.normal(size=24)
    guess = t + rng.normal(size=24)
    validation = held_out(y, {"m": [y]}, test=(t, {"m": guess}))
    table = metrics.test_table(validation, n_boot=400).set_index("metric")
    assert table.loc["r2", "value"] == pytest.approx(sk.r2_score(t, guess))
    assert table.loc["rmse", "value"] == pytest.approx(sk.root_mean_squared_error(t, guess))
    error = np.repeat(rng.normal(size=4), 6)  # what is wrong is wrong for a whole donor
    validation = held_out(y, {"m": [y]}, test=(t, {"m": t + error}))
    alone = metrics.test_table(validation, n_boot=400).set_index("metric").loc["mae"]
    donors = (
        metrics.test_table(validation, groups=np.repeat(list("wxyz"), 6), n_boot=400).set_index("metric").loc["mae"]
    )
    assert donors["high"] - donors["low"] > 1.5 * (alone["high"] - alone["low"])


@pytest.mark.parametrize("t", [[0, 0, 0, 0], [1]])
def test_a_test_set_without_a_class_says_what_it_cannot(t):
    rng = np.random.default_rng(14)
    y, t = np.tile([0, 1], 10), np.array(t)
    validation = held_out(y, {"m": [probabilities(rng, y, 2)]}, ("a", "b"), test=(t, {"m": probabilities(rng, t, 2)}))
    table = metrics.test_table(validation, n_boot=50).set_index("metric")
    assert (
        table.loc[["balanced_accuracy", "roc_auc", "calibration_slope"], ["value", "low", "high"]].isna().all(axis=None)
    )
    assert table.loc[["accuracy", "log_loss", "brier"], "value"].notna().all()


def test_without_a_test_set_there_is_no_test_table():
    y = np.tile([0, 1], 10)
    validation = held_out(y, {"m": [probabilities(np.random.default_rng(0), y, 2)]}, ("a", "b"))
    with pytest.raises(InputError, match="test_size="):
        metrics.test_table(validation)


@pytest.mark.parametrize("value", [0.9, 0.5])
def test_beside_a_test_set_the_verdict_is_about_cross_validation(value):
    row = {"value": value, "low": value - 0.1, "high": value, "null_mean": np.nan, "p_value": np.nan}
    table = pd.DataFrame([{"model": "m", "metric": "balanced_accuracy", **row}])
    good, words = metrics.verdict(table, ("a", "b"), 0, test=True)
    assert words.startswith("Better" if good else "Not shown")
    assert "better than chance in cross-validation:" in words.lower()
    assert "cross-validation" not in metrics.verdict(table, ("a", "b"), 0)[1]


def test_the_mean_of_what_is_defined():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 2.0, np.nan]])
    np.testing.assert_array_equal(scores.mean_defined(values), [2.0, 2.0, np.nan])


# -- intervals ---------------------------------------------------------------------------------------------------------


def test_all_right_is_not_certain():
    """No interval of 1.00 to 1.00: not at n = 38 in cross-validation, not on a test set of 8."""
    y, t = np.arange(38) % 2, np.arange(8) % 2
    right = {name: [_flat(np.where(y == 1, p, 1 - p))] * 5 for name, p in (("one", 0.9), ("two", 0.8))}
    outside = {name: _flat(np.where(t == 1, 0.9, 0.1)) for name in right}
    validation = held_out(y, right, ("a", "b"), test=(t, outside))
    tables = {38: metrics.metrics_table(validation, n_boot=400), 8: metrics.test_table(validation, n_boot=400)}
    for n, table in tables.items():
        rows = table[table["metric"].isin(["balanced_accuracy", "accuracy", "roc_auc", "pr_auc", "f1", "mcc"])]
        assert len(rows) == (18 if n == 38 else 12)
        assert (rows["value"] == 1).all()
        assert (rows["high"] == 1).all()
        assert (rows["low"] < (0.98 if n == 38 else 0.93)).all()
        assert (rows["low"] > 0.1).all()


def test_the_corrected_value_lies_in_its_interval_which_is_about_as_wide_as_the_leaders():
    rng = np.random.default_rng(15)
    y = np.tile([0, 1], 30)
    models = {f"m{i}": [probabilities(rng, y, 2, 0.2) for _ in range(2)] for i in range(5)}
    table = metrics.metrics_table(held_out(y, models, ("a", "b")), n_boot=500).set_index(["model", "metric"])
    point = {name: table.loc[(name, "balanced_accuracy"), "value"] for name in models}
    leader = max(point, key=point.get)
    for metric in ("balanced_accuracy", "roc_auc", "log_loss"):
        row, its = table.loc[(metrics.WINNER, metric)], table.loc[(leader, metric)]
        assert row["low"] < row["value"] < row["high"]
        assert row["high"] - row["low"] == pytest.approx(its["high"] - its["low"], rel=0.25)
    assert table.loc[(metrics.WINNER, "balanced_accuracy"), "value"] < point[leader]
