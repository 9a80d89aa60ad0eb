# Writes tests/data/rds/*_<tag>.rds and expected_<tag>.csv.gz: R objects as people save them, and what R itself says of them.
# Run in this folder: Rscript make_objects.R r42 (the tag names the version of R)
suppressMessages({
  library(limma); library(edgeR); library(DESeq2); library(SummarizedExperiment); library(SingleCellExperiment)
  library(Biobase); library(Matrix)
})
tag <- commandArgs(TRUE)[[1]]
out <- "../data/rds"
expected <- list()
keep <- function(object, name, ...) base::saveRDS(object, file.path(out, paste0(name, "_", tag, ".rds")), compress = "xz", ...)
exact <- function(v) if (is.numeric(v)) ifelse(is.na(v), ifelse(is.nan(v), "NaN", NA), sprintf("%.17g", v)) else as.character(v)
# what R says, in long form: case, row, column, value
say <- function(case, table) {
  table <- as.data.frame(table, optional = TRUE)
  for (name in names(table)) expected[[length(expected) + 1L]] <<- data.frame(
    case = case, row = row.names(table), column = name, value = exact(table[[name]]), stringsAsFactors = FALSE)
}
say_matrix <- function(case, m) say(case, structure(as.data.frame(as.matrix(m)), names = colnames(m)))

# --- limma ----------------------------------------------------------------------------------------------------------------
genes <- 60; n <- 9
i <- matrix(0:(genes - 1), genes, n); j <- matrix(0:(n - 1), genes, n, byrow = TRUE)
u <- (i * 7919 + j * 104729 + 12345) %% 10007
for (round in 1:3) u <- (u * u * 31 + u * 17 + i * 101 + j * 1009) %% 10007
y <- 6 + (u / 10007 - 0.5) * (1 + ((i * 53) %% 29) / 7) + (i %% 10 == 0) * (j %% 3 == 1) * 2
rownames(y) <- c("NA", "01005", "1-Mar", paste0("g", 4:genes)); colnames(y) <- paste0("s", 1:n)
group <- factor(c("a", "b", "c")[(0:(n - 1)) %% 3 + 1])
design <- model.matrix(~ 0 + group); colnames(design) <- levels(group)
contrasts <- makeContrasts(b - a, c - a, b - c, levels = design)
about <- data.frame(ID = paste0("p", 1:genes), `Gene Symbol` = c(NA, paste0("S", 2:genes)), len = c(NA, 2:genes),
                    check.names = FALSE, stringsAsFactors = FALSE)
both <- function(case, fit, coefs) {
  keep(fit, case)
  for (coef in coefs) suppressMessages({
    table <- if (is.null(fit$treat.lfc)) topTable(fit, coef = coef, number = Inf)
             else topTreat(fit, coef = coef, number = Inf)
    say(paste0(case, ":", paste(coef, collapse = "+")), table)
  })
}
fit0 <- contrasts.fit(lmFit(y, design), contrasts)
keep(fit0, "fit_raw")
both("fit", eBayes(fit0), list(1, 2, 3, 1:2, 2:3, 1:3))
both("fit_treat", treat(fit0, lfc = 0.1), list(1, 3))
both("fit_trend_robust", eBayes(fit0, trend = TRUE, robust = TRUE), list(2, 1:2))
gaps <- y; gaps[1, 1:2] <- NA; gaps[2, group == "c"] <- NA; gaps[3, ] <- NA; gaps[4, -1] <- NA
described <- suppressWarnings(contrasts.fit(lmFit(gaps, design), contrasts)); described$genes <- about
both("fit_gaps", eBayes(described), list(1, 2, 1:3, 2:3))
plain <- y; dimnames(plain) <- NULL
both("fit_plain", eBayes(lmFit(plain, model.matrix(~group))), list(2, 2:3))
twice <- eBayes(fit0); rownames(twice$coefficients)[5] <- "g4"; twice$genes <- about
both("fit_twice", twice, list(1, 1:3))
ids <- eBayes(fit0); ids$genes <- about$ID
both("fit_ids", ids, list(1, 1:3))
singular <- model.matrix(~group); singular <- cbind(singular, again = singular[, 2])
both("fit_singular", suppressWarnings(eBayes(lmFit(y, singular))), list(2))
keep(decideTests(eBayes(fit0)), "tests")
keep(topTable(eBayes(fit0), coef = 1, number = Inf), "toptable")

# --- edgeR ----------------------------------------------------------------------------------------------------------------
counts <- matrix(as.integer(20 + u %% 400 + 300 * (i %% 10 == 0) * (j %% 3 == 1)), genes, n, dimnames = dimnames(y))
dge <- DGEList(counts, group = group, genes = data.frame(symbol = about[[2]], len = about$len))
dge <- estimateDisp(calcNormFactors(dge), design = model.matrix(~group))
exact_test <- exactTest(dge, pair = c("a", "b"))
glm <- glmFit(dge, model.matrix(~group))
lrt <- glmLRT(glm, coef = 2:3)
qlf <- glmQLFTest(glmQLFit(dge, model.matrix(~group)), coef = 2)
keep(glm, "glm"); keep(exact_test, "exact"); keep(lrt, "lrt"); keep(qlf, "qlf")
keep(glmTreat(glm, coef = 2, lfc = 0.2), "glmtreat")
keep(topTags(exact_test, n = Inf, adjust.method = "holm"), "toptags")
say("exact", topTags(exact_test, n = Inf)$table)
say("lrt", topTags(lrt, n = Inf)$table)
say("qlf", topTags(qlf, n = Inf)$table)
say("toptags", topTags(exact_test, n = Inf, adjust.method = "holm")$table)
keep(dge, "dgelist")
say_matrix("dgelist:X", dge$counts); say("dgelist:obs", dge$samples); say("dgelist:var", dge$genes)

# --- DESeq2 ---------------------------------------------------------------------------------------------------------------
many <- counts; many[2, ] <- 0L; many[3, 1] <- 100000L
dds <- DESeqDataSetFromMatrix(many, data.frame(group, row.names = colnames(many)), ~group)
dds <- suppressMessages(DESeq(dds, fitType = "mean", quiet = TRUE))
keep(dds, "dds"); say_matrix("dds:X", counts(dds)); say("dds:obs", colData(dds))
keep(results(dds), "results"); say("results", results(dds))
lrt2 <- suppressMessages(DESeq(dds, test = "LRT", reduced = ~1, fitType = "mean", quiet = TRUE))
keep(results(lrt2), "results_lrt"); say("results_lrt", results(lrt2))

# --- tables of every type -------------------------------------------------------------------------------------------------
types <- data.frame(
  whole = c(1L, NA, -3L, 4L), full = 1:4, flag = c(TRUE, NA, FALSE, TRUE), sure = c(TRUE, FALSE, TRUE, TRUE),
  level = factor(c("v", NA, "u", "v"), levels = c("v", "w", "u")), number = c(1.5, NA, Inf, NaN),
  text = c("NA", NA, "\u00e9", ""), day = as.Date(c("2020-02-29", NA, "1999-12-31", "1969-12-31")),
  row.names = c("01005", "NA", "1-Mar", "caf\u00e9"), stringsAsFactors = FALSE)
types$rank <- factor(c("lo", "hi", NA, "hi"), levels = c("lo", "hi"), ordered = TRUE)
types$listed <- list(1:2, NULL, c("x", NA), 2.5)
types$block <- matrix(1:8, 4, dimnames = list(NULL, c("p", "q")))
types$time <- as.POSIXct(c("2020-01-01 10:00:00", NA, "2020-01-02 00:00:01", "1950-06-01 12:30:00"), tz = "UTC")
types$big <- structure(c(4.94065645841247e-324, -0.0, 9.88131291682493e-324, 4.94065645841247e-323), class = "integer64")
types$kept <- I(c("a", "b", "c", "d")); types$z <- c(1+2i, NA, 0i, 1-0.5i)
types$western <- iconv(c("caf\u00e9", "\u20ac", "na\u00efve", NA), "UTF-8", "latin1")
types$wait <- as.difftime(c(1, NA, 2.5, 3), units = "mins")
types$byte <- as.raw(c(0, 1, 254, 255))
keep(types, "types")
keep(types, "types_v2", version = 2); keep(types, "types_ascii", ascii = TRUE)
base::saveRDS(types, file.path(out, paste0("types_plain_", tag, ".rds")), compress = FALSE)
base::saveRDS(types, file.path(out, paste0("types_gzip_", tag, ".rds")), compress = "gzip")
base::saveRDS(types, file.path(out, paste0("types_bzip2_", tag, ".rds")), compress = "bzip2")
con <- file(file.path(out, paste0("types_native_", tag, ".rds")), "wb"); serialize(types, con, xdr = FALSE); close(con)
fits <- eBayes(fit0); expression <- y; number <- 3; state <- .Random.seed <- NULL
save(fits, expression, number, file = file.path(out, paste0("work_", tag, ".RData")))
save(fits, types, file = file.path(out, paste0("two_", tag, ".RData")), ascii = TRUE)
dframe <- DataFrame(
  logFC = Rle(c(1.5, -2, -2, NA)), P.Value = c(0.1, 0.01, 0.5, NA), kind = Rle(factor(c("x", "x", "y", NA))),
  inner = I(DataFrame(a = 1:4, b = letters[1:4])), row.names = c("u", "v", "w", "x"))
dframe$go <- IRanges::CharacterList("a", c("b", "c"), character(), "d")
dframe$where <- IRanges::IRanges(1:4, width = 3)
keep(dframe, "dframe")
keep(list(first = types["full"], second = topTable(eBayes(fit0), coef = 1, number = Inf)), "list")
compact <- data.frame(logFC = as.numeric(1:6), P.Value = (1:6) / 10); compact$id <- as.character(1:6 + 0L); compact$n <- 1:6
keep(compact, "compact")
if (requireNamespace("tibble", quietly = TRUE)) keep(tibble::as_tibble(compact), "tibble")
table <- structure(list(gene = c("A", "B"), logFC = c(1, 2), P.Value = c(.1, .2)), row.names = c(NA, -2L),
                   class = c("data.table", "data.frame"))
keep(table, "datatable")

# --- expression -----------------------------------------------------------------------------------------------------------
small <- counts[1:12, 1:5]; storage.mode(small) <- "integer"
sheet <- data.frame(batch = factor(c("two", "one", NA, "two", "one"), levels = c("two", "one")), age = c(1L, NA, 3L, 4L, 5L),
                    smoker = c(TRUE, NA, FALSE, TRUE, FALSE), note = c("x", NA, "NA", "y", "z"), row.names = colnames(small),
                    stringsAsFactors = FALSE)
sheet$grade <- factor(c("low", "high", "low", "mid", NA), levels = c("low", "mid", "high"), ordered = TRUE)
sheet$day <- as.Date("2021-03-04") + 0:4
rows <- data.frame(symbol = c(NA, LETTERS[2:12]), row.names = rownames(small), stringsAsFactors = FALSE)
logs <- log2(small + 1); logs[2, 3] <- NA
tell <- function(case, x, obs = NULL, var = NULL) {
  say_matrix(paste0(case, ":X"), x)
  if (!is.null(obs)) say(paste0(case, ":obs"), obs)
  if (!is.null(var)) say(paste0(case, ":var"), var)
}
eset <- ExpressionSet(logs, AnnotatedDataFrame(sheet), AnnotatedDataFrame(rows), annotation = "hgu95av2")
keep(eset, "eset"); tell("eset", logs, pData(eset), fData(eset))
two <- ExpressionSet(assayData = assayDataNew("environment", exprs = logs, se.exprs = logs / 10), AnnotatedDataFrame(sheet))
keep(two, "eset_environment"); tell("eset_environment", logs); tell("eset_environment:se.exprs", logs / 10)
se <- SummarizedExperiment(list(counts = small, logcounts = logs), colData = DataFrame(sheet), rowData = DataFrame(rows),
                           metadata = list(lab = "x"))
keep(se, "se"); tell("se", small, sheet, rows); tell("se:logcounts", logs)
bare <- SummarizedExperiment(list(unname(small)))
keep(bare, "se_bare"); tell("se_bare", structure(small, dimnames = list(1:12, 1:5)))
old <- SummarizedExperiment(list(counts = small), colData = DataFrame(sheet), rowData = DataFrame(rows))
attr(old, "assays") <- new("ShallowSimpleListAssays", data = S4Vectors::SimpleList(counts = small))  # as before 2019
keep(old, "se_old"); tell("se_old", small, sheet, rows)
ranges <- GenomicRanges::GRanges(rep(c("chr1", "chr2"), 6), IRanges::IRanges(1:12 * 10, width = 5), strand = rep(c("+", "-", "*"), 4),
                                 score = 1:12)
names(ranges) <- rownames(small)
rse <- SummarizedExperiment(list(counts = small), rowRanges = ranges, colData = DataFrame(sheet))
keep(rse, "rse"); tell("rse", small, sheet, as.data.frame(ranges))
sparse <- as(Matrix(small * (small %% 3 == 0), sparse = TRUE), "CsparseMatrix")
sce <- SingleCellExperiment(list(counts = sparse, logcounts = log1p(sparse)), colData = DataFrame(sheet), rowData = DataFrame(rows),
  reducedDims = list(PCA = matrix(1:10 / 7, 5, dimnames = list(colnames(small), c("PC1", "PC2"))),
                     UMAP = matrix(10:1, 5)),
  altExps = list(spikes = SummarizedExperiment(list(counts = small[1:2, ]))), metadata = list(made = "here"))
rowPairs(sce) <- list(near = S4Vectors::SelfHits(1:2, 2:3, nnode = 12L))
sizeFactors(sce) <- c(1, 2, 0.5, 1, 1)
keep(sce, "sce"); tell("sce", sparse, sheet, rows); tell("sce:logcounts", log1p(as.matrix(sparse)))
say_matrix("sce:PCA", reducedDim(sce, "PCA")); say_matrix("sce:UMAP", structure(reducedDim(sce, "UMAP"), dimnames = list(colnames(small), 1:2)))
elist <- new("EList", list(E = logs, weights = 1 / (1 + small), targets = sheet, genes = rows,
                           design = cbind(one = 1, two = c(0, 0, 1, 1, 0))))
keep(elist, "elist"); tell("elist", logs, sheet, rows); tell("elist:weights", 1 / (1 + small))
raw <- new("EListRaw", list(E = 2^logs, Eb = logs / 100, targets = sheet)); keep(raw, "elistraw"); tell("elistraw", 2^logs)
keep(small, "matrix"); tell("matrix", small)
huge <- small; huge[1, 1] <- NA; keep(huge, "matrix_na"); tell("matrix_na", huge)
keep(sparse, "dgC"); tell("dgC", sparse)
keep(as(sparse, "RsparseMatrix"), "dgR"); tell("dgR", sparse)
keep(as(sparse, "TsparseMatrix"), "dgT"); tell("dgT", sparse)
keep(sparse > 0, "lgC"); tell("lgC", (sparse > 0) + 0)
keep(crossprod(sparse), "dsC"); tell("dsC", crossprod(sparse))
keep(as.data.frame(small), "frame"); tell("frame", small)

# --- what is refused ------------------------------------------------------------------------------------------------------
keep(lm(mpg ~ wt, mtcars), "lm")
keep(list(compiler::cmpfun(function(x) { for (k in x) print(k + 1); x }), quote(a + b), globalenv(), new.env(), NULL), "code")
e <- new.env(); delayedAssign("x", stop("evaluated"), assign.env = e); makeActiveBinding("y", function() stop("evaluated"), e)
keep(e, "promise")

versions <- c(R = paste(R.version$major, R.version$minor, sep = "."),
  sapply(c("limma", "edgeR", "DESeq2", "SummarizedExperiment", "SingleCellExperiment", "Biobase", "Matrix"),
         function(p) as.character(packageVersion(p))))
say("versions", data.frame(version = versions))
file <- gzfile(file.path(out, paste0("expected_", tag, ".csv.gz")), "wb", compression = 9)
write.csv(do.call(rbind, expected), file, row.names = FALSE, fileEncoding = "UTF-8")
close(file)
