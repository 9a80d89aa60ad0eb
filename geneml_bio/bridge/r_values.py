"""An R value as plain data, and what its attributes say. Where it came from is told in :mod:`geneml_bio.bridge.rds`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NA_INTEGER = -(2**31)


@dataclass(slots=True, eq=False)
class RValue:
    """One R value.

    Parameters
    ----------
    type
        R's ``typeof``.
    value
        Arrays of numbers (integers and logicals as int32 with R's NA, the smallest one); lists of text and None; lists of
        values; (tag, value) pairs of a pairlist; name -> value of an environment; None for what is never looked into.
    attributes
        By name; the slots of an S4 object are among them.
    """

    type: str
    value: Any = None
    attributes: dict[str, RValue] = field(default_factory=dict)

    def attr(self, name: str) -> RValue | None:
        """An attribute or slot, or None where there is none or it is NULL."""
        found = self.attributes.get(name)
        return (
            None
            if found is None or found.type == "NULL" or (found.type == "symbol" and found.value == "\1NULL\1")
            else found
        )

    def texts(self, name: str) -> list[str] | None:
        """An attribute that is text."""
        found = self.attr(name)
        return found.value if found is not None and found.type == "character" else None

    @property
    def dim(self) -> tuple[int, ...] | None:
        """R's ``dim()``; None where there is none, or what stands for it are no numbers."""
        held = self.attr("dim")
        if held is None or held.type not in ("integer", "double") or not np.isfinite(held.value).all():
            return None
        return tuple(int(size) for size in held.value)

    @property
    def classes(self) -> list[str]:
        """R's ``class()``, for values that are vectors the implicit one."""
        named = self.texts("class")
        if named:
            return [name or "NA" for name in named]
        if self.dim is not None:
            return ["matrix" if len(self.dim) == 2 else "array"]
        return [
            {"double": "numeric", "closure": "function", "language": "call", "symbol": "name"}.get(self.type, self.type)
        ]

    @property
    def names(self) -> list[str] | None:
        """The names of a vector or list."""
        if self.type == "pairlist":
            return [tag or "" for tag, _ in self.value]
        return self.texts("names")

    def get(self, name: str) -> RValue | None:
        """The element of that name of a list, pairlist or environment; None where there is none or it is NULL."""
        found = None
        if self.type == "environment":
            found = (self.value or {}).get(name)
        elif self.type in ("list", "pairlist", "expression"):
            items = self.value if self.type != "pairlist" else [item for _, item in self.value]
            found = next((item for key, item in zip(self.names or [], items, strict=False) if key == name), None)
        return None if found is None or found.type == "NULL" else found

    def __repr__(self) -> str:
        return f"RValue({self.type}, class {'/'.join(self.classes)}, attributes {list(self.attributes)})"


NULL = RValue("NULL")


def number_text(x: float, scipen: int = 0) -> str:
    """A double as R's ``as.character`` gives it: 15 digits, and scientific where that is shorter."""
    if x != x:
        return "NA" if int(np.array(x).view("u8")) & 0xFFFFFFFF == 1954 else "NaN"
    if x in (np.inf, -np.inf):
        return "Inf" if x > 0 else "-Inf"
    digits, power = f"{x:.14e}".split("e")
    digits, exponent = digits.rstrip("0").rstrip("."), int(power)
    scientific = f"{digits}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    decimals = max(0, len(digits.lstrip("-").replace(".", "")) - 1 - exponent)
    fixed = f"{x:.{decimals}f}"
    return fixed if len(fixed) <= len(scientific) + scipen else scientific


_RESERVED = {"if", "else", "repeat", "while", "function", "for", "next", "break", "TRUE", "FALSE", "NULL", "Inf", "NaN", "NA", "in",
             "NA_integer_", "NA_real_", "NA_character_", "NA_complex_"}  # fmt: skip


def make_names(names: Iterable[str]) -> list[str]:
    """R's ``make.names(names, unique = TRUE)``."""
    given = list(names)
    out = []
    for name in given:
        valid = re.sub(r"[^\w.]", ".", name)
        if not re.match(r"[^\W\d_]|\.(?!\d)", valid):
            valid = f"X{valid}"
        out.append(f"{valid}." if valid in _RESERVED else valid)
    taken, first, count = set(out), set[str](), dict[str, int]()
    for i in sorted(range(len(out)), key=lambda i: out[i] != given[i]):  # names that were valid keep theirs
        name = out[i]
        if name not in first:
            first.add(name)
            continue
        k = count.get(name, 1)
        while f"{name}.{k}" in taken:
            k += 1
        count[name] = k + 1
        out[i] = f"{name}.{k}"
        taken.add(out[i])
    return out
