"""One model of one training part, from pieces of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.class_weight import compute_class_weight

from .cluster import cluster
from .errors import InputError
from .fitting import Recipe, searched
from .models import Candidate, pipeline
from .rescaled import Rescaled, rescaled
from .screen import ModeratedScreen
from .streamed_calibration import calibrated, response
from .streamed_cluster import fit_on_cluster
from .streamed_inner import searched_in
from .streamed_linear import fit_logistic, fit_ridge
from .streamed_part import Inner, Part, Store, rows_of
from .streamed_trees import fit_xgboost, is_xgboost
from .tuning import standardised

EPOCHS = 5  # of models that learn by partial_fit


def check_models(models: Sequence[Candidate]) -> None:
    """Refuse models that need all rows at once.

    Raises
    ------
    InputError
    """
    for candidate in models:
        model = candidate.estimator
        plain = type(model) in (LogisticRegression, Ridge) and _is_plain(model)
        if not (plain or is_xgboost(model) or hasattr(model, "partial_fit")):
            raise InputError(
                f"Model {candidate.name!r} ({type(model).__name__}) cannot learn from pieces of the data. Those that can: logistic "
                "(classes) and ridge (numbers), xgboost, and estimators with partial_fit, such as SGDClassifier(loss='log_loss')."
            )


def _is_plain(model: BaseEstimator) -> bool:
    """The objective that is minimised here: an L2 penalty and an intercept."""
    given = model.get_params()
    if not given["fit_intercept"] or given.get("positive"):
        return False
    l2 = given.get("penalty", "l2") in ("l2", "deprecated") and not given.get("l1_ratio")
    return l2 and not given.get("dual")


def fitted(part: Part, candidate: Candidate, store: Store) -> tuple[BaseEstimator, dict[str, Any]]:
    """A model of standardised rows, tuned, fitted and calibrated on one training part; and the values that were chosen."""
    job, seed = part.job, part.job.seed_of(part.fold, candidate.name)
    whole = pipeline(candidate, ModeratedScreen("all", task=job.task), impute=False, seed=seed)
    chosen = _tuned(part, candidate, seed)
    unfitted = whole.named_steps["model"].set_params(**chosen)
    model = clone(unfitted)
    part = replace(part, weights=_weighed(part, model, candidate.name))
    model = _learned(part, model, store, seed)
    if part.calibrated is None:
        return model, chosen
    values = _out_of_fold(part, part.calibrated, candidate.name, unfitted, store, seed)
    rows = part.learned()
    weights = None if job.class_weight is None or part.weights is None else part.weights[job.y[rows]]
    return calibrated(
        model, job.calibrate or "sigmoid", values[rows], job.y[rows], part.calibrated.fold[rows], weights
    ), chosen


def _learned(part: Part, model: BaseEstimator, store: Store, seed: int) -> BaseEstimator:
    """The model, fitted to the training rows."""
    job = part.job
    n_columns = len(part.columns)
    client = cluster()
    how = None if job.n_classes else rescaled(model, job.y[part.learned()])
    if how is not None:
        part = replace(part, job=replace(job, y=(job.y - how[0]) / how[1]))
    if client is not None and is_xgboost(model):
        shared, spans = part.remote(), [piece for piece in part.sizes() if piece[2]]
        model = fit_on_cluster(client, model, rows_of, shared, spans, n_columns, job.n_classes,
                               part.weights is not None)  # fmt: skip
    elif is_xgboost(model):
        n_values = len(part.learned()) * n_columns
        model = fit_xgboost(model, part.pieces, n_values, job.n_classes, job.n_jobs, store.scratch(), part.weights)
    elif isinstance(model, LogisticRegression):
        model = fit_logistic(part.each(client), n_columns, job.n_classes, model, part.weights)
    elif isinstance(model, Ridge):
        model = fit_ridge(part.each(client), n_columns, model)
    else:
        model = _by_parts(part, model, seed)
    return model if how is None else Rescaled(model, *how)


def _out_of_fold(part: Part, inner: Inner, name: str, unfitted: BaseEstimator, store: Store, seed: int) -> np.ndarray:
    """What models of inner folds say of the training rows that they have not seen: margins, or probabilities."""
    job = replace(part.job, fold=inner.fold)
    own_weights = "class_weight" in unfitted.get_params(deep=False)
    out = None
    for i, (columns, scaler) in enumerate(zip(inner.columns, inner.scalers, strict=True)):
        model = clone(unfitted)
        mine = replace(part, columns=columns, scaler=scaler, job=job, fold=i)
        weights = _weighed(mine, model, name)
        mine = replace(mine, weights=weights if own_weights else part.weights)
        made = response(_learned(mine, model, store, seed), mine.held_out())
        out = np.zeros((len(job.y), made.shape[1]), made.dtype) if out is None else out
        out[job.fold == i] = made
    return np.empty((0, 0)) if out is None else out


def _tuned(part: Part, candidate: Candidate, seed: int) -> dict[str, Any]:
    """Hyperparameters, searched on training rows of the sample by inner folds that keep donors whole and screen for themselves."""
    job = part.job
    if part.tried is None:
        return {}
    rows, splits, raw = searched_in(part)
    recipe = Recipe(
        ModeratedScreen("all", task=job.task),
        impute=False,
        tune=True,
        n_classes=job.n_classes,
        class_weight=job.class_weight,
    )
    return searched(recipe, candidate, job.y[rows], splits, lambda a, b: standardised(*raw(a, b)), seed)


def _weighed(part: Part, model: Any, name: str) -> np.ndarray | None:
    """The weight of each class in a training part: as asked for all models, else as the model has it; the model is told."""
    job, own = part.job, model.get_params(deep=False)
    asked = job.class_weight if job.class_weight is not None else own.get("class_weight")
    if asked is None:
        return None
    weights = compute_class_weight(asked, classes=np.arange(job.n_classes), y=job.y[part.learned()])
    if isinstance(model, LogisticRegression):
        model.set_params(class_weight=asked)
    elif "class_weight" in own:  # partial_fit does not know "balanced"
        model.set_params(class_weight=dict(enumerate(weights.tolist())))
    elif not is_xgboost(model) and "sample_weight" not in signature(model.partial_fit).parameters:
        raise InputError(
            f"Model {name!r} ({type(model).__name__}) takes neither class nor sample weights. Leave class_weight= away, or name models "
            "that do."
        )
    return np.asarray(weights, dtype=float)


def _by_parts(part: Part, model: Any, seed: int) -> Any:
    """Some epochs of ``partial_fit`` over the pieces, whose rows are shuffled."""
    rng = np.random.default_rng(seed)
    first: dict[str, Any] = {"classes": np.arange(part.job.n_classes)} if part.job.n_classes else {}
    weights = None if "class_weight" in model.get_params(deep=False) else part.weights
    for _ in range(EPOCHS):
        for Z, y in part.pieces():
            order = rng.permutation(len(y))
            given = first if weights is None else first | {"sample_weight": weights[y[order]]}
            model.partial_fit(Z[order], y[order], **given)
            first = {}
    return model
