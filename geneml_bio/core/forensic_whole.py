"""Whether a table is whole: how adj.P.Val was made, what the p-values and fold changes that are left look like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .forensic_adjust import Adjustment, diagnose
from .forensic_numbers import Tail, column
from .forensic_study import Level, Study
from .forensic_test import TestFit

_CUTS_P = (1e-4, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5)
_CUTS_FC = {0.1: "", 0.2: "", 0.25: "", 0.3: "", np.log2(1.2): "log2(1.2)", 0.4: "", 0.5: "", np.log2(1.5): "log2(1.5)",
            0.6: "", 0.7: "", 0.75: "", 0.8: "", 1.0: "", 1.2: "", 1.25: "", 1.5: "", np.log2(3): "log2(3)", 2.0: "", 2.5: "",
            3.0: "", 4.0: ""}  # fmt: skip


def find_adjustment(study: Study, blamed: str | None, fit: TestFit | None) -> Adjustment | None:
    """How adj.P.Val was made; None where it is not there, or either column has been shuffled."""
    if not study.has("P.Value", "adj.P.Val") or {"P.Value", "adj.P.Val"} & set((blamed or "").split(" or ")):
        return None
    found = diagnose(study["P.Value"], study["adj.P.Val"])
    if found.state == "absent":
        return None
    if found.state == "whole" or fit is None or not np.isfinite(fit.u) or not 0 < fit.off.sum() <= 0.2 * fit.used.sum():
        return found
    # a few p-values that their statistic contradicts: were they other ones when they were adjusted?
    again = p_of(study, fit)
    off = fit.off & np.isfinite(again)
    mended = column(np.where(off, again, study["P.Value"].values))
    return (
        replace(diagnose(mended, study["adj.P.Val"]), state="moved", wrong=np.flatnonzero(off))
        if (diagnose(mended, study["adj.P.Val"]).state == "whole")
        else found
    )


def p_of(study: Study, fit: TestFit) -> np.ndarray:
    """P-values of the statistic on the common degrees of freedom."""
    tail = fit.tail or Tail("t")
    size = np.abs(study[{"chi-square": "LR"}.get(tail.name, tail.name)].values)
    if fit.lfc is None:
        return tail.p(size, fit.u)
    effect = np.abs(study["logFC"].values)
    with np.errstate(all="ignore"):
        return (tail.p(size, fit.u) + tail.p(size * (effect + fit.lfc) / (effect - fit.lfc), fit.u)) / 2.0


def tell_adjustment(study: Study, found: Adjustment) -> None:
    """Put into words how adj.P.Val was made."""
    p = study["P.Value"].values
    q = study["adj.P.Val"].values
    n = int(np.sum(np.isfinite(q) & np.isfinite(p)))
    spare = np.isfinite(p) & np.isnan(q)
    if spare.any():
        study.facts["not_adjusted"] = int(spare.sum())
        message = "Rows with a p-value but no adjusted one (DESeq2's independent filtering, or taken out)."
        study.add("adjustment", "note", message, f"{int(spare.sum())}: {study.names(spare)}")
    for name, value in (
        ("adjust", found.method),
        ("n_tests", found.n_tests),
        ("n_tests_at_least", found.at_least),
        ("pi0", found.pi0),
    ):
        if value is not None:
            study.facts[name] = value
    if found.state == "whole" and found.method == "BH":
        study.add("adjustment", "ok", "adj.P.Val is Benjamini-Hochberg's of exactly these rows.", f"{n} tests")
    elif found.state == "whole" and found.method == "none":
        study.add("adjustment", "warning", "adj.P.Val is P.Value: nothing has been adjusted.", f"{n} rows")
    elif found.state == "whole":
        study.add(
            "adjustment",
            "note",
            f"adj.P.Val is by {found.method}, not Benjamini-Hochberg.",
            f"of exactly these {n} rows",
        )
    elif found.state == "scaled":
        message = f"adj.P.Val is {found.pi0:.6g} times Benjamini-Hochberg: a q-value (Storey)."
        study.add("adjustment", "note", message, f"{n} rows")
    elif found.state == "rows":
        study.facts.setdefault("edited", {})["adj.P.Val"] = [str(study.ids[i]) for i in found.wrong[:50]]
        message = f"adj.P.Val is by {found.method} but for {found.wrong.size} rows: they have been changed."
        study.add("edited", "warning", message, study.names(found.wrong))
    elif found.state == "moved":
        study.add(
            "adjustment",
            "ok",
            f"adj.P.Val is by {found.method}, of these rows before P.Value was changed.",
            f"{n} tests",
        )
    elif found.state == "disordered":
        study.add(
            "adjustment",
            "warning",
            "adj.P.Val is no function of P.Value: weights (IHW), or the columns do not belong together.",
        )
    elif found.state == "unknown":
        study.add(
            "adjustment",
            "warning",
            "adj.P.Val is not made of these p-values by a method that is known here.",
            f"{n} rows",
        )
    else:
        _tell_missing(study, found, n)


def _tell_missing(study: Study, found: Adjustment, n: int) -> None:
    """Rows are missing: how many, and by which cut."""
    total = (
        f"{found.n_tests:,}"
        if found.n_tests is not None
        else f"at least {found.at_least:,}"
        if found.at_least
        else "more"
    )
    by = "" if found.method == "BH" else f" (by {found.method})"
    message = f"{n:,} of {total} tested rows are here{by}"
    cut = _cut_fc(study) if found.state != "top" else None
    if cut is None and found.state != "top":
        cut = _one_sign(study)
    if found.state == "top":
        q = study["adj.P.Val"].values
        top = float(np.nanmax(q))
        near = [c for c in _CUTS_P if top <= c and top > 0.8 * c]
        why = (
            f", perhaps those with adj.P.Val < {near[0]:g}"
            if near and n not in (10, 20, 50, 100, 200, 250, 500, 1000)
            else ""
        )
        study.add(
            "truncated", "warning", f"{message}: the top of a longer table{why}.", f"adj.P.Val P rank = {total} tests"
        )
    elif found.state == "gaps" and found.ranks is not None:
        ranks = ", ".join(str(rank) for rank in found.ranks[1][:5])
        study.add(
            "filtered", "warning", f"{message}; rows are missing from between{cut or ''}.", f"ranks left: {ranks}, ..."
        )
    else:
        study.add(
            "filtered" if cut else "truncated", "warning", f"{message}{cut or ''}; which are missing is not known."
        )


def _one_sign(study: Study) -> str | None:
    """Whether rows of one direction only are left."""
    for name in ("t", "logFC"):
        if study.has(name):
            values = study[name].values[np.isfinite(study[name].values)]
            return (
                ", those of the other direction among them"
                if values.size >= 10 and abs(np.sign(values).sum()) == values.size
                else None
            )
    return None


def _cut_fc(study: Study) -> str | None:
    """A limit that all |logFC| keep to."""
    if not study.has("logFC"):
        return None
    size = np.abs(study["logFC"].values)
    size = size[np.isfinite(size)]
    if size.size < 5:
        return None
    least, middle = float(size.min()), float(np.median(size))
    room = max(0.02, 3.0 * (middle - least) / size.size)
    near = [c for c in _CUTS_FC if c <= least * (1 + 1e-9) and least - c < room * max(1.0, c)]
    if not near or least < 0.15 * middle:
        return None
    cut = max(near)
    study.facts["cut_logfc"] = float(cut)
    return f", those with |logFC| below {_CUTS_FC[cut] or f'{cut:g}'}"


def check_histogram(study: Study, adjustment: Adjustment | None) -> None:
    """The histogram of the p-values."""
    p = study["P.Value"].values
    p = p[np.isfinite(p)]
    if p.size < 20 or (adjustment is not None and adjustment.state in ("top", "gaps", "partial")):
        return
    top = float(p.max())
    if top < 0.5:
        cut = next((c for c in _CUTS_P if top <= c), None)
        sure = p.size >= 50 and cut is not None and cut <= 0.25
        words = f" < {cut:g}" if cut is not None else ""
        redone = adjustment is not None and adjustment.state == "whole"
        tail = " and adjusted again: adj.P.Val is too small" if redone else ""
        message = f"No p-value is above {top:.3g}: rows have been filtered by significance (P or adj.P{words}){tail}."
        study.facts["readjusted"] = bool(redone)
        study.add("readjusted" if redone else "filtered", "warning" if sure else "note", message, f"{p.size} rows")
        return
    distinct = np.unique(p).size
    if study["P.Value"].exact and distinct < 0.5 * p.size:
        study.add("histogram", "note", "The p-values are discrete.", f"{distinct} different in {p.size}")
    if p.size >= 200:
        count = np.histogram(p[p < 1], bins=10, range=(0, 1))[0].astype(float)
        middle = count[3:7].mean()
        if count[9] + (p == 1).sum() > 1.5 * middle + 5 * np.sqrt(middle + 1):
            study.add(
                "histogram",
                "note",
                "P-values pile up near 1: a discrete or conservative test.",
                f"{int(count[9])} against {middle:.0f}",
            )


def check_effects(study: Study, adjustment: Adjustment | None) -> None:
    """What scale logFC is on, and whether small ones have been taken out."""
    if not study.has("logFC"):
        return
    x = study["logFC"].values
    x = x[np.isfinite(x)]
    if x.size < 30:
        return
    size = np.abs(x)
    least, middle = float(size.min()), float(np.median(size))
    gone = adjustment is not None and adjustment.state in ("top", "gaps", "partial")
    if (x < 0).sum() == 0 and least > 0 and 0.5 < middle < 2 and (x < 1).mean() > 0.2 and not gone:
        study.add(
            "scale",
            "note",
            "logFC is never negative and lies around 1: it looks like a ratio, not its log.",
            f"median {middle:.3g}",
        )
        return
    if gone or middle <= 0:
        return
    near_zero = study.has("t") and float(np.nanmin(np.abs(study["t"].values))) < 0.1
    if least >= 1 and near_zero:
        study.add(
            "scale", "note", "No logFC lies between -1 and 1 though t comes close to 0: signed fold changes, not logs."
        )
    elif least > 0.15 * middle:
        cut = _cut_fc(study)
        level: Level = "warning" if x.size >= 50 else "note"
        message = f"No |logFC| is below {least:.3g}: rows have been left out by fold change{cut or ''}."
        study.facts["readjusted"] = adjustment is not None and adjustment.state == "whole"
        study.add("filtered", level, message, f"{x.size} rows, median {middle:.3g}")
    elif (x > 0).all() or (x < 0).all():
        study.add("filtered", "note", "All logFC have one sign: perhaps one direction only was kept.", f"{x.size} rows")
