"""Frames in a form that every store of an AnnData keeps."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import numpy as np
import pandas as pd

from . import tables


def typed_column(values: list[str]) -> Any:
    """Text as numbers where each value is one and nothing is lost by it (``01005`` stays text)."""
    padded = any(len(v) > 1 and v.lstrip("-").startswith("0") and v.lstrip("-")[1:2].isdigit() for v in values)
    if not padded:
        found, strange = tables.numbers(values)
        if not strange and not np.isnan(found).all():
            whole = not np.isnan(found).any() and all(value.lstrip("-").isdigit() for value in values)
            return found.astype(np.int64) if whole else found
    return [None if value in tables.MISSING else value for value in values]


def storable_columns(frame: pd.DataFrame, *, keep_levels: bool = False) -> pd.DataFrame:
    """Text with gaps as categories, which every store keeps; dates as text; the rest as it is.

    ``keep_levels``: categories that no row has are kept.
    """
    out = frame.copy()
    for name in out.columns:
        values = out[name]
        if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
            values = values.astype(str).where(values.notna(), None)
        if isinstance(values.dtype, pd.CategoricalDtype):
            out[name] = values if keep_levels else values.cat.remove_unused_categories()
        elif (values.dtype == object or isinstance(values.dtype, pd.StringDtype)) and values.isna().any():
            known = values[values.notna()]
            text = all(isinstance(value, str) for value in known)
            levels = pd.Index(sorted(set(known)), dtype=str) if text else None
            out[name] = pd.Categorical(values.astype(object), categories=levels)
        else:
            out[name] = values
    return out


def free_name(name: str, taken: Container[str]) -> str:
    """The name, numbered the way R does (``name.1``) where it is taken."""
    new, k = name, 0
    while new in taken:
        k += 1
        new = f"{name}.{k}"
    return new


def storable_names(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Column names without ``/``, none twice and none that AnnData keeps for itself; and what was renamed, in words."""
    out: list[str] = []
    for name in names:
        new = name.replace("/", "_") or "unnamed"
        new = "index_" if new in ("_index", "index") else new
        out.append(free_name(new, out))
    return out, [f"{old} -> {new}" for old, new in zip(names, out, strict=True) if old != new]
