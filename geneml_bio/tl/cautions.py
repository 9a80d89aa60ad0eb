"""What a reader of the biomarker table has to be told before it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def found_in(adata: AnnData, table: pd.DataFrame, de: str | None, model: str | None) -> tuple[list[str], list[str]]:
    """Cautions found now, and those that were given as the DE table was read; ``de`` None: without DE evidence."""
    found = [_opposite(table), _dependent(adata, de, model), _uncovered(table) if de is not None else ""]
    return [words for words in found if words], _read_with(adata, de) if de is not None else []


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
        "model: the table seems to hold the opposite contrast (reference minus positive class). Turn one of them round before you read "
        "the signs: contrast= of gb.tl.limma, or reference= of gb.tl.classify."
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
