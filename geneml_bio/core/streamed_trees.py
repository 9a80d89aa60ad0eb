"""XGBoost fitted from pieces: quantised as they come, in memory where that fits and beside it where it does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .streamed_linear import Pieces

IN_MEMORY = 1 << 30  # quantised values (a byte each) up to which they are held in memory
_BINS = 256


def is_xgboost(model: Any) -> bool:
    """Whether a model is one of XGBoost's with one booster of trees."""
    return type(model).__name__ in ("XGBClassifier", "XGBRegressor") and type(model).__module__ == "xgboost.sklearn"


def fit_xgboost(
    model: Any,
    pieces: Pieces,
    n_values: int,
    n_classes: int,
    n_jobs: int,
    scratch: str,
    weights: np.ndarray | None = None,
) -> Any:
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
    scratch
        Where files may be, without their end.
    weights
        Of each class; None: 1.

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
                weight = {} if weights is None else {"weight": weights[y]}
                input_data(data=np.asarray(Z, dtype=np.float32), label=y, **weight)
                return True
            return False

        def reset(self) -> None:
            self.left = pieces()

    params, rounds, bins = settings(model, n_classes)
    large = n_values > IN_MEMORY
    rows = Rows(cache_prefix=scratch, release_data=True) if large else Rows(release_data=True)
    with _interruptible(xgboost.core.XGBoostError):
        data = (xgboost.ExtMemQuantileDMatrix if large else xgboost.QuantileDMatrix)(rows, max_bin=bins, nthread=n_jobs)
    params.pop("n_jobs", None)
    return fitted_as(model, xgboost.train(params | {"nthread": n_jobs}, data, num_boost_round=rounds))


@contextmanager
def _interruptible(error: type[Exception]) -> Iterator[None]:
    """Within, Ctrl-C ends the work as it does elsewhere; XGBoost loses a KeyboardInterrupt, or makes an error of its own of it."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    asked = []

    def note(number: int, frame: Any) -> None:
        asked.append(number)
        usual(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except error:
        if not asked:
            raise
    finally:
        signal.signal(signal.SIGINT, usual)
    if asked:
        raise KeyboardInterrupt


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
