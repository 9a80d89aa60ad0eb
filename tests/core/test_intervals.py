"""Intervals: what their pieces are, and that they cover what they are said to cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from geneml_bio.core.intervals import corrected, interval, optimism, resamples, widening
from geneml_bio.core.resample import make_folds
from geneml_bio.core.scores import classification_scores, regression_scores
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.simulation import Plan, simulate_arrays

HERE = {
    "n_genes": 150,
    "effect_spread": 0.2,
    "correlation": 0.3,
    "block_size": 10,
    "donor_sd": 0.7,
    "batch_effect": 0.0,
}


def scored(rs, observed, made):
    w, y, p = rs.of(np.arange(len(observed)), observed, made)
    return classification_scores(w, y, p, calibration=False) if p.ndim == 2 else regression_scores(w, y, p)


def right_and_wrong(n_classes, per_class, wrong):
    """Predictions of which so many in each class are wrong."""
    observed = np.repeat(np.arange(n_classes), per_class)
    hit = np.tile(np.arange(per_class) >= wrong, n_classes)
    predicted = np.where(hit, observed, (observed + 1) % n_classes)
    return observed, np.eye(n_classes)[predicted] * 0.8 + 0.2 / n_classes


# -- the weights -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
def test_each_class_keeps_its_share_in_every_resample(n_classes):
    rng = np.random.default_rng(0)
    observed = rng.permutation(np.repeat(np.arange(n_classes), [20, 7, 5][:n_classes]))
    made = rng.dirichlet(np.ones(n_classes), len(observed))
    w, y, p = resamples(len(observed), n_classes, None, 50, 0).of(np.arange(len(observed)), observed, made)
    for c in range(n_classes):
        np.testing.assert_allclose(w[:, y == c].sum(axis=1), (observed == c).sum())
    np.testing.assert_allclose(p.sum(axis=1), 1)
    np.testing.assert_array_equal(y[: len(observed)], observed)
    np.testing.assert_array_equal(p[: len(observed)], made)


def test_pseudo_samples_know_nothing_of_the_class_and_weigh_half_a_sample_each():
    rng = np.random.default_rng(1)
    observed = np.repeat([0, 1], 20)
    made = rng.dirichlet([1, 1], 40)
    w, y, p = resamples(40, 2, None, 4000, 0).of(np.arange(40), observed, made)
    extra, label = p[40:], y[40:]
    assert extra[label == 0].mean(axis=0) == pytest.approx(extra[label == 1].mean(axis=0))
    assert (extra.argmax(axis=1) == 1).mean() == pytest.approx(0.5, abs=0.1)
    share = w[0, 40:][label == 1].sum() / w[0, y == 1].sum()
    assert share == pytest.approx(0.5 / 20.5)
    assert (w[1:, 40:][:, label == 1].sum(axis=1) / w[1:, y == 1].sum(axis=1)).mean() == pytest.approx(share, rel=0.1)


def test_groups_are_drawn_whole():
    groups = np.array(list("aabbbcdd"))
    rs = resamples(8, 0, groups, 30, 3)
    for name in "abcd":
        own = rs.weights[:, groups == name]
        assert (own == own[:, :1]).all()
    assert len(np.unique(rs.weights[0])) == 4


def test_samples_that_a_repeat_did_not_hold_out_have_no_part():
    observed, made = right_and_wrong(2, 10, 2)
    rs = resamples(20, 2, None, 20, 0)
    where = np.array([1, 3, 4, 12, 17, 19])
    w, y, p = rs.of(where, observed[where], made[where])
    assert w.shape == (21, len(where) * 3)
    assert len(y) == len(p) == w.shape[1]
    np.testing.assert_allclose(w[:, y == 0].sum(axis=1), 3)


def test_a_seed_fixes_the_weights():
    a, b, c = (resamples(12, 2, None, 5, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.weights, b.weights)
    np.testing.assert_array_equal(a.pseudo, b.pseudo)
    assert not np.array_equal(a.weights, c.weights)


# -- the factor --------------------------------------------------------------------------------------------------------

DF = {
    "15 and 15": (np.repeat([0, 1], 15), None, True, 28),
    "4 and 4 donors": (np.repeat([0, 1], 20), np.repeat(np.arange(8), 5), True, 6),
    "donors of both classes": (np.tile([0, 1], 20), np.repeat(np.arange(8), 5), True, 7),
    "numbers": (np.arange(30.0), None, False, 29),
}


@pytest.mark.parametrize("name", DF)
def test_the_factor_is_students_times_the_root_of_two(name):
    observed, groups, classes, df = DF[name]
    student = stats.t.ppf(0.975, df) / stats.norm.ppf(0.975)
    assert widening(observed, groups, classes=classes) == pytest.approx(np.sqrt(2) * student)
    assert widening(observed, groups, classes=classes, refitted=False) == pytest.approx(student)


def test_a_small_class_counts_more_than_many_samples():
    few = widening(np.repeat([0, 1], [54, 6]), None)
    assert widening(np.repeat([0, 1], [6, 6]), None) < few * 1.05
    assert few > widening(np.repeat([0, 1], [30, 30]), None) * 1.1


# -- the limits --------------------------------------------------------------------------------------------------------


def test_all_right_is_not_known_for_certain():
    observed = np.repeat([0, 1], [27, 11])
    made = np.eye(2)[observed] * 0.9 + 0.05
    for metric in ("balanced_accuracy", "accuracy", "mcc", "f1", "roc_auc", "pr_auc"):
        low, high = interval(metric, 1.0, scored(resamples(38, 2, None, 1000, 0), observed, made)[metric], widen=1.45)
        assert 0.3 < low < 0.99, metric
        assert high == 1.0


@pytest.mark.parametrize("wrong", [0, 1, 3, 6, 15])
def test_without_widening_accuracy_has_about_the_binomial_interval(wrong):
    """Oracle: the Jeffreys interval of Brown, Cai and DasGupta (2001)."""
    observed, made = right_and_wrong(2, 30, wrong)
    draws = scored(resamples(60, 2, None, 4000, 0), observed, made)["accuracy"]
    low, high = interval("accuracy", 1 - wrong / 30, draws)
    oracle = stats.beta.ppf([0.025, 0.975], 60 - 2 * wrong + 0.5, 2 * wrong + 0.5)
    assert low == pytest.approx(oracle[0], abs=0.03)
    assert high == pytest.approx(1.0 if wrong == 0 else oracle[1], abs=0.02)


@pytest.mark.parametrize("metric", ["rmse", "mae", "mse", "r2", "spearman"])
def test_regression_limits_are_the_reflected_bootstrap_on_the_free_scale(metric):
    rng = np.random.default_rng(0)
    y = rng.normal(size=40)
    made = y * 0.5 + rng.normal(size=40) * 0.5
    draws = scored(resamples(40, 0, None, 500, 0), y, made)[metric]
    free = {"r2": lambda v: -np.log(1 - v), "spearman": np.arctanh}.get(metric, np.log)
    back = {"r2": lambda z: 1 - np.exp(-z), "spearman": np.tanh}.get(metric, np.exp)
    z = free(draws)
    upper, lower = np.quantile(z[1:], [0.975, 0.025])
    expected = back(np.array([z[0] - 1.3 * (upper - z[0]), z[0] + 1.3 * (z[0] - lower)]))
    assert interval(metric, draws[0], draws, widen=1.3) == pytest.approx(tuple(expected))


def test_limits_hold_the_estimate_follow_a_corrected_one_and_are_missing_where_it_is():
    draws = np.r_[0.7, np.random.default_rng(0).normal(0.7, 0.02, 500)]
    low, high = interval("accuracy", 0.9, draws)
    assert low < 0.7 < high == 0.9
    moved = interval("accuracy", 0.6, draws, centre=0.7)
    assert moved[0] < 0.6 < moved[1] < 0.7
    assert np.isnan(interval("accuracy", np.nan, draws)).all()
    assert np.isnan(interval("calibration_slope", 1.0, draws)).all()
    assert interval("log_loss", 0.5, np.abs(draws), widen=5)[0] > 0
    wide, narrow = interval("roc_auc", 0.7, draws, level=0.99), interval("roc_auc", 0.7, draws, level=0.8)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


# -- the winner --------------------------------------------------------------------------------------------------------


def picked_error(truth, noise, n=400, seed=0):
    """Mean error of the best of k, as it is and corrected, where scores are truth + correlated noise."""
    rng = np.random.default_rng(seed)
    k = len(truth)
    root = np.linalg.cholesky(noise**2 * (0.5 * np.eye(k) + 0.5))
    draws = np.column_stack([np.zeros(k), root @ rng.normal(size=(k, 300))])
    out = []
    for _ in range(n):
        shared = root @ rng.normal(size=k)
        points = truth + shared
        best = int(points.argmax())
        off = optimism(points, points[:, None] + draws, points[:, None] + draws, widen=1.0)
        out.append((points[best] - truth[best], points[best] - off - truth[best]))
    return np.mean(out, axis=0)


# name -> true scores; the noise is 0.06
TRUTH = {
    "3 equal": np.full(3, 0.6),
    "8 equal": np.full(8, 0.6),
    "one far ahead": np.array([0.9, 0.6, 0.6, 0.6]),
    "three a little apart": np.array([0.66, 0.63, 0.57]),
    "spread out": np.linspace(0.5, 0.9, 6),
}


@pytest.mark.parametrize("name", TRUTH)
def test_the_corrected_winner_is_off_by_little(name):
    raw, corrected = picked_error(TRUTH[name], 0.06)
    assert abs(corrected) < 0.012
    if "equal" in name:
        assert raw > 0.03


def test_nothing_is_taken_from_an_only_model_or_from_copies():
    draws = np.random.default_rng(0).normal(0.7, 0.05, (3, 100))
    assert optimism(np.array([0.7]), draws[:1], draws[:1], widen=1.4) == 0
    same = np.repeat(draws[:1], 3, axis=0)
    assert optimism(np.full(3, 0.7), same, same, widen=1.4) == pytest.approx(0, abs=1e-9)


def test_a_score_that_has_nothing_to_do_with_the_choice_is_left_alone():
    rng = np.random.default_rng(0)
    draws, other = rng.normal(0.7, 0.05, (2, 4, 20000))
    points = np.array([0.7, 0.72, 0.68, 0.74])
    own = optimism(points, draws, draws, widen=1.0)
    assert own > 0.02
    assert abs(optimism(points, draws, other, widen=1.0)) < 0.05 * own
    assert optimism(points, draws, -2 * draws, widen=1.0) == pytest.approx(-2 * own)


def test_a_model_far_ahead_loses_nothing():
    draws = np.random.default_rng(0).normal(0.7, 0.03, (3, 2000))
    assert abs(optimism(np.array([0.95, 0.6, 0.58]), draws, draws, widen=1.4)) < 0.003


def test_of_regression_what_all_models_share_by_a_factor_picks_none():
    """R2 divides by the target's variance: a resample in which it is small is bad for all models, not for one."""
    rng = np.random.default_rng(0)
    own = np.exp(rng.normal(0, 0.1, (3, 4000))) * 0.6
    draws, shaken = 1 - own, 1 - own * np.exp(rng.normal(0, 0.5, 4000))
    points = np.array([0.4, 0.42, 0.39])
    given = {"by": "r2", "points": points, "widen": 1.0}
    quiet = corrected("r2", 0.42, draws, draws=draws, **given)
    assert corrected("r2", 0.42, shaken, draws=shaken, **given) == pytest.approx(quiet, abs=1e-6)
    assert quiet < 0.41
    assert corrected("rmse", 0.76, np.sqrt(own), draws=draws, **given) > 0.76
    given = {"by": "balanced_accuracy", "points": points, "widen": 1.0, "draws": draws}
    assert corrected("accuracy", 0.9, draws, **given) == 0.9 - optimism(points, draws, draws, widen=1.0)


# -- coverage ----------------------------------------------------------------------------------------------------------

COVERED = {
    "weak": (30, {"effect": 0.7, "n_informative": 10}, (0.5, 0.5), 0, "balanced_accuracy"),
    "separable": (30, {"effect": 2.0, "n_informative": 20}, (0.5, 0.5), 0, "roc_auc"),
    "donors": (40, {"effect": 0.9, "n_informative": 10}, (0.5, 0.5), 8, "balanced_accuracy"),
    "numbers": (30, {"effect": 0.7, "n_informative": 10}, (), 0, "r2"),
}
STUDIES = 60


@pytest.fixture
def one_thread():
    """Many small fits: threads of BLAS would wait for each other."""
    with threadpool_limits(1):
        yield


@pytest.mark.parametrize("name", COVERED)
def test_intervals_cover_the_true_score_of_the_fold_models(name, one_thread):
    n, own, shares, donors, metric = COVERED[name]
    hit = narrow = 0
    for seed in range(STUDIES):
        truth = HERE | own
        _, study, new = simulate_arrays(n, 400, Plan(shares), n_donors=donors, test_batches="same", seed=seed, **truth)
        y, groups, k = study.target, study.donor if donors else None, len(shares)
        made, true = np.empty((n, k) if k else n), []
        for f in make_folds(y, tuple(map(str, range(k))), groups, n_splits=4, run=0, seed=seed):
            screen = ModeratedScreen(20, task="classification" if k else "regression").fit(study.X[f.train], y[f.train])
            X, held, later = (screen.transform(part) for part in (study.X[f.train], study.X[f.test], new.X))
            model = (LogisticRegression(C=0.1, solver="newton-cholesky") if k else Ridge(50.0)).fit(X, y[f.train])
            predict = model.predict_proba if k else model.predict
            made[f.test] = predict(held)
            one = np.ones((1, len(new.target)))
            score = classification_scores if k else regression_scores
            true.append(score(one, new.target, predict(later))[metric][0])
        draws = scored(resamples(n, k, groups, 300, seed), y, made)[metric]
        value = (classification_scores if k else regression_scores)(np.ones((1, n)), y, made)[metric][0]
        low, high = interval(metric, value, draws, widen=widening(y, groups, classes=bool(k)))
        hit += low <= np.mean(true) <= high
        narrow += high - low < 0.9
    # 53 of 60 is the 1 in 100 limit of a rate of 0.95
    assert hit >= stats.binom.ppf(0.01, STUDIES, 0.95)
    assert narrow >= STUDIES * 0.9
