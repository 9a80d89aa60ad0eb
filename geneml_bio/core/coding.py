"""Columns of a sample sheet -> columns of a design, by the rules of R's ``model.matrix`` (treatment contrasts)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .errors import ColumnNotFoundError, DesignError, near
from .formula import Formula, Term, quoted

SPEC = "geneml_design"  # where a design keeps its formula: DataFrame.attrs
Variable = tuple[np.ndarray, "tuple[str, ...] | None"]  # numbers and None; or codes and their levels

# -- variables ---------------------------------------------------------------------------------------------------------


def read_variables(formula: Formula, obs: pd.DataFrame) -> dict[str, Variable]:
    """The formula's columns as numbers, or as codes with their levels."""
    for name in formula.variables:
        count = int((obs.columns == name).sum())
        if count == 0:
            raise ColumnNotFoundError(
                f"The formula {formula.text!r} names {name!r}, not a column of the samples.{near(name, obs.columns)}"
            )
        if count > 1:
            raise DesignError(f"There are {count} columns called {name!r}; rename or drop all but one.")
    gaps = {name: int(obs[name].isna().sum()) for name in formula.variables}
    if any(gaps.values()):
        listed = ", ".join(f"{name!r} has {n} of {len(obs)}" for name, n in gaps.items() if n)
        raise DesignError(f"Missing values in columns of the design: {listed}. Drop those samples or fill the values.")
    variables = {name: _variable(obs[name], name) for name in formula.variables}
    used = {name for term in formula.terms for name in term}
    for name, (_, levels) in variables.items():
        if name in used and levels is not None and len(levels) < 2:
            raise DesignError(f"Column {name!r} has only one level ({', '.join(levels)}); leave it out of the design.")
    return variables


def _variable(values: pd.Series, name: str) -> Variable:
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        column = values.cat.remove_unused_categories()
        return np.asarray(column.cat.codes, dtype=np.intp), _labels(column.cat.categories, name)
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind == "boolean":
        return values.astype(bool).to_numpy().astype(np.intp), ("FALSE", "TRUE")
    if kind in ("integer", "floating", "mixed-integer-float"):
        numbers = values.astype(np.float64).to_numpy()
        if not np.isfinite(numbers).all():
            raise DesignError(f"Column {name!r} holds {int((~np.isfinite(numbers)).sum())} infinite values.")
        return numbers, None
    if kind in ("string", "empty"):
        labels = sorted(set(values.astype(object)))  # by code point, as R in the C locale
        order = {label: code for code, label in enumerate(labels)}
        return np.array([order[label] for label in values.astype(object)], dtype=np.intp), tuple(labels)
    raise DesignError(
        f"Column {name!r} holds {kind} values ({dtype}); a design takes categories, strings, booleans or numbers. "
        "Convert it, for example with .astype('category')."
    )


def r_label(value: Any) -> str:
    """A level as R's ``as.character`` shows it."""
    if isinstance(value, bool | np.bool_):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float | np.floating):
        return f"{value:.15g}"
    return str(value)


def _labels(categories: pd.Index, name: str) -> tuple[str, ...]:
    labels = tuple(r_label(value) for value in categories)
    if len(set(labels)) < len(labels):
        raise DesignError(f"Column {name!r} has different categories that look the same as text: {list(labels)}.")
    return labels


# -- coding ------------------------------------------------------------------------------------------------------------


def _full_dummies(formula: Formula, is_factor: Mapping[str, bool]) -> list[dict[str, bool]]:
    """For each term, which of its factors keep all their levels, by the rule of R's ``terms``.

    A factor loses its first level where the rest of the term is contained in an earlier term (the empty rest always
    is); without an intercept the first factor of the formula keeps it.
    """
    coding: list[dict[str, bool]] = []
    for i, term in enumerate(formula.terms):
        coding.append({})
        for name in term:
            rest = set(term) - {name}
            absorbed = not rest or any(rest <= set(earlier) for earlier in formula.terms[:i])
            coding[i][name] = not absorbed
    if not formula.intercept:
        first = next(((i, name) for i, term in enumerate(formula.terms) for name in term if is_factor[name]), None)
        if first is not None:
            coding[first[0]][first[1]] = True
    return coding


def _coding(formula: Formula, variables: Mapping[str, Variable]) -> list[tuple[Term, dict[str, bool]]]:
    is_factor = {name: levels is not None for name, (_, levels) in variables.items()}
    return list(zip(formula.terms, _full_dummies(formula, is_factor), strict=True))


def expand(formula: Formula, variables: Mapping[str, Variable], n: int) -> np.ndarray:
    """The numbers of the design matrix of ``n`` samples."""
    blocks = [np.ones((n, 1))] if formula.intercept else []
    for term, full in _coding(formula, variables):
        block = np.ones((n, 1))
        for name in term:  # columns of the first variable run fastest
            values, levels = variables[name]
            if levels is None:
                columns = values[:, None]
            else:
                columns = (values[:, None] == np.arange(0 if full[name] else 1, len(levels))).astype(float)
            block = (columns[:, :, None] * block[:, None, :]).reshape(n, -1)
        blocks.append(block)
    return np.hstack(blocks)


def column_names(formula: Formula, variables: Mapping[str, Variable]) -> list[str]:
    """Names of the design's columns, as R writes them."""
    names = ["(Intercept)"] if formula.intercept else []
    for term, full in _coding(formula, variables):
        block = [""]
        for name in term:
            levels = variables[name][1]
            shown = quoted(name)
            own = [shown] if levels is None else [shown + level for level in levels[0 if full[name] else 1 :]]
            block = [f"{left}:{right}" if left else right for right in own for left in block]
        names += block
    return names
