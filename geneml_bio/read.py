"""gb.read: one door for DE tables, one for expression matrices."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .core.detable import DETable
from .core.errors import InputError, TableError

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["expression", "toptable"]


def toptable(source: Any, *, contrast: str | None = None, coef: Any = None, feature: str | None = None) -> DETable:
    """Read a differential-expression table of limma.

    Parameters
    ----------
    source
        A text file (``.csv``, ``.tsv``, ``.txt``, also packed with gzip) as ``write.csv``, ``write.csv2``,
        ``write.table``, readr or pandas save it; a DataFrame; a live rpy2 ``data.frame`` or ``MArrayLM`` (after eBayes
        or treat); or a DETable, which is returned as it is.
    contrast
        What was compared, in words; of an ``MArrayLM`` the coefficient's name is taken.
    coef
        Of an ``MArrayLM``: name or number (from 1, as in R) of the coefficient, or a list of them (F table).
    feature
        Column with the feature ids. Default: row names, or the column that looks like ids.

    Returns
    -------
    DETable
        Ids are text, exactly as they were (``NA``, ``01005``, ``1-Mar``). ``.source`` tells path, separator, decimal mark,
        encoding, the columns mapped, rows read and lost, and warnings.

    Raises
    ------
    TableError
        If it is not a limma table; the message says what was found.
    """
    if isinstance(source, DETable):
        return source if contrast is None else replace(source, contrast=contrast)
    from .bridge import r, toptables

    if r.is_r_object(source):
        return toptables.from_r(source, contrast=contrast, coef=coef, feature=feature)
    if coef is not None:
        raise InputError(f"coef= chooses a coefficient of a limma fit (MArrayLM); the source is a {_what(source)}.")
    if isinstance(source, pd.DataFrame):
        return toptables.from_frame(source, contrast=contrast, feature=feature)
    if isinstance(source, str | os.PathLike):
        return toptables.from_path(Path(source), contrast=contrast, feature=feature)
    raise TableError(
        f"A {_what(source)} is not a DE table that can be read: pass a path, a DataFrame, an rpy2 data.frame or MArrayLM, "
        f"or a DETable.{_converted(source)}"
    )


def expression(
    source: Any, *, samples: Any = None, target: str | None = None, orient: str = "auto"
) -> AnnData:  # fmt: skip
    """Read an expression matrix.

    Parameters
    ----------
    source
        An ``.h5ad`` file; a text matrix (``.csv``, ``.tsv``, ``.txt``, also packed with gzip); a DataFrame; or a live
        rpy2 ``ExpressionSet``. The simplest file has samples as rows, genes as columns and a column ``target``.
    samples
        What is known of the samples: a DataFrame, or a text file, with sample names first; joined by name.
    target
        Column that will be modelled; it must be there, and is not taken for a gene.
    orient
        ``"samples"`` (rows are samples), ``"genes"`` (rows are genes), or ``"auto"``: by the target column, by the names in
        ``samples``, by repeated text columns, else the longer side is genes (with a warning that says so).

    Returns
    -------
    AnnData
        ``.X`` samples x genes; ``.obs``: text columns, the target, and ``samples``; ``.uns["source"]``: how it was read.

    Raises
    ------
    InputError, ColumnNotFoundError
        If the source cannot be read, or the target is not there.
    """
    from .bridge.matrices import expression as read_matrix

    return read_matrix(source, samples=samples, target=target, orient=orient)


def _what(source: object) -> str:
    return type(source).__name__


def _converted(source: object) -> str:
    if type(source).__module__.startswith("rpy2."):
        return (
            " This is an R object that rpy2 has already converted; take it without a converter, for example from "
            "rpy2.robjects.globalenv outside of a conversion context."
        )
    if _what(source) == "AnnData":
        return " Results of scanpy's rank_genes_groups cannot be read yet."
    return ""
