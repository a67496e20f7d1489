"""Tables as HTML pages. Whether they sort and filter, a browser tells: see test_report_in_browser.py."""

from html.parser import HTMLParser

import pytest

from qhyvit.cli.pages import pages
from qhyvit.errors import InputError

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


def test_a_page_holds_the_table_and_loads_nothing(table, tmp_path):
    for name in ("a", "b"):
        pages([table], ["A & B"], ["Drops < 0."], [tmp_path / f"{name}.html"])
    text = (tmp_path / "a.html").read_text()
    assert text == (tmp_path / "b.html").read_text()
    assert "<h1>A &amp; B</h1>" in text
    assert "<p>Drops &lt; 0.</p>" in text
    assert "82.95 (drop -0.30)" in text
    assert "<b>minmax" not in text
    loaded = Loaded()
    loaded.feed(text)
    assert loaded.addresses == []


def test_columns_whose_cells_begin_with_a_number_sort_by_it(table, tmp_path):
    pages([table], ["t"], ["c"], [tmp_path / "page.html"])
    assert '"targets": [1, 2]' in (tmp_path / "page.html").read_text()


def test_each_table_wants_its_own_title(table, tmp_path):
    with pytest.raises(InputError, match="1 tables, 2 --title, 1 --caption, 1 --output; give one of each"):
        pages([table], ["a", "b"], ["c"], [tmp_path / "page.html"])
    assert not (tmp_path / "page.html").exists()
