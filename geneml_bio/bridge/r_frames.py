"""What ``helpers.R`` makes of a data.frame -> DataFrame. NA of each R type arrives as missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def build_frame(parts: dict[str, Any]) -> pd.DataFrame:
    """The frame of what ``frame`` in ``helpers.R`` returns."""
    rows = pd.Index(parts["rows"] or [], dtype=str)
    columns = [_column(part, rows) for part in parts["columns"] or []]
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=rows)
    frame.columns = pd.Index(parts["names"] or [], dtype=str)
    frame.attrs["automatic_row_names"] = parts["automatic"][0]
    return frame


def _column(part: dict[str, Any], rows: pd.Index) -> pd.Series:
    kind, values = part["kind"][0], part["values"]
    if kind == "text":
        return pd.Series(values or [], index=rows, dtype=object)
    gaps = np.isnan(values)
    if kind == "factor":
        codes = np.where(gaps, 0, values).astype(int) - 1
        of = pd.Categorical.from_codes(codes, part["levels"] or [], ordered=part["ordered"][0])
        return pd.Series(of, index=rows)
    if kind == "integer64":  # 64-bit integers in the bits of doubles; the smallest is NA
        bits = values.view(np.int64)
        gaps, values = bits == np.iinfo(np.int64).min, bits
    elif kind == "double":
        return pd.Series(values, index=rows)
    whole = np.where(gaps, 0, values).astype(bool if kind == "logical" else np.int64)
    if not gaps.any():
        return pd.Series(whole, index=rows)
    array: Any = pd.arrays.BooleanArray(whole, gaps) if kind == "logical" else pd.arrays.IntegerArray(whole, gaps)
    return pd.Series(array, index=rows)
