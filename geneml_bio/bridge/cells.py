"""A table as it came: names and columns, of text or of numbers, before anything is made of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import TableError
from . import tables
from .formulas import uncalmed

# no numbers, and no mistakes either: what spreadsheets and programs write where there is no number
_NO_NUMBER = re.compile(
    r"#?(?:N/?A|N\.A\.|NaN|ND|n\.d\.|none|null|missing|undefined|NOTEST|not tested)!?|\?+|\.\.+",
    re.IGNORECASE,
)
_BOUND = re.compile(r"\s*(?:<|&lt;|≤|<=)\s*(\d*[.,]?\d+(?:[eE][+-]?\d+)?)\s*")
_STARRED = re.compile(r"\s*([-+]?\d*[.,]?\d+(?:[eE][+-]?\d+)?)\s*\*{1,4}\s*")
_POWER = re.compile(r"\s*([-+]?\d*[.,]?\d+)\s*[x×*]\s*10\s*\^?\s*[(]?([-−+]?\d+)[)]?\s*", re.IGNORECASE)
_THOUSANDS = re.compile(r"\s*[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?\s*")


@dataclass
class Cells:
    """Columns of a table that was read but not understood yet.

    Parameters
    ----------
    header
        Names as they are; repeated ones too. ``""`` is the name of row names.
    columns
        As many sequences: of text, or arrays.
    about
        What is known of the source, for ``DETable.source``.
    notes
        What must be told of it.
    name
        For messages.
    """

    header: list[str]
    columns: list[Any]
    about: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    name: str = "The table"

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def text(self, i: int) -> list[str]:
        """A column as text; missing as ``""``."""
        column = self.columns[i]
        if isinstance(column, list):  # of text already
            return column
        if i not in self._texts:
            self._texts[i] = [as_text(value) for value in column]
        return self._texts[i]

    def of_numbers(self, i: int) -> bool:
        """Whether a column came as numbers."""
        column = self.columns[i]
        dtype = getattr(column, "dtype", None)
        return dtype is not None and pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)

    def array(self, i: int) -> np.ndarray:
        """A column that came as numbers."""
        return pd.Series(self.columns[i]).to_numpy(dtype=float, na_value=np.nan)

    @cached_property
    def _texts(self) -> dict[int, list[str]]:
        return {}

    @cached_property
    def _numeric(self) -> dict[int, bool]:
        return {}

    def looks_numeric(self, i: int) -> bool:
        """Whether most of what a column holds reads as numbers."""
        if i not in self._numeric:
            if self.of_numbers(i):
                answer = True
            else:
                seen = (value for value in self.text(i) if value.strip() not in tables.MISSING)
                some = list(
                    itertools.islice((value for value in seen if not _NO_NUMBER.fullmatch(value.strip())), 2000)
                )
                odd = min(len(_odd(some, mark)) for mark in ".,") if some else 1
                answer = odd <= 0.5 * len(some) if some else not self.text(i)
            self._numeric[i] = answer
        return self._numeric[i]

    def decimal(self, columns: Sequence[int]) -> str:
        """The decimal mark of columns that hold numbers."""
        return tables.find_decimal([self.text(i) for i in columns if not self.of_numbers(i)])

    def where(self, mask: np.ndarray) -> Cells:
        """Some of the rows."""
        rows = np.flatnonzero(mask)
        kept = [
            [column[k] for k in rows] if isinstance(column, list) else pd.Series(column).iloc[rows].array
            for column in self.columns
        ]
        return Cells(self.header, kept, dict(self.about), list(self.notes), self.name)


def _odd(values: Sequence[str], decimal: str) -> list[str]:
    return [value for value in tables.numbers(values, decimal)[1] if not _readable(value)]


def _readable(value: str) -> bool:
    return any(pattern.fullmatch(value) for pattern in (_BOUND, _STARRED, _POWER, _THOUSANDS))


def as_text(value: Any) -> str:
    """One cell as text; missing as ``""``, a whole float without its ``.0``."""
    if isinstance(value, str):
        return value
    if (
        value is None
        or value is pd.NA
        or value is pd.NaT
        or (isinstance(value, float | np.floating) and np.isnan(value))
    ):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def read_numbers(cells: Cells, i: int, decimal: str, *, p_value: bool = False) -> tuple[np.ndarray, list[str]]:
    """A column as numbers; and what had to be interpreted, as notes.

    Raises
    ------
    TableError
        If it holds values that are no numbers.
    """
    if cells.of_numbers(i):
        return cells.array(i), []
    values, name = cells.text(i), cells.header[i]
    out, strange = tables.numbers(values, decimal)
    if not strange:
        return out, []
    odd = set(strange)
    # 1,234 is a thousand and more only where other cells of the column have decimal points
    grouped = any("." in value and "," not in value for value in values)
    counts: dict[str, list[str]] = {}
    bad: list[str] = []
    for k, value in enumerate(values):
        if value not in odd:
            continue
        kind, number = _interpret(value, decimal, p_value, grouped)
        if not kind:
            bad.append(value)
            continue
        out[k] = number
        counts.setdefault(kind, []).append(value)
    if bad:
        raise TableError(
            f"{cells.name}: column {name!r} should hold numbers, and {len(bad)} of {len(values)} values are none "
            f"({', '.join(map(repr, bad[:3]))}). Mend them, or empty them if they are missing."
        )
    return out, [f"{len(those)} values of {name!r} ({those[0].strip()!r}) {kind}" for kind, those in counts.items()]


def _interpret(value: str, decimal: str, p_value: bool, grouped: bool) -> tuple[str, float]:
    """How a value that is no plain number is read, and its number; ``""``: not at all."""

    def number(text: str) -> float:
        return float(text.replace(",", ".") if decimal == "," else text)

    if _NO_NUMBER.fullmatch(value.strip()):
        return "are missing", np.nan
    try:
        if p_value and (hit := _BOUND.fullmatch(value)):
            return "are bounds; the bound itself stands for them, so they are at least this small", number(hit.group(1))
        if p_value and (hit := _STARRED.fullmatch(value)):
            return "were read without their stars", number(hit.group(1))
        if hit := _POWER.fullmatch(value):
            return "were read as powers of ten", number(hit.group(1)) * 10.0 ** int(hit.group(2).replace("−", "-"))
    except (ValueError, OverflowError):
        return "", np.nan
    if decimal == "." and grouped and _THOUSANDS.fullmatch(value):
        return "were read with commas between thousands", float(value.replace(",", ""))
    return "", np.nan


def of_frame(frame: pd.DataFrame, about: Mapping[str, Any]) -> Cells:
    """A DataFrame's columns; its index is a column of row names unless it only counts rows."""
    if isinstance(frame.index, pd.MultiIndex):
        levels = [str(name) if name is not None else f"level_{k}" for k, name in enumerate(frame.index.names)]
        frame = frame.reset_index(names=levels).set_axis([*levels, *frame.columns], axis=1)
    header = [_flat(name) for name in frame.columns]
    columns: list[Any] = [frame.iloc[:, i] for i in range(frame.shape[1])]
    columns = [_quiet(c.to_numpy()) if isinstance(c.dtype, np.dtype) else c.array for c in columns]
    automatic = isinstance(frame.index, pd.RangeIndex) or frame.attrs.get("automatic_row_names", False)
    index = [as_text(name) for name in frame.index]
    if not automatic or not any(not _is_number(column) for column in columns):
        # the name of an index tells what it holds; one that a column has too is left to the column
        label = "" if frame.index.name is None or automatic else str(frame.index.name)
        header, columns = ["" if label in header else label, *header], [index, *columns]
    return Cells(header, columns, dict(about) | {"rows_read": len(frame), "rows_lost": 0})


def _quiet(values: np.ndarray) -> np.ndarray:
    """Without R's NA, a NaN that makes arithmetic warn."""
    return np.where(np.isnan(values), np.nan, values) if values.dtype == float else values


def _is_number(column: Any) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype))


def _flat(name: Any) -> str:
    return "_".join(str(part) for part in name if str(part)) if isinstance(name, tuple) else str(name)


def of_text(table: Any, name: str, path: str) -> Cells:
    """What the reader of text tables or workbooks gives."""
    about: dict[str, Any] = {"path": path}
    about |= {key: value for key, value in table.about.items() if value not in (None, [], "")}
    about |= {"rows_read": table.rows_read, "rows_lost": table.rows_lost}
    header, columns = list(table.header), list(table.columns)
    if "separator" in about:  # a spreadsheet's mark of text, put before what it would run as a formula
        header = [uncalmed(one) for one in header]
        columns = [
            [uncalmed(one) for one in column] if any(one[:1] == "'" for one in column) else column for column in columns
        ]
    return Cells(header, columns, about, list(table.notes), name)
