"""Symbols and names of genes: from ``.var``, from a frame, or from an annotation package of Bioconductor through R."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from ..core.errors import ColumnNotFoundError, DuplicateNamesError, InputError, RNotAvailableError, near
from ..core.ids import first_duplicates

SYMBOL_COLUMNS = (
    "symbol",
    "Symbol",
    "SYMBOL",
    "gene_symbol",
    "gene_symbols",
    "Gene.Symbol",
    "Gene Symbol",
    "hgnc_symbol",
    "gene_short_name",
    "gene_name",
    "feature_name",
)
NAME_COLUMNS = (
    "name",
    "description",
    "gene_description",
    "gene_title",
    "Gene.Title",
    "Gene Title",
    "GENENAME",
    "Gene.title",
    "gene_full_name",
)
_ID_COLUMNS = ("id", "ID", "gene_id", "feature_id", "probe_id", "PROBEID", "ENSEMBL", "ENTREZID")
_PACKAGE = re.compile(r"[A-Za-z][A-Za-z0-9.]*\.db")


def annotated(
    ids: pd.Index, var: pd.DataFrame | None, gene_symbols: str | None = None, annotation: Any = None, **how: Any
) -> tuple[pd.DataFrame | None, str | None]:
    """Symbols and names of genes, and where they are from.

    Parameters
    ----------
    ids
        The genes.
    var
        What is known of them, by gene, in the order of ``ids``; or None.
    gene_symbols
        The column of ``var`` with symbols; default: the first with a usual name.
    annotation
        A frame with ids as index (or in a column called ``id``, ``gene_id``, ...) and columns of symbols or names; or a package
        of Bioconductor, ``"org.Hs.eg.db"`` say, asked through R; None: what ``var`` says.
    how
        ``keytype``, for a package: see :func:`from_package`.

    Returns
    -------
    frame, source
        ``symbol name`` (or one of them) by gene, missing for genes of which nothing is known; None where there are none.
    """
    if annotation is None:
        return _from_var(ids, var, gene_symbols)
    if isinstance(annotation, str):
        return from_package(ids, annotation, **how)
    if not isinstance(annotation, pd.DataFrame):
        raise InputError(
            "annotation must be a frame with genes as index, or an annotation package of Bioconductor such as 'org.Hs.eg.db'; "
            f"got {type(annotation).__name__}."
        )
    return _from_frame(ids, annotation)


def symbol_column(columns: pd.Index, gene_symbols: str | None = None) -> str | None:
    """The column of symbols: the one asked for, or the first with a usual name; None where there is none."""
    if gene_symbols is not None and gene_symbols not in columns:
        raise ColumnNotFoundError(
            f"gene_symbols: no column {gene_symbols!r} in adata.var.{near(gene_symbols, columns)}"
        )
    return gene_symbols or next((name for name in SYMBOL_COLUMNS if name in columns), None)


def _from_var(
    ids: pd.Index, var: pd.DataFrame | None, gene_symbols: str | None
) -> tuple[pd.DataFrame | None, str | None]:
    var = pd.DataFrame(index=ids) if var is None else var
    symbol = symbol_column(var.columns, gene_symbols)
    name = next((name for name in NAME_COLUMNS if name in var.columns and name != symbol), None)
    found = {as_: _text(var[column], ids) for as_, column in (("symbol", symbol), ("name", name)) if column}
    return (pd.DataFrame(found, index=ids), f".var[{symbol or name!r}]") if found else (None, None)


def _from_frame(ids: pd.Index, frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    index = frame.index.astype(str)
    if not index.isin(ids).any():
        column = next((name for name in _ID_COLUMNS if name in frame and frame[name].astype(str).isin(ids).any()), None)
        if column is None:
            raise InputError(
                f"annotation: none of its {len(frame):,} rows is one of the {len(ids):,} genes ({ids[0]!r}, ...); its index starts "
                f"with {list(index[:3])}. Set its ids as index: annotation.set_index(...)."
            )
        index = pd.Index(frame[column].astype(str))
    kept = index.isin(ids)
    frame, index = frame[kept], index[kept]
    if index.has_duplicates:
        raise DuplicateNamesError(
            f"annotation: ids of genes are there more than once ({first_duplicates(index)}, ...). Keep one row of each."
        )
    symbol = symbol_column(frame.columns)
    name = next((name for name in NAME_COLUMNS if name in frame.columns and name != symbol), None)
    found = {as_: _text(frame[column], index) for as_, column in (("symbol", symbol), ("name", name)) if column}
    if not found:
        raise InputError(
            f"annotation: it needs a column of symbols (symbol, gene_symbol, ...) or of names (name, description, ...); got "
            f"{list(frame.columns)}."
        )
    return pd.DataFrame(found, index=index).reindex(ids), "a frame"


def _text(values: pd.Series, index: pd.Index) -> pd.Series:
    known = [None if pd.isna(value) or not str(value).strip() else str(value) for value in values]
    return pd.Series(known, index=index, dtype=object)


def from_package(ids: pd.Index, package: str, keytype: str | None = None) -> tuple[pd.DataFrame, str]:
    """Symbols and names by an annotation package of R, such as ``org.Hs.eg.db`` or ``hgu95av2.db``.

    Parameters
    ----------
    ids
        The genes: Ensembl ids (with a version or without), Entrez ids, symbols, probes, ...
    package
        Its name.
    keytype
        What the ids are, in the package's own words (``"ENSEMBL"``, ``"ENTREZID"``, ``"SYMBOL"``, ``"PROBEID"``); default: what most of
        them are found as.

    Returns
    -------
    frame, source
        ``symbol name`` by gene. Of several symbols of one id the first is taken, as AnnotationDbi's ``mapIds`` does.

    Raises
    ------
    RNotAvailableError
        If R or the package is missing; the message names the fix.
    InputError
        If it is no annotation package, or hardly any id is in it.
    """
    from .r import call, require
    from .r_setup import WITHOUT

    if not _PACKAGE.fullmatch(package):
        raise InputError(
            f"annotation={package!r} is no name of an annotation package of Bioconductor, such as 'org.Hs.eg.db'."
        )
    try:
        versions = require("AnnotationDbi", package)["packages"]
    except RNotAvailableError as error:
        fix = str(error).removesuffix(WITHOUT)
        raise RNotAvailableError(f"annotation={package!r} needs R. {fix} Or pass a frame: annotation=frame.") from error
    asked = [name if name else " " for name in map(str, ids)]
    found = call("annotate", package, asked, keytype)
    if found.get("problem"):
        raise InputError(f"annotation={package!r}: {found['problem'][0]}")
    frame = pd.DataFrame({"symbol": found["symbol"], "name": found["name"]}, index=ids, dtype=object)
    n = int(frame["symbol"].notna().sum())
    return frame, f"{package} {versions[package]}, by {found['keytype'][0]}: {n:,} of {len(ids):,} genes"
