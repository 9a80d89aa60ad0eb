"""Pieces of the text on results: names and numbers in a column, the confusion matrix, the classification report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from . import get
from .bridge.keys import pred
from .core.biomarker_columns import CLASSES, in_words, small_effects

if TYPE_CHECKING:
    from anndata import AnnData

NAME = 24


def name_of(model: object, width: int = NAME - 2) -> str:
    """A name in one line, cut in its middle."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(model)).split())
    return text if len(text) <= width else f"{text[: width - 11]}...{text[-8:]}"


def number(value: float, digits: int = 2) -> str:
    """A number, or a dash where it is not defined."""
    return f"{value:z.{digits}f}" if np.isfinite(value) else "-"  # z: no -0.00


def took_part(adata: AnnData, key: str) -> pd.Series:
    """The target of each sample that took part; of a streamed study all of them, not only those whose predictions are listed."""
    if "streamed" in adata.uns[key]:
        there = adata.obs[pred(key)].notna()
        return adata.obs.loc[there, str(adata.uns[key]["params"]["target"])]
    parts = [get.predictions(adata, key)]
    if "test_predictions" in adata.uns[key]:
        parts.append(get.predictions(adata, key, test=True))
    table = pd.concat([part[["sample", "observed"]].astype({"sample": str}) for part in parts])
    return table.drop_duplicates("sample").set_index("sample")["observed"]


def groups_of(adata: AnnData, about: Mapping[str, Any], samples: Iterable[str]) -> np.ndarray | None:
    """The donor of each sample, where groups were named; "" for all where they are not known any more."""
    if "groups" not in about:
        return None
    samples, column = list(samples), str(about["groups"])
    if column in adata.obs:
        labels = pd.Series(adata.obs[column].astype(object).to_numpy(), index=adata.obs_names.astype(str))
        labels = labels[~labels.index.duplicated()].reindex(samples)
        if labels.notna().all():
            return labels.astype(str).to_numpy()
    return np.full(len(samples), "")


def share_right(adata: AnnData, about: Mapping[str, Any], made: pd.DataFrame, accuracy: pd.Series) -> str:
    """How many samples of a test set the best model got right, and what true accuracy that goes with; donors count, not their samples."""
    mine = made[made["model"].astype(str) == about["best"]]
    right = (mine["observed"].astype(str) == mine["predicted"].astype(str)).to_numpy()
    groups = groups_of(adata, about, mine["sample"].astype(str))
    said = f"{int(right.sum())} of {len(right)} right"
    if groups is not None and groups[0]:
        n = len(set(groups))
        said += f", of {n} {about['groups']}{'s' * (n > 1)},"
    if not np.isfinite(accuracy["low"]):
        return f"{said} says nothing of others"
    return f"{said} goes with any true accuracy from {accuracy['low']:.2f} to {accuracy['high']:.2f}"


def apart(adata: AnnData, key: str, observed: pd.Series) -> tuple[int, str]:
    """How many samples here took no part, and in words what took part and is no longer here: the object may be a subset."""
    here, took = pd.Index(adata.obs_names.astype(str)), pd.Index(observed.index.astype(str))
    n_genes = int(adata.uns[key].get("n_genes", adata.n_vars))  # results of an earlier version do not say
    left = [(int(took.isin(here).sum()), len(took), "samples"), (adata.n_vars, n_genes, "genes")]
    words = " and ".join(f"{now:,} of the {then:,} {what}" for now, then, what in left if now != then)
    said = f"This object holds {words} that were validated. Scores are of all of them; tables and figures show what is here."
    return int((~here.isin(took)).sum()), said if words else ""


def interval(row: pd.Series) -> str:
    """``0.93 [0.88, 0.97]``."""
    digits = 2 if not abs(row["value"]) >= 100 else 0
    if not np.isfinite(row["value"]):
        return "-"
    if not np.isfinite([row["low"], row["high"]]).all():
        return number(row["value"], digits)
    return f"{number(row['value'], digits)} [{number(row['low'], digits)}, {number(row['high'], digits)}]"


def matrix(adata: AnnData, key: str, about: dict[str, Any], *, test: bool) -> list[str]:
    """The confusion matrix of the best model."""
    if "classes" not in about or len(about["classes"]) > 12:
        return []
    counts = get.confusion(adata, key, test=test)
    names = [name_of(name, 14) for name in counts.index]
    width = max(8, *(len(name) + 2 for name in names))
    lines = [f"  {name_of(about['best'])}: observed (rows) by predicted (columns)"]
    lines.append(f"    {'':<16}" + "".join(f"{name:>{width}}" for name in names))
    for name, row in zip(names, counts.to_numpy(float), strict=True):
        cells = "".join(f"{value:>{width}.{0 if abs(value - round(value)) < 0.05 else 1}f}" for value in row)
        lines.append(f"    {name:<16}{cells}")
    return lines


def by_class(adata: AnnData, key: str, about: dict[str, Any], which: str) -> list[str]:
    """The classification report of the best model."""
    if "classes" not in about or "per_class" not in adata.uns[key]:
        return []
    table = get.per_class(adata, key)
    mine = table[(table["model"] == about["best"]) & (table["set"] == which)]
    if mine.empty:
        return []
    scores = ("precision", "recall", "f1")
    lines = ["    class             " + "".join(f"{name:>11}" for name in (*scores, "n"))]
    for _, row in mine.iterrows():
        cells = "".join(f"{number(row[name]):>11}" for name in scores)
        lines.append(f"    {name_of(row['class'], 16):<18}{cells}{int(row['n']):>11}")
    mean = "".join(f"{number(float(mine[name].mean())):>11}" for name in scores)
    return [*lines, f"    {'mean over classes':<18}{mean}{int(mine['n'].sum()):>11}"]


def discoveries(adata: AnnData, key: str) -> list[str]:
    """How many genes stand out against permuted targets, and against what; nothing where none were run."""
    found = adata.uns[key].get("discoveries")
    if not found:
        return []
    n, of, times = int(found["n_called"]), int(found["n_genes"]), int(found["n_permutations"])
    lines = ["Genes against permuted targets"]
    lines.append(f"  {n:,} of {of:,} genes at q <= {float(found['level']):g}, against {times} permuted targets.")
    if float(found["smallest_q"]) > float(found["level"]):
        lines.append(
            "  ! With so few permutations genes are called only several at a time, never one alone; take "
            f"{int(np.ceil(1 / float(found['level'])))} or more."
        )
    if n:
        for_one = len(adata.uns[key].get("classes", ())) <= 2  # knockoffs are of two classes, or of a number
        lines.append(
            "  They go with the target, some of them only through others"
            + (": gb.tl.knockoffs asks for what each adds." if for_one else ".")
        )
    return lines


def top_biomarkers(table: pd.DataFrame, unit: str, n: int) -> list[str]:
    """The strongest genes, a line each: what limma says, what the models made of it, and the class in words."""
    counts = table["class"].value_counts()
    said = "; ".join(f"{counts[name]:,} {name}" for name in CLASSES if name in counts)
    known = [
        name
        for name in ("logFC", "F", "LR", "adj.P.Val", "shap", "empirical_q", "selection_frequency")
        if name in table
    ]
    effect = [name for name in known if name in ("logFC", "F", "LR")][:1]
    shown = [name for name in known if name in effect or name not in ("logFC", "F", "LR")]
    by = "SHAP on held-out samples" if "shap" in table else "p-value"
    lines = [f"Top biomarkers, by {by}{f' (of all genes: {said})' if said else ''}"]
    head = {"shap": "SHAP", "empirical_q": "q", "selection_frequency": "folds"}
    lines.append(f"  {'gene':<{NAME}}" + "".join(f"{head.get(name, name):>11}" for name in shown) + "  class")
    words, few = in_words(table), small_effects(table)
    for gene, row in table.head(n).iterrows():
        cells = "".join(_biomarker_cell(row[name], name, unit, few).rjust(11) for name in shown)
        what = [words[gene]] + (["signs conflict"] if row["agreement"] == "conflict" else [])
        described = next((str(row[name])[:44] for name in ("symbol", "name") if row.get(name)), "")
        told = "  ".join(filter(None, [", ".join(filter(None, what)), described]))
        lines.append(f"  {name_of(str(gene), 23):<{NAME}}{cells}  {told}".rstrip())
    return lines


def _biomarker_cell(value: float, name: str, unit: str, few: bool = False) -> str:
    if not np.isfinite(value):
        return "-"
    if name == "shap":
        return f"{value:.1%}" if unit == "share" else f"{value:.3g}"
    if name == "selection_frequency":
        return f"{value:.0%}"
    if name in ("adj.P.Val", "empirical_q"):
        return f"{value:.1e}" if value < 0.001 else f"{value:.3f}"
    return f"{value:.2g}" if few and name == "logFC" else f"{value:.2f}"
