# R side of bridge/r_limma.py: functions only, evaluated beside those of helpers.R.

# x: genes x samples. The fit, and what it was made with.
fit <- function(x, design, coefficients, weights, contrasts, features = NULL, samples = NULL, voom = FALSE,
                normalize = "TMM", quality = FALSE, block = NULL, correlation = NULL, trend = FALSE, robust = FALSE,
                lfc = NULL) {
  if (!is.null(features)) dimnames(x) <- list(features, samples)
  dimnames(design) <- list(samples, coefficients)
  dimnames(weights) <- list(coefficients, contrasts)
  made <- if (voom) voomed(x, design, normalize, quality, block, correlation)
          else logged(x, design, quality, block, correlation)
  fitted <- limma::contrasts.fit(made$fit, weights)
  made$fit <- if (is.null(lfc)) limma::eBayes(fitted, trend = trend, robust = robust)
              else limma::treat(fitted, lfc = lfc, trend = trend, robust = robust)
  made
}

# Log expression: lmFit, with weights of the arrays and the correlation within blocks where they are asked for.
logged <- function(x, design, quality, block, correlation) {
  aw <- if (quality) limma::arrayWeights(x, design)
  if (is.null(block)) return(list(fit = limma::lmFit(x, design, weights = aw), about = list(sample_weight = aw)))
  if (is.null(correlation)) correlation <- within_blocks(x, design, block, aw)
  list(fit = limma::lmFit(x, design, block = block, correlation = correlation, weights = aw),
       about = list(sample_weight = aw, correlation = correlation))
}

# Counts. The correlation within blocks and voom's weights depend on each other: both are estimated twice.
voomed <- function(counts, design, normalize, quality, block, correlation) {
  low <- sum(!edgeR::filterByExpr(counts, design = design))
  counts <- edgeR::calcNormFactors(edgeR::DGEList(counts = counts), method = normalize)
  weigh <- if (quality) limma::voomWithQualityWeights else limma::voom
  if (is.null(block)) {
    y <- weigh(counts, design)
    fitted <- limma::lmFit(y, design)
  } else {
    rho <- if (is.null(correlation)) within_blocks(weigh(counts, design), design, block) else correlation
    y <- weigh(counts, design, block = block, correlation = rho)
    if (is.null(correlation)) correlation <- within_blocks(y, design, block)
    fitted <- limma::lmFit(y, design, block = block, correlation = correlation)
  }
  list(fit = fitted, about = list(
    lib_size = counts$samples$lib.size, norm_factor = counts$samples$norm.factors,
    sample_weight = if (quality) y$targets$sample.weights, correlation = correlation, low = low))
}

within_blocks <- function(y, design, block, weights = NULL) {
  rho <- limma::duplicateCorrelation(y, design, block = block, weights = weights)$consensus.correlation
  if (!is.finite(rho)) stop("the correlation within blocks cannot be estimated from these samples; give correlation=, or leave block= out")
  rho
}

fit_of <- function(made) made$fit

about_of <- function(made) made$about

describe <- function(fitted) {
  list(coefficients = text(colnames(fitted$coefficients)), n = ncol(fitted$coefficients), rows = nrow(fitted$coefficients),
       moderated = !is.null(fitted$p.value) || !is.null(fitted$lods), lfc = fitted$treat.lfc,
       named = !is.null(rownames(fitted$coefficients)), design = text(colnames(fitted$design)),
       df_prior = fitted$df.prior, s2_prior = fitted$s2.prior, proportion = fitted$proportion,
       var_prior = fitted$var.prior, method = fitted$method)
}

table_of <- function(fitted, coef) {
  if (is.null(fitted$treat.lfc)) frame(limma::topTable(fitted, coef = coef, number = Inf))
  else frame(limma::topTreat(fitted, coef = coef, number = Inf))
}
