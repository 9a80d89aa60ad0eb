"""Parquet and Feather files -> DataFrames, through pandas where pyarrow is there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..core.errors import InputError, TableError
from .files import LARGEST

_MOST_ROWS = 20_000_000  # repeated values take next to nothing in the file, and all of their room when it is read


def form_of(path: Path) -> str:
    """``"parquet"`` or ``"feather"`` by the content of a file, else ``""``."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as stream:
            head = stream.read(8)
    except (OSError, ValueError):  # why it cannot be opened is told by files.py
        return ""
    return "parquet" if head.startswith(b"PAR1") else "feather" if head.startswith(b"ARROW1") else ""


def read(path: Path, kind: str) -> pd.DataFrame:
    """The table in a Parquet or Feather file.

    Raises
    ------
    InputError
        If pyarrow is missing.
    TableError
        If the file is damaged, or too large for a table of genes.
    """
    try:
        import pyarrow.feather
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path.name} is a {kind.capitalize()} file, which needs pyarrow: pip install 'geneml-bio[parquet]' (or pip install "
            "pyarrow)."
        ) from error
    try:
        if kind == "parquet":
            about = pyarrow.parquet.ParquetFile(path).metadata
            size = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
            if about.num_rows > _MOST_ROWS or size > LARGEST:
                raise TableError(
                    f"{path.name} is too large for a table of genes ({about.num_rows:,} rows, {size / 2**20:,.0f} MiB). Read the "
                    "rows and columns that are needed and pass a DataFrame."
                )
            return pd.read_parquet(path, engine="pyarrow")
        return pd.read_feather(path)
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, MemoryError) as error:
        if isinstance(error, TableError):
            raise
        raise TableError(
            f"{path.name} is a damaged {kind.capitalize()} file ({str(error)[:200]}); fetch it again."
        ) from error
