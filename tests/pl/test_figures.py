"""Each figure draws what the frames say; nothing in a name breaks or bends it."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib import pyplot as plt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.textpath import TextPath

import geneml_bio as gb
from geneml_bio.pl import _style as style
from geneml_bio.pl._all import CATALOG, Keys, draw, draw_all
from geneml_bio.pl._labels import place_labels

# of the others, a study without a test set or a network has none
OTHERS = ("predicted", "history", "knockoffs", "gene_groups", "gene_sets", "design", "learning_curve")
NAMES = [name for name in CATALOG if hasattr(gb.pl, name) and name not in OTHERS]
ABSENT = {
    "confusion_test",
    "history",
    "knockoffs",
    "history_score",
    "gene_groups",
    "gene_sets",
    "design",
    "learning_curve",
}


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
        ("knockoffs", "gb.tl.knockoffs"),
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


@pytest.mark.parametrize("dpi", [100, 130, 300])
def test_a_long_label_and_its_line_keep_off_each_other_and_off_the_point(ax, dpi):
    ax.set(xlim=(0, 1), ylim=(0, 1))
    x, y = np.array([0.9, 0.1]), np.array([0.7, 0.3])  # one label goes to the left, one to the right
    notes = place_labels(ax, x, y, ["ENSG00000000001…e_number_1", r"cost in \$ of \$ENSG0000001"])
    assert len(notes) == 2
    ax.figure.dpi = dpi
    ax.figure.canvas.draw()
    for note, point in zip(notes, ax.transData.transform(np.column_stack([x, y])), strict=True):
        letters = TextPath((0, 0), note.get_text().replace(r"\$", "$"), prop=note.get_fontproperties(), usetex=False)
        left = Text.get_window_extent(note).x0
        right = left + letters.get_extents().x1 * dpi / 72  # as outlined text is drawn
        line = note.arrow_patch.get_path().transformed(note.arrow_patch.get_transform()).vertices[:, 0]
        assert not left - 1 < point[0] < right + 1
        assert (line >= right).all() or (line <= left).all()


def test_labels_at_one_place_are_dropped_rather_than_stacked(ax):
    ax.set(xlim=(0, 1), ylim=(0, 1))
    notes = place_labels(ax, np.full(60, 0.5), np.full(60, 0.5), [f"G{i}" for i in range(60)])
    found = boxes(notes)
    assert 3 < len(found) < 60
    assert not any(a.overlaps(b) for i, a in enumerate(found) for b in found[:i])
    assert len(ax.texts) == len(found)


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


def test_where_there_is_nothing_to_draw_nothing_is_made(tmp_path):
    empty = ad.AnnData(np.ones((3, 2)))
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"no results under 'classify'.*gb\.tl\.classify"):
        gb.pl.save_figures(empty, tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"gb\.tl\.regress\(adata"):
        gb.pl.predicted(empty)


@pytest.mark.parametrize("figure", [gb.pl.gene_models, gb.pl.gene_predicted, gb.pl.gene_shap])
def test_figures_of_genes_as_rows_say_what_they_are_drawn_from(figure):
    with pytest.raises(gb.errors.InputError, match=r"gb\.tl\.regress_genes.*got AnnData"):
        figure(ad.AnnData(np.ones((3, 2))))


@pytest.mark.parametrize("value", [-1, 2.5, True, "10", None])
def test_counts_that_are_none_are_refused(two, value):
    genes = (gb.pl.shap, gb.pl.stability, gb.pl.gene_groups, gb.pl.heatmap, gb.pl.shap_bar, gb.pl.shap_heatmap)
    for figure in (*genes, gb.pl.shap_waterfall):
        with pytest.raises(gb.errors.InputError, match=rf"n_genes must be a whole number of at least 1, got {value!r}"):
            figure(two, n_genes=value)
    for figure in (gb.pl.agreement, gb.pl.volcano, gb.pl.ma, gb.pl.gene_null, gb.pl.evidence, gb.pl.knockoffs):
        with pytest.raises(
            gb.errors.InputError, match=rf"n_labels must be a whole number of at least 0, got {value!r}"
        ):
            figure(two, n_labels=value)
    assert not plt.get_fignums()


def test_no_labels_and_axes_that_are_none(two, ax):
    assert gb.pl.volcano(two, n_labels=0, ax=ax) is ax
    with pytest.raises(gb.errors.InputError, match=r"ax must be one Matplotlib Axes, got ndarray; .*axes\[0\]"):
        gb.pl.volcano(two, ax=np.array([ax]))
