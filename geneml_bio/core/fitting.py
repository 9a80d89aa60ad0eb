"""One model on one training part: tuned, weighted and calibrated inside it, and the same for prediction."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter

from .errors import InputError, TargetError
from .forest import fit_forest, forest_values
from .models import Candidate, pipeline
from .prefit import Columns, Plan, Ready, Splits
from .resample import inner_folds
from .rescaled import Rescaled, rescaled
from .tuning import adding_up, neighbors_within, slices, standardised, tuned

INNER_SPLITS = 3
CALIBRATIONS = ("sigmoid", "isotonic")


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
    plan = plan_candidate(recipe, candidate, y, groups=groups, covariates=covariates, seed=seed)
    X, y = X[plan.rows], y[plan.rows]
    covariates = None if covariates is None else covariates[plan.rows]
    whole, extra, weights = _unfitted(recipe, candidate, y, seed)
    if covariates is not None:
        extra["screen__covariates"] = covariates

    def sides(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        before, _ = slices(extra, train)
        front = clone(whole[:-1])
        return front.fit_transform(X[train], y[train], **before), front.transform(X[test])

    chosen = _tuned(whole, candidate, y, extra, plan, recipe, weights, sides)
    if not is_calibrated(recipe, candidate):
        return _fitted(neighbors_within(whole, len(y)), X, y, extra), chosen
    inner = _calibration_folds(candidate, plan, y, groups)
    return _calibrated(whole, recipe.calibrate or "sigmoid", X, y, extra, inner, weights), chosen


def fit_on_columns(
    recipe: Recipe,
    candidate: Candidate,
    X: Any,
    rows: np.ndarray,
    y: np.ndarray,
    ready: Ready,
    *,
    groups: Any,
    seed: int,
) -> tuple[BaseEstimator, dict[str, Any]]:
    """As :func:`fit_candidate`, where every screen has been computed: takes the chosen columns and nothing else of ``X``.

    Parameters
    ----------
    X, rows
        The whole study and the positions of the training part.
    y
        Target of the training part.
    ready
        What :func:`plan_candidate` said, and what the screens keep.

    Returns
    -------
    The fitted pipeline (or CalibratedClassifierCV), over positions of samples: its first step is :class:`Columns`
    (see :func:`geneml_bio.core.prefit.with_front`); and the values chosen by tuning.
    """
    plan = ready.plan
    rows, y = rows[plan.rows], y[plan.rows]
    whole, extra, weights = _unfitted(recipe, candidate, y, seed)
    columns = Columns(X, ready.chosen, recipe.impute)
    whole = Pipeline([("columns", columns), *whole.steps[-2:]])

    def sides(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = clone(columns).fit(rows[train])
        return standardised(own.transform(rows[train]), own.transform(rows[test]))

    chosen = _tuned(whole, candidate, y, extra, plan, recipe, weights, sides)
    if not is_calibrated(recipe, candidate):
        return _fitted(neighbors_within(whole, len(y)), rows[:, None], y, extra), chosen
    inner = _calibration_folds(candidate, plan, y, groups)
    return _calibrated(whole, recipe.calibrate or "sigmoid", rows[:, None], y, extra, inner, weights), chosen


def _tuned(
    whole: Pipeline,
    candidate: Candidate,
    y: np.ndarray,
    extra: Mapping[str, Any],
    plan: Plan,
    recipe: Recipe,
    weights: np.ndarray | None,
    sides: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> dict[str, Any]:
    """Tune a model in its pipeline, and let it learn its target as it can (:mod:`geneml_bio.core.rescaled`); the values chosen."""
    model = whole.named_steps["model"]
    how = None if recipe.n_classes else rescaled(model, y)
    learned = y if how is None else (y - how[0]) / how[1]
    chosen = tuned(whole, candidate, learned, extra, plan.tried, recipe.n_classes, weights, sides)
    if how is not None:
        whole.set_params(model=Rescaled(model, *how))
    return chosen


def searched(
    recipe: Recipe,
    candidate: Candidate,
    y: np.ndarray,
    inner: Splits | None,
    sides: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> dict[str, Any]:
    """The values that :func:`fit_candidate` would choose, where ``sides`` gives both sides of an inner fold."""
    whole, extra, weights = _unfitted(recipe, candidate, y, seed)
    return _tuned(whole, candidate, y, extra, Plan(np.arange(len(y)), None, inner), recipe, weights, sides)


def _fitted(whole: Pipeline, X: Any, y: np.ndarray, extra: Mapping[str, Any]) -> Pipeline:
    """``whole.fit(X, y, **extra)``, with forests grown by :func:`geneml_bio.core.forest.fit_forest`."""
    of_step: dict[str, dict[str, Any]] = {name: {} for name, _ in whole.steps}
    for path, value in extra.items():
        name, _, inside = path.partition("__")
        of_step[name][inside] = value
    for name, step in whole.steps[:-1]:
        X = step.fit_transform(X, y, **of_step[name])
    name, model = whole.steps[-1]
    if isinstance(
        model, LinearRegression | LogisticRegression | Ridge
    ):  # of float32 data scikit-learn fits them in that
        X = X.astype(np.float64, copy=False)
    fit_forest(model, X, y, **of_step[name])
    return whole


def plan_candidate(
    recipe: Recipe,
    candidate: Candidate,
    y: np.ndarray,
    *,
    groups: np.ndarray | None,
    covariates: np.ndarray | None,
    seed: int,
) -> Plan:
    """Which samples of a training part one candidate learns from, is calibrated and tuned on (:func:`fit_candidate`)."""
    rows = np.arange(len(y))
    if candidate.max_rows is not None and len(y) > candidate.max_rows:
        rows = _some_rows(len(y), groups, candidate.max_rows, seed)
        y = y[rows]
        groups, covariates = (None if values is None else values[rows] for values in (groups, covariates))
    searched, calibrated = recipe.tune and bool(candidate.space), is_calibrated(recipe, candidate)
    if not searched and not calibrated:
        return Plan(rows, None, None)
    inner = inner_splits(recipe.n_classes, y, groups, covariates, INNER_SPLITS, seed)
    tried = inner if searched else None
    if tried is not None and candidate.tune_rows is not None and len(y) > candidate.tune_rows:
        some = _some_rows(len(y), groups, candidate.tune_rows, seed)
        own = None if groups is None else groups[some]
        fewer = inner_folds(y[some], own, recipe.n_classes, n_splits=INNER_SPLITS, seed=seed)
        tried = [(some[train], some[test]) for train, test in fewer] if fewer is not None else inner
    if calibrated and inner is None:
        inner = inner_splits(recipe.n_classes, y, groups, covariates, 2, seed)
    return Plan(rows, inner if calibrated else None, tried)


def is_calibrated(recipe: Recipe, candidate: Candidate) -> bool:
    """Whether inner folds of its training part are needed for probabilities."""
    return recipe.calibrate is not None or candidate.margin


def _calibration_folds(candidate: Candidate, plan: Plan, y: np.ndarray, groups: np.ndarray | None) -> Splits:
    if plan.inner is None:
        raise TargetError(too_small(candidate, y, None if groups is None else groups[plan.rows]))
    return plan.inner


def _unfitted(
    recipe: Recipe, candidate: Candidate, y: np.ndarray, seed: int
) -> tuple[Pipeline, dict[str, Any], np.ndarray | None]:
    """The pipeline with its weights; what its ``fit`` is to be given of them; the weight of each sample."""
    whole = pipeline(candidate, recipe.screen, impute=recipe.impute, seed=seed)
    if recipe.class_weight is None:
        return whole, {}, None
    weights = compute_sample_weight(recipe.class_weight, y)
    return whole, _weigh(whole, recipe.class_weight, weights, candidate.name), weights


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


def inner_splits(
    n_classes: int, y: np.ndarray, groups: np.ndarray | None, covariates: np.ndarray | None, n_splits: int, seed: int
) -> Splits | None:
    """Inner folds; None where they would leave too few samples for the classes, or for the screen to have any variance."""
    inner: Splits | None = inner_folds(y, groups, n_classes, n_splits=n_splits, seed=seed)
    least = max(n_classes, 2) + (0 if covariates is None else covariates.shape[1]) + 1
    if inner is None or min(len(train) for train, _ in inner) < least:
        return None
    return inner if covariates is None or all(apart(y[t], covariates[t], n_classes) for t, _ in inner) else None


def apart(y: np.ndarray, covariates: np.ndarray, n_classes: int) -> bool:
    """Whether covariates and target can be told apart in these samples."""
    target = np.eye(n_classes)[y][:, 1:] if n_classes else np.asarray(y, dtype=float)[:, None]
    known = np.column_stack([np.ones(len(y)), covariates - covariates.mean(axis=0)])
    size = np.linalg.norm(known, axis=0)
    known = known[:, size > 1e-9] / size[size > 1e-9]
    both = np.column_stack([known, (target - target.mean(axis=0)) / np.sqrt(len(y))])
    return bool(np.linalg.matrix_rank(both, tol=1e-7) == np.linalg.matrix_rank(known, tol=1e-7) + target.shape[1])


def too_small(candidate: Candidate, y: np.ndarray, groups: np.ndarray | None) -> str:
    """That a training part has too few samples for the inner folds of a calibration."""
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
    neighbors_within(whole, min(len(train) for train, _ in inner))
    outer = CalibratedClassifierCV(whole, method=method, cv=inner, ensemble=False)
    if weights is None:
        return outer.fit(X, y, **extra)
    with warnings.catch_warnings():
        # the pipeline has them already, by the parameter of its model or by model__sample_weight
        warnings.filterwarnings("ignore", message=".*sample weights will only be used for the calibration")
        return outer.fit(X, y, sample_weight=weights, **extra)


def predict_fitted(fitted: BaseEstimator, X: Any, n_classes: int) -> np.ndarray:
    """Probabilities, samples x classes, which add up to one; or predicted values.

    Raises
    ------
    InputError
        If a model gives something else, or numbers that are not finite.
    """
    model, rows = fitted, X
    if type(fitted) is Pipeline:
        for _, step in fitted.steps[:-1]:
            rows = step.transform(rows)
        model = fitted.steps[-1][1]
    made = forest_values(model, rows)
    if n_classes:
        made = np.asarray(model.predict_proba(rows) if made is None else made, dtype=float)
        expected: tuple[int, ...] = (X.shape[0], n_classes)
    else:
        made = np.asarray(model.predict(rows) if made is None else made, dtype=float)
        made, expected = made.reshape(len(made), -1).squeeze(axis=1) if made.ndim == 2 else made, (X.shape[0],)
    if made.shape != expected:
        raise InputError(f"The model gave predictions of shape {made.shape}; {expected} was expected.")
    if not np.isfinite(made).all():
        raise InputError(f"{int((~np.isfinite(made)).sum())} of its predictions are not finite numbers.")
    return adding_up(made) if n_classes else made


def bare(fitted: BaseEstimator) -> Pipeline:
    """The pipeline (impute, screen, scale, model) behind what was fitted, without its calibration."""
    if isinstance(fitted, CalibratedClassifierCV):
        return fitted.calibrated_classifiers_[0].estimator
    return fitted
