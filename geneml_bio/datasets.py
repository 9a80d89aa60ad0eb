"""Real data to try things on: :func:`golub` is shipped, :func:`leukemia` and :func:`bladder` come from Bioconductor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

    from .bridge.r_pieces import Experiment

_DATA = Path(__file__).with_name("data")


def golub() -> AnnData:
    """Acute leukaemia, ALL against AML: 38 bone-marrow samples x 3051 genes (Golub et al. 1999).

    The training samples of the study that started molecular classification, as in Bioconductor's
    ``multtest::golub``: base-10 logarithms, each array standardised. Shipped with the package (LGPL, see
    ``.uns["dataset"]``); neither R nor a network is needed.

    Returns
    -------
    AnnData
        ``.obs["class"]``: categories ``ALL`` (27, the reference) and ``AML`` (11); ``.var``: accessions, with
        ``description``.
    """
    from .bridge.tables import EXACT

    text = {"accession": str, "description": str}
    table = pd.read_csv(_DATA / "golub.csv.gz", keep_default_na=False, dtype=text, **EXACT)
    samples = [name for name in table.columns if name.startswith(("ALL_", "AML_"))]
    classes = pd.Categorical([name[:3] for name in samples], ["ALL", "AML"])
    obs = pd.DataFrame({"class": classes}, index=pd.Index(samples))
    var = pd.DataFrame({"description": table["description"].to_numpy()}, index=pd.Index(table["accession"].tolist()))
    about = {
        "name": "golub",
        "title": "Acute leukaemia, ALL against AML, HU6800 arrays",
        "reference": "Golub TR et al. (1999) Science 286:531-537, doi:10.1126/science.286.5439.531",
        "source": "Bioconductor multtest 2.54.0, data set golub",
        "licence": "LGPL",
        "processing": "thresholded, filtered, log10, each array standardised to mean 0 and variance 1",
    }
    return _anndata(table[samples].to_numpy(dtype=np.float64).T, obs, var, about)


def leukemia() -> AnnData:
    """B-lineage acute lymphoblastic leukaemia, BCR/ABL against NEG: 79 samples x 12,625 probes (Chiaretti et al. 2004).

    From Bioconductor's package ``ALL`` (RMA, log2), read live through R: the B-lineage samples with the BCR/ABL fusion
    and those without a known rearrangement.

    Returns
    -------
    AnnData
        ``.obs["mol.biol"]``: categories ``NEG`` (42, the reference) and ``BCR/ABL`` (37); the other columns as in R.

    Raises
    ------
    RNotAvailableError
        If R, rpy2 or the package ``ALL`` is missing; the message names the fix.
    """
    parts, version = _from_bioconductor("ALL", "ALL")
    obs = parts.samples
    chosen = (obs["BT"].astype(str).str.startswith("B") & obs["mol.biol"].isin(["BCR/ABL", "NEG"])).to_numpy()
    from .bridge.matrices import storable_columns

    kept = storable_columns(obs[chosen])
    kept["mol.biol"] = pd.Categorical(kept["mol.biol"].astype(str), ["NEG", "BCR/ABL"])
    about = {
        "name": "leukemia",
        "title": "B-lineage ALL, BCR/ABL against NEG, HG-U95Av2 arrays",
        "reference": "Chiaretti S et al. (2004) Blood 103:2771-2778, doi:10.1182/blood-2003-09-3243",
        "source": f"Bioconductor ALL {version}, data set ALL, through R",
        "licence": "Artistic-2.0",
        "processing": "RMA, log2",
    }
    return _anndata(parts.matrix[chosen], kept, parts.genes, about)


def bladder() -> AnnData:
    """Bladder cancer in five batches: 57 samples x 22,283 probes (Dyrskjot et al. 2004; Leek et al. 2010).

    From Bioconductor's package ``bladderbatch`` (RMA, log2), read live through R. Batch and cancer are entangled (all
    samples of batch 3 are normal): the data set to see what an audit is for.

    Returns
    -------
    AnnData
        ``.obs``: ``cancer`` (``Normal``, ``Biopsy``, ``Cancer``), ``batch`` (``1`` to ``5``), ``outcome``, ``sample``.

    Raises
    ------
    RNotAvailableError
        If R, rpy2 or the package ``bladderbatch`` is missing; the message names the fix.
    """
    parts, version = _from_bioconductor("bladderbatch", "bladderdata", "bladderEset")
    from .bridge.matrices import storable_columns

    obs = storable_columns(parts.samples)
    obs["cancer"] = pd.Categorical(obs["cancer"].astype(str), ["Normal", "Biopsy", "Cancer"])
    obs["batch"] = pd.Categorical(obs["batch"].astype(int).astype(str))
    about = {
        "name": "bladder",
        "title": "Bladder cancer and normal mucosa in five batches, HG-U133A arrays",
        "reference": "Dyrskjot L et al. (2004) Cancer Res 64:4040-4048; Leek JT et al. (2010) Nat Rev Genet 11:733-739",
        "source": f"Bioconductor bladderbatch {version}, data set bladderEset, through R",
        "licence": "Artistic-2.0",
        "processing": "RMA, log2",
    }
    return _anndata(parts.matrix, obs, parts.genes, about)


def _from_bioconductor(package: str, data: str, name: str | None = None) -> tuple[Experiment, str]:
    """The pieces of an ExpressionSet, and the version of its package."""
    from .bridge import r
    from .bridge.r_experiments import experiment_of

    return experiment_of(r.load_dataset(package, data, name)), r.package_version(package)


def _anndata(X: np.ndarray, obs: pd.DataFrame, var: pd.DataFrame, about: dict[str, Any]) -> AnnData:
    from anndata import AnnData

    return AnnData(np.ascontiguousarray(X), obs=obs, var=var, uns={"dataset": about})
