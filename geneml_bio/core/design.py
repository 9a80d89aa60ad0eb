"""Formula and sample sheet -> design matrix, equal to R's ``model.matrix`` with treatment contrasts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .coding import SPEC, column_names, expand, read_variables
from .contrasts import contrast_matrix
from .errors import DesignError
from .formula import Formula, parse
from .linear import independent_columns

__all__ = ["contrast_matrix", "design_matrix"]


def design_matrix(formula: str, obs: pd.DataFrame) -> pd.DataFrame:
    """The design matrix of a formula, as R's ``model.matrix`` makes it.

    Parameters
    ----------
    formula
        Such as ``"~ 0 + class + batch"``: column names and ``+ : * - 0 1 ( )`` only, see
        :mod:`geneml_bio.core.formula`.
    obs
        One row a sample. Categorical columns keep the order of their categories (the first is the reference; unused
        ones are dropped; ordered ones are coded like the others), strings are sorted by code point, booleans are R's
        ``FALSE TRUE``, numbers stay numbers.

    Returns
    -------
    DataFrame
        samples x coefficients, under R's names (``(Intercept)``, ``classAML``, ``a2:bx``).

    Raises
    ------
    FormulaError, ColumnNotFoundError
        If the formula uses more than is allowed, or a column that is not there.
    DesignError
        If a column has missing values or one level, or coefficients cannot be told apart.
    """
    parsed = parse(formula)
    variables = read_variables(parsed, obs)
    design = pd.DataFrame(expand(parsed, variables, len(obs)), index=obs.index, columns=column_names(parsed, variables))
    _check_rank(design, parsed)
    levels = {name: None if of is None else list(of) for name, (_, of) in variables.items()}
    design.attrs[SPEC] = {"formula": formula, "levels": levels}
    return design


def _check_rank(design: pd.DataFrame, formula: Formula) -> None:
    if design.columns.has_duplicates:
        twice = design.columns[design.columns.duplicated()].unique().tolist()
        raise DesignError(f"The design has several columns called {twice}; rename a column or level of the samples.")
    if design.shape[0] < design.shape[1]:
        raise DesignError(
            f"The design {formula.text!r} has {design.shape[1]} coefficients for {design.shape[0]} samples. "
            "Use fewer terms."
        )
    values = design.to_numpy()
    keep = independent_columns(values)
    if keep.all():
        return
    lost = int(np.flatnonzero(~keep)[0])
    weights = np.linalg.lstsq(values[:, keep], values[:, lost], rcond=None)[0]
    partners = [name for name, w in zip(design.columns[keep], weights, strict=True) if abs(w) > 1e-7]
    why = (
        f"it follows from {', '.join(map(repr, partners))}"
        if partners
        else "no sample has it, so it is zero throughout"
    )
    others = [str(name) for name in design.columns[~keep][1:]]
    raise DesignError(
        f"The design {formula.text!r} is confounded: the coefficient {design.columns[lost]!r} cannot be estimated, "
        f"because {why}{f' (likewise {others})' if others else ''}. "
        "Leave out one of the terms that carry the same information."
    )
