"""Designs against R's model.matrix, contrasts, and what formulas must not do."""

from __future__ import annotations

import os
import sys

import numpy as np
import pandas as pd
import pytest

from geneml_bio.core.contrasts import contrast_matrix
from geneml_bio.core.design import design_matrix
from geneml_bio.core.errors import ColumnNotFoundError, DesignError, FormulaError, GenemlError


def samples() -> pd.DataFrame:
    k = np.arange(24)
    frame = pd.DataFrame(index=[f"s{i}" for i in k])
    frame["a"] = pd.Categorical(np.array(["ref", "alt"])[k % 2], ["ref", "alt"])
    frame["b"] = np.array(["y", "x", "Z"])[(k // 2) % 3]  # in the C locale Z sorts before x
    frame["c"] = pd.Categorical(np.array([3, 1])[(k // 6) % 2], [3, 2, 1])  # 2 is not used
    frame["n"] = (k * 7) % 11 + 0.5
    frame["m"] = (k * 5) % 13
    frame["l"] = (k * k) % 5 < 2
    frame["o"] = pd.Categorical(np.array(["lo", "hi"])[(k // 12) % 2], ["lo", "hi"], ordered=True)
    frame["my var"] = np.array(["p", "q"])[(k // 3) % 2]
    frame["mol.biol"] = pd.Categorical(np.array(["NEG", "BCR/ABL"])[(k // 4) % 2], ["NEG", "BCR/ABL"])
    frame["_u"] = (k * 3) % 7
    frame["if"] = (k * 11) % 17
    frame["x:y"] = (k * 9) % 19
    return frame


IN_R = """
k <- 0:23
d <- data.frame(a = factor(c("ref", "alt")[k %% 2 + 1], levels = c("ref", "alt")), row.names = paste0("s", k))
d$b <- factor(c("y", "x", "Z")[(k %/% 2) %% 3 + 1], levels = c("Z", "x", "y"))
d$c <- factor(c(3, 1)[(k %/% 6) %% 2 + 1], levels = c(3, 1))
d$n <- (k * 7) %% 11 + 0.5
d$m <- (k * 5) %% 13
d$l <- (k * k) %% 5 < 2
d$o <- factor(c("lo", "hi")[(k %/% 12) %% 2 + 1], levels = c("lo", "hi"))
d[["my var"]] <- factor(c("p", "q")[(k %/% 3) %% 2 + 1])
d[["mol.biol"]] <- factor(c("NEG", "BCR/ABL")[(k %/% 4) %% 2 + 1], levels = c("NEG", "BCR/ABL"))
d[["_u"]] <- (k * 3) %% 7
d[["if"]] <- (k * 11) %% 17
d[["x:y"]] <- (k * 9) %% 19
"""

FORMULAS = [
    *(
        "~ a",
        "~ b",
        "~ c",
        "~ l",
        "~ n",
        "~ o",
        "~ 1",
        "~ 0 + a",
        "~ a - 1",
        "~ -1 + a",
        "~ 0 + n",
        "~ a + 1",
        "~ a - 0",
    ),
    *("~ a + b", "~ 0 + a + b", "~ 0 + n + a", "~ n + b + l", "~ 0 + l + b", "~ a + a", "~ b + a", "~0+b+c+n"),
    *("~ a * b", "~ a:b - 1", "~ 0 + a:b", "~ a + a:b", "~ b + a:b", "~ a * b - a", "~ a * b - b", "~ a * b - a:b"),
    *("~ a * n", "~ a:n", "~ n + a:n", "~ 0 + a:n", "~ 0 + a + a:n", "~ n:m", "~ n * m", "~ n * l", "~ a:n + b:n"),
    *("~ a * b * n", "~ a * b + n", "~ (a + b) * n", "~ (a + b):n", "~ (a + b) * n - a:n", "~ a * (b + n)", "~ ((a))"),
    *(
        "~ a * b * c",
        "~ a:b:n - 1",
        "~ a * b:n",
        "~ a + b + n - b",
        "~ (a + b + n) - b",
        "~ a + b - (a + n)",
        "~ n:a + b",
    ),
    *(
        "~ a * 1 - 1".replace(" * 1", ""),
        "~ 0 + a + b - b",
        "~ 1 - 1 + a",
        "~ -a + a",
        "~ +a",
        "~ b:l - 1",
        "~ l:a + b",
    ),
    *(
        "~ `my var`",
        "~ 0 + `my var` + n",
        "~ `my var`:n",
        "~ `a` + `b`",
        "~ mol.biol",
        "~ 0 + mol.biol + a",
        "~ `mol.biol`",
    ),
    *("~ `_u`", "~ `if` + a", "~ `x:y`", "~ `x:y`:a", "~ n:b + a:n", "~ a + n:m + b", "~ 0 + n:a + b", "~ l * a * n"),
]


@pytest.mark.r
@pytest.mark.parametrize("formula", FORMULAS)
def test_design_equals_rs_model_matrix(formula, fresh_r):
    fresh_r(IN_R)
    theirs = fresh_r.frame(f"model.matrix({formula}, d)")
    try:
        ours = design_matrix(formula, samples())
    except DesignError:
        rank = fresh_r.numbers(f"qr(model.matrix({formula}, d))$rank")[0]
        assert rank < theirs.shape[1], "refused, though R can estimate it"
        return
    assert list(ours.columns) == list(theirs.columns)
    assert list(ours.index) == list(theirs.index)
    np.testing.assert_array_equal(ours.to_numpy(), theirs.to_numpy(dtype=float))


@pytest.mark.parametrize(
    ("formula", "columns"),
    [
        ("~ a", ["(Intercept)", "aalt"]),
        ("~ 0 + a + b", ["aref", "aalt", "bx", "by"]),
        ("~ c + l", ["(Intercept)", "c1", "lTRUE"]),
        ("~ 0 + l", ["lFALSE", "lTRUE"]),
        ("~ a:b - 1", ["aref:bZ", "aalt:bZ", "aref:bx", "aalt:bx", "aref:by", "aalt:by"]),
        ("~ a * n", ["(Intercept)", "aalt", "n", "aalt:n"]),
        ("~ 0 + mol.biol", ["mol.biolNEG", "mol.biolBCR/ABL"]),
        ("~ `my var`", ["(Intercept)", "`my var`q"]),
        ("a", ["(Intercept)", "aalt"]),
    ],
)
def test_columns_have_rs_names(formula, columns):
    design = design_matrix(formula, samples())
    assert list(design.columns) == columns
    assert list(design.index) == list(samples().index)
    assert (design.dtypes == np.float64).all()


def test_levels_are_those_used_in_their_order():
    obs = samples().iloc[:4].drop(columns="c")
    obs["g"] = pd.Categorical(["u", "v", "w", "v"], ["w", "zzz", "v", "u"])
    obs["h"] = pd.array([True, False, True, False], dtype="boolean")
    obs["i"] = pd.array([1, 2, 3, 5], dtype="Int64")
    assert list(design_matrix("~ g", obs).columns) == ["(Intercept)", "gv", "gu"]
    assert list(design_matrix("~ h + i", obs).columns) == ["(Intercept)", "hTRUE", "i"]
    np.testing.assert_array_equal(design_matrix("~ i", obs)["i"], [1, 2, 3, 5])


# -- refusals ----------------------------------------------------------------------------------------------------------

HOSTILE = [
    "~ __import__('os').system('touch {path}')",
    "~ {{__import__('os').system('touch {path}')}}",
    "~ I(system('touch {path}'))",
    '~ I(system("touch {path}"))',
    "~ a + system('touch {path}')",
    "~ a; system('touch {path}')",
    "~ a\nsystem('touch {path}')",
    "~ `a` + `system('touch {path}')`",
    "~ `__import__('os').system('touch {path}')`",
    "~ eval(parse(text = 'file.create(\"{path}\")'))",
    "~ a + (function() file.create('{path}'))()",
    "~ file.create('{path}')",
    "~ Q('a')",
    "~ C(a, Treatment)",
    "~ a + np.log(n)",
    "~ a$b",
    "~ a[1]",
    "~ a@b",
    "~ obs['a']",
    '~ "a"',
    "~ 'a'",
    "~ a\\b",
    "~ \\(x) x",
    "~ a -> b",
    "~ a <- 1",
    "~ a = 1",
    "~ a %in% b",
    "~ a ^ 2",
    "~ a / b",
    "~ a | b",
    "~ a & b",
    "~ !a",
    "~ -- a",
    "~ .",
    "~ .. + a",
    "~ a.__class__",
    "~ lambda x: x",
    "~ a if b else c",
    "~ 2",
    "~ 1e5",
    "~ a:1",
    "~ 0:a",
    "~ (a - 1):b",
    "~ a ~ b",
    "y ~ a",
    "~",
    "",
    "~ 0",
    "~ a -",
    "~ (a",
    "~ a)",
    "~ ()",
    "~ a b",
    "~ `a",
    "~ ``",
    "~ a # b",
    "~ a\x00",
    "~ ${{HOME}}",
    "~ $(touch {path})",
    "~ " + "(" * 100 + "a" + ")" * 100,
    "~ " + " * ".join(f"v{i}" for i in range(40)),
    "~ a" + " + a" * 5000,
]


@pytest.mark.parametrize("payload", HOSTILE, ids=range(len(HOSTILE)))
def test_formulas_beyond_the_grammar_are_refused_and_do_nothing(payload, tmp_path):
    path = tmp_path / "touched"
    loaded, home = set(sys.modules), os.getcwd()
    text = payload.format(path=path) if "{" in payload else payload
    with pytest.raises((FormulaError, ColumnNotFoundError)):
        design_matrix(text, samples())
    with pytest.raises(GenemlError):
        contrast_matrix(text, design_matrix("~ a", samples()))
    assert not path.exists()
    assert os.getcwd() == home
    assert not {name for name in set(sys.modules) - loaded if name.split(".")[0] in ("rpy2", "patsy", "formulaic")}


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("~ factor(a)", r"'factor\(' looks like a function"),
        ("~ a ^ 2", r"'\^ 2' is not allowed"),
        ("y ~ a", "response is the expression matrix"),
        ("~ a:1", "'1' cannot stand inside"),
        (("a",), "a string such as"),
    ],
)
def test_a_refusal_names_the_part(formula, message):
    with pytest.raises(FormulaError, match=message):
        design_matrix(formula, samples())


def test_a_missing_column_is_named_with_its_neighbours():
    with pytest.raises(ColumnNotFoundError, match=r"'mol_biol'.*Did you mean 'mol.biol'"):
        design_matrix("~ mol_biol", samples())


def test_gaps_are_counted():
    obs = samples()
    obs.loc[["s0", "s5"], "a"] = np.nan
    obs.loc["s3", "n"] = np.nan
    with pytest.raises(DesignError, match=r"'a' has 2 of 24, 'n' has 1 of 24"):
        design_matrix("~ a + n + b", obs)
    assert design_matrix("~ b", obs).shape == (24, 3)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (["same"] * 24, "only one level"),
        ([np.inf] + [1.0] * 23, "infinite"),
        (pd.to_datetime(["2020-01-01"] * 24), "datetime64"),
        (pd.Series([1, "x"] * 12, dtype=object), "mixed"),
        (pd.Categorical([1, "1"] * 12), "look the same"),
        ([1j] * 24, "complex"),
    ],
)
def test_columns_that_are_no_design_columns(column, message):
    obs = samples()
    obs["z"] = column if not isinstance(column, pd.Series) else column.to_numpy()
    with pytest.raises(DesignError, match=message):
        design_matrix("~ z", obs)


def test_confounding_names_the_columns():
    obs = samples()
    obs["batch"] = np.where(obs["a"] == "alt", "two", "one")
    with pytest.raises(DesignError, match=r"'batchtwo' cannot be estimated, because it follows from 'aalt'"):
        design_matrix("~ a + batch", obs)
    obs["id"] = [f"i{k}" for k in range(24)]
    with pytest.raises(DesignError, match="25 coefficients for 24 samples"):
        design_matrix("~ id + n", obs)
    twice = pd.concat([samples(), samples()["a"]], axis=1)
    with pytest.raises(DesignError, match="2 columns called 'a'"):
        design_matrix("~ a", twice)


def test_an_unseen_combination_is_named():
    obs = samples()
    obs = obs[~((obs["a"] == "alt") & (obs["b"] == "x"))]
    with pytest.raises(DesignError, match=r"'aalt:bx'.*no sample has it"):
        design_matrix("~ a * b", obs)


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
