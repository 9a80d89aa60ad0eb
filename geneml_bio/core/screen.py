"""Gene screens that run inside a fold: scikit-learn transformers around limma's moderated statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from .errors import DesignError, InputError
from .moderated import contrasts_fit, e_bayes, lm_fit

_RANK_TOL = 1e-9
_LARGEST = 1e150  # the square of more is infinite


class _DenseSelector(SelectorMixin, BaseEstimator):
    """Selects columns and hands them on dense: few enough after a screen, and safe for every model."""

    def transform(self, X: Any) -> np.ndarray:
        """The selected columns as a dense array, samples x selected genes."""
        out = super().transform(X)
        return out.toarray() if sparse.issparse(out) else np.asarray(out)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class ModeratedScreen(_DenseSelector):
    """Keep the ``k`` genes with the largest moderated statistic of limma, computed on the samples given to ``fit``.

    The moderated t (two classes), the moderated F (more classes) or the moderated t of the slope (continuous target),
    adjusted for covariates. Inside a pipeline it is refitted on the training part of each fold.

    Parameters
    ----------
    k
        How many genes to keep; ``"all"`` keeps every gene (and makes a sparse matrix dense).
    task
        ``"classification"``, ``"regression"`` or ``"auto"`` (by the type of ``y``).
    trend
        Whether the prior variance follows mean expression (limma-trend).

    Attributes
    ----------
    statistic_ : ndarray of shape (n_genes,)
        Moderated t (signed) or F; NaN where a gene has none.
    df_prior_, s2_prior_
        Hyperparameters of eBayes on these samples.

    References
    ----------
    Smyth (2004), Stat Appl Genet Mol Biol 3(1):3; R: ``limma::eBayes``.
    """

    def __init__(self, k: int | str = 200, *, task: str = "auto", trend: bool = False):
        self.k = k
        self.task = task
        self.trend = trend

    def fit(self, X: Any, y: Any, covariates: Any = None) -> ModeratedScreen:
        """Compute the statistic on these samples.

        Parameters
        ----------
        X
            Expression, samples x genes, dense or CSR.
        y
            Class labels or numbers, one a sample.
        covariates
            Numeric array, samples x covariates, to adjust for; or None.
        """
        if self.k != "all" and (isinstance(self.k, str | bool) or self.k < 1):
            raise InputError(f"k must be a positive count or 'all', got {self.k!r}.")
        X, y = validate_data(
            self, X, y, accept_sparse=["csr", "csc"], dtype="numeric", y_numeric=self.task == "regression"
        )
        if sparse.issparse(X):
            X = sparse.csr_matrix(X)  # sparse arrays lack methods of matrices
        largest = float(np.abs(X.data if sparse.issparse(X) else X).max(initial=0.0))
        if largest > _LARGEST:
            raise InputError(f"Values of {largest:.3g} are too large to have a variance; rescale or drop those genes.")
        task = self._task(y)
        if task == "classification":
            check_classification_targets(y)
        design, tested = design_of(np.asarray(y), task, covariates)
        fit = lm_fit(X, design)
        pick = np.zeros((design.shape[1], tested))
        pick[np.arange(1, tested + 1), np.arange(tested)] = 1.0
        bayes = e_bayes(contrasts_fit(fit, pick), trend=self.trend, lods=False)
        self.statistic_ = np.asarray(bayes.t[:, 0] if tested == 1 else bayes.F, dtype=float)
        self.df_prior_, self.s2_prior_ = bayes.df_prior, bayes.s2_prior
        return self

    def _task(self, y: Any) -> str:
        if self.task in ("classification", "regression"):
            return self.task
        if self.task != "auto":
            raise InputError(f"task must be 'auto', 'classification' or 'regression', got {self.task!r}.")
        return "classification" if type_of_target(y) in ("binary", "multiclass") else "regression"

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self, "statistic_")
        mask = np.zeros(len(self.statistic_), dtype=bool)
        mask[self.ranking()] = True
        return mask

    def ranking(self) -> np.ndarray:
        """Indices of the kept genes, the strongest first; ties keep the order of the columns."""
        check_is_fitted(self, "statistic_")
        return strongest(self.statistic_, self.k)


class FixedScreen(_DenseSelector):
    """Keep genes that were chosen on other samples (:class:`geneml_bio.ExternalScreen`).

    Parameters
    ----------
    columns
        Positions of the genes to keep.
    """

    def __init__(self, columns: Any = ()):
        self.columns = columns

    def fit(self, X: Any, y: Any = None, covariates: Any = None) -> FixedScreen:
        """Only remembers the number of columns."""
        validate_data(self, X, accept_sparse=["csr", "csc"], dtype="numeric")
        self.statistic_ = np.full(self.n_features_in_, np.nan)
        return self

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self, "statistic_")
        mask = np.zeros(self.n_features_in_, dtype=bool)
        mask[np.asarray(self.columns, dtype=int)] = True
        return mask

    def ranking(self) -> np.ndarray:
        """Indices of the kept genes in the order given."""
        return np.asarray(self.columns, dtype=int)


def strongest(statistic: np.ndarray, k: int | str) -> np.ndarray:
    """Positions of the ``k`` largest statistics in size, the largest first; ties to ten digits keep the order of the columns."""
    strength = np.nan_to_num(np.abs(statistic), nan=-1.0, posinf=np.inf)
    digits, power = np.frexp(strength)
    strength = np.ldexp(np.round(np.ldexp(digits, 34)), power - 34)
    if k == "all" or int(k) >= len(strength):
        return np.argsort(-strength, kind="stable")
    last = len(strength) - int(k)
    enough = np.flatnonzero(strength >= np.partition(strength, last)[last])
    return enough[np.argsort(-strength[enough], kind="stable")][: int(k)]


def design_of(y: np.ndarray, task: str, covariates: Any) -> tuple[np.ndarray, int]:
    """Design matrix ``[1, target columns, covariates]`` and the number of target columns."""
    return design_and_kept(y, task, covariates)[:2]


def design_and_kept(y: np.ndarray, task: str, covariates: Any) -> tuple[np.ndarray, int, list[int]]:
    """:func:`design_of`, and the positions of the covariates in it: of those that others determine here, none is."""
    n = len(y)
    if task == "classification":
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"The screen needs at least two classes, got one class only: {classes[0]!r}.")
        columns = np.eye(len(classes))[codes][:, 1:]
    else:
        columns = np.asarray(y, dtype=float)[:, None]
        spread = columns.std()
        if not spread > 0:
            raise InputError(
                f"The screen needs a target that varies; got {len(y)} sample{'s' * (len(y) > 1)} of one value."
            )
        columns = (columns - columns.mean()) / spread
    ones = np.ones((n, 1))
    if covariates is None:
        return np.hstack([ones, columns]), columns.shape[1], []
    adjust, kept = _independent(ones, np.asarray(covariates, dtype=float).reshape(n, -1))
    known = np.hstack([ones, adjust])
    if np.linalg.matrix_rank(np.hstack([known, columns]), tol=1e-7) < known.shape[1] + columns.shape[1]:
        raise DesignError("The covariates determine the target in the training part of a fold; drop a covariate.")
    return np.hstack([ones, columns, adjust]), columns.shape[1], kept


def _independent(base: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Standardised covariates that add rank to what is there, and their positions; a level absent from a fold adds none."""
    kept: list[np.ndarray] = []
    where: list[int] = []
    q = base / np.linalg.norm(base)
    for place, column in enumerate(columns.T):
        scale = np.linalg.norm(column - column.mean())
        if scale <= _RANK_TOL * max(1.0, float(np.abs(column).max())):
            continue
        unit = (column - column.mean()) / scale
        rest = unit - q @ (q.T @ unit)
        size = np.linalg.norm(rest)
        if size > 1e-7:
            kept.append(unit)
            where.append(place)
            q = np.column_stack([q, rest / size])
    return np.column_stack(kept) if kept else np.empty((len(base), 0)), where
