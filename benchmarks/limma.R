# limma in R's own process: "table" (lmFit, eBayes, topTable) or "fit" (lmFit, contrasts.fit, eBayes) on samples x genes x columns
suppressMessages(library(limma))
memory <- function(what) as.numeric(gsub("[^0-9]", "", grep(what, readLines("/proc/self/status"), value = TRUE)[1])) / 1024
args <- commandArgs(trailingOnly = TRUE)
what <- args[1]; n <- as.integer(args[2]); p <- as.integer(args[3]); k <- as.integer(args[4]); repeats <- as.integer(args[5])
set.seed(1)
x <- matrix(rnorm(n * p), p, n) + 8
D <- cbind(1, rep(0:1, length.out = n)); if (k > 2) D <- cbind(D, matrix(rnorm(n * (k - 2)), n))
colnames(D) <- paste0("c", seq_len(k)); C <- matrix(as.numeric(seq_len(k) == 2), k, 1)
invisible(gc())
before <- memory("VmRSS")
work <- switch(what,
  table = function() topTable(eBayes(lmFit(x, D)), coef = 2, number = Inf),
  fit = function() eBayes(contrasts.fit(lmFit(x, D), C)))
runs <- replicate(repeats + (repeats > 1), system.time(work(), gcFirst = TRUE)[["elapsed"]])
if (repeats > 1) runs <- runs[-1]
cat(sprintf('{"runs": [%s], "before": %f, "peak": %f}\n', paste(runs, collapse = ", "), before, memory("VmHWM")))
