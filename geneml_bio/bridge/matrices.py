"""Anything that holds an expression matrix -> AnnData, samples as rows."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.errors import ColumnNotFoundError, DataWarning, DuplicateNamesError, InputError, near
from ..core.ids import first_duplicates
from . import r, tables

if TYPE_CHECKING:
    from anndata import AnnData

_LATER = {
    ".rds": "an R object; in R: write.csv(exprs(object), 'matrix.csv'), or pass the object live through rpy2",
    ".rdata": "an R workspace; in R: write.csv(exprs(object), 'matrix.csv'), or pass the object live through rpy2",
    ".rda": "an R workspace; in R: write.csv(exprs(object), 'matrix.csv'), or pass the object live through rpy2",
    ".xlsx": "an Excel workbook; save the sheet as CSV (UTF-8)",
    ".xls": "an Excel workbook; save the sheet as CSV (UTF-8)",
    ".mtx": "a Matrix Market file; read it with scanpy.read_mtx or scanpy.read_10x_mtx",
    ".h5": "an HDF5 file; a 10x file is read with scanpy.read_10x_h5",
    ".loom": "a loom file; read it with anndata.io.read_loom",
    ".zarr": "a zarr store; read it with anndata.read_zarr",
}
_ORIENT = ("auto", "samples", "genes")


def expression(source: Any, *, samples: Any, target: str | None, orient: str) -> AnnData:
    """See :func:`geneml_bio.read.expression`."""
    if orient not in _ORIENT:
        raise InputError(f"orient must be one of {_ORIENT}, got {orient!r}.{near(orient, _ORIENT)}")
    adata = _read(source, _sheet(samples), target, orient)
    if target is not None and target not in adata.obs:
        found = (
            f" It is the name of a gene; pass samples= with a column {target!r}." if target in adata.var_names else ""
        )
        raise ColumnNotFoundError(
            f"There is no column {target!r} among what is known of the samples.{found or near(target, adata.obs.columns)}"
        )
    return adata


def _read(source: Any, sheet: pd.DataFrame | None, target: str | None, orient: str) -> AnnData:
    from anndata import AnnData, read_h5ad

    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if isinstance(source, AnnData) or (path is not None and path.suffix.lower() == ".h5ad" and path.is_file()):
        if sheet is not None:
            raise InputError("An AnnData has its own .obs; read it first, then: adata.obs = adata.obs.join(samples).")
        return source.copy() if isinstance(source, AnnData) else read_h5ad(path)
    if r.is_r_object(source):
        classes = r.r_class(source)
        if "ExpressionSet" not in classes:
            raise InputError(
                f"An R object of class {classes} cannot be read yet; an ExpressionSet can, and a matrix as a DataFrame or "
                "CSV file."
            )
        return _from_expression_set(r.expression_set(source), sheet)
    if isinstance(source, pd.DataFrame):
        return _from_frame(source, sheet, target, orient, {"type": "DataFrame"})
    if path is None:
        raise InputError(
            f"A {type(source).__name__} cannot be read as expression data: pass a path, a DataFrame, an AnnData or an rpy2 "
            "ExpressionSet."
        )
    suffix = path.suffix.lower()
    if suffix in _LATER and path.exists():
        raise InputError(f"{path.name} is {_LATER[suffix]}. It cannot be read yet.")
    frame, layout = _read_matrix(path)
    about = {"path": str(path), "separator": layout.separator, "encoding": layout.encoding}
    return _from_frame(frame, sheet, target, orient, about)


def _read_matrix(path: Path) -> tuple[pd.DataFrame, tables.Layout]:
    """A text matrix with its first column as the index; ids as text, other columns by what they hold."""
    text, encoding = tables.decode(tables.read_bytes(path), path.name)
    layout = tables.find_layout(text, encoding, path.name)
    body = "".join(text.splitlines(keepends=True)[layout.skip :])
    head = tables.rows_of("".join(body.splitlines(keepends=True)[:50]), layout.separator, layout.quoted)
    names = ["", *head[0]] if layout.shifted else head[0]
    names = [name.strip() for name in names]
    if len(set(names)) < len(names):
        raise DuplicateNamesError(f"{path.name}: columns are duplicated ({first_duplicates(pd.Index(names))}, ...).")
    sample = [[row[i] for row in head[1:] if len(row) == len(names)] for i in range(1, min(len(names), 40))]
    decimal = tables.find_decimal([column for column in sample if any(char.isdigit() for char in "".join(column))])
    frame = pd.read_csv(
        io.StringIO(body),
        sep=layout.separator,
        header=0,
        names=names,
        index_col=False,
        dtype={names[0]: str},
        decimal=decimal,
        quoting=0 if layout.quoted else 3,
        keep_default_na=False,
        na_values={name: sorted(tables.MISSING) for name in names[1:]},
        skipinitialspace=layout.separator == " ",
        **tables.EXACT,
    )
    return frame.set_index(names[0]), layout


def _from_expression_set(parts: dict[str, Any], sheet: pd.DataFrame | None) -> AnnData:
    from anndata import AnnData

    obs, var = _join(storable_columns(parts["obs"]), sheet), storable_columns(parts["var"])
    about = {"type": "ExpressionSet", "annotation": parts["annotation"]}
    return AnnData(parts["X"], obs=obs, var=var, uns={"source": about})


def _from_frame(
    frame: pd.DataFrame, sheet: pd.DataFrame | None, target: str | None, orient: str, about: dict[str, Any]
) -> AnnData:
    from anndata import AnnData

    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    numeric = np.array(
        [pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype) for dtype in frame.dtypes],
        dtype=bool,
    )
    goal = target or ("target" if "target" in frame.columns else None)
    if goal is not None:
        numeric &= frame.columns != goal
    way = orient if orient != "auto" else _orientation(frame, numeric, sheet, goal)
    values, rest = frame.loc[:, numeric], storable_columns(frame.loc[:, ~numeric])
    if not values.shape[1] or not len(values):
        raise InputError(
            f"No column of numbers was found (columns: {[str(name) for name in frame.columns[:6]]}). Expression values are "
            "numbers; is the decimal mark or the separator unusual?"
        )
    rows, columns = (pd.Index([str(name) for name in names], dtype=str) for names in (frame.index, values.columns))
    X = np.ascontiguousarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
    rest.index = rows
    uns = {"source": about | {"orient": way}}
    if way == "samples":
        return AnnData(X, obs=_join(rest, sheet), var=pd.DataFrame(index=columns), uns=uns)
    return AnnData(np.ascontiguousarray(X.T), obs=_join(pd.DataFrame(index=columns), sheet), var=rest, uns=uns)


def _orientation(frame: pd.DataFrame, numeric: np.ndarray, sheet: pd.DataFrame | None, goal: str | None) -> str:
    """Whether rows are samples or genes."""
    if goal is not None and goal in frame.columns:
        return "samples"
    if sheet is not None:
        known = set(sheet.index)
        as_rows, as_columns = (len(known & set(map(str, names))) for names in (frame.index, frame.columns))
        if as_rows != as_columns:
            return "samples" if as_rows > as_columns else "genes"
    text = frame.loc[:, ~numeric]
    if text.shape[1]:
        # what describes samples (sex, batch) repeats; what describes genes (symbols, descriptions) hardly does
        repeats = [text[name].nunique() <= max(2, len(text) // 3) for name in text.columns]
        return "samples" if any(repeats) else "genes"
    way = "genes" if frame.shape[0] > frame.shape[1] else "samples"
    warnings.warn(
        f"The matrix has {frame.shape[0]} rows and {frame.shape[1]} columns of numbers, and nothing tells which are genes; "
        f"rows were taken for {way}. Say so with orient='samples' or orient='genes'.",
        DataWarning,
        stacklevel=6,
    )
    return way


def _sheet(samples: Any) -> pd.DataFrame | None:
    """The sample sheet with sample names as a text index."""
    if samples is None:
        return None
    if isinstance(samples, str | os.PathLike):
        table = tables.read_table(Path(samples))
        typed = {name: typed_column(values) for name, values in zip(table.header[1:], table.columns[1:], strict=True)}
        frame = pd.DataFrame(typed, index=pd.Index(table.columns[0], dtype=str))
    elif isinstance(samples, pd.DataFrame):
        frame = samples.set_axis([str(name) for name in samples.columns], axis=1)
        frame = frame.set_index(frame.columns[0]) if isinstance(frame.index, pd.RangeIndex) else frame
        frame = frame.set_axis(pd.Index([str(name) for name in frame.index], dtype=str), axis=0)
    else:
        raise InputError(f"samples must be a path or a DataFrame, got {type(samples).__name__}.")
    if frame.index.has_duplicates:
        raise DuplicateNamesError(f"The sample sheet names samples twice ({first_duplicates(frame.index)}, ...).")
    return frame


def _join(obs: pd.DataFrame, sheet: pd.DataFrame | None) -> pd.DataFrame:
    """The samples with the columns of the sheet, by name."""
    if sheet is None:
        return obs
    absent = [name for name in obs.index if name not in sheet.index]
    if len(absent) == len(obs):
        raise InputError(
            f"No sample of the matrix ({', '.join(map(repr, obs.index[:3]))}, ...) is in the sample sheet "
            f"({', '.join(map(repr, sheet.index[:3]))}, ...). Its first column must hold the sample names; or pass orient=."
        )
    if absent:
        warnings.warn(
            f"{len(absent)} of {len(obs)} samples are not in the sample sheet ({', '.join(absent[:3])}); what it knows is "
            "missing for them.",
            DataWarning,
            stacklevel=6,
        )
    matched = storable_columns(sheet.reindex(obs.index))
    return pd.concat([obs.drop(columns=obs.columns.intersection(matched.columns)), matched], axis=1)


def typed_column(values: list[str]) -> Any:
    """Text as numbers where each value is one and nothing is lost by it (``01005`` stays text)."""
    padded = any(len(v) > 1 and v.lstrip("-").startswith("0") and v.lstrip("-")[1:2].isdigit() for v in values)
    if not padded:
        found, strange = tables.numbers(values)
        if not strange and not np.isnan(found).all():
            whole = not np.isnan(found).any() and all(value.lstrip("-").isdigit() for value in values)
            return found.astype(np.int64) if whole else found
    return [None if value in tables.MISSING else value for value in values]


def storable_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Text with gaps as categories, which every store keeps; dates as text; the rest as it is."""
    out = frame.copy()
    for name in out.columns:
        values = out[name]
        if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
            values = values.astype(str).where(values.notna(), None)
        if isinstance(values.dtype, pd.CategoricalDtype):
            out[name] = values.cat.remove_unused_categories()
        elif (values.dtype == object or isinstance(values.dtype, pd.StringDtype)) and values.isna().any():
            out[name] = pd.Categorical(values.astype(object))
        else:
            out[name] = values
    return out
