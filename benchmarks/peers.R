# nestedcv and ClassifyR themselves, where they are installed: Rscript peers.R PACKAGE MODEL REPEATS_OF_FOLDS CORES RUNS.
# CORES 1: one process (a forest: two threads); 2: two forked processes, over folds.
suppressMessages({library(ALL); library(Biobase); library(ranger)})
memory <- function(what) as.numeric(gsub("[^0-9]", "", grep(what, readLines("/proc/self/status"), value = TRUE)[1])) / 1024
args <- commandArgs(trailingOnly = TRUE); package <- args[1]; model <- args[2]
n_repeats <- as.integer(args[3]); cores <- as.integer(args[4]); runs <- as.integer(args[5])
suppressMessages(library(package, character.only = TRUE))
data(ALL); p <- pData(ALL); keep <- grepl("^B", p$BT) & p$mol.biol %in% c("BCR/ABL", "NEG")
x <- t(exprs(ALL)[, keep]); colnames(x) <- paste0("g", seq_len(ncol(x)))
y <- factor(p$mol.biol[keep], levels = c("NEG", "BCR/ABL"))

# ranger as outercv asks for a model: by x and y, predictions by newdata
forest <- function(x, y, ...) structure(list(fit = ranger(x = x, y = y, num.trees = 500, probability = TRUE, ...), threads = list(...)$num.threads), class = "forest")
predict.forest <- function(object, newdata, type = "response", ...) {
  prob <- predict(object$fit, newdata, num.threads = object$threads)$predictions
  if (type == "prob") prob else factor(colnames(prob)[max.col(prob)], levels = colnames(prob))
}
screen <- list(filterFUN = quote(ttest_filter), filter_options = list(nfilter = 200, p_cutoff = NULL), n_outer_folds = 5, cv.cores = cores)
by_nestedcv <- function() {
  call <- if (model == "logistic") c(quote(nestcv.glmnet), quote(y), quote(x), screen, family = "binomial", alphaSet = 0, n_inner_folds = 3, finalCV = NA)
          else c(quote(outercv), quote(y), quote(x), model = "forest", screen, final = FALSE, num.threads = 3 - cores)
  eval(as.call(call))$summary$metrics[["Accuracy"]]
}
by_ClassifyR <- function() {
  how <- ModellingParams(selectParams = SelectParams("limma", nFeatures = 200), predictParams = PredictParams("randomForest"),
    trainParams = TrainParams("randomForest", num.trees = 500, mTryProportion = sqrt(200) / 200, num.threads = 3 - cores))
  workers <- if (cores == 1) SerialParam() else MulticoreParam(cores)
  told <- predictions(runTests(x, y, CrossValParams("k-Fold", folds = 5, parallelParams = workers), how, verbose = 0))
  mean(told$class == y[match(told$sample, rownames(x))])
}
once <- function() mean(sapply(seq_len(n_repeats), function(r) { set.seed(r); if (package == "nestedcv") by_nestedcv() else by_ClassifyR() }))
invisible(gc()); before <- memory("VmRSS")
spent <- c(); for (k in seq_len(runs + 1)) spent <- c(spent, system.time(accuracy <- once())[["elapsed"]])
cat(sprintf('{"runs": [%s], "before": %f, "peak": %f, "more": {"accuracy": %f}}\n', paste(spent[-1], collapse = ", "), before, memory("VmHWM"), accuracy))
