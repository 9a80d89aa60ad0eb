"""How much the models rely on each gene: mean absolute SHAP, over all models, by model, by class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .. import get
from ..core.errors import InputError, check_whole, near
from ._style import (
    BLUE,
    GREY,
    INK,
    PALE,
    SOFT,
    VERMILLION,
    axes,
    colors,
    distinct,
    finish,
    gene_names,
    legend,
    model_names,
    plain,
    points,
    unit_words,
)
from .explain import outputs_of, shap_title

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_BY = ("model", "class")
_WAYS = {1: VERMILLION, -1: BLUE, 0: GREY}
_MARKERS = "osD^vPX*"


def shap_bar(
    adata: AnnData,
    *,
    key: str = "classify",
    by: str | None = None,
    n_genes: int = 15,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean absolute SHAP value of the genes that the models rely on most.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.explain`.
    key
        Name of the validation that was explained.
    by
        ``None``: one bar a gene, coloured by its direction, with its spread over repeats and the interval of its rank where they are
        known. ``"model"``: what each model gives the gene, as a share of all its SHAP values, beside their mean. ``"class"``: with more
        than two classes, the parts of each class, stacked.
    n_genes
        How many genes to draw.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes.

    Raises
    ------
    InputError
        If no gene was used, or ``by="class"`` is asked of two classes or of a regression.
    """
    check_whole(1, n_genes=n_genes)
    about, outputs = outputs_of(adata, key)
    if by is not None and by not in _BY:
        raise InputError(f"by must be None or one of {', '.join(map(repr, _BY))}, got {by!r}.{near(str(by), _BY)}")
    if by == "class" and len(outputs) < 2:
        raise InputError(f'by="class" needs more than two classes; under {key!r} one output was explained.')
    table = get.shap(adata, key=key)
    used = table[table["shap"] > 0]
    table = used.head(n_genes)
    if table.empty:
        raise InputError("Every SHAP value is 0: the models used no gene. There is nothing to draw.")
    ax = axes(ax, (4.8, 1.3 + 0.25 * len(table)))
    if by == "model":
        label = _by_model(ax, table, about)
    elif by == "class":
        label = _by_class(ax, adata, table, key, outputs, about)
    else:
        label = _consensus(ax, table, outputs, about)
    ax.set_yticks(range(len(table)), gene_names(adata, table.index, gene_symbols))
    ax.set_ylim(len(table) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    if len(used) > len(table) and by is None:  # what is not drawn is often more than what is
        label += f"\n{len(used) - len(table):,} other genes: {used['shap'].iloc[len(table) :].sum():.2g} together"
    finish(ax, xlabel=label, title=shap_title(about) if by != "model" else "each model, held-out samples")
    ax.tick_params(axis="y", length=0)
    return ax


def _consensus(ax: Axes, table: pd.DataFrame, outputs: list[str], about: dict[str, Any]) -> str:
    rows, size = np.arange(len(table)), table["shap"].to_numpy(float)
    ways = table["direction"].to_numpy(int) if len(outputs) == 1 else np.zeros(len(table), int)
    ax.barh(rows, size, height=0.66, color=[_WAYS[int(way)] for way in ways], gid="mean-abs")
    ends = size.copy()
    spread = table["sd"].to_numpy(float) if "sd" in table else np.full(len(table), np.nan)
    known = np.isfinite(spread)
    if known.any():
        low, high = np.maximum(size - spread, 0)[known], (size + spread)[known]
        ax.hlines(rows[known], low, high, color=INK, linewidth=1.1, gid="spread")
        ends[known] = high
    if {"rank_low", "rank_high"} <= set(table.columns):
        _rank_words(ax, rows, ends, table)
    handles: list[Any] = []
    labels: list[str] = []
    if len(outputs) == 1:
        toward = "" if outputs[0] == "prediction" else f" {plain(outputs[0], 18)}"
        more = {1: f"more of it, more{toward}", -1: f"more of it, less{toward}", 0: "neither"}
        for way, words in more.items():
            if (ways == way).any():
                handles.append(Patch(color=_WAYS[way]))
                labels.append(words)
    if known.any():
        handles.append(Line2D([], [], color=INK, linewidth=1.1))
        labels.append("± SD over repeats")
    if handles:
        legend(ax, handles, labels, loc="lower right")
    return f"mean |SHAP| ({unit_words(about)})"


def _rank_words(ax: Axes, rows: np.ndarray, ends: np.ndarray, table: pd.DataFrame) -> None:
    """The interval of the rank, at the end of the bar."""
    for row, end, low, high in zip(rows, ends, table["rank_low"], table["rank_high"], strict=True):
        if np.isfinite([low, high]).all():
            words = f"rank {low:.0f}" if low == high else f"{'rank ' if row == 0 else ''}{low:.0f}–{high:.0f}"
            ax.annotate(words, (end, row), xytext=(3, 0), textcoords="offset points", va="center",
                        fontsize=points(0.7), color=SOFT, gid="rank")  # fmt: skip
    ax.set_xlim(right=float(ends.max()) * 1.22)


def _by_model(ax: Axes, table: pd.DataFrame, about: dict[str, Any]) -> str:
    own = [name for name in table.columns if name.startswith("shap:")]
    shares = table[own].to_numpy(float)
    rows = np.arange(len(table))
    ax.barh(rows, shares.mean(axis=1), height=0.66, color=PALE, gid="mean")
    ax.hlines(rows, shares.min(axis=1), shares.max(axis=1), color=SOFT, linewidth=0.8, zorder=2, gid="range")
    handles: list[Any] = [Patch(color=PALE)]
    palette = colors(len(own))
    for at, color in enumerate(palette):
        look: dict[str, Any] = {"color": color, "marker": _MARKERS[at % len(_MARKERS)], "markersize": 4.5}
        handles.append(ax.plot(shares[:, at], rows, linestyle="", zorder=3, gid=f"model-{own[at][5:]}", **look)[0])
    legend(ax, handles, ["mean of the models", *model_names([name[5:] for name in own])], loc="lower right")
    return "share of the model's mean |SHAP|"


def _by_class(
    ax: Axes, adata: AnnData, table: pd.DataFrame, key: str, outputs: list[str], about: dict[str, Any]
) -> str:
    parts = class_means(adata, key, outputs).loc[table.index] / len(outputs)
    left = np.zeros(len(table))
    handles = []
    for name, color in zip(outputs, colors(len(outputs)), strict=True):
        width = parts[name].to_numpy(float)
        handles.append(ax.barh(range(len(table)), width, left=left, height=0.66, color=color, gid=f"class-{name}"))
        left = left + width
    legend(ax, handles, distinct(outputs, 20), loc="lower right", title="class explained", alignment="left")
    return f"mean |SHAP| over samples and classes ({unit_words(about)})"


def class_means(adata: AnnData, key: str, outputs: list[str]) -> pd.DataFrame:
    """Mean absolute SHAP of each gene toward each class, genes x classes."""
    from .explain import held_out_rows

    rows = held_out_rows(adata, key)
    means = [
        np.asarray(abs(get.shap_values(adata, key=key, output=name)[rows]).mean(axis=0)).ravel() for name in outputs
    ]
    return pd.DataFrame(np.column_stack(means), index=adata.var_names, columns=outputs)
