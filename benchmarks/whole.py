"""All of ``gb.run`` on ALL, 100 permuted targets included, against the same protocol as a plain scikit-learn and shap script.

Five repeats of five folds and one of each permuted target; in each training part 200 genes, scaled, and the three default models with the
same settings (logistic regression tuned in three inner folds); SHAP of the samples held out. ``gb.run`` does more: limma's table, an
audit, intervals, p-values of genes, the biomarker table. Of a second, simulated study the data weigh more than libraries do: one
repeat, no permuted target.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from nested_cv import STRENGTHS, _all
from sides import Side, side, verdict

PERMUTATIONS = 100
LARGE = (1000, 20_000)  # samples, genes; 160 MB


def _data(size: list[int] | None) -> tuple[np.ndarray, np.ndarray]:
    """ALL, or normal noise with fifty genes that differ by half a standard deviation."""
    if size is None:
        return _all()  # stored, so that neither side has R in its process
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(size[0]) % 2)
    X = rng.normal(8, 1, size=tuple(size))
    X[:, :50] += 0.5 * y[:, None]
    return X, y


def ours(count: int, repeats: int = 5, size: list[int] | None = None) -> Callable[[], Any]:
    """``gb.run`` without files."""
    import anndata as ad
    import pandas as pd

    import geneml_bio as gb

    warnings.simplefilter("ignore")
    X, y = _data(size)
    obs = pd.DataFrame({"class": pd.Categorical(np.where(y, "BCR/ABL", "NEG"), ["NEG", "BCR/ABL"])})
    adata = ad.AnnData(
        X, obs.set_index(obs.index.astype(str)), pd.DataFrame(index=[f"g{i}" for i in range(X.shape[1])])
    )

    def work() -> dict[str, Any]:
        made = gb.run(adata, "class", n_repeats=repeats, n_permutations=count, progress=False)
        scores = gb.get.metrics(made)
        auc = scores[scores["metric"] == "roc_auc"].set_index("model")["value"]
        return {name: float(auc[name]) for name in ("logistic", "random_forest", "xgboost")}

    return work


def _pipelines() -> dict[str, Any]:
    from sklearn.base import clone
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.feature_selection import SelectKBest, f_classif
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from xgboost import XGBClassifier

    from geneml_bio.core.registry import BOOSTING, FOREST

    front = SelectKBest(f_classif, k=200), StandardScaler()
    logistic = make_pipeline(*clone(front, safe=False), LogisticRegression(max_iter=5000))
    space = {"logisticregression__C": STRENGTHS}
    inner = StratifiedKFold(3, shuffle=True, random_state=0)
    return {
        "logistic": GridSearchCV(logistic, space, scoring="neg_log_loss", cv=inner),
        "random_forest": make_pipeline(*clone(front, safe=False), RandomForestClassifier(**FOREST, random_state=0)),
        "xgboost": make_pipeline(
            *clone(front, safe=False), XGBClassifier(**BOOSTING, tree_method="hist", n_jobs=1, random_state=0)
        ),
    }


def _explained(fitted: Any, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Mean absolute SHAP of all genes; 0 for those that the screen left out."""
    import shap

    whole = getattr(fitted, "best_estimator_", fitted)
    front, model = whole[:-1], whole[-1]
    if hasattr(model, "coef_"):
        values = shap.LinearExplainer(model, front.transform(train)).shap_values(front.transform(test))
    else:
        values = shap.TreeExplainer(model).shap_values(front.transform(test))
    values = np.asarray(values)
    out = np.zeros(train.shape[1])
    out[whole[0].get_support()] = np.abs(values[..., 1] if values.ndim == 3 else values).mean(axis=0)
    return out


def _fold(pipeline: Any, X: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, explain: bool) -> Any:
    from sklearn.base import clone

    warnings.simplefilter("ignore")
    fitted = clone(pipeline).fit(X[train], y[train])
    prob = fitted.predict_proba(X[test])[:, 1]
    return test, prob, _explained(fitted, X[train], X[test]) if explain else None


def script(count: int, repeats: int = 5, size: list[int] | None = None) -> Callable[[], Any]:
    """A plain script: joblib over the folds of a target, on both cores."""
    from joblib import Parallel, delayed
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold

    X, y = _data(size)

    def validated(workers: Any, pipeline: Any, target: np.ndarray, repeats: int, explain: bool) -> tuple[float, Any]:
        splits = [StratifiedKFold(5, shuffle=True, random_state=r).split(X, target) for r in range(repeats)]
        work = [(train, test) for folds in splits for train, test in folds]
        done = workers(delayed(_fold)(pipeline, X, target, train, test, explain) for train, test in work)
        prob = np.zeros((repeats, len(y)))
        for k, (test, values, _) in enumerate(done):
            prob[k // 5, test] = values
        auc = float(np.mean([roc_auc_score(target, one) for one in prob]))
        return auc, np.mean([shares for *_, shares in done], axis=0) if explain else None

    def work() -> dict[str, Any]:
        out, rng = {}, np.random.default_rng(0)
        shuffled = [rng.permutation(y) for _ in range(count)]
        with Parallel(2) as workers:
            for name, pipeline in _pipelines().items():
                out[name], _ = validated(workers, pipeline, y, repeats, True)
                null = [validated(workers, pipeline, target, 1, False)[0] for target in shuffled]
                out[f"{name}, p"] = (1 + sum(one >= out[name] for one in null)) / (1 + count)
        return out

    return work


def _row(work: str, mine: Side, once: Side, theirs: Side, reach: str) -> str:
    return (
        f"| {work} | {mine.seconds:.3g} | {once.whole:.0f} | scikit-learn and shap | {theirs.seconds:.3g} | {theirs.whole:.0f} | "
        f"{verdict(theirs.seconds / mine.seconds, reach)} | {reach} | {verdict(once.whole / theirs.whole, '0.5', at_most=True)} | 0.5 |\n"
    )


def measure() -> str:
    """The section of the page."""
    mine = side("whole", "ours", PERMUTATIONS, repeats=3, watch=True)
    once = side("whole", "ours", PERMUTATIONS, repeats=1, watch=True)
    theirs: Side = side("whole", "script", PERMUTATIONS, repeats=1, watch=True)
    large = [side("whole", which, 0, 1, LARGE, repeats=1, watch=True) for which in ("ours", "script")]
    models = [name for name in (theirs.more or {}) if ", " not in name]
    scores = ", ".join(f"{name} {(mine.more or {})[name]:.3f} and {(theirs.more or {})[name]:.3f}" for name in models)
    n, p = LARGE
    return (
        "| work | seconds | MB with workers | against | seconds | MB with workers | times as fast | to reach | memory | to reach |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n"
        + _row(f"`gb.run`, ALL, {PERMUTATIONS} permutations", mine, once, theirs, "3")
        + _row(f"`gb.run`, {p:,} x {n:,}, one repeat, no permutations", large[0], *large, "")
        + f"\nAUC of the two on ALL: {scores}. Memory is of a process that does it once, data included; of ours after four times "
        f"in a row on ALL: {mine.whole:.0f} MB. The script has two workers (joblib, over folds); it, and the large study, ran once."
    )
