"""A gene list that is said to come from other samples: its columns in the study, and whether the saying can be true."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.stats import norm, t

from .errors import DataWarning, InputError, LeakageError
from .schema import Cohort, ExternalScreen
from .screen import FixedScreen

_GENES = 500  # looked at, at most
_FEWEST = 10  # fewer agree by chance
_NEAR = 0.05  # of a standard error; of other samples 3 in 100 genes come as near
_MOST = 0.9  # share of the genes
_FEWEST_OF_DONORS, _NEAR_DONORS, _MOST_DONORS = 100, 0.3, 0.5  # the same for pseudobulks
_LOGS = 30.0  # larger values are no logs
_WEAK, _FEWEST_WEAK = 2.0, 100  # genes of little evidence, whose statistics other samples give anew
_ALIKE, _OFF = 0.8, 0.6  # their correlation at least, and root mean square difference at most


def external_screen(screen: ExternalScreen, cohort: Cohort, learning: np.ndarray | None = None) -> FixedScreen:
    """The columns of an external table's top genes.

    Parameters
    ----------
    screen, cohort
        The table, and the study.
    learning
        Boolean array of the samples outside the test set; None: all.

    Raises
    ------
    InputError
        If the table shares no gene with the study.
    LeakageError
        If the table shows that it was made of the samples of the study (:func:`made_of`).
    """
    columns = cohort.features.get_indexer(pd.Index(screen.features))
    if not (columns >= 0).any():
        raise InputError(
            f"None of the {len(columns)} genes of the external screen is among the genes of the study "
            f"(for example {screen.features[0]!r} against {cohort.features[0]!r}); are they in the same id space?"
        )
    if (columns < 0).any():
        message = f"{int((columns < 0).sum())} of the {len(columns)} genes of the external screen are not in the study."
        warnings.warn(message, DataWarning, stacklevel=5)
    parts = [None] if learning is None or learning.all() else [None, learning]
    for part in parts:
        if found := made_of(screen.de.frame, cohort, part):
            raise LeakageError(
                f"The external screen is said to come from other samples, but its {found} those of the samples of this study: it was made "
                "of them, and the validation would be optimistic. Pass a count, such as screen=200, which is refitted inside each fold."
            )
    return FixedScreen(columns=columns[columns >= 0])


def made_of(frame: pd.DataFrame, cohort: Cohort, part: np.ndarray | None = None) -> str:
    """Whether a DE table was made of these samples: the column that says so, in words; empty where none does.

    ``AveExpr`` is limma's mean of a gene over the samples, whatever the design; without covariates ``logFC`` is the difference of the
    means of two classes. Other samples do not have the same means. Nor do they have the same test statistics of genes for which there is
    little evidence, whatever the test was (:func:`_same_evidence`). Where there are donors and two classes, a table of their pseudobulks is
    recognised too (:func:`_of_donors`). Tables of some of the samples are not, nor are those of a test that adjusts for much.

    Parameters
    ----------
    frame
        In limma's names, by gene.
    cohort, part
        The study, and a boolean array of samples of it; None: all.
    """
    places = cohort.features.get_indexer(pd.Index(frame.index))
    rows = np.flatnonzero(places >= 0)
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _GENES)).astype(int))] if len(rows) else rows
    if len(rows) < _FEWEST:
        return ""
    X, target, groups = cohort.X[:, places[rows]], cohort.target, cohort.groups
    X = np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=float)
    if part is not None:
        X, target, groups = X[part], target[part], None if groups is None else groups[part]
    if "AveExpr" in frame and _same(frame["AveExpr"].to_numpy(float)[rows], *_mean(X)):
        return "AveExpr are"
    if "logFC" in frame and len(cohort.classes) == 2:
        effect = frame["logFC"].to_numpy(float)[rows]
        (one, e1), (two, e2) = (_mean(X[target == name]) for name in cohort.classes)
        if any(_same(sign * effect, two - one, np.hypot(e1, e2)) for sign in (1.0, -1.0)):
            return "logFC are"
    if groups is not None and len(cohort.classes) == 2 and {"AveExpr", "logFC"} <= set(frame) and not np.isnan(X).any():
        stated = frame[["AveExpr", "logFC"]].to_numpy(float)[rows]
        if _of_donors(stated, X, target, groups):
            return "AveExpr and logFC are (in pseudobulks, by donor)"
    same = _same_evidence(_signed(frame.iloc[rows]), _own_evidence(X, target, cohort.classes))
    return "test statistics are" if same else ""


def _signed(frame: pd.DataFrame) -> np.ndarray:
    """The evidence of each gene as a normal deviate with the sign of its effect; NaN where the table does not say."""
    sign = next((np.sign(frame[name].to_numpy(float)) for name in ("logFC", "t") if name in frame), None)
    if sign is None or "P.Value" not in frame:
        return np.full(len(frame), np.nan)
    return sign * norm.isf(np.clip(frame["P.Value"].to_numpy(float) / 2, 1e-300, 0.5))


def _own_evidence(X: np.ndarray, target: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """The same in the samples of the study: of Welch's t of two classes, or of the correlation with a number."""
    with np.errstate(all="ignore"):
        if len(classes) == 2:
            (one, e1), (two, e2) = (_mean(X[target == name]) for name in classes)
            value = (two - one) / np.hypot(e1, e2)
        elif classes:
            return np.full(X.shape[1], np.nan)
        else:
            y = np.asarray(target, dtype=float) - np.mean(np.asarray(target, dtype=float))
            r = y @ X / np.sqrt((y @ y) * ((X - X.mean(axis=0)) ** 2).sum(axis=0))
            value = r * np.sqrt((len(y) - 2) / (1 - r**2))
        half = t.sf(np.abs(value), max(len(target) - 2, 1))
        return np.asarray(np.sign(value) * norm.isf(np.maximum(half, 1e-300)))


def _same_evidence(stated: np.ndarray, own: np.ndarray) -> bool:
    """Whether genes of little evidence in the table have the same evidence in the study.

    Of other samples it is new noise. However large effects and studies, the correlation among genes that a table of independent samples
    gives a ``|z|`` below 2 stays below 0.76 (where any effect is as likely as any other; 0.63 for studies of one size; 0 without effects);
    in simulations with a factor that makes 80 % of each gene's variance it reached 0.84, and no root mean square difference was below 0.74.
    Of the same samples Wilcoxon's test has 0.8 to 0.95 and 0.3 to 0.5, others come nearer.
    """
    weak = np.isfinite(stated) & np.isfinite(own) & (np.abs(stated) < _WEAK)
    if weak.sum() < _FEWEST_WEAK or not np.std(stated[weak]) > 0 or not np.std(own[weak]) > 0:
        return False
    one, two = stated[weak], own[weak]
    r = np.corrcoef(one, two)[0, 1]
    return bool(abs(r) >= _ALIKE and np.sqrt(np.mean((one - np.sign(r) * two) ** 2)) <= _OFF)


def _of_donors(stated: np.ndarray, X: np.ndarray, target: np.ndarray, groups: np.ndarray) -> bool:
    """Whether AveExpr and logFC are those of pseudobulks: sums of the cells of a donor (and class), as log counts per million.

    The sums are not known, but nearly what is known of them: the mean of the cells' normalised values. Of a donor's own cells both
    statistics then come within 0.3 of their standard errors for seven genes in ten, of other donors of the same population for
    two in ten. Genes of low expression, where the prior count matters, are left out; so is a shift of all genes, which the unit makes.
    """
    code, units = pd.factorize(pd.MultiIndex.from_arrays([groups.astype(str), target.astype(str)]))
    second = units.get_level_values(1) == np.unique(target.astype(str))[1]
    sizes = np.bincount(code)[:, None]
    if _same(stated[:, 0], *_mean(_sums(X, code) / sizes)):  # means of logs
        return True
    if (
        min(second.sum(), (~second).sum()) < 2
        or X.shape[1] < _FEWEST_OF_DONORS
        or (X < 0).any()
        or X.max(initial=0) > _LOGS
    ):
        return False
    for natural in (True, False):
        cells = np.expm1(X) if natural else np.exp2(X) - 1.0
        bulk = _sums(cells, code) / sizes
        high = (bulk > 0).all(axis=0) & (bulk.mean(axis=0) >= np.median(bulk.mean(axis=0)))
        if high.sum() < _FEWEST_OF_DONORS // 2:
            continue
        logs, (average, effect) = np.log2(bulk[:, high]), stated[high].T
        mean, error = _mean(logs)
        (one, e1), (two, e2) = _mean(logs[~second]), _mean(logs[second])
        off = average - mean
        near = np.abs(off - np.nanmedian(off)) <= _NEAR_DONORS * error
        for sign in (1.0, -1.0):
            close = np.abs(sign * effect - (two - one)) <= _NEAR_DONORS * np.hypot(e1, e2)
            if min(near.mean(), close.mean()) >= _MOST_DONORS:
                return True
    return False


def _sums(X: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Of each gene over the rows of each code."""
    return np.stack([np.bincount(code, weights=column) for column in X.T], axis=1)


def _mean(X: np.ndarray) -> tuple[Any, Any]:
    """Mean of each gene, missing values aside, and its standard error."""
    known = np.isfinite(X)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, X, 0.0).sum(axis=0) / n
        return mean, np.sqrt((np.where(known, X - mean, 0.0) ** 2).sum(axis=0) / n / np.maximum(n - 1, 1))


def _same(stated: np.ndarray, found: np.ndarray, error: np.ndarray) -> bool:
    """Whether nearly all genes have the number found; genes that do not vary tell nothing."""
    told = np.isfinite(stated) & np.isfinite(found) & (error > 0)
    near = np.abs(stated - found)[told] <= _NEAR * error[told]
    return bool(told.sum() >= _FEWEST and near.mean() >= _MOST)
