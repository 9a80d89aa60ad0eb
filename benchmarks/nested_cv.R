# The protocol of nestedcv, written out: in each outer training part limma's 200 genes, then cv.glmnet (ridge) or ranger
suppressMessages({library(limma); library(glmnet); library(ranger); library(ALL); library(Biobase)})
memory <- function(what) as.numeric(gsub("[^0-9]", "", grep(what, readLines("/proc/self/status"), value = TRUE)[1])) / 1024
args <- commandArgs(trailingOnly = TRUE); model <- args[1]; n_repeats <- as.integer(args[2]); repeats <- as.integer(args[3])
data(ALL); p <- pData(ALL); keep <- grepl("^B", p$BT) & p$mol.biol %in% c("BCR/ABL", "NEG")
x <- exprs(ALL)[, keep]; y <- as.integer(p$mol.biol[keep] == "BCR/ABL")
folds <- function(y, k) { out <- integer(length(y)); for (c in unique(y)) { i <- which(y == c)
  out[i[sample.int(length(i))]] <- rep_len(seq_len(k), length(i)) }; out }
once <- function() {
  right <- c()
  for (r in seq_len(n_repeats)) {
    set.seed(r); fold <- folds(y, 5)
    for (f in 1:5) {
      train <- fold != f
      fit <- eBayes(lmFit(x[, train], cbind(1, y[train])))
      top <- order(-abs(fit$t[, 2]))[1:200]
      z <- t(x[top, ])
      if (model == "logistic") {
        cv <- cv.glmnet(z[train, ], y[train], family = "binomial", alpha = 0, foldid = folds(y[train], 3))
        prob <- predict(cv, z[!train, ], s = "lambda.min", type = "response")[, 1]
      } else {
        colnames(z) <- paste0("g", seq_len(ncol(z)))
        forest <- ranger(x = z[train, ], y = factor(y[train]), num.trees = 500, probability = TRUE, num.threads = 2)
        prob <- predict(forest, z[!train, ], num.threads = 2)$predictions[, "1"]
      }
      right <- c(right, (prob > 0.5) == y[!train])
    }
  }
  mean(right)
}
invisible(gc()); before <- memory("VmRSS")
runs <- c(); for (k in seq_len(repeats + 1)) runs <- c(runs, system.time(accuracy <- once())[["elapsed"]])
cat(sprintf('{"runs": [%s], "before": %f, "peak": %f, "more": {"accuracy": %f}}\n', paste(runs[-1], collapse = ", "), before, memory("VmHWM"), accuracy))
