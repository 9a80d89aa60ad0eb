"""A DE table in the columns of another program, so that it reads back as what it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .errors import TableError
from .names import ID_COLUMN, LIMMA_COLUMNS, NO_STATISTIC, PROGRAMS, DEKind

_SIGNED = ("scanpy", "deseq2")  # have one signed statistic
_LOG_CPM = re.compile(r"log.?cpm -> AveExpr", re.IGNORECASE)
_NAMES = {name: role for names in PROGRAMS.values() for role, name in names.items()}


def written(frame: pd.DataFrame, kind: DEKind, dialect: str, contrast: str, source: Mapping[str, Any]) -> pd.DataFrame:
    """The table in the columns of a program: see :meth:`geneml_bio.DETable.to`.

    Raises
    ------
    TableError
        If the program has no table of this kind, or a column of the table's own has a name that it needs.
    """
    reason = _why_not(frame, kind, dialect)
    if reason:
        raise TableError(f"A table of kind {kind!r} cannot be written as {dialect}'s: {reason}")
    names = dict(PROGRAMS[dialect])
    if dialect == "deseq2":
        names.pop("t" if kind == "F" else "LR")
        if "baseMean" in frame.columns and "AveExpr" in frame.columns and _is_log2(frame):
            frame = frame.drop(columns="AveExpr")  # it is read from baseMean again
    if dialect == "edger":
        if not any(
            _LOG_CPM.match(str(line)) for key in ("columns", "columns_read") for line in _lines(source.get(key))
        ):
            del names["AveExpr"]
        if str(source.get("adjust", "")).endswith("(FWER)"):
            names["adj.P.Val"] = "FWER"
    if kind == "F" and dialect == "limma":
        names["logFC"] = "log2FoldChange"  # logFC would be what P tests
    if kind == "t" and dialect in _SIGNED and "t" not in frame.columns:
        frame = _with_root(frame)
    taken = {name for role, name in names.items() if role in frame.columns} & set(frame.columns)
    if taken:
        raise TableError(
            f"The table has columns of its own called {sorted(taken)}; rename them before to({dialect!r})."
        )
    # a column of a statistic's name that is none must not be read as one
    roles = {name: _NAMES[name] for name in frame.columns if name in _NAMES and name not in LIMMA_COLUMNS}
    names |= {name: f"{name}{NO_STATISTIC}" for name, role in roles.items() if role not in frame.columns}
    out = frame.rename(columns=names)
    column = ID_COLUMN.get(dialect)
    if column is None:
        return out.rename_axis(None)
    if dialect == "pertpy" and contrast and "contrast" not in out.columns:
        out = out.assign(contrast=contrast)
    if column in out.columns:
        raise TableError(
            f"The table has a column {column!r} of its own, which {dialect} keeps ids in; rename it first."
        )
    return out.rename_axis(column).reset_index()


def _why_not(frame: pd.DataFrame, kind: DEKind, dialect: str) -> str:
    """Why a program has no table of this kind; empty if it has."""
    there = set(frame.columns)
    if kind == "treat":
        known = {"limma": True, "edger": "unshrunk.logFC" in there, "deseq2": {"SE", "t"} <= there}
        return (
            ""
            if known.get(dialect)
            else "its p-values test against a minimal fold change, and there they would pass for those of an ordinary test. Write it "
            "as limma's (topTreat)."
        )
    if kind != "F" or dialect == "limma":
        return ""
    joint = "its p-value is a joint test of several coefficients"
    if dialect == "deseq2":
        way = "DESeq2 has such a table only of a likelihood-ratio test, with LR and one logFC."
        return "" if {"LR", "logFC"} <= there else f"{joint}, and {way}"
    if dialect == "edger":
        several = [name for name in frame.columns if name not in (*LIMMA_COLUMNS, "baseMean")]
        several = [name for name in several if pd.api.types.is_float_dtype(frame[name])]
        way = "edgeR has such a table only of several coefficients, with LR or F."
        return "" if {"LR", "F"} & there and "logFC" not in there and len(several) > 1 else f"{joint}, and {way}"
    return f"{joint}, and {dialect} has tables of one contrast only. Write it as limma's, or take one contrast (coef=)."


def _lines(value: Any) -> list[Any]:
    return [] if value is None or isinstance(value, str) else list(value)


def _is_log2(frame: pd.DataFrame) -> bool:
    base, average = frame["baseMean"].to_numpy(float), frame["AveExpr"].to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.array_equal(np.where(base > 0, np.log2(base), np.nan), average, equal_nan=True)


def _with_root(frame: pd.DataFrame) -> pd.DataFrame:
    """With the signed root of LR or F as t, where one of them is the statistic."""
    for name in ("LR", "F"):
        if name in frame.columns:
            return frame.assign(t=signed_root(frame["logFC"].to_numpy(), frame[name].to_numpy()))
    return frame


def signed_root(logfc: np.ndarray, statistic: np.ndarray) -> np.ndarray:
    """``sign(logFC) * sqrt(LR)``: what stands for t where a program gives a statistic without a sign."""
    return np.asarray(np.sign(logfc) * np.sqrt(np.maximum(statistic, 0.0)), dtype=float)
