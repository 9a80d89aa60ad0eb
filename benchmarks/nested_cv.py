"""Nested cross-validation of ALL (BCR/ABL against NEG, 79 x 12,625): the same protocol here, in scikit-learn, through rpy2, in R.

In R both written out with limma, glmnet and ranger (nested_cv.R) and by the packages nestedcv and ClassifyR, if installed (peers.R).
Five repeats of five folds; in each training part the 200 genes with the largest statistic, scaled, ridge logistic regression with its
penalty chosen in three inner folds (screen and scaler refitted there); or a random forest of 500 trees.
"""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from moderated import HEAD, row
from sides import Side, r_side, side

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


PEERS = (
    ("nestedcv", "logistic", 5, "nestedcv::nestcv.glmnet", "5"),
    ("nestedcv", "forest", 1, "nestedcv::outercv, ranger", "1"),
    ("ClassifyR", "forest", 1, "ClassifyR::runTests, ranger", "2"),
)


def at_hand() -> dict[str, str]:
    """Versions of the R packages that do nested cross-validation, of those that are installed."""
    asked = (
        "for (p in c('nestedcv', 'ClassifyR')) if (requireNamespace(p, quietly = TRUE)) "
        "cat('\\n', p, as.character(packageVersion(p)), '\\n')"
    )
    told = subprocess.run(["Rscript", "-e", asked], capture_output=True, text=True, check=True).stdout
    return dict(line.split() for line in told.splitlines() if len(line.split()) == 2)


def in_packages(found: dict[str, str], logistic: Side, forest: Side) -> tuple[list[str], list[str]]:
    """Rows against those packages, each in one process and in two (the faster counts), and what is to be told of them."""
    rows, told = [], []
    for package, model, repeats, name, goal in PEERS:
        if package not in found:
            continue
        runs = 15 if (package, model) == ("nestedcv", "forest") else 3  # a third of a second each
        tried = [r_side("peers.R", package, model, repeats, cores, repeats=runs) for cores in (1, 2)]
        best = min(range(2), key=lambda k: tried[k].seconds)
        how = ("1 process", "2 processes")
        work = "logistic, 5 folds x 5 repeats" if model == "logistic" else "random forest of 500 trees, 5 folds"
        rows.append(row(work, logistic if model == "logistic" else forest, f"{name}, {how[best]}", tried[best], goal))
        accuracy = (tried[best].more or {}).get("accuracy", float("nan"))
        told.append(f"{name} {accuracy:.3f} ({how[1 - best]}: {tried[1 - best].seconds:.3g} s)")
    return rows, told


WITHOUT = (
    '"limma, cv.glmnet" and "limma, ranger" are nestedcv\'s protocol without the package (`benchmarks/nested_cv.R`): genes chosen by limma '
    "in each outer training part, then `cv.glmnet(alpha = 0)` with three inner folds on the chosen genes, or `ranger` with two threads. "
    "nestedcv does not choose genes again in inner folds, as we and scikit-learn's pipeline do: it does a quarter of the screens."
)
WITH = {
    "nestedcv": "chooses 200 genes by Welch's t; `alphaSet = 0`, three inner folds, five calls for the five repeats, no final fit",
    "ClassifyR": "chooses 200 genes by limma, and fits a forest to all samples too, which cannot be left out",
}


def about(found: dict[str, str]) -> str:
    """What the packages in R did, or that they were not at hand."""
    lines = [f"{name} {found[name]} {did}." for name, did in WITH.items() if name in found]
    if found:
        lines.append(
            "Both had one process (forests: two threads) or two forked ones over folds, whichever is faster (memory is the first "
            "process's), and 500 trees of ranger, `sqrt(200)` genes a split."
        )
    lines += [f"{name} was not at hand." for name in WITH if name not in found]
    return " ".join([*lines, WITHOUT])


def measure() -> str:
    """The section of the page."""
    lines, told, found = [HEAD], [], at_hand()
    mine = side("nested_cv", "ours", "logistic", 5, repeats=9)
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
        lines.append(row("logistic, 5 folds x 5 repeats", mine, name, theirs, goal, factor))
        told.append(f"{name} {theirs.more['accuracy']:.3f}" if theirs.more else name)
    forest = side("nested_cv", "ours", "forest", 1, repeats=15)
    for name, theirs, goal in (
        ("R: limma, ranger (2 threads)", r_side("nested_cv.R", "forest", 1, repeats=15), "1"),
        ("Pipeline(SelectKBest, RandomForestClassifier)", side("nested_cv", "in_scikit_learn", "forest", 1), ""),
    ):
        lines.append(row("random forest of 500 trees, 5 folds", forest, name, theirs, goal))
        told.append(f"{name} {theirs.more['accuracy']:.3f}" if theirs.more else name)
    rows, more = in_packages(found, mine, forest)
    lines += rows
    nulls = [side("nested_cv", "ours", "logistic", 1, count).seconds for count in COUNTS]
    slope = np.polyfit(np.log(COUNTS), np.log(nulls), 1)[0]
    return "\n".join(
        [
            *lines,
            "",
            f"Out-of-fold accuracy: here {mine.more['accuracy']:.3f} and (forest) {forest.more['accuracy']:.3f}, {', '.join(told + more)}."
            if mine.more and forest.more
            else "",
            "",
            f"With {COUNTS[0]}, {COUNTS[1]} and {COUNTS[2]} permuted targets (each through all five folds, tuning included) one repeat "
            f"takes {nulls[0]:.2f}, {nulls[1]:.2f} and {nulls[2]:.2f} s: an exponent of {slope:.2f} in permutations.",
            "",
            about(found),
        ]
    )
