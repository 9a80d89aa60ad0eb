"""A fitted pipeline as bytes and back, without pickle: skops for scikit-learn, XGBoost's own format for its boosters.

Before skops sees a pipeline, boosters are taken out, and what serves only to go on fitting is dropped; search trees of
nearest neighbours are left out and grown again. Trees are checked when they are read: scikit-learn follows their node
numbers without a look.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor
from sklearn.neighbors import BallTree, KDTree
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.tree._tree import Tree

from ..core.errors import ModelFileError, StorageError
from . import boosters as xgb

_GROWN_AGAIN = "geneml_bio:grown again"  # in place of a search tree
_BOOSTS = (GradientBoostingClassifier, GradientBoostingRegressor)
# of networks what serves only to go on fitting, and holds the weights twice over; of boosted trees what comes of the rest
_LEFT_OUT: dict[str, tuple[type, ...]] = {"_optimizer": (MLPClassifier, MLPRegressor), "_loss": _BOOSTS}

# types that skops does not trust of itself, and that are safe as they are read here
TRUSTED = (
    "geneml_bio.core.network.NetworkClassifier",
    "geneml_bio.core.network.NetworkRegressor",
    "geneml_bio.core.rescaled.Rescaled",
    "geneml_bio.core.sparse_linear.SparseLinear",
    "geneml_bio.core.sparse_logistic.SparseLogistic",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
)


class Parts(NamedTuple):
    """A pipeline: what skops made of it, and its boosters."""

    pipeline: bytes
    boosters: list[bytes]


def freeze(pipeline: BaseEstimator) -> tuple[Parts, list[str]]:
    """The parts of a fitted pipeline, and the types in it that whoever reads them has to trust by name.

    Raises
    ------
    StorageError
        If a part cannot be stored without pickle.
    """
    import skops.io

    boosters: list[bytes] = []

    def swap(value: Any) -> Any:
        if type(value).__module__.split(".")[0] == "xgboost":
            return xgb.take_out(value, boosters)
        if isinstance(value, KDTree | BallTree):
            return _GROWN_AGAIN
        return value

    try:
        raw = skops.io.dumps(_walked(pipeline, swap))
        return Parts(raw, boosters), sorted(set(skops.io.get_untrusted_types(data=raw)) - set(TRUSTED))
    except StorageError:
        raise
    except Exception as error:
        raise StorageError(f"This model cannot be stored without pickle ({type(error).__name__}: {error}).") from error


def thaw(parts: Parts, trusted: Iterable[str] = ()) -> Any:
    """The pipeline of parts that come from a file.

    Raises
    ------
    ModelFileError
        If a type in it is not trusted, or a tree leads out of itself. Other errors are those of damaged data.
    """
    import skops.io

    _bounded(parts.pipeline)
    allowed = set(TRUSTED) | set(trusted)
    foreign = sorted(set(skops.io.get_untrusted_types(data=parts.pipeline)) - allowed)
    if foreign:
        raise ModelFileError(
            f"it holds types that are not trusted: {', '.join(foreign)}. If you know where the file comes from, and what they do: "
            f"gb.load(path, trusted={foreign})."
        )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of scikit-learn, of its version, for every tree of a forest; said once by who calls
        loaded = skops.io.loads(parts.pipeline, trusted=sorted(allowed))

    def swap(value: Any) -> Any:
        if isinstance(value, dict) and xgb.MARK in value:
            return xgb.put_back(value, parts.boosters)
        if isinstance(value, Tree):
            _check_tree(value)
        return value

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _walked(loaded, swap, _grown)


def _walked(value: Any, swap: Callable[[Any], Any], finish: Callable[[Any], Any] = lambda made: made) -> Any:
    """A copy of an object in which ``swap`` has had its say on each part; arrays are shared, not copied."""
    new = swap(value)
    if new is not value:
        return new
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(_walked(item, swap, finish) for item in value)
    if type(value) is dict:
        return {name: _walked(item, swap, finish) for name, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype == object:
        out = np.empty(value.shape, dtype=object)
        for place, item in np.ndenumerate(value):
            out[place] = _walked(item, swap, finish)
        return out
    if isinstance(value, BaseEstimator) or type(value).__module__.startswith("sklearn.calibration"):
        copied = object.__new__(type(value))
        for name, item in vars(value).items():
            if not (name == "history_" and isinstance(item, pd.DataFrame)):  # of a network: kept beside the model
                left = isinstance(value, _LEFT_OUT.get(name, ()))
                vars(copied)[name] = None if left else _walked(item, swap, finish)
        return finish(copied)
    return value


# -- scikit-learn ------------------------------------------------------------------------------------------------------


def _grown(made: Any) -> Any:
    """What was left out, made again from what was not; trees seen to fit their forest."""
    within = getattr(made, "estimators_", ())
    for one in [made, *np.ravel(np.asarray(within, dtype=object))]:
        tree = getattr(one, "tree_", None)
        if isinstance(tree, Tree) and tree.n_features != getattr(made, "n_features_in_", None):
            raise ModelFileError("a tree in it asks for genes that are not there.")
    if getattr(made, "_tree", None) == _GROWN_AGAIN:
        kind = {"kd_tree": KDTree, "ball_tree": BallTree}[made._fit_method]
        made._tree = kind(made._fit_X, made.leaf_size, metric=made.effective_metric_, **made.effective_metric_params_)
    if isinstance(made, _BOOSTS) and hasattr(made, "_loss"):
        made._loss = made._get_loss(sample_weight=None)
    return made


def _check_tree(tree: Tree) -> None:
    """Refuse a tree whose nodes lead anywhere but to later nodes of its own, or ask for genes that are not there."""
    if not 0 < tree.node_count <= tree.capacity:
        raise ModelFileError("a tree in it has no nodes, or fewer than it says.")
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    inner = left != -1
    own = np.arange(tree.node_count)
    good = (left > own) & (left < tree.node_count) & (right > own) & (right < tree.node_count)
    if not (good[inner].all() and (right[~inner] == -1).all()):
        raise ModelFileError("a tree in it leads out of itself.")
    if not ((feature[inner] >= 0) & (feature[inner] < tree.n_features)).all():
        raise ModelFileError("a tree in it asks for genes that are not there.")


def _bounded(data: bytes) -> None:
    """Refuse an archive of skops that would unpack to more than it is: its members are stored as they are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        listed = archive.infolist()
        if any(m.compress_type != zipfile.ZIP_STORED for m in listed) or sum(m.file_size for m in listed) > len(data):
            raise ModelFileError("its pipeline would unpack to more than it is.")
        if any(not name.endswith((".json", ".npy", ".bin")) for name in archive.namelist()):
            raise ModelFileError("its pipeline holds members that are of no model.")
        json.loads(archive.read("schema.json"))
