"""The findings on a table in one line."""

from __future__ import annotations

from .forensic_study import Study
from .forensic_words import METHODS, counted, listed


def verdict_of(study: Study) -> str:
    """Whether the table can be used, and what it is."""
    if not study.has("P.Value"):
        return "No p-values: nothing can be said" if study.n else "No rows"
    return _unusable(study) or _of_care(study) or _complete(study)


def _unusable(study: Study) -> str | None:
    facts, reason = study.facts, None
    shuffled = facts.get("shuffled")
    if shuffled:
        names = str(shuffled).split(" or ")
        reason = (
            f"{shuffled} belongs to other rows"
            if len(names) == 1
            else f"{listed(names)} do not belong together row by row"
        )
    elif facts.get("flipped"):
        reason = "logFC and t point in opposite directions"
    elif facts.get("edited"):
        reason = listed([f"{name} was changed in {counted(n)}" for name, n in study.changed.items()])
    elif study.warned("sign"):
        reason = f"logFC and t have opposite signs in {counted(facts['sign_conflicts'])}"
    elif study.warned("error"):
        reason = "t is not logFC / SE in all rows"
    elif study.warned("interval"):
        reason = "the confidence intervals do not belong to logFC and t"
    elif study.warned("underflow"):
        reason = "the smallest p-values are not those of their statistics"
    return None if reason is None else f"Do not use as it is: {reason}"


def _of_care(study: Study) -> str | None:
    facts, n = study.facts, study.n
    test = f"; {study.test}" if study.test else ""
    if study.warned("test"):
        return "One-sided p-values, not the two-sided ones of a DE table"
    if study.warned("adjustment"):
        if facts.get("adjust") == "none":
            return f"Not adjusted: adj.P.Val is P.Value{test}"
        return f"Do not use adj.P.Val: it is not made of these p-values{test}"
    if study.warned("readjusted"):
        return f"Cut to {counted(n)}, then adjusted again: adj.P.Val is too small{test}"
    if study.warned("truncated") or study.warned("filtered"):
        tests, least = facts.get("n_tests"), facts.get("n_tests_at_least")
        total = f"{tests:,}" if tests is not None else f"at least {least:,}" if least else "an unknown number of"
        top = "the top " if facts.get("top") else ""
        cut = f", none with |logFC| below {facts['cut_logfc']:.4g}" if "cut_logfc" in facts else ""
        return f"Cut: {top}{facts.get('n_adjusted', n):,} of {total} tests{cut}{test}"
    if study.warned("treat"):
        return f"Tests against a minimal fold change, not against 0{test}"
    return None


def _complete(study: Study) -> str:
    facts = study.facts
    test = f"; {study.test}" if study.test else ""
    if not study.has("adj.P.Val"):
        return f"No adjusted p-values: {counted(study.n)}{test}"
    if "n_tests" in facts and "adjust" in facts:
        return f"Whole: {counted(facts['n_tests'], 'test')}, {METHODS.get(facts['adjust'], facts['adjust'])}{test}"
    return f"{counted(study.n)}, nothing speaks against them{test}"
