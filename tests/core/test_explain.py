"""Out-of-fold SHAP against shap itself, its additivity, and what it must not see."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import shap
import xgboost
from scipy import sparse
from test_validate import make_cohort

from geneml_bio.core.errors import InputError
from geneml_bio.core.explain import explain
from geneml_bio.core.models import candidates
from geneml_bio.core.schema import Cohort
from geneml_bio.core.shap_summary import _resampled
from geneml_bio.core.validate import validate

RUN = {"screen": 20, "n_splits": 3, "n_repeats": 2, "progress": False, "n_jobs": 2}


@pytest.fixture(scope="module")
def binary():
    cohort = make_cohort()
    return cohort, validate(cohort, candidates("default", "classification"), **RUN)


@pytest.fixture(scope="module")
def three_classes():
    cohort = make_cohort(n=60, classes=("a", "b/c", "d"))
    return cohort, validate(cohort, candidates("default", "classification"), **RUN)


def _by_hand(cohort, validation, model, how):
    """Mean over repeats of ``how(pipeline, held-out X)``, placed by sample and gene."""
    out = np.zeros(cohort.X.shape)
    for (repeat, fold, name), whole in validation.fitted.items():
        if name != model:
            continue
        held_out = validation.folds.query("repeat == @repeat and fold == @fold")["sample"]
        rows = cohort.samples.get_indexer(held_out)
        genes = whole["screen"].get_support(indices=True)
        out[np.ix_(rows, genes)] += how(whole, cohort.X[rows]) / 2
    return out


def test_logistic_is_shaps_linear_explainer(binary):
    cohort, validation = binary

    def how(whole, X):
        background = np.zeros((1, 20))  # the training mean after scaling
        return shap.LinearExplainer(whole["model"], background).shap_values(whole[:-1].transform(X))

    got = explain(validation, cohort, model="logistic", progress=False)
    np.testing.assert_allclose(got.values["b"].toarray(), _by_hand(cohort, validation, "logistic", how), atol=1e-10)
    assert got.unit == "log-odds"


def test_xgboost_is_shaps_tree_explainer(binary):
    cohort, validation = binary

    def how(whole, X):
        return shap.TreeExplainer(whole["model"]).shap_values(whole[:-1].transform(X))

    got = explain(validation, cohort, model="xgboost", progress=False)
    np.testing.assert_allclose(got.values["b"].toarray(), _by_hand(cohort, validation, "xgboost", how), atol=1e-5)


@pytest.mark.parametrize("model", ["logistic", "random_forest", "xgboost", None])
def test_base_and_values_add_up_to_the_output_of_each_held_out_sample(binary, three_classes, model):
    for cohort, validation in (binary, three_classes):
        got = explain(validation, cohort, model=model, progress=False)
        assert got.max_error < 1e-5
        assert (got.per_model["max_error"] < 1e-5).all()
        assert got.base.shape == (len(cohort.samples), len(got.outputs))


def test_the_margin_is_the_stored_prediction(binary):
    """A forest's base + sum is the out-of-fold probability; a logistic model's its log-odds, repeat by repeat on average."""
    cohort, validation = binary
    forest = explain(validation, cohort, model="random_forest", progress=False)
    mine = validation.predictions.query("model == 'random_forest'").groupby("sample")["prob_b"].mean()
    np.testing.assert_allclose(forest.margin[:, 0], mine.loc[cohort.samples], atol=1e-10)
    logistic = explain(validation, cohort, model="logistic", progress=False)
    prob = validation.predictions.query("model == 'logistic'").assign(m=lambda d: np.log(d.prob_b / d.prob_a))
    np.testing.assert_allclose(logistic.margin[:, 0], prob.groupby("sample")["m"].mean().loc[cohort.samples], atol=1e-8)


def test_genes_outside_the_screens_are_zero_and_true_genes_lead_with_their_direction(binary):
    cohort, validation = binary
    got = explain(validation, cohort, progress=False)
    never = ~cohort.features.isin(validation.screens["feature"])
    assert never.any()
    assert not got.per_gene.loc[never, "shap"].any()
    assert got.per_gene.loc[never, "shap_rank"].isna().all()
    top = got.per_gene.sort_values("shap").index[-5:]
    assert set(top) == {f"g{i}" for i in range(5)}
    assert (got.per_gene.loc[top, "direction"] == 1).all()
    assert (got.per_gene.loc[top, "n_models"] == 3).all()


def test_the_consensus_gives_every_model_the_same_say(binary):
    cohort, validation = binary
    got = explain(validation, cohort, progress=False)
    assert got.unit == "share"
    columns = [f"shap:{name}" for name in validation.models]
    np.testing.assert_allclose(got.per_gene[columns].sum(), 1.0, rtol=1e-9)
    parts = [explain(validation, cohort, model=name, progress=False) for name in validation.models]
    expected = sum(p.values["b"] / (abs(p.values["b"]).sum() / 48) for p in parts) / 3
    np.testing.assert_allclose(got.values["b"].toarray(), expected.toarray(), atol=1e-12)


def test_wrecked_training_labels_do_not_change_who_explains(binary):
    """A held-out sample's values come from the model fitted without it: they follow from that pipeline alone."""
    cohort, validation = binary
    got = explain(validation, cohort, model="logistic", progress=False)
    repeat_folds = validation.folds.query("sample == 's7'")[["repeat", "fold"]].itertuples(index=False)
    expected = np.zeros(120)
    for repeat, fold in repeat_folds:
        whole = validation.fitted[repeat, fold, "logistic"]
        z = whole[:-1].transform(cohort.X[[7]])
        expected[whole["screen"].get_support()] += (z * whole["model"].coef_)[0] / 2
    np.testing.assert_allclose(got.values["b"].toarray()[7], expected, atol=1e-12)


def test_several_classes_have_one_matrix_each(three_classes):
    cohort, validation = three_classes
    got = explain(validation, cohort, model="xgboost", progress=False)
    assert got.outputs == ("a", "b/c", "d")
    whole = validation.fitted[0, 0, "xgboost"]
    rows = cohort.samples.get_indexer(validation.folds.query("repeat == 0 and fold == 0")["sample"])
    z = whole[:-1].transform(cohort.X[rows])
    contributions = whole["model"].get_booster().predict(xgboost.DMatrix(z), pred_contribs=True)
    assert contributions.shape == (len(rows), 3, 21)


def test_regression_explains_in_the_unit_of_the_target():
    base = make_cohort()
    cohort = Cohort(base.X, base.features, base.samples, 3 * base.X[:, 0] - 2 * base.X[:, 1] + 50)
    validation = validate(cohort, candidates("default", "regression"), **RUN, spec={"target": "dose"})
    got = explain(validation, cohort, model="ridge", progress=False)
    assert got.unit == "unit of dose"
    assert got.outputs == ("prediction",)
    mine = validation.predictions.query("model == 'ridge'").groupby("sample")["predicted"].mean()
    np.testing.assert_allclose(got.margin[:, 0], mine.loc[cohort.samples].astype(float), rtol=1e-9)
    assert got.per_gene["direction"].loc[["g0", "g1"]].tolist() == [1, -1]


def test_an_unknown_name_and_bad_counts_are_refused(binary):
    cohort, validation = binary
    with pytest.raises(InputError, match="was not validated"):
        explain(validation, cohort, model="logistik", progress=False)
    for bad in (0, 1, True, 2.5):
        with pytest.raises(InputError, match="n_orders must be"):
            explain(validation, cohort, n_orders=bad, progress=False)


def test_one_repeat_holds_out_every_sample_once(binary):
    cohort, validation = binary
    got = explain(validation, cohort, model="random_forest", n_repeats=1, progress=False)
    mine = validation.predictions.query("model == 'random_forest' and repeat == 0").set_index("sample")["prob_b"]
    np.testing.assert_allclose(got.margin[:, 0], mine.loc[cohort.samples], atol=1e-10)
    assert got.n_repeats == 1
    assert got.max_error < 1e-5
    assert got.per_gene["used"].max() <= 1
    for bad in (0, 3, True, 1.5):
        with pytest.raises(InputError, match="between 1 and 2"):
            explain(validation, cohort, n_repeats=bad, progress=False)


# -- by gene -----------------------------------------------------------------------------------------------------------


def test_spread_agreement_and_use_are_what_they_are_by_hand(binary):
    cohort, validation = binary
    got = explain(validation, cohort, progress=False)
    frame, names = got.per_gene, validation.models
    alone = {name: explain(validation, cohort, model=name, progress=False) for name in names}
    signs = np.column_stack([alone[name].per_gene["direction"] for name in names])
    np.testing.assert_array_equal(frame[[f"direction:{name}" for name in names]], signs)
    agree = (signs == frame[["direction"]].to_numpy()) & (frame[["direction"]].to_numpy() != 0)
    np.testing.assert_array_equal(frame["n_agree"], agree.sum(axis=1))
    assert (frame["n_agree"] <= frame["n_models"]).all()
    for name in names:
        np.testing.assert_allclose(frame[f"used:{name}"], alone[name].per_gene["used"])
    np.testing.assert_allclose(frame["used"], frame[[f"used:{name}" for name in names]].mean(axis=1))
    each = [np.zeros(cohort.X.shape) for _ in range(2)]
    for (repeat, fold, name), whole in validation.fitted.items():
        if name == "logistic":
            rows = cohort.samples.get_indexer(validation.folds.query("repeat == @repeat and fold == @fold")["sample"])
            genes = whole["screen"].get_support(indices=True)
            each[repeat][np.ix_(rows, genes)] = whole[:-1].transform(cohort.X[rows]) * whole["model"].coef_
    sizes = [np.abs(part).mean(axis=0) for part in each]
    np.testing.assert_allclose(alone["logistic"].per_gene["sd"], np.std(sizes, axis=0, ddof=1), atol=1e-12)
    one = explain(validation, cohort, n_repeats=1, progress=False)
    assert one.per_gene["sd"].isna().all()
    total = got.per_model.set_index("model")["total"]
    for name in names:
        np.testing.assert_allclose(frame[f"shap:{name}"] * total[name], alone[name].per_gene["shap"], atol=1e-12)


def test_the_rank_interval_holds_the_rank_and_is_narrower_for_strong_genes(binary, three_classes):
    for cohort, validation in (binary, three_classes):
        frame = explain(validation, cohort, progress=False).per_gene
        seen = frame["shap"] > 0
        assert (frame.loc[seen, "rank_low"] <= frame.loc[seen, "shap_rank"]).all()
        assert (frame.loc[seen, "shap_rank"] <= frame.loc[seen, "rank_high"]).all()
        assert frame.loc[~seen, ["rank_low", "rank_high"]].isna().all(axis=None)
        assert frame.loc[seen, "rank_low"].min() == 1
        width = frame["rank_high"] - frame["rank_low"]
        true = [f"g{i}" for i in range(5)]
        assert width[true].median() < 0.7 * width[seen].drop(true).median()
        again = explain(validation, cohort, progress=False).per_gene
        np.testing.assert_array_equal(frame["rank_high"], again["rank_high"])


def test_groups_are_resampled_whole():
    weights = _resampled(7, np.array(list("aabbbcc")), 200, np.random.default_rng(0))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    for part in (slice(0, 2), slice(2, 5), slice(5, 7)):
        assert np.ptp(weights[:, part], axis=1).max() < 1e-12
    assert {0.0} < set(weights[:, 0])


def test_of_many_classes_models_agree_at_the_class_that_a_gene_moves_most(three_classes):
    cohort, validation = three_classes
    got = explain(validation, cohort, progress=False)
    top = got.per_gene.loc["g0"]
    sizes = {name: abs(matrix).mean(axis=0)[0, 0] for name, matrix in got.values.items()}
    most = max(sizes, key=sizes.get)
    assert np.sign(top[f"rho:{most}"]) == top["direction:logistic"]
    assert top["n_agree"] >= 2
    assert top["direction"] == 0
    assert {f"rho:{name}" for name in cohort.classes} <= set(got.per_gene)


def test_the_number_of_workers_does_not_change_the_values():
    cohort = make_cohort(n=30, p=40)
    models = candidates({"near": "knn", "line": "logistic"}, "classification")
    validation = validate(cohort, models, **{**RUN, "n_jobs": 1, "screen": 8})
    one, two = (explain(validation, cohort, n_jobs=n, n_orders=6, progress=False) for n in (1, 2))
    np.testing.assert_array_equal(one.values["b"].toarray(), two.values["b"].toarray())
    pd.testing.assert_frame_equal(one.per_model, two.per_model)


def test_values_are_never_held_dense_for_all_genes():
    """3,000 samples x 6,000 genes would be 144 MB; 60 of the genes are screened in."""
    rng = np.random.default_rng(0)
    X = sparse.random(3000, 6000, density=0.02, format="csr", random_state=0)
    code = (np.asarray(X[:, :5].sum(axis=1)).ravel() + 0.1 * rng.normal(size=3000) > 0.05).astype(int)
    names = pd.Index([f"g{i}" for i in range(6000)]), pd.Index([f"s{i}" for i in range(3000)])
    cohort = Cohort(X, *names, np.array(["a", "b"], dtype=object)[code], ("a", "b"))
    models = candidates(["logistic"], "classification")
    validation = validate(cohort, models, screen=60, n_splits=3, n_repeats=1, tune=False, progress=False, n_jobs=1)
    tracemalloc.start()
    got = explain(validation, cohort, progress=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got.values["b"].nnz <= 3000 * 60
    assert peak < 60e6
