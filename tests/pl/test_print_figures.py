"""What holds for all figures: they can be read in print, stay small for large data, and look as they did."""

from __future__ import annotations

import io
import time
import warnings
from pathlib import Path

import anndata as ad
import matplotlib
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import result_studies
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text
from scipy import sparse

import geneml_bio as gb
from geneml_bio.pl._all import Keys, draw, draw_all

BASELINES = Path(__file__).parent / "baselines"
MADE_WITH = (BASELINES / "matplotlib.txt").read_text().strip() if (BASELINES / "matplotlib.txt").exists() else ""


def new(size=(5, 4)):
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def drawn(ax, gid: str) -> list:
    return ax.findobj(lambda a: a.get_gid() == gid)


def written(figure) -> list[Text]:
    """The texts that are drawn: matplotlib keeps labels of ticks outside the limits, and leaves them out."""
    unseen = set()
    for axis in figure.findobj(Axis):
        low, high = sorted(axis.get_view_interval())
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low <= tick.get_loc() <= high:
                unseen |= {tick.label1, tick.label2}
    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip() and t not in unseen]


# -- print -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("study", ["two", "hostile"])
def test_text_can_be_read_in_a_column_and_lies_within_the_figure(request, study):
    adata = request.getfixturevalue(study)
    with mpl.rc_context({"font.size": 8.0}):
        for one in draw_all(adata, Keys(), width=85.0):
            if one.figure is None:
                continue
            one.figure.canvas.draw()
            width = one.figure.get_size_inches()[0] * 25.4
            assert width == pytest.approx(180 if "heatmap" in one.name else 85, abs=0.1), one.name
            box, renderer = one.figure.bbox, one.figure.canvas.get_renderer()
            for text in written(one.figure):
                assert text.get_fontsize() >= 6 - 1e-9, (one.name, text.get_text())
                inside = Text.get_window_extent(text, renderer)
                over = max(box.x0 - inside.x0, inside.x1 - box.x1, box.y0 - inside.y0, inside.y1 - box.y1)
                assert over < 0.06 * box.width, (one.name, text.get_text(), over)


@pytest.mark.parametrize("width", [10, 1000, np.nan])
def test_a_width_that_is_no_width_is_refused(two, tmp_path, width):
    with pytest.raises(gb.errors.InputError, match="in mm"):
        gb.pl.save_figures(two, tmp_path, width=width)


# -- learning curve and gene sets --------------------------------------------------------------------------------------


def test_learning_curve_draws_means_repeats_and_intervals():
    adata = result_studies.expression(("a", "b"), n=40, p=30)
    result_studies.analysed(adata, de=False, explain=False, n_permutations=0, models="logistic")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        table = gb.tl.learning_curve(adata, sizes=(0.5, 1.0), n_jobs=1, progress=False)
    ax = gb.pl.learning_curve(adata, ax=new())
    mine = table[table["metric"] == "balanced_accuracy"].sort_values("n_train")
    (line,) = drawn(ax, "mean-logistic")
    np.testing.assert_allclose(np.column_stack(line.get_data()), mine[["n_train", "value"]])
    assert len(drawn(ax, "repeat-logistic")) == 2
    (band,) = drawn(ax, "band-logistic")
    y = band.get_paths()[0].vertices[:, 1]
    assert y.min() == pytest.approx(mine["low"].min())
    assert y.max() == pytest.approx(mine["high"].max())
    assert drawn(ax, "chance")[0].get_ydata()[0] == 0.5
    with pytest.raises(gb.errors.InputError, match="Did you mean 'roc_auc'"):
        gb.pl.learning_curve(adata, metric="rocauc", ax=new())
    with pytest.raises(gb.errors.InputError, match="'logistic'"):
        gb.pl.learning_curve(adata, model="logistics", ax=new())


def test_gene_sets_draw_share_direction_and_call(two):
    adata = two.copy()
    names = list(adata.var_names)
    sets = {f"set_{i}": names[i * 12 : i * 12 + 12] for i in range(8)}
    table = gb.tl.gene_sets(adata, sets)
    ax = gb.pl.gene_sets(adata, n_sets=6, alpha=0.5, ax=new())
    (dots,) = drawn(ax, "sets")
    np.testing.assert_allclose(dots.get_offsets()[:, 0], table["share"].head(6))
    assert [t.get_text() for t in ax.get_yticklabels()] == [name.replace("_", " ") for name in table["set"].head(6)]
    filled = (dots.get_facecolors() == dots.get_edgecolors()).all(axis=1)
    np.testing.assert_array_equal(filled, table["adj.P.Val"].head(6) <= 0.5)
    beside = [t.get_text() for child in ax.child_axes for t in child.get_yticklabels()]
    assert beside[0].endswith(f"({table['n_used'].iloc[0]}/{table['n_tested'].iloc[0]})")


# -- off the scale -----------------------------------------------------------------------------------------------------


def test_scores_below_the_scale_are_arrows_with_their_value():
    from geneml_bio.pl.gene_level import _one_block

    ax = new()
    part = pd.DataFrame({"r2": [0.4, -0.9], "low": [0.3, -2.0], "high": [0.5, 0.1], "test_r2": [-3.25, 0.2]})
    _one_block(ax, part, np.array([0.0, 1.0]), "r2", "independent")
    for kind, where in (("cv", 1.0), ("held", 0.0)):
        (arrow,) = drawn(ax, f"independent-off-{kind}")
        assert arrow.get_marker() == "<"
        assert list(arrow.get_ydata()) == [where]
    np.testing.assert_allclose(drawn(ax, "independent")[0].get_xdata(), [0.4])
    np.testing.assert_allclose(drawn(ax, "independent-held")[0].get_xdata(), [0.2])
    assert [note.get_text() for note in drawn(ax, "off-scale")] == ["off scale: −3.25 held out", "off scale: −0.9"]


# -- many samples and genes --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large() -> ad.AnnData:
    """Results of 60,000 cells and 20,000 genes, made by hand: only what figures read."""
    rng = np.random.default_rng(0)
    small = result_studies.two_classes()
    n, p = 60_000, 20_000
    y = np.where(np.arange(n) % 2 == 1, "ill", "healthy")
    cells = [f"c{i}" for i in range(n)]
    values = sparse.hstack(
        [sparse.csr_matrix(rng.normal(size=(n, 20)) * np.linspace(1, 0.1, 20)), sparse.csr_matrix((n, p - 20))]
    ).tocsr()
    X = sparse.hstack([sparse.csr_matrix(rng.normal(size=(n, 20))), sparse.csr_matrix((n, p - 20))]).tocsr()
    adata = ad.AnnData(
        X, pd.DataFrame({"dx": pd.Categorical(y)}, index=cells), pd.DataFrame(index=[f"g{j}" for j in range(p)])
    )
    prob = np.clip(0.5 + 0.2 * (2 * (y == "ill") - 1) + rng.normal(scale=0.2, size=n), 0, 1)
    called = np.where(prob > 0.5, "ill", "healthy")
    frame = pd.DataFrame(
        {"repeat": 0, "fold": np.arange(n) % 3, "sample": cells, "model": "forest", "observed": y, "predicted": called}
    )
    stored = dict(small.uns["classify"])
    stored["predictions"] = frame.assign(prob_healthy=1 - prob, prob_ill=prob)
    stored["folds"] = frame[["repeat", "fold", "sample"]]
    stored["best"] = "forest"
    adata.uns["classify"] = stored
    adata.layers["classify_shap"] = values
    adata.uns["classify_shap"] = small.uns["classify_shap"]
    adata.obsm["classify_shap_margin"] = pd.DataFrame({"ill": np.asarray(values.sum(axis=1)).ravel()}, index=cells)
    adata.obsm["classify_shap_base"] = adata.obsm["classify_shap_margin"] * 0
    mean = np.asarray(abs(values).mean(axis=0)).ravel()
    adata.var["classify_shap"], adata.var["classify_shap_direction"] = mean, 1
    adata.var["classify_shap_rank"] = pd.Series(-mean).rank().to_numpy()
    adata.varm["classify_shap_summary"] = pd.DataFrame(
        {"rho": 0.0, "n_models": 1, "used": 1.0, "shap:forest": mean / mean.sum()}, index=adata.var_names
    )
    for name, column in {
        "logFC": rng.normal(size=p),
        "AveExpr": rng.normal(size=p),
        "P.Value": rng.random(p),
        "adj.P.Val": rng.random(p),
    }.items():
        adata.var[f"limma_{name}"] = column
    adata.uns["limma"] = {"kind": "t", "contrast": "ill - healthy"}
    return adata


@pytest.mark.parametrize(
    "name", ["roc", "pr", "calibration", "shap", "shap_dependence", "shap_heatmap", "heatmap", "volcano", "ma"]
)
def test_large_data_make_small_files_in_little_time(large, name):
    start = time.perf_counter()
    one = draw(large, name, Keys())
    assert one.figure is not None, one.reason
    file = io.BytesIO()
    one.figure.savefig(file, format="svg")
    assert len(file.getvalue()) < 3_000_000
    assert time.perf_counter() - start < 30
    said = " ".join(text.get_text() for text in written(one.figure))
    if name in ("shap", "shap_dependence", "shap_heatmap", "heatmap"):
        assert "60,000" in said


# -- stored pictures ---------------------------------------------------------------------------------------------------


PICTURES = ("volcano", "compare", "shap", "shap_waterfall", "shap_heatmap", "agreement")


@pytest.mark.skipif(matplotlib.__version__ != MADE_WITH, reason=f"the pictures were made with matplotlib {MADE_WITH}")
@pytest.mark.parametrize("name", PICTURES)
def test_looks_as_it_did(name, tmp_path):
    """Numbers are made by hand, so that only the drawing is compared. Made anew by: python tests/pl/test_print_figures.py."""
    picture(name, tmp_path / f"{name}.png")
    assert compare_images(str(BASELINES / f"{name}.png"), str(tmp_path / f"{name}.png"), tol=4) is None


def picture(name: str, path: Path) -> None:
    with mpl.rc_context():
        mpl.rcdefaults()
        draw(by_hand(), name, Keys()).figure.savefig(path, dpi=60)


def by_hand() -> ad.AnnData:
    """A study whose results depend on no estimator."""
    rng = np.random.default_rng(0)
    n, p = 24, 60
    y = np.array(["healthy", "ill"])[np.arange(n) % 2]
    names = [f"s{i}" for i in range(n)]
    X = rng.normal(7, 1, (n, p))
    values = np.zeros((n, p))
    values[:, :12] = (X[:, :12] - 7) * np.linspace(0.1, 0.01, 12) * np.where(np.arange(12) % 3, 1, -1)
    adata = ad.AnnData(
        X, pd.DataFrame({"dx": pd.Categorical(y)}, index=names), pd.DataFrame(index=[f"gene{j}" for j in range(p)])
    )
    prob = np.clip(0.5 + 0.3 * (2 * (y == "ill") - 1) + rng.normal(scale=0.25, size=n), 0.01, 0.99)
    frame = pd.DataFrame({"repeat": 0, "fold": np.arange(n) % 3, "sample": names, "model": "logistic", "observed": y})
    frame = frame.assign(predicted=np.where(prob > 0.5, "ill", "healthy"), prob_healthy=1 - prob, prob_ill=prob)
    rows = [
        ("logistic", 0.85, 0.7, 0.95),
        ("xgboost", 0.8, 0.62, 0.92),
        ("best of k (corrected)", 0.83, 0.66, 0.94),
        ("covariates only", 0.6, 0.4, 0.75),
    ]
    metrics = pd.DataFrame(rows, columns=["model", "value", "low", "high"]).assign(
        metric="balanced_accuracy", null_mean=0.5, null_high=0.62, p_value=0.01
    )
    about = {
        "kind": "classification",
        "params": {"target": "dx"},
        "classes": np.array(["healthy", "ill"], dtype=object),
    }
    frames = {"metrics": metrics, "predictions": frame, "folds": frame[["repeat", "fold", "sample"]]}
    others = {"best": "logistic", "baselines": np.array(["covariates only"], dtype=object)}
    adata.uns["classify"] = about | frames | others
    adata.layers["classify_shap"] = sparse.csr_matrix(values)
    adata.uns["classify_shap"] = {"model": "consensus", "unit": "share", "outputs": np.array(["ill"], dtype=object)}
    adata.obsm["classify_shap_base"] = pd.DataFrame({"ill": np.full(n, 0.02)}, index=names)
    adata.obsm["classify_shap_margin"] = pd.DataFrame({"ill": 0.02 + values.sum(axis=1)}, index=names)
    mean = np.abs(values).mean(axis=0)
    way = np.where(mean > 0, np.where(np.arange(p) % 3, 1, -1), 0)
    adata.var["classify_shap"], adata.var["classify_shap_direction"] = mean, way
    adata.var["classify_shap_rank"] = pd.Series(-mean).rank().to_numpy()
    adata.varm["classify_shap_summary"] = pd.DataFrame(
        {"rho": 0.9 * way, "n_models": 1, "used": 1.0, "shap:logistic": mean / mean.sum()}, index=adata.var_names
    )
    t = rng.normal(size=p) + 30 * mean * way
    pv = np.exp(-(t**2))
    adata.var["limma_logFC"], adata.var["limma_P.Value"], adata.var["limma_adj.P.Val"] = (
        t / 2,
        pv,
        np.minimum(pv * 8, 1),
    )
    adata.uns["limma"] = {"kind": "t", "contrast": "ill - healthy"}
    told = np.where(mean > 0, np.where(np.sign(t) == way, "agree", "conflict"), "")
    adata.varm["biomarkers"] = pd.DataFrame(
        {
            "rank": adata.var["classify_shap_rank"],
            "class": "",
            "logFC": t / 2,
            "P.Value": pv,
            "shap": mean,
            "agreement": told,
        }
    )
    adata.uns["biomarkers"] = {"alpha": 0.05, "model": "classify"}
    return adata


if __name__ == "__main__":
    BASELINES.mkdir(exist_ok=True)
    (BASELINES / "matplotlib.txt").write_text(f"{matplotlib.__version__}\n")
    for one in PICTURES:
        picture(one, BASELINES / f"{one}.png")
