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
    None), ``settings`` (of the biomarker table, or None), ``sizes``, ``n_samples``, ``n_genes``, ``versions``; ``empirical``,
    ``knockoffs``, ``groups``, ``sets``, ``curve``, ``gene_level``, each None where it was not run.
    """
    paragraphs, used = [], []
    writers = (
        _data,
        _de,
        _models,
        _scores,
        _explanations,
        _table,
        _chance,
        _together,
        _curve,
        _genes_as_rows,
        _software,
    )
    for write in writers:
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
    statistic = "F statistics over the contrasts" if about.get("kind") == "F" else "t statistics"
    text = f"Differential expression. {engine}{f' {version}' if version else ''}{design}{contrast}{trend}{treat}: linear models with "
    text += f"empirical Bayes moderation of the variances (moderated {statistic})"
    weights, used = _weights(about)
    text += weights
    if about.get("block"):
        known = f" by {float(about['correlation']):.2g}" if about.get("correlation") is not None else ""
        how = " (duplicateCorrelation)" if about.get("correlation_estimated", True) else ", which was given"
        text += f", samples of one {about['block']} taken as correlated{known}{how}"
        used.append("block")
    used += ["treat"] if about.get("treat_lfc") else []
    used += ["robust"] if about.get("robust") else []
    return text + "; p-values adjusted by Benjamini and Hochberg's method.", ["limma", "ebayes", "bh", *used]


def _weights(about: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Of what kind the data are, and what their samples weigh."""
    if not about.get("voom"):
        return (
            (", samples weighted by their quality (arrayWeights)", ["quality"])
            if about.get("quality_weights")
            else ("", [])
        )
    text, used = " of counts with precision weights (voom)", ["voom"]
    if about.get("quality_weights"):
        text, used = (
            " of counts with precision weights and weights of samples (voomWithQualityWeights)",
            ["voom", "quality"],
        )
    by = str(about.get("normalize", "TMM"))
    return f"{text}, library sizes {'as they are' if by == 'none' else f'normalised by {by}'}", [
        *used,
        *(["tmm"] if by.startswith("TMM") else []),
    ]


_SCREENS = {"t": "moderated t statistic", "F": "moderated F statistic", "slope": "moderated t statistic of the slope"}


def _models(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    p = c["params"]
    if not p:
        return "", []
    names = [str(name) for name in p["models"]]
    regression = p["kind"] == "regression"
    statistic = _SCREENS["slope" if regression else "t" if len(p["classes"]) == 2 else "F"]
    screen = str(p.get("screen", ""))
    if screen.isdigit() and int(screen) >= c["n_genes"]:
        chosen = f"all {c['n_genes']:,} genes were kept"
    elif screen.isdigit():
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
    cited = ("random_forest", "xgboost", "gradient_boosting", "lasso", "elastic_net", "ridge", "svm", "knn")
    calibrated = [str(p["calibrate"])] if str(p.get("calibrate")) in ("sigmoid", "isotonic") else []
    return text, ["sklearn", *[name for name in cited if name in names], *calibrated]


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
    if c.get("n_test"):
        worth = f", at the number of independent samples that its {unit} are worth" if "groups" in p else ""
        text += f" Accuracy in the test set is given with Wilson's interval{worth}."
    used = ["rubin", "nadeau"]
    if WINNER in set(c["metrics"]["model"]):
        text += (
            " The score of the best model was corrected for the choice by an empirical Bayes estimate of its optimism."
        )
        used.append("winner")
    n = int(p.get("n_permutations", 0))
    if n:
        whole = f" (by {p['groups']})" if "groups" in p else ""
        text += (
            f" The same pipelines were run on {n:,} permutations of the target{whole}, one repeat each; p = (1 + b) / (1 + {n:,}), b "
            "being the number of permutations that scored at least as well as the first repeat on the true target."
        )
        used += ["permutation", "phipson"]
    if c.get("compared"):
        text += " Models were compared by the corrected resampled t test on fold scores, p-values adjusted by Holm."
        used.append("holm")
    used += ["wilson", *(["clusters"] if "groups" in p else [])] if c.get("n_test") else []
    return text + " Stability of the chosen genes was measured by Nogueira's index.", [*used, "nogueira"]


def _explanations(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    about = c["shap"]
    if not about:
        return "", []
    per_model = pd.DataFrame(about["per_model"])
    kinds = [f"{words.model(str(r['model']))}: {_explainer(r)}" for _, r in per_model.iterrows()]
    error = float(per_model["max_error"].max())
    text = (
        "Explanations. SHAP values of each held-out sample were computed with the models that had not seen it "
        f"({'; '.join(kinds)}) and averaged over repeats; for every sample they add up to the model's output (largest relative "
        f"departure {error:.0e})."
    )
    if str(about.get("model")) == "consensus":
        text += " The consensus is the mean over models, each divided by its mean total |SHAP| of a sample."
    trees = any("tree" in str(kind).lower() or "XGBoost" in str(kind) for kind in per_model["explainer"])
    sampled = "exact" in per_model and not per_model["exact"].fillna(True).astype(bool).all()
    return text, ["shap", *(["trees"] if trees else []), *(["sampling"] if sampled else [])]


def _explainer(row: pd.Series) -> str:
    """How the SHAP values of a model were computed, and how far off they may be."""
    said = f"{row['explainer']}, {row['unit']}"
    if "exact" not in row or pd.isna(row["exact"]):
        return said
    if bool(row["exact"]):
        return f"{said}, exact"
    error = row.get("sampling_error")
    return f"{said}, sampled" + (
        "" if words.missing(error) else f" with an estimated error of {words.significant(error, 2)}"
    )


def _table(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    s = c["settings"]
    if not s or not c["shap"]:
        return "", []
    fold = f" and |logFC| is at least {float(s['lfc']):g}" if float(s.get("lfc") or 0) else ""
    limit = " (a count, which is filled whatever there is)"
    if s.get("max_q") is not None:
        limit = f" and has an empirical q-value of at most {float(s['max_q']):g}"
    text = (
        f"Biomarker table. A gene is called DE where adj.P.Val is at most {float(s['alpha']):g}{fold}, used where it is among the "
        f"{int(s['n_used'])} genes with the largest mean |SHAP|{limit}, and unstable where it is used but was chosen in fewer than "
        f"{words.percent(s['min_frequency'])} of the folds."
    )
    if c["groups"]:
        text += " A DE gene whose work is done by a used gene that it is correlated with is called redundant."
    return text, []


def _chance(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Error control: genes against permuted targets, and against knockoffs."""
    said, used = [], []
    found = c.get("empirical")
    if found:
        statistic = f" ({found['statistic']})" if found["statistic"] else ""
        runs = f"in the {found['n_permutations']:,} runs on permuted targets"
        said.append(
            f"Each gene's summary{statistic} was compared with those of all genes {runs}: an empirical p-value, in which the observed "
            f"one is counted with them, and a q-value; genes are called at q <= {found['level']}."
        )
        used += ["phipson", "sam"]
    if c.get("knockoffs"):
        k = c["knockoffs"]
        statistic = {"lasso": "coefficients of the LASSO"}.get(k["statistic"], f"coefficients of {k['statistic']}")
        sets = f", {k['n_draws']} sets of copies averaged as e-values" if k["n_draws"] > 1 else ""
        said.append(
            f"Model-X knockoffs (Gaussian copies) of {k['n_tested']:,} genes in {words.count(k['n_samples'], 'sample')}, compared by "
            f"{statistic}{sets}, were filtered at a false discovery rate of {k['level']:g}."
        )
        used += [
            "knockoffs",
            *(["lasso"] if k["statistic"] == "lasso" else []),
            *(["evalues"] if k["n_draws"] > 1 else []),
        ]
    return (f"Error control. {' '.join(said)}" if said else ""), used


def _together(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Groups and sets of genes."""
    said, used = [], []
    if c.get("groups"):
        number = c["params"] and c["params"]["kind"] == "regression"
        given = "after a linear fit to the target" if number else "within the classes"
        said.append(
            f"Genes that the models could use were grouped by complete linkage on their absolute correlation {given}; the "
            "SHAP values of a group are the sums of those of its genes."
        )
    if c.get("sets"):
        said.append(
            "SHAP values were summed over gene sets, and each set was tested against the genes outside it, with the correlation between "
            "genes taken into account in the manner of camera; p-values adjusted by Benjamini and Hochberg's method."
        )
        used += ["camera", "bh"]
    return (f"Genes together. {' '.join(said)}" if said else ""), used


def _curve(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    if not c.get("curve"):
        return "", []
    return (
        "Learning curve. The same pipelines were trained on parts of the training samples of each fold and scored on its held-out part.",
        ["curve"],
    )


def _genes_as_rows(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    g = c.get("gene_level")
    if not g:
        return "", []
    p = g["params"]
    models = words.listed([words.model(str(name)) for name in p.get("models", ())])
    folds = f"{words.count(int(p.get('n_repeats', 1)), 'repeat')} of {int(p.get('n_splits', 5))}-fold cross-validation"
    text = (
        f"Genes as rows. {g['target']} of {words.count(g['n_genes'], 'gene')} was predicted from other properties of each gene by "
        f"{models}: {folds} over genes"
    )
    text += f", and {g['n_test']:,} genes held out and predicted once." if g["n_test"] else "."
    text += (
        " Predictors tied to the target by formula stand apart from the independent ones. Seed "
        + f"{p.get('seed', 0)}."
    )
    return text, ["sklearn", "ebayes"]


def _software(c: Mapping[str, Any]) -> tuple[str, list[str]]:
    versions = {str(k): str(v) for k, v in c["versions"].items()}
    mine = versions.pop("geneml-bio", None)
    first = [f"geneml-bio {mine}"] if mine else []
    rest = [f"{'Python' if name == 'python' else name} {v}" for name, v in sorted(versions.items())]
    seed = f" Random seed {c['params']['seed']}." if c["params"] else ""
    return (f"Software. {words.listed([*first, *rest])}.{seed}" if first or rest else ""), [
        "anndata"
    ] if "anndata" in versions else []


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(v) for v in value]
