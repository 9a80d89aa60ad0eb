"""``geneml-bio classify | regress`` on tables as people have them: files, words, refusals."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

import geneml_bio as gb
from geneml_bio import cli
from geneml_bio.bridge.sample_columns import set_aside
from geneml_bio.cli_models import read_samples
from geneml_bio.cli_words import in_options

FAST = ["--splits", "3", "--repeats", "1", "--permutations", "2", "--no-tune", "--jobs", "1"]


def table(n: int = 30, p: int = 6, classes: tuple[object, ...] = ("ill", "well"), seed: int = 0) -> pd.DataFrame:
    """Samples by genes with a column target; the first three genes differ."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % len(classes)
    X = rng.normal(7, 1, (n, p))
    X[:, :3] += 1.5 * y[:, None]
    frame = pd.DataFrame(X.round(4), index=[f"s{i}" for i in range(n)], columns=[f"g{j}" for j in range(p)])
    frame["target"] = [classes[k] for k in y]
    return frame


def asked(folder: Path, frame: pd.DataFrame, *more: str, verb: str = "classify", index: bool = True) -> list[str]:
    frame.to_csv(folder / "gene_expression.csv", index=index)
    fast = [] if "--permutations" in more else FAST
    out = ["--out", str(folder / "out")]
    target = [] if "--target" in more else ["--target", "target"]
    return [verb, str(folder / "gene_expression.csv"), *target, *out, *fast, *more]


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    """Workflow 1 on a small table; its folder, its text."""
    folder = tmp_path_factory.mktemp("forest")
    frame = table(classes=("=ill", "well"))
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("sys.stdout.write", said.append)
        status = cli.main(
            asked(
                folder, frame, "--model", "random_forest", "--test-size", "0.2", "--save-model", str(folder / "model")
            )
        )
    assert status == 0
    return folder, "".join(said)


def test_the_files_hold_what_the_predictions_say(forest):
    folder, _ = forest
    out = folder / "out"
    names = {path.name for path in out.iterdir()}
    assert names >= {
        *("results.h5ad", "report.html", "figures", "metrics.csv", "test_metrics.csv", "predictions.csv"),
        *("classification_report.csv", "confusion.csv"),
    }
    assert {"heatmap", "confusion", "confusion_test", "calibration", "roc"} <= {
        p.stem for p in (out / "figures").glob("*.png")
    }
    assert {p.stem for p in (out / "figures").glob("*.png")} == {p.stem for p in (out / "figures").glob("*.pdf")}
    made = pd.read_csv(out / "predictions.csv")
    tested = made[made["set"] == "test"]
    assert len(tested) == tested["sample"].nunique() == 6
    assert not set(tested["sample"]) & set(made.loc[made["set"] == "cv", "sample"])
    scores = pd.read_csv(out / "test_metrics.csv").set_index("metric")["value"]
    assert scores["accuracy"] == pytest.approx(accuracy_score(tested["observed"], tested["predicted"]))
    labels = ["'=ill", "well"]  # an apostrophe keeps a spreadsheet from running it
    report = pd.read_csv(out / "classification_report.csv").query("set == 'test'")
    expected = precision_recall_fscore_support(tested["observed"], tested["predicted"], labels=labels, zero_division=0)
    assert list(report["class"]) == labels
    np.testing.assert_allclose(report[["precision", "recall", "f1", "n"]].T, np.array(expected))
    counts = pd.read_csv(out / "confusion.csv").query("set == 'test'").set_index("observed")
    np.testing.assert_array_equal(
        counts.loc[labels, ["predicted =ill", "predicted well"]],
        confusion_matrix(tested["observed"], tested["predicted"], labels=labels),
    )
    stored = ad.read_h5ad(out / "results.h5ad")
    assert (stored.obs["classify_set"] == "test").sum() == 6
    assert gb.get.params(stored)["test_size"] == 0.2


def test_the_summary_sets_the_split_beside_the_cross_validation(forest):
    folder, text = forest
    tested = pd.read_csv(folder / "out" / "predictions.csv").query("set == 'test'")
    right = int((tested["observed"] == tested["predicted"]).sum())
    assert text.startswith("well against =ill: 30 samples (15 =ill, 15 well), 6 genes")
    assert f"One split is judged by 6 samples: {right} of 6 right goes with any true accuracy from" in text
    assert "Quote the cross-validation below; it holds out each of 24 samples" in text
    assert text.index("Test set: 6 of 30 samples") < text.index("Cross-validation of the other samples (1 x 3 folds")
    assert re.search(r"class +precision +recall +f1 +n\n", text)
    assert "--permutations 100" in text
    assert "gb." not in text, "the command line speaks of options"
    assert str(folder / "out" / "report.html") in text


def test_the_model_that_was_saved_predicts_elsewhere(forest):
    folder, _ = forest
    model = gb.load(folder / "model")
    assert sorted(model.classes) == ["=ill", "well"]
    new = table(12, seed=9).drop(columns="target")
    assert (model.predict(new)["predicted"] == np.tile(["=ill", "well"], 6)).mean() > 0.7


def test_a_network_has_a_history_and_its_figures(tmp_path, capsys):
    assert cli.main(asked(tmp_path, table(), "--model", "mlp", "--test-size", "6", "--screen", "all")) == 0
    history = pd.read_csv(tmp_path / "out" / "history.csv")
    assert len(history) == 4 * 50  # three folds and the fit that predicted the test set
    assert set(history["repeat"]) == {0, -1}
    assert {"loss", "val_loss", "accuracy", "val_accuracy"} <= set(history)
    assert {"history", "history_score"} <= {p.stem for p in (tmp_path / "out" / "figures").glob("*.png")}
    assert "Training of mlp (50 epochs, mean of 4 fits)" in capsys.readouterr().out
    assert "How the network learned" in (tmp_path / "out" / "report.html").read_text()


def test_several_models_covariates_donors_and_batches(tmp_path, capsys):
    frame = table(36)
    frame.insert(0, "donor", np.arange(36) // 2)  # a number, as in many tables
    frame.insert(3, "plate", np.tile([1, 2, 3], 12))
    frame["sex"] = np.tile(["f", "m", "m", "f"], 9)
    more = ["--models", "logistic", "knn", "--groups", "donor", "--batch", "plate", "--covariates", "sex"]
    assert cli.main(asked(tmp_path, frame, *more, "--class-weight", "ill=2", "well=1")) == 2  # knn takes no weights
    assert "class" in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "nothing is left of what was refused"
    assert cli.main(asked(tmp_path, frame, *more)) == 0
    shown = capsys.readouterr()
    assert "36 samples (18 ill, 18 well), 6 genes" in shown.out
    assert "Effective n: 18. The 36 samples that are cross-validated come from 18 donors" in shown.out
    assert "Taken for genes" not in shown.err
    assert "Covariates (sex; balanced accuracy, linear models)" in shown.out
    assert "The genes add" in shown.out
    assert "Model against model" in shown.out
    assert "--groups donor --batch plate --covariates sex" in shown.out
    pairs = pd.read_csv(tmp_path / "out" / "comparisons.csv")
    assert {"logistic", "knn", "covariates only", "genes + covariates"} <= {*pairs["model_a"], *pairs["model_b"]}


def test_a_number_is_regressed(tmp_path, capsys):
    frame = table()
    frame["target"] = frame["g0"] * 3 + np.random.default_rng(1).normal(size=30)
    assert cli.main(asked(tmp_path, frame, "--model", "ridge", "--test-size", "0.2", verb="regress")) == 0
    text = capsys.readouterr().out
    assert text.startswith("target: regression in 30 samples, 6 genes")
    assert "R2" in text
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"metrics.csv", "test_metrics.csv"} <= names
    assert "confusion.csv" not in names
    assert {"predicted", "predicted_test", "heatmap"} <= {p.stem for p in (tmp_path / "out" / "figures").glob("*.png")}


def read(argv: list[str]) -> ad.AnnData:
    """What the verb reads."""
    return read_samples(cli._parser().parse_args(argv))


@pytest.mark.parametrize(
    ("classes", "shown"), [((0, 1), "1 against 0"), ((0.0, 1.0), "1 against 0"), ((True, False), "True against False")]
)
def test_classes_as_numbers_and_booleans(tmp_path, classes, shown):
    adata = read(asked(tmp_path, table(24, classes=classes)))
    gb.tl.classify(adata, "target", models="logistic", n_splits=2, n_repeats=1, tune=False, n_jobs=1, progress=False)
    assert gb.summary(adata).strip().startswith(f"{shown}: 24 samples (12 ")


@pytest.mark.parametrize("first", ["g0", "target"])
def test_a_table_without_names_of_samples_loses_no_column(tmp_path, first):
    frame = table(24)
    frame = frame[[first, *(name for name in frame if name != first)]]
    with pytest.warns(gb.errors.DataWarning, match=f"'{first}', holds values and no names of samples"):
        got = read(asked(tmp_path, frame, index=False))
    assert got.shape == (24, 6)
    assert list(got.obs_names) == [str(i) for i in range(1, 25)]
    assert list(got.obs["target"].astype(str)) == list(frame["target"])
    np.testing.assert_array_equal(got[:, "g0"].X.ravel(), frame["g0"])


def test_which_first_columns_are_names(tmp_path):
    def kept(frame: pd.DataFrame, **how: object) -> ad.AnnData:
        frame.to_csv(tmp_path / "x.csv", **how)
        return gb.read.expression(tmp_path / "x.csv", target="target")

    frame = table(6, 3)
    for names in (list("abcdef"), range(6), ["01", "02", "03", "04", "05", "06"]):
        got = kept(frame.set_axis(pd.Index(names, name="id"), axis=0))
        assert list(got.obs_names) == [str(name) for name in names]
        assert got.n_vars == 3
    with pytest.warns(gb.errors.DataWarning, match="'g0', holds values"):
        bare = kept(frame, index=False)
    np.testing.assert_array_equal(bare.X, frame[["g0", "g1", "g2"]])
    frame.insert(0, "patient", ["p1", "p1", "p2", "p2", "p3", "p3"])
    with pytest.warns(gb.errors.DataWarning, match="'patient', holds values"):
        donors = kept(frame, index=False)
    assert list(donors.obs["patient"].astype(str)) == list(frame["patient"])
    with pytest.warns(gb.errors.DataWarning, match="holds values"):
        comma = kept(frame.drop(columns="patient"), index=False, sep=";", decimal=",")
    np.testing.assert_array_equal(comma.X, bare.X)


def test_columns_named_by_options_are_no_genes(tmp_path):
    frame = table(6, 3)
    frame.insert(1, "batch", [1, 2, 1, 2, 1, 2])
    frame.insert(2, "age", [20.5, 30, 40, 50, 60, 70])
    frame.to_csv(tmp_path / "x.csv")
    with pytest.warns(gb.errors.DataWarning, match=r"Taken for genes.*'batch', 'age'"):
        whole = gb.read.expression(tmp_path / "x.csv", target="target")
    with warnings.catch_warnings():
        warnings.simplefilter("error", gb.errors.DataWarning)
        read = gb.read.expression(tmp_path / "x.csv", target="target", obs=["batch", "age", "target"])
    assert list(read.var_names) == ["g0", "g1", "g2"]
    assert list(read.obs["age"]) == list(frame["age"])
    with pytest.raises(gb.errors.ColumnNotFoundError, match="names 'bach'"):
        gb.read.expression(tmp_path / "x.csv", target="target", obs="bach")
    moved = set_aside(whole, ["batch", "age", "target", "nothing"])
    assert list(moved.var_names) == ["g0", "g1", "g2"]
    assert list(moved.obs["batch"]) == [1, 2, 1, 2, 1, 2]
    assert list(moved.obs["age"]) == list(frame["age"])
    np.testing.assert_array_equal(moved.X, frame[["g0", "g1", "g2"]])
    assert list(whole.var_names) == ["g0", "batch", "age", "g1", "g2"], "the object given is left alone"
    own = ad.AnnData(np.ones((2, 1)), var=pd.DataFrame(index=["batch"]))
    assert set_aside(own, ["batch"]) is own, "in an .h5ad genes are genes"


def test_columns_that_describe_samples_are_asked_about(tmp_path):
    frame = table(24)
    frame["Age"], frame["AGER"] = np.arange(24) + 0.5, 1.5
    with pytest.warns(gb.errors.DataWarning, match="describe the samples: 'Age'[.] Say"):
        read(asked(tmp_path, frame))
    with warnings.catch_warnings():
        warnings.simplefilter("error", gb.errors.DataWarning)
        assert "Age" in read(asked(tmp_path, frame, "--covariates", "Age")).obs
        assert "Age" in read(asked(tmp_path, frame, "--obs", "Age")).obs
    with pytest.raises(gb.errors.ColumnNotFoundError, match="Did you mean 'Age'"):
        read(asked(tmp_path, frame, "--obs", "Agee"))


def _rare(n: int) -> pd.DataFrame:
    frame = table()
    frame.iloc[:n, -1] = "rare"
    return frame


REFUSED = [
    (lambda: table(), ["--target", "Target"], "Did you mean 'target'"),
    (lambda: table(), ["--model", "randomforest"], "Did you mean 'random_forest'"),
    (lambda: table(), ["--test-size", "1.5"], "--test-size must be"),
    (lambda: table(), ["--test-size", "0.2", "--test-set", "g0"], "not both"),
    (lambda: table(), ["--groups", "donnor"], "--groups"),
    (lambda: table(), ["--class-weight", "ill=2"], "--class-weight must be"),
    (lambda: table(), ["--cv", "leave-one-batch-out"], "--batch"),
    (lambda: table().assign(target=np.arange(30) / 7), [], "`geneml-bio regress`"),
    (lambda: _rare(1), [], "fewer than --splits 3"),
    (lambda: _rare(1), ["--test-size", "0.2"], "one sample"),
    (lambda: table().assign(target="ill"), [], "class"),
]


@pytest.mark.parametrize(("frame", "more", "says"), REFUSED, ids=[says for _, _, says in REFUSED])
def test_refusals_in_a_line_and_in_options(tmp_path, capsys, frame, more, says):
    given = asked(tmp_path, frame(), *more)
    assert cli.main(given if "--model" in more else [*given, "--model", "logistic"]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert "Traceback" not in shown.err
    assert not re.search(r"\b(gb\.|n_splits|test_size|test_set|class_weight=)", shown.err), shown.err
    assert shown.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--test-size", "many"], "a share such as 0.2"),
        (["--class-weight", "ill"], "CLASS=WEIGHT"),
        (["--screen", "0"], "a number of genes, or all"),
        (["--cv", "loo"], "invalid choice"),
    ],
)
def test_options_that_make_no_sense(tmp_path, capsys, more, says):
    with pytest.raises(SystemExit) as stop:
        cli.main(asked(tmp_path, table(), *more))
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "known", "text"),
    [
        ("n_splits must be 2 or more", {"splits"}, "--splits must be 2 or more"),
        ("use another test_size, or none.", {"test_size"}, "use another --test-size, or none."),
        ("column 'test_size' is", {"test_size"}, "column 'test_size' is"),
        ("for a continuous target use gb.tl.regress.", {"task"}, "for a continuous target use --task regression."),
        ("for classes use gb.tl.classify.", set(), "for classes use `geneml-bio classify`."),
        ("works too: no", {"models"}, "works too: no"),
    ],
)
def test_arguments_become_options(said, known, text):
    assert in_options(said, known) == text


def test_quiet_says_where_the_report_is(tmp_path, capsys):
    assert cli.main(asked(tmp_path, table(24), "--model", "logistic", "--quiet")) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'out' / 'report.html'}\n"
    assert shown.err == ""
