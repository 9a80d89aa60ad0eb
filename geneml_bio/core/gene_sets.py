"""Gene sets and regulons as a net (``source target weight``), and as membership columns of genes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .errors import DataWarning, InputError

_SOURCES = ("source", "tf", "set", "gs_name", "term", "pathway", "regulon")
_TARGETS = ("target", "gene", "symbol", "genesymbol", "gene_symbol", "target_genesymbol")
_WEIGHTS = ("weight", "mor", "mode_of_regulation", "likelihood")


@dataclass(frozen=True, eq=False)
class Membership:
    """Genes x sets: a gene's weight in a set (1 where sets have no weights), 0 outside.

    Parameters
    ----------
    frame
        One row a gene, one column a set.
    n_sets, n_small, n_large, n_left
        Sets given; those with too few or too many genes here; those beyond the number allowed.
    n_genes
        Genes that are in any set given.
    """

    frame: pd.DataFrame
    n_sets: int
    n_small: int
    n_large: int
    n_left: int
    n_genes: int


def as_net(sets: Mapping[str, Iterable[Any]] | pd.DataFrame) -> pd.DataFrame:
    """Gene sets as a frame ``source target weight``, one row for each set and gene.

    Parameters
    ----------
    sets
        ``{set: genes}``, or decoupler's kind of frame: ``source``, ``target`` and, where there is one, ``weight``.

    Raises
    ------
    InputError
        If it is neither, or holds no set.
    """
    if isinstance(sets, pd.DataFrame):
        net = _of_frame(sets)
    elif isinstance(sets, Mapping):
        net = _of_mapping(sets)
    else:
        raise InputError(
            f"gene_sets takes a GMT file, a dict of set -> genes, or a frame with source and target; got {type(sets).__name__}."
        )
    net = net[(net["source"] != "") & (net["target"] != "")]
    if not len(net):
        raise InputError("gene_sets holds no set with genes.")
    conflicts = net[["source", "target"]].duplicated() & ~net.duplicated()
    if conflicts.any():
        message = f"{int(conflicts.sum())} genes are in a set twice with different weights; the first weight is used."
        warnings.warn(message, DataWarning, stacklevel=3)
    return net.drop_duplicates(["source", "target"]).reset_index(drop=True)


def _of_mapping(sets: Mapping[str, Iterable[Any]]) -> pd.DataFrame:
    rows: list[tuple[str, str]] = []
    for name, genes in sets.items():
        if isinstance(genes, str | bytes) or not isinstance(genes, Iterable):
            raise InputError(f"gene_sets: the genes of {name!r} must be a list; got {genes!r}.")
        rows += [(str(name).strip(), str(gene).strip()) for gene in genes]
    net = pd.DataFrame(rows, columns=["source", "target"], dtype=object)
    return net.assign(weight=1.0)


def _of_frame(frame: pd.DataFrame) -> pd.DataFrame:
    lowered = {str(name).lower().replace(" ", "_"): name for name in reversed(list(frame.columns))}
    source, target, weight = (
        next((lowered[name] for name in names if name in lowered), None) for names in (_SOURCES, _TARGETS, _WEIGHTS)
    )
    if source is None or target is None:
        raise InputError(
            f"A frame of gene sets needs the columns 'source' and 'target' (and may have 'weight'); got {list(frame.columns)[:8]}."
        )
    known = frame[[source, target]].notna().all(axis=1)
    if not known.all():
        warnings.warn(f"{int((~known).sum())} rows of gene_sets name no set or no gene.", DataWarning, stacklevel=4)
    frame = frame[known]
    net = pd.DataFrame(
        {"source": frame[source].astype(str).str.strip(), "target": frame[target].astype(str).str.strip()}
    )
    weights = pd.to_numeric(frame[weight], errors="coerce") if weight is not None else pd.Series(1.0, index=net.index)
    if not np.isfinite(weights).all():
        raise InputError(f"gene_sets: {int((~np.isfinite(weights)).sum())} weights are not numbers.")
    return net.assign(weight=weights.astype(float))


def membership(
    net: pd.DataFrame, genes: pd.Index, *, min_size: int = 5, max_size: int | None = 500, max_sets: int = 100
) -> Membership:
    """Membership columns of the sets that have a useful number of these genes.

    Parameters
    ----------
    net
        From :func:`as_net`.
    genes
        Names of the genes, in the id space of the sets; a name may repeat (probes of one gene).
    min_size, max_size
        Least and largest number of different genes of a set that are among ``genes``.
    max_sets
        How many sets to keep: those with most genes here. What the genes do has no part in the choice.
    """
    if min_size < 1 or max_sets < 1 or (max_size is not None and max_size < min_size):
        raise InputError(
            f"Sizes of sets must be at least 1, and max_size at least min_size; got {min_size}, {max_size}, {max_sets}."
        )
    names = pd.Index(genes.astype(str))
    here = net[net["target"].isin(set(names))]
    sizes = here.groupby("source", sort=False)["target"].nunique()
    n_sets = int(net["source"].nunique())
    fits = sizes[(sizes >= min_size) & (sizes <= (np.inf if max_size is None else max_size))]
    chosen = fits.sort_values(ascending=False, kind="stable").index[:max_sets]
    kept = [name for name in fits.index if name in set(chosen)]  # in the order given
    unique = names.unique()
    rows = unique.get_indexer(pd.Index(here["target"]))
    columns = pd.Index(kept, dtype=object).get_indexer(pd.Index(here["source"]))
    inside = columns >= 0
    table = np.zeros((len(unique), len(kept)))
    table[rows[inside], columns[inside]] = here["weight"].to_numpy(float)[inside]
    frame = pd.DataFrame(table[unique.get_indexer(names)], index=genes, columns=pd.Index(kept, dtype=object))
    n_large = 0 if max_size is None else int((sizes > max_size).sum())
    return Membership(
        frame=frame,
        n_sets=n_sets,
        n_small=n_sets - n_large - len(fits),
        n_large=n_large,
        n_left=len(fits) - len(kept),
        n_genes=int(names.isin(set(net["target"])).sum()),
    )
