"""The study of streamed data, and what is written of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..bridge import keys
from ..bridge.anndata import attach, attribution_writes, check_free, validation_writes
from ..bridge.backed import BackedSource
from ..bridge.extract import check_class_names, check_writable, column, covariates_of, target_values, test_samples
from ..bridge.streamed import streamed_writes
from ..core import stream as core
from ..core.association import batch_alone
from ..core.audit import audit, effective_n, named_columns
from ..core.baseline import BASELINES
from ..core.errors import AuditWarning, DataWarning, DuplicateNamesError, InputError, TargetError
from ..core.explain import explain
from ..core.ids import first_duplicates
from ..core.metrics import test_table, verdict
from ..core.models import task_seed
from ..core.resample import arrangements, check_feasible, make_folds, some_of_each
from ..core.schema import Cohort, Validation, prob_column
from ..core.scores import classification_scores, regression_scores
from ..core.streamed_scores import of_all
from ..core.validate import numeric_covariates, screen_text
from .models import best_model, derived, with_unnamed_donors

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, eq=False)
class Study:
    """Samples with their target, folds and donors; -1 in ``fold``: the sample takes no part.

    ``more``: the folds of each repeat after the first. ``given``: covariates as numbers. ``findings``: what the audit says of batch
    and covariates.
    """

    shell: AnnData
    y: np.ndarray
    target: np.ndarray
    classes: tuple[str, ...]
    fold: np.ndarray
    labels: np.ndarray | None
    donors: np.ndarray | None
    test: np.ndarray | None = None
    batch: np.ndarray | None = None
    covariates: pd.DataFrame | None = None
    given: np.ndarray | None = None
    findings: pd.DataFrame | None = None
    more: tuple[np.ndarray, ...] = ()

    @property
    def folds(self) -> tuple[np.ndarray, ...]:
        """In which fold each sample is held out, in each repeat."""
        return self.fold, *self.more

    def rows(self, test: bool = False) -> np.ndarray:
        """Positions of the samples of the cross-validation, or of the test set."""
        return np.flatnonzero(self.test if test and self.test is not None else self.fold >= 0)


def study_of(data: BackedSource, asked: dict[str, Any], key: str, allow_confounded: bool) -> Study:
    """The samples of a source, who is held out when, and who takes no part; checked before anything of the matrix is read."""
    from anndata import AnnData

    shell = AnnData(obs=data.obs.copy(), var=data.var.copy())
    check_writable(shell)
    check_free(shell, key, "validation", _named(asked))
    if data.shape != shell.shape:
        raise InputError(f"The matrix is {data.shape}, but there are {shell.n_obs} samples and {shell.n_vars} genes.")
    for names, what, place in ((shell.obs_names, "Sample", "obs"), (shell.var_names, "Gene", "var")):
        if not names.is_unique:
            raise DuplicateNamesError(
                f"{what} names are duplicated ({first_duplicates(names)}, ...). Make them unique first; of a file without reading its "
                f"matrix: adata = anndata.read_h5ad(path, backed='r'); adata.{place}_names_make_unique(); gb.tl.stream(adata, ...)."
            )
    try:
        values, classes = target_values(shell, asked["target"], asked["task"], asked["reference"])
    except TargetError as error:
        said = (
            str(error).replace("gb.tl.regress", "task='regression'").replace("gb.tl.classify", "task='classification'")
        )
        raise TargetError(said) from None
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
    if not known.any():
        raise TargetError(f"Target {asked['target']!r} is missing for every sample.")
    y = pd.Index(classes).get_indexer(pd.Index(target)) if classes else np.nan_to_num(target)
    donors = None if labels is None else pd.factorize(labels)[0]
    study = Study(shell, y, target, classes, np.full(len(known), -1), labels, donors)
    batch = None if asked["batch"] is None else column(shell, asked["batch"], "batch").astype(object).to_numpy()
    return _divided(
        replace(study, batch=batch, covariates=covariates_of(shell, asked["covariates"])),
        np.flatnonzero(known),
        asked,
        allow_confounded,
    )


def _named(asked: dict[str, Any]) -> list[Any]:
    """Columns of ``.obs`` that are asked for."""
    return [asked[name] for name in ("target", "groups", "batch", "test_set")] + (asked["covariates"] or [])


def _divided(study: Study, rows: np.ndarray, asked: dict[str, Any], allow_confounded: bool) -> Study:
    """Who is held out when, of the samples that have a target; what batch and covariates say of it is refused, or found."""
    n = len(study.y)
    of = _cohort(study, rows, _Shape(len(rows), study.shell.n_vars))
    held = test_samples(study.shell, of, asked["test_size"], asked["test_set"], asked["seed"])
    test = given = None
    if held is not None:
        test = np.zeros(n, dtype=bool)
        test[rows[held]] = True
    learning = np.ones(len(rows), dtype=bool) if held is None else ~held
    if of.covariates is not None:
        numbers = numeric_covariates(of.covariates, learning)
        given = np.zeros((n, numbers.shape[1]))
        given[rows] = numbers
    rows = rows[learning]
    target, own = study.target[rows], None if study.labels is None else study.labels[rows]
    check_feasible(target, study.classes, own, asked["n_splits"])
    found = named_columns(_cohort(study, rows, _Shape(len(rows), study.shell.n_vars)), allow_confounded)
    folds = []
    for run in range(asked["n_repeats"]):
        drawn = make_folds(target, study.classes, own, n_splits=asked["n_splits"], run=run, seed=asked["seed"])
        folds.append(np.full(n, -1, dtype=np.int16))
        for part in drawn:
            folds[-1][rows[part.test]] = part.fold
    return replace(study, fold=folds[0], more=tuple(folds[1:]), test=test, given=given, findings=found)


def sampled(study: Study, n_cells: int, seed: int) -> np.ndarray:
    """The samples whose predictions are stored."""
    return _some(study, study.rows(), n_cells, task_seed(seed, "cells"))


def _some(study: Study, rows: np.ndarray, size: int, seed: int) -> np.ndarray:
    """A sample of rows, proportional within folds, classes and donors."""
    labels = [
        values[rows]
        for values in (study.y if study.classes else None, study.fold + 1, study.donors)
        if values is not None
    ]
    return rows[some_of_each(labels, len(rows), size, np.random.default_rng(seed))]


def _predicted(study: Study, made: core.Streamed, rows: np.ndarray, test: bool = False) -> pd.DataFrame:
    """What each model predicts for some of the samples, in each repeat (or of the test set), in one long table."""
    names = study.shell.obs_names.astype(str)[rows]
    at = np.searchsorted(made.shown, rows)
    parts = []
    for run, kept in enumerate([made.predictions] if test else made.repeats):
        for model, of in kept.items():
            values = of[rows if test else at].astype(float)
            part = pd.DataFrame({"repeat": run, "fold": study.folds[run][rows], "sample": names, "model": model,
                                 "observed": study.target[rows]})  # fmt: skip
            if study.classes:
                values /= values.sum(axis=1, keepdims=True)
                part["predicted"] = np.asarray(study.classes, dtype=object)[values.argmax(axis=1)]
                part[[prob_column(name) for name in study.classes]] = values
            else:
                part["predicted"] = values
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _validation(
    study: Study,
    made: core.Streamed,
    spec: dict[str, Any],
    rows: np.ndarray,
    findings: pd.DataFrame,
    tested: np.ndarray | None = None,
) -> Validation:
    """What the cross-validation says of some of the samples, and of some of the test set."""
    names = study.shell.obs_names.astype(str)[rows]
    genes = study.shell.var_names.astype(str)
    screens = made.screens.assign(feature=genes[made.screens["column"]])
    own: dict[str, Any] = {"cv": "kfold", "screen": screen_text(spec["screen"])}
    if study.classes:
        learned = study.rows()
        donors = None if study.donors is None else study.donors[learned]
        batch = None if study.batch is None else study.batch[learned]
        own["n_arrangements"] = arrangements(study.y[learned], donors, batch)
    held = [pd.DataFrame({"repeat": run, "fold": fold[rows], "sample": names}) for run, fold in enumerate(study.folds)]
    return Validation(
        predictions=_predicted(study, made, rows),
        folds=pd.concat(held, ignore_index=True),
        screens=screens[["repeat", "fold", "feature", "statistic"]],
        spec={name: value for name, value in spec.items() if value is not None} | own,
        audit=findings,
        classes=study.classes,
        null=made.null,
        discoveries=made.discoveries,
        tuned=made.tuned,
        fitted={key: whole for key, whole in made.fitted.items() if key[0] >= 0},
        test=None if tested is None else _predicted(study, made, tested, test=True).drop(columns=["repeat", "fold"]),
        final={name: whole for (run, _, name), whole in made.fitted.items() if run < 0},
        baselines=() if study.given is None else BASELINES,
    )  # fmt: skip


def _cohort(study: Study, rows: np.ndarray, X: Any) -> Cohort:
    return Cohort(
        X=X,
        features=pd.Index(study.shell.var_names.astype(str)),
        samples=pd.Index(study.shell.obs_names.astype(str)[rows]),
        target=study.target[rows],
        classes=study.classes,
        groups=None if study.labels is None else study.labels[rows],
        batch=None if study.batch is None else study.batch[rows],
        covariates=None if study.covariates is None else study.covariates.iloc[rows],
    )


def written(
    data: BackedSource,
    study: Study,
    made: core.Streamed,
    spec: dict[str, Any],
    sizes: dict[str, int],
    progress: bool,
    key: str,
) -> AnnData:
    """An AnnData without X that holds all results: of every sample, and of some of them what needs their expression."""
    shell, seed = study.shell, spec["seed"]
    rows = made.shown
    tested = None
    if study.test is not None:
        tested = _some(study, study.rows(test=True), sizes["n_cells"], task_seed(seed, "test cells"))
    shown = np.sort(np.random.default_rng(task_seed(seed, "shap")).permutation(len(rows))[: sizes["n_shap"]])
    cohort = _cohort(study, rows, data.take(rows, spec["chunk_size"]))
    findings = _looked_at(cohort, rows, study, spec)
    for message in findings.loc[findings["level"] == "warning", "message"]:
        warnings.warn(message, AuditWarning, stacklevel=4)
    result = _validation(study, made, spec, rows, findings, tested)
    extra = derived(replace(result, test=None), cohort)
    extra = _of_all(extra, result, study, made, tested)
    about = {"n_all": len(study.rows()), "n_sampled": len(rows), "n_explained": len(shown)}
    extra["streamed"] = sizes | about | ({} if tested is None else {"n_test": len(study.rows(test=True))})
    writes = validation_writes(shell, result, extra, key)
    values = made.predictions[extra["best"]]
    attach(shell, [*writes, *streamed_writes(shell, values, study.classes, study.test, study.fold, key)])
    if len(shown):
        part = _validation(study, made, spec, rows[shown], findings)
        few = cohort.take(np.isin(np.arange(len(rows)), shown))
        explained = explain(part, few, progress=progress, label=f"{key}: SHAP")
        attach(shell, attribution_writes(shell, explained, few.samples, key))
    return shell


@dataclass(frozen=True)
class _Shape:
    """Stands for a matrix where only its size is asked for."""

    n: int
    p: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.n, self.p


def _looked_at(cohort: Cohort, rows: np.ndarray, study: Study, spec: dict[str, Any]) -> pd.DataFrame:
    """The audit of the sampled samples; of batch and covariates, of all."""
    named = [name for name in _named(spec) if name is not None]
    others = study.shell.obs.drop(columns=list(dict.fromkeys(named))).iloc[rows]
    findings = audit(cohort, obs=others, allow_confounded=True)
    findings = pd.concat(
        [findings[~findings["check"].isin(["batch", "covariates"])], study.findings], ignore_index=True
    )
    findings = with_unnamed_donors(
        findings, cohort, [name for name in (spec["batch"], *(spec["covariates"] or [])) if name]
    )
    whole = int((study.fold >= 0).sum())
    if len(rows) == whole:
        return findings
    note = f"The study was looked at in a stratified sample of {len(rows):,} of its {whole:,} samples; counts below are of the sample."
    return pd.concat(
        [pd.DataFrame([{"check": "sampled", "level": "note", "message": note}]), findings], ignore_index=True
    )


def _of_all(
    extra: dict[str, Any], result: Validation, study: Study, made: core.Streamed, tested: np.ndarray | None
) -> dict[str, Any]:
    """What is derived, with the scores of all samples in place of those of the sampled ones, whose intervals stay."""
    rows = study.rows()
    whole = _cohort(study, rows, _Shape(len(rows), study.shell.n_vars))
    table = of_all(extra["metrics"], made.scores, result)
    extra = extra | {"metrics": table, "best": best_model(table, result)}
    spec = result.spec
    extra["better_than_chance"], extra["verdict"] = verdict(
        table, study.classes, spec["n_permutations"], spec.get("n_arrangements", np.inf), test=tested is not None,
        batch_alone=batch_alone(whole),
    )  # fmt: skip
    extra["n_effective"] = effective_n(whole)
    if tested is not None and result.test is not None:
        held = study.rows(test=True)
        part = replace(result, predictions=result.test.assign(repeat=0, fold=0), null=None)
        own = test_table(part, groups=None if study.labels is None else study.labels[tested])
        extra["test_metrics"] = of_all(own, [_scores(study, made, held)], part).assign(n=len(held))
    return extra


def _scores(study: Study, made: core.Streamed, rows: np.ndarray) -> dict[tuple[str, str], float]:
    """(model, metric) -> the score of these samples."""
    ones = np.ones((1, len(rows)))
    out: dict[tuple[str, str], float] = {}
    for model, values in made.predictions.items():
        if study.classes:
            scores = classification_scores(ones, study.y[rows], values[rows].astype(float))
        else:
            scores = regression_scores(ones, study.y[rows], values[rows].astype(float))
        out |= {(model, metric): float(score[0]) for metric, score in scores.items()}
    return out
