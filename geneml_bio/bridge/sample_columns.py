"""Columns of a text matrix that describe its samples and are no genes, though they hold numbers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import ColumnNotFoundError, DataWarning, near

if TYPE_CHECKING:
    from anndata import AnnData

_UNITS = r"([ _.-]?(time|days?|weeks?|months?|years?|status|event))?"
_ABOUT_SAMPLES = re.compile(
    rf"age{_UNITS}|sex|gender|batch|plate|lane|cent(er|re)|site|stage|grade|bmi|weight|height|dose|time|days?|weeks?|months?|years?|"
    rf"(survival|os|pfs|dfs|follow[ _.-]?up){_UNITS}|status|event|id|index|rin|treatment|group|"
    r"(lib(rary)?|sequencing)[ _.-]?(size|depth)|(n|total)[ _.-]?(counts|genes|reads|umis?)|(percent|pct)[ _.-]?(mt|mito|ribo)|"
    r"((patient|donor|subject|sample|mouse|animal)([ _.-]?(id|no|number|nr))?)|unnamed: \d+",
    re.IGNORECASE,
)


def set_aside(adata: AnnData, names: Iterable[str]) -> AnnData:
    """A copy in which columns that were read as genes describe the samples (of a text matrix, a donor's number is one)."""
    from anndata import AnnData

    moved = [name for name in dict.fromkeys(names) if name not in adata.obs and name in adata.var_names]
    if not moved or "source" not in adata.uns:
        return adata
    kept = ~adata.var_names.isin(moved)
    X = np.asarray(adata.X)
    values = {name: X[:, adata.var_names.get_loc(name)] for name in moved}
    whole = {name: bool(np.isfinite(v).all() and (v == np.rint(v)).all()) for name, v in values.items()}
    obs = adata.obs.assign(**{name: v.astype(np.int64) if whole[name] else v for name, v in values.items()})
    return AnnData(adata.X[:, kept], obs=obs, var=adata.var[kept], uns=dict(adata.uns))


def require(adata: AnnData, names: Iterable[str]) -> None:
    """Refuse names that are no columns of the samples."""
    lost = [name for name in names if name not in adata.obs]
    if lost:
        raise ColumnNotFoundError(
            f"obs= names {lost[0]!r}, which is no column of the source.{near(lost[0], [*adata.obs.columns, *adata.var_names])}"
        )


def tell(adata: AnnData) -> None:
    """Warn of genes of a text matrix whose names say that they are none."""
    odd = [name for name in adata.var_names if _ABOUT_SAMPLES.fullmatch(name)] if "source" in adata.uns else []
    if odd:
        warnings.warn(
            f"Taken for genes, though their names say that they describe the samples: {', '.join(map(repr, odd[:5]))}"
            f"{', ...' if len(odd) > 5 else ''}. Say that they are none: obs={odd[:5]!r} in gb.read.expression, or --obs (--groups, "
            "--batch, --covariates) on the command line.",
            DataWarning,
            stacklevel=3,
        )
