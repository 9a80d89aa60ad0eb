"""Figures for the page: SVG in a data address, in colours that follow the reader's light or dark setting."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib import style as mpl_style

from .. import get
from ..pl._all import Keys, draw_all
from ..pl._style import INK, PALE, PAPER, SOFT
from ..pl.genes import all_the_same

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

MAX_SVG = 400_000
_THEME = (
    "<style>svg{--i:#222;--s:#5f5f5f;--l:#d0d0d0;--p:#fff}"
    "@media (prefers-color-scheme:dark){svg{--i:#e6e6e6;--s:#a5a5a5;--l:#55595e;--p:#1d2024}}</style>"
)
_SWAP = {INK: "--i", SOFT: "--s", PALE: "--l", PAPER: "--p"}

TITLES = {
    "design": "Classes and batches",
    "learning_curve": "What more samples would bring",
    "shap_bar": "Genes by what they move",
    "shap_models": "What each model relies on",
    "gene_null": "Genes against permuted targets",
    "knockoffs": "Genes against their knockoff copies",
    "shap_heatmap": "SHAP values, sample by sample",
    "shap_dependence": "Expression and its effect",
    "shap_waterfall": "How one sample came to its prediction",
    "agreement": "Whether the two kinds of evidence agree",
    "gene_groups": "Genes that go together",
    "gene_sets": "Gene sets",
    "compare": "Models side by side",
    "null": "Against permuted targets",
    "roc": "ROC curves",
    "pr": "Precision and recall",
    "confusion": "Confusion matrix",
    "confusion_test": "Confusion matrix of the test set",
    "calibration": "Calibration of the probabilities",
    "predicted": "Predicted against observed",
    "predicted_test": "Predicted against observed, test set",
    "history": "How the network learned: loss",
    "history_score": "How the network learned: score",
    "heatmap": "The genes in the samples",
    "shap": "What moved the predictions",
    "evidence": "The two kinds of evidence",
    "volcano": "Volcano plot",
    "ma": "MA plot",
    "stability": "Stability of the selection",
}
CAPTIONS = {
    "design": "How many samples of each class each batch holds. Where a batch holds one class only, class and batch cannot be told "
    "apart in it; rows that look alike are what one wants to see.",
    "learning_curve": "Score on held-out samples against the number of samples that the models learned from. A curve that still rises at "
    "its right end speaks for more samples; one that is flat above chance, against; one that is flat at chance says nothing.",
    "shap_bar": "Average size of the move that each gene gives to the predictions of held-out samples.",
    "shap_models": "The same by model, as a share of what all genes do in it. What all models rely on depends less on how one of "
    "them works: a booster puts on one gene what a linear model spreads over many.",
    "gene_null": "For each gene, how many genes are as strong on the true target (upward), and how many on a permuted one, on average "
    "(rightward). On the dashed line there are as many as chance gives; the coloured genes lie far enough above it.",
    "knockoffs": "One dot a gene: how much more the model uses it than a copy that has its correlations and knows nothing of the target. "
    "Genes above the threshold are called; about as many as lie below its mirror image would be there by chance.",
    "shap_heatmap": "Columns: held-out samples. Rows: the genes that the models rely on most. Colour: how far the gene moved the "
    "prediction of this sample, and which way. Samples of a class that look unlike the rest of it deserve a look.",
    "shap_dependence": "One dot a held-out sample: its expression of the gene, and how far that moved its prediction. A step means a "
    "threshold, a slope means that each bit counts.",
    "shap_waterfall": "From the average prediction to that of one sample: each bar is what one gene added or took. For a misclassified "
    "sample, the bars that point the wrong way are those to look at.",
    "agreement": "One dot a gene that a model used, by its rank by p-value and its rank by SHAP: the strongest by both are at the lower "
    "left. In the square: how many are among the first by both, and how many chance would put there. Green: logFC and models point the "
    "same way; orange crosses: they do not.",
    "gene_groups": "Left: correlations within the classes; in a box, genes that go together. Right: what each gene moves (dark) and what "
    "its group moves together (pale). A group is one finding, whichever of its genes a model names.",
    "gene_sets": "Sets of genes by what their genes move together in held-out samples. Filled: more than other genes of the study would, "
    "after correction for the number of sets.",
    "compare": "Dots and lines: score on held-out samples with its 95 % interval. Grey: what the same pipelines score on permuted "
    "targets, from their mean to their 95 % limit. A finding stands clear of the grey. Open squares: the test set. Below the line: what "
    "covariates predict without a gene, and with the genes.",
    "null": "Bars: the whole pipeline on permuted targets. Line: the first repeat on the true target, which ran the same protocol. The "
    "further the line is to the right of the bars, the less chance explains it (dashed: 95 % of permutations lie on its left).",
    "roc": "Thin lines: one repeat each. Thick line: their mean. The area under the thick line is the AUC reported; a guess follows the "
    "dashed diagonal. Curves that differ much between repeats depend on how the folds were drawn.",
    "pr": "For the positive class (for each class, where there are more than two): how many of those called are right, against how "
    "many of its samples are found. Dashed: the share of the class, which is the precision of a guess.",
    "confusion": "Samples by observed class (rows) and predicted class (columns), averaged over repeats, with the share of the row. "
    "Mistakes lie off the diagonal.",
    "confusion_test": "The same for the samples of the test set, predicted once by models fitted to all the others. With few samples, one "
    "of them changes every share.",
    "calibration": "Samples that were given about the same probability of the class, and the share of them that is of the class, with its "
    "95 % interval. On the dashed line, what the model says comes true; below it, it promises too much. Bars at the bottom: how many "
    "samples were given which probability.",
    "predicted_test": "The samples of the test set, predicted once by models fitted to all the others.",
    "history": "Loss by epoch, on what the network learned from and on the validation part set aside of it. Pale: folds; strong: their "
    "mean; dashed: the fit that predicted the test set. A validation loss that turns upward is overfitting.",
    "history_score": "The same fits by their score. The network is not judged by these samples, but by those held out of all of this.",
    "heatmap": "Columns: samples, by class and held-out probability. Rows: genes, in standard deviations from their mean, clustered. The "
    "genes were chosen with these samples, so that they tell the classes apart here is no evidence of its own. Triangles: misclassified.",
    "predicted": "One dot a sample, mean over repeats; grey lines: range over repeats. Good predictions lie on the dashed line.",
    "shap": "One dot a held-out sample: how far the gene moved its prediction, and which way. Orange on one side and blue on the "
    "other means that expression pushes in one direction. Grey bars: the average size of the move.",
    "evidence": "Each gene by its difference between the groups and by how much the models rely on it. Upper corners: both kinds of "
    "evidence agree. High in the middle: used without differing by itself. Low at the sides: differs, but was not needed.",
    "volcano": "Each gene by its difference between the groups and by how surprising it is. Coloured: called at the adjusted "
    "p-value in the legend; dashed: the largest p-value among these. This evidence did not choose genes for any model.",
    "ma": "Each gene by its difference between the groups and its mean expression. A cloud that bends or widens to one side points to "
    "a problem of scale or normalisation.",
    "stability": "Bars: how many of the folds chose the gene. Dots and lines: its rank within the folds. Genes chosen everywhere with "
    "a narrow range do not depend on a few particular samples.",
}

OF_CLASSES = {  # more than two classes: these figures are other ones
    "shap": "Average size of the move that each gene gives to the predictions of held-out samples, and which class it moves.",
    "agreement": "One dot a gene that a model used, by its rank by p-value and its rank by SHAP: the strongest by both are at the lower "
    "left. In the square: how many are among the first by both, and how many chance would put there.",
    "calibration": "Samples that were given about the same probability of a class, and the share of them that is of the class. On the "
    "dashed line, what the model says comes true; below it, it promises too much. Bars at the bottom: how many samples were given which "
    "probability.",
}
OF_A_JOINT_TEST = {
    "evidence": "Each gene by its p-value (a joint test of several effects has no direction) and by how much the models rely on it. Upper "
    "right: both kinds of evidence agree. Upper left: used without differing by itself. Lower right: differs, but was not needed.",
}
OF_ALL_GENES = {  # no screen: the same genes in every fold
    "stability": "Every fold was given the same genes. Bars: how many of the fold models used the gene. Dots and lines: its rank by SHAP, "
    "and the interval of that.",
}
OF_A_NUMBER = {  # there are no groups to differ, and no sample is misclassified
    "gene_groups": "Left: correlations after a line through the target; in a box, genes that go together. Right: what each gene moves "
    "(dark) and what its group moves together (pale). A group is one finding, whichever of its genes a model names.",
    "shap_heatmap": "Columns: held-out samples. Rows: the genes that the models rely on most. Colour: how far the gene moved the "
    "prediction of this sample, and which way. Samples that look unlike their neighbours deserve a look.",
    "shap_waterfall": "From the average prediction to that of one sample: each bar is what one gene added or took. For a sample that was "
    "predicted badly, the bars that point the wrong way are those to look at.",
    "heatmap": "Columns: samples, by the target. Rows: genes, in standard deviations from their mean, clustered. The genes were chosen "
    "with these samples, so that they go with the target here is no evidence of its own.",
    "evidence": "Each gene by how it goes with the target (logFC: the change by one unit of it) and by how much the models rely on it. "
    "Upper corners: both kinds of evidence agree. High in the middle: used without going with the target by itself. Low at the sides: goes "
    "with it, but was not needed.",
    "volcano": "Each gene by its change with the target (logFC: by one unit of it) and by how surprising that is. Coloured: called at the "
    "adjusted p-value in the legend; dashed: the largest p-value among these. This evidence did not choose genes for any model.",
    "ma": "Each gene by its change with the target and its mean expression. A cloud that bends or widens to one side points to a "
    "problem of scale or normalisation.",
}

# section -> its figures, in order; a name that starts like one of these goes with it, any other to the genes
PLACES = {
    "study": ("design",),
    "performance": (
        *("compare", "null", "confusion", "confusion_test", "roc", "pr", "calibration", "predicted", "predicted_test"),
        *("learning_curve", "history", "history_score", "heatmap"),
    ),
    "genes": (
        "shap",
        "shap_bar",
        "shap_models",
        "evidence",
        "shap_heatmap",
        "shap_dependence",
        "volcano",
        "ma",
        "stability",
        "agreement",
        "gene_null",
    ),
    "chance": ("gene_null", "knockoffs"),
    "groups": ("gene_groups",),
    "sets": ("gene_sets",),
    "samples": ("shap_waterfall",),
    "gene_level": ("gene_models", "gene_predicted", "gene_shap"),
}
_WIDE = 6.0  # inches


def placed(found: dict[str, Picture]) -> dict[str, list[Picture]]:
    """The figures by section, in the order of the page."""
    order = {name: (place, i) for place, members in PLACES.items() for i, name in enumerate(members)}
    out: dict[str, list[tuple[int, Picture]]] = {place: [] for place in PLACES}
    for name, picture in found.items():
        like = max((known for known in order if name.startswith(known)), key=len, default="agreement")
        place, i = order.get(name, order[like])
        out[place].append((i, picture))
    return {place: [picture for _, picture in sorted(some, key=lambda pair: pair[0])] for place, some in out.items()}


@dataclass(frozen=True)
class Picture:
    """A figure in the page."""

    name: str
    title: str
    src: str
    width: int
    height: int
    alt: str
    caption: str
    wide: bool


def themed(svg: str) -> str:
    """The drawing alone, its text and frame colours replaced by variables that follow light and dark."""
    svg = svg[svg.index("<svg") :]
    for color, name in _SWAP.items():
        svg = svg.replace(color.lower(), f"var({name})")
    end = svg.index(">") + 1
    return svg[:end] + _THEME + svg[end:]


def _address(figure: Figure) -> str:
    text = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(text, format="svg", dpi=160, transparent=True, metadata=nothing)
    drawing = themed(text.getvalue()).encode()
    if len(drawing) <= MAX_SVG:
        return f"data:image/svg+xml;base64,{base64.b64encode(drawing).decode()}"
    image = io.BytesIO()  # very many points: an image is smaller, on a white ground
    figure.savefig(image, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}"


def captions_for(adata: AnnData, keys: Keys) -> dict[str, str]:
    """What is to be seen in each figure, by what was asked."""
    stored, de, captions = adata.uns.get(keys.model), adata.uns.get(keys.de), CAPTIONS
    if isinstance(stored, Mapping) and "kind" in stored:
        n = len(stored.get("classes", ()))
        captions = CAPTIONS | (OF_A_NUMBER if not n else OF_CLASSES if n > 2 else {})
        screens = get.screens(adata, key=keys.model) if "screens" in stored else ()
        captions |= OF_ALL_GENES if len(screens) and all_the_same(screens) else {}
    return captions | (OF_A_JOINT_TEST if isinstance(de, Mapping) and de.get("kind") == "F" else {})


def pictures(adata: AnnData, keys: Keys) -> tuple[dict[str, Picture], dict[str, str]]:
    """Every figure there are results for; and for the others, why there is none."""
    found: dict[str, Picture] = {}
    reasons: dict[str, str] = {}
    captions = captions_for(adata, keys)
    settings = {"svg.hashsalt": "geneml_bio", "svg.fonttype": "path", "path.simplify_threshold": 0.2}
    with mpl_style.context(["default", settings]), _quiet():
        for drawn in draw_all(adata, keys):
            if drawn.figure is None:
                reasons[drawn.name] = drawn.reason
                continue
            src = _address(drawn.figure)
            width, height = (round(96 * inches * 1.05) for inches in drawn.figure.get_size_inches())
            title = TITLES.get(drawn.name, drawn.name.replace("_", " ").capitalize())
            caption = captions.get(drawn.name, "")
            alt = f"{title}: what to see is said below, the numbers are in the tables."
            wide = bool(drawn.figure.get_size_inches()[0] >= _WIDE)
            found[drawn.name] = Picture(drawn.name, title, src, width, height, alt, caption, wide)
    return found, reasons


class _quiet:
    """Matplotlib says on the log which glyphs its font lacks; a report has no use for that."""

    def __enter__(self) -> None:
        self.logger = logging.getLogger("matplotlib")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *error: object) -> None:
        self.logger.setLevel(self.level)
