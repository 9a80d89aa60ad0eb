"""The data sets: what they hold, that they store, and that they are their source's to the last digit."""

from __future__ import annotations

import subprocess
import sys

import anndata as ad
import numpy as np
import pytest

import geneml_bio as gb


def test_golub_is_complete():
    adata = gb.datasets.golub()
    assert adata.shape == (38, 3051)
    assert list(adata.obs["class"].cat.categories) == ["ALL", "AML"]
    assert adata.obs["class"].value_counts().to_dict() == {"ALL": 27, "AML": 11}
    assert list(adata.obs_names[[0, 26, 27, 37]]) == ["ALL_01", "ALL_27", "AML_01", "AML_11"]
    assert adata.var_names.is_unique
    assert adata.var.loc["X95735_at", "description"] == "Zyxin"
    assert adata.X.dtype == np.float64
    assert np.isfinite(adata.X).all()
    about = adata.uns["dataset"]
    assert "286:531" in about["reference"]
    assert about["licence"] == "LGPL"


def test_golub_is_a_fresh_object_each_time():
    first = gb.datasets.golub()
    first.X[:] = 0
    assert gb.datasets.golub().X.any()


def test_golub_loads_nothing_heavy():
    code = (
        "import sys; from geneml_bio import datasets; datasets.golub(); "
        "print([m for m in ('rpy2', 'sklearn', 'shap', 'xgboost', 'matplotlib', 'scanpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.r
def test_golub_is_multtests(fresh_r):
    if fresh_r.bridge.status()["packages"]["multtest"] is None:
        pytest.skip("R has no package multtest")
    fresh_r('data(golub, package = "multtest", envir = environment())')
    adata = gb.datasets.golub()
    np.testing.assert_array_equal(adata.X.ravel(), fresh_r.numbers("golub"))
    assert list(adata.var_names) == list(fresh_r("golub.gnames[, 3]"))
    assert adata.var["description"].tolist() == list(fresh_r("golub.gnames[, 2]"))
    np.testing.assert_array_equal(adata.obs["class"] == "AML", fresh_r.numbers("golub.cl") == 1)


@pytest.fixture(scope="module")
def live(r_limma):
    packages = r_limma.bridge.status()["packages"]
    missing = [name for name in ("ALL", "bladderbatch") if packages[name] is None]
    if missing:
        pytest.skip(f"R has no package {missing[0]}")
    return {"leukemia": gb.datasets.leukemia(), "bladder": gb.datasets.bladder()}


@pytest.mark.r
def test_leukemia_is_bioconductors_all(live, fresh_r):
    adata = live["leukemia"]
    assert adata.shape == (79, 12_625)
    assert list(adata.obs["mol.biol"].cat.categories) == ["NEG", "BCR/ABL"]
    assert adata.obs["mol.biol"].value_counts().to_dict() == {"NEG": 42, "BCR/ABL": 37}
    assert adata.obs_names[0] == "01005"
    assert "AFFX-HSAC07/X00351_3_at" in adata.var_names
    assert adata.obs["age"].isna().sum() == fresh_r.numbers(
        """{ data(ALL, package = "ALL", envir = environment()); p <- Biobase::pData(ALL)
        keep <- grepl("^B", p$BT) & p$mol.biol %in% c("BCR/ABL", "NEG"); sum(is.na(p$age[keep])) }"""
    )
    np.testing.assert_array_equal(adata.X.ravel(), fresh_r.numbers("Biobase::exprs(ALL)[, keep]"))
    assert list(adata.obs_names) == list(fresh_r("Biobase::sampleNames(ALL)[keep]"))


@pytest.mark.r
def test_bladder_is_bioconductors(live, fresh_r):
    adata = live["bladder"]
    assert adata.shape == (57, 22_283)
    assert adata.obs["cancer"].cat.categories[0] == "Normal"
    assert adata.obs["batch"].value_counts().to_dict() == {"5": 19, "2": 18, "1": 11, "4": 5, "3": 4}
    assert set(adata.obs.loc[adata.obs["batch"] == "3", "cancer"]) == {"Normal"}
    fresh_r('data(bladderdata, package = "bladderbatch", envir = environment())')
    np.testing.assert_array_equal(adata.X.ravel(), fresh_r.numbers("Biobase::exprs(bladderEset)"))


@pytest.mark.r
@pytest.mark.parametrize("name", ["leukemia", "bladder"])
def test_what_comes_from_r_can_be_stored(name, live, tmp_path):
    adata = live[name].copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    assert list(back.obs.columns) == list(adata.obs.columns)
    for column in adata.obs:
        assert back.obs[column].astype(object).isna().equals(adata.obs[column].astype(object).isna())
        kept = adata.obs[column].notna()
        assert (back.obs.loc[kept, column].astype(str) == adata.obs.loc[kept, column].astype(str)).all(), column
    np.testing.assert_array_equal(back.X, adata.X)
