"""What a DE table is, and whether it is whole, from its numbers alone.

Each column of a table is tied to the others by formula: P.Value to t (or F) by the degrees of freedom, adj.P.Val to all
P.Values, B to t by two numbers, CI to logFC and t. The checks solve the formulas for what the table does not say and look
whether one answer holds for all rows, within the digits that were written. docs/forensics.md has the formulas.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from .forensic_links import check_error, check_interval, check_order, check_rows, check_sign
from .forensic_named import name_moderation, name_odds, name_test
from .forensic_numbers import TINY
from .forensic_study import Study, TableCheck
from .forensic_test import TestFit
from .forensic_verdict import verdict_of
from .forensic_whole import check_filters, check_histogram, check_scale, find_adjustment, tell_adjustment
from .forensic_words import counted
from .names import LIMMA_COLUMNS, DEKind

__all__ = ["TableCheck", "check_table"]


def check_table(frame: pd.DataFrame, kind: DEKind, *, whole: bool = False) -> TableCheck:
    """Look at a table in limma's column names.

    Parameters
    ----------
    frame
        One row a feature; columns of :data:`~geneml_bio.core.names.LIMMA_COLUMNS`, whichever are there.
    kind
        What the reader took it for: ``"t"``, ``"F"`` or ``"treat"``.
    whole
        That nothing was left out or changed is known, since the table comes from R's own object: what numbers may look like
        by chance, such as those of an intercept, where nearly every gene differs from zero, is not found then.

    Returns
    -------
    TableCheck
        It never raises for what a table holds: what cannot be told is left out or noted.
    """
    with np.errstate(all="ignore"):
        study = Study(frame, kind)
        _look(study)
        if whole:
            study.forget_damage()
        return replace(study.result(), verdict=verdict_of(study))


def _look(study: Study) -> None:
    _content(study)
    if not study.has("P.Value"):
        study.add("rows", "note", "There is no P.Value: nothing can be recomputed.")
        check_scale(study)
        return
    _digits(study)
    blamed = check_order(study)
    fit = name_test(study, blamed)
    odds = name_odds(study, fit, blamed)
    adjusted = find_adjustment(study, blamed, fit)
    if study.facts.get("shuffled") != "P.Value":
        check_rows(study, fit, odds, adjusted)
    exact_sign = (
        check_error(study) or odds is not None or (fit is not None and fit.pattern == "shared" and fit.df < 1e4)
    )
    check_sign(study, blamed, exact_sign)
    check_interval(study, fit)
    _underflow(study, fit)
    _flat(study)
    if adjusted is not None:
        tell_adjustment(study, adjusted)
    elif not study.has("adj.P.Val"):
        message = "No adjusted p-values: nothing is called; the Benjamini-Hochberg adjustment needs all tested rows."
        study.add("adjustment", "note", message)
    name_moderation(study, fit, odds, adjusted)
    check_histogram(study, adjusted)
    check_filters(study, adjusted)
    if not study.found("filtered") and not study.found("readjusted"):
        check_scale(study)


def _flat(study: Study) -> None:
    """Genes with t = 0; against a minimal fold change those within the bound have it."""
    if not study.has("t", "P.Value") or "lfc" in study.facts or study.kind == "treat":
        return
    flat = (study["t"].values == 0) & (study["P.Value"].values == 1)
    if flat.any():
        evidence = f"{counted(flat.sum())}: {study.names(flat)}"
        study.add("constant", "note", "Genes without any difference (t = 0, P = 1).", evidence)


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
            where = f"{int(lost.sum()):,} of {counted(study.n)}: {study.names(lost)}"
            study.add("missing", "note", "Rows without a p-value (not tested, or constant).", where)
            study.facts["missing"] = int(lost.sum())
            study.facts["empty"] = int(empty.sum())
    tested = ~np.isnan(values).any(axis=1) & (np.abs(values).sum(axis=1) > 0)
    if study.has("P.Value"):
        tested &= study["P.Value"].values < 1
    if len(names) >= 3 and tested.sum() > 1 and study[names[0]].digits >= 5:
        again = np.zeros(study.n, dtype=bool)
        again[np.flatnonzero(tested)] = pd.DataFrame(values[tested]).duplicated().to_numpy()
        if again.any():
            evidence = f"{counted(again.sum())}: {study.names(again)}"
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
                f"{counted(wrong.size)}, as {study.ids[worst]}: {statistic.values[worst]:.3g}, P {p.values[worst]:.3g}"
            )
            message = "P.Value is 0 or next to it where the statistic is not that large."
            study.add("underflow", "warning", message, evidence)
            return
        if rows.size:
            study.add(
                "underflow", "note", "P.Value is too small for a double, as the statistic says.", counted(rows.size)
            )
            return
    if zero.any():
        rounded = bool(np.all(p.error[zero] > 0))
        reason = "written with too few decimals" if rounded else "too small for a double, or cut off"
        study.add("underflow", "note", f"P.Value is 0 in {counted(zero.sum())}: {reason}.", study.names(zero))


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
        study.add("underflow", "warning", f"{counted(at.sum())} have the same least P.Value, {least:.3g}: it was cut off there.",
                      study.names(at))  # fmt: skip
