"""Studies whose truth is known: genes that differ, donors, batches, and further samples of the same population.

Everything is in units of a gene's own standard deviation within a class: an effect of 1 is a Cohen's d of 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import norm

from .errors import InputError, check_whole

_MEAN, _MEAN_SD, _SD, _SD_DF = (
    8.0,
    2.0,
    0.5,
    10,
)  # log2 expression; variances scaled inverse chi-square, as limma assumes


@dataclass(frozen=True, eq=False)
class Population:
    """What is true of every sample of a simulated study.

    Parameters
    ----------
    mean, sd
        Mean (of the reference class) and standard deviation of each gene.
    effects
        genes x (classes - 1), or genes x 1 for regression: shift from the reference class, or slope by one standard deviation
        of the target, in units of ``sd``.
    block
        Which correlated block a gene is of.
    correlation
        Correlation of two genes of one block.
    donor_sd
        Standard deviation of a donor's own shift of a gene, in units of ``sd``.
    batch_shift
        genes x batches, in units of ``sd``.
    """

    mean: np.ndarray
    sd: np.ndarray
    effects: np.ndarray
    block: np.ndarray
    correlation: float
    donor_sd: float
    batch_shift: np.ndarray

    def separation(self) -> np.ndarray:
        """Mahalanobis distance of each class from the reference for a sample of a new donor, batches aside (of one sd of the target)."""
        # a block's covariance is (1 - r + d) I + r 11': its inverse by Sherman and Morrison
        own, shared = 1 - self.correlation + self.donor_sd**2, self.correlation
        out = np.zeros(self.effects.shape[1])
        for members in np.unique(self.block):
            e = self.effects[self.block == members]
            out += ((e**2).sum(axis=0) - shared * e.sum(axis=0) ** 2 / (own + shared * len(e))) / own
        return np.sqrt(np.maximum(out, 0.0))


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples of a population: expression, and the target (codes or numbers), donor and batch (-1: none) of each."""

    X: np.ndarray
    target: np.ndarray
    donor: np.ndarray
    batch: np.ndarray


@dataclass(frozen=True)
class Plan:
    """How samples are collected.

    Parameters
    ----------
    shares
        Share of each class; empty for regression.
    n_batches, confounding
        Batches, and Cramer's V between batch and class (regression: the thirds, quarters, ... of the target).
    mixed
        Whether a donor's samples are of any class; else they are all of one.
    """

    shares: tuple[float, ...]
    n_batches: int = 0
    confounding: float = 0.0
    mixed: bool = False


def population(
    rng: np.random.Generator,
    *,
    n_genes: int,
    n_informative: int,
    effect: float,
    effect_spread: float,
    n_classes: int,
    correlation: float,
    block_size: int,
    donor_sd: float,
    n_batches: int,
    batch_effect: float,
) -> Population:
    """Draw what is true of a study (``n_classes`` 0: a numeric target).

    Of two classes half of the informative genes go up and half down. Of more, each informative gene marks one class.
    """
    mean = np.maximum(rng.normal(_MEAN, _MEAN_SD, n_genes), 2.0)
    sd = _SD * np.sqrt(_SD_DF / rng.chisquare(_SD_DF, n_genes))
    block = rng.permutation(np.arange(n_genes) // block_size)
    size = effect * np.maximum(rng.normal(1.0, effect_spread, n_informative), 0.1)
    sign = np.where(np.arange(n_informative) % 2, -1.0, 1.0)
    chosen = rng.permutation(n_genes)[:n_informative]
    by_class = np.zeros((n_genes, max(n_classes, 2)))
    marks = (
        rng.permutation(np.arange(n_informative) % n_classes) if n_classes > 2 else np.ones(n_informative, dtype=int)
    )
    by_class[chosen, marks] = rng.permutation(sign) * size
    effects = by_class[:, 1:] - by_class[:, :1]
    shift = rng.normal(0.0, batch_effect, (n_genes, n_batches)) if n_batches else np.zeros((n_genes, 0))
    return Population(mean, sd, effects, block, correlation, donor_sd, shift)


def draw(truth: Population, plan: Plan, n: int, n_donors: int, rng: np.random.Generator) -> Drawn:
    """Collect ``n`` samples, from ``n_donors`` donors (0: each sample is of its own)."""
    donor = np.sort(np.arange(n) % n_donors) if n_donors else np.arange(n)
    unit = np.arange(n) if plan.mixed else donor  # what has one class: a sample, or a donor
    n_units = unit.max() + 1
    if plan.shares:
        of_unit = rng.permutation(np.repeat(np.arange(len(plan.shares)), _quota(n_units, np.array(plan.shares))))
        shown = np.hstack([np.zeros((len(truth.mean), 1)), truth.effects])[:, of_unit].T
        kind = of_unit
    else:
        of_unit = rng.normal(size=n_units)
        shown = of_unit[:, None] * truth.effects[:, 0]
        bins = max(plan.n_batches, 1)
        kind = np.argsort(np.argsort(of_unit)) * bins // n_units
    z = shown[unit]
    r = truth.correlation
    z += np.sqrt(r) * rng.normal(size=(n, truth.block.max() + 1))[:, truth.block]
    z += np.sqrt(1 - r) * rng.normal(size=z.shape)
    if n_donors and truth.donor_sd:
        z += truth.donor_sd * rng.normal(size=(n_donors, z.shape[1]))[donor]
    batch = np.full(n, -1)
    if plan.n_batches:
        batch = _batches(kind, plan, rng)[unit]
        z += truth.batch_shift.T[batch]
    return Drawn(truth.mean + truth.sd * z, of_unit[unit], donor if n_donors else np.full(n, -1), batch)


def _batches(kind: np.ndarray, plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """A batch for each unit. Between no tie and each class in batches of its own lies a mixture: Cramer's V is its weight."""
    classes, b = int(kind.max()) + 1, plan.n_batches
    tied = np.array(
        [[float(c % b == j if b <= classes else j % classes == c) for j in range(b)] for c in range(classes)]
    )
    tied /= tied.sum(axis=1, keepdims=True)
    count = np.bincount(kind, minlength=classes)
    free = count @ tied / count.sum()
    batch = np.empty(len(kind), dtype=int)
    for c in range(classes):
        numbers = _quota(int(count[c]), plan.confounding * tied[c] + (1 - plan.confounding) * free)
        batch[kind == c] = rng.permutation(np.repeat(np.arange(b), numbers))
    return batch


def _quota(n: int, shares: np.ndarray) -> np.ndarray:
    """Whole numbers that add up to ``n``, as near to the shares as can be."""
    exact = n * shares / shares.sum()
    out = np.floor(exact).astype(int)
    out[np.argsort(-(exact - out), kind="stable")[: n - out.sum()]] += 1
    return out


def best_possible(truth: Population, plan: Plan) -> dict[str, float]:
    """What a model that knew the truth would reach on samples of new donors, batches aside.

    Two classes: ROC AUC, and accuracy at equal shares. Numeric target: R2. More classes: nothing (no closed form).
    """
    d = truth.separation()
    if not plan.shares:
        return {"r2": float(d[0] ** 2 / (1 + d[0] ** 2))}
    if len(plan.shares) > 2:
        return {}
    return {"roc_auc": float(norm.cdf(d[0] / np.sqrt(2))), "balanced_accuracy": float(norm.cdf(d[0] / 2))}


def counts_of(X: np.ndarray, rng: np.random.Generator, depth: float = 5e6) -> np.ndarray:
    """Counts whose log2 counts per million are ``X`` up to a constant and Poisson noise; libraries of different depth."""
    share = 2.0 ** (X - X.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    library = depth * np.exp(rng.normal(0.0, 0.2, (len(X), 1)))
    return rng.poisson(share * library).astype(np.float64)


def simulate_arrays(
    n_samples: int,
    n_test: int,
    plan: Plan,
    *,
    n_donors: int,
    test_batches: str,
    seed: int,
    **truth: object,
) -> tuple[Population, Drawn, Drawn | None]:
    """A population, its study, and further samples of new donors. The study does not depend on ``n_test``."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
    found = population(streams[0], n_batches=plan.n_batches, n_classes=len(plan.shares), **truth)  # type: ignore[arg-type]
    study = draw(found, plan, n_samples, n_donors, streams[1])
    if not n_test:
        return found, study, None
    donors = max(int(np.ceil(n_test * n_donors / n_samples)), min(n_donors, 1))
    later = plan if test_batches == "same" else replace(plan, n_batches=0)
    return found, study, draw(found, later, n_test, donors, streams[2])


def check_plan(class_shares: Sequence[float] | None, **given: object) -> tuple[float, ...]:
    """Refuse a study that cannot be drawn, and say what would work; else the shares of its classes (none: regression).

    Raises
    ------
    InputError
        For a count that is not one, a share outside 0 to 1, more informative genes than genes, more donors than samples, ...
    """
    for name, least in _LEAST.items():
        if given[name] is not None or name not in ("n_donors", "n_batches"):
            check_whole(least, **{name: given[name]})
    for name, (low, high) in _RANGE.items():
        value = given[name]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not low <= value <= high:  # type: ignore[operator]
            upper = "" if high == np.inf else f" and {high:g}"
            raise InputError(
                f"{name} must be a number {'of at least' if not upper else 'between'} {low:g}{upper}, got {value!r}."
            )
    pairs = (
        ("n_informative", "n_genes"),
        ("n_donors", "n_samples"),
        ("n_batches", "n_samples"),
        ("n_classes", "n_samples"),
    )
    for few, many in pairs:
        if given[few] is not None and given[few] > given[many]:  # type: ignore[operator]
            raise InputError(f"{few}={given[few]} is more than {many}={given[many]}.")
    for name, allowed in _WORDS.items():
        if given[name] not in allowed:
            raise InputError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {given[name]!r}.")
    if given["confounding"] and not given["n_batches"]:
        raise InputError("confounding= is between batch and target; say n_batches= too (2 or more).")
    return _shares(class_shares, given)


def _shares(class_shares: Sequence[float] | None, given: dict[str, object]) -> tuple[float, ...]:
    if given["task"] == "regression":
        if class_shares is not None:
            raise InputError("class_shares= is for classification; a numeric target has no classes.")
        return ()
    k = int(given["n_classes"])  # type: ignore[call-overload]
    shares = np.full(k, 1 / k) if class_shares is None else np.asarray(class_shares, dtype=float)
    if shares.shape != (k,) or not np.isfinite(shares).all() or (shares <= 0).any():
        raise InputError(f"class_shares must be {k} positive numbers, one a class; got {class_shares!r}.")
    units = given["n_samples"] if given["n_donors"] is None or given["within_donor"] == "mixed" else given["n_donors"]
    if _quota(int(units), shares).min() < 1:  # type: ignore[call-overload]
        what = "samples" if units is given["n_samples"] else "donors"
        raise InputError(
            f"{units} {what} leave a class without any; take more of them, or class_shares that are less uneven."
        )
    return tuple((shares / shares.sum()).tolist())


_LEAST = {
    "n_samples": 4,
    "n_genes": 1,
    "n_informative": 0,
    "n_classes": 2,
    "n_donors": 2,
    "n_batches": 2,
    "block_size": 1,
    "n_test": 0,
    "seed": 0,
}
_RANGE = {
    "effect": (0.0, np.inf),
    "effect_spread": (0.0, np.inf),
    "donor_sd": (0.0, np.inf),
    "batch_effect": (0.0, np.inf),
    "confounding": (0.0, 1.0),
    "correlation": (0.0, 0.99),
}
_WORDS = {
    "task": ("classification", "regression"),
    "within_donor": ("constant", "mixed"),
    "test_batches": ("same", "none"),
}
