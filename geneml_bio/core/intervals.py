"""Intervals for cross-validated scores, chosen by what they cover (docs/quality.md).

What is estimated is the score, on new samples of the same population at the study's class shares, of the models that the
validation fitted (their mean). A bootstrap of out-of-fold predictions alone covers it in 80 to 85 of 100 studies instead of
95, because it keeps the training sets as they are, and in a third of them where all predictions are right. Hence:

- a Bayesian bootstrap (Rubin 1981) of samples, or of whole groups, within each class;
- beside the samples half a pseudo-sample a class, whose prediction has nothing to do with its class (a Dirichlet process
  prior centred on chance): 30 right of 30 is not a score of 1 known for certain;
- deviations on a scale without bounds (logit, log), times the square root of 2: the variance of Nadeau and Bengio (2003) for
  many folds, in which the training sets contribute as much as the held-out samples; times Student's quantile over the normal
  one, for few samples, or groups, of a class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta, norm, t

from .scores import CALIBRATION

__all__ = ["Resamples", "corrected", "interval", "optimism", "resamples", "widening"]

PSEUDO = 0.5  # pseudo-samples (or groups) a class
_BASE = 100  # samples whose predictions the pseudo-samples borrow, at most
_UNIT = frozenset({"balanced_accuracy", "accuracy", "f1", "roc_auc", "pr_auc", "precision", "recall"})
_SIGNED = frozenset({"mcc", "spearman"})
_POSITIVE = frozenset({"brier", "log_loss", "rmse", "mae", "mse"})
_REFLECTED = frozenset({"r2", "rmse", "mae", "mse", "spearman"})
_TINY = 1e-12
_SHARES = np.linspace(0, 1, 61)  # of what separates models that is noise: the grid that is averaged over
_PRIOR = np.diff(beta.cdf(_SHARES, 0.25, 0.25))  # either next to all of it, or next to none


@dataclass(frozen=True, eq=False)
class Resamples:
    """Weights of samples, and of pseudo-samples, in each resample.

    Parameters
    ----------
    weights
        resamples x samples.
    pseudo
        resamples x pseudo-samples; none for regression.
    sample, label
        Of each pseudo-sample: whose prediction it borrows, and its class.
    expected
        The expected weight of a pseudo-sample.
    """

    weights: np.ndarray
    pseudo: np.ndarray
    sample: np.ndarray
    label: np.ndarray
    expected: float

    def of(
        self, where: np.ndarray, observed: np.ndarray, made: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What to score for one model in one repeat.

        Parameters
        ----------
        where
            Positions of the samples that were held out, among all.
        observed, made
            Their targets (class codes, or numbers) and predictions (probabilities, or numbers).

        Returns
        -------
        Weights, targets and predictions. The first row of the weights is the centre (each at its expected weight), the others are the
        resamples.
        """
        even = np.ones((1, len(where)))
        if made.ndim == 1:
            return np.vstack([even, self.weights[:, where]]), observed, made
        at = np.full(self.weights.shape[1], -1)
        at[where] = np.arange(len(where))
        there = at[self.sample] >= 0
        borrowed, label = at[self.sample[there]], self.label[there]
        k = made.shape[1]
        turn = (
            np.arange(k) + borrowed[:, None]
        ) % k  # classes change places, so that no class is predicted more than another
        all_observed = np.concatenate([observed, label])
        w = np.vstack(
            [
                np.concatenate([even[0], np.full(len(label), self.expected)]),
                np.hstack([self.weights[:, where], self.pseudo[:, there]]),
            ]
        )
        for c in range(k):  # each class keeps its share
            mine = all_observed == c
            w[:, mine] *= (observed == c).sum() / np.maximum(w[:, mine].sum(axis=1, keepdims=True), _TINY)
        return w, all_observed, np.concatenate([made, np.take_along_axis(made[borrowed], turn, axis=1)])


def resamples(n: int, n_classes: int, groups: np.ndarray | None, n_boot: int, seed: int) -> Resamples:
    """Draw the weights for a study of ``n`` samples (``n_classes`` 0: regression), whole groups at a time where there are any."""
    rng = np.random.default_rng(seed)
    code = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(code.max()) + 1
    size = n / units
    weights = rng.standard_exponential((n_boot, units))[:, code]
    base = np.unique(np.linspace(0, n - 1, min(n, _BASE)).astype(int)) if n_classes else np.empty(0, dtype=int)
    shape = PSEUDO / max(len(base), 1)
    pseudo = rng.standard_gamma(shape, (n_boot, len(base) * n_classes)) * size
    return Resamples(
        weights, pseudo, np.repeat(base, n_classes), np.tile(np.arange(n_classes), len(base)), shape * size
    )


def widening(
    observed: np.ndarray, groups: np.ndarray | None, *, refitted: bool = True, classes: bool = True, level: float = 0.95
) -> float:
    """By how much the bootstrap's deviations are to be multiplied.

    Parameters
    ----------
    observed
        The target of each sample.
    groups
        One label per sample, or None.
    refitted
        Whether models were fitted anew in each fold. On a test set the models stay as they are: nothing but Student's factor.
    classes
        Whether the target is a class. Welch's degrees of freedom then count how few samples (or groups) some class has.
    level
        The nominal coverage.
    """
    unit = np.arange(len(observed)) if groups is None else np.unique(groups, return_inverse=True)[1]
    df = len(np.unique(unit)) - 1
    if classes:
        n = np.array([len(np.unique(unit[observed == c])) for c in np.unique(observed)], dtype=float)
        df = min(df, (1 / n).sum() ** 2 / (1 / (n**2 * np.maximum(n - 1, 0.5))).sum())
    upper = (1 + level) / 2
    return float(t.ppf(upper, max(df, 1)) / norm.ppf(upper) * (np.sqrt(2) if refitted else 1.0))


def interval(
    metric: str,
    value: float,
    draws: np.ndarray,
    *,
    widen: float = 1.0,
    level: float = 0.95,
    centre: float | None = None,
) -> tuple[float, float]:
    """Lower and upper limit of a score.

    Parameters
    ----------
    metric
        Name of the score.
    value
        The estimate, which the interval always holds.
    draws
        The score in the weights of :meth:`Resamples.of` (means over repeats): the centre first, then the resamples.
    widen
        Of :func:`widening`.
    level
        The nominal coverage.
    centre
        The estimate that the draws belong to, where ``value`` is a corrected one: the interval moves with it.

    Returns
    -------
    Limits; NaN where the score is not defined.
    """
    if metric in CALIBRATION or not np.isfinite(value) or not np.isfinite(draws[0]):
        return np.nan, np.nan
    middle = _free(metric, draws[:1])[0]
    off = _free(metric, draws[1:][~np.isnan(draws[1:])]) - middle
    if not len(off):
        return np.nan, np.nan
    if metric in _REFLECTED:  # a resample's R2 is off from the study's as the study's is from the truth
        off = -off
    if centre is not None:
        middle = _free(metric, np.array([draws[0] + value - centre]))[0]
    limits = _back(metric, middle + widen * np.quantile(off, [(1 - level) / 2, (1 + level) / 2]))
    return float(min(limits[0], value)), float(max(limits[1], value))


def optimism(points: np.ndarray, draws: np.ndarray, of: np.ndarray, *, widen: float, seed: int = 0) -> float:
    """By how much a score of the best of k models is better than it will be, for its having been picked as the best.

    What separates the models' scores is part truth, part noise. The noise is known from the bootstrap (widened as the intervals
    are). How much of the differences it explains is averaged over, with a prior that is indifferent between all of it and none:
    empirical Bayes (Efron 2011, J Am Stat Assoc 106:1602). From that come true scores that the models may have; noise is added to
    them, the best is picked, and the noise of the one picked is the optimism, on average. A model that is far ahead is picked
    whatever the noise, and stays where it is.

    Out-of-bag estimates on the same out-of-fold predictions (BBC-CV) leave nearly half of the optimism where there is no signal: a
    sample that is not drawn has trained the models that predicted the drawn ones, and the other way round.

    Parameters
    ----------
    points
        The score by which was picked, of each model; more is better.
    draws
        The same in each resample, models x resamples (centre first, as of :meth:`Resamples.of`).
    of
        The score whose optimism is asked for, in the same resamples: models x resamples.
    widen
        Of :func:`widening`.
    seed
        Of the true scores that are drawn.

    Returns
    -------
    What is to be taken from the picked model's score (negative where less is better); 0 for one model.
    """
    k = len(points)
    seen = np.isfinite(draws).all(axis=0) & np.isfinite(of).all(axis=0)
    seen[0] = False
    if k < 2 or seen.sum() < 2 or not np.isfinite(points).all():
        return 0.0
    draws, of = draws[:, seen], of[:, seen]
    across = np.linalg.svd(np.eye(k) - 1 / k)[0][:, : k - 1]  # contrasts: what all models share picks none of them
    size, axes = np.linalg.eigh(np.atleast_2d(np.cov(across.T @ draws)) * widen**2)
    size, axes = np.maximum(size, _TINY), across @ axes
    x = axes.T @ points
    share = (_SHARES[1:] + _SHARES[:-1]) / 2
    truth = size.mean() * (1 / share - 1)  # the variance of the true scores, where noise has this share in the whole
    total = size + truth[:, None]
    log = -0.5 * (np.log(total) + x**2 / total).sum(axis=1)
    weight = np.exp(log - log.max()) * _PRIOR
    rng = np.random.default_rng(seed)
    at = rng.choice(len(share), draws.shape[1], p=weight / weight.sum())
    kept = truth[at, None] / total[at]
    possible = kept * x + np.sqrt(kept * size) * rng.normal(size=kept.shape)
    noise = widen * (draws - draws.mean(axis=1, keepdims=True))
    picked = (possible @ axes.T + noise.T).argmax(axis=1)
    off = widen * (of - of.mean(axis=1, keepdims=True))
    return float((off[picked, np.arange(len(picked))] - off.mean(axis=0)).mean())


def corrected(
    metric: str, value: float, of: np.ndarray, *, by: str, points: np.ndarray, draws: np.ndarray, widen: float
) -> float:
    """What a score of the best of k models is without its optimism.

    Of regression all is done on the free scale (log): there the variance of the target, which R2 divides by, is the same for
    all models and picks none.

    Parameters
    ----------
    metric, value, of
        Name of the score; that of the picked model; that of all models in each resample, models x resamples.
    by, points, draws
        The score by which was picked: name, of each model, and in each resample.
    widen
        Of :func:`widening`.
    """
    if by not in _REFLECTED:
        return value - optimism(points, draws, of, widen=widen)
    free = _free(metric, np.array([value]))
    return float(_back(metric, free - optimism(_free(by, points), _free(by, draws), _free(metric, of), widen=widen))[0])


def _free(metric: str, score: np.ndarray) -> np.ndarray:
    """On a scale without bounds."""
    if metric in _UNIT:
        return logit(np.clip(score, _TINY, 1 - _TINY))
    if metric in _SIGNED:
        return np.arctanh(np.clip(score, _TINY - 1, 1 - _TINY))
    if metric in _POSITIVE:
        return np.log(np.maximum(score, _TINY))
    return -np.log(np.maximum(1 - score, _TINY)) if metric == "r2" else score


def _back(metric: str, z: np.ndarray) -> np.ndarray:
    if metric in _UNIT:
        return expit(z)
    if metric in _SIGNED:
        return np.tanh(z)
    if metric in _POSITIVE:
        return np.exp(z)
    return 1 - np.exp(-z) if metric == "r2" else z
