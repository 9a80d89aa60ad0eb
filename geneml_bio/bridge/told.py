"""Columns that the caller names: ``columns={limma's name: column of the source}``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..core.errors import ColumnNotFoundError, InputError, TableError, near
from ..core.names import LIMMA_COLUMNS
from . import refusals
from .cells import Cells
from .dialects import Dialect
from .matching import ESSENTIAL, Matcher
from .plans import Plan, coefficient_columns, fill, of_names
from .words import Meaning, tag

# what columns= takes besides limma's names: other scales
SCALES = {
    "ln(FC)": ("logFC", "ln"), "log10(FC)": ("logFC", "log10"), "FC": ("FC", "linear"), "baseMean": ("baseMean", ""),
    **{f"{sign}{log}({p})": (p, {"ln": "ln", "log10": "log10"}[log])
       for p in ("P.Value", "adj.P.Val") for log in ("log10", "ln") for sign in ("", "-")},
}  # fmt: skip


def match(cells: Cells, dialect: Dialect | None, columns: Mapping[str, str | None] | None, coef: Any) -> Plan:
    """Which column of a table is what: as the caller says, else by its names.

    Raises
    ------
    TableError
        If it is no DE table, or if two readings are possible; the message lists them.
    """
    matcher = Matcher(cells, dialect)
    if not columns:
        return of_names(matcher, coef)
    if coef is not None:
        raise InputError("coef= and columns= both choose columns; pass one of them.")
    return as_told(matcher, columns)


def _limma_first(
    columns: Mapping[str, str | None], known: Sequence[str], there: Sequence[str]
) -> Mapping[str, str | None]:
    """Pandas' direction, ``{column of the file: limma's name}``, turned round where it can mean nothing else."""
    if all(name in known for name in columns):
        return columns
    pairs = [(name, column) for name, column in columns.items() if column is not None]
    if len(pairs) < len(columns) or not all(name in there and column in known for name, column in pairs):
        return columns
    twice = [column for _, column in pairs if sum(column == other for _, other in pairs) > 1]
    if twice:
        raise InputError(
            f"columns= gives {twice[0]!r} to {[name for name, to in pairs if to == twice[0]]}; one is needed."
        )
    return {column: name for name, column in pairs}


def as_told(matcher: Matcher, columns: Mapping[str, str | None]) -> Plan:
    """The caller's columns; the rest by names that go with them."""
    known = (*LIMMA_COLUMNS, *SCALES)
    columns = _limma_first(columns, known, matcher.distinct)
    told: dict[str, tuple[int, Meaning]] = {}
    without: set[str] = set()
    for name, column in columns.items():
        if name not in known:
            raise InputError(
                f"columns= takes limma's names (or, for all, the file's: columns={{column of the file: limma's name}}), got {name!r}."
                f"{near(name, known)}"
            )
        role, how = SCALES.get(name, (name, ""))
        if column is None:
            without.add(role)
            continue
        if column not in matcher.distinct:
            raise ColumnNotFoundError(
                f"columns={{{name!r}: {column!r}}}: there is no such column.{near(column, matcher.distinct)}"
            )
        i = matcher.distinct.index(column)
        meant = matcher.meanings[i] or Meaning(role)
        if (
            name not in SCALES
            and meant.how in ("ln", "log10")
            and (meant.role == role or {role, meant.role} <= set(ESSENTIAL[1:]))
        ):
            how = meant.how  # what the name of the column tells holds
        told[role] = (i, replace(meant, role=role, how=how))
    if {"logFC", "FC"} <= told.keys():
        raise InputError("columns= names both a logFC and an FC; one effect is needed.")
    taken = {i for i, _ in told.values()}
    effect = "FC" if "FC" in told else "logFC"
    labels = list(dict.fromkeys(tag(meant.label) for _, meant in told.values() if meant.label))
    family: dict[str, list[int]] = {}
    groups = matcher.families()
    for label in [*labels, ""]:
        for role, candidates in groups.get((label, 0), {}).items():
            free = [i for i in candidates if i not in taken]
            skipped = role in told or role in without or (role in ("logFC", "FC") and effect in told)
            if free and not skipped and role not in family:
                family[role] = free
    for role in ("logFC", "P.Value"):
        if role not in family and role not in told and not (role == "logFC" and "FC" in told):
            anywhere = [i for group in groups.values() for i in group.get(role, []) if i not in taken]
            if len(anywhere) == 1:
                family[role] = anywhere
    plan = fill(matcher, family, next((meant.label for _, meant in told.values() if meant.label), ""))
    plan.linear = None
    plan.uses = {**{role: use for role, use in plan.uses.items() if role not in without}, **told}
    if "P.Value" not in plan.uses:
        raise TableError(refusals.why_not(matcher, groups))
    if not {"logFC", "FC"} & plan.uses.keys():
        if not {"F", "LR"} & plan.uses.keys():
            raise TableError(refusals.why_not(matcher, groups))
        plan.kind = "F"
        plan.coefficients = coefficient_columns(matcher, plan)
    return plan
