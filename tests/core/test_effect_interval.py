"""The interval of logFC is limma's, whether the table says what it rests on or that has to be recovered."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import geneml_bio as gb
from geneml_bio.core.effect_interval import with_interval


@pytest.fixture(scope="module")
def golub():
    return gb.datasets.golub()


@pytest.mark.r
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("lfc", [None, 0.2])
def test_the_interval_is_that_of_confint_in_r(golub, fresh_r, missing, lfc):
    from geneml_bio.bridge import r
    from geneml_bio.bridge.r_limma import fit_object

    X = golub.X.copy()
    if missing:  # these genes have fewer degrees of freedom
        X[::5, :50] = np.nan
    names = (golub.obs, golub.obs_names, golub.var_names)
    fresh_r.env["fit"] = fit_object(X, "~ 0 + class", ("class", "AML", "ALL"), *names, treat_lfc=lfc)
    program = "limma::topTable" if lfc is None else "limma::topTreat"
    theirs = r.to_frame(fresh_r(f"{program}(fit, coef = 1, number = Inf, confint = TRUE)"))
    ours = with_interval(theirs.drop(columns=["CI.L", "CI.R"]), "t" if lfc is None else "treat")
    known = ours["CI.L"].notna()
    assert known.all() if lfc is None else (known == (theirs["t"] != 0)).mean() > 0.98
    for name in ("CI.L", "CI.R"):
        np.testing.assert_allclose(ours.loc[known, name], theirs.loc[known, name], rtol=1e-8, atol=1e-10)


def test_se_and_df_are_taken_where_the_table_has_them():
    frame = pd.DataFrame({"logFC": [1.0, -2.0], "SE": [0.5, 0.1], "df": [4.0, np.inf]}, index=["a", "b"])
    made = with_interval(frame)
    np.testing.assert_allclose(made["CI.R"] - made["logFC"], [0.5 * stats.t.isf(0.025, 4), 0.1 * stats.norm.isf(0.025)])
    np.testing.assert_allclose(made["logFC"] - made["CI.L"], made["CI.R"] - made["logFC"])


def test_a_rounded_table_gives_nearly_the_same(golub):
    de = gb.tl.limma(golub.copy(), "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native").frame
    exact = with_interval(de)
    said = de.copy()
    said[["logFC", "t"]] = said[["logFC", "t"]].round(3)
    said["P.Value"] = [float(f"{p:.3g}") for p in said["P.Value"]]
    close = with_interval(said)
    large = said["t"].abs() > 0.5  # of a small t, three decimals are few
    np.testing.assert_allclose(close.loc[large, "CI.L"], exact.loc[large, "CI.L"], atol=0.01)


def test_no_interval_is_made_up(golub):
    de = gb.tl.limma(golub.copy(), "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native").frame
    assert "CI.L" not in with_interval(de, "F")
    assert "CI.L" not in with_interval(de.drop(columns="t"))
    wrong = de.copy()
    wrong.iloc[3, wrong.columns.get_loc("t")] *= 1.3
    made = with_interval(wrong)
    assert np.isnan(made["CI.L"].iloc[3])
    assert made["CI.L"].notna().sum() == len(made) - 1
    given = de.assign(**{"CI.L": 0.0, "CI.R": 1.0})
    assert with_interval(given) is given
