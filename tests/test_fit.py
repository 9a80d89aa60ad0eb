"""gb.tl.fit: the model for use is the validated recipe on all samples, and predicts new ones whatever they come in."""

from __future__ import annotations

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import geneml_bio as gb
from geneml_bio.core.errors import (
    AuditWarning,
    ColumnNotFoundError,
    InputError,
    StaleResultError,
)
from geneml_bio.core.fitting import Recipe, fit_candidate, predict_fitted
from geneml_bio.core.models import candidates, task_seed
from geneml_bio.core.screen import ModeratedScreen

QUIET = {"n_splits": 2, "n_repeats": 1, "n_jobs": 1, "progress": False}
EXACT = {"check_exact": False, "rtol": 0, "atol": 1e-12}


def study(*, seed: int = 0, n_test: int = 40, **how) -> tuple[anndata.AnnData, anndata.AnnData]:
    """A simulated study, and new samples of the same population."""
    whole = gb.datasets.simulate(60, 300, n_test=n_test, seed=seed, **({"effect": 1.2} | how))
    new = (whole.obs["set"] == "test").to_numpy()
    parts = []
    for rows in (~new, new):
        part = whole[rows].copy()
        part.obs = part.obs.drop(columns="set")
        parts.append(part)
    return parts[0], parts[1]


def validated(adata, *, task: str = "classify", target: str = "target", **how):
    function = gb.tl.classify if task == "classify" else gb.tl.regress
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AuditWarning)
        return function(
            adata, target, **({"models": "logistic" if task == "classify" else "ridge", "screen": 20} | QUIET | how)
        )


def trained_study():
    """A study that was validated, new samples, and the fitted model."""
    old, new = study(effect=0.8)
    validated(old, models=["logistic", "random_forest"])
    return old, new, gb.tl.fit(old, model="logistic")


@pytest.fixture(scope="module")
def trained():
    return trained_study()


# -- the model is the validated recipe on all samples ------------------------------------------------------------------


def test_it_is_the_pipeline_that_scikit_learn_would_fit():
    """An oracle written independently: genes by the moderated t, standardised, logistic regression."""
    old, new = study()
    validated(old, tune=False)
    fitted = gb.tl.fit(old)
    y = (old.obs["target"] == "case").to_numpy()
    genes = ModeratedScreen(20).fit(old.X, y).get_support()
    oracle = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000, tol=1e-8)).fit(old.X[:, genes], y)
    assert fitted.features == tuple(old.var_names[genes])
    np.testing.assert_allclose(
        fitted.predict(new)["prob_case"], oracle.predict_proba(new.X[:, genes])[:, 1], atol=1e-12
    )


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("logistic", {}),
        ("svm", {"class_weight": "balanced"}),
        ("xgboost", {"calibrate": "sigmoid"}),
        ("knn", {"calibrate": "isotonic"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("gaps", [False, True])
def test_without_its_screen_and_imputer_it_predicts_what_the_whole_pipeline_does(name, how, gaps):
    old, new = study(n_donors=20)
    if gaps:
        for part in (old, new):
            part.X[np.random.default_rng(0).random(part.shape) < 0.02] = np.nan
    validated(old, models=name, groups="donor", **how)
    fitted = gb.tl.fit(old)
    recipe = Recipe(ModeratedScreen(20, task="classification"), gaps, True, 2, **how)
    y = (old.obs["target"] == "case").to_numpy().astype(int)
    own = {"groups": pd.factorize(old.obs["donor"])[0], "seed": task_seed(0, "fit", name)}
    whole, tuned = fit_candidate(recipe, candidates(name, "classification")[0], old.X, y, **own)
    np.testing.assert_allclose(
        fitted.predict(new)["prob_case"], predict_fitted(whole, new.X, 2)[:, 1], rtol=0, atol=1e-12
    )
    assert fitted.tuned == tuned
    assert fitted.n_groups == 20
    assert "of 20 groups (donor)" in repr(fitted)
    assert fitted.imputes == gaps


def test_covariates_adjust_the_screen_as_in_the_validation():
    old, _ = study(n_batches=2, confounding=0.6, batch_effect=2.0)
    validated(old, covariates="batch")
    fitted = gb.tl.fit(old)
    batch = pd.get_dummies(old.obs["batch"], drop_first=True).to_numpy(float)
    y = (old.obs["target"] == "case").to_numpy()
    adjusted = ModeratedScreen(20).fit(old.X, y, covariates=batch).get_support()
    assert fitted.features == tuple(old.var_names[adjusted])
    assert set(fitted.features) != set(old.var_names[ModeratedScreen(20).fit(old.X, y).get_support()])


def test_what_is_stored_suffices_and_the_same_call_gives_the_same_model(tmp_path):
    old, new = study()
    result = validated(old, models=["xgboost", "logistic"], class_weight={"case": 2, "control": 1})
    old.write_h5ad(tmp_path / "old.h5ad")
    again = anndata.read_h5ad(tmp_path / "old.h5ad")
    for model in ("xgboost", "logistic"):
        made = [gb.tl.fit(a, v, model=model).predict(new) for a, v in ((old, result), (old, None), (again, None))]
        pd.testing.assert_frame_equal(made[0], made[1], check_exact=True)
        pd.testing.assert_frame_equal(made[0], made[2], check_exact=True)


def test_a_network_keeps_its_record(tmp_path):
    old, new = study()
    validated(old, models="mlp")
    fitted = gb.tl.fit(old)
    assert list(fitted.history.columns[:3]) == ["epoch", "loss", "val_loss"]
    again = gb.load(fitted.save(tmp_path / "model"))
    pd.testing.assert_frame_equal(again.history, fitted.history, check_exact=True)
    pd.testing.assert_frame_equal(again.predict(new), fitted.predict(new), check_exact=True)


def test_it_takes_the_best_model_and_says_how_good_it_was(trained):
    old, _, _ = trained
    fitted = gb.tl.fit(old)
    assert fitted.model == gb.get.params(old)["best"]
    table = gb.get.metrics(old)
    mine = fitted.performance[fitted.performance["model"] == fitted.model].reset_index(drop=True)
    theirs = table[table["model"] == fitted.model].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine.drop(columns="set"), theirs)
    assert set(fitted.performance["model"]) == {fitted.model, "best of k (corrected)"}
    assert fitted.verdict == gb.get.params(old)["verdict"]
    assert fitted.n_samples == 60
    assert dict(fitted.class_sizes) == old.obs["target"].value_counts().to_dict()
    assert f"{fitted.model}, classification of 'target' (control / case) from 20 of 300 genes" in repr(fitted)
    assert fitted.verdict in repr(fitted)


def test_it_learns_from_the_test_set_too():
    old, new = study()
    validated(old, test_size=0.25)
    fitted = gb.tl.fit(old)
    assert fitted.n_samples == 60
    assert set(fitted.performance["set"]) == {"cv", "test"}
    assert fitted.performance.query("set == 'test'")["n"].unique().tolist() == [15]
    plain, _ = study()
    validated(plain)
    pd.testing.assert_frame_equal(gb.tl.fit(plain).predict(new), fitted.predict(new))
    assert "test set, logistic: balanced accuracy" in repr(fitted)


def test_nothing_is_written_to_what_it_is_fitted_on(trained):
    old = trained[0].copy()
    old.X.flags.writeable = False
    before = old.copy()
    gb.tl.fit(old)
    assert list(old.uns) == list(before.uns)
    assert list(old.obs) == list(before.obs)
    np.testing.assert_array_equal(old.X, before.X)


def test_regression_and_many_classes():
    old, new = study(task="regression")
    validated(old, task="regress", models=["ridge", "random_forest"])
    fitted = gb.tl.fit(old, key="regress")
    made = fitted.predict(new)
    assert list(made.columns) == ["predicted"]
    assert fitted.classes == ()
    assert r2_score(new.obs["target"], made["predicted"]) > 0.3
    old, new = study(n_classes=3)
    for part in (old, new):
        part.obs["target"] = part.obs["target"].cat.rename_categories({"A": "BCR/ABL", "B": "E2A/PBX1", "C": "=1+1"})
    validated(old)
    made = gb.tl.fit(old).predict(new)
    assert list(made.columns) == ["predicted", "prob_BCR/ABL", "prob_E2A/PBX1", "prob_=1+1"]
    np.testing.assert_allclose(made.iloc[:, 1:].sum(axis=1), 1)
    assert (made["predicted"] == made.columns[1:].str[5:].to_numpy()[made.iloc[:, 1:].to_numpy().argmax(axis=1)]).all()


def test_your_own_models_and_screens_come_from_the_validation():
    old, new = study()
    result = validated(old, models={"mine": ExtraTreesClassifier(10), "logistic": "logistic"})
    with pytest.raises(InputError, match=r"gb\.tl\.fit\(adata, validation\)"):
        gb.tl.fit(old, model="mine")
    mine = gb.tl.fit(old, result, model="mine")
    assert mine.pipeline.named_steps["model"].n_estimators == 10
    assert mine.predict(new).shape == (40, 3)
    gb.tl.fit(old, model="logistic")
    de = gb.tl.limma(new, "~ target", contrast="targetcase", engine="native")
    result = validated(old, screen=gb.ExternalScreen(de, n=15))
    with pytest.raises(InputError, match="external screen"):
        gb.tl.fit(old)
    assert set(gb.tl.fit(old, result).features) == set(de.top(15).index)


def test_what_does_not_belong_together_is_refused(trained):
    old = trained[0].copy()
    with pytest.raises(ColumnNotFoundError, match="Nothing was validated under 'other'"):
        gb.tl.fit(old, key="other")
    with pytest.raises(InputError, match=r"'forest' was not validated.*random_forest"):
        gb.tl.fit(old, model="forest")
    with pytest.raises(StaleResultError):
        gb.tl.fit(old, validated(study(seed=1)[0]))
    old.X = old.X + 1
    with pytest.raises(StaleResultError):
        gb.tl.fit(old)


def test_a_model_that_is_not_better_than_chance_is_warned_about():
    old, _ = study()
    old.obs["target"] = np.random.default_rng(3).permutation(old.obs["target"].astype(str))
    validated(old)
    assert not old.uns["classify"]["better_than_chance"]
    with pytest.warns(AuditWarning, match="Not shown to be better than chance"):
        gb.tl.fit(old)


# -- new samples in any form -------------------------------------------------------------------------------------------


def _backed(new, tmp_path, X):
    copy = new.copy()
    copy.X = X(copy.X)
    copy.write_h5ad(tmp_path / "new.h5ad")
    return anndata.read_h5ad(tmp_path / "new.h5ad", backed="r")


def _shuffled(new):
    rng = np.random.default_rng(0)
    extra = pd.DataFrame(
        rng.normal(size=(new.n_obs, 50)), columns=[f"other{i}" for i in range(50)], index=new.obs_names
    )
    frame = pd.concat([new.to_df(), extra], axis=1)
    return frame.iloc[:, rng.permutation(frame.shape[1])]


def _anndata(frame):
    return anndata.AnnData(frame.to_numpy(), obs=pd.DataFrame(index=frame.index), var=pd.DataFrame(index=frame.columns))


def _layered(new):
    out = new.copy()
    out.layers["logs"], out.X = new.X, np.zeros(new.shape)
    return out


FORMS = {
    "shuffled, with extra genes": lambda new, fitted, tmp: _anndata(_shuffled(new)),
    "a frame": lambda new, fitted, tmp: _shuffled(new),
    "a frame of nullable numbers": lambda new, fitted, tmp: new.to_df().astype("Float64"),
    "a frame beside text": lambda new, fitted, tmp: new.to_df().assign(note="text"),
    "CSR": lambda new, fitted, tmp: anndata.AnnData(sparse.csr_matrix(new.X), obs=new.obs, var=new.var),
    "CSC": lambda new, fitted, tmp: anndata.AnnData(sparse.csc_matrix(new.X), obs=new.obs, var=new.var),
    "a view": lambda new, fitted, tmp: _anndata(_shuffled(new))[:, ::-1],
    "only its genes": lambda new, fitted, tmp: new[:, list(fitted.features)[::-1]],
    "backed": lambda new, fitted, tmp: _backed(new, tmp, np.array),
    "a view of a backed one": lambda new, fitted, tmp: _backed(new, tmp, np.array)[new.obs_names[::-1]],
    "backed CSR": lambda new, fitted, tmp: _backed(new, tmp, sparse.csr_matrix),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_new_samples_does_not_matter(trained, tmp_path, form):
    _, new, fitted = trained
    other = FORMS[form](new, fitted, tmp_path)
    made = fitted.predict(other)
    pd.testing.assert_frame_equal(made.loc[new.obs_names], fitted.predict(new), check_names=False, **EXACT)
    if isinstance(other, anndata.AnnData) and other.isbacked:
        other.file.close()


@pytest.mark.parametrize("kind", ["int32", "uint8"])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_whole_numbers_are_learned_from_and_predicted_as_floats_are(kind, form):
    old, new = study()
    for part in (old, new):
        part.X = np.round(2 * part.X).clip(0, 30)
    typed = [anndata.AnnData(form(part.X.astype(kind)), obs=part.obs, var=part.var) for part in (old, new)]
    validated(old)
    validated(typed[0])
    one, two = gb.tl.fit(old), gb.tl.fit(typed[0])
    assert one.features == two.features
    for other in (new, typed[1]):
        pd.testing.assert_frame_equal(two.predict(other), one.predict(new), check_exact=False, atol=1e-6)
    assert two.score(typed[1], "target")["value"].notna().any()


def test_a_layer_takes_the_place_of_x(trained):
    _, new, fitted = trained
    pd.testing.assert_frame_equal(fitted.predict(_layered(new), layer="logs"), fitted.predict(new))
    with pytest.raises(ColumnNotFoundError, match=r"No layer 'log'.*'logs'"):
        fitted.predict(_layered(new), layer="log")


def test_sparse_training_data_predict_as_dense_ones_do():
    old, new = study()
    for part in (old, new):
        part.X = np.where(part.X > 6, part.X, 0.0)
    thin = old.copy()
    thin.X = sparse.csr_matrix(thin.X)
    validated(old)
    validated(thin)
    one, two = gb.tl.fit(old), gb.tl.fit(thin)
    assert one.features == two.features
    np.testing.assert_allclose(one.medians, two.medians)
    pd.testing.assert_frame_equal(one.predict(new), two.predict(new), check_exact=False, atol=1e-6)


def test_one_sample_is_enough_and_none_is_not(trained):
    _, new, fitted = trained
    alone = pd.concat([fitted.predict(new[[i]]) for i in range(5)])
    pd.testing.assert_frame_equal(alone, fitted.predict(new).iloc[:5], **EXACT)
    with pytest.raises(InputError, match="no samples"):
        fitted.predict(new[[]])


def test_many_samples_are_predicted_part_by_part(trained, monkeypatch):
    from geneml_bio.core import fitted as module

    _, new, fitted = trained
    whole = fitted.predict(new)
    monkeypatch.setattr(module, "_ROWS", 7)
    pd.testing.assert_frame_equal(fitted.predict(new), whole, **EXACT)
