"""The pictures of figures.md, on Golub's leukaemias (shipped with the package): python docs/figures.py"""

import warnings
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

import geneml_bio as gb
from geneml_bio.pl._all import Keys, draw

mpl.use("Agg")
warnings.simplefilter("ignore")
here = Path(__file__).with_name("_static") / "figures"
here.mkdir(exist_ok=True)
adata = gb.datasets.golub()
rng = np.random.default_rng(0)
# a batch that the study does not have, so that there is a design to look at
adata.obs["site"] = pd.Categorical(np.where(rng.random(adata.n_obs) < 0.5, "Boston", "Memphis"))
how = {"models": ["logistic", "random_forest", "xgboost"], "n_repeats": 3, "n_permutations": 50, "tune": False}
adata = gb.run(adata, "class", batch="site", progress=False, **how)
gb.tl.gene_groups(adata)
genes = adata.var_names[np.argsort(-adata.var["classify_shap"].to_numpy())]

sets = {f"set {i}": [*rng.choice(adata.var_names, 25), *genes[4 * i : 4 * i + 4 - min(i, 4)]] for i in range(10)}
gb.tl.gene_sets(adata, sets)
gb.tl.learning_curve(adata, sizes=(0.4, 0.6, 0.8, 1.0), progress=False)
# of Golub's 38 samples knockoffs call none
simulated = gb.datasets.simulate(200, 300, n_informative=20, effect=1.4, seed=1)
gb.tl.knockoffs(simulated, "target")
names = ("volcano", "ma", "evidence", "agreement", "shap", "shap_bar", "shap_models", "shap_dependence", "shap_waterfall",
         "shap_heatmap", "heatmap", "compare", "null", "roc", "pr", "confusion", "calibration", "learning_curve", "stability",
         "gene_groups", "gene_sets", "gene_null", "design", "knockoffs")  # fmt: skip
for name in names:
    drawn = draw(simulated if name == "knockoffs" else adata, name, Keys())
    if drawn.figure is None:
        raise SystemExit(f"{name}: {drawn.reason}")
    drawn.figure.savefig(here / f"{name}.png", dpi=80)
