"""Scores of models of genes, their intervals over groups of genes, and what stands beside them in the table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from .closed_form import Ceiling, ClosedForm
from .gene_blocks import ALGEBRAIC
from .schema import Validation

REFERENCE = "reference"
MEAN, CLOSED, CEILING = "mean only", "closed form", "noise ceiling"
N_BOOT = 1000
_CELLS = 10_000_000  # resamples x groups held at a time
COLUMNS = ("r2", "low", "high", "mse", "rmse", "mae")


class Resamples:
    """Bootstrap of whole groups of genes, by sums over each group: the cost does not grow with the models.

    Parameters
    ----------
    observed, groups
        The target, and one code a gene.
    seed
        Of the draws.
    """

    def __init__(self, observed: np.ndarray, groups: np.ndarray, seed: int, n_boot: int = N_BOOT, level: float = 0.95):
        self.y, self.level, self.n_boot, self.seed = observed, level, n_boot, seed
        self.code = np.unique(groups, return_inverse=True)[1] if len(groups) else groups
        self.n_groups = int(self.code.max()) + 1 if len(groups) else 0

    def scores(self, errors: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
        """``r2 low high mse rmse mae n`` of each model.

        Parameters
        ----------
        errors
            Name -> what it missed: genes x repeats; a gene with NaN has no part in that model's scores. R2 is that of each
            repeat, averaged: 1 - mean squared error / variance of the genes.
        """
        out: dict[str, dict[str, float]] = {}
        centre = self.y - self.y.mean()
        parts, names = [], list(errors)
        for name in names:
            off = errors[name]
            known = np.isfinite(off).all(axis=1)
            squared = np.where(known, (np.nan_to_num(off) ** 2).mean(axis=1), 0.0)
            size = np.where(known, np.abs(np.nan_to_num(off)).mean(axis=1), 0.0)
            parts += [known.astype(float), known * centre, known * centre**2, squared]
            n = int(known.sum())
            mse, spread = squared.sum() / max(n, 1), float(np.var(centre[known])) if n else np.nan
            out[name] = {"r2": 1 - mse / spread if n and spread > 0 else np.nan, "low": np.nan, "high": np.nan}
            out[name] |= {"mse": mse, "rmse": float(np.sqrt(mse)), "mae": size.sum() / max(n, 1), "n": n}
        if self.n_groups < 2 or not names:
            return out
        for name, r2 in zip(names, self._resampled(np.column_stack(parts)), strict=True):
            seen = r2[np.isfinite(r2)]
            if len(seen):
                low, high = np.quantile(seen, [(1 - self.level) / 2, (1 + self.level) / 2])
                out[name] |= {"low": float(low), "high": float(high)}
        return out

    def _resampled(self, parts: np.ndarray) -> np.ndarray:
        """R2 of each model (four columns each: count, sum, sum of squares, squared error) in each resample."""
        sums = np.column_stack([np.bincount(self.code, weights=part, minlength=self.n_groups) for part in parts.T])
        rng = np.random.default_rng(self.seed)
        chunk, done = max(1, _CELLS // self.n_groups), []
        for start in range(0, self.n_boot, chunk):
            size = min(chunk, self.n_boot - start)
            drawn = rng.multinomial(self.n_groups, np.full(self.n_groups, 1 / self.n_groups), size=size)
            done.append(drawn.astype(float) @ sums)
        total = np.vstack(done).reshape(self.n_boot, -1, 4)
        with np.errstate(divide="ignore", invalid="ignore"):
            count = total[:, :, 0]
            spread = total[:, :, 2] / count - (total[:, :, 1] / count) ** 2
            return np.where(spread > 0, 1 - total[:, :, 3] / count / spread, np.nan).T


def errors_of(frame: pd.DataFrame, genes: pd.Index) -> dict[str, np.ndarray]:
    """Model -> observed less predicted, genes x repeats, from predictions that hold each gene once a repeat."""
    repeats = frame["repeat"].to_numpy() if "repeat" in frame else np.zeros(len(frame), dtype=int)
    rows, off = genes.get_indexer(pd.Index(frame["sample"])), (frame["observed"] - frame["predicted"]).to_numpy(float)
    model = frame["model"].astype(str).to_numpy()
    out = {}
    for name in dict.fromkeys(model):
        mine = model == name
        out[name] = np.full((len(genes), int(repeats.max()) + 1), np.nan)
        out[name][rows[mine], repeats[mine]] = off[mine]
    return out


def beside_models(
    y: np.ndarray, test: np.ndarray, folds: np.ndarray, closed: ClosedForm | None
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What predicts without a model: the training mean, and the formula. Name -> errors in cross-validation, errors held out.

    ``folds``: genes x repeats, the fold in which each was held out (-1: in the test set).
    """
    out = {}

    def mean(train: np.ndarray) -> np.ndarray:
        return np.full(len(y), y[train].mean())

    for name, predict, once in (
        (MEAN, mean, False),
        (CLOSED, closed and closed.predict, closed is None or closed.exact),
    ):
        if not callable(predict):
            continue
        fixed = predict(~test)
        off = np.repeat((y - fixed)[:, None], folds.shape[1], axis=1)
        for repeat in range(folds.shape[1]) if not once else ():
            for fold in np.unique(folds[~test, repeat]):
                held = folds[:, repeat] == fold
                off[held, repeat] = (y - predict(~test & ~held))[held]
        out[name] = off[~test], (y - fixed)[test][:, None]
    return out


def score_table(
    blocks: Mapping[str, Validation],
    y: np.ndarray,
    genes: pd.Index,
    groups: np.ndarray,
    test: np.ndarray,
    closed: ClosedForm | None,
    ceiling: Ceiling,
    seed: int,
) -> pd.DataFrame:
    """One row for each block and model, and for what stands beside them: see :class:`geneml_bio.core.gene_level.GeneLevel`."""
    folds = _folds(next(iter(blocks.values())), genes)
    cv, held = Resamples(y[~test], groups[~test], seed), Resamples(y[test], groups[test], seed)
    rows = []
    for block, validation in blocks.items():
        inside = cv.scores(errors_of(validation.predictions, genes[~test]))
        outside = held.scores(errors_of(validation.test, genes[test])) if validation.test is not None else {}
        rows += [
            _row(block, name, inside[name], outside.get(name)) | _null(validation, name, y, genes) for name in inside
        ]
    beside = beside_models(y, test, folds, closed)
    inside = cv.scores({name: off for name, (off, _) in beside.items()})
    outside = held.scores({name: off for name, (_, off) in beside.items()}) if test.any() else {}
    rows += [_row(ALGEBRAIC if name == CLOSED else REFERENCE, name, inside[name], outside.get(name)) for name in inside]
    if ceiling.error is not None:
        parts = []
        for rows_of in (~test, test):
            r2, mse = ceiling.of(y, rows_of)
            parts.append({"r2": r2, "mse": mse, "rmse": np.sqrt(mse)})
        rows.append(_row(REFERENCE, CEILING, parts[0] | {"n": int((~test).sum())}, parts[1] if test.any() else None))
    table = pd.DataFrame(rows)
    order = {block: at for at, block in enumerate(dict.fromkeys([*blocks, ALGEBRAIC, REFERENCE]))}
    return table.sort_values("block", key=lambda column: column.map(order), kind="stable").reset_index(drop=True)


def _row(block: str, model: str, inside: Mapping[str, float], outside: Mapping[str, float] | None) -> dict[str, object]:
    row: dict[str, object] = {"block": block, "model": model}
    row |= {name: float(inside.get(name, np.nan)) for name in COLUMNS} | {"n": int(inside["n"])}
    return row | {f"test_{name}": float((outside or {}).get(name, np.nan)) for name in COLUMNS}


def _null(validation: Validation, model: str, y: np.ndarray, genes: pd.Index) -> dict[str, float]:
    """The mean R2 on permuted targets, and the p-value of the first repeat beside them."""
    if validation.null is None:
        return {}
    null = validation.null
    values = null.loc[(null["model"] == model) & (null["metric"] == "r2"), "value"].to_numpy(float)
    first = validation.predictions
    first = first[(first["repeat"] == 0) & (first["model"] == model)]
    off = (first["observed"] - first["predicted"]).to_numpy(float)
    r2 = 1 - float((off**2).mean()) / float(np.var(first["observed"].to_numpy(float)))
    return {"null_r2": float(values.mean()), "p_value": (1 + int((values >= r2 - 1e-12).sum())) / (1 + len(values))}


def _folds(validation: Validation, genes: pd.Index) -> np.ndarray:
    frame = validation.folds
    out = np.full((len(genes), int(frame["repeat"].max()) + 1), -1)
    out[genes.get_indexer(pd.Index(frame["sample"])), frame["repeat"].to_numpy()] = frame["fold"].to_numpy()
    return out
