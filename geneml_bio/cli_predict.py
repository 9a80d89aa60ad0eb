"""The verb for models that were saved: ``geneml-bio predict``."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cli_tables
from .core.errors import AuditWarning, DataWarning, GenemlWarning, InputError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from .bridge.fitted_model import FittedModel

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


def add_verb(verbs: Any) -> None:
    """Add the verb to the parser of the command line."""
    predict = verbs.add_parser(
        "predict",
        help="predict new samples with a model that was saved",
        description="Genes are found by id, whatever their order; the model says which it needs. No file of a model can run code.",
    )
    predict.add_argument("model", type=Path, help="a model written by FittedModel.save")
    cli_tables.add_data(predict, "a CSV/TSV of samples x genes")
    predict.add_argument("--layer", help="layer to use in place of X")
    predict.add_argument(
        "--on", metavar="COLUMN", help="column of the genes (.var) with the ids (default: their names)"
    )
    predict.add_argument("--strip-version", action="store_true", help="compare ids without their version (ENSG... .18)")
    predict.add_argument(
        "--missing",
        choices=["error", "fill"],
        default="error",
        help="genes that the data lack: refuse, or fill up to 10 %% with training medians (default: error)",
    )
    predict.add_argument("--target", metavar="COLUMN", help="column of what is known: the predictions are scored too")
    predict.add_argument("--groups", metavar="COLUMN", help="column of donors, for the intervals of the scores")
    predict.add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help="file to write, .csv or .tsv (default: %(default)s)"
    )
    predict.add_argument("--force", action="store_true", help="replace a file that is there")
    predict.set_defaults(run=_predict)


def _predict(asked: argparse.Namespace) -> int:
    from .bridge.fitted_model import load

    _check_out(asked.out, asked.force)
    model = load(asked.model)
    adata = _oriented(cli_tables.read_data(asked, target=asked.target), model, asked.orient)
    how = {name: getattr(asked, name) for name in ("missing", "layer", "on", "strip_version")}
    if asked.groups is not None and asked.target is None:
        raise InputError("--groups is for the intervals of scores; name a --target too.")
    scores = None
    with warnings.catch_warnings(record=True) as held:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", GenemlWarning)
        made = model.predict(adata, **how)
        if asked.target is not None:
            scores = model.score(adata, asked.target, groups=asked.groups, **how)
    for text, kind in {str(one.message): one.category for one in held}.items():  # both may have said the same
        warnings.warn(text, DataWarning if issubclass(kind, AuditWarning) else kind, stacklevel=2)
    _write(made, asked.out)
    sys.stdout.write("\n".join([repr(model), "", _told(made, model), *_scored(scores), f"Written: {asked.out}", ""]))
    sys.stdout.flush()
    return 0


def _check_out(path: Path, force: bool) -> None:
    """Refuse early what cannot be written."""
    if path.suffix.lower() not in _SEPARATORS:
        raise InputError(f"--out {path}: predictions are written as .csv or .tsv.")
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(
            f"{path} cannot be written: {'it is a folder' if path.is_dir() else f'there is no folder {path.parent}'}."
        )
    if path.exists() and not force:
        raise InputError(f"{path} is there already. Name another file, or allow it to be replaced: --force.")


def _oriented(adata: AnnData, model: FittedModel, orient: str) -> AnnData:
    """Samples as rows: the model knows its genes, where the shape of a table does not tell."""
    genes = list(model.features)
    if orient == "auto" and not adata.var_names.isin(genes).any() and adata.obs_names.isin(genes).any():
        return adata.T
    return adata


def _write(made: pd.DataFrame, path: Path) -> None:
    from .bridge.export import whole
    from .bridge.formulas import calmed

    out = made.rename(index=calmed).rename_axis("sample")
    if out["predicted"].dtype.kind not in "fi":
        out["predicted"] = out["predicted"].map(calmed)
    with whole(path, path.suffix) as file:
        out.to_csv(file, sep=_SEPARATORS[path.suffix.lower()])


def _told(made: pd.DataFrame, model: FittedModel) -> str:
    n = f"{len(made):,} sample{'s' if len(made) != 1 else ''} predicted"
    values = made["predicted"]
    if not model.classes:
        return f"{n}: {values.min():.4g} to {values.max():.4g}, median {values.median():.4g}"
    counts = values.value_counts()
    return f"{n}: " + ", ".join(f"{counts.get(name, 0)} {name}" for name in model.classes)


def _scored(scores: pd.DataFrame | None) -> list[str]:
    if scores is None:
        return []
    lines = ["", f"Scores, of {int(scores['n'].iloc[0])} samples whose target is known (95 % intervals)"]
    for metric, value, low, high, _ in scores.itertuples(index=False):
        said = "not defined" if value != value else f"{value:>8.3f} [{low:.3f}, {high:.3f}]"
        lines.append(f"  {metric.replace('_', ' '):<24}{said}")
    return [*lines, ""]
