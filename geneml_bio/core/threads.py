"""Two threads or more over pieces of one array, and what BLAS may use meanwhile."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from threading import RLock
from typing import Any

from joblib import cpu_count
from threadpoolctl import ThreadpoolController

_PARALLEL = 1 << 22  # values from which a second thread is worth its start
_WITHIN = RLock()  # of the thread that is within one_thread()
_COVERED: ContextVar[bool] = ContextVar("works for a thread that is within one_thread()", default=False)


@lru_cache(maxsize=1)
def _pools(n_modules: int) -> ThreadpoolController:
    return ThreadpoolController()  # looks for the libraries of this process, which takes as long as a fit


def _pools_now() -> ThreadpoolController:
    return _pools(len(sys.modules))  # a new module may have brought a library


@contextmanager
def one_thread() -> Iterator[None]:
    """Within, BLAS and OpenMP use one thread.

    What BLAS may use belongs to the process: threads (a worker of dask can have several) come in one after the other. Else
    the first to leave would give more threads to those still within, and the last would put back what it found: one. What OpenMP may
    use belongs to a thread: one that works for another that is within (:func:`cover`) sets its own.
    """
    if _COVERED.get():
        with _pools_now().limit(limits=1, user_api="openmp"):
            yield
        return
    with _WITHIN, _pools_now().limit(limits=1):
        yield


def cover() -> None:
    """Say in a new thread that the one it works for is within :func:`one_thread` as long as it lives."""
    _COVERED.set(True)


@lru_cache(maxsize=1)
def _cores() -> int:
    return cpu_count()  # reads the limits of a container from files


@lru_cache
def _beside(n: int) -> ThreadPoolExecutor:
    """Threads that stay and wait: to start one takes as long as a fit."""
    return ThreadPoolExecutor(n)


def in_threads(work: Callable[[int], Any], pieces: Sequence[int], size: int) -> None:
    """Do ``work`` on each piece, by as many threads as BLAS may use if there is much of it; the numbers do not depend on how many.

    This thread works too, and waits for no other that has not begun: one that wakes late (or, in a forked process, never) costs nothing.
    """
    workers = 1
    if size >= _PARALLEL and len(pieces) > 1:
        pools = _pools_now().info()
        workers = max((pool["num_threads"] for pool in pools if pool["user_api"] == "blas"), default=1)
        workers = min(workers, _cores(), len(pieces))
    if workers == 1:
        for piece in pieces:
            work(piece)
        return
    left = deque(pieces)

    def some() -> None:
        while left:
            try:
                piece = left.popleft()
            except IndexError:  # another took the last one
                return
            work(piece)

    with one_thread():
        others = [_beside(workers - 1).submit(some) for _ in range(workers - 1)]
        try:
            some()
        finally:
            left.clear()  # after an error
            for other in others:
                if not other.cancel():
                    other.result()
