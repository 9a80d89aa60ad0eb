"""limma end to end on arrays: design and contrast frames in, limma's table and its provenance out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .errors import DataWarning, DesignError, InputError
from .moderated import contrasts_fit, e_bayes, independent_columns, lm_fit, top_table, treat

_LOWEST_COUNT_MAXIMUM = 30.0  # log2 of counts stays below
_SINGULAR = 1e-9  # smallest eigenvalue of a correlation matrix that can still be inverted
_ROBUST_GENES = 3  # below this limma's robust prior cannot be estimated
_LOGS = "Name the layer= that holds the counts, or leave voom out (trend=True suits logs of counts)."


def native_limma(
    X: Any,
    design: pd.DataFrame,
    contrasts: pd.DataFrame,
    features: Any,
    *,
    trend: bool = False,
    treat_lfc: float | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """``lmFit``, ``contrasts.fit``, ``eBayes`` (or ``treat``) and ``topTable`` in Python.

    Parameters
    ----------
    X
        samples x genes, dense (NaN: missing) or CSR/CSC; log2 expression.
    design
        samples x coefficients, from :func:`geneml_bio.core.design.design_matrix`.
    contrasts
        coefficients x contrasts, from :func:`geneml_bio.core.design.contrast_matrix`.
    features
        Names of the genes.
    trend
        Let the prior variance follow the average expression.
    treat_lfc
        Test against this minimal log fold change; one contrast only.

    Returns
    -------
    frame, provenance
        limma's table of all genes (an F table for several contrasts), and what it rests on.
    """
    check_limma_input(design, contrasts, treat_lfc)
    fit = contrasts_fit(lm_fit(X, design), contrasts)
    flat = int((fit.sigma2 == 0).sum())
    if flat:  # limma says so too
        warnings.warn(
            f"{flat} of {len(fit.sigma2)} genes do not vary within the design; their variances are offset away from zero "
            "(limma's convention). Drop genes that are constant first.",
            DataWarning,
            stacklevel=2,
        )
    mfit = treat(fit, treat_lfc, trend=trend) if treat_lfc is not None else e_bayes(fit, trend=trend)
    names = [str(name) for name in contrasts.columns]
    prior = np.asarray(mfit.s2_prior, dtype=float)
    about: dict[str, Any] = {
        "engine": "native",
        "contrasts": names,
        "df_prior": float(mfit.df_prior),
        "s2_prior": float(np.median(prior)),
        "trend": trend,
    }
    if mfit.var_prior is not None:
        about |= {"proportion": mfit.proportion, "var_prior": np.asarray(mfit.var_prior)}
    if treat_lfc is not None:
        about["treat_lfc"] = float(treat_lfc)
    return top_table(mfit, features, names=names), about


def check_limma_input(design: pd.DataFrame, contrasts: pd.DataFrame, treat_lfc: float | None) -> None:
    """What both engines ask of design and contrasts."""
    if list(map(str, contrasts.index)) != list(map(str, design.columns)):
        raise InputError(
            f"The contrasts are over {list(contrasts.index)}, the design has {list(design.columns)}; make them from "
            "this design with contrast_matrix."
        )
    if treat_lfc is None:
        return
    if contrasts.shape[1] > 1:
        raise InputError(f"treat tests one contrast at a time, got {contrasts.shape[1]}: {list(contrasts.columns)}.")
    number = isinstance(treat_lfc, int | float | np.integer | np.floating) and not isinstance(treat_lfc, bool)
    if not number or not 0 <= treat_lfc < np.inf:
        raise InputError(
            f"treat_lfc must be a finite log2 fold change of at least 0, got {treat_lfc!r}; None tests against zero."
        )


def check_estimable(values: np.ndarray, design: pd.DataFrame, *, trend: bool = False, robust: bool = False) -> None:
    """Refuse data that leave limma no variance to estimate, in words in place of R's.

    Parameters
    ----------
    values
        samples x genes, dense (NaN: missing).
    design
        samples x coefficients.
    trend, robust
        As in :func:`native_limma` and in R's ``eBayes``.

    Raises
    ------
    DesignError
        If no gene has residual degrees of freedom.
    InputError
        If the genes are too few for what is asked.
    """
    n_samples, n_genes = values.shape
    if not n_genes:
        raise InputError("There are no genes to test: the data have no column. Was a filter too strict?")
    usable = _with_residuals(values, design.to_numpy(dtype=float), _ROBUST_GENES)
    if not usable:
        raise DesignError(
            f"No residual degrees of freedom: {n_samples} samples, {design.shape[1]} coefficients, {n_genes} genes. "
            "A test needs replicates; use a smaller design or more samples."
        )
    if robust and usable < _ROBUST_GENES:
        raise InputError(
            f"robust=True needs at least {_ROBUST_GENES} genes with residual degrees of freedom, got {usable} (of {n_genes}): from "
            "fewer no variance can be told to be an outlier. Leave robust out, or test more genes."
        )
    bare = int(np.isnan(values).all(axis=0).sum()) if trend else 0
    if bare:
        raise InputError(
            f"The trend needs a finite average expression for each gene; {bare} of {n_genes} have none. Drop genes without "
            "any value first."
        )


def _with_residuals(values: np.ndarray, design: np.ndarray, enough: int) -> int:
    """Number of genes with residual degrees of freedom, counted up to ``enough``."""
    seen = ~np.isnan(values)
    counts, rank = seen.sum(axis=0), independent_columns(design).sum()
    found = int((counts > rank).sum())
    for gene in np.flatnonzero((counts <= rank) & (counts > 1)):  # without some samples a coefficient may go as well
        if found >= enough:
            break
        found += bool(counts[gene] > independent_columns(design[seen[:, gene]]).sum())
    return found


def check_blocks(codes: np.ndarray, correlation: float | None) -> None:
    """Refuse blocks within which there is no correlation, or in which it cannot be.

    Parameters
    ----------
    codes
        The block of each sample, as numbers from 0.
    correlation
        The correlation within blocks, or None where it is to be estimated.

    Raises
    ------
    DesignError
        If all samples are in one block, or each has its own.
    InputError
        If no blocks of this size can have this correlation.
    """
    sizes = np.bincount(codes)
    if len(sizes) == 1:
        raise DesignError(
            f"block: all {len(codes)} samples have the same value, so that there is nothing to tell blocks apart by; leave block= "
            "out, or name the column of donors, plates or litters."
        )
    largest = int(sizes.max())
    if largest == 1:
        raise DesignError(
            f"block: each of the {len(codes)} samples has a value of its own, so that no two share a block; leave block= out, or "
            "name the column that says which samples belong together (not the samples' own names)."
        )
    if correlation is not None and 1 + (largest - 1) * correlation < _SINGULAR:
        raise InputError(
            f"correlation={correlation:g} is impossible: {largest} samples of one block cannot all be correlated by less than "
            f"-1/{largest - 1} = {-1 / (largest - 1):.3g}. Give a larger one, or leave correlation out to have it estimated."
        )


def check_counts(X: Any) -> list[str]:
    """Refuse what ``voom`` cannot take for counts; returns what is to be said of the rest.

    Parameters
    ----------
    X
        samples x genes, dense or sparse.

    Raises
    ------
    InputError
        For missing or negative values, for logs, for samples without a count, for fewer than two genes with counts.
    """
    values: Any = X.data if sparse.issparse(X) else np.asarray(X)
    if np.isnan(values).any():
        raise InputError(f"voom takes counts, and {int(np.isnan(values).sum())} values are missing. {_LOGS}")
    if values.size and values.min() < 0:
        raise InputError(
            f"voom takes counts, and {int((values < 0).sum())} values are negative: are these logs? {_LOGS}"
        )
    broken = int((values != np.rint(values)).sum())
    top = float(values.max()) if values.size else 0.0
    if broken and top < _LOWEST_COUNT_MAXIMUM:
        raise InputError(
            f"voom takes counts; {broken} values are not whole and none is above {top:.3g}, as in logs. {_LOGS}"
        )
    sizes = np.asarray(X.sum(axis=1), dtype=float).ravel()
    if (sizes == 0).any():
        raise InputError(f"{int((sizes == 0).sum())} of {len(sizes)} samples have no counts at all; leave them out.")
    said = []
    if broken:
        said.append(f"{broken} of {X.shape[0] * X.shape[1]} counts are not whole numbers; voom uses them as they are.")
        if len(sizes) > 1 and np.ptp(sizes) < 1e-3 * sizes.mean():
            said.append("Every sample sums to the same, as in TPM or CPM: voom needs the counts before such a scaling.")
    empty = int((np.asarray(X.sum(axis=0)).ravel() == 0).sum())
    if X.shape[1] - empty < 2:
        raise InputError(
            f"voom needs at least two genes with counts to fit the variance along the mean, got {X.shape[1] - empty} (of "
            f"{X.shape[1]}). {_LOGS}"
        )
    if empty:
        said.append(
            f"{empty} of {X.shape[1]} genes have no count in any sample. They and other genes of low counts bend voom's trend: "
            "leave them out first (edgeR's filterByExpr says which)."
        )
    return said
