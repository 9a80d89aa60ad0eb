"""Trees of a target that is far from 0, or tiny: they learn it standardised, and give it back in its own unit.

XGBoost holds targets in single precision and makes no split that gains less than 1e-6; scikit-learn's trees lose the variance of a
target in the square of its mean, and take a variance below 2e-16 for none. Of a target such as 10^9 +- 1, or one in moles, what is
left is a constant. Every other target goes to the model as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeRegressor

from .forest import fit_forest

FAR = 100  # mean over standard deviation
SPREADS = (0.1, 1e6)  # standard deviations that trees do well with
_TREES = (
    DecisionTreeRegressor,
    RandomForestRegressor,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
)
_LOSSES = ("squared_error", "friedman_mse", "absolute_error", "reg:squarederror", "reg:absoluteerror")
# what a caller may have given in the unit of the target (squared, in most cases)
_IN_UNITS = ("gamma", "min_split_loss", "reg_alpha", "alpha", "max_delta_step", "min_impurity_decrease", "ccp_alpha")


class Rescaled(RegressorMixin, BaseEstimator):
    """A regressor of ``(y - offset) / scale`` whose predictions are in the unit of ``y``.

    Parameters
    ----------
    regressor
        Is fitted itself, not a copy.
    offset, scale
        Of the target, found in the training part.
    """

    def __init__(self, regressor: BaseEstimator, offset: float, scale: float = 1.0):
        self.regressor = regressor
        self.offset = offset
        self.scale = scale

    def fit(self, X: Any, y: Any) -> Rescaled:
        """Fit the regressor."""
        fit_forest(self.regressor, X, (np.asarray(y, dtype=float) - self.offset) / self.scale)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """In double precision: single would round the offset."""
        return np.asarray(self.regressor.predict(X), dtype=float) * self.scale + self.offset


def rescaled(model: Any, y: np.ndarray) -> tuple[float, float] | None:
    """Offset and scale by which a model is to learn a target; None: as it is.

    Parameters
    ----------
    model
        Unfitted. Trees of scikit-learn and XGBoost are helped, if their loss does not care where 0 is; with a parameter in the unit of
        the target (such as ``min_impurity_decrease``) the scale stays 1.
    y
        The target of a training part.
    """
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    if not _is_tree(last):
        return None
    mean, spread = float(np.mean(y)), float(np.std(y))
    spread = spread if spread > 1e-14 * abs(mean) else 0.0  # of a constant, what rounding leaves
    far, odd = abs(mean) > FAR * spread, bool(spread) and not SPREADS[0] <= spread <= SPREADS[1]
    own = last.get_params(deep=False)
    odd = odd and not any(own.get(name) for name in _IN_UNITS if not (name == "alpha" and isinstance(last, _TREES)))
    return (mean, spread if odd else 1.0) if far or odd else None


def _is_tree(model: Any) -> bool:
    own = model.get_params(deep=False)
    if type(model) in _TREES:
        start = own.get("init") is None
        return start and own.get("loss", own.get("criterion")) in _LOSSES
    xgb = type(model).__name__ in ("XGBRegressor", "XGBRFRegressor") and type(model).__module__ == "xgboost.sklearn"
    return xgb and own.get("objective") in _LOSSES and own.get("base_score") is None
