"""Every figure that an object has results for, drawn without pyplot: for files and for the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .. import get
from ..core.errors import ColumnNotFoundError, InputError
from .calibration import calibration
from .comparison import compare, null
from .de import ma, volcano
from .explain import shap
from .genes import evidence, stability
from .heatmap import heatmap
from .history import history
from .performance import confusion, pr, predicted, roc

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

CLASSES_ONLY = ("roc", "pr", "confusion", "confusion_test", "calibration")
NUMBERS_ONLY = ("predicted", "predicted_test")


@dataclass(frozen=True)
class Keys:
    """Where the results lie: keys of the validation, the DE table and the biomarker table."""

    model: str = "classify"
    de: str = "limma"
    biomarkers: str = "biomarkers"


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
    "history": (history, "model", (4.8, 3.3)),
    "history_score": (_history_score, "model", (4.8, 3.3)),
    "heatmap": (heatmap, "model", (7.0, 7.0)),
    "shap": (shap, "model", (6.4, 4.9)),
    "evidence": (evidence, "biomarkers", (6.4, 3.9)),
    "volcano": (volcano, "de", (4.8, 4.0)),
    "ma": (ma, "de", (4.8, 4.0)),
    "stability": (stability, "model", (6.4, 4.9)),
}


def _size(adata: AnnData, name: str, key: str, size: tuple[float, float]) -> tuple[float, float]:
    """Wider where many classes need a legend or cells of their own."""
    classes = len(adata.uns.get(key, {}).get("classes", ())) if name in CLASSES_ONLY else 0
    if name.startswith("confusion") and classes > 2:
        side = min(1.6 + 0.62 * classes, 7.5)
        return side + 0.7, side
    if name in ("roc", "pr") and classes > 6:
        return size[0] + 2.0, size[1]
    if name == "compare":
        rows = get.metrics(adata, key=key)["model"].nunique()
        return size[0], 1.6 + 0.38 * rows
    if name == "heatmap":
        return size[0], 1.9 + 0.17 * min(adata.n_vars, 30)
    return size


def draw(adata: AnnData, name: str, keys: Keys) -> Drawn:
    """One figure of the catalog, on a figure of its own that pyplot does not know of."""
    function, which, size = CATALOG[name]
    key = getattr(keys, which)
    try:
        figure = Figure(figsize=_size(adata, name, key, size), layout="constrained")
        FigureCanvasAgg(figure)
        function(adata, key=key, ax=figure.add_subplot())
    except (ColumnNotFoundError, InputError) as error:
        return Drawn(name, None, str(error))
    return Drawn(name, figure)


def draw_all(adata: AnnData, keys: Keys) -> Iterator[Drawn]:
    """Every figure of the catalog that fits the task, in order; a missing one says why."""
    about = adata.uns.get(keys.model, {})
    regression = isinstance(about, dict) and about.get("kind") == "regression"
    for name in CATALOG:
        if name not in (CLASSES_ONLY if regression else NUMBERS_ONLY):
            yield draw(adata, name, keys)


def save_figures(
    adata: AnnData,
    folder: str | Path,
    *,
    key: str = "classify",
    de: str = "limma",
    biomarkers: str = "biomarkers",
    formats: tuple[str, ...] = ("png", "pdf"),
    dpi: int = 300,
) -> Path:
    """Save every figure that the object has results for.

    Parameters
    ----------
    adata
        With results.
    folder
        Where to write ``volcano.png``, ``roc.png`` and so on; made if it is not there.
    key, de, biomarkers
        Names of the validation, of the DE results and of the biomarker table.
    formats
        File formats, as matplotlib knows them.
    dpi
        Resolution of those that are images.

    Returns
    -------
    The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
        for drawn in draw_all(adata, Keys(key, de, biomarkers)):
            for kind in formats if drawn.figure is not None else ():
                drawn.figure.savefig(folder / f"{drawn.name}.{kind}", dpi=dpi)  # type: ignore[union-attr]
    return folder
