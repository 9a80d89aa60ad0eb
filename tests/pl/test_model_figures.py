"""Heatmap, training history, calibration, and the figures of a test set: they draw what the frames say."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy import sparse
from scipy.cluster import hierarchy
from sklearn.metrics import confusion_matrix, roc_auc_score

import geneml_bio as gb
from geneml_bio.core.calibration import wilson
from geneml_bio.pl._all import Keys, draw_all
from geneml_bio.pl._style import colors


@pytest.fixture
def ax():
    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


@pytest.fixture(scope="module")
def framed(two) -> ad.AnnData:
    return result_studies.with_frames(two)


def drawn(ax, gid: str) -> list:
    return ax.findobj(lambda a: a.get_gid() == gid)


def strip(ax, name: str) -> np.ndarray:
    (image,) = [i for child in ax.child_axes for i in child.images if i.get_gid() == f"strip-{name}"]
    return np.asarray(image.get_array())[0]


# -- heatmap -----------------------------------------------------------------------------------------------------------


def order_of(adata: ad.AnnData, model: str) -> list[str]:
    """Samples by class and then by mean held-out probability of the positive class, from the frame."""
    p = gb.get.predictions(adata).query("model == @model").astype({"sample": str, "observed": str})
    mean = p.groupby("sample").agg(observed=("observed", "first"), prob=("prob_ill", "mean"))
    return list(mean.sort_values(["observed", "prob"]).index)  # healthy < ill


def test_heatmap_is_the_standardised_expression_in_order(two, ax):
    gb.pl.heatmap(two, ax=ax, n_genes=12, model="logistic")
    genes = [text.get_text() for text in ax.get_yticklabels()]
    samples = [text.get_text() for text in ax.get_xticklabels()]
    assert sorted(genes) == sorted(gb.get.shap(two).index[:12])
    assert samples == order_of(two, "logistic")
    X = two[samples, genes].X.T
    z = (X - X.mean(axis=1, keepdims=True)) / X.std(axis=1, keepdims=True)
    (image,) = ax.images
    np.testing.assert_allclose(np.asarray(image.get_array()), np.clip(z, -2.5, 2.5))
    assert image.get_clim() == (-2.5, 2.5)
    assert (np.abs(z) > 2.5).any()


def test_strips_say_what_was_observed_predicted_and_missed(two, ax):
    gb.pl.heatmap(two, ax=ax, n_genes=5, model="forest")
    samples = [text.get_text() for text in ax.get_xticklabels()]
    p = gb.get.predictions(two).query("model == 'forest'").astype({"sample": str, "observed": str})
    by = p.groupby("sample").agg(observed=("observed", "first"), prob=("prob_ill", "mean")).loc[samples]
    palette = np.array([to_rgb(c) for c in colors(2)])
    np.testing.assert_allclose(strip(ax, "observed"), palette[(by["observed"] == "ill").astype(int)])
    called = (by["prob"] > 0.5).astype(int).to_numpy()
    near = ((strip(ax, "predicted")[:, None] - palette) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(near, called)
    missed = called != (by["observed"] == "ill").astype(int).to_numpy()
    assert 0 < missed.sum() < 15
    (marks,) = drawn(ax, "missed")
    np.testing.assert_array_equal(marks.get_xdata(), np.flatnonzero(missed))
    titles = [child.get_title(loc="left") for child in ax.child_axes]
    assert f"forest: {missed.sum()} of 30 misclassified by the mean of the repeats" in titles


def test_genes_that_go_together_stand_together(ax):
    rng = np.random.default_rng(3)
    adata = result_studies.expression(("a", "b"), n=24, p=20)
    shape = rng.normal(size=(24, 4))
    adata.X = shape[:, np.arange(20) % 4] + rng.normal(scale=0.05, size=(24, 20))
    result_studies.analysed(adata, de=False, explain=False, n_permutations=0, models="logistic", n_repeats=1)
    gb.pl.heatmap(adata, genes=list(adata.var_names), ax=ax)
    family = np.array([int(text.get_text()[1:]) % 4 for text in ax.get_yticklabels()])
    assert (np.diff(family) != 0).sum() == 3
    z = np.asarray(ax.images[0].get_array())
    assert hierarchy.is_valid_linkage(hierarchy.linkage(z, "average", "correlation"))


def test_default_genes_and_what_is_said_of_them(two, ax):
    gb.pl.heatmap(two, ax=ax)
    assert "The 30 genes of largest mean |SHAP|, chosen with these samples" in ax.get_xlabel()
    bare = two.copy()
    del bare.uns["classify_shap"]
    other = gb.pl.heatmap(bare, n_genes=8, ax=Figure().add_subplot())
    assert "The 8 genes that most folds chose, chosen with these samples" in other.get_xlabel()
    count = gb.get.screens(two)["feature"].astype(str).value_counts()
    shown = [text.get_text() for text in other.get_yticklabels()]
    assert count[shown].min() >= count.drop(shown).max()
    named = gb.pl.heatmap(two, genes=["g3", "g1"], ax=Figure().add_subplot())
    assert sorted(text.get_text() for text in named.get_yticklabels()) == ["g1", "g3"]
    assert "chosen" not in named.get_xlabel()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"genes": ["g0", "g_1"]}, "no gene 'g_1'"),
        ({"genes": []}, "at least one gene"),
        ({"n_genes": 0}, "at least 1"),
        ({"layer": "log"}, "no layer 'log'"),
        ({"model": "forrest"}, "Did you mean 'forest'"),
    ],
)
def test_heatmap_refusals(two, ax, asked, says):
    with pytest.raises(gb.errors.GenemlError, match=says):
        gb.pl.heatmap(two, ax=ax, **asked)


def test_heatmap_takes_sparse_missing_and_constant_values(two):
    adata = two.copy()
    adata.X[:, 0], adata.X[3, 1], adata.X[4, 1] = 7.0, np.nan, np.inf
    dense = gb.pl.heatmap(adata, genes=["g0", "g1", "g2"], ax=Figure().add_subplot())
    adata.X = sparse.csr_matrix(adata.X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        csr = gb.pl.heatmap(adata, genes=["g0", "g1", "g2"], ax=Figure().add_subplot())
    one, two_ = dense.images[0].get_array(), csr.images[0].get_array()
    np.testing.assert_array_equal(one.mask, two_.mask)
    np.testing.assert_allclose(one.filled(9), two_.filled(9))
    rows = [text.get_text() for text in dense.get_yticklabels()]
    assert one.mask.sum() == one.mask[rows.index("g1")].sum() == 2
    np.testing.assert_array_equal(one[rows.index("g0")], 0)


def test_heatmap_of_many_samples_classes_and_numbers(four, numbers, ax):
    gb.pl.heatmap(four, ax=ax, n_genes=6)
    assert [t.get_text() for t in ax.child_axes[0].get_yticklabels()] == ["predicted, held out"]
    assert len(drawn(ax, "class-end")) == 3
    assert len(ax.get_legend().get_texts()) == 4
    other = gb.pl.heatmap(numbers, key="regress", n_genes=6, ax=Figure().add_subplot())
    samples = [text.get_text() for text in other.get_xticklabels()]
    assert list(numbers.obs.loc[samples, "age"]) == sorted(numbers.obs["age"])
    assert other.get_legend().get_title().get_text() == "age"
    many = result_studies.expression(("a", "b"), n=400, p=10)
    result_studies.analysed(many, de=False, explain=False, n_permutations=0, models="logistic", n_repeats=1)
    big = gb.pl.heatmap(many, ax=Figure().add_subplot())
    assert not big.get_xticklabels()
    assert "400 samples" in big.get_xlabel()


def test_heatmap_holds_the_test_set_too(framed, ax):
    adata = framed.copy()
    stored = adata.uns["classify"]
    tested = set(stored["test_predictions"]["sample"].astype(str))
    rest = ~stored["predictions"]["sample"].astype(str).isin(tested)
    stored["predictions"] = stored["predictions"][rest].reset_index(drop=True)
    gb.pl.heatmap(adata, ax=ax, n_genes=4)
    assert {text.get_text() for text in ax.get_xticklabels()} == set(adata.obs_names)


# -- history -----------------------------------------------------------------------------------------------------------


def test_history_draws_folds_mean_and_the_fit_of_the_test_set(framed, ax):
    gb.pl.history(framed, ax=ax)
    table = gb.get.history(framed)
    folds = table[table["repeat"] >= 0]
    for column in ("loss", "val_loss"):
        assert len(drawn(ax, f"fold-{column}")) == 6
        (mean,) = drawn(ax, f"mean-{column}")
        np.testing.assert_allclose(mean.get_ydata(), folds.groupby("epoch")[column].mean())
        (tested,) = drawn(ax, f"test-{column}")
        np.testing.assert_allclose(tested.get_ydata(), table[table["repeat"] == -1][column])
    (line,) = drawn(ax, "lowest")
    assert line.get_xdata()[0] == folds.groupby("epoch")["val_loss"].mean().idxmin()
    assert ax.get_ylabel() == "binary cross-entropy (loss)"
    score = gb.pl.history(framed, metric="accuracy", ax=Figure().add_subplot())
    np.testing.assert_allclose(drawn(score, "mean-accuracy")[0].get_ydata(), folds.groupby("epoch")["accuracy"].mean())


@pytest.mark.parametrize(
    ("asked", "says"), [({"metric": "auc"}, "'loss' or 'accuracy'"), ({"model": "nett"}, "Did you mean 'net'")]
)
def test_history_refusals(framed, two, ax, asked, says):
    with pytest.raises(gb.errors.InputError, match=says):
        gb.pl.history(framed, ax=ax, **asked)
    with pytest.raises(gb.errors.ColumnNotFoundError, match='models="mlp"'):
        gb.pl.history(two, ax=ax)


def test_history_of_one_fit(framed, ax):
    adata = framed.copy()
    table = adata.uns["classify"]["history"]
    adata.uns["classify"]["history"] = table[table["repeat"] == -1].query("epoch <= 1").reset_index(drop=True)
    gb.pl.history(adata, ax=ax)
    assert not drawn(ax, "mean-loss")
    assert drawn(ax, "test-loss")
    ax.figure.canvas.draw()


# -- calibration -------------------------------------------------------------------------------------------------------


def test_calibration_is_the_share_by_bin(two, ax):
    gb.pl.calibration(two, model="forest", ax=ax)
    p = gb.get.predictions(two).query("model == 'forest'").astype({"sample": str, "observed": str})
    by = p.groupby("sample").agg(observed=("observed", "first"), prob=("prob_ill", "mean")).sort_values("prob")
    (curve,) = drawn(ax, "curve")
    x, y = curve.get_data()
    part = pd.qcut(by["prob"].rank(method="first"), len(x), labels=False)
    np.testing.assert_allclose(x, by["prob"].groupby(part).mean())
    hits = (by["observed"] == "ill").groupby(part).agg(["sum", "size"])
    np.testing.assert_allclose(y, hits["sum"] / hits["size"])
    low, high = wilson(hits["sum"].to_numpy(), hits["size"].to_numpy())
    (bars,) = drawn(ax, "interval")
    np.testing.assert_allclose([seg[:, 1] for seg in bars.get_segments()], np.column_stack([low, high]))
    (histogram,) = [child for child in ax.child_axes if drawn(child, "counts")]
    assert sum(bar.get_height() for bar in drawn(histogram, "counts")) == 30
    metrics = gb.get.metrics(two).set_index(["model", "metric"])["value"]
    assert f"slope {metrics['forest', 'calibration_slope']:.2f}" in ax.get_title(loc="left")


def test_calibration_takes_the_samples_of_a_donor_as_one(two, ax):
    adata = two.copy()
    adata.obs["donor"] = (np.arange(adata.n_obs) // 5).astype(str)
    adata.uns["classify"]["params"]["groups"] = "donor"
    gb.pl.calibration(two, ax=ax)
    gb.pl.calibration(adata, ax=(beside := ax.figure.add_subplot()))
    plain, mine = (np.array([seg[:, 1] for seg in drawn(one, "interval")[0].get_segments()]) for one in (ax, beside))
    assert (np.diff(mine)[:, 0] > np.diff(plain)[:, 0]).all()


def test_calibration_of_many_classes_and_of_a_regression(four, numbers, ax):
    gb.pl.calibration(four, ax=ax)
    assert len(drawn(ax, "curve")) == 4
    one = gb.pl.calibration(four, classes="T/NK", ax=Figure().add_subplot())
    assert len(drawn(one, "curve")) == len(drawn(one, "interval")) == 1
    assert "T/NK" in one.get_xlabel()
    with pytest.raises(gb.errors.InputError, match="T/NK"):
        gb.pl.calibration(four, classes=["T/N"], ax=ax)
    with pytest.raises(gb.errors.InputError, match=r"gb\.pl\.predicted"):
        gb.pl.calibration(numbers, key="regress", ax=ax)


# -- the test set and the baselines ------------------------------------------------------------------------------------


def test_test_set_confusion_and_curves_are_of_its_samples(framed, ax):
    gb.pl.confusion(framed, test=True, model="forest", ax=ax)
    mine = gb.get.predictions(framed, test=True).query("model == 'forest'").astype({"observed": str, "predicted": str})
    counts = confusion_matrix(mine["observed"], mine["predicted"], labels=["healthy", "ill"])
    shown = [int(text.get_text().split("\n")[0]) for text in drawn(ax, "cell")]
    assert shown == list(counts.ravel())
    assert "test set, n = 10" in ax.get_title(loc="left")
    curve = gb.pl.roc(framed, test=True, model="forest", ax=Figure().add_subplot())
    x, y = drawn(curve, "roc-mean")[0].get_data()
    assert float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum()) == pytest.approx(
        roc_auc_score(mine["observed"] == "ill", mine["prob_ill"])
    )
    assert not drawn(curve, "roc-repeat")
    assert drawn(gb.pl.pr(framed, test=True, ax=Figure().add_subplot()), "pr-mean")


def test_without_a_test_set_the_call_is_named_and_one_class_has_no_curve(framed, two, ax):
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"test_size=0\.2"):
        gb.pl.confusion(two, test=True, ax=ax)
    adata = framed.copy()
    table = adata.uns["classify"]["test_predictions"]
    adata.uns["classify"]["test_predictions"] = table[table["observed"] == "ill"].reset_index(drop=True)
    for figure in (gb.pl.roc, gb.pl.pr):
        with pytest.raises(gb.errors.InputError, match="All of these samples are of class 'ill'"):
            figure(adata, test=True, ax=ax)
    gb.pl.confusion(adata, test=True, ax=ax)


def test_compare_sets_test_and_baselines_apart(framed, ax):
    gb.pl.compare(framed, ax=ax, metric="roc_auc")
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == [
        "logistic regression",
        "forest",
        "best of all (corrected)",
        "covariates only",
        "genes + covariates",
    ]
    rows = gb.get.metrics(framed).query("metric == 'roc_auc'").set_index("model")
    order = ["logistic", "forest", "best of k (corrected)", "covariates only", "genes + covariates"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in drawn(ax, "value")], rows.loc[order, "value"])
    tested = gb.get.metrics(framed, test=True).query("metric == 'roc_auc'").set_index("model")["value"]
    (squares,) = drawn(ax, "test")
    np.testing.assert_allclose(squares.get_xdata(), tested[["logistic", "forest"]])
    np.testing.assert_allclose(squares.get_ydata(), [0, 1])
    place = [float(line.get_ydata()[0]) for line in drawn(ax, "value")]
    (line,) = drawn(ax, "apart")
    assert place[2] < line.get_ydata()[0] < place[3]
    curves = gb.pl.roc(framed, ax=Figure().add_subplot())
    assert len(drawn(curves, "roc-mean")) == 2, "baselines are no models to choose from"
    assert drawn(gb.pl.roc(framed, model="covariates only", ax=Figure().add_subplot()), "roc-mean")


def test_the_separator_stands_under_the_corrected_row_wherever_the_baselines_come(framed, ax):
    adata = framed.copy()
    stored = adata.uns["classify"]
    table = stored["metrics"].astype({"model": str})
    stored["metrics"] = pd.concat(
        [table[table["model"].isin(stored["baselines"])], table[~table["model"].isin(stored["baselines"])]]
    )
    gb.pl.compare(adata, ax=ax)
    place = [float(line.get_ydata()[0]) for line in drawn(ax, "value")]
    (line,) = drawn(ax, "apart")
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names[2:] == ["best of all (corrected)", "covariates only", "genes + covariates"]
    assert place[2] < line.get_ydata()[0] < place[3]


def test_scores_that_are_not_defined_are_dashes(framed, ax):
    adata = framed.copy()
    table = adata.uns["classify"]["metrics"]
    table.loc[table["model"] == "forest", ["value", "low", "high", "null_mean", "null_high"]] = np.nan
    gb.pl.compare(adata, ax=ax)
    ax.figure.canvas.draw()
    shown = [text.get_text() for child in ax.child_axes for text in child.get_yticklabels()]
    assert shown[1] == "–"


def test_whole_catalog_of_a_study_with_everything(framed):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {d.name: d for d in draw_all(framed, Keys())}
        for one in found.values():
            if one.figure is not None:
                one.figure.canvas.draw()
    assert {"heatmap", "history", "history_score", "calibration", "confusion_test"} <= set(found)
