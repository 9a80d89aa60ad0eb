"""Which genes add something to all the others: model-X knockoffs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from ..bridge import keys
from ..bridge.anndata import attach, versions
from ..bridge.evidence import knockoff_writes
from ..bridge.extract import check_writable, extract_cohort
from ..core.errors import DataWarning, InputError, StorageError, TargetError
from ..core.knockoffs import Knockoffs
from ..core.knockoffs import knockoffs as knockoffs_core
from ..core.schema import Cohort

if TYPE_CHECKING:
    from anndata import AnnData

_NOTE = (
    "The null is that a gene says nothing about the target beyond what all other genes say. It rests on genes that are roughly normal "
    "with the correlations that were estimated, and on independent samples."
)


def knockoffs(
    adata: AnnData,
    target: str,
    *,
    fdr: float = 0.1,
    groups: str | None = None,
    layer: str | None = None,
    screen: int | None = 5000,
    statistic: Any = "lasso",
    n_draws: int = 1,
    threshold: float = 0.3,
    seed: int = 0,
    key_added: str = "knockoffs",
) -> Knockoffs:
    """Which genes say something about the target that no other gene says, at a false discovery rate.

    :func:`classify` with permutations asks of each gene alone whether it goes with the target; of twenty correlated genes of which
    one matters it calls twenty. Knockoffs ask for the one. They need more samples to find it: with fewer than ten genes that
    stand out none is called at 0.1.

    Parameters
    ----------
    adata
        Log expression, samples x genes.
    target
        ``.obs`` column: two classes, or numbers.
    fdr
        The false discovery rate.
    groups
        ``.obs`` column of donors. Samples have to be independent: those of a donor are averaged; each donor has one target.
    layer
        Layer to use in place of ``X``.
    screen
        How many genes to look at: the most variable. They are chosen without the target: a choice that has seen the target on these
        samples breaks the guarantee. None for all; the work grows with the square of the number.
    statistic
        ``"lasso"`` (its penalty by cross-validation; classes as numbers), or a scikit-learn estimator with ``coef_``: how much larger
        the coefficient of a gene is than that of its copy.
    n_draws
        Sets of copies. With one, other seeds call other genes near the edge. Several are averaged as e-values (Ren and Barber 2024),
        each set at ``fdr / 2``: steadier, but a set counts only if ``2 / fdr`` genes stand out in it (20 at 0.1), so that often
        none is called.
    threshold
        Mean absolute correlation up to which clusters of genes are joined to a block, whose correlations the copies keep.
    seed
        Of copies and folds.
    key_added
        Name of the results.

    Returns
    -------
    Knockoffs, and in ``adata``: ``.var["{key_added}_W"]`` (how much more the model uses a gene than its copy, mean over draws),
    ``.var["{key_added}_q"]`` (the smallest rate at which the gene is called; NaN for genes not looked at), ``.uns[key_added]`` = params,
    n_called, n_genes, n_samples, n_blocks, self_correlation, note, versions.

    Raises
    ------
    MissingPackageError
        Without hidimstat: ``pip install 'geneml-bio[knockoffs]'``.
    ColumnNotFoundError, TargetError, InputError, StorageError, ViewError
        Each says what was got, what was expected and what to do; ``adata`` is then as it was.

    Notes
    -----
    Gaussian copies with the same second moments, in blocks of correlated genes. How well the rate is kept in simulated studies with
    correlated genes stands on the page "discoveries".

    References
    ----------
    Candes, Fan, Janson and Lv (2018), J R Stat Soc B 80:551; Ren and Barber (2024), J R Stat Soc B 86:122; Python: hidimstat.
    """
    # 1. extract
    check_writable(adata)
    key = keys.check_key(key_added)
    earlier = adata.uns.get(key)
    if earlier is not None and not (isinstance(earlier, Mapping) and "self_correlation" in earlier):
        raise StorageError(
            f"adata.uns[{key!r}] holds something else, which the results would destroy; use another key_added."
        )
    _check(fdr, n_draws, screen, threshold, statistic, seed)
    cohort = extract_cohort(adata, target, task=_task(adata, target), layer=layer, groups=groups)
    X, y = _independent(cohort, target)
    genes = _most_variable(X, screen)

    # 2. core
    how: dict[str, Any] = {"fdr": fdr, "n_draws": n_draws, "threshold": threshold, "seed": seed}
    result = knockoffs_core(X[:, genes], y, statistic=statistic, **how)

    # 3. attach
    named = statistic if isinstance(statistic, str) else type(statistic).__name__
    asked = {
        "target": target,
        "groups": groups,
        "layer": layer,
        "screen": "all" if screen is None else screen,
        "statistic": named,
    }
    about = {
        "params": asked | how,
        "n_called": int(result.called.sum()),
        "n_genes": len(genes),
        "n_samples": len(y),
        "n_blocks": result.n_blocks,
        "self_correlation": float(result.self_correlation.mean()),
        "note": _NOTE,
        "versions": versions(),
    }
    attach(adata, knockoff_writes(adata, genes, result.W.mean(axis=0), result.q, about, key))
    return result


def _check(fdr: Any, n_draws: Any, screen: Any, threshold: Any, statistic: Any, seed: Any) -> None:
    def number(value: Any, kinds: Any) -> bool:
        return isinstance(value, kinds) and not isinstance(value, bool)

    if not number(fdr, float | int | np.number) or not 0 < fdr < 1:
        raise InputError(f"fdr must be a number between 0 and 1, got {fdr!r}.")
    if not number(threshold, float | int | np.number) or not 0 < threshold < 1:
        raise InputError(f"threshold must be a correlation between 0 and 1, got {threshold!r}.")
    if not number(n_draws, int | np.integer) or n_draws < 1:
        raise InputError(f"n_draws must be a whole number of at least 1, got {n_draws!r}.")
    if not number(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed must be a whole number of at least 0, got {seed!r}.")
    if screen is not None and (not number(screen, int | np.integer) or screen < 2):
        raise InputError(
            f"screen must be a count of genes (the most variable), or None for all; got {screen!r}. Genes that the target chose on these "
            "samples would break the guarantee."
        )
    if statistic != "lasso" and not hasattr(statistic, "get_params"):
        raise InputError(f"statistic must be 'lasso' or a scikit-learn estimator with coef_, got {statistic!r}.")


def _task(adata: AnnData, target: str) -> str:
    """Numbers are regressed, anything else is classified; a column that is not there is refused by what extracts it."""
    kind = adata.obs[target].dtype if target in adata.obs else None
    number = kind is not None and pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind)
    return "regression" if number else "classification"


def _independent(cohort: Cohort, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Dense expression and numeric target of independent samples: a donor's samples are averaged."""
    if cohort.classes and len(cohort.classes) != 2:
        raise TargetError(
            f"Knockoffs need two classes or a number; {target!r} has {len(cohort.classes)} classes. Make a column of one class against "
            "the others."
        )
    y = (cohort.target == cohort.classes[1]).astype(float) if cohort.classes else np.asarray(cohort.target, dtype=float)
    X = cohort.X.toarray() if sparse.issparse(cohort.X) else np.asarray(cohort.X, dtype=float)
    if np.isnan(X).any():
        raise InputError("Knockoffs need expression without gaps; fill the missing values or drop those genes.")
    if cohort.groups is not None:
        code, names = pd.factorize(cohort.groups)
        by = pd.DataFrame({"y": y}).groupby(code)["y"]
        if (by.nunique() > 1).any():
            mixed = names[int(np.flatnonzero(by.nunique() > 1)[0])]
            raise InputError(
                f"Donor {mixed!r} has samples of different {target!r}: knockoffs need one target a donor. Compare donors, or take the "
                "difference within each donor as the expression."
            )
        X = np.asarray(pd.DataFrame(X).groupby(code).mean())
        y = by.first().to_numpy()
    if not np.std(y) > 0:
        raise TargetError(f"The target {target!r} has one value only.")
    return X, y


def _most_variable(X: np.ndarray, screen: int | None) -> np.ndarray:
    """Positions of the genes to look at: those that vary, the most variable first where there are more than asked for."""
    spread = X.var(axis=0)
    there = np.flatnonzero(spread > 1e-12 * max(1.0, float(spread.max(initial=0.0))))
    constant = X.shape[1] - len(there)
    if len(there) < 2:
        raise InputError(f"Only {len(there)} of {X.shape[1]} genes vary over the samples.")
    if constant:
        warnings.warn(f"{constant} constant genes were left out; they get NaN.", DataWarning, stacklevel=3)
    if screen is None or len(there) <= screen:
        return there
    warnings.warn(
        f"The {screen:,} most variable of {len(there):,} genes were looked at (screen=); the others get NaN.",
        DataWarning,
        stacklevel=3,
    )
    return np.sort(there[np.argsort(-spread[there], kind="stable")[:screen]])
