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
TERMS = {
    "KL": "the mean Kullback-Leibler divergence of the predictions from those of FP32; 0 if they are equal.",
    "integer multiplications": (
        "the share of multiply-accumulates that the engine computes by integer kernels. ONNX Runtime does so only where the output of a"
        " layer is quantized too, and may therefore be slower than FP32; where speed counts, take model.xml."
    ),
    "site": "a convolution, linear layer or matrix product whose two operands are quantized.",
    "first and second operand": "input and weight of a layer, or the two activations of a product.",
    "rescaled per-channel": "a scale per input channel, by which the weights were multiplied before they were quantized.",
    "relative error": "the squared error of the product at a site over the energy of that product, both weighted by Fisher gradients.",
    "conversion, exchange": "bridge blocks: layers from a map of pixels to tokens, and layers between a map and other tokens.",
}


def conversion_page(title: str, networks: pd.DataFrame, remarks: Sequence[str], sites: pd.DataFrame, description: dict[str, Any]) -> str:
    """Return a page of HTML that holds all it shows.

    ``networks`` has one row per network, as text, and ``sites`` one per site (`qhyvit.QuantizedModel.report`). ``remarks`` are sentences on
    them; the ``description`` is that of `qhyvit.graph.describe`.
    """
    worst = sites.dropna(subset="relative_error").nlargest(WORST, "relative_error").site.tolist()
    parts = [
        networks.to_html(index=False, border=0, justify="left"),
        *(f"<p>{escape(remark)}</p>" for remark in remarks),
        f"<h2>Sites</h2>\n<p>Rings mark the {len(worst)} largest relative errors: {escape(', '.join(worst))}.</p>",
        _drawing(description, worst),
        PROGRAM,
        sortable(_shown(sites), title),
        "<h2>Terms</h2>\n<dl>",
        *(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in TERMS.items()),
        "</dl>",
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
