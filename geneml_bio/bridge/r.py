"""R: the only module that imports rpy2, and only when something is asked of R.

rpy2's low-level interface is used, whose conversions are explicit: no converter is activated or looked up, so that
calls work from any thread and nothing of the caller's own rpy2 set-up changes. One lock serialises them. The R
functions of ``helpers.R`` live in a private environment; R's global environment and search path stay as they are.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..core.errors import ColumnNotFoundError, InputError, RError, RNotAvailableError, RWarning, TableError, near
from ..core.limma import check_limma_input
from . import r_setup
from .r_frames import build_frame

PACKAGES = ("limma", "edgeR", "Biobase", "ALL", "bladderbatch", "multtest", "statmod")
_MAX_DENSE = 1 << 29  # values: 4 GB as doubles

_lock = threading.RLock()
_session: _Session | None = None


class _Session:
    """R's interface module and the environment that holds the helpers."""

    def __init__(self) -> None:
        if os.name == "posix" and r_setup.r_binary() is None:
            raise RNotAvailableError(r_setup.explain(None))  # rpy2 would first write to stderr
        handler, libraries = signal.getsignal(signal.SIGINT), os.environ.get("LD_LIBRARY_PATH")
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="R is not initialized by the main thread")
                import rpy2.rinterface as ri

                ri.initr()
        except Exception as error:  # rpy2 fails with many types, ffi.error (a plain Exception) among them
            raise RNotAvailableError(r_setup.explain(error)) from error
        finally:
            # rpy2 takes SIGINT over as it starts R
            if handler is not None and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, handler)
            # and names R's libraries to child processes, which may then load another libpython than ours
            if libraries is None:
                os.environ.pop("LD_LIBRARY_PATH", None)
            else:
                os.environ["LD_LIBRARY_PATH"] = libraries
        self.ri: Any = ri
        self.env: Any = ri.baseenv["new.env"](parent=ri.baseenv)
        code = Path(__file__).with_name("helpers.R").read_text(encoding="utf-8")
        ri.baseenv["eval"](ri.parse(code), self.env)
        objects = Path(__file__).with_name("objects.R").read_text(encoding="utf-8")
        ri.baseenv["eval"](ri.parse(objects), self.env)
        self.guard = self.env["guard"]


def _start() -> _Session:
    global _session
    with _lock:
        if _session is None:
            _session = _Session()
        return _session


def call(name: str, *args: Any, keep: bool = False, **kwargs: Any) -> Any:
    """Run a function of ``helpers.R``; errors and warnings of R become ours. ``keep``: the R object, not its value."""
    session = _start()
    with _lock:
        ri = session.ri
        given: list[tuple[str | None, Any]] = [(None, _to_r(ri, arg)) for arg in (name, *args)]
        given += [(key, _to_r(ri, value)) for key, value in kwargs.items()]
        result = session.guard.rcall(given, session.env)
        error = _from_r(ri, result[1])
        warned = _from_r(ri, result[2])
        value = None if error else result[0] if keep else _from_r(ri, result[0])
    for message in warned:
        warnings.warn(f"R: {message.strip()}", RWarning, stacklevel=3)
    if error:
        raise RError(f"R: {error[0].strip()}")
    return value


def _to_r(ri: Any, value: Any) -> Any:
    if value is None:
        return ri.NULL
    if isinstance(value, ri.Sexp):
        return value
    if isinstance(value, np.ndarray):
        flat: Any = np.ascontiguousarray(value, dtype=np.float64).ravel()
        return ri.FloatSexpVector.from_memoryview(memoryview(flat))
    items = list(value) if isinstance(value, list | tuple | pd.Index) else [value]
    if all(isinstance(item, bool) for item in items):
        return ri.BoolSexpVector(items)
    if all(isinstance(item, str) for item in items):
        return ri.StrSexpVector(items)
    if all(isinstance(item, int | np.integer) for item in items):
        return ri.IntSexpVector([int(item) for item in items])
    return ri.FloatSexpVector([float(item) for item in items])


def _from_r(ri: Any, value: Any) -> Any:
    """NULL, text, numbers and lists of these; NA is None in text and NaN in numbers."""
    if value is ri.NULL or isinstance(value, type(ri.NULL)):
        return None
    if isinstance(value, ri.StrSexpVector):
        return [None if item is ri.NA_Character else str(item) for item in value]
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
        _require("limma")
    except RNotAvailableError:
        return False
    return True


def _versions(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    found = call("versions", list(packages))
    return {
        "R": found["R"][0],
        "home": found["home"][0],
        "packages": {name: version[0] if version else None for name, version in found["packages"].items()},
    }


def _require(*packages: str) -> dict[str, Any]:
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
    report |= {"rpy2": r_setup.rpy2_versions(), "packages": dict.fromkeys(PACKAGES), "works": False, "problems": []}
    try:
        found = _versions()
    except RNotAvailableError as error:
        report["problems"].append(str(error))
        return report
    report |= {"r": found["R"], "r_home": found["home"], "packages": found["packages"]}
    report["works"] = found["packages"]["limma"] is not None
    lacking = [name for name, version in found["packages"].items() if version is None]
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


# -- limma -------------------------------------------------------------------------------------------------------------


def _fit(
    X: Any,
    design: pd.DataFrame,
    contrasts: pd.DataFrame,
    features: Any,
    *,
    trend: bool = False,
    robust: bool = False,
    treat_lfc: float | None = None,
) -> Any:
    """The MArrayLM after eBayes or treat, as an R object."""
    _require("limma", *(["statmod"] if robust else []))
    check_limma_input(design, contrasts, treat_lfc)
    matrix: Any = X
    if sparse.issparse(X):
        if matrix.shape[0] * matrix.shape[1] > _MAX_DENSE:
            raise InputError(
                f"R's limma needs a dense matrix, and {matrix.shape[0]} x {matrix.shape[1]} values would not fit. Use "
                "engine='native', which keeps sparse data sparse, or pseudobulk first."
            )
        matrix = matrix.toarray()
    # samples x genes in C order is genes x samples in R's order: nothing is transposed
    values = np.ascontiguousarray(matrix, dtype=np.float64)
    return call(
        "fit",
        x=values,
        dims=[values.shape[1], values.shape[0]],
        features=[str(name) for name in features],
        samples=[str(name) for name in design.index],
        design=design.to_numpy(dtype=float).ravel(order="F"),
        coefficients=[str(name) for name in design.columns],
        weights=contrasts.to_numpy(dtype=float).ravel(order="F"),
        contrasts=[str(name) for name in contrasts.columns],
        trend=bool(trend),
        robust=bool(robust),
        lfc=None if treat_lfc is None else float(treat_lfc),
        keep=True,
    )


def fit_object(
    X: Any, design: str, contrast: Any, obs: pd.DataFrame, samples: Any, features: Any, **options: Any
) -> Any:
    """The fit object of limma (``MArrayLM`` after eBayes, or treat) for a formula and a contrast, left in R.

    Parameters
    ----------
    X
        samples x genes.
    design, contrast, obs
        As for :func:`geneml_bio.core.design.design_matrix` and ``contrast_matrix``.
    samples, features
        Names.
    options
        ``trend``, ``robust``, ``treat_lfc``.
    """
    from ..core.design import contrast_matrix, design_matrix

    frame = design_matrix(design, obs)
    weights = contrast_matrix(contrast, frame, obs=obs)
    return _fit(X, frame.set_axis(list(samples), axis=0), weights, features, **options)


def limma_fit(
    X: Any,
    design: pd.DataFrame,
    contrasts: pd.DataFrame,
    features: Any,
    *,
    trend: bool = False,
    treat_lfc: float | None = None,
    robust: bool = False,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """``lmFit``, ``contrasts.fit``, ``eBayes`` (or ``treat``) and ``topTable`` in R.

    Parameters and results are those of :func:`geneml_bio.core.limma.native_limma`; the matrices come from
    :mod:`geneml_bio.core.design`, so that no formula reaches R. ``robust`` needs R's statmod.
    """
    fitted = _fit(X, design, contrasts, features, trend=trend, treat_lfc=treat_lfc, robust=robust)
    names = [str(name) for name in contrasts.columns]
    table, about = toptable(fitted, list(range(1, len(names) + 1)))
    about |= {"trend": trend, "robust": robust, "contrasts": names}
    return table, about


def toptable(obj: Any, coef: Any = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of all genes of an ``MArrayLM``, and what it rests on.

    Parameters
    ----------
    obj
        The fit, after eBayes or treat.
    coef
        Name or number (from 1, as in R) of a coefficient, or a list of them (an F table). Default, as in limma: all but
        the intercept; after treat the last.

    Returns
    -------
    frame, about
        ``about``: ``engine contrasts df_prior s2_prior proportion var_prior treat_lfc`` and versions.
    """
    versions = _require("limma")
    if "MArrayLM" not in r_class(obj):
        raise TableError(f"An R object of class {r_class(obj)} is not limma's fit (MArrayLM).")
    about = call("describe", obj)
    count = int(about["n"][0])
    if not about["moderated"][0]:
        raise TableError(
            "This MArrayLM has no statistics yet: it comes from lmFit or contrasts.fit. Run limma's eBayes(fit), or "
            "treat(fit, lfc=...), on it in R, and pass what they return."
        )
    names = about["coefficients"] or [f"coef{i + 1}" for i in range(count)]
    treated = about["lfc"] is not None
    chosen = _coefficients(coef, names, treated)
    frame = build_frame(call("table_of", obj, np.array(chosen, dtype=float)))
    asked = [names[i - 1] for i in chosen]
    if len(chosen) > 1:  # topTable makes syntactic names of the coefficients; take the fit's own
        columns = list(frame.columns)
        end = columns.index("AveExpr") if "AveExpr" in columns else columns.index("F")
        frame.columns = pd.Index([*columns[: end - len(asked)], *asked, *columns[end:]], dtype=str)
    meta = {
        "engine": "r",
        "contrasts": asked,
        "r_version": versions["R"],
        "limma_version": versions["packages"]["limma"],
        "df_prior": _typical(about["df_prior"]),
        "s2_prior": _typical(about["s2_prior"]),
    }
    if about["proportion"] is not None:
        meta |= {"proportion": float(about["proportion"][0]), "var_prior": about["var_prior"]}
    if treated:
        meta["treat_lfc"] = float(about["lfc"][0])
    return frame, meta


def _typical(values: np.ndarray | None) -> float:
    """A hyperparameter; the median where there is one a gene (trend, robust)."""
    return float(np.median(values)) if values is not None and len(values) else float("nan")


def _coefficients(coef: Any, names: list[str], treated: bool) -> list[int]:
    """Numbers, from 1, of the coefficients asked for."""
    everything = list(range(1, len(names) + 1))
    if coef is None:
        return everything[-1:] if treated else [i for i in everything if names[i - 1] != "(Intercept)"] or everything
    asked = list(coef) if isinstance(coef, list | tuple | np.ndarray) else [coef]
    found: list[int] = []
    for item in asked:
        if isinstance(item, str) and item in names:
            found.append(names.index(item) + 1)
        elif isinstance(item, int | np.integer) and not isinstance(item, bool) and 1 <= item <= len(names):
            found.append(int(item))
        else:
            raise ColumnNotFoundError(
                f"The fit has no coefficient {item!r}; name it, or number it from 1 to {len(names)}.{near(item, names)}"
            )
    if treated and len(set(found)) > 1:
        raise InputError("treat tests one coefficient at a time; name one in coef.")
    return sorted(set(found))  # topTable keeps the fit's order when all coefficients are asked for


# -- expression data ---------------------------------------------------------------------------------------------------


def expression_set(obj: Any) -> dict[str, Any]:
    """The pieces of an ``ExpressionSet``: ``X`` (samples x genes), ``obs``, ``var``, ``annotation``."""
    _require("Biobase")
    parts = call("eset", obj)
    genes, samples = (int(size) for size in parts["dim"])
    obs, var = build_frame(parts["obs"]), build_frame(parts["var"])
    obs.index, var.index = pd.Index(parts["samples"], dtype=str), pd.Index(parts["features"], dtype=str)
    annotation = (parts["annotation"] or [""])[0] or ""
    return {"X": parts["exprs"].reshape(samples, genes), "obs": obs, "var": var, "annotation": annotation}


def load_dataset(package: str, data: str, name: str | None = None) -> Any:
    """A data set of an R package, left in R (for :func:`expression_set` or :func:`to_frame`).

    ``name`` is the object's, where it is not that of the data set (``data(bladderdata)`` holds ``bladderEset``).
    """
    _require(package, "Biobase")
    return call("dataset", package, data, name or data, keep=True)


def package_version(package: str) -> str:
    """Version of an R package that must be here."""
    return str(_require(package)["packages"][package])
