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
from .sparse_linear import largest, slopes

_FIRST = 200  # columns that are taken in at first; of no more all take part at once
_ROUGH = 5  # rounds at most in which less precision does


class SparseLogistic(ClassifierMixin, BaseEstimator):
    """Logistic (two classes) or multinomial regression with an L1 or elastic-net penalty.

    Minimises ``mean cross-entropy + alpha * (l1_ratio * |w|_1 + (1 - l1_ratio) / 2 * |w|^2)``, the intercept free, by an
    accelerated proximal gradient with restarts; of many columns, on those that ask to come in. ``alpha`` is the lambda of glmnet,
    and ``1 / (C * n_samples)`` of scikit-learn's LogisticRegression: its meaning does not change with the number of samples.

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
        self._solve(X, Y[:, 1:] if len(self.classes_) == 2 else Y, weight / weight.sum())
        return self

    def _solve(self, X: np.ndarray, Y: np.ndarray, weight: np.ndarray) -> None:
        """Coefficients and intercepts on a growing set of columns, until no column outside asks to come in.

        The slope of a column outside then is at most the penalty plus ``tol``: the same condition as if all had taken part. While
        many more ask, a hundredth of the precision does, and of those inside only the columns in use stay.
        """
        share = Y.T @ weight
        intercept = np.log(share / (1 - share)) if Y.shape[1] == 1 else np.log(share)  # of centred columns
        residual = weight[:, None] * (share - Y)
        W, inside = np.zeros((X.shape[1], Y.shape[1])), np.zeros(X.shape[1], dtype=bool)
        self.n_iter_ = rounds = 0
        rough, ended = False, True
        while ended:
            residual -= weight[:, None] * residual.sum(axis=0)  # as if the columns were centred
            slope = np.abs(slopes(X, residual[:, 0])) if Y.shape[1] == 1 else np.abs(X.T @ residual).max(axis=1)
            slope[inside] = -1.0
            above = self.alpha * self.l1_ratio + self.tol
            asking = int((slope > above).sum())
            if rounds and not asking and not rough:
                break
            rough = asking > _FIRST and rounds < _ROUGH
            if rough:
                inside = np.asarray(W.any(axis=1))
            inside[largest(slope, above if rounds else -1.0, max(_FIRST, int(inside.sum())))] = True
            part = X[:, inside]
            centre = part.mean(axis=0)
            part -= centre
            new, ended = self._steps(
                part, Y, weight, np.vstack([W[inside], intercept]), self.tol * (100 if rough else 1)
            )
            W[:], W[inside], intercept = 0.0, new[:-1], new[-1]
            made = part @ new[:-1] + intercept
            residual = weight[:, None] * ((expit(made) if Y.shape[1] == 1 else softmax(made, axis=1)) - Y)
            rounds += 1
        self.coef_, self.intercept_ = W.T.copy(), intercept - centre @ W[inside]

    def _steps(
        self, X: np.ndarray, Y: np.ndarray, weight: np.ndarray, W: np.ndarray, tol: float
    ) -> tuple[np.ndarray, bool]:
        """Accelerated proximal gradient steps from W, restarted where they turn back; whether they came to an end."""
        A = np.hstack([X, np.ones((len(X), 1))])
        binary = Y.shape[1] == 1
        penalty = np.append(np.full(X.shape[1], float(self.alpha)), 0.0)[:, None]
        scaled = A * np.sqrt(weight)[:, None]
        gram = scaled @ scaled.T if A.shape[0] < A.shape[1] else scaled.T @ scaled
        curvature = np.linalg.eigvalsh(gram)[-1] / (4 if binary else 2)
        size = curvature + self.alpha * (1 - self.l1_ratio)
        V, t = W, 1.0
        while self.n_iter_ < self.max_iter:
            prob = expit(A @ V) if binary else softmax(A @ V, axis=1)
            slope = A.T @ (weight[:, None] * (prob - Y)) + (1 - self.l1_ratio) * penalty * V
            moved = V - slope / size
            new = np.sign(moved) * np.maximum(np.abs(moved) - self.l1_ratio * penalty / size, 0.0)
            self.n_iter_ += 1
            if np.abs(new - V).max() * size <= tol:
                return new, True
            if ((V - new) * (new - W)).sum() > 0:
                t = 1.0
            t, before = (1 + np.sqrt(1 + 4 * t * t)) / 2, t
            V, W = new + (before - 1) / t * (new - W), new
        warnings.warn(
            f"SparseLogistic did not converge in {self.max_iter} steps; standardise the columns, or raise alpha or max_iter.",
            ConvergenceWarning,
            stacklevel=4,
        )
        return W, False

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
