"""Tables as pages that sort and filter in a browser, without a network: for the HTML report.

The program is a few lines, since a report holds one copy of it for each table, and a library for tables has half a megabyte.
"""

from collections.abc import Iterable
from html import escape

import pandas as pd

STYLE = """
body { font: 13px sans-serif; margin: 1em; } p { max-width: 60em; }
#table { border-collapse: collapse; } #table td, #table th { padding: 2px 8px; text-align: left; border-bottom: 1px solid #ddd; }
#table th { cursor: pointer; position: sticky; top: 0; background: white; } #table td { font-variant-numeric: tabular-nums; }
#table th[aria-sort=ascending]::after { content: " ▲"; } #table th[aria-sort=descending]::after { content: " ▼"; }
"""
# A column whose texts all begin with a number, as in "1,094 of 5,739", sorts by it; blanks come first.
SCRIPT = r"""
const table = document.getElementById("table"), rows = [...table.tBodies[0].rows], headers = [...table.tHead.rows[0].cells];
function keys(column) {
  const texts = rows.map(row => row.cells[column].textContent);
  if (!texts.every(text => /^(-?\d.*)?$/.test(text))) return texts;
  return texts.map(text => text === "" ? -Infinity : parseFloat(text.replaceAll(",", "")));
}
function sort(header) {
  const values = keys(header.cellIndex), sign = header.ariaSort === "ascending" ? -1 : 1;
  const order = [...rows.keys()].sort((a, b) => sign * (values[a] > values[b] ? 1 : values[a] < values[b] ? -1 : 0));
  table.tBodies[0].append(...order.map(index => rows[index]));
  headers.forEach(other => other.ariaSort = "none");
  header.ariaSort = sign > 0 ? "ascending" : "descending";
}
headers.forEach(header => header.addEventListener("click", () => sort(header)));
document.getElementById("filter").addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(" ");
  rows.forEach(row => row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word)));
});
document.getElementById("save").addEventListener("click", event => {
  const lines = [...table.rows].map(row => [...row.cells].map(cell => `"${cell.textContent.replaceAll('"', '""')}"`).join());
  event.target.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], {type: "text/csv"}));
});
"""


def page(table: pd.DataFrame, title: str, caption: str) -> str:
    """A whole HTML page of ``table``, whose cells are text. The same table gives the same bytes."""
    return document(title, f"<p>{escape(caption)}</p>\n{sortable(table, title)}")


def document(title: str, body: str) -> str:
    """A whole HTML page with ``body`` below its title."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style></head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def sortable(table: pd.DataFrame, title: str) -> str:
    """HTML of ``table``, one per page: a click on a header sorts, the box above filters, a link saves it as CSV, named ``title``."""
    body = "\n".join(_row("td", cells) for cells in table.itertuples(index=False))
    return (
        '<p><input id="filter" type="search" placeholder="filter rows" aria-label="filter rows">'
        f' <a id="save" href="#" download="{escape(title)}.csv">save as CSV</a></p>\n'
        f'<table id="table"><thead>{_row("th", table.columns)}</thead><tbody>\n{body}\n</tbody></table>\n<script>{SCRIPT}</script>'
    )


def _row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"
