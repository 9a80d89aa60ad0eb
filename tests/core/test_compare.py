"""Comparisons of models: the formula computed by hand, and what the test promises under the null."""

from __future__ import annotations

import numpy as np
import pytest
from held_out import centroids, held_out, probabilities
from scipy import stats
from sklearn import metrics as sk

from geneml_bio.core.compare import COLUMNS, comparisons, corrected_t

BASELINES = ("covariates only", "genes + covariates")


def _runs(rng, y, k, repeats, good):
    return [probabilities(rng, y, k, good) for _ in range(repeats)]


def _by_hand(a, b, folds, score) -> tuple[float, float, float, int]:
    """Mean difference, t and p of Nadeau and Bengio, step by step."""
    delta, ratios = [], []
    for r, fold in enumerate(folds):
        for f in np.unique(fold):
            rows = fold == f
            delta.append(score(a[r], rows) - score(b[r], rows))
            ratios.append(rows.sum() / (~rows).sum())
    keep = np.isfinite(delta)
    d, ratio = np.array(delta)[keep], np.mean(np.array(ratios)[keep])
    t = d.mean() / np.sqrt((1 / len(d) + ratio) * d.var(ddof=1))
    return d.mean(), t, 2 * stats.t.sf(abs(t), len(d) - 1), len(d)


@pytest.mark.parametrize("k", [2, 3])
def test_classes_by_hand(k):
    rng = np.random.default_rng(k)
    y = np.arange(53) % k
    folds = [rng.permutation(53) % 5 for _ in range(4)]
    made = {"one": _runs(rng, y, k, 4, 0.5), "two": _runs(rng, y, k, 4, 0.2)}
    table = comparisons(held_out(y, made, tuple("xyz"[:k]), folds=folds)).set_index("metric")
    assert list(table.index) == ["balanced_accuracy", "log_loss"]
    assert list(table.reset_index().columns) == list(COLUMNS)

    def accuracy(p, rows):
        return sk.balanced_accuracy_score(y[rows], p[rows].argmax(axis=1))

    def loss(p, rows):
        return sk.log_loss(y[rows], p[rows], labels=range(k))

    for metric, score, sign in (("balanced_accuracy", accuracy, 1), ("log_loss", loss, -1)):
        mean, t, p, n = _by_hand(made["one"], made["two"], folds, score)
        row = table.loc[metric]
        assert (row["model_a"], row["model_b"], row["n_folds"], row["df"]) == ("one", "two", n, n - 1)
        assert row[["difference", "t", "p_value"]].to_list() == pytest.approx([sign * mean, sign * t, p])
        assert row["difference"] > 0  # "one" knows more, by both scores
        half = stats.t.ppf(0.975, n - 1) * mean / t
        assert row[["low", "high"]].to_list() == pytest.approx([sign * mean - half, sign * mean + half])
        assert row["n_undefined"] == 0


def test_numbers_by_hand():
    rng = np.random.default_rng(5)
    y = rng.normal(100, 3, size=31)
    folds = [rng.permutation(31) % 4 for _ in range(2)]
    made = {name: [y + rng.normal(scale=s, size=31) for _ in folds] for name, s in (("good", 1.0), ("bad", 3.0))}
    table = comparisons(held_out(y, made, folds=folds)).set_index("metric")

    def rmse(p, rows):
        return sk.root_mean_squared_error(y[rows], p[rows])

    def r2(p, rows):
        return 1 - sk.mean_squared_error(y[rows], p[rows]) / y.var()

    for metric, score, sign in (("r2", r2, 1), ("rmse", rmse, -1)):
        mean, t, p, n = _by_hand(made["good"], made["bad"], folds, score)
        row = table.loc[metric]
        assert row[["difference", "t", "p_value", "n_folds"]].to_list() == pytest.approx([sign * mean, sign * t, p, n])
        assert row["difference"] > 0


def test_folds_of_one_class_are_counted_and_log_loss_uses_them():
    rng = np.random.default_rng(6)
    y = np.repeat([0, 1], 20)
    folds = [np.repeat(np.arange(4), 10), np.arange(40) % 4]  # of the first repeat no fold holds both classes
    made = {"one": _runs(rng, y, 2, 2, 0.4), "two": _runs(rng, y, 2, 2, 0.3)}
    table = comparisons(held_out(y, made, ("x", "y"), folds=folds)).set_index("metric")
    assert table.loc["balanced_accuracy", ["n_folds", "n_undefined"]].to_list() == [4, 4]
    assert table.loc["log_loss", ["n_folds", "n_undefined"]].to_list() == [8, 0]
    second = {name: runs[1:] for name, runs in made.items()}
    alone = comparisons(held_out(y, second, ("x", "y"), folds=folds[1:])).set_index("metric")
    columns = ["difference", "t", "p_value"]
    got, expected = table.loc["balanced_accuracy", columns], alone.loc["balanced_accuracy", columns]
    assert got.to_list() == pytest.approx(expected.to_list())


def test_folds_that_all_hold_one_class_leave_nothing_to_compare():
    rng = np.random.default_rng(7)
    y = np.repeat([0, 1], 10)
    made = {"one": _runs(rng, y, 2, 1, 0.4), "two": _runs(rng, y, 2, 1, 0.3)}
    table = comparisons(held_out(y, made, ("x", "y"), folds=[np.repeat(np.arange(4), 5)])).set_index("metric")
    row = table.loc["balanced_accuracy"]
    assert row[["difference", "low", "high", "t", "p_value", "adj.P.Val"]].isna().all()
    assert row[["n_folds", "n_undefined"]].to_list() == [0, 4]
    assert np.isfinite(table.loc["log_loss", "p_value"])


def test_every_pair_and_what_genes_add_to_covariates_with_holms_adjustment():
    rng = np.random.default_rng(8)
    y = np.arange(60) % 2
    goods = {"a": 0.8, "b": 0.3, "c": 0.3, "covariates only": 0.0, "genes + covariates": 0.6}
    made = {name: _runs(rng, y, 2, 3, good) for name, good in goods.items()}
    table = comparisons(held_out(y, made, ("x", "y"), baselines=BASELINES))
    pairs = list(zip(table["model_a"], table["model_b"], strict=True))
    wanted = [("a", "b"), ("a", "c"), ("b", "c")]
    wanted += [(name, "covariates only") for name in ("a", "b", "c", "genes + covariates")]
    assert pairs == wanted * 2
    for _, rows in table.groupby("metric"):
        p = rows["p_value"].to_numpy()
        order = np.argsort(p)
        holm = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
        np.testing.assert_allclose(rows["adj.P.Val"].to_numpy()[order], holm)
    increment = table.query("metric == 'log_loss' and model_a == 'genes + covariates'").iloc[0]
    assert increment["difference"] > 0
    assert increment["p_value"] < 0.05


@pytest.mark.parametrize("baselines", [(), BASELINES])
def test_one_model_is_compared_with_the_baselines_or_not_at_all(baselines):
    rng = np.random.default_rng(9)
    y = np.arange(30) % 2
    made = {name: _runs(rng, y, 2, 1, 0.3) for name in ("m", *baselines)}
    table = comparisons(held_out(y, made, ("x", "y"), baselines=baselines))
    assert list(table.columns) == list(COLUMNS)
    assert list(table["model_a"]) == (["m", "genes + covariates"] * 2 if baselines else [])


def test_the_order_of_rows_and_of_models_changes_nothing_but_the_sign():
    rng = np.random.default_rng(10)
    y = np.arange(40) % 2
    made = {"one": _runs(rng, y, 2, 2, 0.4), "two": _runs(rng, y, 2, 2, 0.3)}
    forward = comparisons(held_out(y, made, ("x", "y")))
    turned = held_out(y, dict(reversed(made.items())), ("x", "y"))
    shuffled = turned.predictions.sample(frac=1, random_state=0)
    backward = comparisons(type(turned)(shuffled, turned.folds, turned.screens, turned.spec, turned.audit, ("x", "y")))
    first = backward["model_a"] == "one"
    sign = np.where(first, 1, -1)
    np.testing.assert_allclose(backward["t"] * sign, forward["t"])
    np.testing.assert_allclose(backward["p_value"], forward["p_value"])


@pytest.mark.parametrize(
    ("difference", "expected"),
    [
        (
            [0.0, 0.0, 0.0],
            {"difference": 0, "t": 0, "p_value": 1, "df": 2, "low": 0, "high": 0},
        ),  # the same predictions
        ([0.1, 0.1, 0.1], {"difference": 0.1, "t": np.nan, "p_value": np.nan, "df": 2, "low": np.nan, "high": np.nan}),
        ([0.2], {"difference": 0.2, "t": np.nan, "p_value": np.nan, "df": 0, "low": np.nan, "high": np.nan}),
        ([], {"difference": np.nan, "t": np.nan, "p_value": np.nan, "df": 0, "low": np.nan, "high": np.nan}),
    ],
)
def test_differences_that_cannot_be_judged(difference, expected):
    assert corrected_t(np.array(difference), 0.25) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("effect", [0.0, 0.5])
def test_equal_models_are_called_different_no_more_often_than_said(effect):
    """Two models of the same kind on two sets of genes that know equally much; 5 x 5 folds.

    The uncorrected t over the same 25 folds is what the correction is for.
    """
    rng = np.random.default_rng(11)
    n, corrected, naive = 60, {"balanced_accuracy": 0, "log_loss": 0}, 0
    studies = 200
    for _ in range(studies):
        y = np.arange(n) % 2
        folds = [rng.permutation(n) % 5 for _ in range(5)]
        views = [rng.normal(size=(n, 5)) + effect * y[:, None] for _ in range(2)]
        one, two = (centroids(x, y, folds) for x in views)
        table = comparisons(held_out(y, {"one": one, "two": two}, ("x", "y"), folds=folds)).set_index("metric")
        for metric in corrected:
            corrected[metric] += table.loc[metric, "p_value"] < 0.05
        delta = [
            np.log(one[r][fold == f, y[fold == f]]).mean() - np.log(two[r][fold == f, y[fold == f]]).mean()
            for r, fold in enumerate(folds)
            for f in range(5)
        ]
        naive += stats.ttest_1samp(delta, 0).pvalue < 0.05
    assert naive / studies > 0.15
    assert max(corrected.values()) / studies < 0.09  # 0.05 and three standard errors


def test_a_model_that_is_better_is_found():
    rng = np.random.default_rng(12)
    found = 0
    for _ in range(30):
        y = np.arange(80) % 2
        folds = [rng.permutation(80) % 5 for _ in range(5)]
        x = rng.normal(size=(80, 5)) + y[:, None]
        good, poor = centroids(x, y, folds), centroids(rng.normal(size=(80, 5)), y, folds)
        table = comparisons(held_out(y, {"good": good, "poor": poor}, ("x", "y"), folds=folds))
        found += (table["adj.P.Val"] < 0.05).all() and (table["low"] > 0).all()
    assert found > 25
