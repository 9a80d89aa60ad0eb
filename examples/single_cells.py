"""Single cells of several donors: cells are many, donors are few, and it is donors that count.

Cases and controls, 24 donors, 40 cells of each. Can a model tell a case from a control in a donor it has not seen? The
cells are simulated, so that the answer is known: 20 further donors, on which every claim is tried out.

Run it: python examples/single_cells.py [FOLDER]
"""

import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
from scipy import sparse

import geneml_bio as gb

QUICK = {"models": ["logistic"], "screen": 50, "n_repeats": 1, "progress": False}


def cells_of_donors() -> ad.AnnData:
    """Counts of 1,760 cells, about 500 molecules in each; ``.obs``: target, donor, set (the further donors are ``test``)."""
    deep = gb.datasets.simulate(
        960, 400, n_informative=20, effect=1.5, donor_sd=1.0, n_donors=24, n_test=800, counts=True, seed=1
    )
    rng = np.random.default_rng(0)
    total = deep.layers["counts"].sum(axis=1, keepdims=True)
    few = rng.binomial(np.asarray(deep.layers["counts"]).astype(int), 500 / total)  # a cell yields few of its molecules
    cells = ad.AnnData(sparse.csr_matrix(few.astype(float)), obs=deep.obs, var=deep.var[["informative"]])
    cells.layers["counts"] = cells.X.copy()
    return cells


def balanced_accuracy(adata: ad.AnnData, key: str = "classify") -> str:
    row = gb.get.metrics(adata, key).query("metric == 'balanced_accuracy' and model == 'logistic'").iloc[0]
    return f"{row['value']:.2f} [{row['low']:.2f}, {row['high']:.2f}]"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    everything = cells_of_donors()
    cells = everything[everything.obs["set"] == "train"].copy()
    new = everything[everything.obs["set"] == "test"].copy()

    # 1. the mistake: cells as if they were independent. The audit says so
    gb.pp.logcpm(cells, layer="counts", sparse_result=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        gb.tl.classify(cells, "target", layer="logcpm", key_added="by_cell", **QUICK)
    print(next(str(w.message) for w in told if "look like single cells" in str(w.message)), "\n")
    print(f"cells, random folds:          {balanced_accuracy(cells, 'by_cell')}, the same donors on both sides")

    # 2. the same cells, with all cells of a donor on one side
    gb.tl.classify(cells, "target", groups="donor", layer="logcpm", **QUICK)
    print(f"cells, folds of donors:       {balanced_accuracy(cells)}")

    # 3. donors as samples: the sums of their cells, limma, and models
    donors = gb.pp.pseudobulk(cells, by="donor", layer="counts")
    gb.pp.logcpm(donors)
    gb.tl.limma(donors, "~ 0 + target", contrast=("target", "case", "control"), layer="logcpm", engine="native")
    result = gb.tl.classify(donors, "target", layer="logcpm", **QUICK | {"n_repeats": 5})
    print(f"donors (pseudobulk):          {balanced_accuracy(donors)}")

    # 4. the donors that no one has seen, in the units of the study
    unseen = gb.pp.pseudobulk(new, by="donor", layer="counts")
    gb.pp.logcpm(unseen, mean_lib_size=donors.uns["logcpm"]["mean_lib_size"])
    model = gb.tl.fit(donors, result, model="logistic")
    predicted = model.predict(unseen, layer="logcpm")["predicted"].astype(str)
    hit = predicted.to_numpy() == unseen.obs["target"].astype(str).to_numpy()
    shares = [hit[unseen.obs["target"] == name].mean() for name in ("case", "control")]
    print(f"new donors, the truth:        {np.mean(shares):.2f}")

    # 5. which genes, and how well do both kinds of evidence agree
    gb.tl.explain(donors, result, progress=False)
    table = gb.tl.biomarkers(donors)
    known = donors.var["informative"].astype(bool)
    print(f"of the first 10 genes {int(known[table.index[:10]].sum())} differ in truth")
    table.to_csv(folder / "biomarkers.csv")
    donors.write_h5ad(folder / "donors.h5ad")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/single_cells"))
