"""SHAP values of one fitted model, whatever it is, for a batch of samples.

Exact are: linear models (closed form, features taken as independent, background = training mean), XGBoost (its own
contributions) and scikit-learn's trees, forests and gradient boosting (:mod:`geneml_bio.core.tree_shap`); these also behind a pipeline of
scalers, selections and rotations. Every other model is sampled (:mod:`geneml_bio.core.sampled`) against training samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
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
from sklearn.feature_selection import SelectorMixin
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from .errors import InputError
from .fitting import bare
from .rescaled import Rescaled
from .sampled import sampled
from .tree_shap import shap_values
from .trees import read_trees, supported


@dataclass(frozen=True, eq=False)
class Explained:
    """SHAP values of one batch of samples: ``values`` samples x columns x outputs, ``base`` and ``margin`` samples x outputs.

    ``columns``: which columns of the model the values are of, where others are not used by it at all (their values are 0);
    None: all of them. ``error2``: squared standard error of each value, of sampled ones; None for exact ones.
    """

    values: np.ndarray
    base: np.ndarray
    margin: np.ndarray
    unit: str
    explainer: str
    columns: np.ndarray | None = None
    error2: np.ndarray | None = None

    @property
    def exact(self) -> bool:
        """Whether the values are exact, not sampled."""
        return self.error2 is None

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


def _line(model: Any, Z: np.ndarray) -> tuple[np.ndarray, np.ndarray, str | None] | None:
    """Weights (outputs x columns), intercepts, and what the sum is (None: that of the target), if the model is a line.

    A line is what has coefficients that give its output, on these samples and on mixtures of them.
    """
    weights, intercept = getattr(model, "coef_", None), getattr(model, "intercept_", None)
    if not isinstance(weights, np.ndarray) or intercept is None or weights.ndim > 2 or weights.shape[-1] != Z.shape[1]:
        return None
    weights, intercept = np.atleast_2d(weights).astype(float), np.atleast_1d(np.asarray(intercept, dtype=float))
    tried = np.vstack([Z, np.where(np.arange(Z.shape[1]) % 2, Z, Z[::-1])])
    line = tried @ weights.T + intercept
    if not is_classifier(model):
        return (weights, intercept, None) if _same(model.predict(tried), line) else None
    if not hasattr(model, "decision_function") or not _same(model.decision_function(tried), line):
        return None
    if not hasattr(model, "predict_proba"):
        return weights, intercept, "margin"
    prob = np.column_stack([expit(-line), expit(line)]) if line.shape[1] == 1 else softmax(line, axis=1)
    return weights, intercept, "log-odds" if np.allclose(model.predict_proba(tried), prob, atol=1e-6) else "margin"


def _same(made: Any, line: np.ndarray) -> bool:
    made = np.asarray(made, dtype=float)
    return made.size == line.size and np.allclose(made.reshape(line.shape), line, rtol=1e-6, atol=1e-8)


def _linear(line: tuple[np.ndarray, np.ndarray, str | None], Z: np.ndarray, unit: str) -> Explained:
    """phi_j = w_j (z_j - E z_j); after the scaler the training mean of every column is 0."""
    weights, intercept, own = line
    values = Z[:, :, None] * weights.T[None, :, :]
    base = np.broadcast_to(intercept, (len(Z), len(weights)))
    return Explained(values, base, Z @ weights.T + base, own or unit, "linear closed form")


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

    By :mod:`geneml_bio.core.tree_shap`; what is not read there (splits by category, several targets) by ``shap.TreeExplainer``.
    """
    found = read_trees(model) if supported(model) else None
    if found is not None:
        return shap_values(found, Z), found.base, found.columns
    import shap

    explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    values = _three(np.asarray(explainer.shap_values(Z, check_additivity=False), dtype=float))
    return values, np.atleast_1d(np.asarray(explainer.expected_value, dtype=float)), None


def _trees(model: Any, Z: np.ndarray, unit: str) -> Explained:
    values, base, columns = _by_paths(model, Z)
    own = model.decision_function if hasattr(model, "decision_function") else model.predict
    own = model.predict_proba if unit == "probability" else own
    parts = [own(Z[at : at + _BLOCK]) for at in range(0, max(len(Z), 1), _BLOCK)]  # it copies what it is given
    margin = (
        np.concatenate(parts).astype(float).reshape(len(Z), -1)[:, -values.shape[2] :]
    )  # of two classes, the second
    return Explained(values, np.broadcast_to(base, margin.shape), margin, unit, _PATHS, columns)


_MEANS = (RandomForestRegressor, ExtraTreesRegressor, DecisionTreeRegressor)
_SHARES = (RandomForestClassifier, ExtraTreesClassifier, DecisionTreeClassifier)
_LOSSES = ("squared_error", "absolute_error", "huber", "quantile")  # those without a link
_XGB_UNITS = {"binary:logistic": "log-odds", "multi:softprob": "log-odds", "multi:softmax": "log-odds"}
_XGB_LOSSES = ("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror")
_COLUMNWISE = (StandardScaler, RobustScaler, MaxAbsScaler, MinMaxScaler, SelectorMixin)
_BLOCK = 1000  # columns of an inner pipeline that are looked at together


def _exactly(model: Any, Z: np.ndarray, unit: str) -> Explained | None:
    """Exact values, or None where no exact explainer is known."""
    if isinstance(model, Pipeline):
        return _piped(model, Z, unit)
    if isinstance(model, TransformedTargetRegressor):
        scaled = isinstance(getattr(model, "transformer_", None), StandardScaler)
        part = _exactly(model.regressor_, Z, unit) if scaled else None
        return None if part is None else _unscaled(part, model.transformer_.mean_[0], model.transformer_.scale_[0])
    if isinstance(model, Rescaled):
        part = _exactly(model.regressor, Z, unit)
        return None if part is None else _unscaled(part, model.offset, model.scale)
    line = _line(model, Z)
    if line is not None:
        return _linear(line, Z, unit)
    found = _tree_explainer(model)
    return None if found is None else found[0](model, Z, found[1] or unit)


def _tree_explainer(model: Any) -> tuple[Callable[..., Explained], str] | None:
    """Who explains trees and in which unit (``""``: that of the target)."""
    name = type(model).__name__
    found: tuple[Callable[..., Explained], str] | None = None
    if name in ("XGBClassifier", "XGBRFClassifier") and model.objective in _XGB_UNITS:
        found = _xgboost, _XGB_UNITS[model.objective]
    elif name in ("XGBRegressor", "XGBRFRegressor") and model.objective in _XGB_LOSSES:
        found = _xgboost, ""
    elif isinstance(model, _SHARES):
        found = _trees, "probability"
    elif isinstance(model, _MEANS):
        found = _trees, ""
    elif isinstance(model, GradientBoostingClassifier | HistGradientBoostingClassifier):
        found = (_trees, "log-odds") if _plain(model) and model.loss == "log_loss" else None
    elif isinstance(model, GradientBoostingRegressor | HistGradientBoostingRegressor):
        found = (_trees, "") if _plain(model) and model.loss in _LOSSES else None
    return found


def _plain(model: Any) -> bool:
    """Boosting that starts from a constant."""
    return getattr(model, "init", None) is None


def _unscaled(part: Explained, mean: float, scale: float) -> Explained:
    """Back from the standardised target: a factor for everything, and the mean for the base."""
    return replace(part, values=part.values * scale, base=part.base * scale + mean, margin=part.margin * scale + mean)


def _piped(model: Pipeline, Z: np.ndarray, unit: str) -> Explained | None:
    """A model behind steps that are lines themselves.

    A linear one is explained by its weights of the columns before the steps, another one where each column behind the steps
    comes of one column before them.
    """
    front, last = model[:-1], model.steps[-1][1]
    steps = [step for _, step in front.steps if step not in (None, "passthrough")]
    if not steps:
        return _exactly(last, Z, unit)
    if not all(isinstance(step, (*_COLUMNWISE, PCA, TruncatedSVD)) and not getattr(step, "clip", 0) for step in steps):
        return None
    inner = np.asarray(front.transform(Z), dtype=float)
    line = _line(last, inner)
    if line is not None:
        weights, intercept, own = line
        start = np.asarray(front.transform(np.zeros((1, Z.shape[1]))), dtype=float)[0]
        before = np.concatenate([slope @ weights.T for slope in _slopes(front, Z.shape[1])]).T
        return _linear((before, intercept + weights @ start, own), Z, unit)
    if not all(isinstance(step, _COLUMNWISE) for step in steps):
        return None
    part = _exactly(last, inner, unit)
    if part is None:
        return None
    slopes = enumerate(_slopes(front, Z.shape[1]))
    source = np.concatenate([np.flatnonzero(slope.any(axis=1)) + at * _BLOCK for at, slope in slopes])
    if len(source) != inner.shape[1]:
        return None
    return replace(part, columns=source if part.columns is None else source[part.columns])


def _slopes(front: Pipeline, p: int) -> Iterator[np.ndarray]:
    """What the steps make of one more in each column, columns x columns behind, some columns at a time."""
    start = np.asarray(front.transform(np.zeros((1, p))), dtype=float)
    for first in range(0, p, _BLOCK):
        count = min(_BLOCK, p - first)
        yield np.asarray(front.transform(np.eye(count, p, first)), dtype=float) - start


def _outputs(model: Any, task: str) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """What is explained of a model that is sampled, samples x outputs, and its unit (``""``: that of the target)."""
    if task != "classification":
        return lambda Z: np.asarray(model.predict(Z), dtype=float).reshape(len(Z), -1), ""
    classes = np.asarray(model.classes_)
    two = len(classes) == 2
    if hasattr(model, "predict_proba"):
        return lambda Z: np.asarray(model.predict_proba(Z), dtype=float)[:, 1 if two else 0 :], "probability"
    n_outputs = 1 if two else len(classes)

    def margin(Z: np.ndarray) -> np.ndarray:
        return np.asarray(model.decision_function(Z), dtype=float).reshape(len(Z), -1)

    if hasattr(model, "decision_function") and margin(np.zeros((1, model.n_features_in_))).shape[1] == n_outputs:
        return margin, "margin"
    # such as margins of pairs of classes: what is left is the class itself
    return lambda Z: (np.asarray(model.predict(Z))[:, None] == classes[None, -n_outputs:]).astype(
        float
    ), "predicted class"


@dataclass(frozen=True, eq=False)
class Background:
    """Training samples that a sampled model is explained against, and how.

    ``Z``: samples x columns of the model, in random order. ``n_orders``: orders of columns a sample. ``seed``: of the orders.
    """

    Z: np.ndarray
    n_orders: int
    seed: int


def explain_model(
    model: Any,
    Z: np.ndarray,
    target_unit: str,
    task: str = "regression",
    background: Callable[[], Background] | None = None,
) -> Explained:
    """Explain a fitted model on the columns it was fitted on: exactly where that is known, else by sampling.

    Parameters
    ----------
    model, Z
        The model, and samples x columns to explain.
    target_unit, task
        The unit of a target that is a number; ``"classification"`` or ``"regression"``.
    background
        Gives what sampling needs; called only then.

    Raises
    ------
    InputError
        If sampling is needed and there is no background.
    """
    part = _exactly(model, Z, target_unit)
    if part is not None:
        return part
    if background is None:
        raise InputError(
            f"{type(model).__name__} has no exact explainer; give training samples to sample its values against."
        )
    of, unit = _outputs(model, task)
    against = background()
    made = sampled(of, Z, against.Z, n_orders=against.n_orders, seed=against.seed)
    how = f"sampled orders ({against.n_orders} a sample, both ways)"
    return Explained(made.values, made.base, made.margin, unit or target_unit, how, error2=made.error2)


def explain_fitted(
    whole: Any, X: Any, task: str, target_unit: str, background: Callable[[Any], Background] | None = None
) -> Explained:
    """Explain samples ``X`` by a fitted pipeline, on the columns that its screen kept.

    Of a calibrated one the model behind the calibration is explained; the unit says so. ``background`` is given the steps before
    the model, and called only if the model has no exact explainer.
    """
    behind = bare(whole)
    front = behind[:-1]
    against = None if background is None else partial(background, front)
    Z = np.asarray(front.transform(X), dtype=float)
    part = explain_model(behind.named_steps["model"], Z, target_unit, task, against)
    return replace(part, unit=f"{part.unit} before calibration") if isinstance(whole, CalibratedClassifierCV) else part


def is_exact(whole: Any, X: Any) -> bool:
    """Whether a fitted pipeline is explained exactly; ``X``: a few samples to try."""
    behind = bare(whole)
    few = np.asarray(behind[:-1].transform(X[:3]), dtype=float)
    return _exactly(behind.named_steps["model"], few, "") is not None
