"""Figures with much to write: many curves, long classes, long contrasts."""

from __future__ import annotations

import itertools
import re
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib import pyplot as plt
from matplotlib.text import Text

import geneml_bio as gb
from geneml_bio.pl._all import Keys, draw


@pytest.mark.parametrize("width", [None, 85.0])
@pytest.mark.parametrize("name", ["roc", "pr"])
def test_curves_of_many_models_have_room(two, name, width):
    adata = two.copy()
    stored = dict(adata.uns["classify"])
    for what in ("metrics", "predictions"):
        one = stored[what][stored[what]["model"].astype(str) == "logistic"]
        stored[what] = pd.concat([one.assign(model=f"regression number {k}") for k in range(9)], ignore_index=True)
    stored["best"] = "regression number 0"
    adata.uns["classify"] = stored
    figure = draw(adata, name, Keys(), width).figure
    figure.canvas.draw()
    box = figure.axes[0].get_window_extent()
    assert min(box.width, box.height) / figure.dpi > 2.0, "inches"
    getattr(gb.pl, name)(adata)
    alone = plt.gcf()
    alone.canvas.draw()
    assert alone.axes[0].get_window_extent().width / alone.dpi > 2.0


def test_long_classes_beside_each_other_do_not_overlap():
    classes = ("acute leukaemia, at diagnosis", "acute leukaemia, at relapse", "healthy donors of the clinic")
    adata = result_studies.expression(classes, n=18, p=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        gb.tl.classify(adata, "dx", models="logistic", n_splits=2, n_repeats=1, tune=False, n_jobs=1, progress=False)
    figure = draw(adata, "confusion", Keys()).figure
    figure.canvas.draw()
    labels = figure.axes[0].get_xticklabels()
    level = [Text.get_window_extent(label) for label in labels if label.get_rotation() == 0]
    assert not any(a.overlaps(b) for a, b in itertools.pairwise(level))


def test_both_sides_of_a_contrast_are_told(two, ax):
    adata = two.copy()
    long = "acute lymphoblastic leukaemia with t(12;21)(p13;q22) ETV6-RUNX1"
    adata.uns["limma"] = adata.uns["limma"] | {"contrast": f"{long} relapse vs {long} diagnosis"}
    title = " ".join(gb.pl.volcano(adata, ax=ax).get_title(loc="left").split())
    assert re.fullmatch(r"acute .*relapse vs acute .*diagnosis", title)


def test_numbers_in_figures_are_written_plainly(two, ax):
    adata = two[:, :40].copy()  # 20 of 40 by each: 10 by chance
    assert any("(10 by chance)" in text.get_text() for text in gb.pl.agreement(adata, n_top=20, ax=ax).texts)


@pytest.mark.parametrize("width", [None, 85.0])
@pytest.mark.parametrize("name", ["roc", "pr"])
@pytest.mark.parametrize("k", [2, 3, 6, 12])
def test_legends_stand_beside_the_curves_of_several_classes(k, name, width):
    """Weak models: their curves cross the whole of the Axes."""
    rng = np.random.default_rng(k)
    classes = [f"subtype {i}" for i in range(k)]
    observed = np.repeat(classes, 8)
    prob = rng.dirichlet(np.ones(k), len(observed))
    predictions = pd.DataFrame({"repeat": 0, "fold": 0, "model": "logistic", "observed": observed,
                                "sample": [f"s{i}" for i in range(len(observed))]})  # fmt: skip
    predictions["predicted"] = np.array(classes)[prob.argmax(axis=1)]
    predictions[[f"prob_{c}" for c in classes]] = prob
    adata = ad.AnnData(obs=pd.DataFrame(index=predictions["sample"]))
    metrics = pd.DataFrame({"model": "logistic", "metric": ["roc_auc"], "value": 0.5, "low": 0.4, "high": 0.6})
    params = {"target": "dx", "models": ["logistic"], "groups": None}
    adata.uns["classify"] = {"kind": "classification", "classes": classes, "best": "logistic", "predictions": predictions,
                             "metrics": metrics, "params": params}  # fmt: skip
    figure = draw(adata, name, Keys(), width).figure
    figure.canvas.draw()
    (ax,) = figure.axes
    box, legend = ax.get_window_extent(), ax.get_legend().get_window_extent()
    assert (legend.x0 >= box.x1 - 1) == (k > 2)
    assert len(ax.get_legend().get_texts()) == (1 if k == 2 else k)
    assert legend.x1 <= figure.bbox.x1 + 1
    assert legend.y0 >= figure.bbox.y0 - 1
    assert min(box.width, box.height) / figure.dpi > 2.0, "inches"
