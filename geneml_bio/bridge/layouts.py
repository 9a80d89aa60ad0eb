"""How a table is written: its separator, and which row is the header. Judged by the rows, not by names of programs."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..core.errors import TableError
from .numerals import MISSING, looks_numeric
from .records import Record, careful_records, lines_of, split_line, strict_records

MARKS = "#!%"  # what comment lines begin with: most programs, GEO's series matrices, MATLAB
_SEPARATORS = ("\t", ",", ";", "|", " ")
_LINES, _LETTERS, _AT_LEAST = 400, 1_000_000, 5  # how much of a table is looked at
_SLICE = 1 << 25
_SAMPLED = 300  # columns looked at
_ABOVE = 12  # rows above the first row of numbers that may be the header
_STATISTIC = re.compile(
    r"log|fold|\bl?fc\b|p[._ -]?(?:val|adj)|adj|fdr|fwer|^[ptbfzq]$|stat|mean|score|aveexpr|cpm|^se$|lfcse|diff|effect|beta|ratio",
    re.IGNORECASE,
)
_NAME = re.compile(r"gene|symbol|probe|protein|ensembl|entrez|title|name|descr|\bids?\b|_id$", re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """Where the header of a table is, and what the rows under it look like.

    Parameters
    ----------
    names
        Cells of the header row as they are; empty where no row can be one.
    width
        Number of fields of the rows.
    line, body
        Lines of the header and of the first row under it (from 1).
    numeric
        Positions of columns that hold numbers (of the columns looked at).
    blank_end
        The last column is blank in the rows looked at.
    above, below
        Rows above the header, and those between it and the first row that have as many fields (units).
    hashed
        The header begins with a comment mark.
    rows
        How many rows were seen under it.
    score
        Greater for a better explanation of the lines.
    """

    names: list[str]
    width: int
    line: int
    body: int
    numeric: frozenset[int]
    blank_end: bool = False
    above: list[Record] = field(default_factory=list)
    below: list[Record] = field(default_factory=list)
    hashed: bool = False
    rows: int = 0
    score: float = 0.0


@dataclass(frozen=True)
class Layout:
    """How a text table is written.

    Parameters
    ----------
    separator, quoted
        Field separator; whether double quotes enclose fields (and are sound).
    shifted
        The header has one field fewer than the rows (R's ``write.table``): the first column holds row names.
    skip
        Lines before the header (comments, titles).
    encoding
        Of the file.
    header
        The header row.
    """

    separator: str
    quoted: bool
    shifted: bool
    skip: int
    encoding: str
    header: Header


def find_layout(text: str, encoding: str, name: str) -> Layout:
    """How the table is written, from its first lines."""
    lines, first, comment = _head(text)
    separators: Sequence[str] = _SEPARATORS
    declared = re.fullmatch(r"\ufeff*\"?sep=([^\w\"\r\n])\"?,*;*\s*", lines[0], re.IGNORECASE) if lines else None
    if declared:  # Excel's own way of naming the separator
        separators, lines, first = (declared.group(1),), lines[1:], first + 1
    best: Layout | None = None
    for separator in separators:
        for quoted in (True, False):
            rows = _strict(lines, separator, first) if quoted else _careful(lines, separator, first)
            kept = [(comment[0], split_line(comment[1], separator))] if comment else []
            found = locate(kept + rows)
            if found is None:
                continue
            shifted = len(found.names) == found.width - 1 and not named_to_the_end(found)
            layout = Layout(separator, quoted, shifted, found.line - 1, encoding, found)
            if best is None or (found.score, found.rows) > (best.header.score * 1.0001, best.header.rows):
                best = layout
    if best is None:
        start = "".join(lines)[:80] or (comment[1][:80] if comment else "")
        shown = repr(start) if start else "nothing"
        raise TableError(
            f"{name} is not a table with a header, columns and at least one row; it begins with {shown}. An empty table "
            "(no row passed a filter) looks like this too."
        )
    return best


def named_to_the_end(found: Header) -> bool:
    """Whether a header with one field fewer than the rows lacks the last name (a separator ends each row), not the first."""
    if not found.blank_end or not found.names or not found.names[-1].strip():
        return False
    fits = [0, 0]
    for offset in (0, 1):
        for i, name in enumerate(found.names):
            fits[offset] += bool(_STATISTIC.search(name)) and i + offset in found.numeric
    return fits[0] >= fits[1]


def is_comment(row: Sequence[str]) -> bool:
    """Whether a row begins as comment lines do."""
    return bool(row) and row[0].lstrip("\ufeff \"'")[:1] in tuple(MARKS)


def locate(rows: Sequence[Record]) -> Header | None:
    """The header among the first rows: the row that looks like one, above rows of numbers.

    Of the rows above the first row of numbers that have as many fields (one fewer in R's ``write.table``), the one with
    most cells filled, and with names of statistics and genes; so neither a title, nor Excel's merged cells, nor a row of units.
    """
    rows = [(line, row) for line, row in rows if any(cell.strip() for cell in row)]
    widths = Counter(len(row) for _, row in rows if len(row) > 1)
    best: Header | None = None
    for width, _ in sorted(widths.items(), key=lambda item: (-item[1], -item[0]))[:4]:
        found = _locate(rows, width)
        if found is not None and (best is None or found.score > best.score):
            best = found
    return best


def text_cells(row: Sequence[str], numeric: Sequence[int] | frozenset[int]) -> tuple[int, int]:
    """Of the cells in columns of numbers: how many are words, how many are filled."""
    words = filled = 0
    for i in numeric:
        cell = row[i].strip() if 0 <= i < len(row) else ""
        if cell:
            filled += 1
            words += cell not in MISSING and not looks_numeric(cell)
    return words, filled


def _locate(rows: Sequence[Record], width: int) -> Header | None:
    whole = [i for i, (_, row) in enumerate(rows) if len(row) == width]
    sampled = range(width) if width <= _SAMPLED else sorted({*range(0, width, width // _SAMPLED + 1), width - 1})
    numeric = frozenset(column for column in sampled if _is_numeric([rows[i][1][column] for i in whole[1:] or whole]))

    def like_a_header(row: Sequence[str], offset: int = 0) -> bool:
        words, filled = text_cells(row, [i - offset for i in numeric])
        return 2 * words >= filled and (words > 0 or not filled)

    if numeric:
        start = next((i for i in whole if not like_a_header(rows[i][1])), None)
    else:
        plain = [i for i, (_, row) in enumerate(rows) if len(row) in (width, width - 1) and not is_comment(row)]
        start = next((i for i in whole if plain and i > plain[0]), None)
    end = len(rows) if start is None else start
    data = [row for _, row in rows[end:] if len(row) == width]
    fits: dict[bool, list[int]] = {False: [], True: []}
    for i in range(max(0, end - _ABOVE), end):
        row = rows[i][1]
        filled = len(row) - next((k for k, cell in enumerate(reversed(row)) if cell.strip()), len(row))
        fit = len(row) == width or (len(row) == width - 1 and len(row) > 0) or (filled <= width < len(row))
        fit = fit or (2 <= len(row) < width and _blank_beyond(data, len(row)))
        # a shifted header at the very top may be of numbers: samples 1, 2, 3
        top = i == end - 1 and filled == len(row) == width - 1 and all(is_comment(rows[j][1]) for j in range(i))
        short = len(row) == width - 1
        named = top or (like_a_header(row, short) and not (short and any(map(looks_numeric, row))))
        if fit and filled > (1 if width > 2 else 0) and named:
            fits[is_comment(row)].append(i)
    # a comment line is the header where no other row can be
    for hashed in (False, True):
        if fits[hashed]:
            chosen = max(fits[hashed], key=lambda i: (_names(rows[i][1]), -i if not hashed else i))
            break
    else:
        chosen = -1
    if start is None and (chosen < 0 or len(rows[chosen][1]) != width or not _all_words(rows[chosen][1])):
        return None
    share = (len(data) + 1) / max(1, sum(not is_comment(row) for _, row in rows) + (chosen < 0))
    score = min(share, 1.0) * (1 + 2 * len(numeric) + min(width, 50) / 100) * (1 if chosen >= 0 else 0.2)
    score *= 0.6 if chosen >= 0 and is_comment(rows[chosen][1]) else 1
    return Header(
        names=rows[chosen][1] if chosen >= 0 else [],
        width=width,
        line=rows[chosen][0] if chosen >= 0 else rows[end][0],
        body=rows[chosen + 1][0] if chosen + 1 < len(rows) else rows[-1][0] + 1,
        numeric=numeric,
        blank_end=bool(data) and not any(row[-1].strip() for row in data),
        above=list(rows[:chosen] if chosen >= 0 else rows[:end]),
        below=[record for record in rows[chosen + 1 : end] if len(record[1]) == width] if chosen >= 0 else [],
        hashed=chosen >= 0 and is_comment(rows[chosen][1]),
        rows=len(data),
        score=score,
    )


def _names(row: Sequence[str]) -> int:
    filled = {cell.strip() for cell in row if cell.strip()}
    return len(filled) + 2 * sum(
        bool(_STATISTIC.search(cell) or _NAME.search(cell)) for cell in filled if len(cell) < 60
    )


def _is_numeric(cells: Sequence[str]) -> bool:
    """Whether a column holds numbers, for the most part."""
    filled = [cell for cell in cells if cell.strip() not in MISSING]
    return bool(filled) and 2 * sum(map(looks_numeric, filled)) >= len(filled)


def _blank_beyond(rows: Sequence[Sequence[str]], width: int) -> bool:
    return bool(rows) and not any(cell.strip() for row in rows for cell in row[width:])


def _all_words(row: Sequence[str]) -> bool:
    return (
        not is_comment(row)
        and not any(looks_numeric(cell) for cell in row)
        and any(_STATISTIC.search(cell) or _NAME.search(cell) for cell in row)
    )


def _head(text: str) -> tuple[list[str], int, tuple[int, str] | None]:
    """The first lines after leading comments, how many lines came before them, and the last of those comments."""
    lines: list[str] = []
    comment: tuple[int, str] | None = None
    first = letters = 0
    if len(text) > _SLICE:
        text = text[: max(text.rfind("\n", 0, _SLICE), text.rfind("\r", 0, _SLICE)) + 1] or text[:_SLICE]
    for number, line in enumerate(lines_of(text), start=1):
        bare = line.lstrip("\ufeff \"'")
        if not lines and (not bare.strip() or bare[0] in MARKS):
            comment = (number, line) if bare.strip() else comment
            first = number
            continue
        lines.append(line)
        letters += len(line)
        if len(lines) >= _LINES or (letters > _LETTERS and len(lines) >= _AT_LEAST):
            break
    return lines, first, comment


def _strict(lines: Sequence[str], separator: str, first: int) -> list[Record]:
    """Records as sound CSV, up to where it is not."""
    rows: list[Record] = []
    try:
        rows.extend(strict_records(lines, separator, first))
    except csv.Error:
        return rows if rows and rows[-1][0] - first > 0.5 * len(lines) else []
    return rows


def _careful(lines: Sequence[str], separator: str, first: int) -> list[Record]:
    rows = list(careful_records(lines, separator, None, first))
    widths = Counter(len(row) for _, row in rows if len(row) > 1)
    if widths and any('"' in line for line in lines):
        rows = list(careful_records(lines, separator, widths.most_common(1)[0][0], first))
    return rows
