from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold

from geneml_bio.core.association import cramers_v, labels_alone
from geneml_bio.core.audit import audit, effective_n
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
    assert "balanced accuracy 0.95 and ROC AUC 0.95" in row["message"]
    with pytest.raises(ConfoundingError, match="cannot be told apart"):
        audit(_cohort(y=y, batch=y))
    assert _level(audit(_cohort(y=y, batch=y), allow_confounded=True), "batch") == "warning"


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_that_determines_a_number_is_refused_and_a_strong_one_is_warned_about(seed):
    rng = np.random.default_rng(seed)
    batch = rng.permutation(np.repeat([f"b{i}" for i in range(5)], 8))
    unit, zero = 10.0 ** rng.integers(-9, 9), rng.choice([0.0, 37.0])
    value = zero + unit * rng.permutation(5)[pd.factorize(batch)[0]]
    of = _cohort(classes=(), y=value, batch=batch)
    of = replace(of, target=value)
    with pytest.raises(ConfoundingError, match="one value of the target only"):
        audit(of)
    allowed = audit(of, allow_confounded=True).set_index("check").loc["batch"]
    assert allowed["level"] == "warning"
    assert "cannot be told apart" in allowed["message"]
    for noise, level in ((0.01 * unit, "warning"), (0.5 * unit, "warning"), (50 * unit, "ok")):
        some = replace(of, target=value + noise * rng.permutation(np.linspace(-1.7, 1.7, 40)))
        row = audit(some).set_index("check").loc["batch"]
        assert (row["level"] == level) or noise > 10 * unit, row["message"]
    # one value in all of the study, and one in each but one batch, determine nothing
    audit(replace(of, target=np.full(40, 3.0)))
    one = value.copy()
    one[np.flatnonzero(batch == "b0")[0]] += unit / 2
    assert _level(audit(replace(of, target=one)), "batch") == "warning"


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


def _message(findings: pd.DataFrame, check: str) -> str:
    return str(findings.set_index("check").loc[check, "message"])


# -- labels alone ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("signal", [0.0, 0.4])
def test_labels_alone_score_as_a_logistic_regression_on_them(n_classes, signal):
    """Another model of the same information, over other folds: within what 5 draws of the folds leave."""
    rng = np.random.default_rng(3)
    n = 240
    classes = tuple("abc"[:n_classes])
    y = rng.integers(0, n_classes, n)
    batch = np.where(rng.random(n) < signal, y, rng.integers(0, 5, n))
    cohort = _cohort(n=n, p=3, y=np.array(classes, dtype=object)[y], classes=classes)
    got = labels_alone(cohort, batch.astype(str))
    hot = pd.get_dummies(batch).to_numpy(float)
    accuracy, auc = [], []
    for train, test in RepeatedStratifiedKFold(n_splits=5, n_repeats=4, random_state=1).split(hot, y):
        model = LogisticRegression(class_weight="balanced", C=100, max_iter=1000).fit(hot[train], y[train])
        prob = model.predict_proba(hot[test])
        accuracy.append(balanced_accuracy_score(y[test], prob.argmax(axis=1)))
        auc.append(
            roc_auc_score(y[test], prob[:, 1]) if n_classes == 2 else roc_auc_score(y[test], prob, multi_class="ovr")
        )
    assert got[0] == pytest.approx(np.mean(accuracy), abs=0.03)
    assert got[1] == pytest.approx(np.mean(auc), abs=0.03)


def test_batches_that_have_nothing_to_do_with_the_class_are_no_alarm_however_many():
    """24 batches of 4 samples: the plain V is 0.5 by chance alone. Over 25 seeds at most 2 warnings, and an AUC of 0.5."""
    warned, aucs, plain = 0, [], []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        batch = rng.permutation(np.repeat(np.arange(24), 4)).astype(str)
        cohort = _cohort(n=96, p=5, batch=batch)
        warned += _level(audit(cohort), "batch") == "warning"
        aucs.append(labels_alone(cohort, batch)[1])
        plain.append(cramers_v(cohort.target, batch))
    assert np.mean(plain) > 0.4
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.03)
    assert warned <= 2


def test_a_batch_that_follows_the_class_in_part_is_always_found():
    """Batch 1 holds 80 % of class a, batch 2 80 % of class b: 60 samples, 15 seeds."""
    for seed in range(15):
        rng = np.random.default_rng(seed)
        y = np.tile(["a", "b"], 30)
        follows = rng.random(60) < 0.8
        batch = np.where(follows == (y == "a"), "1", "2")
        assert _level(audit(_cohort(n=60, p=5, y=y, batch=batch)), "batch") == "warning"


def test_batch_alone_is_scored_by_group():
    """Each donor has a batch of its own: in unseen donors it tells nothing, in known ones everything."""
    donor = np.repeat(np.arange(20), 6)
    y = np.where(donor % 2, "a", "b").astype(object)
    y[::6] = "b"
    by_donor = labels_alone(_cohort(n=120, p=3, y=y, groups=donor), donor.astype(str))
    by_sample = labels_alone(_cohort(n=120, p=3, y=y), donor.astype(str))
    assert by_donor[1] == pytest.approx(0.5)
    assert by_sample[1] > 0.8


# -- groups ------------------------------------------------------------------------------------------------------------


def test_groups_say_whether_classes_are_within_them_or_between():
    within = audit(_cohort(groups=np.repeat(np.arange(10), 4)))
    assert "10 of them have samples of more than one class" in _message(within, "groups")
    assert _level(within, "groups") == "ok"
    y = np.repeat(["a", "b"], 20)
    between = audit(_cohort(y=y, groups=np.repeat(np.arange(10), 4)))
    assert "Every group is of one class, so groups are what is compared (a: 5, b: 5)" in _message(between, "groups")
    assert _level(between, "groups") == "ok"
    lopsided = np.r_[np.repeat(np.arange(3), 7)[:20], np.arange(10, 30)]
    assert _level(audit(_cohort(y=y, groups=lopsided)), "groups") == "warning"


def test_effective_n_counts_groups_or_samples():
    y = np.array(["a"] * 30 + ["b"] * 10, dtype=object)
    alone = effective_n(_cohort(y=y))
    assert (alone["unit"], alone["n_samples"], alone["n_effective"], alone["n_mixed"]) == ("sample", 40, 40, 0)
    grouped = effective_n(_cohort(y=y, groups=np.repeat(list("vwxyz"), 8)))
    assert (grouped["unit"], grouped["n_samples"], grouped["n_effective"], grouped["n_mixed"]) == ("group", 40, 5, 1)
    assert grouped["per_class"].to_dict("list") == {"class": ["a", "b"], "n_samples": [30, 10], "n_effective": [4, 2]}
    number = Cohort(
        np.eye(4), pd.Index(list("abcd")), pd.Index(list("wxyz")), np.arange(4.0), groups=np.array([1, 1, 2, 2])
    )
    assert effective_n(number) == {"unit": "group", "n_samples": 4, "n_effective": 2}


# -- batches and covariates that were or were not named ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "follows", "level"),
    [
        ("batch", True, "warning"),
        ("Plate_ID", True, "warning"),
        ("scan.date", True, "warning"),
        ("batch", False, "absent"),
        ("treatment", True, "absent"),
        ("lineage", True, "absent"),
        ("explanet", True, "absent"),
    ],
)
def test_a_batch_that_was_not_named_is_told_of_where_it_goes_with_the_target(name, follows, level):
    values = np.tile(["1", "2"] if follows else ["1", "1", "2", "2"], 40)[:40]
    values[:3] = "1"
    assert _level(audit(_cohort(), obs=pd.DataFrame({name: values})), "unnamed batch") == level


def test_covariates_say_what_they_explain_and_that_they_determine_the_target():
    y = np.tile(["a", "b"], 20)
    rng = np.random.default_rng(0)
    noise = pd.DataFrame(
        {"age": rng.normal(size=40), "sex": pd.Categorical(rng.permutation(np.repeat(["m", "f"], 20)))}
    )
    assert _level(audit(_cohort(y=y, covariates=noise)), "covariates") == "ok"
    dose = pd.DataFrame({"dose": (y == "a") + rng.normal(scale=0.3, size=40)})
    findings = audit(_cohort(y=y, covariates=dose))
    assert _level(findings, "covariates") == "warning"
    r2 = np.corrcoef(dose["dose"], y == "a")[0, 1] ** 2
    assert f"explain {r2:.0%} of the variance" in _message(findings, "covariates")
    site = pd.DataFrame({"site": pd.Categorical(np.where(y == "a", "x", np.tile(["y", "y", "z", "z"], 10)))})
    assert "determine the target" in _message(audit(_cohort(y=y, covariates=site)), "covariates")
    number = np.arange(40.0)
    cohort = Cohort(rng.normal(size=(40, 30)), pd.Index(map(str, range(30))), pd.Index(map(str, range(40))), number)
    for made, words in ((number * 2 + 1, "determine"), (number + rng.normal(scale=30, size=40), "explain")):
        assert words in _message(audit(replace(cohort, covariates=pd.DataFrame({"c": made}))), "covariates")
