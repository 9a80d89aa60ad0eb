"""Scores as functions of sample weights.

One vectorised pass serves the point estimate (weights one), every bootstrap resample (weights = how often a sample was
drawn) and the out-of-bag estimate (weights 0 or 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

CLASSIFICATION = ("balanced_accuracy", "accuracy", "mcc", "f1", "roc_auc", "pr_auc", "brier", "log_loss")
REGRESSION = ("r2", "rmse", "mae", "mse", "spearman")
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "rmse", "mae", "mse"})
_EPS = np.finfo(float).eps


def primary(task: str) -> str:
    """The metric by which models are compared: balanced accuracy, or R2."""
    return "balanced_accuracy" if task == "classification" else "r2"


def better(metric: str, values: np.ndarray) -> np.ndarray:
    """Values with their sign turned so that larger is better."""
    return -values if metric in LOWER_IS_BETTER else values


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b > 0, a / np.where(b > 0, b, 1.0), np.nan)


# -- classification ----------------------------------------------------------------------------------------------------


def _confusion(w: np.ndarray, observed: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    cells = np.zeros((len(observed), k * k))
    cells[np.arange(len(observed)), observed * k + predicted] = 1.0
    return (w @ cells).reshape(-1, k, k)


def _mcc(c: np.ndarray) -> np.ndarray:
    """Gorodkin's R_K, which is Matthews' coefficient for two classes; 0 where a margin is empty (scikit-learn)."""
    true, pred, total = c.sum(axis=2), c.sum(axis=1), c.sum(axis=(1, 2))
    hit = np.trace(c, axis1=1, axis2=2)
    top = hit * total - (true * pred).sum(axis=1)
    bottom = np.sqrt((total**2 - (pred**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1)))
    return np.nan_to_num(_divide(top, bottom))


def _f1(c: np.ndarray) -> np.ndarray:
    """F1 of the positive class (two classes) or the macro mean (more)."""
    hit = np.diagonal(c, axis1=1, axis2=2)
    f1 = np.nan_to_num(_divide(2 * hit, c.sum(axis=1) + c.sum(axis=2)))
    return f1[:, 1] if c.shape[1] == 2 else f1.mean(axis=1)


def _tied_sums(w: np.ndarray, positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and negatives at each distinct score, ascending."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])
    sorted_w, sorted_pos = w[:, order], positive[order]
    return (
        np.add.reduceat(sorted_w * sorted_pos, starts, axis=1),
        np.add.reduceat(sorted_w * ~sorted_pos, starts, axis=1),
    )


def _roc_auc_one(w: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    pos, neg = _tied_sums(w, positive, score)
    below = np.cumsum(neg, axis=1) - neg / 2  # a tie counts one half
    return _divide((pos * below).sum(axis=1), pos.sum(axis=1) * neg.sum(axis=1))


def _pr_auc_one(w: np.ndarray, positive: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Average precision (no interpolation)."""
    pos, neg = _tied_sums(w, positive, score)
    pos, neg = pos[:, ::-1], neg[:, ::-1]
    hit = np.cumsum(pos, axis=1)
    precision = np.nan_to_num(_divide(hit, hit + np.cumsum(neg, axis=1)))
    return _divide((pos * precision).sum(axis=1), pos.sum(axis=1))


def _one_vs_rest(one: Callable[..., np.ndarray], w: np.ndarray, observed: np.ndarray, prob: np.ndarray) -> np.ndarray:
    """The positive class (two classes) or the macro mean over classes (more)."""
    wanted = [1] if prob.shape[1] == 2 else range(prob.shape[1])
    return np.mean([one(w, observed == c, prob[:, c]) for c in wanted], axis=0)


def classification_scores(w: np.ndarray, observed: np.ndarray, prob: np.ndarray) -> dict[str, np.ndarray]:
    """Every classification metric under each row of sample weights.

    Parameters
    ----------
    w
        Weights, resamples x samples.
    observed
        Class codes, samples.
    prob
        Class probabilities, samples x classes.

    Returns
    -------
    Metric name -> one value per row of ``w``; NaN where it is not defined (a class without weight).
    """
    k, total = prob.shape[1], w.sum(axis=1)
    c = _confusion(w, observed, prob.argmax(axis=1), k)
    recall = _divide(np.diagonal(c, axis1=1, axis2=2), c.sum(axis=2))
    hot = np.eye(k)[observed]
    brier = ((prob - hot) ** 2).sum(axis=1) / (2 if k == 2 else 1)
    picked = np.clip(prob[np.arange(len(observed)), observed], _EPS, None)
    return {
        "balanced_accuracy": recall.mean(axis=1),
        "accuracy": _divide(np.trace(c, axis1=1, axis2=2), total),
        "mcc": _mcc(c),
        "f1": _f1(c),
        "roc_auc": _one_vs_rest(_roc_auc_one, w, observed, prob),
        "pr_auc": _one_vs_rest(_pr_auc_one, w, observed, prob),
        "brier": _divide(w @ brier, total),
        "log_loss": _divide(w @ -np.log(picked), total),
    }


# -- regression --------------------------------------------------------------------------------------------------------


def _weighted_ranks(w: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Mid-ranks that each sample has when it is repeated as often as its weight says."""
    order = np.argsort(value, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(value[order]) > 0])
    mass = np.add.reduceat(w[:, order], starts, axis=1)
    rank = np.cumsum(mass, axis=1) - mass / 2
    group = np.empty(len(value), dtype=int)
    group[order] = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(value)]))
    return rank[:, group]


def _weighted_correlation(w: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    total = np.maximum(w.sum(axis=1, keepdims=True), _EPS)
    a = a - (w * a).sum(axis=1, keepdims=True) / total
    b = b - (w * b).sum(axis=1, keepdims=True) / total
    return _divide((w * a * b).sum(axis=1), np.sqrt((w * a * a).sum(axis=1) * (w * b * b).sum(axis=1)))


def regression_scores(
    w: np.ndarray, observed: np.ndarray, predicted: np.ndarray, *, spread: float | None = None
) -> dict[str, np.ndarray]:
    """Every regression metric under each row of sample weights (shapes as in :func:`classification_scores`).

    ``spread``: the variance that R2 is measured against; without it, that of the weighted samples. A few left-out
    samples have next to no variance of their own, and R2 against it would be noise.
    """
    total = w.sum(axis=1)
    centre = observed.mean()  # large values with little spread keep their digits
    observed, predicted = observed - centre, predicted - centre
    mse = _divide(w @ (observed - predicted) ** 2, total)
    own = _divide(w @ observed**2, total) - _divide(w @ observed, total) ** 2
    return {
        "r2": 1 - (_divide(mse, own) if spread is None else mse / spread),
        "rmse": np.sqrt(mse),
        "mae": _divide(w @ np.abs(observed - predicted), total),
        "mse": mse,
        "spearman": _weighted_correlation(w, _weighted_ranks(w, observed), _weighted_ranks(w, predicted)),
    }
