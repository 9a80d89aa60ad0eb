"""The moderated statistics: against limma in R, against scanpy, over folds and permutations, and how their cost grows."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse
from sides import Side, r_side, side, verdict

SIZES = ((79, 12_625, 2), (1_000, 20_000, 4), (5_000, 20_000, 4))
GOALS = (5, 25, 40)
CELLS = (200_000, 3_000, 0.07)


def _data(n: int, p: int, k: int) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame, pd.Index]:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, p))
    X += 8
    columns = {"c1": np.ones(n), "c2": np.arange(n) % 2.0} | {f"c{j}": rng.normal(size=n) for j in range(3, k + 1)}
    design = pd.DataFrame(columns)
    weights = pd.DataFrame({"c2": (np.arange(k) == 1).astype(float)}, index=design.columns)
    return X, design, weights, pd.Index([f"g{i}" for i in range(p)], dtype=str)


def ours_table(n: int, p: int, k: int) -> Callable[[], Any]:
    """lmFit, contrasts.fit, eBayes and topTable of the native engine."""
    from geneml_bio.core.limma import native_limma

    X, design, weights, names = _data(n, p, k)
    return lambda: native_limma(X, design, weights, names)


def bridge_fit(n: int, p: int, k: int) -> Callable[[], Any]:
    """The fit through rpy2, as the engine ``"r"`` does it."""
    from geneml_bio.bridge import r_limma

    X, design, weights, _ = _data(n, p, k)
    r_limma._fit(X[:20], design[:20], weights, None)  # starts R, which the other side does not count either
    return lambda: r_limma._fit(X, design, weights, None)


def _cells() -> tuple[sparse.csr_matrix, np.ndarray]:
    n, p, share = CELLS
    rng = np.random.default_rng(0)
    X = sparse.random(n, p, share, format="csr", random_state=rng, dtype=np.float32)
    X.data = np.log1p(rng.poisson(2, X.nnz) + 1).astype(np.float32)
    return X, rng.integers(0, 2, n)


def ours_cells() -> Callable[[], Any]:
    """Moderated t and p-values of two groups of cells, never densified."""
    from geneml_bio.core.moderated import contrasts_fit, e_bayes, lm_fit

    X, group = _cells()
    design = np.column_stack([np.ones(len(group)), group])
    return lambda: e_bayes(contrasts_fit(lm_fit(X, design), [[0.0], [1.0]])).p_value is None


def scanpy_cells() -> Callable[[], Any]:
    """The t-test of scanpy on the same."""
    import anndata as ad
    import scanpy as sc

    warnings.simplefilter("ignore")
    X, group = _cells()
    obs = pd.DataFrame({"g": pd.Categorical(np.where(group, "b", "a"))}, index=[str(i) for i in range(len(group))])
    adata = ad.AnnData(X, obs=obs)
    return lambda: sc.tl.rank_genes_groups(adata, "g", groups=["b"], reference="a", method="t-test")


def _nested(y: np.ndarray, outer: int = 5, inner: int = 5) -> list[np.ndarray]:
    from sklearn.model_selection import StratifiedKFold

    sets = []
    for k, (train, _) in enumerate(StratifiedKFold(outer, shuffle=True, random_state=0).split(y, y)):
        sets.append(train)
        parts = StratifiedKFold(inner, shuffle=True, random_state=k).split(train, y[train]) if inner else ()
        sets += [train[rows] for rows, _ in parts]
    return sets


def _folds(
    n: int, p: int, sets: Callable[[np.ndarray], list[np.ndarray]], kind: str = "classes"
) -> tuple[np.ndarray, np.ndarray, list[Any]]:
    from geneml_bio.core.screen import design_of
    from geneml_bio.core.shared_screen import Ask

    X = _data(n, p, 2)[0]
    rng = np.random.default_rng(2)
    y = rng.permutation(np.arange(n) % 2)
    task, target = ("regression", rng.normal(size=n)) if kind == "numbers" else ("classification", y)
    known = rng.normal(size=(n, 1)) if kind == "a covariate" else None
    return X, target, [Ask(i, *design_of(target[i], task, None if known is None else known[i])) for i in sets(y)]


def once(n: int, p: int, kind: str = "classes") -> Callable[[], Any]:
    """A single fit to all samples by the engine alone: the least that one pass over the data costs."""
    from geneml_bio.core.moderated import contrasts_fit, e_bayes, lm_fit

    X, _, (whole,) = _folds(n, p, lambda y: [np.arange(n)], kind)
    pick = np.eye(whole.design.shape[1])[:, 1:2]
    return lambda: e_bayes(contrasts_fit(lm_fit(X, whole.design), pick), lods=False) is None


def screen_once(n: int, p: int, kind: str = "classes") -> Callable[[], Any]:
    """A single fit to all samples by the estimator, which looks at the data first, as anyone would call it."""
    from geneml_bio.core.screen import ModeratedScreen

    X, target, (whole,) = _folds(n, p, lambda y: [np.arange(n)], kind)
    task = "regression" if kind == "numbers" else "classification"
    known = whole.design[:, 2:] if kind == "a covariate" else None
    return lambda: ModeratedScreen(task=task).fit(X, target, known) is None


def shared_folds(n: int, p: int, outer: int = 5, inner: int = 5, kind: str = "classes") -> Callable[[], Any]:
    """The statistic in all training parts of a nested cross-validation, in shared passes."""
    from geneml_bio.core.shared_screen import moderated_statistics

    X, _, asks = _folds(n, p, lambda y: _nested(y, outer, inner), kind)
    return lambda: sum(1 for _ in moderated_statistics(X, asks))


def fold_by_fold(n: int, p: int) -> Callable[[], Any]:
    """The same, each training part fitted by itself."""
    from geneml_bio.core.screen import ModeratedScreen

    X, y, asks = _folds(n, p, _nested)
    return lambda: [ModeratedScreen().fit(X[ask.rows], y[ask.rows]) for ask in asks] and None


def permutations(n: int, p: int, count: int) -> Callable[[], Any]:
    """The statistic under permuted targets."""
    from geneml_bio.core.shared_screen import moderated_statistics

    rng = np.random.default_rng(0)
    X, _, asks = _folds(n, p, lambda y: [np.arange(n)])
    asks = [ask._replace(design=ask.design[rng.permutation(n)]) for ask in asks for _ in range(count)]
    return lambda: sum(1 for _ in moderated_statistics(X, asks))


def limma_loop(n: int, p: int, count: int) -> Callable[[], Any]:
    """The same in a loop over limma through rpy2."""
    from geneml_bio.bridge.r_limma import limma_fit

    X, design, weights, names = _data(n, p, 2)
    rng = np.random.default_rng(0)

    def work() -> None:
        for _ in range(count):
            shuffled = design.assign(c2=rng.permutation(design["c2"].to_numpy()))
            limma_fit(X, shuffled, weights, names)

    return work


def imports(name: str) -> float:
    """Seconds of an import in a fresh process, less those of an empty one; the best of five."""

    def spent(code: str) -> float:
        start = perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return perf_counter() - start

    return min(spent(f"import {name}") for _ in range(5)) - min(spent("pass") for _ in range(5))


def row(work: str, ours: Side, peer: str, theirs: Side, goal: str, factor: float = 1.0) -> str:
    """A row of the table; ``factor``: how many times of what was measured the other would have to do."""
    spent = f"{theirs.seconds * factor:.3g}{' (from ' + f'{theirs.seconds:.3g})' if factor != 1 else ''}"
    return (
        f"| {work} | {ours.seconds:.3g} | {ours.extra:.0f} | {peer} | {spent} | {theirs.extra:.0f} | "
        f"{verdict(theirs.seconds * factor / ours.seconds, goal)} | {goal} |"
    )


HEAD = "| work | seconds | extra MB | against | seconds | extra MB | times as fast | to reach |\n|---|---|---|---|---|---|---|---|"


def exponents() -> str:
    """How the cost grows: slopes of log time over log size, over the last two of growing sizes."""

    def slope(function: str, sizes: list[int], *args: Callable[[int], int]) -> str:
        times = [side("moderated", function, *(arg(size) for arg in args), threads=1).seconds for size in sizes]
        fitted = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        return f"{fitted:.2f} ({' '.join(f'{t:.3g}' for t in times)} s at {' '.join(f'{s:,}' for s in sizes)})"

    def fixed(value: int) -> Callable[[int], int]:
        return lambda _: value

    def same(size: int) -> int:
        return size

    rows = [
        ("one fit, over samples", slope("once", [500, 1000, 2000, 4000], same, fixed(10_000))),
        ("one fit, over genes", slope("once", [5_000, 10_000, 20_000, 40_000], fixed(500), same)),
        (
            "folds of one cross-validation",
            slope("shared_folds", [5, 10, 20, 40], fixed(200), fixed(20_000), same, fixed(0)),
        ),
        ("permutations", slope("permutations", [50, 100, 200, 400], fixed(79), fixed(12_625), same)),
    ]
    lines = [f"| {name} | {told} |" for name, told in rows]
    return "\n".join(["| cost of | exponent |", "|---|---|", *lines])


def measure() -> str:
    """The section of the page."""
    lines = [HEAD]
    for (n, p, k), goal in zip(SIZES, GOALS, strict=True):
        ours = side("moderated", "ours_table", n, p, k, repeats=25 if n < 500 else 7)
        theirs = r_side("limma.R", "table", n, p, k, repeats=7 if n < 500 else 3 if n < 5000 else 1)
        lines.append(row(f"topTable, {p:,} x {n:,}, {k} columns", ours, "limma in R", theirs, f"{goal}"))
    lines.append(row("t of cells, CSR 200,000 x 3,000, 7 %", side("moderated", "ours_cells", repeats=7), "scanpy's t-test",
                     side("moderated", "scanpy_cells"), "1"))  # fmt: skip
    many = side("moderated", "permutations", 79, 12_625, 1000)
    loop = side("moderated", "limma_loop", 79, 12_625, 10)
    lines.append(
        row("t under 1,000 permutations, 12,625 x 79", many, "a loop over limma through rpy2", loop, "80", 100.0)
    )
    for n, p in ((79, 12_625), (200, 50_000), (1_000, 20_000), (5_000, 20_000)):
        repeats = 25 if n < 500 else 7
        for kind in ("classes", "numbers", "a covariate") if n < 5_000 else ("classes",):
            ours = side("moderated", "shared_folds", n, p, 5, 5, kind, repeats=repeats)
            work = f"t in 25 + 5 training parts, {p:,} x {n:,}, {kind}"
            if n in (79, 1_000) and kind == "classes":
                lines.append(row(work, ours, "one fit a part", side("moderated", "fold_by_fold", n, p), ""))
            for peer, told in (
                ("screen_once", "a single fit (ModeratedScreen)"),
                ("once", "a single fit (engine alone)"),
            ):
                lines.append(row(work, ours, told, side("moderated", peer, n, p, kind, repeats=repeats), "0.5"))
    text = ["\n".join(lines), ""]
    for n, p, k in SIZES:
        repeats = 7 if n < 500 else 3 if n < 5000 else 1
        through = side("moderated", "bridge_fit", n, p, k, repeats=repeats)
        inside = r_side("limma.R", "fit", n, p, k, repeats=repeats)
        more = through.seconds / inside.seconds - 1
        text.append(
            f"The fit through rpy2 ({p:,} x {n:,}) takes {through.seconds:.3g} s, in R alone {inside.seconds:.3g} s: conversion "
            f"adds {more:.0%} ({'to reach: less than 30 %' if more < 0.3 else 'missed'})."
        )
    own, theirs = imports("geneml_bio"), imports("scanpy")
    text.append(
        f"`import geneml_bio` takes {own:.3f} s, `import scanpy` {theirs:.2f} s: 1/{theirs / own:.0f} (to reach: 1/5)."
    )
    return "\n\n".join(["\n".join(text[:1]), *text[2:], exponents()])
