"""Types and versions in a saved model."""

from __future__ import annotations

import io
import itertools
import json
import zipfile

import numpy as np
import pytest
import skops.io
import xgboost
from sealing import members_of, rebuilt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from test_saved import back, made, same

import geneml_bio as gb
from geneml_bio.bridge import frozen, saved
from geneml_bio.core.errors import DataWarning, InputError, ModelFileError, StorageError
from geneml_bio.core.rescaled import Rescaled

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
        inner = members_of(members["pipeline.skops"])
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
    same(fitted, saved.unpacked(data, "model", trusted=json.loads(members_of(data)["header.json"])["needs_trust"]))


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
    far = Rescaled(RandomForestRegressor(2, random_state=0), 1e9).fit(np.eye(4), np.arange(4))
    needed |= set(skops.io.get_untrusted_types(data=frozen.freeze(far)[0].pipeline))
    assert needed == set(frozen.TRUSTED)


@pytest.mark.parametrize(
    ("field", "value"), [("left_child", 10_000), ("right_child", 0), ("feature", 10_000), ("feature", -9)]
)
def test_a_tree_that_leads_out_of_itself_is_refused(trees, field, value):
    def change(header, members):
        inner = members_of(members["pipeline.skops"])
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
        inner = {n: r.replace(b"XGBClassifier", b"DMatrix") for n, r in members_of(raw).items()}
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
