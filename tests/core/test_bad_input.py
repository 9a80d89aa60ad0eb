"""Each model by name with each kind of bad input: a result, or one typed error and the object as it was."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import geneml_bio as gb
from geneml_bio.core.errors import DuplicateNamesError, GenemlError, GenemlWarning, InputError, TargetError
from geneml_bio.core.registry import REGISTRY

CLASSIFIERS, REGRESSORS = list(REGISTRY["classification"]), list(REGISTRY["regression"])
QUICK = {"screen": 4, "n_splits": 2, "n_repeats": 1, "tune": False, "n_jobs": 1, "progress": False}


def study(regression: bool = False) -> ad.AnnData:
    rng = np.random.default_rng(0)
    code = np.arange(16) % 2
    X = rng.normal(5, 1, size=(16, 6))
    X[:, :2] += 1.5 * code[:, None]
    target = X[:, 0] * 2 + rng.normal(size=16) if regression else pd.Categorical(np.array(["a", "b"])[code])
    obs = pd.DataFrame({"target": target}, index=[f"s{i}" for i in range(16)])
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(6)]))


def nan(adata):
    adata.X[3, 1] = np.nan


def inf(adata):
    adata.X[3, 1] = np.inf


def minus_inf(adata):
    adata.X[3, 1] = -np.inf


def constant_gene(adata):
    adata.X[:, 2] = 7.0


def all_zero_gene(adata):
    adata.X[:, 2] = 0.0


def gene_without_values(adata):
    adata.X[:, 2] = np.nan


def only_constant_genes(adata):
    adata.X[:] = 3.0


def huge(adata):
    adata.X[:, 1] *= 1e100


def huger(adata):
    adata.X[:, 1] *= 1e200


def one_class(adata):
    adata.obs["target"] = "a" if not pd.api.types.is_float_dtype(adata.obs["target"]) else 1.0


def duplicated_genes(adata):
    adata.var_names = ["g0", "g0", "g2", "g3", "g4", "g5"]


def duplicated_samples(adata):
    adata.obs_names = ["s0", *adata.obs_names[:-1]]


def fewer_than_folds(adata):
    adata.obs["target"] = ["b", *["a"] * 15]


def int_labels(adata):
    adata.obs["target"] = np.arange(16) % 2 + 1


def bool_labels(adata):
    adata.obs["target"] = np.arange(16) % 2 == 1


def unused_categories(adata):
    adata.obs["target"] = adata.obs["target"].cat.add_categories(["never", "neither"])


def strings_with_missing(adata):
    labels = adata.obs["target"].astype(object).copy()
    labels.iloc[[0, 5]] = [None, np.nan]
    adata.obs["target"] = labels


def ints(adata):
    adata.obs["target"] = np.arange(16)


def target_with_missing(adata):
    adata.obs.loc["s3", "target"] = np.nan


def target_with_inf(adata):
    adata.obs.loc["s3", "target"] = np.inf


def text(adata):
    adata.obs["target"] = [f"about {i}" for i in range(16)]


# what is to come of it: None for a result, else the type of the error
OF_THE_DATA = {
    nan: None,
    inf: InputError,
    minus_inf: InputError,
    constant_gene: None,
    all_zero_gene: None,
    gene_without_values: None,
    duplicated_genes: DuplicateNamesError,
    duplicated_samples: DuplicateNamesError,
    one_class: TargetError,
}
CLASSES = OF_THE_DATA | {
    fewer_than_folds: TargetError,
    int_labels: None,
    bool_labels: None,
    unused_categories: None,
    strings_with_missing: None,
}
NUMBERS = OF_THE_DATA | {ints: None, target_with_missing: None, target_with_inf: GenemlError, text: GenemlError}
# these may come to either end, in a way that depends on the model
EITHER = (only_constant_genes, huge, huger)


def _call(adata: ad.AnnData, model: str, regression: bool):
    """The result, or the error if it is one of ours; any other goes on, and so does any warning that is not ours."""
    call = gb.tl.regress if regression else gb.tl.classify
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", GenemlWarning)
        try:
            return call(adata, "target", models=[model], key_added="k", **QUICK)
        except GenemlError as error:
            return error


CASES = [(name, spoil, False) for name in CLASSIFIERS for spoil in [*CLASSES, *EITHER]]
CASES += [(name, spoil, True) for name in REGRESSORS for spoil in [*NUMBERS, *EITHER]]


@pytest.mark.parametrize(("model", "spoil", "regression"), CASES, ids=lambda v: getattr(v, "__name__", str(v)))
def test_bad_input_gives_a_result_or_one_typed_error(model, spoil, regression, capfd):
    adata = study(regression)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spoil(adata)
        before = adata.copy()
    expected = (NUMBERS if regression else CLASSES).get(spoil)
    got = _call(adata, model, regression)
    if isinstance(got, GenemlError):
        assert spoil in EITHER or (expected is not None and isinstance(got, expected)), got
        assert str(got)
        _same(adata, before)
    else:
        assert expected is None
        numbers = got.predictions.filter(like="prob_") if not regression else got.predictions[["predicted"]]
        assert np.isfinite(numbers.to_numpy(float)).all()
        assert got.models == [model]
    assert "DLASCL" not in "".join(capfd.readouterr())


def _same(adata: ad.AnnData, before: ad.AnnData) -> None:
    np.testing.assert_array_equal(adata.X, before.X)
    pd.testing.assert_frame_equal(adata.obs, before.obs)
    pd.testing.assert_frame_equal(adata.var, before.var)
    assert not adata.uns
    assert not len(adata.obsm)
    assert not len(adata.varm)


def test_a_class_that_no_model_without_probabilities_can_be_calibrated_for_names_another_model():
    adata = study()
    adata.obs["target"] = pd.Categorical(["b"] * 2 + ["a"] * 14)
    refused = _call(adata, "svm", False)
    assert isinstance(refused, TargetError)
    assert "Name another model, such as 'logistic'" in str(refused)
    assert _call(adata, "logistic", False).models == ["logistic"]
