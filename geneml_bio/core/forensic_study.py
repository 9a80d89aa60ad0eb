"""The table under study: its columns as numbers, and the findings as they come in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from .forensic_numbers import Column, column
from .forensic_words import counted
from .names import LIMMA_COLUMNS, DEKind

Level = Literal["ok", "note", "warning"]
_ORDER = {"warning": 0, "note": 1, "ok": 2}
# findings, and the facts behind them, that say that a table was cut or changed
_DAMAGE = frozenset({"truncated", "filtered", "readjusted", "edited", "order", "test"})
_DAMAGE_FACTS = ("readjusted", "cut_logfc", "edited", "top", "n_tests_at_least", "one_sided", "shuffled")


@dataclass(frozen=True, eq=False)
class TableCheck:
    """Findings on a DE table.

    Parameters
    ----------
    findings
        ``check level message evidence``, one row a finding; level is ``ok``, ``note`` or ``warning``.
    facts
        What was recovered; a fact that the table does not tell is not there.

        Rows: ``n``, ``missing`` (without a p-value), ``empty`` (without any number), ``duplicates``, ``digits`` (written, by
        column). Adjustment: ``adjust`` (method), ``n_tests``, ``n_tests_at_least``, ``n_adjusted`` (rows that have both
        p-values), ``not_adjusted``, ``pi0`` (of a q-value), ``top`` (the first rows of a longer table), ``readjusted``
        (filtered, then adjusted again), ``cut_logfc`` (the bound). Test: ``statistic`` (``t z F chi-square treat``), ``df``
        (of most rows; inf: normal), ``df_interval`` (what the digits allow), ``df_total`` (the different ones and their
        rows), ``df1``, ``lfc`` (bound of treat), ``one_sided``. Prior: ``moderation``, ``df_residual``, ``df_prior``,
        ``s2_prior_scaled``, ``proportion`` (``proportion_recovered`` False: supposed), ``var_ratio`` (r). Rows that do not
        fit: ``shuffled`` (column), ``edited`` (column: ids), ``sign_conflicts``, ``flipped``, ``ci_level``, ``p_zero``.
    verdict
        All of it in one line.
    """

    findings: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)
    verdict: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is no warning."""
        return not (self.findings["level"] == "warning").any()

    def of(self, check: str) -> pd.DataFrame:
        """The findings of one check."""
        return self.findings[self.findings["check"] == check]

    def __str__(self) -> str:
        levels = self.findings["level"]
        count = {level: int((levels == level).sum()) for level in ("warning", "note")}
        many = ", ".join(f"{n} {level}{'' if n == 1 else 's'}" for level, n in count.items())
        lines = [self.verdict] if self.verdict else []
        lines.append(f"{counted(self.facts.get('n', 0))}: {many}")
        for item in self.findings.itertuples():
            lines.append(
                f"  [{item.level}] {item.check}: {item.message}" + (f" ({item.evidence})" if item.evidence else "")
            )
        return "\n".join(lines)

    __repr__ = __str__


def numbers_of(frame: pd.DataFrame, name: str) -> np.ndarray | None:
    """A column as floats, infinities as missing; the first of several with that name."""
    at = [i for i, label in enumerate(frame.columns) if isinstance(label, str) and label == name]
    if not at:
        return None
    series = frame.iloc[:, at[0]]
    if not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_complex_dtype(series.dtype):
        series = pd.to_numeric(series.astype(str), errors="coerce")
    values = series.to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(values), values, np.nan)


class Study:
    """A table being looked at."""

    def __init__(self, frame: pd.DataFrame, kind: DEKind) -> None:
        self.kind = kind
        self.ids = frame.index
        self.n = len(frame)
        self.columns: dict[str, Column] = {}
        self.suspect = np.zeros(self.n, dtype=bool)  # rows that a finding has named
        self.facts: dict[str, Any] = {"n": self.n}
        self.changed: dict[str, int] = {}  # rows of a column that were changed
        self.test = ""  # in a few words
        self._findings: list[tuple[str, Level, str, str]] = []
        for name in LIMMA_COLUMNS:
            values = numbers_of(frame, name)
            if values is not None and np.isfinite(values).any():
                if name in ("P.Value", "adj.P.Val"):
                    values = np.where((values >= 0) & (values <= 1), values, np.nan)
                self.columns[name] = column(values)

    def __getitem__(self, name: str) -> Column:
        return self.columns[name]

    def has(self, *names: str) -> bool:
        """Whether all the columns are there."""
        return all(name in self.columns for name in names)

    def add(self, check: str, level: Level, message: str, evidence: str = "") -> None:
        """Note a finding."""
        self._findings.append((check, level, message, evidence))

    def forget_damage(self) -> None:
        """Take back what was found of rows left out or changed."""
        self._findings = [item for item in self._findings if item[0] not in _DAMAGE or item[1] == "ok"]
        self.changed = {}
        for name in _DAMAGE_FACTS:
            self.facts.pop(name, None)
        if self.facts.get("n_tests", 0) > self.n:
            del self.facts["n_tests"]

    def found(self, check: str) -> bool:
        """Whether a check has come to a note or a warning."""
        return any(item[0] == check and item[1] != "ok" for item in self._findings)

    def warned(self, check: str) -> bool:
        """Whether a check has come to a warning."""
        return any(item[0] == check and item[1] == "warning" for item in self._findings)

    def names(self, rows: np.ndarray, most: int = 3) -> str:
        """Some ids of the rows (positions or a mask)."""
        at = np.flatnonzero(rows) if rows.dtype == bool else rows
        text = ", ".join(str(self.ids[i]) for i in at[:most])
        return text + (", ..." if at.size > most else "")

    def result(self) -> TableCheck:
        """Findings, the grave ones first."""
        ordered = sorted(self._findings, key=lambda item: _ORDER[item[1]])
        return TableCheck(pd.DataFrame(ordered, columns=["check", "level", "message", "evidence"]), self.facts)
