"""Exported models against those of other tools, image by image, each run as integers by its engine."""

from qhyvit.config.deployment import PEER_FORMATS
from qhyvit.reporting.captions import run_note
from qhyvit.reporting.catalog import FP32
from qhyvit.reporting.correctness import correct_table
from qhyvit.reporting.runs import read_result
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.gains import gains, gains_shown
from qhyvit.reporting.write import Table

ENGINE = "openvino"  # that runs ours


def make(sources: Sources) -> Table:
    """Make the table from the results of `qhyvit execute` and the manifest of their images."""
    results = [result for path in sources.all("deployed") if (result := read_result(path))["method"] != FP32]
    peers = [result for result in results if result["method"] in PEER_FORMATS]
    ours = [result for result in results if result["method"] not in PEER_FORMATS and result["engine"] == ENGINE]
    pairs = [
        (method, peer)
        for method in sources.methods.order(result["method"] for result in ours)
        for peer in sources.methods.order(result["method"] for result in peers)
    ]
    rows = gains(correct_table([*ours, *peers], sources.one("images"), sources.methods), pairs, sources.methods)
    return Table(rows, gains_shown(rows), run_note(rows))
