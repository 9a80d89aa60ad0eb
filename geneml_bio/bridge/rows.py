"""Rows under a header -> a table: which of them belong to it, and what to say of those that do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import TableError
from .layouts import MARKS, Header, Layout, is_comment, named_to_the_end, text_cells
from .numerals import looks_numeric
from .records import Record

_MOST_CELLS = 50_000_000
_CHUNK = 8192


@dataclass(frozen=True)
class TextTable:
    """A table as text, column by column, with a record of how it was read.

    Parameters
    ----------
    header
        Column names, stripped; as they are, so empty and repeated ones are kept.
    columns
        Cells exactly as in the file.
    about
        ``encoding``, ``separator``, ``quoted``, ``shifted``, ``compression``, ``line`` (of the header), ``comments`` (lines that
        are no rows), ``above`` (rows above the header, such as names of groups, cell by cell), ``sheet``.
    rows_read, rows_lost
        Rows under the header; those of them left out because their fields do not fit.
    notes
        What a reader of the table must know.
    """

    header: list[str]
    columns: list[list[str]]
    about: dict[str, Any]
    rows_read: int
    rows_lost: int
    notes: list[str] = field(default_factory=list)
    layout: Layout | None = None

    def __len__(self) -> int:
        return self.rows_read - self.rows_lost


class _Rows:
    """Rows under a header, sorted into those of the table and the rest."""

    def __init__(self, found: Header, name: str) -> None:
        self.found, self.name = found, name
        self.columns: list[list[str]] = [[] for _ in range(found.width)]
        self.comments = [_shown(row) for _, row in found.above if len([c for c in row if c.strip()])]
        self.lost: list[int] = []
        self.repeats: list[int] = []
        self.filled: list[int] = []
        self.prose: list[tuple[int, list[str], int]] = []
        self.other: tuple[int, list[str]] | None = None
        self.left = 0
        self.gap = False
        self.units = {line for line, _ in found.below}
        self.below: list[list[str]] = []

    def flush(self, rows: list[list[str]]) -> None:
        if rows:
            if (len(self.columns[0]) + len(rows)) * self.found.width > _MOST_CELLS:
                raise TableError(
                    f"{self.name} has more than {_MOST_CELLS:,} cells, too many for a table of genes. Cut out the columns that "
                    "are needed, or read it yourself and pass a DataFrame."
                )
            for column, cells in zip(self.columns, zip(*rows, strict=True), strict=True):
                column.extend(cells)
            rows.clear()

    def judge(self, line: int, row: list[str], n: int) -> list[str] | None:
        """What is unusual about a row; the row as it belongs to the table, or None."""
        width, numeric = self.found.width, self.found.numeric
        filled = [i for i, cell in enumerate(row) if cell.strip()]
        if not filled:
            self.gap = True
            return None
        after_gap, self.gap = self.gap, False
        if self.other is not None:
            self.left += 1
            return None
        if is_comment(row) and (len(row) != width or len(filled) == 1):
            self.comments.append(_shown(row))
            return None
        if row == self.found.names or (len(row) == width and row[1:] == self.found.names):
            self.repeats.append(line)
            return None
        if filled == [0] and (width > 2 or len(row) == 1):
            self.prose.append((line, row, n))
            return None
        if line in self.units:
            self.below.append(row)
            return None
        words, cells = text_cells(row, numeric)
        if after_gap and len(numeric) > 1 and words == cells > 1 and len(filled) > 2:
            self.other = (line, row)
            self.left = 0
            return None
        if len(row) > width and filled[-1] < width:
            return row[:width]
        if len(row) < width and width <= 300 and numeric:
            # cells lack at the end of a row: only if they are words, and all numbers are in their places
            missing = range(len(row), width)
            if not numeric & set(missing) and cells == len(numeric) and not words:
                self.filled.append(line)
                return row + [""] * len(missing)
        if len(row) != width:
            if _is_prose(row[0]) and not any(map(looks_numeric, row)):
                self.comments.append(_shown(row))  # a footnote with a comma
            else:
                self.lost.append(line)
            return None
        return row


def collect(records: Iterable[Record], found: Header, name: str) -> TextTable:
    """Rows under a header -> a table."""
    if not found.names:
        above = [row for _, row in found.above if len(row) > 1 and not is_comment(row)]
        fields = f"; the row above it has {len(above[-1])} fields, and it has {found.width}" if above else ""
        raise TableError(
            f"{name} has no header: its first row already holds numbers (line {found.line}{fields}). Put a line with the names "
            "of its columns above it, or pass a DataFrame with named columns."
        )
    rows, buffer = _Rows(found, name), []
    width, first = found.width, found.names[0] if len(found.names) == found.width else None
    n = 0
    units = max(rows.units, default=0)
    watchful = units > 0  # while units may come, after a blank row, and in another table
    for line, row in records:
        plain = len(row) == width and row[0] and row[0][0] not in MARKS and row[0] != first and (row[-1] or row[1])
        kept = row if plain and not watchful else rows.judge(line, row, n)
        if kept is not None:
            buffer.append(kept)
            n += 1
        watchful = rows.gap or rows.other is not None or line < units
        if len(buffer) >= _CHUNK:
            rows.flush(buffer)
    rows.flush(buffer)
    _sort_prose(rows)
    return _finish(rows)


def _sort_prose(rows: _Rows) -> None:
    """Rows with their first cell filled only: lines of text, unless ids are like them (a gene without any value)."""
    if not rows.prose:
        return
    ids = rows.columns[0]
    wordy = sum(" " in cell.strip() for cell in ids) > 0.05 * len(ids)
    back = [(n, row) for _, row, n in rows.prose if len(row) == rows.found.width and (wordy or not _is_prose(row[0]))]
    for line, row, _ in rows.prose:
        if len(row) == rows.found.width and (wordy or not _is_prose(row[0])):
            continue
        if _is_prose(row[0]):
            rows.comments.append(row[0].strip())
        else:
            rows.lost.append(line)
    for n, row in reversed(back):
        for column, cell in zip(rows.columns, row, strict=True):
            column.insert(n, cell)


def _is_prose(cell: str) -> bool:
    text = cell.strip()
    return (
        any(char.isspace() for char in text)
        or text.startswith(("*", "\u2020", "\u2021", "\u00a7", "("))
        or text.endswith(":")
    )


def _finish(rows: _Rows) -> TextTable:
    found, n, lost = rows.found, len(rows.columns[0]), sorted(rows.lost)
    if not n and not lost:
        raise TableError(
            f"{rows.name} has a header ({_shown(found.names)}) and no rows: a table of genes that passed a filter which none did?"
        )
    if 4 * len(lost) > n:
        raise TableError(
            f"{rows.name} comes apart badly: {len(lost)} of {n + len(lost)} rows do not have {found.width} fields (lines "
            f"{_some(lost)}). Unquoted separators inside cells, or decimal commas between commas? Save it with tabs or quotes."
        )
    header, columns, shifted = _named(found, rows.columns)
    notes = []
    if lost:
        notes.append(f"{len(lost)} rows do not have {found.width} fields and were left out (lines {_some(lost)})")
    if rows.filled:
        notes.append(
            f"{len(rows.filled)} rows end early, where other rows have words; what lacks is empty (lines {_some(rows.filled)})"
        )
    if rows.repeats:
        notes.append(
            f"the header is repeated inside the table (lines {_some(rows.repeats)}): several files one after the other?"
        )
    if rows.other is not None:
        notes.append(
            f"another table begins below, at line {rows.other[0]} ({_shown(rows.other[1])}); it was left out with its "
            f"{rows.left} rows"
        )
    if rows.below:
        shown = "; ".join(map(_shown, rows.below[:3]))
        notes.append(f"between header and numbers stands ({shown}), which is no row and was left out")
    about = {
        "shifted": shifted,
        "line": found.line,
        "comments": rows.comments,
        "above": [[cell.strip() for cell in row] for _, row in found.above if len(row) == found.width],
    }
    return TextTable(header, columns, about, n + len(lost), len(lost), notes)


def _named(found: Header, columns: list[list[str]]) -> tuple[list[str], list[list[str]], bool]:
    """Header and columns of the same number, without unnamed blank columns; and whether the header was shifted."""
    names, width = [name.strip().lstrip("\ufeff").strip() for name in found.names], found.width
    if found.hashed:
        names[0] = names[0].lstrip(MARKS + " ")
    filled = [any(map(str.strip, column)) for column in columns]
    shifted = len(names) == width - 1 and (filled[-1] or not named_to_the_end(found))
    names = ["", *names] if shifted else (names + [""] * width)[:width]
    keep = [i for i in range(width) if names[i] or filled[i]]
    # one column without a name may hold the row names, wherever it stands
    unnamed = [i for i in keep if not names[i]]
    for i in unnamed[1:]:
        names[i] = f"...{i + 1}"
    return [names[i] for i in keep], [columns[i] for i in keep], shifted


def _shown(row: Sequence[str]) -> str:
    filled = [cell.strip() for cell in row if cell.strip()]
    text = ", ".join(filled[:6]) + (", ..." if len(filled) > 6 else "")
    return text if len(text) <= 120 else text[:117] + "..."


def _some(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:5])) + (", ..." if len(lines) > 5 else "")
