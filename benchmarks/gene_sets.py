"""Does the test of gene sets keep its level, and what does it find? The table of docs/groups.md. About 10 minutes on one core.

Real models on simulated studies: correlated blocks whose genes have correlations of either sign, true genes that pay no regard to
them. Run: python benchmarks/gene_sets.py [number of studies]
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas as pd

import geneml_bio as gb
from geneml_bio.bridge.extract import extract_cohort
from geneml_bio.core.explain import explain
from geneml_bio.core.gene_groups import mean_abs
from geneml_bio.core.models import candidates
from geneml_bio.core.set_shap import reliance
from geneml_bio.core.set_test import competitive
from geneml_bio.core.validate import validate
from geneml_bio.core.within import Within

GENES, BLOCK = 2000, 20
HOW = {"screen": 100, "n_splits": 5, "n_repeats": 1, "tune": False, "n_jobs": 1, "progress": False}


def study(seed: int, n_true: int):
    """Scores of reliance of one study, its residual expression (unit length), and its degrees of freedom."""
    adata = gb.datasets.simulate(
        80, GENES, n_informative=n_true, effect=1.0, correlation=0.6, block_size=BLOCK, seed=seed
    )
    adata.X = adata.X * np.where(np.random.default_rng(seed).random(GENES) < 0.5, -1, 1)
    cohort = extract_cohort(adata, "target", task="classification")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = validate(cohort, candidates(["logistic", "random_forest"], "classification"), **HOW, seed=seed)
        shap = mean_abs(explain(result, cohort, progress=False).values)
    within = Within.of(80, cohort.target, cohort.classes)
    return adata, reliance(shap), within.unit(cohort.X, np.arange(GENES)), within.df + 1


def sets_of(adata, rng) -> dict[str, list[np.ndarray]]:
    """Sets of which none has more signal than others, and planted ones."""
    block = adata.var["block"].to_numpy()
    blocks = [np.flatnonzero(block == b) for b in range(GENES // BLOCK)]
    order = rng.permutation(len(blocks))
    out = {f"{m} random": [rng.choice(GENES, m, replace=False) for _ in range(50)] for m in (5, 15, 50, 150)}
    out["block"] = blocks
    out["3 half blocks"] = [
        np.concatenate([rng.permutation(blocks[b])[:10] for b in order[k : k + 3]]) for k in range(0, 99, 3)
    ]
    true, other = np.flatnonzero(adata.var["informative"]), np.flatnonzero(~adata.var["informative"])
    for hits, size in ((10, 20), (5, 20), (5, 50)) if len(true) else ():
        out[f"planted {hits} of {size}"] = [
            np.r_[rng.choice(true, hits, replace=False), rng.choice(other, size - hits, replace=False)]
            for _ in range(10)
        ]
    return out


def main(n_studies: int = 40) -> None:
    """Print the share of p-values at or below 0.05 and 0.01, for each kind of set."""
    rows = []
    for n_true in (0, 30):
        for seed in range(n_studies):
            adata, scores, unit, df = study(seed, n_true)
            for kind, sets in sets_of(adata, np.random.default_rng(1000 + seed)).items():
                squares = [((unit[:, s].T @ unit[:, s]) ** 2).sum() for s in sets]
                mean = np.array(
                    [(total - len(s)) / (len(s) * (len(s) - 1)) for total, s in zip(squares, sets, strict=True)]
                )
                r = np.maximum((df * mean - 1) / (df - 1), 0)
                made, plain = competitive(scores, sets, r), competitive(scores, sets, 0.0)
                for name, p in (("p", made.p_value), ("normal tail", made.p_normal), ("no correlation", plain.p_value)):
                    rows += [(n_true, kind, name, value) for value in p]
    frame = pd.DataFrame(rows, columns=["true genes", "sets", "test", "p"])
    by = frame.groupby(["sets", "true genes", "test"], sort=False)["p"]
    table = by.agg(n="size", at_05=lambda p: (p <= 0.05).mean(), at_01=lambda p: (p <= 0.01).mean())
    print(table.round(4).to_string())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
