from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata as ad
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "pl"))
import result_studies

import geneml_bio as gb


@pytest.fixture(scope="session")
def two() -> ad.AnnData:
    return result_studies.two_classes()


@pytest.fixture(scope="session")
def hostile() -> ad.AnnData:
    return result_studies.hostile()


@pytest.fixture(scope="session")
def two_page(two, tmp_path_factory) -> Path:
    return gb.report(two, tmp_path_factory.mktemp("two") / "report.html")


@pytest.fixture(scope="session")
def hostile_page(hostile, tmp_path_factory) -> Path:
    title = "<script>alert('title')</script> =1+1 \"quoted\""
    return gb.report(hostile, tmp_path_factory.mktemp("hostile") / "report.html", title=title)


@pytest.fixture(scope="session")
def models() -> ad.AnnData:
    """Validated only, with all there can be: a test set, donors, covariates, several models and a network."""
    adata = result_studies.expression(("healthy", "$ill$ <b>"), n=48, p=40)
    adata.obs["donor"] = [f"d{i // 2}" for i in range(48)]
    adata.obs["sex"] = ["f", "m", "m", "f"] * 12
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        gb.tl.classify(
            adata,
            "dx",
            models=["logistic", "mlp"],
            test_size=0.25,
            groups="donor",
            covariates="sex",
            n_splits=3,
            n_repeats=1,
            tune=False,
            n_permutations=2,
            n_jobs=1,
            progress=False,
        )
    return adata


@pytest.fixture(scope="session")
def models_page(models, tmp_path_factory) -> Path:
    return gb.report(models, tmp_path_factory.mktemp("models") / "report.html")
