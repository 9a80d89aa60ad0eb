"""The study itself: how the target and the batches (or another column) go together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from .. import get
from ..core.association import cramers_v
from ..core.errors import ColumnNotFoundError, InputError, near
from ._style import (
    BLUE,
    GREY,
    INK,
    PAPER,
    RATE,
    VERMILLION,
    axes,
    distinct,
    finish,
    number,
    plain,
    points,
    readable_on,
)
from .explain import swarm

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MOST = 40  # levels that a table can show


def design(
    adata: AnnData,
    *,
    key: str = "classify",
    target: str | None = None,
    batch: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How many samples each batch has of each class, beside what to expect if the two had nothing to do with each other.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify` or :func:`geneml_bio.tl.regress`, or with the columns named.
    key
        Name of these results.
    target, batch
        Columns of ``.obs``. Default: those that the results were made with (``batch``, or else ``groups``).
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. A class: a table of counts, with the expected count below each; colour is the share of the batch, and a frame marks cells
    with less than half or more than twice what is expected (by 2 samples or more). A number: its values by batch, with their medians.
    The title holds Cramer's V (0: unrelated, 1: one tells the other); for a number the share of its variance that is between batches.

    Raises
    ------
    InputError
        If no batch is known, or there are more than 40 of them.
    """
    target, batch = _columns(adata, key, target, batch)
    known = adata.obs[[target, batch]].notna().all(axis=1).to_numpy()
    y, b = adata.obs[target][known], adata.obs[batch][known].astype(str)
    if not len(y):
        raise InputError(f"No sample has both a {target!r} and a {batch!r}.")
    numeric = pd.api.types.is_numeric_dtype(y) and not pd.api.types.is_bool_dtype(y) and y.nunique() > 8
    levels = _levels(adata.obs[batch], b)
    if len(levels) > _MOST:
        raise InputError(
            f"{batch!r} has {len(levels)} levels; a table of more than {_MOST} cannot be read. Name another batch=."
        )
    lost = int((~known).sum())
    tail = f"; {lost:,} samples lack one of them" if lost else ""
    if numeric:
        return _numbers(ax, y.to_numpy(float), b.to_numpy(), levels, target, batch, tail)
    classes = _levels(adata.obs[target], y.astype(str))
    counts = pd.crosstab(y.astype(str).to_numpy(), b.to_numpy()).reindex(index=classes, columns=levels, fill_value=0)
    return _table(ax, counts, target, batch, tail)


def _columns(adata: AnnData, key: str, target: str | None, batch: str | None) -> tuple[str, str]:
    if target is None or batch is None:
        params = get.params(adata, key=key)
        target = target if target is not None else str(params.get("target"))
        made = [params.get(name) for name in ("batch", "groups")]
        batch = (
            batch
            if batch is not None
            else next((name for name in made if isinstance(name, str) and name in adata.obs), None)
        )
    if batch is None:
        raise InputError(
            f"The results under {key!r} name neither a batch nor groups. Name a column of adata.obs: batch=..."
        )
    for argument, column in (("target", target), ("batch", batch)):
        if column not in adata.obs:
            raise ColumnNotFoundError(
                f"{argument}: no column {column!r} in adata.obs.{near(column, adata.obs.columns)}"
            )
    return target, batch


def _levels(column: pd.Series, there: pd.Series) -> list[str]:
    seen = set(there)
    ordered = column.cat.categories.astype(str) if isinstance(column.dtype, pd.CategoricalDtype) else sorted(seen)
    return [str(level) for level in ordered if str(level) in seen]


def _table(ax: Axes | None, counts: pd.DataFrame, target: str, batch: str, tail: str) -> Axes:
    observed = counts.to_numpy(float)
    n, (rows, columns) = observed.sum(), observed.shape
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0, keepdims=True) / n
    share = observed / observed.sum(axis=0, keepdims=True)
    ax = axes(ax, (float(np.clip(1.9 + 0.62 * columns, 3.4, 9)), float(np.clip(1.5 + 0.5 * rows, 2.2, 7))))
    ax.imshow(share, cmap=RATE, vmin=0, vmax=1, aspect="auto", gid="share")
    size = points(float(np.clip(1.05 - 0.03 * max(rows, columns), 0.6, 0.85)))
    for (i, j), count in np.ndenumerate(observed) if columns <= 20 else ():
        look: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "color": readable_on(RATE(float(share[i, j]))),
            "linespacing": 1.25,
        }
        words = number(count) if columns > 12 else f"{number(count)}\n({expected[i, j]:.1f})"
        ax.text(j, i, words, fontsize=size, gid="cell", **look)
    odd = (np.abs(observed - expected) >= 2) & ((observed < expected / 2) | (observed > expected * 2))
    for i, j in np.argwhere(odd):
        box: dict[str, Any] = {"fill": False, "edgecolor": VERMILLION, "linewidth": 1.6, "zorder": 4, "gid": "odd"}
        ax.add_patch(Rectangle((j - 0.47, i - 0.45), 0.94, 0.9, **box))
    turn: dict[str, Any] = {} if columns <= 4 else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    totals = observed.sum(axis=0)
    named = [
        f"{name}{chr(10) if not turn else ' '}n = {number(k)}"
        for name, k in zip(distinct(counts.columns, 14), totals, strict=True)
    ]
    if columns > 12:
        turn |= {"rotation": 90, "va": "center", "fontsize": points(0.7)}  # slanted, they would lie on each other
    ax.set_xticks(range(columns), named, **turn)
    ax.set_yticks(
        range(rows),
        [f"{name}\nn = {number(k)}" for name, k in zip(distinct(counts.index, 16), observed.sum(axis=1), strict=True)],
    )
    codes = np.repeat(np.arange(observed.size), observed.astype(int).ravel())
    v = cramers_v(codes // columns, codes % columns) if min(rows, columns) > 1 else np.nan
    strength = f"Cramer's V = {v:.2f}" if np.isfinite(v) else "one level only"
    title = f"{strength}, {n:,.0f} samples{tail}\n(in brackets: expected if unrelated)"
    finish(ax, xlabel=plain(batch, 40), ylabel=plain(target, 30), title=title)
    ax.spines[:].set_visible(False)
    ax.set_xticks(np.arange(-0.5, columns), minor=True)
    ax.set_yticks(np.arange(-0.5, rows), minor=True)
    ax.grid(which="minor", color=PAPER, linewidth=1.5)
    ax.tick_params(which="both", length=0)
    return ax


def _numbers(
    ax: Axes | None, y: np.ndarray, batch: np.ndarray, levels: list[str], target: str, name: str, tail: str
) -> Axes:
    """Values by batch: dots, and a line at each median."""
    ax = axes(ax, (float(np.clip(1.6 + 0.55 * len(levels), 3.4, 9)), 3.4))
    size = float(np.clip(3000 / len(y), 3, 16))
    for at, level in enumerate(levels):
        mine = y[batch == level]
        ax.scatter(
            at + swarm(mine),
            mine,
            s=size,
            color=BLUE,
            alpha=0.75,
            linewidths=0,
            rasterized=len(y) > 2000,
            gid="samples",
        )
        ax.plot([at - 0.32, at + 0.32], [np.median(mine)] * 2, color=INK, linewidth=1.6, gid="median", zorder=4)
    whole = float(((y - y.mean()) ** 2).sum())
    within = sum(float(((y[batch == level] - y[batch == level].mean()) ** 2).sum()) for level in levels)
    part = 1 - within / whole if whole > 0 else np.nan
    turn: dict[str, Any] = {} if len(levels) <= 4 else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(len(levels)), distinct(levels, 14), **turn)
    ax.axhline(float(np.median(y)), color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    title = f"{part:.0%} of the variance is between {plain(name, 20)}, {len(y):,} samples{tail}"
    return finish(ax, xlabel=plain(name, 40), ylabel=plain(target, 30), title=title)
