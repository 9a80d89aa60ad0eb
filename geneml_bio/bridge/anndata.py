"""Results into AnnData: the only module that writes to an AnnData object.

Writes are staged, checked and then applied together; if one fails, all are undone.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy import sparse

from ..core.detable import DETable
from ..core.errors import StaleResultError, StorageError
from ..core.gene_level import GeneLevel
from ..core.schema import Attribution, Cohort, Validation, prob_column
from . import keys
from .extract import check_writable

Slot = Literal["obs", "var", "obsm", "varm", "layers", "uns"]
Write = tuple[Slot, str, Any]
GONE = object()  # in place of a value: the slot belongs to an earlier result and is removed


def storable(value: Any, where: str) -> Any:
    """A value in the form in which every supported store gives it back equal, or a StorageError.

    Missing entries of a mapping are left out; lists become arrays; repeated strings in frames become categories.
    """
    if isinstance(value, Mapping):
        kept = {name: item for name, item in value.items() if item is not None}
        bad = [name for name in kept if not isinstance(name, str) or "/" in name]
        if bad:
            raise StorageError(f"{where}: {bad[0]!r} cannot be the name of an entry; use a string without '/'.")
        return {name: storable(item, f"{where}[{name!r}]") for name, item in kept.items()}
    if isinstance(value, pd.DataFrame):
        return storable_frame(value, where)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | pd.Index | pd.Series):
        value = np.asarray(value, dtype=object if any(isinstance(v, str) for v in value) else None)
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O" and not all(isinstance(v, str) for v in value.ravel()):
            raise StorageError(f"{where}: a list must hold only strings or only numbers.")
        return value
    if sparse.issparse(value):
        return sparse.csr_matrix(value)
    raise StorageError(f"{where}: a {type(value).__name__} cannot be stored; use numbers, strings, arrays or frames.")


def storable_frame(frame: pd.DataFrame, where: str, *, index: pd.Index | None = None) -> pd.DataFrame:
    """A frame with text as categories, str column names without '/', and a text index."""
    out: dict[str, Any] = {}
    for name in frame.columns:
        if not isinstance(name, str) or "/" in name:
            raise StorageError(f"{where}: {name!r} cannot be the name of a column; use a string without '/'.")
        out[name] = _storable_column(frame[name])
    return pd.DataFrame(out, index=pd.Index([str(i) for i in range(len(frame))]) if index is None else index)


def _storable_column(values: pd.Series) -> Any:
    if isinstance(values.dtype, pd.CategoricalDtype):
        order = [str(v) for v in values.cat.categories]
        return pd.Categorical.from_codes(values.cat.codes, categories=pd.Index(order))
    if pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
        return values.to_numpy()
    text = [None if pd.isna(v) else str(v) for v in values]
    return pd.Categorical(text, categories=pd.Index(sorted({v for v in text if v is not None})))


def attach(adata: AnnData, writes: list[Write]) -> None:
    """Apply all writes, or none.

    Raises
    ------
    ViewError
        For a view or a backed object.
    StorageError
        If AnnData refuses a value; the object is as it was.
    """
    check_writable(adata)
    done: list[tuple[Slot, str, bool, Any]] = []
    try:
        for slot, name, value in writes:
            place = getattr(adata, slot)
            there = name in place
            done.append((slot, name, there, place[name] if there else None))
            if value is not GONE:
                place[name] = value
            elif there:
                del place[name]
    except (ValueError, TypeError, KeyError) as error:
        for slot, name, there, old in reversed(done):
            place = getattr(adata, slot)
            if there:
                place[name] = old
            elif name in place:
                del place[name]
        raise StorageError(f"AnnData refused {slot}[{name!r}]: {error}. The object is unchanged.") from error


def check_free(adata: AnnData, key: str, tool: str, used: Iterable[str | None] = ()) -> None:
    """Refuse a key whose results belong to another tool, or whose ``.obs`` column is one that the call reads."""
    stored = adata.uns.get(key)
    marks = {
        "validation": "predictions",
        "DE": "n_features",
        "biomarkers": "n_used",
        "gene-level regression": "gene_table",
    }
    for other, mark in marks.items():
        if other != tool and isinstance(stored, dict) and mark in stored:
            raise StorageError(
                f"adata.uns[{key!r}] holds {other} results, which {tool} results would destroy; use another key_added."
            )
    if stored is not None and not (isinstance(stored, Mapping) and set(stored) & set(marks.values())):
        raise StorageError(
            f"adata.uns[{key!r}] holds something that geneml_bio has not made, which {tool} results would destroy; use another key_added."
        )
    for name in (keys.pred(key), keys.side(key)):
        if name in set(used) or (tool == "validation" and stored is None and name in adata.obs):
            raise StorageError(
                f"The results would overwrite the column {name!r} of adata.obs, which is not theirs; use another key_added."
            )


def _explanation(adata: AnnData, key: str) -> list[Write]:
    """Removal of the explanation stored under a key, which belongs to an earlier validation."""
    name = keys.shap(key)
    about = adata.uns.get(name)
    outputs = [str(out) for out in about.get("outputs", [])] if isinstance(about, dict) else []
    if not outputs:
        return []
    gone: list[tuple[Slot, str]] = [("layers", keys.shap_layer(key, out, len(outputs))) for out in outputs]
    gone += [("var", name), ("var", f"{name}_rank"), ("var", f"{name}_direction"), ("obsm", f"{name}_base")]
    gone += [("obsm", f"{name}_margin"), ("varm", f"{name}_summary"), ("varm", name), ("uns", name)]
    gone += [("uns", keys.sets(key)), ("uns", keys.groups(key)), ("var", keys.group(key))]
    gone += [("var", keys.stands_behind(key)), ("var", f"{keys.stands_behind(key)}_r")]
    return [(slot, of, GONE) for slot, of in gone]


def _spread(adata: AnnData, samples: pd.Index, values: np.ndarray) -> np.ndarray:
    """Rows of the study's samples at their place among all samples of ``adata``; NaN for those dropped."""
    out = np.full((adata.n_obs, *values.shape[1:]), np.nan)
    out[adata.obs_names.astype(str).get_indexer(samples)] = values
    return out


def versions() -> dict[str, str]:
    """Versions of what made a result."""
    import xgboost  # the CPU build has another name in the metadata

    from .. import __version__

    names = ("anndata", "numpy", "pandas", "scipy", "scikit-learn", "shap")
    own = {"geneml-bio": __version__, "python": platform.python_version(), "xgboost": xgboost.__version__}
    return own | {name: version(name) for name in names}


def de_writes(adata: AnnData, de: DETable, key: str, rows: np.ndarray | None = None) -> list[Write]:
    """DE statistics into ``.var`` (genes without a row get NaN) and provenance into ``.uns``.

    ``rows``: the row of the table for each gene, -1 for none; by name where it is not given. A ranking in scanpy's form that
    was made of earlier results under this key goes with them.
    """
    there = [name for name in keys.DE_COLUMNS if name in de.frame.columns]
    if rows is None:
        rows = de.frame.index.get_indexer(adata.var_names.astype(str))
    old: list[Write] = [("var", keys.de_column(key, name), GONE) for name in keys.DE_COLUMNS if name not in there]
    old += [("uns", name, GONE) for name, value in adata.uns.items() if key in _ranked_from(value)]
    writes: list[Write] = [
        ("var", keys.de_column(key, name), taken(de.frame[name].to_numpy(float), rows)) for name in there
    ]
    source = _noted({("columns_read" if name == "columns" else name): value for name, value in de.source.items()})
    about = {**source, "kind": de.kind, "contrast": de.contrast, "columns": there, "n_features": len(de)}
    return [*old, *writes, ("uns", key, storable(about, f"uns[{key!r}]"))]


def _noted(value: Any) -> Any:
    """What a reader noted of its source, in a form that can be stored: names escaped, and text where nothing else does."""
    if isinstance(value, Mapping):
        return {keys.escape(str(name)): _noted(item) for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple | set) and not all(isinstance(item, int | float) for item in value):
        return [str(item) for item in value]
    kept = isinstance(
        value, str | bool | int | float | np.generic | np.ndarray | pd.DataFrame | list | tuple | pd.Index
    )
    return value if kept else str(value)


def taken(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Values at rows; NaN for row -1."""
    return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan) if len(values) else np.full(len(rows), np.nan)


def _ranked_from(value: object) -> list[str]:
    """Keys of the DE results that a ranking in scanpy's form was made of (bridge/ranked.py)."""
    params = value.get("params") if isinstance(value, Mapping) else None
    ours = isinstance(params, Mapping) and params.get("made_by") == keys.MADE_BY
    return list(map(str, params["keys"])) if ours else []  # type: ignore[index]


def validation_writes(adata: AnnData, result: Validation, extra: Mapping[str, Any], key: str) -> list[Write]:
    """Everything of a validation that is kept: see docs/keys.md."""
    chosen = extra.get("best", result.models[0])
    spread = _spread(adata, *_held_out(result, chosen))
    if result.classes:
        code = np.where(np.isnan(spread[:, 0]), -1, np.nan_to_num(spread).argmax(axis=1))
        label: Any = pd.Categorical.from_codes(code, categories=pd.Index(result.classes))
        names = [keys.escape(c) for c in result.classes]
    else:
        label, names = spread[:, 0], ["prediction"]
    params = dict(result.spec)
    if isinstance(params.get("class_weight"), Mapping):
        params["class_weight"] = {keys.escape(name): float(w) for name, w in params["class_weight"].items()}
    stored = {
        "kind": result.task,
        "params": params,
        "classes": list(result.classes) if result.classes else None,
        "predictions": _escaped(result.predictions, result.classes),
        "test_predictions": None if result.test is None else _escaped(result.test, result.classes),
        "folds": result.folds,
        "screens": result.screens,
        "tuned": result.tuned if result.tuned is not None and len(result.tuned) else None,
        "history": result.history,
        "baselines": list(result.baselines) or None,
        "audit": result.audit,
        "null": result.null,
        "discoveries": None if result.discoveries is None else result.discoveries.about(),
        "versions": versions(),
        **{name: value for name, value in extra.items() if name != "selected"},
    }
    curve: list[Write] = [("uns", keys.learning_curve(key), GONE)] if key in adata.uns else []
    return [
        *_explanation(adata, key),
        *curve,
        ("obs", keys.pred(key), label),
        *_side_writes(adata, result, key),
        *_discovery_writes(adata, result, key),
        ("obsm", keys.oof(key), pd.DataFrame(spread, index=adata.obs_names, columns=names)),
        ("var", keys.selected(key), extra["selected"].reindex(adata.var_names.astype(str)).to_numpy(float)),
        ("uns", key, storable(stored, f"uns[{key!r}]")),
    ]


def _side_writes(adata: AnnData, result: Validation, key: str) -> list[Write]:
    """Who is in the test set; without one, the column that an earlier result made goes."""
    if result.test is not None:
        return [("obs", keys.side(key), _sides(adata, result))]
    earlier = adata.uns.get(key)
    return [("obs", keys.side(key), GONE)] if isinstance(earlier, Mapping) and "test_predictions" in earlier else []


def _discovery_writes(adata: AnnData, result: Validation, key: str) -> list[Write]:
    """P and q of each gene against permuted targets; without those, what an earlier result wrote goes."""
    found, earlier = result.discoveries, adata.uns.get(key)
    if found is not None:
        return [("var", keys.empirical(key, name), getattr(found, name)) for name in ("p", "q")]
    there = isinstance(earlier, Mapping) and "discoveries" in earlier
    return [("var", keys.empirical(key, name), GONE) for name in ("p", "q") if there]


def _held_out(result: Validation, model: str) -> tuple[pd.Index, np.ndarray]:
    """Samples, and what a model predicted for them without having seen them (mean over repeats)."""
    columns = [prob_column(c) for c in result.classes] or ["predicted"]
    parts = [result.predictions] if result.test is None else [result.predictions, result.test]
    whole = pd.concat([part.loc[part["model"] == model, ["sample", *columns]] for part in parts])
    mean = whole.groupby("sample", observed=True, sort=False)[columns].mean()
    return pd.Index(mean.index.astype(str)), mean.to_numpy(float)


def _escaped(frame: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    return frame.rename(columns={prob_column(c): prob_column(keys.escape(c)) for c in classes})


def _sides(adata: AnnData, result: Validation) -> pd.Categorical:
    names = adata.obs_names.astype(str)
    test = names.isin(result.test["sample"].astype(str))  # type: ignore[index]
    train = names.isin(result.folds["sample"].astype(str))
    code = np.where(test, 1, np.where(train, 0, -1))
    return pd.Categorical.from_codes(code, categories=pd.Index(["train", "test"]))


def attribution_writes(adata: AnnData, result: Attribution, samples: pd.Index, key: str) -> list[Write]:
    """SHAP values and their summaries: see docs/keys.md."""
    genes = adata.var_names.astype(str)
    if not genes.equals(result.per_gene.index):
        raise StaleResultError("The genes of this AnnData are not those that were explained.")
    rows = adata.obs_names.astype(str).get_indexer(samples)
    place = sparse.csr_matrix((np.ones(len(rows)), (rows, np.arange(len(rows)))), shape=(adata.n_obs, len(rows)))
    n_out, name = len(result.outputs), keys.shap(key)
    columns = [keys.escape(out) for out in result.outputs]
    frame = result.per_gene
    writes: list[Write] = _explanation(adata, key)
    writes += [
        ("layers", keys.shap_layer(key, out, n_out), sparse.csr_matrix(place @ result.values[out]))
        for out in result.outputs
    ]
    writes += [
        ("var", name, frame["shap"].to_numpy(float)),
        ("var", f"{name}_rank", frame["shap_rank"].to_numpy(float)),
        ("var", f"{name}_direction", frame["direction"].to_numpy(int)),
        (
            "obsm",
            f"{name}_base",
            pd.DataFrame(_spread(adata, samples, result.base), index=adata.obs_names, columns=columns),
        ),
        (
            "obsm",
            f"{name}_margin",
            pd.DataFrame(_spread(adata, samples, result.margin), index=adata.obs_names, columns=columns),
        ),
    ]
    rest = frame.drop(columns=["shap", "shap_rank", "direction"]).rename(columns=keys.escape)
    writes.append(("varm", f"{name}_summary", storable_frame(rest, name, index=adata.var_names)))
    if n_out > 1:
        per_class = {
            keys.escape(out): np.asarray(abs(result.values[out]).mean(axis=0)).ravel() for out in result.outputs
        }
        writes.append(("varm", name, pd.DataFrame(per_class, index=adata.var_names)))
    about = {
        "model": result.model,
        "unit": result.unit,
        "outputs": list(result.outputs),
        "per_model": result.per_model,
        "n_repeats": result.n_repeats,
        "max_error": result.max_error,
        "versions": versions(),
    }
    return [*writes, ("uns", name, storable(about, f"uns[{name!r}]"))]


def biomarker_writes(adata: AnnData, table: pd.DataFrame, settings: Mapping[str, Any], key: str) -> list[Write]:
    """The biomarker table, sliced with the genes, and its settings."""
    aligned = table.reindex(adata.var_names.astype(str))
    genes = adata.var_names.rename(None)  # a file cannot hold an index that is called like a column ("symbol", "name")
    return [
        ("varm", key, storable_frame(aligned, f"varm[{key!r}]", index=genes)),
        ("uns", key, storable(dict(settings), f"uns[{key!r}]")),
    ]


def prepared(adata: AnnData, cohort: Cohort, target: str, factors: Iterable[str | None] = ()) -> AnnData:
    """A copy with the samples of the study only; the target a category in the order of its classes, factors categories."""
    out = adata[adata.obs_names.astype(str).isin(cohort.samples)].copy()
    if cohort.classes:
        out.obs[target] = pd.Categorical(cohort.target, categories=pd.Index(cohort.classes))
    for name in factors:
        if name is not None and not isinstance(out.obs[name].dtype, pd.CategoricalDtype):
            out.obs[name] = pd.Categorical(out.obs[name])
    return out


def gene_level_writes(adata: AnnData, result: GeneLevel, key: str) -> list[Write]:
    """What the best model of a gene-level regression predicts for each gene, and everything about it: see docs/keys.md."""
    made = result.predictions().reindex(adata.var_names.astype(str))
    sides = made["set"].map({"cv": "train", "test": "test"})
    shap = result.explanation
    stored = {
        "kind": "gene-level regression",
        "params": dict(result.spec),
        "contrast": result.contrast,
        "gene_table": result.table,
        "predictors": result.predictors,
        "report": result.report,
        "shap": None if shap is None else shap.per_predictor,
        "best": result.best(),
        "block": result.main_block,
        "formula": result.formula,
        "ceiling": result.ceiling_words,
        "versions": versions(),
    }
    return [
        ("var", keys.gene_prediction(key), made["predicted"].to_numpy(float)),
        ("var", keys.side(key), pd.Categorical(sides, categories=["train", "test"])),
        ("uns", key, storable(stored, f"uns[{key!r}]")),
    ]
