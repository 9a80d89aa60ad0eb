"""Units of work on a cluster of dask: in order, and done again where a worker was lost.

A unit depends on nothing but its arguments, so that where and how often it runs changes nothing. The matrix is sent to the
cluster once; if every worker that held it is gone, it is sent again.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from .errors import GenemlError, InputError, WorkerError

_CLIENT: ContextVar[Any] = ContextVar("client", default=None)
_TRIES, _PAUSE = 5, 1.0
_WAIT, BACK = "15s", "90s"  # for workers to be there, and to come again: a new process imports everything first
_ANSWER = 8.0  # seconds in which a scheduler says that it is one
_ADDRESS = re.compile(r"\w+://\S+|[\w.\-]+:\d+")
_ALIKE = ("geneml_bio", "numpy", "scipy", "pandas", "sklearn", "xgboost")  # what numbers depend on


@contextmanager
def on_backend(backend: Any) -> Iterator[None]:
    """Within, :func:`geneml_bio.core.units.run_all` uses this cluster, whose workers have the versions that are here.

    Parameters
    ----------
    backend
        None: processes of this machine. ``"dask"``: the client that there is (``dask.distributed.Client``). The address of a
        scheduler (``"tcp://host:8786"``), or a client.

    Raises
    ------
    InputError
        If dask is not installed, there is no client, or nobody answers at the address.
    WorkerError
        If there are no workers; if one has other versions.
    """
    if backend is None:
        yield
        return
    try:
        from distributed import Client, default_client
    except ImportError as error:
        raise InputError(f"backend={backend!r} needs dask: pip install 'geneml-bio[dask]'") from error
    own = None
    if isinstance(backend, Client):
        client = backend
    elif backend == "dask":
        try:
            client = default_client()
        except ValueError as error:
            raise InputError(
                "backend='dask' uses the client that there is, and there is none. Make one first: "
                "dask.distributed.Client('tcp://host:8786'); or give the address itself as backend=."
            ) from error
    elif isinstance(backend, str) and _ADDRESS.fullmatch(backend):
        try:
            _greeted(backend)
            client = own = Client(backend, timeout=_WAIT, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                f"backend={backend!r}: no scheduler of dask answers there ({error or type(error).__name__}). Expected is the address that "
                "`dask scheduler` prints when it starts, such as 'tcp://host:8786'."
            ) from error
    else:
        raise InputError(
            f"backend must be None, 'dask', an address such as 'tcp://host:8786', or a client; got {backend!r}."
        )
    token = _CLIENT.set(client)
    try:
        check_versions(client)
        yield
    finally:
        _CLIENT.reset(token)
        if own is not None:
            own.close()


def cluster() -> Any:
    """The client within :func:`on_backend`, or None."""
    return _CLIENT.get()


def _greeted(address: str) -> None:
    """Whether a scheduler is there: a client would wait for ever where something else listens, and complain later where it cannot be."""
    from distributed.comm import connect
    from distributed.security import Security

    async def ask() -> None:
        comm = await connect(address, timeout=_ANSWER, **Security().get_connection_args("client"))
        comm.abort()

    if address.startswith("inproc:"):  # of this process: another loop does not reach it
        return
    with ThreadPoolExecutor(1) as own:  # a notebook runs a loop in this thread
        own.submit(lambda: asyncio.run(asyncio.wait_for(ask(), _ANSWER + 1))).result()


def _asking() -> Callable[[], dict[str, str]]:
    """What tells the versions of where it is called; it is sent as it is, so that it works where this package is another one."""
    names = _ALIKE

    def versions() -> dict[str, str]:
        import sys
        from importlib import import_module

        found = {"Python": f"{sys.version_info[0]}.{sys.version_info[1]}"}
        for name in names:
            try:
                found[name] = str(import_module(name).__version__)
            except ImportError:
                found[name] = "none"
        return found

    return versions


def versions() -> dict[str, str]:
    """Versions of Python and of the packages on which numbers depend."""
    return _asking()()


def check_versions(client: Any, timeout: str | None = None) -> None:
    """Refuse workers that could give other numbers: with another version of Python or of a package than here.

    Parameters
    ----------
    client, timeout
        Of the cluster; how long to wait for a worker.

    Raises
    ------
    WorkerError
        It names the workers, the package and both versions; or if there is no worker.
    """
    _some_workers(client, timeout or _WAIT)
    told = client.run(_asking(), on_error="return")
    for address, found in sorted(told.items()):
        if isinstance(found, dict):  # else it was lost just now
            _compared(address, found, versions())


def _some_workers(client: Any, timeout: str) -> None:
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError as error:
        raise WorkerError(
            f"The cluster has no workers (waited for {timeout}). Start some: dask worker --nthreads 1 {client.scheduler.address}"
        ) from error


def _compared(address: str, there: dict[str, str], here: dict[str, str]) -> None:
    other = [f"{name} {there[name]} (here: {version})" for name, version in here.items() if there[name] != version]
    if other:
        raise WorkerError(
            f"The worker {address} has {', '.join(other)}. Other versions can give other numbers: install there what is here, or here "
            "what is there, and start the worker again."
        )


def _alike(here: dict[str, str], work: Callable[..., Any], matrix: Any, *call: Any) -> Any:
    """Work on a worker, which may have come after all had been asked."""
    from distributed import get_worker

    _compared(get_worker().address, versions(), here)
    return work(matrix, *call)


def check_seen(client: Any, look: Callable[[], bool], what: str) -> None:
    """Ask every worker whether it sees a file.

    Parameters
    ----------
    client, look, what
        Of the cluster; done on each worker; its name, and what to do where it is not seen.

    Raises
    ------
    InputError, WorkerError
        Where one does not see it; where there is no worker.
    """
    _some_workers(client, _WAIT)
    told = client.run(look, on_error="return")
    for error in told.values():
        if isinstance(error, ImportError | AttributeError):
            raise InputError(
                f"The workers of the cluster lack what is needed ({error}): they need the same version of this package as here."
            ) from error
    blind = sorted(address for address, seen in told.items() if seen is False)  # an error: it was lost just now
    if blind:
        who = "1 worker" if len(blind) == 1 else f"{len(blind)} workers"
        not_seen = "does not see" if len(blind) == 1 else "do not see"
        raise InputError(f"{who} of the cluster ({', '.join(blind[:3])}) {not_seen} {what}.")


def spread(client: Any, what: Any) -> Any:
    """What all workers need, sent to one of them, from where the others copy it.

    (``scatter(broadcast=True)`` never ends where a worker dies meanwhile.)

    Raises
    ------
    WorkerError
        If there is no worker, or each dies when it is sent there.
    """
    from concurrent.futures import CancelledError

    from distributed import wait

    for attempt in range(_TRIES):
        _some_workers(client, BACK)
        try:
            held = client.scatter(what, hash=False)
            break
        except (OSError, TimeoutError) as error:
            if attempt == _TRIES - 1:
                raise WorkerError(
                    f"The cluster lost a worker {_TRIES} times when it was sent the data ({type(error).__name__}: {error})."
                ) from error
            time.sleep(_PAUSE)
    each = [client.submit(_nothing, held, workers=[w], allow_other_workers=True, pure=False) for w in client.ncores()]
    # what is lost now is sent again when it is needed
    with client.as_current(), suppress(CancelledError, TimeoutError):
        wait(each, timeout=BACK)
    return held


def _nothing(held: Any) -> None:
    """Done where something is to be held."""


def in_order(client: Any, work: Callable[..., Any], matrix: Any, calls: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
    """``work(matrix, *call)`` of every call, in order; some calls are ahead of what is asked for.

    Raises
    ------
    GenemlError
        As the work raises it.
    WorkerError
        If the cluster loses workers again and again, or has none.
    """
    sender = _Sender(client, work, matrix)
    waiting: deque[tuple[tuple[Any, ...], Any]] = deque()
    rest = iter(calls)
    try:
        while True:
            while len(waiting) < 2 * sender.width():
                call = next(rest, None)
                if call is None:
                    break
                waiting.append((call, sender.send(call)))
            if not waiting:
                return
            call, future = waiting.popleft()
            yield sender.result(call, future)
    finally:
        client.cancel([future for _, future in waiting])


class _Sender:
    """Sends calls, and the matrix they all need."""

    def __init__(self, client: Any, work: Callable[..., Any], matrix: Any) -> None:
        self.client, self.work, self.matrix, self.versions = client, work, matrix, versions()
        self.held: Any = None

    def width(self) -> int:
        return max(sum(self.client.ncores().values()), 1)

    def send(self, call: tuple[Any, ...]) -> Any:
        if self.held is None or self.held.status in ("cancelled", "lost", "error"):
            self.held = spread(self.client, self.matrix)
        return self.client.submit(_alike, self.versions, self.work, self.held, *call, pure=False, retries=_TRIES)

    def result(self, call: tuple[Any, ...], future: Any) -> Any:
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        for attempt in range(_TRIES):
            try:
                return future.result()
            except GenemlError:
                raise
            except (CancelledError, KilledWorker, OSError, TimeoutError) as error:
                if attempt == _TRIES - 1:
                    raise WorkerError(
                        f"The cluster lost the work {_TRIES} times ({type(error).__name__}: {error})."
                    ) from error
                self.held = None  # with the workers the matrix may be gone
                future = self.send(call)
        return None
