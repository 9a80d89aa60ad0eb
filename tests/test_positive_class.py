"""Which of two classes is the positive one: told, ordered, by its name, by the alphabet; and that it is said."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import geneml_bio as gb
from geneml_bio.bridge.extract import target_values

QUIET = {
    "models": "logistic",
    "screen": 5,
    "n_splits": 2,
    "n_repeats": 1,
    "tune": False,
    "n_jobs": 1,
    "progress": False,
}


def study(labels, n: int = 24) -> ad.AnnData:
    rng = np.random.default_rng(0)
    code = np.arange(n) % len(labels)
    X = rng.normal(size=(n, 20))
    X[:, 0] += 3 * code  # more of g0 in the later labels
    obs = pd.DataFrame({"class": pd.Series([labels[c] for c in code], dtype=object).to_numpy()})
    obs.index = [f"s{i}" for i in range(n)]
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(20)]))


def classes(values, reference=None) -> tuple[str, ...]:
    column = pd.Series(values).set_axis([f"s{i}" for i in range(len(values))])
    adata = ad.AnnData(obs=pd.DataFrame({"class": column}))
    return target_values(adata, "class", "classification", reference)[1]


@pytest.mark.parametrize(
    ("pair", "reference"),
    [
        (("case", "control"), "control"),
        (("healthy", "disease"), "healthy"),
        (("ctrl", "treated"), "ctrl"),
        (("yes", "no"), "no"),
        (("WT", "KO"), "WT"),
        (("wild-type", "mutant"), "wild-type"),
        (("Wild Type", "Mutant"), "Wild Type"),
        (("Normal", "Cancer"), "Normal"),
        (("vehicle", "drug"), "vehicle"),
        (("Untreated", "LPS"), "Untreated"),
        (("negative", "BRCA"), "negative"),
        (("Healthy control", "COVID"), "Healthy control"),
        ((False, True), "False"),
        ((0, 1), "0"),
        # no word that says so, or both: the alphabet
        (("ALL", "AML"), "ALL"),
        (("ill", "well"), "ill"),
        (("normalised", "control_B"), "control_B"),
        (("healthy", "control"), "control"),
        (("high", "not controlled"), "high"),
    ],
)
@pytest.mark.parametrize("form", ["text", "category"])
@pytest.mark.parametrize("turn", [1, -1])
def test_the_one_called_as_controls_are_comes_first(pair, reference, form, turn):
    values = pd.Series(list(pair)[::turn] * 3, dtype=object)
    values = values.astype("category") if form == "category" else values
    found = classes(values)
    assert found[0] == reference
    assert set(found) == {str(one) for one in pair}
    other = next(name for name in found if name != reference)
    assert classes(values, reference=other) == (other, reference)  # who is asked goes before


def test_an_order_that_says_something_stays():
    values = ["case", "control"] * 3
    assert classes(pd.Categorical(values, ["case", "control"], ordered=True)) == ("case", "control")
    assert classes(pd.Categorical(values, ["control", "case"])) == ("control", "case")
    drugs = ["vehicle", "zaprinast"] * 3
    assert classes(pd.Categorical(drugs, ["zaprinast", "vehicle"])) == ("zaprinast", "vehicle")
    assert classes(["b", "control", "a"] * 2) == ("a", "b", "control")  # three: none is positive


@given(st.lists(st.text("abcd", min_size=1), min_size=2, max_size=2, unique=True))
def test_other_names_are_sorted(pair):
    assert classes(pair * 2) == tuple(sorted(pair))


def test_it_is_said_and_scores_and_directions_go_by_it(tmp_path):
    adata = study(("control", "case"))
    validation = gb.tl.classify(adata, "class", **QUIET)
    assert validation.classes == ("control", "case")
    gb.tl.explain(adata, validation, progress=False)
    assert adata.var.loc["g0", "classify_shap_direction"] == 1  # more of it, more of case
    text = gb.summary(adata)
    assert "case against control" in text
    assert "Positive class: case" in text
    turned = study(("control", "case"))
    other = gb.tl.classify(turned, "class", reference="case", **QUIET)
    assert "Positive class: control" in gb.summary(turned)
    gb.tl.explain(turned, other, progress=False)
    assert turned.var.loc["g0", "classify_shap_direction"] == -1
    # AnnData makes a category of text as it writes it: the order is that of before
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    assert gb.tl.classify(again, "class", **QUIET, key_added="again").classes == ("control", "case")
    gb.tl.explain(again, progress=False)
    assert again.var.loc["g0", "classify_shap_direction"] == 1
