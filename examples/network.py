"""A small neural network on a table: 64 and 32 ReLU units, sigmoid output, Adam, cross-entropy, batches of 10, 50 epochs.

A fifth of what it learns from is set aside in training (the validation loss), and a fifth of all samples is not seen in training
at all (the test set). On the command line: geneml-bio classify gene_expression.csv --target target --model mlp --test-size 0.2

Run it: python examples/network.py [FOLDER]
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

    adata = gb.read.expression(folder / "gene_expression.csv", target="target")
    result = gb.tl.classify(adata, "target", models="mlp", test_size=0.2, n_repeats=1)

    # test accuracy, and what cross-validation says
    scores = gb.get.metrics(adata, test=True)
    print(scores[scores["metric"].isin(["accuracy", "roc_auc"])].round(3).to_string(index=False))
    print(gb.summary(adata))

    # the training history: repeat and fold are -1 for the fit that predicted the test set
    history = gb.get.history(adata)
    print(history.query("repeat == -1").tail(3).round(3).to_string(index=False))
    history.to_csv(folder / "history.csv", index=False)
    gb.pl.history(adata).figure.savefig(folder / "history.png", dpi=150)
    gb.pl.history(adata, metric="accuracy").figure.savefig(folder / "accuracy.png", dpi=150)

    # a network beside what is simpler
    gb.tl.classify(adata, "target", models=["mlp", "logistic", "knn"], test_size=0.2, n_repeats=1, key_added="several")
    print(gb.get.comparisons(adata, "several").query("metric == 'balanced_accuracy'").round(3).to_string(index=False))

    # the network for use on other samples: fitted on all of these
    model = gb.tl.fit(adata, result)
    print(model.predict(adata).head(3).round(3).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/network"))
