"""Model-X knockoffs: which genes say something about the target that all the others do not.

A knockoff copy of each gene keeps its correlations with the other genes and knows nothing of the target; a gene is called if a model
of genes and copies prefers it to its copy often enough (Candes, Fan, Janson and Lv 2018). Statistics and thresholds are those of
hidimstat. The sampler is ours, since that of hidimstat 0.4 draws copies of another covariance (docs: decisions, 0010), and so is e-BH,
which there calls a gene where none can be called.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LassoCV
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from .errors import InputError, MissingPackageError

LEAST = 20  # samples: fewer tell nothing of correlations
_EDGE = 0.999  # of the largest self-distance for which copies exist: a covariance on the edge has no factor


@dataclass(frozen=True, eq=False)
class Knockoffs:
    """What the knockoff filter says.

    Parameters
    ----------
    W
        draws x genes: how much more the model uses a gene than its copy (negative: less).
    q
        The smallest false discovery rate at which each gene is called (1: at none).
    called
        Boolean, at the rate asked for.
    self_correlation
        Correlation of each gene with its copy: the nearer to 1, the less power there is for the gene.
    n_blocks
        How many blocks of correlated genes the copies were made in.
    """

    W: np.ndarray
    q: np.ndarray
    called: np.ndarray
    self_correlation: np.ndarray
    n_blocks: int

    def __repr__(self) -> str:
        return f"Knockoffs: {int(self.called.sum()):,} of {len(self.q):,} genes called, {self.n_blocks:,} blocks"


class BlockKnockoffs(BaseEstimator):
    """Gaussian knockoffs in blocks of correlated genes, equicorrelated within each; a ``ko_generator`` of hidimstat.

    Genes are clustered by absolute correlation (average linkage); genes of different blocks are taken as independent. In a block the
    covariance is that of Ledoit and Wolf (2004). The copies of a block with correlations ``S`` have covariance ``S``, and ``S - s I`` with
    the genes, for the largest ``s`` up to 1 that allows it (Candes, Fan, Janson and Lv 2018, equicorrelated construction).

    Parameters
    ----------
    threshold
        Mean absolute correlation of two clusters up to which they are joined.
    """

    def __init__(self, threshold: float = 0.3):
        self.threshold = threshold

    def fit(self, X: np.ndarray, y: Any = None) -> BlockKnockoffs:
        """Learn the blocks and their covariances.

        Parameters
        ----------
        X
            Samples x genes, each gene with mean 0 and variance 1 (or constant).
        y
            Ignored.
        """
        self.X_ = np.asarray(X, dtype=float)
        self.n_features_in_ = self.X_.shape[1]
        self.blocks_ = correlation_blocks(self.X_, self.threshold)
        self.s_ = np.ones(self.n_features_in_)
        self.parts_ = [self._part(columns) for columns in self.blocks_]
        return self

    def _part(self, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected copies given the genes, and the factor of what is random in them."""
        own = self.X_[:, columns]
        if len(columns) == 1:
            return np.zeros_like(own), np.ones((1, 1))
        S, _ = ledoit_wolf(own, assume_centered=True)
        size = np.sqrt(np.diag(S))
        S /= np.outer(size, size)
        s, mean, covariance = equicorrelated(S)
        self.s_[columns] = s
        return own @ mean, np.linalg.cholesky(covariance)

    def sample(self, n_repeats: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw copies: draws x samples x genes."""
        rng = np.random.default_rng(random_state)
        out = np.empty((n_repeats, *self.X_.shape))
        for copy in out:
            noise = rng.normal(size=self.X_.shape)
            for columns, (mean, factor) in zip(self.blocks_, self.parts_, strict=True):
                copy[:, columns] = mean + noise[:, columns] @ factor.T
        return out


def equicorrelated(S: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """For correlations ``S``: s; the matrix M with E[copies | X] = X M; and the covariance of the copies given X."""
    one = np.eye(len(S))
    s = _EDGE * min(1.0, 2.0 * float(np.linalg.eigvalsh(S)[0]))
    inverse = np.linalg.inv(S)
    covariance = 2.0 * s * one - s**2 * inverse
    return s, one - s * inverse, (covariance + covariance.T) / 2.0


def correlation_blocks(X: np.ndarray, threshold: float) -> list[np.ndarray]:
    """Columns by cluster: average linkage on 1 - abs(r), cut at ``1 - threshold``; columns are standardised."""
    n, p = X.shape
    if p == 1:
        return [np.array([0])]
    upper = [1.0 - np.minimum(np.abs(X[:, j] @ X[:, j + 1 :]) / n, 1.0) for j in range(p - 1)]
    label = fcluster(linkage(np.concatenate(upper), "average"), 1.0 - threshold, "distance")
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1)


class LassoStatistic(RegressorMixin, BaseEstimator):
    """LASSO on standardised columns, its penalty by cross-validation over a short path; classes as numbers.

    Any fit that treats a gene and its copy alike gives a valid statistic; this one is quick.
    """

    def __init__(self, n_splits: int = 5, random_state: int | None = None):
        self.n_splits = n_splits
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> LassoStatistic:
        """Fit; ``coef_`` is by standardised column."""
        seed = None if self.random_state is None else int(np.random.default_rng(self.random_state).integers(2**31))
        Z = StandardScaler().fit_transform(X)
        target = (y - np.mean(y)) / np.std(y)
        top = float(np.abs(Z.T @ target).max()) / len(target)
        path = top * np.geomspace(1.0, 0.08, 15)
        folds = KFold(self.n_splits, shuffle=True, random_state=seed)
        self.coef_ = LassoCV(alphas=path, cv=folds, max_iter=500, tol=1e-3).fit(Z, target).coef_
        return self


def knockoffs(
    X: np.ndarray,
    y: np.ndarray,
    *,
    fdr: float = 0.1,
    n_draws: int = 1,
    statistic: Any = "lasso",
    threshold: float = 0.3,
    seed: int = 0,
) -> Knockoffs:
    """The knockoff filter on a matrix.

    Parameters
    ----------
    X, y
        Samples x genes, dense and without gaps; a number for each sample (classes as 0 and 1). Samples are independent.
    fdr
        False discovery rate.
    n_draws
        Sets of copies. With more than one their e-values are averaged (Ren and Barber 2024), each set at ``fdr / 2``.
    statistic
        ``"lasso"``, or a scikit-learn estimator with ``coef_``.
    threshold
        See :class:`BlockKnockoffs`.
    seed
        Of copies and folds.

    Raises
    ------
    MissingPackageError
        Without hidimstat.
    InputError
        For fewer than 20 samples, and for an estimator without ``coef_``.
    """
    try:
        from hidimstat import ModelXKnockoff
    except ImportError as error:
        raise MissingPackageError(
            f"Knockoffs need hidimstat ({error}): pip install 'geneml-bio[knockoffs]' (or pip install 'hidimstat>=0.4')."
        ) from error
    if len(y) < LEAST:
        raise InputError(f"Knockoffs need {LEAST} independent samples or more, got {len(y)}.")
    estimator = LassoStatistic() if statistic == "lasso" else clone(statistic)
    generator = BlockKnockoffs(threshold)
    filter_ = ModelXKnockoff(
        estimator=estimator,
        ko_generator=generator,
        n_repeats=n_draws,
        centered=True,
        preconfigure_lasso_path=False,
        random_state=_own_stream(seed),
        n_jobs=1,
    )
    try:
        W = np.asarray(filter_.fit(X, y).importance(), dtype=float)
    except TypeError as error:
        if "linear" not in str(error):
            raise
        raise InputError(f"statistic must have coef_ once fitted; {type(estimator).__name__} has none.") from error
    if n_draws == 1:
        q = knockoff_q(W[0])
    else:
        cuts = [ModelXKnockoff.knockoff_threshold(w, fdr=fdr / 2) for w in W]
        q = e_bh_q(np.mean([e_values(w, cut) for w, cut in zip(W, cuts, strict=True)], axis=0))
    made = filter_.ko_generator_
    return Knockoffs(W, q, q <= fdr * (1 + 1e-12), 1.0 - made.s_, len(made.blocks_))


def _own_stream(seed: int) -> int:
    """A seed for the copies that differs from the caller's, who may have drawn the data themselves with it."""
    return int(np.random.SeedSequence([int(seed), 0x6B6E]).generate_state(1)[0])


def knockoff_q(W: np.ndarray) -> np.ndarray:
    """The smallest rate at which the knockoff+ filter calls each gene: (1 + copies beyond) / genes beyond; at most 1."""
    q = np.ones(len(W))
    cuts = np.unique(np.abs(W[W != 0]))
    if not len(cuts):
        return q
    ordered = np.sort(W)
    genes = len(W) - np.searchsorted(ordered, cuts, side="left")
    copies = np.searchsorted(ordered, -cuts, side="right")
    rate = np.minimum.accumulate(np.minimum((1.0 + copies) / np.maximum(genes, 1), 1.0))
    ahead = W > 0
    q[ahead] = rate[np.searchsorted(cuts, W[ahead])]
    return q


def e_values(W: np.ndarray, cut: float) -> np.ndarray:
    """e-value of each gene from one set of copies, at the threshold of the knockoff+ filter (Ren and Barber 2024)."""
    if not np.isfinite(cut):
        return np.zeros(len(W))
    return len(W) * (cut <= W) / (1.0 + np.sum(-cut >= W))


def e_bh_q(e: np.ndarray) -> np.ndarray:
    """The smallest level at which e-BH (Wang and Ramdas 2022) calls each gene; at most 1."""
    order = np.argsort(-e, kind="stable")
    with np.errstate(divide="ignore"):
        level = np.minimum(len(e) / (np.arange(1, len(e) + 1) * e[order]), 1.0)
    q = np.empty(len(e))
    q[order] = np.minimum.accumulate(level[::-1])[::-1]
    return q
