"""What the target leaves of each gene: residual expression, and correlations of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse, stats

_MAX_SAMPLES = 5000
_CHUNK = 500  # genes at a time, where all of them are looked at
_ALPHA = 0.05


@dataclass(frozen=True, eq=False)
class Within:
    """Residual expression of a study: after the class means (or a line through a numeric target), and what else is known.

    Parameters
    ----------
    rows
        Samples looked at: all of them, or as many as are allowed (5,000) at equal distances.
    basis
        Orthonormal columns that span what is known of those samples.
    """

    rows: np.ndarray
    basis: np.ndarray

    @classmethod
    def of(
        cls,
        n: int,
        target: np.ndarray | None = None,
        classes: tuple[str, ...] = (),
        batch: np.ndarray | None = None,
        covariates: pd.DataFrame | None = None,
        most: int = _MAX_SAMPLES,
    ) -> Within:
        """The residual space of a study of ``n`` samples; without a target only the mean is taken out."""
        rows = np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
        known = [np.ones((len(rows), 1))]
        if target is not None and classes:
            known = [np.column_stack([(target[rows] == name).astype(float) for name in classes])]
        elif target is not None:
            known.append(np.asarray(target[rows], dtype=float)[:, None])
        if batch is not None:
            known.append(pd.get_dummies(pd.Series(batch[rows]).astype(str)).to_numpy(float))
        if covariates is not None:
            numbers = pd.get_dummies(covariates.iloc[rows]).to_numpy(float)
            spread = numbers.std(axis=0)
            known.append((numbers - numbers.mean(axis=0))[:, spread > 0] / spread[spread > 0])
        whole = np.column_stack(known)
        whole = whole[:, whole.any(axis=0)]
        basis, size, _ = np.linalg.svd(whole, full_matrices=False)
        return cls(rows, basis[:, size > 1e-9 * size[0]])

    @property
    def df(self) -> float:
        """Degrees of freedom of a correlation of residuals."""
        return float(len(self.rows) - self.basis.shape[1] - 1)

    def unit(self, X: Any, columns: np.ndarray) -> np.ndarray:
        """Residuals of these columns, samples x genes, each of length 1 (0 where nothing varies): products are correlations.

        A missing value counts as the mean of its gene.
        """
        part = X[self.rows][:, columns] if sparse.issparse(X) else X[np.ix_(self.rows, columns)]
        values = np.array(part.toarray() if sparse.issparse(part) else part, dtype=float)
        held = np.isfinite(values)
        mean = np.where(held, values, 0.0).sum(axis=0) / np.maximum(held.sum(axis=0), 1)
        values = np.where(held, values, mean)
        spread = np.sqrt(((values - values.mean(axis=0)) ** 2).sum(axis=0))
        values -= self.basis @ (self.basis.T @ values)
        norm = np.linalg.norm(values, axis=0)
        # what is only rounding, for a gene that is constant within each class, correlates with nothing
        values /= np.where(norm > 1e-9 * np.maximum(spread, 1e-300), norm, np.inf)
        return values

    def chunks(self, X: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All genes, some at a time: their positions and :meth:`unit` of them."""
        for start in range(0, X.shape[1], _CHUNK):
            columns = np.arange(start, min(start + _CHUNK, X.shape[1]))
            yield columns, self.unit(X, columns)

    def critical(self, n_pairs: float) -> float:
        """The absolute correlation that independent genes reach in one pair of so many with a chance of 5 % (Bonferroni)."""
        if self.df < 1:
            return 2.0
        t = stats.t.isf(_ALPHA / (2 * max(n_pairs, 1)), self.df)
        return float(t / np.sqrt(self.df + t**2))
