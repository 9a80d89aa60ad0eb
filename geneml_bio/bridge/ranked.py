"""DE tables in the form of scanpy's ``rank_genes_groups``, so that scanpy's figures and frames show them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Container, Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import stats

from ..core.detable import DETable
from ..core.errors import DataWarning, InputError, StorageError
from ..core.written import signed_root
from . import keys
from .anndata import Write, storable, taken

_VERSUS = re.compile(r"\s+-\s+|\s+vs\.?\s+|\s+versus\s+|\s+against\s+|_vs_|\bvs\b|(?<=[\w)])-(?=[\w(])")
_MAX_LEVELS = 100


def ranked_key(asked: bool | str | None, results: Container[str]) -> str | None:
    """The name in ``.uns``: scanpy's own for True, the one asked for, or None."""
    if asked is False or asked is None:
        return None
    if not isinstance(asked, bool | str):
        raise InputError(f"rank_genes_groups must be True, False or a name in adata.uns, got {asked!r}.")
    name = keys.check_key("rank_genes_groups" if asked is True else asked, "rank_genes_groups")
    if name in results:
        raise InputError(f"rank_genes_groups={name!r} is the name of the results themselves (key_added); give another.")
    return name


def check_ranked_free(adata: AnnData, name: str) -> None:
    """Refuse to overwrite what is not of this module: scanpy's own ranking above all."""
    if name not in adata.uns:
        return
    stored = adata.uns[name]
    params = stored.get("params") if isinstance(stored, Mapping) else None
    params = params if isinstance(params, Mapping) else {}
    if params.get("made_by") != keys.MADE_BY:
        by = f"scanpy's ranking (method {params['method']!r})" if "method" in params else "something else"
        raise StorageError(
            f"adata.uns[{name!r}] holds {by}, which would be lost. Give another name, rank_genes_groups='rank_genes_groups_limma', "
            "and hand it to scanpy as key='rank_genes_groups_limma'."
        )


def scores(de: DETable) -> tuple[np.ndarray, str]:
    """A signed statistic by row and what it is: t, else the signed root of F or LR, else the z of P with the sign of logFC."""
    frame = de.frame
    if "t" in frame.columns:
        return frame["t"].to_numpy(float), "t"
    sign = np.sign(frame["logFC"].to_numpy(float))
    for name in ("F", "LR"):
        if name in frame.columns:
            return signed_root(frame["logFC"].to_numpy(float), frame[name].to_numpy(float)), f"sign(logFC) sqrt({name})"
    p = np.maximum(frame["P.Value"].to_numpy(float), np.finfo(float).tiny)
    return sign * stats.norm.isf(p / 2), "z of P.Value with the sign of logFC"


def group_of(adata: AnnData, contrast: str, otherwise: str) -> tuple[str, str, str]:
    """Group, reference and ``.obs`` column of a contrast.

    ``AML - ALL`` or ``classAML - classALL`` becomes AML against ALL of ``.obs["class"]`` if such levels are there, so that
    scanpy's figures by group find them. What cannot be taken apart is one group, compared with zero.
    """
    cuts = [(contrast[: hit.start()].strip(), contrast[hit.end() :].strip()) for hit in _VERSUS.finditer(contrast)]
    for column in adata.obs.columns:
        values = adata.obs[column]
        if not isinstance(column, str) or pd.api.types.is_float_dtype(values) or values.nunique() > _MAX_LEVELS:
            continue
        levels = {str(value) for value in values.dropna().unique()}
        for left, right in cuts:
            for a, b in ((left, right), (left.removeprefix(column), right.removeprefix(column))):
                if a in levels and b in levels and a != b:
                    return a, b, column
    if len(cuts) == 1 and all(re.fullmatch(r"[\w.]+", part) for part in cuts[0]):
        return *cuts[0], otherwise
    return contrast or otherwise, "0", otherwise


def _warn_no_groups(contrast: str, name: str) -> None:
    named = (
        f"The contrast {contrast!r} names no two levels of a column of .obs"
        if contrast
        else "The table names no contrast"
    )
    warnings.warn(
        f"{named}, so {name!r} has one group that no column of .obs holds: sc.pl.rank_genes_groups and "
        "sc.get.rank_genes_groups_df work, figures by group (sc.pl.rank_genes_groups_dotplot, ..._heatmap) do not. Name two "
        "levels: gb.read.toptable(..., contrast='AML - ALL').",
        DataWarning,
        stacklevel=4,
    )


def ranked_writes(adata: AnnData, tables: Mapping[str, tuple[DETable, np.ndarray]], name: str) -> list[Write]:
    """``.uns[name]`` in scanpy's form; ``tables``: key of the results -> table, and for each gene its row or -1."""
    check_ranked_free(adata, name)
    found = {}
    for label, (de, rows) in tables.items():
        if de.kind == "F":
            raise InputError(
                "rank_genes_groups ranks the genes of one contrast by a signed statistic; this table is a joint test of several "
                f"({de.contrast or 'kind F'}). Add a table per contrast (coef=), or leave rank_genes_groups out."
            )
        group, reference, groupby = group_of(adata, de.contrast, label)
        # zarr holds no record with a colon in a field's name; R writes a.b for a:b too
        if groupby not in adata.obs.columns and adata.n_obs:  # a file of genes alone has no samples to show
            _warn_no_groups(de.contrast, name)
        found[label] = (group.replace(":", "."), reference, groupby, de, rows)
    groups = [group for group, *_ in found.values()]
    if len(set(groups)) < len(groups):  # two contrasts of one group: their own names tell them apart
        found = {label: (label, *rest[1:]) for label, rest in found.items()}
    genes = adata.var_names.astype(str).to_numpy(object)
    there = np.any([rows >= 0 for *_, rows in found.values()], axis=0)
    columns: dict[str, dict[str, np.ndarray]] = {
        part: {} for part in ("names", "scores", "logfoldchanges", "pvals", "pvals_adj")
    }
    used = ""
    for group, _, _, de, rows in found.values():
        score, used = scores(de)
        parts = {"scores": score, "logfoldchanges": de.frame["logFC"], "pvals": de.frame["P.Value"]}
        parts["pvals_adj"] = de.frame.get("adj.P.Val", pd.Series(np.nan, de.frame.index))
        by_gene = {part: taken(np.asarray(values, float), rows)[there] for part, values in parts.items()}
        order = np.argsort(-by_gene["scores"], kind="stable")  # NaN last
        columns["names"][group] = genes[there][order]
        for part, values in by_gene.items():
            columns[part][group] = values[order]
    _, reference, groupby, first, _ = next(iter(found.values()))
    layer = first.source.get("layer")
    params = {
        "groupby": groupby,
        "reference": reference if len({row[1] for row in found.values()}) == 1 else "each its own",
        "method": str(first.source.get("dialect") or "limma").split()[0],
        "use_raw": False,
        "layer": layer if isinstance(layer, str) else None,
        "corr_method": "benjamini-hochberg" if all(row[3].is_complete for row in found.values()) else "as in the table",
        "made_by": keys.MADE_BY,
        "keys": list(tables),
        "scores": used,
        "contrast": [row[3].contrast for row in found.values()],
    }
    records = {
        part: pd.DataFrame(by_group).to_records(index=False, column_dtypes="O" if part == "names" else "float64")
        for part, by_group in columns.items()
    }
    return [("uns", name, {"params": storable(params, f"uns[{name!r}]"), **records})]
