"""What the SHAP values of held-out samples say of each gene: size, rank and its interval, direction, agreement of models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse, stats

from .schema import Cohort

DRAWS = 500  # of the rank interval
LEVEL = 0.95
_BLOCK = 500  # genes whose values are made dense at a time


class Values:
    """SHAP values of one model, or of the consensus: for each repeat and output a CSR of samples x genes."""

    def __init__(self, by_repeat: list[list[sparse.csr_matrix]]):
        self.by_repeat = by_repeat

    @classmethod
    def mixed(cls, values: Mapping[str, Values], weights: Mapping[str, float]) -> Values:
        """The sum of models by weight."""
        first = next(iter(values.values())).by_repeat
        return cls(
            [
                [
                    sum(w * values[name].by_repeat[r][k] for name, w in weights.items()).tocsr()
                    for k in range(len(first[r]))
                ]
                for r in range(len(first))
            ]
        )

    @cached_property
    def mean(self) -> list[sparse.csr_matrix]:
        """Mean over repeats, for each output."""
        n = len(self.by_repeat)
        out = [(sum(r[k] for r in self.by_repeat) / n).tocsr() for k in range(len(self.by_repeat[0]))]
        for matrix in out:
            matrix.eliminate_zeros()
            matrix.sort_indices()
        return out

    @cached_property
    def by_output(self) -> np.ndarray:
        """Mean absolute value over samples, outputs x genes."""
        return np.array([np.asarray(abs(matrix).mean(axis=0)).ravel() for matrix in self.mean])

    @property
    def mean_abs(self) -> np.ndarray:
        """Mean absolute value of each gene over samples and outputs."""
        return self.by_output.mean(axis=0)

    @property
    def total(self) -> float:
        """Mean total absolute value of a sample, over outputs: what a model's values are divided by in the consensus."""
        return float(self.mean_abs.sum())

    def sd(self) -> np.ndarray:
        """Standard deviation over repeats of a gene's mean absolute value; NaN of one repeat."""
        if len(self.by_repeat) < 2:
            return np.full(self.mean_abs.shape, np.nan)
        each = [np.mean([np.asarray(abs(m).mean(axis=0)).ravel() for m in repeat], axis=0) for repeat in self.by_repeat]
        return np.std(each, axis=0, ddof=1)


def per_gene(
    chosen: Values, values: Mapping[str, Values], cohort: Cohort, folds: pd.DataFrame, seed: int
) -> pd.DataFrame:
    """One row a gene: ``shap shap_rank rank_low rank_high sd direction rho n_models n_agree shap:{model} direction:{model}``.

    Parameters
    ----------
    chosen
        The values that are returned.
    values
        Those of each model.
    cohort
        The study.
    folds
        ``repeat fold sample`` of the repeats explained.
    seed
        Of the rank intervals.
    """
    frame = pd.DataFrame(index=cohort.features)
    size = chosen.mean_abs
    seen = np.flatnonzero(size > 0)
    frame["shap"] = size
    frame["shap_rank"] = frame["shap"].rank(ascending=False, method="min").where(size > 0)
    low, high = np.full((2, len(size)), np.nan)
    low[seen], high[seen] = rank_interval(chosen, seen, cohort, folds, seed)
    frame["rank_low"], frame["rank_high"], frame["sd"] = low, high, chosen.sd()
    top = chosen.by_output.argmax(axis=0)
    rho, by_model = _directions(chosen, values, cohort, seen, top)
    several = len(chosen.mean) > 1
    frame["direction"] = 0 if several else np.sign(rho[0]).astype(int)
    frame["rho"] = np.nan if several else rho[0]
    main = np.sign(rho[top, np.arange(len(size))])
    frame["n_models"] = np.sum([v.mean_abs > 0 for v in values.values()], axis=0).astype(int)
    frame["n_agree"] = np.sum([(own == main) & (main != 0) for own in by_model.values()], axis=0).astype(int)
    for name, own in values.items():
        frame[f"shap:{name}"] = own.mean_abs / own.total if own.total > 0 else 0.0
        frame[f"direction:{name}"] = by_model[name]
    for k, name in enumerate(cohort.classes if several else ()):
        frame[f"rho:{name}"] = rho[k]
    return frame


def _directions(
    chosen: Values, values: Mapping[str, Values], cohort: Cohort, seen: np.ndarray, top: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rank correlation of expression with SHAP: outputs x genes; and for each model its sign at the output ``top`` of a gene."""
    rho = np.zeros((len(chosen.mean), len(top)))
    signs = {name: np.zeros(len(top), dtype=int) for name in values}
    columns = {id(m): m.tocsc() for v in (chosen, *values.values()) for m in v.mean}
    for first in range(0, len(seen), _BLOCK):
        genes = seen[first : first + _BLOCK]
        x = _centred_ranks(_dense(cohort.X[:, genes]))
        for k, matrix in enumerate(chosen.mean):
            rho[k, genes] = _correlation(x, columns[id(matrix)][:, genes])
        for name, own in values.items():
            for k, matrix in enumerate(own.mean):
                here = np.flatnonzero(top[genes] == k)
                if len(here):
                    part = columns[id(matrix)][:, genes[here]]
                    signs[name][genes[here]] = np.sign(_correlation(x[:, here], part)).astype(int)
    return rho, signs


def _dense(x: Any) -> np.ndarray:
    """Expression as numbers; a missing value counts as the gene's median, as the pipelines see it."""
    x = x.toarray() if sparse.issparse(x) else np.asarray(x, dtype=float)
    return np.where(np.isnan(x), np.nanmedian(x, axis=0), x) if np.isnan(x).any() else x


def _centred_ranks(x: np.ndarray) -> np.ndarray:
    """Ranks of each column, centred, of length 1 (0 where it is constant)."""
    ranks = stats.rankdata(x, axis=0)
    ranks -= ranks.mean(axis=0)
    size = np.sqrt((ranks**2).sum(axis=0))
    return ranks / np.where(size > 0, size, np.inf)


def _correlation(x: np.ndarray, values: sparse.csc_matrix) -> np.ndarray:
    """Spearman's correlation of each column of ``x`` (centred ranks) with the same column of the values; 0 where constant."""
    return (x * _centred_ranks(values.toarray())).sum(axis=0)


def rank_interval(
    chosen: Values, seen: np.ndarray, cohort: Cohort, folds: pd.DataFrame, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the rank of each gene in ``seen``: how it varies with the samples learned from and the samples explained.

    Each draw takes the model of one fold of one repeat, resamples the samples that it explains (whole groups, where there are
    groups) and ranks the genes by their mean |SHAP| there. Resampling the explained samples alone would take the models for
    given. How often the intervals hold in studies drawn anew: docs, explain. The rank in all samples is always within.
    """
    rng = np.random.default_rng(seed)
    position = pd.Index(cohort.samples)
    cells = list(folds.groupby(["repeat", "fold"]))
    ranks = []
    for (repeat, _), part in cells:
        rows = position.get_indexer(pd.Index(part["sample"].astype(str)))
        sizes = sum(abs(m[rows][:, seen]) for m in chosen.by_repeat[int(repeat)])
        weights = _resampled(
            len(rows), None if cohort.groups is None else cohort.groups[rows], -(-DRAWS // len(cells)), rng
        )
        ranks.append(stats.rankdata(-(weights @ sizes), axis=1, method="min").astype(np.float32))
    tails = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(ranks), [tails, 1 - tails], axis=0, method="closest_observation")
    here = stats.rankdata(-chosen.mean_abs[seen], method="min")
    return np.minimum(low, here), np.maximum(high, here)


def _resampled(n: int, groups: np.ndarray | None, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draws x samples: what each sample weighs in the mean, samples or whole groups drawn with replacement."""
    code = np.arange(n) if groups is None else pd.factorize(groups)[0]
    k = int(code.max()) + 1
    weights = rng.multinomial(k, np.full(k, 1 / k), size=draws)[:, code].astype(float)
    return weights / weights.sum(axis=1, keepdims=True)
