"""Model name -> unfitted pipeline, with the hyperparameters that are tuned inside the training part.

Every pipeline is impute (only where values are missing) -> screen -> scale -> model. A forest and boosted trees do not
care about scale, but one shape for all keeps explanations and comparisons simple.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from .errors import InputError, near

# 128 leaves bind only where there are many samples, and keep the cost of explaining a forest within reason there
FOREST = {"n_estimators": 300, "max_leaf_nodes": 128, "n_jobs": 1}
# min_child_weight counts hessians (at most 1/4 a sample): its default of 1 stops trees early where samples are few
BOOSTING = {
    "n_estimators": 100,
    "max_depth": 3,
    "learning_rate": 0.1,
    "subsample": 0.8,
    "colsample_bytree": 0.3,
    "min_child_weight": 0.1,
}


@dataclass(frozen=True)
class Candidate:
    """An unfitted model and the small space searched for it inside the training part of each fold."""

    name: str
    estimator: BaseEstimator
    space: Mapping[str, Sequence[Any]] = field(default_factory=dict)


def _xgboost(task: str) -> BaseEstimator:
    import xgboost

    kind = xgboost.XGBClassifier if task == "classification" else xgboost.XGBRegressor
    return kind(**BOOSTING, tree_method="hist", n_jobs=1)


def _random_forest(task: str) -> BaseEstimator:
    if task == "classification":
        return RandomForestClassifier(**FOREST)
    return RandomForestRegressor(**FOREST, max_features=1 / 3)


_SHRINKAGE = (0.001, 0.01, 0.1, 1.0)

REGISTRY: dict[str, dict[str, tuple[Callable[[], BaseEstimator], Mapping[str, Sequence[Any]]]]] = {
    "classification": {
        "logistic": (lambda: LogisticRegression(max_iter=5000), {"C": _SHRINKAGE}),
        "random_forest": (lambda: _random_forest("classification"), {}),
        "xgboost": (lambda: _xgboost("classification"), {}),
    },
    "regression": {
        "ridge": (lambda: Ridge(), {"alpha": (1.0, 10.0, 100.0, 1000.0)}),
        "random_forest": (lambda: _random_forest("regression"), {}),
        "xgboost": (lambda: _xgboost("regression"), {}),
    },
}


def candidates(models: Any, task: str) -> list[Candidate]:
    """Resolve ``models=`` of the public functions.

    Parameters
    ----------
    models
        ``"default"`` (every model of the registry for the task), a name, a list of names, one scikit-learn estimator, or
        a dict of name -> estimator or registry name.
    task
        ``"classification"`` or ``"regression"``.

    Raises
    ------
    InputError
        For an unknown name (with the near ones) or an object that is not an estimator for the task.
    """
    known = REGISTRY[task]
    if isinstance(models, str):
        models = list(known) if models == "default" else [models]
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
    if reserved := {"consensus", "best of k (corrected)"} & set(names):
        raise InputError(f"A model cannot be called {reserved.pop()!r}: the results use that name themselves.")
    if len(set(names)) < len(names):
        raise InputError(f"models= holds a name twice: {names}.")
    return [_candidate(str(name), what, task) for name, what in pairs]


def _candidate(name: str, what: Any, task: str) -> Candidate:
    known = REGISTRY[task]
    if isinstance(what, str):
        if what not in known:
            raise InputError(
                f"Unknown model {what!r} for {task}.{near(what, known)} Any scikit-learn estimator works too: models={{'mine': estimator}}."
            )
        build, space = known[what]
        return Candidate(name, build(), space)
    if not isinstance(what, BaseEstimator):
        raise InputError(
            f"Model {name!r} is a {type(what).__name__}; give a name or a scikit-learn estimator (an instance)."
        )
    fits = is_classifier(what) if task == "classification" else is_regressor(what)
    if not fits:
        raise InputError(f"Model {name!r} ({type(what).__name__}) is not made for {task}.")
    if task == "classification" and not hasattr(what, "predict_proba"):
        raise InputError(
            f"Model {name!r} ({type(what).__name__}) gives no class probabilities; wrap it in "
            "sklearn.calibration.CalibratedClassifierCV."
        )
    return Candidate(name, clone(what))


def registry_names(models: Any, task: str) -> dict[str, str]:
    """Model name -> name in the registry, ``""`` for an estimator of the caller's: what stored results can be refitted from."""
    chosen = models if isinstance(models, Mapping) else {c.name: c.name for c in candidates(models, task)}
    return {
        str(name): what if isinstance(what, str) and what in REGISTRY[task] else "" for name, what in chosen.items()
    }


def pipeline(candidate: Candidate, screen: BaseEstimator, *, impute: bool, seed: int) -> Pipeline:
    """The whole pipeline of one candidate with every open ``random_state`` set."""
    steps: list[tuple[str, BaseEstimator]] = []
    if impute:
        steps.append(("impute", SimpleImputer(strategy="median", keep_empty_features=True)))
    steps += [("screen", clone(screen)), ("scale", StandardScaler()), ("model", clone(candidate.estimator))]
    whole = Pipeline(steps)
    open_seeds = [name for name, value in whole.get_params().items() if name.endswith("random_state") and value is None]
    return whole.set_params(**dict.fromkeys(open_seeds, seed))


def task_seed(seed: int, *path: int | str) -> int:
    """A seed for one piece of work that depends on what it is, not on when or where it runs."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else int(part) for part in path]
    return int(np.random.SeedSequence([int(seed), *words]).generate_state(1)[0] % (2**31 - 1))
