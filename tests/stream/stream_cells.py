"""Small atlases of cells, and gb.tl.stream asked of them: for the tests of this folder."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.linear_model import LogisticRegression

import geneml_bio as gb

EXACT = {"mine": LogisticRegression(C=0.1, tol=1e-10, max_iter=5000), "xgboost": "xgboost"}
QUIET = {"screen": 20, "tune": False, "progress": False, "n_jobs": 1, "groups": "donor", "models": EXACT}


def cells(n: int = 1200, p: int = 80, n_donors: int = 12, k: int = 2, seed: int = 0) -> ad.AnnData:
    """Log counts of cells of several donors; a donor is of one class."""
    rng = np.random.default_rng(seed)
    donor = rng.integers(0, n_donors, n)
    kind = donor % k
    rate = np.exp(rng.normal(0, 0.5, p))[None, :] * np.ones((n, 1))
    for c in range(1, k):
        rate[:, 5 * c : 5 * c + 5] *= np.where(kind == c, 1.8, 1.0)[:, None]
    X = sparse.csr_matrix(np.log1p(rng.poisson(rate)).astype(np.float32))
    obs = pd.DataFrame({"kind": pd.Categorical([f"k{c}" for c in kind]), "donor": [f"d{d}" for d in donor]})
    obs["score"] = np.asarray(X[:, :5].sum(axis=1)).ravel() + rng.normal(size=n)
    obs.index = [f"cell{i}" for i in range(n)]
    return ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"g{j}" for j in range(p)]))


def streamed(source, **more) -> ad.AnnData:
    return gb.tl.stream(source, "kind", **(QUIET | {"n_splits": 3, "n_shap": 100, "chunk_size": 500} | more))


def same(a: ad.AnnData, b: ad.AnnData) -> None:
    np.testing.assert_allclose(a.obsm["classify_oof"].to_numpy(), b.obsm["classify_oof"].to_numpy(), atol=1e-6)
    np.testing.assert_array_equal(a.var["classify_selected"], b.var["classify_selected"])
