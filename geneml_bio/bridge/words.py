"""What the name of a column says: its statistic, its scale, and the rest, which labels what was compared.

A name is cut into words (``-log10(adj. P)`` -> ``neg log10 adj p``; ``log2FoldChange`` -> ``log2 fold change``), and the
longest run of known words at its beginning or end is the statistic. Nothing looks at values here.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

_P = frozenset("p pval pvals pvalue pvalues pv valor valeur wert".split())
_VALUE = frozenset("val value values vals".split())
_ADJUSTED = frozenset(
    "adj adjust adjusted adjustment adjval fdr bh benjamini hochberg q qval qvals qvalue qvalues corr corrected correction "
    "fwer holm bonferroni bonf hommel sidak storey ihw".split()
)
# words that say nothing without another
_ALONE = frozenset("adj adjust adjusted adjustment corr corrected correction valor valeur wert".split())
_FWER = {"fwer": "holm (FWER)", "holm": "holm", "bonferroni": "bonferroni", "bonf": "bonferroni", "hommel": "hommel",
         "sidak": "sidak"}  # fmt: skip
_NAMED = {"bh": "BH", "benjamini": "BH", "hochberg": "BH", "storey": "q-value (Storey)", "ihw": "IHW"}
_RAW = frozenset("raw nominal nom unadj unadjusted uncorrected uncorr orig original".split())
_TEST = frozenset(
    "t test ttest tests students student s welch wald lrt exact wilcoxon wilcox mann whitney mannwhitney moderated mod "
    "limma edger deseq deseq2 voom ebayes two sided tailed twosided twotailed de dge deg diff differential expression "
    "permutation perm glm stepup step up rate false discovery rank sum based by method less of the gene wise et al "
    "1995 2003 2002 2".split()
)
_LOG = {"log2": "log2", "l2": "log2", "lg2": "log2", "log10": "log10", "lg": "log10",
        **{name: "log10" for name in ("nlog10", "mlog10", "neglog10", "minuslog10", "negativelog10")}, "ln": "ln", "loge": "ln", "log": "log"}
_NEG = frozenset("neg negative minus x".split())
_FOLD = frozenset("fc fold folds foldchange foldchanges lfc l2fc logfc log2fc lnfc change changes".split())
_OF_FOLD = frozenset(
    "avg average ave mean median estimated est estimate shrunk shrunken shrinkage mle map of the moderated mod expression "
    "limma edger deseq deseq2 value values val gene normalized normalised".split()
)
_UNCLEAR = frozenset("beta estimate coef coefficient effect effectsize difference diff ratio delta d g hedges cohens cohen "
                     "logratio es slope m foldenrichment".split())  # fmt: skip
# what makes a statistic of another kind of the words beside it
_SPOILED = frozenset(
    "abs absolute rank ranking sign significant significance sig cutoff threshold thresh pass passed sd std stdev var variance "
    "direction description min max sum count counts number se err error normality shapiro levene bartlett heterogeneity interaction enrichment "
    "cv lfdr local less greater low high lower upper onesided one combined meta fisher "
    "weight flag color colour label category class regulation status color rounded filter".split()
)
_WORDS = (
    _P | _VALUE | _ADJUSTED | _RAW | _FOLD | set(_LOG) | {w for w in _TEST | _OF_FOLD | _NEG if len(w) > 2}
    | {"neg", "ratio", "stat", "stats", "statistic", "score", "expr", "cpm", "se", "err", "error", "ci", "lods", "odds",
       "difference", "diff", "base", "std", "standard", "lfc", "t"}
)  # fmt: skip

# other statistics, by their words put together; letter case matters for one letter only
_OTHERS: dict[str, tuple[str, ...]] = {
    "AveExpr": ("aveexpr", "avgexpr", "averageexpr", "averageexpression", "aveexpression", "avgexpression", "avelogexpr",
                "logcpm", "avelogcpm", "averagelogcpm", "log2cpm", "avglogcpm", "amean", "A", "averagelog2expression",
                "averagelogexpression", "avglog2expr", "avglog2expression"),
    "baseMean": ("basemean",),
    "t": ("t", "tstat", "tstatistic", "tvalue", "tval", "tscore", "tteststatistic", "tteststat", "moderatedt", "modt",
          "moderatedtstatistic", "studentsttestteststatistic", "studentsttesttstatistic", "stat", "stats", "statistic", "teststat",
          "teststatistic", "z", "zscore", "zstat", "zvalue", "zstatistic", "wald", "waldstat", "waldstatistic",
          "waldteststat", "waldz", "scores"),
    "F": ("F", "fstat", "fstatistic", "fvalue", "modf", "moderatedf", "qlf", "qlfstat"),
    "LR": ("LR", "lr", "lrstat", "lrtstat", "lrtstatistic", "likelihoodratio"),
    "B": ("B", "bstat", "bstatistic", "lods", "logodds", "logoddsratio", "bvalue", "Bstat"),
    "SE": ("se", "lfcse", "logfcse", "stderr", "stderror", "standarderror", "log2fcse", "log2foldchangese", "selogfc", "selfc",
           "selog2fc", "selog2foldchange", "sefc"),
    "CI.L": ("cil", "cilow", "cilower", "cilo", "cilb", "lowerci", "lowci", "conflow", "ci95low", "ci95lower", "lowerci95",
             "logfccil", "logfccilow", "log2fccilow", "cileft", "lcl", "ciL", "ci25", "25ci"),
    "CI.R": ("cir", "cihigh", "ciupper", "ciup", "cihi", "ciub", "upperci", "highci", "confhigh", "ci95high", "ci95upper",
             "upperci95", "logfccir", "logfccihigh", "log2fccihigh", "ciright", "ucl", "ciR", "ci975", "975ci"),
    "df": ("df", "dof", "degreesoffreedom", "DF"),
}  # fmt: skip
_ONE_LETTER = {"A": "AveExpr", "t": "t", "F": "F", "B": "B", "z": "t", "Z": "t"}
_OTHER_ROLES = {name: role for role, names in _OTHERS.items() for name in names if len(name) > 1}


@dataclass(frozen=True)
class Meaning:
    """What a column holds.

    Parameters
    ----------
    role
        A column of limma; or ``baseMean``; ``FC``: a fold change that is not a logarithm; ``effect``: an effect of which the
        name does not tell the scale.
    how
        Its scale: ``""`` as limma has it; ``ln``, ``log10``, ``log`` (base not told), ``linear``.
    label
        What the rest of the name says.
    adjust
        Method of adjustment that the name tells.
    raw
        The name says that the p-value is not adjusted.
    """

    role: str
    how: str = ""
    label: str = ""
    adjust: str = ""
    raw: bool = False


def norm(name: str) -> str:
    """Lower case, everything but letters and digits as one ``_``."""
    plain = unicodedata.normalize("NFKC", str(name)).lower()
    return re.sub(r"[\W_]+", "_", plain).strip("_")


@functools.lru_cache(maxsize=4096)
def _cut(word: str) -> tuple[str, ...]:
    """A word as known words put together (``adjpval`` -> ``adj pval``), or as it is."""
    if word in _WORDS or len(word) > 40:
        return (word,)
    best: list[tuple[str, ...] | None] = [()] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - 12), end):
            before, piece = best[start], word[start:end]
            if before is not None and (piece in _WORDS or piece == "q"):
                found = (*before, piece)
                current = best[end]
                if current is None or len(found) < len(current):
                    best[end] = found
    whole = best[-1]
    return whole if whole and max(map(len, whole)) > 2 else (word,)


def words_of(name: str) -> list[tuple[str, int, int]]:
    """The words of a name with their places in it."""
    plain = "".join(unicodedata.normalize("NFKC", c)[:1] or c for c in str(name))
    out: list[tuple[str, int, int]] = []
    for hit in re.finditer(r"[^\W_]+", plain):
        before = plain[: hit.start()].rstrip(" _(")
        pieces = _cut(hit.group().lower())
        if before.endswith(("-", "−", "–")) and pieces[0] in _LOG and (len(before) == 1 or not before[-2].isalnum()):
            out.append(("neg", hit.start() - 1, hit.start()))
        out.extend((piece, hit.start(), hit.end()) for piece in pieces)
    return out


def _p_value(words: list[str]) -> Meaning | None:
    there = set(words)
    named = there & (_P | _ADJUSTED) - _ALONE or {"false", "discovery"} <= there
    if not named or not there <= _P | _VALUE | _ADJUSTED | _RAW | _TEST | set(_LOG) | _NEG:
        return None
    logs = [_LOG[word] for word in words if word in _LOG]
    if len(logs) > 1 or (there & _NEG and not logs) or logs == ["log2"]:
        return None
    adjusted = there & _ADJUSTED or {"false", "discovery"} <= there
    method = next((_FWER[word] for word in words if word in _FWER), "") or next(
        (_NAMED[word] for word in words if word in _NAMED), ""
    )
    return Meaning("adj.P.Val" if adjusted else "P.Value", logs[0] if logs else "", adjust=method, raw=bool(there & _RAW))


def _effect(words: list[str]) -> Meaning | None:
    there = set(words)
    logs = [_LOG[word] for word in words if word in _LOG]
    if there & {"lfc", "l2fc", "logfc", "log2fc"}:
        logs = [*logs, "log2"]
    if "lnfc" in there:
        logs = [*logs, "ln"]
    fold = there & _FOLD
    known = there <= _FOLD | _OF_FOLD | set(_LOG) | {"2", "10", "ratio", "difference", "diff", "estimate"}
    if not known or not words or there <= _OF_FOLD:
        return None
    if "log" in logs and "2" in there:
        logs = ["log2"]
    if len(set(logs)) > 1:
        return None
    if logs and (fold or there & {"ratio", "difference", "diff"}):
        if not fold and logs[0] == "log":
            return Meaning("effect")
        how = {"log2": "", "log": "", "ln": "ln", "log10": "log10"}[logs[0]]
        return Meaning("logFC", how)
    if fold & {"fc", "foldchange", "foldchanges"} or {"fold", "change"} <= there or {"fold", "changes"} <= there:
        return Meaning("FC", "linear")
    return None


def _classify(words: list[str]) -> Meaning | None:
    if words in (["pr", "t"], ["pr", "z"], ["pr", "f"], ["pr", "chisq"], ["pr", "chi"]):
        return Meaning("P.Value")
    return _p_value(words) or _effect(words)


@functools.lru_cache(maxsize=4096)
def other(name: str) -> str | None:
    """The role of a statistic beside effect and p-value by its whole name."""
    bare = re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", str(name)))
    if len(bare) == 1:
        return _ONE_LETTER.get(bare)
    return _OTHER_ROLES.get(bare.lower())


@functools.lru_cache(maxsize=4096)
def meaning(name: str) -> Meaning | None:
    """What a name says of effect or p-value, with the longest run of words that says so; None if nothing."""
    words = words_of(name)
    plain = [word for word, _, _ in words]
    n = len(words)
    for size in range(n, 0, -1):
        # the end first: Treated_vs_Control_log2FC
        for start in dict.fromkeys((n - size, 0, *(range(n - size) if size > 1 else ()))):
            run = plain[start : start + size]
            found = _classify(run)
            if found is None:
                continue
            rest = plain[:start] + plain[start + size :]
            if set(rest) & _SPOILED:
                return None
            before = label_of(name[: words[start][1]]) if start else ""
            after = label_of(name[words[start + size][1] :]) if start + size < n else ""
            return Meaning(found.role, found.how, " ".join(filter(None, (before, after))), found.adjust, found.raw)
    if n and other(name) is None and set(plain) & _UNCLEAR and not set(plain) & _SPOILED:
        return Meaning("effect")
    return None


def label_of(text: str) -> str:
    """A label without the marks that tied it to the statistic."""
    text = text.strip(" _.|:;-–,/\\")
    if text.endswith(")") and "(" not in text:
        text = text[:-1]
    if text.startswith("(") and ")" not in text:
        text = text[1:]
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    if text.startswith("[") or text.endswith("]"):
        text = text.strip("[]")
    return text.strip(" _.|:;-–,/\\")
