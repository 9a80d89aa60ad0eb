"""Validation and explanation of data that stay on disk."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from joblib import cpu_count

from ..bridge import keys
from ..bridge.anndata import attach, attribution_writes, streamed_writes, validation_writes
from ..bridge.backed import BackedSource, open_source
from ..bridge.checkpoint import Checkpoint
from ..bridge.extract import check_class_names, column, target_values
from ..core import stream as core
from ..core.audit import audit, effective_n
from ..core.cluster import check_seen, cluster, on_backend
from ..core.errors import AuditWarning, DataWarning, DuplicateNamesError, InputError, TargetError
from ..core.explain import explain
from ..core.ids import first_duplicates
from ..core.metrics import verdict
from ..core.models import candidates, registry_names, task_seed
from ..core.resample import check_feasible, make_folds
from ..core.schema import Cohort, Validation, check_screen, prob_column
from ..core.scores import classification_scores, regression_scores
from ..core.validate import screen_text
from .models import best_model, derived

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anndata import AnnData

DEFAULT = {"classification": ("logistic", "xgboost"), "regression": ("ridge", "xgboost")}


def stream(
    source: Any,
    target: str,
    *,
    task: str = "classification",
    models: Any = "default",
    screen: int | None = 200,
    groups: str | None = None,
    layer: str | None = None,
    reference: str | None = None,
    n_splits: int = 5,
    tune: bool = True,
    chunk_size: int = 20_000,
    n_cells: int = 20_000,
    n_shap: int = 2_000,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    backend: Any = None,
    progress: bool = True,
    key_added: str = "classify",
) -> AnnData:
    """Validate and explain models of more samples than memory holds: an atlas of cells that stays on disk.

    The matrix is read by rows, ``chunk_size`` at a time: once for the moderated screens and the scalers of all folds together
    (sums over held-out parts, subtracted from the whole), once to keep the columns that any fold chose. Models learn from
    these: logistic and ridge regression by Newton's method (the optimum, as in memory), XGBoost from quantised pieces (in files
    where they are large), estimators with ``partial_fit`` in 5 epochs. Donors are never on both sides of a fold.

    Parameters
    ----------
    source
        Path of an ``.h5ad`` or ``.zarr`` (dense, or sparse by rows), or an AnnData: backed, lazy, or in memory. Log expression.
    target
        ``.obs`` column: class labels, or a number.
    task
        ``"classification"`` or ``"regression"``.
    models
        ``"default"`` (logistic or ridge, and xgboost), names of these, or estimators with ``partial_fit``, as in :func:`classify`.
    screen
        Genes kept by the moderated statistic of each training part; None: all.
    groups
        ``.obs`` column of donors, kept whole. Cells of one donor resemble each other: name it.
    layer, reference
        As in :func:`classify`.
    n_splits
        Folds; there is one repeat.
    tune
        Whether hyperparameters of logistic and ridge are searched, on 20,000 cells of each training part.
    chunk_size
        Rows that are read at a time: what bounds memory.
    n_cells
        Size of the stratified sample of cells (by fold, class and donor) that is stored as ``predictions`` and on which intervals
        and figures rest. The scores themselves are of all cells.
    n_shap
        Size of the stratified sample whose held-out SHAP values are computed; 0: none.
    checkpoint
        Folder in which finished sums, columns and models are kept: after an interruption the same call goes on where it was.
        None: nothing is kept.
    seed, n_jobs, progress
        As in :func:`classify`; ``n_jobs`` are threads of XGBoost.
    backend
        None: this machine. As in :func:`classify`, a cluster of dask, for data that no machine holds: XGBoost is trained by all workers
        together (:mod:`xgboost.dask`), each with the pieces it reads from ``checkpoint``, which is then needed and must be on a path
        that all see; of a ``source`` that is a path the workers read pieces as well. Sums, screens and linear models are the same;
        XGBoost's trees are, up to rounding, where all rows are used for each (``subsample=1``), and else as good.
        A training that lost a worker is done again.
    key_added
        Name of the results.

    Returns
    -------
    AnnData
        With ``.obs`` and ``.var`` of the source and no ``.X``, and the results of :func:`classify` and :func:`explain`
        (docs: what is written where), for ``gb.get``, ``gb.pl``, ``gb.tl.biomarkers`` and ``gb.report``. ``.obs["{key_added}_pred"]`` and
        ``.obsm["{key_added}_oof"]`` hold every cell; ``.uns[key_added]["streamed"]`` says how many were looked at for what. Permuted
        targets and test sets are not offered here. The source is not changed.

    Raises
    ------
    ColumnNotFoundError, TargetError, InputError, LeakageError
        Each says what was got, what was expected and what to do.
    """
    if task not in DEFAULT:
        raise InputError(f"task must be 'classification' or 'regression', got {task!r}.")
    asked = {"target": target, "task": task, "screen": screen, "groups": groups, "layer": layer, "reference": reference}
    asked |= {"n_splits": n_splits, "tune": tune, "seed": seed, "chunk_size": chunk_size}
    _check_counts(chunk_size=(chunk_size, 1), n_cells=(n_cells, 100), n_shap=(n_shap, 0), seed=(seed, 0))
    if backend is not None and checkpoint is None:
        raise InputError(
            "With backend=, workers read pieces of the data from the checkpoint folder: name one, checkpoint=, that is on a path "
            "which all of them and this machine see."
        )
    keys.check_key(key_added)
    check_screen(screen)
    wanted = candidates(list(DEFAULT[task]) if isinstance(models, str) and models == "default" else models, task)
    core.check_models(wanted)
    data = open_source(source, layer)
    try:
        study = _study(data, asked)
        job = core.Job(study.y, study.fold, len(study.classes), study.donors, screen, wanted, tune, seed, chunk_size,
                       cpu_count() if n_jobs is None else int(n_jobs))  # fmt: skip
        store = Checkpoint(None if checkpoint is None else Path(checkpoint), _about(data, study, asked, wanted, checkpoint is not None),
                           [f"{type(c.estimator).__module__}.{type(c.estimator).__qualname__}" for c in wanted])  # fmt: skip
        try:
            with on_backend(backend):
                _check_workers(data, store)
                made = core.run(data, job, store, progress=progress, label=key_added)
        finally:
            store.close()
        spec = asked | {"models": [c.name for c in wanted], "registry": list(registry_names(models, task).values())
                        if not isinstance(models, str) or models != "default" else list(DEFAULT[task])}  # fmt: skip
        return _written(data, study, made, spec, {"n_cells": n_cells, "n_shap": n_shap}, progress, key_added)
    finally:
        data.close()


def _check_workers(data: BackedSource, store: Checkpoint) -> None:
    """Whether the workers of the cluster, where there is one, see what they are to read."""
    client, remote = cluster(), data.remote()
    if client is None:
        return
    check_seen(
        client, store.signed(), f"the checkpoint folder {store.path.resolve()}; put it on a path that all of them share"
    )
    if remote is not None:
        check_seen(client, remote.seen, f"{remote.path}; put it on a path that all of them share, or give it as "
                                        "anndata.read_h5ad(..., backed='r'), which only this machine reads")  # fmt: skip


def _check_counts(**asked: tuple[Any, int]) -> None:
    for name, (value, least) in asked.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}.")


@dataclass(frozen=True, eq=False)
class _Study:
    """Samples with their target, folds and donors; -1 in ``fold``: the sample takes no part."""

    shell: AnnData
    y: np.ndarray
    target: np.ndarray
    classes: tuple[str, ...]
    fold: np.ndarray
    labels: np.ndarray | None
    donors: np.ndarray | None


def _study(data: BackedSource, asked: dict[str, Any]) -> _Study:
    from anndata import AnnData

    shell = AnnData(obs=data.obs.copy(), var=data.var.copy())
    if data.shape != shell.shape:
        raise InputError(f"The matrix is {data.shape}, but there are {shell.n_obs} samples and {shell.n_vars} genes.")
    for names, what in ((shell.obs_names, "Sample"), (shell.var_names, "Gene")):
        if not names.is_unique:
            raise DuplicateNamesError(
                f"{what} names are duplicated ({first_duplicates(names)}, ...). Make them unique first."
            )
    values, classes = target_values(shell, asked["target"], asked["task"], asked["reference"])
    check_class_names(shell, map(keys.escape, classes or ["prediction"]))
    known = values.notna().to_numpy()
    labels = None if asked["groups"] is None else column(shell, asked["groups"], "groups").astype(object).to_numpy()
    if labels is not None:
        lost = known & pd.isna(labels)
        if lost.any():
            raise InputError(
                f"{int(lost.sum())} samples have no value in groups column {asked['groups']!r}; fill or drop them."
            )
    if not known.all():
        warnings.warn(f"{int((~known).sum()):,} of {len(known):,} samples have no value in target {asked['target']!r} and take no "
                      "part.", DataWarning, stacklevel=4)  # fmt: skip
    target = values.to_numpy(dtype=object if classes else float)
    rows = np.flatnonzero(known)
    if not len(rows):
        raise TargetError(f"Target {asked['target']!r} is missing for every sample.")
    own = None if labels is None else labels[rows]
    check_feasible(target[rows], classes, own, asked["n_splits"])
    fold = np.full(len(known), -1)
    for part in make_folds(target[rows], classes, own, n_splits=asked["n_splits"], run=0, seed=asked["seed"]):
        fold[rows[part.test]] = part.fold
    y = pd.Index(classes).get_indexer(pd.Index(target)) if classes else np.nan_to_num(target)
    return _Study(shell, y, target, classes, fold, labels, None if labels is None else pd.factorize(labels)[0])


def _about(
    data: BackedSource, study: _Study, asked: dict[str, Any], wanted: Sequence[Any], kept: bool
) -> dict[str, Any]:
    """What makes finished work that of this call; the data are looked at if it is to be kept."""
    import sklearn
    import xgboost

    from .. import __version__

    digest = pd.util.hash_array(study.y.astype(float)) ^ pd.util.hash_array(study.fold.astype(float)) * np.uint64(31)
    return {
        "data": data.identity | {"shape": data.shape, "content": data.content() if kept else 0},
        "target": int(
            np.bitwise_xor.reduce(digest * (np.arange(len(digest), dtype=np.uint64) * np.uint64(2) + np.uint64(1)))
        ),
        "asked": asked,
        "genes": int(pd.util.hash_array(study.shell.var_names.astype(str).to_numpy(object)).sum() % np.uint64(2**63)),
        "models": {c.name: repr(c.estimator.get_params()) for c in wanted},
        "versions": [__version__, sklearn.__version__, xgboost.__version__, np.__version__],
    }


def _some(study: _Study, size: int, seed: int) -> np.ndarray:
    """A sample of rows, proportional within folds, classes and donors."""
    rows = np.flatnonzero(study.fold >= 0)
    if len(rows) <= size:
        return rows
    strata = study.fold[rows].astype(np.int64)
    for other in (study.y if study.classes else None, study.donors):
        if other is not None:
            strata = strata * (int(other.max()) + 1) + other[rows]
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(rows))
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]  # strata one after the other, each shuffled
    at = (np.arange(size) + rng.random()) * len(rows) / size
    return np.sort(rows[order[at.astype(int)]])


def _validation(
    study: _Study, made: core.Streamed, spec: dict[str, Any], rows: np.ndarray, findings: pd.DataFrame
) -> Validation:
    """What the cross-validation says of some of the samples."""
    names = study.shell.obs_names.astype(str)[rows]
    parts = []
    for model, values in made.predictions.items():
        part = pd.DataFrame(
            {"repeat": 0, "fold": study.fold[rows], "sample": names, "model": model, "observed": study.target[rows]}
        )
        if study.classes:
            prob = values[rows].astype(float)
            prob /= prob.sum(axis=1, keepdims=True)
            part["predicted"] = np.asarray(study.classes, dtype=object)[prob.argmax(axis=1)]
            part[[prob_column(name) for name in study.classes]] = prob
        else:
            part["predicted"] = values[rows].astype(float)
        parts.append(part)
    genes = study.shell.var_names.astype(str)
    screens = made.screens.assign(repeat=0, feature=genes[made.screens["column"]])
    own = {"n_repeats": 1, "n_permutations": 0, "cv": "kfold", "screen": screen_text(spec["screen"])}
    return Validation(
        predictions=pd.concat(parts, ignore_index=True),
        folds=pd.DataFrame({"repeat": 0, "fold": study.fold[rows], "sample": names}),
        screens=screens[["repeat", "fold", "feature", "statistic"]],
        spec={name: value for name, value in spec.items() if value is not None} | own,
        audit=findings,
        classes=study.classes,
        tuned=made.tuned.assign(repeat=0)[["repeat", "fold", "model", "parameter", "value"]],
        fitted={(0, fold, name): whole for (fold, name), whole in made.fitted.items()},
    )  # fmt: skip


def _cohort(data: BackedSource, study: _Study, rows: np.ndarray, X: Any) -> Cohort:
    return Cohort(
        X=X,
        features=pd.Index(study.shell.var_names.astype(str)),
        samples=pd.Index(study.shell.obs_names.astype(str)[rows]),
        target=study.target[rows],
        classes=study.classes,
        groups=None if study.labels is None else study.labels[rows],
    )


def _written(
    data: BackedSource,
    study: _Study,
    made: core.Streamed,
    spec: dict[str, Any],
    sizes: dict[str, int],
    progress: bool,
    key: str,
) -> AnnData:
    shell, seed = study.shell, spec["seed"]
    rows = _some(study, sizes["n_cells"], task_seed(seed, "cells"))
    shown = np.sort(np.random.default_rng(task_seed(seed, "shap")).permutation(len(rows))[: sizes["n_shap"]])
    X = data.take(rows, spec["chunk_size"])
    cohort = _cohort(data, study, rows, X)
    findings = _looked_at(audit(cohort, obs=shell.obs.drop(columns=spec["target"]).iloc[rows]), len(rows), study)
    for message in findings.loc[findings["level"] == "warning", "message"]:
        warnings.warn(message, AuditWarning, stacklevel=4)
    result = _validation(study, made, spec, rows, findings)
    extra = derived(result, cohort)
    extra["metrics"] = _of_all(extra["metrics"], study, made)
    extra["better_than_chance"], extra["verdict"] = verdict(extra["metrics"], study.classes, 0)
    extra["best"] = best_model(extra["metrics"], result)
    whole = effective_n(
        _cohort(data, study, np.flatnonzero(study.fold >= 0), _Shape(int((study.fold >= 0).sum()), X.shape[1]))
    )
    extra |= {"n_effective": whole, "streamed": sizes | {"n_sampled": len(rows), "n_explained": len(shown)}}
    extra["streamed"]["n_all"] = int((study.fold >= 0).sum())
    writes = validation_writes(shell, result, extra, key)
    attach(shell, [*writes, *streamed_writes(shell, made.predictions[extra["best"]], study.classes, key)])
    if len(shown):
        part = _validation(study, made, spec, rows[shown], findings)
        explained = explain(
            part, cohort.take(np.isin(np.arange(len(rows)), shown)), progress=progress, label=f"{key}: SHAP"
        )
        attach(shell, attribution_writes(shell, explained, part.folds["sample"], key))
    return shell


@dataclass(frozen=True)
class _Shape:
    """Stands for a matrix where only its size is asked for."""

    n: int
    p: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.n, self.p


def _looked_at(findings: pd.DataFrame, n: int, study: _Study) -> pd.DataFrame:
    whole = int((study.fold >= 0).sum())
    if n == whole:
        return findings
    note = f"The study was looked at in a stratified sample of {n:,} of its {whole:,} samples; counts below are of the sample."
    return pd.concat(
        [pd.DataFrame([{"check": "sampled", "level": "note", "message": note}]), findings], ignore_index=True
    )


def _of_all(table: pd.DataFrame, study: _Study, made: core.Streamed) -> pd.DataFrame:
    """The scores of all samples in place of those of the sampled ones, whose intervals stay."""
    table = table.copy()
    rows = np.flatnonzero(study.fold >= 0)
    ones = np.ones((1, len(rows)))
    for model, values in made.predictions.items():
        if study.classes:
            scores = classification_scores(ones, study.y[rows], values[rows].astype(float), calibration=False)
        else:
            scores = regression_scores(ones, study.y[rows], values[rows].astype(float))
        for metric, score in scores.items():
            at = (table["model"] == model) & (table["metric"] == metric)
            table.loc[at, "value"] = float(score[0])
    table["low"], table["high"] = table[["low", "value"]].min(axis=1), table[["high", "value"]].max(axis=1)
    return table
