"""The tables of the report, as rows of cells: what is shown, and what is sorted by and saved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..core.metrics import LOWER_IS_BETTER, WINNER
from ..core.schema import prob_column
from . import words

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

    @classmethod
    def of(cls, text: str, *, note: str = "", look: str = "") -> Cell:
        """A name from the data: marks that would turn the text around are made visible, and the value keeps them."""
        seen = words.visible(text)
        return cls(seen, None if seen == text else text, note=note, look=look)


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
            Cell.of(str(sample), look="gene"),
            Cell.of(row["observed"]),
            Cell.of(row["predicted"], look="conflict" if row["miss"] else ""),
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
            Cell.of(str(sample), look="gene"),
            *[Cell(words.significant(row[n], 4), words.raw(row[n])) for n in frame.columns],
        ]
        for sample, row in frame.head(MAX_SAMPLES).iterrows()
    ]
    return Table(columns, rows, len(frame))
