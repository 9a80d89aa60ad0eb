"""Resampling -> out-of-fold predictions -> Validation.

One unit of work is one fold of one run, with every model in it. A run is a repeat (true target) or a permutation
(permuted target). Units depend on nothing but their own seeds, so any number of workers gives the same numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from .errors import DataWarning, GenemlError, InputError
from .metrics import classification_scores, regression_scores
from .models import Candidate, pipeline, task_seed
from .resample import Fold, arrangements, check_feasible, inner_folds, make_folds, permute
from .schema import Cohort, ExternalScreen, Validation, check_screen, prob_column
from .screen import FixedScreen, ModeratedScreen

INNER_SPLITS = 3


@dataclass(frozen=True, eq=False)
class Study:
    """What every unit of work needs; sent to workers once and shared by them."""

    X: Any
    covariates: np.ndarray | None
    groups: np.ndarray | None
    n_classes: int
    screen: BaseEstimator
    models: Sequence[Candidate]
    impute: bool
    tune: bool
    seed: int


@dataclass(frozen=True, eq=False)
class FoldResult:
    """Held-out predictions of every model in one fold, and what was fitted."""

    fold: Fold
    predictions: dict[str, np.ndarray]
    fitted: dict[str, Pipeline]
    tuned: dict[str, dict[str, Any]]
    selected: np.ndarray
    statistic: np.ndarray


def build_screen(screen: Any, cohort: Cohort) -> BaseEstimator:
    """The transformer behind ``screen=``.

    Raises
    ------
    LeakageError
        If genes chosen beforehand are passed without saying that they come from other samples.
    InputError
        If an external table shares no gene with the study.
    """
    check_screen(screen)
    if isinstance(screen, ExternalScreen):
        columns = cohort.features.get_indexer(pd.Index(screen.features))
        if not (columns >= 0).any():
            raise InputError(
                f"None of the {len(columns)} genes of the external screen is among the genes of the study "
                f"(for example {screen.features[0]!r} against {cohort.features[0]!r}); are they in the same id space?"
            )
        if (columns < 0).any():
            lost = int((columns < 0).sum())
            warnings.warn(
                f"{lost} of the {len(columns)} genes of the external screen are not in the study.",
                DataWarning,
                stacklevel=4,
            )
        return FixedScreen(columns=columns[columns >= 0])
    k = "all" if screen is None else min(int(screen), len(cohort.features))
    return ModeratedScreen(k=k, task=cohort.task)


def _fit(study: Study, candidate: Candidate, fold: Fold, y: np.ndarray, seed: int) -> tuple[Pipeline, dict[str, Any]]:
    """Fit one candidate on the training part, tuned inside it; returns the pipeline and the values chosen."""
    X, target = study.X[fold.train], y[fold.train]
    whole = pipeline(candidate, study.screen, impute=study.impute, seed=seed)
    extra = {} if study.covariates is None else {"screen__covariates": study.covariates[fold.train]}
    groups = None if study.groups is None else study.groups[fold.train]
    inner = None
    if study.tune and candidate.space:
        inner = inner_folds(target, groups, study.n_classes, n_splits=INNER_SPLITS, seed=seed)
    if inner is None:
        return whole.fit(X, target, **extra), {}
    scoring: Any = "neg_mean_squared_error"
    if study.n_classes:  # an inner held-out part may lack a class
        labels = list(range(study.n_classes))
        scoring = make_scorer(log_loss, greater_is_better=False, response_method="predict_proba", labels=labels)
    space = {f"model__{name}": list(values) for name, values in candidate.space.items()}
    search = GridSearchCV(whole, space, scoring=scoring, cv=inner, error_score="raise")
    search.fit(X, target, **extra)
    return search.best_estimator_, {name.removeprefix("model__"): value for name, value in search.best_params_.items()}


def run_fold(study: Study, fold: Fold, y: np.ndarray, kind: str, keep: bool) -> FoldResult:
    """Fit every model on the training part of one fold and predict its held-out part."""
    predictions, fitted, tuned = {}, {}, {}
    selected = statistic = np.empty(0)
    with threadpool_limits(1):  # the same sums in the same order, whatever the number of workers
        for candidate in study.models:
            seed = task_seed(study.seed, kind, fold.run, fold.fold, candidate.name)
            try:
                whole, tuned[candidate.name] = _fit(study, candidate, fold, y, seed)
            except GenemlError:
                raise
            except ValueError as error:
                raise InputError(
                    f"Model {candidate.name!r} could not be fitted in fold {fold.fold}: {error}"
                ) from error
            predictions[candidate.name] = _predict(whole, study.X[fold.test], study.n_classes)
            screen = whole.named_steps["screen"]
            selected = screen.ranking()
            statistic = screen.statistic_[selected]
            if keep:
                fitted[candidate.name] = whole
    return FoldResult(fold, predictions, fitted, tuned, selected, statistic)


def _predict(whole: Pipeline, X: Any, n_classes: int) -> np.ndarray:
    if not n_classes:
        return np.asarray(whole.predict(X), dtype=float)
    prob = np.asarray(whole.predict_proba(X), dtype=float)
    return prob / prob.sum(axis=1, keepdims=True)  # XGBoost's are float32


def _run_all(
    units: Iterable[tuple[Any, ...]], n: int, n_jobs: int | None, label: str, progress: bool
) -> list[FoldResult]:
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise InputError(f"n_jobs must be None (every core), a positive count, or -1; got {n_jobs!r}.")
    workers = joblib.cpu_count() if n_jobs is None else int(n_jobs)
    run = joblib.Parallel(n_jobs=workers, return_as="generator", max_nbytes="1M")
    results = run(joblib.delayed(run_fold)(*unit) for unit in units)
    return list(tqdm(results, total=n, desc=label, disable=not progress, leave=True))


def validate(
    cohort: Cohort,
    models: Sequence[Candidate],
    *,
    screen: Any = 200,
    n_splits: int = 5,
    n_repeats: int = 5,
    tune: bool = True,
    n_permutations: int = 0,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
    label: str = "validate",
    audit: pd.DataFrame | None = None,
    spec: dict[str, Any] | None = None,
) -> Validation:
    """Repeated cross-validation of whole pipelines, and the same on permuted targets.

    Parameters
    ----------
    cohort
        The study.
    models
        What to validate (:func:`geneml_bio.core.models.candidates`).
    screen
        Count of genes kept by the moderated statistic, refitted in each fold; None for all; or an ExternalScreen.
    n_splits, n_repeats
        Folds, and how often they are drawn anew.
    tune
        Whether hyperparameters are searched inside the training part.
    n_permutations
        How many permuted targets to run through everything above (one repeat each).
    seed, n_jobs, progress, label
        Seed of all randomness; number of worker processes (None: every core); progress bars and their name.
    audit, spec
        Findings and arguments to be kept with the result.

    Raises
    ------
    TargetError, InputError, LeakageError
        See :func:`geneml_bio.core.resample.check_feasible` and :func:`build_screen`.
    """
    check_feasible(cohort.target, cohort.classes, cohort.groups, n_splits)
    for name, value, least in (("n_repeats", n_repeats, 1), ("n_permutations", n_permutations, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be an integer of at least {least}, got {value!r}.")
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed must be a whole number of at least 0, got {seed!r}.")
    study = _study(cohort, models, screen, tune, seed)

    # 1. the true target, every repeat
    y = _codes(cohort.target, cohort.classes)
    split = {"n_splits": n_splits, "seed": seed}
    folds = [
        fold
        for run in range(n_repeats)
        for fold in make_folds(cohort.target, cohort.classes, cohort.groups, run=run, **split)
    ]
    units = [(study, fold, y, "true", True) for fold in folds]
    results = _run_all(units, len(units), n_jobs, f"{label}: folds", progress)

    # 2. permuted targets, the protocol of one repeat each
    null = None
    if n_permutations:
        null = _null(study, cohort, n_permutations, split, n_jobs, f"{label}: permuted", progress)

    # 3. frames
    own: dict[str, Any] = {
        "n_splits": n_splits,
        "n_repeats": n_repeats,
        "tune": tune,
        "n_permutations": n_permutations,
        "seed": seed,
    }
    if cohort.classes:
        own["n_arrangements"] = arrangements(cohort.target, cohort.groups)
    return Validation(
        predictions=_prediction_frame(results, cohort),
        folds=_fold_frame(folds, cohort),
        screens=_screen_frame(results, cohort),
        spec={"models": [c.name for c in models], "screen": screen_text(screen)} | (spec or {}) | own,
        audit=pd.DataFrame(columns=["check", "level", "message"]) if audit is None else audit,
        classes=cohort.classes,
        null=null,
        tuned=_tuned_frame(results),
        fitted={(r.fold.run, r.fold.fold, name): whole for r in results for name, whole in r.fitted.items()},
    )


def screen_text(screen: Any) -> str:
    """How a screen is recorded: ``"200"``, ``"all"``, or that it came from other samples."""
    if isinstance(screen, ExternalScreen):
        return f"external: top {screen.n} of {screen.de.contrast or 'a table'} (stated to come from other samples)"
    return "all" if screen is None else str(screen)


def _study(cohort: Cohort, models: Sequence[Candidate], screen: Any, tune: bool, seed: int) -> Study:
    covariates = None
    if cohort.covariates is not None:
        covariates = pd.get_dummies(cohort.covariates, drop_first=True, dtype=float).to_numpy(float)
    impute = not sparse.issparse(cohort.X) and bool(np.isnan(cohort.X).any())
    return Study(
        X=cohort.X,
        covariates=covariates,
        groups=None if cohort.groups is None else pd.factorize(cohort.groups)[0],
        n_classes=len(cohort.classes),
        screen=build_screen(screen, cohort),
        models=models,
        impute=impute,
        tune=tune,
        seed=seed,
    )


def _codes(target: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    return pd.Index(classes).get_indexer(pd.Index(target)) if classes else target.astype(float)


def _null(
    study: Study, cohort: Cohort, n: int, split: dict[str, int], n_jobs: int | None, label: str, progress: bool
) -> pd.DataFrame:
    rng = [np.random.default_rng(task_seed(study.seed, "permutation", p)) for p in range(n)]
    targets = [permute(cohort.target, cohort.groups, rng[p], numeric=not cohort.classes) for p in range(n)]
    units = []
    for p, target in enumerate(targets):
        y = _codes(target, cohort.classes)
        for fold in make_folds(target, cohort.classes, cohort.groups, run=p, **split):
            units.append((study, fold, y, "permuted", False))
    results = _run_all(units, len(units), n_jobs, label, progress)
    rows = []
    ones = np.ones((1, len(cohort.target)))
    score: Callable[..., dict[str, np.ndarray]] = classification_scores if cohort.classes else regression_scores
    for p, target in enumerate(targets):
        y = _codes(target, cohort.classes)
        mine = [r for r in results if r.fold.run == p]
        where = np.concatenate([r.fold.test for r in mine])
        for candidate in study.models:
            made = np.concatenate([r.predictions[candidate.name] for r in mine])
            for metric, value in score(ones, y[where], made).items():
                rows.append({"permutation": p, "model": candidate.name, "metric": metric, "value": float(value[0])})
    return pd.DataFrame(rows)


def _prediction_frame(results: list[FoldResult], cohort: Cohort) -> pd.DataFrame:
    parts = []
    for r in results:
        for name, made in r.predictions.items():
            part = pd.DataFrame(
                {"repeat": r.fold.run, "fold": r.fold.fold, "sample": cohort.samples[r.fold.test], "model": name}
            )
            part["observed"] = cohort.target[r.fold.test]
            if cohort.classes:
                part["predicted"] = np.asarray(cohort.classes, dtype=object)[made.argmax(axis=1)]
                part[[prob_column(name) for name in cohort.classes]] = made
            else:
                part["predicted"] = made
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _fold_frame(folds: list[Fold], cohort: Cohort) -> pd.DataFrame:
    parts = []
    for run in sorted({f.run for f in folds}):
        assigned = np.empty(len(cohort.samples), dtype=int)
        for f in folds:
            if f.run == run:
                assigned[f.test] = f.fold
        parts.append(pd.DataFrame({"repeat": run, "fold": assigned, "sample": cohort.samples}))
    return pd.concat(parts, ignore_index=True)


def _screen_frame(results: list[FoldResult], cohort: Cohort) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "repeat": r.fold.run,
                "fold": r.fold.fold,
                "feature": cohort.features[r.selected],
                "statistic": r.statistic,
            }
        )
        for r in results
    ]
    return pd.concat(parts, ignore_index=True)


def _tuned_frame(results: list[FoldResult]) -> pd.DataFrame:
    rows = [
        {"repeat": r.fold.run, "fold": r.fold.fold, "model": model, "parameter": name, "value": float(value)}
        for r in results
        for model, chosen in r.tuned.items()
        for name, value in chosen.items()
    ]
    return pd.DataFrame(rows, columns=["repeat", "fold", "model", "parameter", "value"])
