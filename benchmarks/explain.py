"""SHAP of trees against ``shap.TreeExplainer``: a forest, XGBoost and histogram gradient boosting of many genes."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from sides import side, verdict

GENES, SAMPLES, TRAINED = 20_000, 10_000, 500
CASES = {
    "forest": ("random forest of 500 trees, 1,000 samples x 200 genes", "4"),
    "xgboost": ("XGBoost, 100 trees, 10,000 samples x 20,000 genes", "3"),
    "binned": ("HistGradientBoosting, 50 trees, 10,000 samples x 20,000 genes", "3"),
}


def simulate(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Standard normal genes (float32); the class depends on ten of them."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p), dtype=np.float32)
    return X, (X[:, :10].sum(axis=1) + rng.normal(size=n) > 0).astype(int)


def _stored(case: str) -> Path:
    return Path(tempfile.gettempdir()) / f"geneml-bio-benchmark-{case}.pkl"


def fit(case: str) -> Callable[[], Any]:
    """Fit the model of a case and keep it for both sides."""

    def work() -> None:
        if case == "forest":
            from sklearn.ensemble import RandomForestClassifier

            made: Any = RandomForestClassifier(500, random_state=0).fit(*simulate(800, 200, 0))
        elif case == "xgboost":
            import xgboost

            made = xgboost.XGBClassifier(n_estimators=100, max_depth=3, learning_rate=0.1, n_jobs=2)
            made.fit(*simulate(TRAINED, GENES, 0))
        else:
            from sklearn.ensemble import HistGradientBoostingClassifier

            made = HistGradientBoostingClassifier(max_iter=50, random_state=0, early_stopping=False)
            made.fit(*simulate(TRAINED, GENES, 0))
        _stored(case).write_bytes(pickle.dumps(made))

    return work


def _held_out(case: str) -> tuple[Any, np.ndarray]:
    model = pickle.loads(_stored(case).read_bytes())
    return model, simulate(1000, 200, 1)[0] if case == "forest" else simulate(SAMPLES, GENES, 1)[0]


def ours(case: str) -> Callable[[], Any]:
    """The values of this package, its check against the model's output included."""
    from geneml_bio.core.explainers import explain_model

    model, X = _held_out(case)
    return lambda: explain_model(model, X, "") is None


def peer(case: str) -> Callable[[], Any]:
    """Those of shap, without its check."""
    import shap

    model, X = _held_out(case)
    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    return lambda: explainer.shap_values(X, check_additivity=False) is None


def measure() -> str:
    """The section of the page."""
    lines = [
        "| work | seconds | extra MB | shap.TreeExplainer, seconds | extra MB | times as fast | to reach | memory |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case, (work, goal) in CASES.items():
        side("explain", "fit", case, repeats=1)
        mine, theirs = side("explain", "ours", case), side("explain", "peer", case)
        lines.append(
            f"| {work} | {mine.seconds:.3g} | {mine.extra:.0f} | {theirs.seconds:.3g} | {theirs.extra:.0f} | "
            f"{verdict(theirs.seconds / mine.seconds, str(goal))} | {goal} | **{mine.extra / max(theirs.extra, 1e-9):.2f}** |"
        )
    return "\n".join(lines)
