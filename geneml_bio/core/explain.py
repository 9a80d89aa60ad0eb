"""Out-of-fold SHAP -> Attribution.

Each held-out sample is explained by the pipeline that did not see it (:mod:`geneml_bio.core.explainers`); values are averaged
over repeats. Each fold's values are checked to add up to the output.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import sparse, stats
from tqdm.auto import tqdm

from .errors import AdditivityError, DataWarning, InputError, near
from .explainers import EXPLAINABLE, Explained, explain_fitted, has_explainer
from .fitting import bare
from .schema import Attribution, Cohort, Validation

CONSENSUS = "consensus"
TOLERANCE = 1e-5
ALL_REPEATS_UP_TO = 1000  # samples; beyond, one repeat tells as much and costs a fraction


def _explained(validation: Validation, model: str | None) -> list[str]:
    """The models to explain; those without an exact explainer are left out of the consensus with a warning."""
    names = validation.models
    if model is not None and model not in names and model != CONSENSUS:
        raise InputError(f"model={model!r} was not validated.{near(model, names)}")
    kinds = {of[2]: bare(whole).named_steps["model"] for of, whole in validation.fitted.items()}
    able = [name for name in names if name in kinds and has_explainer(kinds[name])]
    wanted = names if model in (None, CONSENSUS) else [str(model)]
    lacking = [f"{name} ({type(kinds[name]).__name__})" for name in wanted if name in kinds and name not in able]
    chosen = [name for name in wanted if name in able]
    if not chosen:
        raise InputError(
            f"There is no exact SHAP explainer for {', '.join(lacking) or 'models that are not fitted'}; there are such for "
            f"{EXPLAINABLE}."
        )
    if lacking:
        message = f"No exact SHAP explainer for {', '.join(lacking)}: the consensus is that of {', '.join(chosen)}."
        warnings.warn(message, DataWarning, stacklevel=4)
    return chosen


def _positive_only(part: Explained, n_classes: int) -> Explained:
    """With two classes, one output: the positive class."""
    if n_classes != 2 or part.values.shape[2] == 1:
        return part
    return replace(part, values=part.values[:, :, 1:], base=part.base[:, 1:], margin=part.margin[:, 1:])


class _Sum:
    """Sum over folds and repeats of one model's values, in sample and gene positions of the study."""

    def __init__(self, n: int, p: int, n_outputs: int, n_repeats: int):
        self.n, self.p, self.n_repeats = n, p, n_repeats
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.base = np.zeros((n, n_outputs))
        self.margin = np.zeros((n, n_outputs))
        self.used = np.zeros(p)
        self.unit = self.explainer = ""
        self.error = 0.0

    def add(self, rows: np.ndarray, genes: np.ndarray, part: Explained) -> None:
        genes = genes if part.columns is None else genes[part.columns]
        gap = np.abs(part.base + part.values.sum(axis=1) - part.margin) / np.maximum(1.0, np.abs(part.margin))
        self.error = max(self.error, float(gap.max(initial=0.0)))
        self.base[rows] += part.base / self.n_repeats
        self.margin[rows] += part.margin / self.n_repeats
        self.used[genes] += (part.values != 0).any(axis=(0, 2))
        self.parts.append((rows, genes, part.values / self.n_repeats))
        self.unit, self.explainer = part.unit, part.explainer

    def matrices(self) -> list[sparse.csr_matrix]:
        """One CSR of samples x genes per output."""
        out = []
        for k in range(self.parts[0][2].shape[2]):
            rows = np.concatenate([np.repeat(r, len(g)) for r, g, _ in self.parts])
            cols = np.concatenate([np.tile(g, len(r)) for r, g, _ in self.parts])
            data = np.concatenate([v[:, :, k].ravel() for _, _, v in self.parts])
            there = data != 0
            matrix = sparse.coo_matrix((data[there], (rows[there], cols[there])), shape=(self.n, self.p)).tocsr()
            matrix.sort_indices()
            out.append(matrix)
        return out


def explain(
    validation: Validation,
    cohort: Cohort,
    *,
    model: str | None = None,
    n_repeats: int | None = None,
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
    progress, label
        Progress bar and its name.

    Raises
    ------
    InputError
        For a model that was not validated or has no exact explainer, and for more repeats than there are.
    AdditivityError
        If base + sum(values) misses the model's output by more than 1e-5 (relative) for a held-out sample.
    """
    names = _explained(validation, model)
    repeats = _repeats(n_repeats, int(validation.spec["n_repeats"]), len(cohort.samples))
    sums = _collect(validation, names, cohort, repeats, progress, label)
    for name, total in sums.items():
        if total.error > TOLERANCE:
            raise AdditivityError(
                f"SHAP values of {name} miss its output by {total.error:.2g} (relative), more than {TOLERANCE:g}; "
                "this is a defect of the explainer for this model, please report it."
            )
    outputs = tuple(cohort.classes[1:] if len(cohort.classes) == 2 else cohort.classes) or ("prediction",)
    matrices = {name: total.matrices() for name, total in sums.items()}
    scale = {name: _scale(parts) for name, parts in matrices.items()}
    per_gene = _per_gene(matrices, scale, sums, cohort)
    n_folds = validation.folds.query("repeat < @repeats").groupby(["repeat", "fold"]).ngroups
    per_gene["used"] = np.mean([total.used for total in sums.values()], axis=0) / n_folds
    together = names[0] if len(names) == 1 else CONSENSUS  # the consensus of one model is that model, in its own unit
    chosen = together if model in (None, CONSENSUS) else str(model)
    weights = _weights(chosen, scale)
    values = {out: sum(w * matrices[n][k] for n, w in weights.items()).tocsr() for k, out in enumerate(outputs)}
    return Attribution(
        model=chosen,
        outputs=outputs,
        values=values,
        base=np.sum([w * sums[n].base for n, w in weights.items()], axis=0),
        margin=np.sum([w * sums[n].margin for n, w in weights.items()], axis=0),
        unit="share" if chosen == CONSENSUS else sums[chosen].unit,
        per_gene=_finish(per_gene, values, cohort),
        per_model=_per_model(sums, n_folds),
        n_repeats=repeats,
    )


def _repeats(asked: int | None, there: int, n_samples: int) -> int:
    if asked is None:
        return there if n_samples <= ALL_REPEATS_UP_TO else 1
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer) or not 1 <= asked <= there:
        raise InputError(f"n_repeats must be between 1 and {there}, the number of repeats validated; got {asked!r}.")
    return int(asked)


def _weights(chosen: str, scale: dict[str, float]) -> dict[str, float]:
    """What each model counts: one alone, or all of them scaled to one total (a model that used nothing has no say)."""
    if chosen != CONSENSUS:
        return {chosen: 1.0}
    return {name: 1 / total / len(scale) if total > 0 else 0.0 for name, total in scale.items()}


def _per_model(sums: dict[str, _Sum], n_folds: int) -> pd.DataFrame:
    rows = [
        {
            "model": name,
            "unit": total.unit,
            "explainer": total.explainer,
            "genes_used": int((total.used > 0).sum()),
            "genes_per_fold": float(total.used.sum() / n_folds),
            "max_error": total.error,
        }
        for name, total in sums.items()
    ]
    return pd.DataFrame(rows)


def _collect(
    validation: Validation, names: list[str], cohort: Cohort, n_repeats: int, progress: bool, label: str
) -> dict[str, _Sum]:
    n, p = cohort.X.shape
    n_outputs = len(cohort.classes) if len(cohort.classes) > 2 else 1
    sums = {name: _Sum(n, p, n_outputs, n_repeats) for name in names}
    unit = f"unit of {validation.spec.get('target', 'the target')}"
    position = pd.Index(cohort.samples)
    held_out = {
        (int(run), int(fold)): position.get_indexer(pd.Index(part["sample"].astype(str)))
        for (run, fold), part in validation.folds.groupby(["repeat", "fold"])
    }
    wanted = {of: whole for of, whole in validation.fitted.items() if of[0] < n_repeats and of[2] in names}
    for (run, fold, name), whole in tqdm(wanted.items(), desc=label, disable=not progress):
        rows = held_out[run, fold]
        part = explain_fitted(whole, cohort.X[rows], cohort.task, unit)
        genes = bare(whole).named_steps["screen"].get_support(indices=True)
        sums[name].add(rows, genes, _positive_only(part, len(cohort.classes)))
    return sums


def _scale(parts: list[sparse.csr_matrix]) -> float:
    """Mean total absolute SHAP of a sample, over outputs: what one model's values are divided by in the consensus."""
    return float(np.mean([abs(matrix).sum() / matrix.shape[0] for matrix in parts]))


def _mean_abs(parts: list[sparse.csr_matrix]) -> np.ndarray:
    """Mean absolute SHAP of each gene over samples and outputs."""
    return np.mean([np.asarray(abs(matrix).mean(axis=0)).ravel() for matrix in parts], axis=0)


def _per_gene(
    matrices: dict[str, list[sparse.csr_matrix]], scale: dict[str, float], sums: dict[str, _Sum], cohort: Cohort
) -> pd.DataFrame:
    frame = pd.DataFrame(index=cohort.features)
    frame["n_models"] = np.sum([total.used > 0 for total in sums.values()], axis=0).astype(int)
    for name, parts in matrices.items():
        share = _mean_abs(parts) / scale[name] if scale[name] > 0 else np.zeros(len(frame))
        frame[f"shap:{name}"] = share
    return frame


def _finish(frame: pd.DataFrame, values: dict[str, sparse.csr_matrix], cohort: Cohort) -> pd.DataFrame:
    """Mean absolute SHAP, its rank, and the direction in which expression pushes the output."""
    frame = frame.copy()
    parts = list(values.values())
    frame["shap"] = _mean_abs(parts)
    frame["shap_rank"] = frame["shap"].rank(ascending=False, method="min").where(frame["shap"] > 0)
    rho = np.zeros((len(frame), len(parts)))
    seen = np.flatnonzero(frame["shap"].to_numpy() > 0)
    expression = cohort.X[:, seen]
    expression = expression.toarray() if sparse.issparse(expression) else np.asarray(expression, dtype=float)
    for k, matrix in enumerate(parts):
        rho[seen, k] = _rank_correlations(expression, matrix[:, seen].toarray())
    strongest = np.abs(rho).argmax(axis=1)
    frame["rho"] = rho[np.arange(len(rho)), strongest] if len(parts) == 1 else np.nan
    frame["direction"] = np.sign(frame["rho"]).fillna(0).astype(int)
    for k, name in enumerate(values if len(parts) > 1 else ()):
        frame[f"rho:{name}"] = rho[:, k]
    return frame


def _rank_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each column of ``a`` with the same column of ``b``; 0 where one is constant.

    A missing value counts as the column's median, as the pipelines see it.
    """
    if np.isnan(a).any():
        a = np.where(np.isnan(a), np.nanmedian(a, axis=0), a)
    ranks = [stats.rankdata(part, axis=0) for part in (a, b)]
    x, y = (part - part.mean(axis=0) for part in ranks)
    size = np.sqrt((x**2).sum(axis=0) * (y**2).sum(axis=0))
    return (x * y).sum(axis=0) / np.where(size > 0, size, np.inf)
