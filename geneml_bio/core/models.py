"""Model name -> unfitted pipeline, with the hyperparameters that are tuned inside the training part.

Every pipeline is impute (only where values are missing) -> screen -> scale -> model. A forest and boosted trees do not
care about scale, but one shape for all keeps explanations and comparisons simple.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, StackingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from .device import put_all_on
from .errors import InputError, near
from .registry import DEFAULT, ELSEWHERE, REGISTRY

_COMPILED = (LogisticRegression, Ridge, RandomForestClassifier, RandomForestRegressor)


@dataclass(frozen=True)
class Candidate:
    """An unfitted model and the small space searched for it inside the training part of each fold.

    ``margin``: a classifier without probabilities of its own; they come from calibration on inner folds. ``tune_rows``,
    ``max_rows``: of larger training parts, tuning or everything takes a random part of this size (groups kept whole), for models
    whose cost grows faster than the rows.
    """

    name: str
    estimator: BaseEstimator
    space: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    margin: bool = False
    tune_rows: int | None = None
    max_rows: int | None = None


def candidates(models: Any, task: str, device: str = "cpu") -> list[Candidate]:
    """Resolve ``models=`` of the public functions.

    Parameters
    ----------
    models
        ``"default"`` (three models), ``"all"`` (every name of the task), a name, a list of names, one scikit-learn
        estimator or pipeline, or a dict of name -> estimator or name.
    task
        ``"classification"`` or ``"regression"``.
    device
        Where XGBoost models train and predict (:func:`geneml_bio.core.device.check_device`).

    Raises
    ------
    InputError
        For an unknown name (with the near ones) or an object that is not an estimator for the task; for a GPU that no model uses.
    """
    known = REGISTRY[task]
    if isinstance(models, str):
        models = {"default": list(DEFAULT[task]), "all": list(known)}.get(models, [models])
    if isinstance(models, BaseEstimator):
        models = {type(models).__name__: models}
    if not isinstance(models, Mapping | list | tuple):
        raise InputError(
            f"models= takes names, an estimator (an instance) or a dict of name -> either; got {models!r}."
        )
    pairs = list(models.items()) if isinstance(models, Mapping) else [(name, name) for name in models]
    if not pairs:
        raise InputError(f"models= is empty. Available by name: {', '.join(known)}.")
    names = [str(name) for name, _ in pairs]
    if reserved := {"consensus", "best of k (corrected)", "covariates only", "genes + covariates"} & set(names):
        raise InputError(f"A model cannot be called {reserved.pop()!r}: the results use that name themselves.")
    if len(set(names)) < len(names):
        raise InputError(f"models= holds a name twice: {names}.")
    out = [_candidate(str(name), what, task) for name, what in pairs]
    put_all_on(out, device)
    return out


def _candidate(name: str, what: Any, task: str) -> Candidate:
    known = REGISTRY[task]
    if isinstance(what, str):
        if what in ELSEWHERE[task]:
            raise InputError(f"Model {what!r} is not made for {task}: {ELSEWHERE[task][what]}.")
        if what not in known:
            raise InputError(
                f"Unknown model {what!r} for {task}.{near(what, known, n=len(known))} Any scikit-learn estimator works too: "
                "models={'mine': estimator}."
            )
        estimator = known[what].build()
        return Candidate(name, estimator, known[what].space, margin=_has_margin_only(estimator, task))
    if not isinstance(what, BaseEstimator):
        raise InputError(
            f"Model {name!r} is a {type(what).__name__}; give a name or a scikit-learn estimator (an instance)."
        )
    if isinstance(what, StackingClassifier) and what.final_estimator is None:
        what = clone(what).set_params(
            final_estimator=LogisticRegression()
        )  # its default, which is not there before the fit
    fits = is_classifier(what) if task == "classification" else is_regressor(what)
    if not fits:
        raise InputError(f"Model {name!r} ({type(what).__name__}) is not made for {task}.")
    if task == "classification" and not hasattr(what, "predict_proba") and not hasattr(what, "decision_function"):
        raise InputError(
            f"Model {name!r} ({type(what).__name__}) gives neither class probabilities (predict_proba) nor margins "
            "(decision_function) from which they could be calibrated; name another."
        )
    return Candidate(name, clone(what), margin=_has_margin_only(what, task))


def _has_margin_only(estimator: BaseEstimator, task: str) -> bool:
    return task == "classification" and not hasattr(estimator, "predict_proba")


def fits_in_threads(candidate: Candidate) -> bool:
    """Whether it is fitted by compiled code that lets other threads get on, and keeps nothing outside the model.

    liblinear and libsvm have one stream of random numbers a process.
    """
    model, kind = candidate.estimator, type(candidate.estimator)
    known = kind in _COMPILED or kind.__module__ == "xgboost.sklearn"
    one_thread = getattr(model, "n_jobs", None) in (None, 1)
    return known and one_thread and not candidate.margin and getattr(model, "solver", None) != "liblinear"


def registry_names(models: Any, task: str) -> dict[str, str]:
    """Model name -> name in the registry, ``""`` for an estimator of the caller's: what stored results can be refitted from."""
    chosen = models if isinstance(models, Mapping) else {c.name: c.name for c in candidates(models, task)}
    return {
        str(name): what if isinstance(what, str) and what in REGISTRY[task] else "" for name, what in chosen.items()
    }


def median_imputer() -> SimpleImputer:
    """What fills missing values: the median of the gene in the training part, 0 for a gene without any value there."""
    return SimpleImputer(strategy="median", keep_empty_features=True)


def pipeline(candidate: Candidate, screen: BaseEstimator, *, impute: bool, seed: int) -> Pipeline:
    """The whole pipeline of one candidate with every open ``random_state`` set."""
    steps: list[tuple[str, BaseEstimator]] = []
    if impute:
        steps.append(("impute", median_imputer()))
    steps += [("screen", clone(screen)), ("scale", StandardScaler()), ("model", clone(candidate.estimator))]
    for _, step in steps:
        if type(step) is not StandardScaler:
            own = step.get_params()
            open_seeds = [name for name, value in own.items() if name.endswith("random_state") and value is None]
            if open_seeds:
                step.set_params(**dict.fromkeys(open_seeds, seed))
    return Pipeline(steps)


def task_seed(seed: int, *path: int | str) -> int:
    """A seed for one piece of work that depends on what it is, not on when or where it runs."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in path]
    return int(np.random.SeedSequence([int(seed), *words]).generate_state(1)[0] % (2**31 - 1))
