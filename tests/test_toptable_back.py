"""Frames, DETables, AnnData and R: what was written is read back the same."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy import stats
from test_toptable import TORTURE, described, quiet, told, whole_table

import geneml_bio as gb
from geneml_bio.bridge import export
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    InputError,
    TableError,
)
from geneml_bio.core.names import LIMMA_COLUMNS
from geneml_bio.core.pvalues import adjust, adjust_bh


@pytest.fixture
def table() -> pd.DataFrame:
    return whole_table()


# -- frames and DETables -----------------------------------------------------------------------------------------------


def test_frames_are_read_like_files(table):
    de = quiet(table)
    pd.testing.assert_frame_equal(de.frame, table)
    again = quiet(table.reset_index(names="gene"))
    pd.testing.assert_frame_equal(again.frame, table)
    assert again.source["ids"] == "gene"
    assert quiet(table.rename_axis("gene")).source["ids"] == "gene"
    text = table.assign(**{"P.Value": table["P.Value"].map(lambda v: repr(float(v)).replace(".", ","))})
    np.testing.assert_array_equal(quiet(text).frame["P.Value"], table["P.Value"])
    assert quiet(table.astype("float32")).frame["t"].dtype == np.float64
    assert quiet(table.convert_dtypes()).frame["t"].dtype == np.float64
    wide = table.set_axis(pd.MultiIndex.from_product([["B vs A"], table.columns]), axis=1)
    pd.testing.assert_frame_equal(quiet(wide).frame, table)


def test_a_de_table_is_returned_as_it_is(table):
    de = quiet(table)
    assert gb.read.toptable(de) is de
    named = gb.read.toptable(de, contrast="B - A")
    assert named.contrast == "B - A"
    assert named.frame is de.frame


def _made() -> dict[str, gb.DETable]:
    """A table of every kind, as read from its program's own columns."""
    rng = np.random.default_rng(5)
    n = 60
    logfc, mean, se = rng.normal(size=n), rng.uniform(4, 12, n), rng.uniform(0.2, 0.4, n)
    ids = [f"g{k}" for k in range(n)]
    t = logfc / se
    p = 2 * stats.t.sf(abs(t), 10)
    limma = pd.DataFrame({"logFC": logfc, "AveExpr": mean, "t": t, "P.Value": p, "adj.P.Val": adjust_bh(p)}, ids)
    bound = 0.3
    far = np.maximum(abs(logfc) - bound, 0) / se
    p_treat = stats.t.sf((abs(logfc) - bound) / se, 10) + stats.t.sf((abs(logfc) + bound) / se, 10)
    treat = limma.assign(t=np.sign(logfc) * far, **{"P.Value": p_treat, "adj.P.Val": adjust_bh(p_treat)})
    joint = pd.DataFrame({"B - A": logfc, "C - A": rng.normal(size=n), "AveExpr": mean, "F": t**2}, ids)
    p_f = stats.f.sf(t**2, 2, 10)
    joint = joint.assign(**{"P.Value": p_f, "adj.P.Val": adjust_bh(p_f)})
    edger = pd.DataFrame({"logFC": logfc, "logCPM": mean}, ids)
    p_lr, p_lr2 = stats.chi2.sf(t**2, 1), stats.chi2.sf(t**2, 2)
    several = pd.DataFrame(
        {"logFC.B": logfc, "logFC.C": joint["C - A"], "logCPM": mean, "LR": t**2, "PValue": p_lr2}, ids
    )
    z = 2 * stats.norm.sf(abs(t))
    wald = pd.DataFrame(
        {"baseMean": 2**mean, "log2FoldChange": logfc, "lfcSE": se, "stat": t, "pvalue": z, "padj": adjust_bh(z)}, ids
    )
    lrt = wald.assign(stat=t**2, pvalue=p_lr2, padj=adjust_bh(p_lr2))
    welch = limma.assign(**{"P.Value": 2 * stats.t.sf(abs(t), rng.uniform(4, 12, n))}).rename(
        columns={"P.Value": "pval"}
    )
    frames = {
        "limma t": limma.assign(**{"B": -np.log(p)}),
        "limma t without B": limma,
        "limma CI": limma.assign(**{"CI.L": logfc - se, "CI.R": logfc + se, "B": -np.log(p)}),
        "limma F": joint,
        "limma treat": treat,
        "limma topTreat(number=10)": treat.sort_values("P.Value").head(10),
        "edgeR QL": edger.assign(F=t**2, PValue=stats.f.sf(t**2, 1, 10), FDR=adjust_bh(p)),
        "edgeR LRT": edger.assign(LR=t**2, PValue=p_lr, FDR=adjust_bh(p_lr)),
        "edgeR exact": edger.assign(PValue=p_lr, FDR=adjust_bh(p_lr)),
        "edgeR FWER": edger.assign(PValue=p_lr, FWER=adjust(p_lr, "holm")),
        "edgeR several": several.assign(FDR=adjust_bh(p_lr2)),
        "edgeR glmTreat": edger.assign(**{"unshrunk.logFC": logfc * 1.01}, PValue=p_treat, FDR=adjust_bh(p_treat)),
        "DESeq2 Wald": wald,
        "DESeq2 LRT": lrt,
        "DESeq2 shrunken": wald.drop(columns="stat"),
        "scanpy": pd.DataFrame({"names": ids, "scores": t, "logfoldchanges": logfc, "pvals": p, "pvals_adj": adjust_bh(p)}),
        "Welch": welch[["logFC", "t", "pval"]],
        "columns that are no statistics": limma.drop(columns="t").assign(stat=t**2, qvalue=adjust_bh(p) / 2, SYMBOL=ids[::-1]),
    }  # fmt: skip
    tables = {name: quiet(frame, contrast="B - A") for name, frame in frames.items()}
    letters = limma.assign(B=rng.normal(8, 1, n)).rename(columns={"t": "x"})[["B", "logFC", "P.Value"]]
    return tables | {"a group called B": quiet(letters, columns={"logFC": "logFC", "P.Value": "P.Value", "B": None})}


MADE = _made()
KIND = {"limma F": "F", "edgeR several": "F", "DESeq2 LRT": "F", "limma treat": "treat", "edgeR glmTreat": "treat"}
KIND["limma topTreat(number=10)"] = "treat"
NOT_WRITTEN = {
    *((name, dialect) for name in KIND for dialect in ("scanpy", "pertpy")),
    *((name, "deseq2") for name in KIND if name != "DESeq2 LRT"),
    *((name, "edger") for name in ("limma treat", "limma topTreat(number=10)", "DESeq2 LRT")),
}
PROGRAMS = ["limma", "scanpy", "pertpy", "deseq2", "edger"]


def check_same(back: gb.DETable, de: gb.DETable, columns: list[str], rtol: float = 1e-12) -> None:
    """The same columns, kind, ids and numbers; an annotation may have become text."""
    assert back.kind == de.kind
    assert set(back.frame.columns) == set(columns)
    frame = back.frame[columns]
    numeric = [name for name in columns if de.frame[name].dtype == float and name not in LIMMA_COLUMNS]
    frame = frame.assign(**{name: pd.to_numeric(frame[name]) for name in numeric})
    pd.testing.assert_frame_equal(frame, de.frame[columns], check_names=False, check_dtype=False, rtol=rtol)


def test_each_made_table_is_of_its_kind():
    assert {name: de.kind for name, de in MADE.items()} == {name: KIND.get(name, "t") for name in MADE}
    assert any("tests |logFC| > 0.3 (treat)" in note for note in MADE["limma topTreat(number=10)"].source["warnings"])


@pytest.mark.parametrize("dialect", PROGRAMS)
@pytest.mark.parametrize("name", MADE)
def test_a_table_in_another_programs_columns_reads_back_the_same(name, dialect, tmp_path):
    de = MADE[name]
    if (name, dialect) in NOT_WRITTEN:
        with pytest.raises(TableError, match="minimal fold change" if de.kind == "treat" else "joint test"):
            de.to(dialect)
        return
    out = de.to(dialect)
    out.to_csv(tmp_path / "t.csv", index=dialect not in ("scanpy", "pertpy"))
    for source in (out, tmp_path / "t.csv"):
        back, notes = told(source)
        check_same(back, de, list(de.frame.columns))
        assert any("likelihood-ratio" in note for note in notes) == (name == "DESeq2 LRT")
    key = {"scanpy": "pvals", "pertpy": "p_value", "deseq2": "pvalue", "edger": "PValue", "limma": "P.Value"}[dialect]
    assert key in out


@pytest.mark.parametrize("number", ["G01", "G05", "G07", "G11", "G12", "G13", "G14", "G15", "G20"])
@pytest.mark.parametrize("dialect", PROGRAMS)
def test_torture_tables_read_back_the_same(number, dialect):
    de = quiet(TORTURE / described(number)["file"], contrast="B - A")
    try:
        out = de.to(dialect)
    except TableError:
        assert (de.kind, dialect) not in (("t", dialect), ("F", "limma"), ("treat", "limma"))
        return
    check_same(quiet(out), de, list(de.frame.columns))


def test_no_scale_is_invented():
    assert "baseMean" not in MADE["limma t"].to("deseq2")
    assert "baseMean" in MADE["DESeq2 Wald"].to("deseq2")
    assert "AveExpr" not in MADE["DESeq2 Wald"].to("deseq2")
    assert "AveExpr" in MADE["limma t"].to("edger")
    assert "logCPM" in MADE["edgeR QL"].to("edger")
    assert "FWER" in MADE["edgeR FWER"].to("edger")


@pytest.mark.parametrize(("dialect", "column"), [("deseq2", "stat"), ("scanpy", "scores")])
@pytest.mark.parametrize(("name", "statistic"), [("edgeR QL", "F"), ("edgeR LRT", "LR")])
def test_the_signed_root_stands_for_t(name, statistic, dialect, column):
    out, frame = MADE[name].to(dialect), MADE[name].frame
    np.testing.assert_allclose(out[column], np.sign(frame["logFC"]) * np.sqrt(frame[statistic]))


@pytest.mark.parametrize("to", ["csv", "tsv", "xlsx", "parquet", "h5ad"])
@pytest.mark.parametrize("name", MADE)
def test_files_read_back_the_same(name, to, tmp_path):
    if to == "parquet":
        pytest.importorskip("pyarrow")
    de = MADE[name]
    back = quiet(export.write(de, tmp_path / f"x.{to}"))
    kept = [column for column in de.frame.columns if to != "h5ad" or column in LIMMA_COLUMNS]
    check_same(back, de, kept, rtol=1e-15)
    matters = [note for note in de.source["warnings"] if "likelihood-ratio" in note or "tests |logFC|" in note]
    assert set(matters) <= set(back.source["warnings"])


def test_feather_and_parquet_are_read_through_pandas(table, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    frame = table.reset_index(names="gene")
    frame.to_feather(tmp_path / "x.feather")
    table.to_parquet(tmp_path / "x.any")  # told by its content
    for name, form in (("x.feather", "feather"), ("x.any", "parquet")):
        de = quiet(tmp_path / name)
        pd.testing.assert_frame_equal(de.frame, table)
        assert (de.source["format"], de.source["path"]) == (form, str(tmp_path / name))
        (tmp_path / "cut").write_bytes((tmp_path / name).read_bytes()[:300])
        with pytest.raises(TableError, match=f"cut is a damaged {form.capitalize()} file"):
            gb.read.toptable(tmp_path / "cut")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"x\.feather is a Feather file, which needs pyarrow: pip install"):
        gb.read.toptable(tmp_path / "x.feather")


@pytest.mark.parametrize("number", ["G08", "G13", "G15", "G20"])
def test_what_was_told_of_a_table_is_told_again_when_it_comes_from_an_anndata(number, tmp_path):
    de = quiet(TORTURE / described(number)["file"])
    adata = AnnData(np.ones((2, len(de))), var=pd.DataFrame(index=list(de.frame.index)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.add_de(adata, de, rank_genes_groups=de.kind != "F")
    adata.write_h5ad(tmp_path / "x.h5ad")
    for source in (adata, tmp_path / "x.h5ad"):
        back, said = told(source)
        assert back.source["warnings"] == de.source["warnings"]
        assert len(said) == len(de.source["warnings"]) > 0
        if de.kind != "F":
            ranked, said = told(source, sheet="rank_genes_groups")
            assert set(de.source["warnings"]) <= set(ranked.source["warnings"])
            assert len(set(said)) == len(said) >= len(de.source["warnings"])


def test_an_unknown_dialect_is_named(table):
    with pytest.raises(InputError, match="Did you mean 'deseq2'"):
        quiet(table).to("deseq")


# -- AnnData -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ranked() -> AnnData:
    """60 cells of three groups, ranked by scanpy."""
    scanpy = pytest.importorskip("scanpy")
    rng = np.random.default_rng(0)
    adata = AnnData(rng.poisson(2.0, (60, 30)).astype(float))
    adata.X[:20, :5] += 3
    adata.obs["kind"] = pd.Categorical(["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    adata.var_names = ["NA", "1E5", *[f"g{k}" for k in range(28)]]
    adata.obs_names = [f"cell{k}" for k in range(60)]
    scanpy.pp.log1p(adata)
    scanpy.tl.rank_genes_groups(adata, "kind", method="t-test", pts=True)
    return adata


def test_scanpys_ranking_is_read_from_an_anndata(ranked, tmp_path):
    scanpy = pytest.importorskip("scanpy")
    with pytest.raises(TableError, match=r"3 groups: \['a', 'b', 'c'\].*coef='a'.*by='group'"):
        gb.read.toptable(ranked)
    de = quiet(ranked, coef="b")
    theirs = scanpy.get.rank_genes_groups_df(ranked, "b").set_index("names")
    for ours, name in {"logFC": "logfoldchanges", "P.Value": "pvals", "adj.P.Val": "pvals_adj", "t": "scores"}.items():
        np.testing.assert_array_equal(de.frame[ours], theirs[name].astype(float))
    assert list(de.frame.index) == list(theirs.index)
    assert (de.contrast, de.source["reference"], de.source["method"], de.source["adjust"]) == (
        "b vs rest",
        "rest",
        "t-test",
        "BH",
    )
    assert list(quiet(ranked, by="group")) == ["a", "b", "c"]
    assert quiet(ranked, coef=3).contrast == "c vs rest"
    ranked.write_h5ad(tmp_path / "r.h5ad")
    pd.testing.assert_frame_equal(quiet(tmp_path / "r.h5ad", coef="b").frame, de.frame)
    frame = scanpy.get.rank_genes_groups_df(ranked, None)
    with pytest.raises(TableError, match="by='group'"):
        gb.read.toptable(frame)
    by = quiet(frame, by="group")
    np.testing.assert_array_equal(by["b"].frame["logFC"], de.frame["logFC"])
    with pytest.raises(ColumnNotFoundError, match="no group 'd'"):
        gb.read.toptable(ranked, coef="d")


def test_a_ranking_without_p_values_is_refused(ranked):
    scanpy = pytest.importorskip("scanpy")
    scanpy.tl.rank_genes_groups(ranked, "kind", method="logreg")
    with pytest.raises(TableError, match=r"logreg.*no p-values"):
        gb.read.toptable(ranked, coef="a")


def test_our_own_results_are_read_back_from_an_anndata(table):
    table.index = [f"g{k}" for k in range(40)]
    adata = AnnData(np.ones((2, 45)), var=pd.DataFrame(index=[*table.index, *[f"x{k}" for k in range(5)]]))
    with pytest.raises(TableError, match="holds no DE results"):
        gb.read.toptable(adata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.add_de(adata, quiet(table, contrast="B - A"))
    de = quiet(adata)
    pd.testing.assert_frame_equal(de.frame[table.columns], table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.add_de(adata, quiet(table, contrast="B - A"), key_added="again")
    joint = quiet(TORTURE / described("G15")["file"])
    third = AnnData(np.ones((2, 300)), var=pd.DataFrame(index=list(joint.frame.index)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gb.tl.add_de(third, joint)
    assert quiet(third).kind == "F"
    with pytest.raises(TableError, match=r"several DE results: \['limma', 'again'\].*sheet='limma'"):
        gb.read.toptable(adata)
    assert len(quiet(adata, sheet="again")) == 40


# -- R -----------------------------------------------------------------------------------------------------------------


@pytest.mark.r
def test_r_objects_are_read_live(fresh_r):
    fresh_r("""set.seed(1); y <- matrix(rnorm(600), 100, 6, dimnames = list(paste0("0", 1:100), NULL))
        d <- model.matrix(~0 + gl(3, 2)); colnames(d) <- c("a", "b", "c")
        fit0 <- limma::contrasts.fit(limma::lmFit(y, d), limma::makeContrasts(b - a, c - a, levels = d))
        fit <- limma::eBayes(fit0)""")
    whole = quiet(fresh_r("limma::topTable(fit, coef = 1, number = Inf)"))
    named = quiet(fresh_r("fit"), coef="b - a")
    pd.testing.assert_frame_equal(named.frame, whole.frame)
    pd.testing.assert_frame_equal(quiet(fresh_r("fit"), coef=1).frame, whole.frame)
    assert named.contrast == "b - a"
    several = quiet(fresh_r("fit"))
    assert several.kind == "F"
    assert list(several.frame.columns[:2]) == ["b - a", "c - a"]
    bounded = quiet(fresh_r("limma::treat(fit0, lfc = 0.1)"), contrast="mine", coef=1)
    assert (bounded.kind, bounded.contrast) == ("treat", "mine")
    assert quiet(fresh_r("limma::topTreat(limma::treat(fit0, lfc = 0.1), number = Inf)")).kind == "treat"


@pytest.mark.r
def test_a_data_frame_of_r_with_two_results(fresh_r, tmp_path):
    fresh_r(f"""set.seed(1); wide <- data.frame(A_logFC = rnorm(30), A_P.Value = runif(30), B_logFC = rnorm(30), B_P.Value = runif(30),
        row.names = paste0("g", 1:30)); saveRDS(wide, "{tmp_path / "wide.rds"}")""")
    for source in (fresh_r("wide"), tmp_path / "wide.rds"):
        with pytest.raises(TableError, match="2 results side by side"):
            gb.read.toptable(source)
        np.testing.assert_array_equal(quiet(source, coef="B").frame["logFC"], np.array(fresh_r("wide$B_logFC")))
        with pytest.raises(ColumnNotFoundError, match="no result 'D'"):
            gb.read.toptable(source, coef="D")


@pytest.mark.r
@pytest.mark.parametrize(
    "save",
    [
        "write.csv(tab, path)",
        "write.csv2(tab, path)",
        "write.table(tab, path)",
        "write.table(tab, path, sep = '\\t', quote = FALSE)",
        "write.table(tab, path, sep = '\\t', quote = FALSE, col.names = NA)",
        "write.csv(cbind(gene = rownames(tab), tab), path, row.names = FALSE)",
        "{ con <- gzfile(path, 'w'); write.csv(tab, con); close(con) }",
        "saveRDS(tab, path)",
    ],
)
def test_what_r_saves_is_what_r_has(save, fresh_r, tmp_path):
    fresh_r("""set.seed(2); y <- matrix(rnorm(300), 50, 6); y[3, ] <- NA; y[5, 1:4] <- NA
        rownames(y) <- c("NA", "01005", "1-Mar", "a,b", "q'x", paste0("g", 6:50))
        tab <- suppressWarnings(limma::topTable(limma::eBayes(limma::lmFit(y, cbind(1, c(0, 0, 0, 1, 1, 1)))), 2, Inf))""")
    fresh_r(f"path <- '{tmp_path / 'table.csv'}'; {save}")
    theirs = quiet(fresh_r("tab")).frame
    pd.testing.assert_frame_equal(quiet(tmp_path / "table.csv").frame, theirs, rtol=1e-13)
