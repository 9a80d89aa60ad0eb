"""SHAP of a model of genes, on genes that it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from .errors import AdditivityError
from .explainers import Background, explain_fitted, is_exact
from .fitting import bare
from .sampled import ROUNDS, orders_for
from .schema import additivity

MOST = 2000  # held-out genes explained exactly
MOST_SAMPLED = 100  # held-out genes explained by sampling, for models without an exact explainer
_TOLERANCE = 1e-5


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
    sampling_error
        Of sampled values, standard error relative to the size of a value (mean over predictors); 0 of exact ones.
    """

    model: str
    block: str
    per_predictor: pd.DataFrame
    values: pd.DataFrame
    base: float
    explainer: str
    sampling_error: float = 0.0


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
        against up to 100 training genes.

    Raises
    ------
    AdditivityError
        If the values do not add up to the predictions.
    """
    whole = bare(fitted)
    exact = is_exact(whole, X.to_numpy(float))
    rng = np.random.default_rng(seed)
    most = MOST if exact else MOST_SAMPLED
    rows = np.arange(len(X)) if len(X) <= most else np.sort(rng.permutation(len(X))[:most])
    part = X.iloc[rows]
    orders = orders_for(*part.shape)
    # no more training genes than orders allow for each gene: base is then the same for all genes
    drawn = background.iloc[rng.permutation(len(background))[: orders // ROUNDS]].to_numpy(float)

    def against(front: Any) -> Background:
        return Background(np.asarray(front.transform(drawn), dtype=float), orders, seed)

    made = explain_fitted(whole, part.to_numpy(float), "regression", f"unit of {target}", against)
    values, base = made.whole(part.shape[1])[:, :, 0], float(np.mean(made.base))
    error = 0.0 if made.error2 is None else float(np.sqrt(made.error2[:, :, 0].mean(axis=0)).sum())
    predicted = np.asarray(whole.predict(part.to_numpy(float)), dtype=float)
    off = additivity(base, values.sum(axis=1), np.abs(values).sum(axis=1), predicted)
    if off > _TOLERANCE:
        raise AdditivityError(f"SHAP values of {model!r} miss its predictions by up to {off:.2g} (relative).")
    frame = pd.DataFrame(values, index=part.index, columns=X.columns)
    size = float(np.abs(values).mean(axis=0).sum()) or 1.0
    return GeneExplanation(model, block, _per_predictor(frame, part), frame, base, made.explainer, error / size)


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
