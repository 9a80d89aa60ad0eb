"""From the columns of a matched table to a checked DETable."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.detable import DETable
from ..core.errors import TableError
from ..core.names import LIMMA_COLUMNS, NO_STATISTIC, STATISTICS, DEKind
from ..core.pvalues import adjust
from ..core.written import signed_root
from . import ids as ids_of
from . import mangled, scales
from .cells import Cells, read_numbers
from .dialects import Dialect
from .matching import distinct
from .plans import Plan
from .vocabulary import ROW_NAMES

if TYPE_CHECKING:
    from .toptables import How

_FEW = 20
_UP = "No logFC is negative"
_LRT = (
    "P.Value is of a likelihood-ratio test (DESeq2's LRT), which compares two models; logFC belongs to one coefficient and is not "
    "what was tested"
)
_TOO_FAR = 60.0  # the log2 of a ratio of a count of 1e18; DESeq2's runaway estimates end near 30


@dataclass(frozen=True)
class Facts:
    """What an object of R says of its table.

    Parameters
    ----------
    treated
        Whether the test is against a minimal fold change; None: not known.
    coefficients
        Names of the effects of a joint test.
    whole
        Whether it holds all rows and numbers of a fit as they were computed: then nothing was cut or changed.
    counted
        Whether its row names only count rows.
    """

    treated: bool | None = None
    coefficients: tuple[str, ...] = ()
    whole: bool = False
    counted: bool = False


def assemble(cells: Cells, plan: Plan, dialect: Dialect | None, how: How, facts: Facts, by: tuple[str, ...]) -> DETable:
    """Convert, check and label what was matched."""
    notes = [*cells.notes, *plan.notes]
    if dialect is not None and dialect.note:
        notes.append(dialect.note)
    names = distinct(cells.header)
    taken = {i for i, _ in plan.uses.values()} | set(plan.coefficients)
    used = sorted(taken)
    decimal = cells.decimal(used)
    statistics, described, kind = _statistics(cells, plan, dialect, decimal, notes)
    own = names[plan.ids] if plan.ids is not None else None
    ids = ids_of.choose(cells, taken | set(plan.others), how.feature or own)
    _check_stacked(cells, ids, taken, dialect, how, by)
    frame = _frame(cells, plan, statistics, ids, names, decimal, notes)
    rows = len(frame)
    way_out = _other_ids(ids, names, cells, taken) if len(set(ids.values)) < rows else ""
    frame, found = ids_of.settle(frame, ids.values, how.duplicates, notes, way_out)
    if found:
        notes.append(mangled.report(found, ids.values))
    kind = _treated(kind, frame, dialect, facts)
    method = _method(plan, dialect, statistics, cells.about.get("adjust", ""))
    numbered = facts.counted and ids.name == ""
    if numbered:
        notes.append("It names no features: the numbers of its rows stand for them")
    source = dict(cells.about)
    source["rows_lost"] = source["rows_lost"] + rows - len(frame)
    source |= {
        "dialect": dialect.name if dialect is not None else "plain names",
        "decimal": decimal,
        "ids": "row numbers" if numbered else ids.name or "row names",
        "id_columns": ids.others,
        "columns": described,
        "adjust": method,
    }
    if facts.whole:
        source["whole"] = True
        notes = [note for note in notes if not note.startswith(_UP)]
    if plan.others:
        source["other_results"] = [names[i] for i in plan.others]
    # what a program always does is no news
    if method == "none" and "adj.P.Val" not in statistics:
        notes.append("P.Value was not adjusted (adjust.method 'none'): there is no adj.P.Val")
    elif method not in ("", "BH") and (dialect is None or method != dialect.adjust):
        notes.append(f"adj.P.Val is adjusted by {source['adjust']}, not by Benjamini-Hochberg")
    contrast = how.contrast or plan.label or _constant(cells, by)
    if "log_fc" in names and "contrast" in frame and (frame["contrast"] == contrast).all():
        frame = frame.drop(columns="contrast")
    return _checked(DETable(frame, kind=kind, contrast=contrast, source=source), facts, notes)


def _checked(de: DETable, facts: Facts, notes: list[str]) -> DETable:
    """With what its numbers say: that it is of treat, and what is to be told."""
    check = de.check()
    if de.kind == "t" and facts.treated is None and "lfc" in check.facts:
        de = replace(de, kind="treat")
        check = de.check()
        notes.append(
            f"P.Value tests |logFC| > {check.facts.get('lfc', 0):.4g} (treat), as its numbers show; kind is 'treat'"
        )
    findings = check.findings
    warned = findings[findings["level"] == "warning"]
    partial = warned["check"].isin(["truncated", "filtered"])
    for message, part in zip(warned["message"], partial, strict=True):
        # of a part one line says what matters
        up = next((note for note in notes if part and note.startswith(_UP)), None)
        if up is not None:
            notes.remove(up)
        notes.append(str(message).rstrip(".") + (f"; {up[0].lower()}{up[1:]}" if up is not None else ""))
    told = list(dict.fromkeys(notes))  # what a table brought may be found again
    return replace(de, source={**de.source, "warnings": told})


# -- statistics --------------------------------------------------------------------------------------------------------


def _statistics(
    cells: Cells, plan: Plan, dialect: Dialect | None, decimal: str, notes: list[str]
) -> tuple[dict[str, np.ndarray], list[str], DEKind]:
    """The statistics in limma's names and scales."""
    found: dict[str, np.ndarray] = {}
    how_found: dict[str, str] = {}
    kind = plan.kind
    raw: dict[str, np.ndarray] = {}
    for role, (i, _) in plan.uses.items():
        try:
            raw[role], odd = read_numbers(cells, i, decimal, p_value=role in ("P.Value", "adj.P.Val"))
        except TableError as error:
            if role in ("logFC", "FC", "P.Value", "adj.P.Val"):
                raise
            notes.append(f"{error} It was left as it is")
            continue
        notes += odd
    effect = "FC" if "FC" in raw else "logFC"
    for role, values in raw.items():
        i, meant = plan.uses[role]
        how = meant.how
        if role in ("P.Value", "adj.P.Val"):
            if how == "log":
                other = (
                    raw.get("adj.P.Val")
                    if role == "P.Value" and not plan.uses.get("adj.P.Val", (0, meant))[1].how
                    else None
                )
                how = scales.base_of_log(values, other, cells.header[i])
            found[role], told = scales.p_value(values, how, cells.header[i], role)
        elif role in ("logFC", "FC"):
            found["logFC"], told = scales.log2_of(values, how, cells.header[i])
            role = "logFC"
        elif role == "baseMean":
            with np.errstate(divide="ignore", invalid="ignore"):
                told = "log2"
                if "AveExpr" in raw:
                    continue
                found["AveExpr"], role = np.where(values > 0, np.log2(values), np.nan), "AveExpr"
        elif role in ("SE", "CI.L", "CI.R") and effect in plan.uses:
            scale = plan.uses[effect][1].how
            if scale == "linear":
                notes.append(
                    f"{cells.header[i]!r} is on the scale of the linear fold change and was not taken for {role}"
                )
                continue
            found[role], told = values * scales.factor(scale), "with the effect's scale" * (scale != "")
        else:
            found[role], told = values, ""
        how_found[cells.header[i] if cells.header[i] else role] = scales.described(cells.header[i], role, told)
    found = scales.finite(found, notes)
    for role in ("logFC", "P.Value"):
        if role in found and not np.isfinite(found[role]).any():
            i = plan.uses[role if role in plan.uses else "FC"][0]
            raise TableError(f"{cells.name}: the column {cells.header[i]!r} ({role}) holds no numbers at all.")
    if plan.linear is not None and plan.kind == "t":
        _compare(cells, plan, found["logFC"], decimal, notes)
    _without_root(found, plan, cells, how_found)
    kind = _look(found, plan, dialect, kind, how_found, cells, notes)
    lines = [how_found[key] for key in how_found]
    lines += [f"{cells.header[i]} -> {cells.header[i]} (coefficient)" for i in plan.coefficients]
    return found, lines, kind


def _compare(cells: Cells, plan: Plan, effect: np.ndarray, decimal: str, notes: list[str]) -> None:
    """A linear fold change beside the log one tells its base, and its direction."""
    i, meant = plan.uses["logFC"]
    if plan.linear is None or not cells.looks_numeric(plan.linear) or meant.how:
        return
    try:
        linear, _ = read_numbers(cells, plan.linear, decimal)
    except TableError:
        return
    share = scales.second_scale(effect, linear)
    name, beside = cells.header[i], cells.header[plan.linear]
    for base, scale in (("natural", "ln(FC)"), ("decimal", "log10(FC)")):
        if share is not None and abs(abs(share) * scales.factor(scale[:-4]) - 1) < 0.02:
            raise TableError(
                f"{cells.name}: {name!r} holds {base} logarithms of {beside!r}, not log2. If that is so: columns={{{scale!r}: "
                f"{name!r}}}; otherwise {beside!r} is wrong, and columns={{'logFC': {name!r}}} passes over it."
            )
    if share is not None and abs(share + 1) < 0.02:
        notes.append(f"{name!r} and {beside!r} point in opposite directions; {name!r} was taken")


def _look(
    found: dict[str, np.ndarray],
    plan: Plan,
    dialect: Dialect | None,
    kind: DEKind,
    told: dict[str, str],
    cells: Cells,
    notes: list[str],
) -> DEKind:
    """What the values say against the names."""
    if "logFC" not in found:
        return kind
    effect, p = found["logFC"], found["P.Value"]
    deseq = dialect is not None and dialect.name.startswith("DESeq2")
    if kind == "t" and "t" not in plan.uses and {"LR", "F"} & found.keys() and _beside_joint(cells, plan):
        notes.append(_LRT)
        return "F"
    if "t" in found:
        header = cells.header[plan.uses["t"][0]]
        deseq = deseq or (header == "stat" and len(p) >= _FEW and _beside_joint(cells, plan))
        if deseq and scales.likelihood_ratio(found["t"], p):
            found["LR"] = found.pop("t")
            told[header] = scales.described(header, "LR", "a likelihood ratio, by its p-values")
            notes.append(_LRT)
            return "F"
        if scales.no_t(found["t"], effect):
            del found["t"]
            told.pop(header, None)
            notes.append(f"{header!r} is never negative while logFC is: it is no t, and stays under its own name")
    seen = effect[np.isfinite(effect)]
    if len(seen) and np.abs(seen).max() > _TOO_FAR:
        notes.append(
            f"logFC reaches {seen[np.abs(seen).argmax()]:,.0f}, and a log2 fold change does not: the data were not logged before the "
            "test, or it is a difference of means"
        )
    if kind == "t" and len(seen) >= _FEW and seen.min() >= 0 and seen.max() > 0:
        signs = found.get("t", np.zeros(1))
        more = " while t is not: the direction was lost" if (signs < 0).any() else ""
        notes.append(f"{_UP}{more or ': a list of genes that go up, or a direction that was lost'}")
    return kind


def _beside_joint(cells: Cells, plan: Plan) -> bool:
    """Whether the effect has DESeq2's name, which in other tables is that of one coefficient beside a joint test."""
    return "logFC" in plan.uses and cells.header[plan.uses["logFC"][0]] == "log2FoldChange"


def _without_root(found: dict[str, np.ndarray], plan: Plan, cells: Cells, told: dict[str, str]) -> None:
    """Leave out a t that only is the signed root of LR or F: what stands for it in the columns of scanpy and DESeq2."""
    header = cells.header[plan.uses["t"][0]] if "t" in plan.uses else ""
    name = next((name for name in ("LR", "F") if name in found), None)
    if header not in ("scores", "stat") or name is None or not {"t", "logFC"} <= found.keys():
        return
    if np.allclose(found["t"], signed_root(found["logFC"], found[name]), rtol=1e-9, atol=1e-12, equal_nan=True):
        del found["t"]
        told.pop(header, None)


def _method(plan: Plan, dialect: Dialect | None, found: dict[str, np.ndarray], told: str) -> str:
    """How p-values were adjusted: as an object of R tells, else by the names, where the numbers do not say otherwise."""
    if told:
        return "BH" if told == "fdr" else told
    if "adj.P.Val" not in plan.uses:
        return ""
    named = plan.uses["adj.P.Val"][1].adjust or (dialect.adjust if dialect is not None else "")
    p, q = found["P.Value"], found["adj.P.Val"]

    def fits(method: str) -> bool:
        return np.allclose(adjust(p, method), q, rtol=1e-6, atol=1e-12, equal_nan=True)

    if named == "holm (FWER)":  # edgeR calls them all FWER
        return next((f"{method} (FWER)" for method in ("holm", "hochberg", "bonferroni") if fits(method)), named)
    return "" if named and len(p) >= _FEW and fits("BH") and not fits("bonferroni") else named


def _treated(kind: DEKind, frame: pd.DataFrame, dialect: Dialect | None, facts: Facts) -> DEKind:
    """``"treat"`` instead of ``"t"`` where R or the table itself says so, before its numbers are tested."""
    if kind != "t" or facts.treated is not None:
        return "treat" if kind == "t" and facts.treated else kind
    without_b = dialect is not None and dialect.name.startswith("limma topTreat")
    # edgeR's glmTreat alone has unshrunk.logFC
    return "treat" if "unshrunk.logFC" in frame or (without_b and within_bound(frame)) else "t"


def within_bound(frame: pd.DataFrame) -> bool:
    """Whether a table has rows that only treat gives: t is 0 for every gene within the bound, and P is not 1."""
    return "t" in frame.columns and bool(((frame["t"] == 0) & (frame["P.Value"] < 0.999)).any())


# -- the frame ---------------------------------------------------------------------------------------------------------


def _frame(
    cells: Cells,
    plan: Plan,
    statistics: dict[str, np.ndarray],
    ids: ids_of.Ids,
    names: list[str],
    decimal: str,
    notes: list[str],
) -> pd.DataFrame:
    """Statistics where their columns stood, then what else there is, as it came."""
    roots = {"LR", "F"} & statistics.keys() and "t" not in statistics and {"LR", "F"} & plan.uses.keys()
    place = {i: role for role, (i, _) in plan.uses.items()}
    columns: dict[str, Any] = {}
    for i, name in enumerate(names):
        role = place.get(i)
        if role == "baseMean" and "AveExpr" in plan.uses:  # beside it
            columns["baseMean"] = read_numbers(cells, i, decimal)[0]
            continue
        if role is not None:
            role = {"FC": "logFC", "baseMean": "AveExpr"}.get(role, role)
            if role == "t" and roots and name in ("scores", "stat"):
                continue
            role = "LR" if role == "t" and "t" not in statistics and "LR" in statistics else role
            if role in statistics and role not in columns:
                if name == "baseMean" or plan.uses.get("baseMean", (-1,))[0] == i:
                    columns["baseMean"] = read_numbers(cells, i, decimal)[0]
                columns[role] = statistics[role]
                continue
        if i in plan.coefficients:
            columns[name] = read_numbers(cells, i, decimal)[0]
        elif i != ids.position and i not in plan.others and not (cells.header[i] in ROW_NAMES and i != ids.position):
            # a column of that name that is no such statistic must not pass for one
            bare = name.removesuffix(NO_STATISTIC)
            marked = f"{bare}{NO_STATISTIC}" if bare in LIMMA_COLUMNS else bare if bare in STATISTICS else name
            columns[name if marked in (*columns, *names) else marked] = _annotation(cells, i)
    return pd.DataFrame(columns, index=range(len(cells)))


def _annotation(cells: Cells, i: int) -> Any:
    column = cells.columns[i]
    return pd.Series(column).array if not isinstance(column, list) else column


def _check_stacked(
    cells: Cells, ids: ids_of.Ids, taken: set[int], dialect: Dialect | None, how: How, by: tuple[str, ...]
) -> None:
    found = [name for name in ids_of.stacked(cells, ids, taken, dialect) if name not in by]
    if not found or how.duplicates is not None or (how.feature is not None and len(set(ids.values)) == len(ids.values)):
        return
    levels = list(dict.fromkeys(cells.text(distinct(cells.header).index(found[0]))))
    repeats = len(set(ids.values)) < len(ids.values)
    raise TableError(
        f"{cells.name} holds {len(levels)} experiments one below the other: {'its ids repeat, and ' * repeats}the column {found[0]!r} "
        f"tells them apart ({', '.join(map(repr, levels[:6]))}{', ...' if len(levels) > 6 else ''}). Split them: by={found[0]!r} gives "
        f"a dict of tables.{f' Other columns that would do: {found[1:4]}.' if found[1:] else ''}"
    )


def _other_ids(ids: ids_of.Ids, names: list[str], cells: Cells, taken: set[int]) -> str:
    """Unique columns that could be the ids instead, for a message."""
    unique = [
        names[i]
        for i in range(len(names))
        if i not in taken and i != ids.position and len(set(cells.text(i))) == len(cells) and not cells.looks_numeric(i)
    ]
    return f" Or take other ids: feature={unique[0]!r}." if unique else ""


def _constant(cells: Cells, by: tuple[str, ...]) -> str:
    """What a column of one value says was compared."""
    for i, name in enumerate(cells.header):
        if (
            name.strip().lower() in ("contrast", "comparison", "group", "cluster", "label", "cmp", "coef")
            and name not in by
        ):
            levels = set(cells.text(i))
            if len(levels) == 1 and not cells.of_numbers(i):
                return levels.pop()
    return ""
