"""Text -> numbers, exactly: decimal marks, missing markers, and what is neither."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

MISSING = frozenset(
    {
        "",
        "NA",
        "NaN",
        "nan",
        "NAN",
        "N/A",
        "n/a",
        "n.a.",
        "#N/A",
        "NULL",
        "null",
        "None",
        "<NA>",
        "-nan",
        "NaT",
        "NA_real_",
    }
    | {"#NUM!", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NULL!", "#NV"}
)
# a dash or a dot in a column of numbers; Windows' C library writes the rest
_BLANK = MISSING | {
    "-",
    "--",
    "---",
    "\u2013",
    "\u2014",
    ".",
    "1.#QNAN",
    "-1.#QNAN",
    "1.#IND",
    "-1.#IND",
    "1.#QNB",
    "?",
}
_ENDLESS = {"1.#INF": np.inf, "+1.#INF": np.inf, "-1.#INF": -np.inf, "\u221e": np.inf, "-\u221e": -np.inf}
_PLAIN = re.compile(r"[-+]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|inf|infinity)", re.IGNORECASE)
_FAST = re.compile(r"-?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")
_FORTRAN = re.compile(r"([0-9.])[dD]([-+]?[0-9]+)$")
_GROUPED = {
    # groups of three beside a decimal mark, or at least two of them, cannot be anything else
    ".": re.compile(
        r"[-+]?[0-9]{1,3}(?:(?:,[0-9]{3})+\.[0-9]*|(?:,[0-9]{3}){2,}|(?:[ '\u2019][0-9]{3})+(?:\.[0-9]*)?)"
    ),
    ",": re.compile(
        r"[-+]?[0-9]{1,3}(?:(?:\.[0-9]{3})+,[0-9]*|(?:\.[0-9]{3}){2,}|(?:[ '\u2019][0-9]{3})+(?:,[0-9]*)?)"
    ),
}
_AMBIGUOUS = re.compile(r"[-+]?[1-9][0-9]{0,2}\.[0-9]{3}")  # in a column of decimal commas: 1.234 or 1234?
_SPACES = dict.fromkeys(map(ord, "\u00a0\u202f\u2007\u2009"), " ") | dict.fromkeys(
    map(ord, "\ufeff\u200b\u200e\u200f"), ""
)
_MARKS = str.maketrans({"\u2212": "-", "\u2012": "-", "\u2013": "-", "\uff0d": "-"})


def numbers(values: Sequence[str], decimal: str = ".") -> tuple[np.ndarray, list[str]]:
    """Text as numbers, missing as NaN; and the values that are neither.

    Each number is the double nearest to what is written. Read besides plain numbers: the minus of typesetters, spaces
    around and groups of three digits where they can be nothing else, Fortran's ``1D-05``. Not read, since it may be two
    things: ``1,234`` where points are decimal, ``1.234`` where commas are; and ``< 0.001``, ``5%``, ``TRUE``.
    """
    strange: list[str] = []
    cache: dict[str, float] = {}
    odd: Sequence[int] = range(len(values))
    out = np.full(len(values), np.nan)
    if decimal == ".":
        try:
            out = np.asarray(values, dtype=object).astype(np.float64)
            # float() takes more than numbers: 1_000, digits of other scripts
            odd = [i for i, cell in enumerate(values) if "_" in cell or not cell.isascii()]
        except ValueError:
            pass
    for i in odd:
        cell = values[i]
        found = cache.get(cell)
        if found is None:
            if decimal == "." and _FAST.fullmatch(cell):
                out[i] = float(cell)
                continue
            try:
                found = _number(cell, decimal)
            except ValueError:
                strange.append(cell)
                found = np.nan
            else:
                cache[cell] = found
        out[i] = found
    return out, strange


def find_decimal(columns: Sequence[Sequence[str]]) -> str:
    """The decimal mark of columns that should be numbers."""
    commas = [cell for column in columns for cell in column if "," in cell]
    if not commas:
        return "."
    points = sum("." in cell and "," not in cell and looks_numeric(cell) for column in columns for cell in column)
    against = {mark: len(numbers(commas, mark)[1]) for mark in ".,"}
    # what has points only was not written with decimal commas: 1,234 beside 0.05 is no 1.234
    return "," if against[","] + points < against["."] else "."


def looks_numeric(cell: str) -> bool:
    """Whether a cell reads as a number in any way of writing it, sound or not (``1,234``, ``< 0.01``, ``5%``)."""
    return _LOOKS.fullmatch(cell) is not None


_LOOKS = re.compile(
    r"\s*[<>~=\u2264\u2265]{0,2}\s*[-+\u2212\u2013]?\s*(?:[0-9]|[.,][0-9])[0-9.,'\u00a0\u202f]*(?:[eEdD][-+\u2212]?[0-9]+)?\s*%?\s*"
    r"|\s*[-+\u2212]?(?:inf|infinity|\u221e|1\.#INF)\s*",
    re.IGNORECASE,
)


def _number(cell: str, decimal: str) -> float:
    """One cell; ValueError for what is no number, or may be two."""
    text = cell.translate(_SPACES).strip()
    if text in _BLANK:
        return np.nan
    text = text.translate(_MARKS)
    if text in _ENDLESS:
        return _ENDLESS[text]
    text = _FORTRAN.sub(r"\1e\2", text)
    if len(text) > 400:
        raise ValueError(text[:20])
    if _GROUPED[decimal].fullmatch(text):
        text = re.sub(r"[ '\u2019]", "", text.replace("," if decimal == "." else ".", ""))
    elif decimal == "," and _AMBIGUOUS.fullmatch(text):
        raise ValueError(text)
    if decimal == ",":
        if "," in text and "." in text:
            raise ValueError(text)
        text = text.replace(",", ".")
    if not _PLAIN.fullmatch(text):
        raise ValueError(text)
    return float(text)
