"""The audit of cells, of copies, and of real studies."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.metrics import roc_auc_score
from test_audit import _cohort, _level, _message

import geneml_bio as gb
from geneml_bio.bridge.extract import extract_cohort
from geneml_bio.core.audit import audit
from geneml_bio.core.audit_values import signs_of_cells
from geneml_bio.core.errors import ConfoundingError

# -- cells -------------------------------------------------------------------------------------------------------------

_RNG = np.random.default_rng(0)
BULK = _RNG.normal(8, 2, size=(1000, 60))
BULK_ZEROS = np.where(_RNG.random((1000, 60)) < 0.45, 0.0, BULK)
CELLS = np.where(_RNG.random((1000, 60)) < 0.9, 0.0, np.abs(BULK))
QC = ["n_genes_by_counts", "total_counts"]


@pytest.mark.parametrize(
    ("X", "columns", "cells"),
    [
        (BULK, ["stage", "age", "sample_type", "phase"], False),
        (BULK, QC, False),  # scanpy's QC of bulk samples
        (BULK, ["leiden", *QC], False),  # and its clusters
        (BULK_ZEROS, ["stage", *QC], False),  # unfiltered genes
        (sparse.csr_matrix(BULK_ZEROS), ["stage"], False),
        (CELLS, [], True),
        (sparse.csr_matrix(CELLS), [], True),
        (sparse.csr_matrix(CELLS), ["n_cells"], False),  # pseudobulk
        (sparse.csr_matrix(CELLS[:300]), [], False),
        (sparse.csr_matrix(CELLS[:300]), ["pct_counts_mt"], True),
        (BULK[:300], ["leiden_0.5", "pct_counts_mt"], True),  # scaled
        (CELLS[:300], ["nCount_RNA", "nFeature_RNA"], True),
        (CELLS[:60], ["leiden", "pct_counts_mt", "doublet_score"], False),
        (BULK, ["barcode_of_patient", "leidenfrost"], False),
    ],
)
def test_cells_are_told_from_bulk_samples(X, columns, cells):
    assert bool(signs_of_cells(X, columns)) == cells
    n, p = X.shape
    findings = audit(_cohort(n=n, p=p, X=X), obs=pd.DataFrame({name: np.arange(n) for name in columns}))
    assert (_level(findings, "cells without groups") == "warning") == cells
    named = audit(_cohort(n=n, p=p, X=X, groups=np.arange(n) // 10))
    assert _level(named, "cells without groups") == "absent"


def test_among_cells_a_column_of_samples_is_a_donor_too():
    obs = pd.DataFrame({"orig.ident": np.arange(1000) % 8})
    assert "'orig.ident' (8 values" in _message(audit(_cohort(n=1000, p=60, X=CELLS), obs=obs), "unnamed groups")
    assert _level(audit(_cohort(n=1000, p=60, X=BULK), obs=obs), "unnamed groups") == "absent"


# -- copies ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [60, 2500])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_copies_are_found_in_studies_of_any_size_and_those_of_one_group_do_no_harm(n, form):
    X = np.random.default_rng(0).poisson(0.7, size=(n, 120)).astype(float)
    X[7], X[9] = X[3], X[4]
    X[11] = X[12] = 0
    X = form(X)
    found = audit(_cohort(n=n, p=120, X=X))
    assert _message(found, "duplicated samples").startswith(
        "2 pairs of samples are copies of each other (s3 = s7, s4 = s9)"
    )
    assert "1 of the pairs differs in class" in _message(found, "duplicated samples")  # s4 and s9
    assert _message(found, "empty samples").startswith("2 samples hold nothing but zeros (s11, s12)")
    groups = np.arange(n)
    groups[7] = groups[3]
    rest = _message(audit(_cohort(n=n, p=120, X=X, groups=groups)), "duplicated samples")
    assert rest.startswith("1 pairs of samples of different groups are copies of each other (s4 = s9)")
    groups[9] = groups[4]
    assert _level(audit(_cohort(n=n, p=120, X=X, groups=groups)), "duplicated samples") == "absent"


def test_a_sample_under_two_classes_is_told():
    X = np.random.default_rng(0).normal(size=(40, 120))
    X[8] = X[3]
    assert _message(audit(_cohort(X=X, p=120)), "duplicated samples").endswith("1 of the pairs differs in class.")


def test_replicates_of_one_donor_are_told_unless_they_are_in_one_group():
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(20, 150)), 2, axis=0) + rng.normal(scale=0.1, size=(40, 150))
    y = np.repeat(np.tile(["a", "b"], 10), 2)
    X[y == "a"] += 3
    assert _message(audit(_cohort(X=X, p=150, y=y)), "similar samples").startswith(
        "20 pairs of samples are nearly the same"
    )
    assert _level(audit(_cohort(X=X, p=150, y=y)), "duplicated samples") == "absent"
    assert _level(audit(_cohort(X=X, p=150, y=y, groups=np.arange(40) // 2)), "similar samples") == "absent"


def test_missing_values_say_where_they_are():
    X = np.random.default_rng(1).normal(size=(40, 100))
    X[3, 4] = X[5, 4] = np.nan
    X[:, 6] = np.nan
    text = _message(audit(_cohort(X=X)), "missing values")
    assert text.startswith("42 missing values (1.05%) in 2 genes and 40 samples")
    assert text.endswith("1 genes have no value at all.")


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_constant_genes_are_counted_alike_in_dense_and_sparse(form):
    X = np.random.default_rng(0).poisson(0.5, size=(40, 100)).astype(float)
    X[:, :3] = 0
    X[:, 3] = 5
    X[:, 4] = 5
    X[0, 4] = 0
    X[:, 5] = 0
    X[39, 5] = 2
    assert _message(audit(_cohort(X=form(X))), "constant genes").startswith("4 genes")


# -- real studies ------------------------------------------------------------------------------------------------------


def _audited(adata, target, task="classification", **named) -> pd.DataFrame:
    cohort = extract_cohort(adata, target, task=task, **named)
    left = [name for name in adata.obs.columns if name not in {target, *named.values()}]
    return audit(cohort, obs=adata.obs.loc[cohort.samples, left])


@pytest.mark.r
def test_bladder_cancer_is_confounded_with_batch(r_limma):
    bladder = gb.datasets.bladder()
    bladder = bladder[bladder.obs["cancer"].isin(["Normal", "Cancer"])].copy()
    batch, cancer = bladder.obs["batch"].astype(str), bladder.obs["cancer"].astype(str)
    v = stats.contingency.association(pd.crosstab(cancer, batch).to_numpy(), method="cramer")
    findings = _audited(bladder, "cancer", batch="batch")
    text = _message(findings, "batch")
    assert _level(findings, "batch") == "warning"
    assert f"Cramer's V = {v:.2f}" in text
    auc = float(text.split("ROC AUC ")[1][:4])
    # in the sample itself: the share of cancer in each batch, which cross-validation can only lower a little
    inside = roc_auc_score(cancer == "Cancer", (cancer == "Cancer").groupby(batch).transform("mean"))
    assert inside - 0.1 < auc <= inside + 0.02
    assert auc > 0.85
    assert "Batches with one class only: 1, 3, 5." in text
    assert "Cramer's V" in _message(_audited(bladder, "cancer"), "unnamed batch")
    two = bladder[bladder.obs["batch"].isin(["1", "3"])].copy()
    with pytest.raises(ConfoundingError, match="allow_confounded"):
        _audited(two, "cancer", batch="batch")


@pytest.mark.r
def test_sound_microarray_studies_give_no_false_alarm(r_limma):
    """Patients are unique in ALL (its column `cod` names them), probes are logs, and no sample is a copy."""
    quiet = {"size", "class size", "class balance", "constant genes"}
    leukemia = gb.datasets.leukemia()
    assert leukemia.obs["cod"].is_unique
    for study, target, task in (
        (leukemia, "mol.biol", "classification"),
        (leukemia, "age", "regression"),
        (gb.datasets.golub(), "class", "classification"),
    ):
        with pytest.warns(gb.errors.DataWarning) if target == "age" else nullcontext():
            findings = _audited(study, target, task)
        assert set(findings["check"]) <= quiet
        assert set(findings.loc[findings["level"] == "warning", "check"]) <= {"class size", "class balance"}


def test_blood_cells_without_donors_are_told():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = pytest.importorskip("scanpy").datasets.pbmc68k_reduced()
    cells.obs["type"] = np.where(cells.obs["bulk_labels"].str.contains("CD4"), "CD4", "other")
    assert _level(_audited(cells, "type"), "cells without groups") == "warning"
    raw = cells.raw.to_adata()
    raw.obs = cells.obs[["type"]]
    assert "67% zeros" in _message(_audited(raw, "type"), "cells without groups")


@pytest.mark.r
def test_myoblasts_are_cells_with_unlogged_values(r_limma):
    from geneml_bio.bridge import r

    if not r_limma.numbers("requireNamespace('HSMMSingleCell', quietly = TRUE)")[0]:
        pytest.skip(
            "the R package HSMMSingleCell, whose cells are audited, is not installed: apt-get install r-bioc-hsmmsinglecell"
        )
    X = np.array(r.load_dataset("HSMMSingleCell", "HSMM_expr_matrix"), dtype=float)
    sheet = r.to_frame(r.load_dataset("HSMMSingleCell", "HSMM_sample_sheet"))
    X = X if X.shape[0] == len(sheet) else X.T
    y = sheet["Hours"].astype(str).to_numpy(dtype=object)
    cohort = _cohort(n=len(X), p=X.shape[1], X=X, y=y, classes=("0", "24", "48", "72"))
    findings = audit(cohort, obs=sheet.set_axis(cohort.samples))
    assert "column 'Pseudotime'" in _message(findings, "cells without groups")
    assert "unlogged intensities" in _message(findings, "scale")
