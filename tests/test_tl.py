"""gb.tl: extract -> core -> attach, seen from outside."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb

QUIET = {
    "n_splits": 3,
    "n_repeats": 1,
    "screen": 30,
    "models": ["logistic"],
    "tune": False,
    "n_jobs": 1,
    "progress": False,
}


@pytest.fixture
def golub():
    return gb.datasets.golub()[:, :400].copy()


# -- limma -------------------------------------------------------------------------------------------------------------


@pytest.mark.r
@pytest.mark.parametrize(
    ("contrast", "how"),
    [
        (("class", "AML", "ALL"), {}),
        ("classAML - classALL", {"trend": True}),
        (("class", "AML", "ALL"), {"treat_lfc": 0.3}),
        ([("class", "AML", "ALL"), "siteb"], {}),
    ],
)
def test_both_engines_write_the_same(golub, contrast, how, r_limma):
    golub.obs["site"] = np.tile(["a", "b"], 19)
    design = "~ 0 + class + site"
    tables = {}
    for engine in ("r", "native", "auto"):
        de = gb.tl.limma(golub, design, contrast=contrast, engine=engine, key_added=engine, **how)
        tables[engine] = gb.get.de(golub, key=engine)
        about = golub.uns[engine]
        assert about["design"] == design
        assert (
            about["kind"] == de.kind == ("F" if isinstance(contrast, list) else "treat" if "treat_lfc" in how else "t")
        )
        assert "df_prior" in about
        np.testing.assert_allclose(tables[engine]["P.Value"], de.frame.loc[tables[engine].index, "P.Value"])
    assert golub.uns["r"]["engine"] == "r"
    assert golub.uns["native"]["engine"] == golub.uns["auto"]["engine"] == "native"
    for name in tables["r"].columns:
        left, right = tables["native"].loc[tables["r"].index, name], tables["r"][name]
        np.testing.assert_allclose(left, right, rtol=1e-8, atol=1e-12, err_msg=name)


@pytest.mark.r
def test_robust_is_rs_and_sparse_stays_sparse(golub, r_limma):
    from scipy import sparse

    plain = gb.tl.limma(golub, "~ class", contrast="classAML", engine="r")
    robust = gb.tl.limma(golub, "~ class", contrast="classAML", robust=True)
    assert robust.source["engine"] == "r"
    assert not np.allclose(plain.frame["t"], robust.frame.loc[plain.frame.index, "t"])
    golub.X = sparse.csr_matrix(golub.X)
    thin = gb.tl.limma(golub, "~ class", contrast="classAML")
    assert thin.source["engine"] == "native"
    np.testing.assert_allclose(thin.frame.loc[plain.frame.index, "t"], plain.frame["t"], rtol=1e-7)


def test_robust_needs_r(golub):
    with pytest.raises(gb.errors.InputError, match="engine='r'"):
        gb.tl.limma(golub, "~ class", contrast="classAML", robust=True, engine="native")


def test_a_layer_and_a_design_matrix_of_ones_own(golub):
    golub.layers["twice"] = golub.X * 2
    design = pd.DataFrame({"all": 1.0, "aml": (golub.obs["class"] == "AML").astype(float)}, index=golub.obs_names)
    gb.tl.limma(golub, design, contrast="aml", layer="twice", engine="native", key_added="twice")
    gb.tl.limma(golub, "~ class", contrast="classAML", engine="native")
    one, two = gb.get.de(golub), gb.get.de(golub, key="twice")
    np.testing.assert_allclose(two.loc[one.index, "logFC"], 2 * one["logFC"], rtol=1e-10)
    np.testing.assert_allclose(two.loc[one.index, "t"], one["t"], rtol=1e-8)


# -- classify and regress ----------------------------------------------------------------------------------------------


def test_groups_are_recorded_and_kept_whole(golub):
    golub.obs["patient"] = np.repeat([f"p{i}" for i in range(19)], 2)
    with pytest.warns(gb.errors.AuditWarning, match="looks like a donor"):
        gb.tl.classify(golub, "class", **QUIET)
    gb.tl.classify(golub, "class", groups="patient", **QUIET)
    assert gb.get.params(golub)["groups"] == "patient"
    folds = gb.get.folds(golub).set_index("sample")["fold"]
    patient = golub.obs["patient"].astype(str)
    assert folds.groupby(patient.loc[folds.index].to_numpy()).nunique().max() == 1


def test_counts_are_warned_about(golub):
    golub.X = np.random.default_rng(0).poisson(200, size=golub.shape).astype(float)
    with pytest.warns(gb.errors.AuditWarning, match="counts, where logs are expected"):
        gb.tl.classify(golub, "class", **QUIET)
    assert "scale" in set(gb.get.audit(golub)["check"])


def test_regression_predicts_a_number(golub):
    golub.obs["dose"] = 3 * golub.X[:, 9] + np.random.default_rng(0).normal(scale=0.2, size=38)
    result = gb.tl.regress(golub, "dose", **{**QUIET, "models": ["ridge", "xgboost"], "n_permutations": 3})
    table = gb.get.metrics(golub, key="regress").set_index(["model", "metric"])["value"]
    assert table["ridge", "r2"] > 0.5
    mine = golub.obsm["regress_oof"]["prediction"]
    np.testing.assert_allclose(mine, golub.obs["regress_pred"])
    best = gb.get.params(golub, "regress")["best"]
    mean = result.predictions[result.predictions["model"] == best].groupby("sample")["predicted"].mean()
    np.testing.assert_allclose(mine.to_numpy(), mean.loc[golub.obs_names].astype(float))
    gb.tl.explain(golub, result, key="regress", progress=False)
    assert gb.get.shap(golub, key="regress").index[0] == golub.var_names[9]


def test_out_of_fold_probabilities_are_the_mean_over_repeats_of_the_best_model(golub):
    result = gb.tl.classify(golub, "class", **{**QUIET, "n_repeats": 3, "models": ["logistic", "xgboost"]})
    best = gb.get.params(golub)["best"]
    mean = result.predictions[result.predictions["model"] == best].groupby("sample")["prob_AML"].mean()
    np.testing.assert_allclose(golub.obsm["classify_oof"]["AML"], mean.loc[golub.obs_names])
    expected = np.where(mean.loc[golub.obs_names] > 0.5, "AML", "ALL")
    assert list(golub.obs["classify_pred"].astype(str)) == list(expected)
    share = result.screens["feature"].value_counts() / 9
    chosen = golub.var["classify_selected"]
    assert chosen[share.index].to_dict() == pytest.approx(share.to_dict())
    assert (chosen.drop(share.index) == 0).all()


def test_two_keys_live_side_by_side(golub):
    one = gb.tl.classify(golub, "class", key_added="one", **QUIET)
    gb.tl.classify(golub, "class", key_added="two", **{**QUIET, "seed": 5})
    gb.tl.explain(golub, one, key="one", progress=False)
    gb.tl.biomarkers(golub, de=None, model="one", key_added="one_table")
    assert not gb.get.folds(golub, key="one").equals(gb.get.folds(golub, key="two"))
    assert gb.get.biomarkers(golub, key="one_table")["shap"].iloc[0] == golub.var["one_shap"].max()
    with pytest.raises(gb.errors.StaleResultError):
        gb.tl.explain(golub, one, key="two", progress=False)


def test_own_estimators_are_explained_with_the_result_and_not_without(golub):
    from sklearn.ensemble import ExtraTreesClassifier

    own = {"trees/1": ExtraTreesClassifier(20)}
    result = gb.tl.classify(golub, "class", **{**QUIET, "models": own})
    gb.tl.explain(golub, result, progress=False)
    assert "shap:trees/1" in gb.get.shap(golub)
    with pytest.raises(gb.errors.InputError, match=r"gb\.tl\.explain\(adata, validation\)"):
        gb.tl.explain(golub, progress=False)


def test_an_external_screen_is_recorded(golub):
    other = gb.DETable(
        pd.DataFrame({"logFC": 1.0, "P.Value": 0.01}, index=golub.var_names[:12]), contrast="another cohort"
    )
    gb.tl.classify(golub, "class", **{**QUIET, "screen": gb.ExternalScreen(other, n=12)})
    assert "another cohort" in gb.get.params(golub)["screen"]
    assert set(gb.get.screens(golub)["feature"].astype(str)) == set(golub.var_names[:12])


def test_one_kind_of_evidence_is_enough_and_the_other_is_named(golub):
    gb.tl.limma(golub, "~ class", contrast="classAML", engine="native")
    with pytest.warns(gb.errors.DataWarning, match="no out-of-fold SHAP values"):
        table = gb.tl.biomarkers(golub)
    assert list(table.index[:5]) == list(gb.get.de(golub).index[:5])
    assert "SHAP" in golub.uns["biomarkers"]["missing_evidence"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a: gb.get.de(a), "gb.tl.limma"),
        (lambda a: gb.get.metrics(a), "gb.tl.classify"),
        (lambda a: gb.get.shap(a), "gb.tl.explain"),
        (lambda a: gb.get.shap_values(a), "gb.tl.explain"),
        (lambda a: gb.get.biomarkers(a), "gb.tl.biomarkers"),
        (lambda a: (gb.tl.classify(a, "class", **QUIET), gb.get.null(a)), "n_permutations"),
    ],
)
def test_what_is_not_there_is_asked_for_by_name(golub, call, says):
    with pytest.raises(gb.errors.ColumnNotFoundError, match=says):
        call(golub)


# -- results of different analyses do not mix ---------------------------------------------------------------------------


def test_earlier_results_under_a_key_leave_with_it(golub):
    golub.obs["three"] = pd.Categorical(np.tile(["a", "b/c", "d"], 13)[:38])
    first = gb.tl.classify(golub, "three", **QUIET)
    gb.tl.explain(golub, first, progress=False)
    assert set(golub.layers) >= {"classify_shap_a", "classify_shap_b%2Fc", "classify_shap_d"}
    second = gb.tl.classify(golub, "class", **QUIET)
    assert not [
        name
        for slot in ("layers", "var", "varm", "obsm", "uns")
        for name in getattr(golub, slot)
        if name and "_shap" in name
    ]
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"gb\.tl\.explain"):
        gb.get.shap(golub)
    gb.tl.explain(golub, second, progress=False)
    assert [name for name in golub.layers if name] == ["classify_shap"]
    gb.tl.limma(golub, "~ 0 + three", contrast="threed - threea", engine="native")
    gb.tl.limma(golub, "~ 0 + three", contrast=["threed - threea", "threed - `threeb/c`"], engine="native")
    assert list(gb.get.de(golub).columns) == ["AveExpr", "F", "P.Value", "adj.P.Val"]


def test_a_key_of_another_tool_and_a_column_that_is_read_are_not_overwritten(golub):
    gb.tl.classify(golub, "class", **QUIET)
    with pytest.raises(gb.errors.StorageError, match="holds validation results"):
        gb.tl.limma(golub, "~ class", contrast="classAML", engine="native", key_added="classify")
    golub.obs["mine_pred"] = golub.obs["class"]
    with pytest.raises(gb.errors.StorageError, match="would overwrite the column 'mine_pred'"):
        gb.tl.classify(golub, "mine_pred", key_added="mine", **QUIET)


@pytest.mark.parametrize("models", [["logistic", "xgboost"], {"mine": "logistic"}, "logistic"])
def test_models_by_name_are_fitted_again_from_what_is_stored(golub, models):
    result = gb.tl.classify(golub, "class", **{**QUIET, "models": models})
    one = gb.tl.explain(golub, result, progress=False)
    two = gb.tl.explain(golub, n_jobs=1, progress=False)
    assert abs(one.values["AML"] - two.values["AML"]).max() < 1e-12


def test_a_design_matrix_follows_the_names_of_the_samples(golub):
    from geneml_bio.core.design import design_matrix

    design = design_matrix("~ class", golub.obs)
    right = gb.tl.limma(golub, design, contrast="classAML", engine="native").frame
    turned = gb.tl.limma(golub, design.iloc[::-1], contrast="classAML", engine="native").frame
    pd.testing.assert_frame_equal(right, turned)
    with pytest.raises(gb.errors.DesignError, match=r"named by adata\.obs_names"):
        gb.tl.limma(
            golub, design.add_prefix("x").set_axis([f"q{i}" for i in range(38)]), contrast="xclassAML", engine="native"
        )


def test_a_table_of_the_opposite_contrast_is_noticed(golub):
    gb.tl.limma(golub, "~ class", contrast=("class", "ALL", "AML"), engine="native")
    gb.tl.explain(golub, gb.tl.classify(golub, "class", **QUIET), progress=False)
    with pytest.warns(gb.errors.AuditWarning, match="opposite contrast"):
        gb.tl.biomarkers(golub)
    assert "opposite contrast" in golub.uns["biomarkers"]["cautions"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"n_jobs": 0}, "n_jobs must be"),
        ({"seed": -1}, "seed must be"),
        ({"models": None}, "models= takes"),
        ({"models": {"best of k (corrected)": "logistic"}}, "cannot be called"),
        ({"n_permutations": -1}, "n_permutations must be"),
    ],
)
def test_arguments_that_cannot_be_meant_are_refused(golub, asked, says):
    with pytest.raises(gb.errors.InputError, match=says):
        gb.tl.classify(golub, "class", **{**QUIET, **asked})


@pytest.mark.parametrize("n_donors", [4, 5, 6, 8])
@pytest.mark.parametrize("n_splits", [2, 3])
def test_few_donors_are_enough_for_every_default_model(n_donors, n_splits):
    import anndata as ad

    rng = np.random.default_rng(n_donors)
    donors = np.repeat(np.arange(n_donors), 5)
    obs = pd.DataFrame(
        {"y": np.array(["a", "b"])[donors % 2], "donor": donors}, index=[f"s{i}" for i in range(len(donors))]
    )
    adata = ad.AnnData(rng.normal(size=(len(donors), 20)), obs=obs)
    result = gb.tl.classify(
        adata,
        "y",
        groups="donor",
        n_splits=n_splits,
        n_repeats=1,
        n_permutations=1,
        screen=10,
        n_jobs=1,
        progress=False,
    )
    assert set(result.models) == {"logistic", "random_forest", "xgboost"}
    assert result.spec["n_arrangements"] == {4: 6, 5: 10, 6: 20, 8: 70}[n_donors]


def test_a_log_fold_change_beside_a_joint_test_is_not_taken_for_its_effect():
    """DESeq2's LRT: the p-value is of all coefficients, the log fold change of one."""
    adata = gb.datasets.golub()[:, :40].copy()
    frame = pd.DataFrame(
        {"logFC": np.linspace(-2, 2, 40), "LR": np.linspace(0, 30, 40), "P.Value": np.linspace(1, 1e-6, 40)},
        index=adata.var_names,
    )
    frame["adj.P.Val"] = frame["P.Value"]
    gb.tl.add_de(adata, gb.DETable(frame, kind="F"))
    with pytest.warns(gb.errors.DataWarning):
        table = gb.tl.biomarkers(adata)
    assert "logFC" not in table
    assert table["LR"].notna().all()
    with pytest.raises(gb.errors.InputError, match="joint test"):
        gb.pl.volcano(adata)
