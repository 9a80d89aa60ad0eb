"""SHAP values of any model by sampled orders of its columns, with the error that the sampling leaves.

For one sample x, one training sample b and one order of the columns, the columns of b are replaced by those of x one after the
other, and each is credited with what its replacement changes in the output (Castro et al. 2009, Comput Oper Res 36:1726). What a
path credits adds up to f(x) - f(b), so base + sum(values) = output holds exactly. Each order is walked forwards and backwards:
of the interactions of two columns, both halves are then seen (Mitchell et al. 2022, J Mach Learn Res 23:43). Every training
sample of the background gets orders of its own, which leaves less error than one order shared by all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

BACKGROUND = 100  # training samples at most
FEW = 16  # training samples that a study of many samples shares out among them
ROUNDS = 2  # the least number of orders a training sample, from whose difference the error is estimated
CELLS = 2_400_000_000  # values handed to one model in all: what the number of orders is chosen by
FEWEST, MOST = 8, 200  # orders
TOO_DEAR = 5e10  # values, at the fewest orders: hours
_BATCH = 4_000_000  # values handed to a model at once: 32 MB
_ROUNDING = 1e-12  # of the largest value: what a column that does nothing may get from the order of sums

Outputs = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Sampled:
    """Values (samples x columns x outputs), the squared standard error of each, base and margin (samples x outputs)."""

    values: np.ndarray
    error2: np.ndarray
    base: np.ndarray
    margin: np.ndarray


def orders_for(n_samples: int, n_columns: int) -> int:
    """How many orders a sample get by default: as many as keep the work within bounds, 8 to 200.

    Parameters
    ----------
    n_samples
        How many samples one model explains, over all folds and repeats.
    n_columns
        Columns of the model.
    """
    return int(np.clip(CELLS // max(1, 2 * n_samples * n_columns**2), FEWEST, MOST))


def cost(n_samples: int, n_columns: int) -> float:
    """How many values the fewest orders hand to a model."""
    return 2.0 * FEWEST * n_samples * n_columns**2


def sampled(outputs: Outputs, Z: np.ndarray, background: np.ndarray, *, n_orders: int, seed: int) -> Sampled:
    """Explain a function of samples x columns.

    Parameters
    ----------
    outputs
        Samples x columns -> samples x outputs.
    Z
        The samples to explain.
    background
        Training samples, of which up to 100 are used, the first ones. What a value means: the departure of the output from its
        mean over the background.
    n_orders
        Orders a sample, each walked forwards and backwards against one sample of the background: at least two for each of those
        used. The standard error falls with its square root.
    seed
        Of the orders.
    """
    n, p = Z.shape
    margin = outputs(Z)
    used, rounds = _plan(n, len(background), n_orders)
    ends = outputs(background[: used.max() + 1])
    rng = np.random.default_rng(seed)
    total = np.zeros((n, p, margin.shape[1]))
    squares = np.zeros_like(total)
    for _ in range(rounds):
        mean = _round(outputs, Z, margin, background, ends, used, rng)
        total += mean
        squares += mean**2
    values = total / rounds
    error2 = np.maximum(squares / rounds - values**2, 0.0) / (rounds - 1)
    values[np.abs(values) <= _ROUNDING * np.abs(values).max(initial=0.0)] = 0.0
    return Sampled(values, error2, ends[used].mean(axis=1), margin)


def _plan(n: int, there: int, n_orders: int) -> tuple[np.ndarray, int]:
    """Which of the background each sample is set against (samples x count), and in how many rounds."""
    each = max(1, min(there, BACKGROUND, n_orders // ROUNDS))
    pool = min(there, BACKGROUND, max(FEW, each))
    used = (np.arange(n)[:, None] * each + np.arange(each)) % pool
    return used, max(ROUNDS, -(-n_orders // each))


def _round(
    outputs: Outputs,
    Z: np.ndarray,
    margin: np.ndarray,
    background: np.ndarray,
    ends: np.ndarray,
    used: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """One order, both ways, for every pair of a sample and its background; the mean over the background."""
    n, p = Z.shape
    each = used.shape[1]
    out = np.zeros((n, p, margin.shape[1]))
    some = max(1, _BATCH // (2 * p * p))  # pairs at once
    for first in range(0, n * each, some):
        pair = np.arange(first, min(first + some, n * each))
        rows, against = pair // each, used.ravel()[pair]
        rank = rng.random((len(pair), p)).argsort(axis=1).argsort(axis=1)
        for way in (rank, p - 1 - rank):
            between = _path(outputs, Z[rows], background[against], way)
            path = np.concatenate([ends[against][:, None], *between, margin[rows][:, None]], axis=1)
            credit = np.take_along_axis(np.diff(path, axis=1), way[:, :, None], axis=1)
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            out[rows[starts]] += np.add.reduceat(credit, starts, axis=0) / (2 * each)
    return out


def _path(outputs: Outputs, x: np.ndarray, b: np.ndarray, rank: np.ndarray) -> list[np.ndarray]:
    """Outputs after 1, 2, ..., p - 1 columns have come from x: pairs x steps x outputs, in parts."""
    n, p = x.shape
    parts = []
    for steps in _steps(p, max(1, _BATCH // (n * p))):
        come = rank[:, None, :] < steps[None, :, None]
        mixed = np.where(come, x[:, None, :], b[:, None, :])
        parts.append(outputs(mixed.reshape(-1, p)).reshape(n, len(steps), -1))
    return parts


def _steps(p: int, count: int) -> Iterator[np.ndarray]:
    for first in range(1, p, count):
        yield np.arange(first, min(first + count, p))
