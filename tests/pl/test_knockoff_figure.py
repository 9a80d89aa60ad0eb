"""gb.pl.knockoffs draws what the filter found, and nothing that it did not."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

import geneml_bio as gb
from geneml_bio.core.knockoffs import knockoff_q
from geneml_bio.pl._all import Keys, draw
from geneml_bio.pl._style import BLUE, VERMILLION


def study(seed: int = 0, n_true: int = 30, n: int = 400, fdr: float = 0.1, n_draws: int = 1) -> ad.AnnData:
    """W as a filter leaves them: large for some genes, of either sign for the others, zero for most."""
    rng = np.random.default_rng(seed)
    W = np.where(rng.random(n) < 0.6, 0.0, rng.normal(0, 0.02, n))
    W[:n_true] = rng.uniform(0.03, 0.3, n_true)
    W[n - 5 :] = np.nan  # not looked at
    q = np.full(n, np.nan)
    q[: n - 5] = knockoff_q(W[: n - 5])
    var = pd.DataFrame({"knockoffs_W": W, "knockoffs_q": q}, index=[f"gene{i}" for i in range(n)])
    adata = ad.AnnData(np.zeros((4, n)), var=var)
    adata.uns["knockoffs"] = {"params": {"fdr": fdr, "n_draws": n_draws}, "n_called": int((q <= fdr).sum())}
    return adata


def drawn(ax, gid: str) -> list:
    return ax.findobj(lambda a: a.get_gid() == gid)


def threshold(W: np.ndarray, fdr: float) -> float:
    """Of knockoff+, by its definition (Barber and Candes 2015)."""
    cuts = np.unique(np.abs(W[W != 0]))
    good = [t for t in cuts if (1 + (-t >= W).sum()) / max((t <= W).sum(), 1) <= fdr]
    return min(good) if good else np.inf


@pytest.mark.parametrize("fdr", [0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_each_gene_is_a_dot_in_order_and_the_line_is_the_threshold(seed, fdr, ax):
    adata = study(seed)
    gb.pl.knockoffs(adata, fdr=fdr, ax=ax)
    W = adata.var["knockoffs_W"].dropna().to_numpy()
    cut = threshold(W, fdr)
    parts = {name: np.vstack([c.get_offsets() for c in drawn(ax, name)] or [np.empty((0, 2))])
             for name in ("called", "copies", "rest")}  # fmt: skip
    assert {name: to_hex(drawn(ax, name)[0].get_facecolors()[0]) for name in ("called",)} == {
        "called": VERMILLION.lower()
    }
    np.testing.assert_allclose(np.sort(parts["called"][:, 1]), np.sort(W[cut <= W]))
    (line,), (mirror,) = drawn(ax, "threshold"), drawn(ax, "mirror")
    least = W[cut <= W].min()
    assert line.get_ydata()[0] == least == -mirror.get_ydata()[0]
    np.testing.assert_allclose(np.sort(parts["copies"][:, 1]), np.sort(W[-least >= W]))
    if len(parts["copies"]):
        assert to_hex(drawn(ax, "copies")[0].get_facecolors()[0]) == BLUE.lower()
    every = np.vstack(list(parts.values()))
    every = every[np.argsort(every[:, 0])]
    np.testing.assert_array_equal(every[:, 0], np.arange(1, (W != 0).sum() + 1))
    np.testing.assert_allclose(every[:, 1], np.sort(W[W != 0])[::-1])
    said = ax.get_title(loc="left").replace("\n", " ")
    assert said.startswith(f"{(cut <= W).sum()} of {len(W)} genes called at a false discovery rate of {fdr:g}")
    assert f"{(W == 0).sum():,} with W = 0" in ax.get_xlabel().replace("\n", " ")


def test_the_strongest_called_genes_are_named_apart_and_nothing_warns(ax):
    adata = study()
    adata.var["symbol"] = [f"SYM{i}" for i in range(adata.n_vars)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gb.pl.knockoffs(adata, n_labels=6, ax=ax).figure.canvas.draw()
    notes = [note for note in ax.texts if getattr(note, "arrow_patch", None) is not None]
    strongest = adata.var.sort_values("knockoffs_W", ascending=False)["symbol"][:6]
    assert {note.get_text() for note in notes} <= set(strongest)
    assert len(notes) >= 4
    boxes = [Text.get_window_extent(note, ax.figure.canvas.get_renderer()) for note in notes]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_where_nothing_is_called_there_is_no_line(ax):
    adata = study(n_true=0)
    gb.pl.knockoffs(adata, ax=ax)
    assert not drawn(ax, "threshold")
    assert not drawn(ax, "mirror")
    assert not drawn(ax, "copies")
    assert ax.get_title(loc="left").startswith("none of 395 genes")
    adata.var["knockoffs_W"] *= 0
    gb.pl.knockoffs(adata, ax=ax)  # no dot at all


def test_of_several_draws_there_is_no_threshold_and_no_other_rate(ax):
    adata = study(n_draws=3)
    gb.pl.knockoffs(adata, ax=ax)
    assert not drawn(ax, "threshold")
    assert len(drawn(ax, "called")[0].get_offsets()) == adata.uns["knockoffs"]["n_called"] > 0
    assert "mean of 3 draws" in ax.get_ylabel()
    with pytest.raises(gb.errors.InputError, match=r"cut for fdr=0\.1"):
        gb.pl.knockoffs(adata, fdr=0.2, ax=ax)


def test_what_was_not_run_or_is_no_rate_is_refused(ax):
    with pytest.raises(gb.errors.ColumnNotFoundError, match=r"gb\.tl\.knockoffs"):
        gb.pl.knockoffs(ad.AnnData(np.zeros((2, 3))), ax=ax)
    with pytest.raises(gb.errors.InputError, match="between 0 and 1"):
        gb.pl.knockoffs(study(), fdr=1.5, ax=ax)


def test_it_is_drawn_of_real_results_and_goes_into_the_catalog():
    pytest.importorskip("hidimstat")
    adata = gb.datasets.simulate(150, 120, n_informative=15, effect=1.6, seed=2)
    found = gb.tl.knockoffs(adata, "target", fdr=0.2)
    figure = draw(adata, "knockoffs", Keys()).figure
    called = figure.axes[0].findobj(lambda a: a.get_gid() == "called")[0]
    assert len(called.get_offsets()) == found.called.sum() > 0
    assert draw(study(), "knockoffs", Keys(knockoffs="other")).figure is None
