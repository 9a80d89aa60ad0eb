"""Which column holds the feature ids, and what stands in it: counters, blanks, repeats, stacked experiments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.errors import ColumnNotFoundError, TableError, near
from ..core.ids import first_duplicates, keep_one
from . import mangled
from .cells import Cells
from .dialects import Dialect
from .matching import distinct
from .vocabulary import ALWAYS_STACKED, ID_NAMES, MISSING_ID, NEVER_STACKED, ROW_NAMES, STACK_NAMES
from .words import norm


@dataclass(frozen=True)
class Ids:
    """The ids of a table.

    Parameters
    ----------
    name, position
        Their column.
    values
        One a row.
    others
        Other columns that could have been taken.
    """

    name: str
    position: int
    values: list[str]
    others: list[str]


def missing(value: str) -> bool:
    """Whether a cell says that there is no id."""
    return value.strip().lower() in MISSING_ID


def choose(cells: Cells, taken: Collection[int], feature: str | None) -> Ids:
    """The column of ids: the one asked for, else row names, else by name, else text; unique ones before others.

    Raises
    ------
    ColumnNotFoundError
        If the column asked for is not there.
    TableError
        If no column can be one.
    """
    names = distinct(cells.header)
    if feature is not None:
        if feature not in names:
            raise ColumnNotFoundError(f"There is no column {feature!r} for the feature ids.{near(feature, names)}")
        i = names.index(feature)
        return Ids(feature, i, cells.text(i), [])
    free = [i for i in range(len(names)) if i not in taken]
    text = {i: cells.text(i) for i in free}
    rows = [i for i in free if cells.header[i] in ROW_NAMES]
    named = [i for i in free if _rank(cells.header[i]) is not None and i not in rows and not _fractions(text[i])]
    named.sort(key=lambda i: _rank(cells.header[i]) or 0)
    rest = [i for i in free if i not in rows and i not in named and not _numeric(text[i]) and len(set(text[i])) > 1]
    rest = [i for i in rest if norm(cells.header[i]) not in STACK_NAMES]
    words = [i for i in [*rows, *named] if not _numeric(text[i])]
    counted = [
        i for i in [*rows, *named] if _counts(text[i]) or (i in rows and _is_count(text[i], [text[k] for k in words]))
    ]
    order = [i for i in [*rows, *named, *rest] if i not in counted]
    likely = [i for i in order if i not in rest]
    kinds = {i: _kinds(text[i]) for i in order}
    unique = [i for i in likely or rest if _unique(text[i])] or _first(cells, likely, rest, text)
    # a number that annotates a gene does not stand for it where a name does, unless it comes first
    unique.sort(key=lambda i: i > 0 and i not in rows and _numeric(text[i]))
    named_well = [i for i in likely or rest if i in likely or 2 * kinds[i] > len(cells)]
    chosen = unique or sorted(named_well, key=lambda i: -kinds[i]) or counted
    if not chosen:
        raise TableError(_no_ids(cells, names, rest))
    i = chosen[0]
    if i in rows:
        # row names that R has numbered (TP53.1), of one part of a longer table
        plain = [k for k in named if k not in counted and _unique(text[k]) and numbered(text[i], text[k])]
        i = plain[0] if plain else i
    others = [names[k] for k in order if k != i and kinds[k] > 0.5 * _kinds(text[i])]
    return Ids(names[i], i, text[i], others)


def _first(cells: Cells, likely: list[int], rest: list[int], text: dict[int, list[str]]) -> list[int]:
    """The first column under a name that is not known, where it is unique and known ones are not, and is not made of them."""
    if 0 not in rest or not likely or not _unique(text[0]) or any(" " in value for value in text[0][:1000]):
        return []
    made = any(all(part in value for part, value in zip(text[i], text[0], strict=True)) for i in likely)
    return [] if made else [0]


def _no_ids(cells: Cells, names: list[str], rest: list[int]) -> str:
    """Why there are no ids, and how there will be."""
    few = [names[i] for i in rest]
    labels = f" {few[:4]} only label groups of rows." if few else ""
    plain = {norm(name) for name in names}
    regions = (
        " The rows are regions: a column such as chr1:817067-817478 would name them."
        if plain & {"chr", "chrom", "chromosome", "seqnames"} and "start" in plain
        else ""
    )
    return (
        f"{cells.name} has no column that looks like feature ids (columns: {names}).{labels}{regions} Were its row names left out "
        "(row.names=FALSE, index=False)? Save it with them; or, if a column does hold the ids, name it: feature='...'."
    )


def _rank(name: str) -> int | None:
    plain = norm(name)
    # Perseus writes T: before names of text
    plain = plain.removeprefix("t_") if name.startswith("T: ") else plain.removeprefix("pg_")
    for form in (plain, plain.replace("_", "")):
        if form in ID_NAMES:
            return ID_NAMES.index(form)
    return (
        len(ID_NAMES)
        if plain.endswith(("_id", "_ids", "_accession", "_accessions", "_symbol", "_name_or_id"))
        else None
    )


def _kinds(values: Sequence[str]) -> int:
    return sum(not missing(value) for value in set(values))


def _unique(values: Sequence[str]) -> bool:
    return len(set(values)) == len(values) and all(value.strip() for value in values)


def _counts(values: Sequence[str]) -> bool:
    if not values or not all(re.fullmatch(r"0|[1-9]\d*", value) for value in values):
        return False
    numbers = sorted(map(int, values)) if max(map(len, values)) < 12 else []
    return bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] in (0, 1)


def _is_count(values: Sequence[str], words: Sequence[Sequence[str]]) -> bool:
    """Whether an unnamed column of whole numbers is what is left of row numbers, beside columns of names.

    Numbers of genes (Entrez) go beyond 100,000; in a short table either may be, and names are taken if they are unique.
    """
    if not words or not all(re.fullmatch(r"0|[1-9]\d{0,11}", value) for value in values):
        return False
    return max(map(int, values)) < 100_000 or any(_unique(column) for column in words)


def _numeric(values: Sequence[str]) -> bool:
    return bool(values) and all(_float(value) for value in values if not missing(value))


def _fractions(values: Sequence[str]) -> bool:
    return _numeric(values) and any(re.search(r"[.,]\d", value) for value in values)


def _float(value: str) -> bool:
    try:
        float(value.replace(",", "."))
    except ValueError:
        return False
    return True


# -- several experiments in one table ----------------------------------------------------------------------------------


def stacked(cells: Cells, ids: Ids, taken: Collection[int], dialect: Dialect | None) -> list[str]:
    """The columns that tell stacked experiments apart; none if the table holds one.

    Ids repeat, and a column of few values makes each pair unique. Row names that R has numbered (``TP53.1``) hide it.
    """
    names = distinct(cells.header)
    own = dialect.stacked if dialect is not None else ()
    told = []
    for i, name in enumerate(names):
        likely = norm(name) in (*ALWAYS_STACKED, *own) or norm(name).startswith(("comparison_", "contrast_"))
        kinds = len(set(cells.text(i))) if likely else 0
        if i not in taken and i != ids.position and kinds > 1 and (norm(name) in own or kinds <= 0.9 * len(cells) + 1):
            told.append(name)
    told.sort(key=lambda name: own.index(norm(name)) if norm(name) in own else len(own))
    repeated = _repeated(cells, ids)
    if told or repeated is None:
        return told
    rows = len(repeated)
    found = []
    for i in range(len(names)):
        if i in taken or i == ids.position or cells.header[i] in ROW_NAMES:
            continue
        levels = cells.text(i)
        kinds = len(set(levels))
        if not 1 < kinds <= max(2, rows // 2) or kinds > 2000:
            continue
        if _rank(cells.header[i]) is not None and norm(cells.header[i]) not in STACK_NAMES:
            continue
        if norm(cells.header[i]) in NEVER_STACKED:
            continue
        pairs = [pair for pair in zip(repeated, levels, strict=True) if not missing(pair[0])]
        if len(set(pairs)) == len(pairs):
            likely = norm(cells.header[i]) in STACK_NAMES
            wordy = not _numeric(levels)
            if likely or (wordy and _blocks(levels)):
                found.append((not likely, kinds, names[i]))
    return [name for _, _, name in sorted(found)]


def _repeated(cells: Cells, ids: Ids) -> list[str] | None:
    """The ids that repeat: those taken, or those behind row names that R has made unique."""
    if len(set(ids.values)) < len(ids.values):
        return ids.values
    if cells.header[ids.position] in ROW_NAMES:
        for i, name in enumerate(cells.header):
            if _rank(name) is None or i == ids.position:
                continue
            column = cells.text(i)
            if len(set(column)) < len(column) and numbered(ids.values, column):
                return column
    return None


def numbered(rows: Sequence[str], column: Sequence[str]) -> bool:
    """Whether row names are the values of a column, made unique by numbers, as R does."""
    pairs = list(zip(rows, column, strict=True))
    return any(row != value for row, value in pairs) and all(
        row == value or (row.startswith(value) and re.fullmatch(r"\.?\d+", row[len(value) :])) for row, value in pairs
    )


def _blocks(levels: Sequence[str]) -> bool:
    """Whether each of the values stands for a good part of the rows."""
    counts = Counter(levels)
    return min(counts.values()) >= 2 and len(counts) <= 0.2 * len(levels) + 1


# -- blanks and repeats ------------------------------------------------------------------------------------------------


def settle(
    frame: pd.DataFrame, ids: Sequence[str], duplicates: str | None, notes: list[str], way_out: str = ""
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The frame with its ids as index, each once; and the ids that a spreadsheet has mangled.

    Rows without an id are left out. A marker of missing values that repeats is no id. Mangled ids that repeat are numbered as
    R does, for nobody can tell what they were. Other repeats are refused unless a policy is named.
    """
    index = np.array(ids, dtype=object)
    counts = Counter(index)
    gone = np.array([not name.strip() or (counts[name] > 1 and missing(name)) for name in index], dtype=bool)
    if gone.any():
        if gone.all():
            raise TableError("No row has an id. Name the column that holds them: feature='...'.")
        notes.append(f"{int(gone.sum())} rows have no id and were left out")
        frame, index = frame[~gone], index[~gone]
    found = mangled.find(list(index))
    seen: dict[str, int] = {}
    taken = set(index)
    for k, name in enumerate(index):
        if name not in found:
            continue
        count = seen.get(name, 0)
        while count and f"{name}.{count}" in taken:
            count += 1
        seen[name] = count + 1
        if count:
            index[k] = f"{name}.{count}"
            taken.add(index[k])
    if any(count > 1 for count in seen.values()):
        twice = [name for name, count in seen.items() if count > 1]
        notes.append(f"{len(twice)} of the mangled ids stand for several rows ({', '.join(twice[:3])}); these are numbered, as in "
                     f"{twice[0]}.1")  # fmt: skip
    frame = frame.set_axis(pd.Index(index, dtype=str), axis=0)
    shown = first_duplicates(frame.index)
    rows = keep_one(frame, frame.index, duplicates, way_out)
    if len(rows) < len(frame):
        notes.append(
            f"{len(frame) - len(rows)} rows repeat an id ({shown}); of each id one is kept (duplicates={duplicates!r})"
        )
    return frame.iloc[rows], found
