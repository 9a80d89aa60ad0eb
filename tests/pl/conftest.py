from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

import anndata as ad
import pytest
import result_studies
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@pytest.fixture(scope="session")
def two() -> ad.AnnData:
    return result_studies.two_classes()


@pytest.fixture(scope="session")
def four() -> ad.AnnData:
    return result_studies.four_classes()


@pytest.fixture(scope="session")
def hostile() -> ad.AnnData:
    return result_studies.hostile()


@pytest.fixture(scope="session")
def numbers() -> ad.AnnData:
    return result_studies.numbers()


@pytest.fixture
def ax():
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()
