"""An atlas that memory does not hold, made piece by piece on disk, and gb.tl.stream on it with its time and peak memory.

    python benchmarks/atlas.py make atlas.h5ad --cells 1000000 --genes 2000      # or atlas.zarr
    python benchmarks/atlas.py run atlas.h5ad [--checkpoint folder] [--screen 200] [--permutations 0]
        [--covariates age depth] [--repeats 1] [--tune] [--calibrate sigmoid]

Cells are log-normalised counts at about 10 % density, of donors that are of one class each (and of one age); 50 genes differ between
the classes, and every gene has a donor's own shift.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from anndata.io import write_elem
from scipy import sparse

N_MARKED = 50


def piece(rng: np.random.Generator, rate: np.ndarray, donor: np.ndarray) -> sparse.csr_matrix:
    """Log-normalised counts of some cells."""
    depth = rng.lognormal(0.0, 0.3, len(donor))
    counts = rng.poisson(rate[donor] * depth[:, None])
    X = sparse.csr_matrix(counts.astype(np.float32))
    total = np.maximum(np.asarray(X.sum(axis=1)).ravel(), 1)
    X.data = np.log1p(X.data * np.repeat(1e4 / total, np.diff(X.indptr)).astype(np.float32) * 0.02)
    return X


def make(path: Path, n: int, p: int, n_donors: int, seed: int, size: int = 20_000) -> None:
    """Write the atlas, ``size`` cells at a time."""
    rng = np.random.default_rng(seed)
    base = rng.gamma(0.35, 0.35, p)
    shift = np.exp(rng.normal(0, 0.25, (n_donors, p)))
    ill = np.arange(n_donors) % 2
    effect = np.ones(p)
    marked = rng.choice(p, N_MARKED, replace=False)
    effect[marked] = np.exp(rng.normal(0, 0.5, N_MARKED))
    rate = base * shift * np.where(ill[:, None] == 1, effect, 1.0)
    donor = rng.integers(0, n_donors, n)
    obs = pd.DataFrame(
        {
            "condition": pd.Categorical(np.array(["control", "ill"])[ill[donor]]),
            "donor": pd.Categorical([f"d{d}" for d in donor]),
        }
    )
    other = np.random.default_rng(seed + 1)
    obs["age"], obs["depth"] = other.normal(50, 10, n_donors)[donor], other.normal(size=n)
    obs.index = pd.Index([f"cell{i}" for i in range(n)])
    var = pd.DataFrame({"marked": np.isin(np.arange(p), marked)}, index=[f"gene{j}" for j in range(p)])
    if path.suffix == ".zarr":
        import zarr

        root, done = zarr.open_group(str(path), mode="w"), lambda: None
    else:
        import h5py

        root = h5py.File(path, "w")
        done = root.close
    write_elem(root, "/", ad.AnnData(obs=obs, var=var))
    for start in range(0, n, size):
        X = piece(rng, rate, donor[start : start + size])
        X.indices = X.indices.astype(np.int64)
        if start == 0:
            write_elem(root, "X", X)
            stored = ad.io.sparse_dataset(root["X"])
        else:
            stored.append(X)
    done()


def run(path: Path, progress: bool, **asked: Any) -> None:
    """Validate and explain; prints one line of JSON."""
    import geneml_bio as gb

    start = time.perf_counter()
    result = gb.tl.stream(path, "condition", groups="donor", progress=progress, **asked)
    seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    table = gb.get.metrics(result).query("metric == 'roc_auc'").set_index("model")["value"]
    top = gb.get.shap(result).index[:50]
    print(json.dumps({
        "cells": result.n_obs, "genes": result.n_vars, "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "peak_gb": round(used.ru_maxrss / 2**20, 2),
        "roc_auc": table.round(4).to_dict(), "marked_in_top_50": int(result.var.loc[top, "marked"].sum()),
    }))  # fmt: skip


def main() -> None:
    """The two verbs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    made = verbs.add_parser("make")
    made.add_argument("path", type=Path)
    made.add_argument("--cells", type=int, default=1_000_000)
    made.add_argument("--genes", type=int, default=2_000)
    made.add_argument("--donors", type=int, default=20)
    made.add_argument("--seed", type=int, default=0)
    ran = verbs.add_parser("run")
    ran.add_argument("path", type=Path)
    ran.add_argument("--checkpoint", type=Path)
    ran.add_argument("--screen", type=int, default=200)
    ran.add_argument("--permutations", type=int, default=0)
    ran.add_argument("--covariates", nargs="*")
    ran.add_argument("--repeats", type=int, default=1)
    ran.add_argument("--calibrate")
    ran.add_argument("--tune", action="store_true")
    ran.add_argument("--quiet", action="store_true")
    asked = parser.parse_args()
    if asked.verb == "make":
        make(asked.path, asked.cells, asked.genes, asked.donors, asked.seed)
    else:
        more = {"n_permutations": asked.permutations, "n_repeats": asked.repeats, "covariates": asked.covariates}
        more |= {"calibrate": asked.calibrate, "tune": asked.tune}
        run(asked.path, not asked.quiet, screen=asked.screen or None, checkpoint=asked.checkpoint, **more)


if __name__ == "__main__":
    main()
