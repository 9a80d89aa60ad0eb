"""What covariates predict by themselves, and with the genes, from pieces of the data (:mod:`geneml_bio.core.baseline`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from sklearn.preprocessing import StandardScaler

from .baseline import COVARIATES_ONLY, WEIGHT, WITH_GENES, best_penalty, covariates_only, linear_model
from .cluster import cluster
from .streamed_inner import searched_in
from .streamed_linear import fit_logistic, fit_ridge
from .streamed_part import Part


def baseline_predictions(part: Part, covariates: np.ndarray) -> dict[str, np.ndarray]:
    """Fit both baselines to a training part, and predict what is held out.

    Parameters
    ----------
    part
        The fold.
    covariates
        Of all rows, as numbers.

    Returns
    -------
    Name -> predictions of the held-out rows.
    """
    job, rows, held = part.job, part.learned(), part.job.fold == part.fold
    alone = covariates_only(job.y[rows], covariates[rows], job.n_classes)
    model, scaler = linear_model(job.n_classes, _penalty(part, covariates)), StandardScaler().fit(covariates[rows])
    both = replace(part, beside=scaler.transform(covariates) * WEIGHT)
    n_columns, each = len(part.columns) + covariates.shape[1], both.each(cluster())
    if job.n_classes:
        fit_logistic(each, n_columns, job.n_classes, model)
    else:
        fit_ridge(each, n_columns, model)
    made = np.asarray(alone.predict(None, covariates[held]), dtype=float)
    return {COVARIATES_ONLY: made, WITH_GENES: both.predicted(model)}


def _penalty(part: Part, covariates: np.ndarray) -> float:
    rows, splits, raw = searched_in(part)

    def sides(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        learned, held = raw(train, test)
        scaler = StandardScaler().fit(learned)
        return scaler.transform(learned), scaler.transform(held)

    return best_penalty(sides, part.job.y[rows], covariates[rows], part.job.n_classes, splits or None)
