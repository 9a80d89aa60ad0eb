"""Figures (``gb.pl``): an AnnData with results in, matplotlib Axes out.

Each function takes ``ax`` to draw into; without it, a pyplot figure is made as scanpy does. Save one with
``ax.figure.savefig(path)``, or all that the object has results for with :func:`save_figures`.
"""

from __future__ import annotations

from ._all import save_figures
from .agreement import agreement
from .calibration import calibration
from .comparison import compare, null
from .de import ma, volcano
from .design import design
from .explain import shap
from .gene_level import gene_models, gene_predicted, gene_shap, save_gene_figures
from .gene_null import gene_null
from .genes import evidence, stability
from .groups import gene_groups
from .heatmap import heatmap
from .history import history
from .knockoffs import knockoffs
from .learning import learning_curve
from .performance import confusion, pr, predicted, roc
from .sets import gene_sets
from .shap_bar import shap_bar
from .shap_heatmap import shap_heatmap
from .shap_one import shap_dependence, shap_waterfall

__all__ = [
    "agreement",
    "calibration",
    "compare",
    "confusion",
    "design",
    "evidence",
    "gene_groups",
    "gene_models",
    "gene_null",
    "gene_predicted",
    "gene_sets",
    "gene_shap",
    "heatmap",
    "history",
    "knockoffs",
    "learning_curve",
    "ma",
    "null",
    "pr",
    "predicted",
    "roc",
    "save_figures",
    "save_gene_figures",
    "shap",
    "shap_bar",
    "shap_dependence",
    "shap_heatmap",
    "shap_waterfall",
    "stability",
    "volcano",
]
