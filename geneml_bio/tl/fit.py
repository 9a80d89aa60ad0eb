"""The model for use: what was validated, fitted on all samples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import clone

from ..bridge import keys
from ..bridge.anndata import versions
from ..bridge.extract import extract_cohort, fingerprint
from ..bridge.fitted_model import FittedModel
from ..core.device import check_device
from ..core.errors import AuditWarning, ColumnNotFoundError, DataWarning, InputError, StaleResultError, near
from ..core.fitting import Recipe, bare
from ..core.metrics import WINNER
from ..core.models import Candidate, candidates
from ..core.refit import refit
from ..core.schema import Cohort, Validation
from ..core.validate import build_screen
from .models import _same_predictions, as_validated

if TYPE_CHECKING:
    from anndata import AnnData

_WHERE = ("layer", "groups", "batch", "covariates", "reference", "missing")


def fit(
    adata: AnnData, validation: Validation | None = None, *, key: str = "classify", model: str | None = None
) -> FittedModel:
    """Fit a validated model on all samples, for use on others.

    The recipe is that of the validation, once more on every sample: the screen (adjusted for the covariates) chooses its
    genes, hyperparameters are tuned and probabilities calibrated on inner folds, classes weighed. Samples of a test set take part
    too: they have told how good the recipe is, and a model for use should have seen all there is. ``performance`` is that of the
    validation, whose models saw fewer samples each; this model cannot be tested with samples that it has seen.

    Parameters
    ----------
    adata
        The object that was validated; nothing is written to it.
    validation
        What :func:`classify` or :func:`regress` returned. It is needed for your own estimators and for an external screen, which
        are not stored with the results.
    key
        Name of the validation's results.
    model
        Which model; None for the one with the best primary metric.

    Returns
    -------
    FittedModel
        ``.predict(new)``, ``.score(new, target)``, ``.save(path)``; :func:`geneml_bio.load` reads it. The seed is made of the
        validation's and of the model's name, so that the same call gives the same model.

    Warns
    -----
    AuditWarning
        If the models were not shown to be better than chance.

    Raises
    ------
    ColumnNotFoundError
        If nothing is stored under ``key``.
    StaleResultError
        If the data changed since they were validated, or the validation is another one.
    InputError
        If the model was not validated, or is your own and the validation is not given.
    """
    stored = adata.uns.get(key)
    if not isinstance(stored, dict) or "params" not in stored or "metrics" not in stored:
        raise ColumnNotFoundError(
            f"Nothing was validated under {key!r}. Run gb.tl.classify(adata, target, key_added={key!r}) first: a model for use "
            "goes with what is known of its quality."
        )
    params: dict[str, Any] = {name: _listed(value) for name, value in stored["params"].items()}
    cohort = as_validated(_cohort(adata, params, stored["kind"]), stored)
    if fingerprint(cohort) != stored["fingerprint"]:
        raise StaleResultError(f"The data or the target changed since {key!r} was validated. Run the validation again.")
    if validation is not None:
        _same_predictions(validation, stored, key)
    name = str(stored["best"]) if model is None else str(model)
    if name not in params["models"]:
        raise InputError(f"Model {name!r} was not validated under {key!r}.{near(name, params['models'])}")
    if not stored["better_than_chance"]:
        warnings.warn(f"{stored['verdict']} The model is made, but do not rely on it.", AuditWarning, stacklevel=2)
    candidate, screen = _asked(cohort, params, validation, name)
    recipe = Recipe(
        screen=screen,
        impute=not sparse.issparse(cohort.X) and bool(np.isnan(cohort.X).any()),
        tune=bool(params["tune"]),
        n_classes=len(cohort.classes),
        calibrate=params.get("calibrate"),
        class_weight=_weights(params.get("class_weight"), cohort.classes),
    )
    fitted = refit(
        cohort,
        candidate,
        recipe,
        seed=int(params["seed"]),
        target=str(params["target"]),
        performance=_performance(stored, name),
        verdict=str(stored["verdict"]),
        spec=params,
        versions=versions(),
        fingerprint=str(stored["fingerprint"]),
    )
    return FittedModel.of(fitted)


def _listed(value: Any) -> Any:
    return [str(item) for item in value] if isinstance(value, np.ndarray) else value


def _cohort(adata: AnnData, params: Mapping[str, Any], task: str) -> Cohort:
    where = {name: params[name] for name in _WHERE if name in params}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the samples dropped were reported when they were validated
        return extract_cohort(adata, params["target"], task=task, **where)


def _asked(
    cohort: Cohort, params: Mapping[str, Any], validation: Validation | None, name: str
) -> tuple[Candidate, Any]:
    """The unfitted model and screen: by name, or from the pipelines of the validation."""
    registered = dict(zip(params["models"], params["registry"], strict=True))[name]
    text = str(params["screen"])
    own = not registered or text.startswith("external")
    if not own:
        device = check_device(params.get("device", "cpu"))
        uses_it = "xgboost" in registered  # others were on the processor
        candidate = candidates({name: registered}, cohort.task, device if uses_it else "cpu")[0]
        return candidate, build_screen(None if text == "all" else int(text), cohort)
    fitted = () if validation is None else [p for (_, _, n), p in validation.fitted.items() if n == name]
    if not fitted:
        raise InputError(
            f"Model {name!r} was validated with your own estimator or an external screen, which are not stored with the results. "
            "Pass the validation itself: gb.tl.fit(adata, validation)."
        )
    steps = bare(fitted[0]).named_steps
    what = registered or clone(steps["model"])
    return candidates({name: what}, cohort.task)[0], clone(steps["screen"])


def _weights(asked: Any, classes: tuple[str, ...]) -> Any:
    """Class weights as the recipe takes them, by code; they are stored by (escaped) name."""
    if not isinstance(asked, Mapping):
        return asked
    return {classes.index(keys.unescape(name)): float(weight) for name, weight in asked.items()}


def _performance(stored: Mapping[str, Any], name: str) -> pd.DataFrame:
    """The validated performance of a model, of the best of all after correction, and on the test set."""
    parts = []
    for side, table, models in (("cv", "metrics", (name, WINNER)), ("test", "test_metrics", (name,))):
        if table in stored:
            rows = stored[table].astype({"model": str, "metric": str})
            rows = rows[rows["model"].isin(models)].copy()
            rows.insert(0, "set", side)
            parts.append(rows)
    return pd.concat(parts, ignore_index=True)
