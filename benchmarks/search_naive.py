"""Naive search over the same candidates, site by site, and the errors of both searches on all positions."""

import csv
import json
import shutil
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from time import process_time
from typing import cast

import torch
import typer
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.common import IMAGES, SEED, SIZE
from benchmarks.exhaustive_search import Family, Operator, exhaustive_search
from benchmarks.site_search import folder, load, same_labels, settings
from qhyvit.calibration.losses import fisher_loss
from qhyvit.calibration.recorder import Recorder, backward
from qhyvit.config.base import parse_bits
from qhyvit.config.method_settings import SearchSettings
from qhyvit.graph.sites import Site, site_weight
from qhyvit.graph.traced_model import TracedModel
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.quantizers.base import Quantizers
from qhyvit.quantizers.serialization import load_quantizers
from qhyvit.quantizers.uniform import UniformQuantizer

COLUMNS = ["site", "kind", "fast_seconds", "naive_seconds", "fast_error", "naive_error"]


def main(bits: str, size: int = SIZE, images: int = IMAGES, sites: int | None = None) -> None:
    """Append a row to naive.csv for each of the first ``sites`` (default: all) that it lacks."""
    config, model, batches = load(size, images)
    work = folder(bits, size, images, sites)
    remaining = [site for site in model.sites[:sites] if site.name not in _done(work)]
    if not remaining:
        return
    defaults, _ = load_quantizers(work / "default.safetensors")
    fast = cast(Mapping[str, Mapping[str, UniformQuantizer]], load_quantizers(work / "fast.safetensors")[0])
    fast_seconds = json.loads((work / "fast.json").read_text())["sites"]
    task = Task(model, {}, {}, CalibrationImages(lambda: batches, None, SEED), settings(config), *parse_bits(bits))
    _record(model, remaining, batches, defaults, work / "operands")
    for site in track(remaining, f"naive search, {bits}"):
        operator = _operator(model, site, work / "operands", len(batches))
        started = process_time()
        quantizers = exhaustive_search(operator, _families(task, site), settings(config).rounds)
        seconds = process_time() - started
        errors = (operator.error(chosen) for chosen in (fast[site.name], quantizers))
        _append(work, (site.name, site.kind, fast_seconds[site.name], seconds, *errors))
    shutil.rmtree(work / "operands")


def _families(task: Task, site: Site) -> dict[str, list[Family]]:
    method = task.settings(SearchSettings)
    multipliers = torch.linspace(method.scale_min, method.scale_max, method.candidates)
    choices = {operand: task.choices(site, operand) for operand in site.operands}
    return {
        operand: [
            Family(task.bits(site, operand), granularity, scheme, multipliers, method.cross_validated and operand != "weight")
            for granularity, scheme in product(allowed.granularity, allowed.scheme)
        ]
        for operand, allowed in choices.items()
    }


def _record(model: TracedModel, sites: list[Site], batches: list[Tensor], quantizers: Quantizers, operands: Path) -> None:
    """Write the operands of each site and the gradient at its output, one file per batch: together they would not fit into memory."""
    loss, generator = same_labels(fisher_loss), torch.Generator()

    def record(inserted: Quantizers) -> Recorder:
        kept = () if inserted else {node for site in sites for node in site.operand_nodes}
        return Recorder(model.graph_module, model.sites, inserted, kept, sites)

    for number, images in enumerate(batches):
        exact, quantized = backward(record, images, loss, quantizers, generator)
        for site in sites:
            left, right = (exact.values[node] for node in site.operand_nodes)
            tensors = {"left": left, "gradient": quantized.gradient(site.node)} | ({"right": right} if site.kind == "matmul" else {})
            path = operands / site.name / f"{number}.safetensors"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _operator(model: TracedModel, site: Site, operands: Path, batches: int) -> Operator:
    files = (operands / site.name).glob("*.safetensors")
    parts = [load_file(path) for path in sorted(files, key=lambda path: int(path.stem))]
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    weight = site_weight(model.graph_module, site)
    both = whole["left"], whole["right"] if weight is None else weight
    return Operator(model.graph_module, site, both, whole["gradient"], batches)


def _done(work: Path) -> set[str]:
    path = work / "naive.csv"
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {row["site"] for row in csv.DictReader(file)}


def _append(work: Path, row: tuple[object, ...]) -> None:
    path = work / "naive.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        csv.writer(file).writerows([COLUMNS, row] if new else [row])


if __name__ == "__main__":
    typer.run(main)
