"""What the caller hands over: it stays as it was, and what is written in two ways or has changed since is told."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import geneml_bio as gb
from geneml_bio.core.audit import audit
from geneml_bio.core.errors import AuditWarning, StaleResultError
from geneml_bio.core.schema import Cohort

QUIET = {"models": "logistic", "screen": 10, "n_splits": 3, "n_repeats": 1, "n_jobs": 1, "progress": False}


def study(n: int = 36, p: int = 40, seed: int = 0) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    X = rng.normal(6, 1, size=(n, p))
    y = np.array(["no", "yes"])[np.arange(n) % 2]
    X[y == "yes", :4] += 1.5
    obs = pd.DataFrame(
        {"y": y, "dose": X[:, 0], "donor": [f"D{i // 2}" for i in range(n)]}, index=[f"s{i}" for i in range(n)]
    )
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(p)]))


def disordered(adata: ad.AnnData, kind: type) -> ad.AnnData:
    """A sparse matrix as files and filters leave it: columns out of order, and some values in two parts."""
    thin = np.where(adata.X > 6, adata.X, 0.0)
    rows, columns = np.nonzero(thin)
    data = thin[rows, columns]
    data[::5] /= 2
    rows, columns, data = (np.r_[part, part[::5]] for part in (rows, columns, data))
    order = np.lexsort((-columns, rows))
    start = np.r_[0, np.cumsum(np.bincount(rows, minlength=adata.n_obs))]
    matrix = sparse.csr_matrix(thin.shape)
    matrix.data, matrix.indices, matrix.indptr = data[order], columns[order].astype(kind), start.astype(kind)
    return ad.AnnData(matrix, obs=adata.obs.copy(), var=adata.var.copy())


STEPS = {
    "classify": lambda adata: gb.tl.classify(adata, "y", **QUIET),
    "regress": lambda adata: gb.tl.regress(adata, "dose", **QUIET | {"models": "ridge"}),
    "limma": lambda adata: gb.tl.limma(adata, "~ y", contrast="yyes", engine="native"),
    "gene_features": lambda adata: gb.pp.gene_features(adata),
}


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("step", STEPS)
def test_the_arrays_of_a_sparse_matrix_stay_as_they_were(step, kind):
    adata = disordered(study(), kind)
    parts = ("data", "indices", "indptr")
    before = [getattr(adata.X, name).copy() for name in parts]
    STEPS[step](adata)
    for name, values in zip(parts, before, strict=True):
        np.testing.assert_array_equal(getattr(adata.X, name), values)


def test_a_disordered_matrix_scores_as_an_orderly_one_does():
    thin = study()
    thin.X = np.where(thin.X > 6, thin.X, 0.0)
    one = gb.tl.classify(thin, "y", **QUIET).predictions
    two = gb.tl.classify(disordered(study(), np.int64), "y", **QUIET).predictions
    pd.testing.assert_frame_equal(one, two, check_exact=False, atol=1e-7)


@pytest.mark.parametrize("what", ["groups", "batch", "covariates"])
def test_results_are_stale_once_groups_batch_or_covariates_changed(what, tmp_path):
    adata = study()
    column = {"groups": "donor", "batch": "plate", "covariates": "age"}[what]
    adata.obs["plate"] = np.random.default_rng(0).choice(["p", "q"], 36)
    adata.obs["age"] = np.random.default_rng(1).normal(50, 9, 36)
    result = gb.tl.classify(adata, "y", **QUIET, **{what: column})
    adata.write_h5ad(tmp_path / "a.h5ad")
    gb.tl.fit(ad.read_h5ad(tmp_path / "a.h5ad"))
    adata.obs[column] = adata.obs[column].to_numpy()[::-1]
    for call in (lambda: gb.tl.explain(adata, result, progress=False), lambda: gb.tl.fit(adata, result)):
        with pytest.raises(StaleResultError):
            call()


def _with(target, **more) -> Cohort:
    n = len(target)
    X = np.random.default_rng(0).normal(size=(n, 5))
    target = np.asarray(target, dtype=object)
    classes = tuple(dict.fromkeys(target))
    names = pd.Index([f"g{i}" for i in range(5)]), pd.Index([f"s{i}" for i in range(n)])
    return Cohort(X, *names, target, classes, **{k: np.array(v, dtype=object) for k, v in more.items()})


@pytest.mark.parametrize(
    ("cohort", "level", "said"),
    [
        (_with(["a", "b", "a ", "b"] * 3), "warning", r"Classes .*'a' \(2 ways\)"),
        (_with(["Aa", "AA", "aa"] * 4), "note", r"Classes .*'Aa' \(3 ways\)"),
        (
            _with(["a", "b"] * 6, groups=["D1", "D2", "d1 ", "D3"] * 3),
            "warning",
            r"Groups .*'D1' .* both sides of a fold",
        ),
        (_with(["a", "b"] * 6, groups=[1, "1", 2.0, 3] * 3), "warning", r"Groups .*'1' \(2 ways\)"),
        (_with(["a", "b"] * 6, batch=["x y", "x  y", "z"] * 4), "warning", r"Batches .*'x y'"),
        (_with(["a", "b"] * 6, groups=[1, 2, 3, 10] * 3), "", ""),
    ],
    ids=["class", "genotype", "donor", "number", "batch", "nothing"],
)
def test_labels_written_in_two_ways_are_told(cohort, level, said):
    found = audit(cohort)
    found = found[found["check"] == "labels"]
    assert list(found["level"]) == ([level] if level else [])
    assert not level or found["message"].str.contains(said).all()


def test_a_donor_under_two_names_is_warned_about():
    adata = study()
    adata.obs["donor"] = [f"D{i // 2}" if i % 4 else f"d{i // 2} " for i in range(36)]
    with pytest.warns(AuditWarning, match="a donor under two names"):
        gb.tl.classify(adata, "y", groups="donor", **QUIET)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("seed", range(20))
def test_genes_standardised_over_all_samples_are_told(seed, ddof):
    cohort = _with(["a", "b"] * 20)
    logs = np.random.default_rng(seed).normal(size=(40, 30)) * np.linspace(0.5, 2, 30)
    names = pd.Index([f"g{i}" for i in range(30)])

    def told(X, rows=slice(None)) -> bool:
        found = audit(Cohort(X[rows], names, cohort.samples[rows], cohort.target[rows], cohort.classes))
        return found["message"].str.contains("standardised over all").any()

    scaled = (logs - logs.mean(axis=0)) / logs.std(axis=0, ddof=ddof)
    assert told(scaled)
    assert told(scaled.clip(-10, 10).astype(np.float32))
    assert not told(logs)
    assert not told(np.random.default_rng(seed).normal(size=(40, 30)))  # of mean 0 and SD 1 by nature
    assert not told(scaled, slice(0, 24))  # standardised over others too


@pytest.mark.parametrize(
    ("text", "warned"),
    [("NA", True), ("", True), (" nan ", True), ("Not Available", True), ("none", False), ("Nan1", False)],
)
def test_text_that_reads_like_a_gap_is_told_of(text, warned):
    cohort = _with(["a", "b", text] * 4, batch=["x", text] * 6)
    found = audit(cohort).query("check == 'labels'")
    assert (found["level"] == "warning").sum() == 2 * warned
    if warned:
        assert found["message"].str.contains(f"include {text!r}, which reads like a missing value", regex=False).all()


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix])
def test_a_gene_that_holds_the_target_is_told_of(kind):
    rng = np.random.default_rng(0)
    y = np.array(["a", "b", "c"])[np.arange(60) % 3]
    X = np.abs(rng.normal(size=(60, 30)))
    X[:, 5] = 3.0  # constant: tells nothing
    X[:, 6] = np.where(y == "a", 0.0, 1.0)  # one class against the others
    X[:, 7] = np.where(y == "a", 0.0, rng.normal(size=60))  # as a gene that one class does not express
    X[:, 8] = np.where(np.arange(60) < 59, X[:, 6], 0.5)  # not in the first samples, but in one
    names = pd.Index([f"g{j}" for j in range(30)]), pd.Index([f"s{i}" for i in range(60)])
    found = audit(Cohort(kind(X), *names, y.astype(object), ("a", "b", "c"))).query("check == 'target among genes'")
    assert list(found["level"]) == ["warning"]
    assert "1 genes (g6, ...)" in found["message"].iloc[0] or "1 genes (g6)" in found["message"].iloc[0]
    number = audit(Cohort(kind(X), *names, 2.0 * X[:, 9] - 1, ())).query("check == 'target among genes'")
    assert "(g9" in number["message"].iloc[0]
    noisy = audit(Cohort(kind(X), *names, 2.0 * X[:, 9] + rng.normal(0, 0.05, 60), ()))
    assert "target among genes" not in set(noisy["check"])


def test_few_samples_hold_the_classes_by_chance():
    rng = np.random.default_rng(0)
    X = rng.poisson(0.3, (8, 4000)).astype(float)  # four cells of a class share a count easily
    cohort = _with(["a", "b"] * 4)
    names = pd.Index([f"g{j}" for j in range(4000)])
    assert "target among genes" not in set(audit(Cohort(X, names, cohort.samples, cohort.target, ("a", "b")))["check"])
