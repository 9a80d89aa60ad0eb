"""The verbs for DE tables: ``geneml-bio toptable | limma``."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .bridge.export import WRITERS
from .cli_words import in_options
from .core.detable import DETable
from .core.errors import ColumnNotFoundError, DataWarning, InputError
from .core.ids import POLICIES
from .core.names import PROGRAMS
from .describe import described, plain

if TYPE_CHECKING:
    from anndata import AnnData

_READING = ("coef", "by", "feature", "sheet", "columns", "duplicates", "trusted")
_SUFFIX = re.compile(
    r"(\.(csv|tsv|txt|tab|xlsx|xls|h5ad|parquet|rds|rda|rdata|gz|bz2|xz|zip|zst))+$", flags=re.IGNORECASE
)


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the parser of the command line."""
    table = verbs.add_parser(
        "toptable",
        help="what a DE table holds, whether it is whole, its top genes; and convert it",
        description="Reads a differential-expression table of any program: text, Excel, .rds, .RData, .h5ad.",
    )
    table.add_argument("file", type=Path, help="the table")
    table.add_argument("--feature", help="column of the feature ids (default: row names, or what looks like ids)")
    table.add_argument("--by", nargs="+", metavar="COLUMN", help="column that tells stacked experiments apart")
    table.add_argument("--coef", help="which of several results side by side: name or number")
    table.add_argument(
        "--columns", nargs="+", default=[], metavar="NAME=COLUMN", help="limma's name = the file's (NAME= for none)"
    )
    table.add_argument("--duplicates", choices=POLICIES, help="which row of a repeated id is kept (default: refused)")
    table.add_argument("--sheet", help="sheet of a workbook, object of an .RData, results of an .h5ad")
    table.add_argument("--contrast", help="what was compared, in words")
    table.add_argument("--trusted", action="store_true", help="R may read an .rds that cannot be read without it")
    _add_output(table, "convert to; beside the file, unless --out is given")
    table.set_defaults(run=_toptable)

    limma = verbs.add_parser(
        "limma",
        help="differential expression by limma, in R or natively",
        description="lmFit, contrasts.fit, eBayes (or treat) on log expression; voom on counts.",
    )
    add_data(limma, "a CSV/TSV")
    limma.add_argument("--design", required=True, help="formula over sample columns, such as '~ 0 + class + batch'")
    limma.add_argument(
        "--contrast",
        required=True,
        nargs="+",
        help="'classAML - classALL', a coefficient, or class,AML,ALL; several: F test",
    )
    limma.add_argument("--layer", help="layer to use in place of X")
    limma.add_argument("--voom", action="store_true", help="the values are counts")
    limma.add_argument("--quality-weights", action="store_true", help="weigh the samples by how well they fit")
    limma.add_argument("--trend", action="store_true", help="the prior variance follows mean expression")
    limma.add_argument("--robust", action="store_true", help="protect the prior from outlying variances")
    limma.add_argument("--block", help="column of the donor or litter that samples share")
    limma.add_argument("--treat", type=float, metavar="LFC", help="test against this minimal log fold change")
    limma.add_argument("--engine", choices=["auto", "r", "native"], default="auto", help="who computes it")
    limma.add_argument("--h5ad", type=Path, help="write the data with the results here")
    _add_output(limma, "format of --out, where its suffix does not say it")
    limma.set_defaults(run=_limma)


def _add_output(parser: argparse.ArgumentParser, to: str) -> None:
    parser.add_argument("--top", type=_count, default=10, metavar="N", help="genes shown (default: 10; 0: none)")
    parser.add_argument("--details", action="store_true", help="list all that the numbers say of the table")
    parser.add_argument("--to", choices=tuple(WRITERS), help=to)
    parser.add_argument("--out", type=Path, help="file to write, its suffix the format; or a folder that is there")
    parser.add_argument("--dialect", choices=tuple(PROGRAMS), default="limma", help="whose column names to write")
    parser.add_argument("--force", action="store_true", help="replace files that are there")


def add_data(parser: argparse.ArgumentParser, text: str) -> None:
    """Add expression data, and how they are read, to a verb; :func:`read_data` reads them."""
    parser.add_argument("data", type=Path, help=f".h5ad; {text}; an .rds or .RData of Bioconductor")
    parser.add_argument("--samples", type=Path, help="a table of what is known of the samples, their names first")
    parser.add_argument("--orient", choices=["auto", "samples", "genes"], default="auto", help="what the rows are")
    parser.add_argument("--sheet", help="object of an .RData")
    parser.add_argument("--trusted", action="store_true", help="R may read an .rds that cannot be read without it")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a number from 0 on is needed, got {text!r}")
    return int(text)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_data(asked: argparse.Namespace, *, target: str | None = None, obs: list[str] | None = None) -> AnnData:
    """The expression data of a verb with :func:`add_data`; ``obs``: columns of numbers that are no genes (None: it does not matter)."""
    from .bridge.matrices import expression
    from .bridge.sample_columns import set_aside, tell

    how = {name: getattr(asked, name) for name in ("samples", "orient", "sheet", "trusted")}
    adata = set_aside(expression(asked.data, target=target, **how), obs or [])
    if obs is not None:
        tell(adata)
    return adata


def read_de(path: Path) -> DETable:
    """A DE table that needs no options; where it does, the message says how to give them."""
    from . import read

    try:
        return read.toptable(path)
    except (InputError, ColumnNotFoundError) as error:
        said = in_options(str(error), _READING)
        if said != str(error):
            said += f" So: geneml-bio toptable {path} OPTION ... --out de.csv, and then --de de.csv."
        raise type(error)(said) from error


def joined_here(said: str, path: Path | None) -> str:
    """Why a DE table does not fit the data, with the line that mends it for the command line where there is one."""

    def line(hit: re.Match[str]) -> str:
        return f"geneml-bio toptable {path} --feature '{hit.group(1)}' --out de.csv, and then --de de.csv"

    said = re.sub(r"gb\.tl\.add_de\(adata, de, feature='([^']*)'\)$", line, said)
    said = said.replace("feature='...'", "--feature of `geneml-bio toptable`, which writes a table for --de")
    return re.sub(r"(^|\n)gb\.tl\.add_de\(", r"\1In Python: gb.tl.add_de(", said)


# -- the verbs ---------------------------------------------------------------------------------------------------------


def _toptable(asked: argparse.Namespace) -> int:
    from . import read

    by = None if asked.by is None else asked.by[0] if len(asked.by) == 1 else asked.by
    where = _where(asked, [""]) if by is None else {}
    how: dict[str, Any] = {
        name: getattr(asked, name) for name in ("feature", "duplicates", "sheet", "contrast", "trusted")
    }
    with _told_below() as told:
        how |= {"by": by, "columns": _mapping(asked.columns) or None}
        try:
            got: Any = read.toptable(asked.file, coef=asked.coef, **how)
        except (InputError, ColumnNotFoundError):
            if asked.coef is None or not asked.coef.isdigit():
                raise
            got = read.toptable(asked.file, coef=int(asked.coef), **how)  # no result of that name: the number of one
    tables: Mapping[str, DETable] = got if by is not None else {"": got}
    where = where or _where(asked, tables)
    written = _write(tables, where, asked)  # before anything is shown: whoever reads that may stop early
    for name, de in tables.items():
        told.said |= {plain(text) for text in de.source.get("warnings") or []}
        _show(de, asked.file.name if not name else f"{asked.file.name}, {name}", asked)
    told.rest()
    _tell(written)
    return 0


def _limma(asked: argparse.Namespace) -> int:
    from . import tl
    from .bridge.export import checked, whole
    from .describe_fit import done

    where = _where(asked, [""])
    if asked.h5ad is not None:
        checked(asked.h5ad, to="h5ad", force=asked.force)
    if asked.h5ad is not None and asked.h5ad in where.values():
        raise InputError(f"--out and --h5ad would both be written to {asked.h5ad}.")
    adata = read_data(asked, obs=[])
    contrasts = [_factor(text, adata.obs.columns) for text in asked.contrast]
    names = ("layer", "voom", "quality_weights", "trend", "robust", "block", "engine")
    with _told_below() as told:
        de = tl.limma(
            adata,
            asked.design,
            contrast=contrasts[0] if len(contrasts) == 1 else contrasts,
            treat_lfc=asked.treat,
            **{name: getattr(asked, name) for name in names},
        )
    told.said |= {plain(text) for text in de.source.get("warnings") or []}
    written = _write({"": de}, where, asked)
    if asked.h5ad is not None:
        with whole(asked.h5ad, ".h5ad") as path:
            adata.write_h5ad(path)
        written.append(asked.h5ad)
    _show(de, asked.data.name, asked, done=done(de, adata))
    told.rest()
    _tell(written)
    return 0


def _show(de: DETable, name: str, asked: argparse.Namespace, **more: Any) -> None:
    def words(text: str) -> str:
        return in_options(text, vars(asked))

    _say(described(de, name, top=asked.top, details=asked.details, words=words, **more))


def _mapping(pairs: list[str]) -> dict[str, str | None]:
    """``NAME=COLUMN`` arguments as a dict; ``NAME=``: there is no such column."""
    out: dict[str, str | None] = {}
    for pair in pairs:
        name, equals, column = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--columns takes NAME=COLUMN, such as logFC=log2fc; got {pair!r}.")
        out[name] = column or None
    return out


def _factor(text: str, columns: Any) -> Any:
    """``class,AML,ALL`` as (factor, level, reference); any other contrast as it is."""
    parts = tuple(part.strip() for part in text.split(","))
    return parts if len(parts) == 3 and parts[0] in columns else text


def _where(asked: argparse.Namespace, tables: Iterable[str]) -> dict[str, Path]:
    """The file of each table; refused early if one cannot be written."""
    from .bridge.export import checked

    source: Path = asked.file if asked.verb == "toptable" else asked.data
    made = "" if asked.verb == "toptable" else f"-{asked.verb}"
    named = f"{_SUFFIX.sub('', source.name)}{made}.{asked.to or 'csv'}"
    if asked.out is not None:
        base = asked.out / named if asked.out.is_dir() else asked.out
    elif asked.to is None:
        return {}
    else:
        base = source.with_name(named)
    tables = list(tables)
    where = {}
    for name in tables:
        safe = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "table"
        where[name] = base if len(tables) == 1 else base.with_name(f"{base.stem}-{safe}{base.suffix}")
    for path in where.values():
        checked(path, to=asked.to, dialect=asked.dialect, force=asked.force)
        if made and path.exists() and path.samefile(source):
            raise InputError(f"{path} holds the data; name another file.")
    if len(set(where.values())) < len(where):
        raise InputError(f"The names {tables} give the same file name; read them one at a time and name --out.")
    return where


def _write(tables: Mapping[str, DETable], where: Mapping[str, Path], asked: argparse.Namespace) -> list[Path]:
    from .bridge.export import write

    return [
        write(tables[name], path, to=asked.to, dialect=asked.dialect, force=asked.force) for name, path in where.items()
    ]


def _tell(written: Iterable[Path]) -> None:
    for path in written:
        _say(f"Written: {path}")


class _Told:
    """Warnings of reading, held back, since the description shows those of the table itself."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.held: list[Any] = []

    def rest(self) -> None:
        """Give those that the description did not show."""
        for one in self.held:
            text = plain(str(one.message))
            if not any(said and said in text for said in self.said):
                warnings.warn(one.message, one.category, stacklevel=3)


@contextmanager
def _told_below() -> Iterator[_Told]:
    told = _Told()
    with warnings.catch_warnings(record=True) as held:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", DataWarning)
        yield told
    told.held = list(held)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
