"""The biomarker table for print and for the browser: LaTeX and one HTML file. Hostile names do nothing in either."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..core.biomarker_columns import CLASSES, COLUMNS, in_words, small_effects

SMALL = frozenset({"P.Value", "adj.P.Val", "empirical_p", "empirical_q", "knockoff_q"})
WHOLE = frozenset({"rank", "shap_rank", "rank_low", "rank_high", "direction", "n_models", "n_agree"})
SHARES = frozenset({"selection_frequency", "used"})
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "[": "{[}", "]": "{]}", "*": "{*}", "-": "{-}", "'": "{'}", "`": r"\textasciigrave{}",
}  # fmt: skip
_GREEK = dict(zip(
    "αβγδεζηθικλμνξπρστυφχψωµ",
    ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "pi", "rho",
     "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "mu"), strict=True))  # fmt: skip
_LATEX |= {letter: rf"\ensuremath{{\{name}}}" for letter, name in _GREEK.items()}
_LATEX_COLUMNS = (
    "symbol",
    "class",
    "logFC",
    "CI.L",
    "CI.R",
    "adj.P.Val",
    "shap",
    "direction",
    "selection_frequency",
    "empirical_q",
)
_HEADS = {"class": "class", "logFC": "logFC", "shap": "mean |SHAP|", "selection_frequency": "folds", "empirical_q": "q",
          "direction": "dir."}  # fmt: skip


def clean(value: object) -> str:
    """Text on one line, without characters that do not print."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def latex_escaped(value: object) -> str:
    r"""Text as LaTeX sets it, letter by letter; also after a ``\\``, where brackets and stars would be arguments."""
    return "".join(_LATEX.get(c, c) for c in clean(value))


def number(value: float, name: str, few: bool = False) -> str:
    """A number as it is read: p-values with two digits, counts whole, others with three digits; ``few``: fold changes with two digits."""
    if not np.isfinite(value):
        return ""
    if name in WHOLE:
        return f"{value:.0f}"
    if name in SMALL:
        return f"{value:.1e}" if value < 0.001 else f"{value:.3f}"
    if name in SHARES:
        return f"{value:.2f}"
    if name == "shap":
        return f"{value:.3g}"
    return f"{value:.2g}" if few and name in ("logFC", "CI.L", "CI.R") else f"{value:.2f}"


# -- LaTeX -------------------------------------------------------------------------------------------------------------


def latex(
    table: pd.DataFrame, settings: Mapping[str, Any], *, columns: list[str] | None, caption: str, n_all: int
) -> str:
    r"""A ``table`` environment in the style of booktabs, to be read by ``\input``."""
    wanted = columns or [name for name in _LATEX_COLUMNS if name in table]
    numbers = [name for name in wanted if pd.api.types.is_numeric_dtype(table[name])]
    interval = columns is None and {"logFC", "CI.L", "CI.R"} <= set(wanted)
    heads = [name for name in wanted if not (interval and name in ("CI.L", "CI.R"))]
    align = "l" + "".join("r" if name in numbers else "l" for name in heads)
    head = [
        "gene",
        *(f"{_HEADS.get(name, name)}" + (" [95 % CI]" if interval and name == "logFC" else "") for name in heads),
    ]
    words = in_words(table)
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}; letters other than Latin and Greek need LuaLaTeX or XeLaTeX",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{latex_escaped(caption or _caption(settings, len(table), n_all))}}}",
        f"\\begin{{tabular}}{{{align}}}",
        "\\toprule",
        " & ".join(latex_escaped(name) for name in head) + " \\\\",
        "\\midrule",
    ]
    few = small_effects(table)
    for gene, row in table.iterrows():
        cells = [latex_escaped(gene)]
        for name in heads:
            if name not in numbers:
                cells.append(latex_escaped(words[gene] if name == "class" else "" if pd.isna(row[name]) else row[name]))
                continue
            cell = _latex_number(number(_float(row[name]), name, few))
            if interval and name == "logFC" and np.isfinite(_float(row["CI.L"])):
                ends = (_latex_number(number(_float(row[end]), end, few)) for end in ("CI.L", "CI.R"))
                cell += " {[}" + ", ".join(ends) + "{]}"
            cells.append(cell)
        lines.append(" & ".join(cells) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def _float(value: Any) -> float:
    return float("nan") if pd.isna(value) else float(value)


def _latex_number(text: str) -> str:
    hit = re.fullmatch(r"(-?[\d.]+)e([+-])0*(\d+)", text)
    if hit:
        return rf"${hit[1]}\times10^{{{'-' if hit[2] == '-' else ''}{hit[3]}}}$"
    return f"${text}$" if text.startswith("-") else text or "--"


def _caption(settings: Mapping[str, Any], n: int, n_all: int) -> str:
    """What is shown, in a sentence."""
    of = f"The {n} strongest of {n_all:,} genes" if n < n_all else f"All {n:,} genes"
    contrast = f" ({settings['contrast']})" if settings.get("contrast") else ""
    direction = f" Direction {settings['direction']}." if settings.get("direction") else ""
    verdict = f" Models: {settings['verdict']}" if settings.get("verdict") else ""
    return (
        f"Biomarkers. {of}{contrast}, by mean absolute SHAP of samples that the models did not see.{direction}{verdict}"
    )


# -- HTML --------------------------------------------------------------------------------------------------------------


def html(
    table: pd.DataFrame, settings: Mapping[str, Any], *, columns: list[str] | None, caption: str, n_all: int
) -> str:
    """One self-contained page: no script, nothing loaded, readable by keyboard and screen reader, light and dark."""
    from jinja2 import Environment

    wanted = columns or list(table.columns)
    words = in_words(table) if "class" in wanted else None
    shown = [name for name in wanted if name != "stands_behind" or words is None]
    numeric = {name: pd.api.types.is_numeric_dtype(table[name]) for name in shown}
    few = small_effects(table)
    rows = []
    for gene, row in table.iterrows():
        cells = []
        for name in shown:
            if numeric[name]:
                text = number(_float(row[name]), name, few)
            else:
                text = (
                    ""
                    if pd.isna(row[name])
                    else clean(words[gene] if name == "class" and words is not None else row[name])
                )
            look = "num" if numeric[name] else ""
            look = f"class c{list(CLASSES).index(row['class'])}" if name == "class" and row[name] in CLASSES else look
            cells.append({"text": text or "–", "look": "odd" if text == "conflict" else look})
        rows.append({"gene": clean(gene) or "(no name)", "cells": cells})
    heads = [{"name": name, "about": COLUMNS.get(name, ""), "num": numeric[name]} for name in shown]
    there = set(table["class"]) if "class" in table else set()
    about = {
        "title": clean(caption)
        or "Biomarkers" + (f": {clean(settings['contrast'])}" if settings.get("contrast") else ""),
        "lead": _caption(settings, len(table), n_all) if not caption else "",
        "cautions": [clean(settings[name]) for name in ("cautions",) if settings.get(name)],
        "missing": clean(settings.get("missing_evidence", "")),
        "heads": heads,
        "rows": rows,
        "classes": [(i, name, said) for i, (name, said) in enumerate(CLASSES.items()) if name in there],
        "settings": [(name, clean(value)) for name, value in settings.items() if name not in ("cautions", "verdict")],
    }
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE).render(**about)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #222; --soft: #5a5a5a; --paper: #fff; --line: #d8d8d8; --head: #f2f4f6;
  --c0: #fbe0d3; --c1: #d9edf8; --c2: #cfe2f1; --c3: #cdeee2; --c4: #fbe9c6; --c5: #f3dfea; --odd: #a3220b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a8a8a8; --paper: #17191c; --line: #3a3d42; --head: #23262b;
  --c0: #5a2a14; --c1: #1d4358; --c2: #123c58; --c3: #0f4a38; --c4: #54410f; --c5: #4c2b3e; --odd: #ff9a80; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
body { margin: 2rem auto; padding: 0 1.2rem; max-width: 90rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.note { border-left: 4px solid var(--odd); padding: .2rem .8rem; margin: 1rem 0; }
.scroll { overflow-x: auto; border: 1px solid var(--line); } .scroll:focus-visible { outline: 2px solid #0072b2; }
table { border-collapse: collapse; font-size: .86rem; width: 100%; }
caption { text-align: left; padding: .5rem; color: var(--soft); }
th, td { padding: .28rem .6rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { background: var(--head); white-space: nowrap; position: sticky; top: 0; }
tbody th { font-weight: 600; white-space: nowrap; position: sticky; left: 0; background: var(--paper); }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.class { min-width: 8rem; } .odd { color: var(--odd); font-weight: 600; }
{% for i in range(6) %}
.c{{ i }} { background: var(--c{{ i }}); }
{% endfor %}
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0 0 0 1.2rem; color: var(--soft); } dt span { padding: 0 .4rem; }
@media print { body { max-width: none; margin: 0; } .scroll { overflow: visible; border: 0; } thead th, tbody th { position: static; } }
</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
{% if lead %}
<p>{{ lead }}</p>
{% endif %}
{% for text in cautions %}
<p class="note" role="note"><strong>Caution.</strong> {{ text }}</p>
{% endfor %}
{% if missing %}
<p class="note" role="note"><strong>Evidence that is missing:</strong> {{ missing }}.</p>
{% endif %}
<div class="scroll" tabindex="0" role="region" aria-label="Table of biomarkers">
<table>
<caption>{{ rows|length }} genes, the strongest first. What each column is stands below the table.</caption>
<thead><tr><th scope="col">gene</th>
{% for head in heads %}
<th scope="col"{% if head.num %} class="num"{% endif %} title="{{ head.about }}">{{ head.name }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row.gene }}</th>
{% for cell in row.cells %}
<td{% if cell.look %} class="{{ cell.look }}"{% endif %}>{{ cell.text }}</td>
{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if classes %}
<h2>Classes</h2>
<dl>
{% for i, name, said in classes %}
<dt><span class="c{{ i }}">{{ name }}</span></dt><dd>{{ said }}</dd>
{% endfor %}
</dl>
{% endif %}
<h2>Columns</h2>
<dl>
{% for head in heads if head.about %}
<dt>{{ head.name }}</dt><dd>{{ head.about }}</dd>
{% endfor %}
</dl>
{% if settings %}
<h2>Settings</h2>
<dl>
{% for name, value in settings %}
<dt>{{ name }}</dt><dd>{{ value }}</dd>
{% endfor %}
</dl>
{% endif %}
</main>
</body>
</html>
"""
