"""Ctrl-C: the main process stops and takes its workers with it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process started in the background ignores it

import numpy as np, pandas as pd
from geneml_bio.core import units
from geneml_bio.core.models import candidates
from geneml_bio.core.schema import Cohort
from geneml_bio.core.validate import validate

units._TRIAL = units._WORTH_WORKERS = 0.0
rng = np.random.default_rng(0)
X, y = rng.normal(size=(60, 50)), np.arange(60) % 2
genes, samples = (pd.Index([f"{letter}{i}" for i in range(n)]) for letter, n in (("g", 50), ("s", 60)))
cohort = Cohort(X, genes, samples, np.where(y, "b", "a"), classes=("a", "b"))
print("ready", flush=True)
validate(cohort, candidates(["random_forest"], "classification"), screen=20, n_repeats=2000, n_jobs=N_JOBS, progress=False)
"""


def children(pid: int) -> list[int]:
    """Processes started by this one, directly or not, that still run."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return sorted(found)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("n_jobs", [2, 3])
def test_an_interrupt_ends_the_workers_too(n_jobs):
    """Two: a thread beside the main one. More: processes."""
    main = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("N_JOBS", str(n_jobs))],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert main.stdout.readline() == "ready\n"
        least, end = 0 if n_jobs == 2 else 2, time.monotonic() + 60
        while len(children(main.pid)) < least and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1)
        workers = children(main.pid)
        assert len(workers) >= least
        assert least or not workers
        main.send_signal(signal.SIGINT)
        main.wait(timeout=10)  # 2 s on a machine that does nothing else
        assert main.returncode != 0
        end = time.monotonic() + 5
        while time.monotonic() < end and any(map(_runs, workers)):
            time.sleep(0.1)
        assert not [pid for pid in workers if _runs(pid)]
    finally:
        main.kill()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
