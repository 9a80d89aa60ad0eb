"""Ridge-penalised logistic regression for several strengths of the penalty, for tuning: only its predictions are wanted.

The coefficients lie in the row space of the training samples, so that with few samples the problem has as many unknowns as there
are samples, not genes; each strength starts from the solution of the one before. Same minimum as scikit-learn's LogisticRegression.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from scipy import linalg
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

_TOL = 1e-7  # of the gradient, relative to the weight of the samples
_STEPS = 50
_LARGEST = 600  # unknowns; beyond, scikit-learn's solver is as fast
_OWN = ("C", "class_weight", "random_state", "max_iter", "tol")


def is_plain_logistic(model: Any, space: Any) -> bool:
    """Whether it is scikit-learn's logistic regression with the ridge penalty, tuned in ``C`` alone."""
    if type(model) is not LogisticRegression or list(space) != ["C"]:
        return False
    own = model.get_params()
    return all(own[name] == value for name, value in _defaults().items() if name not in _OWN)


@cache
def _defaults() -> dict[str, Any]:
    return LogisticRegression().get_params()


def path_probabilities(
    Z: np.ndarray, y: np.ndarray, held: np.ndarray, strengths: Any, n_classes: int, class_weight: Any
) -> list[np.ndarray] | None:
    """Probabilities of held-out samples for each ``C``; None where the general solver is to be used.

    Parameters
    ----------
    Z, y
        Training samples x standardised genes; class codes.
    held
        Held-out samples x genes.
    strengths
        Values of ``C``.
    n_classes
        Number of classes; each has a training sample.
    class_weight
        As of LogisticRegression.
    """
    n_outputs = 1 if n_classes == 2 else n_classes
    rank = min(Z.shape)
    if (rank + 1) * n_outputs > _LARGEST or len(np.unique(y)) < n_classes:
        return None
    Z, held = np.asarray(Z, dtype=np.float64), np.asarray(held, dtype=np.float64)
    if Z.shape[1] > Z.shape[0]:  # to coordinates in the row space
        Q, R = linalg.qr(Z.T, mode="economic", check_finite=False)
        Z, held = R.T, held @ Q
    A, B = (np.column_stack([M, np.ones(len(M))]) for M in (Z, held))
    weight = np.ones(len(y))
    if class_weight is not None:
        weight = np.asarray(compute_sample_weight(class_weight, y), dtype=np.float64)
    Y = np.eye(n_classes)[y][:, 1:] if n_outputs == 1 else np.eye(n_classes)[y]
    W = np.zeros((A.shape[1], n_outputs))
    share = (Y * weight[:, None]).sum(axis=0) / weight.sum()
    W[-1] = np.log(share / (1 - share)) if n_outputs == 1 else np.log(share)
    made: dict[float, np.ndarray] = {}
    for C in sorted(strengths):
        W = _newton(A, Y, weight * C, W)
        margin = B @ W
        second = expit(margin[:, 0])
        made[C] = np.column_stack([1 - second, second]) if n_outputs == 1 else softmax(margin, axis=1)
    return [made[C] for C in strengths]


def _newton(A: np.ndarray, Y: np.ndarray, weight: np.ndarray, W: np.ndarray) -> np.ndarray:
    """Minimise sum(weight * cross-entropy) + |W|^2 / 2, the last row (intercepts) free, by Newton steps that are halved if need be."""
    ridge = np.ones(len(W))
    ridge[-1] = 0.0
    enough = _TOL * weight.sum()
    loss, prob = _loss(A, Y, weight, W, ridge)
    for _ in range(_STEPS):
        slope = A.T @ (weight[:, None] * (prob - Y)) + ridge[:, None] * W
        if np.abs(slope).max() <= enough:
            break
        step = _direction(A, prob, weight, slope, ridge)
        size = 1.0
        while True:
            new_loss, new_prob = _loss(A, Y, weight, W - size * step, ridge)
            if new_loss <= loss + 1e-12 * abs(loss) or size < 1e-6:
                break
            size /= 2
        W, loss, prob = W - size * step, new_loss, new_prob
    return W


def _loss(
    A: np.ndarray, Y: np.ndarray, weight: np.ndarray, W: np.ndarray, ridge: np.ndarray
) -> tuple[float, np.ndarray]:
    margin = A @ W
    if W.shape[1] == 1:
        each = np.logaddexp(0.0, margin) - Y * margin
        prob = expit(margin)
    else:
        top = margin.max(axis=1, keepdims=True)
        total = np.log(np.exp(margin - top).sum(axis=1, keepdims=True)) + top
        each = total - (Y * margin).sum(axis=1, keepdims=True)
        prob = np.exp(margin - total)
    return float(weight @ each[:, 0] + (ridge[:, None] * W * W).sum() / 2), prob


def _direction(A: np.ndarray, prob: np.ndarray, weight: np.ndarray, slope: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    d, k = slope.shape
    if k == 1:
        curve = weight * prob[:, 0] * (1 - prob[:, 0])
        H = (A * curve[:, None]).T @ A
        H.reshape(-1)[:: d + 1] += ridge + 1e-12
        return _solved(H, slope)
    H = np.empty((k, d, k, d))
    for a in range(k):
        for b in range(a, k):
            curve = weight * prob[:, a] * ((a == b) - prob[:, b])
            H[a, :, b, :] = H[b, :, a, :] = (A * curve[:, None]).T @ A
    whole = H.reshape(k * d, k * d)
    # a constant added to all intercepts changes nothing; the tiny ridge picks one of them
    whole[np.diag_indices(k * d)] += np.tile(ridge, k) + 1e-8 * float(weight.sum())
    return _solved(whole, slope.T.reshape(-1, 1)).reshape(k, d).T


def _solved(H: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """By Cholesky, without the checks that take longer than the solution."""
    _, step, info = linalg.lapack.dposv(H.T, slope)  # symmetric; in the order that is not copied
    return step if info == 0 else linalg.lstsq(H, slope, check_finite=False)[0]
