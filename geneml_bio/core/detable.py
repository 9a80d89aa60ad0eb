"""A differential-expression table in limma's own column names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from .errors import DuplicateNamesError, InputError, TableError, near
from .forensic_adjust import is_adjusted
from .forensics import TableCheck, check_table
from .ids import first_duplicates
from .names import ID_COLUMN, LIMMA_COLUMNS, PROGRAMS, DEKind


@dataclass(frozen=True, eq=False)
class DETable:
    """A differential-expression table in limma's own column names.

    Parameters
    ----------
    frame
        One row a feature; index: unique feature ids (str). Columns in limma's names (``logFC AveExpr t P.Value
        adj.P.Val B``, with ``CI.L CI.R F df SE`` where known), then any annotation. ``logFC`` is log2.
    kind
        ``"t"`` (one contrast), ``"F"`` (several), ``"treat"`` (against a minimal fold change).
    contrast
        What was compared, in words.
    source
        Where the table came from and what was done to read it.
    """

    frame: pd.DataFrame
    kind: DEKind = "t"
    contrast: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frame = self.frame
        if self.kind not in ("t", "F", "treat"):
            raise TableError(f"kind must be 't', 'F' or 'treat', got {self.kind!r}.")
        if frame.index.has_duplicates:
            raise DuplicateNamesError(
                f"Feature ids are duplicated ({first_duplicates(frame.index)}, ...). Keep one row per feature, "
                "for example the one with the smallest P.Value."
            )
        if not all(isinstance(name, str) for name in frame.index):
            raise TableError("Feature ids must be strings; convert the index with .astype(str).")
        needed = ["P.Value"] if self.kind == "F" else ["P.Value", "logFC"]
        missing = [name for name in needed if name not in frame.columns]
        if missing:
            raise TableError(f"A DE table of kind {self.kind!r} needs {missing}; got columns {list(frame.columns)}.")
        for name in [name for name in LIMMA_COLUMNS if name in frame.columns]:
            column = frame[name]
            if not pd.api.types.is_float_dtype(column):
                raise TableError(f"Column {name!r} must be floating point, got {column.dtype}.")
            if np.isinf(column.to_numpy()).any():
                raise TableError(f"Column {name!r} holds infinite values; a statistic is finite or missing (NaN).")
        for name in [name for name in ("P.Value", "adj.P.Val") if name in frame.columns]:
            p = frame[name].to_numpy()
            if ((p < 0) | (p > 1)).any():
                raise TableError(f"Column {name!r} holds values outside [0, 1]; it cannot be a p-value.")

    def __len__(self) -> int:
        return len(self.frame)

    def __repr__(self) -> str:
        what = self.contrast or "no contrast named"
        return f"DETable: {len(self):,} features, kind {self.kind}, {what}\n{self.frame.head()}"

    @cached_property
    def is_complete(self) -> bool:
        """Whether ``adj.P.Val`` is the Benjamini-Hochberg adjustment of exactly these p-values (R: ``p.adjust``)."""
        if "adj.P.Val" not in self.frame.columns or not len(self):
            return False
        return is_adjusted(self.frame["P.Value"].to_numpy(), self.frame["adj.P.Val"].to_numpy())

    def top(self, n: int = 10) -> pd.DataFrame:
        """The ``n`` features with the smallest p-value."""
        return self.frame.sort_values("P.Value", kind="stable").head(n)

    def to(self, dialect: str) -> pd.DataFrame:
        """The table in the columns of another program; :func:`geneml_bio.read.toptable` reads it back to the same numbers.

        Parameters
        ----------
        dialect
            ``"limma"`` (row names), ``"edger"`` and ``"deseq2"`` (row names), ``"scanpy"`` (ids in ``names``) or ``"pertpy"``
            (in ``variable``, and ``contrast`` where there is one). What the program has no name for keeps its own.
        """
        if dialect not in PROGRAMS:
            raise InputError(f"dialect must be one of {tuple(PROGRAMS)}, got {dialect!r}.{near(dialect, PROGRAMS)}")
        names = dict(PROGRAMS[dialect])
        frame = self.frame
        if dialect == "deseq2":
            if "t" in frame.columns or "logFC" not in frame.columns:
                del names["LR"]
            if "baseMean" not in frame.columns and "AveExpr" in frame.columns:
                frame = frame.assign(AveExpr=np.exp2(frame["AveExpr"])).rename(columns={"AveExpr": "baseMean"})
            else:
                frame = frame.drop(columns=[name for name in ("AveExpr",) if name in frame.columns])
        if dialect == "edger" and str(self.source.get("adjust", "")).endswith("(FWER)"):
            names["adj.P.Val"] = "FWER"
        taken = set(names.values()) & set(frame.columns)
        if taken:
            raise TableError(
                f"The table has columns of its own called {sorted(taken)}; rename them before to({dialect!r})."
            )
        out = frame.rename(columns=names)
        column = ID_COLUMN.get(dialect)
        if column is None:
            return out.rename_axis(None)
        if dialect == "pertpy" and self.contrast and "contrast" not in out.columns:
            out = out.assign(contrast=self.contrast)
        if column in out.columns:
            raise TableError(
                f"The table has a column {column!r} of its own, which {dialect} keeps ids in; rename it first."
            )
        return out.rename_axis(column).reset_index()

    def check(self) -> TableCheck:
        """What the numbers alone say of this table: see :func:`geneml_bio.core.forensics.check_table`."""
        return check_table(self.frame, self.kind)
