"""Ids of tables, and several results in one table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_toptable import quiet, told, whole_table

import geneml_bio as gb
from geneml_bio.bridge import mangled
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    DuplicateNamesError,
    InputError,
    TableError,
)


@pytest.fixture
def table() -> pd.DataFrame:
    return whole_table()


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_annotation_is_kept_as_text(table, tmp_path):
    table.insert(0, "ENTREZ", [f"00{k}" for k in range(40)])
    table.insert(1, "SYMBOL", ["NA", "nan", "=1+1", *[f"S{k}" for k in range(37)]])
    table.to_csv(tmp_path / "t.csv")
    de = quiet(tmp_path / "t.csv")
    assert de.frame["ENTREZ"].tolist() == table["ENTREZ"].tolist()
    assert de.frame["SYMBOL"].tolist() == table["SYMBOL"].tolist()
    assert list(de.frame.index) == list(table.index)
    assert de.source["id_columns"] == ["ENTREZ", "SYMBOL"]
    chosen = quiet(tmp_path / "t.csv", feature="SYMBOL")
    assert chosen.frame.index[0] == "NA"
    assert "SYMBOL" not in chosen.frame


@pytest.mark.parametrize("rows", ["1 to n, shuffled", "0 to n-1", "some of them"])
def test_row_numbers_are_no_ids_where_there_is_a_column_of_them(rows, table, tmp_path):
    table = table.reset_index(names="ID").assign(ID=[f"p{k}_at" for k in range(40)])
    rng = np.random.default_rng(1)
    table.index = {
        "1 to n, shuffled": rng.permutation(40) + 1,
        "0 to n-1": np.arange(40),
        "some of them": rng.choice(20_000, 40, replace=False),
    }[rows]
    table.to_csv(tmp_path / "t.csv")
    de = quiet(tmp_path / "t.csv")
    assert list(de.frame.index) == table["ID"].tolist()
    assert list(de.frame.columns) == ["logFC", "AveExpr", "t", "P.Value", "adj.P.Val"]
    bare = table.drop(columns="ID")
    bare.to_csv(tmp_path / "u.csv")
    assert list(quiet(tmp_path / "u.csv").frame.index) == [str(k) for k in bare.index]


def test_entrez_ids_as_row_names_are_ids(table, tmp_path):
    table.index = [str(9000 + 7001 * k) for k in range(40)]
    table.insert(0, "SYMBOL", ["A", *[f"S{k}" for k in range(38)], "A"])  # symbols repeat
    table.to_csv(tmp_path / "t.csv")
    assert list(quiet(tmp_path / "t.csv").frame.index) == list(table.index)


@pytest.mark.parametrize(
    ("columns", "chosen"),
    [
        ({"SYMBOL": "dup", "PROBEID": "u"}, "PROBEID"),
        ({"Chr": "text", "Gene": "u"}, "Gene"),
        ({"n": "count", "gene_id": "u", "gene_name": "u2"}, "gene_id"),
        ({"description": "u2", "Gene name": "u"}, "Gene name"),
        ({"anything": "u"}, "anything"),
        ({"ID": "count", "SYMBOL": "u"}, "SYMBOL"),
        ({"names": "u", "length": "number"}, "names"),
    ],
)
def test_the_column_of_ids_is_found(columns, chosen, table):
    values = {"dup": [f"g{k // 2}" for k in range(40)], "u": [f"x{k}" for k in range(40)], "u2": [f"y {k}" for k in range(40)],
              "text": ["chr1"] * 40, "count": range(1, 41), "number": np.arange(40) * 10 + 5}  # fmt: skip
    frame = pd.concat([table.reset_index(drop=True), pd.DataFrame({n: values[k] for n, k in columns.items()})], axis=1)
    de = quiet(frame)
    assert de.source["ids"] == chosen
    assert list(de.frame.index) == values[columns[chosen]]


def test_ids_that_repeat_are_refused_unless_a_policy_is_named(table):
    table.index = ["a", "b", "a", *[f"g{k}" for k in range(37)]]
    table["AveExpr"] = np.arange(40.0)
    with pytest.raises(DuplicateNamesError, match=r"1 of 40 rows repeat.*duplicates='best_p'"):
        gb.read.toptable(table)
    best, said = told(table, duplicates="best_p")
    assert any("1 rows repeat an id ('a'); of each id one is kept (duplicates='best_p')" in text for text in said)
    assert best.frame.loc["a", "P.Value"] == table["P.Value"].iloc[0]
    assert (best.source["rows_read"], best.source["rows_lost"]) == (40, 1)
    assert quiet(table, duplicates="max_aveexpr").frame.loc["a", "AveExpr"] == 2
    with pytest.raises(InputError, match="Did you mean 'best_p'"):
        gb.read.toptable(table, duplicates="bestp")
    with pytest.raises(DuplicateNamesError, match="feature='probe'"):
        gb.read.toptable(
            table.rename_axis("gene").reset_index().assign(probe=[f"p{k}" for k in range(40)]), feature="gene"
        )


def test_rows_without_an_id_are_left_out_and_a_single_na_is_a_gene(table):
    table.index = ["", "---", "---", "NA", *[f"g{k}" for k in range(36)]]
    de, said = told(table)
    assert list(de.frame.index) == ["NA", *[f"g{k}" for k in range(36)]]
    assert any("3 rows have no id and were left out" in text for text in said)
    assert de.source["rows_lost"] == 3


MANGLED = {
    "1-Mar": "MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
    "Mar-01": "MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
    "11-Mar": "MARCH11 (now MARCHF11)",
    "2-Sep": "SEPT2 (now SEPTIN2)",
    "Sep-14": "SEPT14 (now SEPTIN14)",
    "15-Sep": "SEP15 (now SELENOF)",
    "1-Dec": "DEC1 (now DELEC1, or BHLHE40)",
    "4-Oct": "OCT4 (now POU5F1)",
    "01-Mar-22": "MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
    "2022-09-07": "SEPT7 (now SEPTIN7)",
    "2022-09-07 00:00:00": "SEPT7 (now SEPTIN7)",
    "3/1/2022": "MARCH1 (now MARCHF1) or MARC1 (now MTARC1)",
    "44811": "SEPT7 (now SEPTIN7)",  # a serial number of the same day
    "1.00E+05": "1E5",
    "2.31E+13": "a clone such as 2310009E07Rik",
    "7-Aug": "",
}


@pytest.mark.parametrize("name", MANGLED)
def test_mangled_ids_are_named_with_the_genes_they_may_have_been(name):
    found = mangled.find([name, "TP53", "BRCA1", "ABL1"])
    assert list(found) == [name]
    assert " or ".join(found[name]) == MANGLED[name]


@pytest.mark.parametrize(
    "name",
    ["MARCH1", "SEPT2", "1E5", "5330413P13Rik", "HLA-A", "NKX2-5", "MT-CO1", "ENSG00000000003", "1415670_at", "DEC1", "3.8-1",
     "AC-3", "Mar", "12-345", "99999", "7SK", "D4S234E", "2-3/4", "44811_at", "may-13x"],
)  # fmt: skip
def test_ids_that_are_what_they_were(name):
    assert mangled.find([name, "TP53", "BRCA1", "ABL1"]) == {}


def test_entrez_ids_are_no_serial_numbers():
    assert mangled.find([str(44_800 + k) for k in range(20)]) == {}


# -- several results in one table --------------------------------------------------------------------------------------


@pytest.fixture
def stacked(table) -> pd.DataFrame:
    """Two contrasts of 40 genes, one below the other."""
    other = table.assign(logFC=-table["logFC"], t=-table["t"])
    out = pd.concat([table.assign(comparison="B - A"), other.assign(comparison="C - A")])
    return out.rename_axis("gene").reset_index()


def test_stacked_experiments_are_refused_and_split_by_their_column(stacked, table):
    with pytest.raises(TableError, match=r"2 experiments one below the other.*'B - A', 'C - A'.*by='comparison'"):
        gb.read.toptable(stacked)
    found = quiet(stacked, by="comparison")
    assert list(found) == ["B - A", "C - A"]
    assert [de.contrast for de in found.values()] == ["B - A", "C - A"]
    pd.testing.assert_frame_equal(found["B - A"].frame[table.columns], table, check_names=False)
    np.testing.assert_array_equal(found["C - A"].frame["logFC"], -table["logFC"])
    assert found["B - A"].source["rows_read"] == 40
    with pytest.raises(ColumnNotFoundError, match="Did you mean 'comparison'"):
        gb.read.toptable(stacked, by="comparisons")


def test_stacked_tables_with_any_name_of_their_column(stacked):
    with pytest.raises(TableError, match="by='Zellart'"):
        gb.read.toptable(stacked.rename(columns={"comparison": "Zellart"}))


def test_row_names_that_r_made_unique_do_not_hide_the_stack(stacked, table, tmp_path):
    stacked.index = pd.Index(stacked["gene"].where(~stacked["gene"].duplicated(), stacked["gene"] + ".1"))
    stacked = stacked.rename(columns={"comparison": "cluster"})
    stacked.to_csv(tmp_path / "t.csv", index_label=False)
    with pytest.raises(TableError, match="by='cluster'"):
        gb.read.toptable(tmp_path / "t.csv")
    found = quiet(tmp_path / "t.csv", by="cluster")
    assert list(found["C - A"].frame.index) == list(table.index)  # TP53, not TP53.1


def test_two_columns_may_tell_experiments_apart(stacked):
    twice = pd.concat([stacked.assign(day="1"), stacked.assign(day="2")])
    assert list(quiet(twice, by=["comparison", "day"])) == ["B - A / 1", "C - A / 1", "B - A / 2", "C - A / 2"]


def test_contrasts_side_by_side_are_chosen_by_coef(table):
    other = table.assign(logFC=-table["logFC"], t=-table["t"])
    frame = pd.concat([table.add_prefix("B_vs_A_"), other.add_prefix("C_vs_A_")], axis=1)
    with pytest.raises(TableError, match=r"2 results side by side: \['B_vs_A', 'C_vs_A'\].*coef='B_vs_A'"):
        gb.read.toptable(frame)
    for coef, sign in (("C_vs_A", -1), (2, -1), (1, 1)):
        de = quiet(frame, coef=coef)
        np.testing.assert_array_equal(de.frame["logFC"], sign * table["logFC"])
        np.testing.assert_array_equal(de.frame["t"], sign * table["t"])
        assert list(de.frame.columns) == list(table.columns)
        assert de.contrast == ("C_vs_A" if sign < 0 else "B_vs_A")
    with pytest.raises(ColumnNotFoundError, match="Did you mean 'C_vs_A'"):
        gb.read.toptable(frame, coef="C_vs_a1")
    with pytest.raises(InputError, match="coef=3 is out of range"):
        gb.read.toptable(frame, coef=3)


def test_write_fit_of_two_contrasts(table):
    frame = pd.DataFrame({"A": table["AveExpr"]})
    for k, name in enumerate(("B - A", "C - A")):
        sign = 1 - 2 * k
        frame[f"Coef.{name}"] = sign * table["logFC"]
        frame[f"t.{name}"] = sign * table["t"]
        frame[f"p.value.{name}"] = table["P.Value"]
        frame[f"p.value.adj.{name}"] = table["adj.P.Val"]
        frame[f"Res.{name}"] = 0.0
    frame["F"], frame["F.p.value"] = table["t"] ** 2, table["P.Value"]
    de = quiet(frame, coef="C - A")
    np.testing.assert_array_equal(de.frame["logFC"], -table["logFC"])
    np.testing.assert_array_equal(de.frame["t"], -table["t"])
    np.testing.assert_array_equal(de.frame["AveExpr"], table["AveExpr"])
    np.testing.assert_array_equal(de.frame["adj.P.Val"], table["adj.P.Val"])
    assert de.contrast == "C - A"
