"""Resampling -> out-of-fold predictions -> Validation.

A run is a repeat (true target), the test set, or a permutation (permuted target).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator

from .baseline import BASELINES
from .discoveries import FoldTally
from .errors import DataWarning, InputError, check_whole
from .external import external_screen
from .fitting import Recipe
from .folds import TEST, FoldResult, Study
from .metrics import classification_scores, regression_scores
from .models import Candidate, task_seed
from .resample import CV, Fold, arrangements, check_feasible, left_out_folds, make_folds, permute
from .schema import Cohort, ExternalScreen, Validation, check_screen, prob_column
from .screen import FixedScreen, ModeratedScreen
from .units import counted, run_all


def build_screen(screen: Any, cohort: Cohort, learning: np.ndarray | None = None) -> BaseEstimator:
    """The transformer behind ``screen=``; ``learning``: the samples outside the test set (None: all).

    Raises
    ------
    LeakageError
        If genes chosen beforehand are passed without saying that they come from other samples, or where that cannot be true.
    InputError
        If an external table shares no gene with the study.
    """
    if isinstance(screen, FixedScreen):  # columns that are no genes to choose from: genes as rows
        return screen
    check_screen(screen)
    if isinstance(screen, ExternalScreen):
        return external_screen(screen, cohort, learning)
    k = "all" if screen is None else min(int(screen), len(cohort.features))
    return ModeratedScreen(k=k, task=cohort.task)


def validate(
    cohort: Cohort,
    models: Sequence[Candidate],
    *,
    screen: Any = 200,
    n_splits: int = 5,
    n_repeats: int = 5,
    cv: str = "kfold",
    test: np.ndarray | None = None,
    calibrate: str | None = None,
    class_weight: str | Mapping[str, float] | None = None,
    tune: bool = True,
    n_permutations: int = 0,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
    label: str = "validate",
    audit: pd.DataFrame | None = None,
    spec: dict[str, Any] | None = None,
) -> Validation:
    """Repeated cross-validation of whole pipelines, a test set beside it, and the same on permuted targets.

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
    cv
        ``"kfold"`` (stratified; by group where there are groups), ``"leave_one_batch_out"`` or ``"leave_one_group_out"``,
        which have one repeat and as many folds as there are batches or groups.
    test
        Boolean array: samples held out of everything else, and predicted once by models fitted to all the others.
    calibrate
        ``"sigmoid"`` or ``"isotonic"``: calibrate probabilities on inner folds of the training part.
    class_weight
        ``"balanced"``, or class label -> weight.
    tune
        Whether hyperparameters are searched inside the training part.
    n_permutations
        How many permuted targets to run through everything above (one repeat each, without the test set).
    seed, n_jobs, progress, label
        Seed of all randomness; number of worker processes (None: every core); progress bars and their name.
    audit, spec
        Findings and arguments to be kept with the result.

    Raises
    ------
    TargetError, InputError, LeakageError
        See :func:`geneml_bio.core.resample.check_feasible` and :func:`build_screen`.
    """
    own = {"n_splits": n_splits, "n_repeats": n_repeats, "cv": cv, "tune": tune, "n_permutations": n_permutations}
    own |= {"seed": seed, "calibrate": calibrate}
    check_counts(own)
    learning = np.ones(len(cohort.samples), dtype=bool) if test is None else ~np.asarray(test, dtype=bool)
    part = cohort if test is None else cohort.take(learning)
    runs = _runs(part, cv, n_splits, n_repeats, seed)
    weights = weights_by_code(class_weight, cohort.classes)
    study = _study(cohort, models, screen, seed, learning, tune=tune, calibrate=calibrate, class_weight=weights)
    study = replace(study, tests_genes=bool(n_permutations) and not isinstance(screen, FixedScreen))

    # 1. the true target: every repeat, and the test set
    y = _codes(cohort.target, cohort.classes)
    rows = np.flatnonzero(learning)
    folds = [_moved(fold, rows) for fold in runs(cohort.target[rows], None)]
    units = [(study, fold, y, "true", True) for fold in folds]
    if test is not None:
        units.append((study, Fold(TEST, TEST, rows, np.flatnonzero(~learning)), y, "test", True))
    results = run_all(units, len(units), n_jobs, f"{label}: folds", progress)
    tested = results.pop() if test is not None else None

    # 2. permuted targets, the protocol of one repeat each
    null = discoveries = None
    if n_permutations:
        tally = (
            FoldTally([r.of_all for r in results if r.of_all is not None and r.fold.run == 0])
            if study.tests_genes
            else None
        )
        null = _null(study, cohort, rows, runs, n_permutations, n_jobs, f"{label}: permuted", progress, tally)
        discoveries = None if tally is None else tally.result()

    # 3. frames
    if cohort.classes:
        own["n_arrangements"] = arrangements(part.target, part.groups, part.batch)
    if class_weight is not None:
        own["class_weight"] = class_weight if isinstance(class_weight, str) else dict(class_weight)
    own |= {"n_splits": len([f for f in folds if f.run == 0]), "n_repeats": len({f.run for f in folds})}
    everything = [*results, *([] if tested is None else [tested])]
    return Validation(
        predictions=_prediction_frame(results, cohort),
        folds=_fold_frame(folds, cohort),
        screens=_screen_frame(results, cohort),
        spec={"models": [c.name for c in models], "screen": screen_text(screen)} | (spec or {}) | own,
        audit=pd.DataFrame(columns=["check", "level", "message"]) if audit is None else audit,
        classes=cohort.classes,
        null=null,
        discoveries=discoveries,
        tuned=_tuned_frame(everything),
        fitted={(r.fold.run, r.fold.fold, name): whole for r in results for name, whole in r.fitted.items()},
        test=None if tested is None else _prediction_frame([tested], cohort).drop(columns=["repeat", "fold"]),
        final={} if tested is None else tested.fitted,
        baselines=() if cohort.covariates is None else BASELINES,
        history=_history_frame(everything),
    )


def check_counts(asked: Mapping[str, Any]) -> None:
    """Refuse counts, a seed or a kind of resampling that mean nothing."""
    for name, least in (("n_repeats", 1), ("n_permutations", 0), ("seed", 0)):
        check_whole(least, **{name: asked[name]})
    if asked["cv"] not in CV:
        raise InputError(f"cv must be one of {', '.join(map(repr, CV))}; got {asked['cv']!r}.")
    if asked["calibrate"] not in (None, "sigmoid", "isotonic"):
        raise InputError(f"calibrate must be None, 'sigmoid' or 'isotonic'; got {asked['calibrate']!r}.")


def _runs(part: Cohort, cv: str, n_splits: int, n_repeats: int, seed: int) -> Callable[..., list[Fold]]:
    """A function (target, run) -> folds: of every repeat where run is None, of one run otherwise."""
    if cv == "kfold":
        check_feasible(part.target, part.classes, part.groups, n_splits)

        def drawn(target: np.ndarray, run: int | None) -> list[Fold]:
            which = range(n_repeats) if run is None else [run]
            how = {"n_splits": n_splits, "seed": seed}
            return [fold for r in which for fold in make_folds(target, part.classes, part.groups, run=r, **how)]

        return drawn
    by = part.batch if cv == "leave_one_batch_out" else part.groups
    if by is None:
        raise InputError(
            f"cv={cv!r} needs {'batch' if 'batch' in cv else 'groups'}=, the column that is left out in turn."
        )
    check_feasible(part.target, part.classes, part.groups, 2)

    def left_out(target: np.ndarray, run: int | None) -> list[Fold]:
        folds = left_out_folds(by, target, part.classes, part.groups)
        lost = [len(target) - len(f.train) - len(f.test) for f in folds]
        if run is None and any(lost):
            warnings.warn(
                f"{sum(lost) / len(lost):.0f} samples a fold (on average) are neither learned from nor held out: their donors have "
                "others in the batch that is left out.",
                DataWarning,
                stacklevel=5,
            )
        return [Fold(run or 0, f.fold, f.train, f.test) for f in folds]

    return left_out


def _moved(fold: Fold, rows: np.ndarray) -> Fold:
    """A fold of part of the study, in positions of the whole."""
    return Fold(fold.run, fold.fold, rows[fold.train], rows[fold.test])


def weights_by_code(asked: str | Mapping[str, float] | None, classes: tuple[str, ...]) -> Any:
    """``class_weight=`` with class codes in place of names; refused where it is no weight of each class."""
    if asked is None or asked == "balanced":
        return asked
    if not classes:
        raise InputError("class_weight= is for classification; a regression has no classes.")
    if not isinstance(asked, Mapping) or {str(name) for name in asked} != set(classes):
        raise InputError(f"class_weight must be 'balanced' or a weight for each of {list(classes)}; got {asked!r}.")
    weights = {classes.index(str(name)): value for name, value in asked.items()}
    if any(
        isinstance(w, bool) or not isinstance(w, int | float | np.number) or not 0 < w < np.inf
        for w in weights.values()
    ):
        raise InputError(f"class_weight needs positive numbers, got {asked!r}.")
    return {code: float(value) for code, value in weights.items()}


def screen_text(screen: Any) -> str:
    """How a screen is recorded: ``"200"``, ``"all"``, or that it came from other samples."""
    if isinstance(screen, ExternalScreen):
        return f"external: top {screen.n} of {screen.de.contrast or 'a table'} (stated to come from other samples)"
    if isinstance(screen, FixedScreen):
        return "none"
    return "all" if screen is None else str(screen)


def _study(
    cohort: Cohort,
    models: Sequence[Candidate],
    screen: Any,
    seed: int,
    learning: np.ndarray,
    *,
    tune: bool,
    calibrate: Any,
    class_weight: Any,
) -> Study:
    recipe = Recipe(
        screen=build_screen(screen, cohort, learning),
        impute=not sparse.issparse(cohort.X) and bool(np.isnan(cohort.X).any()),
        tune=tune,
        n_classes=len(cohort.classes),
        calibrate=calibrate,
        class_weight=class_weight,
    )
    covariates = None if cohort.covariates is None else numeric_covariates(cohort.covariates, learning)
    groups = None if cohort.groups is None else pd.factorize(cohort.groups)[0]
    return Study(cohort.X, covariates, groups, recipe, models, seed)


def numeric_covariates(covariates: pd.DataFrame, learning: np.ndarray) -> np.ndarray:
    """Covariates as numbers: an indicator for each level but the first of those that are learned from."""
    columns = []
    for name in covariates:
        values = covariates[name]
        if pd.api.types.is_numeric_dtype(values):
            columns.append(values.to_numpy(float))
            continue
        levels = pd.Categorical(values[learning]).remove_unused_categories().categories
        columns += [(values == level).to_numpy(float) for level in levels[1:]]
    if not columns:
        raise InputError(
            "No covariate has more than one level among the samples to learn from; leave covariates= away."
        )
    return np.column_stack(columns)


def _codes(target: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    return pd.Index(classes).get_indexer(pd.Index(target)) if classes else target.astype(float)


def _null(
    study: Study,
    cohort: Cohort,
    rows: np.ndarray,
    runs: Callable[..., list[Fold]],
    n: int,
    n_jobs: int | None,
    label: str,
    progress: bool,
    tally: FoldTally | None,
) -> pd.DataFrame:
    """Scores on permuted targets; ``rows``: the samples that are not in the test set; ``tally`` counts genes."""
    groups, batch = (None if labels is None else labels[rows] for labels in (cohort.groups, cohort.batch))
    targets, units = [], []
    for p in range(n):
        rng = np.random.default_rng(task_seed(study.seed, "permutation", p))
        target = permute(cohort.target[rows], groups, rng, numeric=not cohort.classes, batch=batch)
        y = np.zeros(len(cohort.target), dtype=int if cohort.classes else float)
        y[rows] = _codes(target, cohort.classes)
        targets.append(y)
        units += [(study, _moved(fold, rows), y, "permuted", False) for fold in runs(target, p)]
    results = run_all(units, len(units), n_jobs, label, progress, partial(counted, tally=tally))
    out = []
    ones = np.ones((1, len(rows)))
    score: Callable[..., dict[str, np.ndarray]] = regression_scores
    if cohort.classes:
        score = partial(classification_scores, calibration=False)
    by_run: dict[int, list[FoldResult]] = {}
    for result in results:
        by_run.setdefault(result.fold.run, []).append(result)
    for p, y in enumerate(targets):
        mine = by_run[p]
        where = np.concatenate([r.fold.test for r in mine])
        for candidate in study.models:
            made = np.concatenate([r.predictions[candidate.name] for r in mine])
            for metric, value in score(ones, y[where], made).items():
                out.append({"permutation": p, "model": candidate.name, "metric": metric, "value": float(value[0])})
    return pd.DataFrame(out)


def _prediction_frame(results: list[FoldResult], cohort: Cohort) -> pd.DataFrame:
    parts = [(r.fold, name, made) for r in results for name, made in r.predictions.items()]
    rows = np.concatenate([fold.test for fold, _, _ in parts])
    made = np.concatenate([made for _, _, made in parts])
    frame = _by_fold([fold for fold, _, _ in parts], [len(made) for _, _, made in parts])
    frame["sample"] = cohort.samples[rows]
    frame["model"] = np.repeat(np.array([name for _, name, _ in parts], dtype=object), [len(m) for _, _, m in parts])
    frame["observed"] = cohort.target[rows]
    if cohort.classes:
        frame["predicted"] = np.asarray(cohort.classes, dtype=object)[made.argmax(axis=1)]
        frame[[prob_column(name) for name in cohort.classes]] = made
    else:
        frame["predicted"] = made
    return frame


def _by_fold(folds: list[Fold], counts: list[int]) -> pd.DataFrame:
    """Run and fold, each as many times as it has rows."""
    where = np.array([(fold.run, fold.fold) for fold in folds], dtype=np.int64)
    return pd.DataFrame(np.repeat(where, counts, axis=0), columns=["repeat", "fold"])


def _fold_frame(folds: list[Fold], cohort: Cohort) -> pd.DataFrame:
    parts = []
    for run in sorted({f.run for f in folds}):
        assigned = np.full(len(cohort.samples), TEST)
        for f in folds:
            if f.run == run:
                assigned[f.test] = f.fold
        there = assigned != TEST
        parts.append(pd.DataFrame({"repeat": run, "fold": assigned[there], "sample": cohort.samples[there]}))
    return pd.concat(parts, ignore_index=True)


def _screen_frame(results: list[FoldResult], cohort: Cohort) -> pd.DataFrame:
    frame = _by_fold([r.fold for r in results], [len(r.selected) for r in results])
    frame["feature"] = cohort.features[np.concatenate([r.selected for r in results])]
    frame["statistic"] = np.concatenate([r.statistic for r in results])
    return frame


def _tuned_frame(results: list[FoldResult]) -> pd.DataFrame:
    """What was chosen, as numbers or as text (repeat and fold are -1 for the test set's models)."""
    rows = [
        {"repeat": r.fold.run, "fold": r.fold.fold, "model": model, "parameter": name, "value": str(value)}
        for r in results
        for model, chosen in r.tuned.items()
        for name, value in chosen.items()
    ]
    frame = pd.DataFrame(rows, columns=["repeat", "fold", "model", "parameter", "value"])
    numbers = pd.to_numeric(frame["value"], errors="coerce")
    return frame if numbers.isna().any() else frame.assign(value=numbers.astype(float))


def _history_frame(results: list[FoldResult]) -> pd.DataFrame | None:
    parts = [
        frame.assign(repeat=r.fold.run, fold=r.fold.fold, model=model)
        for r in results
        for model, frame in r.history.items()
    ]
    if not parts:
        return None
    whole = pd.concat(parts, ignore_index=True)
    return whole[["repeat", "fold", "model", *[name for name in whole if name not in ("repeat", "fold", "model")]]]
