"""DE evidence + model evidence -> one table. The only place where the two streams meet."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .errors import InputError

DE_COLUMNS = ("logFC", "AveExpr", "t", "F", "LR", "P.Value", "adj.P.Val", "B")


def biomarker_table(
    features: pd.Index,
    *,
    de: pd.DataFrame | None = None,
    shap: pd.DataFrame | None = None,
    frequency: pd.Series | None = None,
    alpha: float = 0.05,
    min_frequency: float = 0.5,
    n_used: int = 100,
) -> pd.DataFrame:
    """One row a gene, with what limma says of it, what the models made of it, and a class in plain words.

    Parameters
    ----------
    features
        Genes of the study.
    de
        DE statistics in limma's columns, by gene; or None.
    shap
        ``shap shap_rank direction n_models`` by gene, from held-out samples; or None.
    frequency
        Share of folds whose screen chose the gene; or None.
    alpha
        A gene is DE where ``adj.P.Val`` is at most this.
    min_frequency
        A used gene chosen in a smaller share of folds is called unstable.
    n_used
        A gene is used where it is among this many with the largest mean absolute SHAP (and has any).

    Returns
    -------
    Frame by gene, the strongest first: ``rank class`` · DE columns as given · ``shap shap_rank direction agreement
    selection_frequency n_models``. ``agreement`` (of used genes) compares the sign of logFC with
    the direction in the model. Ordered by
    mean absolute SHAP, genes without any by p-value. Evidence that is missing is NaN, and no class supposes it: a used gene
    without an ``adj.P.Val`` is ``"used, DE unknown"``.
    """
    if de is None and shap is None:
        raise InputError("A biomarker table needs DE evidence, model evidence, or both; got neither.")
    if not 0 < alpha <= 1 or not 0 <= min_frequency <= 1:
        raise InputError(f"alpha must be in (0, 1] and min_frequency in [0, 1]; got {alpha} and {min_frequency}.")
    table = pd.DataFrame(index=features)
    if de is not None:
        for name in [name for name in DE_COLUMNS if name in de.columns]:
            table[name] = de[name].reindex(features).to_numpy(float)
    if shap is not None:
        for name in ("shap", "shap_rank", "direction", "n_models"):
            table[name] = shap[name].reindex(features).to_numpy(float)
    if frequency is not None:
        table["selection_frequency"] = frequency.reindex(features).to_numpy(float)
    adjusted = table["adj.P.Val"] if "adj.P.Val" in table else pd.Series(np.nan, index=features)
    is_de, unknown = adjusted <= alpha, adjusted.isna()
    used = _used(table, n_used)
    unstable = used & (table["selection_frequency"] < min_frequency) if "selection_frequency" in table else used & False
    table["class"] = np.select(
        [unstable, used & is_de, used & unknown, used, is_de & ~used if shap is not None else is_de & False],
        ["unstable", "DE and used", "used, DE unknown", "used, not DE", "DE, unused"],
        default="",
    )
    table["agreement"] = _agreement(table, used)
    table = _ordered(table)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    front = ["rank", "class"]
    back = [n for n in ("shap", "shap_rank", "direction", "agreement", "selection_frequency", "n_models") if n in table]
    middle = [n for n in table.columns if n not in front + back]
    return table[front + middle + back]


def _used(table: pd.DataFrame, n_used: int) -> pd.Series:
    if "shap" not in table:
        return pd.Series(False, index=table.index)
    return (table["shap"] > 0) & (table["shap_rank"] <= n_used)


def _agreement(table: pd.DataFrame, used: pd.Series) -> np.ndarray:
    """Whether expression goes with the positive class in the same direction in limma and in the model, of used genes."""
    if "logFC" not in table or "direction" not in table:
        return np.full(len(table), "", dtype=object)
    product = (np.sign(table["logFC"]) * table["direction"]).where(used, 0)
    return np.select([product > 0, product < 0], ["agree", "conflict"], default="").astype(object)


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    by, ascending = [], []
    if "shap" in table:
        by, ascending = ["shap"], [False]
    if "P.Value" in table:
        by, ascending = [*by, "P.Value"], [*ascending, True]
    return table.sort_values(by, ascending=ascending, kind="stable") if by else table
