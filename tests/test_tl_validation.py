"""gb.tl.classify and regress with test sets, batches left out, covariates and weights: what is stored, and that it is right."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, classification_report, confusion_matrix

import geneml_bio as gb

QUIET = {
    "n_splits": 3,
    "n_repeats": 2,
    "screen": 30,
    "models": ["logistic"],
    "tune": False,
    "n_jobs": 1,
    "progress": False,
}


@pytest.fixture
def golub():
    return gb.datasets.golub()[:, :400].copy()


@pytest.fixture
def donors():
    """24 donors of 4 samples, two batches, an age; the class is the donor's."""
    rng = np.random.default_rng(0)
    of = np.repeat(np.arange(24), 4)
    X = rng.normal(size=(96, 60)) + rng.normal(size=(24, 60))[of]
    X[:, :5] += 1.2 * (of % 2)[:, None]
    obs = pd.DataFrame(
        {
            "y": pd.Categorical(np.array(["no", "yes"])[of % 2]),
            "donor": [f"d{d}" for d in of],
            "plate": np.array(["p", "q"])[of % 4 // 2],
            "age": rng.normal(50, 8, 24)[of],
            "dose": X[:, :3].sum(axis=1) + rng.normal(size=96),
        },
        index=[f"s{i}" for i in range(96)],
    )
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(60)]))


def test_a_test_set_is_kept_apart_in_every_slot_and_its_scores_are_scikit_learns(golub, tmp_path):
    gb.tl.classify(golub, "class", test_size=0.25, **QUIET)
    made = gb.get.predictions(golub, test=True)
    side = golub.obs["classify_set"].astype(str)
    assert set(made["sample"].astype(str)) == set(side.index[side == "test"])
    assert len(made) == 10
    assert set(gb.get.folds(golub)["sample"].astype(str)) == set(side.index[side == "train"])
    observed, predicted = made["observed"].astype(str), made["predicted"].astype(str)
    scores = gb.get.metrics(golub, test=True).set_index("metric")
    assert scores.loc["balanced_accuracy", "value"] == pytest.approx(balanced_accuracy_score(observed, predicted))
    assert (scores["n"] == 10).all()
    np.testing.assert_array_equal(
        gb.get.confusion(golub, test=True), confusion_matrix(observed, predicted, labels=["ALL", "AML"])
    )
    report = classification_report(observed, predicted, output_dict=True, zero_division=0)
    mine = gb.get.per_class(golub).query("set == 'test'").set_index("class")
    for name in ("ALL", "AML"):
        assert mine.loc[name, "recall"] == pytest.approx(report[name]["recall"])
        assert mine.loc[name, "precision"] == pytest.approx(report[name]["precision"])
        assert mine.loc[name, "n"] == report[name]["support"]
    shown = golub.obsm["classify_oof"].loc[made["sample"].astype(str), "AML"]
    np.testing.assert_allclose(shown, made["prob_AML"])

    golub.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    for name in ("metrics", "predictions"):
        got, kept = (getattr(gb.get, name)(x, test=True) for x in (again, golub))
        pd.testing.assert_frame_equal(got, kept, check_categorical=False)
    pd.testing.assert_frame_equal(gb.get.per_class(again), gb.get.per_class(golub))
    pd.testing.assert_frame_equal(gb.get.comparisons(again), gb.get.comparisons(golub))


def test_the_same_seed_holds_out_the_same_samples_and_another_others(golub):
    def held(seed):
        gb.tl.classify(golub, "class", test_size=0.25, seed=seed, **QUIET)
        return set(gb.get.predictions(golub, test=True)["sample"].astype(str))

    assert held(1) == held(1) != held(2)


@pytest.mark.parametrize(
    "words", [(True, False), (1, 0), (1.0, 0.0), ("1", "0"), ("1.0", "0.0"), ("True", "False"), ("Testing", "TRAINING")]
)
def test_a_column_names_the_test_set(golub, words):
    golub.obs["part"] = np.where(np.arange(38) % 4 == 0, *words)
    gb.tl.classify(golub, "class", test_set="part", **QUIET)
    made = gb.get.predictions(golub, test=True)
    assert list(made["sample"].astype(str)) == list(golub.obs_names[::4])


def test_who_has_no_target_needs_no_set_and_a_category_is_read_as_its_words(golub):
    part = np.where(np.arange(38) % 4 == 0, 1.0, 0.0)
    part[1] = np.nan
    golub.obs["part"] = part
    golub.obs["class"] = golub.obs["class"].astype(str).astype(object).where(np.arange(38) != 1).astype("category")
    with pytest.warns(gb.errors.DataWarning):
        gb.tl.classify(golub, "class", test_set="part", **QUIET)
    assert list(gb.get.predictions(golub, test=True)["sample"].astype(str)) == list(golub.obs_names[::4])


@pytest.mark.parametrize(
    ("column", "more", "error", "says"),
    [
        (["test"] * 19 + ["other"] * 19, {}, gb.errors.InputError, "'other'"),
        (["train"] * 38, {}, gb.errors.InputError, "no samples"),
        (
            ["test"] * 19 + [None] * 19,
            {},
            gb.errors.InputError,
            "holds 19 missing values; it must say True, 1 or 'test'",
        ),
        ([1.0] * 10 + [0.0] * 20 + [0.5] * 8, {}, gb.errors.InputError, "holds '0.5'; it must say"),
        (["A"] * 10 + ["B"] * 28, {}, gb.errors.InputError, "holds 'A', 'B'; it must say"),
        (["test"] * 10 + ["train"] * 28, {"test_size": 0.2}, gb.errors.InputError, "not both"),
        (["test", "train"] * 19, {"groups": "pair"}, gb.errors.LeakageError, "19 groups"),
    ],
)
def test_a_column_that_names_no_test_set_is_refused_and_nothing_is_written(golub, column, more, error, says):
    golub.obs["part"], golub.obs["pair"] = column, np.repeat(np.arange(19), 2).astype(str)
    before = golub.copy()
    with pytest.raises(error, match=says):
        gb.tl.classify(golub, "class", test_set="part", **more, **QUIET)
    assert list(golub.obs) == list(before.obs)
    assert list(golub.uns) == list(before.uns)


def test_donors_are_on_one_side_of_the_test_set(donors):
    gb.tl.classify(donors, "y", groups="donor", test_size=0.25, **QUIET)
    sides = donors.obs.groupby("donor")["classify_set"].nunique()
    assert (sides == 1).all()
    about = gb.get.params(donors)["n_effective"]
    assert about["n_effective"] == 24 - donors.obs.query("classify_set == 'test'")["donor"].nunique()


def test_an_earlier_test_set_leaves_with_the_results_it_belongs_to(golub):
    gb.tl.classify(golub, "class", test_size=0.25, **QUIET)
    gb.tl.classify(golub, "class", **QUIET)
    assert "classify_set" not in golub.obs
    with pytest.raises(gb.errors.ColumnNotFoundError, match="test_size"):
        gb.get.metrics(golub, test=True)


def test_only_samples_of_the_folds_are_explained(golub):
    result = gb.tl.classify(golub, "class", test_size=0.25, **QUIET)
    one = gb.tl.explain(golub, result, progress=False)
    two = gb.tl.explain(golub, progress=False, n_jobs=1)  # fitted again from what is stored
    assert abs(one.values["AML"] - two.values["AML"]).max() < 1e-12
    test = (golub.obs["classify_set"] == "test").to_numpy()
    assert golub.layers["classify_shap"][test].nnz == 0
    assert golub.obsm["classify_shap_margin"].loc[test].isna().all().all()
    held_in = abs(golub.layers["classify_shap"][~test]).mean(axis=0)
    np.testing.assert_allclose(golub.var["classify_shap"], np.asarray(held_in).ravel(), atol=1e-12)


@pytest.mark.parametrize(
    "how", [{"class_weight": {"ALL": 1.0, "AML": 3.0}}, {"class_weight": "balanced"}, {"calibrate": "sigmoid"}]
)
def test_weights_and_calibration_are_fitted_again_as_they_were(golub, how):
    result = gb.tl.classify(golub, "class", **how, **QUIET)
    one = gb.tl.explain(golub, result, progress=False)
    two = gb.tl.explain(golub, progress=False, n_jobs=1)
    assert abs(one.values["AML"] - two.values["AML"]).max() < 1e-12


def test_a_plate_left_out_in_turn(donors):
    gb.tl.classify(donors, "y", groups="donor", batch="plate", cv="leave_one_batch_out", n_permutations=2, **QUIET)
    folds = gb.get.folds(donors)
    plates = donors.obs["plate"][folds["sample"].astype(str)].to_numpy()
    assert (pd.Series(plates).groupby(folds["fold"].to_numpy()).nunique() == 1).all()
    params = gb.get.params(donors)
    assert (params["cv"], params["n_splits"], params["n_repeats"]) == ("leave_one_batch_out", 2, 1)
    one = gb.tl.explain(donors, progress=False, n_jobs=1)
    assert one.max_error < 1e-5


def test_covariates_have_rows_of_their_own_and_a_difference_in_the_comparisons(donors):
    gb.tl.classify(donors, "y", groups="donor", covariates="age", **{**QUIET, "models": ["logistic", "random_forest"]})
    table = gb.get.metrics(donors)
    assert {"covariates only", "genes + covariates"} < set(table["model"])
    assert gb.get.params(donors)["best"] in ("logistic", "random_forest")
    pairs = gb.get.comparisons(donors).query("metric == 'balanced_accuracy'")
    increment = pairs[(pairs["model_a"] == "genes + covariates") & (pairs["model_b"] == "covariates only")]
    assert len(increment) == 1
    assert increment["difference"].iloc[0] > 0


def test_a_number_with_a_test_set_and_covariates(donors):
    how = {**QUIET, "models": ["ridge"]}
    gb.tl.regress(donors, "dose", groups="donor", covariates=["age"], test_size=0.25, **how)
    made = gb.get.predictions(donors, "regress", test=True).query("model == 'ridge'")
    observed, predicted = made["observed"].to_numpy(float), made["predicted"].to_numpy(float)
    r2 = 1 - ((observed - predicted) ** 2).sum() / ((observed - observed.mean()) ** 2).sum()
    scores = gb.get.metrics(donors, "regress", test=True).query("model == 'ridge'").set_index("metric")
    assert scores.loc["r2", "value"] == pytest.approx(r2)
    with pytest.raises(gb.errors.ColumnNotFoundError, match="numbers"):
        gb.get.confusion(donors, "regress")


def test_classes_keep_their_order_when_a_file_sorts_the_categories_anew(golub, tmp_path):
    """anndata sorts text naturally when it writes, so that "grade 9" comes before "grade 10"."""
    golub.obs["y"] = golub.obs["class"].map({"ALL": "grade 9", "AML": "grade 10"}).astype(str)
    result = gb.tl.classify(golub, "y", **QUIET)
    before = gb.tl.explain(golub.copy(), result, progress=False)
    golub.write_h5ad(tmp_path / "a.h5ad")
    assert list(golub.obs["y"].cat.categories) == ["grade 9", "grade 10"]
    for object_, given in ((golub, result), (ad.read_h5ad(tmp_path / "a.h5ad"), None)):
        after = gb.tl.explain(object_, given, progress=False, n_jobs=1)
        assert after.outputs == before.outputs == ("grade 9",)
        np.testing.assert_allclose(after.margin, before.margin)
        assert gb.tl.fit(object_, given).classes == ("grade 10", "grade 9")


def test_columns_of_the_caller_are_not_taken_for_results(golub):
    golub.obs["mine_set"] = "kept"
    with pytest.raises(gb.errors.StorageError, match="'mine_set'"):
        gb.tl.classify(golub, "class", key_added="mine", **QUIET)
    assert (golub.obs["mine_set"] == "kept").all()


def test_a_number_that_is_its_batch_is_not_called_predictable():
    rng = np.random.default_rng(0)
    batch = np.repeat(np.arange(4), 12)
    obs = pd.DataFrame(
        {"z": batch + 0.1 * rng.normal(size=48), "b": batch.astype(str)}, index=[f"s{i}" for i in range(48)]
    )
    adata = ad.AnnData(rng.normal(size=(48, 60)) + rng.normal(size=(4, 60))[batch], obs=obs)
    with pytest.warns(gb.errors.AuditWarning):
        gb.tl.regress(adata, "z", batch="b", **{**QUIET, "models": ["ridge"]})
    about = gb.get.params(adata, "regress")
    assert not about["better_than_chance"]
    assert "batch alone 0.9" in about["verdict"]


def test_small_studies_with_covariates_are_not_lost_to_an_inner_fold():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        obs = pd.DataFrame(
            {
                "y": np.tile(["a", "b"], 8),
                "sex": rng.choice(["f", "m"], 16),
                "site": rng.permutation(np.repeat(["p", "q", "r", "s"], 4)),
            },
            index=[f"s{i}" for i in range(16)],
        )
        adata = ad.AnnData(rng.normal(8, 1, size=(16, 60)), obs=obs)
        try:
            gb.tl.classify(adata, "y", covariates=["sex", "site"], **{**QUIET, "tune": True, "screen": 10})
        except gb.errors.DesignError:  # only where the covariates settle the class in an outer training part
            gb.tl.classify(adata, "y", covariates=["sex"], **{**QUIET, "tune": True, "screen": 10})


@pytest.mark.parametrize("cv", ["leave_one_group_out", "kfold"])
def test_groups_of_one_class_left_out_in_turn_are_warned_of(donors, cv):
    small = donors[donors.obs["donor"].isin([f"d{i}" for i in range(8)])].copy()
    small.X = np.random.default_rng(1).normal(size=small.shape)
    with pytest.warns(gb.errors.AuditWarning) as said:
        gb.tl.classify(small, "y", groups="donor", cv=cv, **QUIET)
    told = any("8 of the 8 groups that are left out in turn hold one class only" in str(w.message) for w in said)
    assert told == (cv == "leave_one_group_out")
