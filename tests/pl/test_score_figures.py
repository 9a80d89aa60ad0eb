"""Figures of performance and of genes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import sparse
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score
from test_figures import drawn, texts

import geneml_bio as gb
from geneml_bio.pl import _style as style
from geneml_bio.pl.explain import swarm

# -- performance -------------------------------------------------------------------------------------------------------


def area(x, y) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def test_mean_roc_has_the_area_that_is_reported(two, ax):
    gb.pl.roc(two, ax=ax)
    predictions, metrics = gb.get.predictions(two), gb.get.metrics(two).set_index(["model", "metric"])["value"]
    lines, thin = drawn(ax, "roc-mean"), drawn(ax, "roc-repeat")
    assert len(lines) == 2
    assert len(thin) == 4
    for line, model in zip(lines, ["logistic", "forest"], strict=True):
        parts = predictions[predictions["model"] == model].groupby("repeat")
        expected = np.mean([roc_auc_score(part["observed"] == "ill", part["prob_ill"]) for _, part in parts])
        assert area(*line.get_data()) == pytest.approx(expected, abs=1e-9)
        assert metrics[model, "roc_auc"] == pytest.approx(expected, abs=1e-9)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    row = gb.get.metrics(two).query("model == 'forest' and metric == 'roc_auc'").iloc[0]
    assert labels[1] == f"forest  {row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def test_mean_roc_of_tied_scores():
    from geneml_bio.pl.performance import _roc, mean_roc

    rng = np.random.default_rng(0)
    for _ in range(20):
        curves, areas = [], []
        for _ in range(4):
            y, score = rng.permutation(np.r_[np.ones(7, bool), np.zeros(9, bool)]), rng.integers(0, 4, 16) / 4
            curves.append(_roc(y, score))
            areas.append(roc_auc_score(y, score))
        x, y = mean_roc(curves)
        assert area(x, y) == pytest.approx(np.mean(areas), abs=1e-12)
        assert (np.diff(x) >= 0).all()
        assert (np.diff(y) >= -1e-12).all()


def test_mean_pr_has_the_area_that_is_reported(two, ax):
    gb.pl.pr(two, ax=ax)
    predictions = gb.get.predictions(two)
    for line, model in zip(drawn(ax, "pr-mean"), ["logistic", "forest"], strict=True):
        parts = predictions[predictions["model"] == model].groupby("repeat")
        expected = np.mean([average_precision_score(part["observed"] == "ill", part["prob_ill"]) for _, part in parts])
        x, y = line.get_data()
        assert line.get_drawstyle() == "steps-pre"
        assert float((np.diff(x) * y[1:]).sum()) == pytest.approx(expected, abs=1e-9)
    assert drawn(ax, "chance")[0].get_ydata()[0] == pytest.approx(0.5)


def test_many_classes_are_drawn_one_against_the_rest(four, ax):
    gb.pl.roc(four, ax=ax)
    predictions = gb.get.predictions(four)
    lines = drawn(ax, "roc-mean")
    assert len(lines) == 4
    for line, name in zip(lines, ["B", "T/NK", "$m$", "<b>x</b>"], strict=True):
        parts = predictions.groupby("repeat")
        expected = np.mean([roc_auc_score(part["observed"] == name, part[f"prob_{name}"]) for _, part in parts])
        assert area(*line.get_data()) == pytest.approx(expected, abs=1e-9)
    assert len({to_hex(line.get_color()) for line in lines}) == 4
    with pytest.raises(gb.errors.InputError, match="T/NK"):
        gb.pl.roc(four, ax=ax, classes=["T/N"])


@pytest.mark.parametrize(("study", "model"), [("two", "forest"), ("four", "logistic")])
def test_confusion_is_the_mean_over_repeats(request, ax, study, model):
    adata = request.getfixturevalue(study)
    gb.pl.confusion(adata, ax=ax, model=model)
    predictions, classes = gb.get.predictions(adata), list(gb.get.params(adata)["classes"])
    mine = predictions[predictions["model"] == model].astype({"observed": str, "predicted": str})
    tables = [confusion_matrix(p["observed"], p["predicted"], labels=classes) for _, p in mine.groupby("repeat")]
    counts = np.mean(tables, axis=0)
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), counts / counts.sum(axis=1, keepdims=True))
    cells = [text.get_text().split("\n") for text in drawn(ax, "cell")]
    np.testing.assert_allclose([float(count) for count, _ in cells], counts.ravel(), atol=0.051)
    rates = (counts / counts.sum(axis=1, keepdims=True)).ravel()
    np.testing.assert_allclose([float(rate.rstrip("%")) / 100 for _, rate in cells], rates, atol=0.0051)


def test_compare_draws_values_intervals_and_null(two, ax):
    gb.pl.compare(two, ax=ax, metric="roc_auc")
    rows = gb.get.metrics(two).query("metric == 'roc_auc'")
    np.testing.assert_allclose([line.get_xdata()[0] for line in drawn(ax, "value")], rows["value"])
    np.testing.assert_allclose([line.get_xdata() for line in drawn(ax, "interval")], rows[["low", "high"]])
    bars = drawn(ax, "null")
    np.testing.assert_allclose([bar.get_x() for bar in bars], rows["null_mean"])
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in bars], rows["null_high"])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["logistic regression", "forest", "best of all (corrected)"]
    with pytest.raises(gb.errors.InputError, match="roc_auc"):
        gb.pl.compare(two, ax=ax, metric="rocauc")


def test_null_sets_the_first_repeat_against_the_permutations(two, ax):
    gb.pl.null(two, ax=ax, model="forest", metric="roc_auc")
    null = gb.get.null(two).query("model == 'forest' and metric == 'roc_auc'")["value"]
    heights = [bar.get_height() for bar in drawn(ax, "null")]
    assert sum(heights) == len(null) == 12
    first = gb.get.predictions(two).query("model == 'forest' and repeat == 0")
    expected = roc_auc_score(first["observed"] == "ill", first["prob_ill"])
    (line,) = drawn(ax, "observed")
    assert line.get_xdata()[0] == pytest.approx(expected)
    p = gb.get.metrics(two).query("model == 'forest' and metric == 'roc_auc'")["p_value"].iloc[0]
    assert p == pytest.approx((1 + (null >= expected - 1e-12).sum()) / 13)
    assert any(style.p_text(p) in text for text in texts(ax.figure))


def test_predicted_draws_the_mean_over_repeats(numbers, ax):
    gb.pl.predicted(numbers, ax=ax)
    by = gb.get.predictions(numbers, key="regress").groupby("sample", sort=False, observed=True)
    (points,) = drawn(ax, "samples")
    np.testing.assert_allclose(points.get_offsets(), np.column_stack([by["observed"].first(), by["predicted"].mean()]))
    with pytest.raises(gb.errors.InputError, match=r"gb\.pl\.predicted"):
        gb.pl.roc(numbers, key="regress")


# -- genes -------------------------------------------------------------------------------------------------------------


def test_shap_draws_samples_and_means(two, ax):
    gb.pl.shap(two, ax=ax, n_genes=6)
    top = gb.get.shap(two).index[:6]
    assert [t.get_text() for t in ax.get_yticklabels()] == list(top)
    values = gb.get.shap_values(two)[:, two.var_names.get_indexer(top)].toarray()
    clouds = drawn(ax, "samples")
    for row, cloud in enumerate(clouds):
        xy = cloud.get_offsets()
        np.testing.assert_allclose(xy[:, 0], values[:, row])
        assert np.abs(xy[:, 1] - row).max() < 0.4
        expression = two[:, top[row]].X.ravel()
        inside = np.argsort(expression)[2:-2]
        shown = np.asarray(cloud.get_array())[inside]
        assert (np.diff(shown) >= 0).all()
    (bars,) = [other for other in ax.figure.axes if other is not ax]
    np.testing.assert_allclose([bar.get_width() for bar in drawn(bars, "mean-abs")], gb.get.shap(two)["shap"][:6])


def test_shap_of_many_classes_is_stacked_to_the_mean(four, ax):
    gb.pl.shap(four, ax=ax, n_genes=5)
    bars = pd.DataFrame([(bar.get_y(), bar.get_width()) for bar in drawn(ax, "mean-abs")], columns=["y", "w"])
    np.testing.assert_allclose(bars.groupby("y")["w"].sum(), gb.get.shap(four)["shap"][:5])
    one = gb.pl.shap(four, ax=Figure().add_subplot(), n_genes=5, output="T/NK")
    assert drawn(one, "samples")
    with pytest.raises(gb.errors.InputError, match="T/NK"):
        gb.pl.shap(four, ax=ax, output="T/N")


def test_shap_leaves_out_samples_that_were_not_predicted(ax):
    adata = result_studies.expression(("a", "b"), n=32)
    adata.obs.loc[adata.obs_names[:4], "dx"] = np.nan
    adata.X = sparse.csr_matrix(adata.X)
    result_studies.analysed(adata, de=False, n_permutations=0)
    gb.pl.shap(adata, ax=ax, n_genes=3)
    assert {len(cloud.get_offsets()) for cloud in drawn(ax, "samples")} == {28}
    (bars,) = [other for other in ax.figure.axes if other is not ax]
    np.testing.assert_allclose([bar.get_width() for bar in drawn(bars, "mean-abs")], gb.get.shap(adata)["shap"][:3])


def test_swarm_keeps_points_of_one_value_apart():
    offset = swarm(np.zeros(7))
    assert len(set(offset)) == 7
    assert np.abs(swarm(np.zeros(500))).max() <= 0.37
    np.testing.assert_array_equal(swarm(np.arange(5.0)), 0)
    assert len(swarm(np.empty(0))) == 0


def test_stability_is_the_share_of_folds_and_the_rank_in_them(two, ax):
    gb.pl.stability(two, ax=ax, n_genes=10)
    screens = gb.get.screens(two).astype({"feature": str})
    shown = [t.get_text() for t in ax.get_yticklabels()]
    share = screens["feature"].value_counts() / 6
    np.testing.assert_allclose([bar.get_width() for bar in drawn(ax, "frequency")], share[shown])
    assert share[shown].min() >= share.drop(shown).max()
    rank = screens.assign(size=screens["statistic"].abs())
    rank["rank"] = rank.groupby(["repeat", "fold"], observed=True)["size"].rank(ascending=False)
    (other,) = [axes for axes in ax.figure.axes if axes is not ax]
    (median,) = drawn(other, "median")
    np.testing.assert_allclose(median.get_xdata(), rank.groupby("feature")["rank"].median()[shown])
    index = gb.get.params(two)["stability"]
    assert f"{index['stability']:.2f} [{index['low']:.2f}, {index['high']:.2f}]" in ax.get_title(loc="left")


def test_evidence_colours_are_the_classes_of_the_table(two, ax):
    gb.pl.evidence(two, ax=ax)
    table = gb.get.biomarkers(two)
    for name, part in table.groupby("class"):
        (points,) = drawn(ax, f"class-{name or 'neither'}")
        np.testing.assert_allclose(points.get_offsets(), part[["logFC", "shap"]])
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    for name, count in table["class"].value_counts().items():
        assert f"{name or 'neither'}: {count}" in labels
    odd = int(((table["agreement"] == "conflict") & ~table["class"].isin(["", "DE, unused"])).sum())
    assert sum(len(c.get_offsets()) for c in drawn(ax, "conflict")) == odd


def test_stability_without_a_screen_is_what_the_models_used(ax):
    adata = result_studies.expression(("a", "b"), n=24, p=25)
    result_studies.analysed(adata, de=False, explain=False, n_permutations=0, models="decision_tree", screen=None)
    with pytest.raises(gb.errors.InputError, match=r"gb\.tl\.explain"):
        gb.pl.stability(adata)
    result_studies.analysed(adata, de=False, n_permutations=0, models="decision_tree", screen=None)
    gb.pl.stability(adata, ax=ax, n_genes=5)
    table = gb.get.shap(adata).query("shap > 0").head(5)
    widths = [bar.get_width() for bar in drawn(ax, "frequency")]
    np.testing.assert_allclose(widths, table["used"])
    assert min(widths) < 1
    assert "No screen" in ax.get_title(loc="left")
