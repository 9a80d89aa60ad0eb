"""What streamed work gives: predictions of every row, collected as they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from .baseline import BASELINES
from .discoveries import Discoveries
from .scores import classification_scores, regression_scores
from .streamed_part import Job

Scores = dict[tuple[str, str], float]  # (model, metric) -> value


@dataclass(frozen=True, eq=False)
class Streamed:
    """Predictions of every row by models that have not seen it (NaN where it took no part), and the fitted pipelines.

    Parameters
    ----------
    predictions
        Model (with covariates: and baseline) -> rows x classes (probabilities), or rows; mean over repeats.
    shown, repeats
        Some rows; of each repeat, model -> predictions of these.
    scores
        Of each repeat, of all rows.
    fitted
        Pipelines by ``(repeat, fold, model)``, as :mod:`geneml_bio.core.validate` fits them; repeat and fold -1: of the test set.
    screens, tuned
        As in :class:`geneml_bio.Validation`, with ``column`` in place of the name of a gene.
    null, discoveries
        Of permuted targets, or None.
    """

    predictions: dict[str, np.ndarray]
    shown: np.ndarray
    repeats: list[dict[str, np.ndarray]]
    scores: list[Scores]
    fitted: dict[tuple[int, int, str], BaseEstimator]
    screens: pd.DataFrame
    tuned: pd.DataFrame
    null: pd.DataFrame | None = None
    discoveries: Discoveries | None = field(default=None, repr=False)


def kept_as(job: Job) -> type[np.floating]:
    """Of what is kept of predictions: of probabilities, seven digits; numbers may be far from 0."""
    return np.float32 if job.n_classes else np.float64


def scores_of(job: Job, rows: np.ndarray, predictions: dict[str, np.ndarray]) -> Scores:
    """Every score of each model in some rows."""
    ones, out = np.ones((1, len(rows))), {}
    score: Any = classification_scores if job.n_classes else regression_scores
    for model, values in predictions.items():
        for metric, value in score(ones, job.y[rows], values[rows].astype(float)).items():
            out[model, metric] = float(value[0])
    return out


class Collected:
    """Takes in the predictions of held-out parts, repeat by repeat, and then those of the test set.

    Of one repeat at a time all predictions are held, so that memory does not grow with the number of repeats.
    """

    def __init__(self, job: Job, n_repeats: int, shown: np.ndarray) -> None:
        self.job, self.n_repeats, self.shown = job, n_repeats, shown
        self.names = [c.name for c in job.models] + ([] if job.covariates is None else list(BASELINES))
        self.now = self._empty()
        self.mean = self.now
        self.left = job.n_folds * len(self.names)
        self.repeats: list[dict[str, np.ndarray]] = []
        self.scores: list[Scores] = []

    def _empty(self) -> dict[str, np.ndarray]:
        job = self.job
        size = (len(job.y), job.n_classes) if job.n_classes else (len(job.y),)
        return {name: np.full(size, np.nan, kept_as(job)) for name in self.names}

    def add(self, name: str, rows: np.ndarray, values: np.ndarray) -> None:
        """Predictions of the rows that a part holds out."""
        if len(self.repeats) == self.n_repeats:  # of the test set, after all others
            self.mean[name][rows] = values
            return
        self.now[name][rows] = values
        self.left -= 1
        if self.left:
            return
        rows = np.flatnonzero(self.job.fold >= 0)
        self.repeats.append({model: made[self.shown] for model, made in self.now.items()})
        self.scores.append(scores_of(self.job, rows, self.now))
        done = len(self.repeats)
        if done > 1:
            for model, made in self.now.items():
                self.mean[model] += (made - self.mean[model]) / done
        if done < self.n_repeats:
            self.now = self._empty()
            self.left = self.job.n_folds * len(self.names)
