"""DE evidence + model evidence -> one table. The only place where the two streams meet."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from .biomarker_columns import COLUMNS
from .errors import InputError

DE_COLUMNS = ("logFC", "CI.L", "CI.R", "AveExpr", "t", "F", "LR", "P.Value", "adj.P.Val", "B")
SHAP_COLUMNS = ("shap", "shap_rank", "rank_low", "rank_high", "direction", "used", "n_models", "n_agree")
ERROR_COLUMNS = ("empirical_p", "empirical_q", "knockoff_q")
_LISTED = 3  # stand-ins named in the table


@dataclass(frozen=True)
class Thresholds:
    """What counts as DE, as used, as stable and as redundant.

    Parameters
    ----------
    alpha
        A gene is DE where ``adj.P.Val`` is at most this,
    lfc
        and where ``|logFC|`` is at least this.
    min_frequency
        A used gene that is chosen in a smaller share of folds is called unstable.
    n_used
        A gene is used where it is among this many with the largest mean absolute SHAP (and has any),
    max_q
        and, if this is given, where its ``empirical_q`` is at most this.
    min_share
        A DE gene that is used, but has less than this share of the mean absolute SHAP of a gene that goes with it, is
        redundant all the same.
    """

    alpha: float = 0.05
    lfc: float = 0.0
    min_frequency: float = 0.5
    n_used: int = 100
    max_q: float | None = None
    min_share: float = 0.25

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not number and not (name == "max_q" and value is None):
                raise InputError(f"{name} must be a number, got {value!r}.")
        if not 0 < self.alpha <= 1 or not 0 <= self.min_frequency <= 1:
            raise InputError(
                f"alpha must be in (0, 1] and min_frequency in [0, 1]; got {self.alpha} and {self.min_frequency}."
            )
        if not 0 <= self.lfc < np.inf:
            raise InputError(f"lfc is a smallest |logFC|, a number of at least 0; got {self.lfc}.")
        if self.n_used < 1 or self.n_used % 1 or not 0 <= self.min_share < 1:
            raise InputError(
                f"n_used must be a whole number of at least 1 and min_share in [0, 1); got {self.n_used} and {self.min_share}."
            )
        if self.max_q is not None and not 0 < self.max_q <= 1:
            raise InputError(f"max_q must be in (0, 1]; got {self.max_q}.")

    def recorded(self) -> dict[str, Any]:
        """The thresholds by name."""
        return asdict(self)


def biomarker_table(
    features: pd.Index,
    *,
    de: pd.DataFrame | None = None,
    shap: pd.DataFrame | None = None,
    frequency: pd.Series | None = None,
    errors: pd.DataFrame | None = None,
    group: pd.Series | None = None,
    partners: pd.DataFrame | None = None,
    names: pd.DataFrame | None = None,
    thresholds: Thresholds | None = None,
    **given: Any,
) -> pd.DataFrame:
    """One row a gene, with what limma says of it, what the models made of it, and a class in plain words.

    Parameters
    ----------
    features
        Genes of the study.
    de
        DE statistics in limma's columns, by gene (:func:`~geneml_bio.core.effect_interval.with_interval` adds that of logFC); or None.
    shap
        ``shap shap_rank direction n_models`` by gene, from held-out samples, and what there is of ``rank_low rank_high used
        n_agree``; or None.
    frequency
        Share of folds whose screen chose the gene; or None.
    errors
        What there is of ``empirical_p empirical_q knockoff_q`` by gene; or None.
    group
        Label of the group of genes that go together, by gene, empty for none; or None.
    partners
        Pairs of genes that can replace each other, ``gene stand_in correlation``; or None.
    names
        ``symbol name`` by gene, or one of them; or None.
    thresholds, given
        :class:`Thresholds`, or its fields by name.

    Returns
    -------
    Frame by gene, the strongest first, with those columns of :data:`COLUMNS` for which there is evidence. Ordered by mean
    absolute SHAP, genes without any by p-value. Evidence that is missing is NaN, or empty text, and no class supposes it: a
    used gene without an ``adj.P.Val`` is ``"used, DE unknown"``. ``agreement`` (of used genes) compares the sign of logFC
    with the direction in the model.

    A DE gene is redundant where models do not use it, or hardly do (``min_share``), and a gene that goes with it is used, has
    a larger mean absolute SHAP and is not redundant itself: the one with the largest absolute correlation, of those that
    differ in the direction that the correlation implies; else the first of its group, unless it is known to differ the other way.
    """
    if de is None and shap is None:
        raise InputError(
            "A biomarker table needs DE evidence (gb.tl.limma, or gb.tl.add_de), model evidence (gb.tl.classify, then gb.tl.explain), "
            "or both; got neither."
        )
    limits = thresholds or Thresholds(**given)
    table = pd.DataFrame(index=features)
    parts = ((names, ("symbol", "name")), (de, DE_COLUMNS), (shap, SHAP_COLUMNS),
             (errors, ERROR_COLUMNS))  # fmt: skip
    for frame, wanted in parts:
        if frame is None:
            continue
        for name in [name for name in wanted if name in frame]:
            values = frame[name].reindex(features)
            text = name in ("symbol", "name")
            table[name] = values.astype(object).where(values.notna(), "") if text else values.to_numpy(float)
    if frequency is not None:
        table["selection_frequency"] = frequency.reindex(features).to_numpy(float)
    if group is not None:
        table["group"] = group.reindex(features).astype(object).where(group.reindex(features).notna(), "").astype(str)
    if partners is not None:
        table["stand_ins"] = _stand_ins(partners, features)
    table = _classified(table, limits, partners, has_model=shap is not None)
    table = _ordered(table)
    table["rank"] = np.arange(1, len(table) + 1)
    return table[[name for name in COLUMNS if name in table]]


def _classified(
    table: pd.DataFrame, limits: Thresholds, partners: pd.DataFrame | None, *, has_model: bool
) -> pd.DataFrame:
    adjusted = table["adj.P.Val"] if "adj.P.Val" in table else pd.Series(np.nan, index=table.index)
    is_de, unknown = adjusted <= limits.alpha, adjusted.isna()
    if limits.lfc > 0:
        if "logFC" not in table:
            raise InputError("lfc= asks for a fold change, and the DE evidence has none (a joint test, or no table).")
        is_de &= table["logFC"].abs() >= limits.lfc
    used = _used(table, limits)
    behind = _behind(table, is_de, used, partners, limits.min_share) if has_model else None
    redundant = used & False if behind is None else behind != ""
    unstable = used & False
    if "selection_frequency" in table:
        unstable = used & (table["selection_frequency"] < limits.min_frequency)
    table["class"] = np.select(
        [redundant, unstable, used & is_de, used & unknown, used, is_de & has_model, is_de],
        [
            "DE, redundant",
            "unstable",
            "DE and used",
            "used, DE unknown",
            "used, not DE",
            "DE, unused",
            "DE, use unknown",
        ],
        default="",
    ).astype(object)
    if behind is not None:
        table["stands_behind"] = behind
    table["agreement"] = _agreement(table, used)
    return table


def _used(table: pd.DataFrame, limits: Thresholds) -> pd.Series:
    if "shap" not in table:
        return pd.Series(False, index=table.index)
    used = (table["shap"] > 0) & (table["shap_rank"] <= limits.n_used)
    if limits.max_q is None:
        return used
    if "empirical_q" not in table or table["empirical_q"].isna().all():
        raise InputError(
            "max_q= asks for empirical q-values, and there are none. Make them with "
            "gb.tl.classify(adata, target, n_permutations=100)."
        )
    return used & (table["empirical_q"] <= limits.max_q)


def _behind(
    table: pd.DataFrame, is_de: pd.Series, used: pd.Series, partners: pd.DataFrame | None, min_share: float
) -> pd.Series | None:
    """For each redundant gene the one that does its work, else empty; None where nothing is known of what goes together.

    Genes are taken from the most important on, so that those that stand for others are settled before the others.
    """
    if partners is None and "group" not in table:
        return None
    near = _neighbours(partners)
    effect = table["logFC"].fillna(0.0).to_dict() if "logFC" in table else {}
    shap = dict(zip(table.index, table["shap"].fillna(0.0), strict=True))
    label = table["group"].to_dict() if "group" in table else {}
    de_set, used_set = set(table.index[is_de]), set(table.index[used])
    standing: set[Any] = set()
    first: dict[str, Any] = {}  # of each group
    behind: dict[Any, str] = {}
    for gene in sorted(de_set | used_set, key=lambda name: -shap[name]):
        pairs = [
            (abs(r), other)
            for other, r in near.get(gene, {}).items()
            if other in standing and (not effect or r * effect[gene] * effect[other] > 0)
        ]
        leader = max(pairs)[1] if pairs else first.get(label.get(gene, "")) if label.get(gene) else None
        if leader is not None and effect and near.get(gene, {}).get(leader, np.nan) * effect[gene] * effect[leader] < 0:
            leader = None  # they go together, and differ the other way: the one does not do the other's work
        hardly = gene not in used_set or (leader is not None and shap[gene] < min_share * shap[leader])
        if gene in de_set and leader is not None and hardly and shap[leader] > shap[gene]:
            behind[gene] = str(leader)
        elif gene in used_set:
            standing.add(gene)
            if label.get(gene):
                first.setdefault(label[gene], gene)
    return pd.Series([behind.get(gene, "") for gene in table.index], index=table.index, dtype=object)


def _neighbours(partners: pd.DataFrame | None) -> dict[str, dict[str, float]]:
    """Each gene's partners and the correlation with them, in both directions."""
    near: dict[str, dict[str, float]] = defaultdict(dict)
    if partners is None:
        return near
    rows = zip(partners["gene"].astype(str), partners["stand_in"].astype(str), partners["correlation"], strict=True)
    for a, b, r in rows:
        near[a][b] = near[b][a] = float(r)
    return near


def _stand_ins(partners: pd.DataFrame, features: pd.Index) -> pd.Series:
    """The closest stand-ins of each gene as a short text."""
    text = {}
    for gene, others in _neighbours(partners).items():
        listed = sorted(others.items(), key=lambda item: (-abs(item[1]), item[0]))
        more = len(listed) - _LISTED
        shown = ", ".join(f"{name} ({r:.2f})" for name, r in listed[:_LISTED])
        text[gene] = f"{shown}, {more} more" if more > 0 else shown
    return pd.Series([text.get(str(gene), "") for gene in features], index=features, dtype=object)


def _agreement(table: pd.DataFrame, used: pd.Series) -> np.ndarray:
    """Whether expression goes with the positive class in the same direction in limma and in the model, of used genes."""
    if "logFC" not in table or "direction" not in table:
        return np.full(len(table), "", dtype=object)
    product = (np.sign(table["logFC"]) * table["direction"]).where(used, 0)
    return np.select([product > 0, product < 0], ["agree", "conflict"], default="").astype(object)


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    by, ascending = [], []
    if "shap" in table:
        by, ascending = ["shap"], [False]
    if "P.Value" in table:
        by, ascending = [*by, "P.Value"], [*ascending, True]
    return table.sort_values(by, ascending=ascending, kind="stable") if by else table
