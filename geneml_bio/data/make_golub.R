# Writes golub.csv.gz, the copy of multtest::golub that geneml_bio ships. Run in this folder: Rscript make_golub.R
suppressMessages(library(multtest))
data(golub)
names <- sprintf("%s_%02d", ifelse(golub.cl == 0, "ALL", "AML"), ave(golub.cl, golub.cl, FUN = seq_along))
stopifnot(identical(dim(golub), c(3051L, 38L)), !anyDuplicated(golub.gnames[, 3]), all(golub == round(golub, 5)))
table <- data.frame(accession = golub.gnames[, 3], description = golub.gnames[, 2], index = golub.gnames[, 1],
                    matrix(sprintf("%.5f", golub), nrow(golub), dimnames = list(NULL, names)), check.names = FALSE)
out <- gzfile("golub.csv.gz", "wb", compression = 9)
write.csv(table, out, row.names = FALSE, quote = 1:2, fileEncoding = "UTF-8")
close(out)
again <- read.csv("golub.csv.gz", check.names = FALSE)
stopifnot(all(as.matrix(again[, names]) == golub), identical(again$description, golub.gnames[, 2]))
cat("golub.csv.gz written from multtest", as.character(packageVersion("multtest")), "\n")
