"""The verbs for DE tables: ``geneml-bio toptable | limma``."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .core.detable import DETable
from .core.errors import ColumnNotFoundError, DataWarning, InputError
from .core.ids import POLICIES
from .describe import described, plain

FORMATS = ("csv", "tsv", "xlsx", "h5ad", "parquet")
_DIALECTS = ("limma", "scanpy", "pertpy", "deseq2", "edger")
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
    limma.add_argument("data", type=Path, help=".h5ad, or a CSV/TSV of samples x genes")
    limma.add_argument("--samples", type=Path, help="a table of what is known of the samples, their names first")
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
    parser.add_argument("--top", type=int, default=10, metavar="N", help="genes shown (default: 10)")
    parser.add_argument("--to", choices=FORMATS, help=to)
    parser.add_argument("--out", type=Path, help="file to write; its suffix is the format")
    parser.add_argument("--dialect", choices=_DIALECTS, default="limma", help="whose column names to write")
    parser.add_argument("--force", action="store_true", help="replace files that are there")


# -- the verbs ---------------------------------------------------------------------------------------------------------


_OPTION = re.compile(
    r"\b(?:coef|by|feature|sheet|duplicates|columns)=(?=(['\"\d\[])|[\s.,;:)])|\btrusted=True\b|\bcolumns=\{([^}]*)\}"
)


def _in_words_of_the_command(text: str) -> str:
    """A message that names arguments of Python, with the options of the command in their place."""

    def option(hit: re.Match[str]) -> str:
        if hit.group(2) is not None:
            return "--columns " + re.sub(r"'([^']*)': '([^']*)',? ?", r"\1='\2' ", hit.group(2)).strip()
        return f"--{hit.group(0).split('=')[0]}{' ' if hit.group(1) else ''}"

    return _OPTION.sub(option, text)


def _toptable(asked: argparse.Namespace) -> int:
    try:
        return _read_and_show(asked)
    except (InputError, ColumnNotFoundError) as error:
        raise type(error)(_in_words_of_the_command(str(error))) from error


def _read_and_show(asked: argparse.Namespace) -> int:
    from . import read

    by = None if asked.by is None else asked.by[0] if len(asked.by) == 1 else asked.by
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
    where = _where(asked, tables)
    for name, de in tables.items():
        told.said |= {plain(text) for text in de.source.get("warnings") or []}
        _say(described(de, asked.file.name if not name else f"{asked.file.name}, {name}", top=asked.top))
    told.rest()
    return _write(tables, where, asked)


def _limma(asked: argparse.Namespace) -> int:
    from . import read, tl

    where = _where(asked, [""])
    adata = read.expression(asked.data, **({} if asked.samples is None else {"samples": asked.samples}))
    contrasts = [_factor(text, adata.obs.columns) for text in asked.contrast]
    names = ("layer", "voom", "quality_weights", "trend", "robust", "block", "engine")
    if asked.h5ad is not None and asked.h5ad.exists() and not asked.force:
        raise InputError(f"{asked.h5ad} is there already. Name another file, or allow it to be replaced (--force).")
    de = tl.limma(
        adata,
        asked.design,
        contrast=contrasts[0] if len(contrasts) == 1 else contrasts,
        treat_lfc=asked.treat,
        **{name: getattr(asked, name) for name in names},
    )
    _say(described(de, asked.data.name, top=asked.top))
    if asked.h5ad is not None:
        adata.write_h5ad(asked.h5ad)
        _say(f"Written: {asked.h5ad}")
    return _write({"": de}, where, asked)


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
    source: Path | None = getattr(asked, "file", None)
    if asked.out is not None:
        base = asked.out
    elif asked.to is None:
        return {}
    elif source is None:
        raise InputError("--to needs --out, the file to write.")
    else:
        base = source.with_name(f"{_SUFFIX.sub('', source.name)}.{asked.to}")
    from .bridge.export import checked

    where = {}
    for name in tables:
        safe = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "table"
        where[name] = base if not name else base.with_name(f"{base.stem}-{safe}{base.suffix}")
    for path in where.values():
        checked(path, to=asked.to, dialect=asked.dialect, force=asked.force)
    if len(set(where.values())) < len(where):
        raise InputError(f"The names {list(tables)} give the same file name; read them one at a time and name --out.")
    return where


def _write(tables: Mapping[str, DETable], where: Mapping[str, Path], asked: argparse.Namespace) -> int:
    from .bridge.export import write

    for name, path in where.items():
        _say(f"Written: {write(tables[name], path, to=asked.to, dialect=asked.dialect, force=asked.force)}")
    return 0


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
