"""What was validated and explained, taken up again from an AnnData."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from .. import get
from ..bridge import keys
from ..bridge.extract import fingerprint
from ..core.errors import ColumnNotFoundError, DataWarning, StaleResultError
from ..core.schema import Cohort
from .models import _cohort, _lists, as_validated

if TYPE_CHECKING:
    from anndata import AnnData


def validated(adata: AnnData, key: str) -> tuple[Cohort, dict[str, Any]]:
    """The whole study as it was validated under a key, and what is stored of that.

    Raises
    ------
    ColumnNotFoundError
        If nothing was validated under ``key``.
    StaleResultError
        If the data changed since.
    """
    stored = adata.uns.get(key)
    if not isinstance(stored, dict) or "params" not in stored or "folds" not in stored:
        raise ColumnNotFoundError(
            f"Nothing was validated under {key!r}. Run gb.tl.classify(adata, target, key_added={key!r}) first."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the samples dropped were reported when they were validated
        cohort = as_validated(_cohort(adata, stored["kind"], _lists(dict(stored["params"]))), stored)
    if fingerprint(cohort) != stored["fingerprint"]:
        raise StaleResultError(f"The data or the target changed since {key!r} was validated. Run the validation again.")
    return cohort, stored


def explained(adata: AnnData, key: str) -> tuple[Cohort, dict[str, sparse.csr_matrix], np.ndarray]:
    """The samples of the cross-validation, their SHAP values by output, and the share of folds that chose each gene.

    Raises
    ------
    ColumnNotFoundError
        If nothing was validated, or explained, under ``key``.
    StaleResultError
        If the data changed since, or the explanation is of another validation.
    """
    cohort, stored = validated(adata, key)
    name = keys.shap(key)
    about = adata.uns.get(name)
    if not isinstance(about, dict) or "outputs" not in about:
        raise ColumnNotFoundError(
            f"The models under {key!r} were not explained, and SHAP values are needed. Run gb.tl.explain(adata, key={key!r}) first."
        )
    cohort = cohort.take(cohort.samples.isin(stored["folds"]["sample"].astype(str)))
    rows = pd.Index(adata.obs_names.astype(str)).get_indexer(cohort.samples)
    values = {
        str(out): sparse.csr_matrix(get.shap_values(adata, key, output=str(out)))[rows] for out in about["outputs"]
    }
    frequency = adata.var[keys.selected(key)].to_numpy(float)
    return cohort, values, np.nan_to_num(frequency)
