"""The nouns: ExternalScreen, Cohort, Validation, Attribution. Frozen, and checked on construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from .detable import DETable
from .discoveries import Discoveries
from .errors import DuplicateNamesError, InputError, LeakageError, TargetError
from .ids import first_duplicates

Task = Literal["classification", "regression"]


@dataclass(frozen=True, eq=False)
class ExternalScreen:
    """A gene list that comes from other samples than the ones to be validated on.

    Wrapping a :class:`DETable` in this type is a statement by the caller that no sample of the study entered
    the table. The statement is recorded in the results; where its means or test statistics are those of the study's samples, it is refused
    (``LeakageError``).

    Parameters
    ----------
    de
        The table from other samples.
    n
        How many of its top features (by p-value) to use.
    """

    de: DETable
    n: int = 200

    def __post_init__(self) -> None:
        if not isinstance(self.de, DETable):
            raise InputError(f"ExternalScreen takes a DETable, got {type(self.de).__name__}.")
        if self.n < 1:
            raise InputError(f"ExternalScreen needs n >= 1, got {self.n}.")

    @property
    def features(self) -> list[str]:
        """The ids of the top ``n`` features."""
        return list(self.de.top(self.n).index)


def prob_column(name: str) -> str:
    """Column of a class's probability in a predictions frame; prefixed, for a class may be called ``model`` or ``fold``."""
    return f"prob_{name}"


def check_screen(screen: object) -> None:
    """Refuse a screen that would let held-out samples choose the genes."""
    if isinstance(screen, DETable | pd.DataFrame | pd.Index | list | tuple | set | np.ndarray):
        raise LeakageError(
            f"screen= got a {type(screen).__name__}: genes chosen beforehand. If they were chosen with these samples, the "
            "validation would be optimistic (chance labels reach an accuracy of 0.9 that way). Pass a count, such as "
            "screen=200, which is refitted inside each fold; or, if the table comes from other samples, state it: "
            "screen=gb.ExternalScreen(de)."
        )
    if screen is None or isinstance(screen, ExternalScreen):
        return
    if isinstance(screen, bool) or not isinstance(screen, int | np.integer) or screen < 1:
        raise InputError(
            f"screen must be a count of genes (such as 200), None or gb.ExternalScreen(de); got {screen!r}."
        )


@dataclass(frozen=True, eq=False)
class Cohort:
    """Samples with their expression and what is to be predicted: everything the core needs of a study.

    Parameters
    ----------
    X
        Expression, samples x genes: dense float array or CSR.
    features, samples
        Unique names of the columns and rows of ``X``.
    target
        One value a sample, nothing missing: class labels (str) or numbers.
    classes
        Class labels in order, the reference first; empty for regression.
    groups, batch
        One label a sample (donor; technical batch), or None.
    covariates
        Frame of samples x covariates, or None.
    """

    X: Any
    features: pd.Index
    samples: pd.Index
    target: np.ndarray
    classes: tuple[str, ...] = ()
    groups: np.ndarray | None = None
    batch: np.ndarray | None = None
    covariates: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        n, p = self.X.shape
        if sparse.issparse(self.X) and self.X.format != "csr":
            raise InputError(f"A sparse X must be CSR, got {self.X.format}.")
        if (len(self.samples), len(self.features)) != (n, p):
            raise InputError(
                f"X is {n} x {p}, but there are {len(self.samples)} samples and {len(self.features)} genes."
            )
        if not n or not p:
            raise InputError(f"There are {'no samples' if not n else 'no genes'}: X is {n} x {p}.")
        for what, index in (("Gene", self.features), ("Sample", self.samples)):
            if index.has_duplicates:
                fix = "adata.var_names_make_unique()" if what == "Gene" else "adata.obs_names_make_unique()"
                raise DuplicateNamesError(
                    f"{what} names are duplicated ({first_duplicates(index)}, ...); results could not be told apart. "
                    f"Make them unique first, for example with {fix}."
                )
        for name in ("target", "groups", "batch", "covariates"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise InputError(f"{name} has {len(value)} values for {n} samples.")
        if pd.isna(self.target).any():
            raise TargetError("The target has missing values.")
        if self.classes:
            unknown = set(self.target) - set(self.classes)
            if unknown:
                raise TargetError(f"The target has values outside its classes: {sorted(unknown)}.")
        for name in ("groups", "batch"):
            value = getattr(self, name)
            if value is not None and pd.isna(value).any():
                raise InputError(f"{name} has missing values; every sample needs one.")
        if self.covariates is not None and self.covariates.isna().to_numpy().any():
            raise InputError("Covariates have missing values; fill them or drop the samples.")
        if self.covariates is not None:
            numbers = self.covariates.select_dtypes("number").to_numpy(float)
            if not np.isfinite(numbers).all():
                raise InputError("Covariates have infinite values; replace them or drop the samples.")

    @property
    def task(self) -> Task:
        """``"classification"`` where there are classes, else ``"regression"``."""
        return "classification" if self.classes else "regression"

    def take(self, rows: np.ndarray) -> Cohort:
        """The same study with these samples only (positions, or a boolean array); itself where these are all, in their order."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        if np.array_equal(rows, np.arange(len(self.samples))):
            return self  # the matrix is not copied

        def of(values: Any) -> Any:
            return None if values is None else values[rows]

        return replace(
            self,
            X=self.X[rows],
            samples=self.samples[rows],
            target=self.target[rows],
            groups=of(self.groups),
            batch=of(self.batch),
            covariates=None if self.covariates is None else self.covariates.iloc[rows],
        )


@dataclass(frozen=True, eq=False)
class Validation:
    """Out-of-fold predictions, and all that is needed to derive, check and explain them.

    Parameters
    ----------
    predictions
        Long frame, one row per repeat, sample and model: ``repeat fold sample model observed predicted`` and, for
        classification, one probability column ``prob_{class}`` per class.
    folds
        ``repeat fold sample``: the fold in which each sample was held out.
    screens
        ``repeat fold feature statistic``: genes chosen on the training part of each fold, by the size of the statistic.
    spec
        What was asked: every argument, the seed included.
    audit
        Findings on the study: ``check level message``.
    null
        ``permutation model metric value`` from permuted targets, or None.
    discoveries
        p and q of each gene from the same runs, or None.
    tuned
        ``repeat fold model parameter value`` of tuned hyperparameters.
    fitted
        Fitted pipelines by ``(repeat, fold, model)``; in memory only.
    test
        Predictions of the test set, held out of all of the above, by models fitted to all other samples:
        ``sample model observed predicted`` and ``prob_{class}``; or None.
    final
        The models that predicted the test set, by name; in memory only.
    baselines
        Names in ``predictions`` that are no models to choose from: what covariates predict alone, and with the genes.
    history
        ``repeat fold model epoch loss val_loss`` and a score, of models that learn in epochs (repeat and fold are -1 for
        the test set's); or None.
    """

    predictions: pd.DataFrame
    folds: pd.DataFrame
    screens: pd.DataFrame
    spec: Mapping[str, Any]
    audit: pd.DataFrame
    classes: tuple[str, ...] = ()
    null: pd.DataFrame | None = None
    discoveries: Discoveries | None = None
    tuned: pd.DataFrame | None = None
    fitted: Mapping[tuple[int, int, str], Any] = field(default_factory=dict, repr=False)
    test: pd.DataFrame | None = None
    final: Mapping[str, Any] = field(default_factory=dict, repr=False)
    baselines: tuple[str, ...] = ()
    history: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        scored = self.predictions.groupby(["repeat", "model", "sample"], observed=True).size()
        if (scored > 1).any():
            raise InputError("A sample was scored more than once in one repeat.")
        held_out = self.folds.groupby(["repeat", "sample"], observed=True).size()
        if (held_out > 1).any():
            raise InputError("A sample is held out in more than one fold of a repeat.")
        if self.test is not None and set(self.test["sample"].astype(str)) & set(self.folds["sample"].astype(str)):
            raise InputError("A sample of the test set took part in the cross-validation.")
        for frame in (self.predictions, self.test) if self.classes else ():
            if frame is not None:
                total = frame[[prob_column(name) for name in self.classes]].sum(axis=1)
                if not np.allclose(total, 1.0, atol=1e-5):
                    raise InputError("Class probabilities do not add up to one.")

    @property
    def task(self) -> Task:
        """``"classification"`` or ``"regression"``."""
        return "classification" if self.classes else "regression"

    @property
    def models(self) -> list[str]:
        """Names of the models, in the order asked for, without the baselines."""
        return [name for name in dict.fromkeys(self.predictions["model"].astype(str)) if name not in self.baselines]

    def __repr__(self) -> str:
        s = self.spec
        held = "" if self.test is None else f", {self.test['sample'].nunique()} samples held out as a test set"
        return (
            f"Validation: {self.task} of {s.get('target', 'target')!r}, {', '.join(self.models)}; "
            f"{s.get('n_repeats')} x {s.get('n_splits')} folds, screen {s.get('screen')}{held}"
        )


def additivity(base: np.ndarray | float, total: np.ndarray, size: np.ndarray, margin: np.ndarray) -> float:
    """Largest departure of ``base + total`` from ``margin``, relative to what was added up; all samples x outputs.

    ``total``, ``size``: sums of the values and of their absolute values.
    """
    scale = np.maximum(np.abs(margin), np.abs(base) + size)
    return float(np.max(np.abs(base + total - margin) / np.where(scale > 0, scale, 1.0), initial=0.0))


@dataclass(frozen=True, eq=False)
class Attribution:
    """SHAP values of held-out samples, from models that did not see them.

    Parameters
    ----------
    model
        The model explained, or ``"consensus"``: the mean over models, each divided by its mean total absolute SHAP a sample.
    outputs
        What is explained: the positive class (two classes), each class (more), or ``("prediction",)``.
    values
        Output name -> CSR of samples x genes, averaged over repeats. A gene that a fold did not use is 0 there.
    base, margin
        samples x outputs: the expected and the actual output; ``base + values.sum(1) == margin``.
    unit
        ``"log-odds"``, ``"probability"``, ``"margin"`` (of a support vector machine), the target's unit, or ``"share"`` for the
        consensus. Of calibrated models the model before its calibration is explained, and the unit says so.
    per_gene
        One row a gene. ``shap``: mean absolute value over samples (and outputs); ``shap_rank`` with its 95 % interval
        ``rank_low rank_high``; ``sd``: standard deviation of ``shap`` over repeats; ``rho``: rank correlation of expression with
        the values (``rho:{class}`` of more than two classes), ``direction``: its sign; ``screened``: share of folds whose screen
        held the gene; ``used``: share of fold models that used it (a value that is not 0); ``n_models``: models that used it,
        ``n_agree``: those of them with the direction of the values returned (of more than two classes: at the class that the
        gene moves most). Of each model: ``shap:{model}`` (share of its total), ``direction:{model}``, ``used:{model}``.
    per_model
        One row a model: ``model unit explainer``; ``exact``, or sampled with a ``sampling_error`` (standard error of a value
        relative to its size, mean over genes); ``total``: mean total absolute value of a sample, in its unit; ``genes_used`` and
        ``genes_screened`` in any fold, ``genes_per_fold`` used in a fold (mean); ``max_error``: departure from additivity.
    n_repeats
        How many repeats were explained.
    """

    model: str
    outputs: tuple[str, ...]
    values: Mapping[str, sparse.csr_matrix]
    base: np.ndarray
    margin: np.ndarray
    unit: str
    per_gene: pd.DataFrame
    per_model: pd.DataFrame
    n_repeats: int = 1

    def __repr__(self) -> str:
        used = int((self.per_gene["shap"] > 0).sum())
        genes = f"{used:,} of {len(self.per_gene):,} genes used"
        return f"Attribution: {self.model}, {self.base.shape[0]:,} held-out samples, {genes}, in {self.unit}"

    def __post_init__(self) -> None:
        n = self.base.shape[0]
        for name in self.outputs:
            if self.values[name].shape != (n, len(self.per_gene)):
                raise InputError(f"SHAP values of {name!r} have shape {self.values[name].shape}.")

    @property
    def max_error(self) -> float:
        """Largest relative departure from ``base + sum(values) == margin`` over held-out samples."""
        total, size = (
            np.column_stack([np.asarray(of(self.values[name]).sum(axis=1)).ravel() for name in self.outputs])
            for of in (lambda m: m, abs)
        )
        return additivity(self.base, total, size, self.margin)
