"""The text on results says what the frames say; the pages of the workflows run as they stand."""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import geneml_bio as gb
from geneml_bio.core.calibration import share_interval, wilson

DOCS = Path(__file__).parents[1] / "docs"
sys.path.insert(0, str(Path(__file__).parent / "pl"))
import result_studies  # noqa: E402

FAST = {"n_splits": 3, "n_repeats": 1, "tune": False, "n_jobs": 1, "progress": False, "screen": 20}


def study(n: int = 30, effect: float = 2.0, **columns: object):
    adata = result_studies.expression(("a", "b"), n=n, p=30, effect=effect)
    for name, values in columns.items():
        adata.obs[name] = values
    return adata


def classified(adata, **asked):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        gb.tl.classify(adata, "dx", **(FAST | {"models": "logistic"} | asked))
    return adata


def test_test_set_in_words():
    adata = classified(study(40), models=["logistic", "knn"], test_size=0.25)
    text = gb.summary(adata)
    best = gb.get.params(adata)["best"]
    scores = gb.get.metrics(adata, test=True).set_index(["model", "metric"])
    for model in ("logistic", "knn"):
        assert f"{scores.loc[(model, 'accuracy'), 'value']:.2f}" in re.search(rf"\n  {model} +(.*)", text).group(1)
    counts = gb.get.confusion(adata, test=True)
    block = text[text.index(f"{best}: observed (rows)") :].splitlines()[2:4]
    np.testing.assert_array_equal([[float(v) for v in line.split()[1:]] for line in block], counts)
    hits = int(np.trace(counts))
    low, high = wilson(np.array([hits]), np.array([10]))
    assert f"{hits} of 10 right goes with any true accuracy from {low[0]:.2f} to {high[0]:.2f}" in text
    report = gb.get.per_class(adata).query("model == @best and set == 'test'")
    row = report.iloc[1]
    assert re.search(rf"\n +b +{row['precision']:.2f} +{row['recall']:.2f} +{row['f1']:.2f} +{row['n']}\n", text)
    assert "Cross-validation of the other samples (1 x 3 folds" in text
    assert f"holds out each of {30} samples" in text


def test_a_test_set_of_few_donors_is_worth_few_samples():
    adata = study(60, donor=np.repeat([f"d{i}" for i in range(12)], 5))
    adata.obs["dx"] = adata.obs["dx"].cat.codes.groupby(adata.obs["donor"]).transform("first").map({0: "a", 1: "b"})
    classified(adata, groups="donor", test_size=0.35)
    made = gb.get.predictions(adata, test=True)
    right = (made["observed"].astype(str) == made["predicted"].astype(str)).to_numpy()
    donors = adata.obs["donor"].astype(str)[made["sample"].astype(str)].to_numpy()
    low, high = share_interval(right, donors)
    said = f"{right.sum()} of {len(made)} right"
    assert (
        f"{said}, of {len(set(donors))} donors, goes with any true accuracy from {low:.2f} to {high:.2f}"
        in gb.summary(adata)
    )
    (few,), (many,) = wilson(np.array([right.sum()]), np.array([len(right)]))
    assert high - low > many - few
    row = (
        gb.get.metrics(adata, test=True).set_index(["model", "metric"]).loc[(gb.get.params(adata)["best"], "accuracy")]
    )
    assert (row["low"], row["high"]) == pytest.approx((low, high))  # the table says the same
    del adata.obs["donor"]  # how many donors there were cannot be told any more; what they are worth was stored
    assert f"{said} goes with any true accuracy from {low:.2f} to {high:.2f}" in gb.summary(adata)


def test_models_that_differ_are_named_and_others_are_not():
    adata = classified(study(), models=["logistic", "knn"])
    table = gb.get.comparisons(adata)
    assert "No model is shown to be better than another." in gb.summary(adata)
    own = table["metric"] == "balanced_accuracy"
    table.loc[own, ["difference", "low", "high", "adj.P.Val"]] = [-0.3, -0.5, -0.1, 0.004]
    adata.uns["classify"]["comparisons"] = table
    assert "knn is better than logistic by 0.30 [0.10, 0.50], p = 0.004" in gb.summary(adata)


def test_donors_covariates_batches_and_missing_targets():
    adata = study(
        32,
        donor=np.arange(32) // 2,
        plate=np.array(["x", "y", "z"])[np.arange(32) % 3],
        sex=np.tile(["f", "m", "m", "f"], 8),
    )
    adata.obs.loc[adata.obs_names[:2], "dx"] = np.nan
    classified(adata, groups="donor", covariates="sex")
    text = gb.summary(adata)
    assert "b against a: 30 samples (15 a, 15 b), 30 genes" in text
    assert "2 of 32 samples took no part" in text
    assert "Effective n: 15. The 30 samples that are cross-validated come from 15 donors" in text
    assert "(1 x 3 folds by donor, 95 % intervals; no permuted targets were run (n_permutations=0))" in text
    row = gb.get.comparisons(adata).query(
        "metric == 'balanced_accuracy' and model_a == 'genes + covariates' and model_b == 'covariates only'"
    )
    assert f"The genes add {row['difference'].iloc[0]:.2f}" in text
    assert "groups=" not in text
    classified(adata, batch="plate", cv="leave_one_batch_out", n_splits=5)
    assert "each plate left out in turn" in gb.summary(adata)
    assert 'groups="column"' in gb.summary(adata)


@pytest.mark.parametrize(
    ("value", "low", "high", "says"),
    [
        (0.5, 0.3, 0.8, "probabilities are too close to 0 and 1"),
        (2.5, 1.4, 4.0, "probabilities are too cautious"),
        (1.3, 0.6, 2.0, "no departure is shown"),
        (1.3, np.nan, np.nan, "(best: 1 and 0)."),
    ],
)
def test_calibration_in_words(two, value, low, high, says):
    adata = two.copy()
    table = adata.uns["classify"]["metrics"]
    table.loc[table["metric"] == "calibration_slope", ["value", "low", "high"]] = [value, low, high]
    assert says in gb.summary(adata)


@pytest.fixture(scope="module")
def two():
    return classified(study(effect=1.0))


def test_scores_that_are_not_defined_are_dashes(two):
    adata = two.copy()
    table = adata.uns["classify"]["metrics"]
    table.loc[table["metric"] == "calibration_slope", "value"] = np.nan
    table.loc[table["metric"] == "roc_auc", ["value", "low", "high"]] = np.nan
    table["n_folds_undefined"] = 2
    text = gb.summary(adata)
    assert "Calibration" not in text
    assert "nan" not in text
    assert "2 folds held out no sample of one of the classes" in text


def test_training_in_words(two):
    framed = result_studies.with_frames(two)
    mean = gb.get.history(framed).groupby("epoch")["val_loss"].mean()
    text = gb.summary(framed)
    assert f"lowest ({mean.min():.3f}) in epoch {mean.idxmin()}" in text
    assert f"by heart after epoch {mean.idxmin()}" in text


def test_what_to_do_next_follows_from_what_was_found(two):
    assert "gb.run(adata, 'dx')" in gb.summary(two) or "Nothing was shown" in gb.summary(two)
    chance = classified(study(effect=0.0), n_permutations=2)
    text = gb.summary(chance)
    assert "! Not shown to be better than chance" in text
    assert "Nothing was shown to be predicted" in text
    assert "gb.tl.explain" not in text
    assert "2 permuted targets cannot give a p below 0.33" in text
    assert "Next" not in gb.summary(chance, next_steps=False)


def test_names_of_any_kind_stay_in_their_line():
    adata = result_studies.expression(("a\nb", "_x_" * 30), n=24, p=30)
    classified(adata, models={"my\tmodel " * 6: "logistic"}, test_size=0.25)
    lines = gb.summary(adata).splitlines()
    assert max(map(len, lines)) < 200
    assert not any(line.startswith("b ") for line in lines)


# -- pages -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["classify.md", "network.md"])
def test_the_python_of_the_page_runs(page, tmp_path, monkeypatch):
    golub = gb.datasets.golub()[:, :60]
    table = golub.to_df()
    table["target"] = golub.obs["class"].astype(str)
    table.to_csv(tmp_path / "gene_expression.csv")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    assert blocks
    short = "test_size=0.2, n_repeats=1, n_splits=2, n_jobs=1, progress=False"
    code = "\n".join(blocks).replace("n_permutations=20", "n_permutations=1").replace("test_size=0.2", short)
    code = code.replace("n_repeats=1, key_added", "n_repeats=1, n_splits=2, n_jobs=1, progress=False, key_added")
    from matplotlib import pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        exec(compile(code, page, "exec"), {})
    plt.close("all")


@pytest.mark.parametrize("page", ["classify.md", "network.md"])
def test_the_commands_and_options_of_the_page_are_there(page):
    from geneml_bio.cli import _parser

    text = (DOCS / page).read_text(encoding="utf-8")
    for command in re.findall(r"^geneml-bio (classify .*)$", text, flags=re.M):
        assert _parser().parse_args(command.split()).target == "target"
    verb = _parser()._subparsers._group_actions[0].choices["classify"]
    known = {option for action in verb._actions for option in action.option_strings}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known


def test_the_numbers_of_the_page_are_those_of_golub():
    adata = gb.datasets.golub()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        asked = {"test_size": 0.2, "n_repeats": 1, "n_splits": 2, "progress": False, "n_jobs": 1}
        gb.tl.classify(adata, "class", models="random_forest", **asked)
    said = re.search(r"```text\n(.*?)```", (DOCS / "classify.md").read_text(encoding="utf-8"), flags=re.S).group(1)
    text = gb.summary(adata)
    for line in said.splitlines():
        assert line in text, line
