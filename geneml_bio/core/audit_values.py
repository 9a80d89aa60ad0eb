"""What the expression values of a study show: copies, constants, missing values, unlogged counts, cells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from .scale import said_of, unlogged
from .schema import Cohort

Finding = dict[str, str]

_COPY_R = 0.9999  # beyond it two samples are one
_NEAR_R = 0.98  # between donors, on 5 published data sets, the highest was 0.89
_SIMILARITY_GENES = 2000
_SIMILARITY_SAMPLES = 2000
_SHOWN = 3
_SCALED_GENES, _SCALED_FEWEST = 500, 5
_TOLD_ROWS, _TOLD_COLUMNS, _TOLD_FEWEST = (
    20,
    50,
    5,
)  # samples (of a class) looked at first; genes then; fewest samples (of a class)

# columns that tools for single cells write, one point a kind; QC columns of scanpy are written for bulk samples too
_CELL_COLUMNS = {
    "clusters": (1.0, r"(leiden|louvain|seurat[_.]?clusters)([_.].*)?"),
    "mitochondria": (1.0, r"(pct|percent|perc)[_.]?(counts)?[_.]?(mt|mito|mitochondrial)"),
    "doublets": (1.0, r"(doublet|scrublet|scdbl).*|predicted[_.]?doublets?"),
    "barcodes": (1.0, r"(cell[_.]?)?barcodes?"),
    "pseudotime": (1.0, r"(.*[_.])?pseudotime"),
    "cell cycle": (1.0, r"(s|g2m)[_.]?score"),
    "Seurat": (1.0, r"n(feature|count)[_.]rna"),
    "counts": (0.5, r"n[_.]?genes([_.]by[_.]counts)?|n[_.]?(counts|umis?)|total[_.]counts"),
}
_CELLS, _MANY_CELLS = 100, 500


def finding(check: str, level: str, message: str) -> Finding:
    """One row of an audit."""
    return {"check": check, "level": level, "message": message}


def share_of_zeros(X: Any) -> float:
    """How much of a matrix is zero; of a large dense one, by at most 1,000 of its samples."""
    n, p = X.shape
    if sparse.issparse(X):
        return 1 - np.count_nonzero(X.data) / (n * p)
    return float((X[:: max(1, n // 1000)] == 0).mean())


def signs_of_cells(X: Any, columns: Iterable[str] = ()) -> list[str]:
    """What suggests that samples are single cells; empty where it is not enough.

    Points: two for a sparse matrix of 500 samples with more than half zeros, or for a dense one with more than 80 %; one for
    half zeros otherwise; one for each kind of column that tools for single cells write (clusters, mitochondrial share,
    doublets, barcodes, pseudotime, cell cycle, Seurat's counts), half for scanpy's QC columns. Two points and 100 samples
    are cells, unless a column ``n_cells`` says that they are sums of cells.
    """
    names = [str(name) for name in columns]
    n = X.shape[0]
    if n < _CELLS or "n_cells" in names:
        return []
    zeros = share_of_zeros(X)
    many = n >= _MANY_CELLS and (zeros > 0.8 or (zeros > 0.5 and sparse.issparse(X)))
    points, signs = (2.0 if many else float(zeros > 0.5)), []
    if zeros > 0.5:
        signs.append(f"{zeros:.0%} zeros")
    for worth, pattern in _CELL_COLUMNS.values():
        found = [name for name in names if re.fullmatch(pattern, name, re.I)]
        if found:
            points += worth
            signs.append(f"column {found[0]!r}")
    return signs if points >= 2 else []


def label_in_genes(cohort: Cohort) -> list[Finding]:
    """Genes that say the target: one value in each class, or a straight line through a number. No measurement does that."""
    first = _first_of_each(cohort.target) if cohort.classes else np.arange(min(len(cohort.target), _TOLD_ROWS))
    if len(cohort.target) < _TOLD_FEWEST * max(len(cohort.classes), 1):
        return []
    suspects = np.flatnonzero(_tells(_dense(cohort.X[first]), cohort.target[first], cohort.classes))[:_TOLD_COLUMNS]
    found = (
        suspects[_tells(_dense(cohort.X[:, suspects]), cohort.target, cohort.classes)] if len(suspects) else suspects
    )
    if not len(found):
        return []
    what = (
        "have one value in each class, and not the same in all"
        if cohort.classes
        else "are a straight line of the target"
    )
    message = (
        f"{len(found)} genes ({_named(cohort.features[found])}) {what}: they look like the target itself, not like something that was "
        "measured. Drop them, or the score is theirs."
    )
    return [finding("target among genes", "warning", message)]


def _first_of_each(target: np.ndarray) -> np.ndarray:
    """Positions of the first samples of each class."""
    code = pd.factorize(target)[0]
    return np.concatenate([np.flatnonzero(code == c)[:_TOLD_ROWS] for c in range(code.max() + 1)])


def _dense(X: Any) -> np.ndarray:
    return np.asarray(X.toarray() if sparse.issparse(X) else X, dtype=float)


def _tells(X: np.ndarray, target: np.ndarray, classes: tuple[str, ...]) -> np.ndarray:
    """Which columns follow from the target."""
    with np.errstate(all="ignore"):  # values near the largest number: what overflows is no straight line
        if not classes:
            y = np.asarray(target, dtype=float) - np.mean(np.asarray(target, dtype=float))
            gap = X - X.mean(axis=0)
            return np.asarray((y @ gap) ** 2 > 0.999999 * (y @ y) * (gap**2).sum(axis=0))
        parts = [X[target == name] for name in classes]
        if min(map(len, parts)) < _TOLD_FEWEST:
            return np.zeros(X.shape[1], dtype=bool)
        low, high = (np.array([end(part, axis=0) for part in parts]) for end in (np.min, np.max))
        return np.asarray((low == high).all(axis=0) & (low.min(axis=0) < low.max(axis=0)))


def values(cohort: Cohort) -> list[Finding]:
    """Missing values, empty samples, constant genes and the scale, also one that was set over all samples."""
    X, out = cohort.X, []
    stored = X.data if sparse.issparse(X) else X
    missing = np.isnan(X.toarray() if sparse.issparse(X) and np.isnan(stored).any() else stored)
    if missing.any():
        genes = int(missing.any(axis=0).sum())
        empty = int(missing.all(axis=0).sum())
        message = (
            f"{int(missing.sum())} missing values ({missing.sum() / missing.size:.2%}) in {genes} genes and "
            f"{int(missing.any(axis=1).sum())} samples; they are filled with the gene's median of the training part of each fold."
        )
        if empty:
            message += f" {empty} genes have no value at all."
        out.append(finding("missing values", "warning", message))
    low, high, zero_rows = _ranges(X)
    constant = int((~(low < high)).sum())
    if constant:
        out.append(finding("constant genes", "note", f"{constant} genes are constant and carry no information."))
    if zero_rows.any():
        message = (
            f"{int(zero_rows.sum())} samples hold nothing but zeros ({_named(cohort.samples[zero_rows])}); drop them."
        )
        out.append(finding("empty samples", "warning", message))
    lowest, highest = (float(np.nanmin(low)), float(np.nanmax(high))) if not np.isnan(low).all() else (0.0, 0.0)
    what = unlogged(stored, lowest, highest)
    if what:
        way = {"counts": "Use log counts per million: gb.pp.logcpm.", "intensities": "Take log2."}[what]
        out.append(finding("scale", "warning", f"{said_of(what, highest)} {way}"))
    if standardised(X):
        message = (
            "Genes have mean 0 and standard deviation 1 over these samples: they were standardised over all of them (sc.pp.scale?), so "
            "that training parts know of the samples held out, and a logFC is none. Use the logs: every model here scales inside the fold."
        )
        out.append(finding("scale", "warning", message))
    return out


def standardised(X: Any) -> bool:
    """Whether genes were standardised over exactly these samples: most of up to 500 have mean 0 and SD 1 (by n or n - 1)."""
    n, p = X.shape
    if sparse.issparse(X) or n < 4:
        return False
    part = np.asarray(X[:, np.unique(np.linspace(0, p - 1, min(p, _SCALED_GENES)).astype(int))], dtype=float)
    part = part[:, (np.abs(part) < 1e6).all(axis=0)]  # not missing, and of a scale of its own
    part = part[:, np.ptp(part, axis=0) > 0] if part.shape[1] else part
    sd = part.std(axis=0)
    centred = np.abs(part.mean(axis=0)) < 1e-3
    one = np.minimum(np.abs(sd - 1), np.abs(sd * np.sqrt(n / (n - 1)) - 1)) < 1e-3
    return bool(part.shape[1] >= _SCALED_FEWEST and (centred & one).mean() > 0.5)


def _ranges(X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least and largest value of each gene, and which samples are all zero; one pass over what is stored."""
    n, p = X.shape
    if not sparse.issparse(X):
        least: Any = np.fmin  # the lesser value that is not missing
        most: Any = np.fmax
        return least.reduce(X, axis=0), most.reduce(X, axis=0), ~np.any(X, axis=1)
    held = np.bincount(X.indices, minlength=p)
    low, high = np.zeros(p), np.zeros(p)
    full = held >= n  # no zero is left out of these
    low[full], high[full] = np.inf, -np.inf
    np.minimum.at(low, X.indices, X.data)
    np.maximum.at(high, X.indices, X.data)
    sums = np.asarray(abs(X).sum(axis=1)).ravel()
    return low, high, sums == 0


def _named(names: Iterable[object]) -> str:
    text = [str(name) for name in names]
    return ", ".join(text[:_SHOWN]) + (", ..." if len(text) > _SHOWN else "")


def duplicates(cohort: Cohort) -> list[Finding]:
    """Samples that are copies, or nearly, of others, on both sides of a fold.

    Up to 2,000 samples by correlation (of at most 2,000 genes, less the gene's mean: above 0.9999 a copy; less the mean of the
    class: above 0.98 nearly one); of more samples only those whose values are the same.
    """
    n, p = cohort.X.shape
    if p < 20:
        return []
    if n > _SIMILARITY_SAMPLES:
        return _told_copies(cohort, _same_values(cohort.X), "copies")
    step = max(1, p // _SIMILARITY_GENES)
    part = cohort.X[:, ::step]
    part = np.nan_to_num(part.toarray() if sparse.issparse(part) else np.asarray(part, dtype=float))
    some = part.any(axis=1)  # empty samples are told as such
    copies = np.triu(_correlated(part - part.mean(axis=0)) > _COPY_R, k=1) & some & some[:, None]
    out = _told_copies(cohort, np.argwhere(copies).T, "copies")
    if cohort.classes:
        for name in cohort.classes:
            rows = cohort.target == name
            part[rows] -= part[rows].mean(axis=0) if rows.any() else 0.0
    else:
        part -= part.mean(axis=0)
    near = np.triu(_correlated(part) > _NEAR_R, k=1) & ~copies & some & some[:, None]
    return out + _told_copies(cohort, np.argwhere(near).T, "near")


def _correlated(part: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(part, axis=1)
    part = part / np.where(norm > 1e-9, norm, np.inf)[:, None]
    return part @ part.T


def _same_values(X: Any) -> np.ndarray:
    """Pairs of rows that are equal: neighbours among rows sorted by a random combination of the genes."""
    weight = np.random.default_rng(0).normal(size=X.shape[1])
    mark = np.asarray((X if sparse.issparse(X) else np.nan_to_num(X)) @ weight).ravel()
    order = np.argsort(mark, kind="stable")
    ranked = mark[order]
    close = np.flatnonzero((np.abs(np.diff(ranked)) <= 1e-12 * np.abs(ranked[1:])) & (ranked[1:] != 0))
    first, second = np.minimum(order[close], order[close + 1]), np.maximum(order[close], order[close + 1])
    same = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if _equal(X, a, b)]
    by_name = np.lexsort((second[same], first[same]))
    return np.array([first[same][by_name], second[same][by_name]])


def _equal(X: Any, a: int, b: int) -> bool:
    if sparse.issparse(X):
        return bool((X[a] != X[b]).nnz == 0)
    return bool(np.array_equal(X[a], X[b], equal_nan=True))


def _told_copies(cohort: Cohort, pairs: np.ndarray, how: str) -> list[Finding]:
    rows, cols = pairs
    if cohort.groups is not None:  # within a group they are on one side of each fold
        groups = pd.factorize(cohort.groups)[0]
        apart = groups[rows] != groups[cols]
        rows, cols = rows[apart], cols[apart]
    if not len(rows):
        return []
    sign = "=" if how == "copies" else "~"
    first = [f"{cohort.samples[i]} {sign} {cohort.samples[j]}" for i, j in list(zip(rows, cols, strict=True))[:_SHOWN]]
    shown = f"{', '.join(first)}{', ...' if len(rows) > _SHOWN else ''}"
    of = " of different groups" if cohort.groups is not None else ""
    differ = int((cohort.target[rows] != cohort.target[cols]).sum()) if cohort.classes else 0
    if how == "copies":
        message = (
            f"{len(rows)} pairs of samples{of} are copies of each other ({shown}). A copy in the training part gives the "
            f"held-out answer away: drop them, or {'put' if of else 'name'} the pairs {'into one group' if of else 'as groups='}."
        )
    else:
        message = (
            f"{len(rows)} pairs of samples{of} are nearly the same (r > {_NEAR_R} within the class: {shown}): replicates of one "
            "donor? On both sides of a fold they make scores too good; name the donors as groups=."
        )
    if differ:
        message += f" {differ} of the pairs {'differ' if differ > 1 else 'differs'} in class."
    return [finding("duplicated samples" if how == "copies" else "similar samples", "warning", message)]
