"""Processes that are killed in the middle: nothing is lost, nothing changes; killed again and again: an error that helps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import current_thread
from threading import enumerate as enumerate_threads

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_info, threadpool_limits

from geneml_bio.core.errors import InputError, WorkerError
from geneml_bio.core.threads import one_thread
from geneml_bio.core.workers import Shared, by_workers


def slowly(number: int, array: np.ndarray) -> tuple[int, float, int, str]:
    time.sleep(0.02)
    return number, float(array[number]), os.getpid(), type(array).__name__


def there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # one that has ended and that nobody waits for is not there either
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_killed_process_changes_nothing_and_none_stays_behind():
    array = np.random.default_rng(0).normal(size=200_000)
    beside: list[int] = []

    def calls(shared):
        for k in range(3000):
            if len(beside) == 3 and k % 20 == 0:
                return
            yield k, shared

    with Shared(array) as shared:
        for k, (number, value, pid, kind) in enumerate(by_workers(slowly, calls(shared), 2)):
            assert (number, value) == (k, array[k])
            assert kind == ("ndarray" if pid == os.getpid() else "memmap")
            if pid not in (os.getpid(), *beside):
                beside.append(pid)
                if len(beside) < 3:
                    os.kill(pid, signal.SIGKILL)
        folder = Path(shared.__reduce__()[1][0]).parent
        assert folder.is_dir()
    assert len(beside) == 3  # one beside this one, another in its place, and a third
    assert not any(there(pid) for pid in beside)
    assert not folder.exists()


KILLED = """
import os, sys
import numpy as np
from geneml_bio.core.workers import Shared, TemporaryFolder, by_workers
sys.path.insert(0, sys.argv[1])
from test_workers import slowly

if __name__ == "__main__":
    other = TemporaryFolder()
    with Shared(np.zeros(200_000)) as shared:
        for number, value, pid, kind in by_workers(slowly, ((k, shared) for k in range(100_000)), 2):
            if pid != os.getpid():
                print(pid, flush=True)
"""


def test_where_the_main_process_is_killed_the_others_end_and_no_file_stays(tmp_path):
    script, scratch = tmp_path / "killed.py", tmp_path / "scratch"
    script.write_text(KILLED)
    scratch.mkdir()
    command = [sys.executable, script, Path(__file__).parent]
    made = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(scratch)}, stdout=subprocess.PIPE)
    beside = int(made.stdout.readline())
    assert len(list(scratch.glob("geneml-bio-*"))) == 2
    made.kill()
    made.communicate()
    for _ in range(300):
        if not there(beside) and not any(scratch.iterdir()):
            return
        time.sleep(0.1)
    pytest.fail(f"left after half a minute: {there(beside)}, {list(scratch.iterdir())}")


def dies(parent: int) -> None:
    if os.getpid() != parent:
        os._exit(1)


def test_processes_that_always_die_are_an_error_that_says_what_to_do():
    with pytest.raises(WorkerError, match=r"killed 3 times.*n_jobs=1"):
        list(by_workers(dies, [(os.getpid(),)] * 200, 2))


def fails(number: int, late: int) -> int:
    if number >= late:
        raise InputError(number)
    time.sleep(0.05)
    return number


def test_the_first_of_several_errors_is_passed_on_in_its_turn():
    found = []
    made = by_workers(fails, ((k, 7) for k in range(20)), 2)
    with pytest.raises(InputError, match=r"^7$"):
        found.extend(made)
    assert found == list(range(7))


def blas_here(number: int) -> tuple[int, str, set[int]]:
    with one_thread():
        time.sleep(0.01)
        pools = threadpool_info()
    return number, current_thread().name, {pool["num_threads"] for pool in pools}


def test_a_thread_beside_this_one_starts_no_process_and_has_one_thread_of_blas():
    def allowed() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info()]

    threads = enumerate_threads()
    with threadpool_limits(2):
        before = allowed()
        made = list(by_workers(blas_here, ((k,) for k in range(60)), 2, threads=True))
        assert allowed() == before
    assert max(before) == 2
    assert [number for number, *_ in made] == list(range(60))
    assert len({name for _, name, _ in made}) == 2
    assert all(pools == {1} for *_, pools in made)
    found = []
    with pytest.raises(InputError, match=r"^7$"):
        found.extend(by_workers(fails, ((k, 7) for k in range(20)), 2, threads=True))
    assert found == list(range(7))
    assert set(enumerate_threads()) <= set(threads)


def test_what_is_left_early_ends_its_thread():
    threads = enumerate_threads()
    with Shared(np.arange(5.0)) as shared:
        made = by_workers(np.sum, ((shared,) for _ in range(500)), 2, threads=True)
        assert next(made) == 10
        made.close()
    assert set(enumerate_threads()) <= set(threads)


def test_one_worker_is_none_and_what_is_left_early_ends():
    assert list(by_workers(os.getpid, [()] * 3, 1)) == [os.getpid()] * 3
    matrix = sparse.random(50, 40, 0.2, format="csr", random_state=0)
    with Shared(matrix) as shared:
        made = by_workers(abs, ((shared,) for _ in range(500)), 2)
        assert abs(next(made) - matrix).nnz == 0
        made.close()
