"""What of streamed results is written for every sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from . import keys
from .anndata import Write


def streamed_writes(
    adata: AnnData, values: np.ndarray, classes: tuple[str, ...], test: np.ndarray | None, fold: np.ndarray, key: str
) -> list[Write]:
    """Held-out predictions, and sides, of every sample, where only some of them are in the table of predictions."""
    if classes:
        code = np.where(np.isnan(values[:, 0]), -1, np.nan_to_num(values).argmax(axis=1))
        label: Any = pd.Categorical.from_codes(code, categories=pd.Index(classes))
        frame = pd.DataFrame(values, index=adata.obs_names, columns=[keys.escape(c) for c in classes])
    else:
        label, frame = values, pd.DataFrame({"prediction": values}, index=adata.obs_names)
    writes: list[Write] = [("obs", keys.pred(key), label), ("obsm", keys.oof(key), frame)]
    if test is None:
        return writes
    side = np.where(test, 1, np.where(fold >= 0, 0, -1))
    return [*writes, ("obs", keys.side(key), pd.Categorical.from_codes(side, categories=pd.Index(["train", "test"])))]
