"""The shipped R code: functions only, that evaluate no text, look nothing up by a user's name and leave R as it is.

Each rule runs over the shipped files, and over offenders that it must catch and innocents that it must let pass.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import geneml_bio

ROOT = Path(geneml_bio.__file__).parent
FILES = sorted((ROOT / "bridge").glob("*.R"))

# no text becomes code or a command, nothing is changed outside, no variable is found by a name that is computed
FORBIDDEN = {
    "code from text": "parse str2lang str2expression eval evalq eval.parent local source sys.source deparse substitute bquote",
    "code from parts": "call as.call as.name as.symbol as.function match.fun match.call sys.call sys.function Recall body formals",
    "formulas": r"formula as.formula reformulate model.matrix model.frame terms update aggregate lm glm",
    "commands and places": "system system2 shell shell.exec pipe url socketConnection download.file browseURL unlink file.remove "
    "setwd Sys.setenv Sys.unsetenv Sys.setlocale Sys.chmod sink options par set.seed RNGkind quit q",
    "what is attached": "library require attach detach",
    "other people's internals": "getFromNamespace getExportedValue getNamespace asNamespace assignInNamespace environment<- "
    "makeActiveBinding delayedAssign trace unlockBinding .Internal .Call .External",
    "compiled or foreign": "dyn.load library.dynam",
}
NAMES = {name: why for why, names in FORBIDDEN.items() for name in names.split()}
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
COMBINED = {"cbind", "rbind", "c", "list", "paste"}  # what do.call may call


# what a call has attached is taken off again; the package that an object names as its class's home, already in R's hands; the
# one object of an annotation package, which has the package's name (Python has checked that it is such a name)
ALLOWED = {
    "db <- getExportedValue(package, package)",
    "for (name in setdiff(search(), attached)) detach(name, character.only = TRUE)",
    'if (length(home) && !(home %in% c(".GlobalEnv", loadedNamespaces()))) try(loadNamespace(home), silent = TRUE)',
}


def stripped(code: str) -> str:
    """Without comments; texts stay as quotes around their length, so that nothing in them counts as code."""
    kept = []
    for line in code.splitlines():
        bare = TEXT.sub(lambda hit: '"' + "." * (len(hit.group()) - 2) + '"', line)
        cut = bare.find("#")
        kept.append(line if cut < 0 else line[:cut])
    return "\n".join(kept)


def offences(code: str) -> list[str]:
    """What the rules forbid, with its line."""
    found = []
    for number, line in enumerate(stripped(code).splitlines(), 1):
        if line.strip() in ALLOWED:
            continue
        bare = TEXT.sub('""', line)
        for hit in re.finditer(r"(?<![\w.$@])((?:[A-Za-z.][\w.]*)(?:<-)?)\s*\(", bare):
            if hit.group(1) in NAMES:
                found.append(f"{number}: {hit.group(1)} ({NAMES[hit.group(1)]})")
        for hit in re.finditer(r"\b(get|mget|get0|assign|exists|rm)\s*\((.*)", line):
            fixed = re.match(r"""\s*["']""", hit.group(2))
            placed = hit.group(1) in ("get", "mget", "exists") and re.search(
                r"\benvir\s*=\s*(held|into)\b", hit.group(2)
            )
            if not fixed and not placed:
                found.append(f"{number}: {hit.group(1)} of a name that is computed")
        for hit in re.finditer(r"\bdo\.call\s*\(\s*([^,\s]+)", line):
            if hit.group(1) not in COMBINED:
                found.append(f"{number}: do.call of {hit.group(1)}")
        for hit in re.finditer(r"\b(?:loadNamespace|requireNamespace)\s*\(\s*([^,)\s]+)", line):
            if not re.match(r"""["']""", hit.group(1)):
                found.append(f"{number}: {hit.group(0)} of a name that is computed")
        if ":::" in bare:
            found.append(f"{number}: ::: reaches into a package")
        if re.search(r"globalenv\s*\(\s*\)|\.GlobalEnv", bare) and ".Random.seed" not in line:
            found.append(f"{number}: the global environment")
        if re.match(r"[^\s#}]", line) and not re.match(r"[a-z][\w.]* <- function\(", line):
            found.append(f"{number}: more than functions at the top")
    return found


CASES = [
    ("f <- function(x) eval(parse(text = x))", 2),
    ("f <- function(x) base::eval(x)", 1),
    ("f <- function(x) system(x)", 1),
    ("f <- function(x) base::system2(x)", 1),
    ("f <- function(x) get(x)", 1),
    ("f <- function(x) get(x, envir = globalenv())", 2),
    ("f <- function(x) get0(x, inherits = FALSE)", 1),
    ("f <- function(x) assign(x, 1, envir = globalenv())", 2),
    ("f <- function(x) do.call(x, list())", 1),
    ("f <- function(x) do.call('system', list(x))", 1),
    ("f <- function(x) match.fun(x)(1)", 1),
    ("f <- function(x) as.formula(x)", 1),
    ("f <- function(x) stats::model.matrix(x)", 1),
    ("f <- function(x) str2lang('a'); g <- 1", 1),
    ("f <- function(x) as.call(list(as.name(x)))", 2),
    ("f <- function(x) loadNamespace(x)", 1),
    ("f <- function(x) library(x)", 1),
    ("f <- function(x) limma:::lm.series(x)", 1),
    ("f <- function(x) options(warn = 2)", 1),
    ("f <- function(x) set.seed(1)", 1),
    ("f <- function(x) environment(x)", 0),
    ("x <- 1", 1),
    ("eval(1)", 2),
    ("f <- function(x) x # eval(parse(text = x))", 0),
    ("f <- function(x) 'system(1)'", 0),
    ('f <- function(x) "a # b"; eval(x)', 1),
    ('f <- function(x) paste0("eval(", x, ")")', 0),
    ("f <- function(x) do.call(rbind, x)", 0),
    ("f <- function(x) x$eval(1)", 0),
    ("f <- function(x) evaluate(x)", 0),
    ('f <- function(x) loadNamespace("Biobase")', 0),
    ('f <- function() get0(".Random.seed", envir = globalenv())', 0),
    ("# a comment\n\nf <- function(x) {\n  x\n}", 0),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_shipped_r_code_keeps_the_rules(path: Path) -> None:
    found = offences(path.read_text(encoding="utf-8"))
    assert not found, "\n".join([path.name, *found])


def test_all_r_files_are_looked_at() -> None:
    assert {"helpers.R", "limma.R", "objects.R"} <= {path.name for path in FILES}


@pytest.mark.parametrize(("code", "count"), CASES, ids=[str(i) for i in range(len(CASES))])
def test_the_rules_catch_offenders_and_let_innocents_pass(code: str, count: int) -> None:
    assert len(offences(code)) == count, offences(code)


# -- and what Python calls there ---------------------------------------------------------------------------------------


def functions() -> set[str]:
    return {name for path in FILES for name in re.findall(r"^([a-z][\w.]*) <- function", path.read_text("utf-8"), re.M)}


def calls(source: str) -> list[str]:
    """Calls into R of something other than a function of the shipped files, named in place."""
    tree = ast.parse(source)
    bare = any(
        isinstance(node, ast.ImportFrom) and node.module == "r" and any(alias.name == "call" for alias in node.names)
        for node in ast.walk(tree)
    ) or any(isinstance(node, ast.FunctionDef) and node.name == "call" for node in tree.body)
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        named = isinstance(node.func, ast.Name) and node.func.id == "call" and bare
        dotted = ast.unparse(node.func) == "r.call"
        if named or dotted:
            first = node.args[0] if node.args else None
            if not isinstance(first, ast.Constant) or first.value not in functions():
                found.append(f"{node.lineno}: {ast.unparse(node)[:80]}")
    return found


def test_python_calls_shipped_functions_by_name_only() -> None:
    found = [f"{path.name}:{text}" for path in sorted(ROOT.rglob("*.py")) for text in calls(path.read_text("utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "guilty"),
    [
        ("from .r import call\ncall('versions', x)", False),
        ("from .r import call\ncall(name, x)", True),
        ("from .r import call\ncall('system', x)", True),
        ("from . import r\nr.call(f'{x}')", True),
        ("from . import r\nr.call('frame', x)", False),
        ("def g(call):\n    call(x)", False),
    ],
)
def test_a_computed_name_is_caught(source: str, guilty: bool) -> None:
    assert bool(calls(source)) is guilty
