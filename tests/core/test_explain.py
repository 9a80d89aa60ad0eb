"""Out-of-fold SHAP against shap itself, its additivity, and what it must not see."""

from __future__ import annotations

import numpy as np
import pytest
import shap
import xgboost
from test_validate import make_cohort

from geneml_bio.core.errors import InputError
from geneml_bio.core.explain import explain
from geneml_bio.core.models import candidates
from geneml_bio.core.schema import Cohort
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
