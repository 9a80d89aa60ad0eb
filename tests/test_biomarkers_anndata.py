"""The biomarker table on studies: simulated truth, one kind of evidence, symbols, the command line."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb
from geneml_bio.cli import main

QUIET = {"progress": False, "n_jobs": 1, "n_repeats": 1, "n_permutations": 0, "tune": False}


def twins(seed: int, n_pairs: int = 8, r: float = 0.93):
    """A study in which the first genes that differ have a copy each; and whose copy is whose, both ways."""
    adata = gb.datasets.simulate(120, 400, n_informative=14, effect=1.2, correlation=0.0, seed=seed)
    rng = np.random.default_rng(seed)
    informative = np.flatnonzero(adata.var["informative"])
    spare = np.flatnonzero(~adata.var["informative"].to_numpy(bool))[:n_pairs]
    other = {}
    for gene, copy in zip(informative[:n_pairs], spare, strict=True):
        noise = rng.normal(size=adata.n_obs) * adata.var["sd"].iloc[gene] * np.sqrt(1 / r**2 - 1)
        adata.X[:, copy] = adata.X[:, gene] + noise
        other[adata.var_names[copy]], other[adata.var_names[gene]] = adata.var_names[gene], adata.var_names[copy]
    return adata, other


def explained(adata, models="lasso"):
    gb.tl.limma(adata, "~ 0 + target", contrast=("target", "case", "control"), engine="native")
    result = gb.tl.classify(adata, "target", models=models, **QUIET)
    gb.tl.explain(adata, result, progress=False)
    gb.tl.gene_groups(adata)
    return gb.tl.biomarkers(adata)


@pytest.fixture(scope="module")
def studied():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [(adata, other, explained(adata)) for adata, other in map(twins, range(3))]


def test_each_class_means_what_it_says_on_simulated_truth(studied):
    """LASSO picks one of two twins: the other is redundant, behind its own twin and nobody else."""
    n_redundant = n_weaker = 0
    called = []
    for adata, other, table in studied:
        redundant = table[table["class"] == "DE, redundant"]
        assert (redundant["stands_behind"] == [other.get(gene) for gene in redundant.index]).all()
        assert (table.loc[redundant["stands_behind"], "shap"].to_numpy() > redundant["shap"].to_numpy()).all()
        assert (redundant["adj.P.Val"] <= 0.05).all()
        n_redundant += len(redundant)
        pairs = table.loc[list(other)]
        mates = table.loc[[other[gene] for gene in pairs.index], "shap"].to_numpy()
        n_weaker += int((pairs["shap"] < 0.25 * mates).sum())
        informative = set(adata.var_names[adata.var["informative"]]) | set(other)
        both = table.index[table["class"].isin(["DE and used", "DE, redundant"])]
        assert len(set(both) - informative) <= 3  # limma at 5 % FDR
        alone = [gene for gene in informative if gene not in other]
        assert "DE, redundant" not in set(table.loc[alone, "class"])
        called += list(table.loc[alone, "class"] == "DE and used")
        assert (table.loc[table["class"] == "DE and used", "agreement"] == "agree").mean() >= 0.95
    assert n_redundant >= 0.8 * n_weaker >= 6
    assert np.mean(called) >= 0.75  # LASSO does without some of those that differ least


def test_without_groups_the_pairs_of_the_folds_tell_what_is_redundant(studied):
    adata, other, _ = studied[0]
    adata = adata.copy()
    del adata.uns["classify_groups"]
    table = gb.tl.biomarkers(adata)
    redundant = table[table["class"] == "DE, redundant"]
    assert len(redundant)
    assert (redundant["stands_behind"] == [other.get(gene) for gene in redundant.index]).all()
    assert "gene_groups" in table.attrs["settings"]["not_run"]
    assert "group" not in table


def test_what_is_stored_is_what_was_returned_and_survives_a_file(studied, tmp_path):
    adata, _, table = studied[0]
    adata.write_h5ad(tmp_path / "x.h5ad")
    for got in (gb.get.biomarkers(adata), gb.get.biomarkers(ad.read_h5ad(tmp_path / "x.h5ad"))):
        pd.testing.assert_frame_equal(
            got, table, check_dtype=False, check_names=False, check_index_type=False, check_column_type=False
        )
        assert got.attrs["settings"]["min_share"] == 0.25
    part = adata[:, table.index[:5]]
    assert list(gb.get.biomarkers(part).index) == list(table.index[:5])


def test_knockoffs_of_the_same_target_are_taken_and_of_another_left_out(studied, tmp_path):
    pytest.importorskip("hidimstat")
    adata = studied[0][0].copy()
    got = gb.tl.knockoffs(adata, "target")
    table = gb.tl.biomarkers(adata)
    assert (table["knockoff_q"].reindex(adata.var_names) == got.q).all()
    adata.obs["age"] = np.random.default_rng(0).normal(size=adata.n_obs)
    gb.tl.knockoffs(adata, "age")
    adata.write_h5ad(tmp_path / "a.h5ad")
    for one in (adata, ad.read_h5ad(tmp_path / "a.h5ad")):
        with pytest.warns(gb.errors.DataWarning, match="are of the target 'age', not of 'target'"):
            assert "knockoff_q" not in gb.tl.biomarkers(one)


def test_a_table_that_is_older_than_its_evidence_is_told(studied, tmp_path):
    adata = studied[0][0].copy()
    adata.write_h5ad(tmp_path / "a.h5ad")
    with warnings.catch_warnings():
        warnings.simplefilter("error", gb.errors.DataWarning)
        for one in (adata, adata[:, ::3], ad.read_h5ad(tmp_path / "a.h5ad")):
            gb.get.biomarkers(one)
    gb.tl.classify(adata, "target", models="lasso", **QUIET | {"n_permutations": 2})
    with pytest.warns(gb.errors.DataWarning, match=r"older than .*\(shap changed"):
        gb.get.biomarkers(adata)  # not explained anew
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.explain(adata, progress=False, n_jobs=1)
        gb.tl.biomarkers(adata)
        gb.tl.classify(adata, "target", models="lasso", **QUIET | {"n_permutations": 3})
    with pytest.warns(gb.errors.DataWarning, match=r"shap, empirical_q changed"):
        gb.get.biomarkers(adata)


def test_an_index_that_is_called_like_a_column_is_no_obstacle(studied, tmp_path):
    adata = studied[0][0].copy()
    adata.var_names.name = "symbol"
    gb.tl.biomarkers(adata)
    adata.write_h5ad(tmp_path / "x.h5ad")
    assert gb.get.biomarkers(ad.read_h5ad(tmp_path / "x.h5ad")).index[0] == studied[0][2].index[0]


# -- one kind of evidence ----------------------------------------------------------------------------------------------


def test_a_de_table_alone_and_a_model_alone_say_what_is_missing(studied):
    adata, _, table = studied[0]
    de = gb.DETable(gb.get.de(adata), contrast="case - control")
    with pytest.warns(gb.errors.DataWarning, match="no out-of-fold SHAP values"):
        alone = gb.tl.biomarkers(de, annotation=pd.DataFrame({"symbol": ["S1"]}, index=[de.frame.index[0]]))
    assert list(alone.index) == list(de.frame.sort_values("P.Value", kind="stable").index)
    assert set(alone["class"]) == {"", "DE, use unknown"}
    assert ((alone["class"] != "") == (alone["adj.P.Val"] <= 0.05)).all()
    assert alone["symbol"].iloc[0] == "S1"
    assert "SHAP" in alone.attrs["settings"]["missing_evidence"]
    assert alone.attrs["settings"]["contrast"] == "case - control"
    pd.testing.assert_series_equal(alone["CI.L"].reindex(table.index), table["CI.L"], check_names=False)
    with pytest.warns(gb.errors.DataWarning, match="no DE statistics"):
        model = gb.tl.biomarkers(adata.copy(), de=None)
    assert set(model["class"]) <= {"used, DE unknown", "unstable", ""}
    assert "logFC" not in model
    with pytest.raises(gb.errors.InputError, match="neither"):
        gb.tl.biomarkers(gb.datasets.golub(), de=None, model=None)


def test_a_joint_test_has_no_interval_and_no_agreement():
    frame = pd.DataFrame({"F": [9.0, 1.0], "P.Value": [0.01, 0.5], "adj.P.Val": [0.02, 0.5]}, index=["a", "b"])
    with pytest.warns(gb.errors.DataWarning):
        table = gb.tl.biomarkers(gb.DETable(frame, kind="F"))
    assert "CI.L" not in table
    assert list(table.columns) == ["rank", "class", "F", "P.Value", "adj.P.Val", "agreement"]


# -- symbols -----------------------------------------------------------------------------------------------------------


def test_symbols_come_from_var_or_from_a_frame(studied):
    adata = studied[0][0].copy()
    adata.var["gene_symbols"] = [f"S{i}" for i in range(adata.n_vars)]
    adata.var["mine"] = "M"
    assert gb.tl.biomarkers(adata).loc[adata.var_names[3], "symbol"] == "S3"
    assert set(gb.tl.biomarkers(adata, gene_symbols="mine")["symbol"]) == {"M"}
    frame = pd.DataFrame({"gene_id": adata.var_names[:2], "description": ["first", None]})
    named = gb.tl.biomarkers(adata, annotation=frame)
    assert named["name"].ne("").sum() == 1
    assert "symbol" not in named
    wrong = [
        ({"gene_symbols": "symbl"}, "no column"),
        ({"annotation": frame.assign(gene_id="x")}, "none of its 2 rows"),
        ({"annotation": pd.concat([frame, frame])}, "more than once"),
        ({"annotation": frame.drop(columns="description")}, "needs a column of symbols"),
        ({"annotation": 3}, "got int"),
        ({"annotation": "org.Hs.eg.db; q()"}, "no name of an annotation package"),
    ]
    before = adata.varm["biomarkers"].copy()
    for how, says in wrong:
        with pytest.raises(gb.errors.GenemlError, match=says):
            gb.tl.biomarkers(adata, **how)
    pd.testing.assert_frame_equal(adata.varm["biomarkers"], before)


@pytest.mark.r
def test_symbols_come_from_bioconductor_whatever_the_ids_are(fresh_r):
    from geneml_bio.bridge import r
    from geneml_bio.bridge.annotation import from_package

    if r.status()["packages"]["org.Hs.eg.db"] is None:
        pytest.skip("R has no org.Hs.eg.db")
    known = {"ENSG00000141510": "TP53", "ENSG00000012048": "BRCA1", "ENSG00000097007": "ABL1"}
    for ids, kind in (
        (list(known), "ENSEMBL"),
        ([f"{name}.17" for name in known], "ENSEMBL"),
        (["7157", "672", "25"], "ENTREZID"),
        (list(known.values()), "SYMBOL"),
    ):
        frame, source = from_package(pd.Index([*ids, "not a gene"]), "org.Hs.eg.db")
        assert frame["symbol"].tolist() == [*known.values(), None]
        assert frame["name"].iloc[0] == "tumor protein p53"
        assert f"by {kind}: 3 of 4 genes" in source
    theirs = fresh_r(
        "AnnotationDbi::mapIds(org.Hs.eg.db::org.Hs.eg.db, c('7157', '672', '25'), 'GENENAME', 'ENTREZID')"
    )
    assert frame["name"].iloc[:3].tolist() == list(theirs)
    with pytest.raises(gb.errors.InputError, match="hardly any of the ids"):
        from_package(pd.Index(["x1", "x2"]), "org.Hs.eg.db")
    with pytest.raises(gb.errors.InputError, match="keytype must be one of"):
        from_package(pd.Index(["7157"]), "org.Hs.eg.db", keytype="ENTREZ")
    with pytest.raises(gb.errors.RNotAvailableError, match=r"no package org\.Zz\.eg\.db.*annotation=frame"):
        from_package(pd.Index(["7157"]), "org.Zz.eg.db")


@pytest.mark.r
def test_r_gets_the_table_with_factors_and_na(studied, fresh_r):
    adata, _, table = studied[0]
    fresh_r.env["t"] = gb.to_r(table)
    assert bool(fresh_r("is.factor(t$class) && is.integer(t$rank) && anyNA(t$class) && anyNA(t$shap_rank)")[0])
    assert list(fresh_r("rownames(t)")) == list(table.index)
    small = ad.AnnData(adata.X[:5], var=adata.var[[]].copy())
    small.varm["biomarkers"] = adata.varm["biomarkers"]
    fresh_r.env["se"] = gb.to_r(small)
    fresh_r("r <- SummarizedExperiment::rowData(se)")
    np.testing.assert_array_equal(fresh_r.numbers("r$biomarkers_shap"), table["shap"].reindex(adata.var_names))
    assert bool(fresh_r("is.factor(r$biomarkers_class)")[0])


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_command_shows_and_writes(studied, tmp_path, monkeypatch, capsys):
    adata, _, table = studied[0]
    adata.write_h5ad(tmp_path / "results.h5ad")
    monkeypatch.chdir(tmp_path)
    assert main(["biomarkers", "results.h5ad", "--to", "xlsx", "--top", "5"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[0] for line in shown.splitlines()[2:7]] == list(table.index[:5])
    assert "Written: biomarkers.xlsx" in shown
    assert len(pd.read_excel("biomarkers.xlsx")) == 5
    assert main(["biomarkers", "results.h5ad", "--to", "xlsx"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["biomarkers", "results.h5ad", "--out", "x.csv", "--n-used", "3", "--columns", "class", "shap"]) == 0
    got = pd.read_csv("x.csv", index_col=0)
    assert list(got.columns) == ["class", "shap"]
    assert got["class"].isin(["DE and used", "used, not DE", "unstable"]).sum() <= 3
    gb.export(gb.DETable(gb.get.de(adata)), "top.csv")
    capsys.readouterr()
    assert main(["biomarkers", "top.csv", "--top", "2"]) == 0
    assert "Missing: out-of-fold SHAP values" in capsys.readouterr().out
