"""An atlas that several files of tests stream, and what it gives in memory; made once."""

from __future__ import annotations

import anndata as ad
import pytest
from stream_cells import QUIET, cells

import geneml_bio as gb


@pytest.fixture(scope="session")
def atlas() -> ad.AnnData:
    return cells()


@pytest.fixture(scope="session")
def in_memory(atlas) -> ad.AnnData:
    adata = atlas.copy()
    gb.tl.classify(adata, "kind", n_splits=3, n_repeats=1, **QUIET)
    return adata
