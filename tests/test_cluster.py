"""backend=: a cluster of dask gives the same numbers, also where workers are lost."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

import geneml_bio as gb
from geneml_bio.core import cluster as core
from geneml_bio.core import units

distributed = pytest.importorskip("distributed")

HOW = {
    "screen": 30,
    "n_splits": 3,
    "n_repeats": 2,
    "n_permutations": 4,
    "models": ["logistic", "xgboost"],
    "progress": False,
}


@pytest.fixture(scope="module")
def golub():
    return gb.datasets.golub()[:, :400].copy()


@pytest.fixture(scope="module")
def here(golub):
    adata = golub.copy()
    gb.tl.classify(adata, "class", n_jobs=1, **HOW)
    return adata


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as made:
        yield made


def same(a, b):
    for name in ("predictions", "null", "screens"):
        mine, theirs = a.uns["classify"][name], b.uns["classify"][name]
        for column in mine.columns:
            if mine[column].dtype.kind == "f":
                np.testing.assert_array_equal(mine[column], theirs[column])
    np.testing.assert_array_equal(a.var["classify_empirical_p"], b.var["classify_empirical_p"])


def test_an_address_gives_the_numbers_of_this_machine(golub, here, cluster):
    there = golub.copy()
    result = gb.tl.classify(there, "class", backend=cluster.scheduler_address, **HOW)
    same(there, here)
    gb.tl.explain(there, result, progress=False)  # the fitted models came back
    gb.tl.explain(here, progress=False, n_jobs=1)
    np.testing.assert_allclose(there.var["classify_shap"], here.var["classify_shap"])


def test_a_client_that_is_there_and_workers_that_die(golub, here, cluster, monkeypatch):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=30)
        pids = list(client.run(os.getpid).values())
        true, seen = units.in_order, []

        def dying(*asked):
            for result in true(*asked):
                seen.append(len(pids))
                if len(seen) in (1, 4):  # in the middle, one after the other: all that held the matrix are gone
                    os.kill(pids.pop(), signal.SIGKILL)
                yield result

        monkeypatch.setattr(units, "in_order", dying)
        there = golub.copy()
        gb.tl.classify(there, "class", backend="dask", **HOW)
        assert not pids
        assert seen.count(0) > 2, "work was left when the last of them was gone"
        same(there, here)


def test_what_is_no_cluster_is_refused(golub, monkeypatch):
    monkeypatch.setattr(core, "_ANSWER", 1.0)
    adata = golub.copy()
    before = set(adata.uns)
    for backend, words in (
        ("tcp://127.0.0.1:9", "answers"),
        ("dask", "there is none"),
        (3, "backend must be"),
        ("loky", "backend must"),
    ):
        with pytest.raises(gb.errors.InputError, match=words):
            gb.tl.classify(adata, "class", backend=backend, **HOW)
    assert set(adata.uns) == before


def test_errors_of_the_work_are_those_of_this_machine(golub, cluster):
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(gb.errors.InputError, match="could not be fitted"):
        gb.tl.classify(
            golub.copy(),
            "class",
            backend=cluster.scheduler_address,
            **(HOW | {"models": {"odd": LogisticRegression(C=-1.0)}}),
        )


def test_a_worker_with_another_version_is_refused_by_name(golub, cluster):
    def other(package, version):
        import importlib

        importlib.import_module(package).__version__ = version

    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        address = sorted(client.scheduler_info()["workers"])[1]
        for package, here in (("geneml_bio", gb.__version__), ("numpy", np.__version__)):
            client.run(other, package, "0.0.1", workers=[address])
            words = rf"{address} has {package} 0\.0\.1 \(here: {here}\)"
            try:
                with pytest.raises(gb.errors.WorkerError, match=words):
                    gb.tl.classify(golub.copy(), "class", backend=client, **HOW)
                # a worker that comes later is asked when it is given work
                late = client.submit(core._alike, core.versions(), len, np.arange(3), workers=[address], pure=False)
                with pytest.raises(gb.errors.WorkerError, match=words):
                    late.result()
            finally:
                client.run(other, package, here, workers=[address])
        core.check_versions(client)


def test_a_cluster_without_workers_and_a_port_that_is_no_scheduler(golub, monkeypatch):
    import socket

    monkeypatch.setattr(core, "_WAIT", "1s")
    monkeypatch.setattr(core, "_ANSWER", 1.0)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(gb.errors.WorkerError, match=r"no workers.*dask worker"),
    ):
        gb.tl.classify(golub.copy(), "class", backend=empty.scheduler_address, **HOW)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.perf_counter()
        for address in (
            f"tcp://127.0.0.1:{silent.getsockname()[1]}",
            "http://127.0.0.1:1",
            "tcp://no.such.host.invalid:8786",
        ):
            with pytest.raises(gb.errors.InputError, match="no scheduler"):
                gb.tl.classify(golub.copy(), "class", backend=address, **HOW)
        assert time.perf_counter() - start < 10


def test_a_worker_that_is_lost_while_all_are_asked_is_nobody_who_does_not_see(cluster):
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        gone = next(iter(client.run(os.getpid).values()))

        def look():
            if os.getpid() == gone:
                os.kill(gone, signal.SIGKILL)
            return True

        core.check_seen(client, look, "the folder")
        there: list[int] = []
        for _ in range(300):  # the scheduler counts the one that is gone for a while
            there = [pid for pid in client.run(os.getpid, on_error="return").values() if isinstance(pid, int)]
            if len(there) == 2 and gone not in there:
                break
            time.sleep(0.2)
        assert len(there) == 2
        with pytest.raises(gb.errors.InputError, match=r"2 workers .* do not see the folder"):
            core.check_seen(client, lambda: False, "the folder")


def test_a_worker_that_dies_when_it_is_sent_the_data_is_not_waited_for(cluster, tmp_path):
    """``scatter(broadcast=True)`` would try to reach it for ever."""

    class Deadly:  # local, so that workers get its code
        def __init__(self, flag):
            self.flag = flag

        def __setstate__(self, state):
            self.__dict__.update(state)
            try:
                os.remove(self.flag)
            except FileNotFoundError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

    flag = tmp_path / "flag"
    flag.touch()
    with distributed.Client(cluster) as client:
        client.wait_for_workers(2, timeout=90)
        made = core.in_order(client, lambda held, i: i, Deadly(str(flag)), [(i,) for i in range(6)])
        assert list(made) == list(range(6))
    assert not flag.exists(), "a worker died of it"
