"""What the performance figures need of a validation, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import get
from ..core.errors import ColumnNotFoundError, InputError, near
from ..core.metrics import WINNER, primary, score_predictions
from ..core.schema import prob_column
from ._style import distinct

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, eq=False)
class Results:
    """Stored results of one validation: of its cross-validation, or of its test set."""

    params: dict[str, Any]
    metrics: pd.DataFrame
    predictions: pd.DataFrame
    classes: tuple[str, ...]
    models: list[str]
    baselines: tuple[str, ...] = ()
    test: bool = False

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "classification" if self.classes else "regression"

    @property
    def best(self) -> str:
        """The model with the best primary metric."""
        return str(self.params.get("best", self.models[0]))

    def pick(self, model: str | None) -> str:
        """The model asked for, or the best."""
        if model is None:
            return self.best
        known = [*self.models, *self.baselines]
        if model not in known:
            raise InputError(f"model={model!r} was not validated.{near(model, known)}")
        return model

    def metric(self, metric: str | None) -> str:
        """The metric asked for, or the primary one."""
        known = list(dict.fromkeys(self.metrics["metric"]))
        if metric is None:
            return primary(self.task)
        if metric not in known:
            raise InputError(f"metric={metric!r} is not among the metrics.{near(metric, known)}")
        return metric

    def score(self, model: str, metric: str) -> pd.Series | None:
        """The row of one model and metric, or None."""
        rows = self.metrics[(self.metrics["model"] == model) & (self.metrics["metric"] == metric)]
        return None if rows.empty else rows.iloc[0]

    def repeats(self, model: str) -> list[pd.DataFrame]:
        """Predictions of one model, a frame for each repeat."""
        mine = self.predictions[self.predictions["model"].astype(str) == model]
        return [part for _, part in mine.groupby("repeat", observed=True)]

    def first_repeat(self, model: str, metric: str) -> float:
        """The score of the first repeat, which ran the same protocol as each permutation.

        For the corrected row it is the best score of any model, as in the null of that row.
        """
        from ..core.metrics import LOWER_IS_BETTER

        pick = min if metric in LOWER_IS_BETTER else max
        if "streamed" in self.params:  # one repeat, whose scores are of more samples than there are predictions
            rows = [self.score(name, metric) for name in (self.models if model == WINNER else [model])]
            return float(pick(row["value"] for row in rows if row is not None))
        first = self.predictions[self.predictions["repeat"] == self.predictions["repeat"].min()]
        samples = pd.Index(first["sample"].astype(str).unique())
        scores = score_predictions(first, self.classes, samples, np.ones((1, len(samples))))
        if model != WINNER:
            return float(scores[model, metric][0])
        return float(pick(scores[name, metric][0] for name in self.models))

    def named(self, width: int = 20) -> dict[str, str]:
        """Class -> how it is written, cut to ``width`` and yet different from every other class."""
        return dict(zip(self.classes, distinct(self.classes, width), strict=True))

    @property
    def where(self) -> str:
        """A line for titles: which samples, where they are those of the test set."""
        return f"test set, n = {self.predictions['sample'].nunique()}" if self.test else ""


def results(adata: AnnData, key: str, test: bool = False) -> Results:
    """The results under ``key``, or the error that names the call to make first; ``test``: of the held-out test set."""
    params = get.params(adata, key=key)
    table, predictions = get.metrics(adata, key=key, test=test), get.predictions(adata, key=key, test=test)
    if test:
        predictions = predictions.assign(repeat=0)
    classes = tuple(str(name) for name in params.get("classes", ()))
    baselines = tuple(str(name) for name in adata.uns[key].get("baselines", ()))
    there = list(dict.fromkeys(predictions["model"].astype(str)))
    order = [name for name in dict.fromkeys(table["model"]) if name in there] or there
    models = [name for name in order if name not in baselines]
    return Results(params, table, predictions, classes, models, baselines, test)


def classification(adata: AnnData, key: str, what: str, test: bool = False) -> Results:
    """As :func:`results`, for a figure that needs classes."""
    found = results(adata, key, test)
    if not found.classes:
        raise InputError(
            f"{what} needs classes; the results under {key!r} are a regression. "
            f"Use gb.pl.predicted(adata, key={key!r})."
        )
    return found


def scores_of(part: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Whether each sample is of class ``name``, and its out-of-fold probability of being so."""
    return (part["observed"].astype(str) == name).to_numpy(), part[prob_column(name)].to_numpy(float)


def expression(adata: AnnData, layer: str | None) -> Any:
    """``X`` or a layer; the results of :func:`geneml_bio.tl.stream` come without."""
    if layer is not None and layer not in adata.layers:
        raise ColumnNotFoundError(f"layer: no layer {layer!r}.{near(layer, list(filter(None, adata.layers)))}")
    stored = adata.X if layer is None else adata.layers[layer]
    if stored is None:
        raise InputError("This AnnData holds results without the expression they come from (adata.X is None).")
    return stored
