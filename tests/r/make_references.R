# Writes tests/data/limma_*.csv.gz: what limma says, for the native engine to agree with where there is no R.
# Run in this folder: Rscript make_references.R
suppressMessages({ library(limma); library(multtest) })

out <- "../data"
summary <- data.frame(case = character(), name = character(), value = character())
note <- function(case, ...) {
  values <- list(...)
  for (name in names(values)) summary[nrow(summary) + 1, ] <<- list(case, name, sprintf("%.17g", values[[name]]))
}
exact <- function(x) { x[] <- lapply(x, function(v) if (is.numeric(v)) sprintf("%.17g", v) else v); x }

# keep: every how manieth row of the table is stored; the sums are over all rows
store <- function(case, fit, table, keep = 1) {
  note(case, df_prior = fit$df.prior, s2_prior = median(fit$s2.prior), rows = nrow(table))
  for (name in names(table)) note(case, sum = sum(table[[name]], na.rm = TRUE))
  summary$name[summary$case == case & summary$name == "sum"] <<- paste0("sum:", names(table))
  rows <- seq(1, nrow(table), by = keep)
  file <- gzfile(file.path(out, paste0("limma_", case, ".csv.gz")), "wb", compression = 9)
  write.csv(exact(cbind(rank = rows, table[rows, ])), file)
  close(file)
}

# --- Golub: every tenth gene of the table -----------------------------------------------------------------------------
data(golub)
rownames(golub) <- golub.gnames[, 3]
class <- factor(ifelse(golub.cl == 0, "ALL", "AML"))
fit <- lmFit(golub, model.matrix(~class))
store("golub", eBayes(fit), topTable(eBayes(fit), coef = 2, number = Inf), 10)
store("golub_trend", eBayes(fit, trend = TRUE), topTable(eBayes(fit, trend = TRUE), coef = 2, number = Inf), 10)
store("golub_treat", treat(fit, lfc = 0.2), topTreat(treat(fit, lfc = 0.2), coef = 2, number = Inf), 10)

# --- made-up data by a recipe of whole numbers, the same in Python (tests/core/recipe.py) --------------------------------
genes <- 400; samples <- 14
i <- matrix(0:(genes - 1), genes, samples); j <- matrix(0:(samples - 1), genes, samples, byrow = TRUE)
u <- (i * 7919 + j * 104729 + 12345) %% 10007
for (round in 1:3) u <- (u * u * 31 + u * 17 + i * 101 + j * 1009) %% 10007
noise <- u / 10007 - 0.5
x <- 6 + ((i * 37) %% 101) / 20 + noise * (1 + ((i * 53) %% 29) / 7) + (i %% 10 == 0) * (j %% 3 == 1) * 2
rownames(x) <- sprintf("g%03d", 0:(genes - 1))
group <- factor(c("a", "b", "c")[(0:(samples - 1)) %% 3 + 1])
age <- ((0:(samples - 1)) * 29) %% 13 + 0.5
design <- model.matrix(~ 0 + group + age)
contrasts <- cbind("b - a" = c(-1, 1, 0, 0), "c - a" = c(-1, 0, 1, 0), "(b + c)/2 - a" = c(-1, 0.5, 0.5, 0))
both <- function(case, x) {
  fit <- contrasts.fit(lmFit(x, design), contrasts)
  plain <- eBayes(fit)
  table <- topTable(plain, coef = 1:3, number = Inf)
  names(table)[1:3] <- colnames(contrasts)
  store(paste0(case, "_F"), plain, table)
  store(paste0(case, "_t"), plain, topTable(plain, coef = 3, number = Inf))
}
both("sim", x)
trended <- eBayes(contrasts.fit(lmFit(x, design), contrasts), trend = TRUE)
store("sim_trend", trended, topTable(trended, coef = 3, number = Inf))
gaps <- x
gaps[(i * 13 + j * 7) %% 11 == 0 & i %% 3 == 0] <- NA
gaps[1, ] <- NA                          # nothing seen
gaps[4, group == "c"] <- NA              # one group not seen
gaps[7, -(1:3)] <- NA                    # as many values as groups
both("gaps", gaps)
flat <- x
flat[1:20, ] <- 0
flat[21:25, ] <- 7.25
both("flat", flat)
equal <- x
equal[] <- 6 + noise                     # variances that vary less than chance: infinite prior df
both("equal", equal)

note("versions", limma = 0)
summary$value[summary$case == "versions"] <- as.character(packageVersion("limma"))
summary[nrow(summary) + 1, ] <- list("versions", "R", paste(R.version$major, R.version$minor, sep = "."))
summary[nrow(summary) + 1, ] <- list("versions", "multtest", as.character(packageVersion("multtest")))
write.csv(summary, file.path(out, "limma_summary.csv"), row.names = FALSE)
