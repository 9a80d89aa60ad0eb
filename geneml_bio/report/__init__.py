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


def report(
    adata: AnnData,
    path: str | Path,
    *,
    title: str | None = None,
    key: str = "classify",
    de: str = "limma",
    biomarkers: str = "biomarkers",
) -> Path:
    """Write what was found into one self-contained HTML file.

    The page holds what was asked, the audit's warnings, performance beside permuted targets, the biomarker table (to be
    searched, sorted and saved as CSV), figures, held-out predictions, a methods text and a glossary. It opens from disk,
    loads nothing from anywhere, and is the same from the object and from its h5ad, the date apart.

    Parameters
    ----------
    adata
        With results of :func:`geneml_bio.run`, or of some of the functions in ``gb.tl``; the report says what is missing.
    path
        File to write; ``.html`` is added where there is no suffix. Folders are made.
    title
        Title of the page; default: the classes, or the target.
    key, de, biomarkers
        Names of the validation, of the DE results and of the biomarker table.

    Returns
    -------
    The path written.

    Raises
    ------
    ColumnNotFoundError
        If the object holds no results at all.
    """
    from ..pl._all import Keys
    from .content import gather
    from .figures import pictures

    keys = Keys(key, de, biomarkers)
    content = gather(adata, keys, title)
    content["figures"], _ = pictures(adata, keys)
    path = Path(path)
    path = path if path.suffix else path.with_suffix(".html")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(content), encoding="utf-8", newline="\n")
    return path


def render(content: dict[str, Any]) -> str:
    """The page for gathered content."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    from .. import __version__

    here = resources.files(__name__)
    script = here.joinpath("script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(here.joinpath("template.html.j2").read_text(encoding="utf-8"))
    return template.render(
        **content,
        style=Markup(here.joinpath("style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        digest=digest,
        date=datetime.date.today().isoformat(),
        version=__version__,
    )


class _Callable(types.ModuleType):
    """``gb.report`` is this module once anything in it was imported, and the function before: both can be called."""

    def __call__(self, *args: Any, **options: Any) -> Path:
        return report(*args, **options)


sys.modules[__name__].__class__ = _Callable
