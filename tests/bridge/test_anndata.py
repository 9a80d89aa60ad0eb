"""What is written survives h5ad and zarr equal to what was written; a write that fails leaves the object as it was."""

from __future__ import annotations

from functools import lru_cache

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import geneml_bio as gb
from geneml_bio.bridge import keys
from geneml_bio.bridge.anndata import attach, storable
from geneml_bio.bridge.extract import extract_cohort
from geneml_bio.core.errors import ColumnNotFoundError, InputError, StorageError, TargetError, ViewError

FAST = {"n_splits": 3, "n_repeats": 2, "screen": 20, "n_jobs": 1, "progress": False}


def hostile(n=36, p=60, classes=("NEG", "BCR/ABL"), form=np.asarray, seed=0) -> ad.AnnData:
    """Class names with '/', probes with '/', sample names that look like numbers."""
    rng = np.random.default_rng(seed)
    code = np.arange(n) % len(classes)
    X = rng.normal(size=(n, p)).astype(np.float32)
    X[:, :4] += 1.5 * code[:, None]
    obs = pd.DataFrame(
        {
            "mol.biol": pd.Categorical(np.array(classes)[code], categories=[*classes, "unused"]),
            "age": rng.normal(50, 10, n),
            "site": np.array(["x", "y", "z"])[rng.integers(0, 3, n)],
        },
        index=[f"{i:05d}" for i in range(n)],
    )
    names = [f"AFFX-{i}/M_{i}_at" for i in range(p - 3)] + ["NA", "1e5", "=1+1"]
    return ad.AnnData(form(X), obs=obs, var=pd.DataFrame(index=names))


def full(classes=("NEG", "BCR/ABL"), form=np.asarray) -> ad.AnnData:
    """An object with every kind of result; made once per kind, handed out as a copy."""
    return _full(classes, form).copy()


@lru_cache
def _full(classes, form) -> ad.AnnData:
    adata = hostile(classes=classes, form=form)
    contrast = [("mol.biol", name, "NEG") for name in classes[1:]]
    dense = hostile(classes=classes)
    gb.tl.limma(
        dense,
        "~ 0 + mol.biol + age",
        contrast=contrast[0] if len(contrast) == 1 else contrast,
        engine="native",
        key_added="limma",
    )
    de = gb.DETable(
        gb.get.de(dense), kind="t" if len(contrast) == 1 else "F", contrast="BCR/ABL - NEG", source={"engine": "native"}
    )
    gb.tl.add_de(adata, de)
    result = gb.tl.classify(adata, "mol.biol", covariates=["age", "site"], batch="site", n_permutations=2, **FAST)
    gb.tl.explain(adata, result, progress=False)
    gb.tl.biomarkers(adata)
    return adata


def assert_same(a, b, where=""):
    """Equal in value and in kind, all the way down."""
    if isinstance(a, dict):
        assert set(a) == set(b), where
        for name in a:
            assert_same(a[name], b[name], f"{where}/{name}")
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(
            a, b, check_exact=True, check_index_type=False, check_column_type=False, obj=where
        )
    elif sparse.issparse(a):
        assert sparse.issparse(b), where
        assert a.shape == b.shape, where
        assert a.dtype == b.dtype, where
        assert (a != b).nnz == 0, where
    elif isinstance(a, np.ndarray):
        assert (
            list(map(str, a)) == list(map(str, b)) if a.dtype.kind in "OUS" else np.array_equal(a, b, equal_nan=True)
        ), where
    else:
        assert a == b, where


@pytest.mark.parametrize("store", ["h5ad", "zarr"])
@pytest.mark.parametrize("classes", [("NEG", "BCR/ABL"), ("NEG", "BCR/ABL", "E2A/PBX1")])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_everything_written_survives_storage(tmp_path, store, classes, form):
    adata = full(classes, form)
    path = tmp_path / f"x.{store}"
    getattr(adata, f"write_{store}")(path)
    again = getattr(ad, f"read_{store}")(path)
    for slot in ("obs", "var"):
        assert_same(getattr(adata, slot), getattr(again, slot), slot)
    for slot in ("obsm", "varm", "layers", "uns"):
        mine, theirs = getattr(adata, slot), getattr(again, slot)
        names = [name for name in mine if name is not None]
        assert set(names) == {name for name in theirs if name is not None}
        for name in names:
            assert_same(mine[name], theirs[name], f"{slot}/{name}")
    for what in (
        gb.get.de,
        gb.get.metrics,
        gb.get.predictions,
        gb.get.shap,
        gb.get.biomarkers,
        gb.get.audit,
        gb.get.null,
        gb.get.folds,
    ):
        pd.testing.assert_frame_equal(what(adata), what(again), check_exact=True)
    assert gb.get.params(again)["classes"] == list(classes)
    assert {f"prob_{c}" for c in classes} <= set(gb.get.predictions(again).columns)
    # an explanation made again from the file is the one that was stored
    before = gb.get.shap_values(adata, output=classes[1]).copy()
    gb.tl.explain(again, progress=False)
    assert abs(gb.get.shap_values(again, output=classes[1]) - before).max() < 1e-9


def test_slots_are_where_the_docs_say():
    adata = full()
    assert {"classify_pred"} <= set(adata.obs)
    assert list(adata.obsm["classify_oof"].columns) == ["NEG", "BCR%2FABL"]
    assert adata.layers["classify_shap"].shape == adata.shape
    assert sparse.issparse(adata.layers["classify_shap"])
    assert {"limma_logFC", "limma_AveExpr", "limma_t", "limma_P.Value", "limma_adj.P.Val", "limma_B"} <= set(adata.var)
    assert {"classify_selected", "classify_shap", "classify_shap_rank", "classify_shap_direction"} <= set(adata.var)
    for name in ("params", "classes", "metrics", "predictions", "folds", "audit", "null", "versions", "fingerprint"):
        assert name in adata.uns["classify"], name
    # rows follow the genes when the object is sliced
    part = adata[:, ::-1][:, :5].copy()
    expected = adata.varm["biomarkers"].loc[part.var_names, "rank"]
    assert list(part.varm["biomarkers"]["rank"]) == list(expected)
    np.testing.assert_array_equal(
        part.layers["classify_shap"].toarray(), adata.layers["classify_shap"].toarray()[:, ::-1][:, :5]
    )


def _state(adata):
    return {
        "obs": adata.obs.copy(),
        "var": adata.var.copy(),
        "uns": sorted(adata.uns),
        "obsm": sorted(adata.obsm),
        "varm": sorted(adata.varm),
        "layers": sorted(name for name in adata.layers if name is not None),
        "X": np.asarray(adata.X).copy(),
    }


def test_a_write_that_fails_undoes_the_others():
    adata = hostile()
    adata.var["kept"] = 1.0
    before = _state(adata)
    writes = [
        ("var", "kept", np.zeros(60)),
        ("var", "fine", np.zeros(60)),
        ("uns", "u", {"a": 1}),
        ("layers", "bad", np.zeros((3, 3))),
    ]
    with pytest.raises(StorageError, match="object is unchanged"):
        attach(adata, writes)
    assert_same(before, _state(adata))


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda a: gb.tl.classify(a, "mol_biol", **FAST), ColumnNotFoundError, "Did you mean 'mol.biol'"),
        (lambda a: gb.tl.classify(a, "age", **FAST), TargetError, "gb.tl.regress"),
        (lambda a: gb.tl.regress(a, "mol.biol", **FAST), TargetError, "gb.tl.classify"),
        (lambda a: gb.tl.classify(a, "mol.biol", layer="logs", **FAST), ColumnNotFoundError, "No layer"),
        (lambda a: gb.tl.classify(a, "mol.biol", groups="donor", **FAST), ColumnNotFoundError, "groups"),
        (
            lambda a: gb.tl.classify(a, "mol.biol", batch="mol.biol", **FAST),
            gb.errors.ConfoundingError,
            "allow_confounded",
        ),
        (lambda a: gb.tl.classify(a, "mol.biol", covariates=["nope"], **FAST), ColumnNotFoundError, "covariates"),
        (lambda a: gb.tl.classify(a, "mol.biol", reference="POS", **FAST), TargetError, "reference"),
        (lambda a: gb.tl.classify(a, "mol.biol", key_added="a/b", **FAST), StorageError, "key_added"),
        (lambda a: gb.tl.classify(a, "mol.biol", models="svn", **FAST), InputError, "Unknown model"),
        (lambda a: gb.tl.classify(a, "mol.biol", missing="ignore", **FAST), InputError, "'drop' or 'error'"),
        (
            lambda a: gb.tl.classify(
                a,
                "mol.biol",
                **{**FAST, "screen": gb.DETable(pd.DataFrame({"logFC": [1.0], "P.Value": [0.1]}, index=["NA"]))},
            ),
            gb.errors.LeakageError,
            "ExternalScreen",
        ),
        (lambda a: gb.tl.explain(a), ColumnNotFoundError, "gb.tl.classify"),
        (lambda a: gb.tl.biomarkers(a), InputError, "neither"),
        (lambda a: gb.tl.limma(a, "~ nope", contrast="x", engine="native"), ColumnNotFoundError, "nope"),
        (lambda a: gb.tl.limma(a, "~ 0 + mol.biol", contrast="x", engine="native"), gb.errors.GenemlError, "x"),
        (
            lambda a: gb.tl.limma(a, "~ 0 + mol.biol", contrast=("mol.biol", "BCR/ABL", "NEG"), engine="S"),
            InputError,
            "engine",
        ),
        (lambda a: gb.tl.limma(a, "~ system('x')", contrast="x", engine="native"), gb.errors.FormulaError, "system"),
        (
            lambda a: gb.tl.add_de(a, gb.DETable(pd.DataFrame({"logFC": [1.0], "P.Value": [0.1]}, index=["TP53"]))),
            gb.errors.TableError,
            "TP53",
        ),
    ],
)
def test_a_call_that_fails_says_why_and_leaves_the_object_as_it_was(call, error, says):
    adata = hostile()
    before = _state(adata)
    with pytest.raises(error, match=says.replace("(", r"\(")):
        call(adata)
    assert_same(before, _state(adata))


def _broken(change):
    adata = hostile()
    changed = change(adata)
    return adata if changed is None else changed


def _set(adata, what, value):
    setattr(adata, what, value)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (lambda a: _set(a, "var_names", ["same"] * a.n_vars), gb.errors.DuplicateNamesError, "var_names_make_unique"),
        (lambda a: _set(a, "obs_names", ["same"] * a.n_obs), gb.errors.DuplicateNamesError, "obs_names_make_unique"),
        (lambda a: a.X.__setitem__((0, 0), np.inf), InputError, "infinite"),
        (lambda a: a[a.obs["mol.biol"] == "NEG"].copy(), TargetError, "one class only"),
        (lambda a: a[:, :0].copy(), InputError, "no genes"),
        (
            lambda a: a[:10].copy() if a.obs.__setitem__("mol.biol", ["NEG"] * 35 + ["x"]) else a[26:].copy(),
            TargetError,
            "drop or merge",
        ),
        (lambda a: a[:20], ViewError, r"adata\.copy\(\)"),
        (lambda a: a.to_df(), InputError, "Expected an AnnData"),
        (lambda a: a.obs.__setitem__("mol.biol", np.nan), TargetError, "missing for every sample"),
    ],
)
def test_data_that_cannot_be_used_is_refused(change, error, says):
    adata = _broken(change)
    with pytest.raises(error, match=says):
        gb.tl.classify(adata, "mol.biol", **FAST)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (np.tile([0, 1], 18), ("0", "1")),
        (np.tile([2.0, 10.0], 18), ("2", "10")),
        (np.tile([True, False], 18), ("False", "True")),
        (np.tile(["b", "a"], 18), ("a", "b")),
        (pd.Categorical(np.tile(["b", "a"], 18), categories=["b", "c", "a"]), ("b", "a")),
        (pd.array(np.tile(["b", "a"], 18), dtype="string"), ("a", "b")),
        (pd.array(np.tile([1, 0], 18), dtype="Int64"), ("0", "1")),
        (np.tile(["model", "fold"], 18), ("fold", "model")),
    ],
)
def test_targets_of_every_type(values, classes):
    adata = hostile()
    adata.obs["y"] = values
    assert extract_cohort(adata, "y", task="classification").classes == classes
    got = gb.tl.classify(adata, "y", models=["logistic"], **FAST)
    assert got.classes == classes
    assert list(adata.obs["classify_pred"].cat.categories) == list(classes)


def test_samples_without_a_target_are_counted_dropped_or_refused():
    adata = hostile()
    values = adata.obs["mol.biol"].astype(object)
    values.iloc[[0, 5]] = None
    adata.obs["y"] = pd.Categorical(values, categories=["NEG", "BCR/ABL"])
    with pytest.raises(TargetError, match="2 of 36"):
        gb.tl.classify(adata, "y", missing="error", **FAST)
    with pytest.warns(gb.errors.DataWarning, match="2 of 36 samples"):
        result = gb.tl.classify(adata, "y", models=["logistic"], **FAST)
    assert adata.obs["classify_pred"].isna().tolist() == [i in (0, 5) for i in range(36)]
    assert np.isnan(adata.obsm["classify_oof"].to_numpy()).any(axis=1).tolist() == [i in (0, 5) for i in range(36)]
    gb.tl.explain(adata, result, progress=False)
    assert adata.layers["classify_shap"][[0, 5]].nnz == 0


def test_data_that_changed_since_validation_are_not_explained():
    adata = hostile()
    result = gb.tl.classify(adata, "mol.biol", **FAST)
    other = adata.copy()
    other.X[0, 0] += 1
    with pytest.raises(gb.errors.StaleResultError, match="changed since"):
        gb.tl.explain(other, result, progress=False)
    elsewhere = gb.tl.classify(adata.copy(), "mol.biol", **{**FAST, "n_splits": 4})
    with pytest.raises(gb.errors.StaleResultError, match="does not belong"):
        gb.tl.explain(adata, elsewhere, progress=False)


def test_backed_objects_are_refused(tmp_path):
    hostile().write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(ViewError, match="to_memory"):
        gb.tl.classify(ad.read_h5ad(tmp_path / "x.h5ad", backed="r"), "mol.biol", **FAST)


@pytest.mark.parametrize("value", [{"a": object()}, {1: 2}, {"a/b": 1}, {"x": [1, "a"]}, {"t": pd.Timestamp("2020")}])
def test_values_that_stores_corrupt_are_refused(value):
    with pytest.raises(StorageError):
        storable(value, "uns['x']")


def test_escaped_names_come_back():
    for name in ("BCR/ABL", "a%2Fb", "100%", "tab\there", "plain"):
        assert keys.unescape(keys.escape(name)) == name
        assert "/" not in keys.escape(name)
