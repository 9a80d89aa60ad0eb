"""Before the models: cells summed by donor, counts as logs, predictors for genes as rows. Nothing here looks at a target."""

from __future__ import annotations

from .counts import logcpm, pseudobulk
from .genes import gene_features

__all__ = ["gene_features", "logcpm", "pseudobulk"]
