"""Learning curves against scikit-learn's and the validation itself; parts that are nested, stratified and of whole groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from sklearn.model_selection import learning_curve as by_sklearn
from test_validate import make_cohort

from geneml_bio.core.errors import InputError
from geneml_bio.core.learning_curve import TABLE, learning_curve, part_of
from geneml_bio.core.models import candidates, pipeline
from geneml_bio.core.resample import make_folds
from geneml_bio.core.schema import Cohort
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.validate import validate

RUN = {"screen": 15, "n_splits": 4, "n_repeats": 2, "n_jobs": 1, "progress": False}


def _cohort(seed=0, n=60, classes=("a", "b"), effect=1.0, groups=None, p=80):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.resize(np.array(classes, dtype=object), n))
    X = rng.normal(size=(n, p))
    X[y == classes[-1], :8] += effect
    names = (pd.Index([f"g{i}" for i in range(p)]), pd.Index([f"s{i}" for i in range(n)]))
    return Cohort(X, *names, y, tuple(classes), groups=groups)


def test_the_whole_training_part_gives_the_validation_itself():
    """Size 1 is fitted here, not taken; predictions, scores and intervals are those of the validation."""
    from geneml_bio.core.metrics import metrics_table

    cohort = make_cohort()
    models = candidates(["logistic", "random_forest"], "classification")
    whole = validate(cohort, models, **RUN)
    curve = learning_curve(cohort, models, sizes=[0.5], **RUN)
    mine = curve.predictions.query("fraction == 1").drop(columns="fraction").reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, whole.predictions)
    expected = metrics_table(whole).query("model in ['logistic', 'random_forest']")
    got = curve.table.query("fraction == 1")
    both = expected.merge(got, on=["model", "metric"], suffixes=("", "_curve"))
    assert len(both) == len(expected)
    for name in ("value", "low", "high"):
        np.testing.assert_array_equal(both[name], both[f"{name}_curve"])
    taken = learning_curve(cohort, models, sizes=[0.5], full=whole.predictions, **RUN)
    pd.testing.assert_frame_equal(taken.table, curve.table)
    assert list(curve.table.columns) == list(TABLE)


def test_smaller_parts_give_what_scikit_learn_gives_on_the_same_folds_and_samples():
    """sklearn.model_selection.learning_curve takes the first samples of each training list; ours are put first."""
    cohort, sizes = _cohort(1), (0.3, 0.6, 1.0)
    model = candidates("logistic", "classification")[0]
    how = RUN | {"n_splits": 5, "n_repeats": 1, "tune": False}
    curve = learning_curve(cohort, [model], sizes=sizes, **how)
    y = pd.Index(cohort.classes).get_indexer(pd.Index(cohort.target))
    folds = make_folds(cohort.target, cohort.classes, None, n_splits=5, run=0, seed=0)
    cv, counts = [], []
    for fold in folds:
        nested = [part_of(fold, y, cohort, size, 0) for size in sizes]
        order = list(nested[0])
        for part in nested[1:]:
            order += [row for row in part if row not in set(order)]
        cv.append((np.array(order), fold.test))
        counts.append([len(part) for part in nested])
    assert len({tuple(of) for of in counts}) == 1  # the same numbers in each fold, as scikit-learn needs them
    estimator = pipeline(model, ModeratedScreen(k=15, task="classification"), impute=False, seed=0)
    number, _, held_out = by_sklearn(estimator, cohort.X, y, train_sizes=counts[0], cv=cv, scoring="accuracy")
    for size, n, expected in zip(sizes, number, held_out, strict=True):
        made = curve.predictions.query("fraction == @size")
        got = [accuracy_score(part["observed"], part["predicted"]) for _, part in made.groupby("fold")]
        np.testing.assert_allclose(got, expected, atol=1e-12)
        assert set(curve.table.query("fraction == @size")["n_train"]) == {n}


@pytest.mark.parametrize("grouped", [False, True])
def test_parts_are_nested_stratified_and_of_whole_groups_over_seeds(grouped):
    for seed in range(100):
        rng = np.random.default_rng(seed)
        n, classes = int(rng.integers(40, 120)), ("a", "b", "c")
        groups = rng.integers(0, 18, n).astype(object) if grouped else None
        y = (
            np.array([classes[g % 3] for g in groups], dtype=object)
            if grouped
            else rng.choice(list(classes), n).astype(object)
        )
        cohort = Cohort(
            rng.normal(size=(n, 3)), pd.Index(list("xyz")), pd.Index(range(n)).astype(str), y, classes, groups=groups
        )
        code = pd.Index(classes).get_indexer(pd.Index(y))
        for fold in make_folds(y, classes, groups, n_splits=3, run=seed, seed=seed):
            parts = [set(part_of(fold, code, cohort, size, seed)) for size in (0.25, 0.5, 0.75, 1.0)]
            assert parts[0] <= parts[1] <= parts[2] <= parts[3] == set(fold.train)
            assert not parts[3] & set(fold.test)
            for size, part in zip((0.25, 0.5, 0.75), parts, strict=False):
                rows = np.array(sorted(part))
                if grouped:
                    whole = set(groups[fold.train])
                    taken = set(groups[rows])
                    assert all(set(fold.train[groups[fold.train] == g]) <= part for g in taken)
                    for c in range(3):
                        there = [g for g in whole if g % 3 == c]
                        assert abs(len([g for g in taken if g % 3 == c]) - size * len(there)) <= 1
                else:
                    share = np.bincount(code[rows], minlength=3) - size * np.bincount(code[fold.train], minlength=3)
                    assert np.abs(share).max() <= 1


def test_more_samples_help_where_there_is_something_to_learn_and_nowhere_else():
    model = candidates("logistic", "classification")
    gain = {0.0: [], 0.8: []}
    for seed in range(5):
        for effect, into in gain.items():
            table = learning_curve(
                _cohort(seed, n=80, effect=effect), model, sizes=[0.25], **RUN | {"tune": False}
            ).table
            value = table.query("metric == 'roc_auc'").set_index("fraction")["value"]
            into.append((value[0.25], value[1.0]))
    noise, signal = (np.mean(gain[effect], axis=0) for effect in (0.0, 0.8))
    assert np.abs(noise - 0.5).max() < 0.1
    assert signal[1] - signal[0] > 0.08


def test_sizes_with_too_few_of_a_class_are_skipped_with_the_reason():
    cohort = _cohort(2, n=48)
    rare = np.flatnonzero(cohort.target == "b")[12:]
    cohort = cohort.take(np.setdiff1d(np.arange(48), rare))  # 24 a, 12 b: 9 b in a training part
    model = candidates("logistic", "classification")
    curve = learning_curve(cohort, model, sizes=[0.1, 0.2, 0.5], **RUN)
    assert sorted(set(curve.table["fraction"])) == [0.5, 1.0]
    assert list(curve.skipped["fraction"]) == [0.1, 0.2]
    assert curve.skipped["reason"].str.contains("8 of 8 parts .* too few samples of a class for inner folds").all()
    with pytest.raises(InputError, match="no part of the training samples to learn from: 8 of 8 parts"):
        learning_curve(cohort, model, sizes=[0.1], **RUN)


def test_numbers_groups_and_repeats():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(48, 40))
    names = (pd.Index([f"g{i}" for i in range(40)]), pd.Index([f"s{i}" for i in range(48)]))
    cohort = Cohort(X, *names, X[:, 0] + 0.3 * rng.normal(size=48), groups=np.repeat(np.arange(16), 3).astype(object))
    curve = learning_curve(cohort, candidates("ridge", "regression"), sizes=0.5, curve_repeats=1, **RUN)
    assert set(curve.table["metric"]) >= {"r2", "rmse"}
    assert set(curve.table["n_train"]) == {18.0, 36.0}
    assert set(curve.repeats["repeat"]) == {0}
    value = curve.repeats.query("metric == 'r2' and fraction == 1")["value"].item()
    assert curve.table.query("metric == 'r2' and fraction == 1")["value"].item() == pytest.approx(value)


@pytest.mark.parametrize(
    "bad", [{"sizes": [0]}, {"sizes": [1.5]}, {"sizes": ["half"]}, {"sizes": [1.0]}, {"curve_repeats": 3}]
)
def test_what_means_nothing_is_refused(bad):
    with pytest.raises(InputError):
        learning_curve(_cohort(), candidates("logistic", "classification"), **RUN | bad)
