"""The figure of the README, from the results of ``make demo``: python docs/overview.py results/all/results.h5ad"""

import sys
from pathlib import Path

import anndata
import matplotlib.pyplot as plt

import geneml_bio as gb

adata = anndata.read_h5ad(sys.argv[1] if len(sys.argv) > 1 else "results/all/results.h5ad")
figure, axes = plt.subplots(2, 2, figsize=(12, 9), layout="constrained")
gb.pl.volcano(adata, ax=axes[0, 0])
gb.pl.compare(adata, ax=axes[0, 1])
gb.pl.shap(adata, ax=axes[1, 0], n_genes=12)
gb.pl.evidence(adata, ax=axes[1, 1])
titles = ("limma", "models, beside permuted labels", "SHAP on held-out samples", "both kinds of evidence")
for ax, letter, title in zip(axes.flat, "abcd", titles, strict=True):
    pad = 36 if ax in axes[0] else 6  # the legends of the upper two stand above them
    ax.set_title(f"{letter}  {title}", loc="left", fontweight="bold", pad=pad)
figure.savefig(Path(__file__).with_name("_static") / "overview.png", dpi=110)
