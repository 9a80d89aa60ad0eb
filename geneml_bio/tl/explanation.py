"""Models explained on samples they did not see, and written back onto the AnnData object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..bridge import keys
from ..bridge.anndata import attach, attribution_writes
from ..bridge.extract import check_writable
from ..core.device import check_device, quiet, workers_on
from ..core.errors import InputError
from ..core.explain import explain as explain_core
from ..core.models import candidates
from ..core.schema import Attribution, Cohort, Validation
from ..core.validate import validate
from .models import _same_predictions, check_validation
from .stored import validated

if TYPE_CHECKING:
    from anndata import AnnData


def explain(
    adata: AnnData,
    validation: Validation | None = None,
    *,
    key: str = "classify",
    model: str | None = None,
    n_repeats: int | None = None,
    n_orders: int | None = None,
    n_jobs: int | None = None,
    progress: bool = True,
) -> Attribution:
    """SHAP values of held-out samples, by the models that did not see them.

    Parameters
    ----------
    adata
        The object that was validated.
    validation
        What :func:`classify` or :func:`regress` returned, with its fitted models. Without it the models are fitted again
        from the stored arguments (the same seed gives the same models).
    key
        Name of the validation's results.
    model
        Whose values to write; None for the consensus: the mean over models, each divided by its mean total absolute SHAP per
        sample, so that every model has the same say whatever its unit (of one model: its own values and unit).
    n_repeats
        How many repeats to explain, each of which holds out every sample once; None: all of them up to 1,000 samples,
        one beyond.
    n_orders
        Models without an exact SHAP algorithm (neighbours, kernels, networks, ensembles of your own) are sampled: so many orders of
        genes a sample, repeat and model, each walked both ways. None: as many as keep the work within bounds, 8 to 200 (60 for 200
        genes, 100 samples and 5 repeats). ``.uns["{key}_shap"]["per_model"]`` says what error the orders leave (not the choice of training
        samples to compare with: docs, explain); it falls with the square root of the orders.
    n_jobs, progress
        Worker processes for fitting again and for sampling (None: every core); progress bar.

    Returns
    -------
    Attribution, and in ``adata``: ``.layers["{key}_shap"]`` (CSR, samples x genes; ``{key}_shap_{class}`` for each class when
    there are more than two), ``.var["{key}_shap"]`` (mean absolute SHAP), ``_shap_rank``, ``_shap_direction``,
    ``.varm["{key}_shap_summary"]`` (the columns of :func:`geneml_bio.get.shap`), ``.varm["{key}_shap"]`` (per class),
    ``.obsm["{key}_shap_base"]``, ``_shap_margin``, ``.uns["{key}_shap"]`` = model, unit, outputs, per_model, n_repeats,
    max_error, versions.

    Raises
    ------
    ColumnNotFoundError
        If nothing is stored under ``key``.
    StaleResultError
        If the data changed since they were validated.
    AdditivityError
        If base + sum(SHAP) misses the model's output by more than 1e-5 (relative) for a held-out sample.
    """
    check_writable(adata)
    if validation is not None:
        check_validation(validation)
    cohort, stored = validated(adata, key)
    params = dict(stored["params"])
    cohort = cohort.take(cohort.samples.isin(stored["folds"]["sample"].astype(str)))
    if validation is None or not validation.fitted:
        validation = _refit(cohort, params, stored["kind"], n_jobs, progress, f"{key}: fitting again")
    _same_predictions(validation, stored, key)
    how: dict[str, Any] = {"n_repeats": n_repeats, "n_orders": n_orders, "n_jobs": n_jobs, "progress": progress}
    result = explain_core(validation, cohort, model=model, **how, label=f"{key}: SHAP")
    attach(adata, attribution_writes(adata, result, cohort.samples, key))
    return result


def _refit(
    cohort: Cohort, params: dict[str, Any], task: str, n_jobs: int | None, progress: bool, label: str
) -> Validation:
    screen = str(params["screen"])
    known = dict(zip(map(str, params["models"]), map(str, params["registry"]), strict=True))
    if not all(known.values()) or screen.startswith("external"):
        raise InputError(
            "These results were made with your own estimators or an external screen, which are not stored with them. "
            "Pass the result itself: gb.tl.explain(adata, validation)."
        )
    how: dict[str, Any] = {
        name: params[name] for name in ("n_splits", "n_repeats", "cv", "tune", "calibrate", "seed") if name in params
    }
    weight = params.get("class_weight")
    if isinstance(weight, dict):
        weight = {keys.unescape(name): value for name, value in weight.items()}
    device = check_device(params.get("device", "cpu"))
    wanted = candidates(known, task, device)
    how |= {"screen": None if screen == "all" else int(screen), "class_weight": weight}
    how |= {"n_jobs": workers_on(device, n_jobs), "progress": progress, "label": label}
    with quiet(device):
        return validate(cohort, wanted, **how, spec={"target": params["target"]})
