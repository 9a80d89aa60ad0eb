"""Whether the columns of a table belong together: row by row they hold the same test."""

from __future__ import annotations

import numpy as np
from scipy import special

from .forensic_adjust import Adjustment
from .forensic_b import LogOdds
from .forensic_numbers import TINY, Column, Tail
from .forensic_study import Level, Study
from .forensic_test import TestFit
from .forensic_words import counted, listed, shared_by

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
    if study.has("t", "P.Value") and all(len({"t", "B"} & set(pair)) == 1 for pair in broken):
        # a one-sided p-value follows t with its sign
        one_sided = concordance(study["t"], study["P.Value"])
        if abs(one_sided) > 0.95:
            return None
    blamed = []
    for name in names:
        own, rest = [pair for pair in links if name in pair], [pair for pair in links if name not in pair]
        if len(own) >= 2 and set(own) <= broken and rest and not broken & set(rest):
            blamed.append(name)
    told = listed([f"{a} with {b} {value:.2f}" for (a, b), value in links.items() if (a, b) in broken])
    told = f"agreement in order, from 0 (chance) to 1: {told}"
    if len(blamed) == 1:
        study.facts["shuffled"] = blamed[0]
        message = (
            f"{blamed[0]} does not belong to its rows: its order has nothing to do with that of the other columns."
        )
        study.add("order", "warning", message + " Take the table from its source again.", told)
        return blamed[0]
    together = sorted({name for pair in broken for name in pair}, key=names.index)
    study.facts["shuffled"] = " or ".join(together)
    study.add("order", "warning", f"{listed(together)} do not belong together row by row.", told)
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
            study.add("sign", "ok", "logFC and t have the same sign in every row.", counted(total))
        return
    share = count / total
    evidence = f"{count:,} of {counted(total)}: {study.names(wrong)}"
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
        study.add("sign", level, f"logFC and t have opposite signs in {counted(count)}.{hint}", evidence)


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
            f"{counted(off.sum())}: {study.names(off)}",
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
        study.add("interval", "warning", message, f"{counted(apart.sum())}: {study.names(apart)}")
    else:
        level = f"{1 - middle:.6g}" if tight else f"{1 - middle:.2g}"
        evidence = shared_by(int(sure.sum()), int(sure.sum()), study.n, "whose digits tell")
        study.add("interval", "ok", f"CI.L and CI.R are {level} confidence intervals.", evidence)


def check_error(study: Study) -> bool:
    """SE against logFC / t; True where they agree (the sign of t is then that of logFC)."""
    if not study.has("SE", "logFC", "t"):
        return False
    effect, t, error = study["logFC"], study["t"], study["SE"]
    size, steps = np.abs(effect.values), np.abs(t.values)
    with np.errstate(all="ignore"):
        # absolute half widths: a logFC written as 0.000 may be any up to 0.0005
        least = np.maximum(steps - t.error, 0.0) * np.maximum(error.values - error.error, 0.0)
        most = (steps + t.error) * (error.values + error.error)
        gap = size - steps * error.values
        slack = effect.error + 1e-7 * (size + most)
        known = np.isfinite(gap) & (error.values >= 0)
        same = known & (size >= least - slack) & (size <= most + slack)
    looked = int(known.sum())
    name = "z" if study.facts.get("statistic") == "z" else "t"
    if not looked:
        return False
    # shrunken a little, rows stay within the digits, but all to one side
    told = known & (np.abs(gap) > 1e-7 * (size + most))
    lean = float(np.sum(np.sign(gap[told])) / np.sqrt(max(1, told.sum())))
    lost = looked - int(same.sum())
    if not lost:
        study.add("error", "ok", f"{name} is logFC / SE.", shared_by(looked, looked, study.n))
        return True
    reach = slack + np.maximum(most - steps * error.values, steps * error.values - least)
    off = known & ~same
    slight = lost >= 3 and np.mean(np.abs(gap[off]) <= 3.0 * reach[off]) > 0.9
    if lost >= 8 and not (effect.exact and t.exact):
        slight |= abs(np.mean(np.sign(gap[off]))) > 0.9 and float(np.median(np.abs(gap[off]) / most[off])) < 0.4
    if lost <= 0.1 * looked and abs(lean) < 6 and not slight:
        wrong = known & ~same & ~study.suspect
        if wrong.any():
            message = f"{name} is logFC / SE but for {counted(wrong.sum())}."
            study.add("error", "warning", message, study.names(wrong))
        return True
    moved = gap[known & (steps > 0)]
    room = (effect.error + most - steps * error.values)[known & (steps > 0)] + 1e-6
    bound = float(np.median(moved)) if moved.size else 0.0
    if moved.size >= 3 and bound > 0 and np.mean(np.abs(moved - bound) <= 1e-5 * bound + 2.0 * room) > 0.99:
        study.facts["lfc"] = bound
        study.test = f"against |logFC| > {bound:.3g}, {study.test}" if study.test else f"against |logFC| > {bound:.3g}"
        study.add("error", "note", f"{name} is (|logFC| - {bound:.4g}) / SE: a test against a minimal fold change.")
        return True
    message = f"{name} is not logFC / SE: the fold changes have been shrunken, or SE is of another fit."
    study.add("error", "note", message, f"{same.sum() / looked:.0%} agree")
    return False


def report_edited(study: Study, name: str, rows: np.ndarray, reason: str) -> None:
    """Report rows of one column that do not fit the others."""
    where = np.flatnonzero(rows)
    study.suspect |= rows
    study.facts.setdefault("edited", {})[name] = [str(study.ids[i]) for i in where[:50]]
    study.changed[name] = study.changed.get(name, 0) + where.size
    message = f"{name} has been changed in {counted(where.size)}: {reason}."
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
        message = f"B of {counted(rest.sum())} is further from what t gives than the digits written explain."
        study.add("B", "note", message, study.names(rest))
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
            _tell_fewer(study, fit, unsure, name)
        off = off & fit.impossible
        strange = bool(off.any())
    if not strange:
        return off, None
    return off, name if state in ("whole", "scaled", "moved") and study[
        "P.Value"
    ].decimals is None else f"{name} or P.Value"


def _tell_fewer(study: Study, fit: TestFit, rows: np.ndarray, name: str) -> None:
    """A few rows on fewer df than the rest: robust eBayes gives them to genes whose variance is an outlier."""
    robust = _outlying(study, rows) & (fit.own_u > fit.u)
    if robust.any():
        df = 1.0 / fit.own_u[robust]
        span = f"{df.min():.3g}" if df.size == 1 else f"{df.min():.3g} to {df.max():.3g}"
        message = f"{counted(robust.sum(), 'gene')} with an outlying variance on fewer df than the rest, as robust eBayes gives them."
        study.add("rows", "ok", message, f"{span} df: {study.names(robust)}")
    rest = rows & ~robust
    if rest.any():
        message = f"{name} and P.Value of {counted(rest.sum())} belong together on other df than those of the rest: "
        reason = (
            "another number of samples, or changed."
            if name == "t" and study.has("logFC")
            else "robust eBayes, or changed."
        )
        study.add("rows", "note", message + reason, study.names(rest))


def _outlying(study: Study, rows: np.ndarray) -> np.ndarray:
    """Rows whose standard error is among the greatest tenth of those at a like average expression."""
    out = np.zeros(study.n, dtype=bool)
    if not study.has("logFC", "t"):
        return out
    with np.errstate(all="ignore"):
        se = np.abs(study["logFC"].values / study["t"].values)
    level = study["AveExpr"].values if study.has("AveExpr") else np.zeros(study.n)
    pool = np.flatnonzero(np.isfinite(se) & np.isfinite(level))
    pool = pool[np.argsort(level[pool], kind="stable")]
    for i in np.flatnonzero(rows):
        at = int(np.searchsorted(level[pool], level[i]))
        near = pool[max(0, at - 100) : at + 100] if study.has("AveExpr") else pool
        out[i] = near.size >= 20 and np.isfinite(se[i]) and float(np.mean(se[near] < se[i])) >= 0.9
    return out


def _fits_b(study: Study, odds: LogOdds, u: float) -> np.ndarray:
    """Rows whose B is that of their t on the common degrees of freedom."""
    df, b, t2 = 1.0 / max(u, 1e-12), study["B"], study["t"].values ** 2
    with np.errstate(all="ignore"):
        kernel = (1 + df) / 2 * (np.log1p(t2 / df) - np.log1p(t2 / odds.ratio / df))
        expected = special.logit(odds.proportion) - np.log(odds.ratio) / 2 + kernel
        room = 10 * (b.error + study["t"].error * np.sqrt(t2)) + 1e-7 * (1 + np.abs(b.values))
        return np.abs(expected - b.values) <= room
