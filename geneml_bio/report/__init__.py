"""The report (``gb.report``): one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import datetime
import hashlib
import sys
import types
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["report"]

_OTHER = {".pdf", ".doc", ".docx", ".odt", ".md", ".txt", ".csv", ".xlsx", ".png", ".h5ad"}


def report(
    adata: AnnData,
    path: str | Path,
    *,
    title: str | None = None,
    key: str = "classify",
    de: str = "limma",
    biomarkers: str = "biomarkers",
    genes: str = "regress_genes",
    knockoffs: str = "knockoffs",
) -> Path:
    """Write what was found into one self-contained HTML file.

    The page answers three questions first: can it be predicted, from which genes, and can it be believed. Then come the audit's
    warnings, what was asked, performance beside permuted targets, the biomarker table (to be searched, sorted, filtered and saved
    as CSV), error control, groups and sets of genes, figures, held-out predictions, a methods text with its references, a
    checklist of what a paper has to report, and a glossary. It opens from disk, loads nothing from anywhere, and is the same from
    the object and from its h5ad, the date apart.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.run`, or of some of the functions in ``gb.tl``; the report says what is missing.
    path
        File to write; ``.html`` is added where there is no suffix. Folders are made.
    title
        Title of the page; default: the classes, or the target.
    key, de, biomarkers, genes, knockoffs
        Names of the validation, of the DE results, of the biomarker table, of a gene-level regression and of knockoffs.
        What is not there is left out; ``key`` may also name a gene-level regression.

    Returns
    -------
    The path written.

    Raises
    ------
    ColumnNotFoundError
        If the object holds no results at all.
    InputError
        If ``path`` is a folder, or of another format.
    """
    from ..core.errors import InputError
    from .content import Keys, gather
    from .figures import pictures, placed
    from .gene_level import present

    path = Path(path)
    if not path.name or path.is_dir():
        raise InputError(f"path is the file to write, such as 'report.html'; got {str(path)!r}, a folder.")
    if path.suffix.lower() in _OTHER:
        raise InputError(f"The report is one HTML page, not {path.suffix}: name it .html; a browser prints it as PDF.")
    keys = Keys(key, de, biomarkers, knockoffs, key if present(adata, key) else genes)
    content = gather(adata, keys, title)
    found, _ = pictures(adata, keys)
    content["figures"] = placed(found)
    path = path if path.suffix else path.with_suffix(".html")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(content), encoding="utf-8", errors="replace", newline="\n")
    return path


def render(content: dict[str, Any]) -> str:
    """The page for gathered content."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup, escape

    from .. import __version__

    here = resources.files(__name__)
    script = here.joinpath("script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters["whole"] = lambda text: Markup(escape(text))
    template = environment.from_string(here.joinpath("template.html.j2").read_text(encoding="utf-8"))
    return template.render(
        **content,
        style=Markup(here.joinpath("style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        digest=digest,
        date=datetime.date.today().isoformat(),
        version=__version__,
    )


def _shown(value: Any) -> Any:
    """Names from the data cannot turn the text around them: marks of direction are written out, except in values to be saved."""
    from markupsafe import Markup

    from .words import visible

    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


class _Callable(types.ModuleType):
    """``gb.report`` is this module once anything in it was imported, and the function before: both can be called."""

    def __call__(self, *args: Any, **options: Any) -> Path:
        return report(*args, **options)


sys.modules[__name__].__class__ = _Callable
