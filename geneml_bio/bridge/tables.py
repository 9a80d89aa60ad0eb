"""Text tables as people save them -> columns of text: encoding, separator, quotes, shifted headers. Nothing is converted."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import TableError

MISSING = frozenset({"", "NA", "NaN", "nan", "N/A", "#N/A", "NULL", "null", "None", "<NA>", "-nan"})
_PACKED: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ", lzma.decompress),
)
_FOREIGN = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive; save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV (UTF-8)"),
    (b"\x89HDF", "an HDF5 file; an .h5ad is read by gb.read.expression"),
    (b"RDX", "an R workspace; in R: write.csv(table, 'table.csv')"),
    (b"X\n", "an R object (.rds); in R: write.csv(readRDS(path), 'table.csv')"),
    (b"%PDF", "a PDF"),
)
# arguments of read_csv that make every number the nearest double; since pandas 3.1 that is the default, and asking warns
EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)
_SEPARATORS = ("\t", ",", ";", "|", " ")
_HEAD = 200  # lines looked at to find out how a file is written


@dataclass(frozen=True)
class Layout:
    """How a text table is written.

    Parameters
    ----------
    separator, quoted
        Field separator; whether double quotes enclose fields.
    shifted
        The header has one field fewer than the rows (R's ``write.table``): the first column holds row names.
    skip
        Lines before the header (comments).
    encoding
        Of the file.
    """

    separator: str
    quoted: bool
    shifted: bool
    skip: int
    encoding: str


@dataclass(frozen=True)
class TextTable:
    """A table as text, column by column, with a record of how it was read."""

    header: list[str]
    columns: list[list[str]]
    layout: Layout
    rows_read: int
    rows_lost: int
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return self.rows_read - self.rows_lost


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, unpacked; a TableError for what is not text."""
    if not path.exists():
        siblings = sorted(p.name for p in path.parent.iterdir() if p.is_file())[:6] if path.parent.is_dir() else []
        raise TableError(
            f"There is no file {str(path)!r}." + (f" Beside it: {', '.join(siblings)}." if siblings else "")
        )
    if path.is_dir():
        raise TableError(f"{str(path)!r} is a folder; name a file in it.")
    data = path.read_bytes()
    for magic, unpack in _PACKED:
        if data.startswith(magic):
            try:
                data = unpack(data)
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                raise TableError(f"{path.name} is packed but damaged ({error}); fetch it again.") from error
            break
    for magic, what in _FOREIGN:
        if data.startswith(magic):
            raise TableError(f"{path.name} is {what}. It cannot be read as a text table.")
    return data


def decode(data: bytes, name: str) -> tuple[str, str]:
    """Text and encoding: by its byte-order mark, else UTF-8, else Windows-1252 / Latin-1."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                return data.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise TableError(f"{name} claims to be {encoding} but is not: {error}.") from error
    if b"\x00" in data[:4096]:
        raise TableError(f"{name} holds binary data, not a text table.")
    for encoding in ("utf-8", "cp1252"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def find_layout(text: str, encoding: str, name: str) -> Layout:
    """How the table is written, from its first lines."""
    lines = text.splitlines(keepends=True)
    skip = 0
    while skip < len(lines) and (lines[skip].startswith("#") or not lines[skip].strip()):
        skip += 1
    separators: Sequence[str] = _SEPARATORS
    declared = re.fullmatch(r"\ufeff?sep=(.)\s*", lines[skip]) if skip < len(lines) else None
    if declared:  # Excel's own way of naming the separator
        separators, skip = (declared.group(1),), skip + 1
    head = "".join(lines[skip : skip + _HEAD])
    best: tuple[float, int, Layout] | None = None
    for separator in separators:
        for quoted in (True, False):
            rows = rows_of(head, separator, quoted)
            if len(rows) < 2:
                continue
            width, count = Counter(len(row) for row in rows[1:]).most_common(1)[0]
            shift = width - len(rows[0])
            if width < 2 or shift not in (0, 1):
                continue
            share = count / (len(rows) - 1)
            layout = Layout(separator, quoted, shift == 1, skip, encoding)
            # agreement on the number of fields first; quotes are believed unless they break rows
            if best is None or (round(share, 2), width if quoted else 0) > (round(best[0], 2), best[1]):
                best = (share, width if quoted else 0, layout)
    if best is None:
        shown = repr(head[:80]) if head else "nothing"
        raise TableError(
            f"{name} is not a table with a header, columns and at least one row; it begins with {shown}. An empty table "
            "(no row passed a filter) looks like this too."
        )
    return best[2]


def rows_of(text: str, separator: str, quoted: bool) -> list[list[str]]:
    """Rows of fields, without the empty ones."""
    stream = io.StringIO(text, newline="")
    loose = separator == " "
    try:
        if quoted:
            rows = list(csv.reader(stream, delimiter=separator, skipinitialspace=loose))
        else:
            rows = list(csv.reader(stream, delimiter=separator, skipinitialspace=loose, quoting=csv.QUOTE_NONE))
    except csv.Error:
        return []
    return [row for row in rows if row and any(cell.strip() for cell in row)]


def read_table(path: Path) -> TextTable:
    """All columns of a text table as text.

    Rows with another number of fields than the rest are left out and counted.
    """
    text, encoding = decode(read_bytes(path), path.name)
    layout = find_layout(text, encoding, path.name)
    body = "".join(text.splitlines(keepends=True)[layout.skip :])
    rows = rows_of(body, layout.separator, layout.quoted)
    header, rows = rows[0], rows[1:]
    if layout.shifted:
        header = ["", *header]
    whole = [row for row in rows if len(row) == len(header)]
    columns = [list(column) for column in zip(*whole, strict=True)] if whole else [[] for _ in header]
    lost = len(rows) - len(whole)
    notes = [f"{lost} rows do not have {len(header)} fields and were left out"] if lost else []
    return TextTable([name.strip() for name in header], columns, layout, len(rows), lost, notes)


def numbers(values: Sequence[str], decimal: str = ".") -> tuple[np.ndarray, list[str]]:
    """Text as numbers, missing as NaN; and the values that are neither (a few of them)."""
    out = np.full(len(values), np.nan)
    strange: list[str] = []
    for i, value in enumerate(values):
        cell = value.strip()
        if cell in MISSING:
            continue
        try:
            if "_" in cell:  # float() takes Python's 1_000
                raise ValueError
            out[i] = float(cell.replace(",", ".") if decimal == "," else cell)
        except ValueError:
            strange.append(value)
    return out, strange


def find_decimal(columns: Sequence[Sequence[str]]) -> str:
    """The decimal mark of columns that should be numbers."""
    fails = {mark: sum(len(numbers(column, mark)[1]) for column in columns) for mark in ".,"}
    return "," if fails[","] < fails["."] else "."
