"""DE evidence and model evidence in one table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import get
from ..bridge import keys
from ..bridge.anndata import attach, biomarker_writes, check_free
from ..bridge.annotation import annotated
from ..bridge.evidence import elsewhere, other_target
from ..bridge.extract import check_writable
from ..core.biomarkers import Thresholds, biomarker_table
from ..core.detable import DETable
from ..core.effect_interval import with_interval
from ..core.errors import AuditWarning, DataWarning, InputError
from ..core.names import DEKind
from .cautions import found_in
from .join import unique_names

if TYPE_CHECKING:
    from anndata import AnnData

_NO_DE, _NO_MODEL = (
    "DE statistics (gb.tl.limma or gb.tl.add_de)",
    "out-of-fold SHAP values (gb.tl.classify, then gb.tl.explain)",
)


def biomarkers(
    adata: AnnData | DETable,
    *,
    de: str | None = "limma",
    model: str | None = "classify",
    knockoffs: str | None = "knockoffs",
    alpha: float = 0.05,
    lfc: float = 0.0,
    min_frequency: float = 0.5,
    n_used: int = 100,
    max_q: float | str | None = "auto",
    min_share: float = 0.25,
    gene_symbols: str | None = None,
    annotation: pd.DataFrame | str | None = None,
    keytype: str | None = None,
    key_added: str = "biomarkers",
) -> pd.DataFrame:
    """DE evidence and model evidence in one table, a gene a row, the strongest first.

    Parameters
    ----------
    adata
        With results of :func:`limma` or :func:`add_de`, and of :func:`classify` and :func:`explain`. Or a
        :class:`~geneml_bio.DETable` alone: its genes, and what it says of them.
    de, model, knockoffs
        Keys of the evidence; None, or a key under which nothing is stored, leaves it out (a warning says so of the first
        two). What was run of :func:`gene_groups` and of permuted targets under ``model`` is taken too. Knockoffs of another
        target than the model's are left out, with a warning.
    alpha, lfc
        A gene is DE where ``adj.P.Val`` is at most ``alpha`` and ``|logFC|`` at least ``lfc``.
    min_frequency
        A used gene that is chosen in a smaller share of folds is called unstable.
    n_used, max_q
        A gene is used where it is among ``n_used`` with the largest mean absolute SHAP, a count that is filled whatever there is,
        and where its ``empirical_q`` is at most ``max_q``. ``"auto"``: 0.1 where enough permuted targets were run for a gene to
        reach it, else no limit. None: no limit.
    min_share
        A DE gene with less than this share of the mean absolute SHAP of a gene that goes with it is redundant, although used.
    gene_symbols
        ``.var`` column of symbols; default: the first with a usual name (``symbol``, ``gene_symbols``, ``feature_name``, ...).
    annotation, keytype
        Symbols and names from elsewhere: a frame with ids as index (or in a column ``id``) and the columns ``symbol``,
        ``name``; or a package of Bioconductor, asked through R: ``"org.Hs.eg.db"``, ``"hgu95av2.db"``. What the ids are is guessed,
        unless ``keytype`` says so (``"ENSEMBL"``, ``"ENTREZID"``, ``"SYMBOL"``, ``"PROBEID"``).
    key_added
        Name of the results.

    Returns
    -------
    DataFrame
        Frame with those of the columns ``rank class stands_behind symbol name logFC CI.L CI.R AveExpr t F LR P.Value adj.P.Val B
        shap shap_rank rank_low rank_high direction agreement selection_frequency used empirical_p empirical_q knockoff_q n_models n_agree
        group stand_ins`` for which there is evidence (docs/biomarkers.md says what each is), and the settings in
        ``.attrs["settings"]``. In ``adata``: ``.varm[key_added]`` (the table, in the order of the genes), ``.uns[key_added]`` (the
        settings, what evidence is missing, the verdict on the models). With a DETable nothing is stored.

    Raises
    ------
    InputError
        If there is neither DE nor model evidence, a threshold or ``annotation`` cannot be used, or ``max_q`` is given without
        permuted targets.
    RNotAvailableError
        If ``annotation`` names a package, and R or the package is missing.

    Notes
    -----
    What goes with what is taken from :func:`gene_groups` under ``model``, else from the pairs that stand in for each other over the
    folds (:func:`geneml_bio.get.stand_ins`), which know only genes that a screen has chosen.

    Examples
    --------
    >>> gb.tl.biomarkers(adata, annotation="org.Hs.eg.db")  # doctest: +SKIP
    """
    limits = Thresholds(alpha, lfc, min_frequency, n_used, _max_q(adata, model, max_q), min_share)
    if isinstance(adata, DETable):
        return _of_table(adata, limits, gene_symbols, annotation, keytype)
    check_writable(adata)
    key = keys.check_key(key_added)
    check_free(adata, key, "biomarkers")
    unique_names(adata)
    frames, missing = _evidence(adata, de, model)
    of = other_target(adata, knockoffs, model) if knockoffs is not None else ""
    if of:
        message = (
            f"The knockoffs under {knockoffs!r} are of the target {of!r}, not of {adata.uns[model]['params']['target']!r}, and are "
            "left out. Run gb.tl.knockoffs on that target (key_added=, then knockoffs= here)."
        )
        warnings.warn(message, DataWarning, stacklevel=2)
    more, not_run = _more(adata, model, None if of else knockoffs)
    genes = adata.var_names.astype(str)
    names, source = annotated(genes, adata.var, gene_symbols, annotation, **_how(keytype))
    table = biomarker_table(genes, **frames, **more, names=names, thresholds=limits)
    for what in missing:
        warnings.warn(f"The biomarker table has no {what}.", DataWarning, stacklevel=2)
    about = adata.uns.get(model, {}) if frames["shap"] is not None else {}
    if not about.get("better_than_chance", True):
        warnings.warn(str(about["verdict"]), AuditWarning, stacklevel=2)
    found, read = found_in(adata, table, de if frames["de"] is not None else None, model)
    for words in found:
        warnings.warn(words, AuditWarning, stacklevel=2)
    settings = {
        "cautions": " ".join([*found, *read]) or None,  # what the reader said it has warned of
        "verdict": about.get("verdict"),
        **limits.recorded(),
        "de": de,
        "model": model,
        "contrast": adata.uns.get(de, {}).get("contrast") or None if frames["de"] is not None else None,
        "direction": _direction(about),
        "annotation": source,
        "missing_evidence": "; ".join(missing) or None,
        "not_run": "; ".join(not_run if frames["shap"] is not None else []) or None,
    }
    attach(adata, biomarker_writes(adata, table, settings, key))
    table.attrs["settings"] = {name: value for name, value in settings.items() if value is not None}
    return table


def _of_table(
    de: DETable, limits: Thresholds, gene_symbols: str | None, annotation: Any, keytype: str | None
) -> pd.DataFrame:
    """The biomarker table of a DE table alone."""
    frame = _de(de.frame, de.kind)
    names, source = annotated(frame.index, frame, gene_symbols, annotation, **_how(keytype))
    table = biomarker_table(frame.index, de=frame, names=names, thresholds=limits)
    warnings.warn(f"The biomarker table has no {_NO_MODEL}.", DataWarning, stacklevel=3)
    settings = {
        **limits.recorded(),
        "contrast": de.contrast or None,
        "annotation": source,
        "missing_evidence": _NO_MODEL,
    }
    table.attrs["settings"] = {name: value for name, value in settings.items() if value is not None}
    return table


def _max_q(adata: Any, model: str | None, asked: Any) -> Any:
    """``"auto"``: the level of the empirical q, where permuted targets say it of the genes and are enough to reach it."""
    if asked != "auto" or isinstance(adata, DETable) or model is None:
        if isinstance(asked, str) and asked != "auto":
            raise InputError(f"max_q must be 'auto', a number in (0, 1] or None; got {asked!r}.")
        return None if asked == "auto" else asked
    about = adata.uns.get(model, {})
    found = about.get("discoveries") if isinstance(about, Mapping) else None
    if keys.empirical(model, "q") not in adata.var or found is None or keys.shap(model) not in adata.uns:
        return None
    return float(found["level"]) if float(found["smallest_q"]) <= float(found["level"]) else None


def _de(frame: pd.DataFrame, kind: DEKind) -> pd.DataFrame:
    """With the interval of logFC; without a logFC beside a joint test, which is not what its p-values speak of."""
    return frame.drop(columns="logFC", errors="ignore") if kind == "F" else with_interval(frame, kind)


def _how(keytype: str | None) -> dict[str, Any]:
    return {} if keytype is None else {"keytype": keytype}


def _evidence(adata: AnnData, de: str | None, model: str | None) -> tuple[dict[str, Any], list[str]]:
    """DE and model evidence, and what of the two there is not."""
    missing = []
    frames: dict[str, Any] = {"de": None, "shap": None, "frequency": None}
    if de is not None and keys.de_column(de, "P.Value") in adata.var:
        frames["de"] = _de(get.de(adata, key=de), adata.uns.get(de, {}).get("kind", "t"))
    else:
        missing.append(": ".join(filter(None, (_NO_DE, elsewhere(adata, de, "de", "de")))))
    if model is not None and keys.shap(model) in adata.uns:
        frames["shap"] = get.shap(adata, key=model)
        frames["frequency"] = adata.var[keys.selected(model)]
    else:
        missing.append(": ".join(filter(None, (_NO_MODEL, elsewhere(adata, model, "shap", "model")))))
    return frames, missing


def _more(adata: AnnData, model: str | None, knockoffs: str | None) -> tuple[dict[str, Any], list[str]]:
    """Error rates of genes and what goes with what, where they were run; and what was not."""
    model, out, not_run = str(model), {}, []
    columns = {"empirical_p": keys.empirical(model, "p"), "empirical_q": keys.empirical(model, "q")}
    columns |= {} if knockoffs is None else {"knockoff_q": keys.knockoff_q(knockoffs)}
    there = {name: adata.var[column].to_numpy(float) for name, column in columns.items() if column in adata.var}
    if there:
        out["errors"] = pd.DataFrame(there, index=adata.var_names.astype(str))
    if "empirical_q" not in there:
        call = "stream" if "streamed" in adata.uns.get(model, {}) else "classify"
        not_run.append(f"error rates of genes (gb.tl.{call}(..., n_permutations=100))")
    if keys.groups(model) in adata.uns and keys.group(model) in adata.var:
        out["group"] = adata.var[keys.group(model)].astype(object)
        out["partners"] = _partners(adata, model)
        return out, not_run
    not_run.append("groups of genes that go together (gb.tl.gene_groups)")
    if "stand_ins" in adata.uns.get(model, {}):
        pairs = get.stand_ins(adata, key=model)
        out["partners"] = pairs.rename(columns={"gene_a": "gene", "gene_b": "stand_in"})
    return out, not_run


def _partners(adata: AnnData, model: str) -> pd.DataFrame:
    """Pairs of genes that can replace each other; of every gene at least the most important one that it goes with."""
    pairs = get.replacements(adata, key=model, de=None)[["gene", "stand_in", "correlation"]]
    column = keys.stands_behind(model)
    if column not in adata.var:
        return pairs
    behind = adata.var[column].astype(object)
    known = behind.notna() & (behind != "")
    more = {"gene": behind[known].astype(str), "stand_in": adata.var_names[known].astype(str)}
    rest = pd.DataFrame({**more, "correlation": adata.var.loc[known, f"{column}_r"].to_numpy(float)})
    return pd.concat([pairs, rest], ignore_index=True)


def _direction(about: Any) -> str | None:
    """What the signs of ``direction`` speak for."""
    if about.get("kind") == "regression":
        target = about["params"]["target"]
        return f"1: more expression speaks for a higher {target}; -1: for a lower one"
    classes = [str(name) for name in about.get("classes", ())]
    if len(classes) != 2:
        return None
    return f"1: more expression speaks for {classes[1]}; -1: for {classes[0]}"
