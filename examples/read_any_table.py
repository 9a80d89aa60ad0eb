"""Reading tables that other people made.

A collaborator sends differential expression as an Excel sheet with gene symbols beside probes; somebody else sends DESeq2's
results; the data have Ensembl ids. What was read, is it whole, and does it meet the data?

Run it: python examples/read_any_table.py [FOLDER]
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import geneml_bio as gb


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    adata = gb.datasets.golub()[:, :500].copy()
    adata.var["gene_id"] = [f"ENSG{i:011d}.{i % 9 + 1}" for i in range(adata.n_vars)]

    # what they sent: a German Excel's CSV, cut to the genes with p < 0.05; and DESeq2's names with Ensembl ids
    whole = gb.tl.limma(adata.copy(), "~ 0 + class", contrast="classAML - classALL", engine="native")
    cut = whole.frame[whole.frame["P.Value"] < 0.05]
    cut.to_csv(folder / "significant.csv", sep=";", decimal=",", encoding="utf-16")
    theirs = whole.to("deseq2")
    ids = pd.Series(adata.var["gene_id"].str.split(".").str[0].to_numpy(), index=adata.var_names)
    theirs.set_axis(ids[theirs.index], axis=0).to_csv(folder / "deseq2.tsv", sep="\t")

    # 1. what is it, and is it whole?
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        de = gb.read.toptable(folder / "significant.csv")
    print({name: de.source[name] for name in ("dialect", "separator", "decimal", "encoding", "ids")})
    print("warned of:", *de.source["warnings"], sep="\n  ")

    # 2. another program's table, with ids that the data do not have: the message names the mend
    other = gb.read.toptable(folder / "deseq2.tsv")
    print(other.source["columns"])
    try:
        gb.tl.add_de(adata, other)
    except gb.errors.TableError as refusal:
        print(f"\n{refusal}\n")
    gb.tl.add_de(adata, other, on="gene_id", strip_version=True, rank_genes_groups=True)
    assert np.allclose(gb.get.de(adata)["t"], whole.frame.loc[gb.get.de(adata).index, "t"])

    # 3. on from there: scanpy's form is in adata.uns["rank_genes_groups"], the table for others in a file
    print(gb.get.de(adata).head().round(3))
    gb.read.toptable(adata).to("edger").to_csv(folder / "edger.csv")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/read_any_table"))
