"""One side of a comparison in a process of its own: its time (median of the runs after the first) and its memory.

``side("moderated", "ours_table", 79, 12625)`` runs ``benchmarks/moderated.py``'s ``ours_table(79, 12625)``, which prepares the data and
returns the function that is timed. ``r_side("limma.R", "table", 79, 12625)`` runs an R script, which reports in the same form.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

HERE = Path(__file__).parent
CORES = 2


@dataclass(frozen=True)
class Side:
    """Median seconds of the runs; memory (MB): peak of the process, what that is above the memory with the data loaded, and peak of
    the process and its workers together (NaN if not watched: five times a second, and seen twice).
    """

    seconds: float
    peak: float
    extra: float
    runs: tuple[float, ...] = ()
    more: dict[str, Any] | None = None
    whole: float = float("nan")


def verdict(ratio: float, goal: str, *, at_most: bool = False) -> str:
    """A ratio for a table, and whether a goal ("" for none) was missed."""
    number = f"{ratio:.2f}" if at_most else f"{ratio:.3g}"
    missed = goal != "" and (ratio > float(goal) if at_most else ratio < float(goal))
    return f"**{number}**{' (missed)' if missed else ''}"


def _memory(what: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    return float("nan")


def _held(pid: int) -> float:
    """Memory of a process and all that it started, shared pages counted once (MB)."""
    total, waiting = 0.0, [pid]
    while waiting:
        one = waiting.pop()
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            waiting += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    return total


def _run(command: list[str], threads: int, watch: bool = False) -> Side:
    env = dict(os.environ)
    env |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    env["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), str(HERE), env.get("PYTHONPATH", "")])
    whole = last = 0.0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with subprocess.Popen(command, env=env, stdout=out, stderr=err, text=True) as process:
            while watch and process.poll() is None:
                now = _held(process.pid)
                whole = max(whole, min(now, last))  # one look can count a process twice, as it starts
                last = now
                sleep(0.2)
        out.seek(0), err.seek(0)
        printed, complaints = out.read(), err.read()
    lines = [line for line in printed.splitlines() if line.startswith('{"runs"')]
    if process.returncode or not lines:
        raise SystemExit(f"{' '.join(command)} failed:\n{printed[-2000:]}\n{complaints[-4000:]}")
    got = json.loads(lines[-1])
    runs = tuple(got["runs"])
    return Side(
        statistics.median(runs),
        got["peak"],
        got["peak"] - got["before"],
        runs,
        got.get("more"),
        whole if watch else float("nan"),
    )


def side(module: str, function: str, *args: Any, repeats: int = 3, threads: int = CORES, watch: bool = False) -> Side:
    """A function of a benchmark in Python, timed in its own process; ``watch`` its workers' memory, which disturbs what is short."""
    command = [sys.executable, str(HERE / "sides.py"), module, function, json.dumps(args), str(repeats)]
    return _run(command, threads, watch)


def r_side(script: str, *args: Any, repeats: int = 3, threads: int = CORES) -> Side:
    """A benchmark in R, timed inside R: without its start."""
    return _run(["Rscript", str(HERE / script), *map(str, args), str(repeats)], threads)


def _main(module: str, function: str, args: str, repeats: str) -> None:
    work = getattr(importlib.import_module(module), function)(*json.loads(args))
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak of the preparation does not count
    before, runs, more = _memory("VmRSS"), [], None
    for k in range(int(repeats) + 1):
        start = perf_counter()
        more = work()
        spent = perf_counter() - start
        if k or int(repeats) == 1:  # the first one loads and compiles
            runs.append(spent)
        if int(repeats) == 1:
            break
    more = more if isinstance(more, dict) else None
    print(json.dumps({"runs": runs, "before": before, "peak": _memory("VmHWM"), "more": more}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
