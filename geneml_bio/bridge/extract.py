"""AnnData -> Cohort: labels, matrices and covariates, checked; nothing is written."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ..core.errors import (
    ColumnNotFoundError,
    DataWarning,
    DuplicateNamesError,
    InputError,
    LeakageError,
    StorageError,
    TargetError,
    ViewError,
    near,
)
from ..core.ids import first_duplicates
from ..core.resample import test_part
from ..core.schema import Cohort
from . import keys

MAX_CLASSES = 20


def check_writable(adata: object) -> None:
    """Refuse what results cannot be attached to, before any work is done.

    Raises
    ------
    InputError, ViewError, StorageError
    """
    if not isinstance(adata, AnnData):
        raise InputError(
            f"Expected an AnnData object, got {type(adata).__name__}. gb.read.expression(...) makes one from a table."
        )
    if adata.is_view:
        raise ViewError(
            "This AnnData is a view of another one; results written to it would not reach what you see. Pass a copy: adata = adata.copy()"
        )
    if adata.isbacked:
        raise ViewError(
            "This AnnData is backed by a file; results written to it would be lost. Load it first: adata = adata.to_memory(); or leave "
            "it on disk: gb.tl.stream(adata, target, ...)"
        )

    if adata.var_names.name in keys.GENE_COLUMNS:
        raise StorageError(_index_named("var_names", adata.var_names.name))


def check_class_names(adata: AnnData, columns: Iterable[str]) -> None:
    """Refuse an index of samples that is called like a column of the results; h5ad cannot hold the two together."""
    if adata.obs_names.name in set(columns):
        raise StorageError(_index_named("obs_names", adata.obs_names.name))


def _index_named(what: str, name: object) -> str:
    return f"adata.{what} is called {name!r}, as is a column of the results, and files cannot hold both: adata.{what}.name = None"


def column(adata: AnnData, name: str, what: str) -> pd.Series:
    """An ``.obs`` column, or an error that names the near ones."""
    check_name(name, what)
    if name not in adata.obs.columns:
        raise ColumnNotFoundError(f"{what}: no column {name!r} in adata.obs.{near(name, adata.obs.columns)}")
    if not adata.obs.columns.is_unique and (adata.obs.columns == name).sum() > 1:
        raise InputError(f"{what}: adata.obs has several columns called {name!r}.")
    return adata.obs[name]


def check_name(name: Any, what: str) -> None:
    """Refuse the values themselves, or a list, where the name of a column is asked for."""
    if isinstance(name, str | int) and not isinstance(name, bool):
        return
    meant = name.name if isinstance(name, pd.Series) else name[0] if isinstance(name, list) and len(name) == 1 else None
    mend = f": {what}={meant!r}" if isinstance(meant, str) else ""
    raise InputError(f"{what}= takes the name of one column of adata.obs, got {type(name).__name__}{mend}.")


def matrix(adata: AnnData, layer: str | None) -> Any:
    """``X`` or a layer as a float array or CSR, checked for what no model can use."""
    if layer is not None and layer not in adata.layers:
        raise ColumnNotFoundError(f"No layer {layer!r}.{near(layer, [k for k in adata.layers if k is not None])}")
    X: Any = adata.X if layer is None else adata.layers[layer]
    if X is None:
        raise InputError(
            "adata.X is None; name a layer= that holds the expression values. What gb.tl.stream returns holds results without expression: "
            "ask this of the data themselves, or of their sums by donor (gb.pp.pseudobulk)."
        )
    if not (sparse.issparse(X) or isinstance(X, np.ndarray)):
        raise InputError(
            f"The expression matrix is a {type(X).__name__}; load it into memory as a numpy array or a scipy sparse matrix."
        )
    X = sparse.csr_matrix(X) if sparse.issparse(X) else np.asarray(X)
    if sparse.issparse(X) and not X.has_canonical_format:
        X = X.copy()  # scipy would sort and add up the caller's own arrays, whenever it comes to it
        X.sum_duplicates()
    if X.dtype.kind not in "biuf":
        raise InputError(f"The expression matrix holds {X.dtype} values; numbers are expected.")
    if X.dtype not in (np.float32, np.float64):  # in half precision, models would learn from it in that
        X = X.astype(np.float64)
    stored = X.data if sparse.issparse(X) else X
    if np.isinf(stored).any():
        raise InputError(
            f"The expression matrix holds {int(np.isinf(stored).sum())} infinite values (the log of zero?); replace or drop them."
        )
    if sparse.issparse(X) and np.isnan(stored).any():
        raise InputError(
            "The sparse expression matrix holds NaN; a dense matrix can have missing values, a sparse one cannot."
        )
    return X


def _labels(values: pd.Series, name: str, reference: object) -> tuple[pd.Series, tuple[str, ...]]:
    """Class labels as str and the classes in order: of the category, of size for numbers, else sorted; reference first.

    Of two classes whose order says nothing (text, or a category in the order of the alphabet, which AnnData makes of text), one called
    as controls are comes first.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        ordered = list(values.cat.remove_unused_categories().cat.categories)
    else:
        ordered = list(values.dropna().unique())
        if all(isinstance(v, int | float | np.number | np.bool_) for v in ordered):
            if len(ordered) > MAX_CLASSES:
                raise TargetError(
                    f"Target {name!r} has {len(ordered)} different numbers; for a continuous target use gb.tl.regress."
                )
            ordered = sorted(ordered)
        else:
            ordered = sorted(ordered, key=str)
    text = {value: _text(value) for value in ordered}
    if len(set(text.values())) < len(text):
        raise TargetError(
            f"Target {name!r} has values that look the same as text: {sorted(text.values())}. Give them distinct names."
        )
    classes = list(text.values())
    if reference is not None:
        first = _text(reference)
        if first not in classes:
            raise TargetError(f"reference={reference!r} is not a class of {name!r}.{near(reference, classes)}")
        classes = [first] + [c for c in classes if c != first]
    elif len(classes) == 2 and classes == sorted(classes) and not getattr(values.dtype, "ordered", False):
        classes.sort(key=lambda label: not _is_reference(label))  # where both or none is one, the order stays
    return values.astype(object).map(text), tuple(classes)


# what the classes are called that others are compared with, in small letters, without blanks and signs
_REFERENCE = re.compile(
    r"controls?|ctrl|ctl|(healthy|normal)(controls?|donors?)?|wt|wildtype|(un|non)treated|vehicle|dmso|mock|sham|placebo|baseline"
    r"|unaffected|no|none|neg(ative)?|0|false"
)


def _is_reference(label: str) -> bool:
    return _REFERENCE.fullmatch(re.sub(r"[\W_]+", "", label.casefold())) is not None


def _text(value: object) -> str:
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def target_values(adata: AnnData, name: str, task: str, reference: str | None) -> tuple[pd.Series, tuple[str, ...]]:
    """The target of each sample (labels as text, or numbers; missing where unknown), and the classes, the reference first."""
    values = column(adata, name, "target")
    if values.isna().all():
        raise TargetError(f"Target {name!r} is missing for every sample.")
    if task == "classification":
        return _labels(values, name, reference)
    if (
        isinstance(values.dtype, pd.CategoricalDtype)
        or not pd.api.types.is_numeric_dtype(values)
        or pd.api.types.is_bool_dtype(values)
        or pd.api.types.is_complex_dtype(values)
    ):
        raise TargetError(
            f"Target {name!r} holds {_kind(values)}, a number is needed to regress on; for classes use gb.tl.classify."
        )
    values = values.astype(float)
    if np.isinf(values).any():
        raise TargetError(f"Target {name!r} holds infinite values.")
    return values, ()


def _kind(values: pd.Series) -> str:
    if pd.api.types.is_bool_dtype(values):
        return "True and False"
    return (
        f"{values.dtype} values"
        if pd.api.types.is_numeric_dtype(values)
        else f"text such as {values.dropna().iloc[0]!r}"
    )


def extract_cohort(
    adata: AnnData,
    target: str,
    *,
    task: str,
    layer: str | None = None,
    groups: str | None = None,
    batch: str | None = None,
    covariates: str | Iterable[str] | None = None,
    reference: str | None = None,
    missing: str = "drop",
) -> Cohort:
    """A study from an AnnData object; nothing is written.

    Samples whose target is missing are dropped with a warning that counts them (``missing="drop"``) or refused
    (``missing="error"``).
    """
    values, classes = target_values(adata, target, task, reference)
    known = values.notna().to_numpy()
    if missing not in ("drop", "error"):
        raise InputError(f"missing must be 'drop' or 'error', got {missing!r}.")
    if not known.all():
        count = f"{int((~known).sum())} of {len(known)} samples have no value in target {target!r}"
        if missing == "error":
            raise TargetError(f"{count}; drop them, or pass missing='drop'.")
        warnings.warn(f"{count} and were dropped; {int(known.sum())} remain.", DataWarning, stacklevel=5)
    if not adata.obs_names.is_unique:
        raise DuplicateNamesError(
            f"Sample names are duplicated ({first_duplicates(adata.obs_names)}, ...). Make them unique first, for example with "
            "adata.obs_names_make_unique()."
        )
    frame = covariates_of(adata, covariates)
    X = matrix(adata, layer)
    return Cohort(
        X=X if known.all() else X[known],
        features=pd.Index(adata.var_names.astype(str)),
        samples=pd.Index(adata.obs_names.astype(str))[known],
        target=values.to_numpy(dtype=object if classes else float)[known],
        classes=classes,
        groups=None if groups is None else column(adata, groups, "groups").astype(object).to_numpy()[known],
        batch=None if batch is None else column(adata, batch, "batch").astype(object).to_numpy()[known],
        covariates=None if frame is None else frame[known],
    )


def test_samples(
    adata: AnnData, cohort: Cohort, test_size: float | int | None, test_set: str | None, seed: int
) -> np.ndarray | None:
    """Which samples of the study are held out as a test set (boolean), or None.

    Raises
    ------
    InputError
        If both ways are asked for, or the column says something else than who is test and who is not.
    LeakageError
        If samples of one group are on both sides.
    """
    if test_size is not None and test_set is not None:
        raise InputError("Give test_size= (a random test set) or test_set= (a column that names it), not both.")
    if test_size is not None:
        return test_part(cohort.target, cohort.classes, cohort.groups, test_size, seed)
    if test_set is None:
        return None
    values = column(adata, test_set, "test_set")
    values = values[adata.obs_names.astype(str).isin(cohort.samples)].astype(object)
    said = [
        re.sub(r"^([01])\.0+$", r"\1", str(v).strip().lower()) for v in values
    ]  # a gap makes floats of a column of 0 and 1
    gaps = values.isna()
    unknown = sorted(
        {str(v) for v, low in zip(values[~gaps], np.array(said)[~gaps], strict=True) if low not in _TEST_WORDS}
    )
    if unknown or gaps.any():
        found = [*map(repr, unknown[:5]), *(["..."] if len(unknown) > 5 else [])]
        found += [f"{int(gaps.sum())} missing values"] if gaps.any() else []
        raise InputError(
            f"test_set: column {test_set!r} holds {', '.join(found)}; it must say True, 1 or 'test' for each sample of the test "
            "set, and False, 0 or 'train' for each of the others."
        )
    test = np.array([_TEST_WORDS[low] for low in said])
    if not test.any() or test.all():
        raise InputError(
            f"test_set: by column {test_set!r} {'all' if test.all() else 'no'} samples are in the test set."
        )
    if cohort.groups is not None and (both := sorted({*cohort.groups[test]} & {*cohort.groups[~test]}, key=str)):
        raise LeakageError(
            f"{len(both)} groups ({', '.join(map(str, both[:3]))}, ...) have samples in the test set and outside of it, so the "
            "test would be too good. Keep each group on one side, or use test_size=, which does."
        )
    return test


_TEST_WORDS = {
    "1": True,
    "0": False,
    "true": True,
    "test": True,
    "testing": True,
    "false": False,
    "train": False,
    "training": False,
}


def as_names(names: str | Iterable[str] | None, what: str = "covariates") -> list[str]:
    """One name, several, or none, as a list."""
    if names is None:
        return []
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Iterable) or isinstance(names, pd.Series | pd.DataFrame | Mapping):
        raise InputError(f"{what}= takes names of columns, got {type(names).__name__}.")
    return [str(name) for name in names]


def covariates_of(adata: AnnData, covariates: str | Iterable[str] | None) -> pd.DataFrame | None:
    """Columns of ``.obs`` as numbers and categories; None where none is named."""
    names = as_names(covariates)
    if not names:
        return None
    return pd.DataFrame({name: _covariate(column(adata, name, "covariates")) for name in names}, index=adata.obs_names)


def _covariate(values: pd.Series) -> pd.Series:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.remove_unused_categories()
    return values.astype(float) if pd.api.types.is_numeric_dtype(values) else values.astype("category")


def fingerprint(cohort: Cohort) -> str:
    """A hash of the data that a validation saw, so that stale results are recognised."""
    digest = hashlib.sha256()
    arrays = [cohort.X.data, cohort.X.indices, cohort.X.indptr] if sparse.issparse(cohort.X) else [cohort.X]
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    known = [] if cohort.covariates is None else [cohort.covariates[name] for name in cohort.covariates]
    labels = (cohort.features, cohort.samples, cohort.target, cohort.groups, cohort.batch, *known)
    for values in labels:
        digest.update(b"\x1e" if values is None else "\x1f".join(map(str, values)).encode())
    return digest.hexdigest()[:32]
