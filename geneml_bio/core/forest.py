"""Random forests of scikit-learn, without what it spends on each tree before and after growing it.

Of 63 samples x 200 genes a tree is grown in 0.1 ms, by scikit-learn's compiled builder; copying its parameters, checking the same data
again and opening two random streams takes eight times as long. Here the builder is called for all trees of a forest, on data
that were checked once. The trees are the same to the last bit, and so is everything else that ``fit`` leaves: the first two trees are
scikit-learn's own, and the second is grown again here for comparison. Where anything is unusual, or the private parts of
scikit-learn that this rests on are not as expected, the forest is fitted by ``fit`` (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from math import ceil
from numbers import Integral
from threading import Event
from time import perf_counter
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.utils.class_weight import compute_sample_weight

FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
_CRITERIA = ("gini", "entropy", "log_loss", "squared_error")
_FEWEST, _LARGEST = (
    25,
    1000,
)  # trees and samples: of fewer trees there is little to gain, and of more samples growing is all the time
_FIRST = 2  # trees that scikit-learn grows itself
_WORTH_THREADS = 0.01  # seconds of growing
_HELD = 4e-5  # seconds of each tree in which no other thread gets on, so that few threads are enough for small trees
_MANY_ROWS = 1000  # to predict; beyond, a model that asks for several jobs gets them
_THREADS: ContextVar[int] = ContextVar("threads for trees", default=1)


@contextmanager
def tree_threads(count: int) -> Iterator[None]:
    """Within, the trees of a forest may be grown by this many threads. They are the same by any number."""
    before = _THREADS.set(max(count, 1))
    try:
        yield
    finally:
        _THREADS.reset(before)


def fit_forest(model: Any, X: Any, y: Any, **given: Any) -> Any:
    """``model.fit(X, y, **given)``, faster if ``model`` is a forest of scikit-learn with many small trees.

    Parameters
    ----------
    model
        Any estimator. A RandomForest or ExtraTrees, classifier or regressor, is grown here if it has 25 trees or more, its
        ``random_state`` is an integer, its criterion gini, entropy, log_loss or squared_error, and it has no out-of-bag score, warm
        start, pruning, monotonic constraints or smallest weight of a leaf; everything else by its own ``fit``.
    X, y
        Training samples (of more than 1,000 the model's own ``fit`` is as fast) x features; class codes, labels or numbers.
    given
        What ``fit`` takes beside them: ``sample_weight``.

    Returns
    -------
    The model, as its own ``fit`` would have left it.
    """
    if not _is_plain(model, X, y, given):
        return model.fit(X, y, **given)
    asked, model.n_estimators = model.n_estimators, _FIRST
    try:
        model.fit(X, y, **given)
    finally:
        model.n_estimators = asked
    trees = _grown(model, X, y, given.get("sample_weight"))
    if trees is None:
        return model.fit(X, y, **given)
    model.estimators_ = trees
    return model


def forest_values(model: Any, X: Any) -> np.ndarray | None:
    """Class probabilities or numbers that a fitted forest predicts: the sum over trees in their order. None: ask the model.

    The same numbers as those of ``predict_proba`` or ``predict`` of a forest with ``n_jobs=1`` (several jobs add up the trees in the order
    in which they come).
    """
    if type(model) not in FORESTS or model.n_outputs_ != 1 or not _is_matrix(X):
        return None
    if X.shape[1] != model.n_features_in_ or (model.n_jobs not in (None, 1) and len(X) > _MANY_ROWS):
        return None
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(X, dtype=np.float32)
    if not np.isfinite(rows).all():
        return None
    total = np.zeros((len(rows), getattr(model, "n_classes_", 1)))
    for tree in model.estimators_:
        total += tree.tree_.predict(rows)
    total /= len(model.estimators_)
    return total if hasattr(model, "classes_") else total[:, 0]


def _is_matrix(X: Any) -> bool:
    return isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype in (np.float64, np.float32)


def _is_plain(model: Any, X: Any, y: Any, given: Mapping[str, Any]) -> bool:
    """Whether this is a forest that :class:`_Grower` can grow, and worth it."""
    if type(model) not in FORESTS or not set(given) <= {"sample_weight"} or not _is_matrix(X) or len(X) > _LARGEST:
        return False
    if not isinstance(y, np.ndarray) or y.shape != (len(X),) or not np.isfinite(X).all():
        return False
    whole = (model.n_estimators, model.random_state)
    if not all(isinstance(value, Integral) and not isinstance(value, bool) for value in whole):
        return False
    open_ends = (
        model.oob_score or model.warm_start or model.ccp_alpha or model.min_weight_fraction_leaf or model.verbose
    )
    known = isinstance(model.criterion, str) and model.criterion in _CRITERIA
    return bool(known and not open_ends and model.monotonic_cst is None and model.n_estimators >= _FEWEST)


def _grown(model: Any, X: np.ndarray, y: np.ndarray, weight: Any) -> list[Any] | None:
    """All trees of a model of which scikit-learn has grown the first ones; None where these come out differently here."""
    own = list(model.estimators_)
    values = np.asarray(X, dtype=np.float32)
    codes = np.searchsorted(model.classes_, y) if hasattr(model, "classes_") else y
    target = np.ascontiguousarray(codes, dtype=np.float64)[:, None]
    try:
        # one stream gives the seed of each tree
        seeds = np.random.RandomState(model.random_state).randint(np.iinfo(np.int32).max, size=model.n_estimators)
        grower = _Grower(model, values, target, _weight(model, y, weight))
        start = perf_counter()
        again = grower.grow(int(seeds[len(own) - 1]))
        spent = perf_counter() - start
        if seeds[0] != own[0].random_state or not _same(again, own[-1]):
            return None
        rest = seeds[len(own) :].tolist()
        threads = _n_threads(model, spent)
        if threads == 1:
            return own + [grower.grow(seed) for seed in rest]
        growers = [grower, *(_Grower(model, values, target, grower.weight) for _ in range(threads - 1))]
        return own + _in_threads(growers, rest)
    except (
        ImportError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # not the scikit-learn that this was written for
        return None


def _n_threads(model: Any, seconds: float) -> int:
    """Of trees that take ``seconds`` each."""
    if seconds * model.n_estimators < _WORTH_THREADS:
        return 1
    allowed = max(_THREADS.get(), effective_n_jobs(model.n_jobs))
    return max(min(allowed, model.n_estimators, int(seconds / _HELD)), 1)


def _in_threads(growers: Sequence[_Grower], seeds: Sequence[int]) -> list[Any]:
    """A tree for each seed, in order; each thread takes every so-manieth."""
    out: list[Any] = [None] * len(seeds)
    stopped = Event()

    def work(k: int) -> None:
        for i in range(k, len(seeds), len(growers)):
            if stopped.is_set():
                return
            out[i] = growers[k].grow(seeds[i])

    with ThreadPoolExecutor(len(growers)) as pool:
        try:
            list(pool.map(work, range(len(growers))))
        finally:  # Ctrl-C waits for one tree, not for all
            stopped.set()
    return out


def _weight(model: Any, y: np.ndarray, weight: Any) -> Any:
    """Of each sample, as scikit-learn hands it to every tree; newer versions keep it."""
    if hasattr(model, "_sample_weight"):
        return model._sample_weight
    how = getattr(model, "class_weight", None)
    weight = None if weight is None else np.asarray(weight, dtype=np.float64)
    if how is None or (how == "balanced_subsample" and model.bootstrap):
        return weight
    own = compute_sample_weight("balanced" if how == "balanced_subsample" else how, y)
    return own if weight is None else weight * own


def _same(made: Any, own: Any) -> bool:
    a, b = made.tree_, own.tree_
    names = ("children_left", "children_right", "feature", "threshold", "value", "weighted_n_node_samples")
    return made.random_state == own.random_state and all(np.array_equal(getattr(a, x), getattr(b, x)) for x in names)


def _count(value: Any, n: int) -> int:
    """A number of samples, or a share of them, as a number."""
    return int(value) if isinstance(value, Integral) else ceil(value * n)


class _Grower:
    """Grows trees of one forest one after the other, in one thread.

    For scikit-learn's function that draws the samples of a tree it is that tree: it has its ``random_state`` and its ``_fit``.
    """

    def __init__(self, model: Any, X: np.ndarray, y: np.ndarray, weight: Any) -> None:
        from sklearn.ensemble._forest import _parallel_build_trees
        from sklearn.tree import _classes

        self.model, self.X, self.y, self.weight = model, X, y, weight
        self.pattern = model.estimators_[0]
        self.random_state = np.random.RandomState(0)
        self.sampled, self.empty = _parallel_build_trees, _classes.Tree
        self.n_values = np.array([getattr(self.pattern, "n_classes_", 1)], dtype=np.intp)
        self.builder = self._builder(_classes, X.shape[0])

    def _builder(self, parts: Any, n: int) -> Any:
        tree, at_random = self.pattern, self.random_state
        if hasattr(tree, "classes_"):
            criterion = parts.CRITERIA_CLF[tree.criterion](1, self.n_values)
        else:
            criterion = parts.CRITERIA_REG[tree.criterion](1, n)
        leaf = _count(tree.min_samples_leaf, n)
        split = max(_count(tree.min_samples_split, n), 2, 2 * leaf)
        splitter = parts.DENSE_SPLITTERS[tree.splitter](criterion, tree.max_features_, leaf, 0.0, at_random, None)
        depth = np.iinfo(np.int32).max if tree.max_depth is None else tree.max_depth
        ends = (splitter, split, leaf, 0.0, depth)
        if tree.max_leaf_nodes is None:
            return parts.DepthFirstTreeBuilder(*ends, tree.min_impurity_decrease)
        return parts.BestFirstTreeBuilder(*ends, tree.max_leaf_nodes, tree.min_impurity_decrease)

    def grow(self, seed: int) -> Any:
        """The tree of this seed: an object as scikit-learn would have made."""
        model = self.model
        self.seed = seed
        self.random_state.seed(seed)  # gives the same numbers as a new RandomState(seed), in a fraction of the time
        self.sampled(
            self,
            model.bootstrap,
            self.X,
            self.y,
            self.weight,
            0,
            1,
            class_weight=getattr(model, "class_weight", None),
            n_samples_bootstrap=model._n_samples_bootstrap,
        )
        made = object.__new__(type(self.pattern))
        made.__dict__.update(self.pattern.__dict__, random_state=seed, tree_=self.tree)
        return made

    def _fit(self, X: np.ndarray, y: np.ndarray, sample_weight: Any = None, **_: Any) -> None:
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        self.random_state.seed(self.seed)  # a tree starts its own stream anew
        self.tree = self.empty(X.shape[1], self.n_values, 1)
        self.builder.build(self.tree, X, y, weight, None)
