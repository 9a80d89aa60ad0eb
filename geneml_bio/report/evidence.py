"""Evidence that is more than one gene at a time: groups, sets, knockoffs, and what more samples would bring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import get
from ..bridge import keys as names
from ..core.errors import ColumnNotFoundError
from ..pl._style import symbol_column
from . import words

if TYPE_CHECKING:
    from anndata import AnnData

MAX_ROWS = 25
MAX_NAMED = 8

# column of a result -> heading and how its values are written
_GROUPS = {
    "group": ("Group", "text"),
    "leader": ("Leading gene", "gene"),
    "n": ("Genes", "whole"),
    "genes": ("Which", "names"),
    "share": ("Share of all SHAP", "percent"),
    "shap": ("Mean |SHAP| together", "number"),
    "toward": ("Speaks for", "text"),
    "min_correlation": ("Least correlation", "fixed"),
}
_SETS = {
    "set": ("Gene set", "text"),
    "n_genes": ("Genes", "whole"),
    "n_tested": ("of these, compared", "whole"),
    "n_used": ("used", "whole"),
    "share": ("Share of all SHAP", "percent"),
    "toward": ("Speaks for", "text"),
    "p_value": ("p-value", "p"),
    "adj.P.Val": ("adjusted", "p"),
    "leading": ("Leading genes", "names"),
}


def called_by(adata: AnnData) -> dict[str, str]:
    """What genes are called in sentences: by symbol where they have one, with the id behind it."""
    column = symbol_column(adata)
    if column is None:
        return {}
    pairs = zip(adata.var_names.astype(str), adata.var[column], strict=True)
    return {
        gene: f"{name} ({gene})" for gene, name in pairs if not words.missing(name) and str(name) not in (gene, "nan")
    }


def gathered(adata: AnnData, key: str, toward: tuple[str, str] | None) -> dict[str, Any]:
    """``groups``, ``sets``, ``curve``: tables and sentences, None where it was not run."""
    known = called_by(adata)
    return {
        "groups": _groups(adata, key, toward, known),
        "sets": _sets(adata, key, toward, known),
        "curve": _curve(adata, key),
    }


def taken(adata: AnnData, what: str, key: str) -> pd.DataFrame | None:
    """The frame of ``gb.get``, or None where it was not made."""
    take = getattr(get, what, None)
    if take is None:
        return None
    try:
        return take(adata, key)
    except ColumnNotFoundError:
        return None


def _groups(
    adata: AnnData, key: str, toward: tuple[str, str] | None, known: Mapping[str, str]
) -> dict[str, Any] | None:
    table = taken(adata, "gene_groups", key)
    if table is None:
        return None
    settings = _settings(adata, names.groups(key))
    least = settings.get("threshold")
    given = "after a line through the target" if adata.uns[key].get("kind") == "regression" else "within the classes"
    said = f"{words.count(len(table), 'group')} of genes go together."
    if least is not None:
        said = (
            f"{words.count(len(table), 'group')} of genes go together: {given}, every two genes of a group are correlated "
            f"by {float(least):g} or more, whatever the sign."
        )
    return {"table": plain(_speaking(table, toward, "–"), _GROUPS, known), "said": said, "n": len(table)}


def _sets(adata: AnnData, key: str, toward: tuple[str, str] | None, known: Mapping[str, str]) -> dict[str, Any] | None:
    table = taken(adata, "gene_sets", key)
    if table is None:
        return None
    said = f"{words.count(len(table), 'gene set')} looked at"
    n = int((table["adj.P.Val"] <= 0.05).sum())
    said += f"; {n} {'moves' if n == 1 else 'move'} predictions more than other genes of the study do (adjusted p up to 0.05)"
    return {"table": plain(_speaking(table, toward, "mixed"), _SETS, known), "said": f"{said}.", "n": len(table)}


def _speaking(table: pd.DataFrame, toward: tuple[str, str] | None, neither: str) -> pd.DataFrame:
    """``toward`` as what more of it makes the models predict: it names the output, and ``direction`` whether for or against it."""
    if not {"toward", "direction"} <= set(table.columns):
        return table
    pairs = zip(table["toward"].astype(str), table["direction"], strict=True)
    return table.assign(
        toward=[neither if words.missing(way) else words.side(n, way, toward, neither) for n, way in pairs]
    )


def _curve(adata: AnnData, key: str) -> dict[str, Any] | None:
    """What the best model scored with the fewest and with the most training samples."""
    table = taken(adata, "learning_curve", key)
    if table is None:
        return None
    metric = str(_settings(adata, names.learning_curve(key)).get("metric", table["metric"].iloc[0]))
    best = str(adata.uns[key].get("best", table["model"].iloc[0]))
    mine = table[(table["metric"] == metric) & table["value"].notna()].sort_values("n_train")
    mine = mine[mine["model"] == best] if (mine["model"] == best).any() else mine
    if len(mine) < 2:
        return {"note": ""}
    least, last = mine.iloc[0], mine.iloc[-1]
    said = (
        f"{words.metric(metric)} of the {words.model(str(last['model']))}: {words.fixed(least['value'])} when it learned from "
        f"{round(least['n_train']):,} samples, {words.fixed(last['value'])} from {round(last['n_train']):,}."
    )
    return {"note": f"{said} A score that still rises at the end speaks for more samples."}


def _settings(adata: AnnData, name: str) -> dict[str, Any]:
    """What of a stored result is no frame."""
    stored = adata.uns.get(name)
    if not isinstance(stored, Mapping):
        return {}
    flat = {**stored, **stored.get("settings", {})} if isinstance(stored.get("settings", {}), Mapping) else dict(stored)
    return {str(k): v for k, v in flat.items() if not isinstance(v, pd.DataFrame | Mapping)}


def knockoffs(adata: AnnData, key: str) -> dict[str, Any] | None:
    """What the knockoff filter called; None where it was not run."""
    if names.knockoff_q(key) not in adata.var or not isinstance(adata.uns.get(key), Mapping):
        return None
    q, about = adata.var[names.knockoff_q(key)].to_numpy(float), _settings(adata, key)
    params = dict(adata.uns[key].get("params", {}))
    level = float(params.get("fdr", about.get("fdr", 0.1)))
    known = called_by(adata)
    order = np.argsort(np.where(np.isfinite(q), q, np.inf), kind="stable")
    called = [
        words.shortened(known.get(str(adata.var_names[i]), adata.var_names[i]))
        for i in order
        if np.isfinite(q[i]) and q[i] <= level * (1 + 1e-12)
    ]
    shown = words.listed(called[:20]) + (f" and {len(called) - 20} more" if len(called) > 20 else "")
    said = (
        f"{words.count(len(called), 'gene')} {'is' if len(called) == 1 else 'are'} called at a false discovery rate of {level:g}: {shown}."
        if called
        else f"No gene is called at a false discovery rate of {level:g}."
    )
    return {
        "said": said,
        "n_called": len(called),
        "level": level,
        "n_tested": int(np.isfinite(q).sum()),
        "note": str(about.get("note") or ""),
        "statistic": str(params.get("statistic", "")),
        "n_draws": int(params.get("n_draws", 1)),
        "n_samples": int(about.get("n_samples", adata.n_obs)),
        "params": params,
        "versions": {str(k): str(v) for k, v in dict(adata.uns[key].get("versions", {})).items()},
    }


# -- tables ------------------------------------------------------------------------------------------------------------


def plain(
    table: pd.DataFrame,
    spec: Mapping[str, tuple[str, str]],
    known: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The columns that are known, one for each heading, in the order of ``spec``; at most 25 rows; genes by symbol (``known``)."""
    chosen, headings = [], set()
    for name, (heading, _) in spec.items():
        if name in table and heading not in headings:
            chosen.append(name)
            headings.add(heading)
    heads = [{"text": spec[name][0], "number": spec[name][1] not in ("text", "gene", "names")} for name in chosen]
    rows = [
        [_written(row[name], spec[name][1], known or {}) for name in chosen]
        for _, row in table.head(MAX_ROWS).iterrows()
    ]
    return {"heads": heads, "rows": rows, "total": len(table)}


def _written(value: Any, how: str, known: Mapping[str, str]) -> str:
    if how == "names":
        parts = [str(v) for v in value] if isinstance(value, list | tuple | np.ndarray) else str(value).split(", ")
        shown = ", ".join(words.shortened(known.get(part, part)) for part in parts[:MAX_NAMED])
        return shown + (f" and {len(parts) - MAX_NAMED} more" if len(parts) > MAX_NAMED else "")
    if words.missing(value):
        return "–"
    if how == "gene":
        return words.shortened(known.get(str(value), value), 60)
    if how == "text":
        return words.shortened(value, 60) or "–"
    if how == "whole":
        return f"{round(float(value)):,}"
    write = {
        "percent": lambda v: words.percent(v, 1),
        "p": words.p_value,
        "fixed": words.fixed,
        "number": words.significant,
    }
    return write[how](value)
