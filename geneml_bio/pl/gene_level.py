"""Figures of a gene-level regression (:func:`geneml_bio.tl.regress_genes`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..core.errors import InputError, near
from ..core.gene_blocks import ALGEBRAIC, INDEPENDENT, OTHERS
from ..core.gene_scores import CEILING, CLOSED, MEAN, REFERENCE
from ._style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PAPER,
    REST,
    SOFT,
    VERMILLION,
    axes,
    distinct,
    finish,
    fixed,
    interval,
    legend,
    metric_name,
    model_name,
    model_names,
    number,
    plain,
    points,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ..core.gene_level import GeneLevel

_METRICS = ("r2", "mse", "rmse", "mae")
_COLORS = {INDEPENDENT: BLUE, OTHERS: GREEN, ALGEBRAIC: ORANGE}
_MARKERS = {INDEPENDENT: "o", OTHERS: "D", ALGEBRAIC: "s"}
_FLOOR = -0.5  # R2 below which a model is drawn at the edge


def gene_models(result: GeneLevel, *, metric: str = "r2", ax: Axes | None = None) -> Axes:
    """Every model of every block of predictors, beside what needs no model.

    Parameters
    ----------
    result
        What :func:`geneml_bio.tl.regress_genes` returned.
    metric
        ``"r2"``, ``"mse"``, ``"rmse"`` or ``"mae"``.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Filled: by cross-validation, with the 95 % interval (of R2); hollow: on the genes held out. Lines: the training mean, the
    closed form, and the noise ceiling, which nothing can pass that knows only true effects (a statistic of the same test can: it
    knows the noise too). An R2 below -0.5 is off the scale: an arrow at the edge, with the value.
    """
    if metric not in _METRICS:
        raise InputError(
            f"metric must be one of {', '.join(map(repr, _METRICS))}, got {metric!r}.{near(metric, _METRICS)}"
        )
    table = _regression(result).table
    blocks = list(result.blocks)
    names = list(dict.fromkeys(table.loc[table["block"].isin(blocks) & (table["model"] != CLOSED), "model"]))
    ax = axes(ax, (6.2, 0.9 + 0.36 * len(names)))
    handles: list[Any] = []
    labels: list[str] = []
    _reference_lines(ax, table, metric, handles, labels)
    step = 0.62 / max(1, len(blocks))
    for at, block in enumerate(blocks):
        part = table[(table["block"] == block) & (table["model"] != CLOSED)].set_index("model").reindex(names)
        y = np.arange(len(names)) + (at - (len(blocks) - 1) / 2) * step
        _one_block(ax, part, y, metric, block)
        handles.append(ax.plot([], [], _MARKERS[block], color=_COLORS[block], markersize=4.5)[0])
        labels.append(block)
    if result.spec["n_test"]:
        handles.append(ax.plot([], [], "o", markerfacecolor=PAPER, markeredgecolor=SOFT, markersize=4.5)[0])
        labels.append("genes held out")
    ax.set_yticks(range(len(names)), model_names(names))
    ax.set_ylim(len(names) - 0.4, -0.6)
    box = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.3}
    legend(ax, handles, labels, **box)
    n = result.spec["n_genes"] - result.spec["n_test"]
    return finish(ax, xlabel=metric_name(metric), title=f"{plain(result.target)} of {n:,} genes, cross-validated")


def _regression(result: object) -> GeneLevel:
    from ..core.gene_level import GeneLevel

    if not isinstance(result, GeneLevel):
        raise InputError(
            f"Expected what gb.tl.regress_genes(table, ...) returns, got {type(result).__name__}. Of an AnnData, "
            "gb.get.gene_table(adata) is what is stored."
        )
    return result


def _reference_lines(ax: Axes, table: pd.DataFrame, metric: str, handles: list[Any], labels: list[str]) -> None:
    looks = {(REFERENCE, MEAN): (GREY, (0, (1, 2)), "mean only"), (REFERENCE, CEILING): (VERMILLION, (0, (5, 3)), "noise ceiling"),
             (ALGEBRAIC, CLOSED): (ORANGE, "-", "closed form")}  # fmt: skip
    for (block, model), (color, style, words) in looks.items():
        row = table[(table["block"] == block) & (table["model"] == model)]
        if not len(row) or not np.isfinite(value := float(row[metric].iloc[0])):
            continue
        shown = max(value, _FLOOR) if metric == "r2" else value
        line = ax.axvline(shown, color=color, linewidth=1.1, linestyle=style, zorder=1, gid=words)
        handles.append(line)
        labels.append(f"{words} ({fixed(value if abs(value) >= 0.005 else 0.0)})")


def _one_block(ax: Axes, part: pd.DataFrame, y: np.ndarray, metric: str, block: str) -> None:
    color, marker = _COLORS[block], _MARKERS[block]
    values, held = part[metric].to_numpy(float), part[f"test_{metric}"].to_numpy(float)
    floor = _FLOOR if metric == "r2" else -np.inf
    if metric == "r2":
        ax.hlines(
            y,
            np.maximum(part["low"], floor),
            np.maximum(part["high"], floor),
            color=color,
            linewidth=1.1,
            alpha=0.55,
            zorder=2,
        )
    for which, where, look in (
        ("held", held, {"markerfacecolor": PAPER, "markeredgecolor": color}),
        ("cv", values, {"color": color}),
    ):
        inside = where >= floor
        style: dict[str, Any] = {"markersize": 4.5, "linestyle": "none", "zorder": 4 if which == "cv" else 3, **look}
        ax.plot(where[inside], y[inside], marker, gid=block if which == "cv" else f"{block}-held", **style)
        off = where < floor  # not drawn at the floor as if they were there: an arrow out of the figure, and the value
        if off.any():
            ax.plot(np.full(int(off.sum()), floor), y[off], "<", gid=f"{block}-off-{which}", **style, clip_on=False)
    for at in np.flatnonzero((values < floor) | (held < floor)):
        words = [f"{value:.3g}{tail}" for value, tail in ((values[at], ""), (held[at], " held out")) if value < floor]
        ax.annotate(f"off scale: {', '.join(words)}".replace("-", "−"), (floor, y[at]), xytext=(6, 0), textcoords="offset points",
                    va="center", fontsize=points(0.7), color=SOFT, gid="off-scale")  # fmt: skip


def gene_predicted(
    result: GeneLevel, *, model: str | None = None, block: str | None = None, ax: Axes | None = None
) -> Axes:
    """Predicted against observed, gene by gene, by models that had not seen the gene.

    Parameters
    ----------
    result
        What :func:`geneml_bio.tl.regress_genes` returned.
    model, block
        What to draw; default: the best model of the independent block.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Grey: genes of the cross-validation; blue: held out. Within the band around the diagonal lie 95 % of the genes if
    the true effects are predicted without error, and only the noise of the table is left.
    """
    name = _regression(result).main_block if block is None else block
    chosen = result.best(name) if model is None else model
    made = result.predictions(chosen, name)
    ax = axes(ax, (4.4, 4.1))
    predicted, observed = made["predicted"].to_numpy(float), made["observed"].to_numpy(float)
    span = np.array([min(predicted.min(), observed.min()), max(predicted.max(), observed.max())])
    span += np.array([-0.04, 0.04]) * np.ptp(span)
    ceiling = result.table[result.table["model"] == CEILING]
    handles: list[Any] = []
    labels: list[str] = []
    if len(ceiling) and np.isfinite(mse := float(ceiling["mse"].iloc[0])):
        wide = 1.96 * np.sqrt(mse)
        handles.append(
            ax.fill_between(span, span - wide, span + wide, color=VERMILLION, alpha=0.12, linewidth=0, zorder=0)
        )
        labels.append("noise of the table (95 %)")
    ax.plot(span, span, color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    size = float(np.clip(12_000 / len(made), 2, 14))
    for which, color, words in (("cv", REST, "cross-validated"), ("test", BLUE, "held out")):
        mine = (made["set"] == which).to_numpy()
        if mine.any():
            handles.append(
                ax.scatter(predicted[mine], observed[mine], s=size, color=color, alpha=0.6, linewidths=0, rasterized=len(made) > 2000,
                           zorder=2, gid=which)
            )  # fmt: skip
            labels.append(f"{words} ({number(int(mine.sum()))} genes)")
    ax.set(xlim=span, ylim=span)
    legend(ax, handles, labels, loc="lower right", borderaxespad=0.2)
    row = result.table[(result.table["block"] == name) & (result.table["model"] == chosen)].iloc[0]
    score = interval(float(row["r2"]), float(row["low"]), float(row["high"]))
    target = plain(result.target)
    return finish(
        ax, xlabel=f"predicted {target}", ylabel=f"observed {target}", title=f"{model_name(chosen)}, {name}: R² {score}"
    )


def gene_shap(result: GeneLevel, *, n_predictors: int = 12, ax: Axes | None = None) -> Axes:
    """What the best model goes by: mean absolute SHAP value of each predictor, on genes held out.

    Parameters
    ----------
    result
        What :func:`geneml_bio.tl.regress_genes` returned.
    n_predictors
        How many to draw, the strongest first.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Red: more of it predicts more; blue: less; grey: neither.
    """
    what = _regression(result).explanation
    if what is None:
        raise InputError("Nothing was explained; gb.tl.regress_genes(..., explain=True) with a test_size does so.")
    top = what.per_predictor.head(n_predictors)
    ax = axes(ax, (4.6, 0.9 + 0.28 * len(top)))
    colors = {1: VERMILLION, -1: BLUE, 0: GREY}
    y = np.arange(len(top))
    ax.barh(y, top["shap"], height=0.66, color=[colors[int(sign)] for sign in top["direction"]], gid="shap")
    ax.set_yticks(y, distinct(top["predictor"], 34))
    ax.set_ylim(len(top) - 0.4, -0.6)
    ax.axvline(0, color=PALE, linewidth=0.8)
    handles = [ax.barh([np.nan], [0], color=colors[sign])[0] for sign in (1, -1)]
    legend(ax, handles, ["more of it, more", "more of it, less"], loc="lower right")
    ax.tick_params(axis="y", labelcolor=INK)
    title = f"{model_name(what.model)}, {what.block}: {len(what.values):,} genes held out"
    return finish(ax, xlabel=f"mean |SHAP| (unit of {plain(result.target)})", title=title)


def save_gene_figures(
    result: GeneLevel, folder: str | Path, *, formats: tuple[str, ...] = ("png", "pdf"), dpi: int = 300
) -> Path:
    """Save ``models``, ``predicted`` and, where a model was explained, ``shap``.

    Parameters
    ----------
    result
        What :func:`geneml_bio.tl.regress_genes` returned.
    folder
        Where to write; made if it is not there.
    formats, dpi
        File formats, as matplotlib knows them; resolution of those that are images.

    Returns
    -------
    The folder.
    """
    folder = Path(folder)
    rows = (
        0.9 + 0.36 * _regression(result).table.loc[result.table["block"].isin(list(result.blocks)), "model"].nunique()
    )
    wanted: list[tuple[str, Any, tuple[float, float]]] = [
        ("models", gene_models, (6.6, rows)),
        ("predicted", gene_predicted, (4.4, 4.1)),
    ]
    if result.explanation is not None:
        wanted.append(("shap", gene_shap, (4.8, 0.9 + 0.28 * min(12, len(result.explanation.per_predictor)))))
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
        for name, function, size in wanted:
            figure = Figure(figsize=size, layout="constrained")
            FigureCanvasAgg(figure)
            function(result, ax=figure.add_subplot())
            for kind in formats:
                figure.savefig(folder / f"{name}.{kind}", dpi=dpi)
    return folder
