"""Do the two kinds of evidence agree: ranks by DE beside ranks by the models, signs of the one beside directions of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullFormatter

from .. import get
from ..core.errors import InputError, check_whole
from ._labels import place_labels
from ._style import GREEN, GREY, PALE, REST, SOFT, VERMILLION, axes, finish, gene_names, legend_outside, points

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MANY = 2000
_KINDS = {
    "agree": (GREEN, "o", "same direction"),
    "conflict": (VERMILLION, "X", "opposite directions"),
    "": (REST, "o", "not compared"),
}


def agreement(
    adata: AnnData,
    *,
    key: str = "biomarkers",
    n_top: int = 20,
    n_labels: int = 8,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Rank of each gene by p-value against its rank by mean absolute SHAP, of the genes that a model used.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.biomarkers` that hold both kinds of evidence.
    key
        Name of these results.
    n_top
        The square of the strongest genes by both rankings; the figure says how many are in it and how many chance would put there.
    n_labels
        How many genes to name: those whose directions conflict, the strongest first, then the strongest by both rankings.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes, logarithmic; the strongest genes are at the lower left. Colour: whether the sign of logFC and the direction in the models
    agree. The title holds Spearman's rank correlation of the two rankings over the genes drawn, and counts of directions.
    """
    check_whole(0, n_labels=n_labels)
    table = get.biomarkers(adata, key=key)
    missing = [
        what
        for name, what in (("P.Value", "DE"), ("shap", "model"))
        if name not in table or not np.isfinite(table[name]).any()
    ]
    if missing:
        raise InputError(
            f"The biomarker table under {key!r} has no {missing[0]} evidence, and there is nothing to agree with. Run gb.tl.limma and "
            "gb.tl.explain, then gb.tl.biomarkers(adata) again."
        )
    by_de, by_model = table["P.Value"].rank(), (-table["shap"]).rank()
    used = (table["shap"] > 0) & by_de.notna()
    if not used.any():
        raise InputError("The models used no gene that has DE statistics. There is nothing to draw.")
    x, y = by_de[used].to_numpy(float), by_model[used].to_numpy(float)
    told = table["agreement"].astype(str)[used].to_numpy() if "agreement" in table else np.full(used.sum(), "")
    kinds = np.where(np.isin(told, ["agree", "conflict"]), told, "")
    ax = axes(ax, (4.8, 4.2))
    n = int(by_de.notna().sum())
    ax.set(xscale="log", yscale="log", xlim=(0.8, n * 1.3), ylim=(0.8, float(y.max()) * 1.5))
    inside = int(((x <= n_top) & (y <= n_top)).sum())
    size = min(n_top, n)
    by_chance = size * size / n
    ax.add_patch(
        Rectangle((0.8, 0.8), n_top - 0.3, n_top - 0.3, facecolor=PALE, alpha=0.35, linewidth=0, zorder=0, gid="top")
    )
    told_inside = ax.text(
        0.9,
        min(n_top, float(y.max())) * 1.08,
        f" {inside} of {n_top} shared\n ({by_chance:{'.0f' if by_chance >= 1 else '.1g'}} by chance)",
        fontsize=points(0.7),
        color=SOFT,
        va="bottom",  # over the square, whose genes have names
    )
    ends = [1, min(n, float(y.max()))]
    ax.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, gid="same-rank")
    handles, labels = _dots(ax, x, y, kinds)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axis.set_minor_formatter(NullFormatter())
    rho = pd.Series(x).corr(pd.Series(y), method="spearman") if len(x) > 2 else np.nan
    said = f": rank correlation {rho:z.2f}" if np.isfinite(rho) else ""
    title = f"{len(x):,} genes that a model used{said}"
    finish(ax, xlabel=f"rank by p-value (of {n:,})", ylabel="rank by mean |SHAP|", title=title)
    ax.tick_params(which="minor", length=0)
    legend_outside(ax, handles, labels, handletextpad=0.2)
    both = np.maximum(x, y)
    rows = np.lexsort((both, kinds != "conflict"))
    odd = [row for row in rows if kinds[row] == "conflict"][: (n_labels + 1) // 2]
    chosen = [*odd, *[row for row in np.argsort(both, kind="stable") if row not in odd]][:n_labels]
    names = gene_names(adata, table.index[used][chosen], gene_symbols)
    place_labels(ax, x[chosen], y[chosen], names, cloud=np.column_stack([x, y]), clear=[told_inside])
    return ax


def _dots(ax: Axes, x: np.ndarray, y: np.ndarray, kinds: np.ndarray) -> tuple[list[Any], list[str]]:
    handles: list[Any] = []
    labels: list[str] = []
    for kind in ("", "agree", "conflict"):
        mask, (color, marker, words) = kinds == kind, _KINDS[kind]
        if mask.any():
            look: dict[str, Any] = {
                "s": 30 if kind == "conflict" else 16,
                "c": color,
                "marker": marker,
                "linewidths": 0,
            }
            ax.scatter(
                x[mask],
                y[mask],
                alpha=0.85,
                rasterized=len(x) > _MANY,
                gid=f"genes-{kind or 'unknown'}",
                zorder=3,
                **look,
            )
            handles.insert(0, Line2D([], [], marker=marker, linestyle="", color=color, markersize=5))
            labels.insert(0, f"{words}: {int(mask.sum()):,}")
    return handles, labels
