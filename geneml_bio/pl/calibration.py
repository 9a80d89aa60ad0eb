"""Do predicted probabilities come true?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.calibration import calibration_curve
from ..core.errors import InputError, near
from ..core.schema import prob_column
from ..summary_parts import groups_of
from ._style import BLUE, GREY, PALE, PAPER, axes, colors, finish, interval, legend, model_name, points
from ._validation import Results, classification

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_PER_BIN = 8  # samples in a bin, at the least


def calibration(
    adata: AnnData,
    *,
    key: str = "classify",
    model: str | None = None,
    classes: object = None,
    test: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """How often a class occurred among samples that were given about the same probability of it.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify`.
    key
        Name of these results.
    model
        Model to draw; default: the best.
    classes
        For more than two classes: those to draw, each against the rest (default: all).
    test
        Draw the samples of the test set instead, which was held out of the cross-validation.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Each sample counts once, with its probability averaged over repeats; a dot is a bin of about equally many samples, the bar
    (the band, for two classes) its 95 % interval by Wilson, at the number of independent samples where donors were named (``groups=``; none
    of a bin of one donor). On the dashed line, what is said comes true: below it, the model promises
    too much. Bars at the bottom: how many samples were given which probability. Slope and intercept are those of the metrics: a slope
    below 1 means probabilities too close to 0 and 1, an intercept above 0 probabilities too low on the whole.
    """
    found = classification(adata, key, "A calibration curve", test)
    chosen = found.pick(model)
    shown = _wanted(found, classes)
    ax = axes(ax, (4.3, 4.1))
    ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, gid="perfect")
    handles, labels = [], []
    mine = found.predictions[found.predictions["model"].astype(str) == chosen]
    by = mine.groupby(mine["sample"].astype(str), sort=False)
    first = by["observed"].first().astype(str)
    observed, groups = first.to_numpy(), groups_of(adata, found.params, first.index)
    everything = []
    for name, color in zip(shown, _palette(found, shown), strict=True):
        prob = by[prob_column(name)].mean().to_numpy(float)
        everything.append(prob)
        line = _curve(ax, observed == name, np.clip(prob, 0.0, 1.0), groups, color, band=len(shown) == 1)
        handles.append(line)
        labels.append(found.named()[name])
    _counts(ax, everything, observed, found, shown)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    if len(shown) > 1:
        legend(ax, handles, labels, loc="upper left", borderaxespad=0.2)
    what = f"of {found.named()[shown[0]]}" if len(shown) == 1 else "of the class"
    title = f"{model_name(chosen)}{', ' * found.test}{found.where}{_recalibration(found, chosen)}"
    return finish(
        ax, xlabel=f"predicted probability {what}", ylabel="share of samples that are of the class", title=title
    )


def _wanted(found: Results, classes: object) -> list[str]:
    if len(found.classes) == 2:
        return [found.classes[1]]
    names = list(found.classes) if classes is None else [classes] if isinstance(classes, str) else list(classes)  # type: ignore[call-overload]
    unknown = [name for name in names if name not in found.classes]
    if unknown or not names:
        raise InputError(
            f"classes: no class {unknown[0]!r}.{near(unknown[0], found.classes)}" if unknown else "classes is empty."
        )
    return names


def _palette(found: Results, shown: list[str]) -> list[str]:
    palette = colors(len(found.classes))
    return [palette[found.classes.index(name)] for name in shown]


def _curve(
    ax: Axes, positive: np.ndarray, prob: np.ndarray, groups: np.ndarray | None, color: str, *, band: bool
) -> Any:
    table = calibration_curve(positive, prob, n_bins=int(np.clip(len(prob) // _PER_BIN, 2, 10)), groups=groups)
    x, y = table["mean_predicted"].to_numpy(), table["observed"].to_numpy()
    low, high = table["low"].to_numpy(), table["high"].to_numpy()
    if band:
        ax.fill_between(x, low, high, color=color, alpha=0.16, linewidth=0, zorder=2, gid="band")
        ax.vlines(x, low, high, color=color, linewidth=1.0, alpha=0.7, zorder=3, gid="interval")
    (line,) = ax.plot(x, y, color=color, linewidth=1.5, marker="o", markersize=4.5, zorder=4, gid="curve",
                      markeredgecolor=PAPER, markeredgewidth=0.6)  # fmt: skip
    return line


def _counts(ax: Axes, probs: list[np.ndarray], observed: np.ndarray, found: Results, shown: list[str]) -> None:
    """A histogram of the probabilities in the lowest eighth; of two classes, the class itself in its colour."""
    part = ax.inset_axes((0.0, 0.0, 1.0, 0.13), sharex=ax)
    part.set_facecolor("none")
    edges = np.linspace(0, 1, 21)
    if len(shown) == 1:
        own = colors(len(found.classes))[found.classes.index(shown[0])]
        other = BLUE if len(found.classes) == 2 else GREY
        stacks = [(probs[0][observed != shown[0]], other), (probs[0][observed == shown[0]], own)]
    else:
        stacks = [(np.concatenate(probs), PALE)]
    below = np.zeros(20)
    for values, color in stacks:
        heights, _ = np.histogram(np.clip(values, 0, 1), edges)
        look: dict[str, Any] = {"width": 0.05, "align": "edge", "alpha": 0.55, "linewidth": 0, "gid": "counts"}
        part.bar(edges[:-1], heights, bottom=below, color=color, **look)
        below = below + heights
    part.set_ylim(0, max(below.max(), 1))
    part.axis("off")
    part.set_zorder(0.5)  # behind the curve
    if len(shown) == 1:
        rest = found.classes[0] if len(found.classes) == 2 else "others"
        named = found.named(14)
        for i, (word, color) in enumerate(((shown[0], own), (rest, other))):
            look = {"ha": "right", "fontsize": points(0.7), "color": color}
            ax.annotate(named.get(word, word), (0.98, 0.145 + 0.05 * i), xycoords="axes fraction", **look)


def _recalibration(found: Results, model: str) -> str:
    said = []
    for metric, word in (("calibration_slope", "slope"), ("calibration_intercept", "intercept")):
        row = found.score(model, metric)
        if row is not None and np.isfinite(row["value"]):
            said.append(f"{word} {interval(row['value'], row['low'], row['high'])}")
    return "".join(f"\n{words}" for words in said)  # on one line, two intervals do not fit
