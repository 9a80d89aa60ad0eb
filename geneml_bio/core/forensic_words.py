"""Numbers in words: counts, and degrees of freedom to the digits that are known."""

from __future__ import annotations

import numpy as np

METHODS = {
    "BH": "Benjamini-Hochberg", "BY": "Benjamini-Yekutieli", "holm": "Holm", "hochberg": "Hochberg", "bonferroni": "Bonferroni",
    "Storey": "q-values (Storey)", "none": "not adjusted",
}  # fmt: skip


def counted(n: int, noun: str = "row") -> str:
    """``1 row``, ``1,200 rows``."""
    return f"{int(n):,} {noun}{'' if n == 1 else 's'}"


def listed(names: list[str], joint: str = "and") -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {joint} {names[-1]}"


def shared_by(good: int, looked: int, n: int, which: str = "that tell") -> str:
    """How many rows agree, of those looked at, of all."""
    among = counted(n) if looked == n else f"{looked:,} of {counted(n)} {which}"
    if good == looked:
        return f"all {among}"
    return (
        f"{good / looked:.1%} of the {among}" if good < 0.9995 * looked else f"all but {looked - good} of the {among}"
    )


def plain_number(value: float, digits: int = 6) -> str:
    """A number to so many significant digits, without an exponent where it is of common size."""
    if value >= 1e4 and np.isfinite(value) and value < 1e9:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def df_words(u: float, interval: tuple[float, float]) -> str:
    """Degrees of freedom to the digits that ``interval`` (of ``u`` = 1/df) leaves certain."""
    if u <= 0:
        return "infinite"
    low, high = 1.0 / interval[1], 1.0 / interval[0] if interval[0] > 0 else np.inf
    if not high < 2 * low:
        return f"at least {plain_number(low, 2)}"
    width = high - low
    decimals = int(np.clip(np.floor(-np.log10(max(width, 1e-12))), -9, 4))
    if decimals < 0:
        return f"about {plain_number(float(round(1.0 / u, decimals)), 3)}"
    return plain_number(round(1.0 / u, decimals))
