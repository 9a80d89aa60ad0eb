"""The columns of a DE table: limma's own names."""

from __future__ import annotations

from typing import Literal

# LR: a likelihood-ratio (chi-square) statistic, which limma does not have; edgeR's own name
LIMMA_COLUMNS = ("logFC", "CI.L", "CI.R", "AveExpr", "t", "F", "LR", "P.Value", "adj.P.Val", "B", "df", "SE")
DEKind = Literal["t", "F", "treat"]
