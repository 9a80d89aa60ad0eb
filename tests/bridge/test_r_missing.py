"""What is said where R, limma or a package does not work."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from geneml_bio.bridge import r, r_setup
from geneml_bio.core.errors import (
    RError,
    RNotAvailableError,
    RWarning,
)

# -- what is said where R does not work --------------------------------------------------------------------------------

ASK = """
import sys
from geneml_bio.bridge import r
from geneml_bio.core.errors import RNotAvailableError
assert not r.limma_works()
status = r.status()
assert not status["works"] and status["problems"], status
try:
    r.require("limma")
except RNotAvailableError as error:
    assert isinstance(error, ImportError)
    print(error)
else:
    raise SystemExit("no error")
"""


def ask(**changes: str) -> str:
    env = {**os.environ, **changes}
    env = {key: value for key, value in env.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_without_r_the_error_names_the_fix(tmp_path):
    pytest.importorskip("rpy2.situation", reason="rpy2 is not installed")
    said = ask(PATH=str(tmp_path), R_HOME="")
    assert "R was not found (there is no R on PATH)" in said
    assert "engine='native'" in said
    assert "R_HOME is '/nowhere'" in ask(R_HOME="/nowhere")


@pytest.mark.r
def test_without_limma_the_error_names_the_fix(tmp_path, r_limma):
    limma = str(r_limma("dirname(system.file(package = 'limma'))")[0])
    if limma == str(r_limma(".Library")[0]):
        pytest.skip("limma stands among R's own packages here, which cannot be taken away from R")
    said = ask(R_LIBS_SITE=str(tmp_path), R_LIBS_USER=str(tmp_path), R_LIBS=str(tmp_path))
    assert "has no package limma" in said
    assert "BiocManager::install('limma')" in said


def test_an_rpy2_that_does_not_fit_names_the_versions(monkeypatch):
    pytest.importorskip("rpy2.situation", reason="rpy2 is not installed")
    monkeypatch.setattr(r_setup, "r_version", lambda: "4.2.2")
    said = r_setup.explain(Exception("symbol 'R_getVar' not found in library 'libR.so'"))
    assert "does not fit R 4.2.2" in said
    assert "'rpy2-rinterface==3.6.5'" in said
    assert "R_getVar" in said
    monkeypatch.setattr(r_setup, "r_version", lambda: "4.5.1")
    assert "--force-reinstall" in r_setup.explain(OSError("libR.so: cannot open shared object file"))


@pytest.mark.r
def test_a_missing_package_of_a_data_set_is_named(r_limma):
    with pytest.raises(RNotAvailableError, match=r"no package notthere.*BiocManager::install\('notthere'\)"):
        r.load_dataset("notthere", "x")
    with pytest.warns(RWarning), pytest.raises(RError, match="no data set nothing"):
        r.load_dataset("limma", "nothing")


@pytest.mark.r
def test_columns_of_one_name_are_all_kept(fresh_r):
    """Two matrices of a data.frame whose columns have the same names, columns without one, and plain ones that repeat."""
    fresh_r("m <- matrix(c(1, 2, 3, 4), 2, dimnames = list(NULL, c('p', 'p')))")
    fresh_r(
        "d <- data.frame(row.names = c('u', 'v')); d$a <- m; d$b <- matrix(5:6, 2); d$e <- matrix(0, 2, 0); d$c <- 7:8"
    )
    fresh_r("d <- cbind(d, d['c'] + 1L, a = I(m * 10)); names(d)[[6]] <- 'a'")
    frame = r.to_frame(fresh_r("d"))
    assert list(frame.columns) == ["a.p", "a.p", "b.1", "c", "c", "a.p", "a.p"]
    assert frame.iloc[0].tolist() == [1, 3, 5, 7, 8, 10, 30]
    assert frame.iloc[1].tolist() == [2, 4, 6, 8, 9, 20, 40]


@pytest.mark.r
def test_the_doctor_finds_nothing_wrong_or_says_what(r_limma):
    from geneml_bio.bridge.doctor import report

    text = report()
    assert "limma by R, fit objects of R" in text
    status = r.status()
    assert f"limma                {status['packages']['limma']}" in text
    assert ("Nothing to mend." in text) == (not status["problems"])
    assert set(status["packages"]) == {*r.PACKAGES, *r.OPTIONAL}


@pytest.mark.r
def test_an_optional_package_is_no_fault_and_another_is(monkeypatch, r_limma):
    from geneml_bio.bridge.doctor import report

    before = r.status()["problems"]
    monkeypatch.setattr(r, "OPTIONAL", (*r.OPTIONAL, "notthere"))
    assert r.status()["problems"] == before
    assert "notthere             missing (optional)" in report()
    monkeypatch.setattr(r, "PACKAGES", (*r.PACKAGES, "notthere"))
    assert "notthere" in r.status()["problems"][-1]


def test_the_doctor_works_without_r(tmp_path):
    pytest.importorskip("rpy2.situation", reason="rpy2 is not installed")
    code = "from geneml_bio.bridge.doctor import report; print(report())"
    env = {**os.environ, "PATH": str(tmp_path), "R_HOME": ""}
    said = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert "no   limma by R" in said.stdout
    assert "yes  the main job on the native engine" in said.stdout
    assert "R was not found" in said.stdout
