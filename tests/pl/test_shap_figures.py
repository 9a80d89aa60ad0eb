"""Figures of SHAP values: they draw what the layers say, add up, and keep to what was asked."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import geneml_bio as gb
from geneml_bio.pl._style import BLUE, GREY, VERMILLION, colors


def new(size=(5, 4)):
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


@pytest.fixture
def ax():
    return new()


def drawn(ax, gid: str) -> list:
    return ax.findobj(lambda a: a.get_gid() == gid)


def ylabels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_yticklabels()]


# -- bars --------------------------------------------------------------------------------------------------------------


def test_bars_are_the_means_in_the_colour_of_their_direction(two, ax):
    gb.pl.shap_bar(two, n_genes=8, ax=ax)
    table = gb.get.shap(two).head(8)
    bars = drawn(ax, "mean-abs")
    assert ylabels(ax) == list(table.index)
    np.testing.assert_allclose([bar.get_width() for bar in bars], table["shap"])
    way = {1: VERMILLION, -1: BLUE, 0: GREY}
    assert [to_hex(bar.get_facecolor()) for bar in bars] == [way[d].lower() for d in table["direction"]]


def test_spread_and_rank_interval_are_drawn_where_they_are_known(two, ax):
    adata = two.copy()
    summary = adata.varm["classify_shap_summary"].copy()
    summary["sd"] = adata.var["classify_shap"] / 5
    summary["rank_low"], summary["rank_high"] = 1.0, adata.var["classify_shap_rank"] + 2
    adata.varm["classify_shap_summary"] = summary
    gb.pl.shap_bar(adata, n_genes=4, ax=ax)
    table = gb.get.shap(adata).head(4)
    (spread,) = drawn(ax, "spread")
    ends = np.array([seg[:, 0] for seg in spread.get_segments()])
    np.testing.assert_allclose(ends, np.column_stack([table["shap"] * 0.8, table["shap"] * 1.2]))
    assert [note.get_text() for note in drawn(ax, "rank")] == ["rank 1–3", "1–4", "1–5", "1–6"]


def test_bars_by_model_are_each_model_s_share(two, ax):
    gb.pl.shap_bar(two, by="model", n_genes=6, ax=ax)
    table = gb.get.shap(two).head(6)
    for name in ("logistic", "forest"):
        (points,) = drawn(ax, f"model-{name}")
        np.testing.assert_allclose(points.get_xdata(), table[f"shap:{name}"])
    means = [bar.get_width() for bar in drawn(ax, "mean")]
    np.testing.assert_allclose(means, table[["shap:logistic", "shap:forest"]].mean(axis=1))


def test_bars_by_class_add_up(four, two, ax):
    gb.pl.shap_bar(four, by="class", n_genes=5, ax=ax)
    widths = [[bar.get_width() for bar in drawn(ax, f"class-{name}")] for name in ("B", "T/NK", "$m$", "<b>x</b>")]
    np.testing.assert_allclose(np.sum(widths, axis=0), gb.get.shap(four)["shap"][:5])
    with pytest.raises(gb.errors.InputError, match="more than two classes"):
        gb.pl.shap_bar(two, by="class", ax=ax)
    with pytest.raises(gb.errors.InputError, match="Did you mean 'model'"):
        gb.pl.shap_bar(two, by="modle", ax=ax)


# -- dependence --------------------------------------------------------------------------------------------------------


def test_dependence_is_expression_against_shap_coloured_by_class(two, ax):
    gene = gb.get.shap(two).index[1]
    gb.pl.shap_dependence(two, gene, ax=ax)
    x, y = two[:, gene].X.ravel(), gb.get.shap_values(two)[:, two.var_names.get_loc(gene)].toarray().ravel()
    (cloud,) = drawn(ax, "samples")
    used = y != 0
    np.testing.assert_allclose(cloud.get_offsets(), np.column_stack([x, y])[used])
    palette = dict(zip(["healthy", "ill"], colors(2), strict=True))
    assert [to_hex(c) for c in cloud.get_facecolors()] == [palette[v].lower() for v in two.obs["dx"][used]]
    assert sum(len(c.get_offsets()) for c in drawn(ax, "unused")) == (~used).sum()
    rho = pd.Series(x[used]).corr(pd.Series(y[used]), method="spearman")
    assert f"{rho:.2f}" in ax.get_title(loc="left")
    assert [t.get_text() for t in ax.get_legend().get_texts()][:2] == ["healthy", "ill"]


def test_dependence_by_another_gene_by_symbol_and_its_refusals(two, four, ax):
    adata = two.copy()
    adata.var["symbol"] = [f"SYM{j}" for j in range(adata.n_vars)]
    first = adata.var_names.get_loc(gb.get.shap(adata).index[0])
    gb.pl.shap_dependence(adata, f"SYM{first}", color="g5", ax=ax)
    assert ax.get_xlabel() == f"expression of SYM{first}"
    assert len({tuple(c) for c in drawn(ax, "samples")[0].get_facecolors()}) > 8
    unused = gb.get.shap(two).index[-1]
    for asked, says in (({"gene": "g_0"}, "no gene 'g_0'"), ({"color": "dxx"}, "'dx'"), ({"gene": unused}, "no model used"),
                        ({"layer": "log"}, "no layer 'log'")):  # fmt: skip
        with pytest.raises(gb.errors.GenemlError, match=says):
            gb.pl.shap_dependence(two, ax=ax, **asked)
    one = gb.pl.shap_dependence(four, ax=new())
    top = gb.get.shap(four).index[0]
    at = four.var_names.get_loc(top)
    size = {name: abs(gb.get.shap_values(four, output=name)[:, at]).sum() for name in ("B", "T/NK", "$m$", "<b>x</b>")}
    assert max(size, key=size.get) in one.get_ylabel().replace("\\$", "$")


# -- waterfall ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", ["two", "four"])
def test_waterfall_runs_from_base_to_output(request, ax, study):
    adata = request.getfixturevalue(study)
    gb.pl.shap_waterfall(adata, "S05", n_genes=4, ax=ax)
    outputs = list(adata.uns["classify_shap"]["outputs"])
    p = gb.get.predictions(adata).query("sample == 'S05'")
    p = p[p["model"] == gb.get.params(adata)["best"]]
    mean = p[[c for c in p.columns if c.startswith("prob_")]].mean()
    predicted = mean.idxmax()[5:]
    output = outputs[0] if study == "two" else predicted
    row = gb.get.shap_values(adata, output=output)[[5]].toarray().ravel()
    steps = [bar.get_width() for bar in drawn(ax, "steps")]
    np.testing.assert_allclose(np.abs(steps[:4]), np.sort(np.abs(row))[::-1][:4])
    (base,), (end,) = drawn(ax, "base"), drawn(ax, "output")
    assert base.get_xdata()[0] + sum(steps) == pytest.approx(end.get_xdata()[0], abs=1e-6)
    starts = [bar.get_x() for bar in drawn(ax, "steps")]
    np.testing.assert_allclose(np.array(starts) + steps, [*starts[1:], end.get_xdata()[0]], atol=1e-6)
    used = np.flatnonzero(row)
    assert ylabels(ax)[-1] == f"{len(used) - 4} other gene{'s' * (len(used) > 5)}"
    title = ax.get_title(loc="left").replace("\n", " ").replace("\\$", "$")
    assert f"observed {adata.obs['dx'].iloc[5]}, predicted {predicted} ({mean.max():.2f}" in title
    value = adata[["S05"], [ylabels(ax)[0].split(" = ")[0]]].X.item()
    assert ylabels(ax)[0].endswith(f" = {value:.3g}")


def test_waterfall_s_own_choice_is_the_worst_mistake(two, ax):
    gb.pl.shap_waterfall(two, ax=ax)
    p = gb.get.predictions(two)
    p = p[p["model"] == gb.get.params(two)["best"]].astype({"sample": str, "observed": str})
    by = p.groupby("sample").agg(observed=("observed", "first"), ill=("prob_ill", "mean"))
    wrong = by[(by["ill"] > 0.5) != (by["observed"] == "ill")]
    worst = (wrong["ill"] - 0.5).abs().idxmax()
    assert ax.get_title(loc="left").startswith(f"{worst}: ")
    assert "misclassified" in ax.get_title(loc="left")
    with pytest.raises(gb.errors.ColumnNotFoundError, match="no sample 'S9'"):
        gb.pl.shap_waterfall(two, "S9")


def test_waterfall_of_a_number(numbers, ax):
    gb.pl.shap_waterfall(numbers, key="regress", ax=ax)
    name = ax.get_title(loc="left").split(":")[0]
    assert f"observed {numbers.obs.loc[name, 'age']:.3g}" in ax.get_title(loc="left")
    (end,) = drawn(ax, "output")
    assert end.get_xdata()[0] == pytest.approx(numbers.obsm["regress_shap_margin"].loc[name].iloc[0])


# -- heatmap -----------------------------------------------------------------------------------------------------------


def test_shap_heatmap_is_the_layer_in_the_order_of_the_output(two):
    ax = gb.pl.shap_heatmap(two, n_genes=7, ax=new((8, 6)))
    genes, samples = ylabels(ax), [text.get_text() for text in ax.get_xticklabels()]
    assert genes == list(gb.get.shap(two).index[:7])
    margin = two.obsm["classify_shap_margin"].iloc[:, 0]
    assert list(margin[samples]) == sorted(margin)
    values = pd.DataFrame(gb.get.shap_values(two).toarray(), two.obs_names, two.var_names)
    (image,) = ax.images
    np.testing.assert_allclose(np.asarray(image.get_array()), values.loc[samples, genes].T)
    parts = {gid: [i for child in ax.child_axes for i in drawn(child, gid)] for gid in ("margin", "mean-abs", "missed")}
    np.testing.assert_allclose(parts["margin"][0].get_ydata(), margin[samples])
    np.testing.assert_allclose([bar.get_width() for bar in parts["mean-abs"]], gb.get.shap(two)["shap"][:7])
    ax.figure.canvas.draw()
    other = gb.pl.shap_heatmap(two, n_genes=7, order="cluster", ax=new())
    assert sorted(text.get_text() for text in other.get_xticklabels()) == sorted(samples)
    with pytest.raises(gb.errors.InputError, match="'cluster'"):
        gb.pl.shap_heatmap(two, order="clusters")


def test_shap_heatmap_of_many_classes_and_of_numbers(four, numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gb.pl.shap_heatmap(four, output="T/NK", ax=new()).figure.canvas.draw()
        gb.pl.shap_heatmap(numbers, key="regress", ax=new()).figure.canvas.draw()
    with pytest.raises(gb.errors.InputError, match="T/NK"):
        gb.pl.shap_heatmap(four, output="T/N")


@pytest.mark.parametrize("name", ["shap_bar", "shap_dependence", "shap_waterfall", "shap_heatmap"])
def test_without_shap_values_the_call_is_named(name):
    bare = result_studies.expression(("a", "b"), n=10)
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"gb\.tl\.explain"):
        getattr(gb.pl, name)(bare)
