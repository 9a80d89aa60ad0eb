"""R's containers of expression data as plain data -> AnnData, samples as rows. What cannot be carried is listed."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import DataWarning, InputError
from .r_budget import spend
from .r_columns import dimnames, frame_of, is_table, length_of, plain, texts_of
from .r_matrices import is_matrix, samples_by_genes
from .r_pieces import Experiment, add_metadata, assays_of, describe, promised, says_something
from .r_source import convert
from .r_values import RValue
from .storable import free_name

_FITS = {"MArrayLM", "DGEGLM", "DGELRT", "DGEExact", "TopTags", "DESeqResults"}
_WAY_OUT = {
    "Seurat": "in R: saveRDS(Seurat::as.SingleCellExperiment(x), 'sce.rds')",
    "RGList": "two colours hold no expression yet; in limma: normalizeWithinArrays, then save the matrix M or A",
    "MAList": "save the matrix that is meant, M or A: saveRDS(x$M, 'M.rds')",
    "CellDataSet": "in R: saveRDS(Biobase::exprs(x), 'matrix.rds')",
    "MultiAssayExperiment": "save one of its experiments: saveRDS(x[['name']], 'experiment.rds')",
}


def experiment_of(source: Any, *, sheet: str | None = None, trusted: bool = False) -> Experiment:
    """The pieces of the expression data in an R object.

    Parameters
    ----------
    source
        Path of an ``.rds`` or ``.RData`` file, or a live object of rpy2: ExpressionSet, SummarizedExperiment and what extends
        it (SingleCellExperiment, DESeqDataSet), DGEList, EList, EListRaw, a matrix, a sparse matrix of Matrix, a data.frame.
    sheet, trusted
        As for :func:`geneml_bio.bridge.r_objects.table_of`.
    """

    def work(value: RValue, about: dict[str, Any]) -> Experiment:
        parts = _experiment(value)
        parts.about = {"type": value.classes[0], **about, **parts.about}
        return parts

    found: Experiment = convert(source, sheet, trusted, (_is_container, is_experiment), work)
    return found


def is_experiment(value: RValue) -> bool:
    """Whether expression data can be read from it."""
    return is_matrix(value) or is_table(value) or _is_container(value)


def _is_container(value: RValue) -> bool:
    listed = bool({"DGEList", "EList", "EListRaw"} & set(value.classes))
    return listed or (value.type == "S4" and ("assays" in value.attributes or "assayData" in value.attributes))


def _experiment(value: RValue) -> Experiment:
    classes, named = set(value.classes), "/".join(value.classes)
    if classes & _FITS:
        raise InputError(f"An R object of class {named} holds results, no expression data: gb.read.toptable reads it.")
    if value.type == "S4" and "assayData" in value.attributes:
        return _expression_set(value)
    if value.type == "S4" and "assays" in value.attributes and "colData" in value.attributes:
        return _summarized(value)
    if "DGEList" in classes:
        return _listed(value, "counts", {"samples": "obs", "genes": "var"})
    if {"EList", "EListRaw"} & classes:
        return _listed(value, "E", {"targets": "obs", "genes": "var"})
    if is_matrix(value):
        return _matrix(value)
    if is_table(value):
        lost: list[str] = []
        out = Experiment(None, pd.DataFrame(), frame_of(value, lost), plain=True)
        if lost:
            out.about["left_out"] = lost
            warnings.warn(
                f"{len(lost)} columns hold no plain values and were left out: {', '.join(lost)}.{promised(lost)}",
                DataWarning,
                stacklevel=7,
            )
        return out
    way = next((text for name, text in _WAY_OUT.items() if name in classes), "")
    if value.type == "list" and value.texts("class") is None:
        held = [
            f"{name!r} ({'/'.join(item.classes)})" for name, item in zip(value.names or [], value.value, strict=False)
        ]
        way = way or f"it holds {', '.join(held[:8])}; save the one that is meant" if held else way
    raise InputError(
        f"An R object of class {named} holds no expression data that can be read{': ' + way if way else ''}. Read are "
        "ExpressionSet, SummarizedExperiment and what extends it, DGEList, EList, matrices and data.frames."
    )


# -- each container ----------------------------------------------------------------------------------------------------


def _matrix(value: RValue) -> Experiment:
    out = assays_of({"": value}, None, None)
    del out.about["X"]
    out.plain = True
    return out


def _expression_set(value: RValue) -> Experiment:
    held = value.attributes["assayData"]
    items = held.value if held.type == "environment" else dict(zip(held.names or [], held.value, strict=True))
    items = {name: item for name, item in items.items() if is_matrix(item)}
    if not items:
        raise InputError(f"This {value.classes[0]} holds no matrix.")
    first = "exprs" if "exprs" in items else "counts" if "counts" in items else sorted(items)[0]
    order = [first, *sorted(set(items) - {first})]
    out = assays_of({name: items[name] for name in order}, None, None)
    obs, var = (_annotated(value.attr(slot), out.left_out) for slot in ("phenoData", "featureData"))
    describe(out, obs, var)
    annotation = value.texts("annotation")
    out.about["annotation"] = (annotation or [""])[0] or ""
    for slot in ("experimentData", "protocolData"):
        inner = value.attr(slot)
        if inner is not None and says_something(inner):
            out.left_out.append(f"{slot} ({inner.classes[0]})")
    return out


def _annotated(value: RValue | None, left: list[str]) -> pd.DataFrame | None:
    data = None if value is None else value.attr("data")
    return None if data is None else frame_of(data, left)


def _summarized(value: RValue) -> Experiment:
    renamed: list[str] = []
    assays = _named_assays(value.attributes["assays"], renamed)
    ranges = value.attr("rowRanges") or value.attr("rowData")  # as it was called before 2015
    samples = value.attr("colData")
    left: list[str] = []
    var, genes = _ranges(ranges, left) if ranges is not None else (None, value.texts("NAMES"))
    own = value.attr("elementMetadata")
    if var is None and own is not None and is_table(own):
        var = frame_of(own, left)
    obs = frame_of(samples, left) if samples is not None and is_table(samples) else None
    if not assays:
        raise InputError(f"This {value.classes[0]} has no assay.")
    out = assays_of(assays, genes, samples.texts("rownames") if samples is not None else None)
    describe(out, obs, var)
    out.left_out += left
    out.renamed = renamed + out.renamed
    internal = value.attr("int_colData")
    if internal is not None:
        _single_cell(internal, out)
    pairs = (value.attr("int_elementMetadata") or value).attr("listData")
    out.left_out += [f"rowPairs {name}" for name in _column_names(pairs, "rowPairs")]
    main = (value.attr("int_metadata") or value).get("mainExpName")
    if main is not None and says_something(main):
        out.left_out.append(f"mainExpName {(texts_of(main) or [''])[0]}")
    known = (ranges.attr("seqinfo") or ranges).attributes if ranges is not None else {}
    if any(name in known and _known(known[name]) for name in ("seqlengths", "is_circular", "genome")):
        out.left_out.append("seqinfo (Seqinfo)")
    for name in ("design", "dispersionFunction"):
        if value.attr(name) is not None:
            out.left_out.append(f"{name} ({value.attributes[name].classes[0]})")
    add_metadata(value.attr("metadata"), out)
    return out


def _known(value: RValue) -> bool:
    return value.type in ("character", "integer", "logical") and any(text is not None for text in texts_of(value))


def _named_assays(held: RValue, renamed: list[str]) -> dict[str, RValue]:
    box = held.attr(".xData")
    if box is not None:  # before 2019 they were kept in an environment, behind a function
        inner = box.get("data")
        held = (inner if inner is not None and inner.type == "S4" else box.get(".->data")) or held
    held = held.attr("data") or held
    held = held.attr("listData") or held
    items = held.value if held.type == "list" else []
    names = held.names or [""] * len(items)
    out: dict[str, RValue] = {}
    for i, (name, item) in enumerate(zip(names, items, strict=True)):
        wanted = name or (f"assay{i + 1}" if i else "")
        free = free_name(wanted, out)
        out[free] = item
        if free != wanted:
            renamed.append(f"assay {wanted} -> {free}")
    return out


def _ranges(value: RValue, left: list[str]) -> tuple[pd.DataFrame | None, list[str] | None]:
    """What ``as.data.frame`` makes of a GRanges; of a list of ranges a row only what else is known of the rows."""
    own = value.attr("elementMetadata")
    more = frame_of(own, left) if own is not None and is_table(own) else None
    ranges, parts = value.attr("ranges"), value.attr("partitioning")
    if ranges is None:
        flat = value.attr("unlistData")
        if flat is not None and length_of(plain(flat.attr("seqnames") or flat)):
            left.append(f"rowRanges ({value.classes[0]}: several ranges a row)")
        return more, parts.texts("NAMES") if parts is not None else None
    start, width = (ranges.attributes[name].value.astype(np.int64) for name in ("start", "width"))
    columns: dict[str, Any] = {}
    for name in ("seqnames", "strand"):
        coded = plain(value.attributes[name])
        levels = coded.texts("levels") or []
        columns[name] = pd.Categorical(texts_of(coded), categories=levels)
    frame = pd.DataFrame(
        {
            "seqnames": columns["seqnames"],
            "start": start,
            "end": start + width - 1,
            "width": width,
            "strand": columns["strand"],
        }
    )
    if more is not None:
        frame = pd.concat([frame, more.reset_index(drop=True)], axis=1)
    return frame, ranges.texts("NAMES")


def _single_cell(internal: RValue, out: Experiment) -> None:
    """Reduced dimensions; alternative experiments and pairs are listed."""
    held = internal.attr("listData")
    if held is None:
        return
    for name, item in zip(held.names or [], held.value, strict=True):
        inner = item.attr("listData") if item.type == "S4" else None
        if name == "reducedDims" and inner is not None:
            labels = inner.names or [""] * len(inner.value)
            for label, matrix in zip(labels, inner.value, strict=True):
                key = f"X_{label.lower()}"
                key = key if label.isupper() and key not in labels else label or "reduced"
                if is_matrix(matrix):
                    values = samples_by_genes(matrix, label)[0].T
                    if hasattr(values, "toarray"):
                        spend(values.shape[0] * values.shape[1], f"values of the reduced dimension {label}")
                        values = values.toarray()
                    values = np.ascontiguousarray(values)
                    out.add(out.spaces, "reducedDim", label, values, key)
                elif is_table(matrix):
                    out.add(
                        out.spaces,
                        "reducedDim",
                        label,
                        frame_of(matrix, out.left_out).set_axis(out.samples.index, axis=0),
                        key,
                    )
                else:
                    out.left_out.append(f"reducedDim {label} ({matrix.classes[0]})")
        elif name in ("altExps", "colPairs"):
            out.left_out += [f"{name[:-1]} {label}" for label in (inner.names if inner is not None else None) or []]
        elif item.type in ("double", "integer"):
            free = free_name(name, out.samples.columns)
            out.samples[free] = np.asarray(item.value, dtype=float)
            out.renamed += [f"int_colData {name} -> {free}"] if free != name else []


def _column_names(held: RValue | None, name: str) -> list[str]:
    inner = None if held is None else held.get(name)
    data = None if inner is None else inner.attr("listData")
    return [] if data is None else data.names or []


def _listed(value: RValue, main: str, roles: dict[str, str]) -> Experiment:
    """The lists of limma and edgeR: one matrix, others beside it, tables of samples and genes."""
    held = {name: item for name, item in zip(value.names or [], value.value, strict=True) if item.type != "NULL"}
    if main not in held or not is_matrix(held[main]):
        raise InputError(f"This {value.classes[0]} has no matrix {main}.")
    assays: dict[str, RValue] = {main: held.pop(main)}
    rest: dict[str, RValue] = {}
    shape = tuple(assays[main].attributes["dim"].value) if "dim" in assays[main].attributes else ()
    others = held.pop("other", None)
    renamed: list[str] = []
    for name, item in [
        *held.items(),
        *zip((others.names if others else None) or [], others.value if others else [], strict=True),
    ]:
        same = is_matrix(item) and "dim" in item.attributes and tuple(item.attributes["dim"].value) == shape
        where = assays if same else rest
        free = free_name(name, where)
        where[free] = item
        renamed += [f"{name} -> {free}"] if free != name else []
    out = assays_of(assays, None, None)
    out.renamed = renamed + out.renamed
    tables: dict[str, pd.DataFrame | None] = {"obs": None, "var": None}
    for name, role in roles.items():
        item = rest.pop(name, None)
        if item is not None and is_table(item):
            tables[role] = frame_of(item, out.left_out)
        elif item is not None and item.type in ("character", "integer") and not item.attr("dim"):
            tables[role] = pd.DataFrame({"ID": texts_of(item)}, dtype=object)
    describe(out, tables["obs"], tables["var"])
    design = rest.pop("design", None)
    if design is not None and is_matrix(design) and int(design.attributes["dim"].value[0]) == len(out.samples):
        out.spaces["design"] = np.array(samples_by_genes(design, "design")[0].T, order="C")
        out.about["design"] = dimnames(design)[1] or [f"x{j + 1}" for j in range(out.spaces["design"].shape[1])]
    for name, item in rest.items():
        numeric = item.type in ("double", "integer") and "factor" not in item.classes and not item.attr("dim")
        if numeric and length_of(item) == len(out.genes) != 1 and name not in out.genes.columns:
            out.genes[name] = np.asarray(item.value, dtype=float)
        elif numeric and length_of(item) == len(out.samples) != 1 and name not in out.samples.columns:
            out.samples[name] = np.asarray(item.value, dtype=float)
        else:
            out.left_out.append(f"{name} ({item.classes[0]})")
    return out
