"""Units of work by this process and others, or a thread, beside it: in order, and done again where a process was killed."""

from __future__ import annotations

import shutil
import signal
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from threading import Thread
from typing import Any

import joblib
from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor
from joblib.externals.loky.backend import resource_tracker

from .errors import GenemlError, WorkerError
from .threads import cover, one_thread

_TRIES = 3
_HANDED = 3  # calls that a process has before it: this one sees to the others only between its own
_AHEAD = 64  # calls that are finished or begun before the first of them is finished
_ONE_THREAD = {
    f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "VECLIB_MAXIMUM", "NUMEXPR", "NUMBA")
}


class TemporaryFolder:
    """A temporary folder, at ``name``, that goes when it is not needed, and also where this process is killed.

    loky's tracker of resources, a process of its own, sees to the latter.
    """

    def __init__(self) -> None:
        self.name = tempfile.mkdtemp(prefix="geneml-bio-")
        resource_tracker.register(self.name, "folder")
        self.cleanup = weakref.finalize(self, _removed, self.name)


def _removed(folder: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    resource_tracker.unregister(folder, "folder")


class Shared:
    """A large array or sparse matrix that other processes map from a file, written when it is first sent to one."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self._folder: TemporaryFolder | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self._folder is None:
            self._folder = TemporaryFolder()
            joblib.dump(self.value, f"{self._folder.name}/value")
        return _opened, (f"{self._folder.name}/value",)

    def __enter__(self) -> Shared:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


@lru_cache(maxsize=1)
def _opened(path: str) -> Shared:
    return Shared(joblib.load(path, mmap_mode="r"))


@dataclass(eq=False)
class _Call:
    """Arguments, and what becomes of them (None: nobody has them yet); ``sent``: to another process."""

    arguments: tuple[Any, ...]
    outcome: Future[Any] | None = None
    sent: bool = False

    @property
    def finished(self) -> bool:
        return self.outcome is not None and self.outcome.done()


def by_workers(
    work: Callable[..., Any], calls: Iterable[tuple[Any, ...]], n: int, *, threads: bool = False
) -> Iterator[Any]:
    """``work(*call)`` of every call, in order, by this process and ``n - 1`` others (or threads) beside it, which end with the work.

    The others have one thread of BLAS and OpenMP (beside threads, so has this process). What is :class:`Shared` arrives as its value.
    Some calls are ahead of what is asked for. Where a process is killed (by the system, if memory ends), what was not finished is
    done again by a new one. A thread cannot be stopped: the end waits for its call.

    Raises
    ------
    WorkerError
        If processes are killed three times before one of them finishes a call.
    """
    n = joblib.effective_n_jobs(n)
    if n == 1:
        yield from (_values(work, call) for call in calls)
        return
    with one_thread() if threads else nullcontext():
        yield from _together(_Others(work, n - 1, threads), work, calls, n)


def _together(others: _Others, work: Callable[..., Any], calls: Iterable[tuple[Any, ...]], n: int) -> Iterator[Any]:
    waiting: deque[_Call] = deque()
    rest = iter(calls)

    def another() -> _Call | None:
        """The next call that nobody has."""
        lost = next((call for call in waiting if call.outcome is None), None)
        if lost is not None or len(waiting) >= _AHEAD + _HANDED * n or (new := next(rest, None)) is None:
            return lost
        waiting.append(_Call(new))
        return waiting[-1]

    try:
        while True:
            while others.free(waiting) and (call := another()) is not None:
                others.send(call)
            if not waiting:
                return
            if waiting[0].finished:
                if others.whole(waiting) and (done := waiting.popleft().outcome) is not None:
                    yield done.result()
            elif (call := another() or others.not_begun(waiting)) is not None:
                _do_here(work, call)
            else:
                others.wait(waiting[0])
    finally:
        others.end()


def _do_here(work: Callable[..., Any], call: _Call) -> None:
    """An error of ours is kept until its turn comes, so that the first of several is the one that is raised."""
    outcome: Future[Any] = Future()
    try:
        outcome.set_result(_values(work, call.arguments))
    except GenemlError as error:
        outcome.set_exception(error)
    call.arguments, call.outcome, call.sent = (), outcome, False


def _values(work: Callable[..., Any], call: tuple[Any, ...]) -> Any:
    return work(*(item.value if isinstance(item, Shared) else item for item in call))


def _elsewhere(work: Callable[..., Any], call: tuple[Any, ...]) -> Any:
    """In another process or thread: models that would start processes of their own take threads."""
    with joblib.parallel_config("threading"):
        return _values(work, call)


def _end_with(parent: Connection) -> None:
    """In another process: end when the one that has the other end of this pipe does, however it did."""
    Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: Connection) -> None:
    try:
        parent.recv()
    except (EOFError, OSError):
        signal.raise_signal(signal.SIGTERM)


class _Others:
    """The processes, or threads, beside this one."""

    def __init__(self, work: Callable[..., Any], n: int, threads: bool) -> None:
        self.work, self.n, self.threads = work, n, threads
        self.lost, self.started = 0, False
        # what this process alone holds is closed by the system when it ends
        self.theirs, self.ours = Pipe(duplex=False)
        self.executor = self._new()

    def _new(self) -> Executor:
        if self.threads:
            return ThreadPoolExecutor(self.n, initializer=cover)
        return ProcessPoolExecutor(self.n, env=_ONE_THREAD, initializer=_end_with, initargs=(self.theirs,))

    def free(self, waiting: Iterable[_Call]) -> bool:
        """Whether one of them may want another call. While they start they get one each, and this process goes on."""
        busy = sum(call.sent and not call.finished for call in waiting)
        return busy < self.n * (_HANDED if self.started else 1)

    def send(self, call: _Call) -> None:
        call.sent = True
        try:
            call.outcome = self.executor.submit(_elsewhere, self.work, call.arguments)
        except BrokenProcessPool as error:  # seen to when its turn comes
            call.outcome = Future()
            call.outcome.set_exception(error)

    def whole(self, waiting: Iterable[_Call]) -> bool:
        """Whether the first call, which is finished, was not lost; if it was, all that the processes had is open again."""
        first = next(iter(waiting))
        error = first.outcome.exception() if first.sent and first.outcome else None
        if not isinstance(error, BrokenProcessPool):
            self.lost, self.started = (0, True) if first.sent else (self.lost, self.started)
            return True
        self.lost += 1
        if self.lost == _TRIES:
            raise WorkerError(
                f"A worker process was killed {_TRIES} times at the same work, most likely because memory ended: {self.n} beside "
                "this one were asked for. Use fewer (n_jobs=1: none) or a machine with more memory."
            ) from error
        self._stop()
        self.executor, self.started = self._new(), False
        for call in waiting:
            if call.sent and call.outcome and not (call.finished and call.outcome.exception() is None):
                call.outcome, call.sent = None, False
        return False

    def not_begun(self, waiting: deque[_Call]) -> _Call | None:
        """The last call that none of them can have begun, or None."""
        left = [call for call in waiting if not call.finished]
        return left[-1] if len(left) > self.n else None

    def wait(self, call: _Call) -> None:
        if call.outcome is not None:
            call.outcome.exception()

    def _stop(self) -> None:
        if isinstance(self.executor, ProcessPoolExecutor):
            self.executor.shutdown(wait=True, kill_workers=True)
        else:
            self.executor.shutdown(cancel_futures=True)

    def end(self) -> None:
        self._stop()
        self.theirs.close()
        self.ours.close()
