"""The validation engine: who sees what, the same numbers whatever the workers, scikit-learn's own loop as the oracle."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from geneml_bio.core.detable import DETable
from geneml_bio.core.errors import InputError, LeakageError, TargetError
from geneml_bio.core.external import made_of
from geneml_bio.core.models import candidates
from geneml_bio.core.moderated import e_bayes, lm_fit
from geneml_bio.core.schema import Cohort, ExternalScreen, prob_column
from geneml_bio.core.validate import validate


def make_cohort(n=48, p=120, n_true=5, effect=1.5, classes=("a", "b"), seed=0, **more) -> Cohort:
    rng = np.random.default_rng(seed)
    code = np.arange(n) % len(classes)
    X = rng.normal(size=(n, p))
    X[:, :n_true] += effect * code[:, None]
    names = pd.Index([f"g{i}" for i in range(p)]), pd.Index([f"s{i}" for i in range(n)])
    return Cohort(X, *names, np.array(classes, dtype=object)[code], classes, **more)


LOGISTIC = {"mine": LogisticRegression(C=0.1, max_iter=1000)}


def test_out_of_fold_predictions_are_those_of_a_plain_scikit_learn_loop():
    cohort = make_cohort()
    got = validate(
        cohort, candidates(LOGISTIC, "classification"), screen=20, n_splits=4, n_repeats=2, progress=False, n_jobs=1
    )
    y = (cohort.target == "b").astype(int)
    position = {name: i for i, name in enumerate(cohort.samples)}
    for (repeat, fold), part in got.folds.groupby(["repeat", "fold"]):
        test = np.array([position[name] for name in part["sample"]])
        train = np.setdiff1d(np.arange(48), test)
        top = got.screens.query("repeat == @repeat and fold == @fold")["feature"]
        columns = sorted(cohort.features.get_indexer(top))
        loop = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(
            cohort.X[train][:, columns], y[train]
        )
        mine = got.predictions.query("repeat == @repeat and fold == @fold").set_index("sample")
        expected = loop.predict_proba(cohort.X[test][:, columns])[:, 1]
        np.testing.assert_allclose(mine.loc[cohort.samples[test], prob_column("b")], expected, atol=1e-8)


def test_the_screen_of_a_fold_is_limmas_top_of_its_training_part():
    cohort = make_cohort(p=400)
    got = validate(
        cohort, candidates(LOGISTIC, "classification"), screen=30, n_splits=4, n_repeats=1, progress=False, n_jobs=1
    )
    for fold in range(4):
        train = ~cohort.samples.isin(got.folds.query("fold == @fold")["sample"])
        design = np.column_stack([np.ones(train.sum()), cohort.target[train] == "b"]).astype(float)
        t = e_bayes(lm_fit(cohort.X[train], design)).t[:, 1]
        top = np.argsort(-np.abs(t))[:30]
        mine = got.screens.query("fold == @fold")
        assert list(mine["feature"]) == list(cohort.features[top])
        np.testing.assert_allclose(mine["statistic"], t[top], rtol=1e-9)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_same_seed_gives_the_same_numbers_whatever_n_jobs(task):
    if task == "classification":
        cohort = make_cohort()
    else:
        base = make_cohort()
        cohort = Cohort(base.X, base.features, base.samples, base.X[:, 0] + np.arange(48) / 10)
    run = {"screen": 30, "n_splits": 3, "n_repeats": 2, "n_permutations": 2, "progress": False}
    one = validate(cohort, candidates("default", task), **run, n_jobs=1, seed=3)
    two = validate(cohort, candidates("default", task), **run, n_jobs=2, seed=3)
    other = validate(cohort, candidates("default", task), **run, n_jobs=1, seed=4)
    pd.testing.assert_frame_equal(one.predictions, two.predictions, check_exact=True)
    pd.testing.assert_frame_equal(one.null, two.null, check_exact=True)
    pd.testing.assert_frame_equal(one.screens, two.screens, check_exact=True)
    pd.testing.assert_frame_equal(one.tuned, two.tuned, check_exact=True)
    assert not one.predictions["fold"].equals(other.predictions["fold"]) or not np.allclose(
        one.predictions.iloc[:, -1].to_numpy(float), other.predictions.iloc[:, -1].to_numpy(float)
    )


def test_a_model_does_not_depend_on_the_other_models_beside_it():
    cohort = make_cohort()
    run = {"screen": 30, "n_splits": 3, "n_repeats": 1, "progress": False, "n_jobs": 1}
    alone = validate(cohort, candidates(["xgboost"], "classification"), **run).predictions
    beside = validate(cohort, candidates("default", "classification"), **run).predictions
    both = beside[beside["model"] == "xgboost"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, both)


def test_every_sample_is_scored_once_per_repeat_and_model():
    got = validate(
        make_cohort(), candidates("default", "classification"), screen=10, n_splits=3, n_repeats=2, progress=False
    )
    counts = got.predictions.groupby(["repeat", "model", "sample"]).size()
    assert (counts == 1).all()
    assert len(counts) == 2 * 3 * 48
    assert set(got.tuned["model"]) == {"logistic"}
    assert set(got.tuned["value"]) <= {0.001, 0.01, 0.1, 1.0}


def test_held_out_samples_do_not_touch_the_model_that_predicts_them():
    """Wrecking the held-out samples of a fold leaves that fold's fitted model as it was."""
    cohort = make_cohort()
    run = {"screen": 20, "n_splits": 4, "n_repeats": 1, "progress": False, "n_jobs": 1}
    before = validate(cohort, candidates(["logistic"], "classification"), **run)
    test = cohort.samples.isin(before.folds.query("fold == 2")["sample"])
    X = cohort.X.copy()
    X[test] = np.random.default_rng(9).normal(50, 30, size=X[test].shape)
    wrecked = Cohort(X, cohort.features, cohort.samples, cohort.target, cohort.classes)
    after = validate(wrecked, candidates(["logistic"], "classification"), **run)
    a, b = before.fitted[0, 2, "logistic"], after.fitted[0, 2, "logistic"]
    np.testing.assert_array_equal(a["model"].coef_, b["model"].coef_)
    np.testing.assert_array_equal(a["scale"].mean_, b["scale"].mean_)
    np.testing.assert_array_equal(a["screen"].statistic_, b["screen"].statistic_)
    assert not np.array_equal(
        before.fitted[0, 1, "logistic"]["model"].coef_, after.fitted[0, 1, "logistic"]["model"].coef_
    )


def test_missing_values_are_imputed_from_the_training_part():
    cohort = make_cohort()
    cohort.X[5, 0] = np.nan
    got = validate(
        cohort, candidates(["logistic"], "classification"), screen=20, n_splits=4, n_repeats=1, progress=False, n_jobs=1
    )
    for (_, fold, _), whole in got.fitted.items():
        train = ~cohort.samples.isin(got.folds.query("fold == @fold")["sample"])
        assert whole["impute"].statistics_[0] == np.nanmedian(cohort.X[train, 0])


def test_genes_chosen_beforehand_are_refused_unless_they_come_from_other_samples():
    cohort = make_cohort()
    frame = pd.DataFrame({"logFC": [1.0, 2.0], "P.Value": [0.01, 0.5]}, index=["g3", "g4"])
    de = DETable(frame)
    run = {"n_splits": 3, "n_repeats": 1, "progress": False, "n_jobs": 1}
    for screen in (de, frame, ["g1"], np.array(["g1"]), frame.index, {"g1"}):
        with pytest.raises(LeakageError, match=r"gb\.ExternalScreen"):
            validate(cohort, candidates(LOGISTIC, "classification"), screen=screen, **run)
    got = validate(cohort, candidates(LOGISTIC, "classification"), screen=ExternalScreen(de, n=1), **run)
    assert set(got.screens["feature"]) == {"g3"}
    assert "stated to come from other samples" in got.spec["screen"]
    elsewhere = ExternalScreen(DETable(frame.set_axis(["ENSG1", "ENSG2"])))
    with pytest.raises(InputError, match="id space"):
        validate(cohort, candidates(LOGISTIC, "classification"), screen=elsewhere, **run)
    for screen in (0, -1, 2.5, True, "200"):
        with pytest.raises(InputError, match="screen must be"):
            validate(cohort, candidates(LOGISTIC, "classification"), screen=screen, **run)


@pytest.mark.parametrize(
    "kind", ["all samples", "training part", "a table without AveExpr", "turned round", "rounded", "a number"]
)
def test_a_table_of_these_samples_cannot_be_said_to_come_from_others(kind):
    cohort = make_cohort(n=60, p=50, seed=3)
    test = np.arange(60) >= 45
    rows = ~test if kind == "training part" else np.ones(60, dtype=bool)
    if kind == "a number":
        y = np.random.default_rng(5).normal(size=60)
        cohort = Cohort(cohort.X, cohort.features, cohort.samples, y)
        design = np.column_stack([np.ones(60), y])
    else:
        design = np.column_stack([np.ones(60), cohort.target == "b"]).astype(float)[rows]
    fit = e_bayes(lm_fit(cohort.X[rows], design))
    frame = pd.DataFrame({"logFC": fit.coefficients[:, 1], "P.Value": fit.p_value[:, 1]}, index=cohort.features)
    frame["AveExpr"] = cohort.X[rows].mean(axis=0)
    if kind in ("a table without AveExpr", "turned round"):
        frame = frame.drop(columns="AveExpr").assign(logFC=frame["logFC"] * (-1 if kind == "turned round" else 1))
    frame = frame.round({"AveExpr": 2, "logFC": 2}) if kind == "rounded" else frame
    run = {"n_splits": 3, "n_repeats": 1, "progress": False, "n_jobs": 1}
    run["test"] = test if kind == "training part" else None
    models = (
        candidates({"mine": Ridge()}, "regression") if kind == "a number" else candidates(LOGISTIC, "classification")
    )
    with pytest.raises(LeakageError, match=r"said to come from other samples, but its (AveExpr|logFC) are those of"):
        validate(cohort, models, screen=ExternalScreen(DETable(frame), n=5), **run)


def test_a_table_of_other_samples_of_the_same_population_is_taken():
    for seed in range(200):
        cohort, other = (make_cohort(n=40, p=30, n_true=20, effect=1.0, seed=s) for s in (seed, 1000 + seed))
        # what all genes share makes their means go together
        shared = 2 * np.random.default_rng(seed).normal(size=(40, 1))
        cohort = Cohort(cohort.X + shared, cohort.features, cohort.samples, cohort.target, cohort.classes)
        means = [other.X[other.target == name].mean(axis=0) for name in "ab"]
        frame = pd.DataFrame({"logFC": means[1] - means[0], "AveExpr": other.X.mean(axis=0)}, index=other.features)
        assert made_of(frame, cohort) == ""
        assert made_of(frame, other) == "AveExpr are"


def test_no_screen_uses_every_gene():
    got = validate(
        make_cohort(p=15),
        candidates(LOGISTIC, "classification"),
        screen=None,
        n_splits=3,
        n_repeats=1,
        progress=False,
        n_jobs=1,
    )
    assert len(got.screens) == 3 * 15


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ("logistik", "Did you mean 'logistic'"),
        ([], "empty"),
        (["logistic", "logistic"], "twice"),
        ({"x": 3}, "is a int"),
        ({"x": RandomForestClassifier}, "an instance"),
        ({"x": StandardScaler()}, "not made for classification"),
    ],
)
def test_models_that_are_none_are_refused(models, says):
    with pytest.raises(InputError, match=says):
        candidates(models, "classification")


def test_a_model_that_fails_in_a_fold_says_which():
    class Broken(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            raise ValueError("does not converge today")

    with pytest.raises(InputError, match=r"'broken'.*fold 0.*does not converge"):
        validate(
            make_cohort(),
            candidates({"broken": Broken()}, "classification"),
            n_splits=3,
            n_repeats=1,
            progress=False,
            n_jobs=1,
        )
    with pytest.raises(TargetError, match="fewer than n_splits"):
        validate(make_cohort(n=8), candidates(LOGISTIC, "classification"), n_splits=5, progress=False)
    with pytest.raises(InputError, match="n_repeats"):
        validate(make_cohort(), candidates(LOGISTIC, "classification"), n_repeats=0, progress=False)


# -- test sets, batches left out, weights, baselines -------------------------------------------------------------------

QUICK = {"n_splits": 3, "n_repeats": 2, "progress": False, "n_jobs": 1}


def test_the_test_set_is_predicted_by_models_fitted_to_all_others_and_takes_no_part_in_the_folds():
    cohort = make_cohort()
    test = np.zeros(48, dtype=bool)
    test[::5] = True
    got = validate(cohort, candidates(LOGISTIC, "classification"), screen=20, test=test, **QUICK)
    assert set(got.folds["sample"]) == set(cohort.samples[~test])
    assert set(got.predictions["sample"]) == set(cohort.samples[~test])
    assert list(got.test["sample"]) == list(cohort.samples[test])
    y = (cohort.target == "b").astype(int)
    design = np.column_stack([np.ones((~test).sum()), y[~test]]).astype(float)
    top = np.sort(np.argsort(-np.abs(e_bayes(lm_fit(cohort.X[~test], design)).t[:, 1]))[:20])
    own = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000)).fit(
        cohort.X[~test][:, top], y[~test]
    )
    expected = own.predict_proba(cohort.X[test][:, top])[:, 1]
    np.testing.assert_allclose(got.test[prob_column("b")], expected, atol=1e-8)


def test_the_cross_validation_beside_a_test_set_is_that_of_the_others_alone():
    cohort = make_cohort()
    test = np.arange(48) >= 40
    beside = validate(cohort, candidates(LOGISTIC, "classification"), screen=20, test=test, n_permutations=3, **QUICK)
    alone = validate(cohort.take(~test), candidates(LOGISTIC, "classification"), screen=20, n_permutations=3, **QUICK)
    pd.testing.assert_frame_equal(beside.predictions, alone.predictions)
    pd.testing.assert_frame_equal(beside.null, alone.null)
    pd.testing.assert_frame_equal(beside.screens, alone.screens)


@pytest.mark.parametrize(("cv", "column"), [("leave_one_batch_out", "batch"), ("leave_one_group_out", "groups")])
def test_each_batch_or_group_is_left_out_in_turn(cv, column):
    labels = np.array(list("wxyz"), dtype=object)[np.arange(48) // 2 % 4]
    cohort = make_cohort(**{column: labels})
    got = validate(cohort, candidates(LOGISTIC, "classification"), screen=20, cv=cv, n_permutations=2, **QUICK)
    where = got.folds.assign(label=pd.Series(labels, index=cohort.samples)[got.folds["sample"]].to_numpy())
    assert (where.groupby("fold")["label"].nunique() == 1).all()
    assert where["fold"].nunique() == 4
    assert (got.spec["n_splits"], got.spec["n_repeats"]) == (4, 1)
    assert got.null["permutation"].nunique() == 2
    with pytest.raises(InputError, match=f"{column}="):
        validate(make_cohort(), candidates(LOGISTIC, "classification"), cv=cv, **QUICK)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"cv": "loo"}, "leave_one_batch_out"),
        ({"calibrate": "platt"}, "isotonic"),
        ({"class_weight": {"a": 1}}, "each of"),
        ({"class_weight": {"a": 1, "b": -1}}, "positive"),
        ({"class_weight": "even"}, "balanced"),
        ({"seed": -1}, "seed"),
        ({"n_permutations": 2.5}, "n_permutations"),
    ],
)
def test_ways_that_do_not_exist_are_refused(asked, says):
    with pytest.raises(InputError, match=says):
        validate(make_cohort(), candidates(LOGISTIC, "classification"), screen=20, **(QUICK | asked))


def test_weights_of_classes_reach_the_model():
    cohort = make_cohort(effect=0.3)
    rates = []
    for weight in (1.0, 20.0):
        got = validate(
            cohort, candidates(LOGISTIC, "classification"), screen=20, class_weight={"a": 1.0, "b": weight}, **QUICK
        )
        rates.append((got.predictions["predicted"] == "b").mean())
    assert rates[1] > rates[0] + 0.2


def test_covariates_stand_beside_the_genes_and_are_no_model_to_choose():
    """Target made of a covariate and of genes: alone each knows a part, together they know more."""
    alone, together, genes = [], [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        n = 120
        age, g = rng.normal(size=n), rng.normal(size=(n, 60))
        y = np.where(1.5 * age + g[:, :4].sum(axis=1) + 0.5 * rng.normal(size=n) > 0, "b", "a").astype(object)
        names = pd.Index([f"g{i}" for i in range(60)]), pd.Index([f"s{i}" for i in range(n)])
        cohort = Cohort(g, *names, y, ("a", "b"), covariates=pd.DataFrame({"age": age}, index=names[1]))
        got = validate(cohort, candidates(LOGISTIC, "classification"), screen=10, **QUICK)
        assert got.models == ["mine"]
        assert got.baselines == ("covariates only", "genes + covariates")
        right = got.predictions.assign(right=got.predictions["predicted"] == got.predictions["observed"])
        rate = right.groupby("model")["right"].mean()
        alone.append(rate["covariates only"])
        together.append(rate["genes + covariates"])
        genes.append(rate["mine"])
    assert np.mean(together) > max(np.mean(alone), np.mean(genes)) + 0.05


def test_covariates_alone_are_a_plain_regression_on_them():
    rng = np.random.default_rng(1)
    n = 90
    covariates = pd.DataFrame({"age": rng.normal(50, 10, n), "sex": pd.Categorical(rng.choice(["f", "m"], n))})
    y = 0.1 * covariates["age"].to_numpy() + (covariates["sex"] == "m").to_numpy() + rng.normal(size=n)
    names = pd.Index([f"g{i}" for i in range(30)]), pd.Index([f"s{i}" for i in range(n)])
    cohort = Cohort(rng.normal(size=(n, 30)), *names, y, covariates=covariates.set_axis(names[1]))
    got = validate(
        cohort, candidates(["ridge"], "regression"), screen=10, n_splits=3, n_repeats=1, progress=False, n_jobs=1
    )
    mine = got.predictions[got.predictions["model"] == "covariates only"].set_index("sample")["predicted"]
    design = np.column_stack([np.ones(n), covariates["age"], covariates["sex"] == "m"]).astype(float)
    for _, part in got.folds.groupby("fold"):
        test = names[1].isin(part["sample"])
        beta = np.linalg.lstsq(design[~test], y[~test], rcond=None)[0]
        np.testing.assert_allclose(mine[names[1][test]], design[test] @ beta, rtol=1e-3)


def test_a_batch_that_is_the_class_in_part_leaves_its_mark_in_the_null():
    """Batch shifts every gene and holds three quarters of one class: what it alone can tell is part of the null."""
    free, within = [], []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        n = 80
        batch = np.repeat(["x", "y"], n // 2)
        y = np.where(rng.random(n) < np.where(batch == "x", 0.15, 0.85), "b", "a").astype(object)
        X = rng.normal(size=(n, 80)) + 1.5 * (batch == "y")[:, None]
        names = pd.Index([f"g{i}" for i in range(80)]), pd.Index([f"s{i}" for i in range(n)])
        for named, into in ((None, free), (batch.astype(object), within)):
            cohort = Cohort(X, *names, y, ("a", "b"), batch=named)
            got = validate(cohort, candidates(LOGISTIC, "classification"), screen=20, n_permutations=6, **QUICK)
            into.append(got.null.query("metric == 'balanced_accuracy'")["value"].mean())
    assert abs(np.mean(free) - 0.5) < 0.05
    assert np.mean(within) > 0.75


def test_the_matrix_is_copied_neither_for_folds_nor_for_permuted_targets():
    cohort = make_cohort(n=100, p=20_000)
    assert cohort.take(np.ones(100, dtype=bool)) is cohort
    assert cohort.take(np.arange(100)[::-1]).samples[0] == "s99"
    tracemalloc.start()
    validate(
        cohort,
        candidates(LOGISTIC, "classification"),
        screen=20,
        n_splits=3,
        n_repeats=1,
        n_permutations=2,
        progress=False,
        n_jobs=1,
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < cohort.X.nbytes / 2
