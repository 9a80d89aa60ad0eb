"""What covariates predict by themselves, and with the genes, from pieces of the data (:mod:`geneml_bio.core.baseline`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from .baseline import COVARIATES_ONLY, UNTUNED, WEIGHT, WITH_GENES, best_penalty, covariates_only, linear_model
from .cluster import cluster
from .screen import ModeratedScreen
from .streamed_fit import tuning_rows
from .streamed_linear import fit_logistic, fit_ridge
from .streamed_part import Part


def baseline_predictions(part: Part, covariates: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Fit both baselines to a training part, and predict what is held out.

    Parameters
    ----------
    part
        The fold.
    covariates
        Of all rows, as numbers.
    seed
        Of the inner folds in which the penalty of the genes is chosen.

    Returns
    -------
    Name -> predictions of the held-out rows.
    """
    job, rows, held = part.job, part.learned(), part.job.fold == part.fold
    alone = covariates_only(job.y[rows], covariates[rows], job.n_classes)
    penalty = _penalty(part, covariates, seed) if job.tune else UNTUNED
    model, scaler = linear_model(job.n_classes, penalty), StandardScaler().fit(covariates[rows])
    both = replace(part, beside=scaler.transform(covariates) * WEIGHT)
    n_columns, each = len(part.columns) + covariates.shape[1], both.each(cluster())
    if job.n_classes:
        fit_logistic(each, n_columns, job.n_classes, model)
    else:
        fit_ridge(each, n_columns, model)
    made = np.asarray(alone.predict(None, covariates[held]), dtype=float)
    return {COVARIATES_ONLY: made, WITH_GENES: both.predicted(model)}


def _penalty(part: Part, covariates: np.ndarray, seed: int) -> float:
    job, rows = part.job, tuning_rows(part, seed)
    front = Pipeline([("screen", ModeratedScreen("all", task=job.task)), ("scale", StandardScaler())])
    groups = None if job.groups is None else job.groups[rows]
    return best_penalty(front, part.rows(rows), job.y[rows], covariates[rows], job.n_classes, groups, seed)
