"""limma end to end on arrays: design and contrast frames in, limma's table and its provenance out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from .errors import DataWarning, InputError
from .moderated import contrasts_fit, e_bayes, lm_fit, top_table, treat


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
    if treat_lfc is not None and contrasts.shape[1] > 1:
        raise InputError(f"treat tests one contrast at a time, got {contrasts.shape[1]}: {list(contrasts.columns)}.")
