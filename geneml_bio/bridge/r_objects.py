"""R objects, live or from a file -> DE tables as R names and orders them."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataWarning, InputError, TableError, near
from ..core.pvalues import adjust_bh
from .matrices import anndata_of
from .r_columns import dimnames, frame_of, is_table, matrix_of, texts_of
from .r_pieces import promised
from .r_source import convert
from .r_toptable import beside, top_table
from .r_values import RValue

METHODS = ("holm", "hochberg", "hommel", "bonferroni", "BH", "BY", "fdr", "none")  # of R's p.adjust
_P_VALUE = re.compile(r"^p$|p.?val|padj|fdr|q.?val", re.IGNORECASE)

__all__ = ["RTable", "anndata_of", "table_of"]

# what is not a table, and the call in R that makes one
_WAY_OUT = {
    "DGEGLM": "Test it: topTags(glmQLFTest(fit, coef=2), n=Inf), or glmLRT for a fit of glmFit",
    "DGEList": "It holds counts: gb.read.expression reads them; a table is made by topTags(glmQLFTest(glmQLFit(y, design)), n=Inf)",
    "DESeqDataSet": "Ask it for its results: results(DESeq(dds)); gb.read.expression reads its counts",
    "EList": "It holds expression values: gb.read.expression reads them; topTable(eBayes(lmFit(v, design)), number=Inf) makes a table",
    "EListRaw": "It holds expression values: gb.read.expression reads them",
    "ExpressionSet": "It holds expression values: gb.read.expression reads them; topTable(eBayes(lmFit(eset, design))) makes a table",
    "SummarizedExperiment": "It holds expression values: gb.read.expression reads them",
    "RangedSummarizedExperiment": "It holds expression values: gb.read.expression reads them",
    "SingleCellExperiment": "It holds expression values: gb.read.expression reads them",
    "TestResults": "decideTests gives only -1, 0 and 1; pass the fit itself, or topTable(fit, number=Inf)",
    "DESeqTransform": "It holds transformed counts: gb.read.expression reads them",
}  # fmt: skip

# tables of anything
_FRAMES = ("data.frame", "DataFrame", "DFrame", "tbl_df", "data.table", "matrix")


@dataclass(frozen=True)
class RTable:
    """A table of R in R's own column names.

    Parameters
    ----------
    frame
        Index: row names; ``.attrs["automatic_row_names"]`` tells row numbers from names.
    about
        ``type`` (R's class), where it came from, and what the object says of its tests.
    coefficients
        Columns of an F table that hold coefficients.
    treated
        Whether the test is against a minimal fold change; None where the object does not say.
    left
        What ``coef=`` has left to choose: a data.frame may hold several results side by side.
    whole
        Whether the table was made here of all that was tested; one made in R may have been cut since.
    """

    frame: pd.DataFrame
    about: dict[str, Any]
    coefficients: tuple[str, ...] = ()
    treated: bool | None = None
    left: Any = None
    whole: bool = False


def table_of(source: Any, *, coef: Any = None, sheet: str | None = None, trusted: bool = False) -> RTable:
    """The DE table in an R object.

    Parameters
    ----------
    source
        Path of an ``.rds`` or ``.RData`` file, or a live object of rpy2: data.frame, DataFrame, tibble, MArrayLM after eBayes
        or treat, TopTags, DGELRT, DGEExact, DESeqResults, a matrix with column names, or a list of such.
    coef
        Of an MArrayLM: name or number (from 1), or a list of them; of a list: which of its elements; of a data.frame it is handed
        on, as ``left``.
    sheet
        Of an ``.RData`` file or a list: which object.
    trusted
        Give a file that cannot be read here to R.

    Raises
    ------
    TableError
        If there is no table in it; the message names the class met and the call in R that makes a table.
    """
    accept = (_is_de, _is_readable)
    table: RTable = convert(source, sheet, trusted, accept, lambda value, about: _table(value, coef, sheet, about))
    return table


# -- what holds a table ------------------------------------------------------------------------------------------------


def _is_readable(value: RValue) -> bool:
    return is_table(value) or _is_de(value)


def _is_de(value: RValue) -> bool:
    """A result of a test, or a table with a column that looks like p-values."""
    if is_table(value):
        names = ((value.attr("listData") or value) if value.type == "S4" else value).names or []
        return any(_P_VALUE.search(name or "") for name in names)
    return _is_fit(value) or bool(set(value.classes) & {"TopTags", "DGELRT", "DGEExact"})


def _is_fit(value: RValue) -> bool:
    """A fit of limma, also where its class was taken off, or extended."""
    parts = {"coefficients", "stdev.unscaled", "sigma", "df.residual"}
    return "MArrayLM" in value.classes or (value.type == "list" and parts <= set(value.names or []))


def _table(value: RValue, coef: Any, sheet: str | None, about: dict[str, Any]) -> RTable:
    classes = value.classes
    about = about | {"type": classes[0]}
    if _is_fit(value):
        frame, more, names, treated = top_table(value, coef)
        several = tuple(names) if len(names) > 1 else ()
        return RTable(frame, about | more, several, treated, whole=True)
    if _is_choice(value):
        return _one_of(value, coef, sheet, about)
    if coef is not None and classes[0] not in _FRAMES:
        raise InputError(
            f"coef= chooses a coefficient of a limma fit (MArrayLM), or an element of a list; the object is of class {'/'.join(classes)}."
        )
    if {"TopTags", "DGELRT", "DGEExact"} & set(classes):
        return _edger(value, about)
    if is_table(value):
        lost: list[str] = []
        frame = frame_of(value, lost)
        if "DESeqResults" in classes:
            about |= _deseq2(value, frame)
        if lost:
            about["left_out"] = lost
            warnings.warn(
                f"{len(lost)} columns hold no plain values and were left out: {', '.join(lost)}.{promised(lost)}",
                DataWarning,
                stacklevel=4,
            )
        return RTable(frame, about, treated=True if "lfc" in about else None, left=coef)
    if "matrix" in classes and value.type in ("double", "integer") and dimnames(value)[1]:
        rows, columns = dimnames(value)
        automatic = rows is None
        index = pd.Index(rows or [str(i + 1) for i in range(int(value.attributes["dim"].value[0]))], dtype=str)
        frame = pd.DataFrame(
            np.array(matrix_of(value), dtype=float), index=index, columns=pd.Index(columns or [], dtype=str)
        )
        frame.attrs["automatic_row_names"] = automatic
        return RTable(frame, about, left=coef)
    way = next((_WAY_OUT[name] for name in classes if name in _WAY_OUT), None)
    if way is None and value.type in ("list", "S4", "double", "integer", "character"):
        way = "Save the table in R: saveRDS(as.data.frame(x), 'table.rds'), or write.csv"
    if value.type == "list" and value.value and value.names is None and value.texts("class"):
        way = (
            "Its parts have lost their names, as in new() of a class that extends MArrayLM; R cannot use it either. Save the "
            "fit it was made of"
        )
    raise TableError(f"An R object of class {'/'.join(classes)} holds no DE table.{f' {way}.' if way else ''}")


def _is_choice(value: RValue) -> bool:
    """A plain list (or Bioconductor's List) of objects."""
    plain_list = value.type in ("list", "pairlist") and value.texts("class") in (None, ["list"])
    return plain_list or (value.type == "S4" and value.attr("listData") is not None and "nrows" not in value.attributes)


def _one_of(value: RValue, coef: Any, sheet: str | None, about: dict[str, Any]) -> RTable:
    held = value.attr("listData") if value.type == "S4" else value
    items = (
        [item for _, item in held.value]
        if held is not None and held.type == "pairlist"
        else (held.value if held else [])
    )
    names = (held.names if held is not None else None) or []
    names = [name or str(i + 1) for i, name in enumerate(names)] or [str(i + 1) for i in range(len(items))]
    wanted = coef if coef is not None else sheet if sheet in names else None
    if wanted is None:
        fit = [i for i, item in enumerate(items) if _is_de(item)] or [
            i for i, item in enumerate(items) if _is_readable(item)
        ]
        if len(fit) == 1:
            return _table(items[fit[0]], None, None, about | {"element": names[fit[0]]})
        listed = ", ".join(
            f"{name!r} ({'/'.join(item.classes)})" for name, item in list(zip(names, items, strict=True))[:12]
        )
        if not fit:
            raise TableError(f"The R list holds no DE table: {listed or 'it is empty'}.")
        raise TableError(f"The R list holds several tables: {listed}. Choose one by name or number: coef=...")
    if isinstance(wanted, str) and wanted in names:
        i = names.index(wanted)
    elif isinstance(wanted, int | np.integer) and not isinstance(wanted, bool) and 1 <= wanted <= len(items):
        i = int(wanted) - 1
    else:
        raise InputError(f"The R list has no element {wanted!r}; name it, or number it from 1.{near(wanted, names)}")
    return _table(items[i], None, None, about | {"element": names[i]})


def _edger(value: RValue, about: dict[str, Any]) -> RTable:
    """What edgeR makes: TopTags as it is; a DGELRT or DGEExact as ``topTags(x, n = Inf)`` makes it."""
    held = value.get("table")
    if held is None:
        raise TableError(
            f"This {value.classes[0]} has no table. In edgeR: topTags(exactTest(y)), or topTags(glmQLFTest(fit))."
        )
    frame = frame_of(held)
    whole = "TopTags" not in value.classes
    several = tuple(name for name in frame.columns if name.startswith("logFC.")) if "logFC" not in frame.columns else ()
    if whole:
        frame = _top_tags(frame, value.get("genes"), about)
        about["adjust"] = "BH"
    else:
        for name in ("adjust.method", "test"):
            found = value.get(name)
            if found is not None and found.type == "character":
                about[name.split(".")[0]] = found.value[0]
    comparison = value.get("comparison")
    if comparison is not None and comparison.type == "character":
        names = [text or "" for text in comparison.value]
        exact = len(names) == 2 and ("DGEExact" in value.classes or about.get("test") == "exact")
        # exactTest(pair = c("A", "B")): logFC is of B over A
        about["comparison"] = f"{names[1]} - {names[0]}" if exact else ", ".join(names)
    treated = True if value.get("lfc") is not None and "unshrunk.logFC" in frame.columns else None
    return RTable(frame, about, several, treated, whole=whole)


def _top_tags(frame: pd.DataFrame, genes: RValue | None, told: dict[str, Any]) -> pd.DataFrame:
    if "PValue" not in frame.columns or not len(frame.columns):
        raise TableError(f"edgeR's table has no column PValue, only {list(frame.columns)}.")
    p = frame["PValue"].to_numpy(dtype=float)
    size = np.abs(frame["logFC" if "logFC" in frame.columns else frame.columns[0]].to_numpy(dtype=float))
    automatic = frame.attrs["automatic_row_names"]
    out = frame.assign(FDR=adjust_bh(p))
    if genes is not None:
        about = frame_of(genes) if is_table(genes) else pd.DataFrame({"ID": texts_of(genes)}, dtype=object)
        notes: list[str] = []
        about = beside(about, list(out.columns), notes)
        told |= {"annotation": list(about.columns)} | ({"notes": notes} if notes else {})
        out = pd.concat([about.set_axis(out.index, axis=0), out], axis=1)
    out = out.iloc[np.lexsort((-size, p))]
    out.attrs["automatic_row_names"] = automatic
    return out


def _deseq2(value: RValue, frame: pd.DataFrame) -> dict[str, Any]:
    """What DESeq2 says of its columns: what was compared and how, the adjustment, whether fold changes were shrunk."""
    about: dict[str, Any] = {}
    held = value.attr("metadata")
    bound = held.get("lfcThreshold") if held is not None else None
    if bound is not None and bound.type == "double" and len(bound.value) == 1 and bound.value[0] > 0:
        size = float(bound.value[0])
        about = {
            "lfc": size,
            "notes": [f"P.Value is of a test against log2 fold changes of {size:g} (lfcThreshold), not 0"],
        }
    described = value.attr("elementMetadata")
    if described is None or not is_table(described):
        return about
    notes = frame_of(described)
    if "description" not in notes.columns or len(notes) != len(frame.columns):
        return about
    by_column = {name: str(text or "") for name, text in zip(frame.columns, notes["description"], strict=True)}
    tested = by_column.get("pvalue", "")  # LRT p-value: '~ group' vs '~ 1'
    said = tested if tested.startswith("LRT") else by_column.get("log2FoldChange", "")
    method = by_column.get("padj", "").removesuffix(" adjusted p-values")
    about |= {"adjust": method} if method in METHODS else {}
    return about | {"descriptions": by_column, "comparison": said.rpartition(": ")[2]}
