"""One unit of work: one fold of one run, with every model in it; and many of them in parallel.

Units depend on nothing but their own seeds, so any number of workers gives the same numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from time import perf_counter
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from tqdm.auto import tqdm

from .baseline import COVARIATES_ONLY, baseline_folds, fit_baselines
from .cluster import cluster, in_order
from .discoveries import FoldTally
from .errors import GenemlError, InputError
from .fitting import Recipe, bare, fit_candidate, fit_on_columns, plan_candidate, predict_fitted
from .forest import tree_threads
from .models import Candidate, pipeline, task_seed
from .prefit import (
    Chosen,
    Columns,
    Plan,
    Ready,
    can_share,
    choose,
    fitted_imputer,
    fitted_screen,
    narrowed,
    with_front,
    without_columns,
)
from .resample import Fold
from .screen import FixedScreen, ModeratedScreen
from .threads import one_thread
from .workers import Shared, in_processes

_N_SETS = 4  # about: of one model in one fold
_TOGETHER = 240  # sets of samples whose screens are computed together
_TRIAL, _WORTH_WORKERS = 0.5, 4.0  # seconds of work after which to judge, and left to do for which workers are started
_SMALL = 500  # samples of a study whose folds take seconds
_NONE = np.empty(0)
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
    part = {"groups": _of(study.groups, fold.train), "covariates": _of(study.covariates, fold.train)}
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
            return FoldResult(fold, predictions, _NONE, _NONE, None, fitted, tuned, history)
        selected = inside["screen"].ranking()
        of_all = _of_all(inside, X, target, part["covariates"], n_classes) if study.tests_genes else None
    statistic = inside["screen"].statistic_[selected]
    return FoldResult(fold, predictions, selected, statistic, of_all, fitted, tuned, history)


@dataclass(frozen=True, eq=False)
class Unit:
    """Arguments of :func:`run_fold` with the screens computed beforehand; and what of them stays in this process."""

    study: Study
    fold: Fold
    y: np.ndarray
    kind: str
    keep: bool
    ready: dict[str, Ready] | None = None
    of_all: np.ndarray | None = None

    def work(self) -> tuple[Any, ...]:
        """What a worker is sent: the genes that are kept, not the statistic of all."""
        ready = self.ready
        if ready is not None:
            ready = {
                name: Ready(one.plan, {key: chosen._replace(statistic=None) for key, chosen in one.chosen.items()})
                for name, one in ready.items()
            }
        return self.study, self.fold, self.y, self.kind, self.keep, ready

    def apart(self) -> tuple[Any, ...]:
        """The work without the matrix."""
        study, *rest = self.work()
        return replace(study, X=None), *rest

    def compact(self, shared: Shared, n: int) -> tuple[Any, ...]:
        """The work for one of ``n`` processes, after what it needs of the matrix: some columns, or all where those are many."""
        *rest, ready = self.apart()
        X, ready = narrowed(self.study.X, ready, self.study.X.shape[1] // (4 * n)) or (shared, ready)
        return X, *rest, ready

    def finished(self, result: FoldResult) -> FoldResult:
        """The result with whole models: imputer and screen as they would be after their own fit; and what the screen kept."""
        if self.ready is None:
            return result
        X, recipe, fitted = self.study.X, self.study.recipe, {}
        fronts: dict[bytes, list[tuple[str, BaseEstimator]]] = {}
        for name, one in self.ready.items():
            rows = self.fold.train[one.plan.rows]
            key = rows.tobytes()
            chosen = one.chosen[key]
            if name not in result.fitted:
                continue
            if key not in fronts:
                fronts[key] = [("screen", fitted_screen(recipe.screen, chosen, X.shape[1]))]
                if recipe.impute:
                    fronts[key].insert(0, ("impute", fitted_imputer(X, rows)))
            fitted[name] = with_front(result.fitted[name], fronts[key], X.shape[1])
        return replace(result, fitted=fitted, selected=chosen.ranking, statistic=chosen.strength, of_all=self.of_all)


def prepared(units: Iterable[tuple[Any, ...]]) -> Iterator[Unit]:
    """Units of work with their screens, which are computed for many units in one pass over the data.

    Parameters
    ----------
    units
        Study, fold, target, kind and ``keep`` of :func:`run_fold`, all of one study.
    """
    pending: list[Unit] = []
    asked = 0
    share: bool | None = None
    for unit in units:
        one = Unit(*unit)
        if share is None:
            share = can_share(one.study.recipe.screen, one.study.X)
        if not share:
            yield one
            continue
        pending.append(one)
        asked += _N_SETS * len(one.study.models)
        if asked >= _TOGETHER:
            yield from _screened(pending)
            pending, asked = [], 0
    if pending:
        yield from _screened(pending)


def _screened(units: list[Unit]) -> Iterator[Unit]:
    study = units[0].study
    recipe = study.recipe
    plans: list[dict[str, Plan]] = []
    sets: dict[tuple[int, bytes], tuple[Any, ...]] = {}
    for u, unit in enumerate(units):
        own = _plans(unit)
        for plan in own.values():
            for k, positions in enumerate(plan.sets()):
                rows = unit.fold.train[positions]
                whole = k == 0 and (unit.keep or study.tests_genes)
                sets.setdefault((u, rows.tobytes()), (rows, unit.y[rows], _of(study.covariates, rows), whole))
        plans.append(own)
    found = dict(zip(sets, choose(recipe.screen, study.X, list(sets.values()), recipe.impute), strict=True))
    of_all: list[Any] = [None] * len(units)
    if study.tests_genes:
        parts = [unit.fold.train[list(own.values())[-1].rows] for unit, own in zip(units, plans, strict=True)]
        of_all = _statistics_of_all(study, units, parts, found)
    for u, (unit, own) in enumerate(zip(units, plans, strict=True)):
        ready = {}
        for name, plan in own.items():
            keys = [unit.fold.train[positions].tobytes() for positions in plan.sets()]
            ready[name] = Ready(plan, {key: found[u, key] for key in keys})
        yield replace(unit, ready=ready, of_all=of_all[u])


def _plans(unit: Unit) -> dict[str, Plan]:
    """What the baselines, if there are any, and every model do with the training part of a unit."""
    study, train = unit.study, unit.fold.train
    target, groups, covariates = unit.y[train], _of(study.groups, train), _of(study.covariates, train)
    out = {}
    if unit.keep and covariates is not None:
        rows, n_classes = np.arange(len(train)), study.recipe.n_classes
        seed = _baseline_seed(study, unit.fold)
        inner = baseline_folds(target, covariates, n_classes, groups, seed) if study.recipe.tune else None
        out[COVARIATES_ONLY] = Plan(rows, None, inner)
    for candidate in study.models:
        seed = task_seed(study.seed, unit.kind, unit.fold.run + 1, unit.fold.fold + 1, candidate.name)
        how: dict[str, Any] = {"groups": groups, "covariates": covariates, "seed": seed}
        out[candidate.name] = plan_candidate(study.recipe, candidate, target, **how)
    return out


def _statistics_of_all(
    study: Study, units: list[Unit], parts: list[np.ndarray], found: dict[tuple[int, bytes], Chosen]
) -> list[np.ndarray]:
    """The statistic of every gene in each training part: that of the screen, or of a fixed list the same one."""
    if not isinstance(study.recipe.screen, FixedScreen):
        kept = [found[u, rows.tobytes()].statistic for u, rows in enumerate(parts)]
        return [one.values for one in kept if one is not None]
    listed = study.recipe.screen.ranking()
    screen = ModeratedScreen("all", task="classification" if study.recipe.n_classes else "regression")
    sets = [(rows, unit.y[rows], _of(study.covariates, rows), True) for unit, rows in zip(units, parts, strict=True)]
    out = []
    for chosen in choose(screen, study.X[:, listed], sets, study.recipe.impute):
        values = np.full(study.X.shape[1], np.nan)
        values[listed[chosen.ranking]] = chosen.strength
        out.append(values)
    return out


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
    how: dict[str, Any] = {"n_classes": recipe.n_classes, "tune": recipe.tune, "seed": _baseline_seed(study, fold)}
    fits = fit_baselines(front, X, y, **part, **how)
    given = _of(study.covariates, fold.test)
    return {name: np.asarray(fit.predict(held_out, given), dtype=float) for name, fit in fits.items()}


def _baseline_seed(study: Study, fold: Fold) -> int:
    return task_seed(study.seed, "baseline", fold.run + 1, fold.fold + 1)


def _of(values: np.ndarray | None, rows: np.ndarray) -> Any:
    return None if values is None else values[rows]


def _where(fold: Fold) -> str:
    return "the training part of the test set" if fold.run == TEST else f"fold {fold.fold}"


def counted(result: FoldResult, tally: FoldTally | None) -> FoldResult:
    """A result of a permuted target without its genes: of thousands they would fill memory. Their statistics are counted."""
    if tally is not None and result.of_all is not None:
        tally.add(result.fold.run, result.of_all)
    return replace(result, selected=_NONE, statistic=_NONE, of_all=None)


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
    with tqdm(total=n, desc=label, disable=not progress, leave=True) as bar:
        done = []
        for result in _results(prepared(units), n, workers):
            done.append(each(result))
            bar.update()
    return done


def _results(units: Iterator[Unit], n: int, workers: int) -> Iterator[FoldResult]:
    """Here as long as little is left to do, which costs less than to start workers; then by workers. The numbers are the same."""
    first = next(units, None)
    if first is None:
        return
    units = chain([first], units)
    sent: deque[Unit] = deque()

    def noted() -> Iterator[Unit]:
        for unit in units:
            sent.append(unit)
            yield unit

    if (client := cluster()) is not None:
        for result in in_order(client, _there, first.study.X, (unit.apart() for unit in noted())):
            yield sent.popleft().finished(result)
        return
    # of a large study a single fold may take long, while other cores wait
    start = perf_counter()
    trial = workers == 1 or len(first.y) <= _SMALL or n >= 8 * workers
    for done, unit in enumerate(units if trial else (), 1):
        with tree_threads(joblib.effective_n_jobs(workers)):  # the other cores have nothing to do yet
            result = run_fold(*unit.work())
        yield unit.finished(result)
        spent = perf_counter() - start
        if workers != 1 and spent > _TRIAL and spent / done * (n - done) > _WORTH_WORKERS:
            break
    else:
        if trial:
            return

    with Shared(first.study.X) as shared:
        for result in in_processes(_there, (unit.compact(shared, workers) for unit in noted()), workers):
            yield sent.popleft().finished(result)


def _there(X: Any, study: Study, *rest: Any) -> FoldResult:
    """A unit of work on another machine or by another process, which has the matrix or the columns that it needs."""
    return run_fold(replace(study, X=X), *rest)
