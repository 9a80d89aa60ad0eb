"""Genes as rows: the engine against scikit-learn's own loop, blocks against what is known of their columns, guarantees over seeds."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats
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
from geneml_bio.core.gene_blocks import ALGEBRAIC, INDEPENDENT, Sources, robust_z
from geneml_bio.core.gene_explain import explain_genes
from geneml_bio.core.gene_features import gene_features
from geneml_bio.core.gene_level import gene_candidates, regress_genes
from geneml_bio.core.gene_scores import Resamples
from geneml_bio.core.gene_sets import as_net
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
