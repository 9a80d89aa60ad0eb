"""Validation and explanation of data that stay on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from joblib import cpu_count

from ..bridge import keys
from ..bridge.backed import BackedSource, open_source
from ..bridge.checkpoint import Checkpoint
from ..bridge.extract import as_names
from ..core import stream as core
from ..core.cluster import check_seen, cluster, on_backend
from ..core.errors import InputError, check_whole
from ..core.models import candidates, registry_names
from ..core.schema import check_screen
from ..core.validate import check_counts, weights_by_code
from .streamed import Study, sampled, study_of, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anndata import AnnData

_VALUES = 50_000_000  # that are read at a time
_DONORS = "sum the cells by donor, gb.pp.pseudobulk, and ask gb.tl.classify"
_INSTEAD = {  # arguments of gb.tl.classify that are not offered here
    "cv": f"folds are of groups=, n_splits of them; to leave each donor out in turn, set n_splits= to their number, or {_DONORS}",
    "missing": "samples without a target take no part, and are counted in a warning",
    "device": "models learn on the processor; backend= brings more of them",
}
DEFAULT = {"classification": ("logistic", "xgboost"), "regression": ("ridge", "xgboost")}


def stream(
    source: Any,
    target: str,
    *,
    task: str = "classification",
    models: Any = "default",
    screen: int | None = 200,
    groups: str | None = None,
    batch: str | None = None,
    covariates: str | Iterable[str] | None = None,
    layer: str | None = None,
    reference: str | None = None,
    test_size: float | int | None = None,
    test_set: str | None = None,
    n_splits: int = 5,
    n_repeats: int = 1,
    tune: bool = True,
    calibrate: str | None = None,
    class_weight: str | Mapping[str, float] | None = None,
    n_permutations: int = 0,
    allow_confounded: bool = False,
    chunk_size: int | None = None,
    n_cells: int | None = None,
    n_shap: int = 2_000,
    checkpoint: str | Path | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    backend: Any = None,
    progress: bool = True,
    key_added: str = "classify",
    **others: Any,
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
    batch
        ``.obs`` column of technical batches, for the audit (of all cells); targets are permuted within them.
    covariates
        As in :func:`classify`: ``.obs`` columns that the screens of all training parts adjust for; with two baselines, ``covariates
        only`` and ``genes + covariates``. Also ``batch``, where it is to be adjusted for.
    layer, reference
        As in :func:`classify`.
    test_size, test_set
        As in :func:`classify`: samples held out of everything, predicted once by models of all the others.
    n_splits, n_repeats
        Folds, and how often they are drawn anew: each repeat costs as much as the models of the first, its sums share passes.
    tune
        Whether hyperparameters of logistic and ridge are searched, on about 20,000 cells of each training part, by inner folds that
        screen for themselves.
    calibrate
        As in :func:`classify`: ``"sigmoid"`` or ``"isotonic"``, learnt from inner folds of each training part (by donor), which takes
        three more fits of each model. None: only models without probabilities of their own are calibrated (sigmoid).
    class_weight
        As in :func:`classify`: ``"balanced"``, or class -> weight.
    n_permutations
        As in :func:`classify`: permuted targets (by donor) that go through the same work, with the same result as there. Each
        costs about as much as the models of the true target; their sums share passes over the data.
    allow_confounded
        Go on where each batch holds one class (of a number: one value) only.
    chunk_size
        Rows that are read at a time: what bounds memory. None: 20,000, or fewer where rows are long (50 million values).
    n_cells
        Size of the stratified sample of cells (by fold, class and donor; at least 20 of each class) that is stored as
        ``predictions`` and on which intervals and figures rest. The scores themselves are of all cells. None: 20,000, or fewer where
        rows are long (100 million values: 3,333 cells of 30,000 genes), since their expression is held.
    n_shap
        Size of the stratified sample whose held-out SHAP values are computed; 0: none.
    checkpoint
        Folder in which finished sums, columns and models are kept: after an interruption the same call goes on where it was.
        Other calls may use the folder at the same time, the same one may not. None: nothing is kept.
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
    others
        Other arguments of :func:`classify` are not offered here; each is refused with what to do instead.

    Returns
    -------
    AnnData
        With ``.obs`` and ``.var`` of the source and no ``.X``, and the results of :func:`classify` and :func:`explain`
        (docs: what is written where), for ``gb.get``, ``gb.pl``, ``gb.tl.biomarkers`` and ``gb.report``. ``.obs["{key_added}_pred"]`` and
        ``.obsm["{key_added}_oof"]`` hold every cell; ``.uns[key_added]["streamed"]`` says how many were looked at for what. The
        source is not changed.

    Raises
    ------
    ColumnNotFoundError, TargetError, InputError, LeakageError, ConfoundingError, DesignError
        Each says what was got, what was expected and what to do.
    CheckpointInUseError
        If the same work is being done in ``checkpoint`` now; it says by which process on which machine. A killed one holds nothing.
    """
    _refused(others)
    if task not in DEFAULT:
        raise InputError(f"task must be 'classification' or 'regression', got {task!r}.")
    asked: dict[str, Any] = {
        "target": target,
        "task": task,
        "screen": screen,
        "groups": groups,
        "batch": batch,
        "covariates": as_names(covariates) or None,
        "layer": layer,
        "reference": reference,
    }
    asked |= {"test_size": test_size, "test_set": test_set, "n_splits": n_splits, "tune": tune, "seed": seed}
    asked |= {"n_repeats": n_repeats, "calibrate": calibrate}
    check_whole(0, n_shap=n_shap)
    if n_jobs is not None and (isinstance(n_jobs, bool) or not isinstance(n_jobs, int | np.integer) or n_jobs == 0):
        raise InputError(f"n_jobs must be None (every core), a positive count, or -1; got {n_jobs!r}.")
    check_counts(asked | {"n_permutations": n_permutations, "cv": "kfold"})
    if task == "regression" and (class_weight is not None or calibrate is not None):
        name = "calibrate" if class_weight is None else "class_weight"
        raise InputError(f"{name}= is for classification; a regression has no classes.")
    for name, value, least in (("chunk_size", chunk_size, 1), ("n_cells", n_cells, 100)):
        if value is not None:
            check_whole(least, **{name: value})
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
        study = study_of(data, asked, key_added, allow_confounded)
        weights = weights_by_code(class_weight, study.classes)
        asked["class_weight"] = dict(class_weight) if isinstance(class_weight, Mapping) else class_weight
        asked["chunk_size"] = chunk_size or max(min(20_000, _VALUES // data.shape[1]), 100)
        n_cells = n_cells or max(min(20_000, 2 * _VALUES // data.shape[1]), 100)
        threads = cpu_count() if n_jobs is None or n_jobs < 0 else int(n_jobs)
        job = core.Job(study.y, study.fold, len(study.classes), study.donors, screen, wanted, tune, seed, asked["chunk_size"],
                       threads, study.test, weights, study.given, study.batch, calibrate)  # fmt: skip
        store = Checkpoint(checkpoint, _about(data, study, asked, wanted, checkpoint is not None),
                           [f"{type(c.estimator).__module__}.{type(c.estimator).__qualname__}" for c in wanted])  # fmt: skip
        try:
            with on_backend(backend):
                _check_workers(data, store)
                made = core.run(data, job, store, folds=study.more, shown=sampled(study, n_cells, seed),
                                n_permutations=n_permutations, progress=progress, label=key_added)  # fmt: skip
        finally:
            store.close()
        asked["n_permutations"] = n_permutations
        spec = asked | {"models": [c.name for c in wanted], "registry": list(registry_names(models, task).values())
                        if not isinstance(models, str) or models != "default" else list(DEFAULT[task])}  # fmt: skip
        data.check_unchanged()
        return written(data, study, made, spec, {"n_cells": n_cells, "n_shap": n_shap}, progress, key_added)
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


def _refused(others: Mapping[str, Any]) -> None:
    """Refuse what is not offered, saying what to do."""
    for name in others:
        if name not in _INSTEAD:
            raise TypeError(f"stream() got an unexpected keyword argument {name!r}")
        raise InputError(f"{name}= is not offered by gb.tl.stream: {_INSTEAD[name]}.")


def _about(
    data: BackedSource, study: Study, asked: dict[str, Any], wanted: Sequence[Any], kept: bool
) -> dict[str, Any]:
    """What makes finished work that of this call; the data are looked at if it is to be kept."""
    import sklearn
    import xgboost

    from .. import __version__

    told = [study.y, *study.folds, study.donors, study.batch, *(() if study.given is None else study.given.T)]
    return {
        "data": data.identity | {"shape": data.shape, "content": data.content() if kept else 0},
        "samples": [None if values is None else _digest(values) for values in told],
        "asked": asked,
        "genes": int(pd.util.hash_array(study.shell.var_names.astype(str).to_numpy(object)).sum() % np.uint64(2**63)),
        "models": {c.name: repr(c.estimator.get_params()) for c in wanted},
        "versions": [__version__, sklearn.__version__, xgboost.__version__, np.__version__],
    }


def _digest(values: np.ndarray) -> int:
    """Of values in their order."""
    codes = values if values.dtype.kind in "if" else pd.factorize(values)[0]
    own = pd.util.hash_array(codes.astype(float))
    return int(np.bitwise_xor.reduce(own * (np.arange(len(own), dtype=np.uint64) * np.uint64(2) + np.uint64(1))))
