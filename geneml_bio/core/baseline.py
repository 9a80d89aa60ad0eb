"""What covariates predict by themselves, and with the genes: what a model of genes has to add to.

Both are linear (logistic or ridge regression), so that the difference between them is the genes and not the kind of model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from .fitting import apart
from .prefit import Splits
from .registry import LOGISTIC
from .resample import inner_folds

COVARIATES_ONLY = "covariates only"
WITH_GENES = "genes + covariates"
BASELINES = (COVARIATES_ONLY, WITH_GENES)

# covariates are few and known to matter: shrunken a thousandth as much as a gene
WEIGHT = np.sqrt(1000.0)
UNTUNED = 100.0
_PENALTIES = (1.0, 10.0, 100.0, 1000.0)


@dataclass(frozen=True, eq=False)
class Baseline:
    """A fitted baseline; ``genes`` is the fitted part from the imputer to the scaler, None where genes have no say."""

    genes: Pipeline | None
    scaler: StandardScaler
    model: BaseEstimator

    def predict(self, X: Any, covariates: np.ndarray) -> np.ndarray:
        """Probabilities, samples x classes, or predicted values."""
        Z = _columns(self.genes, self.scaler, X, covariates)
        return self.model.predict_proba(Z) if hasattr(self.model, "predict_proba") else self.model.predict(Z)


def _columns(genes: Pipeline | None, scaler: StandardScaler, X: Any, covariates: np.ndarray) -> np.ndarray:
    own = scaler.transform(covariates) * WEIGHT
    return own if genes is None else np.hstack([genes.transform(X), own])


def linear_model(n_classes: int, penalty: float) -> BaseEstimator:
    """The unfitted model of a baseline."""
    if n_classes:
        return LogisticRegression(C=1 / penalty, **LOGISTIC)
    return Ridge(alpha=penalty)


def fit_baselines(
    front: Pipeline,
    X: Any,
    y: np.ndarray,
    covariates: np.ndarray,
    *,
    n_classes: int,
    groups: np.ndarray | None,
    tune: bool,
    seed: int,
) -> dict[str, Baseline]:
    """Fit both baselines on the training part of a fold.

    Parameters
    ----------
    front
        Unfitted pipeline whose last step is the scaler: imputer (if any), screen, scaler.
    X, y, covariates
        Training samples x genes, class codes or numbers, samples x numeric covariates.
    n_classes
        Number of classes; 0 for regression.
    groups
        Donors, for the inner folds in which the penalty of the genes is chosen (1, 10, 100 or 1000; 100 untuned).
    tune, seed
        Whether to choose it; seed of the inner folds.
    """
    scaler = StandardScaler().fit(covariates)
    alone = covariates_only(y, covariates, n_classes)
    genes = clone(front).fit(X, y, screen__covariates=covariates)

    def sides(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = clone(front).fit(X[train], y[train], screen__covariates=covariates[train])
        return own.transform(X[train]), own.transform(X[test])

    inner = baseline_folds(y, covariates, n_classes, groups, seed) if tune else None
    penalty = best_penalty(sides, y, covariates, n_classes, inner)
    both = linear_model(n_classes, penalty).fit(_columns(genes, scaler, X, covariates), y)
    return {COVARIATES_ONLY: alone, WITH_GENES: Baseline(genes, scaler, both)}


def covariates_only(y: np.ndarray, covariates: np.ndarray, n_classes: int) -> Baseline:
    """The baseline without genes, fitted to a training part."""
    scaler = StandardScaler().fit(covariates)
    model = linear_model(n_classes, 1.0).fit(_columns(None, scaler, None, covariates), y)
    return Baseline(None, scaler, model)


def baseline_folds(
    y: np.ndarray, covariates: np.ndarray, n_classes: int, groups: np.ndarray | None, seed: int
) -> Splits | None:
    """Inner folds in which the penalty is chosen; None where they would leave too little to choose by."""
    inner: Splits | None = inner_folds(y, groups, n_classes, n_splits=3, seed=seed)
    if inner is None or not all(apart(y[train], covariates[train], n_classes) for train, _ in inner):
        return None
    return inner


def best_penalty(
    sides: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    y: np.ndarray,
    covariates: np.ndarray,
    n_classes: int,
    inner: Splits | None,
) -> float:
    """The penalty with the least loss in inner folds; of none, 100. ``sides``: the standardised genes of both sides of one."""
    if inner is None:
        return UNTUNED
    loss = np.zeros(len(_PENALTIES))
    for train, test in inner:
        scaler = StandardScaler().fit(covariates[train])
        own = (scaler.transform(covariates[rows]) * WEIGHT for rows in (train, test))
        Z, held = (np.hstack(pair) for pair in zip(sides(train, test), own, strict=True))
        for k, penalty in enumerate(_PENALTIES):
            model = linear_model(n_classes, penalty).fit(Z, y[train])
            if n_classes:
                loss[k] += log_loss(y[test], model.predict_proba(held), labels=list(range(n_classes))) * len(test)
            else:
                loss[k] += float(((y[test] - model.predict(held)) ** 2).sum())
    return _PENALTIES[int(loss.argmin())]
