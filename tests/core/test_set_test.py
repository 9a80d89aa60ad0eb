"""The competitive test against limma's cameraPR, closed forms and brute force."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from geneml_bio.core.errors import InputError
from geneml_bio.core.set_test import _Tail, competitive

STORED = json.loads((Path(__file__).parents[1] / "data" / "camera.json").read_text())


def _one_sided(two_sided, up):
    half = np.asarray(two_sided, dtype=float) / 2
    return np.where(up, half, 1 - half)


@pytest.mark.parametrize("case", STORED["cases"], ids=lambda c: f"{c['scores'][0]}-{c['correlation']}")
def test_the_normal_tail_is_limmas_camera(case):
    name = case["scores"][0]
    sets = [np.array(members) for members in STORED["sets"][name]]
    r = np.array(case["correlation"])
    got = competitive(np.array(STORED["scores"][name], dtype=float), sets, r if len(r) > 1 else r[0])
    np.testing.assert_allclose(got.p_normal, _one_sided(case["two_sided"], case["up"]), rtol=1e-8)
    assert STORED["versions"]["limma"]


@pytest.mark.r
def test_the_normal_tail_is_that_of_the_limma_that_is_there(fresh_r):
    rng = np.random.default_rng(1)
    scores = np.where(rng.random(300) < 0.3, rng.gamma(2, size=300), 0)
    sets = [rng.choice(300, m, replace=False) for m in (4, 17, 80, 250)]
    r = np.array([0.5, 0.1, 0.02, 0.3])
    fresh_r.give("scores", scores)
    fresh_r.give("r", r)
    for k, members in enumerate(sets):
        fresh_r.give(f"s{k}", members + 1)
    told = "limma::cameraPR(scores, list(s0, s1, s2, s3), inter.gene.cor = r, sort = FALSE)"
    two_sided, up = fresh_r.numbers(f"{told}$PValue"), fresh_r.numbers(f"as.numeric({told}$Direction == 'Up')")
    np.testing.assert_allclose(competitive(scores, sets, r).p_normal, _one_sided(two_sided, up > 0), rtol=1e-8)


@pytest.mark.parametrize("k", [1, 2, 7, 60, 300])
def test_the_tail_of_zeros_and_ones_is_binomial(k):
    scores = np.zeros(500)
    scores[:20] = 1.0
    tail = _Tail(scores)
    for hits in range(min(k, 12) + 1):
        expected = stats.binom.sf(hits - 1, k, 0.04)
        np.testing.assert_allclose(tail(k, hits / k), max(expected, 1e-13), rtol=1e-8, atol=2e-13)


def test_the_tail_of_few_genes_is_that_of_all_ways_to_draw_them():
    scores = np.array([0, 0, 0, 0, 64, 128, 512]) / 512  # on the grid
    for k in (1, 2, 3, 4):
        means = np.array([np.mean(draw) for draw in itertools.product(scores, repeat=k)])
        for x in np.unique(means):
            np.testing.assert_allclose(_Tail(scores)(k, x), (means >= x - 1e-12).mean(), rtol=1e-9)


def test_scores_between_the_steps_never_make_the_tail_too_small():
    rng = np.random.default_rng(0)
    scores = np.where(rng.random(2000) < 0.05, rng.random(2000), 0)
    tail = _Tail(scores)
    draws = rng.choice(scores, (100_000, 12)).mean(axis=1)
    for x in (0.01, 0.05, 0.1, 0.15):
        share = (draws >= x).mean()
        assert share - 3 * np.sqrt(share / 100_000) <= tail(12, x) <= share * 1.05 + 1e-4


@pytest.mark.parametrize("scores", ["sparse", "normal"])
@pytest.mark.parametrize("m", [5, 40, 200])
def test_random_sets_get_uniform_or_larger_p_values(scores, m):
    """400 random sets of 600 genes, a third of all genes at most: at 5 % 6 % at most, at 1 % 1.5 %."""
    rng = np.random.default_rng(m)
    values = rng.normal(size=600) if scores == "normal" else np.where(rng.random(600) < 0.06, rng.random(600), 0)
    p = competitive(values, [rng.choice(600, m, replace=False) for _ in range(1000)]).p_value
    assert (p <= 0.05).mean() <= 0.05 + 1.65 * np.sqrt(0.05 * 0.95 / 1000)
    assert (p <= 0.01).mean() <= 0.01 + 1.65 * np.sqrt(0.01 * 0.99 / 1000)
    if scores == "normal":
        assert (p <= 0.2).mean() > 0.12  # and not by never being small


def test_the_normal_tail_of_few_used_genes_is_too_small_which_is_why_it_is_not_used():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(2000) < 0.04, rng.random(2000), 0)
    found = competitive(values, [rng.choice(2000, 5, replace=False) for _ in range(2000)])
    assert (found.p_normal <= 0.01).mean() > 0.02
    assert (found.p_value <= 0.01).mean() < 0.014


def test_copies_of_one_gene_are_worth_one_gene():
    scores = np.repeat(np.arange(100) / 100, 10)
    sets = [np.arange(10) + 10 * k for k in (50, 90, 99)]
    found = competitive(scores, sets, 1.0)
    np.testing.assert_allclose(found.n_effective, 1, rtol=0.05)
    np.testing.assert_allclose(found.p_value, [0.5, 0.1, 0.01], rtol=0.1)
    assert (competitive(scores, sets, 0.0).p_value[1:] < 1e-4).all()


def test_what_cannot_be_tested_is_nan_and_what_cannot_be_scored_is_refused():
    found = competitive(np.array([1.0, 2.0, 3.0, 4.0]), [np.array([], dtype=int), np.arange(4), np.array([3])])
    assert np.isnan(found.p_value[:2]).all()
    assert np.isfinite(found.p_value[2])
    assert np.isnan(competitive(np.zeros(5), [np.array([1])]).p_value[0])
    with pytest.raises(InputError, match="finite score"):
        competitive(np.array([1.0, np.nan, 2.0]), [np.array([0])])
