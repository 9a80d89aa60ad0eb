"""Nested cross-validation of ALL (BCR/ABL against NEG, 79 x 12,625): the same protocol here, in scikit-learn, through rpy2, in R.

Five repeats of five folds; in each training part the 200 genes with the largest statistic, scaled, ridge logistic regression with its
penalty chosen in three inner folds (screen and scaler refitted there); or a random forest of 500 trees.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from moderated import HEAD, row
from sides import r_side, side

STORED = Path(tempfile.gettempdir()) / "geneml-bio-benchmark-all.npz"
COUNTS = (10, 20, 40)
STRENGTHS = [0.001, 0.01, 0.1, 1.0]


def _all() -> tuple[np.ndarray, np.ndarray]:
    if not STORED.exists():
        import geneml_bio as gb

        adata = gb.datasets.leukemia()
        np.savez(STORED, X=adata.X, y=(adata.obs["mol.biol"] == "BCR/ABL").to_numpy(int))
    held = np.load(STORED)
    return held["X"], held["y"]


def ours(model: str, repeats: int, n_permutations: int = 0) -> Callable[[], Any]:
    """The validation of this package, permutations included, on plain arrays."""
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    from geneml_bio.core.models import candidates
    from geneml_bio.core.schema import Cohort
    from geneml_bio.core.validate import validate

    warnings.simplefilter("ignore")
    X, y = _all()
    n, p = X.shape
    cohort = Cohort(
        X,
        pd.Index([f"g{i}" for i in range(p)]),
        pd.Index([f"s{i}" for i in range(n)]),
        np.where(y, "BCR/ABL", "NEG"),
        classes=("NEG", "BCR/ABL"),
    )
    forest = RandomForestClassifier(500, n_jobs=1)
    models = candidates({"random_forest": forest} if model == "forest" else [model], "classification")
    how = {"screen": 200, "n_splits": 5, "n_repeats": repeats, "progress": False, "n_permutations": n_permutations}

    def work() -> dict[str, Any]:
        made = validate(cohort, models, **how).predictions
        return {"accuracy": float((made["observed"] == made["predicted"]).mean())}

    return work


def in_scikit_learn(model: str, repeats: int, through_r: bool = False) -> Callable[[], Any]:
    """A Pipeline of SelectKBest (or of limma through rpy2), StandardScaler and the model, in GridSearchCV and cross_val_predict."""
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_selection import SelectKBest, f_classif
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = _all()

    def by_limma(values: np.ndarray, target: np.ndarray) -> np.ndarray:
        from geneml_bio.bridge.r_limma import limma_fit

        design = pd.DataFrame({"one": 1.0, "y": target.astype(float)})
        weights = pd.DataFrame({"y": [0.0, 1.0]}, index=design.columns)
        table = limma_fit(values, design, weights, range(values.shape[1]))[0]
        return table["t"].abs().set_axis(table.index.astype(int)).sort_index().to_numpy()

    screen = SelectKBest(by_limma if through_r else f_classif, k=200)
    inner = StratifiedKFold(3, shuffle=True, random_state=0)
    jobs = 1 if through_r else 2
    if model == "forest":
        whole: Any = make_pipeline(screen, StandardScaler(), RandomForestClassifier(500, random_state=0, n_jobs=2))
    else:
        pipeline = make_pipeline(screen, StandardScaler(), LogisticRegression(max_iter=5000))
        space = {"logisticregression__C": STRENGTHS}
        whole = GridSearchCV(pipeline, space, scoring="neg_log_loss", cv=inner, n_jobs=jobs)

    def work() -> dict[str, Any]:
        right = []
        for r in range(repeats):
            cv = StratifiedKFold(5, shuffle=True, random_state=r)
            right.append(cross_val_predict(whole, X, y, cv=cv, method="predict_proba")[:, 1].round() == y)
        return {"accuracy": float(np.mean(right))}

    return work


def measure() -> str:
    """The section of the page."""
    lines = [HEAD]
    told = []
    mine = side("nested_cv", "ours", "logistic", 5)
    peers = [
        ("R: limma, cv.glmnet (ridge)", r_side("nested_cv.R", "logistic", 5), "5", 1.0),
        ("Pipeline(SelectKBest, ...), GridSearchCV", side("nested_cv", "in_scikit_learn", "logistic", 5), "4", 1.0),
        (
            "the same with limma through rpy2",
            side("nested_cv", "in_scikit_learn", "logistic", 1, True, repeats=1),
            "10",
            5.0,
        ),
    ]
    for name, theirs, goal, factor in peers:
        lines.append(row("logistic, 5 x 5 folds x 5 repeats", mine, name, theirs, goal, factor))
        told.append(f"{name} {theirs.more['accuracy']:.3f}" if theirs.more else name)
    forest = side("nested_cv", "ours", "forest", 1)
    for name, theirs, goal in (
        ("R: limma, ranger (2 threads)", r_side("nested_cv.R", "forest", 1), "1"),
        ("Pipeline(SelectKBest, RandomForestClassifier)", side("nested_cv", "in_scikit_learn", "forest", 1), ""),
    ):
        lines.append(row("random forest of 500 trees, 5 folds", forest, name, theirs, goal))
    nulls = [side("nested_cv", "ours", "logistic", 1, count).seconds for count in COUNTS]
    slope = np.polyfit(np.log(COUNTS), np.log(nulls), 1)[0]
    return "\n".join(
        [
            *lines,
            "",
            f"Out-of-fold accuracy: here {mine.more['accuracy']:.3f}, {', '.join(told)}." if mine.more else "",
            "",
            f"With {COUNTS[0]}, {COUNTS[1]} and {COUNTS[2]} permuted targets (each through all five folds, tuning included) one repeat "
            f"takes {nulls[0]:.2f}, {nulls[1]:.2f} and {nulls[2]:.2f} s: an exponent of {slope:.2f} in permutations.",
            "",
            "R's nestedcv and ClassifyR were not at hand: the R side is their protocol written out (`benchmarks/nested_cv.R`): genes "
            "chosen by limma in each outer training part, then `cv.glmnet(alpha = 0)` with three inner folds on the chosen genes, or "
            "`ranger`. nestedcv does not choose genes again in inner folds, as we and scikit-learn's pipeline do: it does a quarter of "
            "the screens. Its R code runs serially; glmnet and ranger are compiled, ranger with two threads.",
        ]
    )
