"""The pieces of an AnnData that R's containers of expression data have in common."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..core.errors import DataWarning, InputError
from .r_columns import numbered, plain, texts_of
from .r_matrices import is_matrix, samples_by_genes
from .r_values import RValue
from .storable import free_name, storable_columns, storable_names

if TYPE_CHECKING:
    from anndata import AnnData

MISSING_NAME = "NA"
_FORMAL = {"class", ".__classVersion__", "varMetadata", "dimLabels", "names", "row.names", "package"}


@dataclass
class Experiment:
    """The pieces of an AnnData; matrices samples x genes.

    Parameters
    ----------
    matrix, others, samples, genes, spaces
        An AnnData's X, layers, obs, var and obsm; the tables of samples and genes carry the names.
    about
        For ``uns["source"]``.
    left_out
        What R's object holds and an AnnData does not take, with its class.
    renamed
        What has another name than in R, because something else has that one.
    plain
        Whether it is a bare matrix or data.frame, which does not say what its rows are.
    """

    matrix: Any
    samples: pd.DataFrame
    genes: pd.DataFrame
    others: dict[str, Any] = field(default_factory=dict)
    spaces: dict[str, Any] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    renamed: list[str] = field(default_factory=list)
    plain: bool = False

    def add(self, held: dict[str, Any], kind: str, name: str, value: Any, key: str | None = None) -> None:
        """Put a part where the AnnData has it, under a name that is free."""
        wanted = (name if key is None else key).replace("/", "_")
        free = free_name(wanted, held)
        held[free] = value
        if free != wanted:
            self.renamed.append(f"{kind} {name} -> {free}")


def to_anndata(parts: Experiment, obs: pd.DataFrame | None = None) -> AnnData:
    """The AnnData of the pieces; ``obs`` in place of their own."""
    from anndata import AnnData

    source = {key: value for key, value in parts.about.items() if value is not None}
    obs, renamed = _storable(parts.samples if obs is None else obs)
    var, more = _storable(parts.genes)
    if renamed or more or parts.renamed:
        source["renamed"] = parts.renamed + renamed + more
    if parts.renamed:
        warnings.warn(
            f"Parts of the R object have one name in an AnnData, and were numbered: {_some(parts.renamed)}.",
            DataWarning,
            stacklevel=5,
        )
    for kind, names in (("samples", obs.index), ("genes", var.index)):
        _check_names(kind, names)
    if "numbered" in source:
        warnings.warn(
            f"The R object names no {' and no '.join(source['numbered'])}; they were numbered from 1.",
            DataWarning,
            stacklevel=5,
        )
    if parts.left_out:
        source["left_out"] = parts.left_out
        warnings.warn(
            f"{len(parts.left_out)} parts of the R object have no place in an AnnData and were left out: "
            f"{_some(parts.left_out)}.{promised(parts.left_out)}",
            DataWarning,
            stacklevel=5,
        )
    uns: dict[str, Any] = {"source": source}
    if parts.metadata:
        uns["metadata"] = parts.metadata
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"(Variable|Observation) names are not unique"
        )  # told already, with names
        return AnnData(parts.matrix, obs=obs, var=var, layers=parts.others, obsm=parts.spaces, uns=uns)


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"


def _check_names(kind: str, names: pd.Index) -> None:
    """Tell of names that R has not, and of those that stand for several."""
    told = []
    repeated = names[names.duplicated()].unique()
    if len(repeated):
        told.append(
            f"{int(names.duplicated(keep=False).sum())} {kind} share their name with another ({_some(list(map(repr, repeated)))}): "
            f"adata.{'obs' if kind == 'samples' else 'var'}_names_make_unique() numbers them"
        )
    missing = int((names == MISSING_NAME).sum())
    if missing:
        told.append(f"{kind} called {MISSING_NAME!r}, R's word for no name: {missing}")
    if told:
        warnings.warn(f"{'; '.join(told)}.", DataWarning, stacklevel=6)


def promised(lost: list[str]) -> str:
    """What helps where a part waits to be computed."""
    waits = any(name.endswith("(promise)") for name in lost)
    return " R computes a promise: trusted=True lets R read a file whose origin you know." if waits else ""


def _storable(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    names, renamed = storable_names([str(name) for name in frame.columns])
    return storable_columns(frame.set_axis(pd.Index(names, dtype=str), axis=1), keep_levels=True), renamed


def assays_of(assays: dict[str, RValue], genes: list[str] | None, samples: list[str] | None) -> Experiment:
    """The first matrix as X, the others as layers; names from whichever matrix has them, where none are given."""
    found, first, left = {}, next(iter(assays)), []
    for name, item in assays.items():
        item = plain(item)
        if not is_matrix(item):
            left.append(f"assay {name} ({item.classes[0]})")
            continue
        found[name], own_genes, own_samples = samples_by_genes(item, name or "the assay")
        genes, samples = genes or own_genes, samples or own_samples
    if first not in found:
        raise InputError(
            f"The first assay is a {assays[first].classes[0]}, which keeps its values elsewhere. In R: "
            "assay(x) <- as(assay(x), 'dgCMatrix'), or as.matrix(assay(x)), and save it again."
        )
    X = found.pop(first)
    left += [f"assay {name} (other dimensions)" for name, matrix in found.items() if matrix.shape != X.shape]
    out = Experiment(X, pd.DataFrame(index=_index(samples, X.shape[0])), pd.DataFrame(index=_index(genes, X.shape[1])))
    for name, matrix in found.items():
        if matrix.shape == X.shape:
            out.add(out.others, "assay", name, matrix)
    out.left_out, out.about["X"] = left, first
    if out.others:
        out.about["layers"] = list(out.others)
    _numbered(out, genes is None, samples is None)
    return out


def _index(names: list[str] | None, n: int) -> pd.Index:
    if names is not None and len(names) != n:
        raise InputError(f"{len(names)} names for {n} rows or columns: the object is damaged.")
    if names is None:
        return pd.Index(numbered(n, "rows or columns without names"), dtype=str)
    return pd.Index([MISSING_NAME if name is None else name for name in names], dtype=str)


def _numbered(out: Experiment, genes: bool, samples: bool) -> None:
    what = [name for name, missing in (("genes", genes), ("samples", samples)) if missing]
    if what:
        out.about["numbered"] = what


def describe(out: Experiment, obs: pd.DataFrame | None, var: pd.DataFrame | None) -> None:
    """What is known of samples and genes; names of theirs stand in for missing ones of the matrix."""
    for kind, frame in (("samples", obs), ("genes", var)):
        names = (out.samples if kind == "samples" else out.genes).index
        if frame is None:
            continue
        if len(frame) != len(names):
            out.left_out.append(f"table of {kind} ({len(frame)} rows for {len(names)})")
            continue
        if kind in out.about.get("numbered", []) and not frame.attrs.get("automatic_row_names", True):
            names = pd.Index(frame.index, dtype=str)
            out.about["numbered"] = [other for other in out.about["numbered"] if other != kind]
        out.about = {key: item for key, item in out.about.items() if key != "numbered" or item}
        frame = frame.set_axis(names, axis=0)
        frame.attrs = {}
        if kind == "samples":
            out.samples = frame
        else:
            out.genes = frame


def add_metadata(held: RValue | None, out: Experiment) -> None:
    """Plain vectors of the object's own list of remarks; what else is in it is listed."""
    for name, item in zip((held.names if held else None) or [], held.value if held else [], strict=True):
        item = plain(item)
        simple = item.type in ("character", "double", "integer", "logical") and not item.attr("dim") and name
        values = texts_of(item) if simple and item.type == "character" else item.value if simple else None
        if simple and "factor" not in item.classes and len(item.classes) == 1 and not _has_gaps(values):
            kept = np.asarray(values) if item.type != "logical" else np.asarray(values).astype(bool)
            out.add(out.metadata, "metadata", name, kept if len(kept) != 1 else kept[0].item())
        elif item.type != "NULL":
            out.left_out.append(f"metadata {name or 'without name'} ({item.classes[0]})")


def _has_gaps(values: Any) -> bool:
    if isinstance(values, list):
        return None in values or not values
    return not len(values) or (values.dtype.kind == "i" and bool((values == np.iinfo(np.int32).min).any()))


def says_something(value: RValue) -> bool:
    """Whether anything is in an object of descriptions."""
    if value.type in ("character", "list", "double", "integer", "logical"):
        return any(
            says_something(item) if isinstance(item, RValue) else item not in (None, "") for item in value.value or []
        )
    return (
        any(says_something(item) for name, item in value.attributes.items() if name not in _FORMAL)
        if value.type == "S4"
        else False
    )
