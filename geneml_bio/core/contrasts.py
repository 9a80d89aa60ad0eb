"""What is to be compared -> weights of the design's coefficients. Expressions are parsed here, never evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from .coding import SPEC, expand, r_label, read_variables
from .errors import ColumnNotFoundError, DesignError, FormulaError, near
from .formula import check_length, parse, shorten

_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
_WORD = re.compile(r"[\w.:]+")
_MAX_DEPTH = 50


def contrast_matrix(contrast: Any, design: pd.DataFrame, *, obs: pd.DataFrame | None = None) -> pd.DataFrame:
    """Weights of contrasts over the columns of a design.

    Parameters
    ----------
    contrast
        ``(factor, level, reference)``: the difference that changing the factor alone makes (needs a design made by
        :func:`design_matrix`, and ``obs``); the name of a design column; an expression over design columns such as
        ``"A - B"`` or ``"(A + B) / 2 - C"`` (odd names in backticks); a dict of column -> weight; or a list of these.
    design
        samples x coefficients.
    obs
        The samples, for a ``(factor, level, reference)``.

    Returns
    -------
    DataFrame
        design columns x contrasts.

    Raises
    ------
    ColumnNotFoundError
        If a column, factor or level is not there.
    DesignError
        If the contrast is zero or not unique.
    FormulaError
        If an expression is not a linear one.
    """
    columns = [str(name) for name in design.columns]
    asked = contrast if isinstance(contrast, list) else [contrast]
    if not asked:
        raise DesignError("No contrast was given; name one, such as ('class', 'AML', 'ALL').")
    named = [_one(item, columns, design, obs, asked) for item in asked]
    labels = _unique_labels([name for name, _ in named], asked)
    weights = np.column_stack([values for _, values in named]) + 0.0  # no -0.0
    for label, column in zip(labels, weights.T, strict=True):
        if not np.any(column):
            raise DesignError(f"The contrast {label!r} is zero: it compares a thing with itself.")
        if not np.isfinite(column).all():
            raise DesignError(f"The contrast {label!r} has weights that are not finite.")
    return pd.DataFrame(weights, index=pd.Index(columns), columns=pd.Index(labels))


def _one(
    item: Any, columns: list[str], design: pd.DataFrame, obs: pd.DataFrame | None, asked: Sequence[Any]
) -> tuple[str, np.ndarray]:
    if isinstance(item, tuple):
        if len(item) != 3:
            raise DesignError(f"A tuple contrast is (factor, level, reference); got {len(item)} parts: {item!r}.")
        return f"{item[1]} vs {item[2]}", _difference(*item, design=design, obs=obs)
    if isinstance(item, str):
        try:
            return item.strip(), _Expression(item, columns).weights()
        except ColumnNotFoundError as error:
            if len(asked) == 3 and obs is not None and asked[0] in list(obs.columns):
                hint = f" A list holds several contrasts; for one, write the tuple {tuple(asked)!r}."
                raise ColumnNotFoundError(f"{error}{hint}") from None
            raise
    if isinstance(item, Mapping):
        weights = np.zeros(len(columns))
        for name, value in item.items():
            if str(name) not in columns:
                raise ColumnNotFoundError(
                    f"The contrast names {name!r}, not a column of the design.{near(name, columns)}"
                )
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise DesignError(f"The weight of {name!r} must be a number, got {value!r}.")
            weights[columns.index(str(name))] = float(value)
        return _described(weights, columns), weights
    raise DesignError(
        f"A contrast is a tuple (factor, level, reference), a design column, an expression, a dict or a list of these; "
        f"got {type(item).__name__}."
    )


def _described(weights: np.ndarray, columns: Sequence[str]) -> str:
    text = ""
    for value, name in zip(weights, columns, strict=True):
        if value:
            sign = " - " if value < 0 else " + "
            size = "" if abs(value) == 1 else f"{abs(value):g}*"
            text += (sign if text else sign.strip().replace("+", "")) + size + name
    return text


def _unique_labels(labels: list[str], asked: Sequence[Any]) -> list[str]:
    if len(set(labels)) < len(labels):  # the same levels in two factors
        labels = [
            f"{item[0]}: {name}" if isinstance(item, tuple) else name for name, item in zip(labels, asked, strict=True)
        ]
    twice = [name for name in dict.fromkeys(labels) if labels.count(name) > 1]
    if twice:
        raise DesignError(f"The same contrast is asked for twice: {twice}.")
    return labels


# -- (factor, level, reference) ----------------------------------------------------------------------------------------


def _difference(
    factor: Any, level: Any, reference: Any, *, design: pd.DataFrame, obs: pd.DataFrame | None
) -> np.ndarray:
    """Design rows at ``level`` less those at ``reference``, all else equal; the same in every sample, or refused."""
    spec = design.attrs.get(SPEC)
    if spec is None or obs is None:
        raise DesignError(
            "A (factor, level, reference) contrast needs a design made from a formula, and the samples. For a design "
            f"matrix of your own name its columns, such as {str(design.columns[-1])!r}."
        )
    formula = parse(spec["formula"])
    if factor not in formula.variables:
        raise ColumnNotFoundError(f"{factor!r} is not in the design {formula.text!r}.{near(factor, formula.variables)}")
    variables = read_variables(formula, obs)
    values, levels = variables[factor]
    rows = []
    for value in (level, reference):
        changed = dict(variables)
        changed[factor] = (np.full(values.shape, _code(factor, value, levels), dtype=values.dtype), levels)
        rows.append(expand(formula, changed, len(obs)))
    difference = rows[0] - rows[1]
    if np.ptp(difference, axis=0).max(initial=0.0) > 1e-9:
        varying = design.columns[np.ptp(difference, axis=0) > 1e-9].tolist()
        partners = sorted({name for term in formula.terms if factor in term for name in term} - {factor})
        raise DesignError(
            f"{level!r} against {reference!r} of {factor!r} is not one contrast: the design {formula.text!r} lets it "
            f"depend on {', '.join(map(repr, partners))} (columns {varying}). Write the contrast over design columns: "
            f"{list(design.columns)}."
        )
    return difference[0]


def _code(factor: str, value: Any, levels: tuple[str, ...] | None) -> float:
    if levels is not None:
        label = r_label(value)
        if label not in levels:
            raise ColumnNotFoundError(f"{factor!r} has no level {label!r}.{near(label, levels)}")
        return levels.index(label)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise DesignError(
            f"{factor!r} is numeric in this design, so its levels are numbers; got {value!r}. If it names groups, make "
            "it categorical first: adata.obs[...] = adata.obs[...].astype('category')."
        )
    return float(value)


# -- expressions -------------------------------------------------------------------------------------------------------


class _Expression:
    """``+ - * / ( )`` over design columns and numbers; each value is a vector of weights with the constant last."""

    def __init__(self, text: str, columns: Sequence[str]) -> None:
        check_length(text, "The contrast")
        self.text, self.columns, self.at = text, list(columns), 0
        self.by_length = sorted(range(len(columns)), key=lambda i: -len(columns[i]))

    def weights(self) -> np.ndarray:
        if self.text.strip() in self.columns:
            return self._unit(self.columns.index(self.text.strip()))[:-1]
        value = self._sum(0)
        if self._mark():
            self._refuse(self._mark(), "is not expected there")
        if value[-1]:
            raise FormulaError(f"The contrast {self.text!r} adds the number {value[-1]:g}, which is not a coefficient.")
        return value[:-1]

    def _refuse(self, part: str, why: str) -> NoReturn:
        raise FormulaError(
            f"In the contrast {shorten(self.text)!r}: {part!r} {why}. Allowed are columns of the design (odd names in "
            f"`backticks`), numbers, + - * / and parentheses. Columns: {', '.join(map(repr, self.columns))}."
        )

    def _unit(self, i: int) -> np.ndarray:
        return np.eye(len(self.columns) + 1)[i]

    def _mark(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def _sum(self, depth: int) -> np.ndarray:
        value = self._product(depth)
        while self._mark() in ("+", "-") and self._mark():
            sign = 1.0 if self._mark() == "+" else -1.0
            self.at += 1
            value = value + sign * self._product(depth)
        return value

    def _product(self, depth: int) -> np.ndarray:
        value = self._signed(depth)
        while self._mark() in ("*", "/") and self._mark():
            mark = self._mark()
            self.at += 1
            other = self._signed(depth)
            if mark == "/":
                if other[:-1].any() or not other[-1]:
                    self._refuse("/", "must be followed by a number other than 0")
                value = value / other[-1]
            else:
                if value[:-1].any() and other[:-1].any():
                    self._refuse("*", "multiplies two coefficients; a contrast is linear")
                value = value[-1] * other if other[:-1].any() else value * other[-1]
        return value

    def _signed(self, depth: int) -> np.ndarray:
        if depth > _MAX_DEPTH:
            self._refuse("(", f"is nested more than {_MAX_DEPTH} deep")
        column = self._column()
        if column is not None:
            return self._unit(column)
        mark = self._mark()
        if mark in ("+", "-") and mark:
            self.at += 1
            value = self._signed(depth + 1)
            return value if mark == "+" else -value
        if mark == "(":
            self.at += 1
            value = self._sum(depth + 1)
            if self._mark() != ")":
                self._refuse(self._mark() or "(", "is not expected there" if self._mark() else "is not closed")
            self.at += 1
            return value
        return self._number_or_error(mark)

    def _column(self) -> int | None:
        """The design column that starts here: in backticks, or the longest that ends where a name may end."""
        mark = self._mark()
        if mark == "`":
            end = self.text.find("`", self.at + 1)
            name = self.text[self.at + 1 : end] if end > 0 else ""
            if name in self.columns and not _continues(self.text, end + 1):
                self.at = end + 1
                return self.columns.index(name)
        hits = [i for i in self.by_length if self._ends_well(self.columns[i])]
        if not hits:
            return None
        first = self.columns[hits[0]]
        if len(hits) > 1 and any(mark in first[len(self.columns[hits[1]]) :] for mark in "+-*/"):
            self._refuse(first, f"can also be read as {self.columns[hits[1]]!r} and what follows; put it in backticks")
        self.at += len(first)
        return hits[0]

    def _ends_well(self, name: str) -> bool:
        return (
            bool(name) and self.text.startswith(name, self.at) and not _continues(self.text, self.at + len(name), name)
        )

    def _number_or_error(self, mark: str) -> np.ndarray:
        number = _NUMBER.match(self.text, self.at)
        if number and not _continues(self.text, number.end()):
            self.at = number.end()
            return float(number.group()) * self._unit(len(self.columns))
        if mark == "`":
            end = self.text.find("`", self.at + 1)
            self._refuse("`", "is not closed") if end < 0 else self._missing(self.text[self.at + 1 : end])
        word = _WORD.match(self.text, self.at)
        if word and not word.group()[0].isdigit() and self.text[word.end() : word.end() + 1] != "(":
            self._missing(word.group())
        self._refuse(word.group() if word else mark or self.text, "is not allowed" if mark else "ends too early")

    def _missing(self, name: str) -> NoReturn:
        raise ColumnNotFoundError(
            f"The contrast {self.text!r} names {name!r}, which is not a column of the design.{near(name, self.columns)}"
        )


def _continues(text: str, at: int, name: str = "x") -> bool:
    """Whether the name that ends before ``at`` goes on: a word character, or ``:`` of a longer interaction."""
    following = text[at : at + 1]
    if following == ":":
        return True
    return bool(following) and (following.isalnum() or following in "._`") and (name[-1].isalnum() or name[-1] in "._")
