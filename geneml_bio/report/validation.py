"""What the report says of a validation: scores, test set, classes, comparisons of models, covariates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import get
from ..core.baseline import COVARIATES_ONLY, WITH_GENES
from ..core.metrics import WINNER, primary
from ..pl._all import Keys
from ..summaries import TESTED, protocol
from ..summary_parts import share_right
from . import tables, words

if TYPE_CHECKING:
    from anndata import AnnData

_SHOWN_PAIRS = 60


def folds_words(params: dict[str, Any]) -> str:
    """How the samples were held out."""
    if str(params.get("cv", "kfold")).startswith("leave_one_"):
        return protocol(params)
    by = f", by {params['groups']}" if "groups" in params else ""
    return f"{params['n_repeats']} x {params['n_splits']}-fold cross-validation{by}"


def gathered(adata: AnnData, keys: Keys, params: dict[str, Any], predictions: pd.DataFrame) -> dict[str, Any]:
    """All of the page's section on performance."""
    metrics = get.metrics(adata, key=keys.model)
    base = tuple(str(name) for name in adata.uns[keys.model].get("baselines", ()))
    models = [name for name in dict.fromkeys(predictions["model"].astype(str)) if name not in base]
    metric = primary(params["kind"])
    best = str(params.get("best", models[0]))
    classes = tuple(str(name) for name in params.get("classes", ()))
    n = int(params.get("n_permutations", 0))
    return {
        "metric": words.metric(metric),
        "rows": tables.performance(metrics, metric, len(models), base),
        "all": tables.all_metrics(metrics, len(models)),
        "corrected": WINNER in set(metrics["model"]),
        "n_models": len(models),
        "n_permutations": n,
        "least": words.p_value(1 / (n + 1)),
        "n_repeats": int(params["n_repeats"]),
        "folds": folds_words(params),
        "chance": "" if not classes else words.fixed(1 / len(classes)),
        "groups": params.get("groups"),
        "positive": classes[1] if len(classes) == 2 else None,
        "best": words.model(best),
        "samples": tables.samples(predictions, classes, best),
        "regression": params["kind"] == "regression",
        "test": _test(adata, keys.model, params, best),
        "per_class": _per_class(adata, keys.model, best),
        "pairs": _pairs(adata, keys.model, metric, base),
        "covariates": _covariates(adata, keys.model, metric, base),
        "epochs": _epochs(adata, keys.model),
    }


def _test(adata: AnnData, key: str, params: dict[str, Any], best: str) -> dict[str, Any] | None:
    """The scores in the test set, and how little one split tells."""
    if "test_predictions" not in adata.uns[key]:
        return None
    table, made = get.metrics(adata, key=key, test=True), get.predictions(adata, key=key, test=True)
    shown = [metric for metric in TESTED[params["kind"]] if metric in set(table["metric"])]
    by = table.set_index(["model", "metric"])
    rows = []
    for model in dict.fromkeys(table["model"]):
        cells = [
            {"value": words.fixed(by.loc[(model, m), "value"]), "interval": words.interval(by.loc[(model, m)])}
            for m in shown
        ]
        rows.append({"name": words.model(model), "cells": cells})
    said = ""
    if "classes" in params:
        said = f"{share_right(adata, {**params, 'best': best}, made, by.loc[(best, 'accuracy')])}."
    return {"n": made["sample"].nunique(), "heads": [words.metric(m) for m in shown], "rows": rows, "said": said}


def _per_class(adata: AnnData, key: str, best: str) -> list[dict[str, str]]:
    """The classification report of the best model."""
    if "per_class" not in adata.uns[key]:
        return []
    table = get.per_class(adata, key=key)
    names = {"cv": "cross-validation", "test": "test set"}
    out = []
    for _, row in table[table["model"] == best].iterrows():
        cells = {name: words.fixed(row[name]) for name in ("precision", "recall", "f1", "roc_auc")}
        out.append({"set": names.get(row["set"], row["set"]), "class": row["class"], "n": f"{int(row['n']):,}"} | cells)
    return out


def _pairs(adata: AnnData, key: str, metric: str, base: tuple[str, ...]) -> dict[str, Any] | None:
    """Model against model."""
    if "comparisons" not in adata.uns[key]:
        return None
    table = get.comparisons(adata, key=key)
    mine = table[(table["metric"] == metric) & ~table["model_a"].isin(base) & ~table["model_b"].isin(base)]
    if mine.empty:
        return None
    rows = [
        {
            "a": words.model(row["model_a"]),
            "b": words.model(row["model_b"]),
            "difference": words.fixed(row["difference"]),
            "interval": words.interval(row),
            "p": words.p_value(row["adj.P.Val"]),
        }
        for _, row in mine.sort_values("adj.P.Val", kind="stable").head(_SHOWN_PAIRS).iterrows()
    ]
    n = int((mine["adj.P.Val"] <= 0.05).sum())
    said = f"{n} of {len(mine)} pairs differ." if n else "No model is shown to be better than another."
    return {"rows": rows, "said": said, "total": len(mine)}


def covariates_suffice(adata: AnnData, key: str, params: Mapping[str, Any]) -> bool:
    """Whether the covariates predict by themselves, and the genes are not shown to add anything to them."""
    base = [str(name) for name in adata.uns[key].get("baselines", ())]
    if COVARIATES_ONLY not in base or "comparisons" not in adata.uns[key]:
        return False
    metric, chance = primary(params["kind"]), 1 / len(params["classes"]) if "classes" in params else 0.0
    scores, pairs = get.metrics(adata, key=key), get.comparisons(adata, key=key)
    alone = scores[(scores["metric"] == metric) & (scores["model"] == COVARIATES_ONLY)]
    pick = (pairs["metric"] == metric) & (pairs["model_a"] == WITH_GENES) & (pairs["model_b"] == COVARIATES_ONLY)
    adds = bool((pairs.loc[pick, "adj.P.Val"] <= 0.05).any() and (pairs.loc[pick, "difference"] > 0).any())
    return bool((alone["low"] > chance).any()) and not adds


def _covariates(adata: AnnData, key: str, metric: str, base: tuple[str, ...]) -> str:
    """What the genes add to the covariates, in a sentence."""
    if COVARIATES_ONLY not in base or "comparisons" not in adata.uns[key]:
        return ""
    table = get.comparisons(adata, key=key)
    pick = (table["metric"] == metric) & (table["model_a"] == WITH_GENES) & (table["model_b"] == COVARIATES_ONLY)
    for _, row in table[pick].iterrows():
        known = words.interval(row)
        beside = f" (95 % interval {known}, p = {words.p_value(row['adj.P.Val'])})" if known != "–" else ""
        nothing = "" if row["adj.P.Val"] <= 0.05 else "; that is not shown to be more than nothing"
        return f"The genes add {words.fixed(row['difference'])} to what the covariates predict{beside}{nothing}."
    return ""


def _epochs(adata: AnnData, key: str) -> list[str]:
    """How each network learned, in a sentence."""
    if "history" not in adata.uns[key]:
        return []
    out = []
    for model, part in get.history(adata, key=key).groupby("model", observed=True, sort=False):
        mean = part.groupby("epoch")[["loss", "val_loss"]].mean()
        first, last = mean.iloc[0], mean.iloc[-1]
        out.append(
            f"{words.model(str(model))}: {len(mean)} epochs; training loss {first['loss']:.3f} to {last['loss']:.3f}, validation loss "
            f"{first['val_loss']:.3f} to {last['val_loss']:.3f}, lowest in epoch {mean['val_loss'].idxmin()}."
        )
    return out
