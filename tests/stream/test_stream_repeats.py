"""Repeats, calibration and tuning of gb.tl.stream are those of classify and regress, resumed or not, and see no held-out cell."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, SGDClassifier
from stream_cells import cells
from test_stream_null import same_null

import geneml_bio as gb
from geneml_bio.core import registry, streamed_null
from geneml_bio.core import stream as core

HOW = {"screen": 10, "n_splits": 3, "n_repeats": 2, "progress": False, "n_jobs": 1, "models": ["logistic"]}
MORE = {"chunk_size": 130, "n_shap": 0}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Logistic regression in memory at its very optimum, as here."""
    entry = registry.REGISTRY["classification"]["logistic"]
    model = LogisticRegression(max_iter=5000, tol=1e-12, solver="newton-cholesky")
    monkeypatch.setitem(registry.REGISTRY["classification"], "logistic", registry.Entry(lambda: model, entry.space))


def study(n: int = 400, k: int = 2) -> ad.AnnData:
    adata = cells(n, 30, k=k, seed=5)
    adata.X = adata.X.astype(np.float64)
    return adata


def same(made: ad.AnnData, memory: ad.AnnData, key: str = "classify", atol: float = 1e-6) -> None:
    a, b = (gb.get.predictions(x, key).set_index(["model", "repeat", "sample"]).sort_index() for x in (made, memory))
    columns = [c for c in b if c.startswith("prob_")] or ["predicted"]
    assert list(a.index) == list(b.index)
    assert list(a["fold"]) == list(b["fold"])
    np.testing.assert_allclose(a[columns].to_numpy(float), b[columns].to_numpy(float), atol=atol)
    order = ["repeat", "fold", "model", "parameter"]
    a, b = (x.uns[key]["tuned"].sort_values(order).reset_index(drop=True) for x in (made, memory))
    pd.testing.assert_frame_equal(a.astype({"value": float}), b.astype({"value": float}), check_dtype=False)
    a, b = (gb.get.metrics(x, key).set_index(["model", "metric"]) for x in (made, memory))
    rows = a.index[~a.index.get_level_values("model").str.startswith("best of")]
    for name in ("value", "n_undefined"):
        np.testing.assert_allclose(a.loc[rows, name], b.loc[rows, name], atol=10 * atol)
    np.testing.assert_allclose(made.obsm[f"{key}_oof"], memory.obsm[f"{key}_oof"], atol=atol)
    np.testing.assert_allclose(made.var[f"{key}_selected"], memory.var[f"{key}_selected"])


@pytest.mark.parametrize(
    ("groups", "calibrate", "class_weight", "k"),
    [
        ("donor", None, None, 2),
        (None, "sigmoid", {"k0": 1, "k1": 3}, 2),
        ("donor", "sigmoid", "balanced", 3),
        ("donor", "isotonic", None, 2),
    ],
)
def test_repeats_calibration_and_tuning_are_those_of_classify(groups, calibrate, class_weight, k, tmp_path):
    memory = study(k=k)
    memory.write_h5ad(tmp_path / "a.h5ad")
    how = HOW | {"groups": groups, "calibrate": calibrate, "class_weight": class_weight}
    how |= {
        "n_permutations": 2 * (calibrate != "isotonic"),
        "models": ["logistic", "xgboost"] if k == 2 else ["logistic"],
    }
    gb.tl.classify(memory, "kind", **how)
    made = gb.tl.stream(tmp_path / "a.h5ad", "kind", **how, **MORE | {"n_shap": 60})
    # of an isotonic calibration, a margin that moves by 1e-8 can step over an edge
    same(made, memory, atol=1e-3 if calibrate == "isotonic" else 1e-6)
    if how["n_permutations"]:
        same_null(made, memory)
    params = gb.get.params(made)
    assert params["n_repeats"] == 2
    assert params.get("calibrate") == calibrate
    assert len(gb.get.shap(made)) == 30
    assert "classes" in gb.summary(made)


def test_ridge_is_tuned_as_by_regress_and_a_sample_is_enough(tmp_path, monkeypatch):
    memory = study()
    memory.obs["score"] += np.random.default_rng(0).normal(0, 3, memory.n_obs)
    pytest.importorskip("zarr")
    memory.write_zarr(tmp_path / "a.zarr")
    how = HOW | {"models": ["ridge"], "groups": "donor", "n_permutations": 2}
    gb.tl.regress(memory, "score", **how)
    more = MORE | {"task": "regression", "key_added": "regress"}
    made = gb.tl.stream(tmp_path / "a.zarr", "score", **how, **more)
    same(made, memory, "regress", atol=1e-9)
    same_null(made, memory, "regress", atol=1e-9)
    assert made.uns["regress"]["tuned"]["value"].astype(float).nunique() > 1, "there is something to choose"
    reads = []
    monkeypatch.setattr(core, "TUNE_ROWS", 200)
    true = core.files_of
    monkeypatch.setattr(core, "files_of", lambda *asked: reads.append(true(*asked)) or reads[-1])
    few = gb.tl.stream(tmp_path / "a.zarr", "score", **how, **more)
    (files,) = reads
    n_rows, n_columns = files.sampled.shape
    assert 290 < n_rows < 310, "so that training parts have 200"
    assert n_columns == len(files.sampled_union)
    assert len(few.uns["regress"]["tuned"]) == 6


def test_a_sample_of_donors_is_screened_by_sums_of_its_own(monkeypatch):
    """Sums by donor over the sample give what a pass over its rows gives."""
    atlas = study(600)
    monkeypatch.setattr(core, "TUNE_ROWS", 200)
    how = HOW | MORE | {"groups": "donor", "n_repeats": 1}
    by_donor = gb.tl.stream(atlas, "kind", **how)
    monkeypatch.setattr("geneml_bio.core.streamed_front._BY_DONOR", 0)
    by_fold = gb.tl.stream(atlas, "kind", **how)
    same(by_donor, by_fold)


def test_work_that_was_stopped_anywhere_ends_with_the_same_bits(tmp_path, monkeypatch):
    atlas = study()
    how = HOW | MORE | {"groups": "donor", "calibrate": "sigmoid", "n_permutations": 2, "test_size": 0.3, "n_shap": 40}
    whole = gb.tl.stream(atlas, "kind", **how)
    counts = {"left": 0}

    def stopping(true):
        def run(*asked, **more):
            counts["left"] -= 1
            if not counts["left"]:
                raise KeyboardInterrupt
            return true(*asked, **more)

        return run

    for module, name in ((core, "_fitted"), (core, "_inner"), (core, "files_of"), (core, "_fronts"), (streamed_null, "_scored"),
                         (streamed_null, "_inner"), (streamed_null, "files_of")):  # fmt: skip
        monkeypatch.setattr(module, name, stopping(getattr(module, name)))
    stops = 0
    for step in (2, 3, 1, 4, 2, 5, 2, 1, 2, 1):
        counts["left"] = step
        try:
            again = gb.tl.stream(atlas, "kind", checkpoint=tmp_path, **how)
            break
        except KeyboardInterrupt:
            stops += 1
    else:
        counts["left"] = 0
        again = gb.tl.stream(atlas, "kind", checkpoint=tmp_path, **how)
    assert stops > 4
    for get in (gb.get.predictions, gb.get.metrics, gb.get.null, gb.get.screens, gb.get.shap):
        pd.testing.assert_frame_equal(get(again), get(whole))
    pd.testing.assert_frame_equal(gb.get.predictions(again, test=True), gb.get.predictions(whole, test=True))
    np.testing.assert_array_equal(again.obsm["classify_oof"], whole.obsm["classify_oof"])
    n = len(list(tmp_path.iterdir()))
    for more in ({"n_repeats": 1}, {"calibrate": None}):
        gb.tl.stream(atlas, "kind", checkpoint=tmp_path, **(how | more | {"n_permutations": 0}))
        n += 1
        assert len(list(tmp_path.iterdir())) == n, "another question finds nothing"


def test_what_is_held_out_has_no_part_in_screens_tuning_or_calibration(monkeypatch):
    atlas = study()
    atlas.obs["age"] = np.random.default_rng(0).normal(size=atlas.n_obs)
    found: list[dict] = [{}, {}]
    true = core._fitted

    def noting(part, candidate, *rest):
        done = true(part, candidate, *rest)
        found[-1][part.job.run, part.fold] = done["pipeline"]
        return done

    monkeypatch.setattr(core, "_fitted", noting)
    how = HOW | MORE | {"groups": "donor", "calibrate": "isotonic", "covariates": "age"}
    folds = gb.get.folds(gb.tl.stream(atlas, "kind", **how))
    first = found.pop()
    for run, fold in ((0, 1), (1, 2)):
        found.append({})
        other = atlas.copy()
        out = folds.query(f"repeat == {run} and fold == {fold}")["sample"]
        rows = other.obs_names.isin(out)
        X = other.X.toarray()
        X[rows] = X[rows][:, ::-1] * 3
        other.X = X
        other.obs.loc[rows, "age"] *= -7
        gb.tl.stream(other, "kind", **how)
        before, after = first[run, fold], found[-1][run, fold]
        assert isinstance(after, CalibratedClassifierCV)
        np.testing.assert_allclose(after.predict_proba(atlas.X), before.predict_proba(atlas.X), atol=1e-12)
        another = found[-1][run, (fold + 1) % 3].predict_proba(atlas.X)
        assert np.abs(another - first[run, (fold + 1) % 3].predict_proba(atlas.X)).max() > 1e-3, "others have seen them"


def test_what_cannot_be_calibrated_or_repeated_is_refused():
    atlas = study(120)
    how = HOW | MORE
    for wrong, words in (({"n_repeats": 0}, "n_repeats"), ({"calibrate": "platt"}, "'sigmoid' or 'isotonic'")):
        with pytest.raises(gb.errors.InputError, match=words):
            gb.tl.stream(atlas, "kind", **(how | wrong))
    with pytest.raises(gb.errors.InputError, match="calibrate= is for classification"):
        gb.tl.stream(atlas, "score", task="regression", calibrate="sigmoid", **(how | {"models": "ridge"}))
    rare = atlas[np.r_[np.flatnonzero(atlas.obs["kind"] == "k0"), np.flatnonzero(atlas.obs["kind"] == "k1")[:2]]].copy()
    with pytest.raises(gb.errors.TargetError, match="is to be calibrated"):
        gb.tl.stream(rare, "kind", calibrate="sigmoid", **(how | {"n_splits": 2}))
    made = gb.tl.stream(atlas, "kind", calibrate="sigmoid", **(how | {"models": {"m": SGDClassifier(loss="log_loss")}}))
    assert np.isfinite(made.obsm["classify_oof"].to_numpy()).all()
