"""A small neural network whose training history is kept: scikit-learn's MLP, one epoch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import log_loss
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .errors import InputError


class _Network(BaseEstimator):
    """Parameters and the loop over epochs, which both kinds share."""

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (64, 32),
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 10,
        epochs: int = 50,
        validation_split: float = 0.2,
        alpha: float = 0.0,
        random_state: Any = None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.validation_split = validation_split
        self.alpha = alpha
        self.random_state = random_state

    def _check(self) -> None:
        for name in ("batch_size", "epochs"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InputError(f"{name} must be a positive count, got {value!r}.")
        if not 0 <= self.validation_split < 1:
            raise InputError(f"validation_split must be a share between 0 and 1, got {self.validation_split!r}.")

    def _parts(self, n: int, y: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions to learn from and to validate on; by class where ``y`` holds classes."""
        count = round(self.validation_split * n)
        k = 1 if y is None else len(np.unique(y))
        fewest = n if y is None else int(np.bincount(y).min())
        if count < k or n - count < k or fewest < 2:
            return np.arange(n), np.empty(0, dtype=int)
        kind = ShuffleSplit if y is None else StratifiedShuffleSplit
        train, held = next(kind(1, test_size=count, random_state=seed).split(np.zeros(n), y))
        return np.sort(train), np.sort(held)

    def _network(self, kind: type, n: int, seed: int) -> Any:
        return kind(
            hidden_layer_sizes=tuple(self.hidden_layer_sizes),
            activation="relu",
            solver="adam",
            alpha=self.alpha,
            batch_size=min(self.batch_size, n),
            learning_rate_init=self.learning_rate,
            random_state=seed,
        )

    def _train(self, X: np.ndarray, target: np.ndarray, rows: tuple[np.ndarray, np.ndarray], **given: Any) -> None:
        """Every epoch: one pass over the training rows, then both parts are scored."""
        train, held = rows
        lines = []
        for epoch in range(1, self.epochs + 1):
            self.network_.partial_fit(X[train], target[train], **given)
            parts = [self._score(X, target, part) if len(part) else (np.nan, np.nan) for part in (train, held)]
            (loss, score), (val_loss, val_score) = parts
            lines.append((epoch, loss, val_loss, score, val_score))
        self.history_ = pd.DataFrame(lines, columns=["epoch", "loss", "val_loss", self._metric, f"val_{self._metric}"])
        self.n_iter_ = self.epochs

    _metric = ""

    def _score(self, X: np.ndarray, target: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
        raise NotImplementedError


class NetworkClassifier(ClassifierMixin, _Network):
    """A multi-layer perceptron for classes: ReLU units, Adam, cross-entropy, with the history of its training.

    The output is sigmoid (two classes) or softmax (more). Part of the samples is held out of the training, stratified by
    class, to show when the network begins to learn by heart; the weights of the last epoch are kept. It sees neither donors
    nor batches: ``val_loss`` is a diagnosis, and the validation around it is the judge.

    Parameters
    ----------
    hidden_layer_sizes
        Units of each hidden layer.
    learning_rate
        Step of Adam.
    batch_size
        Samples a step; all of them where there are fewer.
    epochs
        Passes over the training samples.
    validation_split
        Share of the samples held out. None is held out where they are too few for each class to be on both sides.
    alpha
        L2 penalty of the weights.
    class_weight
        None, ``"balanced"`` or class -> weight.
    random_state
        Seed of the first weights, of the order of the samples and of the part held out.

    Attributes
    ----------
    history_ : pandas.DataFrame
        ``epoch loss val_loss accuracy val_accuracy``, after each epoch; ``loss`` is the mean cross-entropy over the samples
        learned from, weighted by class where there are weights; NaN where nothing is held out.
    classes_ : ndarray
        Class labels in sorted order.
    network_ : MLPClassifier
        The network.
    """

    _metric = "accuracy"

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (64, 32),
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 10,
        epochs: int = 50,
        validation_split: float = 0.2,
        alpha: float = 0.0,
        class_weight: Any = None,
        random_state: Any = None,
    ):
        super().__init__(
            hidden_layer_sizes,
            learning_rate=learning_rate,
            batch_size=batch_size,
            epochs=epochs,
            validation_split=validation_split,
            alpha=alpha,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any) -> NetworkClassifier:
        """Train on samples x genes and their classes."""
        self._check()
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, code = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"A classifier needs at least two classes, got one class only: {self.classes_[0]!r}.")
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        rows = self._parts(len(code), code, seed)
        self.network_ = self._network(MLPClassifier, len(rows[0]), seed)
        given: dict[str, Any] = {"classes": np.arange(len(self.classes_))}
        self._weights = compute_sample_weight(self.class_weight, y)
        if self.class_weight is not None:
            given["sample_weight"] = self._weights[rows[0]]
        self._train(X, code, rows, **given)
        del self._weights
        return self

    def _score(self, X: np.ndarray, target: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
        prob = self.network_.predict_proba(X[rows])
        loss = log_loss(target[rows], prob, labels=self.network_.classes_, sample_weight=self._weights[rows])
        return float(loss), float((prob.argmax(axis=1) == target[rows]).mean())

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities, samples x classes."""
        check_is_fitted(self)
        return self.network_.predict_proba(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))

    def predict(self, X: Any) -> np.ndarray:
        """The class with the largest probability."""
        prob = self.predict_proba(X)
        return self.classes_[prob.argmax(axis=1)]


class NetworkRegressor(RegressorMixin, _Network):
    """A multi-layer perceptron for numbers: ReLU units, Adam, squared error, with the history of its training.

    The target is standardised on the samples learned from, so that its unit does not matter. Parameters are those of
    :class:`NetworkClassifier`, without class weights; the samples held out are random.

    Parameters
    ----------
    hidden_layer_sizes, learning_rate, batch_size, epochs, validation_split, alpha, random_state
        As in :class:`NetworkClassifier`.

    Attributes
    ----------
    history_ : pandas.DataFrame
        ``epoch loss val_loss mae val_mae``, after each epoch: mean squared and mean absolute error, in the unit of the target.
    network_ : MLPRegressor
        The network, which predicts ``(y - mean_) / scale_``.
    """

    _metric = "mae"

    def fit(self, X: Any, y: Any) -> NetworkRegressor:
        """Train on samples x genes and their values."""
        self._check()
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], y_numeric=True)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        y = np.asarray(y, dtype=float)
        rows = self._parts(len(y), None, seed)
        self.network_ = self._network(MLPRegressor, len(rows[0]), seed)
        self.mean_, self.scale_ = float(y[rows[0]].mean()), float(y[rows[0]].std()) or 1.0
        self._train(X, (y - self.mean_) / self.scale_, rows)
        return self

    def _score(self, X: np.ndarray, target: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
        off = (self.network_.predict(X[rows]) - target[rows]) * self.scale_
        return float((off**2).mean()), float(np.abs(off).mean())

    def predict(self, X: Any) -> np.ndarray:
        """Predicted values."""
        check_is_fitted(self)
        made = self.network_.predict(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))
        return made * self.scale_ + self.mean_
