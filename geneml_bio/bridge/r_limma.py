"""limma in R: fits, and tables of fits. The functions of ``helpers.R`` do the work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..core.errors import ColumnNotFoundError, InputError, TableError, near
from ..core.limma import check_limma_input
from .r import call, r_class, require
from .r_frames import build_frame

_MAX_DENSE = 1 << 29  # values: 4 GB as doubles


def _fit(
    X: Any,
    design: pd.DataFrame,
    contrasts: pd.DataFrame,
    features: Any,
    *,
    trend: bool = False,
    robust: bool = False,
    treat_lfc: float | None = None,
) -> Any:
    """The MArrayLM after eBayes or treat, as an R object."""
    require("limma", *(["statmod"] if robust else []))
    check_limma_input(design, contrasts, treat_lfc)
    matrix: Any = X
    if sparse.issparse(X):
        if matrix.shape[0] * matrix.shape[1] > _MAX_DENSE:
            raise InputError(
                f"R's limma needs a dense matrix, and {matrix.shape[0]} x {matrix.shape[1]} values would not fit. Use "
                "engine='native', which keeps sparse data sparse, or pseudobulk first."
            )
        matrix = matrix.toarray()
    # samples x genes in C order is genes x samples in R's order: nothing is transposed
    values = np.ascontiguousarray(matrix, dtype=np.float64)
    return call(
        "fit",
        x=values,
        dims=[values.shape[1], values.shape[0]],
        features=[str(name) for name in features],
        samples=[str(name) for name in design.index],
        design=design.to_numpy(dtype=float).ravel(order="F"),
        coefficients=[str(name) for name in design.columns],
        weights=contrasts.to_numpy(dtype=float).ravel(order="F"),
        contrasts=[str(name) for name in contrasts.columns],
        trend=bool(trend),
        robust=bool(robust),
        lfc=None if treat_lfc is None else float(treat_lfc),
        keep=True,
    )


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
        ``trend``, ``robust``, ``treat_lfc``.
    """
    from ..core.design import contrast_matrix, design_matrix

    frame = design_matrix(design, obs)
    weights = contrast_matrix(contrast, frame, obs=obs)
    return _fit(X, frame.set_axis(list(samples), axis=0), weights, features, **options)


def limma_fit(
    X: Any,
    design: pd.DataFrame,
    contrasts: pd.DataFrame,
    features: Any,
    *,
    trend: bool = False,
    treat_lfc: float | None = None,
    robust: bool = False,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """``lmFit``, ``contrasts.fit``, ``eBayes`` (or ``treat``) and ``topTable`` in R.

    Parameters and results are those of :func:`geneml_bio.core.limma.native_limma`; the matrices come from
    :mod:`geneml_bio.core.design`, so that no formula reaches R. ``robust`` needs R's statmod.
    """
    fitted = _fit(X, design, contrasts, features, trend=trend, treat_lfc=treat_lfc, robust=robust)
    names = [str(name) for name in contrasts.columns]
    table, about = toptable(fitted, list(range(1, len(names) + 1)))
    about |= {"trend": trend, "robust": robust, "contrasts": names}
    return table, about


def toptable(obj: Any, coef: Any = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table of all genes of an ``MArrayLM``, and what it rests on.

    Parameters
    ----------
    obj
        The fit, after eBayes or treat.
    coef
        Name or number (from 1, as in R) of a coefficient, or a list of them (an F table). Default, as in limma: all but
        the intercept; after treat the last.

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
    names = about["coefficients"] or [f"coef{i + 1}" for i in range(count)]
    treated = about["lfc"] is not None
    chosen = _coefficients(coef, names, treated)
    frame = build_frame(call("table_of", obj, np.array(chosen, dtype=float)))
    asked = [names[i - 1] for i in chosen]
    if len(chosen) > 1:  # topTable makes syntactic names of the coefficients; take the fit's own
        columns = list(frame.columns)
        end = columns.index("AveExpr") if "AveExpr" in columns else columns.index("F")
        frame.columns = pd.Index([*columns[: end - len(asked)], *asked, *columns[end:]], dtype=str)
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


def _coefficients(coef: Any, names: list[str], treated: bool) -> list[int]:
    """Numbers, from 1, of the coefficients asked for."""
    everything = list(range(1, len(names) + 1))
    if coef is None:
        return everything[-1:] if treated else [i for i in everything if names[i - 1] != "(Intercept)"] or everything
    asked = list(coef) if isinstance(coef, list | tuple | np.ndarray) else [coef]
    found: list[int] = []
    for item in asked:
        if isinstance(item, str) and item in names:
            found.append(names.index(item) + 1)
        elif isinstance(item, int | np.integer) and not isinstance(item, bool) and 1 <= item <= len(names):
            found.append(int(item))
        else:
            raise ColumnNotFoundError(
                f"The fit has no coefficient {item!r}; name it, or number it from 1 to {len(names)}.{near(item, names)}"
            )
    if treated and len(set(found)) > 1:
        raise InputError("treat tests one coefficient at a time; name one in coef.")
    return sorted(set(found))  # topTable keeps the fit's order when all coefficients are asked for
