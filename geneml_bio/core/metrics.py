"""Everything derived from predictions: scores, bootstrap intervals, the winner's correction, the null beside them.

All metrics are written as functions of sample weights, so that one vectorised pass serves the point estimate (weights
one), every bootstrap resample (weights = how often a sample was drawn) and the out-of-bag estimate (weights 0 or 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from .schema import Validation, prob_column

CLASSIFICATION = ("balanced_accuracy", "accuracy", "mcc", "f1", "roc_auc", "pr_auc", "brier", "log_loss")
REGRESSION = ("r2", "rmse", "mae", "mse", "spearman")
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "rmse", "mae", "mse"})
WINNER = "best of k (corrected)"
N_BOOT = 2000
_MAX_WEIGHTS = 20_000_000  # resamples x samples held at a time: fewer resamples where there are many samples
ENOUGH = 19  # permutations with which p can reach 0.05
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


# -- a whole validation ------------------------------------------------------------------------------------------------


def score_predictions(
    predictions: pd.DataFrame, classes: tuple[str, ...], samples: pd.Index, w: np.ndarray, *, left_out: bool = False
) -> dict[tuple[str, str], np.ndarray]:
    """(model, metric) -> score under each row of weights, averaged over repeats.

    ``w`` is resamples x ``samples``; a sample that a repeat did not hold out has no part in that repeat.
    ``left_out``: the weights pick few samples; R2 is then measured against the variance of all.
    """
    out: dict[tuple[str, str], list[np.ndarray]] = {}
    for (model, _), part in predictions.groupby(["model", "repeat"], observed=True, sort=False):
        where = samples.get_indexer(pd.Index(part["sample"].astype(str)))
        if classes:
            observed = pd.Index(classes).get_indexer(pd.Index(part["observed"].astype(str)))
            scores = classification_scores(
                w[:, where], observed, part[[prob_column(name) for name in classes]].to_numpy(float)
            )
        else:
            observed = part["observed"].to_numpy(float)
            spread = float(observed.var()) if left_out else None
            scores = regression_scores(w[:, where], observed, part["predicted"].to_numpy(float), spread=spread)
        for metric, values in scores.items():
            out.setdefault((str(model), metric), []).append(values)
    return {key: np.mean(values, axis=0) for key, values in out.items()}


def bootstrap_weights(n: int, groups: np.ndarray | None, n_boot: int, seed: int) -> np.ndarray:
    """How often each sample is drawn in each bootstrap resample of samples, or of whole groups."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return rng.multinomial(n, np.full(n, 1 / n), size=n_boot).astype(float)
    code, names = pd.factorize(groups)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=n_boot)
    return drawn[:, code].astype(float)


def winner(
    inside: dict[tuple[str, str], np.ndarray], outside: dict[tuple[str, str], np.ndarray], models: list[str], task: str
) -> dict[str, np.ndarray]:
    """Bootstrap bias-corrected estimate of "the best of k models" (BBC-CV; Tsamardinos et al. 2018, Mach Learn 107:1895).

    In each resample the model that is best on the drawn samples is scored on the samples not drawn.
    """
    chosen_by = primary(task)
    table = np.array([np.nan_to_num(inside[model, chosen_by], nan=-np.inf) for model in models])
    best = table.argmax(axis=0)
    metrics = CLASSIFICATION if task == "classification" else REGRESSION
    return {
        metric: np.array([outside[model, metric] for model in models])[best, np.arange(len(best))] for metric in metrics
    }


def metrics_table(
    validation: Validation, *, groups: np.ndarray | None = None, n_boot: int = N_BOOT, level: float = 0.95
) -> pd.DataFrame:
    """Every metric of every model, with its interval and what permuted targets gave.

    Parameters
    ----------
    validation
        The out-of-fold predictions.
    groups
        One label per sample, in the order of the first repeat of ``validation.folds``; whole groups are then resampled.
    n_boot
        Number of bootstrap resamples.
    level
        Coverage aimed at by ``low`` and ``high`` (percentiles). Predictions are resampled, models are not refitted:
        with few samples the intervals are somewhat too narrow.

    Returns
    -------
    Frame ``model metric value low high null_mean null_high p_value``. ``value`` is the mean over repeats. ``null_high``
    is the 95 % limit of the null on its better side. ``p_value = (1 + b) / (1 + B)`` with b the number of permutations at
    least as good as the first repeat, which ran the same protocol as each of the B permutations. With more than one
    model, the rows ``best of k (corrected)`` give what choosing the best model deserves (BBC-CV); their null is the best
    of k in each permutation.
    """
    classes, task, models = validation.classes, validation.task, validation.models
    samples = pd.Index(validation.folds.loc[validation.folds["repeat"] == 0, "sample"].astype(str))
    n = len(samples)
    n_boot = max(200, min(n_boot, _MAX_WEIGHTS // n))
    w = bootstrap_weights(n, groups, n_boot, int(validation.spec.get("seed", 0)))
    point = score_predictions(validation.predictions, classes, samples, np.ones((1, n)))
    boot = score_predictions(validation.predictions, classes, samples, w)
    first = validation.predictions[validation.predictions["repeat"] == 0]
    once = {key: v[0] for key, v in score_predictions(first, classes, samples, np.ones((1, n))).items()}
    null = _null_by_key(validation.null)
    metrics = CLASSIFICATION if task == "classification" else REGRESSION
    rows = [
        _row(model, metric, float(point[model, metric][0]), boot[model, metric], once[model, metric], null, level)
        for model in models
        for metric in metrics
    ]
    if len(models) > 1:
        none = (w == 0).astype(float)
        outside = score_predictions(validation.predictions, classes, samples, none, left_out=True)
        for metric, values in winner(boot, outside, models, task).items():
            sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
            best = sign * max(sign * once[model, metric] for model in models)
            stacked = [sign * null[model, metric] for model in models if (model, metric) in null]
            best_null = {(WINNER, metric): sign * np.max(stacked, axis=0)} if stacked else {}
            rows.append(_row(WINNER, metric, float(np.nanmean(values)), values, best, best_null, level))
    return pd.DataFrame(rows)


def verdict(
    table: pd.DataFrame, classes: tuple[str, ...], n_permutations: int, n_arrangements: float = np.inf
) -> tuple[bool, str]:
    """Whether the models, taken together, are shown to predict better than chance; and that in words.

    Judged on the primary metric of the winner-corrected row (of the only model, where there is one). With 19 or more
    permutations, and groups that can be arranged in 20 or more ways, its p-value must be at most 0.05; otherwise its
    interval must lie above chance (1/K; R2 of 0).
    """
    metric = primary("classification" if classes else "regression")
    rows = table[table["metric"] == metric].set_index("model")
    row = rows.loc[WINNER] if WINNER in rows.index else rows.iloc[0]
    chance = 1 / len(classes) if classes else 0.0
    p = row["p_value"]
    tested = n_permutations >= ENOUGH and n_arrangements > ENOUGH
    good = bool(row["value"] > chance and (p <= 0.05 if tested else row["low"] > chance))
    said = f"{metric.replace('_', ' ').replace('r2', 'R2')} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    beside = (
        f", permuted targets {row['null_mean']:.2f}, p = {p:.3f}" if n_permutations else ", not tested by permutation"
    )
    if n_permutations and n_arrangements <= ENOUGH:
        beside += f" (there are only {n_arrangements:.0f} ways to arrange the classes: p cannot fall below {1 / n_arrangements:.2f})"
    elif 0 < n_permutations < ENOUGH:
        beside += f" ({n_permutations} permutations cannot tell; {ENOUGH} or more can)"
    if good:
        return True, f"Better than chance: {said}{beside}."
    return False, (
        f"Not shown to be better than chance: {said}{beside}. The genes that these models use may explain predictions "
        "that do not hold; do not read them as biomarkers."
    )


def _null_by_key(null: pd.DataFrame | None) -> dict[tuple[str, str], np.ndarray]:
    if null is None:
        return {}
    return {
        (str(model), str(metric)): part.sort_values("permutation")["value"].to_numpy(float)
        for (model, metric), part in null.groupby(["model", "metric"], observed=True)
    }


def _row(
    model: str,
    metric: str,
    value: float,
    boot: np.ndarray,
    observed: float,
    null: dict[tuple[str, str], np.ndarray],
    level: float,
) -> dict[str, object]:
    seen = boot[np.isfinite(boot)]
    low, high = np.quantile(seen, [(1 - level) / 2, (1 + level) / 2]) if len(seen) else (np.nan, np.nan)
    row = {"model": model, "metric": metric, "value": value, "low": float(low), "high": float(high)}
    values = null.get((model, metric))
    if values is None:
        return row | {"null_mean": np.nan, "null_high": np.nan, "p_value": np.nan}
    ranked, reached = better(metric, values), float(better(metric, np.array(observed)))
    limit = float(np.quantile(ranked, 0.95)) * (-1 if metric in LOWER_IS_BETTER else 1)
    p = (1 + int((ranked >= reached - 1e-12).sum())) / (1 + len(ranked))
    return row | {"null_mean": float(values.mean()), "null_high": limit, "p_value": p}
