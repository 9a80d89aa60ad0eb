"""Targets that are far from 0, or tiny: trees predict, explain and are saved as those of the same target near 0."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import PoissonRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBRegressor

import geneml_bio as gb
from geneml_bio.core.registry import REGISTRY
from geneml_bio.core.rescaled import Rescaled, rescaled

MODELS = ["ridge", "decision_tree", "random_forest", "xgboost"]
QUIET = {"screen": 20, "n_splits": 3, "n_repeats": 1, "n_jobs": 1, "progress": False}
UNITS = [(1e9, 1.0), (-1e12, 1.0), (0.0, 1e-6), (3e-3, 1e-10), (5e8, 1e12)]  # mean and standard deviation


def study(mean: float = 0.0, spread: float = 1.0) -> ad.AnnData:
    rng = np.random.default_rng(3)
    X = rng.normal(5, 1, size=(60, 60))
    y = X[:, :3].sum(axis=1) + rng.normal(0, 0.5, 60)
    obs = pd.DataFrame({"y": (y - y.mean()) / y.std() * spread + mean}, index=[f"s{i}" for i in range(60)])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(60)]))


def validated(mean: float = 0.0, spread: float = 1.0, **more):
    adata = study(mean, spread)
    return adata, gb.tl.regress(adata, "y", **(QUIET | {"models": MODELS} | more))


def predictions(adata) -> pd.DataFrame:
    return gb.get.predictions(adata, key="regress").pivot(index="sample", columns="model", values="predicted")


@pytest.fixture(scope="module")
def near():
    adata, _ = validated()
    return predictions(adata)


@pytest.mark.parametrize(("mean", "spread"), UNITS)
def test_predictions_do_not_depend_on_the_unit(mean, spread, near):
    adata, _ = validated(mean, spread)
    made = (predictions(adata) - mean) / spread
    # digits that the target itself has left, and splits that are equally good and fall otherwise
    for model in MODELS:
        assert np.corrcoef(made[model], near[model])[0, 1] > 0.98, model
        np.testing.assert_allclose(made[model].mean(), near[model].mean(), atol=0.05)
    observed = study()[made.index].obs["y"]
    r2 = 1 - ((made.sub(observed, axis=0)) ** 2).sum() / (observed**2).sum()
    assert (r2 > 0.05).all(), r2  # a model without splits has 0 at best


@pytest.mark.parametrize("model", ["decision_tree", "random_forest", "xgboost"])
def test_shap_adds_up_and_its_base_is_in_the_unit_of_the_target(model):
    mean, spread = 1e9, 1e-2
    adata, validation = validated(mean, spread, models=[model])
    made = gb.tl.explain(adata, validation, key="regress", progress=False)
    of_all = made.values["prediction"].sum(axis=1)
    told = np.asarray(made.base[:, 0] - mean + np.ravel(of_all))
    np.testing.assert_allclose(
        made.margin[:, 0] - mean, told, atol=1e-5 * spread + 3e-7
    )  # 1e-7: what 1e9 has in digits
    by_sample = predictions(adata)[model].loc[adata.obs_names].to_numpy()
    np.testing.assert_allclose(made.margin[:, 0], by_sample, rtol=1e-15)
    assert abs(made.base[:, 0] - mean).max() < spread
    assert np.corrcoef(np.ravel(of_all), adata.obs["y"] - mean)[0, 1] > 0.4
    assert set(gb.get.shap(adata, key="regress").index[:3]) == {"g0", "g1", "g2"}


@pytest.mark.parametrize("model", ["random_forest", "xgboost"])
def test_a_saved_model_predicts_the_same(model, tmp_path):
    adata, validation = validated(1e9, 1.0, models=[model])
    fitted = gb.tl.fit(adata, validation, key="regress")
    again = gb.load(fitted.save(tmp_path / "far.gbm"))
    made = again.predict(adata)["predicted"].to_numpy()
    np.testing.assert_array_equal(made, fitted.predict(adata)["predicted"].to_numpy())
    assert np.corrcoef(made - 1e9, adata.obs["y"] - 1e9)[0, 1] > 0.9


def test_the_stream_does_the_same():
    adata, _ = validated(1e9, 1.0, models=["xgboost", "ridge"], tune=False)
    quiet = {name: value for name, value in QUIET.items() if name != "n_repeats"}
    how = {"task": "regression", "tune": False, "chunk_size": 25, "key_added": "regress"}
    result = gb.tl.stream(study(1e9, 1.0), "y", models=["xgboost", "ridge"], **how, **quiet)
    made, known = predictions(result) - 1e9, predictions(adata) - 1e9
    pd.testing.assert_frame_equal(made, known, check_exact=False, atol=1e-5)
    assert np.corrcoef(made["xgboost"], adata.obs["y"][made.index] - 1e9)[0, 1] > 0.6


def test_only_trees_of_odd_targets_are_helped_and_units_that_were_given_stay():
    rng = np.random.default_rng(0)
    usual, far, tiny = rng.normal(50, 10, 40), rng.normal(1e6, 1, 40), rng.normal(0, 1e-6, 40)
    for name, entry in REGISTRY["regression"].items():
        tree = name in ("decision_tree", "random_forest", "gradient_boosting", "xgboost")
        assert rescaled(entry.build(), usual) is None
        assert (rescaled(entry.build(), far) == (far.mean(), 1.0)) is tree
        assert (rescaled(entry.build(), tiny) == (tiny.mean(), tiny.std())) is tree
    assert rescaled(HistGradientBoostingRegressor(), far) == (far.mean(), 1.0)
    assert rescaled(make_pipeline(StandardScaler(), RandomForestRegressor()), far) == (far.mean(), 1.0)
    assert rescaled(RandomForestRegressor(min_impurity_decrease=1e-14), tiny) is None
    assert rescaled(XGBRegressor(gamma=1e-14), tiny) is None
    assert rescaled(XGBRegressor(gamma=1e-14), far) == (far.mean(), 1.0)
    # where 0 is, matters to these
    assert rescaled(PoissonRegressor(), far) is None
    assert rescaled(RandomForestRegressor(criterion="poisson"), far) is None
    assert rescaled(XGBRegressor(objective="reg:gamma"), far) is None
    assert rescaled(XGBRegressor(base_score=1e6), far) is None


def test_a_constant_target_is_given_back_to_the_last_digit():
    X, y = np.random.default_rng(0).normal(size=(30, 5)), np.full(30, 1e9 + 1 / 3)
    how = rescaled(XGBRegressor(), y)
    assert how == (y.mean(), 1.0)
    np.testing.assert_array_equal(Rescaled(XGBRegressor(n_estimators=3), *how).fit(X, y).predict(X), y)
