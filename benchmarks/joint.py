"""Joint search of bridge blocks with all candidates: seconds per block, and how far the error at its output falls."""

from dataclasses import replace
from time import process_time
from typing import Any

import pandas as pd
import typer
from rich.progress import track

from benchmarks.common import IMAGES, MODEL, SEED, SIZE, fetch, write_report
from benchmarks.site_search import load
from qhyvit.calibration.capture import capture
from qhyvit.config.base import parse_bits
from qhyvit.config.methods import QhyvitMethod
from qhyvit.graph.bridge_subgraph import Block
from qhyvit.methods.recalibration import bridge_blocks, recalibrated
from qhyvit.methods.scale_search import candidates_of, search_sites
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.presets import load_preset
from qhyvit.quantizers.base import Quantizers
from qhyvit.search.block_errors import BlockErrors
from qhyvit.search.joint_search import improvements

METHOD, BITS = "qhyvit-joint", ("w8a8", "w6a6")


def main(size: int = SIZE, images: int = IMAGES, blocks: int | None = None) -> None:
    """Write reports/benchmarks/joint.{csv,md}; ``blocks`` takes only the first few of the network."""
    fetch()
    config, model, batches = load(size, images)
    method, positions = load_preset(METHOD), config.experiment.calibration.sampled_positions
    statistics = capture(model.graph_module, model.sites, batches, positions, SEED)
    task = Task(model, statistics, {}, CalibrationImages(lambda: batches, positions, SEED), method, 8, 8)
    rows = []
    for bits in BITS:
        weight_bits, activation_bits = parse_bits(bits)
        searched = recalibrated(replace(task, weight_bits=weight_bits, activation_bits=activation_bits))
        start = search_sites(searched)
        for block in track(bridge_blocks(model)[:blocks], f"joint search, {bits}"):
            rows.append({"bits": bits} | _measured(searched, block, start))
    table = pd.DataFrame(rows)
    write_report("joint", table, _summary(table), _notes(size, images), ["torch"])


def _measured(task: Task, block: Block, start: Quantizers) -> dict[str, Any]:
    assert task.recalibration is not None
    statistics, started = task.recalibration.blocks[block.name](), process_time()
    families = {
        (site.name, operand): [family.common() for family in of_operand]
        for site in block.sites
        for operand, of_operand in candidates_of(task, site).items()
    }
    problem = BlockErrors(block, statistics.inputs, statistics.gradient)
    errors = [error for _, error in improvements(problem, start, families, task.settings(QhyvitMethod).rounds)]
    return {
        "block": block.name,
        "sites": len(block.sites),
        "cpu_seconds": process_time() - started,
        "changes": len(errors) - 1,
        "error_before": errors[0],
        "error_after": errors[-1],
    }


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "bits": table.bits.str.upper(),
            "block": table.block,
            "sites": table.sites.astype(str),
            "CPU-seconds": table.cpu_seconds.map("{:.1f}".format),
            "changes": table.changes.astype(str),
            "error after / before": (table.error_after / table.error_before).map("{:.3f}".format),
        }
    )


def _notes(size: int, images: int) -> str:
    return (
        f"The joint search of `{METHOD}` on {MODEL} with {images} images at {size} px, from the quantizers that `qhyvit-scheme` finds."
        " Errors are Fisher-weighted, at the output of the block, over all images. A change is a better quantizer of an operand."
    )


if __name__ == "__main__":
    typer.run(main)
