"""The numbers of docs/quality.md: one command, run by hand.

    python benchmarks/quality.py                              # everything that is not there yet, then the tables of the page
    python benchmarks/quality.py --parts agreement null       # only these
    python benchmarks/quality.py --studies 400 --folder out   # more simulated studies, kept elsewhere

Parts: ``agreement`` (published data, against a loop of scikit-learn), ``null`` (permuted labels, every model),
``coverage`` and ``nested`` (intervals, simulated studies), ``winner`` (the best of k models). Each result is kept in the folder as soon
as it is there; a run that was interrupted goes on from it. The tables are written between the marks in docs/quality.md.
"""

from __future__ import annotations

import argparse
import platform
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import published_data
import simulated_choices
import simulated_studies
import sklearn
from threadpoolctl import threadpool_limits

import geneml_bio as gb
from geneml_bio.core.intervals import corrected, interval, resamples, widening
from geneml_bio.core.registry import REGISTRY

PAGE = Path(__file__).parents[1] / "docs" / "quality.md"
B = 400

# -- permuted labels ---------------------------------------------------------------------------------------------------


def null(model: str, task: str, n_studies: int = 30) -> pd.DataFrame:
    """Balanced accuracy, or R2, of a model on studies with signal whose labels are permuted."""
    run = gb.tl.classify if task == "classification" else gb.tl.regress
    metric, chance = ("balanced_accuracy", 0.5) if task == "classification" else ("r2", 0.0)
    got, covered = [], []
    for seed in range(n_studies):
        adata = gb.datasets.simulate(60, 300, task=task, seed=seed)
        adata.obs["target"] = np.random.default_rng(seed).permutation(adata.obs["target"].to_numpy())
        key = "null"
        run(
            adata, "target", models=[model], screen=50, n_repeats=1, tune=False, n_jobs=1, progress=False, key_added=key
        )
        row = gb.get.metrics(adata, key).set_index("metric").loc[metric]
        got.append(row["value"])
        covered.append(row["low"] <= chance <= row["high"] if task == "classification" else row["low"] <= chance)
    error = np.std(got, ddof=1) / np.sqrt(n_studies)
    row = {
        "task": task,
        "model": model,
        "metric": metric,
        "chance": chance,
        "mean": np.mean(got),
        "standard error": error,
    }
    return pd.DataFrame([row | {"studies": n_studies, "interval holds chance, or lies below it": np.mean(covered)}])


# -- intervals ---------------------------------------------------------------------------------------------------------

SHOWN = {
    True: ("balanced_accuracy", "accuracy", "mcc", "f1", "roc_auc", "pr_auc", "brier", "log_loss"),
    False: ("r2", "rmse", "mae", "spearman"),
}


def _plain_percentiles(study: dict[str, Any], groups: np.ndarray | None, seed: int) -> dict[str, np.ndarray]:
    """Bootstrap of out-of-fold predictions, of samples or groups."""
    n, rng = len(study["y"]), np.random.default_rng(seed)
    code = np.arange(n) if groups is None else groups
    units = code.max() + 1
    w = rng.multinomial(units, np.full(units, 1 / units), B)[:, code].astype(float)
    parts = [simulated_studies.scores_of(study["y"], made, w) for made in study["oof"]]
    return {m: np.nanmean([part[m] for part in parts], axis=0) for m in parts[0]}


def coverage_of(name: str, n_studies: int, folder: Path) -> pd.DataFrame:
    """Share of studies whose interval holds the true score of the fold models; widths; the model of all samples beside it."""
    s, rows = simulated_studies.SCENARIOS[name], []
    for seed, study in enumerate(simulated_studies.studies(name, n_studies, folder)):
        y, groups, k = study["y"], study["groups"] if s.donors else None, len(s.shares)
        drawn, widen = resamples(s.n, k, groups, B, seed), widening(y, groups, classes=bool(k))
        pieces = [(drawn.of(np.arange(s.n), y, made), simulated_studies.scores_of(y, made)) for made in study["oof"]]
        again = [simulated_studies.scores_of(observed, made, w) for (w, observed, made), _ in pieces]
        plain = _plain_percentiles(study, groups, seed)
        for m in SHOWN[bool(k)]:
            value = float(np.mean([point[m][0] for _, point in pieces]))
            low, high = interval(m, value, np.mean([a[m] for a in again], axis=0), widen=widen)
            was = np.nanquantile(plain[m], [0.025, 0.975])
            true, final = study["true"][m], study["final"][m]
            rows.append(
                {"scenario": name, "metric": m, "estimate": value, "true": true, "covers": low <= true <= high}
                | {"width": high - low, "plain covers": was[0] <= true <= was[1], "plain width": was[1] - was[0]}
                | {"covers all-samples model": low <= final <= high, "studies": 1}
            )
    mean = pd.DataFrame(rows).groupby(["scenario", "metric"], sort=False).mean(numeric_only=False).reset_index()
    return mean.assign(studies=n_studies)


def nested_of(name: str, n_studies: int, repeats: int = 10) -> pd.DataFrame:
    """Nested cross-validation of Bates, Hastie and Tibshirani (2024) for accuracy and the Brier score."""
    s, rows = simulated_studies.SCENARIOS[name], []
    for seed in range(1, n_studies + 1):
        rows += _nested_study(s, seed, repeats)
    mean = pd.DataFrame(rows).groupby("metric", sort=False).mean().reset_index()
    mean.insert(0, "scenario", name)
    return mean.assign(studies=n_studies)


def _losses(prob: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Samples x (error, Brier)."""
    return np.column_stack([prob.argmax(axis=1) != y, ((prob - np.eye(prob.shape[1])[y]) ** 2).sum(axis=1) / 2])


def _nested_study(s: simulated_studies.Scenario, seed: int, repeats: int) -> list[dict[str, Any]]:
    _, study, new = simulated_studies.study_of(s, seed)
    X, y, k = study.X, study.target, s.folds
    classes = tuple(map(str, range(len(s.shares))))
    a_list, b_list, outer, true = [], [], [], []
    for run in range(repeats):
        folds = [f.test for f in simulated_studies.make_folds(y, classes, None, n_splits=k, run=run, seed=seed)]
        inner: dict[int, list[np.ndarray]] = {i: [] for i in range(k)}
        for i in range(k):
            for j in range(i):  # without both folds: serves either as the outer one
                train = np.setdiff1d(np.arange(s.n), np.r_[folds[i], folds[j]])
                fitted = simulated_studies.Fitted(s.model, X[train], y[train], seed)
                inner[i].append(_losses(fitted.predict(X[folds[j]]), y[folds[j]]))
                inner[j].append(_losses(fitted.predict(X[folds[i]]), y[folds[i]]))
        for i in range(k):
            train = np.setdiff1d(np.arange(s.n), folds[i])
            fitted = simulated_studies.Fitted(s.model, X[train], y[train], seed)
            out, within = _losses(fitted.predict(X[folds[i]]), y[folds[i]]), np.concatenate(inner[i])
            a_list.append((within.mean(axis=0) - out.mean(axis=0)) ** 2)
            b_list.append(out.var(axis=0, ddof=1) / len(out))
            outer.append((within.mean(axis=0), out.mean(axis=0), out.std(axis=0)))
            if run < simulated_studies.R:
                true.append(_losses(fitted.predict(new.X), new.target).mean(axis=0))
    within, out, _ = (np.array(v) for v in zip(*outer, strict=True))
    naive = np.sqrt(np.mean([v[2] ** 2 for v in outer], axis=0) / s.n)
    mse = np.maximum(np.mean(a_list, axis=0) - np.mean(b_list, axis=0), 0)
    error = np.clip(np.sqrt(mse * (k - 1) / k), naive, naive * np.sqrt(k))
    steps = within.mean(axis=0) - out.mean(axis=0)  # what a fold's worth of training samples is worth
    every = within.mean(axis=0) - (1 + (k - 2) / k) * steps
    final = _losses(simulated_studies.Fitted(s.model, X, y, seed).predict(new.X), new.target).mean(axis=0)
    found, half = np.mean(true, axis=0), 1.96 * error
    return [
        {"metric": m, "covers the fold models": float(abs(found[i] - out[:, i].mean()) <= half[i])}
        | {"covers the model of all samples": float(abs(final[i] - every[i]) <= half[i]), "width": float(2 * half[i])}
        for i, m in enumerate(("accuracy", "brier"))
    ]


# -- the best of k models ----------------------------------------------------------------------------------------------


def winner_of(name: str, n_studies: int, folder: Path) -> pd.DataFrame:
    """Mean error of the picked model's score: as it is, corrected out of bag (BBC-CV), and as the package corrects it."""
    s, k = simulated_choices.SCENARIOS[name]
    metric, rows = "balanced_accuracy" if s.shares else "r2", []
    for seed, study in enumerate(simulated_choices.studies(name, n_studies, folder)):
        y, groups = study["y"], study["groups"] if s.donors else None
        n, every = len(y), np.arange(len(y))

        def mean(w: np.ndarray, study: dict[str, Any] = study, y: np.ndarray = y, whole: bool = False) -> np.ndarray:
            per = [[simulated_studies.scores_of(y, made, w) for made in model] for model in study["oof"]]
            if whole:  # R2 of few samples: against the variance of all
                kept = [[1 - one["mse"] / y.var() for one in repeats] for repeats in per]
            else:
                kept = [[one[metric] for one in repeats] for repeats in per]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                return np.array([np.nanmean(repeats, axis=0) for repeats in kept])

        drawn, widen = resamples(n, len(s.shares), groups, B, seed), widening(y, groups, classes=bool(s.shares))
        draws = []
        for model in study["oof"]:
            again = [
                simulated_studies.scores_of(o, p, w)[metric] for w, o, p in (drawn.of(every, y, made) for made in model)
            ]
            draws.append(np.mean(again, axis=0))
        draws, points = np.array(draws), mean(np.ones((1, n)))[:, 0]
        best = int(points.argmax())
        value = corrected(metric, points[best], draws, by=metric, points=points, draws=draws, widen=widen)
        low, high = interval(metric, value, draws[best], widen=widen, centre=points[best])
        code = every if groups is None else groups
        w = np.random.default_rng(seed).multinomial(code.max() + 1, np.full(code.max() + 1, 1 / (code.max() + 1)), B)
        inside, outside = (
            np.nan_to_num(mean(w[:, code].astype(float)), nan=-np.inf),
            mean((w[:, code] == 0).astype(float), whole=not s.shares),
        )
        bbc = np.nanmean(outside[inside.argmax(axis=0), np.arange(B)])
        true, shared = study["true"][best], float((points - study["true"]).mean())
        rows.append(
            (true, points[best] - true - shared, bbc - true - shared, value - true - shared, low <= true <= high)
        )
    table = np.array(rows, dtype=float)
    error = table[:, 3].std(ddof=1) / np.sqrt(len(table))
    names = ("true score of the picked", "best, as it is", "BBC-CV", "corrected", "interval covers")
    row = {"scenario": name, "models": k, **dict(zip(names, table.mean(axis=0), strict=True))}
    return pd.DataFrame([row | {"standard error": error, "studies": len(table)}])


# -- running and writing -----------------------------------------------------------------------------------------------

NESTED = ("n30 weak", "n30 strong")


def jobs(parts: list[str], n_studies: int, folder: Path) -> list[tuple[str, str, Callable[[], pd.DataFrame]]]:
    """Part, name and work of everything that was asked for."""
    out: list[tuple[str, str, Callable[[], pd.DataFrame]]] = []
    for name in published_data.DATA:
        out.append(("agreement", name, lambda name=name: published_data.agreement(name)))
    for task, known in REGISTRY.items():
        for model in known:
            out.append(("null", f"{task} {model}", lambda model=model, task=task: null(model, task)))
    for name in simulated_studies.SCENARIOS:
        out.append(("coverage", name, lambda name=name: coverage_of(name, n_studies, folder)))
    for name in NESTED:
        out.append(("nested", name, lambda name=name: nested_of(name, min(n_studies, 100))))
    for name in simulated_choices.SCENARIOS:
        out.append(("winner", name, lambda name=name: winner_of(name, n_studies, folder)))
    return [job for job in out if job[0] in parts]


def _wide(frame: pd.DataFrame) -> pd.DataFrame:
    """One row a scenario: coverage of the interval (its width; coverage of the plain bootstrap) by metric."""
    text = {
        (r["scenario"], r["metric"]): f"**{r['covers']:.3f}** ({r['width']:.2f}; {r['plain covers']:.2f})"
        for _, r in frame.iterrows()
    }
    cells = pd.Series(text).unstack(sort=False)
    return cells.reset_index(names="scenario")


def tables(folder: Path) -> dict[str, str]:
    """Part -> markdown."""
    out = {}
    for part in ("agreement", "null", "coverage", "nested", "winner"):
        found = sorted(folder.glob(f"table_{part}_*.csv"))
        if not found:
            continue
        frame = pd.concat([pd.read_csv(path) for path in found], ignore_index=True)
        known: dict[str, Any] = {
            "agreement": published_data.DATA,
            "nested": NESTED,
            "winner": simulated_choices.SCENARIOS,
        }
        if part in known:
            place = {name: i for i, name in enumerate(known[part])}
            column = frame.columns[0]
            frame = frame.sort_values(column, key=lambda names, place=place: names.map(place), kind="stable")
        if part == "coverage":
            order = {name: i for i, name in enumerate(simulated_studies.SCENARIOS)}
            frame = frame.sort_values("scenario", key=lambda s: s.map(order), kind="stable")
            is_class = frame["metric"].isin(SHOWN[True])
            frame = frame.drop_duplicates(["scenario", "metric"])
            out[part] = "\n\n".join(_markdown(_wide(frame[rows])) for rows in (is_class, ~is_class) if rows.any())
            continue
        out[part] = _markdown(frame)
    found_here = {"geneml_bio": gb.__version__, "numpy": np.__version__, "scikit-learn": sklearn.__version__}
    packages = " · ".join(f"{name} {number}" for name, number in found_here.items())
    out["versions"] = f"{packages} · Python {platform.python_version()} · {platform.machine()}, {platform.system()}"
    return out


def _markdown(frame: pd.DataFrame) -> str:
    def text(value: Any) -> str:
        if isinstance(value, float | np.floating):
            return "" if np.isnan(value) else f"{value:.3f}"
        return str(value).replace("_", " ")

    lines = [" | ".join(str(c).replace("_", " ") for c in frame.columns), " | ".join("---" for _ in frame.columns)]
    lines += [" | ".join(text(v) for v in row) for row in frame.itertuples(index=False)]
    return "\n".join(f"| {line} |" for line in lines)


def write(page: Path, made: dict[str, str]) -> None:
    """Put the tables between their marks."""
    text = page.read_text(encoding="utf-8")
    for part, table in made.items():
        pattern = re.compile(rf"(<!-- {part} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = pattern.sub(lambda m, table=table: f"{m[1]}\n{table}\n\n{m[2]}", text)
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Run what is missing, and write the tables."""
    known = ["agreement", "null", "coverage", "nested", "winner"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=known, default=known)
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("quality"))
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for part, name, work in jobs(given.parts, given.studies, given.folder):
        path = given.folder / f"table_{part}_{re.sub(r'[^A-Za-z0-9]+', '_', name)}.csv"
        if path.exists() or given.only not in name:
            continue
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = work()
        made.to_csv(path, index=False)
        print(f"\n{part}: {name}\n{made.round(3).to_string(index=False)}", flush=True)
    write(given.page, tables(given.folder))


if __name__ == "__main__":
    main()
