"""Models on an AnnData object: validated and explained on samples they did not see."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..bridge import keys
from ..bridge.anndata import attach, attribution_writes, check_free, validation_writes
from ..bridge.extract import as_names, check_class_names, check_writable, extract_cohort, fingerprint
from ..core.audit import audit as audit_study
from ..core.errors import AuditWarning, ColumnNotFoundError, DataWarning, InputError, StaleResultError
from ..core.explain import explain as explain_core
from ..core.metrics import LOWER_IS_BETTER, metrics_table, primary, verdict
from ..core.models import candidates, registry_names
from ..core.resample import check_feasible
from ..core.schema import Attribution, Cohort, Validation, check_screen
from ..core.stability import nogueira, selection_frequency
from ..core.validate import validate

if TYPE_CHECKING:
    from anndata import AnnData


def classify(
    adata: AnnData,
    target: str,
    *,
    models: Any = "default",
    screen: Any = 200,
    groups: str | None = None,
    batch: str | None = None,
    covariates: str | Iterable[str] | None = None,
    layer: str | None = None,
    reference: str | None = None,
    n_splits: int = 5,
    n_repeats: int = 5,
    tune: bool = True,
    n_permutations: int = 0,
    missing: str = "drop",
    allow_confounded: bool = False,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
    key_added: str = "classify",
) -> Validation:
    """Can a model tell the classes apart in samples it has not seen?

    Repeated cross-validation of whole pipelines: everything that looks at the target or across samples (screen, imputer,
    scaler, tuning) is fitted on the training part of each fold.

    Parameters
    ----------
    adata
        Log expression, samples (or cells) x genes, dense or CSR.
    target
        ``.obs`` column of class labels. Of two classes the last is the positive one (order of the category, else sorted).
    models
        ``"default"`` (logistic, random_forest, xgboost), names, a scikit-learn estimator, or a dict of name -> either.
    screen
        How many genes the moderated t (F for more than two classes) keeps in each fold; None for all; or
        ``gb.ExternalScreen(de)`` for genes chosen on other samples.
    groups
        ``.obs`` column of donors: all samples of one are on the same side of a fold.
    batch
        ``.obs`` column of technical batches, for the audit.
    covariates
        ``.obs`` columns that the screen adjusts for.
    layer
        Layer to use in place of ``X``.
    reference
        The class that is to come first (the negative one of two).
    n_splits, n_repeats
        Folds, and how often they are drawn anew.
    tune
        Search the small space of each model inside the training part (logistic: C in 0.001, 0.01, 0.1, 1).
    n_permutations
        How many permuted targets go through the same pipelines (by group).
    missing
        Samples without a target: ``"drop"`` (with a warning that counts them) or ``"error"``.
    allow_confounded
        Go on where each batch holds one class only.
    seed, n_jobs, progress
        Seed of all randomness (any ``n_jobs`` gives the same numbers); worker processes (None: every core); progress bars.
    key_added
        Name of the results.

    Returns
    -------
    Validation, and in ``adata``: ``.obs["{key_added}_pred"]``, ``.obsm["{key_added}_oof"]`` (mean over repeats, of the best
    model), ``.var["{key_added}_selected"]``, ``.uns[key_added]`` = params, classes, metrics, predictions, folds, screens, tuned,
    audit, null, stability, best, verdict, better_than_chance, versions, fingerprint.

    Raises
    ------
    ColumnNotFoundError, TargetError, DuplicateNamesError, LeakageError, ConfoundingError, ViewError, InputError
        Each says what was got, what was expected and what to do; ``adata`` is then as it was.
    """
    return _validated(**locals(), task="classification")


def regress(
    adata: AnnData,
    target: str,
    *,
    models: Any = "default",
    screen: Any = 200,
    groups: str | None = None,
    batch: str | None = None,
    covariates: str | Iterable[str] | None = None,
    layer: str | None = None,
    n_splits: int = 5,
    n_repeats: int = 5,
    tune: bool = True,
    n_permutations: int = 0,
    missing: str = "drop",
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
    key_added: str = "regress",
) -> Validation:
    """Can a model predict a number (age, dose, response) in samples it has not seen?

    Arguments, results and errors as in :func:`classify`; the screen is the moderated t of the slope, the default models
    are ridge, random_forest and xgboost, the metrics R2, RMSE, MAE, MSE and Spearman's correlation.
    """
    return _validated(**locals(), task="regression", reference=None, allow_confounded=False)


_WHERE = ("target", "layer", "groups", "batch", "covariates", "reference", "missing")
_HOW = ("screen", "n_splits", "n_repeats", "tune", "n_permutations", "seed")


def _validated(
    adata: AnnData, *, task: str, models: Any, n_jobs: int | None, progress: bool, key_added: str, **asked: Any
) -> Validation:
    # 1. extract
    check_writable(adata)
    key = keys.check_key(key_added)
    check_screen(asked["screen"])
    asked["covariates"] = as_names(asked["covariates"]) or None
    check_free(
        adata, key, "validation", [asked["target"], asked["groups"], asked["batch"], *(asked["covariates"] or [])]
    )
    wanted = candidates(models, task)
    cohort = _cohort(adata, task, asked)

    check_class_names(adata, map(keys.escape, cohort.classes or ["prediction"]))

    # 2. core
    check_feasible(cohort.target, cohort.classes, cohort.groups, asked["n_splits"])
    named = {asked["target"], asked["groups"], asked["batch"], *(asked["covariates"] or [])}
    others = adata.obs.loc[cohort.samples, [name for name in adata.obs.columns if name not in named]]
    findings = audit_study(cohort, obs=others, allow_confounded=asked["allow_confounded"])
    for message in findings.loc[findings["level"] == "warning", "message"]:
        warnings.warn(message, AuditWarning, stacklevel=3)
    spec = {name: asked[name] for name in _WHERE if asked[name] is not None} | {"task": task}
    spec["registry"] = list(registry_names(models, task).values())
    how = {name: asked[name] for name in _HOW}
    result = validate(cohort, wanted, **how, n_jobs=n_jobs, progress=progress, label=key, audit=findings, spec=spec)
    table = metrics_table(result, groups=cohort.groups)

    # 3. attach
    frequency = selection_frequency(result.screens, cohort.features)
    stability = nogueira(result.screens, len(cohort.features))
    good, words = verdict(
        table, cohort.classes, result.spec["n_permutations"], result.spec.get("n_arrangements", np.inf)
    )
    extra = {
        "better_than_chance": good,
        "verdict": words,
        "metrics": table,
        "selected": frequency,
        "stability": stability,
        "fingerprint": fingerprint(cohort),
    }
    attach(adata, validation_writes(adata, result, extra | {"best": best_model(table, result)}, key))
    return result


def _cohort(adata: AnnData, task: str, asked: Any) -> Cohort:
    where = {name: asked.get(name) for name in _WHERE if name not in ("target", "missing")}
    return extract_cohort(adata, asked["target"], task=task, missing=asked.get("missing", "drop"), **where)


def best_model(table: pd.DataFrame, result: Validation) -> str:
    """The model with the best primary metric; its own score is optimistic for having been picked."""
    metric = primary(result.task)
    rows = table[(table["metric"] == metric) & table["model"].isin(result.models)]
    values = rows["value"].to_numpy(float) * (-1 if metric in LOWER_IS_BETTER else 1)
    return str(rows["model"].iloc[int(np.nanargmax(values))])


def explain(
    adata: AnnData,
    validation: Validation | None = None,
    *,
    key: str = "classify",
    model: str | None = None,
    n_repeats: int | None = None,
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
    n_jobs, progress
        Worker processes for fitting again; progress bar.

    Returns
    -------
    Attribution, and in ``adata``: ``.layers["{key}_shap"]`` (CSR, samples x genes; ``{key}_shap_{class}`` for each class when
    there are more than two), ``.var["{key}_shap"]`` (mean absolute SHAP), ``_shap_rank``, ``_shap_direction``,
    ``.varm["{key}_shap_summary"]``, ``.varm["{key}_shap"]`` (per class), ``.obsm["{key}_shap_base"]``, ``_shap_margin``,
    ``.uns["{key}_shap"]`` = model, unit, outputs, per_model, n_repeats, max_error, versions.

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
    stored = adata.uns.get(key)
    if not isinstance(stored, dict) or "params" not in stored:
        raise ColumnNotFoundError(
            f"Nothing was validated under {key!r}. Run gb.tl.classify(adata, target, key_added={key!r}) first."
        )
    params = dict(stored["params"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the samples dropped were reported when they were validated
        cohort = _cohort(adata, stored["kind"], _lists(params))
    if fingerprint(cohort) != stored["fingerprint"]:
        raise StaleResultError(f"The data or the target changed since {key!r} was validated. Run the validation again.")
    if validation is None or not validation.fitted:
        validation = _refit(cohort, params, stored["kind"], n_jobs, progress, f"{key}: fitting again")
    _same_predictions(validation, stored, key)
    result = explain_core(validation, cohort, model=model, n_repeats=n_repeats, progress=progress, label=f"{key}: SHAP")
    attach(adata, attribution_writes(adata, result, cohort.samples, key))
    return result


def _lists(params: dict[str, Any]) -> dict[str, Any]:
    return {name: [str(v) for v in value] if isinstance(value, np.ndarray) else value for name, value in params.items()}


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
    how = {name: params[name] for name in ("n_splits", "n_repeats", "tune", "seed")}
    wanted = candidates(known, task)
    count = None if screen == "all" else int(screen)
    return validate(
        cohort,
        wanted,
        screen=count,
        **how,
        n_jobs=n_jobs,
        progress=progress,
        label=label,
        spec={"target": params["target"]},
    )


def _same_predictions(validation: Validation, stored: dict[str, Any], key: str) -> None:
    """The models to be explained must be those whose predictions are stored."""
    mine, theirs = validation.predictions, stored["predictions"]
    same = len(mine) == len(theirs) and list(mine["sample"].astype(str)) == list(theirs["sample"].astype(str))
    columns = [c for c in mine.columns if c.startswith("prob_")] or ["predicted"]
    if same:
        position = [i for i, c in enumerate(mine.columns) if c in columns]
        same = np.allclose(mine.iloc[:, position].to_numpy(float), theirs.iloc[:, position].to_numpy(float), atol=1e-6)
    if not same:
        raise StaleResultError(
            f"The validation does not belong to the results stored under {key!r}. Run the validation again."
        )
