"""Whether the columns of a table belong together: row by row they hold the same test."""

from __future__ import annotations

import numpy as np
from scipy import special

from .forensic_adjust import Adjustment
from .forensic_b import LogOdds
from .forensic_numbers import TINY, Column, Tail
from .forensic_study import Level, Study
from .forensic_test import TestFit

_PAIRS = 4000
_BROKEN = 0.5  # concordance below which two columns are not the same order


def concordance(x: Column, y: Column) -> float:
    """Goodman and Kruskal's gamma over random pairs of rows that differ in both; NaN with too few of them."""
    rows = np.flatnonzero(np.isfinite(x.values) & np.isfinite(y.values))
    if rows.size < 20:
        return np.nan
    pick = np.random.default_rng(0).integers(0, rows.size, (2, _PAIRS))
    i, j = rows[pick[0]], rows[pick[1]]
    steps = []
    for item in (x, y):
        step = item.values[i] - item.values[j]
        steps.append(np.where(np.abs(step) > item.error[i] + item.error[j], np.sign(step), 0.0))
    both = steps[0] * steps[1]
    told = both != 0
    return float(both[told].mean()) if told.sum() >= 50 else np.nan


def _size(item: Column, flip: bool = False) -> Column:
    return Column(-item.values if flip else np.abs(item.values), item.error, item.digits, item.decimals)


def check_order(study: Study) -> str | None:
    """Name the column whose rows have been shuffled against the others; all that is monotone must agree."""
    views: dict[str, Column] = {}
    for name in ("t", "F", "LR"):
        if study.has(name) and (name == "t" or study.kind != "t" or not study.has("t")):
            views[name] = _size(study[name])
            break
    for name in ("P.Value", "adj.P.Val"):
        if study.has(name):
            views[name] = _size(study[name], flip=True)
    if study.has("B"):
        views["B"] = study["B"]
    names = list(views)
    links = {}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            value = concordance(views[first], views[second])
            if np.isfinite(value):
                links[first, second] = value
    broken = {pair for pair, value in links.items() if value < _BROKEN}
    if not broken:
        return None
    if study.has("t", "P.Value") and broken <= {pair for pair in links if "t" in pair}:
        one_sided = concordance(study["t"], study["P.Value"])
        if abs(one_sided) > 0.95:
            return None
    blamed = []
    for name in names:
        own, rest = [pair for pair in links if name in pair], [pair for pair in links if name not in pair]
        if len(own) >= 2 and set(own) <= broken and rest and not broken & set(rest):
            blamed.append(name)
    told = ", ".join(f"{a} and {b} agree in order {value:.2f}" for (a, b), value in links.items() if (a, b) in broken)
    if len(blamed) == 1:
        study.facts["shuffled"] = blamed[0]
        message = (
            f"{blamed[0]} does not belong to its rows: its order has nothing to do with that of the other columns."
        )
        study.add("order", "warning", message + " Take the table from its source again.", told)
        return blamed[0]
    together = sorted({name for pair in broken for name in pair}, key=names.index)
    study.facts["shuffled"] = " or ".join(together)
    study.add("order", "warning", f"{' and '.join(together)} do not belong together row by row.", told)
    return " or ".join(together)


def check_sign(study: Study, blamed: str | None, exact: bool) -> None:
    """LogFC and t point the same way; ``exact``: in this kind of table they cannot differ."""
    if not study.has("logFC", "t") or "t" in (blamed or "").split(" or "):
        return
    effect, t = study["logFC"], study["t"]
    told = (np.abs(effect.values) > effect.error) & (np.abs(t.values) > t.error)
    wrong = told & (effect.values * t.values < 0)
    count, total = int(wrong.sum()), int(told.sum())
    study.facts["sign_conflicts"] = count
    if not count:
        if total:
            study.add("sign", "ok", "logFC and t have the same sign in every row.", f"{total} rows")
        return
    share = count / total
    evidence = f"{count} of {total} rows: {study.names(wrong)}"
    study.suspect |= wrong
    if share > 0.98 and total >= 3:
        study.facts["flipped"] = True
        study.add(
            "sign", "warning", "logFC has the opposite sign of t in all rows: one of them is turned round.", evidence
        )
    elif 0.1 < share < 0.9 and concordance(_size(effect), _size(t)) < 0.15:
        study.facts["shuffled"] = "logFC"
        message = "logFC does not belong to its rows: neither its sign nor its size has to do with t."
        study.add("order", "warning", message, evidence)
    else:
        # a rank test and a difference of means can disagree, and do so where the effect is small
        random = np.median(np.abs(t.values[wrong])) > 0.6 * np.median(np.abs(t.values[told]))
        level: Level = "warning" if exact or (share > 0.1 and random) else "note"
        small = " Means of logs and logs of means can differ in sign where the effect is small."
        hint = small if level == "note" else ""
        study.add("sign", level, f"logFC and t have opposite signs in {count} rows.{hint}", evidence)


def check_interval(study: Study, fit: TestFit | None) -> None:
    """CI.L and CI.R: around logFC, as wide as t and its df say; the level."""
    if not study.has("CI.L", "CI.R", "logFC"):
        return
    low, high, effect = study["CI.L"], study["CI.R"], study["logFC"]
    half = (high.values - low.values) / 2.0
    room = low.error + high.error + effect.error + 1e-9 * (np.abs(half) + np.abs(effect.values))
    off = (np.abs((high.values + low.values) / 2.0 - effect.values) > room) & ~study.suspect
    known = np.isfinite(half) & np.isfinite(effect.values)
    if study.facts.get("shuffled") == "logFC" or study.facts.get("flipped"):
        return
    if off.any() and off.sum() <= 0.2 * known.sum():
        report_edited(study, "logFC", off, "it is not the middle of CI.L and CI.R")
    elif off.any():
        study.add(
            "interval",
            "warning",
            "logFC is not the middle of CI.L and CI.R.",
            f"{int(off.sum())} rows: {study.names(off)}",
        )
        return
    if fit is None or fit.tail is None or fit.tail.name != "t" or not study.has("t"):
        return
    t = study["t"]
    with np.errstate(all="ignore"):
        own = half * np.abs(t.values) / (np.abs(effect.values) - (fit.lfc or 0.0))
        share = (low.error + high.error) / half + t.error / np.abs(t.values)
        share = share + effect.error / (np.abs(effect.values) - (fit.lfc or 0.0)) + 1e-9
        sure = np.isfinite(own) & np.isfinite(fit.own_u) & (share < 0.05) & (own > 0) & ~off & ~study.suspect & ~fit.off
        above, below = Tail("t").p(own * (1 - share), fit.own_u), Tail("t").p(own * (1 + share), fit.own_u)
    if sure.sum() < 3:
        return
    middle = float(np.median(((above + below) / 2.0)[sure]))
    study.facts["ci_level"] = 1.0 - middle
    tight = share[sure].max() < 1e-6 and fit.pattern == "shared"
    slack = 1e-7 + (0.0 if tight else 0.02 * middle if fit.pattern == "shared" else 0.2 * middle)
    apart = sure & ((above + slack < middle) | (below - slack > middle))
    if apart.any() and (tight or fit.lfc is None):
        message = f"CI.L and CI.R do not belong to logFC and t (elsewhere they are {1 - middle:.4g} intervals)."
        study.add("interval", "warning", message, f"{int(apart.sum())} rows: {study.names(apart)}")
    else:
        study.add(
            "interval", "ok", f"CI.L and CI.R are {1 - middle:.6g} confidence intervals.", f"{int(sure.sum())} rows"
        )


def check_error(study: Study) -> bool:
    """SE against logFC / t; True where they agree (the sign of t is then that of logFC)."""
    if not study.has("SE", "logFC", "t"):
        return False
    effect, t, error = study["logFC"], study["t"], study["SE"]
    with np.errstate(all="ignore"):
        again = effect.values / error.values
        room = (
            t.error
            + 1e-7 * np.abs(t.values)
            + np.abs(again)
            * (error.error / np.abs(error.values) + effect.error / np.maximum(np.abs(effect.values), 1e-300))
        )
        known = np.isfinite(again) & np.isfinite(t.values)
        same = known & (np.abs(np.abs(again) - np.abs(t.values)) <= room)
        gap = np.abs(effect.values) - np.abs(t.values) * error.values
        moved = gap[known & (t.values != 0)]
    if known.sum() == 0:
        return False
    if same.sum() == known.sum():
        study.add("error", "ok", "t is logFC / SE.", f"{int(known.sum())} rows")
        return True
    if same.sum() >= 0.8 * known.sum():
        wrong = known & ~same & ~study.suspect
        if not wrong.any():
            return True
        study.add("error", "warning", f"t is logFC / SE but for {int(wrong.sum())} rows.", study.names(wrong))
        return True
    if moved.size >= 3 and np.median(moved) > 0 and np.ptp(moved) < 1e-5 * np.median(moved):
        study.facts["lfc"] = float(np.median(moved))
        study.add(
            "error", "note", f"t is (|logFC| - {np.median(moved):.4g}) / SE: a test against a minimal fold change."
        )
        return True
    share = float(same.sum() / known.sum())
    study.add(
        "error",
        "note",
        "t is not logFC / SE: the fold changes have been shrunken, or SE is of another fit.",
        f"{share:.0%} agree",
    )
    return False


def report_edited(study: Study, name: str, rows: np.ndarray, reason: str) -> None:
    """Report rows of one column that do not fit the others."""
    where = np.flatnonzero(rows)
    study.suspect |= rows
    study.facts.setdefault("edited", {})[name] = [str(study.ids[i]) for i in where[:50]]
    message = f"{name} has been changed in {where.size} row{'' if where.size == 1 else 's'}: {reason}."
    study.add("edited", "warning", message, study.names(where))


def check_rows(study: Study, fit: TestFit | None, odds: LogOdds | None, adjusted: Adjustment | None) -> None:
    """Rows whose numbers contradict each other, and the column at fault."""
    moved = np.zeros(study.n, dtype=bool)
    if adjusted is not None and adjusted.state == "moved":
        moved[adjusted.wrong] = True
    if fit is not None and fit.tail is not None and fit.off.any():
        p = study["P.Value"]
        name = {"chi-square": "LR"}.get(fit.tail.name, fit.tail.name)
        common = np.isfinite(fit.u) and fit.share >= 0.8 and fit.pattern != "steps"
        off = fit.off.copy() if common else fit.impossible.copy()
        # those too small for a double are the underflow check's; rows that P alone does not make suspicious need a reason
        off &= ~(p.values < TINY) & ~moved
        if off.any() and off.sum() <= 0.2 * fit.used.sum():
            off, verdict = _at_fault(study, fit, name, off, odds, adjusted)
            if verdict is not None:
                reason = f"{name} gives another p-value" if verdict == "P.Value" else "it is not the one behind P.Value"
                if "or" in verdict:
                    reason = "no degrees of freedom turn the one into the other"
                report_edited(study, verdict, off, reason)
    if moved.any():
        report_edited(study, "P.Value", moved, "adj.P.Val was made of other ones")
    if odds is None or not odds.off.any() or odds.off.sum() > 0.2 * odds.used.sum() or fit is None:
        return
    rest = odds.off & ~study.suspect
    if rest.any() and not all(study[name].exact for name in ("t", "P.Value", "B")):
        message = "B of some rows is further from what t gives than the digits written explain."
        study.add("B", "note", message, f"{int(rest.sum())}: {study.names(rest)}")
        return
    if rest.any():
        # B and t disagree given P: where t would need unheard-of degrees of freedom, it is t
        lawful = fit.own_u[odds.used & ~odds.off]
        strange = rest & (
            (fit.own_u > lawful.max() * (1 + 1e-6) + 1e-9) | (fit.own_u < lawful.min() * (1 - 1e-6) - 1e-9)
        )
        if strange.any():
            report_edited(study, "t", strange, "neither P.Value nor B belongs to it")
        if (rest & ~strange).any():
            report_edited(study, "B", rest & ~strange, "t and its degrees of freedom give another B")


def _at_fault(
    study: Study, fit: TestFit, name: str, off: np.ndarray, odds: LogOdds | None, adjusted: Adjustment | None
) -> tuple[np.ndarray, str | None]:
    """Rows at fault and their column; None where nothing need be wrong (robust eBayes: fewer df in some rows)."""
    state = adjusted.state if adjusted is not None else ""
    p_exact = study["P.Value"].exact
    if odds is not None and np.isfinite(odds.ratio) and name == "t" and np.isfinite(fit.u):
        lawful = off & odds.used & ~odds.off  # P and B agree on other df
        rest = off & ~lawful
        if not (study["t"].exact and p_exact):
            rest &= fit.impossible  # df from rounded numbers are no argument
        if not rest.any():
            return off, None
        by_common = _fits_b(study, odds, fit.u) & rest
        if by_common.sum() > 0.5 * rest.sum():
            return rest, "P.Value"
        return rest, "t"
    some = 0 < fit.impossible.sum() <= 0.2 * fit.used.sum()
    few = off.sum() <= max(3, 0.01 * fit.used.sum())
    if fit.u == 0 or (fit.pattern == "varied" and some):
        strange = True  # the normal distribution has no robust rows
    else:
        unsure = off & ~fit.impossible
        if few and unsure.any() and study["P.Value"].exact and fit.pattern != "steps" and name in ("t", "F"):
            where = f"{int(unsure.sum())}: {study.names(unsure)}"
            message = f"{name} and P.Value of a few rows fit on fewer df only: outliers of robust eBayes, or changed."
            study.add("rows", "note", message, where)
        off = off & fit.impossible
        strange = bool(off.any())
    if not strange:
        return off, None
    return off, name if state in ("whole", "scaled", "moved") and study[
        "P.Value"
    ].decimals is None else f"{name} or P.Value"


def _fits_b(study: Study, odds: LogOdds, u: float) -> np.ndarray:
    """Rows whose B is that of their t on the common degrees of freedom."""
    df, b, t2 = 1.0 / max(u, 1e-12), study["B"], study["t"].values ** 2
    with np.errstate(all="ignore"):
        kernel = (1 + df) / 2 * (np.log1p(t2 / df) - np.log1p(t2 / odds.ratio / df))
        expected = special.logit(odds.proportion) - np.log(odds.ratio) / 2 + kernel
        room = 10 * (b.error + study["t"].error * np.sqrt(t2)) + 1e-7 * (1 + np.abs(b.values))
        return np.abs(expected - b.values) <= room
