"""The words of column names: what statistics, scales, methods, ids and experiments are called."""

from __future__ import annotations


def _in_order(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _set(text: str) -> frozenset[str]:
    return frozenset(_in_order(text))


# -- p-values ----------------------------------------------------------------------------------------------------------

PVALUE = _set("p pval pvals pvalue pvalues pv valor valeur wert")
VALUE = _set("val value values vals")
ADJUSTED = _set("""
    adj adjust adjusted adjustment adjval fdr bh benjamini hochberg q qval qvals qvalue qvalues corr corrected correction
    fwer holm bonferroni bonf hommel sidak storey ihw
""")
# words that say nothing without another
ALONE = _set("adj adjust adjusted adjustment corr corrected correction valor valeur wert")
METHODS = {
    "fwer": "holm (FWER)", "holm": "holm", "bonferroni": "bonferroni", "bonf": "bonferroni", "hommel": "hommel",
    "sidak": "sidak", "bh": "BH", "benjamini": "BH", "storey": "q-value (Storey)", "ihw": "IHW", "by": "BY",
}  # fmt: skip
# methods that guard against a single false gene, and so give other numbers than BH
STRICT = frozenset({"BY", "holm (FWER)", "holm", "bonferroni", "hommel", "sidak"})
RAW = _set("raw nominal nom unadj unadjusted uncorrected uncorr orig original")
TEST = _set("""
    t test ttest tests students student s welch wald lrt exact wilcoxon wilcox mann whitney mannwhitney moderated mod limma
    edger deseq deseq2 voom ebayes two sided tailed twosided twotailed de dge deg diff differential expression permutation
    perm glm stepup step up rate false discovery rank sum based parametric method less of the gene wise et al 1995 2003 2002 2
""")
NEG = _set("neg negative minus x")

# -- scales and effects ------------------------------------------------------------------------------------------------

LOG = {
    "log2": "log2", "l2": "log2", "lg2": "log2", "log10": "log10", "lg": "log10", "nlog10": "log10", "mlog10": "log10",
    "neglog10": "log10", "minuslog10": "log10", "negativelog10": "log10", "ln": "ln", "loge": "ln", "log": "log",
}  # fmt: skip
FOLD = _set("fc fold folds foldchange foldchanges lfc l2fc logfc log2fc lnfc change changes")
OF_FOLD = _set("""
    avg average ave mean median estimated est estimate shrunk shrunken shrinkage mle map of the moderated mod expression limma
    edger deseq deseq2 value values val gene normalized normalised
""")
# effects whose scale a name does not tell
UNCLEAR = _set("""
    beta estimate coef coefficient effect effectsize difference diff ratio delta d g hedges cohens cohen logratio es slope m
""")
# what makes a statistic of another kind of the words beside it
SPOILED = _set("""
    abs absolute rank ranking sign significant significance sig cutoff threshold thresh pass passed sd std stdev var variance
    direction description min max sum count counts number se err error normality shapiro levene bartlett heterogeneity
    interaction enrichment cv lfdr local less greater low high lower upper onesided one combined meta fisher weight flag color
    colour label category class regulation status rounded filter intercept
""")

# -- other statistics, by their words put together ---------------------------------------------------------------------

_NAMES = {
    "AveExpr": """aveexpr avgexpr averageexpr averageexpression aveexpression avgexpression avelogexpr logcpm avelogcpm
        averagelogcpm log2cpm avglogcpm averagelog2expression averagelogexpression avglog2expr avglog2expression""",
    "baseMean": "basemean",
    "t": """tstat tstatistic tvalue tval tscore tteststatistic tteststat moderatedt modt moderatedtstatistic
        studentsttestteststatistic studentsttesttstatistic stat stats statistic teststat teststatistic zscore zstat zvalue
        zstatistic wald waldstat waldstatistic waldteststat waldz scores""",
    "F": "fstat fstatistic fvalue modf moderatedf qlf qlfstat",
    "LR": "lr lrstat lrtstat lrtstatistic likelihoodratio",
    "B": "bstat bstatistic lods logodds bvalue",
    "SE": """se lfcse logfcse stderr stderror standarderror log2fcse log2foldchangese selogfc selfc selog2fc selog2foldchange
        sefc""",
    "CI.L": """cil cilow cilower cilo cilb lowerci lowci conflow ci95low ci95lower lowerci95 logfccil logfccilow log2fccilow
        cileft lcl ci25 25ci 95cilower 95cil lower95ci lower95 95lower 95cilow""",
    "CI.R": """cir cihigh ciupper ciup cihi ciub upperci highci confhigh ci95high ci95upper upperci95 logfccir logfccihigh
        log2fccihigh ciright ucl ci975 975ci 95ciupper 95cir upper95ci upper95 95upper
        95cihigh""",
    "df": "df dof degreesoffreedom",
}
OTHERS = {name: role for role, names in _NAMES.items() for name in names.split()}
# one letter may as well be the name of a group
ONE_LETTER = {"A": "AveExpr", "Amean": "AveExpr", "t": "t", "F": "F", "B": "B", "z": "t", "Z": "t"}

WORDS = (
    PVALUE | VALUE | ADJUSTED | RAW | FOLD | set(LOG) | {word for word in TEST | OF_FOLD | NEG if len(word) > 2}
    | _set("neg ratio stat stats statistic score expr cpm se err error ci lods odds difference diff base std standard t 10")
)  # fmt: skip

# -- ids and experiments -----------------------------------------------------------------------------------------------

# names under which row names travel
ROW_NAMES = frozenset({"", "...1", "Unnamed: 0", "rowname", "rownames", "row.names", "row_names", "Row.names", "X", "X1", "V1",
                       "index", "level_0"})  # fmt: skip
# names that people give to ids, the likeliest first: what a row is before what it is called
ID_NAMES = _in_order("""
    id ids test_id target_id sgrna transcript_id probe_id probeid probe probeset probeset_id probe_set_id probesetid
    feature_id featureid feature variable ensembl_gene_id ensembl_gene_id_version ensgene
    ensembl_id ensembl ensembl_gene ensemblid ensg gene_id geneid
    gene_ids entrez_gene_id entrezgene entrezgene_id entrez_id entrezid entrez protein_id protein_ids majority_protein_ids
    protein proteins accession acc uniprot uniprot_id uniprot_accession protein_group protein_groups leading_razor_protein
    leading_proteins peptide cpg cg illumina_id ilmnid name names gene genes gene_name genename gene_names genenames
    gene_symbol genesymbol gene_symbols symbol symbols hgnc_symbol mgi_symbol external_gene_name gene_short_name hgnc
    genes_symbol primerid locus locus_tag locus_id orf systematic_name mirna mirna_id mir compound metabolite taxon taxa otu
    asv region interval peak peak_id id_ref spot_id transcript refseq refseq_id tracking_id nearest_ref_id element identifier
    identifiers unigene contig
""")
# columns that hold nothing else
ALWAYS_STACKED = _set("contrast contrasts comparison comparisons cmp coef coefficient")
# columns that may tell experiments apart
STACK_NAMES = ALWAYS_STACKED | _set("""
    cluster cluster_id group groups label condition conditions cell_type celltype celltypes tissue timepoint time_point time day term test
    dataset study experiment treatment pair sample_2 sample_1 cell_line stage sex region dose strain genotype subset sample set
    file source batch vs design database metadata
""")
# columns that describe a gene or its result
NEVER_STACKED = _set("""
    strand chr chrom chromosome chromosome_name seqname seqnames gene_chr gene_strand biotype gene_biotype gene_type description
    gene_description significant significance sig regulation regulated direction change changes status color colour diffexpressed
    differential threshold up_down updown
""")
MISSING_ID = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "null", "none", "---", "--", "-", "."})
