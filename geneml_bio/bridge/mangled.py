"""Gene names that a spreadsheet has turned into dates or numbers: found, and the genes they may have been. Never undone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, timedelta

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ABROAD = {"mär": 3, "mrz": 3, "avr": 4, "mai": 5, "mei": 5, "juin": 6, "juil": 7, "août": 8, "okt": 10, "dez": 12, "déc": 12,
           "dic": 12, "ene": 1, "abr": 4, "ago": 8, "set": 9, "out": 10, "sept": 9, "märz": 3, "mars": 3, "mag": 5}  # fmt: skip
_DAY_MONTH = re.compile(r"(\d{1,2})[-./ ]([^\W\d]{3,9})\.?(?:[-./ ](\d{2}|\d{4}))?", re.IGNORECASE)
_MONTH_DAY = re.compile(r"([^\W\d]{3,9})[-./ ](\d{1,2})(?:[-./, ]+(\d{2}|\d{4}))?", re.IGNORECASE)
_ISO = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(?:[ T]0{1,2}:00(?::00)?(?:\.0+)?)?")
_SLASHED = re.compile(r"(\d{1,2})[/.](\d{1,2})[/.](\d{2}|\d{4})")
_SCIENTIFIC = re.compile(r"\d(?:[.,]\d+)?E\+\d{2,3}", re.IGNORECASE)
_SERIAL = re.compile(r"[34]\d{4}")
_LETTERS = re.compile(r"[A-Za-z]")


def month_of(word: str) -> int | None:
    """1 to 12 for the name of a month, in English or a near language."""
    low = word.lower()
    full = (
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    )
    if low in full:
        return full.index(low) + 1
    if low in _MONTHS:
        return _MONTHS.index(low) + 1
    return _ABROAD.get(low)


def genes_of(month: int, day: int) -> list[str]:
    """Genes whose names read as this day: ``(3, 1)`` -> MARCH1 (now MARCHF1), MARC1 (now MTARC1)."""
    if month == 3:
        out = [f"MARCH{day} (now MARCHF{day})"] if 1 <= day <= 11 else []
        return [*out, f"MARC{day} (now MTARC{day})"] if day in (1, 2) else out
    if month == 9:
        if day == 15:
            return ["SEP15 (now SELENOF)"]
        return [f"SEPT{day} (now SEPTIN{day})"] if 1 <= day <= 14 else []
    if month == 12:
        return {1: ["DEC1 (now DELEC1, or BHLHE40)"], 2: ["DEC2 (now BHLHE41)"]}.get(day, [])
    if month == 10:
        of = {1: "POU2F1 or SLC22A1", 2: "POU2F2 or SLC22A2", 3: "POU5F1 or SLC22A3", 4: "POU5F1", 6: "POU3F1", 7: "POU3F2",
              8: "POU3F3", 9: "POU3F4", 11: "POU2F3"}  # fmt: skip
        return [f"OCT{day} (now {of[day]})"] if day in of else []
    if month == 4:
        return {1: ["APR-1 (now MAGEH1)"], 2: ["APR-2 (now TNFSF13?)"], 3: ["APR3 (now ATRAID)"]}.get(day, [])
    if month == 11:
        return [f"NOV{day}"] if day != 1 else ["NOV1", "NOV (now CCN3)"]
    return []


def _dates(name: str) -> list[tuple[int, int]]:
    """The (month, day) readings of a text that may be a date."""
    if hit := _DAY_MONTH.fullmatch(name):
        month = month_of(hit.group(2))
        return [(month, int(hit.group(1)))] if month and 1 <= int(hit.group(1)) <= 31 else []
    if hit := _MONTH_DAY.fullmatch(name):
        month = month_of(hit.group(1))
        return [(month, int(hit.group(2)))] if month and int(hit.group(2)) <= 99 else []
    if hit := _ISO.fullmatch(name):
        return _valid([(int(hit.group(2)), int(hit.group(3)))])
    if hit := _SLASHED.fullmatch(name):
        a, b = int(hit.group(1)), int(hit.group(2))
        return _valid([(a, b), (b, a)])
    return []


def _valid(days: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(month, day) for month, day in dict.fromkeys(days) if 1 <= month <= 12 and 1 <= day <= 31]


def find(ids: Sequence[str]) -> dict[str, list[str]]:
    """Ids that a spreadsheet has changed -> the genes that they may have been (none known: an empty list).

    Numbers count only where the other ids are names: Entrez ids and clones may well look like dates.
    """
    texts = sum(bool(_LETTERS.search(name)) and not _SCIENTIFIC.fullmatch(name) for name in ids)
    named = texts > 0.5 * len(ids)
    out: dict[str, list[str]] = {}
    for name in dict.fromkeys(ids):
        if not name[:1].isalnum() or len(name) > 24:
            continue
        bare = name.strip()
        days = _dates(bare)
        if not days and named and _SERIAL.fullmatch(bare):
            day = date(1899, 12, 30) + timedelta(int(bare))
            days = [(day.month, day.day)]
        if days:
            out[name] = [gene for month, day in days for gene in genes_of(month, day)]
        elif named and _SCIENTIFIC.fullmatch(bare):
            # 1E5 and 2310009E07 (a clone of RIKEN) read as numbers; what the digits were is lost
            plain = re.fullmatch(r"(\d)(?:[.,]0+)?E\+0*(\d+)", bare, re.IGNORECASE)
            out[name] = [f"{plain.group(1)}E{plain.group(2)}"] if plain else ["a clone such as 2310009E07Rik"]
    return out


def report(found: dict[str, list[str]], ids: Sequence[str]) -> str:
    """The warning that names them."""
    count = sum(name in found for name in ids)
    each = [f"{name}: {' or '.join(genes)}" if genes else f"{name}: unknown" for name, genes in list(found.items())[:6]]
    return (
        f"{count} ids look as if Excel had turned them into dates or numbers; they are kept as they are, and may have been "
        f"other genes ({'; '.join(each)}{'; ...' if len(found) > 6 else ''})"
    )
