"""Workflow 3 as a user meets it: files, AnnData, gene sets, figures, the command."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import sparse
from sklearn.linear_model import LinearRegression

import geneml_bio as gb
from geneml_bio.bridge.gene_sets import read_gene_sets
from geneml_bio.core.errors import AuditWarning, DataWarning, GenemlError, InputError, StorageError

mpl.use("Agg")
TORTURE = Path(__file__).parent / "data" / "torture"
FAST = {"models": ["linear", "decision_tree"], "n_splits": 3, "tune": False, "n_jobs": 1, "progress": False}


@pytest.fixture(scope="module")
def golub() -> tuple[ad.AnnData, pd.DataFrame]:
    """Golub's study without every second ALL sample, and gene features of those."""
    adata = gb.datasets.golub()
    spare = np.zeros(adata.n_obs, dtype=bool)
    spare[np.flatnonzero(adata.obs["class"] == "ALL")[::2]] = True
    features = gb.pp.gene_features(adata, reference=spare)
    study = adata[~spare].copy()
    gb.tl.limma(study, "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    return study, features


@pytest.fixture(scope="module")
def result(golub):
    study, features = golub
    with pytest.warns(AuditWarning, match="baseline_mean"):
        return gb.tl.regress_genes(study.copy(), features=features, **FAST)


def row(result, block: str, model: str) -> pd.Series:
    return result.table.set_index(["block", "model"]).loc[(block, model)]


# -- Golub -------------------------------------------------------------------------------------------------------------


def test_golub_independent_predictors_say_little_and_algebra_nearly_all(result):
    assert row(result, "algebraic", "linear")["r2"] > 0.8
    assert row(result, "algebraic", "closed form")["r2"] > 0.8
    assert -0.1 < row(result, "independent", "decision_tree")["r2"] < 0.4
    ceiling = row(result, "reference", "noise ceiling")["r2"]
    assert 0.6 < ceiling < 0.9
    # a statistic of the same test knows the noise too, and passes what true effects could reach
    assert row(result, "algebraic", "linear")["r2"] > ceiling


def test_golub_b_is_its_formula(golub):
    study, _ = golub
    result = gb.tl.regress_genes(gb.read.toptable(study, sheet="limma"), "B", explain=False, **FAST)
    assert row(result, "algebraic", "closed form")[["r2", "test_r2"]].tolist() == pytest.approx([1.0, 1.0], abs=1e-9)
    assert "logit(p)" in result.formula
    assert "There is none for B" in result.ceiling_words


def test_the_summary_says_what_a_reader_needs(result):
    said = " ".join(str(result).split())
    for words in (
        "arithmetic, not biology",
        "Noise ceiling",
        "Closed form",
        "not independent",
        "held out",
        "baseline_mean",
        "SHAP",
    ):
        assert words in said
    assert max(map(len, str(result).splitlines())) <= 140


def test_an_anndata_gets_its_results_and_keeps_them(golub, tmp_path):
    study, features = golub
    study = study.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AuditWarning)
        result = gb.tl.regress_genes(study, features=features, key="limma", **FAST)
    made = result.predictions()
    np.testing.assert_allclose(study.var["regress_genes_prediction"], made["predicted"].reindex(study.var_names))
    assert (study.var["regress_genes_set"] == "test").sum() == result.spec["n_test"] == (made["set"] == "test").sum()
    for suffix, write, read in ((".h5ad", "write_h5ad", ad.read_h5ad), (".zarr", "write_zarr", ad.read_zarr)):
        path = tmp_path / f"study{suffix}"
        getattr(study, write)(path)
        back = read(path)
        table = gb.get.gene_table(back)
        np.testing.assert_allclose(table["r2"], result.table["r2"])
        assert str(back.uns["regress_genes"]["best"]) == result.best()
    with pytest.raises(StorageError, match="gene-level regression"):
        gb.tl.limma(study, "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native", key_added="regress_genes")


def test_a_failing_call_leaves_the_anndata_as_it_was(golub):
    study = golub[0].copy()
    before = set(study.var), set(study.uns)
    with pytest.raises(InputError, match="same id space"):
        gb.tl.regress_genes(study, features=pd.DataFrame({"x": [1.0]}, index=["no such gene"]), **FAST)
    with pytest.raises(StorageError, match="DE results"):
        gb.tl.regress_genes(study, key_added="limma", **FAST)
    assert (set(study.var), set(study.uns)) == before


def test_fitted_on_one_study_it_predicts_another(golub, result):
    study, features = golub
    fitted = result.fit("linear", block="independent")
    again = fitted.predict(gb.read.toptable(study), features=features)
    X = result.X[list(fitted.names)]
    by_hand = LinearRegression().fit(X, result.y).predict(X)
    np.testing.assert_allclose(again.reindex(result.X.index), by_hand, rtol=1e-8, atol=1e-10)
    with pytest.raises(InputError, match="baseline_sd"):
        fitted.predict(gb.read.toptable(study))


# -- tables of strangers -------------------------------------------------------------------------------------------------

MANIFEST = json.loads((TORTURE / "manifest.json").read_text())
FILES = sorted(path.name for path in TORTURE.iterdir() if path.name[0] == "G" and path.name[1].isdigit())
REFUSED = {"G08": "at least 20", "G09": "no row passed", "G22": "side by side"}
TARGETS = {"G04": "BvsA", "G12": "logFC.labC"}


def test_a_table_cut_by_its_own_results_is_said_to_be():
    de = gb.read.toptable(TORTURE / "G01_toptable_writecsv.csv")
    cut = gb.DETable(de.frame[de.frame["logFC"].abs() > 1.0])
    result = gb.tl.regress_genes(cut, explain=False, **FAST)
    assert any("chosen by what they are to predict" in message for message in result.report["message"])
    whole = gb.tl.regress_genes(de, explain=False, **FAST)
    assert not (whole.report["check"] == "table").any()


@pytest.mark.parametrize("name", FILES)
def test_torture_tables_give_a_result_or_one_clear_error(name):
    code = name.split("_")[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gb.errors.GenemlWarning)
        if code in REFUSED:
            with pytest.raises(GenemlError, match=REFUSED[code]):
                gb.tl.regress_genes(TORTURE / name, TARGETS.get(code, "logFC"), explain=False, **FAST)
            return
        result = gb.tl.regress_genes(TORTURE / name, TARGETS.get(code, "logFC"), explain=False, **FAST)
    table = result.table
    assert np.isfinite(table.loc[table["model"] != "noise ceiling", ["r2", "rmse", "mae", "test_r2"]]).all(axis=None)
    assert ("independent" in result.blocks) is (code != "G21")
    names = set(result.predictors.loc[result.predictors["block"] == "independent", "predictor"])
    assert names <= {"AveExpr", "baseMean"}
    if "t" in result.X or "CI.L" in result.X:
        assert "closed form" in set(table["model"])
    if code == "G07":
        assert row(result, "algebraic", "closed form")["r2"] == pytest.approx(1.0, abs=1e-9)
    if code == "G14":
        assert "t SE" in result.formula
    if code == "G04":  # contrasts of one table share their samples
        assert "CvsA" in result.plan.blocks["other contrasts"]


def test_repeated_genes_of_a_probe_table_stay_together():
    frame = gb.read.toptable(TORTURE / "G01_toptable_writecsv.csv").frame.copy()
    rng = np.random.default_rng(0)
    frame["Gene Symbol"] = [f"GENE{i}" for i in rng.integers(0, 90, len(frame))]
    frame.loc[frame.index[:10], "Gene Symbol"] = "---"
    frame["Chromosome"] = rng.choice(["chr1", "chr2", "chrX"], len(frame))
    result = gb.tl.regress_genes(frame, explain=False, **FAST)
    listed = result.predictors.set_index("predictor")["block"]
    assert listed["Gene Symbol"] == ""
    assert listed["Chromosome"] == "independent"
    owner = pd.Series(frame["Gene Symbol"].to_numpy(), index=frame.index.astype(str))
    side = result.blocks["independent"].folds.set_index("sample")["fold"].reindex(owner.index, fill_value=-1)
    known = owner != "---"
    assert side[known].groupby(owner[known]).nunique().max() == 1
    assert side[~known].nunique() > 1  # a missing symbol is no gene
    loose = gb.tl.regress_genes(frame, groups=False, explain=False, **FAST)
    assert loose.spec["n_groups"] == len(frame)
    named = gb.tl.regress_genes(frame, groups=dict(zip(owner.index, owner, strict=True)), explain=False, **FAST)
    assert named.spec["n_groups"] == owner.str.replace("---", "x").nunique() - 1 + 10


# -- sources ---------------------------------------------------------------------------------------------------------------


def test_contrasts_are_warned_of_where_nothing_is_said(golub):
    table = gb.read.toptable(golub[0])
    with pytest.warns(AuditWarning, match="not said whether other share samples"):
        gb.tl.regress_genes(table, contrasts={"other": other_numbers(table)}, explain=False, **FAST)
    for bad in ("yes", {"nobody": True}):
        with pytest.raises(InputError, match="shared_samples"):
            gb.tl.regress_genes(table, contrasts={"other": table}, shared_samples=bad, **FAST)
    with pytest.raises(InputError, match="there are none"):
        gb.tl.regress_genes(table, shared_samples=True, **FAST)


def other_numbers(table: gb.DETable) -> gb.DETable:
    """The same genes with other numbers."""
    rng = np.random.default_rng(0)
    return gb.DETable(
        pd.DataFrame({"logFC": rng.normal(size=len(table)), "P.Value": rng.random(len(table))}, index=table.frame.index)
    )


def test_the_same_table_under_another_name_is_recognised(golub):
    table = gb.read.toptable(golub[0])
    with pytest.warns(AuditWarning, match="is tied to logFC"):
        result = gb.tl.regress_genes(table, contrasts={"copy": table}, shared_samples=False, explain=False, **FAST)
    assert "copy:logFC" in result.plan.blocks["algebraic"]


SETS = {"A": ["g1", "g2", "g3"], "B": ["g2", "g9"]}
GMT = "A\tof something\tg1\tg2\tg3\nB\thttp://x\tg2\tg9\t\n"
SET_FILES = [
    ("sets.gmt", GMT.encode()),
    ("sets.gmt.gz", gzip.compress(GMT.replace("\n", "\r\n").encode("utf-8-sig"), mtime=0)),
    ("net.csv", b"source,target\nA,g1\nA,g2\nA,g3\nB,g2\nB,g9\n"),
    ("net.tsv", b"gs_name\tgene_symbol\nA\tg1\nA\tg2\nA\tg3\nB\tg2\nB\tg9\n"),
    ("fuzzy.gmt", GMT.replace("g9", "g9,1.0").encode()),
]


@pytest.mark.parametrize(("name", "content"), SET_FILES, ids=[name for name, _ in SET_FILES])
def test_files_of_gene_sets(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    net = read_gene_sets(tmp_path / name)
    pd.testing.assert_frame_equal(net, read_gene_sets(SETS), check_dtype=False)
    assert net["weight"].eq(1).all()


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [("none.gmt", None, "no file"), ("empty.gmt", b"\n", "is empty"), ("bad.gmt", b"A\tg1\n", "line 1 of bad.gmt has 2 columns"),
     ("bad.csv", b"tf,gene\nA,g1\n", "source and target"), ("binary.gmt", b"\xff\xfe\x00\x81", "cannot be read as text"),
     ("cut.gmt.gz", gzip.compress(b"A\tb\tc\n" * 50, mtime=0)[:-12], "cannot be read as text")],
)  # fmt: skip
def test_files_that_are_no_gene_sets(name, content, match, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=match):
        read_gene_sets(tmp_path / name)


# -- gene features -----------------------------------------------------------------------------------------------------


def counted() -> ad.AnnData:
    rng = np.random.default_rng(0)
    X = sparse.random(12, 30, density=0.4, random_state=0, format="csr") * 10
    obs = pd.DataFrame({"condition": ["control"] * 7 + ["ill"] * 5}, index=[f"s{i}" for i in range(12)])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame({"gc": rng.random(30)}, index=[f"g{i}" for i in range(30)]))


def test_features_of_reference_samples():
    adata = counted()
    by_name = gb.pp.gene_features(
        adata, reference=("condition", "control"), annotation="gc", gene_sets={"S": ["g1", "g2", "g3"]}, min_size=2
    )
    controls = adata.X.toarray()[:7]
    np.testing.assert_allclose(by_name["baseline_mean"], controls.mean(axis=0))
    np.testing.assert_allclose(by_name["baseline_detection"], (controls > 0).mean(axis=0))
    assert by_name["set:S"].sum() == 3
    assert by_name["gc"].tolist() == adata.var["gc"].tolist()
    assert by_name.attrs["reference"] == "7 samples, condition = control"
    by_mask = gb.pp.gene_features(adata, reference=np.arange(12) < 7)
    pd.testing.assert_frame_equal(by_mask, by_name[by_mask.columns])
    with pytest.warns(AuditWarning, match="circular"):
        everyone = gb.pp.gene_features(adata)
    np.testing.assert_allclose(everyone["baseline_mean"], adata.X.toarray().mean(axis=0))


def test_a_sparse_matrix_is_never_made_dense(monkeypatch):
    adata = counted()

    def refuse(*_, **__):
        raise AssertionError("densified")

    for kind in (sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix):
        for name in ("toarray", "todense"):
            monkeypatch.setattr(kind, name, refuse)
    gb.pp.gene_features(adata, reference=("condition", ["control"]))


@pytest.mark.parametrize(
    ("given", "match"),
    [({"reference": ("condition", "controls")}, "Did you mean 'control'"), ({"reference": ("state", "x")}, "no column 'state'"),
     ({"reference": [True]}, "boolean array of 12 samples"), ({"reference": np.zeros(12, bool)}, "no sample is True"),
     ({"reference": ("condition", "ill"), "annotation": "length"}, "no column 'length'"),
     ({"reference": ("condition", "ill"), "annotation": pd.DataFrame({"a": [1]}, index=["q"])}, "same id space")],
)  # fmt: skip
def test_features_that_cannot_be_made(given, match):
    with pytest.raises(GenemlError, match=match):
        gb.pp.gene_features(counted(), **given)


def test_an_annotation_with_gaps_is_counted():
    with pytest.warns(DataWarning, match="no row for 20 of 30 genes"):
        made = gb.pp.gene_features(
            counted(),
            reference=("condition", "ill"),
            annotation=pd.DataFrame({"a": range(10)}, index=[f"g{i}" for i in range(10)]),
        )
    assert made["a"].isna().sum() == 20


def test_the_mean_of_the_controls_of_the_contrast_is_found_out(golub):
    study, _ = golub
    features = gb.pp.gene_features(study, reference=("class", "ALL"))[["baseline_mean", "baseline_sd"]]
    with pytest.warns(AuditWarning, match="AveExpr, baseline_mean together give the target"):
        result = gb.tl.regress_genes(gb.read.toptable(study), features=features, explain=False, **FAST)
    assert set(result.plan.blocks["independent"]) == {"AveExpr", "baseline_sd"}


# -- figures -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ax():
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def drawn(ax, gid: str) -> list:
    return ax.findobj(lambda artist: artist.get_gid() == gid)


def test_the_figure_of_models_shows_the_table(result, ax):
    gb.pl.gene_models(result, ax=ax)
    for block in ("independent", "algebraic"):
        (dots,) = drawn(ax, block)
        expected = [row(result, block, model)["r2"] for model in ("linear", "decision_tree")]
        np.testing.assert_allclose(dots.get_xdata(), np.maximum(expected, -0.5))
    for words, block in (("mean only", "reference"), ("noise ceiling", "reference"), ("closed form", "algebraic")):
        (line,) = drawn(ax, words)
        assert line.get_xdata()[0] == pytest.approx(row(result, block, words)["r2"])
    ax.figure.canvas.draw()
    with pytest.raises(InputError, match="metric must be one of"):
        gb.pl.gene_models(result, metric="spearman")


def test_the_figure_of_predictions_shows_every_gene(result, ax):
    gb.pl.gene_predicted(result, ax=ax)
    made = result.predictions()
    for which in ("cv", "test"):
        (dots,) = drawn(ax, which)
        np.testing.assert_allclose(dots.get_offsets(), made.loc[made["set"] == which, ["predicted", "observed"]])
    ax.figure.canvas.draw()


def test_the_figure_of_shap_shows_the_explanation(result, ax):
    gb.pl.gene_shap(result, ax=ax)
    assert [patch.get_width() for patch in drawn(ax, "shap")] == pytest.approx(
        list(result.explanation.per_predictor["shap"])
    )
