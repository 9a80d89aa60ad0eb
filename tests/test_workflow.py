"""The main job in one call, from Python and from the command line."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb
from geneml_bio import cli
from geneml_bio.workflow import neutralised, prepare_folder, summary

FAST = {"n_splits": 3, "n_repeats": 1, "screen": 30, "n_jobs": 1}


@pytest.fixture(scope="module")
def golub():
    return gb.datasets.golub()


@pytest.fixture(scope="module")
def done(golub, tmp_path_factory):
    """Golub through the whole job, with files."""
    out = tmp_path_factory.mktemp("run")
    before = golub.copy()
    result = gb.run(golub, "class", n_permutations=3, out=out, progress=False, engine="native", **FAST)
    assert list(golub.obs.columns) == list(before.obs.columns)  # the caller's object is not changed
    assert list(golub.var.columns) == list(before.var.columns)
    assert set(golub.uns) == set(before.uns)
    return result, out


def test_everything_is_on_the_object_and_in_the_files(done):
    adata, out = done
    for what in (
        gb.get.de,
        gb.get.metrics,
        gb.get.predictions,
        gb.get.shap,
        gb.get.biomarkers,
        gb.get.null,
        gb.get.audit,
    ):
        assert len(what(adata))
    assert {p.name for p in out.iterdir()} >= {
        "results.h5ad",
        "biomarkers.csv",
        "metrics.csv",
        "report.html",
        "figures",
    }
    assert {"volcano", "roc", "confusion", "shap", "stability"} <= {p.stem for p in (out / "figures").glob("*.png")}
    table = pd.read_csv(out / "biomarkers.csv", index_col=0)
    pd.testing.assert_index_equal(table.index, gb.get.biomarkers(adata).index, check_names=False, exact=False)
    np.testing.assert_allclose(table["logFC"], gb.get.biomarkers(adata)["logFC"])
    again = ad.read_h5ad(out / "results.h5ad")
    pd.testing.assert_frame_equal(gb.get.metrics(again), gb.get.metrics(adata))


def test_the_summary_says_the_study_the_scores_the_null_and_the_genes(done):
    adata, out = done
    text = summary(adata, files=[out / "report.html"])
    assert "AML against ALL: 38 samples (27 ALL, 11 AML), 3,051 genes" in text
    score = gb.get.metrics(adata).set_index(["model", "metric"]).loc[("logistic", "balanced_accuracy")]
    assert f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]" in text
    assert "null: 3 permuted targets" in text
    assert gb.get.biomarkers(adata).index[0] in text
    assert str(out / "report.html") in text
    assert "Above chance by its interval" in text


def test_a_table_can_be_brought_instead_of_running_limma(golub, tmp_path):
    de = gb.tl.limma(golub.copy(), "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    de.frame.to_csv(tmp_path / "top.csv")
    for source in (de, tmp_path / "top.csv"):
        adata = gb.run(golub, "class", de=source, models=["logistic"], n_permutations=0, progress=False, **FAST)
        np.testing.assert_allclose(gb.get.de(adata)["t"], de.frame.loc[gb.get.de(adata).index, "t"])


def test_views_missing_targets_reference_and_batches(golub):
    adata = golub[5:].copy()
    labels = adata.obs["class"].astype(object)
    labels.iloc[0] = None
    adata.obs["odd name"] = labels
    adata.obs["site"] = np.tile(["x", "y"], 17)[:33]
    with pytest.warns(gb.errors.DataWarning, match="1 of 33"):
        got = gb.run(
            adata[:, :500],
            "odd name",
            batch="site",
            reference="AML",
            models=["logistic"],
            n_permutations=0,
            progress=False,
            engine="native",
            **FAST,
        )
    assert got.shape == (32, 500)
    assert gb.get.params(got)["classes"] == ["AML", "ALL"]
    assert "site" in got.uns["limma"]["design"]


def test_a_number_is_regressed_and_three_classes_give_f(golub):
    adata = golub.copy()
    adata.obs["dose"] = adata.X[:, 7] * 2 + np.random.default_rng(0).normal(scale=0.3, size=38)
    got = gb.run(adata, "dose", models=["ridge"], n_permutations=0, progress=False, engine="native", **FAST)
    assert gb.get.params(got, "regress")["kind"] == "regression"
    assert gb.get.biomarkers(got).index[0] == adata.var_names[7]
    adata.obs["three"] = pd.Categorical(np.tile(["a", "b", "c"], 13)[:38])
    with pytest.warns(gb.errors.AuditWarning, match="Not shown to be better than chance"):
        got = gb.run(adata, "three", models=["logistic"], n_permutations=0, progress=False, engine="native", **FAST)
    assert "limma_F" in got.var
    assert "! Not shown to be better than chance" in summary(got)


def test_formulas_are_neutralised_for_spreadsheets():
    table = pd.DataFrame({"x": [-1.0, 2.0], "s": ["+cmd|' /C calc'!A0", "fine"]}, index=["=1+1", "@SUM(A1)"])
    got = neutralised(table)
    assert list(got.index) == ["'=1+1", "'@SUM(A1)"]
    assert list(got["s"]) == ["'+cmd|' /C calc'!A0", "fine"]
    assert list(got["x"]) == [-1.0, 2.0]


def test_the_command_line_runs_a_file(golub, tmp_path, capsys):
    table = golub[:, :300].to_df()
    table["target"] = golub.obs["class"].astype(str)
    table.to_csv(tmp_path / "expression.csv")
    asked = [
        "run",
        str(tmp_path / "expression.csv"),
        "--target",
        "target",
        "--out",
        str(tmp_path / "out"),
        "--models",
        "logistic",
    ]
    how = [
        "--splits",
        "3",
        "--repeats",
        "1",
        "--permutations",
        "2",
        "--screen",
        "20",
        "--engine",
        "native",
        "--jobs",
        "1",
        "--test-size",
        "0.2",
        "--class-weight",
        "balanced",
    ]
    assert cli.main([*asked, *how]) == 0
    text = capsys.readouterr().out
    assert "AML against ALL: 38 samples" in text
    assert text.index("Test set: 8 of 38 samples") < text.index("Top biomarkers")
    assert gb.get.params(ad.read_h5ad(tmp_path / "out" / "results.h5ad"))["class_weight"] == "balanced"
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv").query("set == 'test'")) == 8
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert cli.main(["report", str(tmp_path / "out" / "results.h5ad"), "--out", str(tmp_path / "again.html")]) == 0
    assert (tmp_path / "again.html").is_file()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "nowhere.h5ad", "--target", "x"], "nowhere.h5ad"),
        (["run", "{csv}", "--target", "clas"], "Did you mean 'class'"),
        (["report", "nowhere.h5ad"], "no file"),
    ],
)
def test_the_command_line_reports_errors_in_a_line(argv, says, golub, tmp_path, capsys):
    table = golub[:, :20].to_df()
    table["class"] = golub.obs["class"].astype(str)
    table.to_csv(tmp_path / "x.csv")
    assert cli.main([part.replace("{csv}", str(tmp_path / "x.csv")) for part in argv]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err


def test_doctor_and_version(capsys):
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for name in ("geneml-bio", "anndata", "scikit-learn", "xgboost", "R"):
        assert name in text
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0


def test_progress_bars_are_shown_and_can_be_silenced(golub, capsys):
    adata = golub[:, :200].copy()
    run = {**FAST, "models": ["logistic"], "n_permutations": 0, "engine": "native"}
    gb.run(adata, "class", progress=False, **run)
    silent = capsys.readouterr()
    assert silent.out == ""
    assert "classify" not in silent.err
    gb.run(adata, "class", progress=True, **run)
    shown = capsys.readouterr()
    assert "Performance on held-out samples" in shown.out
    assert "classify: folds" in shown.err
    assert "classify: SHAP" in shown.err


# script -> a file that it makes, and words that it prints
EXAMPLES = {
    "limma_to_biomarkers.py": ("report.html", "Better than chance"),
    "single_cells.py": ("biomarkers.csv", "look like single cells"),
    "classify_table.py": ("heatmap.png", "Quote the cross-validation below"),
    "network.py": ("history.png", "Training of mlp (50 epochs"),
    "regress_genes.py": ("words.gmt", "arithmetic, not biology"),
    "read_any_table.py": ("edger.csv", "gb.tl.add_de(adata, de, on='gene_id', strip_version=True)"),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(p.name for p in (Path(__file__).parents[1] / "examples").glob("*.py")))
def test_examples_run(script, tmp_path):
    path = Path(__file__).parents[1] / "examples" / script
    made, says = EXAMPLES[script]
    done = subprocess.run(
        [sys.executable, str(path), str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / made).is_file()
    assert says in done.stdout


def test_the_same_run_twice_is_the_same(golub):
    adata = golub[:, :300].copy()
    run = {**FAST, "n_permutations": 2, "progress": False, "engine": "native"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, two = (gb.run(adata, "class", **{**run, "n_jobs": jobs}) for jobs in (1, 2))
    pd.testing.assert_frame_equal(gb.get.metrics(one), gb.get.metrics(two), check_exact=True)
    pd.testing.assert_frame_equal(gb.get.biomarkers(one), gb.get.biomarkers(two), check_exact=True)


RUN = {"models": ["logistic"], "n_permutations": 0, "progress": False, "engine": "native", **FAST}


def test_batches_are_factors_and_left_out_where_they_cannot_be_adjusted(golub):
    adata = golub[:, :100].copy()
    adata.obs["batch"] = np.tile([1, 2, 3], 13)[:38]
    assert list(gb.run(adata, "class", batch="batch", **RUN).uns["limma"]["design_columns"]) == [
        "classALL",
        "classAML",
        "batch2",
        "batch3",
    ]
    adata.obs["batch"] = 1
    assert gb.run(adata, "class", batch="batch", **RUN).uns["limma"]["design"] == "~ 0 + class"
    adata.obs["batch"] = adata.obs["class"].astype(str)
    with pytest.raises(gb.errors.ConfoundingError, match="allow_confounded=True"):
        gb.run(adata, "class", batch="batch", **RUN)
    with pytest.warns(gb.errors.AuditWarning, match="one class only"):
        done = gb.run(adata, "class", batch="batch", allow_confounded=True, **RUN)
    assert done.uns["limma"]["design"] == "~ 0 + class"


def test_samples_of_one_donor_are_not_independent_for_limma(golub, tmp_path):
    adata = golub[:, :100].copy()
    adata.obs["patient"] = np.repeat(np.arange(19), 2)
    with pytest.warns(gb.errors.AuditWarning, match="took the 38 samples as independent, but they come from 19"):
        done = gb.run(adata, "class", groups="patient", out=tmp_path, **RUN)
    assert "19 groups" in summary(done)
    assert "they come from 19 groups" in (tmp_path / "report.html").read_text()


@pytest.mark.r
def test_with_r_the_samples_of_a_donor_are_blocks_of_limma(golub, r_limma):
    adata = golub[:, :100].copy()
    adata.obs["patient"] = np.repeat(np.arange(19), 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        done = gb.run(adata, "class", groups="patient", **{**RUN, "engine": "r"})
    assert not [w for w in caught if "independent" in str(w.message)]
    assert done.uns["limma"]["block"] == "patient"
    alone = gb.tl.limma(adata, "~ 0 + class", contrast=("class", "AML", "ALL"), block="patient", engine="r")
    np.testing.assert_array_equal(gb.get.de(done)["P.Value"], alone.frame.loc[gb.get.de(done).index, "P.Value"])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda obs: obs.insert(0, "when", pd.date_range("2020", periods=38)), "'when'.*h5ad cannot hold"),
        (lambda obs: obs.insert(0, "mixed", [1, "a"] * 19), "anndata cannot write"),
        (lambda obs: obs.insert(0, 5, 1.0), "anndata cannot write"),
    ],
)
def test_an_object_that_cannot_be_written_is_refused_before_the_work(golub, tmp_path, change, says):
    adata = golub[:, :100].copy()
    change(adata.obs)
    with pytest.raises(gb.errors.StorageError, match=says):
        gb.run(adata, "class", out=tmp_path / "out", **RUN)
    assert list((tmp_path / "out").glob("*")) == []


@pytest.mark.parametrize("name", ["", ".", "_index", "model", "a/b%2F", "nan"])
def test_classes_with_awkward_names_survive_the_whole_job(golub, tmp_path, name):
    adata = golub[:, :60].copy()
    adata.obs["y"] = np.where(adata.obs["class"] == "AML", name, "other")
    gb.run(adata, "y", out=tmp_path, **RUN)
    again = ad.read_h5ad(tmp_path / "results.h5ad")
    assert f"prob_{name}" in gb.get.predictions(again)
    assert gb.get.params(again)["classes"] == sorted([name, "other"])


def test_what_is_for_classes_is_refused_for_a_number(golub):
    adata = golub[:, :60].copy()
    adata.obs["dose"] = adata.X[:, 7]
    with pytest.raises(gb.errors.InputError, match="for classes"):
        gb.run(adata, "dose", **{**RUN, "models": ["ridge"]}, calibrate="sigmoid")


def test_a_model_without_an_exact_explainer_is_sampled(golub):
    from sklearn.neighbors import KNeighborsClassifier

    done = gb.run(golub[:, :60].copy(), "class", **{**RUN, "models": {"knn": KNeighborsClassifier()}})
    about = done.uns["classify_shap"]["per_model"].iloc[0]
    assert not about["exact"]
    assert about["sampling_error"] > 0
    assert about["unit"] == "probability"
    assert len(gb.get.biomarkers(done)) == 60


def test_a_part_of_a_table_is_marked_wherever_it_shows(golub, tmp_path):
    adata = golub[:, :300].copy()
    whole = gb.tl.limma(adata.copy(), "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    whole.frame.head(30).to_csv(tmp_path / "top30.csv")
    with pytest.warns(gb.errors.DataWarning, match="30 of 300"):
        done = gb.run(adata, "class", de=tmp_path / "top30.csv", out=tmp_path / "out", **RUN)
    assert (done.uns["limma"]["n_tests"], done.uns["limma"]["n_features"]) == (300, 30)
    table = gb.get.biomarkers(done)
    without = table[table["adj.P.Val"].isna()]
    assert len(without) == 270
    assert set(without["class"]) == {"used, DE unknown", "unstable", ""}
    cautions = done.uns["biomarkers"]["cautions"]
    assert "covers 30 of 300 genes" in cautions
    assert "30 of 300 tested rows" in cautions
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "30 of 300 tested rows" in page
    assert "top30.csv" in page
    for figure in (gb.pl.volcano(done), gb.pl.ma(done)):
        assert "a part: 30 of 300 tested" in [text.get_text() for text in figure.texts]
    rest = gb.pl.volcano(gb.run(adata, "class", de=whole, **RUN))
    assert not [text for text in rest.texts if "a part" in text.get_text()]
    plt.close("all")


def test_without_adjusted_p_values_no_gene_is_called_and_none_is_called_not_de(golub):
    adata = golub[:, :300].copy()
    whole = gb.tl.limma(adata.copy(), "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    with pytest.warns(gb.errors.AuditWarning, match="no adjusted p-values"):
        done = gb.run(adata, "class", de=gb.DETable(whole.frame[["logFC", "P.Value"]]), **RUN)
    assert not set(gb.get.biomarkers(done)["class"]) & {"DE and used", "DE, unused", "used, not DE"}
    _, axes = plt.subplots()
    gb.pl.volcano(done, ax=axes)
    assert "no adjusted p-values" in axes.get_legend().get_texts()[0].get_text()
    with pytest.raises(gb.errors.InputError, match="needs AveExpr"):
        gb.pl.ma(done, ax=axes)
    plt.close("all")


def test_results_of_an_earlier_run_stay_until_there_are_new_ones(tmp_path):
    adata = gb.datasets.simulate(12, 20)
    (tmp_path / "results.h5ad").write_text("of an earlier run")
    prepare_folder(adata, tmp_path)
    assert (tmp_path / "results.h5ad").read_text() == "of an earlier run"
    assert [path.name for path in tmp_path.iterdir()] == ["results.h5ad"]
