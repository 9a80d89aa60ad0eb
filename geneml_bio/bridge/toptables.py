"""Anything that holds a DE table -> DETable."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.detable import DETable
from ..core.errors import ColumnNotFoundError, DataWarning, InputError, TableError, near
from . import columnar, dialects, files, r_objects, tables
from .assemble import Facts, assemble
from .cells import Cells, of_frame, of_text
from .matching import distinct
from .refusals import no_header
from .told import match


@dataclass(frozen=True)
class How:
    """The caller's choices: see :func:`geneml_bio.read.toptable`."""

    contrast: str | None = None
    coef: Any = None
    feature: str | None = None
    columns: Mapping[str, str | None] | None = None
    by: str | Sequence[str] | None = None
    duplicates: str | None = None
    sheet: str | None = None
    trusted: bool = False


Result = DETable | dict[str, DETable]


def from_path(path: Path, how: How) -> Result:
    """A file: text, a workbook, an R object, an AnnData, Parquet or Feather."""
    form = columnar.form_of(path)
    if form:
        return from_frame(columnar.read(path, form), how, source={"path": str(path), "format": form})
    kind = files.kind_of(path)
    if kind == "r":
        return from_r(path, how)
    if kind == "h5ad":
        from .scanpy_groups import from_h5ad

        return from_h5ad(path, how)
    found = tables.read_tables(path, how.sheet)
    if len(found) == 1:
        ((name, table),) = found.items()
        return read_cells(_cells(table, path, name), how)
    return _of_sheets(path, found, how)


def _cells(table: Any, path: Path, sheet: str) -> Cells:
    cells = of_text(table, path.name, str(path))
    if sheet:
        cells.about["sheet"] = sheet
        cells.name = f"{path.name}, sheet {sheet!r}"
    return cells


def _of_sheets(path: Path, found: Mapping[str, Any], how: How) -> Result:
    """The only sheet that holds a DE table."""
    read: dict[str, Cells] = {}
    refused: dict[str, TableError] = {}
    for name in found:
        cells = _cells(found[name], path, name)
        try:
            match(cells, dialects.recognise(cells.header), how.columns, how.coef)
        except (TableError, InputError, ColumnNotFoundError) as error:
            several = isinstance(error, TableError) and "side by side" in str(error)
            if several:
                read[name] = cells
            else:
                refused[name] = TableError(str(error))
        else:
            read[name] = cells
    if len(read) > 1:
        raise TableError(
            f"{path.name} has {len(read)} sheets that hold DE tables: {list(read)[:12]}. Choose one: sheet={next(iter(read))!r}."
        )
    if not read:
        reasons = "; ".join(f"{name!r}: {error}" for name, error in list(refused.items())[:3])
        raise TableError(f"No sheet of {path.name} holds a DE table. {reasons}")
    ((name, cells),) = read.items()
    cells.about["other_sheets"] = [other for other in found if other != name]
    return read_cells(cells, how)


def from_frame(frame: pd.DataFrame, how: How, *, source: Mapping[str, Any] | None = None, **known: Any) -> Result:
    """A DataFrame; its index gives the ids unless it only counts rows.

    ``known``: what an object of R says of its table; otherwise it is found out.
    """
    cells = of_frame(frame, source or {"type": "DataFrame"})
    cells.notes += cells.about.pop("notes", [])
    if "path" in cells.about:
        cells.name = Path(cells.about["path"]).name
    counted = isinstance(frame.index, pd.RangeIndex) or bool(frame.attrs.get("automatic_row_names", False))
    return read_cells(cells, how, Facts(counted=counted, **known))


def from_r(source: Any, how: How) -> Result:
    """An object of R, live or in a file."""
    table = r_objects.table_of(source, coef=how.coef, sheet=how.sheet, trusted=how.trusted)
    about = dict(table.about)
    label = how.contrast or _said(about.get("contrasts") or about.get("contrast") or about.get("comparison"))
    if about.get("coefficient") and not label:
        label = _said(about["coefficient"])
    return from_frame(
        table.frame,
        replace(how, contrast=label or None, coef=table.left, sheet=None),
        source=about,
        treated=table.treated,
        coefficients=table.coefficients,
        whole=table.whole,
    )


def _said(names: Any) -> str:
    return names if isinstance(names, str) else ", ".join(map(str, names or ()))


# -- from columns to tables --------------------------------------------------------------------------------------------


def read_cells(cells: Cells, how: How, facts: Facts | None = None) -> Result:
    """One table, or one by each value of ``by=``.

    Raises
    ------
    TableError, InputError
        If it is no DE table, or if two readings are possible.
    """
    if not len(cells):
        reason = no_header(cells)
        raise TableError(reason or f"{cells.name} has a header and no rows (was nothing significant?).")
    cells = _without_blank_rows(cells)
    facts = facts or Facts()
    if how.by is None:
        de = _one(cells, how, facts)
        _tell(de, cells.name)
        return de
    names = distinct(cells.header)
    by = [how.by] if isinstance(how.by, str) else list(how.by)
    for name in by:
        if name not in names:
            raise ColumnNotFoundError(f"by={name!r}: there is no such column.{near(name, names)}")
    codes, levels = pd.factorize(pd.MultiIndex.from_arrays([cells.text(names.index(name)) for name in by]))
    if len(levels) > 1000:
        raise InputError(
            f"by={how.by!r} would split {len(cells)} rows into {len(levels)} tables; is it a column of ids?"
        )
    out: dict[str, DETable] = {}
    for code, level in enumerate(levels):
        label = " / ".join(str(part).strip() for part in level)
        part = cells.where(codes == code)
        part.about |= {"by": how.by, "rows_read": len(part)}
        part.notes = list(cells.notes) if not out else []
        part.name = f"{cells.name}, {label}"
        out[label] = _one(
            part, replace(how, contrast=f"{how.contrast}: {label}" if how.contrast else label), facts, tuple(by)
        )
    for label, de in out.items():
        _tell(de, f"{cells.name}, {label}")
    return out


def _one(cells: Cells, how: How, facts: Facts, by: tuple[str, ...] = ()) -> DETable:
    annotation = cells.about.get("annotation", ())
    dialect = dialects.recognise([name for name in cells.header if name not in annotation])
    if dialect is not None and dialect.refuse and not how.columns:
        raise TableError(f"{cells.name} looks like {dialect.name}. {dialect.refuse}.")
    plan = match(cells, dialect, how.columns, how.coef)
    if facts.coefficients and plan.kind == "F":
        plan.coefficients = [cells.header.index(name) for name in facts.coefficients if name in cells.header]
    return assemble(cells, plan, dialect, how, facts, by)


def _tell(de: DETable, name: str) -> None:
    for note in de.source["warnings"]:
        warnings.warn(f"{name}: {note}.", DataWarning, stacklevel=5)


def _without_blank_rows(cells: Cells) -> Cells:
    """Without the rows that a spreadsheet leaves below a table."""
    blank = np.ones(len(cells), dtype=bool)
    for i in range(len(cells.header)):
        if cells.of_numbers(i):
            blank &= np.isnan(cells.array(i))
        else:
            blank &= np.array([not value.strip() for value in cells.text(i)])
        if not blank.any():
            return cells
    out = cells.where(~blank)
    out.about["rows_lost"] = cells.about["rows_lost"] + int(blank.sum())
    out.notes.append(f"{int(blank.sum())} blank rows were left out")
    if not len(out):
        raise TableError(f"{cells.name} has a header and blank rows only.")
    return out
