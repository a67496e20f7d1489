"""Search of `qhyvit-scale` as the method runs it, with the CPU-seconds per site."""

import json
from dataclasses import replace
from time import process_time

import typer
from rich.progress import track

from benchmarks.common import IMAGES, SEED, SIZE
from benchmarks.site_search import folder, load, same_labels, settings
from qhyvit.calibration.capture import capture
from qhyvit.calibration.losses import fisher_loss
from qhyvit.config.base import parse_bits
from qhyvit.files import atomic_write
from qhyvit.methods.recalibration import default_quantizers
from qhyvit.methods.scale_search import candidates_of
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.quantizers.serialization import save_quantizers
from qhyvit.search.alternating import alternate


def main(bits: str, size: int = SIZE, images: int = IMAGES, sites: int | None = None) -> None:
    """Write the quantizers of the first ``sites`` (default: all), the default quantizers that the gradients are taken at, and the times."""
    config, model, batches = load(size, images)
    method, work = settings(config), folder(bits, size, images, sites)
    started = process_time()
    positions = config.experiment.calibration.sampled_positions
    statistics = capture(model.graph_module, model.sites, batches, positions, SEED)
    task = Task(model, statistics, {}, CalibrationImages(lambda: batches, positions, SEED), method, *parse_bits(bits))
    quantized = default_quantizers(task)
    statistics = capture(model.graph_module, model.sites, batches, positions, SEED, same_labels(fisher_loss), quantized)
    task = replace(task, statistics=statistics)
    captured = process_time() - started
    quantizers, seconds = {}, {}
    for site in track(model.sites[:sites], f"fast search, {bits}"):
        started = process_time()
        quantizers[site.name] = alternate(candidates_of(task, site), method.rounds)
        seconds[site.name] = process_time() - started
    save_quantizers(work / "default.safetensors", quantized, {})
    save_quantizers(work / "fast.safetensors", quantizers, {})
    with atomic_write(work / "fast.json") as path:
        path.write_text(json.dumps({"capture": captured, "sites": seconds}))


if __name__ == "__main__":
    typer.run(main)
