"""The verb for the biomarker table: ``geneml-bio biomarkers``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cli_tables
from .core.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_FORMATS = ("csv", "tsv", "xlsx", "parquet", "tex", "html")
_ASKED = ("alpha", "lfc", "min_frequency", "n_used", "max_q", "min_share", "annotation", "keytype")


def add_verb(verbs: Any) -> None:
    """Add the verb to the parser of the command line."""
    verb = verbs.add_parser(
        "biomarkers",
        help="the biomarker table of a results.h5ad, or of a DE table alone: shown, and written for others",
        description="Shows the strongest genes, and writes the table as csv, tsv, xlsx, parquet, tex or html. An .h5ad without the table, "
        "or options that decide what is DE, used or redundant, make it anew from the evidence there (the .h5ad stays as it is).",
    )
    verb.add_argument("data", type=Path, help="an .h5ad that holds results, or a DE table (.csv, .tsv, .xlsx, .rds)")
    verb.add_argument("--to", choices=_FORMATS, help="format to write (default: by the suffix of --out)")
    verb.add_argument("--out", type=Path, help="file to write (default, with --to: biomarkers.FORMAT)")
    verb.add_argument(
        "--top", type=int, metavar="N", help="genes to show (default: 10) and to write (default: all; tex 20, html 200)"
    )
    verb.add_argument("--columns", nargs="+", metavar="NAME", help="columns to write, in this order (default: all)")
    verb.add_argument("--caption", default="", help="caption of the LaTeX table, title of the HTML page")
    verb.add_argument("--key", default="biomarkers", help="name of the table (default: %(default)s)")
    verb.add_argument("--de", default="limma", help="name of the DE results (default: %(default)s)")
    verb.add_argument("--model", help="name of the model results (default: classify, else regress)")
    verb.add_argument("--alpha", type=float, help="DE: adj.P.Val at most this (default: 0.05)")
    verb.add_argument("--lfc", type=float, help="DE: absolute logFC at least this (default: 0)")
    verb.add_argument("--n-used", type=int, help="used: among so many with the largest SHAP (default: 100)")
    verb.add_argument("--max-q", type=_limit, metavar="Q",
                      help="used: empirical q at most this, or none (default: 0.1 where permuted targets were run)")  # fmt: skip
    verb.add_argument("--min-frequency", type=float, help="unstable: chosen in a smaller share of folds (default: 0.5)")
    verb.add_argument(
        "--min-share", type=float, help="redundant: less than this share of the SHAP of its partner (default: 0.25)"
    )
    verb.add_argument(
        "--annotation", metavar="PACKAGE", help="symbols by a package of Bioconductor, such as org.Hs.eg.db"
    )
    verb.add_argument("--keytype", help="what the ids are, in that package's words (default: guessed)")
    verb.add_argument("--force", action="store_true", help="replace a file that is there")
    verb.set_defaults(run=_run)


def _limit(text: str) -> float | str:
    if text == "none":
        return "none"
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a number such as 0.1, or none, is needed; got {text!r}") from None


def _run(asked: argparse.Namespace) -> int:
    from .exports import export
    from .summary_parts import top_biomarkers

    out = asked.out or (None if asked.to is None else Path(f"biomarkers.{asked.to}"))
    if out is None and (asked.columns or asked.caption):
        raise InputError("--columns and --caption are for a file; name one with --out, or a format with --to.")
    table, unit = _table(asked)
    settings = table.attrs.get("settings", {})
    lines = top_biomarkers(table, unit, asked.top or 10)
    lines += [f"  ! {settings[name]}" for name in ("cautions",) if settings.get(name)]
    lines += [f"  Models: {settings['verdict']}"] if settings.get("verdict") else []
    lines += [f"  Missing: {settings['missing_evidence']}"] if settings.get("missing_evidence") else []
    if out is not None:
        how = {"to": asked.to, "top": asked.top, "columns": asked.columns, "caption": asked.caption}
        lines.append(f"Written: {export(table, out, force=asked.force, **how)}")
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()
    return 0


def _table(asked: argparse.Namespace) -> tuple[pd.DataFrame, str]:
    """The table that is stored, or one made of the evidence; and the unit of SHAP in it."""
    from . import get, tl

    given = {name: getattr(asked, name) for name in _ASKED if getattr(asked, name) is not None}
    given |= {"max_q": None} if given.get("max_q") == "none" else {}
    if asked.data.suffix.lower() != ".h5ad":
        return tl.biomarkers(cli_tables.read_de(asked.data), **given), ""
    from .bridge.matrices import read_h5ad

    adata = read_h5ad(asked.data)
    stored = dict(adata.uns.get(asked.key, {}))
    model = asked.model or str(stored.get("model", "classify" if "classify" in adata.uns else "regress"))
    unit = str(adata.uns.get(f"{model}_shap", {}).get("unit", ""))
    if asked.key in adata.varm and not given and asked.model is None:
        return get.biomarkers(adata, key=asked.key), unit
    return tl.biomarkers(adata, de=asked.de, model=model, key_added=asked.key, **given), unit
