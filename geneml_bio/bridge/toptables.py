"""Anything that holds a DE table -> DETable."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.detable import DETable
from ..core.errors import DataWarning, InputError, TableError
from ..core.ids import first_duplicates
from ..core.names import LIMMA_COLUMNS
from ..core.pvalues import adjust_bh
from . import dialects, r, r_limma, tables

_EXCEL = re.compile(
    r"\d{1,2}-(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)|(Mar|Sep|Dec|Oct)-\d{1,2}|\d\.\d+E\+\d\d"
)


def from_path(path: Path, *, contrast: str | None, feature: str | None) -> DETable:
    """A text file saved by R or pandas."""
    table = tables.read_table(path)
    dialect = dialects.recognise(table.header)
    if not len(table):
        raise TableError(f"{path.name} has a header and no rows.")
    statistics = [name for name in table.header if name in dialect.columns]
    text = dict(zip(_distinct(table.header), table.columns, strict=True))
    if dialect.kind == "F":
        statistics += _coefficient_columns(table.header, text)
    decimal = tables.find_decimal([text[name] for name in statistics])
    columns: dict[str, Any] = {
        name: _numeric(values, decimal, name, path.name) if name in statistics else values
        for name, values in text.items()
    }
    source = {
        "path": str(path),
        "separator": table.layout.separator,
        "decimal": decimal,
        "encoding": table.layout.encoding,
        "rows_read": table.rows_read,
        "rows_lost": table.rows_lost,
    }
    return _assemble(columns, statistics, dialect, contrast, feature, source, list(table.notes))


def from_frame(
    frame: pd.DataFrame,
    *,
    contrast: str | None,
    feature: str | None,
    source: Mapping[str, Any] | None = None,
    treated: bool | None = None,
    coefficients: Sequence[str] = (),
) -> DETable:
    """A DataFrame; its index gives the ids unless it only counts rows.

    ``treated`` and ``coefficients``: what is known of a fit's table; otherwise they are found out.
    """
    header = [str(name) for name in frame.columns]
    dialect = dialects.recognise(header)
    if not len(frame):
        raise TableError("The table has no rows.")
    given = {name: frame.iloc[:, i] for i, name in enumerate(_distinct(header))}
    statistics = [name for name in given if name in dialect.columns]
    if dialect.kind == "F":
        statistics += list(coefficients) or _coefficient_columns(header, given)
    columns: dict[str, Any] = {}
    automatic = isinstance(frame.index, pd.RangeIndex) or frame.attrs.get("automatic_row_names", False)
    if not automatic or feature == "":
        columns[""] = [str(name) for name in frame.index]
    for name, values in given.items():
        if name in statistics and not pd.api.types.is_numeric_dtype(values):
            text = ["" if pd.isna(value) else str(value) for value in values]
            columns[name] = _numeric(text, tables.find_decimal([text]), name, "The table")
        elif name in statistics:
            columns[name] = values.to_numpy(dtype=float, na_value=np.nan)
        else:
            columns[name] = values.to_numpy() if isinstance(values.dtype, np.dtype) else values.array
    if automatic and "" not in columns:
        others = [name for name in columns if name not in statistics]
        if not others:  # nothing else identifies the rows
            columns = {"": [str(name) for name in frame.index], **columns}
    about = dict(source or {"type": "DataFrame"}) | {"rows_read": len(frame), "rows_lost": 0}
    return _assemble(columns, statistics, dialect, contrast, feature, about, [], treated)


def from_r(obj: Any, *, contrast: str | None, coef: Any, feature: str | None) -> DETable:
    """A live R object: a data.frame, or limma's fit after eBayes or treat."""
    classes = r.r_class(obj)
    if "MArrayLM" in classes:
        frame, about = r_limma.toptable(obj, coef)
        names = about["contrasts"]
        several = names if len(names) > 1 else ()
        about = {"type": "MArrayLM", **about}
        label = contrast or ", ".join(names)
        treated = "treat_lfc" in about
        return from_frame(
            frame, contrast=label, feature=feature, source=about, treated=treated, coefficients=several
        )  # fmt: skip
    if coef is not None:
        raise InputError(f"coef= chooses a coefficient of a limma fit (MArrayLM); got an R object of class {classes}.")
    if "data.frame" in classes:
        return from_frame(r.to_frame(obj), contrast=contrast, feature=feature, source={"type": "R data.frame"})
    raise TableError(
        f"An R object of class {classes} cannot be read yet; pass limma's fit after eBayes or treat (MArrayLM), or a "
        "data.frame: as.data.frame(topTable(fit, number=Inf))."
    )


# -- from columns to a DETable -----------------------------------------------------------------------------------------


def _assemble(
    columns: dict[str, Any],
    statistics: Sequence[str],
    dialect: dialects.Dialect,
    contrast: str | None,
    feature: str | None,
    source: dict[str, Any],
    notes: list[str],
    treated: bool | None = None,
) -> DETable:
    text = {name: [_text(value) for value in values] for name, values in columns.items() if name not in statistics}
    column, ids = dialects.choose_ids(text, feature, statistics)
    kept = {}
    for name, values in columns.items():
        # row names that are not the ids are row numbers
        if name != column and not (name in dialects.ROW_NAMES and name not in statistics):
            kept[dialect.columns.get(name, name)] = values
    frame = pd.DataFrame(kept, index=pd.Index(ids, dtype=str))
    frame = _finite(frame, notes)
    whole = _adjusts_itself(frame)
    frame, lost = _one_row_a_feature(frame, notes)
    source["rows_lost"] += lost
    known = dialect.kind == "t" and treated is not None
    kind = ("treat" if treated else "t") if known else dialects.kind_of(dialect, frame)
    mangled = [name for name in frame.index if _EXCEL.fullmatch(name)]
    if mangled:
        notes.append(
            f"{len(mangled)} ids look as if Excel had turned them into dates or numbers ({', '.join(mangled[:3])}); "
            "they are kept as they are"
        )
    source |= {
        "dialect": dialect.name,
        "ids": column or "row names",
        "columns": [f"{name} -> {dialect.columns.get(name, name)}" for name in statistics],
    }
    de = DETable(frame, kind=kind, contrast=contrast or "", source=source)
    if not whole:
        notes.append(
            "adj.P.Val is not the Benjamini-Hochberg adjustment of these p-values: the table was cut (topTable gives 10 "
            "rows unless number=Inf) or filtered, or adjusted otherwise"
        )
    source["warnings"] = notes
    for note in notes:
        warnings.warn(f"{source.get('path', 'The table')}: {note}.", DataWarning, stacklevel=4)
    return de


def _adjusts_itself(frame: pd.DataFrame) -> bool:
    """Whether adj.P.Val follows from the p-values of these rows (to the digits that rounding leaves)."""
    if "adj.P.Val" not in frame.columns:
        return True
    stated, again = frame["adj.P.Val"].to_numpy(), adjust_bh(frame["P.Value"].to_numpy())
    return bool(np.allclose(stated, again, rtol=5e-3, atol=1e-12, equal_nan=True))


def _finite(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    for name in [name for name in LIMMA_COLUMNS if name in frame.columns]:
        values = frame[name].to_numpy(dtype=float)
        endless = int(np.isinf(values).sum())
        if endless:
            notes.append(f"{endless} infinite values of {name} are missing now")
        frame[name] = np.where(np.isinf(values), np.nan, values)
    return frame


def _one_row_a_feature(frame: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, int]:
    """Without rows that have no id; of rows with one id, the one with the smallest p-value."""
    rows = len(frame)
    blank = np.array([not name.strip() for name in frame.index])
    if blank.any():
        notes.append(f"{int(blank.sum())} rows have no id and were left out")
        frame = frame[~blank]
    if frame.index.has_duplicates:
        shown = first_duplicates(frame.index)
        order = np.argsort(frame["P.Value"].to_numpy(), kind="stable")  # NaN last
        best = np.sort(order[~frame.index[order].duplicated()])
        notes.append(
            f"{len(frame) - len(best)} rows repeat an id ({shown}); of each id the row with the smallest P.Value is kept"
        )
        frame = frame.iloc[best]
    if not len(frame):
        raise TableError("No row has an id. Name the column that holds them: feature='...'.")
    return frame, rows - len(frame)


def _coefficient_columns(header: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    """Columns of an F table that hold log fold changes: those before AveExpr (or F) that are numbers."""
    end = header.index("AveExpr") if "AveExpr" in header else header.index("F")
    found = []
    for name in header[:end]:
        column = list(values[name])
        # a coefficient reads 0.123, an id that happens to be a number 7157
        as_text = [_text(value) for value in column]
        looks_right = any("." in value or "," in value or "e" in value.lower() for value in as_text)
        odd = min(len(tables.numbers(as_text, mark)[1]) for mark in ".,")
        if name not in LIMMA_COLUMNS and name not in dialects.ROW_NAMES and looks_right and not odd:
            found.append(name)
    return found


def _numeric(values: Sequence[str], decimal: str, column: str, where: str) -> np.ndarray:
    out, strange = tables.numbers(values, decimal)
    if strange:
        raise TableError(
            f"{where}: column {column!r} should hold numbers, and {len(strange)} of {len(values)} values are none "
            f"({', '.join(map(repr, strange[:3]))}). Mend them, or empty them if they are missing."
        )
    return out


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _distinct(header: Sequence[str]) -> list[str]:
    """Names made distinct the way R does (``name.1``), so that no annotation column is lost."""
    seen: dict[str, int] = {}
    out = []
    for name in header:
        count = seen.get(name, 0)
        seen[name] = count + 1
        out.append(f"{name}.{count}" if count else name)
    return out
