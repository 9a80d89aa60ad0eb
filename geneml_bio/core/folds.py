"""One fold of one run, with every model in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from .baseline import COVARIATES_ONLY, fit_baselines
from .errors import GenemlError, InputError
from .fitting import Recipe, bare, fit_candidate, fit_on_columns, predict_fitted
from .models import Candidate, fits_in_threads, pipeline, task_seed
from .prefit import (
    Columns,
    Ready,
    without_columns,
)
from .resample import Fold
from .screen import FixedScreen, ModeratedScreen
from .threads import one_thread

NONE = np.empty(0)
TEST = -1  # run and fold of the fit that predicts the test set


@dataclass(frozen=True, eq=False)
class Study:
    """What every unit of work needs; sent to workers once and shared by them."""

    X: Any
    covariates: np.ndarray | None
    groups: np.ndarray | None
    recipe: Recipe
    models: Sequence[Candidate]
    seed: int
    tests_genes: bool = False  # whether each unit brings the statistic of all genes, for their p-values

    @property
    def fits_in_threads(self) -> bool:
        """Whether two folds can be done by two threads as well as by two processes."""
        return self.recipe.calibrate is None and all(fits_in_threads(candidate) for candidate in self.models)


@dataclass(frozen=True, eq=False)
class FoldResult:
    """Held-out predictions of every model (and baseline) in one fold, and what was fitted.

    ``selected`` and ``statistic`` are of the genes that the screen kept, ``of_all`` of all genes (NaN: not looked at).
    """

    fold: Fold
    predictions: dict[str, np.ndarray]
    selected: np.ndarray
    statistic: np.ndarray
    of_all: np.ndarray | None = None
    fitted: dict[str, BaseEstimator] = field(default_factory=dict)
    tuned: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: dict[str, pd.DataFrame] = field(default_factory=dict)


def run_fold(
    study: Study, fold: Fold, y: np.ndarray, kind: str, keep: bool, ready: Mapping[str, Ready] | None = None
) -> FoldResult:
    """Fit every model on the training part of one fold and predict its held-out part.

    Parameters
    ----------
    study, fold, y
        The data, who is held out, and the target as class codes or numbers.
    kind
        Part of the seed: ``"true"``, ``"test"`` or ``"permuted"``.
    keep
        Whether fitted models are returned, and the baselines of covariates fitted.
    ready
        Model -> its screens, computed beforehand: only the columns that they keep are taken, and the models that are returned lack
        what comes before the scaler (:func:`finished`). None: each model screens for itself.
    """
    n_classes = study.recipe.n_classes
    part = {"groups": of_rows(study.groups, fold.train), "covariates": of_rows(study.covariates, fold.train)}
    # where the screens are known, samples are told by their positions
    X, held_out = fold.train[:, None], fold.test[:, None]
    if ready is None:
        X, held_out = study.X[fold.train], study.X[fold.test]
    target = y[fold.train]
    predictions, fitted, tuned, history = {}, {}, {}, {}
    with one_thread():  # the same sums in the same order, whatever the number of workers
        for candidate in study.models:
            name = candidate.name
            seed = task_seed(study.seed, kind, fold.run + 1, fold.fold + 1, name)
            try:
                if ready is None:
                    whole, tuned[name] = fit_candidate(study.recipe, candidate, X, target, **part, seed=seed)
                else:
                    how = (fold.train, target, ready[name])
                    whole, tuned[name] = fit_on_columns(
                        study.recipe, candidate, study.X, *how, groups=part["groups"], seed=seed
                    )
                predictions[name] = predict_fitted(whole, held_out, n_classes)
            except GenemlError:
                raise
            except ValueError as error:
                raise InputError(f"Model {name!r} could not be fitted in {_where(fold)}: {error}") from error
            inside = bare(whole).named_steps
            if keep:
                fitted[name] = whole if ready is None else without_columns(whole)
                if hasattr(inside["model"], "history_"):
                    history[name] = inside["model"].history_
        if keep and study.covariates is not None:
            predictions |= _baselines(study, fold, X, held_out, target, part, ready)
        if ready is not None:  # what the screens keep is known where they were computed
            return FoldResult(fold, predictions, NONE, NONE, None, fitted, tuned, history)
        selected = inside["screen"].ranking()
        of_all = _of_all(inside, X, target, part["covariates"], n_classes) if study.tests_genes else None
    statistic = inside["screen"].statistic_[selected]
    return FoldResult(fold, predictions, selected, statistic, of_all, fitted, tuned, history)


def _of_all(steps: dict[str, Any], X: Any, y: np.ndarray, covariates: Any, n_classes: int) -> np.ndarray:
    """The statistic of every gene in the training part: that of the screen, or of a fixed list the same one."""
    screen = steps["screen"]
    if not isinstance(screen, FixedScreen):
        return np.asarray(screen.statistic_)
    listed = screen.ranking()
    known = steps["impute"].transform(X) if "impute" in steps else X
    out = np.full(X.shape[1], np.nan)
    task = "classification" if n_classes else "regression"
    out[listed] = ModeratedScreen("all", task=task).fit(known[:, listed], y, covariates).statistic_
    return out


def _baselines(
    study: Study,
    fold: Fold,
    X: Any,
    held_out: Any,
    y: np.ndarray,
    part: dict[str, Any],
    ready: Mapping[str, Ready] | None,
) -> dict[str, np.ndarray]:
    recipe = study.recipe
    front = pipeline(study.models[0], recipe.screen, impute=recipe.impute, seed=0)[:-1]
    if ready is not None:
        columns = Columns(study.X, ready[COVARIATES_ONLY].chosen, recipe.impute)
        front = Pipeline([("screen", columns), front.steps[-1]])
    how: dict[str, Any] = {"n_classes": recipe.n_classes, "tune": recipe.tune, "seed": baseline_seed(study, fold)}
    fits = fit_baselines(front, X, y, **part, **how)
    given = of_rows(study.covariates, fold.test)
    return {name: np.asarray(fit.predict(held_out, given), dtype=float) for name, fit in fits.items()}


def baseline_seed(study: Study, fold: Fold) -> int:
    """Of the baselines of covariates in a fold."""
    return task_seed(study.seed, "baseline", fold.run + 1, fold.fold + 1)


def of_rows(values: np.ndarray | None, rows: np.ndarray) -> Any:
    """Those rows; of nothing, nothing."""
    return None if values is None else values[rows]


def _where(fold: Fold) -> str:
    return "the training part of the test set" if fold.run == TEST else f"fold {fold.fold}"
