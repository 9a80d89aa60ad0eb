"""Gene sets: what their genes carry together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .. import get
from ._style import (
    BLUE,
    GREY,
    INK,
    PALE,
    PAPER,
    SOFT,
    VERMILLION,
    axes,
    distinct,
    finish,
    legend,
    plain,
    points,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_WAYS = {1: VERMILLION, -1: BLUE, 0: GREY}


def gene_sets(
    adata: AnnData,
    *,
    key: str = "classify",
    n_sets: int = 12,
    alpha: float = 0.05,
    ax: Axes | None = None,
) -> Axes:
    """Gene sets by the share of SHAP that their genes carry together.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.gene_sets`.
    key
        Name of the explained results.
    n_sets
        How many sets to draw: those with the smallest p-values.
    alpha
        Sets with an adjusted p-value of at most this are filled, others hollow.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Colour: whether more expression of the set's genes means more of the class (orange), less (blue), or either (grey). At the
    right: the adjusted p-value of the competitive test, and how many of the genes tested the models used.
    """
    table = get.gene_sets(adata, key=key).head(n_sets).reset_index(drop=True)
    ax = axes(ax, (6.0, 1.3 + 0.27 * len(table)))
    rows = np.arange(len(table))
    share, sure = table["share"].to_numpy(float), (table["adj.P.Val"] <= alpha).to_numpy()
    shades = [_WAYS[int(way)] for way in table["direction"].fillna(0)]
    ax.hlines(rows, 0, share, color=PALE, linewidth=1.2, zorder=1)
    ax.scatter(share, rows, s=34, c=[shade if filled else PAPER for shade, filled in zip(shades, sure, strict=True)],
               edgecolors=shades, linewidths=1.2, zorder=3, gid="sets", clip_on=False)  # fmt: skip
    ax.set_yticks(rows, distinct(table["set"].str.replace("_", " "), 36))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.xaxis.set_major_locator(MaxNLocator(3))
    right = ax.secondary_yaxis("right")
    right.set_yticks(rows, [_set_words(row) for _, row in table.iterrows()], fontsize=points(0.75), color=INK)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    toward = sorted(set(table["toward"].astype(str)) - {"", "nan", "prediction"})
    more = f" {plain(toward[0], 16)}" if len(toward) == 1 else ""
    handles: list[Any] = [Patch(color=_WAYS[way]) for way in (1, -1, 0)]
    handles.append(Line2D([], [], marker="o", linestyle="", markerfacecolor=PAPER, markeredgecolor=SOFT, markersize=5))
    words = [f"more of it, more{more}", f"more of it, less{more}", "mixed", f"adj.P.Val > {alpha:g}"]
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "ncols": 2, "borderpad": 0.1}
    legend(ax, handles, words, **above)
    finish(ax, xlabel="share of all SHAP")
    ax.tick_params(axis="y", length=0)
    return ax


def _set_words(row: pd.Series) -> str:
    p = float(row["adj.P.Val"])
    shown = "–" if not np.isfinite(p) else f"{p:.0e}" if p < 0.001 else f"{p:.2g}"
    return f"{shown}   ({int(row['n_used'])}/{int(row['n_tested'])})"
