"""Tables as files for others (``gb.export``)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from . import get
from .bridge import biomarker_files
from .bridge import export as export_file
from .core.biomarker_columns import is_biomarker_table
from .core.detable import DETable
from .core.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData


def export(
    obj: AnnData | pd.DataFrame | DETable,
    path: str | os.PathLike[str],
    *,
    to: str | None = None,
    top: int | None = None,
    columns: list[str] | None = None,
    caption: str = "",
    key: str = "biomarkers",
    force: bool = False,
) -> Path:
    r"""Write the biomarker table, or a DE table, to a file for others; returns its path.

    Parameters
    ----------
    obj
        An AnnData with a biomarker table, or the table itself (:func:`geneml_bio.get.biomarkers`); or a DETable, which goes to
        csv, tsv, xlsx, parquet or h5ad.
    path
        Where to. The file appears when it is whole.
    to
        The format; default: by the suffix.

        - ``"csv"``, ``"tsv"``: all digits, missing numbers ``NA``, missing text empty; text that a spreadsheet would run as a formula has
          an apostrophe before it.
        - ``"xlsx"``: formatted, coloured by class; a second sheet says what every column is, a third the settings and the
          verdict. Names are text cells: none is a formula, a date or a number.
        - ``"parquet"``: plain values with exact types (needs pyarrow); the settings come back in ``pd.read_parquet(path).attrs``.
        - ``"tex"``: a table in the style of booktabs, to be read by ``\input``; by default the top 20 and the columns that
          fit a page.
        - ``"html"``: one page without scripts or requests; by default the top 200.
    top
        Only so many genes, the strongest first; default: all, but for tex and html.
    columns
        Which columns, in this order; default: all that there are.
    caption
        Caption of the LaTeX table, title of the HTML page; default: says what is shown, and the verdict on the models.
    key
        Name of the table in ``obj``.
    force
        Whether a file that is there may be replaced.

    Raises
    ------
    InputError
        If the format is unknown or is not that of the suffix, the file is there or cannot be made, or ``obj`` is something else.
    ColumnNotFoundError
        If ``obj`` has no such table, or the table no such column.
    TableError
        If the format cannot hold the table.

    Examples
    --------
    >>> gb.export(adata, "biomarkers.xlsx")  # doctest: +SKIP
    >>> gb.export(adata, "table2.tex", top=15)  # doctest: +SKIP
    """
    path = Path(path)
    if isinstance(obj, DETable):
        return _de_table(obj, path, to=to, top=top, columns=columns, force=force)
    return biomarker_files.write(
        _table_of(obj, key), path, to=to, top=top, columns=columns, caption=caption, force=force
    )


def _de_table(
    de: DETable, path: Path, *, to: str | None, top: int | None, columns: list[str] | None, force: bool
) -> Path:
    if columns is not None or top is not None:
        raise InputError(
            "columns= and top= are for biomarker tables; of a DETable, choose before: gb.DETable(de.top(50), kind=de.kind)."
        )
    return export_file.write(de, path, to=to, force=force)


def _table_of(obj: Any, key: str) -> pd.DataFrame:
    from anndata import AnnData

    if isinstance(obj, AnnData):
        return get.biomarkers(obj, key=key)
    if not isinstance(obj, pd.DataFrame):
        raise InputError(
            f"Expected an AnnData, a biomarker table or a DETable, got {type(obj).__name__}. gb.get.biomarkers(adata) gives the table."
        )
    if not is_biomarker_table(obj):
        raise InputError(
            f"This frame is no biomarker table: it has no rank, class and agreement; got {list(map(str, obj.columns))[:8]}. Write "
            "other frames with pandas."
        )
    return obj
