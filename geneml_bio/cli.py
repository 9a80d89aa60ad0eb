"""The command line: the same verbs as the package (``geneml-bio demo | run | classify | regress | predict | limma | ...``)."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .core.errors import AuditWarning, GenemlError, GenemlWarning, TableError

if TYPE_CHECKING:
    from anndata import AnnData

    from .core.detable import DETable


def _parser() -> argparse.ArgumentParser:
    # not with this module: it takes a second, in which Ctrl-C is to be understood
    from . import cli_biomarkers, cli_genes, cli_models, cli_predict, cli_tables

    parser = argparse.ArgumentParser(
        prog="geneml-bio",
        description="From limma results to models you can believe: validated and explained on samples they did not see.",
    )
    parser.add_argument("--version", action="version", version=f"geneml-bio {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    demo = verbs.add_parser("demo", help="the main job on two real data sets (Golub's leukaemia; ALL, if R is there)")
    demo.add_argument("--only", choices=["golub", "all"], help="run one of the two")
    demo.add_argument("--out", default="results", type=Path, help="folder for the results (default: results)")
    demo.set_defaults(run=_demo)

    run = verbs.add_parser("run", help="the main job on your data")
    cli_tables.add_data(run, "a CSV/TSV of samples x genes with a column for the target")
    run.add_argument("--target", required=True, help="column of the classes, or of the number, to predict")
    run.add_argument("--de", type=Path, help="a DE table to use instead of running limma")
    run.add_argument("--design", help="design formula for limma (default: ~ 0 + target + batch + covariates)")
    cli_models.add_columns(run)
    cli_models.add_validation(run)
    cli_models.add_classes(run)
    run.add_argument("--task", choices=["auto", "classification", "regression"], default="auto")
    run.add_argument("--models", nargs="+", help="models by name (default: all of the registry)")
    run.add_argument(
        "--engine", choices=["auto", "r", "native"], default="auto", help="who computes limma's statistics"
    )
    run.add_argument("--gene-sets", type=Path, metavar="FILE", help="GMT file (or net) of gene sets to sum SHAP over")
    run.add_argument("--gene-symbols", metavar="COLUMN", help="column of the genes with the names that the sets use")
    run.add_argument(
        "--annotation", metavar="PACKAGE", help="symbols by a package of Bioconductor, such as org.Hs.eg.db"
    )
    run.add_argument("--title", help="title of the report")
    run.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")
    run.set_defaults(run=_run)

    for verb in (demo, run):
        cli_models.add_how(verb)

    cli_models.add_verbs(verbs)
    cli_tables.add_verbs(verbs)
    cli_genes.add_verb(verbs)
    cli_predict.add_verb(verbs)
    cli_biomarkers.add_verb(verbs)

    report = verbs.add_parser("report", help="write the HTML report of a results.h5ad")
    report.add_argument("data", type=Path, help="an .h5ad that holds results")
    report.add_argument("--out", type=Path, default=Path("report.html"))
    report.add_argument(
        "--key", help="key of the validation (default: classify, or regress where that is what the file holds)"
    )
    report.add_argument("--de", default="limma", help="key of the DE results (default: limma)")
    report.add_argument("--biomarkers", default="biomarkers", help="key of the biomarker table (default: biomarkers)")
    report.add_argument("--title")
    report.set_defaults(run=_report)

    doctor = verbs.add_parser("doctor", help="versions, R, what works and how to mend what does not")
    doctor.set_defaults(run=_doctor)
    return parser


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _run(asked: argparse.Namespace) -> int:
    from . import cli_models, cli_tables, workflow

    de = None if asked.de is None else cli_tables.read_de(asked.de)
    adata = cli_models.read_samples(asked)
    own = ("design", "task", "engine", "gene_sets", "gene_symbols", "annotation", "title", "out")
    names = (*own, *cli_models.WHERE, *cli_models.VALIDATION, *cli_models.CLASSES)
    given = {name: getattr(asked, name) for name in names}
    try:
        workflow.run(adata, asked.target, de=de, models=asked.models or "default", **given, **cli_models.how(asked))
    except TableError as error:
        raise TableError(cli_tables.joined_here(str(error), asked.de)) from error
    if asked.quiet:
        _say(str(asked.out / "report.html"))
    return 0


def _demo(asked: argparse.Namespace) -> int:
    from . import cli_models, datasets, workflow
    from .bridge.r import limma_works

    start = time.perf_counter()
    with_r = limma_works()
    if asked.only in (None, "golub"):
        _say(
            "Golub's leukaemia: 38 bone-marrow samples, AML against ALL (Science 1999, 286:531; shipped with the package)"
        )
        adata = datasets.golub()
        de = _demo_de(adata, "class", "AML", "ALL", with_r)
        how = cli_models.how(asked) | {"out": asked.out / "golub", "title": "Golub's leukaemia: AML against ALL"}
        workflow.run(adata, "class", de=de, **how)
    if asked.only == "golub":
        return _done(start, asked.out, "golub")
    if asked.only in (None, "all"):
        if not with_r:
            _say(
                "ALL (BCR/ABL against NEG) is left out: it is loaded from Bioconductor through R. `geneml-bio doctor` says what is missing."
            )
            return 1 if asked.only else _done(start, asked.out, "golub")
        _say("ALL: B-lineage leukaemia, BCR/ABL against NEG (Bioconductor ALL, loaded through R)")
        adata = datasets.leukemia()
        de = _demo_de(adata, "mol.biol", "BCR/ABL", "NEG", with_r)
        how = cli_models.how(asked) | {"out": asked.out / "all", "title": "ALL: BCR/ABL against NEG"}
        workflow.run(adata, "mol.biol", de=de, **how)
    return _done(start, asked.out, *([asked.only] if asked.only else ["golub", "all"]))


def _done(start: float, out: Path, *names: str) -> int:
    reports = " and ".join(str(out / name / "report.html") for name in names)
    _say(f"Done in {time.perf_counter() - start:.0f} s. Open {reports} in a browser.")
    return 0


def _demo_de(adata: AnnData, target: str, positive: str, reference: str, with_r: bool) -> DETable:
    """The DE table: by limma in R, its fit object handed over as it is; and by the native engine beside it."""
    import numpy as np

    from . import read, tl

    design, contrast = f"~ 0 + {target}", (target, positive, reference)
    native = tl.limma(adata, design, contrast=contrast, engine="native")
    if not with_r:
        _say("limma: native engine (no R here; the numbers are those of limma 3.54 to 1e-8).")
        return native
    from .bridge.r_limma import fit_object

    fit = fit_object(adata.X, design, contrast, adata.obs, adata.obs_names, adata.var_names)
    de = read.toptable(fit)
    both = native.frame.loc[de.frame.index]
    gap = max(
        float(np.max(np.abs(both[c] - de.frame[c]) / np.maximum(np.abs(de.frame[c]), 1e-300)))
        for c in ("logFC", "t", "B")
    )
    _say(
        f"limma: by R, its MArrayLM read as it is; the native engine agrees to {gap:.0e} (relative) on logFC, t and B."
    )
    return de


def _report(asked: argparse.Namespace) -> int:
    from .bridge.matrices import read_h5ad
    from .report import report

    adata = read_h5ad(asked.data)
    key = asked.key or ("regress" if "regress" in adata.uns and "classify" not in adata.uns else "classify")
    where = {"key": key, "de": asked.de, "biomarkers": asked.biomarkers}
    path = report(adata, asked.out, title=asked.title, **where)
    _say(str(path))
    return 0


def _doctor(asked: argparse.Namespace) -> int:
    from .bridge.doctor import report

    _say(report())
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    try:
        status = _main(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        sys.stderr.write("geneml-bio: stopped\n")
        return 130
    except BrokenPipeError:  # whoever read the output has seen enough
        _drop_output()
        return 141
    return status


def _main(argv: Sequence[str] | None) -> int:
    from .cli_words import in_options

    asked = _parser().parse_args(argv)

    def complain(message: object, *_: Any, **__: Any) -> None:
        sys.stderr.write(f"geneml-bio: {in_options(str(message), vars(asked))}\n")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", GenemlWarning)
        warnings.simplefilter("ignore", AuditWarning)  # the summary and the report show them
        warnings.showwarning = complain
        try:
            return asked.run(asked)
        except BrokenPipeError:
            raise
        except (GenemlError, OSError) as error:
            complain(error)
            return 2


def _drop_output() -> None:
    """Let what is still to be written go nowhere, so that the interpreter's last flush has nothing to say."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
