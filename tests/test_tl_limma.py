"""gb.tl.limma with the options that R alone has, beside plain R; and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import geneml_bio as gb
from geneml_bio.core.errors import DataWarning

DATA, SCRIPTS = Path(__file__).parent / "data", Path(__file__).parent / "r"
CASES = pd.read_csv(SCRIPTS / "limma_options.csv")
CONTRASTS = ["groupb - groupa", "(groupb + groupc)/2 - groupa"]
NAMES = {"AveExpr", "F", "P.Value", "adj.P.Val"}


def study(data: str) -> ad.AnnData:
    """The data of the R script, samples x genes: 3 groups, 6 donors."""
    frame = pd.read_csv(DATA / f"limma_options_{'counts' if data == 'counts' else 'logs'}.csv.gz", index_col=0)
    values = frame.to_numpy(float).T.copy()
    if data == "gaps":
        sample, gene = np.indices(values.shape) + 1
        values[(gene * 13 + sample * 7) % 23 == 0] = np.nan
    obs = pd.DataFrame(
        {"group": pd.Categorical(list("abc") * 6), "donor": np.repeat([f"d{i}" for i in range(6)], 3)},
        index=list(frame.columns),
    )
    return ad.AnnData(values, obs=obs, var=pd.DataFrame(index=list(frame.index)))


@pytest.fixture(scope="module", params=["stored", "fresh"])
def reference(request, r_limma, tmp_path_factory):
    """What R said, here and now in a process of its own, or when the files were stored (the same versions only)."""
    folder = DATA
    if request.param == "fresh":
        if shutil.which("Rscript") is None:
            pytest.skip("no Rscript on PATH")
        folder = tmp_path_factory.mktemp("r")
        subprocess.run(
            ["Rscript", "make_limma_options.R", str(folder)], cwd=SCRIPTS, check=True, capture_output=True, timeout=300
        )
    facts = pd.read_csv(folder / "limma_options_facts.csv.gz", index_col=0, dtype=str)
    versions = facts[facts["case"] == "versions"].set_index("name")["value"].to_dict()
    for package in ("limma", "edgeR", "statmod"):
        if versions[package] != r_limma.bridge.package_version(package):
            pytest.skip(f"stored with {package} {versions[package]}")
    return pd.read_csv(folder / "limma_options.csv.gz", index_col=0), facts


def options(case) -> dict:
    how = {"voom": case.voom, "normalize": case.normalize, "quality_weights": case.quality, "trend": case.trend}
    how |= {"robust": case.robust, "block": "donor" if case.block else None}
    how |= {name: None if pd.isna(getattr(case, name)) else getattr(case, name) for name in ("correlation",)}
    return how | {"treat_lfc": None if pd.isna(case.lfc) else case.lfc}


@pytest.mark.r
@pytest.mark.parametrize("case", list(CASES.itertuples()), ids=list(CASES["case"]))
def test_every_option_gives_rs_own_numbers(case, reference):
    tables, facts = reference
    adata = study(case.data)
    contrast = CONTRASTS if case.contrasts == 2 else CONTRASTS[0]
    de = gb.tl.limma(adata, "~ 0 + group", contrast=contrast, engine="r", **options(case))
    theirs = tables[tables["case"] == case.case].pivot(index="gene", columns="column", values="value")
    assert len(theirs) > 30
    assert set(theirs.columns) >= {"P.Value", "adj.P.Val", "AveExpr"}
    for name in theirs.columns:
        np.testing.assert_allclose(de.frame.loc[theirs.index, name], theirs[name], rtol=1e-8, err_msg=name)
    mine = facts[facts["case"] == case.case].groupby("name")["value"].apply(lambda v: v.astype(float).to_numpy())
    if "correlation" in mine:
        assert de.source["correlation"] == pytest.approx(mine["correlation"][0], rel=1e-8)
    else:
        assert case.correlation == de.source.get("correlation", case.correlation) or not case.block
    for name in ("sample_weight", "norm_factor"):
        if name in mine:
            np.testing.assert_allclose(de.source["samples"][name], mine[name], rtol=1e-8)
            assert list(de.source["samples"]["sample"]) == list(adata.obs_names)
        else:
            assert name not in de.source.get("samples", ())
    assert gb.get.de(adata).index[0] == de.frame.index[0]


@pytest.mark.r
def test_blocks_agree_with_another_authors_code(reference):
    """edgeR's voomLmFit estimates weights and correlation twice too."""
    tables, _ = reference
    theirs = tables[tables["case"] == "voomLmFit"].pivot(index="gene", columns="column", values="value")
    de = gb.tl.limma(study("counts"), "~ 0 + group", contrast=CONTRASTS[0], voom=True, block="donor")
    for name in theirs.columns:
        np.testing.assert_allclose(de.frame.loc[theirs.index, name], theirs[name], rtol=1e-8, err_msg=name)


@pytest.mark.r
def test_counts_may_be_sparse_small_numbers_or_in_a_layer(r_limma):
    adata = study("counts")
    whole = gb.tl.limma(adata, "~ 0 + group", contrast=CONTRASTS[0], voom=True).frame
    for matrix in (sparse.csr_matrix(adata.X), sparse.csc_matrix(adata.X.astype(np.float32)), adata.X.astype(np.int32)):
        other = ad.AnnData(np.log2(adata.X + 1), obs=adata.obs, var=adata.var, layers={"counts": matrix})
        de = gb.tl.limma(other, "~ 0 + group", contrast=CONTRASTS[0], voom=True, layer="counts")
        pd.testing.assert_frame_equal(de.frame, whole)
        assert de.source["layer"] == "counts"


@pytest.mark.r
def test_what_was_estimated_is_stored_and_read_back(r_limma, tmp_path):
    adata = study("counts")
    de = gb.tl.limma(adata, "~ group", contrast="groupb", voom=True, quality_weights=True, block="donor", robust=True)
    adata.write_h5ad(tmp_path / "a.h5ad")
    about = ad.read_h5ad(tmp_path / "a.h5ad").uns["limma"]
    assert about["correlation"] == de.source["correlation"]
    assert about["correlation_estimated"]
    assert about["block"] == "donor"
    assert about["voom"]
    assert about["quality_weights"]
    assert about["n_low_counts"] == 0
    assert list(about["design_columns"]) == ["(Intercept)", "groupb", "groupc"]
    for name in ("r_version", "limma_version", "edgeR_version", "statmod_version"):
        assert about[name].count(".") >= 1
    frame = about["samples"]
    assert list(frame["sample"].astype(str)) == list(adata.obs_names)
    np.testing.assert_array_equal(frame["lib_size"], adata.X.sum(axis=1))
    assert frame["sample_weight"].prod() == pytest.approx(1, rel=0.3)
    again = gb.tl.limma(adata, "~ group", contrast="groupb", engine="native", trend=True)
    assert not {"samples", "correlation", "voom"} & {name for name, v in again.source.items() if v is not None}


@pytest.mark.r
def test_blocks_are_names_whatever_they_look_like(r_limma):
    adata = study("logs")
    plain = gb.tl.limma(adata, "~ group", contrast="groupb", block="donor").frame
    adata.obs["number"] = np.repeat([5, 3, 900, -1, 0, 7], 3)
    adata.obs["odd"] = pd.Categorical.from_codes(
        np.repeat(range(6), 3), pd.Index(["x); q()", "`", "", "é\0", "\ud800", "NA"], dtype=object)
    )
    for name in ("number", "odd"):
        pd.testing.assert_frame_equal(gb.tl.limma(adata, "~ group", contrast="groupb", block=name).frame, plain)


@pytest.mark.r
def test_blocks_that_hold_nothing_are_said_to(r_limma):
    adata = study("logs")
    with pytest.warns(gb.errors.RWarning, match="already encoded in the design"):
        gb.tl.limma(adata, "~ group + donor", contrast="groupb", block="donor")


@pytest.mark.r
def test_counts_that_are_odd_are_spoken_of(r_limma):
    adata = study("counts")
    adata.X[:, :7] = 0
    with pytest.warns(gb.errors.DataWarning, match="7 of 200 genes have no count in any sample") as said:
        de = gb.tl.limma(adata, "~ group", contrast="groupb", voom=True)
    assert len(said) == len(de.source["warnings"]) == 1
    assert de.source["n_low_counts"] == 7
    adata = study("counts")
    adata.X = adata.X + 0.25
    with pytest.warns(gb.errors.DataWarning, match="3600 of 3600 counts are not whole numbers"):
        gb.tl.limma(adata, "~ group", contrast="groupb", voom=True)
    adata.X = adata.X / adata.X.sum(axis=1, keepdims=True) * 1e6
    with (
        pytest.warns(gb.errors.DataWarning, match="as in TPM or CPM"),
        pytest.warns(gb.errors.DataWarning, match="not whole"),
    ):
        gb.tl.limma(adata, "~ group", contrast="groupb", voom=True)


def changed(data: str, where=(0, 0), to=None) -> ad.AnnData:
    adata = study(data)
    if to is not None:
        adata.X[where] = to
    return adata


REFUSED = [
    (lambda: study("logs"), {"voom": True}, "none is above .*, as in logs"),
    (lambda: changed("counts", to=-1), {"voom": True}, "1 values are negative"),
    (lambda: changed("counts", to=np.nan), {"voom": True}, "1 values are missing"),
    (lambda: changed("counts", to=np.inf), {"voom": True}, "infinite"),
    (lambda: changed("counts", where=3, to=0), {"voom": True}, "1 of 18 samples have no counts at all"),
    (lambda: study("counts"), {"voom": True, "normalize": "tmm"}, "Did you mean 'TMM'"),
    (lambda: study("logs"), {"normalize": "RLE"}, "needs voom=True"),
    (lambda: study("logs"), {"correlation": 0.2}, "block="),
    (lambda: study("logs"), {"correlation": 1.0, "block": "donor"}, "between -1 and 1"),
    (lambda: study("logs"), {"correlation": "0.1", "block": "donor"}, "between -1 and 1"),
    (lambda: study("logs"), {"block": "donr"}, "Did you mean 'donor'"),
    (lambda: study("logs"), {"engine": "R"}, "engine must be one of"),
    *[
        (lambda: study("counts"), {"engine": "native", name: value}, rf"{name}= is computed by R alone; use engine='r'")
        for name, value in {"voom": True, "quality_weights": True, "block": "donor", "robust": True}.items()
    ],
    (lambda: study("counts"), {"engine": "native", "voom": True, "block": "donor"}, "voom=, block= are computed by R"),
]


@pytest.mark.parametrize(("make", "how", "says"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_cannot_be_meant_is_refused_before_anything_is_written(make, how, says):
    adata = make()
    with pytest.raises((gb.errors.InputError, gb.errors.ColumnNotFoundError), match=says):
        gb.tl.limma(adata, "~ group", contrast="groupb", **how)
    assert "limma" not in adata.uns
    assert not [name for name in adata.var if name.startswith("limma")]


def emptied(where, to=np.nan, data: str = "logs") -> ad.AnnData:
    return changed(data, where, to)


# what R says of them: "NAs are not allowed in subscripted assignments", "replacement has length zero", "Dims of tstat and
# stdev.unscaled don't match", "the leading minor of order 3 is not positive definite", "contrasts can be applied only to factors"
BOTH = [
    (lambda: study("logs"), {"treat_lfc": np.nan}, "at least 0, got nan"),
    (lambda: study("logs"), {"treat_lfc": -1.0}, "at least 0, got -1.0"),
    (lambda: study("logs"), {"treat_lfc": np.inf}, "at least 0, got inf"),
    (lambda: study("logs"), {"treat_lfc": "1"}, "at least 0, got '1'"),
    (lambda: study("logs"), {"treat_lfc": True}, "at least 0, got True"),
    (lambda: study("logs")[:3].copy(), {}, "No residual degrees of freedom: 3 samples, 3 coefficients"),
    (lambda: study("logs")[:3].copy(), {"treat_lfc": 0.5}, "No residual degrees of freedom"),
    (lambda: study("logs")[:3].copy(), {"trend": True}, "No residual degrees of freedom"),
    (lambda: emptied(slice(3, None)), {}, "No residual degrees of freedom: 18 samples, 3 coefficients, 149 genes"),
    (lambda: emptied(np.s_[:, :2]), {"trend": True}, "2 of 149 have none"),
]
ONLY_R = [
    (lambda: study("logs")[:, :2].copy(), {"robust": True}, "at least 3 genes .* got 2 "),
    (lambda: study("logs")[:, :2].copy(), {"robust": True, "treat_lfc": 0.1}, "at least 3 genes"),
    (lambda: emptied(np.s_[3:, :147]), {"robust": True, "trend": True}, r"at least 3 genes .* got 2 \(of 149\)"),
    (lambda: study("counts")[:3].copy(), {"voom": True}, "No residual degrees of freedom"),
    (lambda: study("counts")[:, :1].copy(), {"voom": True}, r"at least two genes with counts .* got 1 \(of 1\)"),
    (lambda: emptied(np.s_[:, 1:], 0, "counts"), {"voom": True}, r"at least two genes with counts .* got 1 \(of 200\)"),
    (lambda: study("logs"), {"block": "centre"}, "all 18 samples have the same value.* leave block= out"),
    (lambda: study("counts"), {"block": "centre", "voom": True}, "all 18 samples have the same value"),
    (lambda: study("logs"), {"block": "sample"}, "each of the 18 samples has a value of its own.* leave block= out"),
    (lambda: study("logs"), {"block": "sample", "correlation": 0.3}, "each of the 18 samples"),
    (lambda: study("logs"), {"block": "donor", "correlation": -0.5}, r"less than -1/2 = -0\.5"),
    (lambda: study("counts"), {"block": "donor", "correlation": -0.9, "voom": True}, "correlation=-0.9 is impossible"),
]


@pytest.mark.parametrize(
    ("engine", "make", "how", "says"),
    [
        *[("native", *case) for case in BOTH],
        *[pytest.param("r", *case, marks=pytest.mark.r) for case in BOTH + ONLY_R],
    ],
)
def test_what_cannot_be_estimated_is_refused_in_words_of_ours(engine, make, how, says, request):
    if engine == "r":
        request.getfixturevalue("r_limma")
    adata = make()
    adata.obs["centre"], adata.obs["sample"] = "here", list(adata.obs_names)
    with warnings.catch_warnings():
        warnings.simplefilter("error", gb.errors.RWarning)
        with pytest.raises((gb.errors.InputError, gb.errors.DesignError), match=says):
            gb.tl.limma(adata, "~ group", contrast="groupb", engine=engine, **how)
    assert "limma" not in adata.uns


@pytest.mark.r
def test_what_can_just_be_estimated_is(r_limma):
    """The other side of each bound."""
    plain = {"contrast": "groupb", "engine": "r"}
    assert len(gb.tl.limma(study("logs")[:, :3].copy(), "~ group", robust=True, **plain).frame) == 3
    assert len(gb.tl.limma(study("counts")[:, :2].copy(), "~ group", voom=True, **plain).frame) == 2
    for samples in (study("logs")[:4].copy(), emptied(slice(4, None))):
        assert gb.tl.limma(samples, "~ group", **plain).frame["P.Value"].notna().all()
    de = gb.tl.limma(study("logs"), "~ group", block="donor", correlation=-0.499, **plain)
    assert de.frame["t"].notna().all()
    # two groups seen of three: two coefficients, one residual degree of freedom
    few = emptied(np.s_[:, :146])
    few.X[[0, 1, 3], :3] = np.arange(9.0).reshape(3, 3) ** 2
    with pytest.warns(gb.errors.RWarning, match="Partial NA coefficients for 3"):
        de = gb.tl.limma(few, "~ group", robust=True, **plain)
    assert de.frame["P.Value"].notna().sum() == 6


def test_blocks_with_gaps_and_designs_that_are_no_numbers_are_refused():
    adata = study("logs")
    adata.obs.loc[adata.obs_names[0], "donor"] = None
    with pytest.raises(gb.errors.DesignError, match="1 of 18 samples have no value in 'donor'"):
        gb.tl.limma(adata, "~ group", contrast="groupb", block="donor")
    frame = pd.DataFrame({"a": 1.0, "b": list("xyz") * 6}, index=adata.obs_names)
    for design, says in (
        (frame, "holds numbers"),
        (frame.assign(b=np.nan), "18 values that are missing"),
        (frame.assign(b=0.5).set_axis(["a", "a"], axis=1), "names of their own"),
    ):
        with pytest.raises(gb.errors.DesignError, match=says):
            gb.tl.limma(adata, design, contrast="a")


def test_without_r_the_error_names_the_option_and_the_fix():
    """In a process that finds no R."""
    pytest.importorskip("rpy2.rinterface_lib", reason="rpy2 is not installed")
    code = """
import sys; sys.path.insert(0, {here!r})
import geneml_bio as gb
from geneml_bio.core.errors import DataWarning
from test_tl_limma import study
for how in ({{"voom": True}}, {{"block": "donor", "quality_weights": True}}, {{"robust": True, "engine": "r"}}):
    try:
        gb.tl.limma(study("counts"), "~ group", contrast="groupb", **how)
    except gb.errors.RNotAvailableError as error:
        print(error)
print(gb.tl.limma(study("logs"), "~ group", contrast="groupb").source["engine"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code.format(here=str(Path(__file__).parent))],
        env={**os.environ, "R_HOME": "/nowhere"}, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    for line, named in zip(
        lines, ("voom= needs R.", "quality_weights=, block= needs R.", "robust= needs R."), strict=False
    ):
        assert line.startswith(named)
        assert "R_HOME is '/nowhere'" in line
        assert "native" not in line
    assert lines[3] == "native"


@pytest.mark.r
@pytest.mark.parametrize("engine", ["r", "native"])
def test_contrasts_are_expressions_over_design_columns(engine, r_limma):
    adata = study("logs")
    adata.obs["odd one"] = adata.obs["group"].cat.rename_categories({"a": "x-1", "b": "y/2 (z)", "c": "BCR:ABL"})
    plain = gb.tl.limma(adata, "~ 0 + group", contrast="(groupb + groupc)/2 - groupa", engine=engine).frame
    words = "(`odd one`y/2 (z) + `odd one`BCR:ABL)/2 - `odd one`x-1"
    for contrast in (words, {"`odd one`y/2 (z)": 0.5, "`odd one`BCR:ABL": 0.5, "`odd one`x-1": -1}):
        de = gb.tl.limma(adata, "~ 0 + `odd one`", contrast=contrast, engine=engine)
        pd.testing.assert_frame_equal(de.frame, plain, rtol=1e-10)
    design = pd.DataFrame(
        pd.get_dummies(adata.obs["odd one"]).to_numpy(float), adata.obs_names, ["x-1", "y/2 (z)", "BCR:ABL"]
    )
    de = gb.tl.limma(adata, design, contrast="(`y/2 (z)` + `BCR:ABL`) / 2 - `x-1`", engine=engine)
    pd.testing.assert_frame_equal(de.frame, plain, rtol=1e-10)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize(
    ("data", "change", "said"),
    [
        ("counts", lambda x: x, "voom=True"),
        ("counts", lambda x: np.log2(x + 0.5), ""),
        ("counts", lambda x: np.minimum(x, 30), ""),
        ("counts", lambda x: x + 0.25, "Take log2"),
        ("logs", lambda x: x, ""),
    ],
)
def test_values_that_are_no_logs_are_told_of(data, change, said, form):
    adata = study(data)
    adata.X = form(change(adata.X))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        de = gb.tl.limma(adata, "~ 0 + group", contrast=CONTRASTS[0], engine="native")
    texts = [str(one.message) for one in caught if issubclass(one.category, DataWarning) and "logs" in str(one.message)]
    assert len(texts) == bool(said)
    assert all(said in text for text in texts)
    assert (de.source["warnings"] or []) == texts
