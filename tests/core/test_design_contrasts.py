"""Contrasts of a design."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_design import samples

from geneml_bio.core.contrasts import contrast_matrix
from geneml_bio.core.design import design_matrix
from geneml_bio.core.errors import ColumnNotFoundError, DesignError, FormulaError

# -- contrasts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "contrast", "weights"),
    [
        ("~ a", ("a", "alt", "ref"), {"alt vs ref": {"aalt": 1}}),
        ("~ a", ("a", "ref", "alt"), {"ref vs alt": {"aalt": -1}}),
        ("~ 0 + a", ("a", "alt", "ref"), {"alt vs ref": {"aalt": 1, "aref": -1}}),
        ("~ 0 + b + a + n", ("a", "alt", "ref"), {"alt vs ref": {"aalt": 1}}),
        ("~ 0 + b + a", ("b", "y", "x"), {"y vs x": {"by": 1, "bx": -1}}),
        ("~ b", ("b", "y", "x"), {"y vs x": {"by": 1, "bx": -1}}),
        ("~ a * b + c", ("c", 1, 3), {"1 vs 3": {"c1": 1}}),
        ("~ l", ("l", True, False), {"True vs False": {"lTRUE": 1}}),
        ("~ n + a", ("n", 3, 1), {"3 vs 1": {"n": 2}}),
        ("~ 0 + mol.biol", ("mol.biol", "BCR/ABL", "NEG"), {"BCR/ABL vs NEG": {"mol.biolBCR/ABL": 1, "mol.biolNEG": -1}}),
        ("~ `my var`", ("my var", "q", "p"), {"q vs p": {"`my var`q": 1}}),
        ("~ a + b", "aalt", {"aalt": {"aalt": 1}}),
        ("~ 0 + b", "by - bx", {"by - bx": {"by": 1, "bx": -1}}),
        ("~ 0 + b", "(by + bx) / 2 - bZ", {"(by + bx) / 2 - bZ": {"by": 0.5, "bx": 0.5, "bZ": -1}}),
        ("~ 0 + b", "-2 * (by - .5e0*bx)+bZ/4", {"-2 * (by - .5e0*bx)+bZ/4": {"by": -2, "bx": 1, "bZ": 0.25}}),
        ("~ 0 + b", "by--bx", {"by--bx": {"by": 1, "bx": 1}}),
        ("~ 0 + mol.biol", "mol.biolBCR/ABL - mol.biolNEG", {"mol.biolBCR/ABL - mol.biolNEG": {"mol.biolBCR/ABL": 1, "mol.biolNEG": -1}}),
        ("~ 0 + mol.biol", "`mol.biolBCR/ABL`", {"`mol.biolBCR/ABL`": {"mol.biolBCR/ABL": 1}}),
        ("~ `my var`", "`my var`q", {"`my var`q": {"`my var`q": 1}}),
        ("~ a * b", "aalt:by - aalt:bx", {"aalt:by - aalt:bx": {"aalt:by": 1, "aalt:bx": -1}}),
        ("~ a", "(Intercept) + aalt", {"(Intercept) + aalt": {"(Intercept)": 1, "aalt": 1}}),
        ("~ 0 + b", {"by": 1, "bx": -0.5}, {"-0.5*bx + by": {"by": 1, "bx": -0.5}}),
        ("~ 0 + b", [("b", "y", "x"), "bZ", {"by": 1}], {"y vs x": {"by": 1, "bx": -1}, "bZ": {"bZ": 1}, "by": {"by": 1}}),
    ],
)  # fmt: skip
def test_contrasts(formula, contrast, weights):
    obs = samples()
    design = design_matrix(formula, obs)
    got = contrast_matrix(contrast, design, obs=obs)
    assert list(got.index) == list(design.columns)
    assert list(got.columns) == list(weights)
    for name, expected in weights.items():
        assert {key: value for key, value in got[name].items() if value} == expected


def test_a_tuple_is_a_difference_of_fitted_means():
    """Whatever the coding, the contrast is what changing the factor alone does to the prediction."""
    obs = samples()
    rng = np.random.default_rng(0)
    y = rng.normal(size=len(obs))
    effects = []
    for formula in ("~ b + a + n", "~ 0 + b + a + n", "~ 0 + a + b + n", "~ a + n + b"):
        design = design_matrix(formula, obs)
        beta = np.linalg.lstsq(design.to_numpy(), y, rcond=None)[0]
        effects.append(float(contrast_matrix(("b", "y", "Z"), design, obs=obs).to_numpy()[:, 0] @ beta))
    np.testing.assert_allclose(effects, effects[0], rtol=1e-9)


@pytest.mark.parametrize(
    ("contrast", "error", "message"),
    [
        (("a", "alt", "rex"), ColumnNotFoundError, "no level 'rex'. Did you mean 'ref'"),
        (("d", "alt", "ref"), ColumnNotFoundError, "'d' is not in the design"),
        (("a", "alt"), DesignError, "got 2 parts"),
        (("a", "ref", "ref"), DesignError, "zero"),
        (("n", "hi", "lo"), DesignError, "numeric"),
        (("b", "y", "x"), DesignError, "depend on 'c'"),
        ("aal", ColumnNotFoundError, "Did you mean 'aalt'"),
        ("aalt - ghost", ColumnNotFoundError, "'ghost'"),
        ("aalt - aalt", DesignError, "zero"),
        ("aalt + 1", FormulaError, "adds the number 1"),
        ("aalt * n", FormulaError, "linear"),
        ("aalt / n", FormulaError, "number other than 0"),
        ("aalt / 0", FormulaError, "number other than 0"),
        ("aalt - (n", FormulaError, "not closed"),
        ("aalt)", FormulaError, "not expected"),
        ("aalt n", FormulaError, "not expected"),
        ("aalt -", FormulaError, "too early"),
        ("", FormulaError, "too early"),
        ("`aalt", FormulaError, "not closed"),
        ("`ghost`", ColumnNotFoundError, "'ghost'"),
        ("exp(aalt)", FormulaError, "'exp' is not allowed"),
        ("(" * 200 + "aalt" + ")" * 200, FormulaError, "nested"),
        ({"aalt": 1, "ghost": 2}, ColumnNotFoundError, "'ghost'"),
        ({"aalt": "1"}, DesignError, "must be a number"),
        ({"aalt": np.inf}, DesignError, "not finite"),
        (["a", "alt", "ref"], ColumnNotFoundError, r"write the tuple \('a', 'alt', 'ref'\)"),
        (["aalt", "aalt"], DesignError, "asked for twice"),
        ([], DesignError, "No contrast"),
        (5, DesignError, "got int"),
    ],
)
def test_contrasts_that_are_refused(contrast, error, message):
    obs = samples()
    with pytest.raises(error, match=message):
        contrast_matrix(contrast, design_matrix("~ a + n + b * c", obs), obs=obs)


def test_a_matrix_of_ones_own_takes_columns_but_no_tuples():
    design = pd.DataFrame({"A": [1.0, 1, 0, 0], "B": [0.0, 0, 1, 1]})
    assert contrast_matrix("A - B", design).to_numpy().ravel().tolist() == [1, -1]
    with pytest.raises(DesignError, match="needs a design made from a formula"):
        contrast_matrix(("g", "A", "B"), design)


def test_a_name_that_reads_two_ways_needs_backticks():
    design = pd.DataFrame({"A": [1.0, 1, 0, 0], "B": [0.0, 0, 1, 0], "A-B": [0.0, 0, 0, 1]})
    with pytest.raises(FormulaError, match="can also be read as 'A'"):
        contrast_matrix("A-B + B", design)
    assert contrast_matrix("`A-B` + B", design).to_numpy().ravel().tolist() == [0, 1, 1]
    assert contrast_matrix("A - B", design).to_numpy().ravel().tolist() == [1, -1, 0]
