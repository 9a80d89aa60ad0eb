"""DE tables into files for others: csv, tsv, xlsx, parquet, h5ad."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.detable import DETable
from ..core.errors import InputError, StorageError, TableError, near
from ..core.names import LIMMA_COLUMNS
from .formulas import calmed, runs

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_MAX_ROWS, _MAX_CELL = 1_048_575, 32_767  # of a sheet in Excel, without the header
# formats that keep what a suffix promises, where it is not a format itself
_PROMISED: dict[str, tuple[str, ...]] = {"txt": ("csv", "tsv"), "tab": ("tsv",), "pq": ("parquet",)}
_PROMISED |= dict.fromkeys(("gz", "bz2", "xz", "zip", "zst", "xls", "rds", "rda", "rdata"), ())
_SMALL = frozenset({"P.Value", "adj.P.Val", "pvalue", "padj", "PValue", "FDR", "pvals", "pvals_adj", "p_value", "adj_p_value"})  # fmt: skip


def write(
    de: DETable, path: str | os.PathLike[str], *, to: str | None = None, dialect: str = "limma", force: bool = False
) -> Path:
    """Write a table; returns the path.

    Parameters
    ----------
    de
        The table.
    path
        Where to. The file appears when it is whole.
    to
        ``"csv"``, ``"tsv"``, ``"xlsx"``, ``"parquet"`` or ``"h5ad"``; default: by the suffix.

        In csv and tsv numbers have all their digits, missing is ``NA``, and text that a spreadsheet would run as a formula
        has an apostrophe before it, which :func:`geneml_bio.read.toptable` takes off again. In xlsx ids are text cells, so that
        Excel turns none into a date or a number. The h5ad holds no samples: genes with the statistics in ``.var`` under
        ``limma_...`` (:func:`geneml_bio.get.de` reads them), and scanpy's ``rank_genes_groups`` where there is one contrast.
    dialect
        Whose column names: see :meth:`geneml_bio.DETable.to`.
    force
        Whether a file that is there may be replaced.

    Raises
    ------
    InputError
        If the format is unknown or is not that of the suffix, the file is there or cannot be made, or what writes it is missing.
    TableError
        If the format cannot hold the table.
    """
    path = Path(path)
    to = checked(path, to=to, dialect=dialect, force=force)
    with whole(path, f".{to}") as made:
        WRITERS[to](de, made, dialect)
    return path


@contextmanager
def whole(path: Path, suffix: str) -> Iterator[Path]:
    """A file to write in place of ``path``, which it becomes when all is written; errors name ``path``."""
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=suffix)
        os.close(handle)
        yield Path(name)
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except OSError as error:
        reason = error.strerror or (str(error).replace(name, str(path)) if name else str(error))
        raise InputError(f"{path} cannot be written: {reason}.") from error
    finally:
        if name:
            Path(name).unlink(missing_ok=True)


def checked(path: Path, *, to: str | None = None, dialect: str = "limma", force: bool = False) -> str:
    """The format of a file that is going to be written, or an error that says why it cannot be: see :func:`write`."""
    suffix = path.suffix.removeprefix(".").lower()
    to = (suffix or "none") if to is None else to.lower()
    if to not in WRITERS:
        raise InputError(f"{to!r} is no format that can be written.{near(to, WRITERS)}")
    if to not in _PROMISED.get(suffix, (suffix,) if suffix in WRITERS else (to,)):
        raise InputError(f"{path.name!r} is no name for {to}: its suffix says {suffix}. Change the name or the format.")
    if to == "h5ad" and dialect != "limma":
        raise InputError(f"dialect={dialect!r} names columns of a table; an h5ad has the names of docs/keys.md.")
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(
            f"{path} cannot be written: {'it is a folder' if path.is_dir() else f'there is no folder {path.parent}'}."
        )
    if path.exists() and not force:
        raise InputError(f"{path} is there already. Name another file, or allow it to be replaced: force=True.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: there is no permission to make files in {path.parent}.")
    return to


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _frame(de: DETable, dialect: str) -> pd.DataFrame:
    """The table in the names of a dialect, its ids the first column (without a name, as R writes row names)."""
    frame = de.to(dialect)
    if isinstance(frame.index, pd.RangeIndex):
        return frame
    frame = frame.copy()
    frame.insert(0, frame.index.name or "", frame.index.astype(str), allow_duplicates=True)
    return frame


def _as_text(values: pd.Series) -> bool:
    return not (pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values))


def _separated(separator: str) -> Callable[[DETable, Path, str], None]:
    def write_text(de: DETable, path: Path, dialect: str) -> None:
        import csv

        frame = _frame(de, dialect)
        columns = []
        for i in range(frame.shape[1]):
            values = frame.iloc[:, i]
            if _as_text(values):
                columns.append(["" if pd.isna(value) else calmed(str(value)) for value in values])
            else:
                columns.append(["NA" if pd.isna(value) else repr(value) for value in values.tolist()])
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=separator, lineterminator="\n")
            writer.writerow([calmed(str(name)) for name in frame.columns])
            writer.writerows(zip(*columns, strict=True))

    return write_text


def _xlsx(de: DETable, path: Path, dialect: str) -> None:
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter

    frame = _frame(de, dialect)
    if len(frame) > _MAX_ROWS:
        raise TableError(f"A sheet of Excel has {_MAX_ROWS:,} rows, the table {len(frame):,}; write csv or parquet.")
    book = Workbook(write_only=True)
    sheet = book.create_sheet("toptable")
    sheet.freeze_panes = "B2"
    sheet.auto_filter.ref = f"A1:{get_column_letter(frame.shape[1])}{len(frame) + 1}"
    kinds = [_as_text(frame.iloc[:, i]) for i in range(frame.shape[1])]
    for i, text in enumerate(kinds):
        longest = max([len(str(frame.columns[i])), *(len(str(v)) for v in frame.iloc[:200, i])]) if text else 11
        sheet.column_dimensions[get_column_letter(i + 1)].width = min(max(longest, 8), 40) + 2

    def cell(value: Any, format: str | None = None) -> Any:
        if format is None:
            if len(value) > _MAX_CELL or _CONTROL.search(value):
                raise TableError(
                    f"{value[:40]!r} cannot be in a cell of Excel: it holds control characters, or more than {_MAX_CELL:,} letters."
                )
            made = WriteOnlyCell(sheet, value=value)
            made.data_type, made.number_format = "s", "@"
            made.quotePrefix = runs(value)
            return made
        made = WriteOnlyCell(sheet, value=repr(value) if isinstance(value, float) else value)
        if isinstance(value, float):
            made.data_type = "n"  # the text of a number: openpyxl itself would write 16 of its 17 digits
        made.number_format = format
        return made

    header = [cell(str(name)) for name in frame.columns]
    for one in header:
        one.font = Font(bold=True)
    sheet.append(header)
    formats = [
        None if text else "0.00E+00" if name in _SMALL else "0.000"
        for name, text in zip(frame.columns, kinds, strict=True)
    ]
    formats = ["General" if f and frame.iloc[:, i].dtype.kind in "iub" else f for i, f in enumerate(formats)]
    columns = [frame.iloc[:, i].tolist() for i in range(frame.shape[1])]
    for row in zip(*columns, strict=True):
        sheet.append(
            [None if pd.isna(v) else cell(str(v) if f is None else v, f) for v, f in zip(row, formats, strict=True)]
        )
    book.save(path)


def _parquet(de: DETable, path: Path, dialect: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow: pip install 'geneml-bio[parquet]' (or pip install pyarrow)."
        ) from error
    frame = _frame(de, dialect)
    frame.columns = pd.Index(["id" if name == "" else str(name) for name in frame.columns])
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise TableError(f"Parquet holds one column of a name; {twice[0]!r} is there twice.")
    for name in frame.columns:
        if _as_text(frame[name]):
            frame[name] = pd.array([None if pd.isna(v) else str(v) for v in frame[name]], dtype="string")
    frame.to_parquet(path, index=False)


def _h5ad(de: DETable, path: Path, dialect: str) -> None:
    from anndata import AnnData

    from .anndata import attach, de_writes, storable_frame
    from .ranked import ranked_writes

    index = pd.Index(de.frame.index.astype(str), dtype=object)
    rest = de.frame[[name for name in de.frame.columns if name not in LIMMA_COLUMNS]]
    rest = rest.rename(columns=lambda name: "index_" if name == "_index" else str(name).replace("/", "|"))
    var = storable_frame(rest.loc[:, ~rest.columns.duplicated()], "var", index=index)
    adata = AnnData(X=np.zeros((0, len(index)), dtype=np.float32), var=var)
    writes = de_writes(adata, de, "limma")
    if de.kind != "F":
        writes += ranked_writes(adata, {"limma": (de, np.arange(len(de)))}, "rank_genes_groups")
    attach(adata, writes)
    try:
        adata.write_h5ad(path)
    except (TypeError, ValueError, KeyError) as error:
        raise StorageError(f"anndata cannot write this table: {error}") from error


WRITERS: dict[str, Callable[[DETable, Path, str], None]] = {
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "xlsx": _xlsx,
    "parquet": _parquet,
    "h5ad": _h5ad,
}
