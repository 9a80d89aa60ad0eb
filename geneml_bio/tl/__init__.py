"""What to do with an AnnData object (``gb.tl``). Each function: extract -> core -> attach; it returns what it wrote."""

from .de import add_de, limma
from .evidence import biomarkers
from .models import classify, explain, regress

__all__ = ["add_de", "biomarkers", "classify", "explain", "limma", "regress"]
