"""Feature ids: what repeats, and which row of a repeated id is kept."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from .errors import DuplicateNamesError, InputError, near

Duplicates = Literal["best_p", "max_aveexpr"]
POLICIES: tuple[Duplicates, ...] = ("best_p", "max_aveexpr")


def first_duplicates(index: pd.Index, n: int = 3) -> str:
    """The first duplicated names, for a message."""
    return ", ".join(repr(str(name)) for name in index[index.duplicated()].unique()[:n])


def keep_one(frame: pd.DataFrame, ids: pd.Index, duplicates: str | None, way_out: str = "") -> np.ndarray:
    """Positions of the rows to keep, in their order, so that each id is there once.

    Parameters
    ----------
    frame
        A DE table in limma's column names; one row an entry of ``ids``.
    ids
        The feature ids.
    duplicates
        ``"best_p"``: of rows with one id the one with the smallest ``P.Value``; ``"max_aveexpr"``: the one with the largest
        ``AveExpr`` (chosen without a look at the result). None: a repeated id is refused.
    way_out
        What else the caller may do, for the message.

    Raises
    ------
    DuplicateNamesError
        If ids repeat and no policy is named.
    InputError
        If the policy is unknown, or its column is not there.
    """
    if duplicates is not None and duplicates not in POLICIES:
        raise InputError(
            f"duplicates must be one of {POLICIES} or None, got {duplicates!r}.{near(duplicates, POLICIES)}"
        )
    if not ids.has_duplicates:
        return np.arange(len(ids))
    if duplicates is None:
        surplus = int(ids.duplicated().sum())
        raise DuplicateNamesError(
            f"{surplus} of {len(ids)} rows repeat a feature id ({first_duplicates(ids)}, ...), and results could not be told "
            f"apart. Name a policy: duplicates='best_p' keeps the row with the smallest P.Value, duplicates='max_aveexpr' the "
            f"one with the largest AveExpr.{way_out}"
        )
    column, sign = ("P.Value", 1.0) if duplicates == "best_p" else ("AveExpr", -1.0)
    if column not in frame.columns:
        raise InputError(f"duplicates={duplicates!r} needs the column {column!r}; the table has {list(frame.columns)}.")
    order = np.argsort(sign * frame[column].to_numpy(dtype=float), kind="stable")  # NaN last
    return np.sort(order[~ids[order].duplicated()])
