"""Metrics against scikit-learn; intervals, the winner's correction and the null against what they promise."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from held_out import centroids, held_out
from scipy import stats
from scipy.special import expit
from sklearn import metrics as sk

from geneml_bio.core import metrics
from geneml_bio.core.schema import Validation, prob_column


def _classes(k: int, n: int = 60, seed: int = 0, ties: bool = False):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    y[:k] = np.arange(k)
    prob = rng.dirichlet(np.ones(k), n)
    prob[np.arange(n), y] += 0.4
    if ties:
        prob = np.round(prob, 1) + 0.01
    return y, prob / prob.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("k", [2, 3, 5])
def test_classification_scores_are_scikit_learns(k, ties):
    y, prob = _classes(k, ties=ties)
    scores = metrics.classification_scores(np.ones((1, len(y))), y, prob, calibration=False)
    got = {name: v[0] for name, v in scores.items()}
    guess = prob.argmax(axis=1)
    hot = np.eye(k)[y]
    if k == 2:
        auc, ap = sk.roc_auc_score(y, prob[:, 1]), sk.average_precision_score(y, prob[:, 1])
        brier, f1 = sk.brier_score_loss(y, prob[:, 1]), sk.f1_score(y, guess)
    else:
        auc = sk.roc_auc_score(y, prob, multi_class="ovr", average="macro")
        ap = sk.average_precision_score(hot, prob, average="macro")
        brier, f1 = ((hot - prob) ** 2).sum(axis=1).mean(), sk.f1_score(y, guess, average="macro")
    expected = {
        "balanced_accuracy": sk.balanced_accuracy_score(y, guess),
        "accuracy": sk.accuracy_score(y, guess),
        "mcc": sk.matthews_corrcoef(y, guess),
        "f1": f1,
        "roc_auc": auc,
        "pr_auc": ap,
        "brier": brier,
        "log_loss": sk.log_loss(y, prob, labels=range(k)),
    }
    assert got == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("k", [2, 4])
def test_weights_mean_repeated_samples(k):
    y, prob = _classes(k, ties=True)
    w = np.random.default_rng(1).integers(0, 4, (5, len(y))).astype(float)
    w[:, :k] = 1
    got = metrics.classification_scores(w, y, prob)
    for b in range(5):
        rows = np.repeat(np.arange(len(y)), w[b].astype(int))
        again = metrics.classification_scores(np.ones((1, len(rows))), y[rows], prob[rows])
        for name, values in got.items():
            rel = 1e-6 if name in metrics.CALIBRATION else 1e-10
            assert values[b] == pytest.approx(again[name][0], rel=rel), name


def _with_weights(y, prob, w) -> dict[str, float]:
    """scikit-learn's, of two classes."""
    guess = prob[:, 1] > 0.5
    return {
        "balanced_accuracy": sk.balanced_accuracy_score(y, guess, sample_weight=w),
        "accuracy": sk.accuracy_score(y, guess, sample_weight=w),
        "mcc": sk.matthews_corrcoef(y, guess, sample_weight=w),
        "f1": sk.f1_score(y, guess, sample_weight=w),
        "roc_auc": sk.roc_auc_score(y, prob[:, 1], sample_weight=w),
        "pr_auc": sk.average_precision_score(y, prob[:, 1], sample_weight=w),
        "brier": sk.brier_score_loss(y, prob[:, 1], sample_weight=w),
        "log_loss": sk.log_loss(y, prob, sample_weight=w, labels=[0, 1]),
    }


@pytest.mark.parametrize("ties", [False, True])
def test_weights_are_scikit_learns_sample_weights(ties):
    y, prob = _classes(2, n=80, ties=ties)
    w = np.random.default_rng(2).random((3, 80)) * 3
    got = metrics.classification_scores(w, y, prob, calibration=False)
    for b in range(3):
        assert {name: v[b] for name, v in got.items()} == pytest.approx(_with_weights(y, prob, w[b]), rel=1e-10)


@pytest.mark.parametrize(("share", "spread"), [(0.5, 1.0), (0.004, 2.0)])
def test_many_samples_are_pooled_and_next_to_nothing_is_lost(share, spread):
    """Resamples of more than 1,024 samples: balanced classes, and one that is rare and found at the top."""
    rng = np.random.default_rng(3)
    n = 6000
    y = (rng.random(n) < share).astype(int)
    p = expit(rng.normal(size=n) * 2 + y * 2 * spread - 1)
    prob = np.column_stack([1 - p, p])
    w = rng.multinomial(n, np.full(n, 1 / n), size=3).astype(float)
    got = metrics.classification_scores(w, y, prob)
    for b in range(3):
        exact = {name: v[0] for name, v in metrics.classification_scores(w[b : b + 1], y, prob).items()}
        assert {name: v[b] for name, v in got.items()} == pytest.approx(exact, rel=1e-3, abs=1e-3)
        del exact["calibration_slope"], exact["calibration_intercept"]
        assert exact == pytest.approx(_with_weights(y, prob, w[b]), rel=1e-9)


def test_regression_scores_are_scikit_learns_and_weights_repeat():
    rng = np.random.default_rng(0)
    y = np.round(rng.normal(size=50), 1)
    guess = np.round(y + rng.normal(size=50), 1)
    w = rng.integers(0, 3, (4, 50)).astype(float)
    w[0] = 1
    got = metrics.regression_scores(w, y, guess)
    for b in range(4):
        rows = np.repeat(np.arange(50), w[b].astype(int))
        a, p = y[rows], guess[rows]
        expected = {
            "r2": sk.r2_score(a, p),
            "rmse": np.sqrt(sk.mean_squared_error(a, p)),
            "mae": sk.mean_absolute_error(a, p),
            "mse": sk.mean_squared_error(a, p),
            "spearman": stats.spearmanr(a, p).statistic,
        }
        assert {name: v[b] for name, v in got.items()} == pytest.approx(expected, rel=1e-10)


def test_a_class_without_weight_gives_nan_not_a_number_that_looks_fine():
    y, prob = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    got = metrics.classification_scores(np.array([[1.0, 1.0, 0.0, 0.0]]), y, prob)
    assert np.isnan(got["balanced_accuracy"][0])
    assert np.isnan(got["roc_auc"][0])
    assert got["accuracy"][0] == 1


def _validation(y, probs: dict[str, np.ndarray], null=None, seed=0) -> Validation:
    classes = ("a", "b")
    names = [f"s{i}" for i in range(len(y))]
    frames = []
    for model, prob in probs.items():
        part = pd.DataFrame({"repeat": 0, "fold": 0, "sample": names, "model": model, "observed": np.array(classes)[y]})
        part["predicted"] = np.array(classes)[(prob > 0.5).astype(int)]
        part[prob_column("a")], part[prob_column("b")] = 1 - prob, prob
        frames.append(part)
    folds = pd.DataFrame({"repeat": 0, "fold": 0, "sample": names})
    empty = pd.DataFrame(columns=["repeat", "fold", "feature", "statistic"])
    audit = pd.DataFrame(columns=["check", "level", "message"])
    return Validation(
        pd.concat(frames, ignore_index=True), folds, empty, {"seed": seed, "n_repeats": 1}, audit, classes, null
    )


def test_interval_covers_the_truth_of_a_fixed_score():
    """A fixed classifier with accuracy 0.8: the interval covers 0.8 nearly as often as it says."""
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        y = np.tile([0, 1], 50)
        right = rng.random(100) < 0.8
        prob = np.where(right == (y == 1), 0.9, 0.1)
        table = metrics.metrics_table(_validation(y, {"m": prob}, seed=seed), n_boot=400).set_index("metric")
        covered += table.loc["accuracy", "low"] <= 0.8 <= table.loc["accuracy", "high"]
    assert 88 <= covered <= 100


def test_the_winner_among_models_that_know_nothing_is_corrected_to_chance():
    """Eight models, fitted in each fold to genes that know nothing of the class."""
    rng = np.random.default_rng(1)
    y = np.tile([0, 1], 25)
    best, corrected, everyone = [], [], []
    for seed in range(40):
        folds = [np.column_stack([rng.permutation(25) % 5 for _ in range(2)]).ravel() for _ in range(2)]  # stratified
        made = {f"m{i}": centroids(rng.normal(size=(50, 5)), y, folds) for i in range(8)}
        table = metrics.metrics_table(held_out(y, made, ("a", "b"), folds=folds, seed=seed), n_boot=300)
        rows = table[table["metric"] == "balanced_accuracy"].set_index("model")["value"]
        corrected.append(rows[metrics.WINNER])
        best.append(rows.drop(metrics.WINNER).max())
        everyone.append(rows.drop(metrics.WINNER).mean())
    assert np.mean(best) > 0.58  # what reporting the best of eight would have claimed
    assert abs(np.mean(corrected) - np.mean(everyone)) < 0.015
    assert abs(np.mean(corrected) - 0.5) < 0.03


def test_p_value_counts_permutations_at_least_as_good():
    y = np.tile([0, 1], 10)
    prob = np.where(y == 1, 0.9, 0.1)
    prob[:2] = 0.5, 0.4  # one error of twenty
    values = [0.95, 0.5, 1.0, 0.3]
    null = pd.DataFrame({"permutation": range(4), "model": "m", "metric": "accuracy", "value": values})
    table = metrics.metrics_table(_validation(y, {"m": prob}, null), n_boot=20).set_index("metric")
    assert table.loc["accuracy", "value"] == pytest.approx(0.95)
    assert table.loc["accuracy", "p_value"] == pytest.approx(3 / 5)
    assert table.loc["accuracy", "null_mean"] == pytest.approx(np.mean(values))
    lower = pd.DataFrame({"permutation": range(3), "model": "m", "metric": "brier", "value": [0.5, 0.4, 0.001]})
    table = metrics.metrics_table(_validation(y, {"m": prob}, lower), n_boot=20).set_index("metric")
    assert table.loc["brier", "p_value"] == pytest.approx(2 / 4)


@pytest.mark.parametrize(
    ("row", "n", "good"),
    [
        ({"value": 0.9, "low": 0.8, "high": 1.0, "null_mean": 0.5, "p_value": 0.01}, 100, True),
        (
            {"value": 0.7, "low": 0.45, "high": 0.9, "null_mean": 0.5, "p_value": 0.01},
            100,
            True,
        ),  # wide, but p is exact
        ({"value": 0.6, "low": 0.45, "high": 0.7, "null_mean": 0.5, "p_value": 0.2}, 5, False),
        ({"value": 0.6, "low": 0.55, "high": 0.7, "null_mean": 0.5, "p_value": 0.2}, 100, False),
        ({"value": 0.9, "low": 0.8, "high": 1.0, "null_mean": 0.5, "p_value": 1 / 3}, 2, True),  # p cannot be lower
        ({"value": 0.9, "low": 0.8, "high": 1.0, "null_mean": np.nan, "p_value": np.nan}, 0, True),
    ],
)
def test_the_verdict_needs_the_interval_and_the_null(row, n, good):
    table = pd.DataFrame([{"model": "m", "metric": "balanced_accuracy", **row}])
    got, words = metrics.verdict(table, ("a", "b"), n)
    assert got is good
    begins = "Better than chance" if n == 0 or n >= 19 else "Above chance by its interval"
    assert words.startswith(begins if good else "Not shown to be better than chance")
    assert ("not tested by permutation" in words) == (n == 0)
    assert ("cannot tell" in words) == (0 < n < 19)


def test_batch_alone_takes_the_place_of_chance_where_no_permutation_has_tested_it():
    row = {"value": 0.85, "low": 0.75, "high": 0.95, "null_mean": np.nan, "p_value": np.nan}
    table = pd.DataFrame([{"model": "m", "metric": "balanced_accuracy", **row}])
    assert metrics.verdict(table, ("a", "b"), 0)[0]
    for alone, good in ((0.6, True), (0.8, False), (1.0, False)):
        got, words = metrics.verdict(table, ("a", "b"), 0, batch_alone=alone)
        assert got is good
        assert f"batch alone {alone:.2f}" in words
        assert good or words.startswith("Not shown to be better than batch")
    tested = table.assign(null_mean=0.8, p_value=0.01)
    assert metrics.verdict(tested, ("a", "b"), 100, batch_alone=0.8)[0]
    # each batch of one class: a single arrangement, which no permutation can test
    assert not metrics.verdict(tested.assign(p_value=1.0), ("a", "b"), 100, 1, batch_alone=1.0)[0]


def test_few_donors_are_not_called_chance():
    row = {
        "model": "m",
        "metric": "balanced_accuracy",
        "value": 1.0,
        "low": 1.0,
        "high": 1.0,
        "null_mean": 0.5,
        "p_value": 0.34,
    }
    good, words = metrics.verdict(pd.DataFrame([row]), ("a", "b"), 100, n_arrangements=6)
    assert good
    assert "only 6 ways to arrange" in words


def test_r2_keeps_its_digits_far_from_zero():
    y = 1e8 + 0.1 * np.arange(20)
    guess = y + 0.01
    got = metrics.regression_scores(np.ones((1, 20)), y, guess)["r2"][0]
    assert got == pytest.approx(1 - 0.01**2 / np.var(0.1 * np.arange(20)), rel=1e-4)


def test_the_corrected_winner_of_a_small_regression_is_a_sensible_number():
    rng = np.random.default_rng(0)
    y = np.repeat(rng.normal(50, 10, 5), 6)
    names = [f"s{i}" for i in range(30)]
    frames = [
        pd.DataFrame(
            {
                "repeat": 0,
                "fold": 0,
                "sample": names,
                "model": m,
                "observed": y,
                "predicted": y + rng.normal(scale=2, size=30),
            }
        )
        for m in ("one", "two")
    ]
    folds = pd.DataFrame({"repeat": 0, "fold": 0, "sample": names})
    empty, audit = (
        pd.DataFrame(columns=["repeat", "fold", "feature", "statistic"]),
        pd.DataFrame(columns=["check", "level", "message"]),
    )
    validation = Validation(pd.concat(frames, ignore_index=True), folds, empty, {"seed": 0, "n_repeats": 1}, audit)
    with np.errstate(all="raise"):
        table = (
            metrics.metrics_table(validation, groups=np.repeat(np.arange(5), 6), n_boot=500)
            .query("metric == 'r2'")
            .set_index("model")
        )
    assert table.loc[metrics.WINNER, "value"] == pytest.approx(table["value"].drop(metrics.WINNER).mean(), abs=0.2)
    assert table.loc[metrics.WINNER, "low"] > -3


@pytest.mark.parametrize(("k", "worst"), [(2, 1.0), (3, 2.0)])
def test_the_interval_of_the_brier_score_ends_where_the_score_does(k, worst):
    y = np.tile(np.arange(k), 4)
    sure = np.eye(k)[np.where(np.arange(len(y)) % 5 == 0, y, (y + 1) % k)]  # certain, and mostly wrong
    row = (
        metrics.metrics_table(held_out(y, {"m": [sure]}, tuple("abc"[:k])), n_boot=200).set_index("metric").loc["brier"]
    )
    assert 0.7 * worst < row["value"] < row["high"] <= worst
