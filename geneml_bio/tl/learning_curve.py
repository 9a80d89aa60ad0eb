"""Learning curves of validated models."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from ..bridge import keys
from ..bridge.anndata import attach
from ..bridge.evidence import check_ours, table_writes
from ..bridge.extract import check_writable
from ..core.device import check_device, quiet, workers_on
from ..core.errors import DataWarning, InputError, near
from ..core.learning_curve import learning_curve as curve_core
from ..core.metrics import primary
from ..core.schema import Validation
from .fit import _asked, _listed
from .models import _same_predictions
from .stored import validated

if TYPE_CHECKING:
    from anndata import AnnData


def learning_curve(
    adata: AnnData,
    validation: Validation | None = None,
    *,
    key: str = "classify",
    sizes: Iterable[float] = (0.25, 0.5, 0.75, 1.0),
    n_repeats: int | None = None,
    models: str | Iterable[str] | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Would more samples help? Held-out scores of the validated models, had they learned from fewer.

    Each fold's training part is made smaller (of each class the same share, whole groups, smaller parts within larger ones), and the
    whole pipeline is fitted again: screen, imputer, tuning, calibration. The samples held out are those of the validation, whose own
    predictions are the size 1. A curve that still rises at its end, by more than ``sd``, speaks for more samples; one that is flat
    above chance, that they would bring these models little; one that is flat at chance says nothing.

    Parameters
    ----------
    adata
        The object that was validated.
    validation
        What :func:`classify` or :func:`regress` returned. It is needed for your own estimators and for an external screen, which
        are not stored with the results.
    key
        Name of the validation's results.
    sizes
        Shares of the training part, above 0 and up to 1.
    n_repeats
        How many of the validation's repeats to use; None: all up to 3. Each costs one fit a size, fold and model.
    models
        Which of the validated models; None: all.
    n_jobs, progress
        Worker processes (None: every core; any number gives the same scores); progress bar.

    Returns
    -------
    DataFrame
        ``model fraction n_train metric value low high sd n_repeats n_undefined``: a row a model, size and metric. ``n_train`` is the mean
        number of samples learned from; ``value``, ``low`` and ``high`` are as in :func:`geneml_bio.get.metrics` (95 % interval for
        new samples of the same population), ``sd`` is over repeats.

        In ``adata``: ``.uns["{key}_learning_curve"]`` = that table, ``repeats`` (``model fraction n_train repeat metric value``),
        ``skipped`` (``fraction reason``, if any), ``metric`` (the primary one), ``n_repeats``; :func:`geneml_bio.get.learning_curve`.

    Warns
    -----
    DataWarning
        If sizes were skipped, since some training parts would have too few samples of a class to be tuned as the whole is.

    Raises
    ------
    ColumnNotFoundError, StaleResultError
        If nothing was validated under ``key``, or the data changed since.
    InputError
        For sizes, repeats or models that are not there, and where no size is left.
    """
    check_writable(adata)
    name = keys.learning_curve(keys.check_key(key, "key"))
    check_ours(adata, name)
    cohort, stored = validated(adata, key)
    cohort = cohort.take(cohort.samples.isin(stored["folds"]["sample"].astype(str)))
    if validation is not None:
        _same_predictions(validation, stored, key)
    params: dict[str, Any] = {of: _listed(value) for of, value in stored["params"].items()}
    there = [str(model) for model in params["models"]]
    chosen = there if models is None else [models] if isinstance(models, str) else [str(model) for model in models]
    if not chosen:
        raise InputError(f"models is empty; None takes all that were validated.{near('', there)}")
    for model in chosen:
        if model not in there:
            raise InputError(f"Model {model!r} was not validated under {key!r}.{near(model, there)}")
    text = str(params["screen"])
    wanted = [_asked(cohort, params, validation, model) for model in chosen]
    screen: Any = wanted[0][1] if text.startswith("external") else None if text == "all" else int(text)
    weight = params.get("class_weight")
    if isinstance(weight, Mapping):
        weight = {keys.unescape(of): float(value) for of, value in weight.items()}
    how: dict[str, Any] = {
        of: params[of] for of in ("n_splits", "n_repeats", "cv", "tune", "calibrate", "seed") if of in params
    }
    full = stored["predictions"].rename(
        columns=lambda of: f"prob_{keys.unescape(of[5:])}" if of.startswith("prob_") else of
    )
    device = check_device(params.get("device", "cpu"))
    how |= {"screen": screen, "class_weight": weight, "n_jobs": workers_on(device, n_jobs), "progress": progress}
    how["curve_repeats"] = min(3, int(params["n_repeats"])) if n_repeats is None else n_repeats
    full = full.astype({"model": str, "sample": str})
    models_of = [candidate for candidate, _ in wanted]
    with quiet(device):
        result = curve_core(cohort, models_of, sizes=sizes, full=full, **how, label=f"{key}: learning curve")
    for _, row in result.skipped.iterrows():
        message = f"Size {row['fraction']:g} of the learning curve is skipped: {row['reason']}."
        warnings.warn(message, DataWarning, stacklevel=2)
    more = {
        "repeats": result.repeats,
        "skipped": result.skipped if len(result.skipped) else None,
        "metric": primary(cohort.task),
        "n_repeats": int(result.table["n_repeats"].iloc[0]),
    }
    attach(adata, table_writes(name, result.table, more))
    return result.table
