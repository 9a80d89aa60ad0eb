"""L1 models of many genes, refitted: 500 samples x 20,000 standardised genes that go together, ten of which make the target.

A refit is ``fit`` of the estimator to the same genes and another target (the truth with new noise), all its checks counted, on one
thread, as in a worker of a cross-validation. A duality gap is computed from the coefficients alone, of both sides by the same formula:
loss and penalty at the best intercept, less the dual at the residuals, shrunk until no gene's slope exceeds the penalty. In
units of the target's variance, or of the mean log-loss.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from functools import lru_cache
from time import process_time
from typing import Any

import numpy as np
from scipy.special import entr, expit
from sides import Side, side

SAMPLES, GENES, REFITS = 500, 20_000, 100
MODELS = {
    "lasso": (0.2, 0.1, 0.03),
    "elastic net": (0.2, 0.1, 0.03),
    "L1 logistic": (0.1, 0.03),
}
TIGHTEST = 1e-12  # gap that scikit-learn is asked for at most
TOLS = [10.0**-k for k in (4, 6, 8, 10, 12, 13)]


@lru_cache(maxsize=1)
def _data(classes: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    X, pathways = np.empty((SAMPLES, GENES)), rng.normal(size=(SAMPLES, 40))
    for part in np.array_split(np.arange(GENES), 50):  # so that the peak of memory is that of the refits
        made = rng.normal(size=(SAMPLES, len(part))) + 0.7 * pathways[:, rng.integers(0, 40, len(part))]
        X[:, part] = (made - made.mean(axis=0)) / made.std(axis=0)
    signal = X[:, rng.choice(GENES, 10, replace=False)] @ rng.normal(size=10)
    signal /= signal.std()
    targets = [signal + 0.7 * rng.normal(size=SAMPLES) for _ in range(REFITS)]
    if classes:
        return X, [(target > np.median(target)).astype(int) for target in targets]
    return X, [(target - target.mean()) / target.std() for target in targets]


def gap(X: np.ndarray, y: np.ndarray, coef: np.ndarray, model: str, alpha: float) -> float:
    """Duality gap of coefficients."""
    made = X @ coef
    if model == "L1 logistic":
        intercept = 0.0
        for _ in range(50):  # Newton steps
            prob = expit(made + intercept)
            intercept -= (prob - y).mean() / (prob * (1 - prob)).mean()
        margin = np.where(y, 1, -1) * (made + intercept)
        left = prob - y
        share = np.abs(left) * min(1.0, alpha * len(y) / np.abs(left @ X).max())
        return float(
            np.logaddexp(0, -margin).mean() + alpha * np.abs(coef).sum() - (entr(share) + entr(1 - share)).mean()
        )
    l1, l2 = (alpha, 0.0) if model == "lasso" else (alpha / 2, alpha / 2)
    left = (y - y.mean()) - (made - made.mean())
    scale = min(1.0, l1 / np.abs(left @ X / len(y) - l2 * coef).max())
    least = (left @ left / len(y) + l2 * (coef @ coef)) * (1 + scale**2) / 2
    return float(least + l1 * np.abs(coef).sum() - scale * (left @ y) / len(y))


def _ours(model: str, alpha: float) -> Any:
    from geneml_bio.core.registry import lasso
    from geneml_bio.core.sparse_logistic import SparseLogistic

    return SparseLogistic(alpha) if model == "L1 logistic" else lasso(alpha, 1.0 if model == "lasso" else 0.5)


def _theirs(model: str, alpha: float, tol: float) -> Any:
    from sklearn.linear_model import ElasticNet, Lasso, LogisticRegression

    if model == "L1 logistic":
        how = {
            "C": 1 / (alpha * SAMPLES),
            "tol": tol,
            "max_iter": 1000,
            "solver": "liblinear",
            "intercept_scaling": 100,
        }
        known = LogisticRegression().get_params()  # of 1.8 and later l1_ratio says what penalty said
        return LogisticRegression(**how, **({"l1_ratio": 1.0} if known["l1_ratio"] == 0.0 else {"penalty": "l1"}))
    if model == "lasso":
        return Lasso(alpha=alpha, tol=tol, max_iter=50_000)
    return ElasticNet(alpha=alpha, l1_ratio=0.5, tol=tol, max_iter=50_000)


def refits(model: str, count: int, gaps: dict[str, float] | None = None, default: bool = False) -> Callable[[], Any]:
    """``count`` refits at each penalty: ours, or scikit-learn's at the loosest tolerance that reaches these gaps (or its default).

    ``more``: penalty -> seconds of a refit (median of the runs after the first), largest gap of three refits, genes kept, tolerance.
    """
    warnings.simplefilter("ignore")
    X, targets = _data(model == "L1 logistic")
    _ours(model, 1.0), _theirs(model, 1.0, 1.0)  # what is imported counts for neither
    tols: dict[float, float] = {}
    genes: dict[float, int] = {}

    def make(alpha: float) -> Any:
        return _ours(model, alpha) if gaps is None else _theirs(model, alpha, tols[alpha])

    def reached(alpha: float, of: int = 3) -> float:
        made = [(y, np.ravel(make(alpha).fit(X, y).coef_)) for y in targets[:of]]
        genes[alpha] = int(np.count_nonzero(made[-1][1]))
        return max(gap(X, y, coef, model, alpha) for y, coef in made)

    for alpha in MODELS[model] if gaps is not None else ():
        for tols[alpha] in [1e-4] if default else (1e-3, 1e-4, 1e-5, 1e-6) if model == "L1 logistic" else TOLS:
            if default or reached(alpha, of=1) <= max(2 * gaps[str(alpha)], TIGHTEST):
                break
    spent: dict[float, list[float]] = {alpha: [] for alpha in MODELS[model]}

    def work() -> dict[str, Any]:
        for alpha in MODELS[model]:
            start = process_time()
            for y in targets[:count]:
                make(alpha).fit(X, y)
            spent[alpha].append((process_time() - start) / count)
        if len(spent[alpha]) < 4:
            return {}
        return {
            str(alpha): [statistics.median(spent[alpha][1:]), reached(alpha), genes[alpha], tols.get(alpha)]
            for alpha in MODELS[model]
        }

    return work


def saga(passes: int) -> Callable[[], Any]:
    """The solver of scikit-learn for more than two classes: one refit that ends after so many passes over the data."""
    from sklearn.linear_model import LogisticRegression

    warnings.simplefilter("ignore")
    alpha = MODELS["L1 logistic"][-1]
    X, targets = _data(True)
    how = _theirs("L1 logistic", alpha, 1e-4).get_params() | {"solver": "saga", "max_iter": passes, "random_state": 0}
    model = LogisticRegression(**{key: value for key, value in how.items() if value != "deprecated"})
    return lambda: {"gap": gap(X, targets[0], model.fit(X, targets[0]).coef_[0], "L1 logistic", alpha)}


def _rows(model: str) -> list[str]:
    def told(seconds: float) -> str:
        return f"{1000 * seconds:.3g}"

    few = 3 if model == "L1 logistic" else 5
    ours = side("l1", "refits", model, REFITS, threads=1)
    reached = {alpha: made[1] for alpha, made in (ours.more or {}).items()}
    alike: Side = side("l1", "refits", model, few, reached, threads=1)
    usual: Side = side("l1", "refits", model, few, reached, True, threads=1)
    lines = []
    for alpha, (seconds, own, genes, _) in (ours.more or {}).items():
        for peer, name in ((usual, "its default"), (alike, "alike")):
            other, far, kept, tol = (peer.more or {})[alpha]
            lines.append(
                f"| {model}, {alpha} | {told(seconds)} | {own:.0e} | {ours.extra:.0f} | {told(other)} | {far:.0e} | {name} ({tol:.0e}) | "
                f"{peer.extra:.0f} | {genes}, {kept} | **{other / seconds:.3g}**{'' if other >= 4 * seconds else ' (missed)'} |"
            )
    return lines


def measure() -> str:
    """The section of the page."""
    head = (
        "| model, penalty | ms a refit | gap | extra MB | scikit-learn, ms | gap | tol | extra MB | genes | times as fast (4) |\n"
        "|---|---|---|---|---|---|---|---|---|---|"
    )
    lines = [line for model in MODELS for line in _rows(model)]
    slow = side("l1", "saga", 50, threads=1, repeats=1)
    note = (
        f"{REFITS} refits of ours, five of scikit-learn's (three of liblinear's); CPU time of one thread, medians of three runs. "
        f'"Alike": the loosest tolerance tried that brings its gap on the first target to twice ours, or to {TIGHTEST:.0e}. '
        "liblinear penalises the intercept; `intercept_scaling=100` makes little of that, and the gap is at the best intercept. After 50 "
        f"passes over the data ({slow.seconds:.3g} s) saga's gap at {MODELS['L1 logistic'][-1]} is {(slow.more or {})['gap']:.0e}."
    )
    return "\n".join([head, *lines, "", note])
