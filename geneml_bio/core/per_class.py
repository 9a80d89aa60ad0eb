"""How well each class is predicted, in cross-validation and in the test set."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .schema import Validation, prob_column
from .scores import Ranking, confusion, mean_defined, ratio, roc_auc

COLUMNS = ("model", "set", "class", "n", "precision", "recall", "f1", "roc_auc")


def per_class_table(validation: Validation) -> pd.DataFrame:
    """Precision, recall, F1 and one-against-rest ROC AUC of each class.

    Parameters
    ----------
    validation
        The out-of-fold predictions, and those of the test set where there is one.

    Returns
    -------
    Frame ``model set class n precision recall f1 roc_auc`` of every model and baseline; ``set`` is ``"cv"`` (computed on all
    held-out samples of a repeat, the mean over repeats) or ``"test"``, ``n`` the samples of the class. Precision and F1 of a
    class that was never predicted are 0, as in scikit-learn; recall and ROC AUC of a class without samples are NaN, and so
    is the ROC AUC where there are no others. Empty for a regression.
    """
    classes = validation.classes
    rows: list[dict[str, object]] = []
    sets = {"cv": validation.predictions} | ({} if validation.test is None else {"test": validation.test})
    for name, frame in sets.items() if classes else ():
        for model, part in frame.groupby("model", observed=True, sort=False):
            runs = [run for _, run in part.groupby("repeat")] if "repeat" in part else [part]
            scores = [_class_scores(run, classes) for run in runs]
            values = {key: mean_defined(np.array([run[key] for run in scores])) for key in COLUMNS[4:]}
            n = np.mean([run["n"] for run in scores], axis=0).round().astype(int)
            for code, label in enumerate(classes):
                own: dict[str, object] = {"model": str(model), "set": name, "class": label, "n": int(n[code])}
                rows.append(own | {key: float(value[code]) for key, value in values.items()})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _class_scores(part: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """One value a class of each score."""
    k = len(classes)
    observed = pd.Index(classes).get_indexer(pd.Index(part["observed"].astype(str)))
    prob = part[[prob_column(name) for name in classes]].to_numpy(float)
    w = np.ones((1, len(part)))
    cells = confusion(w, observed, prob.argmax(axis=1), k)[0]
    hit, n, made = np.diag(cells), cells.sum(axis=1), cells.sum(axis=0)
    areas = [roc_auc(*Ranking.of(observed == code, prob[:, code]).weights(w.T))[0] for code in range(k)]
    return {
        "n": n,
        "precision": np.nan_to_num(ratio(hit, made)),
        "recall": ratio(hit, n),
        "f1": np.nan_to_num(ratio(2 * hit, n + made)),
        "roc_auc": np.array(areas),
    }
