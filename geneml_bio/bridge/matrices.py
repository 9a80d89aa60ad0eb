"""Anything that holds an expression matrix -> AnnData, samples as rows."""

from __future__ import annotations

import io
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from ..core.errors import ColumnNotFoundError, DataWarning, DuplicateNamesError, InputError, near
from ..core.ids import first_duplicates
from . import files, r, tables
from .r_experiments import experiment_of
from .r_pieces import Experiment, to_anndata
from .storable import storable_columns, typed_column

if TYPE_CHECKING:
    from anndata import AnnData

_OTHER = {
    ".xlsx": "an Excel workbook; save the sheet as CSV (UTF-8)",
    ".xls": "an Excel workbook; save the sheet as CSV (UTF-8)",
    ".mtx": "a Matrix Market file; read it with scanpy.read_mtx or scanpy.read_10x_mtx",
    ".h5": "an HDF5 file; a 10x file is read with scanpy.read_10x_h5",
    ".loom": "a loom file; read it with anndata.io.read_loom",
    ".zarr": "a zarr store; read it with anndata.read_zarr",
}
_P_VALUE = re.compile(r"p[._]?val(ue)?s?|pr\(>\|t\|\)", re.IGNORECASE)
_EFFECT = re.compile(r"log(2|_2)?[._]?(fc|fold[._]?changes?)", re.IGNORECASE)
_FRACTION = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_ORIENT = ("auto", "samples", "genes")


def expression(
    source: Any, *, samples: Any, target: str | None, orient: str, sheet: str | None = None, trusted: bool = False
) -> AnnData:
    """See :func:`geneml_bio.read.expression`."""
    if orient not in _ORIENT:
        raise InputError(f"orient must be one of {_ORIENT}, got {orient!r}.{near(orient, _ORIENT)}")
    known = _sheet(samples)
    if _is_r(source):
        adata = _from_r(experiment_of(source, sheet=sheet, trusted=trusted), known, target, orient)
    elif sheet is not None:
        raise InputError(
            f"sheet= chooses an object of an .RData file or of an R list, and this is none; got {sheet!r}."
        )
    else:
        adata = _read(source, known, target, orient)
    if target is not None and target not in adata.obs:
        found = (
            f" It is the name of a gene; pass samples= with a column {target!r}." if target in adata.var_names else ""
        )
        raise ColumnNotFoundError(
            f"There is no column {target!r} among what is known of the samples.{found or near(target, adata.obs.columns)}"
        )
    return adata


def anndata_of(source: Any, *, sheet: str | None = None, trusted: bool = False) -> AnnData:
    """The expression data in an R object, live or in a file: see :func:`geneml_bio.read.expression`."""
    return _from_r(experiment_of(source, sheet=sheet, trusted=trusted), None, None, "auto")


def read_h5ad(path: Path, backed: Literal["r"] | None = None) -> AnnData:
    """An ``.h5ad`` file; ``InputError`` where it is none."""
    import anndata

    if not path.is_file():
        raise InputError(f"There is no file {str(path)!r}.{files.beside(path)}")
    try:
        return anndata.read_h5ad(path, backed=backed)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as .h5ad: {error}. It is another kind of file, or damaged (an unfinished download, a job that was "
            "stopped while writing)."
        ) from error


def _read(source: Any, sheet: pd.DataFrame | None, target: str | None, orient: str) -> AnnData:
    from anndata import AnnData

    path = Path(source) if isinstance(source, str | os.PathLike) else None
    if isinstance(source, AnnData) or (path is not None and path.suffix.lower() == ".h5ad" and path.is_file()):
        if sheet is not None:
            raise InputError("An AnnData has its own .obs; read it first, then: adata.obs = adata.obs.join(samples).")
        return source.copy() if isinstance(source, AnnData) else read_h5ad(Path(source))
    if isinstance(source, pd.DataFrame):
        return _from_frame(source, sheet, target, orient, {"type": "DataFrame"})
    if path is None:
        raise InputError(
            f"A {type(source).__name__} cannot be read as expression data: pass a path, a DataFrame, an AnnData or an R "
            "object of rpy2."
        )
    suffix = path.suffix.lower()
    if suffix in _OTHER and path.exists():
        raise InputError(f"{path.name} is {_OTHER[suffix]}. It cannot be read yet.")
    frame, layout = _read_matrix(path, target)
    about = {"path": str(path), "separator": layout.separator, "encoding": layout.encoding}
    return _from_frame(frame, sheet, target, orient, about)


def _read_matrix(path: Path, target: str | None) -> tuple[pd.DataFrame, tables.Layout]:
    """A text matrix with its first column as the index, if it holds names; ids as text, other columns by what they hold."""
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
    goal = target or "target"
    if goal not in names or not _holds_values(frame[names[0]], names[0] == goal, decimal):
        return frame.set_index(names[0]), layout
    warnings.warn(
        f"The first column of {path.name}, {names[0]!r}, holds values and no names of samples; the samples are named 1 to "
        f"{len(frame)}, by their row.",
        DataWarning,
        stacklevel=7,
    )
    frame[names[0]] = typed_column([str(value).strip().replace(decimal, ".") for value in frame[names[0]]])
    return frame.set_axis([str(i) for i in range(1, len(frame) + 1)], axis=0), layout


def _holds_values(first: pd.Series, is_target: bool, decimal: str) -> bool:
    """Whether the first column of samples is a measurement or describes them, where their names usually stand."""
    text = [str(value).strip() for value in first]
    if is_target or not str(first.name).strip():
        return is_target
    if len(set(text)) < len(text):  # names are unique
        return True
    return any(_FRACTION.fullmatch(value.replace(decimal, ".")) for value in text) and all(
        _NUMBER.fullmatch(value.replace(decimal, ".")) or value in tables.MISSING for value in text
    )


def _is_r(source: Any) -> bool:
    """A live R object, or a file of R by its content."""
    if r.is_r_object(source):
        return True
    if not isinstance(source, str | os.PathLike):
        return False
    path = Path(source)
    if path.suffix.lower() in (".rds", ".rdata", ".rda"):
        return True
    return path.suffix.lower() not in _OTHER and path.is_file() and files.kind_of(path) == "r"


def _from_r(parts: Experiment, sheet: pd.DataFrame | None, target: str | None, orient: str) -> AnnData:
    """An R object; a bare matrix or data.frame does not say what its rows are, the others have genes as rows."""
    if not parts.plain:
        if orient == "samples":
            raise InputError(
                f"The rows of {parts.about['type']} are genes by its making; orient='samples' cannot be right."
            )
        return to_anndata(parts, _join(parts.samples, sheet))
    if parts.matrix is None:
        return _from_frame(parts.genes, sheet, target, orient, parts.about)
    way = orient if orient != "auto" else "genes"
    # R's way is genes as rows: a sparse matrix always has them so, and where there are more rows than columns nothing speaks against it
    tall = sheet is None and len(parts.genes) > len(parts.samples)
    if orient == "auto" and not sparse.issparse(parts.matrix) and not tall:
        numeric = np.ones(len(parts.samples), dtype=bool)
        way = _orientation(pd.DataFrame(parts.matrix.T, parts.genes.index, parts.samples.index), numeric, sheet, None)
    if way == "samples":
        parts.matrix, parts.samples, parts.genes = parts.matrix.T, parts.genes, parts.samples
        parts.matrix = parts.matrix.tocsr() if sparse.issparse(parts.matrix) else np.ascontiguousarray(parts.matrix)
        swapped = {"genes": "samples", "samples": "genes"}
        parts.about |= (
            {"numbered": [swapped[name] for name in parts.about["numbered"]]} if "numbered" in parts.about else {}
        )
    parts.about["orient"] = way
    return to_anndata(parts, _join(parts.samples, sheet))


def _from_frame(
    frame: pd.DataFrame, sheet: pd.DataFrame | None, target: str | None, orient: str, about: dict[str, Any]
) -> AnnData:
    from anndata import AnnData

    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if any(_P_VALUE.fullmatch(name) for name in frame.columns) and any(
        _EFFECT.fullmatch(name) for name in frame.columns
    ):
        raise InputError(
            f"This is a table of results ({list(frame.columns[:6])}), no expression data: gb.read.toptable reads it."
        )
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
