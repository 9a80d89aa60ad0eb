"""The fitted model as users hold it: predicts from AnnData objects and frames, is scored, saved and loaded."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ..core.errors import AuditWarning, ColumnNotFoundError, DataWarning, InputError, TargetError, near
from ..core.fitted import Fitted, numbers
from ..core.metrics import test_table
from ..core.schema import Validation
from ..core.scores import primary
from . import saved
from .extract import column
from .overlap import as_ids, without_version


@dataclass(frozen=True, eq=False, repr=False)
class FittedModel(Fitted):
    """A model fitted on all samples of a study, for use on others (:func:`geneml_bio.tl.fit`, :func:`geneml_bio.load`).

    It holds what it needs and no more: the genes that its screen chose (``features``), their medians and ranges in training
    (``medians``, ``low``, ``high``), the classes, how good it was in validation (``performance``, ``verdict``), on how many
    samples (``n_samples``, ``class_sizes``), what was asked (``spec``, ``tuned``), and the ``versions``. It holds no sample
    names. Models that consist of samples hold their values: nearest neighbours all of them, support vector machines some.
    """

    @classmethod
    def of(cls, fitted: Fitted) -> FittedModel:
        """The same model with the methods for files and AnnData objects."""
        return cls(**{field.name: getattr(fitted, field.name) for field in fields(Fitted)})

    def predict(
        self,
        new: AnnData | pd.DataFrame,
        *,
        missing: str = "error",
        layer: str | None = None,
        on: str | None = None,
        strip_version: bool = False,
    ) -> pd.DataFrame:
        """Predict samples that the model has not seen.

        Genes are found by id; their order does not matter, and genes that the model does not need are not looked at.
        Nothing is written to ``new``, which may be a view or backed by a file.

        Parameters
        ----------
        new
            AnnData object, or a frame of samples x genes; on the scale of the training data (normalised in the same way).
        missing
            Genes of the model that ``new`` lacks: ``"error"``, or ``"fill"`` with their medians in the training data, up to
            10 % of them, with a warning that counts them.
        layer
            Layer to use in place of ``X``.
        on
            Column of ``.var`` with the ids. Default: ``var_names``.
        strip_version
            Compare Ensembl and RefSeq ids without their version (``ENSG00000141510.18``), on both sides.

        Returns
        -------
        Frame by sample: ``predicted`` and, for classification, ``prob_{class}``.

        Warns
        -----
        DataWarning
            If values are on another scale than those of training (counts where logs were); or if more than 5 % of them (of
            one sample: 25 %) lie beyond a gene's range in training by more than half that range.

        Raises
        ------
        InputError
            If genes are missing; if values are infinite, or missing where the model has no way to fill them.
        DuplicateNamesError
            If a gene that is needed, or a sample, is there more than once.
        ColumnNotFoundError
            If the layer or the column is not there.
        """
        return self.predict_matrix(*self._matrix(new, missing, layer, on, strip_version))

    def score(
        self,
        new: AnnData | pd.DataFrame,
        target: str,
        *,
        groups: str | None = None,
        **how: Any,
    ) -> pd.DataFrame:
        """How well the model predicts samples whose target is known.

        Parameters
        ----------
        new
            AnnData object, or a frame of samples x genes with a column for the target.
        target
            Column of the target: class labels as in training, or numbers. Samples without one are left out and counted.
        groups
            Column of donors; whole donors are then resampled for the intervals. Donors that took part in training are not
            recognised by name: leave their samples out first.
        how
            ``missing``, ``layer``, ``on``, ``strip_version`` as in :meth:`predict`.

        Returns
        -------
        Frame ``metric value low high n``: value, 95 % interval and number of samples. A metric that needs every class is
        NaN where one has no sample.

        Raises
        ------
        TargetError
            If there are classes that the model does not know, or no sample with a target.
        """
        known, labels = self._observed(new, target)
        donors = None
        if groups is not None:
            values = _column(new, groups, "groups")[known]
            if values.isna().any():
                raise InputError(
                    f"groups: {int(values.isna().sum())} values of {groups!r} are missing; every sample needs one."
                )
            donors = values.astype(str).to_numpy()
        how = {"missing": "error", "layer": None, "on": None, "strip_version": False} | how
        X, samples, present = self._matrix(new, **how)
        X, samples = X[known], samples[known]
        again = self.recognised(X) if present.all() else 0
        if again:
            warnings.warn(
                f"{again} of these {len(samples)} samples are among those that the model was fitted on: what it scores on them says "
                "nothing about new ones.",
                AuditWarning,
                stacklevel=2,
            )
        made = self.predict_matrix(X, samples, present).reset_index(names="sample")
        made.insert(1, "model", self.model)
        made.insert(2, "observed", labels)
        nothing = made.assign(repeat=0, fold=0).iloc[:0]
        alone = Validation(nothing, nothing, nothing, {"seed": 0}, nothing, classes=self.classes, test=made)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of resamples that lack a class
            return test_table(alone, groups=donors).drop(columns="model")

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model to one file, without pickle; :func:`geneml_bio.load` reads it.

        The file is written whole or not at all, and read back before it takes its place. One that is there is replaced.

        Raises
        ------
        StorageError
            If a part of the model cannot be stored without pickle, such as a function defined in a script.
        InputError
            If the file cannot be written.
        """
        return saved.save(self, Path(path))

    def _matrix(
        self, new: Any, missing: str, layer: str | None, on: str | None, strip_version: bool
    ) -> tuple[Any, pd.Index, np.ndarray]:
        """Matrix of the genes that are there, in the order of the model; names of its rows; which genes are there."""
        if isinstance(new, pd.DataFrame):
            if layer is not None or on is not None:
                raise InputError("layer= and on= are for AnnData objects; a frame has its genes as columns.")
            places = self._places(_names(new.columns), missing, strip_version)
            return numbers(new.iloc[:, places[places >= 0]]), _names(new.index), places >= 0
        if not isinstance(new, AnnData):
            raise InputError(
                f"A {type(new).__name__} cannot be predicted from: pass an AnnData object or a frame of samples x genes "
                "(gb.read.expression reads files)."
            )
        if on is not None and on not in new.var:
            raise ColumnNotFoundError(f"on: no column {on!r} in adata.var.{near(on, new.var.columns)}")
        ids = _names(new.var_names) if on is None else _ids(new.var[on])
        places = self._places(ids, missing, strip_version)
        return _columns(new, places[places >= 0], layer), _names(new.obs_names), places >= 0

    def _places(self, names: pd.Index, missing: str, strip_version: bool) -> np.ndarray:
        if not strip_version:
            return self.locate(names, missing)
        short = pd.Index([without_version(name) for name in names])
        mine = pd.Index([without_version(name) for name in self.features])
        if mine.has_duplicates:
            raise InputError("Genes of the model differ in their version only; strip_version=True would confuse them.")
        back = dict(zip(mine, self.features, strict=True))
        return self.locate(pd.Index([back.get(name, name) for name in short]), missing)

    def _observed(self, new: AnnData | pd.DataFrame, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Which samples have a target, and those targets in the form of training."""
        values = _column(new, target, "target")
        known = values.notna().to_numpy()
        if not known.any():
            raise TargetError(f"Target {target!r} is missing for every sample.")
        if not known.all():
            lost = (
                f"{int((~known).sum())} of {len(known)} samples have no value in target {target!r} and were left out."
            )
            warnings.warn(lost, DataWarning, stacklevel=4)
        if not self.classes:
            if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
                raise TargetError(f"Target {target!r} is {values.dtype}; the model predicts a number.")
            return known, values[known].to_numpy(float)
        labels = values[known].astype(object).map(_label)
        counts = labels[~labels.isin(self.classes)].value_counts()
        if len(counts):
            said = ", ".join(f"{name!r} ({n} samples)" for name, n in counts.items())
            raise TargetError(
                f"Target {target!r} has classes that the model does not know: {said}. It knows {list(self.classes)}; drop those "
                "samples, or give the classes the names they had in training."
            )
        absent = [name for name in self.classes if not (labels == name).any()]
        if absent:
            warnings.warn(
                f"There is no sample of {len(absent)} of the {len(self.classes)} classes ({', '.join(map(repr, absent))}); metrics "
                "that need every class are not defined.",
                DataWarning,
                stacklevel=4,
            )
        return known, labels.to_numpy(object)

    def __repr__(self) -> str:
        what = " / ".join(self.classes) if self.classes else "a number"
        sizes = f" ({', '.join(f'{n} {name}' for name, n in self.class_sizes.items())})" if self.class_sizes else ""
        groups = f" of {self.n_groups:,} groups ({self.spec.get('groups', '')})" if self.n_groups else ""
        lines = [
            f"FittedModel: {self.model}, {self.task} of {self.target!r} ({what}) from {len(self.features):,} of {self.n_genes:,} genes",
            f"  fitted on {self.n_samples:,} samples{sizes}{groups}",
        ]
        return "\n".join([*lines, *(f"  {line}" for line in self._quality())])

    def _quality(self) -> list[str]:
        table = self.performance
        if "metric" not in table:
            return ["not validated"]
        sides = {"cv": "cross-validated", "test": "test set"}
        rows = table[table["metric"] == primary(self.task)]
        said = [
            f"{sides.get(row['set'], row['set'])}, {row['model']}: {row['metric'].replace('_', ' ')} {row['value']:.2f} "
            f"[{row['low']:.2f}, {row['high']:.2f}]"
            for _, row in rows.iterrows()
        ]
        return [*said, self.verdict] if self.verdict else said


def load(path: str | os.PathLike[str], *, trusted: Iterable[str | type] = ()) -> FittedModel:
    """Read a model that :meth:`FittedModel.save` wrote.

    No file can run code here: a pickle is refused without being opened, and only types of scikit-learn, numpy, XGBoost and
    this package are made. What the file says of itself is checked: its digest, its format, and that the model predicts here
    what it predicted where it was saved.

    Parameters
    ----------
    path
        The file.
    trusted
        Further types that may be made, by name (``"my.module.Estimator"``): of your own estimators, which can run any code.

    Warns
    -----
    DataWarning
        If the file was written with another version of scikit-learn or XGBoost.

    Raises
    ------
    ModelFileError
        If the file holds no model, is damaged, holds types that are not trusted, or predicts otherwise here.
    """
    return FittedModel.of(saved.load(Path(path), trusted=trusted))


def _ids(values: Any) -> pd.Index:
    """Ids as text; a missing one is the empty text, which no gene is called."""
    return pd.Index(["" if name is None else name for name in as_ids(values)], dtype=object)


def _names(index: pd.Index) -> pd.Index:
    return pd.Index(index.astype(str), name=index.name)


def _label(value: object) -> str:
    """A class label as text, as in training: 1.0 is ``1``."""
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def _column(new: AnnData | pd.DataFrame, name: str, what: str) -> pd.Series:
    if isinstance(new, AnnData):
        return column(new, name, what)
    if not isinstance(new, pd.DataFrame):
        raise InputError(
            f"A {type(new).__name__} cannot be scored: pass an AnnData object or a frame of samples x genes."
        )
    if name not in new.columns or not new.columns.is_unique:
        raise ColumnNotFoundError(f"{what}: no column {name!r} that is there once.{near(name, new.columns)}")
    return new[name]


def _columns(adata: AnnData, places: np.ndarray, layer: str | None) -> Any:
    """Columns of the matrix, in memory; of a backed one only these are read."""
    if layer is not None and layer not in adata.layers:
        raise ColumnNotFoundError(f"No layer {layer!r}.{near(layer, [k for k in adata.layers if k is not None])}")
    order = np.argsort(places, kind="stable")  # files give columns in ascending order only
    again = adata.isbacked and adata.is_view  # of which anndata makes no further view
    part = adata if again else adata[:, places[order]]
    X = part.X if layer is None else part.layers[layer]
    if X is None:
        raise InputError("adata.X is None; name a layer= that holds the expression values.")
    return _in_memory(X)[:, places if again else np.argsort(order, kind="stable")]


def _in_memory(X: Any) -> Any:
    from scipy import sparse

    if hasattr(X, "to_memory"):
        X = X.to_memory()
    if sparse.issparse(X):
        return sparse.csr_matrix(X)
    X = np.asarray(X)
    if not np.issubdtype(X.dtype, np.number) and X.dtype != bool:
        raise InputError(f"The expression matrix holds {X.dtype} values; numbers are expected.")
    return X
