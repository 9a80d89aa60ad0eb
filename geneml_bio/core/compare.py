"""Is one model better than another? Differences between their fold scores, tested with the overlap of folds in mind."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from .baseline import COVARIATES_ONLY
from .pvalues import adjust
from .schema import Validation, prob_column
from .scores import LOWER_IS_BETTER, ratio

_EPS = np.finfo(float).eps
COLUMNS = (
    *("metric", "model_a", "model_b", "difference", "low", "high", "t", "df", "p_value", "adj.P.Val"),
    *("n_folds", "n_undefined"),
)


def corrected_t(difference: np.ndarray, test_to_train: float, *, level: float = 0.95) -> dict[str, float]:
    """Nadeau and Bengio's corrected resampled t test (2003, Mach Learn 52:239).

    Fold scores share training samples: their differences vary together, and var / J is far too small a variance for the
    mean of J of them. Here it is (1 / J + n_test / n_train) * var.

    Parameters
    ----------
    difference
        One value a fold, of J folds (over all repeats).
    test_to_train
        n_test / n_train.
    level
        Coverage of the interval.

    Returns
    -------
    ``difference low high t df p_value``. No differences at all: t = 0 and p = 1. With fewer than two folds, or where all
    differ by the same amount, there is nothing to judge the mean by: NaN.
    """
    n = len(difference)
    mean = float(difference.mean()) if n else np.nan
    out = {
        "difference": mean,
        "low": np.nan,
        "high": np.nan,
        "t": np.nan,
        "df": float(max(n - 1, 0)),
        "p_value": np.nan,
    }
    if n < 2:
        return out
    if not difference.any():
        return out | {"low": 0.0, "high": 0.0, "t": 0.0, "p_value": 1.0}
    spread = float(np.std(difference, ddof=1))
    if spread <= 1e-12 * abs(mean):
        return out
    error = spread * float(np.sqrt(1 / n + test_to_train))
    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, n - 1))
    return out | {"low": mean - half, "high": mean + half, "t": mean / error, "p_value": p}


def comparisons(validation: Validation, *, level: float = 0.95) -> pd.DataFrame:
    """Every pair of models, and every model against what the covariates predict alone.

    Each fold is scored by balanced accuracy and log loss, or by R2 (against the variance of all samples: a fold has too
    few for one of its own) and RMSE; :func:`corrected_t` then tests the differences of two models over the same folds.
    The correction assumes that test parts are drawn at random; of batches left out one by one, which may differ from each
    other more than that, it is an approximation. Samples that were kept out of training because their donor is in the
    held-out batch count as training samples.

    Parameters
    ----------
    validation
        The out-of-fold predictions.
    level
        Coverage of ``low`` and ``high`` (for a single comparison).

    Returns
    -------
    Frame ``metric model_a model_b difference low high t df p_value adj.P.Val n_folds n_undefined``. A difference above 0
    says that ``model_a`` is the better one, also where lower values are better. ``adj.P.Val`` is Holm's within a metric.
    ``n_folds`` counts the folds compared (over all repeats), ``n_undefined`` those left out because a class is missing in
    their held-out part, where balanced accuracy is not defined. Empty with one model and no baselines.
    """
    pairs = list(combinations(validation.models, 2))
    if COVARIATES_ONLY in validation.baselines:
        others = [*validation.models, *(name for name in validation.baselines if name != COVARIATES_ONLY)]
        pairs += [(name, COVARIATES_ONLY) for name in others]
    if not pairs:
        return pd.DataFrame(columns=list(COLUMNS))
    rows: list[dict[str, object]] = []
    scores, size = _scores_by_fold(validation)
    for metric, table in scores.items():
        sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
        for a, b in pairs:
            delta = sign * (table[a] - table[b])
            known = np.isfinite(delta)
            own: dict[str, object] = {"metric": metric, "model_a": a, "model_b": b}
            tested = corrected_t(delta[known], float(size[known].mean()) if known.any() else np.nan, level=level)
            rows.append(own | tested | {"n_folds": int(known.sum()), "n_undefined": int((~known).sum())})
    out = pd.DataFrame(rows)
    out["adj.P.Val"] = out.groupby("metric", sort=False)["p_value"].transform(lambda p: adjust(p.to_numpy(), "holm"))
    return out[list(COLUMNS)]


def _scores_by_fold(validation: Validation) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """Metric -> model -> score of each fold; and n_test / n_train of each fold."""
    frame, classes = validation.predictions, validation.classes
    fold = frame.groupby(["repeat", "fold"], observed=True).ngroup().to_numpy()
    run = frame.groupby("repeat", observed=True).ngroup().to_numpy()
    run_of = np.zeros(fold.max() + 1, dtype=int)
    run_of[fold] = run
    scores: dict[str, dict[str, np.ndarray]] = {}
    size = np.zeros(len(run_of))
    for model, rows in frame.groupby("model", observed=True, sort=False).indices.items():
        part, where = frame.iloc[rows], fold[rows]
        n = np.bincount(where, minlength=len(run_of))
        if classes:
            observed = pd.Index(classes).get_indexer(pd.Index(part["observed"].astype(str)))
            made = _class_scores(where, n, observed, part[[prob_column(name) for name in classes]].to_numpy(float))
        else:
            made = _number_scores(where, n, run_of, part["observed"].to_numpy(float), part["predicted"].to_numpy(float))
        for metric, values in made.items():
            scores.setdefault(metric, {})[str(model)] = values
        size = ratio(n, np.bincount(run[rows])[run_of] - n)
    return scores, size


def _class_scores(fold: np.ndarray, n: np.ndarray, observed: np.ndarray, prob: np.ndarray) -> dict[str, np.ndarray]:
    k = prob.shape[1]
    cell = fold * k + observed
    right = (prob.argmax(axis=1) == observed).astype(float)
    recall = ratio(np.bincount(cell, right, minlength=len(n) * k), np.bincount(cell, minlength=len(n) * k))
    loss = -np.log(np.maximum(prob[np.arange(len(prob)), observed], _EPS))
    return {
        "balanced_accuracy": recall.reshape(-1, k).mean(axis=1),
        "log_loss": ratio(np.bincount(fold, loss, minlength=len(n)), n),
    }


def _number_scores(
    fold: np.ndarray, n: np.ndarray, run_of: np.ndarray, observed: np.ndarray, predicted: np.ndarray
) -> dict[str, np.ndarray]:
    run = run_of[fold]
    centred = observed - ratio(np.bincount(run, observed), np.bincount(run))[run]
    spread = ratio(np.bincount(run, centred**2), np.bincount(run))
    mse = ratio(np.bincount(fold, (observed - predicted) ** 2, minlength=len(n)), n)
    return {"r2": 1 - ratio(mse, spread[run_of]), "rmse": np.sqrt(mse)}
