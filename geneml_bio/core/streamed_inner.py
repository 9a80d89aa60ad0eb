"""Inner folds of training parts, in which hyperparameters are searched and calibrations learned; each has a screen of its own.

The folds, and with them what is found, are those of :func:`geneml_bio.core.fitting.fit_candidate` where the sample is all rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from .baseline import WITH_GENES, baseline_folds
from .errors import TargetError
from .fitting import INNER_SPLITS, inner_splits, too_small
from .models import Candidate
from .prefit import Splits
from .streamed_part import Inner, Job, Part, Source, Store, kept_columns
from .streamed_screens import Ask, Known, packed, scaler_at, screened

Key = tuple[int, str, str]  # held-out fold, model, "tried" or "calibrated"
Arrays = dict[str, np.ndarray]


class Files(NamedTuple):
    """Chosen columns of all rows, and those that inner folds chose of the sample: what gives rows, and which columns they are."""

    held: Any
    union: np.ndarray
    sampled: Any = None
    sampled_union: np.ndarray = np.empty(0, dtype=int)


def _wanted(job: Job, folds: Iterable[int]) -> Iterator[tuple[Key, Candidate | None]]:
    for fold in folds:
        for candidate in job.models:
            if job.tune and candidate.space:
                yield (fold, candidate.name, "tried"), candidate
            if job.calibrate or candidate.margin:
                yield (fold, candidate.name, "calibrated"), candidate
        if job.tune and job.covariates is not None and job.kind != "permuted":
            yield (fold, WITH_GENES, "tried"), None


def inner_fold(job: Job, key: Key, candidate: Candidate | None = None) -> np.ndarray | None:
    """In which inner fold each row is held out (-1: none); None where the training part is too small.

    Raises
    ------
    TargetError
        If it is too small for a calibration.
    """
    fold, name, what = key
    rows = np.arange(len(job.y)) if what == "calibrated" or job.sample is None else job.sample
    rows = rows[(job.fold[rows] >= 0) & (job.fold[rows] != fold)]
    y = job.y[rows]
    groups, given = (None if values is None else values[rows] for values in (job.groups, job.covariates))
    seed = job.seed_of(fold, name)
    splits: Splits | None
    if name == WITH_GENES:
        splits = baseline_folds(y, np.asarray(given), job.n_classes, groups, seed)
    else:
        splits = inner_splits(job.n_classes, y, groups, given, INNER_SPLITS, seed)
    if splits is None and what == "calibrated":
        splits = inner_splits(job.n_classes, y, groups, given, 2, seed)
        if splits is None and candidate is not None:
            raise TargetError(too_small(candidate, y, groups))
    if splits is None:
        return None
    out = np.full(len(job.y), -1, dtype=np.int16)
    for i, (_, test) in enumerate(splits):
        out[rows[test]] = i
    return out


def inner_screens(
    source: Source,
    job: Job,
    jobs: Iterable[tuple[Job, Iterable[int]]],
    known: Known,
    progress: bool,
    label: str,
) -> Iterator[tuple[int, Key, Arrays]]:
    """What the screens of inner folds chose: number of the job, training part and model, arrays (:func:`packed`).

    Parameters
    ----------
    source, job, known
        As in :func:`screened`.
    jobs
        Jobs, and which of their folds are held out.
    """
    keys: list[tuple[int, Key]] = []

    def asks() -> Iterator[Ask]:
        for number, (one, folds) in enumerate(jobs):
            for key, candidate in _wanted(one, folds):
                codes = inner_fold(one, key, candidate)
                if codes is not None:
                    keys.append((number, key))
                    yield Ask(replace(one, fold=codes), range(int(codes.max()) + 1), key[2] == "tried")

    for i, made in enumerate(screened(source, job, asks(), known, progress, label)):
        arrays = packed(made)
        yield *keys[i], {"columns": arrays["columns"]} if keys[i][1][2] == "tried" else arrays


def flat(inner: dict[Any, Arrays]) -> Arrays:
    """What was chosen as arrays that can be kept; keys are tuples."""
    out = {"keys": np.array([json.dumps(key) for key in inner], dtype=str)}
    return out | {f"{i} {name}": value for i, what in enumerate(inner.values()) for name, value in what.items()}


def unflat(arrays: Arrays) -> dict[Any, Arrays]:
    """What :func:`flat` made arrays of."""
    out: dict[Any, Arrays] = {}
    for i, text in enumerate(arrays["keys"]):
        own = {key.partition(" ")[2]: value for key, value in arrays.items() if key.startswith(f"{i} ")}
        out[tuple(json.loads(str(text)))] = own
    return out


def union_of(chosen: Iterable[Arrays]) -> np.ndarray:
    """All columns among what was chosen."""
    return np.unique(np.concatenate([np.empty(0, dtype=int), *(what["columns"].ravel() for what in chosen)]))


def files_of(
    source: Source,
    job: Job,
    store: Store,
    outer: Iterable[Arrays],
    inner: dict[Any, Arrays],
    name: str,
    progress: bool,
    label: str,
) -> Files:
    """Keep the columns that were chosen, in files called ``name``; ``inner``: by keys that end in what they are for."""
    union = union_of([*outer, *(what for key, what in inner.items() if key[-1] == "calibrated")])
    held = kept_columns(source, job, store, union, name, progress, label)
    few = union_of(what for key, what in inner.items() if key[-1] == "tried")
    if not len(few):
        return Files(held, union)
    some = kept_columns(source, job, store, few, f"{name} of the sample", progress, label, job.sample)
    return Files(held, union, some, few)


def with_inner(part: Part, name: str, files: Files, inner: dict[Key, Arrays]) -> Part:
    """A training part with the inner folds of a model."""
    found: dict[str, Any] = {}
    for what in ("tried", "calibrated"):
        key = (part.fold, name, what)
        codes = inner_fold(part.job, key) if key in inner else None
        if codes is None:
            continue
        chosen = inner[key]
        if what == "tried":
            codes = codes[part.job.sample]
            columns = [np.searchsorted(files.sampled_union, one) for one in chosen["columns"]]
            found[what] = Inner(files.sampled, codes, columns, [])
        else:
            columns = [np.searchsorted(files.union, one) for one in chosen["columns"]]
            found[what] = Inner(files.held, codes, columns, [scaler_at(chosen, i) for i in range(len(columns))])
    return replace(part, **found)


def searched_in(part: Part) -> tuple[np.ndarray, Splits, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]]:
    """Where hyperparameters are searched: rows of the data, inner folds (positions in these), and what gives both sides of one."""
    job, inner = part.job, part.tried
    if inner is None or job.sample is None:
        return np.empty(0, dtype=int), [], lambda train, test: ()
    rows = np.flatnonzero(inner.fold >= 0)
    code = inner.fold[rows]
    splits = [(np.flatnonzero(code != i), np.flatnonzero(code == i)) for i in range(len(inner.columns))]

    def sides(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, ...]:
        columns = inner.columns[code[test[0]]]
        parts = [
            inner.held[start : start + job.chunk_size][:, columns]
            for start in range(0, len(inner.fold), job.chunk_size)
        ]
        X = np.concatenate(parts)
        return X[rows[train]], X[rows[test]]

    return job.sample[rows], splits, sides
