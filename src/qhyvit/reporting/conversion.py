"""Page on one quantized model: how it differs from FP32, and what was chosen at each site."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from qhyvit.reporting.figures.site_graph import plot_site_graph
from qhyvit.reporting.html import PROGRAM, document, sortable

WORST = 5  # sites that are marked in the drawing


def conversion_page(title: str, networks: pd.DataFrame, remarks: Sequence[str], sites: pd.DataFrame, description: dict[str, Any]) -> str:
    """Return a page of HTML that holds all it shows.

    ``networks`` has one row per network, as text, and ``sites`` one per site (`qhyvit.QuantizedModel.report`). ``remarks`` are sentences on
    them; the ``description`` is that of `qhyvit.graph.describe`.
    """
    worst = sites.nlargest(WORST, "relative_error").site.tolist()
    parts = [
        networks.to_html(index=False, border=0, justify="left"),
        *(f"<p>{escape(remark)}</p>" for remark in remarks),
        f"<h2>Sites</h2>\n<p>Rings mark the {len(worst)} largest relative errors: {escape(', '.join(worst))}.</p>",
        _drawing(description, worst),
        "<p>The relative error is the Fisher-weighted squared error at the output of a site, over the energy of the output.</p>",
        PROGRAM,
        sortable(_shown(sites), title),
    ]
    return document(title, "\n".join(parts))


def _drawing(description: dict[str, Any], worst: list[str]) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder, "sites.svg")
        plot_site_graph(description, path, worst)
        svg = path.read_text()
    return svg[svg.index("<svg") :]


def _shown(sites: pd.DataFrame) -> pd.DataFrame:
    shown = sites.astype(object)
    shown["relative_error"] = sites.relative_error.map(lambda error: f"{error:.3g}", na_action="ignore")
    return shown.where(sites.notna(), "").astype(str)
