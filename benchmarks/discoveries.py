"""The numbers of docs/discoveries.md: one command, run by hand.

    python benchmarks/discoveries.py                                # all studies that are not there yet, then the page's table
    python benchmarks/discoveries.py --scenarios classes-60 --seconds 400     # part of it, for so long
    python benchmarks/discoveries.py --table                        # only the table, from what is there

Each study is kept in the folder as soon as it is done; a run that was interrupted goes on from it.
"""

from __future__ import annotations

import argparse
import re
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import lars_path
from threadpoolctl import threadpool_limits

from geneml_bio.core.discoveries import Tally
from geneml_bio.core.knockoffs import knockoffs
from geneml_bio.core.pvalues import adjust_bh
from geneml_bio.core.resample import make_folds, permute
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.simulation import Plan, simulate_arrays
from geneml_bio.core.squeeze import squeeze_var, two_sided_p

PAGE = Path(__file__).parents[1] / "docs" / "discoveries.md"
N_PERMUTATIONS, N_SPLITS, N_PAIRS = 100, 5, 25
CLASSES = ("a", "b")


@dataclass(frozen=True)
class Study:
    """A simulated study: the target as codes or numbers; true genes; and the genes that count as right for a block of genes."""

    X: np.ndarray
    y: np.ndarray
    true: np.ndarray
    near: np.ndarray
    classes: tuple[str, ...] = ()
    groups: np.ndarray | None = None

    @property
    def target(self) -> np.ndarray:
        """The target as the package takes it."""
        return np.array(self.classes, dtype=object)[self.y] if self.classes else self.y


# -- scenarios ---------------------------------------------------------------------------------------------------------


def marginal(
    seed: int, *, n: int, p: int, n_true: int, effect: float, r: float, classes: bool, donors: int = 0
) -> Study:
    """Genes shift with the target (as ``gb.datasets.simulate``); noise correlated in blocks of 20 genes."""
    truth, drawn, _ = simulate_arrays(
        n, 0, Plan((0.5, 0.5) if classes else ()), n_donors=donors, test_batches="same", seed=seed, n_genes=p,
        n_informative=n_true, effect=effect, effect_spread=0.3, correlation=r, block_size=20,
        donor_sd=0.7 if donors else 0.0, batch_effect=0.0,
    )  # fmt: skip
    true = (truth.effects != 0).any(axis=1)
    return Study(drawn.X, drawn.target, true, true, CLASSES if classes else (), drawn.donor if donors else None)


def causal(seed: int, *, n: int, p: int, n_true: int, r: float, classes: bool, kind: str, strength: float) -> Study:
    """The target is made of ``n_true`` genes by a linear (logistic) model; genes correlate in blocks of 10 or as AR(1)."""
    rng = np.random.default_rng([seed, 77])
    z = rng.normal(size=(n, p))
    if kind == "ar1":
        X = z.copy()
        for j in range(1, p):
            X[:, j] = r * X[:, j - 1] + np.sqrt(1 - r**2) * z[:, j]
        close = int(np.floor(np.log(0.3) / np.log(r)))  # as far as the correlation is 0.3 or more
        place = np.arange(p)
    else:
        X = np.sqrt(r) * np.repeat(rng.normal(size=(n, p // 10)), 10, axis=1) + np.sqrt(1 - r) * z
        close, place = 0, np.arange(p) // 10
    chosen = np.linspace(0, p - 1, n_true).astype(int)
    beta = np.zeros(p)
    beta[chosen] = rng.choice([-1.0, 1.0], n_true) * rng.uniform(0.7, 1.3, n_true)
    signal = X @ beta
    signal *= strength / signal.std()
    near = np.abs(place[:, None] - place[chosen][None, :]).min(axis=1) <= close
    chance = 1 / (1 + np.exp(-(signal - np.median(signal))))
    y = (rng.uniform(size=n) < chance).astype(int) if classes else signal + rng.normal(size=n)
    return Study(X, y, beta != 0, near, CLASSES if classes else ())


SCENARIOS: dict[str, tuple[str, Callable[..., Study], dict[str, Any]]] = {
    "classes-60": ("2 classes, n = 60, 2,000 genes, 20 shift by 1.2 sd", marginal,
                   {"n": 60, "p": 2000, "n_true": 20, "effect": 1.2, "r": 0.3, "classes": True}),
    "classes-100": ("2 classes, n = 100, 5,000 genes, 50 shift by 0.9 sd", marginal,
                    {"n": 100, "p": 5000, "n_true": 50, "effect": 0.9, "r": 0.5, "classes": True}),
    "classes-200": ("2 classes, n = 200, 10,000 genes, 30 shift by 0.6 sd", marginal,
                    {"n": 200, "p": 10000, "n_true": 30, "effect": 0.6, "r": 0.5, "classes": True}),
    "number-100": ("a number, n = 100, 2,000 genes, 30 follow it with slope 0.4", marginal,
                   {"n": 100, "p": 2000, "n_true": 30, "effect": 0.4, "r": 0.5, "classes": False}),
    "donors-120": ("2 classes, 24 donors x 5 samples, 2,000 genes, 30 shift by 1.5 sd", marginal,
                   {"n": 120, "p": 2000, "n_true": 30, "effect": 1.5, "r": 0.3, "classes": True, "donors": 24}),
    "none-80": ("2 classes, n = 80, 2,000 genes, none shifts", marginal,
                {"n": 80, "p": 2000, "n_true": 0, "effect": 0.0, "r": 0.5, "classes": True}),
    "causal-blocks-200": ("a number made of 20 of 2,000 genes, n = 200, blocks of 10 with r = 0.5", causal,
                          {"n": 200, "p": 2000, "n_true": 20, "r": 0.5, "classes": False, "kind": "blocks", "strength": 3.0}),
    "causal-ar1-200": ("a number made of 20 of 2,000 genes, n = 200, neighbours with r = 0.5 (AR(1))", causal,
                       {"n": 200, "p": 2000, "n_true": 20, "r": 0.5, "classes": False, "kind": "ar1", "strength": 3.0}),
    "causal-classes-200": ("2 classes made of 20 of 2,000 genes (logistic), n = 200, blocks of 10 with r = 0.5", causal,
                           {"n": 200, "p": 2000, "n_true": 20, "r": 0.5, "classes": True, "kind": "blocks", "strength": 6.0}),
}  # fmt: skip


# -- methods: a score for each gene (larger: more likely), and which genes are called ----------------------------------


def in_fold_t(study: Study, runs: list[tuple[int, np.ndarray]]) -> np.ndarray:
    """Summary of each gene in each run (run number, target), as ``classify`` makes it: runs x genes.

    The moderated t of all folds and runs from three matrix products; tests hold it against ``classify``.
    """
    weights, centred = [], []
    for run, y in runs:
        target = np.array(study.classes, dtype=object)[y] if study.classes else y
        for fold in make_folds(target, study.classes, study.groups, run=run, n_splits=N_SPLITS, seed=0):
            w = np.zeros(len(y))
            w[fold.train] = 1.0
            weights.append(w)
            centred.append(w * (y - y[fold.train].mean()))
    W, Z = np.array(weights), np.array(centred)
    X = study.X - study.X.mean(axis=0)
    n, size = W.sum(axis=1)[:, None], (Z**2).sum(axis=1)[:, None]
    slope = (Z @ X) / size
    s2 = (W @ X**2 - (W @ X) ** 2 / n - slope**2 * size) / (n - 2)
    t = np.array(
        [b / np.sqrt(squeeze_var(v, m - 2)[0] / k) for b, v, m, k in zip(slope, s2, n[:, 0], size, strict=True)]
    )
    return np.abs(t.reshape(len(runs), -1, t.shape[1]).mean(axis=1))


def empirical(study: Study, seed: int) -> Any:
    """``empirical_q`` of the package."""
    rngs = [np.random.default_rng([seed, b]) for b in range(N_PERMUTATIONS)]
    drawn = [permute(study.y, study.groups, rng, numeric=not study.classes) for rng in rngs]
    tally = Tally(in_fold_t(study, [(0, study.y)])[0])
    for start in range(0, N_PERMUTATIONS, 20):
        for row in in_fold_t(study, [(b, drawn[b]) for b in range(start, start + 20)]):
            tally.add(row)
    return tally


def moderated(study: Study) -> np.ndarray:
    """p-values of the moderated t on all samples, which counts each sample as independent."""
    screen = ModeratedScreen("all", task="classification" if study.classes else "regression").fit(study.X, study.y)
    return two_sided_p(screen.statistic_, min(len(study.y) - 2 + screen.df_prior_, 1e9))


def stability_selection(study: Study, seed: int) -> np.ndarray:
    """Share of half samples whose LASSO path takes the gene up among its first q: complementary pairs, by classes.

    Shah and Samworth (2013); the classes are fitted as numbers. q is such that at a share of 0.6 no more than one null gene is
    expected (Meinshausen and Buhlmann 2010).
    """
    rng = np.random.default_rng([seed, 5])
    n, p = study.X.shape
    q = int(np.sqrt(0.2 * p))
    X = (study.X - study.X.mean(axis=0)) / study.X.std(axis=0)
    chosen = np.zeros(p)
    for _ in range(N_PAIRS):
        half = np.zeros(n, dtype=bool)
        parts = [np.flatnonzero(study.y == c) for c in (0, 1)] if study.classes else [np.arange(n)]
        for rows in parts:
            half[rng.permutation(rows)[: len(rows) // 2]] = True
        for rows in (half, ~half):
            own = X[rows] - X[rows].mean(axis=0)
            _, active, _ = lars_path(
                own, study.y[rows] - study.y[rows].mean(), method="lasso", max_iter=q, Gram=None, return_path=False
            )
            chosen[active] += 1
    return chosen / (2 * N_PAIRS)


# -- one study, and the table ------------------------------------------------------------------------------------------

METHODS = {
    "ours": "`empirical_q` <= 0.1",
    "knockoffs": "`gb.tl.knockoffs`, fdr 0.1",
    "moderated": "moderated t, BH 0.1",
    "moderated*": "moderated t at the FDP of `empirical_q`",
    "stability": "LASSO stability selection, share >= 0.6",
    "stability*": "LASSO stability selection at the FDP of `empirical_q`",
    "moderated+": "moderated t at the FDP of knockoffs",
    "stability+": "LASSO stability selection at the FDP of knockoffs",
}
TOP = 400  # ranks that are kept of each study


def one(name: str, seed: int) -> dict[str, np.ndarray]:
    """What every method says of one study: for each, the scores of its first genes, and whether they are right."""
    _, make, how = SCENARIOS[name]
    study = make(seed, **how)
    p = moderated(study)
    shares = stability_selection(study, seed)
    found = empirical(study, seed).result()
    looked = np.sort(np.argsort(-study.X.var(axis=0), kind="stable")[:5000])  # the default of gb.tl.knockoffs
    q = np.ones(len(p))
    X, y = study.X[:, looked], study.y.astype(float)
    if study.groups is not None:
        code = pd.factorize(study.groups)[0]
        X, y = pd.DataFrame(X).groupby(code).mean().to_numpy(), pd.Series(y).groupby(code).first().to_numpy()
    q[looked] = knockoffs(X, y, seed=seed).q
    scores = {"ours": -found.q, "knockoffs": -q, "moderated": -adjust_bh(p), "moderated_p": -p, "stability": shares}
    out = {"n_true": np.array(study.true.sum())}
    for method, score in scores.items():
        first = np.argsort(-score, kind="stable")[:TOP]
        out |= {
            f"{method}_score": score[first],
            f"{method}_true": study.true[first],
            f"{method}_near": study.near[first],
        }
    return out


CUT = {"ours": -0.1, "knockoffs": -0.1 - 1e-9, "moderated": -0.1, "stability": 0.6}


def judged(parts: list[dict[str, np.ndarray]], method: str, cut: float) -> pd.DataFrame:
    """``fdp near power called`` of each study with everything that scores at least ``cut``."""
    rows = []
    for part in parts:
        called = part[f"{method}_score"] >= cut
        n, right = max(int(called.sum()), 1), int((called & part[f"{method}_true"]).sum())
        wrong, far = int(called.sum()) - right, int((called & ~part[f"{method}_near"]).sum())
        power = right / int(part["n_true"]) if part["n_true"] else np.nan
        rows.append({"fdp": wrong / n, "near": far / n, "power": power, "called": int(called.sum())})
    return pd.DataFrame(rows)


def matched(parts: list[dict[str, np.ndarray]], method: str, fdp: float) -> pd.DataFrame:
    """The same at the one cut for all studies whose mean FDP comes nearest to ``fdp`` from below (ties: from above too)."""
    every = np.unique(np.concatenate([part[f"{method}_score"] for part in parts]))[::-1]
    tried = every[np.unique(np.geomspace(1, len(every), 800).astype(int) - 1)]
    best = judged(parts, method, np.inf)
    for cut in tried:
        table = judged(parts, method, cut)
        if table["fdp"].mean() <= fdp + 0.002 and table["power"].mean() >= best["power"].mean():
            best = table
    return best


def tables(folder: Path) -> str:
    """Markdown: one table a scenario."""
    out = []
    for name, (words, _, _) in SCENARIOS.items():
        parts = [dict(np.load(path)) for path in sorted(folder.glob(f"{name}.*.npz"))]
        if not parts:
            continue
        rows = {method: judged(parts, method, CUT[method]) for method in CUT}
        if parts[0]["n_true"]:
            fdp = float(rows["ours"]["fdp"].mean())
            rows |= {"moderated*": matched(parts, "moderated_p", fdp), "stability*": matched(parts, "stability", fdp)}
        causes = name.startswith("causal")
        if causes and rows["knockoffs"]["called"].any():
            fdp = float(rows["knockoffs"]["fdp"].mean())
            rows |= {"moderated+": matched(parts, "moderated_p", fdp), "stability+": matched(parts, "stability", fdp)}
        out += [f"**{words[0].upper()}{words[1:]}** ({len(parts)} studies)", ""]
        causes = name.startswith("causal")
        out += [
            "| method | genes called | FDP | power |" + (" FDP by block |" if causes else ""),
            "|---|---|---|---|" + "---|" * causes,
        ]
        for method in METHODS:
            if method in rows:
                out.append(_row(METHODS[method], rows[method], causes))
        out.append("")
    return "\n".join(out)


def _row(words: str, table: pd.DataFrame, causes: bool) -> str:
    def cell(name: str) -> str:
        if table[name].isna().all():
            return "-"
        return f"{table[name].mean():.3f} ± {table[name].sem():.3f}"

    more = f" {cell('near')} |" if causes else ""
    return f"| {words} | {table['called'].mean():.1f} | {cell('fdp')} | {cell('power')} |{more}"


def main() -> None:
    """Run what is asked for, and write the tables into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--studies", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop after so long")
    parser.add_argument("--folder", type=Path, default=Path("discoveries-results"))
    parser.add_argument("--table", action="store_true", help="only write the tables")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + asked.seconds
    for seed in range(0 if asked.table else asked.studies):
        for name in asked.scenarios:
            path = asked.folder / f"{name}.{seed:03d}.npz"
            if path.exists() or time.monotonic() > end:
                continue
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                np.savez_compressed(path, **one(name, seed))
    text = PAGE.read_text()
    marks = "<!-- results -->", "<!-- end of results -->"
    inner = re.compile(f"(?<={marks[0]}\n).*?(?={marks[1]})", re.S)
    PAGE.write_text(inner.sub(lambda _: "\n" + tables(asked.folder) + "\n", text))


if __name__ == "__main__":
    main()
