"""What the report says of genes: the table, how many genes each model used, how many hold up against chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import get
from ..bridge import keys as names
from ..bridge.evidence import other_target
from ..core.biomarkers import biomarker_table
from ..pl._style import symbol_column
from ..pl.genes import UNUSED, all_the_same
from . import gene_table, words
from .head import NAMED

if TYPE_CHECKING:
    from anndata import AnnData

    from .content import Keys

_DESCRIPTIONS = (
    *(
        "name",
        "description",
        "gene_description",
        "gene_title",
        "Gene.Title",
        "Gene Title",
        "GENENAME",
        "gene_full_name",
    ),
)
STEADY = 0.9


def gathered(adata: AnnData, keys: Keys, has: Mapping[str, bool], params: dict[str, Any] | None) -> dict[str, Any]:
    """All of the section on genes; empty where nothing is known of them."""
    if not (has["biomarkers"] or has["de"] or has["shap"]):
        return {}
    settings: dict[str, Any] = {}
    if has["biomarkers"]:
        table, settings = get.biomarkers(adata, key=keys.biomarkers), dict(adata.uns.get(keys.biomarkers, {}))
    else:
        table = _made_here(adata, keys, has)
    table.index = table.index.astype(str)
    alpha = float(settings.get("alpha", 0.05))
    model = str(settings.get("model", keys.model))
    about = adata.uns.get(names.shap(model), {})
    table = _more(adata, table, model, keys.knockoffs)
    leaning = leanings(adata, model, about)
    if leaning is not None:
        table["leaning"] = leaning.reindex(table.index)
    selected = _selected(adata, model)
    shown = gene_table.genes(table, unit=str(about.get("unit", "")), toward=toward(params, about))
    called = "adj.P.Val" in table and table["adj.P.Val"].notna().any()
    used = "shap" in table and bool((table["shap"] > 0).any())
    conflict = (table["agreement"] == "conflict") & ~table["class"].astype(str).isin(UNUSED)
    empirical = discoveries(adata, model, table, settings)
    return {
        "table": shown,
        "n_shown": len(shown.rows),
        "alpha": alpha,
        "min_frequency": words.percent(settings.get("min_frequency", 0.5)),
        "n_used": int(relied_on(table, settings).sum()) if used else 0,
        "max_q": settings.get("max_q"),
        "n_de": int((table["adj.P.Val"] <= alpha).sum()) if called else None,
        "n_tested": int(table["adj.P.Val"].notna().sum()) if called else 0,
        "n_both": int((table["class"].astype(str) == "DE and used").sum()) if called and used else None,
        "n_conflict": int(conflict.sum()),
        "unit": str(about.get("unit", "")),
        "model": words.model(str(about.get("model", ""))),
        "used": used,
        "models": per_model(about),
        "of_classes": leaning is not None,
        "has_direction": any(c.name == "direction" for c in shown.columns),
        "top": _top(table, used),
        "called": "" if empirical is None else empirical["short"],
        "empirical": empirical,
        "selected": selected,
        "steady": _steady(table, used) if selected else "",
        "missing": str(settings.get("missing_evidence") or ""),
    }


def relied_on(table: pd.DataFrame, settings: Mapping[str, Any], *, limited: bool = True) -> pd.Series:
    """The genes that count as used, by the settings of the table; without its limit on the empirical q, those of the largest SHAP."""
    most = (table["shap"] > 0) & (table["shap_rank"] <= int(settings.get("n_used", 100)))
    limit = settings.get("max_q") if limited else None
    return most if limit is None or "empirical_q" not in table else most & (table["empirical_q"] <= float(limit))


def _made_here(adata: AnnData, keys: Keys, has: Mapping[str, bool]) -> pd.DataFrame:
    """The table with its default settings, where ``tl.biomarkers`` was not called."""
    return biomarker_table(
        adata.var_names.astype(str),
        de=get.de(adata, key=keys.de) if has["de"] else None,
        shap=get.shap(adata, key=keys.model) if has["shap"] else None,
        frequency=adata.var[names.selected(keys.model)] if has["shap"] else None,
    )


def _more(adata: AnnData, table: pd.DataFrame, model: str, knockoffs: str) -> pd.DataFrame:
    """Symbol, name and error control from ``.var``, where the table was made without them."""
    index = adata.var_names.astype(str)
    wanted = {
        "symbol": symbol_column(adata),
        "name": next((name for name in _DESCRIPTIONS if name in adata.var.columns), None),
        "empirical_p": names.empirical(model, "p"),
        "empirical_q": names.empirical(model, "q"),
        "knockoff_q": None if other_target(adata, knockoffs, model) else names.knockoff_q(knockoffs),
    }
    for name, column in wanted.items():
        if name not in table and column is not None and column in adata.var:
            values = adata.var[column]
            text = name in ("symbol", "name")
            made = [None if pd.isna(v) else str(v) for v in values] if text else values.to_numpy(float)
            table[name] = pd.Series(made, index=index, dtype=object if text else float)[table.index].to_numpy()
    if "symbol" in table and (table["symbol"].astype(str) == table.index).all():
        table = table.drop(columns="symbol")  # the ids are the symbols
    return table


def toward(params: Mapping[str, Any] | None, about: Mapping[str, Any]) -> tuple[str, str] | None:
    """What high expression speaks for where the direction is -1 and 1."""
    if params is None or not about or len(about["outputs"]) > 1:
        return None
    if params["kind"] == "regression":
        return f"lower {params['target']}", f"higher {params['target']}"
    classes = [str(name) for name in params["classes"]]
    return classes[0], classes[1]


def leanings(adata: AnnData, model: str, about: Mapping[str, Any]) -> pd.Series | None:
    """Of more than two classes: the class that each gene moves most, and whether more of the gene speaks for it or against it."""
    outputs = [str(name) for name in about.get("outputs", ())]
    if len(outputs) < 2 or names.shap(model) not in adata.varm:
        return None
    shap = get.shap(adata, key=model).reindex(adata.var_names)
    if not {f"rho:{name}" for name in outputs} <= set(shap.columns):
        return None
    most = np.asarray(adata.varm[names.shap(model)], dtype=float).argmax(axis=1)
    rho = shap[[f"rho:{name}" for name in outputs]].to_numpy(float)[np.arange(len(most)), most]
    way = np.sign(np.where(shap["shap"].to_numpy(float) > 0, np.nan_to_num(rho), 0.0))
    said = [words.side(outputs[k], w, None) for k, w in zip(most, way, strict=True)]
    return pd.Series(said, index=adata.var_names.astype(str), dtype=object)


def _selected(adata: AnnData, model: str) -> bool:
    """Whether the folds chose genes: not where each was given the same."""
    stored = adata.uns.get(model)
    if not isinstance(stored, Mapping) or "screens" not in stored:
        return True
    screens = get.screens(adata, key=model)
    return not len(screens) or not all_the_same(screens)


def _top(table: pd.DataFrame, used: bool) -> list[str]:
    """The first genes, by symbol where there is one."""
    first = table[table["shap"] > 0] if used else table
    out = []
    for gene, row in first.head(NAMED).iterrows():
        known = row.get("symbol")
        beside = "" if words.missing(row.get("name")) or not words.missing(known) else f" ({_brief(str(row['name']))})"
        out.append(words.shortened(gene if words.missing(known) else known) + beside)
    return out


def _brief(described: str, width: int = 30) -> str:
    """The first words of a description."""
    text = described.partition(" (")[0].partition(";")[0].strip()
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"


def _steady(table: pd.DataFrame, used: bool) -> str:
    """Whether the first genes depend on a few samples."""
    if not used or "selection_frequency" not in table:
        return ""
    first = table[table["shap"] > 0].head(10)["selection_frequency"].dropna()
    if first.empty:
        return ""
    n, often = len(first), int((first >= STEADY).sum())
    said = f"{often} of the first {n} genes" if n > 1 else ("The first gene" if often else "Not even the first gene")
    verb = "were" if n > 1 else "was"
    tail = "they do not hang on a few samples" if often == n else "the others change with the samples"
    return f"{said} {verb} chosen in at least {words.percent(STEADY)} of the folds{f': {tail}' if n > 1 else ''}."


# -- what each model used ----------------------------------------------------------------------------------------------


def per_model(about: Mapping[str, Any]) -> dict[str, Any] | None:
    """How many genes each model used, how its SHAP values were computed, and what that means for its list."""
    if not about or "per_model" not in about:
        return None
    table = pd.DataFrame(about["per_model"])
    rows, said = [], []
    for _, row in table.iterrows():
        name = words.model(str(row["model"]))
        fold, any_ = row.get("genes_per_fold", np.nan), row.get("genes_used", np.nan)
        exact = row.get("exact")
        error = row.get("sampling_error")
        kind = "–" if exact is None or pd.isna(exact) else "exact" if bool(exact) else "sampled"
        rows.append(
            {
                "name": name,
                "fold": words.fixed(fold, 0 if words.missing(fold) or fold >= 10 else 1),
                "any": words.fixed(any_, 0),
                "screened": words.fixed(row.get("genes_screened", np.nan), 0),
                "explainer": str(row.get("explainer", "–")),
                "unit": str(row.get("unit", "–")),
                "kind": kind,
                "error": "–" if kind != "sampled" or words.missing(error) else words.significant(error, 2),
            }
        )
        if not words.missing(fold) and fold < 3:
            how = "one gene" if fold < 1.5 else f"{fold:.1f} genes"
            said.append(
                f"{name[:1].upper() + name[1:]} used {how} in a fold, on average: once that is enough to tell the classes apart, the "
                "others get no share. Its list is short because the job is easy, not because the other genes carry nothing."
            )
    return {
        "rows": rows,
        "said": said,
        "screened": any(r["screened"] != "–" for r in rows),
        "sampled": any(r["kind"] == "sampled" for r in rows),
    }


# -- error control -----------------------------------------------------------------------------------------------------


def discoveries(adata: AnnData, model: str, table: pd.DataFrame, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """How many genes hold up against permuted targets, and what that rests on; None where it was not computed."""
    if "empirical_q" not in table or not table["empirical_q"].notna().any():
        return None
    stored = adata.uns.get(model, {})
    about = dict(stored.get("discoveries", {})) if isinstance(stored, Mapping) else {}
    params = stored.get("params", {}) if isinstance(stored, Mapping) else {}
    n = int(about.get("n_permutations", params.get("n_permutations", 0)))
    q, level = table["empirical_q"].to_numpy(float), float(about.get("level", 0.1))
    called = int((q <= level).sum())
    relied = (
        relied_on(table, settings, limited=False).to_numpy() if "shap" in table else np.zeros(len(table), dtype=bool)
    )
    least = float(np.nanmin(q))
    levels = []
    for cut in sorted({0.05, level, 0.2}):
        k = int((q <= cut).sum())
        levels.append((f"{cut:g}", f"{k:,}", f"about {round(cut * k):,}"))
    smallest = words.significant(least, 2)
    short = (
        f"No gene by itself holds up against shuffled labels (empirical q up to {level:g}; the smallest is {smallest})."
    )
    if called:
        among = f", among them {int((relied & (q <= level)).sum()):,} of the {int(relied.sum()):,} that the models relied on most"
        short = (
            f"Against shuffled labels {words.count(called, 'gene')} {'holds' if called == 1 else 'hold'} up (empirical q up to {level:g}: "
            f"about {words.percent(level)} of them by chance){among if relied.any() else ''}."
        )
    note = str(about.get("note", "") or about.get("message", "") or "")
    note = note.partition(". ")[2] if note[:1].isdigit() else note  # its first sentence is the count
    return {
        "n_permutations": n,
        "level": f"{level:g}",
        "n_called": called,
        "least": words.significant(least, 2),
        "levels": levels,
        "statistic": str(about.get("statistic", "")),
        "null": str(about.get("null", "")),
        "n_tested": int(np.isfinite(q).sum()),
        "short": short,
        "note": note,
    }
