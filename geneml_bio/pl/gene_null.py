"""Genes against permuted targets: how many stand out, and how many would by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from ..bridge import keys
from ..core.errors import ColumnNotFoundError, check_whole
from ._labels import place_labels
from ._style import GREY, REST, SOFT, VERMILLION, axes, finish, gene_names, legend, point_size

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MANY = 2000


def gene_null(
    adata: AnnData,
    *,
    key: str = "classify",
    level: float | None = None,
    n_labels: int = 8,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How many genes are as strong as each gene, on the true target and on permuted ones.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify` or :func:`geneml_bio.tl.regress` run with ``n_permutations``.
    key
        Name of these results.
    level
        Genes with an empirical q-value of at most this are coloured; default: the level of the results.
    n_labels
        How many dots of these to name, the strongest first.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes, logarithmic. A dot a gene: how many genes of a permuted target reach its strength on average (its empirical p-value times the
    number of genes), and how many of the true one do. On the dashed line there are as many as chance gives; genes far above it are more
    than that. The dotted line is the share ``level``.
    """
    check_whole(0, n_labels=n_labels)
    name_p, name_q = keys.empirical(key, "p"), keys.empirical(key, "q")
    if name_p not in adata.var or name_q not in adata.var:
        raise ColumnNotFoundError(
            f"No empirical p-values under {key!r}. Run gb.tl.classify(adata, target, n_permutations=100) first."
        )
    about: dict[str, Any] = dict(adata.uns.get(key, {}).get("discoveries", {}))
    level = float(about.get("level", 0.1)) if level is None else level
    p, q = adata.var[name_p].to_numpy(float), adata.var[name_q].to_numpy(float)
    known = np.flatnonzero(np.isfinite(p))
    m = len(known)
    p, q = p[known], q[known]
    order = np.argsort(p, kind="stable")
    observed = np.searchsorted(p[order], p, side="right").astype(float)  # genes at least as strong
    expected = p * m
    called = q <= level
    ax = axes(ax, (4.6, 4.0))
    low = float(expected.min(initial=1.0)) * 0.5
    ax.set(xscale="log", yscale="log", xlim=(low, m * 1.5), ylim=(0.7, m * 1.7))
    ends = np.array([max(low, 0.7), m])
    ax.plot(ends, ends, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, gid="chance")
    ends = np.array([max(low, 0.7 * level), m * level])
    ax.plot(ends, ends / level, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1, gid="level")
    handles, labels = [], []
    for mask, color, words in ((called, VERMILLION, f"q ≤ {level:g}"), (~called, REST, "not called")):
        ax.scatter(expected[mask], observed[mask], s=point_size(m) + 3, c=color, linewidths=0, rasterized=m > _MANY, zorder=3,
                   gid="called" if color == VERMILLION else "rest")  # fmt: skip
        handles.append(Line2D([], [], marker="o", linestyle="", color=color, markersize=4.5))
        labels.append(f"{words}: {int(mask.sum()):,} genes")
    handles += [
        Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (4, 3))),
        Line2D([], [], color=SOFT, linewidth=0.9, linestyle=(0, (1, 2))),
    ]
    labels += ["as many as by chance", f"chance gives {level:.0%} of them"]
    legend(ax, handles, labels, loc="lower right")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axis.set_minor_formatter(NullFormatter())
    n = int(about.get("n_permutations", 0))
    words = f" {n} permuted target{'s' * (n != 1)}" if n else " permuted targets"
    finish(ax, xlabel="genes as strong on a permuted target (mean)", ylabel="genes as strong on the true target",
           title=f"{m:,} genes against{words}")  # fmt: skip
    ax.tick_params(which="minor", length=0)
    top: list[int] = []
    labels_of: list[str] = []
    for row in order[called[order]]:  # genes as strong as each other lie on one dot, and have one label
        if top and p[row] == p[top[-1]]:
            continue
        same = int((p == p[row]).sum()) - 1
        top.append(int(row))
        labels_of.append(
            gene_names(adata, [adata.var_names[known[row]]], gene_symbols)[0] + (f" + {same:,} more" if same else "")
        )
        if len(top) == n_labels:
            break
    place_labels(ax, expected[top], observed[top], labels_of, cloud=np.column_stack([expected, observed]))
    return ax
