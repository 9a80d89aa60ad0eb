"""Columns of gene-level tables, their sources and features."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from test_closed_form import study
from test_gene_level import genes, row, run

from geneml_bio.core.errors import DataWarning, InputError
from geneml_bio.core.gene_blocks import ALGEBRAIC, INDEPENDENT, OTHERS
from geneml_bio.core.gene_columns import encode, sort_columns, symbols_of
from geneml_bio.core.gene_features import gene_features
from geneml_bio.core.gene_sets import as_net, membership
from geneml_bio.core.gene_ties import tied_columns

# -- columns -----------------------------------------------------------------------------------------------------------

N = 100
RNG = np.random.default_rng(0)
# name, values, "number", "levels" or a part of the reason
COLUMNS = [
    ("gc", RNG.random(N), "number"),
    ("gc_text", [f"{v:.3f}" for v in RNG.random(N)], "number"),
    ("comma,name", [None if i % 3 else str(i / 2) for i in range(N)], "number"),
    ("is_tf", RNG.random(N) > 0.5, "number"),
    ("chromosome", RNG.choice(["1", "2", "X"], N).astype(object) + np.array("p"), "levels"),
    ("biotype", pd.Categorical(RNG.choice(["a", "b"], N)), "levels"),
    ("SYMBOL", [f"GENE{i}" for i in range(N)], "identifier"),
    ("ENTREZID", RNG.integers(1, 10**6, N), "identifier"),
    ("Gene.Symbol", RNG.choice(["A", "B"], N), "identifier"),
    ("start", RNG.integers(0, 10**8, N), "coordinate"),
    ("where", [f"chr1:{i}-{i + 9}" for i in range(N)], "identifier or description"),
    ("Unnamed: 0", np.arange(N), "identifier"),
    ("order", RNG.permutation(N) + 1, "row number"),
    ("flat", np.ones(N), "constant"),
    ("flat_text", ["same"] * N, "constant"),
    ("empty", [np.nan] * N, "no value"),
    ("markers", ["---", "NA", "", None] * (N // 4), "no value"),
    ("family", [f"f{i % 40}" for i in range(N)], "levels, more than 20"),
    ("when", pd.date_range("2020-01-01", periods=N), "dates"),
]


@pytest.mark.parametrize(("name", "values", "what"), COLUMNS, ids=[c[0] for c in COLUMNS])
def test_columns_are_sorted_by_what_they_are(name, values, what):
    columns, aside = sort_columns(pd.DataFrame({name: values}))
    if what in ("number", "levels"):
        assert [c.kind for c in columns] == [what], aside
    else:
        assert not columns
        assert what in aside[name]


def test_levels_become_columns_of_0_and_1_also_of_another_table():
    frame = pd.DataFrame({"w": ["b", "a", "c", None] * 10, "y": ["u", "v"] * 20, "z": ["1", "2.5"] * 20})
    columns, _ = sort_columns(frame)
    X, unknown = encode(columns, frame)
    assert list(X) == ["w=a", "w=b", "w=c", "w=(missing)", "y=v", "z"]
    assert X.iloc[:4].to_numpy().tolist() == [
        [0, 1, 0, 0, 0, 1],
        [1, 0, 0, 0, 1, 2.5],
        [0, 0, 1, 0, 0, 1],
        [0, 0, 0, 1, 1, 2.5],
    ]
    other, unknown = encode(columns, pd.DataFrame({"w": ["d", "a"], "y": ["v", None], "z": ["high", "7"]}))
    assert other.iloc[0, :5].tolist() == [0, 0, 0, 0, 1]
    assert np.isnan(other.iloc[0, 5])
    assert unknown == {"z": 1}


@pytest.mark.parametrize(
    ("columns", "first"),
    [
        ({"Gene symbol": ["DDR1 /// MIR4640", "RFC2"]}, ["DDR1", "RFC2"]),
        ({"gene": ["A", None]}, ["A", None]),
        ({"gene": [1, 2]}, None),
    ],
)
def test_symbols(columns, first):
    found = symbols_of(pd.DataFrame(columns))
    assert (None if found is None else list(found)) == first


# -- columns that say the target again ---------------------------------------------------------------------------------


def tie_cases() -> list[tuple[str, str, str | None]]:
    return [
        ("FoldChange", "number", "FoldChange"),
        ("neg_log10_p", "number", "neg_log10_p"),
        ("score", "number", "score"),
        ("control_mean", "number", "control_mean"),
        ("same_population", "number", "same_population"),
        ("regulation", "levels", "regulation"),
        ("chromosome", "levels", None),
        ("gc", "number", None),
        ("alike", "number", None),
    ]


@pytest.mark.parametrize(("name", "kind", "blamed"), tie_cases(), ids=[case[0] for case in tie_cases()])
def test_what_says_the_target_again_is_found(name, kind, blamed):
    de, _, X = study(5, n_genes=600, per_group=4)
    frame, rng = de.frame, np.random.default_rng(1)
    y, level = frame["logFC"].to_numpy(), frame["AveExpr"].to_numpy()
    made = {
        "FoldChange": np.sign(y) * 2 ** np.abs(y),
        "neg_log10_p": np.round(-np.log10(frame["P.Value"]), 4),
        "score": np.sign(y) * -np.log10(frame["P.Value"]),
        "control_mean": X[:4].mean(axis=0),
        "same_population": X[:4].mean(axis=0) + rng.normal(0, 0.1, 600),
        "regulation": np.select(
            [(y > 0.5) & (frame["P.Value"] < 0.1), (y < -0.5) & (frame["P.Value"] < 0.1)], [2, 1], 0
        ),
        # all genes of one chromosome go up: that is biology
        "chromosome": np.where((y > 0) & (rng.random(600) < 0.1), 1, rng.integers(2, 6, 600)),
        "gc": rng.random(600),
        "alike": level + rng.normal(0, 0.5, 600),
    }[name]
    numbers = pd.DataFrame({"AveExpr": level}, index=frame.index)
    levels = {}
    if kind == "number":
        numbers[name] = made
    else:
        levels[name] = np.asarray(made)
    statistics = frame[["t", "P.Value", "adj.P.Val", "B"]]
    assert list(tied_columns(y, statistics, numbers, levels, keep=("AveExpr",))) == ([] if blamed is None else [blamed])


def test_the_values_of_every_sample_are_found_together():
    de, _, X = study(6, n_genes=500, per_group=4)
    numbers = pd.DataFrame(X.T, index=de.frame.index, columns=[f"s{i}" for i in range(8)]).assign(
        AveExpr=de.frame["AveExpr"]
    )
    tied = tied_columns(de.frame["logFC"].to_numpy(), de.frame[["t", "B"]], numbers, {}, keep=("AveExpr",))
    assert set(tied) >= {f"s{i}" for i in range(8)}
    assert "AveExpr" not in tied


def test_tied_columns_move_to_the_algebraic_block_and_the_rest_stays():
    de, _, X = study(7, n_genes=400)
    features = pd.DataFrame(
        {"control_mean": X[:3].mean(axis=0), "gc": np.random.default_rng(0).random(400)}, index=de.frame.index
    )
    result = run(de.frame, features=features)
    assert set(result.plan.blocks[INDEPENDENT]) == {"AveExpr", "gc"}
    assert set(result.plan.blocks[ALGEBRAIC]) == {"t", "P.Value", "adj.P.Val", "B", "control_mean"}
    assert (result.report["check"] == "tied").sum() == 1
    assert row(result, ALGEBRAIC, "linear")["r2"] > 0.7


# -- sources -----------------------------------------------------------------------------------------------------------


def test_sources_are_joined_by_id_or_symbol_and_counted():
    frame = genes(60)
    frame["symbol"] = [f"S{i // 2}" for i in range(60)]
    features = pd.DataFrame({"gc": np.arange(25.0) + 100}, index=[f"S{i}" for i in range(25)])
    net = as_net({"one": [f"S{i}" for i in range(8)], "small": ["S1"], "two": ["S9", "S10", "S11", "S12", "S13", "Q"]})
    result = run(frame, features=features, net=net, sizes={"min_size": 2, "max_size": 500, "max_sets": 5})
    assert np.isnan(result.X["gc"]).sum() == 10
    assert result.X.loc["g7", "gc"] == 103
    assert result.X["one"].sum() == 16
    assert result.X["two"].sum() == 10
    assert "small" not in result.X
    said = " ".join(result.report["message"])
    assert "50 of 60 genes of the table found by symbol (column 'symbol')" in said
    assert "2 of 3 sets used" in said
    assert "1 have too few genes here" in said
    listed = result.predictors.set_index("predictor")
    assert listed.loc["gc", ["block", "origin", "missing"]].tolist() == ["independent", "features", 10]
    assert listed.loc["symbol", "block"] == ""


@pytest.mark.parametrize(
    ("said", "block"), [(None, OTHERS), (True, OTHERS), ("reference", OTHERS), (False, INDEPENDENT)]
)
def test_other_contrasts_stand_where_their_samples_put_them(said, block):
    de, effect, _ = study(8, n_genes=200)
    other = pd.DataFrame(
        {"logFC": effect + np.random.default_rng(0).normal(0, 0.3, 200), "P.Value": 0.5}, index=de.frame.index
    )
    from geneml_bio.core.detable import DETable

    result = run(de.frame, contrasts={"mouse": DETable(other)}, shared={"mouse": said})
    assert "mouse:logFC" in result.plan.blocks[block]
    assert ("mouse:logFC" in result.plan.blocks[INDEPENDENT]) is (said is False)
    assert "AveExpr" in result.plan.blocks[block]
    assert row(result, block, "linear")["r2"] > 0.3
    levels = dict(zip(result.report["check"], result.report["level"], strict=True))
    assert levels.get("contrasts") == {None: "warning", True: "note", "reference": "note", False: None}[said]


def test_membership_keeps_weights_and_drops_by_size():
    net = as_net(pd.DataFrame({"source": ["TF", "TF", "TF", "big", "big", "big", "big"], "target": list("abcabcd"),
                               "weight": [1, -1, 0.5, 1, 1, 1, 1]}))  # fmt: skip
    made = membership(net, pd.Index(["a", "b", "b", "x"]), min_size=2, max_size=None, max_sets=1)
    assert made.frame["TF"].tolist() == [1.0, -1.0, -1.0, 0.0]
    assert (made.n_sets, made.n_left, made.n_genes) == (2, 1, 3)
    assert membership(net, pd.Index(list("abcd")), min_size=2, max_size=3).n_large == 1
    with pytest.warns(DataWarning, match="1 genes are in a set twice"):
        as_net(pd.DataFrame({"source": ["A", "A"], "target": ["g", "g"], "weight": [1, -1]}))


@pytest.mark.parametrize("bad", [3, {}, {"A": "gene"}, {"A": []}, pd.DataFrame({"x": [1]}),
                                 pd.DataFrame({"source": ["A"], "target": ["g"], "weight": ["much"]})])  # fmt: skip
def test_what_is_no_gene_set_is_refused(bad):
    with pytest.raises(InputError, match=r"gene_sets|source"):
        as_net(bad)


# -- features ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["dense", "csr", "integers"])
def test_features_are_scipys(form):
    X = np.random.default_rng(0).poisson(1.5, size=(9, 40)).astype(float)
    X[:, 0], X[:, 1] = 0.0, 3.0
    given = {"dense": X, "csr": sparse.csr_matrix(X), "integers": X.astype(int)}[form]
    made = gene_features(given, pd.Index([f"g{i}" for i in range(40)]))
    np.testing.assert_allclose(made["baseline_mean"], X.mean(axis=0))
    np.testing.assert_allclose(made["baseline_sd"], X.std(axis=0, ddof=1), atol=1e-12)
    np.testing.assert_allclose(made["baseline_skew"].iloc[2:], stats.skew(X[:, 2:], axis=0), atol=1e-9)
    assert made["baseline_skew"].iloc[:2].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(made["baseline_detection"], (X > 0).mean(axis=0))
    np.testing.assert_allclose(made["baseline_cv"].iloc[1:], X[:, 1:].std(axis=0, ddof=1) / X[:, 1:].mean(axis=0))
    assert np.isnan(made["baseline_cv"].iloc[0])


def test_features_of_missing_and_negative_values():
    X = np.array([[1.0, np.nan, -2.0], [2.0, np.nan, np.nan], [4.0, 5.0, 1.0]])
    made = gene_features(X, pd.Index(list("abc")))
    assert list(made) == ["baseline_mean", "baseline_sd", "baseline_skew"]
    np.testing.assert_allclose(made["baseline_mean"], [7 / 3, 5.0, -0.5])
    assert made["baseline_sd"].isna().tolist() == [False, True, False]
