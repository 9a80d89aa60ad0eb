"""Explanations on an AnnData object: each model out of one call, scanpy's figures of the layer, both stores."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import geneml_bio as gb

FAST = {"screen": 12, "n_splits": 3, "n_repeats": 2, "tune": False, "n_jobs": 1, "progress": False}


def study(classes=("a", "b/c"), n=36, p=40):
    rng = np.random.default_rng(0)
    code = np.arange(n) % len(classes)
    X = rng.normal(size=(n, p))
    X[:, :3] += 2 * code[:, None]
    obs = pd.DataFrame({"state": np.array(classes)[code], "dose": X[:, 4] - X[:, 5]}, index=[f"s{i}" for i in range(n)])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(p)]))


@pytest.fixture(scope="module", params=[("a", "b/c"), ("a", "b/c", "d")], ids=["two", "three"])
def explained(request):
    adata = study(request.param)
    models = {"near/est": "knn", "xgboost": "xgboost", "logistic": "logistic"}
    result = gb.tl.classify(adata, "state", models=models, **FAST)
    return adata, result, gb.tl.explain(adata, result, n_orders=6, n_jobs=1, progress=False)


def test_each_model_comes_out_of_one_call_in_its_own_unit(explained):
    adata, result, got = explained
    about = adata.uns["classify_shap"]["per_model"].set_index("model")
    for name in result.models:
        other = adata.copy()
        alone = gb.tl.explain(other, result, model=name, n_orders=6, n_jobs=1, progress=False)
        table = gb.get.shap(adata, model=name)
        np.testing.assert_allclose(table["shap"], alone.per_gene.loc[table.index, "shap"], atol=1e-12)
        np.testing.assert_allclose(table["shap_rank"], alone.per_gene.loc[table.index, "shap_rank"], atol=1)  # ties
        np.testing.assert_allclose(table["used"], alone.per_gene.loc[table.index, "used"])
        assert table["share"].sum() == pytest.approx(1)
        assert table.attrs["unit"] == about.loc[name, "unit"] == alone.unit
        assert (table["screened"] >= table["used"] - 1e-12).all()
        if len(got.outputs) == 1:
            np.testing.assert_array_equal(table["direction"], alone.per_gene.loc[table.index, "direction"])
    assert not bool(about.loc["near/est", "exact"])
    assert float(about.loc["near/est", "sampling_error"]) > 0
    assert about.loc["xgboost", "genes_per_fold"] <= 12 < about.loc["xgboost", "genes_screened"]
    with pytest.raises(gb.errors.ColumnNotFoundError, match="Did you mean 'xgboost'"):
        gb.get.shap(adata, model="xgbost")
    with pytest.raises(gb.errors.InputError, match="n_orders"):
        gb.tl.explain(adata, result, n_orders=1, progress=False)
    assert {"rank_low", "rank_high", "sd", "screened", "used", "n_models", "n_agree"} <= set(gb.get.shap(adata))


@pytest.mark.parametrize("store", ["h5ad", "zarr"])
def test_both_stores_give_it_back(explained, store, tmp_path):
    adata = explained[0]
    path = tmp_path / f"x.{store}"
    getattr(adata, f"write_{store}")(path)
    again = getattr(ad, f"read_{store}")(path)
    for model in (None, "near/est", "xgboost"):
        pd.testing.assert_frame_equal(gb.get.shap(adata, model=model), gb.get.shap(again, model=model))
    np.testing.assert_array_equal(
        again.uns["classify_shap"]["per_model"]["exact"], adata.uns["classify_shap"]["per_model"]["exact"]
    )


def test_scanpy_draws_the_layers(explained):
    sc = pytest.importorskip("scanpy")
    plt = pytest.importorskip("matplotlib.pyplot")
    adata = explained[0].copy()
    adata.obsm["X_umap"] = adata.X[:, :2].copy()
    layers = [name for name in adata.layers if name]
    for layer in layers:
        ax = sc.pl.umap(adata, color="g0", layer=layer, show=False)
        drawn = np.sort(np.asarray(ax.collections[0].get_array(), dtype=float))
        np.testing.assert_allclose(drawn, np.sort(adata.layers[layer].toarray()[:, 0]), atol=1e-6)
        plt.close("all")
    assert len(layers) == (1 if adata.obs["state"].nunique() == 2 else 3)
    genes = list(gb.get.shap(adata).index[:4])
    axes = sc.pl.heatmap(adata, genes, groupby="state", layer=layers[0], show=False)
    image = max((a.get_array() for a in axes["heatmap_ax"].images), key=np.size)
    expected = adata.layers[layers[0]].toarray()[:, adata.var_names.get_indexer(genes)]
    # rows are in the order of the groups: each column holds the values of its gene
    np.testing.assert_allclose(np.sort(np.asarray(image, dtype=float), axis=0), np.sort(expected, axis=0), atol=1e-6)
    plt.close("all")


def test_regression_by_a_kernel_is_in_the_unit_of_the_target():
    adata = study()
    adata.X = sparse.csr_matrix(np.abs(adata.X))
    adata.obs["dose"] = adata.X[:, 4].toarray().ravel() * 10
    result = gb.tl.regress(adata, "dose", models=["svm"], **FAST)
    got = gb.tl.explain(adata, result, key="regress", n_orders=8, n_jobs=1, progress=False)
    assert got.unit == "unit of dose"
    assert got.max_error < 1e-9
    assert gb.get.shap(adata, key="regress").index[0] == "g4"
    total = np.asarray(adata.layers["regress_shap"].sum(axis=1)).ravel()
    base, margin = (adata.obsm[f"regress_shap_{part}"].to_numpy()[:, 0] for part in ("base", "margin"))
    np.testing.assert_allclose(base + total, margin, atol=1e-9)
    np.testing.assert_allclose(margin, adata.obs["regress_pred"], atol=1e-9)
    again = adata.copy()
    gb.tl.explain(
        again, key="regress", n_orders=8, n_jobs=1, progress=False
    )  # fitted again: the same models and orders
    assert abs(again.layers["regress_shap"] - adata.layers["regress_shap"]).max() < 1e-9
