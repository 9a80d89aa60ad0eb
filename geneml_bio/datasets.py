"""Data to try things on: :func:`golub` is shipped, :func:`leukemia` and :func:`bladder` come from Bioconductor, and
:func:`simulate` draws studies whose truth is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

    from .bridge.r_pieces import Experiment

__all__ = ["bladder", "golub", "leukemia", "simulate"]

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


_ALL = {
    "bcr_abl": ("mol.biol", ["NEG", "BCR/ABL"], "B-lineage ALL, BCR/ABL against NEG"),
    "lineage": ("lineage", ["B", "T"], "ALL of B against T lineage"),
    "subtypes": ("mol.biol", ["NEG", "ALL1/AF4", "BCR/ABL", "E2A/PBX1"], "B-lineage ALL, four molecular subtypes"),
}


def leukemia(subset: str = "bcr_abl") -> AnnData:
    """Acute lymphoblastic leukaemia: 79 to 128 samples x 12,625 probes (Chiaretti et al. 2004).

    From Bioconductor's package ``ALL`` (RMA, log2), read live through R.

    Parameters
    ----------
    subset
        ``"bcr_abl"``: the 79 B-lineage samples with the BCR/ABL fusion (37) or without a known rearrangement (``NEG``, 42).
        ``"lineage"``: all 128 samples, B (95) or T (33) cells. ``"subtypes"``: the 94 B-lineage samples of four
        molecular subtypes, of 5 to 42 samples.

    Returns
    -------
    AnnData
        ``.obs["mol.biol"]`` (with ``"lineage"`` the target is ``.obs["lineage"]``): categories, the reference first; the other
        columns as in R.

    Raises
    ------
    InputError
        For another subset.
    RNotAvailableError
        If R, rpy2 or the package ``ALL`` is missing; the message names the fix.
    """
    from .core.errors import InputError, near

    if subset not in _ALL:
        raise InputError(f"Unknown subset {subset!r}.{near(str(subset), _ALL)} There are {', '.join(map(repr, _ALL))}.")
    target, classes, title = _ALL[subset]
    parts, version = _from_bioconductor("ALL", "ALL")
    obs = parts.samples.copy()
    obs["lineage"] = obs["BT"].astype(str).str[0]
    chosen = obs[target].astype(str).isin(classes).to_numpy()
    if target == "mol.biol":
        chosen = chosen & (obs["lineage"] == "B").to_numpy()
        obs = obs.drop(columns="lineage")
    from .bridge.matrices import storable_columns

    kept = storable_columns(obs[chosen])
    kept[target] = pd.Categorical(kept[target].astype(str), classes)
    about = {
        "name": "leukemia" if subset == "bcr_abl" else f"leukemia, {subset}",
        "title": f"{title}, HG-U95Av2 arrays",
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


def simulate(
    n_samples: int = 100,
    n_genes: int = 2000,
    *,
    n_informative: int = 20,
    effect: float = 1.0,
    effect_spread: float = 0.25,
    task: str = "classification",
    n_classes: int = 2,
    class_shares: Sequence[float] | None = None,
    n_donors: int | None = None,
    donor_sd: float = 0.7,
    within_donor: str = "constant",
    n_batches: int | None = None,
    batch_effect: float = 0.5,
    confounding: float = 0.0,
    correlation: float = 0.3,
    block_size: int = 20,
    counts: bool = False,
    n_test: int = 0,
    test_batches: str = "same",
    seed: int = 0,
) -> AnnData:
    """A study whose truth is known: which genes differ and by how much, donors, batches, and further samples to test on.

    Expression is normal on the log2 scale. Effects, donors and batches are in units of a gene's standard deviation within a class
    (``.var["sd"]``), so that ``effect=1`` is a Cohen's d of 1.

    Parameters
    ----------
    n_samples, n_genes
        Size of the study.
    n_informative
        How many genes differ between the classes, or follow the numeric target.
    effect, effect_spread
        Mean size of the effects, and their standard deviation as a share of it. Of two classes half go up and half down; of
        more, each informative gene marks one class. Regression: the shift by one standard deviation of the target.
    task, n_classes, class_shares
        ``"classification"`` (two classes: ``control`` and ``case``; more: ``A``, ``B``, ...), with equal shares unless given; or
        ``"regression"`` (a standard normal target).
    n_donors, donor_sd, within_donor
        Samples are of so many donors, who shift each gene by a normal amount of this standard deviation. ``"constant"``: a
        donor's samples share the target; ``"mixed"``: they do not.
    n_batches, batch_effect, confounding
        Batches shift each gene; ``confounding`` is Cramer's V between batch and class, from 0 to 1 (of a numeric target: between
        batch and as many equal parts of it). Donors of one class are processed whole in one batch.
    correlation, block_size
        Genes are correlated within blocks (of this many), which pay no regard to who is informative.
    counts
        Whether ``.layers["counts"]`` is drawn too (Poisson, about 5 million a sample).
    n_test, test_batches
        So many further samples of the same population, of new donors: in the ``"same"`` batches or, with ``"none"``, without
        any batch's shift (what confounded models are worth elsewhere). The study itself does not depend on it.
    seed
        Fixes everything.

    Returns
    -------
    AnnData
        ``.obs``: ``target``, ``set`` (``train``, ``test``), ``donor`` and ``batch`` where there are any. ``.var``: ``informative``,
        ``effect`` (log2 units; of more than two classes the largest), ``mean``, ``sd``, ``block``. ``.varm["effect"]``: the
        log2 shift of each class from the first. ``.uns["truth"]``: the settings; ``separation`` (Mahalanobis distance from the
        first class); and for two classes ``best_roc_auc`` and ``best_balanced_accuracy``, for regression ``best_r2``:
        what a model that knew the truth would reach on a new donor's sample, batches aside.

    Raises
    ------
    InputError
        For a study that cannot be drawn.
    """
    from .core.simulation import Plan, check_plan, simulate_arrays

    settings = {
        **{"n_samples": n_samples, "n_genes": n_genes, "n_informative": n_informative, "n_test": n_test, "seed": seed},
        **{"effect": effect, "effect_spread": effect_spread, "task": task, "n_classes": n_classes},
        **{"n_donors": n_donors, "donor_sd": donor_sd, "within_donor": within_donor, "n_batches": n_batches},
        **{"batch_effect": batch_effect, "confounding": confounding, "test_batches": test_batches},
        **{"correlation": correlation, "block_size": block_size},
    }
    shares = check_plan(class_shares, **settings)
    plan = Plan(shares, n_batches or 0, confounding, within_donor == "mixed")
    truth = {name: settings[name] for name in ("n_genes", "n_informative", "effect", "effect_spread", "batch_effect")}
    truth |= {"correlation": correlation, "block_size": block_size, "donor_sd": donor_sd if n_donors else 0.0}
    drawn = simulate_arrays(
        n_samples, n_test, plan, n_donors=n_donors or 0, test_batches=test_batches, seed=seed, **truth
    )
    return _simulated(drawn, plan, settings, counts)


def _simulated(drawn: Any, plan: Any, settings: dict[str, Any], counts: bool) -> AnnData:
    from .core.simulation import best_possible, counts_of

    population, *parts = drawn
    shares = plan.shares
    names = ["control", "case"] if len(shares) == 2 else [_letters(i) for i in range(len(shares))]
    frames = []
    for part, prefix in zip(parts, "SU", strict=True):
        if part is None:
            continue
        obs = pd.DataFrame(index=pd.Index([f"{prefix}{i + 1}" for i in range(len(part.target))]))
        obs["target"] = np.array(names, dtype=object)[part.target] if shares else part.target
        obs["set"] = "train" if prefix == "S" else "test"
        if part.donor.max() >= 0:
            obs["donor"] = [f"{'D' if prefix == 'S' else 'T'}{d + 1}" for d in part.donor]
        if plan.n_batches:
            obs["batch"] = [str(b + 1) if b >= 0 else "none" for b in part.batch]
        frames.append(obs)
    obs = pd.concat(frames)
    if shares:
        obs["target"] = pd.Categorical(obs["target"], names)
    for column in set(obs) - {"target"}:
        obs[column] = pd.Categorical(obs[column], list(dict.fromkeys(obs[column])))
    shift = population.effects * population.sd[:, None]
    genes = pd.Index([f"gene{i + 1}" for i in range(len(shift))])
    largest = shift[np.arange(len(shift)), np.abs(shift).argmax(axis=1)]
    var = pd.DataFrame({"informative": (shift != 0).any(axis=1), "effect": largest}, index=genes)
    var = var.assign(mean=population.mean, sd=population.sd, block=population.block)
    columns = names[1:] if shares else ["target"]
    truth = {name: value for name, value in settings.items() if value is not None}
    truth["separation"] = dict(zip(columns, population.separation().tolist(), strict=True))
    truth |= {f"best_{name}": value for name, value in best_possible(population, plan).items()}
    about = {"name": "simulated", "title": f"Simulated study, seed {settings['seed']}", "processing": "normal, log2"}
    X = np.vstack([part.X for part in parts if part is not None])
    more: dict[str, Any] = {"varm": {"effect": pd.DataFrame(shift, index=genes, columns=columns)}}
    if counts:
        more["layers"] = {"counts": counts_of(X, np.random.default_rng([settings["seed"], 1]))}
    return _anndata(X, obs, var, about, truth=truth, **more)


def _letters(i: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    return (_letters(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)


def _from_bioconductor(package: str, data: str, name: str | None = None) -> tuple[Experiment, str]:
    """The pieces of an ExpressionSet, and the version of its package."""
    from .bridge import r
    from .bridge.r_experiments import experiment_of

    return experiment_of(r.load_dataset(package, data, name)), r.package_version(package)


def _anndata(
    X: np.ndarray,
    obs: pd.DataFrame,
    var: pd.DataFrame,
    about: dict[str, Any],
    truth: dict[str, Any] | None = None,
    **more: Any,
) -> AnnData:
    from anndata import AnnData

    uns = {"dataset": about} | ({} if truth is None else {"truth": truth})
    return AnnData(np.ascontiguousarray(X), obs=obs, var=var, uns=uns, **more)
