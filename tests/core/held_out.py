"""Validations of made-up predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from geneml_bio.core.schema import Validation, prob_column

EMPTY = pd.DataFrame(columns=["repeat", "fold", "feature", "statistic"])
AUDIT = pd.DataFrame(columns=["check", "level", "message"])


def frame(model: str, observed: np.ndarray, made: np.ndarray, classes: tuple[str, ...], names: list[str], **extra):
    """Predictions of one model: class codes and probabilities (n x k), or numbers."""
    out = pd.DataFrame({**extra, "sample": names, "model": model})
    if not classes:
        return out.assign(observed=observed, predicted=made)
    labels = np.array(classes, dtype=object)
    out = out.assign(observed=labels[observed], predicted=labels[made.argmax(axis=1)])
    return out.assign(**{prob_column(name): made[:, code] for code, name in enumerate(classes)})


def held_out(
    observed, made: dict[str, list[np.ndarray]], classes=(), *, folds=None, test=None, null=None, baselines=(), seed=0
) -> Validation:
    """One list item a repeat in ``made`` and ``folds``; ``test``: observed, {model: predictions}."""
    names = [f"s{i}" for i in range(len(observed))]
    repeats = len(next(iter(made.values())))
    folds = folds or [np.arange(len(observed)) % 5] * repeats
    parts = [
        frame(model, observed, runs[r], classes, names, repeat=r, fold=folds[r])
        for r in range(repeats)
        for model, runs in made.items()
    ]
    outside = None
    if test is not None:
        others = [f"t{i}" for i in range(len(test[0]))]
        outside = pd.concat([frame(model, test[0], p, classes, others) for model, p in test[1].items()])
    return Validation(
        pd.concat(parts, ignore_index=True),
        pd.concat([pd.DataFrame({"repeat": r, "fold": folds[r], "sample": names}) for r in range(repeats)]),
        EMPTY,
        {"seed": seed, "n_repeats": repeats},
        AUDIT,
        tuple(classes),
        null,
        test=outside,
        baselines=tuple(baselines),
    )


def probabilities(rng: np.random.Generator, y: np.ndarray, k: int, good: float = 0.4) -> np.ndarray:
    """Probabilities that know something of the class codes."""
    prob = rng.dirichlet(np.ones(k), len(y))
    prob[np.arange(len(y)), y] += good
    return prob / prob.sum(axis=1, keepdims=True)


def centroids(x: np.ndarray, y: np.ndarray, folds: list[np.ndarray]) -> list[np.ndarray]:
    """Out-of-fold probabilities of the class with the nearer mean."""
    out = []
    for fold in folds:
        p = np.empty((len(y), 2))
        for f in np.unique(fold):
            train = fold != f
            one, zero = x[train & (y == 1)].mean(axis=0), x[train & (y == 0)].mean(axis=0)
            score = (x[~train] - (one + zero) / 2) @ (one - zero)
            p[~train, 1] = 1 / (1 + np.exp(-score))
        p[:, 0] = 1 - p[:, 1]
        out.append(p)
    return out
