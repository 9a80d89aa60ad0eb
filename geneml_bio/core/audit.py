"""What is wrong with a study, found before any model is fitted.

Findings are rows ``check level message``; ``level`` is ``ok``, ``note`` or ``warning``. Full confounding of target and
batch (each batch holds one class, or one value) is an error, because no model can tell the two apart.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from .association import cramers_v, explained, labels_alone
from .audit_values import Finding, duplicates, finding, label_in_genes, signs_of_cells, values
from .errors import ConfoundingError
from .schema import Cohort

DONOR_LIKE = re.compile(
    r"(^|[_.\W])(donor|patient|participant|subject|individual|mouse|animal|replicate|person)"
    r"s?([_.\W]|id|no|nr|num|number|\d|$)|^case[_.]?id$",
    re.I,
)
SAMPLE_LIKE = re.compile(r"^(orig[_.]?ident|(sample|library|channel)([_.]?(id|name))?|bio[_.]?sample([_.]?id)?)$", re.I)
BATCH_LIKE = re.compile(
    r"(^|[_.\W])(batch|plate|run|lane|chip|slide|flow[_.]?cell|platform|sequencer|hyb|scan|centre|center)(e?s)?([_.\W\d]|id|$)",
    re.I,
)
ABOUT_DONORS = re.compile(r"(age|sex|gender|strain|status|group|type|stage|weight|bmi|race|site)s?$", re.I)

_STRONG = 0.3  # corrected Cramer's V, or R2, from which target and batch are told as entangled
_FEW_GROUPS, _FEW_GROUPS_OF_CLASS = 10, 5


def audit(cohort: Cohort, *, obs: pd.DataFrame | None = None, allow_confounded: bool = False) -> pd.DataFrame:
    """Look at the study before a model does.

    Parameters
    ----------
    cohort
        The study.
    obs
        Other annotations of the samples, searched for columns of donors or batches that were not named, and for signs that
        the samples are cells.
    allow_confounded
        Report full confounding of target and batch as a warning instead of raising.

    Returns
    -------
    Frame ``check level message``. Checks: ``size``, ``class size``, ``class balance``, ``groups``, ``unnamed groups``,
    ``cells without groups``, ``batch``, ``unnamed batch``, ``covariates``, ``missing values``, ``constant genes``, ``empty samples``,
    ``scale``, ``duplicated samples``, ``similar samples``, ``labels``, ``target among genes``.

    Raises
    ------
    ConfoundingError
        If each batch holds one class, or one value, only (several batches), unless ``allow_confounded``.
    """
    obs = pd.DataFrame(index=cohort.samples) if obs is None else obs
    findings = [*_sizes(cohort), *_labels(cohort), *_groups(cohort, obs), *values(cohort), *duplicates(cohort)]
    findings += label_in_genes(cohort)
    findings += _unnamed_batch(cohort, obs) if cohort.batch is None else []
    return pd.concat(
        [pd.DataFrame(findings, columns=["check", "level", "message"]), named_columns(cohort, allow_confounded)],
        ignore_index=True,
    )


def named_columns(cohort: Cohort, allow_confounded: bool = False) -> pd.DataFrame:
    """What batch and covariates say of the target: the part of :func:`audit` that looks at no gene.

    Raises
    ------
    ConfoundingError
        As there.
    """
    findings = [] if cohort.batch is None else _batch(cohort, allow_confounded)
    findings += [] if cohort.covariates is None else _covariates(cohort)
    return pd.DataFrame(findings, columns=["check", "level", "message"])


def one_class_left_out(cohort: Cohort, cv: str) -> str:
    """Whether most of what is left out in turn is of one class: what scores then look like is an artefact."""
    by = {"leave_one_group_out": cohort.groups, "leave_one_batch_out": cohort.batch}.get(cv)
    if by is None or not cohort.classes:
        return ""
    classes = pd.Series(cohort.target).groupby(pd.factorize(by)[0]).nunique()
    if (classes == 1).mean() < 0.5:
        return ""
    what = "groups" if "group" in cv else "batches"
    return (
        f"{int((classes == 1).sum())} of the {len(classes)} {what} that are left out in turn hold one class only. The training part "
        "then has fewer samples of just the class that is asked for, so that models which know nothing score below chance, and "
        "ranks (ROC AUC) are compared across models. Do not read these scores as performance: use cv='kfold', whose folds hold "
        "several groups."
    )


def effective_n(cohort: Cohort) -> dict[str, Any]:
    """How many independent observations a study has: its groups, or else its samples.

    Returns
    -------
    ``unit`` (``"group"`` or ``"sample"``), ``n_samples``, ``n_effective``, and for classes ``n_mixed`` (groups with samples
    of more than one class) and ``per_class``, a frame ``class n_samples n_effective``.
    """
    n = len(cohort.target)
    unit = np.arange(n) if cohort.groups is None else pd.factorize(cohort.groups)[0]
    out: dict[str, Any] = {
        "unit": "sample" if cohort.groups is None else "group",
        "n_samples": n,
        "n_effective": len(set(unit)),
    }
    if cohort.classes:
        frame = pd.DataFrame({"class": cohort.target, "unit": unit})
        counts = frame.groupby("class")["unit"].agg(["size", "nunique"]).reindex(list(cohort.classes), fill_value=0)
        out["n_mixed"] = int((frame.groupby("unit")["class"].nunique() > 1).sum())
        out["per_class"] = pd.DataFrame(
            {
                "class": list(cohort.classes),
                "n_samples": counts["size"].to_numpy(),
                "n_effective": counts["nunique"].to_numpy(),
            }
        )
    return out


def _sizes(cohort: Cohort) -> list[Finding]:
    n, p = cohort.X.shape
    if cohort.task == "regression":
        level = "warning" if n < 30 else "ok"
        return [finding("size", level, f"{n} samples, {p} genes{'; few samples for a regression' if n < 30 else ''}.")]
    counts = pd.Series(cohort.target).value_counts().reindex(list(cohort.classes), fill_value=0)
    text = ", ".join(f"{name}: {count}" for name, count in counts.items())
    out = [finding("size", "ok", f"{n} samples, {p} genes; classes {text}.")]
    if counts.min() < 10:
        out.append(
            finding(
                "class size",
                "warning",
                f"The smallest class, {counts.idxmin()}, has {counts.min()} samples; expect wide intervals.",
            )
        )
    if counts.max() >= 4 * counts.min():
        message = f"Classes are unbalanced ({text}); accuracy alone misleads, read balanced accuracy and MCC."
        out.append(finding("class balance", "warning", message))
    return out


# text that files hold where nothing is known; "none" is left out, for it may say "untreated"
_LIKE_MISSING = {*("", "nan", "na", "n/a", "#n/a", "<na>", "null", "nil", "missing", "unknown", "?", "-", "--", "."), "not reported",
                 *("not available", "[not available]", "not applicable", "unspecified")}  # fmt: skip


def _labels(cohort: Cohort) -> list[Finding]:
    """Labels that may be no label, or one label written in two ways: blanks, number and text, upper and lower case."""
    out = []
    for what, labels, harm in (
        ("Classes", cohort.target if cohort.classes else None, "They are taken for different classes."),
        (
            "Groups",
            cohort.groups,
            "They are taken for different groups: a donor under two names is on both sides of a fold.",
        ),
        ("Batches", cohort.batch, "They are taken for different batches."),
    ):
        alike: dict[str, list[str]] = {}
        there = [] if labels is None else list(pd.unique(pd.Series(labels, dtype=object)))
        none = [label for label in there if isinstance(label, str) and label.strip().casefold() in _LIKE_MISSING]
        if none:
            message = (
                f"{what} include {', '.join(map(repr, none))}, which reads like a missing value and is taken for a value like the others. "
                f"If it is missing, say so first: adata.obs[column] = adata.obs[column].replace({none[0]!r}, None)."
            )
            out.append(finding("labels", "warning", message))
        for label in there:
            text = str(int(label)) if isinstance(label, float) and label.is_integer() else " ".join(str(label).split())
            alike.setdefault(text.casefold(), []).append(text)
        found = {name: texts for name, texts in alike.items() if len(texts) > 1}
        if found:
            shown = [f"{texts[0]!r} ({len(texts)} ways)" for texts in found.values()]
            # classes may differ in case on purpose, as genotypes do
            sure = what != "Classes" or any(len(set(texts)) < len(texts) for texts in found.values())
            more = ", ..." if len(shown) > 3 else ""
            message = f"{what} differ only in blanks, in case, or as number and text: {', '.join(shown[:3])}{more}."
            out.append(finding("labels", "warning" if sure else "note", f"{message} {harm}"))
    return out


def _groups(cohort: Cohort, obs: pd.DataFrame) -> list[Finding]:
    if cohort.groups is not None:
        return [_named_groups(cohort)]
    cells = signs_of_cells(cohort.X, map(str, obs.columns))
    suspects = []
    for i, name in enumerate(map(str, obs.columns)):
        likely = DONOR_LIKE.search(name) or (cells and SAMPLE_LIKE.search(name))
        if likely and not ABOUT_DONORS.search(name):
            known = obs.iloc[:, i].dropna().astype(str)
            if 1 < known.nunique() < len(known):
                suspects.append(f"{name!r} ({known.nunique()} values in {len(obs)} samples)")
    out = []
    if cells:
        message = (
            f"The {len(cohort.samples)} samples look like single cells ({', '.join(cells)}) and groups= was not named. Cells of "
            "one donor resemble each other, so with a donor on both sides of a fold the scores are too good, and the effective "
            "sample size is the number of donors, not of cells. Name the column of donors as groups=, or sum the cells by donor: "
            "gb.pp.pseudobulk(adata, by=...)."
        )
        out.append(finding("cells without groups", "warning", message))
    if suspects:
        message = (
            f"Column {', '.join(suspects)} looks like a donor and was not named as groups=. If samples of one donor are in both "
            "the training and the held-out part, the scores are too good."
        )
        out.append(finding("unnamed groups", "warning", message))
    return out


def _named_groups(cohort: Cohort) -> Finding:
    about = effective_n(cohort)
    n = about["n_effective"]
    message = f"{n} groups in {about['n_samples']} samples; the effective sample size is nearer to {n}"
    few = n < _FEW_GROUPS
    if not cohort.classes:
        return finding("groups", "warning" if few else "ok", f"{message}.")
    per_class = about["per_class"].set_index("class")["n_effective"]
    text = ", ".join(f"{name}: {count}" for name, count in per_class.items())
    if about["n_mixed"] == 0:
        message += f". Every group is of one class, so groups are what is compared ({text})."
        few = few or per_class.min() < _FEW_GROUPS_OF_CLASS
    else:
        message += f". {about['n_mixed']} of them have samples of more than one class (groups by class {text})."
    return finding("groups", "warning" if few else "ok", message)


# -- batch and covariates ----------------------------------------------------------------------------------------------


def _unnamed_batch(cohort: Cohort, obs: pd.DataFrame) -> list[Finding]:
    found = []
    for i, name in enumerate(map(str, obs.columns)):
        labels = obs.iloc[:, i]
        if not BATCH_LIKE.search(name) or labels.isna().any():
            continue
        batch = labels.astype(str).to_numpy()
        if not 1 < len(set(batch)) <= len(batch) / 2:
            continue
        if cohort.classes:
            v = cramers_v(cohort.target, batch)
            strong, text = cramers_v(cohort.target, batch, corrected=True), f"Cramer's V = {v:.2f} with the target"
        else:
            share, strong = explained(cohort.target, batch)
            text = f"explains {share:.0%} of the variance of the target"
        if strong > _STRONG:
            found.append(f"{name!r} ({len(set(batch))} values; {text})")
    if not found:
        return []
    message = (
        f"Column {', '.join(found)} looks like a batch that goes with the target and was not named as batch=. What a model finds "
        "may be batch, not biology."
    )
    return [finding("unnamed batch", "warning", message)]


def _batch(cohort: Cohort, allow_confounded: bool) -> list[Finding]:
    batch = np.asarray(cohort.batch).astype(str)
    n_batches = len(set(batch))
    if n_batches < 2:
        return [finding("batch", "note", "All samples are of one batch.")]
    if cohort.task == "regression":
        return [_batch_of_numbers(cohort, batch, n_batches, allow_confounded)]
    table = pd.crosstab(cohort.target, batch)
    v = cramers_v(cohort.target, batch)
    pure = [str(name) for name in table.columns if (table[name] > 0).sum() == 1]
    if len(pure) == n_batches:
        message = (
            f"Each of the {n_batches} batches holds one class only (Cramer's V = {v:.2f}): class and batch cannot be told apart, "
            "and any score would be the batch's. Add samples that cross the two; or pass allow_confounded=True to go on "
            "with the warning in the results."
        )
        if not allow_confounded:
            raise ConfoundingError(message)
        return [finding("batch", "warning", message)]
    alone, auc = labels_alone(cohort, batch)
    message = (
        f"Target and batch: Cramer's V = {v:.2f}; batch alone predicts the class with balanced accuracy {alone:.2f} and "
        f"ROC AUC {auc:.2f}."
    )
    if pure:
        message += f" Batches with one class only: {', '.join(pure)}."
    chance = 1 / len(cohort.classes)
    confounded = cramers_v(cohort.target, batch, corrected=True) > _STRONG or alone > chance + 0.15 or auc > 0.65
    if confounded:
        message += " Part of what a model finds may be batch, not biology."
    return [finding("batch", "warning" if confounded else "ok", message)]


def _batch_of_numbers(cohort: Cohort, batch: np.ndarray, n_batches: int, allow_confounded: bool) -> Finding:
    """Full confounding of a number: one value in each batch, so that what differs between values differs between batches."""
    by = pd.Series(cohort.target.astype(float)).groupby(batch)
    within, whole = float((by.max() - by.min()).max()), float(np.ptp(cohort.target))
    if whole > 0 and within <= 1e-9 * whole:
        message = (
            f"Each of the {n_batches} batches holds one value of the target only: target and batch cannot be told apart, and any score "
            "would be the batch's. Add samples that cross the two; or pass allow_confounded=True to go on with the warning in the "
            "results."
        )
        if not allow_confounded:
            raise ConfoundingError(message)
        return finding("batch", "warning", message)
    share, adjusted = explained(cohort.target, batch)
    message = f"Batch explains {share:.0%} of the variance of the target."
    if adjusted > 0.2:
        message += " Part of what a model finds may be batch, not biology."
    return finding("batch", "warning" if adjusted > 0.2 else "ok", message)


def _covariates(cohort: Cohort) -> list[Finding]:
    """How much of the target the covariates hold, since what they hold is adjusted away."""
    frame = cohort.covariates
    if frame is None or frame.empty:
        return []
    n = len(frame)
    shares = {str(name): _share(cohort, frame[[name]])[0] for name in frame.columns}
    whole, adjusted, determined = *_share(cohort, frame), False
    determined = whole > 1 - 1e-9
    said = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    if determined:
        message = (
            f"The covariates determine the target ({said} of its variance): once they are adjusted for, nothing is left to find. "
            f"Drop a covariate{'' if n > 2 * frame.shape[1] else ', or collect more samples'}."
        )
        return [finding("covariates", "warning", message)]
    message = f"The covariates explain {whole:.0%} of the variance of the target ({said})."
    if adjusted > _STRONG:
        message += " What they explain is adjusted away, and what they alone predict is no merit of the genes."
    return [finding("covariates", "warning" if adjusted > _STRONG else "ok", message)]


def _share(cohort: Cohort, frame: pd.DataFrame) -> tuple[float, float]:
    """R2 of the target (of classes: the largest over their indicators) on covariates, and the same adjusted for their number."""
    hot = pd.get_dummies(frame, drop_first=True, dtype=float).to_numpy(float)
    hot = (hot - hot.mean(axis=0)) / np.where(hot.std(axis=0) > 0, hot.std(axis=0), 1.0)
    if cohort.classes:
        y = np.column_stack([cohort.target == name for name in cohort.classes]).astype(float)
    else:
        y = cohort.target.astype(float)[:, None]
    y = y - y.mean(axis=0)
    left = y - hot @ np.linalg.lstsq(hot, y, rcond=1e-10)[0]
    total = (y**2).sum(axis=0)
    share = float(np.max(1 - (left**2).sum(axis=0)[total > 0] / total[total > 0], initial=0.0))
    n, k = len(y), int(np.linalg.matrix_rank(hot, tol=1e-7 * np.sqrt(len(y))))
    return share, 1 - (1 - share) * (n - 1) / (n - k - 1) if n > k + 1 else share
