"""The HTML report as its reader meets it: from a file, in a browser, without a network."""

import pytest
from browser import CHROMIUM, Browser, browse

SIZE = 7_000_000  # of Snakemake's own programs 3 million, of DataTables one
GROUPS = {"Tables", "Figures", "Challenges", "Timings"}


def rows(table: str) -> str:
    """Expression: the texts of the rows of a table."""
    return f"[...document.querySelectorAll('#{table} tbody tr')].map(row => row.innerText)"


def click_text(text: str) -> str:
    """Script: click the innermost element with this text."""
    return f"[...document.querySelectorAll('*')].filter(element => element.textContent.trim() === {text!r}).at(-1).click()"


def click_entry(text: str) -> str:
    """Script: click the eye next to this entry of a group."""
    return f"[...document.querySelectorAll('tr')].find(row => row.textContent.includes({text!r})).querySelector('a').click()"


def click_header(table: str, name: str) -> str:
    """Script: click the header of this column of a table."""
    return f"[...document.querySelectorAll('#{table} th')].find(header => header.innerText.trim() === {name!r}).click()"


def edge(selector: str, side: str) -> str:
    """Expression: the outermost place of a side of some elements, in pixels from the left."""
    places = f"[...document.querySelectorAll({selector!r})].map(element => element.getBoundingClientRect().{side})"
    return f"Math.{'min' if side == 'left' else 'max'}(...{places})"


async def open_entry(browser: Browser, group: str, entry: str) -> None:
    await browser.evaluate("app.setView({navbarMode: 'menu', content: 'rulegraph'})")
    await browser.wait_for(f"document.body.innerText.includes({group!r})")
    await browser.evaluate(click_text(group))
    await browser.wait_for(f"document.body.innerText.includes({entry!r})")
    await browser.evaluate(click_entry(entry))


async def unfold(browser: Browser, table: str) -> None:
    """Unfold a table of the page of tables, which has a frame of its own: the newest."""
    await browser.wait_for(f"document.querySelector('details #{table}') !== null", frame=-1)
    await browser.evaluate(f"document.getElementById({table!r}).closest('details').querySelector('summary').click()", frame=-1)
    await browser.wait_for(f"{rows(table)}.length > 1 && document.getElementById({table!r}).offsetHeight", frame=-1)


async def visit(browser: Browser) -> None:
    text = await browser.wait_for("document.body && document.body.innerText.includes('RESULTS') && document.body.innerText")
    assert set(text.split()) >= GROUPS
    assert await browser.wait_for("document.querySelectorAll('canvas, svg').length")  # the graph of rules
    assert await browser.evaluate("document.querySelector('.prose svg').getBoundingClientRect().width") > 300  # the main result
    assert await browser.evaluate("document.querySelector('.prose').getBoundingClientRect().top") >= 0  # can be scrolled to
    assert await browser.evaluate("document.querySelector('.prose table').innerText.includes('minmax')")
    await browser.wait_for("document.querySelector('.chart-wrapper') !== null")
    assert await browser.evaluate(f"{edge('.prose', 'left')} >= {edge('nav', 'right')}")
    assert await browser.evaluate(f"{edge('.prose table', 'right')} <= {edge('.chart-wrapper', 'left')}")

    await open_entry(browser, "Tables", "all tables")
    await unfold(browser, "results")
    before = await browser.evaluate(rows("results"), frame=-1)
    assert "minmax" in before[1]
    await browser.evaluate(click_header("results", "w_bits"), frame=-1)
    after = await browser.wait_for(f"{rows('results')}[0].includes('minmax') && {rows('results')}", frame=-1)
    assert after != before
    assert sorted(after) == sorted(before)
    assert "fp32" in after[-1]  # 32 bits come after 4, and would not as text

    await browser.evaluate("document.querySelector('details[open] input[type=search]').focus()", frame=-1)
    await browser.type("qhyvit")
    (remaining,) = await browser.wait_for(f"{rows('results')}.length === 1 && {rows('results')}", frame=-1)
    assert "qhyvit" in remaining
    assert await browser.evaluate("document.querySelector('details[open] .buttons-csv').innerText", frame=-1) == "save as CSV"
    await unfold(browser, "configuration")
    assert any("calibration.images" in row for row in await browser.evaluate(rows("configuration"), frame=-1))

    await open_entry(browser, "Figures", "drop of each method")
    assert await browser.wait_for("[...document.images].some(image => image.naturalWidth > 300)")
    assert await browser.evaluate("Object.values(results).every(result => result.caption.includes('Made by '))")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_the_report_opens_offline_and_its_tables_sort_and_filter(finished, tmp_path):
    report = tmp_path / "report.html"
    finished.run("-m", "snakemake", "--report", str(report))
    assert report.stat().st_size < SIZE
    browser = browse(report.as_uri(), visit, tmp_path / "profile")
    assert browser.requests == []
    assert browser.faults == []
