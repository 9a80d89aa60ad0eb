"""Which block a column of another contrast is in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geneml_bio.core.detable import DETable
from geneml_bio.core.gene_blocks import INDEPENDENT, OTHERS, Sources, assemble, make_plan


def _table(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.normal(size=(80, 2)), columns=["logFC", "t"], index=[f"g{i}" for i in range(80)])
    return frame.assign(**{"P.Value": rng.random(80)})


@pytest.mark.parametrize("names", [("drug", "drug:day"), ("drug:day", "drug")])
def test_a_contrast_called_like_the_beginning_of_another_keeps_its_own_block(names):
    contrasts = {name: DETable(_table(k + 1)) for k, name in enumerate(names)}
    # the table has a column of that name itself
    frame = _table(0).assign(**{"drug:t": np.random.default_rng(9).normal(size=80)})
    sources = Sources(frame, contrasts=contrasts)
    raw = assemble(sources, "logFC")
    for shared, block in ((True, OTHERS), (False, INDEPENDENT)):
        said = {"drug": not shared, "drug:day": shared}
        plan, _, predictors = make_plan(sources, "logFC", raw, shared=said)
        found = predictors.set_index("predictor")["block"]
        other = INDEPENDENT if shared else OTHERS
        assert found["drug:day:logFC"] == found["drug:day:t"] == block
        assert found["drug:logFC"] == found["contrast:drug:t"] == other
        assert "drug:day:logFC" in plan.blocks[block]
