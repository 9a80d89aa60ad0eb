# R side of bridge/annotation.py: functions only, evaluated beside those of helpers.R.

# Symbol and name of each id by an annotation package; `problem` in words where it cannot tell. What the ids are is
# guessed from how many of a sample are known, unless it is given.
annotate <- function(package, ids, keytype = NULL) {
  db <- getExportedValue(package, package)
  if (!methods::is(db, "AnnotationDb")) return(list(problem = "it holds no AnnotationDb."))
  types <- AnnotationDbi::keytypes(db)
  if (!("SYMBOL" %in% types)) return(list(problem = "it knows no symbols."))
  if (!is.null(keytype) && !(keytype %in% types))
    return(list(problem = paste0("keytype must be one of ", paste(types, collapse = ", "), "; got ", keytype, ".")))
  bare <- list(as = ids, without = sub("[.][0-9]+$", "", ids))
  few <- unique(round(seq(1, length(ids), length.out = min(length(ids), 500))))
  tried <- if (is.null(keytype)) intersect(c("ENSEMBL", "ENTREZID", "SYMBOL", "PROBEID", "REFSEQ", "UNIPROT", "ALIAS"), types)
           else keytype
  best <- list(share = 0)
  for (type in tried) {
    known <- AnnotationDbi::keys(db, type)
    for (form in if (type %in% c("ENSEMBL", "REFSEQ")) names(bare) else "as") {
      share <- mean(bare[[form]][few] %in% known)
      if (share > best$share) best <- list(share = share, type = type, form = form)
    }
    if (best$share > 0.9) break
  }
  if (best$share < 0.05) return(list(problem = paste0(
    "hardly any of the ids (", paste(utils::head(ids, 3), collapse = ", "), ", ...) is known there as ", paste(tried, collapse = ", "),
    ". Is it the right species, or the right chip?")))
  of <- bare[[best$form]]
  asked <- unique(of[of %in% AnnotationDbi::keys(db, best$type)])
  mapped <- function(column) {
    if (column == best$type) return(text(ifelse(of %in% asked, of, NA_character_)))
    if (!(column %in% types)) return(text(rep(NA_character_, length(of))))
    one <- suppressMessages(AnnotationDbi::mapIds(db, asked, column, best$type, multiVals = "first"))
    text(unname(one[match(of, names(one))]))
  }
  list(symbol = mapped("SYMBOL"), name = mapped("GENENAME"), keytype = best$type)
}
