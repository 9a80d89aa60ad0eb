"""Differential expression by limma, in R or in Python."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..bridge import keys
from ..bridge.anndata import attach, check_free, de_writes
from ..bridge.extract import check_writable, column, matrix
from ..core.detable import DETable
from ..core.errors import DataWarning, DesignError, InputError, RNotAvailableError, near
from .join import unique_names

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_ENGINES = ("auto", "r", "native")
_NORMALIZE = ("TMM", "TMMwsp", "RLE", "upperquartile", "none")


def limma(
    adata: AnnData,
    design: str | pd.DataFrame,
    *,
    contrast: Any,
    layer: str | None = None,
    voom: bool = False,
    normalize: str = "TMM",
    quality_weights: bool = False,
    block: str | None = None,
    correlation: float | None = None,
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
        Log expression, samples x genes (log2 for a logFC in limma's sense), or counts for ``voom``; counts without it are
        warned of.
    design
        A formula over ``.obs`` columns, such as ``"~ 0 + class + batch"`` (only names and ``+ : * - 0 1 ( )``), or a
        samples x coefficients frame, aligned by sample name.
    contrast
        ``(factor, level, reference)``; a coefficient; an expression over design columns (``"classAML - classALL"``); a
        dict of weights; or a list of these, which gives F statistics.
    layer
        Layer to use in place of ``X``.
    voom
        The values are counts: weigh them by limma's ``voom``. Leave out genes of low counts first, as edgeR's
        ``filterByExpr`` does; ``source["n_low_counts"]`` says how many it would leave out.
    normalize
        Method of edgeR's ``calcNormFactors`` for the library sizes of ``voom``: ``"TMM"``, ``"TMMwsp"``, ``"RLE"``,
        ``"upperquartile"`` or ``"none"``.
    quality_weights
        Weigh the samples by how well they fit (``arrayWeights``; with ``voom``: ``voomWithQualityWeights``).
    block
        ``.obs`` column of the donor, plate or litter that samples share: their correlation within it
        (``duplicateCorrelation``) is taken into account. With ``voom``, both are estimated twice, as limma advises.
    correlation
        The correlation within blocks, if it is known; default: estimated.
    trend
        Let the prior variance follow mean expression (limma-trend).
    robust
        Protect the prior from outlying variances.
    treat_lfc
        Test against this minimal absolute log fold change (R: ``treat``) instead of zero.
    engine
        ``"r"`` (limma through rpy2), ``"native"`` (the same statistics in Python, equal to 1e-8; a sparse matrix stays sparse), or
        ``"auto"``: R for what it alone computes, else native, so that the numbers do not depend on whether R is there.
        ``voom``, ``quality_weights``, ``block`` and ``robust`` are R's alone (robust and block need its package statmod, voom edgeR).
        The native engine is limma 3.54; for genes with missing values limma from 3.61 on estimates another prior.
    key_added
        Name of the results.

    Returns
    -------
    DETable, and in ``adata``: ``.var["{key_added}_logFC"]``, ``_AveExpr``, ``_t``, ``_P.Value``, ``_adj.P.Val``, ``_B`` (``_F``
    for several contrasts); ``.uns[key_added]`` = engine, design, contrast, versions, hyperparameters of eBayes, the correlation
    within blocks, and ``samples``: a frame of library sizes, normalisation factors and weights.

    Raises
    ------
    FormulaError, DesignError, ColumnNotFoundError
        If the design, the contrast or the blocks cannot be used.
    RNotAvailableError
        If R is needed and R, one of its packages or rpy2 is missing.
    """
    check_writable(adata)
    key = keys.check_key(key_added)
    only_r = {"voom": voom, "quality_weights": quality_weights, "block": block is not None, "robust": robust}
    asked = [name for name, wanted in only_r.items() if wanted]
    _check_options(engine, asked, voom=voom, normalize=normalize, block=block, correlation=correlation)
    from ..core.design import contrast_matrix, design_matrix
    from ..core.limma import check_counts, native_limma

    check_free(adata, key, "DE")
    unique_names(adata)
    frame = design_matrix(design, adata.obs) if isinstance(design, str) else _aligned(design, adata)
    weights = contrast_matrix(contrast, frame, obs=adata.obs)
    blocks = None if block is None else _blocks(adata, block)
    X = matrix(adata, layer)
    notes = check_counts(X) if voom else _unlogged(X)
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=2)
    how: dict[str, Any] = {"trend": trend, "treat_lfc": treat_lfc}
    if _use_r(engine, asked):
        how |= {"robust": robust, "voom": voom, "quality_weights": quality_weights, "block": blocks}
        how |= {"correlation": correlation, "normalize": normalize}
        run = _r_limma()
    else:
        run = native_limma
    table, about = run(X, frame, weights, adata.var_names.astype(str), **how)
    kind = "treat" if treat_lfc is not None else "t" if weights.shape[1] == 1 else "F"
    source = {**about, "design": design if isinstance(design, str) else "a design matrix"}
    source |= {"design_columns": [str(name) for name in frame.columns], "layer": layer, "block": block, "trend": trend}
    source |= {"robust": robust, "treat_lfc": treat_lfc, "warnings": notes or None}
    de = DETable(table, kind=kind, contrast=", ".join(map(str, weights.columns)), source=source)  # type: ignore[arg-type]
    attach(adata, de_writes(adata, de, key))
    return de


def _unlogged(X: Any) -> list[str]:
    """What is to be said of values that are no logs."""
    from ..core.scale import said_of, unlogged

    stored = X.data if sparse.issparse(X) else np.asarray(X)
    what = unlogged(stored, low=0.0 if sparse.issparse(X) and not (stored < 0).any() else None)
    if not what:
        return []
    way = {
        "counts": "limma takes counts with voom=True (or log counts per million in a layer=, with trend=True).",
        "intensities": "Take log2 first, or name the layer= that holds the logs.",
    }[what]
    return [f"{said_of(what, float(np.nanmax(stored)))} {way}"]


def _check_options(
    engine: str, asked: list[str], *, voom: bool, normalize: str, block: str | None, correlation: float | None
) -> None:
    if engine not in _ENGINES:
        raise InputError(f"engine must be one of {_ENGINES}, got {engine!r}.{near(engine, _ENGINES)}")
    if engine == "native" and asked:
        named = ", ".join(f"{name}=" for name in asked)
        raise InputError(
            f"{named} {'is' if len(asked) == 1 else 'are'} computed by R alone; use engine='r' (`geneml-bio doctor` says what that needs)."
        )
    if normalize not in _NORMALIZE:
        raise InputError(f"normalize must be one of {_NORMALIZE}, got {normalize!r}.{near(normalize, _NORMALIZE)}")
    if normalize != "TMM" and not voom:
        raise InputError(f"normalize={normalize!r} is about the library sizes of counts; it needs voom=True.")
    if correlation is None:
        return
    if block is None:
        raise InputError("correlation= is that of the samples of a block; name the column of blocks in block=.")
    if isinstance(correlation, bool) or not isinstance(correlation, int | float) or not -1 < correlation < 1:
        raise InputError(f"correlation must be a number between -1 and 1, got {correlation!r}.")


def _blocks(adata: AnnData, block: str) -> Any:
    """The block of each sample, none missing."""
    values = column(adata, block, "block")
    if values.isna().any():
        raise DesignError(
            f"block: {int(values.isna().sum())} of {len(values)} samples have no value in {block!r}; drop them or fill the values."
        )
    return values.astype(object).to_numpy()


def _aligned(design: pd.DataFrame, adata: AnnData) -> pd.DataFrame:
    """A design matrix in the order of the samples: by name, or as it is where its rows are only numbered."""
    import pandas as pd

    names = adata.obs_names.astype(str)
    if isinstance(design, pd.DataFrame) and len(design) == len(names):
        index = design.index.astype(str)
        if index.is_unique and set(index) == set(names):
            return _numeric(design.set_axis(index, axis=0).loc[names])
        if isinstance(design.index, pd.RangeIndex):
            return _numeric(design.set_axis(names, axis=0))
    raise DesignError(
        f"The design must be a formula, or a DataFrame with one row for each of the {len(names)} samples, named by adata.obs_names "
        f"(or numbered); got {type(design).__name__}{f' with {len(design)} rows' if hasattr(design, '__len__') else ''}."
    )


def _numeric(design: pd.DataFrame) -> pd.DataFrame:
    """A design matrix of one's own, refused where it is no matrix of numbers, or its columns cannot be told apart."""
    names = [str(name) for name in design.columns]
    if len(set(names)) < len(names) or not names:
        raise DesignError(f"The columns of the design must have names of their own; got {names}.")
    try:
        values = design.to_numpy(dtype=float)
    except (TypeError, ValueError) as error:
        raise DesignError(f"A design matrix holds numbers; for columns of groups write a formula. ({error})") from error
    if not np.isfinite(values).all():
        raise DesignError(f"The design has {int((~np.isfinite(values)).sum())} values that are missing or infinite.")
    return design.set_axis(names, axis=1)


def _use_r(engine: str, asked: list[str]) -> bool:
    if asked:
        from ..bridge.r import require
        from ..bridge.r_setup import WITHOUT

        try:
            require("limma")
        except RNotAvailableError as error:
            named = ", ".join(f"{name}=" for name in asked)
            raise RNotAvailableError(f"{named} needs R. {str(error).removesuffix(WITHOUT)}") from error
    return engine == "r" or bool(asked)


def _r_limma() -> Any:
    from ..bridge.r_limma import limma_fit

    return limma_fit
