"""Which columns of a table of genes can predict, and how: numbers, levels of text; names and coordinates are set aside."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

MISSING = frozenset({"", "na", "n/a", "nan", "null", "---", "<na>", "none"})
NO_LEVEL = "(missing)"

_ID_WORDS = (
    r"id|ids|accession|acc|gb_?acc|genbank|entrez\w*|ensembl\w*|ensg?|refseq\w*|unigene\w*|uniprot\w*|hgnc\w*|mgi\w*|ilmn\w*"
    r"|probe\w*|spot\w*|symbols?|gene_?symbols?|alias\w*|synonyms?|gene_?names?|feature_?names?|description|title|definition"
    r"|sequence|seq|url|link|chromosome_?location|location|coordinates?|locus|range_\w+|start|end|stop|pos|position|begin|tss"
)
_ID_NAME = re.compile(rf"^(?:.*_)?(?:{_ID_WORDS})$|^(?:genes?|names?|feature|row|rownames?|index|unnamed(_\d+)?|x)$")
_SYMBOL_NAME = re.compile(
    r"^(?:.*_)?(?:gene_?symbols?|symbols?|gene_?names?|gene_short_name|feature_name|ilmn_gene|external_gene_name|genes?)$"
)
_FEW = 5  # genes a level must have on average


@dataclass(frozen=True)
class Column:
    """A predictor as it stands in a table: a number, or text with few levels (one column of 0 and 1 each)."""

    name: str
    kind: Literal["number", "levels"]
    levels: tuple[str, ...] = ()

    @property
    def encoded(self) -> list[str]:
        """Names of the columns that it becomes."""
        return [self.name] if self.kind == "number" else [f"{self.name}={level}" for level in self.levels]


def norm(name: object) -> str:
    """Lower case, everything but letters and digits as one ``_``."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", str(name))
    return re.sub(r"[\W_]+", "_", split.lower()).strip("_")


def as_text(values: pd.Series) -> pd.Series:
    """Text without surrounding blanks; None where missing, also where a marker says so."""
    made = [None if pd.isna(v) or str(v).strip().lower() in MISSING else str(v).strip() for v in values.astype(object)]
    return pd.Series(made, index=values.index, name=values.name, dtype=object)


def as_number(values: pd.Series) -> pd.Series | None:
    """Floats (infinities as missing), where every value that is there is a number; else None."""
    if pd.api.types.is_complex_dtype(values.dtype) or pd.api.types.is_datetime64_any_dtype(values.dtype):
        return None
    if pd.api.types.is_numeric_dtype(values.dtype):
        found = pd.Series(values.to_numpy(dtype=float, na_value=np.nan), index=values.index)
    else:
        text = as_text(values)
        found = pd.to_numeric(text, errors="coerce").astype(float)
        if (found.isna() & text.notna()).any() or not text.notna().any():
            return None
    return found.where(np.isfinite(found))


def symbols_of(frame: pd.DataFrame) -> pd.Series | None:
    """The gene of each row by the first column of symbols that there is (``A /// B``: A); None where there is none."""
    hits = [name for name in frame.columns if _SYMBOL_NAME.match(norm(name))]
    hits.sort(key=lambda name: "symbol" not in norm(name))
    for name in hits:
        if as_number(frame[name]) is None:
            text = as_text(frame[name])
            if text.notna().any():
                first = [None if v is None else re.split(r"\s*(?:///|//|;|,)\s*", v)[0] for v in text]
                return pd.Series(first, index=text.index, name=name, dtype=object)
    return None


def sort_columns(frame: pd.DataFrame, *, max_levels: int = 20) -> tuple[list[Column], dict[str, str]]:
    """Which columns can predict, and why the others are set aside.

    Parameters
    ----------
    frame
        One row a gene; columns of any kind, with unique names.
    max_levels
        Text with more levels is set aside.

    Returns
    -------
    columns, aside
        The predictors; column -> reason.
    """
    columns: list[Column] = []
    aside: dict[str, str] = {}
    for name in map(str, frame.columns):
        found = _sorted(frame[name], name, max_levels)
        if isinstance(found, Column):
            columns.append(found)
        else:
            aside[name] = found
    return columns, aside


def _sorted(values: pd.Series, name: str, max_levels: int) -> Column | str:
    number = as_number(values)
    named = bool(_ID_NAME.match(norm(name)))
    if number is not None:
        known = number.dropna()
        if not len(known):
            return "no value"
        if known.nunique() == 1:
            return "constant"
        if named:
            return "identifier or coordinate (by its name)"
        return "row number or rank" if _is_rank(known, len(number)) else Column(name, "number")
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "dates"
    text = as_text(values).dropna()
    if not len(text):
        return "no value"
    counts = text.value_counts()
    if named:
        return "identifier or description (by its name)"
    if len(counts) == 1 and len(text) == len(values):
        return "constant"
    if len(counts) <= max_levels and len(text) >= _FEW * len(counts):
        levels = sorted(map(str, counts.index)) + [NO_LEVEL] * (len(text) < len(values))
        return Column(name, "levels", tuple(levels if len(levels) > 2 else levels[1:]))
    if len(counts) > 0.5 * len(text):
        return "identifier or description (most genes have their own)"
    return f"text with {len(counts)} levels, more than {max_levels} (max_levels=) or too few genes in each"


def _is_rank(known: pd.Series, n: int) -> bool:
    """Whether whole numbers count the rows, in whatever order."""
    whole = bool((known == known.round()).all())
    return whole and n > 20 and known.is_unique and float(np.ptp(known)) == len(known) - 1


def encode(columns: Sequence[Column], frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Predictors as floats; levels as 0 and 1.

    Returns
    -------
    frame, unknown
        A level that the column does not have is 0 everywhere; ``unknown`` counts such genes, and values that are no numbers
        (NaN), by column.
    """
    parts: dict[str, np.ndarray] = {}
    unknown: dict[str, int] = {}
    for column in columns:
        values = frame[column.name]
        if column.kind == "number":
            number = as_number(values)
            if number is None:
                number = pd.to_numeric(as_text(values), errors="coerce").astype(float)
                unknown[column.name] = int((number.isna() & as_text(values).notna()).sum())
            parts[column.name] = number.to_numpy(float)
            continue
        text = np.array([NO_LEVEL if v is None else v for v in as_text(values)], dtype=object)
        for level, made in zip(column.levels, column.encoded, strict=True):
            parts[made] = (text == level).astype(float)
    return pd.DataFrame(parts, index=frame.index), unknown
