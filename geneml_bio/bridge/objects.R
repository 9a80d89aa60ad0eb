# R side of bridge/r_objects.py: R objects in plain pieces. Functions only, evaluated beside those of helpers.R.

# What waits to be computed, computed: promises among an eSet's matrices, assays that are read from elsewhere.
settled <- function(x) {
  if (typeof(x) == "list" && length(x)) {
    held <- attributes(x)
    x <- lapply(seq_along(x), function(i) {
      value <- .subset2(unclass(x), i)  # a promise is kept as the name it is given is looked up
      if (is.list(value) || isS4(value)) settled(value) else value
    })
    attributes(x) <- held
  }
  if (!isS4(x)) return(x)
  # else R attaches the package when it asks what the class extends
  home <- attr(class(x), "package")
  if (length(home) && !(home %in% c(".GlobalEnv", loadedNamespaces()))) try(loadNamespace(home), silent = TRUE)
  held <- attr(x, "assayData")
  if (is.environment(held)) for (name in ls(held, all.names = TRUE)) force(get(name, envir = held))
  if (!is.null(attr(x, "assays")) && !is.null(attr(x, "colData")) && nzchar(system.file(package = "DelayedArray"))) {
    n <- length(SummarizedExperiment::assays(x, withDimnames = FALSE))
    for (i in seq_len(n)) {
      a <- SummarizedExperiment::assay(x, i, withDimnames = FALSE)
      if (methods::is(a, "DelayedArray")) SummarizedExperiment::assay(x, i, withDimnames = FALSE) <-
        if (DelayedArray::is_sparse(a)) methods::as(a, "dgCMatrix") else as.matrix(a)
    }
  }
  if (inherits(x, "DelayedMatrix")) return(if (DelayedArray::is_sparse(x)) methods::as(x, "dgCMatrix") else as.matrix(x))
  x
}

# An object as the bytes of a file, in the machine's own order: the reader of files reads it.
serialised <- function(x) serialize(settled(x), NULL, xdr = FALSE, version = 3L)

# What R makes of an .rds or .RData file, read into a place of its own.
file_serialised <- function(path, workspace) {
  if (!workspace) return(serialised(readRDS(path)))
  into <- new.env(parent = emptyenv())
  load(path, envir = into)
  serialised(lapply(as.list(into, all.names = TRUE), settled))
}

# --- and back (bridge/r_back.py) ----------------------------------------------------------------------------------------

# A data.frame of parts that come as v1, v2, ... (values) and l1, l2, ... (levels)
data_frame <- function(rows, n, names, kinds, ...) {
  parts <- list(...)
  columns <- lapply(seq_along(names), function(i) {
    v <- parts[[paste0("v", i)]]
    levels <- parts[[paste0("l", i)]]
    if (is.null(levels)) levels <- character()
    switch(kinds[[i]],
      text = levels[v],
      factor = structure(v, levels = levels, class = "factor"),
      ordered = structure(v, levels = levels, class = c("ordered", "factor")),
      logical = as.logical(v),
      time = structure(v, class = c("POSIXct", "POSIXt"), tzone = "UTC"),
      date = structure(v, class = "Date"),
      span = structure(v, units = "secs", class = "difftime"),
      v)
  })
  structure(columns, names = if (length(names)) names else character(), class = "data.frame",
            row.names = if (is.null(rows)) .set_row_names(n) else rows)
}

dense <- function(x, genes = NULL, samples = NULL) {
  if (!is.null(genes) || !is.null(samples)) dimnames(x) <- list(genes, samples)
  x
}

# a CSR matrix of samples x genes is column-compressed with genes as rows
sparse <- function(x, i, p, dims, genes, samples) {
  Matrix::sparseMatrix(i = i, p = p, x = x, dims = dims, dimnames = list(genes, samples), index1 = FALSE)
}

experiment <- function(single, assays, reduced, samples, genes, obs, var, ...) {
  parts <- list(...)
  described <- function(df, names) {
    out <- S4Vectors::DataFrame(df, check.names = FALSE)
    rownames(out) <- names
    out
  }
  values <- stats::setNames(lapply(seq_along(assays), function(i) parts[[paste0("a", i)]]), assays)
  se <- SummarizedExperiment::SummarizedExperiment(values, colData = described(obs, samples), rowData = described(var, genes))
  if (!single) return(se)
  dims <- stats::setNames(lapply(seq_along(reduced), function(i) parts[[paste0("r", i)]]), reduced)
  sce <- SingleCellExperiment::SingleCellExperiment(values, colData = described(obs, samples), rowData = described(var, genes))
  if (length(dims)) SingleCellExperiment::reducedDims(sce) <- S4Vectors::SimpleList(dims)
  sce
}

# what saveRDS writes, before it is packed
saved <- function(x) serialize(x, NULL, version = 3L)
