"""Where models are trained: the processor, or a GPU for those that can use one (XGBoost)."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from .errors import DeviceError, DeviceWarning, InputError


def check_device(device: Any) -> str:
    """``"cpu"``, or a GPU that is there and that this XGBoost can use.

    XGBoost says nothing, or only a warning, and goes on with the processor where it has no CUDA or finds no GPU. So its build is asked,
    and then a tree is grown on four samples and asked where it was.

    Raises
    ------
    InputError
        If it is no name of a device.
    DeviceError
        If there is no GPU, or an XGBoost without CUDA; the message says what is missing.
    """
    if not isinstance(device, str) or not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise InputError(f"device must be 'cpu', 'cuda' or 'cuda:0' (the number of a GPU); got {device!r}.")
    if device == "cpu":
        return device
    import xgboost

    if not xgboost.build_info().get("USE_CUDA"):
        raise DeviceError(
            f"device={device!r} needs an XGBoost that was built with CUDA, and {xgboost.__version__} here was not. On Linux and Windows "
            "`pip uninstall xgboost-cpu` and `pip install --force-reinstall xgboost` bring one; or leave device= away."
        )
    found = _where_it_runs(device)
    if not re.fullmatch(device if ":" in device else rf"{device}(:\d+)?", found):
        raise DeviceError(
            f"device={device!r}: XGBoost finds no such GPU and would go on with {found!r}. Does `nvidia-smi` list it, and is "
            "CUDA_VISIBLE_DEVICES unset or naming it? Or leave device= away."
        )
    return device


def _where_it_runs(device: str) -> str:
    import xgboost

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning is made an error by the caller
        try:
            four = xgboost.DMatrix(np.eye(4), label=[0, 1, 0, 1])
            booster = xgboost.train({"device": device, "tree_method": "hist", "verbosity": 0}, four, 1)
        except xgboost.core.XGBoostError as error:
            raise DeviceError(
                f"device={device!r}: XGBoost cannot use it: {str(error).strip().splitlines()[0]}"
            ) from error
    return str(json.loads(booster.save_config())["learner"]["generic_param"]["device"])


def put_on(estimator: BaseEstimator, device: str) -> bool:
    """Set the device of the XGBoost models in an estimator, fitted or not. Whether there are any."""
    params = estimator.get_params(deep=True)
    names = [name for name in params if re.fullmatch(r"(.*__)?device", name)]
    owners = [(name, params[name.rpartition("__")[0]] if "__" in name else estimator) for name in names]
    mine = [name for name, owner in owners if any(c.__module__.startswith("xgboost") for c in type(owner).__mro__)]
    estimator.set_params(**dict.fromkeys(mine, device))
    return bool(mine)


def put_all_on(models: Sequence[Any], device: str) -> None:
    """Put candidates on a device; those that cannot use it stay on the processor, which is said once.

    Raises
    ------
    InputError
        If none of them can use it.
    """
    if device == "cpu":
        return
    able = [model.name for model in models if put_on(model.estimator, device)]
    others = [model.name for model in models if model.name not in able]
    if not able:
        raise InputError(
            f"device={device!r} is for XGBoost, and none of the models ({', '.join(others)}) is one. Add 'xgboost', or leave device= away."
        )
    if others:
        verb = "stay" if len(others) > 1 else "stays"
        message = f"device={device!r} is used by {', '.join(able)}; {', '.join(others)} {verb} on the processor."
        warnings.warn(message, DeviceWarning, stacklevel=4)


def workers_on(device: str, n_jobs: int | None) -> int | None:
    """One worker where a GPU is used: it has it for itself, and its memory holds one study."""
    if device == "cpu":
        return n_jobs
    if n_jobs not in (None, 1):
        message = f"device={device!r}: one worker uses the GPU; n_jobs={n_jobs} is taken as 1."
        warnings.warn(message, DeviceWarning, stacklevel=4)
    return 1


@contextmanager
def quiet(device: str) -> Iterator[None]:
    """Without XGBoost's remark that the samples to be predicted come from the processor's memory, which is as it must be."""
    if device == "cpu":
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*mismatched devices")
        yield
