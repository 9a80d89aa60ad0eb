"""What a worker is sent of the matrix: the columns that it needs, and the same models from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from test_shared_screen import a_study

from geneml_bio.core.folds import run_fold
from geneml_bio.core.prefit import narrowed
from geneml_bio.core.resample import make_folds
from geneml_bio.core.units import prepared
from geneml_bio.core.workers import Shared


@pytest.mark.parametrize("form", ["dense", "gaps", "csr", "fortran"])
def test_a_process_is_sent_the_columns_that_its_screens_keep_and_finds_the_same(form):
    made, y = a_study(["logistic", "random_forest", "svm"], gaps=form == "gaps")
    X = {"csr": sparse.csr_matrix, "fortran": np.asfortranarray}.get(form, np.ascontiguousarray)(made.X)
    made = replace(made, X=X, covariates=np.random.default_rng(0).normal(size=(len(y), 1)))
    fold = make_folds(y, ("0", "1"), None, n_splits=3, run=0, seed=1)[0]
    unit = next(prepared([(made, fold, y, "true", True)]))
    kept = {int(gene) for one in unit.work()[-1].values() for chosen in one.chosen.values() for gene in chosen.ranking}
    shared = Shared(X)
    assert unit.compact(shared, 10)[0] is shared  # too many
    part, ready = narrowed(X, unit.work()[-1], X.shape[1]) or (X, unit.work()[-1])
    assert part.shape == ((X.shape[0], len(kept)) if form != "fortran" else X.shape)
    here = unit.finished(run_fold(*unit.work()))
    there = unit.finished(run_fold(replace(made, X=part), *unit.work()[1:-1], ready))
    np.testing.assert_array_equal(here.selected, there.selected)
    assert len(here.predictions) > 3  # baselines too
    for name, values in here.predictions.items():
        np.testing.assert_array_equal(values, there.predictions[name])
    for name in here.fitted:
        np.testing.assert_array_equal(
            here.fitted[name].predict_proba(made.X), there.fitted[name].predict_proba(made.X), err_msg=name
        )
