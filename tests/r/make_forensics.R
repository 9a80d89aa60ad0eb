# Writes tests/data/forensics/: whole tables by limma, edgeR and DESeq2 and, in truths.json, what R knows of each.
# Run in this folder: Rscript make_forensics.R
suppressMessages({ library(limma); library(edgeR); library(DESeq2); library(multtest); library(ALL); library(bladderbatch) })

out <- "../data/forensics"
dir.create(out, showWarnings = FALSE)
truths <- list()

store <- function(case, table, ...) {
  table <- as.data.frame(table)
  for (name in names(table)) if (is.numeric(table[[name]])) {
    # the shortest text that gives the number back
    x <- table[[name]]
    text <- sprintf("%.15g", x)
    again <- suppressWarnings(as.numeric(text)) != x & is.finite(x)
    text[again] <- sprintf("%.17g", x[again])
    table[[name]] <- text
  }
  file <- gzfile(file.path(out, paste0(case, ".csv.gz")), "wb", compression = 9)
  write.csv(table, file, quote = FALSE)
  close(file)
  truths[[case]] <<- list(rows = nrow(table), ...)
}
limma_truth <- function(fit, coef) list(
  df_total = unique(signif(fit$df.total, 12)), df_prior = unique(signif(fit$df.prior, 12)), df_residual = unique(fit$df.residual),
  s2_prior = median(fit$s2.prior), proportion = fit$proportion, var_prior = fit$var.prior[coef],
  stdev_unscaled = unique(signif(fit$stdev.unscaled[, coef], 12)), lfc = fit$treat.lfc)
small <- function(x, most = 60) if (length(x) > most) c(range(x, na.rm = TRUE)) else x
keep <- function(case, table, fit, coef, ...) {
  truth <- lapply(limma_truth(fit, coef), small)
  do.call(store, c(list(case, table), truth, list(...)))
}

data(golub)
rownames(golub) <- make.unique(golub.gnames[, 3])
class <- factor(ifelse(golub.cl == 0, "ALL", "AML"))
plain <- eBayes(lmFit(golub, model.matrix(~class)))
keep("golub", topTable(plain, coef = 2, number = Inf, confint = TRUE), plain, 2)
treated <- treat(lmFit(golub, model.matrix(~class)), lfc = 0.2)
keep("golub_treat", topTreat(treated, coef = 2, number = Inf), treated, 2)

data(ALL)
some <- ALL[seq(3, 12625, by = 5), substr(ALL$BT, 1, 1) == "B" & ALL$mol.biol %in% c("BCR/ABL", "NEG")]
kind <- factor(as.character(some$mol.biol))
fit <- lmFit(exprs(some), model.matrix(~kind))
trended <- eBayes(fit, trend = TRUE)
keep("all_trend", topTable(trended, coef = 2, number = Inf), trended, 2)
hardy <- eBayes(fit, robust = TRUE, proportion = 0.05)
keep("all_robust", topTable(hardy, coef = 2, number = Inf, sort.by = "none"), hardy, 2)

data(bladderdata)
cancer <- factor(as.character(pData(bladderEset)$cancer), levels = c("Normal", "Biopsy", "Cancer"))
bladder <- exprs(bladderEset)[seq(1, 22283, by = 11), ]
groups <- eBayes(lmFit(bladder, model.matrix(~cancer)))
keep("bladder_F", topTable(groups, coef = 2:3, number = Inf), groups, 2)
set.seed(1)
gaps <- bladder[, 1:24]
gaps[sample(length(gaps), length(gaps) / 40)] <- NA
holed <- eBayes(lmFit(gaps, cbind(1, cancer[1:24] == "Normal")))
keep("bladder_gaps", topTable(holed, coef = 2, number = Inf), holed, 2)

# counts like pasilla's: negative binomial, seven samples in two groups
set.seed(7)
genes <- 2500
treatment <- factor(c("untreated", "untreated", "untreated", "untreated", "treated", "treated", "treated"), levels = c("untreated", "treated"))
level <- exp(rnorm(genes, 5, 1.8))
effect <- ifelse(runif(genes) < 0.15, rnorm(genes, 0, 1.2), 0)
depth <- c(1.1, 0.8, 1.6, 0.7, 1, 0.9, 1.3)
mu <- outer(level, depth) * 2^outer(effect, as.numeric(treatment == "treated"))
counts <- matrix(rnbinom(length(mu), mu = mu, size = 1 / (0.03 + 1 / pmax(level, 1))), genes, dimnames = list(sprintf("FBgn%04d", 1:genes), NULL))
design <- model.matrix(~treatment)
dge <- DGEList(counts, group = treatment)
dge <- calcNormFactors(dge[filterByExpr(dge, design), , keep.lib.sizes = FALSE])
voomed <- eBayes(lmFit(voom(dge, design), design))
keep("voom", topTable(voomed, coef = 2, number = Inf), voomed, 2)
voom_treated <- treat(lmFit(voom(dge, design), design), lfc = log2(1.2))
keep("voom_treat", topTreat(voom_treated, coef = 2, number = Inf), voom_treated, 2)

dge <- estimateDisp(dge, design)
ql <- topTags(glmQLFTest(glmQLFit(dge, design)), n = Inf)$table
names(ql) <- c("logFC", "AveExpr", "F", "P.Value", "adj.P.Val")
store("edger_ql", ql)
lr <- topTags(glmLRT(glmFit(dge, design)), n = Inf)$table
names(lr) <- c("logFC", "AveExpr", "LR", "P.Value", "adj.P.Val")
store("edger_lr", lr)
exact <- topTags(exactTest(dge), n = Inf, adjust.method = "holm")$table
names(exact) <- c("logFC", "AveExpr", "P.Value", "adj.P.Val")
store("edger_exact_holm", exact)

dds <- suppressMessages(DESeq(DESeqDataSetFromMatrix(counts, data.frame(treatment), ~treatment), quiet = TRUE))
res <- as.data.frame(results(dds))
names(res) <- c("baseMean", "logFC", "SE", "t", "P.Value", "adj.P.Val")
store("deseq2", res, padj = sum(!is.na(res$adj.P.Val)))

versions <- list(R = as.character(getRversion()))
for (name in c("limma", "edgeR", "DESeq2", "ALL", "bladderbatch", "multtest")) versions[[name]] <- as.character(packageVersion(name))
show <- function(x) if (is.null(x)) "null" else if (is.list(x))
  paste0("{", paste(sprintf("\"%s\": %s", names(x), vapply(x, show, "")), collapse = ", "), "}") else if (is.character(x))
  sprintf("\"%s\"", x) else if (length(x) == 1) (if (is.finite(x)) sprintf("%.17g", x) else sprintf("\"%s\"", x)) else
  paste0("[", paste(vapply(as.list(x), show, ""), collapse = ", "), "]")
entries <- c(sprintf("\"versions\": %s", show(versions)), vapply(names(truths), function(name) sprintf("\"%s\": %s", name, show(truths[[name]])), ""))
writeLines(paste0("{\n", paste(entries, collapse = ",\n"), "\n}"), file.path(out, "truths.json"))
