from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geneml_bio.core.stability import nogueira, selection_frequency


def _screens(Z: np.ndarray) -> pd.DataFrame:
    rows = [(0, i, f"g{j}", 1.0) for i, z in enumerate(Z) for j in np.flatnonzero(z)]
    return pd.DataFrame(rows, columns=["repeat", "fold", "feature", "statistic"])


def _by_definition(Z: np.ndarray) -> tuple[float, float]:
    """Definition 4 and theorem 9 of Nogueira et al. (2018), written out on the whole matrix."""
    m, d = Z.shape
    p, k, kbar = Z.mean(axis=0), Z.sum(axis=1), Z.sum(axis=1).mean()
    chance = kbar / d * (1 - kbar / d)
    phi = 1 - (m / (m - 1) * p * (1 - p)).mean() / chance
    own = np.array(
        [
            ((z * p).mean() - ki * kbar / d**2 + phi / 2 * (2 * ki * kbar / d**2 - ki / d - kbar / d + 1)) / chance
            for z, ki in zip(Z, k, strict=True)
        ]
    )
    return phi, 4 / m**2 * ((own - own.mean()) ** 2).sum()


@pytest.mark.parametrize("equal_sizes", [True, False])
def test_nogueira_is_its_definition(equal_sizes):
    rng = np.random.default_rng(0)
    Z = np.zeros((12, 40), dtype=int)
    for row in Z:
        row[:3] = 1
        row[rng.choice(37, 5 if equal_sizes else rng.integers(2, 9), replace=False) + 3] = 1
    phi, variance = _by_definition(Z)
    got = nogueira(_screens(Z), 40)
    assert got["stability"] == pytest.approx(phi, rel=1e-12)
    assert (got["high"] - got["low"]) / 2 / 1.959963984540054 == pytest.approx(np.sqrt(variance), rel=1e-9)


def test_the_same_genes_are_stability_one_and_random_genes_zero():
    same = np.tile(np.r_[np.ones(5), np.zeros(95)], (20, 1))
    assert nogueira(_screens(same), 100)["stability"] == pytest.approx(1)
    rng = np.random.default_rng(0)
    values = []
    for _ in range(50):
        Z = np.zeros((20, 200), dtype=int)
        for row in Z:
            row[rng.choice(200, 20, replace=False)] = 1
        values.append(nogueira(_screens(Z), 200)["stability"])
    assert abs(np.mean(values)) < 0.01


def test_frequency_counts_folds_and_is_zero_for_genes_never_chosen():
    Z = np.array([[1, 1, 0], [1, 0, 0]])
    got = selection_frequency(_screens(Z), pd.Index(["g0", "g1", "g2"]))
    assert got.to_dict() == {"g0": 1.0, "g1": 0.5, "g2": 0.0}


def test_nothing_to_choose_has_no_stability():
    assert np.isnan(nogueira(_screens(np.ones((4, 5))), 5)["stability"])
    assert np.isnan(nogueira(_screens(np.array([[1, 0]])), 2)["stability"])
