"""Screens summed over the cells that training parts have in common: against direct fits, and blind to what is held out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedKFold

from geneml_bio.core import cells, shared_screen
from geneml_bio.core.cells import cells_of
from geneml_bio.core.errors import InputError
from geneml_bio.core.screen import ModeratedScreen, design_of
from geneml_bio.core.shared_screen import Ask, moderated_statistics
from geneml_bio.core.squeeze import squeeze_rows, squeeze_var

FORMS = {
    "fortran": np.asfortranarray,
    "view": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "csr": sparse.csr_matrix,
    "csr32": sparse.csr_array,
}


def nested(y: np.ndarray, outer: int, inner: int, seed: int = 0) -> list[np.ndarray]:
    sets = []
    for k, (train, _) in enumerate(StratifiedKFold(outer, shuffle=True, random_state=seed).split(y, y)):
        parts = StratifiedKFold(inner, shuffle=True, random_state=k).split(train, y[train])
        sets += [train, *(train[rows] for rows, _ in parts)]
    return sets


def asks_of(y: np.ndarray, sets: list[np.ndarray]) -> list[Ask]:
    return [Ask(rows, *design_of(y[rows], "classification", None)) for rows in sets]


def study(seed: int, n: int, k: int, p: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % k)
    X = rng.normal(8, 1, size=(n, p)) * rng.gamma(2, 1, size=p)
    X[:, :10] += 0.7 * y[:, None]
    X[:, 20] = 5.0
    X[:, 21] = 1e4 + rng.normal(size=n)
    X[: n // 4, 22] = 1e5
    X[:, 23] = 0.0
    return X, y


def passes_by_cells(monkeypatch, noted) -> list[int]:
    """Sums by cells whatever the size, in small tiles; what is noted of the groups of training parts of each pass."""
    seen: list[int] = []
    inside = shared_screen.sums_by_cells
    monkeypatch.setattr(shared_screen, "_WORTH", 0)
    monkeypatch.setattr(cells, "_ROWS", 37)
    monkeypatch.setattr(cells, "_COLUMNS", 64)
    monkeypatch.setattr(
        shared_screen,
        "sums_by_cells",
        lambda X, groups, *given: seen.append(noted(groups)) or inside(X, groups, *given),
    )
    return seen


@pytest.fixture
def used(monkeypatch) -> list[int]:
    """How many groups of training parts each pass had."""
    return passes_by_cells(monkeypatch, len)


@pytest.mark.parametrize("form", ["float64", "float32", "int32", "fortran", "view", "gaps", "csr", "csr32"])
@pytest.mark.parametrize(("outer", "inner", "k"), [(5, 5, 2), (5, 5, 3), (10, 3, 2), (3, 10, 4)])
def test_statistics_are_those_of_direct_fits(form, outer, inner, k, used):
    for seed in range(2):
        X, y = study(seed, 150, k)
        rng = np.random.default_rng(seed)
        if form == "gaps":
            X[rng.random(X.shape) < 0.002] = np.nan
        if form == "int32":
            X = np.round(X * 100)
        if form.startswith("csr"):
            X[rng.random(X.shape) < 0.6] = 0.0
            X = X.astype(np.float32 if form == "csr32" else float)
        shown = FORMS.get(form, np.asarray)(X)
        if form in ("float32", "int32"):
            shown = X = X.astype(form)
        sets = nested(y, outer, inner)
        found = list(moderated_statistics(shown, asks_of(y, sets), impute=form == "gaps"))
        assert used.pop() == outer
        for rows, got in zip(sets[:: 1 + len(sets) // 8], found[:: 1 + len(sets) // 8], strict=True):
            part = SimpleImputer(strategy="median", keep_empty_features=True).fit_transform(X[rows])
            direct = ModeratedScreen(k=20, task="classification").fit(part, y[rows])
            np.testing.assert_allclose(got.values, direct.statistic_, rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose([got.df_prior, got.s2_prior], [direct.df_prior_, direct.s2_prior_], rtol=1e-8)


def test_a_trend_follows_the_means_of_each_training_part(used):
    X, y = study(0, 150, 2)
    sets = nested(y, 5, 5)
    found = list(moderated_statistics(X, asks_of(y, sets), trend=True))
    assert used
    for rows, got in zip(sets[::7], found[::7], strict=True):
        direct = ModeratedScreen(k=5, trend=True).fit(X[rows], y[rows])
        np.testing.assert_allclose(got.values, direct.statistic_, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(got.s2_prior, direct.s2_prior_, rtol=1e-8)


@pytest.mark.parametrize("by_cells", [True, False])
@pytest.mark.parametrize("k", [2, 3])
def test_held_out_samples_have_no_influence_not_even_in_the_last_digit(by_cells, k, used, monkeypatch):
    if not by_cells:
        monkeypatch.setattr(shared_screen, "_WORTH", np.inf)
    for seed in range(3):
        X, y = study(seed, 150, k)
        X = X if seed else X[:, 24:]  # without genes that need a floor under their variances
        rng = np.random.default_rng(seed)
        sets = nested(y, 5, 5, seed)
        asks = asks_of(y, sets)
        before = [one.values.copy() for one in moderated_statistics(X, asks)]
        for _ in range(3):
            held_out = np.setdiff1d(np.arange(len(y)), sets[rng.integers(len(sets))])
            changed = rng.choice(held_out, 4, replace=False)
            wild = X.copy()
            wild[changed] = rng.choice([1e100, -1e100, 3e8, 0.0, 9.0], size=(4, X.shape[1]))
            after = [one.values for one in moderated_statistics(wild, asks)]
            same = [np.isin(changed, rows).sum() == 0 for rows in sets]
            assert 0 < sum(same) < len(sets)
            for rows_left_out, one, other in zip(same, before, after, strict=True):
                assert np.array_equal(one, other) == rows_left_out
    assert bool(used) == by_cells


def test_variances_of_many_sets_are_squeezed_each_by_itself():
    for seed in range(5):
        rng = np.random.default_rng(seed)
        df = rng.integers(3, 30, 7).astype(float)
        rss = rng.chisquare(df[:, None], (7, 300)) * rng.gamma(3, 1, (7, 300))
        rss[1] = rng.chisquare(df[1], 300)  # no more than chance: pooled, more often than not
        rss[2, :5], rss[3, 4] = 0.0, 1e-9  # below the floor
        for k in range(7):
            alone = squeeze_rows(rss[k : k + 1].copy(), df[k : k + 1])
            together = squeeze_rows(rss.copy(), df)
            for one, other in zip(alone, together, strict=True):
                np.testing.assert_array_equal(one[0], other[k])
            for one, other in zip(squeeze_var(rss[k] / df[k], df[k]), alone, strict=True):
                np.testing.assert_allclose(other[0], one, rtol=1e-12)


def test_cells_add_up_to_the_training_parts_and_none_is_counted_twice():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(200, 400)), int(rng.integers(2, 5))
        y = rng.permutation(np.arange(n) % k)
        asks = asks_of(y, nested(y, int(rng.integers(3, 7)), int(rng.integers(3, 7)), seed))
        asks = asks[::-1] if seed % 2 else asks
        groups = cells_of(asks, n) or []
        assert sorted(np.concatenate([np.arange(len(asks))[group.members] for group in groups])) == list(
            range(len(asks))
        )
        for group in groups:
            assert len(set(group.rows)) == len(group.rows) == group.start[-1]
            cell = np.repeat(np.arange(len(group.start) - 1), np.diff(group.start))
            for member, inside, basis in zip(
                np.arange(len(asks))[group.members], group.inside, group.basis, strict=True
            ):
                ask = asks[member]
                np.testing.assert_array_equal(np.sort(group.rows[inside[cell] == 1]), ask.rows)
                q = np.zeros((n, ask.tested + 1))
                q[group.rows] = basis[:, cell].T
                np.testing.assert_allclose(q.T @ q, np.eye(ask.tested + 1), atol=1e-12)
                np.testing.assert_allclose(q[ask.rows] @ (q[ask.rows].T @ ask.design), ask.design, atol=1e-12)


def test_what_cells_do_not_fit_is_left_to_the_matrix_product(used):
    X, y = study(0, 150, 2)
    sets, rng = nested(y, 5, 5), np.random.default_rng(0)
    everyone = np.arange(150)
    for asks in (
        asks_of(y, [np.delete(everyone, i) for i in everyone]),  # leave one out
        [ask for _ in range(20) for ask in asks_of(rng.permutation(y), [everyone])],  # permuted targets
        [Ask(rows, *design_of(y[rows], "classification", rng.normal(size=(len(rows), 2)))) for rows in sets],
        [Ask(rows, *design_of(rng.normal(size=len(rows)), "regression", None)) for rows in sets],
        asks_of(y, [np.sort(rng.choice(150, 150)) for _ in range(3)]),  # samples drawn twice
    ):
        assert cells_of(asks, 150) is None
    several = [
        ask for _ in range(4) for ask in asks_of(rng.permutation(y), sets)
    ]  # permuted targets, each with its folds
    found = list(moderated_statistics(X, several))
    assert used
    for ask, got in zip(several[::11], found[::11], strict=True):
        direct = ModeratedScreen(k=5).fit(X[ask.rows], ask.design[:, 1])
        np.testing.assert_allclose(got.values, direct.statistic_, rtol=1e-8, atol=1e-9)


def test_missing_and_huge_values_are_refused(used):
    X, y = study(0, 150, 2)
    asks = asks_of(y, nested(y, 5, 5))
    X[3, 7] = 1e200
    with pytest.raises(InputError, match="Values of 1 genes are too large"):
        list(moderated_statistics(X, asks))
    X[3, 7] = np.nan
    with pytest.raises(InputError, match="1 genes have missing values"):
        list(moderated_statistics(X, asks))
    assert used


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_a_class_that_a_fold_lacks(used):
    X, y = study(0, 150, 2)
    y = y.copy()
    y[:4] = 2
    sets = [*nested(y, 5, 5), np.arange(4, 150)]
    found = list(moderated_statistics(X, asks_of(y, sets)))
    assert used
    for rows, got in zip(sets, found, strict=True):
        direct = ModeratedScreen(k=5).fit(X[rows], y[rows])
        np.testing.assert_allclose(got.values, direct.statistic_, rtol=1e-8, atol=1e-9)
