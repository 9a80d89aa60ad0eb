from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from geneml_bio.core.audit import audit, cramers_v
from geneml_bio.core.errors import ConfoundingError
from geneml_bio.core.schema import Cohort


def _cohort(n=40, p=100, y=None, X=None, classes=("a", "b"), **more) -> Cohort:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, p)) if X is None else X
    y = np.tile(list(classes), n)[:n] if y is None else np.array(y, dtype=object)
    return Cohort(X, pd.Index([f"g{i}" for i in range(p)]), pd.Index([f"s{i}" for i in range(n)]), y, classes, **more)


def _level(findings: pd.DataFrame, check: str) -> str:
    rows = findings[findings["check"] == check]
    return rows["level"].iloc[0] if len(rows) else "absent"


def test_a_sound_study_has_no_warning():
    batch = np.repeat(["x", "y"], 20)
    findings = audit(_cohort(batch=batch), obs=pd.DataFrame({"patient": [f"p{i}" for i in range(40)]}))
    assert "warning" not in set(findings["level"])


def test_cramers_v_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, 200), rng.integers(0, 4, 200)
    expected = stats.contingency.association(pd.crosstab(a, b).to_numpy(), method="cramer", correction=False)
    assert cramers_v(a, b) == pytest.approx(expected)
    assert cramers_v(a, a) == pytest.approx(1)


def test_batch_that_follows_the_class_is_warned_about_and_full_confounding_refused():
    y = np.array(["a"] * 20 + ["b"] * 20, dtype=object)
    batch = np.array(["1"] * 18 + ["2"] * 2 + ["2"] * 20)
    row = audit(_cohort(y=y, batch=batch)).set_index("check").loc["batch"]
    assert row["level"] == "warning"
    assert "Cramer's V = 0.90" in row["message"]
    assert "balanced accuracy 0.95" in row["message"]
    with pytest.raises(ConfoundingError, match="cannot be told apart"):
        audit(_cohort(y=y, batch=y))
    assert _level(audit(_cohort(y=y, batch=y), allow_confounded=True), "batch") == "warning"


def test_sizes_balance_donors_duplicates_constants_and_scales():
    assert _level(audit(_cohort(n=12)), "class size") == "warning"
    assert _level(audit(_cohort(y=["a"] * 35 + ["b"] * 5)), "class balance") == "warning"
    donors = pd.DataFrame({"donor_id": np.repeat([f"d{i}" for i in range(10)], 4)})
    assert _level(audit(_cohort(), obs=donors), "unnamed groups") == "warning"
    assert _level(audit(_cohort(groups=np.repeat(np.arange(5), 8))), "groups") == "warning"
    X = np.random.default_rng(1).normal(size=(40, 100))
    X[7] = X[3]
    X[:, 4] = 2
    findings = audit(_cohort(X=X))
    assert "s3 = s7" in findings.set_index("check").loc["duplicated samples", "message"]
    assert findings.set_index("check").loc["constant genes", "message"].startswith("1 genes")


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_counts_and_unlogged_values_are_recognised_and_logs_are_not(form):
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(2, 0.02, size=(40, 100)).astype(float)
    assert "counts" in audit(_cohort(X=form(counts))).set_index("check").loc["scale", "message"]
    intensities = 2 ** rng.normal(8, 2, size=(40, 100))
    assert "unlogged" in audit(_cohort(X=form(intensities))).set_index("check").loc["scale", "message"]
    assert _level(audit(_cohort(X=form(np.log1p(counts)))), "scale") == "absent"


def test_missing_values_are_counted():
    X = np.random.default_rng(1).normal(size=(40, 100))
    X[3, 4] = np.nan
    assert "1 missing" in audit(_cohort(X=X)).set_index("check").loc["missing values", "message"]


def test_a_number_explained_by_batch():
    y = np.r_[np.zeros(20), np.ones(20)] + np.random.default_rng(0).normal(scale=0.1, size=40)
    cohort = Cohort(
        np.random.default_rng(0).normal(size=(40, 30)),
        pd.Index(map(str, range(30))),
        pd.Index(map(str, range(40))),
        y,
        batch=np.repeat(["x", "y"], 20),
    )
    assert _level(audit(cohort), "batch") == "warning"
