"""Slips of a hurried user: each is refused before any work, by an error that says what was meant."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

import geneml_bio as gb

sys.path.insert(0, str(Path(__file__).parent / "pl"))
import result_studies

FAST = {"models": "logistic", "n_splits": 3, "n_repeats": 1, "tune": False, "n_jobs": 1, "progress": False}


@pytest.fixture(scope="module")
def whole():
    adata = result_studies.expression(("a", "b"), n=24, p=20)
    adata.obs["donor"] = [f"d{i // 2}" for i in range(24)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        gb.tl.limma(adata, "~ 0 + dx", contrast=("dx", "b", "a"), key_added="mine")
        result = gb.tl.classify(adata, "dx", key_added="second", **FAST)
        gb.tl.explain(adata, result, key="second", progress=False)
    return adata


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda a: gb.tl.classify(a, "dx", groups=a.obs["donor"], **FAST), "got Series: groups='donor'"),
        (lambda a: gb.tl.classify(a, "dx", groups=["donor"], **FAST), "got list: groups='donor'"),
        (lambda a: gb.tl.classify(a, "dx", batch=["donor", "dx"], **FAST), "batch= takes the name of one column"),
        (lambda a: gb.tl.classify(a, a.obs["dx"], **FAST), "target='dx'"),
        (lambda a: gb.tl.classify(a, None, **FAST), "target= takes the name"),
        (lambda a: gb.tl.classify(a, "dx", covariates=a.obs["donor"], **FAST), "covariates= takes names of columns"),
        (lambda a: gb.tl.limma(a, "~ 0 + dx", contrast=("dx", "b", "a"), block=["donor"], engine="r"), "block='donor'"),
        (lambda a: gb.tl.knockoffs(a, "dx", groups=["donor"]), "groups='donor'"),
        (lambda a: gb.tl.knockoffs(a, "dx", seed=-1), "seed must be a whole number"),
        (lambda a: gb.tl.explain(a, "second"), "write key='second'"),
        (lambda a: gb.tl.fit(a, "second", key="second"), "write key='second'"),
        (lambda a: gb.tl.learning_curve(a, "second", key="second"), "write key='second'"),
        (lambda a: gb.tl.learning_curve(a, key="second", models=[]), "models is empty"),
        (lambda a: gb.tl.biomarkers(a, alpha="x", de="mine"), "alpha must be a number"),
        (lambda a: gb.tl.biomarkers(a, n_used=1.5, de="mine"), "n_used must be a whole number"),
        (lambda a: gb.pp.pseudobulk(a, by=5), "by= takes names of columns"),
        (lambda a: gb.report(a, "report.pdf", key="second"), "name it .html"),
        (lambda a: gb.report(a, ".", key="second"), "a folder"),
    ],
)
def test_the_slip_is_named(whole, call, said):
    before = list(whole.uns), list(whole.obs), list(whole.var)
    with pytest.raises(gb.errors.InputError) as caught:
        call(whole)
    assert said in str(caught.value)
    assert (list(whole.uns), list(whole.obs), list(whole.var)) == before


@pytest.mark.parametrize("wrong", [{"alpha": 2}, {"alpha": "x"}, {"gene_symbols": "nope"}])
def test_run_refuses_before_any_model_is_fitted(whole, monkeypatch, wrong):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a model was fitted first")

    monkeypatch.setattr(gb.tl, "classify", never)
    with pytest.raises(gb.errors.GenemlError):
        gb.run(whole, "dx", **FAST, **wrong)


def test_evidence_under_another_name_is_pointed_to(whole, tmp_path):
    study = whole.copy()
    with pytest.warns(gb.errors.DataWarning, match="none under 'limma', but under 'mine': de='mine'"):
        gb.tl.biomarkers(study, model="second")
    assert "de='mine'" in study.uns["biomarkers"]["missing_evidence"]
    with pytest.warns(gb.errors.DataWarning, match="none under 'classify', but under 'second': model='second'"):
        gb.tl.biomarkers(study, de="mine")
    with pytest.warns(
        gb.errors.DataWarning, match="The report has no models: none under 'classify', but .* key='second'"
    ):
        gb.report(study, tmp_path / "report.html", de="mine")


def test_only_what_is_public_is_offered():
    for module in (gb.get, gb.datasets):
        assert all(getattr(module, name).__module__ == module.__name__ for name in module.__all__)
