"""Classify samples from a table: 80/20 split, standardised, random forest of 100 trees; then cross-validation.

The table is what many such studies start from: samples as rows, genes as columns, and a column `target`. Here it is made of
Golub's leukaemias. On the command line: geneml-bio classify gene_expression.csv --target target --model random_forest --test-size 0.2

Run it: python examples/classify_table.py [FOLDER]
"""

import sys
from pathlib import Path

import geneml_bio as gb


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    golub = gb.datasets.golub()
    table = golub.to_df()
    table["target"] = golub.obs["class"].astype(str)
    table.to_csv(folder / "gene_expression.csv")

    # 1. read the table: numbers are genes, `target` is what to predict
    adata = gb.read.expression(folder / "gene_expression.csv", target="target")

    # 2. a test set of a fifth, predicted once; two times five folds of the others; the same on permuted targets
    gb.tl.classify(adata, "target", models="random_forest", test_size=0.2, n_repeats=2, n_permutations=3)

    # 3. the test set: confusion matrix and classification report; what cross-validation says of the same model
    print(gb.get.confusion(adata, test=True).to_string())
    print(gb.get.per_class(adata).round(2).to_string(index=False))
    print(gb.summary(adata))

    # 4. figures
    for name, axes in (
        ("heatmap", gb.pl.heatmap(adata)),
        ("confusion_test", gb.pl.confusion(adata, test=True)),
        ("compare", gb.pl.compare(adata, metric="accuracy")),
    ):
        axes.figure.savefig(folder / f"{name}.png", dpi=150)
    print(gb.report(adata, folder / "report.html"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/classify_table"))
