"""The table of docs/scaling.md, section GPU: XGBoost on a GPU against the processor of the same machine.

    python benchmarks/gpu.py                                  # 1,000,000 samples x 2,000 genes (32 GB of memory, a few minutes)
    python benchmarks/gpu.py --samples 100000 --rounds 20     # smaller

Needs a GPU and an XGBoost with CUDA (geneml_bio's own check says what is missing). Times are medians; how many runs each is of
stands in the table. The GPU's come after one small run that starts it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import numpy as np
import xgboost

from geneml_bio.core.device import check_device
from geneml_bio.core.explainers import explain_model
from geneml_bio.core.registry import BOOSTING

CORES = len(os.sched_getaffinity(0))


def simulate(n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal genes (float32); the class depends on 20 of them."""
    X = np.empty((n, p), dtype=np.float32)
    blocks = np.array_split(np.arange(n), 4 * CORES)

    def fill(k: int) -> None:
        if len(blocks[k]):
            rng = np.random.default_rng([0, k])
            rng.standard_normal(dtype=np.float32, out=X[blocks[k][0] : blocks[k][-1] + 1])

    with ThreadPoolExecutor(CORES) as pool:
        list(pool.map(fill, range(len(blocks))))
    signal = X[:, :20].sum(axis=1) / 2 + np.random.default_rng(1).logistic(size=n)
    return X, (signal > 0).astype(int)


def card() -> str:
    """Name and driver of the GPU."""
    import subprocess

    asked = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def measure(device: str, X: np.ndarray, y: np.ndarray, rounds: int, times: int, chunk: int) -> dict[str, Any]:
    """Seconds of training (from the matrix in memory), of contributions of all genes and of those used."""
    seconds: dict[str, list[float]] = {}

    def timed(name: str, function: Any) -> Any:
        begin = time.perf_counter()
        made = function()
        seconds.setdefault(name, []).append(time.perf_counter() - begin)
        print(f"{device} {name}: {seconds[name][-1]:.2f} s", flush=True)
        return made

    how = BOOSTING | {"n_estimators": rounds}
    for _ in range(times):
        model = xgboost.XGBClassifier(**how, tree_method="hist", device=device, n_jobs=CORES, random_state=0)
        timed("training", lambda model=model: model.fit(X, y))
        booster = model.get_booster()
        if device != "cpu" and "cuda" not in booster.save_config():
            raise RuntimeError("It was not trained on the GPU.")

        def contributions(booster: Any = booster) -> np.ndarray:
            part = np.zeros(X.shape[1] + 1)
            for begin in range(0, len(X), chunk):
                part += np.abs(booster.predict(xgboost.DMatrix(X[begin : begin + chunk]), pred_contribs=True)).sum(
                    axis=0
                )
            return part

        total = timed("contributions, all genes", contributions)
        part = timed("contributions, genes used (geneml_bio)", lambda model=model: explain_model(model, X, ""))
        margin = timed("prediction", lambda booster=booster: booster.predict(xgboost.DMatrix(X), output_margin=True))
    error = np.abs(part.base[:, 0] + part.values[:, :, 0].sum(axis=1) - margin).max()
    ours = np.zeros(X.shape[1])
    ours[part.columns] = np.abs(part.values[:, :, 0]).sum(axis=0)
    off = np.abs(ours - total[:-1]).max() / total[:-1].max()
    return {"seconds": seconds, "margin": margin, "error": error, "off": off, "genes": len(part.columns)}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--chunk", type=int, default=250_000, help="samples whose contributions are held at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cpu-repeats", type=int, default=1)
    asked = parser.parse_args()
    device = check_device("cuda")
    begin = time.perf_counter()
    X, y = simulate(asked.samples, asked.genes)
    print(f"simulated in {time.perf_counter() - begin:.1f} s", flush=True)
    small = slice(0, 5000)
    measure(device, X[small], y[small], 5, 1, asked.chunk)  # starts the GPU
    made = {
        name: measure(name, X, y, asked.rounds, times, asked.chunk)
        for name, times in ((device, asked.repeats), ("cpu", asked.cpu_repeats))
    }
    gpu, cpu = made[device], made["cpu"]
    print(f"\n{card()}; {CORES} cores; XGBoost {xgboost.__version__}; {date.today()}")
    print(f"{asked.samples:,} x {asked.genes:,} float32, {asked.rounds} trees of depth {BOOSTING['max_depth']}\n")
    print("| work | CPU, s | GPU, s | ratio |\n| --- | --- | --- | --- |")
    for name, values in cpu["seconds"].items():
        a, b = statistics.median(values), statistics.median(gpu["seconds"][name])
        print(f"| {name} | {a:.1f} | {b:.1f} | {a / b:.1f} |")
    print(f"\nruns: {asked.cpu_repeats} on the CPU, {asked.repeats} on the GPU (medians)")
    print(f"base + sum - margin, largest: CPU {cpu['error']:.1e}, GPU {gpu['error']:.1e}")
    print(f"used genes against all, mean |SHAP|: CPU {cpu['off']:.1e}, GPU {gpu['off']:.1e}; used: {gpu['genes']}")
    print(f"correlation of the margins, CPU and GPU: {np.corrcoef(cpu['margin'], gpu['margin'])[0, 1]:.5f}")


if __name__ == "__main__":
    main()
