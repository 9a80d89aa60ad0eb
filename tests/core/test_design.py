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
