"""R, where it is there: the live oracle. Without it the tests that need it are skipped, with the reason."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# the same examples each time, so that a change is what makes a test fail; GENEML_BIO_FUZZ looks for new ones
settings.register_profile("same", derandomize=True, deadline=None)
if not os.environ.get("GENEML_BIO_FUZZ"):
    settings.load_profile("same")


class LiveR:
    """R code evaluated in an environment of its own; results as R objects or frames."""

    def __init__(self, bridge) -> None:
        import rpy2.rinterface as ri

        self.bridge, self.ri = bridge, ri
        self.env = ri.baseenv["new.env"](parent=ri.globalenv)

    def __call__(self, code: str):
        """Evaluate; the value as an R object."""
        return self.ri.baseenv["eval"](self.ri.parse(code), self.env)

    def frame(self, code: str):
        """Evaluate an expression that is a data.frame or a matrix."""
        return self.bridge.to_frame(self(f"as.data.frame({code}, optional = TRUE)"))

    def numbers(self, code: str):
        """Evaluate an expression that is a numeric vector."""
        import numpy as np

        return np.array(self(f"as.numeric({code})"))

    def give(self, name: str, values) -> None:
        """A matrix or vector of numbers under a name (matrices with rows as rows)."""
        import numpy as np

        values = np.asarray(values, dtype=float)
        flat = self.ri.FloatSexpVector(values.ravel(order="F"))
        self.env[name] = flat
        if values.ndim == 2:
            self(f"dim({name}) <- c({values.shape[0]}, {values.shape[1]})")


@pytest.fixture(scope="session")
def r_limma() -> LiveR:
    """Live R with limma; skips where it is missing (fails instead where GENEML_NEED_R is set)."""
    from geneml_bio.bridge import r

    status = r.status()
    if not status["works"]:
        reason = "; ".join(status["problems"])
        if os.environ.get("GENEML_NEED_R"):
            pytest.fail(f"R is needed here and does not work: {reason}")
        pytest.skip(reason)
    return LiveR(r)


@pytest.fixture
def fresh_r(r_limma: LiveR) -> LiveR:
    """Live R with an empty environment."""
    return LiveR(r_limma.bridge)
