"""Differential expression as regression: what predicts the fold change of a gene, and what only repeats its arithmetic?

Golub's leukaemias, AML against ALL by limma. Every second ALL sample is kept out of the contrast: what genes are like in normal
times has to be measured on samples whose noise is not in the fold changes. On the command line:
geneml-bio regress-genes top_table.csv --target logFC --features features.csv --gene-sets words.gmt

Run it: python examples/regress_genes.py [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

import geneml_bio as gb

WORDS = (
    "KINASE",
    "RECEPTOR",
    "RIBOSOMAL",
    "HISTONE",
    "MITOCHONDRIAL",
    "INTERFERON",
    "PROTEASOME",
    "T-CELL",
    "MYELOID",
    "ANTIGEN",
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    golub = gb.datasets.golub()

    # 1. reference samples that take no part in the contrast, and limma on the others
    lymphoid = np.flatnonzero(golub.obs["class"] == "ALL")
    reference = np.zeros(golub.n_obs, dtype=bool)
    reference[lymphoid[::2]] = True
    study = golub[~reference].copy()
    table = gb.tl.limma(study, "~ 0 + class", contrast=("class", "AML", "ALL"), engine="native")
    table.frame.to_csv(folder / "top_table.csv")

    # 2. predictors: level, spread and skew of each gene in the reference; sets of genes by words of their descriptions
    features = gb.pp.gene_features(golub, reference=reference)
    features.to_csv(folder / "features.csv", index_label="gene")
    described = golub.var["description"].str.upper()
    sets = {word.lower(): list(golub.var_names[described.str.contains(word, regex=False)]) for word in WORDS}
    lines = ["\t".join([name, "by description", *genes]) for name, genes in sets.items()]
    (folder / "words.gmt").write_text("\n".join(lines) + "\n")

    # 3. eleven models, of independent predictors and of the table's own columns, side by side. AveExpr is left out: it is the
    #    average of both groups, and less the level of the reference a share of the fold change
    result = gb.tl.regress_genes(
        folder / "top_table.csv", features=folder / "features.csv", gene_sets=sets, exclude="AveExpr", n_splits=3
    )
    print(result)

    # 4. the comparison, predictions, figures; the best model for other genes
    result.table.to_csv(folder / "comparison.csv", index=False)
    result.predictions().to_csv(folder / "predictions.csv", index_label="gene")
    gb.pl.save_gene_figures(result, folder / "figures")
    fitted = result.fit()
    print(fitted)
    print(fitted.predict(table.frame.head(), features=features).round(2).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/regress_genes"))
