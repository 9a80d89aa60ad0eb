"""What a paper on such models has to report, and how far this run answers it.

The items are those of REFORMS (Kapoor et al. 2024) and TRIPOD+AI (Collins et al. 2024) that concern data, models and results, in
our own words; the numbers are theirs. What a program cannot know is left to the authors and said to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import words
from .head import DOUBTS, tested

DONE, PART, NOT, AUTHORS = "done", "partly", "not done", "for the authors"

# name -> section, item, who asks for it
ITEMS: dict[str, tuple[str, str, str]] = {
    "population": ("Question", "For whom the claim is made, and why for them", "REFORMS 1a-b; TRIPOD+AI 3a-c"),
    "why_models": ("Question", "Why models, and not a test of each gene alone", "REFORMS 1c; TRIPOD+AI 4"),
    "target": ("Question", "What is predicted", "REFORMS 3d; TRIPOD+AI 8a"),
    "source": ("Data", "Where the data come from, and when", "REFORMS 2a, 3a; TRIPOD+AI 5a-b"),
    "choice": ("Data", "How samples were chosen, and whom they stand for", "REFORMS 3b-c, 3g; TRIPOD+AI 6a-c"),
    "size": ("Data", "How many samples, and why so many", "REFORMS 3e; TRIPOD+AI 10"),
    "missing": ("Data", "What is missing", "REFORMS 3f; TRIPOD+AI 11"),
    "software": ("Reproducibility", "Software, versions, seed", "REFORMS 2b-c; TRIPOD+AI 18f"),
    "open": ("Reproducibility", "Data and code that others can run", "REFORMS 2a-b, 2d-e; TRIPOD+AI 18e-f"),
    "protocol": ("Reproducibility", "Protocol, registration, funding, ethics", "TRIPOD+AI 17, 18a-d, 19"),
    "measured": ("Preparation", "How expression was measured and normalised", "REFORMS 4c; TRIPOD+AI 7, 9a-c"),
    "faulty": ("Preparation", "Faulty or excluded samples", "REFORMS 4a-b; TRIPOD+AI 7"),
    "models": ("Models", "Which models, and all steps that make them", "REFORMS 5a-b; TRIPOD+AI 12b-c, 12g"),
    "tuning": ("Models", "How hyperparameters were chosen", "REFORMS 5e; TRIPOD+AI 12c"),
    "picked": ("Models", "How the best model was picked", "REFORMS 5d"),
    "baseline": ("Models", "Against what it is compared", "REFORMS 5f"),
    "classes": ("Models", "Unequal classes", "TRIPOD+AI 13"),
    "for_use": ("Models", "The model itself, for use", "TRIPOD+AI 15, 22"),
    "apart": ("Leakage", "Training and held-out samples apart in every step", "REFORMS 5c, 6a; TRIPOD+AI 12a"),
    "repeated": ("Leakage", "Dependent or repeated samples", "REFORMS 6b"),
    "predictors": ("Leakage", "Whether each predictor may be used", "REFORMS 6c; TRIPOD+AI 9a"),
    "scores": ("Scores", "Which scores, and why", "REFORMS 7a; TRIPOD+AI 12e"),
    "intervals": ("Scores", "Uncertainty of the scores", "REFORMS 7b; TRIPOD+AI 23a"),
    "tests": ("Scores", "Tests", "REFORMS 7c"),
    "calibration": ("Scores", "Calibration of probabilities", "TRIPOD+AI 12e, 23a"),
    "subgroups": ("Scores", "Scores in subgroups; fairness", "REFORMS 8b; TRIPOD+AI 3c, 14, 23b"),
    "genes": ("Genes", "Which genes the models rely on", "TRIPOD+AI 25"),
    "chance": ("Genes", "How many of these genes chance would give", "REFORMS 7c"),
    "stable": ("Genes", "Whether other samples give other genes", "REFORMS 7b"),
    "elsewhere": ("Use elsewhere", "Tried on samples from elsewhere", "REFORMS 8a; TRIPOD+AI 12d, 16"),
    "limits": ("Use elsewhere", "Limits, and where it will not hold", "REFORMS 8b; TRIPOD+AI 24, 26, 27"),
}
_AUTHORS = {
    "population": "Name the population: disease, tissue, platform, setting.",
    "why_models": "Say what a prediction is for.",
    "choice": "Give the criteria.",
    "open": "Deposit the data and the script. Every argument is stored with the results (gb.get.params).",
    "protocol": "Not known to the program.",
    "limits": "The warnings of the audit belong here.",
}
Answers = dict[str, tuple[str, str]]
Section = tuple[str, list[dict[str, str]]]


def checklist(
    facts: Mapping[str, Any], validation: Mapping[str, Any], genes: Mapping[str, Any], found: Mapping[str, Any]
) -> list[Section]:
    """Section -> items ``what where state answer``, for a study of samples; empty without a validation."""
    if not validation:
        return []
    answers: Answers = {name: (AUTHORS, text) for name, text in _AUTHORS.items()}
    answers |= _data(facts, found) | _models(facts, validation) | _leakage(facts, found)
    answers |= _scores(facts, validation) | _genes(facts, genes) | _elsewhere(facts)
    out: dict[str, list[dict[str, str]]] = {}
    for name, (section, what, where) in ITEMS.items():
        if name in answers:
            state, answer = answers[name]
            out.setdefault(section, []).append({"what": what, "where": where, "state": state, "answer": answer})
    return list(out.items())


def counted(sections: Sequence[Section]) -> list[tuple[str, int]]:
    """How many items are in which state."""
    states = [item["state"] for _, items in sections for item in items]
    return [(state, states.count(state)) for state in (DONE, PART, NOT, AUTHORS) if state in states]


def _data(facts: Mapping[str, Any], found: Mapping[str, Any]) -> Answers:
    p, about = facts["params"], facts["dataset"]
    sizes = ", ".join(f"{name}: {n}" for name, n in facts["sizes"])
    reference = f" ({about['reference']})" if about.get("reference") else ""
    source = f"{about['title']}{reference}. Dates and places are for the authors." if about.get("title") else ""
    units = p.get("n_effective", {})
    of = f" of {int(units['n_effective']):,} {p['groups']}" if units.get("unit") == "group" else ""
    why = "The learning curve shows what more would bring." if facts["curve"] else "Why so many is for the authors."
    lost = facts["n_dropped"]
    said = f"{words.count(lost, 'sample')} without a target left out." if lost else "Every sample has a target."
    gaps = [w["message"] for w in (*found["warnings"], *found["notes"]) if w["check"] == "missing values"]
    layer = f"Models read the layer {p['layer']}." if "layer" in p else "Models read the matrix X as it was given."
    return {
        "target": (PART, f"{p['target']} ({sizes or 'a number'}). How and by whom it was measured is for the authors."),
        "source": (PART, source) if source else (AUTHORS, "Name the data, their accession, dates and places."),
        "size": (PART, f"{words.count(facts['n_samples'], 'sample')}{of}. {why}"),
        "missing": (DONE, f"{said} {gaps[0] if gaps else 'No missing values of expression were found.'}"),
        "software": (DONE, f"See Methods. Seed {p.get('seed', '–')}, data fingerprint {p.get('fingerprint', '–')}."),
        "measured": (PART, f"{layer} Platform, normalisation and filters before that are for the authors."),
        "faulty": (
            PART,
            "Copies, near copies, empty samples, constant genes and wrong scales were looked for by the audit. What was left out "
            "before is for the authors.",
        ),
    }


def _models(facts: Mapping[str, Any], validation: Mapping[str, Any]) -> Answers:
    p = facts["params"]
    n = int(p.get("n_permutations", 0))
    base = [f"{n:,} permuted targets"] if n else []
    base += ["models of the covariates alone"] if validation["covariates"] else []
    beside = words.listed(base)
    used = words.listed([words.model(str(m)) for m in p["models"]])
    tuned = "Tuned by inner cross-validation in the training part of each fold."
    picked = "By the score in cross-validation; the score to quote is corrected for the choice."
    out: Answers = {
        "models": (DONE, f"{used}; see Methods. Why these is for the authors."),
        "tuning": (DONE, tuned if p.get("tune") else "Fixed in advance; none was tuned."),
        "picked": (DONE, picked if validation["corrected"] else "Only one model was fitted."),
        "baseline": (DONE, f"{beside[:1].upper()}{beside[1:]}.")
        if base
        else (PART, "Only the score of guessing; n_permutations=100 and covariates= give more."),
        "for_use": (NOT, "Not part of this report: gb.tl.fit(adata, validation).save(path) writes it."),
    }
    if p["kind"] != "regression":
        weights = f"Class weights: {words.weights(p['class_weight'])}." if "class_weight" in p else "No weights."
        out["classes"] = (DONE, f"{weights} The first score counts each class the same; folds are stratified.")
    return out


def _leakage(facts: Mapping[str, Any], found: Mapping[str, Any]) -> Answers:
    p = facts["params"]
    doubts = {w["check"] for w in found["warnings"]} & set(DOUBTS)
    batch = doubts & {"batch", "unnamed batch"}
    donors = sorted(doubts - batch - {"covariates"})
    group = f"All samples of one {p['groups']} lie on one side." if "groups" in p else "No column of donors was named."
    warned = f"The audit warns: {words.listed(donors)}." if donors else "The audit found no copies."
    external = str(p.get("screen", "")) not in ("all",) and not str(p.get("screen", "")).isdigit()
    steps = "Screen, scaling, tuning and calibration were fitted on the training part of each fold."
    if external:
        steps = (
            "Scaling, tuning and calibration were fitted on the training part of each fold; the genes are of a list said to come "
            "from other samples."
        )
    return {
        "apart": (PART if external else DONE, steps),
        "repeated": (PART if donors or "groups" not in p else DONE, f"{group} {warned}"),
        "predictors": (PART, "The audit warns that batch goes with the target.")
        if batch
        else (AUTHORS, "Was expression measured before the outcome was known?"),
    }


def _scores(facts: Mapping[str, Any], validation: Mapping[str, Any]) -> Answers:
    p = facts["params"]
    n = int(p.get("n_permutations", 0))
    said = f"{n:,} permuted targets through the whole pipeline." if n else "No permuted targets were run."
    said += " Models are compared by a corrected test." if validation["pairs"] else ""
    by_class = "By class, yes. " if validation["per_class"] else ""
    out: Answers = {
        "scores": (DONE, f"{validation['metric']} first; all others under All metrics."),
        "intervals": (DONE, "95 % intervals by bootstrap of independent units, widened for other training sets."),
        "tests": (DONE if tested(p) else PART if n else NOT, said),
        "subgroups": (PART if by_class else NOT, f"{by_class}By sex, age or origin of the patients: for the authors."),
    }
    if p["kind"] != "regression":
        out["calibration"] = (DONE, "Slope, intercept and curve on held-out samples; see Performance.")
    return out


def _genes(facts: Mapping[str, Any], genes: Mapping[str, Any]) -> Answers:
    if not genes or not genes["used"]:
        return {"genes": (NOT, "Not computed: gb.tl.explain(adata), then gb.tl.biomarkers(adata).")}
    empirical, knockoffs = genes["empirical"], facts["knockoffs"]
    chance = (NOT, "Not computed: n_permutations=100, or gb.tl.knockoffs.")
    if empirical or knockoffs:
        chance = (DONE, empirical["short"] if empirical else knockoffs["said"])
    stable = genes["steady"] or "Selection frequencies stand in the table."
    if not genes["selected"]:
        stable = (
            "Every fold was given the same genes; the table holds the interval of each rank by SHAP, where it is known."
        )
    return {
        "genes": (DONE, "SHAP values of samples that the models had not seen; see Genes."),
        "chance": chance,
        "stable": (DONE if genes["selected"] else PART, stable),
    }


def _elsewhere(facts: Mapping[str, Any]) -> Answers:
    if "test_set" in facts["params"]:
        said = "A test set named by the authors was predicted once; how it differs is for them to say."
        return {"elsewhere": (PART, said)}
    return {"elsewhere": (NOT, "All samples are from one study. Cross-validation does not replace another cohort.")}
