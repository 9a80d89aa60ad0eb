"""Columns named by the caller, and what values tell."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from test_toptable import TORTURE, quiet, told, whole_table

import geneml_bio as gb
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    DuplicateNamesError,
    InputError,
    TableError,
)
from geneml_bio.core.pvalues import adjust


@pytest.fixture
def table() -> pd.DataFrame:
    return whole_table()


# -- columns named by the caller ---------------------------------------------------------------------------------------


def test_columns_are_taken_as_the_caller_says(table):
    frame = table.rename(columns={"logFC": "estimate", "P.Value": "strange"})
    with pytest.raises(TableError, match=r"adjusted p-values|estimate"):
        gb.read.toptable(frame)
    de = quiet(frame, columns={"logFC": "estimate", "P.Value": "strange"})
    pd.testing.assert_frame_equal(de.frame[table.columns], table)
    without = quiet(frame, columns={"logFC": "estimate", "P.Value": "strange", "t": None})
    assert "t" not in without.source["columns"]
    assert "t -> t" not in without.source["columns"]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("ln(FC)", lambda t: t["logFC"] * np.log(2)),
        ("log10(FC)", lambda t: t["logFC"] * np.log10(2)),
        ("FC", lambda t: 2 ** t["logFC"]),
        ("FC", lambda t: np.where(t["logFC"] < 0, -(2 ** -t["logFC"]), 2 ** t["logFC"])),
    ],
)
def test_effects_of_every_scale_become_log2(key, values, table):
    frame = table.drop(columns=["logFC", "t"]).assign(x=values(table))
    np.testing.assert_allclose(quiet(frame, columns={key: "x"}).frame["logFC"], table["logFC"], rtol=1e-12)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("-log10(P.Value)", lambda p: -np.log10(p)),
        ("log10(P.Value)", lambda p: np.log10(p)),
        ("-ln(P.Value)", lambda p: -np.log(p)),
    ],
)
def test_p_values_of_every_scale(key, values, table):
    frame = table.drop(columns="P.Value").assign(x=values(table["P.Value"]))
    np.testing.assert_allclose(quiet(frame, columns={key: "x"}).frame["P.Value"], table["P.Value"], rtol=1e-12)


@pytest.mark.parametrize("saved", ["{group}_{name}", "{name}_{group}", "{name}"])
def test_each_of_several_results_has_its_own_ids(saved, table, tmp_path):
    """Groups ranked side by side: each in its own order."""
    parts, truth = [], {}
    for group, seed in (("1", 1), ("2", 2), ("10", 3)):
        order = np.random.default_rng(seed).permutation(len(table))
        part = table.iloc[order].rename_axis("names").reset_index()
        truth[group] = part
        part = part.rename(
            columns={"t": "scores", "logFC": "logfoldchanges", "P.Value": "pvals", "adj.P.Val": "pvals_adj"}
        )
        part = part[["names", "scores", "logfoldchanges", "pvals", "pvals_adj"]]
        parts.append(part.set_axis([saved.format(group=group, name=name) for name in part.columns], axis=1))
    path = tmp_path / "wide.csv"
    pd.concat(parts, axis=1).to_csv(path)
    with pytest.raises(TableError, match="holds 3 results side by side"):
        gb.read.toptable(path)
    for number, (group, part) in enumerate(truth.items(), start=1):
        for coef in [number] if saved == "{name}" else [number, group] if not group.isdigit() else [str(group), number]:
            de = quiet(path, coef=coef)
            assert list(de.frame.index) == list(part["names"])
            np.testing.assert_array_equal(de.frame[["logFC", "t", "P.Value"]], part[["logFC", "t", "P.Value"]])
            assert set(de.frame.columns) == {"t", "logFC", "P.Value", "adj.P.Val"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"Status": ["Up", "Down"] * 20}, r"\['Status'\] only label groups of rows.*row.names=FALSE"),
        ({"chr": ["chr1", "chr2"] * 20, "start": range(40), "end": range(40)}, "The rows are regions"),
        ({}, "no column that looks like feature ids"),
    ],
)
def test_labels_of_groups_are_no_ids(more, says, table, tmp_path):
    path = tmp_path / "no_ids.csv"
    table.assign(**more).to_csv(path, index=False)
    with pytest.raises(TableError, match=says):
        gb.read.toptable(path)
    with pytest.raises(TableError, match=says):
        gb.read.toptable(path, duplicates="best_p")


def test_data_that_were_not_logged_are_told_of(table):
    _, notes = told(table.assign(logFC=table["logFC"] * 1000))
    assert any("not logged" in note for note in notes)
    assert not any("not logged" in note for note in told(table)[1])


@pytest.mark.parametrize("method", ["holm", "hochberg", "bonferroni"])
def test_fwer_is_named_by_its_numbers(method, table):
    q = adjust(table["P.Value"].to_numpy(), method)
    frame = table[["logFC"]].assign(logCPM=table["AveExpr"], PValue=table["P.Value"], FWER=q)
    assert quiet(frame).source["adjust"] == f"{method} (FWER)"


def test_seurat_adjusts_by_bonferroni_unless_its_table_was_adjusted_again(table):
    names = {"logFC": "avg_log2FC", "P.Value": "p_val", "adj.P.Val": "p_val_adj"}
    frame = table[["logFC", "P.Value"]].assign(**{"adj.P.Val": adjust(table["P.Value"].to_numpy(), "bonferroni")})
    de, notes = told(frame.rename(columns=names))
    assert (de.source["adjust"], [note for note in notes if "adjusted by" in note]) == ("bonferroni", [])
    assert quiet(table[["logFC", "P.Value", "adj.P.Val"]].rename(columns=names)).source["adjust"] == ""


def test_gene_ids_under_unknown_names_that_are_unique_come_before_symbols_that_are_not(table):
    frame = table.rename_axis("stable").reset_index().assign(symbol=["A", "B"] * 20, strand=["+", "-"] * 20)
    frame["stable"] = "ENS" + frame["stable"]
    de = quiet(frame)
    assert (de.source["ids"], list(de.frame.index)) == ("stable", list(frame["stable"]))
    frame["stable"] = frame["symbol"] + "_" + frame["stable"]  # made of the symbols, as of stacked tables
    with pytest.raises(DuplicateNamesError):
        gb.read.toptable(frame)


def test_glm_treat_of_edger_is_treat(table):
    frame = table[["logFC"]].assign(
        **{"unshrunk.logFC": table["logFC"], "logCPM": table["AveExpr"], "PValue": table["P.Value"]}
    )
    assert quiet(frame).kind == "treat"


def test_columns_in_the_direction_of_pandas(table):
    frame = table.rename(columns={"logFC": "effect", "P.Value": "sig"})
    read = quiet(frame, columns={"effect": "logFC", "sig": "P.Value"})
    told = quiet(frame, columns={"logFC": "effect", "P.Value": "sig"})
    pd.testing.assert_frame_equal(read.frame, told.frame)
    assert sorted(read.source["columns"]) == sorted(told.source["columns"])
    # a name that is limma's and the file's is limma's: which way round it is cannot be told otherwise
    assert sorted(quiet(table, columns={"t": "t"}).source["columns"]) == sorted(quiet(table).source["columns"])
    with pytest.raises(InputError, match="one is needed"):
        gb.read.toptable(frame, columns={"effect": "logFC", "AveExpr": "logFC", "sig": "P.Value"})


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        ({"logfc": "logFC"}, InputError, "Did you mean 'logFC'"),
        ({"estimate": "logFC"}, InputError, "or, for all, the file's"),
        ({"t": "logFC", "AveExpr": "nothing"}, ColumnNotFoundError, "no such column"),
        ({"logFC": "logfoldchange"}, ColumnNotFoundError, "no such column.*'logFC'"),
        ({"logFC": "t", "FC": "logFC"}, InputError, "one effect is needed"),
    ],
)
def test_columns_that_cannot_be(columns, error, message, table):
    with pytest.raises(error, match=message):
        gb.read.toptable(table, columns=columns)


def test_columns_and_coef_are_not_both_taken(table):
    with pytest.raises(InputError, match="coef= and columns="):
        gb.read.toptable(table, columns={"logFC": "t"}, coef=1)


# -- what values tell --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "value", "note"),
    [("<0.001", 0.001, "are bounds"), ("< 2e-16", 2e-16, "are bounds"), ("0.03*", 0.03, "without their stars"),
     ("1.5 x 10^-7", 1.5e-7, "powers of ten"), ("#DIV/0!", np.nan, ""), ("NA", np.nan, "")],
)  # fmt: skip
def test_p_values_written_with_signs(cell, value, note, table, tmp_path):
    text = table.drop(columns=["t", "adj.P.Val"]).astype(object)
    text.iloc[3, 2] = cell
    text.to_csv(tmp_path / "t.csv")
    de, said = told(tmp_path / "t.csv")
    np.testing.assert_equal(de.frame["P.Value"].iloc[3], value)
    assert not note or any(note in line and "1 values of 'P.Value'" in line for line in said)


@pytest.mark.parametrize("cell", ["ns", ">0.05", "5%", "0,03 (t-test)", "TRUE"])
def test_p_values_that_are_none_are_refused(cell, table, tmp_path):
    text = table.astype(object)
    text.iloc[3, 3] = cell
    text.to_csv(tmp_path / "t.csv")
    with pytest.raises(
        TableError, match=f"'P.Value' should hold numbers, and 1 of 40 values are none.*{re.escape(cell)}"
    ):
        gb.read.toptable(tmp_path / "t.csv")


def test_a_logarithm_of_unknown_base_is_read_where_adjusted_p_values_tell_it(table):
    for log in (np.log10, np.log):
        frame = table.drop(columns="P.Value").assign(**{"-log(p)": -log(table["P.Value"])})
        np.testing.assert_allclose(quiet(frame).frame["P.Value"], table["P.Value"], rtol=1e-9)
        with pytest.raises(TableError, match=r"does not tell the base.*-log10\(P.Value\).*-ln\(P.Value\)"):
            gb.read.toptable(frame.drop(columns="adj.P.Val"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(logFC="high"), "'logFC' should hold numbers, and 40 of 40"),
        (lambda t: t.assign(logFC=np.nan), "holds no numbers at all"),
        (lambda t: t[:0], "no rows"),
        (lambda t: t.drop(columns="logFC"), "has p-values .* but no effect"),
        (lambda t: t.drop(columns=["P.Value", "adj.P.Val"]), "has effects .* but no p-values"),
        (
            lambda t: t.drop(columns="P.Value"),
            r"adjusted p-values .* but no raw ones.*columns=\{'logFC': 'logFC', 'P.Value': 'adj.P.Val'",
        ),
        (lambda t: t.rename(columns={"t": "logFC"}), "one name more than once"),
        (lambda t: t.assign(**{"P.Value": 2.0}), r"outside \[0, 1\].*-log10"),
        (lambda t: t.assign(**{"P.Value": -t["P.Value"]}), r"outside \[0, 1\].*log10\(P.Value\)"),
        (lambda t: t.rename(columns={"logFC": "FC", "t": "x"}), "neither a ratio nor a signed fold change"),
        (lambda t: t.assign(FC=2 ** t["logFC"].abs()).drop(columns="logFC"), "lost the direction"),
        (
            lambda t: t.rename(columns={"logFC": "x", "P.Value": "s1", "adj.P.Val": "s2", "t": "s3"}),
            "gb.read.expression",
        ),
        (lambda t: t.assign(log2FC=t["logFC"] + 1), "2 columns that could be logFC"),
        (lambda t: t.assign(pval=t["P.Value"] / 2), "2 columns that could be P.Value"),
        (lambda t: t.assign(FC=2 ** t["logFC"], logFC=t["logFC"] * np.log(2)), r"natural logarithms of 'FC'.*ln\(FC\)"),
        (lambda t: t.reset_index(drop=True).set_axis([" "] * 40), "No row has an id"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tables_that_are_refused(change, message, table):
    with pytest.raises(TableError, match=message):
        gb.read.toptable(change(table))


@pytest.mark.parametrize(
    ("source", "how", "error", "message"),
    [
        ("t", {"feature": "symbol"}, ColumnNotFoundError, "no column 'symbol'"),
        ("t", {"coef": "B - A"}, InputError, "coef= chooses one of several results"),
        (3, {}, TableError, "A int is not a DE table"),
        (None, {}, TableError, "NoneType"),
        ("no such file.csv", {}, TableError, "There is no file"),
        (TORTURE, {}, TableError, "is a folder"),
    ],
)
def test_sources_and_arguments_that_are_refused(source, how, error, message, table):
    with pytest.raises(error, match=message):
        gb.read.toptable(table if isinstance(source, str) and source == "t" else source, **how)


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ("ID;Description;GeneRatio;BgRatio;pvalue;p.adjust", "gene-set enrichment"),
        ("pathway;pval;padj;ES;NES;size;leadingEdge", "gene-set enrichment"),
        ("Term;Overlap;P-value;Adjusted P-value;Odds Ratio;Combined Score;Genes", "gene-set enrichment"),
        ("gene;baseMean;log2FoldChange;lfcSE;svalue", "s-value"),
        ("gene;M;D;prob;ranking", "NOISeq"),
    ],
)
def test_tables_of_something_else_are_named(columns, what):
    names = columns.split(";")
    frame = pd.DataFrame({name: np.linspace(0.1, 0.9, 20) for name in names}).assign(
        **{names[0]: [f"x{k}" for k in range(20)]}
    )
    with pytest.raises(TableError, match=what):
        gb.read.toptable(frame)


def test_infinite_fold_changes_become_missing_and_are_counted(table):
    table.loc["00", "logFC"] = np.inf
    de, said = told(table)
    assert np.isnan(de.frame.loc["00", "logFC"])
    assert any("1 infinite values of logFC are missing now" in text for text in said)


def test_a_statistic_without_a_sign_is_no_t(table):
    de, said = told(table.rename(columns={"t": "stat"}).assign(stat=table["t"] ** 2))
    assert "t" not in de.frame
    assert "stat" in de.frame
    assert any("'stat' is never negative while logFC is" in text for text in said)


def test_letters_that_name_groups_are_no_statistics(table):
    rng = np.random.default_rng(3)
    groups = pd.DataFrame({name: rng.normal(8, 1, 40) for name in "ABtF"}, table.index)
    frame = pd.concat([groups, table[["logFC", "P.Value"]].rename(columns={"P.Value": "p"})], axis=1)
    de = quiet(frame)
    assert not {"AveExpr", "B", "t", "F"} & set(de.frame.columns)
    np.testing.assert_array_equal(de.frame["B.file"], groups["B"])


def test_seurats_natural_logarithms(table):
    frame = pd.DataFrame({"p_val": table["P.Value"], "avg_logFC": table["logFC"] * np.log(2), "pct.1": 0.5, "pct.2": 0.1,
                          "p_val_adj": np.minimum(table["P.Value"] * 40, 1)}, table.index)  # fmt: skip
    de, said = told(frame)
    np.testing.assert_allclose(de.frame["logFC"], table["logFC"])
    assert de.source["adjust"] == "bonferroni"
    assert not any("bonferroni" in text for text in said)  # what Seurat always does is no news
    assert "avg_logFC -> logFC (x * 1.4427, from natural logarithms)" in de.source["columns"]
