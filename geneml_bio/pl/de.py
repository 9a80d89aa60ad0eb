"""Figures of a differential-expression table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from .. import get
from ..core.errors import ColumnNotFoundError, InputError, check_whole, near
from ._labels import place_labels
from ._style import (
    BLUE,
    GREY,
    PALE,
    REST,
    SOFT,
    VERMILLION,
    axes,
    distinct,
    effect_axis,
    finish,
    gene_names,
    legend,
    plain,
    point_size,
    points,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MANY = 2000  # more points than this are drawn as an image inside a vector file


def _table(adata: AnnData, key: str, what: str, needed: Sequence[str]) -> pd.DataFrame:
    table = get.de(adata, key=key)
    joint = adata.uns.get(key, {}).get("kind") == "F"  # a logFC beside a joint test is not what its p-values speak of
    joint |= "logFC" not in table.columns and not {"F", "LR"}.isdisjoint(table.columns)
    if joint and "logFC" in needed:
        raise InputError(
            f"{what} shows one logFC a gene, and the DE results under {key!r} are a joint test of several coefficients (F or "
            "LR), which has none. Run gb.tl.limma(adata, design, contrast=...) with one contrast."
        )
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise InputError(
            f"{what} needs {', '.join(missing)}, which the DE results under {key!r} do not have; they have "
            f"{', '.join(table.columns)}. Get the whole table from where it was made, or run gb.tl.limma."
        )
    return table


def _mark(ax: Axes, adata: AnnData, key: str) -> None:
    """Say on the figure that the table is a part of one."""
    about = adata.uns.get(key, {})
    tested, there = int(about.get("n_tests", 0)), int(about.get("n_features", 0))
    if tested > there:
        ax.text(0.01, 0.99, f"a part: {there:,} of {tested:,} tested", transform=ax.transAxes, ha="left", va="top",
                fontsize=points(0.7), color=SOFT, gid="partial", zorder=5)  # fmt: skip


def _split(table: pd.DataFrame, alpha: float) -> dict[str, np.ndarray]:
    """Masks of the genes called up, called down, and the rest."""
    called = (table["adj.P.Val"] <= alpha).to_numpy() if "adj.P.Val" in table else np.zeros(len(table), bool)
    up = (table["logFC"] > 0).to_numpy()
    return {"rest": ~called, "down": called & ~up, "up": called & up}


def _draw(ax: Axes, x: np.ndarray, y: np.ndarray, groups: dict[str, np.ndarray]) -> None:
    size = point_size(len(x))
    for name, color in (("rest", REST), ("down", BLUE), ("up", VERMILLION)):
        mask = groups[name]
        ax.scatter(
            x[mask],
            y[mask],
            s=size,
            c=color,
            linewidths=0,
            alpha=0.7 if name == "rest" else 0.9,
            rasterized=len(x) > _MANY,
            zorder=2 if name == "rest" else 3,
            gid=f"genes-{name}",
        )


def _legend(ax: Axes, groups: dict[str, np.ndarray], alpha: float | None) -> None:
    """Counts in a row above the Axes; the threshold stands with the rest."""
    words = {"rest": (REST, "no adjusted p-values, none called")}
    if alpha is not None:
        words = {"up": (VERMILLION, "up"), "down": (BLUE, "down"), "rest": (REST, f"adj.P.Val > {alpha:g}")}
    handles = [Line2D([], [], marker="o", linestyle="", color=color, markersize=4.5) for color, _ in words.values()]
    labels = [f"{word}: {int(groups[name].sum()):,}" for name, (_, word) in words.items()]
    where = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "ncols": 3, "borderpad": 0.1}
    legend(ax, handles, labels, handletextpad=0.1, columnspacing=1.2, **where)


def _to_name(
    adata: AnnData, table: pd.DataFrame, called: np.ndarray, genes: Sequence[str] | None, n: int, symbols: str | None
) -> dict[int, str]:
    """Row -> name to show, of the genes asked for, or of the first ``n`` that were called, by p-value."""
    if genes is None:
        chosen = [str(gene) for gene in table.index[called][:n]]
    else:
        wanted = [genes] if isinstance(genes, str) else list(genes)
        unknown = [gene for gene in wanted if gene not in adata.var_names]
        if unknown:
            raise ColumnNotFoundError(
                f"genes: no gene {unknown[0]!r} in adata.var_names.{near(unknown[0], adata.var_names)}"
            )
        chosen = [gene for gene in wanted if gene in table.index]  # a gene without statistics has no place
    rows = table.index.get_indexer(pd.Index(chosen, dtype=object))
    return dict(zip(rows.tolist(), gene_names(adata, chosen, symbols), strict=True))


def _name_genes(ax: Axes, names: dict[int, str], xy: np.ndarray) -> None:
    rows = list(names)
    place_labels(ax, xy[rows, 0], xy[rows, 1], list(names.values()), cloud=xy)


def _draw_tiny(ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Genes whose p-value is smaller than a double can hold, at the top."""
    ax.scatter(x, y, marker="^", s=18, c=np.where(x > 0, VERMILLION, BLUE), linewidths=0, zorder=3)
    note = f"▲ p below what can be stored ({len(x)})"
    ax.text(0.99, 0.99, note, transform=ax.transAxes, ha="right", va="top", fontsize=points(0.7), color=SOFT)


def _contrast(adata: AnnData, key: str) -> str:
    about = adata.uns.get(key, {})
    return str(about.get("contrast", "")).strip("`") if isinstance(about, dict) else ""


def _title(adata: AnnData, key: str) -> str:
    contrast = _contrast(adata, key)
    parts = contrast.split(" vs ")
    if len(parts) == 2:  # both sides are told, however long
        return " vs ".join(distinct(parts, 40))
    return plain(contrast, 60) if contrast.strip() else ""


def volcano(
    adata: AnnData,
    *,
    key: str = "limma",
    alpha: float = 0.05,
    genes: Sequence[str] | None = None,
    n_labels: int = 10,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Effect against evidence: logFC and -log10 of the p-value of every gene.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.limma` or :func:`geneml_bio.tl.add_de`.
    key
        Name of these results.
    alpha
        Genes with ``adj.P.Val`` of at most this are coloured; the dashed line is the largest p-value among them.
    genes
        Genes to name (var_names). Default: the ``n_labels`` called genes with the smallest p-value.
    n_labels
        How many genes to name.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, such as ``symbol``, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. A p-value of 0 (smaller than a double can hold) is drawn as a triangle at the top.
    """
    check_whole(0, n_labels=n_labels)
    table = _table(adata, key, "A volcano plot", ("logFC", "P.Value"))
    table = table[np.isfinite(table["logFC"]) & np.isfinite(table["P.Value"])]
    p = table["P.Value"].to_numpy()
    tiny = p <= 0
    with np.errstate(divide="ignore"):
        y = -np.log10(p)
    top = float(y[~tiny].max(initial=1.0))
    y = np.where(tiny, top * 1.06, y)
    x, groups = table["logFC"].to_numpy(), _split(table, alpha)
    called = ~groups["rest"]
    names = _to_name(adata, table, called, genes, n_labels, gene_symbols)
    ax = axes(ax, (4.6, 3.8))
    _draw(ax, x, y, {name: mask & ~tiny for name, mask in groups.items()})
    if tiny.any():
        _draw_tiny(ax, x[tiny], y[tiny])
    if called.any():
        ax.axhline(float(y[called].min()), color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    reach, xlabel = effect_axis(adata, _contrast(adata, key), x)
    ax.set_xlim(-1.25 * reach, 1.25 * reach)  # room for labels
    ax.set_ylim(0, top * 1.12)
    ax.axvline(0, color=PALE, linewidth=0.8, zorder=1)
    finish(ax, xlabel=xlabel, ylabel="−log$_{10}$ p-value", title=_title(adata, key), pad=20)
    _legend(ax, groups, alpha if "adj.P.Val" in table else None)
    _mark(ax, adata, key)
    _name_genes(ax, names, np.column_stack([x, y]))
    return ax


def ma(
    adata: AnnData,
    *,
    key: str = "limma",
    alpha: float = 0.05,
    genes: Sequence[str] | None = None,
    n_labels: int = 10,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Effect against abundance: logFC and mean log expression of every gene.

    Effects that depend on abundance (a cloud that bends or fans out) point to a problem of normalisation or scale.
    Arguments as in :func:`volcano`.
    """
    check_whole(0, n_labels=n_labels)
    table = _table(adata, key, "An MA plot", ("logFC", "AveExpr"))
    table = table[np.isfinite(table["logFC"]) & np.isfinite(table["AveExpr"])]
    x, y, groups = table["AveExpr"].to_numpy(), table["logFC"].to_numpy(), _split(table, alpha)
    names = _to_name(adata, table, ~groups["rest"], genes, n_labels, gene_symbols)
    ax = axes(ax, (4.6, 3.8))
    _draw(ax, x, y, groups)
    ax.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    reach, ylabel = effect_axis(adata, _contrast(adata, key), y)
    ax.set_ylim(-1.2 * reach, 1.2 * reach)
    finish(ax, xlabel="mean log expression (AveExpr)", ylabel=ylabel, title=_title(adata, key), pad=20)
    _legend(ax, groups, alpha if "adj.P.Val" in table else None)
    _mark(ax, adata, key)
    _name_genes(ax, names, np.column_stack([x, y]))
    return ax
