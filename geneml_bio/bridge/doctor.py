"""What works on this machine, and how to mend what does not (``geneml-bio doctor``)."""

from __future__ import annotations

import platform
import re
import sys
import textwrap
from importlib import import_module, metadata

from . import r

_ORDINARY = ("numpy", "scipy", "pandas", "anndata", "scikit-learn", "xgboost", "shap", "matplotlib", "zarr")
_IMPORT_NAMES = {"scikit-learn": "sklearn"}


def report() -> str:
    """Versions, R, what works, what does not and its fix, as text.

    Nothing is changed on the machine. R is started where there is one.
    """
    problems: list[str] = []
    lines = [f"geneml-bio {_own_version()}, Python {platform.python_version()} on {platform.platform(terse=True)}"]
    lines += [f"  {sys.executable}", "", "Python packages"]
    for name in _ORDINARY:
        version, trouble = _importable(name)
        lines.append(f"  {name:<17}{version or 'missing'}")
        if trouble:
            problems.append(trouble)
    found = r.status()
    lines += ["", "R"]
    home = found["r_home"]
    lines.append(f"  {'R':<21}{found['r'] or 'not found'}{f', {home}' if home else ''}")
    for name, version in found["rpy2"].items():
        lines.append(f"  {name:<21}{version}")
    if not found["rpy2"]:
        lines.append(f"  {'rpy2':<21}missing")
    for name, version in found["packages"].items():
        absent = "unknown" if not found["r_home"] else "missing (optional)" if name in r.OPTIONAL else "missing"
        lines.append(f"  {name:<21}{version or absent}")
    lines += ["", "What works", *_abilities(found)]
    lines += ["", *_mending(problems, found["problems"])]
    return "\n".join(lines)


def _own_version() -> str:
    from .. import __version__

    return __version__


def _importable(name: str) -> tuple[str | None, str | None]:
    """Version of a package as imported, and what is wrong with it."""
    required = _required().get(name, name)
    try:
        module = import_module(_IMPORT_NAMES.get(name, name))
    except ImportError as error:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            optional = name not in _required()
            return None, None if optional else f"{name} is missing: pip install '{required}'."
        return (
            version,
            f"{name} {version} is installed but cannot be imported ({error}): pip install --force-reinstall {name}.",
        )
    try:
        return metadata.version(name), None
    except metadata.PackageNotFoundError:  # xgboost may come as xgboost-cpu
        return str(getattr(module, "__version__", "unknown")), None


def _required() -> dict[str, str]:
    """Requirements of this package, by name."""
    try:
        stated = metadata.requires("geneml-bio") or []
    except metadata.PackageNotFoundError:
        return {}
    plain = [text for text in stated if "extra ==" not in text]
    return {re.split(r"[<>=!~;\[ ]", text, maxsplit=1)[0]: text for text in plain}


def _abilities(found: dict) -> list[str]:
    packages = found["packages"]
    alive = bool(found["r_home"])

    def there(*names: str) -> bool:
        return alive and all(packages[name] is not None for name in names)

    checks = [
        ("the main job on the native engine (limma's statistics in Python)", True),
        ("limma by R, fit objects of R", found["works"]),
        ("counts by voom (R)", there("limma", "edgeR")),
        ("robust= and block= of limma (R)", there("limma", "statmod")),
        ("gb.datasets.golub()", True),
        ("gb.datasets.leukemia()", there("ALL")),
        ("gb.datasets.bladder()", there("bladderbatch")),
        ("ExpressionSets of R, live", there("Biobase")),
        (
            "SummarizedExperiments and SingleCellExperiments of R, live",
            there("SummarizedExperiment", "SingleCellExperiment"),
        ),
        ("results of DESeq2, live", there("DESeq2")),
        ("zarr stores", _importable("zarr")[0] is not None),
    ]
    return [f"  {'yes' if works else 'no ':<5}{what}" for what, works in checks]


def _mending(*groups: list[str]) -> list[str]:
    problems = [text for group in groups for text in group]
    if not problems:
        return ["Nothing to mend."]
    lines = ["To mend"]
    for text in problems:
        lines += textwrap.wrap(
            text, 116, initial_indent="  - ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
    return lines
