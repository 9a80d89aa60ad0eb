"""Groups of genes that stand in for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from .. import get
from ..bridge import keys
from ..core.errors import InputError, check_whole
from ..core.within import Within
from ._style import (
    BLUE,
    GREY,
    INK,
    PALE,
    SOFT,
    VERMILLION,
    axes,
    beside,
    finish,
    gene_names,
    plain,
    points,
    unit_words,
)
from ._validation import expression
from .heatmap import DIVERGING

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_WAYS = {1: VERMILLION, -1: BLUE, 0: GREY}


def gene_groups(
    adata: AnnData,
    *,
    key: str = "classify",
    n_groups: int = 6,
    n_genes: int = 5,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Genes that stand in for each other: their correlations, and how much the models rely on each and on the group.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.gene_groups`.
    key
        Name of the explained results.
    n_groups
        How many groups to draw: those of largest SHAP.
    n_genes
        How many genes of each group: those of largest mean absolute SHAP.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into (its slot is shared with the bars); a new figure by default.

    Returns
    -------
    The Axes of the correlations, which are those within the classes, after batch and covariates (of 5,000 samples where there are
    more). Right: mean absolute SHAP of each gene (bars) and of the sum over the group (pale).
    """
    check_whole(1, n_groups=n_groups, n_genes=n_genes)
    table = get.gene_groups(adata, key=key).head(n_groups)
    if table.empty:
        raise InputError(
            f"gb.tl.gene_groups found no group of genes under {key!r}: no two of them are that correlated."
        )
    label = adata.var[keys.group(key)].astype(str)
    shap = adata.var[keys.shap(key)].to_numpy(float)
    members, more = [], []
    for name in table["group"]:
        mine = np.flatnonzero((label == name).to_numpy())
        mine = mine[np.argsort(-shap[mine], kind="stable")]
        members.append(mine[:n_genes])
        more.append(len(mine) - len(members[-1]))
    columns = np.concatenate(members)
    r = _correlations(adata, key, columns)
    ax = axes(ax, (6.4, 1.4 + 0.2 * len(columns)))
    right = beside(ax, 0.55)
    ax.imshow(r, cmap=DIVERGING, vmin=-1, vmax=1, aspect="auto", interpolation="nearest", gid="correlation")
    start, middles = 0, []
    for mine, size, left in zip(members, table["shap"], more, strict=True):
        end = start + len(mine)
        ax.add_patch(
            Rectangle(
                (start - 0.5, start - 0.5), len(mine), len(mine), fill=False, edgecolor=INK, linewidth=1.0, gid="group"
            )
        )
        right.barh((start + end - 1) / 2, size, height=len(mine) - 0.15, color=PALE, gid="group-shap", zorder=1)
        if left:
            right.annotate(f"+ {left} more", (0.98, end - 1), xycoords=("axes fraction", "data"), ha="right", va="center",
                           fontsize=points(0.7), color=SOFT)  # fmt: skip
        middles.append((start + end - 1) / 2)
        start = end
    right.barh(range(len(columns)), shap[columns], height=0.55, color=GREY, gid="gene-shap", zorder=2)
    ax.set_yticks(range(len(columns)), gene_names(adata, adata.var_names[columns], gene_symbols))
    ax.set_xticks(middles, [plain(name, 8) for name in table["group"]])
    ax.set_ylim(len(columns) - 0.5, -0.5)
    about = adata.uns[keys.shap(key)]
    number = adata.uns.get(key, {}).get("kind") == "regression"
    given = "correlation beside the target" if number else "correlation within classes"
    finish(ax, xlabel=f"{given}\n(blue −1, orange 1)", title="genes that stand in for each other")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    finish(right, xlabel=f"mean |SHAP|:\ngenes, group\n({unit_words(about)})")
    right.tick_params(axis="y", length=0, labelleft=False)
    right.xaxis.set_major_locator(MaxNLocator(3))
    right.set_xlim(left=0)
    return ax


def _correlations(adata: AnnData, key: str, columns: np.ndarray) -> np.ndarray:
    params = get.params(adata, key=key)
    samples = get.folds(adata, key=key)["sample"].astype(str).unique()
    rows = np.flatnonzero(adata.obs_names.astype(str).isin(samples))
    obs = adata.obs.iloc[rows]
    target = obs[params["target"]]
    classes = tuple(str(name) for name in params.get("classes", ()))
    batch, covariates = params.get("batch"), params.get("covariates")
    names = (
        [covariates]
        if isinstance(covariates, str)
        else [str(name) for name in (covariates if covariates is not None else ())]
    )
    known = Within.of(
        len(rows),
        target.astype(str).to_numpy() if classes else target.to_numpy(float),
        classes,
        obs[batch].to_numpy() if isinstance(batch, str) and batch in obs else None,
        obs[names] if names and set(names) <= set(obs.columns) else None,
    )
    layer = params.get("layer")
    stored = expression(adata, layer)
    unit = known.unit(stored[rows], columns)
    return np.clip(unit.T @ unit, -1, 1)
