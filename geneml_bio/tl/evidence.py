"""DE evidence and model evidence in one table."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from .. import get
from ..bridge import keys
from ..bridge.anndata import attach, biomarker_writes, check_free
from ..bridge.extract import check_writable
from ..core.biomarkers import biomarker_table
from ..core.errors import AuditWarning, DataWarning
from .join import unique_names

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def biomarkers(
    adata: AnnData,
    *,
    de: str | None = "limma",
    model: str | None = "classify",
    alpha: float = 0.05,
    min_frequency: float = 0.5,
    n_used: int = 100,
    key_added: str = "biomarkers",
) -> pd.DataFrame:
    """DE evidence and model evidence in one table, a gene a row, the strongest first.

    Parameters
    ----------
    adata
        With results of :func:`limma` or :func:`add_de`, and of :func:`classify` and :func:`explain`.
    de, model
        Their keys; None, or a key under which nothing is stored, leaves that evidence out (a warning says so).
    alpha
        A gene is DE where ``adj.P.Val`` is at most this.
    min_frequency
        A used gene that is chosen in a smaller share of folds is called unstable.
    n_used
        A gene is used where it is among this many with the largest mean absolute SHAP.
    key_added
        Name of the results.

    Returns
    -------
    Frame ``rank class logFC AveExpr t P.Value adj.P.Val B shap shap_rank direction agreement selection_frequency n_models``,
    and in ``adata``: ``.varm[key_added]`` (the same, in the order of the genes), ``.uns[key_added]`` (settings, evidence missing).

    Raises
    ------
    InputError
        If there is neither DE nor model evidence.
    """
    check_writable(adata)
    key = keys.check_key(key_added)
    check_free(adata, key, "biomarkers")
    unique_names(adata)
    missing = []
    frames: dict[str, Any] = {"de": None, "shap": None, "frequency": None}
    if de is not None and keys.de_column(de, "P.Value") in adata.var:
        frames["de"] = get.de(adata, key=de)
        if (
            adata.uns.get(de, {}).get("kind") == "F"
        ):  # a joint test: a logFC beside it is not what its p-values speak of
            frames["de"] = frames["de"].drop(columns="logFC", errors="ignore")
    else:
        missing.append("DE statistics (gb.tl.limma or gb.tl.add_de)")
    if model is not None and keys.shap(model) in adata.uns:
        frames["shap"] = get.shap(adata, key=model)
        frames["frequency"] = adata.var[keys.selected(model)]
    else:
        missing.append("out-of-fold SHAP values (gb.tl.classify, then gb.tl.explain)")
    asked: dict[str, Any] = {"alpha": alpha, "min_frequency": min_frequency, "n_used": n_used}
    table = biomarker_table(adata.var_names.astype(str), **frames, **asked)
    for what in missing:
        warnings.warn(f"The biomarker table has no {what}.", DataWarning, stacklevel=2)
    about = adata.uns.get(model, {}) if frames["shap"] is not None else {}
    if not about.get("better_than_chance", True):
        warnings.warn(str(about["verdict"]), AuditWarning, stacklevel=2)
    found = [_opposite(table), _dependent(adata, de, model), _uncovered(table) if frames["de"] is not None else ""]
    read = _read_with(adata, de) if frames["de"] is not None else []
    for words in filter(None, found):
        warnings.warn(words, AuditWarning, stacklevel=2)
    cautions = [*filter(None, found), *read]  # what the reader said it has warned of
    settings = {
        "cautions": " ".join(cautions) or None,
        "verdict": about.get("verdict"),
        **asked,
        "de": de,
        "model": model,
        "missing_evidence": "; ".join(missing) or None,
    }
    attach(adata, biomarker_writes(adata, table, settings, key))
    return table


def _read_with(adata: AnnData, de: str | None) -> list[str]:
    """What was said of the DE table as it was read: cut, filtered, columns that do not fit each other."""
    return [f"The DE table: {str(note).rstrip('.')}." for note in adata.uns.get(de, {}).get("warnings", [])]


def _uncovered(table: pd.DataFrame) -> str:
    """Genes of which the DE table says nothing are not genes that do not differ."""
    if "adj.P.Val" not in table or not table["adj.P.Val"].notna().any():
        return "The DE table has no adjusted p-values: which genes are DE is not known, and none is called."
    lacking, used = table["adj.P.Val"].isna(), table["class"] == "used, DE unknown"
    if not used.any() and lacking.mean() < 0.1:
        return ""
    return (
        f"The DE table covers {(~lacking).sum():,} of {len(table):,} genes. Of the others it says nothing"
        + (f", {used.sum()} used genes among them" if used.any() else "")
        + ": that they differ, or do not, is not known."
    )


def _opposite(table: pd.DataFrame) -> str:
    """A DE table of the opposite comparison shows in the signs of nearly all genes."""
    signs = table.loc[table["class"] == "DE and used", "agreement"]
    signs = signs[signs != ""]
    if len(signs) < 3 or (signs == "conflict").mean() < 0.8:
        return ""
    return (
        f"{(signs == 'conflict').sum()} of {len(signs)} genes that are DE and used have opposite signs in the DE table and in the "
        "model: the table seems to hold the opposite contrast (reference minus positive class)."
    )


def _dependent(adata: AnnData, de: str | None, model: str | None) -> str:
    """Limma takes samples as independent; several of one donor are not."""
    groups = adata.uns.get(model, {}).get("params", {}).get("groups") if model else None
    made_here = "design" in adata.uns.get(de, {}) if de else False
    if not groups or not made_here or groups not in adata.obs or adata.uns[de].get("block") == groups:
        return ""
    samples, donors = adata.obs[groups].notna().sum(), adata.obs[groups].nunique()
    if donors == samples:
        return ""
    return (
        f"limma took the {samples} samples as independent, but they come from {donors} groups ({groups}): its p-values are too "
        "small, possibly by far. Sum up the samples of a group first, or bring a DE table that accounts for them."
    )
