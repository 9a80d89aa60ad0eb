"""The biomarker table of the report: main columns at once, the rest on demand, all of it in the download."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ..core.biomarker_columns import small_effects
from ..pl.genes import UNUSED
from . import words
from .tables import Cell, Column, Table

MAX_GENES = 1000
MIN_GENES = 50

# name -> heading, hint, kind, whether it is shown on demand only
_COLUMNS: dict[str, tuple[str, str, str, bool]] = {
    "rank": ("#", "Order of the table: by mean |SHAP|, then by p-value", "number", False),
    "gene": ("Gene", "Name of the gene in the data", "text", False),
    "symbol": ("Symbol", "Gene symbol", "text", False),
    "name": ("Name", "What the gene is", "text", True),
    "class": ("Class", "What the two kinds of evidence say together; see the glossary", "text", False),
    "stands_behind": ("Stands behind", "Of a redundant gene: the used gene that does its work", "text", True),
    "logFC": ("logFC", "Log fold change (of a number: by one unit of it), with its confidence interval where it is known", "number", False),
    "CI.L": ("logFC from", "Lower end of the confidence interval of logFC", "number", True),
    "CI.R": ("logFC to", "Upper end of that interval", "number", True),
    "F": ("F", "Moderated F statistic over all contrasts", "number", False),
    "LR": ("LR", "Likelihood-ratio statistic over all coefficients", "number", False),
    "AveExpr": ("Mean log expression", "Mean log expression over all samples", "number", True),
    "t": ("t", "Moderated t statistic", "number", True),
    "P.Value": ("p-value", "p-value of the DE test", "number", True),
    "adj.P.Val": ("adj.P.Val", "p-value of the DE test, adjusted for the number of genes", "number", False),
    "B": ("B", "Log-odds that the gene differs", "number", True),
    "shap": ("Mean |SHAP|", "How much the models rely on the gene, in samples that they had not seen", "number", False),
    "shap_rank": ("Rank by SHAP", "Rank by mean |SHAP|", "number", True),
    "rank_low": ("Rank from", "Lower end of the 95 % interval of the rank", "number", True),
    "rank_high": ("Rank to", "Upper end of that interval", "number", True),
    "direction": ("Speaks for", "What high expression makes the models predict", "text", False),
    "agreement": ("Signs", "Whether logFC and models point the same way", "text", True),
    "empirical_q": ("q by chance", "False finds to be expected among genes up to this one, by shuffled labels", "number", False),
    "empirical_p": ("p by chance", "Share of genes, over all shuffled labels, with a test statistic as large", "number", True),
    "knockoff_q": ("Knockoff q", "Smallest false discovery rate at which the knockoff filter calls the gene", "number", True),
    "selection_frequency": ("Folds", "Share of folds whose screen chose the gene", "number", False),
    "used": ("Used by", "Share of fold models that used the gene", "number", True),
    "n_models": ("Models", "Number of models that used the gene", "number", True),
    "n_agree": ("Models that agree", "Number of models whose direction is that of all together", "number", True),
    "group": ("Group", "Group of genes that go together", "text", True),
    "stand_ins": ("Stand-ins", "Genes that could replace it, with their correlation", "text", True),
}  # fmt: skip
_P = ("P.Value", "adj.P.Val", "empirical_p", "empirical_q", "knockoff_q")
_WHOLE = ("rank", "n_models", "n_agree", "shap_rank")
_SHARES = ("selection_frequency", "used")


def chosen_genes(table: pd.DataFrame) -> pd.DataFrame:
    """The genes to show: those with a class, and the first of the ranking, up to a limit."""
    wanted = (table["class"].astype(str) != "").to_numpy() | (np.arange(len(table)) < MIN_GENES)
    return table[wanted].head(MAX_GENES)


def genes(table: pd.DataFrame, *, unit: str, toward: tuple[str, str] | None) -> Table:
    """The biomarker table, as far as it is shown.

    Parameters
    ----------
    table
        From ``gb.get.biomarkers``, by rank; columns that are not known are left out, and so are those without a value.
    unit
        Unit of the SHAP values.
    toward
        What high expression speaks for where the direction is -1 and 1; None where there is no single direction: then a column
        ``leaning`` of the table says it in words, if it is known.
    """
    shown = chosen_genes(table)
    if "stands_behind" in shown and "symbol" in table:
        symbols = table["symbol"][~table["symbol"].map(words.missing)]
        shown = shown.assign(_behind=shown["stands_behind"].map(symbols).fillna(shown["stands_behind"]))
    columns = [_column(name) for name in _COLUMNS if _wanted(name, shown, toward)]
    top = float(table["shap"].max()) if "shap" in table else 0.0
    shown_as = words.significant if small_effects(table) else words.fixed
    rows = [
        [
            _effect(row, shown_as) if c.name == "logFC" else _cell(c.name, str(gene), row, unit, toward, top)
            for c in columns
        ]
        for gene, row in shown.iterrows()
    ]
    counts = shown["class"].astype(str).value_counts()
    return Table(columns, rows, len(table), [(name, int(n)) for name, n in counts.items() if name])


def _wanted(name: str, table: pd.DataFrame, toward: tuple[str, str] | None) -> bool:
    if name in ("rank", "gene", "class"):
        return True
    if name == "direction" and toward is None:
        return "leaning" in table
    if name not in table or (toward is None and name == "agreement"):
        return False
    values = table[name]
    if _COLUMNS[name][2] == "text" and name != "direction":
        return bool(values.map(lambda v: not words.missing(v) and str(v) not in ("", "nan")).any())
    return bool(values.notna().any())


def _column(name: str) -> Column:
    heading, hint, kind, extra = _COLUMNS[name]
    return Column(name, heading, hint, kind, "ascending" if name == "rank" else "none", extra)


def _cell(name: str, gene: str, row: pd.Series, unit: str, toward: tuple[str, str] | None, top: float) -> Cell:
    if name in ("gene", "symbol"):
        return _named(name, gene, row)
    value = row["leaning"] if name == "direction" and toward is None else row[name]
    if name in ("class", "agreement", "direction"):
        return _said(name, value, row, toward)
    if _COLUMNS[name][2] == "text":
        return Cell.of("" if words.missing(value) else str(value))
    if name in _WHOLE or name in ("rank_low", "rank_high"):
        return Cell("–" if words.missing(value) else f"{round(float(value)):,}", words.raw(value))
    if name in _P:
        return Cell(words.p_value(value), words.raw(value))
    if name in _SHARES:
        return Cell(words.percent(value), words.raw(value))
    if name == "shap":
        text = words.percent(value, 2) if unit == "share" else words.significant(value)
        low, high = (row.get(n, np.nan) for n in ("rank_low", "rank_high"))
        note = "" if words.missing(low) or words.missing(high) else f"rank {round(low):,} to {round(high):,}"
        share = float(value) / top if top > 0 and not words.missing(value) else None
        return Cell(text, words.raw(value), note=note, share=share)
    return Cell(words.fixed(value), words.raw(value))


def _effect(row: pd.Series, shown: Callable[..., str]) -> Cell:
    """The fold change, with its interval below it."""
    note = ""
    if not words.missing(row.get("CI.L")) and not words.missing(row.get("CI.R")):
        note = f"{shown(row['CI.L'], 2)} to {shown(row['CI.R'], 2)}"
    return Cell(shown(row["logFC"], 2), words.raw(row["logFC"]), note=note)


def _named(name: str, gene: str, row: pd.Series) -> Cell:
    """The gene, with what it is in words below the name that people know."""
    described = row.get("name")
    known = row.get("symbol")
    below = "" if words.missing(described) else str(described)
    if name == "symbol":
        return Cell.of(
            "" if words.missing(known) else str(known), note="" if words.missing(known) else below, look="gene"
        )
    return Cell.of(gene, note=below if words.missing(known) else "", look="gene")


def _said(name: str, value: Any, row: pd.Series, toward: tuple[str, str] | None) -> Cell:
    conflict = str(row.get("agreement", "")) == "conflict" and str(row["class"]) not in UNUSED
    if name == "class":
        behind = row.get("_behind", row.get("stands_behind"))
        note = "" if words.missing(behind) or str(behind) == "nan" else f"stands behind {words.shortened(behind)}"
        return Cell(str(value) or "–", str(value), note=note, look=f"class {_slug(str(value))}" if value else "soft")
    if name == "agreement":
        return Cell(str(value) or "–", str(value), look="conflict" if conflict else "soft")
    if name == "direction" and toward is None:
        return Cell(str(value), look="" if value != "–" else "soft")
    side = None if toward is None or words.missing(value) or value == 0 else toward[int(value > 0)]
    if side is None:
        return Cell("–", "", look="soft")
    return Cell(side, side, note="logFC says the opposite" if conflict else "", look="conflict" if conflict else "")


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
