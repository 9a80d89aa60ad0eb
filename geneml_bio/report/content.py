"""What the report says, gathered from the object into plain data for the template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import get
from ..bridge import keys as names
from ..core.biomarkers import biomarker_table
from ..core.errors import ColumnNotFoundError
from ..pl._all import Keys
from ..pl._style import symbol_column
from ..pl.genes import UNUSED
from . import tables, words
from .methods import design_words, methods
from .validation import folds_words, gathered

if TYPE_CHECKING:
    from anndata import AnnData

_DESCRIPTIONS = (
    "description",
    "gene_description",
    "gene_title",
    "Gene.Title",
    "Gene Title",
    "GENENAME",
    "gene_full_name",
)


def gather(adata: AnnData, keys: Keys, title: str | None) -> dict[str, Any]:
    """Everything but the figures.

    Raises
    ------
    ColumnNotFoundError
        If the object holds no results at all.
    """
    has = _present(adata, keys)
    if not any(has.values()):
        raise ColumnNotFoundError(
            f"There is nothing to report: no results under {keys.model!r}, {keys.de!r} or {keys.biomarkers!r}. "
            "gb.run(adata, target) makes them all."
        )
    params = get.params(adata, key=keys.model) if has["validation"] else None
    predictions = get.predictions(adata, key=keys.model) if has["validation"] else None
    facts = _facts(adata, keys, has, params, predictions)
    paragraphs, references = methods(facts)
    validation = gathered(adata, keys, params, predictions) if params is not None and predictions is not None else {}
    biomarkers = _biomarkers(adata, keys, has, params)
    return {
        "title": title or _title(params, facts),
        "lead": _lead(params, facts),
        "verdict": _verdict(params),
        "numbers": _numbers(facts, validation, biomarkers),
        "study": _study(adata, facts, keys, has),
        "sizes": facts["sizes"],
        "missing": _missing(has, params, keys),
        "models_only": has["validation"] and not (has["de"] or has["shap"] or has["biomarkers"]),
        **_audit(adata, keys, has),
        "validation": validation,
        "biomarkers": biomarkers,
        "methods": paragraphs,
        "references": references,
        "glossary": words.GLOSSARY,
        "versions": sorted(facts["versions"].items()),
        "fingerprint": "" if params is None else str(params.get("fingerprint", "")),
    }


# -- what is there -----------------------------------------------------------------------------------------------------


def _present(adata: AnnData, keys: Keys) -> dict[str, bool]:
    stored = adata.uns.get(keys.model)
    validation = isinstance(stored, Mapping) and "metrics" in stored
    return {
        "validation": validation,
        "null": validation and "null" in stored,
        "shap": validation and names.shap(keys.model) in adata.uns,
        "de": names.de_column(keys.de, "P.Value") in adata.var,
        "biomarkers": keys.biomarkers in adata.varm,
    }


def _missing(has: dict[str, bool], params: dict[str, Any] | None, keys: Keys) -> list[tuple[str, str]]:
    """What the report lacks, and the call that makes it."""
    target = "target" if params is None else repr(str(params["target"]))
    verb = "regress" if params is not None and params["kind"] == "regression" else "classify"
    key = "" if keys.model == "classify" else f", key={keys.model!r}"
    calls = {
        "de": ("Differential expression", "gb.tl.limma(adata, design, contrast=...)"),
        "validation": (
            "Validated models: performance, predictions, selection of genes",
            f"gb.tl.{verb}(adata, {target}, n_permutations=100)",
        ),
        "null": (
            "Permuted targets: what chance alone would give",
            f"gb.tl.{verb}(adata, {target}, n_permutations=100)",
        ),
        "shap": ("SHAP values: what the models used", f"gb.tl.explain(adata{key})"),
        "biomarkers": ("The biomarker table, with its settings recorded", "gb.tl.biomarkers(adata)"),
    }
    if not has["validation"]:
        del calls["null"]  # made by the same call
    return [call for name, call in calls.items() if not has[name]]


def _facts(
    adata: AnnData, keys: Keys, has: dict[str, bool], params: dict[str, Any] | None, predictions: pd.DataFrame | None
) -> dict[str, Any]:
    sizes: list[tuple[str, int]] = []
    n_samples = adata.n_obs
    if params is not None and predictions is not None:
        once = predictions.drop_duplicates("sample")
        if "test_predictions" in adata.uns[keys.model]:
            once = pd.concat([once, get.predictions(adata, key=keys.model, test=True).drop_duplicates("sample")])
        n_samples = len(once)
        counts = once["observed"].astype(str).value_counts()
        sizes = [(str(name), int(counts.get(str(name), 0))) for name in params.get("classes", ())]
    de = adata.uns.get(keys.de) if has["de"] else None
    versions = dict(params.get("versions", {})) if params is not None else {}
    return {
        "params": params,
        "metrics": get.metrics(adata, key=keys.model) if params is not None else None,
        "de": dict(de) if isinstance(de, Mapping) else {},
        "shap": adata.uns.get(names.shap(keys.model)) if has["shap"] else None,
        "settings": adata.uns.get(keys.biomarkers) if has["biomarkers"] else None,
        "sizes": sizes,
        "n_samples": n_samples,
        "n_dropped": adata.n_obs - n_samples,
        "n_test": _n_test(adata, keys) if params is not None else 0,
        "compared": params is not None and len(adata.uns[keys.model].get("comparisons", ())) > 0,
        "n_genes": adata.n_vars,
        "versions": {str(k): str(v) for k, v in versions.items()},
    }


def _n_test(adata: AnnData, keys: Keys) -> int:
    if "test_predictions" not in adata.uns[keys.model]:
        return 0
    return int(get.predictions(adata, key=keys.model, test=True)["sample"].nunique())


# -- the head of the page ----------------------------------------------------------------------------------------------


def _versus(params: dict[str, Any]) -> str:
    classes = [str(name) for name in params.get("classes", ())]
    if len(classes) == 2:
        return f"{classes[1]} against {classes[0]}"
    return " / ".join(classes) if 0 < len(classes) <= 6 else str(params["target"])


def _title(params: dict[str, Any] | None, facts: dict[str, Any]) -> str:
    if params is not None:
        return _versus(params) if params["kind"] == "classification" else f"Prediction of {params['target']}"
    return str(facts["de"].get("contrast") or "Differential expression")


def _lead(params: dict[str, Any] | None, facts: dict[str, Any]) -> str:
    sample, gene = words.count(facts["n_samples"], "sample"), words.count(facts["n_genes"], "gene")
    if params is None:
        return f"What differs between the groups, in {sample} and {gene}."
    asked = (
        f"Can {params['target']} be predicted"
        if params["kind"] == "regression"
        else f"Can {params['target']} be told from gene expression"
    )
    return f"{asked} in samples that a model has not seen, and by which genes? {sample}, {gene}."


def _verdict(params: dict[str, Any] | None) -> dict[str, Any] | None:
    if params is None or "verdict" not in params:
        return None
    return {"good": bool(params.get("better_than_chance", False)), "text": str(params["verdict"])}


def _numbers(facts: dict[str, Any], validation: dict[str, Any], biomarkers: dict[str, Any]) -> list[dict[str, str]]:
    """The few numbers at the top."""
    out = []
    if validation:
        head = [row for row in validation["rows"] if not row["base"]][-1]
        note = f"95 % interval {head['interval']}" + (
            "; best model, corrected for the choice" if head["corrected"] else ""
        )
        out.append({"value": head["value"], "name": f"{validation['metric']} on held-out samples", "note": note})
        if head["null"] != "–":
            note = f"95 % limit {head['limit']}, p = {head['p']}".replace("p = <", "p <")
            out.append({"value": head["null"], "name": "the same on permuted targets", "note": note})
    if biomarkers.get("n_de") is not None:
        note = f"adj.P.Val up to {biomarkers['alpha']:g}, of {biomarkers['n_tested']:,}"
        out.append(
            {
                "value": f"{biomarkers['n_de']:,}",
                "name": "gene that differs" if biomarkers["n_de"] == 1 else "genes that differ",
                "note": note,
            }
        )
    if biomarkers.get("n_both") is not None:
        one, many = "gene that differs and is used", "genes that differ and are used"
        note = f"of {words.count(biomarkers['n_used'], 'gene')} that the models rely on most"
        out.append(
            {"value": f"{biomarkers['n_both']:,}", "name": one if biomarkers["n_both"] == 1 else many, "note": note}
        )
    return out


# -- the study ---------------------------------------------------------------------------------------------------------


def _study(adata: AnnData, facts: dict[str, Any], keys: Keys, has: dict[str, bool]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    data = adata.uns.get("dataset")
    if isinstance(data, Mapping) and data.get("title"):
        reference = f" ({data['reference']})" if data.get("reference") else ""
        rows.append(("Data", f"{data['title']}{reference}"))
    rows.append(("Samples", f"{facts['n_samples']:,}" + _dropped(facts["n_dropped"])))
    rows.append(("Genes", f"{facts['n_genes']:,}"))
    p = facts["params"]
    if p is not None:
        rows += _asked(p, facts["n_genes"])
    de = facts["de"]
    if de:
        engine = {"r": "limma in R", "native": "limma's statistics, native engine"}.get(
            str(de.get("engine", "")), "a table from elsewhere"
        )
        design = f"; {design_words(de)}" if de.get("design") else ""
        contrast = f"; contrast {de['contrast']}" if de.get("contrast") else ""
        file = f" ({PureWindowsPath(str(de['path'])).name})" if de.get("path") else ""  # takes both kinds of slashes
        rows.append(("Differential expression", f"{engine}{file}{design}{contrast}"))
    if has["biomarkers"]:
        s = facts["settings"]
        rows.append(
            (
                "Biomarker table",
                f"DE evidence from {s.get('de', keys.de)}, model evidence from {s.get('model', keys.model)}",
            )
        )
    return rows


def _dropped(n: int) -> str:
    return f" ({words.count(n, 'sample')} without a value in the target left out)" if n else ""


def _asked(p: dict[str, Any], n_genes: int) -> list[tuple[str, str]]:
    regression = p["kind"] == "regression"
    screen = str(p.get("screen", ""))
    if screen.isdigit() and int(screen) >= n_genes:
        screen = f"none needed: there are {n_genes:,} genes, and {int(screen):,} would be kept"
    elif screen.isdigit():
        screen = f"{int(screen):,} genes, chosen anew in each fold"
    elif screen == "all":
        screen = "none: every gene enters every model"
    rows = [
        (
            "Target",
            f"{p['target']} ({'a number' if regression else words.count(len(p['classes']), 'class', 'classes')})",
        )
    ]
    if "layer" in p:
        rows.append(("Expression from", f"layer {p['layer']}"))
    rows.append(("Models", ", ".join(words.model(str(name)) for name in p["models"])))
    rows.append(("Screen", screen))
    rows.append(("Validation", folds_words(p) + (", tuned inside" if p.get("tune") else "")))
    if "test_size" in p or "test_set" in p:
        how = f"by column {p['test_set']}" if "test_set" in p else f"drawn at random ({p['test_size']:g})"
        rows.append(("Test set", how))
    if "calibrate" in p:
        rows.append(("Probabilities", f"calibrated inside the folds ({p['calibrate']})"))
    if "class_weight" in p:
        rows.append(("Class weights", words.weights(p["class_weight"])))
    found = p.get("n_effective")
    if found and found["unit"] == "group":
        rows.append(
            ("Effective n", f"{int(found['n_effective']):,} ({p['groups']}) of {int(found['n_samples']):,} samples")
        )
    for name, words_ in (("batch", "Batch"), ("covariates", "Screen adjusted for")):
        if name in p:
            value = p[name]
            rows.append((words_, value if isinstance(value, str) else words.listed([str(v) for v in value])))
    n = int(p.get("n_permutations", 0))
    rows.append(("Permuted targets", f"{n:,}" if n else "none"))
    rows.append(("Seed", str(p.get("seed", ""))))
    return rows


def _audit(adata: AnnData, keys: Keys, has: dict[str, bool]) -> dict[str, Any]:
    as_rows: list[list[dict[str, str]]] = [[], []]
    if has["validation"]:
        found = get.audit(adata, key=keys.model)
        serious = found["level"].isin(["warning", "error"])
        as_rows = [
            [{"check": r["check"], "message": r["message"]} for _, r in part.iterrows()]
            for part in (found[serious], found[~serious])
        ]
    cautions = adata.uns.get(keys.biomarkers, {}).get("cautions")
    if not has["biomarkers"] and has["de"]:
        cautions = " ".join(f"{str(note).rstrip('.')}." for note in adata.uns.get(keys.de, {}).get("warnings", []))
    if cautions:
        as_rows[0].append({"check": "evidence", "message": str(cautions)})
    return {"warnings": as_rows[0], "notes": as_rows[1]}


# -- results -----------------------------------------------------------------------------------------------------------


def _biomarkers(adata: AnnData, keys: Keys, has: dict[str, bool], params: dict[str, Any] | None) -> dict[str, Any]:
    if not (has["biomarkers"] or has["de"] or has["shap"]):
        return {}
    settings: dict[str, Any] = {}
    if has["biomarkers"]:
        table, settings = get.biomarkers(adata, key=keys.biomarkers), dict(adata.uns.get(keys.biomarkers, {}))
    else:
        table = _made_here(adata, keys, has)
    alpha = float(settings.get("alpha", 0.05))
    model = str(settings.get("model", keys.model))
    about = adata.uns.get(names.shap(model), {})
    column = symbol_column(adata)
    described = next((name for name in _DESCRIPTIONS if name in adata.var.columns), None)
    index = adata.var_names.astype(str)
    table.index = table.index.astype(str)
    shown = tables.genes(
        table,
        symbols=None if column is None else _text(adata.var[column], index),
        notes=None if described is None else _text(adata.var[described], index),
        unit=str(about.get("unit", "")),
        toward=_toward(params, about),
    )
    called = "adj.P.Val" in table and table["adj.P.Val"].notna().any()
    used = "shap" in table and table["shap"].notna().any()
    return {
        "table": shown,
        "n_shown": len(shown.rows),
        "alpha": alpha,
        "min_frequency": words.percent(settings.get("min_frequency", 0.5)),
        "n_used": min(int(settings.get("n_used", 100)), int((table["shap"] > 0).sum())) if used else 0,
        "n_de": int((table["adj.P.Val"] <= alpha).sum()) if called else None,
        "n_tested": int(table["adj.P.Val"].notna().sum()) if called else 0,
        "n_both": int((table["class"].astype(str) == "DE and used").sum()) if called and used else None,
        "n_conflict": int(((table["agreement"] == "conflict") & ~table["class"].astype(str).isin(UNUSED)).sum()),
        "unit": str(about.get("unit", "")),
        "model": words.model(str(about.get("model", ""))),
        "used": used,
        "by_model": _by_model(about),
        "has_direction": any(c.name == "direction" for c in shown.columns),
    }


def _made_here(adata: AnnData, keys: Keys, has: dict[str, bool]) -> pd.DataFrame:
    """The table with its default settings, where ``tl.biomarkers`` was not called."""
    return biomarker_table(
        adata.var_names.astype(str),
        de=get.de(adata, key=keys.de) if has["de"] else None,
        shap=get.shap(adata, key=keys.model) if has["shap"] else None,
        frequency=adata.var[names.selected(keys.model)] if has["shap"] else None,
    )


def _text(values: pd.Series, index: pd.Index) -> pd.Series:
    return pd.Series([None if pd.isna(v) else str(v) for v in values], index=index, dtype=object)


def _toward(params: dict[str, Any] | None, about: Mapping[str, Any]) -> tuple[str, str] | None:
    """What high expression speaks for where the direction is -1 and 1."""
    if params is None or not about or len(about["outputs"]) > 1:
        return None
    if params["kind"] == "regression":
        return f"lower {params['target']}", f"higher {params['target']}"
    classes = [str(name) for name in params["classes"]]
    return classes[0], classes[1]


def _by_model(about: Mapping[str, Any]) -> str:
    if not about:
        return ""
    per_model = pd.DataFrame(about["per_model"])
    column = "genes_per_fold" if "genes_per_fold" in per_model else "genes_used"
    if column not in per_model:
        return ""
    parts = [f"{words.model(str(r['model']))} {float(r[column]):,.0f}" for _, r in per_model.iterrows()]
    return f"{'Genes used in a fold, on average' if column == 'genes_per_fold' else 'Genes used in any fold'}: {', '.join(parts)}."
