"""Processes that are killed in the middle: nothing is lost, nothing changes; killed again and again: an error that helps."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from joblib.externals.loky import reusable_executor

from geneml_bio.core.errors import WorkerError
from geneml_bio.core.workers import in_processes


def slowly(number: int, array: np.ndarray) -> tuple[int, float, int]:
    time.sleep(0.05)
    return number, float(array[number]), os.getpid()


def test_a_killed_process_changes_nothing():
    array = np.random.default_rng(0).normal(size=200_000)  # large enough to be shared through a file
    calls = [(k, array) for k in range(30)]
    found, processes = [], set()
    for k, (number, value, pid) in enumerate(in_processes(slowly, iter(calls), 2)):
        found.append((number, value))
        processes.add(pid)
        if k in (3, 12):  # one process, later all of them
            for alive in list(reusable_executor._executor._processes)[: 1 if k == 3 else None]:
                os.kill(alive, signal.SIGKILL)
    assert found == [(k, float(array[k])) for k in range(30)]
    assert len(processes) > 2


def test_processes_that_always_die_are_an_error_that_says_what_to_do():
    with pytest.raises(WorkerError, match=r"killed 3 times.*n_jobs=1"):
        list(in_processes(os._exit, [(1,)] * 4, 2))


def test_an_error_of_the_work_is_passed_on_and_one_worker_is_none():
    with pytest.raises(ZeroDivisionError):
        list(in_processes(divmod, [(1, 0)], 2))
    assert list(in_processes(os.getpid, [()] * 3, 1)) == [os.getpid()] * 3
