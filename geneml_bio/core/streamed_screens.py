"""Screens and scalers of many training parts: from sums by donor where these serve all of them, else from shared passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from sklearn.preprocessing import StandardScaler

from .screen import ModeratedScreen
from .streamed_front import Cells, Front, beside, by_donor, by_fold, front, scaler_of, shift, summed
from .streamed_part import Job, Source, Store
from .streamed_sums import Sums

_CODES = 1 << 28  # bytes that cells and targets of one pass may have
_VALUES = 1 << 22  # partitions x cells x genes of one pass
INNER = 3  # inner folds, at most


class Ask(NamedTuple):
    """Screens of training parts of a job, each of which leaves out one of its folds (-1: none)."""

    job: Job
    left_out: Sequence[int]
    sampled: bool = False  # whether the rows that take part are those of the sample


@dataclass(frozen=True, eq=False)
class Known:
    """What is taken from each gene; where donors serve every fold and permuted target, sums of each: of all rows, of the sample."""

    shift: np.ndarray
    all: tuple[Cells, Sums] | None = None
    some: tuple[Cells, Sums] | None = None


def first_pass(source: Source, job: Job, store: Store, progress: bool, label: str) -> Known:
    """What is known before any screen.

    Raises
    ------
    DesignError
        If covariates determine the target in a training part; before the data are read.
    """
    n_beside = 0 if job.covariates is None else job.covariates.shape[1]
    donors = by_donor(job.groups, job.y, job.fold, job.n_classes, source.shape[1] * (1 + n_beside))
    cells = [] if donors is None else [donors]
    if donors is not None and job.sample is not None and len(job.sample) < (donors.cell >= 0).sum():
        there = np.zeros(len(donors.cell), dtype=bool)
        there[job.sample] = True
        cells.append(replace(donors, cell=np.where(there, donors.cell, -1)))
    stored = store.get("sums")
    if stored is None:
        if job.covariates is not None:
            of = by_fold(job.y, job.fold, job.n_classes)
            for fold in range(job.n_folds):
                beside(job, of, of.fold != fold)
        moved = shift(source, job)
        made = summed(source, job, cells, moved, progress, label) if cells else []
        stored = {"shift": moved} | {
            f"{i} {name}": value for i, part in enumerate(made) for name, value in part.items()
        }
        store.put("sums", stored)
    parts = [
        (part, {key.partition(" ")[2]: value for key, value in stored.items() if key.startswith(f"{i} ")})
        for i, part in enumerate(cells)
    ]
    return Known(stored["shift"], *([parts[0], parts[-1]] if parts else []))


def screened(
    source: Source, job: Job, asks: Iterable[Ask], known: Known, progress: bool, label: str
) -> Iterator[list[Front]]:
    """The screens and scalers of each ask, in order, in as few passes over the data as memory allows.

    Parameters
    ----------
    source, job
        The data; the job of which those of the asks are variants.
    asks
        Taken one after the other, as they are needed.
    known
        From :func:`first_pass`.
    """
    if known.all is not None and known.some is not None:
        for ask in asks:
            cells, sums = known.some if ask.sampled else known.all
            yield _fronts(job, of_job(cells, ask.job), sums, known.shift, ask.left_out)
        return
    n_beside = (not job.n_classes) + (0 if job.covariates is None else job.covariates.shape[1])
    n_cells = max(job.n_folds, INNER) * max(job.n_classes, 1)
    step = min(_CODES // (len(job.y) * (4 if job.n_classes else 12)),
               _VALUES // (n_cells * source.shape[1] * (1 + n_beside)))  # fmt: skip
    left = iter(asks)
    while True:
        cells_of, left_out = [], []
        for ask in islice(left, max(step, 1)):  # of its job only the cells stay
            cells_of.append(by_fold(ask.job.y, ask.job.fold, job.n_classes))
            left_out.append(ask.left_out)
        if not cells_of:
            return
        made = summed(source, job, cells_of, known.shift, progress, label)
        for cells, sums, out in zip(cells_of, made, left_out, strict=True):
            yield _fronts(job, cells, sums, known.shift, out)


def _fronts(job: Job, cells: Cells, sums: Sums, moved: np.ndarray, left_out: Sequence[int]) -> list[Front]:
    return [front(job, sums, moved, cells, (cells.fold >= 0) & (cells.fold != fold)) for fold in left_out]


def of_job(donors: Cells, job: Job) -> Cells:
    """Donors with the folds and the classes that they have in a job."""
    held, kind = np.full(len(donors.fold), -1), donors.kind.copy()
    rows = np.flatnonzero((donors.cell >= 0) & (job.fold >= 0))
    held[donors.cell[rows]], kind[donors.cell[rows]] = job.fold[rows], job.y[rows]
    return Cells(donors.cell, held, kind)


def packed(made: Sequence[Front], whole: bool = False) -> dict[str, np.ndarray]:
    """Screens and scalers as arrays; ``whole``: with the statistics of all genes."""
    out = {
        "columns": np.array([one.columns for one in made]),
        "mean": np.array([one.scaler.mean_ for one in made]),
        "variance": np.array([one.scaler.var_ for one in made]),
        "n": np.array([one.scaler.n_samples_seen_ for one in made]),
    }
    if whole:
        for name in ("statistic_", "df_prior_", "s2_prior_"):
            out[name] = np.array([getattr(one.screen, name) for one in made])
    return out


def scaler_at(what: dict[str, Any], place: int) -> StandardScaler:
    """A scaler of those that were packed."""
    return scaler_of(what["mean"][place], what["variance"][place], int(what["n"][place]))


def unpacked(job: Job, what: dict[str, Any]) -> list[Front]:
    """Screens and scalers from arrays that hold all of them."""
    out = []
    for i, statistic in enumerate(what["statistic_"]):
        screen = ModeratedScreen("all" if job.screen is None else min(job.screen, len(statistic)), task=job.task)
        screen.statistic_, screen.n_features_in_ = statistic, len(statistic)
        screen.df_prior_, screen.s2_prior_ = float(what["df_prior_"][i]), float(what["s2_prior_"][i])
        out.append(Front(screen, scaler_at(what, i)))
    return out
