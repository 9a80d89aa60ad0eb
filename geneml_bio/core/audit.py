"""What is wrong with a study, found before any model is fitted.

Findings are rows ``check level message``; ``level`` is ``ok``, ``note`` or ``warning``. Full confounding of target and
batch is an error, because no model can tell the two apart.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from .errors import ConfoundingError
from .scale import said_of, unlogged
from .schema import Cohort

DONOR_LIKE = re.compile(
    r"(^|[_.\W])(donor|patient|participant|subject|individual|mouse|animal|replicate|person)"
    r"s?([_.\W]|id|no|nr|num|number|\d|$)|^case[_.]?id$",
    re.I,
)
ABOUT_DONORS = re.compile(r"(age|sex|gender|strain|status|group|type|stage|weight|bmi|race|site)s?$", re.I)
_DUPLICATE_R = 0.9999
_SIMILARITY_GENES = 2000
_SIMILARITY_SAMPLES = 2000

Finding = dict[str, str]


def _finding(check: str, level: str, message: str) -> Finding:
    return {"check": check, "level": level, "message": message}


def audit(cohort: Cohort, *, obs: pd.DataFrame | None = None, allow_confounded: bool = False) -> pd.DataFrame:
    """Look at the study before a model does.

    Parameters
    ----------
    cohort
        The study.
    obs
        Other annotations of the samples, searched for donor-like columns that were not named as groups.
    allow_confounded
        Report full confounding of target and batch as a warning instead of raising.

    Returns
    -------
    Frame ``check level message``.

    Raises
    ------
    ConfoundingError
        If each batch holds one class only (several batches), unless ``allow_confounded``.
    """
    findings = [*_sizes(cohort), *_groups(cohort, obs), *_values(cohort), *_duplicates(cohort)]
    if cohort.batch is not None:
        findings += _batch(cohort, allow_confounded)
    return pd.DataFrame(findings, columns=["check", "level", "message"])


def _sizes(cohort: Cohort) -> list[Finding]:
    n, p = cohort.X.shape
    if cohort.task == "regression":
        level = "warning" if n < 30 else "ok"
        return [_finding("size", level, f"{n} samples, {p} genes{'; few samples for a regression' if n < 30 else ''}.")]
    counts = pd.Series(cohort.target).value_counts().reindex(list(cohort.classes), fill_value=0)
    text = ", ".join(f"{name}: {count}" for name, count in counts.items())
    out = [_finding("size", "ok", f"{n} samples, {p} genes; classes {text}.")]
    if counts.min() < 10:
        out.append(
            _finding(
                "class size",
                "warning",
                f"The smallest class, {counts.idxmin()}, has {counts.min()} samples; expect wide intervals.",
            )
        )
    if counts.max() >= 4 * counts.min():
        message = f"Classes are unbalanced ({text}); accuracy alone misleads, read balanced accuracy and MCC."
        out.append(_finding("class balance", "warning", message))
    return out


def _groups(cohort: Cohort, obs: pd.DataFrame | None) -> list[Finding]:
    if cohort.groups is not None:
        n_groups = len(set(cohort.groups))
        message = (
            f"{n_groups} groups in {len(cohort.groups)} samples; the effective sample size is nearer to {n_groups}."
        )
        return [_finding("groups", "ok" if n_groups >= 10 else "warning", message)]
    suspects = []
    obs = pd.DataFrame() if obs is None else obs
    for i, name in enumerate(map(str, obs.columns)):
        if DONOR_LIKE.search(name) and not ABOUT_DONORS.search(name):
            values = obs.iloc[:, i].dropna().astype(str)
            if 1 < values.nunique() < len(values):
                suspects.append(f"{name!r} ({values.nunique()} values in {len(obs)} samples)")
    if not suspects:
        return []
    message = (
        f"Column {', '.join(suspects)} looks like a donor and was not named as groups=. If samples of one donor are in both "
        "the training and the held-out part, the scores are too good."
    )
    return [_finding("unnamed groups", "warning", message)]


def _values(cohort: Cohort) -> list[Finding]:
    X, out = cohort.X, []
    stored = X.data if sparse.issparse(X) else X
    missing = int(np.isnan(stored).sum())
    if missing:
        message = f"{missing} missing values; they are filled with the gene's median of the training part of each fold."
        out.append(_finding("missing values", "warning", message))
    if sparse.issparse(X):
        low, high = X.min(axis=0).toarray().ravel(), X.max(axis=0).toarray().ravel()
    else:
        least: Any = np.fmin  # the lesser value that is not missing
        most: Any = np.fmax
        low, high = least.reduce(X, axis=0), most.reduce(X, axis=0)
    constant = int((low == high).sum())
    if constant:
        out.append(_finding("constant genes", "note", f"{constant} genes are constant and carry no information."))
    out += _scale(stored, float(np.nanmin(low)), float(np.nanmax(high)))
    return out


def _scale(stored: np.ndarray, low: float, high: float) -> list[Finding]:
    """Counts or raw intensities where logs are expected."""
    what = unlogged(stored, low, high)
    if not what:
        return []
    way = {"counts": "Use log counts per million.", "intensities": "Take log2."}[what]
    return [_finding("scale", "warning", f"{said_of(what, high)} {way}")]


def _duplicates(cohort: Cohort) -> list[Finding]:
    n, p = cohort.X.shape
    if n > _SIMILARITY_SAMPLES or p < 20:
        return []
    step = max(1, p // _SIMILARITY_GENES)
    part = cohort.X[:, ::step]
    part = np.nan_to_num(part.toarray() if sparse.issparse(part) else np.asarray(part, dtype=float))
    part = part - part.mean(axis=0)
    norm = np.linalg.norm(part, axis=1)
    part = part / np.where(norm > 0, norm, 1.0)[:, None]
    rows, cols = np.nonzero(np.triu(part @ part.T > _DUPLICATE_R, k=1))
    if not len(rows):
        return []
    pairs = ", ".join(f"{cohort.samples[i]} = {cohort.samples[j]}" for i, j in list(zip(rows, cols, strict=True))[:3])
    message = (
        f"{len(rows)} pairs of samples are copies of each other ({pairs}{', ...' if len(rows) > 3 else ''}). A copy in the "
        "training part gives the held-out answer away: drop them, or name the pairs as groups=."
    )
    return [_finding("duplicated samples", "warning", message)]


def cramers_v(a: np.ndarray, b: np.ndarray) -> float:
    """Cramer's V of two labelings, 0 (independent) to 1 (one determines the other)."""
    table = pd.crosstab(a, b).to_numpy(float)
    if min(table.shape) < 2:
        return 0.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    chi2 = ((table - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi2 / (table.sum() * (min(table.shape) - 1))))


def _batch(cohort: Cohort, allow_confounded: bool) -> list[Finding]:
    batch = np.asarray(cohort.batch).astype(str)
    n_batches = len(set(batch))
    if n_batches < 2:
        return [_finding("batch", "note", "All samples are of one batch.")]
    if cohort.task == "regression":
        target = pd.to_numeric(pd.Series(cohort.target)).to_numpy(float)
        means = pd.Series(target).groupby(batch).transform("mean").to_numpy()
        share = float(((means - target.mean()) ** 2).sum() / ((target - target.mean()) ** 2).sum())
        level = "warning" if share > 0.2 else "ok"
        return [_finding("batch", level, f"Batch explains {share:.0%} of the variance of the target.")]
    table = pd.crosstab(cohort.target, batch)
    v = cramers_v(cohort.target, batch)
    pure = [str(name) for name in table.columns if (table[name] > 0).sum() == 1]
    if len(pure) == n_batches:
        message = (
            f"Each of the {n_batches} batches holds one class only (Cramer's V = {v:.2f}): class and batch cannot be told apart, "
            "and any score would be the batch's. Add samples that cross the two; or pass allow_confounded=True to go on "
            "with the warning in the results."
        )
        if not allow_confounded:
            raise ConfoundingError(message)
        return [_finding("batch", "warning", message)]
    alone = _batch_alone(cohort, batch)
    message = (
        f"Target and batch: Cramer's V = {v:.2f}; batch alone predicts the class with balanced accuracy {alone:.2f}."
    )
    if pure:
        message += f" Batches with one class only: {', '.join(pure)}."
    chance = 1 / len(cohort.classes)
    confounded = v > 0.3 or alone > chance + 0.15
    if confounded:
        message += " Part of what a model finds may be batch, not biology."
    return [_finding("batch", "warning" if confounded else "ok", message)]


def _batch_alone(cohort: Cohort, batch: np.ndarray) -> float:
    """Cross-validated balanced accuracy of a model that sees nothing but the batch."""
    smallest = int(pd.Series(cohort.target).value_counts().min())
    if smallest < 2:
        return float("nan")
    folds = StratifiedKFold(min(5, smallest), shuffle=True, random_state=0)
    model = LogisticRegression(class_weight="balanced", max_iter=1000)
    hot = pd.get_dummies(batch).to_numpy(float)
    return float(balanced_accuracy_score(cohort.target, cross_val_predict(model, hot, cohort.target, cv=folds)))
