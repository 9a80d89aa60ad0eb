"""How held-out scores grow with the number of training samples: each fold's training part, made smaller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .errors import InputError
from .fitting import INNER_SPLITS, apart, is_calibrated, plan_candidate
from .folds import Study
from .metrics import metrics_table, score_predictions
from .models import Candidate, task_seed
from .resample import Fold, inner_folds
from .schema import Cohort, Validation
from .units import run_all
from .validate import _codes, _fold_frame, _prediction_frame, _runs, _study, weights_by_code

TABLE = ("model", "fraction", "n_train", "metric", "value", "low", "high", "sd", "n_repeats", "n_undefined")


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Scores by size of the training part.

    Parameters
    ----------
    table
        One row a model, size and metric; columns ``TABLE``. ``n_train``: samples learned from, mean over folds.
    repeats
        ``model fraction n_train repeat metric value``.
    skipped
        ``fraction reason``: sizes at which a class would have too few samples.
    predictions
        ``fraction`` and the columns of a validation's predictions; in memory only.
    """

    table: pd.DataFrame
    repeats: pd.DataFrame
    skipped: pd.DataFrame
    predictions: pd.DataFrame


def learning_curve(
    cohort: Cohort,
    models: Sequence[Candidate],
    *,
    sizes: Iterable[float] = (0.25, 0.5, 0.75, 1.0),
    full: pd.DataFrame | None = None,
    screen: Any = 200,
    n_splits: int = 5,
    n_repeats: int = 5,
    curve_repeats: int | None = None,
    cv: str = "kfold",
    tune: bool = True,
    calibrate: str | None = None,
    class_weight: str | Mapping[str, float] | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
    label: str = "learning curve",
) -> LearningCurve:
    """Validate whole pipelines on parts of each fold's training samples; the samples that are held out stay the same.

    Parameters
    ----------
    cohort
        The samples of the cross-validation.
    models
        What to fit.
    sizes
        Shares of the training part; 1 is always among them.
    full
        Predictions of the validation with these arguments, to be taken for size 1; None fits it too.
    curve_repeats
        How many of the ``n_repeats`` repeats to use, the first of them; None: all.
    screen, n_splits, n_repeats, cv, tune, calibrate, class_weight, seed, n_jobs, progress, label
        As in :func:`geneml_bio.core.validate.validate`.

    Notes
    -----
    Part of a fold's samples: of each class the same share, drawn without regard to anything else; of groups whole ones (by the
    classes that they hold). A smaller part lies within a larger one, so that two sizes differ by what was added. Everything is
    refitted: screen, imputer, tuning, calibration. A size is skipped where a part could not be tuned as the whole is (inner folds with
    every class), or would have fewer than two samples of a class: it would not be the same pipeline.

    Raises
    ------
    InputError
        For sizes or repeats that mean nothing, and where no size but 1 is left.
    """
    wanted = _sizes(sizes)
    used = _counted(curve_repeats, n_repeats)
    folds = [f for f in _runs(cohort, cv, n_splits, n_repeats, seed)(cohort.target, None) if f.run < used]
    weights = weights_by_code(class_weight, cohort.classes)
    learning = np.ones(len(cohort.samples), dtype=bool)
    study = _study(cohort, models, screen, seed, learning, tune=tune, calibrate=calibrate, class_weight=weights)
    y = _codes(cohort.target, cohort.classes)
    parts, skipped = {}, []
    for size in wanted:
        made = [Fold(f.run, f.fold, part_of(f, y, cohort, size, seed), f.test) for f in folds]
        reason = "" if size == 1 else _too_few(study, y, cohort, folds, made)
        if reason:
            skipped.append({"fraction": size, "reason": reason})
        else:
            parts[size] = made
    if len(parts) < 2:
        why = skipped[-1]["reason"] if skipped else "all sizes named are 1"
        raise InputError(
            f"There is no part of the training samples to learn from: {why}. Use other sizes, or fewer folds."
        )
    units = [(study, f, y, "true", False) for size, made in parts.items() if size < 1 or full is None for f in made]
    results = iter(run_all(units, len(units), n_jobs, label, progress))
    tables, repeats, predictions = [], [], []
    for size, made in parts.items():
        if size == 1 and full is not None:
            names = [c.name for c in models]
            table = full[full["model"].astype(str).isin(names) & (full["repeat"] < used)].reset_index(drop=True)
        else:
            table = _prediction_frame([next(results) for _ in made], cohort)
        about = {"fraction": size, "n_train": float(np.mean([len(f.train) for f in made]))}
        scored, single = _scored(table, folds, cohort, models, seed)
        tables.append(scored.assign(**about))
        repeats.append(single.assign(**about))
        predictions.append(table.assign(fraction=size))
    by_repeat = pd.concat(repeats, ignore_index=True)[["model", "fraction", "n_train", "repeat", "metric", "value"]]
    whole = pd.concat(tables, ignore_index=True)
    spread = by_repeat.groupby(["model", "fraction", "metric"])["value"].std().rename("sd").reset_index()
    whole = whole.merge(spread, on=["model", "fraction", "metric"], how="left").assign(n_repeats=used)
    order = {c.name: k for k, c in enumerate(models)}
    whole = whole.sort_values("model", key=lambda names: names.map(order), kind="stable")[list(TABLE)]
    return LearningCurve(
        whole.reset_index(drop=True),
        by_repeat,
        pd.DataFrame(skipped, columns=["fraction", "reason"]),
        pd.concat(predictions, ignore_index=True),
    )


def _sizes(sizes: Iterable[float]) -> list[float]:
    given = [sizes] if isinstance(sizes, int | float) else list(sizes)
    for size in given:
        number = isinstance(size, int | float | np.number) and not isinstance(size, bool)
        if not number or not 0 < size <= 1:
            raise InputError(f"sizes are shares of the training samples, above 0 and up to 1; got {size!r}.")
    return sorted({float(size) for size in given} | {1.0})


def _counted(asked: int | None, there: int) -> int:
    if asked is None:
        return there
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer) or not 1 <= asked <= there:
        raise InputError(f"n_repeats must be between 1 and {there}, the number of repeats validated; got {asked!r}.")
    return int(asked)


def part_of(fold: Fold, y: np.ndarray, cohort: Cohort, size: float, seed: int) -> np.ndarray:
    """Rows of a share of a fold's training samples, in their order: of each class the same share, whole groups, nested by size."""
    if size == 1:
        return fold.train
    rng = np.random.default_rng(task_seed(seed, "learning curve", fold.run, fold.fold))
    unit = fold.train if cohort.groups is None else pd.factorize(cohort.groups)[0][fold.train]
    kind = pd.Series(y[fold.train] if cohort.classes else np.zeros(len(fold.train), dtype=int))
    stratum = kind.groupby(unit).agg(lambda codes: " ".join(map(str, sorted(set(codes)))))
    taken: list[Any] = []
    for _, members in stratum.groupby(stratum, sort=True):
        order = rng.permutation(members.index.to_numpy())
        taken += list(order[: max(int(np.floor(size * len(order) + 0.5)), 1)])
    return fold.train[np.isin(unit, taken)]


def _too_few(study: Study, y: np.ndarray, cohort: Cohort, folds: list[Fold], parts: list[Fold]) -> str:
    """Why some of these parts cannot be learned from as the whole training parts are; empty if all can."""
    n_classes, bad = len(cohort.classes), 0

    def inner(rows: np.ndarray) -> bool:
        own = None if study.groups is None else study.groups[rows]
        return inner_folds(y[rows], own, n_classes, n_splits=INNER_SPLITS, seed=0) is not None

    def calibrated(part: Fold) -> bool:  # by the folds that the fit itself will draw
        own = {"groups": study.groups, "covariates": study.covariates}
        own = {name: None if value is None else value[part.train] for name, value in own.items()}
        for model in filter(lambda model: is_calibrated(study.recipe, model), study.models):
            seed = task_seed(study.seed, "true", part.run + 1, part.fold + 1, model.name)
            if plan_candidate(study.recipe, model, y[part.train], **own, seed=seed).inner is None:
                return False
        return True

    for whole, part in zip(folds, parts, strict=True):
        rows = part.train
        counts = np.bincount(y[rows], minlength=n_classes) if n_classes else np.array([len(rows)])
        enough = counts.min() >= 2 and (n_classes > 0 or np.ptp(y[rows]) > 0)
        if enough and study.covariates is not None:
            enough = apart(y[rows], study.covariates[rows], n_classes)
        bad += not (enough and (inner(rows) or not inner(whole.train)) and calibrated(part))
    if not bad:
        return ""
    fewest = min(len(part.train) for part in parts)
    what = "samples" if cohort.groups is None else "groups"
    return f"{bad} of {len(parts)} parts (of {fewest} samples or more) have too few {what} of a class for inner folds"


def _scored(
    predictions: pd.DataFrame, folds: list[Fold], cohort: Cohort, models: Sequence[Candidate], seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Every metric as in a validation, with its interval; and by repeat."""
    made = Validation(
        predictions=predictions,
        folds=_fold_frame(folds, cohort),
        screens=pd.DataFrame(columns=["repeat", "fold", "feature", "statistic"]),
        spec={"seed": seed, "models": [c.name for c in models], "n_repeats": len({f.run for f in folds})},
        audit=pd.DataFrame(columns=["check", "level", "message"]),
        classes=cohort.classes,
    )
    table = metrics_table(made, groups=cohort.groups)
    table = table[table["model"].isin(made.models)][["model", "metric", "value", "low", "high", "n_undefined"]]
    samples, rows = pd.Index(cohort.samples), []
    for run, part in predictions.groupby("repeat"):
        scores = score_predictions(part.drop(columns="repeat"), cohort.classes, samples, np.ones((1, len(samples))))
        rows += [(model, run, metric, float(value[0])) for (model, metric), value in scores.items()]
    return table, pd.DataFrame(rows, columns=["model", "repeat", "metric", "value"])
