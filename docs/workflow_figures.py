"""The figures of classify.md and network.md: python docs/workflow_figures.py"""

from pathlib import Path

import geneml_bio as gb

here = Path(__file__).with_name("_static")
adata = gb.datasets.golub()
gb.tl.classify(adata, "class", models="random_forest", test_size=0.2)
gb.pl.heatmap(adata).figure.savefig(here / "classify-heatmap.png", dpi=110)
gb.tl.classify(adata, "class", models="mlp", test_size=0.2, key_added="network")
gb.pl.history(adata, key="network").figure.savefig(here / "network-history.png", dpi=120)
