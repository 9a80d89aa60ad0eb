"""SHAP of a model of genes, on genes that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .errors import AdditivityError
from .explainers import explain_fitted, has_explainer
from .fitting import bare

MOST = 2000  # held-out genes explained exactly
MOST_SAMPLED = 100  # held-out genes explained by sampling, for models without an exact explainer
_BACKGROUND = 25
_ORDERS, _FEW_ORDERS, _MANY = 4, 1, 40  # orders of predictors; with more than 40 predictors
_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class GeneExplanation:
    """What a model of genes goes by.

    Parameters
    ----------
    model, block
        The model explained.
    per_predictor
        ``predictor shap share rho direction``, the strongest first: mean absolute SHAP value (unit of the target), its share of
        all, and Spearman's correlation of the predictor with its SHAP values: above 0, more of it predicts more.
    values
        SHAP values, held-out genes x predictors.
    base
        What is predicted on average; ``base + values.sum(axis=1)`` is the prediction of a gene.
    explainer
        How: exact, or sampled.
    """

    model: str
    block: str
    per_predictor: pd.DataFrame
    values: pd.DataFrame
    base: float
    explainer: str


def explain_genes(
    fitted: Any, model: str, block: str, X: pd.DataFrame, background: pd.DataFrame, target: str, *, seed: int
) -> GeneExplanation:
    """Explain a fitted model on held-out genes.

    Parameters
    ----------
    fitted
        The pipeline.
    model, block, target
        Their names.
    X, background
        Held-out genes, and training genes, x predictors. Of many held-out genes a random part is explained: 2,000, or 100 where
        the model has no exact explainer (neighbours, kernels, networks), whose values are sampled over orders of predictors
        against 25 training genes.

    Raises
    ------
    AdditivityError
        If the values do not add up to the predictions.
    """
    whole = bare(fitted)
    exact = has_explainer(whole.named_steps["model"])
    rng = np.random.default_rng(seed)
    most = MOST if exact else MOST_SAMPLED
    rows = np.arange(len(X)) if len(X) <= most else np.sort(rng.permutation(len(X))[:most])
    part = X.iloc[rows]
    if exact:
        made = explain_fitted(whole, part.to_numpy(float), "regression", f"unit of {target}")
        values, base, explainer = made.whole(part.shape[1])[:, :, 0], float(np.mean(made.base)), made.explainer
    else:
        drawn = background.iloc[rng.permutation(len(background))[:_BACKGROUND]].to_numpy(float)
        values, base = _sampled(whole, part.to_numpy(float), drawn, seed)
        explainer = f"sampled orders of predictors (background of {len(drawn)} training genes)"
    predicted = np.asarray(whole.predict(part.to_numpy(float)), dtype=float)
    off = float(np.max(np.abs(base + values.sum(axis=1) - predicted) / np.maximum(1.0, np.abs(predicted)), initial=0.0))
    if off > _TOLERANCE:
        raise AdditivityError(f"SHAP values of {model!r} miss its predictions by up to {off:.2g} (relative).")
    frame = pd.DataFrame(values, index=part.index, columns=X.columns)
    return GeneExplanation(model, block, _per_predictor(frame, part), frame, base, explainer)


def _sampled(whole: Any, X: np.ndarray, background: np.ndarray, seed: int) -> tuple[np.ndarray, float]:
    """SHAP by random orders of the predictors, each taken forwards and backwards (Castro et al. 2009, Comput Oper Res 36:1726)."""
    n, p = X.shape
    k = len(background)
    rng = np.random.default_rng(seed)
    base = float(np.mean(whole.predict(background)))
    values = np.zeros((n, p))
    orders = _ORDERS if p <= _MANY else _FEW_ORDERS
    for _ in range(orders):
        order = rng.permutation(p)
        for path in (order, order[::-1]):
            mixed = np.tile(background, (n, 1))  # k rows a gene
            before = np.full(n, base)
            for column in path:
                mixed[:, column] = np.repeat(X[:, column], k)
                after = np.asarray(whole.predict(mixed), dtype=float).reshape(n, k).mean(axis=1)
                values[:, column] += after - before
                before = after
    return values / (2 * orders), base


def _per_predictor(values: pd.DataFrame, X: pd.DataFrame) -> pd.DataFrame:
    size = values.abs().mean(axis=0).to_numpy(float)
    rho = np.zeros(len(size))
    for at, name in enumerate(values.columns):
        x, v = X.iloc[:, at].to_numpy(float), values[name].to_numpy(float)
        known = np.isfinite(x)
        if known.sum() > 2 and np.ptp(x[known]) > 0 and np.ptp(v[known]) > 0:
            rho[at] = float(stats.spearmanr(x[known], v[known]).statistic)
    frame = pd.DataFrame({"predictor": values.columns, "shap": size, "share": size / (size.sum() or 1.0), "rho": rho})
    frame["direction"] = np.sign(frame["rho"]).astype(int)
    return frame.sort_values("shap", ascending=False, kind="stable").reset_index(drop=True)
