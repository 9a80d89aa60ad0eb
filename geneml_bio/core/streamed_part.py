"""What streamed work is done on: the job, where its data are and its results are kept, and the part of one fold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from .baseline import WITH_GENES
from .cluster import cluster, in_order
from .fitting import predict_fitted
from .models import Candidate, task_seed
from .streamed_linear import Each, each_of
from .streamed_sums import Rows, columns_of


class Source(Protocol):
    """Expression, samples x genes, that is read by rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Samples, genes."""

    @property
    def dtype(self) -> np.dtype:
        """Of the values: float32 or float64."""

    def read(self, start: int, stop: int) -> Any:
        """Rows as a dense array or CSR."""

    def remote(self) -> Any:
        """What reads the same on another machine; None where it cannot."""


class Store(Protocol):
    """Where finished pieces of work are kept."""

    def get(self, name: str) -> dict[str, Any] | None:
        """What was put under a name, or None."""

    def put(self, name: str, value: Mapping[str, Any]) -> None:
        """Keep arrays and fitted pipelines."""

    def fill(self, name: str, parts: Iterable[np.ndarray]) -> int:
        """Keep an array that comes by rows; its checksum."""

    def checksum(self, name: str) -> int | None:
        """Of such an array as it is now; None where it is not there."""

    def drop(self, name: str) -> None:
        """Remove such an array, if it is there."""

    def reader(self, name: str, shape: tuple[int, int], dtype: np.dtype) -> Any:
        """What gives rows of such an array when sliced, here and on other machines."""

    def scratch(self) -> str:
        """A place for files of XGBoost, without its end."""


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be done.

    Parameters
    ----------
    y
        Class codes, or numbers, one a row.
    fold
        In which fold each row is held out; -1: the row takes no part in the cross-validation.
    n_classes
        0 for regression.
    groups
        Codes of donors, or None.
    screen
        How many genes each fold keeps; None: all.
    models
        Candidates that can learn from pieces (:func:`check_models`).
    tune
        Whether to search hyperparameters, on at most 20,000 training rows, with the fold's genes.
    seed, chunk_size, n_jobs
        Of all that is random; rows read at a time; threads of XGBoost.
    test
        Rows of the test set (boolean), or None; they are in no fold.
    class_weight
        ``"balanced"``, class code -> weight, or None.
    covariates
        Rows x columns of numbers that the screens adjust for, or None.
    batch
        Within which targets are permuted; or None.
    calibrate
        ``"sigmoid"``, ``"isotonic"``, or None.
    sample
        Rows (increasing) on which hyperparameters are searched.
    kind, run
        ``"true"``, ``"test"`` or ``"permuted"``; which repeat, or permutation: parts of its seeds.
    """

    y: np.ndarray
    fold: np.ndarray
    n_classes: int
    groups: np.ndarray | None
    screen: int | None
    models: Sequence[Candidate]
    tune: bool
    seed: int
    chunk_size: int
    n_jobs: int
    test: np.ndarray | None = None
    class_weight: Any = None
    covariates: np.ndarray | None = None
    batch: np.ndarray | None = None
    calibrate: str | None = None
    sample: np.ndarray | None = None
    kind: str = "true"
    run: int = 0

    def seed_of(self, fold: int, name: str) -> int:
        """Of one model of one training part, or of the baselines."""
        kind, fold = ("baseline" if name == WITH_GENES else self.kind), -1 if self.kind == "test" else fold
        return task_seed(self.seed, *((kind, self.run + 1, fold + 1) + (() if kind == "baseline" else (name,))))

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return int(self.fold.max()) + 1

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "classification" if self.n_classes else "regression"

    def spans(self, progress: bool = False, label: str = "") -> Iterator[tuple[int, int]]:
        """Starts and ends of the pieces."""
        starts = range(0, len(self.y), self.chunk_size)
        for start in tqdm(starts, desc=label, disable=not progress):
            yield start, min(start + self.chunk_size, len(self.y))


@dataclass(frozen=True, eq=False)
class Inner:
    """Inner folds of a training part, and what the screens of their training parts chose.

    Parameters
    ----------
    held
        Gives rows when sliced.
    fold
        In which inner fold each of these rows is held out; -1: it takes no part.
    columns, scalers
        Of each inner fold: positions in what is held, and (where models are fitted to all rows) the scaler.
    """

    held: Any
    fold: np.ndarray
    columns: list[np.ndarray]
    scalers: list[StandardScaler]


@dataclass(frozen=True, eq=False)
class Part:
    """The training and held-out rows of one fold, in the columns that its screen chose (positions in what is held)."""

    held: Any  # gives rows when sliced, here and on other machines
    columns: np.ndarray
    scaler: StandardScaler
    job: Job
    fold: int
    weights: np.ndarray | None = None  # of each class
    beside: np.ndarray | None = None  # rows x columns that stand after those of the genes
    tried: Inner | None = None  # for hyperparameters, in rows of the sample
    calibrated: Inner | None = None

    def learned(self) -> np.ndarray:
        """Positions of the training rows."""
        return np.flatnonzero((self.job.fold >= 0) & (self.job.fold != self.fold))

    def sizes(self) -> Iterator[tuple[int, int, int]]:
        """Start and end of each piece, and how many training rows it has."""
        for start, stop in self.job.spans():
            fold = self.job.fold[start:stop]
            yield start, stop, int(((fold >= 0) & (fold != self.fold)).sum())

    def piece(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Training rows among some, standardised, with their target."""
        fold = self.job.fold[start:stop]
        rows = np.flatnonzero((fold >= 0) & (fold != self.fold))
        return self._standardised(start, stop, rows), self.job.y[start:stop][rows]

    def _standardised(self, start: int, stop: int, rows: np.ndarray) -> np.ndarray:
        Z = self.scaler.transform(self.held[start:stop][np.ix_(rows, self.columns)])
        return Z if self.beside is None else np.hstack([Z, self.beside[start:stop][rows]])

    def pieces(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Training rows, standardised, with their target."""
        for start, stop, size in self.sizes():
            if size:
                yield self.piece(start, stop)

    def remote(self) -> Part:
        """The same for workers that read the columns themselves."""
        few = replace(self.job, models=(), groups=None, covariates=None, batch=None, sample=None)
        return replace(self, job=few, tried=None, calibrated=None)

    def each(self, client: Any) -> Each:
        """Work on the pieces, here or by the workers of a cluster."""
        if client is None:
            return each_of(self.pieces)
        shared, spans = self.remote(), [piece[:2] for piece in self.sizes() if piece[2]]
        return lambda work, *more: in_order(client, _on_piece, shared, [(*span, work, *more) for span in spans])

    def held_out(self) -> Iterator[np.ndarray]:
        """The held-out rows, standardised, in their order."""
        for start, stop in self.job.spans():
            rows = np.flatnonzero(self.job.fold[start:stop] == self.fold)
            if len(rows):
                yield self._standardised(start, stop, rows)

    def predicted(self, model: BaseEstimator) -> np.ndarray:
        """What a model says of the held-out rows, in their order."""
        return np.concatenate([predict_fitted(model, Z, self.job.n_classes) for Z in self.held_out()])


def rows_of(part: Part, start: int, stop: int) -> tuple[np.ndarray, ...]:
    """A piece as XGBoost takes it: rows, target, and weights where there are some."""
    Z, y = part.piece(start, stop)
    given = () if part.weights is None else (part.weights[y].astype(np.float32),)
    return np.asarray(Z, dtype=np.float32), np.asarray(y, dtype=np.float32), *given


def _on_piece(part: Part, start: int, stop: int, work: Callable[..., Any], *more: Any) -> Any:
    return work(*part.piece(start, stop), *more)


def passed(
    work: Callable[..., Any], of: Any, job: Job, more: tuple[Any, ...], progress: bool, label: str
) -> Iterator[Any]:
    """A pass over the pieces, in order: by the workers of the cluster where they can read the source.

    ``of``: a function that makes what the work is given (:class:`Pass`) of a source.
    """
    source, make = of
    client, remote = cluster(), source.remote()
    if client is not None and remote is not None:
        calls = [(*span, *more) for span in job.spans()]
        made = in_order(client, work, make(remote), calls)
        yield from tqdm(made, total=len(calls), desc=label, disable=not progress)
        return
    here = make(source)
    yield from (work(here, *span, *more) for span in job.spans(progress, label))


def kept_columns(
    source: Source,
    job: Job,
    store: Store,
    union: np.ndarray,
    name: str,
    progress: bool,
    label: str,
    which: np.ndarray | None = None,
) -> Any:
    """The chosen columns of every row (or of some: increasing positions), dense, in a file: what gives rows of it.

    One pass over the data, unless it is there.
    """
    shape = (len(job.y) if which is None else len(which), len(union))
    done = store.get(name)
    if done is None or not np.array_equal(done["union"], union) or int(done["sum"]) != store.checksum(name):
        store.put(name, {"union": np.empty(0, dtype=int), "sum": 0})  # what is there goes

        def make(place: Any) -> Rows:
            return Rows(place, which)

        parts = passed(columns_of, (source, make), job, (union,), progress, label)
        total = store.fill(name, (part.astype(source.dtype, copy=False) for part in parts))
        store.put(name, {"union": union, "sum": total})
    return store.reader(name, shape, source.dtype)
