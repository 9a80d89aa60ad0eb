"""What a file may claim that no bytes of it bear out: sequences told by their ends, repeats, rows and columns without names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..core.errors import TableError

UNBACKED = 20_000_000  # elements, of all that is read from one source
TEXT = 2  # what a text weighs beside a number; a row or column that must be numbered is one
COLUMN = 100  # and a column of a table

_left: ContextVar[list[int] | None] = ContextVar("_left", default=None)


@contextmanager
def bounded(anew: bool = False) -> Iterator[None]:
    """One budget for what is read inside; an outer one goes on, unless a new one is asked for."""
    if _left.get() is not None and not anew:
        yield
        return
    token = _left.set([UNBACKED])
    try:
        yield
    finally:
        _left.reset(token)


def spend(n: float, what: str, weight: int = 1) -> None:
    """Take ``n`` elements from the budget before they are made.

    Raises
    ------
    TableError
        If there are not as many left; ``what`` says what they are.
    """
    left = _left.get()
    if not 0 <= n * weight <= (UNBACKED if left is None else left[0]):
        raise TableError(
            f"{n:.0f} {what} are claimed, more than is made of a few bytes: the file is damaged, or it holds more than a "
            "table or a matrix. Save only that, in R."
        )
    if left is not None:
        left[0] -= int(n) * weight
