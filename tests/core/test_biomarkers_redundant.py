"""What is redundant, and behind which gene; and what the columns hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geneml_bio.core.biomarker_columns import CLASSES, COLUMNS, in_words, typed
from geneml_bio.core.biomarkers import biomarker_table
from geneml_bio.core.errors import InputError

GENES = pd.Index(["lead", "twin", "faint", "other", "far", "null", "chain"])
P = pd.Series([1e-9, 1e-8, 1e-7, 1e-6, 1e-4, 0.9, 1e-3], index=GENES)
DE = pd.DataFrame({"logFC": [2, 1.9, -1.5, 1, 0.8, 0, 0.7], "P.Value": P, "adj.P.Val": P * 2}, index=GENES, dtype=float)
VALUES = [0.5, 0.0, 0.02, 0.3, 0.0, 0.0, 0.0]
SHAP = pd.DataFrame({"shap": VALUES, "shap_rank": [1, np.nan, 3, 2, np.nan, np.nan, np.nan], "direction": [1, 0, -1, 1, 0, 0, 0],
                     "n_models": [3, 0, 1, 2, 0, 0, 0]}, index=GENES)  # fmt: skip
PAIRS = pd.DataFrame(
    [("lead", "twin", 0.95), ("lead", "faint", -0.9), ("other", "twin", 0.75), ("null", "lead", 0.8), ("faint", "chain", 0.99)],
    columns=["gene", "stand_in", "correlation"],
)  # fmt: skip
EVIDENCE = {"de": DE, "shap": SHAP, "frequency": pd.Series(1.0, index=GENES)}


def test_a_gene_is_redundant_behind_the_used_gene_that_it_is_closest_to():
    table = biomarker_table(GENES, **EVIDENCE, partners=PAIRS)
    assert table["class"].to_dict() == {
        "lead": "DE and used",
        "other": "DE and used",
        "twin": "DE, redundant",
        "faint": "DE, redundant",  # used, with a twenty-fifth of what its partner has
        "far": "DE, unused",
        "null": "",
        "chain": "DE, unused",  # its only partner is redundant itself, and stands for nothing
    }
    assert table.loc["twin", "stands_behind"] == "lead"
    assert table.loc["faint", "stands_behind"] == "lead"
    assert (table.loc[["lead", "other", "far", "null"], "stands_behind"] == "").all()
    assert table.loc["lead", "stand_ins"] == "twin (0.95), faint (-0.90), null (0.80)"
    assert table.loc["twin", "stand_ins"] == "lead (0.95), other (0.75)"


def test_a_group_stands_behind_its_most_important_gene():
    group = pd.Series(["G1", "G1", "", "", "G1", "G1", "G2"], index=GENES)
    table = biomarker_table(GENES, **EVIDENCE, group=group)
    assert table.loc[["twin", "far"], "stands_behind"].tolist() == ["lead", "lead"]
    assert table.loc["faint", "class"] == "DE and used"
    assert table.loc["null", "class"] == ""  # it goes along, but it does not differ
    assert table["group"].reindex(GENES).tolist() == group.tolist()


def test_min_share_says_what_hardly_is():
    used = biomarker_table(GENES, **EVIDENCE, partners=PAIRS, min_share=0.0)
    assert used.loc["faint", "class"] == "DE and used"
    assert used.loc["twin", "class"] == "DE, redundant"
    more = biomarker_table(
        GENES, **EVIDENCE, partners=pd.DataFrame([("lead", "other", 0.9)], columns=PAIRS.columns), min_share=0.7
    )
    assert more.loc["other", "stands_behind"] == "lead"


def test_a_leader_is_more_important_and_used():
    weak = biomarker_table(GENES, **EVIDENCE, partners=PAIRS, n_used=1)
    assert weak.loc["other", "class"] == "DE, unused"  # nothing that is used goes with it
    alone = biomarker_table(GENES, de=DE, partners=PAIRS)
    assert set(alone["class"]) == {"", "DE, use unknown"}
    unknown = biomarker_table(GENES, **EVIDENCE | {"de": None}, partners=PAIRS)
    assert "DE, redundant" not in set(unknown["class"])


def test_a_gene_that_differs_the_other_way_does_not_do_its_work():
    flipped = PAIRS.assign(correlation=-PAIRS["correlation"])
    table = biomarker_table(GENES, **EVIDENCE, partners=flipped)
    assert table.loc[["twin", "faint"], "class"].tolist() == ["DE, unused", "DE and used"]


def test_nor_where_the_two_are_of_one_group():
    flipped = PAIRS.assign(correlation=-PAIRS["correlation"])
    group = pd.Series(["G1", "G1", "", "", "G1", "", ""], index=GENES)
    table = biomarker_table(GENES, **EVIDENCE, partners=flipped, group=group)
    assert table.loc["twin", "class"] == "DE, unused"
    assert table.loc["far", "stands_behind"] == "lead"  # of the same group, and nothing speaks against it


def test_redundant_comes_before_unstable_and_is_never_said_without_knowing_what_goes_together():
    rare = EVIDENCE | {"frequency": pd.Series([1, 1, 0.1, 1, 1, 1, 1], index=GENES)}
    assert biomarker_table(GENES, **rare, partners=PAIRS).loc["faint", "class"] == "DE, redundant"
    assert biomarker_table(GENES, **rare).loc["faint", "class"] == "unstable"
    assert "stands_behind" not in biomarker_table(GENES, **rare)


def test_error_rates_can_be_asked_for_and_a_fold_change_too():
    errors = pd.DataFrame({"empirical_p": 0.01, "empirical_q": [0.01, 1, 0.5, 0.2, 1, 1, 1]}, index=GENES)
    table = biomarker_table(GENES, **EVIDENCE, errors=errors, max_q=0.1)
    assert set(table.index[table["class"] == "DE and used"]) == {"lead"}
    with pytest.raises(InputError, match="n_permutations"):
        biomarker_table(GENES, **EVIDENCE, max_q=0.1)
    large = biomarker_table(GENES, **EVIDENCE, lfc=1.5)
    assert large.loc["other", "class"] == "used, not DE"
    assert large.loc["far", "class"] == ""
    with pytest.raises(InputError, match="fold change"):
        biomarker_table(GENES, **EVIDENCE | {"de": DE.drop(columns="logFC")}, lfc=1)


@pytest.mark.parametrize("bad", [{"lfc": -1}, {"n_used": 0}, {"max_q": 0}, {"min_share": 1}, {"lfc": float("nan")}])
def test_thresholds_that_are_none_are_refused(bad):
    with pytest.raises(InputError):
        biomarker_table(GENES, **EVIDENCE, **bad)


def test_every_column_and_class_is_explained_and_stands_in_that_order():
    names = pd.DataFrame({"symbol": "S", "name": None}, index=GENES)
    everything = SHAP.assign(rank_low=1.0, rank_high=3.0, used=0.5, n_agree=2.0)
    errors = pd.DataFrame({"empirical_p": 0.1, "empirical_q": 0.1, "knockoff_q": 0.1}, index=GENES)
    de = DE.assign(**{"CI.L": 0.0, "CI.R": 1.0, "AveExpr": 1.0, "t": 2.0, "B": 0.0})
    table = biomarker_table(GENES, **EVIDENCE | {"shap": everything, "de": de}, errors=errors, names=names, partners=PAIRS,
                            group=pd.Series("", index=GENES))  # fmt: skip
    assert [*table.columns] == [name for name in COLUMNS if name not in ("F", "LR")]
    assert set(table["class"]) - {""} <= set(CLASSES)
    assert set(table["name"]) == {""}


def test_in_words_and_typed():
    names = pd.DataFrame({"symbol": ["ABL1", "X", "X", "", "", "", ""]}, index=GENES)
    table = biomarker_table(GENES, **EVIDENCE, partners=PAIRS, names=names)
    words = in_words(table)
    assert words["twin"] == "DE, redundant (stands behind ABL1)"
    assert words["lead"] == "DE and used"
    shared = in_words(table.assign(symbol="X"))
    assert shared["twin"] == "DE, redundant (stands behind X lead)"
    exact = typed(table)
    assert str(exact["rank"].dtype) == "Int64"
    assert list(exact["class"].cat.categories) == list(CLASSES)
    assert pd.isna(exact.loc["null", "class"])
    assert exact.loc["lead", "stands_behind"] is None
    assert exact["shap_rank"].isna().sum() == 4


def test_the_page_explains_every_column_and_class_in_these_words():
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "biomarkers.md"
    if not page.is_file():
        pytest.skip("the documentation is not here")
    text = page.read_text(encoding="utf-8")
    assert not [name for name, words in COLUMNS.items() if f"| `{name}` | {words} |" not in text]
    assert not [name for name in CLASSES if f"| {name} |" not in text]
