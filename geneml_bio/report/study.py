"""What the report says of the study: what was asked, and what the audit found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

from .. import get
from ..pl._all import Keys
from . import words
from .methods import design_words
from .validation import folds_words

if TYPE_CHECKING:
    from anndata import AnnData


def study(adata: AnnData, facts: dict[str, Any], keys: Keys, has: dict[str, bool]) -> list[tuple[str, str]]:
    """What was asked, as pairs of words."""
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
        made = [f"DE evidence from {s.get('de', keys.de)}"] if has["de"] else []
        made += [f"model evidence from {s.get('model', keys.model)}"] if has["shap"] else []
        rows.append(("Biomarker table", ", ".join(made) or "no evidence"))
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


def audited(adata: AnnData, keys: Keys, has: dict[str, bool], gone: str = "") -> dict[str, Any]:
    """Findings of the audit, what is no longer in the object, and cautions about the evidence: ``warnings`` and ``notes``."""
    as_rows: list[list[dict[str, str]]] = [[], []]
    if has["validation"]:
        found = get.audit(adata, key=keys.model)
        serious = found["level"].isin(["warning", "error"])
        as_rows = [
            [{"check": r["check"], "message": r["message"]} for _, r in part.iterrows()]
            for part in (found[serious], found[~serious])
        ]
    if gone:
        as_rows[0].append({"check": "subset", "message": gone})
    cautions = adata.uns.get(keys.biomarkers, {}).get("cautions")
    if not has["biomarkers"] and has["de"]:
        cautions = " ".join(f"{str(note).rstrip('.')}." for note in adata.uns.get(keys.de, {}).get("warnings", []))
    if cautions:
        as_rows[0].append({"check": "evidence", "message": str(cautions)})
    return {"warnings": as_rows[0], "notes": as_rows[1]}
