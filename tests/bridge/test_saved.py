"""Fitted models in files: what comes back is what went in, and nothing else gets in."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import hashlib
import io
import itertools
import json
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import geneml_bio as gb
from geneml_bio.bridge import frozen, saved
from geneml_bio.bridge.anndata import versions
from geneml_bio.core.errors import DataWarning, InputError, ModelFileError, StorageError
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


def sealed(data: bytes) -> bytes:
    """A file with the digest that it should have."""
    body = data[:-64]
    return body + hashlib.sha256(body).hexdigest().encode()


def rebuilt(data: bytes, change) -> bytes:
    """The file with its members changed by a function, all digests put right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members.pop("header.json"))
    change(header, members)
    header["members"] = {n: {"sha256": hashlib.sha256(m).hexdigest(), "size": len(m)} for n, m in members.items()}
    return zipped({"header.json": json.dumps(header).encode()} | members)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
        archive.comment = b"sha256:" + b"0" * 64
    return sealed(buffer.getvalue())


@pytest.fixture(scope="module")
def logistic() -> bytes:
    return saved.packed(made("binary", "logistic"))


@pytest.fixture(scope="module")
def trees() -> bytes:
    return saved.packed(made("binary", ExtraTreesClassifier(4, random_state=0)))


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


# -- what does not get in ----------------------------------------------------------------------------------------------


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_opened(tmp_path, protocol):
    path, harm = tmp_path / "model.geneml", tmp_path / "harm"
    path.write_bytes(pickle.dumps(Payload(harm), protocol=protocol))
    with pytest.raises(ModelFileError, match="never opened" if protocol >= 2 else "no file written by"):
        gb.load(path)
    joblib.dump(Payload(harm), path, protocol=protocol)
    with pytest.raises(ModelFileError):
        gb.load(path)
    assert not harm.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        b"hello",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"\x89HDF\r\n",
        gzip.compress(pickle.dumps(1), mtime=0),
    ],
)
def test_other_files_are_refused(tmp_path, data):
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="file"):
        gb.load(path)


def test_what_is_not_there_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(ModelFileError, match="cannot be read"):
            gb.load(path)


def test_damage_of_any_byte_is_seen(logistic):
    rng = random.Random(0)
    places = {
        0,
        1,
        30,
        len(logistic) - 1,
        len(logistic) - 70,
        len(logistic) - 80,
        *rng.sample(range(len(logistic)), 250),
    }
    for place in places:
        bad = bytearray(logistic)
        bad[place] ^= 1 << rng.randrange(8)
        with pytest.raises(ModelFileError):
            saved.unpacked(bytes(bad), "model")
    for _ in range(100):
        cut = rng.randrange(len(logistic))
        for bad in (logistic[:cut], logistic[cut:], logistic[:cut] + b"x" + logistic[cut:], logistic + logistic[:cut]):
            if bad != logistic:
                with pytest.raises(ModelFileError):
                    saved.unpacked(bad, "model")


@pytest.mark.parametrize("which", ["logistic", "trees", "boosted"])
def test_damage_that_was_signed_ends_in_the_same_error_or_in_the_same_model(which, request):
    data, rng = request.getfixturevalue(which), random.Random(1)
    whole = saved.unpacked(data, "model")
    seen = {"error": 0, "model": 0}
    for turn in range(200):

        def flip(header, members, turn=turn):
            place = "boosters/0.json" if which == "boosted" else "pipeline.skops"
            raw = bytearray(members[place])
            for _ in range(1 + turn % 3):
                raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
            members[place] = bytes(raw)

        try:
            again = saved.unpacked(rebuilt(data, flip), "model")
        except ModelFileError:
            seen["error"] += 1
        else:
            seen["model"] += 1
            np.testing.assert_allclose(again.probe(), whole.probe(), atol=1e-5)
    assert seen["error"] > 100


@pytest.mark.parametrize("place", range(0, 6000, 150))
def test_a_header_that_says_anything_else_ends_in_the_same_error_or_a_model(logistic, place):
    with zipfile.ZipFile(io.BytesIO(logistic)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = bytearray(members["header.json"])
    for word in (b"null", b"[]", b"-1", b'"x"', b"{}", b"NaN", b"["):
        bad = bytes(text[: place % len(text)]) + word + bytes(text[place % len(text) + len(word) :])
        with contextlib.suppress(ModelFileError):
            saved.unpacked(zipped(members | {"header.json": bad}), "model")


def names_of(change):
    return lambda data: zipped(change(dict(_members(data))))


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _twice(data: bytes) -> bytes:
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("header.json", b"{}")
    return sealed(buffer.getvalue())


def _says(size: int):
    """The size of the first member in the archive's directory is another."""

    def change(data: bytes) -> bytes:
        at = data.index(b"PK\x01\x02")
        return sealed(data[: at + 24] + struct.pack("<I", size) + data[at + 28 :])

    return change


ARCHIVES = {
    "a way out": names_of(lambda m: m | {"../../evil": b"x"}),
    "an absolute name": names_of(lambda m: m | {"/etc/evil": b"x"}),
    "a stranger": names_of(lambda m: m | {"notes.pkl": pickle.dumps(1)}),
    "a stray booster": names_of(lambda m: m | {"boosters/0.json": b"x"}),
    "no header": names_of(lambda m: {n: raw for n, raw in m.items() if n != "header.json"}),
    "no pipeline": names_of(lambda m: {n: raw for n, raw in m.items() if n != "pipeline.skops"}),
    "nothing": names_of(lambda m: {}),
    "a name twice": _twice,
    "more than it says": _says(10),
    "more than memory": _says((1 << 32) - 2),
    "another kind": lambda d: rebuilt(d, lambda h, m: h.update(format="other")),
    "no members": lambda d: rebuilt(d, lambda h, m: m.clear()),
    "a bomb": names_of(lambda m: m | {"header.json": b" " * (1 << 28) + m["header.json"]}),
    "a packed pipeline": lambda d: rebuilt(d, lambda h, m: m.update({"pipeline.skops": _packed(m["pipeline.skops"])})),
    "depth": names_of(lambda m: m | {"header.json": b"[" * 100_000}),
    "other digests": names_of(lambda m: m | {"pipeline.skops": m["pipeline.skops"] + b"x"}),
}


def _packed(skops_file: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in _members(skops_file).items():
            archive.writestr(name, raw)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ARCHIVES)
def test_other_archives_are_refused(logistic, name):
    with pytest.raises(ModelFileError, match=r"model holds no model that can be loaded|model is no file written by"):
        saved.unpacked(ARCHIVES[name](logistic), "model")


# -- types -------------------------------------------------------------------------------------------------------------


IDS = itertools.count(1)


def node(loader: str, module: str, name: str, **more) -> dict:
    return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": next(IDS)} | more


def listed(*items: dict) -> dict:
    return node("ListNode", "builtins", "list", content=list(items))


TEXT = node("JsonNode", "builtins", "str", content='"touch HARM"', is_json=True)
ATTACKS = {
    "os.system": node("FunctionNode", "os", "system"),
    "posix.system": node("FunctionNode", "posix", "system"),
    "builtins.eval": node("TypeNode", "builtins", "eval"),
    "subprocess.Popen": node(
        "ConstructorFromReduceNode",
        "subprocess",
        "Popen",
        content=node("TupleNode", "builtins", "tuple", content=[TEXT]),
    ),
    "functools.partial": node(
        "PartialNode",
        "functools",
        "partial",
        content={"func": node("FunctionNode", "os", "system"), "args": listed(TEXT), "kwds": TEXT, "namespace": TEXT},
    ),
    "pathlib.Path": node("ObjectNode", "pathlib", "Path", content=TEXT),
    "operator.methodcaller": node("OperatorFuncNode", "operator", "methodcaller", attrs=listed(TEXT)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_types_that_are_not_on_the_list_are_refused_by_name(logistic, name):
    def change(header, members):
        inner = _members(members["pipeline.skops"])
        schema = json.loads(inner["schema.json"])
        attack = listed(ATTACKS[name]) | {key: schema[key] for key in ("protocol", "_skops_version") if key in schema}
        inner["schema.json"] = json.dumps(attack).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for member, raw in inner.items():
                archive.writestr(member, raw)
        members["pipeline.skops"] = buffer.getvalue()

    with pytest.raises(ModelFileError, match=f"not trusted: .*{name}"):
        saved.unpacked(rebuilt(logistic, change), "model")


OWN = """
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

class Mine(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.inner_ = LogisticRegression().fit(X, y)
        self.classes_ = self.inner_.classes_
        return self
    def predict_proba(self, X):
        return self.inner_.predict_proba(X)
    def predict(self, X):
        return self.inner_.predict(X)
"""


def test_your_own_estimators_have_to_be_trusted_by_name(tmp_path, monkeypatch):
    (tmp_path / "mine_only.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    import mine_only

    fitted, path = made("binary", mine_only.Mine()), tmp_path / "model"
    saved.save(fitted, path)
    with pytest.raises(ModelFileError, match=r"trusted=\['mine_only.Mine'\]"):
        gb.load(path)
    for trusted in (["mine_only.Mine"], (mine_only.Mine,)):
        same(fitted, gb.load(path, trusted=trusted))
    for wrong in ("mine_only.Mine", True, 3):
        with pytest.raises(InputError, match="trusted is a list"):
            gb.load(path, trusted=wrong)


def test_what_scikit_learn_reads_without_a_look_has_to_be_trusted_by_name():
    fitted = made("binary", HistGradientBoostingClassifier(max_iter=3))
    data = saved.packed(fitted)
    with pytest.raises(ModelFileError, match=r"not trusted: .*sklearn"):
        saved.unpacked(data, "model")
    same(fitted, saved.unpacked(data, "model", trusted=json.loads(_members(data)["header.json"])["needs_trust"]))


def test_the_list_of_types_is_no_longer_than_it_needs_to_be():
    """Each type on it is one that skops would refuse, and that a model of ours holds."""
    needed = set()
    for kind, what, calibrate in [
        ("binary", "random_forest", "sigmoid"),
        ("binary", "mlp", None),
        ("binary", "lasso", None),
        ("regression", "mlp", None),
        ("regression", "lasso", None),
        ("multi-class", "svm", "isotonic"),
    ]:
        for gaps in (True, False):
            parts, foreign = frozen.freeze(made(kind, what, calibrate, gaps=gaps).pipeline)
            assert not foreign
            needed |= set(skops.io.get_untrusted_types(data=parts.pipeline))
    assert needed == set(frozen.TRUSTED)


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 10_000), ("right_child", 0), ("feature", 10_000), ("feature", -9)]
)
def test_a_tree_that_leads_out_of_itself_is_refused(trees, field, value):
    def change(header, members):
        inner = _members(members["pipeline.skops"])
        for name, raw in inner.items():
            if name.endswith(".npy"):
                array = np.load(io.BytesIO(raw))
                if array.dtype.names and field in array.dtype.names:
                    array = array.copy()
                    array[field][0] = value
                    buffer = io.BytesIO()
                    np.save(buffer, array)
                    inner[name] = buffer.getvalue()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, raw in inner.items():
                archive.writestr(name, raw)
        members["pipeline.skops"] = buffer.getvalue()

    with pytest.raises(ModelFileError, match="a tree in it"):
        saved.unpacked(rebuilt(trees, change), "model")


def _tree(n, **change):
    def changed(model):
        model["trees"][n].update({name: change_list(model["trees"][n][name]) for name, change_list in change.items()})

    return changed


BOOSTERS = {
    "a node elsewhere": _tree(0, left_children=lambda old: [10**6, *old[1:]]),
    "a node before": _tree(0, right_children=lambda old: [0, *old[1:]]),
    "half a leaf": _tree(0, left_children=lambda old: [-1, *old[1:]]),
    "a feature elsewhere": _tree(1, split_indices=lambda old: [10**6, *old[1:]]),
    "a part of a node": _tree(1, right_children=lambda old: [2.0, *old[1:]]),
    "fewer values": _tree(2, base_weights=lambda old: old[1:]),
    "classes of numbers": _tree(2, split_type=lambda old: [1, *old[1:]]),
    "fewer trees": lambda model: model["trees"].pop(),
    "a class elsewhere": lambda model: model["tree_info"].__setitem__(0, 7),
    "rounds elsewhere": lambda model: model["iteration_indptr"].__setitem__(1, 10**6),
}


@pytest.fixture(scope="module")
def boosted() -> bytes:
    return saved.packed(made("binary", "xgboost"))


@pytest.mark.parametrize("name", BOOSTERS)
def test_trees_of_xgboost_that_lead_out_of_themselves_are_refused(boosted, name):
    def change(header, members):
        content = json.loads(members["boosters/0.json"])
        BOOSTERS[name](content["learner"]["gradient_booster"]["model"])
        members["boosters/0.json"] = json.dumps(content).encode()

    with pytest.raises(ModelFileError, match="a tree of XGBoost in it"):
        saved.unpacked(rebuilt(boosted, change), "model")


@pytest.mark.parametrize("booster", ["dart", "gblinear"])
@pytest.mark.filterwarnings("ignore:.*gblinear.*")
def test_the_other_boosters_of_xgboost_come_back_too(booster):
    fitted = made("multi-class", xgboost.XGBClassifier(booster=booster, n_estimators=5, n_jobs=1))
    same(fitted, back(fitted))


# -- versions ----------------------------------------------------------------------------------------------------------


def test_another_version_of_a_package_is_told_of(logistic):
    change = rebuilt(logistic, lambda h, m: h["model"]["versions"].update({"scikit-learn": "0.24.2"}))
    with pytest.warns(DataWarning, match=r"scikit-learn 0\.24\.2.*check predictions are the same"):
        saved.unpacked(change, "model")


def test_another_format_is_refused(logistic):
    with pytest.raises(ModelFileError, match=r"version 2 of the format, written by geneml_bio 9\.9"):
        saved.unpacked(rebuilt(logistic, lambda h, m: h.update(format_version=2, saved_with="9.9")), "model")


def test_a_model_that_predicts_otherwise_here_is_refused(logistic):
    def change(header, members):
        header["probe"][0][0] += 1e-4

    with pytest.raises(ModelFileError, match="predicts otherwise here"):
        saved.unpacked(rebuilt(logistic, change), "model")


def test_an_estimator_of_xgboost_that_is_none_is_refused():
    data = saved.packed(made("binary", "xgboost"))

    def change(header, members):
        raw = members["pipeline.skops"]
        assert raw.count(b"XGBClassifier") == 1
        inner = {n: r.replace(b"XGBClassifier", b"DMatrix") for n, r in _members(raw).items()}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, value in inner.items():
                archive.writestr(name, value)
        members["pipeline.skops"] = buffer.getvalue()

    with pytest.raises(ModelFileError, match="unknown estimator of XGBoost: 'DMatrix'"):
        saved.unpacked(rebuilt(data, change), "model")


class Elsewhere(ClassifierMixin, BaseEstimator):
    """An estimator that keeps a booster of XGBoost to itself."""

    def fit(self, X, y):

        self.booster_ = xgboost.train({}, xgboost.DMatrix(X, label=y), 2)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):

        p = np.clip(self.booster_.predict(xgboost.DMatrix(X)), 0, 1)
        return np.column_stack([1 - p, p])


def test_what_cannot_be_stored_is_refused_when_it_is_saved():
    with pytest.raises(StorageError, match="Booster cannot be stored without pickle"):
        saved.packed(made("binary", Elsewhere()))
