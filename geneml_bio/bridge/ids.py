"""Which column holds the feature ids, and what stands in it: counters, blanks, repeats, stacked experiments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..core.errors import ColumnNotFoundError, TableError, near
from ..core.ids import first_duplicates, keep_one
from . import mangled
from .cells import Cells
from .dialects import Dialect
from .matching import distinct
from .words import norm

# names under which row names travel
ROW_NAMES = frozenset({"", "...1", "Unnamed: 0", "rowname", "rownames", "row.names", "row_names", "Row.names", "X", "X1", "V1",
                       "index", "level_0"})  # fmt: skip
# names that people give to ids, the likeliest first: what a row is before what it is called
_ID_NAMES = tuple("""
    id ids test_id target_id sgrna transcript_id probe_id probeid probe probeset probeset_id probe_set_id probesetid
    feature_id featureid feature variable ensembl_gene_id ensembl_id ensembl ensembl_gene ensemblid ensg gene_id geneid
    gene_ids entrez_gene_id entrezgene entrezgene_id entrez_id entrezid entrez protein_id protein_ids majority_protein_ids
    protein proteins accession acc uniprot uniprot_id uniprot_accession protein_group protein_groups leading_razor_protein
    peptide cpg cg illumina_id ilmnid name names gene genes gene_name genename gene_names genenames gene_symbol genesymbol
    gene_symbols symbol symbols hgnc_symbol mgi_symbol external_gene_name gene_short_name hgnc genes_symbol primerid
    locus locus_tag locus_id orf systematic_name mirna mirna_id mir compound metabolite taxon taxa otu asv region interval
    peak peak_id id_ref spot_id transcript refseq refseq_id tracking_id nearest_ref_id element identifier identifiers unigene
    """.split())  # fmt: skip
# names of columns that tell experiments apart
_STACK_NAMES = frozenset(
    """cluster group groups contrast contrasts comparison comparisons cmp label condition conditions cell_type celltype celltypes
    tissue timepoint time_point time day coef coefficient term test dataset study experiment treatment pair sample_2 sample_1
    cell_line stage sex region dose strain genotype subset sample set file source batch vs design database""".split()
)  # fmt: skip
MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "null", "none", "---", "--", "-", "."})


@dataclass(frozen=True)
class Ids:
    """The ids of a table.

    Parameters
    ----------
    name, position
        Their column.
    values
        One a row.
    others
        Other columns that could have been taken.
    """

    name: str
    position: int
    values: list[str]
    others: list[str]


def missing(value: str) -> bool:
    """Whether a cell says that there is no id."""
    return value.strip().lower() in MISSING


def choose(cells: Cells, taken: Collection[int], feature: str | None) -> Ids:
    """The column of ids: the one asked for, else row names, else by name, else text; unique ones before others.

    Raises
    ------
    ColumnNotFoundError
        If the column asked for is not there.
    TableError
        If no column can be one.
    """
    names = distinct(cells.header)
    if feature is not None:
        if feature not in names:
            raise ColumnNotFoundError(f"There is no column {feature!r} for the feature ids.{near(feature, names)}")
        i = names.index(feature)
        return Ids(feature, i, cells.text(i), [])
    free = [i for i in range(len(names)) if i not in taken]
    text = {i: cells.text(i) for i in free}
    rows = [i for i in free if cells.header[i] in ROW_NAMES]
    named = [i for i in free if _rank(cells.header[i]) is not None and i not in rows and not _fractions(text[i])]
    named.sort(key=lambda i: _rank(cells.header[i]) or 0)
    rest = [i for i in free if i not in rows and i not in named and not _numeric(text[i]) and len(set(text[i])) > 1]
    rest = [i for i in rest if norm(cells.header[i]) not in _STACK_NAMES]
    words = [i for i in [*rows, *named] if not _numeric(text[i])]
    # 1, 2, ... are no ids while anything else is there; nor is an unnamed column of whole numbers beside one of names
    counted = [i for i in [*rows, *named] if _counts(text[i]) or (i in rows and words and _numeric(text[i]))]
    order = [i for i in [*rows, *named, *rest] if i not in counted]
    unique = [i for i in order if _unique(text[i])]
    unique = [i for i in unique if i not in rest] or ([] if any(i in named for i in order) else unique)
    chosen = [*unique, *sorted(order, key=lambda i: -_kinds(text[i])), *counted]
    chosen = unique or sorted((i for i in order if i in named or i in rows), key=lambda i: -_kinds(text[i])) or order or counted
    if not chosen:
        raise TableError(
            f"No column looks like feature ids (columns: {names}). Name it: gb.read.toptable(..., feature='...')."
        )
    i = chosen[0]
    others = [names[k] for k in order if k != i and _kinds(text[k]) > 0.5 * _kinds(text[i])]
    return Ids(names[i], i, text[i], others)


def _rank(name: str) -> int | None:
    plain = norm(name)
    for form in (plain, plain.replace("_", "")):
        if form in _ID_NAMES:
            return _ID_NAMES.index(form)
    return None


def _kinds(values: Sequence[str]) -> int:
    return len({value for value in values if not missing(value)})


def _unique(values: Sequence[str]) -> bool:
    return len(set(values)) == len(values) and all(value.strip() for value in values)


def _counts(values: Sequence[str]) -> bool:
    if not values or not all(value.isascii() and value.isdigit() for value in values):
        return False
    numbers = sorted(map(int, values)) if max(map(len, values)) < 12 else []
    return bool(numbers) and numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] in (0, 1)


def _numeric(values: Sequence[str]) -> bool:
    return bool(values) and all(_float(value) for value in values if not missing(value))


def _fractions(values: Sequence[str]) -> bool:
    return _numeric(values) and any(re.search(r"[.,]\d", value) for value in values)


def _float(value: str) -> bool:
    try:
        float(value.replace(",", "."))
    except ValueError:
        return False
    return True


# -- several experiments in one table ----------------------------------------------------------------------------------


def stacked(cells: Cells, ids: Ids, taken: Collection[int], dialect: Dialect | None) -> list[str]:
    """The columns that tell stacked experiments apart; none if the table holds one.

    Ids repeat, and a column of few values makes each pair unique. Row names that R has numbered (``TP53.1``) hide it.
    """
    names = distinct(cells.header)
    repeated = _repeated(cells, ids, dialect)
    if repeated is None:
        return []
    rows = len(repeated)
    found = []
    for i in range(len(names)):
        if i in taken or i == ids.position or cells.header[i] in ROW_NAMES:
            continue
        levels = cells.text(i)
        kinds = len(set(levels))
        if not 1 < kinds <= max(2, rows // 2) or kinds > 2000:
            continue
        if _rank(cells.header[i]) is not None and norm(cells.header[i]) not in _STACK_NAMES:
            continue
        pairs = [pair for pair in zip(repeated, levels, strict=True) if not missing(pair[0])]
        if len(set(pairs)) == len(pairs):
            likely = norm(cells.header[i]) in _STACK_NAMES
            wordy = not _numeric(levels)
            if likely or (wordy and _blocks(levels)):
                found.append((not likely, kinds, names[i]))
    return [name for _, _, name in sorted(found)]


def _repeated(cells: Cells, ids: Ids, dialect: Dialect | None) -> list[str] | None:
    """The ids that repeat: those taken, or those behind row names that R has made unique."""
    names = [norm(name) for name in cells.header]
    if dialect is not None and dialect.stacked and set(dialect.stacked) <= set(names):
        column = cells.text(names.index(dialect.stacked[1]))
        return column if len(set(column)) < len(column) else None
    if len(set(ids.values)) < len(ids.values):
        return ids.values
    if cells.header[ids.position] in ROW_NAMES:
        for i, name in enumerate(cells.header):
            if _rank(name) is None or i == ids.position:
                continue
            column = cells.text(i)
            if len(set(column)) < len(column) and all(
                row == value or (row.startswith(value) and re.fullmatch(r"\.?\d+", row[len(value) :]))
                for row, value in zip(ids.values, column, strict=True)
            ):
                return column
    return None


def _blocks(levels: Sequence[str]) -> bool:
    """Whether each of the values stands for a good part of the rows."""
    counts = Counter(levels)
    return min(counts.values()) >= 2 and len(counts) <= 0.2 * len(levels) + 1


# -- blanks and repeats ------------------------------------------------------------------------------------------------


def settle(
    frame: pd.DataFrame, ids: Sequence[str], duplicates: str | None, notes: list[str], way_out: str = ""
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The frame with its ids as index, each once; and the ids that a spreadsheet has mangled.

    Rows without an id are left out. A marker of missing values that repeats is no id. Mangled ids that repeat are numbered as
    R does, for nobody can tell what they were. Other repeats are refused unless a policy is named.
    """
    index = np.array(ids, dtype=object)
    counts = Counter(index)
    gone = np.array([not name.strip() or (counts[name] > 1 and missing(name)) for name in index], dtype=bool)
    if gone.any():
        if gone.all():
            raise TableError("No row has an id. Name the column that holds them: feature='...'.")
        notes.append(f"{int(gone.sum())} rows have no id and were left out")
        frame, index = frame[~gone], index[~gone]
    found = mangled.find(list(index))
    seen: dict[str, int] = {}
    taken = set(index)
    for k, name in enumerate(index):
        if name not in found:
            continue
        count = seen.get(name, 0)
        while count and f"{name}.{count}" in taken:
            count += 1
        seen[name] = count + 1
        if count:
            index[k] = f"{name}.{count}"
            taken.add(index[k])
    if any(count > 1 for count in seen.values()):
        twice = [name for name, count in seen.items() if count > 1]
        notes.append(f"{len(twice)} of the mangled ids stand for several rows ({', '.join(twice[:3])}); these are numbered, as in "
                     f"{twice[0]}.1")  # fmt: skip
    frame = frame.set_axis(pd.Index(index, dtype=str), axis=0)
    shown = first_duplicates(frame.index)
    rows = keep_one(frame, frame.index, duplicates, way_out)
    if len(rows) < len(frame):
        notes.append(f"{len(frame) - len(rows)} rows repeat an id ({shown}); of each id one is kept (duplicates={duplicates!r})")
    return frame.iloc[rows], found
