"""The shape of the house: what may import what, who may write where, how long things may be. Read from the source by ast.

Each rule is a function from a module to its offences. It runs over the package, and over a synthetic offender that it must
catch, and an innocent that it must let pass.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import geneml_bio

ROOT = Path(geneml_bio.__file__).parent
PACKAGE = "geneml_bio"
MAX_MODULE, MAX_FUNCTION = 400, 60

# inside core, a module imports only those before it
CORE_ORDER = (
    *("errors", "device", "names", "compiled", "pvalues", "ids", "squeeze", "scale"),
    *(
        "forensic_words",
        "forensic_numbers",
        "forensic_adjust",
        "forensic_test",
        "forensic_prior",
        "forensic_b",
        "forensic_study",
        "forensic_links",
        "forensic_named",
    ),
    *("forensic_whole", "forensic_verdict", "forensics"),
    *("written", "detable", "discoveries", "knockoffs", "schema"),
    *("threads", "linear", "moderated", "limma"),
    *("formula", "coding", "contrasts", "design"),
    *(
        "screen",
        "external",
        "cell_kernel",
        "cells",
        "shared_screen",
        "network",
        "sparse_linear",
        "sparse_logistic",
        "registry",
        "models",
        "resample",
        "association",
        "audit_values",
        "audit",
        "prefit",
        "logistic_path",
        "tuning",
        "forest",
        "rescaled",
        "fitting",
        "baseline",
    ),
    *(
        "scores",
        "calibration",
        "intervals",
        "cluster",
        "workers",
        "metrics",
        "per_class",
        "compare",
        "folds",
        "units",
        "validate",
        "learning_curve",
    ),
    *("streamed_sums", "streamed_linear", "streamed_part", "streamed_trees", "streamed_cluster"),
    *(
        "streamed_front",
        "streamed_screens",
        "streamed_inner",
        "streamed_calibration",
        "streamed_fit",
        "streamed_baseline",
    ),
    *("streamed_null", "streamed_scores", "streamed_results", "stream"),
    *("boosted", "trees", "tree_kernel", "tree_shap"),
    *("sampled", "explainers", "shap_summary", "explain", "stability", "within", "stand_ins", "gene_groups"),
    *("gene_sets", "set_test", "set_shap", "gene_features", "closed_form"),
    *("gene_columns", "gene_ties", "gene_blocks", "gene_scores", "gene_explain", "gene_fitted", "gene_words"),
    "gene_level",
    *("fitted", "refit", "simulation", "effect_interval", "biomarker_columns", "biomarkers"),
)
NOT_IN_CORE = {
    "anndata",
    "rpy2",
    "matplotlib",
    "scanpy",
    "seaborn",
    "h5py",
    "zarr",
    "pathlib",
    "os",
    "io",
    "subprocess",
}
SLOTS = {"X", "obs", "var", "uns", "obsm", "varm", "obsp", "varp", "layers", "raw", "obs_names", "var_names"}
MUTATORS = {"update", "pop", "popitem", "clear", "setdefault", "insert"}
R_EVALUATORS = {"parse", "r", "reval", "evalr", "str2lang", "STAP", "SignatureTranslatedAnonymousPackage"}


@functools.cache
def _parsed(source: str) -> ast.Module:
    return ast.parse(source)


class Module(NamedTuple):
    name: str  # dotted, without the package: "core.schema", "" for the front door
    source: str
    is_package: bool = False

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.source)

    @property
    def ring(self) -> str:
        first = self.name.split(".")[0]
        return first if first in ("core", "bridge") else "shell"


def modules() -> list[Module]:
    out = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        out.append(Module(".".join(parts[:-1] if is_package else parts), path.read_text(encoding="utf-8"), is_package))
    return out


# -- the rules ---------------------------------------------------------------------------------------------------------


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything imported, at whatever depth, for types or not."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = [PACKAGE, *module.name.split(".")] if module.name else [PACKAGE]
                here = here[: len(here) - node.level + module.is_package]
                base = ".".join([*here, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield node.lineno, name.value


def imports_point_down(module: Module) -> list[str]:
    """Shell -> bridge -> core. The version is the one thing that lower rings may ask of the front door."""
    offences = []
    for line, name in _imports(module):
        if not name.startswith(f"{PACKAGE}.") or name == f"{PACKAGE}.__version__":
            continue
        ring = Module(name.removeprefix(f"{PACKAGE}."), "").ring
        if (module.ring, ring) in {("core", "bridge"), ("core", "shell"), ("bridge", "shell")}:
            offences.append(f"{line}: {module.ring} imports {name}")
    return offences


def core_knows_arrays_only(module: Module) -> list[str]:
    """No AnnData, no R, no figures, no files."""
    if module.ring != "core":
        return []
    found = [f"{line}: core imports {name}" for line, name in _imports(module) if name.split(".")[0] in NOT_IN_CORE]
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call) and _called(node) == "open"]
    return found + [f"{node.lineno}: core opens a file" for node in calls]


def core_is_in_order(module: Module) -> list[str]:
    """A module of core imports only those before it in the order of DESIGN."""
    if module.ring != "core" or module.name == "core":
        return []
    mine = module.name.split(".")[1]
    if mine not in CORE_ORDER:
        return [f"1: core/{mine}.py has no place in CORE_ORDER; give it one"]
    offences = []
    for line, name in _imports(module):
        parts = name.split(".")
        if parts[:2] == [PACKAGE, "core"] and len(parts) > 2:
            known = parts[2] in CORE_ORDER
            if not known or CORE_ORDER.index(parts[2]) >= CORE_ORDER.index(mine):
                offences.append(f"{line}: core/{mine}.py imports {parts[2]}, which comes after it")
    return offences


def rpy2_in_one_file(module: Module) -> list[str]:
    """rpy2 is imported in bridge/r.py, inside functions, so that importing the module starts nothing."""
    found = [line for line, name in _imports(module) if name.split(".")[0] == "rpy2"]
    if module.name != "bridge.r":
        return [f"{line}: rpy2 imported outside bridge/r.py" for line in found]
    top = {node.lineno for node in module.tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    return [f"{line}: rpy2 imported when the module is" for line in found if line in top]


def anndata_written_in_one_file(module: Module) -> list[str]:
    """Slots of an AnnData are written in bridge/anndata.py; elsewhere only those of one that the same function has constructed.

    A write is an assignment, a deletion or a mutating method on ``x.slot``, ``x.slot[...]`` or a name bound to ``x.slot``,
    and ``setattr``/``delattr`` with a slot or a computed name. Constructed: bound only by ``AnnData(...)``, in that function.
    """
    if module.name == "bridge.anndata":
        return []
    offences = []
    for scope in _scopes(module.tree):
        bound: dict[str, list[ast.expr]] = {}
        for node in _own(scope):
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        bound.setdefault(target.id, []).append(node.value)
        own = {name for name, values in bound.items() if all(_constructs(value) for value in values)} | {"self", "cls"}
        aliases = {name for name, values in bound.items() if any(_slot_of(value, own) for value in values)}
        offences += [f"{node.lineno}: writes to an AnnData" for node in _own(scope) if _writes(node, own, aliases)]
    return sorted(set(offences))


def _scopes(tree: ast.Module) -> list[ast.AST]:
    return [tree, *(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))]


def _own(scope: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a scope, without those of the functions defined in it."""
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from _own(child)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _constructs(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and _called(value) == "AnnData"


def _slot_of(node: ast.AST, own: set[str]) -> bool:
    """Whether an expression is a slot of an object that is not one's own."""
    if not isinstance(node, ast.Attribute) or node.attr not in SLOTS:
        return False
    return not (isinstance(node.value, ast.Name) and node.value.id in own)


def _writes(node: ast.AST, own: set[str], aliases: set[str]) -> bool:
    def into(target: ast.AST) -> bool:
        if isinstance(target, ast.Tuple | ast.List):
            return any(into(item) for item in target.elts)
        inside = False
        while isinstance(target, ast.Subscript):
            target, inside = target.value, True
            if isinstance(target, ast.Attribute) and target.attr in ("loc", "iloc", "at", "iat"):
                target = target.value
        return _slot_of(target, own) or (inside and isinstance(target, ast.Name) and target.id in aliases)

    if isinstance(node, ast.Assign | ast.Delete):
        return any(into(target) for target in node.targets)
    if isinstance(node, ast.AugAssign | ast.AnnAssign):
        return (isinstance(node, ast.AugAssign) or node.value is not None) and into(node.target)
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        place = node.func.value
        return _slot_of(place, own) or (isinstance(place, ast.Name) and place.id in aliases)
    if _called(node) in ("setattr", "delattr") and len(node.args) > 1 and isinstance(node.func, ast.Name):
        whose, name = node.args[:2]
        mine = isinstance(whose, ast.Name) and whose.id in own
        return not mine and (not isinstance(name, ast.Constant) or name.value in SLOTS)
    return False


def no_assert(module: Module) -> list[str]:
    """``assert`` is gone under ``python -O`` and names no fix; input is checked with the types of core/errors.py."""
    return [f"{node.lineno}: assert" for node in ast.walk(module.tree) if isinstance(node, ast.Assert)]


def no_broad_except(module: Module) -> list[str]:
    """``except:``, ``except Exception`` and ``except BaseException`` only where the handler ends in raising."""
    offences = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and not isinstance(node.body[-1], ast.Raise):
            types = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(t is None or getattr(t, "id", "") in ("Exception", "BaseException") for t in types):
                offences.append(f"{node.lineno}: broad except")
    return offences


def short_module(module: Module) -> list[str]:
    """A module that grows past this has two jobs."""
    n = len(module.source.splitlines())
    return [f"1: {n} lines, more than {MAX_MODULE}"] if n > MAX_MODULE else []


def short_functions(module: Module) -> list[str]:
    """Lines of a function after its signature and docstring."""
    offences = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            n = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if n > MAX_FUNCTION:
                offences.append(f"{node.lineno}: {node.name} has {n} lines, more than {MAX_FUNCTION}")
    return offences


def documented(module: Module) -> list[str]:
    """Every public module, class, function and method has a docstring."""
    offences = [] if ast.get_docstring(module.tree) else ["1: the module has no docstring"]

    def look(body: list[ast.stmt]) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                overloaded = [ast.unparse(mark) for mark in node.decorator_list] == ["overload"]
                if not ast.get_docstring(node) and not overloaded:
                    offences.append(f"{node.lineno}: {node.name} has no docstring")
                if isinstance(node, ast.ClassDef):
                    look(node.body)

    look(module.tree.body)
    return offences


def r_code_is_constant(module: Module) -> list[str]:
    """What is evaluated as R code is a literal, or a file shipped beside the module: never built, so never a user's.

    Concerns modules that import rpy2: the first argument of ``parse``, ``r``, ``reval`` and the like is a string literal, a
    name bound only to string literals, or a name bound only to ``Path(__file__).with_name("...").read_text(...)``.
    """
    if not any(name.split(".")[0] == "rpy2" for _, name in _imports(module)):
        return []
    bound: dict[str, list[ast.expr]] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    bound.setdefault(target.id, []).append(node.value)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            bound.setdefault(node.target.id, []).append(node)  # type: ignore[arg-type]  # never a constant
        elif isinstance(node, ast.arg):
            bound.setdefault(node.arg, []).append(node)  # type: ignore[arg-type]  # the caller's

    def constant(node: ast.AST) -> bool:
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str)
        return bool(re.fullmatch(r"Path\(__file__\)\.with_name\('[\w.]+'\)\.read_text\(.*\)", ast.unparse(node)))

    offences = []
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _called(node) in R_EVALUATORS and node.args:
            code = node.args[0]
            values = bound.get(code.id, [code]) if isinstance(code, ast.Name) else [code]
            if not all(constant(value) for value in values):
                offences.append(f"{node.lineno}: R code that is not a constant: {ast.unparse(node)}")
    return offences
