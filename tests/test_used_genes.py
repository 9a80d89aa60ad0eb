"""Which genes count as used: where permuted targets were run, chance has a say; where not, the count is only a count."""

from __future__ import annotations

import re
import warnings

import pytest

import geneml_bio as gb
from geneml_bio.report import render
from geneml_bio.report.content import Keys, gather
from geneml_bio.report.figures import placed

HOW = {
    "models": "logistic",
    "screen": 150,
    "n_splits": 4,
    "n_repeats": 1,
    "tune": False,
    "n_jobs": 1,
    "progress": False,
}


def evidence(n_informative: int, n_permutations: int, seed: int = 0):
    adata = gb.datasets.simulate(60, 600, n_informative=n_informative, effect=1.5, seed=seed)
    validation = gb.tl.classify(adata, "target", **HOW, n_permutations=n_permutations)
    gb.tl.explain(adata, validation, progress=False)
    gb.tl.limma(adata, "~ 0 + target", contrast="targetcase - targetcontrol", engine="native")
    return adata


def table_of(adata, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return gb.tl.biomarkers(adata, **more)


def used(table):
    return table.index[table["class"].isin(["DE and used", "used, not DE", "unstable", "DE, redundant"])]


@pytest.fixture(scope="module")
def signal():
    return evidence(20, 20)


def test_nothing_is_found_in_nothing():
    counts, filled = [], []
    for seed in range(4):
        adata = evidence(0, 20, seed)
        counts.append(len(used(table_of(adata))))
        filled.append(len(used(table_of(adata, max_q=None))))
    assert min(filled) == 100
    assert sorted(counts)[1] == 0  # chance calls some now and then
    assert sum(counts) <= 20


def test_what_is_there_is_kept_and_the_settings_say_what_was_asked(signal):
    table = table_of(signal)
    true = set(signal.var_names[signal.var["informative"]])
    assert table.attrs["settings"]["max_q"] == 0.1
    assert len(true & set(used(table))) >= 15
    assert len(set(used(table)) - true) <= 5
    called = table.loc[used(table)]
    assert (called["empirical_q"] <= 0.1).all()
    assert (called["shap_rank"] <= 100).all()
    alone = table_of(signal, max_q=None)
    assert "max_q" not in alone.attrs["settings"]
    assert len(used(alone)) == 100
    assert len(used(table_of(signal, max_q=0.06))) <= len(called)


@pytest.mark.parametrize("n_permutations", [0, 3])
def test_without_enough_permuted_targets_there_is_no_limit(n_permutations):
    adata = evidence(20, n_permutations)
    table = table_of(adata)
    assert "max_q" not in table.attrs["settings"]
    assert len(used(table)) == 100


def test_a_word_that_is_no_limit_is_refused_and_nothing_is_written(signal):
    before = signal.uns.pop("biomarkers", None)
    with pytest.raises(gb.errors.InputError, match="'auto', a number"):
        gb.tl.biomarkers(signal, max_q="strict")
    assert "biomarkers" not in signal.uns
    if before is not None:
        signal.uns["biomarkers"] = before


def page_of(adata) -> str:
    return re.sub(r"\s+", " ", render(gather(adata, Keys(), None) | {"figures": placed({})}))


def test_the_report_says_which_it_is(signal):
    table = table_of(signal)
    page = page_of(signal)
    count = len(used(table))
    assert f"{count} genes that they relied on most (with an empirical q up to 0.1)" in page
    assert "has an empirical q-value of at most 0.1" in page
    table_of(signal, max_q=None)
    page = page_of(signal)
    assert "Of the 100 genes that they relied on most," in page
    assert "a count, which is filled whatever there is" in page
