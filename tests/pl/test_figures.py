"""Each figure draws what the frames say; nothing in a name breaks or bends it."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import sparse
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

import geneml_bio as gb
from geneml_bio.pl import _style as style
from geneml_bio.pl._all import CATALOG, Keys, draw, draw_all
from geneml_bio.pl._labels import place_labels
from geneml_bio.pl.explain import swarm

# of the others, a study without a test set or a network has none
OTHERS = ("predicted", "history", "gene_groups", "gene_sets", "design", "learning_curve")
NAMES = [name for name in CATALOG if hasattr(gb.pl, name) and name not in OTHERS]
ABSENT = {"confusion_test", "history", "history_score", "gene_groups", "gene_sets", "design", "learning_curve"}


@pytest.fixture
def ax():
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def drawn(ax, gid: str) -> list:
    return ax.findobj(lambda a: a.get_gid() == gid)


def texts(figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]


# -- every figure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_draws_into_the_axes_given_and_opens_nothing(two, ax, name):
    before, rc = plt.get_fignums(), dict(plt.rcParams)
    back = getattr(gb.pl, name)(two, ax=ax)
    assert back is ax
    assert plt.get_fignums() == before
    assert dict(plt.rcParams) == rc
    ax.figure.canvas.draw()


@pytest.mark.parametrize("name", NAMES)
def test_makes_one_pyplot_figure_without_axes(two, name):
    plt.close("all")  # what other tests have left
    back = getattr(gb.pl, name)(two)
    try:
        assert len(plt.get_fignums()) == 1
        assert plt.gcf() is back.figure
    finally:
        plt.close("all")


@pytest.mark.parametrize("study", ["two", "four", "hostile"])
def test_whole_catalog_is_drawn_without_a_warning(request, study):
    adata = request.getfixturevalue(study)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {d.name: d for d in draw_all(adata, Keys())}
        for figure in (d.figure for d in found.values() if d.figure is not None):
            figure.canvas.draw()
    missing = {name for name, d in found.items() if d.figure is None}
    assert missing == ABSENT | ({"null", "gene_null"} if study == "four" else set())
    assert "n_permutations" in found["null"].reason or study != "four"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("volcano", "gb.tl.limma"),
        ("ma", "gb.tl.limma"),
        ("roc", "gb.tl.classify"),
        ("pr", "gb.tl.classify"),
        ("confusion", "gb.tl.classify"),
        ("compare", "gb.tl.classify"),
        ("null", "gb.tl.classify"),
        ("stability", "gb.tl.classify"),
        ("heatmap", "gb.tl.classify"),
        ("history", "gb.tl.classify"),
        ("calibration", "gb.tl.classify"),
        ("shap", "gb.tl.explain"),
        ("evidence", "gb.tl.biomarkers"),
    ],
)
def test_missing_results_name_the_call_to_make(name, call):
    bare = result_studies.expression(("a", "b"), n=10)
    with pytest.raises(gb.errors.ColumnNotFoundError, match=call.replace(".", r"\.")):
        getattr(gb.pl, name)(bare)
    assert not plt.get_fignums()


def test_names_are_shown_letter_by_letter(hostile):
    figures = {d.name: d.figure for d in draw_all(hostile, Keys()) if d.figure is not None}
    shown = [text for figure in figures.values() for text in texts(figure)]
    for name in ("$x^{2$", "$a$ and $b$", "=1+1", "A/B\\C", "<script>alert(1)</script>"):
        where = [text for text in shown if text.strip().replace(r"\$", "$") == name]
        assert where or name == "A/B\\C", name
        assert all("$" not in text.replace(r"\$", "") for text in where)


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", result_studies.HOSTILE)
def test_plain_is_drawn_as_it_is_read(name):
    figure = Figure()
    FigureCanvasAgg(figure)
    note = figure.text(0.5, 0.5, style.plain(name, 200))
    shown, is_math = note._preprocess_math(note.get_text())
    assert not is_math
    assert shown.strip() == " ".join("".join(c if c.isprintable() else " " for c in name).split())
    figure.canvas.draw()


def test_long_names_lose_their_middle():
    short = style.shorten("AFFX-HUMISGF3A/M97935_MB_at_and_more", 20)
    assert len(short) == 20
    assert short.startswith("AFFX-HUMISG")
    assert short.endswith("and_more")


def test_symbols_stand_for_ids_and_are_told_apart(two):
    adata = two.copy()
    symbols = pd.Series([f"SYM{j}" for j in range(adata.n_vars)], index=adata.var_names, dtype=object)
    symbols.iloc[:2], symbols.iloc[2] = "ABL1", None
    adata.var["symbol"] = symbols
    adata.var["other"] = "x" + symbols.fillna("")
    assert style.gene_names(adata, ["g0", "g1", "g2", "g3"]) == ["ABL1 (g0)", "ABL1 (g1)", "g2", "SYM3"]
    assert style.gene_names(adata, ["g3"], "other") == ["xSYM3"]
    with pytest.raises(gb.errors.ColumnNotFoundError, match="symbol"):
        gb.pl.volcano(adata, gene_symbols="symbl")


NAMES_ALIKE = [
    "very_long_probe_name_very_long_probe_name_1007_s_at",
    "very_long_probe_name_very_lung_probe_name_1007_s_at",
    "x" * 60,
    "x" * 61,
    "T cell receptor gamma delta positive subset 1 of the blood",
    "T cell receptor gamma delta positive subset 2 of the blood",
    "a\tb",
    "a b",
    *(f"{'AFFX' * 9}{i}{'_at' * 9}" for i in range(30)),
]


@pytest.mark.parametrize("width", [12, 14, 18, 26])
def test_different_names_stay_different(width):
    short = style.distinct(NAMES_ALIKE, width)
    assert len(set(short)) == len(NAMES_ALIKE)
    assert max(map(len, short)) <= width
    assert style.distinct(["same", "same"], width) == ["same", "same"]
    assert style.distinct(["ab", "cd"], width) == ["ab", "cd"]


def test_what_distinguishes_is_shown():
    one, two_ = style.distinct(NAMES_ALIKE[4:6])
    assert " 1 " in one
    assert " 2 " in two_


def test_classes_and_genes_with_alike_names_are_told_apart():
    stem = "T cell receptor gamma delta positive subset {} of peripheral blood"
    adata = result_studies.expression(tuple(stem.format(i) for i in range(3)), n=30)
    adata.var_names = [f"{'AFFX-HUMISGF3A-M97935-' * 2}{j}{'_MA_at' * 4}" for j in range(adata.n_vars)]
    result_studies.analysed(adata, de=False, n_permutations=0, models="logistic", n_repeats=1)
    for name in ("roc", "confusion", "calibration", "shap", "heatmap", "stability"):
        figure = Figure()
        FigureCanvasAgg(figure)
        ax = getattr(gb.pl, name)(adata, ax=figure.add_subplot())
        labels = [text.get_text() for text in ax.get_yticklabels() if "…" in text.get_text()]
        labels += [text.get_text() for text in ax.get_legend().get_texts()] if ax.get_legend() else []
        assert len(labels) >= 3
        assert len(set(labels)) == len(labels), name


# -- DE ----------------------------------------------------------------------------------------------------------------


def test_volcano_points_are_the_table(two, ax):
    gb.pl.volcano(two, ax=ax, alpha=0.05)
    table = gb.get.de(two)
    called = table["adj.P.Val"] <= 0.05
    for gid, mask in {
        "up": called & (table["logFC"] > 0),
        "down": called & (table["logFC"] <= 0),
        "rest": ~called,
    }.items():
        (points,) = drawn(ax, f"genes-{gid}")
        expected = np.column_stack([table["logFC"], -np.log10(table["P.Value"])])[mask]
        np.testing.assert_allclose(points.get_offsets(), expected)
    (line,) = [line for line in ax.lines if len(set(line.get_ydata())) == 1]
    assert line.get_ydata()[0] == pytest.approx(-np.log10(table["P.Value"][called].max()))


def test_volcano_keeps_p_values_of_zero_and_leaves_out_missing_ones(two, ax):
    adata = two.copy()
    adata.var.loc["g0", "limma_P.Value"] = 0.0
    adata.var.loc["g0", "limma_adj.P.Val"] = 0.0
    adata.var.loc["g50", ["limma_P.Value", "limma_logFC"]] = np.nan
    gb.pl.volcano(adata, ax=ax, genes=["g0", "g50"])
    offsets = np.vstack([c.get_offsets() for c in ax.collections])
    assert np.isfinite(offsets).all()
    assert len(offsets) == adata.n_vars - 1
    assert adata.var.loc["g0", "limma_logFC"] in offsets[:, 0]
    with pytest.raises(gb.errors.ColumnNotFoundError, match="g0"):
        gb.pl.volcano(adata, ax=ax, genes=["g00"])


def test_volcano_without_a_called_gene_has_no_line_and_no_label(two, ax):
    gb.pl.volcano(two, ax=ax, alpha=1e-300)
    assert not [note for note in ax.texts if note.get_text().startswith("g")]
    assert not [line for line in ax.lines if line.get_linestyle() == "--"]


def test_ma_points_are_the_table(two, ax):
    gb.pl.ma(two, ax=ax)
    table = gb.get.de(two)
    points = np.vstack([c.get_offsets() for c in ax.collections])
    assert sorted(map(tuple, points.round(9))) == sorted(
        zip(table["AveExpr"].round(9), table["logFC"].round(9), strict=True)
    )


def test_f_tables_are_refused_with_the_reason(two):
    adata = two.copy()
    adata.var["limma_F"] = adata.var["limma_t"] ** 2
    del adata.var["limma_logFC"]
    with pytest.raises(gb.errors.InputError, match="one contrast"):
        gb.pl.volcano(adata)


# -- labels ------------------------------------------------------------------------------------------------------------


def boxes(notes) -> list:
    return [Text.get_window_extent(note) for note in notes]  # without its line


@pytest.mark.parametrize("seed", range(5))
def test_labels_overlap_neither_each_other_nor_the_frame(ax, seed):
    rng = np.random.default_rng(seed)
    xy = rng.normal(size=(400, 2)) * [1, 0.3]
    ax.scatter(*xy.T, s=4)
    top = np.argsort(-xy[:, 1])[:25]
    notes = place_labels(ax, xy[top, 0], xy[top, 1], [f"GENE{i}_at" for i in top], cloud=xy)
    ax.figure.canvas.draw()
    found = boxes(notes)
    assert len(found) >= 8
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    frame = ax.get_window_extent()
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 and frame.y0 <= b.y0 and b.y1 <= frame.y1 for b in found)


def test_labels_at_one_place_are_dropped_rather_than_stacked(ax):
    ax.set(xlim=(0, 1), ylim=(0, 1))
    notes = place_labels(ax, np.full(60, 0.5), np.full(60, 0.5), [f"G{i}" for i in range(60)])
    found = boxes(notes)
    assert 3 < len(found) < 60
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    assert len(ax.texts) == len(found)


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


# -- what is small, large, constant ------------------------------------------------------------------------------------


def test_one_gene_and_constant_scores(ax):
    adata = result_studies.expression(("a", "b"), n=12, p=1)
    adata.X[:] = 1.0
    result_studies.analysed(
        adata, de=False, explain=False, n_permutations=3, models={"logistic": "logistic"}, screen=None
    )
    for name in ("roc", "pr", "confusion", "compare", "null", "heatmap", "calibration"):
        figure = Figure()
        FigureCanvasAgg(figure)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            getattr(gb.pl, name)(adata, ax=figure.add_subplot())
            figure.canvas.draw()


def test_models_that_used_no_gene_leave_nothing_to_draw(two):
    adata = two.copy()
    adata.layers["classify_shap"] = adata.layers["classify_shap"] * 0
    with pytest.raises(gb.errors.InputError, match="no gene"):
        gb.pl.shap(adata)


def test_twelve_classes():
    classes = tuple(f"class {i}" for i in range(12))
    adata = result_studies.expression(classes, n=48)
    result_studies.analysed(adata, de=False, n_permutations=0, models={"logistic": "logistic"}, n_splits=2)
    found = {
        name: draw(adata, name, Keys()).figure for name in ("roc", "pr", "confusion", "shap", "calibration", "heatmap")
    }
    for figure in found.values():
        figure.canvas.draw()
    assert len({to_hex(line.get_color()) for line in drawn(found["roc"], "roc-mean")}) == 12


def test_axes_placed_by_hand_are_taken_too(two):
    figure = Figure()
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.2, 0.2, 0.4, 0.6))
    assert gb.pl.shap(two, ax=ax) is ax
    assert gb.pl.stability(two, ax=figure.add_axes((0.2, 0.2, 0.4, 0.6))).child_axes
    figure.canvas.draw()


def test_save_figures_writes_what_there_is(two, tmp_path):
    folder = gb.pl.save_figures(two, tmp_path / "new" / "figures", formats=("png",), dpi=40)
    assert {path.stem for path in folder.iterdir()} == {*NAMES, "shap_models"}
    assert all(path.stat().st_size > 2000 for path in folder.iterdir())
    assert not plt.get_fignums()
