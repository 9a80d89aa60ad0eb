"""Sheets of Excel: ids as text, numbers with all their digits, nothing that runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import pandas as pd

from ..core.errors import TableError
from .formulas import runs

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_MAX_ROWS, _MAX_CELL = 1_048_575, 32_767  # of a sheet, without the header
_WIDEST = 40


def is_text(values: pd.Series) -> bool:
    """Whether a column is neither numbers nor booleans."""
    return not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values))


def dressed(cell: Any, look: Mapping[str, Any]) -> None:
    """Give a cell its ``font``, ``fill`` and ``alignment``, where there are any."""
    if "font" in look:
        cell.font = look["font"]
    if "fill" in look:
        cell.fill = look["fill"]
    if "alignment" in look:
        cell.alignment = look["alignment"]


def add_sheet(
    book: Any,
    title: str,
    frame: pd.DataFrame,
    *,
    formats: Mapping[str, str] | None = None,
    look: Callable[[str, Any], Mapping[str, Any]] | None = None,
    wrapped: Collection[str] = (),
    header: Mapping[str, Any] | None = None,
) -> None:
    """A frame, without its index, as a sheet of a write-only workbook.

    Parameters
    ----------
    book
        Of openpyxl.
    title, frame
        Name and content of the sheet. Text cells are text, also where they look like a formula, a date or a number.
    formats
        Number formats by column; default: ``0.000``, and whole numbers as they are.
    look
        ``(column, value)`` of a text cell -> its attributes (``font``, ``fill``).
    wrapped
        Columns whose text is wrapped.
    header
        Attributes of the cells of the header.

    Raises
    ------
    TableError
        If Excel cannot hold it.
    """
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Alignment, Font
    from openpyxl.utils import get_column_letter

    if len(frame) > _MAX_ROWS:
        raise TableError(f"A sheet of Excel has {_MAX_ROWS:,} rows, the table {len(frame):,}; write csv or parquet.")
    sheet = book.create_sheet(title)
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(frame.shape[1])}{len(frame) + 1}"
    names = [str(name) for name in frame.columns]
    kinds = [is_text(frame.iloc[:, i]) for i in range(frame.shape[1])]
    for i, text in enumerate(kinds):
        sample = [len(str(v)) for v in frame.iloc[:200, i] if not pd.isna(v)] if text else [9]
        width = min(max(len(names[i]), *sample, 8), _WIDEST) if sample else max(len(names[i]), 8)
        sheet.column_dimensions[get_column_letter(i + 1)].width = (60 if names[i] in wrapped else width) + 2
    wrap = Alignment(wrap_text=True, vertical="top")

    def text_cell(name: str, value: str) -> Any:
        if len(value) > _MAX_CELL or _CONTROL.search(value):
            raise TableError(
                f"{value[:40]!r} cannot be in a cell of Excel: it holds control characters, or more than {_MAX_CELL:,} letters."
            )
        made = WriteOnlyCell(sheet, value=value)
        made.data_type, made.number_format = "s", "@"
        made.quotePrefix = runs(value)
        if look is not None:
            dressed(made, look(name, value))
        if name in wrapped:
            made.alignment = wrap
        return made

    def number_cell(value: Any, format: str) -> Any:
        made = WriteOnlyCell(sheet, value=repr(value) if isinstance(value, float) else value)
        if isinstance(value, float):
            made.data_type = "n"  # the text of a number: openpyxl itself would write 16 of its 17 digits
        made.number_format = format
        return made

    top = []
    for name in names:
        made = text_cell("", name)
        made.font = Font(bold=True)
        dressed(made, header or {})
        top.append(made)
    sheet.append(top)
    whole = [frame.iloc[:, i].dtype.kind in "iub" for i in range(frame.shape[1])]
    shown = [(formats or {}).get(name, "General" if w else "0.000") for name, w in zip(names, whole, strict=True)]
    columns = [frame.iloc[:, i].tolist() for i in range(frame.shape[1])]
    for row in zip(*columns, strict=True):
        sheet.append(
            [
                None if pd.isna(v) else text_cell(name, str(v)) if text else number_cell(v, f)
                for v, name, text, f in zip(row, names, kinds, shown, strict=True)
            ]
        )
