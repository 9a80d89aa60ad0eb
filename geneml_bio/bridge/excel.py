"""Workbooks (.xlsx, .xlsm) -> tables of text, as Excel shows them: numbers in full, dates where genes were, stored values."""

from __future__ import annotations

import datetime
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from ..core.errors import ColumnNotFoundError, TableError, near
from . import files
from .layouts import locate
from .records import Record
from .rows import TextTable, collect

_MOST_CELLS = 50_000_000
_HEAD = 400
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FORMULA = re.compile(rb"<f[ >/]")


def sheets(data: bytes, name: str, sheet: str | None) -> tuple[dict[str, TextTable], list[str]]:
    """Tables of the visible sheets (or of the one named), and why others are none."""
    files.check_workbook(data, name)
    found: dict[str, TextTable] = {}
    faults: list[str] = []
    book = _open(data, name, stored=True)
    try:
        visible = [page.title for page in book.worksheets if page.sheet_state == "visible"]
        hidden = [page.title for page in book.worksheets if page.title not in visible]
        if not visible + hidden:
            raise TableError(
                f"{name} has no sheets that can be read; save it as an ordinary Excel workbook (.xlsx), or as CSV."
            )
        if sheet is not None and sheet not in visible + hidden:
            raise ColumnNotFoundError(f"{name} has no sheet {sheet!r}.{near(sheet, visible + hidden)}")
        for page in book.worksheets:
            title = page.title
            if title != sheet and (sheet is not None or title in hidden):
                continue
            where = f"{name}, sheet {title!r}"
            try:
                found[title] = _table(page, data, where)
            except TableError as error:
                faults.append(str(error))
                continue
            found[title].about.update(sheet=title, sheets=visible, hidden=hidden)
    finally:
        book.close()
    if not found and hidden and sheet is None:
        faults.append(f"{name} has hidden sheets, which are read by name only: sheet={hidden[0]!r}.")
    return found, faults


def _open(data: bytes, name: str, *, stored: bool) -> Any:
    """The workbook; ``stored``: with the values of formulas instead of formulas."""
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that are not read
            return openpyxl.load_workbook(
                io.BytesIO(data), read_only=True, data_only=stored, keep_links=False, rich_text=False
            )
    except Exception as error:  # a damaged workbook fails in many ways
        raise TableError(
            f"{name} is no workbook that can be read ({_said(error)}); open it in Excel and save it again."
        ) from error


def _table(page: Any, data: bytes, where: str) -> TextTable:
    """The table of one sheet."""
    dates: dict[tuple[int, int], Any] = {}
    rows = list(_rows(page, where, dates))
    head = [(line, row) for line, row in rows if any(row)][:_HEAD]
    # a word beside the table makes a column; a cell at the end of the sheet does not
    lengths = sorted(len(row) for _, row in head)
    limit = 2 * lengths[len(lengths) // 2] + 20 if lengths else 0
    width = max((len(row) for _, row in rows if len(row) <= limit), default=0)
    if len(head) < 1 or width < 2:
        raise TableError(f"{where}, is empty or has a single column.")
    found = locate([(line, row + [""] * (width - len(row))) for line, row in head])
    if found is None:
        raise TableError(f"{where}, is no table with a header and rows; it begins with {_begin(head)}.")
    mangled = _show_dates(rows, dates, found.body)
    body = ((line, row + [""] * (found.width - len(row))) for line, row in rows if line >= found.body)
    table = collect(body, found, where)
    if mangled:
        shown = ", ".join(list(dict.fromkeys(mangled))[:5])
        table.notes.append(f"{len(mangled)} cells among text are dates ({shown}): genes that Excel has changed?")
    table.notes.extend(_unsaved(page, data, where))
    return table


def _rows(page: Any, where: str, dates: dict[tuple[int, int], Any]) -> Iterator[Record]:
    """Rows of text, without blank cells at their ends; blank rows too, since they divide tables."""
    cells = blank = 0
    try:
        page.reset_dimensions()  # programs write wrong ones
        for line, row in enumerate(page.iter_rows(), start=1):
            cells += len(row) + 1
            if cells > _MOST_CELLS:
                raise TableError(
                    f"{where}, has more than {_MOST_CELLS:,} cells, too many for a table of genes; save it as CSV."
                )
            out = []
            for i, cell in enumerate(row):
                value = cell.value
                if isinstance(value, datetime.date | datetime.time | datetime.timedelta):
                    dates[line, i] = (value, str(cell.number_format))
                out.append(_text(value))
            while out and not out[-1].strip():
                out.pop()
            blank = 0 if out else blank + 1
            if blank < 3:
                yield line, out
    except TableError:
        raise
    except Exception as error:  # damaged XML fails in many ways
        raise TableError(f"{where}, is damaged ({_said(error)}); open it in Excel and save it again.") from error


def _text(value: Any) -> str:
    """A cell as Excel shows it, numbers with all their digits."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(sep=" ")
    return str(value)


def _show_dates(rows: list[Record], dates: dict[tuple[int, int], Any], body: int) -> list[str]:
    """Write dates that stand among words as Excel shows a gene it has changed (``1-Mar``); those of a column of dates stay."""
    columns = {column for line, column in dates if line >= body}
    words = {
        column
        for column in columns
        if any(len(row) > column and row[column] and line >= body and (line, column) not in dates for line, row in rows)
    }
    mangled = []
    for line, row in rows:
        for column in words & set(range(len(row))):
            value, style = dates.get((line, column), (None, ""))
            if isinstance(value, datetime.date):
                month = _MONTHS[value.month - 1]
                by_year = re.search(r"m{3}\W*y", style.lower()) and "d" not in style.lower()
                row[column] = f"{month}-{value.year % 100:02d}" if by_year else f"{value.day}-{month}"
                if line >= body:
                    mangled.append(row[column])
    return mangled


def _unsaved(page: Any, data: bytes, where: str) -> list[str]:
    """A note on formulas that no program has computed yet: their values are not in the file."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        path = getattr(page, "_worksheet_path", "")
        if path not in archive.namelist() or not _FORMULA.search(archive.read(path)):
            return []
    book = _open(data, where, stored=False)
    try:
        n = sum(
            formula.data_type == "f" and cell.value is None
            for formulas, cells in zip(book[page.title].iter_rows(), page.iter_rows(), strict=False)
            for formula, cell in zip(formulas, cells, strict=False)
        )
    finally:
        book.close()
    if not n:
        return []
    return [
        f"{n} formulas have no stored value and are missing; open the workbook in Excel, save it, and read it again"
    ]


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:80]}"


def _begin(head: Iterable[Record]) -> str:
    return ", ".join(repr(cell) for _, row in head for cell in row[:3] if cell)[:80]
