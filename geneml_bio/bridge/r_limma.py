"""limma in R: fits, and tables of fits. The functions of ``helpers.R`` do the work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..core.errors import InputError, TableError
from ..core.limma import check_blocks, check_estimable, check_limma_input
from .matching import distinct
from .r import call, held, package_version, r_class, require
from .r_frames import build_frame
from .r_toptable import choose_coefficients

_MAX_DENSE = 1 << 29  # values: 4 GB as doubles


def _fit(
    X: Any,
    design: pd.DataFrame,
    contrasts: pd.DataFrame,
    features: list[str] | None,
    *,
    voom: bool = False,
    normalize: str = "TMM",
    quality_weights: bool = False,
    block: Any = None,
    correlation: float | None = None,
    trend: bool = False,
    robust: bool = False,
    treat_lfc: float | None = None,
) -> Any:
    """The fit after eBayes or treat and what it was made with, as an R object. Without ``features`` nothing is named."""
    estimated = block is not None and correlation is None
    check_limma_input(design, contrasts, treat_lfc)
    blocks = None if block is None else pd.factorize(np.asarray(block))[0]
    if blocks is not None:
        check_blocks(blocks, correlation)
    values = _dense(X)
    check_estimable(values, design, trend=trend, robust=robust)
    require("limma", *(["edgeR"] if voom else []), *(["statmod"] if robust or estimated else []))
    named = {} if features is None else {"features": features, "samples": [str(name) for name in design.index]}
    return call(
        "fit",
        x=values,
        design=design.to_numpy(dtype=float).T,
        coefficients=_shown(design.columns) if features is None else [str(name) for name in design.columns],
        weights=contrasts.to_numpy(dtype=float).T,
        contrasts=_shown(contrasts.columns) if features is None else [str(name) for name in contrasts.columns],
        voom=bool(voom),
        normalize=normalize,
        quality=bool(quality_weights),
        block=None if blocks is None else blocks.tolist(),
        correlation=None if correlation is None else float(correlation),
        trend=bool(trend),
        robust=bool(robust),
        lfc=None if treat_lfc is None else float(treat_lfc),
        keep=True,
        **named,
    )


def _dense(X: Any) -> np.ndarray:
    """Doubles, samples x genes in C order: genes x samples in R's order, so that nothing is transposed."""
    if sparse.issparse(X):
        if X.shape[0] * X.shape[1] > _MAX_DENSE:
            raise InputError(
                f"R's limma needs a dense matrix, and {X.shape[0]} x {X.shape[1]} values would not fit. Use "
                "engine='native', which keeps sparse data sparse, or pseudobulk first."
            )
        X = X.astype(np.float64).toarray(order="C")
    return np.ascontiguousarray(X, dtype=np.float64)


def _shown(names: Any) -> list[str]:
    """Names as R may show them in a message; they do not come back."""
    return [str(name).replace("\0", "?").encode("utf-8", "replace").decode() for name in names]


def fit_object(
    X: Any, design: str, contrast: Any, obs: pd.DataFrame, samples: Any, features: Any, **options: Any
) -> Any:
    """The fit object of limma (``MArrayLM`` after eBayes, or treat) for a formula and a contrast, left in R.

    Parameters
    ----------
    X
        samples x genes.
    design, contrast, obs
        As for :func:`geneml_bio.core.design.design_matrix` and ``contrast_matrix``.
    samples, features
        Names.
    options
        As in :func:`limma_fit`.
    """
    from ..core.design import contrast_matrix, design_matrix

    frame = design_matrix(design, obs)
    weights = contrast_matrix(contrast, frame, obs=obs)
    names = [str(name) for name in features]
    return call(
        "fit_of", _fit(X, frame.set_axis([str(s) for s in samples], axis=0), weights, names, **options), keep=True
    )


def limma_fit(
    X: Any, design: pd.DataFrame, contrasts: pd.DataFrame, features: Any, **options: Any
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """``lmFit``, ``contrasts.fit``, ``eBayes`` (or ``treat``) and ``topTable`` in R.

    No name reaches R: genes are numbered there and named here.

    Parameters
    ----------
    X
        samples x genes: log expression, or counts for ``voom``.
    design, contrasts, features
        As in :func:`geneml_bio.core.limma.native_limma`; the matrices come from :mod:`geneml_bio.core.design`, so that no
        formula reaches R.
    options
        ``trend``, ``robust`` (needs R's statmod), ``treat_lfc``; ``voom`` with ``normalize`` (a method of edgeR's
        ``calcNormFactors``); ``quality_weights`` (``arrayWeights``, ``voomWithQualityWeights``); ``block`` (one value a sample)
        with ``correlation`` (estimated by ``duplicateCorrelation`` where it is None).

    Returns
    -------
    frame, provenance
        limma's table of all genes (an F table for several contrasts), and what it rests on. With weights, or with counts:
        ``samples``, a frame of what was estimated of each sample.
    """
    with held():
        return _limma(X, design, contrasts, features, options)


def _limma(
    X: Any, design: pd.DataFrame, contrasts: pd.DataFrame, features: Any, options: dict[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    fitted = _fit(X, design, contrasts, None, **options)
    names = [str(name) for name in contrasts.columns]
    table, about = toptable(call("fit_of", fitted, keep=True), list(range(1, len(names) + 1)), names=names)
    genes = np.asarray(features, dtype=object)
    table.index = pd.Index(genes[table.index.astype(int) - 1], dtype=str)
    about |= {"trend": False, "robust": False, **_how(options)}
    about |= _estimated(call("about_of", fitted), design, options)
    return table, about


def _how(options: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, as it is recorded."""
    asked = {name: value for name, value in options.items() if name not in ("block", "correlation")}
    if not asked.get("voom"):
        asked.pop("normalize", None)
    return {name: value for name, value in asked.items() if value is not None}


def _estimated(found: dict[str, Any], design: pd.DataFrame, options: dict[str, Any]) -> dict[str, Any]:
    """What the fit was made with: correlation within blocks, weights and library sizes of the samples, versions."""
    about: dict[str, Any] = {}
    if found.get("correlation") is not None:
        estimated = options.get("correlation") is None
        about |= {"correlation": float(found["correlation"][0]), "correlation_estimated": estimated}
    per_sample = {
        name: found[name] for name in ("lib_size", "norm_factor", "sample_weight") if found.get(name) is not None
    }
    if per_sample:
        about["samples"] = pd.DataFrame({"sample": [str(name) for name in design.index], **per_sample})
    if options.get("voom"):
        about |= {"n_low_counts": int(found["low"][0]), "edgeR_version": package_version("edgeR")}
    if about.get("correlation_estimated") or options.get("robust"):
        about["statmod_version"] = package_version("statmod")
    return about


def toptable(obj: Any, coef: Any = None, *, names: list[str] | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of all genes of an ``MArrayLM``, and what it rests on.

    Parameters
    ----------
    obj
        The fit, after eBayes or treat.
    coef
        Name or number (from 1, as in R) of a coefficient, or a list of them (an F table). Default, as in limma: all but
        the intercept; after treat one must be named where there are several.
    names
        Names of the coefficients, in place of the fit's own.

    Returns
    -------
    frame, about
        ``about``: ``engine contrasts df_prior s2_prior proportion var_prior treat_lfc`` and versions.
    """
    versions = require("limma")
    if "MArrayLM" not in r_class(obj):
        raise TableError(f"An R object of class {r_class(obj)} is not limma's fit (MArrayLM).")
    about = call("describe", obj)
    count = int(about["n"][0])
    if not about["moderated"][0]:
        raise TableError(
            "This MArrayLM has no statistics yet: it comes from lmFit or contrasts.fit. Run limma's eBayes(fit), or "
            "treat(fit, lfc=...), on it in R, and pass what they return."
        )
    names = names or about["coefficients"] or [f"coef{i + 1}" for i in range(count)]
    treated = about["lfc"] is not None
    chosen = choose_coefficients(coef, names, treated)
    frame = build_frame(call("table_of", obj, np.array(sorted(chosen), dtype=float) + 1))
    names = distinct(names)
    asked = [names[i] for i in chosen]
    if (
        len(chosen) > 1
    ):  # topTable makes syntactic names of the coefficients; take the fit's own, in the order asked for
        columns = list(frame.columns)
        end = columns.index("AveExpr") if "AveExpr" in columns else columns.index("F")
        start = end - len(asked)
        frame.columns = pd.Index([*columns[:start], *(names[i] for i in sorted(chosen)), *columns[end:]], dtype=str)
        frame = frame[[*columns[:start], *asked, *columns[end:]]]
    meta = {
        "engine": "r",
        "contrasts": asked,
        "r_version": versions["R"],
        "limma_version": versions["packages"]["limma"],
        "df_prior": _typical(about["df_prior"]),
        "s2_prior": _typical(about["s2_prior"]),
    }
    if about["proportion"] is not None:
        meta |= {"proportion": float(about["proportion"][0]), "var_prior": about["var_prior"]}
    if treated:
        meta["treat_lfc"] = float(about["lfc"][0])
    return frame, meta


def _typical(values: np.ndarray | None) -> float:
    """A hyperparameter; the median where there is one a gene (trend, robust)."""
    return float(np.median(values)) if values is not None and len(values) else float("nan")
