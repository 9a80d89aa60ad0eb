"""What the report says of a regression with genes as rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import get
from ..core.gene_blocks import ALGEBRAIC, INDEPENDENT
from ..core.gene_scores import CEILING, CLOSED, MEAN, REFERENCE
from . import evidence, words

if TYPE_CHECKING:
    from anndata import AnnData

_BLOCKS = {
    INDEPENDENT: "independent of the test",
    ALGEBRAIC: "tied to the target by formula",
    REFERENCE: "needs no model",
}
_MODELS = {CLOSED: "closed form", MEAN: "mean of the training genes", CEILING: "noise ceiling"}
_SHAP = {
    "predictor": ("Predictor", "text"),
    "share": ("Share of all SHAP", "percent"),
    "shap": ("Mean |SHAP|", "number"),
    "rho": ("Rank correlation with its SHAP", "fixed"),
}


def present(adata: AnnData, key: str) -> bool:
    """Whether a gene-level regression is stored under the key."""
    stored = adata.uns.get(key)
    return isinstance(stored, Mapping) and "gene_table" in stored


def gathered(adata: AnnData, key: str) -> dict[str, Any] | None:
    """All of the section; None where it was not run."""
    if not present(adata, key):
        return None
    stored = adata.uns[key]
    table, params = get.gene_table(adata, key), dict(stored.get("params", {}))
    held = "test_r2" in table and bool(table["test_r2"].notna().any())
    rows = []
    for _, row in table.iterrows():
        test = {name: row[f"test_{name}"] for name in ("low", "high")} if held else {}
        rows.append(
            {
                "block": _BLOCKS.get(str(row["block"]), str(row["block"])),
                "name": _MODELS.get(str(row["model"]), words.model(str(row["model"]))),
                "value": words.fixed(row["r2"]),
                "interval": words.interval(row),
                "rmse": words.significant(row["rmse"]),
                "test": words.fixed(row["test_r2"]) if held else "",
                "test_interval": words.interval(test) if held else "",
            }
        )
    found = stored.get("report")
    told = (
        []
        if found is None
        else [(str(r["check"]).capitalize(), str(r["message"])) for _, r in pd.DataFrame(found).iterrows()]
    )
    shap = stored.get("shap")
    return {
        "target": str(params.get("target", "logFC")),
        "contrast": str(stored.get("contrast") or ""),
        "n_genes": int(params.get("n_genes", 0)),
        "n_test": int(params.get("n_test", 0)),
        "rows": rows,
        "held": held,
        "said": _said(table, params),
        "told": told,
        "formula": str(stored.get("formula") or ""),
        "ceiling": str(stored.get("ceiling") or ""),
        "shap": None if shap is None else evidence.plain(pd.DataFrame(shap), _SHAP),
        "params": params,
        "versions": {str(k): str(v) for k, v in dict(stored.get("versions", {})).items()},
    }


def _said(table: pd.DataFrame, params: Mapping[str, Any]) -> list[str]:
    """What the table says, in plain words."""
    target, out = str(params.get("target", "logFC")), []
    mine = table[(table["block"] == INDEPENDENT) & ~table["model"].isin([CLOSED, MEAN, CEILING])]
    if len(mine):
        best = mine.loc[mine["r2"].idxmax()]
        shown = not words.missing(best["low"]) and best["low"] > 0
        known = words.interval(best)
        out.append(
            f"From properties that are independent of the test, {target} of genes "
            f"{'can be predicted in part' if shown else 'is not shown to be predictable'}: the best R² is {words.fixed(best['r2'])}"
            f"{f' (95 % interval {known})' if known != '–' else ''}; 0 is no better than the mean."
        )
    if (table["block"] == ALGEBRAIC).any():
        out.append(
            f"Predictors that are tied to {target} by formula (t, p-values, B) score high because they are computed from the same fit. "
            "That is arithmetic, not biology; the closed form shows how far it goes without any model."
        )
    ceiling = table[table["model"] == CEILING]["r2"]
    if len(ceiling) and not words.missing(ceiling.iloc[0]):
        out.append(
            f"No model that knows only the true effects can pass R² {words.fixed(ceiling.iloc[0])}: the rest of {target} is noise."
        )
    return out
