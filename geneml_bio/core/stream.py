"""Cross-validation of data that memory does not hold: passes over pieces of it.

1. One pass sums what the screens and scalers of all folds need (a training part is the whole less what is held out). 2. One
pass keeps the columns that any fold chose. 3. Every model is fitted from pieces of these and predicts what is held out; what is
done is kept, so that work which was stopped goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import linalg
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from tqdm.auto import tqdm

from .cluster import cluster, in_order
from .errors import InputError
from .fitting import Recipe, fit_candidate
from .linear import LinearFit
from .models import Candidate, pipeline, task_seed
from .moderated import contrasts_fit, e_bayes
from .screen import ModeratedScreen
from .streamed_cluster import fit_on_cluster
from .streamed_linear import fit_logistic, fit_ridge
from .streamed_part import Job, Part, Source, Store, rows_of
from .streamed_sums import Pass, columns_of, sums_of
from .streamed_trees import fit_xgboost, is_xgboost

TUNE_ROWS = 20_000  # training rows on which hyperparameters are searched
EPOCHS = 5  # of models that learn by partial_fit


@dataclass(frozen=True, eq=False)
class Streamed:
    """Held-out predictions of every row (NaN where it took no part), and the fitted pipelines.

    Parameters
    ----------
    predictions
        Model -> rows x classes (probabilities), or rows.
    fitted
        Pipelines by ``(fold, model)``, as :mod:`geneml_bio.core.validate` fits them.
    screens, tuned
        As in :class:`geneml_bio.Validation`, without ``repeat``.
    """

    predictions: dict[str, np.ndarray]
    fitted: dict[tuple[int, str], Pipeline]
    screens: pd.DataFrame
    tuned: pd.DataFrame


def check_models(models: Sequence[Candidate]) -> None:
    """Refuse models that need all rows at once.

    Raises
    ------
    InputError
    """
    for candidate in models:
        model = candidate.estimator
        plain = type(model) in (LogisticRegression, Ridge) and _is_plain(model)
        if candidate.margin or not (plain or is_xgboost(model) or hasattr(model, "partial_fit")):
            raise InputError(
                f"Model {candidate.name!r} ({type(model).__name__}) cannot learn from pieces of the data. Those that can: logistic "
                "(classes) and ridge (numbers), xgboost, and estimators with partial_fit and, for classes, probabilities, such as "
                "SGDClassifier(loss='log_loss')."
            )


def _is_plain(model: BaseEstimator) -> bool:
    """The objective that is minimised here: an L2 penalty, an intercept, no weights."""
    given = model.get_params()
    if not given["fit_intercept"] or given.get("positive"):
        return False
    l2 = given.get("penalty", "l2") in ("l2", "deprecated") and not given.get("l1_ratio")
    return l2 and given.get("class_weight") is None and not given.get("dual")


def run(source: Source, job: Job, store: Store, *, progress: bool = True, label: str = "stream") -> Streamed:
    """Cross-validate; see the module.

    Parameters
    ----------
    source, job, store
        The data, what is to be done, and where pieces of it are kept.
    progress, label
        Progress bars, and their name.
    """
    check_models(job.models)
    # 1. what screens and scalers need
    sums = store.get("sums")
    if sums is None:
        sums = _sums(source, job, progress, f"{label}: sums")
        store.put("sums", sums)
    fronts = [_front(sums, job, fold, source.shape[1]) for fold in range(job.n_folds)]

    # 2. the columns that any fold chose
    union = np.unique(np.concatenate([screen.get_support(indices=True) for screen, _ in fronts]))
    held = _columns(source, job, store, union, progress, f"{label}: columns")

    # 3. models
    predictions = {c.name: np.full((len(job.y), job.n_classes) if job.n_classes else len(job.y), np.nan, np.float32)
                   for c in job.models}  # fmt: skip
    fitted, tuned = {}, []
    work = [(fold, candidate) for fold in range(job.n_folds) for candidate in job.models]
    for fold, candidate in tqdm(work, desc=f"{label}: models", disable=not progress):
        screen, scaler = fronts[fold]
        mine = Part(held, np.searchsorted(union, screen.get_support(indices=True)), scaler, job, fold)
        name = f"model {fold} {candidate.name}"
        done = store.get(name)
        if done is None:
            done = _fitted(mine, candidate, screen, store)
            store.put(name, done)
        predictions[candidate.name][job.fold == fold] = done["predictions"]
        fitted[fold, candidate.name] = done["pipeline"]
        tuned += [{"fold": fold, "model": candidate.name, "parameter": str(k), "value": str(v)}
                  for k, v in zip(done["names"], done["values"], strict=True)]  # fmt: skip
    return Streamed(
        predictions, fitted, _screens(fronts), pd.DataFrame(tuned, columns=["fold", "model", "parameter", "value"])
    )


# -- sums --------------------------------------------------------------------------------------------------------------


def _sums(source: Source, job: Job, progress: bool, label: str) -> dict[str, np.ndarray]:
    """What :func:`geneml_bio.core.streamed_sums.sums_of` gives, of all rows."""
    total: dict[str, np.ndarray] = {}
    for part in _passed(sums_of, source, job, (), progress, label):
        total = {name: total[name] + value for name, value in part.items()} if total else part
    return total


def _passed(
    work: Callable[..., Any], source: Source, job: Job, more: tuple[Any, ...], progress: bool, label: str
) -> Iterator[Any]:
    """A pass over the pieces, in order: by the workers of the cluster where they can read the source."""
    client, remote = cluster(), source.remote()
    if client is not None and remote is not None:
        calls = [(*span, *more) for span in job.spans()]
        made = in_order(client, work, Pass(remote, job.y, job.fold, job.n_classes), calls)
        yield from tqdm(made, total=len(calls), desc=label, disable=not progress)
        return
    of = Pass(source, job.y, job.fold, job.n_classes)
    yield from (work(of, *span, *more) for span in job.spans(progress, label))


def _front(sums: Mapping[str, np.ndarray], job: Job, fold: int, p: int) -> tuple[ModeratedScreen, StandardScaler]:
    """The screen and the scaler that the training part of a fold gives."""
    inner, design, squares = (sums[name].sum(axis=0) - sums[name][fold] for name in ("inner", "design", "squares"))
    inverse = linalg.inv(inner)
    coefficients = inverse @ design
    n, tested = inner[0, 0], len(inner) - 1
    rest = np.maximum(squares - np.einsum("ij,ij->j", design, coefficients), 0.0) / (n - len(inner))
    mean = design[0] / n
    fit = LinearFit(
        coefficients.T, np.tile(np.sqrt(np.diag(inverse)), (p, 1)), rest, np.full(p, n - len(inner)), mean, inverse
    )
    bayes = e_bayes(contrasts_fit(fit, np.eye(len(inner))[:, 1:]), lods=False)
    screen = ModeratedScreen("all" if job.screen is None else min(job.screen, p), task=job.task)
    screen.statistic_ = np.asarray(bayes.t[:, 0] if tested == 1 else bayes.F, dtype=float)
    screen.df_prior_, screen.s2_prior_, screen.n_features_in_ = bayes.df_prior, bayes.s2_prior, p
    chosen = screen.get_support(indices=True)
    scaler, m = StandardScaler(), mean[chosen]
    scaler.mean_, scaler.n_features_in_, scaler.n_samples_seen_ = m, len(chosen), int(n)
    scaler.var_ = np.maximum(squares[chosen] / n - m**2, 0.0)
    eps = np.finfo(float).eps  # a constant gene is left as it is, by scikit-learn's rule
    scaler.scale_ = np.where(scaler.var_ <= n * eps * scaler.var_ + (n * m * eps) ** 2, 1.0, np.sqrt(scaler.var_))
    return screen, scaler


def _screens(fronts: Sequence[tuple[ModeratedScreen, StandardScaler]]) -> pd.DataFrame:
    parts = []
    for fold, (screen, _) in enumerate(fronts):
        chosen = screen.ranking()
        parts.append(pd.DataFrame({"fold": fold, "column": chosen, "statistic": screen.statistic_[chosen]}))
    return pd.concat(parts, ignore_index=True)


# -- columns -----------------------------------------------------------------------------------------------------------


def _columns(source: Source, job: Job, store: Store, union: np.ndarray, progress: bool, label: str) -> np.ndarray:
    """The chosen columns of every row, dense, as an array that may lie on disk."""
    held = store.matrix("columns", (len(job.y), len(union)), source.dtype)
    done = store.get("columns")
    if done is not None and np.array_equal(done["union"], union):
        return held
    parts = _passed(columns_of, source, job, (union,), progress, label)
    for (start, stop), part in zip(job.spans(), parts, strict=True):
        held[start:stop] = part
    if isinstance(held, np.memmap):
        held.flush()  # for other machines
    store.put("columns", {"union": union})
    return held


def _fitted(part: Part, candidate: Candidate, screen: ModeratedScreen, store: Store) -> dict[str, Any]:
    """Tune and fit one model on one training part, and predict what is held out."""
    job = part.job
    seed = task_seed(job.seed, "true", 1, part.fold + 1, candidate.name)
    whole = pipeline(candidate, screen, impute=False, seed=seed)
    chosen = _tuned(part, candidate, seed) if job.tune and candidate.space else {}
    model = whole.named_steps["model"].set_params(**chosen)
    n_columns = len(part.columns)
    client = cluster()
    if client is not None and is_xgboost(model):
        shared, spans = part.remote(store), [piece for piece in part.sizes() if piece[2]]
        model = fit_on_cluster(client, model, rows_of, shared, spans, n_columns, job.n_classes)
    elif is_xgboost(model):
        model = fit_xgboost(
            model, part.pieces, len(part.learned()) * n_columns, job.n_classes, job.n_jobs, store.scratch()
        )
    elif isinstance(model, LogisticRegression):
        model = fit_logistic(part.each(client, store), n_columns, job.n_classes, model)
    elif isinstance(model, Ridge):
        model = fit_ridge(part.each(client, store), n_columns, model)
    else:
        model = _by_parts(part, model, seed)
    whole = Pipeline([("screen", screen), ("scale", part.scaler), ("model", model)])
    return {
        "pipeline": whole,
        "predictions": part.predicted(whole).astype(np.float32),
        "names": np.array(list(chosen), dtype=str),
        "values": np.array([str(value) for value in chosen.values()], dtype=str),
    }


def _tuned(part: Part, candidate: Candidate, seed: int) -> dict[str, Any]:
    """Hyperparameters, searched on some training rows by inner folds that keep donors whole."""
    job, rows = part.job, part.learned()
    if len(rows) > TUNE_ROWS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, TUNE_ROWS, replace=False))
    groups = None if job.groups is None else job.groups[rows]
    recipe = Recipe(ModeratedScreen("all", task=job.task), impute=False, tune=True, n_classes=job.n_classes)
    X = np.asarray(part.held[rows][:, part.columns])
    return fit_candidate(recipe, candidate, X, job.y[rows], groups=groups, seed=seed)[1]


def _by_parts(part: Part, model: Any, seed: int) -> Any:
    """Some epochs of ``partial_fit`` over the pieces, whose rows are shuffled."""
    rng = np.random.default_rng(seed)
    first = {"classes": np.arange(part.job.n_classes)} if part.job.n_classes else {}
    for _ in range(EPOCHS):
        for Z, y in part.pieces():
            order = rng.permutation(len(y))
            model.partial_fit(Z[order], y[order], **first)
            first = {}
    return model
