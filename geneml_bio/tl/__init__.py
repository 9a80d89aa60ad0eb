"""What to do with an AnnData object (``gb.tl``). Each function: extract -> core -> attach; it returns what it wrote."""

from .evidence import biomarkers
from .explanation import explain
from .fit import fit
from .gene_groups import gene_groups
from .gene_sets import gene_sets
from .genes import regress_genes
from .join import add_de
from .knockoffs import knockoffs
from .learning_curve import learning_curve
from .limma import limma
from .models import classify, regress
from .stream import stream

__all__ = [
    "add_de",
    "biomarkers",
    "classify",
    "explain",
    "fit",
    "gene_groups",
    "gene_sets",
    "knockoffs",
    "learning_curve",
    "limma",
    "regress",
    "regress_genes",
    "stream",
]
