"""docs/dialects.md says what the reader does: each of its rows is read, and compared."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import geneml_bio as gb
from geneml_bio.bridge.dialects import DIALECTS
from geneml_bio.core.errors import DataWarning, TableError
from geneml_bio.core.names import ID_COLUMN, PROGRAMS
from geneml_bio.describe import _columns

PAGE = Path(__file__).parents[1] / "docs" / "dialects.md"

# program -> its columns, each with what is in it (see `column`); "" is the header of row names
EXAMPLES: dict[str, tuple[str, dict[str, str]]] = {
    "limma `topTable`": ("limma topTable", {"": "id", "logFC": "e", "AveExpr": "a", "t": "t", "P.Value": "p", "adj.P.Val": "q", "B": "B"}),
    "limma `topTable` of several contrasts": (
        "limma topTable of several contrasts",
        {"": "id", "BvsA": "e", "CvsA": "e", "AveExpr": "a", "F": "F", "P.Value": "p", "adj.P.Val": "q"},
    ),
    "limma `topTreat`": (
        "limma topTreat or topTable without B",
        {"": "id", "logFC": "e", "AveExpr": "a", "t": "t treat", "P.Value": "p treat", "adj.P.Val": "q treat"},
    ),
    "limma `write.fit`": (
        "limma write.fit",
        {"": "id", "A": "a", "Coef": "e", "t": "t", "P.value": "p", "P.value.adj": "q", "F": "F", "F.p.value": "p"},
    ),
    "GEO2R": ("GEO2R", {"ID": "id", "adj.P.Val": "q", "P.Value": "p", "t": "t", "B": "B", "logFC": "e", "Gene.symbol": "x"}),
    "edgeR `topTags` (exact test)": ("edgeR topTags", {"": "id", "logFC": "e", "logCPM": "a", "PValue": "p", "FDR": "q"}),
    "edgeR `topTags` (`glmQLFTest`)": ("edgeR topTags", {"": "id", "logFC": "e", "logCPM": "a", "F": "F", "PValue": "p", "FDR": "q"}),
    "edgeR `topTags` (`glmLRT`)": ("edgeR topTags", {"": "id", "logFC": "e", "logCPM": "a", "LR": "LR", "PValue": "p", "FDR": "q"}),
    "edgeR `topTags` of several coefficients": (
        "edgeR topTags of several coefficients",
        {"": "id", "logFC.B": "e", "logFC.C": "e", "logCPM": "a", "F": "F", "PValue": "p", "FDR": "q"},
    ),
    "DESeq2 `results`": (
        "DESeq2 results",
        {"": "id", "baseMean": "m", "log2FoldChange": "e", "lfcSE": "s", "stat": "t", "pvalue": "p", "padj": "q"},
    ),
    "DESeq2 `results(test=\"LRT\")`": (
        "DESeq2 results",
        {"": "id", "baseMean": "m", "log2FoldChange": "e", "lfcSE": "s", "stat": "LR", "pvalue": "p", "padj": "q"},
    ),
    "DESeq2 `lfcShrink`": ("DESeq2 results", {"": "id", "baseMean": "m", "log2FoldChange": "e", "lfcSE": "s", "pvalue": "p", "padj": "q"}),
    "sleuth": ("sleuth (Wald test)", {"target_id": "id", "pval": "p", "qval": "q", "b": "e", "se_b": "s", "mean_obs": "a"}),
    "DiffBind": ("DiffBind", {"": "id", "Conc": "a", "Fold": "e", "p-value": "p", "FDR": "q"}),
    "ballgown `stattest`": ("ballgown stattest", {"feature": "x", "id": "id", "fc": "r", "pval": "p", "qval": "q"}),
    "scanpy `rank_genes_groups_df`": (
        "scanpy rank_genes_groups_df",
        {"names": "id", "scores": "t", "logfoldchanges": "e", "pvals": "p", "pvals_adj": "q"},
    ),
    "pertpy": ("pertpy", {"variable": "id", "log_fc": "e", "p_value": "p", "adj_p_value": "q"}),
    "PyDESeq2": (
        "DESeq2 results",
        {"": "id", "baseMean": "m", "log2FoldChange": "e", "lfcSE": "s", "stat": "t", "pvalue": "p", "padj": "q"},
    ),
    "Seurat `FindMarkers`": (
        "Seurat FindMarkers",
        {"": "id", "p_val": "p", "avg_log2FC": "e", "pct.1": "c", "pct.2": "c", "p_val_adj": "bonferroni"},
    ),
    "Seurat `FindMarkers` before version 4": (
        "Seurat FindMarkers (before version 4)",
        {"": "id", "p_val": "p", "avg_logFC": "e", "pct.1": "c", "pct.2": "c", "p_val_adj": "bonferroni"},
    ),
    "MSstats": (
        "MSstats groupComparison",
        {"Protein": "id", "Label": "one", "log2FC": "e", "SE": "s", "Tvalue": "t", "pvalue": "p", "adj.pvalue": "q"},
    ),
    "plain names": ("plain names", {"Gene": "id", "log2(fold change)": "e", "-log10(Pvalue)": "L", "FDR": "q"}),
    "plain names, a linear fold change": ("plain names", {"gene_id": "id", "Fold change": "r", "p-value": "p", "q-value": "q"}),
    "plain names, an article's supplement": ("plain names", {"Symbol": "id", "LogFC": "e", "raw_P.value": "p", "adjusted p": "q"}),
}  # fmt: skip


def frame_of(columns: dict[str, str], n: int = 60) -> pd.DataFrame:
    """A coherent table: one t behind every statistic."""
    rng = np.random.default_rng(0)
    # a normal statistic, so that it is DESeq2's z and nearly limma's t
    t = rng.normal(scale=2.5, size=n)
    p = 2 * stats.norm.sf(np.abs(t))
    if "LR" in columns.values():
        p = stats.chi2.sf(t**2, 1)
    far, near = (np.abs(t) * 0.25 + 0.2) / 0.25, (np.abs(t) * 0.25 - 0.2) / 0.25
    p_treat = stats.norm.sf(far) + stats.norm.sf(near)
    made = {
        "t treat": np.sign(t) * np.maximum(near, 0), "p treat": p_treat, "q treat": stats.false_discovery_control(p_treat),
        "id": [f"GENE{i}" for i in range(n)], "x": [f"S{i % 7}" for i in range(n)], "one": ["B vs A"] * n, "e": t * 0.25, "t": t,
        "a": rng.normal(7, 1, n), "m": 2.0 ** rng.normal(7, 1, n), "F": t**2, "LR": t**2, "p": p, "s": np.full(n, 0.25),
        "q": stats.false_discovery_control(p), "bonferroni": np.minimum(p * n, 1), "B": np.abs(t) - 4, "c": rng.uniform(size=n).round(3),
        "L": -np.log10(p), "r": 2.0 ** (t * 0.25),
    }  # fmt: skip
    frame = pd.DataFrame({name: made[kind] for name, kind in columns.items()})
    effects = [name for name, kind in columns.items() if kind == "e"]
    for name in effects[1:]:
        frame[name] = rng.normal(size=n)
    return frame


def read(program: str, tmp_path: Path) -> gb.DETable:
    path = tmp_path / "table.csv"
    frame_of(EXAMPLES[program][1]).to_csv(path, index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return gb.read.toptable(path)


def row(program: str, de: gb.DETable) -> str:
    """The row of the page for a program."""
    shown = " ".join(f"`{name}`" if name else "(row names)" for name in EXAMPLES[program][1])
    return f"| {program} | {shown} | {_columns(list(de.source['columns']))} | `{de.kind}` |"


# -- the generated parts of the page: `python tests/test_dialects_page.py` writes them anew --------------------------------


def parts(folder: Path) -> dict[str, list[str]]:
    """What stands between the marks of the page."""
    rows = ["| program | columns of the file | read as | kind |", "|---|---|---|---|"]
    rows += [row(program, read(program, folder)) for program in EXAMPLES]
    shown = {dialect for dialect, _ in EXAMPLES.values()}
    others = dict.fromkeys(d.name for d in DIALECTS if not d.refuse and d.name not in shown)
    refused = ["| table | reason, and the way out |", "|---|---|"]
    refused += list(dict.fromkeys(f"| {d.name} | {d.refuse} |".replace("neg|", "neg\\|") for d in DIALECTS if d.refuse))
    written = ["| `to=` | ids | limma's name → the program's |", "|---|---|---|"]
    for program, names in PROGRAMS.items():
        ids = f"`{ID_COLUMN[program]}`" if program in ID_COLUMN else "row names"
        changed = ", ".join(f"{ours} → {theirs}" for ours, theirs in names.items()) or "as they are"
        written.append(f"| `{program}` | {ids} | {changed} |")
    return {"read": rows, "others": [f"{'; '.join(others)}."], "refused": refused, "written": written}


def between(name: str, text: str) -> list[str]:
    """The lines between the marks of a part."""
    found = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- end -->", text, flags=re.DOTALL)
    return [] if found is None else found.group(1).splitlines()


def write_page(folder: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, lines in parts(folder).items():
        start = text.index(f"<!-- {name} -->\n") + len(f"<!-- {name} -->\n")
        text = text[:start] + "\n".join(lines) + "\n" + text[text.index("<!-- end -->", start) :]
    PAGE.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("program", list(EXAMPLES))
def test_the_examples_are_read_as_the_program_they_are(program, tmp_path):
    de = read(program, tmp_path)
    assert de.source["dialect"] == EXAMPLES[program][0]
    assert list(de.frame.index) == [f"GENE{i}" for i in range(60)]


@pytest.mark.parametrize("name", ["read", "others", "refused", "written"])
def test_the_page_says_what_the_reader_does(name, tmp_path):
    assert between(name, PAGE.read_text(encoding="utf-8")) == parts(tmp_path)[name], (
        "run: python tests/test_dialects_page.py"
    )


def test_what_the_page_says_is_refused_is_refused():
    rng = np.random.default_rng(0)
    counts = pd.DataFrame(
        rng.poisson(100, (50, 6)), columns=[f"s{i}" for i in range(6)], index=[f"g{i}" for i in range(50)]
    )
    whole = frame_of(EXAMPLES["limma `topTable`"][1]).set_index("")
    cases = {
        "a matrix of counts": counts,
        "no effect": whole[["AveExpr", "P.Value", "adj.P.Val"]],
        "p-values outside": whole.assign(**{"P.Value": whole["P.Value"] * 9}),
        "no rows": whole.iloc[:0],
    }
    text = PAGE.read_text(encoding="utf-8")
    for what, frame in cases.items():
        with pytest.raises(TableError):
            gb.read.toptable(frame)
        assert re.search(rf"^\| [^|]*{what}", text, flags=re.MULTILINE), what


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        write_page(Path(scratch))
