"""One model on one training part: tuned, weighted and calibrated inside it, and the same for prediction."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter

from .errors import InputError, TargetError
from .models import Candidate, pipeline
from .resample import inner_folds

INNER_SPLITS = 3
CALIBRATIONS = ("sigmoid", "isotonic")
Splits = list[tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Recipe:
    """What happens to every model of a validation.

    Parameters
    ----------
    screen
        The unfitted screen of genes.
    impute
        Whether missing values are filled (by the median of the training part).
    tune
        Whether the space of a candidate is searched.
    n_classes
        Number of classes, coded 0, 1, ...; 0 for regression.
    calibrate
        ``"sigmoid"``, ``"isotonic"``, or None: only models without probabilities of their own are calibrated (sigmoid).
    class_weight
        None, ``"balanced"``, or class code -> weight. Probabilities, calibrated or not, are then those of a population in which
        the classes count by these weights.
    """

    screen: BaseEstimator
    impute: bool
    tune: bool
    n_classes: int
    calibrate: str | None = None
    class_weight: str | Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if self.calibrate not in (None, *CALIBRATIONS):
            raise InputError(f"calibrate must be None, 'sigmoid' or 'isotonic', got {self.calibrate!r}.")
        if not self.n_classes and (self.calibrate or self.class_weight is not None):
            raise InputError("calibrate= and class_weight= are for classification; a regression has no classes.")


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
    """Fit one candidate on a training part.

    Parameters
    ----------
    recipe, candidate
        What to do, and with which model.
    X, y
        Training samples x genes; class codes or numbers.
    groups
        Donors: inner folds keep them whole.
    covariates
        Samples x numeric covariates, for which the screen adjusts.
    seed
        Of the inner folds and of everything random in the model.

    Returns
    -------
    The fitted pipeline, or scikit-learn's CalibratedClassifierCV around it; and the values chosen by tuning.

    Raises
    ------
    TargetError
        If probabilities need inner folds and the training part is too small for any.
    InputError
        If a model cannot take the class weights.
    """
    if candidate.max_rows is not None and len(y) > candidate.max_rows:
        rows = _some_rows(len(y), groups, candidate.max_rows, seed)
        X, y = X[rows], y[rows]
        groups, covariates = (None if values is None else values[rows] for values in (groups, covariates))
    whole = pipeline(candidate, recipe.screen, impute=recipe.impute, seed=seed)
    extra: dict[str, Any] = {} if covariates is None else {"screen__covariates": covariates}
    weights = None
    if recipe.class_weight is not None:
        weights = compute_sample_weight(recipe.class_weight, y)
        extra |= _weigh(whole, recipe.class_weight, weights, candidate.name)
    inner = _inner(recipe, y, groups, covariates, INNER_SPLITS, seed)
    chosen: dict[str, Any] = {}
    if recipe.tune and candidate.space and inner is not None:
        tried = inner
        if candidate.tune_rows is not None and len(y) > candidate.tune_rows:
            rows = _some_rows(len(y), groups, candidate.tune_rows, seed)
            own = None if groups is None else groups[rows]
            fewer = inner_folds(y[rows], own, recipe.n_classes, n_splits=INNER_SPLITS, seed=seed)
            tried = [(rows[train], rows[test]) for train, test in fewer] if fewer is not None else inner
        chosen = _tuned(whole, candidate, X, y, extra, tried, recipe.n_classes, weights)
        whole.set_params(**{f"model__{name}": value for name, value in chosen.items()})
    chosen = {name.rpartition("__")[2]: value for name, value in chosen.items()}
    if recipe.calibrate is None and not candidate.margin:
        return _neighbors_within(whole, len(y)).fit(X, y, **extra), chosen
    inner = inner or _inner(recipe, y, groups, covariates, 2, seed)
    if inner is None:
        raise TargetError(_too_small(candidate, y, groups))
    return _calibrated(whole, recipe.calibrate or "sigmoid", X, y, extra, inner, weights), chosen


def _some_rows(n: int, groups: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    """About ``count`` random rows, in their order; whole groups."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return np.sort(rng.permutation(n)[:count])
    code = np.unique(groups, return_inverse=True)[1]
    order = rng.permutation(code.max() + 1)
    sizes = np.bincount(code)[order]
    taken = order[np.cumsum(sizes) - sizes < count]
    return np.flatnonzero(np.isin(code, taken))


def _inner(
    recipe: Recipe, y: np.ndarray, groups: np.ndarray | None, covariates: np.ndarray | None, n_splits: int, seed: int
) -> Splits | None:
    """Inner folds; None where they would leave too few samples for the classes, or for the screen to have any variance."""
    inner: Splits | None = inner_folds(y, groups, recipe.n_classes, n_splits=n_splits, seed=seed)
    least = max(recipe.n_classes, 2) + (0 if covariates is None else covariates.shape[1]) + 1
    if inner is None or min(len(train) for train, _ in inner) < least:
        return None
    return inner if covariates is None or all(apart(y[t], covariates[t], recipe.n_classes) for t, _ in inner) else None


def apart(y: np.ndarray, covariates: np.ndarray, n_classes: int) -> bool:
    """Whether covariates and target can be told apart in these samples."""
    target = np.eye(n_classes)[y][:, 1:] if n_classes else np.asarray(y, dtype=float)[:, None]
    known = np.column_stack([np.ones(len(y)), covariates - covariates.mean(axis=0)])
    size = np.linalg.norm(known, axis=0)
    known = known[:, size > 1e-9] / size[size > 1e-9]
    both = np.column_stack([known, (target - target.mean(axis=0)) / np.sqrt(len(y))])
    return bool(np.linalg.matrix_rank(both, tol=1e-7) == np.linalg.matrix_rank(known, tol=1e-7) + target.shape[1])


def _too_small(candidate: Candidate, y: np.ndarray, groups: np.ndarray | None) -> str:
    units = "samples" if groups is None else "groups"
    counts = [int((y == c).sum()) if groups is None else len(set(groups[y == c])) for c in np.unique(y)]
    asked = "has no probabilities of its own" if candidate.margin else "is to be calibrated"
    return (
        f"Model {candidate.name!r} {asked}, which takes inner folds of the training part, and {len(y)} samples, of whose "
        f"classes the smallest has {min(counts)} {units}, are too few for two. "
        + ("Name another model, such as 'logistic'" if candidate.margin else "Leave calibrate= away")
        + ", use more samples, or fewer and larger outer folds."
    )


def _weigh(whole: Pipeline, asked: Any, weights: np.ndarray, name: str) -> dict[str, Any]:
    """Give the class weights to the model: as its parameter, or else as what its ``fit`` takes."""
    path, model = "model", whole.named_steps["model"]
    while isinstance(model, Pipeline):
        path, model = f"{path}__{model.steps[-1][0]}", model.steps[-1][1]
    if "class_weight" in model.get_params(deep=False):
        whole.set_params(**{f"{path}__class_weight": asked if isinstance(asked, str) else dict(asked)})
        return {}
    if has_fit_parameter(model, "sample_weight"):
        return {f"{path}__sample_weight": weights}
    raise InputError(
        f"Model {name!r} ({type(model).__name__}) takes neither class nor sample weights. Leave class_weight= away, or name models "
        "that do: every one but 'knn'."
    )


def _slices(extra: Mapping[str, Any], rows: np.ndarray) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the steps before the model, and the model, are given of these samples at ``fit``."""
    own = {name: value[rows] for name, value in extra.items()}
    model = {name.removeprefix("model__"): value for name, value in own.items() if name.startswith("model__")}
    return {name: value for name, value in own.items() if not name.startswith("model__")}, model


def _tuned(
    whole: Pipeline,
    candidate: Candidate,
    X: Any,
    y: np.ndarray,
    extra: Mapping[str, Any],
    inner: Splits,
    n_classes: int,
    weights: np.ndarray | None,
) -> dict[str, Any]:
    """The values with the best mean score over inner folds, the first of equals: GridSearchCV over the whole pipeline.

    Written out because the steps before the model do not depend on its values: each inner screen is fitted once.
    """
    names = list(candidate.space)
    points = [dict(zip(names, values, strict=True)) for values in itertools.product(*candidate.space.values())]
    scores = np.zeros(len(points))
    for train, test in inner:
        before, given = _slices(extra, train)
        front = clone(whole[:-1])
        Z = front.fit_transform(X[train], y[train], **before)
        held = front.transform(X[test])
        for k, point in enumerate(points):
            model = _neighbors_within(clone(whole.named_steps["model"]).set_params(**point), len(train))
            model.fit(Z, y[train], **given)
            own = None if weights is None else weights[test]
            scores[k] += _score(model, candidate, held, y[test], n_classes, own)
    return points[int(np.argmax(scores))]


def _score(
    model: BaseEstimator, candidate: Candidate, X: np.ndarray, y: np.ndarray, n_classes: int, weights: np.ndarray | None
) -> float:
    """Higher is better: minus squared error, minus log loss, or (without probabilities) balanced accuracy."""
    if not n_classes:
        return -float(mean_squared_error(y, model.predict(X)))
    if candidate.margin:  # over the classes that are there: an inner held-out part may lack one
        right = model.predict(X) == y
        return float(np.mean([right[y == c].mean() for c in np.unique(y)]))
    prob = _adding_up(model.predict_proba(X))
    return -float(log_loss(y, prob, labels=list(range(n_classes)), sample_weight=weights))


def _neighbors_within(model: Any, n: int) -> Any:
    """No more neighbours than there are samples to be one."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if isinstance(last, KNeighborsClassifier | KNeighborsRegressor) and last.n_neighbors > n:
        last.set_params(n_neighbors=n)
    return model


def _calibrated(
    whole: Pipeline,
    method: str,
    X: Any,
    y: np.ndarray,
    extra: Mapping[str, Any],
    inner: Splits,
    weights: np.ndarray | None,
) -> CalibratedClassifierCV:
    """One model fitted to everything, and a calibration learnt from inner held-out predictions."""
    _neighbors_within(whole, min(len(train) for train, _ in inner))
    outer = CalibratedClassifierCV(whole, method=method, cv=inner, ensemble=False)
    if weights is None:
        return outer.fit(X, y, **extra)
    with warnings.catch_warnings():
        # the pipeline has them already, by the parameter of its model or by model__sample_weight
        warnings.filterwarnings("ignore", message=".*sample weights will only be used for the calibration")
        try:
            return outer.fit(X, y, sample_weight=weights, **extra)
        except ValueError as error:
            if "dtype mismatch" not in str(error):
                raise
            # scikit-learn 1.6 takes weights of the precision of the predictions only
            return outer.fit(X, y, sample_weight=weights.astype(np.float32), **extra)


def _adding_up(prob: Any) -> np.ndarray:
    prob = np.asarray(prob, dtype=float)
    return prob / prob.sum(axis=1, keepdims=True)  # XGBoost's are float32


def predict_fitted(fitted: BaseEstimator, X: Any, n_classes: int) -> np.ndarray:
    """Probabilities, samples x classes, which add up to one; or predicted values.

    Raises
    ------
    InputError
        If a model gives something else, or numbers that are not finite.
    """
    if n_classes:
        made = np.asarray(fitted.predict_proba(X), dtype=float)
        expected: tuple[int, ...] = (X.shape[0], n_classes)
    else:
        made = np.asarray(fitted.predict(X), dtype=float)
        made, expected = made.reshape(len(made), -1).squeeze(axis=1) if made.ndim == 2 else made, (X.shape[0],)
    if made.shape != expected:
        raise InputError(f"The model gave predictions of shape {made.shape}; {expected} was expected.")
    if not np.isfinite(made).all():
        raise InputError(f"{int((~np.isfinite(made)).sum())} of its predictions are not finite numbers.")
    return _adding_up(made) if n_classes else made


def bare(fitted: BaseEstimator) -> Pipeline:
    """The pipeline (impute, screen, scale, model) behind what was fitted, without its calibration."""
    if isinstance(fitted, CalibratedClassifierCV):
        return fitted.calibrated_classifiers_[0].estimator
    return fitted
