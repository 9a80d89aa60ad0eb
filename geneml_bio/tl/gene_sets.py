"""SHAP of gene sets."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..bridge import keys
from ..bridge.anndata import attach
from ..bridge.evidence import check_ours, table_writes
from ..bridge.extract import check_writable
from ..bridge.gene_sets import read_gene_sets
from ..core.errors import ColumnNotFoundError, DataWarning, near
from ..core.set_shap import Matched, matched, set_shap
from .stored import explained

if TYPE_CHECKING:
    from anndata import AnnData


def gene_sets(
    adata: AnnData,
    sets: Any,
    *,
    key: str = "classify",
    min_size: int = 5,
    max_size: int | None = 500,
    gene_symbols: str | None = None,
    inter_gene_cor: float | None = None,
) -> pd.DataFrame:
    """SHAP summed over gene sets, and whether the models rely on their genes more than on others.

    Parameters
    ----------
    adata
        With results of :func:`classify` or :func:`regress`, and of :func:`explain`.
    sets
        A GMT file (MSigDB, Enrichr; also gzipped), a net as a file or frame with the columns ``source``, ``target`` and maybe
        ``weight`` (decoupler, omnipath), or a dict of set -> genes. Of weights the sign counts, for ``direction``.
    key
        Name of the explained results.
    min_size, max_size
        Least and largest number of different genes of a set that are in the study; other sets are left out and counted.
    gene_symbols
        ``.var`` column of the names that the sets use; default: ``.var_names``. Several genes (probes) may have one name.
    inter_gene_cor
        Mean correlation of the scores of two genes of a set, as in ``limma::camera`` (whose preset is 0.01); None estimates that of each
        set from what the classes, batch and covariates leave of expression.

    Returns
    -------
    DataFrame
        A row a set, the smallest p-value first: ``set``, ``n_genes`` (of the set), ``n_tested`` (of them in the study), ``n_features``
        (rows of ``.var`` that they are), ``n_screened`` (rows that any fold's screen chose), ``n_used`` (rows with SHAP), ``shap`` (mean
        over held-out samples of the absolute sum of their SHAP), ``share`` (of the total mean absolute SHAP of all genes),
        ``direction`` (1: two thirds or more of that is of genes of which more expression means more of ``toward``; -1: less; 0: mixed
        or unused), ``toward`` (the positive class; of more than two, the class with the largest SHAP of the set), ``balance`` (what
        ``direction`` is made of, -1 to 1), ``correlation`` and ``n_effective`` (how many independent genes the set is worth),
        ``t`` (camera's), ``p_value``, ``adj.P.Val`` (Benjamini and Hochberg), ``leading`` (the up to ten most important of its genes).

        In ``adata``: ``.uns["{key}_sets"]`` = that table and settings; :func:`geneml_bio.get.gene_sets`.

    Raises
    ------
    ColumnNotFoundError
        If nothing was validated or explained under ``key``, or there is no column ``gene_symbols``.
    StaleResultError
        If the data changed since.
    InputError
        If no set has a useful number of genes in the study, or the sets cannot be read.

    Notes
    -----
    **What is tested.** Null hypothesis: the genes of the set are relied on no more than genes outside it that are as correlated among
    each other. Of each gene the square root of its mean absolute SHAP is taken, so that no gene makes a set alone, and the mean over
    the set is compared, one-sided, with that of random genes; see :func:`geneml_bio.core.set_test.competitive`. It says nothing of genes
    that differ between the classes and are not used: for those there is ``limma::camera``.
    """
    check_writable(adata)
    name = keys.sets(keys.check_key(key, "key"))
    check_ours(adata, name)
    found, labels = matched_sets(adata, sets, gene_symbols=gene_symbols, min_size=min_size, max_size=max_size)
    cohort, values, frequency = explained(adata, key)
    table, about = set_shap(cohort, values, frequency, found, labels, inter_gene_cor=inter_gene_cor)
    left = found.n_small + found.n_large
    if left:
        message = (
            f"{left} of {found.n_sets} gene sets are left out: {found.n_small} have fewer than {min_size} genes in the study, "
            f"{found.n_large} more than {max_size}."
        )
        warnings.warn(message, DataWarning, stacklevel=2)
    settings = {
        **{"min_size": min_size, "max_size": max_size, "gene_symbols": gene_symbols, "inter_gene_cor": inter_gene_cor},
        **{"n_sets": found.n_sets, "n_small": found.n_small, "n_large": found.n_large, **about},
    }
    attach(adata, table_writes(name, table, settings))
    return table


def matched_sets(
    adata: AnnData, sets: Any, *, gene_symbols: str | None, min_size: int = 5, max_size: int | None = 500
) -> tuple[Matched, pd.Index]:
    """The gene sets that can be tested in this study, and the names of its genes in their id space (errors: :func:`gene_sets`)."""
    if gene_symbols is None:
        names = adata.var_names.astype(str)
    elif gene_symbols not in adata.var:
        raise ColumnNotFoundError(
            f"gene_symbols: no column {gene_symbols!r} in adata.var.{near(gene_symbols, adata.var.columns)}"
        )
    else:
        values = adata.var[gene_symbols].astype(object)
        names = pd.Index(np.where(values.isna(), "", values.astype(str).str.strip()))
    found = matched(read_gene_sets(sets), names, min_size=min_size, max_size=max_size)
    own = adata.var_names.astype(str)
    return found, pd.Index(np.where(names == "", own, names))
