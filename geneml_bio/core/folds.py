"""One unit of work: one fold of one run, with every model in it; and many of them in parallel.

Units depend on nothing but their own seeds, so any number of workers gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from .baseline import fit_baselines
from .discoveries import FoldTally
from .errors import GenemlError, InputError
from .fitting import Recipe, bare, fit_candidate, predict_fitted
from .models import Candidate, pipeline, task_seed
from .resample import Fold
from .screen import FixedScreen, ModeratedScreen

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


def run_fold(study: Study, fold: Fold, y: np.ndarray, kind: str, keep: bool) -> FoldResult:
    """Fit every model on the training part of one fold and predict its held-out part.

    Parameters
    ----------
    study, fold, y
        The data, who is held out, and the target as class codes or numbers.
    kind
        Part of the seed: ``"true"``, ``"test"`` or ``"permuted"``.
    keep
        Whether fitted models are returned, and the baselines of covariates fitted.
    """
    n_classes = study.recipe.n_classes
    part = {"groups": _of(study.groups, fold.train), "covariates": _of(study.covariates, fold.train)}
    X, held_out, target = study.X[fold.train], study.X[fold.test], y[fold.train]
    predictions, fitted, tuned, history = {}, {}, {}, {}
    selected = statistic = np.empty(0)
    of_all = None
    with threadpool_limits(1):  # the same sums in the same order, whatever the number of workers
        for candidate in study.models:
            name = candidate.name
            seed = task_seed(study.seed, kind, fold.run + 1, fold.fold + 1, name)
            try:
                whole, tuned[name] = fit_candidate(study.recipe, candidate, X, target, **part, seed=seed)
                predictions[name] = predict_fitted(whole, held_out, n_classes)
            except GenemlError:
                raise
            except ValueError as error:
                raise InputError(f"Model {name!r} could not be fitted in {_where(fold)}: {error}") from error
            inside = bare(whole).named_steps
            selected = inside["screen"].ranking()
            statistic = inside["screen"].statistic_[selected]
            if keep:
                fitted[name] = whole
                if hasattr(inside["model"], "history_"):
                    history[name] = inside["model"].history_
        if study.tests_genes:
            of_all = _of_all(inside, X, target, part["covariates"], "classification" if n_classes else "regression")
        if keep and study.covariates is not None:
            predictions |= _baselines(study, fold, X, held_out, target, part)
    return FoldResult(fold, predictions, selected, statistic, of_all, fitted, tuned, history)


def _of_all(steps: dict[str, Any], X: Any, y: np.ndarray, covariates: Any, task: str) -> np.ndarray:
    """The statistic of every gene in the training part: that of the screen, or of a fixed list the same one."""
    screen = steps["screen"]
    if not isinstance(screen, FixedScreen):
        return np.asarray(screen.statistic_)
    listed = screen.ranking()
    known = steps["impute"].transform(X) if "impute" in steps else X
    out = np.full(X.shape[1], np.nan)
    out[listed] = ModeratedScreen("all", task=task).fit(known[:, listed], y, covariates).statistic_
    return out


def _baselines(
    study: Study, fold: Fold, X: Any, held_out: Any, y: np.ndarray, part: dict[str, Any]
) -> dict[str, np.ndarray]:
    recipe, seed = study.recipe, task_seed(study.seed, "baseline", fold.run + 1, fold.fold + 1)
    front = pipeline(study.models[0], recipe.screen, impute=recipe.impute, seed=seed)[:-1]
    fits = fit_baselines(front, X, y, **part, n_classes=recipe.n_classes, tune=recipe.tune, seed=seed)
    given = _of(study.covariates, fold.test)
    return {name: np.asarray(fit.predict(held_out, given), dtype=float) for name, fit in fits.items()}


def _of(values: np.ndarray | None, rows: np.ndarray) -> Any:
    return None if values is None else values[rows]


def _where(fold: Fold) -> str:
    return "the training part of the test set" if fold.run == TEST else f"fold {fold.fold}"


def counted(result: FoldResult, tally: FoldTally | None) -> FoldResult:
    """A result whose statistics of all genes were counted, and are not kept."""
    if tally is None or result.of_all is None:
        return result
    tally.add(result.fold.run, result.of_all)
    return replace(result, of_all=None)


def run_all(
    units: Iterable[tuple[Any, ...]],
    n: int,
    n_jobs: int | None,
    label: str,
    progress: bool,
    each: Callable[[FoldResult], FoldResult] = lambda result: result,
) -> list[FoldResult]:
    """Every unit (arguments of :func:`run_fold`), in order, by ``n_jobs`` workers (None: every core).

    ``each`` sees the results one by one, in order, and returns what is kept of them.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise InputError(f"n_jobs must be None (every core), a positive count, or -1; got {n_jobs!r}.")
    workers = joblib.cpu_count() if n_jobs is None else int(n_jobs)
    run = joblib.Parallel(n_jobs=workers, return_as="generator", max_nbytes="1M")
    results = run(joblib.delayed(run_fold)(*unit) for unit in units)
    return [each(result) for result in tqdm(results, total=n, desc=label, disable=not progress, leave=True)]
