from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geneml_bio.core.biomarkers import biomarker_table
from geneml_bio.core.errors import InputError

GENES = pd.Index(["both", "de_only", "model_only", "shaky", "conflict", "neither"])
DE = pd.DataFrame(
    {
        "logFC": [2.0, 1.0, 0.1, 0.2, -1.0, 0.0],
        "P.Value": [1e-6, 1e-4, 0.5, 0.6, 1e-5, 0.9],
        "adj.P.Val": [1e-5, 1e-3, 0.7, 0.7, 1e-4, 0.9],
    },
    index=GENES,
)
SHAP = pd.DataFrame(
    {
        "shap": [0.5, 0, 0.3, 0.1, 0.2, 0],
        "shap_rank": [1, np.nan, 2, 4, 3, np.nan],
        "direction": [1, 0, 1, -1, 1, 0],
        "n_models": [3, 0, 2, 1, 3, 0],
    },
    index=GENES,
)
FREQUENCY = pd.Series([1, 0.2, 0.9, 0.1, 1, 0], index=GENES)


def test_classes_in_plain_words_and_the_strongest_first():
    table = biomarker_table(GENES, de=DE, shap=SHAP, frequency=FREQUENCY)
    assert table["class"].to_dict() == {
        "both": "DE and used",
        "model_only": "used, not DE",
        "conflict": "DE and used",
        "shaky": "unstable",
        "de_only": "DE, unused",
        "neither": "",
    }
    assert list(table.index) == ["both", "model_only", "conflict", "shaky", "de_only", "neither"]
    assert list(table["rank"]) == [1, 2, 3, 4, 5, 6]
    assert table["agreement"].to_dict()["both"] == "agree"
    assert table["agreement"].to_dict()["conflict"] == "conflict"
    assert table["agreement"].to_dict()["neither"] == ""


def test_thresholds_are_arguments():
    assert (
        biomarker_table(GENES, de=DE, shap=SHAP, frequency=FREQUENCY, alpha=1e-6).loc["both", "class"] == "used, not DE"
    )
    assert (
        biomarker_table(GENES, de=DE, shap=SHAP, frequency=FREQUENCY, min_frequency=0.05).loc["shaky", "class"]
        == "used, not DE"
    )
    assert (
        biomarker_table(GENES, de=DE, shap=SHAP, frequency=FREQUENCY, n_used=1).loc["conflict", "class"] == "DE, unused"
    )
    for bad in ({"alpha": 0}, {"alpha": 2}, {"min_frequency": -1}):
        with pytest.raises(InputError):
            biomarker_table(GENES, de=DE, **bad)


def test_one_kind_of_evidence_claims_nothing_about_the_other():
    alone = biomarker_table(GENES, de=DE)
    assert list(alone.index[:2]) == ["both", "conflict"]
    assert set(alone["class"]) == {"", "DE, use unknown"}
    model = biomarker_table(GENES, shap=SHAP, frequency=FREQUENCY)
    assert set(model["class"]) == {"used, DE unknown", "unstable", ""}
    assert model.loc["shaky", "class"] == "unstable"
    with pytest.raises(InputError, match="neither"):
        biomarker_table(GENES)


def test_genes_without_a_row_in_the_table_are_missing_not_zero():
    table = biomarker_table(GENES, de=DE.drop("both"), shap=SHAP, frequency=FREQUENCY)
    assert np.isnan(table.loc["both", "logFC"])
    assert table.loc["both", "class"] == "used, DE unknown"
    unadjusted = biomarker_table(GENES, de=DE.drop(columns="adj.P.Val"), shap=SHAP, frequency=FREQUENCY)
    assert set(unadjusted["class"]) == {"used, DE unknown", "unstable", ""}
