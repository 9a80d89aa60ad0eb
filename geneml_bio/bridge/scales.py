"""From the scale of a file to limma's: p-values that are logarithms, fold changes that are not log2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import stats

from ..core.errors import TableError
from ..core.pvalues import adjust_bh

_TO_LOG2 = {"ln": 1 / np.log(2), "log10": np.log2(10)}


def p_value(values: np.ndarray, how: str, name: str, role: str) -> tuple[np.ndarray, str]:
    """P-values, and how they were come by; ``how``: ``""``, ``log10`` or ``ln``."""
    seen = values[np.isfinite(values)]
    if not how:
        if len(seen) and (seen.min() < 0 or seen.max() > 1):
            outside = int(((seen < 0) | (seen > 1)).sum())
            guess = (
                f"If it is -log10(p): columns={{'-log10({role})': {name!r}}}; percent: divide by 100."
                if seen.min() >= 0
                else f"If it is log10(p): columns={{'log10({role})': {name!r}}}; if it is no p-value, name the one that is."
            )
            raise TableError(
                f"{outside} of {len(seen)} values of {name!r} lie outside [0, 1] (from {seen.min():g} to {seen.max():g}); a "
                f"p-value cannot. {guess}"
            )
        return values, ""
    if len(seen) and seen.min() < 0 < seen.max():
        raise TableError(
            f"{name!r} should hold logarithms of p-values, which have one sign; it goes from {seen.min():g} to {seen.max():g}. "
            "If the sign tells the direction, split the two first."
        )
    base, shown = (10.0, "10") if how == "log10" else (np.e, "e")
    sign = "-" if not len(seen) or seen.max() > 0 else ""
    with np.errstate(over="ignore", under="ignore"):
        return np.power(base, -np.abs(values)), f"{shown}^{sign}x"


def base_of_log(values: np.ndarray, adjusted: np.ndarray | None, name: str) -> str:
    """The base of a ``-log(p)`` whose name does not tell it, from the adjusted p-values beside it."""
    if adjusted is not None:
        fits = [
            how
            for how, base in (("log10", 10.0), ("ln", np.e))
            if np.allclose(adjust_bh(np.power(base, -np.abs(values))), adjusted, rtol=2e-2, atol=1e-9, equal_nan=True)
        ]
        if len(fits) == 1:
            return fits[0]
    raise TableError(
        f"{name!r} is a logarithm of p-values, and its name does not tell the base. Say so: columns={{'-log10(P.Value)': "
        f"{name!r}}} or columns={{'-ln(P.Value)': {name!r}}}."
    )


def log2_of(values: np.ndarray, how: str, name: str) -> tuple[np.ndarray, str]:
    """Effects as log2, and how they were come by."""
    if how in _TO_LOG2:
        return values * _TO_LOG2[
            how
        ], f"x * {_TO_LOG2[how]:.4f}, from {'natural' if how == 'ln' else 'decimal'} logarithms"
    if how == "linear":
        return _of_linear(values, name)
    return values, ""


def factor(how: str) -> float:
    """What turns an effect's standard error into one of log2."""
    return float(_TO_LOG2.get(how, 1.0))


def _of_linear(values: np.ndarray, name: str) -> tuple[np.ndarray, str]:
    """Linear fold changes: a ratio is above 0; a signed one (-2: half) is never between -1 and 1."""
    seen = values[np.isfinite(values)]
    within = bool(((seen > -1) & (seen < 1)).any())
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(seen) and seen.min() >= 0 and (seen < 1).any():
            return np.log2(values), "log2 of a ratio"
        if len(seen) and seen.min() < 0 and not within:
            return np.where(values < 0, -np.log2(-values), np.log2(values)), "log2 of a signed fold change"
    if len(seen) and seen.min() >= 1:
        why = "all its values are 1 or more, so it may have lost the direction (an absolute fold change)"
    else:
        why = "some of its values are negative and some lie between -1 and 1, so it is neither a ratio nor a signed fold change"
    raise TableError(
        f"The effect {name!r} is called a fold change, and {why}. If it is log2 already: columns={{'logFC': {name!r}}}; natural "
        f"logarithms: columns={{'ln(FC)': {name!r}}}; otherwise add a column with the log2 fold change."
    )


def no_t(t: np.ndarray, effect: np.ndarray) -> bool:
    """A statistic that is never negative while the effect is: F, chi-square, or the size of t."""
    both = np.isfinite(t) & np.isfinite(effect)
    return bool(both.any() and (t[both] >= 0).all() and ((effect[both] < 0) & (t[both] > 0)).any())


def likelihood_ratio(stat: np.ndarray, p: np.ndarray) -> bool:
    """Whether DESeq2's ``stat`` is a chi-square and not Wald's z: then p is its upper tail, with some number of coefficients."""
    seen = np.isfinite(stat) & np.isfinite(p) & (p > 1e-290) & (p < 0.999)
    if not seen.any() or (stat[seen] < 0).any():
        return False
    x, logp = stat[seen], np.log(p[seen])

    def apart(logs: np.ndarray) -> float:
        return float(np.median(np.abs(logs - logp)))

    of_z = apart(np.log(2) + stats.norm.logsf(x))
    return of_z > 0.02 and min(apart(stats.chi2.logsf(x, df)) for df in range(1, 41)) < 0.02


def second_scale(logfc: np.ndarray, linear: np.ndarray) -> float | None:
    """How much of log2(ratio) a logFC is, where a ratio stands beside it: 1 for log2, 0.69 for natural, 0.30 for log10."""
    with np.errstate(divide="ignore", invalid="ignore"):
        of = np.where(linear < 0, -np.log2(-linear), np.log2(linear))
        share = logfc / of
    use = np.isfinite(share) & (np.abs(of) > 0.2)
    if use.sum() < 5:
        return None
    middle = float(np.median(share[use]))
    steady = np.mean(np.abs(share[use] - middle) < 0.02 * abs(middle))
    return middle if steady > 0.9 else None


def described(header: str, role: str, how: str) -> str:
    """One line of ``source["columns"]``."""
    return f"{header} -> {role}" + (f" ({how})" if how else "")


def finite(columns: Mapping[str, Any], notes: list[str]) -> dict[str, np.ndarray]:
    """Statistics without infinite values, which are counted."""
    out = {}
    for name, values in columns.items():
        endless = np.isinf(values)
        if endless.any():
            notes.append(f"{int(endless.sum())} infinite values of {name} are missing now")
        out[name] = np.where(endless, np.nan, values)
    return out
