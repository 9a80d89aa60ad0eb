"""Genes as rows: the engine against scikit-learn's own loop, blocks against what is known of their columns, guarantees over seeds."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from test_closed_form import study

from geneml_bio.core.errors import ColumnNotFoundError, DataWarning, InputError, TargetError
from geneml_bio.core.gene_blocks import ALGEBRAIC, INDEPENDENT, OTHERS, Sources, robust_z
from geneml_bio.core.gene_columns import encode, sort_columns, symbols_of
from geneml_bio.core.gene_explain import explain_genes
from geneml_bio.core.gene_features import gene_features
from geneml_bio.core.gene_level import gene_candidates, regress_genes
from geneml_bio.core.gene_scores import Resamples
from geneml_bio.core.gene_sets import as_net, membership
from geneml_bio.core.gene_ties import tied_columns
from geneml_bio.core.models import Candidate, candidates


def run(frame: pd.DataFrame, target: str = "logFC", models=("linear",), *, kind: str = "t", **given):
    sources = {name: given.pop(name) for name in ("features", "net", "contrasts", "sizes") if name in given}
    given = {"groups": np.array(frame.index), "shared": {}, "facts": {}, "explain": False, "tune": False} | given
    models = list(models) if not isinstance(models, dict) else models
    return regress_genes(Sources(frame, kind=kind, **sources), target, models, n_jobs=1, progress=False, **given)


def genes(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """A table in which logFC follows from AveExpr and a class, with noise."""
    rng = np.random.default_rng(seed)
    level, kind = rng.normal(8, 2, n), rng.choice(["kinase", "receptor", "other"], n)
    y = np.sin(level) + (kind == "kinase") + rng.normal(0, 0.5, n)
    se = rng.uniform(0.4, 0.6, n)
    frame = pd.DataFrame(
        {"logFC": y, "AveExpr": level, "t": y / se, "P.Value": 2 * stats.norm.sf(np.abs(y / se)), "class": kind}
    )
    frame["length"] = rng.lognormal(7, 1, n)
    return frame.set_axis([f"g{i}" for i in range(n)], axis=0)


def row(result, block: str, model: str) -> pd.Series:
    return result.table[(result.table["block"] == block) & (result.table["model"] == model)].iloc[0]


# -- the engine --------------------------------------------------------------------------------------------------------

MODELS = {
    "linear": LinearRegression(),
    "knn": KNeighborsRegressor(7),
    "tree": DecisionTreeRegressor(max_depth=4, random_state=0),
}


def test_scores_are_those_of_scikit_learns_own_loop():
    frame = genes()
    frame.loc[frame.index[::7], "length"] = np.nan
    result = run(frame, models=MODELS, n_splits=4, n_repeats=2, seed=3)
    X = pd.get_dummies(frame[["AveExpr", "length", "class"]], columns=["class"], dtype=float)
    y = frame["logFC"]
    validation = result.blocks[INDEPENDENT]
    test = validation.test.loc[validation.test["model"] == "linear", "sample"]
    assert len(test) == 60
    train = y.index.difference(test)
    for name, model in MODELS.items():
        by_repeat = []
        for _, folds in validation.folds.groupby("repeat"):
            assert set(folds["sample"]) == set(train)
            made = pd.Series(np.nan, index=train)
            for _, part in folds.groupby("fold"):
                held = pd.Index(part["sample"])
                rest = train.difference(held)
                fit = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model).fit(
                    X.loc[rest].to_numpy(), y[rest]
                )
                made[held] = fit.predict(X.loc[held].to_numpy())
            by_repeat.append(
                [r2_score(y[train], made), mean_squared_error(y[train], made), mean_absolute_error(y[train], made)]
            )
        mine = row(result, INDEPENDENT, name)
        r2, mse, mae = np.mean(by_repeat, axis=0)
        assert mine[["r2", "mse", "rmse", "mae"]].to_numpy(float) == pytest.approx(
            [r2, mse, np.sqrt(mse), mae], rel=1e-9
        )
        fit = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), model).fit(
            X.loc[train].to_numpy(), y[train]
        )
        made = fit.predict(X.loc[test].to_numpy())
        expected = [r2_score(y[test], made), mean_absolute_error(y[test], made)]
        assert mine[["test_r2", "test_mae"]].to_numpy(float) == pytest.approx(expected, rel=1e-9)


def test_the_mean_stands_beside_the_models():
    frame = genes()
    result = run(frame, n_splits=3)
    folds = result.blocks[INDEPENDENT].folds.set_index("sample")["fold"]
    y = frame["logFC"]
    made = pd.Series({gene: y[folds.index[folds != fold]].mean() for gene, fold in folds.items()})
    train, test = list(folds.index), y.index.difference(folds.index)
    mine = row(result, "reference", "mean only")
    assert mine["r2"] == pytest.approx(r2_score(y[train], made[train]), abs=1e-12)
    assert mine["test_rmse"] == pytest.approx(np.sqrt(mean_squared_error(y[test], np.full(len(test), y[train].mean()))))


def test_interval_is_the_bootstrap_of_groups():
    rng = np.random.default_rng(0)
    y, off, groups = rng.normal(size=60), rng.normal(0, 0.5, size=60), np.repeat(np.arange(20), 3)
    scores = Resamples(y, groups, seed=4, n_boot=300).scores({"m": off[:, None]})["m"]
    again = np.random.default_rng(4).multinomial(20, np.full(20, 1 / 20), size=300)
    r2 = []
    for drawn in again:
        rows = np.concatenate([np.flatnonzero(groups == g) for g, k in enumerate(drawn) for _ in range(k)])
        r2.append(r2_score(y[rows], y[rows] - off[rows]))
    assert [scores["low"], scores["high"]] == pytest.approx(np.quantile(r2, [0.025, 0.975]))
    assert scores["r2"] == pytest.approx(r2_score(y, y - off))


@pytest.mark.parametrize("seed", range(4))
def test_probes_of_one_gene_are_on_one_side(seed):
    frame = genes(seed=seed)
    owner = np.random.default_rng(seed).integers(0, 120, len(frame))
    result = run(frame, groups=owner, seed=seed, n_permutations=2)
    by_gene = pd.Series(owner, index=frame.index)
    validation = result.blocks[INDEPENDENT]
    side = validation.folds.set_index("sample")["fold"].reindex(frame.index, fill_value=-1)
    assert side.groupby(by_gene).nunique().max() == 1
    assert 0.1 < (side == -1).mean() < 0.3
    for (_, fold, _), whole in validation.fitted.items():  # and no model saw the fold's own genes
        assert whole.named_steps["scale"].n_samples_seen_ == ((side != fold) & (side != -1)).sum()


def test_blocks_have_the_same_folds_and_any_number_of_workers_the_same_numbers():
    frame = genes(120)
    one = run(frame, models=["linear", "decision_tree"])
    two = regress_genes(Sources(frame), "logFC", ["linear", "decision_tree"], groups=np.array(frame.index), shared={}, facts={},
                        explain=False, tune=False, n_jobs=2, progress=False)  # fmt: skip
    pd.testing.assert_frame_equal(one.table, two.table)
    folds = [v.folds for v in one.blocks.values()]
    assert len(folds) == 2
    pd.testing.assert_frame_equal(*folds)


# -- guarantees --------------------------------------------------------------------------------------------------------


def test_null_studies_are_arithmetic_and_nothing_else():
    independent, algebraic, closed = [], [], []
    for seed in range(6):
        de, _, X = study(seed, n_genes=500, spread=0.0)
        other = np.random.default_rng(seed).normal(X.mean(axis=0), 0.1, size=(4, 500))
        features = gene_features(other, de.frame.index).drop(columns="baseline_mean")
        result = run(de.frame, models=MODELS, features=features, facts=de.check().facts, seed=seed)
        independent += [row(result, INDEPENDENT, m)["r2"] for m in MODELS]
        algebraic.append(row(result, ALGEBRAIC, "knn")["r2"])
        closed.append(row(result, ALGEBRAIC, "closed form")["r2"])
    assert np.mean(independent) <= 0.01
    assert np.mean(algebraic) > 0.7
    assert np.mean(closed) > 0.7


def test_b_of_a_null_study_is_known_exactly_by_its_formula():
    de, _, _ = study(1, n_genes=500, spread=0.0)
    result = run(de.frame, "B", models=["random_forest"], facts=de.check().facts)
    assert row(result, ALGEBRAIC, "closed form")["r2"] == pytest.approx(1.0, abs=1e-9)
    assert row(result, ALGEBRAIC, "random_forest")["r2"] > 0.95
    assert row(result, INDEPENDENT, "random_forest")["r2"] < 0.1


def test_permuted_targets_predict_nothing_and_give_p():
    result = run(genes(200), models={"linear": "linear", "tree": DecisionTreeRegressor(max_depth=4)}, n_permutations=19)
    part = result.table[result.table["block"] == INDEPENDENT]
    assert (part["null_r2"] <= 0).all()
    assert part.set_index("model")["p_value"].loc["tree"] == pytest.approx(1 / 20)


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


# -- models, outliers, explanations ------------------------------------------------------------------------------------


def test_sizes_and_spaces_for_many_genes():
    made = {c.name: c for c in gene_candidates("all", 40_000, 3)}
    assert len(made) == 11
    assert made["svm"].max_rows == 5000
    assert {c.tune_rows for c in made.values()} == {2000}
    assert made["mlp"].estimator.batch_size == 160
    assert made["random_forest"].estimator.max_features == 1.0
    few = {c.name: c for c in gene_candidates(["knn", "mlp"], 60, 30)}
    assert few["mlp"].estimator.batch_size == 10
    assert max(few["knn"].space["n_neighbors"]) <= 6
    own = gene_candidates({"mine": LinearRegression(), "svm": "svm"}, 100, 2)
    assert own[0].tune_rows is None
    assert candidates("svm", "regression")[0].max_rows is None


def test_tuning_and_fitting_take_a_part_of_many_rows():
    from geneml_bio.core.fitting import Recipe, fit_candidate
    from geneml_bio.core.screen import FixedScreen

    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(600, 2)), np.repeat(np.arange(200), 3)
    y = X[:, 0] + rng.normal(size=600)
    recipe = Recipe(FixedScreen(columns=np.arange(2)), False, True, 0)
    whole, _ = fit_candidate(recipe, Candidate("m", KNeighborsRegressor(3), max_rows=100), X, y, groups=groups, seed=1)
    assert whole.named_steps["model"].n_samples_fit_ == 102
    whole, chosen = fit_candidate(
        recipe, Candidate("m", KNeighborsRegressor(3), {"n_neighbors": (1, 20)}, tune_rows=90), X, y, seed=1
    )
    assert chosen == {"n_neighbors": 20}
    assert whole.named_steps["model"].n_samples_fit_ == 600


def test_outliers_are_told_and_stay():
    frame = genes(100)
    frame.loc["g5", "logFC"] = 40.0
    frame.loc["g7", "length"] = 1e9
    result = run(frame)
    assert result.outliers.index[0] == "g5"
    assert "g5" in set(result.blocks[INDEPENDENT].folds["sample"]) | set(result.blocks[INDEPENDENT].test["sample"])
    assert result.predictors.set_index("predictor").loc["length", "outliers"] >= 1
    z = robust_z(np.array([1.0, 2.0, 3.0, 100.0, np.nan]))
    assert z[3] == pytest.approx((100 - 2.5) / (1.4826 * 1.0))
    assert z[4] == 0


@pytest.mark.parametrize("model", ["linear", "random_forest", "knn", "svm"])
def test_explanations_add_up_and_find_what_matters(model):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(160, 3)), columns=list("abc"), index=[f"g{i}" for i in range(160)])
    frame = pd.DataFrame({"logFC": -2 * X["a"] + 0.5 * X["b"] + rng.normal(0, 0.7, 160), "P.Value": 0.5})
    result = run(frame, models=[model], features=X, explain=True)
    what = result.explanation
    assert set(what.values.index) == set(result.blocks[INDEPENDENT].test["sample"])
    made = result.predictions().loc[what.values.index, "predicted"]
    np.testing.assert_allclose(what.base + what.values.sum(axis=1), made, atol=1e-4)
    assert what.per_predictor["predictor"].iloc[0] == "a"
    assert what.per_predictor["direction"].iloc[0] == -1
    assert what.per_predictor["share"].sum() == pytest.approx(1)


def test_sampled_explanations_of_a_sum_are_its_terms():
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(50, 4)), columns=list("abcd"))

    class Waves(RegressorMixin, BaseEstimator):
        def fit(self, X, y):
            self.fitted_ = True
            return self

        def predict(self, X):
            return np.sin(3 * X) @ np.array([1, -2, 0, 0.5])

    whole = Pipeline([("scale", FunctionTransformer()), ("model", Waves())]).fit(X.to_numpy(), X["a"])
    what = explain_genes(whole, "mine", INDEPENDENT, X.iloc[:20], X.iloc[20:45], "x", seed=0)
    assert what.explainer.startswith("sampled")
    assert what.sampling_error < 1e-6
    terms = np.sin(3 * X) * np.array([1, -2, 0, 0.5])
    np.testing.assert_allclose(what.values, terms.iloc[:20] - terms.iloc[20:45].mean(), atol=1e-12)


# -- for use -----------------------------------------------------------------------------------------------------------


def test_a_fitted_model_predicts_other_genes_and_says_what_it_needs():
    frame, other = genes(200, seed=1), genes(50, seed=2)
    features = pd.DataFrame({"gc": np.random.default_rng(0).random(200)}, index=frame.index)
    net = as_net({"set one": [f"g{i}" for i in range(0, 40)]})
    result = run(frame, models=["linear", "random_forest"], features=features, net=net, sizes={"min_size": 5})
    fitted = result.fit("linear")
    assert fitted.needs == {
        "the table": ["AveExpr", "class", "length"],
        "features=": ["gc"],
        "its gene sets": ["set one"],
    }
    mine = fitted.predict(frame, features=features)
    X = result.X[list(fitted.names)].to_numpy()
    by_hand = make_pipeline(StandardScaler(), LinearRegression()).fit(X, frame["logFC"]).predict(X)
    np.testing.assert_allclose(mine, by_hand, rtol=1e-9)
    with pytest.raises(InputError, match=r"1 of the 5 predictors are not there: gc \(of features=\)"):
        fitted.predict(other)
    with pytest.warns(DataWarning, match="filled by the training median: gc 50"):
        filled = fitted.predict(other, missing="fill")
    given = fitted.predict(other, features=pd.DataFrame({"gc": np.median(features["gc"])}, index=other.index))
    np.testing.assert_allclose(filled, given)
    with pytest.warns(DataWarning, match="beyond the range of the training genes: AveExpr"):
        fitted.predict(
            other.assign(AveExpr=other["AveExpr"] * 100), features=pd.DataFrame({"gc": 0.5}, index=other.index)
        )


# -- what cannot be done -----------------------------------------------------------------------------------------------

BAD = [
    ({"target": "logFCs"}, ColumnNotFoundError, "Did you mean 'logFC'"),
    ({"target": "class"}, TargetError, "must be a column of numbers"),
    ({"frame": genes(15)}, TargetError, "at least 20 are needed"),
    ({"frame": genes().assign(logFC=1.0)}, TargetError, "is the same in all genes"),
    ({"frame": genes()[["logFC"]].assign(id="x")}, InputError, "nothing to predict 'logFC' with"),
    ({"exclude": ["AveExp"]}, ColumnNotFoundError, "Did you mean 'AveExpr'"),
    ({"features": pd.DataFrame({"x": [1.0]}, index=["other"])}, InputError, "same id space"),
    ({"features": pd.DataFrame({"x": [1.0, 2.0]}, index=["g1", "g1"])}, InputError, "there twice"),
    ({"net": as_net({"A": ["q", "r"]})}, InputError, "same id space"),
    ({"test_size": 1.5}, InputError, "test_size"),
    ({"models": ["logistic"]}, InputError, "ridge"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "error", "match"), BAD, ids=[str(i) for i in range(len(BAD))])
def test_what_cannot_be_done_is_one_error(given, error, match):
    given = dict(given)
    frame = given.pop("frame", genes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(error, match=match):
            run(frame, **given)


def test_genes_without_a_target_are_counted():
    frame = genes(100)
    frame.loc[frame.index[:7], "logFC"] = np.nan
    result = run(frame)
    assert result.spec["n_genes"] == 93
    assert "7 of 100 genes have no logFC and were left out." in set(result.report["message"])


def test_without_independent_predictors_it_says_so():
    frame = genes(100)[["logFC", "t", "P.Value"]]
    result = run(frame)
    assert list(result.blocks) == [ALGEBRAIC]
    assert any("There are no independent predictors" in m for m in result.report["message"])
    assert "arithmetic, not biology" in str(result)


def test_an_annotation_may_be_the_target_and_is_tied_to_nothing():
    frame = genes(150)
    result = run(frame.assign(log_length=np.log(frame["length"])), "length", models=["linear"])
    assert "logFC" in result.plan.blocks[INDEPENDENT]
    assert result.plan.blocks[ALGEBRAIC] == ("log_length",)
    assert "There is none for length" in result.ceiling_words


def test_what_only_a_pair_says_is_told():
    """A feature that tells of the reference's level, beside the average of all samples: neither alone, both together."""
    rng = np.random.default_rng(0)
    n = 600
    control, effect = rng.normal(8, 1, n), rng.normal(0, 1, n)
    frame = pd.DataFrame(
        {"logFC": effect, "AveExpr": control + effect / 2, "P.Value": 0.5}, index=[f"g{i}" for i in range(n)]
    )
    bent = pd.DataFrame({"skew": np.exp(-control / 2) + rng.normal(0, 0.001, n)}, index=frame.index)
    told = run(frame, features=bent).report.query("check == 'together'")["message"]
    assert len(told) == 1
    assert "exclude='AveExpr'" in told.iloc[0]
    for quiet in ({"features": bent, "exclude": ["AveExpr"]}, {"features": bent.assign(skew=rng.random(n))}):
        assert not (run(frame, **quiet).report["check"] == "together").any()
