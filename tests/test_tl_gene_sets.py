"""Gene sets on an AnnData: known biology of Golub's leukaemia, files, errors, and gb.run and the command line."""

from __future__ import annotations

import gzip
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb
from geneml_bio.cli import main
from geneml_bio.core.errors import ColumnNotFoundError, DataWarning, InputError, StorageError
from geneml_bio.workflow import _tables

HOW = {"n_splits": 3, "n_repeats": 1, "tune": False, "progress": False, "n_jobs": 1}

# Written by hand from textbook knowledge of blood cells (what myeloid granules, B-cell receptors, T-cell receptors, proteasomes and
# ribosomes are made of), not taken from a database; each as accessions of the array of Golub et al., by their descriptions.
BY_NAME = {
    "myeloid granules": "azurocidin gene|^LYZ|lysozyme gene|cathepsin G|^MPO|myeloperoxidase|^DEFA|^CST3|^CTSD|adipsin|^PRG1|^LTF|"
    "proteinase 3 |^GRN|CD63|neutrophil elastase|bone marrow serine protease|calgranulin",
    "B-cell receptor": "MB-1 gene|\\(B29\\)|^CD19|^CD22 |^CD72|CD20 receptor|^BLK |tyrosine kinase syk|^LYN |^IGHM|immunoglobulin mu",
    "T-cell receptor": "^CD3|CD3 epsilon|^CD2 |^CD5 |^CD8A|T-cell receptor|^TCRB|^TCRD|^FYN|TCF7",
    "proteasome": "^PSM[ABCD]|proteasome (component|subunit)",
    "ribosome": "^RP[LS][0-9]|ribosomal protein",
    "respiratory chain": "cytochrome c oxidase|NADH|ATP synthase|ubiquinol",
}


@pytest.fixture(scope="module")
def golub():
    adata = gb.datasets.golub()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = gb.tl.classify(adata, "class", models=["logistic", "random_forest"], **HOW)
        gb.tl.explain(adata, result, progress=False)
    return adata


@pytest.fixture(scope="module")
def sets(golub):
    described = golub.var["description"].astype(str)
    return {
        name: list(golub.var_names[described.str.contains(pattern, case=False, regex=True)])
        for name, pattern in BY_NAME.items()
    }


@pytest.mark.filterwarnings("ignore:This pattern")
def test_acute_leukaemias_are_told_apart_by_the_granules_of_myeloid_cells(golub, sets):
    table = gb.tl.gene_sets(golub, sets).set_index("set")
    granules = table.loc["myeloid granules"]
    assert table.index[0] == "myeloid granules"
    assert granules["adj.P.Val"] < 0.01
    assert (granules["direction"], granules["toward"]) == (1, "AML")
    others = table.loc[["proteasome", "ribosome", "respiratory chain", "T-cell receptor"]]
    assert (others["adj.P.Val"] > 0.2).all()
    assert table.loc["B-cell receptor", "p_value"] < others["p_value"].min()
    assert "M27891_at" in granules["leading"]  # cystatin C, of the 50 genes of Golub et al.


def test_files_nets_and_symbols_give_what_a_dict_gives(golub, sets, tmp_path):
    adata = golub.copy()
    expected = gb.tl.gene_sets(adata, sets)
    text = "".join("\t".join([name, "by hand", *genes]) + "\n" for name, genes in sets.items())
    (tmp_path / "sets.gmt").write_text(text)
    with gzip.open(tmp_path / "sets.gmt.gz", "wt") as file:
        file.write(text)
    net = pd.DataFrame(
        [(name, gene, 1.0) for name in sets for gene in sets[name]], columns=["source", "target", "weight"]
    )
    for given in (tmp_path / "sets.gmt", str(tmp_path / "sets.gmt.gz"), net):
        pd.testing.assert_frame_equal(gb.tl.gene_sets(adata, given), expected)
    adata.var["symbol"] = [None if k % 7 == 0 else f"S{k}" for k in range(adata.n_vars)]
    symbol = adata.var["symbol"].dropna()
    renamed = {name: [symbol[g] for g in genes if g in symbol.index] for name, genes in sets.items()}
    got = gb.tl.gene_sets(adata, renamed, gene_symbols="symbol")
    assert got["leading"].str.startswith("S").any()
    back = {value: name for name, value in symbol.items()}
    by_id = gb.tl.gene_sets(adata, {name: [back[g] for g in genes] for name, genes in renamed.items()})
    pd.testing.assert_frame_equal(got.drop(columns="leading"), by_id.drop(columns="leading"))


def test_what_is_written_survives_files(golub, sets, tmp_path):
    adata = golub.copy()
    with pytest.warns(
        DataWarning, match=r"2 of 8 gene sets are left out: 1 have fewer than 5 genes in the study, 1 more than 500"
    ):
        table = gb.tl.gene_sets(adata, {**sets, "few": ["M27891_at"], "all": list(adata.var_names)})
    pd.testing.assert_frame_equal(gb.get.gene_sets(adata), table)
    adata.write_h5ad(tmp_path / "a.h5ad")
    adata.write_zarr(tmp_path / "a.zarr")
    for back in (ad.read_h5ad(tmp_path / "a.h5ad"), ad.read_zarr(tmp_path / "a.zarr")):
        pd.testing.assert_frame_equal(gb.get.gene_sets(back), table)
    assert adata.uns["classify_sets"]["n_universe"] == adata.n_vars
    gb.tl.explain(adata, n_jobs=1, progress=False)
    with pytest.raises(ColumnNotFoundError, match="gene_sets"):
        gb.get.gene_sets(adata)


def test_more_classes_have_a_class_to_go_to():
    adata = gb.datasets.simulate(60, 200, n_classes=3, n_informative=24, effect=2.0, seed=1)
    gb.tl.classify(adata, "target", models="logistic", screen=40, **HOW)
    gb.tl.explain(adata, n_jobs=1, progress=False)
    shift = adata.varm["effect"]
    up = shift.index[(shift["B"] > 0) & (shift["C"] == 0)]  # marks B
    table = gb.tl.gene_sets(
        adata, {"B": list(up), "none": list(adata.var_names[~adata.var["informative"]][:20])}, min_size=2
    )
    first = table.iloc[0]
    assert (first["set"], first["toward"], first["direction"]) == ("B", "B", 1)


def test_errors_name_the_fix_and_leave_the_object_alone(golub, sets):
    adata = golub.copy()
    before = set(adata.uns)
    for error, given, more in (
        (InputError, {"a": ["x", "y", "z", "u", "v"]}, {}),
        (InputError, "no such file.gmt", {}),
        (ColumnNotFoundError, sets, {"gene_symbols": "Symbol"}),
        (ColumnNotFoundError, sets, {"key": "other"}),
        (InputError, sets, {"inter_gene_cor": -0.1}),
    ):
        with pytest.raises(error):
            gb.tl.gene_sets(adata, given, **more)
    assert set(adata.uns) == before
    plain = gb.datasets.golub()
    with pytest.raises(ColumnNotFoundError, match=r"Run gb\.tl\.classify"):
        gb.tl.gene_sets(plain, sets)
    adata.uns["classify_sets"] = np.arange(3)
    with pytest.raises(StorageError, match="has not made"):
        gb.tl.gene_sets(adata, sets)


def test_run_and_the_command_line_take_sets_and_refuse_those_without_genes_here_before_any_work(tmp_path):
    adata = gb.datasets.simulate(40, 120, n_informative=20, effect=2.0, seed=3)
    true, other = adata.var_names[adata.var["informative"]], adata.var_names[~adata.var["informative"]]
    how = {"models": "logistic", "n_permutations": 0, "engine": "native", **HOW}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = gb.run(adata, "target", gene_sets={"true": list(true), "other": list(other[:30])}, **how)
    written = _tables(done, "classify")
    assert list(written["gene_sets"]["set"]) == ["true", "other"]
    assert written["gene_sets"]["adj.P.Val"][0] < 0.01
    pd.testing.assert_frame_equal(written["replacements"], gb.get.replacements(done))
    assert "gene_groups" in written

    table = pd.DataFrame(adata.X, columns=adata.var_names, index=adata.obs_names)
    table.assign(target=adata.obs["target"].astype(str)).to_csv(tmp_path / "data.csv")
    (tmp_path / "bad.gmt").write_text("a\tb\tX1\tX2\tX3\tX4\tX5\n")
    words = ["run", str(tmp_path / "data.csv"), "--target", "target", "--gene-sets", str(tmp_path / "bad.gmt")]
    assert main([*words, "--out", str(tmp_path / "none")]) == 2
    assert not (tmp_path / "none").exists()
