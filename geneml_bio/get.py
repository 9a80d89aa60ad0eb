"""Frames back out of an AnnData object (``gb.get``). Nothing is computed here, nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from .bridge import keys
from .core.errors import ColumnNotFoundError, near

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy import sparse


def _uns(adata: AnnData, key: str, make: str) -> dict[str, Any]:
    if key not in adata.uns:
        known = [name for name, value in adata.uns.items() if isinstance(value, dict)]
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


def metrics(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """``model metric value low high null_mean null_high p_value``, one row per model and metric."""
    table = _frame(adata, key, "metrics", _CLASSIFY)
    return table.astype({"model": str, "metric": str})


def predictions(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """Out-of-fold predictions: ``repeat fold sample model observed predicted`` and ``prob_{class}`` columns."""
    return _frame(adata, key, "predictions", _CLASSIFY).rename(
        columns=lambda name: f"prob_{keys.unescape(name[5:])}" if name.startswith("prob_") else name
    )


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
    for name in ("classes", "versions", "fingerprint", "best", "verdict", "better_than_chance", "stability", "kind"):
        if name in stored:
            out[name] = list(stored[name]) if name == "classes" else stored[name]
    return out


def shap(adata: AnnData, key: str = "classify") -> pd.DataFrame:
    """Per gene: ``shap shap_rank direction`` and the per-model summary, the largest mean absolute SHAP first.

    Columns ``n_models`` (how many models used the gene), ``used`` (share of fold models that used it), ``rho`` (rank
    correlation of expression with SHAP) and ``shap:{model}`` (that model's mean absolute SHAP as a share of its total).
    """
    name = keys.shap(key)
    if name not in adata.uns or name not in adata.var:
        raise ColumnNotFoundError(f"No SHAP results under {name!r}. Make them with gb.tl.explain(adata).")
    table = pd.DataFrame(
        {
            "shap": adata.var[name].to_numpy(float),
            "shap_rank": adata.var[f"{name}_rank"].to_numpy(float),
            "direction": adata.var[f"{name}_direction"].to_numpy(int),
        },
        index=adata.var_names,
    )
    rest = adata.varm[f"{name}_summary"].rename(columns=keys.unescape)
    for column in rest.columns:
        table[column] = rest[column].to_numpy()
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
    """The biomarker table, one row a gene, the strongest first (:func:`geneml_bio.tl.biomarkers`)."""
    if key not in adata.varm:
        raise ColumnNotFoundError(
            f"No biomarker table under {key!r} in adata.varm. Make it with gb.tl.biomarkers(adata)."
        )
    table = adata.varm[key].copy()
    for name in ("class", "agreement"):
        table[name] = table[name].astype(object).where(table[name].notna(), "")
    return table.sort_values("rank", kind="stable")
