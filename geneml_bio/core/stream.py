"""Cross-validation of data that memory does not hold: passes over pieces of it.

1. One pass sums what the screens and scalers of all folds and repeats need (inner folds may need more). 2. One pass keeps the
columns that any of them chose. 3. Every model is fitted from pieces of these and predicts what is held out; what is done is kept,
so that work which was stopped goes on where it was. 4. The same on permuted targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .baseline import WITH_GENES
from .models import Candidate, task_seed
from .resample import some_of_each
from .streamed_baseline import baseline_predictions
from .streamed_calibration import whole
from .streamed_fit import check_models, fitted
from .streamed_front import Front
from .streamed_inner import Arrays, files_of, flat, inner_screens, unflat, with_inner
from .streamed_null import null
from .streamed_part import Job, Part, Source, Store
from .streamed_results import Collected, Streamed, kept_as
from .streamed_screens import Ask, Known, first_pass, packed, screened, unpacked

TUNE_ROWS = 20_000  # rows of a training part on which hyperparameters are searched, about
TEST = -1  # repeat and fold of what is fitted to all rows but the test set


def run(
    source: Source,
    job: Job,
    store: Store,
    *,
    folds: Sequence[np.ndarray] = (),
    shown: np.ndarray | None = None,
    n_permutations: int = 0,
    progress: bool = True,
    label: str = "stream",
) -> Streamed:
    """Cross-validate; see the module.

    Parameters
    ----------
    source, job, store
        The data, what is to be done, and where pieces of it are kept.
    folds
        In which fold each row is held out, in each repeat after the first, which is that of the job.
    shown
        Rows whose predictions are kept of each repeat (None: all).
    n_permutations
        How many permuted targets go through all of it (one repeat each, without the test set).
    progress, label
        Progress bars, and their name.
    """
    check_models(job.models)
    if job.tune:
        job = replace(job, sample=_sample(job))
    runs = [job, *(replace(job, fold=fold, run=i) for i, fold in enumerate(folds, 1))]
    # 1. what screens and scalers need, of training parts and of their inner folds
    known = first_pass(source, job, store, progress, f"{label}: sums")
    made = _fronts(source, runs, store, known, progress, f"{label}: sums")
    jobs = {run: (one, range(one.n_folds)) for run, one in enumerate(runs)}
    if job.test is not None:
        jobs[TEST] = _of_test(job), range(1)
    inner = _inner(source, job, jobs, store, known, progress, f"{label}: sums of inner folds")

    # 2. the columns that any of them chose
    outer = [{"columns": one.columns} for one in made.values()]
    files = files_of(source, job, store, outer, inner, "columns", progress, f"{label}: columns")

    # 3. models
    found = Collected(job, len(runs), np.arange(len(job.y)) if shown is None else shown)
    pipelines, tuned = {}, []
    work = [(key, c) for key in made for c in (*job.models, *([] if job.covariates is None else [None]))]
    for (run, fold), candidate in tqdm(work, desc=f"{label}: models", disable=not progress):
        front, of = made[run, fold], jobs[run][0]
        name = candidate.name if candidate else WITH_GENES
        part = Part(files.held, np.searchsorted(files.union, front.columns), front.scaler, of, max(fold, 0))
        place = f"model {run} {fold} {name}" if candidate else f"baselines {run} {fold}"
        done = store.get(place)
        if done is None:
            part = with_inner(part, name, files, {key[1:]: what for key, what in inner.items() if key[0] == run})
            done = _fitted(part, candidate, front, store) if candidate else _baselines(part)
            store.put(place, done)
        rows = np.flatnonzero(of.fold == part.fold)
        if candidate is None:
            for name in done:
                found.add(name, rows, done[name])
            continue
        found.add(name, rows, done["predictions"])
        pipelines[run, fold, name] = done["pipeline"]
        tuned += [{"repeat": run, "fold": fold, "model": name, "parameter": str(k), "value": str(v)}
                  for k, v in zip(done["names"], done["values"], strict=True)]  # fmt: skip
    tuned_frame = pd.DataFrame(tuned, columns=["repeat", "fold", "model", "parameter", "value"])
    result = Streamed(found.mean, found.shown, found.repeats, found.scores, pipelines, _screens(made), tuned_frame)
    if not n_permutations:
        return result

    # 4. permuted targets
    observed = [made[0, fold].screen.statistic_ for fold in range(job.n_folds)]
    chance, genes = null(source, job, store, n_permutations, known, observed, progress=progress, label=label)
    return replace(result, null=chance, discoveries=genes)


def _sample(job: Job) -> np.ndarray:
    """Rows on which hyperparameters are searched, of every class and donor: all, or so many that training parts have 20,000."""
    rows = np.flatnonzero(job.fold >= 0)
    labels = [job.y[rows]] if job.n_classes else []
    labels += [] if job.groups is None else [job.groups[rows]]
    size = TUNE_ROWS * job.n_folds // (job.n_folds - 1)
    rng = np.random.default_rng(task_seed(job.seed, "tuning"))
    return rows[some_of_each(labels, len(rows), size, rng)]


def _fronts(
    source: Source, runs: list[Job], store: Store, known: Known, progress: bool, label: str
) -> dict[tuple[int, int], Front]:
    """Screen and scaler of each training part: of each repeat and fold, and of the test set."""
    job = runs[0]
    asks = [Ask(one, [*range(one.n_folds), *([TEST] if one is job and job.test is not None else [])]) for one in runs]
    kept = [store.get(f"fronts {run}") for run in range(len(runs))]
    lacking = [run for run, what in enumerate(kept) if what is None]
    made = screened(source, job, (asks[run] for run in lacking), known, progress, label)
    for run, fronts in zip(lacking, made, strict=True):
        kept[run] = arrays = packed(fronts, whole=True)
        store.put(f"fronts {run}", arrays)
    out: dict[tuple[int, int], Front] = {}
    test: dict[tuple[int, int], Front] = {}
    for run, what in enumerate(kept):
        for fold, front in zip(asks[run].left_out, unpacked(job, what or {}), strict=True):
            (test if fold == TEST else out)[run if fold != TEST else TEST, fold] = front
    return out | test


def _inner(
    source: Source, job: Job, jobs: dict[int, tuple[Job, range]], store: Store, known: Known, progress: bool, label: str
) -> dict[Any, Arrays]:
    """What the screens of inner folds chose: repeat, held-out fold, model, what for -> arrays."""
    kept = store.get("inner folds")
    if kept is not None:
        return unflat(kept)
    runs = list(jobs)
    found = inner_screens(source, job, jobs.values(), known, progress, label)
    out: dict[tuple[Any, ...], Arrays] = {(runs[i], *key): what for i, key, what in found}
    if out:
        store.put("inner folds", flat(out))
    return out


def _of_test(job: Job) -> Job:
    """The test set as what is held out of one fold."""
    fold = np.where(np.asarray(job.test), 0, np.where(job.fold >= 0, 1, -1))
    return replace(job, fold=fold, kind="test", run=TEST)


def _fitted(part: Part, candidate: Candidate, front: Front, store: Store) -> dict[str, Any]:
    """Tune, fit and calibrate one model on one training part, and predict what is held out."""
    model, chosen = fitted(part, candidate, store)
    predictions = part.predicted(model).astype(kept_as(part.job))
    return {
        "pipeline": whole(model, [("screen", front.screen), ("scale", front.scaler)]),
        "predictions": predictions,
        "names": np.array(list(chosen), dtype=str),
        "values": np.array([str(value) for value in chosen.values()], dtype=str),
    }


def _baselines(part: Part) -> dict[str, np.ndarray]:
    made = baseline_predictions(part, np.asarray(part.job.covariates))
    return {name: values.astype(kept_as(part.job)) for name, values in made.items()}


def _screens(made: dict[tuple[int, int], Front]) -> pd.DataFrame:
    parts = []
    for (run, fold), (screen, _) in made.items():
        if run != TEST:
            chosen = screen.ranking()
            statistic = screen.statistic_[chosen]
            parts.append(pd.DataFrame({"repeat": run, "fold": fold, "column": chosen, "statistic": statistic}))
    return pd.concat(parts, ignore_index=True)
