"""Cells of several donors: what random folds make of them, that donors are never split, that CSR stays CSR, and pseudobulk."""

from __future__ import annotations

import tracemalloc
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.metrics import balanced_accuracy_score

import geneml_bio as gb
from geneml_bio.bridge.extract import extract_cohort
from geneml_bio.core.errors import AuditWarning
from geneml_bio.core.models import candidates
from geneml_bio.core.validate import validate

QUIET = {"progress": False, "n_jobs": 1}
FAST = {"models": ["logistic"], "tune": False, "screen": 50, "n_splits": 5, "n_repeats": 1, **QUIET}


def cells_of_donors(
    seed: int, *, n_donors=10, n_cells=60, n_new=0, n_genes=300, n_informative=10, effect=0.5, donor_sd=0.6, depth=300.0
) -> ad.AnnData:
    """Counts of cells. Half of the donors are cases, whose informative genes are raised; each donor shifts every gene.

    ``.obs["new"]``: cells of ``n_new`` further donors, who take no part in anything but the truth.
    """
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(n_donors + n_new), n_cells)
    case = donor % 2 == 1
    log_rate = rng.normal(0, 1, n_genes) + rng.normal(0, donor_sd, (n_donors + n_new, n_genes))[donor]
    log_rate[case, :n_informative] += effect
    rate = np.exp(log_rate)
    rate *= depth * rng.lognormal(0, 0.3, len(donor))[:, None] / rate.sum(axis=1, keepdims=True)
    counts = sparse.csr_matrix(rng.poisson(rate).astype(float))
    obs = pd.DataFrame(
        {
            "donor": [f"d{i}" for i in donor],
            "condition": pd.Categorical(np.where(case, "case", "control"), ["control", "case"]),
            "age": 40 + donor,
            "new": donor >= n_donors,
        },
        index=[f"c{i}" for i in range(len(donor))],
    )
    cells = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(n_genes)]))
    cells.layers["counts"] = counts
    cells.X = sparse.csr_matrix(sparse.diags(1e3 / counts.sum(axis=1).A1) @ counts).log1p()
    return cells


def _scores(cells: ad.AnnData) -> tuple[float, float, float]:
    """Balanced accuracy of a logistic regression by random folds, by folds of donors, and in donors never seen."""
    models = candidates("logistic", "classification")
    new = cells.obs["new"].to_numpy()
    out = []
    for groups in (None, "donor"):
        cohort = extract_cohort(cells, "condition", task="classification", groups=groups)
        how = {"screen": 50, "n_splits": 8, "n_repeats": 1, "tune": False, **QUIET}
        result = validate(cohort, models, test=new if new.any() else None, **how)
        made = result.predictions
        out.append(balanced_accuracy_score(made["observed"], made["predicted"]))
    truth = balanced_accuracy_score(result.test["observed"], result.test["predicted"]) if new.any() else np.nan
    return out[0], out[1], truth


def test_random_folds_flatter_and_folds_by_donor_tell_the_truth_over_seeds():
    """20 donors of 30 cells; the truth is the score in 20 donors that the study has never seen."""
    made = [_scores(cells_of_donors(seed, n_donors=20, n_new=20, n_cells=30, effect=1.0)) for seed in range(10)]
    flattering, honest, truth = np.array(made).T
    assert flattering.mean() > truth.mean() + 0.12
    assert abs(honest.mean() - truth.mean()) < 0.05
    assert (flattering > honest).all()


def test_donors_without_any_effect_score_chance_by_donor_and_far_above_it_by_cell():
    made = [_scores(cells_of_donors(100 + seed, n_donors=20, n_cells=30, effect=0.0)) for seed in range(10)]
    flattering, honest, _ = np.array(made).T
    assert flattering.mean() > 0.85
    assert abs(honest.mean() - 0.5) < 0.08


def test_cells_without_donors_are_warned_about_and_the_effective_n_is_that_of_donors():
    study = cells_of_donors(0)
    with pytest.warns(AuditWarning) as seen:
        gb.tl.classify(study, "condition", **FAST)
    text = " ".join(str(w.message) for w in seen)
    assert "look like single cells" in text
    assert "'donor' (10 values" in text
    assert gb.get.params(study)["n_effective"]["n_effective"] == 600
    gb.tl.classify(study, "condition", groups="donor", **FAST)
    about = gb.get.params(study)["n_effective"]
    assert (about["unit"], about["n_samples"], about["n_effective"], about["n_mixed"]) == ("group", 600, 10, 0)
    groups = gb.get.audit(study).set_index("check").loc["groups", "message"]
    assert "10 groups in 600 samples" in groups


@pytest.mark.parametrize("how", [{}, {"tune": True}, {"test_size": 0.25}, {"cv": "leave_one_group_out"}])
def test_a_donor_is_never_on_both_sides(how):
    study = cells_of_donors(1, n_donors=8, n_cells=25)
    ask = FAST | {"n_splits": 3, "n_repeats": 1 if "cv" in how else 3} | how
    with pytest.warns(AuditWarning, match=r"\d groups in \d+ samples"):
        result = gb.tl.classify(study, "condition", groups="donor", **ask)
    folds = result.folds.assign(donor=result.folds["sample"].map(study.obs["donor"]))
    assert (folds.groupby(["repeat", "donor"], observed=True)["fold"].nunique() == 1).all()
    if "test_size" in how:
        held = set(study.obs.loc[result.test["sample"].unique(), "donor"])
        assert held
        assert not held & set(folds["donor"])


def test_csr_is_not_made_dense_before_the_screen_has_chosen():
    """15,000 cells x 2,000 genes at 5 %: dense 240 MB in double precision. A fold, fingerprint and audit need less than half."""
    n, p = 15_000, 2000
    X = sparse.random(n, p, density=0.05, format="csr", random_state=0)
    obs = pd.DataFrame(
        {"condition": np.tile(["a", "b"], n // 2), "donor": np.arange(n) % 20}, index=[f"c{i}" for i in range(n)]
    )
    cells = ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(p)]))
    tracemalloc.start()
    gb.tl.classify(cells, "condition", groups="donor", **FAST | {"n_splits": 2})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sparse.issparse(cells.X)
    assert peak < 0.5 * n * p * 8


# -- donors as samples -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def donors():
    """Pseudobulk of 24 donors, and of 12 donors never seen, in the same units."""
    cells = cells_of_donors(5, n_donors=24, n_new=12, n_cells=40, effect=0.8, donor_sd=0.35, depth=1000.0)
    bulk = gb.pp.pseudobulk(cells, by="donor", layer="counts")
    study, new = bulk[~bulk.obs["new"]].copy(), bulk[bulk.obs["new"]].copy()
    gb.pp.logcpm(study)
    gb.pp.logcpm(new, mean_lib_size=study.uns["logcpm"]["mean_lib_size"])
    return study, new


def test_pseudobulk_carries_what_belongs_to_a_donor(donors):
    study, _ = donors
    assert list(study.obs["condition"].cat.categories) == ["control", "case"]
    assert study.n_obs == 24
    assert (study.obs["n_cells"] == 40).all()
    assert "age" in study.obs


def test_pseudobulk_limma_and_classification_by_donor_find_the_genes_and_hold_in_new_donors(donors):
    study, new = donors[0].copy(), donors[1].copy()
    gb.tl.limma(study, "~ 0 + condition", contrast="conditioncase - conditioncontrol", layer="logcpm", engine="native")
    top = gb.get.de(study).index[:10]
    assert len(set(top) & {f"g{i}" for i in range(10)}) >= 7
    with warnings.catch_warnings():
        warnings.simplefilter("error", AuditWarning)  # 24 donors of 40 cells each are a sound study
        gb.tl.classify(study, "condition", layer="logcpm", **FAST | {"n_repeats": 3})
    table = gb.get.metrics(study).query("metric == 'balanced_accuracy' and model == 'logistic'").iloc[0]
    assert table["value"] > 0.8
    made = gb.tl.fit(study, key="classify", model="logistic").predict(new, layer="logcpm")
    truth = balanced_accuracy_score(new.obs["condition"].astype(str), made["predicted"].astype(str))
    assert truth > 0.75


@pytest.mark.r
def test_voom_takes_the_sums_and_agrees_with_logs_on_the_genes(donors, r_limma):
    study = donors[0].copy()
    how = {"contrast": "conditioncase - conditioncontrol"}
    voom = gb.tl.limma(study, "~ 0 + condition", voom=True, engine="r", key_added="voom", **how)
    logs = gb.tl.limma(study, "~ 0 + condition", layer="logcpm", engine="native", key_added="logs", **how)
    assert np.corrcoef(voom.frame["logFC"], logs.frame["logFC"].reindex(voom.frame.index))[0, 1] > 0.99
    assert len(set(voom.frame.index[:10]) & {f"g{i}" for i in range(10)}) >= 7
