"""What the columns and the classes of the biomarker table are, in words, and how they are brought into shape."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

CLASSES: Mapping[str, str] = {
    "DE and used": "It differs between the groups, and models rely on it in samples that they did not see.",
    "DE, redundant": "It differs, but models do without it, or nearly: a gene that goes with it (stands_behind) does its work.",
    "used, not DE": "Models rely on it, though it does not differ by itself: an interplay, a correction for another gene, or chance.",
    "used, DE unknown": "Models rely on it; the DE table has no row, or no adjusted p-value, for it.",
    "DE, unused": "It differs; models did not need it, or no more than by chance (empirical_q), and no used gene is known to do its work.",
    "DE, use unknown": "It differs; there is no model evidence in this table.",
    "unstable": "Models rely on it where it was chosen, but it was chosen in too few folds.",
}

COLUMNS: Mapping[str, str] = {
    "rank": "1 for the strongest: by mean absolute SHAP, then by p-value.",
    "class": "What the evidence adds up to, in words; empty where there is not enough of it.",
    "stands_behind": "Of a redundant gene: the used gene that does its work.",
    "symbol": "Gene symbol.",
    "name": "What the gene is, in words.",
    "logFC": "Log2 fold change (limma); of a number, by one unit of it.",
    "CI.L": "Lower end of the confidence interval of logFC (95 %, unless the DE table was made with another level).",
    "CI.R": "Upper end of that interval.",
    "AveExpr": "Average log2 expression.",
    "t": "Moderated t statistic.",
    "F": "Moderated F statistic of a joint test.",
    "LR": "Likelihood ratio of a joint test.",
    "P.Value": "P-value.",
    "adj.P.Val": "P-value adjusted over all genes by Benjamini and Hochberg.",
    "B": "Log-odds that the gene differs (limma).",
    "shap": "Mean absolute SHAP value over samples that the models did not see.",
    "shap_rank": "Rank by that; 1 is the largest.",
    "rank_low": "Lower end of the 95 % interval of the rank.",
    "rank_high": "Upper end of that interval.",
    "direction": "1: more expression speaks for the positive class (or a higher target); -1: for the other; 0: undecided or unused.",
    "agreement": "Whether the sign of logFC and the direction in the model agree, of used genes: agree or conflict.",
    "selection_frequency": "Share of folds whose screen chose the gene.",
    "used": "Share of fold models that used the gene.",
    "empirical_p": "Share of all genes, over all permuted targets, whose moderated statistic in the training parts is as large.",
    "empirical_q": "The share of genes up to this one that are expected to have nothing to do with the target, by permuted targets.",
    "knockoff_q": "The smallest false discovery rate at which the knockoff filter calls the gene.",
    "n_models": "How many of the models used the gene.",
    "n_agree": "How many of the models have the direction of the consensus.",
    "group": "Group of genes that go together.",
    "stand_ins": "Genes that could replace it, with their correlation; the closest first.",
}  # fmt: skip

TEXT = ("class", "stands_behind", "symbol", "name", "agreement", "group", "stand_ins")
_WHOLE = ("rank", "shap_rank", "direction", "n_models", "n_agree")
_FACTORS = {"class": tuple(CLASSES), "agreement": ("agree", "conflict")}


def in_words(table: pd.DataFrame) -> pd.Series:
    """The class of each gene for people: ``DE, redundant (stands behind GENE)``, by symbol where it has one of its own."""
    if "class" not in table:
        return pd.Series("", index=table.index, dtype=object)
    words = table["class"].astype(object)
    if "stands_behind" not in table:
        return words
    shown = pd.Series(table.index.astype(str), index=table.index.astype(str), dtype=object)
    if "symbol" in table:
        symbol = table["symbol"].astype(object).set_axis(shown.index)
        known = symbol.notna() & (symbol != "")
        several = symbol.duplicated(keep=False)
        shown = shown.where(~known, symbol.where(~several, symbol.astype(str) + " " + shown))
    behind = table["stands_behind"].astype(object)
    told = [
        f"{word} (stands behind {shown.get(gene, gene)})" if word == "DE, redundant" and gene else word
        for word, gene in zip(words, behind, strict=True)
    ]
    return pd.Series(told, index=table.index, dtype=object)


def small_effects(table: pd.DataFrame) -> bool:
    """Whether two decimals are too few for logFC: slopes per unit of a number (a year, a milligram) are often that small."""
    return "logFC" in table and bool(table["logFC"].abs().max() < 0.1)


def is_biomarker_table(frame: pd.DataFrame) -> bool:
    """Whether a frame looks like what :func:`geneml_bio.core.biomarkers.biomarker_table` makes."""
    return {"rank", "class", "agreement"} <= set(map(str, frame.columns))


def typed(table: pd.DataFrame) -> pd.DataFrame:
    """A copy with exact types: counts and ranks as nullable integers, classes as categories, empty text as missing."""
    out = table.copy()
    for name in [name for name in TEXT if name in out]:
        text = out[name].astype(object)
        text = text.where(text.notna() & (text != ""), None)
        levels = _FACTORS.get(name)
        known = levels is not None and set(text.dropna()) <= set(levels)
        out[name] = pd.Categorical(text, categories=list(levels)) if levels and known else text
    for name in [name for name in _WHOLE if name in out]:
        out[name] = out[name].astype("Int64")
    return out
