"""What limma was asked to do and did, in words, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .core.formula import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anndata import AnnData

    from .core.detable import DETable


def done(de: DETable, adata: AnnData) -> list[tuple[str, str]]:
    """What was computed, as (label, text).

    Parameters
    ----------
    de
        A table of :func:`geneml_bio.tl.limma` whose design is a formula.
    adata
        The data it was made from.
    """
    source = de.source
    groups = [_groups(adata.obs[name], name) for name in parse(str(source["design"])).variables]
    sizes = "; ".join(one for one in groups if one)
    rows = [
        ("Samples", f"{adata.n_obs:,}{f' ({sizes})' if sizes else ''}, {adata.n_vars:,} genes{_layer(source)}"),
        ("Design", f"{source['design']} ({', '.join(source['design_columns'])})"),
        ("Contrast", "; ".join(map(str, source["contrasts"]))),
        ("Method", _method(source)),
        ("Prior", _prior(source)),
    ]
    if source.get("n_low_counts") is not None:
        low = int(source["n_low_counts"])
        text = f"{low:,} genes have low counts by edgeR's filterByExpr; none was left out"
        rows.append(("Counts", f"{text}, and they bend voom's trend" if low else text))
    return [*rows, ("Engine", _engine(source))]


def _layer(source: Mapping[str, Any]) -> str:
    return f", layer {source['layer']!r}" if source.get("layer") else ""


def _groups(values: pd.Series, name: str) -> str:
    """How many samples each group has; nothing for numbers."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return ""
    counts = values.astype(str).value_counts(sort=False)
    counts = counts[counts > 0].sort_index()
    said = ", ".join(f"{level} {n}" for level, n in counts.iloc[:6].items())
    return f"{name}: {said}{f', and {len(counts) - 6} more' if len(counts) > 6 else ''}"


def _method(source: Mapping[str, Any]) -> str:
    parts = []
    if source.get("voom"):
        how = "voomWithQualityWeights" if source.get("quality_weights") else "voom"
        parts.append(f"{how} (normalised by {source.get('normalize', 'TMM')})")
    elif source.get("quality_weights"):
        parts.append("arrayWeights")
    if source.get("block"):
        how = "estimated" if source.get("correlation_estimated") else "given"
        parts.append(f"blocks by {source['block']} (correlation {source['correlation']:.3g}, {how})")
    parts += ["lmFit", "contrasts.fit"]
    options = [name for name in ("trend", "robust") if source.get(name)]
    lfc = source.get("treat_lfc")
    moderated = "eBayes" if lfc is None else "treat"
    options += [] if lfc is None else [f"|logFC| > {lfc:g}"]
    return ", ".join([*parts, f"{moderated}({', '.join(options)})" if options else moderated])


def _prior(source: Mapping[str, Any]) -> str:
    df = float(source.get("df_prior", np.nan))
    each = " (median of the genes)" if source.get("robust") else ""
    return (
        f"{'infinite' if np.isinf(df) else f'{df:.3g}'} df{each}, variance {float(source.get('s2_prior', np.nan)):.3g}"
    )


def _engine(source: Mapping[str, Any]) -> str:
    if source.get("engine") != "r":
        return "native: limma's statistics in Python"
    names = {"r_version": "R", "limma_version": "limma", "edgeR_version": "edgeR", "statmod_version": "statmod"}
    return ", ".join(f"{name} {source[key]}" for key, name in names.items() if source.get(key))
