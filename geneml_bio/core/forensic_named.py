"""The test behind a table put into words: its distribution, its degrees of freedom, its prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .forensic_adjust import Adjustment
from .forensic_b import LogOdds, beyond_digits, fit_b
from .forensic_numbers import Tail, column
from .forensic_prior import fit_prior
from .forensic_study import Study
from .forensic_test import TestFit, fit_chi_square, fit_f, fit_test, fit_treat
from .forensic_words import counted, df_words, plain_number, shared_by


def name_test(study: Study, blamed: str | None) -> TestFit | None:
    """Which test, on how many degrees of freedom."""
    p = study["P.Value"]
    at_fault = (blamed or "").split(" or ")
    if "P.Value" in at_fault:
        return None
    fit: TestFit | None = None
    if study.has("t") and "t" not in at_fault:
        fit = _t_test(study)
    elif study.has("F") and "F" not in at_fault:
        fit = fit_f(study["F"], p, 40)
    elif study.has("LR") and "LR" not in at_fault:
        fit = fit_chi_square(study["LR"], p)
    if fit is None or fit.tail is None or not fit.used.any():
        return None
    name = {"t": "t", "F": "F", "chi-square": "LR"}[fit.tail.name]
    bare = fit.pattern in ("varied", "none") and fit.impossible.sum() > 0.05 * fit.used.sum()
    if not np.isfinite(fit.u) and (fit.used.sum() < 5 or bare):
        message = f"P.Value does not follow from {name} on any degrees of freedom: it is of another test, or one of the two was changed."
        study.add(
            "test",
            "note",
            message,
            f"impossible in {counted(fit.impossible.sum())}; the orders of the two correlate by {fit.agreement:.2f}",
        )
        return None
    _tell_test(study, fit)
    return fit


def _t_test(study: Study) -> TestFit | None:
    """Two-sided t or normal; otherwise one-sided, otherwise treat."""
    t, p = study["t"], study["P.Value"]
    fit = fit_test(t, p, Tail("t"))
    plain = (np.isfinite(fit.u) and fit.share >= 0.5) or fit.pattern in ("steps", "lower")
    silent = ((t.values == 0) & (p.values < 0.999)).sum()
    if plain and not silent:
        return fit
    if study.has("logFC"):
        treat = fit_treat(t, study["logFC"], p)
        if treat is not None and treat.lfc is not None and treat.lfc > 1e-6 and treat.share > max(0.6, fit.share):
            return treat
    flipped = column(2.0 * np.minimum(p.values, 1.0 - p.values))
    one = fit_test(t, flipped, Tail("t")) if not plain and p.exact else None
    if one is not None and np.isfinite(one.u) and one.share > 0.9:
        study.facts["one_sided"] = True
        half = np.nanmax(p.values) <= 0.5 * (1 + 1e-9)
        what = "half the two-sided p-value" if half else "small p-values stand for one direction only"
        evidence = f"t on {df_words(one.u, one.interval)} df"
        study.add("test", "warning", f"P.Value is of a one-sided test: {what}.", evidence)
        return None
    return fit


def _tell_test(study: Study, fit: TestFit) -> None:
    facts, tail = study.facts, fit.tail or Tail("t")
    normal = tail.name == "t" and fit.u == 0
    facts["statistic"] = "treat" if fit.lfc is not None else "z" if normal else tail.name
    evidence = shared_by(int((fit.used & ~fit.off).sum()), int(fit.used.sum()), study.n)
    if tail.name == "chi-square":
        facts["df"] = tail.df1
        study.test = f"chi-square on {tail.df1:g} df"
        study.add("test", "ok", f"P.Value is the chi-square test of LR on {tail.df1:g} df.", evidence)
        return
    if np.isfinite(fit.u):
        facts["df"] = fit.df
        if fit.interval[1] > fit.interval[0]:
            facts["df_interval"] = tuple(np.inf if u <= 0 else 1.0 / u for u in fit.interval[::-1])
    if tail.name == "F":
        facts["df1"] = tail.df1
    facts["df_total"] = {fit.df: int((fit.used & ~fit.off).sum())} | fit.counts if np.isfinite(fit.u) else {}
    df = df_words(fit.u, fit.interval) if np.isfinite(fit.u) else ""
    if fit.lfc is not None:
        facts["lfc"] = fit.lfc
        study.test = f"treat, |logFC| > {fit.lfc:.4g}, t on {df} df"
        message = f"P.Value tests |logFC| > {fit.lfc:.6g} (treat), on {df} df."
        if study.kind == "treat":
            study.add("test", "ok", message, evidence)
        else:
            study.add("treat", "warning", message + " It is not the p-value of an ordinary t.", evidence)
        return
    if study.kind == "treat" and np.isfinite(fit.u):
        message = "P.Value tests a logFC of 0, not a minimal fold change, though the table was taken for treat's."
        study.add("treat", "note", message, evidence)
    _tell_plain(study, fit, "z" if normal else tail.name, df, evidence)


def _tell_plain(study: Study, fit: TestFit, label: str, df: str, evidence: str) -> None:
    """An ordinary test: one df for all rows, or which."""
    on = {"z": "normal distribution", "t": f"on {df} df"}.get(
        label
    ) or f"on {(fit.tail or Tail('F')).df1:g} and {df} df"
    two = "two-sided " if label != "F" else ""
    study.test = f"{label} {on}" if label != "z" else "z (normal) test"
    if fit.pattern == "shared" or (np.isfinite(fit.u) and fit.share > 0.97):
        where = f", {on}" if label != "z" else " (normal distribution)"
        study.add("test", "ok", f"P.Value is the {two}test of {label}{where}.", evidence)
    elif fit.pattern == "steps":
        most = plain_number(max(fit.counts | {fit.df: 0}))
        study.test = f"t on {most} df, or fewer by missing values"
        message = f"P.Value is the two-sided test of {label}; rows have up to {most} df."
        study.add(
            "test", "ok", message, f"{len(fit.counts) + 1} values, apart by whole numbers (missing values in the data)"
        )
    elif np.isfinite(fit.u) and fit.share >= 0.3:
        fewer = (
            "others on fewer (robust, or weights)"
            if fit.pattern == "lower"
            else "others on other ones (weights, missing values)"
        )
        study.test = f"{label} {on} in most rows"
        study.add("test", "ok", f"P.Value is the {two}test of {label}; most rows {on}, {fewer}.", evidence)
    else:
        study.test = f"{label} on df that differ from row to row"
        message = (
            f"P.Value is the {two}test of {label}, on degrees of freedom that differ from row to row (Welch, weights)."
        )
        study.add("test", "ok", message, f"up to {df}" if fit.pattern == "lower" and df else "")


def name_odds(study: Study, fit: TestFit | None, blamed: str | None) -> LogOdds | None:
    """What B supposes of the genes; None where it says nothing, or does not follow from t."""
    if fit is None or fit.lfc is not None or not study.has("t", "B") or "B" in (blamed or "").split(" or "):
        return None
    effect, level = (study[name].values if study.has(name) else None for name in ("logFC", "AveExpr"))
    odds = fit_b(study["t"], study["B"], fit.own_u, fit.room, effect, level)
    if odds is None:
        return None
    if not all(study[name].exact for name in ("t", "P.Value", "B")):
        odds = replace(odds, off=beyond_digits(odds, study["t"], study["B"], study["P.Value"]))
    wrong = odds.off.sum() / odds.used.sum()
    formula = "limma's formula"
    if wrong > 0.2:
        reason = formula if odds.confirmed else f"{formula} with a proportion of 0.01; another one was not recovered"
        study.add("B", "note", f"B does not follow from t by {reason}.", f"{wrong:.0%} of the rows")
        return None
    study.facts["proportion"] = odds.proportion
    study.facts["proportion_recovered"] = odds.confirmed
    digits = 6 if study["B"].exact and study["t"].exact else max(1, min(study["B"].digits, study["t"].digits) - 1)
    share = f"{odds.proportion:.{min(digits, 2) if digits < 6 else 6}g}"
    looked, good = int(odds.used.sum()), int((odds.used & ~odds.off).sum())
    if np.isfinite(odds.ratio):
        study.facts["var_ratio"] = odds.ratio
        message = f"B supposes {share} of the genes changed, and r = {odds.ratio:.{digits}g}: the prior spread of true effects"
        evidence = shared_by(good, looked, study.n, "whose df are known")
        study.add("B", "ok", f"{message} and error together, against the error alone.", evidence)
    elif odds.confirmed:
        message = f"B supposes {share} of the genes changed; how far true effects spread against the error (r) differs by gene"
        study.add("B", "ok", f"{message} (weights or missing values).")
    else:
        message = "B agrees with t and limma's default, that 0.01 of the genes changed; how far true effects spread against the"
        study.add("B", "ok", f"{message} error (r) differs by gene and was not recovered.")
    return odds


def name_moderation(study: Study, fit: TestFit | None, odds: LogOdds | None, adjustment: Adjustment | None) -> None:
    """Ordinary or moderated; residual and prior degrees of freedom where the standard errors give them away."""
    if fit is None or fit.tail is None or fit.tail.name != "t" or not np.isfinite(fit.u):
        return
    facts = study.facts
    if fit.u == 0:
        facts["moderation"] = "normal"
        return
    whole = adjustment is None or adjustment.state in ("whole", "scaled", "rows")
    exact = study.has("logFC") and all(study[name].exact for name in ("logFC", "t", "P.Value"))
    if exact and whole and fit.pattern == "shared" and not study.found("sign") and _prior(study, fit, odds):
        return
    interval = facts.get("df_interval", (fit.df, fit.df))
    whole_number = abs(fit.df - round(fit.df)) < 1e-5 and interval[1] - interval[0] < 0.02
    if fit.pattern == "lower":
        facts["moderation"] = "robust" if fit.share >= 0.3 else "varied"
        if 0.3 <= fit.share <= 0.97 and fit.lfc is None:
            study.test = (
                f"robust eBayes or weights, moderated t on {df_words(fit.u, fit.interval)} df, fewer in some rows"
            )
    elif whole_number:
        facts["moderation"] = "ordinary"
        message = f"df is the whole number {round(fit.df)}: an ordinary t, or a moderated one by chance."
        study.test = f"t on {round(fit.df)} df"
        study.add("moderation", "note", message)
    elif interval[1] - interval[0] < 0.1:
        facts["moderation"] = "moderated"
        study.test = study.test if fit.lfc is not None else f"moderated {study.test}"
        message = "df is not a whole number: a moderated t (eBayes). Residual and prior df cannot be told apart"
        study.add("moderation", "ok", f"{message} (weights, missing values, or too few rows or digits).")


def _prior(study: Study, fit: TestFit, odds: LogOdds | None) -> bool:
    """Look for the eBayes that has these standard errors as its own result; True where it is found."""
    effect, t = study["logFC"].values, study["t"].values
    se2 = ((np.abs(effect) - (fit.lfc or 0.0)) / t) ** 2
    known = se2[np.isfinite(se2)]
    if known.size >= 10 and np.ptp(known) < 1e-6 * np.median(known):
        study.facts["moderation"] = "one variance for all genes"
        message = "All genes have one standard error: an infinite prior."
        study.test = f"limma's eBayes (infinite prior), {study.test}"
        study.add("moderation", "ok", message, f"{known.size:,} genes")
        return True
    prior = odds.prior if odds is not None and odds.confirmed else None
    kind = "weights (voom)"
    if prior is None:
        prior = fit_prior(se2, fit.df)
        kind = "one prior variance"
    if prior is None and study.has("AveExpr"):
        prior = fit_prior(se2, fit.df, study["AveExpr"].values)
        kind = "a trended prior"
    if prior is None:
        return False
    study.facts.update(moderation=f"eBayes, {kind}", df_residual=prior.df_residual, df_prior=prior.df_prior)
    study.facts["s2_prior_scaled"] = prior.scale
    message = f"limma's eBayes with {kind}: {prior.df_residual} residual and {prior.df_prior:.6g} prior df."
    study.test = f"limma's eBayes ({kind}), {'moderated ' if fit.lfc is None else ''}{study.test}"
    study.add("moderation", "ok", message, "the standard errors give back the prior that made them")
    return True
