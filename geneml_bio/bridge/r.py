"""R: the only module that imports rpy2, and only when something is asked of R.

rpy2's low-level interface is used, whose conversions are explicit: no converter is activated or looked up, so that
calls work from any thread and nothing of the caller's own rpy2 set-up changes. One lock serialises them. The R
functions of the shipped ``.R`` files live in a private environment; R's global environment, search path and random
numbers stay as they are.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import InputError, RError, RNotAvailableError, RWarning
from . import r_process, r_setup
from .r_frames import build_frame

PACKAGES = ("limma", "edgeR", "Biobase", "ALL", "bladderbatch", "multtest", "statmod")
OPTIONAL = (
    "DESeq2",
    "SummarizedExperiment",
    "SingleCellExperiment",
    "Matrix",
    "org.Hs.eg.db",
)  # no fault where missing

_log = logging.getLogger("geneml_bio.r")
_lock = threading.RLock()
r_process.held_while_forking(_lock)
_session: _Session | None = None


class _Session:
    """R's interface module and the environment that holds the helpers."""

    def __init__(self) -> None:
        if os.name == "posix" and r_setup.r_binary() is None:
            raise RNotAvailableError(r_setup.explain(None))  # rpy2 would first write to stderr
        try:
            with r_process.kept_as_it_was(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="R is not initialized by the main thread")
                import rpy2.rinterface as ri

                ri.initr()
        except Exception as error:  # rpy2 fails with many types, ffi.error (a plain Exception) among them
            raise RNotAvailableError(r_setup.explain(error)) from error
        self.ri: Any = ri
        self.env: Any = ri.baseenv["new.env"](parent=ri.baseenv)
        code = Path(__file__).with_name("helpers.R").read_text(encoding="utf-8")
        ri.baseenv["eval"](ri.parse(code), self.env)
        fits = Path(__file__).with_name("limma.R").read_text(encoding="utf-8")
        ri.baseenv["eval"](ri.parse(fits), self.env)
        objects = Path(__file__).with_name("objects.R").read_text(encoding="utf-8")
        ri.baseenv["eval"](ri.parse(objects), self.env)
        annotation = Path(__file__).with_name("annotation.R").read_text(encoding="utf-8")
        ri.baseenv["eval"](ri.parse(annotation), self.env)
        self.guard = self.env["guard"]
        self.failure: Any = ri.embedded.RRuntimeError

    def interrupt(self, pending: bool = True) -> None:
        """Ask R to leave what it computes, or take that back."""
        library = self.ri.openrlib.rlib
        if os.name == "nt":
            library.UserBreak = int(pending)
        else:
            library.R_interrupts_pending = int(pending)


def _start() -> _Session:
    global _session
    with _lock:
        if _session is None:
            _session = _Session()
        return _session


def call(name: str, *args: Any, keep: bool = False, **kwargs: Any) -> Any:
    """Run a function of the shipped R files; its errors and warnings become ours, its messages go to the log.

    Parameters
    ----------
    name
        The function: one of ours, never a user's text.
    args, kwargs
        None, R objects, numeric arrays (in C order; of two dimensions: R's matrix, a row of ours as its column; int32 as R's
        integers), or one or a list of text, whole numbers, numbers, booleans; None in a list is NA.
    keep
        Return the R object, not its value.

    Raises
    ------
    RError
        With R's message.
    KeyboardInterrupt
        If Ctrl-C came while R computed; R is unwound and can be used again.
    """
    session = _start()
    with _lock:
        value, errors, warned, said = _called(session, name, args, kwargs, keep)
    for message in said:
        _log.info("R: %s", _readable(message))
    for message in warned:
        warnings.warn(f"R: {_readable(message)}", RWarning, stacklevel=3)
    if errors:
        raise RError(f"R: {_readable(errors[0])}")
    return value


def held() -> Any:
    """A context in which no other thread of ours is in R.

    R objects must also be let go in it, where other threads may be in R: leave the function that holds them inside.
    """
    return _lock


def _called(session: _Session, name: str, args: tuple, kwargs: dict[str, Any], keep: bool) -> tuple[Any, ...]:
    """Value, errors, warnings and messages; what else is R's is let go here, while the lock is held."""
    ri = session.ri
    given: list[tuple[str | None, Any]] = [(None, session.env[name])]
    given += [(None, _to_r(ri, arg)) for arg in args] + [(key, _to_r(ri, value)) for key, value in kwargs.items()]
    failed, result = "", None
    try:
        with r_process.interruptible(session.interrupt):
            result = session.guard.rcall(given, session.env)
    except session.failure as error:  # R unwound past the guard
        failed = str(error).strip() or "the call was abandoned, and R does not say why"
    finally:
        session.interrupt(False)  # it may have come as the call ended
    if result is None:
        return None, [failed], [], []
    errors, warned, said, interrupted = (_from_r(ri, result[i]) for i in range(1, 5))
    if interrupted:
        raise KeyboardInterrupt
    return None if errors else result[0] if keep else _from_r(ri, result[0]), errors, warned, said


def _readable(message: str) -> str:
    """R's text; where its locale has no UTF-8, R writes ``<U+00E9>``."""
    return re.sub(r"<U\+([0-9A-F]{4,8})>", lambda hit: chr(int(hit.group(1), 16)), message.strip())


def _to_r(ri: Any, value: Any) -> Any:
    if value is None:
        return ri.NULL
    if isinstance(value, ri.Sexp):
        return value
    if isinstance(value, np.ndarray):
        whole = value.dtype == np.int32  # R's integers, its NA among them
        flat: Any = np.ascontiguousarray(value, dtype=np.int32 if whole else np.float64).ravel()
        vector = (ri.IntSexpVector if whole else ri.FloatSexpVector).from_memoryview(memoryview(flat))
        if (
            value.ndim == 2
        ):  # here, as R's `dim(x) <-` wraps what others hold too, and each value is then reached through a call
            vector.do_slot_assign("dim", ri.IntSexpVector(value.shape[::-1]))
        return vector
    items = list(value) if isinstance(value, list | tuple | pd.Index) else [value]
    known = [item for item in items if item is not None]
    if all(isinstance(item, str) for item in known) and known:
        return ri.StrSexpVector([ri.NA_Character if item is None else _checked(item) for item in items])
    if all(isinstance(item, bool) for item in known):
        return ri.BoolSexpVector([ri.NA_Logical if item is None else item for item in items])
    if all(isinstance(item, int | np.integer) for item in known):
        return ri.IntSexpVector([ri.NA_Integer if item is None else int(item) for item in items])
    return ri.FloatSexpVector([np.nan if item is None else float(item) for item in items])


def _checked(text: str) -> str:
    """A text that R can hold: R's texts end at the first NUL, so that two names could become one."""
    try:
        whole = "\0" not in text and (text.isascii() or bool(text.encode()))
    except UnicodeEncodeError:  # half a surrogate pair
        whole = False
    if not whole:
        raise InputError(
            f"R cannot hold the text {text[:80]!r}: it has a NUL character or half a surrogate pair. Rename it."
        )
    return text


def _from_r(ri: Any, value: Any) -> Any:
    """NULL, text, numbers and lists of these; NA is None in text and NaN in numbers."""
    if value is ri.NULL or isinstance(value, type(ri.NULL)):
        return None
    if isinstance(value, ri.StrSexpVector):
        return [None if item is ri.NA_Character else str(item) for item in value]
    if isinstance(value, ri.ByteSexpVector):
        return np.asarray(value).tobytes() if len(value) else b""  # by its array interface: no element is touched
    if isinstance(value, ri.FloatSexpVector):
        return np.array(value.memoryview()) if len(value) else np.empty(0)
    if isinstance(value, ri.IntSexpVector):
        numbers = np.array(value.memoryview(), dtype=float) if len(value) else np.empty(0)
        return np.where(numbers == -(2.0**31), np.nan, numbers)
    if isinstance(value, ri.BoolSexpVector):
        return [None if item is ri.NA_Logical else bool(item) for item in value]
    if isinstance(value, ri.ListSexpVector):
        items = [_from_r(ri, item) for item in value]
        names = _from_r(ri, value.names)
        return dict(zip(names, items, strict=True)) if names else items
    raise RError(f"An R object of class {list(value.rclass)} was not expected here.")


# -- what is there -----------------------------------------------------------------------------------------------------


def limma_works() -> bool:
    """Whether R, limma and a fitting rpy2 are here (without a word if they are not)."""
    try:
        require("limma")
    except RNotAvailableError:
        return False
    return True


def _versions(packages: Sequence[str] = ()) -> dict[str, Any]:
    found = call("versions", list(packages or (*PACKAGES, *OPTIONAL)))
    return {
        "R": found["R"][0],
        "home": found["home"][0],
        "packages": {name: version[0] if version else None for name, version in found["packages"].items()},
    }


def require(*packages: str) -> dict[str, Any]:
    """Versions of R (``"R"``) and of packages that must be here (``"packages"``).

    Raises
    ------
    RNotAvailableError
        If one is missing, with the fix.
    """
    found = _versions(packages)
    for name in packages:
        if found["packages"][name] is None:
            raise RNotAvailableError(f"R {found['R']} has no package {name}. {r_setup.package_fix(name)}")
    return found


def status() -> dict[str, Any]:
    """What works of R, and how to mend what does not.

    Returns
    -------
    dict
        ``python``, ``r`` (version), ``r_home``, ``rpy2``, ``packages`` (name -> version or None), ``works`` (R with
        limma), ``problems`` (list of texts, each with its fix).
    """
    report: dict[str, Any] = {"python": sys.version.split()[0], "r": r_setup.r_version(), "r_home": None}
    report |= {
        "rpy2": r_setup.rpy2_versions(),
        "packages": dict.fromkeys((*PACKAGES, *OPTIONAL)),
        "works": False,
        "problems": [],
    }
    try:
        found = _versions()
    except RNotAvailableError as error:
        report["problems"].append(str(error))
        return report
    report |= {"r": found["R"], "r_home": found["home"], "packages": found["packages"]}
    report["works"] = found["packages"]["limma"] is not None
    lacking = [name for name in PACKAGES if found["packages"][name] is None]
    if lacking:
        report["problems"].append(f"R {found['R']} has no {', '.join(lacking)}. {r_setup.package_fix(*lacking)}")
    return report


# -- objects of the caller ---------------------------------------------------------------------------------------------


def is_r_object(obj: object) -> bool:
    """Whether ``obj`` is a live R object of rpy2 (asked without importing rpy2)."""
    module = sys.modules.get("rpy2.rinterface_lib.sexp")
    return module is not None and isinstance(obj, module.Sexp)


def r_class(obj: Any) -> list[str]:
    """R's ``class()`` of an R object."""
    with _lock:
        return [str(name) for name in obj.rclass]


def to_frame(obj: Any) -> pd.DataFrame:
    """An R data.frame as a DataFrame, its row names as text.

    NA of each type arrives as missing: factors as categories, logicals as ``boolean`` and integers as ``Int64`` where
    they have gaps, text as None. Dates and list columns arrive as text. ``.attrs["automatic_row_names"]`` tells row
    numbers from names.
    """
    return build_frame(call("frame", obj))


# -- expression data ---------------------------------------------------------------------------------------------------


def load_dataset(package: str, data: str, name: str | None = None) -> Any:
    """A data set of an R package, left in R.

    ``name`` is the object's, where it is not that of the data set (``data(bladderdata)`` holds ``bladderEset``).
    """
    require(package, "Biobase")
    return call("dataset", package, data, name or data, keep=True)


def package_version(package: str) -> str:
    """Version of an R package that must be here."""
    return str(require(package)["packages"][package])
