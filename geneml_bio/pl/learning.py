"""Would more samples help?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from .. import get
from ..core.errors import InputError, near
from ._style import GREY, PALE, axes, colors, finish, legend_outside, metric_name, model_names
from ._validation import results

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_BANDS = 2  # models, past which their bands hide each other
_CHANCE = {"roc_auc": 0.5, "mcc": 0.0, "r2": 0.0, "spearman": 0.0}


def learning_curve(
    adata: AnnData,
    *,
    key: str = "classify",
    metric: str | None = None,
    model: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Held-out score by the number of samples that the models learned from.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.learning_curve`.
    key
        Name of the validation.
    metric
        Metric to draw; default: balanced accuracy, or R² for a regression.
    model
        Model to draw; default: all.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Thin lines are single repeats. With one or two models, bands are the 95 % intervals for new samples; with more, the best
    model alone has one. The dashed line is what chance gives. A curve that still rises at its end speaks for more samples.
    """
    table = get.learning_curve(adata, key=key)
    each = get.learning_curve(adata, key=key, repeats=True)
    found = results(adata, key)
    wanted = found.metric(metric)
    if wanted not in set(table["metric"]):
        raise InputError(
            f"metric={wanted!r} is not in the learning curve.{near(wanted, list(dict.fromkeys(table['metric'])))}"
        )
    there = list(dict.fromkeys(table["model"].astype(str)))
    if model is not None and model not in there:
        raise InputError(f"model={model!r} is not in the learning curve.{near(model, there)}")
    shown = there if model is None else [model]
    ax = axes(ax, (4.8, 3.5))
    palette = dict(zip(there, colors(len(there)), strict=True))
    handles: list[Any] = []
    for name in shown:
        part = table[(table["model"] == name) & (table["metric"] == wanted)].sort_values("n_train")
        if len(shown) <= _BANDS or name == found.best:
            ax.fill_between(
                part["n_train"],
                part["low"],
                part["high"],
                color=palette[name],
                alpha=0.13,
                linewidth=0,
                gid=f"band-{name}",
            )
        mine = each[(each["model"] == name) & (each["metric"] == wanted)]
        for _, one in mine.groupby("repeat"):
            one = one.sort_values("n_train")
            ax.plot(one["n_train"], one["value"], color=palette[name], linewidth=0.6, alpha=0.3, gid=f"repeat-{name}")
        look: dict[str, Any] = {"color": palette[name], "linewidth": 1.8, "marker": "o", "markersize": 4.5}
        handles.append(ax.plot(part["n_train"], part["value"], gid=f"mean-{name}", **look)[0])
    labels = model_names(shown)
    handles.append(Patch(color=PALE))
    labels.append("95 % interval")
    chance = 1 / len(found.classes) if wanted == "balanced_accuracy" and found.classes else _CHANCE.get(wanted)
    if chance is not None:
        ax.axhline(chance, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1, gid="chance")
        handles.append(Line2D([], [], color=GREY, linewidth=0.9, linestyle=(0, (4, 3))))
        labels.append("chance")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    finish(
        ax,
        xlabel="samples learned from (mean over folds)",
        ylabel=metric_name(wanted),
        title="learning curve, held-out samples",
    )
    legend_outside(ax, handles, labels)
    return ax
