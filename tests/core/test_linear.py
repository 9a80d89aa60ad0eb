"""The one pass over X: sums of tiles and pieces against residuals gene by gene, in every layout, whatever the number of threads."""

from __future__ import annotations

from threading import Event, Thread

import numpy as np
import pytest
from scipy import sparse
from threadpoolctl import threadpool_info, threadpool_limits

from geneml_bio.core import linear, threads
from geneml_bio.core.linear import lm_fit


def residuals(X: np.ndarray, D: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and residual variances from residuals themselves, gene by gene around its mean."""
    X = X.astype(np.longdouble)
    centre = X.mean(axis=0)
    solve = np.linalg.pinv(D).astype(np.longdouble)
    coef = np.zeros((D.shape[1], X.shape[1]), dtype=np.longdouble)
    left = X - centre
    for _ in range(3):  # refined until nothing of the design is left in the residuals
        step = solve @ left
        coef += step
        left = left - D.astype(np.longdouble) @ step
    at = np.linalg.pinv(D) @ np.ones(len(D))
    coef = coef + at[:, None] * centre
    spare = (1 - D @ at)[:, None] * centre  # what of the mean the design cannot hold
    left = left + spare
    return np.asarray(coef.T, dtype=float), np.asarray((left**2).sum(axis=0) / (len(D) - D.shape[1]), dtype=float)


def designs(rng, n: int, kind: str) -> np.ndarray:
    group = np.arange(n) % 2
    rng.shuffle(group)
    return {
        "one": np.ones((n, 1)),
        "two": np.column_stack([np.ones(n), group]),
        "cells": np.column_stack([1 - group, group]),
        "covariates": np.column_stack([np.ones(n), group, rng.normal(size=(n, 2)) * 100 + 1000]),
        "origin": rng.normal(size=(n, 2)) + 3,
    }[kind]


LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "F strided": lambda X: np.asfortranarray(np.repeat(X, 2, axis=1))[:, ::2],
    "backwards": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "csr_array": sparse.csr_array,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["one", "two", "cells", "covariates", "origin"])
def test_sums_by_tiles_equal_residuals_gene_by_gene(layout, kind, monkeypatch):
    monkeypatch.setattr(linear, "_LONG", 30)
    monkeypatch.setattr(linear, "_TILE", 30 * 7)
    monkeypatch.setattr(linear, "_PIECE", 200)
    for seed, n in enumerate((6, 23, 90, 211)):
        rng = np.random.default_rng(seed)
        D = designs(rng, n, kind)
        X = np.round(rng.gamma(1.0, 3.0, size=(n, 61)), 3)
        X[:, 5] = X[:, 6] + 1e5  # far from zero
        X[:, 7] = 0.0
        X[: n // 2, 9] *= 1e3
        X[rng.random(X.shape) < 0.4] = 0.0
        X[:, 10] = 17.3
        X[:, 8] = D[:, -1] * 5 + rng.normal(size=n) * 1e-4  # all but explained
        got = lm_fit(LAYOUTS[layout](X), D)
        coef, sigma2 = residuals(X, D)
        scale = np.abs(X).max(axis=0)[:, None] / np.abs(D).max(axis=0)
        assert (np.abs(got.coefficients - coef) <= 1e-9 * (np.abs(coef) + scale)).all()
        rounding = 3e-14 * np.abs(X).max(axis=0)
        assert (np.abs(np.sqrt(got.sigma2) - np.sqrt(sigma2)) <= 1e-9 * np.sqrt(sigma2) + rounding).all()
        np.testing.assert_allclose(got.ave_expr, X.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint8, bool, ">f8"])
def test_every_kind_of_number_is_summed_in_double_precision(dtype):
    rng = np.random.default_rng(3)
    X = rng.poisson(3, size=(40, 30)).astype(dtype)
    D = designs(rng, 40, "two")
    whole = lm_fit(X.astype(float), D)
    for got in (lm_fit(X, D), lm_fit(sparse.csr_matrix(X.astype(np.dtype(dtype).newbyteorder("="))), D)):
        np.testing.assert_allclose(got.sigma2, whole.sigma2, rtol=1e-12)


def test_the_numbers_do_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(threads, "_PARALLEL", 1)
    monkeypatch.setattr(linear, "_PIECE", 5000)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5000))
    X[5, 100:200] = np.nan
    D = designs(rng, 300, "covariates")
    used = []
    for form in (X, sparse.csr_matrix(np.where(np.abs(X) > 1, np.nan_to_num(X), 0))):
        fits = []
        for limit in (1, 2):
            with threadpool_limits(limit):
                monkeypatch.setattr(threads, "cpu_count", lambda: 2)
                fits.append(lm_fit(form, D))
        used.append(fits)
    for one, two in used:
        for name in ("coefficients", "sigma2", "ave_expr", "df_residual"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert np.isfinite(used[0][0].sigma2).all()


def test_threads_come_into_one_thread_in_turn_and_leave_blas_as_it_was():
    """Two at a time, as in a worker with several threads, would leave it at one thread for good."""

    def blas() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    started, seen = Event(), []

    def work() -> None:
        started.set()
        with threads.one_thread():
            seen.append(blas())

    limits = threadpool_limits(2)
    before, other = blas(), Thread(target=work)
    with threads.one_thread():
        other.start()
        assert started.wait(10)
        with threads.one_thread():
            assert blas() == {1}
        other.join(0.1)
        assert not seen
        assert blas() == {1}
    other.join(10)
    assert seen == [{1}]
    assert blas() == before != {1}
    limits.restore_original_limits()


@pytest.mark.parametrize("kind", ["one", "two", "cells", "covariates", "origin"])
def test_genes_with_missing_values_are_fitted_as_if_alone(kind, monkeypatch):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(24, 150)) + 8
    X[:, 5] += 1e5
    X[:, 6] = 17.3
    D = designs(rng, 24, kind)
    X[rng.random(X.shape) < np.repeat([0.05, 0.6, 0.9], 50)] = np.nan
    X[:, 20] = np.nan
    group = D[:, min(1, D.shape[1] - 1)] > np.median(D[:, min(1, D.shape[1] - 1)])
    X[group, 21] = np.nan  # a coefficient has no estimate
    together = lm_fit(X, D)
    monkeypatch.setattr(linear, "_WIDE", 0)  # by pattern, each on the samples it has
    by_pattern = lm_fit(X, D)
    for name in ("coefficients", "stdev_unscaled", "sigma2", "df_residual", "ave_expr"):
        one, other = getattr(together, name), getattr(by_pattern, name)
        np.testing.assert_allclose(one, other, rtol=2e-9, atol=1e-10, err_msg=name)
    for j in (0, 5, 60, 70):
        seen = ~np.isnan(X[:, j])
        if np.linalg.matrix_rank(D[seen]) == D.shape[1] < seen.sum():
            coef, sigma2 = residuals(X[seen][:, [j]], D[seen])
            np.testing.assert_allclose(together.coefficients[j], coef[0], rtol=1e-8, atol=1e-9 * np.abs(coef).max())
            np.testing.assert_allclose(together.sigma2[j], sigma2[0], rtol=1e-8)
