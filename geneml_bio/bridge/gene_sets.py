"""Gene-set files: GMT (MSigDB, Enrichr), and nets of ``source target weight`` as text."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.errors import InputError
from ..core.gene_sets import as_net


def read_gene_sets(sets: Any) -> pd.DataFrame:
    """Gene sets from a GMT or net file, a dict, or a frame, as ``source target weight``.

    A file whose second line has tabs and whose header names ``source`` and ``target`` (or like columns) is a net, whatever its
    suffix; any other is taken for GMT: a set a line, its name, a description, then its genes (``gene,weight`` is understood).

    Raises
    ------
    InputError
        If there is no such file, or it holds no gene sets.
    """
    if not isinstance(sets, str | os.PathLike):
        return as_net(sets)
    path = Path(sets)
    if not path.is_file():
        raise InputError(f"gene_sets: there is no file {path}.")
    lines = [line for line in _text(path).splitlines() if line.strip()]
    if not lines:
        raise InputError(f"gene_sets: {path.name} is empty.")
    for separator in ("\t", ",", ";"):
        header = [cell.strip().strip('"').lower() for cell in lines[0].split(separator)]
        if {"source", "target"} <= set(header) or {"gs_name", "gene_symbol"} <= set(header):
            frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
            return as_net(frame)
    if path.name.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        raise InputError(
            f"gene_sets: {path.name} has the columns {header[:6]}; a net has source and target (and may have weight)."
        )
    return as_net(pd.DataFrame(_gmt(lines, path.name), columns=["source", "target", "weight"]))


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
        return raw.decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"gene_sets: {path.name} cannot be read as text: {error}") from error


def _gmt(lines: list[str], name: str) -> list[tuple[str, str, float]]:
    rows: list[tuple[str, str, float]] = []
    for number, line in enumerate(lines, 1):
        cells = line.rstrip("\r\n").split("\t")
        if len(cells) < 3:
            raise InputError(
                f"gene_sets: line {number} of {name} has {len(cells)} columns; a GMT line has a name, a description and genes, "
                "with tabs between."
            )
        rows += [(cells[0].strip(), *_weighted(cell.strip())) for cell in cells[2:] if cell.strip()]
    return rows


def _weighted(cell: str) -> tuple[str, float]:
    gene, comma, weight = cell.partition(",")
    try:
        return (gene.strip(), float(weight)) if comma else (cell, 1.0)
    except ValueError:
        return cell, 1.0
