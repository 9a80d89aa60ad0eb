"""How reproducible is the selection of genes over the folds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .fitting import bare
from .schema import Validation


def selection_frequency(screens: pd.DataFrame, features: pd.Index, n_folds: int | None = None) -> pd.Series:
    """Share of folds whose screen chose each gene; 0 for a gene never chosen. ``n_folds``: if some may have chosen none."""
    n_folds = len(screens[["repeat", "fold"]].drop_duplicates()) if n_folds is None else n_folds
    counts = screens["feature"].astype(str).value_counts()
    return counts.reindex(features, fill_value=0).astype(float) / max(n_folds, 1)


def nogueira(
    screens: pd.DataFrame, n_features: int, level: float = 0.95, n_folds: int | None = None
) -> dict[str, float]:
    """Nogueira's stability of the selected gene sets, with its asymptotic interval.

    1 means the same genes in every fold, 0 what random selection gives. Source: Nogueira, Sechidis and Brown (2018),
    JMLR 18(174), definition 4 and theorem 9. Folds of one study share samples, so the interval is narrower than
    one from independent studies would be. Sets may differ in size.

    Parameters
    ----------
    screens
        ``repeat fold feature``: the genes of each fold.
    n_features
        How many genes there were to choose from.
    level
        Of the interval.
    n_folds
        How many folds there were, where some may have chosen none; None: those that chose.

    Returns
    -------
    ``{"stability", "low", "high", "n_folds", "mean_selected"}``; NaN with fewer than two folds or nothing to choose.
    """
    runs = screens.groupby(["repeat", "fold"], observed=True)["feature"]
    m, d = runs.ngroups if n_folds is None else max(n_folds, runs.ngroups), n_features
    none = np.zeros(m - runs.ngroups)
    size = np.r_[runs.size().to_numpy(float), none]
    k_mean = float(size.mean()) if m else np.nan
    out = {"stability": np.nan, "low": np.nan, "high": np.nan, "n_folds": float(m), "mean_selected": k_mean}
    if m < 2 or not 0 < k_mean < d:
        return out
    counts = screens["feature"].astype(str).value_counts()
    freq = counts / m
    # genes that were never chosen have variance 0 and need no row
    chance = (k_mean / d) * (1 - k_mean / d)
    phi = 1 - (m / (m - 1) * (freq * (1 - freq)).sum() / d) / chance
    own = (
        screens.assign(f=screens["feature"].astype(str).map(freq)).groupby(["repeat", "fold"], observed=True)["f"].sum()
    )
    phi_i = (
        np.r_[own.to_numpy(float), none] / d - size * k_mean / d**2 + phi / 2 * (2 * k_mean / d - 1) * size / d
    ) / chance
    variance = 4 / m**2 * float(((phi_i - phi_i.mean()) ** 2).sum())
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance)
    return out | {"stability": float(phi), "low": float(phi - half), "high": float(min(1.0, phi + half))}


def own_selection(validation: Validation, features: pd.Index) -> pd.DataFrame:
    """The genes that models choose by themselves: coefficients that are not zero, where a model sets some to zero.

    Of a calibrated model, those of the model behind.

    Parameters
    ----------
    validation
        With its fitted models.
    features
        Names of all genes of the study.

    Returns
    -------
    Frame ``model repeat fold feature statistic`` (statistic: the largest absolute coefficient over classes, of standardised
    genes), the largest first within a fold; without models that choose it has no rows. The rows of one model can be given to
    :func:`nogueira` and :func:`selection_frequency`, with ``n_folds``, for a model may choose none.
    """
    parts: dict[str, list[pd.DataFrame]] = {}
    chooses: set[str] = set()
    for (repeat, fold, name), fitted in validation.fitted.items():
        size = _coefficients(fitted)
        if size is None:
            continue
        columns = np.flatnonzero(bare(fitted).named_steps["screen"].get_support())
        order = np.argsort(-size, kind="stable")
        order = order[size[order] > 0]
        if ((size == 0) & _varying(fitted)).any():
            chooses.add(name)
        frame = pd.DataFrame({"model": name, "repeat": repeat, "fold": fold, "feature": features[columns[order]]})
        parts.setdefault(name, []).append(frame.assign(statistic=size[order]))
    kept = [part for name in parts if name in chooses for part in parts[name]]
    if not kept:
        return pd.DataFrame({"model": [], "repeat": [], "fold": [], "feature": [], "statistic": []})
    return pd.concat(kept, ignore_index=True)


def _coefficients(fitted: Any) -> np.ndarray | None:
    """The largest absolute coefficient of each gene; None for a model without one for each."""
    whole = bare(fitted)
    model = whole.named_steps["model"]
    coef = getattr(getattr(model, "regressor_", model), "coef_", None)  # a regression may scale its target
    if not isinstance(coef, np.ndarray):
        return None
    coef = np.atleast_2d(coef)
    return np.abs(coef).max(axis=0) if coef.shape[1] == whole.named_steps["screen"].get_support().sum() else None


def _varying(fitted: Any) -> np.ndarray:
    """Genes that are not constant in the training part, whose coefficient is zero in any model."""
    return np.asarray(bare(fitted).named_steps["scale"].var_) > 0
