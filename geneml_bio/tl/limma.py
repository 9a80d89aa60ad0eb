"""Differential expression by limma, in R or in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scipy import sparse

from ..bridge import keys
from ..bridge.anndata import attach, check_free, de_writes
from ..bridge.extract import check_writable, matrix
from ..core.detable import DETable
from ..core.errors import DesignError, InputError, near
from .join import unique_names

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_ENGINES = ("auto", "r", "native")


def limma(
    adata: AnnData,
    design: str | pd.DataFrame,
    *,
    contrast: Any,
    layer: str | None = None,
    trend: bool = False,
    robust: bool = False,
    treat_lfc: float | None = None,
    engine: str = "auto",
    key_added: str = "limma",
) -> DETable:
    """Differential expression by limma: ``lmFit``, ``contrasts.fit``, ``eBayes`` (or ``treat``), ``topTable``.

    Parameters
    ----------
    adata
        Log expression, samples x genes (log2 for a logFC in limma's sense).
    design
        A formula over ``.obs`` columns, such as ``"~ 0 + class + batch"`` (only names and ``+ : * - 0 1 ( )``), or a
        samples x coefficients frame, aligned by sample name.
    contrast
        ``(factor, level, reference)``; a coefficient; an expression over design columns (``"classAML - classALL"``); a
        dict of weights; or a list of these, which gives F statistics.
    layer
        Layer to use in place of ``X``.
    trend
        Let the prior variance follow mean expression (limma-trend).
    robust
        Protect the prior from outlying variances (R only, with its package statmod).
    treat_lfc
        Test against this minimal absolute log fold change (R: ``treat``) instead of zero.
    engine
        ``"r"`` (limma through rpy2), ``"native"`` (the same statistics in Python, equal to 1e-8), or ``"auto"``: R where it
        works, else native; a sparse matrix stays sparse and goes to native.
        The native engine is limma 3.54; for genes with missing values limma from 3.61 on estimates another prior.
    key_added
        Name of the results.

    Returns
    -------
    DETable, and in ``adata``: ``.var["{key_added}_logFC"]``, ``_AveExpr``, ``_t``, ``_P.Value``, ``_adj.P.Val``, ``_B`` (``_F``
    for several contrasts); ``.uns[key_added]`` = engine, design, contrast, versions, hyperparameters of eBayes.

    Raises
    ------
    FormulaError, DesignError, ColumnNotFoundError
        If the design or the contrast cannot be used.
    RNotAvailableError
        If ``engine="r"`` and R, limma or rpy2 is missing.
    """
    check_writable(adata)
    key = keys.check_key(key_added)
    if engine not in _ENGINES:
        raise InputError(f"engine must be one of {_ENGINES}, got {engine!r}.{near(engine, _ENGINES)}")
    from ..core.design import contrast_matrix, design_matrix
    from ..core.limma import native_limma

    check_free(adata, key, "DE")
    unique_names(adata)
    X = matrix(adata, layer)
    frame = design_matrix(design, adata.obs) if isinstance(design, str) else _aligned(design, adata)
    weights = contrast_matrix(contrast, frame, obs=adata.obs)
    how: dict[str, Any] = {"trend": trend, "treat_lfc": treat_lfc}
    if _use_r(engine, sparse.issparse(X), robust):
        run, how["robust"] = _r_limma(), robust
    else:
        run = native_limma
    table, about = run(X, frame, weights, adata.var_names.astype(str), **how)
    kind = "treat" if treat_lfc is not None else "t" if weights.shape[1] == 1 else "F"
    source = {
        **about,
        "design": design if isinstance(design, str) else "a design matrix",
        "design_columns": list(frame.columns),
    }
    source |= {"layer": layer, "trend": trend, "robust": robust, "treat_lfc": treat_lfc}
    de = DETable(table, kind=kind, contrast=", ".join(map(str, weights.columns)), source=source)  # type: ignore[arg-type]
    attach(adata, de_writes(adata, de, key))
    return de


def _aligned(design: pd.DataFrame, adata: AnnData) -> pd.DataFrame:
    """A design matrix in the order of the samples: by name, or as it is where its rows are only numbered."""
    import pandas as pd

    names = adata.obs_names.astype(str)
    if isinstance(design, pd.DataFrame) and len(design) == len(names):
        index = design.index.astype(str)
        if index.is_unique and set(index) == set(names):
            return design.set_axis(index, axis=0).loc[names]
        if isinstance(design.index, pd.RangeIndex):
            return design.set_axis(names, axis=0)
    raise DesignError(
        f"The design must be a formula, or a DataFrame with one row for each of the {len(names)} samples, named by adata.obs_names "
        f"(or numbered); got {type(design).__name__}{f' with {len(design)} rows' if hasattr(design, '__len__') else ''}."
    )


def _use_r(engine: str, is_sparse: bool, robust: bool) -> bool:
    if engine == "native" and robust:
        raise InputError("robust=True is computed by R; use engine='r' (`geneml-bio doctor` says what that needs).")
    if engine != "auto":
        return engine == "r"
    from ..bridge.r import limma_works

    return robust or (not is_sparse and limma_works())


def _r_limma() -> Any:
    from ..bridge.r_limma import limma_fit

    return limma_fit
