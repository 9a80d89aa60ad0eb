"""SHAP values of one gene (dependence) and of one sample (waterfall)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from .. import get
from ..bridge import keys
from ..core.errors import ColumnNotFoundError, InputError, check_whole, near
from ._style import (
    BLUE,
    GREY,
    INK,
    LOW_HIGH,
    PALE,
    PAPER,
    SOFT,
    VERMILLION,
    axes,
    colors,
    distinct,
    drawn_words,
    finish,
    gene_names,
    legend_outside,
    model_name,
    plain,
    points,
    subsample,
    symbol_column,
)
from ._validation import expression, results
from .explain import dense, held_out_rows, outputs_of, strongest, unit_label

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MANY = 2000
_DRAWN = 20_000


def _output(outputs: list[str], output: str | None, first: str | None = None) -> str:
    """The output asked for, or ``first``, or the only one."""
    if output is None:
        return first if first in outputs else outputs[-1]
    if output not in outputs:
        raise InputError(f"output={output!r} was not explained.{near(output, outputs)}")
    return output


def _gene(adata: AnnData, gene: str, gene_symbols: str | None) -> str:
    """A gene by its var_name, or by its symbol where only one gene has that."""
    if gene in adata.var_names:
        return gene
    column = symbol_column(adata, gene_symbols)
    hits = adata.var_names[(adata.var[column].astype(str) == gene).to_numpy()] if column is not None else []
    if len(hits) == 1:
        return str(hits[0])
    if len(hits) > 1:
        raise InputError(f"gene: {gene!r} is the symbol of {len(hits)} genes; name one of {list(hits[:5])}.")
    raise ColumnNotFoundError(f"gene: no gene {gene!r} in adata.var_names.{near(gene, adata.var_names)}")


# -- one gene ----------------------------------------------------------------------------------------------------------


def shap_dependence(
    adata: AnnData,
    gene: str | None = None,
    *,
    key: str = "classify",
    color: str | None = None,
    output: str | None = None,
    layer: str | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Expression of a gene against its SHAP value, sample by sample.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.explain`.
    gene
        The gene (var_name, or a symbol that one gene has). Default: the one with the largest mean absolute SHAP.
    key
        Name of the validation that was explained.
    color
        What to colour the samples by: a column of ``.obs`` or another gene. Default: the target.
    output
        The class whose SHAP values to draw, where there are more than two; default: the one on which the gene has most effect.
    layer
        Layer of the expression; default: what the models saw.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Samples in which the gene has a SHAP value of exactly 0 in every repeat were held out of folds whose models did not use
    the gene; they are drawn hollow. The title gives Spearman's rank correlation over the others. Of more than 20,000 samples a random
    part is drawn, and the title says so.
    """
    about, outputs = outputs_of(adata, key)
    name = str(get.shap(adata, key=key).index[0]) if gene is None else _gene(adata, gene, gene_symbols)
    chosen = _output(outputs, output, strongest(adata, key, outputs, name))
    layer = layer if layer is not None else get.params(adata, key=key).get("layer")
    if layer is not None and layer not in adata.layers:
        raise ColumnNotFoundError(f"layer: no layer {layer!r}.{near(layer, list(adata.layers))}")
    held = np.flatnonzero(held_out_rows(adata, key))
    column = adata.var_names.get_indexer([name])
    y = dense(get.shap_values(adata, key=key, output=chosen), column).ravel()[held]
    if not y.any():
        raise InputError(
            f"The SHAP value of {name!r} is 0 in every sample: no model used the gene. gb.get.shap(adata) lists those used."
        )
    x = dense(expression(adata, layer), column).ravel()[held]
    some = subsample(len(held), _DRAWN)
    hue, label = _hue(adata, color if color is not None else str(get.params(adata, key=key).get("target")), layer)
    ax = axes(ax, (4.8, 3.5))
    ax.axhline(0, color=PALE, linewidth=0.8, zorder=1)
    handles, labels = _dots(ax, x[some], y[some], hue.iloc[held[some]])
    used = (y != 0) & np.isfinite(x)
    rho = pd.Series(x[used]).corr(pd.Series(y[used]), method="spearman") if used.sum() > 2 else np.nan
    said = f": rank correlation {rho:z.2f}" if np.isfinite(rho) else ""
    shown = gene_names(adata, [name], gene_symbols)[0]
    scale = f"{layer} of {shown}" if layer is not None else f"expression of {shown}"
    title = f"{shown}{said}{drawn_words(len(some), len(held))}"
    finish(ax, xlabel=plain(scale, 48), ylabel=unit_label(about, chosen), title=title)
    legend_outside(ax, handles, labels, title=plain(label, 22), alignment="left")
    return ax


def _hue(adata: AnnData, color: str, layer: str | None) -> tuple[pd.Series, str]:
    """Values to colour by, a row a sample, and their name."""
    if color in adata.obs:
        return adata.obs[color], color
    if color in adata.var_names:
        values = dense(expression(adata, layer), adata.var_names.get_indexer([color])).ravel()
        return pd.Series(values, index=adata.obs_names), color
    known = [*map(str, adata.obs.columns), *map(str, adata.var_names)]
    raise ColumnNotFoundError(f"color: {color!r} is neither a column of adata.obs nor a gene.{near(color, known)}")


def _dots(ax: Axes, x: np.ndarray, y: np.ndarray, hue: pd.Series) -> tuple[list[Any], list[str]]:
    """The samples, and what goes into the legend."""
    size = float(np.clip(6000 / max(len(x), 1), 4, 24))
    look: dict[str, Any] = {"s": size, "rasterized": len(x) > _MANY, "zorder": 3}
    if pd.api.types.is_numeric_dtype(hue) and not pd.api.types.is_bool_dtype(hue) and hue.nunique() > 8:
        values = hue.to_numpy(float)
        low, high = np.nanpercentile(values, [2, 98]) if np.isfinite(values).any() else (0.0, 1.0)
        seen = LOW_HIGH(np.clip((np.nan_to_num(values, nan=low) - low) / ((high - low) or 1.0), 0, 1))
        seen[~np.isfinite(values)] = (0.79, 0.79, 0.79, 1)
        ends = [(LOW_HIGH(share), f"{low + share * (high - low):.3g}") for share in (0.0, 0.5, 1.0)]
    else:
        text = hue.astype(object).where(hue.notna(), "missing").astype(str)
        levels = (
            [str(v) for v in hue.cat.categories] if isinstance(hue.dtype, pd.CategoricalDtype) else sorted(set(text))
        )
        levels = [*(level for level in levels if level in set(text)), *(["missing"] if hue.isna().any() else [])]
        palette = dict(zip(levels, colors(len(levels)), strict=True)) | ({"missing": GREY} if hue.isna().any() else {})
        seen = np.array([palette[value] for value in text], dtype=object)
        ends = list(zip(palette.values(), distinct(palette, 18), strict=True))
    zero = y == 0
    if (~zero).any():
        ax.scatter(x[~zero], y[~zero], c=seen[~zero], linewidths=0, alpha=0.85, gid="samples", **look)
    if zero.any():
        ax.scatter(x[zero], y[zero], facecolors="none", edgecolors=seen[zero], linewidths=0.7, gid="unused", **look)
    handles: list[Any] = [Line2D([], [], marker="o", linestyle="", color=shade, markersize=4.5) for shade, _ in ends]
    labels = [words for _, words in ends]
    if zero.any():
        ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": SOFT, "markersize": 4.5}
        handles.append(Line2D([], [], marker="o", linestyle="", **ring))
        labels.append(f"gene not used ({int(zero.sum()):,})")
    return handles, labels


# -- one sample --------------------------------------------------------------------------------------------------------


def shap_waterfall(
    adata: AnnData,
    sample: str | None = None,
    *,
    key: str = "classify",
    n_genes: int = 10,
    output: str | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """How the prediction of one held-out sample comes about, from what is expected to what was predicted, gene by gene.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.explain`.
    sample
        The sample (obs_name). Default: of those misclassified the one predicted with most confidence, or else the one with the
        largest output.
    key
        Name of the validation that was explained.
    n_genes
        How many genes to draw; the others are one bar.
    output
        The class whose SHAP values to draw, where there are more than two; default: the class predicted.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into; a new figure by default.

    Returns
    -------
    The Axes. Bars start at the base value (what the models give on average) and end at the output for this sample: base + all bars =
    output. Beside each gene stands its expression in the sample.
    """
    check_whole(1, n_genes=n_genes)
    about, outputs = outputs_of(adata, key)
    held = pd.Series(held_out_rows(adata, key), index=adata.obs_names.astype(str))
    called = _called(adata, key)
    name = _default_sample(adata, key, held, called) if sample is None else str(sample)
    if name not in held.index:
        raise ColumnNotFoundError(f"sample: no sample {name!r} in adata.obs_names.{near(name, held.index)}")
    if not held[name]:
        raise InputError(f"Sample {name!r} took no part in the validation {key!r}: it has no SHAP values.")
    chosen = _output(outputs, output, str(called["predicted"].get(name)))
    at = int(held.index.get_indexer([name])[0])
    row = dense(get.shap_values(adata, key=key, output=chosen)[[at]], np.arange(adata.n_vars)).ravel()
    column = keys.escape(chosen) if keys.escape(chosen) in adata.obsm[f"{keys.shap(key)}_base"] else chosen
    base = float(adata.obsm[f"{keys.shap(key)}_base"][column].iloc[at])
    margin = float(adata.obsm[f"{keys.shap(key)}_margin"][column].iloc[at])
    order = np.argsort(-np.abs(row), kind="stable")
    top = order[:n_genes][row[order[:n_genes]] != 0]
    others = np.setdiff1d(np.flatnonzero(row), top)
    layer = get.params(adata, key=key).get("layer")
    value = dense(expression(adata, layer)[[at]], top).ravel()
    labels = [
        f"{gene} = {v:.3g}"
        for gene, v in zip(gene_names(adata, adata.var_names[top], gene_symbols, 18), value, strict=True)
    ]
    steps = [*row[top], *([row[others].sum()] if len(others) else [])]
    labels += [f"{len(others):,} other gene{'s' * (len(others) > 1)}"] if len(others) else []
    ax = axes(ax, (5.2, 1.5 + 0.27 * len(steps)))
    _steps(ax, np.array(steps, dtype=float), labels, base, margin)
    title = _told(adata, key, name, called)
    return finish(ax, xlabel=unit_label(about, chosen).replace("SHAP value", "output"), title=title)


def _called(adata: AnnData, key: str) -> pd.DataFrame:
    """Observed and predicted (mean over repeats) of each sample, by the best model, and the probability of the predicted class."""
    found = results(adata, key)
    mine = found.predictions[found.predictions["model"].astype(str) == found.best]
    by = mine.groupby(mine["sample"].astype(str), sort=False, observed=True)
    if not found.classes:
        return pd.DataFrame({"observed": by["observed"].first(), "predicted": by["predicted"].mean()})
    prob = by[[f"prob_{name}" for name in found.classes]].mean().to_numpy(float)
    table = pd.DataFrame({"observed": by["observed"].first().astype(str)})
    return table.assign(predicted=np.asarray(found.classes)[prob.argmax(axis=1)], prob=prob.max(axis=1))


def _default_sample(adata: AnnData, key: str, held: pd.Series, called: pd.DataFrame) -> str:
    there = called[called.index.isin(held.index[held])]
    if "prob" in there:
        wrong = there[there["observed"] != there["predicted"]]
        return str((wrong if len(wrong) else there)["prob"].idxmax())
    return str(there["predicted"].astype(float).idxmax())


def _told(adata: AnnData, key: str, name: str, called: pd.DataFrame) -> str:
    if name not in called.index:
        return plain(name, 30)
    row = called.loc[name]
    if "prob" not in called:
        return f"{plain(name, 22)}: observed {float(row['observed']):.3g}, predicted {float(row['predicted']):.3g}"
    named = dict(zip(classes := get.params(adata, key=key)["classes"], distinct(classes, 18), strict=True))
    observed, predicted = named.get(row["observed"], row["observed"]), named[row["predicted"]]
    right = "" if row["observed"] == row["predicted"] else ": misclassified"
    by = model_name(str(get.params(adata, key=key)["best"]))
    return f"{plain(name, 22)}: observed {observed}, predicted {predicted} ({row['prob']:.2f} by {by}){right}"


def _steps(ax: Axes, steps: np.ndarray, labels: list[str], base: float, margin: float) -> None:
    n = len(steps)
    ends = base + np.cumsum(steps)
    starts = np.append(base, ends[:-1])
    reach = np.array(
        [min(starts.min(initial=base), ends.min(initial=base)), max(starts.max(initial=base), ends.max(initial=base))]
    )
    span = float(np.ptp(reach)) or 1.0
    ax.barh(
        range(n),
        steps,
        left=starts,
        height=0.62,
        color=[VERMILLION if s > 0 else BLUE for s in steps],
        gid="steps",
        zorder=3,
    )
    for i in range(n - 1):
        ax.plot([ends[i]] * 2, [i + 0.31, i + 0.69], color=SOFT, linewidth=0.7, zorder=2)
    for i, step in enumerate(steps):
        right = step > 0
        ax.annotate(f"{step:+.2g}".replace("-", "−"), (max(starts[i], ends[i]) if right else min(starts[i], ends[i]), i),
                    xytext=(3 if right else -3, 0), textcoords="offset points", ha="left" if right else "right", va="center",
                    fontsize=points(0.75), color=INK, gid="step-value", zorder=5)  # fmt: skip
    for value, word, row in ((base, "base", -0.95), (margin, "output", n - 0.05)):
        ax.axvline(value, color=SOFT, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1, gid=word)
        ax.annotate(f"{word} {value:.2g}".replace("-", "−"), (value, row), ha="center", va="center",
                    fontsize=points(0.75), color=SOFT, zorder=5,
                    bbox={"boxstyle": "square,pad=0.15", "facecolor": PAPER, "edgecolor": "none"})  # fmt: skip
    ax.set_yticks(range(n), labels)
    ax.set_ylim(n + 0.35, -1.35)
    ax.set_xlim(reach[0] - 0.16 * span, reach[1] + 0.16 * span)
    ax.tick_params(axis="y", length=0)
