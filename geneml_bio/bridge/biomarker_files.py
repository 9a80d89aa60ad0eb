"""The biomarker table as a file for others: csv, tsv, xlsx, parquet, LaTeX, HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.biomarker_columns import CLASSES, COLUMNS, TEXT, typed
from ..core.errors import ColumnNotFoundError, InputError, near
from . import export as de_files
from .printed import SHARES, SMALL, WHOLE, clean, html, latex
from .sheets import add_sheet

_TOP = {"tex": 20, "html": 200}  # genes, where none are asked for
_TINTS = dict(zip(CLASSES, ("FBE0D3", "D9EDF8", "CFE2F1", "CDEEE2", "FBE9C6", "FBE9C6", "F3DFEA"), strict=True))
_SETTINGS = {
    "contrast": "What the DE table compares.",
    "direction": "What the signs of the column direction speak for.",
    "verdict": "What the cross-validation of the models came to.",
    "cautions": "What to know before the table is read.",
    "missing_evidence": "Evidence that the table could not have.",
    "not_run": "Evidence that was not made, and how to make it.",
    "alpha": "A gene is DE where adj.P.Val is at most this,",
    "lfc": "and where the absolute logFC is at least this.",
    "n_used": "A gene is used where it is among this many with the largest mean absolute SHAP (and has any), whatever there is,",
    "max_q": "and, if this is given, where its empirical_q is at most this (what permuted targets do not give as well).",
    "min_frequency": "A used gene chosen in a smaller share of folds is unstable.",
    "min_share": "A DE gene with less than this share of the mean absolute SHAP of the gene it stands behind is redundant.",
    "de": "Name of the DE results.",
    "model": "Name of the model results.",
    "annotation": "Where symbols and names are from.",
    "version": "geneml_bio that wrote this.",
}


def write(
    table: pd.DataFrame,
    path: Path,
    *,
    to: str | None = None,
    top: int | None = None,
    columns: list[str] | None = None,
    caption: str = "",
    force: bool = False,
) -> Path:
    """Write a biomarker table: see :func:`geneml_bio.export`."""
    chosen = de_files.checked(path, to=to, force=force, formats=WRITERS)
    if top is not None and (isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1):
        raise InputError(f"top is how many genes to write, a whole number from 1 on; got {top!r}.")
    unknown = [name for name in columns or () if name not in table]
    if unknown:
        raise ColumnNotFoundError(f"The table has no column {unknown[0]!r}.{near(unknown[0], table.columns)}")
    settings = _plain(table.attrs.get("settings", {}))
    n_all, kept = len(table), table.head(top or _TOP.get(chosen, len(table)))
    with de_files.whole(path, f".{chosen}") as made:
        WRITERS[chosen](kept, made, {"settings": settings, "columns": columns, "caption": caption, "n_all": n_all})
    return path


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as plain values, in the order in which they are explained; and who wrote them."""
    from .. import __version__

    def value(of: Any) -> Any:
        of = of.item() if isinstance(of, np.generic) else of
        return of if isinstance(of, bool | int | float | str) else str(of)

    known = {name: value(settings[name]) for name in _SETTINGS if settings.get(name) is not None}
    more = {str(name): value(of) for name, of in settings.items() if name not in known and of is not None}
    return {**known, **more, "version": __version__}


def _flat(table: pd.DataFrame, columns: list[str] | None) -> pd.DataFrame:
    """With exact types, the ids of genes as the first column."""
    out = typed(table[list(columns)] if columns else table)
    out.insert(0, "id", pd.Series(out.index.astype(str), index=out.index, dtype=object))
    out.attrs = {}
    return out


def _separated(separator: str) -> Callable[[pd.DataFrame, Path, Mapping[str, Any]], None]:
    def write_text(table: pd.DataFrame, path: Path, how: Mapping[str, Any]) -> None:
        de_files.write_separated(_flat(table, how["columns"]), path, separator)

    return write_text


def _parquet(table: pd.DataFrame, path: Path, how: Mapping[str, Any]) -> None:
    frame = _flat(table, how["columns"])
    frame.attrs = {"settings": how["settings"]}
    de_files.write_parquet(frame, path)


def _xlsx(table: pd.DataFrame, path: Path, how: Mapping[str, Any]) -> None:
    from openpyxl import Workbook
    from openpyxl.styles import Alignment, Font, PatternFill

    frame = _flat(table, how["columns"])
    fills = {name: {"fill": PatternFill("solid", fgColor=tint)} for name, tint in _TINTS.items()}
    odd = {"font": Font(bold=True, color="A3220B")}

    def look(name: str, value: Any) -> Mapping[str, Any]:
        if name == "class":
            return fills.get(value, {})
        return odd if name == "agreement" and value == "conflict" else {}

    head = {"font": Font(bold=True, color="FFFFFF"), "fill": PatternFill("solid", fgColor="36424F")}
    head |= {"alignment": Alignment(vertical="center")}
    formats = (
        dict.fromkeys(SMALL, "0.00E+00") | dict.fromkeys(WHOLE, "0") | dict.fromkeys(SHARES, "0%") | {"shap": "0.0000"}
    )
    book = Workbook(write_only=True)
    add_sheet(book, "biomarkers", frame, formats=formats, look=look, header=head)
    explained = [(name, COLUMNS.get(name, "")) for name in frame.columns if name != "id"]
    about = [("id", "Id of the gene."), *explained, *((f"class: {name}", words) for name, words in CLASSES.items())]
    add_sheet(book, "columns", pd.DataFrame(about, columns=["column", "content"]), wrapped=["content"], header=head)
    rows = [(name, clean(value), _SETTINGS.get(name, "")) for name, value in how["settings"].items()]
    rows.insert(0, ("genes", f"{len(table)} of {how['n_all']}", "How many of all genes are in the first sheet."))
    add_sheet(
        book,
        "settings",
        pd.DataFrame(rows, columns=["setting", "value", "content"]),
        wrapped=["value", "content"],
        header=head,
    )
    book.save(path)


def _tex(table: pd.DataFrame, path: Path, how: Mapping[str, Any]) -> None:
    path.write_text(latex(_texts(table), **how), encoding="utf-8")


def _html(table: pd.DataFrame, path: Path, how: Mapping[str, Any]) -> None:
    path.write_text(html(_texts(table), **how), encoding="utf-8")


def _texts(table: pd.DataFrame) -> pd.DataFrame:
    """Text columns as text, also where they came as categories."""
    return table.assign(**{name: table[name].astype(object) for name in TEXT if name in table})


WRITERS: dict[str, Callable[[pd.DataFrame, Path, Mapping[str, Any]], None]] = {
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "xlsx": _xlsx,
    "parquet": _parquet,
    "tex": _tex,
    "html": _html,
}
