# R side of bridge/r.py: functions only (limma's are in limma.R), evaluated into a private environment. Nothing of a
# user's input is ever pasted into code; every package is reached by its namespace, so that nothing is attached.

# Call a function of these files; conditions are returned, not signalled; R's random numbers and search path stay.
guard <- function(.f, ...) {
  warned <- said <- character()
  seed <- get0(".Random.seed", envir = globalenv(), inherits = FALSE)
  attached <- search()
  on.exit({
    for (name in setdiff(search(), attached)) detach(name, character.only = TRUE)
    if (!is.null(seed)) assign(".Random.seed", seed, envir = globalenv())
    else if (exists(".Random.seed", envir = globalenv(), inherits = FALSE)) rm(".Random.seed", envir = globalenv())
  })
  result <- withCallingHandlers(
    tryCatch(list(value = .f(...)), error = function(e) list(error = conditionMessage(e)),
             interrupt = function(e) list(interrupted = TRUE)),
    warning = function(w) { warned <<- c(warned, conditionMessage(w)); invokeRestart("muffleWarning") },
    message = function(m) { said <<- c(said, conditionMessage(m)); invokeRestart("muffleMessage") })
  list(value = result$value, error = text(result$error), warnings = text(unique(warned)), messages = text(unique(said)),
       interrupted = result$interrupted)
}

versions <- function(packages) {
  found <- lapply(packages, function(p) if (nzchar(system.file(package = p))) as.character(utils::packageVersion(p)))
  list(R = paste(R.version$major, R.version$minor, sep = "."), home = R.home(), packages = stats::setNames(found, packages))
}

text <- function(x) {
  if (is.null(x)) return(NULL)
  enc2utf8(as.character(x))
}

# --- data frames: each R type in a form that Python cannot misread ------------------------------------------------------

column <- function(x) {
  if (is.factor(x)) {
    codes <- as.integer(x)
    return(list(kind = "factor", values = as.double(codes), levels = text(levels(x)), ordered = is.ordered(x)))
  }
  if (inherits(x, "integer64")) return(list(kind = "integer64", values = unclass(x)))
  if (inherits(x, "POSIXt")) return(list(kind = "text", values = format(x, "%Y-%m-%dT%H:%M:%S", tz = "UTC")))
  if (inherits(x, c("Date", "difftime"))) return(list(kind = "text", values = text(format(x))))
  if (inherits(x, "AsIs")) class(x) <- setdiff(class(x), "AsIs")
  if (isS4(x)) x <- as.vector(x)
  if (is.list(x)) {
    joined <- vapply(x, function(e) if (length(e)) paste(as.character(unlist(e)), collapse = ";") else NA_character_, "")
    return(list(kind = "text", values = text(joined)))
  }
  kind <- switch(typeof(x), logical = "logical", integer = "integer", double = "double", "text")
  list(kind = kind, values = if (kind == "text") text(x) else as.double(x))
}

frame <- function(df) {
  if (isS4(df)) df <- as.data.frame(df, optional = TRUE)
  if (!is.data.frame(df)) stop("not a data.frame: ", paste(class(df), collapse = ", "))
  columns <- list()
  labels <- character()
  for (i in seq_along(df)) {  # by position: names may repeat, and a matrix is several columns
    name <- names(df)[[i]]
    x <- df[[i]]
    if (length(dim(x)) == 2) {
      inner <- if (is.null(colnames(x))) seq_len(ncol(x)) else colnames(x)
      columns <- c(columns, lapply(seq_len(ncol(x)), function(j) column(x[, j, drop = TRUE])))
      labels <- c(labels, paste(rep(name, ncol(x)), inner, sep = "."))
    } else {
      columns <- c(columns, list(column(x)))
      labels <- c(labels, name)
    }
  }
  list(columns = columns, names = text(labels), rows = text(row.names(df)),
       automatic = is.integer(attr(df, "row.names")))
}

# --- expression data ------------------------------------------------------------------------------------------------------

dataset <- function(package, data, name) {
  into <- new.env(parent = emptyenv())
  loadNamespace("Biobase")
  utils::data(list = data, package = package, envir = into)
  if (!exists(name, envir = into, inherits = FALSE)) stop("package ", package, " has no data set ", name)
  into[[name]]
}
