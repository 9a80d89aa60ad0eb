"""``device=``: what is refused without a GPU, and, where there is one, that XGBoost runs on it and says nearly the same."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import xgboost
from anndata import AnnData
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import geneml_bio as gb
from geneml_bio import cli
from geneml_bio.core import device as devices
from geneml_bio.core.device import check_device, put_on, workers_on
from geneml_bio.core.errors import DeviceError, DeviceWarning, InputError
from geneml_bio.core.models import candidates

RUN = {"screen": 20, "n_splits": 3, "n_repeats": 1, "n_jobs": 1, "progress": False}


@pytest.fixture(scope="module")
def cuda():
    try:
        return check_device("cuda")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def no_cuda():
    try:
        check_device("cuda")
    except DeviceError:
        return
    pytest.skip("there is a GPU here")


@pytest.fixture
def study():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 60))
    X[:60, :5] += 1.0
    obs = pd.DataFrame({"class": ["b"] * 60 + ["a"] * 60, "age": X[:, 0] * 5 + 40}, index=[f"s{i}" for i in range(120)])
    return AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(60)]))


@pytest.mark.parametrize("bad", ["gpu", "CUDA", "cuda:", "cuda:x", "cpu:0", None, 0])
def test_a_name_that_is_no_device_is_refused(bad):
    with pytest.raises(InputError, match="must be 'cpu', 'cuda' or 'cuda:0'"):
        check_device(bad)


def test_an_xgboost_without_cuda_or_a_machine_without_a_gpu_is_said(no_cuda):
    built = xgboost.build_info().get("USE_CUDA")
    with pytest.raises(DeviceError, match="finds no such GPU" if built else "built with CUDA"):
        check_device("cuda")


def test_a_build_with_cuda_that_falls_back_to_the_processor_is_caught(no_cuda, monkeypatch):
    """XGBoost grows its trees all the same; where they were grown is what tells."""
    monkeypatch.setattr(xgboost, "build_info", lambda: {"USE_CUDA": True})
    with pytest.raises(DeviceError, match="would go on with 'cpu'"):
        check_device("cuda:0")


def test_every_door_refuses_a_gpu_that_is_not_there_and_leaves_the_object_as_it_was(no_cuda, study, tmp_path, capsys):
    for call in (
        lambda: gb.tl.classify(study, "class", device="cuda", **RUN),
        lambda: gb.tl.regress(study, "age", device="cuda:0", **RUN),
        lambda: gb.run(study, "class", device="cuda", **RUN),
    ):
        with pytest.raises(DeviceError):
            call()
    assert not study.uns
    frame = study.to_df().assign(target=study.obs["class"])
    frame.to_csv(tmp_path / "study.csv")
    made = cli.main(
        [
            "classify",
            str(tmp_path / "study.csv"),
            "--target",
            "target",
            "--device",
            "cuda",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    assert made != 0
    assert "--device cuda" in capsys.readouterr().err


def test_only_xgboost_is_put_on_the_gpu_and_the_others_are_named_once():
    with pytest.warns(DeviceWarning, match="used by xgboost; logistic, random_forest stay on the processor") as said:
        made = candidates("default", "classification", "cuda")
    assert len(said) == 1
    assert [getattr(c.estimator, "device", None) for c in made] == [None, None, "cuda"]
    with pytest.raises(InputError, match="none of the models"):
        candidates(["logistic"], "classification", "cuda")


def test_xgboost_is_found_inside_a_pipeline_and_a_device_of_ones_own_is_left_alone():
    inside = make_pipeline(StandardScaler(), xgboost.XGBClassifier())
    assert put_on(inside, "cuda:1")
    assert inside[-1].device == "cuda:1"
    assert not put_on(make_pipeline(StandardScaler(), LogisticRegression()), "cuda")
    own = candidates({"mine": xgboost.XGBClassifier(device="cuda")}, "classification")[0]
    assert own.estimator.device == "cuda"


def test_one_worker_has_the_gpu():
    assert workers_on("cpu", 3) == 3
    assert workers_on("cuda", None) == 1
    with pytest.warns(DeviceWarning, match="one worker uses the GPU"):
        assert workers_on("cuda", 4) == 1


def test_the_device_is_recorded(study):
    gb.tl.classify(study, "class", models=["xgboost"], **RUN)
    assert study.uns["classify"]["params"]["device"] == "cpu"


def test_a_model_for_use_goes_back_to_the_processor(study, monkeypatch):
    """It may be loaded where there is no GPU. (The CPU build takes the device for granted and ignores it.)"""
    for name in ("models", "fit"):
        monkeypatch.setattr(sys.modules[f"geneml_bio.tl.{name}"], "check_device", str)
    gb.tl.classify(study, "class", models=["xgboost"], device="cuda", **RUN)
    assert study.uns["classify"]["params"]["device"] == "cuda"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = gb.tl.fit(study)
    assert fitted.pipeline[-1].device == "cpu"


# -- with a GPU --------------------------------------------------------------------------------------------------------


def test_the_probe_says_where_trees_grew(cuda):
    assert devices._where_it_runs("cuda").startswith("cuda")
    assert check_device("cuda:0") == "cuda:0"
    with pytest.raises(DeviceError):
        check_device("cuda:99")


def test_the_gpu_predicts_and_explains_nearly_as_the_processor(cuda, study):
    other = study.copy()
    gb.tl.classify(study, "class", models=["xgboost"], **RUN)
    gb.tl.explain(study, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=gb.core.errors.AuditWarning)
        result = gb.tl.classify(other, "class", models=["xgboost"], device="cuda", **RUN)
        gb.tl.explain(other, result, progress=False)
    booster = next(iter(result.fitted.values()))["model"].get_booster()
    assert "cuda" in booster.save_config()
    one, two = (a.obsm["classify_oof"]["b"].to_numpy() for a in (study, other))
    assert np.corrcoef(one, two)[0, 1] > 0.95
    one, two = (a.var["classify_shap"].to_numpy() for a in (study, other))
    assert np.corrcoef(one, two)[0, 1] > 0.95


def test_explaining_and_fitting_again_use_the_same_gpu(cuda, study):
    gb.tl.regress(study, "age", models=["xgboost"], device="cuda:0", **RUN)
    gb.tl.explain(study, key="regress", progress=False)  # fits again: the predictions must be those stored
    fitted = gb.tl.fit(study, key="regress")
    assert fitted.pipeline[-1].device == "cpu"
