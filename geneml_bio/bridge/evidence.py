"""Evidence of more than one gene at a time, and of fewer samples, as writes to an AnnData (:mod:`geneml_bio.bridge.anndata`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ..core.errors import StorageError
from ..core.gene_groups import GeneGroups
from . import keys
from .anndata import Write, storable

MARK = "table"  # in the .uns dict of each of these results


def check_ours(adata: AnnData, name: str) -> None:
    """Refuse to overwrite something in ``.uns`` that geneml_bio has not made."""
    there = adata.uns.get(name)
    if there is not None and not (isinstance(there, Mapping) and isinstance(there.get(MARK), pd.DataFrame)):
        raise StorageError(
            f"adata.uns[{name!r}] holds something that geneml_bio has not made, which the results would destroy; rename it."
        )


def table_writes(name: str, table: pd.DataFrame, more: Mapping[str, Any]) -> list[Write]:
    """A table and its settings as one ``.uns`` dict."""
    return [("uns", name, storable({MARK: table, **more}, f"uns[{name!r}]"))]


def group_writes(adata: AnnData, result: GeneGroups, key: str) -> list[Write]:
    """Correlation groups and replacements: see docs/keys.md."""
    genes = adata.var_names.astype(str)
    label = result.label.reindex(genes)
    behind = result.behind.reindex(genes)
    stands, name = keys.stands_behind(key), keys.groups(key)
    return [
        ("var", keys.group(key), pd.Categorical(label, ["", *result.table["group"]])),
        ("var", stands, pd.Categorical(behind["stands_behind"], sorted({"", *behind["stands_behind"]}))),
        ("var", f"{stands}_r", behind["correlation"].to_numpy(np.float64)),
        *table_writes(name, result.table, {"replacements": result.replacements, **result.settings}),
    ]


def elsewhere(adata: AnnData, key: str | None, what: str, argument: str) -> str:
    """Where results of a kind (``"de"``, ``"model"``, ``"shap"``) lie, in words, if there are none under ``key``; empty for nowhere."""
    if what == "de":
        mark = keys.de_column("", "P.Value")
        found = [name.removesuffix(mark) for name in map(str, adata.var.columns) if name.endswith(mark)]
        found = [name for name in found if name in adata.uns]
    else:
        found = [name for name, about in adata.uns.items() if isinstance(about, Mapping) and "metrics" in about]
        found = [name for name in found if what == "model" or keys.shap(name) in adata.uns]
    if key is None or not found or key in found:
        return ""
    return f"none under {key!r}, but under {', '.join(map(repr, found))}: {argument}={found[0]!r}"


def other_target(adata: AnnData, knockoffs: str, model: str | None) -> str:
    """The target of stored knockoffs, if it is not that of the model beside which they are to stand; else empty."""
    about, fitted = adata.uns.get(knockoffs), adata.uns.get(model) if model else None
    asked, of = (one.get("params", {}).get("target") if isinstance(one, Mapping) else None for one in (about, fitted))
    return str(asked) if asked is not None and of is not None and str(asked) != str(of) else ""


def knockoff_writes(
    adata: AnnData, genes: np.ndarray, W: np.ndarray, q: np.ndarray, about: Mapping[str, Any], key: str
) -> list[Write]:
    """Knockoff statistics of the genes at these positions (the others: NaN), and the settings: see docs/keys.md."""
    spread = np.full((2, adata.n_vars), np.nan)
    spread[:, genes] = W, q
    names = keys.knockoff_w(key), keys.knockoff_q(key)
    return [
        *[("var", name, values) for name, values in zip(names, spread, strict=True)],
        ("uns", key, storable(dict(about), f"uns[{key!r}]")),
    ]
