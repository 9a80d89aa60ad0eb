"""Folds and permutations, as guarantees over many random designs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geneml_bio.core.errors import InputError, TargetError
from geneml_bio.core.resample import arrangements, check_feasible, inner_folds, make_folds, permute


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
