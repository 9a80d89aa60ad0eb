"""Units of work by processes of this machine: in order, and done again where a process was killed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import joblib
from joblib.externals.loky import get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from .errors import WorkerError

_TRIES = 3


def in_processes(work: Callable[..., Any], calls: Iterable[tuple[Any, ...]], n: int) -> Iterator[Any]:
    """``work(*call)`` of every call, in order, by ``n`` processes that share large arrays; some calls are ahead of what is asked for.

    Where a process is killed (by the system, if memory ends), what was not finished is done again by new ones. Ctrl-C ends them.

    Raises
    ------
    WorkerError
        If processes are killed three times before another call is finished.
    """
    handed: deque[tuple[Any, ...]] = deque()

    def new() -> Iterator[tuple[Any, ...]]:
        for call in rest:
            handed.append(call)
            yield call

    rest, lost = iter(calls), 0
    while True:
        given = (joblib.delayed(work)(*call) for call in chain(tuple(handed), new()))
        try:
            for result in joblib.Parallel(n_jobs=n, return_as="generator", max_nbytes="1M")(given):
                handed.popleft()
                lost = 0
                yield result
            return
        except TerminatedWorkerError as error:
            lost += 1
            if lost == _TRIES:
                raise WorkerError(
                    f"A worker process was killed {_TRIES} times at the same work, most likely because memory ended: {n} workers "
                    "were asked for. Use fewer (n_jobs=1: none) or a machine with more memory."
                ) from error
        except KeyboardInterrupt:
            get_reusable_executor().shutdown(wait=False, kill_workers=True)
            raise
