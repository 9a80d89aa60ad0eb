"""Permuted targets through the same passes: their sums share passes over the data, their models are fitted one after the other.

Targets and folds are those of :func:`geneml_bio.core.validate.validate`. What a permutation found is kept as it is finished.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .discoveries import Discoveries, Tally, summary
from .models import task_seed
from .resample import make_folds, permute
from .scores import classification_scores, regression_scores
from .streamed_fit import fitted
from .streamed_inner import Files, Key, files_of, flat, inner_screens, unflat, union_of, with_inner
from .streamed_part import Job, Part, Source, Store
from .streamed_screens import Ask, Known, of_job, packed, scaler_at, screened

_ON_DISK = 1 << 32  # bytes that the columns of some permutations may have


def permuted(job: Job, number: int) -> Job:
    """The job with permuted target, and folds of its own, as every permutation has."""
    rows = np.flatnonzero(job.fold >= 0)
    own = None if job.groups is None else job.groups[rows]
    rng = np.random.default_rng(task_seed(job.seed, "permutation", number))
    batch = None if job.batch is None else job.batch[rows]
    target = permute(job.y[rows], own, rng, numeric=not job.n_classes, batch=batch)
    y, fold = np.zeros_like(job.y), np.full(len(job.y), -1, dtype=job.fold.dtype)
    y[rows] = target
    classes = tuple(map(str, range(job.n_classes)))
    for part in make_folds(target, classes, own, n_splits=job.n_folds, run=number, seed=job.seed):
        fold[rows[part.test]] = part.fold
    return replace(job, y=y, fold=fold, kind="permuted", run=number)


def null(
    source: Source,
    job: Job,
    store: Store,
    n: int,
    known: Known,
    observed: list[np.ndarray],
    *,
    progress: bool,
    label: str,
) -> tuple[pd.DataFrame, Discoveries]:
    """Scores of ``n`` permuted targets, and p and q of each gene against them.

    Parameters
    ----------
    source, job, store
        As in :func:`geneml_bio.core.stream.run`.
    n
        How many.
    known
        What the first pass found.
    observed
        Statistics of all genes in the folds of the true target.
    """
    tally = Tally(summary(observed))
    found = {b: what for b in range(n) if (what := store.get(f"permutation {b} chosen")) is not None}
    lacking = [b for b in range(n) if b not in found]
    for b, what in _chosen(source, job, lacking, known, progress, f"{label}: permuted sums"):
        store.put(f"permutation {b} chosen", what)
        found[b] = what
    for what in found.values():
        tally.add(what.pop("summary"))
    whole = [found[b] for b in range(n)]
    inner = _inner(source, job, store, whole, known, progress, f"{label}: permuted inner folds")
    out: list[dict[str, Any]] = []
    with tqdm(total=n, desc=f"{label}: permuted", disable=not progress) as bar:
        for batch in _batches(whole, inner, len(job.y) * source.dtype.itemsize):
            files = None
            for b in batch:
                done = store.get(f"permutation {b}")
                if done is None:
                    if files is None:
                        every = {(i, *key): what for i in batch for key, what in inner[i].items()}
                        of = f"{label}: permuted columns"
                        files = files_of(source, job, store, [whole[i] for i in batch], every, "permuted", progress, of)
                    done = _scored(_again(job, b, whole[b], known), whole[b], inner[b], files, store)
                    store.put(f"permutation {b}", done)
                for row, values in zip(done["models"], done["values"], strict=True):
                    out += [{"permutation": b, "model": str(row), "metric": str(m), "value": float(v)}
                            for m, v in zip(done["metrics"], values, strict=True)]  # fmt: skip
                bar.update()
    for name in ("permuted", "permuted of the sample"):
        store.drop(name)
    return pd.DataFrame(out), tally.result()


def _batches(found: list[dict[str, Any]], inner: list[dict[Key, Any]], column: int) -> Iterator[list[int]]:
    """Permutations whose columns are kept together: so many that their file stays small. What is finished does not count."""
    batch: list[int] = []
    union = np.empty(0, dtype=int)
    for b, what in enumerate(found):
        own = union_of([what, *(one for key, one in inner[b].items() if key[-1] == "calibrated")])
        more = np.union1d(union, own)
        if batch and len(more) * column > _ON_DISK:
            yield batch
            batch, more = [], own
        batch.append(b)
        union = more
    if batch:
        yield batch


def _chosen(
    source: Source, job: Job, lacking: list[int], known: Known, progress: bool, label: str
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """What the screens and scalers of each permutation chose."""
    donors = None if known.all is None else known.all[0]
    notes: list[dict[str, np.ndarray]] = []

    def asks() -> Iterator[Ask]:
        for b in lacking:
            other = permuted(job, b)
            cells = None if donors is None else of_job(donors, other)  # a permutation exchanges the classes of donors
            notes.append({} if cells is None else {"held": cells.fold, "kind": cells.kind})
            yield Ask(other, range(job.n_folds))

    made = screened(source, job, asks(), known, progress, label)
    shown = tqdm(made, total=len(lacking), desc=label, disable=not progress or donors is None or not lacking)
    for i, fronts in enumerate(shown):
        yield lacking[i], packed(fronts) | {"summary": summary([one.screen.statistic_ for one in fronts])} | notes[i]


def _inner(
    source: Source, job: Job, store: Store, whole: list[dict[str, Any]], known: Known, progress: bool, label: str
) -> list[dict[Key, Any]]:
    """What the screens of inner folds of each permutation chose."""
    kept = {b: what for b in range(len(whole)) if (what := store.get(f"permutation {b} inner")) is not None}
    lacking = [b for b in range(len(whole)) if b not in kept]
    jobs = ((_again(job, b, whole[b], known), range(job.n_folds)) for b in lacking)
    own: dict[int, dict[Key, Any]] = {b: {} for b in lacking}
    for i, key, what in inner_screens(source, job, jobs, known, progress, label):
        own[lacking[i]][key] = what
    for b, found in own.items():
        if found:
            store.put(f"permutation {b} inner", flat(found))
    return [unflat(kept[b]) if b in kept else own[b] for b in range(len(whole))]


def _again(job: Job, number: int, what: dict[str, Any], known: Known) -> Job:
    """The permuted job; where it is one of donors, from what is known of these."""
    if known.all is None:
        return permuted(job, number)
    rows = np.flatnonzero(job.fold >= 0)
    y, fold = np.zeros_like(job.y), np.full(len(job.y), -1, dtype=job.fold.dtype)
    y[rows], fold[rows] = (what[name][known.all[0].cell[rows]] for name in ("kind", "held"))
    return replace(job, y=y, fold=fold, kind="permuted", run=number)


def _scored(job: Job, what: dict[str, Any], inner: dict[Key, Any], files: Files, store: Store) -> dict[str, np.ndarray]:
    """Every score of every model on one permuted target."""
    rows = np.flatnonzero(job.fold >= 0)
    score: Callable[..., dict[str, np.ndarray]] = regression_scores
    made = {c.name: np.full((len(job.y), *((job.n_classes,) if job.n_classes else ())), np.nan) for c in job.models}
    for fold in range(job.n_folds):
        columns = np.searchsorted(files.union, what["columns"][fold])
        part = Part(files.held, columns, scaler_at(what, fold), job, fold)
        for candidate in job.models:
            mine = with_inner(part, candidate.name, files, inner)
            made[candidate.name][job.fold == fold] = part.predicted(fitted(mine, candidate, store)[0])
    out = {}
    for name, values in made.items():
        one = (np.ones((1, len(rows))), job.y[rows], values[rows])
        if job.n_classes:
            out[name] = classification_scores(*one, calibration=False)
        else:
            out[name] = score(*one)
    metrics = list(next(iter(out.values())))
    return {
        "models": np.array(list(out)),
        "metrics": np.array(metrics),
        "values": np.array([[float(scores[m][0]) for m in metrics] for scores in out.values()]),
    }
