"""A DE table in words, for a terminal: what was read, what the numbers say, the top genes."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd

from .core.detable import DETable
from .core.names import LIMMA_COLUMNS

_KINDS = {
    "t": "one contrast",
    "F": "a joint test of several contrasts or coefficients",
    "treat": "one contrast, tested against a minimal fold change",
}
_SEPARATORS = {
    ",": "comma-separated",
    ";": "semicolon-separated",
    "\t": "tab-separated",
    " ": "separated by spaces",
    "|": "separated by |",
}


def described(de: DETable, name: str, *, top: int = 10, width: int | None = None) -> str:
    """What was read, what the numbers say, and the top genes, for a terminal."""
    width = min(max(shutil.get_terminal_size().columns, 60), 100) if width is None else width
    source, n = de.source, len(de)
    lines = [plain(f"{name}: {source.get('dialect', 'limma')}"), ""]
    rows: list[tuple[str, str]] = [("Table", f"{n:,} features, {_KINDS[de.kind]}{_up_down(de)}")]
    if de.contrast:
        rows.append(("Contrast", de.contrast))
    rows += [("File", _file(source))] if _file(source) else []
    if "rows_read" in source:
        lost = source.get("rows_lost", 0)
        rows.append(("Rows", f"{source['rows_read']:,} read, {lost:,} left out" if lost else f"{n:,} read, none lost"))
    rows.append(("Ids", _ids(de)))
    if "columns" in source:
        rows.append(("Columns", _columns(list(source["columns"]))))
    rest = [str(column) for column in de.frame.columns if column not in LIMMA_COLUMNS]
    if rest:
        rows.append(("Beside", ", ".join(rest[:12]) + (f", and {len(rest) - 12} more" if len(rest) > 12 else "")))
    for label, text in rows:
        lines += _wrapped(f"{label:<9} ", plain(text), width)
    notes = [plain(str(note)) for note in source.get("warnings") or []]
    if notes:
        lines += ["", "Take care"]
        lines += [line for note in notes for line in _wrapped("  ! ", note, width)]
    lines += ["", "What the numbers say", *_checked(de, notes, width)]
    if top > 0:
        lines += ["", f"Top {min(top, n)} by P.Value", *_top(de, top, width)]
    return "\n".join([*lines, ""])


def _columns(lines: list[str]) -> str:
    """The mapping; names that are limma's already only listed."""
    changed: list[str] = []
    same: list[str] = []
    coefficients: list[str] = []
    for line in lines:
        left, _, right = line.partition(" -> ")
        kind = same if left == right else coefficients if right == f"{left} (coefficient)" else changed
        kind.append(line if kind is changed else left)
    said = [*changed]
    said += [f"{', '.join(same)} as in limma"] if same else []
    said += [f"effects {', '.join(coefficients)}"] if coefficients else []
    return "; ".join(said)


def _up_down(de: DETable) -> str:
    if "adj.P.Val" not in de.frame.columns:
        return ""
    called = de.frame["adj.P.Val"] < 0.05
    if de.kind == "F" or "logFC" not in de.frame.columns:
        return f"; {int(called.sum()):,} at adj.P.Val < 0.05"
    up, down = int((called & (de.frame["logFC"] > 0)).sum()), int((called & (de.frame["logFC"] < 0)).sum())
    return f"; at adj.P.Val < 0.05 {up:,} up, {down:,} down"


def _file(source: Mapping[str, Any]) -> str:
    parts = [str(source[name]) for name in ("type",) if source.get(name)]
    if "separator" in source:
        parts.append(_SEPARATORS.get(str(source["separator"]), f"separated by {source['separator']!r}"))
        if source.get("shifted"):
            parts.append("header one short, as write.table leaves it")
    if source.get("decimal") == ",":
        parts.append("decimal comma")
    parts += [str(source[name]) for name in ("encoding", "compression") if source.get(name)]
    if source.get("sheet"):
        parts.append(f"{'' if parts else 'workbook, '}sheet {source['sheet']!r}")
    parts += [f"{name} {source[name]}" for name in ("engine",) if source.get(name)]
    comments = list(source.get("comments") or [])
    if comments:
        parts.append(f"{len(comments)} comment line{'s' if len(comments) > 1 else ''} ({str(comments[0])[:40]})")
    return ", ".join(parts)


def _ids(de: DETable) -> str:
    from .bridge.overlap import kind_of

    shown = ", ".join(list(de.frame.index[:3]))
    kind = kind_of(list(de.frame.index))
    said = f"{de.source.get('ids', 'row names')}: {shown}{', ...' if len(de) > 3 else ''}"
    said += f" ({kind.words})" if kind is not None else ""
    others = list(de.source.get("id_columns") or ())
    return said + (f"; --feature would take {' or '.join(map(repr, others[:5]))}" if others else "")


def _checked(de: DETable, notes: list[str], width: int) -> list[str]:
    """The findings; those that stand among the warnings already are not said twice."""
    check = de.check()
    findings = check.findings
    lines = []
    for _, row in findings.iterrows():
        message = plain(str(row["message"]))
        if message.rstrip(".") in notes:
            continue
        mark = {"warning": "  ! ", "ok": "  + "}.get(str(row["level"]), "  - ")
        evidence = plain(str(row["evidence"])).strip()
        if evidence and evidence not in message:
            message = f"{message.rstrip('.')} ({evidence})"
        lines += _wrapped(mark, message, width)
    return lines or ["  Nothing more than is said above." if notes else "  Nothing speaks against it."]


def _wrapped(first: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=True,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def plain(text: str) -> str:
    """Text that does nothing to a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _top(de: DETable, n: int, width: int) -> list[str]:
    """The first genes as an aligned table, with as many columns as fit."""
    frame = de.top(n)
    statistics = [name for name in ("logFC", "AveExpr", "t", "F", "LR", "P.Value", "adj.P.Val", "B") if name in frame]
    if de.kind == "F":
        coefficients = [
            line.split(" -> ")[0] for line in de.source.get("columns", ()) if line.endswith("(coefficient)")
        ]
        statistics = [*(name for name in coefficients if name in frame), *(s for s in statistics if s != "logFC")]
    others = [str(name) for name in frame.columns if name not in {*statistics, *LIMMA_COLUMNS}]
    others.sort(key=lambda name: re.search("symbol|gene.?name", name, re.IGNORECASE) is None)
    columns = [("", [_cut(plain(str(name)), 24) for name in frame.index], False)]
    for name in statistics:
        small = name in ("P.Value", "adj.P.Val")
        columns.append((_cut(plain(name), 14), [_number(value, small) for value in frame[name]], True))
    for name in others:
        numeric = pd.api.types.is_float_dtype(frame[name])
        texts = [_number(value, False) if numeric else _text(value) for value in frame[name]]
        columns.append((_cut(plain(name), 14), texts, numeric))
    lines, used = [""] * (len(frame) + 1), 0
    for head, texts, right in columns:
        wide = max(map(len, [head, *texts]))
        if used and used + 2 + wide > width:
            continue
        cells = [text.rjust(wide) if right else text.ljust(wide) for text in [head, *texts]]
        lines = [f"{line}  {cell}" for line, cell in zip(lines, cells, strict=True)]
        used += 2 + wide
    return [line.rstrip() for line in lines]


def _text(value: Any) -> str:
    return "" if value is None or value is pd.NA or value != value else _cut(plain(str(value)), 30)


def _cut(text: str, wide: int) -> str:
    return text if len(text) <= wide else f"{text[: wide - 3]}..."


def _number(value: Any, small: bool) -> str:
    if isinstance(value, str):
        return _cut(plain(value), 12)
    if value is None or math.isnan(value):
        return "NA"
    if small:
        return f"{value:.1e}" if value < 0.001 else f"{value:.4f}"
    return f"{value:.3g}" if abs(value) >= 1e5 or 0 < abs(value) < 0.005 else f"{value:.2f}"
