"""SHAP of gene sets: sums and counts by hand, correlations by brute force, and a test that keeps its level on real models."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import geneml_bio as gb
from geneml_bio.bridge.extract import extract_cohort
from geneml_bio.core.errors import InputError
from geneml_bio.core.explain import explain
from geneml_bio.core.gene_sets import as_net
from geneml_bio.core.models import candidates
from geneml_bio.core.schema import Cohort
from geneml_bio.core.set_shap import SETS, matched, set_shap
from geneml_bio.core.validate import validate


def _study(seed=0, n=40, p=60):
    rng = np.random.default_rng(seed)
    y = np.tile(["a", "b"], n // 2).astype(object)
    X = rng.normal(size=(n, p)) + rng.normal(size=(n, 1)) * (np.arange(p) < 8) + (y == "b")[:, None]
    names = pd.Index([f"g{i}" for i in range(p)])
    return Cohort(X, names, pd.Index([f"s{i}" for i in range(n)]), y, ("a", "b"))


def _values(cohort, used=15, sign=1.0):
    z = cohort.X - cohort.X.mean(axis=0)
    dense = sign * z * np.linspace(2, 0.1, cohort.X.shape[1])
    dense[:, used:] = 0
    return {"b": sparse.csr_matrix(dense)}


SETS_OF = {
    "first": [f"g{i}" for i in range(8)],
    "mixed": ["g1", "g20", "g21", "g22", "g30", "elsewhere"],
    "unused": [f"g{i}" for i in range(40, 48)],
    "small": ["g1", "g2"],
    "strangers": ["x", "y", "z", "u", "v"],
    "all": [f"g{i}" for i in range(60)],
}


def test_sums_counts_and_correlations_are_what_they_are_called():
    cohort = _study()
    values = _values(cohort)
    frequency = np.where(np.arange(60) < 22, 0.5, 0.0)
    found = matched(as_net(SETS_OF), cohort.features, min_size=5, max_size=40)
    assert (found.n_sets, found.n_small, found.n_large) == (6, 2, 1)
    table, about = set_shap(cohort, values, frequency, found, cohort.features)
    assert table.dtypes.astype(str).to_dict().keys() == SETS.keys()
    assert about == {"n_universe": 60, "n_constant": 0, "n_used": 15}
    table = table.set_index("set")
    assert set(table.index) == {"first", "mixed", "unused"}
    dense = values["b"].toarray()
    residual = pd.DataFrame(cohort.X).sub(pd.DataFrame(cohort.X).groupby(cohort.target).transform("mean")).to_numpy()
    df = 40 - 2
    for name, row in table.iterrows():
        where = cohort.features.get_indexer([g for g in SETS_OF[name] if g in cohort.features])
        assert (row["n_genes"], row["n_tested"], row["n_features"]) == (len(SETS_OF[name]), len(where), len(where))
        assert (row["n_screened"], row["n_used"]) == ((where < 22).sum(), (where < 15).sum())
        np.testing.assert_allclose(row["shap"], np.abs(dense[:, where].sum(axis=1)).mean(), rtol=1e-12)
        np.testing.assert_allclose(row["share"], np.abs(dense[:, where]).sum() / np.abs(dense).sum(), rtol=1e-12)
        r2 = np.corrcoef(residual[:, where].T)[np.triu_indices(len(where), 1)] ** 2
        np.testing.assert_allclose(row["correlation"], max((df * r2.mean() - 1) / (df - 1), 0), atol=1e-12)
    by_size = np.argsort(-np.abs(dense[:, :8]).mean(axis=0))
    assert table.loc["first", "leading"] == ", ".join(cohort.features[by_size])
    assert (table.loc["unused", "leading"], table.loc["unused", "p_value"]) == ("", 1.0)
    assert table.loc["mixed", "leading"] == "g1"


def test_direction_follows_the_genes_and_the_signs_of_a_net():
    cohort = _study(1)
    net = as_net(pd.DataFrame({"source": "tf", "target": SETS_OF["first"], "weight": [1.0, -2.0] * 4}))
    plain = as_net({"set": SETS_OF["first"]})
    for sign in (1.0, -1.0):
        values = _values(cohort, sign=sign)
        row = set_shap(cohort, values, np.ones(60), matched(plain, cohort.features), cohort.features)[0].iloc[0]
        assert (row["direction"], row["balance"], row["toward"]) == (sign, pytest.approx(sign), "b")
        row = set_shap(cohort, values, np.ones(60), matched(net, cohort.features), cohort.features)[0].iloc[0]
        assert row["direction"] == 0
        assert abs(row["balance"]) < 1 / 3


def test_probes_of_one_gene_count_as_one_gene_and_are_correlated():
    cohort = _study(2)
    names = pd.Index(["A", "A", "A", "B", "C", "D", "E", "", *[f"n{i}" for i in range(52)]])
    found = matched(as_net({"set": ["A", "B", "C", "D", "E", "F"]}), names)
    row = set_shap(cohort, _values(cohort), np.ones(60), found, names)[0].iloc[0]
    assert (row["n_genes"], row["n_tested"], row["n_features"]) == (6, 5, 7)
    assert sorted(row["leading"].split(", ")) == ["A", "B", "C", "D", "E"]
    assert row["n_effective"] < 7


@pytest.mark.parametrize("form", ["csr", "order"])
def test_form_and_order_do_not_matter(form):
    cohort = _study(3)
    found = matched(as_net(SETS_OF), cohort.features)
    expected = set_shap(cohort, _values(cohort), np.ones(60), found, cohort.features)[0].set_index("set")
    sets = SETS_OF
    if form == "csr":
        X = sparse.csr_matrix(cohort.X)
        other = Cohort(X, cohort.features, cohort.samples, cohort.target, cohort.classes)
    else:
        other, sets = cohort, {name: genes[::-1] for name, genes in reversed(SETS_OF.items())}
    found = matched(as_net(sets), cohort.features)
    got = set_shap(other, _values(cohort), np.ones(60), found, cohort.features)[0].set_index("set")
    pd.testing.assert_frame_equal(got.loc[expected.index], expected)


def test_what_cannot_be_matched_is_said_with_the_fix():
    genes = pd.Index(["Cd19", "Cd22", "Blk", "Btk", "Syk", "Lyn"])
    net = as_net({"bcr": ["CD19", "CD22", "BLK", "BTK", "SYK"]})
    with pytest.raises(InputError, match=r"0 of the 5 genes.*'CD19'.*'Cd19'.*upper and lower case.*gene_symbols="):
        matched(net, genes)
    with pytest.raises(InputError, match="the largest has 2"):
        matched(as_net({"s": ["Cd19", "Cd22"]}), genes)
    for bad in ({"min_size": 0}, {"min_size": 2.5}, {"max_size": 2}):
        with pytest.raises(InputError, match="size"):
            matched(net, genes, **bad)
    cohort = _study()
    with pytest.raises(InputError, match="inter_gene_cor"):
        set_shap(
            cohort,
            _values(cohort),
            np.ones(60),
            matched(as_net(SETS_OF), cohort.features),
            cohort.features,
            inter_gene_cor=1,
        )


def _reliance_of_models(seed, n_informative):
    """A real validation and explanation of a simulated study with correlated blocks, correlations of either sign."""
    adata = gb.datasets.simulate(
        60, 1000, n_informative=n_informative, effect=1.2, correlation=0.6, block_size=20, seed=seed
    )
    adata.X = adata.X * np.where(np.random.default_rng(seed).random(1000) < 0.5, -1, 1)
    cohort = extract_cohort(adata, "target", task="classification")
    how = {"screen": 60, "n_splits": 3, "n_repeats": 1, "tune": False, "n_jobs": 1, "progress": False, "seed": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = validate(cohort, candidates("logistic", "classification"), **how)
        return adata, cohort, explain(result, cohort, progress=False).values


def test_the_level_is_kept_for_random_sets_and_for_correlated_ones_and_planted_sets_are_found():
    """12 studies, half of them without any signal, 50 random sets and 50 correlated blocks in each: 1,200 true null hypotheses."""
    p, naive, planted = {"random": [], "block": []}, [], []
    for seed in range(12):
        signal = 20 if seed % 2 else 0
        adata, cohort, values = _reliance_of_models(seed, signal)
        rng = np.random.default_rng(seed)
        names = cohort.features
        sets = {f"random{k}": names[rng.choice(1000, (8, 20, 60)[k % 3], replace=False)] for k in range(50)}
        sets |= {f"block{b}": names[adata.var["block"] == b] for b in range(50)}
        if signal:
            true = names[adata.var["informative"]]
            sets |= {f"planted{k}": [*rng.choice(true, 7, replace=False), *sets[f"random{k}"][:8]] for k in range(3)}
        found = matched(as_net(sets), names)
        table = set_shap(cohort, values, np.ones(1000), found, names)[0].set_index("set")["p_value"]
        plain = set_shap(cohort, values, np.ones(1000), found, names, inter_gene_cor=0.0)[0].set_index("set")["p_value"]
        for kind, into in p.items():
            into += list(table[table.index.str.startswith(kind)])
        naive += list(plain[plain.index.str.startswith("block")])
        planted += list(table[table.index.str.startswith("planted")])
    for kind, values in p.items():
        assert (np.array(values) <= 0.05).mean() <= 0.06, kind
        assert (np.array(values) <= 0.01).mean() <= 0.015, kind
    assert (np.array(naive) <= 0.05).mean() > 0.09  # what correlation does where it is not accounted for
    assert (np.array(planted) <= 0.01).mean() > 0.8
