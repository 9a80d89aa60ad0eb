"""Why the ids of a table and those of the data do not meet, and the line that mends it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

ENOUGH = 0.2  # of the smaller side: as much must match to propose a way
_SAMPLE, _LOOKED_AT = 2000, 5000
_NUMBERED = re.compile(r"entrez|gene.?id|^id$|ncbi|locus", re.IGNORECASE)
_MARKERS = frozenset({"-", "---", "nan", "NaN", "NA", "N/A", "None", "<NA>", "null", "NULL"})
_VERSION = re.compile(r"^((?:ENS[A-Z]*\d{6,}|[NX][MRP]_\d+))\.\d+")
_SPECIES = {
    "ENS": "human", "ENSMUS": "mouse", "ENSRNO": "rat", "ENSDAR": "zebrafish", "ENSGAL": "chicken", "ENSSSC": "pig",
    "ENSBTA": "cow", "ENSMMU": "macaque", "ENSCAF": "dog", "ENSPTR": "chimpanzee",
}  # fmt: skip
_PARTS = {"G": "genes", "T": "transcripts", "P": "proteins", "E": "exons"}
_ORG_DB = {"human": "org.Hs.eg.db", "mouse": "org.Mm.eg.db", "rat": "org.Rn.eg.db", "zebrafish": "org.Dr.eg.db"}


class Kind(NamedTuple):
    """A kind of id: in words, its name in Bioconductor's annotation packages (if there), the species (if it shows)."""

    words: str
    keytype: str = ""
    species: str = ""


_KINDS: tuple[tuple[re.Pattern[str], Kind], ...] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"ILMN_\d+", Kind("Illumina probes (ILMN_)")),
        (r"A_\d+_[PS]\d+.*", Kind("Agilent probes (A_23_P)")),
        (r"cg\d{6,}.*", Kind("CpG probes (cg)")),
        (r"ENS\w*_at", Kind("ids of a custom chip definition (_at after another id)")),
        (r"\S+_at", Kind("Affymetrix probe sets (_at)")),
        (r"TC\d{8,}\.hg\.\d", Kind("Affymetrix transcript clusters (TC)")),
        (r"[NX][MRP]_\d+(\.\d+)?", Kind("RefSeq accessions", "REFSEQ")),
        (r"FBgn\d{7}", Kind("FlyBase genes", "FLYBASE", "fly")),
        (r"WBGene\d{8}", Kind("WormBase genes", "WORMBASE", "worm")),
        (r"\d+(\.0)?", Kind("numbers (Entrez genes?)", "ENTREZID")),
        (r"(sp\||tr\|)?([OPQ]\d[A-Z0-9]{3}\d|[A-NR-Z]\d([A-Z][A-Z0-9]{2}\d){1,2})(-\d+)?(\|.*)?",
         Kind("UniProt accessions", "UNIPROT")),
        (r"[A-Z][A-Z0-9]*(orf\d+)?[A-Z0-9]*([.@-][A-Z0-9]+)*", Kind("gene symbols, written as in human", "SYMBOL", "human")),
        (r"[A-Z0-9][a-z0-9]+([A-Z.-]\w*)?(Rik)?", Kind("gene symbols, written as in mouse", "SYMBOL", "mouse")),
    )
)  # fmt: skip
_ENSEMBL = re.compile(r"(ENS[A-Z]*?)([GTPE])\d{11}(\.\d+)?(_PAR_Y)?")


def kind_of(ids: Sequence[str]) -> Kind | None:
    """What most of the ids are, or None."""
    step = max(1, len(ids) // _SAMPLE)
    shown = [name.strip(" \t\"'") for name in ids[::step]]
    needed = 0.6 * len(shown)
    ensembl = [hit for hit in map(_ENSEMBL.fullmatch, shown) if hit]
    if shown and len(ensembl) >= needed:
        prefixes = pd.Series([hit.group(1) for hit in ensembl])
        prefix, part = prefixes.mode()[0], pd.Series([hit.group(2) for hit in ensembl]).mode()[0]
        species = _SPECIES.get(prefix, "")
        keytype = {"G": "ENSEMBL", "T": "ENSEMBLTRANS", "P": "ENSEMBLPROT"}.get(part, "")
        return Kind(f"Ensembl {_PARTS[part]} ({species or prefix})", keytype, species)
    counts = {kind: sum(bool(form.fullmatch(name)) for name in shown) for form, kind in _KINDS}
    return next((kind for kind, count in counts.items() if shown and count >= needed), None)


def as_ids(values: Iterable[object]) -> np.ndarray:
    """Values as text ids, None where there is none.

    Whole numbers lose ``.0``. Missing values and blanks are no ids; nor is a marker such as ``---`` or ``NA`` that is
    there more than once (alone, ``NA`` is a gene).
    """
    out = np.array([_text(value) for value in values], dtype=object)
    seen: dict[str, int] = {}
    for name in out:
        if name in _MARKERS:
            seen[name] = seen.get(name, 0) + 1
    repeated = {name for name, count in seen.items() if count > 1}
    return np.array([None if name in repeated else name for name in out], dtype=object) if repeated else out


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else str(int(value)) if float(value).is_integer() else str(value)
    return str(value)


def without_version(name: str) -> str:
    """``ENSG00000141510.18`` -> ``ENSG00000141510``; ``.._PAR_Y`` stays; other ids stay."""
    return _VERSION.sub(r"\1", name)


def counts_rows(ids: Sequence[str]) -> bool:
    """Whether ids only number the rows, from 0 or from 1, in whatever order."""
    n = len(ids)
    return (
        n >= 10
        and all(name.isdigit() for name in ids)
        and sorted(map(int, ids)) in (list(range(n)), list(range(1, n + 1)))
    )


# -- ways in which ids that mean the same are written differently ------------------------------------------------------


class Form(NamedTuple):
    """A common form of ids: what it takes away, the function, the same as pandas code, and how much must match to believe it."""

    words: str
    of: Callable[[str], str]
    code: str
    needs: float = ENOUGH


def _r_name(name: str) -> str:
    return re.sub(r"^(?=[0-9])", "X", re.sub(r"[^A-Za-z0-9._]", ".", name))


FORMS: tuple[Form, ...] = (
    Form("", str, ""),
    Form("a version suffix (such as .18)", without_version, ""),
    Form("spaces or quotes around the ids", lambda name: name.strip(" \t\"'"), ".str.strip(' \\t\"\\'')"),
    Form(
        "a suffix _at after another id (a custom chip definition)",
        lambda name: name.removesuffix("_at"),
        ".str.removesuffix('_at')",
        0.8,  # some chips number their probes: 1000_at is not the Entrez gene 1000
    ),
    Form(
        "R's make.names, which turned '-' into '.' and put X before digits",
        _r_name,
        ".str.replace(r'[^A-Za-z0-9._]', '.', regex=True).str.replace(r'^(?=[0-9])', 'X', regex=True)",
    ),
    Form(
        "a second id behind the first (A|B)",
        lambda name: re.split(r"[|;,]| ?//+ ?|(?<=\d{11})_", name)[0],
        ".str.split(r'[|;,]| ?//+ ?|(?<=\\d{11})_', regex=True).str[0]",
    ),
    Form(
        "another id before the last (A|B)",
        lambda name: re.split(r"[|;,]| ?//+ ?|(?<=\d{11})_", name)[-1],
        ".str.split(r'[|;,]| ?//+ ?|(?<=\\d{11})_', regex=True).str[-1]",
    ),
    Form("upper and lower case", str.upper, ".str.upper()"),
)
VERSION, CASE = FORMS[1], FORMS[-1]


class Way(NamedTuple):
    """A pair of columns (None: the ids of the table, the var_names) that meet, in which form, and in how many ids."""

    feature: str | None
    on: str | None
    form: Form
    matched: int


def best_way(
    table: Mapping[str | None, np.ndarray], data: Mapping[str | None, np.ndarray], *, forms: Sequence[Form] = FORMS
) -> Way | None:
    """Of all columns on both sides and all forms the pair that matches most rows; of ways as good the plainest."""
    best: Way | None = None
    step = max(1, max(map(len, table.values())) // _LOOKED_AT)  # of large tables every so many ids are looked at
    some = {name: ids[::step] for name, ids in table.items()}
    for form in forms:
        left, right = ({name: _formed(ids, form) for name, ids in side.items()} for side in (some, data))
        for feature, ids in left.items():
            for on, others in right.items():
                matched, small = step * len(ids & others), min(step * len(ids), len(others))
                if matched >= max(1, form.needs * small) and (best is None or matched > 1.2 * best.matched):
                    best = Way(feature, on, form, matched)
        if best is not None and best.matched >= 0.8 * min(len(table[best.feature]), len(data[best.on])):
            break
    if best is None:
        return None
    ids, others = _formed(table[best.feature], best.form), _formed(data[best.on], best.form)
    return best._replace(matched=len(ids & others))


def _formed(ids: np.ndarray, form: Form) -> frozenset[str]:
    return frozenset(form.of(name) for name in ids if name is not None)


def id_columns(frame: pd.DataFrame) -> dict[str | None, np.ndarray]:
    """The columns of a frame that may hold ids: text (or whole numbers under a name for ids) that mostly differs by row."""
    out: dict[str | None, np.ndarray] = {}
    for name in frame.columns:
        values = frame[name]
        if not isinstance(name, str) or not isinstance(values, pd.Series) or pd.api.types.is_bool_dtype(values):
            continue
        if pd.api.types.is_numeric_dtype(values) and not _NUMBERED.search(name):
            continue
        ids = as_ids(values)
        known = [one for one in ids if one is not None]
        if known and len(set(known)) >= 0.3 * len(known):
            out[name] = ids
    return out


def mend(way: Way, table: np.ndarray, data: np.ndarray, key_added: str = "limma") -> str:
    """Python that joins by a way, ready to paste; ``table`` and ``data`` are the ids that the way takes."""
    lines, asked = [], {"feature": way.feature, "on": way.on}
    if way.form.code:
        sides = (
            ("feature", table, "de.frame", "de.frame.index", way.feature),
            ("on", data, "adata.var", "adata.var_names", way.on),
        )
        for argument, ids, frame, index, name in sides:
            if any(way.form.of(one) != one for one in ids if one is not None):
                what = index if name is None else f"{frame}[{name!r}].astype(str)"
                lines.append(f"{frame}['join_id'] = {what}{way.form.code}")
                asked[argument] = "join_id"
    more = [f"{name}={value!r}" for name, value in asked.items() if value is not None]
    more += ["strip_version=True"] if way.form is VERSION else []
    more += [f"key_added={key_added!r}"] if key_added != "limma" else []
    return "\n".join([*lines, f"gb.tl.add_de({', '.join(['adata', 'de', *more])})"])


def explain(way: Way, n: int, kinds: tuple[Kind | None, Kind | None]) -> str:
    """A way in words, for a message."""
    left = "its ids" if way.feature is None else f"its column {way.feature!r}"
    right = "the var_names" if way.on is None else f"the column {way.on!r} of adata.var"
    said = f"{way.matched} ids match (the table has {n} rows) when {left} {'is' if way.feature else 'are'} compared with {right}"
    if way.form.words:
        said += f" without {way.form.words}" if way.form is not CASE else f" without regard to {way.form.words}"
    if way.form is CASE and all(kinds) and kinds[0] != kinds[1]:
        said += (
            f". But the table has {kinds[0].words}, the data {kinds[1].words}: if they are different species, case does not "  # type: ignore[union-attr]
            "make orthologs; map them by a table of orthologs. If they are one species"
        )
    return said


def by_kind(table: Kind | None, data: Kind | None) -> str:
    """What to do where no column on either side meets: by the kinds of ids."""
    if table is None or data is None:
        return (
            "No column of either side meets the other. Add to adata.var (or to de.frame) a column with the ids of the other "
            "side and name it: on='...' (or feature='...')."
        )
    said = f"The table has {table.words}, the data {data.words}"
    if table == data:
        return f"{said}, and yet none is shared: another species, another release, or another chip?"
    if table.species and data.species and table.species != data.species and table.keytype == data.keytype:
        return f"{said}: two species. No renaming joins them; map one to the other by a table of orthologs first."
    said += ", and no column of either side holds the other's ids. "
    if table.keytype and data.keytype:
        package = _ORG_DB.get(table.species or data.species, "org.Hs.eg.db")
        return (
            f'{said}Translate them, for example in R: AnnotationDbi::mapIds({package}::{package}, keys = ids, keytype = "{table.keytype}", '
            f"column = \"{data.keytype}\"); save the result as a column of the table and name it: feature='...'."
        )
    return (
        f"{said}Probes are translated by the annotation of their chip (the platform's GPL table at GEO, or a Bioconductor "
        "package such as hgu133plus2.db): add the result as a column and name it, feature='...' in the table or on='...' in "
        "adata.var."
    )
