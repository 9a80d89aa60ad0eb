"""How reproducible is the selection of genes over the folds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats


def selection_frequency(screens: pd.DataFrame, features: pd.Index) -> pd.Series:
    """Share of folds whose screen chose each gene; 0 for a gene never chosen."""
    n_folds = len(screens[["repeat", "fold"]].drop_duplicates())
    counts = screens["feature"].astype(str).value_counts()
    return counts.reindex(features, fill_value=0).astype(float) / max(n_folds, 1)


def nogueira(screens: pd.DataFrame, n_features: int, level: float = 0.95) -> dict[str, float]:
    """Nogueira's stability of the selected gene sets, with its asymptotic interval.

    1 means the same genes in every fold, 0 what random selection gives. Source: Nogueira, Sechidis and Brown (2018),
    JMLR 18(174), definition 4 and theorem 9. Folds of one study share samples, so the interval is narrower than
    one from independent studies would be.

    Returns
    -------
    ``{"stability", "low", "high", "n_folds", "mean_selected"}``; NaN with fewer than two folds or nothing to choose.
    """
    runs = screens.groupby(["repeat", "fold"], observed=True)["feature"]
    m, d = runs.ngroups, n_features
    size = runs.size().to_numpy(float)
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
    phi_i = (own.to_numpy(float) / d - size * k_mean / d**2 + phi / 2 * (2 * k_mean / d - 1) * size / d) / chance
    variance = 4 / m**2 * float(((phi_i - phi_i.mean()) ** 2).sum())
    half = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance)
    return out | {"stability": float(phi), "low": float(phi - half), "high": float(min(1.0, phi + half))}
