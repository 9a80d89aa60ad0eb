"""Design formulas, read against a whitelist. Nothing in a formula is ever evaluated, by Python or by R.

Allowed: names of columns (in backticks where they are not syntactic names), ``+ : * -``, ``0``, ``1``, parentheses
around sums, and a leading ``~``. Formula parsers of R and Python run code; this one cannot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from .errors import FormulaError

_NAME = re.compile(r"(?:[^\W\d_]|\.(?!\d))[\w.]*")
_TOKEN = re.compile(rf"\s+|(?P<tick>`[^`]*`)|(?P<name>{_NAME.pattern})|(?P<number>[\d.][\w.]*)|(?P<mark>[+:*()~-])")
_RESERVED = frozenset(
    (
        "if",
        "else",
        "repeat",
        "while",
        "function",
        "for",
        "next",
        "break",
        "TRUE",
        "FALSE",
        "NULL",
        "Inf",
        "NaN",
        "NA",
        "in",
    )
)
_MAX_LENGTH, _MAX_DEPTH, _MAX_TERMS = 2000, 20, 500
_ALLOWED = "Allowed are names of columns (odd ones in `backticks`), + : * -, 0, 1 and parentheses around sums."

Term = tuple[str, ...]


@dataclass(frozen=True)
class Formula:
    """A parsed formula.

    Parameters
    ----------
    text
        As written.
    variables
        Columns in the order in which the formula names them.
    terms
        Variables of each term; main effects first, then interactions of two, and so on.
    intercept
        Whether there is one.
    """

    text: str
    variables: tuple[str, ...]
    terms: tuple[Term, ...]
    intercept: bool


def quoted(name: str) -> str:
    """A column name as R prints it in the names of a design matrix: in backticks unless it is syntactic."""
    return name if _NAME.fullmatch(name) and name not in _RESERVED else f"`{name}`"


def parse(text: str) -> Formula:
    """Read a formula.

    Raises
    ------
    FormulaError
        Naming the part that is not allowed.
    """
    if not isinstance(text, str):
        raise FormulaError(f"A design formula is a string such as '~ 0 + class + batch', got {type(text).__name__}.")
    return _Parser(text).formula()


def shorten(text: str, n: int = 120) -> str:
    """A text short enough for an error message."""
    return text if len(text) <= n else text[: n - 3] + "..."


def check_length(text: str, what: str) -> None:
    """Refuse a text that is too long to be what it claims to be."""
    if len(text) > _MAX_LENGTH:
        raise FormulaError(f"{what} has {len(text)} characters; more than {_MAX_LENGTH} are not read.")


class _Parser:
    def __init__(self, text: str) -> None:
        check_length(text, "The formula")
        self.text = text
        if any("\ud800" <= mark <= "\udfff" for mark in text):
            self._refuse(text, "holds half a surrogate pair, which no text file could hold,")
        self.tokens = list(self._split())
        self.at = 0
        self.variables: list[str] = []

    def _split(self) -> list[tuple[str, str]]:
        found, start = [], 0
        while start < len(self.text):
            hit = _TOKEN.match(self.text, start)
            if hit is None:
                self._refuse(self.text[start : start + 20], "is not allowed")
            start = hit.end()
            if hit.lastgroup:
                found.append((hit.lastgroup, hit.group()))
        return found

    def _refuse(self, part: str, why: str) -> NoReturn:
        raise FormulaError(f"In the formula {shorten(self.text)!r}: {shorten(part)!r} {why}. {_ALLOWED}")

    def _peek(self) -> str:
        """The next mark or number; names show as 'name', the end as ''."""
        if self.at >= len(self.tokens):
            return ""
        kind, value = self.tokens[self.at]
        return "name" if kind in ("name", "tick") else value

    def _next(self) -> tuple[str, str]:
        if self.at >= len(self.tokens):
            self._refuse(self.text, "ends where a column name is expected")
        self.at += 1
        return self.tokens[self.at - 1]

    def formula(self) -> Formula:
        if self._peek() == "~":
            self.at += 1
        intercept, terms = True, list[Term]()
        sign = "+"
        if self._peek() in ("+", "-"):
            sign = self._next()[1]
        while True:
            if self._peek() in ("0", "1"):
                intercept = (self._next()[1] == "1") == (sign == "+")
                if self._peek() in (":", "*"):
                    self._refuse(self._peek(), "cannot follow 0 or 1, which stand alone in a sum")
            else:
                terms = _merge(terms, self._product(0)) if sign == "+" else _without(terms, self._product(0))
            if not self._peek():
                break
            sign = self._next()[1]
            if sign not in ("+", "-"):
                self._unexpected(sign)
        order = {name: i for i, name in enumerate(self.variables)}
        ordered = sorted((tuple(sorted(term, key=order.__getitem__)) for term in terms), key=len)
        if not ordered and not intercept:
            self._refuse(self.text, "leaves no coefficient to estimate")
        return Formula(self.text, tuple(self.variables), tuple(ordered), intercept)

    def _unexpected(self, part: str) -> NoReturn:
        before = self.tokens[self.at - 2][1] if self.at > 1 else ""
        if part == "(" and self.at > 1 and self.tokens[self.at - 2][0] == "name":
            self._refuse(
                f"{before}(", "looks like a function, and none is run. Make the column first, such as "
                "adata.obs[...] = adata.obs[...].astype('category') in place of factor()")  # fmt: skip
        if part == "~":
            self._refuse(
                "~", "stands only at the start; the response is the expression matrix, so nothing comes before it"
            )
        self._refuse(part, "is not expected there" + (f", after {before!r}" if before else ""))

    def _sum(self, depth: int) -> list[Term]:
        terms = self._product(depth)
        while self._peek() == "+":
            self.at += 1
            terms = _merge(terms, self._product(depth))
        return terms

    def _product(self, depth: int) -> list[Term]:
        terms = self._interaction(depth)
        while self._peek() == "*":
            self.at += 1
            other = self._interaction(depth)
            terms = _merge(_merge(terms, other), _cross(terms, other))
        return terms

    def _interaction(self, depth: int) -> list[Term]:
        terms = self._atom(depth)
        while self._peek() == ":":
            self.at += 1
            terms = _merge([], _cross(terms, self._atom(depth)))
        return terms

    def _atom(self, depth: int) -> list[Term]:
        kind, value = self._next()
        if value == "(":
            if depth >= _MAX_DEPTH:
                self._refuse("(", f"is nested more than {_MAX_DEPTH} deep")
            terms = self._sum(depth + 1)
            closing = self._next()[1] if self._peek() else ""
            if closing in ("-", "0", "1"):
                self._refuse(closing, "cannot stand inside parentheses")
            if closing != ")":
                self._unexpected(closing) if closing else self._refuse("(", "is not closed")
            return terms
        if kind == "number":
            why = "cannot stand inside parentheses or interactions" if value in ("0", "1") else "is not a column name"
            self._refuse(value, why)
        if kind not in ("name", "tick") or value in (".", "``"):
            self._unexpected(value)
        name = value[1:-1] if kind == "tick" else value
        if name not in self.variables:
            self.variables.append(name)
        return [(name,)]


def _merge(terms: Sequence[Term], more: Sequence[Term]) -> list[Term]:
    known = {frozenset(term) for term in terms}
    out = list(terms)
    for term in more:
        if frozenset(term) not in known:
            known.add(frozenset(term))
            out.append(term)
    if len(out) > _MAX_TERMS:
        raise FormulaError(f"The formula expands to more than {_MAX_TERMS} terms; write out the interactions you need.")
    return out


def _without(terms: Sequence[Term], gone: Sequence[Term]) -> list[Term]:
    names = {frozenset(term) for term in gone}
    return [term for term in terms if frozenset(term) not in names]


def _cross(left: Sequence[Term], right: Sequence[Term]) -> list[Term]:
    if len(left) * len(right) > _MAX_TERMS:
        raise FormulaError(f"The formula expands to more than {_MAX_TERMS} terms; write out the interactions you need.")
    return [tuple(dict.fromkeys(a + b)) for a in left for b in right]
