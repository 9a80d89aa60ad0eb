"""The recipe that was validated, once more on every sample: a model for use."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from .device import put_on
from .errors import GenemlError, InputError
from .fitted import Fitted, dense, digests
from .fitting import Recipe, bare, fit_candidate
from .models import Candidate, task_seed
from .scale import unlogged
from .schema import Cohort


def refit(cohort: Cohort, candidate: Candidate, recipe: Recipe, *, seed: int = 0, **about: Any) -> Fitted:
    """Fit the whole pipeline on every sample of a cohort, as each fold of a validation did on its training part.

    Parameters
    ----------
    cohort
        The samples.
    candidate, recipe
        The model, and what is around it.
    seed
        That of the validation; the pipeline's own is made of it and of the model's name.
    about
        More fields of :class:`Fitted`: ``target``, ``performance``, ``verdict``, ``spec``, ``versions``, ``fingerprint``.
    """
    y = pd.Index(cohort.classes).get_indexer(pd.Index(cohort.target)) if cohort.classes else cohort.target.astype(float)
    covariates = None
    if cohort.covariates is not None:
        covariates = pd.get_dummies(cohort.covariates, drop_first=True, dtype=float).to_numpy(float)
    groups = None if cohort.groups is None else pd.factorize(cohort.groups)[0]
    own: dict[str, Any] = {"groups": groups, "covariates": covariates, "seed": task_seed(seed, "fit", candidate.name)}
    with threadpool_limits(1):  # the same sums in the same order, however many cores there are
        try:
            whole, tuned = fit_candidate(recipe, candidate, cohort.X, y, **own)
        except GenemlError:
            raise
        except ValueError as error:
            raise InputError(f"Model {candidate.name!r} could not be fitted: {error}") from error
    put_on(bare(whole), "cpu")  # it is to be used where there may be no GPU
    pipeline, columns, filled = reduced(whole)
    columns = np.arange(len(cohort.features)) if columns is None else columns
    used = dense(cohort.X[:, columns])
    spread = _spread(used)
    if filled is not None:
        spread["medians"] = filled.astype(float)
    sizes = pd.Series(cohort.target).value_counts() if cohort.classes else {}
    pipeline, history = _without_history(pipeline)
    return Fitted(
        model=candidate.name,
        pipeline=pipeline,
        features=tuple(map(str, cohort.features[columns])),
        classes=cohort.classes,
        n_samples=len(cohort.samples),
        n_genes=len(cohort.features),
        n_groups=0 if groups is None else len(set(groups)),
        class_sizes={name: int(sizes[name]) for name in cohort.classes},
        scale=unlogged(used),
        dtype=str(used.dtype),
        tuned=tuned,
        history=history,
        seen=tuple(digests(used)),
        imputes=filled is not None,
        **spread,
        **about,
    )


def _spread(used: np.ndarray) -> dict[str, Any]:
    """Median, least and largest of each gene, missing values aside; 0 for a gene that has no value (as the imputer)."""
    known = used[:, ~np.isnan(used).all(axis=0)].astype(float)
    out = {name: np.zeros(used.shape[1]) for name in ("medians", "low", "high")}
    there = ~np.isnan(used).all(axis=0)
    out["medians"][there] = np.nanmedian(known, axis=0)
    out["low"][there], out["high"][there] = np.nanmin(known, axis=0), np.nanmax(known, axis=0)
    return out


def reduced(whole: BaseEstimator) -> tuple[BaseEstimator, np.ndarray | None, np.ndarray | None]:
    """What a fitted model does once its genes are chosen and its gaps filled.

    Returns
    -------
    The model without its screen and imputer; the columns that the screen chose (None: all); the values with which the imputer
    filled gaps in these columns (None: there was none).
    """
    if isinstance(whole, Pipeline):
        return _without_front(whole)
    if isinstance(whole, CalibratedClassifierCV) and len(whole.calibrated_classifiers_) == 1:
        one = copy.copy(whole.calibrated_classifiers_[0])
        if isinstance(one.estimator, Pipeline):
            one.estimator, columns, filled = _without_front(one.estimator)
            outer = copy.copy(whole)
            outer.calibrated_classifiers_ = [one]
            outer.set_params(estimator=clone(one.estimator), cv=None)  # the splits were of the training samples
            if columns is not None and hasattr(outer, "n_features_in_"):
                outer.n_features_in_ = len(columns)
            return outer, columns, filled
    return whole, None, None


def _without_front(whole: Pipeline) -> tuple[Pipeline, np.ndarray | None, np.ndarray | None]:
    steps = dict(whole.steps)
    screen, imputer = steps.get("screen"), steps.get("impute")
    if screen is None or not hasattr(screen, "get_support"):  # then neither can be left out: the imputer comes first
        return whole, None, None
    columns = screen.get_support(indices=True)
    filled = imputer.statistics_[columns] if isinstance(imputer, SimpleImputer) else None
    kept = [(name, step) for name, step in whole.steps if name not in ("impute", "screen")]
    return Pipeline(kept), columns, filled


def _without_history(whole: BaseEstimator) -> tuple[BaseEstimator, pd.DataFrame | None]:
    """The model without the record of its epochs, which is kept beside it."""
    model = bare(whole).steps[-1][1]
    history = vars(model).pop("history_", None) if isinstance(model, BaseEstimator) else None
    return whole, history
