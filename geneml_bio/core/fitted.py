"""A model for use: restricted to the genes that it needs, with what is known of its quality; predicts from frames and arrays."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .errors import DataWarning, DuplicateNamesError, InputError
from .fitting import predict_fitted
from .ids import first_duplicates
from .scale import said_of, unlogged
from .schema import prob_column

MISSING = ("error", "fill")
MAX_FILLED = 0.1  # share of the genes that may be missing and filled
MARGIN = 0.5  # of a gene's range in training: values farther outside than that are counted
MAX_OUTSIDE = 0.05  # share of such values, over all samples, that goes without a warning
MAX_OUTSIDE_SAMPLE = 0.25  # and of one sample
_ROWS = 20_000  # samples made dense and predicted at a time
_PROBES = 8


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted model, the genes that it needs, and how good it was in validation.

    Parameters
    ----------
    model
        Its name in the validation.
    pipeline
        The fitted pipeline, from the matrix of ``features`` to the prediction.
    features
        Ids of the genes it needs, in the order of the pipeline.
    target, classes
        What is predicted; class labels in order, empty for regression.
    n_samples, n_genes
        How many samples and genes it was fitted on; the screen chose ``features`` among the latter.
    n_groups
        How many donors these samples are of; 0 where no groups were named.
    class_sizes
        Samples of each class; empty for regression.
    medians, low, high
        Of each gene in those samples: median, least and largest value.
    imputes
        Whether missing values may be given to it (some were missing in training): the medians take their place.
    scale
        What the values of these genes looked like: ``""`` (may be logs), ``"counts"`` or ``"intensities"``.
    dtype
        Of the values.
    performance
        What validation found: ``set model metric value low high ...``; ``set`` is ``"cv"`` or ``"test"``.
    verdict
        Whether that was better than chance, in words.
    spec, tuned
        What was asked for in the validation; the hyperparameters chosen by tuning.
    versions, fingerprint
        Of the packages; of the data.
    history
        The epochs of a neural network, or None.
    seen
        A short digest of each sample's values, by which :meth:`recognised` knows it again.
    """

    model: str
    pipeline: Any
    features: tuple[str, ...]
    target: str
    classes: tuple[str, ...]
    n_samples: int
    n_genes: int
    medians: np.ndarray
    low: np.ndarray
    high: np.ndarray
    imputes: bool = False
    scale: str = ""
    dtype: str = "float64"
    n_groups: int = 0
    class_sizes: Mapping[str, int] = field(default_factory=dict)
    performance: pd.DataFrame = field(default_factory=pd.DataFrame)
    verdict: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    tuned: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    history: pd.DataFrame | None = None
    seen: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        index = pd.Index(self.features)
        if not len(index) or index.has_duplicates or not all(isinstance(name, str) for name in self.features):
            raise InputError("A fitted model needs the ids of its genes: text, at least one, each once.")
        for name in ("medians", "low", "high"):
            values = getattr(self, name)
            if values.shape != (len(index),) or not np.isfinite(values).all():
                raise InputError(f"A fitted model needs one finite number a gene in {name}.")
        if len(set(self.classes)) != len(self.classes) or len(self.classes) == 1:
            raise InputError(f"A classifier needs two classes or more, each once; got {self.classes}.")

    @property
    def task(self) -> str:
        """``"classification"`` or ``"regression"``."""
        return "classification" if self.classes else "regression"

    @property
    def unit(self) -> str:
        """Of what is predicted: ``"probability"``, or the target itself."""
        return "probability" if self.classes else self.target

    # -- from a table to the matrix ------------------------------------------------------------------------------------

    def locate(self, names: pd.Index, missing: str = "error") -> np.ndarray:
        """Positions of the genes among names, in the order of ``features``; -1 for one that is to be filled.

        Raises
        ------
        DuplicateNamesError
            If a needed gene is there more than once; whatever else repeats does no harm.
        InputError
            If genes are missing and may not be filled, or too many are.
        """
        if missing not in MISSING:
            raise InputError(f"missing must be one of {MISSING}, got {missing!r}.")
        wanted = pd.Index(self.features)
        places = np.flatnonzero(names.isin(wanted))
        there = names[places]
        if there.has_duplicates:
            raise DuplicateNamesError(
                f"{int(there.duplicated().sum())} genes of the model are in the data more than once ({first_duplicates(there)}, "
                "...); which one is meant cannot be told. Keep one of each."
            )
        found = there.get_indexer(wanted)
        absent = wanted[found < 0]
        if len(absent) == len(wanted):
            raise InputError(
                f"None of the {len(wanted)} genes of the model is in the data ({wanted[0]!r}, ... against "
                f"{', '.join(repr(str(n)) for n in names[:1])}, ...); are they in the same id space?"
            )
        if len(absent):
            self._allow(absent, missing)
        return np.where(found >= 0, places[found], -1)

    def _allow(self, absent: pd.Index, missing: str) -> None:
        shown = ", ".join(repr(str(name)) for name in absent[:5]) + (", ..." if len(absent) > 5 else "")
        count = f"{len(absent)} of the {len(self.features)} genes of the model are not in the data ({shown})"
        if missing == "error":
            raise InputError(
                f"{count}. Supply them; or, if they are few, missing='fill' takes their medians in the training data."
            )
        if len(absent) > MAX_FILLED * len(self.features):
            raise InputError(
                f"{count}: more than the {MAX_FILLED:.0%} that may be filled. Fit the model anew on the genes that both have."
            )
        warnings.warn(f"{count} and were filled with their medians in the training data.", DataWarning, stacklevel=5)

    def predict_frame(self, table: pd.DataFrame, *, missing: str = "error") -> pd.DataFrame:
        """Predict from a frame of samples x genes; columns that are not needed are not looked at."""
        places = self.locate(pd.Index(table.columns.astype(str)), missing)
        return self.predict_matrix(numbers(table.iloc[:, places[places >= 0]]), table.index, places >= 0)

    # -- from the matrix to predictions --------------------------------------------------------------------------------

    def predict_matrix(self, X: Any, samples: pd.Index, present: np.ndarray | None = None) -> pd.DataFrame:
        """Predict from a matrix, dense or CSR, whose columns are the genes in the order of ``features``.

        Parameters
        ----------
        X
            Samples x genes.
        samples
            Names of the rows.
        present
            Which genes are columns of ``X``; the others are filled with their medians. None: all.

        Returns
        -------
        Frame by sample: ``predicted`` and, for classification, ``prob_{class}``.
        """
        if present is None:
            present = np.ones(len(self.features), dtype=bool)
        if X.shape != (len(samples), int(present.sum())):
            raise InputError(f"X is {X.shape[0]} x {X.shape[1]}; {len(samples)} x {int(present.sum())} are expected.")
        if samples.has_duplicates:
            raise DuplicateNamesError(
                f"Sample names are duplicated ({first_duplicates(samples)}, ...); their predictions could not be told apart."
            )
        if not len(samples):
            raise InputError("There are no samples to predict.")
        made = np.empty((len(samples), max(1, len(self.classes))))
        outside = np.zeros((len(samples),), dtype=int)
        genes = np.zeros(len(self.features), dtype=int)
        for rows in _slices(len(samples)):
            part = np.tile(self.medians.astype(self.dtype), (rows.stop - rows.start, 1))
            part[:, present] = dense(X[rows])
            self._usable(part)
            part = np.where(np.isnan(part), self.medians.astype(self.dtype), part)
            far = self._far(part)
            outside[rows], genes = far.sum(axis=1), genes + far.sum(axis=0)
            made[rows] = predict_fitted(self.pipeline, part, len(self.classes)).reshape(len(part), -1)
        if self._same_scale(X.data if sparse.issparse(X) else X):
            self._same_range(outside, genes, int(present.sum()))
        return self._frame(made, samples)

    def _frame(self, made: np.ndarray, samples: pd.Index) -> pd.DataFrame:
        if not self.classes:
            return pd.DataFrame({"predicted": made[:, 0]}, index=samples)
        named = np.asarray(self.classes, dtype=object)[made.argmax(axis=1)]
        out = {"predicted": named} | {prob_column(name): made[:, i] for i, name in enumerate(self.classes)}
        return pd.DataFrame(out, index=samples)

    def _usable(self, part: np.ndarray) -> None:
        endless = np.isinf(part)
        if endless.any():
            raise InputError(
                f"The data hold {int(endless.sum())} infinite values (the log of zero?); replace or drop them."
            )
        gaps = np.isnan(part)
        if gaps.any() and not self.imputes:
            first = self.features[int(gaps.any(axis=0).argmax())]
            raise InputError(
                f"The data hold {int(gaps.sum())} missing values in genes of the model (such as {first!r}), and this model has "
                "no way to fill them: nothing was missing in the data it was fitted on. Fill them, or drop those samples."
            )

    def _same_scale(self, stored: np.ndarray) -> bool:
        """Whether the new values are on the scale of those of training; a warning where they are not."""
        high = float(np.fmax.reduce(stored, axis=None)) if stored.size else 0.0
        now = unlogged(stored)
        if now and not self.scale:
            said = said_of(now, high)
            warnings.warn(
                f"{said} The model was fitted on logs; its predictions mean nothing here.", DataWarning, stacklevel=4
            )
        elif self.scale and not now:
            warnings.warn(
                f"The model was fitted on {self.scale} (up to {self.high.max():.4g}), and these values look like logs (up to "
                f"{high:.4g}); its predictions mean nothing here.",
                DataWarning,
                stacklevel=4,
            )
        return bool(now) == bool(self.scale)

    def _far(self, part: np.ndarray) -> np.ndarray:
        margin = MARGIN * (self.high - self.low)
        return (part < self.low - margin) | (part > self.high + margin)

    def _same_range(self, by_sample: np.ndarray, by_gene: np.ndarray, n_genes: int) -> None:
        total, share = int(by_sample.sum()), by_sample / n_genes
        odd = int((share > MAX_OUTSIDE_SAMPLE).sum())
        if share.mean() <= MAX_OUTSIDE and not odd:
            return
        warnings.warn(
            f"{total} of {len(by_sample) * n_genes} values ({share.mean():.0%}) lie far outside what the model has seen (beyond "
            f"a gene's range in training by more than half of it), in {int((by_gene > 0).sum())} genes"
            + (f"; in {odd} samples, more than {MAX_OUTSIDE_SAMPLE:.0%} of the values" if odd else "")
            + ". Another platform, normalisation or batch? The predictions are then guesses.",
            DataWarning,
            stacklevel=4,
        )

    def recognised(self, X: Any) -> int:
        """How many rows of a matrix, whose columns are all the genes in order, were among the samples of training."""
        known = set(self.seen)
        return sum(one in known for rows in _slices(X.shape[0]) for one in digests(dense(X[rows])))

    def probe(self) -> np.ndarray:
        """Predictions for made-up samples within the range of training: what a copy of the model must give too."""
        share = np.random.default_rng(0).random((_PROBES, len(self.features)))
        made_up = np.vstack([self.medians, self.low + share * (self.high - self.low)]).astype(self.dtype)
        return predict_fitted(self.pipeline, made_up, len(self.classes)).reshape(len(made_up), -1)


def _slices(n: int) -> list[slice]:
    return [slice(start, min(start + _ROWS, n)) for start in range(0, n, _ROWS)]


def dense(X: Any) -> np.ndarray:
    """A matrix, CSR or not, as an array."""
    return X.toarray() if sparse.issparse(X) else np.asarray(X)


def digests(X: np.ndarray) -> list[str]:
    """A short digest of each row, in single precision."""
    return [hashlib.blake2b(row.tobytes(), digest_size=8).hexdigest() for row in X.astype(np.float32) + np.float32(0)]


def numbers(table: pd.DataFrame) -> np.ndarray:
    """A frame as floats, or an error that names a column which is none."""
    for name, column in table.items():
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
            raise InputError(f"Gene {name!r} is {column.dtype} in the data; numbers are expected.")
    return table.to_numpy(dtype=float, na_value=np.nan)
