"""Units of work: the folds of many runs with their screens computed beforehand, one after the other or in parallel.

Units depend on nothing but their own seeds, so any number of workers gives the same numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from time import perf_counter
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator
from tqdm.auto import tqdm

from .baseline import COVARIATES_ONLY, baseline_folds
from .cluster import cluster, in_order
from .discoveries import FoldTally
from .errors import InputError
from .fitting import plan_candidate
from .folds import NONE, FoldResult, Study, baseline_seed, of_rows, run_fold
from .forest import tree_threads
from .models import task_seed
from .prefit import (
    Chosen,
    Plan,
    Ready,
    can_share,
    choose,
    fitted_imputer,
    fitted_screen,
    narrowed,
    with_front,
)
from .resample import Fold
from .screen import FixedScreen, ModeratedScreen
from .workers import Shared, by_workers

_N_SETS = 4  # about: of one model in one fold
_TOGETHER = 120  # sets of samples whose screens are computed together
_TRIAL, _WORTH_WORKERS = 0.5, 4.0  # seconds of work after which to judge, and left to do for which workers are started
_SHORT = 1.0  # seconds that Ctrl-C may wait for
_SMALL = 500  # samples of a study whose folds take seconds


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
                sets.setdefault((u, rows.tobytes()), (rows, unit.y[rows], of_rows(study.covariates, rows), whole))
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
    target, groups, covariates = unit.y[train], of_rows(study.groups, train), of_rows(study.covariates, train)
    out = {}
    if unit.keep and covariates is not None:
        rows, n_classes = np.arange(len(train)), study.recipe.n_classes
        seed = baseline_seed(study, unit.fold)
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
    sets = [
        (rows, unit.y[rows], of_rows(study.covariates, rows), True) for unit, rows in zip(units, parts, strict=True)
    ]
    out = []
    for chosen in choose(screen, study.X[:, listed], sets, study.recipe.impute):
        values = np.full(study.X.shape[1], np.nan)
        values[listed[chosen.ranking]] = chosen.strength
        out.append(values)
    return out


def counted(result: FoldResult, tally: FoldTally | None) -> FoldResult:
    """A result of a permuted target without its genes: of thousands they would fill memory. Their statistics are counted."""
    if tally is not None and result.of_all is not None:
        tally.add(result.fold.run, result.of_all)
    return replace(result, selected=NONE, statistic=NONE, of_all=None)


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
    """Here as long as little is left to do, which costs less than to start workers; then by workers. The numbers are the same.

    A process beside this one takes 150 MB, a thread none; but of Python itself threads do one at a time. Two get on as well as
    two processes with models that are fitted by compiled code.
    """
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

    if trial and joblib.effective_n_jobs(workers) == 2 and spent / done < _SHORT and first.study.fits_in_threads:
        for result in by_workers(run_fold, (unit.work() for unit in noted()), 2, threads=True):
            yield sent.popleft().finished(result)
        return
    with Shared(first.study.X) as shared:
        for result in by_workers(_there, (unit.compact(shared, workers) for unit in noted()), workers):
            yield sent.popleft().finished(result)


def _there(X: Any, study: Study, *rest: Any) -> FoldResult:
    """A unit of work on another machine or by another process, which has the matrix or the columns that it needs."""
    return run_fold(replace(study, X=X), *rest)
