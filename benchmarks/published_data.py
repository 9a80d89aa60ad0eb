"""Published classifications against a plain loop of scikit-learn that shares no code with the package: ``agreement`` of quality.py."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import simulated_studies
from scipy.optimize import brentq
from scipy.special import digamma, polygamma
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import geneml_bio as gb
from geneml_bio.core.intervals import resamples

B = 400


def _hsmm() -> Any:
    """Myoblasts at 0, 24, 48 and 72 hours: log2(FPKM + 1) of genes seen in 10 cells or more."""
    from anndata import AnnData

    with tempfile.TemporaryDirectory() as folder:
        code = """
        suppressMessages(library(HSMMSingleCell)); data(HSMM_expr_matrix); data(HSMM_sample_sheet)
        x <- as.matrix(HSMM_expr_matrix); x <- log2(x[rowSums(x > 0.1) >= 10, ] + 1); out <- commandArgs(TRUE)[1]
        writeBin(as.vector(x), file.path(out, "x")); writeLines(rownames(x), file.path(out, "genes"))
        write.csv(data.frame(cell = colnames(x), hours = HSMM_sample_sheet[colnames(x), "Hours"]), file.path(out, "cells"))
        """
        subprocess.run(["Rscript", "-e", code, folder], check=True, capture_output=True)
        cells = pd.read_csv(Path(folder) / "cells").set_index("cell")
        genes = (Path(folder) / "genes").read_text().split()
        X = np.fromfile(Path(folder) / "x").reshape(len(cells), len(genes))
    obs = pd.DataFrame({"hours": pd.Categorical(cells["hours"].astype(str) + " h")}, index=cells.index)
    return AnnData(X, obs=obs, var=pd.DataFrame(index=genes))


def _pbmc() -> Any:
    import scanpy as sc

    return sc.datasets.pbmc68k_reduced()


DATA: dict[str, tuple[Callable[[], Any], str]] = {
    "Golub: ALL, AML": (gb.datasets.golub, "class"),
    "ALL: BCR/ABL, NEG": (gb.datasets.leukemia, "mol.biol"),
    "ALL: B, T": (lambda: gb.datasets.leukemia("lineage"), "lineage"),
    "ALL: 4 subtypes": (lambda: gb.datasets.leukemia("subtypes"), "mol.biol"),
    "bladderbatch: 3 kinds": (gb.datasets.bladder, "cancer"),
    "HSMM: 4 times": (_hsmm, "hours"),
    "pbmc68k_reduced: 10 kinds": (_pbmc, "bulk_labels"),
}
PLAIN = {
    "logistic": LogisticRegression(max_iter=5000),
    "random_forest": RandomForestClassifier(n_estimators=100, max_leaf_nodes=128),
}


def moderated_f(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smyth's moderated F by hand: the variance within classes, shrunk to a prior that is fitted to all genes by moments."""
    names, n = np.unique(y), len(y)
    means, sizes = np.array([X[y == c].mean(axis=0) for c in names]), np.array([(y == c).sum() for c in names])
    df = n - len(names)
    within = sum(((X[y == c] - m) ** 2).sum(axis=0) for c, m in zip(names, means, strict=True)) / df
    between = (sizes[:, None] * (means - X.mean(axis=0)) ** 2).sum(axis=0) / (len(names) - 1)
    log = np.log(np.maximum(within, 1e-5 * np.median(within[within > 0])))
    e = log - digamma(df / 2) + np.log(df / 2)
    extra = e.var(ddof=1) - polygamma(1, df / 2)
    if extra <= 0:
        return between / np.exp(e.mean())
    prior = 2 * brentq(lambda x: polygamma(1, x) - extra, 1e-6, 1e8)
    s2 = np.exp(e.mean() + digamma(prior / 2) - np.log(prior / 2))
    return between / ((prior * s2 + df * within) / (prior + df))


def _plain_loop(X: np.ndarray, y: np.ndarray, model: Any, repeats: int, screen: Any) -> tuple[float, float]:
    """Balanced accuracy and ROC AUC (one against the rest, macro), pooled over the folds of a repeat; nothing of ours."""
    names, scores = np.unique(y), []
    for repeat in range(repeats):
        prob = np.empty((len(y), len(names)))
        for train, test in StratifiedKFold(5, shuffle=True, random_state=100 + repeat).split(X, y):
            fitted = make_pipeline(SelectKBest(screen, k=200), StandardScaler(), clone(model)).fit(X[train], y[train])
            prob[test] = fitted.predict_proba(X[test])
        by = y == names[1] if len(names) == 2 else y
        area = roc_auc_score(by, prob[:, 1] if len(names) == 2 else prob, multi_class="ovr")
        scores.append((balanced_accuracy_score(y, names[prob.argmax(axis=1)]), area))
    balanced, area = np.mean(scores, axis=0).tolist()
    return balanced, area


def agreement(name: str, repeats: int = 10) -> pd.DataFrame:
    """Both engines on one data set, 10 repeats below 100 samples; the standard error is our interval's, not widened."""
    load, target = DATA[name]
    adata = load()
    repeats = repeats if adata.n_obs < 100 else 3
    X, y = np.asarray(adata.X, dtype=float), adata.obs[target].astype(str).to_numpy()
    rows = []
    gb.tl.classify(
        adata,
        target,
        models=list(PLAIN),
        n_repeats=repeats,
        tune=False,
        n_jobs=1,
        progress=False,
        allow_confounded=True,
    )
    ours = gb.get.metrics(adata).set_index(["model", "metric"])
    made = gb.get.predictions(adata)
    classes = [c.removeprefix("prob_") for c in made if c.startswith("prob_")]
    for model, estimator in PLAIN.items():
        names = ("balanced_accuracy", "roc_auc")
        by_screen = [
            dict(zip(names, _plain_loop(X, y, estimator, repeats, screen), strict=True))
            for screen in (moderated_f, f_classif)
        ]
        mine = made[(made["model"] == model) & (made["repeat"] == 0)]
        observed = pd.Index(classes).get_indexer(mine["observed"].astype(str))
        prob = mine[[f"prob_{c}" for c in classes]].to_numpy(float)
        w = resamples(len(mine), len(classes), None, B, 0).of(np.arange(len(mine)), observed, prob)
        draws = simulated_studies.classification_scores(*w, calibration=False)
        for metric in names:
            other = by_screen[0][metric]
            row = ours.loc[(model, metric)]
            error = float(draws[metric][1:].std())
            rows.append(
                {
                    "data": name,
                    "n": len(y),
                    "model": model,
                    "metric": metric,
                    "geneml_bio": row["value"],
                    "low": row["low"],
                }
                | {
                    "high": row["high"],
                    "plain loop": other,
                    "with ordinary F": by_screen[1][metric],
                    "difference": row["value"] - other,
                    "standard error": error,
                }
            )
    return pd.DataFrame(rows)
