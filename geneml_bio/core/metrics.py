"""Everything derived from predictions: scores with their intervals, the winner's correction, the null beside them.

The scores themselves are in :mod:`geneml_bio.core.scores`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .baseline import COVARIATES_ONLY
from .calibration import calibration_intervals, share_interval
from .errors import InputError
from .intervals import corrected, interval, resamples, widening
from .schema import Validation, prob_column
from .scores import (
    CALIBRATION,
    CLASSIFICATION,
    LOWER_IS_BETTER,
    REGRESSION,
    better,
    classification_scores,
    mean_defined,
    primary,
    regression_scores,
)

__all__ = [
    "CALIBRATION",
    "CLASSIFICATION",
    "ENOUGH",
    "LOWER_IS_BETTER",
    "N_BOOT",
    "REGRESSION",
    "WINNER",
    "better",
    "classification_scores",
    "metric_names",
    "metrics_table",
    "primary",
    "regression_scores",
    "score_predictions",
    "test_table",
    "verdict",
]

WINNER = "best of k (corrected)"
N_BOOT = 1000
_MAX_WEIGHTS = 2_000_000  # resamples x samples held at a time: fewer resamples where there are many samples
ENOUGH = 19  # permutations with which p can reach 0.05
_NEED_ALL = frozenset({"balanced_accuracy", "roc_auc", "pr_auc", *CALIBRATION})  # undefined where a class is missing


@dataclass(frozen=True, eq=False)
class _Part:
    """Predictions of one model in one repeat, decoded; ``where``: their samples' columns of the weights."""

    model: str
    where: np.ndarray
    observed: np.ndarray
    made: np.ndarray


def _decode(predictions: pd.DataFrame, classes: tuple[str, ...], samples: pd.Index) -> list[_Part]:
    by = ["model", "repeat"] if "repeat" in predictions else ["model"]
    found = list(predictions.groupby(by, observed=True, sort=False))
    if len(by) > 1:
        found.sort(key=lambda item: item[0][1])  # the first repeat first
    parts = []
    for key, part in found:
        where = samples.get_indexer(pd.Index(part["sample"].astype(str)))
        if classes:
            observed = pd.Index(classes).get_indexer(pd.Index(part["observed"].astype(str)))
            made = part[[prob_column(name) for name in classes]].to_numpy(float)
        else:
            observed, made = part["observed"].to_numpy(float), part["predicted"].to_numpy(float)
        parts.append(_Part(str(key[0]), where, observed, made))
    return parts


Scores = dict[tuple[str, str], np.ndarray]


def _scores(parts: list[_Part], w: np.ndarray) -> Scores:
    """(model, metric) -> repeats x rows of weights."""
    out: dict[tuple[str, str], list[np.ndarray]] = {}
    for part in parts:
        score = classification_scores if part.made.ndim == 2 else regression_scores
        for metric, values in score(w[:, part.where], part.observed, part.made).items():
            out.setdefault((part.model, metric), []).append(values)
    return {key: np.array(values) for key, values in out.items()}


def score_predictions(predictions: pd.DataFrame, classes: tuple[str, ...], samples: pd.Index, w: np.ndarray) -> Scores:
    """(model, metric) -> score under each row of weights, averaged over the repeats in which it is defined.

    ``w`` is rows x ``samples``; a sample that a repeat did not hold out has no part in that repeat. Predictions without a
    column ``repeat`` (of a test set) are one repeat.
    """
    scores = _scores(_decode(predictions, classes, samples), w)
    return {key: mean_defined(values) for key, values in scores.items()}


def metrics_table(
    validation: Validation, *, groups: np.ndarray | None = None, n_boot: int = N_BOOT, level: float = 0.95
) -> pd.DataFrame:
    """Every metric of every model, with its interval and what permuted targets gave.

    A metric is computed on all samples that a repeat held out. Where folds are batches or donors left out one by one, some
    may hold one class only; ranks (ROC AUC, PR AUC) then compare probabilities of different models, which is what the
    models would be used for, but is affected by how each of them is calibrated.

    Parameters
    ----------
    validation
        The out-of-fold predictions.
    groups
        One label per sample, in the order of the first repeat of ``validation.folds``; whole groups are then resampled.
    n_boot
        Number of bootstrap resamples.
    level
        Coverage aimed at by ``low`` and ``high`` (:mod:`geneml_bio.core.intervals`): for the mean score, on new samples of
        the same population at the study's class shares, of the models that the validation fitted. A model of all samples
        is usually somewhat better.

    Returns
    -------
    Frame ``model metric value low high null_mean null_high p_value n_undefined n_folds_undefined``. ``value`` is the mean
    over the repeats in which the metric is defined; ``n_undefined`` counts the others (a calibration slope is not where the
    classes are separated). ``n_folds_undefined`` counts the folds of all repeats whose held-out part lacks a class, so that
    the metric could not be computed in them alone. ``null_high`` is the 95 % limit of the null on its better side.
    ``p_value = (1 + b) / (1 + B)`` with b the number of permutations at least as good as the first repeat, which ran the
    same protocol as each of the B permutations; a permutation in which the metric is not defined (a constant prediction has
    no correlation) is not as good. With more than one model, the rows ``best of k (corrected)`` give what choosing the best
    model deserves (:func:`geneml_bio.core.intervals.optimism`); their null is the best of k in each permutation. Baselines
    have rows of their own and no part in these. The calibration's slope and intercept describe: they have no null, no value
    in the corrected rows, and intervals by :func:`geneml_bio.core.calibration.calibration_intervals`.
    """
    classes, task, models = validation.classes, validation.task, validation.models
    samples = pd.Index(validation.folds.loc[validation.folds["repeat"] == 0, "sample"].astype(str))
    n = len(samples)
    n_boot, seed = max(200, min(n_boot, _MAX_WEIGHTS // n)), int(validation.spec.get("seed", 0))
    parts = _decode(validation.predictions, classes, samples)
    by_repeat = {key: values[:, 0] for key, values in _scores(parts, np.ones((1, n))).items()}
    once = {key: values[0] for key, values in by_repeat.items()}
    point = {key: float(mean_defined(values)) for key, values in by_repeat.items()}
    ends = _Ends.of(parts, n, groups, n_boot, seed, level, refitted=True)
    null = null_by_key(validation.null)
    folds = _folds_without_a_class(validation)
    rows = []
    for model in [*models, *validation.baselines]:
        for metric in metric_names(task):
            values = by_repeat[model, metric]
            row = _row(model, metric, point[model, metric], ends.of_model(model, metric, point[model, metric]))
            missing = {"n_undefined": int(np.isnan(values).sum()), "n_folds_undefined": folds * (metric in _NEED_ALL)}
            rows.append(row | beside_null(metric, once[model, metric], null.get((model, metric))) | missing)
    if len(models) > 1:
        for metric, (value, low_high) in ends.of_best(models, point, primary(task)).items():
            row = _row(WINNER, metric, value, low_high)
            best = float(best_of_each(metric, [np.array([once[model, metric]]) for model in models])[0])
            nulls = [null[model, metric] for model in models if (model, metric) in null]
            missing = {"n_undefined": 0, "n_folds_undefined": folds * (metric in _NEED_ALL)}
            rows.append(row | beside_null(metric, best, best_of_each(metric, nulls) if nulls else None) | missing)
    return pd.DataFrame(rows)


def test_table(
    validation: Validation,
    *,
    groups: np.ndarray | None = None,  # noqa: PT028
    n_boot: int = N_BOOT,  # noqa: PT028
    level: float = 0.95,  # noqa: PT028
) -> pd.DataFrame:
    """Every metric of every model on the test set, which no part of training or choosing has seen.

    Parameters
    ----------
    validation
        With the predictions of a test set.
    groups
        One label per sample of the test set, in the order in which ``validation.test`` first names them; whole groups are
        then resampled.
    n_boot, level
        Number of bootstrap resamples; coverage aimed at by ``low`` and ``high``.

    Returns
    -------
    Frame ``model metric value low high n``, of models and baselines; ``n`` samples. NaN where a metric is not defined, for
    a class is missing. The interval is that of these models' score in new samples (of accuracy Wilson's); how it would vary
    with other training samples is not in it. The best of several models on a test set is optimistic for having been picked there: choose by
    cross-validation.

    Raises
    ------
    InputError
        If no test set was held out.
    """
    if validation.test is None:
        raise InputError("No test set was held out; ask for one with test_size= or test_set=.")
    samples = pd.Index(validation.test["sample"].astype(str).unique())
    n = len(samples)
    n_boot, seed = max(200, min(n_boot, _MAX_WEIGHTS // n)), int(validation.spec.get("seed", 0))
    parts = _decode(validation.test, validation.classes, samples)
    point = {key: float(values[0, 0]) for key, values in _scores(parts, np.ones((1, n))).items()}
    ends = _Ends.of(parts, n, groups, n_boot, seed, level, refitted=False)
    shares = {part.model: _share_right(part, groups, level) for part in parts if validation.classes}
    rows = []
    for model in dict.fromkeys(part.model for part in parts):
        for metric in metric_names(validation.task):
            value = point[model, metric]
            limits = shares[model] if metric == "accuracy" else ends.of_model(model, metric, value)
            rows.append(_row(model, metric, value, limits) | {"n": n})
    return pd.DataFrame(rows)


def _share_right(part: _Part, groups: np.ndarray | None, level: float) -> tuple[float, float]:
    """The interval of accuracy in samples of a test set, which is a share of them."""
    right = part.made.argmax(axis=1) == part.observed
    return share_interval(right, None if groups is None else np.asarray(groups)[part.where], level)


def metric_names(task: str) -> tuple[str, ...]:
    """The metrics of a task, in the order of the tables."""
    return (*CLASSIFICATION, *CALIBRATION) if task == "classification" else REGRESSION


def verdict(
    table: pd.DataFrame,
    classes: tuple[str, ...],
    n_permutations: int,
    n_arrangements: float = np.inf,
    *,
    test: bool = False,
    batch_alone: float = np.nan,
) -> tuple[bool, str]:
    """Whether the models, taken together, are shown to predict better than chance; and that in words.

    Judged on the primary metric of the winner-corrected row (of the only model, where there is one). With 19 or more
    permutations, and groups that can be arranged in 20 or more ways, its p-value must be at most 0.05; otherwise its
    interval must lie above chance (1/K; R2 of 0). ``test``: there is a test set besides, and the words say that they are
    about the cross-validation. What covariates alone reach is said, too. ``batch_alone``: the balanced accuracy that a named
    batch reaches by itself, which takes the place of chance where permutations (within batches) have not tested it.
    """
    metric = primary("classification" if classes else "regression")
    rows = table[table["metric"] == metric].set_index("model")
    row = rows.loc[WINNER] if WINNER in rows.index else rows.iloc[0]
    chance = 1 / len(classes) if classes else 0.0
    p = row["p_value"]
    tested = n_permutations >= ENOUGH and n_arrangements > ENOUGH
    floor = chance if tested or not batch_alone > chance else batch_alone
    good = bool(row["value"] > chance and (p <= 0.05 if tested else row["low"] > floor))
    said = f"{metric.replace('_', ' ').replace('r2', 'R2')} {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"
    beside = (
        f", permuted targets {row['null_mean']:.2f}, p = {p:.3f}" if n_permutations else ", not tested by permutation"
    )
    if n_permutations and n_arrangements <= ENOUGH:
        beside += f" (there are only {n_arrangements:.0f} ways to arrange the classes: p cannot fall below {1 / n_arrangements:.2f})"
    elif 0 < n_permutations < ENOUGH:
        beside += f" ({n_permutations} permutations cannot tell; {ENOUGH} or more can)"
    if floor > chance:
        beside += f", batch alone {batch_alone:.2f}"
    if COVARIATES_ONLY in rows.index and rows.loc[COVARIATES_ONLY, "value"] > chance:
        beside += f", covariates alone {rows.loc[COVARIATES_ONLY, 'value']:.2f}"
    where = " in cross-validation" if test else ""
    if good and 0 < n_permutations < ENOUGH:
        return True, f"Above chance{where} by its interval: {said}{beside}."
    if good:
        return True, f"Better than chance{where}: {said}{beside}."
    return False, (
        f"Not shown to be better than {'batch' if floor > chance else 'chance'}{where}: {said}{beside}. The genes that these "
        "models use may explain predictions that do not hold; do not read them as biomarkers."
    )


def null_by_key(null: pd.DataFrame | None) -> dict[tuple[str, str], np.ndarray]:
    """(model, metric) -> its values on permuted targets."""
    if null is None:
        return {}
    return {
        (str(model), str(metric)): part.sort_values("permutation")["value"].to_numpy(float)
        for (model, metric), part in null.groupby(["model", "metric"], observed=True)
    }


def _folds_without_a_class(validation: Validation) -> int:
    """Folds, over all repeats, whose held-out part lacks a class."""
    if not validation.classes:
        return 0
    first = validation.predictions[validation.predictions["model"].astype(str) == validation.models[0]]
    seen = first.groupby(["repeat", "fold"], observed=True)["observed"].nunique()
    return int((seen < len(validation.classes)).sum())


def best_of_each(metric: str, values: list[np.ndarray]) -> np.ndarray:
    """The best of several models, element by element; NaN only where none is defined."""
    ranked = np.max([np.where(np.isnan(v), -np.inf, better(metric, v)) for v in values], axis=0)
    return better(metric, np.where(np.isinf(ranked), np.nan, ranked))


@dataclass(frozen=True, eq=False)
class _Ends:
    """What the intervals are made of: scores in resamples; of the calibration the intervals themselves."""

    draws: Scores
    calibration: dict[tuple[str, str], tuple[float, float]]
    widen: float
    level: float
    n_classes: int = 0

    @classmethod
    def of(
        cls, parts: list[_Part], n: int, groups: np.ndarray | None, n_boot: int, seed: int, level: float, refitted: bool
    ) -> _Ends:
        n_classes = parts[0].made.shape[1] if parts[0].made.ndim == 2 else 0
        drawn = resamples(n, n_classes, groups, n_boot, seed)
        observed = np.zeros(n)
        calibration: dict[tuple[str, str], tuple[float, float]] = {}
        draws: dict[tuple[str, str], list[np.ndarray]] = {}
        for part in parts:
            observed[part.where] = part.observed
            again = drawn.of(part.where, part.observed, part.made)
            scores = classification_scores(*again, calibration=False) if n_classes else regression_scores(*again)
            for metric, values in scores.items():
                draws.setdefault((part.model, metric), []).append(values)
        for model in dict.fromkeys(part.model for part in parts if n_classes):
            mine = [part for part in parts if part.model == model]
            repeats = [(p.observed, p.made, None if groups is None else np.asarray(groups)[p.where]) for p in mine]
            calibration |= {(model, name): ends for name, ends in calibration_intervals(repeats, level).items()}
        widen = widening(observed, groups, refitted=refitted, classes=n_classes > 0, level=level)
        return cls({key: mean_defined(np.array(v)) for key, v in draws.items()}, calibration, widen, level, n_classes)

    def of_model(self, model: str, metric: str, value: float, centre: float | None = None) -> tuple[float, float]:
        """Limits of a model's score; ``centre``: its score, where ``value`` is the one corrected for picking it."""
        if metric in CALIBRATION:
            return self.calibration[model, metric]
        low, high = interval(
            metric, value, self.draws[model, metric], widen=self.widen, level=self.level, centre=centre
        )
        worst = {"brier": 1.0 if self.n_classes == 2 else 2.0}.get(metric, np.inf)  # each sample certain, and wrong
        return low, min(high, max(worst, value))

    def of_best(
        self, models: list[str], point: dict[tuple[str, str], float], by: str
    ) -> dict[str, tuple[float, tuple[float, float]]]:
        """Metric -> what the model that is best ``by`` a metric deserves, and its limits; of the calibration nothing."""
        known = [name for name in models if np.isfinite(point[name, by])]
        out = {metric: (np.nan, (np.nan, np.nan)) for _, metric in point}
        if not known:
            return out
        picked_by = np.array([point[name, by] for name in known])
        best = int(picked_by.argmax())
        draws = np.array([self.draws[name, by] for name in known])
        for metric in out:
            if metric not in CALIBRATION:
                of = np.array([self.draws[name, metric] for name in known])
                centre = point[known[best], metric]
                value = corrected(metric, centre, of, by=by, points=picked_by, draws=draws, widen=self.widen)
                out[metric] = value, self.of_model(known[best], metric, value, centre)
        return out


def _row(model: str, metric: str, value: float, ends: tuple[float, float]) -> dict[str, object]:
    return {"model": model, "metric": metric, "value": value, "low": ends[0], "high": ends[1]}


def beside_null(metric: str, observed: float, null: np.ndarray | None) -> dict[str, object]:
    """The null's mean and limit, and the p-value of what was observed."""
    out: dict[str, object] = {"null_mean": np.nan, "null_high": np.nan, "p_value": np.nan}
    if null is None or metric in CALIBRATION or np.isnan(null).all():
        return out
    ranked = np.where(np.isnan(null), -np.inf, better(metric, null))
    limit = np.quantile(ranked, 0.95, method="higher" if np.isinf(ranked).any() else "linear")
    limit = better(metric, np.where(np.isinf(limit), np.nan, limit))
    if not np.isnan(observed):
        reached = float(better(metric, np.array(observed)))
        out["p_value"] = (1 + int((ranked >= reached - 1e-12).sum())) / (1 + len(ranked))
    return out | {"null_mean": float(np.nanmean(null)), "null_high": float(limit)}
