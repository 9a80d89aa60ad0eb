"""Hyperparameters by inner folds: every value of a small space, scored on what the inner folds hold out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import mean_squared_error
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from .logistic_path import is_plain_logistic, path_probabilities
from .models import Candidate
from .prefit import Splits


def slices(extra: Mapping[str, Any], rows: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the steps before the model, and the model, are given of these samples at ``fit``."""
    own = {name: value[rows] for name, value in extra.items()}
    model = {name.removeprefix("model__"): value for name, value in own.items() if name.startswith("model__")}
    return {name: value for name, value in own.items() if not name.startswith("model__")}, model


def tuned(
    whole: Pipeline,
    candidate: Candidate,
    y: np.ndarray,
    extra: Mapping[str, Any],
    inner: Splits | None,
    n_classes: int,
    weights: np.ndarray | None,
    sides: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> dict[str, Any]:
    """Set the values with the best mean score over inner folds, the first of equals: GridSearchCV over the whole pipeline.

    Written out because the steps before the model do not depend on its values: ``sides`` gives what they make of both sides of an
    inner fold, once for all values.
    """
    if inner is None:
        return {}
    names = list(candidate.space)
    points = [dict(zip(names, values, strict=True)) for values in itertools.product(*candidate.space.values())]
    scores = np.zeros(len(points))
    model = whole.named_steps["model"]
    plain = is_plain_logistic(model, candidate.space)
    for train, test in inner:
        Z, held = sides(train, test)
        own = None if weights is None else weights[test]
        if plain:
            strengths = [point["C"] for point in points]
            made = path_probabilities(Z, y[train], held, strengths, n_classes, model.class_weight)
            if made is not None:
                scores += [-_log_loss(y[test], prob, own) for prob in made]
                continue
        _, given = slices(extra, train)
        for k, point in enumerate(points):
            tried = neighbors_within(clone(model).set_params(**point), len(train))
            scores[k] += _score(tried.fit(Z, y[train], **given), candidate, held, y[test], n_classes, own)
    chosen = points[int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))]  # no score is not the best one
    model.set_params(**chosen)
    return {name.rpartition("__")[2]: value for name, value in chosen.items()}


def standardised(train: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides as a StandardScaler fitted to the first makes them, to the last bit, without its checks."""
    n = len(train)
    with np.errstate(invalid="ignore", over="ignore"):
        mean = train.sum(axis=0) / n
        rest = train - mean
        lost = rest.sum(axis=0)  # of the mean, in rounding
        variance = ((rest * rest).sum(axis=0) - lost**2 / n) / n
    if train.dtype != np.float64 or held.dtype != np.float64 or not np.isfinite(variance).all():
        scale = StandardScaler()
        return scale.fit_transform(train), scale.transform(held)
    eps = np.finfo(np.float64).eps
    size = np.where(variance <= n * eps * variance + (n * mean * eps) ** 2, 1.0, np.sqrt(variance))
    return rest / size, (held - mean) / size


def _score(
    model: BaseEstimator, candidate: Candidate, X: np.ndarray, y: np.ndarray, n_classes: int, weights: np.ndarray | None
) -> float:
    """Higher is better: minus squared error, minus log loss, or (without probabilities) balanced accuracy."""
    if not n_classes:
        return -float(mean_squared_error(y, model.predict(X)))
    if candidate.margin:  # over the classes that are there: an inner held-out part may lack one
        right = model.predict(X) == y
        return float(np.mean([right[y == c].mean() for c in np.unique(y)]))
    return -_log_loss(y, adding_up(model.predict_proba(X)), weights)


def _log_loss(y: np.ndarray, prob: np.ndarray, weights: np.ndarray | None) -> float:
    """scikit-learn's ``log_loss`` of class codes, without its checks."""
    told = prob[np.arange(len(y)), y]
    return float(np.average(-np.log(np.clip(told, np.finfo(float).eps, 1 - np.finfo(float).eps)), weights=weights))


def neighbors_within(model: Any, n: int) -> Any:
    """No more neighbours than there are samples to be one."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if isinstance(last, KNeighborsClassifier | KNeighborsRegressor) and last.n_neighbors > n:
        last.set_params(n_neighbors=n)
    return model


def adding_up(prob: Any) -> np.ndarray:
    """Probabilities in double precision that add up to one."""
    prob = np.asarray(prob, dtype=float)
    return prob / prob.sum(axis=1, keepdims=True)  # XGBoost's are float32
