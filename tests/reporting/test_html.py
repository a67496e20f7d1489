"""Tables as an HTML page. test_report_in_browser.py tests in a browser that they sort and filter."""

import gzip
import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from qhyvit.cli.report import report
from qhyvit.errors import InputError
from qhyvit.reporting.html import Section, page
from qhyvit.reporting.registry import TABLES

CSV = 'method,cell,share,ratio\n<b>minmax</b>,"9.5 (drop 1)","1,094 of 5,739",inf\nqhyvit,82.95 (drop -0.30),,none\n'


ADDRESS = 2**21  # characters of an address in base64 that Chromium opens


class Loaded(HTMLParser):
    """Collects the addresses that a page loads from."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name == "src" or (tag == "link" and name == "href")]


def unpacked(path):
    """The page that a page of `qhyvit report` unpacks in the browser."""
    (content,) = re.findall(r"atob\('([^']+)'\)", path.read_text())
    return gzip.decompress(b64decode(content)).decode()


@pytest.fixture
def table(tmp_path):
    (tmp_path / "table.csv").write_text(CSV)
    return tmp_path / "table.csv"


def test_page_holds_the_tables_and_loads_nothing(table, tmp_path):
    for name in ("a", "b"):
        report([f"paired={table}", f"accuracy={table}"], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    text = unpacked(tmp_path / "a")
    assert [text.count(f"<summary>{TABLES[name].title}</summary>") for name in ("paired", "accuracy")] == [1, 1]
    assert text.count("82.95 (drop -0.30)") == 2  # once per table
    assert "<b>minmax" not in text
    loaded = Loaded()
    loaded.feed(text)
    assert loaded.addresses == []


def test_title_and_caption_are_escaped(table):
    cells = pd.read_csv(table, dtype=str, keep_default_na=False)
    text = page("All", [Section("name", "C & D", "A & B", "Drops < 0.", cells)])
    assert "<h2>C &amp; D</h2>" in text
    assert "<summary>A &amp; B</summary>" in text
    assert "<p>Drops &lt; 0.</p>" in text


def test_columns_that_begin_with_a_number_sort_by_it(table, tmp_path):
    report([f"results={table}"], tmp_path / "page.html")
    assert '"targets": [1, 2, 3]' in unpacked(tmp_path / "page.html")


def test_page_of_the_largest_report_is_smaller_than_the_addresses_that_browsers_open(tmp_path):
    tables = {path.stem: path for path in Path("reports/ablation").rglob("*.csv") if path.stem in TABLES}
    assert len(tables) > 10
    report(["results=reports/ablation/results.csv", *(f"{name}={path}" for name, path in tables.items())], tmp_path / "page.html")
    assert len(unpacked(tmp_path / "page.html")) * 4 / 3 > ADDRESS
    assert (tmp_path / "page.html").stat().st_size * 4 / 3 < ADDRESS / 2


@pytest.mark.parametrize(
    ("text", "message"), [("table.csv", "not of the form NAME=CSV"), ("nonsense=table.csv", "unknown table 'nonsense'")]
)
def test_argument_that_names_no_table_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        report([text], tmp_path / "page.html")
