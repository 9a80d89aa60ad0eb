"""What the name of a column says: its statistic, its scale, and the rest, which labels what was compared.

A name is cut into words (``-log10(adj. P)`` -> ``neg log10 adj p``; ``log2FoldChange`` -> ``log2 fold change``), and the
longest run of known words at its beginning or end is the statistic. Nothing looks at values here.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass, replace

from .vocabulary import (
    ADJUSTED,
    ALONE,
    FOLD,
    LOG,
    METHODS,
    NEG,
    OF_FOLD,
    ONE_LETTER,
    OTHERS,
    PVALUE,
    RAW,
    SPOILED,
    TEST,
    UNCLEAR,
    VALUE,
    WORDS,
)


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
    if word in WORDS or len(word) > 40:
        return (word,)
    best: list[tuple[str, ...] | None] = [()] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(max(0, end - 12), end):
            before, piece = best[start], word[start:end]
            if before is not None and (piece in WORDS or piece == "q"):
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
        if before.endswith(("-", "−", "–")) and pieces[0] in LOG and (len(before) == 1 or not before[-2].isalnum()):
            out.append(("neg", hit.start() - 1, hit.start()))
        out.extend((piece, hit.start(), hit.end()) for piece in pieces)
    return out


def _p_value(words: list[str]) -> Meaning | None:
    there = set(words)
    named = there & (PVALUE | ADJUSTED) - ALONE or {"false", "discovery"} <= there
    if not named or not there <= PVALUE | VALUE | ADJUSTED | RAW | TEST | set(LOG) | NEG | {"10", "by"}:
        return None
    if "by" in there:  # Benjamini-Yekutieli; "p by gene" is nothing
        return Meaning("adj.P.Val", adjust="BY") if "by" in (words[0], words[-1]) and there & PVALUE else None
    logs = [LOG[word] for word in words if word in LOG]
    if len(logs) > 1 or ((there & NEG or "10" in there) and not logs) or logs == ["log2"]:
        return None
    if "10" in there:
        logs = ["log10"]
    adjusted = there & ADJUSTED or {"false", "discovery"} <= there
    method = next((METHODS[word] for word in words if word in METHODS), "")
    return Meaning(
        "adj.P.Val" if adjusted else "P.Value", logs[0] if logs else "", adjust=method, raw=bool(there & RAW)
    )


def _effect(words: list[str]) -> Meaning | None:
    there = set(words)
    logs = [LOG[word] for word in words if word in LOG]
    if there & {"lfc", "l2fc", "logfc", "log2fc"}:
        logs = [*logs, "log2"]
    if "lnfc" in there:
        logs = [*logs, "ln"]
    fold = there & FOLD
    known = there <= FOLD | OF_FOLD | set(LOG) | {"2", "10", "ratio", "difference", "diff", "estimate"}
    if not known or not words or there <= OF_FOLD:
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
    if name in ONE_LETTER or len(bare) == 1:
        return ONE_LETTER.get(name)
    return OTHERS.get(bare.lower())


_NUMBERED = re.compile(r"(?P<group>\d{1,3})[_.](?!sided|tailed)(?P<name>[A-Za-z].*)")
_NUMBERED_LAST = re.compile(r"(?P<name>.*[A-Za-z])_(?P<group>\d{1,3})")


def tag(label: str) -> str:
    """A label as a key: ``A/B``, ``A vs B`` and ``A_vs_B`` are one."""
    plain = norm(label)
    return "_".join(part for part in plain.split("_") if part not in ("vs", "versus")) or plain


@functools.lru_cache(maxsize=4096)
def meaning(name: str) -> Meaning | None:
    """What a name says of effect or p-value, with the longest run of words that says so; None if nothing."""
    # groups that are numbers: 2_pvals, logFC_2; of Log_2_FC it is the base
    hit = _NUMBERED.fullmatch(name) or _NUMBERED_LAST.fullmatch(name)
    found = meaning(hit["name"]) if hit else None
    if hit and found is not None and not found.label:
        return replace(found, label=hit["group"])
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
            if set(rest) & SPOILED:
                return None
            before = label_of(name[: words[start][1]]) if start else ""
            after = label_of(name[words[start + size][1] :]) if start + size < n else ""
            if found.how == "linear" and {"log2", "lb"} & set(rest):  # log2(A/B) fold change
                found = Meaning("logFC")
            return Meaning(found.role, found.how, " ".join(filter(None, (before, after))), found.adjust, found.raw)
    if n and other(name) is None and set(plain) & UNCLEAR and not set(plain) & SPOILED:
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
