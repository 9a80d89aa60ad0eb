"""What each column of a table may be, and which of several is meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import TableError
from ..core.names import LIMMA_COLUMNS, NO_STATISTIC, STATISTICS
from ..core.pvalues import adjust_bh
from .cells import Cells, read_numbers
from .dialects import Dialect
from .vocabulary import STRICT
from .words import Meaning, meaning, norm, other, tag

ESSENTIAL = ("logFC", "P.Value", "adj.P.Val")


class Matcher:
    """One table, its names read once."""

    def __init__(self, cells: Cells, dialect: Dialect | None) -> None:
        self.cells = cells
        self.dialect = dialect
        # readxl tells repeated names apart by their place: logFC...2, logFC...8
        self.names = [re.sub(r"(?<=.)\.\.\.\d+$", "", name) for name in cells.header]
        # Perseus writes the kind of a column before its name: N: Student's T-test Difference
        self.names = [re.sub(r"^[NTCM]: (?=.)", "", name) for name in self.names]
        self.distinct = distinct(cells.header)
        self.repeat = _repeats(self.names)
        self.meanings = [self._meaning(i) for i in range(len(self.names))]

    def _meaning(self, i: int) -> Meaning | None:
        if self.distinct[i] in self.cells.about.get("annotation", ()):  # an object of R says that it is no statistic
            return None
        name = self.names[i]
        if self.repeat[i]:
            name = re.sub(r"\.\d+$", "", name) if name not in self.names[:i] else name
        if name.endswith(NO_STATISTIC) and name.removesuffix(NO_STATISTIC) in (*LIMMA_COLUMNS, *STATISTICS):
            return None
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
                found.setdefault((tag(meant.label), self.repeat[i]), {}).setdefault(meant.role, []).append(i)
        for key in [key for key in found if key[1]]:
            if not whole(found[key]) or not whole(found.get((key[0], 0), {})):
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

    def plausible(self, role: str, columns: Sequence[int], uses: Mapping[str, tuple[int, Meaning]]) -> list[int]:
        """Of columns that could be a statistic beside effect and p-value, those that may be it by name, place and values.

        One letter may as well be the name of a group: outside of limma's own tables its values must go with the p-values.
        """
        exact = [i for i in columns if self.names[i] == role]
        if len(exact) > 1 and not self.same(exact):
            # limma's own stands in limma's order; B may be the mean of a group B
            after = {"B": "adj.P.Val", "t": "AveExpr", "AveExpr": "logFC"}.get(role)
            exact = [i for i in exact if i and self.names[i - 1] == after] or exact
        left = exact or list(columns)
        limma = self.dialect is not None and self.dialect.name.startswith(("limma", "GEO2R"))
        limma = limma or "AveExpr" in self.names  # a name that limma alone has
        if limma or "P.Value" not in uses:
            return left
        p = self.numbers(uses["P.Value"][0])
        p = -p if uses["P.Value"][1].how else p
        return [i for i in left if len(self.names[i]) > 1 or _goes_with(role, self.numbers(i), p)]

    def adjusts(self, p: np.ndarray, i: int) -> bool:
        """Whether a column is the Benjamini-Hochberg adjustment of p-values, but for rounding."""
        again = adjust_bh(np.where((p < 0) | (p > 1), np.nan, p))
        return np.allclose(self.numbers(i), again, rtol=2e-2, atol=1e-3, equal_nan=True)

    def _adjusted(self, columns: list[int], p_column: int | None) -> list[int]:
        """Of several adjusted p-values the one that limma would give (BH), by its numbers, else by its name."""
        if p_column is not None and not self.scaled(p_column):
            p = self.numbers(p_column)
            fits = [i for i in columns if self.adjusts(p, i)]
            if fits and (len(fits) == 1 or self.same(fits)):
                return fits[:1]
        told = {i: self.meanings[i].adjust for i in columns}  # type: ignore[union-attr]
        if any(how == "BH" for how in told.values()):
            return [i for i in columns if told[i] == "BH"]
        strict = [i for i in columns if told[i] in STRICT]
        return [i for i in columns if i not in strict] or columns


def _goes_with(role: str, values: np.ndarray, p: np.ndarray) -> bool:
    """Whether a statistic grows as p falls; of AveExpr nothing is known."""
    if role == "AveExpr":
        return False
    size = np.abs(values) if role == "t" else values
    use = np.isfinite(size) & np.isfinite(p)
    if use.sum() < 3:
        return False
    ranks = pd.DataFrame({"size": size[use], "p": p[use]}).rank()
    return bool(ranks["size"].std() > 0 and ranks["size"].corr(ranks["p"]) < -0.5)


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


def whole(family: Mapping[str, Any]) -> bool:
    """Whether a family has an effect and a p-value."""
    return "P.Value" in family and ("logFC" in family or "FC" in family)
