"""Exact SHAP values of one fitted model for a batch of samples.

Exact are: linear models (closed form, features taken as independent, background = training mean), XGBoost (its own
contributions) and scikit-learn's trees, forests and gradient boosting (:mod:`geneml_bio.core.tree_shap`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .fitting import bare
from .sparse_logistic import SparseLogistic

EXPLAINABLE = (
    "linear and logistic models (ridge, lasso and elastic net too), linear SVMs, XGBoost, gradient boosting, random forests, "
    "extra trees and decision trees"
)


@dataclass(frozen=True, eq=False)
class Explained:
    """SHAP values of one batch of samples: ``values`` samples x columns x outputs, ``base`` and ``margin`` samples x outputs.

    ``columns``: which columns of the model the values are of, where others are not used by it at all (their values are 0);
    None: all of them.
    """

    values: np.ndarray
    base: np.ndarray
    margin: np.ndarray
    unit: str
    explainer: str
    columns: np.ndarray | None = None

    def whole(self, n_columns: int) -> np.ndarray:
        """The values of all columns."""
        if self.columns is None:
            return self.values
        values = np.zeros((self.values.shape[0], n_columns, self.values.shape[2]))
        values[:, self.columns] = self.values
        return values


def _three(values: np.ndarray) -> np.ndarray:
    """Samples x columns x outputs, whatever the explainer returns."""
    return values[:, :, None] if values.ndim == 2 else values


def _linear(model: Any, Z: np.ndarray, unit: str) -> Explained:
    """phi_j = w_j (z_j - E z_j); after the scaler the training mean of every column is 0."""
    weights = np.atleast_2d(model.coef_)
    values = Z[:, :, None] * weights.T[None, :, :]
    base = np.broadcast_to(np.atleast_1d(model.intercept_), (len(Z), len(weights)))
    return Explained(values, base, Z @ weights.T + base, unit, "linear closed form")


def _xgboost(model: Any, Z: Any, unit: str) -> Explained:
    import xgboost

    from .boosted import on_used_columns

    booster, columns = model.get_booster(), None
    if Z.shape[0] * Z.shape[1] > _LARGE:
        booster, columns = on_used_columns(booster)
    data = xgboost.DMatrix(_dense(Z if columns is None else Z[:, columns], model.missing), missing=model.missing)
    contributions = booster.predict(data, pred_contribs=True, strict_shape=True).astype(
        float
    )  # n x outputs x (columns + 1)
    margin = booster.predict(data, output_margin=True, strict_shape=True).astype(float)
    values = np.moveaxis(contributions[:, :, :-1], 1, 2)
    made = margin.reshape(Z.shape[0], -1)
    return Explained(values, contributions[:, :, -1], made, unit, "XGBoost pred_contribs", columns)


_LARGE = 1_000_000  # values; of less it is not worth the while to read the trees


def _dense(Z: Any, missing: float) -> np.ndarray:
    """As numbers; what a sparse matrix does not hold is missing for XGBoost, whatever ``missing`` is."""
    if not sparse.issparse(Z):
        return np.asarray(Z)
    held = sparse.csr_matrix((np.ones(Z.nnz), Z.tocsr().indices, Z.tocsr().indptr), shape=Z.shape)
    return np.where(held.toarray() > 0, Z.toarray(), missing)


_PATHS = "tree SHAP (path-dependent)"


def _by_paths(model: Any, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Values (samples x columns x outputs), base (outputs), and the columns (None: all).

    By :mod:`geneml_bio.core.tree_shap`; what it does not read (splits by category, several targets) by ``shap.TreeExplainer``.
    """
    from . import tree_shap

    trees = tree_shap.read_trees(model) if tree_shap.supported(model) else None
    if trees is not None:
        return tree_shap.shap_values(trees, Z), trees.base, trees.columns
    import shap

    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    values = _three(np.asarray(explainer.shap_values(Z, check_additivity=False), dtype=float))
    return values, np.atleast_1d(np.asarray(explainer.expected_value, dtype=float)), None


def _trees(model: Any, Z: np.ndarray, unit: str) -> Explained:
    values, base, columns = _by_paths(model, Z)
    if unit == "probability":
        margin = model.predict_proba(Z)
    else:
        margin = model.decision_function(Z) if hasattr(model, "decision_function") else model.predict(Z)
    margin = np.asarray(margin, dtype=float).reshape(len(Z), -1)[:, -values.shape[2] :]  # of two classes, the second
    return Explained(values, np.broadcast_to(base, margin.shape), margin, unit, _PATHS, columns)


def _of_scaled_target(model: Any, Z: np.ndarray, unit: str) -> Explained:
    """Back from the standardised target: a factor for everything, and the mean for the base."""
    part = explain_model(model.regressor_, Z, unit)
    scale, mean = float(model.transformer_.scale_[0]), float(model.transformer_.mean_[0])
    base, margin = part.base * scale + mean, part.margin * scale + mean
    return replace(part, values=part.values * scale, base=base, margin=margin)


_LINEAR = (
    LinearRegression,
    Ridge,
    ElasticNet,
    BayesianRidge,
    HuberRegressor,
    SGDRegressor,
    LinearSVR,
)  # Lasso is an ElasticNet
_LINEAR_MARGIN = (RidgeClassifier, SGDClassifier, LinearSVC)
_MEANS = (RandomForestRegressor, ExtraTreesRegressor, DecisionTreeRegressor)
_SHARES = (RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier)
_LOSSES = ("squared_error", "absolute_error", "huber", "quantile")  # those without a link


def _explainer(model: Any) -> tuple[Callable[..., Explained], str] | None:
    """Who explains a model and in which unit (``""``: that of the target); None where nobody does exactly."""
    name = type(model).__name__
    found: tuple[Callable[..., Explained], str] | None = None
    if isinstance(model, LogisticRegression | SparseLogistic):
        found = _linear, "log-odds"
    elif isinstance(model, _LINEAR) or (isinstance(model, SVR) and model.kernel == "linear"):
        found = _linear, ""
    elif isinstance(model, _LINEAR_MARGIN) or (isinstance(model, SVC) and _one_line(model)):
        found = _linear, "margin"
    elif name in ("XGBClassifier", "XGBRegressor"):
        found = _xgboost, "log-odds" if name == "XGBClassifier" else ""
    elif isinstance(model, _SHARES):
        found = _trees, "probability"
    elif isinstance(model, _MEANS):
        found = _trees, ""
    elif isinstance(model, GradientBoostingClassifier | HistGradientBoostingClassifier):
        found = (_trees, "log-odds") if _plain(model) and model.loss == "log_loss" else None
    elif isinstance(model, GradientBoostingRegressor | HistGradientBoostingRegressor):
        found = (_trees, "") if _plain(model) and model.loss in _LOSSES else None
    elif isinstance(model, TransformedTargetRegressor):
        inner = getattr(model, "regressor_", model.regressor)
        if isinstance(model.transformer, StandardScaler) and has_explainer(inner):
            found = _of_scaled_target, ""
    return found


def _one_line(model: SVC) -> bool:
    """A linear SVC of two classes; of more it votes by pairs, which is not linear."""
    return model.kernel == "linear" and len(getattr(model, "classes_", (0, 1))) == 2


def _plain(model: Any) -> bool:
    """Boosting that starts from a constant."""
    return getattr(model, "init", None) is None


def has_explainer(model: Any) -> bool:
    """Whether there is an exact explainer for this scikit-learn or XGBoost model."""
    return _explainer(model) is not None


def explain_model(model: Any, Z: np.ndarray, target_unit: str) -> Explained:
    """Explain a fitted model on the columns it was fitted on (:func:`has_explainer`)."""
    found = _explainer(model)
    if found is None:
        raise TypeError(f"There is no exact explainer for {type(model).__name__}.")
    how, unit = found
    return how(model, Z, unit or target_unit)


def explain_fitted(whole: Any, X: Any, task: str, target_unit: str) -> Explained:
    """Explain samples ``X`` by a fitted pipeline, on the columns that its screen kept (:func:`has_explainer`).

    Of a calibrated one the model behind the calibration is explained; the unit says so.
    """
    behind = bare(whole)
    part = explain_model(behind.named_steps["model"], np.asarray(behind[:-1].transform(X), dtype=float), target_unit)
    return replace(part, unit=f"{part.unit} before calibration") if isinstance(whole, CalibratedClassifierCV) else part
