"""Learning curves on an AnnData: size 1 is the validation that is stored, own models, files, errors."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

import geneml_bio as gb
from geneml_bio.core.errors import ColumnNotFoundError, DataWarning, InputError, StaleResultError, StorageError

HOW = {"screen": 20, "n_splits": 3, "n_repeats": 2, "n_jobs": 1, "progress": False}
CURVE = {"n_jobs": 1, "progress": False}


def _study(classes=("control", "case"), **more):
    adata = gb.datasets.simulate(60, 150, n_informative=12, effect=1.2, seed=4, **more)
    if classes != ("control", "case"):
        adata.obs["target"] = adata.obs["target"].cat.rename_categories(list(classes))
    return adata


@pytest.fixture(scope="module")
def validated():
    adata = _study(("NEG", "BCR/ABL"), n_test=12)
    adata.obs["held"] = (adata.obs["set"] == "test").to_numpy()
    gb.tl.classify(
        adata,
        "target",
        models=["logistic", "random_forest"],
        test_set="held",
        class_weight={"NEG": 1, "BCR/ABL": 2},
        **HOW,
    )
    return adata


def test_size_1_is_the_validation_that_is_stored_and_files_keep_it(validated, tmp_path):
    adata = validated.copy()
    table = gb.tl.learning_curve(adata, sizes=[0.5], **CURVE)
    assert list(dict.fromkeys(table["model"])) == ["logistic", "random_forest"]
    both = gb.get.metrics(adata).merge(table[table["fraction"] == 1], on=["model", "metric"], suffixes=("", "_curve"))
    assert len(both) == (table["fraction"] == 1).sum() >= 20
    for name in ("value", "low", "high"):
        np.testing.assert_array_equal(both[name], both[f"{name}_curve"])
    assert (table["n_train"] <= 40).all()  # of the 60 samples outside the test set
    repeats = gb.get.learning_curve(adata, repeats=True)
    mean = repeats.groupby(["model", "fraction", "metric"])["value"].mean().rename("mean").reset_index()
    near = table[table["n_undefined"] == 0].merge(mean, on=["model", "fraction", "metric"])
    np.testing.assert_allclose(near["value"], near["mean"], rtol=1e-9)
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for back in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        pd.testing.assert_frame_equal(gb.get.learning_curve(back), table)
        again = gb.tl.learning_curve(back, sizes=[0.5], models="logistic", **CURVE)
        expected = table[table["model"] == "logistic"].reset_index(drop=True)
        pd.testing.assert_frame_equal(again, expected)
    assert adata.uns["classify_learning_curve"]["metric"] == "balanced_accuracy"


def test_it_goes_when_the_models_are_validated_again(validated):
    adata = validated.copy()
    gb.tl.learning_curve(adata, sizes=[0.5], n_repeats=1, models=["logistic"], **CURVE)
    gb.tl.classify(adata, "target", models="logistic", **HOW)
    with pytest.raises(ColumnNotFoundError, match="learning_curve"):
        gb.get.learning_curve(adata)


def test_your_own_models_and_screens_need_the_validation():
    adata = _study()
    other = gb.datasets.simulate(60, 150, n_informative=12, effect=1.2, seed=5)
    de = gb.tl.limma(other, "~ 0 + target", contrast=("target", "case", "control"), engine="native")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = gb.tl.classify(
            adata, "target", models={"mine": LogisticRegression(C=0.1)}, **HOW | {"screen": gb.ExternalScreen(de, n=15)}
        )
    with pytest.raises(InputError, match="Pass the validation itself"):
        gb.tl.learning_curve(adata, **CURVE)
    table = gb.tl.learning_curve(adata, result, sizes=[0.5], **CURVE)
    assert set(table["model"]) == {"mine"}


def test_skipped_sizes_are_warned_of_and_recorded():
    adata = _study()
    gb.tl.classify(adata, "target", models="logistic", **HOW)
    with pytest.warns(DataWarning, match=r"Size 0\.05 of the learning curve is skipped: .* too few samples of a class"):
        gb.tl.learning_curve(adata, sizes=[0.05, 0.5], n_repeats=1, **CURVE)
    assert list(adata.uns["classify_learning_curve"]["skipped"]["fraction"]) == [0.05]


def test_errors_name_the_fix_and_leave_the_object_alone(validated):
    before = set(validated.uns)
    for bad in ({"sizes": [2]}, {"n_repeats": 9}, {"models": "svm"}):
        with pytest.raises(InputError):
            gb.tl.learning_curve(validated, **bad, **CURVE)
    with pytest.raises(ColumnNotFoundError, match=r"Run gb\.tl\.classify"):
        gb.tl.learning_curve(_study(), **CURVE)
    changed = validated.copy()
    changed.X[0, 0] += 1
    with pytest.raises(StaleResultError):
        gb.tl.learning_curve(changed, **CURVE)
    taken = validated.copy()
    taken.uns["classify_learning_curve"] = "mine"
    with pytest.raises(StorageError, match="has not made"):
        gb.tl.learning_curve(taken, **CURVE)
    assert set(validated.uns) == before


def test_sizes_that_cannot_be_calibrated_are_skipped():
    """Of few donors the inner folds depend on the draw: what counts are those that the fit itself makes."""
    rng = np.random.default_rng(0)
    donor = np.arange(40) // 2
    obs = pd.DataFrame({"y": np.where(donor < 5, "b", "a"), "donor": [f"d{i}" for i in donor]})
    obs["age"], obs["sex"] = 1.0 * rng.permutation(20)[donor], np.array(["f", "m"])[donor % 2]
    adata = ad.AnnData(rng.normal(7, 1, (40, 12)), obs=obs.set_index(pd.Index([f"s{i}" for i in range(40)])))
    how = HOW | {"n_repeats": 1, "tune": False, "screen": 5}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.AuditWarning)
        gb.tl.classify(
            adata, "y", models="logistic", groups="donor", covariates=["age", "sex"], calibrate="sigmoid", **how
        )
    with pytest.warns(DataWarning, match=r"Size 0\.5 of the learning curve is skipped"):
        table = gb.tl.learning_curve(adata, sizes=(0.5, 0.75), **CURVE)
    assert sorted(table["fraction"].unique()) == [0.75, 1.0]
