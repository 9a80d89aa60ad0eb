"""DE tables into files for others: csv, tsv, xlsx, parquet, h5ad."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from ..core.detable import DETable
from ..core.errors import InputError, StorageError, TableError, near
from ..core.names import LIMMA_COLUMNS
from .formulas import calmed
from .sheets import add_sheet, is_text

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


def checked(
    path: Path, *, to: str | None = None, dialect: str = "limma", force: bool = False, formats: Collection[str] = ()
) -> str:
    """The format of a file that is going to be written, or an error that says why it cannot be: see :func:`write`."""
    formats = formats or WRITERS
    suffix = path.suffix.removeprefix(".").lower()
    to = (suffix or "none") if to is None else to.lower()
    if to not in formats:
        raise InputError(f"{to!r} is no format that can be written.{near(to, formats)}")
    if to not in _PROMISED.get(suffix, (suffix,) if suffix in formats else (to,)):
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


def _separated(separator: str) -> Callable[[DETable, Path, str], None]:
    def write_text(de: DETable, path: Path, dialect: str) -> None:
        write_separated(_frame(de, dialect), path, separator)

    return write_text


def write_separated(frame: pd.DataFrame, path: Path, separator: str) -> None:
    """A frame without its index: numbers with all their digits, missing ones ``NA``, no text that a spreadsheet would run."""
    import csv

    columns = []
    for i in range(frame.shape[1]):
        values = frame.iloc[:, i]
        if is_text(values):
            columns.append(["" if pd.isna(value) else calmed(str(value)) for value in values])
        else:
            columns.append(["NA" if pd.isna(value) else repr(value) for value in values.tolist()])
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator="\n")
        writer.writerow([calmed(str(name)) for name in frame.columns])
        writer.writerows(zip(*columns, strict=True))


def _xlsx(de: DETable, path: Path, dialect: str) -> None:
    from openpyxl import Workbook

    frame = _frame(de, dialect)
    small = {str(name): "0.00E+00" for name in frame.columns if name in _SMALL}
    book = Workbook(write_only=True)
    add_sheet(book, "toptable", frame, formats=small)
    book.save(path)


def _parquet(de: DETable, path: Path, dialect: str) -> None:
    frame = _frame(de, dialect)
    frame.columns = pd.Index(["id" if name == "" else str(name) for name in frame.columns])
    write_parquet(frame, path)


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """A frame without its index: text as text, numbers as they are, ``.attrs`` among the metadata."""
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow: pip install 'geneml-bio[parquet]' (or pip install pyarrow)."
        ) from error
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise TableError(f"Parquet holds one column of a name; {twice[0]!r} is there twice.")
    frame = frame.copy()
    for name in frame.columns:
        if is_text(frame[name]):
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
