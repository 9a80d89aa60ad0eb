"""SHAP and L1 models against their peers: prints the tables of docs/speed.md.

    python benchmarks/explain.py                       # everything (about ten minutes on two cores)
    python benchmarks/explain.py forest xgboost        # only these

Each side runs in a process of its own, three times after a first one that does not count; seconds are medians, "extra MB" is the
peak of the process beyond what it held with the data and the model in memory.
"""

from __future__ import annotations

import argparse
import json
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

GENES, SAMPLES, TRAINED = 20_000, 10_000, 500


def simulate(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal genes (float32); the class depends on ten of them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p), dtype=np.float32)
    return X, (X[:, :10].sum(axis=1) + rng.normal(size=n) > 0).astype(int)


def fitted(case: str) -> Any:
    """The model of a case."""
    if case == "forest":
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(500, random_state=0).fit(*simulate(800, 200, 0))
    X, y = simulate(TRAINED, GENES, 0)
    if case == "xgboost":
        import xgboost

        return xgboost.XGBClassifier(n_estimators=100, max_depth=3, learning_rate=0.1, n_jobs=2).fit(X, y)
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=50, random_state=0, early_stopping=False).fit(X, y)


def explained(case: str, side: str, model: Any) -> Callable[[], Any]:
    """What is timed."""
    X, _ = simulate(1000, 200, 1) if case == "forest" else simulate(SAMPLES, GENES, 1)
    if side == "ours":
        from geneml_bio.core.explainers import explain_model

        return lambda: explain_model(model, X, "")
    import shap

    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    return lambda: explainer.shap_values(X, check_additivity=False)


def l1(case: str, side: str) -> Callable[[], Any]:
    """Ten fits on halves drawn anew of 500 of 1,000 samples x 20,000 standardised genes, at one penalty."""
    X, y = simulate(1000, GENES, 2)
    number = X[:, :10].sum(axis=1) + np.random.default_rng(3).normal(size=len(X))
    halves = [np.random.default_rng(k).permutation(1000)[:500] for k in range(10)]
    parts = [np.asfortranarray((X[rows] - X[rows].mean(0)) / X[rows].std(0), dtype=np.float64) for rows in halves]
    del X
    logistic = case == "l1_logistic"
    made: Any
    if logistic and side == "ours":
        from geneml_bio.core.sparse_logistic import SparseLogistic

        made = SparseLogistic(0.1, tol=1e-5)
    elif logistic:
        from sklearn.linear_model import LogisticRegression

        made = LogisticRegression(l1_ratio=1.0, C=1 / (0.1 * 500), solver="liblinear", tol=1e-6, max_iter=10_000)
    elif side == "ours":
        from geneml_bio.core.registry import lasso

        made = lasso(0.2)
    else:
        from sklearn.linear_model import Lasso

        made = Lasso(0.2, max_iter=50_000)
    target = y if logistic else number
    return lambda: [made.fit(part, target[rows]) for part, rows in zip(parts, halves, strict=True)]


def child(case: str, side: str, folder: Path, times: int) -> None:
    """Time one side and print it."""
    work = l1(case, side) if case in L1 else explained(case, side, pickle.loads((folder / case).read_bytes()))
    held = _peak()
    seconds = []
    for _ in range(times + 1):
        begin = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": statistics.median(seconds[1:]), "extra": _peak() - held}))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


L1 = ("lasso", "l1_logistic")
CASES = {
    "forest": ("random forest, 500 trees x 1,000 samples, 200 genes", "shap.TreeExplainer"),
    "xgboost": ("XGBoost, 10,000 x 20,000", "shap.TreeExplainer"),
    "binned": ("HistGradientBoosting, 10,000 x 20,000", "shap.TreeExplainer"),
    "lasso": ("lasso, 10 fits at 500 x 20,000", "sklearn Lasso"),
    "l1_logistic": ("L1 logistic, 10 fits at 500 x 20,000", "sklearn liblinear"),
}


def main() -> None:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--child", nargs=2, metavar=("SIDE", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    if asked.child:
        child(asked.cases[0], asked.child[0], Path(asked.child[1]), asked.times)
        return
    print("| work | peer | peer, s | here, s | ratio | peer, extra MB | here, extra MB |\n" + "| --- " * 7 + "|")
    with tempfile.TemporaryDirectory() as folder:
        for case in asked.cases or CASES:
            if case not in L1:
                (Path(folder) / case).write_bytes(pickle.dumps(fitted(case)))
            made = {}
            for side in ("peer", "ours"):
                command = [sys.executable, __file__, case, "--child", side, folder, "--times", str(asked.times)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                made[side] = json.loads(done.stdout.splitlines()[-1])
            peer, ours = made["peer"], made["ours"]
            ratio = peer["seconds"] / ours["seconds"]
            print(
                f"| {' | '.join(CASES[case])} | {peer['seconds']:.2f} | {ours['seconds']:.2f} | {ratio:.1f} | {peer['extra']:.0f} | "
                f"{ours['extra']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
