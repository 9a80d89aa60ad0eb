"""Genes as rows: how well does anything predict a column of a DE table, beside what its own algebra says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from .closed_form import Ceiling, closed_form, noise_ceiling
from .errors import ColumnNotFoundError, InputError, TargetError, near
from .gene_blocks import ALGEBRAIC, INDEPENDENT, KIN, OTHERS, ROBUST_Z, Plan, Sources, assemble, make_plan, robust_z
from .gene_explain import GeneExplanation, explain_genes
from .gene_fitted import FittedGenes, refit_genes
from .gene_scores import CLOSED, MEAN, score_table
from .gene_ties import SYNERGY, synergy
from .gene_words import findings, summary
from .models import Candidate, candidates
from .network import NetworkRegressor
from .resample import test_part
from .schema import Cohort, Validation
from .screen import FixedScreen
from .validate import validate

TUNE_ROWS = 2000  # training genes that hyperparameters are searched on
KERNEL_ROWS = 5000  # training genes of a kernel machine, whose cost grows with their square
STEPS = 200  # of a network in an epoch, at most
_FEWEST = 20  # genes
_ENTRY = (0.1, 0.03, 0.01, 0.003, 0.001)
# where genes are the rows there are thousands: weaker penalties and larger neighbourhoods are worth trying
_SPACES: dict[str, Mapping[str, Sequence[Any]]] = {
    "lasso": {"regressor__alpha": _ENTRY},
    "elastic_net": {"regressor__alpha": _ENTRY},
    "decision_tree": {"max_depth": (1, 2, 4, 6, 8)},
    "knn": {"n_neighbors": (100, 50, 25, 10, 5)},
}


def gene_candidates(models: Any, n: int, p: int) -> list[Candidate]:
    """Models for ``n`` training genes and ``p`` predictors: those of the registry, with spaces and sizes for many rows.

    Tuning uses 2,000 random training genes (groups whole); the support vector machine learns from 5,000; a network has 200
    batches an epoch, of 10 genes or more; trees look at a third of the predictors at a time, but at five or more. An estimator
    of the caller's is taken as it is.
    """
    share = min(1.0, max(1 / 3, 5 / p))
    own = {
        "random_forest": {"max_features": share},
        "gradient_boosting": {"max_features": share},
        "xgboost": {"colsample_bytree": share},
    }
    out = []
    for candidate in candidates(models, "regression"):
        asked = models.get(candidate.name) if isinstance(models, Mapping) else candidate.name
        if not isinstance(asked, str):
            out.append(candidate)
            continue
        if isinstance(candidate.estimator, NetworkRegressor):
            own[asked] = {"batch_size": max(10, round(0.8 * n / STEPS))}
        candidate.estimator.set_params(**own.get(asked, {}))  # a fresh one
        space = _SPACES.get(asked, candidate.space)
        if asked == "knn":
            space = {"n_neighbors": tuple(k for k in space["n_neighbors"] if k <= max(5, n // 10))}
        most = KERNEL_ROWS if asked == "svm" else None
        out.append(replace(candidate, space=space, tune_rows=TUNE_ROWS, max_rows=most))
    return out


@dataclass(frozen=True, eq=False)
class GeneLevel:
    """How well a column of a DE table is predicted, gene by gene.

    Parameters
    ----------
    target, contrast
        The column predicted; what the table compares.
    table
        One row a block and model: ``block model r2 low high mse rmse mae n`` by cross-validation, ``test_...`` on the genes held
        out, and ``null_r2 p_value`` where targets were permuted. Blocks are ``independent``, ``algebraic`` (the table's own
        columns, which are tied to the target by formula) and ``other contrasts`` (those that share samples or may, with the
        independent ones). The closed form stands in the algebraic block; block ``reference``: ``mean only`` (what the training
        mean predicts) and ``noise ceiling`` (what a perfect prediction of the true effects would reach). Intervals resample genes
        (groups of them); genes that are expressed together are not independent, so that intervals and p-values are too narrow.
    blocks
        Block -> the validation behind it: predictions, folds, tuned values, models.
    predictors
        ``predictor block origin missing outliers note``, one row a column; block ``""``: set aside, for the reason noted.
    report
        ``check level message``: what was found and done.
    explanation
        SHAP of the best model (of the independent block, if there is one) on held-out genes; or None.
    formula, ceiling_words
        The closed form, and where the noise ceiling comes from; or why there is none.
    outliers
        Genes whose target is far from the others': ``value robust_z``. They stay in.
    spec
        What was asked for.
    """

    target: str
    contrast: str
    table: pd.DataFrame
    blocks: Mapping[str, Validation]
    predictors: pd.DataFrame
    report: pd.DataFrame
    explanation: GeneExplanation | None
    formula: str
    ceiling_words: str
    outliers: pd.DataFrame
    spec: Mapping[str, Any]
    groups: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)
    X: pd.DataFrame = field(repr=False)
    plan: Plan = field(repr=False)
    sources: Sources = field(repr=False)
    models: Mapping[str, Sequence[Candidate]] = field(default_factory=dict, repr=False)

    @property
    def main_block(self) -> str:
        """``independent`` where there is such a block; else the first."""
        return INDEPENDENT if INDEPENDENT in self.blocks else next(iter(self.blocks))

    def best(self, block: str | None = None) -> str:
        """The model of a block with the best cross-validated R2; its own score is (slightly) optimistic for having been picked."""
        name = self._block(block)
        part = self.table[(self.table["block"] == name) & (self.table["model"] != CLOSED)]
        return str(part.loc[part["r2"].fillna(-np.inf).idxmax(), "model"])

    def _block(self, block: str | None) -> str:
        name = self.main_block if block is None else block
        if name not in self.blocks:
            raise ColumnNotFoundError(f"There is no block {name!r}.{near(name, self.blocks)}")
        return name

    def predictions(self, model: str | None = None, block: str | None = None) -> pd.DataFrame:
        """What a model predicted for each gene without having seen it: ``observed predicted set``, by gene.

        ``set`` is ``cv`` (mean over repeats) or ``test``; default: the best model of the independent block.
        """
        name = self._block(block)
        chosen = self.best(name) if model is None else model
        validation = self.blocks[name]
        if chosen not in validation.models:
            raise InputError(f"Model {chosen!r} was not validated.{near(chosen, validation.models)}")
        made = validation.predictions
        made = made[made["model"] == chosen].groupby("sample", sort=False)["predicted"].mean()
        if validation.test is not None:
            test = validation.test[validation.test["model"] == chosen].set_index("sample")["predicted"]
            made = pd.concat([made, test])
        genes = self.X.index
        held = set() if validation.test is None else set(validation.test["sample"])
        sets = np.where(genes.isin(held), "test", "cv")
        return pd.DataFrame(
            {"observed": self.y, "predicted": made.reindex(genes).to_numpy(float), "set": sets}, index=genes
        )

    def fit(self, model: str | None = None, block: str | None = None) -> FittedGenes:
        """Fit a validated model on all genes, held-out ones too, to predict others with ``.predict(table)``.

        Parameters
        ----------
        model
            Its name; None: the best of the block.
        block
            Whose predictors it needs; None: the independent ones.
        """
        name = self._block(block)
        chosen = self.best(name) if model is None else model
        known = {candidate.name: candidate for candidate in self.models[name]}
        if chosen not in known:
            raise InputError(f"Model {chosen!r} was not validated.{near(chosen, known)}")
        X = self.X[list(self.plan.blocks[name])]
        row = self.table[(self.table["block"] == name) & (self.table["model"] == chosen)].iloc[0]
        how: dict[str, Any] = {"tune": self.spec["tune"], "seed": self.spec["seed"], "r2": float(row["r2"])}
        return refit_genes(known[chosen], name, self.plan, self.sources, X, self.y, self.groups, self.target, **how)

    def __str__(self) -> str:
        return summary(self)

    __repr__ = __str__


def regress_genes(
    sources: Sources,
    target: str,
    models: Any,
    *,
    groups: np.ndarray,
    shared: Mapping[str, Any],
    facts: Mapping[str, Any],
    contrast: str = "",
    exclude: Sequence[str] = (),
    max_levels: int = 20,
    test_size: float | int | None = 0.2,
    n_splits: int = 5,
    n_repeats: int = 1,
    tune: bool = True,
    n_permutations: int = 0,
    explain: bool = True,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
    notes: Sequence[tuple[str, str, str]] = (),
    label: str = "regress_genes",
) -> GeneLevel:
    """Validate models of every block of predictors on the same folds: see :func:`geneml_bio.tl.regress_genes`.

    ``groups``: one label a row of the table; ``facts``: of ``DETable.check()``; ``notes``: what the caller has to report.
    """
    # 1. the target, and the genes that have one
    said = list(notes)
    frame, groups = _with_target(sources.frame, target, groups, said)
    sources = replace(sources, frame=frame)
    y = frame[target].to_numpy(float)

    # 2. predictors, in blocks
    raw = assemble(sources, target)
    how: dict[str, Any] = {"shared": shared, "exclude": exclude, "max_levels": max_levels}
    plan, X, predictors = make_plan(sources, target, raw, **how)
    if not plan.blocks:
        raise InputError(
            f"There is nothing to predict {target!r} with: every other column was set aside {_reasons(predictors)}."
        )
    sources = replace(sources, sets=plan.sets)
    outliers = _outliers(frame[target])
    said += [*raw.notes, *findings(plan, predictors, outliers, groups, target, shared)]

    code = pd.factorize(groups)[0]
    said += _beside_the_average(plan, X, y, code, target)

    # 3. every block on the same genes, folds and test set
    alone = bool(code.max() + 1 == len(code))
    test = np.zeros(len(y), dtype=bool)
    if test_size is not None:
        test = test_part(y, (), None if alone else code, test_size, seed)
    wanted = {block: gene_candidates(models, int((~test).sum()), len(names)) for block, names in plan.blocks.items()}
    run: dict[str, Any] = {"n_splits": n_splits, "n_repeats": n_repeats, "tune": tune, "n_permutations": n_permutations}
    run |= {"seed": seed, "n_jobs": n_jobs, "progress": progress, "test": test if test.any() else None}
    blocks = {}
    for block, names in plan.blocks.items():
        part = np.ascontiguousarray(X[list(names)].to_numpy(float))
        cohort = Cohort(part, pd.Index(names), X.index, y, groups=None if alone else code)
        screen = FixedScreen(columns=np.arange(len(names)))
        blocks[block] = validate(
            cohort,
            wanted[block],
            screen=screen,
            spec={"target": target, "block": block},
            label=f"{label}: {block}",
            **run,
        )

    # 4. what stands beside them
    closed, ceiling = closed_form(frame, target, facts, sources.kind), noise_ceiling(frame, target, facts, sources.kind)
    blocks = {name: blocks[name] for name in (INDEPENDENT, OTHERS, ALGEBRAIC) if name in blocks}
    table = score_table(blocks, y, X.index, code, test, closed, ceiling, seed)
    formula = _formula(closed, target)
    spec = {name: value for name, value in run.items() if name not in ("n_jobs", "progress", "test")}
    spec |= {
        "target": target,
        "test_size": test_size,
        "models": [c.name for c in next(iter(wanted.values()))],
        "n_genes": len(y),
        "n_test": int(test.sum()),
    }
    spec["n_groups"] = int(code.max() + 1)
    report = pd.DataFrame(said, columns=["check", "level", "message"])
    result = GeneLevel(target, contrast, table, blocks, predictors, report, None, formula, ceiling.words, outliers, spec, code, y,
                       X, plan, sources, wanted)  # fmt: skip
    return replace(result, explanation=_explained(result, test, seed)) if explain and test.any() else result


def _with_target(
    frame: pd.DataFrame, target: str, groups: np.ndarray, said: list[tuple[str, str, str]]
) -> tuple[pd.DataFrame, np.ndarray]:
    if target not in frame.columns:
        raise ColumnNotFoundError(f"There is no column {target!r} in the table.{near(target, frame.columns)}")
    values = frame[target]
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        raise TargetError(f"The target {target!r} must be a column of numbers, got {values.dtype}.")
    numbers = values.to_numpy(dtype=float, na_value=np.nan)
    known = np.isfinite(numbers)
    if not known.all():
        said.append(
            (
                "target",
                "warning",
                f"{int((~known).sum()):,} of {len(known):,} genes have no {target} and were left out.",
            )
        )
    if known.sum() < _FEWEST:
        raise TargetError(
            f"{int(known.sum())} genes have a value of {target!r}; at least {_FEWEST} are needed to learn from genes."
        )
    if np.ptp(numbers[known]) == 0:
        raise TargetError(f"{target!r} is the same in all genes ({numbers[known][0]:g}); there is nothing to predict.")
    return frame[known].assign(**{target: numbers[known]}), groups[known]


def _outliers(values: pd.Series) -> pd.DataFrame:
    z = robust_z(values.to_numpy(float))
    far = np.flatnonzero(np.abs(z) > ROBUST_Z)
    far = far[np.argsort(-np.abs(z[far]), kind="stable")]
    return pd.DataFrame({"value": values.to_numpy(float)[far], "robust_z": z[far]}, index=values.index[far])


def _reasons(predictors: pd.DataFrame) -> str:
    told = [f"{row.predictor}: {row.note}" for row in predictors.head(5).itertuples()]
    return f"({'; '.join(told)})" if told else "(there is none)"


def _beside_the_average(
    plan: Plan, X: pd.DataFrame, y: np.ndarray, groups: np.ndarray, target: str
) -> list[tuple[str, str, str]]:
    """Whether AveExpr and features say much together that neither says alone."""
    names = [name for name in plan.blocks.get(INDEPENDENT, ()) if plan.origin.get(name) == "features"]
    if target not in KIN or not names or "AveExpr" not in plan.blocks[INDEPENDENT]:
        return []
    level, features, both = synergy(y, X["AveExpr"].to_numpy(float), X[names].to_numpy(float), groups)
    if not both - max(level, features, 0.0) > SYNERGY:
        return []
    listed = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    message = (
        f"AveExpr and the features ({listed}) reach an R2 of {both:.2f} together, but {level:.2f} and {features:.2f} apart. That is the "
        "mark of arithmetic: AveExpr less the level of the reference is a share of the fold change, and spread, skew or detection tell of "
        "that level. exclude='AveExpr' asks what the features say by themselves."
    )
    return [("together", "warning", message)]


def _formula(closed: Any, target: str) -> str:
    if closed is None:
        return f"No formula ties {target} to the other columns of this table, as far as they say what it needs."
    return closed.formula if closed.exact else f"{closed.formula} (on training genes)"


def _explained(result: GeneLevel, test: np.ndarray, seed: int) -> GeneExplanation:
    block = result.main_block
    X, name = result.X[list(result.plan.blocks[block])], result.best()
    fitted = result.blocks[block].final[name]
    return explain_genes(fitted, name, block, X[test], X[~test], result.target, seed=seed)


__all__ = ["CLOSED", "MEAN", "Ceiling", "GeneLevel", "gene_candidates", "regress_genes"]
