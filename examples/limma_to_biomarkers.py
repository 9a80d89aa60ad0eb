"""From limma's results to a biomarker table.

A collaborator has run limma and sends the topTable as a CSV. You have the expression data. Which of the genes can a
model use to tell the classes apart in patients it has not seen, how stable are they, and what would chance have given?

Run it: python examples/limma_to_biomarkers.py [FOLDER]
"""

import sys
from pathlib import Path

import geneml_bio as gb


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    adata = gb.datasets.golub()  # 38 bone-marrow samples, ALL and AML

    # what the collaborator did in R: write.csv(topTable(fit, coef = "AMLvsALL", number = Inf), "toptable.csv")
    sent = gb.tl.limma(adata.copy(), "~ 0 + class", contrast="classAML - classALL", engine="native")
    sent.frame.to_csv(folder / "toptable.csv")

    # 1. read the table and put it beside the expression data
    de = gb.read.toptable(folder / "toptable.csv", contrast="AML - ALL")
    gb.tl.add_de(adata, de)

    # 2. can a model predict the class of samples it has not seen? and of permuted labels?
    result = gb.tl.classify(adata, "class", n_repeats=3, n_permutations=19)
    scores = gb.get.metrics(adata).query("metric == 'balanced_accuracy'")
    print(scores[["model", "value", "low", "high", "null_mean", "p_value"]].round(3).to_string(index=False))
    print(gb.get.params(adata)["verdict"])

    # 3. from which genes? SHAP values of held-out samples, and limma's evidence beside them
    gb.tl.explain(adata, result)
    table = gb.tl.biomarkers(adata)
    print(table.head(10)[["class", "logFC", "adj.P.Val", "shap", "selection_frequency"]].round(4).to_string())

    # 4. files for others
    table.to_csv(folder / "biomarkers.csv")
    adata.write_h5ad(folder / "results.h5ad")
    print(gb.report(adata, folder / "report.html", title="AML against ALL"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/limma_to_biomarkers"))
