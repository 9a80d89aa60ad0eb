"""Whether a table is whole: how adj.P.Val was made, what the p-values and fold changes that are left look like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from .forensic_adjust import Adjustment, diagnose
from .forensic_numbers import Tail, column
from .forensic_study import Study
from .forensic_test import TestFit
from .forensic_words import METHODS, counted, listed

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
    study.facts["n_adjusted"] = n
    spare = np.isfinite(p) & np.isnan(q)
    if spare.any():
        study.facts["not_adjusted"] = int(spare.sum())
        message = "Rows with a p-value but no adjusted one (DESeq2's independent filtering, or taken out)."
        study.add("adjustment", "note", message, f"{counted(spare.sum())}: {study.names(spare)}")
    for name, value in (
        ("adjust", found.method),
        ("n_tests", found.n_tests),
        ("n_tests_at_least", found.at_least),
        ("pi0", found.pi0),
    ):
        if value is not None:
            study.facts[name] = value
    if found.state == "whole" and found.method == "BH":
        study.add("adjustment", "ok", "adj.P.Val is Benjamini-Hochberg's of exactly these rows.", counted(n, "test"))
    elif found.state == "whole" and found.method == "none":
        study.add("adjustment", "warning", "adj.P.Val is P.Value: nothing has been adjusted.", counted(n))
    elif found.state == "whole":
        study.add(
            "adjustment",
            "note",
            f"adj.P.Val is by {METHODS.get(str(found.method), found.method)}, not Benjamini-Hochberg.",
            f"of exactly these {counted(n)}",
        )
    elif found.state == "scaled":
        message = f"adj.P.Val is {found.pi0:.6g} times Benjamini-Hochberg: a q-value (Storey)."
        study.add("adjustment", "note", message, counted(n))
    elif found.state == "rows":
        study.facts.setdefault("edited", {})["adj.P.Val"] = [str(study.ids[i]) for i in found.wrong[:50]]
        study.changed["adj.P.Val"] = found.wrong.size
        method = METHODS.get(str(found.method), found.method)
        message = f"adj.P.Val has been changed in {counted(found.wrong.size)}: in all others it is by {method}."
        study.add("edited", "warning", message, study.names(found.wrong))
    elif found.state == "moved":
        study.add(
            "adjustment",
            "ok",
            f"adj.P.Val is by {METHODS.get(str(found.method), found.method)}, of these rows before P.Value was changed.",
            counted(n, "test"),
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
            counted(n),
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
    by = "" if found.method == "BH" else f" (by {METHODS.get(str(found.method), found.method)})"
    message = f"{n:,} of {total} tested rows {'is' if n == 1 else 'are'} here{by}"
    if found.state == "top":
        study.facts["top"] = True
        top = float(np.nanmax(study["adj.P.Val"].values))
        near = [c for c in _CUTS_P if 0.95 * c < top <= c]
        round_number = n in (10, 20, 50, 100, 200, 250, 500, 1000)
        why = f", perhaps those with adj.P.Val < {near[0]:g}" if near and not round_number else ""
        how = {"BH": " / rank", "bonferroni": "", "holm": " less the rows above"}.get(str(found.method))
        evidence = f"adj.P.Val is P.Value times {total}{how}" if how is not None else ""
        study.add("truncated", "warning", f"{message}: the top of a longer table{why}.", evidence)
        return
    cut = _cut_fc(study) or _one_sign(study)
    if found.state == "gaps" and found.ranks is not None:
        own, whole = found.ranks
        last = int(np.argmax(own))
        evidence = f"the first {counted(own[last])} here were among the first {whole[last]:,} of the whole table"
        study.add("filtered", "warning", f"{message}; rows are missing from between{cut or ''}.", evidence)
    else:
        check = "filtered" if cut else "truncated"
        study.add(check, "warning", f"{message}{cut or ''}; which are missing is not known.")


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


def _sharp(x: np.ndarray) -> bool:
    """Whether sizes begin as at a cut: crowded at the least of them, not thinning out towards it."""
    least, middle = float(x.min()), float(np.median(x))
    near = int(np.sum(x <= least + 0.2 * (middle - least)))
    return near >= max(2.0, 0.05 * x.size)


def _cut_fc(study: Study) -> str | None:
    """A limit that all |logFC| keep to."""
    if not study.has("logFC"):
        return None
    size = np.abs(study["logFC"].values)
    size = size[np.isfinite(size)]
    if size.size < 5:
        return None
    least, middle = float(size.min()), float(np.median(size))
    room = max(0.003, 3.0 * (middle - least) / size.size)
    near = [c for c in _CUTS_FC if c <= least * (1 + 1e-9) and least - c < room * max(1.0, c)]
    if not near or least < 0.15 * middle or not _sharp(size):
        return None
    cut = max(near)
    study.facts["cut_logfc"] = float(cut)
    return f", those with |logFC| below {_CUTS_FC[cut] or f'{cut:g}'}"


def check_histogram(study: Study, adjustment: Adjustment | None) -> None:
    """The histogram of the p-values; of a test against a minimal fold change many are near 1."""
    p = study["P.Value"].values
    p = p[np.isfinite(p) & (p < 1)]
    gone = adjustment is not None and adjustment.state in ("top", "gaps", "partial")
    if p.size < 20 or gone or p.max() < 0.5:
        return
    distinct = np.unique(p).size
    if study["P.Value"].exact and distinct < 0.5 * p.size:
        study.add("histogram", "note", "The p-values are discrete.", f"{distinct:,} different in {p.size:,}")
    if p.size < 200 or "lfc" in study.facts or study.kind == "treat":
        return
    count = np.histogram(p, bins=10, range=(0, 1))[0].astype(float)
    middle = count[3:7].mean()
    high = int(count[9] + (study["P.Value"].values == 1).sum())
    if high > 1.5 * middle + 5 * np.sqrt(middle + 1):
        message = "P-values pile up near 1: a discrete or conservative test."
        study.add("histogram", "note", message, f"{high:,} above 0.9 against {middle:,.0f} in a tenth in the middle")


def check_filters(study: Study, adjustment: Adjustment | None) -> None:
    """Rows left out by significance, by fold change or by both: one finding, and no more than the numbers tell.

    A cut in the one leaves the other without its small values too, but thinning out; where it was made they are crowded.
    """
    if study.facts.get("one_sided") or (adjustment is not None and adjustment.state in ("top", "gaps", "partial")):
        return
    p = study["P.Value"].values
    p = p[np.isfinite(p)]
    if not p.size:
        return
    effect = np.abs(study["logFC"].values) if study.has("logFC") and study.kind != "F" else np.empty(0)
    effect = effect[np.isfinite(effect)]
    by_p = p.size >= 20 and float(p.max()) < 0.5
    by_effect = (
        effect.size >= 30 and float(effect.min()) > 0.15 * float(np.median(effect)) > 0 and not _fold_scale(study)
    )
    if not (by_p or by_effect):
        _check_direction(study, adjustment)
        return
    top = float(p.max())
    one_way = _one_sign(study) is not None
    if one_way and top > 0.4 and not by_effect:
        message = f"No p-value is above {top:.3g} and all rows have one sign: one-sided p-values of one direction, or filtered."
        study.add("filtered", "note", message, counted(p.size))
        return
    sharp_p = by_p and _sharp(ndtri(np.clip(1.0 - p / 2.0, 0.5, 1.0 - 1e-16)))
    sharp_effect = by_effect and _sharp(effect)
    redone = adjustment is not None and adjustment.state == "whole"
    cut = next((c for c in _CUTS_P if top <= c), 1.0)
    words = f"P < {cut:g}" if top > 0.97 * cut else "P or adjusted P"
    bound = _cut_fc(study) if sharp_effect else None
    customary = top > 0.97 * cut and cut <= 0.1
    if sharp_p and sharp_effect:  # where sizes go together one cut sharpens both: those at a customary value were made
        sharp_p, sharp_effect = customary, bound is not None
    told = [f"no p-value is above {top:.3g}"] if by_p else []
    told += [f"no |logFC| is below {effect.min():.3g}"] if by_effect and (sharp_effect or not sharp_p) else []
    how = [f"by significance ({words})"] if sharp_p else []
    how += [f"by fold change{bound or ''}"] if sharp_effect else []
    if not how:
        how = [
            listed(
                ["by significance", "by fold change", "by both"] if by_effect else ["by significance", "otherwise"],
                "or",
            )
        ]
    said = listed(told)
    message = f"{said[0].upper()}{said[1:]}: rows have been left out {' and '.join(how)}"
    study.facts["readjusted"] = bool(redone)
    sure = p.size >= 50 and ((by_p and cut <= 0.25) or sharp_effect or not by_p)
    tail = "; adjusted again, adj.P.Val is too small" if redone else ""
    check = "readjusted" if redone else "filtered"
    study.add(check, "warning" if sure else "note", message + tail + ".", counted(p.size))


def _check_direction(study: Study, adjustment: Adjustment | None) -> None:
    x = study["logFC"].values if study.has("logFC") else np.empty(0)
    x = x[np.isfinite(x)]
    if x.size >= 30 and ((x > 0).all() or (x < 0).all()) and not _fold_scale(study):
        message = "All logFC have one sign: perhaps one direction only was kept."
        study.add("filtered", "note", message, counted(x.size))


def _fold_scale(study: Study) -> str | None:
    """Why logFC look like ratios or signed fold changes, if they do."""
    x = study["logFC"].values if study.has("logFC") else np.empty(0)
    x = x[np.isfinite(x)]
    if x.size < 30:
        return None
    least, middle = float(np.abs(x).min()), float(np.median(np.abs(x)))
    if (x < 0).sum() == 0 and least > 0 and 0.5 < middle < 2 and (x < 1).mean() > 0.2:
        return f"logFC is never negative and lies around 1 (median {middle:.3g}): it looks like a ratio, not its log."
    if least >= 1 and study.has("t") and float(np.nanmin(np.abs(study["t"].values))) < 0.1:
        return "No logFC lies between -1 and 1 though t comes close to 0: signed fold changes, not logs."
    return None


def check_scale(study: Study) -> None:
    """What scale logFC is on."""
    reason = _fold_scale(study)
    if reason is not None and "n_tests_at_least" not in study.facts:
        study.add("scale", "note", reason)
