"""limma's fit (MArrayLM after eBayes or treat) as plain data -> the table that topTable makes of it in R."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import ColumnNotFoundError, InputError, TableError, near
from ..core.pvalues import adjust_bh
from ..core.squeeze import f_tail
from .matching import distinct
from .r_columns import dimnames, frame_of, is_table, matrix_of, numbers_of, texts_of
from .r_values import RValue, make_names


def top_table(fit: RValue, coef: Any) -> tuple[pd.DataFrame, dict[str, Any], list[str], bool]:
    """All genes as ``topTable(fit, coef, number = Inf)`` lists them (``topTreat`` after treat).

    Returns
    -------
    frame, about, coefficients, treated
        The coefficients of an F table keep the fit's own names, which R would make syntactic.
    """
    if fit.get("coefficients") is None or (fit.get("t") is None and fit.get("F") is None):
        raise TableError(
            "This MArrayLM has no statistics yet: it comes from lmFit or contrasts.fit. Run limma's eBayes(fit), or "
            "treat(fit, lfc=...), on it in R, and pass what they return."
        )
    M = _matrix(fit, "coefficients")
    rows, columns = dimnames(_need(fit, "coefficients"))
    given = columns or [f"coef{j + 1}" for j in range(M.shape[1])]
    treated = fit.get("treat.lfc") is not None
    chosen = choose_coefficients(coef, given, treated)
    notes: list[str] = []
    names = _told_apart(given, chosen, notes)
    asked = [names[j] for j in chosen]
    statistics: dict[str, np.ndarray] = {}
    if len(chosen) == 1:
        statistics["logFC"] = M[:, chosen[0]]
    else:
        statistics |= {names[j]: M[:, j] for j in chosen}
    average = _average(fit)
    if average is not None:
        statistics["AveExpr"] = average
    if len(chosen) == 1:
        j = chosen[0]
        p = _matrix(fit, "p.value")[:, j]
        statistics |= {"t": _matrix(fit, "t")[:, j], "P.Value": p, "adj.P.Val": adjust_bh(p)}
        if fit.get("lods") is not None:
            statistics["B"] = _matrix(fit, "lods")[:, j]
        elif not treated:
            raise TableError("This fit has no B-statistic (lods), by which topTable sorts; run eBayes(fit) on it in R.")
        key = p if treated else -statistics["B"]
    else:
        F, p = _joint(fit, chosen, M.shape[1])
        statistics |= {"F": F, "P.Value": p, "adj.P.Val": adjust_bh(p)}
        key = p
    if any(len(values) != len(M) for values in statistics.values()):
        raise TableError(f"This fit is damaged: {len(M)} genes, and { ({k: len(v) for k, v in statistics.items()}) }.")
    frame, automatic = _with_genes(fit, pd.DataFrame(statistics), rows, len(chosen) > 1, notes)
    about = _about(fit, asked) | {"annotation": [name for name in frame.columns if name not in statistics]}
    frame = frame.iloc[np.argsort(key, kind="stable")]
    frame.attrs["automatic_row_names"] = automatic
    return frame, about | ({"notes": notes} if notes else {}), asked, treated


def _told_apart(given: list[str], chosen: list[int], notes: list[str]) -> list[str]:
    """Names of coefficients that can be columns beside each other and beside the statistics of an F table."""
    names = distinct(given)
    if len(chosen) > 1:
        names = distinct(["AveExpr", "F", "P.Value", "adj.P.Val", *names])[4:]
    changed = [f"{given[j]!r} -> {names[j]!r}" for j in chosen if names[j] != given[j]]
    if changed:
        notes.append(f"names of coefficients are taken already, and were numbered: {', '.join(changed)}")
    return names


def _need(fit: RValue, name: str) -> RValue:
    found = fit.get(name)
    if found is None:
        raise TableError(f"This fit has no {name!r}; it is not what eBayes or treat return.")
    return found


def _matrix(fit: RValue, name: str) -> np.ndarray:
    return np.asarray(matrix_of(_need(fit, name)), dtype=float)


def _average(fit: RValue) -> np.ndarray | None:
    held = fit.get("Amean")
    if held is None:
        return None
    if held.attr("dim") is None:
        return numbers_of(held)
    values = np.asarray(matrix_of(held), dtype=float)
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)


def _joint(fit: RValue, chosen: list[int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """F and its p-value: the fit's own for all coefficients, else as limma subsets a fit."""
    if fit.get("F") is None or fit.get("F.p.value") is None:  # limma has none where the design is not of full rank
        raise TableError(
            "This fit has no F-statistics; name one coefficient in coef, or run eBayes on a design of full rank."
        )
    if len(chosen) == count:
        return numbers_of(_need(fit, "F")), numbers_of(_need(fit, "F.p.value"))
    cov = _matrix(fit, "cov.coefficients")[np.ix_(chosen, chosen)].copy()
    diagonal = np.diag(cov).copy()
    np.fill_diagonal(cov, np.where(diagonal == 0, 1.0, diagonal))
    scale = np.sqrt(np.diag(cov))
    values, vectors = np.linalg.eigh(cov / np.outer(scale, scale))
    used = values / values[-1] > 1e-8
    rank = int(used.sum())
    scores = _matrix(fit, "t")[:, chosen] @ (vectors[:, used] / np.sqrt(values[used]))
    F = np.einsum("ij,ij->i", scores, scores) / rank
    return F, f_tail(F, rank, numbers_of(_need(fit, "df.prior")) + numbers_of(_need(fit, "df.residual")))


def _with_genes(
    fit: RValue, statistics: pd.DataFrame, rows: list[str] | None, several: bool, notes: list[str]
) -> tuple[pd.DataFrame, bool]:
    """The columns of ``fit$genes`` in front, and row names, as topTable has them: repeated ones become a column."""
    held = fit.get("genes")
    if held is not None and not is_table(held) and held.attr("dim") is not None:
        names = dimnames(held)[1] or [f"X{j + 1}" for j in range(int(held.attributes["dim"].value[1]))]
        flat = np.array(texts_of(held), dtype=object).reshape(-1, len(names), order="F")
        genes = pd.DataFrame(flat, columns=names)
    elif held is not None and not is_table(held):
        genes = pd.DataFrame({"ProbeID" if several else "ID": texts_of(held)}, dtype=object)
    else:
        genes = frame_of(held).reset_index(drop=True) if held is not None else pd.DataFrame(index=statistics.index)
    if len(genes) != len(statistics):
        raise TableError(f"This fit is damaged: {len(statistics)} genes, and {len(genes)} of them are described.")
    repeated = rows is not None and len(set(rows)) < len(rows)
    if repeated:
        genes["ID0" if "ID" in genes.columns else "ID"] = np.array(rows, dtype=object)
    genes = beside(
        genes.set_axis(pd.Index(make_names(genes.columns), dtype=str), axis=1), list(statistics.columns), notes
    )
    frame = pd.concat([genes, statistics.set_axis(genes.index, axis=0)], axis=1)
    automatic = rows is None or repeated
    names = [str(i + 1) for i in range(len(frame))] if automatic else list(rows or [])
    return frame.set_axis(pd.Index(names, dtype=str), axis=0), automatic


def beside(genes: pd.DataFrame, taken: list[str], notes: list[str]) -> pd.DataFrame:
    """Annotation that leaves the names of statistics to them. R renames whichever comes second."""
    new = distinct([*taken, *(f"{name}.file" if name in taken else name for name in genes.columns)])[len(taken) :]
    changed = [f"{old!r} -> {name!r}" for old, name in zip(genes.columns, new, strict=True) if old != name]
    if changed:
        notes.append(
            f"columns that describe the genes have the names of statistics, and were renamed: {', '.join(changed)}"
        )
    return genes.set_axis(pd.Index(new, dtype=str), axis=1)


def _about(fit: RValue, asked: list[str]) -> dict[str, Any]:
    def typical(name: str) -> float:
        held = fit.get(name)
        values = numbers_of(held) if held is not None else np.empty(0)
        return float(np.median(values)) if len(values) else float("nan")

    about: dict[str, Any] = {
        "contrasts": asked,
        "adjust": "BH",
        "df_prior": typical("df.prior"),
        "s2_prior": typical("s2.prior"),
    }
    if fit.get("proportion") is not None:
        about["proportion"] = typical("proportion")
    if fit.get("var.prior") is not None:
        about["var_prior"] = numbers_of(_need(fit, "var.prior"))
    if fit.get("treat.lfc") is not None:
        about["treat_lfc"] = typical("treat.lfc")
    if fit.get("method") is not None and fit.get("method").type == "character":  # type: ignore[union-attr]
        about["method"] = _need(fit, "method").value[0]
    return about


def choose_coefficients(coef: Any, names: list[str], treated: bool) -> list[int]:
    """Positions of the coefficients asked for, by name or by number from 1, in the caller's order.

    Without ``coef`` all but the intercept; after treat, which tests one at a time, the only one.

    Raises
    ------
    TableError
        If one of several must be chosen, or a name is that of several.
    """
    everything = list(range(len(names)))
    if coef is None:
        tested = [j for j in everything if names[j] != "(Intercept)"] or everything
        if treated and len(tested) > 1:
            listed = ", ".join(f"{names[j]!r} ({j + 1})" for j in tested[:12])
            raise TableError(
                f"This fit of treat holds {len(tested)} results side by side: {listed}{', ...' if len(tested) > 12 else ''}. treat "
                f"tests one at a time (topTreat would take the last): coef={tested[0] + 1}, say."
            )
        return tested
    asked = list(coef) if isinstance(coef, list | tuple | np.ndarray) else [coef]
    numbered = distinct(names)
    found: dict[int, None] = {}
    for item in asked:
        if isinstance(item, str) and names.count(item) > 1:
            where = [str(j + 1) for j in everything if names[j] == item]
            raise TableError(
                f"{len(where)} coefficients of the fit are called {item!r}; give a number: {', '.join(where)}."
            )
        if isinstance(item, str) and item in numbered:
            found[names.index(item) if item in names else numbered.index(item)] = None
        elif isinstance(item, int | np.integer) and not isinstance(item, bool) and 1 <= item <= len(names):
            found[int(item) - 1] = None
        else:
            raise ColumnNotFoundError(
                f"The fit has no coefficient {item!r}; name it, or number it from 1 to {len(names)}.{near(item, names)}"
            )
    if treated and len(found) > 1:
        raise InputError("treat tests one coefficient at a time; name one in coef.")
    if not found:
        raise InputError("coef is an empty list; name a coefficient, or number it from 1.")
    return list(found)
