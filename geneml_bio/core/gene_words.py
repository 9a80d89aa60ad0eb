"""A gene-level regression in words."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from .gene_blocks import ALGEBRAIC, INDEPENDENT, OTHERS, ROBUST_Z, SAME_TEST, Plan
from .gene_scores import CEILING, CLOSED, MEAN, REFERENCE

_WIDTH = 118
ARITHMETIC = (
    "The algebraic block is arithmetic, not biology: its columns are computed from the same fit as the target, and a high R2 there only "
    "says that a model has found the formula."
)
_DEPENDENT = "Genes that are expressed together are not independent, so that these intervals are too narrow."


def _number(value: float) -> str:
    return f"{value:.3f}" if np.isfinite(value) else "-"


def _interval(row: pd.Series, prefix: str) -> str:
    value, low, high = (row[f"{prefix}{name}"] for name in ("r2", "low", "high"))
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if np.isfinite([low, high]).all() else f"{value:.3f}"


def _lines(table: pd.DataFrame, held_out: bool) -> list[str]:
    permuted = "p_value" in table.columns
    head = ["block", "model", "R2 [95 %]", "RMSE", "MAE", *(["R2 held out [95 %]", "RMSE", "MAE"] if held_out else [])]
    rows = [head + (["p"] if permuted else [])]
    last = ""
    for _, row in table.iterrows():
        block = str(row["block"]) if row["block"] != last else ""
        last = str(row["block"])
        cells = [block, str(row["model"]), _interval(row, ""), _number(row["rmse"]), _number(row["mae"])]
        if held_out:
            cells += [_interval(row, "test_"), _number(row["test_rmse"]), _number(row["test_mae"])]
        rows.append(cells + ([_number(row["p_value"])] if permuted else []))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def summary(result: Any) -> str:
    """What a :class:`~geneml_bio.core.gene_level.GeneLevel` found, for reading."""
    spec, table = result.spec, result.table
    n, n_test = spec["n_genes"], spec["n_test"]
    about = f" ({result.contrast})" if result.contrast else ""
    repeats = f"{spec['n_repeats']} x " if spec["n_repeats"] > 1 else ""
    lines = [f"Regression of {result.target}{about} over {n:,} genes"]
    folds = f"{n - n_test:,} genes to train, tune and cross-validate ({repeats}{spec['n_splits']} folds)"
    lines += [folds + (f", {n_test:,} held out and predicted once." if n_test else "."), ""]
    lines += [*_lines(table, n_test > 0), ""]
    lines += _wrapped([*_about_models(result), *_beside(result), *_explained(result)])
    told = [f"[{row.level}] {row.message}" for row in result.report.itertuples()]
    return "\n".join([*lines, *(["", *_wrapped(told)] if told else [])])


def _wrapped(paragraphs: list[str]) -> list[str]:
    return [
        line
        for text in paragraphs
        for line in textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False)
    ]


def _of(table: pd.DataFrame, block: str, model: str) -> pd.Series | None:
    found = table[(table["block"] == block) & (table["model"] == model)]
    return found.iloc[0] if len(found) else None


def _about_models(result: Any) -> list[str]:
    out = []
    for block in result.blocks:
        name = result.best(block)
        row = _of(result.table, block, name)
        if row is None:
            continue
        held = f", {_interval(row, 'test_')} on the genes held out" if result.spec["n_test"] else ""
        if block == ALGEBRAIC:
            continue
        better = "more than the mean says" if row["low"] > 0 else "no better than the mean"
        if result.spec["n_test"] and (row["low"] > 0) != (row["test_low"] > 0):
            better = "the two do not agree on whether it is more than the mean says"
        with_others = " (independent predictors and the other contrasts)" if block == OTHERS else ""
        out.append(f"Best of the {block} block{with_others}: {name}, R2 {_interval(row, '')}{held}: {better}.")
    out.append(_DEPENDENT)
    if ALGEBRAIC in result.blocks:
        out.append(ARITHMETIC)
    return out


def _beside(result: Any) -> list[str]:
    closed, ceiling = _of(result.table, ALGEBRAIC, CLOSED), _of(result.table, REFERENCE, CEILING)
    out = [f"Closed form: {result.formula}" + (f"; R2 {closed['r2']:.3f}." if closed is not None else "")]
    if ceiling is not None:
        out.append(
            f"Noise ceiling: R2 {ceiling['r2']:.3f}, what knowing every true effect would reach: {result.ceiling_words}."
        )
    else:
        out.append(f"Noise ceiling: {result.ceiling_words}")
    mean = _of(result.table, REFERENCE, MEAN)
    return out if mean is None else [*out, f"The mean of the training genes, for comparison: RMSE {mean['rmse']:.3f}."]


def _explained(result: Any) -> list[str]:
    what = result.explanation
    if what is None:
        return []
    ways = {1: "more of it, more", -1: "more of it, less", 0: "no direction"}
    top = what.per_predictor[what.per_predictor["shap"] > 0].head(6)
    if not len(top):
        return [f"{what.model} of the {what.block} block uses no predictor."]
    named = "; ".join(f"{row.predictor} {row.share:.0%} ({ways[row.direction]})" for row in top.itertuples())
    return [f"What {what.model} ({what.block} block) goes by, by SHAP on {len(what.values):,} held-out genes: {named}."]


# -- what was found before any model ----------------------------------------------------------------------------------


def findings(
    plan: Plan,
    predictors: pd.DataFrame,
    outliers: pd.DataFrame,
    groups: np.ndarray,
    target: str,
    shared: Mapping[str, Any],
) -> list[tuple[str, str, str]]:
    """``(check, level, message)``: what a reader must know of genes and predictors."""
    out: list[tuple[str, str, str]] = []
    used, aside = predictors[predictors["block"] != ""], predictors[predictors["block"] == ""]
    if len(aside):
        named = _some([f"{row.predictor} ({row.note})" for row in aside.itertuples()], "; ", 12)
        out.append(("set aside", "note", f"Set aside ({len(aside)}): {named}."))
    missing = used[used["missing"] > 0]
    if len(missing):
        named = _some([f"{row.predictor} {row.missing:,}" for row in missing.itertuples()])
        out.append(("missing", "note", f"Missing values, filled by the median of the training genes: {named}."))
    if len(outliers):
        named = _some([f"{gene} ({value:.3g})" for gene, value in outliers["value"].head(6).items()], ", ", 5)
        message = (
            f"{len(outliers):,} genes have a {target} more than {ROBUST_Z:g} robust standard deviations off: {named}."
        )
        out.append(("outliers", "note", f"{message} They stay in."))
    far = used[used["outliers"] > 0]
    if len(far):
        named = _some([f"{row.predictor} {row.outliers:,}" for row in far.itertuples()])
        out.append(("outliers", "note", f"Genes as far off in predictors: {named}. They stay in."))
    n_groups = len(set(groups))
    if n_groups < len(groups):
        said = f"{len(groups):,} rows of {n_groups:,} genes: rows of one gene are on one side of every split."
        out.append(("groups", "note", said))
    return [*out, *_of_blocks(plan, predictors, target, shared)]


def _some(items: list[str], between: str = ", ", most: int = 8) -> str:
    return between.join(items[:most]) + (f"{between}..." if len(items) > most else "")


def _of_blocks(
    plan: Plan, predictors: pd.DataFrame, target: str, shared: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    out: list[tuple[str, str, str]] = []
    tied = predictors[(predictors["block"] == ALGEBRAIC) & (predictors["note"] != SAME_TEST)]
    for row in tied.itertuples():
        said = f"{row.predictor} ({row.origin}) is tied to {target}: {row.note}. It is in the algebraic block."
        out.append(("tied", "warning", said))
    unsaid = [name for name, value in shared.items() if value is None]
    if unsaid:
        said = (
            f"It was not said whether {', '.join(unsaid)} share samples with this table (shared_samples=). Contrasts with samples in "
            f"common, such as a control group, are correlated by construction: they stand in the block {OTHERS!r}."
        )
        out.append(("contrasts", "warning", said))
    overlapping = [name for name, value in shared.items() if value in (True, "reference")]
    if overlapping:
        said = f"{', '.join(overlapping)} share samples with this table and are correlated with it by construction: block {OTHERS!r}."
        out.append(("contrasts", "note", said))
    if INDEPENDENT not in plan.blocks:
        said = (
            "There are no independent predictors: give features=, gene_sets= or contrasts=. What the table's own columns predict is "
            "arithmetic."
        )
        out.append(("blocks", "warning", said))
    return out
