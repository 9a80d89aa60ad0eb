"""gb.tl.stream killed (SIGKILL) at random moments and its files damaged: does the next call give what an undisturbed run gives?

    python benchmarks/killed.py [--trials 100] [--seed 0]

Each trial kills one to five processes at random moments (half of them in the first third of an undisturbed run), and after each kill
damages up to three files of the checkpoint: cut short, emptied, bytes changed, removed, replaced by another one, or followed by something.
Then the work is done to its end, and all it gives is compared bit by bit: out-of-fold predictions, scores, the test set, permuted
targets, genes' p, SHAP. Prints one line of JSON. Needs a system that can fork.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

import geneml_bio as gb

DAMAGES = ("cut", "emptied", "changed", "removed", "replaced", "followed")


def cells(n: int = 1500, p: int = 120, n_donors: int = 12) -> ad.AnnData:
    """Log counts of cells; a donor is of one class."""
    rng = np.random.default_rng(0)
    donor = rng.integers(0, n_donors, n)
    rate = np.exp(rng.normal(0, 0.5, p))[None, :] * np.ones((n, 1))
    rate[:, :10] *= np.where(donor % 2 == 1, 1.6, 1.0)[:, None]
    obs = pd.DataFrame({"kind": np.array(["a", "b"])[donor % 2], "donor": [f"d{d}" for d in donor]})
    obs["age"] = rng.normal(50, 10, n)
    obs.index = [f"cell{i}" for i in range(n)]
    X = sparse.csr_matrix(np.log1p(rng.poisson(rate)).astype(np.float32))
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(p)]))


def work(path: Path, checkpoint: Path, task: str) -> dict[str, np.ndarray]:
    """All numbers of one run."""
    how: dict[str, Any] = {
        "groups": "donor",
        "screen": 15,
        "n_splits": 3,
        "chunk_size": 170,
        "n_cells": 300,
        "n_shap": 50,
    }
    how |= {
        "n_permutations": 2,
        "n_repeats": 2,
        "covariates": "age",
        "calibrate": None if task == "regression" else "sigmoid",
        "test_size": 0.2,
        "n_jobs": 1,
        "progress": False,
        "key_added": "k",
        "checkpoint": checkpoint,
    }
    models = ["ridge" if task == "regression" else "logistic", "xgboost"]
    result = gb.tl.stream(path, "score" if task == "regression" else "kind", task=task, models=models, **how)
    found = {"oof": result.obsm["k_oof"].to_numpy(), "p": result.var["k_empirical_p"].to_numpy()}
    found["shap"] = gb.get.shap(result, "k").select_dtypes("number").to_numpy()
    for name in ("metrics", "null", "tuned", "test_metrics"):
        table = pd.DataFrame(result.uns["k"][name])
        found[name] = table.select_dtypes("number").to_numpy()
        found[f"{name} words"] = table.select_dtypes(exclude="number").astype(str).to_numpy(dtype=str)
    return found


def forked(path: Path, checkpoint: Path, task: str, out: Path) -> int:
    """The work in a process of its own, whose id is returned; what it found is in ``out``."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        warnings.simplefilter("ignore")
        np.savez(out, **work(path, checkpoint, task))
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def damaged(folder: Path, rng: np.random.Generator, seen: Counter[str]) -> None:
    """Harm up to three files."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    for file in rng.permutation(np.array(files, dtype=object))[: rng.integers(0, 4)]:
        how, data = str(rng.choice(DAMAGES)), file.read_bytes() if file.exists() else b""
        if how == "removed":
            file.unlink(missing_ok=True)
        elif how == "replaced":
            others = [other for other in files if other != file and other.exists()]
            if others and file.exists():
                shutil.copyfile(rng.choice(np.array(others, dtype=object)), file)
        elif how == "changed" and data:
            harmed = np.frombuffer(data, np.uint8).copy()
            harmed[rng.integers(0, len(harmed), 3)] ^= 255
            file.write_bytes(harmed.tobytes())
        else:
            file.write_bytes({"cut": data[: len(data) // 2], "followed": data + b"more"}.get(how, b""))
        seen[how] += 1


def trial(path: Path, task: str, seconds: float, rng: np.random.Generator, seen: Counter[str], there: list[int]) -> Any:
    """Kill, damage and call again; what the last call found, or None where it failed."""
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint, out = Path(scratch) / "work", Path(scratch) / "out.npz"
        for _ in range(rng.integers(1, 6)):
            pid = forked(path, checkpoint, task, out)
            time.sleep(seconds * float(rng.beta(1, 2)))
            os.kill(pid, signal.SIGKILL)
            seen["killed" if os.WIFSIGNALED(os.waitpid(pid, 0)[1]) else "had ended"] += 1
            there.append(len(list(checkpoint.rglob("*.piece"))))
            damaged(checkpoint, rng, seen)
            out.unlink(missing_ok=True)
        if os.waitpid(forked(path, checkpoint, task, out), 0)[1]:
            return None
        with np.load(out) as found:
            return dict(found)


def main() -> None:
    """Run the trials."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    adata = cells()
    adata.obs["score"] = np.asarray(adata.X[:, :5].sum(axis=1)).ravel() + np.random.default_rng(1).normal(
        size=adata.n_obs
    )
    seen: Counter[str] = Counter()
    there: list[int] = []
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "a.h5ad"
        adata.write_h5ad(path)
        whole, seconds = {}, {}
        for task in ("classification", "regression"):
            out = Path(scratch) / f"{task}.npz"
            work(path, Path(scratch) / f"first {task}", task)  # so that what is forked has all that is to be imported
            start = time.perf_counter()
            if os.waitpid(forked(path, Path(scratch) / task, task, out), 0)[1]:
                raise SystemExit("the undisturbed run failed")
            seconds[task] = time.perf_counter() - start
            whole[task] = dict(np.load(out))
        for number in range(asked.trials):
            task = ("classification", "regression")[number % 2]
            found = trial(path, task, seconds[task], np.random.default_rng([asked.seed, number]), seen, there)
            same = found is not None and all(
                np.array_equal(found[k], v, equal_nan=v.dtype.kind == "f") for k, v in whole[task].items()
            )
            seen["same" if same else "other" if found else "failed"] += 1
            if not same:
                print(f"trial {number}, {task}: {'other numbers' if found else 'failed'}", flush=True)
    print(json.dumps({"trials": asked.trials, **seen, "seconds": seconds,
                      "pieces when killed": np.percentile(there, [0, 25, 50, 75, 100]).tolist()}))  # fmt: skip


if __name__ == "__main__":
    main()
