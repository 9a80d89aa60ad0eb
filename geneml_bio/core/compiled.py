"""Functions compiled by numba. Importing this module imports numba (a second): do so where a function is needed."""

from __future__ import annotations

from typing import Any

from numba import njit


def compiled(function: Any) -> Any:
    """By numba, kept on disk where it can be; the first call of a new installation compiles (seconds)."""
    try:
        return njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(nogil=True, error_model="numpy")(function)
