"""gb.read: one door for DE tables, one for expression matrices."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pandas as pd

from .core.detable import DETable
from .core.errors import TableError

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["expression", "toptable"]


@overload
def toptable(source: Any, *, contrast: str | None = None, coef: Any = None, feature: str | None = None,
             columns: Mapping[str, str | None] | None = None, by: None = None, duplicates: str | None = None,
             sheet: str | None = None, trusted: bool = False) -> DETable: ...  # fmt: skip
@overload
def toptable(source: Any, *, by: str | Sequence[str], contrast: str | None = None, coef: Any = None,
             feature: str | None = None, columns: Mapping[str, str | None] | None = None, duplicates: str | None = None,
             sheet: str | None = None, trusted: bool = False) -> dict[str, DETable]: ...  # fmt: skip
def toptable(
    source: Any,
    *,
    contrast: str | None = None,
    coef: Any = None,
    feature: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    by: str | Sequence[str] | None = None,
    duplicates: str | None = None,
    sheet: str | None = None,
    trusted: bool = False,
) -> DETable | dict[str, DETable]:
    """Read a differential-expression table, whatever program made it.

    Where two readings are possible, it is refused and the choices are listed; nothing is guessed.

    Parameters
    ----------
    source
        A file: text of any layout (also packed), an Excel workbook, an ``.rds`` or ``.RData``, an ``.h5ad``. Or a DataFrame; a
        live object of rpy2 (data.frame, MArrayLM, TopTags, DESeqResults ...); an AnnData with scanpy's
        ``rank_genes_groups`` or with results of :func:`geneml_bio.tl.limma`; a DETable, which is returned as it is.
    contrast
        What was compared, in words; without it what the table says itself.
    coef
        Which of several results side by side, by name or number (from 1): a coefficient of a limma fit (a list of them: F
        table), a contrast of a wide table, a group of a ranking.
    feature
        Column with the feature ids. Default: row names, or the column that looks like ids; ``.source`` tells which.
    columns
        ``{limma's name: column of the source}``, where names are not recognised, or wrongly; None: there is none. Other
        scales than limma's: ``-log10(P.Value)``, ``-ln(P.Value)``, ``ln(FC)``, ``log10(FC)``, ``FC`` (a ratio, or -2 for half).
        Pandas' direction, ``{column of the source: limma's name}``, is understood too.
    by
        Column (or columns) that tells stacked experiments apart: a dict of tables, in their order, is returned.
    duplicates
        What to do with ids that repeat: None refuses them; ``"best_p"`` keeps the row with the smallest P.Value,
        ``"max_aveexpr"`` the one with the largest AveExpr.
    sheet
        Sheet of a workbook, object of an ``.RData``, results of an AnnData. Default: the only one that holds a DE table.
    trusted
        Give an ``.rds`` that cannot be read here to R, which may run code in it.

    Returns
    -------
    DETable
        In limma's names and scales; ids are text, exactly as they were (``NA``, ``01005``, ``1-Mar``). ``.source`` tells the
        dialect, how the file is written, the columns mapped, rows read and lost, and the warnings given. With ``by=``: a
        dict of such tables.

    Raises
    ------
    TableError
        If it is no DE table, or could be read in two ways; the message says what was found and what to do.
    DuplicateNamesError
        If ids repeat.
    ColumnNotFoundError, InputError
        If an argument does not fit the source.
    """
    if isinstance(source, DETable):
        return source if contrast is None else replace(source, contrast=contrast)
    from .bridge import r, toptables

    how = toptables.How(contrast, coef, feature, columns, by, duplicates, sheet, trusted)
    if r.is_r_object(source):
        return toptables.from_r(source, how)
    if isinstance(source, pd.DataFrame):
        return toptables.from_frame(source, how)
    if isinstance(source, str | os.PathLike):
        return toptables.from_path(Path(source), how)
    if _what(source) == "AnnData":
        from .bridge.scanpy_groups import from_anndata

        return from_anndata(source, how)
    raise TableError(
        f"A {_what(source)} is not a DE table that can be read: pass a path, a DataFrame, an AnnData, an R object of rpy2, "
        f"or a DETable.{_converted(source)}"
    )


def expression(
    source: Any,
    *,
    samples: Any = None,
    target: str | None = None,
    obs: str | Sequence[str] | None = None,
    orient: str = "auto",
    sheet: str | None = None,
    trusted: bool = False,
) -> AnnData:
    """Read an expression matrix.

    Parameters
    ----------
    source
        An ``.h5ad`` file; a text matrix (``.csv``, ``.tsv``, ``.txt``, also packed with gzip); a DataFrame; or an R
        object, live through rpy2 or in an ``.rds`` or ``.RData`` file: ExpressionSet, SummarizedExperiment and what extends it
        (SingleCellExperiment, DESeqDataSet), DGEList, EList, a matrix (sparse too), a data.frame. The simplest file has
        samples as rows, genes as columns and a column ``target``.
    samples
        What is known of the samples: a DataFrame, or a text file, with sample names first; joined by name.
    target
        Column that will be modelled; it must be there, and is not taken for a gene.
    obs
        Columns of numbers that describe the samples (age, batch, library size) and are no genes. Text columns need not be named;
        a warning lists columns that were taken for genes against their names.
    orient
        ``"samples"`` (rows are samples), ``"genes"`` (rows are genes), or ``"auto"``: by the target column, by the names in
        ``samples``, by repeated text columns, else the longer side is genes (with a warning that says so).
        Bioconductor's containers have genes as rows.
    sheet
        Of an ``.RData`` file: which object. Default: the only one that holds expression data.
    trusted
        Give an R file that cannot be read here to R, which may run code in it.

    Returns
    -------
    AnnData
        ``.X`` samples x genes; ``.obs``: text columns, the target, and ``samples``; ``.uns["source"]``: how it was read. Of an R
        object the first assay is ``.X``, the others are ``.layers``, reduced dimensions are in ``.obsm`` (``PCA`` as ``X_pca``),
        and ``.uns["source"]["left_out"]`` lists what an AnnData has no place for.

    Raises
    ------
    InputError, ColumnNotFoundError
        If the source cannot be read, or the target is not there.
    """
    from .bridge import sample_columns
    from .bridge.matrices import expression as read_matrix

    named = [obs] if isinstance(obs, str) else list(obs or ())
    adata = read_matrix(source, samples=samples, target=target, orient=orient, sheet=sheet, trusted=trusted)
    adata = sample_columns.set_aside(adata, named)
    sample_columns.require(adata, named)
    sample_columns.tell(adata)
    return adata


def _what(source: object) -> str:
    return type(source).__name__


def _converted(source: object) -> str:
    if type(source).__module__.startswith("rpy2."):
        return (
            " This is an R object that rpy2 has already converted; take it without a converter, for example from "
            "rpy2.robjects.globalenv outside of a conversion context."
        )
    return ""
