"""Logistic and ridge regression of more rows than memory holds: the optimum itself, by passes over pieces of the data.

The same objective as scikit-learn's ``LogisticRegression`` and ``Ridge``, minimised by Newton's method (whose sums over rows
are small matrices), so that the result is theirs to the digits of their tolerance and does not depend on the pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from scipy import linalg
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, Ridge

from .errors import InputError

Pieces = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]  # a new pass over (standardised rows, target) pairs
Each = Callable[..., Iterable[Any]]  # each(work, *more): work(rows, target, *more) of every piece, in order

_STEPS, _HALVINGS = 100, 30
_LARGEST = 1 << 30  # bytes of the matrix of second derivatives
_ENOUGH = 1e-14  # of the objective: what a further step would gain


def each_of(pieces: Pieces) -> Each:
    """Work on pieces one after the other, here."""
    return lambda work, *more: (work(Z, y, *more) for Z, y in pieces())


def fit_logistic(
    each: Each, n_columns: int, n_classes: int, model: LogisticRegression, weights: np.ndarray | None = None
) -> LogisticRegression:
    """Fit scikit-learn's L2-penalised logistic regression in passes.

    Parameters
    ----------
    each
        Does work on every piece (:func:`each_of`): on standardised rows x columns, and class codes 0, 1, ...
    n_columns, n_classes
        Their numbers.
    model
        Unfitted; its ``C`` is used. It is fitted in place and returned.
    weights
        Of each class (``class_weight``); None: 1.
    """
    _check_size((1 if n_classes == 2 else n_classes) * (n_columns + 1), n_columns)
    costs = model.C * (np.ones(n_classes) if weights is None else weights)
    k = 1 if n_classes == 2 else n_classes  # outputs; of two classes one, as scikit-learn has it
    theta = np.zeros((k, n_columns + 1))
    value, gradient, hessian = _sums(each, theta, costs)
    model.classes_, model.n_features_in_ = np.arange(n_classes), n_columns
    for step in range(1, _STEPS + 1):
        model.n_iter_ = np.array([step])
        direction = -_solved(hessian, gradient.ravel()).reshape(theta.shape)
        gain = -float((gradient * direction).sum()) / 2
        if gain <= _ENOUGH * max(1.0, abs(value)):
            break
        size = 1.0
        for _ in range(_HALVINGS):
            tried = theta + size * direction
            new = _sums(each, tried, costs)
            if new[0] <= value - 1e-4 * size * 2 * gain:
                break
            size /= 2
        else:
            break  # rounding: nothing lower is to be found
        theta, (value, gradient, hessian) = tried, new
    model.coef_, model.intercept_ = theta[:, :-1].copy(), theta[:, -1].copy()
    return model


def _sums(each: Each, theta: np.ndarray, costs: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Objective, gradient and Hessian at ``theta``."""
    k, m = theta.shape
    value = 0.5 * float((theta[:, :-1] ** 2).sum())
    gradient = theta.copy()
    gradient[:, -1] = 0.0
    hessian = np.zeros((k, m, k, m))
    for a in range(k):
        hessian[a, :-1, a, :-1] = np.eye(m - 1)
    for part in each(_of_piece, theta, costs):
        value += part[0]
        gradient += part[1]
        hessian += part[2]
    if k > 1:  # a constant added to all intercepts changes nothing: it is kept at 0
        value += 0.5 * float(theta[:, -1].sum()) ** 2
        gradient[:, -1] += theta[:, -1].sum()
        hessian[:, -1, :, -1] += 1.0
    return value, gradient, hessian.reshape(k * m, k * m)


def _of_piece(Z: np.ndarray, y: np.ndarray, theta: np.ndarray, costs: np.ndarray) -> tuple[Any, ...]:
    """What some rows add to these; ``costs``: what a row of each class counts."""
    k, m = theta.shape
    rows = np.column_stack([Z, np.ones(len(Z))])
    margin = rows @ theta.T
    log_p = log_softmax(np.column_stack([np.zeros(len(Z)), margin]) if k == 1 else margin, axis=1)
    p = np.exp(log_p)
    first, cost = p.shape[1] - k, costs[y]
    gradient = (cost[:, None] * (p - np.eye(len(costs))[y])[:, first:]).T @ rows
    hessian = np.zeros((k, m, k, m))
    for a in range(k):
        for b in range(a, k):
            w = cost * p[:, first + a] * ((a == b) - p[:, first + b])
            block = rows.T @ (rows * w[:, None])
            hessian[a, :, b, :] = block
            if a != b:
                hessian[b, :, a, :] = block.T
    return -float(cost @ log_p[np.arange(len(y)), y]), gradient, hessian


def _check_size(m: int, n_columns: int) -> None:
    if 8 * m**2 > _LARGEST:
        raise InputError(
            f"A linear model of {n_columns:,} genes is solved by a matrix of {8 * m**2 / 2**30:.1f} GB here, and 1 GB is the most. Keep "
            "fewer genes (screen=), or name models='xgboost', which needs no such matrix."
        )


def _solved(hessian: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return linalg.cho_solve(linalg.cho_factor(hessian), gradient)


def fit_ridge(each: Each, n_columns: int, model: Ridge) -> Ridge:
    """Fit scikit-learn's ridge regression (``alpha``) from sums of squares and products of one pass.

    Parameters
    ----------
    each
        As in :func:`fit_logistic`, the target being numbers.
    n_columns
        Of the rows.
    model
        Unfitted; its ``alpha`` is used. It is fitted in place and returned.
    """
    m = n_columns + 1
    _check_size(m, n_columns)
    total, products = np.zeros((m, m)), np.zeros(m)
    for part in each(_products):
        total += part[0]
        products += part[1]
    n = total[-1, -1]
    mean, mean_y = total[-1, :-1] / n, products[-1] / n
    gram = total[:-1, :-1] - n * np.outer(mean, mean) + model.alpha * np.eye(n_columns)
    model.coef_ = linalg.cho_solve(linalg.cho_factor(gram), products[:-1] - n * mean * mean_y)
    model.intercept_ = float(mean_y - mean @ model.coef_)
    model.n_features_in_ = n_columns
    return model


def _products(Z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.column_stack([Z, np.ones(len(Z))])
    return rows.T @ rows, rows.T @ y
