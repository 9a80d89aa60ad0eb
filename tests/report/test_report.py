"""The report says what the frames say, loads nothing, and takes no name for markup."""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib import pyplot as plt
from pages import page, said

import geneml_bio as gb
from geneml_bio.report import words

# -- what it says ------------------------------------------------------------------------------------------------------


def test_biomarker_table_is_the_frame(two, two_page):
    read, table = page(two_page), gb.get.biomarkers(two)
    genes = read.column("biomarkers", "gene")
    wanted = table[(table["class"] != "") | (np.arange(len(table)) < 50)]
    assert genes == list(wanted.index)
    for name in ("logFC", "AveExpr", "P.Value", "adj.P.Val", "shap", "selection_frequency", "rank", "n_models"):
        np.testing.assert_allclose(
            [float(v) for v in read.column("biomarkers", name)], wanted[name].astype(float), rtol=1e-9
        )
    assert read.column("biomarkers", "class") == list(wanted["class"])
    speaks = {1.0: "ill", -1.0: "healthy", 0.0: ""}
    assert read.column("biomarkers", "direction") == [speaks.get(v, "") for v in wanted["direction"]]
    assert f"{len(wanted)} of {len(table)} genes are shown" in read.words


def test_performance_stands_beside_the_null(two, two_page):
    read, metrics = page(two_page), gb.get.metrics(two).query("metric == 'balanced_accuracy'")
    rows = next(rows for rows in read.tables.values() if rows[0][-1][0] == "p")
    shown = [[text.replace("−", "-") for text, _ in row] for row in rows[1:]]
    assert [row[0] for row in shown] == ["logistic regression", "forest", "Best of the 2, corrected"]
    for row, (_, expected) in zip(shown, metrics.iterrows(), strict=True):
        assert row[1] == f"{expected['value']:.2f}"
        assert row[2] == f"{expected['low']:.2f} to {expected['high']:.2f}"
        assert [float(v) for v in row[3:]] == pytest.approx(
            [expected["null_mean"], expected["null_high"], expected["p_value"]], abs=6e-3
        )
    assert "12 permutations cannot give less than 0.077" in read.words
    assert gb.get.params(two)["verdict"] in read.words


def test_misclassified_samples_come_first(two_page, two):
    read, predictions = page(two_page), gb.get.predictions(two)
    mine = predictions[predictions["model"] == gb.get.params(two)["best"]].assign(
        own=lambda d: np.where(d["observed"] == "ill", d["prob_ill"], d["prob_healthy"])
    )
    own = mine.groupby("sample", observed=True)["own"].mean()
    wrong = (mine["observed"].astype(str) != mine["predicted"].astype(str)).groupby(mine["sample"].astype(str)).sum()
    samples = read.column("predictions", "sample")
    assert sorted(samples) == sorted(own.index)
    np.testing.assert_allclose(
        [float(v) for v in read.column("predictions", "probability_of_observed")], own[samples], rtol=1e-9
    )
    assert [int(v) for v in read.column("predictions", "repeats_misclassified")] == list(wrong[samples])
    observed, predicted = read.column("predictions", "observed"), read.column("predictions", "predicted")
    missed = [a != b for a, b in zip(observed, predicted, strict=True)]
    assert missed == sorted(missed, reverse=True)
    assert 0 < sum(missed) < 15
    probabilities = [float(v) for v in read.column("predictions", "probability_of_observed")][sum(missed) :]
    assert probabilities == sorted(probabilities)
    assert f"{sum(missed)} of 30 " in read.words


def test_warnings_of_the_audit_come_before_the_results():
    adata = result_studies.expression(("a", "b"), n=14)
    adata.obs["patient_id"] = [f"p{i // 2}" for i in range(14)]
    result_studies.analysed(adata, n_permutations=0, n_splits=2)
    read = said(adata)
    warned = gb.get.audit(adata).query("level == 'warning'")["message"]
    assert len(warned) >= 2
    for message in warned:
        assert read.words.index(message) < read.words.index("Performance on held-out samples")
    assert "warnings about the study" in read.words
    assert "Permuted targets were not run" in read.words
    assert "n_permutations=100" in read.words


def test_a_finding_of_nothing_is_said_plainly():
    adata = result_studies.expression(("a", "b"), n=24, effect=0.0)
    result_studies.analysed(adata, n_permutations=0)
    assert not gb.get.params(adata)["better_than_chance"]
    read = said(adata)
    assert "Do not build on these genes." in read.words
    assert "From none that should be built on" in read.words
    assert "do not read the rest as biomarkers" in read.words


def test_methods_tell_what_was_run():
    adata = result_studies.expression(("a", "b"), n=30)
    adata.obs["donor"] = [f"d{i // 2}" for i in range(30)]
    result_studies.analysed(
        adata, groups="donor", n_permutations=3, n_repeats=1, tune=True, models=["logistic", "xgboost"]
    )
    text = said(adata).words
    for told in (
        "120 genes in 30 samples (a: 15, b: 15)",
        "Logistic regression and XGBoost were trained to predict dx",
        "1 repeat of stratified 3-fold cross-validation, all samples of one donor on the same side",
        "the 30 genes with the largest moderated t statistic were chosen",
        "tuned hyperparameters by an inner cross-validation",
        "Bayesian bootstrap of groups (donor) within classes",
        "3 permutations of the target (by donor)",
        "Chen T, Guestrin C (2016)",
        "Random seed 0",
        f"geneml-bio {gb.__version__}",
    ):
        assert told in text, told
    assert "Breiman" not in text


@pytest.mark.parametrize(
    ("parts", "there", "missing"),
    [
        ({"explain": False, "classify": False}, ["biomarkers"], ["gb.tl.classify", "gb.tl.explain"]),
        ({"explain": False, "de": False}, ["predictions"], ["gb.tl.limma", "gb.tl.explain", "gb.tl.biomarkers"]),
        ({"explain": False}, ["biomarkers", "predictions"], ["gb.tl.explain"]),
        ({"de": False, "n_permutations": 0}, ["biomarkers", "predictions"], ["gb.tl.limma", "n_permutations=100"]),
    ],
)
def test_parts_of_the_job_give_a_report_that_says_what_is_missing(tmp_path, parts, there, missing):
    adata = result_studies.expression(("a", "b"), n=24)
    options = {"n_permutations": 2, "models": "logistic", "n_repeats": 1} | parts
    result_studies.analysed(adata, **options)
    read = page(gb.report(adata, tmp_path / "r.html"))
    for table in ("biomarkers", "predictions"):
        assert (table in read.tables) == (table in there)
    text = read.words[read.words.rindex("What is missing") :]
    assert all(call in text for call in missing)
    assert text.count("gb.tl.") == len(missing)


def test_an_object_without_results_is_refused(tmp_path):
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"gb\.run"):
        gb.report(result_studies.expression(("a", "b"), n=6), tmp_path / "r.html")
    assert not list(tmp_path.iterdir())


def test_a_regression_has_its_own_report(tmp_path):
    adata = result_studies.numbers()
    read = page(gb.report(adata, tmp_path / "r", key="regress"))
    assert (tmp_path / "r.html").exists()
    error = [abs(float(v)) for v in read.column("predictions", "error")]
    assert error == sorted(error, reverse=True)
    assert set(read.column("biomarkers", "direction")) <= {"higher age", "lower age", ""}
    assert "Predicted against observed" in read.words
    assert "ROC" not in read.words[: read.words.rindex("Glossary")]


def test_many_classes(tmp_path):
    adata = result_studies.four_classes()
    read = page(gb.report(adata, tmp_path / "r.html"))
    assert "T/NK" in read.words
    assert "guessing gives 0.25" in read.words
    heads = [attributes["data-name"] for _, attributes in read.tables["biomarkers"][0]]
    assert "direction" in heads  # a class
    assert "agreement" not in heads  # and no side of two


def test_symbols_and_descriptions_are_shown(two):
    adata = two.copy()
    adata.var["symbol"] = [f"SYM{i}" if i else None for i in range(adata.n_vars)]
    adata.var["description"] = [f"described as {i}" for i in range(adata.n_vars)]
    read = said(adata)
    genes, symbols = read.column("biomarkers", "gene"), read.column("biomarkers", "symbol")
    assert symbols == ["" if gene == "g0" else f"SYM{gene[1:]}" for gene in genes]
    assert "described as 3" in read.words


# -- one file ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["two_page", "hostile_page", "models_page"])
def test_nothing_is_loaded_from_anywhere(request, which):
    path = request.getfixturevalue(which)
    text, read = path.read_text(encoding="utf-8"), page(path)
    assert {tag for tag, _ in read.tags}.isdisjoint({"link", "iframe", "object", "embed", "base", "form"})
    for tag, attributes in read.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                assert value.startswith(("data:image/", "#")), (tag, value[:80])
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    pictures = [attributes["src"] for tag, attributes in read.tags if tag == "img"]
    assert len(pictures) >= 9
    for src in pictures:
        drawing = base64.b64decode(src.partition(",")[2]).decode()
        assert drawing.startswith("<svg")
        assert "<script" not in drawing
        assert re.findall(r'(?:xlink:)?href="(?!#|data:image/png)', drawing) == []
    assert all(attributes.get("alt") for tag, attributes in read.tags if tag == "img")


def test_the_policy_allows_this_script_and_no_other(hostile_page):
    text, read = hostile_page.read_text(encoding="utf-8"), page(hostile_page)
    assert [tag for tag, _ in read.tags].count("script") == 1
    script = text[text.rindex("<script>") + 8 : text.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for tag, a in read.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_names_come_back_as_they_were(hostile, hostile_page):
    read = page(hostile_page)
    assert set(read.column("biomarkers", "gene")) >= set(gb.get.biomarkers(hostile).index[:50])
    assert set(read.column("predictions", "sample")) == set(hostile.obs_names)
    assert set(read.column("predictions", "observed")) == set(hostile.obs["dx"].cat.categories)
    tags = [tag for tag, _ in read.tags]
    assert tags.count("img") == tags.count("figure"), "no image but the figures"
    assert "<script>alert('title')</script> =1+1 \"quoted\"" in read.words


def undated(path: Path) -> str:
    text, n = re.subn(r'<time datetime="[\d-]+">[\d-]+</time>', "", path.read_text(encoding="utf-8"))
    assert n == 1
    return text


def test_same_report_from_the_object_and_from_its_h5ad(hostile, hostile_page, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hostile.write_h5ad(tmp_path / "hostile.h5ad")
    title = "<script>alert('title')</script> =1+1 \"quoted\""
    again = gb.report(ad.read_h5ad(tmp_path / "hostile.h5ad"), tmp_path / "r.html", title=title)
    assert undated(again) == undated(hostile_page)


def test_the_object_and_matplotlib_are_left_alone(two, two_page, tmp_path):
    def slots() -> dict[str, list[str]]:
        return {slot: list(getattr(two, slot).keys()) for slot in ("uns", "var", "varm", "obs", "obsm", "layers")}

    before, rc, figures = slots(), dict(plt.rcParams), plt.get_fignums()
    plt.rcParams["font.size"] = 20
    try:
        again = gb.report(two, tmp_path / "a.html")
        assert plt.rcParams["font.size"] == 20
    finally:
        plt.rcParams.update(rc)
    assert undated(again) == undated(two_page)
    assert before == slots()
    assert plt.get_fignums() == figures


def test_report_can_be_called_however_it_was_imported(tmp_path):
    import importlib

    adata = result_studies.analysed(result_studies.expression(("a", "b"), n=8), classify=False, explain=False)
    module = importlib.import_module("geneml_bio.report")
    assert module(adata, tmp_path / "a.html").exists()
    assert gb.report(adata, str(tmp_path / "new" / "b.html")) == tmp_path / "new" / "b.html"


def test_twenty_thousand_genes_stay_below_five_megabytes(tmp_path):
    adata = result_studies.expression(("a", "b"), n=40, p=20_000)
    adata.X[adata.obs["dx"] == "b", :6000] += 2.0
    result_studies.analysed(adata, n_permutations=0, models="logistic", n_splits=2, n_repeats=1, screen=200)
    path = gb.report(adata, tmp_path / "r.html")
    read = page(path)
    assert path.stat().st_size < 5e6
    assert len(read.tables["biomarkers"]) - 1 == 1000
    assert "1,000 of 20,000 genes are shown" in read.words
    assert "(at most 1,000)" in read.words


# -- for every reader --------------------------------------------------------------------------------------------------


def test_headings_labels_and_sorting_are_marked_up(two_page):
    read = page(two_page)
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"][1:] for tag, a in read.tags if tag == "a"] + [
        a["aria-labelledby"] for _, a in read.tags if "aria-labelledby" in a
    ]
    assert set(targets) <= set(ids)
    for table in ("biomarkers", "predictions"):
        heads = [attributes for _, attributes in read.tables[table][0]]
        assert all(
            head["aria-sort"] in ("none", "ascending", "descending") and head["scope"] == "col" for head in heads
        )
    assert read.tables["biomarkers"][0][0][1]["aria-sort"] == "ascending"
    regions = [attributes for _, attributes in read.tags if attributes.get("role") == "region"]
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)
    assert next(a for tag, a in read.tags if tag == "html")["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        (words.p_value, 3.21e-8, "3.2e-08"),
        (words.p_value, 0.0123, "0.012"),
        (words.p_value, 0.00523, "0.0052"),
        (words.p_value, 0.9999, "1.000"),
        (words.p_value, 0.0, "< 1e-300"),
        (words.p_value, np.nan, "–"),
        (words.fixed, -1.234, "−1.23"),
        (words.fixed, -0.001, "0.00"),
        (words.fixed, None, "–"),
        (words.significant, 0.012345, "0.0123"),
        (words.significant, 1234.5, "1,234"),
        (words.significant, -0.00001, "−1.00e-05"),
        (words.significant, 0, "0"),
        (words.percent, 0.0421, "4 %"),
        (words.raw, np.nan, ""),
        (words.raw, np.int64(3), "3"),
        (words.raw, 1 / 3, "0.3333333333"),
        (words.raw, pd.NA, ""),
    ],
)
def test_numbers_as_a_reader_wants_them(function, value, text):
    assert function(value) == text


def test_lists_and_counts():
    assert words.listed(["a"]) == "a"
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert words.count(1, "class", "classes") == "1 class"
    assert words.count(3051, "gene") == "3,051 genes"
