"""Why R cannot be used here, and what to do about it. Imports neither rpy2 nor anything that starts R."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

_APT = {"statmod": "r-cran-statmod", "reticulate": "r-cran-reticulate"}
WITHOUT = " Or go on without R: engine='native' gives limma's statistics."  # where that is an answer
_PINS = "pip install 'rpy2<=3.6.6' 'rpy2-rinterface==3.6.5'"


def is_debian() -> bool:
    """Whether packages come by apt here."""
    return Path("/etc/debian_version").exists()


def r_binary() -> str | None:
    """Path of R: in ``R_HOME`` where that is set, else on ``PATH``."""
    home = os.environ.get("R_HOME")
    if home:
        candidate = Path(home) / "bin" / "R"
        return str(candidate) if candidate.exists() else None
    return shutil.which("R")


def r_version() -> str | None:
    """Version of the R found, or None."""
    binary = r_binary()
    if binary is None:
        return None
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    hit = re.search(r"R version (\d+\.\d+\.\d+)", said)
    return hit.group(1) if hit else None


def rpy2_versions() -> dict[str, str]:
    """Installed versions of rpy2's parts, by name."""
    found = {}
    for name in ("rpy2", "rpy2-rinterface", "rpy2-robjects"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def package_fix(*names: str) -> str:
    """How to install R packages."""
    listed = ", ".join(f"'{name}'" for name in names)
    listed = f"c({listed})" if len(names) > 1 else listed
    bioconductor = f"in R: install.packages('BiocManager'); BiocManager::install({listed})"
    if is_debian():
        packages = " ".join(_APT.get(name, f"r-bioc-{name.lower()}") for name in names)
        return f"Install: apt-get install {packages}; or {bioconductor}."
    return f"Install {bioconductor}."


def explain(error: BaseException | None) -> str:
    """What stands between us and R, and the fix."""
    rpy2, r = rpy2_versions(), r_version()
    if "rpy2" not in rpy2 and "rpy2-rinterface" not in rpy2:
        compiler = "apt-get install r-base-dev python3-dev" if is_debian() else "R's headers and a C compiler"
        pins = f" For this R {r}: {_PINS}." if r and _older(r) else ""
        return f"rpy2 is not installed. Install it: pip install 'geneml-bio[r]' (needs {compiler}).{pins}{WITHOUT}"
    home = os.environ.get("R_HOME")
    if r is None:
        where = f"R_HOME is {home!r}, where there is no R" if home else "there is no R on PATH"
        fix = "apt-get install r-base-core r-bioc-limma" if is_debian() else "install R from r-project.org"
        fix = f"unset R_HOME or point it to R's home, or {fix}" if home else fix
        return f"R was not found ({where}): {fix}.{WITHOUT}"
    versions = " ".join(f"{name} {version}" for name, version in rpy2.items())
    said = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
    fix = _PINS if _older(r) else "pip install --force-reinstall --no-cache-dir rpy2 rpy2-rinterface"
    why = "rpy2-rinterface from 3.6.6 on needs R 4.5" if _older(r) else "it was built against another R"
    return f"rpy2 does not fit R {r} ({versions}; {said}). Probably {why}: {fix}.{WITHOUT}"


def _older(r: str) -> bool:
    return tuple(int(part) for part in r.split(".")[:2]) < (4, 5)
