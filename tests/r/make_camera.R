# Writes tests/data/camera.json: what limma's cameraPR says of scores, some of them mostly zeros, for sets of several sizes.
# Run in this folder: Rscript make_camera.R
suppressMessages(library(limma))
set.seed(8)
scores <- list(normal = rnorm(400), sparse = ifelse(runif(400) < 0.1, runif(400), 0), few = c(3, 1, 4, 1, 5, 9, 2, 6))
sets <- list(normal = list(1:5, 10:60, seq(1, 400, 7), 1:399), sparse = list(1:30, 100:350, c(2, 400)), few = list(1:2, c(1, 3, 5, 6)))
cases <- list()
for (name in names(scores)) for (r in list(0, 0.01, 0.2)) {
  told <- cameraPR(scores[[name]], sets[[name]], inter.gene.cor = r, sort = FALSE)
  cases[[length(cases) + 1]] <- list(
    scores = name, correlation = r, two_sided = told$PValue, up = told$Direction == "Up")
}
told <- cameraPR(scores$normal, sets$normal, inter.gene.cor = c(0.3, 0.02, 0, 0.1), sort = FALSE)
cases[[length(cases) + 1]] <- list(
  scores = "normal", correlation = c(0.3, 0.02, 0, 0.1), two_sided = told$PValue, up = told$Direction == "Up")
versions <- list(R = as.character(getRversion()), limma = as.character(packageVersion("limma")))
# positions from 0, as Python counts
writeLines(jsonlite::toJSON(list(
  versions = versions, scores = scores, sets = lapply(sets, function(s) lapply(s, function(i) as.integer(i - 1))), cases = cases
), digits = NA, auto_unbox = FALSE), "../data/camera.json")
