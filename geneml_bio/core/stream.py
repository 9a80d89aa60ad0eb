"""Cross-validation of data that memory does not hold: passes over pieces of it.

1. One pass sums what the screens and scalers of all folds need. 2. One pass keeps the columns that any fold chose. 3. Every model
is fitted from pieces of these and predicts what is held out; what is done is kept, so that work which was stopped goes on where
it was. 4. The same on permuted targets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from tqdm.auto import tqdm

from .baseline import BASELINES
from .discoveries import Discoveries
from .models import Candidate, task_seed
from .streamed_baseline import baseline_predictions
from .streamed_fit import check_models, fitted
from .streamed_front import Cells, Front, beside, by_donor, by_fold, front, fronts, shift, summed
from .streamed_null import null
from .streamed_part import Job, Part, Source, Store, kept_columns
from .streamed_sums import Sums

TEST = -1  # the fold of what is fitted to all rows but the test set


@dataclass(frozen=True, eq=False)
class Streamed:
    """Predictions of every row by models that have not seen it (NaN where it took no part), and the fitted pipelines.

    Parameters
    ----------
    predictions
        Model (with covariates: and baseline) -> rows x classes (probabilities), or rows.
    fitted
        Pipelines by ``(fold, model)``, as :mod:`geneml_bio.core.validate` fits them; fold -1: of the test set.
    screens, tuned
        As in :class:`geneml_bio.Validation`, without ``repeat``.
    null, discoveries
        Of permuted targets, or None.
    """

    predictions: dict[str, np.ndarray]
    fitted: dict[tuple[int, str], Pipeline]
    screens: pd.DataFrame
    tuned: pd.DataFrame
    null: pd.DataFrame | None = None
    discoveries: Discoveries | None = field(default=None, repr=False)


def run(
    source: Source, job: Job, store: Store, *, n_permutations: int = 0, progress: bool = True, label: str = "stream"
) -> Streamed:
    """Cross-validate; see the module.

    Parameters
    ----------
    source, job, store
        The data, what is to be done, and where pieces of it are kept.
    n_permutations
        How many permuted targets go through all of it (the test set excepted).
    progress, label
        Progress bars, and their name.
    """
    check_models(job.models)
    # 1. what screens and scalers need
    n_beside = 0 if job.covariates is None else job.covariates.shape[1]
    donors = by_donor(job.groups, job.y, job.fold, job.n_classes, source.shape[1] * (1 + n_beside))
    cells = by_fold(job.y, job.fold, job.n_classes) if donors is None else donors
    sums = store.get("sums")
    if sums is None:
        _check_designs(job, cells)
        sums = _sums(source, job, cells, progress, f"{label}: sums")
        store.put("sums", sums)
    moved = sums.pop("shift")
    made = dict(enumerate(fronts(job, sums, moved, cells)))
    if job.test is not None:
        made[TEST] = front(job, sums, moved, cells, cells.fold >= 0)

    # 2. the columns that any fold chose
    union = np.unique(np.concatenate([screen.get_support(indices=True) for screen, _ in made.values()]))
    held = kept_columns(source, job, store, union, "columns", progress, f"{label}: columns")

    # 3. models
    size = (len(job.y), job.n_classes) if job.n_classes else (len(job.y),)
    names = [c.name for c in job.models] + ([] if job.covariates is None else list(BASELINES))
    predictions = {name: np.full(size, np.nan, _kind(job)) for name in names}
    pipelines, tuned = {}, []
    work: list[tuple[int, Candidate | None]] = [(fold, candidate) for fold in made for candidate in job.models]
    work += [] if job.covariates is None else [(fold, None) for fold in made]  # None: the baselines
    for fold, candidate in tqdm(work, desc=f"{label}: models", disable=not progress):
        screen, scaler = made[fold]
        mine = Part(held, np.searchsorted(union, screen.get_support(indices=True)), scaler, job, fold)
        if fold == TEST:
            mine = replace(mine, job=_of_test(job), fold=0)
        name = f"model {fold} {candidate.name}" if candidate else f"baselines {fold}"
        done = store.get(name)
        if done is None:
            done = _fitted(mine, candidate, made[fold], store, fold) if candidate else _baselines(mine, fold)
            store.put(name, done)
        out = mine.job.fold == mine.fold
        if candidate is None:
            for name in BASELINES:
                predictions[name][out] = done[name]
            continue
        predictions[candidate.name][out] = done["predictions"]
        pipelines[fold, candidate.name] = done["pipeline"]
        tuned += [{"fold": fold, "model": candidate.name, "parameter": str(k), "value": str(v)}
                  for k, v in zip(done["names"], done["values"], strict=True)]  # fmt: skip
    found = Streamed(
        predictions, pipelines, _screens(made), pd.DataFrame(tuned, columns=["fold", "model", "parameter", "value"])
    )
    if not n_permutations:
        return found

    # 4. permuted targets
    observed = [made[fold][0].statistic_ for fold in range(job.n_folds)]
    by = None if donors is None else (sums, donors)
    chance, genes = null(source, job, store, n_permutations, moved, by, observed, progress=progress, label=label)
    return replace(found, null=chance, discoveries=genes)


def _sums(source: Source, job: Job, cells: Cells, progress: bool, label: str) -> Sums:
    """Sums of the cells, and the shift of each gene."""
    moved = shift(source, job)
    total = summed(source, job, [cells], moved, progress, label)
    return {name: value[0] for name, value in total.items()} | {"shift": moved}


def _check_designs(job: Job, cells: Cells) -> None:
    """Refuse covariates that determine the target in a training part, before the data are read."""
    for fold in range(job.n_folds) if job.covariates is not None else ():
        beside(job, cells, (cells.fold >= 0) & (cells.fold != fold))


def _of_test(job: Job) -> Job:
    """The test set as what is held out of one fold."""
    return replace(job, fold=np.where(np.asarray(job.test), 0, np.where(job.fold >= 0, 1, -1)))


def _fitted(part: Part, candidate: Candidate, before: Front, store: Store, fold: int) -> dict[str, Any]:
    """Tune and fit one model on one training part, and predict what is held out."""
    run = -1 if fold == TEST else 0
    seed = task_seed(part.job.seed, "test" if fold == TEST else "true", run + 1, fold + 1, candidate.name)
    whole, chosen = fitted(part, candidate, store, seed)
    return {
        "pipeline": Pipeline([("screen", before[0]), *whole.steps]),
        "predictions": part.predicted(whole.named_steps["model"]).astype(_kind(part.job)),
        "names": np.array(list(chosen), dtype=str),
        "values": np.array([str(value) for value in chosen.values()], dtype=str),
    }


def _baselines(part: Part, fold: int) -> dict[str, np.ndarray]:
    run, job = -1 if fold == TEST else 0, part.job
    made = baseline_predictions(part, np.asarray(job.covariates), task_seed(job.seed, "baseline", run + 1, fold + 1))
    return {name: values.astype(_kind(job)) for name, values in made.items()}


def _kind(job: Job) -> type[np.floating]:
    """Of what is kept of predictions: of probabilities, seven digits; numbers may be far from 0."""
    return np.float32 if job.n_classes else np.float64


def _screens(made: dict[int, Front]) -> pd.DataFrame:
    parts = []
    for fold, (screen, _) in made.items():
        if fold != TEST:
            chosen = screen.ranking()
            parts.append(pd.DataFrame({"fold": fold, "column": chosen, "statistic": screen.statistic_[chosen]}))
    return pd.concat(parts, ignore_index=True)
