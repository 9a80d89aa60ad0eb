"""limma's confidence interval of logFC for a table that does not hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .forensics import check_table
from .names import DEKind

_LEVEL = 0.95


def with_interval(de: pd.DataFrame, kind: DEKind = "t") -> pd.DataFrame:
    """The table with ``CI.L`` and ``CI.R``, as ``topTable(confint=TRUE)`` has them, where its other columns tell them.

    ``logFC`` minus and plus ``SE`` times the quantile of t on the degrees of freedom of the test. What the table lacks of the two is
    recovered: ``SE`` is ``logFC / t`` (after treat, with its minimal fold change; none where t is 0), the degrees of freedom are those
    by which t and P.Value fit each other (:func:`~geneml_bio.core.forensics.check_table`). A gene whose t and P.Value do not fit has none.

    Parameters
    ----------
    de
        DE statistics in limma's columns.
    kind
        ``"t"``, ``"treat"`` or ``"F"`` (which has no such interval).
    """
    if kind == "F" or {"CI.L", "CI.R"} <= set(de.columns) or "logFC" not in de:
        return de
    if "SE" in de and "df" in de:
        error, df = de["SE"].to_numpy(float), de["df"].to_numpy(float)
    elif {"t", "P.Value"} <= set(de.columns):
        facts = check_table(de, kind).facts
        error = _error(de, facts) if "SE" not in de or kind == "treat" else de["SE"].to_numpy(float)
        df = _df(de, facts)
    else:
        return de
    if not (np.isfinite(error) & ~np.isnan(df)).any():
        return de
    finite = np.isfinite(df)
    tail = (1 - _LEVEL) / 2
    quantile = np.where(finite, stats.t.isf(tail, np.where(finite, df, 1.0)), stats.norm.isf(tail))
    margin = np.where(np.isnan(df), np.nan, quantile) * error
    return de.assign(**{"CI.L": de["logFC"] - margin, "CI.R": de["logFC"] + margin})


def _error(de: pd.DataFrame, facts: Mapping[str, Any]) -> np.ndarray:
    effect, t = np.abs(de["logFC"].to_numpy(float)), np.abs(de["t"].to_numpy(float))
    bound = float(facts.get("lfc", 0.0)) if facts.get("statistic") == "treat" else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(t > 0, (effect - bound) / t, np.nan)


def _df(de: pd.DataFrame, facts: Mapping[str, Any]) -> np.ndarray:
    """Degrees of freedom of each gene: of those that the table was found to have, the one that fits its t and P.Value."""
    statistic = facts.get("statistic")
    found = [np.inf] if statistic == "z" else [float(df) for df in facts.get("df_total", {})]
    if statistic not in ("t", "z", "treat"):
        found = []
    t, p = np.abs(de["t"].to_numpy(float)), de["P.Value"].to_numpy(float)
    far = t  # of treat: from the other end of the interval that is tested against
    if statistic == "treat":
        error = _error(de, facts)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = t + 2 * float(facts["lfc"]) / error
    rounded = min((facts.get("digits", {}).get(name, 0) for name in ("t", "P.Value")), default=0) < 8
    near = 0.05 if rounded else 1e-6
    best, gap = np.full(len(de), np.nan), np.full(len(de), np.inf)
    for df in found:
        tail = stats.t(df).sf if np.isfinite(df) else stats.norm.sf
        implied = tail(t) + tail(far)
        with np.errstate(divide="ignore", invalid="ignore"):
            off = np.abs(np.log(implied) - np.log(p))
        if rounded:  # a small p may have become 0
            off = np.where((p < 5e-4) & (implied < 1e-3) & ~(off < near), near, off)
        closer = (off <= near) & (off < gap)
        best[closer], gap[closer] = df, off[closer]
    return best
