"""The head of the page: can it be predicted, from which genes, and can it be believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..core.metrics import WINNER, primary
from . import words

# warnings of the audit that mean that a score may not be what it seems, and what each means
DOUBTS = {
    "batch": "the score may be that of the batch",
    "unnamed batch": "the score may be that of the batch",
    "covariates": "what the genes seem to tell may be told by the covariates",
    "unnamed groups": "samples of one donor may lie on both sides of a fold, which makes scores too good",
    "cells without groups": "cells of one donor may lie on both sides of a fold, which makes scores too good",
    "duplicated samples": "copies of samples may give the answers away",
    "one class left out": "the parts held out have one class only, so that scores are no measure",
    "similar samples": "near copies of samples may give the answers away",
    "target among genes": "a gene holds the target itself",
}
WIDE = 0.2
NAMED = 5


def versus(params: Mapping[str, Any]) -> str:
    """The classes, or the target."""
    classes = [str(name) for name in params.get("classes", ())]
    if len(classes) == 2:
        return f"{classes[1]} against {classes[0]}"
    return ", ".join(classes) if 0 < len(classes) <= 6 else str(params["target"])


def title(facts: Mapping[str, Any]) -> str:
    """What the page is called if nobody says."""
    params = facts["params"]
    if params is not None:
        return versus(params) if params["kind"] == "classification" else f"Prediction of {params['target']}"
    if facts["gene_level"]:
        return f"{facts['gene_level']['target']} from properties of genes"
    return str(facts["de"].get("contrast") or "Differential expression").strip("`")  # the name of a number with blanks


def lead(facts: Mapping[str, Any]) -> str:
    """The question, and on how much data."""
    params = facts["params"]
    sample, gene = words.count(facts["n_samples"], "sample"), words.count(facts["n_genes"], "gene")
    if params is None and facts["gene_level"] and not facts["de"]:
        return f"Can {facts['gene_level']['target']} of a gene be predicted from its other properties? {gene}."
    if params is None:
        return f"Which genes differ between the groups? {sample}, {gene}."
    asked = (
        f"Can {params['target']} be predicted"
        if params["kind"] == "regression"
        else f"Can {params['target']} ({versus(params)}) be told from gene expression"
    )
    return f"{asked} in samples that a model has not seen, and from which genes? {sample}, {gene}."


# -- the headline ------------------------------------------------------------------------------------------------------


def lopsided(params: Mapping[str, Any], predictions: pd.DataFrame) -> bool:
    """Whether what was left out in turn held samples of one class only, most of the time."""
    if not str(params.get("cv", "kfold")).startswith("leave_one_") or params["kind"] != "classification":
        return False
    seen = predictions.groupby(["repeat", "fold"], observed=True)["observed"].nunique()
    return bool((seen == 1).mean() > 0.5)


def headline(facts: Mapping[str, Any], warnings: Sequence[Mapping[str, str]]) -> dict[str, str] | None:
    """``state`` (good, care, bad), a sentence in plain words, and the verdict in numbers.

    Good only where the models are better than chance and no warning of the audit offers another explanation, nor do covariates
    to which the genes are not shown to add anything.
    """
    params = facts["params"]
    if params is None or "verdict" not in params:
        return None
    what = f"{params['target']}" if params["kind"] == "regression" else versus(params)
    verdict = str(params["verdict"])
    if not params.get("better_than_chance", False):
        said = f"Not shown: nothing here says that {what} can be predicted. Do not build on these genes."
        if facts["lopsided"]:
            said = f"This way of holding out cannot tell whether {what} can be predicted."
        return {"state": "bad", "text": said, "verdict": verdict}
    checks = [w["check"] for w in warnings] + ["covariates"] * facts["covariates_suffice"]
    doubts = list(dict.fromkeys(DOUBTS[check] for check in checks if check in DOUBTS))
    if doubts:
        said = (
            f"Predicted better than by guessing, but there may be another reason than biology: {words.listed(doubts)}."
        )
        return {"state": "care", "text": said, "verdict": verdict}
    if not tested(params):
        said = f"Yes by its interval, not yet by test: {what} was predicted better than by guessing."
        return {"state": "care", "text": said, "verdict": verdict}
    return {"state": "good", "text": f"Yes: {what} was predicted better than by guessing.", "verdict": verdict}


def tested(params: Mapping[str, Any]) -> bool:
    """Whether permuted targets can tell: there are enough of them, and of ways to arrange the classes."""
    return int(params.get("n_permutations", 0)) >= 19 and float(params.get("n_arrangements", 1e9)) > 19


# -- three answers -----------------------------------------------------------------------------------------------------


def answers(
    facts: Mapping[str, Any],
    head: Mapping[str, str] | None,
    genes: Mapping[str, Any],
    warnings: Sequence[Mapping[str, str]],
) -> list[dict[str, Any]]:
    """The three questions of a reader who reads no further, each with sentences that answer it."""
    out = []
    if head is not None:
        out.append({"question": "Can it be predicted?", "said": _score(facts)})
    if genes:
        out.append(
            {"question": "From which genes?" if head else "Which genes?", "said": _which(genes, head, facts["params"])}
        )
    if head is not None:
        out.append({"question": "Can it be believed?", "said": _believed(facts, head, genes, warnings)})
    return out


def _score(facts: Mapping[str, Any]) -> list[str]:
    params, row = facts["params"], main_row(facts)
    classes, known = params.get("classes", ()), words.interval(row)
    beside = f" (95 % interval {known})" if known != "–" else ""
    score = (
        f"{words.metric(row['metric'])} on samples that the models had not seen: {words.fixed(row['value'])}{beside}"
    )
    if not len(classes):
        return [f"{score}; 0 is no better than the mean of all samples, 1 is perfect."]
    right, guess = round(100 * float(row["value"])), round(100 / len(classes))
    return [
        f"Of 100 samples that the models had not seen, about {right} were given their class; guessing would give {guess} (each class "
        "counted the same).",
        f"{score}.",
    ]


def main_row(facts: Mapping[str, Any]) -> pd.Series:
    """The row of the scores to quote."""
    table = facts["metrics"]
    mine = table[table["metric"] == primary(facts["params"]["kind"])].set_index("model", drop=False)
    if WINNER in mine.index:
        return mine.loc[WINNER]
    best = str(facts["params"].get("best", ""))
    return mine.loc[best] if best in mine.index else mine.iloc[0]


def _which(genes: Mapping[str, Any], head: Mapping[str, str] | None, params: Mapping[str, Any] | None) -> list[str]:
    top = words.listed(genes["top"])
    out = []
    if genes["used"]:
        if head and head["state"] == "bad":
            return [
                "From none that should be built on: genes that explain predictions which do not hold explain nothing."
            ]
        out.append(f"The models relied most on {top}." if genes["top"] else "The models used no gene.")
        if genes["n_both"] is not None:
            one = genes["n_both"] == 1
            does = f"{'differs' if one else 'differ'} between the groups"
            if params is not None and _of_a_number(params):
                does = f"{'goes' if one else 'go'} with {params['target']}"
            if genes["n_used"]:
                used = f"{words.count(genes['n_used'], 'gene')} that they relied on most{_limit(genes)}"
                out.append(f"Of the {used}, {genes['n_both']:,} also {does} by the DE test.")
            elif genes["max_q"] is not None:
                out.append(f"None of the genes that they relied on most counts as used{_limit(genes)}.")
        if genes["called"]:
            out.append(genes["called"])
    else:
        if genes["n_de"] is not None:
            verb = "differs" if genes["n_de"] == 1 else "differ"
            many = words.count(genes["n_de"], "gene")
            out.append(f"{many} of {genes['n_tested']:,} {verb} (adj.P.Val up to {genes['alpha']:g}).")
        if genes["top"]:
            out.append(f"First in the ranking: {top}.")
    return out


def _believed(
    facts: Mapping[str, Any], head: Mapping[str, str], genes: Mapping[str, Any], warnings: Sequence[Mapping[str, str]]
) -> list[str]:
    """What speaks for it and what against, the most serious first."""
    params, row, out = facts["params"], main_row(facts), []
    if facts["lopsided"]:
        out.append(
            "Each part that was held out has one class only, so that its models learned from a study with fewer of just that class. "
            "Scores far below chance come of this and mean nothing; so may some above."
        )
    if warnings:
        out.append(
            f"The study has {words.count(len(warnings), 'warning')} to read first: {words.listed([w['check'] for w in warnings])}."
        )
    out.append(_chance(params, row))
    if not words.missing(row["low"]) and not words.missing(row["high"]):
        width = float(row["high"]) - float(row["low"])
        n = params.get("n_effective", {})
        unit = params.get("groups", "sample") if n.get("unit") == "group" else "sample"
        many = words.count(
            int(n.get("n_effective", facts["n_samples"])), str(unit), "" if unit == "sample" else f"values of {unit}"
        )
        how = "so the score is known only roughly" if width > WIDE else "which pins the score down fairly well"
        out.append(f"It rests on {many}, {how}: the 95 % interval is {words.fixed(width)} wide.")
    if genes.get("steady") and head["state"] != "bad":
        out.append(genes["steady"])
    if "groups" not in params and "batch" not in params:
        out.append("Neither donors nor batches were named: if some samples belong together, the score is too good.")
    external = "test_set" in params
    out.append(
        "The test set was given by the authors; whether it stands for other hospitals, platforms and times is for them to say."
        if external
        else "All samples are from this one study. Whether it holds in other hospitals, platforms or times is open until it is tried there."
    )
    return out


def _chance(params: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    n = int(params.get("n_permutations", 0))
    if not n:
        return "Nothing says yet what chance alone would score: no shuffled labels were run (n_permutations=100)."
    if words.missing(row["p_value"]):
        return f"{words.count(n, 'run')} on shuffled labels scored {words.fixed(row['null_mean'])} on average."
    p = words.p_value(row["p_value"])
    said = f"{words.count(n, 'run')} on shuffled labels scored {words.fixed(row['null_mean'])} on average; p = {p}".replace(
        "p = <", "p <"
    )
    if not tested(params):
        return f"{said}. So few cannot tell: 19 or more can."
    return f"{said}" + (f", the least that {n} runs can give." if float(row["p_value"]) <= 1.0001 / (n + 1) else ".")


def _of_a_number(params: Mapping[str, Any] | None) -> bool:
    return params is not None and params["kind"] == "regression"


# -- the few numbers ---------------------------------------------------------------------------------------------------


def numbers(facts: Mapping[str, Any], validation: Mapping[str, Any], genes: Mapping[str, Any]) -> list[dict[str, str]]:
    """The few numbers at the top."""
    out = []
    does = "change" if _of_a_number(facts["params"]) else "differ"
    if validation:
        head = [row for row in validation["rows"] if not row["base"]][-1]
        note = f"95 % interval {head['interval']}" + (
            "; best model, corrected for the choice" if head["corrected"] else ""
        )
        out.append({"value": head["value"], "name": f"{validation['metric']} on held-out samples", "note": note})
        if head["null"] != "–":
            note = f"95 % limit {head['limit']}, p = {head['p']}".replace("p = <", "p <")
            out.append(
                {"value": head["null"], "name": "the same with shuffled labels (permuted targets)", "note": note}
            )
    if genes.get("n_de") is not None:
        note = f"adj.P.Val up to {genes['alpha']:g}, of {genes['n_tested']:,}"
        name = f"gene that {does}s" if genes["n_de"] == 1 else f"genes that {does}"
        out.append({"value": f"{genes['n_de']:,}", "name": name, "note": note})
    if genes.get("n_both") is not None:
        one, many = f"gene that {does}s and is used", f"genes that {does} and are used"
        note = f"of {words.count(genes['n_used'], 'gene')} that the models rely on most{_limit(genes)}"
        out.append({"value": f"{genes['n_both']:,}", "name": one if genes["n_both"] == 1 else many, "note": note})
    return out


def _limit(genes: Mapping[str, Any]) -> str:
    """What else the genes had to reach, in words."""
    return "" if genes["max_q"] is None else f" (with an empirical q up to {float(genes['max_q']):g})"
