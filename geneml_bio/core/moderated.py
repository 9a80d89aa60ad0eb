"""limma's statistics on arrays: moderated t and F, B, treat, the table of all genes.

Written from the papers (Smyth 2004; McCarthy and Smyth 2009 for treat) and checked against limma 3.54 in
``tests/core/test_moderated.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg

from .errors import ColumnNotFoundError, InputError, near
from .linear import LinearFit, contrasts_fit, independent_columns, lm_fit
from .pvalues import adjust_bh
from .squeeze import f_tail, log_upper_tail, squeeze_var, two_sided_p, upper_t_quantile
from .threads import in_threads

_COSTLY = 500  # sums that a p-value takes as long as

__all__ = [
    "LinearFit",
    "ModeratedFit",
    "contrasts_fit",
    "e_bayes",
    "independent_columns",
    "lm_fit",
    "squeeze_var",
    "top_table",
    "treat",
]


@dataclass(frozen=True, eq=False)
class ModeratedFit(LinearFit):
    """A :class:`LinearFit` with empirical Bayes statistics; what a light call leaves out is None.

    Parameters
    ----------
    t, p_value, lods
        genes x coefficients: moderated t, two-sided p-value, log-odds of differential expression (limma's B).
    F
        Per gene, over all coefficients.
    df_prior, s2_prior, s2_post, df_total
        Prior degrees of freedom and variance (one a gene with a trend), posterior variance, degrees of freedom of t.
    var_prior
        Prior variance of each coefficient, relative to the residual variance.
    proportion, lfc
        Assumed share of changed genes (B); the minimal log fold change of :func:`treat`, or None.
    """

    t: np.ndarray
    p_value: np.ndarray | None
    lods: np.ndarray | None
    F: np.ndarray
    df_prior: float
    s2_prior: np.ndarray | float
    s2_post: np.ndarray
    df_total: np.ndarray
    var_prior: np.ndarray | None
    proportion: float | None
    lfc: float | None = None


def _mixture_variance(t: np.ndarray, stdev: np.ndarray, df: np.ndarray, p: float, limits: tuple[float, float]) -> float:
    """Prior variance of the changed genes' coefficients, from the top ``p / 2`` of absolute t (Smyth 2004)."""
    known = np.isfinite(t)
    t, stdev, df = np.abs(t[known]), stdev[known], df[known]
    n = t.size
    n_top = int(np.ceil(p / 2.0 * n))
    if n_top < 1:
        return np.nan
    p = max(n_top / n, p)
    max_df = float(df.max())
    fewer = df < max_df
    if fewer.any():
        t = t.copy()
        t[fewer] = upper_t_quantile(log_upper_tail(t[fewer], df[fewer]), max_df)
    near = np.flatnonzero(t >= np.partition(t, n - n_top)[n - n_top])
    top = near[np.argsort(-t[near], kind="stable")[:n_top]]
    t, v1 = t[top], stdev[top] ** 2
    p_null = two_sided_p(t, max_df)
    wanted = ((np.arange(n_top) + 0.5) / n - (1.0 - p) * p_null) / p
    v0 = np.zeros(n_top)
    above = wanted > p_null
    if above.any():
        quantile = upper_t_quantile(np.log(wanted[above] / 2.0), max_df)
        v0[above] = v1[above] * ((t[above] / quantile) ** 2 - 1.0)
    return float(np.mean(np.clip(v0, *limits)))


def _f_statistic(t: np.ndarray, cov: np.ndarray) -> tuple[np.ndarray, int]:
    """Moderated F of all coefficients together, and its numerator degrees of freedom."""
    if t.shape[1] == 1:
        return t[:, 0] ** 2, 1
    scale = np.sqrt(np.diag(cov))
    values, vectors = linalg.eigh(cov / np.outer(scale, scale))
    keep = values / values[-1] > 1e-8
    rank = int(keep.sum())
    scores = t @ (vectors[:, keep] / np.sqrt(values[keep]))
    return np.einsum("ij,ij->i", scores, scores) / rank, rank


def _posterior(fit: LinearFit, trend: bool) -> tuple[np.ndarray, np.ndarray | float, float, np.ndarray]:
    """s2_post, s2_prior, df_prior and the total degrees of freedom (never more than those of all genes together)."""
    s2_post, s2_prior, df_prior = squeeze_var(fit.sigma2, fit.df_residual, fit.ave_expr if trend else None)
    return s2_post, s2_prior, df_prior, np.minimum(fit.df_residual + df_prior, fit.df_residual.sum())


def e_bayes(fit: LinearFit, *, trend: bool = False, proportion: float = 0.01, lods: bool = True) -> ModeratedFit:
    """Moderate t and F by shrinking the variances.

    Parameters
    ----------
    fit
        From :func:`lm_fit` or :func:`contrasts_fit`.
    trend
        Let the prior variance depend on the average expression.
    proportion
        Assumed share of changed genes, for B.
    lods
        False leaves out the p-values and B (a screen needs t and F only).
    """
    if not 0 < proportion < 1:
        raise InputError(f"proportion must be between 0 and 1, got {proportion}.")
    s2_post, s2_prior, df_prior, df_total = _posterior(fit, trend)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = fit.coefficients / (fit.stdev_unscaled * np.sqrt(s2_post)[:, None])
    F, _ = _f_statistic(t, fit.cov)
    p_value = B = var_prior = None
    if lods:
        p_value = _p_values(t, df_total)
        B, var_prior = _log_odds(fit.stdev_unscaled, t, df_prior, df_total, s2_prior, proportion)
    return ModeratedFit(
        **{item.name: getattr(fit, item.name) for item in fields(LinearFit)},
        t=t, p_value=p_value, lods=B, F=F, df_prior=df_prior, s2_prior=s2_prior, s2_post=s2_post,
        df_total=df_total, var_prior=var_prior, proportion=proportion,
    )  # fmt: skip


def _p_values(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Two-sided p-values, the slowest of what follows the sums: by two threads."""
    p_value = np.empty_like(t)
    step = max(-(-len(t) // 2), 1)

    def half(start: int) -> None:
        part = slice(start, start + step)
        p_value[part] = two_sided_p(t[part], df[part, None])

    in_threads(half, range(0, len(t), step), _COSTLY * t.size)
    return p_value


def _log_odds(
    stdev: np.ndarray, t: np.ndarray, df_prior: float, df_total: np.ndarray, s2_prior: np.ndarray | float, p: float
) -> tuple[np.ndarray, np.ndarray]:
    """Log-odds that a coefficient is not zero, and the prior variances they rest on."""
    middle = float(np.median(s2_prior))
    if not middle > 0:
        raise InputError(
            "No gene varies within the design: all residual variances are 0, and nothing can be tested. Is this the right layer?"
        )
    limits = (0.1**2 / middle, 4.0**2 / middle)
    k = t.shape[1]
    var_prior = np.array([_mixture_variance(t[:, j], stdev[:, j], df_total, p, limits) for j in range(k)])
    var_prior = np.where(np.isnan(var_prior), 1.0 / middle, var_prior)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (stdev**2 + var_prior) / stdev**2
        t2 = t**2
        if df_prior > 1e6:
            kernel = t2 * (1.0 - 1.0 / ratio) / 2.0
        else:
            d = df_total[:, None]
            kernel = (1.0 + d) / 2.0 * np.log((t2 + d) / (t2 / ratio + d))
    return np.log(p / (1.0 - p)) - np.log(ratio) / 2.0 + kernel, var_prior


def treat(fit: LinearFit, lfc: float, *, trend: bool = False) -> ModeratedFit:
    """Test whether each log fold change exceeds ``lfc`` in size (McCarthy and Smyth 2009).

    ``t`` is 0 for a gene within the bounds; there is no B and no F.
    """
    if not np.isfinite(lfc) or lfc < 0:
        raise InputError(f"lfc must be a finite log2 fold change of at least 0, got {lfc}.")
    s2_post, s2_prior, df_prior, df_total = _posterior(fit, trend)
    size, d = np.abs(fit.coefficients), df_total[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = fit.stdev_unscaled * np.sqrt(s2_post)[:, None]
        near_side, far_side = (size - lfc) / error, (size + lfc) / error
        half = two_sided_p(near_side, d) / 2.0
        p_value = np.where(near_side < 0, 1.0 - half, half) + two_sided_p(far_side, d) / 2.0
        t = np.sign(fit.coefficients) * np.maximum(near_side, 0.0)
    return ModeratedFit(
        **{item.name: getattr(fit, item.name) for item in fields(LinearFit)},
        t=t, p_value=p_value, lods=None, F=np.full(len(t), np.nan), df_prior=df_prior,
        s2_prior=s2_prior, s2_post=s2_post, df_total=df_total, var_prior=None, proportion=None, lfc=float(lfc),
    )  # fmt: skip


def _coefficients_asked(coef: Any, names: list[str], several: bool) -> list[int]:
    """Positions of the coefficients asked for, by name or 0-based position."""
    if coef is None:
        return list(range(len(names))) if several else [len(names) - 1]
    asked = [coef] if isinstance(coef, str | int | np.integer) else list(coef)
    found = []
    for item in asked:
        if isinstance(item, str) and item in names:
            found.append(names.index(item))
        elif not isinstance(item, str) and 0 <= int(item) < len(names):
            found.append(int(item))
        else:
            raise ColumnNotFoundError(f"There is no contrast {item!r}.{near(item, names)}")
    return list(dict.fromkeys(found))


def top_table(
    mfit: ModeratedFit, features: Any, *, coef: Any = None, names: Sequence[str] | None = None
) -> pd.DataFrame:
    """All genes as limma's ``topTable`` lists them.

    Parameters
    ----------
    mfit
        From :func:`e_bayes` or :func:`treat`.
    features
        Names of the genes.
    coef
        Name or position (from 0) of one contrast, or a list of them, which gives an F table. Default: all contrasts
        (with one: a t table; after treat: the last).
    names
        Names of the contrasts.

    Returns
    -------
    DataFrame
        ``logFC AveExpr t P.Value adj.P.Val B`` by falling B (without B and by rising p after treat); for several
        contrasts one column each, ``AveExpr F P.Value adj.P.Val`` by rising p.
    """
    if mfit.p_value is None:
        raise InputError("This fit has no p-values; call e_bayes(..., lods=True).")
    k = mfit.t.shape[1]
    labels = [str(name) for name in names] if names is not None else [f"coef{j + 1}" for j in range(k)]
    if len(labels) != k:
        raise InputError(f"{len(labels)} names for {k} contrasts.")
    chosen = _coefficients_asked(coef, labels, several=mfit.lfc is None)
    if len(chosen) > 1:
        return _f_table(mfit, features, chosen, labels)
    j = chosen[0]
    p = mfit.p_value[:, j]
    columns = {"logFC": mfit.coefficients[:, j], "AveExpr": mfit.ave_expr, "t": mfit.t[:, j], "P.Value": p,
               "adj.P.Val": adjust_bh(p)}  # fmt: skip
    if mfit.lods is not None:
        columns["B"] = mfit.lods[:, j]
    order = np.argsort(-columns["B"] if "B" in columns else p, kind="stable")
    return pd.DataFrame(columns, index=_names(features)).iloc[order]


def _names(features: Any) -> pd.Index:
    """Gene names as strings; an index of strings is taken as it is."""
    if isinstance(features, pd.Index) and isinstance(features.dtype, pd.StringDtype) and not features.hasnans:
        return features.rename(None)
    if isinstance(features, pd.Index) and pd.api.types.infer_dtype(features, skipna=False) == "string":
        return pd.Index(features, dtype=str).rename(None)
    return pd.Index([str(name) for name in features], dtype=str)


def _f_table(mfit: ModeratedFit, features: Any, chosen: list[int], labels: list[str]) -> pd.DataFrame:
    if mfit.lfc is not None:
        raise InputError("treat tests one contrast at a time; name one in coef.")
    F, df1 = _f_statistic(mfit.t[:, chosen], mfit.cov[np.ix_(chosen, chosen)])
    p = f_tail(F, df1, mfit.df_residual + mfit.df_prior)  # limma does not cap these degrees of freedom
    columns = {labels[j]: mfit.coefficients[:, j] for j in chosen}
    columns |= {"AveExpr": mfit.ave_expr, "F": F, "P.Value": p, "adj.P.Val": adjust_bh(p)}
    order = np.argsort(p, kind="stable")
    return pd.DataFrame(columns, index=_names(features)).iloc[order]
