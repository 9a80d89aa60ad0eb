"""What R changes in the process that it runs in, and what is done about it. Imports nothing of rpy2."""

from __future__ import annotations

import locale
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_CATEGORIES = ("LC_COLLATE", "LC_TIME", "LC_MONETARY", "LC_MESSAGES", "LC_CTYPE")


def in_main_thread() -> bool:
    """Whether this is the thread that Python's signal handlers run in."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def kept_as_it_was() -> Iterator[None]:
    """Start R inside: SIGINT's handler, ``LD_LIBRARY_PATH`` and the locale are as before afterwards.

    rpy2 takes SIGINT over, and names R's libraries to child processes, which may then load another libpython than ours. R
    sets the whole process to the locale of the environment; Python's own start sets no more of it than the characters.
    """
    handler, libraries = signal.getsignal(signal.SIGINT), os.environ.get("LD_LIBRARY_PATH")
    places = {name: locale.setlocale(getattr(locale, name)) for name in _CATEGORIES if hasattr(locale, name)}
    try:
        yield
    finally:
        for name, place in places.items():
            locale.setlocale(getattr(locale, name), place)
        if handler is not None and in_main_thread():
            signal.signal(signal.SIGINT, handler)
        if libraries is None:
            os.environ.pop("LD_LIBRARY_PATH", None)
        else:
            os.environ["LD_LIBRARY_PATH"] = libraries


@contextmanager
def interruptible(tell_r: Callable[[], Any]) -> Iterator[None]:
    """Ctrl-C ends the R call inside, and arrives when R has unwound.

    While R computes, Python's handlers run inside rpy2's callbacks, where what they raise is lost. So the handler that is
    there is run, what it raises is kept and R is told; afterwards it is raised. Other threads get no signals.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not in_main_thread() or not callable(handler):
        yield
        return
    raised: list[BaseException] = []

    def note(number: int, frame: Any) -> None:
        try:
            handler(number, frame)
        except (KeyboardInterrupt, SystemExit, RuntimeError) as error:
            raised.append(error)
            tell_r()

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if raised:
            raise raised[0]


def held_while_forking(lock: Any) -> None:
    """No child is forked in the middle of a call, where it would find the lock taken for good and R half way."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)
