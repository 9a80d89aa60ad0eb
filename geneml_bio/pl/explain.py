"""The figure of SHAP values on held-out samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator
from scipy import sparse

from .. import get
from ..bridge import keys
from ..core.errors import ColumnNotFoundError, InputError, check_whole, near
from ._style import (
    GREY,
    INK,
    LOW_HIGH,
    PALE,
    SOFT,
    axes,
    beside,
    colors,
    distinct,
    drawn_words,
    finish,
    gene_names,
    legend,
    model_name,
    plain,
    points,
    subsample,
    unit_words,
)
from ._validation import expression

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_MANY = 2000
_DRAWN = 4000  # samples drawn, at most; means are those of all


def outputs_of(adata: AnnData, key: str) -> tuple[dict[str, Any], list[str]]:
    """What is known of the explanation, and the outputs explained: one, or each class."""
    name = keys.shap(key)
    if name not in adata.uns:
        raise ColumnNotFoundError(f"No SHAP values under {key!r}. Run gb.tl.explain(adata, key={key!r}) first.")
    about = adata.uns[name]
    return about, [str(output) for output in about["outputs"]]


def dense(matrix: Any, columns: np.ndarray) -> np.ndarray:
    """Some columns of a dense or sparse matrix, dense."""
    part: Any = matrix[:, columns]
    return np.asarray(part.toarray() if sparse.issparse(part) else part, dtype=float)


def held_out_rows(adata: AnnData, key: str) -> np.ndarray:
    """Rows of the samples that were predicted; one without a target was not, and has no SHAP values."""
    return adata.obs_names.astype(str).isin(get.folds(adata, key=key)["sample"].astype(str).unique())


def _expression(adata: AnnData, key: str, columns: np.ndarray) -> np.ndarray:
    """Expression that the models saw, each gene brought to 0-1 between its 5th and 95th percentile."""
    layer = get.params(adata, key=key).get("layer")
    values = dense(expression(adata, layer), columns)
    known = np.isfinite(values).any(axis=0)
    values[:, ~known] = 0.0
    low, high = np.nanpercentile(values, [5, 95], axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    return np.clip(np.where(np.isnan(values), 0.5, scaled), 0, 1)


def strongest(adata: AnnData, key: str, outputs: list[str], gene: str | None = None) -> str:
    """The output with the largest mean absolute SHAP: of one gene, or of all together."""
    if len(outputs) == 1:
        return outputs[0]
    columns = np.arange(adata.n_vars) if gene is None else adata.var_names.get_indexer([gene])
    size = [float(abs(get.shap_values(adata, key=key, output=name)[:, columns]).sum()) for name in outputs]
    return outputs[int(np.argmax(size))]


def swarm(values: np.ndarray, width: float = 0.36, bins: int = 60) -> np.ndarray:
    """Offsets that set points of equal value side by side, the more the denser they lie; always the same."""
    span = float(np.ptp(values)) if len(values) else 0.0
    cell = (
        np.zeros(len(values), dtype=int)
        if span == 0
        else np.minimum(((values - values.min()) / span * bins).astype(int), bins - 1)
    )
    offset = np.zeros(len(values))
    counts: Any = np.bincount(cell, minlength=1)
    largest = max(int(counts.max()), 1)
    step = min(2 * width / max(largest - 1, 1), 0.09)
    for one in np.unique(cell):
        rows = np.flatnonzero(cell == one)
        place = np.arange(len(rows))
        offset[rows] = np.where(place % 2 == 1, 1, -1) * ((place + 1) // 2) * step
    return offset


def unit_label(about: dict[str, Any], output: str | None) -> str:
    """The label of an axis of SHAP values: toward what, in which unit."""
    toward = "" if output in (None, "prediction") else f" toward {plain(output, 18)}"
    return f"SHAP value{toward}\n({unit_words(about)})"


def shap(
    adata: AnnData,
    *,
    key: str = "classify",
    n_genes: int = 15,
    output: str | None = None,
    gene_symbols: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """The genes that moved the predictions of held-out samples most, and how.

    Left: the SHAP value of each sample, coloured by its expression of the gene. Right: the mean absolute value. With more
    than two classes and no ``output``, the means of all classes are stacked and no samples are drawn.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.tl.explain`.
    key
        Name of the validation that was explained.
    n_genes
        How many genes to draw.
    output
        The class whose SHAP values to draw, where there are more than two.
    gene_symbols
        ``.var`` column of the names to show; default: a column with a usual name, else the ids.
    ax
        Axes to draw into (its slot is shared with the bars); a new figure by default.

    Returns
    -------
    The Axes of the samples (of the bars, where no samples are drawn).
    """
    check_whole(1, n_genes=n_genes)
    about, outputs = outputs_of(adata, key)
    if output is not None and output not in outputs:
        raise InputError(f"output={output!r} was not explained.{near(output, outputs)}")
    several = len(outputs) > 1 and output is None
    wanted = outputs if several else [output or outputs[0]]
    rows = held_out_rows(adata, key)
    values = [get.shap_values(adata, key=key, output=name)[rows] for name in wanted]
    mean = np.column_stack([np.asarray(abs(part).mean(axis=0)).ravel() for part in values])
    total = mean.sum(axis=1)
    top = np.argsort(-total, kind="stable")[:n_genes]
    top = top[total[top] > 0]
    if not len(top):
        raise InputError("Every SHAP value is 0: the models used no gene. There is nothing to draw.")
    names = gene_names(adata, adata.var_names[top], gene_symbols)
    height = 1.3 + 0.25 * len(top)
    ax = axes(ax, (6.2, height))
    if several:
        _stacked(ax, mean[top], names, wanted, about)
        return ax
    bars = beside(ax)
    some = subsample(int(rows.sum()), _DRAWN)
    _samples(ax, dense(values[0][some], top), _expression(adata, key, top)[rows][some], names)
    bars.barh(range(len(top)), total[top], height=0.62, color=GREY, gid="mean-abs")
    finish(bars, xlabel="mean |SHAP|\n")
    bars.tick_params(axis="y", length=0, labelleft=False)
    bars.set_xlim(0, total[top].max() * 1.08)
    bars.xaxis.set_major_locator(MaxNLocator(2))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    finish(ax, xlabel=unit_label(about, wanted[0]), title=shap_title(about) + drawn_words(len(some), int(rows.sum())))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    _colour_key(bars)
    return ax


def shap_title(about: dict[str, Any]) -> str:
    """Which model was explained, on which samples."""
    return f"{model_name(str(about.get('model', '')))}, held-out samples"


def _samples(ax: Axes, values: np.ndarray, expression: np.ndarray, names: list[str]) -> None:
    n, k = values.shape
    size = float(np.clip(2500 / max(n, 1), 3, 14))
    for row in range(k):
        seen = np.isfinite(values[:, row])
        x = values[seen, row]
        ax.scatter(
            x,
            row + swarm(x),
            c=expression[seen, row],
            cmap=LOW_HIGH,
            vmin=0,
            vmax=1,
            s=size,
            linewidths=0,
            alpha=0.9,
            rasterized=n * k > _MANY,
            gid="samples",
            zorder=3,
        )
        ax.axhline(row, color=PALE, linewidth=0.5, zorder=1)
    ax.axvline(0, color=SOFT, linewidth=0.8, zorder=2)
    ax.set_yticks(range(k), names)
    ax.set_ylim(k - 0.4, -0.6)


def _colour_key(ax: Axes) -> None:
    """Low to high expression, as a small gradient in the free corner of the bars."""
    inner = ax.inset_axes((0.42, 0.06, 0.5, 0.035))
    inner.imshow(np.linspace(0, 1, 64)[None, :], cmap=LOW_HIGH, aspect="auto", extent=(0, 1, 0, 1))
    inner.set_yticks([])
    inner.set_xticks([0, 1], ["low", "high"])
    inner.tick_params(length=0, labelsize=points(0.7), labelcolor=INK, pad=1)
    inner.spines[:].set_visible(False)
    inner.set_title("expression", fontsize=points(0.7), color=INK, pad=2)


def _stacked(ax: Axes, mean: np.ndarray, names: list[str], outputs: list[str], about: dict[str, Any]) -> None:
    left = np.zeros(len(names))
    handles = []
    for k, color in enumerate(colors(len(outputs))):
        part = mean[:, k] / len(outputs)
        handles.append(ax.barh(range(len(names)), part, left=left, height=0.66, color=color, gid="mean-abs"))
        left += part
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    finish(ax, xlabel=f"mean |SHAP| over samples and classes\n({unit_words(about)})", title=shap_title(about))
    ax.tick_params(axis="y", length=0)
    legend(ax, handles, distinct(outputs, 20), loc="lower right", title="class explained", alignment="left")
