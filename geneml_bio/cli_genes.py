"""The verb for models of genes: ``geneml-bio regress-genes``."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.errors import AuditWarning, InputError
from .core.ids import POLICIES

if TYPE_CHECKING:
    import pandas as pd

    from .core.detable import DETable
    from .core.gene_level import GeneLevel

_SHARED = {"yes": True, "no": False, "reference": "reference"}


def add_verb(verbs: Any) -> None:
    """Add the verb to the parser of the command line."""
    verb = verbs.add_parser(
        "regress-genes",
        help="what predicts the fold change (or B) of genes: models compared, beside what is arithmetic",
        description="Genes are the rows and a column of a DE table is the target. Predictors that are tied to it by formula stand beside "
        "independent ones, with the formula's own score, the noise ceiling and the mean.",
    )
    verb.add_argument("table", type=Path, help="a DE table of any program: text, Excel, .rds, .h5ad")
    verb.add_argument("--target", default="logFC", metavar="COLUMN", help="column to predict (default: logFC; B, ...)")
    verb.add_argument(
        "--features", type=Path, metavar="FILE", help="CSV/TSV of predictors, the genes in the first column"
    )
    verb.add_argument(
        "--gene-sets", type=Path, metavar="FILE", help="GMT, or a net with the columns source and target (and weight)"
    )
    verb.add_argument(
        "--contrast-table",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="other DE tables, whose logFC and t are predictors",
    )
    verb.add_argument(
        "--shared-samples",
        choices=list(_SHARED),
        help="whether those share samples with the table, or its controls only",
    )
    verb.add_argument(
        "--groups",
        metavar="COLUMN",
        help="column of the gene that a probe measures (default: the symbols); none: each row",
    )
    verb.add_argument("--exclude", nargs="+", default=[], metavar="COLUMN", help="columns that are not to predict")
    verb.add_argument(
        "--model", "--models", dest="models", nargs="+", metavar="NAME", help="models by name (default: all eleven)"
    )
    for name, what in (
        ("coef", "which of several results side by side"),
        ("feature", "column of the ids"),
        ("sheet", "sheet or object"),
    ):
        verb.add_argument(f"--{name}", help=f"of the table: {what}, as for `geneml-bio toptable`")
    verb.add_argument("--duplicates", choices=POLICIES, help="which row of a repeated id is kept (default: refused)")
    verb.add_argument(
        "--test-size", type=float, default=0.2, metavar="SHARE", help="genes held out (default: 0.2; 0: none)"
    )
    verb.add_argument("--splits", type=int, default=5, help="folds (default: 5)")
    verb.add_argument("--repeats", type=int, default=1, help="how often the folds are drawn anew (default: 1)")
    verb.add_argument("--permutations", type=int, default=0, help="permuted targets (default: 0)")
    verb.add_argument("--no-tune", action="store_true", help="no search of hyperparameters in the training parts")
    verb.add_argument(
        "--predict", type=Path, metavar="FILE", help="fit the best model on all genes, and predict those of this table"
    )
    verb.add_argument(
        "--predict-features", type=Path, metavar="FILE", help="predictors of the genes to predict, as --features"
    )
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--jobs", type=int, help="worker processes (default: every core)")
    verb.add_argument("--quiet", action="store_true", help="no progress bars and no summary")
    verb.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")
    verb.set_defaults(run=_run)


def _run(asked: argparse.Namespace) -> int:
    from . import pl, tl

    if asked.out.exists() and not asked.out.is_dir():
        raise InputError(f"--out: {asked.out} is a file; name a folder.")
    others = {name: _read(path, asked, own=False) for name, path in _named(asked.contrast_table).items()}
    de = _read(asked.table, asked, own=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AuditWarning)  # the summary lists them
        result = tl.regress_genes(
            de,
            asked.target,
            models=asked.models or "all",
            features=asked.features,
            gene_sets=asked.gene_sets,
            contrasts=others or None,
            shared_samples=None if asked.shared_samples is None else _SHARED[asked.shared_samples],
            groups=False if asked.groups == "none" else asked.groups,
            exclude=asked.exclude,
            test_size=asked.test_size or None,
            n_splits=asked.splits,
            n_repeats=asked.repeats,
            n_permutations=asked.permutations,
            tune=not asked.no_tune,
            seed=asked.seed,
            n_jobs=asked.jobs,
            progress=not asked.quiet,
        )
    made = None
    if asked.predict is not None:
        made = _predicted(result, asked, others)
    asked.out.mkdir(parents=True, exist_ok=True)
    written = _write(result, asked.out)
    if made is not None:
        written.append(_csv(made.to_frame(), asked.out / "new_predictions.csv"))
    pl.save_gene_figures(result, asked.out / "figures")
    if not asked.quiet:
        _say(str(result))
        _say("")
    names = ", ".join(path.name for path in written)
    _say(f"Written to {asked.out}: {names}, figures")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _named(pairs: list[str]) -> dict[str, Path]:
    out: dict[str, Path] = {}
    for pair in pairs:
        name, equals, path = pair.partition("=")
        if not equals or not name or not path:
            raise InputError(f"--contrast-table takes NAME=FILE, such as treated=other.csv; got {pair!r}.")
        if name in out:
            raise InputError(f"--contrast-table names {name!r} twice.")
        out[name] = Path(path)
    return out


def _read(path: Path, asked: argparse.Namespace, *, own: bool) -> DETable:
    """The table, read as the options say; the other tables without them but for repeated ids."""
    from . import read

    names = ("coef", "feature", "sheet", "duplicates") if own else ("duplicates",)
    return read.toptable(path, **{name: getattr(asked, name) for name in names})


def _predicted(result: GeneLevel, asked: argparse.Namespace, others: dict[str, DETable]) -> pd.Series:
    from .tl.genes import read_features

    fitted = result.fit()
    features = None if asked.predict_features is None else read_features(asked.predict_features)
    return fitted.predict(_read(asked.predict, asked, own=True), features=features, contrasts=others)


def _write(result: GeneLevel, folder: Path) -> list[Path]:

    genes = result.predictions()[["observed", "set"]]
    for block, validation in result.blocks.items():
        for model in validation.models:
            genes[f"{block}: {model}"] = result.predictions(model, block)["predicted"]
    out = [
        _csv(result.table, folder / "comparison.csv", index=False),
        _csv(genes, folder / "predictions.csv"),
        _csv(result.predictors, folder / "predictors.csv", index=False),
    ]
    if len(result.outliers):
        out.append(_csv(result.outliers, folder / "outliers.csv"))
    if result.explanation is not None:
        out.append(_csv(result.explanation.per_predictor, folder / "shap.csv", index=False))
        shap: pd.DataFrame = result.explanation.values
        out.append(_csv(shap, folder / "shap_by_gene.csv"))
    path = folder / "summary.txt"
    path.write_text(str(result) + "\n", encoding="utf-8")
    return [*out, path]


def _csv(frame: pd.DataFrame, path: Path, *, index: bool = True) -> Path:
    """Numbers in full, text that a spreadsheet would run as a formula calmed."""
    from .bridge.export import whole
    from .bridge.formulas import calmed

    safe = frame.rename(columns=lambda name: calmed(str(name))).copy()
    if index:
        safe.insert(0, "gene", safe.index.astype(str))
    for at in range(safe.shape[1]):
        if safe.dtypes.iloc[at].kind not in "iufb":
            safe.isetitem(at, [calmed(value) for value in safe.iloc[:, at].astype(object)])
    with whole(path, ".csv") as made:
        safe.to_csv(made, index=False, na_rep="NA")
    return path
