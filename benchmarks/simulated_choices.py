"""Simulated studies for the winner's correction: several models on each, and what the one that was picked does on new samples."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from simulated_studies import _FAST, CHUNK, R, Scenario, scores_of, study_of
from sklearn import config_context
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import threadpool_limits

from geneml_bio.core.resample import make_folds
from geneml_bio.core.screen import ModeratedScreen


def _logistic(c: float) -> LogisticRegression:
    return LogisticRegression(C=c, solver="newton-cholesky")


# name -> genes kept, model; logistic_a and logistic_b are as good as equal
CLASSIFIERS = {
    "logistic_a": (50, lambda: _logistic(0.1)),
    "knn": (50, KNeighborsClassifier),
    "tree": (50, lambda: DecisionTreeClassifier(random_state=0)),
    "logistic_b": (45, lambda: _logistic(0.05)),
    "bayes": (50, GaussianNB),
    "lda": (10, LinearDiscriminantAnalysis),
    "few_genes": (3, lambda: _logistic(1.0)),
    "shallow": (20, lambda: DecisionTreeClassifier(max_depth=1, random_state=1)),
    "forest": (50, lambda: RandomForestClassifier(50, random_state=0)),
}
REGRESSORS = {
    "ridge_a": (50, lambda: Ridge(100.0)),
    "ridge_b": (45, lambda: Ridge(50.0)),
    "knn": (50, KNeighborsRegressor),
    "tree": (20, lambda: DecisionTreeRegressor(max_depth=3, random_state=0)),
    "few_genes": (3, lambda: Ridge(10.0)),
}
# scenario, number of models (the first of the lists above)
SCENARIOS: dict[str, tuple[Scenario, int]] = {
    "n30 null, 8 models": (Scenario(30, 0.0), 8),
    "n60 null, 8 models": (Scenario(60, 0.0), 8),
    "n60 weak, 3 models": (Scenario(60, 0.5), 3),
    "n60 weak, 8 models": (Scenario(60, 0.5), 8),
    "n60 strong, 8 models": (Scenario(60, 0.8), 8),
    "n60 unbalanced null, 8 models": (Scenario(60, 0.0, shares=(0.8, 0.2)), 8),
    "8 donors null, 5 models": (Scenario(40, 0.0, donors=8, folds=4), 5),
    "n60 regression null, 5 models": (Scenario(60, 0.0, shares=()), 5),
    "n60 regression weak, 5 models": (Scenario(60, 0.3, shares=()), 5),
}


def one_study(s: Scenario, k: int, seed: int) -> dict[str, Any]:
    """Out-of-fold predictions (models x repeats x n) and true primary scores of the fold models (mean), model by model."""
    _, study, new = study_of(s, seed, 1000)
    y, groups = study.target, study.donor if s.donors else None
    task, metric = ("classification", "balanced_accuracy") if s.shares else ("regression", "r2")
    models = dict(list((CLASSIFIERS if s.shares else REGRESSORS).items())[:k])
    width = (len(s.shares),) if s.shares else ()
    oof = np.empty((k, R, s.n, *width))
    true: dict[str, list[float]] = {name: [] for name in models}
    for run in range(R):
        for f in make_folds(y, tuple(map(str, range(len(s.shares)))), groups, n_splits=s.folds, run=run, seed=seed):
            order = ModeratedScreen(50, task=task).fit(study.X[f.train], y[f.train]).ranking()
            X = study.X[f.train][:, order]
            mean, sd = X.mean(axis=0), X.std(axis=0)
            parts = [(a - mean) / sd for a in (X, study.X[f.test][:, order], new.X[:, order])]
            for i, (name, (genes, build)) in enumerate(models.items()):
                train, held, later = (part[:, :genes] for part in parts)
                model = build().fit(train, y[f.train])
                predict = model.predict_proba if s.shares else model.predict
                oof[i, run, f.test] = predict(held)
                true[name].append(float(scores_of(new.target, predict(later))[metric][0]))
    return {"y": y, "groups": study.donor, "oof": oof, "true": np.array([np.mean(v) for v in true.values()])}


def studies(name: str, n_studies: int, folder: Path) -> list[dict[str, Any]]:
    """The studies of a scenario: read what is there, draw what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    s, k = SCENARIOS[name]
    out: list[dict[str, Any]] = []
    for chunk in range(-(-n_studies // CHUNK)):
        path = folder / f"picked_{name.replace(' ', '_').replace(',', '')}.{chunk}.npz"
        if not path.exists():
            with threadpool_limits(1), config_context(**_FAST), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = [one_study(replace(s), k, 5000 + 1000 * chunk + i) for i in range(CHUNK)]
            part = path.with_suffix(".part.npz")
            np.savez_compressed(part, **{key: np.array([m[key] for m in made]) for key in made[0]})
            part.rename(path)
        with np.load(path) as held:
            kept = {key: held[key] for key in held.files}
        out += [{key: values[i] for key, values in kept.items()} for i in range(CHUNK)]
    return out[:n_studies]


if __name__ == "__main__":
    import sys
    import time

    for each in sys.argv[3:] or SCENARIOS:
        start = time.time()
        got = studies(each, int(sys.argv[2]), Path(sys.argv[1]))
        print(each, f"{time.time() - start:.0f} s", np.mean([g["true"] for g in got], axis=0).round(3), flush=True)
