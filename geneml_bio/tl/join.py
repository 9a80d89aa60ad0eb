"""A DE table beside the expression data."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ..bridge import keys
from ..bridge.anndata import attach, check_free, de_writes
from ..bridge.extract import check_writable
from ..core.detable import DETable
from ..core.errors import DataWarning, DuplicateNamesError, InputError, TableError
from ..core.ids import first_duplicates

if TYPE_CHECKING:
    from anndata import AnnData


def unique_names(adata: AnnData) -> None:
    """Refuse duplicated gene names."""
    if not adata.var_names.is_unique:
        raise DuplicateNamesError(
            f"Gene names are duplicated ({first_duplicates(adata.var_names)}, ...); results could not be told apart. "
            "Make them unique first, for example with adata.var_names_make_unique()."
        )


def add_de(adata: AnnData, de: DETable, *, key_added: str = "limma") -> DETable:
    """Put a DE table beside the expression data, aligned by gene id whatever the order of its rows.

    Parameters
    ----------
    adata
        Expression data; ``var_names`` are matched with the ids of the table.
    de
        From :func:`geneml_bio.read.toptable`.
    key_added
        Name of the results.

    Returns
    -------
    The table, and in ``adata`` the columns and the provenance that :func:`limma` writes, with ``.uns[key_added]["n_matched"]``.
    Genes without a row get NaN; a warning counts what did not match.

    Raises
    ------
    TableError
        If no id matches.
    """
    check_writable(adata)
    key = keys.check_key(key_added)
    if not isinstance(de, DETable):
        raise InputError(f"add_de takes a DETable, got {type(de).__name__}; gb.read.toptable(...) makes one.")
    check_free(adata, key, "DE")
    unique_names(adata)
    genes = adata.var_names.astype(str)
    matched = int(de.frame.index.isin(genes).sum())
    if not matched:
        raise TableError(
            f"None of the {len(de)} ids of the table (such as {', '.join(map(repr, de.frame.index[:3]))}) is among the "
            f"{len(genes)} var_names (such as {', '.join(map(repr, genes[:3]))}). Bring both to one id space: set adata.var_names, "
            "or read the table with feature= naming its column of matching ids."
        )
    lost_table, lost_genes = len(de) - matched, len(genes) - matched
    if lost_table or lost_genes:
        warnings.warn(
            f"{matched} genes matched; {lost_table} rows of the table have no gene in adata, {lost_genes} genes have no row.",
            DataWarning,
            stacklevel=2,
        )
    counts = {"n_matched": matched, "n_table_only": lost_table, "n_adata_only": lost_genes}
    merged = DETable(de.frame, kind=de.kind, contrast=de.contrast, source={**de.source, **counts})
    attach(adata, de_writes(adata, merged, key))
    return merged
