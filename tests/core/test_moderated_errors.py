"""What the moderated statistics refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from recipe import FEATURES, simulated
from scipy import sparse

from geneml_bio.core import moderated
from geneml_bio.core.design import design_matrix
from geneml_bio.core.errors import ColumnNotFoundError, DesignError, InputError

# -- errors ------------------------------------------------------------------------------------------------------------

Y = np.arange(24.0).reshape(6, 4) % 7


@pytest.mark.parametrize(
    ("X", "design", "error", "message"),
    [
        (Y, np.ones((5, 1)), DesignError, "one row per sample"),
        (Y, pd.DataFrame({"a": 1.0, "b": 2.0}, index=range(6)), DesignError, r"not of full rank: \['b'\]"),
        (Y, np.column_stack([np.ones(6), [0, 1, 0, 1, 0, np.nan]]), DesignError, "missing or infinite"),
        (Y, np.eye(6), DesignError, "No residual degrees of freedom"),
        (np.where(Y == 3, np.inf, Y), np.ones((6, 1)), InputError, "infinite"),
        (sparse.csr_matrix(np.where(Y == 3, np.nan, Y)), np.ones((6, 1)), InputError, "missing or infinite"),
        (Y[0], np.ones((6, 1)), InputError, "two dimensions"),
        (Y.astype(str), np.ones((6, 1)), InputError, "must hold numbers"),
        (Y[:, :0], np.ones((6, 1)), DesignError, "0 genes"),
    ],
)
def test_bad_input_is_refused(X, design, error, message):
    with pytest.raises(error, match=message):
        moderated.lm_fit(X, design)


def test_trend_needs_an_average_for_each_gene():
    made = simulated()
    fit = moderated.lm_fit(made["gaps"], design_matrix("~ group", made["obs"]))
    with pytest.raises(InputError, match="1 of 400 have none"):
        moderated.e_bayes(fit, trend=True)


def test_tables_and_contrasts_refuse_what_is_not_there():
    made = simulated()
    fit = moderated.lm_fit(made["sim"], design_matrix("~ 0 + group", made["obs"]))
    with pytest.raises(DesignError, match="3 finite weights"):
        moderated.contrasts_fit(fit, np.array([1.0, -1.0]))
    mfit = moderated.e_bayes(fit)
    with pytest.raises(ColumnNotFoundError, match="'groupb'"):
        moderated.top_table(mfit, FEATURES, coef="groupB", names=["groupa", "groupb", "groupc"])
    with pytest.raises(InputError, match="one contrast"):
        moderated.top_table(moderated.treat(fit, 1.0), FEATURES, coef=[0, 1])
    with pytest.raises(InputError, match="at least 0"):
        moderated.treat(fit, -1.0)
    with pytest.raises(InputError, match="between 0 and 1"):
        moderated.e_bayes(fit, proportion=1.0)


def test_a_single_gene_that_never_varies_is_refused():
    with pytest.raises(InputError, match="No gene varies within the design"):
        moderated.e_bayes(moderated.lm_fit(np.ones((8, 1)), np.column_stack([np.ones(8), np.tile([0.0, 1.0], 4)])))
