"""The heatmap: samples by the genes that the models went by, with what they predicted above."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.patches import Patch
from scipy import sparse
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

from .. import get
from ..bridge import keys
from ..core.errors import ColumnNotFoundError, InputError, check_whole, near
from ._style import (
    BLUE,
    INK,
    PALE,
    SOFT,
    VALUE,
    VERMILLION,
    axes,
    colors,
    distinct,
    finish,
    gene_names,
    legend,
    model_name,
    plain,
    points,
    subsample,
)
from ._validation import Results, expression, results

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

CLIP = 2.5  # standard deviations
_STOPS = ((0.0, "#003A5D"), (0.16, BLUE), (0.5, "#F7F7F7"), (0.84, VERMILLION), (1.0, "#6E2C00"))
DIVERGING = LinearSegmentedColormap.from_list("geneml_diverging", list(_STOPS)).with_extremes(bad="#C9C9C9")
_NAMED = 50  # samples whose names still can be read
_COLUMNS = 1500  # samples that an image can tell apart
_ORDERED = 300  # genes whose leaves are ordered: the work grows with their cube


@dataclass(frozen=True, eq=False)
class Held:
    """Held-out predictions of one model, a row a sample: observed, predicted, and the score that orders them."""

    table: (
        pd.DataFrame
    )  # observed predicted score (probability of the positive class, or of the own class; or the value)
    model: str
    classes: tuple[str, ...]
    target: str


def heatmap(
    adata: AnnData,
    *,
    key: str = "classify",
    genes: Iterable[str] | None = None,
    n_genes: int = 30,
    model: str | None = None,
    layer: str | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Expression of the genes that the models went by, in all samples, with what was predicted for each sample.

    Columns are samples, by class and then by held-out probability; rows are genes, clustered by correlation (average linkage). Each
    gene is brought to mean 0 and standard deviation 1 over the samples shown; colours end at 2.5 standard deviations. Of more than 1,500
    samples a random part is drawn, and the figure says so.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.classify` or :func:`geneml_bio.tl.regress`.
    key
        Name of these results.
    genes
        Genes to draw. Default: those with the largest mean absolute SHAP where there are SHAP values, else those that most folds
        chose. Such genes were chosen with the samples that are drawn: that they tell the classes apart here shows how, not that they do.
    n_genes
        How many genes to draw where ``genes`` is not given.
    model
        Whose held-out predictions stand above; default: the best model's.
    layer
        Layer of the expression; default: what the models saw.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes of the expression. Its child Axes are the strips above (observed; held-out prediction; a mark for each sample that is
    misclassified) and the colour scale.
    """
    check_whole(1, n_genes=n_genes)
    found = results(adata, key)
    held = held_out_table(adata, key, found, found.pick(model))
    chosen, how = _genes(adata, key, genes, n_genes)
    order = _sample_order(held)
    n = len(order)
    order = order[subsample(n, _COLUMNS)]
    rows = adata.obs_names.astype(str).get_indexer(held.table.index[order])
    values = _expression(adata, found, layer, adata.var_names.get_indexer(pd.Index(chosen)), rows)
    z = _standardised(values)
    place = leaves(z)
    z, chosen = z[place], [chosen[i] for i in place]
    ax = axes(ax, (7.0, 1.9 + 0.17 * len(chosen)))
    shown = np.ma.masked_invalid(np.clip(z, -CLIP, CLIP))
    image = ax.imshow(
        shown, cmap=DIVERGING, vmin=-CLIP, vmax=CLIP, aspect="auto", interpolation="nearest", gid="expression"
    )
    table = held.table.iloc[order]
    frame(ax, gene_names(adata, chosen, gene_symbols, 22), table, held.classes)
    strips(ax, table, held)
    _scale(ax, image)
    _told(ax, how, len(rows), n, "class and held-out prediction" if found.classes else "the observed value")
    return ax


# -- what is drawn -----------------------------------------------------------------------------------------------------


def held_out_table(adata: AnnData, key: str, found: Results, model: str) -> Held:
    """Predictions of cross-validation (mean over repeats) and, where there is one, of the test set."""
    frames = [found.predictions]
    if "test_predictions" in adata.uns[key]:
        frames.append(get.predictions(adata, key=key, test=True))
    every = pd.concat([part[part["model"].astype(str) == model] for part in frames], ignore_index=True)
    every["sample"] = every["sample"].astype(str)
    every = every[every["sample"].isin(adata.obs_names.astype(str))]
    if every.empty:
        raise InputError(f"None of the samples that were predicted under {key!r} is in this object.")
    by = every.groupby("sample", sort=False, observed=True)
    if not found.classes:
        table = pd.DataFrame({"observed": by["observed"].first(), "predicted": by["predicted"].mean()}).astype(float)
        return Held(table.assign(score=table["predicted"]), model, (), plain(found.params.get("target", "value"), 16))
    mean = by[[f"prob_{name}" for name in found.classes]].mean().to_numpy(float)
    observed = by["observed"].first().astype(str)
    table = pd.DataFrame({"observed": observed, "predicted": np.asarray(found.classes)[mean.argmax(axis=1)]})
    own = pd.Index(found.classes).get_indexer(observed.to_numpy())
    table["score"] = mean[:, 1] if len(found.classes) == 2 else mean[np.arange(len(mean)), own]
    return Held(table, model, found.classes, "class")


def _sample_order(held: Held) -> np.ndarray:
    """By class and then by the score; by the observed value for a number."""
    table = held.table
    if not held.classes:
        return np.lexsort((table["predicted"], table["observed"]))
    return np.lexsort((table["score"], pd.Index(held.classes).get_indexer(table["observed"])))


def _genes(adata: AnnData, key: str, genes: Iterable[str] | None, n: int) -> tuple[list[str], str]:
    """The genes to draw, and how they were chosen, in words."""
    if genes is not None:
        wanted = [genes] if isinstance(genes, str) else [str(gene) for gene in genes]
        unknown = [gene for gene in wanted if gene not in adata.var_names]
        if unknown:
            raise ColumnNotFoundError(f"genes: no gene {unknown[0]!r} in the data.{near(unknown[0], adata.var_names)}")
        if not wanted:
            raise InputError("genes is empty; name at least one gene, or leave it out.")
        return list(dict.fromkeys(wanted)), ""
    same = "chosen with these samples; what they show here is no evidence of its own"
    if keys.shap(key) in adata.uns:
        table = get.shap(adata, key=key)
        used = table.index[table["shap"] > 0][:n]
        if len(used):
            return [str(gene) for gene in used], f"the {len(used)} genes of largest mean |SHAP|, {same}"
    screens = get.screens(adata, key=key)
    screens = screens[screens["feature"].astype(str).isin(adata.var_names)]
    if screens.empty:
        raise InputError(f"The results under {key!r} name no gene of this object. Name some: genes=[...].")
    size = screens.assign(feature=screens["feature"].astype(str), size=screens["statistic"].abs())
    size["rank"] = size.groupby(["repeat", "fold"], observed=True)["size"].rank(ascending=False)
    by = size.groupby("feature", observed=True)["rank"]
    ranked = pd.DataFrame({"n": by.size(), "rank": by.mean()}).sort_values(
        ["n", "rank"], ascending=[False, True], kind="stable"
    )
    top = [str(gene) for gene in ranked.index[:n]]
    if str(get.params(adata, key=key).get("screen", "")).startswith("external"):
        return top, f"{len(top)} genes of a list from other samples"
    return top, f"the {len(top)} genes that most folds chose, {same}"


def _expression(adata: AnnData, found: Results, layer: str | None, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Genes x samples."""
    layer = layer if layer is not None else found.params.get("layer")
    stored = expression(adata, layer)
    part = stored[:, columns][rows]
    return np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=float).T


def _standardised(values: np.ndarray) -> np.ndarray:
    """Each gene at mean 0 and standard deviation 1; a constant one at 0; what is missing stays so."""
    values = np.where(np.isfinite(values), values, np.nan)
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    centred = values - np.where(known, values, 0.0).sum(axis=1, keepdims=True) / count
    spread = np.sqrt(np.where(known, centred**2, 0.0).sum(axis=1, keepdims=True) / count)
    size = np.where(known, np.abs(values), 0.0).max(axis=1, keepdims=True, initial=0.0)
    return centred / np.where(spread > 1e-12 * np.maximum(size, 1e-300), spread, np.inf)


def leaves(z: np.ndarray) -> np.ndarray:
    """Rows in the order of a tree of their correlations."""
    if len(z) < 3:
        return np.arange(len(z))
    filled = np.nan_to_num(z)
    length = np.sqrt((filled**2).sum(axis=1))
    unit = filled / np.where(length > 0, length, 1.0)[:, None]
    distance = np.clip(1 - unit @ unit.T, 0, 2)
    np.fill_diagonal(distance, 0)
    condensed = squareform((distance + distance.T) / 2, checks=False)
    tree = hierarchy.linkage(condensed, method="average")
    if len(z) <= _ORDERED:
        tree = hierarchy.optimal_leaf_ordering(tree, condensed)
    return np.asarray(hierarchy.leaves_list(tree))


# -- how it is drawn ---------------------------------------------------------------------------------------------------


def frame(ax: Axes, names: list[str], table: pd.DataFrame, classes: tuple[str, ...], *, apart: bool = True) -> None:
    """Names of genes and samples; ``apart``: a white line between the classes."""
    n, k = len(table), len(names)
    finish(ax)
    ax.spines[:].set_visible(False)
    ax.set_yticks(range(k), names, fontsize=points(float(np.clip(0.85 - 0.003 * k, 0.5, 0.75))))
    if n <= _NAMED:
        samples = distinct(table.index, 14)
        ax.set_xticks(range(n), samples, rotation=90, fontsize=points(0.6 if n > 25 else 0.7))
    else:
        ax.set_xticks([])
    ax.tick_params(length=0, pad=2)
    observed = table["observed"].to_numpy()
    for end in np.flatnonzero(observed[1:] != observed[:-1]) if classes and apart else ():
        ax.axvline(end + 0.5, color="#FFFFFF", linewidth=1.6, gid="class-end")


def strips(ax: Axes, table: pd.DataFrame, held: Held, *, legend_left: float = 1.01, title: str | None = None) -> float:
    """The rows above: observed, predicted, misclassified; returns where they end (share of the height of the Axes)."""
    high = 0.16 / max(_height(ax), 1.0)
    observed, predicted, handles, labels = _class_strips(table, held) if held.classes else _number_strips(table)
    above = 1.0 + 0.25 * high
    missed = (table["observed"] != table["predicted"]).to_numpy() if held.classes else None
    for name, strip in (("predicted, held out", predicted), ("observed", observed)):
        part = ax.inset_axes((0.0, above, 1.0, high), sharex=ax)
        part.imshow(strip[None], aspect="auto", interpolation="nearest", gid=f"strip-{name.split(',')[0]}")
        _calm(part, name)
        above += 1.2 * high
    if missed is not None and missed.any():
        part = ax.inset_axes((0.0, above, 1.0, 0.7 * high), sharex=ax)
        part.set(ylim=(-1, 1), facecolor="none")
        part.plot(np.flatnonzero(missed), np.zeros(int(missed.sum())), linestyle="", color=INK, gid="missed",
                  marker="v", markersize=float(np.clip(220 / len(missed), 2.0, 4.5)), clip_on=False)  # fmt: skip
        _calm(part, "misclassified")
        above += 0.8 * high
    share = (
        "" if missed is None else f": {int(missed.sum()):,} of {len(missed):,} misclassified by the mean of the repeats"
    )
    if title is None:
        part.set_title(f"{model_name(held.model)}{share}", fontsize=points(0.95), color=INK, loc="left", pad=5)
    heading = "class" if held.classes else held.target
    legend(ax, handles, labels, loc="upper left", bbox_to_anchor=(legend_left, 1.0 + 2.6 * high), title=heading,
           alignment="left", borderaxespad=0.0, handlelength=1.0, handleheight=1.0)  # fmt: skip
    return above


def _height(ax: Axes) -> float:
    """Of the Axes, in inches, before any layout."""
    return float(ax.get_position().height * ax.figure.bbox.height / ax.figure.dpi)


def _calm(part: Axes, name: str) -> None:
    part.spines[:].set_visible(False)
    part.tick_params(length=0, labelbottom=False, pad=2)
    part.set_yticks([0] if name else [], [name] if name else [], fontsize=points(0.7), color=SOFT)


def _class_strips(table: pd.DataFrame, held: Held) -> tuple[np.ndarray, np.ndarray, list[Any], list[str]]:
    """Colours of the class observed, and of the prediction: paler the less certain it is."""
    palette = np.array([to_rgb(color) for color in colors(len(held.classes))])
    observed = palette[pd.Index(held.classes).get_indexer(table["observed"])]
    called = palette[pd.Index(held.classes).get_indexer(table["predicted"])]
    if len(held.classes) == 2:
        sure = np.abs(2 * table["score"].to_numpy() - 1)[:, None]
        called = 1 - (1 - called) * (0.25 + 0.75 * sure)
    counts = table["observed"].value_counts()
    handles = [Patch(color=color) for color in palette]
    named = distinct(held.classes, 16)
    labels = [f"{word} ({int(counts.get(name, 0)):,})" for name, word in zip(held.classes, named, strict=True)]
    return observed, called, handles, labels


def _number_strips(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[Any], list[str]]:
    low, high = float(table["observed"].min()), float(table["observed"].max())

    def strip(values: pd.Series) -> np.ndarray:
        return VALUE(np.clip((values.to_numpy(float) - low) / ((high - low) or 1.0), 0, 1))[:, :3]

    ends = [low, (low + high) / 2, high]
    handles = [Patch(color=VALUE(share)) for share in (0.0, 0.5, 1.0)]
    return strip(table["observed"]), strip(table["predicted"]), handles, [f"{value:.3g}" for value in ends]


def _scale(ax: Axes, image: Any) -> None:
    """The colour scale, at the right."""
    scale = ax.inset_axes((1.02, 0.0, 0.018, 0.36))
    bar = ax.figure.colorbar(image, cax=scale, ticks=[-CLIP, -1, 0, 1, CLIP])
    bar.ax.set_yticklabels([f"≤ −{CLIP:g}", "−1", "0", "1", f"≥ {CLIP:g}"])
    bar.ax.tick_params(length=0, labelsize=points(0.7), labelcolor=INK, pad=2)
    bar.outline.set(edgecolor=PALE, linewidth=0.6)
    scale.set_title("SD from the\ngene's mean", fontsize=points(0.7), color=INK, loc="left", pad=5)


def _told(ax: Axes, how: str, n: int, total: int, by: str) -> None:
    """Under the figure: what the columns are, and how the genes were chosen."""
    part = "" if n == total else f" (a random part of {total:,})"
    said = f"{n:,} samples{part}, by {by}" if n > _NAMED else ""
    lines = [part[:1].upper() + part[1:] for part in (said, *how.split("; ")) if part]
    ax.set_xlabel("\n".join(lines), fontsize=points(0.7), color=SOFT, loc="left", linespacing=1.3)
