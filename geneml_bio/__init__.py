"""geneml_bio: from limma results to models you can believe.

Read DE tables and expression data (:mod:`~geneml_bio.read`), validate models out of fold and explain them on samples
they did not see (:mod:`~geneml_bio.tl`), take frames back out (:mod:`~geneml_bio.get`), draw (:mod:`~geneml_bio.pl`), or do
the whole job with :func:`run` and :func:`report`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import datasets, get, pl, pp, read, tl
    from .bridge.fitted_model import FittedModel, load
    from .bridge.r_back import to_r
    from .core import errors
    from .core.detable import DETable
    from .core.gene_fitted import FittedGenes
    from .core.gene_level import GeneLevel
    from .core.schema import Attribution, Cohort, ExternalScreen, Validation
    from .exports import export
    from .report import report
    from .summaries import summary
    from .workflow import run

# what is asked for is imported when it is asked for: `import geneml_bio` itself loads nothing heavy
_MODULES = ("datasets", "get", "pl", "pp", "read", "tl")
_NAMES = {
    "errors": ("core.errors", None),
    "Attribution": ("core.schema", "Attribution"),
    "Cohort": ("core.schema", "Cohort"),
    "DETable": ("core.detable", "DETable"),
    "ExternalScreen": ("core.schema", "ExternalScreen"),
    "FittedGenes": ("core.gene_fitted", "FittedGenes"),
    "FittedModel": ("bridge.fitted_model", "FittedModel"),
    "GeneLevel": ("core.gene_level", "GeneLevel"),
    "Validation": ("core.schema", "Validation"),
    "export": ("exports", "export"),
    "load": ("bridge.fitted_model", "load"),
    "report": ("report", "report"),
    "run": ("workflow", "run"),
    "summary": ("summaries", "summary"),
    "to_r": ("bridge.r_back", "to_r"),
}

__all__ = [
    "Attribution",
    "Cohort",
    "DETable",
    "ExternalScreen",
    "FittedGenes",
    "FittedModel",
    "GeneLevel",
    "Validation",
    "__version__",
    "datasets",
    "errors",
    "export",
    "get",
    "load",
    "pl",
    "pp",
    "read",
    "report",
    "run",
    "summary",
    "tl",
    "to_r",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = importlib.import_module(f".{name}", __name__)
    elif name in _NAMES:
        module, attribute = _NAMES[name]
        value = importlib.import_module(f".{module}", __name__)
        value = value if attribute is None else getattr(value, attribute)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
