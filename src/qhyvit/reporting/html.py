"""Tables as pages that sort and filter in a browser, without a network: for the HTML report."""

from html import escape
from typing import Any

import pandas as pd
from itables import JavascriptFunction, options, to_html_datatable
from itables.javascript import generate_init_offline_itables_html

NUMBER = r"(-?\d.*)?"  # a column of such texts sorts by the numbers that they begin with, as in "1,094 of 5,739"; blanks come first
BY_NUMBER = JavascriptFunction(
    "function (data, type) { if (type !== 'sort' && type !== 'type') return data;"
    " const number = parseFloat(data.replaceAll(',', '')); return isNaN(number) ? -Infinity : number; }"
)


def page(table: pd.DataFrame, title: str, caption: str) -> str:
    """A whole HTML page of ``table``, whose cells are text. The same table gives the same bytes."""
    return document(title, f"<p>{escape(caption)}</p>\n{sortable(table, title)}")


def document(title: str, body: str) -> str:
    """A whole HTML page with ``body`` below its title."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        "<style>body { font: 13px sans-serif; margin: 1em; } p { max-width: 60em; }</style></head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def sortable(table: pd.DataFrame, title: str) -> str:
    """HTML of ``table``, one per page: a click on a header sorts, the box above filters, a button saves it as CSV, named ``title``.

    The program behind it (DataTables) is in the text.
    """
    numbered = [place for place, column in enumerate(table) if table[column].str.fullmatch(NUMBER).all()]
    settings: dict[str, Any] = {
        "table_id": "table",
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
    return f"{generate_init_offline_itables_html(options.dt_bundle)}\n{to_html_datatable(table, **settings)}"
