"""The sums behind the screens of many training parts, in each way they are made: against direct fits, blind to what is held out."""

from __future__ import annotations

from threading import Event, current_thread

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from test_cells import nested, study
from threadpoolctl import threadpool_limits

from geneml_bio.core import shared_screen, threads
from geneml_bio.core.screen import ModeratedScreen, design_of
from geneml_bio.core.shared_screen import Ask, moderated_statistics

WAYS = ("_by_class", "_by_product")


@pytest.fixture
def way(request, monkeypatch) -> str:
    """Makes sure that sums are made in one way, in small tiles."""
    seen = []
    inside = getattr(shared_screen, request.param)
    monkeypatch.setattr(shared_screen, "_ROWS", 23)
    monkeypatch.setattr(shared_screen, "_COLUMNS", 128)
    monkeypatch.setattr(shared_screen, request.param, lambda *given: seen.append(1) or inside(*given))
    if request.param == "_by_product":
        monkeypatch.setattr(shared_screen, "_classes_of", lambda *given: None)
    yield request.param
    assert seen


def asks_of(y, sets, task="classification", covariates=None) -> list[Ask]:
    return [Ask(rows, *design_of(y[rows], task, None if covariates is None else covariates[rows])) for rows in sets]


def assert_direct(X, y, sets, found, trend=False) -> None:
    for rows, got in zip(sets, found, strict=True):
        part = SimpleImputer(strategy="median", keep_empty_features=True).fit_transform(X[rows])
        direct = ModeratedScreen(5, trend=trend).fit(part, y[rows])
        np.testing.assert_allclose(got.values, direct.statistic_, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(got.df_prior, direct.df_prior_, rtol=1e-8)
        np.testing.assert_allclose(got.s2_prior, direct.s2_prior_, rtol=1e-8)


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize(("n", "k"), [(60, 2), (60, 3), (90, 5), (15, 2)])
@pytest.mark.parametrize("form", ["float64", "float32", "int32", "fortran", "gaps"])
def test_statistics_are_those_of_direct_fits(form, n, k, way):
    for seed in range(3):
        X, y = study(seed, n, k)
        rng = np.random.default_rng(seed)
        X[:, 30:40] = 0.0
        X[:3, 30] = 1.0  # no variance in some of the parts
        if form == "gaps":
            X[rng.random(X.shape) < 0.01] = np.nan
        if form in ("float32", "int32"):
            X = (X * 100).astype(form)
        sets = nested(y, 3, 3, seed)
        shown = np.asfortranarray(X) if form == "fortran" else X
        before = shown.copy()
        found = list(moderated_statistics(shown, asks_of(y, sets), impute=form == "gaps"))
        np.testing.assert_array_equal(shown, before)
        assert_direct(X, y, sets[::2], found[::2])


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("k", [2, 4])
def test_a_trend_follows_the_means(k, way):
    X, y = study(0, 80, k)
    sets = nested(y, 3, 3)
    assert_direct(X, y, sets, moderated_statistics(X, asks_of(y, sets), trend=True), trend=True)


@pytest.mark.parametrize("way", WAYS, indirect=True)
@pytest.mark.parametrize("k", [2, 3])
def test_held_out_samples_have_no_influence_not_even_in_the_last_digit(k, way):
    X, y = study(1, 70, k)
    rng = np.random.default_rng(0)
    sets = nested(y, 4, 4)
    asks = asks_of(y, sets)
    before = [one.values.copy() for one in moderated_statistics(X, asks)]
    for rows in sets[::3]:
        changed = rng.choice(np.setdiff1d(np.arange(70), rows), 4, replace=False)
        wild = X.copy()
        wild[changed] = rng.choice([1e100, -1e100, 3e8, 0.0, 9.0], size=(4, X.shape[1]))
        for other, one, after in zip(sets, before, moderated_statistics(wild, asks), strict=True):
            assert np.array_equal(one, after.values) == (not np.isin(changed, other).any())


def test_classes_are_found_only_where_they_are_the_same():
    y = study(0, 60, 2)[1]
    rng = np.random.default_rng(0)
    sets = nested(y, 3, 3)
    asks = asks_of(y, sets)
    inside, label = shared_screen._classes_of(asks, 60)
    np.testing.assert_array_equal(label, y)
    for rows, own in zip(sets, inside, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(own), rows)
    everyone = np.arange(60)
    for other in (
        asks_of(rng.permutation(y), [everyone]),
        asks_of(rng.normal(size=60), sets, "regression"),
        asks_of(y, sets, covariates=rng.normal(size=(60, 1))),
        [Ask(everyone, np.column_stack([np.ones(60), np.zeros(60)]), 1)],
        [Ask(everyone, np.column_stack([y, 1 - y]).astype(float), 1)],
        [Ask(everyone, np.ones((60, 3)), 2)],
    ):
        assert shared_screen._classes_of([*asks, *other], 60) is None


# -- threads -----------------------------------------------------------------------------------------------------------


def test_each_piece_is_done_once_by_this_thread_and_others_and_an_error_is_raised():
    with threadpool_limits(2):
        for _ in range(20):
            done, who, other_began = [], set(), Event()

            def work(piece: int, done: list = done, who: set = who, other_began: Event = other_began) -> None:
                who.add(current_thread().name)
                if len(who) > 1:
                    other_began.set()
                other_began.wait(5)  # until both are at work
                done.append(piece)

            threads.in_threads(work, range(9), 1 << 30)
            assert sorted(done) == list(range(9))
            if threads.cpu_count() > 1:
                assert len(who) == 2

            def fails(piece: int, done: list = done) -> None:
                if piece == 3:
                    raise KeyError(piece)
                threads.in_threads(done.append, range(2), 1 << 30)  # within: one thread

            with pytest.raises(KeyError, match="3"):
                threads.in_threads(fails, range(9), 1 << 30)


def test_a_thread_that_does_not_wake_is_not_waited_for():
    """As in a forked process, where it is not."""
    if threads.cpu_count() < 2:
        pytest.skip("needs two cores")
    with threadpool_limits(2):
        asleep, done = Event(), []
        threads._beside(1).submit(asleep.wait, 20)
        try:
            threads.in_threads(done.append, range(9), 1 << 30)
            assert sorted(done) == list(range(9))
            assert not asleep.is_set()
        finally:
            asleep.set()
