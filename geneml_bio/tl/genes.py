"""Differential expression as regression: genes as rows, a column of the DE table as the target."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import read
from ..bridge import keys
from ..bridge.anndata import attach, check_free, gene_level_writes
from ..bridge.extract import as_names, check_writable
from ..bridge.gene_sets import read_gene_sets
from ..core.detable import DETable
from ..core.errors import AuditWarning, ColumnNotFoundError, DataWarning, InputError, near
from ..core.gene_blocks import SHARED, Sources
from ..core.gene_columns import as_text, symbols_of
from ..core.gene_level import GeneLevel
from ..core.gene_level import regress_genes as run

if TYPE_CHECKING:
    from anndata import AnnData

_DATA = ("target", "join", "gene sets")  # checks whose warnings are about values left out, not about the study


def regress_genes(
    table: DETable | pd.DataFrame | AnnData | str | os.PathLike[str],
    target: str = "logFC",
    *,
    models: Any = "all",
    features: pd.DataFrame | str | os.PathLike[str] | None = None,
    gene_sets: Any = None,
    contrasts: Mapping[str, Any] | None = None,
    shared_samples: Any = None,
    groups: Any = None,
    exclude: str | Iterable[str] = (),
    test_size: float | int | None = 0.2,
    n_splits: int = 5,
    n_repeats: int = 1,
    tune: bool = True,
    n_permutations: int = 0,
    explain: bool = True,
    min_size: int = 5,
    max_size: int | None = 500,
    max_sets: int = 100,
    max_levels: int = 20,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
    key: str | None = None,
    key_added: str = "regress_genes",
) -> GeneLevel:
    """What predicts the fold change (or B) of a gene it has not seen?

    Models are compared in blocks of predictors, on the same genes and folds. *Independent*: AveExpr, annotation columns of the table,
    features, gene sets, contrasts of other samples. *Algebraic*: the statistics of the same test, which are tied to the
    target by formula, and whatever else in the table is found to say the target again (calls made from it, ranks, the means of the
    groups compared): a high R2 there is arithmetic, and the formula's own score stands beside it. *Other contrasts*: those that
    share samples with the table, or may, with the independent predictors.

    Parameters
    ----------
    table
        A DETable; a file or DataFrame of any program (:func:`geneml_bio.read.toptable`); or an AnnData with DE results.
    target
        Its column: ``logFC``, ``B`` or any other of numbers.
    models
        ``"all"`` (linear, ridge, lasso, elastic_net, decision_tree, random_forest, gradient_boosting, svm, knn, xgboost, mlp),
        ``"default"`` (ridge, random_forest, xgboost), names, a scikit-learn estimator, or a dict of name -> either.
    features
        Predictors by gene: a DataFrame (:func:`geneml_bio.pp.gene_features`), or a CSV/TSV with the genes first.
    gene_sets
        A GMT or net file, ``{set: genes}``, or decoupler's frame ``source target weight``: one predictor a set.
    contrasts
        Other DE tables, by name: their logFC and t are predictors.
    shared_samples
        Whether those share samples with the table: True, False, ``"reference"`` (the same controls), or a dict by name. None: not
        said, which is warned of and treated as True.
    groups
        Rows of one gene (probes, transcripts), kept on one side of every split: a column of the table (or of ``.var``), or a mapping
        from id to gene. None: by the column of symbols, if there is one; False: each row by itself.
    exclude
        Columns that are not to predict.
    test_size
        Share (or number) of the genes held out of everything and predicted once; None: none.
    n_splits, n_repeats, tune, n_permutations
        Folds, how often they are drawn anew, whether hyperparameters are searched inside the training part, and how many targets,
        permuted over genes (groups whole), go through everything too.
    explain
        Explain the best model of the independent block by SHAP, on held-out genes.
    min_size, max_size, max_sets
        Of gene sets: genes they must have in the table; how many to take (the largest).
    max_levels
        Text with more levels is no predictor.
    seed, n_jobs, progress
        Seed of all randomness; worker processes (None: every core); progress bars.
    key, key_added
        Of an AnnData: which DE results; name of the new ones.

    Returns
    -------
    GeneLevel
        ``.table`` has the scores, ``print(result)`` says them in words; ``.predictions()``, ``.explanation``, ``.predictors``
        (also what was set aside, and why), ``.fit().predict(other)``. In an AnnData: ``.var["{key_added}_prediction"]`` and
        ``_set`` (the best independent model; ``train``: by cross-validation), ``.uns[key_added]`` = params, gene_table, predictors,
        report, shap, best, block, formula, ceiling, versions.

    Warns
    -----
    AuditWarning
        Columns that are tied to the target; contrasts of which it is not said whether they share samples; no independent predictor.
    DataWarning
        Genes without a target; sources that miss many genes.

    Raises
    ------
    TableError, ColumnNotFoundError, TargetError, InputError
        Each says what was got, what was expected and what to do.
    """
    adata = table if type(table).__name__ == "AnnData" else None
    if adata is not None:
        check_writable(adata)
        check_free(adata, keys.check_key(key_added), "gene-level regression")
    de = _table(table, key)
    frame = _with_symbols(de.frame, adata)
    notes: list[tuple[str, str, str]] = []
    labels = _groups(groups, frame, adata, notes)
    tables = {str(name): _table(other, None) for name, other in (contrasts or {}).items()}
    sources = Sources(
        frame,
        kind=de.kind,
        features=None if features is None else read_features(features),
        net=None if gene_sets is None else read_gene_sets(gene_sets),
        contrasts=tables,
        sizes={"min_size": min_size, "max_size": max_size, "max_sets": max_sets},
    )
    if isinstance(features, pd.DataFrame) and "reference" in features.attrs:
        notes.append(("features", "note", f"Gene features are of {features.attrs['reference']}."))
    how: dict[str, Any] = {
        "test_size": test_size,
        "n_splits": n_splits,
        "n_repeats": n_repeats,
        "tune": tune,
        "seed": seed,
        "n_jobs": n_jobs,
    }
    how |= {"n_permutations": n_permutations, "explain": explain, "max_levels": max_levels, "progress": progress}
    shared = _shared(shared_samples, tables)
    left = as_names(exclude, "exclude")
    check = de.check()
    for finding in check.findings[
        check.findings["check"].isin(("truncated", "filtered")) & (check.findings["level"] == "warning")
    ].itertuples():
        said = (
            f"{finding.message} Such genes were mostly chosen by what they are to predict; scores hold for them only."
        )
        notes.append(("table", "warning", said))
    result = run(
        sources, target, models, groups=labels, shared=shared, facts=check.facts, contrast=de.contrast, exclude=left,
        notes=notes, label=key_added, **how,
    )  # fmt: skip
    told = result.report[
        (result.report["level"] == "warning") & (result.report["check"] != "table")
    ]  # the reader told that
    for row in told.itertuples():
        warnings.warn(str(row.message), DataWarning if row.check in _DATA else AuditWarning, stacklevel=2)
    if adata is not None:
        attach(adata, gene_level_writes(adata, result, key_added))
    return result


def _table(table: Any, key: str | None) -> DETable:
    if isinstance(table, DETable):
        return table
    if key is not None and type(table).__name__ != "AnnData":
        raise InputError("key= names DE results of an AnnData; this table is none.")
    found = read.toptable(table, sheet=key) if key is not None else read.toptable(table)
    return found


def _with_symbols(frame: pd.DataFrame, adata: AnnData | None) -> pd.DataFrame:
    """The table, with the column of symbols that an AnnData keeps beside it."""
    if adata is None or symbols_of(frame) is not None:
        return frame
    symbols = symbols_of(adata.var)
    if symbols is None or str(symbols.name) in frame.columns:
        return frame
    by_gene = symbols.set_axis(adata.var_names.astype(str), axis=0)
    return frame.assign(**{str(symbols.name): by_gene.reindex(frame.index)})


def read_features(features: Any) -> pd.DataFrame:
    """Features as a frame by gene; of a file everything as text, which is sorted out later."""
    if isinstance(features, str | os.PathLike):
        path = Path(features)
        if not path.is_file():
            raise InputError(f"features: there is no file {path}.")
        plain = path.name.lower().removesuffix(".gz")
        try:
            cells = pd.read_csv(
                path,
                sep="," if plain.endswith(".csv") else "\t",
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
            )
        except (ValueError, OSError, UnicodeDecodeError) as error:
            raise InputError(f"features: {path.name} cannot be read as a CSV or TSV: {error}") from error
        if cells.shape[1] < 2:
            raise InputError(
                f"features: {path.name} has {cells.shape[1]} columns; genes and at least one predictor are expected."
            )
        return cells.set_index(cells.columns[0])
    if not isinstance(features, pd.DataFrame):
        raise InputError(f"features must be a DataFrame by gene, or a file; got {type(features).__name__}.")
    if isinstance(features.index, pd.RangeIndex):
        raise InputError(
            "features: the rows are only numbered; set the genes as its index: features.set_index('gene')."
        )
    return features


def _shared(said: Any, tables: Mapping[str, DETable]) -> dict[str, Any]:
    if said is not None and not tables:
        raise InputError("shared_samples= is about contrasts=, and there are none.")
    by_name = dict(said) if isinstance(said, Mapping) else dict.fromkeys(tables, said)
    if unknown := [name for name in by_name if name not in tables]:
        raise InputError(f"shared_samples: there is no contrast {unknown[0]!r}.{near(unknown[0], tables)}")
    for name, value in by_name.items():
        if value is not None and not any(
            value is option or (value == option and isinstance(value, str)) for option in SHARED
        ):
            raise InputError(f"shared_samples of {name!r} must be True, False, 'reference' or None; got {value!r}.")
    return {name: by_name.get(name) for name in tables}


def _groups(groups: Any, frame: pd.DataFrame, adata: AnnData | None, notes: list[tuple[str, str, str]]) -> np.ndarray:
    """One label a row: the gene that it measures."""
    ids = frame.index.astype(str)
    own = np.array([f"\x1f{name}" for name in ids], dtype=object)
    if groups is False:
        return own
    if groups is None:
        symbols = symbols_of(frame)
        if symbols is None:
            return own
        notes.append(("groups", "note", f"Rows of one gene are told by the column {symbols.name!r} (groups=)."))
        known = symbols
    elif isinstance(groups, str):
        beside = None if adata is None or groups not in adata.var.columns else adata.var[groups]
        if groups not in frame.columns and beside is None:
            raise ColumnNotFoundError(f"groups: there is no column {groups!r}.{near(groups, frame.columns)}")
        known = frame[groups] if groups in frame.columns else beside.set_axis(adata.var_names.astype(str)).reindex(ids)  # type: ignore[union-attr]
    elif isinstance(groups, Mapping | pd.Series):
        known = pd.Series([groups.get(name) for name in ids], index=frame.index, dtype=object)
        lost = int(known.isna().sum())
        if lost == len(known):
            raise InputError("groups: none of the genes of the table is in the mapping; are they in the same id space?")
        if lost:
            notes.append(
                (
                    "groups",
                    "note",
                    f"groups= has no gene for {lost:,} of {len(known):,} rows, which count by themselves.",
                )
            )
    else:
        raise InputError(
            f"groups must be a column, a mapping from id to gene, None or False; got {type(groups).__name__}."
        )
    text = as_text(known)
    return np.array([one if value is None else value for one, value in zip(own, text, strict=True)], dtype=object)
