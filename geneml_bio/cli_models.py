"""The verbs for models of samples: ``geneml-bio classify | regress``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cli_tables
from .core.errors import GenemlError, InputError

if TYPE_CHECKING:
    from anndata import AnnData

_CV = ("kfold", "leave_one_batch_out", "leave_one_group_out")
WHERE = ("groups", "batch", "covariates", "layer")
VALIDATION = ("test_size", "test_set", "cv", "allow_confounded")
CLASSES = ("reference", "calibrate", "class_weight")


def add_verbs(verbs: Any) -> None:
    """Add the verbs to the parser of the command line."""
    for name, what, goal in (
        ("classify", "tell classes of samples apart: a test set, cross-validation, figures, a report", "classes"),
        ("regress", "predict a number of samples (age, dose): a test set, cross-validation, a report", "number"),
    ):
        verb = verbs.add_parser(
            name,
            help=what,
            description="Whole pipelines (impute, screen, standardise, model) are validated on samples that they have not seen: a "
            "test set, if one is asked for, and cross-validation of the others.",
        )
        cli_tables.add_data(verb, "a CSV/TSV of samples x genes with a column for the target")
        verb.add_argument("--target", required=True, help=f"column of the {goal} to predict")
        verb.add_argument(
            "--model",
            "--models",
            dest="models",
            nargs="+",
            metavar="NAME",
            help="one model or several by name, such as random_forest or mlp, or all (default: three kinds side by side)",
        )
        add_columns(verb)
        add_validation(verb)
        verb.add_argument(
            "--missing", choices=["drop", "error"], default="drop", help="samples without a target (default: drop)"
        )
        if name == "classify":
            add_classes(verb)
        add_how(verb)
        verb.add_argument("--title", help="title of the report")
        verb.add_argument("--out", type=Path, default=Path("results"), help="folder for the results (default: results)")
        verb.add_argument(
            "--save-model", type=Path, metavar="FILE", help="fit the best model on all samples and write it here"
        )
        verb.set_defaults(run=_run)


def add_columns(verb: argparse.ArgumentParser) -> None:
    """Options that name columns of the samples, and the layer."""
    for name, what in (("groups", "donors: never on both sides of a fold"), ("batch", "technical batches")):
        verb.add_argument(f"--{name}", metavar="COLUMN", help=f"column of {what}")
    verb.add_argument("--covariates", nargs="+", metavar="COLUMN", help="columns to adjust for")
    verb.add_argument(
        "--obs", nargs="+", metavar="COLUMN", help="columns of numbers in the table that are no genes (age)"
    )
    verb.add_argument("--layer", help="layer to use in place of X")


def add_validation(verb: argparse.ArgumentParser) -> None:
    """Options of what is held out."""
    verb.add_argument(
        "--test-size", type=_size, metavar="SHARE", help="samples held out as a test set: 0.2, or a number"
    )
    verb.add_argument("--test-set", metavar="COLUMN", help="column that says who is in the test set (True, 1 or test)")
    verb.add_argument("--cv", type=lambda text: text.replace("-", "_"), choices=_CV, default="kfold",
                      help="what is held out in turn: folds, batches, or groups (default: kfold)")  # fmt: skip
    verb.add_argument(
        "--allow-confounded", action="store_true", help="go on where each batch holds one class, or one value, only"
    )


def add_classes(verb: argparse.ArgumentParser) -> None:
    """Options for classes only."""
    verb.add_argument(
        "--reference",
        help="the class that comes first (default: the first category; else the one called control, healthy or "
        "alike; else the first in the alphabet)",
    )
    verb.add_argument(
        "--calibrate", choices=["sigmoid", "isotonic"], help="calibrate the probabilities inside the folds"
    )
    verb.add_argument(
        "--class-weight",
        nargs="+",
        action=_Weights,
        metavar="WEIGHT",
        help="balanced (each class counts the same), or CLASS=WEIGHT of each class",
    )


def add_how(verb: argparse.ArgumentParser) -> None:
    """Options of every verb that validates models."""
    verb.add_argument("--screen", type=_screen, default=200, help="genes kept in each fold, or all (default: 200)")
    verb.add_argument("--splits", type=int, default=5, help="folds (default: 5)")
    verb.add_argument("--repeats", type=int, default=5, help="how often the folds are drawn anew (default: 5)")
    verb.add_argument(
        "--permutations", type=int, default=20, help="permuted targets (default: 20; 100 or more for a paper)"
    )
    verb.add_argument("--no-tune", action="store_true", help="no search of hyperparameters in the training parts")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument("--jobs", type=int, help="worker processes (default: every core)")
    verb.add_argument("--device", default="cpu", help="cuda (or cuda:1): XGBoost on that GPU (default: cpu)")
    verb.add_argument("--quiet", action="store_true", help="no progress bars and no summary")


def how(asked: argparse.Namespace) -> dict[str, Any]:
    """The options of :func:`add_how` as arguments."""
    return {
        "screen": asked.screen,
        "n_splits": asked.splits,
        "n_repeats": asked.repeats,
        "n_permutations": asked.permutations,
        "tune": not asked.no_tune,
        "seed": asked.seed,
        "n_jobs": asked.jobs,
        "device": asked.device,
        "progress": not asked.quiet,
    }


def _size(text: str) -> int | float:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"a share such as 0.2, or a number of samples, is needed; got {text!r}"
        ) from None


def _screen(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a number of genes, or all, is needed; got {text!r}")
    return int(text)


class _Weights(argparse.Action):
    """``balanced``, or ``CLASS=WEIGHT`` of each class as a dict."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        out: dict[str, float] = {}
        for pair in values if values != ["balanced"] else ():
            name, equals, weight = pair.rpartition("=")
            try:
                out[name] = float(weight)
            except ValueError:
                equals = ""
            if not equals:
                raise argparse.ArgumentError(
                    self, f"balanced, or CLASS=WEIGHT of each class (such as ill=2), is needed; got {pair!r}"
                )
        vars(namespace)[self.dest] = out or "balanced"


# -- the data ----------------------------------------------------------------------------------------------------------


def read_samples(asked: argparse.Namespace) -> AnnData:
    """The expression data of a verb; columns of numbers that its options name are taken out of the genes."""
    names = [getattr(asked, name, None) for name in ("groups", "batch", "test_set")]
    wanted = [name for name in (*names, *(asked.covariates or [])) if name is not None]
    from .bridge.sample_columns import require

    adata = cli_tables.read_data(asked, target=asked.target, obs=[*wanted, *(asked.obs or [])])
    require(adata, asked.obs or [])
    return adata


# -- the verb ----------------------------------------------------------------------------------------------------------


def _run(asked: argparse.Namespace) -> int:
    from . import tl, workflow
    from .summaries import summary

    key = str(asked.verb)
    given = {name: getattr(asked, name) for name in (*WHERE, *VALIDATION, *CLASSES, "missing") if hasattr(asked, name)}
    adata = read_samples(asked)
    workflow.prepare_folder(adata, asked.out)
    if asked.save_model is not None and not asked.save_model.resolve().parent.is_dir():
        raise InputError(f"--save-model: there is no folder {asked.save_model.parent}.")
    function = tl.classify if key == "classify" else tl.regress
    try:
        result = function(adata, asked.target, models=_models(asked.models), **given, **how(asked))
    except GenemlError:
        if not any(asked.out.iterdir()):
            asked.out.rmdir()
        raise
    files = workflow.write_results(adata, asked.out, key=key, title=asked.title)
    if asked.save_model is not None:
        files.append(tl.fit(adata, result, key=key).save(asked.save_model))
    said = f"{files[0]}\n" if asked.quiet else summary(adata, key=key, files=files, command=_whole(asked)).lstrip("\n")
    sys.stdout.write(said)
    sys.stdout.flush()
    return 0


def _whole(asked: argparse.Namespace) -> str:
    """The command that does the whole job on the same samples."""
    words = ["geneml-bio", "run", str(asked.data), "--target", asked.target]
    for name in (*WHERE, "obs"):
        value = getattr(asked, name)
        words += [f"--{name}", *([value] if isinstance(value, str) else value)] if value else []
    return shlex.join(words)


def _models(names: list[str] | None) -> Any:
    if names is None:
        return "default"
    return names[0] if len(names) == 1 else names
