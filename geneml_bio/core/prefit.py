"""Screens computed beforehand for a fold, and models fitted to the chosen columns alone: a fold's data are never copied whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline

from .models import median_imputer
from .screen import FixedScreen, ModeratedScreen, design_of, strongest
from .shared_screen import Ask, Statistic, medians, moderated_statistics

Splits = list[tuple[np.ndarray, np.ndarray]]


class Plan(NamedTuple):
    """What one candidate does with a training part.

    Positions: ``rows`` (what is learned from) in the training part; ``inner`` (folds of calibration) and ``tried`` (folds of tuning)
    in ``rows``; None where there are none.
    """

    rows: np.ndarray
    inner: Splits | None
    tried: Splits | None

    def sets(self) -> list[np.ndarray]:
        """Every set of samples that a screen is fitted to, in positions of the training part."""
        splits = {train.tobytes(): train for splits in (self.inner, self.tried) for train, _ in splits or ()}
        return [self.rows, *(self.rows[train] for train in splits.values())]


class Chosen(NamedTuple):
    """What a screen keeps: the genes, strongest first, and their statistic; that of all genes where it is wanted."""

    ranking: np.ndarray
    strength: np.ndarray
    statistic: Statistic | None = None

    @property
    def columns(self) -> np.ndarray:
        """The genes in the order of the data."""
        return np.sort(self.ranking)


class Ready(NamedTuple):
    """The plan of a candidate in a fold, and what the screen keeps of each set of samples (by ``rows.tobytes()``)."""

    plan: Plan
    chosen: dict[bytes, Chosen]


def can_share(screen: BaseEstimator, X: Any) -> bool:
    """Whether the screens of many folds can be computed together: ours, on numbers that are finite or missing."""
    if type(screen) not in (ModeratedScreen, FixedScreen):
        return False
    if sparse.issparse(X) and X.format not in ("csr", "csc"):
        return False
    values = X.data if sparse.issparse(X) else X
    if values.dtype.kind not in "fiu":
        return False
    if sparse.issparse(X) and not X.has_canonical_format:
        return False
    return bool(np.isfinite(X.sum(dtype=np.float64))) or not _infinite(values)


def _infinite(values: np.ndarray) -> bool:
    rows = values.reshape(len(values), -1)
    return any(np.isinf(rows[start : start + 1024]).any() for start in range(0, len(rows), 1024))


def choose(
    screen: BaseEstimator,
    X: Any,
    sets: list[tuple[np.ndarray, np.ndarray, np.ndarray | None, bool]],
    impute: bool,
) -> list[Chosen]:
    """What the screen keeps of each set of samples.

    Parameters
    ----------
    screen
        The unfitted screen.
    X
        samples x genes.
    sets
        Positions of samples; their target; their covariates or None; whether the statistic of all genes is wanted.
    impute
        Whether missing values are filled by the median of the same samples.
    """
    if isinstance(screen, FixedScreen):
        columns = np.asarray(screen.columns, dtype=int)
        return [Chosen(columns, np.full(len(columns), np.nan))] * len(sets)
    asks = [Ask(rows, *design_of(y, screen.task, given)) for rows, y, given, _ in sets]
    made = []
    for found, (*_, whole) in zip(moderated_statistics(X, asks, trend=screen.trend, impute=impute), sets, strict=True):
        ranking = strongest(found.values, screen.k)
        made.append(Chosen(ranking, found.values[ranking], found if whole else None))
    return made


def take(X: Any, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Some samples x some genes, dense; nothing else is copied."""
    if not sparse.issparse(X):
        if not X.flags.c_contiguous:
            return X[np.ix_(rows, columns)]
        return np.asarray(X.reshape(-1).take(rows[:, None] * X.shape[1] + columns))  # in a quarter of the time
    if X.format == "csr" and len(rows) < X.shape[0] // 8:
        return X[rows][:, columns].toarray()
    return X[:, columns][rows].toarray()


def narrowed(X: Any, ready: Mapping[str, Ready] | None, most: int) -> tuple[Any, dict[str, Ready]] | None:
    """The columns of ``X`` that any of the screens keeps, and the screens in positions of these.

    None where they are more than ``most``, or where a copy would lie otherwise in memory than ``X``.
    """
    chosen = [one for each in (ready or {}).values() for one in each.chosen.values()]
    if ready is None or not chosen or not (sparse.issparse(X) or X.flags.c_contiguous):
        return None
    used = np.unique(np.concatenate([one.ranking for one in chosen]))
    if len(used) > most:
        return None
    part = X[:, used] if sparse.issparse(X) else take(X, np.arange(X.shape[0]), used)
    return part, {
        name: Ready(
            each.plan,
            {key: one._replace(ranking=np.searchsorted(used, one.ranking)) for key, one in each.chosen.items()},
        )
        for name, each in ready.items()
    }


class Columns(BaseEstimator):
    """In place of imputer and screen, over positions of samples in place of samples: gives the columns chosen beforehand.

    Parameters
    ----------
    X
        The study, samples x genes; shared by all clones.
    chosen
        Set of samples (``rows.tobytes()``) -> what its screen keeps.
    impute
        Whether missing values are filled by the median of the samples given to ``fit``.
    """

    def __init__(self, X: Any, chosen: dict[bytes, Chosen], impute: bool):
        self.X = X
        self.chosen = chosen
        self.impute = impute

    def __sklearn_clone__(self) -> Columns:
        return Columns(self.X, self.chosen, self.impute)

    def fit(self, rows: Any, y: Any = None, covariates: Any = None) -> Columns:
        """Look up what the screen keeps of these samples (covariates accounted for), and find the medians of those genes."""
        rows = np.asarray(rows).ravel()
        self.chosen_ = self.chosen[rows.tobytes()]
        self.columns_ = self.chosen_.columns
        if self.impute:
            values = take(self.X, rows, self.columns_)
            there = ~np.isnan(values).all(axis=0)
            self.fill_ = np.zeros(values.shape[1], dtype=values.dtype)
            self.fill_[there] = medians(values[:, there])
        return self

    def fit_transform(self, rows: Any, y: Any = None, covariates: Any = None) -> np.ndarray:
        """Both for the same samples."""
        return self.fit(rows, y, covariates).transform(rows)

    def transform(self, rows: Any) -> np.ndarray:
        """The chosen columns of these samples."""
        values = take(self.X, np.asarray(rows).ravel(), self.columns_)
        return np.where(np.isnan(values), self.fill_, values) if self.impute else values


def without_columns(fitted: BaseEstimator) -> BaseEstimator:
    """A model fitted behind :class:`Columns` without it: scaler and model, or the calibration around them."""
    if isinstance(fitted, Pipeline):
        return Pipeline(fitted.steps[1:])
    one = fitted.calibrated_classifiers_[0]
    one.estimator = Pipeline(one.estimator.steps[1:])
    return fitted.set_params(estimator=clone(one.estimator))


def with_front(fitted: BaseEstimator, front: list[tuple[str, BaseEstimator]], n_genes: int) -> BaseEstimator:
    """What :func:`without_columns` left as a model of samples x genes: with a fitted imputer and screen in front."""
    if isinstance(fitted, Pipeline):
        return Pipeline([*front, *fitted.steps])
    one = fitted.calibrated_classifiers_[0]
    one.estimator = Pipeline([*front, *one.estimator.steps])
    fitted.n_features_in_ = n_genes
    return fitted.set_params(estimator=clone(one.estimator))


def fitted_screen(screen: BaseEstimator, chosen: Chosen, n_genes: int) -> BaseEstimator:
    """The screen as its own ``fit`` would have left it."""
    made: Any = clone(screen)
    made.n_features_in_ = n_genes
    made.statistic_ = np.full(n_genes, np.nan)
    if chosen.statistic is not None:
        made.statistic_ = np.asarray(chosen.statistic.values, dtype=float)
        made.df_prior_, made.s2_prior_ = chosen.statistic.df_prior, chosen.statistic.s2_prior
    return made


def fitted_imputer(X: np.ndarray, rows: np.ndarray) -> SimpleImputer:
    """The imputer as it would be after these samples, fitted to a bounded number of genes at a time."""
    step = max((1 << 22) // max(len(rows), 1), 1)
    parts = [median_imputer().fit(X[rows, start : start + step]) for start in range(0, X.shape[1], step)]
    made = parts[0]
    made.statistics_ = np.concatenate([part.statistics_ for part in parts])
    made.n_features_in_ = X.shape[1]
    return made
