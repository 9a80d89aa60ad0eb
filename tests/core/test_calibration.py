"""The calibration curve against scikit-learn's, its intervals against the equation that Wilson solved."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from held_out import probabilities
from scipy import stats
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve as theirs

from geneml_bio.core.calibration import calibration_curve, calibration_intervals, share_interval, wilson
from geneml_bio.core.errors import InputError


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("n", "n_bins"), [(200, 10), (38, 5), (9, 10), (50, 1)])
def test_it_is_scikit_learns_by_quantiles(n, n_bins, ties):
    rng = np.random.default_rng(n)
    prob = rng.random(n)
    prob = np.round(prob, 1) if ties else prob
    seen = rng.random(n) < prob
    got = calibration_curve(seen, prob, n_bins)
    observed, predicted = theirs(seen, prob, n_bins=n_bins, strategy="quantile")
    np.testing.assert_allclose(got["observed"], observed)
    np.testing.assert_allclose(got["mean_predicted"], predicted)
    assert got["n"].sum() == n
    assert got["mean_predicted"].is_monotonic_increasing
    assert ((got["low"] <= got["observed"]) & (got["observed"] <= got["high"])).all()
    assert (got["high"] - got["low"] > 0.05).all()  # a bin of hits only is not certain


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (1, 8), (30, 100), (1, 1)])
def test_wilson_solves_its_equation(hits, n):
    """At both ends the share observed is z standard errors away, the errors being those of the end itself."""
    z, share = stats.norm.ppf(0.975), hits / n
    low, high = (float(v[0]) for v in wilson(np.array([hits]), np.array([n])))
    for end in (low, high):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(z * np.sqrt(end * (1 - end) / n))
    assert (low == pytest.approx(0, abs=1e-12)) == (hits == 0)
    assert (high == pytest.approx(1)) == (hits == n)


def test_wilson_covers_what_it_says():
    rng = np.random.default_rng(0)
    for share in (0.05, 0.3, 0.5):
        low, high = wilson(rng.binomial(40, share, 4000), np.full(4000, 40))
        assert 0.92 < np.mean((low <= share) & (share <= high)) < 0.99


@pytest.mark.parametrize(("n_donors", "alike"), [(3, 0.3), (6, 0.05), (6, 0.8), (20, 0.3)])
def test_the_interval_of_a_share_covers_it_in_new_donors_too(n_donors, alike):
    """Samples of one donor are alike, here by a correlation within donors: as if independent, their interval is far too narrow."""
    rng, share, found = np.random.default_rng(0), 0.8, []
    for _ in range(400):
        donor = np.repeat(np.arange(n_donors), rng.integers(10, 50, n_donors))
        own = rng.beta(share * (1 - alike) / alike, (1 - share) * (1 - alike) / alike, n_donors)
        seen = rng.random(len(donor)) < own[donor]
        for low, high in (share_interval(seen, donor), share_interval(seen)):
            found.append(low <= share <= high)
    of_donors, of_samples = np.reshape(found, (-1, 2)).mean(axis=0)
    assert of_donors > 0.89
    assert of_samples < 0.85


def test_the_interval_of_a_share_with_donors():
    seen = np.random.default_rng(1).random(60) < 0.7
    (low,), (high,) = wilson(np.array([seen.sum()]), np.array([60]))
    assert share_interval(seen) == (low, high)
    assert share_interval(seen, np.arange(60)) == pytest.approx((low, high), abs=0.002)  # each its own donor
    assert np.isnan(share_interval(seen, np.zeros(60))).all()  # nothing is known of others
    low, high = share_interval(np.ones(90), np.repeat(list("abc"), 30))
    assert low < 0.3  # three donors, not ninety samples
    assert high == 1.0


def test_bins_of_a_curve_take_donors_as_one():
    rng = np.random.default_rng(2)
    prob, donor = np.repeat(rng.random(8), 25), np.repeat(np.arange(8), 25)
    seen = rng.random(200) < np.repeat(rng.random(8), 25)
    plain, mine = calibration_curve(seen, prob, 4), calibration_curve(seen, prob, 4, groups=donor)
    np.testing.assert_array_equal(mine["observed"], plain["observed"])
    assert (mine["high"] - mine["low"] > 1.5 * (plain["high"] - plain["low"])).all()


def test_few_different_probabilities_share_bins():
    got = calibration_curve([0, 1, 1, 1, 0, 0], [0.9, 0.9, 0.9, 0.9, 0.2, 0.2], 10)
    assert got["n"].tolist() == [2, 4]
    assert got["mean_predicted"].tolist() == pytest.approx([0.2, 0.9])
    assert got["observed"].tolist() == pytest.approx([0, 0.75])


@pytest.mark.parametrize(
    ("observed", "prob", "n_bins", "match"),
    [
        ([0, 1], [0.5], 10, "one probability a sample"),
        ([], [], 10, "one probability a sample"),
        ([[0, 1]], [[0.1, 0.2]], 10, "one probability a sample"),
        ([0, 2], [0.1, 0.2], 10, "0/1"),
        ([0, np.nan], [0.1, 0.2], 10, "0/1"),
        ([0, 1], [0.1, 1.2], 10, "between 0 and 1"),
        ([0, 1], [0.1, np.nan], 10, "between 0 and 1"),
        ([0, 1], [0.1, 0.2], 0, "n_bins"),
        ([0, 1], [0.1, 0.2], 2.5, "n_bins"),
        ([0, 1], [0.1, 0.2], True, "n_bins"),
    ],
)
def test_input_that_makes_no_curve(observed, prob, n_bins, match):
    with pytest.raises(InputError, match=match):
        calibration_curve(observed, prob, n_bins)


# -- intervals of slope and intercept ----------------------------------------------------------------------------------


def _two(p) -> np.ndarray:
    return np.column_stack([1 - p, p])


@pytest.mark.r
def test_intervals_are_those_of_rs_glm(r_limma):
    rng = np.random.default_rng(1)
    for n in (25, 300):
        p = expit(rng.normal(size=n) * 1.5)
        y = (rng.random(n) < expit(0.7 * logit(p) - 0.4)).astype(int)
        r_limma.give("y", y)
        r_limma.give("lp", logit(p))
        r_limma("tight <- glm.control(epsilon = 1e-14, maxit = 100)")
        slope = r_limma.numbers("stats::confint.default(glm(y ~ lp, binomial, control = tight))[2, ]")
        intercept = r_limma.numbers("stats::confint.default(glm(y ~ 1 + offset(lp), binomial, control = tight))[1, ]")
        got = calibration_intervals([(y, _two(p), None)])
        assert got["calibration_slope"] == pytest.approx(slope, rel=1e-7)
        assert got["calibration_intercept"] == pytest.approx(intercept, rel=1e-7)


@pytest.mark.parametrize("n", [20, 60])
def test_intervals_cover_the_truth(n):
    rng = np.random.default_rng(n)
    covered, seen = np.zeros(2), 0
    for _ in range(300):
        x = rng.normal(size=n) * 2
        y = (rng.random(n) < expit(0.6 * x)).astype(int)
        low, high = np.array(list(calibration_intervals([(y, _two(expit(x)), None)]).values())).T
        if np.isfinite(low).all():
            seen += 1
            covered[0] += low[0] <= 0.6 <= high[0]
        flat = (rng.random(n) < expit(x)).astype(int)
        low, high = calibration_intervals([(flat, _two(expit(x)), None)])["calibration_intercept"]
        covered[1] += low <= 0 <= high
    assert covered[0] / seen > 0.92
    assert covered[1] / 300 > 0.91


def test_donors_that_are_wrong_as_a_whole_widen_the_intervals():
    """10 donors of 10 cells whose odds are off by a donor's own amount: the intercept of the population is 0."""
    rng = np.random.default_rng(2)
    donors = np.repeat(np.arange(10), 10)
    by_donor = by_cell = 0
    for _ in range(200):
        x = rng.normal(size=100)
        y = (rng.random(100) < expit(x + rng.normal(size=10)[donors] * 2)).astype(int)
        for groups in (donors, None):
            low, high = calibration_intervals([(y, _two(expit(x)), groups)])["calibration_intercept"]
            if groups is None:
                by_cell += low <= 0 <= high
            else:
                by_donor += low <= 0 <= high
    assert by_cell < 150
    assert by_donor > 180


def test_groups_of_one_sample_change_the_quantile_and_little_else():
    rng = np.random.default_rng(3)
    x = rng.normal(size=400)
    y = (rng.random(400) < expit(x)).astype(int)
    alone, grouped = (calibration_intervals([(y, _two(expit(x)), g)]) for g in (None, np.arange(400)))
    for name, ends in alone.items():
        assert grouped[name] == pytest.approx(ends, abs=0.02)


def test_repeats_and_classes_are_averaged_and_what_is_separated_is_left_out():
    rng = np.random.default_rng(4)
    y = np.arange(60) % 3
    runs = [(y, probabilities(rng, y, 3), None) for _ in range(2)]
    each = [calibration_intervals([run]) for run in runs]
    for name, ends in calibration_intervals(runs).items():
        assert ends == pytest.approx(np.mean([part[name] for part in each], axis=0))
    apart = (y, np.eye(3)[y] * 0.7 + 0.1, None)
    assert np.isnan(calibration_intervals([apart])["calibration_slope"]).all()
    assert calibration_intervals([apart, runs[0]])["calibration_slope"] == pytest.approx(each[0]["calibration_slope"])
    three = [calibration_intervals([((y == c).astype(int), _two(runs[0][1][:, c]), None)]) for c in range(3)]
    for name, ends in each[0].items():
        assert ends == pytest.approx(np.mean([part[name] for part in three], axis=0))


def test_few_samples_of_many_classes_and_sure_predictions_have_an_interval_or_none():
    """With the slope held, all probabilities may be 0 or 1 at the start: the intercept is not to be looked for from there."""
    for seed in range(400):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(6, 41)), int(rng.integers(2, 9))
        prob, seen = rng.dirichlet(np.full(k, rng.choice([0.02, 0.1, 0.5, 2.0, 50.0])), n), rng.integers(0, k, n)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            got = calibration_intervals([(seen, prob, None)])
        for low, high in got.values():
            assert np.isnan([low, high]).all() or low < high
