"""The report in a real browser: it opens from disk without errors or requests, and its controls work."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser

import geneml_bio as gb
from geneml_bio.report import words

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

ROWS = "Array.from(document.querySelectorAll('#biomarkers tbody tr:not(.rest)')).filter(r => !r.hidden)"
SHOWN = f"{ROWS}.map(r => r.querySelector('td.gene').dataset.v || r.querySelector('td.gene button').textContent)"
COUNT = "document.querySelector('.tool[data-for=biomarkers] output').textContent"
CATCH = "window.saved = []; URL.createObjectURL = blob => { window.saved.push(blob); return '#'; }; 0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as found:
        yield found


@pytest.fixture
def fresh(browser: Browser) -> Browser:
    browser.problems.clear()
    browser.requests.clear()
    return browser


def search(browser: Browser, words: str) -> list[str]:
    script = "(t => { const i = document.querySelector('.tool[data-for=biomarkers] [type=search]'); i.value = t;"
    browser.run(f"{script} i.dispatchEvent(new Event('input')); }})({words!r})")
    return browser.run(SHOWN)


def click(browser: Browser, name: str, table: str = "biomarkers") -> str:
    browser.run(f"document.querySelector('#{table} th[data-name=\"{name}\"] button').click()")
    return browser.run(f"document.querySelector('#{table} th[data-name=\"{name}\"]').getAttribute('aria-sort')")


def saved(browser: Browser, table: str = "biomarkers") -> list[dict[str, str]]:
    browser.run(CATCH)
    browser.run(f"document.querySelector('[data-role=save][data-table={table}]').click()")
    return list(csv.DictReader(io.StringIO(browser.run("window.saved[0].text()"), newline="")))


@pytest.mark.parametrize("which", ["two_page", "hostile_page", "models_page"])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_opens_from_disk_without_errors_or_requests(fresh, request, which, dark, width):
    path: Path = request.getfixturevalue(which)
    fresh.open(path, width=width, dark=dark)
    assert fresh.problems == []
    assert [address for address in fresh.requests if not address.startswith("data:image/")] == [path.as_uri()]
    assert fresh.run("Array.from(document.images).every(i => i.complete && i.naturalWidth > 100)")
    assert fresh.run("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    ground = fresh.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) == dark


def test_search_and_filter(fresh, two, two_page):
    fresh.open(two_page)
    table = gb.get.biomarkers(two)
    everything = fresh.run(SHOWN)
    assert fresh.run(COUNT) == f"{len(everything)} genes"
    assert search(fresh, "G1 ") == [gene for gene in everything if "g1" in gene]
    assert search(fresh, "1 g3") == [gene for gene in everything if "g3" in gene and "1" in gene]
    assert search(fresh, "agree") == [], "only names are searched"
    assert search(fresh, "no such gene") == []
    assert fresh.run(COUNT) == f"0 of {len(everything)} genes"
    search(fresh, "")
    fresh.run(
        "(s => { s.value = 'DE and used'; s.dispatchEvent(new Event('change')); })(document.querySelector('[data-role=filter]'))"
    )
    assert fresh.run(SHOWN) == [gene for gene in everything if table.loc[gene, "class"] == "DE and used"]
    assert 0 < len(fresh.run(SHOWN)) < len(everything)
    assert fresh.problems == []


def test_sorting_is_by_value_and_announced(fresh, two, two_page):
    fresh.open(two_page)
    table = gb.get.biomarkers(two).loc[fresh.run(SHOWN)]
    for name, first, ascending in (
        ("P.Value", "ascending", True),
        ("logFC", "descending", False),
        ("class", "ascending", True),
    ):
        assert click(fresh, name) == first
        values = table.loc[fresh.run(SHOWN), name]
        values = values[values != ""] if name == "class" else values
        assert values.is_monotonic_increasing if ascending else values.is_monotonic_decreasing
        sorted_heads = fresh.run("document.querySelectorAll('#biomarkers th:not([aria-sort=none])').length")
        assert sorted_heads == 1
    assert click(fresh, "class") == "descending"
    last = fresh.run("document.querySelector('#biomarkers tbody').lastElementChild.cells[2].textContent")
    assert last == "–", "genes without a class stay last"


def test_the_keyboard_is_enough(fresh, two_page):
    fresh.open(two_page)
    fresh.run("document.querySelector('#biomarkers th[data-name=logFC] button').focus()")
    fresh.key("Enter", 13)
    assert (
        fresh.run("document.querySelector('#biomarkers th[data-name=logFC]').getAttribute('aria-sort')") == "descending"
    )
    fresh.open(two_page)
    fresh.key("Tab", 9)
    assert fresh.run("document.activeElement.className") == "skip"


def test_the_download_holds_the_rows_shown_with_full_numbers(fresh, two, two_page):
    fresh.open(two_page)
    search(fresh, "g1")
    click(fresh, "logFC")
    rows, table = saved(fresh), gb.get.biomarkers(two)
    assert [row["gene"] for row in rows] == fresh.run(SHOWN)
    for row in rows:
        for name in ("logFC", "P.Value", "adj.P.Val", "shap", "selection_frequency"):
            assert float(row[name]) == pytest.approx(table.loc[row["gene"], name], rel=1e-9)
    samples = saved(fresh, "predictions")
    assert len(samples) == 30
    assert fresh.problems == []


def test_formulas_are_made_harmless_in_the_download(fresh, hostile, hostile_page):
    fresh.open(hostile_page)
    rows = saved(fresh)
    genes = {row["gene"] for row in rows}
    assert "'=1+1" in genes
    shown = list(gb.get.biomarkers(hostile).index[:50])
    assert genes >= {f"'{gene}" if gene[0] in "=+-@\t\r" else gene for gene in shown}
    assert not any(name.startswith(("=", "+", "-", "@", "\t", "\r")) for name in genes)
    assert any(float(row["logFC"]) < 0 for row in rows), "numbers stay numbers"
    classes = {row["observed"] for row in saved(fresh, "predictions")}
    assert classes == {"<script>alert('class')</script>", "'=cmd|' /C calc'!A0 $y$"}


def test_hostile_names_do_nothing(fresh, hostile_page):
    fresh.open(hostile_page)
    assert search(fresh, "<script>") == ["<script>alert(1)</script>"]
    assert fresh.run("document.scripts.length") == 1
    assert fresh.run("document.title").startswith("<script>alert('title')</script>")
    add = "const s = document.createElement('script'); s.textContent = 'window.bad = 1'; document.body.append(s);"
    assert fresh.run(f"(() => {{ {add} return window.bad; }})()") is None, (
        "the policy stops scripts that are not the report's own"
    )


def test_extra_columns_are_shown_on_demand(fresh, two_page):
    fresh.open(two_page)
    shown = "getComputedStyle(document.querySelector('#biomarkers th[data-name=\"P.Value\"]')).display"
    assert fresh.run(shown) == "none"
    fresh.run("document.querySelector('[data-role=all]').click()")
    assert fresh.run(shown) == "table-cell"


def test_a_gene_opens_the_rest_of_what_is_known_of_it(fresh, two, two_page):
    fresh.open(two_page)
    gene = fresh.run(SHOWN)[2]
    more = "document.querySelectorAll('#biomarkers button.more')[2]"
    fresh.run(f"{more}.focus()")
    fresh.key("Enter", 13)
    assert fresh.run(f"{more}.getAttribute('aria-expanded')") == "true"
    told = fresh.run(
        "Object.fromEntries(Array.from(document.querySelectorAll('tr.rest dl > div')).map(d => [d.children[0].textContent, "
        "d.children[1].textContent]))"
    )
    row = gb.get.biomarkers(two).loc[gene]
    assert told["p-value"] == words.p_value(row["P.Value"])
    assert told["Mean log expression"] == words.fixed(row["AveExpr"])
    assert "Gene" not in told, "what the row shows is not said again"
    n = len(fresh.run(SHOWN))
    assert len(saved(fresh)) == n, "the opened row is not in the download"
    click(fresh, "logFC")
    assert fresh.run("document.querySelectorAll('tr.rest').length") == 0
    assert fresh.run("document.querySelectorAll('[aria-expanded=true]').length") == 0
    assert "sorted by logFC, largest first" in fresh.run(COUNT)
    fresh.run(f"{more}.click(); {more}.click()")
    assert fresh.run("document.querySelectorAll('tr.rest').length") == 0
    assert fresh.problems == []


def test_the_methods_and_the_checklist_can_be_taken_away(fresh, two_page):
    fresh.open(two_page)
    fresh.run(CATCH)
    fresh.run("document.querySelector('[data-role=keep]').click()")
    text = fresh.run("window.saved[0].text()")
    assert text.startswith("Data. 120 genes in 30 samples")
    assert "References\n1. Ritchie ME" in text
    fresh.run("document.querySelector('[data-role=copy]').click()")
    assert fresh.run(
        "new Promise(r => setTimeout(() => r(document.querySelector('[data-text] output').textContent), 300))"
    )
    items = saved(fresh, "checklist-table")
    assert {row["state"] for row in items} <= {"done", "partly", "not done", "for the authors"}
    assert all(row["section"] and row["item"] and row["answer"] and row["where"] for row in items)
    assert len(items) > 25


@pytest.mark.parametrize("which", ["two_page", "hostile_page", "models_page"])
def test_in_print_nothing_is_cut_and_everything_is_open(fresh, request, which):
    fresh.open(request.getfixturevalue(which), width=720, media="print")  # A4 less its margins, at 96 dots an inch
    fresh.run("window.dispatchEvent(new Event('beforeprint')); 0")
    assert fresh.run("Array.from(document.querySelectorAll('details')).every(d => d.open)")
    hidden = (
        "Array.from(document.querySelectorAll('nav, .tool, .skip')).every(e => getComputedStyle(e).display === 'none')"
    )
    assert fresh.run(hidden)
    wide = fresh.run(
        "Array.from(document.querySelectorAll('table')).filter(t => t.getBoundingClientRect().right > innerWidth + 1)"
        ".map(t => (t.id || t.caption.textContent) + ' ' + t.getBoundingClientRect().right)"
    )
    assert wide == []
    rows = "Array.from(document.querySelectorAll('#biomarkers tbody tr, #predictions tbody tr')).filter(r => r.offsetHeight)"
    assert fresh.run(f"{rows}.length") <= 100


def test_prints(fresh, two_page, tmp_path):
    fresh.open(two_page, dark=True)
    fresh.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
