"""The network: its history against scikit-learn's own losses, what it learns, and what it does with few samples."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error, r2_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils.estimator_checks import check_estimator
from test_models import one, recipe, study

from geneml_bio.core.errors import InputError
from geneml_bio.core.fitting import bare, fit_candidate
from geneml_bio.core.network import NetworkClassifier, NetworkRegressor

QUICK = {"epochs": 8, "learning_rate": 0.01, "random_state": 0}


@pytest.mark.parametrize("network", [NetworkClassifier(**QUICK), NetworkRegressor(**QUICK)])
def test_networks_pass_scikit_learns_checks(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(network, on_fail=None, on_skip=None)
    assert not [r["check_name"] for r in results if r["status"] == "failed"]


def _rows(network, X, y):
    """Who was learnt from and who was held out, found by what the last line of the history says."""
    train, held = network._parts(
        len(y), None if isinstance(network, NetworkRegressor) else y, network.network_.random_state
    )
    assert sorted([*train, *held]) == list(range(len(y)))
    return train, held


@pytest.mark.parametrize("k", [2, 3])
def test_the_history_is_the_loss_and_accuracy_of_the_samples_learnt_from_and_of_those_held_out(k):
    X, y = study(n=75, k=k)
    network = NetworkClassifier(random_state=1, epochs=12).fit(X, y)
    history = network.history_
    assert list(history.columns) == ["epoch", "loss", "val_loss", "accuracy", "val_accuracy"]
    assert list(history["epoch"]) == list(range(1, 13))
    train, held = _rows(network, X, y)
    assert len(held) == 15
    assert np.abs(np.bincount(y[held]) - np.bincount(y) / 5).max() < 1
    last = history.iloc[-1]
    for rows, prefix in ((train, ""), (held, "val_")):
        prob = network.predict_proba(X[rows])
        assert last[f"{prefix}loss"] == pytest.approx(log_loss(y[rows], prob, labels=range(k)), rel=1e-12)
        assert last[f"{prefix}accuracy"] == np.mean(network.predict(X[rows]) == y[rows])


def test_the_weights_are_those_of_scikit_learns_network_after_as_many_epochs():
    X, y = study(n=50)
    network = NetworkClassifier(random_state=3, epochs=5).fit(X, y)
    train, _ = _rows(network, X, y)
    plain = MLPClassifier(
        hidden_layer_sizes=(64, 32),
        alpha=0.0,
        batch_size=10,
        learning_rate_init=1e-3,
        random_state=network.network_.random_state,
    )
    for _ in range(5):
        plain.partial_fit(X[train], y[train], classes=[0, 1])
    for mine, theirs in zip(network.network_.coefs_, plain.coefs_, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [w.shape for w in plain.coefs_] == [(40, 64), (64, 32), (32, 1)]
    assert network.network_.out_activation_ == "logistic"


def test_the_regressor_learns_the_standardised_target_and_reports_in_its_unit():
    X, y = study(n=60, k=0)
    y = 1000 + 50 * y
    network = NetworkRegressor(random_state=0, epochs=10).fit(X, y)
    assert list(network.history_.columns) == ["epoch", "loss", "val_loss", "mae", "val_mae"]
    train, held = _rows(network, X, y)
    last = network.history_.iloc[-1]
    for rows, prefix in ((train, ""), (held, "val_")):
        assert last[f"{prefix}loss"] == pytest.approx(mean_squared_error(y[rows], network.predict(X[rows])), rel=1e-9)
        assert last[f"{prefix}mae"] == pytest.approx(mean_absolute_error(y[rows], network.predict(X[rows])), rel=1e-9)
    plain = MLPRegressor(
        hidden_layer_sizes=(64, 32), alpha=0.0, batch_size=10, random_state=network.network_.random_state
    )
    z = (y[train] - y[train].mean()) / y[train].std()
    for _ in range(10):
        plain.partial_fit(X[train], z)
    np.testing.assert_allclose(network.predict(X), plain.predict(X) * y[train].std() + y[train].mean())


@pytest.mark.parametrize("k", [0, 2, 4])
def test_it_learns_what_a_linear_model_cannot(k):
    """The class is a quadrant, or the target a product, of two genes, over several seeds; the training loss falls."""
    scores = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(600, 6))
        product = X[:, 0] * X[:, 1]
        y = product + 0.1 * rng.normal(size=600) if not k else (product > 0).astype(int)
        if k == 4:
            y = y + 2 * (X[:, 2] * X[:, 3] > 0)
        network = (NetworkClassifier if k else NetworkRegressor)(random_state=seed).fit(X[:400], y[:400])
        made = network.predict(X[400:])
        scores.append(np.mean(made == y[400:]) if k else r2_score(y[400:], made))
        loss = network.history_["loss"].to_numpy()
        assert loss[-1] < 0.5 * loss[0]
    assert np.mean(scores) > {0: 0.75, 2: 0.88, 4: 0.75}[k]


@pytest.mark.parametrize(
    ("n", "sizes", "held"), [(12, (6, 6), 2), (12, (11, 1), 0), (5, (3, 2), 0), (2, (1, 1), 0), (30, (28, 2), 6)]
)
def test_few_samples_shrink_the_batch_and_the_part_held_out(n, sizes, held):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(n, 4)), np.repeat([0, 1], sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = NetworkClassifier(random_state=0, epochs=3).fit(X, y)
    assert network.network_.batch_size == min(10, n - held)
    assert network.history_["val_loss"].isna().all() == (held == 0)
    assert network.history_["loss"].notna().all()
    assert np.isfinite(network.predict_proba(X)).all()


def test_the_same_seed_gives_the_same_network_and_another_another():
    X, y = study(n=40)
    made = [NetworkClassifier(random_state=seed, epochs=4).fit(X, y) for seed in (0, 0, 1)]
    pd.testing.assert_frame_equal(made[0].history_, made[1].history_, check_exact=True)
    assert not made[0].history_.equals(made[2].history_)


def test_class_weights_weigh_the_loss():
    X, y = study(n=80)
    weight = {0: 1.0, 1: 5.0}
    network = NetworkClassifier(random_state=0, epochs=6, class_weight=weight).fit(X, y)
    train, held = _rows(network, X, y)
    for rows, name in ((train, "loss"), (held, "val_loss")):
        expected = log_loss(y[rows], network.predict_proba(X[rows]), sample_weight=np.where(y[rows] == 1, 5.0, 1.0))
        assert network.history_[name].iloc[-1] == pytest.approx(expected)
    plain = NetworkClassifier(random_state=0, epochs=6).fit(X, y)
    assert network.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"epochs": 0}, {"epochs": 2.5}, {"validation_split": 1.0}])
def test_parameters_that_mean_nothing_are_refused(wrong):
    X, y = study(n=20)
    with pytest.raises(InputError, match=next(iter(wrong))):
        NetworkClassifier(**wrong).fit(X, y)


def test_the_history_is_behind_the_pipeline_also_when_calibrated():
    X, y = study(n=60)
    for calibrate in (None, "sigmoid"):
        whole, _ = fit_candidate(recipe(2, calibrate=calibrate), one("mlp"), X, y, seed=0)
        history = bare(whole)["model"].history_
        assert len(history) == 50
        assert history["loss"].iloc[-1] < history["loss"].iloc[0]
