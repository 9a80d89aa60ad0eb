"""Which column of a table is which statistic; or why that cannot be told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..core.errors import ColumnNotFoundError, InputError, TableError, near
from ..core.names import LIMMA_COLUMNS, DEKind
from ..core.pvalues import adjust_bh
from . import refusals, tables
from .cells import Cells, read_numbers
from .dialects import Dialect
from .words import Meaning, meaning, norm, other

ESSENTIAL = ("logFC", "P.Value", "adj.P.Val")
# what columns= takes besides limma's names: other scales
SCALES = {
    "ln(FC)": ("logFC", "ln"), "log10(FC)": ("logFC", "log10"), "FC": ("FC", "linear"), "baseMean": ("baseMean", ""),
    **{f"{sign}{log}({p})": (p, {"ln": "ln", "log10": "log10"}[log])
       for p in ("P.Value", "adj.P.Val") for log in ("log10", "ln") for sign in ("", "-")},
}  # fmt: skip


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
    others
        Columns of other results beside this one.
    notes
        What must be told.
    """

    uses: dict[str, tuple[int, Meaning]]
    kind: DEKind = "t"
    coefficients: list[int] = field(default_factory=list)
    label: str = ""
    others: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Matcher:
    """One table, its names read once."""

    def __init__(self, cells: Cells, dialect: Dialect | None) -> None:
        self.cells = cells
        self.dialect = dialect
        # readxl tells repeated names apart by their place: logFC...2, logFC...8
        self.names = [re.sub(r"(?<=.)\.\.\.\d+$", "", name) for name in cells.header]
        self.distinct = distinct(cells.header)
        self.repeat = _repeats(self.names)
        self.meanings = [self._meaning(i) for i in range(len(self.names))]

    def _meaning(self, i: int) -> Meaning | None:
        name = self.names[i]
        if self.repeat[i]:
            name = re.sub(r"\.\d+$", "", name) if name not in self.names[:i] else name
        meant = self.dialect.meaning(name) if self.dialect else None
        if meant is None:
            role = other(name)
            meant = Meaning(role) if role else meaning(name)
        if meant is None or not meant.role:
            return None
        if meant.role not in ("logFC", "P.Value") or meant.label:
            # a statistic that is text is annotation; of effect and p-value text is a mistake to be told
            return meant if self.cells.looks_numeric(i) else None
        return meant

    # -- candidates ------------------------------------------------------------------------------------------------

    def families(self) -> dict[tuple[str, int], dict[str, list[int]]]:
        """Columns by label and role; a second set of the same names is a family of its own if it is a whole one."""
        found: dict[tuple[str, int], dict[str, list[int]]] = {}
        for i, meant in enumerate(self.meanings):
            if meant is not None and meant.role != "effect":
                found.setdefault((norm(meant.label), self.repeat[i]), {}).setdefault(meant.role, []).append(i)
        for key in [key for key in found if key[1]]:
            if not _whole(found[key]) or not _whole(found.get((key[0], 0), {})):
                for role, columns in found.pop(key).items():
                    found.setdefault((key[0], 0), {}).setdefault(role, []).extend(columns)
        return found

    def numbers(self, i: int) -> np.ndarray:
        """A column as numbers, for comparison."""
        try:
            return read_numbers(self.cells, i, self.cells.decimal([i]), p_value=True)[0]
        except TableError:
            return np.full(len(self.cells), np.nan)

    def same(self, columns: Sequence[int]) -> bool:
        """Whether columns hold the same numbers, to the digits that rounding leaves."""
        first = self.numbers(columns[0])
        return all(np.allclose(first, self.numbers(i), rtol=1e-2, atol=1e-12, equal_nan=True) for i in columns[1:])

    def scaled(self, i: int) -> str:
        """The scale that the name of a column tells."""
        meant = self.meanings[i]
        return meant.how if meant else ""

    # -- one column of several -------------------------------------------------------------------------------------

    def pick(self, role: str, columns: Sequence[int], p_column: int | None = None) -> int:
        """The column of a role, of those whose names fit.

        Raises
        ------
        TableError
            If two that are not the same numbers fit as well.
        """
        order = {"": 0, "ln": 1, "log10": 1, "log": 2, "linear": 3}
        best = min(order[self.scaled(i)] for i in columns)
        left = [i for i in columns if order[self.scaled(i)] == best]
        numeric = [i for i in left if self.cells.looks_numeric(i)]
        left = numeric or left
        if len(left) > 1 and role == "logFC":
            plain = [i for i in left if not re.search(r"shrink|shrunk|apeglm|ashr|_map$", norm(self.names[i]))]
            left = plain if len(plain) == 1 else left
        if len(left) > 1 and role == "adj.P.Val":
            left = self._adjusted(left, p_column)
        if len(left) == 1 or self.same(left):
            return left[0]
        names = [self.distinct[i] for i in left]
        twice = len({self.names[i] for i in left}) < len(left)
        raise TableError(
            f"{self.cells.name} has {len(left)} columns that could be {role}, and they do not hold the same numbers: {names}"
            + (" (one name more than once: several contrasts side by side?)" if twice else "")
            + f". Say which: columns={{{role!r}: {names[0]!r}}}."
        )

    def _adjusted(self, columns: list[int], p_column: int | None) -> list[int]:
        """Of several adjusted p-values the one that limma would give (BH), by its numbers, else by its name."""
        if p_column is not None and not self.scaled(p_column):
            p = self.numbers(p_column)
            again = adjust_bh(np.where((p < 0) | (p > 1), np.nan, p))
            fits = [i for i in columns if np.allclose(self.numbers(i), again, rtol=5e-3, atol=1e-12, equal_nan=True)]
            if fits:
                return fits[:1]
        told = {i: self.meanings[i].adjust for i in columns}  # type: ignore[union-attr]
        if any(how == "BH" for how in told.values()):
            return [i for i in columns if told[i] == "BH"]
        strict = [i for i in columns if told[i] in ("holm (FWER)", "holm", "bonferroni", "hommel", "sidak")]
        return [i for i in columns if i not in strict] or columns


def distinct(header: Sequence[str]) -> list[str]:
    """Names made distinct the way R does (``name.1``), so that each can be named."""
    taken = set(header)
    seen: dict[str, int] = {}
    out = []
    for name in header:
        count = seen.get(name, 0)
        new = name
        while count and new in taken:
            new = f"{name}.{count}"
            count += new in taken
        seen[name] = max(count, seen.get(name, 0)) + (0 if count else 1)
        taken.add(new)
        out.append(new)
    return out


def _repeats(names: Sequence[str]) -> list[int]:
    """How often each name stood before it; ``logFC.1`` beside ``logFC`` is how pandas and R write a repeated name."""
    out, seen = [], dict.fromkeys(names, 0)
    for name in names:
        hit = re.fullmatch(r"(.+)\.(\d{1,3})", name)
        if hit and hit.group(1) in seen and seen[name] == 0:
            out.append(int(hit.group(2)))
        else:
            out.append(seen[name])
        seen[name] += 1
    return out


def _whole(family: Mapping[str, Any]) -> bool:
    return "P.Value" in family and ("logFC" in family or "FC" in family)


# -- the plan ----------------------------------------------------------------------------------------------------------


def match(cells: Cells, dialect: Dialect | None, columns: Mapping[str, str | None] | None, coef: Any) -> Plan:
    """Which column of a table is what.

    Raises
    ------
    TableError
        If it is no DE table, or if two readings are possible; the message lists them.
    """
    matcher = Matcher(cells, dialect)
    if columns:
        if coef is not None:
            raise InputError("coef= and columns= both choose columns; pass one of them.")
        return _as_told(matcher, columns)
    families = matcher.families()
    whole = [key for key, family in families.items() if _whole(family)]
    if coef is not None:
        whole = [_chosen(matcher, families, whole, coef)]
    if len(whole) > 1:
        shown = [_title(matcher, families[key], key) for key in whole]
        raise TableError(
            f"{cells.name} holds {len(whole)} results side by side: {shown[:12]}{' ...' if len(shown) > 12 else ''}. Choose "
            f"one by name or number: coef={shown[0]!r}."
        )
    if whole:
        return _of_family(matcher, families, whole[0])
    return _pieced(matcher, families)


def _title(matcher: Matcher, family: Mapping[str, list[int]], key: tuple[str, int]) -> str:
    i = (family.get("logFC") or family["FC"])[0]
    meant = matcher.meanings[i]
    return meant.label if meant and meant.label and not key[1] else matcher.distinct[i]


def _chosen(
    matcher: Matcher, families: Mapping[Any, Any], whole: list[tuple[str, int]], coef: Any
) -> tuple[str, int]:  # fmt: skip
    titles = [_title(matcher, families[key], key) for key in whole]
    if isinstance(coef, bool) or not isinstance(coef, int | str | np.integer):
        raise InputError(f"coef must be the name or the number (from 1) of one result in the table, got {coef!r}.")
    if len(titles) < 2 and coef != 1 and coef not in titles:
        raise InputError(f"coef= chooses one of several results side by side; {matcher.cells.name} holds {titles or 'none'}.")
    if not isinstance(coef, str):
        if not 1 <= coef <= len(whole):
            raise InputError(f"coef={coef} is out of range: the table holds {len(whole)} results, {titles}.")
        return whole[coef - 1]
    for k, title in enumerate(titles):
        if coef == title or (norm(coef) == norm(title) and norm(coef)):
            return whole[k]
    raise ColumnNotFoundError(f"There is no result {coef!r} in the table.{near(coef, titles)}")


def _of_family(matcher: Matcher, families: Mapping[tuple[str, int], dict[str, list[int]]], key: tuple[str, int]) -> Plan:
    family = dict(families[key])
    alone = sum(_whole(f) for f in families.values()) == 1
    shared = families.get(("", 0), {})
    for role, columns in shared.items():
        if key != ("", 0) and role not in family and (role not in ESSENTIAL or (alone and role == "adj.P.Val")):
            family[role] = columns
    plan = _fill(matcher, family, matcher_label(matcher, family))
    taken = {i for i, _ in plan.uses.values()}
    for other_key, columns_of in families.items():
        if other_key != key and _whole(columns_of):
            plan.others += [i for columns in columns_of.values() for i in columns if i not in taken]
            if other_key[0]:
                plan.others += [i for _, i in _labelled(matcher, matcher_label(matcher, columns_of)) if i not in taken]
    return plan


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
    tag, found = norm(label), []
    for i, name in enumerate(matcher.names):
        plain = norm(name)
        if matcher.meanings[i] is None and tag and matcher.cells.looks_numeric(i):
            for rest in (plain.removeprefix(f"{tag}_"), plain.removesuffix(f"_{tag}")):
                role = other(rest) if rest != plain else None
                if role is None and rest != plain and len(rest) == 1:
                    role = other(rest.upper())
                if role:
                    found.append((role, i))
                    break
    return found


def _fill(matcher: Matcher, family: Mapping[str, list[int]], label: str) -> Plan:
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
    for role, columns in family.items():
        if role in ESSENTIAL or role == "FC":
            continue
        exact = [i for i in columns if matcher.names[i] == role]
        columns = exact[:1] or columns
        if len(columns) > 1 and not matcher.same(columns):
            names = [matcher.distinct[i] for i in columns]
            plan.notes.append(f"{names} could each be {role}; none was taken (columns={{{role!r}: {names[0]!r}}} chooses)")
        else:
            plan.uses[role] = (columns[0], matcher.meanings[columns[0]] or Meaning(role))
    return plan


def _has_label(matcher: Matcher, columns: Sequence[int], label: str) -> bool:
    return any((m := matcher.meanings[i]) is not None and norm(m.label) == norm(label) for i in columns)


# -- tables whose effect and p-value do not carry the same label -------------------------------------------------------


def _pieced(matcher: Matcher, families: Mapping[tuple[str, int], dict[str, list[int]]]) -> Plan:
    plain = families.get(("", 0), {})
    effects = {key: family["logFC"] for key, family in families.items() if "logFC" in family}
    effects = effects or {key: family["FC"] for key, family in families.items() if "FC" in family}
    tested = {key: family["P.Value"] for key, family in families.items() if "P.Value" in family}
    joint = ("F" in plain or "LR" in plain) and "P.Value" in plain
    if joint and ("", 0) not in effects and len(effects) != 1:
        plan = _fill(matcher, plain, "")
        plan.kind = "F"
        plan.coefficients = [columns[0] for columns in effects.values()] or coefficient_columns(matcher, plan)
        return plan
    if len(effects) == 1 and len(tested) == 1 and (("", 0) in effects or ("", 0) in tested):
        (one,), (two,) = effects, tested
        family = {**plain, **families[two], **families[one]}
        if ("", 0) not in tested:
            raise TableError(refusals.odd_p(matcher.cells, [matcher.distinct[i] for i in tested[two]]))
        return _fill(matcher, family, matcher_label(matcher, families[one]))
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


# -- columns that the caller names -------------------------------------------------------------------------------------


def _as_told(matcher: Matcher, columns: Mapping[str, str | None]) -> Plan:
    known = (*LIMMA_COLUMNS, *SCALES)
    told: dict[str, tuple[int, Meaning]] = {}
    without: set[str] = set()
    for name, column in columns.items():
        if name not in known:
            swapped = " The names are the other way round: columns={limma's name: column of the file}." * (column in known)
            raise InputError(f"columns= takes limma's names, got {name!r}.{near(name, known)}{swapped}")
        role, how = SCALES.get(name, (name, ""))
        if column is None:
            without.add(role)
            continue
        if column not in matcher.distinct:
            raise ColumnNotFoundError(f"columns={{{name!r}: {column!r}}}: there is no such column.{near(column, matcher.distinct)}")
        i = matcher.distinct.index(column)
        meant = matcher.meanings[i] or Meaning(role)
        if name not in SCALES and meant.how in ("ln", "log10") and (meant.role == role or {role, meant.role} <= set(ESSENTIAL[1:])):
            how = meant.how  # what the name of the column tells holds
        told[role] = (i, replace(meant, role=role, how=how))
    if {"logFC", "FC"} <= told.keys():
        raise InputError("columns= names both a logFC and an FC; one effect is needed.")
    taken = {i for i, _ in told.values()}
    effect = "FC" if "FC" in told else "logFC"
    labels = list(dict.fromkeys(norm(meant.label) for _, meant in told.values() if meant.label))
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
    plan = _fill(matcher, family, next((meant.label for _, meant in told.values() if meant.label), ""))
    plan.uses = {**{role: use for role, use in plan.uses.items() if role not in without}, **told}
    if "P.Value" not in plan.uses:
        raise TableError(refusals.why_not(matcher, groups))
    if not {"logFC", "FC"} & plan.uses.keys():
        if not {"F", "LR"} & plan.uses.keys():
            raise TableError(refusals.why_not(matcher, groups))
        plan.kind = "F"
        plan.coefficients = coefficient_columns(matcher, plan)
    return plan
