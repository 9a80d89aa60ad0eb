from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geneml_bio.core.models import candidates
from geneml_bio.core.schema import Cohort
from geneml_bio.core.stability import nogueira, own_selection, selection_frequency
from geneml_bio.core.validate import validate


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


def test_folds_that_chose_nothing_count():
    Z = np.array([[1, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]])
    phi, variance = _by_definition(Z)
    got = nogueira(_screens(Z), 5, n_folds=4)
    assert got["stability"] == pytest.approx(phi, rel=1e-12)
    assert (got["high"] - got["low"]) / 2 / 1.959963984540054 == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert got["mean_selected"] == 1.0
    assert selection_frequency(_screens(Z), pd.Index([f"g{j}" for j in range(5)]), 4)["g0"] == 0.5
    assert nogueira(_screens(Z), 5)["n_folds"] == 2


def test_the_interval_covers_the_stability_of_a_known_process():
    """Genes chosen independently with known probabilities and set sizes that differ: definition 4 has a known limit."""
    p = np.r_[np.full(10, 0.9), np.full(20, 0.4), np.full(170, 0.03)]
    share = p.mean()
    truth = 1 - (p * (1 - p)).mean() / (share * (1 - share))
    rng = np.random.default_rng(0)
    hits, estimates = 0, []
    for _ in range(200):
        got = nogueira(_screens((rng.random((25, 200)) < p).astype(int)), 200)
        hits += got["low"] <= truth <= got["high"]
        estimates.append(got["stability"])
    assert np.mean(estimates) == pytest.approx(truth, abs=0.01)
    assert 0.9 <= hits / 200 <= 0.99


def _cohort(seed=0, n_classes=2):
    rng = np.random.default_rng(seed)
    classes = tuple("abc"[:n_classes])
    y = np.array([classes[i % n_classes] for i in range(60)], dtype=object)
    X = rng.normal(size=(60, 150))
    for i, name in enumerate(classes):
        X[y == name, i * 5 : i * 5 + 5] += 2.0
    return Cohort(X, pd.Index([f"g{i}" for i in range(150)]), pd.Index([f"s{i}" for i in range(60)]), y, classes)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_genes_that_a_lasso_chose_are_those_with_a_coefficient(n_classes):
    cohort = _cohort(n_classes=n_classes)
    models = candidates(["lasso", "logistic", "random_forest"], "classification")
    how = {"n_splits": 3, "n_repeats": 1, "n_jobs": 1, "progress": False, "tune": False}
    result = validate(cohort, models, screen=40, **how)
    chosen = own_selection(result, cohort.features)
    assert set(chosen["model"]) == {"lasso"}
    assert set(chosen["fold"]) == {0, 1, 2}
    for fold, part in chosen.groupby("fold"):
        whole = result.fitted[0, fold, "lasso"]
        screened = whole.named_steps["screen"].transform(np.arange(150.0)[None])[0].astype(int)
        held = np.abs(whole.named_steps["model"].coef_).max(axis=0)
        assert dict(zip(part["feature"], part["statistic"], strict=True)) == {
            f"g{j}": value for j, value in zip(screened, held, strict=True) if value > 0
        }
        assert part["statistic"].is_monotonic_decreasing
    assert nogueira(chosen, 150, n_folds=3)["stability"] > 0.2
    assert own_selection(validate(cohort, models[1:], screen=40, **how), cohort.features).empty


def test_the_genes_of_a_calibrated_model_are_those_of_the_model_behind():
    cohort = _cohort()
    models = candidates(["lasso"], "classification")
    how = {"n_splits": 3, "n_repeats": 1, "n_jobs": 1, "progress": False, "tune": False, "screen": 40}
    plain = own_selection(validate(cohort, models, **how), cohort.features)
    calibrated = own_selection(validate(cohort, models, calibrate="sigmoid", **how), cohort.features)
    assert len(calibrated)
    pd.testing.assert_frame_equal(plain, calibrated)


def test_a_constant_gene_does_not_make_a_model_one_that_chooses():
    cohort = _cohort()
    cohort.X[:, 140:] = 1.0
    models = candidates(["logistic", "lasso"], "classification")
    how = {"n_splits": 3, "n_repeats": 1, "n_jobs": 1, "progress": False, "tune": False, "screen": None}
    assert set(own_selection(validate(cohort, models, **how), cohort.features)["model"]) == {"lasso"}


def test_regression_and_models_without_coefficients():
    cohort = _cohort()
    number = Cohort(cohort.X, cohort.features, cohort.samples, 20 * (cohort.X[:, 0] + cohort.X[:, 1]))
    models = candidates(["elastic_net", "lasso", "ridge", "svm", "knn"], "regression")
    how = {"n_splits": 3, "n_repeats": 1, "n_jobs": 1, "progress": False, "tune": False, "screen": 40}
    chosen = own_selection(validate(number, models, **how), number.features)
    assert set(chosen["model"]) == {"elastic_net", "lasso"}
    assert {"g0", "g1"} <= set(chosen.groupby("model").get_group("lasso")["feature"])
