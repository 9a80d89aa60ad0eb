"""XGBoost trained by all workers of a cluster of dask together: for data that none of them holds.

Each worker reads pieces and keeps them quantised; a tree grows from the sums of all. Where a worker is lost, the training in
which it took part fails as a whole. It is then done again from the same pieces by the workers there are.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from operator import itemgetter
from typing import Any

import numpy as np

from .cluster import BACK, check_versions, spread
from .errors import GenemlError, GenemlWarning, InputError
from .streamed_trees import fitted_as, settings

_TRIES = 4
_PAUSE = 1.0  # seconds, until the scheduler knows who is gone
_WAIT = "30s"
_PATIENCE = 30.0  # seconds of waiting for others, until that is said
_MEET = 60  # seconds, for XGBoost's workers to find each other; without it, some would wait long for one that is gone


def fit_on_cluster(
    client: Any,
    model: Any,
    work: Callable[[Any, int, int], tuple[np.ndarray, ...]],
    shared: Any,
    pieces: Sequence[tuple[int, int, int]],
    n_columns: int,
    n_classes: int,
    weighted: bool = False,
) -> Any:
    """Fit an ``XGBClassifier`` or ``XGBRegressor`` by :mod:`xgboost.dask`.

    Parameters
    ----------
    client
        Of the cluster.
    model
        Unfitted.
    work, shared
        ``work(shared, start, stop)`` gives rows and target of a piece (and weights, of all pieces or none), where it is called: on a
        worker.
    pieces
        Start, stop and number of rows, at least one, of each.
    n_columns, n_classes
        Columns; 0 classes for regression.
    weighted
        Whether there are weights.

    Returns
    -------
    The model, fitted. With the same pieces the trees are those of one machine up to rounding (cut points are sketched over
    pieces, and merged over workers; a histogram is the sum of theirs).

    Raises
    ------
    InputError
        If the training fails again and again.
    WorkerError
        If there are no workers.
    """
    try:
        from xgboost import dask as together  # not an attribute of xgboost until it is imported
    except ImportError as error:
        raise InputError(
            f"xgboost.dask cannot be imported ({error}); it needs dask with data frames: pip install 'geneml-bio[dask]'"
        ) from error
    from distributed import KilledWorker
    from xgboost.core import XGBoostError

    # what xgboost.dask raises where a worker is gone: of its collective, of dask, and of its own checks
    lost = (XGBoostError, CancelledError, KilledWorker, OSError, TimeoutError, RuntimeError, ValueError, AssertionError)
    params, rounds, bins = settings(model, n_classes)
    for name in ("nthread", "n_jobs"):
        params.pop(name, None)  # each worker has its own
    bounded = _bounded()
    width = 1
    for attempt in range(_TRIES):
        workers = _workers(client, width)
        width = max(width, len(workers))
        try:
            with client.as_current():
                X, *rest = _pieces(client, workers, work, shared, pieces, n_columns, 2 + weighted)
                of = dict(zip(("label", "weight"), rest, strict=False))
                data = together.DaskQuantileDMatrix(client, X, max_bin=bins, **of)
                _have_to_ourselves(client)
                booster = together.train(client, params, data, num_boost_round=rounds, **bounded)["booster"]
            return fitted_as(model, booster)
        except (GenemlError, FileNotFoundError) as error:
            if isinstance(error, GenemlError):
                raise
            raise InputError(
                f"A worker of the cluster finds no {error.filename}: the checkpoint folder must be on a path that all see."
            ) from error
        except lost as error:
            if attempt == _TRIES - 1:
                raise InputError(
                    f"XGBoost's training on the cluster failed {_TRIES} times ({type(error).__name__}: {error})."
                ) from error
            time.sleep(_PAUSE)
    return None


def _bounded() -> dict[str, Any]:
    from xgboost import collective

    if not hasattr(collective, "Config"):  # before XGBoost 3.0
        return {}
    return {"coll_cfg": collective.Config(tracker_timeout=_MEET)}


def _have_to_ourselves(client: Any) -> None:
    """Wait until nobody else trains on the cluster.

    xgboost.dask has one training at a time, by a lock of the workers. Where the client that has it was killed, it would be waited for
    for ever.
    """
    start, told = time.monotonic(), False
    while client.run_on_scheduler(_taken, mine=client.id):
        if not told and time.monotonic() - start > _PATIENCE:
            warnings.warn(
                "Another client of the cluster trains XGBoost; this one waits for it.", GenemlWarning, stacklevel=2
            )
            told = True
        time.sleep(_PAUSE)


def _taken(dask_scheduler: Any, mine: str) -> bool:
    """Whether another client has the workers, or waits for them; what clients have that are gone is taken from them."""
    workers, locks = dask_scheduler.workers, dask_scheduler.extensions["multi_locks"]
    of_workers = [who for who, names in locks.requests.items() if not names.isdisjoint(workers)]
    if not of_workers:
        return False
    # whoever trains wants tasks of its own; of this client none is being done now, unless by another thread
    others = (c for name, c in dask_scheduler.clients.items() if name not in (mine, "fire-and-forget"))
    at_work = (task for worker in workers.values() for task in worker.processing)
    if any(c.wants_what for c in others) or any(task.who_wants for task in at_work):
        return True
    for who in of_workers:
        locks.release(id=who)
    return False


def _names(dask_scheduler: Any) -> dict[str, Any]:
    return {address: worker.name for address, worker in dask_scheduler.workers.items()}


def _workers(client: Any, n: int) -> list[str]:
    """Addresses, in the order in which XGBoost ranks them; it is waited a while for as many as there were."""
    with suppress(TimeoutError):
        client.wait_for_workers(n, timeout=_WAIT)
    check_versions(client, BACK)
    known = client.run_on_scheduler(_names)
    return sorted(known, key=lambda address: f"[xgboost.dask-{known[address]}]:{address}")


def _pieces(
    client: Any,
    workers: list[str],
    work: Callable[..., Any],
    shared: Any,
    pieces: Sequence[Any],
    n_columns: int,
    n: int,
) -> Any:
    """Rows, target (and weights) as ``n`` dask arrays whose pieces lie evenly on the workers."""
    import dask.array as da
    from distributed import wait

    there = spread(client, shared)
    parts: list[list[Any]] = [[] for _ in range(n)]
    for i, (start, stop, _) in enumerate(pieces):
        where = {"workers": [workers[i * len(workers) // len(pieces)]], "allow_other_workers": True, "pure": False}
        whole = client.submit(work, there, start, stop, **where)
        for k in range(n):
            parts[k].append(client.submit(itemgetter(k), whole, **where))
    wait([future for part in parts for future in part])
    for future in parts[0]:
        if future.status == "error":
            raise future.exception()
    shapes = [(size, n_columns) for _, _, size in pieces], [(size,) for _, _, size in pieces]
    return [
        da.concatenate([da.from_delayed(f, shape, np.float32) for f, shape in zip(part, shapes[k > 0], strict=True)])
        for k, part in enumerate(parts)
    ]
