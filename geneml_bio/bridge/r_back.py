"""Back to R: tables as data.frames, AnnData as Bioconductor's experiments. Columns and matrices go over whole."""

from __future__ import annotations

import datetime
import gzip
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..core.biomarker_columns import is_biomarker_table, typed
from ..core.detable import DETable
from ..core.errors import DataWarning, DuplicateNamesError, InputError, near
from ..core.ids import first_duplicates
from .r import call, require
from .r_values import NA_INTEGER
from .storable import free_name

_TARGETS = ("auto", "SingleCellExperiment", "SummarizedExperiment")
_NA = np.array([0x7FF00000000007A2], dtype=np.uint64).view(np.float64)[0]
_MISSING = np.array([np.nan]).view(np.uint64)[0]


def to_r(obj: Any, *, to: str = "auto", path: str | os.PathLike[str] | None = None) -> Any:
    """Hand a table or an AnnData to R.

    Parameters
    ----------
    obj
        A :class:`~geneml_bio.DETable` (data.frame with limma's names, ids as row names); a DataFrame, a biomarker table say
        (data.frame: categories become factors, nullable integers and booleans keep their gaps, dates their class); an AnnData
        (genes as rows: ``X`` and layers become assays, sparse ones dgCMatrix; ``obs`` colData, ``var`` and biomarker tables
        rowData, ``obsm``
        reducedDims, ``X_pca`` as ``PCA``).
    to
        What an AnnData becomes: ``"SingleCellExperiment"``, ``"SummarizedExperiment"``, or ``"auto"``: the first where there is
        an ``obsm`` to carry.
    path
        Also save it there, as ``.rds``.

    Returns
    -------
    The live R object of rpy2. What R has no place for (``uns``, ``varm``, ``obsp``, ``varp``, ``raw``) is named in a warning.

    Raises
    ------
    RNotAvailableError
        If R, rpy2 or a package of Bioconductor is missing; the message names the fix.
    InputError
        If R could not tell the rows apart, it is something else, or ``path`` lies in no folder.

    Examples
    --------
    >>> sce = gb.to_r(adata, path="results.rds")  # doctest: +SKIP
    """
    if to not in _TARGETS:
        raise InputError(f"to must be one of {_TARGETS}, got {to!r}.{near(to, _TARGETS)}")
    place = _place(path) if path is not None else None
    if isinstance(obj, DETable):
        out = _data_frame(obj.frame)
    elif isinstance(obj, pd.DataFrame):
        out = _data_frame(typed(obj) if is_biomarker_table(obj) else obj)
    elif type(obj).__name__ == "AnnData":
        out = _experiment(obj, to)
    else:
        raise InputError(f"A {type(obj).__name__} cannot be handed to R; pass a DETable, a DataFrame or an AnnData.")
    if place is not None:
        # written from here: R cannot open every name of a file that the system can
        place.write_bytes(gzip.compress(call("saved", out), 6, mtime=0))
    return out


def _place(path: str | os.PathLike[str]) -> Path:
    """Where the file will be; refused before anything is computed for it."""
    place = Path(path)
    if place.is_dir():
        raise InputError(f"path={str(place)!r} is a folder; name the file in it: path={str(place / 'results.rds')!r}.")
    if not place.parent.is_dir():
        raise InputError(f"path={str(place)!r}: there is no folder {str(place.parent)!r}. Make it first.")
    return place


# -- tables ------------------------------------------------------------------------------------------------------------


def _data_frame(frame: pd.DataFrame, *, named: bool = True) -> Any:
    """The data.frame; without ``named`` its rows are counted."""
    if isinstance(frame.index, pd.MultiIndex) or isinstance(frame.columns, pd.MultiIndex):
        raise InputError("R's row and column names have one level; flatten the index first: frame.reset_index().")
    names = [str(name) for name in frame.columns]
    rows = _row_names(frame) if named else None
    given: dict[str, Any] = {}
    kinds = []
    for i in range(len(names)):
        kind, values, levels = _column(frame.iloc[:, i], names[i])
        kinds.append(kind)
        given[f"v{i + 1}"] = values
        if levels:
            given[f"l{i + 1}"] = levels
    return call("data_frame", rows, len(frame), names or None, kinds or None, keep=True, **given)


def _row_names(frame: pd.DataFrame) -> list[str] | None:
    if isinstance(frame.index, pd.RangeIndex) or frame.attrs.get("automatic_row_names", False):
        return None
    if frame.index.has_duplicates:
        raise DuplicateNamesError(
            f"Row names of R are unique, and the index repeats ({first_duplicates(frame.index)}, ...). Make it a column: "
            "frame.reset_index()."
        )
    if frame.index.hasnans:
        raise InputError("Row names of R are never missing; the index has gaps. Make it a column: frame.reset_index().")
    return [str(name) for name in frame.index]


def _column(values: pd.Series, name: str) -> tuple[str, np.ndarray, list[str] | None]:
    """A column as numbers, what they mean, and the text that they count through."""
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        levels = _texts(dtype.categories)
        return ("ordered" if dtype.ordered else "factor"), _codes(values.cat.codes.to_numpy()), levels
    if pd.api.types.is_bool_dtype(dtype):
        return "logical", values.to_numpy(dtype=np.float64, na_value=np.nan), None
    if pd.api.types.is_integer_dtype(dtype):
        return _integers(values, name)
    if pd.api.types.is_float_dtype(dtype):
        return "double", missing_to_na(values.to_numpy(dtype=np.float64, na_value=np.nan)), None
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "time", _since_1970(values, "datetime64[ns]"), None
    if pd.api.types.is_timedelta64_dtype(dtype):
        return "span", _since_1970(values, "timedelta64[ns]"), None
    gaps = values.isna().to_numpy()
    held = values.to_numpy(dtype=object)
    kinds = {type(item) for item in held[~gaps]}
    if kinds == {datetime.date}:
        days = [
            np.nan if gap else float((item - datetime.date(1970, 1, 1)).days)
            for item, gap in zip(held, gaps, strict=True)
        ]
        return "date", missing_to_na(np.array(days, dtype=np.float64)), None
    if kinds and kinds <= {bool, np.bool_}:
        return "logical", np.array([np.nan if gap else float(item) for item, gap in zip(held, gaps, strict=True)]), None
    if kinds - {str, np.str_}:
        shown = ", ".join(sorted(kind.__name__ for kind in kinds - {str, np.str_}))
        warnings.warn(f"Column {name!r} holds {shown}; R gets its text.", DataWarning, stacklevel=6)
    codes, levels = pd.factorize(
        np.array([None if gap else str(item) for item, gap in zip(held, gaps, strict=True)], dtype=object)
    )
    return "text", _codes(codes), _texts(levels)


def _texts(values: Iterable[Any]) -> list[str]:
    return [str(value) for value in values]


def _codes(codes: np.ndarray) -> np.ndarray:
    """R's codes: from 1, a gap is NA."""
    return np.where(codes < 0, NA_INTEGER, codes.astype(np.int64) + 1).astype(np.int32)


def _integers(values: pd.Series, name: str) -> tuple[str, np.ndarray, None]:
    gaps = values.isna().to_numpy()
    whole = values.to_numpy(dtype=np.uint64 if values.dtype.kind == "u" else np.int64, na_value=0)
    if not len(whole) or (whole.max() < 2**31 and (values.dtype.kind == "u" or whole.min() > NA_INTEGER)):
        return "integer", np.where(gaps, NA_INTEGER, whole.astype(np.int64)).astype(np.int32), None
    numbers = whole.astype(np.float64)
    inexact = int((np.abs(numbers) > 2.0**53).sum())
    if inexact:
        warnings.warn(
            f"{inexact} values of {name!r} are beyond 2^53 and were rounded: R counts in doubles.",
            DataWarning,
            stacklevel=6,
        )
    return "double", missing_to_na(np.where(gaps, np.nan, numbers)), None


def _since_1970(values: pd.Series, unit: str) -> np.ndarray:
    if getattr(values.dtype, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    ticks = values.to_numpy(dtype=unit)
    gaps = np.isnat(ticks)
    return missing_to_na(np.where(gaps, np.nan, ticks.astype(np.int64) / 1e9))


def missing_to_na(values: np.ndarray) -> np.ndarray:
    """Doubles in which Python's missing value is R's NA; R's own NA, and a NaN that was computed, have other bits and stay."""
    gaps = np.ascontiguousarray(values).view(np.uint64) == _MISSING
    return np.where(gaps, _NA, values) if gaps.any() else values


# -- AnnData -----------------------------------------------------------------------------------------------------------


def _experiment(adata: Any, to: str) -> Any:
    single = to == "SingleCellExperiment" or (to == "auto" and len(adata.obsm) > 0)
    require("SingleCellExperiment" if single else "SummarizedExperiment", "Matrix")
    samples, genes = _texts(adata.obs_names), _texts(adata.var_names)
    names, given = [], {}
    source = adata.uns.get("source", {})
    first = source.get("X") if isinstance(source, dict) and isinstance(source.get("X"), str) else None
    layers = {key: matrix for key, matrix in adata.layers.items() if key is not None}
    if adata.X is not None:
        wanted = first if first and first not in layers else "X"
        main = free_name(wanted, layers)
        if main != wanted:
            warnings.warn(
                f".X goes over as the assay {main!r}: a layer is called {wanted!r}.", DataWarning, stacklevel=4
            )
        layers = {main: adata.X, **layers}
    for i, (name, matrix) in enumerate(layers.items()):
        names.append(name)
        given[f"a{i + 1}"] = _matrix(matrix, genes, samples)
    if not names:
        raise InputError("The AnnData has neither X nor layers; there is nothing to make an assay of.")
    reduced = []
    if single:
        for i, (key, values) in enumerate(adata.obsm.items()):
            short = key[2:].upper() if key.startswith("X_") and key == f"X_{key[2:].lower()}" else key
            reduced.append(key if short in adata.obsm or not short else short)
            given[f"r{i + 1}"] = _reduced(values, samples)
    _report(adata, single)
    obs, var = _data_frame(adata.obs, named=False), _data_frame(_with_biomarkers(adata), named=False)
    return call("experiment", single, names, reduced or None, samples, genes, obs, var, keep=True, **given)


def _matrix(matrix: Any, genes: list[str], samples: list[str]) -> Any:
    """An assay: genes x samples in R's order is samples x genes in C order, so that nothing is transposed."""
    if sparse.issparse(matrix):
        csr = sparse.csr_matrix(matrix)
        if not csr.has_canonical_format:
            csr = csr.copy()
            csr.sum_duplicates()
        values = missing_to_na(csr.data.astype(np.float64))
        if csr.nnz >= 2**31:
            raise InputError(f"R's sparse matrices hold fewer than 2^31 values; this one has {csr.nnz}.")
        i, p = csr.indices.astype(np.int32), csr.indptr.astype(np.int32)
        return call("sparse", values, i, p, [len(genes), len(samples)], genes, samples, keep=True)
    dense = np.asarray(matrix)
    if dense.dtype.kind in "iub" and dense.size and dense.max() < 2**31 and dense.min() > NA_INTEGER:
        return call("dense", dense.astype(np.int32), genes, samples, keep=True)
    return call("dense", missing_to_na(np.ascontiguousarray(dense, dtype=np.float64)), genes, samples, keep=True)


def _reduced(values: Any, samples: list[str]) -> Any:
    if isinstance(values, pd.DataFrame):
        return _data_frame(values.set_axis(pd.Index(samples, dtype=str), axis=0))
    flat = values.toarray() if sparse.issparse(values) else np.asarray(values)
    flat = flat[:, None] if flat.ndim == 1 else flat
    if flat.ndim != 2:
        raise InputError(f"An obsm of {flat.ndim} dimensions has no place among reducedDims; drop it first.")
    return call(
        "dense",
        missing_to_na(np.asarray(flat.T, dtype=np.float64, order="C")),
        samples,
        None,
        keep=True,
    )


def _with_biomarkers(adata: Any) -> pd.DataFrame:
    """``.var``, with the columns of the biomarker tables behind it (``biomarkers_class``, ...)."""
    frames = [adata.var]
    for key in _tables(adata):
        frames.append(typed(adata.varm[key]).set_axis(adata.var.index).add_prefix(f"{key}_"))
    return pd.concat(frames, axis=1) if len(frames) > 1 else adata.var


def _tables(adata: Any) -> list[str]:
    return [key for key, of in adata.varm.items() if isinstance(of, pd.DataFrame) and is_biomarker_table(of)]


def _report(adata: Any, single: bool) -> None:
    """Name what R has no place for."""
    left = [f"uns[{key!r}]" for key in adata.uns]
    for slot in ("varm", "obsp", "varp", *(() if single else ("obsm",))):
        gone = _tables(adata) if slot == "varm" else []
        left += [f"{slot}[{key!r}]" for key in getattr(adata, slot) if key not in gone]
    left += ["raw"] if adata.raw is not None else []
    if left:
        warnings.warn(
            f"{len(left)} parts of the AnnData have no place in R's object and were not carried: {', '.join(left[:8])}"
            f"{', ...' if len(left) > 8 else ''}.",
            DataWarning,
            stacklevel=4,
        )
