"""Messages that name arguments of Python, in the options of the command line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_RENAMED = {
    "treat_lfc": "treat",
    "n_splits": "splits",
    "n_repeats": "repeats",
    "n_permutations": "permutations",
    "n_jobs": "jobs",
}
_TEXT = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_PAIRS = re.compile(rf"(?:\bcolumns=)?\{{((?:(?:{_TEXT}): (?:{_TEXT})(?:, )?)+)(\.\.\.)?\}}")
_PAIR = re.compile(rf"({_TEXT}): ({_TEXT})")
_ARGUMENT = re.compile(rf"(?<![\w.])([a-z_]+)=(True\b|{_TEXT}|-?\d+(?:\.\d+)?\b|(?=[\s.,;:)]|$))")
_PLAIN = re.compile(r"[\w.+-]+")

# what stands in a message of the package, and what to do in its place on the command line
_PHRASES = tuple(
    (re.compile(pattern), said)
    for pattern, said in (
        (r"gb\.read\.expression reads (those|them|its counts)", r"`geneml-bio limma` and `geneml-bio run` read \1"),
        (r"gb\.read\.toptable reads (it|them)", r"`geneml-bio toptable` reads \1"),
        (r"pass it as a frame: (gb\.|pd\.)", r"in Python: \1"),
        (r"read it yourself and pass a DataFrame", "read it in Python and pass a DataFrame to gb.read.toptable"),
        (r"reader and pass a DataFrame", "reader in Python and pass a DataFrame to gb.read.toptable"),
        (r", or pass a DataFrame with named columns", ""),
        (r"gives a dict of tables", "gives a table of each"),
        (r"take all as a dict, ", "take each as a table of its own: "),
        (r" \(or, for all, the file's: columns=\{[^'}]*'s name\}\)", ""),
        (r"rename (them|it) before to\((?:'(\w+)')\)", r"rename \1 before --dialect \2"),
        (r" Any scikit-learn estimator works too: models=\{'mine': estimator\}\.", " In Python, any scikit-learn estimator works too."),
        (r"An AnnData has its own \.obs; read it first, then: adata\.obs = adata\.obs\.join\(samples\)",
         "An .h5ad holds its own table of samples, .obs; samples= is for other files"),
        (r"it categorical first: adata\.obs\[\.\.\.\] = \S+\.astype\('category'\)",
         "it text first, such as g1 and g2 in place of 1 and 2"),
        (r"such as adata\.obs\[\.\.\.\] = \S+\.astype\('category'\) in place of factor\(\)",
         "such as one with the text g1 and g2 in place of factor()"),
        (r"\badata\.X is None", "There is no X"),
        (r"\b(?:in|of) adata\.obs\b", "among the columns of the samples"),
        (r"\b(?:in|of) adata\.var\b", "among the columns of the genes (.var)"),
    )
)  # fmt: skip


# the other verb, where a target is not of the kind that this one predicts: (with --task, without)
_VERBS = (
    (
        re.compile(r"for a continuous target use gb\.tl\.regress"),
        "for a continuous target use ",
        "regress",
        "regression",
    ),
    (re.compile(r"for classes use gb\.tl\.classify"), "for classes use ", "classify", "classification"),
)
_BARE = re.compile(r"(?<![\w.'\"-])(test_size|test_set|class_weight|n_splits|n_repeats|n_permutations)(?![\w='\"])")


def in_options(text: str, known: Iterable[str]) -> str:
    """A message with the options of the command in place of arguments of Python.

    Parameters
    ----------
    text
        The message.
    known
        The options there are, with underscores; arguments of other names stay as they are.
    """
    names = set(known)

    def pairs(hit: re.Match[str]) -> str:
        if "columns" not in names:
            return hit.group(0)
        said = [_word(f"{_bare(left)}={_bare(right)}") for left, right in _PAIR.findall(hit.group(1))]
        return " ".join(["--columns", *said, *(["..."] if hit.group(2) else [])])

    def argument(hit: re.Match[str]) -> str:
        name, value = _RENAMED.get(hit.group(1), hit.group(1)), hit.group(2)
        if name not in names:
            return hit.group(0)
        option = f"--{name.replace('_', '-')}"
        return option if value in ("", "True") else f"{option} {_word(_bare(value))}"

    def bare(hit: re.Match[str]) -> str:
        name = _RENAMED.get(hit.group(1), hit.group(1))
        return f"--{name.replace('_', '-')}" if name in names else hit.group(0)

    for pattern, said in _PHRASES:
        text = pattern.sub(said, text)
    for pattern, start, verb, task in _VERBS:
        text = pattern.sub(f"{start}--task {task}" if "task" in names else f"{start}`geneml-bio {verb}`", text)
    text = _BARE.sub(bare, text)
    head = re.match(r"([a-z_]+): no column ", text)
    if head is not None and head.group(1) in names:
        text = f"--{head.group(1)}: no column {text[head.end() :]}"
    return _ARGUMENT.sub(argument, _PAIRS.sub(pairs, text))


def _bare(value: str) -> str:
    """Text of Python without its quotes."""
    return re.sub(r"\\(['\"\\])", r"\1", value[1:-1]) if value[:1] in ("'", '"') else value


def _word(text: str) -> str:
    """One word of a shell; plain words of any language, and ``name=value``, as they are."""
    return text if all(_PLAIN.fullmatch(part) for part in text.split("=", 1)) or text == "..." else shlex.quote(text)
