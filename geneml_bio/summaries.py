"""What the terminal shows of results: the study, its weaknesses, the scores beside chance, and what to do next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import get
from .core.baseline import COVARIATES_ONLY, WITH_GENES
from .core.metrics import WINNER, primary
from .summary_parts import (
    NAME,
    apart,
    by_class,
    discoveries,
    interval,
    matrix,
    name_of,
    number,
    share_right,
    took_part,
    top_biomarkers,
)

if TYPE_CHECKING:
    from anndata import AnnData

SHOWN = {"classification": ("balanced_accuracy", "roc_auc"), "regression": ("r2", "spearman")}
TESTED = {"classification": ("accuracy", "balanced_accuracy", "roc_auc"), "regression": ("r2", "rmse", "mae")}
_WORDS = {"balanced_accuracy": "balanced accuracy", "roc_auc": "ROC AUC", "r2": "R2", "spearman": "Spearman",
          "rmse": "RMSE", "mae": "MAE", "log_loss": "log loss"}  # fmt: skip


def summary(
    adata: AnnData,
    *,
    key: str = "classify",
    files: list[Path] | None = None,
    n: int = 10,
    next_steps: bool = True,
    command: str = "",
) -> str:
    """A short text on results: the study and its weaknesses, performance beside chance, and what else there is.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify`, :func:`geneml_bio.tl.regress` or :func:`geneml_bio.run`.
    key
        Name of these results.
    files
        Files to list at the end.
    n
        How many biomarkers to show, where there is a table of them.
    next_steps
        Whether to say what to do next.
    command
        For the command line: the command that does the whole job.

    Returns
    -------
    The text: warnings of the audit first; the test set, where there is one, with its confusion matrix and the scores of each class;
    cross-validation with 95 % intervals and what permuted targets give; which models differ; covariates; calibration; training of a
    network; genes against permuted targets; biomarkers.
    """
    about = get.params(adata, key)
    blocks = [_study(adata, key, about)]
    if "test_predictions" in adata.uns[key]:
        blocks.append(_test(adata, key, about))
    blocks.append(_performance(adata, key, about))
    blocks += [part(adata, key, about) for part in (_report, _compared, _covariates, _calibration, _network)]
    blocks.append(discoveries(adata, key))
    if "biomarkers" in adata.varm and adata.uns.get("biomarkers", {}).get("model", key) == key:
        blocks.append(top_biomarkers(get.biomarkers(adata), _unit(adata, about), n))
    if files:
        blocks.append(["Files", *[f"  {path}" for path in files]])
    if next_steps:
        blocks.append(_next(adata, key, about, command))
    return "\n" + "\n\n".join("\n".join(block) for block in blocks if block) + "\n\n"


# -- the study ---------------------------------------------------------------------------------------------------------


def _study(adata: AnnData, key: str, about: dict[str, Any]) -> list[str]:
    observed = took_part(adata, key)
    target, size, n_genes = about["target"], f"{len(observed)} samples", int(about.get("n_genes", adata.n_vars))
    if "classes" not in about:
        head = f"{target}: regression in {size}, {n_genes:,} genes"
    else:
        counts = observed.astype(str).value_counts()
        sizes = ", ".join(f"{counts.get(name, 0)} {name_of(name, 40)}" for name in about["classes"])
        names = [name_of(name, 40) for name in about["classes"]]
        versus = " against ".join(names[::-1]) if len(names) == 2 else ", ".join(names)
        head = f"{versus}: {size} ({sizes}), {n_genes:,} genes"
    lines = [head]
    if len(about.get("classes", ())) == 2:
        lines.append(
            f"  Positive class: {names[1]}, for which scores and SHAP values speak; reference: {names[0]}. To exchange them, name the "
            "other one as the reference."
        )
    lines += _effective(about)
    if "streamed" in adata.uns[key]:
        n = int(adata.uns[key]["streamed"]["n_sampled"])
        lines.append(
            f"  Streamed: scores are of all samples, counts by class and intervals of a stratified sample of {n:,}."
        )
    lost, gone = apart(adata, key, observed)
    lines += [f"  {gone}"] if gone else []
    if lost:
        late = target in adata.obs and lost > int(adata.obs[target].isna().sum())
        why = "came after the validation" if late else f"have no value of {target!r}"
        lines.append(f"  {lost} of {adata.n_obs} samples took no part: they {why}.")
    findings = get.audit(adata, key)
    lines += [f"  ! {message}" for message in findings.loc[findings["level"] == "warning", "message"]]
    cautions = adata.uns.get("biomarkers", {}).get("cautions")
    return lines + ([f"  ! {cautions}"] if cautions else [])


def _effective(about: dict[str, Any]) -> list[str]:
    """How many independent samples there are, where that is fewer."""
    found = about.get("n_effective")
    if not found or found["unit"] != "group" or int(found["n_effective"]) >= int(found["n_samples"]):
        return []
    by = ""
    if "per_class" in found and not int(found.get("n_mixed", 0)):
        table = found["per_class"]
        by = f" ({', '.join(f'{n} {name_of(c)}' for c, n in zip(table['class'], table['n_effective'], strict=True))})"
    n = int(found["n_effective"])
    return [
        f"  Effective n: {n}. The {found['n_samples']} samples that are cross-validated come from {n} {about['groups']}s{by}."
    ]


# -- the test set ------------------------------------------------------------------------------------------------------


def _test(adata: AnnData, key: str, about: dict[str, Any]) -> list[str]:
    table, made = get.metrics(adata, key, test=True), get.predictions(adata, key, test=True)
    size, total = made["sample"].nunique(), len(took_part(adata, key))
    lines = [f"Test set: {size} of {total} samples, held out of everything below and predicted once"]
    shown = [metric for metric in TESTED[about["kind"]] if metric in set(table["metric"])]
    lines.append(f"  {'model':<{NAME}}" + "".join(f"{_WORDS.get(metric, metric):<22}" for metric in shown).rstrip())
    by = table.set_index(["model", "metric"])
    for model in dict.fromkeys(table["model"]):
        cells = "".join(interval(by.loc[(model, metric)]).ljust(22) for metric in shown)
        lines.append(f"  {name_of(model):<{NAME}}{cells}".rstrip())
    lines += matrix(adata, key, about, test=True) + by_class(adata, key, about, "test")
    if about.get("test_set"):
        return [*lines, f"  ! It is judged by {size} samples: {_coin(adata, by, made, about)}."]
    return [
        *lines,
        f"  ! One split is judged by {size} samples: {_coin(adata, by, made, about)}.",
        f"    Another split would have given another score. Quote the cross-validation below; it holds out each of {total - size} samples.",
    ]


def _coin(adata: AnnData, by: pd.DataFrame, made: pd.DataFrame, about: dict[str, Any]) -> str:
    """How little a test set tells, in words."""
    if "classes" in about:
        return share_right(adata, about, made, by.loc[(about["best"], "accuracy")])
    row = by.loc[(about["best"], "r2")]
    return f"R2 {row['value']:.2f}, with an interval from {row['low']:.2f} to {row['high']:.2f}"


# -- cross-validation --------------------------------------------------------------------------------------------------


def protocol(about: dict[str, Any]) -> str:
    """How the folds were made: ``5 x 5 folds``, or what was left out in turn."""
    scheme = str(about.get("cv", "kfold"))
    if scheme.startswith("leave_one_"):
        what = scheme.removeprefix("leave_one_").removesuffix("_out")
        column = about.get({"batch": "batch", "group": "groups"}.get(what, ""), what)
        return f"each {column} left out in turn"
    by = f" by {about['groups']}" if "groups" in about else ""
    return f"{about['n_repeats']} x {about['n_splits']} folds{by}"


def _performance(adata: AnnData, key: str, about: dict[str, Any]) -> list[str]:
    table, shown = get.metrics(adata, key), SHOWN[about["kind"]]
    n = int(about["n_permutations"])
    beside = f"null: {n} permuted targets" if n else "no permuted targets were run (n_permutations=0)"
    held = (
        "Cross-validation of the other samples"
        if "test_predictions" in adata.uns[key]
        else "Performance on held-out samples"
    )
    lines = [f"{held} ({protocol(about)}, 95 % intervals; {beside})"]
    head = "".join(f"{_WORDS[m]:<24}{'null / 95 %':<16}" for m in shown)
    lines.append(f"  {'model':<{NAME}}{head}p")
    by, base = table.set_index(["model", "metric"]), set(map(str, adata.uns[key].get("baselines", ())))
    for model in sorted(dict.fromkeys(table["model"]), key=lambda name: name in base):
        cells = ""
        for metric in shown:
            row = by.loc[(model, metric)]
            cells += interval(row).ljust(24)
            null = f"{row['null_mean']:.2f} / {row['null_high']:.2f}" if np.isfinite(row["null_mean"]) else "-"
            cells += null.ljust(16)
        p = by.loc[(model, shown[0]), "p_value"]
        lines.append(f"  {name_of(model):<{NAME}}{cells}{number(p, 3)}")
    if WINNER in set(table["model"]):
        lines.append(f"  {WINNER!r} is what picking the best model deserves; quote that one.")
    undefined = (
        by["n_folds_undefined"].xs(shown[0], level="metric") if "n_folds_undefined" in by else pd.Series(dtype=float)
    )
    if undefined.notna().any() and int(undefined.max()):
        lines.append(
            f"  {int(undefined.max())} folds held out no sample of one of the classes; they are counted, not averaged away."
        )
    return [*lines, f"  {'' if about['better_than_chance'] else '! '}{about['verdict']}"]


def _report(adata: AnnData, key: str, about: dict[str, Any]) -> list[str]:
    """Confusion matrix and scores by class in cross-validation."""
    lines = by_class(adata, key, about, "cv")
    if not lines:
        return []
    repeats = int(about["n_repeats"])
    return [
        f"By class in cross-validation{f' (mean over {repeats} repeats)' if repeats > 1 else ''}",
        *matrix(adata, key, about, test=False),
        *lines,
    ]


def _compared(adata: AnnData, key: str, about: dict[str, Any]) -> list[str]:
    """Which models differ, after correction for how often was looked."""
    if "comparisons" not in adata.uns[key]:
        return []
    table = get.comparisons(adata, key)
    metric = primary(about["kind"])
    base = set(map(str, adata.uns[key].get("baselines", ())))
    mine = table[(table["metric"] == metric) & ~table["model_b"].isin(base) & ~table["model_a"].isin(base)]
    if mine.empty:
        return []
    lines = [f"Model against model ({_WORDS[metric]}; corrected resampled t test, p adjusted by Holm)"]
    found = mine[mine["adj.P.Val"] <= 0.05]
    if mine["p_value"].isna().all():
        return [*lines, "  None could be compared: too few folds hold out every class."]
    if found.empty:
        return [*lines, "  No model is shown to be better than another."]
    for _, row in found.sort_values("adj.P.Val").iterrows():
        sign = 1.0 if row["difference"] > 0 else -1.0
        better, worse = (row["model_a"], row["model_b"]) if sign > 0 else (row["model_b"], row["model_a"])
        low, high = sorted((sign * row["low"], sign * row["high"]))
        said = f"{abs(row['difference']):.2f} [{low:.2f}, {high:.2f}], p = {row['adj.P.Val']:.2g}"
        lines.append(f"  {name_of(better)} is better than {name_of(worse)} by {said}")
    rest = len(mine) - len(found)
    return [*lines, f"  {rest} other {'pair is' if rest == 1 else 'pairs are'} not shown to differ."] if rest else lines


def _covariates(adata: AnnData, key: str, about: dict[str, Any]) -> list[str]:
    """What the covariates predict alone, and what the genes add."""
    base = [str(name) for name in adata.uns[key].get("baselines", ())]
    if COVARIATES_ONLY not in base:
        return []
    metric = primary(about["kind"])
    by = get.metrics(adata, key).set_index(["model", "metric"])
    listed = about.get("covariates", ())
    named = listed if isinstance(listed, str) else ", ".join(map(str, listed))
    lines = [f"Covariates ({named}; {_WORDS[metric]}, linear models)"]
    lines += [f"  {name:<{NAME}}{interval(by.loc[(name, metric)])}" for name in base if (name, metric) in by.index]
    if "comparisons" not in adata.uns[key]:
        return lines
    table = get.comparisons(adata, key)
    pick = (table["metric"] == metric) & (table["model_a"] == WITH_GENES) & (table["model_b"] == COVARIATES_ONLY)
    for _, row in table[pick].iterrows():
        known = np.isfinite(row["adj.P.Val"])
        said = f" [{row['low']:.2f}, {row['high']:.2f}], p = {row['adj.P.Val']:.2g}" if known else ""
        words = "" if known and row["adj.P.Val"] <= 0.05 else "; not shown to add anything"
        lines.append(f"  The genes add {row['difference']:.2f}{said}{words}.")
    return lines


def _calibration(adata: AnnData, key: str, about: dict[str, Any]) -> list[str]:
    """Whether the probabilities of the best model come true."""
    by = get.metrics(adata, key).set_index(["model", "metric"])
    slope, shift = ((about["best"], f"calibration_{name}") for name in ("slope", "intercept"))
    if slope not in by.index or not np.isfinite(by.loc[slope, "value"]):
        return []
    row = by.loc[slope]
    words = ""
    if np.isfinite([row["low"], row["high"]]).all():
        words = "; probabilities are too close to 0 and 1" if row["high"] < 1 else "; no departure is shown"
        words = "; probabilities are too cautious" if row["low"] > 1 else words
    made = f", calibrated by {about['calibrate']}" if about.get("calibrate") else ""
    said = f"slope {interval(row)}"
    if shift in by.index and np.isfinite(by.loc[shift, "value"]):
        said += f", intercept {interval(by.loc[shift])}"
    return [f"Calibration of {name_of(about['best'])}{made}: {said} (best: 1 and 0){words}."]


def _network(adata: AnnData, key: str, about: dict[str, Any]) -> list[str]:
    """How a network learned."""
    if "history" not in adata.uns[key]:
        return []
    table, lines = get.history(adata, key), []
    for model, part in table.groupby("model", observed=True, sort=False):
        mean = part.groupby("epoch")[["loss", "val_loss"]].mean()
        first, last, lowest = mean.iloc[0], mean.iloc[-1], int(mean["val_loss"].idxmin())
        fits = len(part[["repeat", "fold"]].drop_duplicates())
        lines += [
            f"Training of {name_of(model)} ({len(mean)} epochs, mean of {fits} fits)",
            f"  training loss {first['loss']:.3f} -> {last['loss']:.3f}, validation loss {first['val_loss']:.3f} -> {last['val_loss']:.3f}"
            f", lowest ({mean['val_loss'].min():.3f}) in epoch {lowest}",
        ]
        if lowest < mean.index.max() and last["val_loss"] > 1.1 * mean["val_loss"].min():
            lines.append(
                f"  It learns its training part by heart after epoch {lowest}: fewer epochs, or fewer units, would do."
            )
    return lines


# -- biomarkers --------------------------------------------------------------------------------------------------------


def _unit(adata: AnnData, about: dict[str, Any]) -> str:
    """Unit of the SHAP values on the object."""
    key = "classify" if about["kind"] == "classification" else "regress"
    return str(adata.uns.get(f"{key}_shap", {}).get("unit", ""))


# -- what to do next ---------------------------------------------------------------------------------------------------


def _next(adata: AnnData, key: str, about: dict[str, Any], command: str) -> list[str]:
    verb, asked, n = str(about["kind"]).replace("classification", "classify"), [], int(about["n_permutations"])
    if n < 100:
        had = (
            "No permuted targets were run" if not n else f"{n} permuted targets cannot give a p below {1 / (n + 1):.2g}"
        )
        asked.append(f"{had}. For a publication: {'--permutations 100' if command else 'n_permutations=100'}")
    if "groups" not in about:
        named = "--groups COLUMN" if command else 'groups="column"'
        asked.append(
            f"Several samples of one patient or donor? Then name their column, or the scores are too good: {named}"
        )
    if not about["better_than_chance"]:
        asked.append("Nothing was shown to be predicted. Look at the warnings and at the class sizes before at genes")
    elif "biomarkers" not in adata.varm or adata.uns.get("biomarkers", {}).get("model", key) != key:
        name = "" if key in (verb, "classify") else f", key={key!r}"
        calls = (
            f"gb.tl.explain(adata{name}), gb.tl.biomarkers(adata); or all at once: gb.run(adata, {about['target']!r})"
        )
        if "streamed" in adata.uns[key]:  # without expression there is nothing else to ask
            calls = f"gb.tl.biomarkers(adata{'' if key == 'classify' else f', model={key!r}'})"
        asked.append(f"Which genes, and do they differ by themselves? {command or calls}")
    return ["Next", *[f"  - {line}" for line in asked]] if asked else []
