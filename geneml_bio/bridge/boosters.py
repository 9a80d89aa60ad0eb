"""Estimators of XGBoost as JSON in XGBoost's own form, and back.

XGBoost follows the node numbers of a tree that it reads without a look, so they are looked at here: what is handed to it is
written anew from values that were checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..core.errors import ModelFileError, StorageError

MARK = "geneml_bio:booster"  # key of the dict that stands where an estimator stood
_KINDS = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")
_BY_NODE = ("left_children", "right_children", "parents", "split_indices", "split_conditions", "split_type", "default_left",
            "base_weights", "loss_changes", "sum_hessian")  # fmt: skip


def take_out(estimator: Any, boosters: list[bytes]) -> dict[str, Any]:
    """What stands in place of an estimator; its trees are added to ``boosters``."""
    kind = type(estimator).__name__
    if kind not in _KINDS or type(estimator).__module__ != "xgboost.sklearn":
        raise StorageError(
            f"A {type(estimator).__module__}.{kind} cannot be stored without pickle; {', '.join(_KINDS)} can."
        )
    out: dict[str, Any] = {MARK: None, "kind": kind, "params": estimator.get_params()}
    if estimator.__sklearn_is_fitted__():
        out[MARK] = len(boosters)
        boosters.append(bytes(estimator.get_booster().save_raw("json")))
    return out


def put_back(stored: dict[str, Any], boosters: list[bytes]) -> Any:
    """The estimator behind :func:`take_out`.

    Raises
    ------
    ModelFileError
        If it is none of XGBoost's, or its trees are none. Other errors are those of damaged data.
    """
    import xgboost

    if stored["kind"] not in _KINDS:
        raise ModelFileError(f"it holds an unknown estimator of XGBoost: {stored['kind']!r}.")
    made = getattr(xgboost, stored["kind"])(**stored["params"])
    if stored[MARK] is not None:
        made.load_model(bytearray(_checked(boosters[stored[MARK]])))
    return made


def _checked(raw: bytes) -> bytes:
    content = json.loads(raw)
    learner = content["learner"]
    facts = learner["learner_model_param"]
    n_features, n_outputs = int(facts["num_feature"]), max(1, int(facts["num_class"]))
    _need(n_features > 0 and int(facts.get("num_target", 1)) == 1)
    booster = learner["gradient_booster"]
    if booster["name"] == "gblinear":
        _need(len(_floats(booster["model"]["weights"])) == (n_features + 1) * n_outputs)
    else:
        _need(booster["name"] in ("gbtree", "dart"))
        _check_trees(booster.get("gbtree", booster)["model"], n_features, n_outputs)
    return json.dumps(content).encode()


def _check_trees(model: Mapping[str, Any], n_features: int, n_outputs: int) -> None:
    trees, n = model["trees"], len(model["trees"])
    _need(int(model["gbtree_model_param"]["num_trees"]) == n and len(model["tree_info"]) == n)
    _need(all(type(place) is int and 0 <= place < n_outputs for place in model["tree_info"]))
    starts = model.get("iteration_indptr", [0, n])
    _need(all(type(at) is int for at in starts) and starts == sorted(starts) and starts[0] == 0 and starts[-1] == n)
    for number, tree in enumerate(trees):
        facts = {name: int(value) for name, value in tree["tree_param"].items()}
        _need(facts["num_feature"] == n_features and facts["size_leaf_vector"] in (0, 1) and tree["id"] == number)
        _check_nodes(tree, facts["num_nodes"], n_features)


def _check_nodes(tree: Mapping[str, Any], n: int, n_features: int) -> None:
    """Each node that can be reached is one of the tree's, is reached once, and asks for a feature that is there."""
    _need(n > 0 and all(len(_floats(tree[name])) == n for name in _BY_NODE))
    left, right, feature = tree["left_children"], tree["right_children"], tree["split_indices"]
    _need(all(type(node) is int for nodes in (left, right, feature, tree["parents"]) for node in nodes))
    _need(not any(tree["split_type"]) and not tree.get("categories_nodes"))  # numbers only
    waiting, seen = [0], set()
    while waiting:
        node = waiting.pop()
        _need(0 <= node < n and node not in seen)
        seen.add(node)
        if left[node] == -1:
            _need(right[node] == -1)
        else:
            _need(0 <= feature[node] < n_features)
            waiting += [left[node], right[node]]
    _need(all(-1 <= one < n for one in (*left, *right)))


def _floats(values: Any) -> list[float]:
    _need(isinstance(values, list) and all(type(value) in (int, float) for value in values))
    return values


def _need(fits: bool) -> None:
    if not fits:
        raise ModelFileError("a tree of XGBoost in it leads out of itself, or is none.")
