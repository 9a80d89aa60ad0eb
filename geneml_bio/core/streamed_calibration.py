"""Calibration of models that were fitted to pieces: learned from what inner folds say of the rows that they hold out."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline


class _Told(ClassifierMixin, BaseEstimator):
    """A classifier whose margins are what it is given: they were predicted beforehand."""

    def fit(self, X: Any, y: Any) -> _Told:
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        return X[:, 0] if X.shape[1] == 1 else X

    def predict(self, X: Any) -> np.ndarray:
        """Asked for by scikit-learn's checks."""
        margin = self.decision_function(X)
        return self.classes_[(margin > 0).astype(int) if margin.ndim == 1 else margin.argmax(axis=1)]


def response(model: BaseEstimator, pieces: Iterable[np.ndarray]) -> np.ndarray:
    """What a calibration is learned from, as scikit-learn takes it: margins, else probabilities; one column for two classes."""
    how = getattr(model, "decision_function", None)
    made = np.concatenate([np.asarray(model.predict_proba(Z) if how is None else how(Z)) for Z in pieces])
    if made.ndim == 1:
        return made[:, None]
    return made[:, 1:] if how is None and made.shape[1] == 2 else made


def calibrated(
    model: BaseEstimator,
    method: str,
    values: np.ndarray,
    y: np.ndarray,
    fold: np.ndarray,
    weights: np.ndarray | None,
) -> CalibratedClassifierCV:
    """A fitted model with a calibration, as :func:`geneml_bio.core.fitting.fit_candidate` has it.

    Parameters
    ----------
    model
        Fitted to all training rows.
    method
        ``"sigmoid"`` or ``"isotonic"``.
    values
        Training rows x columns: :func:`response` of models that did not see the row.
    y, fold
        Class codes of the training rows, and in which inner fold each was held out.
    weights
        Of each row, or None.
    """
    inner = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(int(fold.max()) + 1)]
    made = CalibratedClassifierCV(_Told(), method=method, cv=inner, ensemble=False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*sample weights will only be used for the calibration")
        made.fit(values, y, sample_weight=weights)
    return around(made, model)


def around(made: CalibratedClassifierCV, model: BaseEstimator) -> CalibratedClassifierCV:
    """A calibration around another fitted model."""
    made.calibrated_classifiers_[0].estimator = model
    made.n_features_in_ = model.n_features_in_
    return made.set_params(estimator=clone(model))


def whole(model: BaseEstimator, steps: list[tuple[str, BaseEstimator]]) -> BaseEstimator:
    """A model of standardised rows as one of samples x genes: with what comes before it; a calibration stays outermost."""
    if not isinstance(model, CalibratedClassifierCV):
        return Pipeline([*steps, ("model", model)])
    return around(model, Pipeline([*steps, ("model", model.calibrated_classifiers_[0].estimator)]))
