"""An XGBoost model on the columns that its trees use: its contributions then take memory for these, not for every gene."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xgboost


def on_used_columns(booster: xgboost.Booster) -> tuple[xgboost.Booster, np.ndarray | None]:
    """The same trees, with the columns that they test numbered anew.

    Returns
    -------
    The model for ``X[:, columns]``, and the columns; the model itself and None where it is no sum of plain trees (linear; DART
    before XGBoost 3.4) or splits by category.
    """
    import xgboost

    whole = json.loads(bytes(booster.save_raw("json")))
    learner = whole["learner"]
    gbm = learner["gradient_booster"]
    if gbm["name"] != "gbtree" or any(tree["categories"] for tree in gbm["model"]["trees"]):
        return booster, None
    trees = gbm["model"]["trees"]
    split = [np.asarray(tree["left_children"]) >= 0 for tree in trees]
    index = [np.asarray(tree["split_indices"]) for tree in trees]
    columns = np.unique(np.concatenate([np.zeros(0, dtype=int), *(i[s] for i, s in zip(index, split, strict=True))]))
    columns = columns.astype(np.int64) if len(columns) else np.zeros(1, dtype=np.int64)  # it takes one column at least
    for tree, own, splits in zip(trees, index, split, strict=True):
        tree["split_indices"] = np.where(splits, np.searchsorted(columns, own), 0).tolist()
        tree["tree_param"]["num_feature"] = str(len(columns))
    learner["learner_model_param"]["num_feature"] = str(len(columns))
    learner["feature_names"] = learner["feature_types"] = []
    reduced = xgboost.Booster(model_file=bytearray(json.dumps(whole).encode()))
    config = json.loads(booster.save_config())["learner"]["generic_param"]
    reduced.set_param({name: config[name] for name in ("device", "nthread") if name in config})
    return reduced, columns
