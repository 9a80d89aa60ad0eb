# Writes limma_options*.csv.gz: what limma says with every option that only R has, as a user of R would ask for it.
# Run in this folder: Rscript make_limma_options.R [folder]   (default: ../data)
suppressMessages({ library(limma); library(edgeR); library(bladderbatch) })

given <- commandArgs(trailingOnly = TRUE)
out <- if (length(given)) given[[1]] else "../data"
exact <- function(x) { x[] <- lapply(x, function(v) if (is.double(v)) sprintf("%.17g", v) else v); x }
store <- function(name, table) {
  file <- gzfile(file.path(out, name), "wb", compression = 9)
  write.csv(exact(as.data.frame(table)), file, row.names = TRUE)
  close(file)
}

# --- data: made-up counts without zeros in 6 donors, and some bladder arrays in made-up blocks -----------------------------
set.seed(20)
group <- factor(rep(c("a", "b", "c"), 6))
donor <- rep(1:6, each = 3)
shift <- matrix(rnorm(200 * 6, sd = 0.3), 200)
mu <- outer(2^runif(200, 5, 11), runif(18, 0.5, 2)) * 2^shift[, donor]
mu[1:20, group == "b"] <- mu[1:20, group == "b"] * 3
counts <- matrix(rnbinom(200 * 18, mu = mu, size = 8) + 1, 200, dimnames = list(paste0("g", 1:200), paste0("s", 1:18)))
data(bladderdata)
logs <- Biobase::exprs(bladderEset)[seq(1, 22283, by = 150), seq(1, 54, by = 3)]
gaps <- logs
gaps[(row(gaps) * 13 + col(gaps) * 7) %% 23 == 0] <- NA
store("limma_options_counts.csv.gz", counts)
store("limma_options_logs.csv.gz", logs)

design <- model.matrix(~ 0 + group)
both <- cbind("groupb - groupa" = c(-1, 1, 0), "(groupb + groupc)/2 - groupa" = c(-1, 0.5, 0.5))

# --- the recipes of limma's User's Guide ------------------------------------------------------------------------------------
by_voom <- function(counts, case, block) {
  y <- calcNormFactors(DGEList(counts), method = case$normalize)
  weigh <- if (case$quality) voomWithQualityWeights else voom
  rho <- NULL
  if (is.null(block)) {
    v <- weigh(y, design)
    fit <- lmFit(v, design)
  } else if (is.na(case$correlation)) {
    v <- weigh(y, design)
    first <- duplicateCorrelation(v, design, block = block)
    v <- weigh(y, design, block = block, correlation = first$consensus.correlation)
    rho <- duplicateCorrelation(v, design, block = block)$consensus.correlation
    fit <- lmFit(v, design, block = block, correlation = rho)
  } else {
    rho <- case$correlation
    v <- weigh(y, design, block = block, correlation = rho)
    fit <- lmFit(v, design, block = block, correlation = rho)
  }
  list(fit = fit, rho = rho, weights = v$targets$sample.weights, factors = y$samples$norm.factors)
}
by_logs <- function(x, case, block) {
  aw <- if (case$quality) arrayWeights(x, design) else NULL
  if (is.null(block)) return(list(fit = lmFit(x, design, weights = aw), weights = aw))
  rho <- if (is.na(case$correlation)) duplicateCorrelation(x, design, block = block, weights = aw)$consensus.correlation else case$correlation
  list(fit = lmFit(x, design, block = block, correlation = rho, weights = aw), rho = rho, weights = aw)
}

cases <- read.csv("limma_options.csv")
tables <- list(); facts <- data.frame(case = "versions", name = c("R", "limma", "edgeR", "statmod"), value = c(
  paste(R.version$major, R.version$minor, sep = "."), as.character(packageVersion("limma")),
  as.character(packageVersion("edgeR")), as.character(packageVersion("statmod"))))
note <- function(case, name, value) if (length(value))
  facts <<- rbind(facts, data.frame(case = case, name = name, value = sprintf("%.17g", value)))
keep <- seq(1, 200, by = 4)
for (i in seq_len(nrow(cases))) {
  case <- cases[i, ]
  block <- if (case$block) donor
  made <- if (case$voom) by_voom(counts, case, block) else by_logs(list(logs = logs, gaps = gaps)[[case$data]], case, block)
  fit <- contrasts.fit(made$fit, both[, seq_len(case$contrasts), drop = FALSE])
  table <- if (!is.na(case$lfc)) topTreat(treat(fit, lfc = case$lfc, trend = case$trend, robust = case$robust), number = Inf)
           else topTable(eBayes(fit, trend = case$trend, robust = case$robust), number = Inf)
  all <- intersect(rownames(made$fit), rownames(table))
  table <- table[all[seq(1, length(all), by = 4)], ]
  if (case$contrasts > 1) table <- table[, c("AveExpr", "F", "P.Value", "adj.P.Val")]
  for (name in names(table)) tables[[length(tables) + 1]] <- data.frame(case = case$case, column = name, gene = rownames(table), value = table[[name]])
  note(case$case, "correlation", made$rho)
  note(case$case, "sample_weight", made$weights)
  note(case$case, "norm_factor", made$factors)
}

# another author's code for the same: edgeR's voomLmFit, where no count is zero
fit <- suppressMessages(voomLmFit(calcNormFactors(DGEList(counts)), design, block = donor))
table <- topTable(eBayes(contrasts.fit(fit, both[, 1, drop = FALSE])), number = Inf)[rownames(counts)[keep], ]
for (name in names(table)) tables[[length(tables) + 1]] <- data.frame(case = "voomLmFit", column = name, gene = rownames(table), value = table[[name]])

store("limma_options.csv.gz", do.call(rbind, tables))
store("limma_options_facts.csv.gz", facts)
