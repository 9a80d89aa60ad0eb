"""Genes against their knockoff copies: what the filter sees, and where it cuts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from ..bridge import keys
from ..core.errors import ColumnNotFoundError, InputError, check_whole
from ._labels import place_labels
from ._style import BLUE, GREY, REST, SOFT, VERMILLION, axes, finish, gene_names, legend, point_size

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MANY = 2000


def knockoffs(
    adata: AnnData,
    *,
    key: str = "knockoffs",
    fdr: float | None = None,
    n_labels: int = 10,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How much more the model uses each gene than its knockoff copy, and which genes are called for it.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.knockoffs`.
    key
        Name of these results.
    fdr
        Genes called at this false discovery rate are coloured; default: the one that was asked for. Of several draws there is no
        other, since each set of copies was cut for it.
    n_labels
        How many of these to name, the strongest first.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. A dot a gene, ordered by W (``.var["{key}_W"]``); genes with W = 0, which the model uses no more than their copies, are
    counted in the title. With one draw the line is the threshold of the knockoff+ filter: genes above it are called, and as many lie below
    its mirror image (blue) as chance puts above it, on average and at most. Of several draws W is the mean and has no
    threshold.
    """
    check_whole(0, n_labels=n_labels)
    name_w, name_q = keys.knockoff_w(key), keys.knockoff_q(key)
    stored = adata.uns.get(key)
    if name_w not in adata.var or name_q not in adata.var or not isinstance(stored, Mapping):
        raise ColumnNotFoundError(
            f"No knockoffs under {key!r}. Run gb.tl.knockoffs(adata, target) first (key_added={key!r})."
        )
    params = dict(stored.get("params", {}))
    asked, n_draws = float(params.get("fdr", 0.1)), int(params.get("n_draws", 1))
    if fdr is not None and n_draws > 1 and not np.isclose(fdr, asked):
        raise InputError(
            f"These {n_draws} draws were cut for fdr={asked:g}; for fdr={fdr!r} run gb.tl.knockoffs(..., fdr={fdr!r})."
        )
    if fdr is not None and not 0 < fdr < 1:
        raise InputError(f"fdr must be between 0 and 1, got {fdr!r}.")
    level = asked if fdr is None else float(fdr)

    W, q = adata.var[name_w].to_numpy(float), adata.var[name_q].to_numpy(float)
    there = np.flatnonzero(np.isfinite(W) & (W != 0))
    there = there[np.argsort(-W[there], kind="stable")]
    w, at = W[there], np.arange(1, len(there) + 1)
    called = q[there] <= level * (1 + 1e-12)
    cut = _threshold(w[called]) if n_draws == 1 else np.nan
    ax = axes(ax, (4.6, 4.0))
    _cloud(ax, at, w, called, w <= -cut if np.isfinite(cut) else np.zeros(len(w), dtype=bool), cut, level)
    n = int(np.isfinite(W).sum())
    draws = f", mean of {n_draws} draws" if n_draws > 1 else ""
    said = f"{int(called.sum()):,} of {n:,} genes called at a false discovery rate of {level:g}"
    rest = n - len(w)
    finish(
        ax,
        xlabel="genes, by W" + (f" ({rest:,} with W = 0 not shown)" if rest else ""),
        ylabel=f"W: gene over its copy{draws}",
        title=said if called.any() else said.replace("0 of", "none of", 1),
    )
    top = np.flatnonzero(called)[:n_labels]
    names = gene_names(adata, adata.var_names[there[top]], gene_symbols)
    place_labels(ax, at[top].astype(float), w[top], names, cloud=np.column_stack([at, w]))
    return ax


def _threshold(called: np.ndarray) -> float:
    """Of the filter, where it called any gene: the least W that is called."""
    return float(called.min()) if len(called) else np.nan


def _cloud(
    ax: Axes, at: np.ndarray, w: np.ndarray, called: np.ndarray, copies: np.ndarray, cut: float, level: float
) -> None:
    """Dots, lines and legend."""
    high, low = float(w.max(initial=0.0)) or 1.0, float(max(-w.min(initial=0.0), cut if np.isfinite(cut) else 0.0))
    room = 0.1 * (high + low)
    ax.set(xlim=(1 - 0.04 * max(len(w), 10), max(len(w), 10) * 1.04), ylim=(-low - room, high + room))
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=1, gid="zero")
    handles: list[Any] = []
    labels = []
    kinds = (
        (called, VERMILLION, "called", f"called at {level:g}"),
        (copies, BLUE, "copies", "copies as far ahead"),
        (~called & ~copies, REST, "rest", "not called"),
    )
    for mask, color, gid, words in kinds:
        if not mask.any() and gid != "called":
            continue
        look: dict[str, Any] = {"s": point_size(len(w)) + 3, "c": color, "linewidths": 0, "zorder": 3}
        ax.scatter(at[mask], w[mask], rasterized=len(w) > _MANY, gid=gid, **look)
        handles.append(Line2D([], [], marker="o", linestyle="", color=color, markersize=4.5))
        labels.append(f"{words}: {int(mask.sum()):,}")
    if np.isfinite(cut):
        ax.axhline(cut, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, gid="threshold")
        ax.axhline(-cut, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1, gid="mirror")
        handles += [Line2D([], [], color=SOFT, linewidth=0.9, linestyle=(0, style)) for style in ((4, 3), (1, 2))]
        labels += ["threshold", "its mirror image"]
    legend(ax, handles, labels, loc="upper right")
