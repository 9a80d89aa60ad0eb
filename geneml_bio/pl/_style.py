"""Colours, sizes and text of the figures. Nothing global is changed: every artist gets its own style."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb

from ..core.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

# Okabe and Ito's palette: told apart with every common kind of colour vision
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW = "#E69F00", "#56B4E9", "#F0E442"
GREY, PALE = "#9A9A9A", "#D0D0D0"
REST = "#B4B4B4"  # the many points that are not the point, on white and on black
# one shade each for text, secondary text and paper, so that the report can swap them in dark mode
INK, SOFT, PAPER = "#222222", "#5F5F5F", "#FEFEFE"
SMALLEST = 6.0  # points: what can be read in print
CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, "#7A5195", "#8C6D31")

LOW_HIGH = LinearSegmentedColormap.from_list("geneml_low_high", [BLUE, "#B9B9B9", VERMILLION])
VALUE = LinearSegmentedColormap.from_list("geneml_value", ["#F1E9C9", "#009E73", "#00342A"])
RATE = LinearSegmentedColormap.from_list("geneml_rate", ["#F5F9FC", "#9CC7E2", BLUE, "#003A5D"])

METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "mcc": "Matthews correlation (MCC)",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "pr_auc": "average precision (PR AUC)",
    "brier": "Brier score (lower is better)",
    "log_loss": "log loss (lower is better)",
    "r2": "R²",
    "rmse": "RMSE (lower is better)",
    "mae": "mean absolute error (lower is better)",
    "mse": "mean squared error (lower is better)",
    "spearman": "Spearman correlation",
    "calibration_slope": "calibration slope (1 is best)",
    "calibration_intercept": "calibration intercept (0 is best)",
}
MODELS = {
    "linear": "linear regression",
    "ridge": "ridge regression",
    "lasso": "LASSO",
    "elastic_net": "elastic net",
    "logistic": "logistic regression",
    "decision_tree": "decision tree",
    "random_forest": "random forest",
    "gradient_boosting": "gradient boosting",
    "svm": "support vector machine",
    "knn": "nearest neighbours",
    "xgboost": "XGBoost",
    "mlp": "neural network",
    "best of k (corrected)": "best of all (corrected)",
    "consensus": "consensus of the models",
}


# -- axes --------------------------------------------------------------------------------------------------------------


def axes(ax: Axes | None, size: tuple[float, float] = (4.4, 3.6)) -> Axes:
    """The Axes to draw into: the caller's, or one on a new pyplot figure."""
    from matplotlib.axes import Axes as Known

    if ax is not None and not isinstance(ax, Known):
        raise InputError(
            f"ax must be one Matplotlib Axes, got {type(ax).__name__}; of an array of them, take one: axes[0]."
        )
    if ax is None:
        from matplotlib import pyplot as plt

        _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def points(scale: float) -> float:
    """Font size as a share of the user's ``font.size``; never below 6 pt, which journals ask for."""
    return max(SMALLEST, float(mpl.rcParams["font.size"]) * scale)


def slot_width(ax: Axes) -> float:
    """Width in inches of the place that the Axes has in its figure, before any layout."""
    spec = ax.get_subplotspec()
    if spec is None:
        share = ax.get_position().width
    else:
        whole = spec.get_topmost_subplotspec()
        share = len(whole.colspan) / whole.get_gridspec().ncols
    return float(share * ax.figure.bbox.width / ax.figure.dpi)


def narrow(ax: Axes) -> bool:
    """Whether the place is about a column of a journal wide, so that legends have to stand above or below."""
    return slot_width(ax) < 4.2 * float(mpl.rcParams["font.size"]) / 8


def wrapped(ax: Axes, text: str, *, scale: float = 0.95, share: float = 0.72) -> str:
    """Break lines so that they end within ``share`` of the place of the Axes."""
    n = max(18, int(share * slot_width(ax) * 72 / (0.53 * points(scale))))
    cut = textwrap.TextWrapper(n, break_long_words=False, break_on_hyphens=False)
    return "\n".join(part for line in text.split("\n") for part in cut.wrap(line) or [""])


def _room(ax: Axes) -> float:
    """Share of the place that is left beside the names at the left, where a title begins."""
    names = [text.get_text() for text in ax.get_yticklabels()]
    longest = max((len(line) for name in names for line in name.split("\n")), default=0)
    return float(np.clip(0.94 - longest * 0.53 * points(0.8) / 72 / slot_width(ax), 0.35, 0.74))


def finish(ax: Axes, *, xlabel: str = "", ylabel: str = "", title: str = "", pad: float = 6) -> Axes:
    """Labels, title and a calm frame."""
    ax.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set(color=SOFT, linewidth=0.8)
    ax.tick_params(labelsize=points(0.8), color=SOFT, labelcolor=INK, width=0.8, length=3)
    ax.set_xlabel(wrapped(ax, xlabel, scale=0.9, share=0.85), fontsize=points(0.9), color=INK)
    ax.set_ylabel(ylabel, fontsize=points(0.9), color=INK)
    if title:
        ax.set_title(wrapped(ax, title, share=_room(ax)), fontsize=points(0.95), color=INK, loc="left", pad=pad)
    return ax


def legend(ax: Axes, handles: Sequence[Any], labels: Iterable[str], **options: Any) -> None:
    """A legend; with many entries it stands beside the Axes."""
    names = list(labels)
    if len(names) > 6:
        options |= {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}
    look = {"frameon": True, "fancybox": False, "edgecolor": "none", "facecolor": PAPER, "framealpha": 0.8}
    text = {"fontsize": points(0.8), "labelcolor": INK, "handletextpad": 0.5}
    everything: dict[str, Any] = look | text | options
    box = ax.legend(list(handles), names, **everything)
    if box.get_title().get_text():
        box.get_title().set(fontsize=points(0.8), color=INK)


def legend_outside(ax: Axes, handles: Sequence[Any], labels: Iterable[str], **options: Any) -> None:
    """A legend beside the Axes; above it, in two columns, where the figure is narrow."""
    if narrow(ax):
        where: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.02, 1.0), "ncols": 2, "borderpad": 0.1}
        look = {"frameon": False, "fontsize": points(0.8), "labelcolor": INK, "handletextpad": 0.2}
        box = ax.legend(list(handles), list(labels), **(where | {"columnspacing": 1.0} | look | options))
        box.get_title().set(fontsize=points(0.8), color=INK)
        if title := ax.get_title(loc="left"):  # it makes room
            rows = -(-len(list(handles)) // 2) + bool(box.get_title().get_text())
            ax.set_title(title, loc="left", fontsize=points(0.95), color=INK, pad=6 + 1.55 * points(0.8) * rows)
    else:
        legend(ax, handles, labels, **({"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} | options))


def beside(ax: Axes, width: float = 0.4) -> Axes:
    """An Axes on the right that shares the slot and the rows of ``ax`` (``width``: relative to ``ax``)."""
    spec = ax.get_subplotspec()
    if spec is None:  # placed by hand: there is no slot to share
        return ax.inset_axes((1.04, 0.0, width, 1.0), sharey=ax)
    parts = spec.subgridspec(1, 2, width_ratios=[1.0, width], wspace=0.06)
    ax.set_subplotspec(parts[0, 0])
    return ax.get_figure().add_subplot(parts[0, 1], sharey=ax)  # type: ignore[union-attr]


# -- text --------------------------------------------------------------------------------------------------------------


def _printable(name: object) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in str(name)).split()) or "(no name)"


def shorten(name: object, width: int = 26) -> str:
    """A name cut in its middle, where long probe names differ least."""
    text = _printable(name)
    if len(text) <= width:
        return text
    head = (width - 1) * 3 // 5
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _literal(text: str) -> str:
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def plain(name: object, width: int = 26) -> str:
    """A name as matplotlib will show it letter by letter: no mathtext, and not taken for a hidden legend entry."""
    return _literal(shorten(name, width))


def effect_axis(adata: AnnData, contrast: str, values: np.ndarray) -> tuple[float, str]:
    """How far an axis of logFC reaches on either side, and its label; of a number it is a slope, as small as the number's unit."""
    name = contrast.strip("`")
    largest = float(np.abs(values).max(initial=0.0))
    if name in adata.obs and pd.api.types.is_numeric_dtype(adata.obs[name]):
        return largest or 1.0, f"log fold change by one unit of {plain(name)} (logFC)"
    return max(largest, 1.0), "log fold change (logFC)"


def _shared(text: str, others: Sequence[str]) -> int:
    """How many letters all begin with."""
    return next(
        (i for i, letters in enumerate(zip(text, *others, strict=False)) if len(set(letters)) > 1),
        min(map(len, (text, *others))),
    )


def _core(text: str, others: Sequence[str], width: int) -> str:
    """A name cut twice: what it begins and ends with, and between them what tells it from ``others``."""
    lead = _shared(text, others)
    tail = _shared(text[lead:][::-1], [other[lead:][::-1] for other in others])
    core = shorten(text[max(0, lead - 2) : len(text) - tail + 2], max(5, width // 2))
    room = width - len(core) - 2
    head = max(1, room * 3 // 5)
    return f"{text[:head]}…{core}…{text[len(text) - max(1, room - head) :]}"


def distinct(names: Iterable[object], width: int = 26) -> list[str]:
    """Names as :func:`plain` writes them, of which two that differ stay different.

    A name that is too long loses its middle; where that leaves two names alike, what distinguishes them is put there; where even
    that is not enough, they are numbered.
    """
    given = [str(name) for name in names]
    full = {name: _printable(name) for name in given}
    short = {name: shorten(name, width) for name in full}
    for text in [text for text, n in Counter(short.values()).items() if n > 1]:
        alike = [name for name in full if short[name] == text]
        for name in alike if len({full[name] for name in alike}) == len(alike) else ():
            short[name] = _core(full[name], [full[other] for other in alike if other != name], width)
    taken: set[str] = set()
    for name, text in short.items():
        n = 2
        while short[name] in taken:
            short[name] = f"{shorten(text, width - 3 - len(str(n)))} ({n})"
            n += 1
        taken.add(short[name])
    return [_literal(short[name]) for name in given]


def model_name(name: str, width: int = 30) -> str:
    """A model in words."""
    return plain(MODELS.get(name, name), width)


def model_names(names: Iterable[str], width: int = 30) -> list[str]:
    """Models in words, different where they are."""
    return distinct((MODELS.get(name, name) for name in names), width)


def unit_words(about: Mapping[str, Any]) -> str:
    """The unit of SHAP values in words."""
    unit = str(about.get("unit", ""))
    return "share of all SHAP" if unit == "share" else plain(unit, 24)


def metric_name(name: str) -> str:
    """A metric in words."""
    return METRICS.get(name, plain(name))


def symbol_column(adata: AnnData, gene_symbols: str | None = None) -> str | None:
    """The ``.var`` column of gene symbols: the one asked for, or one with a usual name."""
    from ..bridge import annotation

    return annotation.symbol_column(adata.var.columns, gene_symbols)


def gene_names(adata: AnnData, genes: Iterable[object], gene_symbols: str | None = None, width: int = 26) -> list[str]:
    """How genes are written in a figure: the symbol, with the id where several genes share it; else the id."""
    column = symbol_column(adata, gene_symbols)
    ids = [str(gene) for gene in genes]
    if column is None:
        return distinct(ids, width)
    known = [None if pd.isna(v) or not str(v).strip() else str(v) for v in adata.var[column]]
    symbols = pd.Series(known, index=adata.var_names.astype(str), dtype=object)
    shared = set(symbols[symbols.duplicated(keep=False)].dropna())
    out = []
    for gene in ids:
        symbol = symbols.get(gene)
        out.append(gene if symbol is None else f"{symbol} ({gene})" if symbol in shared else symbol)
    return distinct(out, width)


def number(value: float) -> str:
    """A count or a share of counts: ``12``, ``12.4``."""
    return f"{value:,.0f}" if abs(value - round(value)) < 0.05 else f"{value:,.1f}"


def fixed(value: float) -> str:
    """Two decimals; a dash for what is not defined."""
    return f"{value:z.2f}" if np.isfinite(value) else "–"


def p_text(p: float) -> str:
    """A p-value as text."""
    return f"p = {p:.1e}" if p < 0.001 else f"p = {p:.3f}".rstrip("0").rstrip(".")


def interval(value: float, low: float, high: float) -> str:
    """``0.93 [0.88, 0.97]``; a dash for what is not defined."""
    if not np.isfinite(value):
        return "–"
    return f"{value:z.2f} [{low:z.2f}, {high:z.2f}]" if np.isfinite([low, high]).all() else f"{value:z.2f}"


# -- colours -----------------------------------------------------------------------------------------------------------


def colors(n: int) -> list[str]:
    """``n`` colours; past the palette they repeat darker, so that neighbours still differ."""
    shades = []
    for i in range(n):
        fade = 0.62 ** (i // len(CYCLE))
        r, g, b = to_rgb(CYCLE[i % len(CYCLE)])
        shades.append(to_hex((r * fade, g * fade, b * fade)))
    return shades


def readable_on(color: Any) -> str:
    """Black or white, whichever can be read on ``color``."""
    r, g, b = to_rgb(color)
    return "#FFFFFF" if 0.299 * r + 0.587 * g + 0.114 * b < 0.55 else "#111111"


def point_size(n: int) -> float:
    """Marker area for ``n`` points: smaller where they are many (scanpy scales its own in the same way)."""
    return float(np.clip(16_000 / max(n, 1), 4, 22))


# -- many samples ------------------------------------------------------------------------------------------------------


def subsample(n: int, limit: int) -> np.ndarray:
    """Positions of the samples to draw: all, or ``limit`` of them at random (the same each time), in order."""
    if n <= limit:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, limit, replace=False))


def drawn_words(shown: int, n: int) -> str:
    """For a title: that not all samples are drawn; nothing where they are."""
    return "" if shown >= n else f" ({shown:,} of {n:,} drawn)"
