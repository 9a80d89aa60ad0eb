"""Frames back out of an AnnData object (``gb.get``). Nothing is computed here, nothing is written."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .bridge import keys
from .core.biomarker_columns import TEXT
from .core.errors import ColumnNotFoundError, DataWarning, near

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse

__all__ = [
    "audit",
    "biomarkers",
    "comparisons",
    "confusion",
    "de",
    "folds",
    "gene_groups",
    "gene_sets",
    "gene_table",
    "history",
    "learning_curve",
    "metrics",
    "null",
    "params",
    "per_class",
    "predictions",
    "replacements",
    "screens",
    "shap",
    "shap_values",
    "stand_ins",
]


def _uns(adata: AnnData, key: str, make: str) -> dict[str, Any]:
    if key not in adata.uns:
        known = [name for name, value in adata.uns.items() if isinstance(value, dict)]
        make = make.replace("gb.tl.classify", "gb.tl.regress") if key == "regress" else make
        raise ColumnNotFoundError(f"No results under {key!r} in adata.uns.{near(key, known)} Make them with {make}.")
    return adata.uns[key]


def _frame(adata: AnnData, key: str, name: str, make: str) -> pd.DataFrame:
    stored = _uns(adata, key, make)
    if name not in stored:
        raise ColumnNotFoundError(f"The results under {key!r} hold no {name}. Make it with {make}.")
    return stored[name].reset_index(drop=True)


def de(adata: AnnData, key: str = "limma") -> pd.DataFrame:
    """DE statistics by gene in limma's column names, sorted by p-value.

    Raises
    ------
    ColumnNotFoundError
        If :func:`geneml_bio.tl.limma` or :func:`geneml_bio.tl.add_de` has not been run under ``key``.
    """
    there = {name: keys.de_column(key, name) for name in keys.DE_COLUMNS if keys.de_column(key, name) in adata.var}
    if "P.Value" not in there:
        raise ColumnNotFoundError(
            f"No DE results under {key!r} in adata.var. Make them with gb.tl.limma(adata, design, contrast=...) or "
            "gb.tl.add_de(adata, gb.read.toptable(path))."
        )
    table = pd.DataFrame(
        {name: adata.var[stored].to_numpy(float) for name, stored in there.items()}, index=adata.var_names
    )
    return table.sort_values("P.Value", kind="stable")


_CLASSIFY = "gb.tl.classify(adata, target)"


def metrics(adata: AnnData, key: str = "classify", *, test: bool = False) -> pd.DataFrame:
    """``model metric value low high null_mean null_high p_value n_undefined``, one row per model and metric.

    With ``test=True``, of the held-out test set: ``model metric value low high n``.
    """
    table = _of_test(adata, key, "test_metrics") if test else _frame(adata, key, "metrics", _CLASSIFY)
    return table.astype({"model": str, "metric": str})


def predictions(adata: AnnData, key: str = "classify", *, test: bool = False) -> pd.DataFrame:
    """Out-of-fold predictions: ``repeat fold sample model observed predicted`` and ``prob_{class}`` columns.

    With ``test=True``, those of the held-out test set: ``sample model observed predicted`` and ``prob_{class}``.
    """
    table = _of_test(adata, key, "test_predictions") if test else _frame(adata, key, "predictions", _CLASSIFY)
    return table.rename(columns=lambda name: f"prob_{keys.unescape(name[5:])}" if name.startswith("prob_") else name)


def _of_test(adata: AnnData, key: str, name: str) -> pd.DataFrame:
    return _frame(adata, key, name, "gb.tl.classify(adata, target, test_size=0.2)")


def per_class(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """The classification report: ``model set class n precision recall f1 roc_auc``; set is ``cv`` or ``test``."""
    return _frame(adata, key, "per_class", _CLASSIFY).astype({"model": str, "set": str, "class": str})


def confusion(adata: AnnData, key: str = "classify", *, model: str | None = None, test: bool = False) -> pd.DataFrame:
    """How many samples of each class (rows) were predicted as each (columns); mean over repeats.

    Parameters
    ----------
    adata, key
        With results of :func:`geneml_bio.tl.classify`.
    model
        Which model; default: the best.
    test
        Of the held-out test set.
    """
    about = params(adata, key)
    table = predictions(adata, key, test=test)
    there = list(dict.fromkeys(table["model"].astype(str)))
    chosen = str(about["best"]) if model is None else model
    if chosen not in there:
        raise ColumnNotFoundError(f"No predictions of model {chosen!r}.{near(chosen, there)}")
    if "classes" not in about:
        raise ColumnNotFoundError(f"The results under {key!r} are numbers, not classes; use gb.get.predictions.")
    mine = table[table["model"].astype(str) == chosen]
    classes = [str(name) for name in about["classes"]]
    counts = pd.crosstab(mine["observed"].astype(str), mine["predicted"].astype(str))
    n_repeats = 1 if test else mine["repeat"].nunique()
    counts = counts.reindex(index=classes, columns=classes, fill_value=0) / n_repeats
    return counts.rename_axis(index="observed", columns="predicted")


def comparisons(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """Model against model: ``metric model_a model_b difference low high t df p_value adj.P.Val n_folds n_undefined``."""
    return _frame(adata, key, "comparisons", _CLASSIFY).astype({"metric": str, "model_a": str, "model_b": str})


def history(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """How a network learned: ``repeat fold model epoch loss val_loss`` and a score; repeat and fold -1: the test set's fit."""
    return _frame(adata, key, "history", 'gb.tl.classify(adata, target, models="mlp")').astype({"model": str})


def gene_table(adata: AnnData, key: str = "regress_genes") -> pd.DataFrame:
    """Models of genes as rows, by block, beside the closed form, the mean and the noise ceiling."""
    return _frame(adata, key, "gene_table", "gb.tl.regress_genes(adata)")


def stand_ins(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """Pairs of genes that stand in for each other over the folds: ``gene_a gene_b correlation ...``."""
    return _frame(adata, key, "stand_ins", _CLASSIFY).astype({"gene_a": str, "gene_b": str})


def folds(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """``repeat fold sample``: in which fold each sample was held out."""
    return _frame(adata, key, "folds", _CLASSIFY)


def screens(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """``repeat fold feature statistic``: genes that the screen of each fold chose, with their moderated statistic."""
    return _frame(adata, key, "screens", _CLASSIFY)


def audit(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """``check level message``: what was found wrong with the study before a model was fitted."""
    return _frame(adata, key, "audit", _CLASSIFY).astype(str)


def null(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """``permutation model metric value``: what the same pipelines score on permuted targets."""
    return _frame(adata, key, "null", "gb.tl.classify(adata, target, n_permutations=100)")


def params(adata: AnnData, key: str = "classify") -> dict[str, Any]:
    """What was asked: every argument, the classes, the versions."""
    stored = _uns(adata, key, _CLASSIFY)
    out = {**stored.get("params", {})}
    for name in (
        "classes",
        "versions",
        "fingerprint",
        "best",
        "verdict",
        "better_than_chance",
        "stability",
        "kind",
        "n_effective",
        "n_genes",
        "streamed",
    ):
        if name in stored:
            out[name] = list(stored[name]) if name == "classes" else stored[name]
    return out


def shap(adata: AnnData, key: str = "classify", *, model: str | None = None) -> pd.DataFrame:
    """What the models go by, one row a gene, the largest mean absolute SHAP first.

    Parameters
    ----------
    adata, key
        With results of :func:`geneml_bio.tl.explain`.
    model
        One model, in its own unit; default: what was written, the consensus unless a model was named.

    Returns
    -------
    Frame ``shap shap_rank direction`` and

    - ``rank_low rank_high``: 95 % interval of the rank; ``sd``: standard deviation of ``shap`` over repeats;
    - ``rho``: rank correlation of expression with SHAP (``rho:{class}`` of more than two classes);
    - ``screened``, ``used``: share of folds whose screen held the gene, of fold models that used it;
    - ``n_models``, ``n_agree``: how many models used it, and how many have its direction;
    - of each model ``shap:{model}`` (its mean absolute SHAP as a share of its total), ``direction:{model}``, ``used:{model}``.

    With ``model=``: ``shap shap_rank share direction used screened``; ``.attrs`` hold ``unit``, ``explainer``, ``exact`` and
    ``sampling_error``.

    Raises
    ------
    ColumnNotFoundError
        If there are no such results, or none of that model.
    """
    name = keys.shap(key)
    if name not in adata.uns or name not in adata.var:
        raise ColumnNotFoundError(f"No SHAP results under {name!r}. Make them with gb.tl.explain(adata).")
    rest = adata.varm[f"{name}_summary"].rename(columns=keys.unescape)
    if model is not None:
        return _shap_of(adata, rest, name, model)
    table = pd.DataFrame(
        {
            "shap": adata.var[name].to_numpy(float),
            "shap_rank": adata.var[f"{name}_rank"].to_numpy(float),
            "direction": adata.var[f"{name}_direction"].to_numpy(int),
        },
        index=adata.var_names,
    )
    for column in rest.columns:
        table[column] = rest[column].to_numpy()
    return table.sort_values("shap", ascending=False, kind="stable")


def _shap_of(adata: AnnData, rest: pd.DataFrame, name: str, model: str) -> pd.DataFrame:
    about = adata.uns[name]["per_model"]
    about = about.set_index(about["model"].astype(str))
    if model not in about.index:
        raise ColumnNotFoundError(f"No SHAP results of model {model!r}.{near(model, about.index)}")
    if f"direction:{model}" not in rest:
        raise ColumnNotFoundError("These results are of an earlier version; run gb.tl.explain(adata) again.")
    share = pd.Series(rest[f"shap:{model}"].to_numpy(float), index=adata.var_names)
    table = pd.DataFrame({"shap": share * float(about.loc[model, "total"])})
    table["shap_rank"] = share.rank(ascending=False, method="min").where(share > 0)
    table["share"] = share
    table["direction"] = rest[f"direction:{model}"].to_numpy(int)
    table["used"], table["screened"] = rest[f"used:{model}"].to_numpy(float), rest["screened"].to_numpy(float)
    table.attrs = {what: about.loc[model, what] for what in ("unit", "explainer", "exact", "sampling_error")}
    return table.sort_values("shap", ascending=False, kind="stable")


def shap_values(adata: AnnData, key: str = "classify", output: str | None = None) -> sparse.csr_matrix:
    """SHAP values of held-out samples, samples x genes (CSR); ``output`` names the class when there are several."""
    about = _uns(adata, keys.shap(key), "gb.tl.explain(adata)")
    outputs = [str(name) for name in about["outputs"]]
    if output is None:
        if len(outputs) > 1:
            raise ColumnNotFoundError(f"SHAP values are stored per class; name one of them: output={outputs}.")
        output = outputs[0]
    if output not in outputs:
        raise ColumnNotFoundError(f"No SHAP values for output {output!r}.{near(output, outputs)}")
    return adata.layers[keys.shap_layer(key, output, len(outputs))]


def biomarkers(adata: AnnData, key: str = "biomarkers") -> pd.DataFrame:
    """The biomarker table, one row a gene, the strongest first (:func:`geneml_bio.tl.biomarkers`).

    Missing numbers are NaN, missing text is empty. ``.attrs["settings"]``: thresholds, the keys of the evidence, the verdict.

    Warns
    -----
    DataWarning
        If DE statistics, SHAP values or q-values were made anew since the table was.
    """
    if key not in adata.varm or "rank" not in adata.varm[key]:
        raise ColumnNotFoundError(
            f"No biomarker table under {key!r} in adata.varm. Make it with gb.tl.biomarkers(adata)."
        )
    table = pd.DataFrame(adata.varm[key]).copy()
    table.index = adata.var_names  # the stored one has no name
    for name in [name for name in TEXT if name in table]:
        text = table[name].astype(object)
        table[name] = text.where(text.notna(), "")
    settings = dict(adata.uns.get(key, {}))
    table.attrs["settings"] = settings
    older = _older(adata, table, settings)
    if older:
        message = (
            f"The biomarker table under {key!r} is older than the results that it was made of ({', '.join(older)} changed since). Make it "
            "anew with gb.tl.biomarkers(adata)."
        )
        warnings.warn(message, DataWarning, stacklevel=2)
    return table.sort_values("rank", kind="stable")


def _older(adata: AnnData, table: pd.DataFrame, settings: Mapping[str, Any]) -> list[str]:
    """Columns of a biomarker table that are not what the results under its keys hold now."""
    of_model, of_de = str(settings.get("model")), str(settings.get("de"))
    columns = {
        "adj.P.Val": (of_de, keys.de_column(of_de, "adj.P.Val")),
        "shap": (of_model, keys.shap(of_model)),
        "empirical_q": (of_model, keys.empirical(of_model, "q")),
    }
    out = []
    for name, (key, column) in columns.items():
        if key not in adata.uns or name not in table:
            continue
        now = adata.var[column].to_numpy(float) if column in adata.var else np.full(adata.n_vars, np.nan)
        if not np.allclose(now, table[name].to_numpy(float), rtol=1e-6, atol=0.0, equal_nan=True):
            out.append(name)
    return out


_GROUPS = "gb.tl.gene_groups(adata)"


def gene_groups(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """Groups of genes that carry the same information, the largest SHAP first (:func:`geneml_bio.tl.gene_groups`).

    Columns ``group n genes leader shap share rank direction toward rho n_used leader_shap leader_rank min_correlation
    mean_correlation``. The group of each gene is in ``.var["{key}_group"]``.
    """
    table = _frame(adata, keys.groups(key), "table", _GROUPS)
    return table.astype(dict.fromkeys(("group", "genes", "leader", "toward"), str))


def replacements(adata: AnnData, key: str = "classify", *, de: str | None = "limma") -> pd.DataFrame:
    """What could replace each gene that the models used: a row a gene and stand-in, the most important gene first.

    Columns ``gene stand_in correlation`` (within classes), ``overall`` (the plain correlation: a gene that varies with another but
    does not differ between the classes as that does cannot replace it, and has a smaller one), ``n_stand_ins`` (of the gene,
    listed or not), ``gene_shap``, ``shap`` (of the stand-in; 0: unused), ``selection_frequency`` (of the stand-in; 0: no fold's
    screen chose it), ``same_group``; and where DE results are stored under ``de``, ``logFC`` and ``adj.P.Val`` of the stand-in.
    """
    table = _frame(adata, keys.groups(key), "replacements", _GROUPS).astype({"gene": str, "stand_in": str})
    for name in ("logFC", "adj.P.Val"):
        column = None if de is None else keys.de_column(de, name)
        if column in adata.var:
            values = pd.Series(adata.var[column].to_numpy(float), index=adata.var_names.astype(str))
            table[name] = values.reindex(table["stand_in"]).to_numpy()
    return table


def gene_sets(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """SHAP of gene sets, the smallest p-value first (:func:`geneml_bio.tl.gene_sets`).

    Columns ``set n_genes n_tested n_features n_screened n_used shap share direction toward balance correlation n_effective t p_value
    adj.P.Val leading``.
    """
    table = _frame(adata, keys.sets(key), "table", "gb.tl.gene_sets(adata, sets)")
    table = table.astype({"set": str, "toward": str})
    table["leading"] = table["leading"].astype(object).where(table["leading"].notna(), "").astype(str)
    return table


def learning_curve(adata: AnnData, key: str = "classify", *, repeats: bool = False) -> pd.DataFrame:
    """Held-out scores by number of training samples (:func:`geneml_bio.tl.learning_curve`).

    Columns ``model fraction n_train metric value low high sd n_repeats n_undefined``; with ``repeats=True``, of each repeat:
    ``model fraction n_train repeat metric value``.
    """
    name = "repeats" if repeats else "table"
    table = _frame(adata, keys.learning_curve(key), name, "gb.tl.learning_curve(adata)")
    return table.astype({"model": str, "metric": str})
