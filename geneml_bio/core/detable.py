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
from .names import LIMMA_COLUMNS, PROGRAMS, DEKind
from .written import written


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
        """The table in the columns of another program; :func:`geneml_bio.read.toptable` reads it back to the same table.

        Parameters
        ----------
        dialect
            ``"limma"`` (row names), ``"edger"`` and ``"deseq2"`` (row names), ``"scanpy"`` (ids in ``names``) or ``"pertpy"``
            (in ``variable``, and ``contrast`` where there is one). What the program has no name for keeps its own.

            DESeq2 and scanpy have a signed statistic: where edgeR's LR or F stands for it, ``stat`` and ``scores`` are
            ``sign(logFC) * sqrt(LR)`` (or of F), and LR or F stays beside. No scale is invented: AveExpr becomes ``logCPM`` only
            where it was that, and there is a ``baseMean`` only where the table has one.

            A joint test (kind ``"F"``) can be written for limma, for edgeR with several coefficients, and for DESeq2 as a
            likelihood-ratio test; a fold change beside a joint test is ``log2FoldChange`` for limma too, since ``logFC`` would be
            what P tests. A test against a minimal fold change (``"treat"``) can be written for limma; for the program it came
            from (edgeR's ``glmTreat``, DESeq2's ``lfcThreshold``) too.

        Raises
        ------
        TableError
            If the program has no such table.
        """
        if dialect not in PROGRAMS:
            raise InputError(f"dialect must be one of {tuple(PROGRAMS)}, got {dialect!r}.{near(dialect, PROGRAMS)}")
        return written(self.frame, self.kind, dialect, self.contrast, self.source)

    def check(self) -> TableCheck:
        """What the numbers alone say of this table: see :func:`geneml_bio.core.forensics.check_table`."""
        return check_table(self.frame, self.kind, whole=bool(self.source.get("whole")))
