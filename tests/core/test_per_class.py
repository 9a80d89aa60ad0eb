"""Each class by itself, against scikit-learn's classification report."""

from __future__ import annotations

import numpy as np
import pytest
from held_out import held_out, probabilities
from sklearn import metrics as sk

from geneml_bio.core.per_class import COLUMNS, per_class_table

NAMES = ("a", "model", "Z 1", "d/e")


def _expected(y, prob, k) -> dict[str, dict[str, float]]:
    report = sk.classification_report(
        y, prob.argmax(axis=1), labels=range(k), target_names=NAMES[:k], output_dict=True, zero_division=0
    )
    return {
        name: {
            "n": report[name]["support"],
            "precision": report[name]["precision"],
            "recall": report[name]["recall"],
            "f1": report[name]["f1-score"],
            "roc_auc": sk.roc_auc_score(y == code, prob[:, code]),
        }
        for code, name in enumerate(NAMES[:k])
    }


@pytest.mark.parametrize("k", [2, 3, 4])
def test_it_is_the_classification_report(k):
    rng = np.random.default_rng(k)
    y, t = np.arange(47) % k, np.arange(15) % k
    runs, outside = [probabilities(rng, y, k) for _ in range(3)], probabilities(rng, t, k)
    validation = held_out(y, {"m": runs, "other": runs[::-1]}, NAMES[:k], test=(t, {"m": outside}))
    table = per_class_table(validation)
    assert list(table.columns) == list(COLUMNS)
    assert list(zip(table["model"], table["set"], strict=True)) == [
        (m, s) for m, s in (("m", "cv"), ("other", "cv"), ("m", "test")) for _ in range(k)
    ]
    got = table.set_index(["model", "set", "class"])
    by_run = [_expected(y, prob, k) for prob in runs]
    for name in NAMES[:k]:
        mean = {key: np.mean([run[name][key] for run in by_run]) for key in by_run[0][name]}
        assert got.loc[("m", "cv", name)].to_dict() == pytest.approx(mean)
        assert got.loc[("m", "test", name)].to_dict() == pytest.approx(_expected(t, outside, k)[name])
    assert table["n"].dtype.kind == "i"


def test_a_class_that_is_never_predicted_and_one_that_is_not_there():
    y = np.array([0, 1, 2] * 4)
    prob = np.tile([0.5, 0.3, 0.2], (12, 1))
    t = np.array([0, 0, 1])
    validation = held_out(y, {"m": [prob]}, NAMES[:3], test=(t, {"m": np.eye(3)[[0, 2, 1]] * 0.7 + 0.1}))
    got = per_class_table(validation).set_index(["set", "class"])
    never = got.loc[("cv", "Z 1")]
    assert never[["precision", "recall", "f1", "roc_auc"]].tolist() == [0, 0, 0, 0.5]
    absent = got.loc[("test", "Z 1")]
    assert absent["n"] == 0
    assert absent[["recall", "roc_auc"]].isna().all()  # no sample of the class to be found
    assert absent[["precision", "f1"]].tolist() == [0, 0]  # but one was said to be of it


def test_a_regression_has_no_classes():
    y = np.arange(10.0)
    table = per_class_table(held_out(y, {"m": [y]}, test=(y, {"m": y})))
    assert table.empty
    assert list(table.columns) == list(COLUMNS)
