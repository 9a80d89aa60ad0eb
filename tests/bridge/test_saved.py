"""Fitted models in files: what comes back is what went in, and nothing else gets in."""

from __future__ import annotations

import dataclasses
import io
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import geneml_bio as gb
from geneml_bio.bridge import saved
from geneml_bio.bridge.anndata import versions
from geneml_bio.core.errors import InputError, StorageError
from geneml_bio.core.fitted import Fitted
from geneml_bio.core.fitting import Recipe
from geneml_bio.core.models import Candidate, candidates
from geneml_bio.core.refit import refit
from geneml_bio.core.schema import Cohort
from geneml_bio.core.screen import ModeratedScreen

CLASSES = {"binary": ("a", "b"), "multi-class": ("a", "b", "c"), "regression": ()}


def cohort(kind: str, *, n: int = 36, p: int = 30, gaps: bool = False) -> Cohort:
    rng = np.random.default_rng(7)
    X = rng.normal(5, 1, size=(n, p))
    classes = CLASSES[kind]
    if classes:
        code = np.arange(n) % len(classes)
        X[:, :3] += np.eye(3)[:, : len(classes)].T[code] * 2
        target = np.asarray(classes, dtype=object)[code]
    else:
        target = X[:, 0] * 2 + rng.normal(size=n)
    if gaps:
        X[rng.random(X.shape) < 0.02] = np.nan
    return Cohort(
        X, pd.Index([f"g{i}" for i in range(p)]), pd.Index([f"patient{i}" for i in range(n)]), target, classes
    )


def made(kind: str, what, calibrate: str | None = None, *, gaps: bool = False, k: int = 8) -> Fitted:
    study = cohort(kind, gaps=gaps)
    one = what if isinstance(what, Candidate) else candidates(what, study.task)[0]
    recipe = Recipe(ModeratedScreen(k, task=study.task), gaps, False, len(study.classes), calibrate)
    return refit(study, one, recipe, seed=3, target="what", versions=versions())


def back(fitted: Fitted, **how) -> Fitted:
    return saved.unpacked(saved.packed(fitted), "model", **how)


def fresh(fitted: Fitted, n: int = 50) -> np.ndarray:
    return np.random.default_rng(1).normal(5, 1.2, size=(n, len(fitted.features)))


def same(one: Fitted, two: Fitted) -> None:
    X, names = fresh(one), pd.Index(map(str, range(50)))
    pd.testing.assert_frame_equal(one.predict_matrix(X, names), two.predict_matrix(X, names), check_exact=True)


# -- what comes back ---------------------------------------------------------------------------------------------------

EVERY = [
    (kind, candidate.name)
    for kind, classes in CLASSES.items()
    for candidate in candidates("all", "classification" if classes else "regression")
]


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_model_predicts_to_the_bit_what_it_did(kind, name):
    fitted = made(kind, name)
    same(fitted, back(fitted))


@pytest.mark.parametrize(
    ("what", "calibrate", "gaps"),
    [
        ("logistic", "sigmoid", True),
        ("xgboost", "sigmoid", False),
        ("svm", "isotonic", True),
        ("random_forest", "isotonic", False),
        (KNeighborsClassifier(3, algorithm="kd_tree"), None, True),
        (KNeighborsClassifier(3, algorithm="ball_tree", weights="distance"), "sigmoid", False),
        (make_pipeline(FunctionTransformer(np.arctan), LogisticRegression()), None, False),
    ],
)
@pytest.mark.parametrize("kind", ["binary", "multi-class"])
def test_so_do_calibrated_imputing_and_your_own_models(kind, what, calibrate, gaps):
    fitted = made(kind, what, calibrate, gaps=gaps)
    assert fitted.imputes == gaps
    same(fitted, back(fitted))


def test_everything_that_is_known_of_a_model_comes_back():
    table = pd.DataFrame(
        {"set": ["cv"], "model": ["x"], "metric": ["r2"], "value": [0.1 + 0.2], "low": [np.nan], "n": [3]}
    )
    epochs = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 1 / 3], "val_loss": [np.nan, np.nan]})
    spec = {"seed": 3, "screen": "8", "covariates": ["age"], "tune": False, "class_weight": {"a": 2.0}, "batch": None}
    fitted = dataclasses.replace(
        made("binary", "logistic"),
        performance=table,
        history=epochs,
        spec=spec,
        tuned={"C": 0.1},
        verdict="Good.",
        fingerprint="f",
    )
    again = back(fitted)
    for field in dataclasses.fields(Fitted):
        mine, theirs = getattr(fitted, field.name), getattr(again, field.name)
        if isinstance(mine, pd.DataFrame):
            pd.testing.assert_frame_equal(theirs, mine, check_exact=True)
        elif isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(theirs, mine)
        elif field.name != "pipeline":
            assert theirs == mine, field.name


def test_a_fresh_process_predicts_the_same(tmp_path):
    models = {
        "a": made("multi-class", "xgboost"),
        "b": made("regression", "random_forest"),
        "c": made("binary", "svm", "sigmoid"),
    }
    for name, fitted in models.items():
        saved.save(fitted, tmp_path / name)
        np.save(tmp_path / f"{name}.npy", fresh(fitted))
    code = (
        "import sys, numpy as np, pandas as pd, geneml_bio as gb\n"
        "for name in 'abc':\n"
        "    X = np.load(f'{sys.argv[1]}/{name}.npy'); m = gb.load(f'{sys.argv[1]}/{name}')\n"
        "    m.predict(pd.DataFrame(X, columns=list(m.features))).to_pickle(f'{sys.argv[1]}/{name}.frame')\n"
    )
    subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:geneml_bio", "-c", code, str(tmp_path)], check=True
    )
    for name, fitted in models.items():
        mine = fitted.predict_matrix(fresh(fitted), pd.Index(map(str, range(50))))
        pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / f"{name}.frame"), mine, check_exact=True)


@pytest.fixture(scope="module")
def small() -> Fitted:
    return made("binary", "logistic", k=3)


@settings(max_examples=40)
@given(
    genes=st.lists(st.text(min_size=1, max_size=12), min_size=3, max_size=3, unique=True),
    classes=st.lists(st.text(max_size=12), min_size=2, max_size=2, unique=True),
    word=st.text(),
)
def test_names_of_any_kind_come_back(small, genes, classes, word):
    about = {"features": tuple(genes), "classes": tuple(classes), "target": word, "spec": {word: word}}
    fitted = dataclasses.replace(small, **about)
    again = back(fitted)
    assert (again.features, again.classes, again.target, again.spec) == (
        tuple(genes),
        tuple(classes),
        word,
        {word: word},
    )
    assert list(again.predict_frame(pd.DataFrame(fresh(fitted), columns=genes)).columns[1:]) == [
        f"prob_{c}" for c in classes
    ]


def test_the_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "model.geneml"
    assert gb.FittedModel.of(made("binary", "logistic")).save(path) == path
    before = path.read_bytes()
    with pytest.raises(StorageError, match="without pickle"):
        saved.save(made("binary", make_pipeline(FunctionTransformer(lambda X: X), LogisticRegression())), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.geneml"]
    for wrong in (tmp_path, tmp_path / "none" / "model"):
        with pytest.raises(InputError, match="cannot be written"):
            saved.save(made("binary", "logistic"), wrong)


@pytest.mark.parametrize("what", ["logistic", "xgboost"])
def test_a_file_names_no_sample(what):
    data = saved.packed(made("binary", what))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert not any(b"patient" in archive.read(name) for name in archive.namelist())
