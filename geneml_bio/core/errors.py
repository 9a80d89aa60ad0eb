"""The exceptions and warnings of geneml_bio, one type per kind.

Every message says what was got, what was expected, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral


class GenemlError(Exception):
    """Base of every error that geneml_bio raises on purpose."""


class InputError(GenemlError, ValueError):
    """An argument or the data cannot be used as given."""


class ColumnNotFoundError(GenemlError, KeyError):
    """A column, layer or key named by the caller is not there."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class TargetError(InputError):
    """The target cannot be modelled: one class, constant, too few samples, missing values."""


class DuplicateNamesError(InputError):
    """Gene or sample names are not unique."""


class LeakageError(GenemlError, ValueError):
    """What was asked would let held-out samples inform the model."""


class ConfoundingError(GenemlError, ValueError):
    """Target and batch are the same thing in this study."""


class DesignError(InputError):
    """The design matrix or the contrast cannot be estimated."""


class FormulaError(InputError):
    """A design formula uses more than the safe grammar."""


class TableError(InputError):
    """A table is not a differential-expression table that can be read."""


class ViewError(GenemlError, ValueError):
    """Results cannot be attached to a view or a backed object."""


class StorageError(GenemlError, ValueError):
    """A key or a value cannot be stored in an AnnData object."""


class StaleResultError(GenemlError, ValueError):
    """Stored results do not belong to the data they are used with."""


class ModelFileError(InputError):
    """A file holds no fitted model that can be loaded: damaged, something else, or of types that are not trusted."""


class DeviceError(GenemlError, RuntimeError):
    """The GPU that was asked for is not there, or cannot be used."""


class WorkerError(GenemlError, RuntimeError):
    """Processes or machines that did the work were lost again and again."""


class CheckpointInUseError(GenemlError, RuntimeError):
    """Another process does the same work in the same folder, now."""


class AdditivityError(GenemlError, ArithmeticError):
    """SHAP values do not add up to the model's output."""


class RError(GenemlError, RuntimeError):
    """R raised an error; the message is R's."""


class RNotAvailableError(RError, ImportError):
    """R, an R package, or an rpy2 that fits the R found is missing."""


class MissingPackageError(GenemlError, ImportError):
    """A package that an option needs is not installed."""


class GenemlWarning(UserWarning):
    """Base of every warning of geneml_bio."""


class AuditWarning(GenemlWarning):
    """The study has a weakness that a reader of its results must know."""


class DeviceWarning(GenemlWarning):
    """Not everything runs on the device that was asked for."""


class DataWarning(GenemlWarning):
    """Samples, genes or values were dropped or changed; the message counts them."""


class RWarning(GenemlWarning):
    """A warning that R gave."""


def near(name: object, options: Iterable[object], n: int = 3) -> str:
    """Suffix for an error message: the near names, or the first of what is there."""
    known = [str(option) for option in options]
    lowered = {option.lower(): option for option in reversed(known)}
    hits = [lowered[hit] for hit in difflib.get_close_matches(str(name).lower(), list(lowered), n=n, cutoff=0.5)]
    if hits:
        return f" Did you mean {' or '.join(repr(hit) for hit in hits)}?"
    if not known:
        return " There is none."
    shown = ", ".join(repr(option) for option in known[:8])
    return f" Available: {shown}{', ...' if len(known) > 8 else ''}."


def check_whole(least: int, **given: object) -> None:
    """Refuse what is no whole number of at least ``least``; arguments by their name."""
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, got {value!r}.")
