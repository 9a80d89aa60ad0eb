"""The columns of a DE table: limma's own names, and what other programs call them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

# LR: a likelihood-ratio (chi-square) statistic, which limma does not have; edgeR's own name
LIMMA_COLUMNS = ("logFC", "CI.L", "CI.R", "AveExpr", "t", "F", "LR", "P.Value", "adj.P.Val", "B", "df", "SE")
DEKind = Literal["t", "F", "treat"]

# limma's name -> the program's; what a program has no name for keeps limma's
PROGRAMS: Mapping[str, Mapping[str, str]] = {
    "limma": {},
    "scanpy": {"t": "scores", "logFC": "logfoldchanges", "P.Value": "pvals", "adj.P.Val": "pvals_adj"},
    "pertpy": {"logFC": "log_fc", "P.Value": "p_value", "adj.P.Val": "adj_p_value", "SE": "lfcSE", "t": "stat"},
    "deseq2": {
        "logFC": "log2FoldChange",
        "SE": "lfcSE",
        "t": "stat",
        "LR": "stat",
        "P.Value": "pvalue",
        "adj.P.Val": "padj",
    },
    "edger": {"AveExpr": "logCPM", "P.Value": "PValue", "adj.P.Val": "FDR"},
}
# marks a column that has the name of a statistic and is none
NO_STATISTIC = ".file"
# the column that holds ids in programs that do not keep them as row names
ID_COLUMN: Mapping[str, str] = {"scanpy": "names", "pertpy": "variable"}
# every name of a statistic in these programs
STATISTICS = frozenset(name for names in PROGRAMS.values() for name in names.values())
