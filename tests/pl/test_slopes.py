"""A fold change by one unit of a number is as small as the unit: figures and tables show it all the same."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import result_studies

import geneml_bio as gb
from geneml_bio.pl._style import interval
from geneml_bio.report import words
from geneml_bio.summary_parts import number

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))
from pages import page


@pytest.fixture(scope="module")
def doses():
    """Dose in units so small that no gene changes by 0.01 for one of them."""
    adata = result_studies.expression(("a", "b"), n=30, p=40, effect=0.0)
    dose = np.random.default_rng(2).uniform(0, 2000, 30)
    adata.X[:, 0] += dose / 500
    adata.obs["dose in mg"] = dose
    gb.tl.limma(adata, "~ `dose in mg`", contrast={"`dose in mg`": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.DataWarning)
        gb.tl.biomarkers(adata, model=None)
    return adata


def test_axes_reach_as_far_as_the_slopes_and_name_the_unit(doses):
    largest = gb.get.de(doses)["logFC"].abs().max()
    assert largest < 0.01
    volcano, ma = gb.pl.volcano(doses), gb.pl.ma(doses)
    for reach, label in ((volcano.get_xlim()[1], volcano.get_xlabel()), (ma.get_ylim()[1], ma.get_ylabel())):
        assert largest < reach < 1.5 * largest
        assert " ".join(label.split()) == "log fold change by one unit of dose in mg (logFC)"


def test_groups_keep_an_axis_of_one_at_least(doses):
    groups = doses.copy()
    gb.tl.limma(groups, "~ 0 + dx", contrast=("dx", "b", "a"))
    ax = gb.pl.volcano(groups)
    assert ax.get_xlim()[1] >= 1
    assert ax.get_xlabel() == "log fold change (logFC)"


def test_numbers_are_not_rounded_to_nothing(doses, tmp_path):
    top = gb.get.biomarkers(doses).iloc[0]
    text = gb.export(doses, tmp_path / "top.tex", top=1).read_text(encoding="utf-8")
    assert f"{top['logFC']:.2g} " in text
    assert f"{top['logFC']:.2g}" in gb.export(doses, tmp_path / "top.html", top=1).read_text(encoding="utf-8")
    read = page(gb.report(doses, tmp_path / "report.html"))
    shown, low, high = (words.significant(top[name], 2) for name in ("logFC", "CI.L", "CI.R"))
    assert float(low) > 0
    assert f"{shown} {low} to {high}" in read.words
    assert "`" not in read.words.partition("Genes")[0]


def test_nothing_is_minus_nothing():
    assert number(-0.001) == interval(-0.001, np.nan, np.nan) == "0.00"
    assert interval(-0.004, -0.94, 0.93) == "0.00 [-0.94, 0.93]"
