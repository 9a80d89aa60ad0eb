"""Saved models that several files of tests take apart; packed once."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.ensemble import ExtraTreesClassifier

from geneml_bio.bridge import saved


def _packed(what: Any) -> bytes:
    from test_saved import made  # not before pytest has seen to its assertions

    return saved.packed(made("binary", what))


@pytest.fixture(scope="session")
def logistic() -> bytes:
    return _packed("logistic")


@pytest.fixture(scope="session")
def trees() -> bytes:
    return _packed(ExtraTreesClassifier(4, random_state=0))


@pytest.fixture(scope="session")
def boosted() -> bytes:
    return _packed("xgboost")
