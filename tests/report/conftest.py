from __future__ import annotations

import sys
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
