"""The scores of all samples beside the intervals of those that were sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from .metrics import WINNER, beside_null, best_of_each, null_by_key, primary
from .schema import Validation
from .scores import mean_defined


def of_all(
    table: pd.DataFrame, repeats: Sequence[Mapping[tuple[str, str], float]], validation: Validation
) -> pd.DataFrame:
    """A table of metrics of a sample with the scores of all in it; the intervals are those of the sample.

    Parameters
    ----------
    table
        From :func:`geneml_bio.core.metrics.metrics_table` or ``test_table``.
    repeats
        Of all samples, in each repeat: (model, metric) -> value.
    validation
        With the null of all samples, beside which the scores are put; and the task.

    Returns
    -------
    The table. The row that corrects for picking the best model differs from the score of that model as it did in the sample.
    """
    table = table.copy()
    once = repeats[0]  # whose protocol is that of a permutation
    every = {key: np.array([scores[key] for scores in repeats]) for key in once}
    scores = {key: float(mean_defined(values)) for key, values in every.items()}
    null, models = null_by_key(validation.null), validation.models
    by = primary(validation.task)
    winner = max(models, key=lambda name: np.nan_to_num(scores[name, by], nan=-np.inf))
    sampled = table.set_index(["model", "metric"])["value"]
    picked = max(models, key=lambda name: np.nan_to_num(sampled[name, by], nan=-np.inf))
    for i, (model, metric) in enumerate(zip(table["model"].astype(str), table["metric"].astype(str), strict=True)):
        row = table.index[i]
        if model == WINNER:
            table.loc[row, "value"] += scores[winner, metric] - sampled[picked, metric]
            observed = float(best_of_each(metric, [np.array([once[name, metric]]) for name in models])[0])
            nulls = [null[name, metric] for name in models if (name, metric) in null]
            chance = best_of_each(metric, nulls) if nulls else None
        else:
            table.loc[row, "value"], observed = scores[model, metric], once[model, metric]
            if "n_undefined" in table:
                table.loc[row, "n_undefined"] = int(np.isnan(every[model, metric]).sum())
            chance = null.get((model, metric))
        if "p_value" in table:
            for name, value in beside_null(metric, observed, chance).items():
                table.loc[row, name] = value
    table["low"] = np.minimum(table["low"], table["value"])  # NaN stays
    table["high"] = np.maximum(table["high"], table["value"])
    return table
