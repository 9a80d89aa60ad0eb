"""What the report says, gathered from the object into plain data for the template."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import get
from ..bridge import keys as names
from ..bridge.evidence import elsewhere
from ..core.errors import ColumnNotFoundError, DataWarning
from ..pl import _all as pl_all
from ..summary_parts import apart, took_part
from . import checklist, evidence, gene_level, genes, head, words
from .methods import methods
from .study import audited, study
from .validation import covariates_suffice, gathered

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Keys(pl_all.Keys):
    """Where the results lie; besides those of the figures, gene-level regression."""

    genes: str = "regress_genes"


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
            f"There is nothing to report: no results under {keys.model!r}, {keys.de!r}, {keys.biomarkers!r}, {keys.genes!r} or "
            f"{keys.knockoffs!r}. gb.run(adata, target) makes them all."
        )
    params = get.params(adata, key=keys.model) if has["validation"] else None
    predictions = get.predictions(adata, key=keys.model) if has["validation"] else None
    facts = _facts(adata, keys, has, params, predictions)
    validation = gathered(adata, keys, params, predictions) if params is not None and predictions is not None else {}
    table = genes.gathered(adata, keys, has, params)
    audit = audited(adata, keys, has, facts["gone"])
    facts["empirical"] = table.get("empirical")
    paragraphs, references = methods(facts)
    headline = head.headline(facts, audit["warnings"])
    items = checklist.checklist(facts, validation, table, audit)
    return {
        "title": title or head.title(facts),
        "lead": head.lead(facts),
        "headline": headline,
        "answers": head.answers(facts, headline, table, audit["warnings"]),
        "numbers": head.numbers(facts, validation, table),
        "study": study(adata, facts, keys, has),
        "sizes": facts["sizes"],
        "missing": _missing(adata, has, params, keys),
        "of_a_number": params is not None and params["kind"] == "regression",
        "models_only": has["validation"] and not (has["de"] or has["shap"] or has["biomarkers"]),
        **audit,
        "validation": validation,
        "biomarkers": table,
        "knockoffs": facts["knockoffs"],
        "gene_level": facts["gene_level"],
        **{name: facts[name] for name in ("groups", "sets", "curve")},
        "methods": paragraphs,
        "references": references,
        "checklist": items,
        "asked_by": [words.REFERENCES["reforms"], words.REFERENCES["tripod"]],
        "states": checklist.counted(items),
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
        "genes": gene_level.present(adata, keys.genes),
        "knockoffs": evidence.knockoffs(adata, keys.knockoffs) is not None,
    }


def _missing(adata: AnnData, has: dict[str, bool], params: dict[str, Any] | None, keys: Keys) -> list[tuple[str, str]]:
    """What the report lacks, and the call that makes it."""
    target = "target" if params is None else repr(str(params["target"]))
    verb = "regress" if params is not None and params["kind"] == "regression" else "classify"
    key = "" if keys.model == "classify" else f", key={keys.model!r}"
    model = "" if keys.model == "classify" else f", model={keys.model!r}"
    for name, at, argument in (("de", keys.de, "de"), ("validation", keys.model, "key")):
        where = elsewhere(adata, at, "model" if name == "validation" else name, argument) if not has[name] else ""
        if where:
            what = "The report has no models" if name == "validation" else "The report has no differential expression"
            warnings.warn(f"{what}: {where}.", DataWarning, stacklevel=4)
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
        "biomarkers": ("The biomarker table, with its settings recorded", f"gb.tl.biomarkers(adata{model})"),
    }
    if has["validation"] and "streamed" in adata.uns[keys.model]:
        calls["null"] = (calls["null"][0], f"gb.tl.stream(source, {target}, n_permutations=100)")
        del calls["de"]  # there is no X
    if not has["validation"]:
        del calls["null"]  # made by the same call
    if (has["genes"] or has["knockoffs"]) and not has["validation"]:
        return []  # asked of genes as rows, or of knockoffs only: nothing is missing
    return [call for name, call in calls.items() if not has[name]]


def _facts(
    adata: AnnData, keys: Keys, has: dict[str, bool], params: dict[str, Any] | None, predictions: pd.DataFrame | None
) -> dict[str, Any]:
    sizes: list[tuple[str, int]] = []
    n_samples, n_dropped, gone = adata.n_obs, 0, ""
    if params is not None and predictions is not None:
        observed = took_part(adata, keys.model)
        n_samples = len(observed)
        n_dropped, gone = apart(adata, keys.model, observed)
        counts = observed.astype(str).value_counts()
        sizes = [(str(name), int(counts.get(str(name), 0))) for name in params.get("classes", ())]
    de = adata.uns.get(keys.de) if has["de"] else None
    level = gene_level.gathered(adata, keys.genes)
    versions = dict(params.get("versions", {})) if params is not None else dict(level["versions"]) if level else {}
    data = adata.uns.get("dataset")
    shap = adata.uns.get(names.shap(keys.model)) if has["shap"] else None
    return {
        "params": params,
        "metrics": get.metrics(adata, key=keys.model) if params is not None else None,
        "de": dict(de) if isinstance(de, Mapping) else {},
        "shap": shap,
        "settings": adata.uns.get(keys.biomarkers) if has["biomarkers"] else None,
        "sizes": sizes,
        "n_samples": n_samples,
        "n_dropped": n_dropped,
        "gone": gone,
        "n_test": _n_test(adata, keys) if params is not None else 0,
        "compared": params is not None and len(adata.uns[keys.model].get("comparisons", ())) > 0,
        "n_genes": adata.n_vars if params is None else int(params.get("n_genes", adata.n_vars)),
        "versions": {str(k): str(v) for k, v in versions.items()},
        "dataset": dict(data) if isinstance(data, Mapping) else {},
        "covariates_suffice": params is not None and covariates_suffice(adata, keys.model, params),
        "lopsided": params is not None and predictions is not None and head.lopsided(params, predictions),
        "gene_level": level,
        "knockoffs": evidence.knockoffs(adata, keys.knockoffs),
        **evidence.gathered(adata, keys.model, genes.toward(params, shap or {})),
    }


def _n_test(adata: AnnData, keys: Keys) -> int:
    if "test_predictions" not in adata.uns[keys.model]:
        return 0
    return int(get.predictions(adata, key=keys.model, test=True)["sample"].nunique())
