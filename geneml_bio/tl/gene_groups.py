"""Correlation groups of genes, their SHAP, and replacements."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ..bridge import keys
from ..bridge.anndata import attach
from ..bridge.evidence import check_ours, group_writes
from ..bridge.extract import check_writable
from ..core.errors import DataWarning
from ..core.gene_groups import gene_groups as group_core
from .stored import explained

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def gene_groups(
    adata: AnnData,
    *,
    key: str = "classify",
    threshold: float = 0.7,
    max_genes: int = 2000,
    max_stand_ins: int = 50,
) -> pd.DataFrame:
    """Genes that carry the same information: their SHAP together, and what could replace each gene that the models used.

    A model that has two genes for one signal uses either, or shares the signal out between them; which of them a list names is
    an accident of the samples. SHAP values add up, so that a group of such genes has a value of its own in each held-out sample.

    Parameters
    ----------
    adata
        With results of :func:`classify` or :func:`regress`, and of :func:`explain`.
    key
        Their name.
    threshold
        The least absolute correlation of every two genes of a group, and of a gene with its replacement; from 0.5 to 1. It is the
        correlation within the classes (after a line through a numeric target; after batch and covariates, where they were
        named) among the samples of the cross-validation; a test set has no part in it. In small studies it also has to be more
        than chance among all pairs (5 %, Bonferroni).
    max_genes
        How many genes to group, of those that any fold's screen chose or any model used: those with the largest mean absolute SHAP, then
        those chosen most often.
    max_stand_ins
        How many replacements of one gene to list, of all genes of the study: the most correlated.

    Returns
    -------
    DataFrame
        The groups of two or more genes, the largest SHAP first: ``group`` (``G1``, ...), ``n``, ``genes`` (the largest mean absolute SHAP
        first), ``leader``, ``shap`` (mean over held-out samples of the absolute sum of its genes' SHAP, in the unit of the
        explanation), ``share`` (of the total over groups and single genes), ``rank`` (among groups and single genes; NaN if unused),
        ``direction`` (1: more of the leader, and of the genes that go with it, more of ``toward``), ``toward`` (the positive
        class; of more than two, the class with the largest group SHAP), ``rho`` (rank correlation of the group's expression
        with its SHAP), ``n_used``, ``leader_shap``, ``leader_rank`` (among genes), ``min_correlation`` and ``mean_correlation``
        (absolute, over its pairs).

        In ``adata``: ``.var["{key}_group"]`` (``""`` for none), ``.var["{key}_stands_behind"]`` (the gene of the largest, and larger,
        mean absolute SHAP that a gene is correlated with; ``""`` for none) and ``.var["{key}_stands_behind_r"]`` (that correlation),
        ``.uns["{key}_groups"]`` = table, replacements and settings. :func:`geneml_bio.get.gene_groups`,
        :func:`geneml_bio.get.replacements`.

    Raises
    ------
    ColumnNotFoundError
        If nothing was validated or explained under ``key``.
    StaleResultError
        If the data changed since.
    InputError
        For a threshold outside 0.5 to 1.

    Notes
    -----
    Complete linkage on ``1 - abs(r)`` (:func:`scipy.cluster.hierarchy.linkage`), cut at 1 - ``threshold``. The groups choose nothing for
    any model, so that they may be made once, of all samples of the cross-validation.
    """
    check_writable(adata)
    name = keys.groups(keys.check_key(key, "key"))
    check_ours(adata, name)
    cohort, values, frequency = explained(adata, key)
    limits = {"max_genes": max_genes, "max_stand_ins": max_stand_ins}
    result = group_core(cohort, values, frequency, threshold=threshold, **limits)
    if result.settings["n_left_out"]:
        message = (
            f"{result.settings['n_left_out']} of the genes that a fold chose are in no group: the {max_genes} with the largest "
            "SHAP, then those chosen most often, were looked at (max_genes=)."
        )
        warnings.warn(message, DataWarning, stacklevel=2)
    attach(adata, group_writes(adata, result, key))
    return result.table
