"""Simulated studies for the coverage of intervals: out-of-fold predictions, and what the same models do on thousands of new samples.

The fits are the package's own pieces (folds, screen, seeds); the loop is written out so that hundreds of studies take minutes.
Each scenario is drawn in chunks of studies that are kept on disk: an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from geneml_bio.core.resample import make_folds
from geneml_bio.core.scores import classification_scores, regression_scores
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.simulation import Plan, simulate_arrays

N_TEST, N_GENES, SCREEN, K, R, CHUNK = 2000, 400, 50, 5, 5, 20
MODELS = {
    "logistic": lambda seed: LogisticRegression(C=0.1, solver="newton-cholesky"),
    "tree": lambda seed: DecisionTreeClassifier(random_state=seed),
    "knn": lambda seed: KNeighborsClassifier(),
    "forest": lambda seed: RandomForestClassifier(50, random_state=seed),
    "ridge": lambda seed: Ridge(alpha=100.0),
    "forest_r": lambda seed: RandomForestRegressor(50, max_features=1 / 3, random_state=seed),
}

_FAST = {"assume_finite": True, "skip_parameter_validation": True}
_SCORED = ("true", "spread", "final")


@dataclass(frozen=True)
class Scenario:
    """A kind of study and the model that is validated on it."""

    n: int
    effect: float
    model: str = "logistic"
    shares: tuple[float, ...] = (0.5, 0.5)
    donors: int = 0
    mixed: bool = False
    donor_sd: float = 0.7
    n_informative: int = 20
    folds: int = K
    more: dict[str, Any] = field(default_factory=dict)


_WEAK, _STRONG, _APART = 0.5, 0.8, 1.7
SCENARIOS: dict[str, Scenario] = {}
for _n in (30, 60, 120):
    for _name, _effect in (("null", 0.0), ("weak", _WEAK), ("strong", _STRONG), ("separable", _APART)):
        SCENARIOS[f"n{_n} {_name}"] = Scenario(_n, _effect)
SCENARIOS |= {
    "n20 strong": Scenario(20, 1.2),
    "n38 separable, 27 and 11": Scenario(38, _APART, shares=(27 / 38, 11 / 38)),
    "n60 unbalanced weak": Scenario(60, _WEAK, shares=(0.85, 0.15)),
    "n60 unbalanced strong": Scenario(60, _STRONG, shares=(0.85, 0.15)),
    "n80 four classes weak": Scenario(80, 0.8, shares=(0.25,) * 4),
    "n80 four classes strong": Scenario(80, 1.5, shares=(0.25,) * 4),
    "8 donors x 5 weak": Scenario(40, _STRONG, donors=8, folds=4),
    "8 donors x 5 strong": Scenario(40, _APART, donors=8, folds=4),
    "8 donors x 5 null": Scenario(40, 0.0, donors=8, folds=4),
    "20 donors x 5 weak": Scenario(100, _STRONG, donors=20),
    "20 donors x 5 strong": Scenario(100, _APART, donors=20),
    "8 donors x 6 mixed": Scenario(48, _STRONG, donors=8, mixed=True, folds=4),
    "n60 tree": Scenario(60, _STRONG, model="tree"),
    "n60 knn": Scenario(60, _STRONG, model="knn"),
    "n60 forest": Scenario(60, _STRONG, model="forest"),
    "n400 weak": Scenario(400, 0.2),
    "n30 regression weak": Scenario(30, 0.3, model="ridge", shares=()),
    "n30 regression strong": Scenario(30, 0.8, model="ridge", shares=()),
    "n60 regression null": Scenario(60, 0.0, model="ridge", shares=()),
    "n60 regression weak": Scenario(60, 0.3, model="ridge", shares=()),
    "n60 regression strong": Scenario(60, 0.8, model="ridge", shares=()),
    "n120 regression weak": Scenario(120, 0.3, model="ridge", shares=()),
    "n120 regression strong": Scenario(120, 0.8, model="ridge", shares=()),
    "n60 regression forest": Scenario(60, 0.6, model="forest_r", shares=()),
    "10 donors x 5 regression": Scenario(50, 0.6, model="ridge", shares=(), donors=10),
}


def scores_of(observed: np.ndarray, made: np.ndarray, w: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Scores of the package, weights one unless given."""
    w = np.ones((1, len(observed))) if w is None else w
    if made.ndim == 1:
        return regression_scores(w, observed, made)
    return classification_scores(w, observed, made, calibration=False)


def study_of(s: Scenario, seed: int, n_test: int = N_TEST):
    """The study and its further samples."""
    plan = Plan(s.shares, mixed=s.mixed)
    truth: dict[str, Any] = {"correlation": 0.3, "block_size": 20, "effect_spread": 0.25, "batch_effect": 0.0} | s.more
    truth |= {"n_genes": N_GENES, "n_informative": s.n_informative, "effect": s.effect}
    truth["donor_sd"] = s.donor_sd if s.donors else 0.0
    return simulate_arrays(s.n, n_test, plan, n_donors=s.donors, test_batches="same", seed=seed, **truth)


class Fitted:
    """Screen -> scale -> model, as the package's pipeline does it."""

    def __init__(self, model: str, X: np.ndarray, y: np.ndarray, seed: int):
        task = "regression" if y.dtype.kind == "f" else "classification"
        self.columns = ModeratedScreen(SCREEN, task=task).fit(X, y).ranking()
        kept = X[:, self.columns]
        self.mean, self.sd = kept.mean(axis=0), kept.std(axis=0)
        self.model = MODELS[model](seed).fit((kept - self.mean) / self.sd, y)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Probabilities, or numbers."""
        z = (X[:, self.columns] - self.mean) / self.sd
        return self.model.predict_proba(z) if hasattr(self.model, "predict_proba") else self.model.predict(z)


def one_study(s: Scenario, seed: int, repeats: int = R) -> dict[str, Any]:
    """Out-of-fold predictions (repeats x n), folds, and the true scores of the fold models (mean) and of the model of all samples."""
    _, study, new = study_of(s, seed)
    y, groups = study.target, study.donor if s.donors else None
    classes = tuple(map(str, range(len(s.shares))))
    width = (len(s.shares),) if s.shares else ()
    oof, fold_of = np.empty((repeats, s.n, *width)), np.empty((repeats, s.n), dtype=int)
    true = []
    for run in range(repeats):
        for f in make_folds(y, classes, groups, n_splits=s.folds, run=run, seed=seed):
            fitted = Fitted(s.model, study.X[f.train], y[f.train], seed)
            oof[run, f.test], fold_of[run, f.test] = fitted.predict(study.X[f.test]), f.fold
            true.append({m: float(v[0]) for m, v in scores_of(new.target, fitted.predict(new.X)).items()})
    final = scores_of(new.target, Fitted(s.model, study.X, y, seed).predict(new.X))
    return {
        "y": y,
        "groups": study.donor,
        "oof": oof,
        "fold": fold_of,
        "true": {m: float(np.mean([t[m] for t in true])) for m in true[0]},
        "spread": {m: float(np.std([t[m] for t in true])) for m in true[0]},
        "final": {m: float(v[0]) for m, v in final.items()},
    }


def studies(name: str, n_studies: int, folder: Path) -> list[dict[str, Any]]:
    """The studies of a scenario: read what is there, draw what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    out: list[dict[str, Any]] = []
    for chunk in range(-(-n_studies // CHUNK)):
        path = folder / f"{name.replace(' ', '_').replace(',', '')}.{chunk}.npz"
        if not path.exists():
            with threadpool_limits(1), config_context(**_FAST), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                made = [one_study(SCENARIOS[name], 1000 * chunk + i + 1) for i in range(CHUNK)]
            part = path.with_suffix(".part.npz")
            flat = {key: np.array([m[key] for m in made]) for key in ("y", "groups", "oof", "fold")}
            flat |= {key: np.array([list(m[key].values()) for m in made]) for key in _SCORED}
            np.savez_compressed(part, metrics=np.array(list(made[0]["true"])), **flat)
            part.rename(path)
        with np.load(path) as held:
            kept = {key: held[key] for key in held.files}
        for i in range(CHUNK):
            one: dict[str, Any] = {key: kept[key][i] for key in ("y", "groups", "oof", "fold")}
            out.append(one | {key: dict(zip(kept["metrics"].tolist(), kept[key][i], strict=True)) for key in _SCORED})
    return out[:n_studies]


if __name__ == "__main__":
    import sys
    import time

    for each in sys.argv[3:] or SCENARIOS:
        start = time.time()
        got = studies(each, int(sys.argv[2]), Path(sys.argv[1]))
        mean = {m: round(float(np.mean([g["true"][m] for g in got])), 3) for m in got[0]["true"]}
        print(each, f"{time.time() - start:.0f} s", mean, flush=True)
