"""The lasso and the elastic net for numbers, on the columns that ask to come in."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from sklearn.linear_model import ElasticNet, enet_path
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data

_FEW = 3000  # of no more columns scikit-learn's own way is as fast
_MORE = 500  # columns that are read at most after a pass over all
_NEAR = 0.9  # of the penalty: columns with such a slope are read too, as the next solution may want them
_FIRST = 50  # columns that come in at first
_ROUGH = 1e-2  # tol of coordinate descent where its choice of columns is all that is asked for
_ROUNDS = 2  # times that columns come in before the next pass over all, where many ask in each
_MANY = 100  # columns that ask in a pass over all: the optimum among those read will not be the last one
_LAST = 20  # columns that come in at most where the equations are solved; of more, their choice will change
_TRIES = 8  # sets of equations
_ABOVE = 1 + 1e-6  # of the penalty: such a slope asks to come in


class SparseLinear(ElasticNet):
    """scikit-learn's ElasticNet (``l1_ratio=1``: Lasso), with a growing set of columns where there are thousands.

    It is solved on the columns with the largest slopes, and once more with those outside whose slope exceeds the penalty, until
    there is none: then the conditions of the optimum hold for all columns. Each solution is that of scikit-learn's coordinate
    descent, made exact by solving the equations of its columns and signs where these stay as they are; ``tol`` is for where they
    do not. Arguments and attributes are those of ElasticNet; sparse data, weights, ``positive`` and a start are left
    to it altogether.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True) -> SparseLinear:
        """Fit to samples x genes and numbers."""
        plain = sample_weight is None and not sparse.issparse(X) and not self.positive and self.fit_intercept
        plain = plain and not self.warm_start and self.precompute is False and self.alpha > 0 and self.l1_ratio > 0
        if not plain or np.ndim(y) != 1 or np.ndim(X) != 2 or np.shape(X)[1] <= _FEW:
            return super().fit(X, y, sample_weight, check_input)
        self._validate_params()
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_all_finite=False)
        part = _Part(y - y.mean(), self)
        slope = slopes(X, part.residual)  # not finite where X is not, unless BLAS passes over 0 x NaN
        if not np.isfinite(slope).all() or not part.residual.all():
            assert_all_finite(X, input_name="X", estimator_name="SparseLinear")
        if not np.isfinite(slope).all():  # products too large for a number
            return super().fit(X, y)
        rough = False
        while True:
            slope = np.abs(slope)
            slope[part.columns] = 0.0
            asking = int(np.count_nonzero(slope > part.l1 * _ABOVE))
            if not asking and not rough:
                break
            rough = asking > _MANY
            part.read(X, largest(slope, part.l1 * _NEAR, _MORE))
            part.solve(rough)
            slope = slopes(X, part.residual)
        self.coef_ = np.zeros(X.shape[1])
        self.coef_[part.columns] = part.coef
        self.intercept_ = y.mean() - part.centre @ part.coef
        self.n_iter_, self.dual_gap_ = part.n_iter, part.gap(slope.max())
        return self


def slopes(X: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Products of the columns with the residual, in one pass over X."""
    if X.flags.f_contiguous and hasattr(np, "vecdot"):  # numpy 2: faster than BLAS where columns lie in one piece
        return np.vecdot(X.T, residual)
    return residual @ X


def largest(values: np.ndarray, above: float, most: int) -> np.ndarray:
    """Positions of the largest values, in increasing order: no more than ``most``, all above ``above``."""
    found = np.flatnonzero(values > above)
    if len(found) > most:
        found = np.sort(found[np.argpartition(-values[found], most - 1)[:most]])
    return found


class _Part:
    """The columns that were read, centred, and the optimum on them.

    A column is a row here (``rows``); ``inside`` are the positions of those that came in, ``gram`` their products.
    """

    def __init__(self, y: np.ndarray, model: ElasticNet):
        self.model, self.y, self.residual = model, y, y
        self.l1 = len(y) * model.alpha * model.l1_ratio
        self.l2 = len(y) * model.alpha * (1 - model.l1_ratio)
        self.columns = np.empty(0, dtype=np.intp)
        self.rows: list[np.ndarray] = []  # an array for each time that columns were read
        self.centre, self.coef = np.empty(0), np.empty(0)
        self.inside, self.gram, self.inner = np.empty(0, dtype=np.intp), np.empty((0, 0)), np.empty((0, len(y)))
        self.n_iter, self.settled = 0, True

    def read(self, X: np.ndarray, columns: np.ndarray) -> None:
        """Look at these columns beside those in use."""
        new = np.ascontiguousarray(X[:, columns].T)
        centre = new.mean(axis=1)
        new -= centre[:, None]
        self.columns, self.centre = np.append(self.columns, columns), np.append(self.centre, centre)
        self.rows.append(new)
        self.coef = np.append(self.coef, np.zeros(len(columns)))
        used = self.coef[self.inside] != 0
        self.inside, self.inner, self.gram = self.inside[used], self.inner[used], self.gram[np.ix_(used, used)]

    def _slopes(self) -> np.ndarray:
        return np.concatenate([np.empty(0), *(slopes(rows.T, self.residual) for rows in self.rows)])

    def _taken(self, positions: np.ndarray) -> np.ndarray:
        """Rows at positions in increasing order."""
        ends = np.cumsum([0, *map(len, self.rows)])
        cuts = np.searchsorted(positions, ends)
        parts = zip(self.rows, ends[:-1], cuts[:-1], cuts[1:], strict=True)
        return np.concatenate([rows[positions[a:b] - start] for rows, start, a, b in parts])

    def solve(self, rough: bool) -> None:
        """The optimum on what was read, from the one before; ``rough``: near it, as it will be another one anyway.

        Of the columns inside, those in use stay.
        """
        rounds = 0
        while True:
            slope = np.abs(self._slopes())
            slope[self.inside] = 0.0
            new = largest(slope, self.l1 * _ABOVE, max(_FIRST, 2 * int(np.count_nonzero(self.coef))))
            if (not len(new) and (rough or self.settled)) or (rough and rounds == _ROUNDS):
                return
            rounds += 1
            rows = self._taken(new)
            across = self.inner @ rows.T
            self.gram = np.block([[self.gram, across], [across.T, rows @ rows.T]])
            self.inner, self.inside = np.concatenate([self.inner, rows]), np.append(self.inside, new)
            near = rough or len(new) > _LAST
            coef = self._descended(self.inner @ self.y, self.coef[self.inside], near)
            self.coef[self.inside] = coef
            self.residual, self.settled = self.y - coef @ self.inner, not near

    def _descended(self, product: np.ndarray, coef: np.ndarray, rough: bool) -> np.ndarray:
        """The optimum on the columns inside: coordinate descent, as far as its choice of columns is that of the optimum."""
        model, tol = self.model, max(_ROUGH, self.model.tol)
        how = {name: getattr(model, name) for name in ("l1_ratio", "max_iter", "selection", "random_state")}
        while True:
            _, path, _, steps = enet_path(
                self.inner.T, self.y, alphas=[model.alpha], precompute=self.gram, Xy=product, coef_init=coef, tol=tol,
                check_input=False, return_n_iter=True, **how,
            )  # fmt: skip
            self.n_iter += int(steps[0])
            coef = path[:, 0]
            if rough:
                return coef
            exact = self._exact(product, coef)
            if exact is not None or tol <= model.tol:
                return coef if exact is None else exact
            tol = max(tol / 10, model.tol) if tol > 1e-6 else model.tol

    def _exact(self, product: np.ndarray, coef: np.ndarray) -> np.ndarray | None:
        """The solution of the equations that the columns in use and their signs give, if it is the optimum.

        A column that turns round leaves, one whose slope exceeds the penalty comes in, a few times over.
        """
        sign = np.sign(coef)
        for _ in range(_TRIES):
            used = np.flatnonzero(sign)
            if not len(used):
                return None
            equations = self.gram[np.ix_(used, used)]
            equations[np.diag_indices(len(used))] += self.l2
            try:
                factor = cho_factor(equations, lower=True, overwrite_a=True, check_finite=False)
                found = cho_solve(factor, product[used] - self.l1 * sign[used], check_finite=False)
            except LinAlgError:  # columns that are copies of each other, or of one another's sums
                return None
            full = np.zeros(len(sign))
            full[used] = found
            slope = product - self.gram @ full - self.l2 * full
            turned = used[found * sign[used] <= 0]
            asking = np.flatnonzero((np.abs(slope) > self.l1 * _ABOVE) & (sign == 0))
            if not len(turned) and not len(asking):
                fits = np.abs(slope[used] - self.l1 * sign[used]).max(initial=0.0) <= self.l1 * (_ABOVE - 1)
                return full if fits else None
            sign[turned], sign[asking] = 0.0, np.sign(slope[asking])
        return None

    def gap(self, outside: float) -> float:
        """Duality gap (as ElasticNet's) with ``outside`` the largest slope of columns that were not read."""
        r, b = self.residual, self.coef
        largest = max(outside, np.abs(self._slopes() - self.l2 * b).max(initial=0.0))
        scale = min(1.0, self.l1 / largest) if largest else 1.0
        ridge = (r @ r + self.l2 * (b @ b)) * (1 + scale**2) / 2
        return float(ridge + self.l1 * np.abs(b).sum() - scale * (r @ self.y)) / len(r)
