"""Figures (``gb.pl``): an AnnData with results in, matplotlib Axes out.

Each function takes ``ax`` to draw into; without it, a pyplot figure is made as scanpy does. Save one with
``ax.figure.savefig(path)``, or all that the object has results for with :func:`save_figures`.
"""

from __future__ import annotations

from ._all import save_figures
from .calibration import calibration
from .comparison import compare, null
from .de import ma, volcano
from .explain import shap
from .gene_level import gene_models, gene_predicted, gene_shap, save_gene_figures
from .genes import evidence, stability
from .heatmap import heatmap
from .history import history
from .performance import confusion, pr, predicted, roc

__all__ = [
    "calibration",
    "compare",
    "confusion",
    "evidence",
    "gene_models",
    "gene_predicted",
    "gene_shap",
    "heatmap",
    "history",
    "ma",
    "null",
    "pr",
    "predicted",
    "roc",
    "save_figures",
    "save_gene_figures",
    "shap",
    "stability",
    "volcano",
]
