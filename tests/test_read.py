"""gb.read.expression: matrices as people save them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import geneml_bio as gb
from geneml_bio.core.errors import (
    ColumnNotFoundError,
    DataWarning,
    DuplicateNamesError,
    InputError,
    TableError,
)

TORTURE = Path(__file__).parent / "data" / "torture"

# -- matrices ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def matrix() -> pd.DataFrame:
    """12 samples x 30 genes."""
    values = np.random.default_rng(0).normal(size=(12, 30)).round(3)
    return pd.DataFrame(values, [f"0{k}" for k in range(12)], [f"g{k}/x" for k in range(30)])


def test_the_simplest_file(matrix, tmp_path):
    full = matrix.assign(target=["x", "y"] * 6, sex=["f", "m", "f"] * 4)
    full.to_csv(tmp_path / "m.csv")
    adata = gb.read.expression(tmp_path / "m.csv", target="target")
    np.testing.assert_array_equal(adata.X, matrix.to_numpy())
    assert list(adata.obs_names) == list(matrix.index)
    assert list(adata.var_names) == list(matrix.columns)
    assert adata.obs["target"].tolist() == ["x", "y"] * 6
    assert list(adata.obs.columns) == ["target", "sex"]
    assert adata.uns["source"]["orient"] == "samples"


def test_a_numeric_target_is_no_gene(matrix, tmp_path):
    matrix.assign(weight=np.arange(12)).to_csv(tmp_path / "m.csv")
    adata = gb.read.expression(tmp_path / "m.csv", target="weight")
    assert adata.n_vars == 30
    assert adata.obs["weight"].tolist() == list(range(12))


@pytest.mark.parametrize("how", [{"sep": "\t"}, {"sep": ";", "decimal": ","}, {"compression": "gzip"}])
@pytest.mark.parametrize("orient", ["genes", "samples"])
def test_both_orientations(how, orient, matrix, tmp_path):
    (matrix.T if orient == "genes" else matrix).to_csv(tmp_path / "m.csv", **how)
    with pytest.warns(DataWarning, match=f"rows were taken for {orient}"):
        adata = gb.read.expression(tmp_path / "m.csv")
    np.testing.assert_array_equal(adata.X, matrix.to_numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        stated = gb.read.expression(tmp_path / "m.csv", orient=orient)
    np.testing.assert_array_equal(stated.X, matrix.to_numpy())
    other = gb.read.expression(tmp_path / "m.csv", orient={"genes": "samples", "samples": "genes"}[orient])
    assert other.shape == (30, 12)


def test_gene_annotation_goes_to_var(matrix, tmp_path):
    genes = matrix.T
    genes.insert(0, "description", [f"the {k}th" for k in range(30)])
    genes.to_csv(tmp_path / "m.csv")
    adata = gb.read.expression(tmp_path / "m.csv")
    assert adata.shape == (12, 30)
    assert adata.var["description"].iloc[3] == "the 3th"


def test_a_sample_sheet_is_joined_by_name(matrix, tmp_path):
    matrix.T.to_csv(tmp_path / "m.csv")
    sheet = pd.DataFrame({"sample": matrix.index, "group": list("ab") * 6, "age": range(12), "code": ["01", "02"] * 6})
    sheet["partly"] = ["u", None] * 6
    sheet[::-1].to_csv(tmp_path / "s.csv", index=False)
    for samples in (tmp_path / "s.csv", sheet[::-1], sheet.set_index("sample")):
        adata = gb.read.expression(tmp_path / "m.csv", samples=samples, target="group")
        assert adata.obs["group"].tolist() == list("ab") * 6
        assert adata.obs["age"].tolist() == list(range(12))
        assert adata.obs["code"].tolist() == ["01", "02"] * 6
        assert adata.obs["partly"].isna().sum() == 6
        adata.write_h5ad(tmp_path / "a.h5ad")
    with pytest.warns(DataWarning, match=r"4 of 12 samples are not in the sample sheet"):
        gb.read.expression(tmp_path / "m.csv", samples=sheet[:8])
    with pytest.raises(DuplicateNamesError, match="twice"):
        gb.read.expression(tmp_path / "m.csv", samples=pd.concat([sheet, sheet]))
    with pytest.raises(InputError, match="No sample of the matrix"):
        gb.read.expression(
            tmp_path / "m.csv", samples=sheet.assign(sample=[f"z{k}" for k in range(12)]), orient="genes"
        )


def test_missing_values_are_missing(matrix, tmp_path):
    matrix.iloc[0, 0] = np.nan
    matrix.assign(target="x").to_csv(tmp_path / "m.csv", na_rep="NA")
    adata = gb.read.expression(tmp_path / "m.csv")
    assert np.isnan(adata.X[0, 0])
    assert np.isnan(adata.X).sum() == 1


def test_h5ad_frames_and_anndata(matrix, tmp_path):
    adata = AnnData(matrix.to_numpy(), obs=pd.DataFrame({"y": list("ab") * 6}, index=matrix.index))
    adata.write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(gb.read.expression(tmp_path / "a.h5ad", target="y").X, adata.X)
    assert gb.read.expression(adata) is not adata
    frame = gb.read.expression(matrix.assign(target=list("ab") * 6))
    np.testing.assert_array_equal(frame.X, adata.X)
    with pytest.raises(InputError, match=r"has its own \.obs"):
        gb.read.expression(adata, samples=matrix)


@pytest.mark.parametrize(
    ("make", "how", "error", "message"),
    [
        (lambda m: m, {"target": "class"}, ColumnNotFoundError, "no column 'class'"),
        (lambda m: m.T, {"target": "g1/x", "orient": "genes"}, ColumnNotFoundError, "name of a gene"),
        (lambda m: m, {"orient": "columns"}, InputError, "orient must be one of"),
        (lambda m: m.astype(str) + "x", {}, InputError, "No column of numbers"),
        (lambda m: [1, 2], {}, InputError, "A list cannot be read"),
        (lambda m: "nothing.csv", {}, TableError, "There is no file"),
        (lambda m: TORTURE / "G25_toptable.rds", {}, InputError, "gb.read.toptable reads it"),
        (lambda m: m, {"samples": 3}, InputError, "a path or a DataFrame"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_matrices_that_are_refused(make, how, error, message, matrix):
    with pytest.raises(error, match=message):
        gb.read.expression(make(matrix), **how)


def test_duplicated_columns_are_refused(matrix, tmp_path):
    matrix.columns = ["g0", "g0", *matrix.columns[2:]]
    matrix.to_csv(tmp_path / "m.csv")
    with pytest.raises(DuplicateNamesError, match="'g0'"):
        gb.read.expression(tmp_path / "m.csv")


@pytest.mark.r
def test_an_expression_set_is_read_live(fresh_r):
    adata = gb.read.expression(
        fresh_r("""Biobase::ExpressionSet(matrix(1:6 + 0.5, 3, dimnames = list(c("p/1", "NA", "p3"), c("01", "02"))),
            phenoData = Biobase::AnnotatedDataFrame(data.frame(sex = factor(c("f", NA)), row.names = c("01", "02"))))"""),
        target="sex",
    )
    np.testing.assert_array_equal(adata.X, [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]])
    assert list(adata.var_names) == ["p/1", "NA", "p3"]
    assert adata.obs["sex"].isna().tolist() == [False, True]
    with pytest.raises(InputError, match="class lm holds no expression data"):
        gb.read.expression(fresh_r("lm(mpg ~ wt, mtcars)"))


def test_a_file_that_is_no_h5ad_is_named(tmp_path, capsys):
    path = tmp_path / "half.h5ad"
    path.write_text("hello")
    with pytest.raises(gb.errors.InputError, match=r"half\.h5ad cannot be read as \.h5ad"):
        gb.read.expression(path)
    from geneml_bio.cli import main

    for verb in ("report", "biomarkers"):
        assert main([verb, str(path)]) == 2
        assert "half.h5ad cannot be read as .h5ad" in capsys.readouterr().err
        assert main([verb, str(tmp_path / "hal.h5ad")]) == 2
        assert "Did you mean" in capsys.readouterr().err
