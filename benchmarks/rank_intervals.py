"""Do intervals of the rank hold? Simulated studies drawn anew, each with its own interval (docs: explain).

    python benchmarks/rank_intervals.py [studies]

Prints, for genes by the size of their effect, how often the interval of one study holds the rank of the gene's mean |SHAP| over all
studies, and its rank in the next study, and how wide it is.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from geneml_bio.core.explain import explain
from geneml_bio.core.models import candidates
from geneml_bio.core.schema import Cohort
from geneml_bio.core.validate import validate

SAMPLES, GENES, TRUE = 80, 300, np.arange(0, 200, 10)
EFFECTS = np.linspace(1.6, 0.1, len(TRUE))


def study(seed: int) -> Cohort:
    """Two classes; blocks of ten correlated genes, the first of each of twenty blocks with an effect."""
    rng = np.random.default_rng(seed)
    code = np.arange(SAMPLES) % 2
    X = (
        rng.normal(size=(SAMPLES, GENES)) * 0.8
        + rng.normal(size=(SAMPLES, GENES // 10))[:, np.arange(GENES) // 10] * 0.6
    )
    X[:, TRUE] += EFFECTS * code[:, None]
    names = pd.Index([f"g{i}" for i in range(GENES)]), pd.Index([f"s{i}" for i in range(SAMPLES)])
    return Cohort(X, *names, np.array(["a", "b"], dtype=object)[code], ("a", "b"))


def table(models: list[str], count: int) -> pd.DataFrame:
    """Coverage and width by the strength of genes."""
    frames = []
    for seed in range(count):
        cohort = study(1000 + seed)
        how = {"screen": 40, "n_splits": 5, "n_repeats": 3, "tune": False, "progress": False, "n_jobs": 1}
        validation = validate(cohort, candidates(models, "classification"), **how)
        frames.append(explain(validation, cohort, progress=False).per_gene)
    rank, low, high, size = (np.array([f[c] for f in frames]) for c in ("shap_rank", "rank_low", "rank_high", "shap"))
    over_all = pd.Series(-size.mean(axis=0)).rank(method="min").to_numpy()
    ranked = np.isfinite(rank)
    following = np.roll(np.where(ranked, rank, GENES), -1, axis=0)
    holds = np.where(ranked, (low <= over_all) & (over_all <= high), np.nan)
    next_one = np.where(ranked, (low <= following) & (following <= high), np.nan)
    null = np.setdiff1d(np.arange(GENES), TRUE)
    parts = {"six strongest": TRUE[:6], "seven next": TRUE[6:13], "seven weakest": TRUE[13:], "no effect": null}
    rows = [
        {
            "genes": name,
            "over all": np.nanmean(holds[:, g]),
            "next": np.nanmean(next_one[:, g]),
            "width": np.nanmean((high - low)[:, g]),
        }
        for name, g in parts.items()
    ]
    top = rank <= 10
    rows.append(
        {
            "genes": "ten first",
            "over all": holds[top].mean(),
            "next": next_one[top].mean(),
            "width": (high - low)[top].mean(),
        }
    )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    for chosen in (["logistic"], ["logistic", "xgboost"]):
        print(", ".join(chosen))
        print(table(chosen, int(sys.argv[1]) if len(sys.argv) > 1 else 40).round(2).to_string(index=False), flush=True)
