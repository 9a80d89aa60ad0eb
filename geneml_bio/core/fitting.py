"""One model on one training part: tuned, weighted and calibrated inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from .models import Candidate, pipeline
from .resample import inner_folds

INNER_SPLITS = 3


@dataclass(frozen=True, eq=False)
class Recipe:
    """What happens to every model of a validation."""

    screen: BaseEstimator
    impute: bool
    tune: bool
    n_classes: int
    calibrate: str | None = None
    class_weight: str | Mapping[int, float] | None = None


def fit_candidate(
    recipe: Recipe,
    candidate: Candidate,
    X: Any,
    y: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    covariates: np.ndarray | None = None,
    seed: int,
) -> tuple[BaseEstimator, dict[str, Any]]:
    """Fit one candidate on a training part; returns what was fitted and the values chosen."""
    whole = pipeline(candidate, recipe.screen, impute=recipe.impute, seed=seed)
    extra = {} if covariates is None else {"screen__covariates": covariates}
    inner = inner_folds(y, groups, recipe.n_classes, n_splits=INNER_SPLITS, seed=seed)
    if not (recipe.tune and candidate.space) or inner is None:
        return whole.fit(X, y, **extra), {}
    scoring: Any = "neg_mean_squared_error"
    if recipe.n_classes:  # an inner held-out part may lack a class
        labels = list(range(recipe.n_classes))
        scoring = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=labels)
    space = {f"model__{name}": list(values) for name, values in candidate.space.items()}
    search = GridSearchCV(whole, space, scoring=scoring, cv=inner, error_score="raise")
    search.fit(X, y, **extra)
    return search.best_estimator_, {name.removeprefix("model__"): value for name, value in search.best_params_.items()}


def predict_fitted(fitted: BaseEstimator, X: Any, n_classes: int) -> np.ndarray:
    """Probabilities, samples x classes, which add up to one; or predicted values."""
    if not n_classes:
        return np.asarray(fitted.predict(X), dtype=float)
    prob = np.asarray(fitted.predict_proba(X), dtype=float)
    return prob / prob.sum(axis=1, keepdims=True)  # XGBoost's are float32


def bare(fitted: BaseEstimator) -> Pipeline:
    """The pipeline (impute, screen, scale, model) behind what was fitted."""
    if isinstance(fitted, CalibratedClassifierCV):
        return fitted.calibrated_classifiers_[0].estimator
    return fitted
