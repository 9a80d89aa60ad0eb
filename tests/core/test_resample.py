"""Folds and permutations, as guarantees over many random designs."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.model_selection import StratifiedGroupKFold

from geneml_bio.core.errors import InputError, TargetError
from geneml_bio.core.resample import (
    _stratified,
    arrangements,
    check_feasible,
    inner_folds,
    left_out_folds,
    make_folds,
    permute,
)
from geneml_bio.core.resample import (
    test_part as held_out_part,
)


def _random_design(seed: int):
    rng = np.random.default_rng(seed)
    n_splits = int(rng.integers(2, 6))
    n_groups = int(rng.integers(2 * n_splits, 25))
    kind = rng.integers(3)
    group_class = rng.permutation(np.arange(n_groups) % 2)
    sizes = rng.integers(1, 8, n_groups)
    groups = np.repeat(np.arange(n_groups), sizes)
    if kind == 0:  # donors are cases or controls
        y = group_class[groups]
    elif kind == 1:  # samples of both kinds in a donor
        y = rng.integers(0, 2, len(groups))
    else:  # a number
        return rng.normal(size=len(groups)), (), groups.astype(str), n_splits
    return np.array(["a", "b"])[y], ("a", "b"), groups.astype(str), n_splits


def test_no_group_is_on_both_sides_and_every_sample_is_held_out_once():
    checked = 0
    for seed in range(1000):
        y, classes, groups, n_splits = _random_design(seed)
        try:
            check_feasible(y, classes, groups, n_splits)
            folds = make_folds(y, classes, groups, n_splits=n_splits, run=0, seed=seed)
        except TargetError:
            continue
        held_out = np.concatenate([f.test for f in folds])
        assert sorted(held_out) == list(range(len(y)))
        for f in folds:
            assert not set(groups[f.train]) & set(groups[f.test])
            assert sorted([*f.train, *f.test]) == list(range(len(y)))
            assert not classes or set(y[f.train]) == set(classes)
        checked += 1
    assert checked >= 900  # the refusals are the exception


def test_folds_without_groups_are_stratified():
    y = np.array(["a"] * 30 + ["b"] * 10)
    for f in make_folds(y, ("a", "b"), None, n_splits=5, run=0, seed=3):
        assert (y[f.test] == "b").sum() == 2


def test_folds_of_groups_share_out_the_classes():
    for seed in range(200):
        groups = np.repeat(np.arange(20), 5)
        y = np.array(["a", "b"])[np.random.default_rng(seed).permutation(np.arange(20) % 2)][groups]
        for fold in make_folds(y, ("a", "b"), groups, n_splits=5, run=0, seed=seed):
            assert (y[fold.test] == "a").sum() == (y[fold.test] == "b").sum() == 10


@pytest.mark.skipif(
    tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 8),
    reason="before 1.8 scikit-learn's shuffled folds of groups are not stratified",
)
def test_folds_of_groups_are_those_of_scikit_learn():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n, k, n_groups, n_splits = rng.integers(20, 400), rng.integers(2, 5), rng.integers(6, 60), rng.integers(2, 6)
        groups, y = pd.factorize(rng.integers(0, n_groups, n))[0], rng.integers(0, k, n)
        if seed % 2:
            y = groups % k
        if len(set(groups)) < n_splits or np.bincount(y).max() < n_splits:
            continue
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            theirs = list(
                StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed).split(y, pd.factorize(y)[0], groups)
            )
        fold = _stratified(pd.factorize(y)[0], groups, n_splits, seed)[groups]
        for i, (_, test) in enumerate(theirs):
            np.testing.assert_array_equal(np.flatnonzero(fold == i), test)


def test_runs_and_seeds_draw_other_folds_and_the_same_seed_the_same():
    y = np.array(["a", "b"] * 20)

    def held_out(run, seed):
        return [tuple(f.test) for f in make_folds(y, ("a", "b"), None, n_splits=4, run=run, seed=seed)]

    assert held_out(0, 0) == held_out(0, 0)
    assert held_out(0, 0) != held_out(1, 0)
    assert held_out(0, 0) != held_out(0, 1)


@pytest.mark.parametrize(
    ("y", "classes", "groups", "n_splits", "error", "says"),
    [
        (["a"] * 9, ("a",), None, 3, TargetError, "one class only"),
        (["a"] * 9 + ["b"] * 2, ("a", "b"), None, 3, TargetError, "use n_splits=2"),
        (["a"] * 9 + ["b"], ("a", "b"), None, 3, TargetError, "drop or merge"),
        ([1.0] * 9, (), None, 3, TargetError, "constant"),
        (["a", "b"] * 5, ("a", "b"), ["x"] * 10, 3, InputError, "one group"),
        (["a", "b"], ("a", "b"), None, 3, InputError, "n_splits=3 with 2 samples"),
        (["a", "b"] * 5, ("a", "b"), None, 1, InputError, "at least 2"),
        (["a", "b"] * 5, ("a", "b"), None, True, InputError, "at least 2"),
        (["a", "b"] * 5, ("a", "b"), ["x", "y"] * 5, 3, InputError, "2 groups"),
        (["a"] * 6 + ["b"] * 3, ("a", "b"), list("uvwxyzqqq"), 3, TargetError, "one group only"),
    ],
)
def test_what_cannot_be_split_is_refused_with_the_way_out(y, classes, groups, n_splits, error, says):
    groups = None if groups is None else np.array(groups)
    y = np.array(y, dtype=object if classes else float)
    with pytest.raises(error, match=says):
        check_feasible(y, classes, groups, n_splits)


def test_permutation_keeps_the_values_and_respects_groups():
    rng = np.random.default_rng(0)
    y = np.array(["a", "b"] * 10)
    assert sorted(permute(y, None, rng)) == sorted(y)
    # donors of one class each: every donor still has one class, as many donors of each
    groups = np.repeat(np.arange(10), 3)
    constant = np.where(groups < 4, "a", "b")
    for _ in range(20):
        got = pd.Series(permute(constant, groups, rng)).groupby(groups).agg(set)
        assert all(len(values) == 1 for values in got)
        assert sum(values == {"a"} for values in got) == 4
    # donors with both: each keeps its own mixture
    mixed = np.tile(["a", "a", "b"], 10)
    for _ in range(20):
        got = permute(mixed, groups, rng)
        assert all(sorted(part) == ["a", "a", "b"] for part in np.split(got, 10))
    moved = [tuple(permute(mixed, groups, rng)) for _ in range(5)]
    assert len(set(moved)) == 5


def test_a_number_is_permuted_between_groups_and_within():
    """Donors measured twice with nearly the same value: shuffling within donors alone would keep the signal."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 2)
    y = np.repeat(rng.normal(size=20), 2) + np.tile([0, 0.01], 20)
    assert abs(np.mean([np.corrcoef(y, permute(y, groups, rng, numeric=True))[0, 1] for _ in range(200)])) < 0.05
    got = permute(y, groups, rng, numeric=True)
    assert got.mean() == pytest.approx(y.mean())
    assert np.abs(np.diff(got.reshape(20, 2), axis=1)).max() < 0.011  # what lies within a donor stays small


def test_mixed_groups_of_one_size_exchange_their_mixtures():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 4)
    y = np.array(list("aaab" * 3 + "abbb" * 3))
    shares = [(permute(y, groups, rng).reshape(6, 4) == "a").sum(axis=1) for _ in range(200)]
    assert all(sorted(share) == [1, 1, 1, 3, 3, 3] for share in shares)
    assert np.mean(shares, axis=0) == pytest.approx([2] * 6, abs=0.3)  # no donor keeps its own


@pytest.mark.parametrize(
    ("y", "groups", "ways"),
    [("aabb", None, 6), ("aabbaabb", "11223344", 6), ("ababab", "112233", 8), ("ab" * 30, None, 1e12)],
)
def test_arrangements_are_counted(y, groups, ways):
    assert arrangements(np.array(list(y)), None if groups is None else np.array(list(groups))) == pytest.approx(ways)


def test_inner_folds_hold_every_class_and_whole_groups_or_are_none():
    made = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        k, n_groups = int(rng.integers(2, 4)), int(rng.integers(3, 12))
        groups = np.repeat(np.arange(n_groups), rng.integers(1, 6, n_groups))
        y = (np.arange(n_groups) % k)[groups]
        folds = inner_folds(y, groups, k, n_splits=3, seed=seed)
        for train, test in folds or ():
            assert set(y[train]) == set(range(k))
            assert not set(groups[train]) & set(groups[test])
        made += folds is not None
    assert made > 200
    assert inner_folds(np.array([0, 0, 1, 1]), None, 2, n_splits=3, seed=0) is None


# -- test sets ---------------------------------------------------------------------------------------------------------


def test_a_test_set_has_the_size_asked_for_and_the_share_of_each_class():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        target = rng.permutation(np.repeat(["a", "b", "c"], [50, 30, 20]))
        picked = held_out_part(target, ("a", "b", "c"), None, 0.2, seed)
        counts = pd.Series(target[picked]).value_counts()
        assert dict(counts) == {"a": 10, "b": 6, "c": 4}
        assert held_out_part(target, ("a", "b", "c"), None, 17, seed).sum() == 17
    assert (
        held_out_part(target, ("a", "b", "c"), None, 0.2, 1) != held_out_part(target, ("a", "b", "c"), None, 0.2, 2)
    ).any()


def test_a_test_set_of_groups_keeps_them_whole_and_near_the_shares_asked_for():
    sizes, shares = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        n_groups = 24
        groups = np.repeat(np.arange(n_groups), rng.integers(2, 9, n_groups))
        target = np.where(rng.permutation(n_groups)[groups] % 2, "case", "control")
        picked = held_out_part(target, ("control", "case"), groups, 0.25, seed)
        assert not set(groups[picked]) & set(groups[~picked])
        assert {"case", "control"} == set(target[picked]) == set(target[~picked])
        sizes.append(picked.mean())
        shares.append((target[picked] == "case").mean() - (target == "case").mean())
    assert abs(np.mean(sizes) - 0.25) < 0.03
    assert np.abs(shares).max() < 0.15


@pytest.mark.parametrize(
    ("size", "error"),
    [
        (0, InputError),
        (1.0, InputError),
        (100, InputError),
        (-0.2, InputError),
        (True, InputError),
        ("0.2", InputError),
        (1, InputError),
    ],
)
def test_sizes_that_mean_nothing_are_refused(size, error):
    target = np.repeat(["a", "b"], 20)
    with pytest.raises(error, match="test_size"):
        held_out_part(target, ("a", "b"), None, size, 0)


def test_a_class_of_one_group_cannot_be_on_both_sides():
    target, groups = np.repeat(["a", "b"], 20), np.repeat([0, 1, 2, 3], 10)
    target[groups == 3], target[groups == 2] = "c", "b"
    with pytest.raises(TargetError, match="on both sides"):
        held_out_part(target, ("a", "b", "c"), groups, 0.25, 0)


# -- batches left out --------------------------------------------------------------------------------------------------


def test_each_batch_is_held_out_once_without_the_donors_it_shares_with_others():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        n = 80
        batch, donors = rng.choice(["x", "y", "z"], n), rng.integers(0, 30, n)
        target = rng.permutation(np.repeat(["a", "b"], n // 2))
        folds = left_out_folds(batch, target, ("a", "b"), donors)
        assert sorted(np.concatenate([f.test for f in folds])) == list(range(n))
        for fold in folds:
            assert len(set(batch[fold.test])) == 1
            assert not set(batch[fold.test]) & set(batch[fold.train])
            assert not set(donors[fold.test]) & set(donors[fold.train])


def test_a_batch_with_the_only_samples_of_a_class_is_named():
    batch, target = np.repeat(["x", "y", "z"], 10), np.repeat(["a", "b", "a"], 10)
    with pytest.raises(TargetError, match=r"'y'.*'b'"):
        left_out_folds(batch, target, ("a", "b"), None)


# -- permutation within batches ----------------------------------------------------------------------------------------


def test_batches_keep_their_classes_and_donors_stay_whole_when_permuted():
    moved = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        donors = np.repeat(np.arange(20), rng.integers(1, 5, 20))
        batch = np.array(["x", "y", "z"])[donors % 3]
        target = np.where(rng.random(20)[donors] < 0.3 + 0.2 * (donors % 3), "case", "control")
        out = permute(target, donors, rng, batch=batch)
        for name in "xyz":
            before, after = (pd.Series(t[batch == name]).groupby(donors[batch == name]).first() for t in (target, out))
            assert sorted(before) == sorted(after)
        assert all(len(set(out[donors == d])) == 1 for d in range(20))
        moved += (out != target).any()
        numbers = rng.normal(size=len(donors))
        mixed = permute(numbers, None, rng, numeric=True, batch=batch)
        assert all(np.allclose(sorted(numbers[batch == b]), sorted(mixed[batch == b])) for b in "xyz")
    assert moved > 80


def test_batches_of_one_class_leave_one_arrangement():
    target, batch = np.repeat(["a", "b"], 10), np.repeat(["x", "y"], 10)
    assert arrangements(target, None, batch) == 1
    assert arrangements(target, None) == 184756
    half = np.tile(["x", "y"], 10)
    assert arrangements(target, None, half) == 252**2
