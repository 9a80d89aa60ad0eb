"""Everything derived from predictions: scores, bootstrap intervals, the winner's correction, the null beside them.

The scores themselves are in :mod:`geneml_bio.core.scores`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .schema import Validation, prob_column
from .scores import (
    CLASSIFICATION,
    LOWER_IS_BETTER,
    REGRESSION,
    better,
    classification_scores,
    primary,
    regression_scores,
)

__all__ = [
    "CLASSIFICATION",
    "ENOUGH",
    "LOWER_IS_BETTER",
    "N_BOOT",
    "REGRESSION",
    "WINNER",
    "better",
    "bootstrap_weights",
    "classification_scores",
    "metrics_table",
    "primary",
    "regression_scores",
    "score_predictions",
    "verdict",
    "winner",
]

WINNER = "best of k (corrected)"
N_BOOT = 2000
_MAX_WEIGHTS = 20_000_000  # resamples x samples held at a time: fewer resamples where there are many samples
ENOUGH = 19  # permutations with which p can reach 0.05


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
