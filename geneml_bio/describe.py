"""A DE table in words, for a terminal: what it is, whether it is whole, the top genes, how it was read."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from .core.detable import DETable
from .core.forensics import TableCheck
from .core.names import LIMMA_COLUMNS
from .core.pvalues import adjust_bh

_KINDS = {
    "t": "one contrast",
    "F": "a joint test of several effects",
    "treat": "one contrast, tested against a minimal fold change",
}
_SEPARATORS = {
    ",": "comma-separated",
    ";": "semicolon-separated",
    "\t": "tab-separated",
    " ": "separated by spaces",
    "|": "separated by |",
}


_EFFECT = re.compile(r" -> .* \(coefficient\)$")
_WIDE = 16  # of the header of a column


def described(
    de: DETable,
    name: str,
    *,
    top: int = 10,
    details: bool = False,
    done: Iterable[tuple[str, str]] = (),
    words: Callable[[str], str] = str,
    width: int | None = None,
) -> str:
    """A table for a terminal: what it is, a verdict, warnings, the top genes, and how it was read.

    Parameters
    ----------
    de, name
        The table, and what to call it.
    top
        How many genes.
    details
        Whether every finding of :meth:`~geneml_bio.DETable.check` is listed.
    done
        What was computed, as (label, text), where the table was made and not read.
    words
        What turns a note of the package into the words of the reader.
    width
        Of the terminal; default: as it is, from 60 to 100.
    """
    width = min(max(shutil.get_terminal_size().columns, 60), 100) if width is None else width
    source, done, check = de.source, list(done), de.check()
    lines = _wrapped("", f"{name}: {source.get('dialect', 'limma')}, {len(de):,} features, {_KINDS[de.kind]}", width)
    if not done or not check.ok:  # what has just been computed is whole
        lines += _wrapped(f"{'Verdict':<9} ", _verdict(check), width)
    for label, text in [*([("Contrast", de.contrast)] if de.contrast and not done else []), *done]:
        lines += _wrapped(f"{label:<9} ", text, width)
    lines += _wrapped(f"{'Found':<9} ", _found(de), width)
    notes = [plain(str(note)) for note in source.get("warnings") or []]
    grave = [one for one in _findings(check, notes) if one[0] == "warning"]
    if notes or grave:
        lines += ["", "Take care"]
        lines += [
            line for note in [*map(words, notes), *(m for _, m in grave)] for line in _wrapped("  ! ", note, width)
        ]
    if top > 0:
        lines += ["", f"Top {min(top, len(de))} by P.Value", *_top(de, top, width)]
    rows = _read_as(de)
    lines += ["", *(line for label, text in rows for line in _wrapped(f"{label:<9} ", words(plain(text)), width))]
    if details:
        lines += ["", "What the numbers say"]
        findings = [(level, text) for level, text in _findings(check, []) if level != "warning" or not grave]
        marks = {"warning": "  ! ", "ok": "  + "}
        lines += [line for level, text in findings for line in _wrapped(marks.get(level, "  - "), text, width)]
    elif not done:
        n = len(check.findings)
        lines += _wrapped(f"{'Numbers':<9} ", f"{n} finding{'' if n == 1 else 's'} on them: --details", width)
    return "\n".join([*lines, ""])


def _read_as(de: DETable) -> list[tuple[str, str]]:
    """How the table was read, as (label, text)."""
    source, n = de.source, len(de)
    rows = [("File", _file(source))] if _file(source) else []
    if "rows_read" in source:
        lost = source.get("rows_lost", 0)
        rows.append(("Rows", f"{source['rows_read']:,} read, {lost:,} left out" if lost else f"{n:,} read, none lost"))
    rows.append(("Ids", _ids(de)))
    if "columns" in source:
        rows.append(("Columns", _columns(list(source["columns"]))))
    known = {*LIMMA_COLUMNS, *_effects(de)}
    rest = [str(column) for column in de.frame.columns if column not in known]
    if rest:
        rows.append(("Beside", ", ".join(rest[:12]) + (f", and {len(rest) - 12} more" if len(rest) > 12 else "")))
    return rows


def _verdict(check: TableCheck) -> str:
    said = getattr(check, "verdict", None) or ("nothing speaks against it" if check.ok else "see the warnings")
    return str(said)


def _findings(check: TableCheck, notes: list[str]) -> list[tuple[str, str]]:
    """The findings as (level, text), without those that are among the notes."""
    out = []
    for _, row in check.findings.iterrows():
        message, evidence = plain(str(row["message"])), plain(str(row["evidence"])).strip()
        if any(message.rstrip(".") in note for note in notes):
            continue
        if evidence and evidence not in message:
            message = f"{message.rstrip('.')} ({evidence})"
        out.append((str(row["level"]), message))
    return out


def _effects(de: DETable) -> list[str]:
    """The coefficients of a joint test."""
    if de.kind != "F":
        return []
    named = [_EFFECT.sub("", line) for line in de.source.get("columns", ()) if _EFFECT.search(line)]
    return [str(name) for name in named or de.source.get("contrasts") or () if name in de.frame.columns]


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


def _found(de: DETable) -> str:
    """What is significant."""
    if "adj.P.Val" not in de.frame.columns:
        again = adjust_bh(de.frame["P.Value"].to_numpy())
        return (
            f"no adjusted p-values in the table; Benjamini-Hochberg's over its rows would be below 0.05 for {int((again < 0.05).sum()):,} "
            "(which is right only if these are all the features that were tested)"
        )
    called = de.frame["adj.P.Val"] < 0.05
    said = f"{int(called.sum()):,} with adj.P.Val < 0.05"
    if de.kind == "F" or "logFC" not in de.frame.columns or not called.any():
        return said
    up, down = int((called & (de.frame["logFC"] > 0)).sum()), int((called & (de.frame["logFC"] < 0)).sum())
    return f"{said}: {up:,} up, {down:,} down"


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


def _wrapped(first: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        plain(text),
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
    """The first genes as an aligned table, with as many columns as fit: what is tested first."""
    frame, effects = de.top(n), _effects(de)
    statistics = [name for name in ("logFC", "AveExpr", "t", "F", "LR", "P.Value", "adj.P.Val", "B") if name in frame]
    if de.kind == "F":
        statistics = [*effects, *(name for name in statistics if name != "logFC")]
    others = [str(name) for name in frame.columns if name not in {*statistics, *effects, *LIMMA_COLUMNS}]
    others.sort(key=lambda name: re.search("symbol|gene.?name", name, re.IGNORECASE) is None)
    numbered = any(len(name) > _WIDE for name in effects)
    heads = {name: f"[{i}]" if numbered else name for i, name in enumerate(effects, start=1)}
    columns = {"": _column("", [_middle(plain(str(name)), 24) for name in frame.index], right=False)}
    for name in statistics:
        texts = [_number(value, name in ("P.Value", "adj.P.Val")) for value in frame[name]]
        columns[name] = _column(heads.get(name, name), texts, right=True)
    for name in [name for name in others if name not in columns]:
        numeric = pd.api.types.is_float_dtype(frame[name])
        texts = [_number(value, False) if numeric else _text(value) for value in frame[name]]
        columns[name] = _column(_middle(plain(name), _WIDE), texts, right=numeric)
    first = [name for name in ("", "P.Value", "adj.P.Val", "logFC", "F", "LR", "t", *effects) if name in columns]
    shown, used = set(), 0
    for name in [*first, *(name for name in columns if name not in first)]:
        if name == "" or used + 2 + len(columns[name][0]) <= width:
            shown.add(name)
            used += 2 + len(columns[name][0])
    cells = [columns[name] for name in columns if name in shown]
    lines = ["".join(f"  {cell}" for cell in row).rstrip() for row in zip(*cells, strict=True)]
    legend = [f"{heads[name]} {name}" for name in effects if name in shown] if numbered else []
    hidden = [name for name in effects if name not in shown]
    notes = [line for text in legend for line in _wrapped("  ", text, width)]
    notes += _wrapped("  ", f"No room for the effects {', '.join(hidden)}.", width) if hidden else []
    return [*lines, *notes]


def _column(head: str, texts: list[str], *, right: bool) -> list[str]:
    """Header and cells, of one width."""
    wide = max(map(len, [head, *texts]))
    return [cell.rjust(wide) if right else cell.ljust(wide) for cell in [head, *texts]]


def _text(value: Any) -> str:
    return "" if value is None or value is pd.NA or value != value else _cut(plain(str(value)), 30)


def _middle(text: str, wide: int) -> str:
    """Names that are too long without their middle: they mostly differ at the ends."""
    kept = wide - 3
    return text if len(text) <= wide else f"{text[: kept - kept // 2]}...{text[-(kept // 2) :]}"


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
