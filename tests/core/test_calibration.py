"""The calibration curve against scikit-learn's, its intervals against the equation that Wilson solved."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve as theirs

from geneml_bio.core.calibration import calibration_curve, wilson
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
