# R side of bridge/r_objects.py: R objects in plain pieces. Functions only, evaluated beside those of helpers.R.

# An object as the bytes of a file, in the machine's own order: the reader of files reads it.
serialised <- function(x) serialize(x, NULL, xdr = FALSE, version = 3L)

# What R makes of an .rds or .RData file, read into a place of its own.
file_serialised <- function(path) {
  into <- new.env(parent = emptyenv())
  workspace <- !is.null(tryCatch(load(path, envir = into), error = function(e) NULL))
  x <- if (workspace) as.list(into, all.names = TRUE) else readRDS(path)
  list(workspace = workspace, data = serialised(x))
}
