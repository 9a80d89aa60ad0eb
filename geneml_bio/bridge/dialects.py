"""Column dialects of DE tables, as rows of one table; and how a table's columns become limma's.

A new dialect is a new row of :data:`DIALECTS`. What is recognised but cannot be read yet is a row too, so that the
refusal can say what was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import ColumnNotFoundError, TableError, near
from ..core.names import LIMMA_COLUMNS, DEKind

_LIMMA = {name: name for name in LIMMA_COLUMNS}


@dataclass(frozen=True)
class Dialect:
    """The columns of one program's table.

    Parameters
    ----------
    name
        The program and its function, for messages.
    needs, lacks
        Columns that must be there, and that must not.
    columns
        Its statistics: own name -> limma's name.
    kind
        What a row tests.
    readable
        False: recognised, but not read yet.
    """

    name: str
    needs: frozenset[str]
    columns: Mapping[str, str] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    kind: DEKind = "t"
    readable: bool = True


def _row(name: str, needs: str, **more: Any) -> Dialect:
    return Dialect(name, frozenset(needs.split()), **more)


DIALECTS: tuple[Dialect, ...] = (
    _row("limma topTable", "logFC P.Value B", columns=_LIMMA),
    _row("limma topTable of several contrasts", "F P.Value", lacks=frozenset({"logFC"}), columns=_LIMMA, kind="F"),
    _row("limma topTreat or topTable without B", "logFC P.Value t", lacks=frozenset({"B"}), columns=_LIMMA),
    _row("limma topTable, some columns", "logFC P.Value", columns=_LIMMA),
    _row("edgeR topTags", "logFC logCPM PValue", readable=False),
    _row("edgeR topTags of several coefficients", "logCPM PValue", readable=False),
    _row("DESeq2 results", "log2FoldChange pvalue", readable=False),
    _row("scanpy rank_genes_groups_df", "names logfoldchanges pvals", readable=False),
    _row("Seurat FindMarkers", "avg_log2FC p_val", readable=False),
)

# names under which row names travel, and names that people give to the column of ids
ROW_NAMES = frozenset({"", "...1", "Unnamed: 0", "rowname", "rownames", "row.names", "row_names", "X", "X1", "V1"})
ID_NAMES = ("id", "gene", "genes", "gene_id", "geneid", "gene_name", "probe", "probe_id", "probeid", "probeset", "feature",
            "feature_id", "symbol", "gene_symbol", "ensembl", "ensembl_id", "entrez", "entrezid", "name", "names")  # fmt: skip


def recognise(header: Sequence[str]) -> Dialect:
    """The dialect of a table by its column names.

    Raises
    ------
    TableError
        Saying what was found.
    """
    names = set(header)
    twice = [name for name in dict.fromkeys(header) if list(header).count(name) > 1 and name in LIMMA_COLUMNS]
    if twice:
        raise TableError(
            f"The columns {twice} are there more than once: several contrasts side by side? Save one table per contrast."
        )
    found = next((row for row in DIALECTS if row.needs <= names and not row.lacks & names), None)
    shown = ", ".join(repr(name) for name in list(header)[:12]) + (", ..." if len(header) > 12 else "")
    if found is None:
        raise TableError(
            f"This is not a limma table: it has the columns {shown}, and logFC and P.Value (or F and P.Value) are "
            "expected. Save limma's topTable(fit, number=Inf) with its column names."
        )
    if not found.readable:
        raise TableError(
            f"This looks like {found.name} (columns {shown}), which cannot be read yet; limma's tables can. Rename its "
            "columns to limma's (logFC, AveExpr, t, P.Value, adj.P.Val) and pass the DataFrame."
        )
    return found


def kind_of(dialect: Dialect, frame: pd.DataFrame) -> DEKind:
    """``"treat"`` for a table without B whose p-values cannot come from its t alone; else the dialect's kind.

    With one number of degrees of freedom p falls as t grows in size; treat also adds the far tail, and sets t to 0 for
    every gene within the bound.
    """
    if dialect.kind != "t" or "B" in frame.columns or "t" not in frame.columns:
        return dialect.kind
    both = frame[["t", "P.Value"]].dropna()
    t, p = both["t"].abs().to_numpy(), both["P.Value"].to_numpy()
    if ((t == 0) & (p < 0.999)).any():
        return "treat"
    order = np.argsort(t, kind="stable")
    rises = np.diff(p[order]) > 1e-3 * p[order][:-1] + 1e-9
    return "treat" if rises.mean() > 0.01 else "t" if len(p) > 1 else dialect.kind


def choose_ids(
    candidates: Mapping[str, Sequence[str]], feature: str | None, statistics: Sequence[str]
) -> tuple[str, list[str]]:
    """Which column holds the feature ids: the one asked for, row names, a column with a name for it, or the only text.

    Parameters
    ----------
    candidates
        Column name -> values as text; row names under one of :data:`ROW_NAMES`.
    feature
        The caller's choice.
    statistics
        Columns that are statistics.
    """
    if feature is not None:
        if feature not in candidates:
            raise ColumnNotFoundError(f"There is no column {feature!r} for the feature ids.{near(feature, candidates)}")
        return feature, list(candidates[feature])
    others = [name for name in candidates if name not in statistics]
    named = [name for name in others if name.lower() in ID_NAMES]
    named.sort(key=lambda name: ID_NAMES.index(name.lower()))
    rows = [name for name in others if name in ROW_NAMES]
    rest = [name for name in others if name not in named and name not in rows and not _numeric(candidates[name])]
    # row numbers (1, 2, ...) are no ids while anything else is there
    counted = [name for name in rows if _row_numbers(candidates[name])]
    order = [name for name in rows if name not in counted] + named + rest + counted
    unique = [name for name in order if len(set(candidates[name])) == len(candidates[name])]
    if not order:
        raise TableError(
            f"No column looks like feature ids (columns: {list(candidates)}). Name it: gb.read.toptable(..., feature='...')."
        )
    chosen = unique[0] if unique and unique[0] not in counted else order[0]
    return chosen, list(candidates[chosen])


def _row_numbers(values: Sequence[str]) -> bool:
    return all(value.isdigit() for value in values) and sorted(map(int, values)) == list(range(1, len(values) + 1))


def _numeric(values: Sequence[str]) -> bool:
    def is_number(value: str) -> bool:
        try:
            float(value)
        except ValueError:
            return False
        return True

    return bool(values) and all(is_number(value) for value in values)
