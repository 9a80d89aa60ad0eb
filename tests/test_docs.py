"""What README and docs name has to be there: public names, make targets, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import geneml_bio as gb

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if "_build" not in page.parts]


def _names(text: str) -> set[str]:
    return set(re.findall(r"\bgb\.([A-Za-z_]+(?:\.[A-Za-z_]+)*)", text))


def _missing(names: set[str]) -> list[str]:
    out = []
    for name in sorted(names):
        place = gb
        for part in name.split("."):
            place = getattr(place, part, None)
        if place is None:
            out.append(name)
    return out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_public_names_exist(page: Path) -> None:
    assert not _missing(_names(page.read_text(encoding="utf-8")))
    assert _missing({"tl.clasify"}) == ["tl.clasify"]


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    code = (
        "\n".join(re.findall(r"^```sh\n(.*?)^```", text, flags=re.M | re.S))
        + "\n"
        + "\n".join(re.findall(r"`(make [^`]+)`", text))
    )
    named = set(re.findall(r"^make ([a-z-]+)", code, flags=re.M))
    assert {"demo", "pytest"} <= named <= targets
    assert {"demo", "test"} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:\s]+)\)", text)
    links += re.findall(r"!\[[^\]]*\]\(([^)\s:]+)\)", text)
    assert not [link for link in links if not (page.parent / link).exists()]


def test_one_version() -> None:
    stated = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.M)
    assert stated is not None
    assert stated.group(1) == gb.__version__


def test_the_release_that_is_installed_has_what_it_ships() -> None:
    package = Path(gb.__file__).parent
    assert (package / "bridge" / "helpers.R").is_file()
    assert list((package / "data").iterdir())
