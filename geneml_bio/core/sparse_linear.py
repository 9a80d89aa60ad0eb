"""The lasso and the elastic net for numbers, on the columns that ask to come in."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import ElasticNet
from sklearn.utils.validation import validate_data

_FIRST = 200  # columns that are taken in at first; no more are scikit-learn's own business


class SparseLinear(ElasticNet):
    """scikit-learn's ElasticNet (``l1_ratio=1``: Lasso) with a growing set of columns.

    It is solved, by scikit-learn, on the columns with the largest slopes, and once more with those outside whose slope exceeds
    the penalty, until there is none: then the conditions of the optimum hold for all columns. Arguments and attributes are those of
    ElasticNet; sparse data, weights and ``positive`` are left to it altogether.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> SparseLinear:
        """Fit to samples x genes and numbers."""
        plain = sample_weight is None and not sparse.issparse(X) and not self.positive and self.fit_intercept
        if not plain or np.ndim(y) != 1 or np.ndim(X) != 2 or np.shape(X)[1] <= _FIRST or not self.l1_ratio > 0:
            return super().fit(X, y, sample_weight, check_input)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        inside = np.zeros(X.shape[1], dtype=bool)
        residual = y - y.mean()
        while True:
            slope = np.where(inside, 0.0, np.abs(residual @ X) / len(y))
            asking = (
                np.flatnonzero(slope > self.alpha * self.l1_ratio * (1 + 1e-6))
                if inside.any()
                else np.arange(len(slope))
            )
            if not len(asking):
                break
            inside[asking[np.argsort(-slope[asking], kind="stable")][: max(_FIRST, int(inside.sum()))]] = True
            part = ElasticNet(**self.get_params()).fit(X[:, inside], y)
            residual = y - part.predict(X[:, inside])
        self.coef_ = np.zeros(X.shape[1])
        self.coef_[inside] = part.coef_
        self.intercept_, self.n_iter_, self.dual_gap_ = part.intercept_, part.n_iter_, part.dual_gap_
        return self
