"""Figures of which genes were chosen: stability of the selection, DE evidence against model evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from .. import get
from ..bridge import keys
from ..core.errors import InputError
from ._labels import place_labels
from ._style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    REST,
    VERMILLION,
    axes,
    beside,
    finish,
    gene_names,
    legend,
    unit_words,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

CLASS_COLORS = {
    "DE and used": VERMILLION,
    "used, not DE": BLUE,
    "DE, unused": ORANGE,
    "unstable": PURPLE,
    "used, DE unknown": GREEN,
    "": REST,
}
CLASS_MARKERS = {
    "DE and used": "o",
    "used, not DE": "s",
    "DE, unused": "^",
    "unstable": "D",
    "used, DE unknown": "v",
    "": "o",
}
UNUSED = ("", "DE, unused")
BAR = "#7FB7DC"
_MANY = 2000


# -- stability ----------------------------------------------------------------------------------------------------------


def _ranks(screens: pd.DataFrame) -> pd.DataFrame:
    """Rank of each gene within its fold, by the size of its statistic."""
    strength = screens["statistic"].abs()
    rank = strength.groupby([screens["repeat"], screens["fold"]], observed=True).rank(ascending=False, method="first")
    return pd.DataFrame({"feature": screens["feature"].astype(str), "rank": rank})


def stability(
    adata: AnnData, *, key: str = "classify", n_genes: int = 15, gene_symbols: str | None = None, ax: Axes | None = None
) -> Axes:
    """How reproducibly the screens of the folds chose genes.

    Left: the share of folds whose screen chose the gene. Right: the rank that it had there (dot: median; bar: from the best
    to the worst). The title holds Nogueira's index of the whole selection: 1 where every fold chose the same genes, 0 for
    random choice.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify` or :func:`geneml_bio.tl.regress`.
    key
        Name of these results.
    n_genes
        How many genes to draw: those chosen most often, then those that ranked best.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into (its slot is shared with the ranks); a new figure by default.

    Returns
    -------
    The Axes of the frequencies.
    """
    screens = get.screens(adata, key=key)
    if not len(screens):
        raise InputError(f"The results under {key!r} hold no screen: nothing was selected in the folds.")
    n_folds = len(screens[["repeat", "fold"]].drop_duplicates())
    by = _ranks(screens).groupby("feature", observed=True)["rank"]
    table = pd.DataFrame({"n": by.size(), "median": by.median(), "best": by.min(), "worst": by.max()})
    table = table.sort_values(["n", "median", "best"], ascending=[False, True, True], kind="stable").head(n_genes)
    rows, names = np.arange(len(table)), gene_names(adata, table.index, gene_symbols)
    ax = axes(ax, (6.2, 1.3 + 0.25 * len(table)))
    right = beside(ax, 0.8)
    share = table["n"].to_numpy() / n_folds
    ax.barh(rows, share, height=0.62, color=BAR, gid="frequency")
    ax.set_yticks(rows, names)
    ax.set(xlim=(0, 1.001), ylim=(len(rows) - 0.4, -0.6))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    right.hlines(rows, table["best"], table["worst"], color=GREY, linewidth=1.6, gid="range", zorder=2)
    right.plot(table["median"], rows, "o", color=INK, markersize=4, gid="median", zorder=3)
    wide = table["worst"].max() > 20
    if wide:
        right.set_xscale("log")
        right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.xaxis.set_minor_formatter(lambda value, _: "")
    right.set_xlim(0.8 if wide else 0, table["worst"].max() * 1.15 + 0.5)
    finish(right, xlabel="rank in the fold\n(median, best to worst)")
    right.tick_params(axis="y", length=0, labelleft=False)
    right.tick_params(axis="x", which="minor", length=0)
    finish(ax, xlabel=f"share of {n_folds} folds\nthat chose the gene", title=_index_words(adata, key))
    ax.tick_params(axis="y", length=0)
    return ax


def _index_words(adata: AnnData, key: str) -> str:
    index = get.params(adata, key=key).get("stability")
    if not isinstance(index, dict):
        return ""
    value = float(index.get("stability", np.nan))
    if not np.isfinite(value):
        return "Nogueira's index: not defined here"
    size = float(index.get("mean_selected", np.nan))
    chosen = f" ({size:,.0f} genes per fold)" if np.isfinite(size) else ""
    return f"Nogueira's index {value:.2f} [{float(index['low']):.2f}, {float(index['high']):.2f}]{chosen}"


# -- evidence ----------------------------------------------------------------------------------------------------------


def evidence(
    adata: AnnData,
    *,
    key: str = "biomarkers",
    n_labels: int = 10,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """DE evidence against model evidence: logFC and mean absolute SHAP of every gene, coloured by its class.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.biomarkers` that hold both kinds of evidence.
    key
        Name of these results.
    n_labels
        How many genes to name: those with the largest mean absolute SHAP.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Where the DE table has no logFC (F table of several contrasts), the -log10 p-value takes its place.
    """
    table = get.biomarkers(adata, key=key)
    x, xlabel = _strength(table)
    if "shap" not in table:
        raise InputError(
            "The biomarker table has no model evidence. Run gb.tl.explain(adata), then gb.tl.biomarkers(adata) again."
        )
    y = table["shap"].to_numpy(float)
    seen = np.isfinite(x) & np.isfinite(y)
    table, x, y = table[seen], x[seen], y[seen]
    top = np.argsort(-y, kind="stable")[:n_labels]
    top = top[y[top] > 0]
    names = gene_names(adata, table.index[top], gene_symbols)
    ax = axes(ax, (5.6, 3.7))
    _classes(ax, table, x, y)
    ax.set_ylim(-0.02 * y.max(initial=1e-9), y.max(initial=1e-9) * 1.12)
    if "logFC" in table:
        reach = float(np.abs(x).max(initial=1.0)) * 1.25  # room for labels
        ax.set_xlim(-reach, reach)
        ax.axvline(0, color=PALE, linewidth=0.8, zorder=1)
    settings = adata.uns.get(key, {})
    about = adata.uns.get(keys.shap(str(settings.get("model", "classify"))), {})
    finish(ax, xlabel=xlabel, ylabel=f"mean |SHAP| ({unit_words(about)})" if about else "mean |SHAP|")
    place_labels(ax, x[top], y[top], names, cloud=np.column_stack([x, y]))
    return ax


def _strength(table: pd.DataFrame) -> tuple[np.ndarray, str]:
    if "logFC" in table:
        return table["logFC"].to_numpy(float), "log fold change (logFC)"
    if "P.Value" in table:
        p = table["P.Value"].to_numpy(float)
        floor = float(p[p > 0].min(initial=1.0))
        return -np.log10(np.where(p > 0, p, floor)), "−log$_{10}$ p-value"
    raise InputError(
        "The biomarker table has no DE evidence. Run gb.tl.limma(adata, design, contrast=...), then "
        "gb.tl.biomarkers(adata) again."
    )


def _classes(ax: Axes, table: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> None:
    """The points by class of the biomarker table, a ring around conflicts, and the legend with counts."""
    kinds = table["class"].astype(str).to_numpy()
    handles: list[Line2D] = []
    labels: list[str] = []
    others = dict.fromkeys(sorted(set(kinds) - set(CLASS_COLORS)), GREEN)
    for name, color in reversed((CLASS_COLORS | others).items()):
        mask = kinds == name
        look: dict[str, Any] = {"s": 20, "alpha": 0.9, "zorder": 3} if name else {"s": 8, "alpha": 0.5, "zorder": 2}
        look |= {"c": color, "marker": CLASS_MARKERS.get(name, "v"), "rasterized": int(mask.sum()) > _MANY}
        ax.scatter(x[mask], y[mask], linewidths=0, gid=f"class-{name or 'neither'}", **look)
        if mask.any():
            handles.insert(
                0, Line2D([], [], marker=CLASS_MARKERS.get(name, "v"), linestyle="", color=color, markersize=4.5)
            )
            labels.insert(0, f"{name or 'neither'}: {int(mask.sum()):,}")
    # genes that limma and the models that rely on them see in opposite directions
    odd = (table["agreement"].astype(str) == "conflict").to_numpy() & ~np.isin(kinds, UNUSED)
    if odd.any():
        ax.scatter(x[odd], y[odd], s=52, facecolors="none", edgecolors=INK, linewidths=0.9, zorder=4, gid="conflict")
        ring = {"markerfacecolor": "none", "markeredgecolor": INK, "markersize": 6.5}
        handles.append(Line2D([], [], marker="o", linestyle="", **ring))  # type: ignore[arg-type]
        labels.append(f"opposite signs: {int(odd.sum())}")
    legend(ax, handles, labels, loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.2)
