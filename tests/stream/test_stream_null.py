"""Sums of streamed data keep their digits; permuted targets and test sets are those of gb.tl.classify."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge
from stream_cells import cells

import geneml_bio as gb
from geneml_bio.core import streamed_null, streamed_screens
from geneml_bio.core.screen import ModeratedScreen
from geneml_bio.core.streamed_front import Cells, by_donor, by_fold, front, shift, summed
from geneml_bio.core.streamed_part import Job

# labels without signal: L-BFGS stops some 1e-5 away from the optimum
LINEAR = {"mine": LogisticRegression(C=0.1, tol=1e-12, solver="newton-cholesky")}
# before 1.7 scikit-learn's line search gives up among single numbers, and L-BFGS takes over
NEAR = 1e-6 if tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 7) else 2e-4
HOW = {"screen": 10, "n_splits": 3, "tune": False, "progress": False, "n_jobs": 1}


class Held:
    """Rows in memory."""

    def __init__(self, X):
        self.X, self.shape, self.dtype = X, X.shape, X.dtype

    def read(self, start, stop):
        return self.X[start:stop]

    def remote(self):
        return None


def summed_here(X, job: Job, parts: Cells) -> dict:
    """Sums of a partition, and the shift of each gene."""
    moved = shift(Held(X), job)
    return summed(Held(X), job, [parts], moved, False, "")[0] | {"shift": moved}


def far(n: int, p: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Genes near 0, 1e6 and -1e6, a constant one, one of zeros, and one that is far away in some donors only."""
    rng = np.random.default_rng(seed)
    donor = np.sort(rng.integers(0, 12, n))
    y = donor % 2
    X = rng.normal(size=(n, p)) + y[:, None] * rng.normal(0, 0.3, p)
    X[:, : p // 3] += 1e6
    X[:, p // 3 : p // 2] -= 1e6
    X[:, -1], X[:, -2] = 7.3, 0.0
    X[:, -3] += 1e5 * (donor > 8)
    return X, y, donor


@pytest.mark.parametrize("kind", ["float64", "float32", "csr", "holes"])
@pytest.mark.parametrize("by", ["fold", "donor"])
def test_genes_far_from_zero_keep_their_digits(kind, by):
    X, y, donor = far(900, 30, seed=1)
    if kind == "float32":
        X = X.astype(np.float32)
    elif kind == "csr":
        X = sparse.csr_matrix(X)
    elif kind == "holes":
        X[np.random.default_rng(0).random(X.shape) < 0.6] = 0
        X = sparse.csr_matrix(X)
    fold = donor // 2 % 3
    job = Job(y, fold, 2, donor, 10, (), False, 0, 170, 1)
    parts = by_donor(donor, y, fold, 2, 30) if by == "donor" else by_fold(y, fold, 2)
    sums = summed_here(X, job, parts)
    moved = sums.pop("shift")
    for f in range(3):
        learned = fold != f
        screen, scaler = front(job, sums, moved, parts, parts.fold != f)
        # a whole number taken from all values of a gene is exact, and changes nothing
        dense = (X.toarray() if sparse.issparse(X) else X).astype(float)[learned]
        direct = ModeratedScreen("all", task="classification").fit(dense - np.round(dense.mean(axis=0)), y[learned])
        assert np.isfinite(direct.statistic_).sum() >= 28
        np.testing.assert_allclose(screen.statistic_, direct.statistic_, rtol=1e-8, atol=1e-8)
        chosen = screen.get_support(indices=True)
        np.testing.assert_allclose(scaler.var_, dense.var(axis=0)[chosen], rtol=1e-7)
        np.testing.assert_allclose(scaler.mean_, dense.mean(axis=0)[chosen], rtol=1e-12)


def test_numbers_and_held_out_rows():
    X, _, donor = far(600, 30, seed=2)
    y = X[:, 12] + np.random.default_rng(0).normal(size=600) + 1e7
    fold = donor % 3
    job = Job(y, fold, 0, None, 10, (), False, 0, 170, 1)
    parts = by_fold(y, fold, 0)
    for matrix in (X, sparse.csr_matrix(X)):
        sums = summed_here(matrix, job, parts)
        moved = sums.pop("shift")
        screen, _ = front(job, sums, moved, parts, parts.fold != 1)
        mine = X[fold != 1]
        direct = ModeratedScreen("all", task="regression").fit(mine - np.round(mine.mean(axis=0)), y[fold != 1])
        np.testing.assert_allclose(screen.statistic_, direct.statistic_, rtol=1e-8, atol=1e-8)
    other = X.copy()
    other[fold == 1] = other[fold == 1] * -3 + 17  # what is held out changes nothing but roundings
    again = summed_here(other, job, parts)
    moved = again.pop("shift")
    later, _ = front(job, again, moved, parts, parts.fold != 1)
    np.testing.assert_allclose(later.statistic_, screen.statistic_, rtol=1e-8, atol=1e-8)


def same_null(mine: ad.AnnData, theirs: ad.AnnData, key: str = "classify", atol: float = NEAR) -> None:
    a, b = (gb.get.null(x, key).sort_values(["permutation", "model", "metric"]) for x in (mine, theirs))
    assert list(a["metric"]) == list(b["metric"])
    assert list(a["model"]) == list(b["model"])
    np.testing.assert_allclose(a["value"], b["value"], atol=atol)
    for name in ("p", "q"):
        np.testing.assert_allclose(mine.var[f"{key}_empirical_{name}"], theirs.var[f"{key}_empirical_{name}"])
    a, b = (gb.get.metrics(x, key).set_index(["model", "metric"]) for x in (mine, theirs))
    for name in ("value", "null_mean", "null_high", "p_value"):
        rows = a.index
        if name == "value":  # what picking the best deserves is from resamples, drawn in another order of the samples
            rows = rows[~rows.get_level_values("model").str.startswith("best of")]
        np.testing.assert_allclose(a.loc[rows, name], b.loc[rows, name], atol=atol)
    assert mine.uns[key]["params"].get("n_arrangements") == theirs.uns[key]["params"].get("n_arrangements")
    assert mine.uns[key]["verdict"].split("[")[0] == theirs.uns[key]["verdict"].split("[")[0]


@pytest.mark.parametrize("groups", ["donor", "mixed", None])
def test_permuted_targets_are_those_of_classify(groups, tmp_path, monkeypatch):
    atlas = cells(400, 40, seed=3)
    atlas.X = atlas.X.astype(np.float64)  # scikit-learn 1.7 fits single numbers in single precision, to 5e-6
    atlas.obs["mixed"] = [f"m{i}" for i in np.random.default_rng(0).integers(0, 10, atlas.n_obs)]
    how = HOW | {
        "models": LINEAR | ({"xgboost": "xgboost"} if groups == "donor" else {}),
        "groups": groups,
        "n_permutations": 4,
    }
    memory = atlas.copy()
    gb.tl.classify(memory, "kind", n_repeats=1, **how)
    atlas.write_h5ad(tmp_path / "a.h5ad")
    reads = []
    true = gb.bridge.backed.BackedSource.read
    monkeypatch.setattr(gb.bridge.backed.BackedSource, "read", lambda self, a, b: reads.append(a) or true(self, a, b))
    result = gb.tl.stream(tmp_path / "a.h5ad", "kind", chunk_size=150, n_shap=0, n_cells=400, **how)
    same_null(result, memory)
    # passes over the 3 pieces: sums, columns, of permutations columns (and sums, where a donor's class is not all), and the sample
    assert reads.count(150) == (4 if groups == "donor" else 5)
    drawn, metrics = gb.pl.null(result), gb.get.metrics(result).set_index(["model", "metric"])["value"]
    best = metrics[result.uns["classify"]["best"], "balanced_accuracy"]
    assert sum(bar.get_height() for bar in drawn.patches) == 4
    line = next(line for line in drawn.lines if line.get_gid() == "observed")
    np.testing.assert_allclose(line.get_xdata()[0], best, atol=1e-12)
    assert gb.report(result, tmp_path / "r.html").stat().st_size > 10_000
    assert "permuted targets" in gb.summary(result)


def test_permuted_numbers_are_those_of_regress():
    atlas = cells(300, 30, seed=4)
    how = HOW | {"models": {"mine": Ridge(10.0)}, "groups": "donor", "n_permutations": 3}
    memory = atlas.copy()
    gb.tl.regress(memory, "score", n_repeats=1, **how)
    result = gb.tl.stream(atlas, "score", task="regression", n_shap=0, chunk_size=130, key_added="regress", **how)
    same_null(result, memory, "regress")


def test_permutations_go_on_where_they_were_stopped_and_small_files_change_nothing(tmp_path, monkeypatch):
    atlas = cells(300, 40, seed=5)
    how = HOW | {"models": LINEAR, "n_shap": 0, "chunk_size": 130, "groups": "donor"}
    whole = gb.tl.stream(atlas, "kind", n_permutations=4, **how)
    monkeypatch.setattr(streamed_null, "_ON_DISK", 1)  # the columns of one permutation at a time
    true, done = streamed_null._scored, []

    def stopped(job, *rest):
        number = job.run
        if number == 2 and 2 not in done:
            done.append(2)
            raise KeyboardInterrupt
        done.append(number)
        return true(job, *rest)

    monkeypatch.setattr(streamed_null, "_scored", stopped)
    with pytest.raises(KeyboardInterrupt):
        gb.tl.stream(atlas, "kind", n_permutations=4, checkpoint=tmp_path, **how)
    again = gb.tl.stream(atlas, "kind", n_permutations=4, checkpoint=tmp_path, **how)
    assert done == [0, 1, 2, 2, 3], "what was finished is not done again"
    pd.testing.assert_frame_equal(gb.get.null(again), gb.get.null(whole))
    assert not list(tmp_path.glob("*/permuted.bin")), "the columns of permutations do not stay"
    monkeypatch.setattr(streamed_screens, "summed", None)
    more = gb.tl.stream(atlas, "kind", n_permutations=5, checkpoint=tmp_path, **how)
    assert done[5:] == [4], "more permutations of the same study are added to those there are"
    assert gb.get.null(more)["permutation"].nunique() == 5


def test_labels_without_signal_are_not_better_than_chance():
    rng = np.random.default_rng(0)
    p = []
    for seed in range(6):
        X = rng.normal(size=(120, 60))
        obs = pd.DataFrame({"kind": rng.permutation(["a", "b"] * 60)}, index=[f"s{i}" for i in range(120)])
        adata = ad.AnnData(X, obs=obs)
        result = gb.tl.stream(adata, "kind", models=LINEAR, n_permutations=19, seed=seed, n_shap=0, **HOW)
        table = gb.get.metrics(result).set_index("metric")
        p.append(table.loc["balanced_accuracy", "p_value"])
        assert abs(table.loc["balanced_accuracy", "null_mean"] - 0.5) < 0.06
    assert np.mean(p) > 0.2
    assert min(p) >= 0.05


@pytest.mark.parametrize("how", [{"test_set": "held"}, {"test_size": 0.25}])
def test_a_test_set_is_that_of_classify(how, tmp_path):
    atlas = cells(600, 40, seed=6)
    atlas.obs["held"] = np.where(atlas.obs["donor"].isin(["d0", "d1", "d2", "d3"]), "test", "train")
    how = HOW | how | {"models": LINEAR | {"xgboost": "xgboost"}, "groups": "donor"}
    memory = atlas.copy()
    gb.tl.classify(memory, "kind", n_repeats=1, **how)
    result = gb.tl.stream(atlas, "kind", chunk_size=250, n_shap=50, n_cells=200, checkpoint=tmp_path, **how)
    np.testing.assert_allclose(result.obsm["classify_oof"], memory.obsm["classify_oof"], atol=1e-6)
    assert list(result.obs["classify_set"]) == list(memory.obs["classify_set"])
    a, b = (x.uns["classify"]["test_metrics"].set_index(["model", "metric"]) for x in (result, memory))
    rows = ["balanced_accuracy", "roc_auc", "log_loss", "f1"]
    for model in ("mine", "xgboost"):
        np.testing.assert_allclose(a.loc[model].loc[rows, "value"], b.loc[model].loc[rows, "value"], atol=1e-6)
    assert set(a["n"]) == {int((memory.obs["classify_set"] == "test").sum())}
    assert gb.get.predictions(result, test=True)["sample"].nunique() <= 200
    assert gb.summary(result)
    assert gb.report(result, tmp_path / "r.html").stat().st_size > 10_000
    atlas.obs["held"] = "train"
    with pytest.raises(gb.errors.InputError, match="no samples are in the test set"):
        gb.tl.stream(atlas, "kind", **(HOW | {"test_set": "held", "groups": "donor"}))
    atlas.obs["held"] = np.arange(600) < 100
    with pytest.raises(gb.errors.LeakageError):
        gb.tl.stream(atlas, "kind", **(HOW | {"test_set": "held", "groups": "donor"}))


def test_an_interrupt_among_the_pieces_of_xgboost_is_an_interrupt():
    import signal

    from xgboost import XGBClassifier

    from geneml_bio.core.streamed_trees import fit_xgboost

    rng = np.random.default_rng(0)
    seen = []

    def pieces():
        for i in range(6):
            seen.append(i)
            if len(seen) == 9:
                signal.raise_signal(signal.SIGINT)
            yield rng.normal(size=(50, 3)), np.arange(50) % 2

    usual = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        with pytest.raises(KeyboardInterrupt):
            fit_xgboost(XGBClassifier(n_estimators=2), pieces, 900, 2, 1, "unused")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)
    assert len(seen) == 9
