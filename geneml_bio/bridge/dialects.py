"""Column dialects of DE tables, as rows of one table.

Most names explain themselves (:mod:`.words`). A row here says what a program's own names mean where they do not, gives the
program its name in reports, or says why its table cannot be read. A new dialect is a new row of :data:`DIALECTS`.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .words import Meaning, label_of, norm

_M = Meaning
LOG2, LN = _M("logFC"), _M("logFC", "ln")
P, ADJ, NOTHING = _M("P.Value"), _M("adj.P.Val"), _M("")


@dataclass(frozen=True)
class Dialect:
    """The columns of one program's table.

    Parameters
    ----------
    name
        The program and its function, for messages.
    needs, lacks
        Columns that must be there, and that must not: lower case, anything but letters and digits as ``_``; ``*`` stands for
        anything (the name of a contrast).
    columns
        What names mean that do not explain themselves; ``*_ratio`` takes the rest of the name as the label. A meaning without
        a role: no statistic.
    adjust
        The method behind its adjusted p-values.
    stacked
        Columns that tell results apart where a table holds several, one below the other.
    refuse
        Why it cannot be read.
    note
        A warning that belongs to every such table.
    """

    name: str
    needs: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    columns: Mapping[str, Meaning] = field(default_factory=dict)
    adjust: str = ""
    stacked: tuple[str, ...] = ()
    refuse: str = ""
    note: str = ""

    def fits(self, names: Sequence[str]) -> bool:
        """Whether a table with these (plain) names is of the dialect."""
        return all(any(fnmatch.fnmatchcase(name, need) for name in names) for need in self.needs) and not any(
            fnmatch.fnmatchcase(name, lack) for name in names for lack in self.lacks
        )

    def meaning(self, name: str) -> Meaning | None:
        """What the dialect says of a column; None: nothing."""
        plain = norm(name)
        for pattern, meant in self.columns.items():
            if fnmatch.fnmatchcase(plain, pattern):
                if "*" not in pattern:
                    return meant
                return Meaning(meant.role, meant.how, _label(name, pattern), meant.adjust, meant.raw)
        return None


def _label(name: str, pattern: str) -> str:
    """The part of a name that ``*`` stands for."""
    fixed = re.sub(r"_+", r"[\\W_]+", re.escape(pattern.replace("*", "").strip("_")).replace(r"\_", "_"))
    return label_of(re.sub(fixed, "", name, count=1, flags=re.IGNORECASE))


def _row(name: str, needs: str, lacks: str = "", **more: object) -> Dialect:
    return Dialect(name, tuple(needs.split()), tuple(lacks.split()), **more)  # type: ignore[arg-type]


_CLUSTERS = ("group", "cluster", "groups", "leiden", "louvain", "cell_type")
_NO_P = "It holds no p-value that a DE table needs"
_SETS = "Its rows are gene sets with their enrichment, not genes with their differences"

DIALECTS: tuple[Dialect, ...] = (
    # what must not be taken for a DE table of genes
    _row("a table of gene-set enrichment", "nes", refuse=_SETS),
    _row("a table of gene-set enrichment (clusterProfiler)", "generatio bgratio", refuse=_SETS),
    _row("a table of gene-set enrichment (Enrichr)", "combined_score overlap", refuse=_SETS),
    _row("a table of gene-set enrichment (DAVID)", "fold_enrichment category", refuse=_SETS),
    _row("a table of gene-set enrichment", "*fold_enrichment", refuse=_SETS),
    _row("a table of gene-set enrichment (g:Profiler)", "term_size intersection_size", refuse=_SETS),
    _row("a table of gene-set enrichment (limma camera)", "ngenes direction pvalue", refuse=_SETS),
    _row("MAGeCK test's gene summary", "neg_p_value pos_p_value neg_lfc pos_lfc",
         refuse="It holds two one-sided p-values for each gene, one in each direction, and no two-sided one; choose a "
                "direction with columns={'logFC': 'neg|lfc', 'P.Value': 'neg|p-value', 'adj.P.Val': 'neg|fdr'}"),
    _row("DESeq2 lfcShrink with s-values", "log2foldchange svalue", "pvalue",
         refuse="An s-value is the probability that the sign is wrong, not a p-value; save lfcShrink(..., svalue=FALSE)"),
    _row("NOISeq", "m d prob", refuse=f"{_NO_P}: 'prob' is a probability of differential expression"),
    _row("NOISeq", "prob ranking", refuse=f"{_NO_P}: 'prob' is a probability of differential expression"),
    _row("EBSeq", "ppee ppde", refuse=f"{_NO_P}: PPDE is a posterior probability"),
    _row("scvi-tools differential_expression", "bayes_factor proba_*", refuse=f"{_NO_P}: a Bayes factor is none"),
    _row("ALDEx2", "diff_btw we_ep wi_ep", refuse="It holds the p-values of two tests; choose one: columns={'logFC': 'diff.btw', "
         "'P.Value': 'we.ep', 'adj.P.Val': 'we.eBH'} (Welch) or 'wi.ep', 'wi.eBH' (Wilcoxon)"),
    _row("SAM", "score_d* *q_value*", refuse=f"{_NO_P}: it has q-values (in percent) only"),
    _row("Seurat FindMarkers (roc)", "myauc", refuse=f"{_NO_P}; run FindMarkers with another test"),
    _row("DEqMS", "sca_p_value logfc p_value", refuse="It holds limma's p-values and its own, which weigh the number of peptides; "
         "choose: columns={'P.Value': 'sca.P.Value', 'adj.P.Val': 'sca.adj.pval', 't': 'sca.t'} (DEqMS), or {'P.Value': 'P.Value', "
         "'adj.P.Val': 'adj.P.Val'} (limma)"),
    # limma
    _row("limma write.fit", "coef* p_value* f_p_value", "logfc*", columns={
        "f_p_value": NOTHING, "res": NOTHING, "res_*": NOTHING, "coef": LOG2, "coef_*": LOG2, "a": _M("AveExpr"),
        "p_value_adj": ADJ, "p_value_adj_*": ADJ, "t": _M("t"), "t_*": _M("t"), "p_value": P, "p_value_*": P}),
    _row("GEO2R", "id adj_p_val p_value t b logfc", "aveexpr", columns={"b": _M("B")}),
    _row("limma topTable", "logfc p_value adj_p_val b", columns={"b": _M("B")}),
    _row("limma topTable of several contrasts", "f p_value adj_p_val", "logfc", columns={"f": _M("F")}),
    _row("limma topTreat or topTable without B", "logfc p_value t adj_p_val", "b"),
    _row("limma topTable, some columns", "logfc p_value adj_p_val"),
    # counts
    _row("edgeR topTags", "logfc logcpm pvalue"),
    _row("edgeR topTags of several coefficients", "logfc_* logcpm pvalue"),
    _row("DESeq2 results with IHW", "log2foldchange pvalue padj basemean weight", adjust="IHW"),
    _row("DESeq2 results", "log2foldchange pvalue basemean"),
    _row("DESeq results", "basemeana basemeanb foldchange log2foldchange pval padj"),
    _row("DEXSeq", "exonbasemean pvalue padj", columns={"log2fold_*": LOG2, "stat": _M("LR")}),
    _row("sleuth (Wald test)", "pval qval b se_b", columns={"b": LN, "se_b": _M("SE", "ln")}),
    _row("Cuffdiff", "test_id log2_fold_change* p_value q_value status", stacked=("sample_2", "sample_1")),
    _row("ballgown stattest", "feature fc pval qval", columns={"fc": _M("FC", "linear")}),
    _row("DiffBind", "conc fold p_value fdr", columns={"fold": LOG2, "conc": _M("AveExpr")}),
    _row("Trinity's edgeR", "samplea sampleb logfc logcpm pvalue fdr"),
    _row("MAGeCK MLE", "*_beta *_wald_p_value", columns={"*_beta": LN, "*_z": _M("t")}),
    # single cells
    _row("scanpy rank_genes_groups_df", "names pvals", stacked=_CLUSTERS),
    _row("scanpy rank_genes_groups", "logfoldchanges pvals pvals_adj", stacked=_CLUSTERS),
    _row("Seurat FindAllMarkers", "p_val avg_log2fc p_val_adj cluster gene", adjust="bonferroni", stacked=("cluster",)),
    _row("Seurat FindAllMarkers (before version 4)", "p_val avg_logfc p_val_adj cluster gene pct_1", adjust="bonferroni",
         stacked=("cluster",), columns={"avg_logfc": LN}),
    _row("Seurat FindMarkers", "p_val avg_log2fc p_val_adj", adjust="bonferroni"),
    _row("Seurat FindMarkers (before version 4)", "p_val avg_logfc p_val_adj pct_1", adjust="bonferroni",
         columns={"avg_logfc": LN}),
    _row("Seurat FindConservedMarkers", "*_p_val *_avg_log2fc *_p_val_adj", adjust="bonferroni"),
    _row("Seurat FindConservedMarkers (before version 4)", "*_p_val *_avg_logfc *_p_val_adj *_pct_1", adjust="bonferroni",
         columns={"*_avg_logfc": LN}),
    # natural logarithms in Seurat, log2 in others that took its name
    _row("a table in Seurat's names", "p_val *avg_logfc", columns={"avg_logfc": _M("effect"), "*_avg_logfc": _M("effect")}),
    _row("presto wilcoxauc", "avgexpr logfc auc pval padj", stacked=("group",), columns={"logfc": _M("effect")}),
    _row("pertpy", "variable log_fc p_value adj_p_value", stacked=("contrast",)),
    # proteins
    _row("proDA", "pval adj_pval diff t_statistic", columns={"diff": LOG2, "avg_abundance": _M("AveExpr")}),
    _row("Olink Analyze", "olinkid estimate p_value adjusted_pval", columns={"estimate": LOG2}),
    _row("Proteome Discoverer", "abundance_ratio_log2_*", columns={
        "abundance_ratio_log2_*": LOG2, "abundance_ratio_p_value_*": P, "abundance_ratio_adj_p_value_*": ADJ,
        "exp_q_value*": NOTHING, "abundance_ratio_*": NOTHING}),
    # microbes
    _row("ANCOM-BC", "lfc_* w_* p_* q_*", columns={
        "*intercept*": NOTHING, "lfc_*": LN, "se_*": _M("SE", "ln"), "w_*": _M("t"), "p_*": P, "q_*": ADJ}),
    _row("DEP", "*_ratio *_p_val *_centered", columns={"*_ratio": LOG2}),
    _row("DEP", "*_diff *_ci_l *_p_val", columns={"*_diff": LOG2}),
    _row("MSstats groupComparison", "protein label log2fc pvalue adj_pvalue", stacked=("label",)),
    _row("Perseus", "*student_s_t_test_difference* *log_student_s_t_test_p_value*", columns={
        "student_s_t_test_difference*": LOG2, "log_student_s_t_test_p_value*": _M("P.Value", "log10"),
        "student_s_t_test_test_statistic*": _M("t")},
        note="Perseus' difference was taken for a log2 fold change, as it is where the intensities were made log2 first"),
    _row("Expression Atlas", "gene_id gene_name *_p_value *_log2foldchange",
         note="Expression Atlas calls p-value what it has adjusted for all genes already"),
)  # fmt: skip


def recognise(header: Sequence[str]) -> Dialect | None:
    """The dialect of a table by its column names; None: no known program's, which is no fault."""
    names = [norm(name) for name in header]
    return next((row for row in DIALECTS if row.fits(names)), None)
