"""Figures of out-of-fold predictions: ROC, precision-recall, confusion, predicted against observed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from sklearn.metrics import precision_recall_curve, roc_curve

from ..core.errors import InputError, near
from ._bands import band
from ._style import (
    BLUE,
    GREY,
    PALE,
    PAPER,
    RATE,
    axes,
    colors,
    drawn_words,
    finish,
    interval,
    legend,
    metric_name,
    model_name,
    model_names,
    number,
    plain,
    points,
    readable_on,
    subsample,
)
from ._validation import Results, classification, results, scores_of

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_VERTICES = 4000  # of a line
_DRAWN = 20_000  # samples drawn, at most
Curve = tuple[np.ndarray, np.ndarray]


# -- curves ------------------------------------------------------------------------------------------------------------


def _roc(positive: np.ndarray, score: np.ndarray) -> Curve:
    false_rate, true_rate, _ = roc_curve(positive, score, drop_intermediate=False)
    return false_rate, true_rate


def _pr(positive: np.ndarray, score: np.ndarray) -> Curve:
    """Precision at each recall, as steps: average precision does not interpolate."""
    precision, recall, _ = precision_recall_curve(positive, score)
    reached, first = np.unique(
        recall[::-1], return_index=True
    )  # later thresholds only lose precision at the same recall
    return reached, precision[::-1][first]


def mean_roc(curves: list[Curve]) -> Curve:
    """The mean of piecewise linear curves at every false positive rate, so that its area is the mean of the areas."""
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    low, high = [], []
    for x, y in curves:
        first, last = np.searchsorted(x, grid, side="left"), np.searchsorted(x, grid, side="right") - 1
        known = np.isin(grid, x)
        between = np.interp(grid, x, y)
        low.append(np.where(known, y[np.minimum(first, len(y) - 1)], between))
        high.append(np.where(known, y[last], between))
    return np.repeat(grid, 2), np.column_stack([np.mean(low, axis=0), np.mean(high, axis=0)]).ravel()


def mean_pr(curves: list[Curve]) -> Curve:
    """The mean precision at every recall, of curves that are steps; its area is the mean of the average precisions."""
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    # the step that ends at recall r holds from the recall before it up to r
    heights = [y[np.searchsorted(x, grid[1:], side="left")] for x, y in curves]
    mean = np.mean(heights, axis=0)
    return grid, np.r_[mean[:1], mean]


def _wanted(found: Results, model: str | None, classes: object) -> list[tuple[str, str, str]]:
    """Curves to draw, as (model, class, words): every model for two classes, every class of one model for more."""
    there = [name for name in found.classes if (found.predictions["observed"].astype(str) == name).any()]
    if len(there) < 2:
        raise InputError(f"All of these samples are of class {there[0]!r}: there is no curve to draw.")
    if len(found.classes) == 2:
        models = found.models if model is None else [found.pick(model)]
        return [(name, found.classes[1], word) for name, word in zip(models, model_names(models), strict=True)]
    chosen = found.pick(model)
    names = there if classes is None else [classes] if isinstance(classes, str) else list(classes)  # type: ignore[call-overload]
    unknown = [name for name in names if name not in found.classes]
    if unknown:
        raise InputError(f"classes: no class {unknown[0]!r}.{near(unknown[0], found.classes)}")
    return [(chosen, name, found.named(26)[name]) for name in names]


def _thin(curve: Curve) -> Curve:
    """A curve of very many points, as far as it can be seen."""
    x, y = curve
    if len(x) <= _VERTICES:
        return curve
    at = np.unique(np.linspace(0, len(x) - 1, _VERTICES).astype(int))
    return x[at], y[at]


def _curves(ax: Axes, adata: AnnData, found: Results, wanted: list[tuple[str, str, str]], kind: str) -> None:
    one, mean = (_roc, mean_roc) if kind == "roc" else (_pr, mean_pr)
    metric = "roc_auc" if kind == "roc" else "pr_auc"
    style = "default" if kind == "roc" else "steps-pre"
    handles, labels = [], []
    for (model, name, words), color in zip(wanted, colors(len(wanted)), strict=True):
        curves = [one(*scores_of(part, name)) for part in found.repeats(model)]
        alone = len(wanted) == 1 or (len(found.classes) == 2 and model == found.best)  # several bands hide each other
        shade = band(adata, found, model, name, kind) if alone else None
        if shade is not None:
            ax.fill_between(*shade, color=color, alpha=0.13, linewidth=0, zorder=1.5, gid=f"{kind}-band")
        for x, y in curves if len(curves) > 1 else []:
            x, y = _thin((x, y))
            ax.plot(x, y, color=color, linewidth=0.6, alpha=0.3, gid=f"{kind}-repeat", drawstyle=style)
        x, y = _thin(mean(curves))
        (line,) = ax.plot(
            x, y, color=color, linewidth=1.9, gid=f"{kind}-mean", solid_joinstyle="round", drawstyle=style
        )
        row = found.score(model, metric)
        if len(found.classes) == 2 and row is not None:
            value = interval(row["value"], row["low"], row["high"])
        else:
            value = f"{np.mean([_area(x, y, kind) for x, y in curves]):.2f}"
        handles.append(line)
        labels.append(f"{words}  {value}")
    where: dict[str, Any] = {"loc": "lower right" if kind == "roc" else "lower left", "borderaxespad": 0.2}
    if beside_curves(len(wanted), len(found.classes)):
        where = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    heading = "AUC" if kind == "roc" else "average precision"
    heading += " [95 % interval]" if len(found.classes) == 2 else ""
    legend(ax, handles, labels, title=heading, alignment="left", **where)


def beside_curves(n_curves: int, n_classes: int) -> bool:
    """Whether the legend stands beside the curves, which would lie under it: of more than three, and of several classes."""
    return n_curves > 3 or (n_classes > 2 and n_curves > 1)


def _room_for(found: Results, wanted: list[tuple[str, str, str]]) -> tuple[float, float]:
    """Inches, with room for a legend beside the curves; it has intervals where there are two classes."""
    if not beside_curves(len(wanted), len(found.classes)):
        return 4.2, 3.9
    return (7.2 if len(found.classes) == 2 else 6.2), 3.9


def _area(x: np.ndarray, y: np.ndarray, kind: str) -> float:
    heights = (y[1:] + y[:-1]) / 2 if kind == "roc" else y[1:]
    return float((np.diff(x) * heights).sum())


def _heading(found: Results, wanted: list[tuple[str, str, str]]) -> str:
    where = f"\n{found.where}" if found.test else ""
    if len(found.classes) == 2:
        reference, positive = found.named().values()
        return f"{positive} against {reference}{where}"
    row = found.score(wanted[0][0], "roc_auc")
    tail = "" if row is None else f"\nmacro AUC {interval(row['value'], row['low'], row['high'])}"
    return f"{model_name(wanted[0][0])}\neach class against the rest{tail}{where.replace(chr(10), ', ')}"


def roc(
    adata: AnnData,
    *,
    key: str = "classify",
    model: str | None = None,
    classes: object = None,
    test: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """ROC curves of held-out samples: a thin line for each repeat, a thick one for their mean, and its band.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify`.
    key
        Name of these results.
    model
        Model to draw. Default: all of them for two classes, the best for more.
    classes
        For more than two classes: those to draw, each against the rest (default: all).
    test
        Draw the samples of the test set instead, which was held out of the cross-validation.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. The area under a thick line is the mean of the areas of its thin lines, which is the AUC reported. The band
    is the pointwise 95 % interval of the mean curve, from the resampling that gives the interval of the AUC (samples, or whole groups;
    widened for the training sets); of several models the best has one, of several classes none.
    """
    found = classification(adata, key, "A ROC curve", test)
    wanted = _wanted(found, model, classes)
    ax = axes(ax, _room_for(found, wanted))
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, gid="chance")
    _curves(ax, adata, found, wanted, "roc")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return finish(ax, xlabel="false positive rate", ylabel="true positive rate", title=_heading(found, wanted))


def pr(
    adata: AnnData,
    *,
    key: str = "classify",
    model: str | None = None,
    classes: object = None,
    test: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Precision-recall curves of held-out samples, drawn as :func:`roc` draws its own.

    The dashed line is the share of the class among the samples: the precision of a guess.
    """
    found = classification(adata, key, "A precision-recall curve", test)
    wanted = _wanted(found, model, classes)
    ax = axes(ax, _room_for(found, wanted))
    for (name, cls, _), color in zip(wanted, colors(len(wanted)), strict=True):
        share = float(scores_of(found.repeats(name)[0], cls)[0].mean())
        ax.axhline(
            share,
            color=GREY if len(found.classes) == 2 else color,
            linewidth=0.9,
            linestyle=(0, (4, 3)),
            zorder=1,
            gid="chance",
        )
    _curves(ax, adata, found, wanted, "pr")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.04), aspect="equal")
    title = (
        _heading(found, wanted)
        if len(found.classes) == 2
        else f"{model_name(wanted[0][0])}\neach class against the rest{', ' * found.test}{found.where}"
    )
    return finish(ax, xlabel="recall (share of the class that is found)", ylabel="precision", title=title)


# -- confusion ---------------------------------------------------------------------------------------------------------


def confusion_counts(found: Results, model: str) -> pd.DataFrame:
    """Samples by observed (rows) and predicted (columns) class, averaged over repeats."""
    names = list(found.classes)
    tables = [
        pd.crosstab(part["observed"].astype(str), part["predicted"].astype(str)).reindex(
            index=names, columns=names, fill_value=0
        )
        for part in found.repeats(model)
    ]
    return sum(tables[1:], tables[0]) / len(tables)


def _cells(ax: Axes, counts: np.ndarray, rates: np.ndarray) -> None:
    """Counts and row rates as text, as far as they can be read."""
    k = len(counts)
    size = points(float(np.clip(1.1 - 0.05 * k, 0.55, 0.95)))
    for (i, j), rate in np.ndenumerate(rates) if k <= 15 else ():
        count = float(counts[i, j])
        text = f"{number(count)}\n{rate:.0%}" if k <= 8 else number(count) if count else ""
        color = readable_on(RATE(float(rate)))
        ax.text(j, i, text, ha="center", va="center", fontsize=size, color=color, linespacing=1.25, gid="cell")


def confusion(
    adata: AnnData, *, key: str = "classify", model: str | None = None, test: bool = False, ax: Axes | None = None
) -> Axes:
    """Observed against predicted class of held-out samples.

    Each cell holds the number of samples, averaged over repeats, and its share of the row; colour is the share.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify`.
    key
        Name of these results.
    model
        Model to draw; default: the one with the best balanced accuracy in cross-validation.
    test
        Draw the samples of the test set instead, which was held out of the cross-validation.
    ax
        Axes to draw into; a new figure by default.
    """
    found = classification(adata, key, "A confusion matrix", test)
    chosen = found.pick(model)
    counts = confusion_counts(found, chosen)
    sizes = counts.sum(axis=1)
    rates = counts.div(sizes.where(sizes > 0), axis=0).fillna(0.0)
    k = len(counts)
    side = float(np.clip(1.6 + 0.62 * k, 2.9, 7.5))
    ax = axes(ax, (side + 0.7, side))
    ax.imshow(rates.to_numpy(), cmap=RATE, vmin=0, vmax=1, aspect="equal", gid="rates")
    _cells(ax, counts.to_numpy(float), rates.to_numpy(float))
    width = 18 if k <= 4 else 14
    names = list(found.named(width).values())
    level = k <= 3 and max(map(len, names)) * k <= 36  # letters that stand side by side
    turn: dict[str, Any] = {} if level else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(range(k), names, **turn)
    ax.set_yticks(
        range(k), [f"{name}\nn = {number(n)}" for name, n in zip(names, sizes, strict=True)] if k <= 8 else names
    )
    row = found.score(chosen, "balanced_accuracy")
    tail = "" if row is None else f"\nbalanced accuracy {interval(row['value'], row['low'], row['high'])}"
    where = f", {found.where}" if found.test else ""
    finish(ax, xlabel="predicted", ylabel="observed", title=f"{model_name(chosen)}{where}{tail}")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(-0.5, k), minor=True)
    ax.set_yticks(np.arange(-0.5, k), minor=True)
    ax.grid(which="minor", color=PAPER, linewidth=1.5)
    ax.tick_params(which="minor", length=0)
    return ax


# -- regression --------------------------------------------------------------------------------------------------------


def predicted(
    adata: AnnData, *, key: str = "regress", model: str | None = None, test: bool = False, ax: Axes | None = None
) -> Axes:
    """Predicted against observed value of held-out samples (mean over repeats), with the line of equality.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.regress`.
    key
        Name of these results.
    model
        Model to draw; default: the one with the best R² in cross-validation.
    test
        Draw the samples of the test set instead, which was held out of the cross-validation.
    ax
        Axes to draw into; a new figure by default.
    """
    found = results(adata, key, test)
    if found.classes:
        raise InputError(
            f"The results under {key!r} are classes, not numbers. Use gb.pl.confusion(adata, key={key!r})."
        )
    chosen = found.pick(model)
    mine = found.predictions[found.predictions["model"].astype(str) == chosen]
    by = mine.groupby("sample", observed=True, sort=False)
    x, mean = by["observed"].first().to_numpy(float), by["predicted"].mean().to_numpy(float)
    low, high = by["predicted"].min().to_numpy(float), by["predicted"].max().to_numpy(float)
    ax = axes(ax, (4.2, 3.9))
    some = subsample(len(x), _DRAWN)
    drawn = drawn_words(len(some), len(x))
    x, mean, low, high = x[some], mean[some], low[some], high[some]
    both = np.concatenate([x, mean])
    span = [float(both.min()), float(both.max())]
    ax.plot(span, span, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, gid="equality")
    ax.vlines(x, low, high, color=PALE, linewidth=0.8, zorder=1, rasterized=len(x) > 2000)
    ax.scatter(
        x,
        mean,
        s=max(8.0, min(22.0, 4000 / max(len(x), 1))),
        c=BLUE,
        alpha=0.8,
        linewidths=0,
        zorder=2,
        gid="samples",
        rasterized=len(x) > 2000,
    )
    row = found.score(chosen, "r2")
    tail = "" if row is None else f": {metric_name('r2')} {interval(row['value'], row['low'], row['high'])}"
    target = plain(found.params.get("target", "target"))
    title = f"{model_name(chosen)}{', ' * found.test}{found.where}{tail}{drawn}"
    finish(ax, xlabel=f"observed {target}", ylabel=f"predicted {target} (held out)", title=title)
    if len(found.repeats(chosen)) > 1:
        handles = [Line2D([], [], color=PALE, linewidth=1.5)]
        legend(ax, handles, ["range over repeats"], loc="upper left")
    return ax
