"""The head of the page: green only where nothing offers another explanation, and answers in plain words."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import result_studies
from pages import Page, said

import geneml_bio as gb
from geneml_bio.report import head, words


def state(read: Page) -> str:
    """Colour of the headline."""
    return next(a["class"] for _, a in read.tags if "headline" in a.get("class", "")).split()[-1]


def changed(adata, key: str = "classify", **entries):
    """A copy with other entries in ``.uns[key]``; ``params`` are added to those there are."""
    adata = adata.copy()
    stored = dict(adata.uns[key])
    if "params" in entries:
        stored["params"] = dict(stored["params"]) | entries.pop("params")
    adata.uns[key] = stored | entries
    return adata


def warned(adata, *checks: str):
    rows = pd.DataFrame({"check": checks, "level": "warning", "message": [f"About {c}, told in full." for c in checks]})
    audit = adata.uns["classify"]["audit"].astype(str)
    return changed(adata, audit=pd.concat([audit, rows], ignore_index=True), params={"n_permutations": 19})


def test_green_needs_a_test_by_permutation(two):
    assert gb.get.params(two)["better_than_chance"]
    few, enough = said(two), said(changed(two, params={"n_permutations": 19}))
    assert (state(few), state(enough)) == ("care", "good")
    assert "not yet by test" in few.words
    assert "Yes: ill against healthy was predicted better than by guessing." in enough.words


@pytest.mark.parametrize("check", list(head.DOUBTS))
def test_no_green_where_the_audit_knows_another_reason(two, check):
    read = said(warned(two, check))
    assert state(read) == "care"
    assert head.DOUBTS[check] in read.words
    assert "Yes: " not in read.words
    assert read.words.index("told in full") < read.words.index("What was asked", read.words.index("told in full"))


@pytest.mark.parametrize("told_by_covariate", [True, False])
def test_no_green_where_the_genes_add_nothing_to_the_covariates(told_by_covariate):
    """All that the genes know is the covariate; or the covariate knows nothing, and the genes do."""
    rng = np.random.default_rng(5)
    adata = result_studies.expression(("a", "b"), n=60, p=40, effect=0.0)
    classes = (adata.obs["dx"] == "b").to_numpy()
    of_class = rng.normal(size=60) + 1.5 * classes
    adata.X[:, :10] += of_class[:, None]
    adata.obs["z"] = of_class if told_by_covariate else rng.normal(size=60)
    fast = {"models": "logistic", "n_repeats": 1, "tune": False, "n_jobs": 1, "progress": False}
    gb.tl.classify(adata, "dx", covariates="z", screen=None, n_permutations=19, **fast)
    audit = gb.get.audit(adata)
    read = said(changed(adata, audit=audit[audit["check"] != "covariates"]))
    scores = gb.get.metrics(adata).query("metric == 'balanced_accuracy'").set_index("model")["value"]
    alone = f"covariates alone {scores['covariates only']:.2f}"
    assert gb.get.params(adata)["better_than_chance"]
    assert state(read) == ("care" if told_by_covariate else "good")
    assert (head.DOUBTS["covariates"] in read.words) == told_by_covariate
    if told_by_covariate:
        assert alone in gb.summary(adata)


@pytest.mark.parametrize("check", ["class size", "class balance", "groups", "scale"])
def test_warnings_about_precision_leave_it_green_and_are_told(two, check):
    read = said(warned(two, check))
    assert state(read) == "good"
    assert f"1 warning to read first: {check}" in read.words


def test_a_batch_that_was_not_named_is_no_finding(tmp_path):
    adata = result_studies.expression(("healthy", "ill"), n=40, effect=0.0)
    ill = (adata.obs["dx"] == "ill").to_numpy()
    plate = np.where(ill, "p1", "p2")
    plate[:4] = plate[:4][::-1]
    adata.obs["plate"] = plate
    adata.X[plate == "p1", 20:60] += 2.0  # the batch moves genes that have nothing to do with the class
    result_studies.analysed(adata, models="logistic", n_permutations=19, n_repeats=1, de=False)
    assert gb.get.params(adata)["better_than_chance"]
    read = said(adata)
    assert state(read) == "care"
    assert "the score may be that of the batch" in read.words
    assert "If the score is not biology, these genes are not either." in read.words


@pytest.mark.parametrize("mixed", [False, True])
def test_parts_of_one_class_are_said_to_measure_nothing(mixed):
    adata = result_studies.expression(("a", "b"), n=24, effect=0.0)
    order = np.argsort(adata.obs["dx"].to_numpy().astype(str), kind="stable")
    adata.obs["site"] = ""
    labels = [f"s{i // 4}" for i in range(24)]
    adata.obs.iloc[np.arange(24) if mixed else order, adata.obs.columns.get_loc("site")] = labels
    how = {"models": "logistic", "cv": "leave_one_group_out", "groups": "site", "n_permutations": 0}
    result_studies.analysed(adata, de=False, explain=False, **how)
    text = said(adata).words
    assert ("Scores far below chance come of this and mean nothing" in text) != mixed
    assert ("This way of holding out cannot tell" in text) != mixed


def test_three_answers_in_plain_words(two):
    text = said(two).words
    table = gb.get.metrics(two).query("metric == 'balanced_accuracy'").set_index("model")["value"]
    right = round(100 * table["best of k (corrected)"])
    assert f"about {right} were given their class; guessing would give 50" in text
    top = words.listed(list(gb.get.biomarkers(two).index[:5]))
    assert f"The models relied most on {top}." in text
    both = int((gb.get.biomarkers(two)["class"] == "DE and used").sum())
    assert re.search(rf"relied on most( \(with an empirical q up to 0.1\))?, {both} also differs?", text)
    for question in (
        "Can it be predicted?",
        "From which genes?",
        "Can it be believed?",
        "open until it is tried there",
    ):
        assert question in text
    assert "12 runs on shuffled labels scored" in text
    assert "So few cannot tell: 19 or more can." in text


def test_a_named_test_set_is_not_called_the_same_study(models):
    given = changed(models, params={"test_set": "cohort"})
    assert "All samples are from this one study" in said(models).words
    assert "whether it stands for other hospitals" in said(given).words


# -- names -------------------------------------------------------------------------------------------------------------


def test_marks_that_turn_text_around_are_written_out_and_kept_in_the_values(two):
    adata = two.copy()
    turned = "\u202egnp.exe"
    adata.var_names = [turned, "a\u200bb", "x" * 5000, *adata.var_names[3:]]
    read = said(adata)
    assert {turned, "a\u200bb", "x" * 5000} <= set(read.column("biomarkers", "gene"))
    assert "[U+202E]gnp.exe" in read.words
    outside = "".join(read.text) + "".join(v for _, a in read.tags for k, v in a.items() if k != "data-v")
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b]", outside)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("TP53", "TP53"),
        ("naïve \t ü\n", "naïve \t ü\n"),
        ("\u202ea", "[U+202E]a"),
        ("a\x00b", "a[U+0000]b"),
        ("\ud800", "[U+D800]"),
    ],
)
def test_visible(name, shown):
    assert words.visible(name) == shown


def test_shortened():
    assert words.shortened("TP53") == "TP53"
    assert len(words.shortened("a" * 500)) == 40
    assert words.shortened("b" + "a" * 500 + "c", 20).endswith("c")
