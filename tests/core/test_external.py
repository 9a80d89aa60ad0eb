"""Tables of pseudobulks of the study's own cells are told from those of other donors of the same population."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

import geneml_bio as gb
from geneml_bio.bridge.extract import extract_cohort
from geneml_bio.core.external import made_of

N_DONORS, N_CELLS, N_GENES = 8, 40, 400


def cells(seed: int, shared: float = 0.0, mixed: bool = False) -> ad.AnnData:
    """Counts of cells of donors from one population (the same for all seeds); ``shared``: spread of a factor that moves all genes."""
    same, rng = np.random.default_rng(99), np.random.default_rng(seed)
    mu, effect = same.gamma(0.5, 2, N_GENES) + 0.02, np.where(np.arange(N_GENES) < 30, same.normal(0, 1, N_GENES), 0.0)
    loading = same.normal(size=N_GENES)
    counts, obs = [], []
    for d in range(N_DONORS):
        moved = rng.normal(0, 0.3, N_GENES) + shared * rng.normal() * loading
        for part in range(2 if mixed else 1):
            k = part if mixed else d % 2
            depth = np.exp(rng.normal(0, 0.5, (N_CELLS, 1)))
            rate = mu * np.exp(effect * k + moved + (rng.normal(0, 0.2, N_GENES) if mixed else 0)) * depth
            counts.append(rng.poisson(rng.gamma(2, 0.5, rate.shape) * rate))
            obs += [(f"d{seed}_{d}", "ab"[k])] * N_CELLS
    frame = pd.DataFrame(obs, columns=["donor", "state"], index=[f"c{seed}_{i}" for i in range(len(obs))])
    var = pd.DataFrame(index=[f"g{j}" for j in range(N_GENES)])
    return ad.AnnData(sparse.csr_matrix(np.vstack(counts).astype(float)), obs=frame, var=var)


def table(adata: ad.AnnData, by=("donor", "state"), contrast: str = "stateb - statea", mode: str = "sum") -> gb.DETable:
    bulk = gb.pp.pseudobulk(adata, by=list(by), mode=mode)
    if mode == "sum":
        gb.pp.logcpm(bulk)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gb.tl.limma(
            bulk, "~ 0 + state", contrast=contrast, layer="logcpm" if mode == "sum" else None, engine="native"
        )


def logs(adata: ad.AnnData, kind: str) -> ad.AnnData:
    out = adata.copy()
    share = adata.X.multiply(1 / adata.X.sum(axis=1)).tocsr()
    out.X = (share * (1e6 if kind == "cpm" else 1e4)).log1p()
    if kind == "log2":
        out.X = out.X / np.log(2)
    return out


def found(de: gb.DETable, adata: ad.AnnData) -> str:
    return made_of(de.frame, extract_cohort(adata, "state", task="classification", groups="donor"))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mixed", [False, True])
def test_own_pseudobulks_are_seen_and_others_are_not(seed, mixed):
    shared = (0.0, 0.3)[seed % 2]
    own, other = cells(seed, shared, mixed), cells(seed + 1000, shared, mixed)
    mine, theirs, turned = table(own), table(other), table(own, contrast="statea - stateb")
    for kind in ("log1p", "log2", "cpm"):
        study = logs(own, kind)
        assert "pseudobulks" in found(mine, study)
        assert "pseudobulks" in found(turned, study)
        assert found(theirs, study) == ""


def test_means_of_logs_are_seen_too():
    own, other = logs(cells(1), "log1p"), logs(cells(1001), "log1p")
    assert "AveExpr" in found(table(own, mode="mean"), own)
    assert found(table(other, mode="mean"), own) == ""


def test_other_donors_are_rarely_taken_for_own():
    """Each donor against tables of others: 30 pairs, none too near."""
    tables = [table(cells(s, 0.2)) for s in range(100, 106)]
    studies = [logs(cells(s, 0.2), "log1p") for s in range(5)]
    assert not any(found(de, study) for de in tables for study in studies)


def test_validation_refuses_it_and_says_why():
    own, other = cells(3), cells(1003)
    study = logs(own, "log1p")
    quiet = {
        "groups": "donor",
        "models": "logistic",
        "n_splits": 2,
        "n_repeats": 1,
        "tune": False,
        "n_jobs": 1,
        "progress": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(gb.errors.LeakageError, match="in pseudobulks, by donor"):
            gb.tl.classify(study, "state", screen=gb.ExternalScreen(table(own), 20), **quiet)
        assert gb.tl.classify(study, "state", screen=gb.ExternalScreen(table(other), 20), **quiet)


def _two_classes(seed: int, n: int, spread: float, p: int = 400) -> ad.AnnData:
    """Every gene has an effect, the same in all seeds: normal, of this spread."""
    effect = np.random.default_rng(5).normal(0, spread, p)
    rng = np.random.default_rng(seed)
    state = np.tile(["a", "b"], n // 2)
    X = rng.normal(7, 1, (n, p)) + np.outer(state == "b", effect)
    return ad.AnnData(
        X, obs=pd.DataFrame({"state": state, "dose": rng.normal(size=n)}, index=[f"s{i}" for i in range(n)])
    )


def _tested(adata: ad.AnnData, test: str) -> pd.DataFrame:
    """Effect and p-value only, on a scale of their own."""
    a, b = (np.asarray(adata.X[adata.obs["state"] == name]) for name in "ab")
    run = {"welch": lambda: stats.ttest_ind(b, a, equal_var=False), "wilcoxon": lambda: stats.mannwhitneyu(b, a)}
    effect = np.log2(np.expm1(b).mean(axis=0) / np.expm1(a).mean(axis=0))
    return pd.DataFrame({"logFC": effect, "P.Value": run[test]().pvalue}, index=adata.var_names.astype(str))


@pytest.mark.parametrize("test", ["welch", "wilcoxon"])
@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_a_test_of_the_same_samples_is_recognised_by_what_is_noise(test, spread):
    for seed in range(5):
        adata = _two_classes(seed, 40, spread)
        cohort = extract_cohort(adata, "state", task="classification")
        assert made_of(_tested(adata, test), cohort) == "test statistics are"
        assert made_of(_tested(_two_classes(100 + seed, 40, spread), test), cohort) == ""


@pytest.mark.parametrize(("n", "n_other"), [(1000, 40), (40, 1000), (1000, 1000)])
def test_large_effects_in_large_studies_do_not_make_other_samples_the_same(n, n_other):
    for seed in range(3):
        cohort = extract_cohort(_two_classes(seed, n, 0.5, 2000), "state", task="classification")
        assert made_of(_tested(_two_classes(50 + seed, n_other, 0.5, 2000), "welch"), cohort) == ""


def test_of_a_number_too():
    adata = _two_classes(0, 40, 0.0)
    cohort = extract_cohort(adata, "dose", task="regression")
    mine, other = (
        stats.spearmanr(adata.X, y) for y in (cohort.target, np.random.default_rng(9).permutation(cohort.target))
    )
    for found, said in ((mine, "test statistics are"), (other, "")):
        table = pd.DataFrame(
            {"logFC": found.statistic[:-1, -1], "P.Value": found.pvalue[:-1, -1]}, index=cohort.features
        )
        assert made_of(table, cohort) == said
