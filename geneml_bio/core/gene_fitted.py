"""A model of genes for use: fitted on all genes, it predicts those of another table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from .detable import DETable
from .errors import DataWarning, DuplicateNamesError, InputError
from .fitting import Recipe, fit_candidate
from .gene_blocks import Plan, Sources, assemble
from .gene_columns import Column, encode
from .ids import first_duplicates
from .models import Candidate, task_seed
from .screen import FixedScreen

MISSING = ("error", "fill")
_OUTSIDE = 0.05  # share of the genes beyond the training range that goes without a warning
_SOURCES = {
    "table": "the table",
    "features": "features=",
    "contrast": "contrasts=",
    "gene set": "its gene sets",
}


@dataclass(frozen=True, eq=False)
class FittedGenes:
    """A model that predicts a column of a DE table for genes.

    Parameters
    ----------
    model, block, target
        Its name, whose predictors it uses, and what it predicts.
    pipeline
        The fitted pipeline, from the columns ``names``.
    columns, names, origin
        The predictors as they stand in the sources; their encoded names in order; column -> source.
    net, sets
        The gene sets behind its columns, or None.
    n_genes, r2
        Genes it was fitted on; R2 by cross-validation.
    medians, low, high
        Of each encoded predictor in those genes.
    tuned
        The hyperparameters chosen.
    """

    model: str
    block: str
    target: str
    pipeline: Any
    columns: tuple[Column, ...]
    names: tuple[str, ...]
    origin: Mapping[str, str]
    net: pd.DataFrame | None
    sets: tuple[str, ...]
    n_genes: int
    r2: float
    medians: np.ndarray
    low: np.ndarray
    high: np.ndarray
    tuned: Mapping[str, Any]

    @property
    def needs(self) -> dict[str, list[str]]:
        """Source -> columns that it takes from there."""
        out: dict[str, list[str]] = {}
        for column in self.columns:
            out.setdefault(_SOURCES[self.origin[column.name]], []).append(column.name)
        return out

    def __repr__(self) -> str:
        needs = "; ".join(
            f"{source}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"
            for source, names in self.needs.items()
        )
        return (
            f"FittedGenes: {self.model} of {self.target}, fitted on {self.n_genes:,} genes (cross-validated R2 {self.r2:.2f})\n"
            f"needs {needs}"
        )

    def predict(
        self,
        table: DETable | pd.DataFrame,
        *,
        features: pd.DataFrame | None = None,
        contrasts: Mapping[str, DETable] | None = None,
        missing: str = "error",
    ) -> pd.Series:
        """Predict the target for each gene of a table.

        Parameters
        ----------
        table
            A DETable, or a frame by gene with the predictors' columns.
        features, contrasts
            Where the model uses such: as for :func:`geneml_bio.tl.regress_genes`, under the same names.
        missing
            Predictors that are not there are an error, or are filled by their training median with a warning (``"fill"``).

        Returns
        -------
        Series
            By gene. A level that was not there in training counts as none; genes beyond the range of the training genes are
            warned of, for trees cannot extrapolate and lines do so blindly.

        Raises
        ------
        InputError
            If predictors are missing; they are named, with the source they came from.
        DuplicateNamesError
            If genes repeat.
        """
        if missing not in MISSING:
            raise InputError(f"missing must be one of {MISSING}, got {missing!r}.")
        frame = table.frame if isinstance(table, DETable) else table
        if not isinstance(frame, pd.DataFrame):
            raise InputError(f"table must be a DETable or a DataFrame by gene, got {type(table).__name__}.")
        frame = frame.set_axis(frame.index.astype(str), axis=0)
        if frame.index.has_duplicates:
            raise DuplicateNamesError(
                f"Genes are there twice ({first_duplicates(frame.index)}, ...); keep one row a gene."
            )
        X = self._matrix(frame, features, contrasts or {}, missing)
        self._say(X)
        with threadpool_limits(1):
            made = self.pipeline.predict(X.to_numpy(float))
        return pd.Series(np.asarray(made, dtype=float), index=frame.index, name=self.target)

    def _matrix(
        self, frame: pd.DataFrame, features: pd.DataFrame | None, contrasts: Mapping[str, DETable], missing: str
    ) -> pd.DataFrame:
        sources = Sources(
            frame, features=features, net=self.net, contrasts=contrasts, sets=self.sets if self.sets else None
        )
        raw = assemble(sources, self.target).frame
        lost = [column for column in self.columns if column.name not in raw.columns]
        if lost and missing == "error":
            named = "; ".join(f"{column.name} (of {_SOURCES[self.origin[column.name]]})" for column in lost[:8])
            more = ", ..." if len(lost) > 8 else ""
            raise InputError(
                f"{len(lost)} of the {len(self.columns)} predictors are not there: {named}{more}. Give them, or missing='fill' to put the "
                "training median in their place."
            )
        there = [column for column in self.columns if column.name in raw.columns]
        X, unknown = encode(there, raw)
        X = X.reindex(columns=list(self.names))
        if unknown := {name: count for name, count in unknown.items() if count}:
            told = ", ".join(f"{name} {count}" for name, count in unknown.items())
            warnings.warn(f"Values that are no numbers count as missing: {told}.", DataWarning, stacklevel=3)
        gaps = X.isna().sum()
        if gaps.any():
            told = ", ".join(f"{name} {count:,}" for name, count in gaps[gaps > 0].head(8).items())
            message = f"Missing predictors of {len(X):,} genes were filled by the training median: {told}."
            warnings.warn(message, DataWarning, stacklevel=3)
        return X.fillna(dict(zip(self.names, self.medians, strict=True)))

    def _say(self, X: pd.DataFrame) -> None:
        values = X.to_numpy(float)
        outside = ((values < self.low) | (values > self.high)).mean(axis=0)
        far = [f"{name} {share:.0%}" for name, share in zip(self.names, outside, strict=True) if share > _OUTSIDE]
        if far:
            message = (
                f"Genes beyond the range of the training genes: {', '.join(far[:8])}. Is the table on the same scale?"
            )
            warnings.warn(message, DataWarning, stacklevel=3)


def refit_genes(
    candidate: Candidate,
    block: str,
    plan: Plan,
    sources: Sources,
    X: pd.DataFrame,
    y: np.ndarray,
    groups: np.ndarray,
    target: str,
    *,
    tune: bool,
    seed: int,
    r2: float,
) -> FittedGenes:
    """Fit one validated recipe on all genes."""
    values = X.to_numpy(float)
    recipe = Recipe(FixedScreen(columns=np.arange(X.shape[1])), bool(np.isnan(values).any()), tune, 0)
    own = groups if len(set(groups)) < len(groups) else None
    with threadpool_limits(1):
        pipeline, tuned = fit_candidate(
            recipe, candidate, values, y, groups=own, seed=task_seed(seed, "fit", candidate.name)
        )
    columns = tuple(plan.of(block))
    sets = tuple(column.name for column in columns if plan.origin[column.name] == "gene set")
    names = {name.removeprefix("gene set:") for name in sets}
    net = sources.net[sources.net["source"].isin(names)] if sources.net is not None and names else None
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    return FittedGenes(candidate.name, block, target, pipeline, columns, tuple(X.columns), dict(plan.origin), net,
                       tuple(name.removeprefix("gene set:") for name in sets), len(y), r2, np.nanmedian(values, axis=0), low, high,
                       tuned)  # fmt: skip
