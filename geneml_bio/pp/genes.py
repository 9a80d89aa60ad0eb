"""Predictors for genes as rows, from samples."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..bridge.extract import column, matrix
from ..core.errors import AuditWarning, ColumnNotFoundError, DuplicateNamesError, InputError, near
from ..core.gene_features import gene_features as moments
from ..core.ids import first_duplicates

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["gene_features"]


def gene_features(
    adata: AnnData,
    *,
    reference: Any = None,
    annotation: Any = None,
    gene_sets: Any = None,
    layer: str | None = None,
    min_size: int = 5,
    max_size: int | None = 500,
    max_sets: int = 100,
) -> pd.DataFrame:
    """What reference samples say of each gene, as predictors for :func:`geneml_bio.tl.regress_genes`.

    The reference samples had better take no part in the contrast: other donors, another study, healthy tissue of an atlas, or half of
    the controls. Computed on the samples of the contrast such features are circular: their variance is in every t; the mean
    of the controls has the sampling error of logFC in it with its sign turned, and together with AveExpr it *is* logFC
    (:func:`~geneml_bio.tl.regress_genes` finds that and says so). AveExpr alone is innocent: in a design of two groups its
    error is uncorrelated with that of logFC.

    Parameters
    ----------
    adata
        Expression (logs, mostly), samples or cells x genes, dense or CSR; CSR is never made dense.
    reference
        Which samples: ``("condition", "control")`` (a column of ``.obs``, and a value or a list of them), or a boolean array. None:
        all of them, with a warning.
    annotation
        Further predictors: names of ``.var`` columns, or a DataFrame by gene.
    gene_sets
        GMT or net file, ``{set: genes}``, or a frame ``source target weight``, by the names of the genes: one column a set.
    layer
        Layer to use in place of ``X``.
    min_size, max_size, max_sets
        Of gene sets: genes they must have here; how many to take (the largest).

    Returns
    -------
    DataFrame
        By gene: ``baseline_mean``, ``baseline_sd``, ``baseline_skew``; where nothing is negative also ``baseline_cv`` (sd / mean) and
        ``baseline_detection`` (share of samples above 0); annotation; ``set:...``. NaN where not defined.
        ``.attrs["reference"]`` says which samples.

    Raises
    ------
    InputError, ColumnNotFoundError, DuplicateNamesError
        If no sample is a reference, or genes cannot be told apart.
    """
    genes = pd.Index(adata.var_names.astype(str))
    if genes.has_duplicates:
        raise DuplicateNamesError(
            f"Gene names are duplicated ({first_duplicates(genes)}, ...). Make them unique first, for example with "
            "adata.var_names_make_unique()."
        )
    rows, words = _reference(adata, reference)
    if reference is None:
        message = (
            f"gene_features was computed on all {len(rows)} samples. If these are the samples of the contrast, the features are circular: "
            "their variance enters every t. Name reference samples that take no part in it: reference=('condition', 'control')."
        )
        warnings.warn(message, AuditWarning, stacklevel=2)
    X = matrix(adata, layer)
    parts = [moments(X if rows.all() else X[rows], genes)]
    if annotation is not None:
        parts.append(_annotation(adata, annotation, genes))
    if gene_sets is not None:
        from ..bridge.gene_sets import read_gene_sets
        from ..core.gene_sets import membership

        made = membership(
            read_gene_sets(gene_sets), genes, min_size=min_size, max_size=max_size, max_sets=max_sets
        ).frame
        parts.append(made.rename(columns=lambda name: f"set:{name}"))
    frame = pd.concat(parts, axis=1)
    if frame.columns.has_duplicates:
        raise InputError(f"Predictors are there twice: {first_duplicates(frame.columns)}. Rename the annotation.")
    frame.attrs["reference"] = words
    return frame


def _reference(adata: AnnData, reference: Any) -> tuple[np.ndarray, str]:
    """Boolean array of the reference samples, and what they are."""
    n = adata.n_obs
    if reference is None:
        return np.ones(n, dtype=bool), f"all {n} samples"
    if isinstance(reference, tuple) and len(reference) == 2 and isinstance(reference[0], str):
        name, wanted = reference
        values = column(adata, name, "reference").astype(object)
        levels = [wanted] if isinstance(wanted, str) or not isinstance(wanted, list | tuple | set) else list(wanted)
        asked = {str(level) for level in levels}
        there = {str(value) for value in values.dropna()}
        if lost := sorted(asked - there):
            raise ColumnNotFoundError(f"reference: {name!r} has no {lost[0]!r}.{near(lost[0], sorted(there))}")
        rows = np.array([not pd.isna(value) and str(value) in asked for value in values])
        return rows, f"{int(rows.sum())} samples, {name} = {', '.join(sorted(asked))}"
    rows = np.asarray(reference)
    if isinstance(reference, pd.Series) and not reference.index.equals(adata.obs_names):
        raise InputError(
            "reference: the series has not the names of the samples, in their order; use .reindex(adata.obs_names)."
        )
    if rows.dtype != bool or rows.shape != (n,):
        raise InputError(
            f"reference must be (column, value), or a boolean array of {n} samples; got {type(reference).__name__} of {rows.dtype}."
        )
    if not rows.any():
        raise InputError("reference: no sample is True.")
    return rows, f"{int(rows.sum())} samples named by the caller"


def _annotation(adata: AnnData, annotation: Any, genes: pd.Index) -> pd.DataFrame:
    if not isinstance(annotation, pd.DataFrame):
        names = [annotation] if isinstance(annotation, str) else [str(name) for name in annotation]
        lost = [name for name in names if name not in adata.var.columns]
        if lost:
            raise ColumnNotFoundError(
                f"annotation: no column {lost[0]!r} in adata.var.{near(lost[0], adata.var.columns)}"
            )
        return adata.var[names].set_axis(genes, axis=0)
    index = pd.Index(annotation.index.astype(str))
    if index.has_duplicates:
        raise DuplicateNamesError(f"annotation: genes are there twice ({first_duplicates(index)}, ...).")
    found = int(genes.isin(index).sum())
    if not found:
        raise InputError(
            f"annotation: none of its {len(index)} genes is in adata.var_names; are they in the same id space?"
        )
    if found < len(genes):
        from ..core.errors import DataWarning

        message = (
            f"annotation has no row for {len(genes) - found:,} of {len(genes):,} genes; its values are missing there."
        )
        warnings.warn(message, DataWarning, stacklevel=3)
    return annotation.set_axis(index, axis=0).reindex(genes)
