"""XGBoost fitted from pieces: quantised as they come, in memory where that fits and beside it where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np

from .streamed_linear import Pieces

IN_MEMORY = 1 << 30  # quantised values (a byte each) up to which they are held in memory
_BINS = 256


def is_xgboost(model: Any) -> bool:
    """Whether a model is one of XGBoost's with one booster of trees."""
    return type(model).__name__ in ("XGBClassifier", "XGBRegressor") and type(model).__module__ == "xgboost.sklearn"


def fit_xgboost(model: Any, pieces: Pieces, n_values: int, n_classes: int, n_jobs: int, scratch: str) -> Any:
    """Fit an ``XGBClassifier`` or ``XGBRegressor`` from pieces.

    Parameters
    ----------
    model
        Unfitted.
    pieces
        Gives a new pass over (rows, target) each time.
    n_values
        How many values they hold; of more than 2^30 the quantised values are kept in files at ``scratch``
        (``xgboost.ExtMemQuantileDMatrix``), else in memory (``xgboost.QuantileDMatrix``).
    n_classes, n_jobs
        0 for regression; threads.

    Returns
    -------
    The model, fitted. Cut points are sketched over pieces: with several, they can differ in the last digits from those of all
    rows at once, and so can trees.
    """
    import xgboost

    class Rows(xgboost.DataIter):
        def __init__(self, **where: Any) -> None:
            self.left = pieces()
            super().__init__(**where)

        def next(self, input_data: Any) -> bool:
            for Z, y in self.left:
                input_data(data=np.asarray(Z, dtype=np.float32), label=y)
                return True
            return False

        def reset(self) -> None:
            self.left = pieces()

    params, rounds, bins = settings(model, n_classes)
    if n_values > IN_MEMORY:
        data = xgboost.ExtMemQuantileDMatrix(
            Rows(cache_prefix=scratch, release_data=True), max_bin=bins, nthread=n_jobs
        )
    else:
        data = xgboost.QuantileDMatrix(Rows(release_data=True), max_bin=bins, nthread=n_jobs)
    params.pop("n_jobs", None)
    return fitted_as(model, xgboost.train(params | {"nthread": n_jobs}, data, num_boost_round=rounds))


def settings(model: Any, n_classes: int) -> tuple[dict[str, Any], int, int]:
    """Parameters of ``xgboost.train``, rounds, and bins of a histogram, that an unfitted model means."""
    params = model.get_xgb_params()
    if n_classes > 2:
        params |= {"objective": "multi:softprob", "num_class": n_classes}
    return params, model.get_num_boosting_rounds(), model.get_params()["max_bin"] or _BINS


def fitted_as(model: Any, booster: Any) -> Any:
    """A model like an unfitted one, with this booster."""
    made = type(model)(**model.get_params())
    made.load_model(bytearray(booster.save_raw("json")))
    return made
