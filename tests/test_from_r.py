"""A user of R starts in R: examples/from_r.R, with a Python that fits the reticulate there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "examples" / "from_r.R"


def _run(command, **how):
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=240, check=False, **how
    )


@pytest.fixture(scope="module")
def rscript():
    found = shutil.which("Rscript")
    if found is None or not SCRIPT.is_file():
        pytest.skip("there is no Rscript, or the examples are not here")
    lacking = _run(
        [
            found,
            "-e",
            "cat(Filter(function(p) !nzchar(system.file(package = p)), c('reticulate', 'SummarizedExperiment')))",
        ]
    )
    if lacking.returncode or lacking.stdout.strip():
        pytest.skip(f"R lacks {lacking.stdout.strip() or 'what is needed'}")
    return found


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python 3.11 with numpy 1, which every reticulate reads."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is None or shutil.which("python3.11") is None:
        pytest.skip("uv and python3.11 make the environment, and one of them is not here")
    place = tmp_path_factory.mktemp("r") / "venv"
    made = _run([uv, "venv", "-q", "--python", shutil.which("python3.11"), place])
    overrides = ["--override", ROOT / "scripts" / "uv-overrides.txt"] if sys.platform == "linux" else []
    packages = ["numpy<2", "-e", ROOT, *(["xgboost-cpu"] if overrides else [])]
    done = made.returncode or _run(
        [uv, "pip", "install", "-q", "--python", place / "bin" / "python", *overrides, *packages]
    )
    if done == made.returncode or done.returncode:
        pytest.skip("the environment for R could not be made: " + (made if made.returncode else done).stderr[-300:])
    return place / "bin" / "python"


@pytest.mark.r
@pytest.mark.slow
def test_an_experiment_goes_in_and_its_biomarkers_come_out(rscript, python, tmp_path):
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = _run([rscript, SCRIPT, tmp_path / "x.rds"], env={**env, "RETICULATE_PYTHON": str(python)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    check = """x <- readRDS('x.rds'); t <- x$table; r <- SummarizedExperiment::rowData(x$se)
      stopifnot(is.factor(t$class), is.integer(t$rank), anyNA(t$shap_rank), anyNA(t$class), is.numeric(t$logFC),
                setequal(rownames(t)[1:5], paste0('gene', 1:5)), all(t$class[1:5] == 'DE and used'),
                identical(r$biomarkers_logFC, t[rownames(r), 'logFC']), is.factor(r$biomarkers_class))"""
    checked = _run([rscript, "-e", check], cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr[-2000:]
