"""scanpy's form of a joined table, and the way back from it."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_join import ENSEMBL, HUMAN, data, quiet, state, table

import geneml_bio as gb
from geneml_bio.core.errors import (
    DataWarning,
    StorageError,
    TableError,
)

# -- scanpy's form -----------------------------------------------------------------------------------------------------


def test_scanpy_reads_its_form(tmp_path):
    sc = pytest.importorskip("scanpy", reason="scanpy is not installed")
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    adata, de = data([*HUMAN, "own"]), table(HUMAN)
    quiet(gb.tl.add_de, adata, de, rank_genes_groups=True)
    frame = sc.get.rank_genes_groups_df(adata, "b").set_index("names")
    assert set(frame.index) == set(HUMAN)
    assert frame["scores"].is_monotonic_decreasing
    for theirs, ours in {
        "scores": "t",
        "logfoldchanges": "logFC",
        "pvals": "P.Value",
        "pvals_adj": "adj.P.Val",
    }.items():
        np.testing.assert_array_equal(frame[theirs], de.frame.loc[frame.index, ours])
    significant = sc.get.rank_genes_groups_df(adata, "b", pval_cutoff=0.05, log2fc_min=0)
    assert len(significant) == ((de.frame["adj.P.Val"] < 0.05) & (de.frame["logFC"] > 0)).sum() > 0
    params = adata.uns["rank_genes_groups"]["params"]
    assert (params["groupby"], params["reference"], params["method"]) == ("group", "a", "limma")
    sc.pl.rank_genes_groups(adata, show=False)  # the axes are returned from scanpy 1.11 on
    assert plt.gcf().axes[0].get_title() == "b vs. a"
    sc.pl.rank_genes_groups_dotplot(adata, n_genes=3, show=False)
    sc.pl.rank_genes_groups_heatmap(adata, n_genes=3, show=False)
    sc.pl.rank_genes_groups_violin(adata, n_genes=3, show=False)
    sc.tl.filter_rank_genes_groups(adata, min_fold_change=0.1)


@pytest.mark.parametrize("store", ["h5ad", "zarr"])
@pytest.mark.parametrize("contrast", ["b - a", "BCR/ABL vs NEG", "x: a/b (50 %) - 'y'", ""])
def test_scanpys_form_survives_storage(tmp_path, store, contrast):
    adata, de = data(HUMAN), table(HUMAN, contrast=contrast)
    gb.tl.add_de(adata, de, rank_genes_groups=True)
    getattr(adata, f"write_{store}")(tmp_path / f"x.{store}")
    again = getattr(ad, f"read_{store}")(tmp_path / f"x.{store}")
    mine, theirs = adata.uns["rank_genes_groups"], again.uns["rank_genes_groups"]
    for part in ("names", "scores", "logfoldchanges", "pvals", "pvals_adj"):
        assert mine[part].dtype.names == theirs[part].dtype.names
        for group in mine[part].dtype.names:
            assert list(mine[part][group]) == list(theirs[part][group])
    assert {k: v for k, v in mine["params"].items() if k != "contrast" and k != "keys"}.items() <= theirs[
        "params"
    ].items()
    gb.tl.add_de(again, de, rank_genes_groups=True)  # ours may be replaced, also when it comes from a file
    sc = pytest.importorskip("scanpy", reason="scanpy is not installed")
    assert len(sc.get.rank_genes_groups_df(again, None)) == len(HUMAN)


def test_scanpys_own_ranking_is_not_overwritten():
    sc = pytest.importorskip("scanpy", reason="scanpy is not installed")
    adata, de = data(HUMAN), table(HUMAN)
    sc.tl.rank_genes_groups(adata, "group", method="t-test")
    before = state(adata)
    with pytest.raises(StorageError, match=r"t-test.*rank_genes_groups='rank_genes_groups_limma'"):
        gb.tl.add_de(adata, de, rank_genes_groups=True)
    with pytest.raises(StorageError, match="not made"):
        gb.tl.add_de(adata, de, key_added="rank_genes_groups")
    assert state(adata) == before
    gb.tl.add_de(adata, de, rank_genes_groups="rank_genes_groups_limma")
    assert len(sc.get.rank_genes_groups_df(adata, "b", key="rank_genes_groups_limma")) == 24


def test_a_ranking_of_results_that_are_replaced_goes_with_them():
    adata = data(HUMAN)
    gb.tl.add_de(adata, table(HUMAN), rank_genes_groups=True)
    gb.tl.add_de(adata, table(HUMAN, seed=1), key_added="other")
    assert "rank_genes_groups" in adata.uns
    gb.tl.add_de(adata, table(HUMAN, seed=2))
    assert "rank_genes_groups" not in adata.uns


@pytest.mark.parametrize("store", ["h5ad", "zarr"])
def test_whatever_a_reader_noted_is_stored(tmp_path, store):
    noted = {
        "path": Path("x.csv"), "nested": {"a/b": "c", 3: [1, None]}, "mixed": ["a", 1, None], "none": None, "empty": [],
        "numbers": [1, 2.5], "version": ("4", "2"), "flag": True, "array": np.arange(3),
    }  # fmt: skip
    adata = data(HUMAN)
    gb.tl.add_de(adata, table(HUMAN, source=noted))
    getattr(adata, f"write_{store}")(tmp_path / f"x.{store}")
    again = getattr(ad, f"read_{store}")(tmp_path / f"x.{store}").uns["limma"]
    assert again["path"] == "x.csv"
    assert again["nested"]["a%2Fb"] == "c"
    assert list(again["mixed"]) == ["a", "1", "None"]
    assert "none" not in again
    assert list(again["numbers"]) == [1, 2.5]


@pytest.mark.parametrize(
    ("contrast", "expected"),
    [
        ("b - a", ("b", "a", "group")),
        ("b vs a", ("b", "a", "group")),
        ("b-a", ("b", "a", "group")),
        ("groupb - groupa", ("b", "a", "group")),
        ("b_vs_a", ("b", "a", "group")),
        ("AML - ALL", ("AML", "ALL", "limma")),
        ("(x + y)/2 - z", ("(x + y)/2 - z", "0", "limma")),
        ("groupb", ("groupb", "0", "limma")),
        ("", ("limma", "0", "limma")),
    ],
)
def test_a_contrast_becomes_group_and_reference(contrast, expected):
    from geneml_bio.bridge.ranked import group_of

    assert group_of(data(HUMAN), contrast, "limma") == expected


def test_scores_where_there_is_no_t():
    from geneml_bio.bridge.ranked import scores

    de = table(HUMAN)
    f = de.frame.assign(F=de.frame["t"] ** 2).drop(columns="t")
    np.testing.assert_allclose(scores(gb.DETable(f))[0], de.frame["t"])
    p = de.frame.drop(columns="t")
    z, what = scores(gb.DETable(p))
    np.testing.assert_allclose(2 * stats.norm.sf(np.abs(z)), de.frame["P.Value"])
    np.testing.assert_array_equal(np.sign(z), np.sign(de.frame["logFC"]))
    assert what.startswith("z of P.Value")
    p.loc[HUMAN[0], "P.Value"] = 0.0
    assert np.isfinite(scores(gb.DETable(p))[0]).all()


def test_a_dict_of_tables_gives_results_and_groups_of_each():
    adata = data(HUMAN)
    tables = {"b/a": table(HUMAN, 0, "b - a"), "x": table(HUMAN[:20], 1, "y - z")}
    out = quiet(gb.tl.add_de, adata, tables, rank_genes_groups=True)
    assert list(out) == ["b/a", "x"]
    np.testing.assert_array_equal(gb.get.de(adata, "limma_b%2Fa").loc[HUMAN, "t"], tables["b/a"].frame["t"])
    assert gb.get.de(adata, "limma_x")["t"].notna().sum() == 20
    names = adata.uns["rank_genes_groups"]["names"]
    assert names.dtype.names == ("b", "y")
    assert set(names["y"]) == set(HUMAN)
    assert np.isnan(adata.uns["rank_genes_groups"]["scores"]["y"][20:]).all()
    # all or nothing: the second of three does not fit
    other = data(HUMAN)
    before = state(other)
    with pytest.raises(TableError):
        gb.tl.add_de(other, {"one": tables["x"], "two": table(ENSEMBL)})
    assert state(other) == before


def test_limma_on_the_data_itself_and_its_ranking():
    """tl.limma, then its table beside the same data in scanpy's form: the group is the level of the factor."""
    golub = gb.datasets.golub()[:, :100].copy()
    de = gb.tl.limma(golub, "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    gb.tl.add_de(golub, de, rank_genes_groups=True)
    params = golub.uns["rank_genes_groups"]["params"]
    assert (params["groupby"], params["reference"]) == ("class", "ALL")
    assert golub.uns["rank_genes_groups"]["names"].dtype.names == ("AML",)


# -- AnnData -> table -> AnnData ---------------------------------------------------------------------------------------


def test_results_read_from_an_anndata_and_put_back_are_equal():
    adata, de = data(HUMAN), table(HUMAN)
    gb.tl.add_de(adata, de, rank_genes_groups=True)
    again = data(HUMAN)
    quiet(gb.tl.add_de, again, gb.read.toptable(adata), rank_genes_groups=True)
    for name in ("logFC", "AveExpr", "t", "P.Value", "adj.P.Val"):
        np.testing.assert_array_equal(again.var[f"limma_{name}"], adata.var[f"limma_{name}"])
    for part in ("names", "scores", "logfoldchanges", "pvals", "pvals_adj"):
        mine, theirs = (a.uns["rank_genes_groups"][part] for a in (adata, again))
        assert mine.dtype.names == theirs.dtype.names == ("b",)
        assert list(mine["b"]) == list(theirs["b"])


def test_the_ranking_alone_gives_the_table_back():
    adata, de = data(HUMAN), table(HUMAN)
    gb.tl.add_de(adata, de, rank_genes_groups=True)
    only = data(HUMAN)
    only.uns["rank_genes_groups"] = adata.uns["rank_genes_groups"]
    got = quiet(gb.read.toptable, only)
    for name in ("logFC", "t", "P.Value", "adj.P.Val"):
        np.testing.assert_array_equal(got.frame.loc[HUMAN, name], de.frame[name])
    again = data(HUMAN)
    quiet(gb.tl.add_de, again, got, rank_genes_groups=True)
    assert list(again.uns["rank_genes_groups"]["names"]["b"]) == list(adata.uns["rank_genes_groups"]["names"]["b"])
    assert again.uns["rank_genes_groups"]["params"]["reference"] == "a"


def test_scanpys_own_ranking_can_be_read_and_put_beside_the_data():
    sc = pytest.importorskip("scanpy", reason="scanpy is not installed")
    adata = data(HUMAN)
    adata.X = np.abs(adata.X) + np.asarray(adata.obs["group"] == "b")[:, None]
    sc.tl.rank_genes_groups(adata, "group", groups=["b"], reference="a", method="t-test")
    de = quiet(gb.read.toptable, adata)
    quiet(gb.tl.add_de, adata, de, rank_genes_groups="ours")
    theirs = sc.get.rank_genes_groups_df(adata, "b")
    ours = sc.get.rank_genes_groups_df(adata, "b", key="ours")
    assert list(theirs["names"]) == list(ours["names"])
    np.testing.assert_allclose(theirs["scores"], ours["scores"])


@pytest.mark.parametrize(
    ("contrast", "said"),
    [("b - a", ""), ("", "names no contrast"), ("x - y", "'x - y' names no two levels"), ("b vs. a", "")],
)
def test_a_ranking_that_figures_by_group_cannot_show_is_told_of(contrast, said):
    adata = ad.AnnData(np.ones((4, len(HUMAN))), obs=pd.DataFrame({"group": list("aabb")}, index=list("stuv")))
    adata.var_names = HUMAN
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gb.tl.add_de(adata, table(HUMAN, contrast=contrast), rank_genes_groups=True)
    texts = [str(one.message) for one in caught if issubclass(one.category, DataWarning)]
    assert len(texts) == bool(said)
    assert all(said in text and "contrast='AML - ALL'" in text for text in texts)
    assert (adata.uns["rank_genes_groups"]["params"]["groupby"] in adata.obs) is not bool(said)
