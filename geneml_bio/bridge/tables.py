"""Text tables and workbooks as people save them -> columns of text, right or refused. Nothing is converted here."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import ColumnNotFoundError, TableError, near
from . import files
from .files import read_bytes
from .layouts import MARKS, Layout, find_layout
from .numerals import MISSING, find_decimal, numbers
from .records import careful_records, lines_of, strict_records
from .rows import TextTable, collect

__all__ = [
    "EXACT",
    "MISSING",
    "Layout",
    "TextTable",
    "decode",
    "find_decimal",
    "find_layout",
    "numbers",
    "read_bytes",
    "read_table",
    "read_tables",
    "rows_of",
]

# arguments of read_csv that make every number the nearest double; since pandas 3.1 that is the default, and asking warns
EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LARGEST_LINE = 1 << 24
_HEAD = 1 << 22


def read_table(path: Path) -> TextTable:
    """The only table of a file; see :func:`read_tables`."""
    found = read_tables(path)
    if len(found) > 1:
        raise TableError(f"{path.name} holds {len(found)} tables ({', '.join(found)}); save one of them by itself.")
    return next(iter(found.values()))


def read_tables(path: Path, sheet: str | None = None) -> dict[str, TextTable]:
    """All tables of a file, each column as text.

    Parameters
    ----------
    path
        A text file, a workbook (.xlsx), or a zip archive of them.
    sheet
        Read this sheet (or member of an archive) only; hidden sheets are read only so.

    Returns
    -------
    One table under ``""`` for a text file, one under the name of each sheet or member otherwise.
    """
    data, packed = files.unpack(path)
    found, faults = _tables_of(data, path.name, sheet)
    if not found:
        raise TableError(" ".join(faults) if faults else f"{path.name} holds no table.")
    for table in found.values():
        if packed:
            table.about["compression"] = packed
        if faults and len(found) + len(faults) > 1:
            table.about["not_read"] = faults
    return found


def _tables_of(data: bytes, name: str, sheet: str | None) -> tuple[dict[str, TextTable], list[str]]:
    """Tables, and why other parts of the file are none."""
    kind = files.kind_of_bytes(data, name)
    if kind == "excel":
        from . import excel

        return excel.sheets(data, name, sheet)
    if kind == "zip":
        return _of_zip(data, name, sheet)
    if kind != "text":
        raise TableError(f"{name} is {'an R file' if kind == 'r' else 'an HDF5 file'}, not a table of text.")
    if sheet is not None:
        raise TableError(f"{name} is a text file and has no sheets; sheet={sheet!r} names one.")
    return {"": read_text(data, name)}, []


def _of_zip(data: bytes, name: str, sheet: str | None) -> tuple[dict[str, TextTable], list[str]]:
    found: dict[str, TextTable] = {}
    faults: list[str] = []
    known: list[str] = []
    for member, content in files.members(data, name):
        known.append(member)
        exact = sheet is not None and sheet in (member, member.rsplit("/", 1)[-1])
        if sheet is not None and not exact and not sheet.startswith(f"{member}:"):
            continue
        inner = sheet.removeprefix(f"{member}:") if sheet is not None and not exact else None
        try:
            if content.startswith(b"PK\x03\x04") and files.kind_of_bytes(content, member) == "zip":
                raise TableError(f"{member} in {name} is a zip in a zip; unpack it first.")
            tables, others = _tables_of(content, member, inner)
        except TableError as error:
            faults.append(str(error))
            continue
        faults += others
        for key, table in tables.items():
            table.about["member"] = member
            found[f"{member}:{key}" if key else member] = table
    if sheet is not None and not found and not faults:
        raise ColumnNotFoundError(f"{name} holds no {sheet!r}.{near(sheet, known)}")
    return found, faults


# -- text --------------------------------------------------------------------------------------------------------------


def decode(data: bytes, name: str) -> tuple[str, str]:
    """Text and encoding; see :func:`find_encoding`."""
    encoding = find_encoding(data, name)
    return data.decode(encoding), encoding


def find_encoding(data: bytes, name: str) -> str:
    """By the byte-order mark, by the zeros that UTF-16 and UTF-32 leave, else UTF-8, else Windows-1252 (Mac: CR only) or Latin-1."""
    encoding = next((encoding for mark, encoding in _BOMS if data.startswith(mark)), "") or _by_zeros(data[:4096])
    if encoding:
        if not _decodes(data, encoding):
            raise TableError(f"{name} begins as {encoding} but goes on as something else; it is damaged or cut short.")
        return encoding
    zero = data.find(b"\x00")
    if zero >= 0:
        raise TableError(f"{name} holds binary data (a NUL at byte {zero:,}), not a text table; it may be damaged.")
    if _decodes(data, "utf-8"):
        return "utf-8"
    if b"\r" in data and b"\n" not in data:
        return "mac-roman"
    return "cp1252" if _decodes(data, "cp1252") else "latin-1"


def _by_zeros(head: bytes) -> str:
    """UTF-16 or UTF-32 without a mark: most letters of a table are ASCII, so their other bytes are zero."""
    if len(head) < 8 or b"\x00" not in head:
        return ""
    share = [head[i::4].count(0) / len(head[i::4]) for i in range(4)]
    patterns = {
        "utf-32-le": (0, 1, 1, 1),
        "utf-32-be": (1, 1, 1, 0),
        "utf-16-le": (0, 1, 0, 1),
        "utf-16-be": (1, 0, 1, 0),
    }
    for encoding, pattern in patterns.items():
        if all(s > 0.6 if zero else s < 0.05 for s, zero in zip(share, pattern, strict=True)):
            return encoding
    return ""


def _decodes(data: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    view = memoryview(data)
    try:
        for at in range(0, len(data), _HEAD):
            decoder.decode(view[at : at + _HEAD])
        decoder.decode(b"", True)
    except UnicodeError:
        return False
    return True


def rows_of(text: str, separator: str, quoted: bool) -> list[list[str]]:
    """Rows of fields, without the empty ones."""
    lines = lines_of(text)
    if quoted:
        rows = [row for _, row in careful_records(lines, separator, None)]
    else:
        rows = [line.rstrip("\r\n").split(separator) for line in lines]
        rows = [[cell for cell in row if cell] for row in rows] if separator == " " else rows
    return [row for row in rows if any(cell.strip() for cell in row)]


def read_text(data: bytes, name: str) -> TextTable:
    """A text table from its bytes."""
    encoding = find_encoding(data, name)
    layout = find_layout(_head(data, encoding, name), encoding, name)
    found = layout.header
    body = _body(data, encoding, found.body, name)
    table = None
    if layout.quoted:
        try:
            table = collect(strict_records(body, layout.separator, found.body - 1, found.width), found, name)
        except (csv.Error, TableError):
            table = None
        if table is not None and (table.rows_lost or len(table.about["comments"]) > len(found.above)) and b'"' in data:
            table = None  # quotes may be to blame
    if table is None:
        body = _body(data, encoding, found.body, name)
        table = collect(careful_records(body, layout.separator, found.width, found.body - 1), found, name)
    about = {"separator": layout.separator, "encoding": encoding, "quoted": layout.quoted, **table.about}
    return TextTable(table.header, table.columns, about, table.rows_read, table.rows_lost, table.notes, layout)


def _lines(data: bytes, encoding: str, name: str) -> Iterator[str]:
    stream = io.TextIOWrapper(io.BytesIO(data), encoding=encoding, newline="")
    if len(data) < _LARGEST_LINE:
        yield from stream
        return
    for line in iter(lambda: stream.readline(_LARGEST_LINE), ""):
        if len(line) >= _LARGEST_LINE:
            raise TableError(f"{name} has a line of more than {_LARGEST_LINE:,} letters; no table of genes has one.")
        yield line


def _body(data: bytes, encoding: str, first: int, name: str) -> Iterator[str]:
    return itertools.islice(_lines(data, encoding, name), first - 1, None)


def _head(data: bytes, encoding: str, name: str) -> str:
    """Enough text to find the layout: leading comments and some hundred lines after them."""
    lines: list[str] = []
    rows = letters = 0
    for line in _lines(data, encoding, name):
        lines.append(line)
        letters += len(line)
        rows += not (line[0] in MARKS or line.isspace()) or rows > 0
        if rows > 450 or (rows > 10 and letters > _HEAD) or letters > 8 * _HEAD:
            break
    return "".join(lines)
