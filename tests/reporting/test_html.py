"""Tables as HTML pages. test_report_in_browser.py tests in a browser that they sort and filter."""

from html.parser import HTMLParser

import pandas as pd
import pytest

from qhyvit.cli.report import report
from qhyvit.errors import InputError
from qhyvit.reporting.html import page
from qhyvit.reporting.registry import TABLES

CSV = 'method,cell,share\n<b>minmax</b>,"9.5 (drop 1)","1,094 of 5,739"\nqhyvit,82.95 (drop -0.30),\n'


class Loaded(HTMLParser):
    """Collects the addresses that a page loads from."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name == "src" or (tag == "link" and name == "href")]


@pytest.fixture
def table(tmp_path):
    (tmp_path / "table.csv").write_text(CSV)
    return tmp_path / "table.csv"


def test_page_holds_the_table_and_loads_nothing(table, tmp_path):
    for name in ("a", "b"):
        report([f"paired={table}"], tmp_path / name)
    text = (tmp_path / "a/paired.html").read_text()
    assert text == (tmp_path / "b/paired.html").read_text()
    assert f"<h1>{TABLES['paired'].title}</h1>" in text
    assert "82.95 (drop -0.30)" in text
    assert "<b>minmax" not in text
    loaded = Loaded()
    loaded.feed(text)
    assert loaded.addresses == []


def test_title_and_caption_are_escaped(table):
    text = page(pd.read_csv(table, dtype=str, keep_default_na=False), "A & B", "Drops < 0.")
    assert "<h1>A &amp; B</h1>" in text
    assert "<p>Drops &lt; 0.</p>" in text


def test_page_of_a_long_table_is_little_larger_than_its_text():
    cells = pd.DataFrame({"method": ["qhyvit-integer-onnxruntime"] * 1000})
    assert len(page(cells, "", "")) < 2 * cells.method.str.len().sum() + 4000


@pytest.mark.parametrize(
    ("text", "message"), [("table.csv", "not of the form NAME=CSV"), ("nonsense=table.csv", "unknown table 'nonsense'")]
)
def test_argument_that_names_no_table_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        report([text], tmp_path)
