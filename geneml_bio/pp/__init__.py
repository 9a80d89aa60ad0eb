"""Before the models: cells summed by donor, counts as logs. Nothing here looks at a target."""

from __future__ import annotations

from .counts import logcpm, pseudobulk

__all__ = ["logcpm", "pseudobulk"]
