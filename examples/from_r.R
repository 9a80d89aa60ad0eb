# From R: a SummarizedExperiment in; its rowData and a data.frame of biomarkers out. Python does the work, through reticulate.
#
#   Rscript examples/from_r.R [results.rds]
#
# Which Python: RETICULATE_PYTHON, else the one that reticulate finds. It needs geneml-bio; docs/r.md says which versions fit each other.

suppressPackageStartupMessages({
  library(reticulate)
  library(SummarizedExperiment)
})

# ---- R and Python that fit each other -----------------------------------------------------------------------------------

# Stop with the line that mends it where they do not; else Python's geneml_bio.
geneml_bio <- function() {
  make <- paste0("make a Python environment for R:\n  python3.11 -m venv ~/geneml-r && ~/geneml-r/bin/pip install geneml-bio ",
                 "'numpy<2'\nand start R with RETICULATE_PYTHON=~/geneml-r/bin/python")
  if (!py_available(initialize = TRUE)) stop("reticulate finds no Python it can use; ", make, call. = FALSE)
  python <- numeric_version(as.character(py_version()))
  numpy <- tryCatch(as.character(py_to_r(import("numpy", convert = FALSE)$`__version__`)), error = function(e) NA)
  if (is.na(numpy)) stop("this Python (", py_config()$python, ") has no numpy; ", make, call. = FALSE)
  old <- packageVersion("reticulate") < "1.38"  # reads neither numpy 2 nor Python 3.12 rightly, and does not say so
  if (old && (numeric_version(numpy) >= "2" || python >= "3.12"))
    stop("reticulate ", packageVersion("reticulate"), " does not fit Python ", python, " with numpy ", numpy,
         ": install.packages('reticulate'), or ", make, call. = FALSE)
  tryCatch(import("geneml_bio", convert = FALSE), error = function(e)
    stop("this Python (", py_config()$python, ") has no geneml_bio: ", py_config()$python, " -m pip install geneml-bio", call. = FALSE))
}

# ---- back and forth -------------------------------------------------------------------------------------------------------

# Text and numbers go over as plain vectors, one column each: what becomes of a whole data.frame depends on the versions.
as_anndata <- function(se, columns, assay = 1) {
  ad <- import("anndata", convert = FALSE)
  pd <- import("pandas", convert = FALSE)
  texts <- function(x) r_to_py(as.list(as.character(x)))
  obs <- pd$DataFrame(index = texts(colnames(se)))
  for (name in columns) {
    x <- colData(se)[[name]]
    values <- if (is.numeric(x)) r_to_py(as.list(ifelse(is.na(x), NaN, as.double(x)))) else {
      levels <- if (is.factor(x)) levels(droplevels(x)) else sort(unique(as.character(x)))
      codes <- match(as.character(x), levels) - 1L
      pd$Categorical$from_codes(r_to_py(as.list(ifelse(is.na(codes), -1L, codes))), categories = texts(levels))
    }
    py_set_item(obs, name, values)
  }
  ad$AnnData(r_to_py(t(as.matrix(assay(se, assay)))), obs = obs, var = pd$DataFrame(index = texts(rownames(se))))
}

# A frame of Python as a data.frame: NA where it has none, factors where it has categories, whole numbers as integers.
as_data_frame <- function(frame) {
  typed <- import("geneml_bio.core.biomarker_columns", convert = FALSE)$typed(frame)
  names <- py_to_r(typed$columns$to_list())
  columns <- lapply(names, function(name) {
    x <- py_get_item(typed, name)
    missing <- as.logical(unlist(py_to_r(x$isna()$to_list())))
    kind <- py_to_r(x$dtype$name)
    if (kind == "category") {
      levels <- as.character(unlist(py_to_r(x$cat$categories$to_list())))
      codes <- as.integer(unlist(py_to_r(x$cat$codes$astype("int64")$to_list()))) + 1L
      return(factor(levels[ifelse(codes > 0L, codes, NA)], levels = levels))
    }
    text <- kind %in% c("object", "str", "string")
    values <- unlist(py_to_r(x$where(x$notna(), if (text) "" else 0)$astype(if (text) "str" else "float64")$to_list()))
    values[missing] <- NA
    if (kind == "Int64") as.integer(values) else values
  })
  names(columns) <- names
  data.frame(columns, row.names = unlist(py_to_r(typed$index$astype("str")$to_list())), check.names = FALSE)
}

# ---- a SummarizedExperiment -> its biomarkers ------------------------------------------------------------------------------

# `target`: a column of colData; `reference`: its level that comes first. More arguments go to gb.tl.classify.
biomarkers <- function(se, target, reference, assay = 1, ...) {
  gb <- geneml_bio()
  adata <- as_anndata(se, target, assay)
  positive <- setdiff(unique(as.character(colData(se)[[target]])), c(reference, NA))
  stopifnot(length(positive) == 1)
  gb$tl$limma(adata, paste0("~ 0 + ", target), contrast = tuple(target, positive, reference), engine = "native")
  result <- gb$tl$classify(adata, target, reference = reference, progress = FALSE, ...)
  gb$tl$explain(adata, result, progress = FALSE)
  gb$tl$gene_groups(adata)
  table <- as_data_frame(gb$tl$biomarkers(adata))
  new <- table[rownames(se), ]
  names(new) <- paste0("biomarkers_", names(new))
  rowData(se) <- cbind(rowData(se), DataFrame(new, check.names = FALSE))
  metadata(se)$verdict <- py_to_r(gb$get$params(adata)[["verdict"]])
  list(se = se, table = table)
}

# ---- a study --------------------------------------------------------------------------------------------------------------

set.seed(1)
n <- 60
class <- factor(rep(c("healthy", "ill"), n / 2))
x <- matrix(rnorm(300 * n, mean = 8), 300, dimnames = list(paste0("gene", 1:300), paste0("s", 1:n)))
x[1:5, class == "ill"] <- x[1:5, class == "ill"] + 1.5  # the truth
se <- SummarizedExperiment(list(log2 = x), colData = DataFrame(class = class, row.names = colnames(x)))

found <- biomarkers(se, "class", reference = "healthy", models = "logistic", n_repeats = 2L, n_permutations = 0L, n_jobs = 1L)
print(utils::head(found$table[, c("class", "logFC", "adj.P.Val", "shap", "selection_frequency")], 8))
print(table(rowData(found$se)$biomarkers_class, useNA = "ifany"))
cat(metadata(found$se)$verdict, "\n")

out <- commandArgs(TRUE)
if (length(out)) saveRDS(found, out[[1]])
