"""Results that an AnnData holds -> DETable: scanpy's ``rank_genes_groups``, and our own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.detable import DETable
from ..core.errors import ColumnNotFoundError, DataWarning, InputError, TableError, near
from . import keys
from .cells import of_frame

if TYPE_CHECKING:
    from anndata import AnnData

    from .toptables import How, Result

_ADJUST = {"benjamini-hochberg": "BH", "bonferroni": "bonferroni"}


def from_h5ad(path: Path, how: How) -> Result:
    """The results in an ``.h5ad`` file; its matrix is not loaded."""
    from .matrices import read_h5ad

    adata = read_h5ad(path, backed="r")
    try:
        return from_anndata(adata, how, {"path": str(path)})
    finally:
        adata.file.close()


def from_anndata(adata: AnnData, how: How, about: Mapping[str, Any] | None = None) -> Result:
    """The results in an AnnData.

    Raises
    ------
    TableError
        If there are none, or several.
    """
    ranked = [name for name, value in adata.uns.items() if isinstance(value, Mapping) and _is_ranking(value)]
    ours = [name.removesuffix("_P.Value") for name in map(str, adata.var.columns) if name.endswith("_P.Value")]
    there = [*ranked, *(name for name in ours if name not in ranked)]
    if how.sheet is not None:
        if how.sheet not in there:
            raise ColumnNotFoundError(f"The AnnData holds no DE results {how.sheet!r}.{near(how.sheet, there)}")
        there = [how.sheet]
    # a ranking that was made from one of our own results says the same again
    made = [name for name in ranked if _params(adata.uns[name]).get("made_by") == keys.MADE_BY]
    left = [name for name in there if name not in made] or there
    if not there:
        raise TableError(
            "This AnnData holds no DE results: neither scanpy's rank_genes_groups (sc.tl.rank_genes_groups(adata, groupby)) nor "
            "those of gb.tl.limma or gb.tl.add_de."
        )
    if len(left) > 1:
        raise TableError(f"This AnnData holds several DE results: {left}. Choose one: sheet={left[0]!r}.")
    name = left[0]
    source = {"type": "AnnData", **(about or {}), "key": name}
    if name not in ranked:
        return _of_ours(adata, name, how, source)
    # a ranking of ours: what was told of the table of each group
    params = _params(adata.uns[name])
    own = params.get("keys", ()) if params.get("made_by") == keys.MADE_BY else ()
    return _of_ranking(adata.uns[name], how, source, [_stored_warnings(adata, str(key)) for key in own])


def _stored_warnings(adata: AnnData, name: str) -> list[str]:
    """What was told of a table before it was stored."""
    said = adata.uns.get(name, {})
    notes = said.get("warnings") if isinstance(said, Mapping) else None
    return [] if notes is None else [notes] if isinstance(notes, str) else [str(note) for note in notes]


def _is_ranking(value: Mapping[str, Any]) -> bool:
    names = value.get("names")
    return getattr(getattr(names, "dtype", None), "names", None) is not None and "scores" in value


def _params(ranking: Mapping[str, Any]) -> Mapping[str, Any]:
    params = ranking.get("params", {})
    return params if isinstance(params, Mapping) else {}


def _of_ranking(
    ranking: Mapping[str, Any], how: How, source: dict[str, Any], notes: Sequence[Sequence[str]] = ()
) -> Result:
    from .toptables import read_cells

    groups, params = list(ranking["names"].dtype.names), _params(ranking)
    reference = str(params.get("reference", "rest"))
    source |= {k: str(params[k]) for k in ("method", "reference", "groupby", "layer") if params.get(k) is not None}
    if "pvals" not in ranking:
        method = f" of {params['method']}" if "method" in params else ""
        raise TableError(f"This ranking{method} has no p-values; rank with method='wilcoxon' or 't-test'.")
    if "logfoldchanges" not in ranking:
        raise TableError("This ranking has p-values but no log fold changes; rank again with scanpy's defaults.")
    adjust = _ADJUST.get(str(params.get("corr_method", "")), "")

    def one(group: str) -> Any:
        cells = of_frame(_frame(ranking, group), source | {"group": group})
        cells.name = f"rank_genes_groups, {group}"
        cells.notes += notes[groups.index(group)] if len(notes) == len(groups) else []
        label = how.contrast or (f"{group} vs {reference}")
        de = read_cells(cells, replace(how, contrast=label, coef=None, by=None, sheet=None))
        if adjust:
            de.source["adjust"] = adjust  # type: ignore[union-attr,index]
        return de

    if how.by is not None:
        if how.by != "group":
            raise InputError(f"by= splits a ranking by 'group', got {how.by!r}.")
        return {group: one(group) for group in groups}
    if how.coef is None and len(groups) > 1:
        raise TableError(
            f"The ranking holds {len(groups)} groups: {groups[:12]}{' ...' if len(groups) > 12 else ''}. Choose one, "
            f"coef={groups[0]!r}, or take all as a dict, by='group'."
        )
    return one(_group(groups, how.coef))


def _group(groups: list[str], coef: Any) -> str:
    if coef is None:
        return groups[0]
    if str(coef) in groups and (isinstance(coef, str) or not isinstance(coef, int | np.integer)):
        return str(coef)
    if isinstance(coef, int | np.integer) and not isinstance(coef, bool):
        if 1 <= coef <= len(groups):
            return groups[int(coef) - 1]
        raise InputError(f"coef={coef} is out of range: the ranking holds {len(groups)} groups, {groups[:12]}.")
    raise ColumnNotFoundError(f"There is no group {coef!r} in the ranking.{near(coef, groups)}")


def _frame(ranking: Mapping[str, Any], group: str) -> pd.DataFrame:
    parts = {
        part: ranking[part][group]
        for part in ("names", "scores", "logfoldchanges", "pvals", "pvals_adj")
        if part in ranking
    }
    frame = pd.DataFrame({part: np.asarray(values) for part, values in parts.items()})
    frame["names"] = frame["names"].astype(str)
    for part, name in (("pts", "pct_nz_group"), ("pts_rest", "pct_nz_reference")):
        shares = ranking.get(part)
        if isinstance(shares, pd.DataFrame) and group in shares.columns:
            frame[name] = shares[group].reindex(frame["names"]).to_numpy()
    return frame


def _of_ours(adata: AnnData, name: str, how: How, source: dict[str, Any]) -> DETable:
    """A table as :func:`geneml_bio.tl.limma` or ``add_de`` left it; genes without statistics are not part of it."""
    if how.coef is not None or how.by is not None or how.columns or how.feature:
        raise InputError(
            f"The results under {name!r} are one table in limma's names; coef=, by=, columns= and feature= do not apply."
        )
    there = {part: keys.de_column(name, part) for part in keys.DE_COLUMNS if keys.de_column(name, part) in adata.var}
    ids = pd.Index([str(gene) for gene in adata.var_names], dtype=str)
    frame = pd.DataFrame({part: adata.var[column].to_numpy(float) for part, column in there.items()}, index=ids)
    frame = frame[frame.notna().any(axis=1).to_numpy()]
    said = adata.uns.get(name, {})
    said = said if isinstance(said, Mapping) else {}
    kind = str(said.get("kind", "t" if "logFC" in frame.columns else "F"))
    source |= {
        "rows_read": len(frame),
        "rows_lost": 0,
        "dialect": "geneml_bio",
        "columns": [f"{v} -> {k}" for k, v in there.items()],
    }
    source |= {"adjust": str(said.get("adjust", "")), "warnings": _stored_warnings(adata, name)}
    read = said.get("columns_read")
    source |= {"columns_read": [str(line) for line in read]} if read is not None and not isinstance(read, str) else {}
    for note in source["warnings"]:
        warnings.warn(f"{name}: {str(note).rstrip('.')}.", DataWarning, stacklevel=4)
    return DETable(frame, kind=kind, contrast=how.contrast or str(said.get("contrast", "")), source=source)  # type: ignore[arg-type]
