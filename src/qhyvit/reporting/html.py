"""Tables as pages that sort and filter in a browser, without a network: for the HTML report."""

import gzip
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from itables import JavascriptFunction, options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html

NUMBER = r"(-?(\d.*|inf)|none)?"  # a column of such texts sorts by the numbers that they begin with, as "1,094 of 5,739"; blanks come first
PROGRAM = generate_init_offline_itables_html(options.dt_bundle)  # DataTables, a megabyte: once per page, and one page per report
FALLBACK = re.compile(r'<div id="\w+_fallback">.*?</table></div>', flags=re.DOTALL)  # a copy for pages without scripts, of twice the size
BY_NUMBER = JavascriptFunction(
    "function (data, type) { if (type !== 'sort' && type !== 'type') return data;"
    " const number = parseFloat(data.replaceAll(',', '').replace('inf', 'Infinity')); return isNaN(number) ? -Infinity : number; }"
)


@dataclass(frozen=True)
class Section:
    """Table whose cells are text, with the ``name`` that tells it from others of its page, below the heading of its ``category``."""

    name: str
    category: str
    title: str
    caption: str
    table: pd.DataFrame


def page(title: str, sections: Sequence[Section]) -> str:
    """A whole HTML page of tables, each of which unfolds by a click on its title. The same tables give the same bytes."""
    parts = [PROGRAM]
    for category in dict.fromkeys(section.category for section in sections):
        parts += [f"<h2>{escape(category)}</h2>", *(_folded(section) for section in sections if section.category == category)]
    return document(title, "\n".join(parts))


def packed(text: str) -> str:
    """A page that unpacks the page ``text``: reports of Snakemake open it from an address that holds it, and browsers take at most 2 MB."""
    content = b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    return (
        '<!DOCTYPE html>\n<meta charset="utf-8">\n<script>\n'
        f"const bytes = Uint8Array.from(atob('{content}'), character => character.charCodeAt(0));\n"
        "new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).text()"
        ".then(text => { document.open(); document.write(text); document.close(); });\n</script>\n"
    )


def _folded(section: Section) -> str:
    shown = f"<p>{escape(section.caption)}</p>\n{sortable(section.table, section.title, section.name)}"
    return f"<details>\n<summary>{escape(section.title)}</summary>\n{shown}\n</details>"


def document(title: str, body: str) -> str:
    """A whole HTML page with ``body`` below its title."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        "<style>body { font: 13px sans-serif; margin: 1em; } p { max-width: 60em; }"
        " summary { font-size: 15px; margin: 0.5em 0; cursor: pointer; }</style></head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def sortable(table: pd.DataFrame, title: str, name: str = "table") -> str:
    """HTML of ``table`` for a page with PROGRAM: a click on a header sorts, the box above filters, a button saves it as CSV.

    ``name`` is its element's, and ``title`` that of the file.
    """
    numbered = [place for place, column in enumerate(table) if table[column].str.fullmatch(NUMBER).all()]
    settings: dict[str, Any] = {
        "table_id": name,
        "connected": False,
        "display_logo_when_loading": False,
        "classes": "display compact",
        "style": "width:auto;margin:0",
        "maxBytes": 0,
        "maxColumns": 0,
        "paging": False,
        "layout": {"topStart": "search", "topEnd": "buttons", "bottomStart": "info", "bottomEnd": None},
        "buttons": [{"extend": "csvHtml5", "text": "save as CSV", "filename": title}],
        "text_in_header_can_be_selected": False,
        "columnDefs": [{"targets": numbered, "render": BY_NUMBER}],
    }
    return FALLBACK.sub("", to_html_datatable(table, **settings))
