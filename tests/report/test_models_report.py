"""The page of a validation without genes: test set, classes, comparisons, covariates, training."""

from __future__ import annotations

import re

import numpy as np
import pytest
import result_studies
from pages import page, said

import geneml_bio as gb
from geneml_bio.report import words


def table_with(read, *heads: str) -> list[list[str]]:
    """The rows (heads left out) of the table whose head holds these words."""
    for rows in read.tables.values():
        if {text for text, _ in rows[0]} >= set(heads):
            return [[text for text, _ in row] for row in rows[1:]]
    raise AssertionError(f"no table with {heads}")


def test_the_test_set_stands_below_the_cross_validation(models, models_page):
    read = page(models_page)
    scores = gb.get.metrics(models, test=True).set_index(["model", "metric"])["value"]
    shown = next(
        r for r in read.tables.values() if [t for t, _ in r[0]] == ["Model", "Accuracy", "Balanced accuracy", "ROC AUC"]
    )
    for (name, *cells), model in zip([[t for t, _ in row] for row in shown[1:]], ["logistic", "mlp"], strict=False):
        assert name == words.model(model)
        for cell, metric in zip(cells, ("accuracy", "balanced_accuracy", "roc_auc"), strict=True):
            assert cell.startswith(words.fixed(scores[model, metric]))
    made = gb.get.predictions(models, test=True)
    best = gb.get.params(models)["best"]
    mine = made[made["model"].astype(str) == best]
    right = int((mine["observed"].astype(str) == mine["predicted"].astype(str)).sum())
    assert re.search(rf"{right} of {len(mine)} right, of \d+ donors, goes with any true accuracy from", read.words)
    assert f"Test set: {len(mine)} samples, predicted once" in read.words
    assert "is what to quote" in read.words


def test_classes_pairs_covariates_and_training_are_said(models, models_page):
    read = page(models_page)
    report = gb.get.per_class(models)
    report = report[report["model"] == gb.get.params(models)["best"]]
    rows = table_with(read, "Held out in", "Precision", "Recall")
    assert [row[1] for row in rows] == list(report["class"])
    np.testing.assert_allclose([float(row[4]) for row in rows], report["recall"], atol=0.0051)
    pairs = table_with(read, "against", "Difference")
    assert [row[:2] for row in pairs] == [["logistic regression", "neural network"]]
    assert "No model is shown to be better than another." in read.words
    assert "to what the covariates predict" in read.words
    history = gb.get.history(models)
    assert f"neural network: {history['epoch'].max()} epochs" in read.words


def test_baselines_are_no_models_to_choose_from(models, models_page):
    read = page(models_page)
    rows = table_with(read, "Score", "Permuted targets, mean")
    assert [row[0] for row in rows][-2:] == ["covariates only", "genes + covariates"]
    assert rows[-3][0] == "Best of the 2, corrected"
    assert f"Balanced accuracy on held-out samples {rows[-3][1]} 95 % interval" in read.words


def test_the_head_and_the_methods_tell_of_what_was_held_out(models, models_page):
    text = page(models_page).words
    n = gb.get.predictions(models, test=True)["sample"].nunique()
    found = gb.get.params(models)["n_effective"]
    for told in (
        "This report is on how well models predict",
        f"A test set of {n} samples was held out of all of this and predicted once",
        f"{found['n_effective']} (donor) of {found['n_samples']} samples",
        "none needed: there are 40 genes, and 200 would be kept",
        "corrected resampled t test",
        "Nadeau C, Bengio Y (2003)",
        "48 samples",
    ):
        assert told in text, told
    assert "This report is incomplete" not in text


def test_its_figures_are_there(models_page):
    read = page(models_page)
    ids = {a["id"] for tag, a in read.tags if tag == "figure"}
    wanted = ("heatmap", "confusion", "confusion_test", "calibration", "history", "history_score", "compare", "roc")
    assert ids >= {f"figure-{name}" for name in wanted}
    assert "$ill$ <b>" in read.words


@pytest.mark.parametrize("cv", ["leave_one_batch_out", "leave_one_group_out"])
def test_what_was_left_out_in_turn(cv):
    adata = result_studies.expression(("a", "b"), n=24)
    adata.obs["plate"] = [f"p{i % 3}" for i in range(24)]
    asked = {"batch": "plate"} if "batch" in cv else {"groups": "plate"}
    result_studies.analysed(adata, de=False, explain=False, n_permutations=0, models="logistic", cv=cv, **asked)
    text = said(adata).words
    assert "validated by holding out each plate in turn" in text
    assert "each plate left out in turn" in text


def test_weights_and_calibration_are_told():
    adata = result_studies.expression(("a/1", "b"), n=30)
    asked = {"class_weight": {"a/1": 2.0, "b": 1.0}, "calibrate": "sigmoid"}
    result_studies.analysed(adata, de=False, explain=False, n_permutations=0, models="logistic", **asked)
    text = said(adata).words
    assert "Class weights: a/1: 2, b: 1." in text
    assert "calibrated (sigmoid) on inner folds" in text
    assert "calibrated inside the folds (sigmoid)" in text


def test_a_regression_with_a_test_set(tmp_path):
    adata = result_studies.expression(("a", "b"), n=40, p=20)
    adata.obs["dose"] = adata.X[:, 0] * 2 + np.random.default_rng(0).normal(0, 0.5, 40)
    gb.tl.regress(adata, "dose", models="ridge", test_size=0.2, n_splits=3, n_repeats=1, n_jobs=1, progress=False)
    read = page(gb.report(adata, tmp_path / "r.html", key="regress"))
    assert "Predicted against observed, test set" in read.words
    assert [t for t, _ in next(r for r in read.tables.values() if r[0][1][0] == "R²")[0]] == [
        "Model",
        "R²",
        "RMSE",
        "MAE",
    ]
