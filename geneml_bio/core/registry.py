"""The models by name: how each is built, and the few values searched for it inside a training part (docs: models)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .network import NetworkClassifier, NetworkRegressor
from .sparse_linear import SparseLinear
from .sparse_logistic import SparseLogistic

# 128 leaves bind only where there are many samples, and keep the cost of explaining a forest within reason there
FOREST = {"n_estimators": 100, "max_leaf_nodes": 128, "n_jobs": 1}
# a leaf of one sample is certain of its class, which is never true
TREE = {"min_samples_leaf": 2}
GRADIENT = {"n_estimators": 100, "max_depth": 3, "learning_rate": 0.1, "subsample": 0.8, "max_features": "sqrt"}
# tol is of a gradient by sample: at scikit-learn's 1e-4 probabilities of some thousand samples are off by up to 0.08
LOGISTIC = {"max_iter": 5000, "tol": 1e-8}
# min_child_weight counts hessians (at most 1/4 a sample): its default of 1 stops trees early where samples are few
BOOSTING = {
    "n_estimators": 100,
    "max_depth": 3,
    "learning_rate": 0.1,
    "subsample": 0.8,
    "colsample_bytree": 0.3,
    "min_child_weight": 0.1,
}


class Entry(NamedTuple):
    """How a model is built, and its space (name of a parameter -> values, the simplest model first)."""

    build: Callable[[], BaseEstimator]
    space: Mapping[str, Sequence[Any]] = {}


def _xgboost(task: str) -> BaseEstimator:
    import xgboost

    kind = xgboost.XGBClassifier if task == "classification" else xgboost.XGBRegressor
    return kind(**BOOSTING, tree_method="hist", n_jobs=1)


def _of_scaled_target(regressor: BaseEstimator) -> BaseEstimator:
    """For models whose penalty or tube is in the unit of the target: they learn the standardised target."""
    return TransformedTargetRegressor(regressor, transformer=StandardScaler())


def lasso(alpha: float, l1_ratio: float = 1.0) -> SparseLinear:
    """The lasso, or an elastic net."""
    return SparseLinear(alpha=alpha, l1_ratio=l1_ratio, max_iter=50_000)


# the strength of an L1 penalty, strongest first: a standardised gene enters if its mean product with the residual exceeds it
_ENTRY = (0.2, 0.1, 0.03, 0.01)
_NEIGHBORS = (15, 9, 5, 3)

REGISTRY: dict[str, dict[str, Entry]] = {
    "classification": {
        "logistic": Entry(lambda: LogisticRegression(**LOGISTIC), {"C": (0.001, 0.01, 0.1, 1.0)}),
        "lasso": Entry(lambda: SparseLogistic(0.03), {"alpha": _ENTRY}),
        "elastic_net": Entry(lambda: SparseLogistic(0.03, l1_ratio=0.5), {"alpha": _ENTRY}),
        "decision_tree": Entry(lambda: DecisionTreeClassifier(**TREE, max_depth=3), {"max_depth": (1, 2, 3, 5)}),
        "random_forest": Entry(lambda: RandomForestClassifier(**FOREST)),
        "gradient_boosting": Entry(lambda: GradientBoostingClassifier(**GRADIENT)),
        "svm": Entry(lambda: LinearSVC(C=0.01, dual=False, max_iter=10_000), {"C": (0.0001, 0.001, 0.01, 0.1)}),
        "knn": Entry(lambda: KNeighborsClassifier(5), {"n_neighbors": _NEIGHBORS}),
        "xgboost": Entry(lambda: _xgboost("classification")),
        "mlp": Entry(lambda: NetworkClassifier()),
    },
    "regression": {
        "linear": Entry(lambda: LinearRegression()),
        "ridge": Entry(lambda: Ridge(), {"alpha": (1.0, 10.0, 100.0, 1000.0)}),
        "lasso": Entry(lambda: _of_scaled_target(lasso(0.03)), {"regressor__alpha": _ENTRY}),
        "elastic_net": Entry(lambda: _of_scaled_target(lasso(0.03, l1_ratio=0.5)), {"regressor__alpha": _ENTRY}),
        "decision_tree": Entry(lambda: DecisionTreeRegressor(**TREE, max_depth=4), {"max_depth": (1, 2, 4, 8)}),
        "random_forest": Entry(lambda: RandomForestRegressor(**FOREST, max_features=1 / 3)),
        "gradient_boosting": Entry(lambda: GradientBoostingRegressor(**GRADIENT)),
        "svm": Entry(lambda: _of_scaled_target(SVR()), {"regressor__C": (0.1, 1.0, 10.0)}),
        "knn": Entry(lambda: KNeighborsRegressor(5), {"n_neighbors": _NEIGHBORS}),
        "xgboost": Entry(lambda: _xgboost("regression")),
        "mlp": Entry(lambda: NetworkRegressor()),
    },
}

DEFAULT = {
    "classification": ("logistic", "random_forest", "xgboost"),
    "regression": ("ridge", "random_forest", "xgboost"),
}

# names of the other task: what to take in their place
ELSEWHERE = {
    "classification": {
        "linear": "linear regression predicts numbers, not classes; 'logistic' is its counterpart",
        "ridge": "ridge regression predicts numbers, not classes; 'logistic' is its counterpart, with the same penalty",
    },
    "regression": {
        "logistic": "logistic regression predicts classes, not numbers; 'ridge' is its counterpart ('linear' without a penalty)",
    },
}
