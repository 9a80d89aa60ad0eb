"""gb.tl.stream(backend=): workers of a cluster train XGBoost together, and give what this machine gives, also where one dies."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import anndata as ad
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from stream_cells import cells
from xgboost import XGBClassifier, XGBRegressor

import geneml_bio as gb
from geneml_bio.bridge import backed, checkpoint
from geneml_bio.core import stream as core
from geneml_bio.core import streamed_cluster

distributed = pytest.importorskip("distributed")
together = pytest.importorskip("xgboost.dask")

# every row is used for each tree, so that it does not matter on which worker a row lies
TREES = {"n_estimators": 40, "max_depth": 3, "colsample_bytree": 0.5, "min_child_weight": 0.1, "tree_method": "hist"}
MODELS = {"mine": LogisticRegression(C=0.1), "all_rows": XGBClassifier(**TREES)}
HOW = {"n_splits": 2, "n_shap": 0, "chunk_size": 100, "screen": 15, "tune": False, "groups": "donor", "progress": False}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("atlas") / "a.h5ad"
    cells(600, 50).write_h5ad(file)
    return file


def streamed(source, **more) -> ad.AnnData:
    return gb.tl.stream(source, "kind", **(HOW | {"models": MODELS, "n_jobs": 1} | more))


def predicted(adata) -> np.ndarray:
    table = gb.get.predictions(adata).sort_values(["model", "sample"], kind="stable")
    return table[[c for c in table if c.startswith("prob")]].to_numpy()


@pytest.fixture(scope="module")
def here(path):
    return streamed(path)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as made:
        with distributed.Client(made) as client:
            client.wait_for_workers(2, timeout=60)
        yield made


@pytest.fixture
def trained(monkeypatch):
    """How many pieces each worker had, of each training that was begun."""
    seen = []
    true = together.train

    def train(client, params, data, **more):
        seen.append(sorted(len(parts) for parts in data.worker_map.values()))
        return true(client, params, data, **more)

    monkeypatch.setattr(together, "train", train)
    return seen


def test_two_workers_and_one_give_the_numbers_of_this_machine(path, here, cluster, trained, tmp_path, monkeypatch):
    result = streamed(path, backend=cluster.scheduler_address, checkpoint=tmp_path / "two")
    assert trained == [[3, 3]] * 2, "of each fold, both workers hold half of the pieces"
    np.testing.assert_allclose(predicted(result), predicted(here), atol=1e-6)
    np.testing.assert_array_equal(result.var["classify_selected"], here.var["classify_selected"])
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as one:
        alone = streamed(path, backend=one.scheduler_address, checkpoint=tmp_path / "one")
    assert trained[2:] == [[6]] * 2
    np.testing.assert_allclose(predicted(alone), predicted(here), atol=1e-6)
    monkeypatch.setattr(core, "_fitted", None)  # what the cluster made is found here
    again = streamed(path, checkpoint=tmp_path / "two")
    np.testing.assert_array_equal(predicted(again), predicted(result))


def test_covariates_on_workers(path, cluster, tmp_path):
    adata = ad.read_h5ad(path)
    adata.obs["age"] = np.random.default_rng(0).normal(size=adata.n_obs)
    adata.write_h5ad(tmp_path / "a.h5ad")
    more = {
        "covariates": "age",
        "n_repeats": 2,
        "tune": True,
        "calibrate": "sigmoid",
        "groups": None,
        "models": "logistic",
    }
    result = streamed(tmp_path / "a.h5ad", backend=cluster.scheduler_address, checkpoint=tmp_path / "work", **more)
    alone = streamed(tmp_path / "a.h5ad", **more)
    np.testing.assert_allclose(predicted(result), predicted(alone), rtol=0, atol=1e-9)
    assert set(gb.get.predictions(result)["model"]) == {"logistic", "covariates only", "genes + covariates"}


def test_a_worker_that_dies_while_a_tree_grows_changes_nothing(path, here, cluster, trained, tmp_path, monkeypatch):
    import os
    import signal

    from xgboost.callback import TrainingCallback
    from xgboost.collective import get_rank

    class Dies(TrainingCallback):  # local, so that workers get its code
        def after_iteration(self, model, epoch, evals_log):
            if epoch == 10 and get_rank() == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return False

    models = MODELS | {"some_rows": XGBClassifier(subsample=0.7, **TREES)}
    quiet = streamed(path, models=models, backend=cluster.scheduler_address, checkpoint=tmp_path / "quiet")
    true, begun = together.train, []

    def train(*args, **more):
        begun.append(len(begun))
        return true(*args, **more, callbacks=[Dies()] if len(begun) == 3 else None)

    monkeypatch.setattr(together, "train", train)
    with distributed.Client(cluster) as client:
        before = set(client.run(os.getpid).values())
        result = streamed(path, models=models, backend=client, checkpoint=tmp_path / "killed")
        client.wait_for_workers(2, timeout=60)
        after = set(client.run(os.getpid).values())
    assert len(before & after) == 1, "one worker was killed, and came again"
    assert len(begun) == 5, "of four trainings one was done twice"
    np.testing.assert_allclose(predicted(result), predicted(quiet), atol=1e-6)
    mine = gb.get.predictions(result).query("model == 'all_rows'").sort_values("sample")
    theirs = gb.get.predictions(here).query("model == 'all_rows'").sort_values("sample")
    np.testing.assert_allclose(mine["prob_k1"], theirs["prob_k1"], atol=1e-6)


KILLED = """
import os, signal, sys
from distributed import Client, MultiLock
client = Client(sys.argv[1])
MultiLock(list(client.run(int)), client=client).acquire()  # as xgboost.dask has it while it trains
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_client_that_was_killed_while_it_trained_is_not_waited_for(path, here, cluster, tmp_path):
    with distributed.Client(cluster, set_as_default=False) as client:
        asked = {"mine": client.id}
        other = distributed.Client(cluster.scheduler_address, set_as_default=False)
        wanted = other.submit(int)
        wanted.result()
        distributed.MultiLock(list(other.run(int)), client=other).acquire()
        assert client.run_on_scheduler(streamed_cluster._taken, **asked), "another one is at work"
        del wanted
        other.close()
        assert not client.run_on_scheduler(streamed_cluster._taken, **asked)
        subprocess.run([sys.executable, "-c", KILLED, cluster.scheduler_address], check=False)
        assert (
            client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.extensions["multi_locks"].requests)) == 1
        )
    models = {"all_rows": XGBClassifier(**TREES)}
    result = streamed(path, models=models, backend=cluster.scheduler_address, checkpoint=tmp_path)
    theirs = gb.get.predictions(here).query("model == 'all_rows'").sort_values("sample")
    np.testing.assert_allclose(predicted(result), theirs.filter(like="prob"), atol=1e-6)


def test_more_classes_and_numbers_of_what_only_this_machine_reads(cluster, tmp_path):
    three = cells(600, 50, k=3, seed=1)
    how = {"backend": cluster.scheduler_address, "checkpoint": tmp_path}
    weighted = {"class_weight": "balanced"}
    np.testing.assert_allclose(
        predicted(streamed(three, **how, **weighted)), predicted(streamed(three, **weighted)), atol=1e-6
    )
    how |= HOW | {"models": {"mine": Ridge(10.0), "all_rows": XGBRegressor(**TREES)}, "n_jobs": 1}
    there = gb.tl.stream(three, "score", task="regression", **how)
    here = gb.tl.stream(three, "score", task="regression", **(how | {"backend": None, "checkpoint": None}))
    mine, theirs = (gb.get.predictions(a)["predicted"].to_numpy(float) for a in (there, here))
    np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_what_workers_cannot_do_is_refused(path, cluster, tmp_path, monkeypatch):
    how = {"backend": cluster.scheduler_address, "checkpoint": tmp_path}
    with pytest.raises(gb.errors.InputError, match="checkpoint="):
        streamed(path, backend=cluster.scheduler_address)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "distributed", None)
        with pytest.raises(gb.errors.InputError, match=r"geneml-bio\[dask\]"):
            streamed(path, **how)
    with monkeypatch.context() as patch:  # a folder of this machine alone
        elsewhere = partial(checkpoint._reads, str(tmp_path / "elsewhere"), "note")
        patch.setattr(checkpoint.Checkpoint, "signed", lambda self: elsewhere)
        with pytest.raises(gb.errors.InputError, match=r"2 workers of the cluster .* do not see the checkpoint folder"):
            streamed(path, **how)
    with monkeypatch.context() as patch:
        elsewhere = backed.RowsOfPath(str(tmp_path / "elsewhere.h5ad"), None, 1)
        patch.setattr(backed.BackedSource, "remote", lambda self: elsewhere)
        with pytest.raises(gb.errors.InputError, match=r"elsewhere\.h5ad; put it on a path that all"):
            streamed(path, **how)
    monkeypatch.setattr(streamed_cluster, "_PAUSE", 0.0)
    odd = {"odd": XGBClassifier(n_estimators=5, tree_method="exact")}
    with pytest.raises(gb.errors.InputError, match="failed 4 times"):
        streamed(path, models=odd, **how)
