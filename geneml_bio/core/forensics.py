"""What a DE table is, and whether it is whole, from its numbers alone.

Each column of a table is tied to the others by formula: P.Value to t (or F) by the degrees of freedom, adj.P.Val to all
P.Values, B to t by two numbers, CI to logFC and t. The checks solve the formulas for what the table does not say and look
whether one answer holds for all rows, within the digits that were written. docs/forensics.md has the formulas.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from .forensic_adjust import Adjustment
from .forensic_b import LogOdds, fit_b
from .forensic_links import check_error, check_interval, check_order, check_rows, check_sign
from .forensic_numbers import TINY, Tail, column
from .forensic_prior import fit_prior
from .forensic_study import Study, TableCheck
from .forensic_test import TestFit, fit_chi_square, fit_f, fit_test, fit_treat
from .forensic_whole import check_effects, check_histogram, find_adjustment, tell_adjustment
from .names import LIMMA_COLUMNS, DEKind

__all__ = ["TableCheck", "check_table"]


def check_table(frame: pd.DataFrame, kind: DEKind) -> TableCheck:
    """Look at a table in limma's column names.

    Parameters
    ----------
    frame
        One row a feature; columns of :data:`~geneml_bio.core.names.LIMMA_COLUMNS`, whichever are there.
    kind
        What the reader took it for: ``"t"``, ``"F"`` or ``"treat"``.

    Returns
    -------
    TableCheck
        It never raises for what a table holds: what cannot be told is left out or noted.
    """
    with np.errstate(all="ignore"):
        return _look(Study(frame, kind))


def _look(study: Study) -> TableCheck:
    _content(study)
    if not study.has("P.Value"):
        study.add("rows", "note", "There is no P.Value: nothing can be recomputed.")
        check_effects(study, None)
        return study.result()
    _digits(study)
    blamed = check_order(study)
    fit = _test(study, blamed)
    odds = _log_odds(study, fit, blamed)
    adjusted = find_adjustment(study, blamed, fit)
    if study.facts.get("shuffled") != "P.Value":
        check_rows(study, fit, odds, adjusted)
    exact_sign = (
        check_error(study) or odds is not None or (fit is not None and fit.pattern == "shared" and fit.df < 1e4)
    )
    check_sign(study, blamed, exact_sign)
    check_interval(study, fit)
    _underflow(study, fit)
    if adjusted is not None:
        tell_adjustment(study, adjusted)
    _moderation(study, fit, odds, adjusted)
    check_histogram(study, adjusted)
    check_effects(study, adjusted)
    return study.result()


def _content(study: Study) -> None:
    """Rows without numbers, constant genes, rows that repeat."""
    names = [name for name in LIMMA_COLUMNS if study.has(name)]
    if not study.n or not names:
        study.add("rows", "note", "The table has no rows with numbers.")
        return
    values = np.column_stack([study[name].values for name in names])
    if study.has("P.Value"):
        lost = np.isnan(study["P.Value"].values)
        if lost.any():
            empty = np.isnan(values).all(axis=1)
            where = f"{int(lost.sum())} of {study.n}: {study.names(lost)}"
            study.add("missing", "note", "Rows without a p-value (not tested, or constant).", where)
            study.facts["missing"] = int(lost.sum())
            study.facts["empty"] = int(empty.sum())
    if study.has("t", "P.Value"):
        flat = (study["t"].values == 0) & (study["P.Value"].values == 1)
        if flat.any():
            study.add(
                "constant",
                "note",
                "Genes without any difference (t = 0, P = 1).",
                f"{int(flat.sum())}: {study.names(flat)}",
            )
    tested = ~np.isnan(values).any(axis=1) & (np.abs(values).sum(axis=1) > 0)
    if study.has("P.Value"):
        tested &= study["P.Value"].values < 1
    if len(names) >= 3 and tested.sum() > 1 and study[names[0]].digits >= 5:
        again = np.zeros(study.n, dtype=bool)
        again[np.flatnonzero(tested)] = pd.DataFrame(values[tested]).duplicated().to_numpy()
        if again.any():
            evidence = f"{int(again.sum())}: {study.names(again)}"
            study.add("duplicates", "note", "Rows have the same numbers as another row under another id.", evidence)
            study.facts["duplicates"] = int(again.sum())


def _digits(study: Study) -> None:
    digits = {name: item.digits for name, item in study.columns.items()}
    study.facts["digits"] = digits
    short = {
        name: item for name, item in study.columns.items() if item.digits <= 12 and np.isfinite(item.values).sum() >= 3
    }
    if not short:
        study.add("digits", "ok", "The numbers have not been rounded.")
        return
    told = ", ".join(
        f"{name} {item.decimals} decimals" if item.decimals is not None else f"{name} {item.digits} digits"
        for name, item in short.items()
    )
    study.add("digits", "note", "Columns have been rounded; what is recovered from them is less precise.", told)


def _test(study: Study, blamed: str | None) -> TestFit | None:
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
            f"{int(fit.impossible.sum())} rows that cannot be; agreement in order {fit.agreement:.3f}",
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
        study.add(
            "test",
            "warning",
            "P.Value is of a one-sided test: small p-values stand for one direction only.",
            f"df {one.df:.6g}",
        )
        return None
    return fit


def _tell_test(study: Study, fit: TestFit) -> None:
    facts, tail = study.facts, fit.tail or Tail("t")
    normal = tail.name == "t" and fit.u == 0
    facts["statistic"] = "treat" if fit.lfc is not None else "z" if normal else tail.name
    evidence = f"{1 - fit.off.sum() / fit.used.sum():.1%} of {int(fit.used.sum())} rows"
    if tail.name == "chi-square":
        facts["df"] = tail.df1
        study.add("test", "ok", f"P.Value is the chi-square test of LR on {tail.df1:g} df.", evidence)
        return
    if np.isfinite(fit.u):
        facts["df"] = fit.df
        if fit.interval[1] > fit.interval[0]:
            facts["df_interval"] = tuple(np.inf if u <= 0 else 1.0 / u for u in fit.interval[::-1])
    if tail.name == "F":
        facts["df1"] = tail.df1
    facts["df_total"] = {fit.df: int((fit.used & ~fit.off).sum())} | fit.counts if np.isfinite(fit.u) else {}
    if fit.lfc is not None:
        facts["lfc"] = fit.lfc
        message = f"P.Value tests |logFC| > {fit.lfc:.6g} (treat), on {fit.df:.6g} df."
        if study.kind == "treat":
            study.add("test", "ok", message, evidence)
        else:
            study.add("treat", "warning", message + " It is not the p-value of an ordinary t.", evidence)
        return
    on = "normal" if normal else f"on {fit.df:.8g} df" if tail.name == "t" else f"on {tail.df1:g} and {fit.df:.8g} df"
    label = {"t": "t"}.get(tail.name, tail.name)
    if study.kind == "treat" and np.isfinite(fit.u):
        study.add(
            "treat",
            "note",
            "P.Value tests a logFC of 0, not a minimal fold change, though the table was taken for treat's.",
            evidence,
        )
    if fit.pattern == "shared" or (np.isfinite(fit.u) and fit.share > 0.97):
        study.add(
            "test", "ok", f"P.Value is the {'two-sided ' if label == 't' else ''}test of {label}, {on}.", evidence
        )
    elif fit.pattern == "steps":
        study.add("test", "ok", f"P.Value is the two-sided test of {label}; rows have up to {max(fit.counts | {fit.df: 0}):.8g} df.",
                  f"{len(fit.counts) + 1} values, apart by whole numbers (missing values in the data)")  # fmt: skip
    elif fit.pattern == "lower" and fit.share < 0.3:
        message = f"P.Value is the test of {label}, on degrees of freedom that differ from row to row (Welch, weights)."
        study.add("test", "ok", message, f"up to {fit.df:.6g}")
    elif fit.pattern == "lower":
        study.add(
            "test",
            "ok",
            f"P.Value is the test of {label}; most rows {on}, others on fewer (robust, or weights).",
            evidence,
        )
    else:
        study.add(
            "test",
            "note",
            f"The degrees of freedom of {label} differ from row to row (Welch, weights, or changed).",
            evidence,
        )


def _log_odds(study: Study, fit: TestFit | None, blamed: str | None) -> LogOdds | None:
    if fit is None or fit.lfc is not None or not study.has("t", "B") or "B" in (blamed or "").split(" or "):
        return None
    effect, level = (study[name].values if study.has(name) else None for name in ("logFC", "AveExpr"))
    odds = fit_b(study["t"], study["B"], fit.own_u, fit.room, effect, level)
    if odds is None:
        return None
    wrong = odds.off.sum() / odds.used.sum()
    if wrong > 0.2:
        reason = (
            "limma's formula"
            if odds.confirmed
            else "limma's formula with a proportion of 0.01; another one was not recovered"
        )
        study.add("B", "note", f"B does not follow from t by {reason}.", f"{wrong:.0%} of the rows")
        return None
    study.facts["proportion"] = odds.proportion
    study.facts["proportion_recovered"] = odds.confirmed
    if np.isfinite(odds.ratio):
        study.facts["var_ratio"] = odds.ratio
        message = f"B supposes {odds.proportion:.6g} of the genes changed, and r = {odds.ratio:.6g}."
        study.add("B", "ok", message, f"{odds.shared:.0%} of {int(odds.used.sum())} rows")
    elif odds.confirmed:
        message = (
            f"B supposes {odds.proportion:.6g} of the genes changed; r differs by gene (weights or missing values)."
        )
        study.add("B", "ok", message)
    else:
        study.add(
            "B", "ok", "B agrees with t and a proportion of 0.01 (limma's default; r differs by gene: not recovered)."
        )
    return odds


def _underflow(study: Study, fit: TestFit | None) -> None:
    """P-values of exactly 0, or too small for a double."""
    p = study["P.Value"]
    zero = p.values == 0
    vanished = (p.values < TINY) & (p.error <= TINY)
    study.facts["p_zero"] = int(zero.sum())
    if not vanished.any() and not zero.any():
        _floor(study)
        return
    if fit is not None and fit.tail is not None and np.isfinite(fit.u) and fit.tail.name != "chi-square":
        statistic = study["t" if fit.tail.name == "t" else "F"]
        rows = np.flatnonzero(vanished & np.isfinite(statistic.values))
        powers = fit.tail.log10_p(np.abs(statistic.values[rows]), fit.u)
        wrong = rows[powers > -285]
        if wrong.size:
            worst = wrong[np.argmin(np.abs(statistic.values[wrong]))]
            evidence = (
                f"{wrong.size} rows, as {study.ids[worst]}: {statistic.values[worst]:.3g}, P {p.values[worst]:.3g}"
            )
            message = "P.Value is 0 or next to it where the statistic is not that large."
            study.add("underflow", "warning", message, evidence)
            return
        if rows.size:
            study.add(
                "underflow", "note", "P.Value is too small for a double, as the statistic says.", f"{rows.size} rows"
            )
            return
    if zero.any():
        rounded = bool(np.all(p.error[zero] > 0))
        reason = "written with too few decimals" if rounded else "too small for a double, or cut off"
        study.add("underflow", "note", f"P.Value is 0 in {int(zero.sum())} rows: {reason}.", study.names(zero))


def _floor(study: Study) -> None:
    """A least p-value that several rows share though their statistics differ."""
    p = study["P.Value"].values
    known = p[np.isfinite(p)]
    if known.size < 20 or not study.has("t"):
        return
    least = known.min()
    at = p == least
    if (
        3 <= at.sum() < 0.5 * known.size
        and least < 1e-3
        and np.unique(np.abs(study["t"].values[at])).size == at.sum()
        and study["P.Value"].exact
    ):
        study.add("underflow", "warning", f"{int(at.sum())} rows have the same least P.Value, {least:.3g}: it was cut off there.",
                      study.names(at))  # fmt: skip


def _moderation(study: Study, fit: TestFit | None, odds: LogOdds | None, adjustment: Adjustment | None) -> None:
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
    elif whole_number:
        facts["moderation"] = "ordinary"
        message = f"df is the whole number {round(fit.df)}: an ordinary t, or a moderated one by chance."
        study.add("moderation", "note", message)
    elif interval[1] - interval[0] < 0.1:
        facts["moderation"] = "moderated"
        message = (
            "df is no whole number: a moderated t; the prior's share of it is not told (weights, missing values, rows"
        )
        study.add("moderation", "ok", message + " or digits that are not there).")


def _prior(study: Study, fit: TestFit, odds: LogOdds | None) -> bool:
    """Look for the eBayes that has these standard errors as its own result; True where it is found."""
    effect, t = study["logFC"].values, study["t"].values
    se2 = ((np.abs(effect) - (fit.lfc or 0.0)) / t) ** 2
    known = se2[np.isfinite(se2)]
    if known.size >= 10 and np.ptp(known) < 1e-6 * np.median(known):
        study.facts["moderation"] = "one variance for all genes"
        message = "All genes have one standard error: an infinite prior."
        study.add("moderation", "ok", message, f"{known.size} genes")
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
    study.add("moderation", "ok", message, "the standard errors give back the prior that made them")
    return True
