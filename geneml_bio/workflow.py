"""The main job in one call: DE evidence -> validated models -> out-of-fold SHAP -> biomarker table -> report."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import get, tl
from .bridge import keys
from .bridge.anndata import prepared
from .bridge.annotation import annotated
from .bridge.extract import as_names, check_writable, extract_cohort
from .bridge.formulas import calmed
from .bridge.gene_sets import read_gene_sets
from .core.audit import audit
from .core.biomarkers import Thresholds
from .core.detable import DETable
from .core.device import check_device
from .core.errors import DataWarning, InputError, RError, RNotAvailableError, StorageError, TableError
from .core.formula import quoted
from .core.models import candidates
from .core.resample import check_feasible
from .core.schema import Cohort
from .exports import export
from .summaries import summary
from .tl.gene_sets import matched_sets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from anndata import AnnData

__all__ = ["neutralised", "prepare_folder", "run", "summary", "write_results"]
MAX_DISCRETE = 10
_IN_WORKBOOK = 1000  # genes without a class, by rank: Excel is for reading
MAX_BLOCKED = 500  # samples; limma fits a mixed model a gene


def run(
    adata: AnnData,
    target: str,
    *,
    design: str | None = None,
    contrast: Any = None,
    de: DETable | str | Path | None = None,
    models: Any = "default",
    screen: Any = 200,
    groups: str | None = None,
    batch: str | None = None,
    covariates: str | Iterable[str] | None = None,
    layer: str | None = None,
    reference: str | None = None,
    task: str = "auto",
    test_size: float | int | None = None,
    test_set: str | None = None,
    cv: str = "kfold",
    n_splits: int = 5,
    n_repeats: int = 5,
    tune: bool = True,
    calibrate: str | None = None,
    class_weight: Any = None,
    n_permutations: int = 20,
    engine: str = "auto",
    alpha: float = 0.05,
    annotation: Any = None,
    allow_confounded: bool = False,
    gene_sets: Any = None,
    gene_symbols: str | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    device: str = "cpu",
    backend: Any = None,
    progress: bool = True,
    title: str | None = None,
    out: str | Path | None = None,
) -> AnnData:
    """From expression data to a biomarker table that can be defended.

    1. DE evidence: limma, or a table that you bring. 2. The audit of the study. 3. Repeated cross-validation with the
    screen refitted in each fold, and the same on permuted targets. 4. SHAP on held-out samples. 5. The biomarker table.
    6. Files and a report, if ``out`` is given.

    Parameters
    ----------
    adata
        Log expression, samples x genes. It is not changed: the results are on the copy that is returned.
    target
        ``.obs`` column: class labels, or a number.
    design, contrast
        For limma. Default: ``~ 0 + target + batch + covariates`` (``~ target + ...`` for a number) and each class against the reference
        (the slope).
    de
        A DETable, or a path to one, to use instead of running limma.
    task
        ``"classification"``, ``"regression"``, or ``"auto"``: regression for numbers that are not whole or
        have more than 10 different values.
    models, screen, groups, batch, covariates, layer, reference
        As in :func:`geneml_bio.tl.classify`.
    test_size, test_set, cv, n_splits, n_repeats, tune, calibrate, class_weight, n_permutations, allow_confounded
        As in :func:`geneml_bio.tl.classify`. A test set is held out of the models; limma sees all samples, for it chooses no gene
        for them.
    seed, n_jobs, device, backend, progress
        As in :func:`geneml_bio.tl.classify`.
    engine
        As in :func:`geneml_bio.tl.limma`. With ``groups``, and R there, limma takes the correlation of the samples of a group into
        account (``block=``; up to 500 samples); otherwise it takes all samples as independent, and the results say so.
    alpha
        Level of adj.P.Val at which a gene is DE.
    gene_sets, gene_symbols
        Gene sets to sum SHAP over (a GMT or net file, a dict, a frame), and the ``.var`` column of the names they use: as in
        :func:`geneml_bio.tl.gene_sets`.
    annotation
        Symbols and names of genes for the table: a frame, or ``"org.Hs.eg.db"``; as in :func:`geneml_bio.tl.biomarkers`.
    title
        Title of the report.
    out
        Folder for ``results.h5ad``, the tables (``biomarkers.csv``, ``biomarkers.xlsx``, ``metrics.csv``, ``predictions.csv``,
        ...), ``figures/`` and ``report.html``; None writes no files.

    Returns
    -------
    A copy of ``adata`` with everything under ``limma``, ``classify`` (or ``regress``), ``biomarkers``.
    """
    # 1. the study, on a copy: samples with a target, classes in order; what cannot work is refused before any work
    if getattr(adata, "is_view", False):
        adata = adata.copy()
    check_writable(adata)
    check_device(device)
    chosen = _task(adata, target, task)
    covariates = as_names(covariates)
    where = {"layer": layer, "groups": groups, "batch": batch, "covariates": covariates}
    cohort = extract_cohort(adata, target, task=chosen, reference=reference, **where)  # type: ignore[arg-type]
    if cv == "kfold":
        check_feasible(cohort.target, cohort.classes, cohort.groups, n_splits)
    audit(cohort, allow_confounded=allow_confounded)
    candidates(models, chosen)
    if gene_sets is not None:
        gene_sets = read_gene_sets(gene_sets)
        matched_sets(adata, gene_sets, gene_symbols=gene_symbols)
    Thresholds(alpha=alpha)  # refused before hours of work, as are symbols that are not there
    annotated(adata.var_names.astype(str), adata.var, gene_symbols, annotation)
    adata = prepared(adata, cohort, target, [batch, groups])
    if chosen == "regression" and (calibrate or class_weight):
        raise InputError("calibrate= and class_weight= are for classes; the target is a number.")
    if out is not None:
        out = prepare_folder(adata, Path(out))
    key = "classify" if chosen == "classification" else "regress"

    # 2. DE evidence
    if de is not None:
        tl.add_de(adata, de if isinstance(de, DETable) else _read(de))
    else:
        terms = [target, *([batch] if batch and _adjustable(cohort) else []), *covariates]
        formula = design or ("~ 0 + " if cohort.classes else "~ ") + " + ".join(map(quoted, terms))
        contrast = contrast or _contrast(target, cohort.classes)
        _limma(adata, formula, contrast, layer=layer, engine=engine, block=_block(cohort, groups, engine))

    # 3. models, 4. explanations, 5. the table
    how: dict[str, Any] = {"n_splits": n_splits, "n_repeats": n_repeats, "tune": tune, "n_permutations": n_permutations}
    how |= {"seed": seed, "n_jobs": n_jobs, "progress": progress, "models": models, "screen": screen}
    how |= {"test_size": test_size, "test_set": test_set, "cv": cv, "device": device, "backend": backend}
    how["allow_confounded"] = allow_confounded
    if chosen == "classification":
        how |= {"calibrate": calibrate, "class_weight": class_weight}
        result = tl.classify(adata, target, **where, **how)  # type: ignore[arg-type]
    else:
        result = tl.regress(adata, target, **where, **how)  # type: ignore[arg-type]
    tl.explain(adata, result, key=key, progress=progress)
    tl.gene_groups(adata, key=key)
    if gene_sets is not None:
        tl.gene_sets(adata, gene_sets, key=key, gene_symbols=gene_symbols)
    tl.biomarkers(adata, model=key, alpha=alpha, gene_symbols=gene_symbols, annotation=annotation)

    # 6. files
    files = [] if out is None else write_results(adata, Path(out), key=key, title=title)
    if progress:
        sys.stdout.write(summary(adata, key=key, files=files, next_steps=False))
    return adata


def _task(adata: AnnData, target: str, task: str) -> str:
    if task in ("classification", "regression"):
        return task
    if task != "auto":
        raise InputError(f"task must be 'auto', 'classification' or 'regression', got {task!r}.")
    if target not in adata.obs:
        return "classification"  # the error about the missing column is raised where it is read
    values = adata.obs[target]
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return "classification"
    seen = values.dropna().to_numpy(float)
    whole = bool(np.all(seen == np.rint(seen)))
    return "classification" if whole and len(set(seen)) <= MAX_DISCRETE else "regression"


def _adjustable(cohort: Cohort) -> bool:
    """Whether limma can adjust for the batch: there are several, and they are not the classes themselves."""
    batch = np.asarray(cohort.batch).astype(str)
    if len(set(batch)) < 2:
        return False
    if not cohort.classes:
        return True
    return bool((pd.crosstab(cohort.target, batch) > 0).sum(axis=0).max() > 1)


def _block(cohort: Cohort, groups: str | None, engine: str) -> str | None:
    """The groups as limma's blocks, where some give several samples and R can estimate their correlation in minutes."""
    if groups is None or engine == "native" or len(cohort.samples) > MAX_BLOCKED:
        return None
    if not 1 < len(set(cohort.groups)) < len(cohort.samples):  # type: ignore[arg-type]
        return None
    from .bridge.r import require

    try:
        require("limma", "statmod")
    except RNotAvailableError:
        return None
    return groups


def _limma(adata: AnnData, design: str, contrast: Any, *, block: str | None, **how: Any) -> DETable:
    """Limma with the correlation within blocks, or without where that cannot be estimated."""
    if block is None:
        return tl.limma(adata, design, contrast=contrast, **how)
    try:
        return tl.limma(adata, design, contrast=contrast, block=block, **how)
    except RError as error:
        warnings.warn(f"limma goes on without the correlation within {block!r}. {error}", DataWarning, stacklevel=3)
        return tl.limma(adata, design, contrast=contrast, **how)


def _contrast(target: str, classes: tuple[str, ...]) -> Any:
    if not classes:
        return {quoted(target): 1.0}
    pairs = [(target, name, classes[0]) for name in classes[1:]]
    return pairs[0] if len(pairs) == 1 else pairs


def _read(source: str | Path) -> DETable:
    from .read import toptable

    return toptable(source)


# -- files -------------------------------------------------------------------------------------------------------------


def neutralised(table: pd.DataFrame) -> pd.DataFrame:
    """A copy for spreadsheets: text that a spreadsheet would run as a formula gets a leading apostrophe."""
    out = table.copy()
    for name in out.columns:
        if not pd.api.types.is_numeric_dtype(out[name]):
            out[name] = out[name].astype(object).map(calmed)
    out.index = pd.Index([calmed(name) for name in out.index], name=out.index.name)
    return out.rename(columns=calmed)


def prepare_folder(adata: AnnData, out: Path) -> Path:
    """Make the folder, and see that the object can be written, before hours of work depend on it."""
    from anndata import AnnData

    trial = out / "results.trial.h5ad"  # not results.h5ad: what an earlier run left stays until there is better
    for slot, frame in (("obs", adata.obs), ("var", adata.var)):
        times = [str(name) for name in frame.columns if getattr(frame[name].dtype, "kind", "") in "mMc"]
        if times:
            raise StorageError(
                f".{slot}[{times[0]!r}] is {frame[times[0]].dtype}, which h5ad cannot hold; turn it into text or numbers."
            )
    try:
        out.mkdir(parents=True, exist_ok=True)
        AnnData(obs=adata.obs.copy(), var=adata.var.copy(), uns=dict(adata.uns)).write_h5ad(trial)
        trial.unlink()
    except OSError as error:
        raise InputError(f"Nothing can be written to {out}: {error}.") from error
    except (TypeError, ValueError, KeyError, AttributeError, NotImplementedError) as error:
        trial.unlink(missing_ok=True)
        raise StorageError(
            f"anndata cannot write .obs, .var or .uns of this object to a file: {error} Mend or drop that column or entry first."
        ) from error
    return out


def write_results(adata: AnnData, out: Path, *, key: str = "classify", title: str | None = None) -> list[Path]:
    """Write the h5ad, the tables, the figures and the report; returns their paths, the report's first."""
    from .pl import save_figures
    from .report import report

    out.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(out / "results.h5ad")
    written = []
    if "biomarkers" in adata.varm:
        table = get.biomarkers(adata)
        called = table.loc[table["class"] != "", "rank"]
        top = int(max(_IN_WORKBOOK, called.max())) if len(called) else _IN_WORKBOOK
        written += [out / "biomarkers.csv", out / "biomarkers.xlsx"]
        export(table, written[-2], force=True)
        try:
            export(table, written[-1], top=top, force=True)
        except TableError as error:  # a name that Excel cannot hold; the csv holds it
            warnings.warn(f"{written.pop().name} was not written. {error}", DataWarning, stacklevel=2)
    for name, table in _tables(adata, key).items():
        written.append(out / f"{name}.csv")
        neutralised(table).to_csv(written[-1], index=False)
    figures = save_figures(adata, out / "figures", key=key)
    page = report(adata, out / "report.html", key=key, title=title)
    return [page, *written, out / "results.h5ad", figures]


def _tables(adata: AnnData, key: str) -> dict[str, pd.DataFrame]:
    """What there is of a validation, by the name of its file."""
    stored = adata.uns[key]
    tested = "test_predictions" in stored
    made = get.predictions(adata, key).assign(set="cv")
    if tested:
        made = pd.concat([made, get.predictions(adata, key, test=True).assign(set="test")], ignore_index=True)
    out = {"metrics": get.metrics(adata, key), "predictions": made}
    if tested:
        out["test_metrics"] = get.metrics(adata, key, test=True)
    if "per_class" in stored:
        out["classification_report"] = get.per_class(adata, key)
        out["confusion"] = _confusions(adata, key, made)
    for name, take in (("comparisons", get.comparisons), ("history", get.history)):
        if name in stored and len(stored[name]):
            out[name] = take(adata, key)
    several = (
        ("groups", "gene_groups"),
        ("groups", "replacements"),
        ("sets", "gene_sets"),
        ("learning_curve", "learning_curve"),
    )
    for slot, name in several:
        if getattr(keys, slot)(key) in adata.uns:
            out[name] = getattr(get, name)(adata, key)
    return out


def _confusions(adata: AnnData, key: str, made: pd.DataFrame) -> pd.DataFrame:
    """The confusion matrices of every model, below each other: ``model set observed`` and a column for each class."""
    parts = []
    for model, where in made[["model", "set"]].astype(str).drop_duplicates().itertuples(index=False):
        counts = get.confusion(adata, key, model=model, test=where == "test")
        part = pd.DataFrame(counts.to_numpy(), columns=[f"predicted {name}" for name in counts.columns])
        part.insert(0, "observed", counts.index.to_numpy())
        parts.append(part.assign(model=model, set=where))
    whole = pd.concat(parts, ignore_index=True)
    return whole[["model", "set", *[name for name in whole.columns if name not in ("model", "set")]]]
