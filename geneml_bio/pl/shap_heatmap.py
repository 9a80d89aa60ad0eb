"""SHAP values of the top genes in all samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from .. import get
from ..bridge import keys
from ..core.errors import InputError, check_whole, near
from ._style import (
    GREY,
    INK,
    PALE,
    SOFT,
    axes,
    finish,
    gene_names,
    model_name,
    plain,
    points,
    subsample,
    unit_words,
)
from ._validation import results
from .explain import dense, held_out_rows, outputs_of, strongest
from .heatmap import DIVERGING, frame, held_out_table, leaves, strips

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_ORDERS = ("prediction", "cluster")
_COLUMNS = 1500  # samples that an image can tell apart
_CLUSTERED = 1500


def shap_heatmap(
    adata: AnnData,
    *,
    key: str = "classify",
    n_genes: int = 20,
    order: str = "prediction",
    output: str | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """SHAP values of the genes that the models rely on most, in all held-out samples.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.explain`.
    key
        Name of the validation that was explained.
    n_genes
        How many genes to draw: those of largest mean absolute SHAP, the largest first.
    order
        Of the samples: ``"prediction"`` sorts them by the output that the SHAP values add up to; ``"cluster"`` puts samples together
        that were predicted for the same reasons (average linkage of the correlations of their SHAP values, all genes drawn).
    output
        The class whose SHAP values to draw, where there are more than two; default: the one on which the genes have most effect.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes of the SHAP values. Its child Axes are the strips above (output, observed, held-out prediction, a mark for each sample that is
    misclassified), the mean absolute values at the right, and the colour scale, which ends at the 99th percentile. Of more than 1,500
    samples a random part is drawn, and the figure says so.
    """
    check_whole(1, n_genes=n_genes)
    if order not in _ORDERS:
        raise InputError(f"order must be one of {', '.join(map(repr, _ORDERS))}, got {order!r}.{near(order, _ORDERS)}")
    about, outputs = outputs_of(adata, key)
    chosen = strongest(adata, key, outputs) if output is None else output
    if chosen not in outputs:
        raise InputError(f"output={output!r} was not explained.{near(chosen, outputs)}")
    found = results(adata, key)
    held = held_out_table(adata, key, found, found.pick(None))
    rows = np.flatnonzero(held_out_rows(adata, key) & adata.obs_names.astype(str).isin(held.table.index))
    values = get.shap_values(adata, key=key, output=chosen)[rows]
    mean = np.asarray(abs(values).mean(axis=0)).ravel()
    top = np.argsort(-mean, kind="stable")[:n_genes]
    top = top[mean[top] > 0]
    if not len(top):
        raise InputError("Every SHAP value is 0: the models used no gene. There is nothing to draw.")
    some = subsample(len(rows), _COLUMNS)
    block = dense(values[some], top).T
    stored = adata.obsm[f"{keys.shap(key)}_margin"]
    margin = stored[keys.escape(chosen) if keys.escape(chosen) in stored else chosen].to_numpy(float)[rows[some]]
    place = leaves(block.T) if order == "cluster" else np.argsort(margin, kind="stable")
    ax = axes(ax, (7.0, 2.3 + 0.19 * len(top)))
    limit = float(np.quantile(np.abs(block), 0.99)) or float(np.abs(block).max())
    look: dict[str, Any] = {
        "cmap": DIVERGING,
        "vmin": -limit,
        "vmax": limit,
        "aspect": "auto",
        "interpolation": "nearest",
    }
    image = ax.imshow(block[:, place], gid="shap", **look)
    table = held.table.loc[adata.obs_names.astype(str)[rows[some][place]]]
    frame(ax, gene_names(adata, adata.var_names[top], gene_symbols, 22), table, held.classes, apart=False)
    above = strips(ax, table, held, legend_left=1.16, title="")
    _margin(ax, margin[place], above, model_name(str(about.get("model", ""))), chosen)
    _means(ax, mean[top])
    _scale(ax, image, limit, about, chosen)
    by = "clustered by their SHAP values" if order == "cluster" else "by the output of the models"
    shown = "" if len(some) == len(rows) else f" (a random part of {len(rows):,})"
    ax.set_xlabel(f"{len(some):,} held-out samples{shown}, {by}", fontsize=points(0.8), color=SOFT, loc="left")
    return ax


def _margin(ax: Axes, margin: np.ndarray, above: float, model: str, output: str) -> None:
    """The output of the models for each sample, as a line over the strips."""
    part = ax.inset_axes((0.0, above + 0.02, 1.0, 0.13), sharex=ax)
    part.axhline(0, color=PALE, linewidth=0.7)
    part.plot(np.arange(len(margin)), margin, color=INK, linewidth=1.0, gid="margin")
    part.spines[["top", "right", "bottom"]].set_visible(False)
    part.spines["left"].set(color=SOFT, linewidth=0.8)
    part.tick_params(length=2, labelsize=points(0.7), labelcolor=INK, labelbottom=False, bottom=False, color=SOFT)
    part.yaxis.set_major_locator(MaxNLocator(2))
    part.set_ylabel("output", fontsize=points(0.7), color=SOFT, rotation=0, ha="right", va="center")
    toward = "" if output == "prediction" else f", toward {plain(output, 24)}"
    part.set_title(f"{model}{toward}", fontsize=points(0.95), color=INK, loc="left", pad=4)


def _means(ax: Axes, mean: np.ndarray) -> None:
    bars = ax.inset_axes((1.01, 0.0, 0.11, 1.0), sharey=ax)
    bars.barh(range(len(mean)), mean, height=0.66, color=GREY, gid="mean-abs")
    finish(bars, xlabel="mean |SHAP|")
    bars.xaxis.label.set_fontsize(points(0.7))
    bars.spines["left"].set_visible(False)
    bars.tick_params(axis="y", length=0, labelleft=False)
    bars.tick_params(axis="x", labelsize=points(0.7))
    bars.xaxis.set_major_locator(MaxNLocator(1, prune="lower"))  # the 0 would lie on the last sample's name
    bars.set_xlim(0, mean.max() * 1.1)


def _scale(ax: Axes, image: Any, limit: float, about: dict[str, Any], output: str) -> None:
    scale = ax.inset_axes((1.17, 0.0, 0.018, 0.36))
    bar = ax.figure.colorbar(image, cax=scale, ticks=[-limit, 0, limit])
    bar.ax.set_yticklabels([f"≤ −{limit:.2g}", "0", f"≥ {limit:.2g}"])
    bar.ax.tick_params(length=0, labelsize=points(0.7), labelcolor=INK, pad=2)
    bar.outline.set(edgecolor=PALE, linewidth=0.6)
    words = unit_words(about).replace("share of ", "share of\n")
    scale.set_title(f"SHAP value\n({words})", fontsize=points(0.7), color=INK, loc="left", pad=7)
