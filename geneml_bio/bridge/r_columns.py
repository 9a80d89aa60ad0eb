"""Tables of R (data.frame, tibble, data.table, DataFrame) as plain data -> what ``helpers.R`` makes of a live one."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import TableError
from .r_budget import COLUMN, TEXT, spend
from .r_frames import build_frame
from .r_values import NA_INTEGER, NULL, RValue, number_text

_ATOMIC = ("logical", "integer", "double", "complex", "character", "raw")
_POSIXCT = RValue("character", ["POSIXct", "POSIXt"])


def is_table(value: RValue) -> bool:
    """A data.frame or what extends it, or an S4 DataFrame (DFrame) or what extends that."""
    return (value.type == "list" and "data.frame" in value.classes) or (
        value.type == "S4" and value.attr("listData") is not None and "nrows" in value.attributes
    )


def frame_of(value: RValue, lost: list[str] | None = None) -> pd.DataFrame:
    """A table as a DataFrame, its row names as text (see :func:`geneml_bio.bridge.r_frames.build_frame`).

    Names of columns that a DataFrame cannot hold (ranges, say) are added to ``lost``, with their class.
    """
    columns, names = [], []
    rows, automatic = _row_names(value)
    for name, part in _columns(value, len(rows), [] if lost is None else lost):
        spend(1, "columns", COLUMN)
        names.append(name)
        columns.append(part)
    return build_frame({"columns": columns, "names": names, "rows": rows, "automatic": [automatic]})


def _row_names(value: RValue) -> tuple[list[str], bool]:
    if value.type == "S4":
        named, n = value.texts("rownames"), whole_number(value.attr("nrows"))
        if named is None:
            return numbered(_checked(n, value), "rows"), True
        return [name or "NA" for name in named], False
    own = value.attr("row.names")
    if own is None:
        lengths = [length_of(item) for item in value.value]
        return numbered(max(lengths, default=0), "rows"), True
    if own.type == "character":
        return [name or "NA" for name in own.value], False
    numbers = own.value
    if len(numbers) == 2 and (numbers[0] == NA_INTEGER or numbers[0] != numbers[0]):  # c(NA, -n): n rows, counted
        return numbered(_checked(abs(int(numbers[1])), value), "rows"), True
    spend(len(numbers), "rows", TEXT)
    return [str(int(i)) for i in numbers], True


def _checked(n: int, value: RValue) -> int:
    """The number of rows that a table claims, where a column bears it out."""
    items = (value.attr("listData") or NULL).value if value.type == "S4" else value.value
    if items and not any(rows_of(item) == n for item in items):
        raise TableError(f"The table claims {n} rows, and no column has as many: the file is damaged.")
    return n


def numbered(n: int, what: str) -> list[str]:
    """Numbers from 1 as the names of rows or columns that have none."""
    spend(n, what, TEXT)
    return [str(i + 1) for i in range(n)]


def _columns(value: RValue, n: int, lost: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    held = value.attr("listData") if value.type == "S4" else value
    items = (held.value if held is not None else None) or []
    names = (held.names if held is not None else None) or [f"V{i + 1}" for i in range(len(items))]
    for name, item in zip(names, items, strict=True):
        name, item = name or "NA", plain(item)
        if is_table(item):
            more: list[str] = []
            yield from ((f"{name}.{inner}", part) for inner, part in _columns(item, n, more))
            lost += [f"{name}.{inner}" for inner in more]
            continue
        dim = item.dim
        if dim is not None and len(dim) == 2 and item.type in _ATOMIC:
            if dim[0] * dim[1] != length_of(item):
                raise TableError(
                    f"Column {name!r} of {dim[0]} x {dim[1]} has {length_of(item)} values: the file is damaged."
                )
            inner = (dimnames(item)[1]) or numbered(dim[1], "columns")
            yield from (
                (f"{name}.{label}", _column(_slice(item, j * n, (j + 1) * n), n, name)) for j, label in enumerate(inner)
            )
            continue
        if item.type not in (*_ATOMIC, "list", "NULL") or "POSIXlt" in item.classes:
            lost.append(f"{name} ({item.classes[0]})")
            continue
        yield name, _column(item, n, name)


def _slice(value: RValue, start: int, stop: int) -> RValue:
    keep = {name: item for name, item in value.attributes.items() if name in ("levels", "class", "units", "tzone")}
    return RValue(value.type, value.value[start:stop], keep)


def _column(value: RValue, n: int, name: str) -> dict[str, Any]:
    """One column in the form of ``column`` in ``helpers.R``."""
    classes = value.classes
    if "factor" in classes:
        part: dict[str, Any] = {
            "kind": ["factor"],
            "values": numbers_of(value),
            "levels": value.texts("levels") or [],
            "ordered": ["ordered" in classes],
        }
    elif "integer64" in classes and value.type == "double":
        part = {"kind": ["integer64"], "values": np.ascontiguousarray(value.value)}
    elif value.type in ("logical", "integer", "double") and not {"Date", "POSIXct", "difftime"} & set(classes):
        part = {"kind": [value.type], "values": numbers_of(value)}
    else:
        part = {"kind": ["text"], "values": texts_of(value)}
    if len(part["values"]) != n:
        raise TableError(f"Column {name!r} has {len(part['values'])} values for {n} rows: the file is damaged.")
    return part


# -- vectors -----------------------------------------------------------------------------------------------------------


def plain(value: RValue) -> RValue:
    """Run-length encoded vectors and lists of vectors (Bioconductor's Rle, CharacterList, ...) written out.

    R's times in parts (POSIXlt) become seconds, where they say how far they are from UTC.
    """
    if value.type == "list" and "POSIXlt" in value.classes:
        seconds = _seconds(value)
        return value if seconds is None else RValue("double", seconds, {"class": _POSIXCT})
    if value.type != "S4":
        return value
    values, lengths = value.attr("values"), value.attr("lengths")
    if values is not None and lengths is not None:  # Rle
        repeats = lengths.value
        if (repeats < 0).any():
            raise TableError("A run-length encoded vector is damaged.")
        spend(int(repeats.sum(dtype=np.int64)), "values of a run-length encoded vector")
        keep = {name: item for name, item in values.attributes.items() if name != "names"}
        if isinstance(values.value, np.ndarray):
            return RValue(values.type, np.repeat(values.value, repeats), keep)
        again = np.repeat(np.array(values.value, dtype=object), repeats).tolist()
        return RValue(values.type, again, keep)
    flat, ends = value.attr("unlistData"), (value.attr("partitioning") or NULL).attr("end")
    if flat is not None and ends is not None and flat.type in _ATOMIC:
        stops = ends.value.tolist()
        if stops and (stops[0] < 0 or stops[-1] > length_of(flat) or (np.diff(ends.value) < 0).any()):
            raise TableError("A list of vectors is damaged: its parts overlap.")
        return RValue("list", [_slice(flat, a, b) for a, b in zip([0, *stops[:-1]], stops, strict=True)])
    held = value.attr("listData")
    if held is not None and "nrows" not in value.attributes and held.type == "list":
        return RValue("list", held.value)
    return value


def length_of(value: RValue) -> int:
    """R's ``length`` of a vector or list."""
    return len(value.value) if value.value is not None and hasattr(value.value, "__len__") else 0


def rows_of(value: RValue) -> int:
    """How many rows a column has."""
    lengths = value.attr("lengths") if value.type == "S4" else None
    if lengths is not None and lengths.type == "integer":  # Rle: counted, not written out
        return int(lengths.value.sum(dtype=np.int64))
    value = plain(value)
    if value.dim:
        return value.dim[0]
    return len(_row_names(value)[0]) if is_table(value) else length_of(value)


def whole_number(value: RValue | None, default: int = 0) -> int:
    """The first number of a vector."""
    return default if value is None or not len(value.value) else int(value.value[0])


def numbers_of(value: RValue) -> np.ndarray:
    """Numbers as doubles, NA as NaN."""
    if value.type in ("integer", "logical"):
        return np.where(value.value == NA_INTEGER, np.nan, value.value)
    if value.type != "double":
        raise TableError(f"Numbers were expected, and there is {value.classes[0]} ({value.type}).")
    return value.value


def texts_of(value: RValue) -> list[str | None]:
    """R's ``as.character``, with dates in ISO's form and None for NA."""
    classes = value.classes
    if value.type == "character":
        return list(value.value)
    if "factor" in classes:
        levels = value.texts("levels") or []
        return [None if code == NA_INTEGER else levels[code - 1] for code in value.value.tolist()]
    if "Date" in classes:
        return [_date(day) for day in numbers_of(value).tolist()]
    if "POSIXct" in classes:
        return [_time(second) for second in numbers_of(value).tolist()]
    if "difftime" in classes:
        unit = (value.texts("units") or [""])[0]
        return [None if x != x else f"{number_text(x)} {unit}" for x in numbers_of(value).tolist()]
    if value.type == "logical":
        return [None if x == NA_INTEGER else "TRUE" if x else "FALSE" for x in value.value.tolist()]
    if value.type == "integer":
        return [None if x == NA_INTEGER else str(x) for x in value.value.tolist()]
    if value.type == "double":
        return [None if text == "NA" else text for text in map(number_text, value.value.tolist())]
    if value.type == "complex":
        pairs = [(number_text(z.real), number_text(z.imag)) for z in value.value.tolist()]
        return [None if "NA" in pair else f"{pair[0]}{'' if pair[1][0] == '-' else '+'}{pair[1]}i" for pair in pairs]
    if value.type == "raw":
        return [f"{byte:02x}" for byte in value.value]
    if value.type == "list":
        return [_joined(item) for item in value.value]
    return []


def _joined(value: RValue) -> str | None:
    value = plain(value)
    if value.type == "list":
        inside = [text for item in value.value for text in [_joined(item)] if text is not None]
        return ";".join(inside) if inside else None
    if value.type not in _ATOMIC or not length_of(value):
        return None
    return ";".join("NA" if text is None else text for text in texts_of(value))


def _date(x: float) -> str | None:
    if not np.isfinite(x):
        return None
    try:
        return (datetime.date(1970, 1, 1) + datetime.timedelta(days=float(np.floor(x)))).isoformat()
    except OverflowError:
        return number_text(x)


def _time(x: float) -> str | None:
    """Seconds as a time of UTC, to the microsecond: more a double of today's seconds does not hold."""
    if not np.isfinite(x):
        return None
    try:
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=round(x * 1e6))
    except OverflowError:
        return number_text(x)
    text = moment.isoformat()
    return text.rstrip("0") if moment.microsecond else text


def _seconds(value: RValue) -> np.ndarray | None:
    """R's times in parts as seconds of UTC; None where nothing tells how far from UTC they are."""
    parts = {
        name: numbers_of(item) for name, item in zip(value.names or [], value.value, strict=True) if name != "zone"
    }
    n = max((len(part) for part in parts.values()), default=0)
    full = {name: np.resize(part, n) for name, part in parts.items() if len(part)}
    year, month, day, hour, minute, second = (full[name] for name in ("year", "mon", "mday", "hour", "min", "sec"))
    known = np.isfinite(year + month + day + hour + minute + second)
    away = full.get("gmtoff", np.full(n, np.nan))
    if (value.texts("tzone") or [""])[0] in ("UTC", "GMT"):
        away = np.zeros(n)
    if not np.isfinite(away[known]).all():
        return None
    months = np.where(known, (year - 70) * 12 + month, 0).astype(np.int64)
    days = months.astype("M8[M]").astype("M8[D]").astype(np.int64) + day - 1
    return np.where(known, days * 86400.0 + hour * 3600 + minute * 60 + second - away, np.nan)


# -- matrices ----------------------------------------------------------------------------------------------------------


def dimnames(value: RValue) -> tuple[list[str] | None, list[str] | None]:
    """Row and column names of a matrix; None where it has none."""
    held = value.attr("dimnames") or value.attr("Dimnames")
    if held is None or held.type != "list" or len(held.value) != 2:
        return None, None
    rows, columns = (
        [text if text is not None else "NA" for text in texts_of(item)]
        if item.type != "NULL" and length_of(item)
        else None
        for item in held.value
    )
    return rows, columns


def matrix_of(value: RValue) -> np.ndarray:
    """A dense numeric matrix, rows as R has them (a view in R's order); a vector is one column. NA as NaN."""
    shape = value.dim or (length_of(value), 1)
    values = value.value
    if value.type in ("integer", "logical") and (values == NA_INTEGER).any():
        values = numbers_of(value)
    elif value.type not in ("double", "integer", "logical"):
        raise TableError(f"A matrix of numbers was expected, and there is {'/'.join(value.classes)} ({value.type}).")
    if len(shape) != 2 or shape[0] * shape[1] != len(values):
        raise TableError(f"A matrix of {' x '.join(map(str, shape))} has {len(values)} values: the file is damaged.")
    return values.reshape(shape, order="F")
