"""Text that a spreadsheet would run as a formula: told, calmed for writing, and taken back when it is read."""

from __future__ import annotations

import re
from typing import Any

# what a spreadsheet takes for a formula, also behind spaces, in full-width letters, or with our own mark before it;
# but a number is a number, and a strand or a missing marker ("-", "---") runs nothing
_FORMULA = re.compile(r"'*[\t\r\n]|[\s']*[=+\-@＝＋－＠]")
_HARMLESS = re.compile(r"[-+]+|[-+]?\d+([.,]\d+)?([eE][-+]?\d+)?")


def runs(value: str) -> bool:
    """Whether a spreadsheet would run text as a formula (or might)."""
    return bool(_FORMULA.match(value)) and not _HARMLESS.fullmatch(value)


def calmed(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula with an apostrophe before it; anything else as it is."""
    return f"'{value}" if isinstance(value, str) and runs(value) else value


def uncalmed(value: str) -> str:
    """The text behind :func:`calmed`."""
    return value[1:] if value.startswith("'") and runs(value[1:]) else value
