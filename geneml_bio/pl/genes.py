"""Figures of which genes were chosen: stability of the selection, DE evidence against model evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from .. import get
from ..bridge import keys
from ..core.errors import ColumnNotFoundError, InputError, check_whole
from ._labels import place_labels
from ._style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PAPER,
    PURPLE,
    REST,
    SKY,
    SOFT,
    VERMILLION,
    axes,
    beside,
    effect_axis,
    finish,
    gene_names,
    legend_outside,
    unit_words,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

CLASS_COLORS = {
    "DE and used": VERMILLION,
    "used, not DE": BLUE,
    "DE, redundant": SKY,
    "DE, unused": ORANGE,
    "DE, use unknown": ORANGE,
    "unstable": PURPLE,
    "used, DE unknown": GREEN,
    "": REST,
}
CLASS_MARKERS = {
    "DE and used": "o",
    "used, not DE": "s",
    "DE, redundant": "P",
    "DE, unused": "^",
    "DE, use unknown": "^",
    "unstable": "D",
    "used, DE unknown": "v",
    "": "o",
}
UNUSED = ("", "DE, unused", "DE, use unknown", "DE, redundant")
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
    """How reproducibly the folds chose genes.

    Left: the share of folds whose screen chose the gene. Right: the rank that it had there (dot: median; bar: from the best
    to the worst). The title holds Nogueira's index of the whole selection: 1 where every fold chose the same genes, 0 for
    random choice.

    Where every fold was given the same genes (no screen, or a list from other samples), what the models chose is drawn instead, from
    SHAP: the share of fold models that used the gene, and its rank by mean absolute SHAP with the interval (or else its range over
    the models).

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify` or :func:`geneml_bio.tl.regress`.
    key
        Name of these results.
    n_genes
        How many genes to draw: those chosen most often, then those that ranked best (without a screen: those of largest mean absolute
        SHAP).
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into (its slot is shared with the ranks); a new figure by default.

    Returns
    -------
    The Axes of the frequencies.
    """
    check_whole(1, n_genes=n_genes)
    screens = get.screens(adata, key=key)
    if not len(screens):
        raise InputError(f"The results under {key!r} hold no screen: nothing was selected in the folds.")
    table, words = _unscreened(adata, key) if all_the_same(screens) else _screened(adata, key, screens)
    table = table.head(n_genes)
    rows, names = np.arange(len(table)), gene_names(adata, table.index, gene_symbols)
    ax = axes(ax, (6.2, 1.3 + 0.25 * len(table)))
    right = beside(ax, 0.8)
    ax.barh(rows, table["share"], height=0.62, color=BAR, gid="frequency")
    ax.set_yticks(rows, names)
    ax.set(xlim=(0, 1.001), ylim=(len(rows) - 0.4, -0.6))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xticks([0, 0.5, 1])
    _rank_axes(right, rows, table)
    finish(right, xlabel=words[1])
    right.tick_params(axis="y", length=0, labelleft=False)
    right.tick_params(axis="x", which="minor", length=0)
    finish(ax, xlabel=words[0], title=words[2])
    ax.tick_params(axis="y", length=0)
    return ax


def _rank_axes(right: Axes, rows: np.ndarray, table: pd.DataFrame) -> None:
    right.hlines(rows, table["best"], table["worst"], color=GREY, linewidth=1.6, gid="range", zorder=2)
    right.plot(table["middle"], rows, "o", color=INK, markersize=4, gid="median", zorder=3)
    wide = table["worst"].max() > 20
    if wide:
        right.set_xscale("log")
        right.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        right.xaxis.set_minor_formatter(lambda value, _: "")
    right.set_xlim(0.8 if wide else 0, table["worst"].max() * 1.15 + 0.5)


def all_the_same(screens: pd.DataFrame) -> bool:
    """Whether every fold holds the same genes, so that being chosen says nothing."""
    n_folds = len(screens[["repeat", "fold"]].drop_duplicates())
    return n_folds > 1 and bool((screens["feature"].astype(str).value_counts() == n_folds).all())


def _screened(adata: AnnData, key: str, screens: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, str, str]]:
    """Share of folds that chose each gene, its rank there, and the words of the figure."""
    n_folds = len(screens[["repeat", "fold"]].drop_duplicates())
    by = _ranks(screens).groupby("feature", observed=True)["rank"]
    table = pd.DataFrame({"share": by.size() / n_folds, "middle": by.median(), "best": by.min(), "worst": by.max()})
    table = table.sort_values(["share", "middle", "best"], ascending=[False, True, True], kind="stable")
    left = f"share of {n_folds} folds\nthat chose the gene"
    return table, (left, "rank in the fold\n(median, range)", _index_words(adata, key))


def _unscreened(adata: AnnData, key: str) -> tuple[pd.DataFrame, tuple[str, str, str]]:
    """Share of fold models that used each gene, its rank by SHAP, and the words of the figure."""
    try:
        shap = get.shap(adata, key=key)
    except ColumnNotFoundError as error:
        raise InputError(
            f"Every fold of {key!r} was given the same genes, so none was chosen. Which of them the models used is known after "
            f"gb.tl.explain(adata, key={key!r})."
        ) from error
    shap = shap[(shap["shap"] > 0) & (shap["used"] > 0)]
    if shap.empty:
        raise InputError("Every SHAP value is 0: the models used no gene. There is nothing to draw.")
    own = [name for name in shap.columns if name.startswith("shap:")]
    ranks = shap[own].rank(ascending=False)
    known = {"rank_low", "rank_high"} <= set(shap.columns) and np.isfinite(shap["rank_low"]).any()
    best, worst = (shap["rank_low"], shap["rank_high"]) if known else (ranks.min(axis=1), ranks.max(axis=1))
    middle = shap["shap_rank"]
    table = pd.DataFrame(
        {"share": shap["used"], "middle": middle, "best": np.fmin(best, middle), "worst": np.fmax(worst, middle)}
    )
    how = "95 % interval" if known else "range over models" if len(own) > 1 else "no interval known"
    n = len(get.screens(adata, key=key)["feature"].astype(str).unique())
    left = "share of fold models\nthat used the gene"
    return table, (left, f"rank by mean |SHAP|\n({how})", f"No screen: the same {n:,} genes in every fold")


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
    The Axes. Where the DE table has no logFC (F table of several contrasts), the -log10 p-value takes its place. Where the table knows
    them: a vertical bar at each gene named spans the mean |SHAP| of the ranks within the 95 % interval of its own rank, and a used gene
    whose empirical q-value is above the table's ``alpha`` is hollow.
    """
    check_whole(0, n_labels=n_labels)
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
    settings = adata.uns.get(key, {})
    _classes(ax, table, x, y, float(settings.get("alpha", 0.05)), _rank_bars(ax, table, x, y, top))
    ax.set_ylim(-0.02 * y.max(initial=1e-9), y.max(initial=1e-9) * 1.12)
    if "logFC" in table:
        reach, xlabel = effect_axis(adata, str(settings.get("contrast", "")), x)
        ax.set_xlim(-1.25 * reach, 1.25 * reach)  # room for labels
        ax.axvline(0, color=PALE, linewidth=0.8, zorder=1)
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


def _rank_bars(ax: Axes, table: pd.DataFrame, x: np.ndarray, y: np.ndarray, rows: np.ndarray) -> list[Any]:
    """The interval of each rank, as the mean |SHAP| that the genes on these ranks have."""
    if not {"rank_low", "rank_high"} <= set(table.columns):
        return []
    ordered = -np.sort(-y)
    low, high = (table[name].to_numpy(float)[rows] for name in ("rank_low", "rank_high"))
    known = np.isfinite(low) & np.isfinite(high)
    at = np.clip(np.column_stack([low, high])[known].astype(int) - 1, 0, len(y) - 1)
    if not known.any():
        return []
    look: dict[str, Any] = {"color": SOFT, "linewidth": 0.7, "alpha": 0.45, "zorder": 1.5}
    ax.vlines(x[rows][known], ordered[at[:, 1]], ordered[at[:, 0]], gid="rank-interval", **look)
    return [Line2D([], [], color=SOFT, linewidth=1.0)]


def _uncertain(table: pd.DataFrame, alpha: float) -> np.ndarray:
    """Used genes that permuted targets give as easily."""
    if "empirical_q" not in table:
        return np.zeros(len(table), bool)
    return (table["empirical_q"].to_numpy(float) > alpha) & ~table["class"].astype(str).isin(UNUSED).to_numpy()


def _classes(ax: Axes, table: pd.DataFrame, x: np.ndarray, y: np.ndarray, alpha: float, bars: list[Any]) -> None:
    """The points by class of the biomarker table, a ring around conflicts, and the legend with counts."""
    kinds = table["class"].astype(str).to_numpy()
    hollow = _uncertain(table, alpha)
    handles: list[Line2D] = []
    labels: list[str] = []
    others = dict.fromkeys(sorted(set(kinds) - set(CLASS_COLORS)), GREEN)
    for name, color in reversed((CLASS_COLORS | others).items()):
        mask = kinds == name
        look: dict[str, Any] = {"s": 20, "alpha": 0.9, "zorder": 3} if name else {"s": 8, "alpha": 0.5, "zorder": 2}
        look |= {"c": color, "marker": CLASS_MARKERS.get(name, "v"), "rasterized": int(mask.sum()) > _MANY}
        if hollow[mask].any():
            look |= {"c": np.where(hollow[mask], PAPER, color), "edgecolors": color, "linewidths": 0.8}
        else:
            look |= {"linewidths": 0}
        ax.scatter(x[mask], y[mask], gid=f"class-{name or 'neither'}", **look)
        if mask.any():
            handles.insert(
                0, Line2D([], [], marker=CLASS_MARKERS.get(name, "v"), linestyle="", color=color, markersize=4.5)
            )
            labels.insert(0, f"{name or 'neither'}: {int(mask.sum()):,}")
    # genes that limma and the models that rely on them see in opposite directions
    odd = (table["agreement"].astype(str) == "conflict").to_numpy() & ~np.isin(kinds, UNUSED)
    if odd.any():
        ax.scatter(x[odd], y[odd], s=52, facecolors="none", edgecolors=INK, linewidths=0.9, zorder=4, gid="conflict")
        ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": INK, "markersize": 6.5}
        handles.append(Line2D([], [], marker="o", linestyle="", **ring))
        labels.append(f"opposite signs: {int(odd.sum())}")
    if hollow.any():
        ring = {"markerfacecolor": PAPER, "markeredgecolor": SOFT, "markersize": 4.5}
        handles.append(Line2D([], [], marker="o", linestyle="", **ring))
        labels.append(f"hollow: empirical q > {alpha:g}")
    legend_outside(ax, [*handles, *bars], [*labels, *(["95 % interval of the rank"] * len(bars))], handletextpad=0.2)
