"""The report read back: elements, attributes, tables; and a page without figures, which takes a moment."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from geneml_bio.report import render
from geneml_bio.report.content import Keys, gather
from geneml_bio.report.figures import placed

VOID = {"meta", "input", "img", "br", "hr", "link"}


class Page(HTMLParser):
    """Elements, attributes and the cells of tables."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.tables: dict[str, list[list[tuple[str, dict[str, str]]]]] = {}
        self.table = ""
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.table = attributes.get("id", f"table {len(self.tables)}")
            self.tables[self.table] = []
        if tag == "tr" and self.table:
            self.tables[self.table].append([])
        if tag in ("td", "th") and self.table:
            self.tables[self.table][-1].append(("", attributes))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            self.table = ""

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            return
        self.text.append(data)
        if self.table and self.open[-1] in ("td", "th", "b"):
            cells = self.tables[self.table][-1] if self.tables[self.table] else []
            if cells:
                cells[-1] = (cells[-1][0] + data, cells[-1][1])

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def column(self, table: str, name: str) -> list[str]:
        """Values (not roundings) of a column of a data table."""
        heads = [attributes["data-name"] for _, attributes in self.tables[table][0]]
        at = heads.index(name)
        return [row[at][1].get("data-v", row[at][0]) for row in self.tables[table][1:]]


def page(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def said(adata: Any, **keys: str) -> Page:
    """The page without its figures."""
    return Page(render(gather(adata, Keys(**keys), None) | {"figures": placed({})}))
