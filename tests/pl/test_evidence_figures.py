"""Agreement, design, groups, genes against permuted targets: each draws what its table says."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import geneml_bio as gb
from geneml_bio.core.association import cramers_v
from geneml_bio.pl._style import REST, VERMILLION


def new(size=(5, 4)):
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


@pytest.fixture
def ax():
    return new()


def drawn(ax, gid: str) -> list:
    return ax.findobj(lambda a: a.get_gid() == gid)


def title(ax) -> str:
    return ax.get_title(loc="left").replace("\n", " ")


# -- agreement ---------------------------------------------------------------------------------------------------------


def test_agreement_sets_the_two_ranks_beside_each_other(two, ax):
    gb.pl.agreement(two, ax=ax, n_top=10)
    table = gb.get.biomarkers(two)
    ranks = pd.DataFrame(
        {"x": table["P.Value"].rank(), "y": table["shap"].rank(ascending=False), "told": table["agreement"]}
    )
    ranks = ranks[table["shap"] > 0]
    for kind in ("agree", "conflict"):
        clouds = drawn(ax, f"genes-{kind}")
        assert sum(len(c.get_offsets()) for c in clouds) == (ranks["told"] == kind).sum()
        for cloud in clouds:
            np.testing.assert_allclose(cloud.get_offsets(), ranks.loc[ranks["told"] == kind, ["x", "y"]])
    assert f"rank correlation {ranks['x'].corr(ranks['y'], method='spearman'):.2f}" in title(ax)
    assert f"{len(ranks)} genes" in title(ax)
    shared = int((ranks[["x", "y"]] <= 10).all(axis=1).sum())
    assert any(text.get_text().strip().startswith(f"{shared} of 10 shared") for text in ax.texts)
    x0, x1, y0, y1 = *ax.get_xlim(), *ax.get_ylim()
    assert ((ranks["x"] > x0) & (ranks["x"] < x1) & (ranks["y"] > y0) & (ranks["y"] < y1)).all()


def test_conflicts_are_named_first(two):
    adata = two.copy()
    table = adata.varm["biomarkers"].copy()
    weak = table.index[(table["shap"] > 0).to_numpy()][np.argsort(table["shap"][table["shap"] > 0].to_numpy())[0]]
    table["agreement"] = table["agreement"].astype(object)
    table.loc[weak, "agreement"] = "conflict"
    adata.varm["biomarkers"] = table
    ax = gb.pl.agreement(adata, n_labels=4, ax=new())
    assert weak in [note.get_text() for note in ax.texts]


def test_agreement_needs_both_kinds_of_evidence(two, ax):
    adata = two.copy()
    adata.varm["biomarkers"] = adata.varm["biomarkers"].drop(columns="shap")
    with pytest.raises(gb.errors.InputError, match="no model evidence"):
        gb.pl.agreement(adata, ax=ax)


# -- design ------------------------------------------------------------------------------------------------------------


def study(n: int = 40) -> ad.AnnData:
    adata = result_studies.expression(("a", "b"), n=n, p=5)
    adata.obs["site"] = pd.Categorical(np.where(np.arange(n) % 4 == 1, "X", np.where(np.arange(n) % 3 == 0, "Y", "Z")))
    adata.obs["age"] = np.linspace(20, 60, n)
    return adata


def test_design_counts_and_expects(ax):
    adata = study()
    gb.pl.design(adata, target="dx", batch="site", ax=ax)
    counts = pd.crosstab(adata.obs["dx"], adata.obs["site"])
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.to_numpy().sum()
    cells = [text.get_text().split("\n") for text in drawn(ax, "cell")]
    np.testing.assert_array_equal([int(count) for count, _ in cells], counts.to_numpy().ravel())
    np.testing.assert_allclose([float(e.strip("()")) for _, e in cells], expected.ravel(), atol=0.051)
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), counts / counts.sum(axis=0))
    assert f"Cramer's V = {cramers_v(adata.obs['dx'].to_numpy(), adata.obs['site'].to_numpy()):.2f}" in title(ax)
    odd = (abs(counts - expected) >= 2) & ((counts < expected / 2) | (counts > 2 * expected))
    assert len(drawn(ax, "odd")) == odd.to_numpy().sum() > 0


def test_design_of_a_number_and_of_samples_that_lack_something(ax):
    adata = study()
    adata.obs.loc[adata.obs_names[:3], "site"] = np.nan
    gb.pl.design(adata, target="age", batch="site", ax=ax)
    part = adata.obs.dropna()
    medians = part.groupby("site", observed=True)["age"].median()
    np.testing.assert_allclose([line.get_ydata()[0] for line in drawn(ax, "median")], medians)
    within = part.groupby("site", observed=True)["age"].transform(lambda v: v - v.mean())
    share = 1 - (within**2).sum() / ((part["age"] - part["age"].mean()) ** 2).sum()
    assert f"{share:.0%} of the variance" in title(ax)
    assert "3 samples lack" in title(ax)


def test_design_knows_the_batch_of_the_results_and_refuses_what_it_cannot_show(two, ax):
    adata = two.copy()
    adata.obs["site"] = ["A", "B", "B"] * (adata.n_obs // 3)
    with pytest.raises(gb.errors.InputError, match="batch="):
        gb.pl.design(adata, ax=ax)
    adata.uns["classify"]["params"]["batch"] = "site"
    assert gb.pl.design(adata, ax=ax).get_xlabel() == "site"
    adata.obs["each"] = [f"s{i}" for i in range(adata.n_obs)]
    adata = ad.concat([adata, adata], index_unique="-")
    adata.obs["each"] = [f"s{i}" for i in range(adata.n_obs)]
    with pytest.raises(gb.errors.InputError, match="60 levels"):
        gb.pl.design(adata, target="dx", batch="each")
    with pytest.raises(gb.errors.ColumnNotFoundError, match="'site'"):
        gb.pl.design(adata, target="dx", batch="sit")


# -- groups ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grouped() -> ad.AnnData:
    adata = result_studies.expression(("a", "b"), n=40, p=60)
    rng = np.random.default_rng(5)
    for j in (20, 21, 22):
        adata.X[:, j] = adata.X[:, 0] + rng.normal(0, 0.15, adata.n_obs)
    adata.X[:, 23] = adata.X[:, 1] + rng.normal(0, 0.15, adata.n_obs)
    result_studies.analysed(adata, n_permutations=20, models="logistic", n_repeats=1)
    gb.tl.gene_groups(adata)
    return adata


def test_groups_are_blocks_of_correlated_genes_with_their_shap(grouped, ax):
    gb.pl.gene_groups(grouped, ax=ax)
    table = gb.get.gene_groups(grouped)
    genes = [text.get_text() for text in ax.get_yticklabels()]
    assert set(genes[: table["n"].iloc[0]]) == set(table["genes"].iloc[0].split(", "))
    residual = pd.DataFrame(grouped.X, grouped.obs_names, grouped.var_names).groupby(grouped.obs["dx"], observed=True)
    r = residual.transform(lambda v: v - v.mean())[genes].corr()
    (image,) = ax.images
    np.testing.assert_allclose(image.get_array(), r, atol=1e-9)
    (right,) = [other for other in ax.figure.axes if other is not ax]
    np.testing.assert_allclose(
        [bar.get_width() for bar in drawn(right, "gene-shap")], grouped.var.loc[genes, "classify_shap"]
    )
    np.testing.assert_allclose([bar.get_width() for bar in drawn(right, "group-shap")], table["shap"].head(6))
    sizes = [round(box.get_width()) for box in drawn(ax, "group")]
    assert sizes == list(table["n"].clip(upper=5).head(6))
    few = gb.pl.gene_groups(grouped, n_groups=1, n_genes=2, ax=new())
    assert len(few.get_yticklabels()) == 2
    assert any("+ 2 more" in text.get_text() for other in few.figure.axes for text in other.texts)


def test_without_groups_the_call_is_named(two, ax):
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"gb\.tl\.gene_groups"):
        gb.pl.gene_groups(two, ax=ax)


# -- genes against permuted targets ------------------------------------------------------------------------------------


def test_gene_null_counts_what_is_as_strong(grouped, ax):
    gb.pl.gene_null(grouped, ax=ax)
    p, q = grouped.var["classify_empirical_p"], grouped.var["classify_empirical_q"]
    (called,), (rest,) = drawn(ax, "called"), drawn(ax, "rest")
    assert len(called.get_offsets()) == (q <= 0.1).sum() > 0
    assert to_hex(called.get_facecolors()[0]) == VERMILLION.lower()
    assert to_hex(rest.get_facecolors()[0]) == REST.lower()
    xy = np.vstack([called.get_offsets(), rest.get_offsets()])
    order = np.r_[np.flatnonzero(q <= 0.1), np.flatnonzero(q > 0.1)]
    np.testing.assert_allclose(xy[:, 0], (p * len(p)).iloc[order])
    np.testing.assert_array_equal(xy[:, 1], [(p <= value).sum() for value in p.iloc[order]])
    bare = grouped.copy()
    del bare.var["classify_empirical_p"]
    with pytest.raises(gb.errors.ColumnNotFoundError, match="n_permutations"):
        gb.pl.gene_null(bare, ax=ax)


@pytest.mark.parametrize("name", ["agreement", "gene_groups", "gene_null"])
def test_labels_keep_inside_and_apart_and_nothing_warns(grouped, name):
    ax = new((3.35, 3.2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(gb.pl, name)(grouped, ax=ax).figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    notes = [note for note in ax.texts if hasattr(note, "arrow_patch")]
    from matplotlib.text import Text

    boxes = [Text.get_window_extent(note, renderer) for note in notes if note.arrow_patch is not None]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
