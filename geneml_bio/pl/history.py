"""How a network learned: loss and score by epoch, in training and on the part set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .. import get
from ..core.errors import InputError, near
from ._style import BLUE, INK, PAPER, SOFT, VERMILLION, axes, finish, legend, metric_name, model_name, points

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

TEST = -1  # repeat and fold of the fit that predicted the test set
_SETS = (("", "training part", BLUE), ("val_", "validation part", VERMILLION))


def history(
    adata: AnnData,
    *,
    key: str = "classify",
    metric: str = "loss",
    model: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Loss (or accuracy) of a network by epoch, on what it learned from and on the validation part set aside of that.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify` or :func:`geneml_bio.tl.regress` with ``models="mlp"``.
    key
        Name of these results.
    metric
        ``"loss"``; ``"accuracy"`` (classes) or ``"mae"`` (numbers).
    model
        Which model, where several learn in epochs; default: the first.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Pale lines are the folds, strong lines their mean, dashed ones the fit that predicted the test set. A validation loss that
    turns upward while the training loss falls is overfitting; the dotted line marks where the mean of the former is lowest. Neither
    part holds a sample on which the model is scored.
    """
    table = get.history(adata, key=key)
    models = list(dict.fromkeys(table["model"]))
    if model is not None and model not in models:
        raise InputError(f"model={model!r} has no history of training.{near(model, models)}")
    chosen = model if model is not None else models[0]
    known = [name for name in table.columns if f"val_{name}" in table.columns]
    if metric not in known:
        raise InputError(f"metric={metric!r} was not recorded by epoch; it can be {' or '.join(map(repr, known))}.")
    mine = table[table["model"] == chosen]
    ax = axes(ax, (4.8, 3.3))
    handles: list[Line2D] = []
    labels: list[str] = []
    folds = mine[mine["repeat"] != TEST]
    tested = mine[mine["repeat"] == TEST].sort_values("epoch")
    n = len(folds[["repeat", "fold"]].drop_duplicates())
    for prefix, words, color in _SETS:
        column = f"{prefix}{metric}"
        _folds(ax, folds, column, color)
        if n:
            mean = folds.groupby("epoch")[column].mean()
            (line,) = ax.plot(mean.index, mean, color=color, linewidth=2, gid=f"mean-{column}", zorder=4)
            handles.append(line)
            labels.append(f"{words}, mean of {n} folds" if n > 1 else words)
        if len(tested):
            look: dict[str, Any] = {"color": color, "linewidth": 1.3, "linestyle": (0, (3, 2)), "zorder": 5}
            (line,) = ax.plot(tested["epoch"], tested[column], gid=f"test-{column}", **look)
            handles.append(line)
            labels.append(f"{words}, fit that predicted the test set")
    if metric == "loss":
        _lowest(ax, (folds if n else tested).groupby("epoch")["val_loss"].mean())
        ax.set_ylim(bottom=0)
    elif metric == "accuracy":
        ax.set_ylim(top=1.02)
    ax.set_xlim(1, max(int(mine["epoch"].max()), 2))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(ax, handles, labels, loc="lower right" if metric == "accuracy" else "upper right", handlelength=2.2)
    return finish(ax, xlabel="epoch", ylabel=_words(adata, key, metric), title=model_name(chosen))


def _folds(ax: Axes, folds: pd.DataFrame, column: str, color: str) -> None:
    for _, part in folds.groupby(["repeat", "fold"], observed=True):
        part = part.sort_values("epoch")
        ax.plot(part["epoch"], part[column], color=color, linewidth=0.6, alpha=0.22, gid=f"fold-{column}", zorder=2)


def _lowest(ax: Axes, mean: pd.Series) -> None:
    """Where the validation loss is lowest, if that is not the end."""
    if not np.isfinite(mean).any() or mean.idxmin() == mean.index.max():
        return
    epoch = int(mean.idxmin())
    ax.axvline(epoch, color=SOFT, linewidth=0.9, linestyle=(0, (1, 2)), zorder=1, gid="lowest")
    ax.annotate(
        f"lowest: epoch {epoch}",
        (epoch, 0.5),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        fontsize=points(0.7),
        color=INK,
        path_effects=[patheffects.withStroke(linewidth=3, foreground=PAPER)],
    )


def _words(adata: AnnData, key: str, metric: str) -> str:
    if metric != "loss":
        return metric_name(metric)
    classes = len(get.params(adata, key=key).get("classes", ()))
    return "mean squared error (loss)" if not classes else f"{'binary ' if classes == 2 else ''}cross-entropy (loss)"
