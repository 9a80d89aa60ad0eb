"""Simulated studies: what is stated as the truth is the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import geneml_bio as gb
from geneml_bio.core.errors import InputError
from geneml_bio.core.moderated import contrasts_fit, e_bayes, lm_fit

# recipes that a table holds: what is asked for, and what comes of it
SHAPES = {
    "two classes": ({}, {"control": 30, "case": 30}),
    "unequal shares": ({"class_shares": (0.9, 0.1)}, {"control": 54, "case": 6}),
    "four classes": ({"n_classes": 4}, {"A": 15, "B": 15, "C": 15, "D": 15}),
    "donors of one class": ({"n_donors": 12}, {"control": 30, "case": 30}),
    "donors of both classes": ({"n_donors": 12, "within_donor": "mixed"}, {"control": 30, "case": 30}),
}


def effects_of(adata, column=0):
    """logFC and moderated t by the package's limma, from the samples alone."""
    y = adata.obs["target"]
    x = (y.cat.codes == column + 1).to_numpy(float) if hasattr(y, "cat") else y.to_numpy(float)
    fit = contrasts_fit(lm_fit(adata.X, np.column_stack([np.ones(len(x)), x])), np.array([[0.0], [1.0]]))
    return fit.coefficients[:, 0], e_bayes(fit, lods=False).t[:, 0]


@pytest.mark.parametrize("name", SHAPES)
def test_classes_are_as_asked(name):
    given, expected = SHAPES[name]
    adata = gb.datasets.simulate(60, 50, n_informative=5, **given)
    assert adata.shape == (60, 50)
    assert adata.obs["target"].value_counts().to_dict() == expected
    assert adata.var["informative"].sum() == 5
    assert (adata.varm["effect"] != 0).any(axis=1).tolist() == adata.var["informative"].tolist()


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_stated_effects_are_found_by_limma(task):
    adata = gb.datasets.simulate(4000, 200, n_informative=40, effect=0.8, task=task, seed=3)
    found, t = effects_of(adata)
    stated, sd = adata.varm["effect"].iloc[:, 0].to_numpy(), adata.var["sd"].to_numpy()
    se = sd * (2 if task == "classification" else 1) / np.sqrt(4000)
    z = (found - stated) / se
    assert np.abs(z).max() < 4.5
    assert stats.kstest(z[::20], "norm").pvalue > 1e-3  # one gene a block: the others are correlated with it
    informative = adata.var["informative"].to_numpy()
    assert np.abs(t[informative]).min() > np.abs(t[~informative]).max()
    sizes = np.abs(stated / sd)[informative]
    assert abs(sizes.mean() - 0.8) < 0.1
    assert 0.1 < sizes.std() < 0.3
    assert 15 <= (stated > 0).sum() <= 25


def test_each_informative_gene_marks_one_of_several_classes():
    adata = gb.datasets.simulate(3000, 60, n_informative=12, n_classes=3, effect=1.5, correlation=0.0)
    y = adata.obs["target"].cat.codes.to_numpy()
    means = np.array([adata.X[y == c].mean(axis=0) for c in range(3)])
    np.testing.assert_allclose(
        (means[1:] - means[0]).T / adata.var["sd"].to_numpy()[:, None],
        adata.varm["effect"].to_numpy() / adata.var["sd"].to_numpy()[:, None],
        atol=5 * np.sqrt(2 / 1000),
    )
    marks = adata.varm["effect"].to_numpy()[adata.var["informative"]]
    apart = np.column_stack([np.zeros(12), marks])
    assert all(len(set(np.round(row, 9))) == 2 for row in apart)
    assert abs(np.abs(adata.var["effect"][adata.var["informative"]]).mean()) > 0


def test_blocks_are_correlated_and_nothing_else():
    adata = gb.datasets.simulate(3000, 60, n_informative=0, correlation=0.5, block_size=6)
    r = np.corrcoef(adata.X.T)
    block = adata.var["block"].to_numpy()
    same = (block[:, None] == block) & ~np.eye(60, dtype=bool)
    assert abs(r[same].mean() - 0.5) < 0.04
    assert np.abs(r[block[:, None] != block]).max() < 0.1
    np.testing.assert_allclose(adata.X.std(axis=0) / adata.var["sd"], 1, atol=0.07)
    np.testing.assert_allclose(adata.X.mean(axis=0), adata.var["mean"], atol=0.1)


def test_donors_have_the_stated_variance():
    adata = gb.datasets.simulate(2000, 100, n_donors=400, donor_sd=0.8, n_informative=0, correlation=0.0)
    z = pd.DataFrame((adata.X - adata.var["mean"].to_numpy()) / adata.var["sd"].to_numpy())
    by = z.groupby(adata.obs["donor"].to_numpy())
    within, between = by.var().to_numpy().mean(), by.mean().to_numpy().var(axis=0, ddof=1).mean()
    assert abs(within - 1) < 0.02
    assert abs(between - (0.8**2 + 1 / 5)) < 0.03
    per_donor = adata.obs.groupby("donor", observed=True)["target"].nunique()
    assert per_donor.max() == 1
    mixed = gb.datasets.simulate(200, 5, n_donors=20, within_donor="mixed", n_informative=0).obs
    assert mixed.groupby("donor", observed=True)["target"].nunique().min() == 2


@pytest.mark.parametrize("confounding", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize(("n_classes", "n_batches"), [(2, 2), (2, 3), (2, 5), (3, 2), (4, 4)])
def test_cramers_v_follows_confounding(confounding, n_classes, n_batches):
    obs = gb.datasets.simulate(
        600, 3, n_informative=1, n_classes=n_classes, n_batches=n_batches, confounding=confounding
    ).obs
    table = pd.crosstab(obs["target"], obs["batch"])
    v = stats.contingency.association(table.to_numpy(), method="cramer")
    assert abs(v - confounding) < 0.03


def test_batches_shift_genes_by_the_stated_amount():
    adata = gb.datasets.simulate(4000, 400, n_informative=0, n_batches=2, batch_effect=0.6, correlation=0.0)
    first = (adata.obs["batch"] == "1").to_numpy()
    shift = (adata.X[first].mean(axis=0) - adata.X[~first].mean(axis=0)) / adata.var["sd"]
    assert abs(shift.std() - 0.6 * np.sqrt(2)) < 0.08


def test_donors_of_one_class_stay_in_one_batch():
    obs = gb.datasets.simulate(60, 3, n_informative=1, n_donors=12, n_batches=2, confounding=0.5).obs
    assert obs.groupby("donor", observed=True)["batch"].nunique().max() == 1


def test_further_samples_are_of_the_same_population_and_leave_the_study_alone():
    given = {"n_informative": 10, "n_batches": 2, "confounding": 0.4, "n_donors": 100, "seed": 5}
    alone = gb.datasets.simulate(500, 80, **given)
    both = gb.datasets.simulate(500, 80, n_test=500, **given)
    study = both[both.obs["set"] == "train"]
    later = both[both.obs["set"] == "test"]
    np.testing.assert_array_equal(study.X, alone.X)
    assert set(later.obs["donor"]).isdisjoint(study.obs["donor"])
    assert later.obs["target"].value_counts().to_dict() == study.obs["target"].value_counts().to_dict()
    # exchangeable: no gene tells the two sets apart more often than chance, class by class, donors as the unit
    for name in ("control", "case"):
        parts = [
            pd.DataFrame(a.X[a.obs["target"] == name])
            .groupby(a.obs["donor"][a.obs["target"] == name].to_numpy())
            .mean()
            for a in (study, later)
        ]
        p = stats.ttest_ind(*(part.to_numpy() for part in parts)).pvalue
        assert 0.5 < p.mean() * 2 < 1.5
        assert p.min() > 1e-4
    for a in (study, later):
        v = stats.contingency.association(pd.crosstab(a.obs["target"], a.obs["batch"]).to_numpy(), method="cramer")
        assert abs(v - 0.4) < 0.05


def test_without_batches_the_confounded_difference_is_gone():
    given = {"n_informative": 0, "n_batches": 2, "confounding": 1.0, "batch_effect": 1.0, "n_test": 1000}
    gap = {}
    for where in ("same", "none"):
        adata = gb.datasets.simulate(100, 200, test_batches=where, **given)
        later = adata[adata.obs["set"] == "test"]
        gap[where] = np.abs(effects_of(later)[0] / adata.var["sd"]).mean()
    assert gap["same"] > 0.8
    assert gap["none"] < 0.1
    assert set(later.obs["batch"]) == {"none"}


@pytest.mark.parametrize("donors", [None, 2000])
def test_best_possible_scores_are_those_of_the_bayes_rule(donors):
    """The linear rule from the stated effects and the covariance, on new samples (oracle: scikit-learn)."""
    from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

    given = {"n_informative": 8, "effect": 0.4, "correlation": 0.4, "block_size": 5, "n_donors": donors, "seed": 2}
    for task in ("classification", "regression"):
        adata = gb.datasets.simulate(6000, 30, task=task, **given)
        e = adata.varm["effect"].to_numpy()[:, 0] / adata.var["sd"].to_numpy()
        block = adata.var["block"].to_numpy()
        cov = 0.4 * (block[:, None] == block) + (0.6 + (0.49 if donors else 0)) * np.eye(30)
        score = (adata.X - adata.var["mean"].to_numpy()) / adata.var["sd"].to_numpy() @ np.linalg.solve(cov, e)
        d2 = e @ np.linalg.solve(cov, e)
        truth = adata.uns["truth"]
        assert next(iter(truth["separation"].values())) == pytest.approx(np.sqrt(d2))
        if task == "classification":
            y = adata.obs["target"] == "case"
            assert roc_auc_score(y, score) == pytest.approx(truth["best_roc_auc"], abs=0.03)
            assert balanced_accuracy_score(y, score > d2 / 2) == pytest.approx(
                truth["best_balanced_accuracy"], abs=0.03
            )
        else:
            assert r2_score(adata.obs["target"], score / (1 + d2)) == pytest.approx(truth["best_r2"], abs=0.04)


def test_counts_have_the_expression_as_their_log():
    adata = gb.datasets.simulate(20, 300, counts=True)
    counts = adata.layers["counts"]
    assert (counts == np.round(counts)).all()
    assert counts.min() >= 0
    cpm = np.log2(counts / counts.sum(axis=1, keepdims=True) * 1e6 + 0.5)
    deep = adata.X.mean(axis=0) > 7
    residual = (cpm - adata.X)[:, deep]
    assert (residual - residual.mean(axis=1, keepdims=True)).std() < 0.05


def test_a_seed_fixes_everything_and_the_study_is_stored_whole(tmp_path):
    given = {"n_classes": 3, "n_donors": 10, "n_batches": 2, "n_test": 9, "counts": True}
    a, b, c = (gb.datasets.simulate(30, 40, seed=s, **given) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.X, b.X)
    np.testing.assert_array_equal(a.layers["counts"], b.layers["counts"])
    pd.testing.assert_frame_equal(a.obs, b.obs)
    assert not np.array_equal(a.X, c.X)
    a.write_h5ad(tmp_path / "a.h5ad")
    import anndata

    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(back.obs, a.obs, check_categorical=False)
    assert back.uns["truth"] == a.uns["truth"]


BAD = {
    "no whole number": ({"n_samples": 10.5}, "n_samples must be a whole number"),
    "bool": ({"n_genes": True}, "n_genes must be a whole number"),
    "more informative genes than genes": ({"n_genes": 5, "n_informative": 6}, "more than n_genes=5"),
    "more donors than samples": ({"n_samples": 10, "n_donors": 20}, "more than n_samples=10"),
    "V above one": ({"n_batches": 2, "confounding": 1.5}, "between 0 and 1"),
    "confounding without batches": ({"confounding": 0.5}, "n_batches"),
    "unknown task": ({"task": "survival"}, "'classification', 'regression'"),
    "shares of other classes": ({"class_shares": (0.2, 0.3, 0.5)}, "2 positive numbers"),
    "shares for a number": ({"task": "regression", "class_shares": (0.5, 0.5)}, "no classes"),
    "a class without samples": ({"n_samples": 10, "class_shares": (0.999, 0.001)}, "10 samples leave a class"),
    "a class without donors": ({"n_donors": 4, "class_shares": (0.95, 0.05)}, "4 donors leave a class"),
    "a negative effect": ({"effect": -1.0}, "at least 0"),
    "not a number": ({"effect": float("nan")}, "effect must be"),
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_studies_are_refused(name):
    given, says = BAD[name]
    with pytest.raises(InputError, match=says):
        gb.datasets.simulate(**({"n_samples": 40, "n_genes": 50} | given))
