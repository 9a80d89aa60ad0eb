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
from .streamed_front import Cells, by_fold, fronts, scaler_of, summed
from .streamed_part import Job, Part, Source, Store, kept_columns
from .streamed_sums import Sums

_CODES = 1 << 28  # bytes that cells and targets of the permutations of one pass may have
_VALUES = 1 << 22  # partitions x cells x genes of one pass
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
    return replace(job, y=y, fold=fold)


def null(
    source: Source,
    job: Job,
    store: Store,
    n: int,
    moved: np.ndarray,
    donors: tuple[Sums, Cells] | None,
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
    moved, donors
        Shift of each gene; sums and cells of donors, where these serve every permutation.
    observed
        Statistics of all genes in the folds of the true target.
    """
    tally = Tally(summary(observed))
    found = {b: what for b in range(n) if (what := store.get(f"permutation {b} chosen")) is not None}
    lacking = [b for b in range(n) if b not in found]
    for b, what in _chosen(source, job, lacking, moved, donors, progress, f"{label}: permuted sums"):
        store.put(f"permutation {b} chosen", what)
        found[b] = what
    for what in found.values():
        tally.add(what.pop("summary"))
    whole = [found[b] for b in range(n)]
    out: list[dict[str, Any]] = []
    with tqdm(total=n, desc=f"{label}: permuted", disable=not progress) as bar:
        for batch in _batches(whole, len(job.y) * source.dtype.itemsize):
            union = np.unique(np.concatenate([whole[b]["columns"].ravel() for b in batch]))
            held = None
            for b in batch:
                done = store.get(f"permutation {b}")
                if done is None:
                    if held is None:
                        held = kept_columns(
                            source, job, store, union, "permuted", progress, f"{label}: permuted columns"
                        )
                    done = _scored(_again(job, b, whole[b], donors), b, whole[b], held, union, store)
                    store.put(f"permutation {b}", done)
                for row, values in zip(done["models"], done["values"], strict=True):
                    out += [{"permutation": b, "model": str(row), "metric": str(m), "value": float(v)}
                            for m, v in zip(done["metrics"], values, strict=True)]  # fmt: skip
                bar.update()
    store.drop("permuted")
    return pd.DataFrame(out), tally.result()


def _batches(found: list[dict[str, Any]], column: int) -> Iterator[list[int]]:
    """Permutations whose columns are kept together: so many that their file stays small. What is finished does not count."""
    batch: list[int] = []
    union = np.empty(0, dtype=int)
    for b, what in enumerate(found):
        more = np.union1d(union, what["columns"].ravel())
        if batch and len(more) * column > _ON_DISK:
            yield batch
            batch, more = [], np.unique(what["columns"])
        batch.append(b)
        union = more
    if batch:
        yield batch


def _chosen(
    source: Source,
    job: Job,
    lacking: list[int],
    moved: np.ndarray,
    donors: tuple[Sums, Cells] | None,
    progress: bool,
    label: str,
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """What the screens and scalers of each permutation chose, in as few passes as memory allows."""
    if donors is not None:  # a permutation exchanges the classes of donors, and folds are of donors
        sums, cells = donors
        for b in tqdm(lacking, desc=label, disable=not progress or not lacking):
            other = permuted(job, b)
            held, kind = cells.fold.copy(), cells.kind.copy()
            rows = np.flatnonzero(cells.cell >= 0)
            held[cells.cell[rows]], kind[cells.cell[rows]] = other.fold[rows], other.y[rows]
            yield b, _what(other, sums, moved, Cells(cells.cell, held, kind)) | {"held": held, "kind": kind}
        return
    n, n_cells = len(job.y), job.n_folds * max(job.n_classes, 1)
    n_beside = (not job.n_classes) + (0 if job.covariates is None else job.covariates.shape[1])
    step = _VALUES // (n_cells * source.shape[1] * (1 + n_beside))
    step = max(min(_CODES // (n * (4 if job.n_classes else 12)), step), 1)
    for start in range(0, len(lacking), step):
        some = lacking[start : start + step]
        others = (permuted(job, b) for b in some)
        cells_of = [by_fold(other.y, other.fold, job.n_classes) for other in others]
        total = summed(source, job, cells_of, moved, progress, label)
        for i, (b, cells) in enumerate(zip(some, cells_of, strict=True)):
            yield b, _what(job, {name: value[i] for name, value in total.items()}, moved, cells)


def _what(job: Job, sums: Sums, moved: np.ndarray, cells: Cells) -> dict[str, np.ndarray]:
    made = fronts(job, sums, moved, cells)
    return {
        "columns": np.array([screen.get_support(indices=True) for screen, _ in made]),
        "mean": np.array([scaler.mean_ for _, scaler in made]),
        "variance": np.array([scaler.var_ for _, scaler in made]),
        "n": np.array([scaler.n_samples_seen_ for _, scaler in made]),
        "summary": summary([screen.statistic_ for screen, _ in made]),
    }


def _again(job: Job, number: int, what: dict[str, Any], donors: tuple[Sums, Cells] | None) -> Job:
    """The permuted job; where it is one of donors, from what is known of these."""
    if donors is None:
        return permuted(job, number)
    rows = np.flatnonzero(job.fold >= 0)
    y, fold = np.zeros_like(job.y), np.full(len(job.y), -1, dtype=job.fold.dtype)
    y[rows], fold[rows] = (what[name][donors[1].cell[rows]] for name in ("kind", "held"))
    return replace(job, y=y, fold=fold)


def _scored(
    job: Job, number: int, what: dict[str, Any], held: Any, union: np.ndarray, store: Store
) -> dict[str, np.ndarray]:
    """Every score of every model on one permuted target."""
    rows = np.flatnonzero(job.fold >= 0)
    score: Callable[..., dict[str, np.ndarray]] = regression_scores
    made = {c.name: np.full((len(job.y), *((job.n_classes,) if job.n_classes else ())), np.nan) for c in job.models}
    for fold in range(job.n_folds):
        scaler = scaler_of(what["mean"][fold], what["variance"][fold], int(what["n"][fold]))
        part = Part(held, np.searchsorted(union, what["columns"][fold]), scaler, job, fold)
        for candidate in job.models:
            seed = task_seed(job.seed, "permuted", number + 1, fold + 1, candidate.name)
            whole, _ = fitted(part, candidate, store, seed)
            made[candidate.name][job.fold == fold] = part.predicted(whole.named_steps["model"])
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
