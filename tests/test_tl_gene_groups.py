"""Gene groups on an AnnData: what they need, what they write, and what has no part in them."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb
from geneml_bio.core.errors import ColumnNotFoundError, InputError, StaleResultError, StorageError, ViewError

HOW = {"screen": 30, "n_splits": 3, "n_repeats": 1, "tune": False, "progress": False, "n_jobs": 1}


def _study(seed=0, **more):
    return gb.datasets.simulate(
        60, 200, n_informative=12, effect=1.5, correlation=0.85, block_size=4, seed=seed, **more
    )


def _explained(adata, models=("logistic", "random_forest"), **more):
    result = gb.tl.classify(adata, "target", models=list(models), **HOW, **more)
    gb.tl.explain(adata, result, progress=False)
    return adata


@pytest.fixture(scope="module")
def explained():
    return _explained(_study())


def test_true_blocks_are_grouped_and_shap_still_adds_up_to_the_output(explained):
    adata = explained.copy()
    table = gb.tl.gene_groups(adata)
    assert len(table) >= 5
    block = adata.var["block"].astype(str)
    for genes in table["genes"].str.split(", "):
        assert block[genes].nunique() == 1
    # groups and single genes + base = margin
    values = adata.layers["classify_shap"].toarray()
    label = adata.var["classify_group"].astype(str)
    by_group = (
        pd.DataFrame(values.T, index=adata.var_names)
        .groupby(label.where(label != "", adata.var_names.to_series()))
        .sum()
        .T
    )
    whole = by_group.sum(axis=1).to_numpy() + adata.obsm["classify_shap_base"]["case"].to_numpy()
    np.testing.assert_allclose(whole, adata.obsm["classify_shap_margin"]["case"], atol=1e-8)
    np.testing.assert_allclose(by_group[table["group"]].abs().mean(), table["shap"], rtol=1e-10)
    pd.testing.assert_frame_equal(gb.get.gene_groups(adata), table)


def test_what_is_written_survives_files(explained, tmp_path):
    adata = explained.copy()
    gb.tl.limma(adata, "~ 0 + target", contrast=("target", "case", "control"), engine="native")
    gb.tl.gene_groups(adata)
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for back in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        pd.testing.assert_frame_equal(gb.get.gene_groups(back), gb.get.gene_groups(adata))
        pd.testing.assert_frame_equal(gb.get.replacements(back), gb.get.replacements(adata))
        for name in ("classify_group", "classify_stands_behind", "classify_stands_behind_r"):
            assert back.var[name].tolist() == pytest.approx(adata.var[name].tolist(), nan_ok=True)
    there = gb.get.replacements(adata)
    expected = gb.get.de(adata)["adj.P.Val"].reindex(there["stand_in"])
    np.testing.assert_array_equal(there["adj.P.Val"], expected)
    assert "adj.P.Val" not in gb.get.replacements(adata, de=None)
    behind = adata.var["classify_stands_behind"].astype(str)
    shap = adata.var["classify_shap"]
    named = behind[behind != ""]
    assert len(named)
    assert (shap[named].to_numpy() > shap[named.index].to_numpy()).all()


def test_samples_of_the_test_set_have_no_part():
    adata = _study(n_test=20)
    adata.obs["held"] = (adata.obs["set"] == "test").to_numpy()
    other = adata.copy()
    rows = other.obs["held"].to_numpy()
    X = np.array(other.X)
    X[rows] = X[rows][::-1] + np.random.default_rng(0).normal(size=(rows.sum(), 1)) * 5  # correlates all genes there
    other = ad.AnnData(X, obs=other.obs, var=other.var)
    tables = [gb.tl.gene_groups(_explained(a, ["logistic"], test_set="held")) for a in (adata, other)]
    assert len(tables[0])
    pd.testing.assert_frame_equal(*tables)


def test_more_classes_and_numbers():
    three = _explained(_study(n_classes=3), ["logistic"])
    table = gb.tl.gene_groups(three)
    assert set(table["toward"]) <= {"A", "B", "C"}
    assert table["toward"].nunique() > 1
    number = _study(task="regression")
    gb.tl.regress(number, "target", models="ridge", **HOW)
    gb.tl.explain(number, key="regress", n_jobs=1, progress=False)
    table = gb.tl.gene_groups(number, key="regress")
    assert set(table["toward"]) == {"prediction"}
    truth = np.sign(number.var["effect"])
    sure = table[table["leader"].map(truth) != 0]
    assert len(sure)
    assert (sure["direction"] == sure["leader"].map(truth)).mean() > 0.7


def test_it_is_not_kept_when_the_models_are_explained_or_validated_again(explained):
    adata = explained.copy()
    gb.tl.gene_groups(adata)
    gb.tl.explain(adata, n_jobs=1, progress=False)
    with pytest.raises(ColumnNotFoundError, match="gene_groups"):
        gb.get.gene_groups(adata)
    assert not [name for name in adata.var if "group" in name or "behind" in name]


def test_what_is_missing_is_named_and_the_object_left_alone(explained):
    adata = _study()
    with pytest.raises(ColumnNotFoundError, match=r"Run gb\.tl\.classify"):
        gb.tl.gene_groups(adata)
    gb.tl.classify(adata, "target", models="logistic", **HOW)
    with pytest.raises(ColumnNotFoundError, match=r"Run gb.tl.explain\(adata, key='classify'\) first"):
        gb.tl.gene_groups(adata)
    with pytest.raises(ViewError):
        gb.tl.gene_groups(explained[:, :100])
    changed = explained.copy()
    changed.X[0, 0] += 1
    before = (set(changed.var), set(changed.uns))
    with pytest.raises(StaleResultError):
        gb.tl.gene_groups(changed)
    with pytest.raises(InputError, match="threshold"):
        gb.tl.gene_groups(explained, threshold=0.2)
    assert before == (set(changed.var), set(changed.uns))
    taken = explained.copy()
    taken.uns["classify_groups"] = "mine"
    with pytest.raises(StorageError, match="has not made"):
        gb.tl.gene_groups(taken)
    with pytest.raises(ColumnNotFoundError, match="gene_groups"):
        gb.get.replacements(explained)
