"""A DE table beside the expression data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..bridge import keys
from ..bridge.anndata import attach, check_free, de_writes
from ..bridge.extract import check_writable
from ..core.detable import DETable
from ..core.errors import ColumnNotFoundError, DataWarning, DuplicateNamesError, InputError, TableError, near
from ..core.ids import first_duplicates, keep_one
from ..core.names import LIMMA_COLUMNS

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

_SHOWN = 5
_FEW = 0.5  # of the smaller side: with fewer matches, a look is taken whether another way matches more


def unique_names(adata: AnnData) -> None:
    """Refuse duplicated gene names."""
    if not adata.var_names.is_unique:
        raise DuplicateNamesError(
            f"Gene names are duplicated ({first_duplicates(adata.var_names)}, ...); results could not be told apart. "
            "Make them unique first, for example with adata.var_names_make_unique()."
        )


def add_de(
    adata: AnnData,
    de: DETable | Mapping[str, DETable],
    *,
    key_added: str = "limma",
    feature: str | None = None,
    on: str | None = None,
    duplicates: str | None = None,
    strip_version: bool = False,
    rank_genes_groups: bool | str = False,
) -> DETable | dict[str, DETable]:
    """Put a DE table beside the expression data, aligned by gene id whatever the order of its rows.

    Parameters
    ----------
    adata
        Expression data.
    de
        From :func:`geneml_bio.read.toptable`; or a dict of tables by name (``by=`` gives one), whose results go to
        ``{key_added}_{name}`` each.
    key_added
        Name of the results.
    feature
        Column of ``de.frame`` whose values are matched, such as symbols beside probes. Default: the ids of the table.
    on
        Column of ``adata.var`` to match with. Default: ``var_names``. Several genes may have the same value in it, such as the
        probes of one symbol: each gets the row, and they are counted (``n_shared``). Missing values match nothing.
    duplicates
        Of several rows with one id keep the one with the smallest P.Value (``"best_p"``) or with the largest AveExpr
        (``"max_aveexpr"``, which does not look at the result). None refuses them.
    strip_version
        Compare Ensembl and RefSeq ids without their version (``ENSG00000141510.18``), on both sides.
    rank_genes_groups
        Write the statistics in the form of ``scanpy.tl.rank_genes_groups`` too, for ``sc.pl.rank_genes_groups`` and
        ``sc.get.rank_genes_groups_df``: True for ``.uns["rank_genes_groups"]``, or another name.

    Returns
    -------
    The table as it was matched (or a dict of them), and in ``adata`` the columns and the provenance that :func:`limma`
    writes; in ``.uns[key_added]`` also ``n_matched``, ``n_table_only``, ``n_adata_only``, ``n_shared`` and the first names
    that did not match, ``table_only`` and ``adata_only``. Genes without a row get NaN; a warning counts what did not match.

    Raises
    ------
    TableError
        If no id matches; the message says why and how to mend it.
    DuplicateNamesError
        If ids of the table or var_names are there more than once.
    ColumnNotFoundError
        If ``feature`` or ``on`` is not there.
    StorageError
        If the results would destroy others.
    """
    from ..bridge.ranked import ranked_key, ranked_writes

    check_writable(adata)
    keys.check_key(key_added)
    named = (
        {key_added: de} if not isinstance(de, Mapping) else {f"{key_added}_{keys.escape(n)}": t for n, t in de.items()}
    )
    if not named:
        raise InputError(
            "add_de takes a DETable or a dict of them, got an empty dict; gb.read.toptable(..., by=...) makes one."
        )
    wrong = next((table for table in named.values() if not isinstance(table, DETable)), None)
    if wrong is not None:
        raise InputError(f"add_de takes a DETable, got {type(wrong).__name__}; gb.read.toptable(...) makes one.")
    ranked = ranked_key(rank_genes_groups, named)
    for key in named:
        check_free(adata, key, "DE")
    unique_names(adata)
    how = {"feature": feature, "on": on, "strip_version": strip_version}
    joined = {}
    for key, table in named.items():
        joined[key] = _join(adata, table, duplicates=duplicates, key=key, **how)  # type: ignore[arg-type]
    writes = [write for key, (table, rows) in joined.items() for write in de_writes(adata, table, key, rows)]
    if ranked is not None:
        writes += ranked_writes(adata, joined, ranked)
    attach(adata, writes)
    tables = [table for table, _ in joined.values()]
    return dict(zip(de, tables, strict=True)) if isinstance(de, Mapping) else tables[0]


def _join(
    adata: AnnData,
    de: DETable,
    *,
    feature: str | None,
    on: str | None,
    duplicates: str | None,
    strip_version: bool,
    key: str,
) -> tuple[DETable, np.ndarray]:
    """The table under the ids that were matched, and for each gene its row or -1."""
    import pandas as pd

    from ..bridge import mangled
    from ..bridge.overlap import without_version

    table, lost = _by_ids(de, feature, duplicates, strip_version)
    genes = _gene_ids(adata, on)
    if strip_version:
        genes = genes.map(lambda name: None if name is None else without_version(name))
    rows = table.frame.index.get_indexer(genes)
    _numbers_are_no_names(table, adata, feature, on)
    there = pd.Index(range(len(table))).isin(rows)
    matched, with_row = int(there.sum()), int((rows >= 0).sum())
    if not matched:
        raise TableError(_none(adata, de, table, genes, feature, on, key))
    left, right = list(table.frame.index[~there]), [str(name) for name in adata.var_names[rows < 0]]
    counts: dict[str, Any] = {
        "n_matched": matched,
        "n_table_only": len(left),
        "n_adata_only": len(right),
        "n_shared": with_row - matched,
        "table_only": left[:_SHOWN],
        "adata_only": right[:_SHOWN],
        **({"feature": feature} if feature is not None else {}),
        **({"on": on} if on is not None else {}),
        **({"strip_version": True} if strip_version else {}),
        **lost,
    }
    spoiled = mangled.find(list(table.frame.index))
    spoiled = {name: genes for name, genes in spoiled.items() if name in set(left)}
    if spoiled:
        counts["n_mangled"] = len(spoiled)
    _tell(counts, with_row, len(left), len(right), mangled.report(spoiled, left) if spoiled else "")
    tests = de.check().facts.get("n_tests")
    if tests and tests > len(de):
        counts["n_tests"] = int(tests)  # the table is a part
    small = min(len(table), len(genes))
    if matched < _FEW * small:
        _other_way(adata, de, matched, small, key)
    return replace(table, source={**table.source, **counts}), rows


def _by_ids(
    de: DETable, feature: str | None, duplicates: str | None, strip_version: bool
) -> tuple[DETable, dict[str, int]]:
    """The table with the ids to be matched as its index, each once, and what was left out for that."""
    import pandas as pd

    from ..bridge.overlap import as_ids, without_version

    frame, ids = de.frame, de.frame.index
    if feature is not None:
        others = [name for name in frame.columns if name not in LIMMA_COLUMNS]
        if feature not in others:
            raise ColumnNotFoundError(f"feature: the table has no column {feature!r} of ids.{near(feature, others)}")
        ids = pd.Index(as_ids(frame[feature]), dtype=object)
    if strip_version:
        ids = pd.Index([None if name is None else without_version(name) for name in ids], dtype=object)
    known = ids.notna()
    frame, ids = frame[known], ids[known]
    if not len(ids):
        raise TableError(f"feature: the column {feature!r} holds no ids, only missing values.")
    kept = keep_one(frame, ids, duplicates)
    lost = {"n_no_id": int((~known).sum()), "n_duplicates": len(ids) - len(kept)}
    if feature is not None or strip_version:
        frame = frame.iloc[kept]
        name = str(de.source.get("ids", "id"))
        name = "id" if name in ("row names", "") else name
        if name != feature and name not in frame.columns:
            frame = frame.assign(**{name: list(frame.index)})
        frame = frame.set_axis(pd.Index(ids[kept], dtype=str), axis=0)
    return replace(de, frame=frame), {name: count for name, count in lost.items() if count}


def _gene_ids(adata: AnnData, on: str | None) -> Any:
    """What stands for each gene: its name, or its value in a column; None where there is none."""
    import pandas as pd

    from ..bridge.overlap import as_ids

    if on is None:
        return pd.Index(adata.var_names.astype(str), dtype=object)
    if on not in adata.var.columns:
        raise ColumnNotFoundError(f"on: no column {on!r} in adata.var.{near(on, adata.var.columns)}")
    return pd.Index(as_ids(adata.var[on]), dtype=object)


# -- what is said ------------------------------------------------------------------------------------------------------


def _tell(counts: Mapping[str, Any], genes: int, n_left: int, n_right: int, spoiled: str) -> None:
    """One warning that counts what did not match one to one."""

    def few(names: list[str], n: int) -> str:
        return f" ({', '.join(map(str, names))}{', ...' if n > len(names) else ''})" if names else ""

    said = []
    if n_left or n_right:
        said.append(
            f"{n_left} rows of the table have no gene in adata{few(counts['table_only'], n_left)}, "
            f"{n_right} genes have no row{few(counts['adata_only'], n_right)}"
        )
    if counts["n_shared"]:
        said.append(f"{genes} genes share these rows: each of them got the row of its id")
    if counts.get("n_no_id"):
        said.append(f"{counts['n_no_id']} rows of the table have no id in {counts.get('feature')!r}")
    if counts.get("n_duplicates"):
        said.append(f"{counts['n_duplicates']} rows that repeat an id were left out")
    if spoiled:
        said.append(f"of the rows without a gene {spoiled}")
    if said:
        warnings.warn(f"{counts['n_matched']} rows matched; {'; '.join(said)}.", DataWarning, stacklevel=4)


def _numbers_are_no_names(table: DETable, adata: AnnData, feature: str | None, on: str | None) -> None:
    """Refuse to take row numbers of one side for ids of the other: 7157 is TP53 here and row 7157 there."""
    from ..bridge.overlap import counts_rows

    left = feature is None and counts_rows(table.frame.index)
    right = on is None and counts_rows(adata.var_names)
    if left == right:
        return
    if right:
        raise TableError(
            f"adata.var_names only number the genes ({', '.join(map(str, adata.var_names[:3]))}, ...), so nothing can be matched "
            f"with the ids of the table (such as {table.frame.index[0]!r}). Name the genes first, adata.var_names = ..., or match "
            f"on a column of adata.var: on='...'.{near('', adata.var.columns)}"
        )
    others = [name for name in table.frame.columns if name not in LIMMA_COLUMNS]
    raise TableError(
        "The ids of the table only number its rows (1, 2, 3, ...), so they cannot be matched with the genes. Name the column "
        f"that holds the ids: feature='...'.{near('', others)}"
    )


def _ways(adata: AnnData, de: DETable) -> tuple[dict[str | None, np.ndarray], dict[str | None, np.ndarray]]:
    """All that may hold ids, on both sides: the ids themselves under None, and columns."""
    from ..bridge.overlap import as_ids, id_columns

    annotation = de.frame[[name for name in de.frame.columns if name not in LIMMA_COLUMNS]]
    return {None: as_ids(de.frame.index), **id_columns(annotation)}, {
        None: as_ids(adata.var_names),
        **id_columns(adata.var),
    }


def _none(
    adata: AnnData, de: DETable, table: DETable, genes: Any, feature: str | None, on: str | None, key: str
) -> str:
    """Why nothing matches, and what to do."""
    from ..bridge import overlap

    left = "ids of the table" if feature is None else f"values of the table's column {feature!r}"
    right = "var_names" if on is None else f"values of adata.var[{on!r}]"
    known = [name for name in genes if name is not None]
    said = (
        f"None of the {len(table)} {left} (such as {', '.join(map(repr, table.frame.index[:3]))}) is among the "
        f"{len(known)} {right} (such as {', '.join(map(repr, known[:3])) or 'nothing'}). "
    )
    lefts, rights = _ways(adata, de)
    way = overlap.best_way(lefts, rights)
    if way is None:
        return said + overlap.by_kind(overlap.kind_of(list(table.frame.index)), overlap.kind_of(known))
    ids, others = lefts[way.feature], rights[way.on]
    kinds = tuple(overlap.kind_of([name for name in side if name is not None]) for side in (ids, others))
    return f"{said}{overlap.explain(way, len(de), kinds)}:\n{overlap.mend(way, ids, others, key)}"  # type: ignore[arg-type]


def _other_way(adata: AnnData, de: DETable, matched: int, small: int, key: str) -> None:
    """A warning where few rows match and another way matches at least twice as many."""
    from ..bridge import overlap

    lefts, rights = _ways(adata, de)
    way = overlap.best_way(lefts, rights)
    if way is not None and way.matched >= 2 * matched:
        ids, others = lefts[way.feature], rights[way.on]
        kinds = tuple(overlap.kind_of([name for name in side if name is not None]) for side in (ids, others))
        warnings.warn(
            f"Only {matched} of {small} ids matched; {overlap.explain(way, len(de), kinds)}:\n"  # type: ignore[arg-type]
            f"{overlap.mend(way, ids, others, key)}",
            DataWarning,
            stacklevel=4,
        )
