"""The methods paragraphs: what was done, in sentences that can stand in a paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..core.metrics import WINNER
from . import words


def methods(content: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Paragraphs and the references that they call for.

    ``content`` holds ``params`` (of the validation, or None), ``metrics``, ``de`` (provenance, or None), ``shap`` (provenance, or
    None), ``settings`` (of the biomarker table, or None), ``sizes``, ``n_samples``, ``n_genes``, ``versions``.
    """
    paragraphs, used = [], []
    for write in (_data, _de, _models, _scores, _explanations, _table, _software):
        text, wanted = write(content)
        if text:
            paragraphs.append(text)
            used += [name for name in wanted if name not in used]
    return paragraphs, [words.REFERENCES[name] for name in used]


def _data(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    sizes = ", ".join(f"{name}: {n}" for name, n in c["sizes"])
    return (
        f"Data. {words.count(c['n_genes'], 'gene')} in {words.count(c['n_samples'], 'sample')}{f' ({sizes})' if sizes else ''}.",
        [],
    )


def design_words(about: Mapping[str, Any]) -> str:
    """``design ~ 0 + class``, or that a matrix was given."""
    design = str(about["design"])
    return f"design {design}" if "~" in design else design


def _de(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    about = c["de"]
    if not about:
        return "", []
    engine = {"r": "limma", "native": "limma's statistics as implemented in geneml-bio"}.get(
        str(about.get("engine", ""))
    )
    if engine is None:
        return "Differential expression. The statistics were read from a table made elsewhere.", []
    version = about.get("limma_version", "")
    version += f" under R {about['r_version']}" if about.get("r_version") else ""
    design = f", {design_words(about)}" if about.get("design") else ""
    contrast = f", contrast {about['contrast']}" if about.get("contrast") else ""
    trend = ", prior variance following mean expression" if about.get("trend") else ""
    trend += ", robust to outlier variances" if about.get("robust") else ""
    treat = f", tested against a fold change of {float(about['treat_lfc']):g} (treat)" if about.get("treat_lfc") else ""
    text = f"Differential expression. {engine}{f' {version}' if version else ''}{design}{contrast}{trend}{treat}: linear models with "
    return (
        text + "empirical Bayes moderation of the variances; p-values adjusted by Benjamini and Hochberg's method.",
        ["limma", "ebayes", "bh"],
    )


_SCREENS = {"t": "moderated t statistic", "F": "moderated F statistic", "slope": "moderated t statistic of the slope"}


def _models(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    p = c["params"]
    if not p:
        return "", []
    names = [str(name) for name in p["models"]]
    regression = p["kind"] == "regression"
    statistic = _SCREENS["slope" if regression else "t" if len(p["classes"]) == 2 else "F"]
    screen = str(p.get("screen", ""))
    if screen.isdigit():
        chosen = f"the {int(screen):,} genes with the largest {statistic} were chosen"
        chosen += f" (adjusted for {words.listed(_names(p['covariates']))})" if "covariates" in p else ""
    else:
        chosen = "all genes were kept" if screen == "all" else "the genes of a list from other samples were kept"
    strata = "" if regression else "stratified "
    groups = f", all samples of one {p['groups']} on the same side" if "groups" in p else ""
    scheme = str(p.get("cv", "kfold"))
    left = p.get("groups" if "group" in scheme else "batch", "")
    tuned = "tuned hyperparameters by an inner cross-validation" if p.get("tune") else "fixed hyperparameters"
    models = _capital(words.listed([words.model(name) for name in names]))
    repeats = words.count(int(p["n_repeats"]), "repeat")
    validated = f"holding out each {left} in turn"
    if scheme == "kfold":
        validated = f"{repeats} of {strata}{p['n_splits']}-fold cross-validation{groups}"
    text = (
        f"Models. {models} {'was' if len(names) == 1 else 'were'} trained to predict {p['target']} and validated by {validated}"
        f". On the training part of each fold, {chosen}, expression "
        f"was standardised, and models were fitted with {tuned}; the held-out part had no share in any of these steps."
    )
    if "class_weight" in p:
        text += f" Class weights: {words.weights(p['class_weight'])}."
    if "calibrate" in p:
        text += f" Probabilities were calibrated ({p['calibrate']}) on inner folds of the training part."
    if c.get("n_test"):
        text += f" A test set of {words.count(c['n_test'], 'sample')} was held out of all of this and predicted once."
    return text, ["sklearn", *[name for name in ("random_forest", "xgboost") if name in names]]


def _scores(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    p = c["params"]
    if not p:
        return "", []
    unit = f"groups ({p['groups']})" if "groups" in p else "samples"
    text = (
        f"Scores. Computed from predictions of held-out samples and averaged over repeats; 95 % intervals are those of a Bayesian "
        f"bootstrap of {unit} within classes, with half a pseudo-sample a class, widened for models fitted to other training sets and "
        f"for few {unit}."
    )
    used = ["rubin", "nadeau"]
    if WINNER in set(c["metrics"]["model"]):
        text += (
            " The score of the best model was corrected for the choice by an empirical Bayes estimate of its optimism."
        )
    n = int(p.get("n_permutations", 0))
    if n:
        whole = f" (by {p['groups']})" if "groups" in p else ""
        text += (
            f" The same pipelines were run on {n:,} permutations of the target{whole}, one repeat each; p = (1 + b) / (1 + {n:,}), b "
            "being the number of permutations that scored at least as well as the first repeat on the true target."
        )
        used.append("permutation")
    if c.get("compared"):
        text += " Models were compared by the corrected resampled t test on fold scores, p-values adjusted by Holm."
        used.append("holm")
    return text + " Stability of the chosen genes was measured by Nogueira's index.", [*used, "nogueira"]


def _explanations(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    about = c["shap"]
    if not about:
        return "", []
    per_model = pd.DataFrame(about["per_model"])
    kinds = [f"{words.model(str(r['model']))}: {r['explainer']}, {r['unit']}" for _, r in per_model.iterrows()]
    error = float(per_model["max_error"].max())
    text = (
        "Explanations. SHAP values of each held-out sample were computed with the models that had not seen it "
        f"({'; '.join(kinds)}) and averaged over repeats; for every sample they add up to the model's output (largest relative "
        f"departure {error:.0e})."
    )
    if str(about.get("model")) == "consensus":
        text += " The consensus is the mean over models, each divided by its mean total |SHAP| of a sample."
    trees = any("Tree" in str(kind) or "XGBoost" in str(kind) for kind in per_model["explainer"])
    return text, ["shap", *(["trees"] if trees else [])]


def _table(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    s = c["settings"]
    if not s or not c["shap"]:
        return "", []
    return (
        f"Biomarker table. A gene is called DE where adj.P.Val is at most {float(s['alpha']):g}, used where it is among the "
        f"{int(s['n_used'])} genes with the largest mean |SHAP|, and unstable where it is used but was chosen in fewer than "
        f"{words.percent(s['min_frequency'])} of the folds."
    ), []


def _software(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    versions = {str(k): str(v) for k, v in c["versions"].items()}
    mine = versions.pop("geneml-bio", None)
    first = [f"geneml-bio {mine}"] if mine else []
    rest = [f"{'Python' if name == 'python' else name} {v}" for name, v in sorted(versions.items())]
    seed = f" Random seed {c['params']['seed']}." if c["params"] else ""
    return (f"Software. {words.listed([*first, *rest])}.{seed}" if first or rest else ""), []


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in value]
