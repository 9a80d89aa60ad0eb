"""Logistic regression with few genes: the lasso and the elastic net for two classes or more.

scikit-learn has the penalties, but its solver for more than two classes (saga) stops 2 % above the least loss, with twice the
genes, after several times the time; and its C means another strength for each number of samples.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .errors import InputError


class SparseLogistic(ClassifierMixin, BaseEstimator):
    """Logistic (two classes) or multinomial regression with an L1 or elastic-net penalty.

    Minimises ``mean cross-entropy + alpha * (l1_ratio * |w|_1 + (1 - l1_ratio) / 2 * |w|^2)``, the intercept free, by an
    accelerated proximal gradient with restarts. ``alpha`` is the lambda of glmnet, and ``1 / (C * n_samples)`` of
    scikit-learn's LogisticRegression: its meaning does not change with the number of samples.

    Parameters
    ----------
    alpha
        Strength of the penalty. With standardised genes one enters only if the mean of gene x residual exceeds it.
    l1_ratio
        1: lasso. Between 0 and 1: elastic net, which keeps genes that go together.
    class_weight
        None, ``"balanced"`` or class -> weight.
    tol
        Largest step, in units of the gradient, at which the loss counts as least.
    max_iter
        Most steps.

    Attributes
    ----------
    coef_, intercept_ : ndarray
        Weights, 1 x genes for two classes, else classes x genes; and as many intercepts.
    classes_ : ndarray
        Class labels in sorted order.
    n_iter_ : int
        Steps taken.

    References
    ----------
    Beck & Teboulle (2009), SIAM J Imaging Sci 2(1):183; O'Donoghue & Candes (2015), Found Comput Math 15:715 (restarts);
    Friedman, Hastie & Tibshirani (2010), J Stat Softw 33(1):1.
    """

    def __init__(
        self,
        alpha: float = 0.01,
        *,
        l1_ratio: float = 1.0,
        class_weight: Any = None,
        tol: float = 1e-5,
        max_iter: int = 20_000,
    ):
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any) -> SparseLogistic:
        """Fit to samples x genes and their classes."""
        if not self.alpha > 0 or not 0 < self.l1_ratio <= 1:
            raise InputError(
                f"alpha must be positive and l1_ratio in (0, 1]; got {self.alpha!r} and {self.l1_ratio!r}."
            )
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, code = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"A classifier needs at least two classes, got one class only: {self.classes_[0]!r}.")
        Y = np.eye(len(self.classes_))[code]
        weight = compute_sample_weight(self.class_weight, y).astype(float)
        center = X.mean(axis=0)
        W = self._solve(X - center, Y[:, 1:] if len(self.classes_) == 2 else Y, weight / weight.sum())
        self.coef_ = W[:-1].T.copy()
        self.intercept_ = W[-1] - center @ W[:-1]
        return self

    def _solve(self, X: np.ndarray, Y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Coefficients (last row: intercepts) by accelerated proximal gradient steps, restarted where they turn back."""
        A = np.hstack([X, np.ones((len(X), 1))])
        binary = Y.shape[1] == 1
        penalty = np.append(np.full(X.shape[1], float(self.alpha)), 0.0)[:, None]
        curvature = np.linalg.norm(A * np.sqrt(weight)[:, None], 2) ** 2 / (4 if binary else 2)
        size = curvature + self.alpha * (1 - self.l1_ratio)
        share = Y.T @ weight
        W = np.zeros((A.shape[1], Y.shape[1]))
        W[-1] = np.log(share / (1 - share)) if binary else np.log(share)
        V, t = W, 1.0
        for step in range(1, self.max_iter + 1):
            prob = expit(A @ V) if binary else softmax(A @ V, axis=1)
            slope = A.T @ (weight[:, None] * (prob - Y)) + (1 - self.l1_ratio) * penalty * V
            moved = V - slope / size
            new = np.sign(moved) * np.maximum(np.abs(moved) - self.l1_ratio * penalty / size, 0.0)
            self.n_iter_ = step
            if np.abs(new - V).max() * size <= self.tol:
                return new
            if ((V - new) * (new - W)).sum() > 0:
                t = 1.0
            t, before = (1 + np.sqrt(1 + 4 * t * t)) / 2, t
            V, W = new + (before - 1) / t * (new - W), new
        warnings.warn(
            f"SparseLogistic did not converge in {self.max_iter} steps; standardise the columns, or raise alpha or max_iter.",
            ConvergenceWarning,
            stacklevel=3,
        )
        return W

    def decision_function(self, X: Any) -> np.ndarray:
        """Log-odds of the second of two classes; of more classes, one score each, of which predict_proba is the softmax."""
        check_is_fitted(self)
        margin = validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_.T + self.intercept_
        return margin[:, 0] if len(self.classes_) == 2 else margin

    def predict(self, X: Any) -> np.ndarray:
        """The class with the largest probability."""
        margin = self.decision_function(X)
        return self.classes_[(margin > 0).astype(int) if margin.ndim == 1 else margin.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities, samples x classes."""
        margin = self.decision_function(X)
        if margin.ndim == 1:
            prob = expit(margin)
            return np.column_stack([1 - prob, prob])
        return softmax(margin, axis=1)
