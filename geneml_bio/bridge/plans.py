"""From what each column may be to one result: its columns, or why there is not one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.errors import ColumnNotFoundError, InputError, TableError, near
from ..core.names import DEKind
from . import refusals, tables
from .cells import Cells
from .matching import ESSENTIAL, Matcher, whole
from .vocabulary import ID_NAMES
from .words import Meaning, norm, other, tag


@dataclass
class Plan:
    """Which column is what.

    Parameters
    ----------
    uses
        Role -> column and what its name says.
    kind
        ``"F"`` where the p-value belongs to several effects at once.
    coefficients
        The effects of a joint test.
    label
        What the names say was compared.
    linear
        A linear fold change beside the log one.
    others
        Columns of other results beside this one.
    ids
        The column of ids that belongs to this result alone.
    notes
        What must be told.
    """

    uses: dict[str, tuple[int, Meaning]]
    kind: DEKind = "t"
    coefficients: list[int] = field(default_factory=list)
    label: str = ""
    linear: int | None = None
    others: list[int] = field(default_factory=list)
    ids: int | None = None
    notes: list[str] = field(default_factory=list)


# -- the plan ----------------------------------------------------------------------------------------------------------


def of_names(matcher: Matcher, coef: Any) -> Plan:
    """Which column is what, by the names (and by the values where names leave it open).

    Raises
    ------
    TableError
        If it is no DE table, or if two readings are possible; the message lists them.
    """
    cells = matcher.cells
    families = matcher.families()
    complete = [key for key, family in families.items() if whole(family)]
    if coef is not None:
        complete = [_chosen(matcher, families, complete, coef)]
    if len(complete) > 1:
        shown = [_title(matcher, families[key], key) for key in complete]
        raise TableError(
            f"{cells.name} holds {len(complete)} results side by side: {shown[:12]}{' ...' if len(shown) > 12 else ''}. Choose "
            f"one by name or number: coef={next((name for name in shown if norm(name) != 'intercept'), shown[0])!r}."
        )
    if complete:
        return _of_family(matcher, families, complete[0])
    return _pieced(matcher, families)


def _title(matcher: Matcher, family: Mapping[str, list[int]], key: tuple[str, int]) -> str:
    i = (family.get("logFC") or family["FC"])[0]
    meant = matcher.meanings[i]
    return meant.label if meant and meant.label and not key[1] else matcher.distinct[i]


def _chosen(
    matcher: Matcher, families: Mapping[Any, Any], complete: list[tuple[str, int]], coef: Any
) -> tuple[str, int]:  # fmt: skip
    titles = [_title(matcher, families[key], key) for key in complete]
    if isinstance(coef, bool) or not isinstance(coef, int | str | np.integer):
        raise InputError(f"coef must be the name or the number (from 1) of one result in the table, got {coef!r}.")
    if len(titles) < 2 and coef != 1 and coef not in titles:
        raise InputError(
            f"coef= chooses one of several results side by side; {matcher.cells.name} holds {titles or 'none'}."
        )
    if not isinstance(coef, str):
        if not 1 <= coef <= len(complete):
            raise InputError(f"coef={coef} is out of range: the table holds {len(complete)} results, {titles}.")
        return complete[coef - 1]
    for k, title in enumerate(titles):
        if coef == title or (norm(coef) == norm(title) and norm(coef)):
            return complete[k]
    raise ColumnNotFoundError(f"There is no result {coef!r} in the table.{near(coef, titles)}")


def _of_family(
    matcher: Matcher, families: Mapping[tuple[str, int], dict[str, list[int]]], key: tuple[str, int]
) -> Plan:
    family = dict(families[key])
    alone = sum(whole(f) for f in families.values()) == 1
    shared = families.get(("", 0), {})
    for role, columns in shared.items():
        if key != ("", 0) and role not in family and (role not in ESSENTIAL or (alone and role == "adj.P.Val")):
            family[role] = columns
    plan = fill(matcher, family, matcher_label(matcher, family))
    if alone:
        _other_p_values(matcher, families, plan)
    plan.ids = _own_ids(matcher, key, matcher_label(matcher, family))
    taken = {i for i, _ in plan.uses.values()} | {plan.ids}
    if plan.ids is not None and key[1]:  # the first of columns of one name belongs to the first result
        same = re.sub(r"\.\d+$", "", matcher.names[plan.ids])
        plan.others += [i for i, name in enumerate(matcher.names) if name == same and not matcher.repeat[i]]
    for other_key, columns_of in families.items():
        if other_key != key and whole(columns_of):
            theirs = _own_ids(matcher, other_key, matcher_label(matcher, columns_of))
            plan.others += [theirs] if theirs is not None and theirs not in taken else []
            plan.others += [i for columns in columns_of.values() for i in columns if i not in taken]
            if other_key[0]:
                plan.others += [i for _, i in _labelled(matcher, matcher_label(matcher, columns_of)) if i not in taken]
    return plan


def _own_ids(matcher: Matcher, key: tuple[str, int], label: str) -> int | None:
    """The column of ids that carries the label or the number of one result: each group of a ranking has its own order."""
    mark = tag(label)
    if not mark and not key[1]:
        return None
    for i, name in enumerate(matcher.names):
        plain = tag(re.sub(r"\.\d+$", "", name) if matcher.repeat[i] else name)
        if mark:
            cut = (plain.removeprefix(f"{mark}_"), plain.removesuffix(f"_{mark}"))
            plain = next((rest for rest in cut if rest != plain), "")
        if matcher.repeat[i] == key[1] and plain in ID_NAMES:
            return i
    return None


def _other_p_values(matcher: Matcher, families: Mapping[tuple[str, int], dict[str, list[int]]], plan: Plan) -> None:
    """P-values under names that no effect shares: of other tests, perhaps; they are told of."""
    taken = {i for i, _ in plan.uses.values()}
    for role in ("P.Value", "adj.P.Val"):
        rest = [i for family in families.values() if not whole(family) for i in family.get(role, []) if i not in taken]
        rest = [i for i in rest if matcher.cells.looks_numeric(i)]
        if role == "adj.P.Val" and role not in plan.uses and rest:
            p = matcher.numbers(plan.uses["P.Value"][0])
            fits = [
                i for i in rest if not plan.uses["P.Value"][1].how and not matcher.scaled(i) and matcher.adjusts(p, i)
            ]
            if len(fits) == 1:
                plan.uses[role] = (fits[0], matcher.meanings[fits[0]] or Meaning(role))
                continue
        if rest:
            used = f"{matcher.distinct[plan.uses[role][0]]!r} was taken" if role in plan.uses else "none was taken"
            plan.notes.append(f"{[matcher.distinct[i] for i in rest]} could be {role} of another test; {used}")


def matcher_label(matcher: Matcher, family: Mapping[str, list[int]]) -> str:
    """The label of a family as it is written in the effect's name."""
    for role in ("logFC", "FC", "P.Value"):
        for i in family.get(role, []):
            meant = matcher.meanings[i]
            if meant is not None:
                return meant.label
    return ""


def _labelled(matcher: Matcher, label: str) -> list[tuple[str, int]]:
    """Statistics beside effect and p-value that carry a label: ``t.A``, ``A_vs_B_SE``."""
    mark, found = norm(label), []
    for i, name in enumerate(matcher.names):
        plain = norm(name)
        if matcher.meanings[i] is None and mark and matcher.cells.looks_numeric(i):
            for rest in (plain.removeprefix(f"{mark}_"), plain.removesuffix(f"_{mark}")):
                role = other(rest) if rest != plain else None
                if role is None and rest != plain and len(rest) == 1:
                    role = other(rest.upper())
                if role:
                    found.append((role, i))
                    break
    return found


def fill(matcher: Matcher, family: Mapping[str, list[int]], label: str) -> Plan:
    """The columns of one result: effect and p-value for certain, the others where they are clear."""
    family = {role: list(columns) for role, columns in family.items()}
    for role, i in _labelled(matcher, label):
        family[role] = [i] if role not in family or not _has_label(matcher, family[role], label) else [*family[role], i]
    plan = Plan({}, label=label)
    for role in [role for role in ESSENTIAL if role in family]:
        p_column = plan.uses["P.Value"][0] if "P.Value" in plan.uses else None
        i = matcher.pick(role, family[role], p_column)
        plan.uses[role] = (i, matcher.meanings[i] or Meaning(role))
    if "logFC" not in plan.uses and "FC" in family:
        i = matcher.pick("FC", family["FC"])
        plan.uses["FC"] = (i, matcher.meanings[i] or Meaning("FC", "linear"))
    elif len(family.get("FC", ())) == 1:
        plan.linear = family["FC"][0]
    for role, columns in family.items():
        if role in ESSENTIAL or role == "FC":
            continue
        columns = matcher.plausible(role, columns, plan.uses)
        if not columns:
            continue
        if len(columns) > 1 and not matcher.same(columns):
            names = [matcher.distinct[i] for i in columns]
            plan.notes.append(
                f"{names} could each be {role}; none was taken (columns={{{role!r}: {names[0]!r}}} chooses)"
            )
        else:
            plan.uses[role] = (columns[0], matcher.meanings[columns[0]] or Meaning(role))
    return plan


def _has_label(matcher: Matcher, columns: Sequence[int], label: str) -> bool:
    return any((m := matcher.meanings[i]) is not None and tag(m.label) == tag(label) for i in columns)


# -- tables whose effect and p-value do not carry the same label -------------------------------------------------------


def _pieced(matcher: Matcher, families: Mapping[tuple[str, int], dict[str, list[int]]]) -> Plan:
    plain = families.get(("", 0), {})
    effects = {key: family["logFC"] for key, family in families.items() if "logFC" in family}
    effects = effects or {key: family["FC"] for key, family in families.items() if "FC" in family}
    tested = {key: family["P.Value"] for key, family in families.items() if "P.Value" in family}
    joint = ("F" in plain or "LR" in plain) and "P.Value" in plain
    if joint and ("", 0) not in effects and len(effects) != 1:
        plan = fill(matcher, plain, "")
        if not {"F", "LR"} & plan.uses.keys():
            raise TableError(refusals.why_not(matcher, families))
        plan.kind = "F"
        plan.coefficients = [columns[0] for columns in effects.values()] or coefficient_columns(matcher, plan)
        # GEO2R gives no coefficients beside F; elsewhere a p-value without any effect is too little
        if plan.coefficients or (matcher.dialect is not None and matcher.dialect.name.startswith("limma")):
            return plan
    if len(effects) == 1 and len(tested) == 1 and (("", 0) in effects or ("", 0) in tested):
        (one,), (two,) = effects, tested
        family = {**plain, **families[two], **families[one]}
        if ("", 0) not in tested:
            raise TableError(refusals.odd_p(matcher.cells, [matcher.distinct[i] for i in tested[two]]))
        return fill(matcher, family, matcher_label(matcher, families[one]))
    raise TableError(refusals.why_not(matcher, families))


def coefficient_columns(matcher: Matcher, plan: Plan) -> list[int]:
    """Columns of an F table that hold log fold changes: numbers before AveExpr (or F) that are no whole ones."""
    cells = matcher.cells
    taken = {i for i, _ in plan.uses.values()}
    free = [
        i
        for i in range(len(cells.header))
        if i not in taken and matcher.meanings[i] is None and cells.header[i] and cells.looks_numeric(i)
    ]
    end = min(plan.uses[name][0] for name in ("AveExpr", "F", "LR") if name in plan.uses)
    # a coefficient reads 0.123, an id that happens to be a number 7157
    free = [i for i in free if not _whole_numbers(cells, i)]
    before = [i for i in free if i < end]
    return before or [i for i in free if (matcher.numbers(i) < 0).any()]


def _whole_numbers(cells: Cells, i: int) -> bool:
    if cells.of_numbers(i):
        values = cells.array(i)
        return bool((values[np.isfinite(values)] % 1 == 0).all())
    return not any(mark in value.lower() for value in cells.text(i) if value not in tables.MISSING for mark in ".,e")
