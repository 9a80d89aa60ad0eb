"""Lines of text -> records of fields: separators, quotes in every state of repair, fields that run over lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

Record = tuple[int, list[str]]  # number of its first line (from 1), fields

_JOINED = 50  # lines that a quoted field may run over
_BUDGET = 5_000_000  # letters looked at again for that, in a whole file
_ESCAPED = re.compile(r'\\"')


def lines_of(text: str) -> Iterator[str]:
    """Lines with their ends: LF, CRLF or CR."""
    return iter(io.StringIO(text, newline=""))


def strict_records(lines: Iterable[str], separator: str, start: int = 0, width: int | None = None) -> Iterator[Record]:
    """Records of text whose quotes are sound: fast. csv.Error where they are not.

    With ``width``, a record over several lines that are records of that width by themselves is an error too: two stray
    quotes would make one record of all the lines between them.
    """
    loose = separator == " "
    taken: list[str] = []

    def source() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line.strip(" ") if loose else line

    before = start
    for row in csv.reader(source(), delimiter=separator, skipinitialspace=loose, strict=True):
        if len(taken) > 1 and width is not None:
            first, *between, last = taken
            apart = _apart(first, last, separator, width) or any(_whole(line, separator, width) for line in between)
            if apart or len(taken) > _JOINED:
                raise csv.Error("stray quotes")
        yield before + 1, row
        before += len(taken)
        taken.clear()


def careful_records(lines: Iterable[str], separator: str, width: int | None, start: int = 0) -> Iterator[Record]:
    """Records line by line: a stray quote costs no more than its own line.

    ``width``: the number of fields that rows have, which decides between readings; None while it is not known.
    """
    waiting: list[str] = []
    source = iter(lines)
    number, budget = start, _BUDGET

    def ahead(n: int) -> bool:
        while len(waiting) < n:
            line = next(source, None)
            if line is None:
                return False
            waiting.append(line)
        return True

    while ahead(1):
        line = waiting.pop(0)
        number += 1
        first = number
        row = split_line(line, separator, width)
        if width is not None and line.count('"') % 2 and budget > 0:
            joined, odd = line, True
            for n in range(1, _JOINED):
                if not ahead(n) or budget < 0:
                    break
                following = waiting[n - 1]
                if _whole(following, separator, width) or _apart(line, following, separator, width):
                    break  # the next row is whole: the quote is a stray one
                joined += following
                odd ^= bool(following.count('"') % 2)
                budget -= len(following) if odd else len(joined)
                fields = None if odd else _parse(joined, separator)
                if fields is not None and len(fields) == width:
                    row, number = fields, number + n
                    del waiting[:n]
                    break
        yield first, row


def split_line(line: str, separator: str, width: int | None = None) -> list[str]:
    """Fields of one line, by the first way of reading its quotes that gives ``width`` fields.

    In turn: as CSV; with quotes escaped by backslashes, as R's ``write.table`` does; with quotes inside quoted fields; with
    quotes that mean nothing.
    """
    line = line.rstrip("\r\n")
    if separator == " ":
        line = line.strip(" ")
    if '"' not in line:
        return _plain(line, separator)
    first: list[str] | None = None
    for read in _READINGS if "\\" in line else _READINGS[::3]:
        row = read(line, separator)
        if row is not None and (width is None or len(row) == width):
            return row
        first = first if first is not None else row
    literal = _plain(line, separator)
    return literal if first is None or len(literal) == width else first


def _whole(line: str, separator: str, width: int) -> bool:
    """Whether a line is a sound row by itself."""
    if line.count('"') % 2:
        return False
    fields = _parse(line, separator) if '"' in line else _plain(line.rstrip("\r\n"), separator)
    return fields is not None and len(fields) == width


def _apart(first: str, last: str, separator: str, width: int) -> bool:
    """Whether two lines that a quote would join are rows by themselves, and in neither is a separator enclosed by quotes."""
    if not all(len(split_line(line, separator, width)) == width for line in (first, last)):
        return False
    at = re.escape(separator)
    enclosed = re.compile(rf'(?:^|{at})"[^"]*{at}[^"]*"{at}')
    return not enclosed.search(first) and not enclosed.search(last)


def _plain(line: str, separator: str) -> list[str]:
    return [cell for cell in line.split(" ") if cell] if separator == " " else line.split(separator)


def _parse(text: str, separator: str) -> list[str] | None:
    """One record as sound CSV, or None."""
    try:
        rows = list(csv.reader(lines_of(text), delimiter=separator, skipinitialspace=separator == " ", strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _escaped(line: str, separator: str) -> list[str] | None:
    return _parse(_ESCAPED.sub('""', line), separator)


def _escaped_inside(line: str, separator: str) -> list[str] | None:
    """As :func:`_escaped`, but a field may end in a backslash, which R does not escape."""
    return _parse(re.sub(rf'\\"(?!{re.escape(separator)}|$)', '""', line), separator)


def _lenient(line: str, separator: str) -> list[str] | None:
    """Quotes enclose a field if it begins with one and one stands before a separator; those between are letters."""
    fields: list[str] = []
    at, end, quotes = 0, len(line), True
    while True:
        if separator == " ":
            while line.startswith(" ", at):
                at += 1
        close = -1
        if quotes and line.startswith('"', at):
            close = line.find('"' + separator, at + 1)
            if close < 0 and end > at + 1 and line.endswith('"'):
                close = end - 1
            quotes = close >= 0
        if close >= 0:
            fields.append(line[at + 1 : close].replace('""', '"'))
            at = close + 1
        else:
            stop = line.find(separator, at)
            stop = stop if stop >= 0 else end
            fields.append(line[at:stop])
            at = stop
        if at >= end:
            return fields
        at += len(separator)


_READINGS: Sequence[Callable[[str, str], list[str] | None]] = (_parse, _escaped, _escaped_inside, _lenient)
