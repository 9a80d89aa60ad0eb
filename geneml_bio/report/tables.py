"""The tables of the report, as rows of cells: what is shown, and what is sorted by and saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..core.metrics import LOWER_IS_BETTER, WINNER
from ..core.schema import prob_column
from ..pl.genes import UNUSED
from . import words

MAX_GENES = 1000
MIN_GENES = 50
MAX_SAMPLES = 300


@dataclass(frozen=True)
class Column:
    """A column: its name in the CSV, its heading, what it means, and how its cells look."""

    name: str
    heading: str
    hint: str = ""
    kind: str = "text"  # text | number
    sort: str = "none"  # none | ascending | descending: how the table is ordered as delivered
    extra: bool = False  # shown on demand, always saved


@dataclass(frozen=True)
class Cell:
    """What is shown, and the value behind it (None: the same)."""

    text: str
    value: str | None = None
    note: str = ""
    look: str = ""
    share: float | None = None


@dataclass(frozen=True)
class Table:
    """Columns and rows, with how many rows there are in all."""

    columns: list[Column]
    rows: list[list[Cell]]
    total: int
    filters: list[tuple[str, int]] = field(default_factory=list)


# -- performance -------------------------------------------------------------------------------------------------------


def performance(metrics: pd.DataFrame, metric: str, n_models: int, base: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """One row a model for the primary metric, beside the null; what is no model to choose from (``base``) comes last."""
    rows = []
    mine = metrics[metrics["metric"] == metric]
    apart = mine["model"].isin(base)
    for _, row in pd.concat([mine[~apart], mine[apart]]).iterrows():
        corrected = row["model"] == WINNER
        name = f"Best of the {n_models}, corrected" if corrected else words.model(row["model"])
        rows.append(
            {
                "name": name,
                "corrected": corrected,
                "base": row["model"] in base,
                "value": words.fixed(row["value"]),
                "interval": words.interval(row),
                "null": words.fixed(row["null_mean"]),
                "limit": words.fixed(row["null_high"]),
                "p": words.p_value(row["p_value"]),
            }
        )
    return rows


def all_metrics(metrics: pd.DataFrame, n_models: int) -> dict[str, Any]:
    """Every metric of every model: value over interval."""
    names = list(dict.fromkeys(metrics["metric"]))
    by = metrics.set_index(["model", "metric"])
    rows = []
    for model in dict.fromkeys(metrics["model"]):
        cells = []
        for metric in names:
            row = by.loc[(model, metric)]
            digits = 2 if abs(row["value"]) < 100 else 0
            cells.append({"value": words.fixed(row["value"], digits), "interval": words.interval(row, digits)})
        corrected = model == WINNER
        name = f"Best of the {n_models}, corrected" if corrected else words.model(model)
        rows.append({"name": name, "corrected": corrected, "cells": cells})
    heads = [{"name": words.metric(m), "lower": m in LOWER_IS_BETTER} for m in names]
    return {"heads": heads, "rows": rows}


# -- genes -------------------------------------------------------------------------------------------------------------

_HINTS = {
    "rank": "Order of the table: by mean |SHAP|, then by p-value",
    "gene": "Name of the gene in the data",
    "symbol": "Gene symbol",
    "class": "What the two kinds of evidence say together; see the glossary",
    "logFC": "Log fold change",
    "F": "Moderated F statistic over all contrasts",
    "LR": "Likelihood-ratio statistic over all coefficients",
    "AveExpr": "Mean log expression",
    "P.Value": "p-value of the DE test",
    "adj.P.Val": "p-value adjusted for the number of genes",
    "shap": "Mean |SHAP| on held-out samples",
    "direction": "What high expression makes the models predict",
    "agreement": "Whether logFC and models point the same way",
    "selection_frequency": "Share of folds that chose the gene",
    "n_models": "Number of models that used the gene",
}
_HEADINGS = {
    "rank": "#",
    "gene": "Gene",
    "symbol": "Symbol",
    "class": "Class",
    "shap": "Mean |SHAP|",
    "direction": "Speaks for",
    "agreement": "Signs",
    "selection_frequency": "Folds",
    "n_models": "Models",
}
_EXTRA = ("AveExpr", "P.Value")
_TEXT = ("gene", "symbol", "class", "direction", "agreement")


def chosen_genes(table: pd.DataFrame) -> pd.DataFrame:
    """The genes to show: those with a class, and the first of the ranking, up to a limit."""
    wanted = (table["class"].astype(str) != "").to_numpy() | (np.arange(len(table)) < MIN_GENES)
    return table[wanted].head(MAX_GENES)


def genes(
    table: pd.DataFrame,
    *,
    symbols: pd.Series | None,
    notes: pd.Series | None,
    unit: str,
    toward: tuple[str, str] | None,
) -> Table:
    """The biomarker table, as far as it is shown.

    Parameters
    ----------
    table
        From ``gb.get.biomarkers``, by rank.
    symbols, notes
        Gene symbol and description by gene, or None.
    unit
        Unit of the SHAP values.
    toward
        What high expression speaks for where the direction is -1 and 1; None where there is no single direction.
    """
    shown = chosen_genes(table)
    names = ["rank", "gene", *(["symbol"] if symbols is not None else []), "class"]
    middle = (
        "logFC",
        "F",
        "LR",
        "AveExpr",
        "P.Value",
        "adj.P.Val",
        "shap",
        "direction",
        "agreement",
        "selection_frequency",
        "n_models",
    )
    known = [n for n in middle if n in table and table[n].notna().any()]
    if toward is None:
        known = [n for n in known if n not in ("direction", "agreement")]
    names += [n for n in known if n not in ("F", "LR") or "logFC" not in known]
    columns = [
        Column(
            n,
            _HEADINGS.get(n, n),
            _HINTS[n],
            "text" if n in _TEXT else "number",
            "ascending" if n == "rank" else "none",
            n in _EXTRA,
        )
        for n in names
    ]
    top = float(table["shap"].max()) if "shap" in table else 0.0
    rows = []
    for gene, row in shown.iterrows():
        described = "" if notes is None or words.missing(notes[gene]) else str(notes[gene])
        cells = {n: _gene_cell(n, row, unit, toward, top) for n in names if n not in ("gene", "symbol")}
        cells["gene"] = Cell(str(gene), note=described, look="gene")
        if symbols is not None:
            cells["symbol"] = Cell("" if words.missing(symbols[gene]) else str(symbols[gene]), look="gene")
        rows.append([cells[n] for n in names])
    counts = shown["class"].astype(str).value_counts()
    return Table(columns, rows, len(table), [(name, int(n)) for name, n in counts.items() if name])


def _gene_cell(name: str, row: pd.Series, unit: str, toward: tuple[str, str] | None, top: float) -> Cell:
    value = row[name]
    if name == "class":
        return Cell(str(value) or "–", str(value), look=f"class {_slug(str(value))}" if value else "soft")
    if name == "agreement":
        odd = value == "conflict" and str(row["class"]) not in UNUSED
        return Cell(str(value) or "–", str(value), look="conflict" if odd else "soft")
    if name == "direction":
        side = None if toward is None or words.missing(value) or value == 0 else toward[int(value > 0)]
        return Cell(side or "–", side or "", look="" if side else "soft")
    if name in ("rank", "n_models"):
        return Cell("–" if words.missing(value) else f"{int(value):,}", words.raw(value))
    if name in ("P.Value", "adj.P.Val"):
        return Cell(words.p_value(value), words.raw(value))
    if name == "selection_frequency":
        return Cell(words.percent(value), words.raw(value))
    if name == "shap":
        text = words.percent(value, 2) if unit == "share" else words.significant(value)
        return Cell(text, words.raw(value), share=float(value) / top if top > 0 and not words.missing(value) else None)
    return Cell(words.fixed(value), words.raw(value))


def _slug(name: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())


# -- samples -----------------------------------------------------------------------------------------------------------


def samples(predictions: pd.DataFrame, classes: tuple[str, ...], model: str) -> Table:
    """Out-of-fold predictions of one model, one row a sample: the misclassified first, then the least certain."""
    mine = predictions[predictions["model"].astype(str) == model]
    mine = mine.assign(sample=mine["sample"].astype(str))
    by = mine.groupby("sample", observed=True, sort=False)
    if not classes:
        return _numbers(by)
    observed = by["observed"].first().astype(str)
    probability = by[[prob_column(name) for name in classes]].mean()
    position = {name: k for k, name in enumerate(classes)}
    own = probability.to_numpy()[np.arange(len(observed)), [position[name] for name in observed]]
    predicted = pd.Series(
        np.asarray(classes, dtype=object)[probability.to_numpy().argmax(axis=1)], index=observed.index
    )
    wrong = (mine["predicted"].astype(str) != mine["observed"].astype(str)).groupby(mine["sample"], sort=False).sum()
    n_repeats = by.size()
    frame = pd.DataFrame({"observed": observed, "predicted": predicted, "own": own, "wrong": wrong, "n": n_repeats})
    frame["miss"] = frame["predicted"] != frame["observed"]
    frame = frame.sort_values(["miss", "own"], ascending=[False, True], kind="stable")
    columns = [
        Column("sample", "Sample"),
        Column("observed", "Observed"),
        Column("predicted", "Predicted", "The class with the largest mean probability over repeats"),
        Column("probability_of_observed", "Probability of the observed class", "Mean over repeats", "number", "none"),
        Column(
            "repeats_misclassified",
            "Repeats misclassified",
            "In how many repeats the predicted class was wrong",
            "number",
        ),
    ]
    rows = [
        [
            Cell(str(sample), look="gene"),
            Cell(row["observed"]),
            Cell(row["predicted"], look="conflict" if row["miss"] else ""),
            Cell(words.fixed(row["own"]), words.raw(row["own"]), share=float(row["own"])),
            Cell(f"{int(row['wrong'])} of {int(row['n'])}", words.raw(int(row["wrong"]))),
        ]
        for sample, row in frame.head(MAX_SAMPLES).iterrows()
    ]
    return Table(columns, rows, len(frame), [("misclassified", int(frame["miss"].sum()))])


def _numbers(by: Any) -> Table:
    frame = pd.DataFrame({"observed": by["observed"].first(), "predicted": by["predicted"].mean()})
    frame["error"] = frame["predicted"] - frame["observed"]
    frame = frame.reindex(frame["error"].abs().sort_values(ascending=False, kind="stable").index)
    columns = [
        Column("sample", "Sample"),
        Column("observed", "Observed", kind="number"),
        Column("predicted", "Predicted", "Mean over repeats", "number"),
        Column("error", "Predicted − observed", "The table starts with the largest", "number"),
    ]
    rows = [
        [
            Cell(str(sample), look="gene"),
            *[Cell(words.significant(row[n], 4), words.raw(row[n])) for n in frame.columns],
        ]
        for sample, row in frame.head(MAX_SAMPLES).iterrows()
    ]
    return Table(columns, rows, len(frame))
