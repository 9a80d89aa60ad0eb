"""The package keeps the rules of the house, and each rule catches an offender and lets an innocent pass."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from house_rules import (
    MAX_FUNCTION,
    MAX_MODULE,
    PACKAGE,
    ROOT,
    Module,
    anndata_written_in_one_file,
    core_is_in_order,
    core_knows_arrays_only,
    documented,
    imports_point_down,
    modules,
    no_assert,
    no_broad_except,
    r_code_is_constant,
    rpy2_in_one_file,
    short_functions,
    short_module,
)

# -- over the package, and over offenders ------------------------------------------------------------------------------

Rule = Callable[[Module], list[str]]
BY_R = "def f():\n    import rpy2.robjects as ro\n"
FILES = (
    "def f(ri):\n    import rpy2\n    code = Path(__file__).with_name('helpers.R').read_text()\n    ri.parse(code)\n"
)
LONG = "def f():\n" + "    x = 1\n" * (MAX_FUNCTION + 1)
TALK = 'def f():\n    """' + "Words.\n" * 100 + '    """\n    return 1\n'

# rule, module, source, whether it is an offence
CASES: list[tuple[Rule, str, str, bool]] = [
    (imports_point_down, "core.audit", "from ..bridge import keys", True),
    (imports_point_down, "core.audit", "from ..tl import classify", True),
    (imports_point_down, "core.audit", "def f():\n    import geneml_bio.pl", True),
    (imports_point_down, "bridge.r", "from .. import read", True),
    (imports_point_down, "bridge.r", "from ..core import errors\nfrom .. import __version__", False),
    (imports_point_down, "tl.models", "from ..core import errors\nfrom ..bridge import keys\nfrom . import de", False),
    (core_knows_arrays_only, "core.audit", "from anndata import AnnData", True),
    (core_knows_arrays_only, "core.audit", "def f():\n    import matplotlib.pyplot as plt", True),
    (core_knows_arrays_only, "core.audit", "if TYPE_CHECKING:\n    import rpy2", True),
    (core_knows_arrays_only, "core.audit", "import importlib\nimportlib.import_module('rpy2.robjects')", True),
    (core_knows_arrays_only, "core.audit", "text = open('x').read()", True),
    (core_knows_arrays_only, "bridge.anndata", "from anndata import AnnData", False),
    (core_is_in_order, "core.schema", "from .screen import ModeratedScreen", True),
    (core_is_in_order, "core.schema", "from geneml_bio.core import validate", True),
    (core_is_in_order, "core.cellar", "", True),
    (core_is_in_order, "core.screen", "from .moderated import e_bayes\nfrom .errors import InputError", False),
    (rpy2_in_one_file, "read", "def f():\n    from rpy2 import robjects", True),
    (rpy2_in_one_file, "bridge.r", "import rpy2", True),
    (rpy2_in_one_file, "bridge.r", BY_R, False),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    adata.obs['x'] = 1", True),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    adata.uns['a']['b'] = 1", True),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    adata.var.loc['g', 'x'] = 1", True),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    adata.X = None", True),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    adata.X[0, 0] += 1", True),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    del adata.layers['x']", True),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    adata.uns.update(a=1)", True),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    obs = adata.obs\n    obs['x'] = 1", True),
    (anndata_written_in_one_file, "tl.de", "def f(adata, slot):\n    setattr(adata, slot, 1)", True),
    (
        anndata_written_in_one_file,
        "tl.de",
        "def f(adata):\n    b = AnnData(x)\n    b = adata\n    b.obs['x'] = 1",
        True,
    ),
    (anndata_written_in_one_file, "tl.de", "def f(x):\n    b = ad.AnnData(x)\n    b.obs['x'] = 1\n    return b", False),
    (anndata_written_in_one_file, "tl.de", "def f(adata):\n    obs = adata.obs.copy()\n    obs['x'] = 1", False),
    (anndata_written_in_one_file, "tl.de", "def f(self, X):\n    self.X = X", False),
    (anndata_written_in_one_file, "bridge.anndata", "def f(adata):\n    adata.obs['x'] = 1", False),
    (no_assert, "tl.de", "def f(x):\n    assert x > 0, 'positive, please'", True),
    (no_assert, "tl.de", "def f(x):\n    raise ValueError", False),
    (no_broad_except, "tl.de", "try:\n    f()\nexcept Exception:\n    pass", True),
    (no_broad_except, "tl.de", "try:\n    f()\nexcept:\n    x = 1", True),
    (no_broad_except, "tl.de", "try:\n    f()\nexcept (KeyError, BaseException):\n    x = 1", True),
    (no_broad_except, "tl.de", "try:\n    f()\nexcept Exception as e:\n    raise RError('...') from e", False),
    (no_broad_except, "tl.de", "try:\n    f()\nexcept KeyError:\n    pass", False),
    (short_module, "tl.de", "x = 1\n" * (MAX_MODULE + 1), True),
    (short_module, "tl.de", "x = 1\n" * MAX_MODULE, False),
    (short_functions, "tl.de", LONG, True),
    (short_functions, "tl.de", TALK, False),
    (documented, "tl.de", '"""M."""\ndef f():\n    return 1', True),
    (documented, "tl.de", '"""M."""\nclass C:\n    """C."""\n    def f(self):\n        return 1', True),
    (documented, "tl.de", '"""M."""\ndef _f():\n    return 1', False),
    (r_code_is_constant, "bridge.r", BY_R + "    ro.r(f'x <- {y}')", True),
    (r_code_is_constant, "bridge.r", BY_R + "    ro.r('x <- ' + y)", True),
    (r_code_is_constant, "bridge.r", BY_R + "    ro.r('x <- {}'.format(y))", True),
    (r_code_is_constant, "bridge.r", BY_R + "    code = 'x'\n    code += y\n    ro.r(code)", True),
    (r_code_is_constant, "bridge.r", "def f(code):\n    import rpy2.robjects as ro\n    ro.r(code)", True),
    (r_code_is_constant, "bridge.r", "CODE = 'x <- 1'\n" + BY_R + "    ro.r(CODE)", False),
    (r_code_is_constant, "bridge.r", FILES, False),
]
RULES = list(dict.fromkeys(case[0] for case in CASES))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    offences = [f"{module.name or PACKAGE}:{offence}" for module in modules() for offence in rule(module)]
    assert not offences, "\n".join([rule.__doc__ or "", *offences])


@pytest.mark.parametrize(
    ("rule", "name", "source", "guilty"), CASES, ids=[f"{c[0].__name__}-{i}" for i, c in enumerate(CASES)]
)
def test_the_rule_catches_offenders_and_lets_innocents_pass(rule: Rule, name: str, source: str, guilty: bool) -> None:
    assert bool(rule(Module(name, source))) is guilty


def test_all_modules_are_looked_at() -> None:
    names = {module.name for module in modules()}
    assert {"", "cli", "core.schema", "bridge.r", "bridge.anndata", "workflow"} <= names


def test_the_r_helpers_evaluate_no_text() -> None:
    """The R side gets arguments, never code."""
    made_code = re.compile(r"\b(parse|str2lang|str2expression|eval|evalq|as\.formula|source|system)\s*\(")
    assert made_code.search("eval(parse(text = x))")
    files = sorted(ROOT.rglob("*.R"))
    assert files
    for path in files:
        code = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        assert not made_code.search(code), f"{path.name}: {made_code.search(code)}"


def test_tests_benchmarks_and_examples_are_short_too() -> None:
    """Where the project is checked out; elsewhere the tests alone."""
    top = Path(__file__).parents[1]
    files = [path for folder in ("tests", "benchmarks", "examples") for path in sorted((top / folder).rglob("*.py"))]
    long = [
        f"{path.name}:{said}" for path in files for said in short_module(Module(path.stem, path.read_text("utf-8")))
    ]
    assert len(files) > 50
    assert not long, "\n".join(long)


# -- what importing costs ----------------------------------------------------------------------------------------------


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_brings_nothing_but_the_standard_library() -> None:
    brought = "{name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)"
    code = "import sys; before = set(sys.modules); import {name}; print(sorted(" + brought + "))"
    assert _python(code.replace("{name}", "geneml_bio")).strip() == "['geneml_bio']"
    assert "numpy" in _python(code.replace("{name}", "geneml_bio.core.linear"))
