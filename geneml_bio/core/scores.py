"""Scores as functions of sample weights.

One vectorised pass serves the point estimate (weights one) and every resample (weights = how much of a sample was drawn).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.special import expit, logit

CLASSIFICATION = ("balanced_accuracy", "accuracy", "mcc", "f1", "roc_auc", "pr_auc", "brier", "log_loss")
CALIBRATION = ("calibration_slope", "calibration_intercept")  # described, not judged: no null, no winner
REGRESSION = ("r2", "rmse", "mae", "mse", "spearman")
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "rmse", "mae", "mse"})
_EPS = np.finfo(float).eps
_SURE = 1e-8  # probabilities nearer to 0 or 1 have no finite log odds worth the name
_KNOTS = 512  # of resamples, neighbouring scores are pooled that together hold no more than this part of a class
_CELLS = 2**18  # resamples x samples ranked at a time: what fits into a processor's cache


def primary(task: str) -> str:
    """The metric by which models are compared: balanced accuracy, or R2."""
    return "balanced_accuracy" if task == "classification" else "r2"


def better(metric: str, values: np.ndarray) -> np.ndarray:
    """Values with their sign turned so that larger is better."""
    return -values if metric in LOWER_IS_BETTER else values


def ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a / b``; NaN where ``b`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(b > 0, a / np.where(b > 0, b, 1.0), np.nan)


def mean_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where nothing is left."""
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


# -- classification ----------------------------------------------------------------------------------------------------


def confusion(w: np.ndarray, observed: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """Weight of each observed x predicted class (codes), for each row of weights: rows x k x k."""
    cells = np.zeros((len(observed), k * k))
    cells[np.arange(len(observed)), observed * k + predicted] = 1.0
    return (w @ cells).reshape(-1, k, k)


def _mcc(c: np.ndarray) -> np.ndarray:
    """Gorodkin's R_K, which is Matthews' coefficient for two classes; 0 where a margin is empty (scikit-learn)."""
    true, pred, total = c.sum(axis=2), c.sum(axis=1), c.sum(axis=(1, 2))
    hit = np.trace(c, axis1=1, axis2=2)
    top = hit * total - (true * pred).sum(axis=1)
    bottom = np.sqrt((total**2 - (pred**2).sum(axis=1)) * (total**2 - (true**2).sum(axis=1)))
    return np.nan_to_num(ratio(top, bottom))


def _f1(c: np.ndarray) -> np.ndarray:
    """F1 of the positive class (two classes) or the macro mean (more)."""
    hit = np.diagonal(c, axis1=1, axis2=2)
    f1 = np.nan_to_num(ratio(2 * hit, c.sum(axis=1) + c.sum(axis=2)))
    return f1[:, 1] if c.shape[1] == 2 else f1.mean(axis=1)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Samples by ascending probability, ties together: ``score`` of each place, and the place and side of each sample."""

    score: np.ndarray
    sums: sparse.csr_array

    @classmethod
    def of(cls, positive: np.ndarray, score: np.ndarray, knots: int | None = None) -> Ranking:
        """Rank samples by probability; ``knots``: pool neighbours that together hold at most 1 / knots of either class."""
        distinct, place = np.unique(score, return_inverse=True)
        if knots is not None and len(distinct) > 2 * knots:
            cell = np.floor(log_odds(distinct) * 10).astype(int)  # no further apart than a tenth
            for side in (positive, ~positive):
                here = np.bincount(place[side], minlength=len(distinct))
                reached = np.cumsum(here)
                cell += (reached - 1).clip(0) * knots // max(1, reached[-1])
                if reached[-1] <= knots:  # so few that each has a place to itself
                    cell += reached - here
            cell = np.unique(cell, return_inverse=True)[1]
            place = cell[place]
            distinct = expit(np.bincount(place, log_odds(score)) / np.bincount(place))
        n = len(score)
        rows = place + len(distinct) * ~positive
        return cls(distinct, sparse.csr_array((np.ones(n), (rows, np.arange(n))), shape=(2 * len(distinct), n)))

    def weights(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weight of positives and of negatives at each place: places x rows, from samples x rows."""
        both = self.sums @ w
        return both[: len(self.score)], both[len(self.score) :]


def roc_auc(pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
    """Area under the ROC curve from the weights at each place of a ranking; NaN without positives or negatives."""
    below = np.cumsum(neg, axis=0) - neg / 2  # a tie counts one half
    return ratio((pos * below).sum(axis=0), pos.sum(axis=0) * neg.sum(axis=0))


def _pr_auc(pos: np.ndarray, neg: np.ndarray) -> np.ndarray:
    """Average precision (no interpolation)."""
    hit = np.cumsum(pos[::-1], axis=0)[::-1]
    precision = hit / np.maximum(hit + np.cumsum(neg[::-1], axis=0)[::-1], _EPS)
    return ratio((pos * precision).sum(axis=0), pos.sum(axis=0))


def _ranked_scores(w: np.ndarray, observed: np.ndarray, prob: np.ndarray, calibration: bool) -> dict[str, np.ndarray]:
    """Areas and calibration: of the second of two classes, else the mean over one class against the rest."""
    codes = [1] if prob.shape[1] == 2 else range(prob.shape[1])
    rankings = [Ranking.of(observed == code, prob[:, code], _KNOTS if len(w) > 1 else None) for code in codes]
    names = ("roc_auc", "pr_auc", *(CALIBRATION if calibration else ()))
    out = {name: np.zeros(len(w)) for name in names}
    size = max(1, _CELLS // w.shape[1])
    for start in range(0, len(w), size):
        rows = slice(start, start + size)
        block = np.ascontiguousarray(w[rows].T)
        for ranking in rankings:
            pos, neg = ranking.weights(block)
            values = [roc_auc(pos, neg), _pr_auc(pos, neg)]
            if calibration:
                values += recalibration(pos, neg, ranking.score)
            for name, value in zip(names, values, strict=True):
                out[name][rows] += value / len(rankings)
    return out


def classification_scores(
    w: np.ndarray, observed: np.ndarray, prob: np.ndarray, *, calibration: bool = True
) -> dict[str, np.ndarray]:
    """Every classification metric under each row of sample weights.

    Parameters
    ----------
    w
        Weights, resamples x samples.
    observed
        Class codes, samples.
    prob
        Class probabilities, samples x classes.
    calibration
        Whether the calibration slope and intercept are wanted too (:func:`recalibration`).

    Returns
    -------
    Metric name -> one value per row of ``w``; NaN where it is not defined (a class without weight; a calibration slope of
    separated classes). Of two classes F1, the areas and the calibration are those of the second; of more they are means
    over one class against the rest.
    """
    k, total = prob.shape[1], w.sum(axis=1)
    c = confusion(w, observed, prob.argmax(axis=1), k)
    recall = ratio(np.diagonal(c, axis1=1, axis2=2), c.sum(axis=2))
    brier = ((prob - np.eye(k)[observed]) ** 2).sum(axis=1) / (2 if k == 2 else 1)
    picked = np.clip(prob[np.arange(len(observed)), observed], _EPS, None)
    ranked = _ranked_scores(w, observed, prob, calibration)
    return {
        "balanced_accuracy": recall.mean(axis=1),
        "accuracy": ratio(np.trace(c, axis1=1, axis2=2), total),
        "mcc": _mcc(c),
        "f1": _f1(c),
        "roc_auc": ranked.pop("roc_auc"),
        "pr_auc": ranked.pop("pr_auc"),
        "brier": ratio(w @ brier, total),
        "log_loss": ratio(w @ -np.log(picked), total),
    } | ranked


# -- calibration -------------------------------------------------------------------------------------------------------


def log_odds(prob: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, which are kept within 1e-8 of 0 and 1."""
    return logit(np.clip(prob, _SURE, 1 - _SURE))


def recalibration(pos: np.ndarray, neg: np.ndarray, prob: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Calibration slope and intercept (Cox 1958, Biometrika 45:562) under each row of weights.

    Both are of logistic regressions of the class on the log odds that were predicted. A slope below 1: the predictions are
    too extreme; above 1: too timid. The intercept is that of the regression whose slope is fixed at 1 (calibration in the
    large): below 0 the class is predicted too often, above 0 too rarely. Probabilities are kept within 1e-8 of 0 and 1.

    Parameters
    ----------
    pos, neg
        Weight of positives and of negatives at each probability, probabilities x rows of weights.
    prob
        The probabilities, ascending.

    Returns
    -------
    slope, intercept
        One value a row of weights. NaN: the slope where the classes are separated (it is infinite) or all probabilities are
        equal, both where a class has no weight.
    """
    x = log_odds(prob)
    slope, intercept = np.full(pos.shape[1], np.nan), np.full(pos.shape[1], np.nan)
    both = (pos.sum(axis=0) > 0) & (neg.sum(axis=0) > 0)
    overlap = both.copy()
    overlap[both] = _overlap(pos[:, both] > 0, neg[:, both] > 0, x)
    for out, rows, free in ((slope, overlap, True), (intercept, both, False)):
        if rows.any():
            a, b = pos[:, rows], neg[:, rows]
            start = np.array([[0.0], [0.0 if free else 1.0]])
            if rows.sum() > 1:  # a good place to start from
                start = logistic_newton(a.sum(axis=1, keepdims=True), b.sum(axis=1, keepdims=True), x, start, free)
            out[rows] = logistic_newton(a, b, x, start, free)[int(free)]
    return slope, intercept


def _overlap(pos: np.ndarray, neg: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Whether neither class lies wholly at or above the other: then, and only then, is the slope finite."""

    def ends(there: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x[there.argmax(axis=0)], x[len(there) - 1 - there[::-1].argmax(axis=0)]

    (pos_low, pos_high), (neg_low, neg_high) = ends(pos), ends(neg)
    return (neg_high > pos_low) & (neg_low < pos_high)


def logistic_newton(pos: np.ndarray, neg: np.ndarray, x: np.ndarray, start: np.ndarray, free: bool) -> np.ndarray:
    """Intercept and slope (2 x rows of weights) of the logistic regressions on ``x``; the slope stays where not ``free``.

    Newton's steps; a long one is shortened by log(1 + d) / d with d the largest change of a linear predictor, so that the
    likelihood never falls (Sun and Tran-Dinh 2019, Math Program 178:145). NaN where 100 steps are not enough.
    """
    out = np.full((2, pos.shape[1]), np.nan)
    beta, rows, total = np.tile(start, pos.shape[1]), np.arange(pos.shape[1]), pos + neg
    powers = np.vstack([np.ones_like(x), x, x**2])
    for _ in range(100):
        p = expit(x[:, None] * beta[1] + beta[0])
        made = total * p
        g0, g1 = powers[:2] @ (pos - made)
        h00, h01, h11 = powers @ (made - made * p)
        with np.errstate(divide="ignore", invalid="ignore"):  # no curvature left: no finite step, NaN
            if free:
                step = np.vstack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]) / (h00 * h11 - h01**2)
            else:
                step = np.vstack([g0 / h00, np.zeros_like(g0)])
            far = np.maximum(np.abs(step[0] + step[1] * x[0]), np.abs(step[0] + step[1] * x[-1]))
            beta = beta + step * np.where(far < 0.5, 1.0, np.log1p(far) / np.maximum(far, _EPS))
        done = far < 1e-5  # what is left to go is about the square of it
        out[:, rows[done]] = beta[:, done]
        go = ~done & np.isfinite(far)
        if not go.any():
            break
        if not go.all():
            rows, beta, pos, total = rows[go], beta[:, go], pos[:, go], total[:, go]
    return out


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
    return ratio((w * a * b).sum(axis=1), np.sqrt((w * a * a).sum(axis=1) * (w * b * b).sum(axis=1)))


def regression_scores(w: np.ndarray, observed: np.ndarray, predicted: np.ndarray) -> dict[str, np.ndarray]:
    """Every regression metric under each row of sample weights (shapes as in :func:`classification_scores`)."""
    total = w.sum(axis=1)
    centre = observed.mean()  # large values with little spread keep their digits
    observed, predicted = observed - centre, predicted - centre
    mse = ratio(w @ (observed - predicted) ** 2, total)
    own = ratio(w @ observed**2, total) - ratio(w @ observed, total) ** 2
    return {
        "r2": 1 - ratio(mse, own),
        "rmse": np.sqrt(mse),
        "mae": ratio(w @ np.abs(observed - predicted), total),
        "mse": mse,
        "spearman": _weighted_correlation(w, _weighted_ranks(w, observed), _weighted_ranks(w, predicted)),
    }
