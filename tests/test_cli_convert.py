"""Conversion of tables and limma on the command line."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from test_cli_toptable import run, table

import geneml_bio as gb
from geneml_bio.bridge import export
from geneml_bio.describe import described
from geneml_bio.describe_fit import done


def same(a: gb.DETable, b: gb.DETable) -> None:
    """Equal ids and statistics, to the last digit."""
    assert list(a.frame.index) == list(b.frame.index)
    for name in ("logFC", "AveExpr", "t", "P.Value", "adj.P.Val"):
        np.testing.assert_array_equal(a.frame[name], b.frame[name])


# -- conversion --------------------------------------------------------------------------------------------------------

HOSTILE = ["NA", "nan", "TRUE", "1E5", "01005", "=1+1", "+x", "@y", "a,b", 'q"q', "MARCH1", "é"]


@pytest.mark.parametrize("to", ["csv", "tsv", "xlsx", "h5ad"])
def test_converted_and_read_again_it_is_the_same_table(tmp_path, capsys, to):
    ids = [*HOSTILE, *(f"GENE{i}" for i in range(28))]
    table(ids=ids).to_csv(tmp_path / "top.txt", sep="\t")
    first = gb.read.toptable(tmp_path / "top.txt")
    status, out, _ = run(capsys, "toptable", tmp_path / "top.txt", "--to", to)
    assert status == 0
    assert f"Written: {tmp_path / f'top.{to}'}" in out
    same(gb.read.toptable(tmp_path / f"top.{to}"), first)


def test_parquet(tmp_path, capsys):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    table().to_csv(tmp_path / "top.csv.gz")
    assert run(capsys, "toptable", tmp_path / "top.csv.gz", "--to", "parquet")[0] == 0
    frame = pd.read_parquet(tmp_path / "top.parquet").set_index("id")
    same(gb.read.toptable(frame), gb.read.toptable(tmp_path / "top.csv.gz"))


@pytest.mark.parametrize(
    ("dialect", "names"),
    [
        ("limma", {"logFC", "P.Value", "adj.P.Val"}),
        ("scanpy", {"names", "logfoldchanges", "pvals"}),
        ("deseq2", {"log2FoldChange", "pvalue"}),
        ("edger", {"logFC", "PValue", "FDR"}),
        ("pertpy", {"log_fc", "p_value"}),
    ],
)
def test_other_programs_names(tmp_path, capsys, dialect, names):
    table().to_csv(tmp_path / "top.csv")
    status, _, _ = run(
        capsys, "toptable", tmp_path / "top.csv", "--out", tmp_path / f"{dialect}.csv", "--dialect", dialect
    )
    assert status == 0
    assert names <= set(pd.read_csv(tmp_path / f"{dialect}.csv").columns)
    again = gb.read.toptable(tmp_path / f"{dialect}.csv")
    frame = gb.read.toptable(tmp_path / "top.csv").frame
    np.testing.assert_allclose(
        again.frame.loc[frame.index, ["logFC", "P.Value"]], frame[["logFC", "P.Value"]], rtol=1e-12
    )


def test_a_file_that_is_there_stays(tmp_path, capsys):
    table().to_csv(tmp_path / "top.csv")
    before = (tmp_path / "top.csv").read_bytes()
    status, _, err = run(capsys, "toptable", tmp_path / "top.csv", "--to", "csv")
    assert status == 2
    assert "--force" in err
    assert (tmp_path / "top.csv").read_bytes() == before
    assert run(capsys, "toptable", tmp_path / "top.csv", "--to", "csv", "--force")[0] == 0


def test_a_folder_gets_a_file_of_each_experiment(tmp_path, capsys):
    stacked = pd.concat([table(seed=i).assign(cell_type=name) for i, name in enumerate(("B", "T"))])
    stacked.rename_axis("gene").reset_index().to_csv(tmp_path / "all.csv", index=False)
    one = stacked[stacked["cell_type"] == "B"]
    one.rename_axis("gene").reset_index().to_csv(tmp_path / "one.csv", index=False)
    out = tmp_path / "out"
    out.mkdir()
    for argv, names in (
        (["all.csv", "--by", "cell_type", "--out", out], ["all-B.csv", "all-T.csv"]),
        (["all.csv", "--by", "cell_type", "--out", out, "--to", "xlsx"], ["all-B.xlsx", "all-T.xlsx"]),
        (["one.csv", "--by", "cell_type", "--out", out], ["one.csv"]),
        (["one.csv", "--by", "cell_type", "--out", out / "mine.csv"], ["mine.csv"]),
        (["one.csv", "--out", out, "--to", "tsv"], ["one.tsv"]),
    ):
        before = set(out.iterdir())
        assert run(capsys, "toptable", tmp_path / argv[0], *argv[1:])[0] == 0
        assert sorted(path.name for path in set(out.iterdir()) - before) == names


def test_what_cannot_be_written_is_named_as_it_was_asked_for(tmp_path, capsys, monkeypatch):
    table().to_csv(tmp_path / "top.csv")

    def full(*_):
        raise OSError(28, "No space left on device", ".out.csv.x7c.csv")

    monkeypatch.setitem(export.WRITERS, "tsv", full)
    status, out, err = run(capsys, "toptable", tmp_path / "top.csv", "--out", tmp_path / "out.tsv")
    assert (status, out) == (2, "")
    assert err == f"geneml-bio: {tmp_path / 'out.tsv'} cannot be written: No space left on device.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["top.csv"]
    monkeypatch.setattr(export.os, "access", lambda *_: False)
    _, _, err = run(capsys, "toptable", tmp_path / "top.csv", "--out", tmp_path / "out.csv")
    assert (
        err
        == f"geneml-bio: {tmp_path / 'out.csv'} cannot be written: there is no permission to make files in {tmp_path}.\n"
    )


@pytest.mark.parametrize(
    ("name", "to", "goes"),
    [("zz.csv", "xlsx", False), ("zz.csv.gz", "csv", False), ("zz.txt", "tsv", True), ("zz", "csv", True),
     ("zz.txt", "xlsx", False), ("zz.v2", "csv", True), ("zz.CSV", "csv", True), ("zz.rds", "csv", False)],
)  # fmt: skip
def test_a_name_does_not_lie_about_its_format(tmp_path, capsys, name, to, goes):
    table().to_csv(tmp_path / "top.csv")
    status, _, err = run(capsys, "toptable", tmp_path / "top.csv", "--to", to, "--out", tmp_path / name)
    assert (status, (tmp_path / name).exists()) == ((0, True) if goes else (2, False))
    assert goes or "Change the name or the format" in err


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["toptable", "nowhere.csv"], "nowhere.csv"),
        (["toptable", "{csv}", "--feature", "symbl"], "symbl"),
        (["toptable", "{csv}", "--out", "x.ods"], "'ods'"),
        (["toptable", "{csv}", "--out", "no/where.csv"], "no folder"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x", "--h5ad", "no/x.h5ad"], "no folder no"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x", "--h5ad", "x.csv"], "is no name for h5ad"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x", "--h5ad", "x.h5ad", "--out", "x.h5ad"], "both"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x", "--out", "{csv}", "--force"], "holds the data"),
        (["limma", "{csv}", "--design", "~ c", "--contrast", "x"], "`geneml-bio toptable` reads it"),
    ],
)
def test_what_is_refused_is_one_line_and_status_2(tmp_path, capsys, argv, says, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table(symbol="s").to_csv(tmp_path / "top.csv")
    status, _, err = run(capsys, *[part.replace("{csv}", str(tmp_path / "top.csv")) for part in argv])
    assert status == 2
    assert says in err
    assert "Traceback" not in err


# -- limma -------------------------------------------------------------------------------------------------------------


def test_limma_from_a_file_to_a_table_and_an_h5ad(tmp_path, capsys):
    golub = gb.datasets.golub()[:, :200].copy()
    golub.write_h5ad(tmp_path / "golub.h5ad")
    status, out, _ = run(
        capsys,
        *("limma", tmp_path / "golub.h5ad", "--design", "~ 0 + class", "--contrast", "classAML - classALL"),
        *("--engine", "native", "--out", tmp_path / "top.csv", "--h5ad", tmp_path / "done.h5ad", "--top", 3),
    )
    assert status == 0
    lines = {line[:9].strip(): line[10:] for line in out.splitlines()}
    assert lines["Samples"] == "38 (class: ALL 27, AML 11), 200 genes"
    assert lines["Design"] == "~ 0 + class (classALL, classAML)"
    assert lines["Contrast"] == "classAML - classALL"
    assert lines["Method"] == "lmFit, contrasts.fit, eBayes"
    assert lines["Engine"].startswith("native")
    assert "File" not in lines
    table_of = gb.tl.limma(golub, "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    expected = table_of.frame
    assert lines["Prior"] == f"{table_of.source['df_prior']:.3g} df, variance {table_of.source['s2_prior']:.3g}"
    np.testing.assert_array_equal(gb.read.toptable(tmp_path / "top.csv").frame["t"], expected["t"])
    np.testing.assert_array_equal(
        gb.get.de(ad.read_h5ad(tmp_path / "done.h5ad")).loc[expected.index, "B"], expected["B"]
    )
    how = [
        "limma",
        tmp_path / "golub.h5ad",
        "--design",
        "~ 0 + class",
        "--contrast",
        "class,AML,ALL",
        "--engine",
        "native",
    ]
    assert "treat(|logFC| > 0.3)" in run(capsys, *how, "--treat", 0.3, "--top", 2)[1]
    assert run(capsys, *how, "--h5ad", tmp_path / "done.h5ad")[0] == 2  # it is there


def test_limma_from_a_csv_with_a_table_of_samples(tmp_path, capsys):
    golub = gb.datasets.golub()[:, :50].copy()
    golub.to_df().to_csv(tmp_path / "x.csv")
    golub.obs[["class"]].to_csv(tmp_path / "samples.csv")
    how = ["--samples", tmp_path / "samples.csv", "--design", "~ class", "--contrast", "classAML", "--engine", "native"]
    status, out, _ = run(capsys, "limma", tmp_path / "x.csv", *how)
    assert status == 0
    expected = gb.tl.limma(golub, "~ class", contrast="classAML", engine="native")
    assert expected.top(1).index[0][:12] in out


def test_all_that_limma_did_is_said():
    source = {"engine": "r", "r_version": "4.2.2", "limma_version": "3.54.1", "edgeR_version": "3.40.0", "voom": True}
    source |= {"normalize": "RLE", "quality_weights": True, "block": "donor", "correlation": 0.1234, "robust": True}
    source |= {
        "correlation_estimated": True,
        "df_prior": np.inf,
        "s2_prior": 0.5,
        "n_low_counts": 12,
        "layer": "counts",
    }
    source |= {"design": "~ 0 + class + age", "design_columns": ["classA", "classB", "age"], "contrasts": ["B vs A"]}
    obs = pd.DataFrame({"class": ["A", "B", "B"], "age": [1.0, 2.0, 3.0]}, index=list("xyz"))
    said = dict(done(gb.DETable(table(), source=source | {"treat_lfc": 0.5}), ad.AnnData(np.zeros((3, 40)), obs=obs)))
    assert said == {
        "Samples": "3 (class: A 1, B 2), 40 genes, layer 'counts'",
        "Design": "~ 0 + class + age (classA, classB, age)",
        "Contrast": "B vs A",
        "Method": "voomWithQualityWeights (normalised by RLE), blocks by donor (correlation 0.123, estimated), lmFit, "
        "contrasts.fit, treat(robust, |logFC| > 0.5)",
        "Prior": "infinite df (median of the genes), variance 0.5",
        "Counts": "12 genes have low counts by edgeR's filterByExpr; none was left out, and they bend voom's trend",
        "Engine": "R 4.2.2, limma 3.54.1, edgeR 3.40.0",
    }


def test_described_for_a_table_made_by_hand():
    de = gb.DETable(table())
    text = described(de, "mine", width=80)
    assert text.startswith("mine: limma, 40 features, one contrast\n")
    assert "40 features" in text
