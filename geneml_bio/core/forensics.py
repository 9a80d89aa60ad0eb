"""What a DE table is, and whether it is whole, from its numbers alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from .names import DEKind


@dataclass(frozen=True, eq=False)
class TableCheck:
    """Findings on a DE table.

    Parameters
    ----------
    findings
        ``check level message evidence``, one row a finding; level is ``ok``, ``note`` or ``warning``.
    facts
        What was recovered.
    """

    findings: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)


def check_table(frame: pd.DataFrame, kind: DEKind) -> TableCheck:
    """Look at a table."""
    return TableCheck(pd.DataFrame(columns=["check", "level", "message", "evidence"]))
