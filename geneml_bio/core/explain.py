"""Out-of-fold SHAP -> Attribution.

Each held-out sample is explained by the pipeline that did not see it (:mod:`geneml_bio.core.explainers`); values are averaged
over repeats. Each sample's values are checked to add up to the output.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import pandas as pd
from scipy import sparse
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from .errors import AdditivityError, DataWarning, InputError, near
from .explainers import Background, Explained, explain_fitted, is_exact
from .fitting import bare
from .models import task_seed
from .sampled import BACKGROUND, TOO_DEAR, cost, orders_for
from .schema import Attribution, Cohort, Validation, additivity
from .shap_summary import Values, per_gene
from .workers import by_workers

CONSENSUS = "consensus"
TOLERANCE = 1e-5
ALL_REPEATS_UP_TO = 1000  # samples; beyond, one repeat tells as much and costs a fraction
_DENSE = 20_000_000  # values that are held dense at a time: 160 MB


class _Sum:
    """One model's values over folds and repeats, sparse, in sample and gene positions of the study."""

    def __init__(self, n: int, p: int, n_outputs: int, n_repeats: int):
        self.n, self.p, self.n_repeats = n, p, n_repeats
        self.parts: list[list[tuple[np.ndarray, list[sparse.csr_matrix]]]] = [[] for _ in range(n_repeats)]
        self.base = np.zeros((n, n_outputs))
        self.margin = np.zeros((n, n_outputs))
        self.used, self.screened, self.error2 = np.zeros(p), np.zeros(p), np.zeros(p)
        self.unit = self.explainer = ""
        self.exact = True
        self.error = 0.0

    def add(self, repeat: int, rows: np.ndarray, genes: np.ndarray, part: Explained) -> np.ndarray:
        """Add the values of some samples; which of the genes were used."""
        genes = genes if part.columns is None else genes[part.columns]
        total = part.values.sum(axis=1)
        size = np.abs(part.values).sum(axis=1)
        self.error = max(self.error, additivity(part.base, total, size, part.margin))
        self.base[rows] += part.base / self.n_repeats
        self.margin[rows] += part.margin / self.n_repeats
        if part.error2 is not None:
            self.error2[genes] += part.error2.sum(axis=(0, 2)) / self.n_repeats**2
        self.parts[repeat].append((rows, [_placed(part.values[:, :, k], genes, self.p) for k in range(size.shape[1])]))
        self.unit, self.explainer, self.exact = part.unit, part.explainer, part.exact
        return genes[(part.values != 0).any(axis=(0, 2))]

    def matrices(self) -> list[list[sparse.csr_matrix]]:
        """CSR of samples x genes, for each repeat and output. Takes the parts apart as it goes."""
        out = []
        for parts in self.parts:
            rows = np.concatenate([r for r, _ in parts])
            back = np.full(self.n, len(rows))
            back[rows] = np.arange(len(rows))
            empty = sparse.csr_matrix((1, self.p))
            out.append(
                [sparse.vstack([*(m[k] for _, m in parts), empty], format="csr")[back] for k in range(len(parts[0][1]))]
            )
        self.parts = []
        return out

    def sampling_error(self, mean_abs: np.ndarray) -> float:
        """Standard error of a value (root mean square over samples) over the size of a value, both summed over genes."""
        size = float(mean_abs.sum())
        return float(np.sqrt(self.error2 / self.base.size).sum() / size) if size > 0 else 0.0


def _placed(values: np.ndarray, genes: np.ndarray, p: int) -> sparse.csr_matrix:
    """Values of some genes among all of them, zeros left out."""
    part = sparse.csr_matrix(values)
    out = sparse.csr_matrix((part.data, genes[part.indices], part.indptr), shape=(len(values), p))
    out.sort_indices()
    return out


def explain(
    validation: Validation,
    cohort: Cohort,
    *,
    model: str | None = None,
    n_repeats: int | None = None,
    n_orders: int | None = None,
    n_jobs: int | None = 1,
    progress: bool = True,
    label: str = "explain",
) -> Attribution:
    """SHAP values of every held-out sample, from the fitted pipelines of a validation.

    Parameters
    ----------
    validation
        With its fitted pipelines.
    cohort
        The study it was made on.
    model
        Whose values to return; None for the consensus of all models (of one model: its own values).
    n_repeats
        How many repeats to explain, each of which holds out every sample once; None: all of them up to 1,000 samples,
        one beyond.
    n_orders
        For models without an exact explainer: orders of genes a sample, repeat and model, each walked both ways. None: as many
        as hand the model about 2.4 thousand million values in all, 8 to 200. The sampling error falls with the square root.
    n_jobs
        Worker processes, where a model is sampled (None: every core). The numbers are the same whatever their number.
    progress, label
        Progress bar and its name.

    Raises
    ------
    InputError
        For a model that was not validated or whose fitted pipelines are gone, and for more repeats than there are.
    AdditivityError
        If base + sum(values) misses the model's output by more than 1e-5 (relative) for a held-out sample.
    """
    _check_orders(n_orders)
    repeats = _repeats(n_repeats, int(validation.spec["n_repeats"]), len(cohort.samples))
    names = _wanted(validation, cohort, model, repeats, n_orders)
    n, p = cohort.X.shape
    sums = {name: _Sum(n, p, len(_outputs(cohort)), repeats) for name in names}
    n_folds = _collect(validation, cohort, sums, n_orders, n_jobs, progress, label)
    for name, total in sums.items():
        if total.error > TOLERANCE:
            raise AdditivityError(
                f"SHAP values of {name} miss its output by {total.error:.2g} (relative), more than {TOLERANCE:g}; "
                "this is a defect of the explainer for this model, please report it."
            )
    values = {name: Values(total.matrices()) for name, total in sums.items()}
    together = names[0] if len(names) == 1 else CONSENSUS  # the consensus of one model is that model, in its own unit
    weights = _weights(together, values)
    chosen = values[together] if together in values else Values.mixed(values, weights)
    seed = task_seed(int(validation.spec.get("seed", 0)), "rank interval")
    frame = per_gene(chosen, values, cohort, validation.folds.query("repeat < @repeats"), seed)
    for column in ("used", "screened"):
        frame[column] = np.mean([getattr(total, column) for total in sums.values()], axis=0) / n_folds
    for name, total in sums.items():
        frame[f"used:{name}"] = total.used / n_folds
    return Attribution(
        model=together,
        outputs=_outputs(cohort),
        values=dict(zip(_outputs(cohort), chosen.mean, strict=True)),
        base=np.sum([w * sums[n].base for n, w in weights.items()], axis=0),
        margin=np.sum([w * sums[n].margin for n, w in weights.items()], axis=0),
        unit="share" if together == CONSENSUS else sums[together].unit,
        per_gene=frame,
        per_model=_per_model(sums, values, n_folds),
        n_repeats=repeats,
    )


def _outputs(cohort: Cohort) -> tuple[str, ...]:
    """What is explained: the positive one of two classes, each of more, or the prediction."""
    return tuple(cohort.classes[1:] if len(cohort.classes) == 2 else cohort.classes) or ("prediction",)


def _wanted(
    validation: Validation, cohort: Cohort, model: str | None, n_repeats: int, n_orders: int | None
) -> list[str]:
    """The models to explain; of many genes, those that would have to be sampled at a cost beyond reason are left out."""
    names = validation.models
    if model is not None and model not in names and model != CONSENSUS:
        raise InputError(f"model={model!r} was not validated.{near(model, names)}")
    wanted = names if model in (None, CONSENSUS) else [str(model)]
    one = {name: whole for (_, _, name), whole in validation.fitted.items()}
    chosen = [name for name in wanted if name in one]
    if not chosen:
        raise InputError(f"The fitted models of {', '.join(wanted)} are not there; pass the result of the validation.")
    if n_orders is not None:
        return chosen
    dear = {}
    for name in chosen:
        work = cost(
            len(cohort.samples) * n_repeats, len(bare(one[name]).named_steps["screen"].get_support(indices=True))
        )
        if work > TOO_DEAR and not is_exact(one[name], cohort.X):
            dear[name] = work
    if dear:
        message = (
            f"{', '.join(dear)}: no exact SHAP explainer, and on so many genes and samples sampling would hand the model "
            f"{max(dear.values()):.0e} values. Use a smaller screen=, explain fewer repeats (n_repeats=1), or name n_orders= to "
            "have it done all the same."
        )
        chosen = [name for name in chosen if name not in dear]
        if not chosen:
            raise InputError(message)
        warnings.warn(f"Left out of the consensus: {message}", DataWarning, stacklevel=4)
    return chosen


def _repeats(asked: int | None, there: int, n_samples: int) -> int:
    if asked is None:
        return there if n_samples <= ALL_REPEATS_UP_TO else 1
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer) or not 1 <= asked <= there:
        raise InputError(f"n_repeats must be between 1 and {there}, the number of repeats validated; got {asked!r}.")
    return int(asked)


def _check_orders(asked: int | None) -> None:
    if asked is not None and (isinstance(asked, bool) or not isinstance(asked, int | np.integer) or asked < 2):
        raise InputError(f"n_orders must be a count of at least 2 orders a sample, or None; got {asked!r}.")


def _weights(together: str, values: dict[str, Values]) -> dict[str, float]:
    """What each model counts: one alone, or all of them scaled to one total (a model that used nothing has no say)."""
    if together != CONSENSUS:
        return {together: 1.0}
    return {name: 1 / v.total / len(values) if v.total > 0 else 0.0 for name, v in values.items()}


def _per_model(sums: dict[str, _Sum], values: dict[str, Values], n_folds: int) -> pd.DataFrame:
    rows = [
        {
            "model": name,
            "unit": total.unit,
            "explainer": total.explainer,
            "exact": total.exact,
            "sampling_error": total.sampling_error(values[name].mean_abs),
            "total": values[name].total,
            "genes_used": int((total.used > 0).sum()),
            "genes_per_fold": float(total.used.sum() / n_folds),
            "genes_screened": int((total.screened > 0).sum()),
            "max_error": total.error,
        }
        for name, total in sums.items()
    ]
    return pd.DataFrame(rows)


def _collect(
    validation: Validation,
    cohort: Cohort,
    sums: dict[str, _Sum],
    n_orders: int | None,
    n_jobs: int | None,
    progress: bool,
    label: str,
) -> int:
    """Explain every fold into ``sums``; the number of folds."""
    n_repeats = next(iter(sums.values())).n_repeats
    position = pd.Index(cohort.samples)
    folds = {
        (int(run), int(fold)): position.get_indexer(pd.Index(part["sample"].astype(str)))
        for (run, fold), part in validation.folds.groupby(["repeat", "fold"])
        if run < n_repeats
    }
    wanted = {of: whole for of, whole in validation.fitted.items() if of[:2] in folds and of[2] in sums}
    units = [
        (of, whole, rows)
        for of, whole in wanted.items()
        for rows in _blocks(folds[of[:2]], whole, len(_outputs(cohort)))
    ]
    one = {name: whole for (_, _, name), whole in wanted.items()}
    sampling = n_jobs != 1 and not all(is_exact(whole, cohort.X) for whole in one.values())
    workers = (joblib.cpu_count() if n_jobs is None else int(n_jobs)) if sampling else 1
    calls = (
        (whole, *_asked(validation, cohort, of, folds[of[:2]], rows, n_orders, n_repeats)) for of, whole, rows in units
    )
    parts = by_workers(_explained, calls, workers)
    used: dict[tuple[int, int, str], list[np.ndarray]] = {of: [] for of in wanted}
    for (of, whole, rows), part in tqdm(
        zip(units, parts, strict=True), total=len(units), desc=label, disable=not progress
    ):
        genes = bare(whole).named_steps["screen"].get_support(indices=True)
        used[of].append(sums[of[2]].add(of[0], rows, genes, _positive_only(part, len(cohort.classes))))
    for (_, _, name), genes_used in used.items():
        sums[name].used[np.unique(np.concatenate(genes_used))] += 1
    for (_, _, name), whole in wanted.items():
        sums[name].screened[bare(whole).named_steps["screen"].get_support(indices=True)] += 1
    return len(folds)


def _blocks(rows: np.ndarray, whole: Any, n_outputs: int) -> list[np.ndarray]:
    """Held-out samples in parts whose values fit into memory."""
    n_genes = int(bare(whole).named_steps["screen"].get_support().sum())
    return np.array_split(rows, max(1, -(-len(rows) * n_genes * n_outputs // _DENSE)))


def _asked(
    validation: Validation,
    cohort: Cohort,
    of: tuple[int, int, str],
    held_out: np.ndarray,
    rows: np.ndarray,
    n_orders: int | None,
    n_repeats: int,
) -> tuple[Any, ...]:
    """Arguments of :func:`_explained`: what to explain, and the training samples to sample against."""
    run, fold, name = of
    seed = int(validation.spec.get("seed", 0))
    drawn = _background(cohort, held_out, task_seed(seed, "background", run + 1, fold + 1))
    own = task_seed(seed, "orders", run + 1, fold + 1, name, int(rows[0]))
    unit = f"unit of {validation.spec.get('target', 'the target')}"
    return cohort.X[rows], cohort.task, unit, cohort.X[drawn], n_orders, len(cohort.samples) * n_repeats, own


def _explained(
    whole: Any, X: Any, task: str, unit: str, background: Any, n_orders: int | None, n_explained: int, seed: int
) -> Explained:
    def against(front: Any) -> Background:
        Z = np.asarray(front.transform(background), dtype=float)
        return Background(Z, orders_for(n_explained, Z.shape[1]) if n_orders is None else int(n_orders), seed)

    with threadpool_limits(1):  # the same sums in the same order, whatever the number of workers
        return explain_fitted(whole, X, task, unit, against)


def _positive_only(part: Explained, n_classes: int) -> Explained:
    """With two classes, one output: the positive class."""
    if n_classes != 2 or part.values.shape[2] == 1:
        return part
    return replace(part, values=part.values[:, :, 1:], base=part.base[:, 1:], margin=part.margin[:, 1:])


def _background(cohort: Cohort, held_out: np.ndarray, seed: int) -> np.ndarray:
    """Up to 100 training samples, in an order of which every beginning has about the classes (or the targets) of all."""
    learned = np.ones(len(cohort.samples), dtype=bool)
    learned[held_out] = False
    if cohort.groups is not None:
        learned &= ~pd.Index(cohort.groups).isin(pd.unique(cohort.groups[held_out]))
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(learned))
    if cohort.classes:
        place = pd.Series(cohort.target[rows]).groupby(cohort.target[rows])
        share = (place.cumcount() + 0.5) / place.transform("size")
        rows = rows[np.argsort(share.to_numpy(), kind="stable")]
    return rows[:BACKGROUND]
