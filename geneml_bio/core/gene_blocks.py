"""Predictors of genes from several sources, sorted into blocks: tied to the target by formula, independent, other contrasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from .detable import DETable
from .errors import ColumnNotFoundError, InputError, near
from .gene_columns import Column, encode, sort_columns, symbols_of
from .gene_sets import membership
from .gene_ties import tied_columns
from .ids import first_duplicates
from .names import LIMMA_COLUMNS

ALGEBRAIC, INDEPENDENT, OTHERS = "algebraic", "independent", "other contrasts"
BLOCKS = (ALGEBRAIC, INDEPENDENT, OTHERS)
# columns of limma that a formula ties to each other; AveExpr has no part in any
KIN = tuple(name for name in LIMMA_COLUMNS if name != "AveExpr")
ROBUST_Z = 5.0
SAME_TEST = "a statistic of the same test"
SHARED = (True, False, "reference")


@dataclass(frozen=True, eq=False)
class Sources:
    """All that predictors are made of.

    Parameters
    ----------
    frame
        A DE table in limma's names, by gene.
    kind
        Its kind: ``"t"``, ``"F"`` or ``"treat"``.
    features
        Frame by gene, or None.
    net
        Gene sets as ``source target weight``, or None.
    contrasts
        Other tables by name.
    sets
        The sets to make columns of; None: chosen by size.
    sizes
        ``min_size``, ``max_size`` and ``max_sets`` of :func:`geneml_bio.core.gene_sets.membership`.
    """

    frame: pd.DataFrame
    kind: str = "t"
    features: pd.DataFrame | None = None
    net: pd.DataFrame | None = None
    contrasts: Mapping[str, DETable] = field(default_factory=dict)
    sets: tuple[str, ...] | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Raw:
    """Columns of all sources by the genes of the table.

    Parameters
    ----------
    frame
        The columns, unencoded.
    origin
        Column -> where it comes from: ``table``, ``features``, ``gene set`` or ``contrast``.
    notes
        ``(check, level, message)`` on what was joined.
    """

    frame: pd.DataFrame
    origin: Mapping[str, str]
    notes: list[tuple[str, str, str]]


@dataclass(frozen=True, eq=False)
class Plan:
    """How predictors are made, so that another table gives the same columns.

    Parameters
    ----------
    columns
        Every predictor as it stands in the sources.
    blocks
        Block -> encoded predictors.
    origin
        Column -> source.
    sets
        Gene sets used.
    """

    columns: tuple[Column, ...]
    blocks: Mapping[str, tuple[str, ...]]
    origin: Mapping[str, str]
    sets: tuple[str, ...] = ()

    def of(self, block: str) -> list[Column]:
        """The columns whose encodings are in a block."""
        wanted = set(self.blocks[block])
        return [column for column in self.columns if wanted & set(column.encoded)]


def assemble(sources: Sources, target: str | None) -> Raw:
    """All columns that may predict, joined by gene: of the table itself, features, gene sets, other contrasts.

    Raises
    ------
    InputError
        If a source shares no gene with the table, or names genes twice.
    """
    frame = sources.frame
    own = frame.drop(columns=[target]) if target is not None and target in frame.columns else frame
    symbols = symbols_of(frame)
    parts, origin = [own.set_axis(own.columns.map(str), axis=1)], dict.fromkeys(map(str, own.columns), "table")
    notes: list[tuple[str, str, str]] = []

    def add(part: pd.DataFrame, source: str) -> None:
        taken = part.rename(
            columns={name: f"{source}:{name}" for name in part.columns if str(name) in origin or name == target}
        )
        taken.columns = taken.columns.map(str)
        origin.update(dict.fromkeys(taken.columns, source))
        parts.append(taken)

    if sources.features is not None:
        add(_joined(sources.features, frame.index, symbols, "features", notes), "features")
    for name, other in sources.contrasts.items():
        columns = [column for column in ("logFC", "t") if column in other.frame.columns]
        part = _joined(other.frame[columns], frame.index, symbols, f"contrast {name!r}", notes)
        add(part.rename(columns=lambda column, name=name: f"{name}:{column}"), "contrast")
    if sources.net is not None:
        add(_sets(sources, frame.index, symbols, notes), "gene set")
    return Raw(pd.concat(parts, axis=1), origin, notes)


def _joined(
    part: pd.DataFrame, ids: pd.Index, symbols: pd.Series | None, what: str, notes: list[tuple[str, str, str]]
) -> pd.DataFrame:
    """Rows of ``part`` for each gene, by id or by symbol, whichever finds more; NaN for those without."""
    if part.columns.has_duplicates:
        raise InputError(f"{what}: columns are there twice ({first_duplicates(part.columns)}).")
    index = pd.Index(part.index.astype(str))
    if index.has_duplicates:
        raise InputError(f"{what}: genes are there twice ({first_duplicates(index)}, ...); keep one row a gene.")
    rows, by = index.get_indexer(ids), "id"
    if symbols is not None:
        named = index.get_indexer(pd.Index(symbols.fillna("").astype(str)))
        if (named >= 0).sum() > (rows >= 0).sum():
            rows, by = named, f"symbol (column {symbols.name!r})"
    found = rows >= 0
    if not found.any():
        raise InputError(
            f"{what}: none of its {len(index)} genes is in the table (for example {index[0] if len(index) else '-'!r} against "
            f"{ids[0]!r}); are they in the same id space?"
        )
    lost = len(index) - len(set(rows[found]))
    level = "note" if found.mean() > 0.5 else "warning"
    message = f"{what}: {int(found.sum()):,} of {len(ids):,} genes of the table found by {by}"
    message += f"; {lost:,} of its own {len(index):,} are not in the table." if lost else "."
    notes.append(("join", level, message + ("" if found.all() else " Values of the others are missing.")))
    return part.set_axis(index, axis=0).reindex(index[rows].where(found, None)).set_axis(ids, axis=0)


def _sets(
    sources: Sources, ids: pd.Index, symbols: pd.Series | None, notes: list[tuple[str, str, str]]
) -> pd.DataFrame:
    net = sources.net
    if net is None:
        return pd.DataFrame(index=ids)
    known = set(net["target"])
    names, by = ids, "id"
    if symbols is not None and symbols.isin(known).sum() > ids.isin(known).sum():
        names, by = pd.Index(symbols.fillna("").astype(str)), f"symbol (column {symbols.name!r})"
    if sources.sets is None and not names.isin(known).any():
        raise InputError(
            f"gene_sets: none of the {len(known)} genes of the sets is in the table (for example {next(iter(known))!r} against "
            f"{ids[0]!r}); are they in the same id space? A column of symbols in the table is used where it has a usual name."
        )
    if sources.sets is not None:
        chosen = list(sources.sets)
        made = membership(
            net[net["source"].isin(chosen)], names, min_size=1, max_size=None, max_sets=max(1, len(chosen))
        )
        return made.frame.set_axis(ids, axis=0).reindex(columns=chosen, fill_value=0.0)
    made = membership(net, names, **sources.sizes)
    message = f"gene_sets: {made.frame.shape[1]} of {made.n_sets} sets used; {made.n_genes:,} of {len(ids):,} genes are in any"
    message += f", found by {by}"
    left = [f"{n} {words}" for n, words in ((made.n_small, "have too few genes here"), (made.n_large, "too many"),
                                            (made.n_left, "are beyond the number allowed (the smallest)")) if n]  # fmt: skip
    notes.append(
        (
            "gene sets",
            "warning" if made.n_left else "note",
            f"{message}; of the others {', '.join(left)}." if left else f"{message}.",
        )
    )
    return made.frame.set_axis(ids, axis=0)


def make_plan(
    sources: Sources,
    target: str,
    raw: Raw,
    *,
    shared: Mapping[str, Any],
    exclude: Sequence[str] = (),
    max_levels: int = 20,
) -> tuple[Plan, pd.DataFrame, pd.DataFrame]:
    """Sort every column into a block, or aside.

    Parameters
    ----------
    sources, target, raw
        What there is; the column to predict, nothing missing in it.
    shared
        Contrast -> whether it shares samples with the table: True, False, ``"reference"`` or None (not told).
    exclude
        Columns to leave out.
    max_levels
        Text with more levels is set aside.

    Returns
    -------
    plan, X, predictors
        ``X``: genes x encoded predictors; ``predictors``: ``predictor block origin missing outliers note``, one row a column,
        those set aside too (block ``""``).
    """
    unknown = [name for name in exclude if name not in raw.frame.columns]
    if unknown:
        raise ColumnNotFoundError(f"exclude: there is no column {unknown[0]!r}.{near(unknown[0], raw.frame.columns)}")
    columns, aside = sort_columns(raw.frame.drop(columns=list(exclude)), max_levels=max_levels)
    aside = {**dict.fromkeys(exclude, "left out by the caller"), **aside}
    X, _ = encode(columns, raw.frame)
    where, why = _blocks_of(columns, sources, target, raw, shared)
    tied = _ties(columns, where, sources, target, X, raw)
    where |= dict.fromkeys(tied, ALGEBRAIC)
    why |= tied
    blocks: dict[str, tuple[str, ...]] = {}
    for block in BLOCKS:
        # what other contrasts add is seen beside what there is without them
        wanted = {block, INDEPENDENT} if block == OTHERS and OTHERS in where.values() else {block}
        names = tuple(made for column in columns if where[column.name] in wanted for made in column.encoded)
        if names:
            blocks[block] = names
    plan = Plan(tuple(columns), blocks, raw.origin, tuple(name for name, of in raw.origin.items() if of == "gene set"))
    return plan, X, _listed(columns, where, why, aside, raw, X)


def _blocks_of(
    columns: Sequence[Column], sources: Sources, target: str, raw: Raw, shared: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """Column -> block by what it is, and why."""
    where, why = {}, {}
    statistics = set(KIN) if target in KIN else set()
    side_by_side = sources.kind == "F" and target not in LIMMA_COLUMNS
    for column in columns:
        name, of = column.name, raw.origin[column.name]
        where[name] = INDEPENDENT
        if of == "table" and (name in statistics or (side_by_side and name in KIN)):
            where[name], why[name] = ALGEBRAIC, SAME_TEST
        elif of == "table" and sources.kind == "F" and column.kind == "number" and name not in LIMMA_COLUMNS:
            where[name], why[name] = OTHERS, "beside it in the table: the same samples, if it is another contrast"
        elif of == "contrast":
            said = shared[_contrast_of(name, sources.contrasts)]
            words = {
                None: "not said whether it shares samples",
                True: "shares samples",
                "reference": "shares the reference samples",
            }
            if said is not False:
                where[name], why[name] = OTHERS, words[said]
    return where, why


def _contrast_of(name: str, contrasts: Mapping[str, Any]) -> str:
    """The contrast that a column is of; one may be called like the beginning of another (``drug`` and ``drug:day``)."""
    return next(
        key
        for prefix in ("", "contrast:")
        for key in contrasts
        for of in ("logFC", "t")
        if name == f"{prefix}{key}:{of}"
    )


def _ties(
    columns: Sequence[Column], where: Mapping[str, str], sources: Sources, target: str, X: pd.DataFrame, raw: Raw
) -> dict[str, str]:
    """Columns outside the algebraic block that say the target again."""
    y = sources.frame[target].to_numpy(float)
    of_table = [name for name in KIN if name in sources.frame.columns and name != target and target in KIN]
    looked = [column for column in columns if where[column.name] != ALGEBRAIC and raw.origin[column.name] != "gene set"]
    numbers = X[[column.name for column in looked if column.kind == "number"]]
    levels = {
        column.name: X[column.encoded].to_numpy().argmax(axis=1) + (X[column.encoded].to_numpy().max(axis=1) > 0)
        for column in looked
        if column.kind == "levels"
    }
    return tied_columns(y, sources.frame[of_table], numbers, levels, keep=("AveExpr",))


def robust_z(values: np.ndarray) -> np.ndarray:
    """Distance from the median in units of 1.4826 median absolute deviations; 0 where most values are equal."""
    known = values[np.isfinite(values)]
    if not known.size:
        return np.zeros(len(values))
    middle = np.median(known)
    scale = 1.4826 * np.median(np.abs(known - middle))
    return np.nan_to_num((values - middle) / scale) if scale > 0 else np.zeros(len(values))


def _listed(
    columns: Sequence[Column],
    where: Mapping[str, str],
    why: Mapping[str, str],
    aside: Mapping[str, str],
    raw: Raw,
    X: pd.DataFrame,
) -> pd.DataFrame:
    rows = []
    for column in columns:
        values = X[column.encoded].to_numpy(float)
        missing = int(np.isnan(values[:, 0]).sum())
        if column.kind == "levels":
            missing = int(X[f"{column.name}=(missing)"].sum()) if f"{column.name}=(missing)" in X.columns else 0
        outliers = int((np.abs(robust_z(values[:, 0])) > ROBUST_Z).sum()) if column.kind == "number" else 0
        rows.append(
            (column.name, where[column.name], raw.origin[column.name], missing, outliers, why.get(column.name, ""))
        )
    rows += [
        (name, "", raw.origin[name], int(raw.frame[name].isna().sum()), 0, reason) for name, reason in aside.items()
    ]
    return pd.DataFrame(rows, columns=["predictor", "block", "origin", "missing", "outliers", "note"])
