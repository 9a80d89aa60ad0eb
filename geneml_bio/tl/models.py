"""Models on an AnnData object, validated on samples they did not see."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..bridge import keys
from ..bridge.anndata import attach, check_free, validation_writes
from ..bridge.extract import (
    as_names,
    check_class_names,
    check_name,
    check_writable,
    extract_cohort,
    fingerprint,
    test_samples,
)
from ..core.association import batch_alone
from ..core.audit import ABOUT_DONORS, DONOR_LIKE, effective_n, one_class_left_out
from ..core.audit import audit as audit_study
from ..core.cluster import on_backend
from ..core.compare import comparisons
from ..core.device import check_device, quiet, workers_on
from ..core.errors import AuditWarning, InputError, StaleResultError
from ..core.metrics import LOWER_IS_BETTER, metrics_table, primary, test_table, verdict
from ..core.models import candidates, registry_names
from ..core.per_class import per_class_table
from ..core.resample import check_feasible
from ..core.schema import Cohort, Validation, check_screen
from ..core.stability import nogueira, own_selection, selection_frequency
from ..core.stand_ins import stand_ins
from ..core.validate import check_counts, validate

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
    test_size: float | int | None = None,
    test_set: str | None = None,
    cv: str = "kfold",
    n_splits: int = 5,
    n_repeats: int = 5,
    tune: bool = True,
    calibrate: str | None = None,
    class_weight: str | Mapping[str, float] | None = None,
    n_permutations: int = 0,
    missing: str = "drop",
    allow_confounded: bool = False,
    seed: int = 0,
    n_jobs: int | None = None,
    device: str = "cpu",
    backend: Any = None,
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
        ``.obs`` column of class labels. Of two classes the last is the positive one: the order is that of the category; where that is the
        alphabet's, or there is none, one called ``control``, ``healthy``, ``normal``, ``WT``, ``untreated``, ``no`` or alike comes first.
    models
        ``"default"`` (logistic, random_forest, xgboost), ``"all"``, names (lasso elastic_net logistic decision_tree
        random_forest gradient_boosting svm knn xgboost mlp), a scikit-learn estimator or pipeline, or a dict of name -> either.
    screen
        How many genes the moderated t (F for more than two classes) keeps in each fold; None for all; or
        ``gb.ExternalScreen(de)`` for genes chosen on other samples.
    groups
        ``.obs`` column of donors: all samples of one are on the same side of a fold.
    batch
        ``.obs`` column of technical batches, for the audit.
    covariates
        ``.obs`` columns that the screen adjusts for. Two baselines then stand in the table: ``covariates only``, and ``genes +
        covariates`` (both linear), whose difference is what the genes add.
    layer
        Layer to use in place of ``X``.
    reference
        The class that is to come first (the negative one of two), whatever its name and the order of the category.
    test_size
        Share (or count) of the samples to hold out of everything as a test set: stratified, groups kept whole. They are
        predicted once, by models fitted to all the others; the cross-validation runs on the others.
    test_set
        ``.obs`` column that says which samples are the test set (True, 1 or ``"test"``), in place of a random one.
    cv
        ``"kfold"``; ``"leave_one_batch_out"`` or ``"leave_one_group_out"``: each batch (group) is held out in turn, once.
    n_splits, n_repeats
        Folds, and how often they are drawn anew.
    tune
        Search the small space of each model (docs: models) inside the training part.
    calibrate
        ``"sigmoid"`` or ``"isotonic"``: calibrate the probabilities on inner folds of the training part (by group).
    class_weight
        ``"balanced"``, or class -> weight.
    n_permutations
        How many permuted targets go through the same pipelines (by group, within batches): the null of scores and genes.
    missing
        Samples without a target: ``"drop"`` (with a warning that counts them) or ``"error"``.
    allow_confounded
        Go on where each batch holds one class (of a number: one value) only.
    seed, n_jobs, progress
        Seed of all randomness (any ``n_jobs`` gives the same numbers); worker processes (None: every core); progress bars.
    device
        ``"cuda"`` (or ``"cuda:1"``): XGBoost trains, predicts and is explained on that GPU, by one worker; other models stay on the
        processor. Refused where there is none. Its numbers are near those of the processor, not equal.
    backend
        None: this machine. The address of a dask scheduler (``"tcp://host:8786"``), a ``dask.distributed.Client``, or ``"dask"`` for the
        client that there is: folds, repeats and permutations are done there. The numbers are the same; work of lost workers is
        done again.
    key_added
        Name of the results.

    Returns
    -------
    Validation, and in ``adata``: ``.obs["{key_added}_pred"]`` and ``.obsm["{key_added}_oof"]`` (of the best model: mean over
    repeats; for the test set, of the model fitted to all others), ``.obs["{key_added}_set"]`` (``train``, ``test``; with a test
    set), ``.var["{key_added}_selected"]``, with permutations ``_empirical_p``, ``_empirical_q``; ``.uns[key_added]`` = params,
    classes, metrics, predictions, folds, screens, tuned, audit, null, discoveries, stability, model_stability, stand_ins, best,
    per_class, comparisons, n_effective, verdict, better_than_chance, versions, fingerprint (test_predictions, test_metrics).

    Raises
    ------
    ColumnNotFoundError, TargetError, DuplicateNamesError, LeakageError, ConfoundingError, DeviceError, ViewError, InputError
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
    test_size: float | int | None = None,
    test_set: str | None = None,
    cv: str = "kfold",
    n_splits: int = 5,
    n_repeats: int = 5,
    tune: bool = True,
    n_permutations: int = 0,
    missing: str = "drop",
    allow_confounded: bool = False,
    seed: int = 0,
    n_jobs: int | None = None,
    device: str = "cpu",
    backend: Any = None,
    progress: bool = True,
    key_added: str = "regress",
) -> Validation:
    """Can a model predict a number (age, dose, response) in samples it has not seen?

    Arguments, results and errors as in :func:`classify`; the screen is the moderated t of the slope, the default models
    are ridge, random_forest and xgboost, the metrics R2, RMSE, MAE, MSE and Spearman's correlation.
    """
    return _validated(**locals(), task="regression", reference=None, calibrate=None, class_weight=None)


_WHERE = ("target", "layer", "groups", "batch", "covariates", "reference", "missing", "test_size", "test_set", "device")
_HOW = ("screen", "cv", "n_splits", "n_repeats", "tune", "calibrate", "class_weight", "n_permutations", "seed")


def _validated(
    adata: AnnData, *, task: str, models: Any, n_jobs: int | None, progress: bool, key_added: str, **asked: Any
) -> Validation:
    # 1. extract
    check_writable(adata)
    key = keys.check_key(key_added)
    check_screen(asked["screen"])
    check_counts(asked)
    device = check_device(asked["device"])
    asked["covariates"] = as_names(asked["covariates"]) or None
    columns = {name: asked[name] for name in ("target", "groups", "batch", "test_set")}
    for what, name in columns.items():
        if name is not None or what == "target":
            check_name(name, what)
    named = [*columns.values(), *(asked["covariates"] or [])]
    check_free(adata, key, "validation", named)
    wanted = candidates(models, task, device)
    cohort = _cohort(adata, task, asked)
    test = test_samples(adata, cohort, asked["test_size"], asked["test_set"], asked["seed"])
    check_class_names(adata, map(keys.escape, cohort.classes or ["prediction"]))

    # 2. core
    if asked["cv"] == "kfold":
        check_feasible(cohort.target, cohort.classes, cohort.groups, asked["n_splits"])
    others = adata.obs.loc[cohort.samples, [name for name in adata.obs.columns if name not in named]]
    findings = _audited(cohort, test, others, asked)
    for message in findings.loc[findings["level"] == "warning", "message"]:
        warnings.warn(message, AuditWarning, stacklevel=3)
    spec = {name: asked[name] for name in _WHERE if asked[name] is not None} | {"task": task}
    spec["registry"] = list(registry_names(models, task).values())
    how = {name: asked[name] for name in _HOW} | {"test": test, "progress": progress}
    with quiet(device):
        how["n_jobs"] = workers_on(device, n_jobs)
        with on_backend(asked["backend"]):
            result = validate(cohort, wanted, **how, label=key, audit=findings, spec=spec)

    # 3. attach
    attach(adata, validation_writes(adata, result, derived(result, cohort), key))
    return result


def _audited(cohort: Cohort, test: np.ndarray | None, others: pd.DataFrame, asked: dict[str, Any]) -> pd.DataFrame:
    """The audit of what is learned from; copies are looked for in all, since one may lie in the test set."""
    confounded = asked["allow_confounded"]
    learning = cohort if test is None else cohort.take(~test)
    findings = audit_study(learning, obs=others.loc[learning.samples], allow_confounded=confounded)
    if test is not None:
        whole = audit_study(cohort, obs=others, allow_confounded=True)
        copies = whole["check"].str.contains("copies|duplicat")
        own = findings["check"].str.contains("copies|duplicat")
        findings = pd.concat([findings[~own], whole[copies]], ignore_index=True)
    named = [name for name in (asked["batch"], *(asked["covariates"] or [])) if name is not None]
    findings = with_unnamed_donors(findings, cohort, named)
    alone = one_class_left_out(learning, asked["cv"])
    if alone:
        findings.loc[len(findings)] = ["one class left out", "warning", alone]
    return findings


def with_unnamed_donors(findings: pd.DataFrame, cohort: Cohort, named: list[str]) -> pd.DataFrame:
    """The audit with a warning where a column of donors was named as something else than groups."""
    donors = [name for name in named if DONOR_LIKE.search(name) and not ABOUT_DONORS.search(name)]
    if cohort.groups is None and donors:
        message = (
            f"Column {', '.join(map(repr, donors))} looks like a donor and was named as batch= or covariates=: samples of "
            "one donor are then in the training and the held-out part. Name it as groups=."
        )
        findings.loc[len(findings)] = ["unnamed groups", "warning", message]
    return findings


def derived(result: Validation, cohort: Cohort) -> dict[str, Any]:
    """All that is derived from predictions and folds, by the names under which it is stored."""
    learning = cohort.take(cohort.samples.isin(result.folds["sample"].astype(str)))
    table = metrics_table(result, groups=learning.groups)
    good, words = verdict(
        table,
        cohort.classes,
        result.spec["n_permutations"],
        result.spec.get("n_arrangements", np.inf),
        test=result.test is not None,
        batch_alone=batch_alone(learning),
    )
    pairs = stand_ins(result.screens, learning.X, cohort.features, learning.target, cohort.classes)
    out = {
        "better_than_chance": good,
        "verdict": words,
        "best": best_model(table, result),
        "metrics": table,
        "comparisons": comparisons(result),
        "selected": selection_frequency(result.screens, cohort.features),
        "stability": nogueira(result.screens, len(cohort.features)),
        "stand_ins": pairs,
        "n_stand_ins": int(pairs.attrs["n_pairs"]),
        "n_effective": effective_n(learning),
        "n_genes": len(cohort.features),
        "fingerprint": fingerprint(cohort),
    }
    if len(own := own_selection(result, cohort.features)):
        n_folds = len(result.folds[["repeat", "fold"]].drop_duplicates())
        of = {name: nogueira(part, len(cohort.features), n_folds=n_folds) for name, part in own.groupby("model")}
        out["model_stability"] = pd.DataFrame([{"model": name, **value} for name, value in of.items()])
    if cohort.classes:
        out["per_class"] = per_class_table(result)
    if result.test is not None:
        held = cohort.take(cohort.samples.get_indexer(pd.Index(result.test["sample"].astype(str).unique())))
        out["test_metrics"] = test_table(result, groups=held.groups)
    return out


def _cohort(adata: AnnData, task: str, asked: Any) -> Cohort:
    names = ("layer", "groups", "batch", "covariates", "reference")
    where = {name: asked.get(name) for name in names}
    return extract_cohort(adata, asked["target"], task=task, missing=asked.get("missing", "drop"), **where)


def best_model(table: pd.DataFrame, result: Validation) -> str:
    """The model with the best primary metric; its own score is optimistic for having been picked."""
    metric = primary(result.task)
    rows = table[(table["metric"] == metric) & table["model"].isin(result.models)]
    values = rows["value"].to_numpy(float) * (-1 if metric in LOWER_IS_BETTER else 1)
    return str(rows["model"].iloc[int(np.nanargmax(values))])


def as_validated(cohort: Cohort, stored: dict[str, Any]) -> Cohort:
    """The study with its classes in the order in which they were validated: writing a file may sort categories anew."""
    classes = tuple(map(str, stored.get("classes", ())))
    return replace(cohort, classes=classes) if set(classes) == set(cohort.classes) else cohort


def _lists(params: dict[str, Any]) -> dict[str, Any]:
    return {name: [str(v) for v in value] if isinstance(value, np.ndarray) else value for name, value in params.items()}


def check_validation(validation: Any) -> None:
    """Refuse what is no validation; a name is meant as ``key=``."""
    if not isinstance(validation, Validation):
        mend = f"; for the results under that name write key={validation!r}" if isinstance(validation, str) else ""
        raise InputError(
            f"validation is what gb.tl.classify or gb.tl.regress returned; got {type(validation).__name__}{mend}."
        )


def _same_predictions(validation: Validation, stored: dict[str, Any], key: str) -> None:
    """The models to be explained must be those whose predictions are stored."""
    check_validation(validation)
    mine, theirs = validation.predictions, stored["predictions"]
    same = len(mine) == len(theirs) and list(mine["sample"].astype(str)) == list(theirs["sample"].astype(str))
    named = [str(c) for c in validation.classes]
    same_classes = named == [str(c) for c in stored.get("classes", ())]
    columns = [c for c in mine.columns if c.startswith("prob_")] or ["predicted"]
    same = same and same_classes
    if same:
        position = [i for i, c in enumerate(mine.columns) if c in columns]
        same = np.allclose(mine.iloc[:, position].to_numpy(float), theirs.iloc[:, position].to_numpy(float), atol=1e-6)
    if not same:
        raise StaleResultError(
            f"The validation does not belong to the results stored under {key!r}. Run the validation again."
        )
