"""Folds, test sets and permutations: who is held out when, and what a target without signal looks like."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import gammaln
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from .errors import InputError, TargetError
from .models import task_seed

CV = ("kfold", "leave_one_batch_out", "leave_one_group_out")
_TRIES = 50
_DRAWS = 200  # random sets of groups, of which the one nearest to the shares asked for is the test set


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
    sizes = pd.Series(target).value_counts().reindex(list(classes), fill_value=0)
    small = sizes.idxmin()
    if not sizes.min():
        raise TargetError(f"No sample of class {small!r} is left to learn from; all of them are in the test set.")
    if sizes.min() < n_splits:
        advice = f"use n_splits={sizes.min()}" if sizes.min() >= 2 else "drop or merge the class"
        has = f"{sizes.min()} sample{'s' if sizes.min() > 1 else ''}, fewer than n_splits={n_splits}"
        raise TargetError(f"Class {small!r} has {has}: some folds would hold none of it; {advice}.")
    if groups is not None:
        per_class = pd.DataFrame({"c": target, "g": groups}).drop_duplicates()["c"].value_counts()
        if per_class.min() < 2:
            raise TargetError(
                f"Class {per_class.idxmin()!r} occurs in one group only: with that group held out no sample of the class is left "
                "to learn from. Drop or merge the class, or collect it in more groups."
            )


def held_out(
    y: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None, n_splits: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Training and held-out samples of each fold; ``groups`` as codes from 0. Stratified where there are classes."""
    if classes and groups is not None:
        fold = _stratified(y, groups, n_splits, seed)[groups]
        return [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(n_splits)]
    kind = StratifiedKFold if classes else KFold if groups is None else GroupKFold
    return list(kind(n_splits, shuffle=True, random_state=seed).split(np.zeros(len(y)), y, groups))


def _stratified(y: np.ndarray, groups: np.ndarray, n_splits: int, seed: int) -> np.ndarray:
    """The fold of each group, so that the folds have even shares of each class.

    Groups, those whose classes differ most in number first, go where the shares then differ least; among equals, to the smallest
    fold. This is ``StratifiedGroupKFold(shuffle=True)`` as scikit-learn has it since 1.8 (earlier ones take the shuffled order for that of
    the groups, and share out nothing), without loops over samples.

    Parameters
    ----------
    y, groups
        Codes from 0, one a sample.
    """
    n, k = int(groups.max()) + 1, int(y.max()) + 1
    counts = np.bincount(groups * k + y, minlength=n * k).reshape(n, k).astype(float)
    order = np.random.RandomState(seed).permutation(n)
    order = order[np.argsort(-counts[order].std(axis=1), kind="stable")]
    whole, each = counts.sum(axis=0), np.arange(n_splits)
    held, fold = np.zeros((n_splits, k)), np.empty(n, dtype=np.intp)
    for group in order:
        tried = np.tile(held, (n_splits, 1, 1))
        tried[each, each] += counts[group]
        uneven, size = (tried / whole).std(axis=1).mean(axis=1), held.sum(axis=1)
        best = 0
        for i in range(1, n_splits):
            alike = abs(uneven[i] - uneven[best]) <= 1e-8 + 1e-5 * uneven[best]
            if uneven[i] < uneven[best] or (alike and size[i] < size[best]):
                best = i
        held[best] += counts[group]
        fold[group] = best
    return fold


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
        with warnings.catch_warnings():
            # of few members: whether the folds are good enough is judged below
            warnings.filterwarnings("ignore", message="The least populated class")
            parts = held_out(y, classes, groups, n_splits, task_seed(seed, "folds", run, attempt))
        folds = [Fold(run, i, train, test) for i, (train, test) in enumerate(parts)]
        if all(len(f.test) and len(f.train) and _has_all(y[f.train], classes) for f in folds):
            return folds
    raise TargetError(
        f"No arrangement of groups into {n_splits} folds leaves every class in every training part; "
        "use fewer folds (n_splits=2 or 3), or drop the rarest class."
    )


def _has_all(y: np.ndarray, classes: tuple[str, ...]) -> bool:
    """Whether every class, or more than one number, is among these."""
    return bool(np.bincount(y, minlength=len(classes)).all() if classes else (y != y[0]).any())


def left_out_folds(
    left_out: np.ndarray, target: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None
) -> list[Fold]:
    """One fold for each batch (or group), which holds it out whole.

    Samples whose group has others in the held-out batch are not trained on, so that no donor is on both sides.

    Raises
    ------
    TargetError
        If a batch holds all samples of a class: without it there is nothing to learn the class from.
    """
    code, names = pd.factorize(left_out, sort=True)
    if len(names) < 2:
        raise InputError(f"All samples are of {names[0]!r}; there is nothing to train on when it is left out.")
    own = np.arange(len(target)) if groups is None else pd.factorize(groups)[0]
    folds = []
    for fold, name in enumerate(names):
        test = np.flatnonzero(code == fold)
        train = np.flatnonzero((code != fold) & ~np.isin(own, own[test]))
        lost = [c for c in classes if c not in set(target[train])]
        if lost or not len(train):
            what = f"class {lost[0]!r} has no samples" if lost else "there are no samples"
            raise TargetError(
                f"With {name!r} left out {what} to learn from. Leave that batch out of the study, or use cv='kfold'."
            )
        folds.append(Fold(0, fold, train, test))
    return folds


def test_part(
    target: np.ndarray, classes: tuple[str, ...], groups: np.ndarray | None, size: float | int, seed: int
) -> np.ndarray:
    """Which samples are held out as the test set: stratified by class, groups kept whole.

    Parameters
    ----------
    size
        A share of the samples (between 0 and 1), or how many.

    Returns
    -------
    Boolean array. With groups, of 200 random sets of groups the one whose size and class shares are nearest to those asked for.
    """
    n = len(target)
    number = isinstance(size, float | int | np.number) and not isinstance(size, bool)
    if not number or not 0 < size < n or (size >= 1 and not isinstance(size, int | np.integer)):
        raise InputError(f"test_size must be a share between 0 and 1, or a count below {n}; got {size!r}.")
    count = int(size) if size >= 1 else int(np.ceil(size * n))
    least = max(len(classes), 1)
    if not least <= count <= n - least:
        raise InputError(
            f"test_size={size!r} of {n} samples holds out {count} and leaves {n - count}; at least {least} are needed on both sides."
        )
    picked = np.zeros(n, dtype=bool)
    random = task_seed(seed, "test")
    if groups is not None:
        picked = _test_groups(target, classes, groups, count, random)
    elif classes:
        if pd.Series(target).value_counts().min() < 2:
            raise TargetError("A class has one sample only; it cannot be in the training part and in the test set.")
        split = StratifiedShuffleSplit(1, test_size=count, random_state=random)
        picked[next(split.split(np.zeros(n), target))[1]] = True
    else:
        picked[next(ShuffleSplit(1, test_size=count, random_state=random).split(np.zeros(n)))[1]] = True
    lost = [c for c in classes if not (target[picked] == c).any() or not (target[~picked] == c).any()]
    if lost or not picked.any() or picked.all():
        raise TargetError(
            f"No test set of about {count} samples leaves {repr(lost[0]) if lost else 'samples'} on both sides"
            f"{' with the groups kept whole' if groups is not None else ''}; use another test_size, or none."
        )
    return picked


def _test_groups(target: np.ndarray, classes: tuple[str, ...], groups: np.ndarray, count: int, seed: int) -> np.ndarray:
    code, names = pd.factorize(groups)
    if len(names) < 2:
        raise InputError(
            "All samples are of one group; a test set cannot be held out. Leave groups= away or collect more."
        )
    y = pd.get_dummies(pd.Series(target)).to_numpy(float) if classes else np.ones((len(target), 1))
    wanted = y.sum(axis=0) * count / len(target)
    share = min(max(count / len(target), 1 / len(names)), 1 - 1 / len(names))
    best, least = np.zeros(len(target), dtype=bool), np.inf
    for _, test in GroupShuffleSplit(_DRAWS, test_size=share, random_state=seed).split(y, groups=code):
        held = y[test].sum(axis=0)
        missing = ((held == 0) | (held == y.sum(axis=0))).sum() if classes else 0
        off = np.abs(held - wanted).sum() + len(target) * missing
        if off < least:
            least, best = off, np.isin(np.arange(len(target)), test)
    return best


def some_of_each(
    labels: Sequence[np.ndarray], n: int, size: int, rng: np.random.Generator, least: int = 20
) -> np.ndarray:
    """A sample of rows: proportional within all combinations of labels, and at least a few of each value of the first.

    Parameters
    ----------
    labels
        Codes, one a row each; the first is that of which none is to be lost.
    n, size
        How many rows there are and, about, how many are wanted.
    rng
        What is random.
    least
        Rows of each value of the first label, or all where it has fewer.

    Returns
    -------
    Positions, increasing: all where there are no more than ``size``.
    """
    if n <= size:
        return np.arange(n)
    strata = np.zeros(n, dtype=np.int64)
    for label in labels:
        strata = np.unique(strata * (int(label.max()) + 1) + label, return_inverse=True)[1]
    shuffled = rng.permutation(n)
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]  # strata one after the other, each shuffled
    at = (np.arange(size) + rng.random()) * n / size
    taken = np.zeros(n, dtype=bool)
    taken[order[at.astype(int)]] = True
    for value in np.unique(labels[0]) if labels else ():
        mine = shuffled[labels[0][shuffled] == value]
        lacking = least - int(taken[mine].sum())
        if lacking > 0:
            taken[mine[~taken[mine]][:lacking]] = True
    return np.flatnonzero(taken)


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
    return np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])


def _strata(batch: np.ndarray | None, groups: np.ndarray | None, n: int) -> list[np.ndarray]:
    """Samples that may exchange values: all, or those of one batch (of groups: those whose groups have the same batches)."""
    if batch is None:
        return [np.arange(n)]
    label = pd.Series(batch).astype(str)
    if groups is not None:
        own = label.groupby(pd.factorize(groups)[0])
        label = own.transform(lambda values: "\x1f".join(sorted(set(values))))
    return _members(label.to_numpy())


def permute(
    target: np.ndarray,
    groups: np.ndarray | None,
    rng: np.random.Generator,
    *,
    numeric: bool = False,
    batch: np.ndarray | None = None,
) -> np.ndarray:
    """A target without signal that respects the groups and the batches.

    Without groups, values are shuffled. Classes: groups of one class (a donor is a case or a control) exchange it; of
    the others (a donor before and after), those of one size exchange their values, which are then shuffled within.
    Numbers: groups exchange their means, and what is left is shuffled within, so that neither the differences between
    groups nor those within keep their place. With batches all this happens within each batch, so that the permuted target is
    as entangled with batch as the true one: what batch alone can predict is part of the null.
    """
    out = np.array(target, copy=True)
    for rows in _strata(batch, groups, len(target)):
        own = None if groups is None else groups[rows]
        out[rows] = _permuted(target[rows], own, rng, numeric)
    return out


def _permuted(target: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator, numeric: bool) -> np.ndarray:
    if groups is None:
        return rng.permutation(target)
    members = _members(groups)
    out = np.array(target, copy=True)
    if numeric:
        means = np.array([target[rows].mean() for rows in members])
        for rows, own, given in zip(members, means, rng.permutation(means), strict=True):
            out[rows] = given + rng.permutation(target[rows] - own)
        return out
    one = [bool((target[rows] == target[rows[0]]).all()) for rows in members]
    constant = [rows for rows, alike in zip(members, one, strict=True) if alike]
    mixed = [rows for rows, alike in zip(members, one, strict=True) if not alike]
    for rows, source in zip(constant, rng.permutation(len(constant)), strict=True):
        out[rows] = target[constant[source][0]]
    for size in sorted({len(rows) for rows in mixed}):
        alike = [rows for rows in mixed if len(rows) == size]
        for rows, source in zip(alike, rng.permutation(len(alike)), strict=True):
            out[rows] = rng.permutation(target[alike[source]])
    return out


def arrangements(target: np.ndarray, groups: np.ndarray | None, batch: np.ndarray | None = None) -> float:
    """In how many different ways :func:`permute` can arrange these classes (up to 1e12): p cannot fall below 1 / that."""

    def ways(counts: np.ndarray) -> float:
        return float(gammaln(counts.sum() + 1) - gammaln(counts + 1).sum())

    log = 0.0
    for rows in _strata(batch, groups, len(target)):
        kind = pd.factorize(target[rows])[0]
        if groups is None:
            log += ways(np.bincount(kind))
            continue
        own = pd.factorize(groups[rows])[0]
        pairs, counts = np.unique(own * (int(kind.max()) + 1) + kind, return_counts=True)
        own, kind = np.divmod(pairs, int(kind.max()) + 1)
        mixed = np.bincount(own)[own] > 1
        log += ways(np.bincount(kind[~mixed]))
        log += float(gammaln(np.bincount(own[mixed], counts[mixed]) + 1).sum() - gammaln(counts[mixed] + 1).sum())
    return float(np.round(np.exp(min(log, np.log(1e12)))))
