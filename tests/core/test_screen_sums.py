"""The sums behind the screens of many training parts, in each way they are made: against direct fits, blind to what is held out."""

from __future__ import annotations

from threading import Event, current_thread

import numpy as np
import pytest
from scipy import sparse
from sklearn.impute import SimpleImputer
from test_cells import nested, passes_by_cells, study
from threadpoolctl import threadpool_limits

from geneml_bio.core import shared_screen, threads
from geneml_bio.core.cells import cells_of
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


# -- columns that designs have in common: numbers, covariates -------------------------------------------------------------

DESIGNS = {
    "numbers": ("regression", 0, 0),
    "numbers and covariates": ("regression", 0, 3),
    "two classes and covariates": ("classification", 2, 2),
    "four classes and a covariate": ("classification", 4, 1),
}


@pytest.fixture
def weighted(monkeypatch) -> list[int]:
    """How many columns genes were multiplied by in each pass."""
    return passes_by_cells(monkeypatch, lambda groups: groups[0].columns.shape[1])


def with_columns(seed: int, design: str, n: int = 150) -> tuple:
    task, k, n_covariates = DESIGNS[design]
    X, y = study(seed, n, max(k, 2))
    rng = np.random.default_rng(seed)
    covariates = rng.normal(50, 3, size=(n, n_covariates)) if n_covariates else None
    if n_covariates > 1:
        covariates[:, 0] = rng.integers(0, 2, n)
    if not k:
        y = rng.normal(1.0, 0.2, size=n) + 0.1 * y
        X[:, 10:15] += 2 * y[:, None]
    sets = nested(np.arange(n) % 2, 5, 5, seed)
    return X, y, covariates, sets, asks_of(y, sets, task, covariates)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("form", ["float64", "float32", "int32", "fortran", "gaps"])
def test_statistics_with_columns_are_those_of_direct_fits(design, form, weighted):
    for seed in range(2):
        X, y, covariates, sets, asks = with_columns(seed, design)
        rng = np.random.default_rng(seed)
        X[:, 30:40] = 0.0
        X[:3, 30] = 1.0
        if form == "gaps":
            X[rng.random(X.shape) < 0.003] = np.nan
        if form in ("float32", "int32"):
            X = (X * 100).astype(form)
        shown = np.asfortranarray(X) if form == "fortran" else X
        found = list(moderated_statistics(shown, asks, impute=form == "gaps", trend=seed == 1))
        assert weighted.pop() == asks[0].design.shape[1] - 1
        for rows, got in list(zip(sets, found, strict=True))[seed::4]:
            part = SimpleImputer(strategy="median", keep_empty_features=True).fit_transform(X[rows])
            screen = ModeratedScreen(5, task=DESIGNS[design][0], trend=seed == 1)
            direct = screen.fit(part, y[rows], None if covariates is None else covariates[rows])
            np.testing.assert_allclose(got.values, direct.statistic_, rtol=1e-8, atol=1e-9)
            np.testing.assert_allclose(got.df_prior, direct.df_prior_, rtol=1e-8)
            np.testing.assert_allclose(got.s2_prior, direct.s2_prior_, rtol=1e-8)


@pytest.mark.parametrize("design", DESIGNS)
def test_genes_of_held_out_samples_have_no_influence_with_columns_either(design, weighted):
    X, _, _, sets, asks = with_columns(1, design)
    X = X[:, 24:]
    rng = np.random.default_rng(0)
    before = [one.values.copy() for one in moderated_statistics(X, asks)]
    for rows in sets[::5]:
        changed = rng.choice(np.setdiff1d(np.arange(150), rows), 4, replace=False)
        wild = X.copy()
        wild[changed] = rng.choice([1e100, -1e100, 3e8, 0.0, 9.0], size=(4, X.shape[1]))
        for other, one, after in zip(sets, before, moderated_statistics(wild, asks), strict=True):
            assert np.array_equal(one, after.values) == (not np.isin(changed, other).any())
    assert weighted


def test_columns_that_designs_do_not_share_are_left_to_the_matrix_product(weighted):
    X, y, _, sets, asks = with_columns(0, "numbers")
    rng = np.random.default_rng(0)
    near = rng.normal(size=(150, 1))
    left = {
        "other numbers": [*asks[:-1], asks_of(rng.normal(size=150), sets[-1:], "regression")[0]],
        "nearly one column": asks_of(y, sets, "regression", np.hstack([near, near + 1e-4 * rng.normal(size=(150, 1))])),
        "another number in one part": asks_of(y, sets[:-1], "regression")
        + asks_of(y + (np.arange(150) == sets[-1][0]), sets[-1:], "regression"),
        "a sample twice": asks_of(y, [*sets[:-1], np.sort(np.r_[sets[-1], sets[-1][:3]])], "regression"),
        "nothing in common": asks_of(y, [np.arange(75), np.arange(75, 150)], "regression"),
    }
    for name, given in left.items():
        assert cells_of(given, 150, columns=True) is None, name
    assert cells_of(asks, 150, columns=True)
    assert cells_of(asks, 150) is None
    for given in ("other numbers", "nearly one column"):
        for ask, got in list(zip(left[given], moderated_statistics(X, left[given]), strict=True))[::9]:
            target, adjust = ask.design[:, 1], ask.design[:, 2:] if ask.design.shape[1] > 2 else None
            direct = ModeratedScreen(5, task="regression").fit(X[ask.rows], target, adjust)
            np.testing.assert_allclose(got.values, direct.statistic_, rtol=1e-8, atol=1e-9)
    assert not weighted


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
            if threads._cores() > 1:
                assert len(who) == 2

            def fails(piece: int, done: list = done) -> None:
                if piece == 3:
                    raise KeyError(piece)
                threads.in_threads(done.append, range(2), 1 << 30)  # within: one thread

            with pytest.raises(KeyError, match="3"):
                threads.in_threads(fails, range(9), 1 << 30)


def test_a_thread_that_does_not_wake_is_not_waited_for():
    """As in a forked process, where it is not."""
    if threads._cores() < 2:
        pytest.skip("this machine has one core, on which nothing is given to a second thread")
    with threadpool_limits(2):
        asleep, done = Event(), []
        threads._beside(1).submit(asleep.wait, 20)
        try:
            threads.in_threads(done.append, range(9), 1 << 30)
            assert sorted(done) == list(range(9))
            assert not asleep.is_set()
        finally:
            asleep.set()


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize(("limit", "sizes"), [(60, [30]), (50, [15, 15]), (0, [8, 8, 8, 6])])
def test_training_sets_are_taken_in_batches_that_are_alike(form, limit, sizes, monkeypatch):
    monkeypatch.setattr(shared_screen, "_SUMS", limit * 100)
    X, rows, y = np.ones((12, 100)), np.arange(12), np.arange(12) % 2
    classes, three = (Ask(rows, *design_of(target, "classification", None)) for target in (y, rows % 3))
    batches = list(shared_screen._batches(form(X), [classes] * 30))
    assert [len(batch) for batch in batches] == sizes
    assert [len(batch) for batch in shared_screen._batches(form(X), [classes, classes, three, classes])] == [2, 1, 1]


def test_a_covariate_does_not_part_the_folds_of_one_validation():
    """The sums of a dense matrix are made by tiles: what a batch holds are the results, however many columns make them."""
    rng = np.random.default_rng(0)
    rows, y, covariates = np.arange(20), np.arange(20) % 2, rng.normal(size=(20, 3))
    asks = [Ask(rows, *design_of(y, "classification", covariates))] * 30
    assert [len(batch) for batch in shared_screen._batches(np.ones((20, 60_000), dtype=np.int8), asks)] == [30]
