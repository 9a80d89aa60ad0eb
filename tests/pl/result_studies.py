"""Small studies that went through the real pipeline, for the tests of figures and of the report."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

import geneml_bio as gb

# what a name may hold and must not do anything: markup, mathtext, formulas, paths, quotes, a hidden-legend underscore
HOSTILE = (
    "<script>alert(1)</script>",
    "$x^{2$",
    "$a$ and $b$",
    "=1+1",
    "_under_score",
    "A/B\\C",
    "\"quoted\" 'name' & more",
    "very_long_probe_name_" * 4 + "1007_s_at",
    "-2+3",
    "tab\tand\nnewline",
    "</script><img src=x onerror=alert(2)>",
    "{{ 7*7 }}{% raw %}",
)
MODELS = {"logistic": "logistic", "forest": RandomForestClassifier(25, random_state=0)}


def expression(classes: tuple[str, ...], *, n: int, p: int = 120, effect: float = 2.0, seed: int = 0) -> ad.AnnData:
    """Simulated log expression: gene j is shifted in one class, for the first genes."""
    rng = np.random.default_rng(seed)
    y = np.array([classes[i % len(classes)] for i in range(n)])
    X = rng.normal(7, 1, (n, p))
    for j in range(min(12, p)):
        X[y == classes[1 + j % (len(classes) - 1)], j] += effect * (1 if j % 3 else -1) / (1 + j / 8)
    obs = pd.DataFrame({"dx": pd.Categorical(y, categories=classes)}, index=[f"S{i:02d}" for i in range(n)])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(p)]))


def analysed(
    adata: ad.AnnData,
    *,
    explain: bool = True,
    de: bool = True,
    classify: bool = True,
    n_permutations: int = 12,
    **asked: object,
) -> ad.AnnData:
    """Run the main job, or a part of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        if de:
            levels = list(adata.obs["dx"].cat.categories)
            design = (
                pd.get_dummies(adata.obs["dx"]).astype(float).set_axis([f"c{k}" for k in range(len(levels))], axis=1)
            )
            gb.tl.limma(adata, design, contrast=f"c{len(levels) - 1} - c0", engine="native")
        if classify:
            how = {"models": MODELS, "n_splits": 3, "n_repeats": 2, "screen": 30, "tune": False} | asked
            result = gb.tl.classify(adata, "dx", n_permutations=n_permutations, n_jobs=1, progress=False, **how)
            if explain:
                gb.tl.explain(adata, result, progress=False)
        if de or explain:
            gb.tl.biomarkers(adata, n_used=25)
    return adata


def two_classes() -> ad.AnnData:
    return analysed(expression(("healthy", "ill"), n=30, effect=1.1))


def four_classes() -> ad.AnnData:
    return analysed(
        expression(("B", "T/NK", "$m$", "<b>x</b>"), n=44), n_permutations=0, models={"logistic": "logistic"}
    )


def hostile() -> ad.AnnData:
    adata = expression(("<script>alert('class')</script>", "=cmd|' /C calc'!A0 $y$"), n=30)
    adata.var_names = [*HOSTILE, *adata.var_names[len(HOSTILE) :]]
    adata.obs_names = [f"<img src=x onerror=alert(3)> {name}" for name in adata.obs_names]
    return analysed(adata, n_permutations=5, models={"<b>$mine$</b>": LogisticRegression()})


def numbers() -> ad.AnnData:
    """A continuous target."""
    adata = expression(("a", "b"), n=36)
    rng = np.random.default_rng(1)
    adata.obs["age"] = 50 + 8 * (adata.X[:, 0] - 7) + rng.normal(0, 3, adata.n_obs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        how = {"models": "ridge", "n_splits": 3, "n_repeats": 2, "screen": 20, "tune": False, "n_permutations": 8}
        result = gb.tl.regress(adata, "age", n_jobs=1, progress=False, **how)
        gb.tl.explain(adata, result, key="regress", progress=False)
        gb.tl.biomarkers(adata, model="regress")
    return adata


def with_frames(adata: ad.AnnData, key: str = "classify") -> ad.AnnData:
    """Frames of a test set, of baselines and of a network, made by hand: what figures and report are to show."""
    adata, rng = adata.copy(), np.random.default_rng(0)
    stored = dict(adata.uns[key])
    first = stored["predictions"].query("repeat == 0").drop(columns=["repeat", "fold"])
    chosen = list(adata.obs_names[::3])
    stored["test_predictions"] = first[first["sample"].astype(str).isin(chosen)].reset_index(drop=True)
    metrics = stored["metrics"].astype({"model": str, "metric": str})
    single = metrics[~metrics["model"].str.startswith("best of")]
    stored["test_metrics"] = single[["model", "metric", "value", "low", "high"]].assign(
        value=single["value"] - 0.1, low=single["low"] - 0.2, n=len(chosen)
    )
    one = metrics[metrics["model"] == single["model"].iloc[0]]
    names = ("covariates only", "genes + covariates")
    stored["metrics"] = pd.concat([metrics, *(one.assign(model=name) for name in names)], ignore_index=True)
    mine = stored["predictions"].astype({"model": str})
    mine = mine[mine["model"] == single["model"].iloc[0]]
    stored["predictions"] = pd.concat(
        [stored["predictions"].astype({"model": str}), *(mine.assign(model=name) for name in names)], ignore_index=True
    )
    stored["baselines"] = np.array(names, dtype=object)
    fits = [(repeat, fold) for repeat in range(2) for fold in range(3)] + [(-1, -1)]
    epoch, score = np.arange(1, 21), "accuracy" if "classes" in stored else "mae"
    parts = []
    for repeat, fold in fits:
        fall = np.exp(-epoch / rng.uniform(4, 8))
        part = pd.DataFrame({"repeat": repeat, "fold": fold, "model": "net", "epoch": epoch, "loss": 0.7 * fall})
        parts.append(part.assign(val_loss=fall + 0.02 * epoch, **{score: 1 - fall / 2, f"val_{score}": 0.9 - fall / 3}))
    stored["history"] = pd.concat(parts, ignore_index=True)
    adata.uns[key] = stored
    return adata
