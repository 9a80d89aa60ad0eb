"""Folds and permutations: who is held out when, and what a target without signal looks like."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import gammaln
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from .errors import InputError, TargetError
from .models import task_seed

_TRIES = 50


@dataclass(frozen=True, eq=False)
class Fold:
    """One split: positions of training and held-out samples."""

    run: int
    fold: int
    train: np.ndarray
    test: np.ndarray


def check_feasible(target: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None, n_splits: int) -> None:
    """Refuse a study that cannot be split as asked, and say what would work.

    Raises
    ------
    TargetError
        One class, a constant target, fewer samples (or groups) of a class than folds.
    InputError
        An impossible number of folds.
    """
    n = len(target)
    if isinstance(n_splits, bool) or not isinstance(n_splits, int | np.integer) or n_splits < 2:
        raise InputError(f"n_splits must be an integer of at least 2, got {n_splits!r}.")
    if n_splits > n:
        raise InputError(f"n_splits={n_splits} with {n} samples; use at most {n}.")
    if groups is not None and len(set(groups)) < 2:
        raise InputError("All samples are of one group; groups cannot be held out. Leave groups= away or collect more.")
    if groups is not None and len(set(groups)) < n_splits:
        raise InputError(
            f"n_splits={n_splits} with {len(set(groups))} groups; use n_splits={len(set(groups))} or fewer."
        )
    if not classes:
        if np.ptp(target.astype(float)) == 0:
            raise TargetError(f"The target is constant ({target[0]}); there is nothing to predict.")
        return
    if len(classes) < 2:
        raise TargetError(f"The target has one class only ({classes[0]!r}, {n} samples); at least two are needed.")
    sizes = pd.Series(target).value_counts()
    small = sizes.idxmin()
    if sizes.min() < n_splits:
        advice = f"use n_splits={sizes.min()}" if sizes.min() >= 2 else "drop or merge the class"
        raise TargetError(
            f"Class {small!r} has {sizes.min()} samples, fewer than n_splits={n_splits}: some folds would hold none of it; {advice}."
        )
    if groups is not None:
        per_class = pd.DataFrame({"c": target, "g": groups}).drop_duplicates()["c"].value_counts()
        if per_class.min() < 2:
            raise TargetError(
                f"Class {per_class.idxmin()!r} occurs in one group only: with that group held out no sample of the class is left "
                "to learn from. Drop or merge the class, or collect it in more groups."
            )


def _splitter(classes: tuple[str, ...], grouped: bool, n_splits: int, seed: int):
    if classes:
        kind = StratifiedGroupKFold if grouped else StratifiedKFold
        return kind(n_splits, shuffle=True, random_state=seed)
    if not grouped:
        return KFold(n_splits, shuffle=True, random_state=seed)
    return GroupKFold(n_splits, shuffle=True, random_state=seed)


def make_folds(
    target: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None, *, n_splits: int, run: int, seed: int
) -> list[Fold]:
    """The folds of one run over all samples: stratified by class, groups kept whole.

    A group arrangement that leaves a training part without a class is drawn again.

    Raises
    ------
    TargetError
        If no arrangement in 50 draws leaves every class in every training part.
    """
    y = pd.factorize(target)[0] if classes else target
    groups = None if groups is None else pd.factorize(groups)[0]
    for attempt in range(_TRIES):
        splitter = _splitter(classes, groups is not None, n_splits, task_seed(seed, "folds", run, attempt))
        with warnings.catch_warnings():
            # of few members by group: whether the folds are good enough is judged below
            warnings.filterwarnings("ignore", message="The least populated class")
            parts = list(splitter.split(np.zeros(len(y)), y, groups))
        folds = [Fold(run, i, train, test) for i, (train, test) in enumerate(parts)]
        if all(len(f.test) for f in folds) and (
            not classes or all(len(set(y[f.train])) == len(classes) for f in folds)
        ):
            return folds
    raise TargetError(
        f"No arrangement of groups into {n_splits} folds leaves every class in every training part; "
        "use fewer folds (n_splits=2 or 3), or drop the rarest class."
    )


def inner_folds(y: np.ndarray, groups: np.ndarray | None, n_classes: int, *, n_splits: int, seed: int):
    """Folds of a training part for tuning, every class in every inner training part; None where it is too small."""
    units = np.arange(len(y)) if groups is None else groups
    parts = [units[y == c] for c in range(n_classes)] if n_classes else [units]
    fewest = min(len(set(part)) for part in parts)
    if len(set(units)) < n_splits or fewest < (n_splits if groups is None else 2):
        return None
    try:
        folds = make_folds(y, tuple(map(str, range(n_classes))), groups, n_splits=n_splits, run=0, seed=seed)
    except TargetError:
        return None
    return [(f.train, f.test) for f in folds]


def _members(groups: np.ndarray) -> list[np.ndarray]:
    code = pd.factorize(groups)[0]
    return [np.flatnonzero(code == g) for g in range(code.max() + 1)]


def permute(
    target: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator, *, numeric: bool = False
) -> np.ndarray:
    """A target without signal that respects the groups.

    Without groups, values are shuffled. Classes: groups of one class (a donor is a case or a control) exchange it; of
    the others (a donor before and after), those of one size exchange their values, which are then shuffled within.
    Numbers: groups exchange their means, and what is left is shuffled within, so that neither the differences between
    groups nor those within keep their place.
    """
    if groups is None:
        return rng.permutation(target)
    members = _members(groups)
    out = np.array(target, copy=True)
    if numeric:
        means = np.array([target[rows].mean() for rows in members])
        for rows, own, given in zip(members, means, rng.permutation(means), strict=True):
            out[rows] = given + rng.permutation(target[rows] - own)
        return out
    constant = [rows for rows in members if len(set(target[rows])) == 1]
    mixed = [rows for rows in members if len(set(target[rows])) > 1]
    for rows, source in zip(constant, rng.permutation(len(constant)), strict=True):
        out[rows] = target[constant[source][0]]
    for size in sorted({len(rows) for rows in mixed}):
        alike = [rows for rows in mixed if len(rows) == size]
        for rows, source in zip(alike, rng.permutation(len(alike)), strict=True):
            out[rows] = rng.permutation(target[alike[source]])
    return out


def arrangements(target: np.ndarray, groups: np.ndarray | None) -> float:
    """In how many different ways :func:`permute` can arrange these classes (up to 1e12): p cannot fall below 1 / that."""

    def ways(labels: list[object]) -> float:
        counts = pd.Series(labels).value_counts().to_numpy()
        return float(gammaln(counts.sum() + 1) - gammaln(counts + 1).sum())

    if groups is None:
        log = ways(list(target))
    else:
        members = _members(groups)
        constant = [target[rows[0]] for rows in members if len(set(target[rows])) == 1]
        log = ways(constant) if constant else 0.0
        log += sum(ways(list(target[rows])) for rows in members if len(set(target[rows])) > 1)
    return float(np.round(np.exp(min(log, np.log(1e12)))))
