"""Parts of the page: error control, groups and sets, knockoffs, genes as rows, checklist, methods; each where it was run and only there."""

from __future__ import annotations

import re
from importlib import resources

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import result_studies
from pages import page, said
from test_head import changed

import geneml_bio as gb
from geneml_bio.report import checklist, evidence, render, words
from geneml_bio.report.content import Keys, gather
from geneml_bio.report.figures import captions_for, placed


def table_of(read, caption: str) -> list[list[str]]:
    """Rows of the table in the region of this name."""
    names = [a["aria-label"] for _, a in read.tags if a.get("role") == "region"]
    table = list(read.tables.values())[names.index(caption)]
    return [[text for text, _ in row] for row in table[1:]]


@pytest.fixture(scope="module")
def four() -> ad.AnnData:
    return result_studies.four_classes()


# -- error control -----------------------------------------------------------------------------------------------------


def test_genes_that_hold_up_against_chance_are_counted(two):
    adata = two.copy()
    rng = np.random.default_rng(0)
    q = rng.uniform(0, 1, adata.n_vars)
    adata.var["classify_empirical_q"] = q
    adata.varm["biomarkers"] = adata.varm["biomarkers"].drop(columns=["empirical_q", "empirical_p"], errors="ignore")
    read = said(adata)
    n = int((q <= 0.1).sum())
    assert f"{n} genes hold up (empirical q up to 0.1" in read.words
    assert table_of(read, "Genes called by level")[1] == ["0.1", str(n), f"about {round(0.1 * n)}"]
    shown = np.array(read.column("biomarkers", "empirical_q"), dtype=float)
    wanted = pd.Series(q, index=adata.var_names)[read.column("biomarkers", "gene")]
    np.testing.assert_allclose(shown, wanted, rtol=1e-9)
    adata.var["classify_empirical_q"] = 1.0
    assert "No gene by itself holds up against shuffled labels" in said(adata).words


def test_what_the_package_itself_counted_is_said(two):
    if "discoveries" not in two.uns["classify"]:
        pytest.skip("no permuted genes in these results")
    read, about = said(two), gb.get.params(two)
    stored = two.uns["classify"]["discoveries"]
    assert int(stored["n_called"]) == int((two.var["classify_empirical_q"] <= stored["level"]).sum())
    assert f"repeated on {about['n_permutations']} shuffled targets" in read.words
    assert "Phipson B, Smyth GK (2010)" in read.words


def test_a_model_that_used_one_gene_is_said(two):
    adata = two.copy()
    about = dict(adata.uns["classify_shap"])
    per_model = pd.DataFrame(about["per_model"]).copy()
    per_model["genes_per_fold"] = [30.0, 1.0]
    about["per_model"] = per_model.assign(exact=[True, False], sampling_error=[np.nan, 0.0123])
    adata.uns["classify_shap"] = about
    read = said(adata)
    assert "Forest used one gene in a fold, on average" in read.words
    rows = {row[0]: row for row in table_of(read, "Genes used by each model")}
    assert "sampled" in " ".join(rows["forest"])
    assert "0.012" in rows["forest"]
    assert "sampled with an estimated error of 0.012" in read.words
    assert "Strumbelj" in read.words
    assert (
        "Strumbelj" not in said(two).words
        or not pd.DataFrame(two.uns["classify_shap"]["per_model"]).get("exact", pd.Series([True])).all()
    )


# -- parts of an object ------------------------------------------------------------------------------------------------


def with_knockoffs(adata):
    rng = np.random.default_rng(0)
    adata.var["knockoffs_W"] = rng.normal(size=adata.n_vars)
    adata.var["knockoffs_q"] = np.where(np.arange(adata.n_vars) < 3, 0.05, 1.0)
    adata.uns["knockoffs"] = {
        "params": {"fdr": 0.1, "statistic": "lasso", "n_draws": 2},
        "n_samples": 12,
        "note": "A note of the filter.",
    }
    return adata


def test_knockoffs_only():
    read = said(with_knockoffs(result_studies.expression(("a", "b"), n=12)))
    assert "3 genes are called at a false discovery rate of 0.1: g0, g1 and g2." in read.words
    assert "Candes E" in read.words
    assert "Ren Z, Barber RF" in read.words
    assert "What is missing" not in read.words


def test_knockoffs_stand_beside_the_table(two):
    read = said(with_knockoffs(two.copy()))
    assert "A note of the filter." in read.words
    assert [float(v) for v in read.column("biomarkers", "knockoff_q")].count(0.05) <= 3


@pytest.fixture(scope="module")
def genes_only():
    adata = result_studies.analysed(result_studies.expression(("a", "b"), n=16, p=200), classify=False, explain=False)
    gb.tl.regress_genes(adata, models="ridge", n_splits=3, tune=False, n_jobs=1, progress=False)
    return adata


def test_genes_as_rows(genes_only, tmp_path):
    read, table = said(genes_only), gb.get.gene_table(genes_only)
    rows = table_of(read, "Models of genes")
    assert [row[2].replace("−", "-") for row in rows] == [f"{v:.2f}".replace("-0.00", "0.00") for v in table["r2"]]
    assert "That is arithmetic, not biology" in read.words
    assert "was predicted from other properties of each gene by ridge regression" in read.words
    assert "Can it be predicted?" not in read.words, "a question about samples"
    again = page(gb.report(genes_only, tmp_path / "r.html", key="regress_genes"))
    assert "Genes as rows: can logFC be predicted" in again.words


def test_results_without_the_newer_columns_and_slots(two):
    adata = two.copy()
    old = ["rank", "class", "logFC", "AveExpr", "t", "P.Value", "adj.P.Val", "B", "shap", "shap_rank", "direction"]
    old += ["agreement", "selection_frequency", "n_models"]
    adata.varm["biomarkers"] = adata.varm["biomarkers"][old]
    adata.var = adata.var.drop(columns=[c for c in adata.var if "empirical" in c or c.endswith("_group")])
    kept = {
        k: v
        for k, v in adata.uns["classify"].items()
        if k not in ("discoveries", "stand_ins", "n_effective", "stability", "per_class")
    }
    adata.uns["classify"] = kept
    shap = dict(adata.uns["classify_shap"])
    shap["per_model"] = pd.DataFrame(shap["per_model"])[["model", "unit", "explainer", "genes_used", "max_error"]]
    adata.uns["classify_shap"] = shap
    read = said(adata)
    assert read.column("biomarkers", "gene")[0] == gb.get.biomarkers(two).index[0]
    assert "Not computed: no permuted targets were run for single genes." in read.words


def test_groups_of_genes(two):
    adata = two.copy()
    adata.X[:, 1] = adata.X[:, 0] + 0.01 * np.random.default_rng(0).normal(size=adata.n_obs)
    result_studies.analysed(adata, de=False, models="logistic", n_permutations=0, n_repeats=1)
    gb.tl.gene_groups(adata)
    read, table = said(adata), gb.get.gene_groups(adata)
    rows = table_of(read, "Groups of genes")
    assert len(table) >= 1
    assert [row[1] for row in rows] == list(table["leader"])
    assert {"g0", "g1"} <= set(rows[0][3].split(", "))
    assert "every two genes of a group are correlated by 0.7 or more" in read.words
    assert "complete linkage" in read.words


def test_gene_sets(two):
    adata = two.copy()
    sets = {"carries the signal": [f"g{i}" for i in range(12)], "=none <b>": [f"g{i}" for i in range(60, 75)]}
    gb.tl.gene_sets(adata, sets)
    read, table = said(adata), gb.get.gene_sets(adata)
    rows = table_of(read, "Gene sets")
    assert [row[0] for row in rows] == list(table["set"])
    assert [row[-2] for row in rows] == [words.p_value(p) for p in table["adj.P.Val"]]
    n = int((table["adj.P.Val"] <= 0.05).sum())
    assert f"2 gene sets looked at; {n} move" in read.words
    assert "Wu D, Smyth GK (2012)" in read.words


def test_the_same_page_from_the_object_and_from_its_h5ad_with_all_parts(two, genes_only, tmp_path):
    adata = with_knockoffs(two.copy())
    gb.tl.gene_groups(adata)
    gb.tl.gene_sets(adata, {"a": [f"g{i}" for i in range(12)]})
    gb.tl.biomarkers(adata)
    gb.tl.regress_genes(adata, models="ridge", n_splits=3, tune=False, n_jobs=1, progress=False)
    made = []
    for again in (False, True):
        if again:
            adata.write_h5ad(tmp_path / "a.h5ad")
            adata = ad.read_h5ad(tmp_path / "a.h5ad")
        made.append(render(gather(adata, Keys(), None) | {"figures": placed({})}))
    assert made[0] == made[1]


def test_the_learning_curve_is_told_in_words(two):
    adata, best = two.copy(), gb.get.params(two)["best"]
    rows = [(best, 0.5, 10, "balanced_accuracy", 0.61), (best, 1.0, 20, "balanced_accuracy", 0.83)]
    table = pd.DataFrame(rows, columns=["model", "fraction", "n_train", "metric", "value"])
    assert "samples would help" not in said(adata).words
    adata.uns["classify_learning_curve"] = {"table": table, "metric": "balanced_accuracy", "n_repeats": 2}
    text = said(adata).words
    assert ": 0.61 when it learned from 10 samples, 0.83 from 20." in text
    assert "Figueroa RL" in text
    assert "The learning curve shows what more would bring." in text


def test_a_long_list_of_names_is_cut_and_counted():
    table = pd.DataFrame(
        {"genes": [", ".join(f"g{i}" for i in range(20))], "n": [20], "p_value": [1e-5], "toward": ["ill"]}
    )
    spec = {
        "n": ("Genes", "whole"),
        "genes": ("Which", "names"),
        "p_value": ("p", "p"),
        "toward": ("For", "text"),
        "no": ("No", "text"),
    }
    made = evidence.plain(table, spec)
    assert made["rows"] == [["20", "g0, g1, g2, g3, g4, g5, g6, g7 and 12 more", "1.0e-05", "ill"]]
    assert [h["text"] for h in made["heads"]] == ["Genes", "Which", "p", "For"]


# -- checklist and methods ---------------------------------------------------------------------------------------------


def items(read) -> dict[str, tuple[str, str]]:
    return {row[1]: (row[2], row[3]) for row in [[t for t, _ in r] for r in read.tables["checklist-table"][1:]]}


def test_the_checklist_follows_what_was_run(two, models):
    plain, rich = items(said(two)), items(said(models))
    assert set(plain) == {what for _, what, _ in checklist.ITEMS.values()}
    assert plain["Tests"][0] == "partly", "12 permutations cannot tell"
    assert items(said(changed(two, params={"n_permutations": 0})))["Tests"][0] == "not done"
    assert items(said(changed(two, params={"n_permutations": 99})))["Tests"][0] == "done"
    assert plain["Dependent or repeated samples"][0] == "partly"
    assert rich["Dependent or repeated samples"] == (
        "done",
        "All samples of one donor lie on one side. The audit found no copies.",
    )
    assert "covariates alone" in rich["Against what it is compared"][1]
    assert rich["Which genes the models rely on"][0] == "not done"
    assert plain["Tried on samples from elsewhere"][0] == "not done"
    assert items(said(changed(models, params={"test_set": "x"})))["Tried on samples from elsewhere"][0] == "partly"
    assert plain["For whom the claim is made, and why for them"][0] == "for the authors"


def test_the_states_are_counted(two):
    read = said(two)
    states = [state for state, _ in items(read).values()]
    for kind in set(states):
        assert f"{states.count(kind)} {kind}" in read.words
    assert "Kapoor S et al. (2024) REFORMS" in read.words
    assert "Collins GS et al. (2024) TRIPOD+AI" in read.words


def test_a_regression_has_no_items_on_classes():
    adata = result_studies.numbers()
    found = items(said(adata, model="regress"))
    assert "Unequal classes" not in found
    assert "Calibration of probabilities" not in found
    assert len(found) == len(checklist.ITEMS) - 2


@pytest.mark.parametrize(
    ("entry", "value", "reference"),
    [
        ("treat_lfc", 1.0, "McCarthy DJ"),
        ("voom", True, "Law CW"),
        ("voom", True, "Robinson MD, Oshlack A"),
        ("quality_weights", True, "Ritchie ME et al. (2006)"),
        ("block", "donor", "Smyth GK, Michaud J"),
        ("robust", True, "Phipson B et al. (2016)"),
    ],
)
def test_limma_options_bring_their_reference(two, entry, value, reference):
    assert reference not in said(two).words
    assert reference in said(changed(two, "limma", **{entry: value})).words


def test_methods_say_how_counts_were_weighted_and_what_was_tested(two):
    how = {"voom": True, "quality_weights": True, "normalize": "RLE", "kind": "F"}
    text = said(changed(two, "limma", **how, block="donor", correlation=0.25, correlation_estimated=False)).words
    assert "(moderated F statistics over the contrasts) of counts with precision weights and weights of samples" in text
    assert "library sizes normalised by RLE, samples of one donor taken as correlated by 0.25, which was given;" in text
    text = said(
        changed(two, "limma", quality_weights=True, block="donor", correlation=-0.034, correlation_estimated=True)
    ).words
    assert "(moderated t statistics), samples weighted by their quality (arrayWeights)" in text
    assert "correlated by -0.034 (duplicateCorrelation); p-values" in text


@pytest.mark.parametrize(
    ("model", "reference"),
    [
        ("lasso", "Tibshirani R (1996)"),
        ("svm", "Cortes C"),
        ("knn", "Cover T"),
        ("xgboost", "Chen T"),
        ("elastic_net", "Zou H"),
    ],
)
def test_models_bring_their_reference(two, model, reference):
    assert reference not in said(two).words
    assert reference in said(changed(two, params={"models": [model]})).words


def test_every_reference_can_be_cited():
    """No reference lies unused, none is cited that is not there."""
    source = "".join(
        p.read_text("utf-8") for p in resources.files("geneml_bio.report").iterdir() if p.name.endswith(".py")
    )
    for name in words.REFERENCES:
        assert len(re.findall(rf'"{name}"', source)) >= 2, name


# -- colours -----------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_on_every_ground(theme):
    style = resources.files("geneml_bio.report").joinpath("style.css").read_text("utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", style)
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", blocks[0 if theme == "light" else 1]))
    grounds = {"ink": ("ground", "paper", "hover", "bar", "good", "warn", "bad"), "soft": ("ground", "paper", "hover")}
    grounds |= {"accent": ("ground", "paper", "hover", "warn"), "bad-line": ("paper", "hover")}
    grounds |= {"good-line": ("paper", "hover"), "part": ("paper", "hover")}
    for text, behind in grounds.items():
        for ground in behind:
            a, b = sorted((luminance(colours[text]), luminance(colours[ground])))
            assert (b + 0.05) / (a + 0.05) >= 4.5, (text, ground)


# -- what speaks for what ----------------------------------------------------------------------------------------------


def test_a_set_of_genes_speaks_for_the_side_that_its_direction_says(two):
    adata = two.copy()
    shap = gb.get.shap(adata)
    more, less = (list(shap.index[shap["direction"] == way][:6]) for way in (1, -1))
    gb.tl.gene_sets(adata, {"up": more, "down": less, "both": more[:4] + less[:4]}, min_size=2)
    rows = {row[0]: row for row in table_of(said(adata), "Gene sets")}
    assert {name: row[5] for name, row in rows.items()} == {"up": "ill", "down": "healthy", "both": "mixed"}
    assert dict(gb.get.gene_sets(adata).set_index("set")["toward"]) == dict.fromkeys(rows, "ill")


def test_of_many_classes_each_gene_speaks_for_or_against_the_one_it_moves_most(four):
    read, classes = said(four), ["B", "T/NK", "$m$", "<b>x</b>"]
    values = {name: abs(gb.get.shap_values(four, output=name)).mean(axis=0).A1 for name in classes}
    for gene, words_ in zip(read.column("biomarkers", "gene"), read.column("biomarkers", "direction"), strict=True):
        at = four.var_names.get_loc(gene)
        if not any(size[at] for size in values.values()):
            assert words_ == "–"
            continue
        most = max(classes, key=lambda name: values[name][at])
        layer = np.asarray(gb.get.shap_values(four, output=most)[:, [at]].todense()).ravel()
        used = layer != 0
        rising = np.corrcoef(four.X[used, at], layer[used])[0, 1] > 0
        assert words_ == (most if rising else f"against {most}")


def test_captions_are_those_of_the_figures(four, two):
    joint = "a joint test of several effects"
    assert joint not in captions_for(four, Keys())["evidence"]  # its contrast has a direction
    adata = two.copy()
    assert "within the folds" in captions_for(adata, Keys())["stability"]
    adata.uns["limma"]["kind"] = "F"
    adata.uns["classify"]["screens"] = pd.DataFrame(
        {"repeat": [0, 0], "fold": [0, 1], "feature": ["g0", "g0"], "statistic": [1.0, 2.0]}
    )
    assert joint in captions_for(adata, Keys())["evidence"]
    assert "the same genes" in captions_for(adata, Keys())["stability"]


def test_nothing_is_said_of_a_choice_where_none_was_made(two):
    adata = two.copy()
    assert "were chosen in at least" in said(adata).words
    adata.uns["classify"]["params"]["screen"] = "200"
    folds = gb.get.folds(adata)[["repeat", "fold"]].drop_duplicates()
    adata.uns["classify"]["screens"] = folds.merge(
        pd.DataFrame({"feature": adata.var_names, "statistic": 1.0}), how="cross"
    )
    read = said(adata)
    assert "were chosen in at least" not in read.words
    assert "all 120 genes were kept" in read.words
    assert "Every fold was given the same genes" in read.words
