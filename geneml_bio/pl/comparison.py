"""Figures that set models beside each other and beside chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .. import get
from ..core.errors import ColumnNotFoundError
from ..core.metrics import LOWER_IS_BETTER, WINNER
from ._style import (
    BLUE,
    GREY,
    INK,
    PALE,
    PAPER,
    SOFT,
    VERMILLION,
    axes,
    finish,
    fixed,
    legend,
    metric_name,
    model_name,
    model_names,
    p_text,
    plain,
    points,
)
from ._validation import Results, results

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

BASE = "#6B6B6B"  # what is no model to choose from


def compare(adata: AnnData, *, key: str = "classify", metric: str | None = None, ax: Axes | None = None) -> Axes:
    """Models side by side: score with its 95 % interval, and what the same pipelines score on permuted targets.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify` or :func:`geneml_bio.tl.regress`.
    key
        Name of these results.
    metric
        Metric to draw; default: balanced accuracy, or R² for a regression.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. The grey bar runs from the mean of the null to its 95 % limit. The open diamond is the score that picking
    the best model deserves. Open squares are the scores in the test set, where there is one. Below the line: what covariates predict by
    themselves, and with the genes.
    """
    found = results(adata, key)
    chosen = found.metric(metric)
    rows = found.metrics[found.metrics["metric"] == chosen].reset_index(drop=True)
    apart = rows["model"].isin(found.baselines).to_numpy()
    rows = pd.concat([rows[~apart], rows[apart]], ignore_index=True)
    gap = 0.5 if apart.any() and not apart.all() else 0.0
    place = np.arange(len(rows)) + gap * np.sort(apart)
    ax = axes(ax, (5.4, 1.6 + 0.36 * (len(rows) + gap)))
    for y, (_, row) in zip(place, rows.iterrows(), strict=True):
        _row(ax, float(y), row, BASE if row["model"] in found.baselines else INK if row["model"] == WINNER else BLUE)
    tested = _test_scores(adata, key, chosen, rows["model"])
    shown = np.isfinite(tested)
    look: dict[str, Any] = {
        "linestyle": "",
        "marker": "s",
        "markersize": 6.5,
        "markerfacecolor": "none",
        "markeredgewidth": 1.3,
    }
    if shown.any():
        ax.plot(tested[shown], place[shown], color=VERMILLION, zorder=5, gid="test", **look)
    if gap:
        first = place[(~apart).sum()]  # rows set apart come last, and stand half a row lower
        ax.axhline(first - 0.5 - gap / 2, color=PALE, linewidth=0.8, gid="apart")
    right = ax.secondary_yaxis("right")
    right.set_yticks(list(place), [fixed(v) for v in rows["value"]], fontsize=points(0.8), color=INK)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    ax.set_yticks(list(place), model_names(rows["model"]))
    ax.set_ylim(place[-1] + 0.6, -0.6)
    values = rows[["low", "high", "null_mean", "null_high", "value"]].to_numpy(float)
    _span(ax, chosen, np.append(values.ravel(), tested[shown]))
    finish(ax, xlabel=metric_name(chosen))
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    handles: list[Any] = [Line2D([], [], color=BLUE, marker="o", markersize=5, linewidth=1.6)]
    labels = ["held out in cross-validation, 95 % interval"]
    if shown.any():
        handles.append(Line2D([], [], color=VERMILLION, **look))
        labels.append(f"test set ({get.predictions(adata, key=key, test=True)['sample'].nunique()} samples)")
    if rows["null_high"].notna().any():
        handles.append(Patch(color=PALE))
        labels.append("permuted targets: mean to 95 % limit")
    legend(ax, handles, labels, loc="lower left", bbox_to_anchor=(-0.01, 1.0), borderpad=0.2)
    return ax


def _row(ax: Axes, y: float, row: pd.Series, color: str) -> None:
    """A model: the null behind, the interval, the score."""
    corrected = row["model"] == WINNER
    if np.isfinite(row["null_high"]):
        low, high = row["null_mean"], row["null_high"]
        ax.barh(y, high - low, left=low, height=0.5, color=PALE, zorder=1, gid="null")
        ax.plot([low, low], [y - 0.25, y + 0.25], color=GREY, linewidth=1.2, zorder=2)
    ax.plot([row["low"], row["high"]], [y, y], color=color, linewidth=1.6, zorder=3, gid="interval")
    ax.plot(
        row["value"],
        y,
        marker="D" if corrected else "o",
        markersize=5.5,
        color=color,
        markerfacecolor=PAPER if corrected else color,
        linestyle="",
        zorder=4,
        gid="value",
    )


def _test_scores(adata: AnnData, key: str, metric: str, models: pd.Series) -> np.ndarray:
    """Scores in the test set, in the order of the models; NaN where there is none."""
    if "test_metrics" not in adata.uns[key]:
        return np.full(len(models), np.nan)
    table = get.metrics(adata, key=key, test=True)
    return table[table["metric"] == metric].set_index("model")["value"].reindex(models).to_numpy(float)


def _span(ax: Axes, metric: str, values: np.ndarray) -> None:
    """Limits that hold every value, and the end of the scale where the metric has one close by."""
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    pad = 0.06 * (high - low or 1.0)
    ceiling = 1.0 if metric not in LOWER_IS_BETTER else np.inf
    ax.set_xlim(low - pad, min(high + pad, ceiling + 0.015) if high <= ceiling else high + pad)


def null(
    adata: AnnData,
    *,
    key: str = "classify",
    model: str | None = None,
    metric: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """What the whole pipeline scores on permuted targets, and what it scored on the real one.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify` run with ``n_permutations``.
    key
        Name of these results.
    model
        Model to draw; default: the best.
    metric
        Metric to draw; default: balanced accuracy, or R² for a regression.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. The line is the first repeat, which ran the same protocol as each permutation; the p-value compares these.
    """
    found = results(adata, key)
    try:
        table = get.null(adata, key=key)
    except ColumnNotFoundError as error:
        target = found.params.get("target", "target")
        call = f"{'classify' if found.classes else 'regress'}(adata, "
        call = "stream(source, " if "streamed" in found.params else call
        raise ColumnNotFoundError(
            f"No permuted targets were run under {key!r}. Run gb.tl.{call}{target!r}, n_permutations=100) first."
        ) from error
    chosen, name = found.pick(model), found.metric(metric)
    values = table.loc[
        (table["model"].astype(str) == chosen) & (table["metric"].astype(str) == name), "value"
    ].to_numpy(float)
    values = values[np.isfinite(values)]
    observed = found.first_repeat(chosen, name)
    ax = axes(ax, (4.6, 3.2))
    everything = np.append(values, observed)
    spread = float(np.ptp(everything)) or 1.0
    edges = np.linspace(everything.min() - 0.02 * spread, everything.max() + 0.02 * spread, 31)
    ax.hist(values, bins=list(edges), color=GREY, edgecolor=PAPER, linewidth=0.4, gid="null")
    ax.axvline(observed, color=VERMILLION, linewidth=2, gid="observed")
    _annotate(ax, found, chosen, name, observed, len(values))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    title = f"{model_name(chosen)}: {len(values)} permuted targets"
    return finish(ax, xlabel=f"{metric_name(name)} (one repeat)", ylabel="permutations", title=title)


def _annotate(ax: Axes, found: Results, model: str, metric: str, observed: float, n: int) -> None:
    row = found.score(model, metric)
    known = row is not None and np.isfinite(row["p_value"])
    p = f"\n{p_text(float(row['p_value']))}" if row is not None and known else ""
    floor = (
        f"\n(the least that {n} permutations can give)"
        if row is not None and known and row["p_value"] < 1.5 / (n + 1)
        else ""
    )
    low, high = ax.get_xlim()
    right = observed > (low + high) / 2
    ax.set_ylim(0, ax.get_ylim()[1] * 1.25)
    ax.annotate(
        f"{plain(found.params.get('target', 'target'), 18)} as observed: {observed:z.2f}{p}{floor}",
        (observed, 0.98),
        xycoords=("data", "axes fraction"),
        xytext=(-5 if right else 5, 0),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        fontsize=points(0.8),
        color=INK,
        linespacing=1.3,
        path_effects=[patheffects.withStroke(linewidth=3, foreground=PAPER)],
    )
    if row is not None and np.isfinite(row["null_high"]):
        limit = float(row["null_high"])
        ax.axvline(limit, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), gid="limit")
        below = (right and 0 <= observed - limit < 0.7 * (high - low)) or (not right and limit >= observed)
        ax.annotate(
            "95 %",
            (limit, 0.76 if below else 0.98),  # the other words are above
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=points(0.7),
            color=SOFT,
            path_effects=[patheffects.withStroke(linewidth=2, foreground=PAPER)],
        )
