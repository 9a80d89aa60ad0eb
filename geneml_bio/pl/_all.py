"""Every figure that an object has results for, drawn without pyplot: for files and for the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .. import get
from ..core.errors import ColumnNotFoundError, InputError
from ..core.metrics import WINNER
from .agreement import agreement
from .calibration import calibration
from .comparison import compare, null
from .de import ma, volcano
from .design import design
from .explain import shap
from .gene_null import gene_null
from .genes import evidence, stability
from .groups import gene_groups
from .heatmap import heatmap
from .history import history
from .knockoffs import knockoffs
from .learning import learning_curve
from .performance import beside_curves, confusion, pr, predicted, roc
from .sets import gene_sets
from .shap_bar import shap_bar
from .shap_heatmap import shap_heatmap
from .shap_one import shap_dependence, shap_waterfall

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

CLASSES_ONLY = ("roc", "pr", "confusion", "confusion_test", "calibration")
NUMBERS_ONLY = ("predicted", "predicted_test")


WIDE = {"heatmap": 180.0, "shap_heatmap": 180.0, "gene_sets": 130.0}  # mm, at the least


@dataclass(frozen=True)
class Keys:
    """Where the results lie: keys of the validation, the DE table, the biomarker table and the knockoffs."""

    model: str = "classify"
    de: str = "limma"
    biomarkers: str = "biomarkers"
    knockoffs: str = "knockoffs"


@dataclass(frozen=True, eq=False)
class Drawn:
    """A figure, or why there is none."""

    name: str
    figure: Figure | None
    reason: str = ""


def _history_score(adata: AnnData, *, key: str, ax: Axes) -> Axes:
    """The score that goes with the loss."""
    return history(adata, key=key, metric="accuracy" if "classes" in get.params(adata, key) else "mae", ax=ax)


# name -> (function, which key it reads, size in inches)
CATALOG: dict[str, tuple[Callable[..., Axes], str, tuple[float, float]]] = {
    "compare": (compare, "model", (5.4, 2.8)),
    "null": (null, "model", (4.8, 3.2)),
    "roc": (roc, "model", (4.3, 3.9)),
    "pr": (pr, "model", (4.3, 3.9)),
    "confusion": (confusion, "model", (4.3, 3.6)),
    "confusion_test": (partial(confusion, test=True), "model", (4.3, 3.6)),
    "calibration": (calibration, "model", (4.3, 4.1)),
    "predicted": (predicted, "model", (4.3, 3.9)),
    "predicted_test": (partial(predicted, test=True), "model", (4.3, 3.9)),
    "learning_curve": (learning_curve, "model", (4.8, 3.5)),
    "history": (history, "model", (4.8, 3.3)),
    "history_score": (_history_score, "model", (4.8, 3.3)),
    "heatmap": (heatmap, "model", (7.0, 7.0)),
    "shap": (shap, "model", (6.4, 4.9)),
    "shap_bar": (shap_bar, "model", (4.8, 4.6)),
    "shap_models": (partial(shap_bar, by="model"), "model", (4.8, 4.6)),
    "shap_dependence": (shap_dependence, "model", (4.8, 3.5)),
    "shap_waterfall": (shap_waterfall, "model", (5.2, 4.2)),
    "shap_heatmap": (shap_heatmap, "model", (7.0, 6.0)),
    "evidence": (evidence, "biomarkers", (6.4, 3.9)),
    "agreement": (agreement, "biomarkers", (4.8, 4.2)),
    "volcano": (volcano, "de", (4.8, 4.0)),
    "ma": (ma, "de", (4.8, 4.0)),
    "gene_groups": (gene_groups, "model", (6.4, 5.0)),
    "gene_sets": (gene_sets, "model", (6.0, 4.4)),
    "gene_null": (gene_null, "model", (4.6, 4.0)),
    "knockoffs": (knockoffs, "knockoffs", (4.6, 4.0)),
    "design": (design, "model", (4.8, 3.2)),
    "stability": (stability, "model", (6.4, 4.9)),
}


def _size(adata: AnnData, name: str, key: str, size: tuple[float, float]) -> tuple[float, float]:
    """Wider where many classes need a legend or cells of their own."""
    stored = adata.uns.get(key, {}) if name in CLASSES_ONLY else {}
    classes = len(stored.get("classes", ()))
    if name.startswith("confusion") and classes > 2:
        side = min(1.6 + 0.62 * classes, 7.5)
        return side + 0.7, side
    if name in ("roc", "pr") and beside_curves(_curves(adata, key, classes), classes):
        return size[0] + (2.0 if classes != 2 else 3.0), size[1]
    if name == "compare":
        rows = get.metrics(adata, key=key)["model"].nunique()
        return size[0], 1.6 + 0.38 * rows
    if name == "heatmap":
        return size[0], 1.9 + 0.17 * min(adata.n_vars, 30)
    return size


def _curves(adata: AnnData, key: str, classes: int) -> int:
    """How many curves there are to draw: of the classes, or of the models where there are two."""
    stored = adata.uns.get(key, {})
    if classes != 2 or "metrics" not in stored:
        return classes
    others = {WINNER, *map(str, stored.get("baselines", ()))}
    return len(set(get.metrics(adata, key=key)["model"].astype(str)) - others)


def _at_width(size: tuple[float, float], name: str, width: float | None) -> tuple[float, float]:
    """A size brought to ``width`` (mm): what is not wide by nature stays within a column."""
    if width is None:
        return size
    beside = 150.0 if name in ("roc", "pr") and size[0] > 6 else 0.0  # the legend of many curves
    inches = max(width, WIDE.get(name, 0.0), beside) / 25.4
    return inches, size[1] * float(np.clip(inches / size[0], 0.8, 1.1))


def draw(adata: AnnData, name: str, keys: Keys, width: float | None = None) -> Drawn:
    """One figure of the catalog, on a figure of its own that pyplot does not know of; ``width`` in mm: as for a journal."""
    function, which, size = CATALOG[name]
    key = getattr(keys, which)
    try:
        figure = Figure(figsize=_at_width(_size(adata, name, key, size), name, width), layout="constrained")
        FigureCanvasAgg(figure)
        function(adata, key=key, ax=figure.add_subplot())
    except (ColumnNotFoundError, InputError) as error:
        return Drawn(name, None, str(error))
    return Drawn(name, figure)


def draw_all(adata: AnnData, keys: Keys, width: float | None = None) -> Iterator[Drawn]:
    """Every figure of the catalog that fits the task, in order; a missing one says why."""
    about = adata.uns.get(keys.model, {})
    regression = isinstance(about, dict) and about.get("kind") == "regression"
    for name in CATALOG:
        if name not in (CLASSES_ONLY if regression else NUMBERS_ONLY):
            yield draw(adata, name, keys, width)


def save_figures(
    adata: AnnData,
    folder: str | Path,
    *,
    key: str = "classify",
    de: str = "limma",
    biomarkers: str = "biomarkers",
    knockoffs: str = "knockoffs",
    formats: tuple[str, ...] = ("png", "pdf"),
    dpi: int = 300,
    width: float | None = None,
) -> Path:
    """Save every figure that the object has results for.

    Parameters
    ----------
    adata
        With results.
    folder
        Where to write ``volcano.png``, ``roc.png`` and so on; made if it is not there.
    key, de, biomarkers, knockoffs
        Names of the validation, of the DE results, of the biomarker table and of the knockoffs.
    formats
        File formats, as matplotlib knows them.
    dpi
        Resolution of those that are images.
    width
        Width in mm, for print: 85 is one column of most journals, 180 is two. Text is then of 8 pt and smaller, and never below 6 pt.
        Heatmaps and others that need the room are 180 mm wide at any rate. Default: sizes for the screen, with the user's ``font.size``.

    Returns
    -------
    The folder. Figures that there are no results for are left out.

    Raises
    ------
    ColumnNotFoundError
        If there are results for none. Nothing is written then.
    """
    folder = Path(folder)
    if width is not None and not 60 <= width <= 400:
        raise InputError(f"width is in mm, from 60 to 400 (85 for one column, 180 for two), got {width!r}.")
    print_size = {} if width is None else {"font.size": 8.0}
    n_drawn, reasons = 0, []
    with mpl.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", **print_size}):
        for drawn in draw_all(adata, Keys(key, de, biomarkers, knockoffs), width):
            if drawn.figure is None:
                reasons.append(drawn.reason)
                continue
            n_drawn += 1
            folder.mkdir(parents=True, exist_ok=True)
            for kind in formats:
                drawn.figure.savefig(folder / f"{drawn.name}.{kind}", dpi=dpi)
    if not n_drawn:
        raise ColumnNotFoundError(
            f"There is no figure to draw: no results under {key!r}, {de!r}, {biomarkers!r} or {knockoffs!r}. {reasons[0]}"
        )
    return folder
