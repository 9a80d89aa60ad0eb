"""What reference samples say of each gene: level, spread, detection. Gene by gene; a sparse matrix stays sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .errors import InputError

_BLOCK = 2000  # genes of a dense matrix looked at together


def gene_features(X: Any, features: pd.Index) -> pd.DataFrame:
    """Statistics of each gene over the rows of ``X``.

    Parameters
    ----------
    X
        Expression, samples x genes: dense (NaN: not measured) or CSR.
    features
        Names of the genes.

    Returns
    -------
    Frame by gene: ``baseline_mean``, ``baseline_sd`` (from two values on), ``baseline_skew`` (from three on; 0 for a constant gene);
    and, where no value is negative, ``baseline_cv`` (sd / mean) and ``baseline_detection`` (share of samples above 0). NaN where a
    statistic is not defined.
    """
    n, p = X.shape
    if n < 1 or p != len(features):
        raise InputError(f"There are no reference samples, or not one name a gene: X is {n} x {p}.")
    values = X.data if sparse.issparse(X) else np.asarray(X)
    if np.isinf(values).any():
        raise InputError("Expression has infinite values; replace them first.")
    negative = bool(values.size) and bool((values < 0).any())
    if sparse.issparse(X):
        count, mean, m2, m3, above = _sparse_moments(sparse.csr_matrix(X))
    else:
        parts = [_dense_moments(np.asarray(X[:, at : at + _BLOCK], dtype=float)) for at in range(0, p, _BLOCK)]
        count, mean, m2, m3, above = (np.concatenate(item) for item in zip(*parts, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = np.where(count > 1, np.sqrt(m2 / (count - 1)), np.nan)
        flat = m2 <= (1e-12 * np.maximum(np.abs(mean), 1e-300)) ** 2 * count
        skew = np.where(flat, 0.0, (m3 / count) / (m2 / count) ** 1.5)
        columns = {"baseline_mean": mean, "baseline_sd": sd, "baseline_skew": np.where(count > 2, skew, np.nan)}
        if not negative:
            columns["baseline_cv"] = np.where(mean > 0, sd / mean, np.nan)
            columns["baseline_detection"] = np.where(count > 0, above / count, np.nan)
    return pd.DataFrame(columns, index=features)


def _dense_moments(X: np.ndarray) -> tuple[np.ndarray, ...]:
    known = np.isfinite(X)
    count = known.sum(axis=0).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, X, 0.0).sum(axis=0) / count
    off = np.where(known, X - mean, 0.0)
    return count, mean, (off**2).sum(axis=0), (off**3).sum(axis=0), (known & (X > 0)).sum(axis=0)


def _sparse_moments(X: sparse.csr_matrix) -> tuple[np.ndarray, ...]:
    """Central moments in two passes over what is stored; the zeros that are not stored count too."""
    n, p = X.shape
    if np.isnan(X.data).any():
        raise InputError("A sparse matrix of expression must not hold NaN.")

    def by_gene(values: np.ndarray) -> np.ndarray:
        return np.bincount(X.indices, weights=values, minlength=p)

    data = X.data.astype(float)
    stored, mean = np.bincount(X.indices, minlength=p), by_gene(data) / n
    off = data - mean[X.indices]
    rest = n - stored
    m2 = by_gene(off**2) + rest * mean**2
    m3 = by_gene(off**3) - rest * mean**3
    return np.full(p, float(n)), mean, m2, m3, by_gene((data > 0).astype(float))
