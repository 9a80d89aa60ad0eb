"""Why a table is not read, and what to do: the reasons, in the order in which they explain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .cells import Cells
from .vocabulary import ID_NAMES
from .words import norm

if TYPE_CHECKING:
    from .matching import Matcher

_NUMBER = re.compile(r"[-+]?\d*[.,]?\d+(?:[eE][-+]?\d+)?")


def shown(cells: Cells, n: int = 12) -> str:
    """The first names of a table."""
    return ", ".join(repr(name) for name in cells.header[:n]) + (", ..." if len(cells.header) > n else "")


def no_header(cells: Cells) -> str | None:
    """The first line holds values, not names."""
    numbers = [name for name in cells.header if _NUMBER.fullmatch(name) and not re.fullmatch(r"\d{1,3}(\.\d)?", name)]
    if len(numbers) < 2:
        return None
    return (
        f"{cells.name} seems to have no header: its first line holds values ({shown(cells, 6)}). Nothing says which column is "
        "what; add a line with the names of the columns."
    )


def odd_p(cells: Cells, names: list[str]) -> str:
    """The only p-values carry a label that the effect does not have."""
    return (
        f"{cells.name}: the p-values {names} carry a name that the effect does not have, so they may test something else. If "
        f"they belong together: columns={{'P.Value': {names[0]!r}}}."
    )


def why_not(matcher: Matcher, families: Mapping[Any, Mapping[str, list[int]]]) -> str:
    """Why no effect and p-value belong together."""
    cells = matcher.cells
    headless = no_header(cells)
    if headless:
        return headless

    def named(role: str) -> list[str]:
        return [matcher.distinct[i] for family in families.values() for i in family.get(role, [])]

    effects, tested, adjusted = named("logFC") + named("FC"), named("P.Value"), named("adj.P.Val")
    effect = "logFC" if named("logFC") else "FC"
    unclear = [
        matcher.distinct[i]
        for i, meant in enumerate(matcher.meanings)
        if meant is not None and meant.role == "effect" and cells.looks_numeric(i)
    ]
    have = f"{cells.name} (columns {shown(cells)})"
    if tested and effects:
        return (
            f"{have} has the effects {effects[:8]} and the p-values {tested[:8]}, and it is not clear which belong together. "
            f"Say so: columns={{{effect!r}: {effects[0]!r}, 'P.Value': {tested[0]!r}}}."
        )
    if adjusted and effects and not tested:
        return (
            f"{have} has adjusted p-values ({adjusted[:4]}) but no raw ones, and a DE table needs those: ranks, plots and any "
            "further adjustment rest on them. Get the table with its p-values; or, knowing that they are too large, let the "
            f"adjusted ones stand for them: columns={{{effect!r}: {effects[0]!r}, 'P.Value': {adjusted[0]!r}, "
            f"'adj.P.Val': {adjusted[0]!r}}}."
        )
    if adjusted and unclear and not tested:
        return (
            f"{have} has adjusted p-values ({adjusted[:4]}) but no raw ones, which a DE table needs, and effects ({unclear[:4]}) whose "
            "scale their names do not tell. Get the table with its p-values; or, knowing that the adjusted ones are too large: "
            f"columns={{'logFC': {unclear[0]!r}, 'P.Value': {adjusted[0]!r}, 'adj.P.Val': {adjusted[0]!r}}} if the effect is log2 "
            "('ln(FC)', 'log10(FC)', 'FC' in its place if not)."
        )
    if (tested or adjusted) and unclear:
        u, p = unclear[0], (tested or adjusted)[0]
        return (
            f"{have} has p-values ({(tested or adjusted)[:4]}), and effects ({unclear[:4]}) whose scale their names do not tell. "
            f"If it is log2: columns={{'logFC': {u!r}, 'P.Value': {p!r}}}; natural logarithm: columns={{'ln(FC)': {u!r}, ...}}; "
            f"log10: columns={{'log10(FC)': {u!r}, ...}}; a ratio or a signed fold change: columns={{'FC': {u!r}, ...}}."
        )
    if tested or adjusted:
        numeric = [
            matcher.distinct[i]
            for i, meant in enumerate(matcher.meanings)
            if (meant is None or meant.role not in ("P.Value", "adj.P.Val"))
            and norm(matcher.names[i]) not in (*ID_NAMES, "")
            and cells.looks_numeric(i)
        ]
        return (
            f"{have} has p-values ({(tested or adjusted)[:4]}) but no effect (logFC, log2FoldChange ...). If a column holds it "
            f"under another name, say so: columns={{'logFC': '...'}}; columns of numbers: {numeric[:8]}."
        )
    if effects or (unclear and len(cells.header) < 8):
        return (
            f"{have} has effects ({(effects or unclear)[:4]}) but no p-values. If a column holds them under another name, say "
            "so: columns={'P.Value': '...'}."
        )
    return _nothing(cells, have)


def _nothing(cells: Cells, have: str) -> str:
    """Neither effects nor p-values."""
    numeric_share = sum(cells.looks_numeric(i) for i in range(len(cells.header))) / max(len(cells.header), 1)
    matrix = (
        " It looks like a matrix of expression or counts: gb.read.expression reads those."
        if numeric_share > 0.5
        else ""
    )
    return (
        f"This is not a DE table: {have} has neither effects nor p-values. Expected are columns such as logFC, P.Value and "
        f"adj.P.Val; if they go by other names: columns={{'logFC': '...', 'P.Value': '...'}}.{matrix}"
    )
