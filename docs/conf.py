"""Sphinx configuration. Build: make docs (warnings are errors)."""

from __future__ import annotations

from geneml_bio import __version__

project = "geneml-bio"
author = "The geneml-bio developers"
project_copyright = "2026, The geneml-bio developers"
release = __version__
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nitpicky = False
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "geneml-bio"
html_static_path = ["_static"]
