"""How much labels of samples (batches) and a target say of each other."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.metrics import balanced_accuracy_score

from .resample import held_out
from .schema import Cohort


def cramers_v(a: np.ndarray, b: np.ndarray, *, corrected: bool = False) -> float:
    """Cramer's V of two labelings, 0 (independent) to 1 (one determines the other).

    ``corrected``: for its bias with few samples and many levels (Bergsma 2013, J Korean Stat Soc 42:323).
    """
    table = pd.crosstab(pd.factorize(a)[0], pd.factorize(b)[0]).to_numpy(float)
    if min(table.shape) < 2:
        return 0.0
    n = table.sum()
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / n
    phi2 = ((table - expected) ** 2 / expected).sum() / n
    shape = np.array(table.shape, dtype=float)
    if corrected:
        phi2 = max(0.0, phi2 - (shape - 1).prod() / (n - 1))
        shape = shape - (shape - 1) ** 2 / (n - 1)
    return float(np.sqrt(phi2 / (shape.min() - 1))) if shape.min() > 1 else 0.0


def explained(target: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Share of the variance of a number between labels: as it is, and adjusted for how many labels there are."""
    target = target.astype(float)
    means = pd.Series(target).groupby(pd.factorize(labels)[0]).transform("mean").to_numpy()
    total = float(((target - target.mean()) ** 2).sum())
    if not total:
        return 0.0, 0.0
    share = float(((means - target.mean()) ** 2).sum()) / total
    n, k = len(target), len(set(labels))
    return share, 1 - (1 - share) * (n - 1) / (n - k) if n > k else 0.0


def labels_alone(cohort: Cohort, labels: np.ndarray) -> tuple[float, float]:
    """Cross-validated balanced accuracy and ROC AUC of a model that sees nothing but a label of each sample.

    The model is the share of each class among the training samples of the label, classes weighted alike; folds are
    stratified, by group where there are groups; more classes: each against the rest, averaged. NaN where a class has one sample.
    """
    y = pd.Index(cohort.classes).get_indexer(pd.Index(cohort.target))
    code = pd.factorize(labels)[0]
    k, m = len(cohort.classes), int(code.max()) + 1
    groups = None if cohort.groups is None else pd.factorize(cohort.groups)[0]
    units = pd.DataFrame({"y": y, "g": np.arange(len(y)) if groups is None else groups}).drop_duplicates()
    smallest = int(units["y"].value_counts().min())
    if smallest < 2:
        return float("nan"), float("nan")
    accuracies, aucs = [], []
    for draw in range(5 if len(y) <= 2000 else 1):
        made = np.empty(len(y), dtype=int)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            folds = held_out(y, cohort.classes, groups, min(5, smallest), draw)
        for train, test in folds:
            counts = np.zeros((m, k))
            np.add.at(counts, (code[train], y[train]), 1.0)
            shares = counts / np.maximum(counts.sum(axis=0), 1) + 0.5 / len(y)  # a label never seen says nothing
            shares = (shares / shares.sum(axis=1, keepdims=True))[code[test]]
            made[test] = shares.argmax(axis=1)
            aucs += [
                _auc(y[test] == c, shares[:, c])
                for c in range(k)
                if (k > 2 or c == 1) and 0 < (y[test] == c).sum() < len(test)
            ]
        accuracies.append(balanced_accuracy_score(y, made))
    return float(np.mean(accuracies)), float(np.mean(aucs)) if aucs else float("nan")


def batch_alone(cohort: Cohort) -> float:
    """What a named batch predicts by itself: balanced accuracy, or R2 of the mean of the other samples of the batch."""
    if cohort.batch is None:
        return float("nan")
    if cohort.classes:
        return labels_alone(cohort, cohort.batch)[0]
    target = pd.Series(cohort.target.astype(float))
    by = target.groupby(pd.factorize(cohort.batch)[0])
    n = by.transform("size")
    made = ((by.transform("sum") - target) / (n - 1).clip(lower=1)).where(n > 1, target.mean())
    return float(1 - ((target - made) ** 2).sum() / ((target - target.mean()) ** 2).sum())


def _auc(positive: np.ndarray, score: np.ndarray) -> float:
    n = positive.sum()
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * (len(score) - n)))
